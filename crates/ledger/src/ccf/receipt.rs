//! Receipts: proof that a transaction is in the ledger, checkable offline with the service
//! certificate alone. `[7.4]`
//!
//! A receipt is made of the transaction's entry and the first signature after it, whose tree has
//! the path. The proof never changes, so a receipt can be made again at any time, on any node, and is
//! the same.

use quorate_crypto::cose::{self, CoseError, Inclusion, RootClaims};
use quorate_crypto::hash::{Digest, sha256, sha256_concat};
use quorate_crypto::x509::{Certificate, CertificateError, check_chain};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::entry::{EntryError, Head, Transaction, leaf_of};
use super::maps::NodeId;
use super::secret::LedgerSecret;
use super::signature::{Signature, SignatureError, tree_of};
use super::tree::{MAX_PATH, Step, Tree, TreeError, fold};
use super::txid::TxId;

/// Longest receipt read, in bytes of JSON.
pub const MAX_RECEIPT: usize = 128 * 1024;
/// Most earlier identities of the service between a node and the present one.
pub const MAX_ENDORSEMENTS: usize = 16;

/// A signature transaction, from which receipts of those before it are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Covering {
    /// The signature.
    pub signature: Signature,
    /// The Merkle tree it signs the root of.
    pub tree: Tree,
}

/// Why a receipt cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// The transaction is not a signature.
    #[error("receipt: {0} is not a signature")]
    NoSignature(TxId),
    /// Its rows do not hold.
    #[error("receipt: {0}")]
    Signature(#[from] SignatureError),
    /// The entry is none.
    #[error("receipt: {0}")]
    Entry(#[from] EntryError),
    /// The signature's tree does not have the transaction.
    #[error("receipt: {0}")]
    Tree(#[from] TreeError),
    /// The entry is not the one that was signed.
    #[error("receipt: the entry of {0} is not the one that was signed")]
    OtherEntry(TxId),
    /// The signature does not carry a certificate.
    #[error("receipt: the signature {0} carries no certificate")]
    NoCertificate(TxId),
    /// The COSE signature is none.
    #[error("receipt: {0}")]
    Cose(#[from] CoseError),
}

impl Covering {
    /// Reads a signature transaction. Its signatures are not verified.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn new(transaction: &Transaction) -> Result<Self, MakeError> {
        let signature =
            Signature::read(transaction)?.ok_or(MakeError::NoSignature(transaction.id))?;
        let tree = tree_of(&transaction.writes)?;
        if tree.size() != signature.id.seqno || tree.root() != signature.root {
            return Err(SignatureError::Root(signature.id).into());
        }
        Ok(Self { signature, tree })
    }

    /// Whether a transaction lies between the signature before and this one.
    #[must_use]
    pub fn covers(&self, seqno: u64) -> bool {
        self.tree.first() <= seqno && seqno < self.tree.size()
    }

    /// The receipt of an entry, as JSON.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn receipt(&self, entry: &[u8], secret: &LedgerSecret) -> Result<Receipt, MakeError> {
        let inclusion = self.inclusion(entry, secret)?;
        let steps = inclusion.path.iter().map(|(left, digest)| match left {
            true => ProofStep::Left(Hex(*digest)),
            false => ProofStep::Right(Hex(*digest)),
        });
        let mut receipt = self.signed()?;
        receipt.proof = steps.collect();
        receipt.leaf_components = Some(LeafComponents {
            write_set_digest: Hex(inclusion.write_set),
            commit_evidence: inclusion.evidence,
            claims_digest: Hex(inclusion.claims),
        });
        Ok(receipt)
    }

    /// The receipt of the signature transaction itself, as JSON: what it signed.
    ///
    /// # Errors
    /// [`MakeError::NoCertificate`].
    pub fn own_receipt(&self) -> Result<Receipt, MakeError> {
        let mut receipt = self.signed()?;
        receipt.leaf = Some(Hex(self.signature.root));
        receipt.is_signature_transaction = true;
        Ok(receipt)
    }

    /// The receipt of an entry, as COSE.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn cose(&self, entry: &[u8], secret: &LedgerSecret) -> Result<Vec<u8>, MakeError> {
        Ok(cose::receipt(&self.signature.signed.service, &self.inclusion(entry, secret)?)?)
    }

    fn signed(&self) -> Result<Receipt, MakeError> {
        let certificate = self.signature.certificate.clone();
        Ok(Receipt {
            cert: certificate.ok_or(MakeError::NoCertificate(self.signature.id))?,
            node_id: Hex(self.signature.node),
            signature: STANDARD.encode(&self.signature.signed.node),
            proof: Vec::new(),
            leaf_components: None,
            leaf: None,
            is_signature_transaction: false,
            service_endorsements: None,
        })
    }

    fn inclusion(&self, entry: &[u8], secret: &LedgerSecret) -> Result<Inclusion, MakeError> {
        let transaction = Transaction::decode_public(entry)?;
        let id = Head::read(entry)?.id;
        let path = self.tree.path(id.seqno, self.tree.size())?;
        let same = self.tree.leaf(id.seqno) == Some(leaf_of(entry)?);
        if !same || transaction.evidence != secret.evidence_digest(id) {
            return Err(MakeError::OtherEntry(id));
        }
        Ok(Inclusion {
            write_set: sha256(entry),
            evidence: secret.commit_evidence(id),
            claims: transaction.claims,
            path: path.iter().map(|step| (step.left, step.digest)).collect(),
        })
    }
}

