//! What the scenarios of the simulator cannot show: beginnings, learners, reads, back pressure,
//! time and hostile messages.

mod hostile;
mod network;

use std::collections::BTreeSet;

use self::network::{Network, id};
use super::*;
use crate::core::Step;

fn trio() -> Network {
    let mut net = Network::new();
    net.start("a");
    net.sign("a");
    net.configure("a", &["a", "b", "c"]);
    net.sign("a");
    net.settle("a");
    net
}

#[test]
fn three_nodes_agree() {
    let mut net = trio();
    assert_eq!(net.raft("a").commit_idx(), 4);
    net.settle("a");
    for name in ["a", "b", "c"] {
        assert_eq!(net.raft(name).commit_idx(), 4);
        assert_eq!(net.raft(name).leader(), Some(id("a")));
        assert!(net.raft(name).ticking());
    }
    assert_eq!(net.raft("a").status(2, 4), Status::Committed);
    assert_eq!(net.raft("a").status(3, 4), Status::Invalid);
    assert_eq!(net.raft("a").status(2, 5), Status::Unknown);
    assert_eq!(net.raft("a").status(1, 5), Status::Invalid);
    net.append("a", Kind::Raw);
    assert_eq!(net.raft("a").status(2, 5), Status::Pending);
}

#[test]
fn only_the_entries_of_a_leader_leave_while_the_disk_is_written() {
    let mut net = trio();
    net.append("a", Kind::Raw);
    assert_eq!(net.ahead("a", Event::Flush), 2, "one message for each of the others");
    // What was said is said again with the next heartbeat, and an answer waits for the disk.
    net.settle("a");
    net.append("a", Kind::Raw);
    net.event("a", Event::Flush);
    let (to, message) = net.take_message();
    let receive = Event::Receive(id("a"), Verified::assume(message));
    assert_eq!(net.ahead(&to, receive), 0, "an acknowledgement is a promise");

    let mut alone = Network::new();
    alone.start("a");
    alone.sign("a");
    alone.event("a", Event::Learners(BTreeSet::from([id("b")])));
    alone.append("a", Kind::Raw);
    assert_eq!(alone.ahead("a", Event::Flush), 0, "it commits without an answer");
}

#[test]
fn a_step_that_is_held_lets_nothing_leave_ahead() {
    let mut entries: Step<u8, (), u8, u8> = Step::new();
    entries.record(1).send_ahead(2, 3);
    let mut vote: Step<u8, (), u8, u8> = Step::new();
    vote.record(4).hold();
    entries.extend(vote);
    assert!(entries.take_ahead().is_empty());
    let mut free: Step<u8, (), u8, u8> = Step::new();
    free.record(1).send_ahead(2, 3).send(4, 5);
    assert_eq!(free.take_ahead(), [(2, 3)]);
    assert!(free.take_ahead().is_empty());
}

#[test]
fn a_node_ticks_once_a_signature_follows_its_configuration() {
    let mut net = Network::new();
    net.start("a");
    net.sign("a");
    net.configure("a", &["a", "b"]);
    net.settle("a");
    net.settle("a");
    assert!(!net.raft("b").ticking());
    net.wake("b", 60_000);
    assert_eq!(net.raft("b").role(), Some(Role::Follower));
    net.sign("a");
    net.settle("a");
    assert!(net.raft("b").ticking());
    net.wake("b", 60_000);
    assert_eq!(net.raft("b").role(), Some(Role::PreVoteCandidate));
}

#[test]
fn flush_sends_only_what_is_new() {
    let mut net = trio();
    net.settle("a");
    assert_eq!(net.step("a", Event::Flush), 0);
    net.append("a", Kind::Raw);
    assert_eq!(net.step("a", Event::Flush), 2);
    assert_eq!(net.step("a", Event::Flush), 0);
}

#[test]
fn a_learner_counts_for_nothing_and_catches_up() {
    let mut net = trio();
    net.add("d");
    net.event("a", Event::Learners(BTreeSet::from([id("d")])));
    net.cut("b");
    net.sign("a");
    net.cut("c");
    net.settle("a");
    // The learner has it all; without b and c nothing is committed.
    assert_eq!(net.raft("d").last_idx(), 5);
    assert_eq!(net.raft("a").commit_idx(), 4);
    assert!(net.outputs.contains(&(id("a"), Output::CaughtUp(id("d")))));
    // It neither runs for election nor keeps the leader alone in office.
    net.wake("d", 60_000);
    assert_eq!(net.raft("d").role(), Some(Role::Follower));
    net.wake("a", 5_000);
    assert_eq!(net.raft("a").role(), Some(Role::Follower));
}

