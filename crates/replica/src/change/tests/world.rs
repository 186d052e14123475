//! Nodes that know nothing but changes, a network in random order, and a ledger that takes results
//! one by one. Time is virtual; everything follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use quorate_consensus::core::{
    Env, Journal, Message as _, Record, Released, Time, Topic, Verified,
};
use quorate_crypto::bls::{BlsGeneration, BlsKeys};
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::threshold::{NodeIndex, Purpose, Threshold as _};
use quorate_crypto::view::ViewKey;
use quorate_ledger::announce;
use quorate_ledger::change::{ChangeResult, verify_bundle};
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{BlockId, GroupId, TrxId, ViewNumber};
use quorate_ledger::proto::{
    ActionType, AnnounceType, ChangeConsensusReq, ChangeConsensusResult,
    ChangeConsensusResultBundle,
};
use quorate_ledger::state::{State, WriteSet};
use quorate_ledger::view::{Producer, Protocol, View};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::super::{Change, ChangeContext, ChangeMessage, ChangeOutput, ChangeStep};
use super::hashed::{Hashed, HashedKeys};
use crate::api::CommandError;

/// What the tests need of a key generation beside its interface.
pub trait Scheme: KeyGeneration {
    fn public(keys: &Self::Keys) -> Vec<u8>;

    /// Whether the keys of the members work together.
    fn work(keys: &BTreeMap<NodeIndex, Self::Keys>) -> bool;
}

impl Scheme for Hashed {
    fn public(keys: &HashedKeys) -> Vec<u8> {
        keys.joint.0.to_vec()
    }

    fn work(keys: &BTreeMap<NodeIndex, HashedKeys>) -> bool {
        keys.values().all(|keys| keys.share.is_some())
    }
}

impl Scheme for BlsGeneration {
    fn public(keys: &BlsKeys) -> Vec<u8> {
        keys.public()
    }

    fn work(keys: &BTreeMap<NodeIndex, BlsKeys>) -> bool {
        let share = |keys: &BlsKeys| keys.sign_share(Purpose::Coin, b"test").expect("a share");
        let shares = keys.iter().map(|(index, keys)| (*index, share(keys))).collect();
        let one = keys.values().next().expect("a member");
        let joint = one.combine(Purpose::Coin, b"test", &shares);
        joint.is_ok_and(|joint| one.verify(Purpose::Coin, b"test", &joint))
    }
}

/// A journal of notes and secrets in memory.
#[derive(Clone, Default)]
pub struct Disk {
    notes: BTreeMap<Vec<u8>, (u64, Arc<[u8]>)>,
    pub secrets: BTreeMap<String, Vec<u8>>,
    written: u64,
}

impl Disk {
    pub fn notes(&self) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let mut notes: Vec<_> = self.notes.iter().collect();
        notes.sort_by_key(|(_, (order, _))| *order);
        notes.into_iter().map(|(key, (_, bytes))| (key.clone(), bytes.clone())).collect()
    }

    fn write(&mut self, record: &Record) {
        match record {
            Record::Note { topic: Topic::Change, key, bytes } if bytes.is_empty() => {
                self.notes.remove(key);
            }
            Record::Note { topic: Topic::Change, key, bytes } => {
                self.written += 1;
                let order = self.notes.get(key).map_or(self.written, |(order, _)| *order);
                self.notes.insert(key.clone(), (order, bytes.clone()));
            }
            Record::Forget { topic: Topic::Change, prefix } => {
                self.notes.retain(|key, _| !key.starts_with(prefix));
            }
            Record::Secret { name, bytes } => {
                let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
                assert!(letters && name.len() <= 100, "a secret's name: {name}");
                match bytes {
                    Some(bytes) => self.secrets.insert(name.clone(), bytes.clone()),
                    None => self.secrets.remove(name),
                };
            }
            other => panic!("not a record of a change: {other:?}"),
        }
    }
}

impl Journal for Disk {
    type Error = std::convert::Infallible;

    fn append(&mut self, records: &[Record]) -> Result<(), Self::Error> {
        for record in records {
            self.write(record);
        }
        Ok(())
    }

