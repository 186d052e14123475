//! Member changes: joining, replacing, retiring, snapshots for joiners.

use quorate_consensus::raft::{Phase, Role};

use quorate_ledger::ccf::Notary as _;

use super::world::{HashKeys, World, committed, peer, put, write};
use crate::cft::api::{
    Answer, Code, Command, Input, MemberChange, NodeStatus, Query, Reply, TxStatus, Wait,
};
use crate::cft::keys::Keys as _;
use crate::cft::wire::{Introduction, Packet};

fn quiet(_: &mut crate::cft::api::Config) {}

fn status(world: &World, name: &str, of: &str) -> Option<NodeStatus> {
    let Ok(Answer::Nodes(nodes)) = world.driver(name).query(&Query::Nodes) else {
        panic!("nodes");
    };
    nodes.into_iter().find(|node| node.node_id == world.id(of)).map(|node| node.status)
}

#[test]
fn a_node_joins_a_group_of_one() {
    // R14.
    let mut world = World::lone(20, quiet);
    for n in 0..30 {
        world.put("a", &n.to_string(), "v");
    }
    world.join("b", false);
    world.run(1_500);
    assert_eq!(status(&world, "a", "b"), Some(NodeStatus::Pending));
    assert!(world.member("b").is_none(), "not before the operator adds it");
    world.add("b");
    assert_eq!(status(&world, "a", "b"), Some(NodeStatus::Trusted));
    world.put("b", "k", "v");
    world.run(500);
    world.assert_alike(&[]);
    let members = world.member("b").expect("it is one").raft_state().configurations().to_vec();
    assert_eq!(members[0].nodes.len(), 2);
}

#[test]
fn the_node_of_a_group_of_one_is_replaced() {
    // R15, R20, R8: the new node leads without waiting for its timer.
    let mut world = World::lone(21, quiet);
    world.put("a", "k", "1");
    world.join("b", false);
    world.run(1_500);
    let (joins, leaves) = (vec![world.id("b")], vec![world.id("a")]);
    let change = MemberChange::Replace { joins, leaves };
    let Ok(Answer::Plan(plan)) = world.driver("a").query(&Query::Plan(change.clone())) else {
        panic!("a plan");
    };
    assert_eq!((plan.refused, plan.quorum, plan.after), (None, 1, vec![world.id("b")]));
    world.command("a", Command::Member(change));
    let begin = world.env.now.0;
    world.run_until(3_000, |world| world.role("b") == Some(Role::Leader));
    // It asks every 500 ms whether it is admitted; then nothing waits for an election timeout.
    assert!(world.env.now.0 - begin < 700, "{} ms", world.env.now.0 - begin);
    world.run(200);
    assert_eq!(world.phase("a"), Some(Phase::RetiredCommitted));
    assert!(world.hosts["a"].retired);
    let Ok(Answer::Removable { nodes, blocked }) = world.driver("b").query(&Query::Removable)
    else {
        panic!("removable nodes");
    };
    assert_eq!((nodes.len(), nodes[0].node_id, blocked.len()), (1, world.id("a"), 0));
    world.kill("a");
    world.put("b", "k", "2");
    let forget = Command::Member(MemberChange::Forget(world.id("a")));
    let ticket = world.command("b", forget.clone());
    world.run(50);
    assert!(world.replies[&ticket].result.is_ok());
    assert_eq!(status(&world, "b", "a"), None);
    let ticket = world.command("b", forget);
    world.run(50);
    let gone = world.replies[&ticket].result.as_ref().expect_err("it is forgotten");
    assert_eq!(gone.code, Code::ResourceNotFound);
}

