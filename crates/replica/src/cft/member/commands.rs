//! Commands: writes, reads, waiting, and what comes back from the leader.

use quorate_consensus::core::{Env, Time};
use quorate_consensus::raft::{Event, Refusal};
use quorate_crypto::hash::sha256;
use quorate_ledger::ccf::TxId;
use quorate_ledger::ccf::maps::IDEMPOTENCY;
use quorate_ledger::codec::Writer;
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::state::WriteSet;
use rand_core::Rng as _;

use super::keyed::KeyedRow;
use super::{Member, refused};
use crate::cft::api::{Code, Command, Consistency, Error, Op, OpResult, Reply, TxStatus, Wait};
use crate::cft::execute::{View, check, execute};
use crate::cft::keys::Keys;
use crate::cft::limits::{
    IDEMPOTENCY_FORGET, IDEMPOTENCY_MS, MAX_FORWARDS, MAX_IDEMPOTENCY, MAX_QUEUED, MAX_READS,
    MAX_WAIT_MS, MAX_WAITERS,
};
use crate::cft::waits::{Answer, Origin, Waiter};
use crate::cft::wire::codec::write_ops;

/// What a linearizable read does once this node is known to have led after it came.
#[derive(Debug)]
pub(super) enum Then {
    /// Reads committed state.
    Read { ops: Vec<Op>, session: Option<TxId> },
    /// Answers what was found out before.
    Answer(Result<Reply, Error>),
}

/// A linearizable read that waits.
#[derive(Debug)]
pub(super) struct PendingRead {
    pub(super) origin: Origin,
    pub(super) then: Then,
}

/// Room a result takes in a packet, about.
pub(super) fn weight(result: &OpResult) -> usize {
    match result {
        OpResult::Value(value) => 16 + value.as_ref().map_or(0, |value| value.len()),
        OpResult::Range(rows, _) => {
            16 + rows.iter().map(|(key, value)| 16 + key.len() + value.len()).sum::<usize>()
        }
        OpResult::Done => 1,
    }
}

/// Room a command takes in a packet, about.
pub(super) fn command_weight(command: &Command) -> usize {
    let (Command::Write { ops, .. } | Command::Read { ops, .. }) = command else { return 64 };
    let op = |op: &Op| match op {
        Op::Get { map, key } | Op::Delete { map, key } => map.len() + key.len(),
        Op::Range { map, from, to, .. } => map.len() + from.len() + to.as_ref().map_or(0, Vec::len),
        Op::Put { map, key, value } => map.len() + key.len() + value.len(),
        Op::CompareAndSet { map, key, expected, value } => {
            let values = [expected, value].into_iter().flatten().map(|value| value.len());
            map.len() + key.len() + values.sum::<usize>()
        }
    };
    128 + ops.iter().map(|each| 32 + op(each)).sum::<usize>()
}

impl<K: Keys> Member<K> {
    pub(super) fn command(&mut self, env: &mut Env, origin: Origin, command: Command) {
        match command {
            Command::Write { .. } => self.write_or_queue(env, origin, command),
            Command::Read { ops, consistency, session } => match check(&ops, true, None) {
                Ok(()) => self.read(env, origin, ops, consistency, session),
                Err(error) => self.reply(&origin, Err(error)),
            },
            Command::Await { tx, timeout_ms } => {
                let status = self.status(tx);
                let deadline = env.now.after(timeout_ms.min(MAX_WAIT_MS));
                self.wait(origin, tx, status, deadline, Answer::Status);
            }
            Command::Member(_) | Command::Nominate if !self.leads() => {
                self.forward(env, origin, command);
            }
            Command::Member(change) => {
                let result = self.change_members(env, &change);
                let status = TxStatus::Pending;
                let written = |tx| Reply::Written { tx, status, results: vec![], repeated: false };
                self.reply(&origin, result.map(written));
            }
            Command::Nominate => {
                self.feed(env, Event::Nominate);
                self.reply(&origin, Ok(Reply::Nominated));
            }
        }
    }

    /// Keeps a command for the leader. One that another node has forwarded goes back: that node
    /// looks for the leader itself.
    fn forward(&mut self, env: &mut Env, origin: Origin, mut command: Command) {
        let Origin::Local(ticket) = origin else {
            let error = Error::new(Code::PrimaryNotFound, "this node does not lead");
            return self.reply(&origin, Err(error));
        };
        if self.forwards.len() >= MAX_FORWARDS {
            let message = "too many requests wait for a leader";
            let error = Error::new(Code::TooManyPendingTransactions, message);
            return self.reply(&origin, Err(error));
        }
        let mut patience = self.config.election_timeout_ms.saturating_mul(2).saturating_add(1_000);
        if let Command::Write { idempotency, wait, .. } = &mut command {
            if idempotency.is_none() && !mutated(Mutant::CftForwardUnkeyed) {
                let mut key = vec![0; 16];
                env.rng.fill_bytes(&mut key);
                *idempotency = Some(key);
            }
            if let Wait::Committed { timeout_ms } = wait {
                patience = (*timeout_ms).min(MAX_WAIT_MS);
            }
        }
        self.forwards.add(ticket, command, env.now.after(patience));
    }

