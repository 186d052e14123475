//! The highest commit index, noted beside the log whenever it advances.
//!
//! `raft_commit` has it in two slots ([`crate::slots`]). It is never waited for: the frames of the
//! journal carry the index, too, and after a restart it may be lower than it was. Since only durable
//! entries are ever committed, an index beyond the log proves that the log has lost its end.

use crate::disk::{Disk, DiskError};
use crate::slots::Slots;

/// The file.
pub(crate) const FILE: &str = "raft_commit";
const SLOTS: Slots = Slots { file: FILE, magic: b"QRTERCM1" };

/// The highest index noted; 0 if nothing is known.
pub(crate) fn read(disk: &impl Disk) -> Result<u64, DiskError> {
    SLOTS.read(disk)
}

/// Notes an index, in slot `turn % 2`. Should it fail, less is known after a restart.
pub(crate) fn write(disk: &mut impl Disk, turn: u64, index: u64) {
    SLOTS.write(disk, turn, index);
}
