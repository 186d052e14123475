//! Whole changes among several nodes, in random order; see [`world`].

mod hashed;
mod model;
mod world;

use std::collections::BTreeSet;

use quorate_consensus::core::Message as _;
use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::hash::Digest;
use quorate_crypto::member::MemberKey;
use quorate_crypto::view::{ViewKey, ViewPublicKey};
use quorate_ledger::change::{ChangeParams, ChangeResult, build_request};
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::{ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResult};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use self::hashed::Hashed;
use self::world::{COUNT, Crash, Scheme, TICK, World};
use super::{ChangeMessage, limits, proof};
use crate::api::CommandError;

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

/// One change of a group of `size` to `listed`, with all nodes alive; returns the virtual time
/// until its result was on the ledger, in milliseconds.
fn succeeds<G: Scheme>(seed: u64, size: usize, listed: &[usize]) -> u64 {
    let mut world = World::<G>::new(seed, size);
    let began = world.now;
    let (promised, req_id) = world.start(listed).expect("started");
    while world.chain.is_empty() {
        assert!(world.turn(), "seed {seed}: nothing more happens");
    }
    let took = world.now.0 - began.0;
    world.run();
    assert_eq!(world.result(&req_id), Some((promised, ChangeResult::Success)), "seed {seed}");
    assert_eq!(world.chain.len(), 1);
    world.assert_keys(1, listed);
    for node in &world.nodes {
        assert_eq!(node.ended, [(req_id.clone(), ChangeConsensusResult::Success)]);
    }
    world.assert_clean();
    took
}

#[test]
fn everybody_alive_succeeds_in_the_first_attempt() {
    for n in [1, 2, 3, 4, 7] {
        for seed in 0..if n < 7 { 30 } else { 6 } {
            let took = succeeds::<Hashed>(seed, n, &all(n));
            assert!(took < TICK / 2, "n = {n}, seed {seed}: {took} ms of network time");
        }
    }
}

#[test]
fn the_real_key_generation_gives_keys_that_work() {
    for n in [1, 2, 4, 7] {
        succeeds::<BlsGeneration>(1, n, &all(n));
    }
    succeeds::<BlsGeneration>(2, 5, &[1, 2, 3, 4]);
}

#[test]
fn the_list_decides_not_who_was_there() {
    for seed in 0..20 {
        // The owner is not listed; nobody but strangers; an order of its own, a user looks on.
        succeeds::<Hashed>(seed, 2, &[1]);
        succeeds::<Hashed>(seed, 5, &[4, 2, 3, 1]);
        succeeds::<Hashed>(seed, 5, &[3, 0, 1]);
    }
}

#[test]
fn an_absent_producer_times_the_change_out_and_nothing_else_happens() {
    for seed in 0..5 {
        let mut world = World::<Hashed>::new(seed, 4);
        world.nodes[3].online = false;
        let began = world.now;
        let (promised, req_id) = world.start(&all(4)).expect("started");
        while world.pending.is_empty() {
            assert!(world.turn());
        }
        assert_eq!(world.now.0 - began.0, TICK * COUNT, "after the last tick, not earlier");
        world.run();
        let (trx_id, result) = world.result(&req_id).expect("a result");
        assert_eq!(result, ChangeResult::Timeout);
        assert_ne!(trx_id, promised, "the promised id is for success alone");
        assert_eq!(world.chain.len(), 1);
        assert!(world.nodes.iter().all(|node| node.views.is_empty()));
        world.assert_clean();
    }
}

#[test]
fn a_producer_that_comes_late_is_waited_for() {
    for seed in 0..10 {
        let mut world = World::<Hashed>::new(seed, 4);
        world.nodes[2].online = false;
        let (promised, req_id) = world.start(&all(4)).expect("started");
        while world.now.0 < 1_000_000 + 3 * TICK + 100 * seed {
            assert!(world.turn());
        }
        assert_eq!(world.result(&req_id), None);
        world.nodes[2].online = true;
        world.run();
        assert_eq!(world.result(&req_id), Some((promised, ChangeResult::Success)));
        world.assert_keys(1, &all(4));
        world.assert_clean();
    }
}

