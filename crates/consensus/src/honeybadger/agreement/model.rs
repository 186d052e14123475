//! A small model of binary agreement: four members of which one is a traitor, explored state by
//! state on the real [`Agreement`].
//!
//! # The state
//! What each of the three correct members has said. They say nothing that they have not noted
//! (checked), so that is also what each finds on its disk. Nothing else is kept: before every
//! transition the member is *opened from its notes*, as after a crash, and hears again, of all that
//! was ever said to it, whatever the network and the traitor like. So every run is covered in which
//! * the network delivers in any order, late, never, or twice (every message here comes twice);
//! * the traitor says anything to anybody at any time: BVAL, AUX, CONF of the round, TERM for now or
//!   for a far round;
//! * any correct members crash and come back, as often as they like, at any point;
//!
//! and the runs without a crash are among them: what a member has heard it can hear again, and what
//! it hears without answering it can as well hear later, just before it answers. A member is given
//! a set of messages and stopped as soon as it notes something new; what more it would have said at
//! once, it says in its next transition.
//!
//! Only messages that a rule can use next are offered: BVAL until the own AUX, BVAL and AUX until
//! the own CONF, BVAL and CONF after it, all of the member's own round; BVAL of rounds it has passed;
//! TERM always.
//!
//! # Reductions
//! Members are sorted (they differ in nothing but what they said). What everybody has passed is
//! dropped: nobody listens to earlier rounds.
//!
//! # What the bounds leave out
//! Rounds after [`Table::rounds`], and members more than [`Table::lag`] rounds behind; but from one
//! in [`Table::heal`] states all decide alike, in as many rounds as it takes, once the traitor is
//! silent and everything arrives. Breadth first, [`Table::most`] transitions. A member that
//! has decided goes silently through the rounds its TERM stands for; it could only speak there if
//! somebody correct estimated the other value after a decision, which `locked` excludes.

mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::BlockId;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{Agreement, AgreementStep, ESTIMATE, RELAY};
use crate::committee::Committee;
use crate::core::{Journal, Record, Released, Target, Topic};
use crate::honeybadger::Seat;
use crate::honeybadger::coin::{Coin, Unkeyed};
use crate::honeybadger::message::{AgreementMessage, Values};
use crate::honeybadger::votes::{Kind, Notes, Reading, Vote};

/// Rounds whose statements are kept.
const KEPT: usize = 6;
/// A round that nobody reaches: a traitor's TERM may stand for it.
const FAR: u64 = 100;
/// The members of a session: the one that hears, the two other correct ones, the traitor.
const ME: NodeIndex = NodeIndex(0);
const OTHERS: [NodeIndex; 2] = [NodeIndex(1), NodeIndex(2)];
const TRAITOR: NodeIndex = NodeIndex(3);

const BVAL: [[u8; 2]; 2] = [[1, 2], [4, 8]];
const AUX: [u8; 2] = [16, 32];
const CONF: u8 = 64;

/// What one correct member has said and noted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
struct Member {
    input: bool,
    /// Of each round: BVAL of each value as estimate or as relay, AUX, CONF.
    rounds: [u8; KEPT],
    term: Option<(bool, u64)>,
}

impl Member {
    fn begun(&self) -> bool {
        self.term.is_some() || self.rounds.iter().any(|said| *said != 0)
    }

    /// The round it is in when it is opened: that of its last estimate.
    fn round(&self) -> usize {
        let estimates = BVAL[0][0] | BVAL[1][0];
        self.rounds.iter().rposition(|said| said & estimates != 0).unwrap_or(0)
    }

