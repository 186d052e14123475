//! A network that delivers one message at a time in a seeded order, journals that survive crashes,
//! and an auditor that no correct member's statement contradicts an earlier one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberKey;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_crypto::view::ViewKey;
use quorate_ledger::ids::{BlockId, Epoch, GroupId, ViewNumber};
use quorate_ledger::view::{Producer, Protocol, View};
use rand::RngExt;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use uuid::Uuid;

use super::keyed::{KeyedGeneration, KeyedKeys};
use crate::committee::Committee;
use crate::core::{
    Appetite, Core, Decision, Env, Event, Journal, Record, Setup, Step, Target, Time, Topic,
    Verified,
};
use crate::evidence::{Evidence, Fault};
use crate::honeybadger::HoneyBadger;
use crate::honeybadger::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, HoneyBadgerMessage, SlotMessage,
};
use crate::trace::Trace;

pub(super) fn seeded(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(super) fn env(seed: u64) -> Env {
    Env { now: Time(1), rng: seeded(seed) }
}

/// Notes that survive.
#[derive(Clone, Default)]
pub(super) struct Disk {
    notes: Vec<(Topic, Vec<u8>, Arc<[u8]>)>,
}

impl Disk {
    pub(super) fn votes(&self, topic: Topic) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let of_topic = self.notes.iter().filter(|(t, _, _)| *t == topic);
        of_topic.map(|(_, key, bytes)| (key.clone(), bytes.clone())).collect()
    }
}

impl Journal for Disk {
    type Error = Infallible;

    fn append(&mut self, records: &[Record]) -> Result<(), Infallible> {
        for record in records {
            match record {
                Record::Note { topic, key, bytes } => {
                    let same = |(t, k, _): &(Topic, Vec<u8>, _)| t == topic && k == key;
                    match self.notes.iter().position(same) {
                        Some(at) if bytes.is_empty() => {
                            self.notes.remove(at);
                        }
                        Some(at) => self.notes[at].2 = bytes.clone(),
                        None => self.notes.push((*topic, key.clone(), bytes.clone())),
                    }
                }
                Record::Forget { topic, prefix } => {
                    self.notes.retain(|(t, key, _)| t != topic || !key.starts_with(prefix));
                }
                other => panic!("the core records votes only, not {other:?}"),
            }
        }
        Ok(())
    }

    fn block(&self, _: BlockId) -> Result<Option<Arc<[u8]>>, Infallible> {
        Ok(None)
    }

    fn certificate(&self, _: BlockId) -> Result<Option<Arc<[u8]>>, Infallible> {
        Ok(None)
    }

    fn find_trx(&self, _: &[u8; 16]) -> Result<Option<(BlockId, u32)>, Infallible> {
        Ok(None)
    }
}

/// In which order messages arrive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Random,
    Fifo,
    Lifo,
    /// Messages between members of one parity go first: two halves that hear of each other late.
    Halves,
}

impl Order {
    pub(super) fn of(seed: u64) -> Self {
        [Self::Random, Self::Lifo, Self::Random, Self::Halves, Self::Fifo][(seed % 5) as usize]
    }
}

/// Turns what a traitor's core says to one member into what that member gets.
pub(super) type Mangle<M> = Box<dyn FnMut(NodeIndex, NodeIndex, M, &mut ChaCha20Rng) -> Vec<M>>;

/// Messages in flight: from, to, what.
pub(super) struct Wires<M> {
    pub committee: Committee,
    pub rng: ChaCha20Rng,
    pub order: Order,
    pub flying: Vec<(NodeIndex, NodeIndex, M)>,
    /// Chance in 16 that a message arrives twice.
    pub twice: u8,
    /// Chance in 16 that a message is lost.
    pub lost: u8,
    pub traitors: BTreeMap<NodeIndex, Mangle<M>>,
}

impl<M: Clone> Wires<M> {
    pub(super) fn new(n: usize, seed: u64) -> Self {
        Self {
            committee: Committee::new(n),
            rng: seeded(seed),
            order: Order::of(seed),
            flying: Vec::new(),
            twice: 1,
            lost: 0,
            traitors: BTreeMap::new(),
        }
    }

