//! Keys of nodes and services: keyed hashes in most seeds, real ones in a fixed share of them.
//!
//! Real keys are those of a node: ECDSA on P-256, X.509 certificates, COSE. They must be made in a
//! thread that signs the same way every time ([`quorate_crypto::made::repeat`]).

mod hashed;

use quorate_crypto::ec::{EcKey, EcPublic};
use quorate_crypto::hash::{Digest, sha256, sha256_concat};
use quorate_ledger::ccf::notary::NodeNotary;
use quorate_ledger::ccf::receipt::Receipt;
use quorate_ledger::ccf::signature::{Identities, NotaryError, ServiceSecrets};
use quorate_ledger::ccf::{Notary, Signed, TxId, snapshot};
use quorate_replica::cft::keys::Keys;

use self::hashed::HashedKeys;

/// Which keys the nodes of a seed have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Keyed hashes.
    Hashed,
    /// Those of a node.
    Real,
}

/// The keys of one node.
#[derive(Debug)]
pub enum NodeKeys {
    /// Keyed hashes.
    Hashed(HashedKeys),
    /// Those of a node.
    Real(Box<NodeNotary>),
}

/// What a receipt proves: the digest of the entry, if it is no signature, and of the claims.
pub type Proven = (Option<Digest>, Digest);

/// The same key for the same name.
fn named(name: &Digest) -> EcKey {
    EcKey::from_number(&name.0).expect("only one number in 2^32 is none")
}

fn numbered(node: u64) -> EcKey {
    named(&sha256_concat(&[b"simulated node ", &node.to_be_bytes()]))
}

/// A node's address without its port: what its certificate is for.
fn host(address: &str) -> &str {
    address.split_once(':').map_or(address, |(host, _)| host)
}

impl Kind {
    /// The keys of the node with this number.
    #[must_use]
    pub fn keys(self, node: u64) -> NodeKeys {
        match self {
            Self::Hashed => NodeKeys::Hashed(HashedKeys::new(node)),
            Self::Real => NodeKeys::Real(Box::new(NodeNotary::new(numbered(node)))),
        }
    }

    /// What a node enters with that makes a service. The service's key follows from `name`.
    ///
    /// # Panics
    /// If no certificate can be made.
    #[must_use]
    pub fn found(self, node: u64, name: &[u8], at_ms: u64) -> ServiceSecrets {
        match self {
            Self::Hashed => HashedKeys::new(node).found(name),
            Self::Real => {
                let founded =
                    NodeNotary::found(numbered(node), named(&sha256(name)), "founder", at_ms);
                let secrets = founded.expect("it can be certified").secrets();
                secrets.expect("it is part of its own service")
            }
        }
    }

    /// Checks a receipt (JSON) by the certificate of the service, or of one that followed it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_receipt(self, json: &[u8], service: &str) -> Result<Proven, String> {
        let receipt = Receipt::from_json(json).map_err(|error| error.to_string())?;
        match self {
            Self::Hashed => hashed::check_receipt(&receipt, service),
            Self::Real => {
                let proven = receipt.verify(service).map_err(|error| error.to_string())?;
                Ok((proven.write_set, proven.claims))
            }
        }
    }
}

impl NodeKeys {
    fn notary(&self) -> &dyn Notary {
        match self {
            Self::Hashed(keys) => keys,
            Self::Real(keys) => keys.as_ref(),
        }
    }

    /// Links an earlier identity of the service to the one that was entered: the earlier key's
    /// certificate by this one, and the earlier key's signature over this one's certificate.
    ///
    /// # Panics
    /// Before [`Notary::enter`].
    #[must_use]
    pub fn link(&self, earlier: &ServiceSecrets, at_ms: u64) -> (String, Option<Vec<u8>>) {
        match self {
            Self::Hashed(keys) => {
                let by = keys.service_certificate();
                (hashed::endorsed(&earlier.service_certificate, by), None)
            }
            Self::Real(keys) => {
                let linked = keys.link(&earlier.service_key, at_ms);
                let (endorsement, handover) = linked.expect("it has entered");
                (endorsement, Some(handover))
            }
        }
    }
}

impl Notary for NodeKeys {
    fn node(&self) -> Digest {
        self.notary().node()
    }

    fn public_key(&self) -> Vec<u8> {
        self.notary().public_key()
    }

