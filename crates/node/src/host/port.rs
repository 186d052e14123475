//! Where a group's thread gets its work from.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// How much may wait, and how much of it one turn takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packets that may wait. Further ones are dropped.
    pub packets: usize,
    /// Bytes of packets that may wait.
    pub packet_bytes: usize,
    /// Commands that may wait. Further ones are refused.
    pub commands: usize,
    /// Queries that may wait. Further ones are refused.
    pub queries: usize,
    /// Inputs taken in one turn; at most half of them are commands.
    pub turn_inputs: usize,
    /// Queries answered between two turns: reading must not hold the ordering up.
    pub turn_queries: usize,
    /// How long the thread looks for more before it sleeps, if of its last few waits any was not much
    /// longer: to be woken takes as long as many an answer of another node. It gives way to whoever
    /// wants its core. Zero: it sleeps at once.
    pub look: Duration,
}

/// How many waits are remembered.
const REMEMBERED: u32 = 4;

/// Why a request cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// Too many wait already.
    Full,
    /// The group is being stopped.
    Closed,
}

/// What the thread does next: inputs of the network, commands and queries.
pub struct Work<I, C, Q> {
    pub inputs: Vec<I>,
    pub commands: Vec<C>,
    pub queries: Vec<Q>,
}

struct Inbox<I, C, Q> {
    packets: VecDeque<(I, usize)>,
    packet_bytes: usize,
    commands: VecDeque<C>,
    /// Commands that gain by waiting while the group holds them.
    patient: VecDeque<C>,
    /// The group does not want patient commands now.
    holds: bool,
    queries: VecDeque<Q>,
    closed: bool,
    /// Waits since one was short.
    long_waits: u32,
}

impl<I, C, Q> Inbox<I, C, Q> {
    fn is_empty(&self) -> bool {
        self.packets.is_empty()
            && self.commands.is_empty()
            && self.queries.is_empty()
            && (self.patient.is_empty() || (self.holds && !self.closed))
    }
}

/// Bounded queues in front of a group's thread.
pub struct Port<I, C, Q> {
    limits: Limits,
    inbox: Mutex<Inbox<I, C, Q>>,
    wake: Condvar,
}

impl<I, C, Q> Port<I, C, Q> {
    /// Empty.
    pub const fn new(limits: Limits) -> Self {
        let inbox = Inbox {
            packets: VecDeque::new(),
            packet_bytes: 0,
            commands: VecDeque::new(),
            patient: VecDeque::new(),
            holds: false,
            queries: VecDeque::new(),
            closed: false,
            long_waits: REMEMBERED,
        };
        Self { limits, inbox: Mutex::new(inbox), wake: Condvar::new() }
    }

    /// Queues an input of the network that took `size` bytes on the wire; drops it if there is no
    /// room.
    pub fn packet(&self, input: I, size: usize) {
        let mut inbox = self.inbox.lock();
        let full = inbox.packets.len() >= self.limits.packets
            || inbox.packet_bytes.saturating_add(size) > self.limits.packet_bytes;
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

    /// Queues a command.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn command(&self, command: C) -> Result<(), Busy> {
        self.commands([(command, false)]).map_err(|(_, busy)| busy)
    }

    /// Queues commands in order, each with whether it gains by waiting while the group does not want
    /// it.
    ///
    /// # Errors
    /// How many were taken, and why the others were not.
    pub fn commands(
        &self,
        commands: impl IntoIterator<Item = (C, bool)>,
    ) -> Result<(), (usize, Busy)> {
        let (mut taken, mut wakes, mut result) = (0, false, Ok(()));
        let mut inbox = self.inbox.lock();
        for (command, patient) in commands {
            let busy = if inbox.closed {
                Some(Busy::Closed)
            } else if inbox.commands.len() + inbox.patient.len() >= self.limits.commands {
                Some(Busy::Full)
            } else {
                None
            };
            if let Some(busy) = busy {
                result = Err((taken, busy));
                break;
            }
            let queue = if patient { &mut inbox.patient } else { &mut inbox.commands };
            queue.push_back(command);
            wakes |= !(patient && inbox.holds);
            taken += 1;
        }
        drop(inbox);
        if wakes {
            self.wake.notify_one();
        }
        result
    }

