//! secp256k1 keys of group members: they sign trxs, requests and announces, and their owners have
//! Ethereum addresses.
//!
//! A public key is written as base64url without padding of the compressed point (44 characters);
//! clients of earlier versions also send the libp2p form (`CAISI...`), which is accepted and
//! converted. A signature is R (32), S (32), V (1) over a 32-byte digest without any message
//! prefix, with S in the lower half of the order: the other half would let anybody make a second
//! valid signature, so it is refused.

mod points;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rand_core::CryptoRng;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{Message, PublicKey, SecretKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::hash::{Digest, keccak256};
use crate::made;

/// Length of the text form of a member's public key.
pub const KEY_TEXT: usize = 44;
/// Length of the text form of an Ethereum address.
pub const ADDRESS_TEXT: usize = 42;

/// Members sign digests as they are, in no domain.
const DOMAIN: &str = "";

/// In front of the 33 bytes of a secp256k1 key, libp2p's protobuf writes: field 1 (key type) = 2,
/// field 2 = 33 bytes.
const LIBP2P_PREFIX: [u8; 4] = [0x08, 0x02, 0x12, 0x21];

/// A member's secret key. `Debug` does not show it; erased when dropped.
#[derive(Clone)]
pub struct MemberKey {
    secret: SecretKey,
    public: MemberPublicKey,
}

impl MemberKey {
    /// Draws a fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            rng.fill_bytes(bytes.as_mut());
            // Only zero and numbers at or above the group order are refused: one draw in 2^128.
            if let Some(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    /// The key with this secret number; `None` if it is zero or not below the group order.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let secret = SecretKey::from_secret_bytes(*bytes).ok()?;
        let public = MemberPublicKey(secret.public_key().serialize());
        Some(Self { secret, public })
    }

    /// The secret number, to be kept in the node's vault.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_secret_bytes())
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> MemberPublicKey {
        self.public
    }

    /// Signs `digest`. Deterministic (RFC 6979).
    #[must_use]
    pub fn sign(&self, digest: &Digest) -> MemberSignature {
        let mut bytes = [0; 65];
        if let Some(rs) = made::instead(&self.public.0, DOMAIN, digest) {
            bytes[..64].copy_from_slice(&rs);
            bytes[64] = self.public.0[0] & 1;
            return MemberSignature(bytes);
        }
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message(digest), &self.secret);
        let (recovery, rs) = signature.serialize_compact();
        bytes[..64].copy_from_slice(&rs);
        // The recovery id would be 2 or 3 for an R above the group order: one nonce in 2^127.
        bytes[64] = recovery.to_u8();
        made::note(&self.public.0, DOMAIN, digest, &rs);
        MemberSignature(bytes)
    }
}

impl Drop for MemberKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberKey({}, secret redacted)", self.public)
    }
}

/// Whether `signature` (R S, or R S V) is that of the key with this compressed point, if it is one.
/// Finding the point costs a square root, about a tenth of a verification, so it is done once.
fn verify_with(key: &[u8; 33], digest: &Digest, signature: &[u8]) -> bool {
    if signature.len() != 64 && signature.len() != 65 {
        return false;
    }
    if let Some(known) = made::known(key, DOMAIN, digest, &signature[..64]) {
        return known;
    }
    let Some(point) = points::find(key) else { return false };
    // libsecp256k1 refuses a high S by itself.
    Signature::from_compact(&signature[..64])
        .is_ok_and(|parsed| parsed.verify(message(digest), &point).is_ok())
}

/// Reads either text form of a compressed point, which may be none of the curve.
fn read_key(text: &str) -> Option<[u8; 33]> {
    let bytes = if text.len() == KEY_TEXT {
        URL_SAFE_NO_PAD.decode(text).ok()?
    } else {
        let engine = if text.ends_with('=') { &STANDARD } else { &STANDARD_NO_PAD };
        engine.decode(text).ok()?.strip_prefix(&LIBP2P_PREFIX)?.to_vec()
    };
    bytes.try_into().ok()
}

fn message(digest: &Digest) -> Message {
    Message::from_digest(digest.0)
}

/// A member's public key: a compressed curve point, checked when made. Shown and serialised as its
/// 44-character text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberPublicKey([u8; 33]);

