//! Binary agreement alone: mixed inputs, adversarial order, liars, crashes, and the coin's secrecy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use rand::RngExt;

use super::keyed::KeyedKeys;
use super::net::{Disk, Wires, keyed};
use crate::committee::Committee;
use crate::core::{Journal, Step, Target, Topic};
use crate::evidence::Evidence;
use crate::honeybadger::Seat;
use crate::honeybadger::agreement::{Agreement, ESTIMATE};
use crate::honeybadger::coin::Coin;
use crate::honeybadger::message::{AgreementMessage, Values};
use crate::honeybadger::votes::{Kind, Notes, Reading, Vote};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Source {
    Threshold,
    Public,
}

fn notes() -> Notes {
    Notes::new(Topic::Vote, b"test", [1; 8])
}

struct Table {
    source: Source,
    /// Makes the coins of each seed different.
    name: u64,
    agreements: Vec<Option<Agreement<KeyedKeys>>>,
    disks: Vec<Disk>,
    wires: Wires<AgreementMessage>,
    decided: Vec<Option<bool>>,
    /// An adversary that shows each member the value of its own parity first.
    splits: bool,
    /// Who said CONF (or a TERM that stands for it) to whom: receiver, round.
    confirmed: BTreeMap<(NodeIndex, u64), BTreeSet<NodeIndex>>,
    terms: BTreeMap<NodeIndex, Vec<(NodeIndex, u64)>>,
    released: BTreeSet<(NodeIndex, u64)>,
    last_round: u64,
    shares: usize,
    evidence: Vec<(NodeIndex, Evidence)>,
}

impl Table {
    fn new(n: usize, seed: u64, source: Source) -> Self {
        let mut table = Self {
            source,
            name: seed,
            agreements: (0..n).map(|_| None).collect(),
            disks: vec![Disk::default(); n],
            wires: Wires::new(n, seed),
            decided: vec![None; n],
            splits: seed.is_multiple_of(2),
            confirmed: BTreeMap::new(),
            terms: BTreeMap::new(),
            released: BTreeSet::new(),
            last_round: 0,
            shares: 0,
            evidence: Vec::new(),
        };
        for me in table.everybody() {
            table.start(me);
        }
        table
    }

    fn everybody(&self) -> Vec<NodeIndex> {
        self.wires.committee.members().collect()
    }

    fn correct(&self) -> Vec<NodeIndex> {
        let traitors = &self.wires.traitors;
        self.everybody().into_iter().filter(|me| !traitors.contains_key(me)).collect()
    }

    fn start(&mut self, me: NodeIndex) {
        let committee = self.wires.committee;
        let notes = notes();
        let votes = self.votes(me);
        let proposer = NodeIndex(0);
        let coin = match self.source {
            Source::Threshold => {
                let keys = keyed(committee.size()).swap_remove(me.get());
                Coin::Threshold { keys, name: self.name.to_be_bytes().to_vec() }
            }
            Source::Public => Coin::Public { seed: Digest([7; 32]), proposer },
        };
        let seat = Seat { committee, me, proposer, notes };
        let (agreement, step) = Agreement::open(seat, coin, &votes);
        self.agreements[me.get()] = Some(agreement);
        self.apply(me, step);
    }

    /// What a member remembers.
    fn votes(&self, me: NodeIndex) -> Vec<Vote> {
        let stored = self.disks[me.get()].votes(Topic::Vote);
        let read = |(key, bytes): &(Vec<u8>, Arc<[u8]>)| match notes().read(key, bytes) {
            Reading::Vote(vote) => Some(vote),
            Reading::Stale | Reading::Foreign => None,
        };
        stored.iter().filter_map(read).collect()
    }

    /// A member has one estimate in a round, also across restarts.
    fn check_estimates(&self) {
        for me in self.everybody() {
            let mut rounds = BTreeSet::new();
            for vote in self.votes(me) {
                let bval = matches!(vote.kind, Kind::BValFalse | Kind::BValTrue);
                if bval && vote.payload == [ESTIMATE] {
                    assert!(rounds.insert(vote.round), "{me} has two estimates");
                }
            }
        }
    }

    fn input(&mut self, me: NodeIndex, value: bool) {
        if let Some(agreement) = self.agreements[me.get()].as_mut() {
            let step = agreement.input(value);
            self.apply(me, step);
        }
    }

