//! How a member comes to be: [O1], [R14], [7.6].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::raft::{
    Config as RaftConfig, Configuration, Entry, Event, Kept, Kind, NewEntry, NodeId, Raft, Seqno,
    Snapshot, View,
};
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::maps::{
    self, ENDORSED_CERTIFICATES, GENESIS, NodeInfo, NodeStatus, SERVICE_ENDORSEMENTS,
    SERVICE_HANDOVERS, SERVICE_INFO, SINGLE, ServiceInfo, ServiceStatus, read_row,
};
use quorate_ledger::ccf::signature::{Identities, Signature, is_signature};
use quorate_ledger::ccf::{Head, LedgerSecret, Transaction, TxId};
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::state::{WriteError, WriteSet};
use rand_core::Rng as _;

use super::keyed::Keyed;
use super::{Member, MemberStep, Recent, me, row_key};
use crate::cft::api::{Begin, Config, PeerRef};
use crate::cft::chain::Chain;
use crate::cft::driver::OpenError;
use crate::cft::forward::{Forwards, Taken};
use crate::cft::keys::Keys;
use crate::cft::kv::Store;
use crate::cft::limits::REPLAY_BYTES;
use crate::cft::log::{Log, Recovered};
use crate::cft::nodes::{MEMBER_CHANGE, Nodes, digest, peer_text};
use crate::cft::waits::Waits;

/// The last signature of a log that is replayed, with what the ledger said before it.
struct LastSignature {
    seqno: Seqno,
    bytes: Arc<[u8]>,
    signature: Signature,
    /// The signature before it.
    previous: Seqno,
    /// Certificates of its node and of the service.
    node: String,
    service: String,
}

/// What is found in a log that is replayed.
#[derive(Default)]
struct Found {
    last: Option<LastSignature>,
    /// The last entry with which the group was recovered; 0 if there is none.
    recovery: Seqno,
}

impl Found {
    /// The last recovery that a signature covers. What it began with is committed [7.6].
    fn recovered_at(&self) -> Seqno {
        let signed = self.last.as_ref().map_or(0, |last| last.seqno);
        if self.recovery < signed { self.recovery } else { 0 }
    }
}

/// The view that the first node of a service leads, and the place of its first entry (RAFT-37).
const FIRST: TxId = TxId::new(2, 1);

