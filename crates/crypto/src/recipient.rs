//! Encryption to members by their age (X25519) keys, and of files by password.
//!
//! Three ways, for three purposes:
//! * [`encrypt_to`] writes an age file to one or more members, readable by the `age` program: keys
//!   and payloads handed to members of a private group;
//! * [`seal_with_password`] writes an age file under a password: secrets at rest;
//! * [`seal_to`] is a single X25519 exchange with AES-256-GCM, for key generation dealings.
//!
//! age draws its keys and nonces from the operating system, so the ciphertext of the first two
//! differs from run to run whatever the caller's generator: nothing the simulator digests may
//! contain it. [`seal_to`] takes the generator, and is reproducible.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::iter;
use std::str::FromStr;

use age::secrecy::SecretString;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::cipher::{self, SymmetricKey};
use crate::hash::Hasher;
use crate::made;

const PUBLIC_PREFIX: Hrp = Hrp::parse_unchecked("age");
const SECRET_PREFIX: Hrp = Hrp::parse_unchecked("AGE-SECRET-KEY-");

/// What [`seal_to`] adds to the length of a plaintext.
pub const SEAL_TO_OVERHEAD: usize = 32 + cipher::OVERHEAD;
/// Work factor (log2 of scrypt's N) of [`seal_with_password`] if none is asked for: about a second
/// and 256 MiB.
pub const DEFAULT_WORK_FACTOR: u8 = 18;
/// Highest work factor: opening must not be made to cost more than about 1 GiB.
pub const MAX_WORK_FACTOR: u8 = 20;

/// Why something could not be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// The text is not an age X25519 key.
    #[error("not an age X25519 {0} key")]
    Key(&'static str),
    /// There is nobody to encrypt to.
    #[error("no recipients")]
    NoRecipients,
    /// The work factor is 0 or above [`MAX_WORK_FACTOR`].
    #[error("password work factor {0} is not between 1 and {MAX_WORK_FACTOR}")]
    WorkFactor(u8),
    /// age could not encrypt.
    #[error("encryption failed: {0}")]
    Encrypt(String),
    /// The text is malformed or altered, or the key or password is the wrong one.
    #[error("decryption failed: {0}")]
    Decrypt(String),
}

/// A member's secret encryption key (an age identity). `Debug` does not show it; erased when
/// dropped.
#[derive(Clone)]
pub struct EncryptKey {
    secret: StaticSecret,
    public: EncryptPublicKey,
}

impl EncryptKey {
    /// Draws a fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*bytes);
        let public = EncryptPublicKey(PublicKey::from(&secret).to_bytes());
        Self { secret, public }
    }

    /// The secret as age writes it: `AGE-SECRET-KEY-1...`.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.secret.to_bytes());
        Zeroizing::new(
            bech32::encode_upper::<Bech32>(SECRET_PREFIX, bytes.as_ref())
                .expect("32 bytes fit in bech32"),
        )
    }

    /// Reads what [`EncryptKey::to_secret_text`] wrote, or `age-keygen`.
    ///
    /// # Errors
    /// [`RecipientError::Key`].
    pub fn from_secret_text(text: &str) -> Result<Self, RecipientError> {
        let bytes = bech32_key(text, SECRET_PREFIX).ok_or(RecipientError::Key("secret"))?;
        Ok(Self::from_bytes(&bytes))
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> EncryptPublicKey {
        self.public
    }

    /// What both sides of an exchange know; nothing if the other key lets everybody know it.
    fn exchange(&self, other: &EncryptPublicKey) -> Option<[u8; 32]> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(other.0));
        shared.was_contributory().then(|| shared.to_bytes())
    }

    fn identity(&self) -> age::x25519::Identity {
        let text = self.to_secret_text();
        text.parse().expect("age reads its own form of a secret key")
    }
}

impl fmt::Debug for EncryptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptKey({}, secret redacted)", self.public())
    }
}

/// A member's public encryption key (an age recipient). Shown and serialised as `age1...`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncryptPublicKey([u8; 32]);

impl EncryptPublicKey {
    /// The X25519 point.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn recipient(&self) -> Result<age::x25519::Recipient, RecipientError> {
        let text = self.to_string();
        text.parse().map_err(|_| RecipientError::Key("public"))
    }
}

impl fmt::Display for EncryptPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode_lower::<Bech32>(PUBLIC_PREFIX, &self.0);
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EncryptPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EncryptPublicKey {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let bad = RecipientError::Key("public");
        let key = Self(*bech32_key(text, PUBLIC_PREFIX).ok_or(bad.clone())?);
        // Bech32 texts in upper case, or with stray padding bits, name the same key a second time.
        if key.to_string() != text {
            return Err(bad);
        }
        // To a point of small order everything is readable by anybody.
        let probe = StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(key.0));
        if !probe.was_contributory() {
            return Err(bad);
        }
        Ok(key)
    }
}

impl Serialize for EncryptPublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EncryptPublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The 32 bytes of a bech32 text with this prefix.
fn bech32_key(text: &str, prefix: Hrp) -> Option<Zeroizing<[u8; 32]>> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    if checked.hrp() != prefix {
        return None;
    }
    let bytes = Zeroizing::new(checked.byte_iter().collect::<Vec<_>>());
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

