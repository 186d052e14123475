//! What other nodes say, and what they are answered: packets, forwarded commands, the way to the
//! leader.

use quorate_consensus::core::{Env, Verified};
use quorate_consensus::raft::Event;

use super::{Member, commands};
use crate::cft::api::{Code, Command, Error, PeerRef, Reply};
use crate::cft::forward::Take;
use crate::cft::keys::Keys;
use crate::cft::limits::{MAX_FORWARDS, PACKET_BYTES};
use crate::cft::waits::Origin;
use crate::cft::wire::{Forwarded, Packet};

impl<K: Keys> Member<K> {
    pub(super) fn packet(&mut self, env: &mut Env, peer: PeerRef, packet: Packet) {
        match packet {
            Packet::Raft { from, to, messages } => {
                if to != self.raft.me() || self.nodes.peer(&from).as_ref() != Some(&peer) {
                    return;
                }
                self.heard(from);
                for message in messages {
                    self.feed(env, Event::Receive(from, Verified::assume(message)));
                }
            }
            Packet::Forward(commands) => {
                if !self.is_admitted(&peer) {
                    return;
                }
                for (id, command) in commands {
                    self.take_forwarded(env, &peer, id, command);
                }
            }
            Packet::Forwarded(answers) if self.nodes.is_node(&peer) => {
                for (id, result) in answers {
                    self.forwarded(env, id, result);
                }
            }
            Packet::Decided(decided) if self.nodes.is_node(&peer) => {
                for (id, tx, status) in decided {
                    let waiter = self.forwards.decided(id).and_then(|id| self.waits.take(id));
                    if let Some(waiter) = waiter.filter(|waiter| waiter.tx == tx) {
                        self.answer_waiter(waiter, status);
                    }
                }
            }
            Packet::Forwarded(_) | Packet::Decided(_) => {}
            Packet::Join(request) => {
                if request.peer == peer {
                    self.join_request(env, peer, request, None);
                }
            }
            Packet::RelayJoin(joiner, request) => {
                if request.peer == joiner && self.nodes.is_node(&peer) {
                    self.join_request(env, joiner, request, Some(peer));
                }
            }
            Packet::RelayJoinAnswer(joiner, answer) => {
                if self.nodes.is_node(&peer) {
                    self.send(joiner, &Packet::JoinAnswer(answer));
                }
            }
            Packet::FetchSnapshot { seqno, offset } => self.serve_snapshot(peer, seqno, offset),
            Packet::Introduction(introduction) => self.introduced(peer, &introduction),
            Packet::OfferSnapshot(tx) => self.offered(peer, tx),
            Packet::SnapshotPart { seqno, evidence, offset, total, bytes } => {
                self.offered_part(&peer, (seqno, evidence), (offset, total), &bytes);
            }
            Packet::JoinAnswer(_) => {}
        }
    }

    /// Another node's command. What may change something is taken once, however often it comes.
    pub(super) fn take_forwarded(
        &mut self,
        env: &mut Env,
        peer: &PeerRef,
        id: u64,
        command: Command,
    ) {
        let origin = Origin::Remote(peer.clone(), id);
        if !matches!(command, Command::Write { .. } | Command::Member(_)) {
            return self.command(env, origin, command);
        }
        match self.taken.take(peer, id) {
            Take::New => self.command(env, origin, command),
            Take::Open => {}
            Take::Refused(error) => self.reply(&origin, Err(error)),
        }
    }

    pub(super) fn send_answers(&mut self) {
        for (peer, answers) in std::mem::take(&mut self.answers) {
            let weight = |answer: &Forwarded| match &answer.1 {
                Ok(Reply::Written { results, .. } | Reply::Read { results, .. }) => {
                    128 + results.iter().map(commands::weight).sum::<usize>()
                }
                _ => 128,
            };
            for part in split(answers, weight) {
                self.send(peer.clone(), &Packet::Forwarded(part));
            }
        }
        for (peer, decided) in std::mem::take(&mut self.decided) {
            for part in split(decided, |_| 32) {
                self.send(peer.clone(), &Packet::Decided(part));
            }
        }
    }

    /// A leader was found or lost: commands that wait for one are sent (again), or done here.
    pub(super) fn follow_leader(&mut self, env: &mut Env) {
        let leader = self.raft.leader();
        if leader != self.known_leader {
            self.known_leader = leader;
            self.role_changed = true;
            if leader.is_some() {
                for (ticket, error) in self.forwards.again(None) {
                    self.reply(&Origin::Local(ticket), Err(error));
                }
            }
        }
        if !self.forwards.has_unsent() {
            return;
        }
        if self.leads() {
            if !self.retires() {
                for forward in self.forwards.take_unsent() {
                    if forward.is_doubtful(0) {
                        self.doubtful.insert(forward.ticket);
                    }
                    self.command(env, Origin::Local(forward.ticket), forward.command);
                }
            }
            return;
        }
        let Some(peer) = leader.and_then(|leader| self.nodes.peer(&leader)) else { return };
        let commands = self.forwards.send(env.now);
        for part in split(commands, |(_, command)| commands::command_weight(command)) {
            self.send(peer.clone(), &Packet::Forward(part));
        }
    }
}

/// Parts of a list that fit a packet, each with at least one item.
fn split<T>(items: Vec<T>, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let weight = weight(&item);
        match parts.last_mut() {
            Some(part) if weight <= room && part.len() < MAX_FORWARDS => part.push(item),
            _ => {
                parts.push(vec![item]);
                room = PACKET_BYTES;
            }
        }
        room = room.saturating_sub(weight);
    }
    parts
}

/// One leader has refused a write, but another one may have done it.
pub(super) fn in_doubt(error: &Error) -> Error {
    if error.code == Code::TransactionReplicationFailed {
        return error.clone();
    }
    let message = format!("it was sent to more than one leader and may be done; one said: {error}");
    Error::new(Code::TransactionReplicationFailed, message)
}
