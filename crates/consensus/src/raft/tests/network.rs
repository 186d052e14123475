//! A few nodes and the messages between them, delivered in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::core::{Durable, Env, Time, Verified};
use crate::raft::*;

/// Node of this name.
pub fn id(name: &str) -> NodeId {
    NodeId::named(name).expect("a short name")
}

#[derive(Default)]
struct Disk {
    first: usize,
    log: Vec<Entry>,
    vote: (View, Option<NodeId>),
    /// The last commit that ended a configuration.
    commit: Seqno,
    snapshot: Option<Snapshot>,
}

impl Durable<LogRecord> for Disk {
    type Error = Infallible;

    fn append(&mut self, records: &[LogRecord]) -> Result<(), Infallible> {
        for record in records {
            match record {
                LogRecord::Vote { view, voted_for } => self.vote = (*view, *voted_for),
                LogRecord::Append(entry) => self.log.push(entry.clone()),
                LogRecord::Truncate { after } => self.log.truncate(*after as usize - self.first),
                LogRecord::Commit(seqno) => self.commit = *seqno,
            }
        }
        Ok(())
    }
}

struct Node {
    raft: Raft,
    env: Env,
    disk: Disk,
    wake: Option<Time>,
}

/// Nodes by name; messages wait in one queue.
pub struct Network {
    nodes: BTreeMap<NodeId, Node>,
    queue: VecDeque<(NodeId, NodeId, RaftMessage)>,
    cut: BTreeSet<NodeId>,
    /// What nodes told their process.
    pub outputs: Vec<(NodeId, Output)>,
    /// What they did, line by line.
    pub trace: Vec<String>,
    /// Back pressure.
    pub limit: u64,
}

