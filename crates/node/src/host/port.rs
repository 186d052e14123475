//! Where a group's thread gets its work from, and who else may do it: whoever brings a little while
//! nobody turns.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::look::Waits;

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
    /// Who brings no more than this turns, if nobody does ([`Port::packet_at_once`]).
    pub at_once: AtOnce,
    /// How long the thread looks for more before it sleeps ([`Waits`]). Zero: it sleeps at once.
    pub look: Duration,
}

/// So little that who brings it does it: to wake the group's thread may take longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtOnce {
    /// Packets, commands and queries.
    pub items: usize,
    /// Bytes of packets.
    pub bytes: usize,
    /// A turn must not take much longer: who brings work has other things to do. While turns do (a
    /// slow disk), they are left to the thread.
    pub turn: Duration,
}

impl AtOnce {
    /// All is left to the group's thread.
    pub const NOTHING: Self = Self { items: 0, bytes: 0, turn: Duration::ZERO };
}

/// Turns that somebody takes in a row before they leave what comes to the thread.
const MAX_ROUNDS: u32 = 8;

/// It is calm when so long nothing but a little has come.
const CALM: Duration = Duration::from_millis(20);

/// Why a request cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// Too many wait already.
    Full,
    /// The group is being stopped.
    Closed,
}

/// What is known of the next turn when one is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Next {
    /// It is due after this time, whatever comes (`None`: not before something comes).
    pub wait: Option<Duration>,
    /// Patient commands stay where they are until it is over.
    pub holds: bool,
    /// It may take long.
    pub long: bool,
}

/// Whether commands were taken; if not all, how many, and why the others were not.
pub type Queued = Result<(), (usize, Busy)>;

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
    queries: VecDeque<Q>,
    closed: bool,
    /// Since when somebody turns: they look again before they end.
    turning: Option<Instant>,
    /// It is the thread who turns. It does from the beginning until it asks for work.
    thread_turns: bool,
    next: Next,
    /// How long turns take: each counts for a quarter of the average.
    turns_take: Duration,
    /// Somebody else than the thread began a turn and did not end it.
    broken: bool,
    /// When the thread turns at the latest.
    deadline: Option<Instant>,
    /// The thread sleeps, and until when.
    sleeps: Option<Option<Instant>>,
    /// The thread's.
    waits: Waits,
    /// When the thread had more to do than a little.
    much: Option<Instant>,
}

impl<I, C, Q> Inbox<I, C, Q> {
    fn is_empty(&self) -> bool {
        self.packets.is_empty()
            && self.commands.is_empty()
            && self.queries.is_empty()
            && (self.patient.is_empty() || (self.next.holds && !self.closed))
    }

    /// Somebody turns.
    const fn is_turned(&self) -> bool {
        self.turning.is_some() || self.thread_turns
    }

    /// There is work, so little that who brought it does it.
    fn is_little(&self, limits: &AtOnce) -> bool {
        let items =
            self.packets.len() + self.commands.len() + self.patient.len() + self.queries.len();
        !self.is_empty()
            && items <= limits.items
            && self.packet_bytes <= limits.bytes
            && !self.next.long
            && self.turns_take <= limits.turn
            && !self.closed
            && !self.broken
    }

    fn take(&mut self, limits: &Limits) -> Work<I, C, Q> {
        let commands = self.commands.len().min(limits.turn_inputs / 2);
        let mut commands: Vec<C> = self.commands.drain(..commands).collect();
        if !self.next.holds || self.closed {
            let room = limits.turn_inputs / 2 - commands.len();
            let patient = self.patient.len().min(room);
            commands.extend(self.patient.drain(..patient));
        }
        let packets = self.packets.len().min(limits.turn_inputs - commands.len());
        let mut bytes = 0;
        let inputs = self.packets.drain(..packets).map(|(input, size)| {
            bytes += size;
            input
        });
        let inputs = inputs.collect();
        self.packet_bytes -= bytes;
        let queries = self.queries.len().min(limits.turn_queries);
        let queries = self.queries.drain(..queries).collect();
        Work { inputs, commands, queries }
    }

