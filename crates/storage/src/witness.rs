//! How far the journal was durable once, noted beside it.
//!
//! The end of the journal is the one place where damage looks like a power cut: a last frame that is
//! bad may be an append that never returned, or a vote that left the machine. So after each append
//! the number of the next frame is written here. It is never waited for: the operating system
//! writes it back when it likes. A journal that ends before this number has lost notes for certain;
//! one that does not may have lost its last frames if the power went at the same time, which no
//! single copy can tell.
//!
//! `witness` has two slots of 512 bytes, written in turn, so that a torn write leaves the other one:
//! magic, number, CRC-32 of both; little endian. A bad slot says nothing.

use crate::disk::{Disk, DiskError};
use crate::error::Corruption;
use crate::journal::{Segment, segment_name};

/// The file.
pub(crate) const FILE: &str = "witness";
const MAGIC: &[u8; 8] = b"QRTEWIT1";
const SLOT: u64 = 512;
const USED: usize = 20;

fn encode(next: u64) -> [u8; USED] {
    let mut slot = [0; USED];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&next.to_le_bytes());
    let crc = crc32fast::hash(&slot[..16]);
    slot[16..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<u64> {
    let next = u64::from_le_bytes(*slot.get(8..16)?.first_chunk()?);
    (slot.get(..USED)? == encode(next)).then_some(next)
}

/// Frames below this number were durable; 0 if nothing is known.
pub(crate) fn read(disk: &impl Disk) -> Result<u64, DiskError> {
    let bytes = match disk.read(FILE, 0, SLOT as usize + USED) {
        Err(DiskError::NotFound { .. }) => return Ok(0),
        other => other?,
    };
    let slots = [bytes.as_slice(), bytes.get(SLOT as usize..).unwrap_or_default()];
    Ok(slots.into_iter().filter_map(decode).max().unwrap_or(0))
}

/// What is wrong if the journal's segment ends before a frame that was durable once.
pub(crate) fn loss(
    disk: &impl Disk,
    number: u64,
    segment: &Segment,
) -> Result<Option<Corruption>, DiskError> {
    let seen = read(disk)?;
    Ok((seen > segment.next).then(|| {
        let what = format!("frames {} to {} are lost, and their notes", segment.next, seen - 1);
        Corruption::new(&segment_name(number), segment.end, None, what)
    }))
}

/// Notes that all frames below `next` are durable. Should it fail, the witness knows less.
pub(crate) fn write(disk: &mut impl Disk, next: u64) {
    if let Err(error) = disk.write(FILE, next % 2 * SLOT, &encode(next)) {
        tracing::debug!(%error, "the witness of the journal is behind");
    }
}

#[cfg(test)]
mod tests;
