//! Checks a whole ledger, entry by entry: what CCF's tools check, and what they leave out. `[8.1]`
//!
//! | checked | of |
//! |---|---|
//! | one encoding, limits, types | every entry |
//! | seqnos follow each other; views never go back, and go on only after a signature | every entry |
//! | commit evidence is that of the ledger secret, private maps open | every entry, if the secret is given |
//! | rows are understood; nodes and service change only as they may | built-in maps |
//! | certificates are issued by the service, to the node they stand with | endorsed certificates |
//! | signed by a node that is or was trusted; root, both signatures, tree | every signature |
//! | the claims digest is that of the snapshot | snapshot evidence |
//! | names, tables, contiguity, flags, ends on a signature | chunk files |

use std::collections::BTreeMap;

use quorate_crypto::hash::Digest;

use super::entry::{EntryError, Flags, Head, Transaction, leaf_of};
use super::files::{ChunkError, ChunkName, entries};
use super::maps;
use super::maps::{
    ENDORSED_CERTIFICATES, NodeId, NodeInfo, NodeStatus, RowError, SERVICE_INFO, SINGLE,
    SNAPSHOT_EVIDENCE, ServiceInfo, SnapshotEvidence, node_of_key, nodes_written, read_row,
};
use super::notary;
use super::secret::LedgerSecret;
use super::signature::{Identities, Notary, Signature, SignatureError, Signed, tree_of};
use super::snapshot::{Snapshot, SnapshotError};
use super::tree::Tree;
use super::txid::TxId;

/// Who says whether signatures and certificates hold.
pub trait Verifier {
    /// Whether both signatures over the root of signature transaction `id` are right.
    fn signed(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool;

    /// Whether a certificate is that of this node, issued by the service.
    fn endorsed(&self, node: &NodeId, certificate: &str, service: &str) -> bool;
}

/// Checks with real keys and certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EcVerifier;

impl Verifier for EcVerifier {
    fn signed(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        notary::verify(root, id, signed, by)
    }

    fn endorsed(&self, node: &NodeId, certificate: &str, service: &str) -> bool {
        notary::is_endorsed(node, certificate, service)
    }
}

/// Whoever signs can check, too.
impl<N: Notary + ?Sized> Verifier for &N {
    fn signed(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        self.verify(root, id, signed, by)
    }

    fn endorsed(&self, node: &NodeId, certificate: &str, service: &str) -> bool {
        self.is_endorsed(node, certificate, service)
    }
}

/// What is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The entry is none.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// A row of a built-in map is not understood.
    #[error("{0}")]
    Row(#[from] RowError),
    /// The signature does not hold.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// The snapshot does not hold.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    /// The chunk file is none.
    #[error("{0}")]
    Chunk(#[from] ChunkError),
    /// The entry has another id than the one before lets it have.
    #[error("transaction {found} follows {last}")]
    Order {
        /// The entry before.
        last: TxId,
        /// The entry.
        found: TxId,
    },
    /// A new view begins, but the entry before is no signature.
    #[error("view {view} begins behind unsigned transaction {last}")]
    UnsignedSuffix {
        /// The entry before.
        last: TxId,
        /// The new view.
        view: u64,
    },
    /// The commit evidence is not that of the ledger secret.
    #[error("the commit evidence is not that of the ledger secret")]
    Evidence,
    /// The claims are not those of what the transaction writes.
    #[error("the claims digest is not that of the snapshot")]
    Claims,
    /// A node or the service changes as it may not.
    #[error("{0}")]
    Change(String),
    /// A node signs that is not trusted, or is unknown.
    #[error("node {0} signs, but may not")]
    Signer(NodeId),
    /// The tree in a signature is not that of the ledger, or does not begin at the last signature.
    #[error("the tree of the signature is not that of the ledger since the last signature")]
    Tree,
    /// A certificate does not hold.
    #[error("the certificate of node {0} is not issued to it by the service")]
    Certificate(NodeId),
    /// A file does not hold what its name says, or does not end where entries say.
    #[error("file {name}: {why}")]
    File {
        /// The file.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ledger, at seqno {seqno}: {wrong}")]
pub struct ValidateError {
    /// The seqno that the entry should have.
    pub seqno: u64,
    /// What is wrong.
    pub wrong: Wrong,
}

/// An entry that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Its id.
    pub id: TxId,
    /// Its flags.
    pub flags: Flags,
    /// Whether it is a signature: everything up to here is proven.
    pub signature: bool,
}

struct Node {
    info: NodeInfo,
    certificate: Option<String>,
}

/// Checks a ledger's entries in order. After an error it must not be used any more.
pub struct Validator<V> {
    verifier: V,
    secret: Option<LedgerSecret>,
    tree: Tree,
    last: TxId,
    signed: TxId,
    signatures: u64,
    service: Option<ServiceInfo>,
    nodes: BTreeMap<NodeId, Node>,
}

impl<V> std::fmt::Debug for Validator<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Validator(at {}, signed up to {})", self.last, self.signed)
    }
}

impl<V: Verifier> Validator<V> {
    /// For a ledger from its first entry on. With the ledger secret private maps and commit evidence
    /// are checked, too.
    #[must_use]
    pub fn new(verifier: V, secret: Option<LedgerSecret>) -> Self {
        Self {
            verifier,
            secret,
            tree: Tree::new(),
            last: TxId::default(),
            signed: TxId::default(),
            signatures: 0,
            service: None,
            nodes: BTreeMap::new(),
        }
    }

