//! What a disk may suffer beyond the loss of unsynced writes, and what is owed all the same.
//!
//! | what is hit | when it may be | what must hold |
//! |---|---|---|
//! | blocks, certificates | another correct node has all of them, and no other node is short of blocks | it is noticed, or makes no difference; after a repair they come back from peers |
//! | notes, secrets | as above; of producers only while traitors and forgetful ones are no more than `f`, never the owner's | the member, who may break its word without knowing, counts as one of the `f`; it comes back and follows |
//! | indexes, snapshots, the witness | always | nobody sees a difference |
//!
//! A misdirected write may hit everything at once. The reasons are in `docs/threat-model.md`.

use quorate_consensus::core::Core;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::ids::BlockId;
use rand::RngExt;

use super::{Keys, PoaWorld};
use crate::conduct;
use crate::disk::FaultyDisk;
use crate::faults::{Harm, Outage};
use crate::store::{Contents, Kind, kind_of};

/// How long an operator takes to repair a node that complains.
const REPAIR_MS: u64 = 200;

/// What a machine's disk has suffered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// It may have lost notes or keys of the view it is in: it counts as faulty.
    forgetful: bool,
    /// Notes were hit since it was started.
    notes: bool,
    /// Blocks were hit, and no repair has run since.
    blocks: bool,
    /// The node has complained.
    complained: bool,
    /// Misdirected writes before the last loss of power.
    strays: usize,
    /// Forgetful, notes and blocks as they were before writes could go astray.
    before: Option<[bool; 3]>,
}

