//! The deterministic member: the state machine around the protocol. One turn takes inputs and
//! gives one step; [`super::driver`] makes its records durable and lets it out.
//!
//! | module | what it tells |
//! |---|---|
//! | `open` | how a member begins, and what it takes from its log |
//! | `commands` | writes, reads, waits, and what comes back from the leader |
//! | `entries` | the log: checked, taken, committed, taken back; signatures |
//! | `keyed` | idempotency keys |
//! | `packets` | what other nodes say, forwarded commands, the way to the leader |
//! | `operators`, `joiners`, `introductions` | changes of the members, and who is who |
//! | `snapshots`, `behind` | snapshots made and served; a member too far behind begins after one |
//! | `queries` | what is asked of it |

mod behind;
mod commands;
mod entries;
mod introductions;
mod joiners;
mod keyed;
mod open;
mod operators;
mod packets;
mod queries;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::core::{Env, Step, Time};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::limits::MAX_RAFT_READS;
use quorate_consensus::raft::{
    Entry, Event, Kind, LogRecord, NewEntry, NodeId, Output as RaftOutput, Phase, Raft,
    RaftMessage, Refusal, Role, Seqno, View,
};
use quorate_ledger::ccf::maps::{SERVICE_ENDORSEMENTS, ServiceInfo, node_key};
use quorate_ledger::ccf::signature::is_signature;
use quorate_ledger::ccf::{Transaction, TxId};
use quorate_ledger::state::WriteSet;

use self::behind::Behind;
pub(in crate::cft) use self::behind::Remains;
use self::commands::PendingRead;
use self::introductions::Acquaintances;
pub(in crate::cft) use self::joiners::SEAL_CONTEXT;
use self::keyed::Keyed;
use self::packets::in_doubt;
use self::snapshots::Snapshots;
use super::api::{
    Address, Code, Command, Config, Error, Input, Notice, Output, PeerRef, Reply, ServiceStatus,
    Ticket, TxStatus,
};
use super::chain::Chain;
use super::forward::{Forwards, Taken};
use super::keys::Keys;
use super::kv::Store;
use super::limits::{
    HAND_OVER_TIMEOUTS, MAX_FORWARDS, MAX_INTRODUCED, MAX_QUEUED, MAX_READS, MAX_REFUSALS,
    MAX_WAITERS, RECENT_BYTES,
};
use super::nodes::{Nodes, digest};
use super::waits::{Answer, Origin, Waiter, Waits};
use super::wire::{Forwarded, Packet};

/// What a turn of a member makes.
pub type MemberStep = Step<RaftMessage, Output, NodeId, LogRecord>;

/// So many transactions are committed in no time.
const FEW: usize = 16;

/// The newest entries, for followers that are a little behind.
#[derive(Debug)]
pub struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Most entries.
    most: usize,
}

impl Recent {
    const fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most }
    }

    /// The entry at `seqno`, if it is kept.
    pub fn get(&self, seqno: Seqno) -> Option<&Entry> {
        let first = self.entries.front()?.seqno;
        self.entries.get(usize::try_from(seqno.checked_sub(first)?).ok()?)
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.most || self.bytes > RECENT_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    fn roll_back(&mut self, after: Seqno) {
        while self.entries.back().is_some_and(|entry| entry.seqno > after) {
            let Some(newest) = self.entries.pop_back() else { break };
            self.bytes -= newest.bytes.len();
        }
    }
}

/// The member.
#[derive(Debug)]
pub struct Member<K> {
    config: Config,
    keys: K,
    raft: Raft,
    store: Store,
    chain: Chain,
    recent: Recent,
    /// Entries that mean something to the protocol but are no signatures: few.
    kinds: BTreeMap<Seqno, Kind>,
    nodes: Nodes,
    acquaintances: Acquaintances,
    behind: Behind,
    keyed: Keyed,
    /// The service's row as of the last transaction appended.
    service: Option<ServiceInfo>,
    waits: Waits,
    /// Writes that wait at this leader for the next batch.
    queued: VecDeque<(Origin, Command)>,
    forwards: Forwards,
    /// Commands of other nodes.
    taken: Taken,
    /// Callers whose write was sent to a leader that may have done it.
    doubtful: BTreeSet<Ticket>,
    reads: BTreeMap<u64, PendingRead>,
    next_read: u64,
    /// Reads that wait for the first commit of this leader.
    early_reads: Vec<PendingRead>,
    snapshots: Snapshots,
    /// Learners that have caught up, as this leader knows.
    caught_up: BTreeSet<NodeId>,
    clean_up: bool,
    /// The last view of which a signature was verified with keys.
    verified_view: View,
    /// Writes of the entry that this leader appends now.
    own: Option<WriteSet>,
    /// The entry is being appended with which a service begins, or begins again: a member change that
    /// the ledger still has ends with it.
    starts: bool,
    step: MemberStep,
    /// Answers to other nodes' commands, to be sent together.
    answers: BTreeMap<PeerRef, Vec<Forwarded>>,
    decided: BTreeMap<PeerRef, Vec<(u64, TxId, TxStatus)>>,
    raft_wake: Option<Time>,
    known_leader: Option<NodeId>,
    nodes_changed: bool,
    role_changed: bool,
    stopped: Option<String>,
    /// When this leader last asked another node to lead.
    handed_over: Option<Time>,
    now: Time,
    /// An entry without bytes, to ask whether one may be appended.
    probe: NewEntry,
}

