//! A small network of whole replicas over journals in memory, for this crate's tests. Time is
//! virtual; everything follows from the seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Env, Journal, Record, Recovered, Time, Topic};
use quorate_consensus::evidence::Evidence;
use quorate_consensus::honeybadger::HoneyBadger;
use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_ledger::block::Block;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{BlockId, GroupId, TrxId};
use quorate_ledger::proto::{ActionType, AnnounceType};
use quorate_ledger::trx::TrxType;
use quorate_ledger::view::{Protocol, View};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::api::{
    Address, Answer, Command, CommandError, GroupConfig, Input, Notice, Output, PeerRef, Query,
    QueryError, Reply, Ticket,
};
use crate::driver::{Driver, Turn};
use crate::replica::OpenError;
use crate::wire::{Inbound, VerifyContext, verify};

pub type Core = HoneyBadger<BlsGeneration>;
pub type TestDriver = Driver<Core, MemoryJournal>;

/// Virtual start of all tests.
pub const START: Time = Time(1_700_000_000_000);

/// Place in the order of writing, and bytes.
type Note = (u64, Arc<[u8]>);
/// A packet on its way.
type Wire = (usize, usize, Arc<[u8]>);

#[derive(Default)]
struct Disk {
    blocks: Vec<Arc<[u8]>>,
    certificates: Vec<Arc<[u8]>>,
    trxs: BTreeMap<[u8; 16], (BlockId, u32)>,
    notes: BTreeMap<(Topic, Vec<u8>), Note>,
    order: u64,
    secrets: BTreeMap<String, Vec<u8>>,
    snapshot: Option<(BlockId, Arc<[u8]>)>,
    full: bool,
    unreadable: bool,
    appends: u64,
}

/// A disk that several openings of one node share.
#[derive(Clone, Default)]
pub struct MemoryJournal(Rc<RefCell<Disk>>);

impl MemoryJournal {
    /// Makes every write fail, or none.
    pub fn set_full(&self, full: bool) {
        self.0.borrow_mut().full = full;
    }