    pub(super) fn chance(&mut self, of_16: u8) -> bool {
        self.rng.random_range(0..16_u8) < of_16
    }

    pub(super) fn send(&mut self, from: NodeIndex, target: Target, message: &M) {
        for to in self.committee.members().filter(|to| *to != from) {
            if target != Target::All && target != Target::One(to) {
                continue;
            }
            let said = match self.traitors.get_mut(&from) {
                Some(mangle) => mangle(from, to, message.clone(), &mut self.rng),
                None => vec![message.clone()],
            };
            for message in said {
                if !self.chance(self.lost) {
                    self.flying.push((from, to, message));
                }
            }
        }
    }

    pub(super) fn next(&mut self) -> Option<(NodeIndex, NodeIndex, M)> {
        if self.flying.is_empty() {
            return None;
        }
        let last = self.flying.len() - 1;
        let at = match self.order {
            Order::Random => self.rng.random_range(0..=last),
            Order::Fifo => 0,
            Order::Lifo => last,
            Order::Halves => {
                let near = |(from, to, _): &(NodeIndex, NodeIndex, M)| from.0 % 2 == to.0 % 2;
                self.flying.iter().position(near).unwrap_or(0)
            }
        };
        if self.chance(self.twice) {
            return self.flying.get(at).cloned();
        }
        Some(self.flying.remove(at))
    }
}

/// Everything correct members have ever said, to find contradictions.
#[derive(Default)]
pub(super) struct Audit(BTreeMap<(NodeIndex, String), String>);

impl Audit {
    /// A statement that a member may make once: what it is about, and what it says.
    fn about(message: &HoneyBadgerMessage, target: Target) -> Option<(String, String)> {
        let HoneyBadgerMessage { epoch, body } = message;
        let (proposer, about, says) = match body {
            EpochMessage::Slot(p, SlotMessage::Broadcast(message)) => match message {
                BroadcastMessage::Init(fragment) => (
                    p,
                    format!("INIT {target:?}"),
                    format!("{} {:?}", fragment.root, fragment.path),
                ),
                BroadcastMessage::Echo(fragment) => {
                    (p, "ECHO".into(), format!("{} {:?}", fragment.root, fragment.path))
                }
                BroadcastMessage::Ready(root) => (p, "READY".into(), root.to_string()),
            },
            EpochMessage::Slot(p, SlotMessage::Agreement(message)) => match message {
                AgreementMessage::Aux { round, value } => {
                    (p, format!("AUX {round}"), value.to_string())
                }
                AgreementMessage::Conf { round, values } => {
                    (p, format!("CONF {round}"), values.to_string())
                }
                AgreementMessage::Term { value, from } => {
                    (p, "TERM".into(), format!("{value} {from}"))
                }
                AgreementMessage::Share { round, share } => {
                    (p, format!("SHARE {round}"), format!("{share:?}"))
                }
                AgreementMessage::BVal { .. } | AgreementMessage::Coin { .. } => return None,
            },
            EpochMessage::Share(p, share) => (p, "share".into(), format!("{share:?}")),
            EpochMessage::Key(..) | EpochMessage::Again => return None,
        };
        Some((format!("epoch {epoch} proposer {proposer} {about}"), says))
    }

    fn check(&mut self, from: NodeIndex, target: Target, message: &HoneyBadgerMessage) {
        if let Some((about, says)) = Self::about(message, target) {
            let earlier = self.0.entry((from, about.clone())).or_insert_with(|| says.clone());
            assert_eq!(*earlier, says, "member {from} contradicts itself: {about}");
        }
    }
}

pub(super) struct Member<G: KeyGeneration> {
    pub core: Option<HoneyBadger<G>>,
    pub disk: Disk,
    pub keys: G::Keys,
    pub decisions: Vec<Decision>,
    pub batches: BTreeMap<Epoch, Vec<u8>>,
}

/// A committee of ordering cores.
pub(super) struct Net<G: KeyGeneration>
where
    G::Keys: Threshold,
{
    pub members: Vec<Member<G>>,
    pub wires: Wires<HoneyBadgerMessage>,
    pub env: Env,
    pub view: Arc<View>,
    pub first: Epoch,
    pub epochs: u64,
    pub evidence: Vec<(NodeIndex, Evidence)>,
    pub trace: Vec<(NodeIndex, Trace)>,
    pub audit: Audit,
    pub largest_batch: usize,
    /// The next step of this member is cut short after so many of its records.
    pub tear: Option<(NodeIndex, usize)>,
}