impl<K: Keys> Member<K> {
    /// Takes all inputs as one turn.
    pub fn turn(&mut self, env: &mut Env, inputs: Vec<Input>) -> MemberStep {
        self.now = env.now;
        let was_stopped = self.stopped.is_some();
        for input in inputs {
            if self.stopped.is_some() {
                self.refuse(input);
                continue;
            }
            match input {
                Input::Packet(peer, packet) => self.packet(env, peer, packet),
                Input::Command(ticket, command) => {
                    self.command(env, Origin::Local(ticket), command);
                }
                Input::Connected(peer) => self.connected(&peer),
                Input::Wake => {}
            }
        }
        if self.stopped.is_none() {
            if self.raft_wake.is_some_and(|at| at <= env.now) {
                self.feed(env, Event::Wake);
            }
            self.end_turn(env);
        }
        if self.stopped.is_some() && !was_stopped {
            self.end_all();
        }
        std::mem::take(&mut self.step)
    }

    /// A leader cannot give another node what it needs, because its own disk has lost it: somebody
    /// else had better lead. Not too often, since nobody else may be able to.
    pub(super) fn hand_over(&mut self, env: &mut Env) {
        let pause = self.config.election_timeout_ms.saturating_mul(HAND_OVER_TIMEOUTS);
        let lately = self.handed_over.is_some_and(|at| env.now < at.after(pause));
        if self.leads() && self.stopped.is_none() && !lately {
            self.handed_over = Some(env.now);
            self.feed(env, Event::Nominate);
        }
    }

    /// The leader's duties, and what is due.
    fn end_turn(&mut self, env: &mut Env) {
        self.follow_leader(env);
        self.write_queued(env);
        if self.leads() {
            self.drive_members(env);
            self.drive_snapshots(env);
            self.sign_if_due(env);
        }
        self.feed(env, Event::Flush);
        for waiter in self.waits.expire(env.now) {
            let status = self.status(waiter.tx);
            self.answer_waiter(waiter, status);
        }
        for (ticket, error) in self.forwards.expire(env.now) {
            self.reply(&Origin::Local(ticket), Err(error));
        }
        self.send_answers();
        if std::mem::take(&mut self.role_changed) {
            let (role, view, leader) = (self.raft.role(), self.raft.view(), self.raft.leader());
            self.notice(Notice::Role { role, view, leader });
        }
        if std::mem::take(&mut self.nodes_changed) {
            let nodes = self.node_infos();
            self.notice(Notice::Nodes(nodes));
        }
    }

    /// Whether the next turn may take long, however little comes: much may be committed, or a snapshot
    /// made or put down.
    pub(in crate::cft) fn may_take_long(&self) -> bool {
        self.store.pending() > FEW || self.may_change_snapshot()
    }

    /// When the next turn is needed at the latest.
    pub fn wake(&self) -> Option<Time> {
        if self.stopped.is_some() {
            return None;
        }
        let signing = self.chain.unsigned_since().filter(|_| self.leads());
        let signing = signing.map(|at| at.after(self.config.signature_delay_ms));
        [self.raft_wake, signing, self.waits.wake(), self.forwards.wake()]
            .into_iter()
            .flatten()
            .min()
    }

    /// One event of the protocol, and what follows from it.
    fn feed(&mut self, env: &mut Env, event: Event) {
        if self.stopped.is_some() {
            return;
        }
        let step = self.raft.step(env, event);
        self.raft_wake = step.wake();
        let (step, outputs) = step.adopt(|message| message);
        self.step.extend(step);
        for output in outputs {
            self.on_output(env, output);
        }
    }