    /// Makes every lookup of a trx fail, or none.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.0.borrow_mut().unreadable = unreadable;
    }

    /// Writes that succeeded.
    pub fn appends(&self) -> u64 {
        self.0.borrow().appends
    }

    /// Loses the last certificate, as a crash between block and certificate does.
    pub fn drop_last_certificate(&self) {
        self.0.borrow_mut().certificates.pop().expect("there is one");
    }

    /// Loses the snapshot.
    pub fn drop_snapshot(&self) {
        self.0.borrow_mut().snapshot = None;
    }

    /// Names of the secrets.
    pub fn secrets(&self) -> Vec<String> {
        self.0.borrow().secrets.keys().cloned().collect()
    }

    pub fn secret(&self, name: &str) -> Option<Vec<u8>> {
        self.0.borrow().secrets.get(name).cloned()
    }

    pub fn remove_secret(&self, name: &str) {
        self.0.borrow_mut().secrets.remove(name);
    }

    /// Notes of a topic.
    pub fn notes(&self, topic: Topic) -> usize {
        self.0.borrow().notes.keys().filter(|(of, _)| *of == topic).count()
    }

    /// Changes a byte of a block.
    pub fn damage_block(&self, id: u64) {
        let mut disk = self.0.borrow_mut();
        let block = &mut disk.blocks[id as usize - 1];
        let mut bytes = block.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        *block = bytes.into();
    }

    pub fn recover(&self) -> Recovered {
        let disk = self.0.borrow();
        let mut notes: Vec<_> = disk.notes.iter().collect();
        notes.sort_by_key(|(_, (order, _))| *order);
        Recovered {
            snapshot: disk.snapshot.clone(),
            last_block: BlockId(disk.blocks.len() as u64),
            last_certificate: BlockId(disk.certificates.len() as u64),
            notes: notes
                .into_iter()
                .map(|((topic, key), (_, bytes))| (*topic, key.clone(), bytes.clone()))
                .collect(),
            secrets: disk.secrets.clone(),
            amnesia: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no space left on device")]
pub struct DiskFull;

impl Journal for MemoryJournal {
    type Error = DiskFull;

    fn append(&mut self, records: &[Record]) -> Result<(), DiskFull> {
        let mut disk = self.0.borrow_mut();
        if disk.full {
            return Err(DiskFull);
        }
        disk.appends += 1;
        for record in records {
            match record.clone() {
                Record::Block { id, bytes, trx_ids } => {
                    disk.blocks.push(bytes);
                    assert_eq!(id.0, disk.blocks.len() as u64, "block ids are consecutive");
                    for (place, trx) in trx_ids.into_iter().enumerate() {
                        let old = disk.trxs.insert(trx, (id, place as u32));
                        assert_eq!(old, None, "a trx is on the ledger once");
                    }
                }
                Record::Certificate { id, bytes } => {
                    disk.certificates.push(bytes);
                    assert_eq!(id.0, disk.certificates.len() as u64, "certificates too");
                }
                Record::Note { topic, key, bytes } if bytes.is_empty() => {
                    disk.notes.remove(&(topic, key));
                }
                Record::Note { topic, key, bytes } => {
                    disk.order += 1;
                    let order = disk.order;
                    let entry = disk.notes.entry((topic, key)).or_insert((order, Arc::from([])));
                    entry.1 = bytes;
                }
                Record::Forget { topic, prefix } => {
                    disk.notes.retain(|(of, key), _| *of != topic || !key.starts_with(&prefix));
                }
                Record::Secret { name, bytes: Some(bytes) } => {
                    disk.secrets.insert(name, bytes);
                }
                Record::Secret { name, bytes: None } => {
                    disk.secrets.remove(&name);
                }
                Record::Snapshot { id, bytes } => disk.snapshot = Some((id, bytes)),
            }
        }
        Ok(())
    }

    fn block(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, DiskFull> {
        let index = (id.0 as usize).wrapping_sub(1);
        Ok(self.0.borrow().blocks.get(index).cloned())
    }

    fn certificate(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, DiskFull> {
        let index = (id.0 as usize).wrapping_sub(1);
        Ok(self.0.borrow().certificates.get(index).cloned())
    }

    fn find_trx(&self, id: &[u8; 16]) -> Result<Option<(BlockId, u32)>, DiskFull> {
        let disk = self.0.borrow();
        if disk.unreadable { Err(DiskFull) } else { Ok(disk.trxs.get(id).copied()) }
    }
}

/// One node of the network.
pub struct Node {
    pub config: GroupConfig,
    pub journal: MemoryJournal,
    pub driver: Option<TestDriver>,
    pub committed: Vec<(Digest, Arc<Block>)>,
    pub replies: BTreeMap<Ticket, Result<Reply, CommandError>>,
    pub evidence: Vec<Evidence>,
    pub views: Vec<Arc<View>>,
    pub stalled: Option<String>,
    pub trace: Vec<String>,
    env: Env,
    wake: Option<Time>,
}

pub fn member(seed: u64) -> MemberKey {
    MemberKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

pub fn descriptor(encryption: Encryption) -> GroupDescriptor {
    let owner = member(0);
    let group = GroupId(uuid::Uuid::from_u128(0x8000_4000_8000_0000_0000_0001));
    GroupDescriptor {
        id: group,
        name: "my_test_group".to_owned(),
        owner: owner.public(),
        consensus: Protocol::Poa,
        encryption,
        cipher_key: SymmetricKey([7; 32]),
        app_key: "test_app".to_owned(),
        genesis: GenesisBlock::build(&owner, group, 1_600_000_000_000_000_000),
    }
}

pub fn config(index: u64) -> GroupConfig {
    let mut rng = ChaCha20Rng::seed_from_u64(1_000 + index);
    GroupConfig {
        descriptor: descriptor(Encryption::Public),
        member: member(index),
        encrypt: EncryptKey::generate(&mut rng),
        create: index == 0,
    }
}

pub fn env(seed: u64, now: Time) -> Env {
    Env { now, rng: ChaCha20Rng::seed_from_u64(seed) }
}

pub fn peer(index: usize) -> PeerRef {
    PeerRef(Arc::from((index as u64).to_be_bytes()))
}

/// Packets that came: from whom, and what.
type Tapped = Vec<(usize, Arc<[u8]>)>;

/// A whole network in one thread.
pub struct Net {
    pub nodes: Vec<Node>,
    pub now: Time,
    wires: BTreeMap<(Time, u64), Wire>,
    /// Whose packets are kept, and those that came.
    tap: Option<(usize, Tapped)>,
    sequence: u64,
    tickets: u64,
    rng: ChaCha20Rng,
    /// Nodes that are not reached.
    pub cut: BTreeSet<usize>,
}

impl Net {
    pub fn new(size: usize, seed: u64) -> Self {
        let mut net = Self {
            nodes: Vec::new(),
            now: START,
            wires: BTreeMap::new(),
            tap: None,
            sequence: 0,
            tickets: 0,
            rng: ChaCha20Rng::seed_from_u64(seed),
            cut: BTreeSet::new(),
        };
        for _ in 0..size {
            net.join();
        }
        net
    }

    /// A group whose committee is the first `n` of `size` nodes.
    pub fn with_committee(size: usize, n: usize, seed: u64) -> Self {
        let mut net = Self::new(size, seed);
        net.run_until("genesis everywhere", |net| {
            net.nodes.iter().all(|node| node.driver().status().ready)
        });
        if n > 1 {
            for index in 1..n {
                net.announce(index, AnnounceType::AsProducer);
            }
            net.run_until("announced", |net| {
                let query = Query::Announced(AnnounceType::AsProducer);
                matches!(net.nodes[0].query(query), Ok(Answer::Announced(all)) if all.len() == n)
            });
            net.change((0..n).collect(), 1);
            net.run_until("the new view is in force", |net| {
                net.nodes.iter().all(|node| {
                    let view = node.driver().replica().view();
                    view.is_some_and(|view| view.producers.len() == n)
                })
            });
        }
        net
    }

    pub fn join(&mut self) -> usize {
        let index = self.nodes.len();
        let seed = self.rng.next_u64();
        self.nodes.push(Node {
            config: config(index as u64),
            journal: MemoryJournal::default(),
            driver: None,
            committed: Vec::new(),
            replies: BTreeMap::new(),
            evidence: Vec::new(),
            views: Vec::new(),
            stalled: None,
            trace: Vec::new(),
            env: env(seed, self.now),
            wake: None,
        });
        self.start(index);
        index
    }

    /// Opens a node from what its journal holds.
    pub fn start(&mut self, index: usize) {
        self.try_start(index).expect("opens");
        for other in 0..self.nodes.len() {
            if other != index {
                self.input(index, Input::Connected(peer(other)));
                self.input(other, Input::Connected(peer(index)));
            }
        }
    }

    pub fn try_start(&mut self, index: usize) -> Result<(), OpenError> {
        let recovered = self.nodes[index].journal.recover();
        self.try_start_with(index, recovered)
    }

    pub fn try_start_with(&mut self, index: usize, recovered: Recovered) -> Result<(), OpenError> {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.env.now = now;
        let (config, journal) = (node.config.clone(), node.journal.clone());
        let (driver, turn) = TestDriver::open(&mut node.env, config, recovered, journal)?;
        node.driver = Some(driver);
        self.dispatch(index, turn);
        Ok(())
    }

    /// Ends a node's process: what was not durable is gone.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].driver = None;
        self.nodes[index].wake = None;
    }

    pub fn input(
        &mut self,
        index: usize,
        input: Input<<Core as quorate_consensus::core::Core>::Message>,
    ) {
        let node = &mut self.nodes[index];
        node.env.now = self.now;
        if let Some(driver) = &mut node.driver {
            let turn = driver.turn(&mut node.env, vec![input]);
            self.dispatch(index, turn);
        }
    }

    pub fn command(&mut self, index: usize, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.input(index, Input::Command(ticket, command));
        ticket
    }

    pub fn reply(&self, index: usize, ticket: Ticket) -> Result<Reply, CommandError> {
        self.nodes[index].replies[&ticket].clone()
    }

    pub fn post(&mut self, index: usize, text: &str) -> TrxId {
        let command = Command::Submit { kind: TrxType::Post, payload: text.as_bytes().to_vec() };
        let ticket = self.command(index, command);
        match self.reply(index, ticket) {
            Ok(Reply::Accepted { trx_id }) => trx_id,
            other => panic!("post refused: {other:?}"),
        }
    }

    pub fn announce(&mut self, index: usize, kind: AnnounceType) -> TrxId {
        let command = Command::Announce { action: ActionType::Add, kind, memo: String::new() };
        let ticket = self.command(index, command);
        match self.reply(index, ticket) {
            Ok(Reply::Announced { trx_id, .. }) => trx_id,
            other => panic!("announcement refused: {other:?}"),
        }
    }

    pub fn change(&mut self, producers: Vec<usize>, start_from_epoch: u64) -> TrxId {
        let keys = |index: &usize| self.nodes[*index].config.member.public();
        let command = Command::ChangeConsensus {
            producers: producers.iter().map(keys).collect(),
            start_from_epoch,
            trx_epoch_tick: 500,
            agreement_tick_length: 5_000,
            agreement_tick_count: 10,
        };
        let ticket = self.command(0, command);
        match self.reply(0, ticket) {
            Ok(Reply::ChangeStarted { trx_id, .. }) => trx_id,
            other => panic!("change refused: {other:?}"),
        }
    }

    fn dispatch(&mut self, from: usize, turn: Turn) {
        let node = &mut self.nodes[from];
        node.wake = turn.wake;
        node.stalled = turn.stalled;
        node.trace.extend(turn.trace.into_iter().map(|t| format!("{}: {}", t.line, t.text)));
        for output in turn.outputs {
            match output {
                Output::Send { to, packet } => self.route(from, &to, packet.bytes()),
                Output::Reply(ticket, reply) => {
                    self.nodes[from].replies.insert(ticket, reply);
                }
                Output::Notice(notice) => self.nodes[from].notice(notice),
            }
        }
    }

    fn route(&mut self, from: usize, to: &Address, packet: &Arc<[u8]>) {
        let others = (0..self.nodes.len()).filter(|index| *index != from);
        let targets: Vec<usize> = match to {
            Address::Everybody => others.collect(),
            Address::Somebody => {
                let others: Vec<usize> = others.collect();
                let draw = self.rng.next_u64() as usize;
                others.get(draw % others.len().max(1)).copied().into_iter().collect()
            }
            Address::Peer(peer) => others.filter(|index| self::peer(*index) == *peer).collect(),
            Address::Member(key) => {
                let holds = |index: &usize| self.nodes[*index].config.member.public() == *key;
                others.filter(holds).collect()
            }
        };
        for target in targets {
            if self.cut.contains(&from) || self.cut.contains(&target) {
                continue;
            }
            let at = self.now.after(1 + self.rng.next_u64() % 20);
            self.sequence += 1;
            self.wires.insert((at, self.sequence), (from, target, Arc::clone(packet)));
        }
    }

    /// Gives a packet to a node as if `from` had sent it.
    pub fn deliver(&mut self, from: usize, to: usize, packet: &[u8]) {
        let node = &self.nodes[to];
        let group = node.config.descriptor.id;
        let context = VerifyContext { group, views: node.views.clone(), known: None };
        let behind = node.driver.as_ref().map(Driver::status).filter(|status| status.syncing);
        if let Ok(mut inbound) = verify(packet, &context) {
            if let (Inbound::Blocks(blocks), Some(status)) = (&mut inbound, behind) {
                blocks.iter_mut().for_each(|block| block.check(&context, status.head));
            }
            self.input(to, Input::Inbound(peer(from), inbound));
        }
    }

    /// The next thing that happens.
    fn step(&mut self) {
        let packet = self.wires.first_key_value().map(|((at, _), _)| *at);
        let wake = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.driver.is_some())
            .filter_map(|(index, node)| node.wake.map(|at| (at, index)))
            .min();
        match (packet, wake) {
            (Some(at), wake) if wake.is_none_or(|(wake, _)| at <= wake) => {
                let ((at, _), (from, to, packet)) = self.wires.pop_first().expect("seen");
                self.now = self.now.max(at);
                if let Some((_, kept)) = self.tap.as_mut().filter(|(of, _)| *of == to) {
                    kept.push((from, Arc::clone(&packet)));
                }
                self.deliver(from, to, &packet);
            }
            (_, Some((at, index))) => {
                self.now = self.now.max(at);
                self.input(index, Input::Wake);
            }
            _ => panic!("nothing will ever happen"),
        }
    }

    /// Runs until `done`, at most ten virtual minutes.
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now.after(600_000);
        let mut last = Time(0);
        while self.now <= end {
            // The condition may be costly: once for each instant.
            if self.now != last && done(self) {
                return;
            }
            last = self.now;
            self.step();
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let tail = node.trace.len().saturating_sub(30);
            let status = node.driver.as_ref().map(Driver::status);
            eprintln!("node {index}: {status:?}\n  {}", node.trace[tail..].join("\n  "));
        }
        panic!("never: {what}");
    }

    pub fn run_for(&mut self, ms: u64) {
        let end = self.now.after(ms);
        while self.now < end {
            self.step();
        }
    }

    /// The packets that come to a node in the next `ms`: from whom, and what.
    pub fn overhear(&mut self, to: usize, ms: u64) -> Vec<(usize, Arc<[u8]>)> {
        self.tap = Some((to, Vec::new()));
        self.run_for(ms);
        self.tap.take().expect("just set").1
    }

    /// Whether all running nodes have this trx on their ledger.
    pub fn everywhere(&self, id: &TrxId) -> bool {
        self.nodes.iter().filter(|node| node.driver.is_some()).all(|node| node.has(id))
    }

    /// Every two nodes agree on every block both have; nobody accused anybody.
    pub fn assert_agreement(&self) {
        for node in &self.nodes {
            for (mine, first) in node.committed.iter().zip(&self.nodes[0].committed) {
                assert_eq!(mine.0, first.0, "the same block {} everywhere", mine.1.header.id);
            }
            assert_eq!(node.evidence, [], "honest nodes accuse nobody");
        }
    }
}

impl Node {
    pub fn driver(&self) -> &TestDriver {
        self.driver.as_ref().expect("runs")
    }

    pub fn key(&self) -> MemberPublicKey {
        self.config.member.public()
    }

    pub fn query(&self, query: Query) -> Result<Answer, QueryError> {
        self.driver().query(query)
    }

    pub fn has(&self, id: &TrxId) -> bool {
        matches!(self.query(Query::Trx(*id)), Ok(Answer::Trx(..)))
    }

    /// Plain posts from the first on.
    pub fn posts(&self) -> Vec<String> {
        let query = Query::Content {
            num: 1_000,
            start: None,
            reverse: false,
            include_start: false,
            senders: Vec::new(),
        };
        match self.query(query) {
            Ok(Answer::Content(posts)) => {
                posts.into_iter().map(|(_, text)| String::from_utf8(text).expect("text")).collect()
            }
            other => panic!("no content: {other:?}"),
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Committed { block, certificate } => {
                assert_eq!(block.hash(), certificate.hash);
                let next = self
                    .committed
                    .last()
                    .map_or(block.header.id, |(_, last)| last.header.id.next());
                assert_eq!(block.header.id, next, "blocks are committed in order, once");
                self.committed.push((certificate.hash, block));
            }
            Notice::Views(views) => self.views = views,
            Notice::Evidence(evidence) => self.evidence.push(evidence),
            _ => {}
        }
    }
}
