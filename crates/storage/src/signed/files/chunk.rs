//! One chunk file [7.5]: `[u64 offset of the position table; 0 while open][entries][u32 position of
//! each entry]`, little endian; positions and the offset count from the start of the file.

use std::ops::Range;
use std::sync::OnceLock;

use crate::disk::Disk;
use crate::error::{Corruption, StoreError};

use super::super::entry::{self, Header};
use super::super::names::ChunkName;
use super::super::sums::{Slot, Spans};

/// Length of a chunk's header.
pub(crate) const CHUNK_HEADER: u64 = 8;
/// Most bytes of one chunk file. A chunk ends with a signature, so this is out of reach.
pub(crate) const MAX_FILE: u64 = 1 << 30;

/// One chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    /// Its name on the disk.
    pub name: ChunkName,
    /// Its last entry so far.
    pub last: u64,
    /// Offset after the last entry.
    pub end: u64,
    /// Flags of the last entry, if they are known.
    pub(super) flags: Option<u8>,
    /// Its entries, while they may be taken back or the file is not durable. Later their positions
    /// are read from the table.
    pub(super) slots: Option<Vec<Slot>>,
    /// What its entries are, once `slots` is gone; not known before they have been read once.
    pub(super) spans: OnceLock<Spans>,
}

impl Chunk {
    /// One that takes no further entry, whose position table begins at `end`.
    pub const fn complete(name: ChunkName, last: u64, end: u64) -> Self {
        Self { name, last, end, flags: None, slots: None, spans: OnceLock::new() }
    }

    /// One without entries.
    pub(super) fn empty(name: ChunkName) -> Self {
        let (last, end) = (name.first - 1, CHUNK_HEADER);
        Self { name, last, end, flags: None, slots: Some(Vec::new()), spans: OnceLock::new() }
    }

    /// Forgets the entries; what they are together is kept.
    pub(super) fn condense(&mut self) {
        if let Some(slots) = self.slots.take() {
            self.spans = Spans::of(&slots, self.end).into();
        }
    }

    pub(super) fn end_position(&self) -> u32 {
        u32::try_from(self.end).expect("below MAX_FILE")
    }

    pub(super) fn count(&self) -> u64 {
        self.last - self.name.first + 1
    }

    /// Length of the file.
    pub fn len(&self) -> u64 {
        self.end + if self.name.last.is_some() { 4 * self.count() } else { 0 }
    }
}

/// The error of an entry that is not where it must be, or not what it must be.
pub(super) fn bad_entry(path: &str, at: u64, seqno: u64) -> StoreError {
    Corruption::new(path, at, Some(seqno), "the entry is missing or bad").into()
}

/// Adds an entry to a chunk.
pub(super) fn push(chunk: &mut Chunk, bytes: &[u8]) -> Result<(), StoreError> {
    if chunk.end + bytes.len() as u64 > MAX_FILE {
        let what = "the chunk is too long";
        return Err(Corruption::new(&chunk.name.path(), chunk.end, Some(chunk.last), what).into());
    }
    let slot = Slot::new(chunk.end_position(), bytes);
    chunk.slots.get_or_insert_default().push(slot);
    chunk.end += bytes.len() as u64;
    chunk.last += 1;
    chunk.flags = Some(entry::flags(bytes));
    Ok(())
}

/// Where the position table of a complete chunk begins, as its length demands and its header says.
pub(crate) fn table_offset(
    disk: &impl Disk,
    path: &str,
    name: ChunkName,
    last: u64,
) -> Result<u64, StoreError> {
    let len = disk.len(path)?;
    let table = (last - name.first + 1).checked_mul(4).and_then(|size| len.checked_sub(size));
    let header = disk.read(path, 0, CHUNK_HEADER as usize)?;
    match table {
        Some(table) if table > CHUNK_HEADER && len <= MAX_FILE && header == table.to_le_bytes() => {
            Ok(table)
        }
        _ => {
            let what = "header and length don't fit the entries that its name promises";
            Err(Corruption::new(path, 0, Some(name.first), what).into())
        }
    }
}

