//! A small model of a consensus change: an owner and two more producers, explored state by state on
//! the real [`Change`], its notes and secrets, and a ledger that takes results one by one.
//!
//! # What is explored
//! A *kind run* is one in which everything arrives and everybody is quick. From every state of it,
//! everything that can happen in [`Bounds::moves`] transitions; and from one in so many of the
//! states found (all kinds of them, chosen by their digest), the kind run to the end, which must be
//! a SUCCESS, with the same keys everywhere and clean disks.
//!
//! # Transitions
//! A *turn* is what the driver does: a participant takes all that has arrived, in order of each
//! link, makes its records durable once, and sends. Turns of different participants come in any
//! order, so what each has heard at its next turn varies with who was slow. Beside turns:
//! * the ledger takes the next published result; a participant learns of the next one;
//! * all rests: time goes on to the next timer. At any other moment too, or by a whole agreement
//!   tick, or past the last one, as often as [`Bounds::jumps`] says;
//! * the owner makes a newer request ([`Bounds::requests`]), for the same three;
//! * a fault ([`Bounds::faults`]): a participant is killed between two turns, or in a turn after its
//!   records are durable and before anything left, and starts from its disk; what was on its way to
//!   it is lost. What is on a link is lost; or comes late; or all that has arrived comes backwards.
//!
//! # The state
//! Participants are kept as they are (the real cores, cloned). What makes two states equal is the
//! history of each participant since its last start (which inputs, at what time, in what order),
//! its disk then, and what is on its way: never less than what tells them apart. The draws of a
//! participant follow from its history; a restarted one draws anew.
//!
//! # What the bounds leave out
//! More moves, faults, jumps and requests than stated; a killed participant stays down no longer than what
//! was sent to it is lost; no participant lies; one clock.

mod tests;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher as StdHasher};
use std::sync::Arc;

use quorate_consensus::core::{Env, Journal as _, Message as _, Released, Time, Verified};
use quorate_consensus::honeybadger::message::{
    AgreementMessage, BroadcastMessage, ProofMessage, SlotMessage,
};
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::KeyGeneration as _;
use quorate_crypto::member::MemberKey;
use quorate_crypto::recipient::EncryptKey;
use quorate_ledger::change::{ChangeResult, verify_bundle};
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{GroupId, TrxId};
use quorate_ledger::proto::{ChangeConsensusResult, ChangeConsensusResultBundle};
use quorate_ledger::state::State as LedgerState;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::super::{Change, ChangeContext, ChangeMessage, ChangeOutput, ChangeStep};
use super::hashed::Hashed;
use super::world::{COUNT, Disk, Scheme as _, TICK, World, new_view, write_result};

/// Participants: the owner and two more.
const SIZE: usize = 3;

/// When the first request is made.
const BEGUN: Time = Time(1_000_000);

/// A result of the owner.
type Outcome = (TrxId, ChangeConsensusResultBundle);

fn nonce(outcome: &Outcome) -> u64 {
    outcome.1.req.as_ref().expect("a request").nonce
}

fn req_id(outcome: &Outcome) -> &str {
    &outcome.1.req.as_ref().expect("a request").req_id
}

fn result(outcome: &Outcome) -> ChangeResult {
    outcome.1.result().into()
}

/// A message on its way.
#[derive(Clone)]
struct Letter {
    message: Arc<ChangeMessage>,
    digest: Digest,
}

/// What a statement is about: request, attempt, proposer, kind, round. A participant may say one
/// thing about it, for ever.
type Subject = (Digest, u64, u16, u8, u64);

/// One participant.
#[derive(Clone)]
struct Node {
    change: Change<Hashed>,
    disk: Disk,
    ledger: Arc<LedgerState>,
    last_nonce: u64,
    /// Results it has learnt of.
    cursor: usize,
    wake: Option<Time>,
    /// Key material of the views it has keys of, by nonce.
    keys: BTreeMap<u64, Vec<u8>>,
    ended: Vec<(String, ChangeConsensusResult)>,
    said: BTreeMap<Subject, Vec<u8>>,
    crashes: u8,
    /// Names everything that ever happened to it.
    history: Digest,
}

