//! Snapshots: the state after a signature, as a file that proves itself. `[7.5]`
//!
//! A snapshot is an entry of type 1 whose view has its highest bit set. Its public part is
//! `[u8 1][i64 seqno][i64 0]`, `[u64 32][leaf of the signature]`, `[u64 length][u64 first seqno of each
//! view]`, then the public maps: `[u64 length][name][u64 seqno][u64 length]` and for each entry
//! `[u64 length][key][padding]`, `[u64 8 + length][u64 seqno][value][padding]`, padded to 8 bytes.
//! The private maps follow encrypted, as in transactions.
//!
//! The leader writes SHA-256 of the snapshot into [`SNAPSHOT_EVIDENCE`], and makes it the claims
//! digest of that transaction. Its receipt, behind the snapshot in the file, proves the snapshot.

use quorate_crypto::cipher::TAG;
use quorate_crypto::hash::{Digest, sha256};

use super::entry::{EntryError, HEAD, HEADER, Head, Input, PUBLIC, VERSION, array};
use super::maps::{SINGLE, SNAPSHOT_EVIDENCE, SnapshotEvidence, TREE, row};
use super::receipt::{Proven, Receipt, ReceiptError};
use super::secret::LedgerSecret;
use super::tree::{Tree, TreeError};
use super::txid::TxId;
use crate::state::{Entries, Key, State, WriteError, WriteSet, check_write};

/// Longest snapshot, in bytes.
pub const MAX_SNAPSHOT: usize = 4 * 1024 * 1024 * 1024 - 1;
/// Most views that a history may have.
pub const MAX_VIEWS: usize = 1024 * 1024;

/// The highest bit of the view.
const MARK: u32 = 1 << 31;
const KIND: u8 = 1;

/// The state after a signature, and what is needed to go on from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The signature.
    pub id: TxId,
    /// Its leaf in the Merkle tree. The tree before it stands in the state.
    pub leaf: Digest,
    /// First seqno of each view, from view 1 on; views without entries have that of the next.
    pub views: Vec<u64>,
    /// The state, with all built-in maps.
    pub state: State,
}