#[test]
fn a_response_in_a_false_name_fails_the_change() {
    for seed in 0..5 {
        let mut world = World::<Hashed>::new(seed, 4);
        let (promised, req_id) = world.start(&all(4)).expect("started");
        // Once it has begun, the traitor signs with a key that is not its own.
        while world.nodes[2].disk.secrets.is_empty() {
            assert!(world.turn());
        }
        world.nodes[2].false_key = Some(MemberKey::generate(&mut ChaCha20Rng::seed_from_u64(9)));
        world.run();
        let (trx_id, result) = world.result(&req_id).expect("a result");
        assert_eq!(result, ChangeResult::Failed);
        assert_ne!(trx_id, promised);
        let (_, bundle) = &world.chain[0];
        let traitor = world.key(2).to_string();
        assert_eq!(bundle.responsed_producers.len(), 3, "the good responses are in the proof");
        assert!(!bundle.responsed_producers.contains(&traitor));
        assert!(world.nodes.iter().all(|node| node.views.is_empty()));
        world.nodes[2].false_key = None;
        world.assert_clean();
    }
}

#[test]
fn a_proof_that_makes_no_view_fails_the_change() {
    let mut world = World::<Hashed>::new(1, 5);
    world.start(&[1, 2, 3, 4]).expect("started");
    world.run();
    let (_, bundle) = world.chain[0].clone();
    let request = bundle.req.expect("a request");
    let ctx = world.ctx(0);
    let checked = proof::check_request(&ctx, &request).expect("good");
    let good: Vec<Vec<u8>> =
        bundle.resps.iter().map(|response| proof::write(&request, response)).collect();
    let judge = |proofs: &[Vec<u8>]| proof::judge::<Hashed>(&ctx, &request, &checked, proofs);
    let responses = judge(&good).expect("all good");
    assert_eq!(responses, bundle.resps);

    // What participant 1 (index 0) says instead, signed by itself.
    let signed = |change: &dyn Fn(&mut ChangeConsensusResp)| {
        let mut response = bundle.resps[0].clone();
        change(&mut response);
        let digest = response.digest();
        response.msg_hash = digest.0.to_vec();
        response.sender_sign = world.nodes[1].key.sign(&digest).0.to_vec();
        response
    };
    let refused = |response: &ChangeConsensusResp| {
        let mut proofs = good.clone();
        proofs[0] = proof::write(&request, response);
        judge(&proofs).expect_err("refused")
    };
    let (why, kept) =
        refused(&signed(&|r| r.key_material.as_mut().expect("some").dealer_log[0] ^= 1));
    assert!(why.contains("wrong log of member 0"), "{why}");
    assert_eq!(kept.len(), 5, "each is good in itself");
    let (why, _) = refused(&signed(&|r| r.key_material = None));
    assert!(why.contains("key material"), "{why}");
    let second = bundle.resps[1].key_material.clone().expect("some").view_key;
    let (why, _) =
        refused(&signed(&|r| r.key_material.as_mut().expect("some").view_key = second.clone()));
    assert!(why.contains("key material"), "{why}");
    let (why, kept) = refused(&signed(&|r| r.req.as_mut().expect("some").nonce = 2));
    assert!(why.contains("another request") && kept.len() == 4, "{why}");
    let (why, _) = refused(&bundle.resps[1]);
    assert!(why.contains("somebody else"), "{why}");
    let unsigned = ChangeConsensusResp { sender_sign: vec![0; 65], ..bundle.resps[0].clone() };
    let (why, _) = refused(&unsigned);
    assert!(why.contains("signature"), "{why}");
    let mut garbage = good.clone();
    garbage[2] = vec![1, 2, 3];
    assert_eq!(judge(&garbage).expect_err("refused").1.len(), 4);
}