/// How much may happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Bounds {
    /// Transitions in all, from a state of the kind run.
    moves: u8,
    faults: u8,
    jumps: u8,
    requests: u8,
}

/// The whole: participants, what is on its way, the ledger.
#[derive(Clone)]
struct Net {
    nodes: [Arc<Node>; SIZE],
    links: [[Vec<Letter>; SIZE]; SIZE],
    pending: Vec<Arc<Outcome>>,
    chain: Vec<Arc<Outcome>>,
    /// What the owner promised, by nonce.
    promises: BTreeMap<u64, TrxId>,
    now: Time,
    left: Bounds,
    wrong: Option<String>,
}

impl Net {
    /// What tells it from others.
    fn name(&self) -> Digest {
        let mut name = Hasher::new("model.net").u64(self.now.0);
        for node in &self.nodes {
            name = name.field(&node.history.0);
        }
        for letters in self.links.iter().flatten() {
            name = name.u64(letters.len() as u64);
            name = letters.iter().fold(name, |name, letter| name.field(&letter.digest.0));
        }
        for outcomes in [&self.pending, &self.chain] {
            name = name.u64(outcomes.len() as u64);
            for outcome in outcomes {
                name = name.field(outcome.0.to_string().as_bytes()).u64(nonce(outcome));
            }
        }
        let Bounds { moves, faults, jumps, requests } = self.left;
        name = name.field(&[moves, faults, jumps, requests, u8::from(self.wrong.is_some())]);
        name.finish()
    }
}

impl Hash for Net {
    fn hash<H: StdHasher>(&self, hasher: &mut H) {
        self.name().0.hash(hasher);
    }
}

impl PartialEq for Net {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lengths: Vec<Vec<usize>> =
            self.links.iter().map(|to| to.iter().map(Vec::len).collect()).collect();
        let chain: Vec<_> =
            self.chain.iter().map(|outcome| (nonce(outcome), result(outcome))).collect();
        f.debug_struct("Net")
            .field("now", &self.now)
            .field("links", &lengths)
            .field("pending", &self.pending.len())
            .field("chain", &chain)
            .field("wrong", &self.wrong)
            .finish_non_exhaustive()
    }
}

/// How far time jumps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Jump {
    /// To the next timer.
    Timer,
    /// By an agreement tick.
    Tick,
    /// Past the last tick.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Action {
    Turn(usize),
    Order,
    Learn(usize),
    Later(Jump),
    /// A newer request.
    Request,
    /// Killed between two turns.
    Killed(usize),
    /// Killed in its turn, after its records.
    KilledInTurn(usize),
    /// Killed when it learnt of a result, after its records.
    KilledLearning(usize),
    /// What is on a link is lost.
    Lost(usize, usize),
    /// A turn of the second without what the first sent it.
    Late(usize, usize),
    /// A turn with all that has arrived, the last first.
    Backwards(usize),
}

/// What a participant takes.
enum Input {
    Letter(usize, Letter),
    Wake,
    Result,
    Request(Vec<usize>),
}

/// The participants' keys, and what is explored.
struct Cast {
    group: GroupId,
    descriptor: GroupDescriptor,
    keys: Vec<MemberKey>,
    encrypt: Vec<EncryptKey>,
    ledger: Arc<LedgerState>,
    bounds: Bounds,
    /// Notes of this kind are lost in a crash: a test's broken participant.
    forgets: Option<u8>,
    /// From one in so many states, it is tried whether the change succeeds once all is kind.
    heal: u64,
}

impl Cast {
    fn new(bounds: Bounds) -> Self {
        let world = World::<Hashed>::new(1, SIZE);
        Self {
            group: world.group,
            keys: world.nodes.iter().map(|node| node.key.clone()).collect(),
            encrypt: world.nodes.iter().map(|node| node.encrypt.clone()).collect(),
            ledger: Arc::new(world.nodes[0].state.clone()),
            descriptor: world.descriptor,
            bounds,
            forgets: None,
            heal: 64,
        }
    }

    fn context<'a>(&'a self, who: usize, ledger: &'a LedgerState, nonce: u64) -> ChangeContext<'a> {
        ChangeContext {
            group: self.group,
            descriptor: &self.descriptor,
            member: &self.keys[who],
            encrypt: &self.encrypt[who],
            state: ledger,
            last_nonce: nonce,
        }
    }

