//! A second, plain account of the rules of signed Raft and of the scenario runner, written to be
//! compared with the first: no shared code but the parser, every rule spelt out, no thought of
//! speed.

mod log;
mod roles;

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
