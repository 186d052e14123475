//! Restarts and recovery.

use quorate_consensus::raft::Role;
use quorate_ledger::ccf::maps::ServiceStatus;

use super::world::{HashKeys, World, committed, put, secret, write};
use crate::cft::api::{Answer, Begin, Command, MemberChange, Query, Reply, TxStatus, Wait};

fn quiet(_: &mut crate::cft::api::Config) {}

#[test]
fn all_nodes_stop_and_resume() {
    let mut world = World::three(40, quiet);
    let leader = world.leader().expect("one leads");
    world.put(&leader, "k", "1");
    for name in ["a", "b", "c"] {
        world.kill(name);
    }
    for name in ["a", "b", "c"] {
        world.resume(name);
    }
    world.run_until(10_000, |world| world.leader().is_some());
    let leader = world.leader().expect("one leads");
    world.put(&leader, "l", "2");
    world.run(500);
    assert_eq!(world.value(&leader, "k").as_deref(), Some("1"));
    world.assert_alike(&[]);
}

#[test]
fn a_lost_group_is_recovered_from_one_ledger() {
    let mut world = World::three(41, quiet);
    let leader = world.leader().expect("one leads");
    let old = world.put(&leader, "k", "1");
    world.run(200);
    world.isolate(&leader);
    let lost = world.command(&leader, write(vec![put("lost", "1")], Wait::Response));
    world.run(0);
    let lost = match &world.replies[&lost].result {
        Ok(Reply::Written { tx, .. }) => *tx,
        other => panic!("{other:?}"),
    };
    let before = world.member(&leader).expect("a member").raft_state().view();
    for name in ["a", "b", "c"] {
        world.kill(name);
    }
    world.heal();
    let follower = ["a", "b", "c"].into_iter().find(|name| *name != leader).expect("two");
    let log = world.hosts[follower].log.clone();
    world.hosts.clear();
    let begin = Begin::Recover {
        secret: secret(),
        endorsement: "the old key by the new".to_owned(),
        handover: Some(vec![1, 2]),
    };
    world.open("r", HashKeys::founder("r", b"another service key"), log, begin);
    world.run(50);
    let member = world.member("r").expect("a member");
    assert_eq!(member.raft_state().role(), Some(Role::Leader));
    assert_eq!(member.raft_state().view(), before + 2);
    assert_eq!(member.status(old), TxStatus::Committed);
    assert_eq!(member.status(lost), TxStatus::Invalid);
    assert_eq!(world.value("r", "k").as_deref(), Some("1"));
    assert_eq!(world.value("r", "lost"), None);
    let Ok(Answer::Network(network)) = world.driver("r").query(&Query::Network) else {
        panic!("the service");
    };
    assert_eq!(network.service_status, ServiceStatus::Open);
    assert_eq!((network.recovery_count, network.endorsements.len()), (1, 1));
    let Ok(Answer::Receipt(receipt)) = world.driver("r").query(&Query::Receipt(old)) else {
        panic!("a receipt");
    };
    assert!(receipt.contains("the old key by the new"));
    let new = world.put("r", "k", "2");
    let Ok(Answer::Receipt(receipt)) = world.driver("r").query(&Query::Receipt(new)) else {
        panic!("a receipt");
    };
    assert!(!receipt.contains("service_endorsements"));
    // It grows again.
    for name in ["s", "t"] {
        world.join(name, false);
        world.add(name);
    }
    world.put("t", "k", "3");
    world.run(500);
    world.assert_alike(&[]);
    world.kill("s");
    world.resume("s");
    world.put("s", "k", "4");
    world.run(500);
    world.assert_alike(&[]);
}

#[test]
fn a_recovered_group_waits_for_no_node_of_before_whatever_its_disks_forget() {
    let mut world = World::three(43, quiet);
    let leader = world.leader().expect("one leads");
    let old = world.put(&leader, "k", "1");
    world.run(200);
    for name in ["a", "b", "c"] {
        world.kill(name);
    }
    let log = world.hosts["a"].log.clone();
    let stored = 2;
    world.hosts.clear();
    let begin = Begin::Recover { secret: secret(), endorsement: "link".to_owned(), handover: None };
    world.open("r", HashKeys::founder("r", b"another service key"), log, begin);
    world.run(50);
    // The commit index is not synced when it is stored: one of long ago may be found.
    let forget = |world: &mut World, name: &str| {
        world.kill(name);
        world.hosts.get_mut(name).expect("a host").log.commit_idx = stored;
    };
    forget(&mut world, "r");
    world.resume("r");
    world.run_until(10_000, |world| world.leader().is_some());
    assert_eq!(world.member("r").expect("a member").status(old), TxStatus::Committed);
    world.put("r", "k", "2");
    for name in ["s", "t"] {
        world.join(name, false);
        world.add(name);
    }
    world.run(500);
    // Those that never recovered anything must not wait either.
    for name in ["r", "s", "t"] {
        forget(&mut world, name);
    }
    for name in ["r", "s", "t"] {
        world.resume(name);
    }
    world.run_until(20_000, |world| world.leader().is_some());
    world.put("s", "k", "3");
    world.run(500);
    world.assert_alike(&[]);
}

