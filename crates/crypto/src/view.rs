//! Ed25519 consensus keys of one view.
//!
//! A producer makes a key when it joins a view, signs envelopes and certificates with it, and
//! erases it when the view ends. The same keys are the identities of [`crate::keygen`].
//!
//! Signatures follow ZIP215, so that one signature checked alone and checked in a batch always
//! agree at every member. Every signature names a domain; a signature of one domain is worthless in
//! another.

use std::fmt;
use std::str::FromStr;

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::ed25519;
use commonware_cryptography::{BatchEntry, BatchVerifier as _, Signer as _, Verifier as _};
use commonware_parallel::Sequential;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::hash::{Digest, Hasher, HexError, from_hex, hex_text};
use crate::made;

/// Encodings of the points of small order, without the sign bit: order 4, 1, 8, 8, and the
/// non-canonical p - 1, p, p + 1 (order 2, 4, 1).
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    ends(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    ends(0xec, 0xff, 0x7f),
    ends(0xed, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
];

/// 32 bytes that are all alike between the first and the last.
const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Secret key of a producer for one view. `Debug` does not show it; erased when dropped.
#[derive(Clone)]
pub struct ViewKey(ed25519::PrivateKey);

impl ViewKey {
    /// The key of a 32-byte seed (the secret key of RFC 8032). Every seed makes a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519::PrivateKey::decode(Copying(seed));
        Self(key.expect("every 32 bytes are an Ed25519 secret key"))
    }

    /// Draws a fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The seed, to be kept in the node's vault.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        let encoded = Zeroizing::new(Vec::from(self.0.encode()));
        seed.copy_from_slice(&encoded);
        seed
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> ViewPublicKey {
        ViewPublicKey::from_commonware(&self.0.public_key())
    }

    /// Signs `digest` in `domain`. Deterministic.
    #[must_use]
    pub fn sign(&self, domain: &str, digest: &Digest) -> ViewSignature {
        let public = self.public().0;
        if let Some(bytes) = made::instead(&public, domain, digest) {
            return ViewSignature(bytes);
        }
        let signature = self.0.sign(domain.as_bytes(), &digest.0);
        let mut bytes = [0; 64];
        bytes.copy_from_slice(signature.as_ref());
        made::note(&public, domain, digest, &bytes);
        ViewSignature(bytes)
    }

    /// The key as an identity of the key generation library.
    pub(crate) const fn as_commonware(&self) -> &ed25519::PrivateKey {
        &self.0
    }
}

impl fmt::Debug for ViewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewKey({}, secret redacted)", self.public())
    }
}

/// Public key of a producer for one view. The bytes are whatever a peer sent: a key that is no
/// curve point, or one of small order, verifies nothing ([`ViewPublicKey::is_valid`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewPublicKey(pub [u8; 32]);

impl ViewPublicKey {
    /// Whether the bytes are a curve point with a secret key, so that a signature could verify.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.as_commonware().is_some()
    }

    /// Whether `signature` is this key's signature of `digest` in `domain`.
    #[must_use]
    pub fn verify(&self, domain: &str, digest: &Digest, signature: &ViewSignature) -> bool {
        let check = |key: ed25519::PublicKey| {
            key.verify(domain.as_bytes(), &digest.0, &signature.to_commonware())
        };
        made::known(&self.0, domain, digest, &signature.0)
            .unwrap_or_else(|| self.as_commonware().is_some_and(check))
    }

    /// The key as an identity of the key generation library; `None` if it is not valid.
    pub(crate) fn as_commonware(&self) -> Option<ed25519::PublicKey> {
        if self.has_small_order() {
            return None;
        }
        ed25519::PublicKey::decode(Copying(&self.0)).ok()
    }

    /// Under a key of small order ZIP215 accepts one constant signature of every message, made by
    /// anybody. Nobody draws such a key by chance.
    fn has_small_order(&self) -> bool {
        let mut y = self.0;
        y[31] &= 0x7f;
        SMALL_ORDER.contains(&y)
    }

    /// The key of an identity of the key generation library.
    fn from_commonware(key: &ed25519::PublicKey) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(key.as_ref());
        Self(bytes)
    }
}

/// Signature with a [`ViewKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewSignature(pub [u8; 64]);

impl ViewSignature {
    /// The signature in `bytes`; `None` if they are not exactly 64.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The signature in the library's type.
    fn to_commonware(self) -> ed25519::Signature {
        ed25519::Signature::decode(Copying(&self.0))
            .expect("64 bytes are a signature to be checked")
    }
}

/// Checks many signatures together, about twice as fast as one by one. True exactly if each
/// verifies on its own, so also for none; which one is wrong must be searched one by one.
#[must_use]
pub fn verify_batch(items: &[(ViewPublicKey, &str, Digest, ViewSignature)]) -> bool {
    let known = |(key, domain, of, sign): &(ViewPublicKey, &str, Digest, ViewSignature)| {
        made::known(&key.0, domain, of, &sign.0)
    };
    if let Some(all) = items.iter().map(known).try_fold(true, |all, one| Some(all && one?)) {
        return all;
    }
    // The weights of the batch equation must be unpredictable to whoever made the signatures.
    // Hashing everything that is checked gives that without a source of randomness.
    let mut weights = Hasher::new("quorate.view.batch.v1");
    let mut parsed = Vec::with_capacity(items.len());
    for (key, domain, digest, signature) in items {
        let Some(public) = key.as_commonware() else {
            return false;
        };
        weights =
            weights.field(&key.0).field(domain.as_bytes()).field(&digest.0).field(&signature.0);
        parsed.push((public, *domain, *digest, signature.to_commonware()));
    }
    let mut rng = ChaCha20Rng::from_seed(weights.finish().0);
    ed25519::PublicKey::verify_batch(
        &mut rng,
        &parsed,
        |_, (public_key, domain, digest, signature)| BatchEntry {
            namespace: domain.as_bytes(),
            message: &digest.0,
            public_key,
            signature,
        },
        &Sequential,
    )
}

macro_rules! hex_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                from_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                hex_text::serialize(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                hex_text::deserialize(deserializer).map(Self)
            }
        }
    };
}

hex_form!(ViewPublicKey);
hex_form!(ViewSignature);

#[cfg(test)]
mod tests;
