//! A second, plain account of the rules of signed Raft and of the scenario runner, written to be
//! compared with the first: no shared code but the parser, every rule spelt out, no thought of
//! speed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::raft::NodeId;
use quorate_simulator::scenario::parse::{Command, Leader};
use serde_json::{Value, json};

#[derive(Clone, PartialEq, Debug)]
enum Data {
    Raw(String),
    Signature,
    Config(BTreeSet<String>),
    Retired(Vec<String>),
}

#[derive(Clone, PartialEq, Debug)]
struct Entry {
    view: u64,
    data: Data,
}

#[derive(Clone, Debug)]
enum Msg {
    Append { idx: u64, prev: u64, term: u64, prev_term: u64, commit: u64, idx_term: u64 },
    Ack { term: u64, last: u64, ok: bool },
    Ask { pre: bool, term: u64, lci: u64, lci_term: u64 },
    Vote { pre: bool, term: u64, yes: bool },
    Propose { term: u64 },
}

#[derive(Clone, Copy, Default, Debug)]
struct Peer {
    sent: u64,
    matched: u64,
    ack: u64,
}

#[derive(Debug)]
struct Tally {
    idx: u64,
    votes: BTreeSet<String>,
    quorum: usize,
}

#[derive(Debug)]
struct Node {
    id: String,
    view: u64,
    commit: u64,
    history: Vec<u64>,
    committable: Vec<u64>,
    role: Option<&'static str>,
    phase: Option<&'static str>,
    retired_at: u64,
    signed_at: u64,
    statements: BTreeMap<u64, Vec<String>>,
    pre_vote: bool,
    voted_for: Option<String>,
    leader: Option<String>,
    tallies: Vec<Tally>,
    elapsed: u64,
    new_follower: bool,
    configs: Vec<(u64, BTreeSet<String>)>,
    peers: BTreeMap<String, Peer>,
    /// The log the rules see, and how long they believe it to be.
    log: Vec<Entry>,
    last: u64,
    batch: u64,
    bytes: u64,
    count: u64,
    window: u64,
    outbox: VecDeque<(String, Msg)>,
}

fn quorum(n: usize) -> usize {
    n / 2 + 1
}

