//! How a node comes to be: RAFT-37 to RAFT-39, RAFT-42.

use std::collections::BTreeSet;

use quorate_ledger::mutants::{Mutant, mutated};

use super::log::ViewHistory;
use super::message::{Kind, NodeId};
use super::{Config, Configuration, LogRecord, NewEntry, Raft, RaftStep, Role, Seqno, Turn, View};
use crate::core::Env;
use crate::limits::{MAX_RAFT_SEQNO, MAX_RAFT_VIEW};

/// What a node that resumes has kept: all that its records made durable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// The last vote record: view and vote in it.
    pub view: View,
    /// Who got this node's vote in `view`.
    pub voted_for: Option<NodeId>,
    /// The snapshot that the log begins after, if it does not begin at 1.
    pub snapshot: Option<Snapshot>,
    /// View and kind of every entry of the log, in order.
    pub entries: Vec<(View, Kind)>,
    /// The highest commit index stored. It may be lower than it was.
    pub commit_idx: Seqno,
    /// The last entry of the log with which the group was recovered (RAFT-42) and that a signature
    /// covers; 0 if it never was.
    pub recovered_at: Seqno,
}

/// Where a node that does not have the whole ledger begins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The last entry it stands for: committed, and a signature.
    pub seqno: Seqno,
    /// The view it was taken in.
    pub view: View,
    /// Views up to there.
    pub views: ViewHistory,
    /// The configuration in force there: the entry that began it, and its members.
    pub configuration: Option<Configuration>,
}

/// Why what was kept is no log. The node must rejoin as a new one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestartError {
    /// The commit index is beyond the log.
    #[error("committed up to {commit_idx}, but the log ends at {last_idx}")]
    LogTooShort {
        /// Stored commit index.
        commit_idx: Seqno,
        /// Last entry kept.
        last_idx: Seqno,
    },
    /// The commit index is no signature.
    #[error("the entry at the commit index {0} is no signature")]
    NotASignature(Seqno),
    /// An entry has a lower view than the one before, or none.
    #[error("the view of entry {0} is lower than the one before")]
    ViewGoesBack(Seqno),
    /// Nothing in the log can be taken as committed.
    #[error("the log has no signature")]
    NothingSigned,
    /// A number beyond every limit.
    #[error("view or sequence number beyond the limit")]
    Limit,
}

