//! Virtual time: what happens when, and to whom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_replica::api::Input;

use super::{Happening, Inputs, World, peer};

impl<G: KeyGeneration> World<G>
where
    G::Keys: Threshold,
{
    pub(super) fn at(&mut self, time: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((time, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    /// Lets things happen until `end` or until `done` says so; whether it said so.
    pub(super) fn run_until(&mut self, end: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while let Some(&Reverse((time, _))) = self.queue.peek() {
            if time > end || self.violation.is_some() {
                break;
            }
            self.now = self.now.max(time);
            let mut inputs: BTreeMap<usize, Inputs> = BTreeMap::new();
            while let Some(&Reverse((next, sequence))) = self.queue.peek() {
                if next > time {
                    break;
                }
                self.queue.pop();
                let happening = self.happenings.remove(&sequence).expect("queued once");
                self.happen(happening, &mut inputs);
            }
            for (node, inputs) in inputs {
                self.turn(node, inputs);
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

    pub(super) fn happen(&mut self, happening: Happening, inputs: &mut BTreeMap<usize, Inputs>) {
        match happening {
            Happening::Deliver { from, to, packet } => {
                if let Some(input) = self.arrive(from, to, packet) {
                    inputs.entry(to).or_default().push(input);
                }
            }
            Happening::Wake { node } => {
                let due = self.nodes[node].wake.is_some_and(|t| t.0 <= self.clock(node));
                if due && self.nodes[node].driver.is_some() {
                    if self.nodes[node].paused_until > self.now {
                        let later = self.nodes[node].paused_until;
                        self.at(later, Happening::Wake { node });
                    } else {
                        inputs.entry(node).or_default().push(Input::Wake);
                    }
                }
            }
            Happening::Connect { node, other } => {
                if self.nodes[node].driver.is_some() && self.nodes[other].driver.is_some() {
                    inputs.entry(node).or_default().push(Input::Connected(peer(other)));
                }
            }
            Happening::Restart { node } => {
                if self.nodes[node].driver.is_none() {
                    self.start(node);
                }
            }
            Happening::Post => self.post(inputs),
            Happening::Misfortune => self.misfortune(),
            Happening::DiskFree { node } => self.set_disk(node),
            Happening::Reunite { epoch } => {
                if self.island.1 == epoch {
                    self.island = (BTreeSet::new(), 0);
                    self.connect_all();
                }
            }
        }
    }

    pub(super) fn clock(&self, node: usize) -> u64 {
        self.now + self.nodes[node].clock_ahead
    }

    pub(super) fn schedule_wake(&mut self, node: usize) {
        if let Some(time) = self.nodes[node].wake {
            let real = time.0.saturating_sub(self.nodes[node].clock_ahead).max(self.now);
            self.at(real, Happening::Wake { node });
        }
    }
}
