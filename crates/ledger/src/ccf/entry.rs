//! Transactions as entries of the ledger. `[7.1]` `[7.2]`
//!
//! Numbers are little endian. An entry is
//! `[u8 version 1][u8 flags][u48 size of the rest]` `[16 bytes tag][u64 seqno][u32 view]`
//! `[u64 length of the public part][public part][private part]`. The public part is
//! `[u8 type 4][i64 seqno][32 bytes claims digest][32 bytes SHA-256 of the commit evidence][i64 0]`,
//! then the public maps. A map is `[u64 length][name][u64 0][u64 0]`, `[u64 writes]`, for each
//! `[u64 length][key][u64 length][value]`, `[u64 removes]`, for each `[u64 length][key]`. The private
//! part, the maps whose name does not begin with `public:`, is the same encrypted with
//! AES-256-GCM: nonce seqno and view as they stand, associated data the public part. Without
//! private maps the tag is zero.
//!
//! There is one encoding of a transaction: maps and keys stand in order, and nothing else is read.

use std::sync::Arc;

use quorate_crypto::cipher::TAG;
use quorate_crypto::hash::{Digest, sha256, sha256_concat};

use super::secret::LedgerSecret;
use super::txid::{MAX_SEQNO, MAX_VIEW, TxId};
use crate::state::{Key, MAX_WRITES, Rows, WriteError, WriteSet, check_write};

/// Longest entry, in bytes; what Raft carries is not longer.
pub const MAX_ENTRY: usize = 4 * 1024 * 1024;
/// Maps with this prefix are readable by anybody who has the ledger.
pub const PUBLIC: &str = "public:";

/// Bytes of version, flags and size.
pub const HEADER: usize = 8;
/// Bytes before the public part: header, tag, seqno, view, length.
pub const HEAD: usize = HEADER + TAG + 8 + 4 + 8;
/// Bytes of the public part before its maps.
const PREAMBLE: usize = 1 + 8 + 32 + 32 + 8;
const CLAIMS: usize = HEAD + 1 + 8;
const EVIDENCE: usize = CLAIMS + 32;

pub(super) const VERSION: u8 = 1;
/// Write set with claims and commit evidence. Types 0, 2 and 3 are older ones.
const KIND_FULL: u8 = 4;
const KIND_EVIDENCE: u8 = 3;
const KIND_PLAIN: u8 = 0;

/// The flags in an entry's header: where chunk files begin and end. They are part of what is hashed,
/// so all nodes cut their files alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The chunk file ends after the entry.
    pub const ENDS_CHUNK: Self = Self(1);
    /// A chunk file starts with the entry.
    pub const STARTS_CHUNK: Self = Self(2);

    /// Both flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the chunk file ends after the entry.
    #[must_use]
    pub const fn ends_chunk(self) -> bool {
        self.0 & Self::ENDS_CHUNK.0 != 0
    }

    /// Whether a chunk file starts with the entry.
    #[must_use]
    pub const fn starts_chunk(self) -> bool {
        self.0 & Self::STARTS_CHUNK.0 != 0
    }
}

/// Why bytes are not an entry, or a transaction does not make one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end inside the entry: what a torn write leaves, too.
    #[error("the entry ends early")]
    Truncated,
    /// Bytes are left over behind the entry.
    #[error("{0} bytes are left over behind the entry")]
    Trailing(usize),
    /// The entry is longer than allowed.
    #[error("an entry of {0} bytes is longer than allowed")]
    TooLong(u64),
    /// A field has a value it cannot have.
    #[error("wrong {0} in the entry")]
    Invalid(&'static str),
    /// A name, key or value is too long.
    #[error("entry: {0}")]
    Write(#[from] WriteError),
    /// The private part does not open with the ledger secret.
    #[error("the private part of the entry does not open with this ledger secret")]
    Sealed,
}

/// What stands in front of an entry, read without the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Where chunk files begin and end.
    pub flags: Flags,
    /// Length of the whole entry, header included.
    pub length: usize,
    /// The transaction's id.
    pub id: TxId,
    /// Length of the public part.
    pub public: usize,
}