impl Raft {
    /// RAFT-37: the first node of a group. Leads view 2 and appends its own configuration, with
    /// `bytes` as the entry's bytes.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>, bytes: std::sync::Arc<[u8]>, weight: u64) {
        if !std::mem::take(&mut self.recovers) {
            assert!(self.view == 0 && self.log.last_idx == 0, "only an empty node starts a group");
            self.view = 2;
        }
        self.become_leader(turn);
        let kind = Kind::Configuration(BTreeSet::from([self.config.me]));
        self.replicate(turn, NewEntry { kind, bytes, weight, user: false });
    }

    /// RAFT-38: a node that was stopped goes on under its old identity, with everything its records
    /// kept. It follows, knows no leader, and never contradicts what it said: view and vote were
    /// durable before any message that depends on them left.
    ///
    /// A recovery in the log ended all configurations of before, whose nodes are gone, and what it
    /// began with counts as committed, however low the stored commit index is: otherwise this node
    /// would wait for the votes of those for ever.
    ///
    /// # Errors
    /// If what was kept is no log.
    pub fn resume(
        config: Config,
        env: &mut Env,
        kept: Kept,
    ) -> Result<(Self, RaftStep), RestartError> {
        let mut turn = Turn::new(env, config.trace);
        let (commit_idx, recovered_at) = (kept.commit_idx, kept.recovered_at);
        let mut raft = Self::rebuild(config, &mut turn, kept.snapshot, kept.entries, recovered_at)?;
        let last_idx = raft.log.last_idx;
        let commit_idx = commit_idx.max(recovered_at.saturating_sub(1));
        if commit_idx > last_idx {
            return Err(RestartError::LogTooShort { commit_idx, last_idx });
        }
        if commit_idx > raft.log.commit_idx && !raft.log.committable.contains(&commit_idx) {
            return Err(RestartError::NotASignature(commit_idx));
        }
        raft.commit(&mut turn, commit_idx);
        let newest = raft.log.views.view_at(last_idx);
        raft.voted_for = if kept.view < newest { None } else { kept.voted_for };
        raft.view = kept.view.max(newest);
        if raft.view > 0 {
            raft.follow_after_restart(&mut turn);
        }
        // The first node may have stopped before its first signature; nobody else can go on.
        raft.ticking |= raft.is_alone() && !raft.configurations.is_empty();
        turn.trace("RAFT-38", || format!("resumes in view {} at {last_idx}", raft.view));
        let step = raft.restarted(turn);
        Ok((raft, step))
    }

    /// The node with this log, of which nothing after the snapshot counts as committed. Of
    /// configurations before `recovered_at` nothing is left.
    fn rebuild(
        config: Config,
        turn: &mut Turn<'_>,
        snapshot: Option<Snapshot>,
        entries: Vec<(View, Kind)>,
        recovered_at: Seqno,
    ) -> Result<Self, RestartError> {
        let mut raft = Self::new(config);
        raft.resumed = true;
        if let Some(snapshot) = snapshot {
            raft.install(turn, snapshot)?;
        }
        let first = raft.log.last_idx + 1;
        for (seqno, (view, kind)) in (first..).zip(entries) {
            let newest = raft.log.views.view_at(seqno);
            if view == 0 || view < newest {
                return Err(RestartError::ViewGoesBack(seqno));
            }
            if view > MAX_RAFT_VIEW || seqno > MAX_RAFT_SEQNO {
                return Err(RestartError::Limit);
            }
            raft.log.last_idx = seqno;
            let fits = raft.log.views.update(seqno, view);
            assert!(fits, "sequence numbers ascend");
            if seqno == recovered_at {
                raft.leave_group();
            }
            raft.note_membership(turn, seqno, &kind);
            if kind == Kind::Signature {
                raft.note_signature(turn, seqno);
            }
        }
        Ok(raft)
    }

    /// RAFT-42: the group is lost, and this node begins it again from its own log, alone. The next
    /// event must be [`super::Event::Start`].
    ///
    /// # Errors
    /// If what was kept is no log, or has no signature.
    pub fn recover(
        config: Config,
        env: &mut Env,
        kept: Kept,
    ) -> Result<(Self, RaftStep), RestartError> {
        let mut turn = Turn::new(env, config.trace);
        let mut raft =
            Self::rebuild(config, &mut turn, kept.snapshot, kept.entries, kept.recovered_at)?;
        let mut signed = raft.log.last_committable();
        if mutated(Mutant::CftRecoversTooLittle) {
            signed = raft.log.committable.iter().rev().nth(1).copied().unwrap_or(signed);
        }
        if signed == 0 {
            return Err(RestartError::NothingSigned);
        }
        let view = kept.view.max(raft.log.views.view_at(raft.log.last_idx)) + 2;
        if view > MAX_RAFT_VIEW {
            return Err(RestartError::Limit);
        }
        raft.commit(&mut turn, signed);
        let dropped = raft.log.last_idx > signed;
        raft.rollback(&mut turn, signed);
        raft.view = view;
        raft.recovers = true;
        raft.leave_group();
        turn.trace("RAFT-42", || format!("begins again after {signed} in view {view}"));
        let mut step = RaftStep::new();
        if dropped {
            step.record(LogRecord::Truncate { after: signed });
        }
        step.record(raft.vote_record());
        turn.into_trace().into_iter().for_each(|trace| {
            step.trace(trace);
        });
        Ok((raft, step))
    }

    /// RAFT-39: a node that joins with a snapshot instead of the ledger's beginning.
    ///
    /// # Errors
    /// If the snapshot's numbers are beyond every limit.
    pub fn join(
        config: Config,
        env: &mut Env,
        snapshot: Snapshot,
    ) -> Result<(Self, RaftStep), RestartError> {
        let mut raft = Self::new(config);
        let mut turn = Turn::new(env, raft.config.trace);
        let (view, seqno) = (snapshot.view, snapshot.seqno);
        raft.install(&mut turn, snapshot)?;
        raft.view = view;
        raft.follow_after_restart(&mut turn);
        turn.trace("RAFT-39", || format!("joins at {view}.{seqno}"));
        let step = raft.restarted(turn);
        Ok((raft, step))
    }

    /// The other nodes are gone for good, and so is everything that was agreed with them on members.
    fn leave_group(&mut self) {
        self.configurations.clear();
        self.peers.clear();
        self.retirement = super::retirement::Retirement::default();
    }

    fn follow_after_restart(&mut self, turn: &mut Turn<'_>) {
        self.become_follower(turn);
        self.is_new_follower = true;
    }

    fn install(&mut self, turn: &mut Turn<'_>, snapshot: Snapshot) -> Result<(), RestartError> {
        if snapshot.seqno > MAX_RAFT_SEQNO || snapshot.view > MAX_RAFT_VIEW {
            return Err(RestartError::Limit);
        }
        self.startup_seqno = snapshot.seqno;
        self.log.last_idx = snapshot.seqno;
        self.log.commit_idx = snapshot.seqno;
        self.log.views = snapshot.views;
        if let Some(configuration) = snapshot.configuration {
            self.add_configuration(turn, configuration.idx, &configuration.nodes);
        }
        Ok(())
    }

    /// What a restart finds out is not news to the world: only the wake-up time and the vote.
    fn restarted(&mut self, turn: Turn<'_>) -> RaftStep {
        let trace = turn.into_trace();
        let mut step = RaftStep::new();
        trace.into_iter().for_each(|trace| {
            step.trace(trace);
        });
        step.record(self.vote_record());
        if let Some(time) = self.wake_at() {
            step.wake_at(time);
        }
        debug_assert!(self.role.is_none() || self.role == Some(Role::Follower));
        step
    }
}
