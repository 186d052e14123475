//! Machines: started, fed, cut off from power.

use std::fmt;

use rand::RngExt;

use super::play::{Play, Start};
use super::{Happening, MS, Place, World};
use crate::faults::{Harm, Outage};
use crate::properties::limits;

/// How long a machine whose disk failed while it started waits before it tries again.
const START_AGAIN_MS: u64 = 500;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}/g{}", self.node, self.group)
    }
}

impl<P: Play> World<P> {
    /// Starts a machine with all its groups.
    pub(super) fn start(&mut self, node: usize) {
        self.nodes[node].life += 1;
        let turns = match P::open(self, node) {
            Start::Up(turns) => turns,
            Start::Later => return self.start_later(node),
            Start::Gone => return,
            Start::Broken(why) => return self.fail("starts_again", why),
        };
        if node >= self.plan.founders() && self.nodes[node].life == 1 {
            self.counts.add("joiner");
        }
        self.tell(|| format!("n{node} starts"));
        for (place, turn) in turns {
            P::opened(self, place, &turn);
            self.dispatch(place, turn);
            for other in (0..self.nodes.len()).filter(|&other| other != node) {
                let moment = self.now + self.rng.random_range(MS..20 * MS);
                self.at(moment, Happening::Connect { place, other });
                let there = Place { node: other, ..place };
                self.at(moment, Happening::Connect { place: there, other: node });
            }
        }
    }

    /// Its disk failed while it started: what was opened is closed again.
    fn start_later(&mut self, node: usize) {
        if self.violation.is_none() {
            let outage = Outage { fuse: None, back_after_ms: START_AGAIN_MS, harm: Harm::None };
            self.crash(node, outage);
        }
    }

    /// The power goes now.
    pub(super) fn crash(&mut self, node: usize, outage: Outage) {
        P::stops(self, node);
        let machine = &mut self.nodes[node];
        machine.outage = None;
        for seat in &mut machine.seats {
            seat.member = None;
            seat.wake = None;
            seat.inbox.clear();
            seat.busy_until = 0;
        }
        machine.disk.crash();
        P::harm(self, node, outage.harm);
        P::stopped(self, node);
        self.tell(|| format!("n{node} loses power: {outage:?}"));
        self.counts.add("crash");
        self.in_ms(outage.back_after_ms, Happening::Restart { node });
    }

    /// A place takes a turn. While its disk syncs, nothing leaves and the next turn waits.
    pub(super) fn turn(&mut self, place: Place, inputs: Vec<P::Input>) {
        let now = self.clock(place.node);
        let machine = &mut self.nodes[place.node];
        let seat = &mut machine.seats[place.group];
        let Some(member) = &mut seat.member else { return };
        seat.env.now = seat.env.now.max(now);
        let (mut turn, wrote) = P::turn(member, &mut seat.env, inputs);
        P::left(self, place, &mut turn);
        if self.nodes[place.node].disk.is_dead() {
            // What the turn would have said in the end never left the machine.
            return self.power_is_cut(place.node);
        }
        let machine = &self.nodes[place.node];
        let (sync_us, life) = (machine.sync_us, machine.life);
        self.measure(place);
        P::taken(self, place, &turn);
        if wrote && sync_us > 0 {
            let until = self.now + sync_us;
            self.seat_mut(place).busy_until = until;
            return self.at(until, Happening::Release { place, life, turn: Box::new(turn) });
        }
        self.dispatch(place, turn);
    }

    /// What a turn said leaves; then its machine does what nobody waits for.
    pub(super) fn dispatch(&mut self, place: Place, turn: P::Turn) {
        P::dispatch(self, place, turn);
        let machine = &mut self.nodes[place.node];
        let seat = &mut machine.seats[place.group];
        let Some(member) = &mut seat.member else { return };
        let again = P::settle(member, seat.env.now, self.lazy);
        if machine.disk.is_dead() {
            return self.power_is_cut(place.node);
        }
        if let Some(again) = again {
            seat.wake = Some(seat.wake.map_or(again, |wake| wake.min(again)));
            self.schedule_wake(place);
        }
    }

    /// The fuse of its disk has burnt down.
    fn power_is_cut(&mut self, node: usize) {
        let outage = self.nodes[node].outage.take();
        self.counts.add("power_cut_in_a_turn");
        let back_after_ms = START_AGAIN_MS;
        let outage = outage.unwrap_or(Outage { fuse: None, back_after_ms, harm: Harm::None });
        self.crash(node, outage);
    }

    /// The buffers of a correct member, after a turn.
    fn measure(&mut self, place: Place) {
        let machine = &self.nodes[place.node];
        let Some(member) = &machine.seats[place.group].member else { return };
        if !machine.traitor {
            self.footprint.clear();
            P::footprint(member, &mut self.footprint);
            let result = limits::buffers(|| place.to_string(), &self.footprint);
            self.check(result);
        }
    }
}
