//! Who leads: RAFT-1 to RAFT-11.

use std::collections::BTreeSet;

use quorate_ledger::mutants::{Mutant, mutated};

use super::message::{NodeId, RaftMessage, VoteRequest, VoteResponse};
use super::{Output, Raft, Role, Seqno, Turn, View};
use crate::limits::MAX_RAFT_VIEW;

/// Votes of one active configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    /// The configuration.
    idx: Seqno,
    /// Its members that voted for this node.
    votes: BTreeSet<NodeId>,
    /// How many are needed.
    quorum: usize,
}

impl Raft {
    /// RAFT-1: time has passed for a node that does not lead.
    pub(super) fn tick_follower(&mut self, turn: &mut Turn<'_>) {
        let elapsed = self.timer.elapsed(turn.now());
        if !self.ticking || self.is_gone() || elapsed < self.config.election_timeout_ms {
            return;
        }
        if self.config.pre_vote {
            self.become_pre_vote_candidate(turn);
        } else {
            self.become_candidate(turn);
        }
    }

    /// RAFT-2: would I win?
    fn become_pre_vote_candidate(&mut self, turn: &mut Turn<'_>) {
        if self.configurations.is_empty() {
            return;
        }
        turn.trace("RAFT-2", || format!("asks who would vote for it in {}", self.view));
        self.set_role(turn, Role::PreVoteCandidate);
        self.leader = None;
        self.reset_tallies();
        self.restart_timer(turn);
        self.count_vote(turn, self.config.me);
        let request = self.vote_request();
        for node in self.others() {
            turn.send(node, RaftMessage::RequestPreVote(request));
        }
    }

    /// RAFT-3: runs for election in the next view.
    fn become_candidate(&mut self, turn: &mut Turn<'_>) {
        if self.configurations.is_empty() || self.view >= MAX_RAFT_VIEW {
            return;
        }
        self.set_role(turn, Role::Candidate);
        self.leader = None;
        self.voted_for = Some(self.config.me);
        self.reset_tallies();
        self.view += 1;
        turn.trace("RAFT-3", || format!("runs for election in {}", self.view));
        self.restart_timer(turn);
        self.reset_acks(turn);
        self.count_vote(turn, self.config.me);
        let request = self.vote_request();
        for node in self.others() {
            turn.send(node, RaftMessage::RequestVote(request));
        }
    }

    fn vote_request(&self) -> VoteRequest {
        let last_committable_idx = self.log.last_committable();
        let term_of_last_committable_idx = self.log.term(last_committable_idx);
        VoteRequest { term: self.view, last_committable_idx, term_of_last_committable_idx }
    }

    fn reset_tallies(&mut self) {
        let tally = |c: &super::Configuration| Tally {
            idx: c.idx,
            votes: BTreeSet::new(),
            quorum: c.quorum(),
        };
        self.tallies = self.configurations.iter().map(tally).collect();
    }

    /// RAFT-4: a vote counts in every active configuration that has the voter; all must have a
    /// quorum.
    fn count_vote(&mut self, turn: &mut Turn<'_>, from: NodeId) {
        for configuration in self.configurations.iter().filter(|c| c.nodes.contains(&from)) {
            let tally = self.tallies.iter_mut().find(|t| t.idx == configuration.idx);
            tally.map(|t| t.votes.insert(from));
        }
        let elected = if mutated(Mutant::RaftUnionQuorum) {
            let votes: BTreeSet<_> = self.tallies.iter().flat_map(|t| t.votes.iter()).collect();
            let everybody = self.others().len() + 1;
            votes.len() > everybody / 2
        } else {
            self.tallies.iter().all(|tally| tally.votes.len() >= tally.quorum)
        };
        match self.role {
            Some(Role::PreVoteCandidate) if elected => self.become_candidate(turn),
            Some(Role::Candidate) if elected => self.become_leader(turn),
            _ => {}
        }
    }

    /// RAFT-5: leads its view.
    pub(super) fn become_leader(&mut self, turn: &mut Turn<'_>) {
        if self.is_gone() {
            return;
        }
        turn.trace("RAFT-5", || format!("leads {}", self.view));
        // A node that resumed may have stored no commit index although something is committed.
        let lci = self.log.last_committable();
        let begun = self.log.commit_idx > 0 || (self.resumed && lci > 0);
        if begun && !mutated(Mutant::RaftKeepsUnsigned) {
            self.rollback(turn, lci);
        }
        self.set_role(turn, Role::Leader);
        self.leader = Some(self.config.me);
        self.should_sign = true;
        self.timer.set(turn.now(), 0);
        self.reset_acks(turn);
        if self.is_alone() {
            self.update_commit(turn);
        }
        let next = self.log.last_idx + 1;
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for node in peers {
            let Some(peer) = self.peers.get_mut(&node) else { continue };
            peer.matched = 0;
            peer.sent = next - 1;
            peer.round = 0;
            self.send_append_entries(turn, node, next);
        }
        turn.output(Output::CleanUp);
    }

