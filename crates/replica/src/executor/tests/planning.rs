//! EXE-1 to EXE-8: what decisions come to, and how blocks of others are judged.

use super::*;

#[test]
fn a_success_ends_the_view_and_is_last() {
    let mut world = world();
    let (owner, key) = (world.owner().clone(), member(5));
    let bundle = world.bundle(1, ChangeResult::Success);
    let trxs = [world.post(&owner), world.result(&bundle), world.post(&key)];
    let planned = world.plan(&[&trxs]);
    let kinds: Vec<_> = planned.trxs.iter().map(|t| t.trx_id.as_str()).collect();
    assert_eq!(kinds, [&trxs[2].trx_id, &trxs[0].trx_id, &trxs[1].trx_id]);
    let next = planned.next_view.clone().expect("a new view");
    assert_eq!((next.number.0, next.nonce), (1, 1));
    assert_eq!(next.proof_trx_id, trxs[1].trx_id);
    let block = world.block(&planned);
    let replayed = world.replay(&block).expect("replays alike");
    assert_eq!((&replayed.writes, &replayed.next_view), (&planned.writes, &planned.next_view));
    let pending = Pending::new(block.clone(), replayed.writes.clone(), replayed.next_view);
    assert_eq!(pending.next_view.map(|v| v.parent), Some((BlockId(8), block.hash())));
    world.state.apply(&planned.writes);
    assert_eq!((last_nonce(&world.state), views(&world.state).count()), (1, 2));
    let again = world.result(&bundle);
    assert!(world.plan(&[&[again]]).trxs.is_empty(), "its request is known");
    let older = world.bundle(1, ChangeResult::Success);
    let older = world.result(&older);
    assert!(world.plan(&[&[older]]).trxs.is_empty(), "its nonce is known");
}

#[test]
fn of_two_successes_the_lower_nonce_goes_first() {
    let mut world = world();
    let (second, first) =
        (world.bundle(2, ChangeResult::Success), world.bundle(1, ChangeResult::Success));
    let trxs = [world.result(&second), world.result(&first)];
    let planned = world.plan(&[&trxs]);
    assert_eq!(planned.trxs, trxs[1..]);
    world.state.apply(&planned.writes);
    world.view = planned.next_view.expect("a view");
    let planned = world.plan(&[&trxs[..1]]);
    assert_eq!(planned.trxs.len(), 1, "then the other one");
}

#[test]
fn failures_only_add_to_the_history() {
    let mut world = world();
    let (late, first) =
        (world.bundle(3, ChangeResult::Failed), world.bundle(2, ChangeResult::Timeout));
    let trx = world.result(&late);
    let planned = world.plan(&[&[trx]]);
    assert_eq!(planned.next_view, None);
    world.state.apply(&planned.writes);
    let trx = world.result(&first);
    world.apply(&[trx]);
    let nonces: Vec<_> = proofs(&world.state).map(|(nonce, _)| nonce).collect();
    assert_eq!(nonces, [0, 2, 3], "in nonce order");
    assert_eq!(views(&world.state).count(), 1);
    let old = world.bundle(1, ChangeResult::Success);
    let trx = world.result(&old);
    assert!(world.plan(&[&[trx]]).trxs.is_empty(), "a success must be newer than all results");
    let (one, other) =
        (world.bundle(4, ChangeResult::Timeout), world.bundle(4, ChangeResult::Failed));
    let trxs = [world.result(&one), world.result(&other)];
    assert_eq!(world.plan(&[&trxs]).trxs.len(), 1, "one result for each nonce");
}

#[test]
fn forged_results_are_refused() {
    let mut world = world();
    let good = world.bundle(1, ChangeResult::Success);
    let refused = |world: &mut World, change: &dyn Fn(&mut ChangeConsensusResultBundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        let trx = world.result(&bundle);
        let planned = world.plan(&[&[trx]]);
        assert!(planned.trxs.is_empty());
        assert_eq!(planned.evidence.len(), 1, "an honest producer would not propose it");
    };
    refused(&mut world, &|b| b.resps.clear());
    refused(&mut world, &|b| b.responsed_producers.clear());
    refused(&mut world, &|b| b.req.as_mut().expect("a request").start_from_epoch = 5);
    refused(&mut world, &|b| b.resps[0].sender_sign[5] ^= 1);
    refused(&mut world, &|b| b.resps[0].key_material = None);
    refused(&mut world, &|b| {
        let material = b.resps[0].key_material.as_mut().expect("key material");
        material.dealer_log[10] ^= 1;
    });
    refused(&mut world, &|b| b.req = None);
}

