//! Reliable broadcast alone: thresholds, totality, and one vote for each sender.

use std::collections::BTreeSet;

use quorate_crypto::threshold::NodeIndex;
use rand::RngExt;

use super::net::{Disk, Wires};
use crate::committee::Committee;
use crate::core::{Journal, Step, Topic};
use crate::evidence::{Evidence, Fault};
use crate::honeybadger::Seat;
use crate::honeybadger::broadcast::{Broadcast, Delivery};
use crate::honeybadger::message::{BroadcastMessage, Fragment};
use crate::honeybadger::shards;
use crate::honeybadger::votes::Notes;
use crate::limits::MAX_PROPOSAL;

const PROPOSER: NodeIndex = NodeIndex(0);

struct Table {
    broadcasts: Vec<Broadcast>,
    wires: Wires<BroadcastMessage>,
    delivered: Vec<Vec<Delivery>>,
    evidence: Vec<Evidence>,
}

fn open(committee: Committee, me: NodeIndex) -> Broadcast {
    let notes = Notes::new(Topic::Vote, b"test", [1; 8]);
    let (broadcast, step) = Broadcast::open(Seat { committee, me, proposer: PROPOSER, notes }, &[]);
    assert!(step.is_empty());
    broadcast
}

impl Table {
    fn new(n: usize, seed: u64) -> Self {
        let wires = Wires::new(n, seed);
        let committee = wires.committee;
        Self {
            broadcasts: committee.members().map(|me| open(committee, me)).collect(),
            wires,
            delivered: vec![Vec::new(); n],
            evidence: Vec::new(),
        }
    }

    fn apply(&mut self, me: NodeIndex, step: Step<BroadcastMessage, Delivery>) {
        let Ok(released) = Disk::default().persist(step);
        for (target, message) in released.sends {
            self.wires.send(me, target, &message);
        }
        self.delivered[me.get()].extend(released.outputs);
        self.evidence.extend(released.evidence);
    }

    fn propose(&mut self, value: &[u8]) {
        let step = self.broadcasts[PROPOSER.get()].propose(value);
        self.apply(PROPOSER, step);
    }

    fn hear(&mut self, me: u16, from: u16, message: BroadcastMessage) {
        let step = self.broadcasts[usize::from(me)].receive(NodeIndex(from), message);
        self.apply(NodeIndex(me), step);
    }

    fn run(&mut self) {
        while let Some((from, to, message)) = self.wires.next() {
            self.hear(to.0, from.0, message);
        }
    }
}

fn value(n: usize, length: usize) -> Delivery {
    Delivery::Value(vec![n as u8; length].into())
}

#[test]
fn all_deliver_what_was_proposed() {
    for n in [1, 2, 3, 4, 5, 6, 7, 10, 13] {
        for length in [0, 1, 2, 5, 1_000, 65_537] {
            for seed in 0..5 {
                let mut table = Table::new(n, seed);
                table.propose(&vec![n as u8; length]);
                table.run();
                for delivered in &table.delivered {
                    assert_eq!(*delivered, [value(n, length)], "n {n} length {length}");
                }
                assert_eq!(table.evidence, []);
            }
        }
    }
}

#[test]
fn the_largest_proposal_fits() {
    let mut table = Table::new(4, 0);
    table.propose(&vec![4; MAX_PROPOSAL]);
    table.run();
    assert!(table.delivered.iter().all(|d| *d == [value(4, MAX_PROPOSAL)]));
    // A byte more is nobody's proposal: its shards are refused.
    let fragments = shards::split(Committee::new(4), &vec![4; MAX_PROPOSAL + 8]);
    let mut table = Table::new(4, 0);
    table.hear(1, 0, BroadcastMessage::Init(fragments[1].clone()));
    assert_eq!(table.evidence[0].fault, Fault::BadShard);
}

/// All or nobody: a proposer that gives some members nothing, or another proposal.
#[test]
fn either_all_deliver_or_nobody() {
    let (mut some, mut none) = (0, 0);
    for n in [4, 7, 10] {
        for seed in 0..200 {
            let mut table = Table::new(n, seed);
            let committee = table.wires.committee;
            let first = shards::split(committee, b"first");
            let second = shards::split(committee, b"the second one");
            for to in committee.members().skip(1) {
                let fragments = match table.wires.rng.random_range(0..10_u8) {
                    0..=6 => &first,
                    7..=8 => &second,
                    _ => continue,
                };
                let (init, echo, ready) = (
                    BroadcastMessage::Init(fragments[to.get()].clone()),
                    BroadcastMessage::Echo(fragments[0].clone()),
                    BroadcastMessage::Ready(fragments[0].root),
                );
                table.wires.flying.push((PROPOSER, to, init));
                table.wires.flying.push((PROPOSER, to, echo));
                if table.wires.chance(8) {
                    table.wires.flying.push((PROPOSER, to, ready));
                }
            }
            table.wires.traitors.insert(PROPOSER, Box::new(|_, _, _, _| Vec::new()));
            table.run();
            let delivered: Vec<&Vec<Delivery>> = table.delivered[1..].iter().collect();
            let distinct: BTreeSet<String> = delivered.iter().map(|d| format!("{d:?}")).collect();
            assert_eq!(distinct.len(), 1, "n {n} seed {seed}: {distinct:?}");
            if delivered[0].is_empty() { none += 1 } else { some += 1 }
        }
    }
    assert!(some > 20 && none > 20, "{some} delivered, {none} not");
}