#[test]
fn a_member_cannot_be_forgotten_nor_the_last_quorum_removed() {
    let mut world = World::three(22, quiet);
    let leader = world.leader().expect("one leads");
    let code = |world: &mut World, change| {
        let ticket = world.command(&leader, Command::Member(change));
        world.run(20);
        world.replies[&ticket].result.as_ref().map_err(|error| error.code).cloned()
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| world.id(name));
    let forget = code(&mut world, MemberChange::Forget(b));
    assert_eq!(forget, Err(Code::NodeNotRetiredCommitted));
    let everybody = MemberChange::Replace { joins: vec![], leaves: vec![a, b, c] };
    assert_eq!(code(&mut world, everybody), Err(Code::QuorumLost));
    assert_eq!(code(&mut world, MemberChange::Abort), Err(Code::ResourceNotFound));
    assert_eq!(code(&mut world, MemberChange::Add(b)), Err(Code::InvalidInput));
    let stranger = world.id("z");
    assert_eq!(code(&mut world, MemberChange::Add(stranger)), Err(Code::ResourceNotFound));
    // With one of three dead, a live one cannot go: one of the two left would be nobody.
    let dead = ["b", "c"].into_iter().find(|name| *name != leader).expect("a follower");
    let live = ["a", "b", "c"].into_iter().find(|n| *n != leader && *n != dead).expect("another");
    world.kill(dead);
    world.run(1_500);
    let live = world.id(live);
    assert_eq!(code(&mut world, MemberChange::Remove(live)), Err(Code::QuorumLost));
    let dead = world.id(dead);
    assert!(code(&mut world, MemberChange::Remove(dead)).is_ok());
    world.run(500);
    let Ok(Answer::Removable { nodes, .. }) = world.driver(&leader).query(&Query::Removable) else {
        panic!("removable nodes");
    };
    assert_eq!(nodes.len(), 1);
}

#[test]
fn a_change_that_cannot_finish_is_aborted() {
    let mut world = World::three(23, quiet);
    let leader = world.leader().expect("one leads");
    world.join("d", false);
    world.run(1_500);
    world.kill("d");
    let d = world.id("d");
    let ticket = world.command(&leader, Command::Member(MemberChange::Add(d)));
    world.run(500);
    assert!(world.replies[&ticket].result.is_ok());
    let again = world.command(&leader, Command::Member(MemberChange::Add(d)));
    let ticket = world.command(&leader, Command::Member(MemberChange::Abort));
    world.run(500);
    let busy = world.replies[&again].result.as_ref().expect_err("one at a time");
    assert_eq!(busy.code, Code::ChangeInProgress);
    assert!(world.replies[&ticket].result.is_ok());
    world.put(&leader, "k", "v");
    assert_eq!(status(&world, &leader, "d"), Some(NodeStatus::Pending));
    world.run(200);
    world.assert_alike(&[]);
}

#[test]
fn all_three_nodes_are_replaced_under_load() {
    let mut world = World::three(24, |config| config.snapshot_tx_count = 300);
    world.delay = 3;
    let mut tickets = Vec::new();
    let mut n = 0;
    let load = |world: &mut World, n: &mut u32, tickets: &mut Vec<_>, ms: u64| {
        for _ in 0..ms / 10 {
            for name in world.running() {
                if world.member(&name).is_some() && !world.hosts[&name].retired {
                    let op = put(&format!("key-{n:05}"), &n.to_string());
                    let ticket = world.command(&name, write(vec![op], committed(20_000)));
                    tickets.push((*n, ticket));
                    *n += 1;
                }
            }
            world.run(10);
        }
    };
    for (out, joiner, snapshot) in [("a", "d", false), ("b", "e", true), ("c", "f", true)] {
        world.join(joiner, snapshot);
        load(&mut world, &mut n, &mut tickets, 1_000);
        let leader = world.leader().expect("one leads");
        let (joins, leaves) = (vec![world.id(joiner)], vec![world.id(out)]);
        let change = Command::Member(MemberChange::Replace { joins, leaves });
        let ticket = world.command(&leader, change);
        for _ in 0..60 {
            load(&mut world, &mut n, &mut tickets, 100);
            if world.hosts[out].retired {
                break;
            }
        }
        assert!(world.replies[&ticket].result.is_ok(), "{:?}", world.replies[&ticket]);
        assert!(world.hosts[out].retired, "{out} has retired");
        world.run(200);
        world.kill(out);
        load(&mut world, &mut n, &mut tickets, 500);
    }
    world.run(5_000);
    world.assert_alike(&[]);
    let joined_late = world.member("f").expect("a member").raft_state().startup_seqno();
    assert!(joined_late > 0, "it began with a snapshot");
    let mut places = std::collections::BTreeMap::new();
    for (n, ticket) in tickets {
        match &world.replies.get(&ticket).map(|done| &done.result) {
            Some(Ok(Reply::Written { tx, status: TxStatus::Committed, .. })) => {
                assert!(places.insert(*tx, n).is_none(), "one transaction each");
                let value = world.value("e", &format!("key-{n:05}"));
                assert_eq!(value, Some(n.to_string()));
            }
            // It was sent through a node that was then switched off.
            None => {}
            other => panic!("write {n}: {other:?}"),
        }
    }
    assert!(places.len() > 1_000, "{} writes", places.len());
}