#[test]
fn responses_too_large_for_a_block_fail_the_change() {
    let mut world = World::<Hashed>::new(1, 7);
    world.start(&all(7)).expect("started");
    world.run();
    let (_, bundle) = world.chain[0].clone();
    let request = bundle.req.expect("a request");
    let ctx = world.ctx(0);
    let checked = proof::check_request(&ctx, &request).expect("good");
    let long = |(index, response): (usize, &ChangeConsensusResp)| {
        let mut response = response.clone();
        response.key_material.as_mut().expect("some").dealer_log = vec![0; 120 * 1024];
        let digest = response.digest();
        response.msg_hash = digest.0.to_vec();
        response.sender_sign = world.nodes[index].key.sign(&digest).0.to_vec();
        proof::write(&request, &response)
    };
    let proofs: Vec<Vec<u8>> = bundle.resps.iter().enumerate().map(long).collect();
    let judged = proof::judge::<Hashed>(&ctx, &request, &checked, &proofs);
    let (why, responses) = judged.expect_err("refused");
    assert_eq!(why, "the responses are too large for a block");
    let failed = proof::bundle(ChangeResult::Failed, &request, responses);
    assert!((1..7).contains(&failed.resps.len()), "as many as fit");
}

#[test]
fn a_newer_request_supersedes_a_running_one() {
    for seed in 0..40 {
        let mut world = World::<Hashed>::new(seed, 5);
        let (first_promised, first) = world.start(&all(4)).expect("started");
        for _ in 0..seed * 20 {
            world.turn();
        }
        let over = world.result(&first).is_some() || !world.pending.is_empty();
        let (second_promised, second) = world.start(&[1, 2, 4]).expect("started");
        world.run();
        let (first_id, result) = world.result(&first).expect("history tells");
        assert_eq!(world.result(&second), Some((second_promised, ChangeResult::Success)));
        world.assert_keys(2, &[1, 2, 4]);
        if over {
            assert_eq!((first_id, result), (first_promised, ChangeResult::Success));
            world.assert_keys(1, &all(4));
        } else {
            assert_eq!(result, ChangeResult::Failed);
            assert_ne!(first_id, first_promised);
        }
        world.assert_clean();
    }
}

#[test]
fn a_published_success_survives_a_newer_request() {
    for seed in 0..10 {
        let mut world = World::<Hashed>::new(seed, 4);
        world.ordering = false;
        let (promised, first) = world.start(&all(4)).expect("started");
        while world.pending.is_empty() {
            assert!(world.turn());
        }
        let (second_promised, second) = world.start(&all(3)).expect("started");
        while world.turn() {}
        assert_eq!(world.pending.len(), 1, "the second result waits for the first");
        world.ordering = true;
        world.run();
        assert_eq!(world.result(&first), Some((promised, ChangeResult::Success)));
        assert_eq!(world.result(&second), Some((second_promised, ChangeResult::Success)));
        world.assert_keys(1, &all(4));
        world.assert_keys(2, &all(3));
        world.assert_clean();
    }
}

#[test]
fn results_that_wait_for_the_ledger_are_bounded() {
    let mut world = World::<Hashed>::new(1, 2);
    world.ordering = false;
    for _ in 0..limits::MAX_OWNER_UNSETTLED {
        world.start(&all(2)).expect("started");
    }
    let refused = world.start(&all(2)).expect_err("too many");
    assert!(matches!(refused, CommandError::Stalled(_)), "{refused}");
    while world.turn() {}
    world.ordering = true;
    world.run();
    let results: Vec<ChangeResult> =
        world.chain.iter().map(|(_, bundle)| bundle.result().into()).collect();
    let failed = ChangeResult::Failed;
    assert_eq!(results, [failed, failed, failed, ChangeResult::Success]);
    world.assert_clean();
    world.start(&all(2)).expect("there is room again");
}

/// Kills `node` in each of its steps, one run each, until a run has no such step.
fn killed_everywhere(seed: u64, size: usize, listed: &[usize], node: usize, down: u64) -> u64 {
    for step in 0.. {
        for durable in [true, false] {
            let mut world = World::<Hashed>::new(seed, size);
            world.crash = Some(Crash { node, step, durable, down });
            let Ok((promised, req_id)) = world.start(listed) else {
                assert!(node == 0 && step == 0 && !durable, "only a lost request has no answer");
                world.run();
                assert!(world.chain.is_empty(), "nothing was said");
                continue;
            };
            world.run();
            if !world.crashed {
                return step;
            }
            let what = format!("node {node} killed in step {step}, durable: {durable}");
            let result = world.result(&req_id);
            assert_eq!(result, Some((promised, ChangeResult::Success)), "{what}");
            assert_eq!(world.chain.len(), 1, "{what}");
            world.assert_keys(1, listed);
            world.assert_clean();
        }
    }
    unreachable!("a run has an end");
}