    fn apply(&mut self, me: NodeIndex, step: Step<AgreementMessage, bool>) {
        let Ok(released) = self.disks[me.get()].persist(step);
        for (target, message) in &released.sends {
            self.observe(me, message);
            self.wires.send(me, *target, message);
        }
        for value in released.outputs {
            let earlier = self.decided[me.get()].replace(value);
            assert!(earlier.is_none_or(|earlier| earlier == value), "{me} decides once");
        }
        self.evidence.extend(released.evidence.into_iter().map(|e| (me, e)));
    }

    /// The coin must not be known before `n - f` members are bound by their CONF.
    fn observe(&mut self, me: NodeIndex, message: &AgreementMessage) {
        match message {
            AgreementMessage::Conf { round, .. } => {
                self.last_round = self.last_round.max(*round);
                self.confirmed.entry((me, *round)).or_default().insert(me);
            }
            AgreementMessage::Term { from, .. } => {
                self.terms.entry(me).or_default().push((me, *from));
            }
            AgreementMessage::Share { round, .. } => {
                self.shares += 1;
                // After a restart it is only said again.
                if !self.released.insert((me, *round)) {
                    return;
                }
                let mut bound = self.confirmed.get(&(me, *round)).cloned().unwrap_or_default();
                let terms = self.terms.get(&me).into_iter().flatten();
                bound.extend(terms.filter(|(_, from)| from <= round).map(|(who, _)| *who));
                assert!(bound.contains(&me), "{me} releases a share before its own CONF");
                assert!(bound.len() >= self.wires.committee.correct(), "{me} releases too early");
            }
            _ => {}
        }
    }

    fn deliver(&mut self) -> bool {
        let favoured = |(_, to, message): &(NodeIndex, NodeIndex, AgreementMessage)| {
            let own = to.0 % 2 == 1;
            match message {
                AgreementMessage::BVal { value, .. }
                | AgreementMessage::Aux { value, .. }
                | AgreementMessage::Term { value, .. } => *value == own,
                AgreementMessage::Conf { values, .. } => *values == Values::one(own),
                AgreementMessage::Share { .. } | AgreementMessage::Coin { .. } => true,
            }
        };
        let next = match self.wires.flying.iter().position(favoured) {
            Some(at) if self.splits && !self.wires.chance(1) => Some(self.wires.flying.remove(at)),
            _ => self.wires.next(),
        };
        let Some((from, to, message)) = next else { return false };
        match &message {
            AgreementMessage::Conf { round, .. } => {
                self.confirmed.entry((to, *round)).or_default().insert(from);
            }
            AgreementMessage::Term { from: first, .. } => {
                self.terms.entry(to).or_default().push((from, *first));
            }
            _ => {}
        }
        if let Some(agreement) = self.agreements[to.get()].as_mut() {
            let step = agreement.receive(from, message);
            self.apply(to, step);
        }
        true
    }

    fn ask_again(&mut self) {
        for to in self.everybody() {
            for other in self.everybody().into_iter().filter(|other| *other != to) {
                let mut step = Step::new();
                if let Some(agreement) = &self.agreements[other.get()] {
                    agreement.repeat(to, &mut step);
                }
                self.apply(other, step);
            }
        }
    }

    fn finished(&self) -> bool {
        self.correct().iter().all(|me| self.decided[me.get()].is_some())
    }

    /// Runs to the end and returns the common decision.
    fn run(&mut self) -> bool {
        let mut left = 300_000;
        for _ in 0..50 {
            while !self.finished() && self.deliver() {
                left -= 1;
                assert!(left > 0, "round {} and no end", self.last_round);
            }
            if self.finished() {
                break;
            }
            self.ask_again();
        }
        self.check_estimates();
        let correct = self.correct();
        let decided: BTreeSet<bool> =
            correct.iter().map(|me| self.decided[me.get()].expect("all decide")).collect();
        assert_eq!(decided.len(), 1, "all decide the same");
        for (observer, evidence) in &self.evidence {
            let honest = correct.contains(observer) && correct.contains(&evidence.member);
            assert!(!honest, "a correct member is accused: {evidence:?}");
        }
        decided.contains(&true)
    }

    fn crash(&mut self, me: NodeIndex) {
        self.agreements[me.get()] = None;
        self.wires.flying.retain(|(_, to, _)| *to != me);
        self.confirmed.retain(|(who, _), _| *who != me);
        self.terms.remove(&me);
    }
}

fn mixed(table: &mut Table) {
    for me in table.everybody() {
        let value = table.wires.rng.random_bool(0.5);
        table.input(me, value);
    }
}

