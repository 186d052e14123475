//! What a node does with its log: it takes, sends, commits and cuts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Data, Entry, Msg, Node, Peer};

impl Node {
    pub(super) fn receive(&mut self, from: &str, message: Msg, entries: Vec<(u64, Entry)>) {
        match message {
            Msg::Append { idx, prev, term, prev_term, commit, idx_term } => {
                self.on_append(from, (idx, prev, term, prev_term, commit, idx_term), entries);
            }
            Msg::Ack { term, last, ok } => self.on_ack(from, term, last, ok),
            Msg::Ask { pre, term, lci, lci_term } => {
                let yes = self.judge(from, pre, term, (lci_term, lci));
                let term = self.view;
                self.say(from, Msg::Vote { pre, term, yes });
            }
            Msg::Vote { pre, term, yes } => {
                if !self.peers.contains_key(from) {
                    return;
                }
                if term > self.view {
                    self.become_aware(term);
                    return;
                }
                let role = if pre { "PreVoteCandidate" } else { "Candidate" };
                if term == self.view && yes && self.role == Some(role) {
                    self.vote(from.into());
                }
            }
            Msg::Propose { term } => {
                if !self.gone() && term == self.view {
                    self.become_candidate();
                }
            }
        }
    }

    pub(super) fn judge(&mut self, from: &str, pre: bool, term: u64, theirs: (u64, u64)) -> bool {
        if self.view > term {
            return false;
        }
        if self.view < term {
            self.become_aware(term);
        }
        if !pre {
            if self.leader.is_some() {
                return false;
            }
            if self.voted_for.as_ref().is_some_and(|id| id != from) {
                return false;
            }
        }
        let lci = self.lci();
        if theirs < (self.term(lci), lci) {
            return false;
        }
        if !pre {
            self.elapsed = 0;
            self.leader = None;
            self.voted_for = Some(from.into());
        }
        true
    }

    pub(super) fn nack(&mut self, to: &str) {
        let (term, last) = (self.view, self.last);
        self.say(to, Msg::Ack { term, last, ok: false });
    }

    pub(super) fn on_append(
        &mut self,
        from: &str,
        (idx, prev, term, prev_term, commit, idx_term): (u64, u64, u64, u64, u64, u64),
        entries: Vec<(u64, Entry)>,
    ) {
        let running = matches!(self.role, Some("Candidate" | "PreVoteCandidate"));
        if term > self.view || (term == self.view && running) {
            self.become_aware(term);
        } else if term < self.view {
            return self.nack(from);
        }
        let own = self.term(prev);
        if own != prev_term {
            if own == 0 {
                return self.nack(from);
            }
            let x = self.possible_match(prev_term, prev);
            let term = self.term(x);
            return self.say(from, Msg::Ack { term, last: x, ok: false });
        }
        self.elapsed = 0;
        self.leader = Some(from.into());
        if prev < self.commit {
            return;
        }
        let mut taken = vec![];
        for (i, entry) in entries {
            if i <= self.last {
                if self.view_at(i) == idx_term {
                    continue;
                }
                if !self.new_follower {
                    return;
                }
                self.rollback(i - 1);
                self.new_follower = false;
            }
            taken.push((i, entry));
        }
        let bound = commit.min(idx);
        for (i, entry) in taken {
            if entry.view != idx_term || i != self.last + 1 {
                return self.nack(from);
            }
            self.last = i;
            self.hook(i, &entry.data);
            let data = entry.data.clone();
            self.log.push(entry);
            if data == Data::Signature {
                self.signature(i);
                if !self.history_update(prev + 1, idx_term) {
                    return;
                }
                self.commit_if_possible(bound);
            }
        }
        self.commit_if_possible(bound);
        let mut fits = true;
        if idx_term == 0 {
            fits = self.history_update(1, term);
        } else if idx > self.lci() {
            fits = self.history_update(self.lci() + 1, idx_term);
        }
        if !fits {
            return;
        }
        let term = self.view;
        self.say(from, Msg::Ack { term, last: idx, ok: true });
    }

