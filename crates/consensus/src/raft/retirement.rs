//! How a node leaves: RAFT-30 to RAFT-36.

use std::collections::BTreeMap;

use quorate_ledger::mutants::{Mutant, mutated};

use super::message::{NodeId, RaftMessage};
use super::{Output, Raft, Role, Seqno, Turn};

/// How far a node's retirement is. A node without a phase is active.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// A configuration without it is in its log.
    Ordered,
    /// A signature after that, too.
    Signed,
    /// That signature is committed.
    Completed,
    /// The leader's statement that this is so is committed: it may be switched off.
    RetiredCommitted,
}

impl Phase {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "Ordered",
            Self::Signed => "Signed",
            Self::Completed => "Completed",
            Self::RetiredCommitted => "RetiredCommitted",
        }
    }
}

/// The retirement of this node, and statements in the log about others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Retirement {
    /// How far this node's own is.
    pub(super) phase: Option<Phase>,
    /// Where this node was left out.
    pub(super) ordered_at: Option<Seqno>,
    /// The first signature after that.
    pub(super) signed_at: Option<Seqno>,
    /// Statements ([`super::Kind::Retired`]) that are not committed.
    pub(super) statements: BTreeMap<Seqno, Vec<NodeId>>,
}

impl Retirement {
    /// RAFT-30.
    pub(super) fn order(&mut self, idx: Seqno) {
        self.phase = Some(Phase::Ordered);
        self.ordered_at = Some(idx);
        self.signed_at = None;
    }

    /// RAFT-31: a signature enters the log. Whether that changed the phase.
    pub(super) fn sign(&mut self, idx: Seqno) -> bool {
        let changed = self.phase == Some(Phase::Ordered);
        if changed {
            self.phase = Some(Phase::Signed);
            self.signed_at = Some(idx);
        }
        changed
    }

    /// RAFT-32: the commit index moves. Whether that changed the phase.
    pub(super) fn complete(&mut self, commit_idx: Seqno) -> bool {
        let committed = self.signed_at.is_some_and(|at| at <= commit_idx);
        let changed = self.phase == Some(Phase::Signed) && committed;
        if changed {
            self.phase = Some(Phase::Completed);
        }
        changed
    }

    /// RAFT-36: the log is cut after `idx`.
    pub(super) fn rollback(&mut self, idx: Seqno) {
        self.statements.split_off(&(idx + 1));
        if self.phase == Some(Phase::Signed) && self.signed_at.is_some_and(|at| at > idx) {
            self.phase = Some(Phase::Ordered);
            self.signed_at = None;
        }
        if self.phase == Some(Phase::Ordered) && self.ordered_at.is_some_and(|at| at > idx) {
            self.phase = None;
            self.ordered_at = None;
        }
    }
}

impl Raft {
    /// RAFT-33: statements up to the commit index take effect.
    pub(super) fn apply_retirements(&mut self, turn: &mut Turn<'_>) {
        let later = self.retirement.statements.split_off(&(self.log.commit_idx + 1));
        let due = std::mem::replace(&mut self.retirement.statements, later);
        for node in due.into_values().flatten() {
            if node == self.config.me {
                self.retire_for_good(turn);
            } else if !mutated(Mutant::RaftPeersStay) {
                turn.trace("RAFT-33", || format!("{node} is no longer sent to"));
                let next = self.peers.get(&node).map(|peer| peer.sent + 1);
                if let Some(next) = next.filter(|_| self.config.window > 0)
                    && self.role == Some(Role::Leader)
                {
                    // The last thing it hears: that it may go.
                    self.send_append_entries(turn, node, next);
                }
                self.peers.remove(&node);
                self.learners.remove(&node);
            }
        }
    }

    /// RAFT-34: this node is gone, and a leader hands over first.
    fn retire_for_good(&mut self, turn: &mut Turn<'_>) {
        if self.retirement.phase != Some(Phase::Completed) {
            turn.output(Output::Inconsistent(
                "retired, says an entry, but its retirement is not committed",
            ));
            return;
        }
        if self.role == Some(Role::Leader) && !mutated(Mutant::RaftNoHandover) {
            self.nominate_successor(turn);
        }
        self.retirement.phase = Some(Phase::RetiredCommitted);
        self.leader = None;
        self.role = None;
        self.fail_reads(turn);
        turn.trace("RAFT-34", || "retired for good".into());
        turn.output(Output::Retired);
    }

    /// RAFT-35: asks the best peer to run for election at once.
    pub(super) fn nominate_successor(&mut self, turn: &mut Turn<'_>) {
        let may_lead =
            |node: &NodeId| !self.learners.contains(node) || self.last_configuration_of(*node) > 0;
        let members = self.peers.iter().filter(|(node, _)| may_lead(node));
        let best = members
            .map(|(node, peer)| (peer.matched, self.last_configuration_of(*node), *node))
            .reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best });
        let Some((_, _, successor)) = best else { return };
        turn.trace("RAFT-35", || format!("nominates {successor}"));
        turn.send(successor, RaftMessage::ProposeRequestVote(self.view));
    }
}