#[test]
fn a_planned_retirement_of_the_leader_fails_no_write() {
    let mut world = World::three(25, quiet);
    let leader = world.leader().expect("one leads");
    let node = world.id(&leader);
    world.command(&leader, Command::Member(MemberChange::Remove(node)));
    let mut tickets = Vec::new();
    let mut longest = 0;
    for n in 0..300 {
        let begin = world.env.now.0;
        let ticket =
            world.command(&leader, write(vec![put(&n.to_string(), "v")], committed(5_000)));
        world.run_until(5_000, |world| world.replies.contains_key(&ticket));
        longest = longest.max(world.env.now.0 - begin);
        tickets.push(ticket);
    }
    for ticket in tickets {
        assert!(matches!(
            &world.replies[&ticket].result,
            Ok(Reply::Written { status: TxStatus::Committed, .. })
        ));
    }
    assert!(world.hosts[&leader].retired);
    assert!(longest < 100, "{longest} ms");
}

#[test]
fn a_nominated_follower_leads_at_once() {
    let mut world = World::three(26, quiet);
    let leader = world.leader().expect("one leads");
    let ticket = world.command(&leader, Command::Nominate);
    let begin = world.env.now.0;
    world.run_until(500, |world| world.leader().is_some_and(|now| now != leader));
    assert!(world.env.now.0 - begin < 50);
    assert_eq!(world.replies[&ticket].result, Ok(Reply::Nominated));
    let leader = world.leader().expect("another leads");
    world.put(&leader, "k", "v");
    world.run(200);
    world.assert_alike(&[]);
}

#[test]
fn a_joiner_begins_with_a_snapshot() {
    let mut world = World::lone(27, |config| config.snapshot_tx_count = 50);
    for n in 0..200 {
        world.put("a", &n.to_string(), &n.to_string());
    }
    assert!(world.driver("a").log().snapshots.len() >= 2);
    world.join("b", true);
    world.add("b");
    let start = world.member("b").expect("a member").raft_state().startup_seqno();
    assert!(start > 100, "{start}");
    world.put("b", "k", "v");
    world.run(500);
    world.assert_alike(&[]);
    assert_eq!(world.value("b", "7").as_deref(), Some("7"), "from before the snapshot");
    // It resumes from there, and a third node cannot have from it what it does not have.
    world.kill("b");
    world.resume("b");
    world.run(5_000);
    let leader = world.leader().expect("one leads");
    world.command(&leader, Command::Nominate);
    world.run(500);
    world.join("c", false);
    world.add("c");
    world.run(500);
    world.assert_alike(&[]);
}