    /// All three, and the owner has asked for all three to be producers.
    fn begin(&self) -> Net {
        let node = |who: usize| {
            let history = Hasher::new("model.node").u64(who as u64).finish();
            let mut env = Env { now: BEGUN, rng: ChaCha20Rng::from_seed(history.0) };
            let ctx = self.context(who, &self.ledger, 0);
            let (change, step) = Change::restore(&mut env, &ctx, Vec::new(), &BTreeMap::new());
            assert!(step.is_empty(), "there is nothing to take up");
            Arc::new(Node {
                change,
                disk: Disk::default(),
                ledger: Arc::clone(&self.ledger),
                last_nonce: 0,
                cursor: 0,
                wake: None,
                keys: BTreeMap::new(),
                ended: Vec::new(),
                said: BTreeMap::new(),
                crashes: 0,
                history,
            })
        };
        let mut net = Net {
            nodes: std::array::from_fn(node),
            links: Default::default(),
            pending: Vec::new(),
            chain: Vec::new(),
            promises: BTreeMap::new(),
            now: BEGUN,
            left: self.bounds,
            wrong: None,
        };
        self.act(&mut net, 0, vec![Input::Request(vec![0, 1, 2])], true);
        net
    }

    /// A turn; a participant that does not survive it is started from its disk.
    fn act(&self, net: &mut Net, who: usize, inputs: Vec<Input>, survives: bool) {
        let mut node = (*net.nodes[who]).clone();
        let mut hasher = Hasher::new("model.turn").field(&node.history.0).u64(net.now.0);
        for input in &inputs {
            hasher = match input {
                Input::Letter(from, letter) => hasher.u64(*from as u64).field(&letter.digest.0),
                Input::Wake => hasher.field(b"wake"),
                Input::Result => hasher.field(net.chain[node.cursor].0.to_string().as_bytes()),
                Input::Request(listed) => hasher.field(b"request").u64(listed.len() as u64),
            };
        }
        node.history = hasher.finish();
        let mut env = Env { now: net.now, rng: ChaCha20Rng::from_seed(node.history.0) };
        let mut step = ChangeStep::new();
        for input in inputs {
            step.extend(self.take(net, &mut node, who, &mut env, input));
        }
        let Ok(released) = node.disk.persist(step);
        if survives {
            self.release(net, &mut node, who, released);
            net.nodes[who] = Arc::new(node);
        } else {
            self.restart(net, node, who);
        }
    }

    fn take(
        &self,
        net: &mut Net,
        node: &mut Node,
        who: usize,
        env: &mut Env,
        input: Input,
    ) -> ChangeStep {
        let ledger = Arc::clone(&node.ledger);
        let ctx = self.context(who, &ledger, node.last_nonce);
        match input {
            Input::Letter(from, letter) => {
                let message = Verified::assume((*letter.message).clone());
                node.change.receive(env, &ctx, self.keys[from].public(), message)
            }
            Input::Wake => node.change.wake(env, &ctx),
            Input::Request(listed) => {
                let listed = listed.iter().map(|index| self.keys[*index].public()).collect();
                let started = node.change.start(env, &ctx, listed, 1, 500, TICK, COUNT);
                let (promised, _, step) = started.expect("a good request");
                let nonce = net.promises.len() as u64 + 1;
                net.promises.insert(nonce, promised);
                step
            }
            Input::Result => {
                let outcome = Arc::clone(&net.chain[node.cursor]);
                let view = new_view::<Hashed>(&self.descriptor, &outcome.1, outcome.0);
                let mut step = node.change.on_result(env, &ctx, &outcome.1);
                let keys = view.as_ref().and_then(|view| node.change.take_keys(view));
                if let (Some(view), Some((_, keys))) = (&view, keys) {
                    if Hashed::public(&keys) != view.key_material || keys.share.is_none() {
                        net.wrong = Some(format!("{who} has other keys than all"));
                    }
                    node.keys.insert(nonce(&outcome), Hashed::public(&keys));
                    step.record(quorate_consensus::core::Record::Secret {
                        name: format!("view-{}", view.number),
                        bytes: Some(Hashed::encode_keys(&keys)),
                    });
                }
                node.cursor += 1;
                node.last_nonce = nonce(&outcome);
                let mut known = (*ledger).clone();
                write_result(&mut known, outcome.0, &outcome.1, view.as_ref());
                node.ledger = Arc::new(known);
                step
            }
        }
    }