    /// Adds a statement; an error says how it contradicts an earlier one.
    fn note(&mut self, vote: &Vote) -> Result<(), &'static str> {
        let byte = *vote.payload.first().ok_or("an empty note")?;
        if vote.kind == Kind::Term {
            let term = (byte == 1, vote.round);
            let known = self.term.replace(term);
            return if known.is_none_or(|known| known == term) { Ok(()) } else { Err("two TERM") };
        }
        let Some(said) = usize::try_from(vote.round).ok().and_then(|r| self.rounds.get_mut(r))
        else {
            return Ok(());
        };
        let before = *said;
        match vote.kind {
            Kind::BValFalse | Kind::BValTrue => {
                let value = usize::from(vote.kind == Kind::BValTrue);
                let [estimate, relay] = BVAL[value];
                *said &= !(estimate | relay);
                *said |= if byte == ESTIMATE { estimate } else { relay };
                let other = before & BVAL[1 - value][0] != 0;
                if byte == ESTIMATE && other {
                    return Err("two estimates in a round");
                }
                if byte == RELAY && before & estimate != 0 {
                    return Err("an estimate becomes a relay");
                }
            }
            Kind::Aux => {
                *said |= AUX[usize::from(byte)];
                if before & AUX[1 - usize::from(byte)] != 0 {
                    return Err("two AUX");
                }
            }
            Kind::Conf => {
                let known = before / CONF;
                *said = before % CONF + byte * CONF;
                if known != 0 && known != byte {
                    return Err("two CONF");
                }
            }
            _ => return Err("no statement of an agreement"),
        }
        Ok(())
    }

    /// Its notes, as the journal keeps them.
    fn votes(&self) -> Vec<Vote> {
        let mut votes = Vec::new();
        let mut add = |kind, round: usize, byte| {
            let round = round as u64;
            votes.push(Vote { proposer: NodeIndex(0), kind, round, payload: vec![byte] });
        };
        for (round, said) in self.rounds.iter().enumerate() {
            for (kind, [estimate, relay]) in [Kind::BValFalse, Kind::BValTrue].into_iter().zip(BVAL)
            {
                if said & estimate != 0 {
                    add(kind, round, ESTIMATE);
                }
                if said & relay != 0 {
                    add(kind, round, RELAY);
                }
            }
            for value in [0, 1] {
                if said & AUX[usize::from(value)] != 0 {
                    add(Kind::Aux, round, value);
                }
            }
            if said / CONF != 0 {
                add(Kind::Conf, round, said / CONF);
            }
        }
        if let Some((value, from)) = self.term {
            let payload = vec![u8::from(value)];
            let term = Vote { proposer: NodeIndex(0), kind: Kind::Term, round: from, payload };
            votes.push(term);
        }
        votes
    }

    /// What it said in a round.
    fn said_in(&self, round: usize) -> Vec<AgreementMessage> {
        let said = self.rounds[round];
        let round = round as u64;
        let mut messages = Vec::new();
        for (value, [estimate, relay]) in [false, true].into_iter().zip(BVAL) {
            if said & (estimate | relay) != 0 {
                messages.push(AgreementMessage::BVal { round, value });
            }
        }
        for value in [false, true] {
            if said & AUX[usize::from(value)] != 0 {
                messages.push(AgreementMessage::Aux { round, value });
            }
        }
        if let Some(values) = Values::from_bits(said / CONF) {
            messages.push(AgreementMessage::Conf { round, values });
        }
        messages
    }

    fn said_term(&self) -> Option<AgreementMessage> {
        self.term.map(|(value, from)| AgreementMessage::Term { value, from })
    }

    /// Whether this is among what it noted.
    fn has(&self, message: &AgreementMessage) -> bool {
        match message {
            AgreementMessage::Term { .. } => self.said_term().as_ref() == Some(message),
            AgreementMessage::BVal { round, .. }
            | AgreementMessage::Aux { round, .. }
            | AgreementMessage::Conf { round, .. }
            | AgreementMessage::Share { round, .. }
            | AgreementMessage::Coin { round, .. } => match usize::try_from(*round) {
                Ok(round) if round < KEPT => self.said_in(round).contains(message),
                _ => true,
            },
        }
    }

    /// The same without rounds outside of this range.
    fn within(mut self, rounds: std::ops::Range<usize>) -> Self {
        for (round, said) in self.rounds.iter_mut().enumerate() {
            if !rounds.contains(&round) {
                *said = 0;
            }
        }
        self.input = false;
        self
    }
}