/// The position table of a complete chunk.
pub(crate) fn read_table(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
) -> Result<Vec<u32>, StoreError> {
    let len = usize::try_from(4 * chunk.count()).expect("below MAX_FILE");
    let bytes = disk.read(path, chunk.end, len)?;
    let (table, _) = bytes.as_chunks::<4>();
    let table: Vec<u32> = table.iter().map(|position| u32::from_le_bytes(*position)).collect();
    let good = bytes.len() == len
        && table.first() == Some(&(CHUNK_HEADER as u32))
        && table.is_sorted_by(|a, b| a < b)
        && table.last().is_some_and(|last| u64::from(*last) < chunk.end);
    if good { Ok(table) } else { Err(bad_table(path, chunk)) }
}

/// The position table of a complete chunk must be that of its entries, as far as they are in memory.
pub(super) fn check_table(disk: &impl Disk, path: &str, chunk: &Chunk) -> Result<(), StoreError> {
    let Some(slots) = &chunk.slots else { return Ok(()) };
    let table = read_table(disk, path, chunk)?;
    if table.iter().eq(slots.iter().map(|slot| &slot.position)) {
        return Ok(());
    }
    Err(bad_table(path, chunk))
}

fn bad_table(path: &str, chunk: &Chunk) -> StoreError {
    Corruption::new(path, chunk.end, Some(chunk.name.first), "bad position table").into()
}

/// Entries of a chunk, given where each begins (or the last one ends), with one read: their slots
/// and their bytes.
pub(super) fn read_slots(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
    position: impl Fn(usize) -> u32,
    entries: Range<usize>,
) -> Result<(Vec<Slot>, Vec<u8>), StoreError> {
    let begin = position(entries.start);
    let within = |at: usize| (position(at) - begin) as usize;
    let bytes = disk.read(path, begin.into(), within(entries.end))?;
    let slots = entries.map(|at| {
        let entry = bytes.get(within(at)..within(at + 1));
        let entry = entry
            .filter(|bytes| entry::is_framed(bytes))
            .ok_or_else(|| bad_entry(path, position(at).into(), chunk.name.first + at as u64))?;
        Ok(Slot::new(position(at), entry))
    });
    let slots: Result<_, StoreError> = slots.collect();
    Ok((slots?, bytes))
}

/// The slots of a complete chunk with this position table.
pub(super) fn read_all_slots(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
    table: &[u32],
) -> Result<Vec<Slot>, StoreError> {
    let position = |at: usize| table.get(at).copied().unwrap_or_else(|| chunk.end_position());
    Ok(read_slots(disk, path, chunk, position, 0..table.len())?.0)
}

/// As [`read_all_slots`], with the position table on the disk.
pub(super) fn read_complete(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
) -> Result<Vec<Slot>, StoreError> {
    read_all_slots(disk, path, chunk, &read_table(disk, path, chunk)?)
}

/// Flags of the last entry of a complete chunk.
pub(super) fn last_flags(disk: &impl Disk, chunk: &Chunk) -> Result<u8, StoreError> {
    let path = chunk.name.path();
    let position =
        u64::from(*read_table(disk, &path, chunk)?.last().expect("a chunk has an entry"));
    let header = Header::parse(&disk.read(&path, position, entry::HEADER)?);
    let header = header.filter(|header| position + header.len as u64 == chunk.end);
    Ok(header.ok_or_else(|| bad_entry(&path, position, chunk.last))?.flags)
}

/// All entries of a complete chunk, each with its offset. From now on the chunk is what they are.
pub(crate) fn read_whole(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
    let table = read_table(disk, path, chunk)?;
    let position = |at: usize| table.get(at).copied().unwrap_or_else(|| chunk.end_position());
    let (slots, bytes) = read_slots(disk, path, chunk, position, 0..table.len())?;
    let begin = CHUNK_HEADER as usize;
    let entry = |at: usize| {
        bytes[position(at) as usize - begin..position(at + 1) as usize - begin].to_vec()
    };
    let entries = (0..slots.len()).map(|at| (position(at), entry(at))).collect();
    chunk.spans.get_or_init(|| Spans::of(&slots, chunk.end));
    Ok(entries)
}
