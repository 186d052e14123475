//! The network: loses, delays, doubles, spoils, holds back and cuts off.

use std::sync::Arc;

use quorate_consensus::core::Core;
use quorate_crypto::threshold::Threshold;
use quorate_replica::api::{Address, Input};
use quorate_replica::wire::{self, Inbound, MAGIC, VerifyContext, WIRE_VERSION};
use rand::RngExt;

use super::{Happening, Keys, MS, Place, World, node_of, peer};

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

impl<C: Core> World<C>
where
    Keys<C>: Threshold,
{
    /// A place sends a packet.
    pub(super) fn send(&mut self, from: Place, to: &Address, packet: &Arc<[u8]>) {
        let group = from.group;
        match to {
            Address::Member(member) => {
                for node in self.by_member.get(member).cloned().unwrap_or_default() {
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

    fn route(&mut self, from: usize, to: Place, packet: &Arc<[u8]>) {
        if from == to.node {
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
        let mut packet = Arc::clone(packet);
        if self.nodes[from].foreign_until > self.now {
            let mut bytes = packet.to_vec();
            bytes[MAGIC.len()] = WIRE_VERSION + 1;
            packet = bytes.into();
            self.counts.add("wire_version");
        }
        if self.chance(self.plan.faults.corrupt) {
            let mut bytes = packet.to_vec();
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << self.rng.random_range(0..8u8);
            packet = bytes.into();
            self.counts.add("corrupt");
        }
        if self.chance(self.plan.faults.duplicate) {
            self.counts.add("duplicate");
            self.deliver(from, to, Arc::clone(&packet));
        }
        self.deliver(from, to, packet);
    }

    fn deliver(&mut self, from: usize, to: Place, packet: Arc<[u8]>) {
        let most = if self.faulty { self.plan.faults.delay_ms.max(2) } else { QUIET_DELAY_MS };
        let mut delay = self.rng.random_range(MS..=most * MS);
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
        let out = line.carry(packet.len(), self.now);
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

    /// A packet is there: what its signatures vouch for goes into the inbox.
    pub(super) fn arrive(&mut self, from: usize, to: Place, packet: &[u8]) {
        if self.seat(to).driver.is_none() {
            return;
        }
        let context = VerifyContext {
            group: self.groups[to.group].descriptor.id,
            views: self.seat(to).views.clone(),
            known: None,
        };
        let inbound: Inbound<C::Message> = match wire::verify(packet, &context) {
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
