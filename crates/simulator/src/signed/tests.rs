//! The checkers are checked: by a group of one node that is real, and told lies about.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use quorate_consensus::core::{Durable, Env, Time};
use quorate_consensus::raft::message::{AppendEntries, AppendEntriesResponse, VoteResponse};
use quorate_consensus::raft::{
    Config, Entry, Event, Kind, LogRecord, NewEntry, NodeId, Raft, RaftMessage, RaftStep,
};
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::entry::Flags;
use quorate_ledger::ccf::maps::{self, NodeInfo, NodeStatus, SIGNATURES, SINGLE};
use quorate_ledger::ccf::{LedgerSecret, Transaction};
use quorate_ledger::state::{Value, WriteSet};
use quorate_replica::cft::api::{
    Code, Command, Consistency, Error, Op, OpResult, Reply, TxId, TxStatus, Wait,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::checker::{Checker, Found};
use super::history::{History, MARKS, Next, Wish};
use super::watched::Fact;
use crate::properties::Violation;

const MAP: &str = "public:table";

fn secret() -> LedgerSecret {
    LedgerSecret::new(SymmetricKey([9; 32]))
}

fn id(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn bytes(view: u64, seqno: u64, writes: WriteSet) -> Arc<[u8]> {
    let transaction = Transaction::new(TxId::new(view, seqno), writes, &secret());
    transaction.encode(Flags::NONE, &secret()).expect("it is small")
}

fn table(key: &str, value: &str) -> WriteSet {
    let mut writes = WriteSet::new();
    writes.put(MAP, key.as_bytes(), Value::from(value.as_bytes())).expect("it is small");
    writes
}

fn append(view: u64, seqno: u64, writes: WriteSet) -> Fact {
    let bytes = bytes(view, seqno, writes);
    Fact::Record(LogRecord::Append(Entry { view, seqno, kind: Kind::Raw, bytes }))
}

fn property(result: Result<(), Violation>) -> &'static str {
    result.map_or_else(|violation| violation.property, |()| "nothing")
}

#[derive(Default)]
struct Sink(Vec<Fact>);

impl Durable<LogRecord> for Sink {
    type Error = Infallible;

    fn append(&mut self, records: &[LogRecord]) -> Result<(), Infallible> {
        self.0.extend(records.iter().cloned().map(Fact::Record));
        Ok(())
    }
}

/// A group of one node, and what is known of it.
struct One {
    raft: Raft,
    env: Env,
    sink: Sink,
    checker: Checker,
}

impl One {
    fn new() -> Self {
        let env = Env { now: Time(1), rng: ChaCha20Rng::seed_from_u64(1) };
        let mut checker = Checker::new(secret());
        checker.join(id(1));
        checker.join(id(2));
        let raft = Raft::new(Config::new(id(1)));
        let mut one = Self { raft, env, sink: Sink::default(), checker };
        let mut writes = WriteSet::new();
        let node = NodeInfo::new(NodeStatus::Trusted);
        maps::put_node(&mut writes, &Digest([1; 32]), &node).expect("it is small");
        one.step(Event::Start { bytes: bytes(2, 1, writes), weight: 1 });
        one.sign();
        one
    }

    fn unseen(&mut self, event: Event) {
        let step: RaftStep = self.raft.step(&mut self.env, event);
        let Ok(_) = self.sink.persist(step);
    }

    fn step(&mut self, event: Event) {
        self.unseen(event);
        let facts = std::mem::take(&mut self.sink.0);
        assert_eq!(self.checker.durable(0, facts), Ok(()));
        assert_eq!(self.checker.stands(0, &self.raft, 5), Ok(()));
    }

    fn next(&self, writes: WriteSet, kind: Kind) -> Event {
        let seqno = self.raft.last_idx() + 1;
        let bytes = bytes(self.raft.view(), seqno, writes);
        Event::Append(NewEntry { kind, bytes, weight: 1, user: false })
    }

    fn signature() -> WriteSet {
        let mut writes = WriteSet::new();
        writes.put(SIGNATURES, SINGLE, Value::from(&b"{}"[..])).expect("it is small");
        writes
    }

    fn sign(&mut self) {
        let event = self.next(Self::signature(), Kind::Signature);
        self.step(event);
    }

    /// Commits a transaction.
    fn commit(&mut self, writes: WriteSet) -> TxId {
        let event = self.next(writes, Kind::Raw);
        self.step(event);
        let tx = TxId::new(self.raft.view(), self.raft.last_idx());
        self.sign();
        tx
    }

    /// Commits what an operation asks for.
    fn carry_out(&mut self, command: &Command) -> TxId {
        let Command::Write { ops, .. } = command else { panic!("a write") };
        let mut writes = WriteSet::new();
        for op in ops {
            if let Op::Put { map, key, value } = op {
                writes.put(map, key.clone(), Value::clone(value)).expect("it is small");
            }
        }
        self.commit(writes)
    }
}

#[test]
fn an_honest_node_is_believed() {
    let mut one = One::new();
    one.commit(table("a", "1"));
    assert_eq!(one.checker.committed().len(), 4);
    assert_eq!(one.checker.newest().keys().copied().collect::<Vec<_>>(), [id(1)]);
    let value = |seqno| one.checker.kv().get(MAP, b"a", seqno).cloned();
    assert_eq!(value(2), None);
    assert_eq!(value(3), Some(Value::from(&b"1"[..])));
    let entries: Vec<_> = one.checker.committed().iter().map(|made| made.bytes.clone()).collect();
    let found = Found { view: 2, voted_for: None, commit: 4, base: 0, entries };
    assert_eq!(one.checker.reopened(0, &found), Ok(()));
}

#[test]
fn what_was_not_written_is_not_believed() {
    let mut one = One::new();
    let event = one.next(table("a", "1"), Kind::Raw);
    one.unseen(event);
    assert_eq!(property(one.checker.stands(0, &one.raft, 5)), "durable_before_said");
    let answer = RaftMessage::AppendEntriesResponse(AppendEntriesResponse {
        term: 2,
        last_log_idx: 3,
        success: true,
        round: 0,
    });
    assert_eq!(property(one.checker.says(0, None, &answer)), "durable_before_said");
    let vote = RaftMessage::RequestVoteResponse(VoteResponse { term: 7, granted: true });
    assert_eq!(property(one.checker.says(0, Some(id(2)), &vote)), "durable_before_said");
}

#[test]
fn a_second_vote_and_a_second_leader_are_seen() {
    let mut checker = One::new().checker;
    let vote = |who| Fact::Record(LogRecord::Vote { view: 3, voted_for: Some(id(who)) });
    assert_eq!(checker.durable(1, vec![vote(1)]), Ok(()));
    assert_eq!(property(checker.durable(1, vec![vote(2)])), "one_vote");
    let back = Fact::Record(LogRecord::Vote { view: 2, voted_for: None });
    assert_eq!(property(checker.durable(1, vec![back])), "monotonic_view");
    let append = quorate_consensus::raft::message::AppendEntries {
        idx: 1,
        prev_idx: 1,
        term: 2,
        prev_term: 2,
        leader_commit_idx: 0,
        term_of_idx: 2,
        round: 0,
        entries: Vec::new(),
    };
    let message = RaftMessage::AppendEntries(append);
    assert_eq!(checker.says(0, None, &message), Ok(()));
    assert_eq!(property(checker.says(1, None, &message)), "one_leader");
}

#[test]
fn another_log_is_seen() {
    let mut checker = One::new().checker;
    assert_eq!(property(checker.durable(1, vec![append(2, 1, table("a", "2"))])), "log_matching");
    let mut checker = One::new().checker;
    let own = checker.committed().to_vec();
    let kinds = [Kind::Configuration(BTreeSet::from([id(1)])), Kind::Signature];
    for (made, kind) in own.iter().zip(kinds) {
        let (view, seqno, bytes) = (made.view, made.seqno, made.bytes.clone());
        let fact = Fact::Record(LogRecord::Append(Entry { view, seqno, kind, bytes }));
        assert_eq!(checker.durable(1, vec![fact]), Ok(()));
    }
    let more = checker.durable(1, vec![append(2, 3, table("a", "2"))]);
    assert_eq!(property(more), "election_safety");
    let mut checker = One::new().checker;
    let unsigned = [append(3, 1, table("a", "2")), append(4, 2, table("a", "3"))];
    assert_eq!(property(checker.durable(1, unsigned.into())), "monotonic_log");
    let cut = Fact::Record(LogRecord::Truncate { after: 1 });
    assert_eq!(property(checker.durable(0, vec![cut])), "commit_safety");
    let event = Fact::Record(LogRecord::Append(Entry {
        view: 2,
        seqno: 3,
        kind: Kind::Configuration(BTreeSet::from([id(2)])),
        bytes: bytes(2, 3, table("a", "1")),
    }));
    assert_eq!(property(checker.durable(0, vec![event])), "configurations");
}

#[test]
fn a_disk_that_has_less_than_it_was_given_is_seen() {
    let mut one = One::new();
    one.commit(table("a", "1"));
    let entries: Vec<_> = one.checker.committed().iter().map(|made| made.bytes.clone()).collect();
    let found = |view, entries: &[Arc<[u8]>]| Found {
        view,
        voted_for: None,
        commit: 0,
        base: 0,
        entries: entries.to_vec(),
    };
    assert_eq!(property(one.checker.reopened(0, &found(1, &entries))), "durability");
    assert_eq!(property(one.checker.reopened(0, &found(2, &entries[..3]))), "durability");
    let mut other = entries.clone();
    other[2] = bytes(2, 3, table("a", "2"));
    assert_eq!(property(one.checker.reopened(0, &found(2, &other))), "durability");
    one.checker.doubt(0);
    assert_eq!(property(one.checker.reopened(0, &found(2, &entries[..3]))), "durability");
}

fn put(key: &str, value: &str) -> Wish {
    let (map, key) = (MAP.into(), key.as_bytes().to_vec());
    let ops = vec![Op::Put { map, key, value: Value::from(value.as_bytes()) }];
    Wish::Write { ops, again: true, wait: Wait::Response }
}

fn get(key: &str, consistency: Consistency) -> Wish {
    Wish::Read { ops: vec![Op::Get { map: MAP.into(), key: key.as_bytes().to_vec() }], consistency }
}

fn written(tx: TxId, status: TxStatus) -> Result<Reply, Error> {
    Ok(Reply::Written { tx, status, results: Vec::new(), repeated: false })
}

fn found(tx: TxId, value: Option<&str>) -> Result<Reply, Error> {
    let value = value.map(|value| Value::from(value.as_bytes()));
    Ok(Reply::Read { tx, results: vec![OpResult::Value(value)] })
}

fn seen(result: Result<Next, Violation>) -> &'static str {
    property(result.map(|_| ()))
}

