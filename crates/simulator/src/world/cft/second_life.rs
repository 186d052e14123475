//! The group is lost but for one disk, recovered from it, and goes on \[7.6\]: the nodes of before have
//! gone for good, the machines that are there are new nodes. Everything else is as in the first life,
//! and the same properties hold, with what was recovered as the beginning.
//!
//! | what | how it follows |
//! |---|---|
//! | committed entries up to the cut stay | they are the checker's committed log |
//! | receipts of the first life lead to the new service | receipts of before the cut are asked for at the end |
//! | transactions that were cut are invalid for ever | the history knows each that anybody was told of |
//! | no view is led twice, no id used twice | leaders and entries of before are remembered |
//!
//! Chance has a stream of its own here: what a seed did before it had a second life it does for ever.

use quorate_consensus::raft::Seqno;
use quorate_ledger::ccf::signature::ServiceSecrets;
use rand::{RngExt, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use super::{CftWorld, clients, id_of, operator};
use crate::faults::{self, Harm, Outage};
use crate::signed::keys::NodeKeys;
use crate::world::{MS, Machine, Plan};

/// Share of the seeds with a second life.
const SHARE: f64 = 0.25;
/// How long clients go on before everything is lost, at most: so long that something is under way.
const LAST_MOMENTS_MS: u64 = 400;
/// The number of the first new node's keys: above those of all nodes of before.
const KEYS: u64 = 1 << 20;

/// What is known of a seed's second life.
pub(super) struct SecondLife {
    rng: ChaCha8Rng,
    wanted: bool,
    /// The last entry of the first life, in the second one.
    cut: Option<Seqno>,
    /// The service of the first life, in the second one.
    former: Option<ServiceSecrets>,
}

/// What vouches for the service of before: an endorsement, and its key's statement.
type Link = (String, Option<Vec<u8>>);

impl SecondLife {
    /// Whether a seed has one, and all its chance.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6c69_6665);
        Self { wanted: rng.random_bool(SHARE), rng, cut: None, former: None }
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The service of the first life, in the second one.
    pub(super) const fn former(&self) -> Option<&ServiceSecrets> {
        self.former.as_ref()
    }

    /// The last entry of the first life; 0 in the first one.
    pub(super) fn cut(&self) -> Seqno {
        self.cut.unwrap_or_default()
    }
}

impl CftWorld {
    /// Loses everything but one disk, recovers, and goes through all phases once more.
    pub(super) fn live_again(&mut self) {
        if self.violation.is_some() {
            return;
        }
        self.clients_insist();
        let last_moments = self.play.second_life.rng.random_range(0..LAST_MOMENTS_MS);
        self.run_until(self.now + last_moments * MS, |_| false);
        let survivors: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.may_survive(*node)).collect();
        if self.violation.is_some() || survivors.is_empty() {
            return;
        }
        let pick = self.play.second_life.rng.random_range(0..survivors.len());
        self.lose_all_but(survivors[pick]);
        self.counts.add("second_life");
        if self.phases().is_some() {
            self.counts.add("second_life_lived");
        }
    }

    /// Whether the operator may choose this node's disk. He takes the one that keeps most, of the
    /// newest view: from another one transactions could come back that were invalid, and a view of
    /// before be led again.
    fn may_survive(&self, node: usize) -> bool {
        let machine = &self.nodes[node];
        let record = &machine.seats[0].record;
        let shadow = self.play.checker.member(node);
        let cut = shadow.last_signature();
        let agrees = (shadow.base() + 1..=cut).all(|seqno| {
            let own = shadow.entry(seqno).map(|made| made.view);
            let known = self.play.checker.committed_at(seqno).map(|made| made.view);
            known.is_none() || known == own
        });
        self.is_up(node)
            && machine.health.is_good()
            && !record.stalled
            && record.stopped.is_none()
            && !machine.disk.is_dead()
            && cut > 0
            && agrees
            && Some(shadow.view) >= self.play.checker.newest_view()
    }

    /// All machines are lost; one disk is left, in another machine, and others come.
    fn lose_all_but(&mut self, survivor: usize) {
        self.crash(survivor, Outage { fuse: None, back_after_ms: 0, harm: Harm::None });
        let cut = self.play.checker.member(survivor).last_signature();
        self.tell(|| format!("all is lost but the disk of n{survivor}, which has {cut} signed"));
        let disk = self.nodes[survivor].disk.clone();
        for (_, machine) in self.nodes.iter().enumerate().filter(|(node, _)| *node != survivor) {
            for (kind, count) in machine.disk.counts() {
                self.counts.add_many(kind, count);
            }
        }
        let mut rng = ChaCha8Rng::from_rng(&mut self.play.second_life.rng);
        self.plan = next_plan(&self.plan, &mut rng);
        let mut keys = ChaCha20Rng::from_rng(&mut rng);
        let machines =
            (0..self.plan.nodes()).map(|_| Machine::new(&self.plan, &mut rng, &mut keys));
        self.nodes = machines.collect();
        self.nodes[0].disk = disk;
        let members = self.nodes.iter().enumerate();
        self.by_member = members.map(|(i, n)| (n.member.public(), vec![i])).collect();
        self.queue.clear();
        self.due.clear();
        self.cuts.clear();
        self.island.0.clear();
        self.clients = ChaCha8Rng::from_rng(&mut rng);
        self.rng = ChaCha8Rng::from_rng(&mut rng);

        let (now, clock) = (self.now, self.clock(0).0);
        if rng.random_bool(0.5) {
            // The power goes while it recovers.
            let (fuse, back_after_ms) = (rng.random_range(1..60), rng.random_range(1..2_000));
            self.nodes[0].disk.light_fuse(fuse);
            self.nodes[0].outage = Some(Outage { fuse: None, back_after_ms, harm: Harm::None });
        }
        let play = &mut self.play;
        play.second_life.cut = Some(cut);
        play.first_keys += KEYS;
        let next = play.kind.found(play.first_keys, b"the key of the service's second life", clock);
        play.second_life.former = Some(std::mem::replace(&mut play.service, next));
        play.former_begun += std::mem::take(&mut play.begun);
        let ids = (0..self.nodes.len()).map(|node| id_of(play.kind, play.keys_of(node))).collect();
        play.checker.begin_again(survivor, cut, ids);
        play.history.begin_again(now, &play.checker);
        play.asked.clear();
        play.operator = operator::Operator::default();
        play.from_snapshot = rng.random_bool(0.5);
        play.clients = (0..rng.random_range(1..7)).map(|_| clients::Client::default()).collect();
    }

    /// The new service's link to the one of before, if the first machine has to recover the group: it
    /// does so until the recovery is in its log, signed.
    pub(super) fn recovery(&self, node: usize, keys: &NodeKeys) -> Option<Link> {
        let cut = self.play.second_life.cut?;
        let former = self.play.second_life.former.as_ref()?;
        let is_there = self.play.checker.member(node).is_recovered_after(cut);
        (!is_there).then(|| keys.link(former, self.clock(node).0))
    }

    /// In its second life the power goes a few times once the group is recovered, before there are
    /// others; whether the first machine leads in the end.
    pub(super) fn is_shaken(&mut self, end: u64) -> bool {
        if self.play.second_life.cut.is_none() {
            return true;
        }
        for _ in 0..self.play.second_life.rng.random_range(0..3) {
            let back_after_ms = self.play.second_life.rng.random_range(1..500);
            self.crash(0, Outage { fuse: None, back_after_ms, harm: Harm::None });
            if !self.leads_alone(end) {
                return false;
            }
        }
        self.nodes[0].disk.defuse();
        self.play.checker.is_recovered();
        true
    }
}

/// The plan of the second life: the faults of the first one, at other times.
fn next_plan(plan: &Plan, rng: &mut ChaCha8Rng) -> Plan {
    let faulty_ms = rng.random_range(3_000..10_000);
    let joiners = if rng.random_bool(0.5) { rng.random_range(1..3) } else { 0 };
    let nodes = plan.founders() + joiners;
    Plan {
        joiners,
        schedule: faults::schedule(rng, &plan.faults, nodes, faulty_ms),
        faulty_ms,
        posts: rng.random_range(10..100),
        ..plan.clone()
    }
}
