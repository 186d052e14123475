//! Canonical encoding with limits, for everything that is ours.
//!
//! An encoded value starts with one byte, its format version ([`VERSION`]); then its fields follow
//! in order: numbers big-endian in their full width, byte strings and texts behind their length in 4
//! bytes, lists behind their count in 4 bytes. There is exactly one encoding of a value: what
//! [`Canonical::from_bytes`] accepts, [`Canonical::to_bytes`] writes again byte for byte. Messages
//! of the reference inside are kept in their protobuf form, in its one canonical spelling
//! ([`decode_message`]).
//!
//! Reading never allocates more than a small multiple of the bytes given, and every string and list
//! has a limit.

use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::member::{MemberPublicKey, MemberSignature};
use quorate_crypto::view::{ViewPublicKey, ViewSignature};

use crate::ids::{BlockId, Epoch, GroupId, TrxId, ViewNumber};

/// Version byte in front of every encoded value.
pub const VERSION: u8 = 1;

/// Room for most values, so that few grow while they are written.
const USUAL_BYTES: usize = 64;

/// Why bytes are not the encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end inside a field.
    #[error("the bytes end early")]
    Truncated,
    /// Bytes are left over behind the value.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// A string, list or whole value is larger than allowed.
    #[error("{what}: {length} is more than the limit of {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The version byte is not one this program reads.
    #[error("format version {0} is not known")]
    Version(u8),
    /// A field has a value it cannot have.
    #[error("wrong {0}")]
    Invalid(&'static str),
}

/// A value with one canonical encoding.
pub trait Canonical: Sized {
    /// Longest encoding read, in bytes, version byte included.
    const MAX_BYTES: usize;

    /// Writes the fields, without a version byte.
    fn write(&self, writer: &mut Writer);

    /// Reads what [`Canonical::write`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not the one encoding of a value within its limits.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// The whole encoding.
    #[must_use]
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(USUAL_BYTES);
        writer.u8(VERSION);
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads a whole encoding, to its last byte.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not the one encoding of a value within its limits.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        limit("value", bytes.len(), Self::MAX_BYTES)?;
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let value = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Reads the version byte in front of a whole encoding.
///
/// # Errors
/// [`CodecError`] if there is none, or another one than [`VERSION`].
pub fn read_version(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    match reader.u8()? {
        VERSION => Ok(()),
        other => Err(CodecError::Version(other)),
    }
}

const fn limit(what: &'static str, length: usize, limit: usize) -> Result<(), CodecError> {
    if length > limit { Err(CodecError::TooLong { what, length, limit }) } else { Ok(()) }
}

/// Writes fields one after the other.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty one with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The bytes written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number of 2 bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// A number of 4 bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// A number of 8 bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    /// A signed number of 8 bytes.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Bytes whose length is known to the reader.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A count or length.
    ///
    /// # Panics
    /// If it does not fit 4 bytes: our own mistake, everything we write is bounded far below.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("counts and lengths fit 4 bytes"));
    }

    /// A byte string.
    ///
    /// # Panics
    /// As [`Writer::count`].
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// A list.
    ///
    /// # Panics
    /// As [`Writer::count`].
    pub fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        for item in items {
            write(self, item);
        }
    }

    /// A protobuf message.
    ///
    /// # Panics
    /// As [`Writer::count`].
    pub fn message(&mut self, message: &impl prost::Message) {
        self.count(message.encoded_len());
        message.encode(&mut self.0).expect("there is room for every message");
    }
}