    /// A turn is over.
    fn end(&mut self, next: Next) {
        let now = Instant::now();
        if let Some(began) = self.turning.take() {
            self.turns_take = (self.turns_take * 3 + (now - began)) / 4;
        }
        (self.next, self.deadline) = (next, next.wait.map(|wait| now + wait));
    }

    /// Whether the thread must be woken although nobody brings anything.
    fn overslept(&self) -> bool {
        match (self.sleeps, self.deadline) {
            (Some(None), Some(_)) => true,
            (Some(Some(until)), Some(deadline)) => deadline < until,
            _ => false,
        }
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
            queries: VecDeque::new(),
            closed: false,
            turning: None,
            thread_turns: true,
            next: Next { wait: None, holds: false, long: false },
            turns_take: Duration::ZERO,
            broken: false,
            deadline: None,
            sleeps: None,
            waits: Waits::LONG,
            much: None,
        };
        Self { limits, inbox: Mutex::new(inbox), wake: Condvar::new() }
    }

    /// Queues an input of the network that took `size` bytes on the wire; drops it if there is no
    /// room.
    pub fn packet(&self, input: I, size: usize) {
        self.call(self.put_packet(input, size));
    }

    /// [`Port::packet`]; if there is little to do and nobody does it, the caller turns.
    #[must_use]
    pub fn packet_at_once(&self, input: I, size: usize) -> Option<Turn<'_, I, C, Q>> {
        self.begin(self.put_packet(input, size))
    }

    /// Queues a command.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn command(&self, command: C) -> Result<(), Busy> {
        let (inbox, result) = self.put_commands([(command, false)]);
        self.call(inbox);
        result.map_err(|(_, busy)| busy)
    }

    /// Queues commands in order, each with whether it gains by waiting while the group does not want
    /// it. If there is little to do and nobody does it, the caller turns, whatever was refused.
    pub fn commands_at_once(
        &self,
        commands: impl IntoIterator<Item = (C, bool)>,
    ) -> (Option<Turn<'_, I, C, Q>>, Queued) {
        let (inbox, result) = self.put_commands(commands);
        (self.begin(inbox), result)
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
        self.call(inbox);
        Ok(())
    }

    /// A turn is due after this time although nobody turns now.
    pub fn remind(&self, wait: Duration) {
        let mut inbox = self.inbox.lock();
        let due = Instant::now() + wait;
        inbox.deadline = Some(inbox.deadline.map_or(due, |at| at.min(due)));
        if inbox.overslept() {
            drop(inbox);
            self.wake.notify_one();
        }
    }

    /// Takes nothing more; what waits is still done.
    pub fn close(&self) {
        self.inbox.lock().closed = true;
        self.wake.notify_all();
    }

    /// Waits for work; empty work when a turn is due without, `None` when the port is closed and empty.
    /// The group's thread turns from here to its next call.
    ///
    /// # Panics
    /// If somebody else has panicked in a turn.
    pub fn take(&self, next: Next) -> Option<Work<I, C, Q>> {
        let from = Instant::now();
        let mut inbox = self.inbox.lock();
        debug_assert!(inbox.thread_turns, "a port has one thread");
        inbox.thread_turns = false;
        inbox.end(next);
        let mut waited = false;
        loop {
            assert!(!inbox.broken, "a turn of another thread has failed");
            let now = Instant::now();
            if !inbox.is_turned() {
                if !inbox.is_empty() || inbox.deadline.is_some_and(|at| at <= now) {
                    break;
                }
                if inbox.closed {
                    return None;
                }
            }
            waited = true;
            if inbox.waits.worth_it() && now < from + self.limits.look {
                MutexGuard::unlocked(&mut inbox, std::thread::yield_now);
                continue;
            }
            let until = inbox.deadline.filter(|_| !inbox.is_turned());
            inbox.sleeps = Some(until);
            match until {
                Some(until) => drop(self.wake.wait_until(&mut inbox, until)),
                None => self.wake.wait(&mut inbox),
            }
            inbox.sleeps = None;
        }
        if waited {
            inbox.waits = inbox.waits.and(from.elapsed(), self.limits.look);
        }
        let now = Instant::now();
        if !inbox.is_empty() && !inbox.is_little(&self.limits.at_once) {
            inbox.much = Some(now);
        }
        (inbox.turning, inbox.thread_turns) = (Some(now), true);
        Some(inbox.take(&self.limits))
    }

    fn put_packet(&self, input: I, size: usize) -> MutexGuard<'_, Inbox<I, C, Q>> {
        let mut inbox = self.inbox.lock();
        let full = inbox.packets.len() >= self.limits.packets
            || inbox.packet_bytes.saturating_add(size) > self.limits.packet_bytes;
        if inbox.closed || full {
            metrics::counter!("quorate_frames_dropped_total", "reason" => "group_queue")
                .increment(1);
        } else {
            inbox.packets.push_back((input, size));
            inbox.packet_bytes += size;
        }
        inbox
    }

    fn put_commands(
        &self,
        commands: impl IntoIterator<Item = (C, bool)>,
    ) -> (MutexGuard<'_, Inbox<I, C, Q>>, Queued) {
        let mut inbox = self.inbox.lock();
        for (taken, (command, patient)) in commands.into_iter().enumerate() {
            if inbox.closed {
                return (inbox, Err((taken, Busy::Closed)));
            }
            if inbox.commands.len() + inbox.patient.len() >= self.limits.commands {
                return (inbox, Err((taken, Busy::Full)));
            }
            let queue = if patient { &mut inbox.patient } else { &mut inbox.commands };
            queue.push_back(command);
        }
        (inbox, Ok(()))
    }

    /// Has the thread do what waits, unless somebody does.
    fn call(&self, inbox: MutexGuard<'_, Inbox<I, C, Q>>) {
        if !inbox.is_turned() && !inbox.is_empty() {
            drop(inbox);
            self.wake.notify_one();
        }
    }

    /// Has the caller do what waits, if it is little and nobody does it.
    fn begin<'a>(&'a self, mut inbox: MutexGuard<'a, Inbox<I, C, Q>>) -> Option<Turn<'a, I, C, Q>> {
        if inbox.is_turned() || !inbox.is_little(&self.limits.at_once) {
            self.call(inbox);
            return None;
        }
        inbox.turning = Some(Instant::now());
        Some(Turn { port: self, rounds: 1 })
    }
}

