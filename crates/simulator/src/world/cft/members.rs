//! Members: opened over their real ledger files, given what arrives, heard.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use quorate_consensus::core::Env;
use quorate_consensus::raft::NodeId;
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::ccf::Notary as _;
use quorate_ledger::codec::CodecError;
use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::{Address, Begin, Command, Config, Input, Notice, Output, Ticket};
use quorate_replica::cft::wire::Packet as Said;
use quorate_replica::cft::{CftDriver, Turn};
use quorate_storage::signed::Options;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{Asker, CftWorld, Place, raft_of};
use crate::properties::limits;
use crate::signed::checker::Found;
use crate::signed::keys::NodeKeys;
use crate::signed::watched::Watched;
use crate::world::network::Packet;
use crate::world::play::Start;
use crate::world::{node_of, peer};

/// Size of a journal in bytes: so small that it begins anew within a seed.
const JOURNAL_SIZE: u64 = 32 << 10;
/// Bytes of entries kept in memory: so few that others are read from files.
const CACHE_SIZE: usize = 2 << 10;

/// What a packet says, read once for all who look at it.
pub type Checked = Result<(GroupId, Said), CodecError>;

/// How the log of every node is opened.
pub(super) fn options(seed: u64) -> Options {
    Options {
        journal_size: JOURNAL_SIZE,
        cache_size: CACHE_SIZE,
        ..Options::new(SymmetricKey([7; 32]), ChaCha20Rng::seed_from_u64(seed))
    }
}

pub(super) fn said(packet: &Packet<Checked>) -> Checked {
    packet.checked().get_or_insert_with(|| Said::decode(packet.bytes())).clone()
}

impl CftWorld {
    /// Opens the member of a machine that is about to start.
    pub(super) fn open_all(&mut self, node: usize) -> Start<Turn> {
        if self.nodes[node].health.gone {
            return Start::Gone;
        }
        let place = Place { node, group: 0 };
        let seed = self.rng.next_u64();
        let now = self.clock(node);
        let machine = &mut self.nodes[node];
        let disk = machine.disk.dir("g0");
        let (log, recovered) = match Watched::open(disk.clone(), options(seed)) {
            Ok(opened) => opened,
            Err(error) => return self.does_not_start(place, &error),
        };
        let entries = match log.all() {
            Ok(entries) => entries,
            Err(error) => return self.does_not_start(place, &error),
        };
        let is_empty = recovered.last_idx == 0;
        let base = recovered.last_idx - entries.len() as u64;
        let (view, voted_for, commit) = (recovered.view, recovered.voted_for, recovered.commit_idx);
        let found = Found { view, voted_for, commit, base, entries };
        match self.play.checker.reopened(node, &found) {
            // Its disk has lost what it had since it was compared.
            Err(violation) if self.nodes[node].health.damaged => {
                return self.does_not_start(place, &violation.detail);
            }
            result => self.check(result),
        }
        let (config, begin, keys) = self.manner(node, is_empty);
        if matches!(begin, Begin::Recover { .. }) {
            self.play.checker.recovers(node);
        }
        let seat = &mut self.nodes[node].seats[0];
        seat.env = Env { now, rng: ChaCha20Rng::seed_from_u64(seed) };
        match CftDriver::open(&mut seat.env, config, begin, keys, recovered, log) {
            Ok((_, turn)) if disk.is_dead() || turn.stalled.is_some() => {
                self.play.checker.doubt(node);
                Start::Later
            }
            Ok((driver, turn)) => {
                seat.member = Some(driver);
                Start::Up(vec![(place, turn)])
            }
            Err(error) => {
                if disk.fails() {
                    self.play.checker.doubt(node);
                }
                self.does_not_start(place, &error)
            }
        }
    }

    fn does_not_start(&mut self, place: Place, error: &dyn Display) -> Start<Turn> {
        let machine = &self.nodes[place.node];
        if machine.disk.is_dead() || (machine.disk.fails() && !machine.health.damaged) {
            return Start::Later;
        }
        if machine.health.damaged {
            self.tell(|| format!("{place}: {error}"));
            self.lose(place.node);
            return Start::Gone;
        }
        Start::Broken(format!("{place}: {error}"))
    }