    /// Whether the next write had better wait for the signatures that are under way: what comes
    /// meanwhile is signed, sent and made durable as one batch. Writes that are answered early, and
    /// those that go elsewhere, do not wait.
    fn queues(&self, command: &Command) -> bool {
        command.awaits_commit() && self.holds_writes()
    }

    /// As many signatures are under way as there may be.
    pub fn holds_writes(&self) -> bool {
        self.stopped.is_none() && self.leads() && !self.retires() && self.is_signing()
    }

    /// A write, now or with the next batch.
    fn write_or_queue(&mut self, env: &mut Env, origin: Origin, command: Command) {
        if !self.queues(&command) {
            return self.write(env, origin, command);
        }
        if self.queued.len() >= MAX_QUEUED {
            let message = "too many writes wait for a signature";
            let error = Error::new(Code::TooManyPendingTransactions, message);
            return self.reply(&origin, Err(error));
        }
        self.queued.push_back((origin, command));
    }

    /// Writes what was queued, once there is no reason to wait any more.
    pub(super) fn write_queued(&mut self, env: &mut Env) {
        while let Some((_, command)) = self.queued.front()
            && !self.queues(command)
        {
            let Some((origin, command)) = self.queued.pop_front() else { break };
            self.write(env, origin, command);
        }
    }

    /// [R4], [O2]: executes, appends, and answers early or when it is decided.
    fn write(&mut self, env: &mut Env, origin: Origin, command: Command) {
        let Command::Write { ops, idempotency, wait, session } = &command else { return };
        if let Err(error) = check(ops, false, idempotency.as_deref()) {
            return self.reply(&origin, Err(error));
        }
        if !self.leads() || self.retires() {
            return self.forward(env, origin, command);
        }
        if let Err(error) = self.may_write(*session, *wait) {
            return self.reply(&origin, Err(error));
        }
        let deadline = match wait {
            Wait::Response => None,
            Wait::Committed { timeout_ms } => Some(env.now.after((*timeout_ms).min(MAX_WAIT_MS))),
        };
        let keyed = idempotency.as_ref().map(|key| (key.as_slice(), request_digest(ops)));
        if let Some((key, request)) = keyed
            && let Some(row) = self.store.head(IDEMPOTENCY, key).and_then(|row| KeyedRow::read(row))
            && (row.tx.view == self.raft.view() || !mutated(Mutant::CftKeysOfOwnView))
        {
            return self.written_before(origin, &row, request, deadline);
        }
        let outcome = match execute(View::Head(&self.store), ops) {
            Ok(outcome) => outcome,
            Err(error) => return self.refuse_by_state(env, origin, error, deadline),
        };
        if outcome.writes.is_empty() {
            return self.answer_by_state(env, origin, outcome.results, deadline);
        }
        let mut writes = outcome.writes;
        if let Some((key, request)) = keyed
            && let Err(error) = self.remember_key(env.now, &mut writes, key, request)
        {
            return self.reply(&origin, Err(error));
        }
        match self.append(env, writes, true) {
            Ok(tx) => {
                let answer = Answer::Written { results: outcome.results, repeated: false };
                self.respond(origin, tx, deadline, answer);
            }
            Err(error) => self.reply(&origin, Err(error)),
        }
    }

    fn may_write(&self, session: Option<TxId>, wait: Wait) -> Result<(), Error> {
        if !self.is_open() {
            return Err(Error::new(Code::FrontendNotOpen, "the service is not open"));
        }
        self.raft.admits(&self.probe).map_err(refused)?;
        if wait != Wait::Response && self.waits.len() >= MAX_WAITERS {
            return Err(Error::new(Code::TooManyPendingTransactions, "too many callers wait"));
        }
        self.check_session(session)
    }

    /// Whether what a session saw is still there. A leader's log is what counts in its view.
    fn check_session(&self, session: Option<TxId>) -> Result<(), Error> {
        let Some(tx) = session else { return Ok(()) };
        let lost = match self.status(tx) {
            TxStatus::Committed | TxStatus::Pending => false,
            TxStatus::Invalid => true,
            TxStatus::Unknown => self.leads(),
        };
        if lost && !mutated(Mutant::CftSessionUnchecked) {
            let message = format!("transaction {tx}, which the session has seen, was rolled back");
            return Err(Error::new(Code::SessionConsistencyLost, message));
        }
        Ok(())
    }

