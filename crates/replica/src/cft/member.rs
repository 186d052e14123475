//! The deterministic member: the state machine around the protocol. One turn takes inputs and
//! gives one step; [`super::driver`] makes its records durable and lets it out.

mod behind;
mod commands;
mod introductions;
mod joiners;
mod open;
mod operators;
mod queries;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quorate_consensus::core::{Env, Step, Time, Verified};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::limits::MAX_RAFT_READS;
use quorate_consensus::raft::{
    Entry, Event, Kind, LogRecord, NewEntry, NodeId, Output as RaftOutput, Phase, Raft,
    RaftMessage, Refusal, Role, Seqno, View,
};
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::maps::{
    ENDORSED_CERTIFICATES, IDEMPOTENCY, SERVICE_ENDORSEMENTS, SERVICE_INFO, SINGLE, ServiceInfo,
    node_key, read_row,
};
use quorate_ledger::ccf::signature::{Identities, Signature, is_signature};
use quorate_ledger::ccf::{Transaction, TxId};
use quorate_ledger::state::{Value, WriteSet};

use self::behind::Behind;
pub(in crate::cft) use self::behind::Remains;
use self::commands::PendingRead;
use self::introductions::Acquaintances;
pub(in crate::cft) use self::joiners::SEAL_CONTEXT;
use self::snapshots::Snapshots;
use super::api::{
    Address, Code, Command, Config, Error, Input, Notice, Output, PeerRef, Reply, ServiceStatus,
    Ticket, TxStatus,
};
use super::chain::Chain;
use super::forward::{Forwards, Take, Taken};
use super::keys::Keys;
use super::kv::Store;
use super::limits::{
    MAX_FORWARDS, MAX_INTRODUCED, MAX_QUEUED, MAX_READS, MAX_REFUSALS, MAX_WAITERS, PACKET_BYTES,
    RECENT_BYTES, RECENT_ENTRIES,
};
use super::nodes::{Nodes, digest};
use super::waits::{Answer, Origin, Waiter, Waits};
use super::wire::{Forwarded, Packet};

/// What a turn of a member makes.
pub type MemberStep = Step<RaftMessage, Output, NodeId, LogRecord>;

