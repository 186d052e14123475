//! Who turns a member: its thread, or whoever brings a little work while nobody does.
//!
//! To wake a thread takes as long as many a turn. So a packet of the network is dealt with on the
//! network's thread, and what it leads to leaves from there; a request on the thread of the API. A
//! member that has much to do, or a slow disk, is left to its own thread: see [`AtOnce`].

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_replica::cft::Chores;
use quorate_replica::cft::api::{Command, Input, Query};

use super::host::{CommandAnswer, Host, QueryAnswer};
use crate::host::{AtOnce, Busy, Limits, Next, Port, Queued, Turn, Work, look_on};

/// What may wait. One turn takes all commands that wait.
const LIMITS: Limits = Limits {
    packets: 16_384,
    packet_bytes: 64 * 1024 * 1024,
    commands: 16_384,
    queries: 4096,
    turn_inputs: 32_768,
    turn_queries: 64,
    at_once: AtOnce { items: 8, bytes: 8 * 1024, turn: Duration::from_millis(1) },
    look: Duration::from_micros(100),
};

/// How long a runtime's thread looks for more when it has turned ([`look_on`]): an answer of the other
/// nodes takes as long, with a sync of their disks.
const LOOK: Duration = Duration::from_micros(400);

/// Tasks that follow each other until something has left: a stream's, its connection's.
const SENDING: usize = 3;

type Asked = (Command, CommandAnswer);
type Asking = (Query, QueryAnswer);

/// Work of a member.
pub type Jobs = Work<Input, Asked, Asking>;

/// A member, and the work that waits for it.
pub struct Seat {
    port: Port<Input, Asked, Asking>,
    /// Until the thread has ended.
    host: Mutex<Option<Host>>,
}

impl Seat {
    /// With nothing to do.
    pub const fn new(host: Host) -> Self {
        Self { port: Port::new(LIMITS), host: Mutex::new(Some(host)) }
    }

    /// Takes an input of the network that took `size` bytes on the wire; drops it if there is no
    /// room. Must be called in a runtime.
    pub fn packet(self: &Arc<Self>, input: Input, size: usize) {
        if let Some(turn) = self.port.packet_at_once(input, size) {
            self.turn(turn);
        }
    }

    /// Takes commands in order, each with whether it gains by waiting while the member does not want
    /// it.
    pub fn commands(self: &Arc<Self>, commands: impl IntoIterator<Item = (Asked, bool)>) -> Queued {
        let (turn, result) = self.port.commands_at_once(commands);
        if let Some(turn) = turn {
            self.turn(turn);
        }
        result
    }

    /// Takes a query.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn query(&self, asking: Asking) -> Result<(), Busy> {
        self.port.query(asking)
    }

    /// Takes nothing more; what waits is still done.
    pub fn close(&self) {
        self.port.close();
    }

    fn turn(self: &Arc<Self>, mut turn: Turn<'_, Input, Asked, Asking>) {
        let mut host = self.host.lock();
        let Some(host) = &mut *host else { return };
        loop {
            host.turn(turn.work());
            if turn.is_calm() {
                look_on(LOOK);
            }
            let chores = host.chores();
            let mut next = host.next();
            if chores == Chores::Many {
                next.wait = Some(Duration::ZERO);
            }
            match turn.end(next) {
                Some(next) => turn = next,
                None if chores == Chores::Few => return self.settle_soon(),
                None => return,
            }
        }
    }

    /// Settles once the tasks have run that send what the turn brought.
    fn settle_soon(self: &Arc<Self>) {
        let seat = Arc::clone(self);
        tokio::spawn(async move {
            for _ in 0..SENDING {
                tokio::task::yield_now().await;
            }
            // Whoever turns now settles, or has it done.
            if let Some(mut host) = seat.host.try_lock()
                && let Some(host) = &mut *host
                && host.chores() == Chores::Few
            {
                host.settle();
                // If the disk fails, that is tried again.
                if host.chores() != Chores::None
                    && let Some(wait) = host.next().wait
                {
                    seat.port.remind(wait);
                }
            }
        });
    }

    /// Turns until the seat is closed; then the member is gone.
    pub fn run(&self) {
        let mut next = self.next();
        while let Some(jobs) = self.port.take(next) {
            if let Some(host) = &mut *self.host.lock() {
                host.turn(jobs);
                host.settle();
            }
            next = self.next();
        }
        *self.host.lock() = None;
    }

    fn next(&self) -> Next {
        self.host.lock().as_ref().map(Host::next).unwrap_or_default()
    }
}
