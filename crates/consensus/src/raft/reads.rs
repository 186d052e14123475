//! Linearizable reads without a write: RAFT-40.

use std::collections::VecDeque;

use super::{Output, Raft, Refusal, Role, Seqno, Turn};
use crate::limits::MAX_RAFT_READS;

/// A read that waits until this node knows that it still led after the read came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Waiting {
    token: u64,
    round: u64,
    seqno: Seqno,
}

/// Reads that wait, and the heartbeat rounds that confirm them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Reads {
    round: u64,
    waiting: VecDeque<Waiting>,
}

impl Reads {
    /// The heartbeat round in progress.
    pub(super) const fn round(&self) -> u64 {
        self.round
    }
}

impl Raft {
    /// RAFT-40: a read comes. It waits for the round that the next flush begins.
    pub(super) fn read(&mut self, turn: &mut Turn<'_>, token: u64) {
        let fresh = self.log.term(self.log.commit_idx) == self.view;
        let reason = if self.role != Some(Role::Leader) || self.is_gone() {
            Some(Refusal::NotLeader)
        } else if !fresh {
            Some(Refusal::NothingCommittedYet)
        } else if self.reads.waiting.len() >= MAX_RAFT_READS {
            Some(Refusal::TooManyPendingReads)
        } else {
            None
        };
        if let Some(reason) = reason {
            turn.output(Output::ReadRefused { token, reason });
            return;
        }
        let (round, seqno) = (self.reads.round + 1, self.log.commit_idx);
        self.reads.waiting.push_back(Waiting { token, round, seqno });
    }

    /// Begins a round if a read waits for one.
    pub(super) fn begin_read_round(&mut self, turn: &mut Turn<'_>) {
        let next = self.reads.round + 1;
        if self.reads.waiting.back().is_none_or(|waiting| waiting.round < next) {
            return;
        }
        self.reads.round = next;
        turn.trace("RAFT-40", || format!("heartbeat round {next}"));
        self.send_to_all(turn);
        self.confirm_reads(turn);
    }

    /// Answers reads whose round a quorum of every active configuration has confirmed.
    pub(super) fn confirm_reads(&mut self, turn: &mut Turn<'_>) {
        while let Some(first) = self.reads.waiting.front().copied() {
            let confirmed = self.confirmed(first.round);
            let quorum =
                |c: &super::Configuration| c.nodes.intersection(&confirmed).count() >= c.quorum();
            if first.round > self.reads.round || !self.configurations.iter().all(quorum) {
                return;
            }
            self.reads.waiting.pop_front();
            turn.output(Output::ReadReady { token: first.token, seqno: first.seqno });
        }
    }

    /// This node does not lead any more.
    pub(super) fn fail_reads(&mut self, turn: &mut Turn<'_>) {
        for waiting in std::mem::take(&mut self.reads.waiting) {
            let reason = Refusal::NotLeader;
            turn.output(Output::ReadRefused { token: waiting.token, reason });
        }
    }
}