    /// The key was used before: nothing is done again.
    fn written_before(
        &mut self,
        origin: Origin,
        row: &KeyedRow,
        request: [u8; 32],
        deadline: Option<Time>,
    ) {
        if row.request != request {
            let message = format!("the key was used for another request, transaction {}", row.tx);
            return self.reply(&origin, Err(Error::new(Code::IdempotencyKeyReused, message)));
        }
        let answer = Answer::Written { results: Vec::new(), repeated: true };
        self.respond(origin, row.tx, deadline, answer);
    }

    fn remember_key(
        &self,
        now: Time,
        writes: &mut WriteSet,
        key: &[u8],
        request: [u8; 32],
    ) -> Result<(), Error> {
        let too_large = |e: quorate_ledger::state::WriteError| {
            Error::new(Code::RequestBodyTooLarge, e.to_string())
        };
        let tx = TxId::new(self.raft.view(), self.raft.last_idx() + 1);
        let row = KeyedRow { tx, at_ms: now.0, request };
        writes.put(IDEMPOTENCY, key, row.to_value()).map_err(too_large)?;
        let known = self.keyed.0.len();
        for (at, (old, at_ms)) in self.keyed.0.values().take(IDEMPOTENCY_FORGET).enumerate() {
            let expired = at_ms.saturating_add(IDEMPOTENCY_MS) <= now.0;
            if expired || known + 1 - at > MAX_IDEMPOTENCY {
                writes.delete(IDEMPOTENCY, old.as_slice()).map_err(too_large)?;
            }
        }
        Ok(())
    }

    /// Answers a write that is in the log.
    fn respond(&mut self, origin: Origin, tx: TxId, deadline: Option<Time>, answer: Answer) {
        let mut status = self.status(tx);
        if mutated(Mutant::CftCommittedAtOnce) && deadline.is_some() {
            status = TxStatus::Committed;
        }
        let Some(deadline) = deadline else {
            let Answer::Written { results, repeated } = answer else { return };
            return self.reply(&origin, Ok(Reply::Written { tx, status, results, repeated }));
        };
        if let (Origin::Remote(..), Answer::Written { results, repeated }) = (&origin, &answer) {
            let (results, repeated) = (results.clone(), *repeated);
            self.reply(&origin, Ok(Reply::Written { tx, status, results, repeated }));
            if matches!(status, TxStatus::Committed | TxStatus::Invalid) {
                return;
            }
        }
        self.wait(origin, tx, status, deadline, answer);
    }

    fn wait(&mut self, origin: Origin, tx: TxId, status: TxStatus, deadline: Time, answer: Answer) {
        let waiter = Waiter { tx, origin, deadline, answer, forward: None };
        if matches!(status, TxStatus::Committed | TxStatus::Invalid) {
            return self.answer_waiter(waiter, status);
        }
        if self.waits.len() >= MAX_WAITERS {
            let error = Error::new(Code::TooManyPendingTransactions, "too many callers wait");
            return self.reply(&waiter.origin, Err(error));
        }
        self.waits.add(waiter);
    }

    /// A comparison failed. To a caller that waits this is said when what was compared is committed
    /// and this node has led since.
    fn refuse_by_state(
        &mut self,
        env: &mut Env,
        origin: Origin,
        error: Error,
        deadline: Option<Time>,
    ) {
        let Some(deadline) = deadline.filter(|_| error.code == Code::PreconditionFailed) else {
            return self.reply(&origin, Err(error));
        };
        let seen = self.last_tx();
        if self.status(seen) == TxStatus::Committed {
            let then = Then::Answer(Err(error));
            return self.read_index(env, PendingRead { origin, then });
        }
        self.wait(origin, seen, TxStatus::Pending, deadline, Answer::Refusal(error));
    }

    /// A request that wrote nothing: its transaction is the last one it may have seen.
    fn answer_by_state(
        &mut self,
        env: &mut Env,
        origin: Origin,
        results: Vec<OpResult>,
        deadline: Option<Time>,
    ) {
        let tx = self.last_tx();
        let status = self.status(tx);
        if deadline.is_some() && status == TxStatus::Committed {
            let reply = Reply::Written { tx, status, results, repeated: false };
            let then = Then::Answer(Ok(reply));
            return self.read_index(env, PendingRead { origin, then });
        }
        self.respond(origin, tx, deadline, Answer::Written { results, repeated: false });
    }