    /// For a ledger behind a snapshot, which the caller knows to be right.
    ///
    /// # Errors
    /// [`Wrong`].
    pub fn after(
        snapshot: &Snapshot,
        verifier: V,
        secret: Option<LedgerSecret>,
    ) -> Result<Self, Wrong> {
        let mut validator = Self::new(verifier, secret);
        validator.tree = snapshot.tree()?;
        validator.last = snapshot.id;
        validator.signed = snapshot.id;
        validator.service = maps::service(&snapshot.state)?;
        for (node, info) in maps::nodes(&snapshot.state)? {
            let row = snapshot.state.get(ENDORSED_CERTIFICATES, &maps::node_key(&node));
            let certificate = row.map(|row| text(row)).transpose()?;
            validator.nodes.insert(node, Node { info, certificate });
        }
        Ok(validator)
    }

    /// The last entry accepted.
    #[must_use]
    pub const fn last(&self) -> TxId {
        self.last
    }

    /// The last signature accepted: what is behind it is not proven.
    #[must_use]
    pub const fn signed(&self) -> TxId {
        self.signed
    }

    /// Number of signatures accepted.
    #[must_use]
    pub const fn signatures(&self) -> u64 {
        self.signatures
    }

    /// The service, as of the last entry.
    #[must_use]
    pub const fn service(&self) -> Option<&ServiceInfo> {
        self.service.as_ref()
    }

    /// The Merkle tree over all entries accepted; flushed up to the last signature.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Checks the next entry.
    ///
    /// # Errors
    /// [`ValidateError`].
    pub fn add(&mut self, entry: &[u8]) -> Result<Accepted, ValidateError> {
        let seqno = self.tree.size();
        self.check(entry).map_err(|wrong| ValidateError { seqno, wrong })
    }

