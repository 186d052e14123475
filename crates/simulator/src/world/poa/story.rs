//! The phases of a seed: set-up without faults, faults, heal. And other stories.

use quorate_consensus::core::Core;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::proto::{ActionType, AnnounceType};
use quorate_replica::api::{Answer, Command, Query};
use rand::RngExt;

use super::{Keys, Place, PoaHappening, PoaWorld};
use crate::faults::{Harm, Outage};
use crate::world::{Happening, MS, Outcome};

/// Bound on the set-up (announce, change of the consensus) without faults, in virtual ms.
const SETUP_MS: u64 = 120_000;
/// First epoch of a view of all producers.
const FIRST_EPOCH: u64 = 100;

impl<C: Core> PoaWorld<C>
where
    Keys<C>: Threshold,
{
    /// Runs set-up, the faulty phase and the healing phase.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let recovery_ms = self.phases();
        self.outcome(recovery_ms)
    }

    /// Another story: a producer dies for good, the owner removes it from the committee, posts go on,
    /// and when it comes back it follows.
    #[must_use]
    pub fn run_removal(mut self) -> Outcome {
        let recovery_ms = self.remove_a_dead_producer();
        self.outcome(recovery_ms)
    }

    /// Another story: the producers get new keys while clients post and the faults of the network
    /// strike, and the new view counts its epochs from the same number as the old one.
    #[must_use]
    pub fn run_renewal(mut self) -> Outcome {
        let recovery_ms = self.renew_the_keys();
        self.outcome(recovery_ms)
    }

    fn renew_the_keys(&mut self) -> Option<u64> {
        self.set_up();
        self.betray();
        self.faulty = true;
        let founders = self.plan.founders();
        let gap = self.plan.faulty_ms / (self.plan.posts.max(1) as u64);
        for group in 0..self.play.groups.len() {
            for post in 0..self.plan.posts as u64 {
                self.in_ms(post * gap, Happening::Play(PoaHappening::Post { group }));
            }
        }
        let (moment, end) = (self.now + 2_000 * MS, self.now + self.plan.faulty_ms * MS);
        self.run_until(moment, |_| false);
        self.change_to(self.plan.producers, FIRST_EPOCH);
        if !self.run_until(self.now + SETUP_MS * MS, |world| world.installed_by(founders)) {
            self.fail("progress_after_heal", "the keys were not renewed");
            return None;
        }
        self.run_until(end.max(self.now), |_| false);
        self.heal();
        let healed = self.now;
        if !self.run_until(healed + self.plan.heal_ms * MS, Self::converged) {
            self.not_converged();
            return None;
        }
        Some((self.now - healed) / MS)
    }

    pub(super) fn phases(&mut self) -> Option<u64> {
        self.set_up();
        if self.violation.is_some() {
            return None;
        }
        self.betray();
        self.faulty = true;
        let end = self.now + self.plan.faulty_ms * MS;
        let gap = self.plan.faulty_ms / (self.plan.posts.max(1) as u64);
        for group in 0..self.play.groups.len() {
            for post in 0..self.plan.posts as u64 {
                self.in_ms(post * gap, Happening::Play(PoaHappening::Post { group }));
            }
        }
        self.schedule_blows();
        self.run_until(end, |_| false);
        if self.violation.is_some() {
            return None;
        }
        self.heal();
        let healed = self.now;
        let done = self.run_until(healed + self.plan.heal_ms * MS, Self::converged);
        if self.violation.is_some() {
            return None;
        }
        if !done {
            self.not_converged();
            return None;
        }
        Some((self.now - healed) / MS)
    }

    fn not_converged(&mut self) {
        let missing: usize = self.play.groups.iter().map(|g| g.ledger.missing().count()).sum();
        let heads: Vec<Vec<u64>> =
            self.nodes.iter().map(|n| n.seats.iter().map(|s| s.record.head.0).collect()).collect();
        let text = format!(
            "{} ms after the faults heads are {heads:?}, {missing} acknowledged trxs missing",
            self.plan.heal_ms
        );
        let property = if missing > 0 { "no_acknowledged_loss" } else { "progress_after_heal" };
        self.fail(property, text);
    }

    /// The owner creates the groups, everybody joins and announces, the consensus is changed from
    /// the owner alone to all producers.
    fn set_up(&mut self) {
        let founders = self.plan.founders();
        for node in 0..founders {
            self.start(node);
        }
        let end = self.now + SETUP_MS * MS;
        let ready = self
            .run_until(end, |world| world.play.groups.iter().all(|g| g.ready.len() == founders));
        if !ready {
            return self
                .fail("progress_after_heal", "set-up: the genesis documents did not spread");
        }
        let producers = 1..self.plan.producers;
        for place in self.places().filter(|p| producers.contains(&p.node)) {
            let (action, kind) = (ActionType::Add, AnnounceType::AsProducer);
            self.command(place, Command::Announce { action, kind, memo: String::new() });
        }
        if !self.run_until(end, |world| world.announced_everywhere()) {
            return self.fail("progress_after_heal", "set-up: the announcements were not ordered");
        }
        self.change_to(self.plan.producers, FIRST_EPOCH);
        let changed = self.run_until(end, |world| world.installed_by(founders));
        if !changed {
            self.fail("progress_after_heal", "set-up: the change of the consensus did not end");
        }
    }

    /// The owner wants the first `producers` nodes to produce, in all groups.
    fn change_to(&mut self, producers: usize, start_from_epoch: u64) {
        let producers: Vec<MemberPublicKey> =
            self.nodes[..producers].iter().map(|n| n.member.public()).collect();
        for group in 0..self.play.groups.len() {
            self.play.groups[group].installed.clear();
            let command = Command::ChangeConsensus {
                producers: producers.clone(),
                start_from_epoch,
                trx_epoch_tick: self.plan.interval_ms,
                agreement_tick_length: 5_000,
                agreement_tick_count: 10,
            };
            self.command(Place { node: 0, group }, command);
        }
    }

    fn installed_by(&self, nodes: usize) -> bool {
        self.play
            .groups
            .iter()
            .all(|group| group.installed.range(..self.plan.nodes()).count() >= nodes)
    }

    fn announced_everywhere(&self) -> bool {
        self.nodes[0].seats.iter().all(|seat| {
            let announced = Query::Announced(AnnounceType::AsProducer);
            match seat.member.as_ref().map(|driver| driver.query(announced)) {
                Some(Ok(Answer::Announced(items))) => items.len() >= self.plan.producers,
                _ => false,
            }
        })
    }

    fn converged(&mut self) -> bool {
        (0..self.play.groups.len()).all(|group| {
            let known = &self.play.groups[group];
            let head = known.ledger.head().0;
            let correct = self.nodes.iter().filter(|n| !n.traitor);
            correct.into_iter().all(|n| n.seats[group].record.head == head)
                && known.posted == self.plan.posts
                && known.ledger.missing().next().is_none()
        })
    }

    fn remove_a_dead_producer(&mut self) -> Option<u64> {
        const NEVER_MS: u64 = u64::MAX / 4 / MS;
        self.set_up();
        let dead = self.plan.producers - 1;
        let moment = self.now + self.rng.random_range(0..2_000) * MS;
        self.run_until(moment, |_| false);
        self.crash(dead, Outage { fuse: None, back_after_ms: NEVER_MS, harm: Harm::None });
        let began = self.now;
        self.change_to(dead, 5_000);
        let end = self.now + SETUP_MS * MS;
        let live = self.nodes.len() - 1;
        if !self.run_until(end, |world| world.installed_by(live)) {
            self.fail("progress_after_heal", "the dead producer was not removed");
            return None;
        }
        let recovery = (self.now - began) / MS;
        for group in 0..self.play.groups.len() {
            for post in 0..self.plan.posts as u64 {
                self.in_ms(post * 50, Happening::Play(PoaHappening::Post { group }));
            }
        }
        let moment = self.now + 2_000 * MS;
        self.run_until(moment, |_| false);
        self.start(dead);
        let end = self.now + SETUP_MS * MS;
        if !self.run_until(end, Self::converged) {
            self.fail("progress_after_heal", "posts after the removal are not final everywhere");
        }
        Some(recovery)
    }
}