#[test]
fn a_learner_is_not_nominated_and_can_be_promoted() {
    let mut net = trio();
    net.add("0");
    net.event("a", Event::Learners(BTreeSet::from([id("0")])));
    net.settle("a");
    net.settle("a");
    net.event("a", Event::Nominate);
    net.deliver_all();
    assert_ne!(net.raft("0").role(), Some(Role::Leader));
    let leader = net.leader();
    net.configure(&leader, &["0", "a", "b", "c"]);
    net.sign(&leader);
    net.settle(&leader);
    net.settle(&leader);
    assert!(net.raft("0").configurations()[0].nodes.contains(&id("0")));
    assert!(net.raft("0").ticking());
    assert!(net.raft(&leader).learners().is_empty());
    // Who is no learner any more is not sent to.
    net.add("9");
    net.event(&leader, Event::Learners(BTreeSet::from([id("9")])));
    assert!(net.raft(&leader).peers().contains_key(&id("9")));
    net.event(&leader, Event::Learners(BTreeSet::new()));
    assert!(!net.raft(&leader).peers().contains_key(&id("9")));
}

#[test]
fn a_read_waits_for_a_round_that_began_after_it() {
    let mut net = trio();
    net.event("b", Event::Read(7));
    let reason = Refusal::NotLeader;
    assert!(net.outputs.contains(&(id("b"), Output::ReadRefused { token: 7, reason })));
    net.event("a", Event::Read(1));
    net.event("a", Event::Read(2));
    net.deliver_all();
    assert!(!net.outputs.iter().any(|(_, o)| matches!(o, Output::ReadReady { .. })));
    net.cut("c");
    net.settle("a");
    for token in [1, 2] {
        assert!(net.outputs.contains(&(id("a"), Output::ReadReady { token, seqno: 4 })));
    }
    // Without a quorum no read is answered, and it fails when the leader steps down.
    net.cut("b");
    net.event("a", Event::Read(3));
    net.settle("a");
    assert!(!net.outputs.contains(&(id("a"), Output::ReadReady { token: 3, seqno: 4 })));
    net.wake("a", 5_000);
    let refused = Output::ReadRefused { token: 3, reason };
    assert!(net.outputs.contains(&(id("a"), refused)));
}

#[test]
fn a_new_leader_reads_after_its_first_commit() {
    let mut net = trio();
    net.settle("a");
    net.event("a", Event::Nominate);
    net.deliver_all();
    assert_eq!(net.leader(), "b");
    assert!(net.raft("b").should_sign());
    net.event("b", Event::Read(1));
    let reason = Refusal::NothingCommittedYet;
    assert!(net.outputs.contains(&(id("b"), Output::ReadRefused { token: 1, reason })));
    net.sign("b");
    net.settle("b");
    net.event("b", Event::Read(2));
    net.settle("b");
    assert!(net.outputs.contains(&(id("b"), Output::ReadReady { token: 2, seqno: 5 })));
}

#[test]
fn a_leader_alone_reads_at_once() {
    let mut net = Network::new();
    net.start("a");
    net.sign("a");
    net.event("a", Event::Read(1));
    net.event("a", Event::Flush);
    assert!(net.outputs.contains(&(id("a"), Output::ReadReady { token: 1, seqno: 2 })));
}

#[test]
fn users_wait_while_too_much_is_pending() {
    let mut net = trio();
    net.settle("a");
    net.cut("b");
    net.cut("c");
    let limit = net.limit;
    for _ in 0..limit {
        assert_eq!(net.user("a"), Ok(()));
    }
    assert_eq!(net.user("a"), Err(Refusal::TooManyPendingTransactions));
    // Signatures and configurations are not held up.
    net.sign("a");
    assert_eq!(net.raft("a").last_idx(), 4 + limit + 1);
    net.join("b");
    net.settle("a");
    net.settle("a");
    assert_eq!(net.raft("a").commit_idx(), 4 + limit + 1);
    assert_eq!(net.user("a"), Ok(()));
    assert_eq!(net.user("b"), Err(Refusal::NotLeader));
}