impl Network {
    pub fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            queue: VecDeque::new(),
            cut: BTreeSet::new(),
            outputs: Vec::new(),
            trace: Vec::new(),
            limit: 10,
        }
    }

    fn config(&self, name: &str) -> Config {
        Config { max_uncommitted: self.limit, trace: true, ..Config::new(id(name)) }
    }

    fn env(&self) -> Env {
        let rng = ChaCha20Rng::seed_from_u64(self.nodes.len() as u64);
        Env { now: Time(1_000_000), rng }
    }

    pub fn add(&mut self, name: &str) {
        let raft = Raft::new(self.config(name));
        let node = Node { raft, env: self.env(), disk: Disk::default(), wake: None };
        self.nodes.insert(id(name), node);
    }

    pub fn start(&mut self, name: &str) {
        self.add(name);
        self.event(name, Event::Start { bytes: Arc::from([]), weight: 10 });
    }

    pub fn raft(&self, name: &str) -> &Raft {
        &self.nodes[&id(name)].raft
    }

    pub fn log(&self, name: &str) -> &[Entry] {
        &self.nodes[&id(name)].disk.log
    }

    pub fn now(&self, name: &str) -> Time {
        self.nodes[&id(name)].env.now
    }

    pub fn wake_time(&self, name: &str) -> Option<Time> {
        self.nodes[&id(name)].wake
    }

    pub fn event(&mut self, name: &str, event: Event) {
        self.step(name, event);
    }

    /// Gives an event; how many messages it made.
    pub fn step(&mut self, name: &str, event: Event) -> usize {
        let node = self.nodes.get_mut(&id(name)).expect("the node is there");
        let step = node.raft.step(&mut node.env, event);
        self.absorb(name, step)
    }

    /// How many messages of an event's step may leave while the disk is written. They are lost.
    pub fn ahead(&mut self, name: &str, event: Event) -> usize {
        let node = self.nodes.get_mut(&id(name)).expect("the node is there");
        let mut step = node.raft.step(&mut node.env, event);
        let ahead = step.take_ahead().len();
        self.absorb(name, step);
        ahead
    }

    fn absorb(&mut self, name: &str, step: RaftStep) -> usize {
        let me = id(name);
        let node = self.nodes.get_mut(&me).expect("the node is there");
        let Ok(released) = node.disk.persist(step);
        node.wake = released.wake;
        let sent = released.sends.len();
        self.queue.extend(released.sends.into_iter().map(|(to, m)| (me, to, m)));
        self.outputs.extend(released.outputs.into_iter().map(|output| (me, output)));
        let lines = released.trace.into_iter();
        self.trace.extend(lines.map(|t| format!("{me} {} {}", t.line, t.text)));
        sent
    }

    pub fn append(&mut self, name: &str, kind: Kind) {
        let entry = NewEntry { kind, bytes: Arc::from([1, 2, 3]), weight: 3, user: false };
        self.event(name, Event::Append(entry));
    }

    pub fn user(&mut self, name: &str) -> Result<(), Refusal> {
        let bytes = Arc::from([1, 2, 3]);
        let entry = NewEntry { kind: Kind::Raw, bytes, weight: 3, user: true };
        self.raft(name).admits(&entry)?;
        self.event(name, Event::Append(entry));
        Ok(())
    }

    pub fn sign(&mut self, name: &str) {
        self.append(name, Kind::Signature);
    }

    pub fn configure(&mut self, leader: &str, members: &[&str]) {
        for member in members {
            if !self.nodes.contains_key(&id(member)) {
                self.add(member);
            }
        }
        let members = members.iter().map(|name| id(name)).collect();
        self.append(leader, Kind::Configuration(members));
    }

    /// Delivers everything, and what follows from it.
    pub fn deliver_all(&mut self) {
        for _ in 0..10_000 {
            let Some((from, to, mut message)) = self.queue.pop_front() else { return };
            if self.cut.contains(&from) || self.cut.contains(&to) || !self.nodes.contains_key(&to) {
                continue;
            }
            if let RaftMessage::AppendEntries(append) = &mut message {
                let disk = &self.nodes[&from].disk;
                let skip = append.prev_idx as usize - disk.first;
                if !append.fill(disk.log.iter().skip(skip).cloned()) {
                    continue;
                }
            }
            let (from, to) = (from.to_string(), to.to_string());
            self.receive(&from, &to, message);
        }
        panic!("messages never end");
    }

    /// The next message, with its entries, and who it is for.
    pub fn take_message(&mut self) -> (String, RaftMessage) {
        let (from, to, mut message) = self.queue.pop_front().expect("a message");
        if let RaftMessage::AppendEntries(append) = &mut message {
            let disk = &self.nodes[&from].disk;
            let skip = append.prev_idx as usize - disk.first;
            assert!(append.fill(disk.log.iter().skip(skip).cloned()), "the entries are there");
        }
        (to.to_string(), message)
    }

    pub fn receive(&mut self, from: &str, to: &str, message: RaftMessage) {
        self.event(to, Event::Receive(id(from), Verified::assume(message)));
    }

    /// The leader says everything it has to say until it has nothing left.
    pub fn settle(&mut self, leader: &str) {
        for _ in 0..3 {
            self.event(leader, Event::Flush);
            self.deliver_all();
        }
        self.wake(leader, 100);
        self.deliver_all();
    }

    pub fn wake(&mut self, name: &str, ms: u64) {
        let node = self.nodes.get_mut(&id(name)).expect("the node is there");
        node.env.now = node.env.now.after(ms);
        self.event(name, Event::Wake);
    }

    pub fn cut(&mut self, name: &str) {
        self.cut.insert(id(name));
    }

    pub fn join(&mut self, name: &str) {
        self.cut.remove(&id(name));
    }

    /// The leader of the highest view.
    pub fn leader(&self) -> String {
        let leaders = self.nodes.values().filter(|n| n.raft.role() == Some(Role::Leader));
        let latest = leaders.max_by_key(|n| n.raft.view()).expect("somebody leads");
        latest.raft.me().to_string()
    }

    pub fn restart(&mut self, name: &str, commit_idx: Seqno) {
        let config = self.config(name);
        let node = self.nodes.get_mut(&id(name)).expect("the node is there");
        let disk = &node.disk;
        let kept = Kept {
            view: disk.vote.0,
            voted_for: disk.vote.1,
            snapshot: disk.snapshot.clone(),
            entries: disk.log.iter().map(|e| (e.view, e.kind.clone())).collect(),
            commit_idx: commit_idx.max(disk.commit),
            recovered_at: 0,
        };
        let (raft, step) = Raft::resume(config, &mut node.env, kept).expect("a good log");
        node.raft = raft;
        self.absorb(name, step);
    }

    /// What another node would make of this.
    pub fn resume(&self, kept: Kept) -> Result<Seqno, RestartError> {
        let config = self.config("z");
        Raft::resume(config, &mut self.env(), kept).map(|(raft, _)| raft.last_idx())
    }

    pub fn join_with_snapshot(&mut self, name: &str, of: &str) {
        let source = self.raft(of);
        let snapshot = Snapshot {
            seqno: source.commit_idx(),
            view: source.view(),
            views: source.view_history().clone(),
            configuration: source.configurations().first().cloned(),
        };
        let mut env = self.env();
        let first = snapshot.seqno as usize;
        let joined = Raft::join(self.config(name), &mut env, snapshot.clone());
        let (raft, step) = joined.expect("a good snapshot");
        let disk = Disk { first, snapshot: Some(snapshot), ..Disk::default() };
        self.nodes.insert(id(name), Node { raft, env, disk, wake: None });
        self.absorb(name, step);
    }
}
