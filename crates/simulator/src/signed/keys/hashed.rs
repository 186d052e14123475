//! Keys of nodes and services by keyed hashes: the same signature every time, in no time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::hash::{Digest, Hasher, sha256, sha256_concat};
use quorate_ledger::ccf::receipt::{ProofStep, Receipt};
use quorate_ledger::ccf::signature::{Identities, NotaryError, ServiceSecrets};
use quorate_ledger::ccf::{Notary, Signed, TxId};

use super::Proven;

/// Begins and ends a certificate, with its subject between.
const BEGIN: &str = "-----BEGIN SIMULATED CERTIFICATE-----\n";
const END: &str = "-----END SIMULATED CERTIFICATE-----\n";

/// Domains of signatures.
const NODE: &str = "quorate.simulated-node.v1";
const SERVICE: &str = "quorate.simulated-service.v1";
const PROOF: &str = "quorate.simulated-proof.v1";

/// The keys of one node.
#[derive(Clone, Debug)]
pub struct HashedKeys {
    public: Vec<u8>,
    service: Option<ServiceSecrets>,
}

fn certificate(subject: &str) -> String {
    format!("{BEGIN}{subject}\n{END}")
}

fn subject(certificate: &str) -> Option<&str> {
    certificate.strip_prefix(BEGIN)?.strip_suffix(END)?.strip_suffix('\n')
}

fn keyed(label: &'static str, key: &[u8], what: &Digest) -> Vec<u8> {
    Hasher::new(label).field(key).field(what.as_bytes()).finish().0.to_vec()
}

/// The certificate of a service with this key.
fn service_certificate(key: &[u8]) -> String {
    certificate(&format!("service {}", sha256(key)))
}

impl HashedKeys {
    /// Of the node with this number.
    pub(super) fn new(node: u64) -> Self {
        let public = [b"simulated node ".as_slice(), &node.to_be_bytes()].concat();
        Self { public, service: None }
    }

    /// What the first node of a service with this key enters with.
    pub(super) fn found(&self, key: &[u8]) -> ServiceSecrets {
        let service_certificate = service_certificate(key);
        let node_certificate = issued(&self.node(), &service_certificate);
        ServiceSecrets { service_key: key.to_vec(), service_certificate, node_certificate }
    }
}

/// The certificate of an earlier service's key by the one that followed.
pub(super) fn endorsed(earlier: &str, by: &str) -> String {
    let (earlier, by) = (subject(earlier).unwrap_or_default(), subject(by).unwrap_or_default());
    certificate(&format!("{earlier} by {by}"))
}

/// The certificate of a node by a service.
fn issued(node: &Digest, service: &str) -> String {
    let by = subject(service).unwrap_or_default();
    certificate(&format!("node {node} by {by}"))
}

/// The service whose key this one's vouches for in `link`.
fn earlier(link: &str, service: &str) -> Option<String> {
    let by = format!(" by {}", subject(service)?);
    Some(certificate(subject(link)?.strip_suffix(&by)?))
}

/// What a receipt proves, if it holds for this service.
pub(super) fn check_receipt(receipt: &Receipt, service: &str) -> Result<Proven, String> {
    // The first link is the oldest.
    let links = receipt.service_endorsements.as_deref().unwrap_or_default();
    let issuer =
        links.iter().rev().try_fold(service.to_owned(), |issuer, link| earlier(link, &issuer));
    if issuer.is_none_or(|issuer| receipt.cert != issued(&receipt.node(), &issuer)) {
        return Err("the certificate is not that of the node".to_owned());
    }
    let (root, proven) = match (&receipt.leaf_components, &receipt.leaf) {
        (Some(leaf), None) => {
            let evidence = sha256(leaf.commit_evidence.as_bytes());
            let (entry, claims) = (leaf.write_set_digest.0, leaf.claims_digest.0);
            let leaf = sha256_concat(&[&entry.0, &evidence.0, &claims.0]);
            let root = receipt.proof.iter().fold(leaf, |below, step| match step {
                ProofStep::Left(other) => sha256_concat(&[&other.0.0, &below.0]),
                ProofStep::Right(other) => sha256_concat(&[&below.0, &other.0.0]),
            });
            (root, (Some(entry), claims))
        }
        (None, Some(root)) => (root.0, (None, Digest::default())),
        _ => return Err("it says too little or too much".to_owned()),
    };
    if receipt.signature != STANDARD.encode(keyed(NODE, receipt.cert.as_bytes(), &root)) {
        return Err("the signature over the root is wrong".to_owned());
    }
    Ok(proven)
}

impl Notary for HashedKeys {
    fn node(&self) -> Digest {
        sha256(&self.public)
    }

    fn public_key(&self) -> Vec<u8> {
        self.public.clone()
    }

    fn certificate(&self) -> &str {
        self.service.as_ref().map_or("", |service| &service.node_certificate)
    }

    fn service_certificate(&self) -> &str {
        self.service.as_ref().map_or("", |service| &service.service_certificate)
    }

    fn sign(&self, root: &Digest, id: TxId, _at_ms: u64) -> Signed {
        let service = self.service.as_ref().expect("only a node of a service signs");
        Signed {
            node: keyed(NODE, service.node_certificate.as_bytes(), root),
            service: keyed(SERVICE, service.service_certificate.as_bytes(), &rooted(root, id)),
        }
    }

    fn verify(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        signed.node == keyed(NODE, by.node.as_bytes(), root)
            && signed.service == keyed(SERVICE, by.service.as_bytes(), &rooted(root, id))
    }

    fn is_endorsed(&self, node: &Digest, certificate: &str, service: &str) -> bool {
        certificate == issued(node, service)
    }

    fn endorse(
        &self,
        public_key: &[u8],
        _address: &str,
        _at_ms: u64,
    ) -> Result<String, NotaryError> {
        let service = self.service.as_ref().ok_or(NotaryError::NoService)?;
        Ok(issued(&sha256(public_key), &service.service_certificate))
    }

    fn service_key(&self) -> Result<Vec<u8>, NotaryError> {
        self.service.as_ref().map(|s| s.service_key.clone()).ok_or(NotaryError::NoService)
    }

    fn enter(&mut self, secrets: &ServiceSecrets) -> Result<(), NotaryError> {
        let wrong = |what: &str| Err(NotaryError::Identity(what.to_owned()));
        if secrets.service_certificate != service_certificate(&secrets.service_key) {
            return wrong("the service certificate is not that of the service key");
        }
        if secrets.node_certificate != issued(&self.node(), &secrets.service_certificate) {
            return wrong("the node certificate is not that of the node");
        }
        self.service = Some(secrets.clone());
        Ok(())
    }
}

/// What is signed: the root, and the transaction that carries it.
fn rooted(root: &Digest, id: TxId) -> Digest {
    let hasher = Hasher::new("quorate.simulated-root.v1").field(root.as_bytes());
    hasher.u64(id.view).u64(id.seqno).finish()
}

impl HashedKeys {
    pub(super) fn prove(&self, statement: &Digest) -> Vec<u8> {
        keyed(PROOF, &self.public, statement)
    }
}

pub(super) fn proves(public_key: &[u8], statement: &Digest, proof: &[u8]) -> bool {
    proof == keyed(PROOF, public_key, statement)
}