    /// Starts a participant from its disk.
    fn restart(&self, net: &mut Net, mut node: Node, who: usize) {
        for from in 0..SIZE {
            net.links[from][who].clear();
        }
        let mut notes = node.disk.notes();
        notes.retain(|(key, _)| self.forgets.is_none_or(|kind| key.get(9) != Some(&kind)));
        node.crashes += 1;
        let mut hasher = Hasher::new("model.start").u64(who as u64).u64(net.now.0);
        hasher = hasher.u64(u64::from(node.crashes)).u64(node.cursor as u64);
        for (key, bytes) in &notes {
            hasher = hasher.field(key).field(bytes);
        }
        for (name, bytes) in &node.disk.secrets {
            hasher = hasher.field(name.as_bytes()).field(bytes);
        }
        for ((request, attempt, proposer, kind, round), what) in &node.said {
            hasher = hasher.field(&request.0).u64(*attempt).u64(u64::from(*proposer));
            hasher = hasher.u64(u64::from(*kind)).u64(*round).field(what);
        }
        node.history = hasher.finish();
        let mut env = Env { now: net.now, rng: ChaCha20Rng::from_seed(node.history.0) };
        let ledger = Arc::clone(&node.ledger);
        let ctx = self.context(who, &ledger, node.last_nonce);
        let (change, step) = Change::restore(&mut env, &ctx, notes, &node.disk.secrets);
        node.change = change;
        node.wake = None;
        let Ok(released) = node.disk.persist(step);
        self.release(net, &mut node, who, released);
        net.nodes[who] = Arc::new(node);
    }

    /// Lets out what a participant says, and holds it to what it said before.
    fn release(
        &self,
        net: &mut Net,
        node: &mut Node,
        who: usize,
        released: Released<std::convert::Infallible, ChangeOutput>,
    ) {
        node.wake = released.wake;
        if let Some(evidence) = released.evidence.first() {
            net.wrong.get_or_insert_with(|| format!("{who} accuses: {evidence:?}"));
        }
        for output in released.outputs {
            match output {
                ChangeOutput::Send { to, message } => {
                    if let Some((subject, what)) = statement(&message) {
                        let known = node.said.entry(subject).or_insert_with(|| what.clone());
                        if *known != what {
                            let text = format!("{who} contradicts itself about {subject:?}");
                            net.wrong.get_or_insert(text);
                        }
                    }
                    let to = self.keys.iter().position(|key| key.public() == to);
                    let digest = Hasher::new("model.letter").field(&message.encode()).finish();
                    let letter = Letter { message: Arc::new(message), digest };
                    net.links[who][to.expect("a participant")].push(letter);
                }
                ChangeOutput::Publish { trx_id, bundle } => {
                    self.publish(net, who, (trx_id, bundle))
                }
                ChangeOutput::Ended { req_id, result } => node.ended.push((req_id, result)),
            }
        }
    }

    fn publish(&self, net: &mut Net, who: usize, outcome: Outcome) {
        let same = |known: &&Arc<Outcome>| known.0 == outcome.0 || nonce(known) == nonce(&outcome);
        let known = net.chain.iter().chain(&net.pending).find(same).cloned();
        let promised = net.promises.get(&nonce(&outcome)) == Some(&outcome.0);
        let success = result(&outcome) == ChangeResult::Success;
        match known {
            Some(known) if *known != outcome => {
                net.wrong.get_or_insert_with(|| format!("two results of {}", nonce(&known)));
            }
            _ if who != 0 || promised != success => {
                net.wrong.get_or_insert_with(|| "a result that is not to be".to_owned());
            }
            Some(_) => {}
            None => net.pending.push(Arc::new(outcome)),
        }
    }