#[test]
fn answers_that_are_true_are_believed() {
    let (mut one, mut history) = (One::new(), History::default());
    let write = history.begin(put("a", "1"), None, 10);
    let (command, attempt) = history.attempt(write);
    let tx = one.carry_out(&command);
    let answer =
        history.answer((write, attempt), &written(tx, TxStatus::Committed), 20, &one.checker);
    assert_eq!(answer, Ok(Next::Over(Some(tx))));
    let read = history.begin(get("a", Consistency::Linearizable), Some(tx), 30);
    let (_, attempt) = history.attempt(read);
    let head = TxId::new(2, 4);
    let answer = history.answer((read, attempt), &found(head, Some("1")), 40, &one.checker);
    assert_eq!(answer, Ok(Next::Over(Some(head))));
    assert_eq!(history.examine(&one.checker), Ok(()));
    assert_eq!(history.answered(), (1, 1));
}

#[test]
fn a_stale_or_wrong_read_is_seen() {
    let (mut one, mut history) = (One::new(), History::default());
    let write = history.begin(put("a", "1"), None, 10);
    let (command, attempt) = history.attempt(write);
    let tx = one.carry_out(&command);
    let done =
        history.answer((write, attempt), &written(tx, TxStatus::Committed), 20, &one.checker);
    assert!(done.is_ok());
    let mut read = |consistency, tx, value| {
        let read = history.begin(get("a", consistency), None, 30);
        let (_, attempt) = history.attempt(read);
        seen(history.answer((read, attempt), &found(tx, value), 40, &one.checker))
    };
    let (old, now) = (TxId::new(2, 2), TxId::new(2, 4));
    assert_eq!(read(Consistency::Linearizable, old, None), "linearizable");
    assert_eq!(read(Consistency::Committed, old, None), "nothing");
    assert_eq!(read(Consistency::Committed, now, None), "prefix_reads");
    assert_eq!(read(Consistency::Committed, TxId::new(2, 9), None), "truthful_answers");
    assert_eq!(read(Consistency::Linearizable, now, Some("2")), "prefix_reads");
}

