//! Transactions: making, checking and encrypting them.
//!
//! A trx is signed by its sender over SHA-256 of its protobuf form without the fields that a relay
//! may change (`ResendCount`, `StorageType`) and the signature itself; `Data` is the encrypted
//! payload. What can be decided from a trx alone is decided by [`check`]; permission, expiry and
//! duplicates need the ledger.

use prost::Message as _;
use quorate_crypto::cipher::{self, SymmetricKey};
use quorate_crypto::hash::{Digest, sha256};
use quorate_crypto::member::{self, MemberKey, MemberPublicKey};
use rand_core::CryptoRng;

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::ids::{GroupId, TrxId};
use crate::proto::{MapWriteBatch, MapWriteOp, Trx};
use crate::state::{self, WriteError};

pub use crate::proto::TrxType;

/// The one version there is.
pub const VERSION: &str = "2.0.0";

/// How long after its making a trx of ours expires, in nanoseconds.
pub const EXPIRY_NS: i64 = 30_000_000_000;

/// Length of a signature: R, S, V.
pub const SIGNATURE: usize = 65;

/// Longest encoding of a trx, in bytes: the longest data and its envelope.
pub const MAX_TRX: usize = Limits::REFERENCE.consensus_data + 1024;

/// Largest payloads, encrypted, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Of any type but CONSENSUS.
    pub data: usize,
    /// Of a CONSENSUS trx, which carries the responses and dealer logs of all producers.
    pub consensus_data: usize,
}

impl Limits {
    /// 300 KiB as in the reference; 768 KiB for a consensus change, so that it fits a block.
    pub const REFERENCE: Self = Self { data: 300 * 1024, consensus_data: 768 * 1024 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::REFERENCE
    }
}

/// Why a trx is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrxError {
    /// Its version is not [`VERSION`].
    #[error("trx Version mismatch")]
    Version,
    /// It belongs to another group.
    #[error("trx belongs to another group")]
    Group,
    /// Its id is not a UUID in lower-case hyphenated form.
    #[error("trx id is not a lower-case hyphenated UUID")]
    Id,
    /// Its type is not one that a ledger holds.
    #[error("trx type {0} is not known")]
    Type(i32),
    /// Its data is too long.
    #[error("trx data of {length} bytes is over the limit of {limit}")]
    Oversize {
        /// Length of the data.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// Its sender is neither a key text nor an Ethereum address.
    #[error("trx sender is neither a public key nor an Ethereum address")]
    Sender,
    /// Its signature is not by its sender.
    #[error("trx signature is not valid")]
    Signature,
    /// A time is negative.
    #[error("trx time is negative")]
    Time,
    /// A field that the signature does not cover is set, so that it could be changed on the way.
    #[error("trx sets a field its signature does not cover")]
    Unsigned,
}

/// Who sent a trx.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sender {
    /// A member key.
    Key(MemberPublicKey),
    /// The Ethereum address of a member key, in lower case.
    Address(String),
}

impl Sender {
    /// Reads a sender's text. A key has one spelling, because permissions are looked up by it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with("0x") && member::is_address(text) {
            return Some(Self::Address(text.to_ascii_lowercase()));
        }
        let key: MemberPublicKey = text.parse().ok()?;
        (key.to_string() == text).then_some(Self::Key(key))
    }

    /// Whether this is the member with `key`, however it is named.
    #[must_use]
    pub fn is(&self, key: &MemberPublicKey) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Address(address) => key.eth_address().eq_ignore_ascii_case(address),
        }
    }
}

impl Trx {
    /// Its id; `None` unless written in the one accepted form.
    #[must_use]
    pub fn id(&self) -> Option<TrxId> {
        TrxId::from_canonical(&self.trx_id)
    }

    /// Its type, if it is one that a ledger holds.
    #[must_use]
    pub fn trx_type(&self) -> Option<TrxType> {
        match TrxType::try_from(self.r#type).ok()? {
            TrxType::ReqBlock | TrxType::ReqBlockResp => None,
            kind => Some(kind),
        }
    }

    /// Its sender.
    #[must_use]
    pub fn sender(&self) -> Option<Sender> {
        Sender::parse(&self.sender_pubkey)
    }

    /// What the sender signs.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let signed =
            Self { resend_count: 0, sender_sign: Vec::new(), storage_type: 0, ..self.clone() };
        sha256(&signed.encode_to_vec())
    }

    /// Whether the signature is the sender's.
    #[must_use]
    pub fn verify_signature(&self) -> bool {
        self.sender_sign.len() == SIGNATURE
            && member::verify_sender(&self.sender_pubkey, &self.digest(), &self.sender_sign)
    }

    /// Whether it has expired at `now_ns` (nanoseconds since the Unix epoch); 0 never expires.
    #[must_use]
    pub const fn is_expired(&self, now_ns: i64) -> bool {
        self.expired != 0 && self.expired < now_ns
    }
}

/// A trx with its length in front of its protobuf form, in the one canonical spelling.
impl Canonical for Trx {
    const MAX_BYTES: usize = MAX_TRX + 5;

