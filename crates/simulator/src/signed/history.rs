//! What clients asked and were told, against the one committed log. The order is known, so nothing
//! has to be searched: every check takes time in the size of what is checked. Short histories are
//! searched all the same ([`crate::properties::linearizability`]), by another program.
//!
//! Every write also puts a row of its own into [`MARKS`], so that its transactions can be counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_consensus::raft::Seqno;
use quorate_ledger::state::Value;
use quorate_replica::cft::api::{
    Code, Command, Consistency, Error, Op, OpResult, Reply, TxId, TxStatus, Wait,
};

use super::Checker;
use crate::properties::Violation;
use crate::properties::linearizability::{Call, RegisterCall, check_map};

/// Map of the marks: number of the operation to number of the attempt.
pub const MARKS: &str = "public:marks";
/// Longest history of a key that is searched.
const SEARCHED: usize = 24;

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// A transaction that writes; with an idempotency key, or answered once.
    Write {
        /// What to do, without the mark.
        ops: Vec<Op>,
        /// Whether it may be tried again.
        again: bool,
        /// When to answer.
        wait: Wait,
    },
    /// Reads.
    Read {
        /// What to read.
        ops: Vec<Op>,
        /// What may be missing.
        consistency: Consistency,
    },
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    /// Nobody has said anything that is final.
    Open,
    /// This transaction, and what it gave.
    Done(TxId, Vec<OpResult>),
    /// A comparison failed: nothing was done.
    Compared,
}

#[derive(Debug)]
struct Operation {
    wish: Wish,
    invoked: u64,
    /// Until when it may have been done, for the client knows.
    returned: Option<u64>,
    /// How many writes were certainly done before it began.
    floor: usize,
    session: Option<TxId>,
    attempts: u64,
    /// Attempts of which nobody knows whether they were done.
    unknown: BTreeSet<u64>,
    fate: Fate,
    /// Transactions that it was told of.
    told: BTreeSet<TxId>,
}

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The operation is over; the last transaction that it saw.
    Over(Option<TxId>),
    /// Nothing was done: it may be tried again by anybody.
    Again,
    /// Whether it was done is not known: it may be tried again if it has a key.
    Unknown,
    /// Its session is over.
    Lost,
}

/// What all clients did and saw.
#[derive(Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    /// Writes that are certainly done.
    floor: usize,
    /// Answers that cannot be judged before more is committed.
    unsettled: Vec<usize>,
    /// What anybody was told of a transaction for ever.
    final_status: BTreeMap<TxId, bool>,
    /// Linearizable reads answered.
    reads: u64,
    /// Writes known to be committed.
    writes: u64,
    /// Operations of before the group was recovered. Nobody waits for them any more.
    former: usize,
    /// When the group was recovered last, and what every key was then.
    recovered: (u64, BTreeMap<Place, Value>),
}

fn wrong(property: &'static str, text: String) -> Result<(), Violation> {
    Err(Violation::new(property, text))
}

/// A map, and a key of it.
type Place = (String, Vec<u8>);
/// What somebody did to one.
type KeyCall = Call<RegisterCall<Value>>;

/// Key of an operation's mark.
fn mark(operation: usize) -> Vec<u8> {
    (operation as u64).to_be_bytes().to_vec()
}

/// Which violation it is if an order in time is not kept.
const REAL_TIME: &str = "linearizable";

