//! Members that restart while requests are repeated, and disks that forget, fail or are lost.

use std::collections::BTreeSet;

use super::world::{World, committed, put, write};
use crate::cft::api::{
    Code, Command, Error, MemberChange, Op, Reply, Ticket, TxId, TxStatus, Wait,
};

fn quiet(_: &mut crate::cft::api::Config) {}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Sets `k` if it has a value, once, under an idempotency key.
fn compare(key: u8, from: &str, to: &str) -> Command {
    let (expected, value) = (Some(from.as_bytes().into()), Some(to.as_bytes().into()));
    let op = Op::CompareAndSet { map: "records".into(), key: b"k".to_vec(), expected, value };
    let (idempotency, wait) = (Some(vec![key]), committed(5_000));
    Command::Write { ops: vec![op], idempotency, wait, session: None }
}

fn other_than(leader: &str) -> &'static str {
    NAMES.into_iter().find(|name| *name != leader).expect("three")
}

fn answer(world: &mut World, name: &str, command: Command) -> Result<Reply, Error> {
    let ticket = world.command(name, command);
    world.run_until(20_000, |world| world.replies.contains_key(&ticket));
    world.replies[&ticket].result.clone()
}

/// The leader stops and comes back; somebody leads.
fn restart_leader(world: &mut World) -> String {
    let leader = world.leader().expect("one leads");
    world.kill(&leader);
    world.resume(&leader);
    world.run_until(20_000, |world| world.leader().is_some());
    world.leader().expect("just seen")
}

#[test]
fn a_refusal_holds_for_the_moment_and_is_forgotten_with_the_leader() {
    let mut world = World::three(300, quiet);
    let mut leader = world.leader().expect("one leads");
    world.put(&leader, "k", "1");
    let refused = |world: &mut World, leader: &str| {
        let reply = answer(world, other_than(leader), compare(7, "2", "3"));
        assert_eq!(reply.expect_err("it is not 2").code, Code::PreconditionFailed);
    };
    refused(&mut world, &leader);
    leader = restart_leader(&mut world);
    // Nothing of the key is in the ledger, and nobody takes it for used.
    refused(&mut world, &leader);
    world.put(&leader, "k", "2");
    let reply = answer(&mut world, other_than(&leader), compare(7, "2", "3"));
    let Ok(Reply::Written { tx, status: TxStatus::Committed, repeated: false, .. }) = reply else {
        panic!("{reply:?}");
    };
    // It was done, though now it would be refused: also whoever leads after another restart says so.
    leader = restart_leader(&mut world);
    for name in [leader.as_str(), other_than(&leader)] {
        let reply = answer(&mut world, name, compare(7, "2", "3"));
        let Ok(Reply::Written { tx: again, repeated: true, .. }) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(again, tx);
    }
    let reused = answer(&mut world, &leader, compare(7, "3", "4"));
    assert_eq!(reused.expect_err("another request").code, Code::IdempotencyKeyReused);
    assert_eq!(world.value(&leader, "k").as_deref(), Some("3"));
}

#[test]
fn a_write_whose_first_copy_may_come_back_with_its_leader_is_done_once() {
    for seed in 0..12 {
        let mut world = World::three(320 + seed, quiet);
        let leader = world.leader().expect("one leads");
        world.put(&leader, "k", "1");
        // The leader hears the request and is not heard: it has the first copy on its disk.
        for name in NAMES.into_iter().filter(|name| *name != leader) {
            world.cut.insert((leader.clone(), name.to_owned()));
        }
        let first = world.command(other_than(&leader), compare(9, "1", "2"));
        world.run(2 + seed);
        world.kill(&leader);
        world.cut.clear();
        // Sometimes it comes back in time to lead on, sometimes when another one has led for long.
        world.run(seed * 700);
        world.resume(&leader);
        world.run(15_000);
        let mut done = BTreeSet::new();
        let mut note = |result: &Result<Reply, Error>| match result {
            Ok(Reply::Written { tx, status: TxStatus::Committed, .. }) => {
                done.insert(*tx);
            }
            Ok(Reply::Written { status: TxStatus::Invalid, .. }) => {}
            Err(error) if error.code == Code::TransactionReplicationFailed => {}
            other => panic!("seed {seed}: {other:?}"),
        };
        note(&world.replies[&first].result);
        for name in NAMES {
            let reply = answer(&mut world, name, compare(9, "1", "2"));
            note(&reply);
        }
        assert_eq!(done.len(), 1, "seed {seed}: {done:?}");
        assert_eq!(world.value(&leader, "k").as_deref(), Some("2"), "seed {seed}");
        world.run(500);
        world.assert_alike(&[]);
    }
}