    pub(super) fn commit_if_possible(&mut self, i: u64) {
        if i > self.commit && self.term(i) <= self.view {
            let best = self.committable.iter().filter(|c| **c <= i).max().copied();
            if let Some(best) = best {
                self.commit(best);
            }
        }
    }

    pub(super) fn on_ack(&mut self, from: &str, term: u64, last: u64, ok: bool) {
        if !self.leads() || !self.peers.contains_key(from) {
            return;
        }
        let mut peer = self.peers[from];
        peer.ack = 0;
        self.peers.insert(from.into(), peer);
        if term > self.view {
            return self.become_aware(term);
        }
        if ok {
            if term != self.view || last < peer.matched {
                return;
            }
            peer.matched = last;
            self.peers.insert(from.into(), peer);
            self.update_commit();
        } else {
            peer.sent = self.possible_match(term, last).min(peer.sent).max(peer.matched);
            self.peers.insert(from.into(), peer);
        }
    }

    // Sending.

    pub(super) fn measure(&mut self) {
        let average = self.bytes.checked_div(self.count).unwrap_or(20000);
        let fit = u64::checked_div(20000, average).unwrap_or(10000);
        self.window = self.window + fit - self.window / 100;
        self.batch = (self.window / 100).max(1);
    }

    pub(super) fn send_all(&mut self) {
        let peers: Vec<String> = self.peers.keys().cloned().collect();
        for id in peers {
            self.send(&id, self.peers[&id].sent + 1);
        }
    }

    pub(super) fn send(&mut self, to: &str, mut start: u64) {
        loop {
            let end_of_view = self.end_of_view(self.view_at(start));
            let limit = if end_of_view == 0 { self.last } else { end_of_view };
            let end = (start + self.batch - 1).min(limit);
            if !(self.gone() && start >= end) {
                let message = Msg::Append {
                    idx: end,
                    prev: start - 1,
                    term: self.view,
                    prev_term: self.term(start - 1),
                    commit: self.commit,
                    idx_term: self.term(end),
                };
                self.say(to, message);
            }
            if let Some(peer) = self.peers.get_mut(to) {
                peer.sent = end;
            }
            if end == self.last {
                return;
            }
            start = (end + 1).min(self.last);
        }
    }

    // Commit, rollback, replicate.

    pub(super) fn update_commit(&mut self) {
        let mut agreed = u64::MAX;
        for (_, ids) in &self.configs {
            let mut matches = vec![];
            for id in ids {
                if *id == self.id {
                    matches.push(self.last);
                } else {
                    matches.push(self.peers.get(id).map_or(0, |peer| peer.matched));
                }
            }
            matches.sort();
            agreed = agreed.min(matches[(matches.len() - 1) / 2]);
        }
        let best = self.committable.iter().filter(|c| **c <= agreed).max().copied();
        if let Some(best) = best
            && self.term(best) == self.view
            && !self.configs.is_empty()
        {
            self.commit(best);
        }
    }

    pub(super) fn commit(&mut self, i: u64) {
        if i <= self.commit {
            return;
        }
        self.committable.retain(|c| *c > i);
        self.commit = i;
        if self.phase == Some("Signed") && i >= self.signed_at {
            self.phase = Some("Completed");
        }
        let due: Vec<u64> = self.statements.keys().filter(|at| **at <= i).copied().collect();
        for at in due {
            for id in self.statements.remove(&at).expect("it was there") {
                if id != self.id {
                    self.peers.remove(&id);
                } else if self.phase == Some("Completed") {
                    if self.leads() {
                        self.nominate();
                    }
                    self.phase = Some("RetiredCommitted");
                    self.leader = None;
                    self.role = None;
                }
            }
        }
        while self.configs.len() > 1 && self.configs[1].0 <= i {
            self.configs.remove(0);
        }
        self.add_peers();
    }