#[test]
fn one_input_of_all_is_the_decision() {
    for source in [Source::Threshold, Source::Public] {
        for n in [1, 2, 3, 4, 7, 10] {
            for value in [false, true] {
                for seed in 0..20 {
                    let mut table = Table::new(n, seed, source);
                    for me in table.everybody() {
                        table.input(me, value);
                    }
                    assert_eq!(table.run(), value);
                    assert_eq!(table.shares, 0, "the fixed coins suffice");
                }
            }
        }
    }
}

#[test]
fn mixed_inputs_end_in_any_order() {
    let mut late = 0;
    for source in [Source::Threshold, Source::Public] {
        for (n, seeds) in [(2, 60), (3, 60), (4, 400), (7, 80), (10, 25)] {
            for seed in 0..seeds {
                let mut table = Table::new(n, seed, source);
                mixed(&mut table);
                table.run();
                late += usize::from(table.last_round >= 2);
            }
        }
    }
    assert!(late > 20, "{late} runs needed a real coin");
}

#[test]
fn liars_cannot_split_it() {
    let mut late = 0;
    for (n, seeds) in [(4, 400), (7, 100), (10, 20)] {
        for seed in 0..seeds {
            let mut table = Table::new(n, seed, Source::Threshold);
            for i in 0..Committee::new(n).faulty() {
                let who = NodeIndex(((seed as usize + i) % n) as u16);
                table.wires.traitors.insert(
                    who,
                    Box::new(|_, to, message, rng| {
                        let own = to.0 % 2 == 1;
                        let lie = if rng.random_bool(0.8) { own } else { !own };
                        vec![match message {
                            AgreementMessage::BVal { round, .. } => {
                                AgreementMessage::BVal { round, value: lie }
                            }
                            AgreementMessage::Aux { round, .. } => {
                                AgreementMessage::Aux { round, value: lie }
                            }
                            AgreementMessage::Conf { round, .. } => {
                                AgreementMessage::Conf { round, values: Values::one(lie) }
                            }
                            AgreementMessage::Term { from, .. } => {
                                let from = if rng.random_bool(0.5) { 0 } else { from };
                                AgreementMessage::Term { value: lie, from }
                            }
                            AgreementMessage::Share { round, mut share } => {
                                share[0] ^= 1;
                                AgreementMessage::Share { round, share }
                            }
                            coin @ AgreementMessage::Coin { .. } => coin,
                        }]
                    }),
                );
            }
            mixed(&mut table);
            table.run();
            late += usize::from(table.last_round >= 2);
        }
    }
    assert!(late > 20, "{late} runs needed a real coin");
}

#[test]
fn crashes_change_no_decision() {
    for (n, seeds) in [(1, 10), (2, 60), (4, 300), (7, 60)] {
        for seed in 0..seeds {
            let mut table = Table::new(n, seed, Source::Threshold);
            mixed(&mut table);
            for _ in 0..4 {
                for _ in 0..table.wires.rng.random_range(0..20 * n) {
                    table.deliver();
                }
                let all = table.wires.chance(8);
                for me in table.everybody() {
                    if all || table.wires.chance(6) {
                        table.crash(me);
                        table.start(me);
                    }
                }
            }
            table.run();
        }
    }
}

/// A member without an input learns the decision from f + 1 TERM, and f are not enough.
#[test]
fn term_of_one_correct_member_decides() {
    let mut table = Table::new(4, 0, Source::Threshold);
    let term = AgreementMessage::Term { value: false, from: 5 };
    let me = NodeIndex(0);
    let mut hear = |from| {
        let agreement = table.agreements[0].as_mut().unwrap();
        let step = agreement.receive(NodeIndex(from), term.clone());
        table.apply(me, step);
        table.decided[0]
    };
    assert_eq!(hear(1), None);
    assert_eq!(hear(1), None, "one vote for each sender");
    assert_eq!(hear(2), Some(false));
    let said: Vec<AgreementMessage> =
        table.wires.flying.iter().map(|(_, _, message)| message.clone()).collect();
    assert!(said.contains(&term), "its own TERM counts from the same round on");
    assert!(said.contains(&AgreementMessage::BVal { round: 0, value: false }));
}

