//! AES-256-GCM under a 32-byte key.
//!
//! A sealed text is `nonce (12) ciphertext tag (16)`: the layout of trx payloads in private groups,
//! used for everything sealed under a symmetric key. Nonces are random, so a key must not seal more
//! than about 2^32 texts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::aead::{self, AES_256_GCM, LessSafeKey, UnboundKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hash::{HexError, from_hex, hex_text};

/// Length of the nonce in front of a sealed text.
pub const NONCE: usize = 12;
/// Length of the tag behind a sealed text.
pub const TAG: usize = 16;
/// What [`seal`] adds to the length of a plaintext.
pub const OVERHEAD: usize = NONCE + TAG;

/// A symmetric key. `Display` and serde show the secret as 64 hex digits, for seed URLs and the
/// API, which carry a group's key; `Debug` does not show it. Erased when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SymmetricKey(pub [u8; 32]);

impl SymmetricKey {
    /// Draws a fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// The key in `bytes`; `None` if they are not exactly 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The secret bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(redacted)")
    }
}

impl FromStr for SymmetricKey {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        from_hex(text).map(Self)
    }
}

impl Serialize for SymmetricKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex_text::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for SymmetricKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex_text::deserialize(deserializer).map(Self)
    }
}

/// A sealed text does not open: it is too short, was altered, or belongs to another key or other
/// associated data. Which of these cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed text does not open with this key and associated data")]
pub struct OpenError;

/// Seals `plaintext` under `key`, with a nonce from `rng`. `aad` is authenticated, not carried.
///
/// # Panics
/// If `plaintext` is longer than AES-GCM can seal (64 GiB).
#[must_use]
pub fn seal(key: &SymmetricKey, rng: &mut impl CryptoRng, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    let sealed = Aes256Gcm::new(&key.0.into())
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad })
        .expect("a text of less than 64 GiB seals");
    let mut out = Vec::with_capacity(NONCE + sealed.len());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    out
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`OpenError`].
pub fn open(key: &SymmetricKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE>().ok_or(OpenError)?;
    Aes256Gcm::new(&key.0.into())
        .decrypt(&Nonce::from(*nonce), Payload { msg: text, aad })
        .map_err(|_| OpenError)
}

/// A key made ready once, for texts that carry their nonce elsewhere and stand in a larger buffer
/// (entries of a `cft` ledger). Cheap to clone. `Debug` does not show it.
#[derive(Clone)]
pub struct GcmKey(Arc<LessSafeKey>);

impl GcmKey {
    /// Makes a key ready.
    ///
    /// # Panics
    /// Never: the key has the length of the cipher's keys.
    #[must_use]
    pub fn new(key: &SymmetricKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &key.0).expect("32 bytes are a key of AES-256");
        Self(Arc::new(LessSafeKey::new(key)))
    }

    /// Encrypts `text` where it stands and returns its tag. A nonce must never be used twice with
    /// the same key for different texts.
    ///
    /// # Panics
    /// If `text` is longer than AES-GCM can seal (64 GiB).
    #[must_use]
    pub fn seal_in_place(&self, nonce: [u8; NONCE], aad: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(aad), text)
            .expect("a text of less than 64 GiB seals");
        tag.as_ref().try_into().expect("a tag of AES-GCM has 16 bytes")
    }

    /// Opens what [`GcmKey::seal_in_place`] made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; TAG],
    ) -> Result<Vec<u8>, OpenError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let mut clear = vec![0; text.len()];
        self.0
            .open_separate_gather(nonce, aead::Aad::from(aad), text, tag, &mut clear)
            .map_err(|_| OpenError)?;
        Ok(clear)
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GcmKey(redacted)")
    }
}

#[cfg(test)]
mod tests;