#[test]
fn proposals_are_united_and_ordered() {
    let mut world = world();
    let (owner, alice, bob) = (world.owner().clone(), member(5), member(6));
    let mut named = [alice.clone(), bob.clone()];
    named.sort_by_key(|key| key.public().to_string());
    let late = world.trx_at(&named[0], TrxType::Post, b"late", NOW + 2);
    let early = world.trx_at(&named[0], TrxType::Post, b"early", NOW + 1);
    let other = world.trx_at(&named[1], TrxType::Post, b"other", NOW);
    let owners = world.trx_at(&owner, TrxType::Post, b"owner", NOW - 9);
    let (a, b) = (
        [late.clone(), owners.clone(), early.clone()],
        [other.clone(), late.clone(), early.clone()],
    );
    let planned = world.plan(&[&a, &b, &[]]);
    let expected = [early, late, other, owners];
    assert_eq!(planned.trxs, expected);
    assert_eq!(planned.timestamp, NOW + 5);
    assert!(planned.evidence.is_empty());
    assert_eq!(world.plan(&[&b, &[], &a]).trxs, expected, "whoever proposed what");
}

#[test]
fn of_two_signings_of_one_trx_the_older_stays() {
    let mut world = world();
    let key = member(5);
    let old = world.post(&key);
    let mut new = old.clone();
    new.time_stamp += 1;
    sign_again(&key, &mut new);
    let (old, new) = ([old], [new]);
    for batches in [[&old[..], &new], [&new, &old]] {
        assert_eq!(world.plan(&batches).trxs, old);
    }
}

#[test]
fn bad_proposals_and_trxs_are_evidence() {
    let mut world = world();
    let key = member(5);
    let good = world.post(&key);
    let mut forged = world.post(&key);
    forged.time_stamp += 1;
    let proposal = |trxs: Vec<Vec<u8>>| Proposal { time_ns: NOW, trxs }.encode();
    let batches = BTreeMap::from([
        (NodeIndex(0), proposal(vec![good.encode_to_vec()])),
        (NodeIndex(1), vec![1, 2, 3]),
        (NodeIndex(2), proposal(vec![forged.encode_to_vec(), vec![9; 9], good.encode_to_vec()])),
        (NodeIndex(3), proposal(vec![forged.encode_to_vec()])),
    ]);
    let planned = world.plan_raw(&batches);
    assert_eq!(planned.trxs, [good]);
    let found: Vec<_> = planned.evidence.iter().map(|e| (e.member, e.fault)).collect();
    assert_eq!(
        found,
        [
            (NodeIndex(1), Fault::BadProposal),
            (NodeIndex(2), Fault::BadTrx),
            (NodeIndex(3), Fault::BadTrx)
        ]
    );
    assert!(planned.evidence[1].detail.contains("1 more"));
    assert_eq!(world.plan_raw(&BTreeMap::new()).trxs, []);
}

#[test]
fn what_does_not_fit_waits() {
    let mut world = world();
    let key = member(5);
    let mut trxs = Vec::new();
    for n in 0..5 {
        trxs.push(world.trx_at(&key, TrxType::Post, &vec![0; 280 * 1024], NOW - n));
    }
    let small = world.trx_at(&key, TrxType::Post, b"{}", NOW + 1);
    trxs.push(small.clone());
    let planned = world.plan(&[&trxs[..3], &trxs[3..]]);
    let size: usize = planned.trxs.iter().map(prost::Message::encoded_len).sum();
    assert!(size <= MAX_CONTENT);
    let stamps: Vec<_> = planned.trxs.iter().map(|trx| trx.time_stamp - NOW).collect();
    assert_eq!(stamps, [-4, -3, -2, 1], "the oldest first, and what is small enough");
    let heavy = |world: &mut World, n: u64| {
        let entry = |i: u64| MapWrite {
            map: "m".to_owned(),
            key: (n * 1_024 + i).to_be_bytes().to_vec(),
            ..MapWrite::default()
        };
        let batch = MapWriteBatch { entries: (0..1_024).map(entry).collect() }.encode_to_vec();
        world.trx(&key, TrxType::MapWrite, &batch)
    };
    let trxs: Vec<_> = (0..70).map(|n| heavy(&mut world, n)).collect();
    let planned = world.plan(&[&trxs]);
    assert!(planned.writes.len() <= MAX_WRITES && !planned.trxs.is_empty());
}

