//! How the log gets from the leader to the others: RAFT-12 to RAFT-14, RAFT-24 to RAFT-29.

use std::collections::BTreeSet;

use quorate_ledger::mutants::{Mutant, mutated};

use super::message::{AppendEntries, AppendEntriesResponse, Entry, Kind, NodeId, RaftMessage};
use super::{Configuration, LogRecord, NewEntry, Output, Raft, Refusal, Role, Seqno, Turn, View};
use crate::limits::MAX_RAFT_APPEND_ENTRIES;

/// Bytes a message shall have, in the mean, and bytes appended after which they are sent at once.
const APPEND_SIZE: u64 = 20_000;

/// How many entries one message has, at most: follows the size of the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    size: u64,
    bytes: u64,
    count: u64,
    window: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { size: 20, bytes: 0, count: 0, window: 0 }
    }
}

impl Batch {
    /// RAFT-28: a moving average over about a hundred measurements.
    fn measure(&mut self) {
        let average = self.bytes.checked_div(self.count).unwrap_or(APPEND_SIZE);
        let fitting = APPEND_SIZE.checked_div(average).unwrap_or(APPEND_SIZE / 2);
        self.window = self.window - self.window / 100 + fitting;
        self.size = (self.window / 100).clamp(1, MAX_RAFT_APPEND_ENTRIES as u64);
    }
}

impl Raft {
    /// RAFT-12: time has passed for a leader.
    pub(super) fn tick_leader(&mut self, turn: &mut Turn<'_>) {
        if self.timer.elapsed(turn.now()) >= self.config.message_timeout_ms {
            self.timer.set(turn.now(), 0);
            self.batch.measure();
            self.send_to_all(turn);
        }
        if !self.hears_a_quorum(turn) && !mutated(Mutant::RaftNoCheckQuorum) {
            turn.trace("RAFT-13", || "hears no quorum and steps down".into());
            self.become_follower(turn);
        }
    }

    /// RAFT-13: whether a quorum of every active configuration has answered lately.
    fn hears_a_quorum(&self, turn: &Turn<'_>) -> bool {
        let heard = |node: &NodeId| match self.peers.get(node) {
            Some(peer) if *node != self.config.me => {
                turn.now().0.saturating_sub(peer.acked_at.0) < self.config.election_timeout_ms
            }
            _ => true,
        };
        let quorum = |c: &Configuration| c.nodes.iter().filter(|n| heard(n)).count() >= c.quorum();
        if mutated(Mutant::RaftAnyQuorumHeard) {
            return self.configurations.iter().any(quorum);
        }
        self.configurations.iter().all(quorum)
    }

    /// Sends every peer what follows what it was sent last, or that there is nothing.
    pub(super) fn send_to_all(&mut self, turn: &mut Turn<'_>) {
        let peers: Vec<_> = self.peers.iter().map(|(node, peer)| (*node, peer.sent + 1)).collect();
        for (node, start) in peers {
            self.send_append_entries(turn, node, start);
        }
    }