#[test]
fn the_owner_may_be_killed_at_any_point() {
    assert!(killed_everywhere(3, 4, &all(4), 0, 50) > 20);
    assert!(killed_everywhere(4, 3, &[1, 2], 0, 2_500) > 5);
    assert!(killed_everywhere(5, 1, &[0], 0, 10) >= 1);
}

#[test]
fn a_participant_may_be_killed_at_any_point() {
    assert!(killed_everywhere(6, 4, &all(4), 2, 50) > 20);
    assert!(killed_everywhere(7, 2, &all(2), 1, 1_500) > 5);
}

#[test]
fn an_owner_that_is_down_too_long_ends_with_a_timeout() {
    let mut world = World::<Hashed>::new(1, 4);
    world.nodes[3].online = false;
    let down = TICK * COUNT * 2;
    world.crash = Some(Crash { node: 0, step: 4, durable: true, down });
    let (promised, req_id) = world.start(&all(4)).expect("started");
    world.run();
    let (trx_id, result) = world.result(&req_id).expect("a defined result");
    assert_eq!(result, ChangeResult::Timeout);
    assert_ne!(trx_id, promised);
    world.assert_clean();
}

#[test]
fn lost_and_doubled_messages_are_healed() {
    for (n, seeds) in [(2, 20), (4, 20), (7, 3)] {
        for seed in 0..seeds {
            let mut world = World::<Hashed>::new(seed, n);
            world.loss = 25;
            world.doubled = 25;
            let (promised, req_id) = world.start(&all(n)).expect("started");
            world.run();
            let result = world.result(&req_id);
            assert_eq!(result, Some((promised, ChangeResult::Success)), "n = {n}, seed {seed}");
            world.assert_keys(1, &all(n));
            world.assert_clean();
        }
    }
}

#[test]
fn a_player_whose_dealings_were_revealed_has_its_share() {
    fn run<G: Scheme>(seed: u64) {
        let mut world = World::<G>::new(seed, 4);
        // Node 3 gets no dealing, so it cannot acknowledge any.
        world.filter = Some(Box::new(|_, to, message| {
            to != 3 || !matches!(message, ChangeMessage::Dealing { .. })
        }));
        let began = world.now;
        let (promised, req_id) = world.start(&all(4)).expect("started");
        while world.result(&req_id).is_none() {
            assert!(world.turn());
        }
        assert_eq!(world.result(&req_id), Some((promised, ChangeResult::Success)));
        let took = world.now.0 - began.0;
        assert!((TICK / 2..TICK).contains(&took), "after half a tick, in the first: {took} ms");
        world.run();
        world.assert_keys(1, &all(4));
        world.assert_clean();
    }
    run::<Hashed>(1);
    run::<BlsGeneration>(2);
}

#[test]
fn two_players_without_dealings_are_too_many() {
    let mut world = World::<Hashed>::new(1, 4);
    world.filter = Some(Box::new(|_, to, message| {
        to < 2 || !matches!(message, ChangeMessage::Dealing { .. })
    }));
    let (_, req_id) = world.start(&all(4)).expect("started");
    world.run();
    let (_, result) = world.result(&req_id).expect("a result");
    assert_eq!(result, ChangeResult::Timeout);
    world.assert_clean();
}

#[test]
fn a_producer_with_two_view_keys_makes_no_view() {
    let mut world = World::<Hashed>::new(1, 4);
    // Node 1 hears of another view key of node 3 than all others.
    world.filter = Some(Box::new(|from, to, message| {
        !(from == 3 && to == 1 && matches!(message, ChangeMessage::Offer { .. }))
    }));
    let (_, req_id) = world.start(&all(4)).expect("started");
    let request = Box::new(world.requests.first().cloned().expect("sent"));
    let view_key = ViewKey::from_seed(&[9; 32]).public();
    world.inject(3, 1, ChangeMessage::Offer { request, view_key });
    world.run();
    let (_, result) = world.result(&req_id).expect("a result");
    assert_eq!(result, ChangeResult::Timeout);
    assert!(world.nodes.iter().all(|node| node.views.is_empty()));
    world.assert_clean();
}

