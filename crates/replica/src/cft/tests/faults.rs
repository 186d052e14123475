//! Lost leaders, lost packets, crashes.

use std::collections::BTreeMap;

use rand_core::Rng as _;

use super::world::{World, committed, peer, put, write};
use crate::cft::api::{
    Code, Command, Input, MemberChange, Op, OpResult, Query, Reply, Ticket, TxStatus, Wait,
};
use crate::cft::limits::READ_BACK_BYTES;
use crate::cft::wire::Packet;

fn quiet(_: &mut crate::cft::api::Config) {}

#[test]
fn an_unsent_suffix_goes_from_pending_to_invalid() {
    let mut world = World::three(60, quiet);
    let leader = world.leader().expect("one leads");
    let session = world.put(&leader, "k", "1");
    world.isolate(&leader);
    let early = world.command(&leader, write(vec![put("k", "2")], Wait::Response));
    let late = world.command(&leader, write(vec![put("l", "2")], committed(60_000)));
    world.run(1);
    let lost = match &world.replies[&early].result {
        Ok(Reply::Written { tx, status: TxStatus::Pending, .. }) => *tx,
        other => panic!("{other:?}"),
    };
    world.run_until(20_000, |world| world.leader().is_some_and(|now| now != leader));
    let other = world.leader().expect("another leads");
    let status = |world: &World, name: &str| world.member(name).map(|member| member.status(lost));
    assert_eq!(status(&world, &leader), Some(TxStatus::Pending));
    world.put(&other, "k", "3");
    assert_eq!(status(&world, &other), Some(TxStatus::Invalid));
    assert!(!world.replies.contains_key(&late), "the old leader does not know");
    world.heal();
    world.run(3_000);
    assert_eq!(status(&world, &leader), Some(TxStatus::Invalid));
    assert!(matches!(
        &world.replies[&late].result,
        Ok(Reply::Written { status: TxStatus::Invalid, .. })
    ));
    world.assert_alike(&[]);
    // A session that saw it is told; one that saw what is committed goes on.
    let read = |session| Command::Read {
        ops: vec![Op::Get { map: "records".into(), key: b"k".to_vec() }],
        consistency: crate::cft::api::Consistency::Local,
        session: Some(session),
    };
    let broken = world.command(&leader, read(lost));
    let whole = world.command(&leader, read(session));
    world.run(50);
    let error = world.replies[&broken].result.as_ref().expect_err("rolled back");
    assert_eq!(error.code, Code::SessionConsistencyLost);
    match &world.replies[&whole].result {
        Ok(Reply::Read { results, .. }) => {
            assert_eq!(results[..], [OpResult::Value(Some(b"3"[..].into()))]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_isolated_leader_steps_down_and_answers_truthfully() {
    let mut world = World::three(61, quiet);
    let leader = world.leader().expect("one leads");
    let view = world.member(&leader).expect("a member").raft_state().view();
    world.isolate(&leader);
    let late = world.command(&leader, write(vec![put("k", "1")], committed(3_000)));
    world.run(2_000);
    let member = world.member(&leader).expect("a member");
    assert!(!member.leads());
    assert_eq!(member.raft_state().view(), view, "in the same view");
    let refused = world.command(&leader, write(vec![put("l", "1")], Wait::Response));
    world.run(1_500);
    match &world.replies[&late].result {
        Ok(Reply::Written { status: TxStatus::Pending, .. }) => {}
        other => panic!("{other:?}"),
    }
    world.run(3_000);
    let error = world.replies[&refused].result.as_ref().expect_err("nobody leads here");
    assert_eq!(error.code, Code::PrimaryNotFound);
}

#[test]
fn a_thousand_waiters_are_told_the_truth_when_the_leader_dies() {
    let mut world = World::three(62, quiet);
    let leader = world.leader().expect("one leads");
    let followers: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| *name != leader).collect();
    let mut tickets: BTreeMap<Ticket, String> = BTreeMap::new();
    for n in 0..1_000 {
        let name = followers[n % 2];
        let key = format!("key-{n}");
        let op = put(&key, "v");
        tickets.insert(world.command(name, write(vec![op], committed(8_000))), key);
        if n % 100 == 99 {
            world.run(1);
        }
    }
    world.kill(&leader);
    world.run(12_000);
    let mut counts = BTreeMap::new();
    let survivor = world.leader().expect("one leads");
    for (ticket, key) in tickets {
        let there = world.value(&survivor, &key).is_some();
        let kind = match &world.replies[&ticket].result {
            Ok(Reply::Written { status: TxStatus::Committed, .. }) => {
                assert!(there, "{key} is committed");
                "committed"
            }
            Ok(Reply::Written { status: TxStatus::Invalid, .. }) => {
                assert!(!there, "{key} is invalid");
                "invalid"
            }
            Ok(Reply::Written { .. }) => "open",
            Err(error) => error.code.name(),
            other => panic!("{other:?}"),
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<u32>(), 1_000, "{counts:?}");
    assert!(counts["committed"] > 500, "{counts:?}");
    assert!(!counts.contains_key("open"), "{counts:?}");
    world.resume(&leader);
    world.run(3_000);
    world.assert_alike(&[]);
}

#[test]
fn a_retry_after_the_leader_died_is_not_done_twice() {
    for seed in 0..10 {
        let mut world = World::three(100 + seed, quiet);
        let leader = world.leader().expect("one leads");
        let follower = ["a", "b", "c"].into_iter().find(|n| *n != leader).expect("two follow");
        let add = |key: u8| Command::Write {
            ops: vec![Op::Put { map: "log".into(), key: vec![key], value: vec![key].into() }],
            idempotency: Some(vec![key]),
            wait: committed(20_000),
            session: None,
        };
        let tickets: Vec<_> = (0..20).map(|key| world.command(follower, add(key))).collect();
        world.run(1 + seed % 4);
        world.kill(&leader);
        world.run(10_000);
        let mut found = BTreeMap::new();
        for (key, ticket) in (0u8..).zip(&tickets) {
            match &world.replies[ticket].result {
                Ok(Reply::Written { tx, status: TxStatus::Committed, .. }) => {
                    found.insert(key, *tx);
                }
                Ok(Reply::Written { status: TxStatus::Invalid, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        // The caller asks again under the same key.
        let now = world.leader().expect("one leads");
        for key in 0..20 {
            let ticket = world.command(&now, add(key));
            world.run_until(1_000, |world| world.replies.contains_key(&ticket));
            match &world.replies[&ticket].result {
                Ok(Reply::Written { tx, repeated, .. }) => {
                    assert_eq!(found.contains_key(&key), *repeated, "key {key}");
                    assert!(found.get(&key).is_none_or(|before| before == tx), "key {key}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Members crash, packets are lost and late; then all is well again. Nothing that was said to be
/// committed is gone, and counters that were raised once are raised once.
#[test]
fn nothing_committed_is_lost_under_faults() {
    for seed in 0..12 {
        let mut world = World::three(200 + seed, |config| {
            config.snapshot_tx_count = 100;
            config.chunk_size = 20_000;
        });
        world.loss = 30;
        world.delay = 20;
        let mut tickets: BTreeMap<Ticket, u32> = BTreeMap::new();
        let mut n = 0;
        for round in 0..60 {
            for name in world.running() {
                let wait = if n % 3 == 0 { Wait::Response } else { committed(15_000) };
                let op = put(&format!("{n}"), &format!("{n}"));
                tickets.insert(world.command(&name, write(vec![op], wait)), n);
                n += 1;
            }
            let pause = world_random(&mut world) % 300;
            world.run(pause);
            let names = ["a", "b", "c"];
            let name = names[usize::try_from(world_random(&mut world) % 3).expect("small")];
            match world_random(&mut world) % 8 {
                0 if world.running().len() == 3 => world.kill(name),
                1 => world.isolate(name),
                2 => world.heal(),
                _ => {}
            }
            if round % 5 == 4 {
                for name in names {
                    if world.hosts[name].driver.is_none() {
                        world.resume(name);
                    }
                }
            }
        }
        world.heal();
        (world.loss, world.delay) = (0, 1);
        for name in ["a", "b", "c"] {
            if world.hosts[name].driver.is_none() {
                world.resume(name);
            }
        }
        world.run(20_000);
        let leader = world.leader().expect("one leads");
        world.put(&leader, "last", "v");
        world.run(500);
        world.assert_alike(&[]);
        let mut done = 0;
        for (ticket, n) in tickets {
            let Some(reply) = world.replies.get(&ticket) else { continue };
            let value = world.value(&leader, &n.to_string());
            match &reply.result {
                Ok(Reply::Written { status: TxStatus::Committed, .. }) => {
                    assert_eq!(value, Some(n.to_string()), "seed {seed}");
                    done += 1;
                }
                Ok(Reply::Written { status: TxStatus::Invalid, .. }) => {
                    assert_eq!(value, None, "seed {seed}");
                }
                _ => {}
            }
        }
        assert!(done > 10, "seed {seed}: {done} writes");
    }
}

fn world_random(world: &mut World) -> u64 {
    world.env.rng.next_u64()
}

#[test]
fn a_joiner_whose_disk_fails_stalls_and_goes_on_when_it_has_room() {
    let mut world = World::lone(63, |config| config.snapshot_tx_count = 50);
    for n in 0..120 {
        world.put("a", &n.to_string(), "v");
    }
    world.join("b", true);
    let full = world.driver("b").log().full.clone();
    full.set(true);
    world.run(1_000);
    let node = world.id("b");
    let ticket = world.command("a", Command::Member(MemberChange::Add(node)));
    world.run(3_000);
    assert!(world.replies[&ticket].result.is_ok());
    assert!(world.driver("b").stats().failures > 1, "it tries again");
    assert_eq!(world.hosts["b"].stopped, None, "it has not given up");
    assert!(world.driver("b").status().joining);
    let refused = world.command("b", write(vec![put("k", "v")], Wait::Response));
    world.run(1);
    let error = world.replies[&refused].result.as_ref().expect_err("no room");
    assert!(error.message.contains("no space left"), "{error:?}");
    full.set(false);
    world.run(5_000);
    assert!(world.member("b").is_some_and(|member| member.raft_state().startup_seqno() >= 50));
    world.put("b", "k", "v");
    world.run(500);
    world.assert_alike(&[]);
}

fn from_to(from: &str, to: &str) -> Command {
    let (map, key) = ("records".into(), b"k".to_vec());
    let (expected, value) = (Some(from.as_bytes().into()), Some(to.as_bytes().into()));
    let ops = vec![Op::CompareAndSet { map, key, expected, value }];
    Command::Write { ops, idempotency: Some(vec![7]), wait: committed(5_000), session: None }
}

#[test]
fn a_copy_of_a_refused_write_is_not_done_later() {
    let mut world = World::three(64, quiet);
    let leader = world.leader().expect("one leads");
    let follower = ["a", "b", "c"].into_iter().find(|n| *n != leader).expect("two follow");
    world.put(&leader, "k", "1");
    let forward = || Packet::Forward(vec![(5, from_to("2", "3"))]);
    let give = |world: &mut World| {
        let host = world.hosts.get_mut(&leader).expect("a host");
        host.inputs.push(Input::Packet(peer(follower), forward()));
    };
    // The second copy comes while the first one waits, the third when it has been refused.
    world.command(&leader, write(vec![put("other", "1")], Wait::Response));
    give(&mut world);
    give(&mut world);
    world.command(&leader, write(vec![put("k", "2")], Wait::Response));
    give(&mut world);
    world.run(500);
    world.put(&leader, "k", "2");
    give(&mut world);
    world.run(500);
    assert_eq!(world.value(&leader, "k").as_deref(), Some("2"), "it was refused");
}

#[test]
fn a_refusal_is_believed_only_of_a_write_that_was_sent_once() {
    let mut world = World::three(65, quiet);
    let leader = world.leader().expect("one leads");
    let follower = ["a", "b", "c"].into_iter().find(|n| *n != leader).expect("two follow");
    world.put(&leader, "k", "1");
    let once = world.command(follower, from_to("2", "3"));
    world.run(500);
    let refusal = world.replies[&once].result.as_ref().expect_err("it is not 2");
    assert_eq!(refusal.code, Code::PreconditionFailed);
    // The leader hears it and is not heard any more.
    for other in ["a", "b", "c"].into_iter().filter(|other| *other != leader) {
        world.cut.insert((leader.clone(), other.to_owned()));
    }
    let twice = world.command(follower, from_to("2", "4"));
    world.run(20_000);
    assert_ne!(world.leader().as_ref(), Some(&leader));
    let doubt = world.replies[&twice].result.as_ref().expect_err("it is not 2");
    assert_eq!(doubt.code, Code::TransactionReplicationFailed);
}

/// Three nodes of which one has missed so much that it is read back from the leader's log.
fn one_far_behind(
    seed: u64,
    settings: fn(&mut crate::cft::api::Config),
) -> (World, String, String) {
    let mut world = World::three(seed, settings);
    let leader = world.leader().expect("one leads");
    let follower = ["a", "b", "c"].into_iter().find(|name| *name != leader).expect("three");
    world.kill(follower);
    for n in 0..60 {
        world.put(&leader, &n.to_string(), "v");
    }
    (world, leader, follower.to_owned())
}

fn little_memory(config: &mut crate::cft::api::Config) {
    (config.recent_entries, config.snapshot_tx_count) = (16, 0);
}

#[test]
fn a_leader_that_cannot_read_its_log_lets_another_lead() {
    let (mut world, leader, follower) = one_far_behind(64, little_memory);
    world.driver(&leader).log().rotten.set(20);
    world.resume(&follower);
    world.run_until(5_000, |world| world.leader().is_some_and(|now| now != leader));
    let next = world.leader().expect("another leads");
    assert!(next != leader && next != follower);
    world.run(1_000);
    world.assert_alike(&[]);
    // It still counts.
    world.kill(&follower);
    world.put(&next, "more", "1");
}

#[test]
fn a_leader_that_cannot_read_its_log_offers_a_snapshot() {
    fn snapshots(config: &mut crate::cft::api::Config) {
        (config.recent_entries, config.snapshot_tx_count, config.chunk_size) = (16, 10, 500);
    }
    let (mut world, leader, follower) = one_far_behind(65, snapshots);
    // All that have the entries have lost them.
    for name in ["a", "b", "c"].into_iter().filter(|name| *name != follower) {
        world.driver(name).log().rotten.set(20);
    }
    world.resume(&follower);
    world.run(10_000);
    let member = world.member(&follower).expect("a member");
    assert!(member.raft_state().startup_seqno() > 0, "it began again after a snapshot");
    world.put(&leader, "more", "1");
    world.run(200);
    world.assert_alike(&[]);
}

#[test]
fn a_leader_whose_log_nobody_can_replace_does_not_hand_over_all_the_time() {
    let (mut world, leader, follower) = one_far_behind(66, little_memory);
    for name in ["a", "b", "c"].into_iter().filter(|name| *name != follower) {
        world.driver(name).log().rotten.set(20);
    }
    let view = |world: &World| world.member(&leader).expect("a member").raft_state().view();
    let before = view(&world);
    world.resume(&follower);
    world.run(20_000);
    // Four election timeouts of a second between two attempts, of each of the two that may lead.
    assert!(view(&world) - before <= 12, "{} views", view(&world) - before);
    let now = world.leader().expect("one leads");
    world.put(&now, "more", "1");
}

#[test]
fn a_leader_with_damage_that_nobody_needs_leads_on() {
    let (mut world, leader, follower) = one_far_behind(67, little_memory);
    // Of more than may be read back for one node in one turn.
    let large = "v".repeat(READ_BACK_BYTES / 16);
    for n in 0..40 {
        world.put(&leader, &format!("large {n}"), &large);
    }
    // The follower has this one.
    world.driver(&leader).log().rotten.set(1);
    let entry = world.driver(&leader).query(&Query::Entry(1));
    assert_eq!(entry.expect_err("it has rotted").code, Code::InternalError);
    let view = |world: &World| world.member(&leader).expect("a member").raft_state().view();
    let before = view(&world);
    world.resume(&follower);
    world.run(5_000);
    world.assert_alike(&[]);
    assert_eq!((world.leader().as_ref(), view(&world)), (Some(&leader), before));
    assert_eq!(world.driver(&leader).stats().unreadable, 0);
}

#[test]
fn a_leader_that_learns_in_one_turn_that_another_leads_sends_no_entry_as_its_own() {
    let mut world = World::three(68, quiet);
    let former = world.leader().expect("one leads");
    world.put(&former, "k", "1");
    // It is given a write so large that it is to be sent at once, and then hears of the next leader.
    world.paused = Some(former.clone());
    let large = "2".repeat(20_000);
    let lost = world.command(&former, write(vec![put("k", &large)], Wait::Response));
    let others = |world: &World| {
        let mut others = world.running().into_iter().filter(|name| *name != former);
        others.find(|name| world.member(name).is_some_and(|member| member.leads()))
    };
    world.run_until(20_000, |world| others(world).is_some());
    let next = others(&world).expect("another leads");
    world.put(&next, "k", "3");
    world.paused = None;
    world.run(3_000);
    assert!(matches!(
        &world.replies[&lost].result,
        Ok(Reply::Written { status: TxStatus::Pending, .. })
    ));
    assert_eq!(world.value(&former, "k").as_deref(), Some("3"));
    world.assert_alike(&[]);
}
