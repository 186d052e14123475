//! Traitors: two faces, false shards, shards of no proposal, garbage proposals, forged shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::Epoch;
use quorate_ledger::merkle::MerkleTree;
use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use super::keyed::KeyedGeneration;
use super::net::{Mangle, Net};
use crate::committee::Committee;
use crate::evidence::Fault;
use crate::honeybadger::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, Fragment, HoneyBadgerMessage, SlotMessage,
    Values,
};
use crate::honeybadger::shards;
use crate::limits::MAX_CLEAR;

type TestMangle = Mangle<HoneyBadgerMessage>;

fn slot(epoch: Epoch, proposer: NodeIndex, message: SlotMessage) -> HoneyBadgerMessage {
    HoneyBadgerMessage { epoch, body: EpochMessage::Slot(proposer, message) }
}

/// Replaces the traitor's own broadcast for the members `when` picks.
fn own_broadcast(
    fragments: impl Fn(Epoch) -> Vec<Fragment> + 'static,
    when: impl Fn(NodeIndex) -> bool + 'static,
) -> TestMangle {
    Box::new(move |from, to, message, _| {
        let epoch = message.epoch;
        let EpochMessage::Slot(proposer, SlotMessage::Broadcast(said)) = &message.body else {
            return vec![message];
        };
        if *proposer != from || !when(to) {
            return vec![message];
        }
        let fragments = fragments(epoch);
        let false_message = match said {
            BroadcastMessage::Init(_) => BroadcastMessage::Init(fragments[to.get()].clone()),
            BroadcastMessage::Echo(_) => BroadcastMessage::Echo(fragments[from.get()].clone()),
            BroadcastMessage::Ready(_) => BroadcastMessage::Ready(fragments[0].root),
        };
        vec![slot(epoch, *proposer, SlotMessage::Broadcast(false_message))]
    })
}

fn flip(message: &mut HoneyBadgerMessage, rng: &mut ChaCha20Rng) {
    let EpochMessage::Slot(_, SlotMessage::Agreement(said)) = &mut message.body else { return };
    match said {
        AgreementMessage::BVal { value, .. }
        | AgreementMessage::Aux { value, .. }
        | AgreementMessage::Term { value, .. } => *value = rng.random_bool(0.5),
        AgreementMessage::Conf { values, .. } => {
            *values = Values::from_bits(rng.random_range(1..=3)).unwrap();
        }
        AgreementMessage::Share { share, .. } => share[0] ^= 1,
        AgreementMessage::Coin { joint, .. } => joint[0] ^= 1,
    }
}

/// Different votes for different members, and false shares and keys.
fn liar() -> TestMangle {
    Box::new(|_, _, mut message, rng| {
        let mut said = Vec::new();
        if let EpochMessage::Slot(proposer, SlotMessage::Agreement(_)) = message.body {
            let round = rng.random_range(0..4);
            let joint = vec![rng.random(); 32];
            let coin = SlotMessage::Agreement(AgreementMessage::Coin { round, joint });
            said.push(slot(message.epoch, proposer, coin));
            let value = rng.random_bool(0.5);
            let from = if rng.random_bool(0.1) { u64::MAX } else { round };
            let term = SlotMessage::Agreement(AgreementMessage::Term { value, from });
            if rng.random_bool(0.2) {
                said.push(slot(message.epoch, proposer, term));
            }
        }
        if let EpochMessage::Share(proposer, share) = &mut message.body {
            share[0] ^= 1;
            let body = EpochMessage::Key(*proposer, vec![5; 32]);
            said.push(HoneyBadgerMessage { epoch: message.epoch, body });
        }
        flip(&mut message, rng);
        said.push(message);
        said
    })
}

/// Runs committees with f traitors, made anew for each seed.
fn run(
    n: usize,
    seeds: u64,
    traitor: impl Fn(Committee) -> TestMangle,
) -> Vec<Net<KeyedGeneration>> {
    let f = Committee::new(n).faulty();
    let mut nets = Vec::new();
    for seed in 0..seeds {
        let mut net = Net::of(n, 3, seed);
        for i in 0..f {
            let who = NodeIndex(((seed as usize + 2 * i) % n) as u16);
            net.wires.traitors.insert(who, traitor(net.wires.committee));
        }
        net.run();
        net.check();
        nets.push(net);
    }
    nets
}

fn accusations(nets: &[Net<KeyedGeneration>], fault: Fault) -> usize {
    let accused = |net: &&Net<_>| net.wires.traitors.keys().any(|who| net.accused(*who, fault));
    nets.iter().filter(accused).count()
}

#[test]
fn two_faced_proposals() {
    for (n, seeds) in [(4, 120), (7, 25)] {
        run(n, seeds, |committee| {
            own_broadcast(move |_| shards::split(committee, &[0]), |to| to.0 % 2 == 1)
        });
    }
}

/// Two INIT with different roots for the same member are evidence.
#[test]
fn two_roots_for_one_member() {
    let nets = run(4, 20, |committee| {
        Box::new(move |_, to, message, _| {
            let mut said = vec![message.clone()];
            if let EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(_))) =
                message.body
            {
                let second = shards::split(committee, &[0]).swap_remove(to.get());
                let second = SlotMessage::Broadcast(BroadcastMessage::Init(second));
                said.push(slot(message.epoch, proposer, second));
            }
            said
        })
    });
    assert!(accusations(&nets, Fault::Equivocation) > 15, "not all lies arrive before the end");
}

