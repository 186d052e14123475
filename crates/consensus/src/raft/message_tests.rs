use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use quorate_ledger::codec::Canonical as _;

use super::*;

fn node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Raw),
        Just(Kind::Signature),
        btree_set(node(), 0..5).prop_map(Kind::Configuration),
        vec(node(), 0..5).prop_map(Kind::Retired),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (0..=MAX_RAFT_VIEW, 0..=MAX_RAFT_SEQNO, kind(), vec(any::<u8>(), 0..100))
        .prop_map(|(view, seqno, kind, bytes)| Entry { view, seqno, kind, bytes: bytes.into() })
}

fn append() -> impl Strategy<Value = AppendEntries> {
    let views = [0..=MAX_RAFT_VIEW, 0..=MAX_RAFT_VIEW, 0..=MAX_RAFT_VIEW];
    let seqnos = [0..=MAX_RAFT_SEQNO / 2, 0..=MAX_RAFT_SEQNO];
    (views, seqnos, any::<u64>(), vec(entry(), 0..4)).prop_map(
        |([term, prev_term, term_of_idx], [prev_idx, leader_commit_idx], round, entries)| {
            let idx = prev_idx + entries.len() as u64;
            AppendEntries {
                idx,
                prev_idx,
                term,
                prev_term,
                leader_commit_idx,
                term_of_idx,
                round,
                entries,
            }
        },
    )
}

fn message() -> impl Strategy<Value = RaftMessage> {
    let view = || 0..=MAX_RAFT_VIEW;
    let request = || {
        (view(), 0..=MAX_RAFT_SEQNO, view()).prop_map(|(term, idx, of)| VoteRequest {
            term,
            last_committable_idx: idx,
            term_of_last_committable_idx: of,
        })
    };
    let answer =
        || (view(), any::<bool>()).prop_map(|(term, granted)| VoteResponse { term, granted });
    prop_oneof![
        append().prop_map(RaftMessage::AppendEntries),
        (view(), 0..=MAX_RAFT_SEQNO, any::<bool>(), any::<u64>()).prop_map(
            |(term, last_log_idx, success, round)| {
                let answer = AppendEntriesResponse { term, last_log_idx, success, round };
                RaftMessage::AppendEntriesResponse(answer)
            }
        ),
        request().prop_map(RaftMessage::RequestVote),
        answer().prop_map(RaftMessage::RequestVoteResponse),
        view().prop_map(RaftMessage::ProposeRequestVote),
        request().prop_map(RaftMessage::RequestPreVote),
        answer().prop_map(RaftMessage::RequestPreVoteResponse),
    ]
}

proptest! {
    #[test]
    fn messages_survive_their_encoding(message in message()) {
        prop_assert_eq!(RaftMessage::decode(&message.encode()), Some(message));
    }

    #[test]
    fn one_encoding_only(message in message(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Whatever else decodes is written again byte for byte.
        if let Some(other) = RaftMessage::decode(&bytes) {
            prop_assert_ne!(&other, &message);
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in vec(any::<u8>(), 0..400), tag in 0..9u8) {
        let tagged: Vec<u8> = [1, tag].into_iter().chain(bytes.iter().copied()).collect();
        for bytes in [bytes, tagged] {
            if let Some(message) = RaftMessage::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }

    #[test]
    fn cut_or_extended_bytes_are_refused(message in message(), extra in any::<u8>()) {
        let mut bytes = message.encode();
        prop_assert_eq!(RaftMessage::decode(&bytes[..bytes.len() - 1]), None);
        bytes.push(extra);
        prop_assert_eq!(RaftMessage::decode(&bytes), None);
    }
}

#[test]
fn numbers_beyond_the_limits_are_refused() {
    let propose = |view| RaftMessage::decode(&RaftMessage::ProposeRequestVote(view).encode());
    assert!(propose(MAX_RAFT_VIEW).is_some());
    assert_eq!(propose(MAX_RAFT_VIEW + 1), None);
    let vote = |seqno| {
        let (term, term_of_last_committable_idx) = (2, 2);
        let request =
            VoteRequest { term, last_committable_idx: seqno, term_of_last_committable_idx };
        RaftMessage::decode(&RaftMessage::RequestVote(request).encode())
    };
    assert!(vote(MAX_RAFT_SEQNO).is_some());
    assert_eq!(vote(MAX_RAFT_SEQNO + 1), None);
}

fn header(prev_idx: Seqno, idx: Seqno) -> AppendEntries {
    AppendEntries {
        idx,
        prev_idx,
        term: 2,
        prev_term: 2,
        leader_commit_idx: 0,
        term_of_idx: 2,
        round: 0,
        entries: Vec::new(),
    }
}

fn raw(seqno: Seqno, length: usize) -> Entry {
    Entry { view: 2, seqno, kind: Kind::Raw, bytes: vec![0; length].into() }
}

#[test]
fn a_range_that_does_not_fit_its_entries_is_refused() {
    let mut message = header(4, 6);
    assert!(message.fill([raw(5, 1), raw(6, 1)]));
    let good = RaftMessage::AppendEntries(message.clone());
    assert_eq!(RaftMessage::decode(&good.encode()), Some(good));
    message.idx = 7;
    assert_eq!(RaftMessage::decode(&RaftMessage::AppendEntries(message).encode()), None);
}

#[test]
fn a_message_is_filled_from_the_log() {
    let mut message = header(4, 6);
    assert!(!message.fill([raw(5, 1)]), "the log became shorter");
    assert!(message.fill([raw(5, 1), raw(6, 1), raw(7, 1)]));
    assert_eq!(message.entries.len(), 2);
    let mut empty = header(4, 4);
    assert!(empty.fill([]));
    assert_eq!(empty, header(4, 4));
}

#[test]
fn a_message_ends_before_it_grows_too_large() {
    let entries = || (1..=5).map(|seqno| raw(seqno, MAX_RAFT_ENTRY - 1_000));
    let mut message = header(0, 5);
    assert!(message.fill(entries()));
    assert_eq!((message.idx, message.entries.len()), (2, 2));
    let message = RaftMessage::AppendEntries(message);
    assert!(message.encode().len() <= RaftMessage::MAX_BYTES);
    assert_eq!(RaftMessage::decode(&message.encode()), Some(message));
}

#[test]
fn an_entry_that_is_too_large_is_refused() {
    let mut message = header(0, 1);
    assert!(message.fill([raw(1, MAX_RAFT_ENTRY + 1)]));
    assert_eq!(RaftMessage::decode(&RaftMessage::AppendEntries(message).encode()), None);
}

#[test]
fn members_have_one_order_in_a_configuration() {
    let nodes = BTreeSet::from(["a", "b"].map(|name| NodeId::named(name).expect("a name")));
    let bytes = Kind::Configuration(nodes).to_bytes();
    let mut swapped = bytes.clone();
    let (first, second) = swapped[6..].split_at_mut(32);
    first.swap_with_slice(second);
    assert!(Kind::from_bytes(&bytes).is_ok());
    assert!(Kind::from_bytes(&swapped).is_err());
}

#[test]
fn names_are_ids_in_their_order() {
    let named = |name: &str| NodeId::named(name).expect("a name");
    assert!(named("0") < named("1") && named("1") < named("10") && named("10") < named("2"));
    assert_eq!(named("10").to_string(), "10");
    assert_eq!(NodeId([0xab; 32]).to_string(), "ab".repeat(32));
    assert_eq!(NodeId::named(""), None);
    assert_eq!(NodeId::named(&"x".repeat(33)), None);
    assert_eq!(named(&"x".repeat(32)).to_string(), "x".repeat(32));
}
