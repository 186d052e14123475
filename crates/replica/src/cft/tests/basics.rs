//! One and three nodes without faults: writes, waits, reads, signatures, back pressure.

use quorate_consensus::raft::Role;
use quorate_ledger::ccf::TxId;

use super::world::{World, committed, put, write};
use crate::cft::api::{
    Answer, Code, Command, Consistency, Op, OpResult, Query, Reply, TxStatus, Wait,
};

fn quiet(_: &mut crate::cft::api::Config) {}

fn signatures(world: &World, name: &str) -> usize {
    let entries = &world.driver(name).log().entries;
    let signs = |bytes: &[u8]| {
        let transaction = quorate_ledger::ccf::Transaction::decode_public(bytes).expect("an entry");
        quorate_ledger::ccf::signature::is_signature(&transaction.writes)
    };
    entries.iter().filter(|bytes| signs(bytes)).count()
}

#[test]
fn a_lone_node_opens_its_service_and_commits_at_once() {
    let mut world = World::lone(1, quiet);
    assert_eq!(world.role("a"), Some(Role::Leader));
    let before = world.env.now.0;
    let tx = world.put("a", "k", "v");
    assert_eq!(tx, TxId::new(2, 4), "configuration, open, signature, then the write");
    assert!(world.env.now.0 - before <= 2, "no timer is waited for");
    assert_eq!(world.value("a", "k").as_deref(), Some("v"));
    let answer = world.driver("a").query(&Query::Tx(tx)).expect("known");
    assert!(matches!(answer, Answer::Tx(at, TxStatus::Committed) if at == tx));
}

#[test]
fn an_early_answer_comes_before_the_commit() {
    let mut world = World::three(2, quiet);
    let leader = world.leader().expect("one leads");
    let early = world.command(&leader, write(vec![put("k", "1")], Wait::Response));
    let late = world.command(&leader, write(vec![put("l", "1")], committed(1_000)));
    world.run(0);
    let (tx, status) = match &world.replies[&early].result {
        Ok(Reply::Written { tx, status, .. }) => (*tx, *status),
        other => panic!("{other:?}"),
    };
    assert_eq!(status, TxStatus::Pending);
    assert!(!world.replies.contains_key(&late), "not committed yet");
    assert_eq!(world.value(&leader, "k"), None, "committed state does not see it");
    world.run(10);
    assert!(matches!(
        &world.replies[&late].result,
        Ok(Reply::Written { status: TxStatus::Committed, .. })
    ));
    let status = world.member(&leader).map(|member| member.status(tx));
    assert_eq!(status, Some(TxStatus::Committed));
    world.run(200);
    world.assert_alike(&[]);
}

#[test]
fn a_lone_write_is_signed_at_once_and_an_idle_group_signs_nothing() {
    let mut world = World::three(3, |config| config.signature_delay_ms = 1_000);
    let leader = world.leader().expect("one leads");
    world.run(500);
    let before = (world.driver(&leader).log().entries.len(), world.env.now.0);
    world.put(&leader, "k", "v");
    assert!(world.env.now.0 - before.1 < 50, "one sync and one round trip");
    world.run(10_000);
    let after = world.driver(&leader).log().entries.len();
    assert_eq!(after, before.0 + 2, "the write and its signature");
}

#[test]
fn under_load_there_are_far_fewer_signatures_than_writes() {
    let mut world = World::three(4, quiet);
    let leader = world.leader().expect("one leads");
    let before = signatures(&world, &leader);
    let mut tickets = Vec::new();
    for round in 0..100 {
        for n in 0..50 {
            let key = format!("{round}-{n}");
            tickets.push(world.command(&leader, write(vec![put(&key, "v")], committed(5_000))));
        }
        world.run(1);
    }
    world.run(500);
    let made = signatures(&world, &leader) - before;
    assert!(made <= 102, "{made} signatures for 5000 writes");
    for ticket in tickets {
        assert!(matches!(
            &world.replies[&ticket].result,
            Ok(Reply::Written { status: TxStatus::Committed, .. })
        ));
    }
    world.assert_alike(&[]);
}