/// A text or byte string is not a member's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a public key: expected a compressed secp256k1 point as base64url without padding \
     (44 characters), or the libp2p form"
)]
pub struct KeyError;

impl MemberPublicKey {
    /// The key with this compressed point.
    ///
    /// # Errors
    /// [`KeyError`] if the bytes are not 33, or no point of the curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 33] = bytes.try_into().map_err(|_| KeyError)?;
        points::find(&bytes).map(|_| Self(bytes)).ok_or(KeyError)
    }

    /// The compressed point.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// Whether `signature` (R S, or R S V) is this key's signature of `digest`. V is ignored; a
    /// high S is refused.
    #[must_use]
    pub fn verify(&self, digest: &Digest, signature: &[u8]) -> bool {
        verify_with(&self.0, digest, signature)
    }

    /// The Ethereum address of this key, with the checksum of EIP-55.
    #[must_use]
    pub fn eth_address(&self) -> String {
        address_of(&self.point())
    }

    fn point(&self) -> PublicKey {
        points::find(&self.0).expect("checked when the key was made")
    }
}

impl fmt::Display for MemberPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for MemberPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MemberPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&read_key(text).ok_or(KeyError)?)
    }
}

impl Serialize for MemberPublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemberPublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A member's signature: R (32), S (32, lower half), V (0 or 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberSignature(pub [u8; 65]);

impl MemberSignature {
    /// R and S, without V.
    #[must_use]
    pub fn rs(&self) -> &[u8] {
        &self.0[..64]
    }
}

impl AsRef<[u8]> for MemberSignature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MemberSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The Ethereum address whose key made the 65-byte signature (V 0/1, or 27/28 as Ethereum writes
/// it); `None` if it is malformed, has a high S, or recovers no key.
#[must_use]
pub fn recover_eth_address(digest: &Digest, signature: &[u8]) -> Option<String> {
    let (rs, v) = match signature {
        [rs @ .., v] if rs.len() == 64 => (rs, *v),
        _ => return None,
    };
    let v = if matches!(v, 27 | 28) { v - 27 } else { v };
    if v > 1 {
        return None;
    }
    // What stands in for a signature tells whose it is.
    let signer: [u8; 33] = [&[2 + v], &rs[32..]].concat().try_into().ok()?;
    if let Some(known) = made::instead(&signer, DOMAIN, digest) {
        return points::find(&signer).filter(|_| rs == known).map(|key| address_of(&key));
    }
    let parsed = Signature::from_compact(rs).ok()?;
    let mut low = parsed;
    low.normalize_s();
    if low != parsed {
        return None;
    }
    let recovery = RecoveryId::from_u8_masked(v);
    let recoverable = RecoverableSignature::from_compact(rs, recovery).ok()?;
    let key = recoverable.recover_ecdsa(message(digest)).ok()?;
    Some(address_of(&key))
}

/// Whether `signature` over `digest` is by the sender named in a message: a key text, or an
/// Ethereum address (42 characters with `0x`, in any case), for which the signature must have V.
#[must_use]
pub fn verify_sender(sender: &str, digest: &Digest, signature: &[u8]) -> bool {
    if is_address(sender) {
        return recover_eth_address(digest, signature)
            .is_some_and(|address| address.eq_ignore_ascii_case(sender));
    }
    read_key(sender).is_some_and(|key| verify_with(&key, digest, signature))
}

/// Whether a sender's text has the form of an Ethereum address. The checksum is not looked at.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    text.len() == ADDRESS_TEXT
        && digits.is_some_and(|d| d.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// EIP-55: a letter of the address is upper case if the digit of the hash of the lower-case text at
/// its place is 8 or more.
fn address_of(key: &PublicKey) -> String {
    let hash = keccak256(&key.serialize_uncompressed()[1..]);
    let mut text = hex::encode(&hash[12..]).into_bytes();
    let sum = keccak256(&text);
    for (place, letter) in text.iter_mut().enumerate() {
        let digit = (sum[place / 2] >> (4 * (1 - place % 2))) & 15;
        if digit >= 8 {
            letter.make_ascii_uppercase();
        }
    }
    let mut address = String::with_capacity(ADDRESS_TEXT);
    address.push_str("0x");
    address.extend(text.into_iter().map(char::from));
    address
}

#[cfg(test)]
mod tests;
