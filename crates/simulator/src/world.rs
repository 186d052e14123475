//! A whole network in one thread on virtual time: whole replicas over faulty disks, a network that
//! loses, delays and reorders, clients that post, and the checkers that watch.

mod clockwork;
mod fate;
mod network;
mod nodes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{BlockId, GroupId};
use quorate_ledger::proto::{ActionType, AnnounceType};
use quorate_ledger::view::{Protocol, View};
use quorate_replica::api::{Answer, Command, Input, PeerRef, Query};
use quorate_replica::driver::Driver;
use quorate_storage::store::GroupStore;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use crate::disk::{DiskFaults, FaultyDisk};
use crate::faults::{Counts, Faults};
use crate::properties::{Ledger, Violation};
use crate::traitor::{self, Traitor, Treason};

/// Virtual time at which every world begins.
const BEGIN: u64 = 1_700_000_000_000;
/// Bound on the set-up (announce, change of the consensus) without faults, in virtual ms.
const SETUP_MS: u64 = 120_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Producers of the second view.
    pub producers: usize,
    /// Nodes that follow without producing.
    pub users: usize,
    /// Producers that betray, with what they do.
    pub traitors: Vec<Treason>,
    /// The knobs of the faulty phase.
    pub faults: Faults,
    /// Length of the faulty phase in virtual ms.
    pub faulty_ms: u64,
    /// Bound on the recovery after it in virtual ms.
    pub heal_ms: u64,
    /// Trxs posted.
    pub posts: usize,
    /// Epoch interval of the second view.
    pub interval_ms: u64,
    /// Whether the trace is printed as it happens.
    pub trace: bool,
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// Blocks that became final.
    pub decisions: u64,
    /// Virtual time that passed, in ms.
    pub virtual_ms: u64,
    /// Virtual time from the end of the faults to equal heads, in ms.
    pub recovery_ms: Option<u64>,
    /// Faults that struck.
    pub faults: Counts,
    /// Digest of everything that happened.
    pub digest: quorate_crypto::hash::Digest,
}

enum Happening {
    Deliver { from: usize, to: usize, packet: Arc<[u8]> },
    Wake { node: usize },
    Connect { node: usize, other: usize },
    Restart { node: usize },
    Post,
    Misfortune,
    DiskFree { node: usize },
    Reunite { epoch: u64 },
}

struct Node<G: KeyGeneration>
where
    G::Keys: Threshold,
{
    member: MemberKey,
    encrypt: EncryptKey,
    disk: FaultyDisk,
    env: Env,
    driver: Option<Driver<Traitor<G>, GroupStore<FaultyDisk>>>,
    views: Vec<Arc<View>>,
    wake: Option<Time>,
    /// Last block it said is final, since its disk was last wiped.
    head: BlockId,
    starts: u64,
    paused_until: u64,
    clock_ahead: u64,
    slow_until: u64,
    traitor: bool,
}

/// A network of one group.
pub struct World<G: KeyGeneration>
where
    G::Keys: Threshold,
{
    plan: Plan,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    nodes: Vec<Node<G>>,
    by_member: BTreeMap<MemberPublicKey, usize>,
    descriptor: GroupDescriptor,
    ledger: Ledger,
    counts: Counts,
    violation: Option<Violation>,
    /// Nodes on the far side of a partition, until when.
    island: (BTreeSet<usize>, u64),
    cuts: BTreeMap<(usize, usize), u64>,
    faulty: bool,
    tickets: u64,
    announced: usize,
    posted: usize,
    ready: BTreeSet<usize>,
    installed: BTreeSet<usize>,
}

type Inputs = Vec<Input<HoneyBadgerMessage>>;

fn peer(node: usize) -> PeerRef {
    PeerRef(Arc::from((node as u64).to_be_bytes().as_slice()))
}

fn node_of(peer: &PeerRef) -> usize {
    let bytes: [u8; 8] = peer.0.as_ref().try_into().expect("made by `peer`");
    u64::from_be_bytes(bytes) as usize
}

