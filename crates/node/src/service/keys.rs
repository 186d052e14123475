//! What a member does with its keys.

use quorate_consensus::raft::NodeId;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::ec::{EcKey, EcPublic};
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::notary::NodeNotary;
use quorate_ledger::ccf::signature::{Identities, NotaryError, ServiceSecrets, Signed};
use quorate_ledger::ccf::{self, LedgerSecret, Notary, TxId};
use quorate_replica::cft::keys::Keys;

use crate::keystore::Membership;

/// A key that was kept is none, or does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

pub(super) fn wrong(what: impl std::fmt::Display) -> KeyError {
    KeyError(what.to_string())
}

/// Host name or IP address of an address of clients (`host:port`, or a URL).
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let bare = |text: &'static str| authority.strip_prefix(text);
    if let Some(inner) = bare("[") {
        return inner.split(']').next().unwrap_or(inner);
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// The keys of one member of one `cft` group.
#[derive(Debug)]
pub struct NodeKeys(NodeNotary);

impl NodeKeys {
    /// A new node's private key (PKCS #8).
    pub fn generate() -> Vec<u8> {
        EcKey::generate(&mut rand::rng()).to_pkcs8().to_vec()
    }

    /// The node with this private key (PKCS #8).
    ///
    /// # Errors
    /// If it is no key.
    pub fn open(node_key: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(NodeNotary::new(EcKey::from_pkcs8(node_key).map_err(wrong)?)))
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.node().0)
    }

    /// Makes a service with the node of this key as its first member.
    ///
    /// # Errors
    /// If no certificate can be made.
    pub fn found(node_key: &[u8], address: &str, now_ms: u64) -> Result<Membership, KeyError> {
        let node = EcKey::from_pkcs8(node_key).map_err(wrong)?;
        let service = EcKey::generate(&mut rand::rng());
        let notary = NodeNotary::found(node, service, host_of(address), now_ms).map_err(wrong)?;
        let secrets = notary.secrets().ok_or_else(|| wrong("the service has no secrets"))?;
        let secret = LedgerSecret::new(SymmetricKey::generate(&mut rand::rng()));
        Ok(membership(secrets, &secret))
    }

    /// Links an earlier identity of the service to the one that was entered: see
    /// [`NodeNotary::link`].
    ///
    /// # Errors
    /// If the earlier service key is none.
    pub fn link(&self, earlier: &[u8], at_ms: u64) -> Result<(String, Vec<u8>), KeyError> {
        self.0.link(earlier, at_ms).map_err(wrong)
    }

    /// Takes up what the service gave this node.
    ///
    /// # Errors
    /// If it is not for this node, or not of this service.
    pub fn enter(&mut self, membership: &Membership) -> Result<LedgerSecret, KeyError> {
        let secret = SymmetricKey::from_slice(&membership.ledger_secret);
        let secret = secret.ok_or_else(|| wrong("the ledger secret is none"))?;
        let secrets = ServiceSecrets {
            service_key: membership.service_key.clone(),
            service_certificate: membership.service_certificate.clone(),
            node_certificate: membership.node_certificate.clone(),
        };
        self.0.enter(&secrets).map_err(wrong)?;
        Ok(LedgerSecret::new(secret))
    }
}

/// What is kept of a service's secrets.
pub fn membership(secrets: ServiceSecrets, secret: &LedgerSecret) -> Membership {
    Membership {
        node_certificate: secrets.node_certificate,
        service_certificate: secrets.service_certificate,
        service_key: secrets.service_key,
        ledger_secret: secret.key().as_bytes().to_vec(),
        began: false,
    }
}

impl Notary for NodeKeys {
    fn node(&self) -> ccf::NodeId {
        self.0.node()
    }

    fn public_key(&self) -> Vec<u8> {
        self.0.public_key()
    }

    fn certificate(&self) -> &str {
        self.0.certificate()
    }

    fn service_certificate(&self) -> &str {
        self.0.service_certificate()
    }

    fn sign(&self, root: &Digest, id: TxId, at_ms: u64) -> Signed {
        self.0.sign(root, id, at_ms)
    }

    fn verify(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        self.0.verify(root, id, signed, by)
    }

    fn endorse(&self, public_key: &[u8], address: &str, at_ms: u64) -> Result<String, NotaryError> {
        self.0.endorse(public_key, host_of(address), at_ms)
    }

    fn service_key(&self) -> Result<Vec<u8>, NotaryError> {
        self.0.service_key()
    }

    fn enter(&mut self, secrets: &ServiceSecrets) -> Result<(), NotaryError> {
        self.0.enter(secrets)
    }
}

impl Keys for NodeKeys {
    fn prove(&self, statement: &Digest) -> Vec<u8> {
        self.0.key().sign_digest(statement)
    }

    fn check(&self, public_key: &[u8], statement: &Digest, proof: &[u8]) -> bool {
        EcPublic::from_spki(public_key).is_ok_and(|key| key.verify_digest(statement, proof))
    }
}

#[cfg(test)]
mod tests {
    use quorate_crypto::hash::sha256;
    use quorate_ledger::ccf::Notary as _;
    use quorate_replica::cft::keys::Keys as _;

    use super::{NodeKeys, host_of};

    #[test]
    fn certificates_are_for_the_host_alone() {
        for (address, host) in [
            ("127.0.0.1:8002", "127.0.0.1"),
            ("http://node.example:80/x", "node.example"),
            ("[::1]:8002", "::1"),
            ("node.example", "node.example"),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }

    #[test]
    fn a_service_is_entered_by_its_own_nodes_only() {
        let (first, other) = (NodeKeys::generate(), NodeKeys::generate());
        let founded = NodeKeys::found(&first, "127.0.0.1:8002", 1_700_000_000_000).expect("made");
        let mut node = NodeKeys::open(&first).expect("a key");
        let secret = node.enter(&founded).expect("its own");
        assert_eq!(secret.key().as_bytes().as_slice(), founded.ledger_secret);
        assert_eq!(node.certificate(), founded.node_certificate);
        let mut stranger = NodeKeys::open(&other).expect("a key");
        assert!(stranger.enter(&founded).is_err());
        let issued = node.endorse(&stranger.public_key(), "[::1]:9", 1_700_000_000_000);
        let membership = super::Membership { node_certificate: issued.expect("issued"), ..founded };
        stranger.enter(&membership).expect("issued by the service");
        let statement = sha256(b"statement");
        let proof = stranger.prove(&statement);
        assert!(node.check(&stranger.public_key(), &statement, &proof));
        assert!(!node.check(&node.public_key(), &statement, &proof));
    }
}