/// The right to turn, of who brought a little work.
pub struct Turn<'a, I, C, Q> {
    port: &'a Port<I, C, Q>,
    rounds: u32,
}

impl<I, C, Q> Turn<'_, I, C, Q> {
    /// What there is to do.
    pub fn work(&self) -> Work<I, C, Q> {
        self.port.inbox.lock().take(&self.port.limits)
    }

    /// Whether there was never more than a little to do lately: other threads may want the cores else.
    pub fn is_calm(&self) -> bool {
        let much = self.port.inbox.lock().much;
        much.is_none_or(|at| at.elapsed() > CALM)
    }

    /// Ends it, as [`Port::take`] does. If a little more has come meanwhile, that is to be done, too.
    #[must_use]
    pub fn end(mut self, next: Next) -> Option<Self> {
        let port = self.port;
        let mut inbox = port.inbox.lock();
        inbox.end(next);
        if self.rounds < MAX_ROUNDS && inbox.is_little(&port.limits.at_once) {
            self.rounds += 1;
            inbox.turning = Some(Instant::now());
            return Some(self);
        }
        self.rounds = 0;
        let wakes = !inbox.is_empty() || inbox.closed || inbox.overslept();
        drop(inbox);
        if wakes {
            port.wake.notify_one();
        }
        None
    }
}