/// Reads fields one after the other.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CodecError::Trailing`] if bytes are left.
    pub const fn finish(self) -> Result<(), CodecError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(CodecError::Trailing(left)),
        }
    }

    /// Bytes of a known length.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    /// An array of bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(CodecError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        self.array().map(u8::from_be_bytes)
    }

    /// A number of 2 bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number of 4 bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of 8 bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A signed number of 8 bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A count or length of at most `max`.
    ///
    /// # Errors
    /// [`CodecError::TooLong`], naming `what`.
    pub fn count(&mut self, what: &'static str, max: usize) -> Result<usize, CodecError> {
        let count = self.u32()? as usize;
        limit(what, count, max)?;
        Ok(count)
    }

    /// A byte string of at most `max` bytes.
    ///
    /// # Errors
    /// [`CodecError::TooLong`], naming `what`, or [`CodecError::Truncated`].
    pub fn bytes(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], CodecError> {
        let length = self.count(what, max)?;
        self.raw(length)
    }

    /// A text of at most `max` bytes.
    ///
    /// # Errors
    /// As [`Reader::bytes`], and [`CodecError::Invalid`] if it is not UTF-8.
    pub fn text(&mut self, what: &'static str, max: usize) -> Result<String, CodecError> {
        let bytes = self.bytes(what, max)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| CodecError::Invalid(what))
    }

    /// A list of at most `max` items.
    ///
    /// # Errors
    /// [`CodecError::TooLong`], naming `what`, and what `read` gives.
    pub fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.count(what, max)?;
        // The count is a claim: memory grows with items really read, not with it.
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// A protobuf message of at most `max` bytes, in its canonical spelling.
    ///
    /// # Errors
    /// [`CodecError::Invalid`], naming `what`, and as [`Reader::bytes`].
    pub fn message<M: prost::Message + Default>(
        &mut self,
        what: &'static str,
        max: usize,
    ) -> Result<M, CodecError> {
        decode_message(what, self.bytes(what, max)?, max)
    }
}

/// Decodes a protobuf message in its one canonical spelling: fields in order, defaults left out,
/// nothing unknown. So the bytes of a message can be hashed by anyone who has the message.
///
/// # Errors
/// [`CodecError::TooLong`] or [`CodecError::Invalid`], naming `what`.
pub fn decode_message<M: prost::Message + Default>(
    what: &'static str,
    bytes: &[u8],
    max: usize,
) -> Result<M, CodecError> {
    limit(what, bytes.len(), max)?;
    let message = M::decode(bytes).map_err(|_| CodecError::Invalid(what))?;
    if message.encoded_len() != bytes.len() || message.encode_to_vec() != bytes {
        return Err(CodecError::Invalid(what));
    }
    Ok(message)
}

macro_rules! counter {
    ($name:ident) => {
        impl Canonical for $name {
            const MAX_BYTES: usize = 9;

            fn write(&self, writer: &mut Writer) {
                writer.u64(self.0);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
                reader.u64().map(Self)
            }
        }
    };
}

counter!(BlockId);
counter!(Epoch);
counter!(ViewNumber);

macro_rules! uuid {
    ($name:ident) => {
        impl Canonical for $name {
            const MAX_BYTES: usize = 17;

            fn write(&self, writer: &mut Writer) {
                writer.raw(self.0.as_bytes());
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
                reader.array().map(|bytes| Self(uuid::Uuid::from_bytes(bytes)))
            }
        }
    };
}

uuid!(GroupId);
uuid!(TrxId);

macro_rules! bytes {
    ($name:ident, $length:literal) => {
        impl Canonical for $name {
            const MAX_BYTES: usize = $length + 1;

            fn write(&self, writer: &mut Writer) {
                writer.raw(&self.0);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
                reader.array().map(Self)
            }
        }
    };
}

bytes!(Digest, 32);
bytes!(ViewPublicKey, 32);
bytes!(ViewSignature, 64);
bytes!(MemberSignature, 65);

impl Canonical for MemberPublicKey {
    const MAX_BYTES: usize = 34;

    fn write(&self, writer: &mut Writer) {
        writer.raw(self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Self::from_bytes(&reader.array::<33>()?).map_err(|_| CodecError::Invalid("member key"))
    }
}

impl Canonical for Arc<[u8]> {
    const MAX_BYTES: usize = 64 * 1024 * 1024;

    fn write(&self, writer: &mut Writer) {
        writer.bytes(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.bytes("bytes", Self::MAX_BYTES).map(Into::into)
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