#[test]
fn the_plain_rule_signs_by_count_and_age() {
    let mut world = World::three(5, |config| {
        config.signature_adaptive = false;
        config.signature_tx_count = 10;
        config.signature_delay_ms = 300;
    });
    let leader = world.leader().expect("one leads");
    world.run(1_000);
    let before = (signatures(&world, &leader), world.env.now.0);
    world.put(&leader, "k", "v");
    assert!(world.env.now.0 - before.1 >= 300, "its age");
    for n in 0..40 {
        world.command(&leader, write(vec![put(&n.to_string(), "v")], Wait::Response));
    }
    world.run(20);
    assert_eq!(signatures(&world, &leader) - before.0, 5);
    world.run(1_000);
    world.assert_alike(&[]);
}

#[test]
fn reads_see_what_they_promise() {
    let mut world = World::three(6, quiet);
    let leader = world.leader().expect("one leads");
    world.put(&leader, "k", "1");
    let get = || vec![Op::Get { map: "records".into(), key: b"k".to_vec() }];
    let read = |consistency| Command::Read { ops: get(), consistency, session: None };
    // A linearizable read through any node sees what was committed before it came.
    for name in ["a", "b", "c"] {
        let ticket = world.command(name, read(Consistency::Linearizable));
        world.run_until(1_000, |world| world.replies.contains_key(&ticket));
        match &world.replies[&ticket].result {
            Ok(Reply::Read { results, .. }) => {
                assert_eq!(results[..], [OpResult::Value(Some(b"1"[..].into()))]);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // What is not committed is seen by a local read alone.
    let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| *name != leader).collect();
    for other in &others {
        world.isolate(other);
    }
    world.command(&leader, write(vec![put("k", "2")], Wait::Response));
    let local = world.command(&leader, read(Consistency::Local));
    let weak = world.command(&leader, read(Consistency::Committed));
    let strong = world.command(&leader, read(Consistency::Linearizable));
    world.run(100);
    let value = |world: &World, ticket| match &world.replies[&ticket].result {
        Ok(Reply::Read { results, .. }) => results[0].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(&world, local), OpResult::Value(Some(b"2"[..].into())));
    assert_eq!(value(&world, weak), OpResult::Value(Some(b"1"[..].into())));
    assert!(!world.replies.contains_key(&strong), "nobody confirms that it leads");
    world.heal();
    world.run(5_000);
    assert!(world.replies.contains_key(&strong));
    world.assert_alike(&[]);
}

#[test]
fn writes_on_a_follower_are_forwarded_and_done_once() {
    let mut world = World::three(7, quiet);
    let leader = world.leader().expect("one leads");
    let follower = ["a", "b", "c"].into_iter().find(|name| *name != leader).expect("two follow");
    let begin = world.env.now.0;
    let tx = world.put(follower, "k", "v");
    assert!(world.env.now.0 - begin < 20, "the leader tells when it is committed");
    assert_eq!(world.value(&leader, "k").as_deref(), Some("v"));
    // The same key again, through anybody: nothing is written.
    let keyed = |value: &str| Command::Write {
        ops: vec![put("n", value)],
        idempotency: Some(b"once".to_vec()),
        wait: committed(1_000),
        session: Some(tx),
    };
    let mut seen = Vec::new();
    for name in [follower, &leader, follower] {
        let ticket = world.command(name, keyed("1"));
        world.run_until(1_000, |world| world.replies.contains_key(&ticket));
        match &world.replies[&ticket].result {
            Ok(Reply::Written { tx, repeated, .. }) => seen.push((*tx, *repeated)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [(seen[0].0, false), (seen[0].0, true), (seen[0].0, true)]);
    let ticket = world.command(&leader, keyed("2"));
    world.run(10);
    let refused = world.replies[&ticket].result.as_ref().expect_err("another request");
    assert_eq!(refused.code, Code::IdempotencyKeyReused);
}

#[test]
fn comparisons_decide_by_the_newest_state() {
    let mut world = World::three(8, quiet);
    let leader = world.leader().expect("one leads");
    let cas = |expected: Option<&str>, value: &str| {
        let bytes = |text: &str| text.as_bytes().into();
        let op = Op::CompareAndSet {
            map: "records".into(),
            key: b"k".to_vec(),
            expected: expected.map(bytes),
            value: Some(bytes(value)),
        };
        write(vec![op], committed(2_000))
    };
    let tickets: Vec<_> = ["a", "b", "c"].map(|name| world.command(name, cas(None, name))).into();
    world.run(1_000);
    let won = tickets.iter().filter(|ticket| world.replies[ticket].result.is_ok()).count();
    assert_eq!(won, 1);
    for ticket in tickets {
        if let Err(error) = &world.replies[&ticket].result {
            assert_eq!(error.code, Code::PreconditionFailed);
        }
    }
    let now = world.value(&leader, "k").expect("one won");
    let ticket = world.command("b", cas(Some(&now), "next"));
    world.run(100);
    assert!(world.replies[&ticket].result.is_ok());
}

#[test]
fn without_followers_writes_are_refused_until_they_come_back() {
    let mut world = World::three(9, |config| {
        config.max_uncommitted_tx_count = 100;
        config.election_timeout_ms = 60_000;
    });
    let leader = world.leader().expect("one leads");
    world.isolate(&leader);
    let tickets: Vec<_> = (0..200)
        .map(|n| world.command(&leader, write(vec![put(&n.to_string(), "v")], Wait::Response)))
        .collect();
    world.run(10);
    let refused = tickets.iter().filter(|ticket| {
        let result = &world.replies[ticket].result;
        matches!(result, Err(error) if error.code == Code::TooManyPendingTransactions)
    });
    assert!(refused.count() >= 100);
    world.heal();
    world.run(1_000);
    world.put(&leader, "after", "v");
    world.run(200);
    world.assert_alike(&[]);
}

#[test]
fn receipts_are_made_from_the_log() {
    let mut world = World::lone(10, quiet);
    let tx = world.put("a", "k", "v");
    let Ok(Answer::Receipt(json)) = world.driver("a").query(&Query::Receipt(tx)) else {
        panic!("a receipt");
    };
    assert!(json.contains("leaf_components") && json.contains(&format!("ce:{tx}:")));
    let later = TxId::new(2, 99);
    let missing = world.driver("a").query(&Query::Receipt(later)).expect_err("not there");
    assert_eq!(missing.code, Code::TransactionPendingOrUnknown);
    let other = TxId::new(1, tx.seqno);
    let invalid = world.driver("a").query(&Query::Receipt(other)).expect_err("another view");
    assert_eq!(invalid.code, Code::TransactionInvalid);
}

#[test]
fn a_full_disk_stalls_and_nothing_leaves_before_it_has_room() {
    let mut world = World::three(11, quiet);
    let leader = world.leader().expect("one leads");
    let full = world.driver(&leader).log().full.clone();
    full.set(true);
    let kept = world.command(&leader, write(vec![put("k", "v")], Wait::Response));
    world.run(1);
    assert!(!world.replies.contains_key(&kept), "it is not durable");
    let refused = world.command(&leader, write(vec![put("l", "v")], Wait::Response));
    world.run(1);
    let error = world.replies[&refused].result.as_ref().expect_err("no room");
    assert_eq!(error.code, Code::InternalError);
    assert!(world.driver(&leader).query(&Query::Nodes).is_err(), "its state is ahead of its disk");
    assert!(world.driver(&leader).stats().failures > 0);
    full.set(false);
    world.run(600);
    assert!(world.replies[&kept].result.is_ok());
    world.put(&leader, "m", "v");
    world.run(500);
    assert_eq!(world.value("b", "k").as_deref(), Some("v"));
    assert_eq!(world.value("b", "l"), None);
    world.assert_alike(&[]);
}
