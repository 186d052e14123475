//! The notary of a real node: it signs with EC keys and checks certificates.

use std::fmt;

use quorate_crypto::cose::{self, RootClaims};
use quorate_crypto::ec::{EcKey, EcPublic};
use quorate_crypto::hash::{Digest, sha256};
use quorate_crypto::x509::{self, Certificate, Validity};

use super::maps::NodeId;
use super::signature::{Identities, Notary, NotaryError, ServiceSecrets, Signed};
use super::txid::TxId;

/// Who signs, and what about, in COSE signatures.
const ISSUER: &str = "quorate.service";
const SUBJECT: &str = "ledger.signature";
/// A certificate holds so long before it is issued: clocks differ.
const SKEW_SECONDS: i64 = 24 * 3600;
/// And so long after. Nobody renews certificates; who leaves is retired in the ledger.
const VALID_SECONDS: i64 = 20 * 366 * 24 * 3600;

/// The key of a node, and the identity of the service it is part of.
pub struct NodeNotary {
    key: EcKey,
    service: Option<Service>,
}

struct Service {
    key: EcKey,
    certificate: String,
    node_certificate: String,
}

impl NodeNotary {
    /// The notary of a node that is not yet part of a service.
    #[must_use]
    pub const fn new(key: EcKey) -> Self {
        Self { key, service: None }
    }

    /// Makes the node the first of a new service with this key. `host` is the IP address or DNS name it
    /// is reached at, `at_ms` the time since 1970 in milliseconds.
    ///
    /// # Errors
    /// [`NotaryError::Identity`] if a certificate cannot have these contents.
    pub fn found(key: EcKey, service: EcKey, host: &str, at_ms: u64) -> Result<Self, NotaryError> {
        let validity = validity(at_ms);
        let certificate = x509::issue_service(&service, validity).map_err(identity)?.pem();
        let node = x509::issue_node(&service, key.public(), host, validity).map_err(identity)?;
        let service = Service { key: service, certificate, node_certificate: node.pem() };
        Ok(Self { key, service: Some(service) })
    }

    /// Links an earlier identity of the service, whose private key (PKCS #8) this is, to this one: the
    /// earlier key's certificate by this one (PEM), and the earlier key's signature over SHA-256 of
    /// this one's certificate. `[7.6]`
    ///
    /// # Errors
    /// [`NotaryError`] if the key is none, or there is no service to link to.
    pub fn link(&self, earlier: &[u8], at_ms: u64) -> Result<(String, Vec<u8>), NotaryError> {
        let service = self.service.as_ref().ok_or_else(|| identity("there is no service yet"))?;
        let earlier = EcKey::from_pkcs8(earlier).map_err(identity)?;
        let endorsed = x509::issue_endorsement(&service.key, earlier.public(), validity(at_ms));
        let handover = earlier.sign_digest(&sha256(service.certificate.as_bytes()));
        Ok((endorsed.map_err(identity)?.pem(), handover))
    }

    /// The node's key, to be kept in the vault.
    #[must_use]
    pub const fn key(&self) -> &EcKey {
        &self.key
    }

    /// What a node that starts again needs of the service: secret. `None` before it is part of one.
    #[must_use]
    pub fn secrets(&self) -> Option<ServiceSecrets> {
        self.service.as_ref().map(|service| ServiceSecrets {
            service_key: service.key.to_pkcs8().to_vec(),
            service_certificate: service.certificate.clone(),
            node_certificate: service.node_certificate.clone(),
        })
    }
}

impl fmt::Debug for NodeNotary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeNotary({}, secrets redacted)", self.key.public().id())
    }
}

fn validity(at_ms: u64) -> Validity {
    let at = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
    Validity { from: at.saturating_sub(SKEW_SECONDS).max(0), to: at.saturating_add(VALID_SECONDS) }
}

fn identity(error: impl fmt::Display) -> NotaryError {
    NotaryError::Identity(error.to_string())
}

/// Whether both signatures over the root of signature transaction `id` are right.
#[must_use]
pub fn verify(root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
    let (Ok(node), Ok(service)) =
        (Certificate::from_pem(by.node), Certificate::from_pem(by.service))
    else {
        return false;
    };
    node.key().verify_digest(root, &signed.node)
        && cose::verify_root(&signed.service, root, service.key())
            .is_ok_and(|claims| claims.txid == id.to_string())
}

/// Whether the key of the service certificate `earlier` (PEM) has signed the one that followed in a
/// recovery, `later` (PEM): a row of [`super::maps::SERVICE_HANDOVERS`].
#[must_use]
pub fn hands_over(earlier: &str, later: &str, signature: &[u8]) -> bool {
    Certificate::from_pem(earlier)
        .is_ok_and(|earlier| earlier.key().verify_digest(&sha256(later.as_bytes()), signature))
}

/// Whether a certificate (PEM) is that of this node, issued by the service.
#[must_use]
pub fn is_endorsed(node: &NodeId, certificate: &str, service: &str) -> bool {
    let (Ok(certificate), Ok(service)) =
        (Certificate::from_pem(certificate), Certificate::from_pem(service))
    else {
        return false;
    };
    certificate.key().id() == *node && x509::check_chain(&certificate, &[], &service).is_ok()
}

impl Notary for NodeNotary {
    fn node(&self) -> NodeId {
        self.key.public().id()
    }

    fn public_key(&self) -> Vec<u8> {
        self.key.public().spki().to_vec()
    }

    fn certificate(&self) -> &str {
        self.service.as_ref().map_or("", |service| &service.node_certificate)
    }

    fn service_certificate(&self) -> &str {
        self.service.as_ref().map_or("", |service| &service.certificate)
    }

    fn sign(&self, root: &Digest, id: TxId, at_ms: u64) -> Signed {
        let service = self.service.as_ref().expect("a leader is part of its service");
        let claims = RootClaims {
            txid: id.to_string(),
            issued_at: at_ms / 1000,
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
        };
        Signed {
            node: self.key.sign_digest(root),
            service: cose::sign_root(&service.key, root, &claims),
        }
    }

    fn verify(&self, root: &Digest, id: TxId, signed: &Signed, by: Identities<'_>) -> bool {
        verify(root, id, signed, by)
    }

    fn endorse(&self, public_key: &[u8], address: &str, at_ms: u64) -> Result<String, NotaryError> {
        let service = self.service.as_ref().ok_or(NotaryError::NoService)?;
        let node = EcPublic::from_spki(public_key).map_err(identity)?;
        let validity = validity(at_ms);
        let issued = x509::issue_node(&service.key, &node, address, validity).map_err(identity)?;
        Ok(issued.pem())
    }

    fn service_key(&self) -> Result<Vec<u8>, NotaryError> {
        let service = self.service.as_ref().ok_or(NotaryError::NoService)?;
        Ok(service.key.to_pkcs8().to_vec())
    }

    fn enter(&mut self, secrets: &ServiceSecrets) -> Result<(), NotaryError> {
        let key = EcKey::from_pkcs8(&secrets.service_key).map_err(identity)?;
        let certificate = Certificate::from_pem(&secrets.service_certificate).map_err(identity)?;
        if certificate.key() != key.public() || !certificate.is_authority() {
            return Err(identity("the service's key and certificate do not belong together"));
        }
        if !is_endorsed(&self.node(), &secrets.node_certificate, &secrets.service_certificate) {
            return Err(identity("the node's certificate is another's, or not by the service"));
        }
        self.service = Some(Service {
            key,
            certificate: secrets.service_certificate.clone(),
            node_certificate: secrets.node_certificate.clone(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