impl<G: KeyGeneration> World<G>
where
    G::Keys: Threshold,
{
    /// Builds the world of a seed.
    #[must_use]
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut keys = ChaCha20Rng::seed_from_u64(seed ^ 0x6b65_7973);
        let total = plan.producers + plan.users;
        let nodes: Vec<Node<G>> = (0..total)
            .map(|_| Node {
                member: MemberKey::generate(&mut keys),
                encrypt: EncryptKey::generate(&mut keys),
                disk: FaultyDisk::new(rng.next_u64()),
                env: Env { now: Time(BEGIN), rng: ChaCha20Rng::seed_from_u64(rng.next_u64()) },
                driver: None,
                views: Vec::new(),
                wake: None,
                head: BlockId(0),
                starts: 0,
                paused_until: 0,
                clock_ahead: 0,
                slow_until: 0,
                traitor: false,
            })
            .collect();
        let mut uuid = [0u8; 16];
        keys.fill_bytes(&mut uuid);
        let group = GroupId(uuid::Builder::from_random_bytes(uuid).into_uuid());
        let owner = &nodes[0].member;
        let descriptor = GroupDescriptor {
            id: group,
            name: "simulated".into(),
            owner: owner.public(),
            consensus: Protocol::Poa,
            encryption: Encryption::Public,
            cipher_key: SymmetricKey::generate(&mut keys),
            app_key: "simulation".into(),
            genesis: GenesisBlock::build(owner, group, (BEGIN * 1_000_000) as i64),
        };
        let ledger = Ledger::new(group, descriptor.genesis.hash());
        let by_member = nodes.iter().enumerate().map(|(i, n)| (n.member.public(), i)).collect();
        traitor::cast(BTreeMap::new());
        Self {
            plan,
            rng,
            now: BEGIN,
            sequence: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            nodes,
            by_member,
            descriptor,
            ledger,
            counts: Counts::default(),
            violation: None,
            island: (BTreeSet::new(), 0),
            cuts: BTreeMap::new(),
            faulty: false,
            tickets: 0,
            announced: 0,
            posted: 0,
            ready: BTreeSet::new(),
            installed: BTreeSet::new(),
        }
    }

    /// Runs set-up, the faulty phase and the healing phase.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let recovery_ms = self.phases();
        for node in &self.nodes {
            for (kind, count) in node.disk.counts() {
                self.counts.add_many(kind, count);
            }
        }
        Outcome {
            violation: self.violation,
            decisions: self.ledger.head().0.0,
            virtual_ms: self.now - BEGIN,
            recovery_ms,
            faults: self.counts,
            digest: self.ledger.digest(),
        }
    }

    /// Another story: a producer dies for good, the owner removes it from the committee, posts go on,
    /// and when it comes back it follows.
    #[must_use]
    pub fn run_removal(mut self) -> Outcome {
        let recovery_ms = self.remove_a_dead_producer();
        Outcome {
            violation: self.violation,
            decisions: self.ledger.head().0.0,
            virtual_ms: self.now - BEGIN,
            recovery_ms,
            faults: self.counts,
            digest: self.ledger.digest(),
        }
    }

    fn remove_a_dead_producer(&mut self) -> Option<u64> {
        const NEVER: u64 = u64::MAX / 4;
        self.set_up();
        let dead = self.plan.producers - 1;
        let moment = self.now + self.rng.random_range(0..2_000);
        self.run_until(moment, |_| false);
        self.crash(dead, NEVER);
        let began = self.now;
        let producers: Vec<MemberPublicKey> =
            self.nodes[..dead].iter().map(|n| n.member.public()).collect();
        self.installed.clear();
        self.change_to(producers, 5_000);
        let end = self.now + 120_000;
        let live = self.nodes.len() - 1;
        if !self.run_until(end, |world| world.installed.len() == live) {
            self.fail("progress_after_heal", "the dead producer was not removed");
            return None;
        }
        let recovery = self.now - began;
        for post in 0..self.plan.posts as u64 {
            self.at(self.now + post * 50, Happening::Post);
        }
        let moment = self.now + 2_000;
        self.run_until(moment, |_| false);
        self.start(dead);
        let end = self.now + 120_000;
        if !self.run_until(end, Self::converged) {
            self.fail("progress_after_heal", "posts after the removal are not final everywhere");
        }
        Some(recovery)
    }

    fn phases(&mut self) -> Option<u64> {
        self.set_up();
        if self.violation.is_some() {
            return None;
        }
        self.betray();
        self.faulty = true;
        let end = self.now + self.plan.faulty_ms;
        let gap = self.plan.faulty_ms / (self.plan.posts.max(1) as u64);
        for post in 0..self.plan.posts as u64 {
            self.at(self.now + post * gap, Happening::Post);
        }
        for second in 1..self.plan.faulty_ms / 1_000 {
            self.at(self.now + second * 1_000, Happening::Misfortune);
        }
        self.run_until(end, |_| false);
        if self.violation.is_some() {
            return None;
        }
        self.heal();
        let healed = self.now;
        let done = self.run_until(healed + self.plan.heal_ms, Self::converged);
        if self.violation.is_some() {
            return None;
        }
        if !done {
            let missing = self.ledger.missing().count();
            let heads: Vec<u64> = self.nodes.iter().map(|n| n.head.0).collect();
            let text = format!(
                "{} ms after the faults heads are {heads:?}, {missing} acknowledged trxs missing",
                self.plan.heal_ms
            );
            let property = if missing > 0 { "no_acknowledged_loss" } else { "progress_after_heal" };
            self.violation = Some(Violation::new(property, text));
            return None;
        }
        Some(self.now - healed)
    }

    /// The owner creates the group, everybody joins and announces, the consensus is changed from
    /// the owner alone to all producers.
    fn set_up(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        let end = self.now + SETUP_MS;
        let all = self.nodes.len();
        let ready = self.run_until(end, |world| world.ready.len() == all);
        if self.violation.is_none() && !ready {
            self.fail("progress_after_heal", "set-up: the genesis documents did not spread");
            return;
        }
        for node in 1..self.plan.producers {
            self.command(
                node,
                Command::Announce {
                    action: ActionType::Add,
                    kind: AnnounceType::AsProducer,
                    memo: String::new(),
                },
            );
        }
        let announced = self.run_until(end, |world| world.announced_everywhere());
        if self.violation.is_none() && !announced {
            self.fail("progress_after_heal", "set-up: the announcements were not ordered");
            return;
        }
        self.change(end);
    }

    fn change(&mut self, end: u64) {
        let producers: Vec<MemberPublicKey> =
            self.nodes[..self.plan.producers].iter().map(|n| n.member.public()).collect();
        self.change_to(producers, 100);
        let all = self.nodes.len();
        let changed = self.run_until(end, |world| world.installed.len() == all);
        if self.violation.is_none() && !changed {
            self.fail("progress_after_heal", "set-up: the change of the consensus did not end");
        }
    }

    fn change_to(&mut self, producers: Vec<MemberPublicKey>, start_from_epoch: u64) {
        self.command(
            0,
            Command::ChangeConsensus {
                producers,
                start_from_epoch,
                trx_epoch_tick: self.plan.interval_ms,
                agreement_tick_length: 5_000,
                agreement_tick_count: 10,
            },
        );
    }

    fn announced_everywhere(&mut self) -> bool {
        let Some(driver) = &self.nodes[0].driver else { return false };
        match driver.query(Query::Announced(AnnounceType::AsProducer)) {
            Ok(Answer::Announced(items)) => items.len() >= self.plan.producers,
            _ => false,
        }
    }

    /// From now on the planned producers (never the owner, who must lead changes) betray.
    fn betray(&mut self) {
        let mut roles = BTreeMap::new();
        let mut candidates: Vec<usize> = (1..self.plan.producers).collect();
        for treason in self.plan.traitors.clone() {
            if candidates.is_empty() {
                break;
            }
            let chosen = candidates.swap_remove(self.rng.random_range(0..candidates.len()));
            self.nodes[chosen].traitor = true;
            roles.insert(self.nodes[chosen].member.public(), treason);
            self.counts.add(treason.name());
        }
        traitor::cast(roles);
    }

    fn heal(&mut self) {
        self.faulty = false;
        self.island.1 = 0;
        self.cuts.clear();
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.set_faults(DiskFaults::default());
            self.nodes[node].disk.defuse();
            self.nodes[node].paused_until = 0;
            self.nodes[node].slow_until = 0;
            if self.nodes[node].driver.is_none() {
                self.start(node);
            }
            self.schedule_wake(node);
        }
        self.connect_all();
    }

    fn converged(&mut self) -> bool {
        let head = self.ledger.head().0;
        let equal = self.nodes.iter().filter(|n| !n.traitor).all(|n| n.head == head);
        equal && self.posted == self.plan.posts && self.ledger.missing().next().is_none()
    }

    fn fail(&mut self, property: &'static str, detail: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation::new(property, detail));
        }
    }

    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && self.violation.is_none()
        {
            self.violation = Some(violation);
        }
    }
}