/// Writes an age file that each of `recipients` can read.
///
/// # Errors
/// [`RecipientError::NoRecipients`]; [`RecipientError::Encrypt`] if age refuses.
pub fn encrypt_to(
    recipients: &[EncryptPublicKey],
    plaintext: &[u8],
) -> Result<Vec<u8>, RecipientError> {
    if recipients.is_empty() {
        return Err(RecipientError::NoRecipients);
    }
    let recipients =
        recipients.iter().map(EncryptPublicKey::recipient).collect::<Result<Vec<_>, _>>()?;
    write_age(recipients.iter().map(|r| r as &dyn age::Recipient), plaintext)
}

/// Reads an age file made by [`encrypt_to`] (or by age) for this key among others.
///
/// # Errors
/// [`RecipientError::Decrypt`].
pub fn decrypt_with(key: &EncryptKey, file: &[u8]) -> Result<Vec<u8>, RecipientError> {
    read_age(&key.identity(), file)
}

/// Writes an age file under a password. `work_factor` is log2 of scrypt's N, by default
/// [`DEFAULT_WORK_FACTOR`]; a lower one is for tests.
///
/// # Errors
/// [`RecipientError::WorkFactor`]; [`RecipientError::Encrypt`] if age refuses.
pub fn seal_with_password(
    password: &str,
    plaintext: &[u8],
    work_factor: Option<u8>,
) -> Result<Vec<u8>, RecipientError> {
    let factor = work_factor.unwrap_or(DEFAULT_WORK_FACTOR);
    if !(1..=MAX_WORK_FACTOR).contains(&factor) {
        return Err(RecipientError::WorkFactor(factor));
    }
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(password.to_owned()));
    recipient.set_work_factor(factor);
    write_age(iter::once(&recipient as &dyn age::Recipient), plaintext)
}

/// Reads what [`seal_with_password`] wrote (or age, up to [`MAX_WORK_FACTOR`]).
///
/// # Errors
/// [`RecipientError::Decrypt`].
pub fn open_with_password(password: &str, file: &[u8]) -> Result<Vec<u8>, RecipientError> {
    let mut identity = age::scrypt::Identity::new(SecretString::from(password.to_owned()));
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    read_age(&identity, file)
}

fn write_age<'a>(
    recipients: impl Iterator<Item = &'a dyn age::Recipient>,
    plaintext: &[u8],
) -> Result<Vec<u8>, RecipientError> {
    let encryptor = age::Encryptor::with_recipients(recipients)
        .map_err(|error| RecipientError::Encrypt(error.to_string()))?;
    let mut file = Vec::new();
    let write = || {
        let mut writer = encryptor.wrap_output(&mut file)?;
        writer.write_all(plaintext)?;
        writer.finish()
    };
    match write() {
        Ok(_) => Ok(file),
        Err(error) => Err(RecipientError::Encrypt(error.to_string())),
    }
}

fn read_age(identity: &dyn age::Identity, file: &[u8]) -> Result<Vec<u8>, RecipientError> {
    let mut plaintext = Vec::new();
    age::Decryptor::new_buffered(file)
        .and_then(|decryptor| decryptor.decrypt(iter::once(identity)))
        .map_err(|error| RecipientError::Decrypt(error.to_string()))?
        .read_to_end(&mut plaintext)
        .map_err(|error| RecipientError::Decrypt(error.to_string()))?;
    Ok(plaintext)
}

/// Seals `plaintext` to one member: an ephemeral X25519 key from `rng`, SHA-256 of the exchange as
/// key of AES-256-GCM. `aad` is authenticated, not carried. The layout is
/// `ephemeral public key (32) nonce (12) ciphertext tag (16)`.
#[must_use]
pub fn seal_to(
    rng: &mut impl CryptoRng,
    recipient: &EncryptPublicKey,
    aad: &[u8],
    plaintext: &[u8],
) -> Vec<u8> {
    let mut drawn = Zeroizing::new([0; 32]);
    rng.fill_bytes(drawn.as_mut());
    let (sender, shared) = match made::exchange(&drawn, &recipient.0) {
        Some(shared) => (EncryptPublicKey(*drawn), shared),
        None => {
            let ephemeral = EncryptKey::from_bytes(&drawn);
            let shared = ephemeral.secret.diffie_hellman(&PublicKey::from(recipient.0));
            (ephemeral.public, shared.to_bytes())
        }
    };
    let key = exchange_key(&sender, recipient, &shared);
    let mut out = sender.0.to_vec();
    out.extend_from_slice(&cipher::seal(&key, rng, aad, plaintext));
    out
}

/// Opens what [`seal_to`] made for this key.
///
/// # Errors
/// [`cipher::OpenError`].
pub fn open_sealed(
    key: &EncryptKey,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, cipher::OpenError> {
    let (sender, text) = sealed.split_first_chunk::<32>().ok_or(cipher::OpenError)?;
    let sender = EncryptPublicKey(*sender);
    let shared = made::exchange(&sender.0, &key.public.0).or_else(|| key.exchange(&sender));
    let key = exchange_key(&sender, &key.public, &shared.ok_or(cipher::OpenError)?);
    cipher::open(&key, aad, text)
}

/// Both public keys go into the hash, so that the key belongs to this exchange alone.
fn exchange_key(
    sender: &EncryptPublicKey,
    recipient: &EncryptPublicKey,
    shared: &[u8; 32],
) -> SymmetricKey {
    let digest = Hasher::new("quorate.seal_to.v1")
        .field(&sender.0)
        .field(&recipient.0)
        .field(shared)
        .finish();
    SymmetricKey(digest.0)
}

#[cfg(test)]
mod tests;