/// A digest as 64 lower-case hex digits: receipts have one spelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex(pub Digest);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest: Digest = text.parse().map_err(serde::de::Error::custom)?;
        if digest.to_string() == text {
            Ok(Self(digest))
        } else {
            Err(serde::de::Error::custom("hex digits in lower case"))
        }
    }
}

/// A sibling on the way to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofStep {
    /// It stands on the left.
    Left(Hex),
    /// It stands on the right.
    Right(Hex),
}

/// What the leaf is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafComponents {
    /// SHA-256 of the entry.
    pub write_set_digest: Hex,
    /// `ce:<view>.<seqno>:<nonce>`.
    pub commit_evidence: String,
    /// Digest of the claims.
    pub claims_digest: Hex,
}

/// A receipt in the JSON form of CCF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Certificate of the node that signed, PEM.
    pub cert: String,
    /// Its id: SHA-256 of its public key.
    pub node_id: Hex,
    /// base64 of its ECDSA signature over the root.
    pub signature: String,
    /// The way from the leaf to the root.
    pub proof: Vec<ProofStep>,
    /// What the leaf is made of; of a transaction that is no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_components: Option<LeafComponents>,
    /// The signed root; of a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<Hex>,
    /// Whether the transaction is a signature.
    pub is_signature_transaction: bool,
    /// Certificates between the node's and the service's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_endorsements: Option<Vec<String>>,
}

/// Why a receipt does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is not JSON of the form.
    #[error("receipt: {0}")]
    Json(String),
    /// It does not say what it must say, or too much.
    #[error("receipt: wrong {0}")]
    Form(&'static str),
    /// A certificate does not hold.
    #[error("receipt: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate is another node's.
    #[error("receipt: the certificate is not that of the node it names")]
    OtherNode,
    /// The signature does not hold for the root.
    #[error("receipt: the signature over the root is wrong")]
    Signature,
    /// A COSE receipt does not hold.
    #[error("receipt: {0}")]
    Cose(#[from] CoseError),
}

/// What a receipt that holds says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The transaction; `None` for a signature's JSON receipt, which does not tell.
    pub id: Option<TxId>,
    /// SHA-256 of its entry, unless it is a signature.
    pub write_set: Option<Digest>,
    /// Digest of its claims; 32 zero bytes if there are none.
    pub claims: Digest,
    /// The signed root.
    pub root: Digest,
}

impl Receipt {
    /// Reads a receipt. Nothing is verified.
    ///
    /// # Errors
    /// [`ReceiptError::Json`].
    pub fn from_json(json: &[u8]) -> Result<Self, ReceiptError> {
        if json.len() > MAX_RECEIPT {
            return Err(ReceiptError::Form("length"));
        }
        serde_json::from_slice(json).map_err(|error| ReceiptError::Json(error.to_string()))
    }