    /// The ledger takes the oldest result published.
    fn order(&self, net: &mut Net) {
        let outcome = net.pending.remove(0);
        let last = net.chain.last().map_or(0, |last| nonce(last));
        if nonce(&outcome) <= last {
            net.wrong.get_or_insert_with(|| "results out of order".to_owned());
        }
        if let Err(error) = verify_bundle(&outcome.1, &self.descriptor.owner, self.group) {
            net.wrong.get_or_insert_with(|| format!("a bad result: {error}"));
        }
        net.chain.push(outcome);
    }

    fn later(&self, net: &mut Net, jump: Jump) {
        let next = net.nodes.iter().filter_map(|node| node.wake).min();
        net.now = match jump {
            Jump::Timer => next.unwrap_or(net.now).max(net.now),
            Jump::Tick => net.now.after(TICK),
            Jump::All => net.now.after(TICK * COUNT),
        };
        for who in 0..SIZE {
            if net.nodes[who].wake.is_some_and(|wake| wake <= net.now) {
                self.act(net, who, vec![Input::Wake], true);
            }
        }
    }

    /// What has arrived at a participant, but for what one has sent.
    fn arrived(net: &mut Net, who: usize, late: Option<usize>) -> Vec<Input> {
        let mut inputs = Vec::new();
        for from in (0..SIZE).filter(|from| Some(*from) != late) {
            let letters = std::mem::take(&mut net.links[from][who]);
            inputs.extend(letters.into_iter().map(|letter| Input::Letter(from, letter)));
        }
        inputs
    }

    fn follow(&self, net: &mut Net, action: Action) {
        let was_quiet = quiet(net);
        net.left.moves -= 1;
        match action {
            Action::Turn(who) => {
                let inputs = Self::arrived(net, who, None);
                self.act(net, who, inputs, true);
            }
            Action::Order => self.order(net),
            Action::Learn(who) => self.act(net, who, vec![Input::Result], true),
            Action::Later(jump) => {
                if !(was_quiet && jump == Jump::Timer) {
                    net.left.jumps -= 1;
                }
                self.later(net, jump);
            }
            Action::Request => {
                net.left.requests -= 1;
                self.act(net, 0, vec![Input::Request(vec![0, 1, 2])], true);
            }
            fault => {
                net.left.faults -= 1;
                self.fail(net, fault);
            }
        }
    }

    fn fail(&self, net: &mut Net, fault: Action) {
        match fault {
            Action::Killed(who) => {
                let node = (*net.nodes[who]).clone();
                self.restart(net, node, who);
            }
            Action::KilledInTurn(who) => {
                let inputs = Self::arrived(net, who, None);
                self.act(net, who, inputs, false);
            }
            Action::KilledLearning(who) => self.act(net, who, vec![Input::Result], false),
            Action::Lost(from, to) => net.links[from][to].clear(),
            Action::Late(from, to) => {
                let inputs = Self::arrived(net, to, Some(from));
                self.act(net, to, inputs, true);
            }
            Action::Backwards(who) => {
                let mut inputs = Self::arrived(net, who, None);
                inputs.reverse();
                self.act(net, who, inputs, true);
            }
            other => unreachable!("{other:?} is no fault"),
        }
    }

    /// Whether every change gets its result and the newest succeeds, once nothing is lost.
    fn heals(&self, net: &Net) -> bool {
        let chance = u64::from_be_bytes(*net.name().0.first_chunk().expect("32 bytes"));
        if !chance.is_multiple_of(self.heal) {
            return true;
        }
        // With less than two ticks left, no success is promised.
        let in_time = net.now.0 - BEGUN.0 < TICK * (COUNT - 2);
        let mut end = net.clone();
        if !self.kindly(&mut end, |_| {}) {
            return false;
        }
        let last = end.chain.last().map(|last| result(last));
        let good = !in_time || last == Some(ChangeResult::Success);
        good && end.wrong.is_none() && same_end(self, &end) && self.clean(&end)
    }

