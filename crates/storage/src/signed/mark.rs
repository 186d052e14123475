//! The highest commit index, noted beside the log whenever it advances.
//!
//! `raft_commit` has two slots of 512 bytes, written in turn, so that a torn write leaves the other
//! one: magic, index, CRC-32 of both; little endian. A bad slot says nothing. It is never waited
//! for: the frames of the journal carry the index, too, and after a restart it may be lower than
//! it was. Since only durable entries are ever committed, an index beyond the log proves that
//! the log has lost its end.

use crate::disk::{Disk, DiskError};

/// The file.
pub(crate) const FILE: &str = "raft_commit";
const MAGIC: &[u8; 8] = b"QRTERCM1";
const SLOT: u64 = 512;
const USED: usize = 20;

fn encode(index: u64) -> [u8; USED] {
    let mut slot = [0; USED];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&index.to_le_bytes());
    let crc = crc32fast::hash(&slot[..16]);
    slot[16..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<u64> {
    let index = u64::from_le_bytes(*slot.get(8..16)?.first_chunk()?);
    (slot.get(..USED)? == encode(index)).then_some(index)
}

/// The highest index noted; 0 if nothing is known.
pub(crate) fn read(disk: &impl Disk) -> Result<u64, DiskError> {
    let bytes = match disk.read(FILE, 0, SLOT as usize + USED) {
        Err(DiskError::NotFound { .. }) => return Ok(0),
        other => other?,
    };
    let slots = [bytes.as_slice(), bytes.get(SLOT as usize..).unwrap_or_default()];
    Ok(slots.into_iter().filter_map(decode).max().unwrap_or(0))
}

/// Notes an index, in slot `turn % 2`. Should it fail, less is known after a restart.
pub(crate) fn write(disk: &mut impl Disk, turn: u64, index: u64) {
    if let Err(error) = disk.write(FILE, turn % 2 * SLOT, &encode(index)) {
        tracing::debug!(%error, "the noted commit index is behind");
    }
}