/// A request signed by node `signer`.
fn request_of(
    world: &World<Hashed>,
    signer: usize,
    listed: &[usize],
    nonce: u64,
) -> ChangeConsensusReq {
    let params = ChangeParams {
        req_id: uuid::Uuid::from_u128((4 << 76) | (2 << 62) | u128::from(nonce)),
        group: world.group,
        nonce,
        producers: listed.iter().map(|index| world.key(*index)).collect(),
        agreement_tick_length_ms: TICK,
        agreement_tick_count: COUNT,
        start_from_epoch: 1,
        epoch_tick_ms: 500,
    };
    build_request(&world.nodes[signer].key, &params)
}

/// Node 1 gets `message` of node 0 and does nothing about it.
fn is_ignored(world: &mut World<Hashed>, from: usize, message: ChangeMessage, why: &str) {
    let before = (world.nodes[1].disk.notes(), world.nodes[1].disk.secrets.clone());
    let running = |world: &World<Hashed>| {
        let change = world.nodes[1].change.as_ref().expect("up");
        change.running().map(str::to_owned)
    };
    let (sent, was) = (world.messages, running(world));
    world.inject(from, 1, message);
    assert_eq!(world.messages, sent, "{why}: nothing is said");
    assert_eq!(running(world), was, "{why}");
    let after = (world.nodes[1].disk.notes(), world.nodes[1].disk.secrets.clone());
    assert!(before == after, "{why}: nothing is remembered");
}

#[test]
fn bad_requests_are_ignored() {
    let mut world = World::<Hashed>::new(1, 4);
    let ask = |request: &ChangeConsensusReq| ChangeMessage::Request(Box::new(request.clone()));
    let good = request_of(&world, 0, &all(3), 5);
    for (from, signer) in [(2, 2), (0, 2)] {
        let foreign = request_of(&world, signer, &all(3), 5);
        is_ignored(&mut world, from, ask(&foreign), "not signed by the owner");
    }
    is_ignored(&mut world, 3, ask(&good), "relayed by one who takes no part");
    let mut tampered = good.clone();
    tampered.start_from_epoch += 1;
    is_ignored(&mut world, 0, ask(&tampered), "tampered");
    tampered.msg_hash = tampered.digest().0.to_vec();
    is_ignored(&mut world, 0, ask(&tampered), "tampered, with a hash that fits");
    let without = request_of(&world, 0, &[0, 2], 5);
    is_ignored(&mut world, 0, ask(&without), "this member is not in it");
    let twice = request_of(&world, 0, &[0, 1, 1], 5);
    is_ignored(&mut world, 0, ask(&twice), "a producer twice");
    let zero = request_of(&world, 0, &all(3), 0);
    is_ignored(&mut world, 0, ask(&zero), "the nonce of the genesis proof");
    let mut hasty = good.clone();
    hasty.agreement_tick_len_in_ms = 0;
    let digest = hasty.digest();
    hasty.msg_hash = digest.0.to_vec();
    hasty.sender_sign = world.nodes[0].key.sign(&digest).0.to_vec();
    is_ignored(&mut world, 0, ask(&hasty), "a tick of no length");

    world.inject(0, 1, ask(&good));
    let running = world.nodes[1].change.as_ref().expect("up").running().map(str::to_owned);
    assert_eq!(running.as_ref(), Some(&good.req_id), "the good one is taken");
    let lower = request_of(&world, 0, &all(3), 4);
    is_ignored(&mut world, 0, ask(&lower), "a lower nonce");
    is_ignored(&mut world, 0, ask(&good), "the same again");
    let mut other = request_of(&world, 0, &all(4), 5);
    other.req_id = uuid::Uuid::from_u128((4 << 76) | (2 << 62) | 77).to_string();
    is_ignored(&mut world, 0, ask(&other), "the same nonce again, other request");
    let mut repeated = good.clone();
    repeated.nonce = 6;
    let digest = repeated.digest();
    repeated.msg_hash = digest.0.to_vec();
    repeated.sender_sign = world.nodes[0].key.sign(&digest).0.to_vec();
    is_ignored(&mut world, 0, ask(&repeated), "a request id again");
}

