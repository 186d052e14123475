//! A group in memory: nodes, what they have written, what they want to send, and the links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use quorate_consensus::core::{Durable, Env, Time, Verified};
use quorate_consensus::raft::{
    Config, Entry, Event, Kept, Kind, LogRecord, NewEntry, NodeId, Output, Raft, RaftMessage,
    RaftStep, Refusal, RestartError, Role, Seqno, View,
};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use super::{ELECTION_TIMEOUT_MS, MESSAGE_TIMEOUT_MS};

/// How an error begins that says that nodes contradict each other. The protocol's rules allow it
/// while nothing at all is committed: a new leader does not roll back then.
pub const INCONSISTENT: &str = "inconsistent";

/// What a node has written: a disk that never fails.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The log, from entry 1.
    pub log: Vec<Entry>,
    /// The last vote record.
    pub vote: (View, Option<NodeId>),
    /// The last commit that ended a configuration.
    pub commit: Seqno,
}

impl Durable<LogRecord> for Written {
    type Error = Infallible;

    fn append(&mut self, records: &[LogRecord]) -> Result<(), Infallible> {
        for record in records {
            match record {
                LogRecord::Vote { view, voted_for } => self.vote = (*view, *voted_for),
                LogRecord::Append(entry) => self.log.push(entry.clone()),
                LogRecord::Truncate { after } => {
                    self.log.truncate(usize::try_from(*after).unwrap_or(usize::MAX));
                }
                LogRecord::Commit(seqno) => self.commit = *seqno,
            }
        }
        Ok(())
    }
}

/// A node of the group.
#[derive(Debug)]
pub struct Node {
    /// Its protocol.
    pub raft: Raft,
    /// What it has written.
    pub written: Written,
    /// Messages that it has said and nobody has got.
    pub outbox: VecDeque<(NodeId, RaftMessage)>,
    config: Config,
    env: Env,
}

impl Node {
    /// Its log.
    #[must_use]
    pub fn log(&self) -> &[Entry] {
        &self.written.log
    }

    /// Whether it is in the group: not retired.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.raft.phase().is_none()
    }
}

/// What was said that may never be contradicted.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Whom a node voted for in a view.
    pub votes: BTreeMap<(NodeId, View), BTreeSet<NodeId>>,
    /// Who led a view.
    pub leaders: BTreeMap<View, BTreeSet<NodeId>>,
}

/// Nodes and links.
#[derive(Debug)]
pub struct Group {
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Whether nodes made from now on ask before they run for election.
    pub pre_vote: bool,
    /// What was said so far.
    pub said: Said,
    links: BTreeSet<(NodeId, NodeId)>,
    jitter_ms: u64,
    rng: ChaCha8Rng,
}

impl Group {
    /// An empty group. With seed 0 there is no jitter.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            nodes: BTreeMap::new(),
            pre_vote: true,
            said: Said::default(),
            links: BTreeSet::new(),
            jitter_ms: if seed == 0 { 0 } else { ELECTION_TIMEOUT_MS / 2 },
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Makes a node without any link.
    ///
    /// # Errors
    /// If it exists.
    pub fn create(&mut self, id: NodeId) -> Result<(), String> {
        if self.nodes.contains_key(&id) {
            return Err(format!("expected a new node, but {id} exists"));
        }
        let config = Config {
            message_timeout_ms: MESSAGE_TIMEOUT_MS,
            election_timeout_ms: ELECTION_TIMEOUT_MS,
            jitter_ms: self.jitter_ms,
            pre_vote: self.pre_vote,
            ticking: true,
            max_uncommitted: 0,
            ..Config::new(id)
        };
        let env = Env { now: Time(0), rng: ChaCha20Rng::seed_from_u64(self.rng.random()) };
        let node = Node {
            raft: Raft::new(config.clone()),
            written: Written::default(),
            outbox: VecDeque::new(),
            config,
            env,
        };
        self.nodes.insert(id, node);
        Ok(())
    }