impl<K: Keys> Member<K> {
    /// A member that waits for nobody's admission. Its first turn's step comes with it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open<L: Log>(
        env: &mut Env,
        config: Config,
        begin: Begin,
        keys: K,
        recovered: &Recovered,
        log: &L,
    ) -> Result<(Self, MemberStep), OpenError>
    where
        L::Error: Display,
    {
        let fits = match &begin {
            Begin::Create { .. } => recovered.last_idx == 0,
            Begin::Resume { .. } | Begin::Recover { .. } => recovered.last_idx > 0,
            Begin::Join { .. } => false,
        };
        if !fits {
            return Err(OpenError::Begin("the log does not fit the way to begin"));
        }
        match begin {
            Begin::Create { genesis, secret } => {
                let mut member = Self::empty(env, config, keys, secret);
                let writes = member.first_entry(env, &genesis).map_err(too_large)?;
                member.start(env, writes, FIRST)?;
                Ok(member.opened(env))
            }
            Begin::Resume { secret } => {
                Self::resume(env, config, keys, secret, recovered, log, Vec::new())
                    .map_err(|(error, _)| error)
            }
            Begin::Recover { secret, endorsement, handover } => {
                let mut member = Self::recover(env, config, keys, secret, recovered, log)?;
                let writes = member.recovery_entry(env, &endorsement, handover.as_deref());
                let view = member.raft.view();
                let id = TxId::new(view, member.raft.last_idx() + 1);
                member.start(env, writes.map_err(too_large)?, id)?;
                Ok(member.opened(env))
            }
            Begin::Join { .. } => Err(OpenError::Begin("a joiner is not a member yet")),
        }
    }

    fn empty(env: &mut Env, config: Config, keys: K, secret: LedgerSecret) -> Self {
        let id = me(&keys);
        let raft = Raft::new(raft_config(&config, id));
        let probe = NewEntry { kind: Kind::Raw, bytes: Arc::default(), weight: 0, user: true };
        Self {
            chain: Chain::new(secret, config.chunk_size),
            recent: Recent::new(config.recent_entries),
            config,
            keys,
            raft,
            store: Store::default(),
            kinds: BTreeMap::new(),
            nodes: Nodes::default(),
            acquaintances: super::Acquaintances::default(),
            behind: super::Behind::default(),
            keyed: Keyed::default(),
            service: None,
            waits: Waits::default(),
            queued: std::collections::VecDeque::new(),
            forwards: Forwards::new(env.rng.next_u64()),
            taken: Taken::default(),
            doubtful: std::collections::BTreeSet::new(),
            reads: BTreeMap::new(),
            next_read: 0,
            early_reads: Vec::new(),
            snapshots: super::Snapshots::new(env.now),
            caught_up: std::collections::BTreeSet::new(),
            clean_up: false,
            verified_view: 0,
            own: None,
            starts: false,
            step: MemberStep::new(),
            answers: BTreeMap::new(),
            decided: BTreeMap::new(),
            raft_wake: None,
            known_leader: None,
            nodes_changed: true,
            role_changed: true,
            stopped: None,
            handed_over: None,
            now: env.now,
            probe,
        }
    }

    /// Goes on from what the log has. A joiner also has `told`.
    ///
    /// # Errors
    /// [`OpenError`] if the log contradicts itself or cannot be read; with the keys, so that it can
    /// be tried again.
    #[expect(clippy::too_many_arguments, reason = "what a member is made of")]
    pub fn resume<L: Log>(
        env: &mut Env,
        config: Config,
        keys: K,
        secret: LedgerSecret,
        recovered: &Recovered,
        log: &L,
        told: Vec<(NodeId, PeerRef)>,
    ) -> Result<(Self, MemberStep), (OpenError, K)>
    where
        L::Error: Display,
    {
        let mut member = Self::empty(env, config, keys, secret);
        if let Err(error) = member.go_on(env, recovered, log) {
            return Err((error, member.keys));
        }
        member.nodes.tell(told);
        Ok(member.opened(env))
    }

    fn go_on<L: Log>(
        &mut self,
        env: &mut Env,
        recovered: &Recovered,
        log: &L,
    ) -> Result<(), OpenError>
    where
        L::Error: Display,
    {
        let kept = self.replay(recovered, log)?;
        let (raft, step) = Raft::resume(self.raft_config(), env, kept)?;
        self.raft = raft;
        self.raft_wake = step.wake();
        self.step.extend(step.adopt(|message| message).0);
        self.commit_known().map_err(|what| OpenError::Entry(recovered.commit_idx, what))
    }

    /// The log up to its last signature, as committed; the protocol is ready to begin again.
    fn recover<L: Log>(
        env: &mut Env,
        config: Config,
        keys: K,
        secret: LedgerSecret,
        recovered: &Recovered,
        log: &L,
    ) -> Result<Self, OpenError>
    where
        L::Error: Display,
    {
        let mut member = Self::empty(env, config, keys, secret);
        let kept = member.replay(recovered, log)?;
        let (raft, step) = Raft::recover(member.raft_config(), env, kept)?;
        let signed = raft.commit_idx();
        member.raft = raft;
        member.step.extend(step.adopt(|message| message).0);
        let wrong = |what| OpenError::Entry(signed, what);
        member.rolled_back(signed).map_err(wrong)?;
        member.commit_known().map_err(wrong)?;
        member.role_changed = true;
        Ok(member)
    }

    fn raft_config(&self) -> RaftConfig {
        raft_config(&self.config, me(&self.keys))
    }

    /// What the protocol has committed of a log that was replayed is committed here.
    fn commit_known(&mut self) -> Result<(), String> {
        let seqno = self.raft.commit_idx();
        while let Some((at, writes)) = self.store.commit_next(seqno) {
            self.nodes.commit(at, &writes).map_err(|e| e.to_string())?;
        }
        self.chain.commit(seqno.max(self.raft.startup_seqno()));
        Ok(())
    }

    fn opened(mut self, env: &mut Env) -> (Self, MemberStep) {
        self.end_turn(env);
        let step = std::mem::take(&mut self.step);
        (self, step)
    }

    /// Executes the log again, checking what a follower checks.
    fn replay<L: Log>(&mut self, recovered: &Recovered, log: &L) -> Result<Kept, OpenError>
    where
        L::Error: Display,
    {
        let snapshot = match &recovered.snapshot {
            Some(file) => Some(self.install_snapshot(file)?),
            None => None,
        };
        let mut kinds: Vec<(View, Kind)> = Vec::new();
        let mut found = Found::default();
        let mut next = self.chain.last_idx() + 1;
        while next <= recovered.last_idx {
            let read = log.entries(next, recovered.last_idx, REPLAY_BYTES);
            let read = read.map_err(|error| OpenError::Log(error.to_string()))?;
            if read.is_empty() {
                return Err(OpenError::Log(format!("entry {next} is missing")));
            }
            for bytes in read {
                kinds.push(self.replay_entry(next, bytes, &mut found)?);
                next += 1;
            }
        }
        if let Some(last) = &found.last {
            self.check_last(last).map_err(|what| OpenError::Entry(last.seqno, what))?;
        }
        Ok(Kept {
            view: recovered.view,
            voted_for: recovered.voted_for.filter(|_| !mutated(Mutant::CftVoteForgotten)),
            snapshot,
            entries: kinds,
            commit_idx: recovered.commit_idx.max(self.store.commit_idx()),
            recovered_at: found.recovered_at(),
        })
    }

    fn replay_entry(
        &mut self,
        seqno: Seqno,
        bytes: Arc<[u8]>,
        found: &mut Found,
    ) -> Result<(View, Kind), OpenError> {
        let wrong = |what: String| OpenError::Entry(seqno, what);
        let head = Head::read(&bytes).map_err(|e| wrong(e.to_string()))?;
        let secret = self.chain.secret();
        let transaction = Transaction::decode(&bytes, secret);
        let transaction = transaction.map_err(|e| wrong(e.to_string()))?;
        let signs = is_signature(&transaction.writes);
        let kind = self.nodes.kind_of(&transaction.writes, signs);
        let kind = kind.map_err(|e| wrong(e.to_string()))?;
        if head.id.seqno != seqno || transaction.evidence != secret.evidence_digest(head.id) {
            return Err(wrong("it is another entry, or made with another ledger secret".into()));
        }
        if signs {
            let signature = self.check_signature(&transaction).map_err(wrong)?;
            let by = self.identities(&signature).map_err(wrong)?;
            let (node, service) = (by.node.to_owned(), by.service.to_owned());
            let (bytes, previous) = (bytes.clone(), self.chain.last_signature());
            found.last = Some(LastSignature { seqno, bytes, signature, previous, node, service });
        }
        if transaction.writes.iter().any(|(map, ..)| map == SERVICE_ENDORSEMENTS) {
            found.recovery = seqno;
        }
        let entry = Entry { view: head.id.view, seqno, kind, bytes };
        self.take_entry(&entry, transaction.writes).map_err(wrong)?;
        Ok((entry.view, entry.kind))
    }

    /// No root covers the last signature of a log: it must be what its leader made, byte for byte,
    /// and both signatures must hold.
    fn check_last(&self, last: &LastSignature) -> Result<(), String> {
        let secret = self.chain.secret();
        let flags = Head::read(&last.bytes).map_err(|e| e.to_string())?.flags;
        if flags.starts_chunk() {
            return Err("the last signature has flags that no leader sets".to_owned());
        }
        let (signature, tree) = (&last.signature, self.chain.tree());
        let by = Identities { node: &last.node, service: &last.service };
        if signature.certificate.as_deref().is_some_and(|certificate| certificate != by.node) {
            return Err("the last signature has another certificate than the ledger".to_owned());
        }
        signature.verify(tree, by, &self.keys).map_err(|e| format!("the last {e}"))?;
        let rows = signature.rows(tree, last.previous).map_err(|e| e.to_string())?;
        let made = Transaction::new(signature.id, rows, secret).encode(flags, secret);
        if made.map_err(|e| e.to_string())? != last.bytes {
            return Err("the last signature is not as its leader made it".to_owned());
        }
        Ok(())
    }

    /// The first entry of a service (or of its next life), and the one that opens it.
    fn start(&mut self, env: &mut Env, writes: WriteSet, id: TxId) -> Result<(), OpenError> {
        let wrong = |what: String| OpenError::Entry(id.seqno, what);
        let kind = self.nodes.kind_of(&writes, false).map_err(|e| wrong(e.to_string()))?;
        assert_eq!(kind, Kind::Configuration([me(&self.keys)].into()), "this node alone");
        let encoded = self.chain.encode(id, writes, Digest::default());
        let (bytes, writes) = encoded.map_err(|e| wrong(e.to_string()))?;
        let weight = bytes.len() as u64;
        self.own = Some(writes);
        self.starts = true;
        self.feed(env, Event::Start { bytes, weight });
        self.starts = false;
        let mut service = self.service.clone().unwrap_or_else(|| unreachable!("just written"));
        service.status = ServiceStatus::Open;
        let mut writes = WriteSet::new();
        maps::put_service(&mut writes, &service).map_err(too_large)?;
        self.append(env, writes, false).map_err(|error| wrong(error.to_string()))?;
        match &self.stopped {
            Some(reason) => Err(wrong(reason.clone())),
            None => Ok(()),
        }
    }

    fn own_row(&self) -> NodeInfo {
        NodeInfo {
            peer: peer_text(&self.config.peer),
            rpc_address: self.config.rpc_address.clone(),
            public_key: base64_of(&self.keys.public_key()),
            ..NodeInfo::new(NodeStatus::Trusted)
        }
    }

    fn first_entry(
        &self,
        env: &Env,
        genesis: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<WriteSet, WriteError> {
        let mut writes = WriteSet::new();
        self.put_self(&mut writes, 0, FIRST, env.now)?;
        for (key, value) in genesis {
            writes.put(GENESIS, key.as_slice(), value.as_slice())?;
        }
        Ok(writes)
    }

    fn put_self(
        &self,
        writes: &mut WriteSet,
        recovery_count: u64,
        id: TxId,
        _now: Time,
    ) -> Result<(), WriteError> {
        let me = me(&self.keys);
        let service = ServiceInfo {
            cert: self.keys.service_certificate().to_owned(),
            status: ServiceStatus::Opening,
            recovery_count,
            current_service_create_txid: Some(id),
        };
        maps::put_service(writes, &service)?;
        maps::put_node(writes, &digest(&me), &self.own_row())?;
        writes.put(ENDORSED_CERTIFICATES, row_key(&me), self.keys.certificate().as_bytes())
    }

    /// All other nodes have gone for good; the service has a new identity, which vouches for the
    /// old one. That the members among them have retired is stated once this is committed, as ever:
    /// by that statement nodes that come later, and read this in the log, learn that nothing is to be
    /// sent to them.
    fn recovery_entry(
        &self,
        env: &Env,
        endorsement: &str,
        handover: Option<&[u8]>,
    ) -> Result<WriteSet, WriteError> {
        let mut writes = WriteSet::new();
        for (node, row) in &self.nodes.head {
            let retired_committed = row.retired_committed || row.status == NodeStatus::Pending;
            let gone = NodeInfo { status: NodeStatus::Retired, retired_committed, ..row.clone() };
            maps::put_node(&mut writes, &digest(node), &gone)?;
        }
        let before = self.store.head(SERVICE_INFO, &SINGLE);
        let before = before.and_then(|row| read_row::<ServiceInfo>(SERVICE_INFO, row).ok());
        let count = before.map_or(0, |service| service.recovery_count) + 1;
        let id = TxId::new(self.raft.view(), self.raft.last_idx() + 1);
        self.put_self(&mut writes, count, id, env.now)?;
        let key = id.seqno.to_be_bytes();
        writes.put(SERVICE_ENDORSEMENTS, key, endorsement.as_bytes())?;
        if let Some(handover) = handover {
            writes.put(SERVICE_HANDOVERS, key, handover)?;
        }
        if self.store.head(MEMBER_CHANGE, &SINGLE).is_some() {
            writes.delete(MEMBER_CHANGE, SINGLE)?;
        }
        Ok(writes)
    }
}

/// The protocol's settings from the member's.
fn raft_config(config: &Config, me: NodeId) -> RaftConfig {
    RaftConfig {
        message_timeout_ms: config.message_timeout_ms,
        election_timeout_ms: config.election_timeout_ms,
        jitter_ms: config.election_timeout_ms / 2,
        max_uncommitted: config.max_uncommitted_tx_count,
        window: 64,
        trace: config.trace,
        ..RaftConfig::new(me)
    }
}

fn too_large(error: WriteError) -> OpenError {
    OpenError::Entry(0, error.to_string())
}

/// What a snapshot at `seqno` tells the protocol.
pub(super) fn raft_snapshot(
    seqno: Seqno,
    starts: Vec<(View, Seqno)>,
    configuration: Configuration,
) -> Option<Snapshot> {
    let views = quorate_consensus::raft::log::ViewHistory::from_starts(starts)?;
    let view = views.view_at(seqno);
    Some(Snapshot { seqno, view, views, configuration: Some(configuration) })
}

/// Base64 of a public key, as rows have it.
pub(super) fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The public key of a row.
pub(super) fn base64_to(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