impl Head {
    /// Reads the head of the entry that `bytes` begin with; [`HEAD`] bytes are enough.
    ///
    /// # Errors
    /// [`EntryError`]: the bytes are fewer, or are not the head of an entry.
    pub fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        Self::read_within(bytes, MAX_ENTRY, 0)
    }

    /// Reads the head of an entry of at most `max` bytes in whose view the bits `mark` are set, too.
    pub(super) fn read_within(bytes: &[u8], max: usize, mark: u32) -> Result<Self, EntryError> {
        let head: &[u8; HEAD] = bytes.first_chunk().ok_or(EntryError::Truncated)?;
        if head[0] != VERSION {
            return Err(EntryError::Invalid("version"));
        }
        if head[1] > 3 {
            return Err(EntryError::Invalid("flags"));
        }
        let mut size = [0; 8];
        size[..6].copy_from_slice(&head[2..HEADER]);
        let size = u64::from_le_bytes(size);
        let length = size + HEADER as u64;
        let fits = usize::try_from(length).ok().filter(|length| *length <= max);
        let length = fits.ok_or(EntryError::TooLong(length))?;
        let view = u32::from_le_bytes(array(&head[HEADER + TAG + 8..])) ^ mark;
        let id = TxId::new(u64::from(view), u64_at(head, HEADER + TAG));
        if !id.is_valid() {
            return Err(EntryError::Invalid("transaction id"));
        }
        let public = usize::try_from(u64_at(head, HEAD - 8)).unwrap_or(usize::MAX);
        if public < 1 + 8 + 8 || public > length.saturating_sub(HEAD) {
            return Err(EntryError::Invalid("length of the public part"));
        }
        Ok(Self { flags: Flags(head[1]), length, id, public })
    }
}

/// The first `N` bytes, which are there.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a field of fixed size stands in a head of fixed size")
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(&bytes[at..]))
}

/// The leaf of an entry in the Merkle tree:
/// `SHA-256(SHA-256(entry) || SHA-256(commit evidence) || claims digest)`. `[7.2]`
#[must_use]
pub fn leaf(entry: &[u8], evidence: &Digest, claims: &Digest) -> Digest {
    sha256_concat(&[&sha256(entry).0, &evidence.0, &claims.0])
}

/// The leaf of an entry, whose digests are read from where they stand. Nothing else is checked.
///
/// # Errors
/// [`EntryError`] if the bytes are too few, or no transaction.
pub fn leaf_of(entry: &[u8]) -> Result<Digest, EntryError> {
    match *entry.get(HEAD).ok_or(EntryError::Truncated)? {
        KIND_FULL if entry.len() >= HEAD + PREAMBLE => {
            let digest = |at: usize| Digest(array(&entry[at..]));
            Ok(leaf(entry, &digest(EVIDENCE), &digest(CLAIMS)))
        }
        KIND_EVIDENCE if entry.len() >= HEAD + PREAMBLE - 32 => {
            Ok(sha256_concat(&[&sha256(entry).0, &entry[CLAIMS..CLAIMS + 32]]))
        }
        KIND_PLAIN => Ok(sha256(entry)),
        KIND_FULL | KIND_EVIDENCE => Err(EntryError::Truncated),
        _ => Err(EntryError::Invalid("type")),
    }
}

/// A transaction: what the leader executed and every node applies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Its id.
    pub id: TxId,
    /// Digest of what the application claims about it; 32 zero bytes if it claims nothing.
    pub claims: Digest,
    /// SHA-256 of its commit evidence ([`LedgerSecret::evidence_digest`]).
    pub evidence: Digest,
    /// What it changes, in public and private maps.
    pub writes: WriteSet,
}

impl Transaction {
    /// A transaction without claims.
    #[must_use]
    pub fn new(id: TxId, writes: WriteSet, secret: &LedgerSecret) -> Self {
        let evidence = secret.evidence_digest(id);
        Self { id, claims: Digest::default(), evidence, writes }
    }