fn fragments() -> Vec<Fragment> {
    shards::split(Committee::new(4), b"a proposal of some length")
}

fn ready_said(table: &Table) -> bool {
    let ready = |(_, _, m): &(NodeIndex, NodeIndex, BroadcastMessage)| {
        matches!(m, BroadcastMessage::Ready(_))
    };
    table.wires.flying.iter().any(ready)
}

#[test]
fn ready_needs_n_minus_f_echo() {
    let mut table = Table::new(4, 0);
    let fragments = fragments();
    table.hear(1, 2, BroadcastMessage::Echo(fragments[2].clone()));
    table.hear(1, 2, BroadcastMessage::Echo(fragments[2].clone()));
    table.hear(1, 3, BroadcastMessage::Echo(fragments[3].clone()));
    assert!(!ready_said(&table), "two senders are not three");
    table.hear(1, 0, BroadcastMessage::Init(fragments[1].clone()));
    assert!(ready_said(&table), "the own ECHO is the third");
    assert_eq!(table.delivered[1], []);
    table.hear(1, 2, BroadcastMessage::Ready(fragments[0].root));
    assert_eq!(table.delivered[1], []);
    table.hear(1, 3, BroadcastMessage::Ready(fragments[0].root));
    assert_eq!(table.delivered[1].len(), 1, "its own READY is the third");
}

#[test]
fn ready_of_one_correct_member_is_amplified() {
    let mut table = Table::new(4, 0);
    let root = fragments()[0].root;
    table.hear(1, 2, BroadcastMessage::Ready(root));
    table.hear(1, 2, BroadcastMessage::Ready(root));
    assert!(!ready_said(&table));
    table.hear(1, 3, BroadcastMessage::Ready(root));
    assert!(ready_said(&table));
    assert_eq!(table.delivered[1], [], "n - 2f shards are needed");
    table.hear(1, 2, BroadcastMessage::Echo(fragments()[2].clone()));
    assert_eq!(table.delivered[1], []);
    table.hear(1, 3, BroadcastMessage::Echo(fragments()[3].clone()));
    assert_eq!(table.delivered[1].len(), 1);
}

#[test]
fn a_shard_counts_only_at_its_senders_position() {
    let fragments = fragments();
    let cases: [(u16, BroadcastMessage, Fault); 5] = [
        (0, BroadcastMessage::Init(fragments[2].clone()), Fault::BadShard),
        (2, BroadcastMessage::Init(fragments[1].clone()), Fault::Malformed),
        (2, BroadcastMessage::Echo(fragments[3].clone()), Fault::BadShard),
        (2, BroadcastMessage::Echo(fragments[1].clone()), Fault::BadShard),
        (
            2,
            BroadcastMessage::Echo(Fragment { path: Vec::new(), ..fragments[2].clone() }),
            Fault::BadShard,
        ),
    ];
    for (from, message, fault) in cases {
        let mut table = Table::new(4, 0);
        table.hear(1, from, message);
        assert_eq!(table.evidence[0].fault, fault);
        assert_eq!(table.evidence[0].member, NodeIndex(from));
        assert!(table.wires.flying.is_empty());
    }
}

#[test]
fn a_second_vote_is_evidence() {
    let (first, second) = (fragments(), shards::split(Committee::new(4), b"another"));
    let pairs = [
        (BroadcastMessage::Echo(first[2].clone()), BroadcastMessage::Echo(second[2].clone())),
        (BroadcastMessage::Ready(first[0].root), BroadcastMessage::Ready(second[0].root)),
    ];
    for (one, other) in pairs {
        let mut table = Table::new(4, 0);
        table.hear(1, 2, one.clone());
        table.hear(1, 2, one);
        assert_eq!(table.evidence, []);
        table.hear(1, 2, other);
        assert_eq!(table.evidence[0].fault, Fault::Equivocation);
    }
}

#[test]
#[should_panic(expected = "proposes once")]
fn a_second_proposal_is_our_own_mistake() {
    let mut table = Table::new(4, 0);
    table.propose(b"one");
    table.propose(b"two");
}
