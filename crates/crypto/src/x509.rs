//! Certificates (X.509) of a `cft` group: the service's own, which everybody is given, and the
//! nodes', which the service issues.
//!
//! A certificate is read as strictly as it is written: PEM in one form, DER without anything behind.

use std::net::IpAddr;

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ec::{Curve, EcKey, EcPublic};
use crate::hash::Hasher;

/// Longest certificate read, in bytes of PEM.
pub const MAX_PEM: usize = 8 * 1024;
/// Common name of service certificates.
pub const SERVICE_NAME: &str = "quorate service";
/// Common name of node certificates.
pub const NODE_NAME: &str = "quorate node";

const TAG: &str = "CERTIFICATE";
/// OIDs of the algorithms that certificates are signed with: ecdsa-with-SHA256 and -SHA384.
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
/// The same as they stand in a certificate.
const ECDSA_SHA256_DER: [u8; 12] =
    [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384_DER: [u8; 12] =
    [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// Why a certificate is refused or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text is not the one PEM form of a certificate.
    #[error("not a certificate in PEM")]
    Pem,
    /// The bytes are no certificate.
    #[error("not an X.509 certificate with an EC key on P-256 or P-384")]
    Der,
    /// It is not issued by the certificate it should be issued by.
    #[error("the certificate is not issued by the one given")]
    Issuer,
    /// It must be that of an authority, but is not, or the other way round.
    #[error("the certificate may not be used for this")]
    Usage,
    /// A time outside of years that certificates can express.
    #[error("a certificate cannot express the time")]
    Time,
    /// The address cannot stand in a certificate.
    #[error("the address can not stand in a certificate")]
    Address,
}

/// How long a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// First second, since 1970.
    pub from: i64,
    /// Last second, since 1970.
    pub to: i64,
}

/// A certificate, read. Its signature is not yet checked: [`Certificate::is_issued_by`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: std::ops::Range<usize>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    key: EcPublic,
    signature: Vec<u8>,
    validity: Validity,
    authority: bool,
}

