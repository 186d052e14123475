//! The network: loses, delays, doubles, spoils, holds back and cuts off.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use quorate_replica::api::Address;
use quorate_replica::wire;
use rand::RngExt;

use super::play::Play;
use super::{Happening, MS, Place, World, node_of};

/// Delay of a packet without faults, at most, in ms.
const QUIET_DELAY_MS: u64 = 10;

/// A machine's line out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// What it carries in a ms while it is narrow.
    pub bytes_per_ms: u64,
    /// Until when it is narrow.
    pub until: u64,
    /// When the last packet given to it is out.
    free_at: u64,
}

impl Line {
    /// When a packet of `len` bytes is out, given to it at `now`.
    fn carry(&mut self, len: usize, now: u64) -> u64 {
        if self.until <= now || self.bytes_per_ms == 0 {
            return now;
        }
        self.free_at = self.free_at.max(now) + len as u64 * MS / self.bytes_per_ms;
        self.free_at
    }
}

/// A packet on its way to some receivers, with what has been found out about it.
pub struct Packet<K> {
    content: wire::Packet,
    checked: RefCell<Option<K>>,
}

impl<K> Packet<K> {
    pub(super) fn new(content: impl Into<wire::Packet>) -> Rc<Self> {
        Rc::new(Self { content: content.into(), checked: RefCell::new(None) })
    }

    /// This very packet among those that a turn has sent already, or a new one.
    pub(super) fn among(sent: &mut Vec<Rc<Self>>, content: impl Into<wire::Packet>) -> Rc<Self> {
        let content = content.into();
        if let Some(packet) = sent.iter().find(|packet| packet.content.is(&content)) {
            return Rc::clone(packet);
        }
        let packet = Self::new(content);
        sent.push(Rc::clone(&packet));
        packet
    }

    /// Its bytes, signed now if nobody has asked for them before.
    pub(super) fn bytes(&self) -> &Arc<[u8]> {
        self.content.bytes()
    }

    /// What it is a copy of.
    pub(super) const fn content(&self) -> &wire::Packet {
        &self.content
    }

    /// What has been found out about it.
    pub(super) fn checked(&self) -> RefMut<'_, Option<K>> {
        self.checked.borrow_mut()
    }

    /// A copy that is not byte for byte the same.
    fn altered(&self, alter: impl FnOnce(&mut [u8])) -> Rc<Self> {
        let mut bytes = self.bytes().to_vec();
        alter(&mut bytes);
        Self::new(bytes)
    }
}

impl<P: Play> World<P> {
    /// Puts a packet on its ways.
    pub(super) fn put(&mut self, from: Place, to: &Address, packet: &Rc<Packet<P::Checked>>) {
        let group = from.group;
        match to {
            Address::Member(member) => {
                for at in 0..self.by_member.get(member).map_or(0, Vec::len) {
                    let node = self.by_member[member][at];
                    self.route(from.node, Place { node, group }, packet);
                }
            }
            Address::Peer(peer) => {
                self.route(from.node, Place { node: node_of(peer), group }, packet);
            }
            Address::Everybody => {
                for node in 0..self.nodes.len() {
                    self.route(from.node, Place { node, group }, packet);
                }
            }
            Address::Somebody => {
                if self.nodes.len() > 1 {
                    let mut node = self.rng.random_range(0..self.nodes.len() - 1);
                    node += usize::from(node >= from.node);
                    self.route(from.node, Place { node, group }, packet);
                }
            }
        }
    }

    fn cut(&self, from: usize, to: usize) -> bool {
        let island = self.island.1 > self.now
            && self.island.0.contains(&from) != self.island.0.contains(&to);
        island || self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now)
    }

    pub(super) fn chance(&mut self, rate: f64) -> bool {
        self.faulty && rate > 0.0 && self.rng.random_bool(rate)
    }

    fn route(&mut self, from: usize, to: Place, packet: &Rc<Packet<P::Checked>>) {
        // There were more machines before the group was recovered.
        let is_gone = to.node >= self.nodes.len();
        if from == to.node || is_gone || P::misses(self, from, to.node) {
            return;
        }
        if self.faulty && self.cut(from, to.node) {
            self.counts.add("cut_off");
            return;
        }
        if self.chance(self.plan.faults.drop) {
            self.counts.add("drop");
            return;
        }
        let mut packet = Rc::clone(packet);
        if self.nodes[from].foreign_until > self.now {
            packet = packet.altered(P::foreign);
            self.counts.add("wire_version");
        }
        if self.chance(self.plan.faults.corrupt) {
            if P::LINKS_NOTICE {
                self.counts.add("corrupt");
                return;
            }
            let at = self.rng.random_range(0..packet.content.len());
            let bit = self.rng.random_range(0..8u8);
            packet = packet.altered(|bytes| bytes[at] ^= 1 << bit);
            self.counts.add("corrupt");
        }
        if self.chance(self.plan.faults.duplicate) && P::repeats(&packet) {
            self.counts.add("duplicate");
            self.deliver(from, to, Rc::clone(&packet));
        }
        if self.chance(self.plan.faults.replay) && P::repeats(&packet) {
            self.counts.add("replay");
            let later = self.now + self.rng.random_range(1_000..10_000) * MS;
            self.at(later, Happening::Deliver { from, to, packet: Rc::clone(&packet) });
        }
        self.deliver(from, to, packet);
    }

    fn deliver(&mut self, from: usize, to: Place, packet: Rc<Packet<P::Checked>>) {
        let most = if self.faulty { self.plan.faults.delay_ms.max(2) } else { QUIET_DELAY_MS };
        let mut delay = self.rng.random_range(MS..=most * MS);
        if delay > QUIET_DELAY_MS * MS {
            self.counts.add("delay");
        }
        for node in [from, to.node] {
            if self.nodes[node].slow_until > self.now {
                delay += 1_000 * MS;
                self.counts.add("slow_link");
            }
        }
        if self.chance(self.plan.faults.reorder) {
            delay += self.rng.random_range(50..2_000) * MS;
            self.counts.add("reorder");
        }
        let line = &mut self.nodes[from].line;
        let out = line.carry(packet.content.len(), self.now);
        if out > self.now {
            self.counts.add("bandwidth");
        }
        let mut time = out + delay;
        let clogged_until = self.nodes[to.node].clogged_until;
        if clogged_until > time {
            time = clogged_until;
            self.counts.add("clog");
        }
        self.at(time, Happening::Deliver { from, to, packet });
    }

    pub(super) fn connect_all(&mut self) {
        for place in self.places() {
            for other in 0..self.nodes.len() {
                if place.node != other {
                    let delay = self.rng.random_range(MS..20 * MS);
                    self.at(self.now + delay, Happening::Connect { place, other });
                }
            }
        }
    }
}