impl<I, C, Q> Drop for Turn<'_, I, C, Q> {
    fn drop(&mut self) {
        if self.rounds > 0 {
            self.port.inbox.lock().broken = true;
            self.port.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::{AtOnce, Busy, Limits, MAX_ROUNDS, Next, Port, Queued, Waits, Work};

    const LIMITS: Limits = Limits {
        packets: 100,
        packet_bytes: 1000,
        commands: 50,
        queries: 2,
        turn_inputs: 40,
        turn_queries: 1,
        at_once: AtOnce { items: 3, bytes: 100, turn: Duration::from_secs(1) },
        look: Duration::from_micros(100),
    };

    const IDLE: Next = Next { wait: None, holds: false, long: false };
    const DUE: Next = Next { wait: Some(Duration::ZERO), ..IDLE };
    const HOLDS: Next = Next { holds: true, ..IDLE };
    /// All is left to the thread.
    const THREAD: Limits = Limits { at_once: AtOnce::NOTHING, ..LIMITS };

    fn queue<I, C, Q>(
        port: &Port<I, C, Q>,
        commands: impl IntoIterator<Item = (C, bool)>,
    ) -> Queued {
        let (turn, result) = port.commands_at_once(commands);
        assert!(turn.is_none());
        result
    }

    /// Nobody turns.
    fn idle<I, C, Q>(limits: Limits) -> Port<I, C, Q> {
        let port = Port::new(limits);
        end(&port, IDLE);
        port
    }

    /// The thread asks for work, whatever it did.
    fn take<I, C, Q>(port: &Port<I, C, Q>, next: Next) -> Option<Work<I, C, Q>> {
        port.inbox.lock().thread_turns = true;
        port.take(next)
    }

    /// The thread has turned.
    fn end<I, C, Q>(port: &Port<I, C, Q>, next: Next) {
        let mut inbox = port.inbox.lock();
        assert!(std::mem::take(&mut inbox.thread_turns), "it was another");
        inbox.end(next);
    }

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
        let work = port.take(IDLE).expect("work");
        assert_eq!(work.commands, (0..20).collect::<Vec<_>>());
        assert_eq!(work.inputs, (0..20).collect::<Vec<_>>());
        let mut inputs = work.inputs.len();
        port.close();
        while let Some(work) = port.take(IDLE) {
            inputs += work.inputs.len();
        }
        assert_eq!(inputs, LIMITS.packets);
    }

    #[test]
    fn bytes_of_packets_are_bounded_and_given_back() {
        let port: Port<u8, (), ()> = Port::new(LIMITS);
        port.packet(1, 600);
        port.packet(2, 600);
        assert_eq!(port.take(IDLE).expect("work").inputs, [1]);
        port.packet(3, 1000);
        assert_eq!(port.take(IDLE).expect("work").inputs, [3]);
    }

    #[test]
    fn patient_commands_wait_while_they_are_held_and_no_longer() {
        let port: Port<(), u32, ()> = Port::new(THREAD);
        assert_eq!(queue(&port, [(1, true), (2, false)]), Ok(()));
        assert_eq!(port.take(HOLDS).expect("work").commands, [2]);
        let nothing = port.take(Next { holds: true, ..DUE }).expect("the time is up");
        assert!(nothing.commands.is_empty());
        assert_eq!(port.command(3), Ok(()));
        assert_eq!(port.take(IDLE).expect("work").commands, [3, 1]);
        assert_eq!(queue(&port, [(4, true)]), Ok(()));
        port.close();
        assert_eq!(port.take(HOLDS).expect("the rest").commands, [4]);
        assert!(port.take(HOLDS).is_none());
    }

    #[test]
    fn who_looks_for_work_finds_it_and_heeds_the_time_and_the_end() {
        let look = Duration::from_secs(3_600);
        let port: Port<u8, (), ()> = Port::new(Limits { look, ..LIMITS });
        port.inbox.lock().waits = Waits::SHORT;
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| port.take(IDLE).expect("work").inputs);
            port.packet(1, 1);
            assert_eq!(taken.join().expect("it ends"), [1]);
        });
        assert_eq!(port.inbox.lock().waits, Waits::SHORT, "an hour is short here");
        let nothing = port.take(DUE).expect("the time is up");
        assert!(nothing.inputs.is_empty());
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| port.take(IDLE).is_none());
            port.close();
            assert!(ended.join().expect("it ends"));
        });
    }

    #[test]
    fn of_several_commands_those_are_taken_that_there_is_room_for() {
        let port: Port<(), usize, ()> = Port::new(THREAD);
        let most = LIMITS.commands;
        let all = (0..most + 5).map(|n| (n, n % 2 == 0));
        assert_eq!(queue(&port, all), Err((most, Busy::Full)));
        let mut taken = Vec::new();
        while taken.len() < most {
            taken.extend(port.take(IDLE).expect("work").commands);
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..most).collect::<Vec<_>>());
        port.close();
        assert_eq!(queue(&port, [(0, true)]), Err((0, Busy::Closed)));
    }

    #[test]
    fn a_closed_port_refuses_and_an_idle_one_times_out() {
        let port: Port<(), (), ()> = Port::new(LIMITS);
        let work = port.take(Next { wait: Some(Duration::from_millis(1)), ..IDLE }).expect("open");
        assert!(work.inputs.is_empty() && work.commands.is_empty() && work.queries.is_empty());
        assert_eq!((port.query(()), port.query(())), (Ok(()), Ok(())));
        assert_eq!(port.query(()), Err(Busy::Full));
        assert_eq!(port.take(IDLE).expect("work").queries, [()]);
        port.close();
        assert_eq!(port.query(()), Err(Busy::Closed));
        assert_eq!(port.take(IDLE).expect("the rest").queries, [()]);
        assert!(port.take(IDLE).is_none());
    }

    #[test]
    fn who_brings_a_little_does_it_and_what_comes_meanwhile() {
        let port: Port<u8, u8, ()> = idle(LIMITS);
        let turn = port.packet_at_once(1, 10).expect("nobody turns");
        assert_eq!(turn.work().inputs, [1]);
        assert!(port.packet_at_once(2, 10).is_none(), "somebody turns");
        assert_eq!(queue(&port, [(3, false)]), Ok(()));
        let turn = turn.end(IDLE).expect("there is more");
        let work = turn.work();
        assert_eq!((work.inputs, work.commands), (vec![2], vec![3]));
        assert!(turn.end(IDLE).is_none());
        // It does not go on like that for ever.
        let mut turn = port.packet_at_once(0, 0).expect("nobody turns");
        for round in 1..MAX_ROUNDS {
            drop(turn.work());
            port.packet(u8::try_from(round).expect("few"), 0);
            turn = turn.end(IDLE).expect("there is more");
        }
        drop(turn.work());
        port.packet(99, 0);
        assert!(turn.end(IDLE).is_none());
        assert_eq!(take(&port, IDLE).expect("work").inputs, [99]);
    }

    #[test]
    fn the_thread_does_what_is_more_than_a_little() {
        let port: Port<u8, u8, ()> = idle(LIMITS);
        assert!(port.packet_at_once(1, LIMITS.at_once.bytes + 1).is_none());
        assert_eq!(take(&port, IDLE).expect("work").inputs, [1]);
        assert!(port.packet_at_once(1, 1).is_none(), "the thread turns");
        assert_eq!(take(&port, IDLE).expect("work").inputs, [1]);
        assert!(take(&port, DUE).is_some());
        end(&port, IDLE);
        assert_eq!(queue(&port, (0..4).map(|n| (n, false))), Ok(()));
        assert_eq!(take(&port, IDLE).expect("work").commands, [0, 1, 2, 3]);
        end(&port, IDLE);
        // Before a long turn all is, and on a slow disk.
        assert!(
            port.packet_at_once(1, 1)
                .expect("nobody turns")
                .end(Next { long: true, ..IDLE })
                .is_none()
        );
        assert_eq!(take(&port, IDLE).expect("work").inputs, [1]);
        end(&port, IDLE);
        port.inbox.lock().turns_take = 2 * LIMITS.at_once.turn;
        assert!(port.packet_at_once(2, 1).is_none());
        assert_eq!(take(&port, IDLE).expect("work").inputs, [2]);
        // What is not wanted now makes nobody turn.
        assert!(take(&port, Next { holds: true, ..DUE }).is_some());
        end(&port, HOLDS);
        port.inbox.lock().turns_take = Duration::ZERO;
        assert_eq!(queue(&port, [(5, true)]), Ok(()));
        port.close();
        assert!(port.packet_at_once(3, 1).is_none(), "closed");
        assert_eq!(take(&port, HOLDS).expect("the rest").commands, [5]);
    }

    #[test]
    fn the_thread_is_reminded() {
        let port: Port<u8, (), ()> = Port::new(LIMITS);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| port.take(IDLE).map(|work| work.inputs));
            while port.inbox.lock().sleeps.is_none() {
                std::thread::yield_now();
            }
            port.remind(Duration::from_secs(3_600));
            port.remind(Duration::ZERO);
            port.remind(Duration::from_secs(3_600));
            assert_eq!(thread.join().expect("it ends"), Some(Vec::new()));
        });
    }

    #[test]
    fn it_is_calm_when_nothing_but_a_little_has_come_lately() {
        let port: Port<u8, (), ()> = idle(LIMITS);
        let turn = port.packet_at_once(1, 1).expect("nobody turns");
        assert!(turn.is_calm());
        drop(turn.work());
        assert!(turn.end(IDLE).is_none());
        assert_eq!(port.inbox.lock().much, None);
        port.packet(2, LIMITS.at_once.bytes + 1);
        assert_eq!(take(&port, IDLE).expect("work").inputs, [2]);
        end(&port, IDLE);
        assert!(port.inbox.lock().much.is_some());
        // However long this test was held up since then.
        port.inbox.lock().much = Some(Instant::now() + Duration::from_secs(3_600));
        let turn = port.packet_at_once(3, 1).expect("nobody turns");
        assert!(!turn.is_calm());
        drop(turn.work());
        assert!(turn.end(IDLE).is_none());
    }

    #[test]
    fn the_thread_waits_for_the_end_of_a_turn_and_keeps_its_time() {
        for (next, closes) in [(DUE, false), (IDLE, true)] {
            let port: Port<u8, (), ()> = Port::new(LIMITS);
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| port.take(IDLE));
                while port.inbox.lock().sleeps.is_none() {
                    std::thread::yield_now();
                }
                let turn = port.packet_at_once(1, 1).expect("nobody turns");
                if closes {
                    port.close();
                }
                assert_eq!(turn.work().inputs, [1]);
                assert!(turn.end(next).is_none());
                // It slept for ever; now it has something to do, or to end.
                let work = thread.join().expect("it ends");
                assert_eq!(work.map(|work| work.inputs), (!closes).then(Vec::new));
            });
        }
    }

    #[test]
    #[should_panic(expected = "a turn of another thread has failed")]
    fn the_thread_ends_when_a_turn_of_another_did_not() {
        let port: Port<u8, (), ()> = Port::new(LIMITS);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| port.take(IDLE).map(|_| ()));
            while port.inbox.lock().sleeps.is_none() {
                std::thread::yield_now();
            }
            drop(port.packet_at_once(1, 1));
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    #[test]
    fn one_turns_at_a_time_and_nothing_is_left() {
        const EACH: usize = 3_000;
        let port: Port<(), (), ()> =
            Port::new(Limits { packets: 2 * EACH, packet_bytes: usize::MAX, ..LIMITS });
        let (turns, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let turn = |inputs: usize| {
            assert!(!turns.swap(true, Ordering::AcqRel), "two turn at once");
            done.fetch_add(inputs, Ordering::Relaxed);
            turns.store(false, Ordering::Release);
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                while let Some(work) = port.take(IDLE) {
                    turn(work.inputs.len());
                }
            });
            let bring = || {
                for n in 0..EACH {
                    let mut mine = port.packet_at_once((), n % 150);
                    while let Some(begun) = mine {
                        turn(begun.work().inputs.len());
                        mine = begun.end(IDLE);
                    }
                }
            };
            let others = [scope.spawn(bring), scope.spawn(bring)];
            for other in others {
                other.join().expect("it ends");
            }
            port.close();
            thread.join().expect("it ends");
        });
        assert_eq!(done.into_inner(), 2 * EACH);
    }
}