/// The newest entries, for followers that are a little behind.
#[derive(Debug, Default)]
pub struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Recent {
    /// The entry at `seqno`, if it is kept.
    pub fn get(&self, seqno: Seqno) -> Option<&Entry> {
        let first = self.entries.front()?.seqno;
        self.entries.get(usize::try_from(seqno.checked_sub(first)?).ok()?)
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        while self.entries.len() > RECENT_ENTRIES || self.bytes > RECENT_BYTES {
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

/// Idempotency keys in the order of their transactions, with the time of each.
#[derive(Debug, Default)]
struct Keyed(BTreeMap<Seqno, (Vec<u8>, u64)>);

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
    step: MemberStep,
    /// Answers to other nodes' commands, to be sent together.
    answers: BTreeMap<PeerRef, Vec<Forwarded>>,
    decided: BTreeMap<PeerRef, Vec<(u64, TxId, TxStatus)>>,
    raft_wake: Option<Time>,
    known_leader: Option<NodeId>,
    nodes_changed: bool,
    role_changed: bool,
    stopped: Option<String>,
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
            self.set_learners(env);
            return;
        }
        for read in std::mem::take(&mut self.early_reads) {
            self.read_refused(env, read, Refusal::NotLeader);
        }
    }

    /// An entry is in the log: its writes cover the state.
    fn appended(&mut self, entry: Entry) -> Result<(), String> {
        let own = self.own.take();
        let writes = match own {
            Some(writes) => writes,
            None => self.check_entry(&entry)?,
        };
        self.take_entry(&entry, writes)
    }

    /// What an entry of another leader (or of the log) writes. It must be what its header and kind
    /// say, and a signature must sign the own tree.
    fn check_entry(&mut self, entry: &Entry) -> Result<WriteSet, String> {
        let say = |what: String| format!("entry {}: {what}", entry.seqno);
        let secret = self.chain.secret();
        let transaction =
            Transaction::decode(&entry.bytes, secret).map_err(|e| say(e.to_string()))?;
        let id = TxId::new(entry.view, entry.seqno);
        if transaction.id != id || entry.seqno != self.chain.last_idx() + 1 {
            return Err(say(format!("it is {}, not {id}", transaction.id)));
        }
        if transaction.evidence != secret.evidence_digest(id) {
            return Err(say("its commit evidence is made with another ledger secret".to_owned()));
        }
        let signs = is_signature(&transaction.writes);
        let kind =
            self.nodes.kind_of(&transaction.writes, signs).map_err(|e| say(e.to_string()))?;
        if kind != entry.kind {
            return Err(say(format!("it is {kind:?}, not {:?}", entry.kind)));
        }
        if signs {
            self.check_signature(&transaction).map_err(say)?;
        }
        Ok(transaction.writes)
    }

    /// The root of every signature is checked; with keys the first one of each view.
    fn check_signature(&mut self, transaction: &Transaction) -> Result<Signature, String> {
        let signature = Signature::read(transaction).map_err(|e| e.to_string())?;
        let signature = signature.ok_or("no signature")?;
        let root = self.chain.tree().root_at(signature.id.seqno).map_err(|e| e.to_string())?;
        if root != signature.root {
            return Err("the signed root is not that of the entries before".to_owned());
        }
        if transaction.id.view == self.verified_view {
            return Ok(signature);
        }
        let by = self.identities(&signature)?;
        signature.verify(self.chain.tree(), by, &self.keys).map_err(|e| e.to_string())?;
        self.verified_view = transaction.id.view;
        Ok(signature)
    }

    /// Certificates with which a signature is checked, as the ledger has them now.
    fn identities(&self, signature: &Signature) -> Result<Identities<'_>, String> {
        let node = self.store.head(ENDORSED_CERTIFICATES, &node_key(&signature.node));
        let node = node.and_then(|pem| std::str::from_utf8(pem).ok());
        match (node, self.service.as_ref()) {
            (Some(node), Some(service)) => Ok(Identities { node, service: &service.cert }),
            _ => Err("the certificate of the node that signed is not in the ledger".to_owned()),
        }
    }

    /// The entry extends everything that is kept of the log.
    fn take_entry(&mut self, entry: &Entry, writes: WriteSet) -> Result<(), String> {
        let say = |what: String| format!("entry {}: {what}", entry.seqno);
        self.keyed.append(&self.store, &writes);
        self.nodes_changed |= self.nodes.append(&writes).map_err(|e| say(e.to_string()))?;
        let signs = entry.kind == Kind::Signature;
        self.chain.append(&entry.bytes, signs, self.now).map_err(|e| say(e.to_string()))?;
        if let Some(Some(row)) = writes.get(SERVICE_INFO, &SINGLE) {
            self.service = Some(read_row(SERVICE_INFO, row).map_err(|e| say(e.to_string()))?);
        }
        if matches!(entry.kind, Kind::Configuration(_) | Kind::Retired(_)) {
            self.kinds.insert(entry.seqno, entry.kind.clone());
        }
        self.store.append(entry.seqno, writes);
        self.recent.push(entry.clone());
        Ok(())
    }

    fn rolled_back(&mut self, after: Seqno) -> Result<(), String> {
        self.store.roll_back(after);
        self.chain.roll_back(after, self.now);
        self.recent.roll_back(after);
        self.kinds.split_off(&(after + 1));
        self.keyed.reload(&self.store);
        self.nodes.reload(&self.store).map_err(|e| e.to_string())?;
        self.reload_service()?;
        self.nodes_changed = true;
        Ok(())
    }

    fn reload_service(&mut self) -> Result<(), String> {
        let service = self.store.head(SERVICE_INFO, &SINGLE);
        let service = service.map(|row| read_row(SERVICE_INFO, row)).transpose();
        self.service = service.map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Everything up to `seqno` is final.
    fn committed(&mut self, seqno: Seqno) -> Result<(), String> {
        let before = self.raft.view_at(self.store.commit_idx());
        while let Some((at, writes)) = self.store.commit_next(seqno) {
            let changed = self.nodes.commit(at, &writes).map_err(|e| e.to_string())?;
            self.clean_up |= changed;
            self.nodes_changed |= changed;
            self.take_snapshot_if_due(at, &writes)?;
        }
        self.chain.commit(seqno);
        let new_view = self.raft.view_at(seqno) != before;
        let raft = &self.raft;
        let decided = self.waits.decide(seqno, new_view, |tx| raft.status(tx.view, tx.seqno));
        for (waiter, status) in decided {
            self.answer_waiter(waiter, status);
        }
        let tx = self.committed_tx();
        self.notice(Notice::Committed(tx));
        Ok(())
    }

    /// The leader appends a transaction.
    fn append(&mut self, env: &mut Env, writes: WriteSet, user: bool) -> Result<TxId, Error> {
        self.append_claiming(env, writes, Digest::default(), user)
    }

    fn append_claiming(
        &mut self,
        env: &mut Env,
        writes: WriteSet,
        claims: Digest,
        user: bool,
    ) -> Result<TxId, Error> {
        let kind = self.nodes.kind_of(&writes, false);
        let kind = kind.map_err(|e| Error::new(Code::InternalError, e.to_string()))?;
        let id = TxId::new(self.raft.view(), self.raft.last_idx() + 1);
        let encoded = self.chain.encode(id, writes, claims);
        let (bytes, writes) =
            encoded.map_err(|e| Error::new(Code::RequestBodyTooLarge, e.to_string()))?;
        let weight = bytes.len() as u64;
        let entry = NewEntry { kind, bytes, weight, user };
        self.raft.admits(&entry).map_err(refused)?;
        self.own = Some(writes);
        self.feed(env, Event::Append(entry));
        if self.chain.unsigned() >= self.config.signature_tx_count {
            self.sign(env);
        }
        Ok(id)
    }

    /// [O3]: the turn's entries become durable together with their signature, and the queue of
    /// requests has been taken whole: so nothing waits.
    fn sign_if_due(&mut self, env: &mut Env) {
        let unsigned = self.chain.unsigned();
        let config = &self.config;
        let adaptive = config.signature_adaptive && !self.is_signing();
        let age = self.chain.unsigned_since().map(|at| env.now.0.saturating_sub(at.0));
        let old = age.is_some_and(|age| age >= config.signature_delay_ms);
        let due = unsigned > 0 && (adaptive || old || unsigned >= config.signature_tx_count);
        if due || self.raft.should_sign() {
            self.sign(env);
        }
    }

    /// Whether as many adaptive signatures are under way as there may be.
    fn is_signing(&self) -> bool {
        let in_flight = self.raft.uncommitted_signatures() as u64;
        self.config.signature_adaptive && in_flight >= self.config.signature_max_in_flight
    }

    fn sign(&mut self, env: &mut Env) {
        let cut = self.cuts_for_snapshot();
        let signed = self.chain.sign(self.raft.view(), env.now, &self.keys, cut);
        let (bytes, writes) = match signed {
            Ok(signed) => signed,
            Err(error) => return self.stop(format!("cannot sign: {error}")),
        };
        let weight = bytes.len() as u64;
        let entry = NewEntry { kind: Kind::Signature, bytes, weight, user: false };
        if self.raft.admits(&entry).is_err() {
            return;
        }
        self.own = Some(writes);
        self.feed(env, Event::Append(entry));
    }

    fn packet(&mut self, env: &mut Env, peer: PeerRef, packet: Packet) {
        match packet {
            Packet::Raft { from, to, messages } => {
                if to != self.raft.me() || self.nodes.peer(&from).as_ref() != Some(&peer) {
                    return;
                }
                self.heard(from);
                for message in messages {
                    self.feed(env, Event::Receive(from, Verified::assume(message)));
                }
            }
            Packet::Forward(commands) => {
                if !self.is_admitted(&peer) {
                    return;
                }
                for (id, command) in commands {
                    self.take_forwarded(env, &peer, id, command);
                }
            }
            Packet::Forwarded(answers) if self.nodes.is_node(&peer) => {
                for (id, result) in answers {
                    self.forwarded(env, id, result);
                }
            }
            Packet::Decided(decided) if self.nodes.is_node(&peer) => {
                for (id, tx, status) in decided {
                    let waiter = self.forwards.decided(id).and_then(|id| self.waits.take(id));
                    if let Some(waiter) = waiter.filter(|waiter| waiter.tx == tx) {
                        self.answer_waiter(waiter, status);
                    }
                }
            }
            Packet::Forwarded(_) | Packet::Decided(_) => {}
            Packet::Join(request) => {
                if request.peer == peer {
                    self.join_request(env, peer, request, None);
                }
            }
            Packet::RelayJoin(joiner, request) => {
                if request.peer == joiner && self.nodes.is_node(&peer) {
                    self.join_request(env, joiner, request, Some(peer));
                }
            }
            Packet::RelayJoinAnswer(joiner, answer) => {
                if self.nodes.is_node(&peer) {
                    self.send(joiner, &Packet::JoinAnswer(answer));
                }
            }
            Packet::FetchSnapshot { seqno, offset } => self.serve_snapshot(peer, seqno, offset),
            Packet::Introduction(introduction) => self.introduced(peer, &introduction),
            Packet::OfferSnapshot(tx) => self.offered(peer, tx),
            Packet::SnapshotPart { seqno, evidence, offset, total, bytes } => {
                self.offered_part(&peer, (seqno, evidence), (offset, total), &bytes);
            }
            Packet::JoinAnswer(_) => {}
        }
    }

    /// Another node's command. What may change something is taken once, however often it comes.
    fn take_forwarded(&mut self, env: &mut Env, peer: &PeerRef, id: u64, command: Command) {
        let origin = Origin::Remote(peer.clone(), id);
        if !matches!(command, Command::Write { .. } | Command::Member(_)) {
            return self.command(env, origin, command);
        }
        match self.taken.take(peer, id) {
            Take::New => self.command(env, origin, command),
            Take::Open => {}
            Take::Refused(error) => self.reply(&origin, Err(error)),
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
        into.add("cft_recent_entries", self.recent.entries.len(), RECENT_ENTRIES);
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

    fn send_answers(&mut self) {
        for (peer, answers) in std::mem::take(&mut self.answers) {
            let weight = |answer: &Forwarded| match &answer.1 {
                Ok(Reply::Written { results, .. } | Reply::Read { results, .. }) => {
                    128 + results.iter().map(commands::weight).sum::<usize>()
                }
                _ => 128,
            };
            for part in split(answers, weight) {
                self.send(peer.clone(), &Packet::Forwarded(part));
            }
        }
        for (peer, decided) in std::mem::take(&mut self.decided) {
            for part in split(decided, |_| 32) {
                self.send(peer.clone(), &Packet::Decided(part));
            }
        }
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

    /// A leader was found or lost: commands that wait for one are sent (again), or done here.
    fn follow_leader(&mut self, env: &mut Env) {
        let leader = self.raft.leader();
        if leader != self.known_leader {
            self.known_leader = leader;
            self.role_changed = true;
            if leader.is_some() {
                for (ticket, error) in self.forwards.again(None) {
                    self.reply(&Origin::Local(ticket), Err(error));
                }
            }
        }
        if !self.forwards.has_unsent() {
            return;
        }
        if self.leads() {
            if !self.retires() {
                for forward in self.forwards.take_unsent() {
                    if forward.is_doubtful(0) {
                        self.doubtful.insert(forward.ticket);
                    }
                    self.command(env, Origin::Local(forward.ticket), forward.command);
                }
            }
            return;
        }
        let Some(peer) = leader.and_then(|leader| self.nodes.peer(&leader)) else { return };
        let commands = self.forwards.send(env.now);
        for part in split(commands, |(_, command)| commands::command_weight(command)) {
            self.send(peer.clone(), &Packet::Forward(part));
        }
    }
}

/// Parts of a list that fit a packet, each with at least one item.
fn split<T>(items: Vec<T>, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let weight = weight(&item);
        match parts.last_mut() {
            Some(part) if weight <= room && part.len() < MAX_FORWARDS => part.push(item),
            _ => {
                parts.push(vec![item]);
                room = PACKET_BYTES;
            }
        }
        room = room.saturating_sub(weight);
    }
    parts
}

/// One leader has refused a write, but another one may have done it.
fn in_doubt(error: &Error) -> Error {
    if error.code == Code::TransactionReplicationFailed {
        return error.clone();
    }
    let message = format!("it was sent to more than one leader and may be done; one said: {error}");
    Error::new(Code::TransactionReplicationFailed, message)
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

/// A row of the idempotency map: `view(8) seqno(8) time(8) digest of the operations(32)`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct KeyedRow {
    tx: TxId,
    at_ms: u64,
    request: [u8; 32],
}

impl KeyedRow {
    fn to_value(&self) -> Value {
        let mut row = [0; 56];
        row[..8].copy_from_slice(&self.tx.view.to_be_bytes());
        row[8..16].copy_from_slice(&self.tx.seqno.to_be_bytes());
        row[16..24].copy_from_slice(&self.at_ms.to_be_bytes());
        row[24..].copy_from_slice(&self.request);
        Arc::from(row)
    }

    fn read(row: &[u8]) -> Option<Self> {
        let row: &[u8; 56] = row.try_into().ok()?;
        let number = |at: usize| row[at..at + 8].try_into().ok().map(u64::from_be_bytes);
        let tx = TxId::new(number(0)?, number(8)?);
        Some(Self { tx, at_ms: number(16)?, request: row[24..].try_into().ok()? })
    }
}

impl Keyed {
    /// A transaction is about to be appended.
    fn append(&mut self, store: &Store, writes: &WriteSet) {
        for (map, key, row) in writes.iter() {
            if map != IDEMPOTENCY {
                continue;
            }
            if let Some(before) = store.head(map, key).and_then(|row| KeyedRow::read(row)) {
                self.0.remove(&before.tx.seqno);
            }
            if let Some(row) = row.and_then(|row| KeyedRow::read(row)) {
                self.0.insert(row.tx.seqno, (key.to_vec(), row.at_ms));
            }
        }
    }

    fn reload(&mut self, store: &Store) {
        self.0.clear();
        for (key, row) in store.head_from(IDEMPOTENCY, b"") {
            if let Some(row) = KeyedRow::read(row) {
                self.0.insert(row.tx.seqno, (key.to_vec(), row.at_ms));
            }
        }
    }
}

/// The node that holds these keys.
fn me(keys: &impl Keys) -> NodeId {
    NodeId(keys.node().0)
}

/// The key of a node's rows.
fn row_key(node: &NodeId) -> Vec<u8> {
    node_key(&digest(node))
}