impl Node {
    fn new(id: &str, pre_vote: bool) -> Self {
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

    fn view_at(&self, i: u64) -> u64 {
        self.history.iter().filter(|start| **start <= i).count() as u64
    }

    /// False if the last view began later: an error inside the reference, which drops the message.
    fn history_update(&mut self, i: u64, view: u64) -> bool {
        if self.history.last().is_some_and(|last| i < *last) {
            return false;
        }
        while (self.history.len() as u64) < view {
            self.history.push(i);
        }
        true
    }

    fn start_of_view(&self, view: u64) -> u64 {
        let k = view as usize;
        if k == 0 || k > self.history.len() {
            return 0;
        }
        if k < self.history.len() && self.history[k] == self.history[k - 1] {
            return 0;
        }
        self.history[k - 1]
    }

    fn end_of_view(&self, view: u64) -> u64 {
        let k = view as usize;
        if self.start_of_view(view) == 0 || k == self.history.len() {
            return 0;
        }
        self.history[k] - 1
    }

    fn term(&self, i: u64) -> u64 {
        if i > self.last { 0 } else { self.view_at(i) }
    }

    fn lci(&self) -> u64 {
        self.committable.last().copied().unwrap_or(self.commit)
    }

    fn possible_match(&self, term: u64, n: u64) -> u64 {
        let mut p = n.min(self.last);
        while self.view_at(p) > term {
            p = self.start_of_view(self.view_at(p)).saturating_sub(1);
        }
        p
    }

    fn others(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = BTreeSet::new();
        for (_, ids) in &self.configs {
            all.extend(ids.iter().cloned());
        }
        all.remove(&self.id);
        all
    }

    fn gone(&self) -> bool {
        self.phase == Some("RetiredCommitted")
    }

    fn leads(&self) -> bool {
        self.role == Some("Leader")
    }

    fn say(&mut self, to: &str, message: Msg) {
        self.outbox.push_back((to.into(), message));
    }

    // Timers.

    fn periodic(&mut self, ms: u64) {
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

    fn reset_tallies(&mut self) {
        self.tallies = vec![];
        for (idx, ids) in &self.configs {
            let quorum = quorum(ids.len());
            self.tallies.push(Tally { idx: *idx, votes: BTreeSet::new(), quorum });
        }
    }

    fn reset_acks(&mut self) {
        for peer in self.peers.values_mut() {
            peer.ack = 0;
        }
    }

    fn ask(&mut self, pre: bool) {
        let (term, lci) = (self.view, self.lci());
        let lci_term = self.term(lci);
        for id in self.others() {
            self.say(&id, Msg::Ask { pre, term, lci, lci_term });
        }
    }

    fn become_pre_vote_candidate(&mut self) {
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

    fn become_candidate(&mut self) {
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

    fn vote(&mut self, from: String) {
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

    fn become_leader(&mut self) {
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

    fn become_follower(&mut self) {
        self.leader = None;
        self.elapsed = 0;
        self.reset_acks();
        self.role = Some("Follower");
    }

    fn become_aware(&mut self, term: u64) {
        if term != self.view {
            self.voted_for = None;
        }
        self.view = term;
        self.reset_tallies();
        self.become_follower();
        self.new_follower = true;
    }

    // Receiving.

    fn receive(&mut self, from: &str, message: Msg, entries: Vec<(u64, Entry)>) {
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

    fn judge(&mut self, from: &str, pre: bool, term: u64, theirs: (u64, u64)) -> bool {
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

    fn nack(&mut self, to: &str) {
        let (term, last) = (self.view, self.last);
        self.say(to, Msg::Ack { term, last, ok: false });
    }

    fn on_append(
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

    fn commit_if_possible(&mut self, i: u64) {
        if i > self.commit && self.term(i) <= self.view {
            let best = self.committable.iter().filter(|c| **c <= i).max().copied();
            if let Some(best) = best {
                self.commit(best);
            }
        }
    }

    fn on_ack(&mut self, from: &str, term: u64, last: u64, ok: bool) {
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

    fn measure(&mut self) {
        let average = self.bytes.checked_div(self.count).unwrap_or(20000);
        let fit = u64::checked_div(20000, average).unwrap_or(10000);
        self.window = self.window + fit - self.window / 100;
        self.batch = (self.window / 100).max(1);
    }

    fn send_all(&mut self) {
        let peers: Vec<String> = self.peers.keys().cloned().collect();
        for id in peers {
            self.send(&id, self.peers[&id].sent + 1);
        }
    }

    fn send(&mut self, to: &str, mut start: u64) {
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

    fn update_commit(&mut self) {
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

    fn commit(&mut self, i: u64) {
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

    fn rollback(&mut self, i: u64) {
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

    fn signature(&mut self, i: u64) {
        if self.phase == Some("Ordered") {
            self.phase = Some("Signed");
            self.signed_at = i;
        }
        self.committable.push(i);
    }

    fn hook(&mut self, i: u64, data: &Data) {
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

    fn add_peers(&mut self) {
        for id in self.others() {
            if !self.peers.contains_key(&id) {
                self.peers.insert(id.clone(), Peer { sent: self.last + 1, matched: 0, ack: 0 });
                if self.leads() {
                    self.send(&id, self.last + 1);
                }
            }
        }
    }

    fn replicate(&mut self, data: Data) {
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

    fn nominate(&mut self) {
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

    fn dump(&self) -> Value {
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

/// A group of model nodes.
#[derive(Debug)]
pub struct Model {
    nodes: BTreeMap<String, Node>,
    links: BTreeSet<(String, String)>,
    pre_vote: bool,
}

fn text(id: &NodeId) -> String {
    id.to_string()
}

fn texts(ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(text).collect()
}

impl Model {
    /// No nodes, pre-vote on.
    pub fn new() -> Self {
        Self { nodes: BTreeMap::new(), links: BTreeSet::new(), pre_vote: true }
    }

    /// The same object as `quorate scenario --dump`.
    pub fn dump(&self) -> Value {
        let nodes: BTreeMap<_, _> = self.nodes.iter().map(|(id, n)| (id, n.dump())).collect();
        json!({ "nodes": nodes })
    }

    fn ids(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    fn get(&mut self, id: &str) -> &mut Node {
        self.nodes.get_mut(id).expect("a scenario names nodes that exist")
    }

    fn leader(&self, leader: Leader) -> Option<String> {
        let leaders = self.nodes.values().filter(|node| node.leads());
        let mut leaders: Vec<_> = leaders.map(|node| (node.view, node.id.clone())).collect();
        leaders.sort();
        match leader {
            Leader::Latest => leaders.pop().map(|(_, id)| id),
            Leader::Of(view) => leaders.into_iter().find(|(v, _)| *v == view).map(|(_, id)| id),
        }
    }

    fn replicate(&mut self, leader: Leader, data: Data) {
        if let Some(id) = self.leader(leader) {
            self.get(&id).replicate(data);
        }
    }

    fn link(&mut self, a: &str, b: &str, connected: bool) {
        for pair in [(a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned())] {
            if connected {
                self.links.insert(pair);
            } else {
                self.links.remove(&pair);
            }
        }
    }

    fn link_all(&mut self, id: &str, connected: bool) {
        for other in self.ids() {
            if other != id {
                self.link(id, &other, connected);
            }
        }
    }

    fn reconfigure(&mut self, leader: Leader, join: &[String], leave: &[String]) {
        for id in join {
            self.nodes.insert(id.clone(), Node::new(id, self.pre_vote));
        }
        for id in join {
            self.link_all(id, true);
        }
        let members = self.ids().into_iter().filter(|id| !leave.contains(id)).collect();
        self.replicate(leader, Data::Config(members));
    }

    fn deliver(&mut self, from: &str, to: &str, message: Msg) -> bool {
        if !self.links.contains(&(from.to_owned(), to.to_owned())) {
            return false;
        }
        let mut entries = vec![];
        if let Msg::Append { idx, prev, .. } = &message {
            let log = &self.nodes[from].log;
            if *idx > log.len() as u64 {
                return false;
            }
            for i in prev + 1..=*idx {
                entries.push((i, log[i as usize - 1].clone()));
            }
        }
        self.get(to).receive(from, message, entries);
        true
    }

    fn dispatch(&mut self, id: &str, limit: usize) {
        let mut arrived = 0;
        while arrived < limit {
            let Some((to, message)) = self.get(id).outbox.pop_front() else { return };
            if self.deliver(id, &to, message) {
                arrived += 1;
            }
        }
    }

    fn dispatch_all_once(&mut self) {
        let lengths: Vec<_> =
            self.nodes.values().map(|node| (node.id.clone(), node.outbox.len())).collect();
        for (id, length) in lengths {
            self.dispatch(&id, length);
        }
    }

    fn dispatch_all(&mut self) {
        for _ in 0..5 {
            if self.nodes.values().all(|node| node.outbox.is_empty()) {
                return;
            }
            self.dispatch_all_once();
        }
    }

    fn in_sync(&self, ids: &[String]) -> bool {
        let states: Vec<_> = ids
            .iter()
            .map(|id| &self.nodes[id])
            .map(|node| (node.view, node.last, node.commit, &node.log))
            .collect();
        states.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn loop_until_sync(&mut self) {
        let Some(leader) = self.leader(Leader::Latest) else { return };
        let active: Vec<_> =
            self.nodes.values().filter(|n| n.phase.is_none()).map(|n| n.id.clone()).collect();
        self.get(&leader).replicate(Data::Signature);
        for id in &active {
            self.link_all(id, true);
        }
        for _ in 0..20 {
            self.get(&leader).periodic(10);
            self.dispatch_all();
            if self.in_sync(&active) {
                return;
            }
        }
    }

    /// Carries a command out. Commands that only look or print do nothing here, and a command that
    /// fails stops where it fails.
    pub fn execute(&mut self, command: &Command) {
        match command {
            Command::PreVoteEnabled(enabled) => self.pre_vote = *enabled,
            Command::StartNode(id) => {
                let id = text(id);
                let mut node = Node::new(&id, self.pre_vote);
                node.view += 2;
                node.become_leader();
                node.replicate(Data::Config([id.clone()].into()));
                self.nodes.insert(id, node);
            }
            Command::TrustNodes(leader, join) => self.reconfigure(*leader, &texts(join), &[]),
            Command::SwapNodes { leader, join, leave } => {
                self.reconfigure(*leader, &texts(join), &texts(leave));
            }
            Command::CleanupNodes(leader, ids) => {
                self.replicate(*leader, Data::Retired(texts(ids)));
            }
            Command::Replicate(leader, data) => self.replicate(*leader, Data::Raw(data.clone())),
            Command::EmitSignature(leader) => self.replicate(*leader, Data::Signature),
            Command::NominateSuccessor(id) => {
                let node = self.get(&text(id));
                if node.leads() {
                    node.nominate();
                }
            }
            Command::Connect(a, b) => self.link(&text(a), &text(b), true),
            Command::Disconnect(a, b) => self.link(&text(a), &text(b), false),
            Command::DisconnectNode(id) => self.link_all(&text(id), false),
            Command::ReconnectNode(id) => self.link_all(&text(id), true),
            Command::PeriodicOne(id, ms) => self.get(&text(id)).periodic(*ms),
            Command::PeriodicAll(ms) => {
                self.nodes.values_mut().for_each(|node| node.periodic(*ms));
            }
            Command::DispatchOne(id) => self.dispatch(&text(id), usize::MAX),
            Command::DispatchAllOnce => self.dispatch_all_once(),
            Command::DispatchAll => self.dispatch_all(),
            Command::DispatchSingle(from, to) => {
                let (from, to) = (text(from), text(to));
                let outbox = &mut self.get(&from).outbox;
                if let Some(at) = outbox.iter().position(|(target, _)| *target == to) {
                    let (_, message) = outbox.remove(at).expect("it was there");
                    self.deliver(&from, &to, message);
                }
            }
            Command::DropPending(id) => self.get(&text(id)).outbox.clear(),
            Command::DropPendingTo(from, to) => {
                let to = text(to);
                self.get(&text(from)).outbox.retain(|(target, _)| *target != to);
            }
            Command::ShuffleOne(_) | Command::ShuffleAll => {
                panic!("the order after a shuffle is the runner's own")
            }
            Command::LoopUntilSync => self.loop_until_sync(),
            Command::AssertLoopSync(ms, ids) => {
                let ids = texts(ids);
                for _ in 0..20 {
                    for id in ids.iter().collect::<BTreeSet<_>>() {
                        if self.nodes[id].leads() {
                            self.get(id).periodic(*ms);
                        }
                    }
                    self.dispatch_all();
                    if self.in_sync(&ids) {
                        return;
                    }
                }
            }
            _ => {}
        }
    }
}