/// Why bytes are not a snapshot, or it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The entry is wrong.
    #[error("snapshot: {0}")]
    Entry(#[from] EntryError),
    /// The Merkle tree is missing or wrong.
    #[error("snapshot: {0}")]
    Tree(#[from] TreeError),
    /// The state has no tree, or that of another signature.
    #[error("snapshot: the state does not hold the Merkle tree of the signature")]
    OtherTree,
    /// The receipt behind it does not hold.
    #[error("snapshot: {0}")]
    Receipt(#[from] ReceiptError),
    /// The receipt is not that of this snapshot.
    #[error("snapshot: the receipt is not that of this snapshot")]
    OtherSnapshot,
}

impl From<WriteError> for SnapshotError {
    fn from(error: WriteError) -> Self {
        Self::Entry(error.into())
    }
}

impl Snapshot {
    /// The bytes of the snapshot; the same on every node.
    ///
    /// # Errors
    /// [`SnapshotError::Entry`] if it is too long, or its id is none.
    pub fn encode(&self, secret: &LedgerSecret) -> Result<Vec<u8>, SnapshotError> {
        if !self.id.is_valid() || self.views.len() > MAX_VIEWS {
            return Err(EntryError::Invalid("transaction id or view history").into());
        }
        let (seqno, mut out) = (self.id.seqno, vec![VERSION, 0]);
        out.resize(HEADER + TAG, 0);
        out.extend_from_slice(&seqno.to_le_bytes());
        let view = u32::try_from(self.id.view).expect("a valid id") | MARK;
        out.extend_from_slice(&view.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.push(KIND);
        number(&mut out, seqno);
        number(&mut out, 0);
        number(&mut out, 32);
        out.extend_from_slice(&self.leaf.0);
        number(&mut out, 8 * self.views.len() as u64);
        self.views.iter().for_each(|first| number(&mut out, *first));
        self.maps(&mut out, true);
        let public = out.len() - HEAD;
        self.maps(&mut out, false);
        if out.len() > MAX_SNAPSHOT {
            return Err(EntryError::TooLong(out.len() as u64).into());
        }
        let size = (out.len() - HEADER) as u64;
        out[2..HEADER].copy_from_slice(&size.to_le_bytes()[..6]);
        out[HEAD - 8..HEAD].copy_from_slice(&(public as u64).to_le_bytes());
        let (front, private) = out.split_at_mut(HEAD + public);
        if !private.is_empty() {
            let tag = secret.seal_snapshot(self.id, &front[HEAD..], private);
            front[HEADER..HEADER + TAG].copy_from_slice(&tag);
        }
        Ok(out)
    }

    fn maps(&self, out: &mut Vec<u8>, public: bool) {
        for map in self.state.maps().filter(|map| map.starts_with(PUBLIC) == public) {
            number(out, map.len() as u64);
            out.extend_from_slice(map.as_bytes());
            number(out, self.id.seqno);
            let length = out.len();
            number(out, 0);
            for (key, value) in self.state.iter(map) {
                number(out, key.len() as u64);
                out.extend_from_slice(key);
                pad(out, key.len());
                number(out, 8 + value.len() as u64);
                number(out, self.id.seqno);
                out.extend_from_slice(value);
                pad(out, value.len());
            }
            let size = (out.len() - length - 8) as u64;
            out[length..length + 8].copy_from_slice(&size.to_le_bytes());
        }
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn decode(bytes: &[u8], secret: &LedgerSecret) -> Result<Self, SnapshotError> {
        let head = Head::read_within(bytes, MAX_SNAPSHOT, MARK)?;
        if bytes.len() < head.length {
            return Err(EntryError::Truncated.into());
        }
        if bytes.len() > head.length {
            return Err(EntryError::Trailing(bytes.len() - head.length).into());
        }
        let (public, private) = bytes[HEAD..].split_at(head.public);
        let tag: [u8; TAG] = array(&bytes[HEADER..]);
        if head.flags != super::Flags::NONE || (private.is_empty() && tag != [0; TAG]) {
            return Err(EntryError::Invalid("flags or tag").into());
        }
        let mut input = Input(public);
        if input.array()? != [KIND] {
            return Err(EntryError::Invalid("type").into());
        }
        if input.number()? != head.id.seqno || input.number()? != 0 {
            return Err(EntryError::Invalid("seqno").into());
        }
        let leaf = Digest::from_slice(input.string()?).ok_or(EntryError::Invalid("leaf"))?;
        let views = read_views(input.string()?)?;
        let mut state = State::new();
        read_maps(&mut input, &mut state, head.id.seqno, true)?;
        if !private.is_empty() {
            let clear = secret.open_snapshot(head.id, public, private, &tag);
            let clear = clear.map_err(|_| EntryError::Sealed)?;
            read_maps(&mut Input(&clear), &mut state, head.id.seqno, false)?;
        }
        Ok(Self { id: head.id, leaf, views, state })
    }

    /// The Merkle tree after the signature: that in the state, and its leaf.
    ///
    /// # Errors
    /// [`SnapshotError::OtherTree`] or [`SnapshotError::Tree`].
    pub fn tree(&self) -> Result<Tree, SnapshotError> {
        let row = self.state.get(TREE, &SINGLE).ok_or(SnapshotError::OtherTree)?;
        let mut tree = Tree::deserialise(row)?;
        if tree.size() != self.id.seqno {
            return Err(SnapshotError::OtherTree);
        }
        tree.append(self.leaf);
        Ok(tree)
    }
}

/// What the transaction of a snapshot's evidence writes, and its claims digest.
///
/// # Errors
/// [`WriteError`]: never, the row is small.
pub fn evidence(snapshot: &[u8], seqno: u64) -> Result<(WriteSet, Digest), WriteError> {
    let hash = sha256(snapshot);
    let mut writes = WriteSet::new();
    writes.put(SNAPSHOT_EVIDENCE, SINGLE, row(&SnapshotEvidence { hash, version: seqno }))?;
    Ok((writes, hash))
}

/// The snapshot at the front of a file, and the receipt behind it, which is missing while the
/// evidence is not committed.
///
/// # Errors
/// [`SnapshotError::Entry`].
pub fn split(file: &[u8]) -> Result<(&[u8], &[u8]), SnapshotError> {
    let head = Head::read_within(file, MAX_SNAPSHOT, MARK)?;
    Ok(file.split_at_checked(head.length).ok_or(EntryError::Truncated)?)
}

/// Checks that the service whose certificate (PEM) this is has written the digest of the file's
/// snapshot into its ledger. Returns the snapshot's bytes and what the receipt proves.
///
/// # Errors
/// [`SnapshotError`].
pub fn verify<'a>(file: &'a [u8], service: &str) -> Result<(&'a [u8], Proven), SnapshotError> {
    let (snapshot, receipt) = split(file)?;
    let proven = Receipt::from_json(receipt)?.verify(service)?;
    let seqno = Head::read_within(snapshot, MAX_SNAPSHOT, MARK)?.id.seqno;
    let later = proven.id.is_some_and(|id| id.seqno > seqno);
    if proven.claims == sha256(snapshot) && later {
        Ok((snapshot, proven))
    } else {
        Err(SnapshotError::OtherSnapshot)
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

const fn padding(length: usize) -> usize {
    length.wrapping_neg() % 8
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + padding(length), 0);
}

/// First seqnos of views never go back.
fn read_views(bytes: &[u8]) -> Result<Vec<u64>, EntryError> {
    let (views, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || views.len() > MAX_VIEWS {
        return Err(EntryError::Invalid("view history"));
    }
    let views: Vec<u64> = views.iter().map(|first| u64::from_le_bytes(*first)).collect();
    if views.is_sorted() { Ok(views) } else { Err(EntryError::Invalid("view history")) }
}

fn read_maps(
    input: &mut Input<'_>,
    state: &mut State,
    seqno: u64,
    public: bool,
) -> Result<(), SnapshotError> {
    let mut last: Option<&str> = None;
    while !input.0.is_empty() {
        let name = input.string()?;
        let name = std::str::from_utf8(name).map_err(|_| EntryError::Invalid("map name"))?;
        let ordered = last.is_none_or(|last| last < name);
        if !ordered || name.starts_with(PUBLIC) != public || input.number()? != seqno {
            return Err(EntryError::Invalid("map").into());
        }
        last = Some(name);
        let mut rows = Input(input.string()?);
        let mut entries = Entries::new();
        while !rows.0.is_empty() {
            let key = padded(&mut rows)?;
            let value = padded(&mut rows)?;
            let mut value = Input(value);
            if value.number()? != seqno
                || entries.last_key_value().is_some_and(|(k, _)| **k >= *key)
            {
                return Err(EntryError::Invalid("row").into());
            }
            check_write(name, key, value.0)?;
            entries.insert(Key::from(key), value.0.into());
        }
        if entries.is_empty() {
            return Err(EntryError::Invalid("empty map").into());
        }
        state.add_map(name, entries);
    }
    Ok(())
}

fn padded<'a>(input: &mut Input<'a>) -> Result<&'a [u8], EntryError> {
    let string = input.string()?;
    let padding = padding(string.len());
    let (zeros, rest) = input.0.split_at_checked(padding).ok_or(EntryError::Truncated)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(EntryError::Invalid("padding"));
    }
    input.0 = rest;
    Ok(string)
}

#[cfg(test)]
mod tests;