    /// The entry, in one allocation.
    ///
    /// # Errors
    /// [`EntryError::TooLong`], or [`EntryError::Invalid`] for an id that no entry can have.
    pub fn encode(&self, flags: Flags, secret: &LedgerSecret) -> Result<Arc<[u8]>, EntryError> {
        if !self.id.is_valid() {
            return Err(EntryError::Invalid("transaction id"));
        }
        let (mut public, mut private) = (PREAMBLE as u64, 0);
        for (name, rows) in self.writes.by_map() {
            let part = if name.starts_with(PUBLIC) { &mut public } else { &mut private };
            *part += map_length(name, rows);
        }
        let length = HEAD as u64 + public + private;
        let total = usize::try_from(length).ok().filter(|total| *total <= MAX_ENTRY);
        let total = total.ok_or(EntryError::TooLong(length))?;
        // One allocation: the length of the iterator is known.
        let mut entry: Arc<[u8]> = std::iter::repeat_n(0, total).collect();
        let bytes = Arc::get_mut(&mut entry).expect("nobody else has it yet");
        self.fill(bytes, flags, public, secret);
        Ok(entry)
    }

    fn fill(&self, bytes: &mut [u8], flags: Flags, public: u64, secret: &LedgerSecret) {
        let size = (bytes.len() - HEADER) as u64;
        let mut out = Out { bytes, at: 0 };
        out.put(&[VERSION, flags.0]);
        out.put(&size.to_le_bytes()[..6]);
        out.put(&[0; TAG]);
        out.number(self.id.seqno);
        out.put(&u32::try_from(self.id.view).expect("a valid id").to_le_bytes());
        out.number(public);
        out.put(&[KIND_FULL]);
        out.number(self.id.seqno);
        out.put(&self.claims.0);
        out.put(&self.evidence.0);
        out.number(0);
        for wanted in [true, false] {
            let maps = self.writes.by_map();
            for (name, rows) in maps.filter(|(name, _)| name.starts_with(PUBLIC) == wanted) {
                out.map(name, rows);
            }
        }
        assert_eq!(out.at, out.bytes.len(), "the length was computed right");
        let (front, rest) = bytes.split_at_mut(HEAD);
        let (public, private) = rest.split_at_mut(usize::try_from(public).expect("it is there"));
        if !private.is_empty() {
            let tag = secret.seal(self.id, public, private);
            front[HEADER..HEADER + TAG].copy_from_slice(&tag);
        }
    }

    /// The transaction of an entry, with its private maps.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(entry: &[u8], secret: &LedgerSecret) -> Result<Self, EntryError> {
        let (mut transaction, head, private) = Self::read(entry)?;
        if private.is_empty() {
            return Ok(transaction);
        }
        let public = &entry[HEAD..HEAD + head.public];
        let tag = array(&entry[HEADER..]);
        let private =
            secret.open(head.id, public, private, &tag).map_err(|_| EntryError::Sealed)?;
        read_maps(&mut Input(&private), &mut transaction.writes, false)?;
        Ok(transaction)
    }

    /// The transaction of an entry with its public maps alone: for whoever has no ledger secret.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode_public(entry: &[u8]) -> Result<Self, EntryError> {
        Ok(Self::read(entry)?.0)
    }

    /// The public maps, the head, and the private part as it stands.
    fn read(entry: &[u8]) -> Result<(Self, Head, &[u8]), EntryError> {
        let head = Head::read(entry)?;
        match entry.len() {
            length if length < head.length => return Err(EntryError::Truncated),
            length if length > head.length => {
                return Err(EntryError::Trailing(length - head.length));
            }
            _ => {}
        }
        let (public, private) = entry[HEAD..].split_at(head.public);
        if private.is_empty() && entry[HEADER..HEADER + TAG] != [0; TAG] {
            return Err(EntryError::Invalid("tag"));
        }
        let mut input = Input(public);
        let kind = input.array::<1>()?[0];
        if !matches!(kind, KIND_PLAIN | KIND_EVIDENCE | KIND_FULL) {
            return Err(EntryError::Invalid("type"));
        }
        if input.number()? != head.id.seqno {
            return Err(EntryError::Invalid("seqno"));
        }
        let mut digest = |there| -> Result<Digest, EntryError> {
            if there { input.array().map(Digest) } else { Ok(Digest::default()) }
        };
        let claims = digest(kind == KIND_FULL)?;
        let evidence = digest(kind != KIND_PLAIN)?;
        if input.number()? != 0 {
            return Err(EntryError::Invalid("conflict version"));
        }
        let mut writes = WriteSet::new();
        read_maps(&mut input, &mut writes, true)?;
        Ok((Self { id: head.id, claims, evidence, writes }, head, private))
    }
}

