//! Traitors at work: chosen, given their keys and twins, let loose on packets.

use std::collections::BTreeMap;
use std::rc::Rc;

use quorate_consensus::core::Core;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::ids::GroupId;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use super::members::Checked;
use super::{BEGIN, Keys, Place, PoaHappening, PoaWorld};
use crate::faults::{Harm, Outage};
use crate::store;
use crate::traitor::amnesia;
use crate::traitor::packets::{self, BEAT_MS, Memory, Vantage};
use crate::traitor::purse::Purse;
use crate::traitor::twins::Twins;
use crate::traitor::{self, Treason};
use crate::world::network::Packet;
use crate::world::{Happening, MS, Machine};

/// A traitor's means in one group.
struct Lot {
    purse: Purse,
    memory: Memory,
}

/// What a traitor is up to.
pub(super) struct Plot {
    treason: Treason,
    rng: ChaCha8Rng,
    lots: Vec<Lot>,
}

impl<C: Core> PoaWorld<C>
where
    Keys<C>: Threshold,
{
    /// From now on the planned producers (never the owner, who must lead changes) betray.
    pub(super) fn betray(&mut self) {
        let mut roles = BTreeMap::new();
        let mut candidates: Vec<usize> = (1..self.plan.producers).collect();
        for treason in self.plan.traitors.clone() {
            if candidates.is_empty() {
                break;
            }
            let chosen = candidates.swap_remove(self.rng.random_range(0..candidates.len()));
            let member = self.nodes[chosen].member.clone();
            self.tell(|| format!("n{chosen} betrays: {}", treason.name()));
            roles.insert(member.public(), treason);
            self.counts.add(treason.name());
            self.nodes[chosen].traitor = true;
            let groups = self.play.groups.iter().map(|group| group.descriptor.id);
            let lots = groups.map(|group| Lot {
                purse: Purse::new(group, member.clone()),
                memory: Memory::default(),
            });
            let plot = Plot {
                treason,
                lots: lots.collect(),
                rng: ChaCha8Rng::seed_from_u64(self.rng.next_u64()),
            };
            self.play.plots.insert(chosen, plot);
            self.in_ms(BEAT_MS, Happening::Play(PoaHappening::Beat { node: chosen }));
            self.steal(chosen);
            if treason == Treason::Twins {
                self.bear_twin(chosen);
            }
        }
        traitor::cast(roles);
    }

    /// A traitor's keys are read from a copy of its disk.
    fn steal(&mut self, node: usize) {
        let machine = &self.nodes[node];
        let copy = machine.disk.copy();
        let Some(plot) = self.play.plots.get_mut(&node) else { return };
        for (group, lot) in plot.lots.iter_mut().enumerate() {
            let views = &machine.seats[group].record.views;
            if let Ok(opened) = store::open(&copy.dir(&format!("g{group}")), 0, false) {
                lot.purse.steal(views, &opened.recovered.secrets);
            }
        }
    }

    /// A second machine begins where the traitor is.
    fn bear_twin(&mut self, first: usize) {
        let second = self.nodes.len();
        let mut keys = ChaCha20Rng::seed_from_u64(self.rng.next_u64());
        let mut twin = Machine::new(&self.plan, &mut self.rng, &mut keys);
        let original = &self.nodes[first];
        twin.member = original.member.clone();
        twin.encrypt = original.encrypt.clone();
        twin.disk = original.disk.copy();
        twin.traitor = true;
        // It has been started before: it creates no group.
        twin.life = original.life;
        self.by_member.entry(twin.member.public()).or_default().push(second);
        self.nodes.push(twin);
        self.play.twins.push(Twins::new(&mut self.rng, first, second, self.plan.nodes()));
        self.start(second);
    }

    /// Whether a packet between these machines is not for this one of two twins.
    pub(super) fn misses_twin(&mut self, from: usize, to: usize) -> bool {
        let rng = &mut self.rng;
        self.play.twins.iter().any(|twins| twins.miss(rng, from, to))
    }

    /// Calls `act` with what a traitor has and sees at a place.
    fn at_vantage<T>(
        &mut self,
        place: Place,
        act: impl FnOnce(Treason, &Vantage<'_>, &mut ChaCha8Rng) -> T,
    ) -> Option<T> {
        let now_ns = ((BEGIN + self.now / MS) * 1_000_000) as i64;
        let groups: Vec<GroupId> =
            self.play.groups.iter().map(|group| group.descriptor.id).collect();
        let status = self.seat(place).member.as_ref()?.status();
        let Plot { treason, rng, lots } = self.play.plots.get_mut(&place.node)?;
        let Lot { purse, memory } = &lots[place.group];
        let vantage = Vantage { purse, memory, status: &status, groups: &groups, now_ns };
        Some(act(*treason, &vantage, rng))
    }

    /// What a packet of a traitor's replica becomes.
    pub(super) fn betrayed(
        &mut self,
        from: Place,
        packet: &Rc<Packet<Checked<C::Message>>>,
    ) -> Vec<Rc<Packet<Checked<C::Message>>>> {
        self.overhear(from, packet);
        let changed = self.at_vantage(from, |treason, vantage, rng| {
            packets::rewrite::<C::Message>(treason, vantage, rng, packet.content())
        });
        match changed.flatten() {
            Some(packets) => packets.into_iter().map(Packet::new).collect(),
            None => vec![Rc::clone(packet)],
        }
    }

    /// A traitor remembers what it hears and says.
    pub(super) fn overhear(&mut self, place: Place, packet: &Packet<Checked<C::Message>>) {
        if let Some(Plot { rng, lots, .. }) = self.play.plots.get_mut(&place.node) {
            lots[place.group].memory.keep(rng, packet.content());
        }
    }

    /// A traitor does something on its own.
    pub(super) fn beat(&mut self, node: usize) {
        self.in_ms(BEAT_MS, Happening::Play(PoaHappening::Beat { node }));
        let Some(plot) = self.play.plots.get_mut(&node) else { return };
        if !self.nodes[node].seats.iter().all(|seat| seat.member.is_some()) {
            return;
        }
        if plot.treason == Treason::Amnesiac {
            if let Some(back_after_ms) = amnesia::restarts(&mut plot.rng) {
                self.crash(node, Outage { fuse: None, back_after_ms, harm: Harm::None });
            }
            return;
        }
        let fresh = (0..self.play.groups.len()).any(|group| {
            let known =
                self.play.plots[&node].lots[group].purse.seat().map(|seat| seat.view.number);
            self.nodes[node].seats[group].record.views.last().map(|view| view.number) != known
        });
        if fresh {
            self.steal(node);
        }
        for group in 0..self.play.groups.len() {
            let place = Place { node, group };
            let sent = self.at_vantage(place, |treason, vantage, rng| {
                packets::scheme::<C::Message>(treason, vantage, rng)
            });
            for (to, packet) in sent.unwrap_or_default() {
                self.put(place, &to, &Packet::new(packet));
            }
        }
    }
}
