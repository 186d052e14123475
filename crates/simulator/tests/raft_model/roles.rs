//! What a node is, and how it comes to lead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Msg, Node, Tally, quorum};

impl Node {
    pub(super) fn new(id: &str, pre_vote: bool) -> Self {
        Self {
            id: id.into(),
            view: 0,
            commit: 0,
            history: vec![],
            committable: vec![],
            role: None,
            phase: None,
            retired_at: 0,
            signed_at: 0,
            statements: BTreeMap::new(),
            pre_vote,
            voted_for: None,
            leader: None,
            tallies: vec![],
            elapsed: 0,
            new_follower: false,
            configs: vec![],
            peers: BTreeMap::new(),
            log: vec![],
            last: 0,
            batch: 20,
            bytes: 0,
            count: 0,
            window: 0,
            outbox: VecDeque::new(),
        }
    }

    // The history of views, as the first index of view 1, 2, ...

    pub(super) fn view_at(&self, i: u64) -> u64 {
        self.history.iter().filter(|start| **start <= i).count() as u64
    }

    /// False if the last view began later: an error inside the reference, which drops the message.
    pub(super) fn history_update(&mut self, i: u64, view: u64) -> bool {
        if self.history.last().is_some_and(|last| i < *last) {
            return false;
        }
        while (self.history.len() as u64) < view {
            self.history.push(i);
        }
        true
    }

    pub(super) fn start_of_view(&self, view: u64) -> u64 {
        let k = view as usize;
        if k == 0 || k > self.history.len() {
            return 0;
        }
        if k < self.history.len() && self.history[k] == self.history[k - 1] {
            return 0;
        }
        self.history[k - 1]
    }

    pub(super) fn end_of_view(&self, view: u64) -> u64 {
        let k = view as usize;
        if self.start_of_view(view) == 0 || k == self.history.len() {
            return 0;
        }
        self.history[k] - 1
    }

    pub(super) fn term(&self, i: u64) -> u64 {
        if i > self.last { 0 } else { self.view_at(i) }
    }

    pub(super) fn lci(&self) -> u64 {
        self.committable.last().copied().unwrap_or(self.commit)
    }

    pub(super) fn possible_match(&self, term: u64, n: u64) -> u64 {
        let mut p = n.min(self.last);
        while self.view_at(p) > term {
            p = self.start_of_view(self.view_at(p)).saturating_sub(1);
        }
        p
    }

    pub(super) fn others(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = BTreeSet::new();
        for (_, ids) in &self.configs {
            all.extend(ids.iter().cloned());
        }
        all.remove(&self.id);
        all
    }

    pub(super) fn gone(&self) -> bool {
        self.phase == Some("RetiredCommitted")
    }

    pub(super) fn leads(&self) -> bool {
        self.role == Some("Leader")
    }

    pub(super) fn say(&mut self, to: &str, message: Msg) {
        self.outbox.push_back((to.into(), message));
    }

    // Timers.

    pub(super) fn periodic(&mut self, ms: u64) {
        self.elapsed += ms;
        if !self.leads() {
            if !self.gone() && self.elapsed >= 100 {
                if self.pre_vote {
                    self.become_pre_vote_candidate();
                } else {
                    self.become_candidate();
                }
            }
            return;
        }
        if self.elapsed >= 10 {
            self.elapsed = 0;
            self.measure();
            self.send_all();
        }
        for peer in self.peers.values_mut() {
            peer.ack += ms;
        }
        for (_, ids) in &self.configs {
            let mut heard = 0;
            for id in ids {
                let silent = self.peers.get(id).is_some_and(|peer| peer.ack >= 100);
                if *id == self.id || !silent {
                    heard += 1;
                }
            }
            if heard < quorum(ids.len()) {
                self.become_follower();
                return;
            }
        }
    }

    // Transitions.

    pub(super) fn reset_tallies(&mut self) {
        self.tallies = vec![];
        for (idx, ids) in &self.configs {
            let quorum = quorum(ids.len());
            self.tallies.push(Tally { idx: *idx, votes: BTreeSet::new(), quorum });
        }
    }

    pub(super) fn reset_acks(&mut self) {
        for peer in self.peers.values_mut() {
            peer.ack = 0;
        }
    }

    pub(super) fn ask(&mut self, pre: bool) {
        let (term, lci) = (self.view, self.lci());
        let lci_term = self.term(lci);
        for id in self.others() {
            self.say(&id, Msg::Ask { pre, term, lci, lci_term });
        }
    }

    pub(super) fn become_pre_vote_candidate(&mut self) {
        if self.configs.is_empty() {
            return;
        }
        self.role = Some("PreVoteCandidate");
        self.leader = None;
        self.reset_tallies();
        self.elapsed = 0;
        self.vote(self.id.clone());
        self.ask(true);
    }

    pub(super) fn become_candidate(&mut self) {
        if self.configs.is_empty() {
            return;
        }
        self.role = Some("Candidate");
        self.leader = None;
        self.voted_for = Some(self.id.clone());
        self.reset_tallies();
        self.view += 1;
        self.elapsed = 0;
        self.reset_acks();
        self.vote(self.id.clone());
        self.ask(false);
    }

    pub(super) fn vote(&mut self, from: String) {
        for (idx, ids) in &self.configs {
            if ids.contains(&from) {
                for tally in &mut self.tallies {
                    if tally.idx == *idx {
                        tally.votes.insert(from.clone());
                    }
                }
            }
        }
        if self.tallies.iter().all(|tally| tally.votes.len() >= tally.quorum) {
            if self.role == Some("PreVoteCandidate") {
                self.become_candidate();
            } else if self.role == Some("Candidate") {
                self.become_leader();
            }
        }
    }

    pub(super) fn become_leader(&mut self) {
        if self.gone() {
            return;
        }
        if self.commit > 0 {
            self.rollback(self.lci());
        }
        self.role = Some("Leader");
        self.leader = Some(self.id.clone());
        self.elapsed = 0;
        self.reset_acks();
        if self.others().is_empty() {
            self.update_commit();
        }
        let next = self.last + 1;
        let peers: Vec<String> = self.peers.keys().cloned().collect();
        for id in peers {
            let peer = self.peers.get_mut(&id).expect("it was there");
            peer.matched = 0;
            peer.sent = next - 1;
            self.send(&id, next);
        }
    }

    pub(super) fn become_follower(&mut self) {
        self.leader = None;
        self.elapsed = 0;
        self.reset_acks();
        self.role = Some("Follower");
    }

    pub(super) fn become_aware(&mut self, term: u64) {
        if term != self.view {
            self.voted_for = None;
        }
        self.view = term;
        self.reset_tallies();
        self.become_follower();
        self.new_follower = true;
    }

    // Receiving.
}
