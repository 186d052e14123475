//! A service without Raft, for tests and examples: whoever is told to lead appends. Real keys, the
//! same for the same seed.

use std::sync::Arc;

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::ec::EcKey;
use quorate_crypto::hash::{Digest, sha256};
use quorate_ledger::ccf::files::{self, ChunkName, SnapshotName};
use quorate_ledger::ccf::maps::{
    self, ENDORSED_CERTIFICATES, NodeId, NodeInfo, NodeStatus, ServiceInfo, ServiceStatus, node_key,
};
use quorate_ledger::ccf::{
    Covering, Flags, LedgerSecret, NodeNotary, Notary, Snapshot, Transaction, Tree, TxId, entry,
    signature, snapshot,
};
use quorate_ledger::state::{State, WriteSet};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

/// The service's nodes, ledger and state.
pub struct Service {
    /// The nodes that have ever been.
    pub nodes: Vec<NodeNotary>,
    /// Which of them leads.
    pub leader: usize,
    /// Its view.
    pub view: u64,
    /// The ledger secret.
    pub secret: LedgerSecret,
    /// All entries.
    pub entries: Vec<Arc<[u8]>>,
    /// The tree over them.
    pub tree: Tree,
    /// Seqnos of signatures.
    pub signatures: Vec<u64>,
    /// The state behind the last entry.
    pub state: State,
    /// First seqno of each view.
    pub views: Vec<u64>,
    /// Now, in milliseconds since 1970.
    pub at_ms: u64,
    seed: u64,
}