#[test]
fn false_shards() {
    let nets = run(4, 60, |_| {
        Box::new(|_, _, mut message, _| {
            if let EpochMessage::Slot(
                _,
                SlotMessage::Broadcast(BroadcastMessage::Init(f) | BroadcastMessage::Echo(f)),
            ) = &mut message.body
            {
                let mut shard = f.shard.to_vec();
                shard[0] ^= 1;
                f.shard = shard.into();
            }
            vec![message]
        })
    });
    assert!(accusations(&nets, Fault::BadShard) > 50, "not all lies arrive before the end");
}

/// Good proofs of shards that belong to no proposal.
fn proven(shards: Vec<Arc<[u8]>>) -> Vec<Fragment> {
    let tree = MerkleTree::from_leaves(&shards);
    let fragment = |(i, shard)| Fragment { root: tree.root(), shard, path: tree.proof(i).unwrap() };
    shards.into_iter().enumerate().map(fragment).collect()
}

/// Shards that give nothing, whichever are taken.
fn noise(committee: Committee, length: usize) -> Vec<Fragment> {
    let shard = |i: usize| -> Arc<[u8]> { vec![i as u8 + 1; length].into() };
    proven((0..committee.size()).map(shard).collect())
}

/// Shards that give one EMPTY proposal or another or none, depending on which are taken: only the
/// comparison of roots finds that out.
fn spoilt_parity(committee: Committee) -> Vec<Fragment> {
    let good = shards::split(committee, &[0]);
    let spoil = |(i, fragment): (usize, Fragment)| -> Arc<[u8]> {
        let mut shard = fragment.shard.to_vec();
        if i >= committee.data_shards() {
            shard.iter_mut().for_each(|byte| *byte = byte.wrapping_add(i as u8 + 1));
        }
        shard.into()
    };
    proven(good.into_iter().enumerate().map(spoil).collect())
}

/// Fragments with good proofs that are no codeword: everybody finds that out the same way.
#[test]
fn shards_of_no_proposal() {
    for (n, seeds) in [(4, 60), (7, 15)] {
        for length in [0, 2, 7, 64] {
            let nets = run(n, seeds, |committee| {
                let fragments =
                    if length == 0 { spoilt_parity(committee) } else { noise(committee, length) };
                own_broadcast(move |_| fragments.clone(), |_| true)
            });
            assert!(accusations(&nets, Fault::BadRoot) > 0);
            for net in &nets {
                let found: Vec<_> = net.evidence.iter().map(|(_, e)| e.fault).collect();
                assert!(!found.contains(&Fault::BadProposal), "nobody takes it for a proposal");
                let correct = net.correct()[0];
                for decision in &net.members[correct.get()].decisions {
                    for who in net.wires.traitors.keys() {
                        let batch = decision.batches.get(who);
                        assert!(batch.is_none_or(Vec::is_empty), "counts as EMPTY");
                    }
                }
            }
        }
    }
}

/// Whichever `n - 2f` shards under a root are gathered, the finding is the same.
#[test]
fn every_choice_of_shards_gives_the_same_finding() {
    for n in [4, 7] {
        let committee = Committee::new(n);
        for (fragments, value) in [
            (shards::split(committee, b"some proposal"), Some(b"some proposal".to_vec())),
            (spoilt_parity(committee), None),
            (noise(committee, 6), None),
        ] {
            let leaf = |i: usize| {
                shards::check(committee, NodeIndex(i as u16), &fragments[i]).expect("a good proof")
            };
            for choice in 0..1_u32 << n {
                if choice.count_ones() as usize >= committee.data_shards() {
                    let chosen = (0..n).filter(|i| choice >> i & 1 == 1);
                    let given = chosen
                        .map(|i| (NodeIndex(i as u16), (fragments[i].shard.clone(), leaf(i))))
                        .collect();
                    assert_eq!(shards::join(committee, &fragments[0].root, &given), value);
                }
            }
        }
    }
}

#[test]
fn garbage_proposals() {
    let mut garbage: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    garbage.insert(0, Vec::new());
    garbage.insert(1, vec![9, 9]);
    garbage.insert(2, vec![0; MAX_CLEAR + 2]);
    garbage.insert(3, vec![1]);
    garbage.insert(4, vec![1; 200]);
    for value in garbage.into_values() {
        let nets = run(4, 25, |committee| {
            let value = value.clone();
            own_broadcast(move |_| shards::split(committee, &value), |_| true)
        });
        assert!(accusations(&nets, Fault::BadProposal) > 0, "{value:?}");
    }
}

#[test]
fn liars_and_forgers() {
    let mut forged = 0;
    for (n, seeds) in [(4, 250), (7, 40), (10, 5)] {
        let nets = run(n, seeds, |_| liar());
        forged += accusations(&nets, Fault::BadShare);
    }
    assert!(forged > 200, "forged shares found in {forged} runs");
}

/// A proposer of another member's proposal, and votes about members that do not exist.
#[test]
fn messages_in_anothers_name() {
    let nets = run(4, 40, |committee| {
        Box::new(move |from, to, message, _| {
            let epoch = message.epoch;
            let other = NodeIndex((from.0 + 1) % 4);
            let fragment = shards::split(committee, &[0]).swap_remove(to.get());
            let init = |fragment| SlotMessage::Broadcast(BroadcastMessage::Init(fragment));
            let nobody = SlotMessage::Agreement(AgreementMessage::BVal { round: 0, value: true });
            vec![
                slot(epoch, other, init(fragment)),
                slot(epoch, NodeIndex(99), nobody),
                HoneyBadgerMessage { epoch, body: EpochMessage::Share(NodeIndex(99), vec![1]) },
                HoneyBadgerMessage { epoch, body: EpochMessage::Key(NodeIndex(99), vec![1]) },
                HoneyBadgerMessage { epoch, body: EpochMessage::Again },
                message,
            ]
        })
    });
    assert!(accusations(&nets, Fault::Malformed) > 35);
}