#[test]
fn map_batches_are_all_or_nothing() {
    let mut world = world();
    let key = member(5);
    let write = |op: i32, name: &str, value: &[u8], expected: Option<&[u8]>| MapWrite {
        map: "m".to_owned(),
        key: name.as_bytes().to_vec(),
        op,
        value: value.to_vec(),
        expected: expected.map(<[u8]>::to_vec),
    };
    let run = |world: &mut World, entries: Vec<MapWrite>| {
        let batch = MapWriteBatch { entries }.encode_to_vec();
        let trx = world.trx(&key, TrxType::MapWrite, &batch);
        world.apply(&[trx]);
    };
    let get = |world: &World, name: &str| {
        world.state.get("m", name.as_bytes()).map(|value| value.to_vec())
    };
    run(&mut world, vec![write(0, "a", b"1", None), write(2, "b", b"1", None)]);
    assert_eq!((get(&world, "a"), get(&world, "b")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
    run(&mut world, vec![write(0, "a", b"9", None), write(2, "b", b"9", Some(b"0"))]);
    assert_eq!(get(&world, "a"), Some(b"1".to_vec()), "nothing of a batch that fails");
    run(&mut world, vec![write(0, "a", b"2", None), write(2, "a", b"3", Some(b"2"))]);
    assert_eq!(get(&world, "a"), Some(b"3".to_vec()), "a batch sees its own writes");
    run(&mut world, vec![write(1, "a", b"", None), write(2, "a", b"4", None)]);
    assert_eq!(get(&world, "a"), Some(b"4".to_vec()), "absent after the delete");
}

#[test]
fn blocks_of_others_are_judged_by_the_same_rules() {
    let mut world = world();
    let (alice, bob) = (member(5), member(6));
    let trxs = [world.post(&alice), world.post(&bob), world.post(&alice)];
    let planned = world.plan(&[&trxs]);
    let good = world.block(&planned);
    assert!(world.replay(&good).is_ok());
    let judged = |world: &World, change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        world.replay(&block).expect_err("breaks a rule")
    };
    assert_eq!(judged(&world, &|b| b.trxs.swap(0, 1)), ReplayError::Order);
    assert_eq!(judged(&world, &|b| b.trxs.push(b.trxs[2].clone())), ReplayError::Order);
    assert_eq!(judged(&world, &|b| b.trxs.clear()), ReplayError::Size);
    assert_eq!(judged(&world, &|b| b.header.timestamp = NOW - 1), ReplayError::Timestamp);
    let other = quorate_crypto::hash::Digest([1; 32]);
    assert_eq!(judged(&world, &|b| b.header.write_set = other), ReplayError::Writes);
    assert!(matches!(
        judged(&world, &|b| b.trxs[1].time_stamp += 1),
        ReplayError::Trx { place: 1, refusal: Refusal::Trx(TrxError::Signature) }
    ));
    world.packaged.push(planned.trxs[2].id().expect("an id"));
    let twice = world.replay(&good);
    assert_eq!(twice, Err(ReplayError::Trx { place: 2, refusal: Refusal::Duplicate }));
    assert_eq!(redo(&world.ground(), &good), Ok(planned.writes));
}

#[test]
fn what_was_verified_before_is_not_verified_again() {
    let mut world = world();
    let key = member(5);
    let mut trx = world.post(&key);
    trx.sender_sign = vec![1; 65];
    let bytes: Arc<[u8]> = trx.encode_to_vec().into();
    let proposal = Proposal { time_ns: NOW, trxs: vec![bytes.clone()] }.encode();
    let batches = BTreeMap::from([(NodeIndex(0), proposal)]);
    let ledger =
        Ledger::<Infallible> { checked: &|_, other| *other == *bytes, packaged: &|_| Ok(false) };
    let Ok(planned) =
        plan::<BlsGeneration, _>(&world.ground(), &world.view, PARENT, &batches, &ledger);
    assert_eq!(planned.trxs, [trx]);
}

#[test]
fn an_index_that_cannot_be_read_decides_nothing() {
    let mut world = world();
    let trx = world.post(&member(5));
    let proposal = Proposal { time_ns: NOW, trxs: vec![trx.encode_to_vec()] }.encode();
    let batches = BTreeMap::from([(NodeIndex(0), proposal)]);
    let ledger = Ledger { checked: &|_, _| false, packaged: &|_| Err("read error") };
    let planned = plan::<BlsGeneration, _>(&world.ground(), &world.view, PARENT, &batches, &ledger);
    assert_eq!(planned, Err("read error"));
}