    /// How a node is opened, whose log is empty or not.
    pub(super) fn manner(&self, node: usize, is_empty: bool) -> (Config, Begin, NodeKeys) {
        let machine = &self.nodes[node];
        let seat = &machine.seats[0];
        let mut keys = self.play.kind.keys(self.play.keys_of(node));
        let begin = match &seat.record.admission {
            // With its secrets stored, but nothing in its log, a node is still a joiner.
            Some(admission) if !is_empty => {
                keys.enter(&admission.service).expect("it has entered before");
                Begin::Resume { secret: admission.secret.clone() }
            }
            _ if node > 0 => Begin::Join {
                encrypt: machine.encrypt.clone(),
                from_snapshot: self.play.from_snapshot,
            },
            _ => {
                keys.enter(&self.play.service).expect("its own service");
                let secret = self.play.secret.clone();
                match self.recovery(node, &keys) {
                    _ if is_empty => Begin::Create { genesis: BTreeMap::new(), secret },
                    Some((endorsement, handover)) => {
                        Begin::Recover { secret, endorsement, handover }
                    }
                    None => Begin::Resume { secret },
                }
            }
        };
        let config = Config {
            peer: peer(node),
            rpc_address: format!("n{node}:8000"),
            ..self.play.config.clone()
        };
        (config, begin, keys)
    }

    /// A member has taken a turn; nothing of it has left.
    pub(super) fn look_at(&mut self, place: Place, turn: &Turn) {
        let node = place.node;
        let seat = &mut self.nodes[node].seats[0];
        let Some(driver) = &seat.member else { return };
        seat.record.stalled = turn.stalled.is_some();
        let checker = &mut self.play.checker;
        let mut result = checker.durable(node, driver.log().facts());
        let seen = checker.committed().len();
        let before = checker.member(node).commit;
        if result.is_ok()
            && turn.stalled.is_none()
            && seat.record.stopped.is_none()
            && let Some(raft) = raft_of(driver)
        {
            result = checker.stands(node, raft, self.now);
            if result.is_ok() && raft.commit_idx() > before {
                result = checker.has_state(node, driver.member().map(|m| m.store().committed()));
            }
        }
        if result.is_ok() && checker.committed().len() > seen {
            result = self.play.history.settle(checker);
        }
        self.check(result);
    }

    /// A machine is about to stop: what its last turn made durable counts.
    pub(super) fn stops(&mut self, node: usize) {
        let machine = &self.nodes[node];
        let seat = &machine.seats[0];
        if let Some(driver) = &seat.member {
            let facts = driver.log().facts();
            let doubtful = machine.disk.is_dead() || seat.record.stalled;
            let result = self.play.checker.durable(node, facts);
            if doubtful {
                self.play.checker.doubt(node);
            }
            self.check(result);
        }
        self.hangs_up(node);
    }

