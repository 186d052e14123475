//! Machines: started, fed, cut off from power.

use std::fmt;

use quorate_consensus::core::{Core, Env};
use quorate_crypto::threshold::Threshold;
use quorate_replica::api::{Command, GroupConfig, Input, Output, Reply, Ticket};
use quorate_replica::driver::{Driver, Turn};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::network::Packet;
use super::{Happening, Keys, MS, Place, World};
use crate::conduct;
use crate::faults::{Harm, Outage};
use crate::properties::limits;
use crate::store::{self, Opened};
use crate::traitor::{self, Treason};

/// How long a machine whose disk failed while it started waits before it tries again.
const START_AGAIN_MS: u64 = 500;

/// Why a group could not be opened.
enum Failed {
    /// The disk fails: it is tried again later.
    Disk,
    /// What is on it is damaged.
    Damaged(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}/g{}", self.node, self.group)
    }
}

impl<C: Core> World<C>
where
    Keys<C>: Threshold,
{
    /// Starts a machine with all its groups.
    pub(super) fn start(&mut self, node: usize) {
        self.nodes[node].life += 1;
        let mut turns = Vec::new();
        let examined = self.is_examined(node);
        let mut repaired = true;
        for group in 0..self.groups.len() {
            let place = Place { node, group };
            let opened = match self.open(place, examined) {
                Err(Failed::Damaged(_)) if !examined => self.open(place, true),
                other => other,
            };
            match opened {
                Ok((turn, examined)) => {
                    turns.push((place, turn));
                    repaired &= examined;
                }
                Err(Failed::Disk) => return self.start_later(node),
                Err(Failed::Damaged(why)) => {
                    return self.fail("starts_again", format!("{place}: {why}"));
                }
            }
        }
        if repaired {
            self.is_repaired(node);
        }
        if node >= self.founders() && self.nodes[node].life == 1 {
            self.counts.add("joiner");
        }
        self.tell(|| format!("n{node} starts"));
        for (place, turn) in turns {
            self.compare_with_before(place, &turn);
            self.dispatch(place, turn);
            for other in (0..self.nodes.len()).filter(|&other| other != node) {
                let moment = self.now + self.rng.random_range(MS..20 * MS);
                self.at(moment, Happening::Connect { place, other });
                let there = Place { node: other, ..place };
                self.at(moment, Happening::Connect { place: there, other: node });
            }
        }
    }

    /// Opens a group on a machine, after a repair if it needs one or `repair` says so: its first
    /// turn, and whether there was a repair.
    fn open(&mut self, place: Place, repair: bool) -> Result<(Turn, bool), Failed> {
        let seed = self.rng.next_u64();
        let now = self.clock(place.node);
        let machine = &mut self.nodes[place.node];
        let disk = machine.disk.dir(&format!("g{}", place.group));
        let config = GroupConfig {
            descriptor: self.groups[place.group].descriptor.clone(),
            member: machine.member.clone(),
            encrypt: machine.encrypt.clone(),
            create: place.node == 0 && machine.life == 1,
        };
        let seat = &mut machine.seats[place.group];
        seat.env = Env { now, rng: ChaCha20Rng::seed_from_u64(seed) };
        let Opened { store, mut recovered, repaired } = match store::open(&disk, seed, repair) {
            Ok(opened) => opened,
            // A disk that misdirects writes may spoil the very repair: the operator tries again.
            Err(_) if disk.fails() => return Err(Failed::Disk),
            Err(error) => return Err(Failed::Damaged(error.to_string())),
        };
        if traitor::role_of(&config.member.public()) == Some(Treason::Amnesiac) {
            traitor::amnesia::forget(&mut recovered);
        }
        match Driver::open(&mut seat.env, config, recovered, store) {
            Ok((_, turn)) if disk.is_dead() || turn.stalled.is_some() => Err(Failed::Disk),
            Ok((driver, turn)) => {
                seat.driver = Some(driver);
                Ok((turn, repaired))
            }
            Err(_) if disk.fails() => Err(Failed::Disk),
            Err(error) => Err(Failed::Damaged(error.to_string())),
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
        self.hear_complaints(node);
        let machine = &mut self.nodes[node];
        machine.outage = None;
        for seat in &mut machine.seats {
            seat.driver = None;
            seat.wake = None;
            seat.inbox.clear();
            seat.busy_until = 0;
        }
        machine.disk.crash();
        self.harm(node, outage.harm);
        self.settle_losses(node);
        self.tell(|| format!("n{node} loses power: {outage:?}"));
        self.counts.add("crash");
        self.in_ms(outage.back_after_ms, Happening::Restart { node });
    }

    /// A place takes a turn. While its disk syncs, nothing leaves and the next turn waits.
    pub(super) fn turn(&mut self, place: Place, inputs: Vec<Input<C::Message>>) {
        let now = self.clock(place.node);
        let machine = &mut self.nodes[place.node];
        let seat = &mut machine.seats[place.group];
        let Some(driver) = &mut seat.driver else { return };
        seat.env.now = seat.env.now.max(now);
        let writes = driver.stats().writes;
        let turn = driver.turn(&mut seat.env, inputs);
        let wrote = driver.stats().writes > writes;
        if machine.disk.is_dead() {
            // What the turn would have said never left the machine.
            let outage = machine.outage.take();
            self.counts.add("power_cut_in_a_turn");
            let back_after_ms = START_AGAIN_MS;
            let outage = outage.unwrap_or(Outage { fuse: None, back_after_ms, harm: Harm::None });
            return self.crash(place.node, outage);
        }
        let (sync_us, life) = (machine.sync_us, machine.life);
        self.measure(place);
        if wrote && sync_us > 0 {
            let until = self.now + sync_us;
            self.seat_mut(place).busy_until = until;
            return self.at(until, Happening::Release { place, life, turn: Box::new(turn) });
        }
        self.dispatch(place, turn);
    }

    /// A caller on the machine wants something.
    pub(super) fn command(&mut self, place: Place, command: Command) {
        self.tickets += 1;
        self.note_command(place, &command);
        self.give(place, Input::Command(Ticket(self.tickets), command));
    }

    /// Sends what a turn released, and shows it to the checkers.
    pub(super) fn dispatch(&mut self, place: Place, turn: Turn) {
        self.check(conduct::breach().map_or(Ok(()), Err));
        for line in &turn.trace {
            self.tell(|| format!("{place} {} {}", line.line, line.text));
        }
        if let Some(reason) = &turn.stalled {
            self.tell(|| format!("{place} stalled: {reason}"));
        }
        self.seat_mut(place).wake = turn.wake;
        self.schedule_wake(place);
        let mut sent = Vec::new();
        for output in turn.outputs {
            match output {
                Output::Send { to, packet } => {
                    if !self.nodes[place.node].traitor {
                        self.check(limits::packet(|| place.to_string(), packet.len()));
                    }
                    let packet = Packet::among(&mut sent, packet);
                    self.send(place, &to, &packet);
                }
                Output::Reply(ticket, Ok(Reply::Accepted { trx_id })) => {
                    let group = &mut self.groups[place.group];
                    group.ledger.acknowledge(trx_id, place.node);
                    let result = group.checks.history.acknowledge(ticket.0, trx_id);
                    self.check(result);
                }
                Output::Reply(
                    _,
                    Ok(Reply::Announced { .. } | Reply::ChangeStarted { .. } | Reply::Left),
                ) => {}
                Output::Reply(_, Err(error)) => {
                    self.tell(|| format!("{place} refuses: {error}"));
                }
                Output::Notice(notice) => self.notice(place, notice),
            }
        }
    }
}