#[test]
fn a_write_that_is_lost_or_done_twice_is_seen() {
    let (mut one, mut history) = (One::new(), History::default());
    let write = history.begin(put("a", "1"), None, 10);
    let (command, attempt) = history.attempt(write);
    let lost = TxId::new(2, 3);
    let answer =
        history.answer((write, attempt), &written(lost, TxStatus::Committed), 20, &one.checker);
    assert_eq!(seen(answer), "status");
    let tx = one.carry_out(&command);
    assert_eq!(history.examine(&one.checker), Ok(()));
    one.carry_out(&command);
    assert_eq!(property(history.examine(&one.checker)), "exactly_once");
    assert_eq!(property(history.says(tx, TxStatus::Invalid, &one.checker)), "status");
    assert_eq!(
        property(history.says(TxId::new(3, 3), TxStatus::Committed, &one.checker)),
        "status"
    );
}

#[test]
fn a_refused_write_that_is_done_is_seen() {
    let (mut one, mut history) = (One::new(), History::default());
    let write = history.begin(put("a", "1"), None, 10);
    let (command, attempt) = history.attempt(write);
    let refusal = Err(Error::new(Code::PrimaryNotFound, "an election"));
    let answer = history.answer((write, attempt), &refusal, 20, &one.checker);
    assert_eq!(answer, Ok(Next::Again));
    assert_eq!(history.examine(&one.checker), Ok(()));
    one.carry_out(&command);
    assert_eq!(property(history.examine(&one.checker)), "truthful_answers");
}