    /// The receipt as JSON.
    ///
    /// # Panics
    /// Never: all keys are strings.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("all keys are strings")
    }

    /// The node that signed.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node_id.0
    }

    /// Checks that the service whose certificate (PEM) this is has the transaction in its ledger. Old
    /// receipts hold for ever: it is not asked whether certificates hold today.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self, service: &str) -> Result<Proven, ReceiptError> {
        let proven = self.proven()?;
        let node = Certificate::from_pem(&self.cert)?;
        if node.key().id() != self.node_id.0 {
            return Err(ReceiptError::OtherNode);
        }
        let endorsements = self.service_endorsements.as_deref().unwrap_or_default();
        if endorsements.len() > MAX_ENDORSEMENTS {
            return Err(ReceiptError::Form("number of endorsements"));
        }
        let between: Result<Vec<_>, _> =
            endorsements.iter().map(|pem| Certificate::from_pem(pem)).collect();
        check_chain(&node, &between?, &Certificate::from_pem(service)?)?;
        let signature = STANDARD.decode(&self.signature);
        let signature = signature.map_err(|_| ReceiptError::Form("signature"))?;
        if node.key().verify_digest(&proven.root, &signature) {
            Ok(proven)
        } else {
            Err(ReceiptError::Signature)
        }
    }

    /// What it says, if it is signed.
    fn proven(&self) -> Result<Proven, ReceiptError> {
        if self.proof.len() > MAX_PATH {
            return Err(ReceiptError::Form("length of the proof"));
        }
        match (&self.leaf_components, &self.leaf, self.is_signature_transaction) {
            (Some(components), None, false) => {
                let path: Vec<Step> = self.proof.iter().map(|step| step.step()).collect();
                let claims = components.claims_digest.0;
                let evidence = &components.commit_evidence;
                let id = id_of(evidence).ok_or(ReceiptError::Form("commit evidence"))?;
                let write_set = components.write_set_digest.0;
                let evidence = sha256(evidence.as_bytes());
                let leaf = sha256_concat(&[&write_set.0, &evidence.0, &claims.0]);
                let root = fold(leaf, &path);
                Ok(Proven { id: Some(id), write_set: Some(write_set), claims, root })
            }
            (None, Some(root), true) if self.proof.is_empty() => {
                Ok(Proven { id: None, write_set: None, claims: Digest::default(), root: root.0 })
            }
            _ => Err(ReceiptError::Form("kind of transaction")),
        }
    }
}

impl ProofStep {
    const fn step(&self) -> Step {
        match self {
            Self::Left(digest) => Step { left: true, digest: digest.0 },
            Self::Right(digest) => Step { left: false, digest: digest.0 },
        }
    }
}

/// The transaction that a commit evidence is of: `ce:<view>.<seqno>:<64 hex digits>`.
#[must_use]
pub fn id_of(evidence: &str) -> Option<TxId> {
    let (id, nonce) = evidence.strip_prefix("ce:")?.split_once(':')?;
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let id: TxId = id.parse().ok()?;
    (nonce.len() == 64 && nonce.bytes().all(hex) && id.is_valid()).then_some(id)
}

/// Checks a COSE receipt by the service certificate (PEM). It must hold one proof.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_cose(receipt: &[u8], service: &str) -> Result<(Proven, RootClaims), ReceiptError> {
    let service = Certificate::from_pem(service)?;
    if !service.is_authority() {
        return Err(CertificateError::Usage.into());
    }
    let (claims, proofs) = cose::verify_receipt(receipt, service.key())?;
    let [proof] = &proofs[..] else { return Err(ReceiptError::Form("number of proofs")) };
    let id = id_of(&proof.evidence).ok_or(ReceiptError::Form("commit evidence"))?;
    let signed: Option<TxId> = claims.txid.parse().ok();
    if signed.is_none_or(|signed| signed.seqno <= id.seqno || signed.view < id.view) {
        return Err(ReceiptError::Form("transaction id"));
    }
    let proven = Proven {
        id: Some(id),
        write_set: Some(proof.write_set),
        claims: proof.claims,
        root: proof.root(),
    };
    Ok((proven, claims))
}

#[cfg(test)]
mod tests;
