//! What a member does with keys: its node's own and, once admitted, the service's.

use std::fmt;

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_crypto::recipient::EncryptPublicKey;

/// The ledger secret of a service: encrypts private maps and makes commit evidence \[7.1, 7.2\].
#[derive(Clone)]
pub struct Secrets(pub SymmetricKey);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// A key could not be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);

/// The keys of a node. One implementation has real ones; the simulator's are keyed hashes, because
/// ECDSA signatures are random.
pub trait Keys {
    /// This node's public key (SPKI DER). Its SHA-256 is the node's id.
    fn node_key(&self) -> &[u8];

    /// Signs a statement with the node's key.
    fn prove(&self, statement: &Digest) -> Vec<u8>;

    /// Whether a node with this public key signed the statement.
    fn check(&self, node_key: &[u8], statement: &Digest, proof: &[u8]) -> bool;

    /// A certificate (PEM) for a node's public key, issued by the service's key now.
    ///
    /// # Errors
    /// If the service's key is not known here, or the node's is no key.
    fn certify(&self, node_key: &[u8], now_ms: u64) -> Result<String, KeyError>;

    /// Service key and ledger secret, sealed to a joiner.
    ///
    /// # Errors
    /// If the service's key is not known here.
    fn seal(&self, secrets: &Secrets, recipient: &EncryptPublicKey) -> Result<Vec<u8>, KeyError>;

    /// Opens what [`Keys::seal`] made for this node; from now on it can certify and seal itself.
    ///
    /// # Errors
    /// If it is not for this node, or not for this service.
    fn unseal(&mut self, sealed: &[u8], service_certificate: &str) -> Result<Secrets, KeyError>;
}
