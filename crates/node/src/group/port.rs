//! Where a group's thread gets its work from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use quorate_ledger::view::View;
use quorate_replica::api::{Answer, Command, Input, PeerRef, Query, QueryError};
use quorate_replica::wire::VerifyContext;
use tokio::sync::oneshot;

use super::{CommandAnswer, Message};

/// Inputs taken in one turn.
const TURN_INPUTS: usize = 4096;
/// Packets that may wait. Further ones are dropped.
const MAX_PACKETS: usize = 16_384;
/// Bytes of packets that may wait.
const MAX_PACKET_BYTES: usize = 64 * 1024 * 1024;
/// Commands that may wait. Further ones are refused.
const MAX_COMMANDS: usize = 8192;
/// Queries that may wait. Further ones are refused.
const MAX_QUERIES: usize = 4096;
/// Queries answered between two turns: reading must not hold an epoch up.
const TURN_QUERIES: usize = 64;

/// Why a request cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// Too many wait already.
    Full,
    /// The group is being stopped.
    Closed,
}

type QueryAnswer = oneshot::Sender<Result<Answer, QueryError>>;

/// What the thread does next.
#[derive(Default)]
pub struct Work {
    pub inputs: Vec<Input<Message>>,
    pub commands: Vec<(Command, CommandAnswer)>,
    pub queries: Vec<(Query, QueryAnswer)>,
}

#[derive(Default)]
struct Inbox {
    packets: VecDeque<(Input<Message>, usize)>,
    packet_bytes: usize,
    commands: VecDeque<(Command, CommandAnswer)>,
    queries: VecDeque<(Query, QueryAnswer)>,
    closed: bool,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.commands.is_empty() && self.queries.is_empty()
    }
}

/// Bounded queues in front of a group's thread.
pub struct Port {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    context: ArcSwap<VerifyContext>,
}

impl Port {
    /// An empty port; packets are checked with `context`.
    pub fn new(context: VerifyContext) -> Self {
        Self {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            context: ArcSwap::from_pointee(context),
        }
    }

    /// What packets are checked with.
    #[must_use]
    pub fn context(&self) -> Arc<VerifyContext> {
        self.context.load_full()
    }

    /// The views whose frames are accepted have changed.
    pub fn set_views(&self, views: Vec<Arc<View>>) {
        let context = VerifyContext { views, ..VerifyContext::clone(&self.context.load()) };
        self.context.store(Arc::new(context));
    }

    /// Queues a checked packet that took `size` bytes on the wire; drops it if there is no room.
    pub fn packet(&self, input: Input<Message>, size: usize) {
        let mut inbox = self.inbox.lock();
        let full = inbox.packets.len() >= MAX_PACKETS
            || inbox.packet_bytes.saturating_add(size) > MAX_PACKET_BYTES;
        if inbox.closed || full {
            drop(inbox);
            metrics::counter!("quorate_frames_dropped_total", "reason" => "group_queue")
                .increment(1);
            return;
        }
        inbox.packets.push_back((input, size));
        inbox.packet_bytes += size;
        drop(inbox);
        self.wake.notify_one();
    }

    /// A peer of the group connected.
    pub fn connected(&self, peer: PeerRef) {
        self.packet(Input::Connected(peer), 0);
    }

    /// Queues a command.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn command(&self, command: Command, answer: CommandAnswer) -> Result<(), Busy> {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return Err(Busy::Closed);
        }
        if inbox.commands.len() >= MAX_COMMANDS {
            return Err(Busy::Full);
        }
        inbox.commands.push_back((command, answer));
        drop(inbox);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues a query.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn query(&self, query: Query, answer: QueryAnswer) -> Result<(), Busy> {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return Err(Busy::Closed);
        }
        if inbox.queries.len() >= MAX_QUERIES {
            return Err(Busy::Full);
        }
        inbox.queries.push_back((query, answer));
        drop(inbox);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes nothing more; what waits is still done.
    pub fn close(&self) {
        self.inbox.lock().closed = true;
        self.wake.notify_all();
    }

    /// Waits for work, at most `wait` (for ever if `None`); empty work when the time is up, `None`
    /// when the port is closed and empty.
    pub fn take(&self, wait: Option<Duration>) -> Option<Work> {
        let mut inbox = self.inbox.lock();
        let deadline = wait.map(|wait| std::time::Instant::now() + wait);
        while inbox.is_empty() {
            if inbox.closed {
                return None;
            }
            match deadline {
                Some(deadline) => {
                    if self.wake.wait_until(&mut inbox, deadline).timed_out() {
                        break;
                    }
                }
                None => self.wake.wait(&mut inbox),
            }
        }
        let mut work = Work::default();
        let commands = inbox.commands.len().min(TURN_INPUTS / 2);
        work.commands.extend(inbox.commands.drain(..commands));
        let packets = inbox.packets.len().min(TURN_INPUTS - commands);
        let mut bytes = 0;
        work.inputs.extend(inbox.packets.drain(..packets).map(|(input, size)| {
            bytes += size;
            input
        }));
        inbox.packet_bytes -= bytes;
        let queries = inbox.queries.len().min(TURN_QUERIES);
        work.queries.extend(inbox.queries.drain(..queries));
        Some(work)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use quorate_ledger::ids::GroupId;
    use quorate_replica::api::{Command, PeerRef, Query};
    use quorate_replica::wire::VerifyContext;
    use tokio::sync::oneshot;

    use super::{Busy, MAX_COMMANDS, MAX_PACKETS, Port, TURN_INPUTS};

    fn port() -> Port {
        let group = GroupId(uuid::Uuid::from_u128(1));
        Port::new(VerifyContext { group, views: Vec::new(), known: None })
    }

    #[test]
    fn queues_are_bounded_and_drained_in_turns() {
        let port = port();
        for n in 0..MAX_PACKETS + 10 {
            port.connected(PeerRef(Arc::from(n.to_be_bytes())));
        }
        for _ in 0..MAX_COMMANDS {
            assert_eq!(port.command(Command::Leave, oneshot::channel().0), Ok(()));
        }
        assert_eq!(port.command(Command::Leave, oneshot::channel().0), Err(Busy::Full));
        let work = port.take(None).expect("work");
        assert_eq!(work.commands.len(), TURN_INPUTS / 2);
        assert_eq!(work.inputs.len(), TURN_INPUTS / 2);
        let mut inputs = work.inputs.len();
        port.close();
        while let Some(work) = port.take(None) {
            inputs += work.inputs.len();
        }
        assert_eq!(inputs, MAX_PACKETS);
    }

    #[test]
    fn a_closed_port_refuses_and_an_idle_one_times_out() {
        let port = port();
        let work = port.take(Some(Duration::from_millis(1))).expect("open");
        assert!(work.inputs.is_empty() && work.commands.is_empty() && work.queries.is_empty());
        port.close();
        assert_eq!(port.query(Query::Status, oneshot::channel().0), Err(Busy::Closed));
        assert!(port.take(None).is_none());
    }
}