#[test]
fn snapshots_are_taken_by_time_too() {
    let mut world = World::three(30, |config| {
        config.snapshot_tx_count = 0;
        config.snapshot_interval_ms = 10_000;
        config.snapshot_min_tx_count = 20;
    });
    let leader = world.leader().expect("one leads");
    let taken = |world: &World, name: &str| {
        let snapshots = &world.driver(name).log().snapshots;
        snapshots.iter().map(|file| file.seqno).collect::<Vec<_>>()
    };
    for n in 0..40 {
        world.put(&leader, &n.to_string(), "v");
    }
    assert!(taken(&world, &leader).is_empty(), "the time is not over");
    world.run(12_000);
    assert!(taken(&world, &leader).is_empty(), "an idle group signs nothing");
    world.put(&leader, "a", "v");
    world.put(&leader, "b", "v");
    world.run(1_000);
    let first = taken(&world, &leader);
    assert_eq!(first.len(), 1);
    world.run(12_000);
    for n in 0..5 {
        world.put(&leader, &n.to_string(), "w");
    }
    world.run(1_000);
    assert_eq!(taken(&world, &leader), first, "too few transactions since");
    for n in 0..20 {
        world.put(&leader, &n.to_string(), "x");
    }
    world.run(1_000);
    let second = taken(&world, &leader);
    assert_eq!(second.len(), 2);
    for name in ["a", "b", "c"] {
        assert_eq!(taken(&world, name), second, "{name}");
        assert_eq!(world.driver(name).log().snapshots, world.driver(&leader).log().snapshots);
    }
}

#[test]
fn a_removed_node_does_not_come_back() {
    let mut world = World::three(28, quiet);
    let leader = world.leader().expect("one leads");
    let out = ["a", "b", "c"].into_iter().find(|name| *name != leader).expect("a follower");
    let node = world.id(out);
    world.command(&leader, Command::Member(MemberChange::Remove(node)));
    world.run(1_000);
    assert!(world.hosts[out].retired);
    world.kill(out);
    world.hosts.remove(out);
    world.join(out, false);
    world.run(2_000);
    let reason = world.hosts[out].stopped.clone().expect("it is told so");
    assert!(reason.contains("removed"), "{reason}");
    let early = write(vec![put("k", "v")], Wait::Response);
    let ticket = world.command(out, early);
    world.run(10);
    let error = world.replies[&ticket].result.as_ref().expect_err("no member");
    assert_eq!(error.code, Code::NodeCannotHandleRequest);
}

#[test]
fn a_member_that_was_down_learns_of_a_new_leader() {
    let mut world = World::three(29, quiet);
    world.run_until(5_000, |world| world.leader().is_some());
    let leader = world.leader().expect("one leads");
    let old = ["a", "b", "c"].into_iter().find(|name| *name != leader).expect("two follow");
    world.kill(old);
    world.join("d", false);
    world.add("d");
    for _ in 0..50 {
        let leader = world.leader().expect("one leads");
        if leader == "d" {
            break;
        }
        world.command(&leader, Command::Nominate);
        world.run(2_000);
    }
    assert_eq!(world.leader().as_deref(), Some("d"));
    world.resume(old);
    world.run(3_000);
    world.put(old, "k", "v");
    world.run(1_000);
    assert_eq!(world.leader().as_deref(), Some("d"), "it was not disturbed");
    world.assert_alike(&[]);
}

#[test]
fn only_who_the_service_has_endorsed_is_introduced() {
    let mut world = World::three(30, quiet);
    let stranger = HashKeys::new("x");
    let statement =
        Introduction::statement(world.config("x").group, &stranger.public_key(), &peer("x"));
    let service = world.hosts["a"].keys.service_certificate().to_owned();
    let introduction = |certificate: &str, proof: Vec<u8>| {
        let certificate = certificate.to_owned();
        let public_key = stranger.public_key();
        Packet::Introduction(Box::new(Introduction { public_key, certificate, proof }))
    };
    let endorsed = format!("node {} by {service}", stranger.node());
    let good = introduction(&endorsed, stranger.prove(&statement));
    let give = |world: &mut World, from: &str, packet: &Packet| {
        let host = world.hosts.get_mut("a").expect("a host");
        host.inputs.push(Input::Packet(peer(from), packet.clone()));
        world.run(1);
        world.member("a").expect("a member").peer_of(&world.id("x"))
    };
    let none = introduction("nobody", stranger.prove(&statement));
    assert_eq!(give(&mut world, "x", &none), None, "not endorsed");
    assert_eq!(give(&mut world, "x", &introduction(&endorsed, vec![1])), None, "no proof");
    assert_eq!(give(&mut world, "y", &good), None, "from somewhere else");
    assert_eq!(give(&mut world, "x", &good), Some(peer("x")));
    let own = world.member("a").expect("a member").peer_of(&world.id("b"));
    assert_eq!(own, Some(peer("b")), "the ledger counts");
}

