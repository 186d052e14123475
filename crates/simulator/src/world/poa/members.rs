//! Replicas: opened over the real store, given what arrives, heard.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Core, Env, Message};
use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use quorate_crypto::made;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::ids::{BlockId, GroupId};
use quorate_ledger::trx::TrxType;
use quorate_ledger::view::View;
use quorate_replica::api::{Address, Command, GroupConfig, Input, Output, Reply, Ticket};
use quorate_replica::driver::{Driver, Turn};
use quorate_replica::wire::{
    self, CommitteeFrame, CommitteeMessage, Inbound, PacketError, VerifyContext,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{Keys, Place, PoaWorld};
use crate::conduct;
use crate::properties::limits;
use crate::store::{self, Opened};
use crate::traitor::{self, Treason};
use crate::world::network::Packet;
use crate::world::peer;
use crate::world::play::Start;

/// Why a group could not be opened.
enum Failed {
    /// The disk fails: it is tried again later.
    Disk,
    /// What is on it is damaged.
    Damaged(String),
}

/// What the signatures of a packet vouch for, for receivers that know these views. To check it is a
/// pure function, and costly: it is done once for all of them.
pub struct Checked<M> {
    views: Vec<Arc<View>>,
    found: Result<Inbound<M>, PacketError>,
}

/// What a packet's signatures vouch for, for a receiver that is in `group` and knows `views`. A
/// packet is sent to receivers of one group only. In a world that remembers what it has signed, one
/// that nobody has altered is not signed at all: its sender would have.
fn verified<M: Message>(
    packet: &Rc<Packet<Checked<M>>>,
    group: GroupId,
    views: &[Arc<View>],
) -> Result<Inbound<M>, PacketError> {
    let mut checked = packet.checked();
    // Whoever gets it last need not leave anything to others.
    let last = Rc::strong_count(packet) == 1;
    if let Some(before) = checked.take_if(|before| last && before.views == views) {
        return before.found;
    }
    if let Some(before) = checked.as_ref().filter(|before| before.views == views) {
        return before.found.clone();
    }
    let context = VerifyContext { group, views: views.to_vec(), known: None };
    let mut found = if made::remembers() {
        wire::verify_held(packet.content(), &context)
    } else {
        wire::verify(packet.bytes(), &context)
    };
    // Both ways are gone: a block's trxs are checked here, as for a member that is behind, or by the
    // member itself.
    if let Ok(Inbound::Blocks(blocks)) = &mut found {
        let here = blocks.iter_mut().filter(|block| block.bytes().0.len().is_multiple_of(2));
        here.for_each(|block| block.check(&context, BlockId(0)));
    }
    if let Ok(Inbound::Committee(frame)) = &found {
        overhear(group, &context.views, frame.get());
    }
    if !last {
        *checked = Some(Checked { views: context.views, found: found.clone() });
    }
    found
}

/// What a correct member says goes to whoever looks whether it keeps its word.
fn overhear<M: Message>(group: GroupId, views: &[Arc<View>], frame: &CommitteeFrame<M>) {
    let Some(view) = views.iter().find(|view| view.number == frame.view) else { return };
    let correct = |view: &View| {
        let speaker = view.producers.get(frame.sender.get());
        speaker.is_some_and(|speaker| traitor::role_of(&speaker.member).is_none())
    };
    if !correct(view) {
        return;
    }
    for payload in &frame.payloads {
        if let CommitteeMessage::Core(message) = payload
            && let Some(message) = (message as &dyn Any).downcast_ref::<HoneyBadgerMessage>()
        {
            conduct::heard(group, view, frame.sender, message);
        }
    }
}

impl<C: Core> PoaWorld<C>
where
    Keys<C>: Threshold,
{
    /// Opens all groups of a machine that is about to start.
    pub(super) fn open_all(&mut self, node: usize) -> Start<Turn> {
        let mut turns = Vec::new();
        let examined = self.is_examined(node);
        let mut repaired = true;
        for group in 0..self.play.groups.len() {
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
                Err(Failed::Disk) => return Start::Later,
                Err(Failed::Damaged(why)) => return Start::Broken(format!("{place}: {why}")),
            }
        }
        if repaired {
            self.is_repaired(node);
        }
        Start::Up(turns)
    }

    /// Opens a group on a machine, after a repair if it needs one or `repair` says so: its first
    /// turn, and whether there was a repair.
    fn open(&mut self, place: Place, repair: bool) -> Result<(Turn, bool), Failed> {
        let seed = self.rng.next_u64();
        let now = self.clock(place.node);
        let machine = &mut self.nodes[place.node];
        let disk = machine.disk.dir(&format!("g{}", place.group));
        let config = GroupConfig {
            descriptor: self.play.groups[place.group].descriptor.clone(),
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
                seat.member = Some(driver);
                Ok((turn, repaired))
            }
            Err(_) if disk.fails() => Err(Failed::Disk),
            Err(error) => Err(Failed::Damaged(error.to_string())),
        }
    }

    /// A client posts at some correct node that answers.
    pub(super) fn post(&mut self, group: usize) {
        self.play.groups[group].posted += 1;
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
        let payload = format!("{{\"post\":{}}}", self.play.groups[group].posted).into_bytes();
        let command = Command::Submit { kind: TrxType::Post, payload };
        self.command(Place { node, group }, command);
    }

    /// A caller on the machine wants something.
    pub(super) fn command(&mut self, place: Place, command: Command) {
        self.tickets += 1;
        self.note_command(place, &command);
        self.give(place, Input::Command(Ticket(self.tickets), command));
    }

    /// Sends what a turn released, and shows it to the checkers.
    pub(super) fn release(&mut self, place: Place, turn: Turn) {
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
                    let group = &mut self.play.groups[place.group];
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

    /// A place sends a packet; what a traitor's replica sends may become another one.
    fn send(&mut self, from: Place, to: &Address, packet: &Rc<Packet<Checked<C::Message>>>) {
        if self.nodes[from.node].traitor {
            for packet in self.betrayed(from, packet) {
                self.put(from, to, &packet);
            }
        } else {
            self.put(from, to, packet);
        }
    }

    /// A packet is there: what its signatures vouch for goes into the inbox.
    pub(super) fn take_in(
        &mut self,
        from: usize,
        to: Place,
        packet: &Rc<Packet<Checked<C::Message>>>,
    ) {
        if self.nodes[to.node].traitor {
            self.overhear(to, packet);
        }
        if self.seat(to).member.is_none() {
            return;
        }
        let group = self.play.groups[to.group].descriptor.id;
        let inbound = match verified(packet, group, &self.seat(to).record.views) {
            Ok(inbound) => inbound,
            Err(error) => {
                self.tell(|| format!("{to} drops a packet of n{from}: {error}"));
                return;
            }
        };
        self.tell(|| {
            let text: String = format!("{inbound:?}").chars().take(160).collect();
            format!("{to} hears n{from}: {text}")
        });
        self.give(to, Input::Inbound(peer(from), inbound));
    }
}