/// All members stop. One finds everything but a commit index of long ago, one cannot write at
/// first, one has lost its disk and comes back as another node: in every order and with any of them
/// in each role.
#[test]
fn members_restart_in_any_order_with_disks_that_forget_fail_and_are_lost() {
    const ORDERS: [[&str; 3]; 6] = [
        ["a", "b", "c"],
        ["a", "c", "b"],
        ["b", "a", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["c", "b", "a"],
    ];
    for (seed, [forgets, full, lost]) in (0..).zip(ORDERS) {
        for forgetful_first in [true, false] {
            let mut world = World::three(340 + seed, |config| config.signature_adaptive = false);
            let sure: Vec<TxId> =
                (0..10).map(|n| world.put(NAMES[n % 3], &format!("sure {n}"), "v")).collect();
            let open: Vec<Ticket> = (0..9)
                .map(|n| {
                    let op = put(&format!("open {n}"), "v");
                    let ticket = world.command(NAMES[n % 3], write(vec![op], Wait::Response));
                    world.run(1);
                    ticket
                })
                .collect();
            for name in NAMES {
                world.kill(name);
            }
            world.hosts.remove(lost);
            world.hosts.get_mut(forgets).expect("a host").log.commit_idx = 0;
            let disk = world.hosts[full].log.full.clone();
            disk.set(true);
            let both = if forgetful_first { [forgets, full] } else { [full, forgets] };
            for name in both {
                world.resume(name);
                world.run(400);
            }
            world.run(4_000);
            assert_eq!(world.leader(), None, "one of three is no quorum");
            let ticket = world.command(full, write(vec![put("k", "v")], Wait::Response));
            world.run(1);
            let error = world.replies[&ticket].result.as_ref().expect_err("it cannot write");
            assert!(error.message.contains("no space left"), "{error:?}");
            disk.set(false);
            world.run_until(20_000, |world| world.leader().is_some());
            world.join("d", false);
            world.run(1_000);
            let (joins, leaves) = (vec![world.id("d")], vec![world.id(lost)]);
            let leader = world.leader().expect("one leads");
            let replace = Command::Member(MemberChange::Replace { joins, leaves });
            answer(&mut world, &leader, replace).expect("it is replaced");
            world.run(5_000);
            world.put("d", "last", "v");
            world.run(500);
            for name in [forgets, full, "d"] {
                for n in 0..10 {
                    let value = world.value(name, &format!("sure {n}"));
                    assert_eq!(value.as_deref(), Some("v"), "{name}, order {seed}");
                }
                let member = world.member(name).expect("a member");
                assert!(sure.iter().all(|tx| member.status(*tx) == TxStatus::Committed));
                // What was only written is there or not, as its status says.
                for (n, ticket) in open.iter().enumerate() {
                    // Some were killed before they said anything.
                    let Some(Ok(Reply::Written { tx, .. })) =
                        world.replies.get(ticket).map(|done| &done.result)
                    else {
                        continue;
                    };
                    let there = world.value(name, &format!("open {n}")).is_some();
                    let status = member.status(*tx);
                    assert_eq!(there, status == TxStatus::Committed, "{name}: {tx} is {status:?}");
                    assert_ne!(status, TxStatus::Pending);
                }
            }
            world.assert_alike(&[]);
        }
    }
}