impl History {
    /// Linearizable reads answered, and writes known to be committed.
    #[must_use]
    pub const fn answered(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// The group is recovered, with what the checker has as committed. Of everything else that anybody
    /// was told of it is certain that it will never be.
    pub fn begin_again(&mut self, now: u64, checker: &Checker) {
        self.former = self.operations.len();
        self.unsettled.clear();
        let told = self.operations.iter().flat_map(|operation| operation.told.iter().copied());
        for tx in told.chain(self.final_status.keys().copied()).collect::<Vec<_>>() {
            let is_left = checker.committed_at(tx.seqno).is_some_and(|made| made.view == tx.view);
            self.final_status.insert(tx, is_left);
        }
        self.floor = checker.kv().writes_up_to(checker.committed().len() as Seqno);
        let state = checker.kv().state();
        let of = |map: &str| -> Vec<(Place, Value)> {
            let values = state.iter(map);
            values.map(|(key, value)| ((map.to_owned(), key.to_vec()), value.clone())).collect()
        };
        self.recovered = (now, state.maps().flat_map(of).collect());
    }

    /// A client begins an operation; its number.
    pub fn begin(&mut self, wish: Wish, session: Option<TxId>, now: u64) -> usize {
        self.operations.push(Operation {
            wish,
            invoked: now,
            returned: None,
            floor: self.floor,
            session,
            attempts: 0,
            unknown: BTreeSet::new(),
            fate: Fate::Open,
            told: BTreeSet::new(),
        });
        self.operations.len() - 1
    }

    /// The next attempt at an operation: its command, and the number of the attempt.
    pub fn attempt(&mut self, number: usize) -> (Command, u64) {
        let operation = &mut self.operations[number];
        operation.attempts += 1;
        // A comparison that failed before may succeed now.
        if operation.fate == Fate::Compared {
            operation.fate = Fate::Open;
            operation.returned = None;
        }
        let attempt = operation.attempts;
        operation.unknown.insert(attempt);
        let command = match &operation.wish {
            Wish::Write { ops, again, wait } => {
                let mut ops = ops.clone();
                // A request that is tried again must be the same request.
                let value = if *again { 0 } else { attempt };
                let value: Value = Arc::from(value.to_be_bytes().as_slice());
                ops.push(Op::Put { map: MARKS.into(), key: mark(number), value });
                Command::Write {
                    ops,
                    idempotency: again.then(|| format!("op-{number}").into_bytes()),
                    wait: *wait,
                    session: operation.session,
                }
            }
            Wish::Read { ops, consistency } => Command::Read {
                ops: ops.clone(),
                consistency: *consistency,
                session: operation.session,
            },
        };
        (command, attempt)
    }

    /// Whether an operation may be tried again although nobody knows whether it was done.
    #[must_use]
    pub fn may_try_again(&self, number: usize) -> bool {
        match &self.operations[number].wish {
            Wish::Write { again, .. } => *again,
            Wish::Read { .. } => true,
        }
    }

    /// An attempt was answered.
    ///
    /// # Errors
    /// The answer cannot be true.
    pub fn answer(
        &mut self,
        (number, attempt): (usize, u64),
        result: &Result<Reply, Error>,
        now: u64,
        checker: &Checker,
    ) -> Result<Next, Violation> {
        match result {
            Ok(Reply::Written { tx, status, results, repeated }) => {
                self.written((number, *tx, *status, *repeated), results, now, checker)
            }
            Ok(Reply::Read { tx, results }) => self.read(number, *tx, results, now, checker),
            Ok(other) => {
                let text = format!("operation {number} was answered {other:?}");
                Err(Violation::new("truthful_answers", text))
            }
            Err(error) => Ok(self.refused(number, attempt, error, now)),
        }
    }

    fn refused(&mut self, number: usize, attempt: u64, error: &Error, now: u64) -> Next {
        let operation = &mut self.operations[number];
        let unknown = matches!(
            error.code,
            Code::TransactionReplicationFailed
                | Code::TransactionCommitAttemptsExceedLimit
                | Code::InternalError
        );
        if unknown {
            return Next::Unknown;
        }
        operation.unknown.remove(&attempt);
        match error.code {
            Code::SessionConsistencyLost => Next::Lost,
            Code::PreconditionFailed if operation.unknown.is_empty() => {
                operation.fate = Fate::Compared;
                operation.returned = Some(now);
                Next::Over(None)
            }
            Code::PreconditionFailed
            | Code::InvalidInput
            | Code::IdempotencyKeyReused
            | Code::RequestBodyTooLarge => Next::Over(None),
            _ => Next::Again,
        }
    }

    fn written(
        &mut self,
        (number, tx, status, repeated): (usize, TxId, TxStatus, bool),
        results: &[OpResult],
        now: u64,
        checker: &Checker,
    ) -> Result<Next, Violation> {
        self.says(tx, status, checker)?;
        let operation = &mut self.operations[number];
        operation.told.insert(tx);
        if status == TxStatus::Invalid {
            return Ok(Next::Lost);
        }
        if let Fate::Done(before, _) = &operation.fate
            && *before != tx
            && checker.committed_at(before.seqno).is_some_and(|made| made.view == before.view)
        {
            if status != TxStatus::Committed {
                // A leader of before, which does not know yet that it leads no more.
                return Ok(Next::Over(Some(*before)));
            }
            let text = format!("operation {number} is transaction {before} and {tx}");
            return Err(Violation::new("exactly_once", text));
        }
        operation.fate = Fate::Done(tx, if repeated { Vec::new() } else { results.to_vec() });
        self.unsettled.push(number);
        if status == TxStatus::Committed {
            self.operations[number].returned = Some(now);
            self.writes += 1;
            let floor = self.operations[number].floor;
            self.is_after(number, tx.seqno, floor, checker)?;
            self.floor = self.floor.max(checker.kv().writes_up_to(tx.seqno));
        }
        self.settle(checker)?;
        Ok(Next::Over(Some(tx)))
    }

    fn is_after(
        &self,
        number: usize,
        seqno: Seqno,
        floor: usize,
        checker: &Checker,
    ) -> Result<(), Violation> {
        let place = checker.kv().writes_up_to(seqno);
        if place >= floor {
            return Ok(());
        }
        let operation = &self.operations[number];
        wrong(
            REAL_TIME,
            format!(
                "operation {number} (from {} us on) took place after {place} writes, when {floor} \
                 were done before it began: {:?}",
                operation.invoked, operation.wish
            ),
        )
    }

    fn read(
        &mut self,
        number: usize,
        tx: TxId,
        results: &[OpResult],
        now: u64,
        checker: &Checker,
    ) -> Result<Next, Violation> {
        let operation = &mut self.operations[number];
        let consistency = match operation.wish {
            Wish::Read { consistency, .. } => consistency,
            Wish::Write { .. } => {
                let text = format!("operation {number} is a write, and was answered as a read");
                return Err(Violation::new("truthful_answers", text));
            }
        };
        operation.unknown.clear();
        operation.fate = Fate::Done(tx, results.to_vec());
        operation.returned = Some(now);
        let is_committed = checker.committed_at(tx.seqno).is_some_and(|made| made.view == tx.view)
            || tx.seqno == 0;
        if consistency != Consistency::Local && !is_committed {
            let text = format!("operation {number} reads transaction {tx}, not committed");
            return Err(Violation::new("truthful_answers", text));
        }
        self.unsettled.push(number);
        if consistency == Consistency::Linearizable {
            self.reads += 1;
            let floor = self.operations[number].floor;
            self.is_after(number, tx.seqno, floor, checker)?;
            self.floor = self.floor.max(checker.kv().writes_up_to(tx.seqno));
        }
        self.settle(checker)?;
        Ok(Next::Over(Some(tx)))
    }

    /// Somebody was told how a transaction stands.
    ///
    /// # Errors
    /// It cannot be so.
    pub fn says(&mut self, tx: TxId, status: TxStatus, checker: &Checker) -> Result<(), Violation> {
        let known = checker.committed_at(tx.seqno);
        let committed = match status {
            TxStatus::Committed => true,
            TxStatus::Invalid => false,
            TxStatus::Pending | TxStatus::Unknown => return Ok(()),
        };
        if committed && known.is_none_or(|made| made.view != tx.view) {
            let known = known.map(|made| made.view);
            return wrong("status", format!("{tx} is committed, they say; there is {known:?}"));
        }
        if !committed && known.is_some_and(|made| made.view == tx.view) {
            return wrong("status", format!("{tx} is invalid, they say; it is committed"));
        }
        let before = *self.final_status.entry(tx).or_insert(committed);
        if before != committed {
            return wrong("status", format!("{tx} was committed or invalid, and is the other now"));
        }
        Ok(())
    }

    /// Judges what can be judged now.
    ///
    /// # Errors
    /// An answer was not true.
    pub fn settle(&mut self, checker: &Checker) -> Result<(), Violation> {
        let committed = checker.committed().len() as Seqno;
        for number in std::mem::take(&mut self.unsettled) {
            let Fate::Done(tx, _) = &self.operations[number].fate else { continue };
            if tx.seqno > committed {
                self.unsettled.push(number);
            } else {
                self.judge(number, checker)?;
            }
        }
        Ok(())
    }

    /// The log is committed up to an operation's transaction.
    fn judge(&self, number: usize, checker: &Checker) -> Result<(), Violation> {
        let operation = &self.operations[number];
        let Fate::Done(tx, results) = &operation.fate else { return Ok(()) };
        let made = checker.committed_at(tx.seqno);
        if tx.seqno > 0 && made.is_none_or(|made| made.view != tx.view) {
            // It was rolled back: nobody may have said that it was committed.
            return match self.final_status.get(tx) {
                Some(true) => {
                    wrong("no_acknowledged_loss", format!("{tx} was committed, and is not there"))
                }
                _ => Ok(()),
            };
        }
        self.keeps_its_session(number, *tx, checker)?;
        match &operation.wish {
            Wish::Write { ops, .. } => {
                let own = made.and_then(|made| made.writes.get(MARKS, &mark(number)));
                if own.is_none() {
                    let text = format!("operation {number} is not in transaction {tx}, as it says");
                    return wrong("truthful_answers", text);
                }
                if results.is_empty() {
                    return Ok(());
                }
                self.gave(number, ops, results, (tx.seqno - 1, true), checker)
            }
            Wish::Read { ops, .. } => self.gave(number, ops, results, (tx.seqno, false), checker),
        }
    }

    /// What a session has seen is there for whoever answers it.
    fn keeps_its_session(
        &self,
        number: usize,
        tx: TxId,
        checker: &Checker,
    ) -> Result<(), Violation> {
        let Some(seen) = self.operations[number].session else { return Ok(()) };
        let there = checker.committed_at(seen.seqno).is_some_and(|made| made.view == seen.view);
        let behind = tx.seqno < seen.seqno && tx.view <= seen.view;
        if there || behind || seen.seqno == 0 {
            return Ok(());
        }
        let text = format!("operation {number} of a session that has seen {seen} is {tx}");
        wrong("session_order", format!("{text}, after which {seen} cannot be"))
    }

    /// The results are those of the maps after the entry `at` (and after the own writes before).
    fn gave(
        &self,
        number: usize,
        ops: &[Op],
        results: &[OpResult],
        (at, own): (Seqno, bool),
        checker: &Checker,
    ) -> Result<(), Violation> {
        let property = if own { "truthful_answers" } else { "prefix_reads" };
        let expected = results.len() == ops.len() || (own && results.len() == ops.len() + 1);
        if !expected {
            let text = format!("operation {number}: {} results of {ops:?}", results.len());
            return wrong(property, text);
        }
        let mut written: BTreeMap<(&str, &[u8]), Option<&Value>> = BTreeMap::new();
        for (op, result) in ops.iter().zip(results) {
            let good = match (op, result) {
                (Op::Get { map, key }, OpResult::Value(found)) => {
                    let before = || checker.kv().get(map, key, at);
                    let now = written.get(&(&**map, key.as_slice())).copied();
                    found.as_ref() == now.unwrap_or_else(before)
                }
                (Op::Range { map, from, to, limit }, OpResult::Range(found, more)) => {
                    let mut all = checker.kv().range(map, from, to.as_deref(), at);
                    for ((of, key), value) in &written {
                        let inside = *of == &**map
                            && *key >= from.as_slice()
                            && to.as_deref().is_none_or(|to| *key < to);
                        match value {
                            Some(value) if inside => {
                                all.insert(key.to_vec(), Value::clone(value));
                            }
                            None if inside => {
                                all.remove(*key);
                            }
                            _ => {}
                        }
                    }
                    let limit = *limit as usize;
                    *more == (all.len() > limit)
                        && all.into_iter().take(limit).eq(found.iter().cloned())
                }
                (Op::Put { .. } | Op::Delete { .. } | Op::CompareAndSet { .. }, OpResult::Done) => {
                    true
                }
                _ => false,
            };
            if !good {
                let text = format!("operation {number}, after {at}: {op:?} gave {result:?}");
                return wrong(property, text);
            }
            match op {
                Op::Put { map, key, value } => {
                    written.insert((map, key), Some(value));
                }
                Op::Delete { map, key } => {
                    written.insert((map, key), None);
                }
                Op::CompareAndSet { map, key, expected, value } => {
                    let before = written.get(&(&**map, key.as_slice())).copied();
                    let before = before.unwrap_or_else(|| checker.kv().get(map, key, at));
                    if before != expected.as_ref() {
                        let text = format!("operation {number}, after {at}: {op:?} was done");
                        return wrong(property, text);
                    }
                    written.insert((map, key), value.as_ref());
                }
                Op::Get { .. } | Op::Range { .. } => {}
            }
        }
        Ok(())
    }

    /// The end, when everybody agrees on what is committed: nothing acknowledged is lost, nothing
    /// is done twice, nothing refused is done.
    ///
    /// # Errors
    /// What does not hold.
    pub fn examine(&mut self, checker: &Checker) -> Result<(), Violation> {
        self.settle(checker)?;
        for (tx, committed) in &self.final_status {
            let made = checker.committed_at(tx.seqno);
            if *committed && made.is_none_or(|made| made.view != tx.view) {
                return wrong("no_acknowledged_loss", format!("{tx} was committed, and is gone"));
            }
            if !*committed && made.is_some_and(|made| made.view == tx.view) {
                return wrong("status", format!("{tx} was invalid, and is committed"));
            }
        }
        let mut marks: BTreeMap<Vec<u8>, Vec<(Seqno, Option<Value>)>> = BTreeMap::new();
        for made in checker.committed() {
            for (_, key, value) in made.writes.iter().filter(|(map, ..)| *map == MARKS) {
                marks.entry(key.to_vec()).or_default().push((made.seqno, value.cloned()));
            }
        }
        for (number, operation) in self.operations.iter().enumerate() {
            let done = marks.get(&mark(number)).map_or(&[][..], Vec::as_slice);
            let Wish::Write { again, .. } = &operation.wish else { continue };
            let values: BTreeSet<_> = done.iter().map(|(_, value)| value).collect();
            if values.len() < done.len() || (*again && done.len() > 1) {
                let places: Vec<Seqno> = done.iter().map(|(seqno, _)| *seqno).collect();
                return wrong("exactly_once", format!("operation {number} is at {places:?}"));
            }
            let nothing = operation.unknown.is_empty() && operation.told.is_empty();
            if nothing && !done.is_empty() {
                let text = format!("operation {number} was refused, and is at {}", done[0].0);
                return wrong("truthful_answers", text);
            }
        }
        self.search()
    }

    /// Searches an order of the operations on each key with a short history.
    fn search(&self) -> Result<(), Violation> {
        let mut calls: BTreeMap<Place, Vec<((), KeyCall)>> = BTreeMap::new();
        let (since, values) = &self.recovered;
        for operation in &self.operations[self.former..] {
            for (place, done) in operation.calls() {
                let (invoked, returned) = (operation.invoked, operation.returned);
                let call = Call { invoked, returned, operation: done };
                let first = || {
                    let operation = RegisterCall::Write(Some(values.get(&place)?.clone()));
                    Some(((), Call { invoked: *since, returned: Some(*since), operation }))
                };
                let before = || first().into_iter().collect();
                calls.entry(place.clone()).or_insert_with(before).push(((), call));
            }
        }
        for ((map, key), calls) in calls.iter().filter(|(_, calls)| calls.len() <= SEARCHED) {
            if let Err(((), error)) = check_map(calls) {
                let key = String::from_utf8_lossy(key);
                return wrong("linearizable", format!("{map} {key}: {error}"));
            }
        }
        Ok(())
    }
}

impl Operation {
    /// What it did to single keys, as far as it takes part in the order of all operations.
    fn calls(&self) -> Vec<(Place, RegisterCall<Value>)> {
        let at = |map: &Arc<str>, key: &Vec<u8>| (map.to_string(), key.clone());
        match &self.wish {
            Wish::Write { ops, wait, .. } => {
                // What was never answered may have been done, or may still be.
                let possible = !self.unknown.is_empty() || !self.told.is_empty();
                // Who does not wait for the commit is refused by what may be rolled back.
                let waits = *wait != Wait::Response;
                let compared = waits && self.fate == Fate::Compared && ops.len() == 1;
                ops.iter()
                    .filter(|_| possible || compared)
                    .filter_map(|op| match op {
                        Op::Put { map, key, value } if possible => {
                            Some((at(map, key), RegisterCall::Write(Some(Value::clone(value)))))
                        }
                        Op::Delete { map, key } if possible => {
                            Some((at(map, key), RegisterCall::Write(None)))
                        }
                        Op::CompareAndSet { map, key, expected, value } => {
                            let done = match (self.returned.is_some(), compared) {
                                (true, false) => Some(true),
                                (_, true) => Some(false),
                                (false, false) => None,
                            };
                            let (expected, new) = (expected.clone(), value.clone());
                            let call = RegisterCall::CompareAndSet { expected, new, done };
                            Some((at(map, key), call))
                        }
                        _ => None,
                    })
                    .collect()
            }
            Wish::Read { ops, consistency: Consistency::Linearizable } => {
                let Fate::Done(_, results) = &self.fate else { return Vec::new() };
                let pairs = ops.iter().zip(results);
                pairs
                    .filter_map(|(op, result)| match (op, result) {
                        (Op::Get { map, key }, OpResult::Value(found)) => {
                            Some((at(map, key), RegisterCall::Read(found.clone())))
                        }
                        _ => None,
                    })
                    .collect()
            }
            Wish::Read { .. } => Vec::new(),
        }
    }
}