impl<C: Core> PoaWorld<C>
where
    Keys<C>: Threshold,
{
    /// The owner, without which nothing can be changed, is spared.
    pub(super) fn may_forget(&self, node: usize) -> bool {
        let faulty = |node: usize| self.nodes[node].traitor || self.nodes[node].health.forgetful;
        let lost = (0..self.plan.producers).filter(|node| faulty(*node)).count();
        node >= self.plan.producers || (node > 0 && (faulty(node) || lost < self.plan.tolerated()))
    }

    /// Whether others have the blocks of a node up to these heads, and will keep them.
    fn may_lose(&self, node: usize, heads: &[BlockId]) -> bool {
        let others = || {
            let others = (0..self.nodes.len()).filter(move |other| *other != node);
            others.map(|other| &self.nodes[other]).filter(|machine| !machine.traitor)
        };
        let whole = others().all(|machine| {
            !machine.health.blocks
                && machine.seats.iter().all(|seat| seat.record.head >= seat.record.owes)
        });
        let lent = |(group, head): (usize, &BlockId)| {
            others().any(|machine| machine.seats[group].record.head >= *head)
        };
        self.nodes[node].traitor || (whole && heads.iter().enumerate().all(lent))
    }

    /// Whether a node may lose everything that is on its disk.
    pub(super) fn may_lose_all(&self, node: usize) -> bool {
        let heads: Vec<BlockId> = self.nodes[node]
            .seats
            .iter()
            .map(|seat| seat.record.head.max(seat.record.owes))
            .collect();
        self.may_forget(node) && self.may_lose(node, &heads)
    }

    /// What all groups of a machine's disk hold; nothing if it is damaged already.
    fn contents(&self, node: usize) -> Option<Vec<Contents>> {
        let copy = self.nodes[node].disk.copy();
        self.each_dir(&copy).map(|dir| Contents::read(&dir).ok()).collect()
    }

    fn each_dir<'a>(&self, disk: &'a FaultyDisk) -> impl Iterator<Item = FaultyDisk> + use<'a, C> {
        (0..self.play.groups.len()).map(|group| disk.dir(&format!("g{group}")))
    }

    /// Lets a disk suffer, if it may.
    pub(super) fn harm(&mut self, node: usize, harm: Harm) {
        match harm {
            Harm::None => {}
            Harm::Wipe => {
                if self.may_lose_all(node) {
                    self.nodes[node].disk.wipe();
                    self.hit(node, Kind::Notes);
                }
            }
            Harm::BitFlip => self.damage(node, |disk, may| disk.flip_bit(may)),
            Harm::Truncate => self.damage(node, |disk, may| disk.cut_tail(may)),
        }
    }

    fn damage(
        &mut self,
        node: usize,
        strike: impl FnOnce(&FaultyDisk, &dyn Fn(&str) -> bool) -> Option<String>,
    ) {
        let Some(before) = self.contents(node) else { return };
        let heads: Vec<BlockId> = before.iter().map(Contents::head).collect();
        let lose = self.may_lose(node, &heads);
        let forget = lose && self.may_forget(node);
        let may = |path: &str| match kind_of(path) {
            Kind::Notes => forget,
            Kind::Blocks => lose,
            Kind::Derived => true,
        };
        let Some(path) = strike(&self.nodes[node].disk, &may) else { return };
        self.tell(|| format!("n{node}: {path} is damaged"));
        let copy = self.nodes[node].disk.copy();
        let after: Vec<_> = self.each_dir(&copy).map(|dir| Contents::read(&dir)).collect();
        let unnoticed = before.iter().zip(&after).any(|(before, after)| match after {
            Ok(after) => after != before && !after.amnesia(),
            Err(_) => false,
        });
        if unnoticed && kind_of(&path) == Kind::Notes {
            self.counts.add("unnoticed_loss_of_notes");
            conduct::excuse(self.nodes[node].member.public());
        } else if unnoticed {
            self.fail("durability", format!("n{node}: nothing notices the damage of {path}"));
        }
        self.hit(node, kind_of(&path));
    }

    fn hit(&mut self, node: usize, kind: Kind) {
        let health = &mut self.nodes[node].health;
        health.before = None;
        health.blocks |= kind != Kind::Derived;
        if kind == Kind::Notes {
            health.notes = true;
            health.forgetful = true;
        }
    }

    /// A machine is to misdirect writes for a while, if it may: whether it may.
    pub(super) fn goes_astray(&mut self, node: usize) -> bool {
        let may = self.may_lose_all(node);
        if may {
            conduct::excuse(self.nodes[node].member.public());
            let Health { forgetful, notes, blocks, .. } = self.nodes[node].health;
            self.hit(node, Kind::Notes);
            self.nodes[node].health.before = Some([forgetful, notes, blocks]);
        }
        may
    }

    /// Its writes go where they should again: if none went astray, it is as it was.
    pub(super) fn is_straight(&mut self, node: usize) {
        let strays = self.nodes[node].disk.strays().len();
        let health = &mut self.nodes[node].health;
        if strays == health.strays
            && let Some(before) = health.before.take()
        {
            [health.forgetful, health.notes, health.blocks] = before;
        }
    }

    /// The power is gone: from now on its node owes what it had, and may not have it.
    pub(super) fn settle_losses(&mut self, node: usize) {
        let strays = self.nodes[node].disk.strays().len();
        if strays > self.nodes[node].health.strays {
            self.hit(node, Kind::Notes);
        }
        let machine = &mut self.nodes[node];
        machine.health.strays = strays;
        if machine.health.blocks {
            for seat in &mut machine.seats {
                seat.record.owes = seat.record.owes.max(seat.record.head);
                seat.record.head = BlockId(0);
            }
        }
        if std::mem::take(&mut machine.health.notes) {
            // An acknowledgement promises no more than the disk it was written to.
            self.play.groups.iter_mut().for_each(|group| group.ledger.forgive(node));
        }
    }

    /// Whether the operator looks through the disk before the node starts: if it has complained,
    /// and every other time that something is wrong without a complaint.
    pub(super) fn is_examined(&mut self, node: usize) -> bool {
        let Health { blocks, complained, .. } = self.nodes[node].health;
        complained || (blocks && self.rng.random_bool(0.5))
    }

    /// All groups of a machine have been repaired.
    pub(super) fn is_repaired(&mut self, node: usize) {
        let health = &mut self.nodes[node].health;
        health.blocks = false;
        health.complained = false;
    }

    /// Notes whether a node that is about to stop has met damage.
    pub(super) fn hear_complaints(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        let drivers = machine.seats.iter().filter_map(|seat| seat.member.as_ref());
        let complains = drivers.map(|d| d.journal().stats().corrupt_reads).sum::<u64>() > 0;
        machine.health.complained |= complains;
    }

    /// The operator stops a running node that complains, to repair it; whether it does.
    pub(super) fn operate(&mut self, node: usize) -> bool {
        self.hear_complaints(node);
        if !self.is_up(node) || !self.nodes[node].health.complained {
            return false;
        }
        self.counts.add("repair_of_a_running_node");
        let outage = Outage { fuse: None, back_after_ms: REPAIR_MS, harm: Harm::None };
        self.crash(node, outage);
        true
    }
}
