//! ECDSA on P-256 and P-384: keys of the nodes and of the service of a `cft` group.
//!
//! Keys of our own are on P-256, which is much the fastest to sign with; keys on P-384, the
//! default elsewhere, are verified too. Signatures are over a digest that is given (the root of a
//! Merkle tree), in DER, or over a message, as R and S side by side (COSE) or in DER (X.509).
//!
//! A signature draws randomness of its own, unless the key was made in a thread that wants the same
//! signatures every time ([`crate::made::repeat`]): then its nonces are those of RFC 6979, at ten
//! times the cost.

use std::fmt;

use aws_lc_rs::digest::{Digest as AwsDigest, SHA256};
use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED,
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, EcdsaKeyPair, EcdsaVerificationAlgorithm, KeyPair as _,
    ParsedPublicKey, UnparsedPublicKey,
};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::hash::{Digest, sha256};
use crate::made;

/// SubjectPublicKeyInfo of a key on P-256, up to the point: ecPublicKey, prime256v1, 66 bits string.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same on P-384 (secp384r1).
const SPKI_P384: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// ECPrivateKey (RFC 5915) on P-256, before and after its 32 bytes; the point is left out.
const PRIVATE_BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
const PRIVATE_AFTER: [u8; 12] =
    [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Curve {
    /// NIST P-256, with SHA-256.
    P256,
    /// NIST P-384, with SHA-384.
    P384,
}

/// A text or byte string is no key on a curve that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an EC key on P-256 or P-384")]
pub struct EcError;

/// A private key on P-256. `Debug` does not show it.
pub struct EcKey {
    der: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
    /// Signs in their place, if the key is to sign the same way every time.
    repeating: Option<SigningKey>,
    public: EcPublic,
}

impl EcKey {
    /// Draws a fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut number = Zeroizing::new([0; 32]);
        loop {
            rng.fill_bytes(number.as_mut());
            // Only zero and numbers at or above the group order are refused: one draw in 2^32.
            if let Some(key) = Self::from_number(&number) {
                return key;
            }
        }
    }

    /// The key with this private number, big endian; `None` if it is 0 or not below the order.
    #[must_use]
    pub fn from_number(number: &[u8; 32]) -> Option<Self> {
        let der = Zeroizing::new([&PRIVATE_BEFORE[..], number, &PRIVATE_AFTER].concat());
        let pair = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, &der).ok();
        let pairs =
            (pair(&ECDSA_P256_SHA256_ASN1_SIGNING)?, pair(&ECDSA_P256_SHA256_FIXED_SIGNING)?);
        Self::from_pairs(pairs)
    }

    /// The key in a PKCS #8 document.
    ///
    /// # Errors
    /// [`EcError`] if it is none, or not on P-256.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, EcError> {
        let pair = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, document).map_err(|_| EcError);
        let pairs =
            (pair(&ECDSA_P256_SHA256_ASN1_SIGNING)?, pair(&ECDSA_P256_SHA256_FIXED_SIGNING)?);
        Self::from_pairs(pairs).ok_or(EcError)
    }

    fn from_pairs((der, fixed): (EcdsaKeyPair, EcdsaKeyPair)) -> Option<Self> {
        let public = EcPublic::from_point(Curve::P256, der.public_key().as_ref()).ok()?;
        let repeating = if made::repeats() {
            let number = der.private_key().as_be_bytes().ok()?;
            Some(SigningKey::from_slice(number.as_ref()).ok()?)
        } else {
            None
        };
        Some(Self { der, fixed, repeating, public })
    }

    /// The private key as a PKCS #8 document, to be kept in the node's vault.
    ///
    /// # Panics
    /// If there is no memory for it.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let document = self.der.to_pkcs8v1().expect("a key that was read is written");
        Zeroizing::new(document.as_ref().to_vec())
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &EcPublic {
        &self.public
    }

    /// Signs a digest as it is: DER.
    ///
    /// # Panics
    /// If the operating system has no randomness.
    #[must_use]
    pub fn sign_digest(&self, digest: &Digest) -> Vec<u8> {
        match &self.repeating {
            Some(key) => repeated(key, digest).to_der().as_bytes().to_vec(),
            None => drawn(&self.der, digest),
        }
    }

    /// Signs SHA-256 of a message: R and S, 64 bytes.
    #[must_use]
    pub fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        let digest = sha256(message);
        match &self.repeating {
            Some(key) => repeated(key, &digest).to_bytes().to_vec(),
            None => drawn(&self.fixed, &digest),
        }
    }

    /// Signs SHA-256 of a message: DER.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_digest(&sha256(message))
    }
}

