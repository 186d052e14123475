//! Signature transactions: the leader signs the root over everything before. `[7.3]`
//!
//! Such a transaction writes three rows: the node's signature (JSON), the service's (COSE), and the
//! Merkle tree, flushed up to the signature before. Two signatures, so that old and new receipts can
//! be made of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::hash::Digest;
use serde::{Deserialize, Serialize};

use super::entry::Transaction;
use super::maps::{COSE_SIGNATURES, NodeId, RowError, SIGNATURES, SINGLE, TREE, read_row, row};
use super::tree::{Tree, TreeError};
use super::txid::TxId;
use crate::state::{WriteError, WriteSet};

/// Longest signature over a root in either form, and longest certificate, in bytes.
pub const MAX_SIGNATURE: usize = 8 * 1024;

/// Both signatures over a root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signed {
    /// The node's: ECDSA over the 32-byte root as the digest, DER.
    pub node: Vec<u8>,
    /// The service's: COSE_Sign1 whose detached payload is the root.
    pub service: Vec<u8>,
}

/// With what a signature is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identities<'a> {
    /// The certificate of the node that signed, PEM.
    pub node: &'a str,
    /// The service certificate, PEM.
    pub service: &'a str,
}

/// What a new node needs to be part of a service, from one that is: secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceSecrets {
    /// The service's private key, in the notary's own form.
    pub service_key: Vec<u8>,
    /// The service certificate, PEM.
    pub service_certificate: String,
    /// The node's certificate by the service, PEM.
    pub node_certificate: String,
}

impl std::fmt::Debug for ServiceSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceSecrets(redacted)")
    }
}

/// Why a notary does not do what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotaryError {
    /// A key or certificate is not what it must be.
    #[error("{0}")]
    Identity(String),
    /// The node is not part of a service.
    #[error("the node has no service identity yet")]
    NoService,
}

/// Who signs for a node and checks what other nodes signed. [`super::notary::NodeNotary`] is the real
/// one; a simulator has one that is deterministic.
pub trait Notary {
    /// The node's id: SHA-256 of [`Notary::public_key`].
    fn node(&self) -> NodeId;

    /// The node's public key (SPKI DER).
    fn public_key(&self) -> Vec<u8>;

    /// The node's certificate by the service, PEM; empty before [`Notary::enter`].
    fn certificate(&self) -> &str;

    /// The service certificate, PEM; empty before [`Notary::enter`].
    fn service_certificate(&self) -> &str;

    /// Signs the root that the signature transaction `id` carries. `at_ms` is the time since 1970
    /// in milliseconds.
    ///
    /// # Panics
    /// Before [`Notary::enter`]: a node that is not part of a service leads none.
    fn sign(&self, root: &Digest, id: TxId, at_ms: u64) -> Signed;