    fn block(&self, _: BlockId) -> Result<Option<Arc<[u8]>>, Self::Error> {
        Ok(None)
    }

    fn certificate(&self, _: BlockId) -> Result<Option<Arc<[u8]>>, Self::Error> {
        Ok(None)
    }

    fn find_trx(&self, _: &[u8; 16]) -> Result<Option<(BlockId, u32)>, Self::Error> {
        Ok(None)
    }
}

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Its outputs are out.
    Done,
    /// The node died in it, after its records were durable.
    Durable,
    /// The node died in it, before.
    Lost,
}

/// When and how a node dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crash {
    pub node: usize,
    /// In which of its steps, from 0.
    pub step: u64,
    /// Whether the records of that step became durable (its outputs are lost either way).
    pub durable: bool,
    /// How long it stays down, in milliseconds.
    pub down: u64,
}

pub struct Node<G: Scheme> {
    pub key: MemberKey,
    /// What it signs with, if it is a traitor.
    pub false_key: Option<MemberKey>,
    pub encrypt: EncryptKey,
    env: Env,
    pub disk: Disk,
    pub change: Option<Change<G>>,
    pub online: bool,
    wake: Option<Time>,
    up_at: Option<Time>,
    pub state: State,
    last_nonce: u64,
    cursor: usize,
    steps: u64,
    pub ended: Vec<(String, ChangeConsensusResult)>,
    /// Keys by nonce of the change.
    pub views: BTreeMap<u64, (View, ViewKey, G::Keys)>,
}

pub struct Flight {
    pub from: usize,
    pub to: usize,
    pub message: ChangeMessage,
    due: Time,
}

type Filter = Box<dyn Fn(usize, usize, &ChangeMessage) -> bool>;

pub struct World<G: Scheme> {
    pub group: GroupId,
    pub descriptor: GroupDescriptor,
    pub nodes: Vec<Node<G>>,
    pub now: Time,
    rng: ChaCha20Rng,
    flight: Vec<Flight>,
    /// Results in the order of the ledger.
    pub chain: Vec<(TrxId, ChangeConsensusResultBundle)>,
    /// Published, not on the ledger yet.
    pub pending: Vec<(TrxId, ChangeConsensusResultBundle)>,
    /// Whether the ledger takes what is published.
    pub ordering: bool,
    /// Messages lost and doubled, in percent.
    pub loss: u64,
    pub doubled: u64,
    /// Which messages arrive at all.
    pub filter: Option<Filter>,
    pub crash: Option<Crash>,
    pub crashed: bool,
    pub messages: u64,
    pub trace: Vec<String>,
    /// Requests the owner sent, each once.
    pub requests: Vec<ChangeConsensusReq>,
}

pub const TICK: u64 = 1_000;
pub const COUNT: u64 = 10;