fn drawn(pair: &EcdsaKeyPair, digest: &Digest) -> Vec<u8> {
    let signature = pair.sign_digest(&imported(digest));
    signature.expect("a digest of 32 bytes is signed").as_ref().to_vec()
}

fn repeated(key: &SigningKey, digest: &Digest) -> Signature {
    key.sign_prehash(&digest.0).expect("a digest of 32 bytes is signed")
}

fn imported(digest: &Digest) -> AwsDigest {
    AwsDigest::import_less_safe(&digest.0, &SHA256).expect("a digest of SHA-256 has 32 bytes")
}

impl fmt::Debug for EcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcKey({}, secret redacted)", self.public.id())
    }
}

/// A public key: a point that is on its curve.
#[derive(Clone)]
pub struct EcPublic {
    curve: Curve,
    spki: Vec<u8>,
    id: Digest,
    digest: ParsedPublicKey,
    fixed: ParsedPublicKey,
    der: ParsedPublicKey,
}

impl EcPublic {
    /// The key in a SubjectPublicKeyInfo (DER): a named curve, the point uncompressed.
    ///
    /// # Errors
    /// [`EcError`].
    pub fn from_spki(spki: &[u8]) -> Result<Self, EcError> {
        if let Some(point) = spki.strip_prefix(&SPKI_P256) {
            return Self::from_point(Curve::P256, point);
        }
        Self::from_point(Curve::P384, spki.strip_prefix(&SPKI_P384).ok_or(EcError)?)
    }

    /// The key with this uncompressed point (`04`, x, y).
    ///
    /// # Errors
    /// [`EcError`] if it is not on the curve.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, EcError> {
        type Algorithm = &'static EcdsaVerificationAlgorithm;
        let (front, length, algorithms): (&[u8], _, [Algorithm; 3]) = match curve {
            Curve::P256 => (
                &SPKI_P256,
                65,
                [&ECDSA_P256_SHA256_ASN1, &ECDSA_P256_SHA256_FIXED, &ECDSA_P256_SHA256_ASN1],
            ),
            Curve::P384 => (
                &SPKI_P384,
                97,
                [&ECDSA_P384_SHA256_ASN1, &ECDSA_P384_SHA384_FIXED, &ECDSA_P384_SHA384_ASN1],
            ),
        };
        if point.len() != length || point[0] != 4 {
            return Err(EcError);
        }
        let parse = |algorithm: Algorithm| {
            UnparsedPublicKey::new(algorithm, point).parse().map_err(|_| EcError)
        };
        let [digest, fixed, der] = algorithms;
        let spki = [front, point].concat();
        let id = sha256(&spki);
        Ok(Self { curve, spki, id, digest: parse(digest)?, fixed: parse(fixed)?, der: parse(der)? })
    }

    /// Its curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// Its SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// The point, uncompressed.
    pub(crate) fn point(&self) -> &[u8] {
        match self.curve {
            Curve::P256 => &self.spki[SPKI_P256.len()..],
            Curve::P384 => &self.spki[SPKI_P384.len()..],
        }
    }

    /// Whether this is a signature (DER) of a digest as it is; of SHA-256 on either curve.
    #[must_use]
    pub fn verify_digest(&self, digest: &Digest, signature: &[u8]) -> bool {
        self.digest.verify_digest_sig(&imported(digest), signature).is_ok()
    }

    /// Whether this is a signature (R and S side by side) of a message, with the curve's own hash.
    #[must_use]
    pub fn verify_fixed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.fixed.verify_sig(message, signature).is_ok()
    }

    /// Whether this is a signature (DER) of a message, with the curve's own hash.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.der.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for EcPublic {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for EcPublic {}

impl fmt::Debug for EcPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcPublic({:?}, {})", self.curve, self.id)
    }
}

#[cfg(test)]
mod tests;