    /// A caller on the machine wants something; the number of the question.
    pub(super) fn ask(&mut self, node: usize, asker: Asker, command: Command) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.tell(|| format!("n{node} is asked {ticket} by {asker:?}: {command:?}"));
        self.play.asked.insert(ticket, (asker, node));
        self.give(Place { node, group: 0 }, Input::Command(Ticket(ticket), command));
        ticket
    }

    /// Sends what a turn released, and shows it to the checkers.
    pub(super) fn release(&mut self, place: Place, turn: Turn) {
        for line in &turn.trace {
            self.tell(|| format!("{place} {} {}", line.line, line.text));
        }
        if let Some(reason) = &turn.stalled {
            self.tell(|| format!("{place} stalled: {reason}"));
        }
        self.seat_mut(place).wake = turn.wake;
        self.schedule_wake(place);
        self.send(place, turn.ahead);
        self.send(place, turn.outputs);
    }

    /// Does what a member wants done.
    pub(super) fn send(&mut self, place: Place, outputs: Vec<Output>) {
        let mut sent = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, packet } => {
                    self.check(limits::packet(|| place.to_string(), packet.len()));
                    let packet = Packet::among(&mut sent, packet);
                    self.hear(place, &to, &packet);
                    self.put(place, &to, &packet);
                }
                Output::Reply(Ticket(ticket), result) => self.answered(ticket, &result),
                Output::Notice(notice) => self.notice(place, notice),
            }
        }
    }

    /// What a member is about to say, for the checkers.
    fn hear(&mut self, place: Place, to: &Address, packet: &Rc<Packet<Checked>>) {
        match said(packet) {
            Ok((group, Said::Raft { from, to: whom, messages })) => {
                let own = self.play.checker.member(place.node).id;
                if group != self.play.group || from != own {
                    let text = format!("{place} says something as {from} in {group}");
                    return self.fail("truthful_packets", text);
                }
                if self.play.checker.machine(&whom).is_none() {
                    let text = format!("{place} says something to {whom}, lost with the group");
                    return self.fail("recovery", text);
                }
                let there = match to {
                    Address::Peer(peer) => self.play.checker.machine(&whom) == Some(node_of(peer)),
                    _ => true,
                };
                let whom: Option<NodeId> = there.then_some(whom);
                for message in &messages {
                    let result = self.play.checker.says(place.node, whom, message);
                    self.check(result);
                }
            }
            Ok(_) => {}
            Err(error) => self.fail("truthful_packets", format!("{place} says {error}")),
        }
    }

    /// A packet is there: what it says goes into the inbox.
    pub(super) fn take_in(&mut self, from: usize, to: Place, packet: &Packet<Checked>) {
        if self.seat(to).member.is_none() {
            return;
        }
        match said(packet) {
            Ok((group, said)) if group == self.play.group => {
                self.tell(|| {
                    let text: String = format!("{said:?}").chars().take(200).collect();
                    format!("{to} hears n{from}: {text}")
                });
                self.give(to, Input::Packet(peer(from), said));
            }
            Ok((group, _)) => self.tell(|| format!("{to} drops a packet of group {group}")),
            Err(error) => self.tell(|| format!("{to} drops a packet of n{from}: {error}")),
        }
    }

    fn notice(&mut self, place: Place, notice: Notice) {
        self.tell(|| {
            let text: String = format!("{notice:?}").chars().take(200).collect();
            format!("{place} notes {text}")
        });
        match notice {
            Notice::Admitted(admission) => {
                self.seat_mut(place).record.admission = Some(*admission);
            }
            Notice::Stopped(why) => {
                self.seat_mut(place).record.stopped = Some(why.clone());
                self.fail("keeps_going", format!("{place} stops: {why}"));
            }
            Notice::Committed(tx) => {
                let known = self.play.checker.committed_at(tx.seqno);
                if known.is_none_or(|made| made.view != tx.view) {
                    self.fail("status", format!("{place} says that {tx} is committed"));
                }
            }
            Notice::Inconsistent(_)
            | Notice::Role { .. }
            | Notice::Nodes(_)
            | Notice::Service
            | Notice::Retired => {}
        }
    }

    /// Where a member stands, in a line.
    pub(super) fn stands(&self, place: Place) -> String {
        let shadow = self.play.checker.member(place.node);
        let disk =
            format!("view {}, {} of {} committed", shadow.view, shadow.promised, shadow.last());
        let Some(driver) = &self.seat(place).member else {
            let gone = if self.nodes[place.node].health.gone { "gone" } else { "down" };
            return format!("{gone} ({disk})");
        };
        let Some(raft) = raft_of(driver) else { return format!("joins ({disk})") };
        format!(
            "{disk}, is {:?} in {} with {}/{}, phase {:?}",
            raft.role(),
            raft.view(),
            raft.commit_idx(),
            raft.last_idx(),
            raft.phase()
        )
    }
}