impl<G: Scheme> World<G> {
    /// `size` members, all announced; 0 is the owner.
    pub fn new(seed: u64, size: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let group = GroupId(uuid::Uuid::from_u128(7));
        let keys: Vec<MemberKey> = (0..size).map(|_| MemberKey::generate(&mut rng)).collect();
        let encrypt: Vec<EncryptKey> = (0..size).map(|_| EncryptKey::generate(&mut rng)).collect();
        let mut writes = WriteSet::new();
        for (key, encrypt) in keys.iter().zip(&encrypt) {
            let announcement = announce::Announcement {
                action: ActionType::Add,
                kind: AnnounceType::AsProducer,
                encrypt_pubkey: encrypt.public().to_string(),
                memo: String::new(),
            };
            let item = announce::build(key, group, &announcement).encode_to_vec();
            let member = key.public().as_bytes().to_vec();
            writes.put("quorate.announced.producers", member, item).expect("small");
        }
        let mut state = State::new();
        state.apply(&writes);
        let owner = &keys[0];
        let descriptor = GroupDescriptor {
            id: group,
            name: "test".to_owned(),
            owner: owner.public(),
            consensus: Protocol::Poa,
            encryption: Encryption::Public,
            cipher_key: SymmetricKey([1; 32]),
            app_key: "test".to_owned(),
            genesis: GenesisBlock::build(owner, group, 1),
        };
        let node = |(index, (key, encrypt)): (usize, (&MemberKey, &EncryptKey))| Node {
            key: key.clone(),
            false_key: None,
            encrypt: encrypt.clone(),
            env: Env {
                now: Time(0),
                rng: ChaCha20Rng::seed_from_u64(seed ^ ((index as u64 + 1) << 40)),
            },
            disk: Disk::default(),
            change: None,
            online: true,
            wake: None,
            up_at: None,
            state: state.clone(),
            last_nonce: 0,
            cursor: 0,
            steps: 0,
            ended: Vec::new(),
            views: BTreeMap::new(),
        };
        let nodes = keys.iter().zip(&encrypt).enumerate().map(node).collect();
        let mut world = Self {
            group,
            descriptor,
            nodes,
            now: Time(1_000_000),
            rng,
            flight: Vec::new(),
            chain: Vec::new(),
            pending: Vec::new(),
            ordering: true,
            loss: 0,
            doubled: 0,
            filter: None,
            crash: None,
            crashed: false,
            messages: 0,
            trace: Vec::new(),
            requests: Vec::new(),
        };
        for index in 0..size {
            world.restart(index);
        }
        for node in &mut world.nodes {
            node.steps = 0;
        }
        world
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    pub fn key(&self, index: usize) -> MemberPublicKey {
        self.nodes[index].key.public()
    }

    /// What a node lends its change.
    pub fn ctx(&self, index: usize) -> ChangeContext<'_> {
        let node = &self.nodes[index];
        ChangeContext {
            group: self.group,
            descriptor: &self.descriptor,
            member: &node.key,
            encrypt: &node.encrypt,
            state: &node.state,
            last_nonce: node.last_nonce,
        }
    }