    /// Checks the next chunk file, whose entries are not known yet. A file that is still open may be
    /// the last one only.
    ///
    /// # Errors
    /// [`ValidateError`].
    pub fn add_chunk(&mut self, name: &ChunkName, bytes: &[u8]) -> Result<(), ValidateError> {
        let fail = |seqno, wrong| ValidateError { seqno, wrong };
        let file = |why| Wrong::File { name: name.to_string(), why };
        let first = self.tree.size();
        if name.first != first {
            return Err(fail(first, file("it does not begin where the one before ends")));
        }
        let (entries, complete) = entries(bytes).map_err(|error| fail(first, error.into()))?;
        let count = entries.len() as u64;
        if name.last.is_some_and(|last| last - first + 1 != count) {
            return Err(fail(first, file("it does not hold as many entries as its name says")));
        }
        if name.last.is_some() != complete {
            return Err(fail(first, file("it is complete, or its name says so, but not both")));
        }
        for (place, entry) in entries.iter().enumerate() {
            let (seqno, end) = (self.tree.size(), place + 1 == entries.len());
            let accepted = self.add(entry)?;
            if accepted.flags.starts_chunk() && place != 0 {
                return Err(fail(seqno, file("an entry begins a chunk, but is not the first")));
            }
            if accepted.flags.ends_chunk() && !end {
                return Err(fail(seqno, file("an entry ends the chunk, but others follow")));
            }
            if end && complete && !(accepted.flags.ends_chunk() && accepted.signature) {
                return Err(fail(seqno, file("the last entry is no signature that ends a chunk")));
            }
        }
        Ok(())
    }

    fn check(&mut self, entry: &[u8]) -> Result<Accepted, Wrong> {
        let head = Head::read(entry)?;
        let transaction = match &self.secret {
            Some(secret) => Transaction::decode(entry, secret)?,
            None => Transaction::decode_public(entry)?,
        };
        let id = transaction.id;
        self.check_order(id)?;
        if let Some(secret) = &self.secret
            && transaction.evidence != secret.evidence_digest(id)
        {
            return Err(Wrong::Evidence);
        }
        let recovered = self.check_service(&transaction)?;
        self.check_nodes(&transaction, recovered)?;
        self.check_certificates(&transaction)?;
        self.check_claims(&transaction)?;
        let signature = self.check_signature(&transaction)?;
        self.tree.append(leaf_of(entry)?);
        self.last = id;
        if signature {
            self.tree.flush(id.seqno);
            self.signed = id;
            self.signatures += 1;
        }
        Ok(Accepted { id, flags: head.flags, signature })
    }

    /// Seqnos without a gap; views that never go back, and begin behind a signature: a new leader drops
    /// what is not signed. Before the first signature there is nothing it could keep.
    fn check_order(&self, id: TxId) -> Result<(), Wrong> {
        if id.seqno != self.tree.size() || id.view < self.last.view {
            return Err(Wrong::Order { last: self.last, found: id });
        }
        let unsigned = self.signed != self.last && self.signed.seqno != 0;
        if id.view > self.last.view && unsigned {
            return Err(Wrong::UnsignedSuffix { last: self.last, view: id.view });
        }
        Ok(())
    }

    /// Whether the service got a new identity, as it does when it is recovered.
    fn check_service(&mut self, transaction: &Transaction) -> Result<bool, Wrong> {
        let row = match transaction.writes.get(SERVICE_INFO, &SINGLE) {
            None => return Ok(false),
            Some(None) => return Err(Wrong::Change("the service is removed".to_owned())),
            Some(Some(row)) => row,
        };
        let next: ServiceInfo = read_row(SERVICE_INFO, row)?;
        if let Some(now) = &self.service {
            if !now.status.may_become(next.status) {
                let (now, next) = (now.status, next.status);
                return Err(Wrong::Change(format!("the service becomes {next:?} from {now:?}")));
            }
            let reopened = next.status == maps::ServiceStatus::Opening
                || next.status == maps::ServiceStatus::Recovering;
            if now.cert != next.cert && !reopened {
                return Err(Wrong::Change("the service certificate changes".to_owned()));
            }
        }
        let recovered = self.service.as_ref().is_some_and(|now| now.cert != next.cert);
        self.service = Some(next);
        Ok(recovered)
    }

