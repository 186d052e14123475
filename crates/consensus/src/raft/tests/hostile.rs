//! Whatever arrives, a node neither panics nor loses what it has committed.

use proptest::collection::vec;
use proptest::prelude::*;

use super::network::{Network, id};
use crate::limits::{MAX_RAFT_SEQNO, MAX_RAFT_VIEW};
use crate::raft::message::{
    AppendEntries, AppendEntriesResponse, Entry, VoteRequest, VoteResponse,
};
use crate::raft::*;

fn view() -> impl Strategy<Value = View> {
    prop_oneof![8 => 0..6u64, 1 => Just(MAX_RAFT_VIEW), 1 => Just(u64::MAX)]
}

fn seqno() -> impl Strategy<Value = Seqno> {
    prop_oneof![8 => 0..12u64, 1 => Just(MAX_RAFT_SEQNO), 1 => Just(u64::MAX)]
}

fn kind() -> impl Strategy<Value = Kind> {
    let some = || vec(prop::sample::select(vec!["a", "b", "c", "d"]), 0..4);
    prop_oneof![
        3 => Just(Kind::Raw),
        3 => Just(Kind::Signature),
        1 => some().prop_map(|n| Kind::Configuration(n.into_iter().map(id).collect())),
        1 => some().prop_map(|n| Kind::Retired(n.into_iter().map(id).collect())),
    ]
}

fn append() -> impl Strategy<Value = RaftMessage> {
    let header = (view(), view(), view(), seqno(), seqno());
    (header, vec((kind(), view()), 0..4), any::<bool>()).prop_map(
        |((term, prev_term, term_of_idx, prev_idx, leader_commit_idx), kinds, honest)| {
            let entries: Vec<_> = (1u64..)
                .zip(kinds)
                .map(|(offset, (kind, view))| Entry {
                    view: if honest { term_of_idx } else { view },
                    seqno: prev_idx.saturating_add(offset),
                    kind,
                    bytes: Arc::from([]),
                })
                .collect();
            let idx = prev_idx.saturating_add(entries.len() as u64);
            RaftMessage::AppendEntries(AppendEntries {
                idx,
                prev_idx,
                term,
                prev_term,
                leader_commit_idx,
                term_of_idx,
                round: 1,
                entries,
            })
        },
    )
}

fn message() -> impl Strategy<Value = RaftMessage> {
    let request = || {
        (view(), seqno(), view()).prop_map(|(term, idx, of)| VoteRequest {
            term,
            last_committable_idx: idx,
            term_of_last_committable_idx: of,
        })
    };
    let answer =
        || (view(), any::<bool>()).prop_map(|(term, granted)| VoteResponse { term, granted });
    prop_oneof![
        4 => append(),
        2 => (view(), seqno(), any::<bool>(), any::<u64>()).prop_map(
            |(term, last_log_idx, success, round)| {
                let answer = AppendEntriesResponse { term, last_log_idx, success, round };
                RaftMessage::AppendEntriesResponse(answer)
            }
        ),
        1 => request().prop_map(RaftMessage::RequestVote),
        1 => request().prop_map(RaftMessage::RequestPreVote),
        1 => answer().prop_map(RaftMessage::RequestVoteResponse),
        1 => answer().prop_map(RaftMessage::RequestPreVoteResponse),
        1 => view().prop_map(RaftMessage::ProposeRequestVote),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Receive(&'static str, &'static str, RaftMessage),
    Wake(&'static str, u64),
    Sign(&'static str),
}

fn act() -> impl Strategy<Value = Act> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        8 => (name(), name(), message()).prop_map(|(from, to, m)| Act::Receive(from, to, m)),
        2 => (name(), 0..6_000u64).prop_map(|(who, ms)| Act::Wake(who, ms)),
        1 => name().prop_map(Act::Sign),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn lies_neither_panic_nor_take_back_what_is_committed(acts in vec(act(), 0..40)) {
        let mut net = Network::new();
        net.start("a");
        net.sign("a");
        net.configure("a", &["a", "b", "c"]);
        net.sign("a");
        net.settle("a");
        net.settle("a");
        let kept: Vec<_> = ["a", "b", "c"].map(|name| net.log(name)[..4].to_vec()).into();
        for act in acts {
            match act {
                Act::Receive(from, to, message) => net.receive(from, to, message),
                Act::Wake(who, ms) => net.wake(who, ms),
                Act::Sign(who) => net.sign(who),
            }
            for (name, kept) in ["a", "b", "c"].into_iter().zip(&kept) {
                let raft = net.raft(name);
                prop_assert!(raft.commit_idx() >= 4 && raft.last_idx() >= raft.commit_idx());
                prop_assert_eq!(&net.log(name)[..4], &kept[..]);
                prop_assert_eq!(net.log(name).len() as u64, raft.last_idx());
            }
        }
    }
}
