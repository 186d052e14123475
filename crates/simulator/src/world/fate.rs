//! Clients that post, and misfortunes that strike.

use std::collections::BTreeMap;

use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::trx::TrxType;
use quorate_replica::api::{Command, Input, Ticket};
use rand::RngExt;

use super::{Happening, Inputs, World};
use crate::disk::DiskFaults;
use crate::faults::Faults;

impl<G: KeyGeneration> World<G>
where
    G::Keys: Threshold,
{
    pub(super) fn post(&mut self, inputs: &mut BTreeMap<usize, Inputs>) {
        self.posted += 1;
        let live: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| {
                let node = &self.nodes[n];
                node.driver.is_some() && node.paused_until <= self.now && !node.traitor
            })
            .collect();
        if live.is_empty() {
            return;
        }
        let node = live[self.rng.random_range(0..live.len())];
        self.tickets += 1;
        let payload = format!("{{\"post\":{}}}", self.posted).into_bytes();
        let command = Command::Submit { kind: TrxType::Post, payload };
        inputs.entry(node).or_default().push(Input::Command(Ticket(self.tickets), command));
    }

    pub(super) fn any(&mut self) -> usize {
        self.rng.random_range(0..self.nodes.len())
    }

    pub(super) fn misfortune(&mut self) {
        if !self.faulty {
            return;
        }
        let faults = self.plan.faults.clone();
        if self.chance(faults.crash_all) {
            self.counts.add("crash_all");
            for node in 0..self.nodes.len() {
                let after = self.rng.random_range(100..2_000);
                if self.rng.random_bool(0.5) {
                    let calls = self.rng.random_range(1..12);
                    self.nodes[node].disk.light_fuse(calls);
                } else if self.nodes[node].driver.is_some() {
                    self.crash(node, after);
                }
            }
        }
        if self.chance(faults.crash) {
            let node = self.any();
            if self.rng.random_bool(0.7) {
                let calls = self.rng.random_range(1..30);
                self.nodes[node].disk.light_fuse(calls);
            } else if self.nodes[node].driver.is_some() {
                let after = self.rng.random_range(100..6_000);
                self.crash(node, after);
            }
        }
        if self.chance(faults.partition) && self.island.1 <= self.now {
            let total = self.nodes.len();
            let side = (0..total).filter(|_| self.rng.random_bool(0.5)).collect();
            let until = self.now + self.rng.random_range(500..5_000);
            self.island = (side, until);
            self.counts.add("partition");
            self.at(until, Happening::Reunite { epoch: until });
        }
        if self.chance(faults.one_way) {
            let (from, to) = (self.any(), self.any());
            let until = self.now + self.rng.random_range(500..5_000);
            self.cuts.insert((from, to), until);
            self.counts.add("one_way_cut");
        }
        if self.chance(faults.slow_link) {
            let node = self.any();
            self.nodes[node].slow_until = self.now + self.rng.random_range(500..4_000);
        }
        if self.chance(faults.pause) {
            let node = self.any();
            self.nodes[node].paused_until = self.now + self.rng.random_range(200..4_000);
            self.counts.add("pause");
        }
        if self.chance(faults.clock_jump) {
            let node = self.any();
            self.nodes[node].clock_ahead += self.rng.random_range(1..2_000);
            self.counts.add("clock_jump");
            self.schedule_wake(node);
        }
        self.disk_misfortune(&faults);
    }

    pub(super) fn disk_misfortune(&mut self, faults: &Faults) {
        if self.chance(faults.full_disk) {
            let node = self.any();
            let used = self.nodes[node].disk.used();
            self.nodes[node]
                .disk
                .set_faults(DiskFaults { capacity: used.max(1), write_error: 0.0 });
            let until = self.now + self.rng.random_range(500..4_000);
            self.at(until, Happening::DiskFree { node });
        } else if faults.disk_error > 0.0 {
            let node = self.any();
            self.set_disk(node);
        }
    }

    pub(super) fn set_disk(&mut self, node: usize) {
        let write_error = if self.faulty { self.plan.faults.disk_error } else { 0.0 };
        self.nodes[node].disk.set_faults(DiskFaults { capacity: 0, write_error });
    }
}