    /// In a recovery the nodes of before are gone, whether they retired or not.
    fn check_nodes(&mut self, transaction: &Transaction, recovered: bool) -> Result<(), Wrong> {
        for (node, row) in nodes_written(&transaction.writes)? {
            let now = self.nodes.get(&node).map(|known| &known.info);
            let change = |what: &str| Wrong::Change(format!("node {node} {what}"));
            let Some(next) = row else {
                match now {
                    Some(now) if now.status == NodeStatus::Pending || now.retired_committed => {
                        self.nodes.remove(&node);
                    }
                    Some(_) => return Err(change("is removed, but has not retired")),
                    None => return Err(change("is removed, but unknown")),
                }
                continue;
            };
            if next.status < now.map_or(NodeStatus::Pending, |now| now.status) {
                return Err(change("goes back in its status"));
            }
            let committed = now.is_some_and(|now| now.retired_committed);
            let retired = recovered || now.is_some_and(|now| now.status == NodeStatus::Retired);
            if next.retired_committed && !retired || committed && !next.retired_committed {
                return Err(change("has or had its retirement committed, but not retired"));
            }
            match self.nodes.get_mut(&node) {
                Some(known) => known.info = next,
                None => {
                    self.nodes.insert(node, Node { info: next, certificate: None });
                }
            }
        }
        Ok(())
    }

    fn check_certificates(&mut self, transaction: &Transaction) -> Result<(), Wrong> {
        for (key, row) in transaction.writes.rows(ENDORSED_CERTIFICATES) {
            let node = node_of_key(key).ok_or_else(|| malformed("the key is no node id"))?;
            let certificate = row.map(|row| text(row)).transpose()?;
            if let Some(certificate) = &certificate {
                let service = self.service.as_ref().map_or("", |service| &service.cert);
                if !self.verifier.endorsed(&node, certificate, service) {
                    return Err(Wrong::Certificate(node));
                }
            }
            match self.nodes.get_mut(&node) {
                Some(known) => known.certificate = certificate,
                None if certificate.is_none() => {}
                None => return Err(Wrong::Change(format!("node {node} is endorsed, but unknown"))),
            }
        }
        Ok(())
    }

    fn check_claims(&self, transaction: &Transaction) -> Result<(), Wrong> {
        let Some(row) = transaction.writes.get(SNAPSHOT_EVIDENCE, &SINGLE).flatten() else {
            return Ok(());
        };
        let evidence: SnapshotEvidence = read_row(SNAPSHOT_EVIDENCE, row)?;
        if evidence.hash == transaction.claims && evidence.version < transaction.id.seqno {
            Ok(())
        } else {
            Err(Wrong::Claims)
        }
    }

    fn check_signature(&self, transaction: &Transaction) -> Result<bool, Wrong> {
        let Some(signature) = Signature::read(transaction)? else { return Ok(false) };
        let signer = Wrong::Signer(signature.node);
        let service = self.service.as_ref().ok_or_else(|| signer.clone())?;
        let node = self.nodes.get(&signature.node).ok_or_else(|| signer.clone())?;
        let certificate = node.certificate.as_ref().ok_or_else(|| signer.clone())?;
        if node.info.status == NodeStatus::Pending {
            return Err(signer);
        }
        if let Some(own) = &signature.certificate
            && !self.verifier.endorsed(&signature.node, own, &service.cert)
        {
            return Err(Wrong::Certificate(signature.node));
        }
        if self.tree.root() != signature.root {
            return Err(SignatureError::Root(signature.id).into());
        }
        let by = Identities { node: certificate, service: &service.cert };
        if !self.verifier.signed(&signature.root, signature.id, &signature.signed, by) {
            return Err(SignatureError::Wrong(signature.id).into());
        }
        let tree = tree_of(&transaction.writes)?;
        let same = tree.first() == self.signed.seqno
            && tree.size() == transaction.id.seqno
            && tree.root() == signature.root;
        if same { Ok(true) } else { Err(Wrong::Tree) }
    }
}

fn malformed(why: &str) -> RowError {
    RowError { map: ENDORSED_CERTIFICATES, why: why.to_owned() }
}

fn text(row: &[u8]) -> Result<String, RowError> {
    let text = std::str::from_utf8(row).map_err(|_| malformed("the certificate is no text"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
