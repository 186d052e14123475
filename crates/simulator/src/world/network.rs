//! The network: loses, delays, doubles, spoils and cuts off.

use std::sync::Arc;

use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_replica::api::{Address, Input};
use quorate_replica::wire::{self, Inbound, VerifyContext};
use rand::RngExt;

use super::{BEGIN, Happening, World, node_of, peer};

impl<G: KeyGeneration> World<G>
where
    G::Keys: Threshold,
{
    pub(super) fn send(&mut self, from: usize, to: &Address, packet: &Arc<[u8]>) {
        match to {
            Address::Member(member) => {
                if let Some(&to) = self.by_member.get(member) {
                    self.route(from, to, packet);
                }
            }
            Address::Peer(peer) => self.route(from, node_of(peer), packet),
            Address::Everybody => {
                for to in 0..self.nodes.len() {
                    self.route(from, to, packet);
                }
            }
            Address::Somebody => {
                if self.nodes.len() > 1 {
                    let mut to = self.rng.random_range(0..self.nodes.len() - 1);
                    if to >= from {
                        to += 1;
                    }
                    self.route(from, to, packet);
                }
            }
        }
    }

    pub(super) fn cut(&self, from: usize, to: usize) -> bool {
        let island = self.island.1 > self.now
            && self.island.0.contains(&from) != self.island.0.contains(&to);
        island || self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now)
    }

    pub(super) fn chance(&mut self, rate: f64) -> bool {
        self.faulty && rate > 0.0 && self.rng.random_bool(rate)
    }

    pub(super) fn route(&mut self, from: usize, to: usize, packet: &Arc<[u8]>) {
        if from == to {
            return;
        }
        if self.faulty && self.cut(from, to) {
            self.counts.add("cut_off");
            return;
        }
        if self.chance(self.plan.faults.drop) {
            self.counts.add("drop");
            return;
        }
        let mut packet = Arc::clone(packet);
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

    pub(super) fn deliver(&mut self, from: usize, to: usize, packet: Arc<[u8]>) {
        let most = if self.faulty { self.plan.faults.delay_ms.max(2) } else { 10 };
        let mut delay = self.rng.random_range(1..=most);
        for node in [from, to] {
            if self.nodes[node].slow_until > self.now {
                delay += 1_000;
                self.counts.add("slow_link");
            }
        }
        let time = (self.now + delay).max(self.nodes[to].paused_until);
        self.at(time, Happening::Deliver { from, to, packet });
    }

    pub(super) fn arrive(
        &mut self,
        from: usize,
        to: usize,
        packet: Arc<[u8]>,
    ) -> Option<Input<HoneyBadgerMessage>> {
        let node = &self.nodes[to];
        node.driver.as_ref()?;
        let context =
            VerifyContext { group: self.descriptor.id, views: node.views.clone(), known: None };
        let inbound: Inbound<HoneyBadgerMessage> = match wire::verify(&packet, &context) {
            Ok(inbound) => inbound,
            Err(error) => {
                if self.plan.trace {
                    eprintln!("{:>8} node {to} drops a packet: {error}", self.now - BEGIN);
                }
                return None;
            }
        };
        if self.plan.trace {
            let text = format!("{inbound:?}");
            let text: String = text.chars().take(160).collect();
            eprintln!("{:>8} node {to} hears {from}: {text}", self.now - BEGIN);
        }
        Some(Input::Inbound(peer(from), inbound))
    }

    pub(super) fn connect_all(&mut self) {
        for node in 0..self.nodes.len() {
            for other in 0..self.nodes.len() {
                if node != other {
                    let time = self.now + self.rng.random_range(1..20);
                    self.at(time, Happening::Connect { node, other });
                }
            }
        }
    }
}
