//! Clients that post, and blows that strike.

use quorate_consensus::core::Core;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::trx::TrxType;
use quorate_replica::api::Command;
use rand::RngExt;

use super::{Happening, Keys, MS, Place, World};
use crate::disk::DiskFaults;
use crate::faults::{Harm, Misfortune, Outage};

impl<C: Core> World<C>
where
    Keys<C>: Threshold,
{
    /// A client posts at some correct node that answers.
    pub(super) fn post(&mut self, group: usize) {
        self.groups[group].posted += 1;
        let live: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| {
                let node = &self.nodes[n];
                self.is_up(n) && node.paused_until <= self.now && !node.traitor
            })
            .collect();
        if live.is_empty() {
            return;
        }
        let node = live[self.rng.random_range(0..live.len())];
        let payload = format!("{{\"post\":{}}}", self.groups[group].posted).into_bytes();
        let command = Command::Submit { kind: TrxType::Post, payload };
        self.command(Place { node, group }, command);
    }

    /// Lets a blow of the schedule strike.
    pub(super) fn strike(&mut self, blow: usize) {
        if !self.faulty {
            return;
        }
        let misfortune = self.plan.schedule[blow].misfortune.clone();
        self.tell(|| format!("blow {blow}: {misfortune:?}"));
        let until = |ms: u64| self.now + ms * MS;
        match misfortune {
            Misfortune::Crash(outages) => {
                if outages.len() > 1 {
                    self.counts.add("crash_all");
                }
                for (node, outage) in outages {
                    self.cut_power(node, outage);
                }
            }
            Misfortune::Partition { side, ms } => {
                if self.island.1 <= self.now {
                    let until = until(ms);
                    self.island = (side, until);
                    self.counts.add("partition");
                    self.at(until, Happening::Reunite { until });
                }
            }
            Misfortune::OneWay { from, to, ms } => {
                self.cuts.insert((from, to), until(ms));
                self.counts.add("one_way");
            }
            Misfortune::Clog { node, ms } => self.nodes[node].clogged_until = until(ms),
            Misfortune::SlowLink { node, ms } => self.nodes[node].slow_until = until(ms),
            Misfortune::Bandwidth { node, bytes_per_ms, ms } => {
                let until = until(ms);
                let line = &mut self.nodes[node].line;
                (line.bytes_per_ms, line.until) = (bytes_per_ms, until);
            }
            Misfortune::Pause { node, ms } => {
                self.nodes[node].paused_until = until(ms);
                self.counts.add("pause");
            }
            Misfortune::ClockJump { node, ms } => {
                self.nodes[node].clock.jump(ms * MS);
                self.counts.add("clock_jump");
                self.wake_all(node);
            }
            Misfortune::ClockDrift { node, ppm } => {
                let now = self.now;
                self.nodes[node].clock.drift(ppm, now);
                self.counts.add("clock_drift");
                self.wake_all(node);
            }
            Misfortune::WireVersion { node, ms } => self.nodes[node].foreign_until = until(ms),
            Misfortune::FullDisk { node, ms } => {
                let capacity = self.nodes[node].disk.used().max(1);
                let faults = DiskFaults { capacity, ..DiskFaults::default() };
                self.nodes[node].disk.set_faults(faults);
                self.in_ms(ms, Happening::DiskWell { node });
            }
            Misfortune::SlowSync { node, sync_ms, ms } => {
                self.nodes[node].sync_us = sync_ms * MS;
                self.counts.add("slow_sync");
                self.in_ms(ms, Happening::DiskWell { node });
            }
            Misfortune::BadDisk { node, ms } => {
                let misdirect = self.plan.faults.misdirect;
                let astray = misdirect > 0.0 && self.goes_astray(node);
                let knobs = &self.plan.faults;
                let faults = DiskFaults {
                    capacity: 0,
                    read_error: knobs.read_error,
                    write_error: knobs.write_error,
                    misdirect: if astray { misdirect } else { 0.0 },
                };
                self.nodes[node].disk.set_faults(faults);
                self.in_ms(ms, Happening::DiskWell { node });
            }
            Misfortune::Rot { node } => {
                if self.is_up(node) {
                    self.harm(node, Harm::BitFlip);
                    self.counts.add("rot");
                }
            }
        }
    }

    pub(super) fn mend_disk(&mut self, node: usize) {
        self.is_straight(node);
        let machine = &mut self.nodes[node];
        machine.disk.set_faults(DiskFaults::default());
        machine.sync_us = machine.usual_sync_us;
    }

    /// After a change of its clock a machine's wishes come due at other moments.
    pub(super) fn wake_all(&mut self, node: usize) {
        for group in 0..self.groups.len() {
            self.schedule_wake(Place { node, group });
        }
    }

    fn cut_power(&mut self, node: usize, outage: Outage) {
        if !self.is_up(node) {
            return;
        }
        match outage.fuse {
            Some(calls) => {
                self.nodes[node].disk.light_fuse(calls);
                self.nodes[node].outage = Some(outage);
            }
            None => self.crash(node, outage),
        }
    }
}