    fn certificate(&self) -> &str {
        self.notary().certificate()
    }

    fn service_certificate(&self) -> &str {
        self.notary().service_certificate()
    }

    fn sign(&self, root: &Digest, id: TxId, at_ms: u64) -> Signed {
        self.notary().sign(root, id, at_ms)
    }

    fn verify(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        self.notary().verify(root, id, signed, by)
    }

    fn is_endorsed(&self, node: &Digest, certificate: &str, service: &str) -> bool {
        self.notary().is_endorsed(node, certificate, service)
    }

    fn endorse(&self, public_key: &[u8], address: &str, at_ms: u64) -> Result<String, NotaryError> {
        self.notary().endorse(public_key, host(address), at_ms)
    }

    fn service_key(&self) -> Result<Vec<u8>, NotaryError> {
        self.notary().service_key()
    }

    fn enter(&mut self, secrets: &ServiceSecrets) -> Result<(), NotaryError> {
        match self {
            Self::Hashed(keys) => keys.enter(secrets),
            Self::Real(keys) => keys.enter(secrets),
        }
    }
}

impl Keys for NodeKeys {
    fn prove(&self, statement: &Digest) -> Vec<u8> {
        match self {
            Self::Hashed(keys) => keys.prove(statement),
            Self::Real(keys) => keys.key().sign_digest(statement),
        }
    }

    fn check(&self, public_key: &[u8], statement: &Digest, proof: &[u8]) -> bool {
        match self {
            Self::Hashed(_) => hashed::proves(public_key, statement, proof),
            Self::Real(_) => {
                EcPublic::from_spki(public_key).is_ok_and(|key| key.verify_digest(statement, proof))
            }
        }
    }

    fn check_snapshot<'a>(&self, file: &'a [u8], service: &str) -> Result<&'a [u8], String> {
        let (snapshot, receipt) = snapshot::split(file).map_err(|error| error.to_string())?;
        let kind = match self {
            Self::Hashed(_) => Kind::Hashed,
            Self::Real(_) => Kind::Real,
        };
        let (_, claims) = kind.check_receipt(receipt, service)?;
        if claims == sha256(snapshot) {
            Ok(snapshot)
        } else {
            Err("the receipt is not that of the snapshot".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_crypto::hash::sha256;
    use quorate_crypto::made;
    use quorate_ledger::ccf::signature::Identities;
    use quorate_ledger::ccf::{Notary as _, TxId};
    use quorate_replica::cft::keys::Keys as _;

    use super::{Kind, NodeKeys};

    const AT_MS: u64 = 1_700_000_000_000;

    fn founder(kind: Kind, name: &[u8]) -> NodeKeys {
        let mut keys = kind.keys(0);
        keys.enter(&kind.found(0, name, AT_MS)).expect("its own service");
        keys
    }

    #[test]
    fn both_kinds_sign_the_same_way_every_time_and_refuse_the_same() {
        let _memory = made::repeat();
        for kind in [Kind::Hashed, Kind::Real] {
            let (one, again) = (founder(kind, b"service"), founder(kind, b"service"));
            let (root, other, id) = (sha256(b"root"), sha256(b"other"), TxId::new(2, 7));
            let signed = one.sign(&root, id, AT_MS);
            assert_eq!(signed, again.sign(&root, id, AT_MS), "{kind:?}");
            let by = Identities { node: one.certificate(), service: one.service_certificate() };
            assert!(one.verify(&root, id, &signed, by), "{kind:?}");
            assert!(!one.verify(&other, id, &signed, by), "{kind:?}");
            assert!(!one.verify(&root, TxId::new(2, 8), &signed, by), "{kind:?}");

            let joiner = kind.keys(1);
            let issued = one.endorse(&joiner.public_key(), "n1:8000", AT_MS).expect("issued");
            let service = one.service_certificate();
            assert!(one.is_endorsed(&joiner.node(), &issued, service), "{kind:?}");
            assert!(!one.is_endorsed(&one.node(), &issued, service), "{kind:?}");
            let proof = joiner.prove(&root);
            assert!(one.check(&joiner.public_key(), &root, &proof), "{kind:?}");
            assert!(!one.check(&one.public_key(), &root, &proof), "{kind:?}");
        }
    }
}
