//! A whole network in one thread on virtual time: whole replicas over faulty disks, a network that
//! loses, delays and reorders, clients that post, and the checkers that watch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{Env, Time};
use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{BlockId, GroupId, TrxId, ViewNumber};
use quorate_ledger::proto::{ActionType, AnnounceType};
use quorate_ledger::trx::TrxType;
use quorate_ledger::view::{Protocol, View};
use quorate_replica::api::{
    Address, Answer, Command, GroupConfig, Input, Notice, Output, PeerRef, Query, Reply, Ticket,
};
use quorate_replica::driver::{Driver, Turn};
use quorate_replica::wire::{self, Inbound, VerifyContext};
use quorate_storage::error::OpenError;
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

    // ---- time ----

    fn at(&mut self, time: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((time, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    /// Lets things happen until `end` or until `done` says so; whether it said so.
    fn run_until(&mut self, end: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while let Some(&Reverse((time, _))) = self.queue.peek() {
            if time > end || self.violation.is_some() {
                break;
            }
            self.now = self.now.max(time);
            let mut inputs: BTreeMap<usize, Inputs> = BTreeMap::new();
            while let Some(&Reverse((next, sequence))) = self.queue.peek() {
                if next > time {
                    break;
                }
                self.queue.pop();
                let happening = self.happenings.remove(&sequence).expect("queued once");
                self.happen(happening, &mut inputs);
            }
            for (node, inputs) in inputs {
                self.turn(node, inputs);
            }
            if self.violation.is_none() && done(self) {
                return true;
            }
        }
        if self.violation.is_none() {
            self.now = self.now.max(end);
        }
        false
    }

    fn happen(&mut self, happening: Happening, inputs: &mut BTreeMap<usize, Inputs>) {
        match happening {
            Happening::Deliver { from, to, packet } => {
                if let Some(input) = self.arrive(from, to, packet) {
                    inputs.entry(to).or_default().push(input);
                }
            }
            Happening::Wake { node } => {
                let due = self.nodes[node].wake.is_some_and(|t| t.0 <= self.clock(node));
                if due && self.nodes[node].driver.is_some() {
                    if self.nodes[node].paused_until > self.now {
                        let later = self.nodes[node].paused_until;
                        self.at(later, Happening::Wake { node });
                    } else {
                        inputs.entry(node).or_default().push(Input::Wake);
                    }
                }
            }
            Happening::Connect { node, other } => {
                if self.nodes[node].driver.is_some() && self.nodes[other].driver.is_some() {
                    inputs.entry(node).or_default().push(Input::Connected(peer(other)));
                }
            }
            Happening::Restart { node } => {
                if self.nodes[node].driver.is_none() {
                    self.start(node);
                }
            }
            Happening::Post => self.post(inputs),
            Happening::Misfortune => self.misfortune(),
            Happening::DiskFree { node } => self.set_disk(node),
            Happening::Reunite { epoch } => {
                if self.island.1 == epoch {
                    self.island = (BTreeSet::new(), 0);
                    self.connect_all();
                }
            }
        }
    }

    fn clock(&self, node: usize) -> u64 {
        self.now + self.nodes[node].clock_ahead
    }

    fn schedule_wake(&mut self, node: usize) {
        if let Some(time) = self.nodes[node].wake {
            let real = time.0.saturating_sub(self.nodes[node].clock_ahead).max(self.now);
            self.at(real, Happening::Wake { node });
        }
    }

    // ---- nodes ----

    fn start(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        let now = Time(self.clock(node));
        let create = node == 0;
        let state = &mut self.nodes[node];
        state.starts += 1;
        state.env = Env { now, rng: ChaCha20Rng::seed_from_u64(seed) };
        let config = GroupConfig {
            descriptor: self.descriptor.clone(),
            member: state.member.clone(),
            encrypt: state.encrypt.clone(),
            create,
        };
        let opened = crate::store::open(&state.disk, seed);
        let (store, recovered) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Disk(_)) if self.faulty || state.disk.is_dead() => {
                // A failing disk at start: the machine is started again later.
                if state.disk.is_dead() {
                    state.disk.crash();
                }
                let later = self.now + 500;
                self.at(later, Happening::Restart { node });
                return;
            }
            Err(error) => {
                self.fail("starts_again", format!("node {node}: {error}"));
                return;
            }
        };
        let (driver, turn) = match Driver::open(&mut state.env, config, recovered, store) {
            Ok(opened) => opened,
            Err(error) => {
                self.fail("starts_again", format!("node {node}: {error}"));
                return;
            }
        };
        if state.disk.is_dead() || turn.stalled.is_some() {
            // Its disk failed while it started: it is started again later.
            state.disk.crash();
            let later = self.now + 500;
            self.at(later, Happening::Restart { node });
            return;
        }
        state.driver = Some(driver);
        self.compare_with_before(node, &turn);
        self.dispatch(node, turn);
        for other in 0..self.nodes.len() {
            if other != node {
                let time = self.now + self.rng.random_range(1..20);
                self.at(time, Happening::Connect { node, other });
                self.at(time, Happening::Connect { node: other, other: node });
            }
        }
    }

    /// A restarted node must know at least what it had said is final; what became final in the turn
    /// that the crash cut off was never said, so it is looked at now.
    fn compare_with_before(&mut self, node: usize, first: &Turn) {
        let Some(driver) = &self.nodes[node].driver else { return };
        let fresh = first
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Notice(Notice::Committed { .. })))
            .count() as u64;
        let before = self.nodes[node].head;
        let found = BlockId(driver.status().head.0 - fresh);
        if self.nodes[node].traitor {
            return;
        }
        let unsaid: Vec<_> =
            (before.0 + 1..=found.0).map(|id| driver.query(Query::Block(BlockId(id)))).collect();
        if found < before {
            let text = format!("node {node} had block {before} final, and {found} after a crash");
            self.fail("durability", text);
        }
        self.nodes[node].head = found;
        for answer in unsaid {
            match answer {
                Ok(Answer::Block(block, certificate, view)) => {
                    let result = self.ledger.view(&view);
                    self.check(result);
                    let result = self.ledger.committed(&block, &certificate);
                    self.check(result);
                }
                other => self.fail("durability", format!("node {node} cannot show {other:?}")),
            }
        }
    }

    fn crash(&mut self, node: usize, restart_after: u64) {
        let wipe = self.plan.faults.wipe > 0.0 && self.rng.random_bool(self.plan.faults.wipe);
        let flip =
            self.plan.faults.bit_flip > 0.0 && self.rng.random_bool(self.plan.faults.bit_flip);
        let state = &mut self.nodes[node];
        state.driver = None;
        state.wake = None;
        state.disk.crash();
        if wipe {
            state.disk.wipe();
            state.head = BlockId(0);
        } else if flip && state.disk.flip_bit("ledger_") {
            // What the flipped block held is fetched again; until then the head may be lower.
            state.head = BlockId(0);
        }
        self.counts.add("crash");
        let later = self.now + restart_after;
        self.at(later, Happening::Restart { node });
    }

    fn turn(&mut self, node: usize, inputs: Inputs) {
        let now = Time(self.clock(node));
        let state = &mut self.nodes[node];
        let Some(driver) = &mut state.driver else { return };
        state.env.now = state.env.now.max(now);
        let turn = driver.turn(&mut state.env, inputs);
        if state.disk.is_dead() {
            // What the turn would have said never left the machine.
            let after = self.rng.random_range(100..6_000);
            self.counts.add("power_cut_in_a_turn");
            self.crash(node, after);
            return;
        }
        self.dispatch(node, turn);
    }

    fn command(&mut self, node: usize, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.turn(node, vec![Input::Command(ticket, command)]);
    }

    fn dispatch(&mut self, node: usize, turn: Turn) {
        if self.plan.trace {
            for line in &turn.trace {
                let ms = self.now - BEGIN;
                eprintln!("{ms:>8} node {node} {} {}", line.line, line.text);
            }
            if let Some(reason) = &turn.stalled {
                eprintln!("{:>8} node {node} stalled: {reason}", self.now - BEGIN);
            }
        }
        self.nodes[node].wake = turn.wake;
        self.schedule_wake(node);
        for output in turn.outputs {
            match output {
                Output::Send { to, packet } => self.send(node, &to, &packet),
                Output::Reply(_, Ok(Reply::Accepted { trx_id })) => {
                    self.ledger.acknowledge(trx_id);
                }
                Output::Reply(_, Ok(Reply::Announced { .. })) => self.announced += 1,
                Output::Reply(_, Ok(Reply::ChangeStarted { .. } | Reply::Left)) => {}
                Output::Reply(_, Err(error)) => {
                    if self.plan.trace {
                        eprintln!("{:>8} node {node} refuses: {error}", self.now - BEGIN);
                    }
                }
                Output::Notice(notice) => self.notice(node, notice),
            }
        }
    }

    fn notice(&mut self, node: usize, notice: Notice) {
        match notice {
            Notice::Views(views) => {
                self.nodes[node].views.clone_from(&views);
                for view in &views {
                    if !self.nodes[node].traitor {
                        let result = self.ledger.view(view);
                        self.check(result);
                    }
                }
            }
            Notice::ViewInstalled(view) => {
                let result = self.ledger.view(&view);
                self.check(result);
                if view.number >= ViewNumber(1) {
                    self.installed.insert(node);
                }
            }
            Notice::Committed { block, certificate } => {
                if self.nodes[node].traitor {
                    return;
                }
                let id = block.header.id;
                if id != self.nodes[node].head.next() {
                    let text = format!("node {node}: {id} after {}", self.nodes[node].head);
                    self.fail("total_order", text);
                }
                self.nodes[node].head = id;
                let result = self.ledger.committed(&block, &certificate);
                self.check(result);
                let when = [self.now.to_be_bytes(), (node as u64).to_be_bytes()].concat();
                self.ledger.note(&when);
                if self.plan.trace {
                    let (ms, count) = (self.now - BEGIN, block.trxs.len());
                    eprintln!("{ms:>8} node {node} BLOCK {id} of {count} trxs is final");
                }
            }
            Notice::Evidence(evidence) => {
                if self.plan.trace {
                    eprintln!("{:>8} node {node} evidence {evidence:?}", self.now - BEGIN);
                }
            }
            Notice::Ready => {
                self.ready.insert(node);
            }
            Notice::EpochEnded(_) | Notice::ChangeEnded { .. } => {}
        }
    }

    // ---- network ----

    fn send(&mut self, from: usize, to: &Address, packet: &Arc<[u8]>) {
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

    fn cut(&self, from: usize, to: usize) -> bool {
        let island = self.island.1 > self.now
            && self.island.0.contains(&from) != self.island.0.contains(&to);
        island || self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now)
    }

    fn chance(&mut self, rate: f64) -> bool {
        self.faulty && rate > 0.0 && self.rng.random_bool(rate)
    }

    fn route(&mut self, from: usize, to: usize, packet: &Arc<[u8]>) {
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

    fn deliver(&mut self, from: usize, to: usize, packet: Arc<[u8]>) {
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

    fn arrive(
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

    fn connect_all(&mut self) {
        for node in 0..self.nodes.len() {
            for other in 0..self.nodes.len() {
                if node != other {
                    let time = self.now + self.rng.random_range(1..20);
                    self.at(time, Happening::Connect { node, other });
                }
            }
        }
    }

    // ---- clients and misfortunes ----

    fn post(&mut self, inputs: &mut BTreeMap<usize, Inputs>) {
        self.posted += 1;
        let live: Vec<usize> = (0..self.nodes.len())
            .filter(|&n| {
                let node = &self.nodes[n];
                node.driver.is_some() && node.paused_until <= self.now && !node.traitor
            })
            .collect();
        if live.is_empty() {
            return;
        }
        let node = live[self.rng.random_range(0..live.len())];
        self.tickets += 1;
        let payload = format!("{{\"post\":{}}}", self.posted).into_bytes();
        let command = Command::Submit { kind: TrxType::Post, payload };
        inputs.entry(node).or_default().push(Input::Command(Ticket(self.tickets), command));
    }

    fn any(&mut self) -> usize {
        self.rng.random_range(0..self.nodes.len())
    }

    fn misfortune(&mut self) {
        if !self.faulty {
            return;
        }
        let faults = self.plan.faults.clone();
        if self.chance(faults.crash_all) {
            self.counts.add("crash_all");
            for node in 0..self.nodes.len() {
                let after = self.rng.random_range(100..2_000);
                if self.rng.random_bool(0.5) {
                    let calls = self.rng.random_range(1..12);
                    self.nodes[node].disk.light_fuse(calls);
                } else if self.nodes[node].driver.is_some() {
                    self.crash(node, after);
                }
            }
        }
        if self.chance(faults.crash) {
            let node = self.any();
            if self.rng.random_bool(0.7) {
                let calls = self.rng.random_range(1..30);
                self.nodes[node].disk.light_fuse(calls);
            } else if self.nodes[node].driver.is_some() {
                let after = self.rng.random_range(100..6_000);
                self.crash(node, after);
            }
        }
        if self.chance(faults.partition) && self.island.1 <= self.now {
            let total = self.nodes.len();
            let side = (0..total).filter(|_| self.rng.random_bool(0.5)).collect();
            let until = self.now + self.rng.random_range(500..5_000);
            self.island = (side, until);
            self.counts.add("partition");
            self.at(until, Happening::Reunite { epoch: until });
        }
        if self.chance(faults.one_way) {
            let (from, to) = (self.any(), self.any());
            let until = self.now + self.rng.random_range(500..5_000);
            self.cuts.insert((from, to), until);
            self.counts.add("one_way_cut");
        }
        if self.chance(faults.slow_link) {
            let node = self.any();
            self.nodes[node].slow_until = self.now + self.rng.random_range(500..4_000);
        }
        if self.chance(faults.pause) {
            let node = self.any();
            self.nodes[node].paused_until = self.now + self.rng.random_range(200..4_000);
            self.counts.add("pause");
        }
        if self.chance(faults.clock_jump) {
            let node = self.any();
            self.nodes[node].clock_ahead += self.rng.random_range(1..2_000);
            self.counts.add("clock_jump");
            self.schedule_wake(node);
        }
        self.disk_misfortune(&faults);
    }

    fn disk_misfortune(&mut self, faults: &Faults) {
        if self.chance(faults.full_disk) {
            let node = self.any();
            let used = self.nodes[node].disk.used();
            self.nodes[node]
                .disk
                .set_faults(DiskFaults { capacity: used.max(1), write_error: 0.0 });
            let until = self.now + self.rng.random_range(500..4_000);
            self.at(until, Happening::DiskFree { node });
        } else if faults.disk_error > 0.0 {
            let node = self.any();
            self.set_disk(node);
        }
    }

    fn set_disk(&mut self, node: usize) {
        let write_error = if self.faulty { self.plan.faults.disk_error } else { 0.0 };
        self.nodes[node].disk.set_faults(DiskFaults { capacity: 0, write_error });
    }

    /// Faults a committee of the plan's size tolerates.
    #[must_use]
    pub fn tolerated(plan: &Plan) -> usize {
        Committee::new(plan.producers).faulty()
    }

    /// Ids of all acknowledged trxs.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<TrxId> {
        self.ledger.acknowledged().iter().copied().collect()
    }
}