/// Length of a map's writes in an entry.
fn map_length(name: &str, rows: &Rows) -> u64 {
    let mut length = 8 + name.len() + 8 + 8 + 8 + 8;
    for (key, value) in rows.iter() {
        length += 8 + key.len() + value.as_ref().map_or(0, |value| 8 + value.len());
    }
    length as u64
}

/// Where an entry is written.
struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn number(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.put(bytes);
    }

    fn map(&mut self, name: &str, rows: &Rows) {
        self.string(name.as_bytes());
        self.number(0);
        self.number(0);
        let count = self.at;
        self.number(0);
        let mut writes = 0u64;
        for (key, value) in rows.iter() {
            if let Some(value) = value {
                self.string(key);
                self.string(value);
                writes += 1;
            }
        }
        self.bytes[count..count + 8].copy_from_slice(&writes.to_le_bytes());
        self.number(rows.len() as u64 - writes);
        if writes < rows.len() as u64 {
            rows.iter().filter(|(_, value)| value.is_none()).for_each(|(key, _)| self.string(key));
        }
    }
}

/// Where an entry is read from.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(EntryError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn number(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], EntryError> {
        let length = usize::try_from(self.number()?).map_err(|_| EntryError::Truncated)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(EntryError::Truncated)?;
        self.0 = rest;
        Ok(string)
    }

    /// A count of things that take at least `each` bytes.
    fn count(&mut self, each: usize) -> Result<usize, EntryError> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.0.len() / each {
            return Err(EntryError::Truncated);
        }
        Ok(count)
    }
}

/// Reads all maps of a part: their names in order, and all public or all private.
fn read_maps(input: &mut Input<'_>, set: &mut WriteSet, public: bool) -> Result<(), EntryError> {
    let mut last: Option<&str> = None;
    while !input.0.is_empty() {
        let name = input.string()?;
        let name = std::str::from_utf8(name).map_err(|_| EntryError::Invalid("map name"))?;
        if last.is_some_and(|last| last >= name) {
            return Err(EntryError::Invalid("order of maps"));
        }
        if name.starts_with(PUBLIC) != public {
            return Err(EntryError::Invalid("map name"));
        }
        last = Some(name);
        if input.number()? != 0 || input.number()? != 0 {
            return Err(EntryError::Invalid("read version or count"));
        }
        let mut rows = Rows::new();
        let mut before: Option<&[u8]> = None;
        let writes = input.count(16)?;
        for _ in 0..writes {
            let (key, value) = (input.string()?, input.string()?);
            check_write(name, key, value)?;
            require_order(&mut before, key)?;
            rows.insert(Key::from(key), Some(value.into()));
        }
        before = None;
        let removes = input.count(8)?;
        for _ in 0..removes {
            let key = input.string()?;
            check_write(name, key, &[])?;
            require_order(&mut before, key)?;
            if rows.insert(Key::from(key), None).is_some() {
                return Err(EntryError::Invalid("key, written and removed"));
            }
        }
        if rows.is_empty() || set.len() + rows.len() > MAX_WRITES {
            return Err(EntryError::Invalid("number of writes"));
        }
        set.add_map(name, rows);
    }
    Ok(())
}

fn require_order<'a>(before: &mut Option<&'a [u8]>, key: &'a [u8]) -> Result<(), EntryError> {
    if before.replace(key).is_some_and(|before| before >= key) {
        return Err(EntryError::Invalid("order of keys"));
    }
    Ok(())
}

const _: () = assert!(MAX_VIEW < 1 << 31 && MAX_SEQNO <= i64::MAX as u64);

#[cfg(test)]
mod tests;
