//! Packets between the nodes: what it takes to send, carry, receive and check them.

use std::cell::RefCell;
use std::rc::Rc;

use quorate_replica::api::{Address, Input};
use quorate_replica::wire::{self, CommitteeMessage, Inbound, VerifyContext};
use rand::RngExt;

use super::Message;
use super::costs::Costs;
use super::engine::{Engine, Event, Job, Threads, node_of, peer};

/// Payload of one IP packet, and what Ethernet, IP and TCP put around it.
const SEGMENT: u64 = 1_448;
const SEGMENT_OVERHEAD: u64 = 66;
/// What is put around a packet on a stream: its head with the group (21), yamux (12), noise (18).
const STREAM_OVERHEAD: u64 = 51;
/// What is put around a gossiped one: kind and stamp (5), topic (49), the fields of gossipsub (12),
/// yamux and noise as on a stream.
const GOSSIP_OVERHEAD: u64 = 96;

/// A packet on its way to some receivers. It is checked once for all of them: the check is a pure
/// function, and all know the same view.
pub(super) struct Packet {
    pub content: wire::Packet,
    /// Gossiped, not on a stream.
    pub gossip: bool,
    checked: RefCell<Option<Checked>>,
}

struct Checked {
    inbound: Inbound<Message>,
    /// What checking it costs each receiver, ns.
    verify: u64,
    /// What it costs each receiver's group thread, ns.
    turn: u64,
}

impl Packet {
    /// One that nobody has checked.
    pub const fn new(content: wire::Packet, gossip: bool) -> Self {
        Self { content, gossip, checked: RefCell::new(None) }
    }

    /// What a transport is given for it.
    fn handed(&self) -> u64 {
        let around = if self.gossip { GOSSIP_OVERHEAD } else { STREAM_OVERHEAD };
        self.content.len() as u64 + around
    }

    fn on_the_wire(&self) -> u64 {
        let bytes = self.handed();
        bytes + bytes.div_ceil(SEGMENT) * SEGMENT_OVERHEAD
    }
}

impl Engine {
    /// A turn's packet for somebody. `sent`: the turn's packets so far.
    pub fn send(
        &mut self,
        from: usize,
        to: &Address,
        content: wire::Packet,
        sent: &mut Vec<Rc<Packet>>,
    ) {
        let gossip = *to == Address::Everybody;
        let known = sent.iter().find(|packet| packet.content.is(&content));
        let packet = match known {
            Some(packet) => Rc::clone(packet),
            None => {
                let packet = Rc::new(Packet::new(content, gossip));
                sent.push(Rc::clone(&packet));
                packet
            }
        };
        match to {
            Address::Member(member) => {
                if let Some(to) = self.by_member.get(member).copied() {
                    self.send_to(from, to, packet);
                }
            }
            Address::Peer(peer) => self.send_to(from, node_of(peer), packet),
            // A node publishes its own gossip to all its peers.
            Address::Everybody => {
                self.set_timers(from);
                for to in 0..self.nodes.len() {
                    self.send_to(from, to, Rc::clone(&packet));
                }
            }
            Address::Somebody => {
                let up = |to: &usize| *to != from && self.nodes[from].links[*to].up;
                let there: Vec<usize> = (0..self.nodes.len()).filter(up).collect();
                if !there.is_empty() {
                    let to = there[self.rng.random_range(0..there.len())];
                    self.send_to(from, to, packet);
                }
            }
        }
    }

    /// A packet for another node; nothing for the node itself.
    pub fn send_to(&mut self, from: usize, to: usize, packet: Rc<Packet>) {
        if from == to {
            return;
        }
        if !self.nodes[from].links[to].up {
            return self.hold(from, to, packet);
        }
        let life = self.nodes[from].life;
        self.push(from, Threads::Network, Job::Send { from, life, to, packet });
    }

    /// What one end of a transfer costs, ns.
    pub fn transfer(&self, packet: &Packet) -> u64 {
        let costs = &self.costs;
        let (each, kib) = if packet.gossip {
            (costs.gossip, costs.gossip_kib)
        } else {
            (costs.packet, costs.packet_kib)
        };
        (each + Costs::bytes(kib, packet.content.len() as u64)) / 2
    }

    /// Puts a packet on the line. What one node sends another arrives in order.
    pub fn carry(&mut self, from: usize, to: usize, packet: Rc<Packet>) {
        let bytes = packet.on_the_wire();
        let travel = self.conditions.travel_us(from, to);
        let most = travel * self.conditions.jitter_percent / 100;
        let jitter = if most > 0 { self.rng.random_range(0..=most) } else { 0 };
        let node = &mut self.nodes[from];
        node.sent_bytes += bytes;
        node.handed_bytes += packet.handed();
        // Mbit/s are bits per microsecond.
        let out = node.line_free.max(self.now) + bytes * 8 / self.conditions.bandwidth_mbit;
        node.line_free = out;
        let arrives = (out + travel + jitter).max(node.arrivals[to]);
        node.arrivals[to] = arrives;
        self.at(arrives, Event::Arrive { from, to, packet });
    }

    /// What checking a packet costs a node.
    pub fn verify_price(&self, at: usize, packet: &Packet) -> u64 {
        let mut checked = packet.checked.borrow_mut();
        if checked.is_none() {
            let context = VerifyContext {
                group: self.descriptor.id,
                views: self.nodes[at].views.clone(),
                known: None,
            };
            // A refused one costs nothing; there are none in a network without traitors.
            *checked = wire::verify_held(&packet.content, &context)
                .ok()
                .map(|inbound| self.priced(inbound, packet.content.len() as u64));
        }
        checked.as_ref().map_or(0, |checked| checked.verify)
    }

    fn priced(&self, inbound: Inbound<Message>, bytes: u64) -> Checked {
        let costs = &self.costs;
        let hash = Costs::bytes(costs.hash_kib, bytes);
        let (verify, turn) = match &inbound {
            Inbound::Committee(frame) => {
                let payloads = &frame.get().payloads;
                let votes = payloads.iter().filter(|p| matches!(p, CommitteeMessage::Vote(_)));
                let (count, votes) = (payloads.len() as u64, votes.count() as u64);
                let verify = costs.frame_verify
                    + hash
                    + count * costs.payload_decode
                    + votes * costs.vote_verify;
                // Shards are hashed again, against their root.
                (verify, count * self.committee.message + hash)
            }
            Inbound::Trxs { trxs, .. } => {
                let count = trxs.len() as u64;
                (count * costs.trx_verify, count * costs.trx_pool)
            }
            Inbound::Blocks(_) => (hash / 2, Costs::bytes(costs.block_kib, bytes)),
            _ => (costs.payload_decode, costs.payload_decode),
        };
        Checked { inbound, verify: verify + costs.thread_wake, turn }
    }

    /// A packet has been checked: it goes to the group's thread.
    pub fn verified(&mut self, from: usize, to: usize, packet: &Packet) {
        let found =
            packet.checked.borrow().as_ref().map(|checked| (checked.inbound.clone(), checked.turn));
        if let Some((inbound, turn)) = found {
            if let (Inbound::Trxs { trxs, .. }, Some(checked)) =
                (&inbound, &mut self.nodes[to].checked)
            {
                checked.extend(trxs.iter().filter_map(|trx| trx.get().trx.id()));
            }
            self.give(to, Input::Inbound(peer(from), inbound), turn);
        }
    }
}