/// The three correct members, sorted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    members: [Member; 3],
    /// What a member did that no member may do.
    wrong: Option<&'static str>,
}

impl State {
    fn new(inputs: [bool; 3]) -> Self {
        let members = inputs.map(|input| Member { input, ..Member::default() });
        Self { members, wrong: None }
    }

    fn after(mut self, who: usize, outcome: Outcome) -> Self {
        self.members[who] = outcome.member;
        self.wrong = self.wrong.or(outcome.wrong);
        let passed = self.members.iter().map(Member::round).min().unwrap_or(0);
        for member in &mut self.members {
            member.rounds[..passed].fill(0);
        }
        self.members.sort_unstable();
        self
    }

    fn decided(&self) -> impl Iterator<Item = bool> {
        self.members.iter().filter_map(|member| member.term).map(|(value, _)| value)
    }

    /// Nobody decides what another did not.
    fn agreement(&self) -> bool {
        !(self.decided().any(|value| value) && self.decided().any(|value| !value))
    }

    /// What is decided was the input of a correct member.
    fn validity(&self) -> bool {
        self.decided().all(|value| self.members.iter().any(|member| member.input == value))
    }

    /// From the round that a decision counts from, nobody estimates the other value.
    fn locked(&self) -> bool {
        let terms = self.members.iter().filter_map(|member| member.term);
        let first = terms.min_by_key(|(_, from)| *from);
        let Some((value, from)) = first else { return true };
        let other = BVAL[usize::from(!value)][0];
        let from = usize::try_from(from).unwrap_or(KEPT).min(KEPT);
        self.members.iter().all(|member| member.rounds[from..].iter().all(|said| said & other == 0))
    }
}

/// What a member has said after a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Outcome {
    member: Member,
    wrong: Option<&'static str>,
}

/// What a member hears, in this order.
type Heard = Vec<(NodeIndex, AgreementMessage)>;

/// Keeps what a step wants to be durable, for the model to read.
#[derive(Default)]
struct Scribe(Vec<Record>);

impl Journal for Scribe {
    type Error = Infallible;