#[test]
fn messages_of_nobody_and_of_no_request_are_ignored() {
    let mut world = World::<Hashed>::new(1, 4);
    let stray = Digest([7; 32]);
    is_ignored(&mut world, 0, ChangeMessage::Ask { request: stray }, "no such request");
    let good = request_of(&world, 0, &all(3), 1);
    let request = Digest::from_slice(&good.msg_hash).expect("32 bytes");
    world.inject(0, 1, ChangeMessage::Request(Box::new(good)));
    is_ignored(&mut world, 3, ChangeMessage::Ask { request }, "not a participant");
    let sealed = vec![1, 2, 3];
    is_ignored(&mut world, 3, ChangeMessage::Dealing { request, sealed }, "not a participant");
    is_ignored(&mut world, 2, ChangeMessage::Ack { request, ack: vec![1] }, "nothing dealt yet");
}

#[test]
fn a_request_known_from_the_ledger_is_ignored() {
    let mut world = World::<Hashed>::new(1, 2);
    let (_, req_id) = world.start(&all(2)).expect("started");
    world.run();
    let known = world.requests.first().cloned().expect("seen");
    assert_eq!(known.req_id, req_id);
    is_ignored(&mut world, 0, ChangeMessage::Request(Box::new(known)), "it is over");
}

fn refusal(
    world: &mut World<Hashed>,
    node: usize,
    listed: &[usize],
    numbers: (u64, u64, u64),
) -> String {
    let producers = listed.iter().map(|index| world.key(*index)).collect();
    let (interval, length, count) = numbers;
    let refused = world.start_with(node, producers, interval, length, count);
    refused.expect_err("refused").to_string()
}

#[test]
fn wrong_parameters_are_refused_in_the_order_and_words_of_the_reference() {
    let mut world = World::<Hashed>::new(1, 3);
    let (good, bad) = ((500, 1_000, 10), (499, 999, 9));
    let mut said = |node, listed: &[usize], numbers| refusal(&mut world, node, listed, numbers);
    assert_eq!(said(1, &[], bad), "Only group owner can do this");
    assert_eq!(said(0, &[], bad), "producer pubkey list empty");
    assert_eq!(said(0, &[1, 1], bad), "producer pubkey should be unique");
    let length = "agreement tick length should be greater than 1000(ms)";
    assert_eq!(said(0, &[1, 2], bad), length);
    assert_eq!(said(0, &[1], (500, 999, 10)), length);
    let count = "agreement tick count should be greater than 10";
    assert_eq!(said(0, &[1], (499, 1_000, 9)), count);
    let interval = "trx epoch tick length should be greater than 500(ms)";
    assert_eq!(said(0, &[1], (499, 1_000, 10)), interval);
    let stranger = MemberKey::generate(&mut ChaCha20Rng::seed_from_u64(5)).public();
    let unknown = world.start_with(0, vec![world.key(1), stranger], 499, 999, 9);
    let text = format!("producer <{stranger}> is not announced");
    assert_eq!(unknown.expect_err("refused"), CommandError::Invalid(text));
    assert!(world.nodes.iter().all(|node| node.disk.notes().is_empty()), "nothing has changed");
    let (interval, length, count) = good;
    world.start_with(0, vec![world.key(1)], interval, length, count).expect("the limits pass");
}

#[test]
fn the_owner_needs_no_announcement() {
    let mut world = World::<Hashed>::new(1, 1);
    world.forget_announcement(0);
    world.start(&[0]).expect("started");
    world.run();
    world.assert_keys(1, &[0]);
}

#[test]
fn promised_ids_and_request_ids_are_fresh() {
    let mut ids = BTreeSet::new();
    let mut world = World::<Hashed>::new(1, 1);
    for nonce in 1..=3 {
        let (TrxId(promised), req_id) = world.start(&[0]).expect("started");
        assert_eq!(promised.get_version_num(), 4);
        assert!(ids.insert(promised.to_string()) && ids.insert(req_id));
        world.run();
        let (_, bundle) = world.chain.last().expect("a result");
        assert_eq!(bundle.req.as_ref().map(|req| req.nonce), Some(nonce));
    }
}