#[test]
fn users_are_refused_while_the_leader_retires() {
    let mut net = trio();
    net.configure("a", &["b", "c"]);
    assert_eq!(net.raft("a").phase(), Some(Phase::Ordered));
    assert_eq!(net.user("a"), Ok(()));
    net.sign("a");
    assert_eq!(net.raft("a").phase(), Some(Phase::Signed));
    assert_eq!(net.user("a"), Err(Refusal::Retiring));
    net.settle("a");
    net.append("a", Kind::Retired(vec![id("a")]));
    net.sign("a");
    net.settle("a");
    assert_eq!(net.raft("a").phase(), Some(Phase::RetiredCommitted));
    assert!(net.outputs.contains(&(id("a"), Output::Retired)));
    net.deliver_all();
    assert_ne!(net.leader(), "a");
}

#[test]
fn entries_that_are_too_large_are_refused() {
    let net = trio();
    let bytes = vec![0; crate::limits::MAX_RAFT_ENTRY + 1].into();
    let entry = NewEntry { kind: Kind::Raw, bytes, weight: 1, user: true };
    assert_eq!(net.raft("a").admits(&entry), Err(Refusal::TooLarge));
    let kind = Kind::Configuration(BTreeSet::new());
    let entry = NewEntry { kind, bytes: Arc::from([]), weight: 1, user: false };
    assert_eq!(net.raft("a").admits(&entry), Err(Refusal::TooLarge));
}

#[test]
fn a_stopped_node_resumes_where_it_was() {
    let mut net = trio();
    net.settle("a");
    net.append("a", Kind::Raw);
    net.settle("a");
    let before = net.raft("b").clone();
    net.restart("b", 4);
    let after = net.raft("b");
    assert_eq!(after.view(), before.view());
    assert_eq!(after.last_idx(), before.last_idx());
    assert_eq!(after.commit_idx(), before.commit_idx());
    assert_eq!(after.configurations(), before.configurations());
    assert_eq!(after.view_history(), before.view_history());
    assert_eq!(after.role(), Some(Role::Follower));
    assert_eq!(after.leader(), None);
    assert!(after.ticking());
    // The leader comes back as a follower, too, and all of them go on. It has stored an old commit
    // index, but a record of the commit that ended its configuration of one.
    net.restart("a", 2);
    assert_eq!(net.raft("a").commit_idx(), 4);
    assert_eq!(net.raft("a").configurations().len(), 1);
    net.wake("c", 5_000);
    net.deliver_all();
    assert_eq!(net.leader(), "c");
    net.sign("c");
    net.settle("c");
    net.settle("c");
    assert_eq!(net.raft("a").commit_idx(), net.raft("c").commit_idx());
}

#[test]
fn a_leader_that_stored_no_commit_index_drops_its_unsigned_suffix() {
    let mut net = trio();
    net.settle("a");
    net.append("a", Kind::Raw);
    net.settle("a");
    net.restart("b", 0);
    // But for the record of the commit that ended a configuration.
    assert_eq!((net.raft("b").commit_idx(), net.raft("b").last_idx()), (4, 5));
    net.wake("b", 5_000);
    net.deliver_all();
    assert_eq!(net.leader(), "b");
    assert_eq!(net.raft("b").last_idx(), 4);
    net.sign("b");
    net.settle("b");
    net.settle("b");
    assert_eq!(net.raft("a").view_history().starts(), [(2, 1), (3, 5)]);
    assert_eq!(net.raft("c").commit_idx(), 5);
}

#[test]
fn the_first_node_resumes_before_its_first_signature() {
    let mut net = Network::new();
    net.start("a");
    net.restart("a", 0);
    assert_eq!(net.raft("a").last_idx(), 1);
    assert_eq!(net.raft("a").configurations().len(), 1);
    net.wake("a", 5_000);
    assert_eq!(net.leader(), "a");
    net.sign("a");
    assert_eq!(net.raft("a").commit_idx(), 2);
}

#[test]
fn a_vote_survives_a_restart() {
    let mut net = trio();
    net.settle("a");
    net.cut("a");
    net.wake("b", 5_000);
    net.deliver_all();
    assert_eq!(net.leader(), "b");
    assert_eq!(net.raft("c").voted_for(), Some(id("b")));
    net.restart("c", 4);
    assert_eq!(net.raft("c").voted_for(), Some(id("b")));
    assert_eq!(net.raft("c").view(), 3);
    // Node a runs in the same view, too late.
    let request =
        message::VoteRequest { term: 3, last_committable_idx: 9, term_of_last_committable_idx: 3 };
    net.receive("a", "c", RaftMessage::RequestVote(request));
    assert_eq!(net.raft("c").voted_for(), Some(id("b")));
}