pub(super) fn view(n: usize) -> View {
    let producer = |i: usize| Producer {
        member: MemberKey::from_bytes(&[i as u8 + 1; 32]).unwrap().public(),
        view_key: ViewKey::from_seed(&[i as u8 + 1; 32]).public(),
    };
    View {
        group: GroupId(Uuid::from_u128(7)),
        number: ViewNumber(3),
        protocol: Protocol::Poa,
        producers: (0..n).map(producer).collect(),
        key_material: Vec::new(),
        interval_ms: 500,
        start_epoch: Epoch(10),
        parent: (BlockId(0), Digest::default()),
        req_id: String::new(),
        nonce: 1,
        proof_trx_id: String::new(),
    }
}

pub(super) fn keyed(n: usize) -> Vec<KeyedKeys> {
    let committee = Committee::new(n);
    committee.members().map(|me| KeyedKeys { committee, me }).collect()
}

impl Net<KeyedGeneration> {
    pub(super) fn of(n: usize, epochs: u64, seed: u64) -> Self {
        Self::new(keyed(n), epochs, seed)
    }
}

impl<G: KeyGeneration> Net<G>
where
    G::Keys: Threshold,
{
    pub(super) fn new(keys: Vec<G::Keys>, epochs: u64, seed: u64) -> Self {
        let n = keys.len();
        let member = |keys| Member {
            core: None,
            disk: Disk::default(),
            keys,
            decisions: Vec::new(),
            batches: BTreeMap::new(),
        };
        let mut net = Self {
            members: keys.into_iter().map(member).collect(),
            wires: Wires::new(n, seed),
            env: env(seed ^ 0x5eed),
            view: Arc::new(view(n)),
            first: Epoch(10),
            epochs,
            evidence: Vec::new(),
            trace: Vec::new(),
            audit: Audit::default(),
            largest_batch: 300,
            tear: None,
        };
        for me in net.everybody() {
            net.start(me);
        }
        net
    }

    pub(super) fn everybody(&self) -> Vec<NodeIndex> {
        self.wires.committee.members().collect()
    }

    pub(super) fn correct(&self) -> Vec<NodeIndex> {
        let correct = |member: &NodeIndex| !self.wires.traitors.contains_key(member);
        self.everybody().into_iter().filter(correct).collect()
    }

    pub(super) fn member(&mut self, me: NodeIndex) -> &mut Member<G> {
        &mut self.members[me.get()]
    }

    /// Opens a member with what its disk holds.
    pub(super) fn start(&mut self, me: NodeIndex) {
        let member = &self.members[me.get()];
        let setup = Setup {
            view: Arc::clone(&self.view),
            me,
            keys: member.keys.clone(),
            epoch: Epoch(self.first.0 + member.decisions.len() as u64),
            votes: member.disk.votes(Topic::Vote),
        };
        let (core, step) = HoneyBadger::open(&mut self.env, setup);
        self.member(me).core = Some(core);
        self.apply(me, step);
    }

    /// A crash: what has been persisted stays, messages in flight from it may still arrive.
    pub(super) fn crash(&mut self, me: NodeIndex) {
        self.member(me).core = None;
        self.wires.flying.retain(|(_, to, _)| *to != me);
    }

    pub(super) fn act(&mut self, me: NodeIndex, event: Event<HoneyBadgerMessage>) {
        let Some(core) = self.members[me.get()].core.as_mut() else { return };
        let step = core.step(&mut self.env, event);
        self.apply(me, step);
    }

    fn apply(&mut self, me: NodeIndex, step: Step<HoneyBadgerMessage>) {
        if let Some((who, records)) = self.tear
            && who == me
        {
            self.tear = None;
            let kept = &step.records()[..records.min(step.records().len())];
            self.member(me).disk.append(kept).unwrap();
            self.crash(me);
            return;
        }
        let Ok(released) = self.member(me).disk.persist(step);
        let honest = !self.wires.traitors.contains_key(&me);
        for (target, message) in &released.sends {
            if honest {
                self.audit.check(me, *target, message);
            }
            self.wires.send(me, *target, message);
        }
        self.member(me).decisions.extend(released.outputs);
        self.evidence.extend(released.evidence.into_iter().map(|e| (me, e)));
        self.trace.extend(released.trace.into_iter().map(|t| (me, t)));
        if released.wake.is_some() {
            self.act(me, Event::Wake);
        }
    }

    pub(super) fn propose(&mut self, me: NodeIndex) {
        let Some(core) = &self.members[me.get()].core else { return };
        let epoch = core.epoch();
        if core.appetite() == Appetite::Full || epoch.0 >= self.first.0 + self.epochs {
            return;
        }
        let length = match self.wires.rng.random_range(0..4_u8) {
            0 => 0,
            _ => self.wires.rng.random_range(0..=self.largest_batch),
        };
        let byte = (epoch.0 as u8).wrapping_mul(16).wrapping_add(me.0 as u8);
        let batch = vec![byte; length];
        self.member(me).batches.insert(epoch, batch.clone());
        self.act(me, Event::Propose(batch));
    }

    pub(super) fn deliver(&mut self) -> bool {
        let Some((from, to, message)) = self.wires.next() else { return false };
        self.env.now = self.env.now.after(1);
        self.act(to, Event::Receive(from, Verified::assume(message)));
        true
    }

    /// Members that are behind ask all others, as the replica would.
    pub(super) fn ask_again(&mut self) {
        self.env.now = self.env.now.after(1_000);
        for to in self.everybody() {
            let Some(core) = &self.members[to.get()].core else { continue };
            let from = core.epoch();
            for other in self.everybody().into_iter().filter(|other| *other != to) {
                self.act(other, Event::Resend { to, from });
            }
        }
    }

    pub(super) fn finished(&self) -> bool {
        let done = |me: &NodeIndex| self.members[me.get()].decisions.len() as u64 >= self.epochs;
        self.correct().iter().all(done)
    }

    /// Runs until all correct members have decided all epochs.
    pub(super) fn run(&mut self) {
        for _ in 0..200 {
            for me in self.everybody() {
                self.propose(me);
            }
            let mut left = 400_000;
            while !self.finished() && self.deliver() {
                left -= 1;
                assert!(left > 0, "the network never rests");
                if self.wires.chance(2) {
                    let me = self.wires.rng.random_range(0..self.members.len());
                    self.propose(NodeIndex(me as u16));
                }
            }
            if self.finished() {
                return;
            }
            if self.wires.flying.is_empty() {
                self.ask_again();
            }
        }
        let at: Vec<usize> = self.members.iter().map(|m| m.decisions.len()).collect();
        panic!("no end in sight: decisions {at:?} of {}", self.epochs);
    }

    /// Agreement, validity, totality, and that nobody correct is accused.
    pub(super) fn check(&self) {
        let correct = self.correct();
        let reference = &self.members[correct[0].get()].decisions;
        assert!(reference.len() as u64 >= self.epochs);
        for (at, decision) in reference.iter().enumerate() {
            assert_eq!(decision.epoch.0, self.first.0 + at as u64, "epochs follow each other");
            assert!(decision.batches.len() >= self.wires.committee.correct(), "n - f are in");
            for me in &correct {
                if let Some(batch) = decision.batches.get(me) {
                    let proposed = self.members[me.get()].batches.get(&decision.epoch);
                    assert_eq!(Some(batch), proposed, "the batch of {me} is what it proposed");
                }
            }
        }
        for me in &correct {
            let own = &self.members[me.get()].decisions;
            let common = own.len().min(reference.len());
            assert_eq!(own[..common], reference[..common], "member {me} agrees");
        }
        for (observer, evidence) in &self.evidence {
            let honest = correct.contains(observer) && correct.contains(&evidence.member);
            assert!(!honest, "{observer} accuses a correct member: {evidence:?}");
        }
    }

    pub(super) fn accused(&self, member: NodeIndex, fault: Fault) -> bool {
        self.evidence.iter().any(|(_, e)| e.member == member && e.fault == fault)
    }
}