#[test]
fn every_message_has_one_encoding_and_nothing_malformed_panics() {
    let world = World::<Hashed>::new(1, 3);
    let request = Box::new(request_of(&world, 0, &all(3), 1));
    let hash = Digest::from_slice(&request.msg_hash).expect("32 bytes");
    let messages = [
        ChangeMessage::Request(request.clone()),
        ChangeMessage::Offer { request, view_key: ViewPublicKey([3; 32]) },
        ChangeMessage::Dealing { request: hash, sealed: vec![1; 100] },
        ChangeMessage::Ack { request: hash, ack: vec![2; 64] },
        ChangeMessage::Ask { request: hash },
    ];
    for message in messages {
        let bytes = message.encode();
        assert_eq!(ChangeMessage::decode(&bytes), Some(message));
        for cut in 0..bytes.len() {
            assert_eq!(ChangeMessage::decode(&bytes[..cut]), None);
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0xff;
            if let Some(other) = ChangeMessage::decode(&changed) {
                assert_eq!(other.encode(), changed, "one encoding");
            }
        }
        let longer = [bytes, vec![0]].concat();
        assert_eq!(ChangeMessage::decode(&longer), None);
    }
    let sealed = vec![0; limits::MAX_DEALING + 1];
    let long = ChangeMessage::Dealing { request: hash, sealed }.encode();
    assert_eq!(ChangeMessage::decode(&long), None, "over the limit");
}

#[test]
fn damaged_notes_are_forgotten_not_believed() {
    let mut world = World::<Hashed>::new(1, 2);
    world.start(&all(2)).expect("started");
    for _ in 0..8 {
        world.turn();
    }
    assert!(!world.nodes[1].disk.secrets.is_empty());
    world.nodes[1].disk.secrets.clear();
    world.restart(1);
    assert!(world.nodes[1].disk.notes().is_empty(), "without its secrets it takes no part");
    world.run();
    let results: Vec<ChangeResult> =
        world.chain.iter().map(|(_, bundle)| bundle.result().into()).collect();
    assert_eq!(results, [ChangeResult::Timeout]);
    world.assert_clean();
}

#[test]
fn whatever_happens_there_is_one_result_and_success_gives_keys() {
    let mut successes = 0;
    for seed in 0..150 {
        let n = 1 + seed as usize % 5;
        let mut world = World::<Hashed>::new(seed, 6);
        world.loss = world.below(60);
        world.doubled = world.below(60);
        let (node, step) = (world.below(6) as usize, world.below(60));
        let (durable, down) = (world.below(2) == 0, world.below(4 * TICK));
        world.crash = Some(Crash { node, step, durable, down });
        let mut promises = Vec::new();
        for _ in 0..1 + seed % 3 {
            let first = world.below(6) as usize;
            let listed: Vec<usize> = (0..n).map(|index| (first + index) % 6).collect();
            if world.nodes[0].change.is_some()
                && let Ok((promised, req_id)) = world.start(&listed)
            {
                promises.push((promised, req_id, listed));
            }
            for _ in 0..world.below(600) {
                world.turn();
            }
        }
        world.run();
        assert_eq!(world.chain.len(), promises.len(), "seed {seed}: one result for each change");
        for (promised, req_id, listed) in promises {
            let (trx_id, result) = world.result(&req_id).expect("a result");
            assert_eq!(trx_id == promised, result == ChangeResult::Success, "seed {seed}");
            if result == ChangeResult::Success {
                successes += 1;
                let nonces = world.chain.iter().filter_map(|(_, bundle)| bundle.req.as_ref());
                let request = nonces.into_iter().find(|req| req.req_id == req_id).expect("there");
                world.assert_keys(request.nonce, &listed);
            }
        }
        world.assert_clean();
    }
    assert!(successes > 100, "{successes} successes");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::<Hashed>::new(11, 4);
        world.loss = 20;
        world.start(&all(4)).expect("started");
        world.run();
        (world.trace, world.messages)
    };
    assert!(run() == run());
}
