//! How blows strike, and how everything heals.

use rand::RngExt;

use super::play::Play;
use super::{Happening, MS, Place, World};
use crate::disk::DiskFaults;
use crate::faults::{Harm, Misfortune, Outage};

impl<P: Play> World<P> {
    /// The faulty phase begins: the blows of the schedule will strike, and joiners come.
    pub(super) fn schedule_blows(&mut self) {
        for blow in 0..self.plan.schedule.len() {
            self.in_ms(self.plan.schedule[blow].at_ms, Happening::Blow(blow));
        }
        for node in self.plan.founders()..self.plan.nodes() {
            let moment = self.rng.random_range(0..self.plan.faulty_ms.max(1));
            self.in_ms(moment, Happening::Restart { node });
        }
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
                let astray = misdirect > 0.0 && P::goes_astray(self, node);
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
                    P::harm(self, node, Harm::BitFlip);
                    self.counts.add("rot");
                }
            }
        }
    }

    /// The faults end: everything works again, and what was down starts.
    pub(super) fn heal(&mut self) {
        self.faulty = false;
        self.island.1 = 0;
        self.cuts.clear();
        for node in 0..self.nodes.len() {
            self.mend_disk(node);
            let (now, machine) = (self.now, &mut self.nodes[node]);
            machine.disk.defuse();
            machine.paused_until = 0;
            machine.clogged_until = 0;
            machine.slow_until = 0;
            machine.foreign_until = 0;
            machine.line.until = 0;
            machine.clock.drift(0, now);
            machine.seats.iter_mut().for_each(|seat| seat.waits = false);
            if P::operate(self, node) {
                continue;
            }
            if self.is_up(node) {
                self.wake_all(node);
            } else {
                self.start(node);
            }
        }
        self.due.extend(self.places());
        self.connect_all();
    }

    pub(super) fn mend_disk(&mut self, node: usize) {
        P::mended(self, node);
        let machine = &mut self.nodes[node];
        machine.disk.set_faults(DiskFaults::default());
        machine.sync_us = machine.usual_sync_us;
    }

    /// After a change of its clock a machine's wishes come due at other moments.
    pub(super) fn wake_all(&mut self, node: usize) {
        for group in 0..self.plan.groups {
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