    /// One call of a node's change: records durable, then outputs out, unless it crashes in it.
    pub fn step<T>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Change<G>, &mut Env, &ChangeContext<'_>) -> (T, ChangeStep),
    ) -> (T, Fate) {
        let (group, now) = (self.group, self.now);
        let node = &mut self.nodes[index];
        node.env.now = now;
        let ctx = ChangeContext {
            group,
            descriptor: &self.descriptor,
            member: node.false_key.as_ref().unwrap_or(&node.key),
            encrypt: &node.encrypt,
            state: &node.state,
            last_nonce: node.last_nonce,
        };
        let change = node.change.as_mut().expect("the node is up");
        let (value, step) = call(change, &mut node.env, &ctx);
        (value, self.dispatch(index, step))
    }

    fn dispatch(&mut self, index: usize, step: ChangeStep) -> Fate {
        let now = self.now;
        let crash = self.crash.filter(|crash| {
            crash.node == index && crash.step == self.nodes[index].steps && !self.crashed
        });
        let node = &mut self.nodes[index];
        node.steps += 1;
        if crash.is_none_or(|crash| crash.durable) {
            let Ok(released) = node.disk.persist(step);
            let Released { outputs, wake, trace, sends, .. } = released;
            assert!(sends.is_empty());
            if crash.is_none() {
                node.wake = wake;
                let lines =
                    trace.iter().map(|t| format!("{} {index} {} {}", now.0, t.line, t.text));
                self.trace.extend(lines);
                for output in outputs {
                    self.out(index, output);
                }
                return Fate::Done;
            }
        }
        let crash = crash.expect("only a crash gets here");
        self.crashed = true;
        node.change = None;
        node.wake = None;
        node.up_at = Some(self.now.after(crash.down));
        self.trace.push(format!("{} {index} crashes", now.0));
        if crash.durable { Fate::Durable } else { Fate::Lost }
    }

    fn out(&mut self, index: usize, output: ChangeOutput) {
        match output {
            ChangeOutput::Send { to, message } => {
                let to = self.nodes.iter().position(|node| node.key.public() == to);
                let to = to.expect("a member");
                assert_ne!(to, index, "nobody sends to itself");
                self.post(index, to, message);
            }
            ChangeOutput::Publish { trx_id, bundle } => {
                assert_eq!(index, 0, "only the owner publishes");
                let same = |(id, known): &&(TrxId, ChangeConsensusResultBundle)| {
                    *id == trx_id || known.req == bundle.req
                };
                let known = self.chain.iter().chain(&self.pending).find(same);
                match known {
                    Some(known) => assert_eq!(*known, (trx_id, bundle), "one result per change"),
                    None => self.pending.push((trx_id, bundle)),
                }
            }
            ChangeOutput::Ended { req_id, result } => {
                self.nodes[index].ended.push((req_id, result))
            }
        }
    }

    pub fn post(&mut self, from: usize, to: usize, message: ChangeMessage) {
        self.messages += 1;
        if let ChangeMessage::Request(request) = &message
            && !self.requests.contains(request)
        {
            self.requests.push((**request).clone());
        }
        // Through the bytes, as on the wire.
        let message = ChangeMessage::decode(&message.encode()).expect("its own encoding");
        if self.filter.as_ref().is_some_and(|keep| !keep(from, to, &message)) {
            return;
        }
        if self.below(100) < self.loss {
            return;
        }
        let copies = 1 + u64::from(self.below(100) < self.doubled);
        for _ in 0..copies {
            let due = self.now.after(1 + self.below(20));
            self.flight.push(Flight { from, to, message: message.clone(), due });
        }
    }

    /// A message arrives at once, whoever sent it.
    pub fn inject(&mut self, from: usize, to: usize, message: ChangeMessage) {
        let (from, message) = (self.key(from), Verified::assume(message));
        self.step(to, |change, env, ctx| ((), change.receive(env, ctx, from, message)));
    }

    /// No node knows an announcement of this member any more.
    pub fn forget_announcement(&mut self, index: usize) {
        let mut writes = WriteSet::new();
        let member = self.key(index).as_bytes().to_vec();
        writes.delete("quorate.announced.producers", member).expect("small");
        for node in &mut self.nodes {
            node.state.apply(&writes);
        }
    }

    /// Starts the node from its disk alone.
    pub fn restart(&mut self, index: usize) {
        let (group, now) = (self.group, self.now);
        let node = &mut self.nodes[index];
        node.env.now = now;
        node.up_at = None;
        let ctx = ChangeContext {
            group,
            descriptor: &self.descriptor,
            member: &node.key,
            encrypt: &node.encrypt,
            state: &node.state,
            last_nonce: node.last_nonce,
        };
        let (notes, secrets) = (node.disk.notes(), node.disk.secrets.clone());
        let (change, step) = Change::restore(&mut node.env, &ctx, notes, &secrets);
        node.change = Some(change);
        self.trace.push(format!("{} {index} starts", now.0));
        self.dispatch(index, step);
    }

    /// The owner starts a change to these members.
    pub fn start(&mut self, producers: &[usize]) -> Result<(TrxId, String), CommandError> {
        let producers = producers.iter().map(|index| self.key(*index)).collect();
        self.start_with(0, producers, 500, TICK, COUNT)
    }

    pub fn start_with(
        &mut self,
        index: usize,
        producers: Vec<MemberPublicKey>,
        interval: u64,
        length: u64,
        count: u64,
    ) -> Result<(TrxId, String), CommandError> {
        let (answer, fate) = self.step(index, |change, env, ctx| {
            match change.start(env, ctx, producers, 1, interval, length, count) {
                Ok((trx_id, req_id, step)) => (Ok((trx_id, req_id)), step),
                Err(error) => (Err(error), ChangeStep::new()),
            }
        });
        if fate == Fate::Lost { Err(CommandError::Stalled("crashed".to_owned())) } else { answer }
    }

    /// One event; `false` if nothing will ever happen again.
    pub fn turn(&mut self) -> bool {
        if self.order() {
            return true;
        }
        let later = Time(u64::MAX);
        let flight = self.flight.iter().map(|flight| flight.due).min().unwrap_or(later);
        let wake = |node: &Node<G>| {
            let wake = node.wake.filter(|_| node.change.is_some() && node.online);
            wake.unwrap_or(later).min(node.up_at.unwrap_or(later))
        };
        let next = self.nodes.iter().map(wake).min().unwrap_or(later);
        let at = flight.min(next);
        if at == later {
            return false;
        }
        self.now = self.now.max(at);
        if flight <= next {
            self.deliver();
            return true;
        }
        let due = self.nodes.iter().position(|node| wake(node) == next).expect("just found");
        if self.nodes[due].up_at.is_some() {
            self.restart(due);
        } else {
            self.nodes[due].wake = None;
            self.step(due, |change, env, ctx| ((), change.wake(env, ctx)));
        }
        true
    }

    fn deliver(&mut self) {
        let due: Vec<usize> =
            (0..self.flight.len()).filter(|index| self.flight[*index].due <= self.now).collect();
        let pick = due[self.below(due.len() as u64) as usize];
        let Flight { from, to, message, .. } = self.flight.swap_remove(pick);
        if self.nodes[to].change.is_none() || !self.nodes[to].online || !self.nodes[from].online {
            return;
        }
        let from = self.key(from);
        let message = Verified::assume(message);
        self.step(to, |change, env, ctx| ((), change.receive(env, ctx, from, message)));
    }

    /// The ledger takes a result, or a node hears of one.
    fn order(&mut self) -> bool {
        if self.ordering && !self.pending.is_empty() {
            let (trx_id, bundle) = self.pending.remove(0);
            let nonce = |bundle: &ChangeConsensusResultBundle| {
                bundle.req.as_ref().expect("a request").nonce
            };
            let last = self.chain.last().map_or(0, |(_, bundle)| nonce(bundle));
            assert!(nonce(&bundle) > last, "results come in nonce order");
            let owner = self.descriptor.owner;
            verify_bundle(&bundle, &owner, self.group).expect("a good bundle");
            self.chain.push((trx_id, bundle));
            return true;
        }
        let behind = |node: &Node<G>| node.cursor < self.chain.len() && node.change.is_some();
        let Some(index) = self.nodes.iter().position(behind) else { return false };
        self.apply(index);
        true
    }

    fn apply(&mut self, index: usize) {
        let (trx_id, bundle) = self.chain[self.nodes[index].cursor].clone();
        let nonce = bundle.req.as_ref().expect("a request").nonce;
        let view = new_view::<G>(&self.descriptor, &bundle, trx_id);
        let (taken, fate) = self.step(index, |change, env, ctx| {
            let step = change.on_result(env, ctx, &bundle);
            let keys = view.as_ref().and_then(|view| change.take_keys(view));
            (keys, step)
        });
        // Neither keys nor block are durable if the step was not.
        if fate == Fate::Lost {
            return;
        }
        let node = &mut self.nodes[index];
        node.cursor += 1;
        node.last_nonce = nonce;
        write_result(&mut node.state, trx_id, &bundle, view.as_ref());
        if let (Some(view), Some((view_key, keys))) = (view, taken) {
            let name = format!("view-{}", view.number);
            node.disk.secrets.insert(name, G::encode_keys(&keys));
            node.views.insert(nonce, (view, view_key, keys));
        }
    }

    /// Runs until nothing more happens, or panics with the trace.
    pub fn run(&mut self) {
        for _ in 0..2_000_000 {
            if !self.turn() {
                return;
            }
        }
        let last = self.trace.len().saturating_sub(50);
        panic!("still busy:\n{}", self.trace[last..].join("\n"));
    }

    /// What the ledger says of a request.
    pub fn result(&self, req_id: &str) -> Option<(TrxId, ChangeResult)> {
        let found = self
            .chain
            .iter()
            .find(|(_, bundle)| bundle.req.as_ref().is_some_and(|req| req.req_id == req_id));
        found.map(|(id, bundle)| (*id, bundle.result().into()))
    }

    /// All listed members have keys of this change that work together, and everybody derives the
    /// same key material.
    pub fn assert_keys(&self, nonce: u64, listed: &[usize]) {
        let observed = self.chain.iter().find_map(|(id, bundle)| {
            let view = new_view::<G>(&self.descriptor, bundle, *id)?;
            (view.nonce == nonce).then_some(view)
        });
        let observed = observed.expect("the change succeeded");
        let mut keys = BTreeMap::new();
        for (place, index) in listed.iter().enumerate() {
            let found = self.nodes[*index].views.get(&nonce);
            let (view, view_key, own) = found.unwrap_or_else(|| panic!("{index} has no keys"));
            assert_eq!(view.producers[place].view_key, view_key.public());
            assert_eq!(G::public(own), observed.key_material, "the key material of {index}");
            keys.insert(NodeIndex(place as u16), own.clone());
        }
        assert!(G::work(&keys), "the keys do not work together");
        let with_keys: BTreeSet<usize> =
            (0..self.nodes.len()).filter(|i| self.nodes[*i].views.contains_key(&nonce)).collect();
        assert_eq!(with_keys, listed.iter().copied().collect(), "who has keys");
    }

    /// Nothing of any change is left on the disks but the owner's nonce.
    pub fn assert_clean(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].change.is_some() {
                self.step(index, |change, env, ctx| ((), change.wake(env, ctx)));
            }
            let node = &self.nodes[index];
            let secrets = node.disk.secrets.keys().filter(|name| name.starts_with("change-"));
            let secrets: Vec<&String> = secrets.collect();
            assert!(secrets.is_empty(), "node {index} keeps {secrets:?}");
            let notes: Vec<_> = node.disk.notes().into_iter().map(|(key, _)| key).collect();
            assert!(notes.iter().all(|key| key == b"n"), "node {index} keeps {notes:?}");
        }
    }
}

