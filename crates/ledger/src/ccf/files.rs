//! Names and layout of the files of a ledger: pure functions, no I/O. `[7.5]`
//!
//! A chunk file is `[u64 offset of the position table; 0 while open][entries]`, and once complete
//! `[u32 position of each entry]` behind them. A chunk that is still open may be zeroed ahead.

use std::fmt;
use std::str::FromStr;

use super::entry::{EntryError, Head};

/// Bytes before the first entry of a chunk.
pub const CHUNK_HEADER: usize = 8;
/// Longest chunk: positions have 32 bits.
pub const MAX_CHUNK: usize = u32::MAX as usize;

const COMMITTED: &str = ".committed";

/// The name of a chunk file: `ledger_<first>`, `ledger_<first>-<last>`,
/// `ledger_<first>-<last>.committed`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkName {
    /// Seqno of the first entry.
    pub first: u64,
    /// Seqno of the last entry; `None` while it is open.
    pub last: Option<u64>,
    /// Whether all of it is committed: it never changes again.
    pub committed: bool,
}

/// A text is not the name of such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a ledger or snapshot file")]
pub struct NameError;

/// A number in its one spelling.
fn number(text: &str) -> Result<u64, NameError> {
    let number: u64 = text.parse().map_err(|_| NameError)?;
    if number.to_string() == text { Ok(number) } else { Err(NameError) }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ledger_{}", self.first)?;
        if let Some(last) = self.last {
            write!(f, "-{last}")?;
        }
        f.write_str(if self.committed { COMMITTED } else { "" })
    }
}

impl FromStr for ChunkName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let range = text.strip_prefix("ledger_").ok_or(NameError)?;
        let (range, committed) = match range.strip_suffix(COMMITTED) {
            Some(range) => (range, true),
            None => (range, false),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, Some(number(last)?)),
            None => (number(range)?, None),
        };
        let ordered = first >= 1 && last.is_none_or(|last| first <= last);
        if !ordered || (committed && last.is_none()) {
            return Err(NameError);
        }
        Ok(Self { first, last, committed })
    }
}

/// The name of a snapshot file: `snapshot_<seqno>_<evidence seqno>[.committed]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotName {
    /// The seqno it is taken at.
    pub seqno: u64,
    /// The seqno of the transaction with its digest.
    pub evidence: u64,
    /// Whether the evidence is committed: a receipt follows the snapshot.
    pub committed: bool,
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.committed { COMMITTED } else { "" };
        write!(f, "snapshot_{}_{}{suffix}", self.seqno, self.evidence)
    }
}

impl FromStr for SnapshotName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let range = text.strip_prefix("snapshot_").ok_or(NameError)?;
        let (range, committed) = match range.strip_suffix(COMMITTED) {
            Some(range) => (range, true),
            None => (range, false),
        };
        let (seqno, evidence) = range.split_once('_').ok_or(NameError)?;
        let (seqno, evidence) = (number(seqno)?, number(evidence)?);
        if seqno == 0 || evidence <= seqno {
            return Err(NameError);
        }
        Ok(Self { seqno, evidence, committed })
    }
}

/// Why bytes are not a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The chunk is too short, or longer than positions can express.
    #[error("a chunk of {0} bytes")]
    Length(usize),
    /// An entry does not begin where it should.
    #[error("chunk, at byte {at}: {error}")]
    Entry {
        /// Where in the chunk.
        at: usize,
        /// What is wrong.
        error: EntryError,
    },
    /// The position table is not that of the entries.
    #[error("chunk: the position table at byte {0} does not fit the entries")]
    Table(u64),
    /// Neither entries nor zeros.
    #[error("chunk: something is left over at byte {0}")]
    Left(usize),
}

/// A complete chunk of these entries.
///
/// # Errors
/// [`ChunkError::Length`].
pub fn chunk<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, ChunkError> {
    let mut bytes = vec![0; CHUNK_HEADER];
    let mut table = Vec::new();
    for entry in entries {
        let at = u32::try_from(bytes.len()).map_err(|_| ChunkError::Length(bytes.len()))?;
        table.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(entry);
    }
    let end = bytes.len() as u64;
    bytes[..CHUNK_HEADER].copy_from_slice(&end.to_le_bytes());
    bytes.extend_from_slice(&table);
    if bytes.len() > MAX_CHUNK { Err(ChunkError::Length(bytes.len())) } else { Ok(bytes) }
}

/// The entries of a chunk, in order, and whether it is complete. Entries are found by their lengths;
/// a position table must say the same.
///
/// # Errors
/// [`ChunkError`].
pub fn entries(chunk: &[u8]) -> Result<(Vec<&[u8]>, bool), ChunkError> {
    if chunk.len() > MAX_CHUNK {
        return Err(ChunkError::Length(chunk.len()));
    }
    let header = chunk.first_chunk().ok_or(ChunkError::Length(chunk.len()))?;
    let offset = u64::from_le_bytes(*header);
    let complete = offset != 0;
    let end = match usize::try_from(offset) {
        Ok(0) => chunk.len(),
        Ok(end) if (CHUNK_HEADER..=chunk.len()).contains(&end) => end,
        _ => return Err(ChunkError::Table(offset)),
    };
    let (mut entries, mut at) = (Vec::new(), CHUNK_HEADER);
    let mut table = chunk[end..].chunks(4);
    while at < end {
        let rest = &chunk[at..end];
        if !complete && rest[0] == 0 {
            if rest.iter().any(|byte| *byte != 0) {
                return Err(ChunkError::Left(at));
            }
            break;
        }
        let head = Head::read(rest).map_err(|error| ChunkError::Entry { at, error })?;
        let truncated = ChunkError::Entry { at, error: EntryError::Truncated };
        entries.push(rest.get(..head.length).ok_or(truncated)?);
        let position = u32::try_from(at).expect("a chunk's positions have 32 bits");
        if complete && table.next() != Some(&position.to_le_bytes()) {
            return Err(ChunkError::Table(offset));
        }
        at += head.length;
    }
    if complete && (table.next().is_some() || entries.is_empty()) {
        return Err(ChunkError::Table(offset));
    }
    Ok((entries, complete))
}

#[cfg(test)]
mod tests;
