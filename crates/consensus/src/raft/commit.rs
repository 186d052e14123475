//! What is committed, and what is taken back: RAFT-15 to RAFT-19.

use quorate_ledger::mutants::{Mutant, mutated};

use super::message::NodeId;
use super::{LogRecord, Output, Raft, Role, Seqno, Turn};

impl Raft {
    /// What a member of a configuration has for certain, as its leader sees it.
    fn matched(&self, node: NodeId) -> Seqno {
        if node == self.config.me {
            return self.log.last_idx;
        }
        self.peers.get(&node).map_or(0, |peer| peer.matched)
    }

    /// The highest index that a quorum of every active configuration has.
    fn agreed(&self) -> Seqno {
        let agreed = self.configurations.iter().map(|configuration| {
            let mut matches: Vec<_> =
                configuration.nodes.iter().map(|node| self.matched(*node)).collect();
            matches.sort_unstable();
            matches.get(matches.len().saturating_sub(1) / 2).copied().unwrap_or(0)
        });
        agreed.min().unwrap_or(0)
    }

    /// RAFT-15: a leader commits what a quorum of every active configuration has, at a signature of
    /// its own view.
    pub(super) fn update_commit(&mut self, turn: &mut Turn<'_>) {
        let Some(idx) = self.log.highest_committable(self.agreed()) else { return };
        if self.log.term(idx) == self.view || mutated(Mutant::RaftOldViewCounted) {
            self.commit(turn, idx);
        }
    }

    /// RAFT-16: a follower commits the last signature that its leader has committed and that
    /// `bound`, the end of what the leader's message verified, covers.
    pub(super) fn commit_if_possible(&mut self, turn: &mut Turn<'_>, bound: Seqno) {
        if bound > self.log.commit_idx
            && self.log.term(bound) <= self.view
            && let Some(idx) = self.log.highest_committable(bound)
        {
            self.commit(turn, idx);
        }
    }

    /// RAFT-17: everything up to the signature at `idx` is committed.
    pub(super) fn commit(&mut self, turn: &mut Turn<'_>, idx: Seqno) {
        if idx <= self.log.commit_idx {
            return;
        }
        assert!(idx <= self.log.last_idx, "only what is in the log can be committed");
        self.log.committable.retain(|at| *at > idx);
        self.log.commit_idx = idx;
        turn.trace("RAFT-17", || format!("commits {idx}"));
        turn.output(Output::Committed(idx));
        if self.retirement.complete(idx) {
            turn.trace("RAFT-32", || "its retirement is committed".into());
            if mutated(Mutant::RaftLeavesCompleted) {
                self.leader = None;
                self.role = None;
            }
        }
        self.apply_retirements(turn);
        let configurations = self.configurations.len();
        self.drop_superseded_configurations(turn);
        if self.configurations.len() < configurations {
            if !mutated(Mutant::RaftEndUnwritten) {
                turn.record(LogRecord::Commit(idx));
            }
            if self.role == Some(Role::Leader) {
                turn.output(Output::CleanUp);
            }
        }
        self.add_missing_peers(turn);
    }

    /// RAFT-18: cuts the log after `idx`. Nothing committed is ever cut.
    pub(super) fn rollback(&mut self, turn: &mut Turn<'_>, idx: Seqno) {
        if idx < self.log.commit_idx {
            turn.trace("RAFT-18", || format!("refuses to roll back to {idx}"));
            return;
        }
        if idx < self.log.last_idx {
            turn.trace("RAFT-18", || format!("rolls back to {idx}"));
            turn.record(LogRecord::Truncate { after: idx });
            turn.output(Output::RolledBack { after: idx });
            self.log.last_idx = idx;
        }
        self.log.views.rollback(idx);
        while self.log.committable.back().is_some_and(|at| *at > idx) {
            self.log.committable.pop_back();
        }
        self.retirement.rollback(idx);
        while self.configurations.last().is_some_and(|c| c.idx > idx) {
            self.configurations.pop();
        }
    }
}
