//! Virtual time: what happens when, and to whom.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use quorate_consensus::core::Time;

use super::play::Play;
use super::{BEGIN, Happening, MS, Place, World, peer};

/// Something in the queue. The earliest is the greatest; of one moment, the first scheduled.
pub(super) struct Scheduled<P: Play> {
    time: u64,
    sequence: u64,
    happening: Happening<P>,
}

impl<P: Play> Scheduled<P> {
    fn rank(&self) -> Reverse<(u64, u64)> {
        Reverse((self.time, self.sequence))
    }
}

impl<P: Play> PartialEq for Scheduled<P> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<P: Play> Eq for Scheduled<P> {}

impl<P: Play> PartialOrd for Scheduled<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Play> Ord for Scheduled<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A machine's clock against the world's: `shown = now + ahead + (now - since) * ppm / 10^6`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    since: u64,
    ahead: i64,
    ppm: i64,
}

impl Clock {
    /// What it shows at `now`: both in microseconds since the world's beginning.
    fn shows(&self, now: u64) -> u64 {
        let drift = (now - self.since) as i64 / 1_000_000 * self.ppm
            + (now - self.since) as i64 % 1_000_000 * self.ppm / 1_000_000;
        now.saturating_add_signed(self.ahead + drift)
    }

    /// A moment at which it shows at least `shown`, at most a little later than the first.
    fn moment(&self, shown: u64, now: u64) -> u64 {
        let missing = shown.saturating_sub(self.shows(now));
        let rate = (1_000_000 + self.ppm) as u64;
        now + missing.saturating_mul(1_000_000).div_ceil(rate)
    }

    pub(super) fn jump(&mut self, us: u64) {
        self.ahead += us as i64;
    }

    pub(super) fn drift(&mut self, ppm: i64, now: u64) {
        self.ahead = self.shows(now) as i64 - now as i64;
        self.since = now;
        self.ppm = ppm;
    }
}

impl<P: Play> World<P> {
    pub(super) fn at(&mut self, time: u64, happening: Happening<P>) {
        self.sequence += 1;
        self.queue.push(Scheduled { time, sequence: self.sequence, happening });
    }

    pub(super) fn in_ms(&mut self, ms: u64, happening: Happening<P>) {
        self.at(self.now + ms * MS, happening);
    }

    /// Lets things happen until `end` or until `done` says so; whether it said so.
    pub(super) fn run_until(&mut self, end: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while let Some(next) = self.queue.peek() {
            if next.time > end || self.violation.is_some() {
                break;
            }
            self.now = self.now.max(next.time);
            while self.queue.peek().is_some_and(|next| next.time <= self.now) {
                let next = self.queue.pop().expect("just looked at");
                self.happen(next.happening);
            }
            for place in std::mem::take(&mut self.due) {
                self.feed(place);
            }
            if self.violation.is_none() && done(self) {
                return true;
            }
        }
        if self.violation.is_none() {
            self.now = self.now.max(end);
        }
        false
    }

    fn happen(&mut self, happening: Happening<P>) {
        match happening {
            Happening::Deliver { from, to, packet } => P::arrive(self, from, to, &packet),
            Happening::Wake { place } => {
                let shown = self.clock(place.node);
                if self.seat(place).wake.is_some_and(|wake| wake <= shown) {
                    self.give(place, P::wake());
                }
            }
            Happening::Free { place } => {
                self.seat_mut(place).waits = false;
                self.due.insert(place);
            }
            Happening::Release { place, life, turn } => {
                if self.nodes[place.node].life == life && self.seat(place).member.is_some() {
                    self.dispatch(place, *turn);
                }
            }
            Happening::Connect { place, other } => {
                if self.is_up(other) {
                    self.give(place, P::connected(peer(other)));
                }
            }
            Happening::Restart { node } => {
                if !self.is_up(node) {
                    self.start(node);
                }
            }
            Happening::Blow(blow) => self.strike(blow),
            Happening::DiskWell { node } => self.mend_disk(node),
            Happening::Reunite { until } => {
                if self.island.1 == until {
                    self.island = (BTreeSet::new(), 0);
                    self.connect_all();
                }
            }
            Happening::Play(happening) => P::happen(self, happening),
        }
    }

    /// Puts something into a place's inbox.
    pub(super) fn give(&mut self, place: Place, input: P::Input) {
        let seat = self.seat_mut(place);
        if seat.member.is_some() {
            seat.inbox.push(input);
            self.due.insert(place);
        }
    }

    /// Lets a place take a turn with all its inbox, now or once it can.
    fn feed(&mut self, place: Place) {
        let machine = &mut self.nodes[place.node];
        let seat = &mut machine.seats[place.group];
        if seat.waits || seat.inbox.is_empty() {
            return;
        }
        let able = machine.paused_until.max(seat.busy_until);
        if able > self.now {
            seat.waits = true;
            self.at(able, Happening::Free { place });
            return;
        }
        let inputs = std::mem::take(&mut seat.inbox);
        self.turn(place, inputs);
    }

    /// What a machine's clock shows.
    pub(super) fn clock(&self, node: usize) -> Time {
        Time(BEGIN + self.nodes[node].clock.shows(self.now) / MS)
    }

    pub(super) fn schedule_wake(&mut self, place: Place) {
        if let Some(wake) = self.seat(place).wake {
            let shown = wake.0.saturating_sub(BEGIN).saturating_mul(MS);
            // A wish for the end of time needs no event.
            if shown < u64::MAX / 4 {
                let moment = self.nodes[place.node].clock.moment(shown, self.now);
                self.at(moment, Happening::Wake { place });
            }
        }
    }
}