/// Writes a final result into the state, as a node does that executes its block.
pub fn write_result(
    state: &mut State,
    trx_id: TrxId,
    bundle: &ChangeConsensusResultBundle,
    view: Option<&View>,
) {
    let request = bundle.req.as_ref().expect("a request");
    let nonce = request.nonce.to_be_bytes();
    let id = trx_id.to_string();
    let mut writes = WriteSet::new();
    let value = [&[id.len() as u8], id.as_bytes(), &bundle.encode_to_vec()].concat();
    writes.put("quorate.proofs", nonce, value).expect("small");
    let req_id = request.req_id.clone().into_bytes();
    writes.put("quorate.requests", req_id, nonce.to_vec()).expect("small");
    if let Some(view) = view {
        let block = 0_u64.to_be_bytes();
        let entry = [&block[..], &nonce, id.as_bytes()].concat();
        let number = view.number.0.to_be_bytes().to_vec();
        writes.put("quorate.views", number, entry).expect("small");
    }
    state.apply(&writes);
}

/// The view a successful result makes, as an observer derives it.
pub fn new_view<G: Scheme>(
    descriptor: &GroupDescriptor,
    bundle: &ChangeConsensusResultBundle,
    trx_id: TrxId,
) -> Option<View> {
    let change = verify_bundle(bundle, &descriptor.owner, descriptor.id).ok()?;
    if change.result != ChangeResult::Success {
        return None;
    }
    let request = &change.request;
    let context = request.keygen_context();
    let keys = G::observe(&context, &change.view_keys, &change.dealer_logs).ok()?;
    let producers = request.producers.iter().zip(&change.view_keys);
    Some(View {
        group: request.group,
        number: ViewNumber(request.nonce),
        protocol: Protocol::Poa,
        producers: producers
            .map(|(member, view_key)| Producer { member: *member, view_key: *view_key })
            .collect(),
        key_material: G::public(&keys),
        interval_ms: request.epoch_tick_ms,
        start_epoch: request.start_epoch,
        parent: (BlockId(1), Digest::default()),
        req_id: request.req_id.as_hyphenated().to_string(),
        nonce: request.nonce,
        proof_trx_id: trx_id.to_string(),
    })
}
