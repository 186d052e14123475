//! How far the journal was durable once, noted beside it.
//!
//! The end of the journal is the one place where damage looks like a power cut: a last frame that is
//! bad may be an append that never returned, or a vote that left the machine. So after each append
//! the number of the next frame is written here. It is never waited for: the operating system
//! writes it back when it likes. A journal that ends before this number has lost notes for certain;
//! one that does not may have lost its last frames if the power went at the same time, which no
//! single copy can tell.
//!
//! `witness` has it in two slots ([`crate::slots`]).

use crate::disk::{Disk, DiskError};
use crate::error::Corruption;
use crate::journal::{Segment, segment_name};
use crate::slots::Slots;

/// The file.
pub(crate) const FILE: &str = "witness";
const SLOTS: Slots = Slots { file: FILE, magic: b"QRTEWIT1" };

/// Frames below this number were durable; 0 if nothing is known.
pub(crate) fn read(disk: &impl Disk) -> Result<u64, DiskError> {
    SLOTS.read(disk)
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
    SLOTS.write(disk, next, next);
}

#[cfg(test)]
mod tests;