    /// Queues a query.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn query(&self, query: Q) -> Result<(), Busy> {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return Err(Busy::Closed);
        }
        if inbox.queries.len() >= self.limits.queries {
            return Err(Busy::Full);
        }
        inbox.queries.push_back(query);
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
    /// when the port is closed and empty. While `holds`, patient commands stay where they are.
    pub fn take(&self, wait: Option<Duration>, holds: bool) -> Option<Work<I, C, Q>> {
        let mut inbox = self.inbox.lock();
        inbox.holds = holds;
        if inbox.is_empty() {
            let from = Instant::now();
            inbox = self.wait(inbox, wait.map(|wait| from + wait))?;
            let short = from.elapsed() < 2 * self.limits.look;
            inbox.long_waits = if short { 0 } else { inbox.long_waits.saturating_add(1) };
        }
        let commands = inbox.commands.len().min(self.limits.turn_inputs / 2);
        let mut commands: Vec<C> = inbox.commands.drain(..commands).collect();
        if !holds || inbox.closed {
            let room = self.limits.turn_inputs / 2 - commands.len();
            let patient = inbox.patient.len().min(room);
            commands.extend(inbox.patient.drain(..patient));
        }
        let packets = inbox.packets.len().min(self.limits.turn_inputs - commands.len());
        let mut bytes = 0;
        let inputs = inbox.packets.drain(..packets).map(|(input, size)| {
            bytes += size;
            input
        });
        let inputs = inputs.collect();
        inbox.packet_bytes -= bytes;
        let queries = inbox.queries.len().min(self.limits.turn_queries);
        let queries = inbox.queries.drain(..queries).collect();
        Some(Work { inputs, commands, queries })
    }

    /// Until there is work or the time is up; `None` if the port is closed and empty.
    fn wait<'a>(
        &'a self,
        mut inbox: MutexGuard<'a, Inbox<I, C, Q>>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, Inbox<I, C, Q>>> {
        let mut look_until = Instant::now() + self.limits.look;
        if let Some(deadline) = deadline {
            look_until = look_until.min(deadline);
        }
        while inbox.is_empty() {
            if inbox.closed {
                return None;
            }
            if inbox.long_waits < REMEMBERED && Instant::now() < look_until {
                MutexGuard::unlocked(&mut inbox, std::thread::yield_now);
                continue;
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
        Some(inbox)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Busy, Limits, Port};

    const LIMITS: Limits = Limits {
        packets: 100,
        packet_bytes: 1000,
        commands: 50,
        queries: 2,
        turn_inputs: 40,
        turn_queries: 1,
        look: Duration::from_micros(100),
    };

    #[test]
    fn queues_are_bounded_and_drained_in_turns() {
        let port: Port<usize, usize, ()> = Port::new(LIMITS);
        for n in 0..LIMITS.packets + 10 {
            port.packet(n, 1);
        }
        for n in 0..LIMITS.commands {
            assert_eq!(port.command(n), Ok(()));
        }
        assert_eq!(port.command(0), Err(Busy::Full));
        let work = port.take(None, false).expect("work");
        assert_eq!(work.commands, (0..20).collect::<Vec<_>>());
        assert_eq!(work.inputs, (0..20).collect::<Vec<_>>());
        let mut inputs = work.inputs.len();
        port.close();
        while let Some(work) = port.take(None, false) {
            inputs += work.inputs.len();
        }
        assert_eq!(inputs, LIMITS.packets);
    }

    #[test]
    fn bytes_of_packets_are_bounded_and_given_back() {
        let port: Port<u8, (), ()> = Port::new(LIMITS);
        port.packet(1, 600);
        port.packet(2, 600);
        assert_eq!(port.take(None, false).expect("work").inputs, [1]);
        port.packet(3, 1000);
        assert_eq!(port.take(None, false).expect("work").inputs, [3]);
    }

    #[test]
    fn patient_commands_wait_while_they_are_held_and_no_longer() {
        let port: Port<(), u32, ()> = Port::new(LIMITS);
        assert_eq!(port.commands([(1, true), (2, false)]), Ok(()));
        assert_eq!(port.take(None, true).expect("work").commands, [2]);
        let nothing = port.take(Some(Duration::ZERO), true).expect("the time is up");
        assert!(nothing.commands.is_empty());
        assert_eq!(port.command(3), Ok(()));
        assert_eq!(port.take(None, false).expect("work").commands, [3, 1]);
        assert_eq!(port.commands([(4, true)]), Ok(()));
        port.close();
        assert_eq!(port.take(None, true).expect("the rest").commands, [4]);
        assert!(port.take(None, true).is_none());
    }

    #[test]
    fn who_looks_for_work_finds_it_and_heeds_the_time_and_the_end() {
        let look = Duration::from_secs(3_600);
        let port: Port<u8, (), ()> = Port::new(Limits { look, ..LIMITS });
        port.inbox.lock().long_waits = 0;
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| port.take(None, false).expect("work").inputs);
            port.packet(1, 1);
            assert_eq!(taken.join().expect("it ends"), [1]);
        });
        assert_eq!(port.inbox.lock().long_waits, 0, "an hour is short here");
        let nothing = port.take(Some(Duration::ZERO), false).expect("the time is up");
        assert!(nothing.inputs.is_empty());
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| port.take(None, false).is_none());
            port.close();
            assert!(ended.join().expect("it ends"));
        });
    }

    #[test]
    fn who_has_waited_long_again_and_again_sleeps() {
        let port: Port<u8, (), ()> = Port::new(Limits { look: Duration::ZERO, ..LIMITS });
        port.inbox.lock().long_waits = 0;
        for waits in 1..=super::REMEMBERED {
            assert!(port.take(Some(Duration::ZERO), false).is_some());
            assert_eq!(port.inbox.lock().long_waits, waits);
        }
    }

    #[test]
    fn of_several_commands_those_are_taken_that_there_is_room_for() {
        let port: Port<(), usize, ()> = Port::new(LIMITS);
        let most = LIMITS.commands;
        let all = (0..most + 5).map(|n| (n, n % 2 == 0));
        assert_eq!(port.commands(all), Err((most, Busy::Full)));
        let mut taken = Vec::new();
        while taken.len() < most {
            taken.extend(port.take(None, false).expect("work").commands);
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..most).collect::<Vec<_>>());
        port.close();
        assert_eq!(port.commands([(0, true)]), Err((0, Busy::Closed)));
    }

    #[test]
    fn a_closed_port_refuses_and_an_idle_one_times_out() {
        let port: Port<(), (), ()> = Port::new(LIMITS);
        let work = port.take(Some(Duration::from_millis(1)), false).expect("open");
        assert!(work.inputs.is_empty() && work.commands.is_empty() && work.queries.is_empty());
        assert_eq!((port.query(()), port.query(())), (Ok(()), Ok(())));
        assert_eq!(port.query(()), Err(Busy::Full));
        assert_eq!(port.take(None, false).expect("work").queries, [()]);
        port.close();
        assert_eq!(port.query(()), Err(Busy::Closed));
        assert_eq!(port.take(None, false).expect("the rest").queries, [()]);
        assert!(port.take(None, false).is_none());
    }
}