/// An EC key of its own for each number.
pub fn ec_key(seed: u64) -> EcKey {
    EcKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

/// A set of puts.
pub fn puts(rows: &[(&str, &str, &str)]) -> WriteSet {
    let mut set = WriteSet::new();
    for (map, key, value) in rows {
        set.put(map, *key, value.as_bytes()).expect("small");
    }
    set
}

impl Service {
    /// A service of one node, open and signed.
    pub fn found(seed: u64, at_ms: u64) -> Self {
        let key = ec_key(seed << 8);
        let service = ec_key((seed << 8) + 255);
        let notary = NodeNotary::found(key, service, "127.0.0.1", at_ms).expect("an address");
        let mut new = Self {
            nodes: vec![notary],
            leader: 0,
            view: 2,
            secret: LedgerSecret::new(SymmetricKey(sha256(&seed.to_be_bytes()).0)),
            entries: Vec::new(),
            tree: Tree::new(),
            signatures: Vec::new(),
            state: State::new(),
            views: Vec::new(),
            at_ms,
            seed,
        };
        let mut set = WriteSet::new();
        new.put_service(&mut set, ServiceStatus::Opening);
        new.put_node(&mut set, 0, NodeStatus::Trusted, false);
        new.endorse(&mut set, 0);
        new.append(set);
        let mut set = WriteSet::new();
        new.put_service(&mut set, ServiceStatus::Open);
        new.append(set);
        new.sign(Flags::NONE);
        new
    }

    /// The id of node number `node`.
    pub fn id(&self, node: usize) -> NodeId {
        self.nodes[node].node()
    }

    /// The service certificate, PEM.
    pub fn certificate(&self) -> &str {
        self.nodes[0].service_certificate()
    }

    /// Writes the service's row.
    pub fn put_service(&self, set: &mut WriteSet, status: ServiceStatus) {
        let cert = self.certificate().to_owned();
        let info =
            ServiceInfo { cert, status, recovery_count: 0, current_service_create_txid: None };
        maps::put_service(set, &info).expect("small");
    }

    /// Writes a node's row.
    pub fn put_node(&self, set: &mut WriteSet, node: usize, status: NodeStatus, committed: bool) {
        let mut info = NodeInfo::new(status);
        info.retired_committed = committed;
        info.peer = format!("peer{node}");
        info.rpc_address = format!("http://127.0.0.1:{}", 8000 + node);
        maps::put_node(set, &self.id(node), &info).expect("small");
    }

    /// Writes a node's certificate.
    pub fn endorse(&self, set: &mut WriteSet, node: usize) {
        let certificate = self.nodes[node].certificate().as_bytes();
        set.put(ENDORSED_CERTIFICATES, node_key(&self.id(node)), certificate).expect("small");
    }

    /// The next transaction's id.
    pub fn next(&self) -> TxId {
        TxId::new(self.view, self.tree.size())
    }

    /// Appends a transaction.
    pub fn append(&mut self, writes: WriteSet) -> TxId {
        self.append_with(writes, Digest::default(), Flags::NONE)
    }

    /// Appends a transaction with claims and flags.
    pub fn append_with(&mut self, writes: WriteSet, claims: Digest, flags: Flags) -> TxId {
        let id = self.next();
        let mut transaction = Transaction::new(id, writes, &self.secret);
        transaction.claims = claims;
        let bytes = transaction.encode(flags, &self.secret).expect("fits");
        self.state.apply(&transaction.writes);
        while (self.views.len() as u64) < id.view {
            self.views.push(id.seqno);
        }
        self.tree.append(entry::leaf(&bytes, &transaction.evidence, &claims));
        self.entries.push(bytes);
        id
    }

    /// The leader signs.
    pub fn sign(&mut self, flags: Flags) -> TxId {
        let (id, notary) = (self.next(), &self.nodes[self.leader]);
        let previous = self.signatures.last().copied().unwrap_or(0);
        let writes =
            signature::make(&self.tree, previous, id, self.at_ms, (notary, notary.certificate()))
                .expect("a tree");
        self.signatures.push(id.seqno);
        self.append_with(writes, Digest::default(), flags)
    }

    /// A new node asks to join, and is endorsed.
    pub fn join(&mut self) -> usize {
        let node = self.nodes.len();
        let mut notary = NodeNotary::new(ec_key((self.seed << 8) + node as u64));
        let leader = &self.nodes[self.leader];
        let certificate = leader.endorse(&notary.public_key(), "localhost", self.at_ms);
        let mut secrets = leader.secrets().expect("it is part of the service");
        secrets.node_certificate = certificate.expect("a key and an address");
        notary.enter(&secrets).expect("they belong together");
        self.nodes.push(notary);
        let mut set = WriteSet::new();
        self.put_node(&mut set, node, NodeStatus::Pending, false);
        self.endorse(&mut set, node);
        self.append(set);
        node
    }

    /// One transaction makes nodes trusted and others retired.
    pub fn reconfigure(&mut self, trusted: &[usize], retired: &[usize]) -> TxId {
        let mut set = WriteSet::new();
        for node in trusted {
            self.put_node(&mut set, *node, NodeStatus::Trusted, false);
        }
        for node in retired {
            self.put_node(&mut set, *node, NodeStatus::Retired, false);
        }
        self.append(set)
    }

    /// The retirement of a node is committed.
    pub fn retire_for_good(&mut self, node: usize) {
        let mut set = WriteSet::new();
        self.put_node(&mut set, node, NodeStatus::Retired, true);
        self.append(set);
    }

    /// The rows of a retired node are removed.
    pub fn remove(&mut self, node: usize) {
        let mut set = WriteSet::new();
        let key = node_key(&self.id(node));
        set.delete(maps::NODES_INFO, key.clone()).expect("small");
        set.delete(ENDORSED_CERTIFICATES, key).expect("small");
        self.append(set);
    }

    /// Another node leads, in a later view, behind a signature.
    pub fn elect(&mut self, node: usize, views: u64) {
        assert_eq!(self.signatures.last(), Some(&(self.tree.size() - 1)), "behind a signature");
        self.leader = node;
        self.view += views;
    }

    /// The snapshot behind the last entry, which is a signature.
    pub fn snapshot(&self) -> Snapshot {
        let seqno = self.tree.size() - 1;
        assert_eq!(self.signatures.last(), Some(&seqno), "at a signature");
        let leaf = self.tree.leaf(seqno).expect("it is there");
        let (id, views) = (TxId::new(self.view, seqno), self.views.clone());
        Snapshot { id, leaf, views, state: self.state.clone() }
    }

    /// Writes a snapshot's evidence and signs: the snapshot's file and its name.
    pub fn prove(&mut self, of: &Snapshot) -> (SnapshotName, Vec<u8>) {
        let bytes = of.encode(&self.secret).expect("fits");
        let (writes, claims) = snapshot::evidence(&bytes, of.id.seqno).expect("small");
        let id = self.append_with(writes, claims, Flags::NONE);
        self.sign(Flags::NONE);
        let receipt = self.covering(id.seqno).receipt(self.entry(id.seqno), &self.secret);
        let file = [bytes, receipt.expect("it is signed").to_json()].concat();
        (SnapshotName { seqno: of.id.seqno, evidence: id.seqno, committed: true }, file)
    }

    /// The entry of a transaction.
    pub fn entry(&self, seqno: u64) -> &[u8] {
        &self.entries[usize::try_from(seqno).expect("small") - 1]
    }

    /// The first signature after a transaction.
    pub fn covering(&self, seqno: u64) -> Covering {
        let next = self.signatures.iter().find(|signature| **signature > seqno);
        let entry = self.entry(*next.expect("a signature follows"));
        Covering::new(&Transaction::decode(entry, &self.secret).expect("ours")).expect("ours")
    }

    /// The ledger's files: cut where entries say, up to the last signature.
    pub fn files(&self) -> Vec<(ChunkName, Vec<u8>)> {
        let (mut files, mut first) = (Vec::new(), 1);
        for seqno in 1..self.tree.size() {
            let head = entry::Head::read(self.entry(seqno)).expect("ours");
            if head.flags.ends_chunk() {
                let entries = (first..=seqno).map(|seqno| self.entry(seqno));
                let bytes = files::chunk(entries).expect("small");
                files.push((ChunkName { first, last: Some(seqno), committed: true }, bytes));
                first = seqno + 1;
            }
        }
        let open: Vec<u8> =
            (first..self.tree.size()).flat_map(|s| self.entry(s)).copied().collect();
        if !open.is_empty() {
            let bytes = [&[0; files::CHUNK_HEADER][..], &open].concat();
            files.push((ChunkName { first, last: None, committed: false }, bytes));
        }
        files
    }

    /// A life of a service: users' transactions in public and private maps, large ones, elections,
    /// nodes that join, lead, retire and are removed, a snapshot. Returns the snapshot's file.
    pub fn live(&mut self) -> (SnapshotName, Vec<u8>) {
        for number in 0..10 {
            let (key, value) = (format!("key{number}"), format!("value{number}"));
            self.append(puts(&[("public:records", &key, &value), ("private", &key, &value)]));
        }
        let mut set = puts(&[("private", "key3", "again"), ("public:other", "", "")]);
        set.delete("public:records", *b"key4").expect("small");
        set.delete("private", *b"never there").expect("small");
        self.append_with(set, sha256(b"a claim"), Flags::NONE);
        self.sign(Flags::ENDS_CHUNK);
        let (one, two) = (self.join(), self.join());
        self.reconfigure(&[one, two], &[]);
        self.sign(Flags::NONE);
        self.sign(Flags::NONE);
        self.elect(one, 1);
        self.append(puts(&[("private", "big", &"x".repeat(700_000))]));
        self.append(puts(&[("public:records", "big", &"y".repeat(300_000))]));
        self.sign(Flags::ENDS_CHUNK);
        let three = self.join();
        self.reconfigure(&[three], &[0]);
        self.sign(Flags::NONE);
        self.retire_for_good(0);
        self.sign(Flags::NONE);
        self.elect(three, 3);
        self.remove(0);
        self.sign(Flags::ENDS_CHUNK);
        let snapshot = self.snapshot();
        for number in 0..40 {
            self.append(puts(&[("public:records", "counter", &number.to_string())]));
            if number % 7 == 0 {
                self.sign(Flags::NONE);
            }
        }
        let proven = self.prove(&snapshot);
        self.append(puts(&[("public:records", "last", "one")]));
        self.sign(Flags::ENDS_CHUNK);
        proven
    }
}