    pub(super) fn rollback(&mut self, i: u64) {
        if i < self.commit {
            return;
        }
        self.log.truncate(i as usize);
        self.last = self.last.min(i);
        self.history.retain(|start| *start <= i);
        self.committable.retain(|c| *c <= i);
        self.statements.retain(|at, _| *at <= i);
        if self.phase == Some("Signed") && self.signed_at > i {
            self.phase = Some("Ordered");
        }
        if self.phase == Some("Ordered") && self.retired_at > i {
            self.phase = None;
        }
        self.configs.retain(|(at, _)| *at <= i);
    }

    pub(super) fn signature(&mut self, i: u64) {
        if self.phase == Some("Ordered") {
            self.phase = Some("Signed");
            self.signed_at = i;
        }
        self.committable.push(i);
    }

    pub(super) fn hook(&mut self, i: u64, data: &Data) {
        match data {
            Data::Config(ids) => {
                let was = self.configs.last().is_some_and(|(_, last)| last.contains(&self.id));
                if was && !ids.contains(&self.id) {
                    self.phase = Some("Ordered");
                    self.retired_at = i;
                }
                if self.configs.last().is_none_or(|(_, last)| last != ids) {
                    self.configs.push((i, ids.clone()));
                    self.add_peers();
                }
            }
            Data::Retired(ids) => {
                self.statements.insert(i, ids.clone());
            }
            Data::Raw(_) | Data::Signature => {}
        }
    }

    pub(super) fn add_peers(&mut self) {
        for id in self.others() {
            if !self.peers.contains_key(&id) {
                self.peers.insert(id.clone(), Peer { sent: self.last + 1, matched: 0, ack: 0 });
                if self.leads() {
                    self.send(&id, self.last + 1);
                }
            }
        }
    }

    pub(super) fn replicate(&mut self, data: Data) {
        let i = self.last + 1;
        self.hook(i, &data);
        if data == Data::Signature {
            self.signature(i);
        }
        self.last = i;
        let text = match &data {
            Data::Raw(text) => text.len(),
            Data::Signature => 9,
            Data::Config(ids) => ids.iter().map(|id| id.len() + 1).sum::<usize>() - 1,
            Data::Retired(ids) => ids.iter().map(|id| id.len() + 1).sum::<usize>() - 1,
        };
        self.log.push(Entry { view: self.view, data });
        self.bytes += 24 + 4 * (text as u64).div_ceil(3);
        self.count += 1;
        assert!(self.history_update(i, self.view), "a leader appends at its end");
        if self.bytes >= 20000 {
            self.measure();
            self.bytes = 0;
            self.count = 0;
            self.send_all();
        }
        if self.others().is_empty() {
            self.update_commit();
        }
    }

    pub(super) fn nominate(&mut self) {
        let mut best: Option<(u64, u64, String)> = None;
        for (id, peer) in &self.peers {
            let config = self.configs.iter().filter(|(_, ids)| ids.contains(id)).map(|(at, _)| *at);
            let rank = (peer.matched, config.max().unwrap_or(0));
            if best.as_ref().is_none_or(|(matched, at, _)| rank > (*matched, *at)) {
                best = Some((rank.0, rank.1, id.clone()));
            }
        }
        if let Some((_, _, id)) = best {
            let term = self.view;
            self.say(&id, Msg::Propose { term });
        }
    }

    pub(super) fn dump(&self) -> Value {
        let configs: Vec<_> =
            self.configs.iter().map(|(idx, ids)| json!({ "idx": idx, "nodes": ids })).collect();
        let log: Vec<_> = self
            .log
            .iter()
            .map(|entry| {
                let (kind, data) = match &entry.data {
                    Data::Raw(text) => ("raw", json!(text)),
                    Data::Signature => ("signature", Value::Null),
                    Data::Config(ids) => ("config", json!(ids)),
                    Data::Retired(ids) => ("retired", json!(ids.iter().collect::<BTreeSet<_>>())),
                };
                json!({ "view": entry.view, "kind": kind, "data": data })
            })
            .collect();
        json!({
            "view": self.view,
            "last_idx": self.last,
            "commit_idx": self.commit,
            "leadership_state": self.role,
            "membership_state": if self.phase.is_some() { "Retired" } else { "Active" },
            "retirement_phase": self.phase,
            "configs": configs,
            "log": log,
        })
    }
}