/// A member was cut off, and everybody who has what it needs next is gone: those who are left joined
/// with a snapshot.
fn behind(seed: u64) -> World {
    let mut world = World::lone(seed, |config| config.snapshot_tx_count = 50);
    for name in ["b", "c"] {
        world.join(name, false);
        world.add(name);
    }
    world.put("c", "before", "1");
    world.isolate("c");
    for n in 0..150 {
        world.put("a", &n.to_string(), "v");
    }
    for name in ["d", "e"] {
        world.join(name, true);
        world.isolate("c");
        world.add(name);
    }
    for name in ["a", "b"] {
        world.run_until(10_000, |world| world.leader().is_some());
        let leader = world.leader().expect("one leads");
        let node = world.id(name);
        let ticket = world.command(&leader, Command::Member(MemberChange::Remove(node)));
        world.run_until(10_000, |world| world.replies.contains_key(&ticket));
        world.replies[&ticket].result.as_ref().expect("it may leave");
        world.run_until(10_000, |world| world.hosts[name].retired);
        world.kill(name);
    }
    world.run_until(10_000, |world| world.leader().is_some());
    world
}

#[test]
fn a_member_that_needs_what_nobody_has_begins_again_after_a_snapshot() {
    let mut world = behind(61);
    let was = world.member("c").expect("a member").raft_state().last_idx();
    let leader = world.leader().expect("one leads");
    let begins = world.member(&leader).expect("a member").raft_state().startup_seqno();
    assert!(was < begins, "{was} entries, and the leader's begin after {begins}");
    // Somebody waits at it, for an answer that it cannot give.
    let waiting = world.command("c", write(vec![put("lost", "1")], committed(60_000)));
    world.heal();
    world.run_until(20_000, |world| {
        let of = |name: &str| world.member(name).map(|member| member.raft_state().commit_idx());
        of("c") == of(&leader)
    });
    world.run(200);
    assert!(world.member("c").expect("a member").raft_state().startup_seqno() >= begins);
    let answer = world.replies[&waiting].result.as_ref();
    match answer {
        Ok(Reply::Written { status: TxStatus::Committed, .. }) => {
            assert_eq!(world.value("c", "lost").as_deref(), Some("1"));
        }
        Err(error) => assert_eq!(error.code, Code::TransactionReplicationFailed, "{error}"),
        other => panic!("{other:?}"),
    }
    world.put("c", "after", "2");
    assert_eq!(world.value("c", "before").as_deref(), Some("1"));
    assert_eq!(world.value("c", "7").as_deref(), Some("v"));
    world.run(200);
    world.assert_alike(&[]);
    // It counts: without it there is no quorum.
    let other = ["d", "e"].into_iter().find(|name| *name != leader).expect("two");
    world.kill(other);
    world.put("c", "more", "3");
    // And it comes back as what it is now.
    world.kill("c");
    world.resume("c");
    world.put("c", "again", "4");
    world.resume(other);
    world.run(2_000);
    world.assert_alike(&[]);
}

#[test]
fn an_offer_that_cannot_be_met_makes_no_storm() {
    let mut world = behind(62);
    let (leader, peers) = (world.leader().expect("one leads"), ["d", "e"]);
    world.heal();
    // Its disk is full: it cannot begin again, and is offered the same for ever.
    world.driver("c").log().full.set(true);
    world.run(2_000);
    let before = world.packets;
    world.run(1_000);
    // A heartbeat every 50 ms to two nodes, its answer, and what is tried with the one behind.
    assert!(world.packets - before < 400, "{} packets", world.packets - before);
    assert!(world.driver("c").member().is_none_or(|member| member.raft_state().commit_idx() < 100));
    world.driver("c").log().full.set(false);
    world.run(3_000);
    assert!(peers.contains(&leader.as_str()));
    world.assert_alike(&[]);
}
