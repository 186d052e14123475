//! Agreement over the proofs of a consensus change.

use std::collections::BTreeMap;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use rand::RngExt;

use super::net::{Disk, Wires, env};
use crate::core::{Env, Journal, Step, Topic, Verified};
use crate::honeybadger::message::{
    AgreementMessage, BroadcastMessage, ProofMessage, SlotMessage, Values,
};
use crate::honeybadger::{ProofAgreement, ProofOutcome, shards};

const INSTANCE: Digest = Digest([4; 32]);
const PREFIX: &[u8] = b"change/7/";

struct Table {
    agreements: Vec<Option<ProofAgreement>>,
    disks: Vec<Disk>,
    outcomes: Vec<Option<ProofOutcome>>,
    wires: Wires<ProofMessage>,
    env: Env,
}

fn proof(me: NodeIndex) -> Vec<u8> {
    vec![me.0 as u8 + 1; 700]
}

impl Table {
    fn new(n: usize, seed: u64) -> Self {
        let mut table = Self {
            agreements: (0..n).map(|_| None).collect(),
            disks: vec![Disk::default(); n],
            outcomes: vec![None; n],
            wires: Wires::new(n, seed),
            env: env(seed),
        };
        for me in table.everybody() {
            table.start(me, INSTANCE);
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

    fn start(&mut self, me: NodeIndex, instance: Digest) {
        let votes = self.disks[me.get()].votes(Topic::Change);
        let n = self.wires.committee.size();
        let (agreement, step) =
            ProofAgreement::open(&mut self.env, n, me, instance, Topic::Change, PREFIX, &votes);
        self.agreements[me.get()] = Some(agreement);
        self.apply(me, step);
    }

    fn apply(&mut self, me: NodeIndex, step: Step<ProofMessage, ProofOutcome>) {
        let Ok(released) = self.disks[me.get()].persist(step);
        for (target, message) in released.sends {
            self.wires.send(me, target, &message);
        }
        for outcome in released.outputs {
            let earlier = self.outcomes[me.get()].replace(outcome.clone());
            assert!(earlier.is_none_or(|earlier| earlier == outcome), "{me} ends once");
        }
    }

    fn act(
        &mut self,
        me: NodeIndex,
        action: impl FnOnce(&mut ProofAgreement, &mut Env) -> Step<ProofMessage, ProofOutcome>,
    ) {
        let Some(agreement) = self.agreements[me.get()].as_mut() else { return };
        let step = action(agreement, &mut self.env);
        self.apply(me, step);
    }

    fn propose(&mut self, me: NodeIndex) {
        self.act(me, |agreement, env| agreement.propose(env, &proof(me)));
    }

    fn deliver(&mut self) -> bool {
        let Some((from, to, message)) = self.wires.next() else { return false };
        self.act(to, |agreement, env| agreement.receive(env, from, Verified::assume(message)));
        true
    }

    fn ask_again(&mut self) {
        for to in self.everybody() {
            for other in self.everybody() {
                self.act(other, |agreement, _| agreement.resend(to));
            }
        }
    }

    fn crash(&mut self, me: NodeIndex) {
        self.agreements[me.get()] = None;
        self.wires.flying.retain(|(_, to, _)| *to != me);
    }

    /// The common outcome of the correct, if they have one.
    fn outcome(&self) -> Option<ProofOutcome> {
        let outcomes: Vec<Option<&ProofOutcome>> =
            self.correct().iter().map(|me| self.outcomes[me.get()].as_ref()).collect();
        let known = outcomes.iter().flatten().next().copied();
        assert!(outcomes.iter().flatten().all(|o| Some(*o) == known), "all end the same");
        if outcomes.iter().all(Option::is_some) { known.cloned() } else { None }
    }
}

fn all(n: usize) -> ProofOutcome {
    let members = (0..n as u16).map(NodeIndex);
    ProofOutcome::All(members.map(|me| (me, proof(me))).collect::<BTreeMap<_, _>>())
}

#[test]
fn all_proofs_are_agreed_on() {
    for n in [1, 2, 3, 4, 5, 7, 10] {
        for seed in 0..30 {
            let mut table = Table::new(n, seed);
            for me in table.everybody() {
                table.propose(me);
            }
            while table.deliver() {}
            assert_eq!(table.outcome(), Some(all(n)), "n {n} seed {seed}");
        }
    }
}

/// Unlike an epoch, n - f proofs are not enough: without the tick nothing is given up.
#[test]
fn a_late_proof_is_waited_for() {
    let mut table = Table::new(4, 8);
    for me in table.everybody().into_iter().skip(1) {
        table.propose(me);
    }
    while table.deliver() {}
    assert_eq!(table.outcome(), None);
    table.propose(NodeIndex(0));
    while table.deliver() {}
    assert_eq!(table.outcome(), Some(all(4)));
}

#[test]
fn a_silent_participant_is_missing_after_the_tick() {
    for n in [4, 7] {
        for seed in 0..40 {
            let mut table = Table::new(n, seed);
            let silent = NodeIndex((seed as usize % n) as u16);
            table.wires.traitors.insert(silent, Box::new(|_, _, _, _| Vec::new()));
            for me in table.everybody() {
                table.propose(me);
            }
            while table.deliver() {}
            assert_eq!(table.outcome(), None);
            for me in table.everybody() {
                table.act(me, ProofAgreement::give_up);
            }
            while table.deliver() {}
            assert_eq!(table.outcome(), Some(ProofOutcome::Missing(vec![silent])));
        }
    }
}

/// Ticks that are over at different moments, and a liar: whatever comes out, it is one outcome.
#[test]
fn early_ticks_and_liars_split_nobody() {
    let (mut complete, mut missing) = (0, 0);
    for seed in 0..300 {
        let mut table = Table::new(4, seed);
        let liar = NodeIndex((seed % 4) as u16);
        if seed % 3 == 0 {
            table.wires.traitors.insert(
                liar,
                Box::new(|from, to, mut message, rng| {
                    let committee = crate::committee::Committee::new(4);
                    let lie = rng.random_bool(0.5);
                    match &mut message.body {
                        SlotMessage::Broadcast(BroadcastMessage::Init(fragment))
                            if message.proposer == from && to.0 % 2 == 0 =>
                        {
                            *fragment =
                                shards::split(committee, b"two-faced").swap_remove(to.get());
                        }
                        SlotMessage::Agreement(
                            AgreementMessage::BVal { value, .. }
                            | AgreementMessage::Aux { value, .. }
                            | AgreementMessage::Term { value, .. },
                        ) => *value = lie,
                        SlotMessage::Agreement(AgreementMessage::Conf { values, .. }) => {
                            *values = Values::one(lie);
                        }
                        _ => {}
                    }
                    vec![message]
                }),
            );
        }
        for me in table.everybody() {
            if seed % 3 != 1 || me != liar {
                table.propose(me);
            }
        }
        for me in table.everybody() {
            for _ in 0..table.wires.rng.random_range(0..150_u8) {
                table.deliver();
            }
            table.act(me, ProofAgreement::give_up);
        }
        while table.deliver() {}
        match table.outcome() {
            Some(ProofOutcome::All(_)) => complete += 1,
            Some(ProofOutcome::Missing(members)) => {
                assert!(!members.is_empty());
                missing += 1;
            }
            None => panic!("seed {seed} does not end"),
        }
    }
    assert!(complete > 30 && missing > 30, "{complete} complete, {missing} missing");
}

#[test]
fn a_proof_that_is_no_value_is_missing() {
    let mut table = Table::new(4, 0);
    let liar = NodeIndex(2);
    let tree = {
        let shard = |i: u8| vec![i; 10];
        let shards: Vec<Vec<u8>> = (0..4).map(shard).collect();
        (quorate_ledger::merkle::MerkleTree::from_leaves(&shards), shards)
    };
    table.wires.traitors.insert(
        liar,
        Box::new(move |from, to, mut message, _| {
            if let SlotMessage::Broadcast(
                BroadcastMessage::Init(fragment) | BroadcastMessage::Echo(fragment),
            ) = &mut message.body
                && message.proposer == from
            {
                // INIT is at the receiver's position, ECHO at the sender's; sending both for each is
                // simplest: only INIT is needed here.
                fragment.root = tree.0.root();
                fragment.shard = tree.1[to.get()].clone().into();
                fragment.path = tree.0.proof(to.get()).unwrap();
            }
            vec![message]
        }),
    );
    for me in table.everybody() {
        table.propose(me);
    }
    while table.deliver() {}
    for me in table.everybody() {
        table.act(me, ProofAgreement::give_up);
    }
    while table.deliver() {}
    assert_eq!(table.outcome(), Some(ProofOutcome::Missing(vec![liar])));
}

#[test]
fn restarts_change_nothing() {
    for n in [1, 2, 4] {
        for seed in 0..80 {
            let mut table = Table::new(n, seed);
            for round in 0..4 {
                for me in table.everybody() {
                    table.propose(me);
                }
                for _ in 0..table.wires.rng.random_range(0..40 * n) {
                    table.deliver();
                }
                for me in table.everybody() {
                    if round % 2 == 0 || table.wires.chance(8) {
                        table.crash(me);
                    }
                }
                for me in table.everybody() {
                    if table.agreements[me.get()].is_none() {
                        table.start(me, INSTANCE);
                    }
                }
            }
            for me in table.everybody() {
                table.propose(me);
            }
            for _ in 0..10 {
                while table.deliver() {}
                table.ask_again();
            }
            assert_eq!(table.outcome(), Some(all(n)), "n {n} seed {seed}");
        }
    }
}

/// The next attempt is another instance: what was said in the last one neither binds nor disturbs.
#[test]
fn attempts_are_separate() {
    let mut table = Table::new(4, 2);
    for me in table.everybody() {
        table.propose(me);
    }
    for _ in 0..40 {
        table.deliver();
    }
    let next = Digest([5; 32]);
    for me in table.everybody() {
        table.start(me, next);
        let old = table.disks[me.get()].votes(Topic::Change);
        assert!(old.iter().all(|(_, bytes)| bytes.starts_with(&next.0[..8])), "old notes go");
        table.propose(me);
    }
    while table.deliver() {}
    assert_eq!(table.outcome(), Some(all(4)));
    assert!(table.agreements.iter().flatten().all(|agreement| agreement.instance() == next));
}