#[test]
fn what_is_no_log_is_refused() {
    let net = trio();
    let kept = |entries: &[(View, Kind)], commit_idx| Kept {
        view: 2,
        voted_for: None,
        snapshot: None,
        entries: entries.to_vec(),
        commit_idx,
        recovered_at: 0,
    };
    let log = [(2, Kind::Configuration(BTreeSet::from([id("z")]))), (2, Kind::Signature)];
    assert!(net.resume(kept(&log, 2)).is_ok());
    assert_eq!(net.resume(kept(&log, 1)), Err(RestartError::NotASignature(1)));
    let short = RestartError::LogTooShort { commit_idx: 3, last_idx: 2 };
    assert_eq!(net.resume(kept(&log, 3)), Err(short));
    let back = [(3, Kind::Raw), (2, Kind::Raw)];
    assert_eq!(net.resume(kept(&back, 0)), Err(RestartError::ViewGoesBack(2)));
    assert_eq!(net.resume(kept(&[(0, Kind::Raw)], 0)), Err(RestartError::ViewGoesBack(1)));
    let high = [(crate::limits::MAX_RAFT_VIEW + 1, Kind::Raw)];
    assert_eq!(net.resume(kept(&high, 0)), Err(RestartError::Limit));
}

#[test]
fn a_node_joins_with_a_snapshot() {
    let mut net = trio();
    net.settle("a");
    net.join_with_snapshot("d", "a");
    assert_eq!(net.raft("d").commit_idx(), 4);
    assert_eq!(net.raft("d").startup_seqno(), 4);
    assert_eq!(net.raft("d").role(), Some(Role::Follower));
    net.configure("a", &["a", "b", "c", "d"]);
    net.sign("a");
    net.settle("a");
    net.settle("a");
    assert_eq!(net.raft("d").commit_idx(), 6);
    assert_eq!(net.raft("d").view_history(), net.raft("a").view_history());
    // It got only what follows its snapshot, and resumes from both.
    assert_eq!(net.log("d").len(), 2);
    net.restart("d", 6);
    assert_eq!(net.raft("d").configurations(), net.raft("a").configurations());
    assert_eq!(net.raft("d").last_idx(), 6);
}

/// A leader whose log begins later has nothing for a node without entries but its word that
/// something is committed.
#[test]
fn an_empty_message_about_what_is_committed_dates_nothing() {
    let mut net = trio();
    net.add("d");
    let empty = message::AppendEntries {
        idx: 0,
        prev_idx: 0,
        term: 9,
        prev_term: 0,
        leader_commit_idx: 4,
        term_of_idx: 0,
        round: 1,
        entries: Vec::new(),
    };
    net.receive("a", "d", RaftMessage::AppendEntries(empty.clone()));
    let entries = net.log("a").to_vec();
    let view = entries[0].view;
    let (idx, round) = (entries.len() as u64, 2);
    let all = message::AppendEntries { idx, term_of_idx: view, round, entries, ..empty };
    net.receive("a", "d", RaftMessage::AppendEntries(all));
    assert_eq!(net.raft("d").last_idx(), 4);
    assert_eq!(net.raft("d").view_at(1), view);
    assert_eq!(net.raft("d").view_history(), net.raft("a").view_history());
}

#[test]
fn timers_are_due_when_they_say() {
    let mut net = trio();
    net.settle("a");
    let start = net.now("a");
    let due = net.wake_time("a").expect("a leader has a timer");
    assert_eq!(due.0, start.0 + 100);
    // Head starts are at most half of the timeout.
    let due = net.wake_time("b").expect("a member has a timer");
    let heard = net.now("b");
    assert!((heard.0 + 2_500..=heard.0 + 5_000).contains(&due.0));
    net.wake("b", due.0 - heard.0 - 1);
    assert_eq!(net.raft("b").role(), Some(Role::Follower));
    net.wake("b", 1);
    assert_eq!(net.raft("b").role(), Some(Role::PreVoteCandidate));
}

#[test]
fn an_election_reads_like_the_protocol_text() {
    let mut net = trio();
    net.settle("a");
    net.trace.clear();
    net.event("a", Event::Nominate);
    net.deliver_all();
    let golden = include_str!("golden.txt");
    assert_eq!(net.trace.join("\n"), golden.trim_end());
}