    /// Lets everything arrive and everybody be quick, until all know the result of every change;
    /// shows each state on the way. Whether it comes to that.
    fn kindly(&self, net: &mut Net, mut show: impl FnMut(&Net)) -> bool {
        for _ in 0..2_000 {
            while !net.pending.is_empty() {
                self.order(net);
                show(net);
            }
            let behind = |net: &Net, who: usize| net.nodes[who].cursor < net.chain.len();
            if net.chain.len() == net.promises.len() && (0..SIZE).all(|who| !behind(net, who)) {
                return true;
            }
            let mut idle = true;
            for who in 0..SIZE {
                while behind(net, who) {
                    self.act(net, who, vec![Input::Result], true);
                    show(net);
                    idle = false;
                }
                let inputs = Self::arrived(net, who, None);
                if !inputs.is_empty() {
                    self.act(net, who, inputs, true);
                    show(net);
                    idle = false;
                }
            }
            if idle {
                if net.nodes.iter().all(|node| node.wake.is_none()) {
                    return false;
                }
                self.later(net, Jump::Timer);
                show(net);
            }
        }
        false
    }

    /// Nothing of a change that is over is left on any disk.
    fn clean(&self, net: &Net) -> bool {
        let mut net = net.clone();
        for who in 0..SIZE {
            self.act(&mut net, who, vec![Input::Wake], true);
        }
        net.nodes.iter().all(|node| {
            let secrets = node.disk.secrets.keys().all(|name| !name.starts_with("change-"));
            secrets && node.disk.notes().iter().all(|(key, _)| key == b"n")
        })
    }

    /// Explores everything within the bounds, or until something is wrong.
    fn explore(self) -> Findings {
        // Depth first: only the states on the way are kept, of all others a fingerprint.
        let checker = self.checker().finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
        let (states, starts) = (checker.unique_state_count(), checker.model().init_states().len());
        let found = checker.discoveries();
        let path = |name: &&'static str| {
            let path = found.get(*name)?.clone().into_vec();
            let last = path.last().map(|(state, _)| format!("{state:?}")).unwrap_or_default();
            let actions: Vec<String> =
                path.iter().filter_map(|(_, action)| Some(format!("{:?}", (*action)?))).collect();
            Some(format!("{name}: {}\n{last}", actions.join(", ")))
        };
        let violated = RULES.iter().filter_map(path).collect();
        let seen = SIGHTS.into_iter().filter(|name| found.contains_key(name)).collect();
        Findings { states, starts, violated, seen }
    }
}

/// Whether nothing is on its way.
fn quiet(net: &Net) -> bool {
    net.links.iter().flatten().all(Vec::is_empty)
        && net.pending.is_empty()
        && net.nodes.iter().all(|node| node.cursor == net.chain.len())
}

/// What a message states that the sender may not state otherwise.
fn statement(message: &ChangeMessage) -> Option<(Subject, Vec<u8>)> {
    match message {
        ChangeMessage::Offer { request, view_key } => {
            let request = Digest::from_slice(&request.msg_hash)?;
            Some(((request, 0, 0, 0, 0), view_key.0.to_vec()))
        }
        ChangeMessage::Proof { request, attempt, message } => {
            let ProofMessage { proposer, body, .. } = message;
            let (kind, round, what) = match body {
                SlotMessage::Broadcast(BroadcastMessage::Init(fragment)) => {
                    (1, 0, fragment.root.0.to_vec())
                }
                SlotMessage::Broadcast(BroadcastMessage::Echo(fragment)) => {
                    (2, 0, fragment.root.0.to_vec())
                }
                SlotMessage::Broadcast(BroadcastMessage::Ready(root)) => (3, 0, root.0.to_vec()),
                SlotMessage::Agreement(AgreementMessage::Aux { round, value }) => {
                    (4, *round, vec![u8::from(*value)])
                }
                SlotMessage::Agreement(AgreementMessage::Conf { round, values }) => {
                    (5, *round, vec![values.bits()])
                }
                SlotMessage::Agreement(AgreementMessage::Term { value, from }) => {
                    (6, 0, vec![u8::from(*value), *from as u8])
                }
                SlotMessage::Agreement(_) => return None,
            };
            Some(((*request, *attempt, proposer.0, kind, round), what))
        }
        _ => None,
    }
}