/// Two different votes of a kind are evidence; the first counts.
#[test]
fn a_second_vote_is_evidence() {
    let pairs = [
        (
            AgreementMessage::Aux { round: 1, value: true },
            AgreementMessage::Aux { round: 1, value: false },
        ),
        (
            AgreementMessage::Conf { round: 3, values: Values::one(true) },
            AgreementMessage::Conf { round: 3, values: Values::one(false) },
        ),
        (
            AgreementMessage::Term { value: true, from: 2 },
            AgreementMessage::Term { value: true, from: 3 },
        ),
    ];
    for (first, second) in pairs {
        let mut table = Table::new(4, 0, Source::Threshold);
        for (message, accused) in [(&first, 0), (&first, 0), (&second, 1)] {
            let agreement = table.agreements[0].as_mut().unwrap();
            let step = agreement.receive(NodeIndex(1), message.clone());
            table.apply(NodeIndex(0), step);
            assert_eq!(table.evidence.len(), accused, "{message:?}");
        }
    }
}

/// Rounds too far ahead are not kept.
#[test]
fn far_rounds_cost_nothing() {
    let mut table = Table::new(4, 0, Source::Threshold);
    for round in [9, 10, 1 << 40, u64::MAX] {
        let agreement = table.agreements[0].as_mut().unwrap();
        for message in [
            AgreementMessage::BVal { round, value: true },
            AgreementMessage::Aux { round, value: true },
            AgreementMessage::Aux { round, value: false },
        ] {
            let step = agreement.receive(NodeIndex(1), message);
            assert!(step.is_empty(), "not even kept to be compared");
        }
    }
}

/// A member that is behind gets the coin of its round from one that has passed it.
#[test]
fn laggards_get_the_coin() {
    let mut served = 0;
    for seed in 0..400 {
        let mut table = Table::new(4, seed, Source::Threshold);
        mixed(&mut table);
        let coin = |(_, _, m): &(NodeIndex, NodeIndex, AgreementMessage)| {
            matches!(m, AgreementMessage::Coin { .. })
        };
        let mut seen = false;
        while !table.finished() && table.deliver() {
            seen |= table.wires.flying.iter().any(coin);
        }
        served += usize::from(seen);
        table.run();
    }
    assert!(served > 5, "coins were forwarded in {served} runs");
}

/// Saying everything again goes to the one that asked.
#[test]
fn repeats_go_to_one() {
    let mut table = Table::new(4, 1, Source::Threshold);
    mixed(&mut table);
    table.run();
    let mut step: Step<AgreementMessage, bool> = Step::new();
    table.agreements[2].as_ref().unwrap().repeat(NodeIndex(1), &mut step);
    let Ok(released) = table.disks[2].persist(step);
    assert!(!released.sends.is_empty());
    assert!(released.sends.iter().all(|(to, _)| *to == Target::One(NodeIndex(1))));
}

/// A member that has passed a round still relays BVAL in it: with a silent traitor, the last one in
/// that round needs the relays of all correct members. (Found by the model.)
#[test]
fn who_has_passed_a_round_still_relays_in_it() {
    for restarts in [false, true] {
        let mut table = Table::new(4, 1, Source::Public);
        let [a, b, c, traitor] = [0, 1, 2, 3].map(NodeIndex);
        table.wires.traitors.insert(traitor, Box::new(|_, _, _, _| Vec::new()));
        table.wires.twice = 0;
        table.agreements[traitor.get()] = None;
        for (me, value) in [(a, false), (b, false), (c, true)] {
            table.input(me, value);
        }
        let bval = |value| AgreementMessage::BVal { round: 0, value };
        let aux = AgreementMessage::Aux { round: 0, value: false };
        let conf = AgreementMessage::Conf { round: 0, values: Values::one(false) };
        let script = [
            (a, c, bval(false)),
            (b, c, bval(false)),
            (traitor, b, bval(true)),
            (c, b, bval(true)),
            (b, a, bval(false)),
            (c, a, bval(false)),
            (c, a, aux.clone()),
            (traitor, a, aux.clone()),
            (a, c, aux.clone()),
            (traitor, c, aux),
            (c, a, conf.clone()),
            (traitor, a, conf),
        ];
        for (from, to, message) in script {
            let flight = (from, to, message.clone());
            match table.wires.flying.iter().position(|flying| *flying == flight) {
                Some(at) => drop(table.wires.flying.remove(at)),
                None => assert_eq!(from, traitor, "{from} has not said {message:?}"),
            }
            let agreement = table.agreements[to.get()].as_mut().expect("up");
            let step = agreement.receive(from, message);
            table.apply(to, step);
        }
        let next = AgreementMessage::BVal { round: 1, value: false };
        assert!(table.wires.flying.contains(&(a, c, next)), "the first has passed round 0");
        assert!(!table.wires.flying.contains(&(a, c, bval(true))), "before it heard of a 1");
        if restarts {
            table.crash(a);
            table.start(a);
        }
        table.run();
    }
}