impl Certificate {
    /// Reads a certificate in PEM: lines of 64 characters, ended by `\n`, the last of which may be
    /// left out.
    ///
    /// # Errors
    /// [`CertificateError::Pem`] or [`CertificateError::Der`].
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        if text.len() > MAX_PEM {
            return Err(CertificateError::Pem);
        }
        let parsed = pem::parse(text).map_err(|_| CertificateError::Pem)?;
        let again = encode_pem(parsed.contents());
        if text != again && Some(text) != again.strip_suffix('\n') {
            return Err(CertificateError::Pem);
        }
        Self::from_der(parsed.contents())
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::Der`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let wrong = CertificateError::Der;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| wrong)?;
        let tbs: &[u8] = parsed.tbs_certificate.as_ref();
        let signature = parsed.signature_value.data.as_ref();
        let algorithm: &[u8] = match parsed.tbs_certificate.signature.algorithm.to_id_string() {
            name if name == ECDSA_SHA256 => &ECDSA_SHA256_DER,
            name if name == ECDSA_SHA384 => &ECDSA_SHA384_DER,
            _ => return Err(wrong),
        };
        // What is around the part that is signed has one spelling.
        let (front, again) = certificate_of(tbs, algorithm, signature).ok_or(wrong)?;
        if again != der {
            return Err(wrong);
        }
        let constraints = parsed.basic_constraints().map_err(|_| wrong)?;
        let usage = parsed.key_usage().map_err(|_| wrong)?;
        let validity = parsed.validity();
        Ok(Self {
            tbs: front..front + tbs.len(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject: parsed.subject().as_raw().to_vec(),
            key: EcPublic::from_spki(parsed.public_key().raw).map_err(|_| wrong)?,
            signature: signature.to_vec(),
            validity: Validity {
                from: validity.not_before.timestamp(),
                to: validity.not_after.timestamp(),
            },
            authority: constraints.is_some_and(|c| c.critical && c.value.ca)
                && usage.is_some_and(|u| u.value.key_cert_sign()),
            der: der.to_vec(),
        })
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        encode_pem(&self.der)
    }

    /// The public key it is about.
    #[must_use]
    pub const fn key(&self) -> &EcPublic {
        &self.key
    }

    /// When it holds.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it holds at a time, in seconds since 1970.
    #[must_use]
    pub const fn holds_at(&self, seconds: i64) -> bool {
        self.validity.from <= seconds && seconds <= self.validity.to
    }

    /// Whether it may issue certificates.
    #[must_use]
    pub const fn is_authority(&self) -> bool {
        self.authority
    }

    /// Whether the other certificate's key signed this one, as an authority of the name that this
    /// one gives for its issuer.
    #[must_use]
    pub fn is_issued_by(&self, other: &Self) -> bool {
        other.authority
            && self.issuer == other.subject
            && other.key.verify(&self.der[self.tbs.clone()], &self.signature)
    }
}

/// Checks a node's certificate up to the service certificate, through certificates between (of
/// earlier identities of the service), each of which issued the one before it. The service
/// certificate is trusted as it is. Times are not looked at.
///
/// # Errors
/// [`CertificateError::Issuer`] or [`CertificateError::Usage`].
pub fn check_chain(
    node: &Certificate,
    between: &[Certificate],
    service: &Certificate,
) -> Result<(), CertificateError> {
    if node.is_authority() || !service.is_authority() {
        return Err(CertificateError::Usage);
    }
    let mut issued = node;
    for issuer in between.iter().chain([service]) {
        if !issued.is_issued_by(issuer) {
            return Err(CertificateError::Issuer);
        }
        issued = issuer;
    }
    Ok(())
}

/// Issues a service its own certificate.
///
/// # Errors
/// [`CertificateError::Time`].
pub fn issue_service(key: &EcKey, validity: Validity) -> Result<Certificate, CertificateError> {
    let params = service_params(key.public(), validity)?;
    let made = params.self_signed(key).expect("the parameters are complete");
    Certificate::from_der(made.der())
}

/// Issues a node's certificate by the service whose key this is. `host` is the IP address or DNS name
/// it is reached at.
///
/// # Errors
/// [`CertificateError::Time`] or [`CertificateError::Address`].
pub fn issue_node(
    service: &EcKey,
    node: &EcPublic,
    host: &str,
    validity: Validity,
) -> Result<Certificate, CertificateError> {
    let issuer = Issuer::new(service_params(service.public(), validity)?, service);
    let mut params = params(NODE_NAME, node, validity)?;
    params.subject_alt_names = vec![match host.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if is_dns_name(host) => {
            SanType::DnsName(host.try_into().map_err(|_| CertificateError::Address)?)
        }
        Err(_) => return Err(CertificateError::Address),
    }];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let made = params.signed_by(node, &issuer).expect("the parameters are complete");
    Certificate::from_der(made.der())
}

/// Issues a certificate for the key of an earlier identity of the service: what was issued by that
/// one is then seen as issued by this one.
///
/// # Errors
/// [`CertificateError::Time`].
pub fn issue_endorsement(
    service: &EcKey,
    earlier: &EcPublic,
    validity: Validity,
) -> Result<Certificate, CertificateError> {
    let issuer = Issuer::new(service_params(service.public(), validity)?, service);
    let params = service_params(earlier, validity)?;
    let made = params.signed_by(earlier, &issuer).expect("the parameters are complete");
    Certificate::from_der(made.der())
}

fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn service_params(
    key: &EcPublic,
    validity: Validity,
) -> Result<CertificateParams, CertificateError> {
    let mut params = params(SERVICE_NAME, key, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(
    name: &str,
    key: &EcPublic,
    validity: Validity,
) -> Result<CertificateParams, CertificateError> {
    let time = |seconds| {
        OffsetDateTime::from_unix_timestamp(seconds)
            .ok()
            .filter(|time| (1950..10_000).contains(&time.year()))
            .ok_or(CertificateError::Time)
    };
    let mut params = CertificateParams::default();
    params.not_before = time(validity.from)?;
    params.not_after = time(validity.to)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // The same certificate asked for twice may differ in its signature alone.
    let serial = Hasher::new("quorate.certificate.serial.v1")
        .field(key.spki())
        .field(&validity.from.to_be_bytes())
        .field(&validity.to.to_be_bytes())
        .finish();
    // At most 20 bytes, positive, without a leading zero.
    let mut serial = serial.0[..16].to_vec();
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial));
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.id().0[..20].to_vec());
    Ok(params)
}

/// The certificate of these parts, in DER, and where the first one stands. `None` for parts that are
/// too long.
fn certificate_of(tbs: &[u8], algorithm: &[u8], signature: &[u8]) -> Option<(usize, Vec<u8>)> {
    let bits = u8::try_from(signature.len() + 1).ok().filter(|length| *length < 0x80)?;
    let length = tbs.len() + algorithm.len() + 3 + signature.len();
    let head = match u16::try_from(length).ok()?.to_be_bytes() {
        [0, low] if low < 0x80 => vec![0x30, low],
        [0, low] => vec![0x30, 0x81, low],
        [high, low] => vec![0x30, 0x82, high, low],
    };
    let der = [&head, tbs, algorithm, &[0x03, bits, 0], signature].concat();
    Some((head.len(), der))
}

fn encode_pem(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(TAG, der), config)
}

impl PublicKeyData for EcPublic {
    fn der_bytes(&self) -> &[u8] {
        self.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.curve() {
            Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl PublicKeyData for EcKey {
    fn der_bytes(&self) -> &[u8] {
        self.public().point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public().algorithm()
    }
}

impl SigningKey for EcKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, message))
    }
}

#[cfg(test)]
mod tests;