#[test]
fn nothing_is_said_to_nodes_of_before_a_recovery() {
    let mut world = World::three(44, quiet);
    world.join("d", false);
    world.run(500);
    // A change waits for a node that will never have what it needs.
    let joiner = world.id("d");
    world.kill("d");
    let leader = world.leader().expect("one leads");
    let change = world.command(&leader, Command::Member(MemberChange::Add(joiner)));
    world.run(2_000);
    assert!(world.replies[&change].result.is_ok());
    for name in ["a", "b", "c"] {
        world.kill(name);
    }
    let log = world.hosts[&leader].log.clone();
    world.hosts.clear();
    let begin = Begin::Recover { secret: secret(), endorsement: "link".to_owned(), handover: None };
    world.open("r", HashKeys::founder("r", b"another service key"), log, begin);
    let raft = |world: &World, name: &str| {
        let raft = world.member(name).expect("a member").raft_state();
        (raft.learners().clone(), raft.peers().keys().copied().collect::<Vec<_>>())
    };
    assert_eq!(raft(&world, "r"), (Default::default(), Vec::new()));
    world.run(200);
    for name in ["s", "t"] {
        world.join(name, false);
        world.add(name);
    }
    world.put("r", "k", "1");
    // A node that was not there then leads.
    world.isolate("r");
    world.run_until(20_000, |world| world.leader().is_some_and(|name| name != "r"));
    let next = world.leader().expect("one leads");
    let mut others: Vec<_> = ["r", "s", "t"].into_iter().filter(|name| *name != next).collect();
    others.sort_unstable_by_key(|name| world.id(name));
    let others: Vec<_> = others.into_iter().map(|name| world.id(name)).collect();
    assert_eq!(raft(&world, &next), (Default::default(), others));
}

#[test]
fn nodes_can_join_a_group_recovered_from_a_ledger_without_its_beginning() {
    let mut world = World::lone(45, |config| config.snapshot_tx_count = 50);
    for n in 0..120 {
        world.put("a", &n.to_string(), "v");
    }
    world.join("b", true);
    world.add("b");
    world.put("b", "k", "v");
    world.run(500);
    world.kill("a");
    world.kill("b");
    let log = world.hosts["b"].log.clone();
    assert!(log.base > 0, "it began with a snapshot");
    world.hosts.clear();
    // No snapshot will be due.
    world.settings = |config| config.snapshot_tx_count = 0;
    let begin = Begin::Recover { secret: secret(), endorsement: "link".to_owned(), handover: None };
    world.open("r", HashKeys::founder("r", b"another service key"), log, begin);
    world.run(200);
    for (name, from_snapshot) in [("s", true), ("t", false)] {
        world.join(name, from_snapshot);
        world.add(name);
    }
    world.put("t", "k", "w");
    world.run(500);
    world.assert_alike(&[]);
    let entries = world.driver("r").log().entries.len();
    world.run(5_000);
    assert_eq!(world.driver("r").log().entries.len(), entries, "one snapshot is enough");
}

#[test]
fn a_ledger_that_was_tampered_with_is_refused() {
    let mut world = World::lone(42, quiet);
    for n in 0..20 {
        world.put("a", &n.to_string(), "v");
    }
    world.kill("a");
    let host = world.hosts.remove("a").expect("a host");
    let secret = host.secret.expect("a service");
    let mut refused = 0;
    let entries = host.log.entries.len();
    for at in 0..entries - 1 {
        let mut log = host.log.clone();
        let mut bytes = log.entries[at].to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        log.entries[at] = bytes.into();
        let recovered = crate::cft::log::Recovered {
            view: log.view,
            voted_for: log.voted_for,
            commit_idx: log.commit_idx,
            snapshot: None,
            last_idx: entries as u64,
        };
        let begin = Begin::Resume { secret: secret.clone() };
        let config = world.config("a");
        let keys = host.keys.clone();
        let opened =
            crate::cft::CftDriver::open(&mut world.env, config, begin, keys, recovered, log);
        refused += usize::from(opened.is_err());
    }
    assert_eq!(refused, entries - 1);
}

#[test]
fn a_group_of_one_resumes_with_its_last_writes() {
    let mut world = World::lone(43, quiet);
    let tx = world.put("a", "k", "v");
    world.kill("a");
    world.resume("a");
    world.run_until(5_000, |world| world.role("a") == Some(Role::Leader));
    let ticket = world.command("a", write(vec![put("l", "w")], committed(1_000)));
    world.run(50);
    assert!(world.replies[&ticket].result.is_ok());
    let status = world.member("a").map(|member| member.status(tx));
    assert_eq!(status, Some(TxStatus::Committed));
}

#[test]
fn a_changed_bit_of_the_last_signature_is_refused() {
    let mut world = World::three(46, quiet);
    let leader = world.leader().expect("one leads");
    world.put(&leader, "k", "1");
    world.run(500);
    let name = ["a", "b", "c"].into_iter().find(|name| *name != leader).expect("two follow");
    world.kill(name);
    let (keys, whole) = (world.hosts[name].keys.clone(), world.hosts[name].log.clone());
    let begin = || Begin::Resume { secret: secret() };
    let last = whole.entries.last().expect("entries").len();
    // The length, the version and whether a chunk ends are the log's to check.
    for at in (1..2).chain(8..last) {
        for bit in if at == 1 { [2, 2] } else { [1, 0x20] } {
            let mut log = whole.clone();
            let entry = log.entries.last_mut().expect("entries");
            let mut bytes = entry.to_vec();
            bytes[at] ^= bit;
            *entry = bytes.into();
            let opened = world.try_open(name, keys.clone(), log, begin());
            let error = opened.err().unwrap_or_else(|| panic!("byte {at}, bit {bit}"));
            assert!(error.to_string().contains("entry "), "{error}");
        }
    }
    assert!(world.try_open(name, keys, whole, begin()).is_ok());
}