    /// A node.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn node(&self, id: NodeId) -> Result<&Node, String> {
        self.nodes.get(&id).ok_or_else(|| format!("there is no node {id}"))
    }

    /// All ids, ascending.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Gives a node an event. What it sends is in its outbox after this.
    ///
    /// # Errors
    /// If there is no such node, or it refuses an entry.
    pub fn step(&mut self, id: NodeId, event: Event) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(&id) else {
            return Err(format!("there is no node {id}"));
        };
        let step = node.raft.step(&mut node.env, event);
        self.absorb(id, step)
    }

    fn absorb(&mut self, id: NodeId, step: RaftStep) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Ok(released) = node.written.persist(step);
        for (to, message) in &released.sends {
            let vote = match message {
                RaftMessage::RequestVote(request) => Some((request.term, id)),
                RaftMessage::RequestVoteResponse(answer) if answer.granted => {
                    Some((answer.term, *to))
                }
                _ => None,
            };
            if let Some((view, candidate)) = vote {
                self.said.votes.entry((id, view)).or_default().insert(candidate);
            }
        }
        if node.raft.role() == Some(Role::Leader) {
            self.said.leaders.entry(node.raft.view()).or_default().insert(id);
        }
        node.outbox.extend(released.sends);
        released.outputs.into_iter().try_for_each(|output| match output {
            Output::Refused(Refusal::TooLarge) => {
                Err("expected an entry of at most 4 MiB that names at least one node".into())
            }
            Output::Refused(refusal) => Err(format!("node {id} refuses the entry: {refusal}")),
            Output::Inconsistent(what) => Err(format!("{INCONSISTENT}: node {id} got {what}")),
            _ => Ok(()),
        })
    }

    /// Time passes for a node.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn periodic(&mut self, id: NodeId, ms: u64) -> Result<(), String> {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.env.now = node.env.now.after(ms);
        }
        self.step(id, Event::Wake)
    }

    /// The first node begins the group.
    ///
    /// # Errors
    /// As [`Group::step`].
    pub fn start(&mut self, id: NodeId) -> Result<(), String> {
        let bytes: Arc<[u8]> = id.to_string().as_bytes().into();
        let weight = weight(bytes.len());
        self.step(id, Event::Start { bytes, weight })
    }

    /// A leader appends an entry.
    ///
    /// # Errors
    /// As [`Group::step`].
    pub fn append(&mut self, id: NodeId, kind: Kind, bytes: &[u8]) -> Result<(), String> {
        let weight = weight(bytes.len());
        let entry = NewEntry { kind, bytes: bytes.into(), weight, user: false };
        self.step(id, Event::Append(entry))
    }

    /// Delivers a message that `from` has said. Whether it arrived: a message over a missing link,
    /// or with entries that the sender has cut off since, is lost.
    ///
    /// # Errors
    /// As [`Group::step`].
    pub fn deliver(
        &mut self,
        from: NodeId,
        to: NodeId,
        mut message: RaftMessage,
    ) -> Result<bool, String> {
        if !self.links.contains(&(from, to)) || !self.nodes.contains_key(&to) {
            return Ok(false);
        }
        if let RaftMessage::AppendEntries(append) = &mut message {
            let log = self.node(from)?.log();
            if append.idx > log.len() as u64 {
                return Ok(false);
            }
            let range = |seqno: Seqno| usize::try_from(seqno).unwrap_or(usize::MAX).min(log.len());
            let entries = log[range(append.prev_idx)..range(append.idx)].iter().cloned();
            if !append.fill(entries) {
                return Ok(false);
            }
        }
        self.step(to, Event::Receive(from, Verified::assume(message)))?;
        Ok(true)
    }

    /// Makes or cuts the links of two nodes.
    pub fn link(&mut self, a: NodeId, b: NodeId, connected: bool) {
        for pair in [(a, b), (b, a)] {
            if connected {
                self.links.insert(pair);
            } else {
                self.links.remove(&pair);
            }
        }
    }

    /// Makes or cuts all links of a node.
    pub fn link_all(&mut self, id: NodeId, connected: bool) {
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.link(id, other, connected);
        }
    }

    /// Reorders what a node wants to send.
    pub fn shuffle(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.outbox.make_contiguous().shuffle(&mut self.rng);
        }
    }

    /// The leaders, with their views, ascending.
    #[must_use]
    pub fn leaders(&self) -> Vec<(View, NodeId)> {
        let leads = |node: &&Node| node.raft.role() == Some(Role::Leader);
        let mut leaders: Vec<_> = self
            .nodes
            .values()
            .filter(leads)
            .map(|node| (node.raft.view(), node.raft.me()))
            .collect();
        leaders.sort_unstable();
        leaders
    }

    /// Stops a node and starts it again with what it has written; what it wanted to send is lost.
    /// `commit_idx` is the commit index that it had stored beside its records.
    ///
    /// # Errors
    /// If there is no such node, what it has written is no log, or a configuration counts again that
    /// had ended.
    pub fn restart(&mut self, id: NodeId, commit_idx: Seqno) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(&id) else {
            return Err(format!("there is no node {id}"));
        };
        let (view, voted_for) = node.written.vote;
        let entries = node.written.log.iter().map(|e| (e.view, e.kind.clone())).collect();
        let commit_idx = commit_idx.max(node.written.commit);
        let ended = node.raft.configurations().first().map(|first| first.idx);
        let kept = Kept { view, voted_for, entries, commit_idx, ..Kept::default() };
        let resumed = Raft::resume(node.config.clone(), &mut node.env, kept);
        let (raft, step) = resumed.map_err(|error: RestartError| error.to_string())?;
        if let Some(first) = raft.configurations().first().filter(|first| Some(first.idx) < ended) {
            return Err(format!("configuration {} of node {id} counts again", first.idx));
        }
        node.raft = raft;
        node.outbox.clear();
        self.absorb(id, step)
    }
}

/// Size of an entry whose text has so many bytes, for the choice of the batch size.
const fn weight(bytes: usize) -> u64 {
    24 + 4 * (bytes as u64).div_ceil(3)
}
