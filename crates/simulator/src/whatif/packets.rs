//! Packets between the nodes: what it takes to send, carry, receive and check them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use quorate_ledger::ids::BlockId;
use quorate_ledger::proto::Trx;
use quorate_ledger::view::certificate_quorum;
use quorate_replica::api::{Address, Input};
use quorate_replica::wire::{self, CommitteeMessage, Inbound, InboundBlock, VerifyContext};
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
    /// The same for a node that is behind, with its head: blocks that it lacks are checked, too.
    behind: RefCell<Option<(BlockId, Checked)>>,
}

#[derive(Clone)]
struct Checked {
    inbound: Inbound<Message>,
    /// What checking it costs each receiver, ns.
    verify: u64,
    /// Threads that can check it together.
    parts: usize,
    /// What it costs each receiver's group thread, ns.
    turn: u64,
}

impl Packet {
    /// One that nobody has checked.
    pub const fn new(content: wire::Packet, gossip: bool) -> Self {
        Self { content, gossip, checked: RefCell::new(None), behind: RefCell::new(None) }
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

    /// Gives a packet to the threads that verify. Blocks that a node lacks they check together.
    pub fn verify(&mut self, from: usize, to: usize, packet: &Rc<Packet>) {
        let life = self.nodes[to].life;
        let behind = self.nodes[to].behind;
        let parts = self.checked(to, packet, behind).map_or(1, |checked| checked.parts);
        let left = Rc::new(Cell::new(parts));
        for _ in 0..parts {
            let (packet, left) = (Rc::clone(packet), Rc::clone(&left));
            let job = Job::Verify { from, to, life, packet, behind, left };
            self.push(to, Threads::Verifiers, job);
        }
    }

    /// What a part of checking a packet costs a node.
    pub fn verify_price(&self, at: usize, packet: &Packet, behind: Option<BlockId>) -> u64 {
        let checked = self.checked(at, packet, behind);
        checked.map_or(0, |checked| checked.verify / checked.parts as u64)
    }

    /// A packet as it is when it is checked. A refused one is none; there are none of these in a
    /// network without traitors.
    fn checked(&self, at: usize, packet: &Packet, behind: Option<BlockId>) -> Option<Checked> {
        let mut plain = packet.checked.borrow_mut();
        let context = || VerifyContext {
            group: self.descriptor.id,
            views: self.nodes[at].views.clone(),
            known: None,
        };
        let bytes = packet.content.len() as u64;
        if plain.is_none() {
            let inbound = wire::verify_held(&packet.content, &context()).ok()?;
            *plain = Some(self.priced(inbound, bytes));
        }
        let plain = plain.clone()?;
        let (Some(head), Inbound::Blocks(blocks)) = (behind, &plain.inbound) else {
            return Some(plain);
        };
        let mut known = packet.behind.borrow_mut();
        if let Some((_, checked)) = known.as_ref().filter(|(of, _)| *of == head) {
            return Some(checked.clone());
        }
        let (mut blocks, context) = (blocks.clone(), context());
        blocks.iter_mut().for_each(|block| block.check(&context, head));
        let checked = self.priced(Inbound::Blocks(blocks), bytes);
        Some(known.insert((head, checked)).1.clone())
    }

    fn priced(&self, inbound: Inbound<Message>, bytes: u64) -> Checked {
        let costs = &self.costs;
        let hash = Costs::bytes(costs.hash_kib, bytes);
        let mut parts = 1;
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
            Inbound::Blocks(blocks) => {
                let signers = certificate_quorum(self.nodes.len()) as u64;
                let certificate = signers * costs.frame_verify;
                let (mut verify, mut turn) = (0, 0);
                for block in blocks {
                    let bytes = block.bytes().0.len() as u64;
                    match block.checked() {
                        Some(checked) => {
                            let trxs = checked.get().trxs.len() as u64;
                            verify += certificate + trxs * costs.trx_check;
                            turn += certificate;
                        }
                        None => {
                            verify += Costs::bytes(costs.hash_kib, bytes) / 2;
                            turn += Costs::bytes(costs.block_kib, bytes);
                        }
                    }
                }
                parts = blocks.iter().filter(|block| block.checked().is_some()).count().max(1);
                (verify, turn)
            }
            _ => (costs.payload_decode, costs.payload_decode),
        };
        let verify = verify + costs.thread_wake * parts as u64;
        Checked { inbound, verify, turn, parts }
    }

    /// A packet has been checked: it goes to the group's thread.
    pub fn verified(&mut self, from: usize, to: usize, packet: &Packet, behind: Option<BlockId>) {
        let Some(Checked { inbound, turn, .. }) = self.checked(to, packet, behind) else { return };
        if let Some(checked) = &mut self.nodes[to].checked {
            match &inbound {
                Inbound::Trxs { trxs, .. } => {
                    checked.extend(trxs.iter().filter_map(|trx| trx.get().trx.id()));
                }
                Inbound::Blocks(blocks) => {
                    let good = blocks.iter().filter_map(InboundBlock::checked);
                    let trxs = good.flat_map(|block| &block.get().trxs);
                    checked.extend(trxs.filter_map(Trx::id));
                }
                _ => {}
            }
        }
        self.give(to, Input::Inbound(peer(from), inbound), turn);
    }
}