    /// Whether both signatures over the root of signature transaction `id` are right.
    fn verify(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool;

    /// Whether a certificate (PEM) is that of this node, issued by the service.
    fn is_endorsed(&self, node: &NodeId, certificate: &str, service: &str) -> bool {
        super::notary::is_endorsed(node, certificate, service)
    }

    /// Issues the service's certificate, PEM, to the node with this public key (SPKI DER) that is
    /// reached at `address`. `at_ms` as in [`Notary::sign`].
    ///
    /// # Errors
    /// [`NotaryError`].
    fn endorse(&self, public_key: &[u8], address: &str, at_ms: u64) -> Result<String, NotaryError>;

    /// The service's private key, for a node that joins: secret.
    ///
    /// # Errors
    /// [`NotaryError::NoService`].
    fn service_key(&self) -> Result<Vec<u8>, NotaryError>;

    /// The node becomes part of a service.
    ///
    /// # Errors
    /// [`NotaryError::Identity`] if keys and certificates do not belong together; nothing has
    /// changed.
    fn enter(&mut self, secrets: &ServiceSecrets) -> Result<(), NotaryError>;
}

/// Why a signature transaction does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A row is not understood.
    #[error("signature: {0}")]
    Row(#[from] RowError),
    /// A row is missing.
    #[error("signature: no row in {0}")]
    Missing(&'static str),
    /// The row is that of another transaction.
    #[error("signature: the row is of transaction {row}, in transaction {transaction}")]
    OtherTransaction {
        /// What the row says.
        row: TxId,
        /// Where it stands.
        transaction: TxId,
    },
    /// The signed root is not that of the entries before.
    #[error("signature at {0}: the signed root is not that of the entries before")]
    Root(TxId),
    /// One of the signatures is wrong.
    #[error("signature at {0}: a signature over the root is wrong")]
    Wrong(TxId),
    /// The tree cannot be had or does not fit.
    #[error("signature: {0}")]
    Tree(#[from] TreeError),
    /// The rows do not fit into a transaction.
    #[error("signature: {0}")]
    Write(#[from] WriteError),
}

/// The row of [`SIGNATURES`], with the keys of CCF.
#[derive(Serialize, Deserialize)]
struct SignatureRow {
    /// base64 of the ECDSA signature, DER.
    sig: String,
    node: NodeId,
    seqno: u64,
    view: u64,
    commit_seqno: u64,
    commit_view: u64,
    root: Digest,
    hashed_nonce: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cert: Option<String>,
}

/// Whether a transaction is a signature, by what it writes.
#[must_use]
pub fn is_signature(writes: &WriteSet) -> bool {
    writes.get(SIGNATURES, &SINGLE).is_some()
}

/// What the signature transaction `id` writes: the root over the tree's leaves below `id.seqno`,
/// signed by a node and, as its row says, under this certificate of it. The tree written is flushed
/// up to `previous`, the seqno of the signature before (0: none).
///
/// # Errors
/// [`SignatureError::Tree`] if the tree does not have these leaves, [`SignatureError::Write`].
pub fn make<N: Notary + ?Sized>(
    tree: &Tree,
    previous: u64,
    id: TxId,
    at_ms: u64,
    (notary, certificate): (&N, &str),
) -> Result<WriteSet, SignatureError> {
    let root = tree.root_at(id.seqno)?;
    let signed = notary.sign(&root, id, at_ms);
    let certificate = Some(certificate.to_owned());
    Signature { id, node: notary.node(), root, signed, certificate }.rows(tree, previous)
}

/// A signature transaction, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Its id.
    pub id: TxId,
    /// The node that signed.
    pub node: NodeId,
    /// The root over all entries before.
    pub root: Digest,
    /// Both signatures over it.
    pub signed: Signed,
    /// The certificate of the node, PEM, if the row has it.
    pub certificate: Option<String>,
}

impl Signature {
    /// Reads the rows of a signature transaction; `None` if it is none. Nothing is verified but that
    /// the rows are of this transaction.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn read(transaction: &Transaction) -> Result<Option<Self>, SignatureError> {
        let writes = &transaction.writes;
        if !is_signature(writes) {
            return Ok(None);
        }
        let get = |map: &'static str| match writes.get(map, &SINGLE) {
            Some(Some(row)) => Ok(row),
            _ => Err(SignatureError::Missing(map)),
        };
        let row: SignatureRow = read_row(SIGNATURES, get(SIGNATURES)?)?;
        let id = TxId::new(row.view, row.seqno);
        if id != transaction.id {
            return Err(SignatureError::OtherTransaction { row: id, transaction: transaction.id });
        }
        let cose: String = read_row(COSE_SIGNATURES, get(COSE_SIGNATURES)?)?;
        let signed = Signed {
            node: decode(SIGNATURES, &row.sig)?,
            service: decode(COSE_SIGNATURES, &cose)?,
        };
        if row.cert.as_ref().is_some_and(|cert| cert.len() > MAX_SIGNATURE) {
            return Err(too_long(SIGNATURES).into());
        }
        let (node, root, certificate) = (row.node, row.root, row.cert);
        Ok(Some(Self { id, node, root, signed, certificate }))
    }

    /// What a transaction with this signature writes, and nothing else, if the signature before is at
    /// `previous` (0: none).
    ///
    /// # Errors
    /// [`SignatureError::Tree`] if the tree does not have these leaves, [`SignatureError::Write`].
    pub fn rows(&self, tree: &Tree, previous: u64) -> Result<WriteSet, SignatureError> {
        let serialised = tree.serialise(previous, self.id.seqno)?;
        let signature = SignatureRow {
            sig: STANDARD.encode(&self.signed.node),
            node: self.node,
            seqno: self.id.seqno,
            view: self.id.view,
            commit_seqno: 0,
            commit_view: 0,
            root: self.root,
            hashed_nonce: Digest::default(),
            cert: self.certificate.clone(),
        };
        let mut writes = WriteSet::new();
        writes.put(SIGNATURES, SINGLE, row(&signature))?;
        writes.put(COSE_SIGNATURES, SINGLE, row(&STANDARD.encode(&self.signed.service)))?;
        writes.put(TREE, SINGLE, serialised)?;
        Ok(writes)
    }

    /// Checks the signed root against the own tree, and both signatures. The caller knows that the
    /// node was trusted, and its certificate.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify<N: Notary + ?Sized>(
        &self,
        tree: &Tree,
        by: Identities<'_>,
        notary: &N,
    ) -> Result<(), SignatureError> {
        if tree.root_at(self.id.seqno)? != self.root {
            return Err(SignatureError::Root(self.id));
        }
        if notary.verify(&self.root, self.id, &self.signed, by) {
            Ok(())
        } else {
            Err(SignatureError::Wrong(self.id))
        }
    }
}

/// The Merkle tree in a signature transaction.
///
/// # Errors
/// [`SignatureError`].
pub fn tree_of(writes: &WriteSet) -> Result<Tree, SignatureError> {
    match writes.get(TREE, &SINGLE) {
        Some(Some(tree)) => Ok(Tree::deserialise(tree)?),
        _ => Err(SignatureError::Missing(TREE)),
    }
}

fn decode(map: &'static str, text: &str) -> Result<Vec<u8>, RowError> {
    if text.len() > 2 * MAX_SIGNATURE {
        return Err(too_long(map));
    }
    STANDARD.decode(text).map_err(|error| RowError { map, why: error.to_string() })
}

fn too_long(map: &'static str) -> RowError {
    RowError { map, why: "longer than any signature or certificate".to_owned() }
}

#[cfg(test)]
mod tests;
