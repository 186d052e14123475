//! What a member does with keys: its node's own and, once admitted, the service's.

use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::{Notary, snapshot};

/// The keys of a node: [`Notary`], and the proof that it has the key that it joins with. One
/// implementation has real keys; a simulator's are keyed hashes in most of its seeds.
pub trait Keys: Notary {
    /// Signs a statement with the node's key.
    fn prove(&self, statement: &Digest) -> Vec<u8>;

    /// Whether a node with this public key (SPKI DER) signed the statement.
    fn check(&self, public_key: &[u8], statement: &Digest, proof: &[u8]) -> bool;

    /// The snapshot at the front of a file, if the receipt behind it holds for a service
    /// certificate (PEM).
    ///
    /// # Errors
    /// Why not.
    fn check_snapshot<'a>(&self, file: &'a [u8], service: &str) -> Result<&'a [u8], String> {
        let checked = snapshot::verify(file, service);
        checked.map(|(snapshot, _)| snapshot).map_err(|error| error.to_string())
    }
}