#[test]
fn an_answer_that_names_another_transaction_is_seen() {
    let (mut one, mut history) = (One::new(), History::default());
    let tx = one.commit(table("b", "1"));
    let write = history.begin(put("a", "1"), None, 10);
    let (_, attempt) = history.attempt(write);
    let answer =
        history.answer((write, attempt), &written(tx, TxStatus::Pending), 20, &one.checker);
    assert_eq!(seen(answer), "truthful_answers");
}

#[test]
fn a_session_that_goes_on_without_what_it_saw_is_seen() {
    let (mut one, mut history) = (One::new(), History::default());
    one.commit(table("a", "1"));
    let read = history.begin(get("a", Consistency::Committed), Some(TxId::new(1, 3)), 30);
    let (_, attempt) = history.attempt(read);
    let answer =
        history.answer((read, attempt), &found(TxId::new(2, 4), Some("1")), 40, &one.checker);
    assert_eq!(seen(answer), "session_order");
}

#[test]
fn a_write_has_a_mark_of_its_own() {
    let mut history = History::default();
    let write = history.begin(put("a", "1"), None, 10);
    let marks = |command: &Command| match command {
        Command::Write { ops, .. } => ops
            .iter()
            .filter(|op| matches!(op, Op::Put { map, .. } if &**map == MARKS))
            .cloned()
            .collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let (first, second) = (history.attempt(write).0, history.attempt(write).0);
    assert_eq!(first, second, "a request that is tried again is the same request");
    assert_eq!(marks(&first).len(), 1);
}

/// A group of which entries 1 to 4 are committed, and which is lost but for a disk with the first two.
fn lost() -> (One, TxId, TxId) {
    let mut one = One::new();
    let first = one.checker.committed().to_vec();
    let kinds = [Kind::Configuration(BTreeSet::from([id(1)])), Kind::Signature];
    for (made, kind) in first.iter().zip(kinds) {
        let (view, seqno, bytes) = (made.view, made.seqno, made.bytes.clone());
        let fact = Fact::Record(LogRecord::Append(Entry { view, seqno, kind, bytes }));
        assert_eq!(one.checker.durable(1, vec![fact]), Ok(()));
    }
    let (kept, lost) = (TxId::new(2, 2), one.commit(table("k", "v")));
    one.checker.begin_again(1, 2, vec![id(3), id(4)]);
    (one, kept, lost)
}

#[test]
fn what_was_lost_with_a_group_is_never_made_again() {
    let (mut one, kept, lost) = lost();
    assert_eq!(one.checker.committed().len() as u64, kept.seqno);
    assert_eq!(one.checker.machine(&id(1)), None, "it is gone");
    assert_eq!(one.checker.member(0).last(), 2);
    one.checker.is_recovered();
    let again = append(lost.view, lost.seqno, table("k", "x"));
    assert_eq!(property(one.checker.durable(0, vec![again])), "log_matching");
    let other = append(lost.view + 2, lost.seqno, table("k", "x"));
    assert_eq!(property(one.checker.durable(0, vec![other])), "nothing");
}

#[test]
fn a_view_of_before_a_recovery_has_no_leader_after_it() {
    let (mut one, ..) = lost();
    let empty = |term| {
        RaftMessage::AppendEntries(AppendEntries {
            idx: 0,
            prev_idx: 0,
            term,
            prev_term: 0,
            leader_commit_idx: 0,
            term_of_idx: 0,
            round: 0,
            entries: Vec::new(),
        })
    };
    assert_eq!(property(one.checker.says(0, None, &empty(2))), "one_leader");
    assert_eq!(property(one.checker.says(0, None, &empty(4))), "nothing");
}

#[test]
fn transactions_that_were_cut_are_invalid_for_ever() {
    let (one, kept, lost) = lost();
    let mut history = History::default();
    // Both were committed, and somebody was told so.
    let mut before = One::new();
    assert_eq!(before.commit(table("k", "v")), lost);
    for tx in [kept, lost] {
        assert_eq!(property(history.says(tx, TxStatus::Committed, &before.checker)), "nothing");
    }
    history.begin_again(7, &one.checker);
    assert_eq!(property(history.says(kept, TxStatus::Invalid, &one.checker)), "status");
    assert_eq!(property(history.says(kept, TxStatus::Committed, &one.checker)), "nothing");
    assert_eq!(property(history.says(lost, TxStatus::Committed, &one.checker)), "status");
    assert_eq!(property(history.says(lost, TxStatus::Invalid, &one.checker)), "nothing");
}

#[test]
fn nothing_is_read_of_what_was_lost() {
    let (one, _, lost) = lost();
    assert_eq!(one.checker.kv().get(MAP, b"k", lost.seqno), None);
}