    fn append(&mut self, records: &[Record]) -> Result<(), Infallible> {
        self.0.extend_from_slice(records);
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

fn notes() -> Notes {
    Notes::new(Topic::Vote, b"model", [1; 8])
}

/// A member opened from its notes.
#[derive(Clone)]
struct Session {
    agreement: Agreement<Unkeyed>,
    outcome: Outcome,
    /// What it has sent and nobody took yet.
    sent: Vec<(Target, AgreementMessage)>,
    decisions: usize,
}

impl Session {
    fn open(table: &Table, me: NodeIndex, member: Member, seed: Digest) -> Self {
        let mut votes = member.votes();
        votes.retain(|vote| Some(vote.kind) != table.forgets);
        let proposer = NodeIndex(0);
        let seat = Seat { committee: table.committee, me, proposer, notes: notes() };
        let (agreement, step) = Agreement::open(seat, Coin::Public { seed, proposer }, &votes);
        let outcome = Outcome { member, wrong: None };
        let mut session = Self { agreement, outcome, sent: Vec::new(), decisions: 0 };
        session.take(step);
        session
    }

    fn wrong(&mut self, what: &'static str) {
        self.outcome.wrong.get_or_insert(what);
    }

    /// Takes a step over; whether it noted anything.
    fn take(&mut self, step: AgreementStep) -> bool {
        let mut scribe = Scribe::default();
        let Ok(Released { sends, outputs, evidence, .. }) = scribe.persist(step);
        for record in &scribe.0 {
            let Record::Note { key, bytes, .. } = record else { panic!("no vote: {record:?}") };
            let Reading::Vote(vote) = notes().read(key, bytes) else { panic!("not its own note") };
            if let Err(what) = self.outcome.member.note(&vote) {
                self.wrong(what);
            }
        }
        for (_, message) in &sends {
            if !self.outcome.member.has(message) {
                self.wrong("says what it has not noted");
            }
        }
        for value in outputs {
            self.decisions += 1;
            let noted = self.outcome.member.term.map(|(noted, _)| noted);
            if self.decisions > 1 || noted != Some(value) {
                self.wrong("decides twice, or not what it noted");
            }
        }
        if evidence.iter().any(|evidence| evidence.member != TRAITOR) {
            self.wrong("accuses a correct member");
        }
        self.sent.extend(sends);
        !scribe.0.is_empty()
    }

    fn hear(&mut self, from: NodeIndex, message: &AgreementMessage) -> bool {
        let step = self.agreement.receive(from, message.clone());
        let spoke = self.take(step);
        let step = self.agreement.receive(from, message.clone());
        if self.take(step) {
            self.wrong("a duplicate makes it speak");
        }
        spoke
    }
}

/// One of these is heard, or none.
type Slot = Heard;

const fn rank(message: &AgreementMessage) -> u8 {
    match message {
        AgreementMessage::BVal { .. } => 0,
        AgreementMessage::Aux { .. } => 1,
        AgreementMessage::Conf { .. } => 2,
        AgreementMessage::Term { .. } => 3,
        AgreementMessage::Share { .. } | AgreementMessage::Coin { .. } => 4,
    }
}

/// The highest rank of what a member can use in its round, but for TERM.
fn useful(me: &Member, forgets: Option<Kind>) -> u8 {
    let said = me.rounds[me.round()];
    if said & (AUX[0] | AUX[1]) == 0 || forgets == Some(Kind::Aux) {
        0
    } else if said / CONF == 0 || forgets == Some(Kind::Conf) {
        1
    } else {
        2
    }
}

/// What the traitor may say of a round: BVAL of both values, and one AUX and CONF, to each.
fn lies(round: usize, rank: u8) -> Vec<Slot> {
    let round = round as u64;
    let bval = |value| vec![(TRAITOR, AgreementMessage::BVal { round, value })];
    let aux = |value| (TRAITOR, AgreementMessage::Aux { round, value });
    let conf = |bits| {
        let values = Values::from_bits(bits).expect("1 to 3");
        (TRAITOR, AgreementMessage::Conf { round, values })
    };
    let mut slots = vec![bval(false), bval(true)];
    match rank {
        1 => slots.push([false, true].map(aux).to_vec()),
        2 => slots.push([1, 2, 3].map(conf).to_vec()),
        _ => {}
    }
    slots
}

/// Hears of each slot one message or none, in all ways, and stops where the member speaks.
fn listen(
    session: &Session,
    before: Member,
    slots: &[Slot],
    heard: &mut Heard,
    outcomes: &mut BTreeMap<Outcome, Heard>,
) {
    if session.outcome.member != before || session.outcome.wrong.is_some() {
        outcomes.entry(session.outcome).or_insert_with(|| heard.clone());
        return;
    }
    let Some((slot, rest)) = slots.split_first() else { return };
    listen(session, before, rest, heard, outcomes);
    for (from, message) in slot {
        let mut session = session.clone();
        session.hear(*from, message);
        heard.push((*from, message.clone()));
        listen(&session, before, rest, heard, outcomes);
        heard.pop();
    }
}

/// A round, a member, and the two others as it may hear them.
type Scene = (usize, Member, [Member; 2]);
/// What may follow, and after hearing what.
type Scenes = BTreeMap<Scene, Arc<Vec<(Outcome, Arc<Heard>)>>>;

/// What is explored.
struct Table {
    /// Thresholds; a test that wants a broken member gives another size.
    committee: Committee,
    /// Notes of this kind are lost in a crash: a test's broken member.
    forgets: Option<Kind>,
    /// Seeds of the public coin; more than one is a test's broken coin, each member its own.
    seeds: Vec<Digest>,
    inputs: Vec<[bool; 3]>,
    /// Rounds in which members speak.
    rounds: usize,
    /// How many rounds apart members may be.
    lag: usize,
    /// From one in so many states, it is tried whether all decide once the network is kind.
    heal: u64,
    /// Stops after about so many transitions, breadth first.
    most: usize,
    scenes: Mutex<Scenes>,
}

impl Table {
    fn new(rounds: usize, lag: usize) -> Self {
        assert!(rounds < KEPT, "the round after the last is kept, too");
        Self {
            committee: Committee::new(4),
            forgets: None,
            seeds: vec![Digest([7; 32])],
            inputs: [0, 1, 2, 3].map(|ones| [0, 1, 2].map(|place| place >= 3 - ones)).to_vec(),
            rounds,
            lag,
            heal: 256,
            most: usize::MAX,
            scenes: Mutex::new(Scenes::new()),
        }
    }

    /// What a member may have said after it heard something of round `at`: its own, or one it has
    /// passed.
    fn next(&self, me: Member, others: [Member; 2], at: usize) -> Arc<Vec<(Outcome, Arc<Heard>)>> {
        let mut others = others.map(|other| other.within(at..at + 1));
        others.sort_unstable();
        let scene = (at, me.within(at..KEPT), others);
        let known = self.scenes.lock().expect("nobody panics here").get(&scene).cloned();
        if let Some(known) = known {
            return known;
        }
        let mut outcomes = BTreeMap::new();
        for slots in self.offers(&scene) {
            for seed in &self.seeds {
                let session = Session::open(self, ME, scene.1, *seed);
                listen(&session, scene.1, &slots, &mut Heard::new(), &mut outcomes);
            }
        }
        let found = outcomes.into_iter().map(|(outcome, heard)| (outcome, Arc::new(heard)));
        let found = Arc::new(found.collect());
        let copy = Arc::clone(&found);
        self.scenes.lock().expect("nobody panics here").insert(scene, copy);
        found
    }

    /// What a member may be given to hear, in the order of the rules.
    fn offers(&self, scene: &Scene) -> Vec<Vec<Slot>> {
        let (at, me, others) = scene;
        let rank_now = if *at < me.round() { 0 } else { useful(me, self.forgets) };
        let terms = OTHERS
            .into_iter()
            .zip(others)
            .filter_map(|(from, other)| Some(vec![(from, other.said_term()?)]));
        let terms: Vec<Slot> = terms.collect();
        let mut lies_of_term = Slot::new();
        for value in [false, true] {
            for from in [0, FAR] {
                lies_of_term.push((TRAITOR, AgreementMessage::Term { value, from }));
            }
        }
        let mut offers = vec![[terms.clone(), vec![lies_of_term]].concat()];
        if me.begun() {
            let mut slots = lies(*at, rank_now);
            for (from, other) in OTHERS.into_iter().zip(others) {
                let mut messages = other.said_in(*at);
                messages.retain(|message| rank(message) == 0 || rank(message) == rank_now);
                slots.extend(messages.into_iter().map(|message| vec![(from, message)]));
            }
            slots.extend(terms);
            slots.sort_by_key(|slot| slot.first().map(|(_, message)| rank(message)));
            offers.push(slots);
        }
        offers
    }

    fn input(&self, me: Member) -> Outcome {
        let mut session = Session::open(self, ME, me, self.seeds[0]);
        let step = session.agreement.input(me.input);
        session.take(step);
        session.outcome
    }

    /// Whether all decide alike once everything said arrives, and the traitor is silent.
    fn heals(&self, state: &State) -> bool {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        if !hasher.finish().is_multiple_of(self.heal) {
            return true;
        }
        let mut sessions = Vec::new();
        for (index, member) in state.members.into_iter().enumerate() {
            let mut session = Session::open(self, NodeIndex(index as u16), member, self.seeds[0]);
            if !session.agreement.begun() {
                let step = session.agreement.input(member.input);
                session.take(step);
            }
            sessions.push(session);
        }
        let mut flying = VecDeque::new();
        for _ in 0..10_000 {
            for (index, session) in sessions.iter_mut().enumerate() {
                for (target, message) in session.sent.drain(..) {
                    for to in 0..3 {
                        let meant = match target {
                            Target::All => to != index,
                            Target::One(one) => one.get() == to,
                        };
                        if meant {
                            flying.push_back((index, to, message.clone()));
                        }
                    }
                }
            }
            let Some((from, to, message)) = flying.pop_front() else { break };
            sessions[to].hear(NodeIndex(from as u16), &message);
        }
        let members = [0, 1, 2].map(|index| sessions[index].outcome.member);
        let healed = State { members, wrong: None };
        healed.decided().count() == 3
            && healed.agreement()
            && sessions.iter().all(|session| session.outcome.wrong.is_none())
    }

    /// Explores everything within the bounds, or until what is looked for is found.
    fn explore(self, wanted: HasDiscoveries) -> Findings {
        let most = self.most;
        let checker = self.checker().finish_when(wanted).target_state_count(most);
        let checker = checker.spawn_bfs().join();
        let states = checker.unique_state_count();
        let depth = checker.max_depth();
        let found = checker.discoveries();
        let path = |name: &&'static str| {
            let path = found.get(*name)?;
            Some(format!("{name}: {:#?}", path.clone().into_vec()))
        };
        let violated = RULES.iter().filter_map(path).collect();
        let seen = SIGHTS.into_iter().filter(|name| found.contains_key(name)).collect();
        Findings { states, depth, violated, seen }
    }
}

/// What must hold in every state.
const RULES: [&str; 5] = ["agreement", "validity", "integrity", "locked", "heals"];
/// What must be seen in some state.
const SIGHTS: [&str; 3] = ["decides 0", "decides 1", "all decide, of mixed inputs"];

struct Findings {
    states: usize,
    depth: usize,
    /// Rules that a state breaks, with the way there.
    violated: Vec<String>,
    seen: Vec<&'static str>,
}

#[derive(Clone, PartialEq, Debug)]
enum Action {
    /// A member gets its input.
    Input(usize, Outcome),
    /// A member hears this, and then has said what the outcome has.
    Hears(usize, Arc<Heard>, Outcome),
}

impl Model for Table {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.inputs.iter().copied().map(State::new).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, me) in state.members.into_iter().enumerate() {
            if state.wrong.is_some() {
                return;
            }
            let others = [(who + 1) % 3, (who + 2) % 3].map(|other| state.members[other]);
            if !me.begun() {
                actions.push(Action::Input(who, self.input(me)));
            }
            let last = me.round().min(self.rounds - 1);
            let lowest = others.iter().map(Member::round).min().unwrap_or(0).min(me.round());
            for at in lowest..=last {
                for (outcome, heard) in self.next(me, others, at).iter() {
                    let mut outcome = *outcome;
                    outcome.member.input = me.input;
                    outcome.member.rounds[..at].copy_from_slice(&me.rounds[..at]);
                    actions.push(Action::Hears(who, Arc::clone(heard), outcome));
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        match action {
            Action::Input(who, outcome) | Action::Hears(who, _, outcome) => {
                Some(state.after(who, outcome))
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RULES[0], |_, state: &State| state.agreement()),
            Property::always(RULES[1], |_, state: &State| state.validity()),
            Property::always(RULES[2], |_, state: &State| state.wrong.is_none()),
            Property::always(RULES[3], |_, state: &State| state.locked()),
            Property::always(RULES[4], |table: &Self, state: &State| table.heals(state)),
            Property::sometimes(SIGHTS[0], |_, state: &State| state.decided().any(|value| !value)),
            Property::sometimes(SIGHTS[1], |_, state: &State| state.decided().any(|value| value)),
            Property::sometimes(SIGHTS[2], |_, state: &State| {
                let mixed = state.members.iter().any(|member| member.input)
                    && state.members.iter().any(|member| !member.input);
                mixed && state.decided().count() == 3
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        let rounds = || state.members.iter().map(Member::round);
        let (last, first) = (rounds().max().unwrap_or(0), rounds().min().unwrap_or(0));
        last - first <= self.lag
    }
}
