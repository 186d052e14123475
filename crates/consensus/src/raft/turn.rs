//! What a step is made of: records, outputs, time.

use rand::RngExt as _;

use super::message::{Entry, NodeId, RaftMessage};
use super::{Role, Seqno, View};
use crate::core::{Env, Step, Time};
use crate::trace::Trace;

/// What must be durable before a step's messages and outputs leave. In the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogRecord {
    /// View and vote of this node; replaces the one before.
    Vote {
        /// The node's view.
        view: View,
        /// Who has its vote in it.
        voted_for: Option<NodeId>,
    },
    /// Extends the log by one entry.
    Append(Entry),
    /// Removes all entries after this one.
    Truncate {
        /// The last one that stays.
        after: Seqno,
    },
    /// Everything up to this signature is committed, which ends a configuration: whoever resumes
    /// must not wait for nodes of it any more, which may be switched off now. Commits that end none
    /// are in no record; a node that has forgotten them learns them again.
    Commit(Seqno),
}

/// What a node tells the rest of its process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// An entry is in the log: a leader may answer early, everybody may execute it.
    Appended(Entry),
    /// Entries after this one are gone.
    RolledBack {
        /// The last one that stays.
        after: Seqno,
    },
    /// Everything up to here is final.
    Committed(Seqno),
    /// The entry of [`super::Event::Append`] was not appended.
    Refused(Refusal),
    /// The role changed.
    Role {
        /// The new one.
        role: Role,
        /// The view it is for.
        view: View,
    },
    /// A leader should look for nodes whose retirement is committed and append
    /// [`super::Kind::Retired`] for them.
    CleanUp,
    /// A learner has everything that is committed: it can be made a member.
    CaughtUp(NodeId),
    /// This node has retired for good and may be switched off.
    Retired,
    /// A message or entry that no correct node could have said or written, as far as this node can
    /// tell: it was ignored. What, in a few words.
    Inconsistent(&'static str),
    /// A read may be answered once everything up to `seqno` is executed.
    ReadReady {
        /// Of [`super::Event::Read`].
        token: u64,
        /// What must be executed.
        seqno: Seqno,
    },
    /// A read cannot be answered here.
    ReadRefused {
        /// Of [`super::Event::Read`].
        token: u64,
        /// Why.
        reason: Refusal,
    },
}

/// Why a node does not do what it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Only the leader can.
    #[error("this node does not lead")]
    NotLeader,
    /// The leader retires and takes no more user transactions.
    #[error("the leader retires")]
    Retiring,
    /// Too many entries wait for their commit.
    #[error("too many transactions are pending")]
    TooManyPendingTransactions,
    /// The entry is larger than the limit, or names no node or too many.
    #[error("the entry is too large")]
    TooLarge,
    /// A new leader does not know yet what is committed.
    #[error("the leader has committed nothing in its view yet")]
    NothingCommittedYet,
    /// Too many reads wait.
    #[error("too many reads are pending")]
    TooManyPendingReads,
}

/// What a transition of signed Raft did.
pub type RaftStep = Step<RaftMessage, Output, NodeId, LogRecord>;

/// A clock that can be given a head start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Timer {
    since: Time,
    head_start: u64,
}

impl Timer {
    pub(super) const fn set(&mut self, now: Time, head_start: u64) {
        self.since = now;
        self.head_start = head_start;
    }

    /// Milliseconds since it was set, and the head start.
    pub(super) const fn elapsed(&self, now: Time) -> u64 {
        now.0.saturating_sub(self.since.0).saturating_add(self.head_start)
    }

    /// When `timeout` milliseconds have elapsed.
    pub(super) const fn due(&self, timeout: u64) -> Time {
        self.since.after(timeout.saturating_sub(self.head_start))
    }
}

/// One event being worked off: the world's side of it, and the step that grows.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    env: &'a mut Env,
    step: RaftStep,
    trace: bool,
    traces: Vec<Trace>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(env: &'a mut Env, trace: bool) -> Self {
        Self { env, step: RaftStep::new(), trace, traces: Vec::new() }
    }

    pub(super) const fn now(&self) -> Time {
        self.env.now
    }

    /// A number from 0 to `limit`.
    pub(super) fn draw(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.env.rng.random_range(0..=limit) }
    }

    pub(super) fn send(&mut self, to: NodeId, message: RaftMessage) {
        self.step.send(to, message);
    }

    /// The message may leave before the entries of this step are durable here.
    pub(super) fn send_ahead(&mut self, to: NodeId, message: RaftMessage) {
        self.step.send_ahead(to, message);
    }

    /// What is said in a view counts on the vote in it, and what is said of a log on what was cut
    /// from it: nothing leaves before these are durable. Entries bind nobody else.
    pub(super) fn record(&mut self, record: LogRecord) {
        if !matches!(record, LogRecord::Append(_)) {
            self.step.hold();
        }
        self.step.record(record);
    }

    pub(super) fn output(&mut self, output: Output) {
        self.step.output(output);
    }

    pub(super) fn trace(&mut self, line: &'static str, text: impl FnOnce() -> String) {
        if self.trace {
            self.traces.push(Trace::said(line, text()));
        }
    }

    pub(super) fn into_step(mut self, wake: Option<Time>) -> RaftStep {
        for trace in self.traces {
            self.step.trace(trace);
        }
        if let Some(time) = wake {
            self.step.wake_at(time);
        }
        self.step
    }

    pub(super) fn into_trace(self) -> Vec<Trace> {
        self.traces
    }
}