    fn on_output(&mut self, env: &mut Env, output: RaftOutput) {
        if self.stopped.is_some() {
            return;
        }
        match output {
            RaftOutput::Appended(entry) => {
                if let Err(reason) = self.appended(entry) {
                    self.stop(reason);
                }
            }
            RaftOutput::RolledBack { after } => {
                if let Err(reason) = self.rolled_back(after) {
                    self.stop(reason);
                }
            }
            RaftOutput::Committed(seqno) => {
                if let Err(reason) = self.committed(seqno) {
                    return self.stop(reason);
                }
                for read in std::mem::take(&mut self.early_reads) {
                    self.read_index(env, read);
                }
            }
            RaftOutput::Refused(refusal) => {
                unreachable!("only what is admitted is appended, but: {refusal}")
            }
            RaftOutput::Role { role, .. } => self.on_role(env, role),
            RaftOutput::CleanUp => self.clean_up = true,
            RaftOutput::CaughtUp(node) => {
                self.caught_up.insert(node);
            }
            RaftOutput::Retired => {
                self.role_changed = true;
                self.notice(Notice::Retired);
            }
            RaftOutput::Inconsistent(what) => self.notice(Notice::Inconsistent(what.to_owned())),
            RaftOutput::ReadReady { token, seqno } => {
                assert!(seqno <= self.store.commit_idx(), "what is committed has been executed");
                if let Some(read) = self.reads.remove(&token) {
                    self.finish_read(read);
                }
            }
            RaftOutput::ReadRefused { token, reason } => {
                if let Some(read) = self.reads.remove(&token) {
                    self.read_refused(env, read, reason);
                }
            }
        }
    }

    fn on_role(&mut self, env: &mut Env, role: Role) {
        self.role_changed = true;
        self.caught_up.clear();
        if role == Role::Leader {
            self.clean_up = true;
            if !self.starts {
                self.set_learners(env);
            }
            return;
        }
        for read in std::mem::take(&mut self.early_reads) {
            self.read_refused(env, read, Refusal::NotLeader);
        }
    }

    /// Whether a node is there that the operator has admitted, now or once.
    fn is_admitted(&self, peer: &PeerRef) -> bool {
        let learners = self.committed_change().map(|change| change.learners()).unwrap_or_default();
        self.nodes.is_admitted(peer, &learners)
    }

    /// Whether this node leads (and has not retired for good).
    pub fn leads(&self) -> bool {
        self.raft.role() == Some(Role::Leader) && self.raft.phase() != Some(Phase::RetiredCommitted)
    }

    /// A leader that takes no user transactions any more \[C6\].
    fn retires(&self) -> bool {
        self.raft.phase() >= Some(Phase::Signed)
    }