    /// RAFT-6: follows, in the same view. Nothing is rolled back and the vote is kept.
    pub(super) fn become_follower(&mut self, turn: &mut Turn<'_>) {
        self.leader = None;
        self.restart_timer(turn);
        self.reset_acks(turn);
        self.set_role(turn, Role::Follower);
        if mutated(Mutant::RaftCutOnFollowing) {
            self.rollback(turn, self.log.last_committable());
        }
        if mutated(Mutant::RaftVoteFreedByFollowing) {
            self.voted_for = None;
        }
    }

    /// RAFT-7: hears of view `term`.
    pub(super) fn become_aware(&mut self, turn: &mut Turn<'_>, term: View) {
        turn.trace("RAFT-7", || format!("follows in view {term}"));
        if term != self.view {
            self.voted_for = None;
        }
        self.view = term;
        self.reset_tallies();
        self.become_follower(turn);
        self.is_new_follower = true;
    }

    fn reset_acks(&mut self, turn: &Turn<'_>) {
        let now = turn.now();
        self.peers.values_mut().for_each(|peer| peer.acked_at = now);
    }

    pub(super) fn restart_timer(&mut self, turn: &mut Turn<'_>) {
        let head_start = turn.draw(self.config.jitter_ms);
        self.timer.set(turn.now(), head_start);
    }

    /// RAFT-8: asked for a vote, or (`regular` false) whether it would vote.
    pub(super) fn on_vote_request(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeId,
        request: VoteRequest,
        regular: bool,
    ) {
        if self.view < request.term {
            self.become_aware(turn, request.term);
        }
        let granted = self.view == request.term && self.may_vote(from, request, regular);
        if granted && regular {
            self.restart_timer(turn);
            self.leader = None;
            self.voted_for = Some(from);
        }
        turn.trace("RAFT-8", || {
            let (verb, kind) =
                (if granted { "grants" } else { "denies" }, if regular { "" } else { "pre-" });
            format!("{verb} {from} its {kind}vote in {}", request.term)
        });
        let answer = VoteResponse { term: self.view, granted };
        turn.send(
            from,
            if regular {
                RaftMessage::RequestVoteResponse(answer)
            } else {
                RaftMessage::RequestPreVoteResponse(answer)
            },
        );
    }

    fn may_vote(&self, from: NodeId, request: VoteRequest, regular: bool) -> bool {
        let taken = self.leader.is_some() || self.voted_for.is_some_and(|node| node != from);
        let taken = if mutated(Mutant::RaftVoteWhileLed) {
            self.voted_for.is_some_and(|node| node != from)
        } else {
            taken
        };
        if regular && taken {
            return false;
        }
        let own = if mutated(Mutant::RaftVoteByLastEntry) {
            self.log.last_idx
        } else {
            self.log.last_committable()
        };
        let theirs = (request.term_of_last_committable_idx, request.last_committable_idx);
        theirs >= (self.log.term(own), own)
    }

    /// RAFT-9: an answer to a vote request.
    pub(super) fn on_vote_response(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeId,
        answer: VoteResponse,
        regular: bool,
    ) {
        if !self.peers.contains_key(&from) {
            turn.trace("RAFT-9", || format!("ignores the vote of {from}: not a peer"));
            return;
        }
        if answer.term > self.view {
            self.become_aware(turn, answer.term);
            return;
        }
        let wanted = if regular { Role::Candidate } else { Role::PreVoteCandidate };
        if answer.term == self.view && answer.granted && self.role == Some(wanted) {
            turn.trace("RAFT-9", || format!("has the vote of {from}"));
            self.count_vote(turn, from);
        }
    }

    /// RAFT-10: the leader asks to run for election at once.
    pub(super) fn on_propose_request_vote(&mut self, turn: &mut Turn<'_>, term: View) {
        if !self.is_gone() && self.ticking && term == self.view {
            turn.trace("RAFT-10", || "was nominated".into());
            self.become_candidate(turn);
        }
    }
}