    fn write(&self, writer: &mut Writer) {
        writer.message(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.message("trx", MAX_TRX)
    }
}

/// Makes and signs a trx. `data` is the payload, already encrypted; times are nanoseconds since the
/// Unix epoch, `expires` 0 means never.
#[must_use]
#[expect(clippy::too_many_arguments, reason = "what a trx says, each of another type")]
pub fn build(
    key: &MemberKey,
    group: GroupId,
    kind: TrxType,
    data: Vec<u8>,
    id: TrxId,
    now_ns: i64,
    expires: i64,
) -> Trx {
    let mut trx = Trx {
        trx_id: id.to_string(),
        r#type: kind as i32,
        group_id: group.to_string(),
        data,
        time_stamp: now_ns,
        version: VERSION.to_owned(),
        expired: expires,
        sender_pubkey: key.public().to_string(),
        ..Trx::default()
    };
    trx.sender_sign = key.sign(&trx.digest()).0.to_vec();
    trx
}

/// Signs a trx of the own member again with new times: the same trx to the ledger, which knows it by
/// its id, so it can be ordered although the first signing has expired.
#[must_use]
pub fn renew(key: &MemberKey, trx: &Trx, now_ns: i64, expires: i64) -> Trx {
    let mut renewed = Trx { time_stamp: now_ns, expired: expires, ..trx.clone() };
    renewed.sender_pubkey = key.public().to_string();
    renewed.sender_sign = key.sign(&renewed.digest()).0.to_vec();
    renewed
}

/// Checks everything that can be told from the trx alone, cheap things first.
///
/// # Errors
/// [`TrxError`].
pub fn check(trx: &Trx, group: GroupId, limits: Limits) -> Result<TrxId, TrxError> {
    if trx.version != VERSION {
        return Err(TrxError::Version);
    }
    if trx.group_id != group.to_string() {
        return Err(TrxError::Group);
    }
    let id = trx.id().ok_or(TrxError::Id)?;
    let kind = trx.trx_type().ok_or(TrxError::Type(trx.r#type))?;
    let limit = match kind {
        TrxType::Consensus => limits.consensus_data,
        _ => limits.data,
    };
    let length = trx.data.len();
    if length > limit {
        return Err(TrxError::Oversize { length, limit });
    }
    if trx.resend_count != 0 || trx.storage_type != 0 {
        return Err(TrxError::Unsigned);
    }
    if trx.time_stamp < 0 || trx.expired < 0 {
        return Err(TrxError::Time);
    }
    if trx.sender().is_none() {
        return Err(TrxError::Sender);
    }
    if !trx.verify_signature() {
        return Err(TrxError::Signature);
    }
    Ok(id)
}

/// Encrypts a payload with the group's cipher key.
#[must_use]
pub fn encrypt_payload(key: &SymmetricKey, rng: &mut impl CryptoRng, payload: &[u8]) -> Vec<u8> {
    cipher::seal(key, rng, &[], payload)
}

/// Decrypts a trx's data with the group's cipher key.
///
/// # Errors
/// [`cipher::OpenError`] if it was altered or encrypted with another key.
pub fn decrypt_payload(key: &SymmetricKey, data: &[u8]) -> Result<Vec<u8>, cipher::OpenError> {
    cipher::open(key, &[], data)
}

/// Most writes of one MAP_WRITE trx.
pub const MAX_MAP_WRITES: usize = 1024;

/// Why a MAP_WRITE payload is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapWriteError {
    /// It is not a batch.
    #[error("not a batch of map writes")]
    Malformed,
    /// It has no writes, or more than [`MAX_MAP_WRITES`].
    #[error("a batch has 1 to {MAX_MAP_WRITES} writes, not {0}")]
    Count(usize),
    /// Write number `.0` says something that its operation does not take.
    #[error("write {0} does not fit its operation")]
    Operation(usize),
    /// Write number `.0` has no map name.
    #[error("write {0} names no map")]
    Map(usize),
    /// A name, key or value is too long.
    #[error(transparent)]
    Size(#[from] WriteError),
}

/// Reads and checks a MAP_WRITE payload. Which maps a member may write is for the executor to say.
///
/// # Errors
/// [`MapWriteError`].
pub fn read_map_writes(payload: &[u8]) -> Result<MapWriteBatch, MapWriteError> {
    let batch = MapWriteBatch::decode(payload).map_err(|_| MapWriteError::Malformed)?;
    if batch.entries.is_empty() || batch.entries.len() > MAX_MAP_WRITES {
        return Err(MapWriteError::Count(batch.entries.len()));
    }
    for (place, write) in batch.entries.iter().enumerate() {
        if write.map.is_empty() {
            return Err(MapWriteError::Map(place));
        }
        state::check_write(&write.map, &write.key, &write.value)?;
        state::check_write(&write.map, &write.key, write.expected.as_deref().unwrap_or_default())?;
        let fits = match MapWriteOp::try_from(write.op) {
            Ok(MapWriteOp::Put) => write.expected.is_none(),
            Ok(MapWriteOp::Delete) => write.expected.is_none() && write.value.is_empty(),
            Ok(MapWriteOp::CompareAndSet) => true,
            Err(_) => false,
        };
        if !fits {
            return Err(MapWriteError::Operation(place));
        }
    }
    Ok(batch)
}

#[cfg(test)]
#[path = "trx_tests.rs"]
mod tests;