    fn is_open(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.status == ServiceStatus::Open)
    }

    /// How a transaction stands here \[6\].
    pub fn status(&self, tx: TxId) -> TxStatus {
        self.raft.status(tx.view, tx.seqno)
    }

    /// The last committed transaction.
    pub fn committed_tx(&self) -> TxId {
        let seqno = self.raft.commit_idx();
        TxId::new(self.raft.view_at(seqno), seqno)
    }

    /// The last transaction of the log.
    pub fn last_tx(&self) -> TxId {
        let seqno = self.raft.last_idx();
        TxId::new(self.raft.view_at(seqno), seqno)
    }

    /// The protocol (for checkers and for filling messages).
    pub const fn raft_state(&self) -> &Raft {
        &self.raft
    }

    /// The state (for checkers).
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The tree (for checkers).
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Certificates that link the service key of back then, at `seqno`, to the present one.
    pub fn endorsements_since(&self, seqno: Seqno) -> Vec<String> {
        let from = (seqno + 1).to_be_bytes();
        let rows = self.store.committed().iter_from(SERVICE_ENDORSEMENTS, &from);
        rows.map(|(_, pem)| String::from_utf8_lossy(pem).into_owned()).collect()
    }

    /// The keys.
    pub const fn keys(&self) -> &K {
        &self.keys
    }

    /// The configuration it was opened with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A recent entry.
    pub const fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Where a node is.
    pub fn peer_of(&self, node: &NodeId) -> Option<PeerRef> {
        self.nodes.peer(node)
    }

    /// What an entry of this log means to the protocol.
    pub fn kind_at(&self, seqno: Seqno, bytes: &[u8]) -> Kind {
        if let Some(kind) = self.kinds.get(&seqno) {
            return kind.clone();
        }
        let transaction = Transaction::decode_public(bytes);
        let signs = transaction.is_ok_and(|transaction| is_signature(&transaction.writes));
        if signs { Kind::Signature } else { Kind::Raw }
    }

    /// Why it has stopped, if so.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// How full the buffers are.
    pub fn footprint(&self, into: &mut Footprint) {
        into.add("cft_waiters", self.waits.len(), MAX_WAITERS);
        into.add("cft_introduced", self.nodes.introduced(), MAX_INTRODUCED);
        into.add("cft_refusals", self.taken.len(), MAX_REFUSALS);
        into.add("cft_queued", self.queued.len(), MAX_QUEUED);
        into.add("cft_forwards", self.forwards.len(), MAX_FORWARDS);
        into.add(
            "cft_reads",
            self.reads.len() + self.early_reads.len(),
            MAX_READS + MAX_RAFT_READS,
        );
        into.add("cft_recent_entries", self.recent.entries.len(), self.recent.most);
        into.add("cft_recent_bytes", self.recent.bytes, RECENT_BYTES);
    }

    fn notice(&mut self, notice: Notice) {
        self.step.output(Output::Notice(notice));
    }

    fn send(&mut self, to: PeerRef, packet: &Packet) {
        let packet = packet.encode(self.config.group);
        self.step.output(Output::Send { to: Address::Peer(to), packet });
    }

    fn reply(&mut self, origin: &Origin, result: Result<Reply, Error>) {
        match origin {
            Origin::Local(ticket) => {
                let result = match result {
                    Err(error) if self.doubtful.remove(ticket) => Err(in_doubt(&error)),
                    result => {
                        self.doubtful.remove(ticket);
                        result
                    }
                };
                self.step.output(Output::Reply(*ticket, result));
            }
            Origin::Remote(peer, id) => {
                self.taken.answered(peer, *id, result.as_ref().err());
                self.answers.entry(peer.clone()).or_default().push((*id, result));
            }
        }
    }

    fn answer_waiter(&mut self, waiter: Waiter, status: TxStatus) {
        if let Some(id) = waiter.forward {
            self.forwards.decided(id);
        }
        let (tx, is_final) = (waiter.tx, matches!(status, TxStatus::Committed | TxStatus::Invalid));
        if let Origin::Remote(peer, id) = waiter.origin {
            match waiter.answer {
                // If what it was compared with is lost, the node that forwarded it asks again.
                Answer::Refusal(error) if status == TxStatus::Committed => {
                    self.reply(&Origin::Remote(peer, id), Err(error));
                }
                Answer::Refusal(_) => self.taken.answered(&peer, id, None),
                _ if is_final => self.decided.entry(peer).or_default().push((id, tx, status)),
                _ => {}
            }
            return;
        }
        let result = match waiter.answer {
            Answer::Written { results, repeated } => {
                Ok(Reply::Written { tx, status, results, repeated })
            }
            Answer::Status => Ok(Reply::Status { tx, status }),
            Answer::Refusal(error) if status == TxStatus::Committed => Err(error),
            Answer::Refusal(_) => Err(Error::new(
                Code::TransactionReplicationFailed,
                "what the request was compared with is not committed",
            )),
        };
        self.reply(&waiter.origin, result);
    }

    /// This node must not go on. Nothing of this turn leaves.
    fn stop(&mut self, reason: String) {
        if self.stopped.is_none() {
            self.stopped = Some(reason);
        }
    }

    fn stop_error(&self) -> Error {
        let reason = self.stopped.as_deref().unwrap_or_default();
        Error::new(Code::NodeCannotHandleRequest, format!("the node has stopped: {reason}"))
    }

    /// Nothing of the turn in which it stopped leaves; everybody who waits is told.
    fn end_all(&mut self) {
        let step = std::mem::take(&mut self.step);
        let (_, outputs) = step.adopt::<(), ()>(|_| ());
        let mut tickets = self.callers();
        tickets.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Reply(ticket, _) => Some(ticket),
            _ => None,
        }));
        let error = self.stop_error();
        for ticket in tickets {
            self.step.output(Output::Reply(ticket, Err(error.clone())));
        }
        let reason = self.stopped.clone().unwrap_or_default();
        self.notice(Notice::Stopped(reason));
    }

    fn refuse(&mut self, input: Input) {
        if let Input::Command(ticket, _) = input {
            let error = self.stop_error();
            self.step.output(Output::Reply(ticket, Err(error)));
        }
    }
}

/// Why a command is refused, from why the protocol does.
fn refused(refusal: Refusal) -> Error {
    let code = match refusal {
        Refusal::NotLeader | Refusal::Retiring | Refusal::NothingCommittedYet => {
            Code::PrimaryNotFound
        }
        Refusal::TooManyPendingTransactions | Refusal::TooManyPendingReads => {
            Code::TooManyPendingTransactions
        }
        Refusal::TooLarge => Code::RequestBodyTooLarge,
    };
    Error::new(code, refusal.to_string())
}

/// The node that holds these keys.
fn me(keys: &impl Keys) -> NodeId {
    NodeId(keys.node().0)
}

/// The key of a node's rows.
fn row_key(node: &NodeId) -> Vec<u8> {
    node_key(&digest(node))
}