    /// RAFT-27 (ours): sends peers at once what they have not been sent.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
        if self.role != Some(Role::Leader) {
            return;
        }
        let behind = self.peers.iter().filter(|(node, peer)| {
            peer.sent < self.log.last_idx && peer.sent < self.window_end(**node)
        });
        let behind: Vec<_> = behind.map(|(node, peer)| (*node, peer.sent + 1)).collect();
        for (node, start) in behind {
            self.send_append_entries(turn, node, start);
        }
    }

    /// RAFT-24: the last entry that `to` may be sent before it acknowledges more.
    fn window_end(&self, to: NodeId) -> Seqno {
        let matched = self.peers.get(&to).map(|peer| peer.matched);
        match (self.config.window, matched) {
            (0, _) | (_, None) => Seqno::MAX,
            (window, Some(matched)) => {
                matched.saturating_add(window.saturating_mul(self.batch.size))
            }
        }
    }

    /// RAFT-24: sends `to` the log from `start`: messages of one view each, none above the batch
    /// size, at least one.
    pub(super) fn send_append_entries(&mut self, turn: &mut Turn<'_>, to: NodeId, start: Seqno) {
        let last_idx = self.log.last_idx.min(self.window_end(to).max(start - 1));
        let mut start = start;
        loop {
            let end_of_view = self.log.views.end_of_view(self.log.views.view_at(start));
            let one_view = end_of_view > 0 && !mutated(Mutant::RaftAppendSpansViews);
            let end_of_run = if !one_view { last_idx } else { end_of_view.min(last_idx) };
            let end = end_of_run.min(start.saturating_add(self.batch.size) - 1);
            if !(self.is_gone() && start >= end) {
                let message = RaftMessage::AppendEntries(self.append_entries(start - 1, end));
                // Ours: while the leader's disk writes, so do those of the others. It counts itself
                // only with their answers, which it hears when its own entries are durable (section
                // 10.2.1 of Ongaro's thesis); a leader that is a quorum by itself hears nobody.
                if self.is_alone() {
                    turn.send(to, message);
                } else {
                    turn.send_ahead(to, message);
                }
            }
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.sent = end;
            }
            if end >= last_idx {
                return;
            }
            start = end + 1;
        }
    }

    fn append_entries(&self, prev_idx: Seqno, idx: Seqno) -> AppendEntries {
        AppendEntries {
            idx,
            prev_idx,
            term: self.view,
            prev_term: self.log.term(prev_idx),
            leader_commit_idx: self.log.commit_idx,
            term_of_idx: self.log.term(idx),
            round: self.reads.round(),
            entries: Vec::new(),
        }
    }

    /// RAFT-25: whether an entry may be appended now.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, entry: &NewEntry) -> Result<(), Refusal> {
        if self.role != Some(Role::Leader) || self.is_gone() {
            return Err(Refusal::NotLeader);
        }
        if entry.bytes.len() > crate::limits::MAX_RAFT_ENTRY || entry.names_too_many() {
            return Err(Refusal::TooLarge);
        }
        if !entry.user {
            return Ok(());
        }
        if self.retirement.phase >= Some(super::Phase::Signed) {
            return Err(Refusal::Retiring);
        }
        let uncommitted = self.log.last_idx - self.log.commit_idx;
        let limit = self.config.max_uncommitted;
        if limit > 0 && uncommitted >= limit {
            return Err(Refusal::TooManyPendingTransactions);
        }
        Ok(())
    }

    /// RAFT-26: the leader appends an entry.
    pub(super) fn replicate(&mut self, turn: &mut Turn<'_>, new: NewEntry) {
        if let Err(refusal) = self.admits(&new) {
            turn.output(Output::Refused(refusal));
            return;
        }
        let (view, seqno) = (self.view, self.log.last_idx + 1);
        self.note_membership(turn, seqno, &new.kind);
        if new.kind == Kind::Signature {
            self.note_signature(turn, seqno);
            self.should_sign = false;
        }
        self.append(turn, Entry { view, seqno, kind: new.kind, bytes: new.bytes });
        self.batch.bytes = self.batch.bytes.saturating_add(new.weight);
        self.batch.count = self.batch.count.saturating_add(1);
        let fits = self.log.views.update(seqno, view);
        assert!(fits, "a leader appends in its view, the last of its log");
        if self.batch.bytes >= APPEND_SIZE {
            self.batch.measure();
            self.batch.bytes = 0;
            self.batch.count = 0;
            self.send_to_all(turn);
        }
        if self.is_alone() {
            self.update_commit(turn);
        }
    }

    fn append(&mut self, turn: &mut Turn<'_>, entry: Entry) {
        assert_eq!(entry.seqno, self.log.last_idx + 1, "the log has no gaps");
        self.log.last_idx = entry.seqno;
        if !mutated(Mutant::RaftAckUnwritten) {
            turn.record(LogRecord::Append(entry.clone()));
        }
        turn.output(Output::Appended(entry));
    }

    /// What an entry at `seqno` says about members.
    pub(super) fn note_membership(&mut self, turn: &mut Turn<'_>, seqno: Seqno, kind: &Kind) {
        match kind {
            Kind::Raw | Kind::Signature => {}
            Kind::Configuration(nodes) => self.add_configuration(turn, seqno, nodes),
            Kind::Retired(nodes) => {
                self.retirement.statements.insert(seqno, nodes.clone());
            }
        }
    }

    /// A signature enters the log at `seqno`.
    pub(super) fn note_signature(&mut self, turn: &mut Turn<'_>, seqno: Seqno) {
        self.start_ticking_if_member(turn);
        if self.retirement.sign(seqno) {
            turn.trace("RAFT-31", || format!("its retirement is signed at {seqno}"));
        }
        self.log.committable.push_back(seqno);
    }

    fn answer(
        &self,
        turn: &mut Turn<'_>,
        to: NodeId,
        round: u64,
        (term, last_log_idx, success): (View, Seqno, bool),
    ) {
        turn.trace("RAFT-14", || {
            format!("answers {to} {} {term}.{last_log_idx}", if success { "ACK" } else { "NACK" })
        });
        let answer = AppendEntriesResponse { term, last_log_idx, success, round };
        let answer = RaftMessage::AppendEntriesResponse(answer);
        if mutated(Mutant::CftAckAhead) {
            return turn.send_ahead(to, answer);
        }
        turn.send(to, answer);
    }

    fn nack(&self, turn: &mut Turn<'_>, to: NodeId, round: u64) {
        self.answer(turn, to, round, (self.view, self.log.last_idx, false));
    }

    /// RAFT-14: the leader's message.
    pub(super) fn on_append_entries(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeId,
        message: AppendEntries,
    ) {
        let runs = matches!(self.role, Some(Role::PreVoteCandidate | Role::Candidate));
        if message.term > self.view || (message.term == self.view && runs) {
            self.become_aware(turn, message.term);
        } else if message.term < self.view {
            return self.nack(turn, from, message.round);
        }
        let own = self.log.term(message.prev_idx);
        if own != message.prev_term {
            if own == 0 {
                return self.nack(turn, from, message.round);
            }
            let probe = self.log.highest_possible_match(message.prev_term, message.prev_idx);
            let view = self.log.term(probe);
            return self.answer(turn, from, message.round, (view, probe, false));
        }
        self.restart_timer(turn);
        self.leader = Some(from);
        if message.prev_idx < self.log.commit_idx {
            turn.trace("RAFT-14", || "begins before what is committed".into());
            if self.config.window > 0 {
                // The leader's window may be full: it must learn what this node has.
                let answer = (self.view, self.log.commit_idx, true);
                self.answer(turn, from, message.round, answer);
            }
            return;
        }
        if let Some(known) = self.skip_known(turn, &message) {
            self.take(turn, from, message, known);
        }
    }

    /// How many entries of the message are in the log already. A conflict is cut away, but once in
    /// a view only: `None` if there is another one.
    fn skip_known(&mut self, turn: &mut Turn<'_>, message: &AppendEntries) -> Option<usize> {
        if mutated(Mutant::RaftCutOnFirstAppend) && self.is_new_follower {
            self.rollback(turn, message.prev_idx);
            self.is_new_follower = false;
        }
        let known = message.idx.min(self.log.last_idx);
        let mut conflicts = message.prev_idx + 1..=known;
        let conflict = conflicts.find(|i| self.log.views.view_at(*i) != message.term_of_idx);
        let Some(conflict) = conflict else {
            return usize::try_from(known.saturating_sub(message.prev_idx)).ok();
        };
        if !self.is_new_follower {
            turn.trace("RAFT-14", || format!("drops a message that conflicts at {conflict}"));
            return None;
        }
        self.rollback(turn, conflict - 1);
        self.is_new_follower = false;
        usize::try_from(conflict - 1 - message.prev_idx).ok()
    }

    /// Appends what is new, commits what that verifies, and answers.
    fn take(&mut self, turn: &mut Turn<'_>, from: NodeId, message: AppendEntries, known: usize) {
        let bound = if mutated(Mutant::RaftCommitBeyondMessage) {
            message.leader_commit_idx
        } else {
            message.leader_commit_idx.min(message.idx)
        };
        let view = message.term_of_idx;
        for entry in message.entries.into_iter().skip(known) {
            let seqno = self.log.last_idx + 1;
            if (entry.view, entry.seqno) != (view, seqno) {
                return self.nack(turn, from, message.round);
            }
            let kind = entry.kind.clone();
            self.append(turn, entry);
            self.note_membership(turn, seqno, &kind);
            if kind == Kind::Signature {
                self.note_signature(turn, seqno);
                if !self.log.views.update(message.prev_idx + 1, view) {
                    return turn.output(Output::Inconsistent("views that go back"));
                }
                self.commit_if_possible(turn, bound);
            }
        }
        self.commit_if_possible(turn, bound);
        let lci = self.log.last_committable();
        let fits = if view == 0 {
            // Nothing precedes what this leader will append: unless it says that something is
            // committed, which this node has yet to get, and which may be of an earlier view.
            message.leader_commit_idx > 0 || self.log.views.update(1, message.term)
        } else {
            message.idx <= lci || self.log.views.update(lci + 1, view)
        };
        if !fits {
            return turn.output(Output::Inconsistent("views that go back"));
        }
        let end = if mutated(Mutant::RaftAckOwnEnd) { self.log.last_idx } else { message.idx };
        self.answer(turn, from, message.round, (self.view, end, true));
    }

    /// RAFT-29: a follower's answer.
    pub(super) fn on_append_entries_response(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeId,
        answer: AppendEntriesResponse,
    ) {
        if self.role != Some(Role::Leader) {
            return;
        }
        let now = turn.now();
        let Some(peer) = self.peers.get_mut(&from) else {
            return turn.trace("RAFT-29", || format!("ignores the answer of {from}: not a peer"));
        };
        peer.acked_at = now;
        if answer.term > self.view {
            return self.become_aware(turn, answer.term);
        }
        if !answer.success {
            let probe = self.log.highest_possible_match(answer.term, answer.last_log_idx);
            peer.sent = probe.min(peer.sent).max(peer.matched);
            if mutated(Mutant::RaftNackCounts) {
                peer.matched = probe;
                self.update_commit(turn);
            }
            return;
        }
        let stale = answer.term != self.view || answer.last_log_idx < peer.matched;
        if stale || answer.last_log_idx > self.log.last_idx {
            return;
        }
        peer.matched = answer.last_log_idx;
        if self.config.window > 0 {
            peer.sent = peer.sent.max(peer.matched);
        }
        peer.round = peer.round.max(answer.round);
        turn.trace("RAFT-29", || format!("{from} has {}", answer.last_log_idx));
        if self.learners.contains(&from) && answer.last_log_idx >= self.log.commit_idx {
            turn.output(Output::CaughtUp(from));
        }
        self.update_commit(turn);
        self.confirm_reads(turn);
    }

    /// Nodes that confirmed heartbeat round `round` of this leader; itself included.
    pub(super) fn confirmed(&self, round: u64) -> BTreeSet<NodeId> {
        let confirmed = self.peers.iter().filter(|(_, peer)| peer.round >= round);
        confirmed.map(|(node, _)| *node).chain([self.config.me]).collect()
    }
}