    fn read(
        &mut self,
        env: &mut Env,
        origin: Origin,
        ops: Vec<Op>,
        consistency: Consistency,
        session: Option<TxId>,
    ) {
        let unknown = session.is_some_and(|tx| self.status(tx) == TxStatus::Unknown);
        let elsewhere = consistency == Consistency::Linearizable || unknown;
        if elsewhere && (!self.leads() || self.retires()) {
            let command = Command::Read { ops, consistency, session };
            return self.forward(env, origin, command);
        }
        if consistency == Consistency::Linearizable && !mutated(Mutant::CftReadUnconfirmed) {
            let then = Then::Read { ops, session };
            return self.read_index(env, PendingRead { origin, then });
        }
        let result = self.read_now(&ops, consistency, session);
        self.reply(&origin, result);
    }

    fn read_now(
        &self,
        ops: &[Op],
        consistency: Consistency,
        session: Option<TxId>,
    ) -> Result<Reply, Error> {
        self.check_session(session)?;
        let (view, tx) = match consistency {
            Consistency::Linearizable if mutated(Mutant::CftReadUncommitted) => {
                (View::Head(&self.store), self.last_tx())
            }
            Consistency::Local => (View::Head(&self.store), self.last_tx()),
            _ => (View::Committed(self.store.committed()), self.committed_tx()),
        };
        let results = execute(view, ops)?.results;
        Ok(Reply::Read { tx, results })
    }

    /// Asks the protocol whether this node still leads.
    pub(super) fn read_index(&mut self, env: &mut Env, read: PendingRead) {
        if self.reads.len() + self.early_reads.len() >= MAX_READS {
            let error = refused(Refusal::TooManyPendingReads);
            return self.reply(&read.origin, Err(error));
        }
        self.next_read += 1;
        self.reads.insert(self.next_read, read);
        self.feed(env, Event::Read(self.next_read));
    }

    pub(super) fn finish_read(&mut self, read: PendingRead) {
        let result = match read.then {
            Then::Read { ops, session } => self.read_now(&ops, Consistency::Linearizable, session),
            Then::Answer(result) => result,
        };
        self.reply(&read.origin, result);
    }

    pub(super) fn read_refused(&mut self, env: &mut Env, read: PendingRead, reason: Refusal) {
        match (reason, read.then) {
            (Refusal::NothingCommittedYet, then) if self.leads() => {
                self.early_reads.push(PendingRead { origin: read.origin, then });
            }
            (Refusal::TooManyPendingReads, _) => self.reply(&read.origin, Err(refused(reason))),
            (_, Then::Read { ops, session }) => {
                let consistency = Consistency::Linearizable;
                self.forward(env, read.origin, Command::Read { ops, consistency, session });
            }
            (_, Then::Answer(_)) => {
                let message = "this node does not lead any more; nothing was written";
                self.reply(&read.origin, Err(Error::new(Code::PrimaryNotFound, message)));
            }
        }
    }

    /// The leader's answer to a forwarded command. One that does not lead any more says so: the
    /// command is sent again when another does, or after a while.
    pub(super) fn forwarded(&mut self, env: &mut Env, id: u64, result: Result<Reply, Error>) {
        if matches!(&result, Err(error) if error.code == Code::PrimaryNotFound) {
            return;
        }
        let Some(forward) = self.forwards.take(id) else { return };
        let origin = Origin::Local(forward.ticket);
        if forward.is_doubtful(1) {
            self.doubtful.insert(forward.ticket);
        }
        let waits = matches!(forward.command, Command::Write { wait: Wait::Committed { .. }, .. });
        let (tx, results, repeated) = match result {
            Ok(Reply::Written { tx, status, results, repeated })
                if waits && !matches!(status, TxStatus::Committed | TxStatus::Invalid) =>
            {
                (tx, results, repeated)
            }
            other => return self.reply(&origin, other),
        };
        let deadline = forward.deadline().max(env.now);
        let answer = Answer::Written { results, repeated };
        let waiter = Waiter { tx, origin, deadline, answer, forward: Some(id) };
        match self.status(tx) {
            status @ (TxStatus::Committed | TxStatus::Invalid) => {
                self.answer_waiter(waiter, status);
            }
            _ => {
                let waiter = self.waits.add(waiter);
                self.forwards.answered_early(id, waiter);
            }
        }
    }
}

/// Tells requests under one idempotency key apart.
fn request_digest(ops: &[Op]) -> [u8; 32] {
    let mut writer = Writer::new();
    write_ops(&mut writer, ops);
    sha256(&writer.finish()).0
}