/// All that know of a result know the same, SUCCESS gives all listed producers their keys, and
/// nothing else gives anybody any.
fn same_end(cast: &Cast, net: &Net) -> bool {
    net.nodes.iter().enumerate().all(|(who, node)| {
        let me = cast.keys[who].public().to_string();
        let known = &net.chain[..node.cursor];
        let ends = known.iter().all(|outcome| {
            let listed = &outcome.1.req.as_ref().expect("a request").producer_pubkey_list;
            let due = result(outcome) == ChangeResult::Success && listed.contains(&me);
            node.keys.contains_key(&nonce(outcome)) == due
        });
        // A crash may lose or repeat the word of an end, never change it.
        let told = node.ended.iter().all(|(id, said)| {
            known.iter().any(|outcome| req_id(outcome) == id && outcome.1.result() == *said)
        });
        ends && told && node.keys.len() <= known.len()
    })
}

/// What must hold in every state.
const RULES: [&str; 3] = ["honest", "same end", "heals"];
/// What must be seen in some state, if the bounds allow it.
const SIGHTS: [&str; 4] = ["SUCCESS", "SUCCESS after a crash", "TIMEOUT", "FAILED"];

struct Findings {
    states: usize,
    /// States of the kind run.
    starts: usize,
    /// Rules that a state breaks, with the way there.
    violated: Vec<String>,
    seen: Vec<&'static str>,
}

fn results(net: &Net) -> Vec<ChangeResult> {
    net.chain.iter().map(|outcome| result(outcome)).collect()
}

impl Model for Cast {
    type State = Net;
    type Action = Action;

    fn init_states(&self) -> Vec<Net> {
        let mut net = self.begin();
        let mut states = vec![net.clone()];
        assert!(self.kindly(&mut net, |net| states.push(net.clone())), "all is kind");
        states
    }

    fn actions(&self, net: &Net, actions: &mut Vec<Action>) {
        if net.wrong.is_some() || net.left.moves == 0 {
            return;
        }
        let arrived = |who: usize| (0..SIZE).filter(move |from| !net.links[*from][who].is_empty());
        let behind = |who: &usize| net.nodes[*who].cursor < net.chain.len();
        for who in 0..SIZE {
            if arrived(who).next().is_some() {
                actions.push(Action::Turn(who));
            }
        }
        actions.extend((0..SIZE).filter(behind).map(Action::Learn));
        if !net.pending.is_empty() {
            actions.push(Action::Order);
        }
        let timers = net.nodes.iter().any(|node| node.wake.is_some());
        if quiet(net) && timers {
            actions.push(Action::Later(Jump::Timer));
        }
        if net.left.jumps > 0 && timers {
            let jumps = [Jump::Timer, Jump::Tick, Jump::All];
            let free = |jump: &Jump| quiet(net) && *jump == Jump::Timer;
            actions.extend(jumps.into_iter().filter(|jump| !free(jump)).map(Action::Later));
        }
        if net.left.requests > 0 {
            actions.push(Action::Request);
        }
        if net.left.faults == 0 {
            return;
        }
        for who in 0..SIZE {
            actions.push(Action::Killed(who));
            if arrived(who).next().is_some() {
                actions.push(Action::KilledInTurn(who));
            }
            let count: usize = arrived(who).map(|from| net.links[from][who].len()).sum();
            if count > 1 {
                actions.push(Action::Backwards(who));
            }
            if behind(&who) {
                actions.push(Action::KilledLearning(who));
            }
            for from in arrived(who) {
                actions.push(Action::Lost(from, who));
                if arrived(who).count() > 1 {
                    actions.push(Action::Late(from, who));
                }
            }
        }
    }

    fn next_state(&self, net: &Net, action: Action) -> Option<Net> {
        let mut next = net.clone();
        self.follow(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RULES[0], |_, net: &Net| net.wrong.is_none()),
            Property::always(RULES[1], same_end),
            Property::always(RULES[2], Self::heals),
            Property::sometimes(SIGHTS[0], |_, net: &Net| results(net) == [ChangeResult::Success]),
            Property::sometimes(SIGHTS[1], |_, net: &Net| {
                let crashed = net.nodes.iter().any(|node| node.crashes > 0);
                crashed && quiet(net) && results(net).last() == Some(&ChangeResult::Success)
            }),
            Property::sometimes(SIGHTS[2], |_, net: &Net| {
                results(net).contains(&ChangeResult::Timeout)
            }),
            Property::sometimes(SIGHTS[3], |_, net: &Net| {
                results(net).contains(&ChangeResult::Failed)
            }),
        ]
    }
}
