//! A number noted beside a log, never waited for.
//!
//! The file has two slots of 512 bytes, written in turn, so that a torn write leaves the other one:
//! magic, number, CRC-32 of both; little endian. A bad slot says nothing. The operating system writes
//! it back when it likes.

use crate::disk::{Disk, DiskError};

/// Distance of the two.
pub(crate) const SLOT: u64 = 512;
const USED: usize = 20;

/// Such a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    /// Its name.
    pub file: &'static str,
    /// What its slots begin with.
    pub magic: &'static [u8; 8],
}

impl Slots {
    fn encode(self, number: u64) -> [u8; USED] {
        let mut slot = [0; USED];
        slot[..8].copy_from_slice(self.magic);
        slot[8..16].copy_from_slice(&number.to_le_bytes());
        let crc = crc32fast::hash(&slot[..16]);
        slot[16..].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    fn decode(self, slot: &[u8]) -> Option<u64> {
        let number = u64::from_le_bytes(*slot.get(8..16)?.first_chunk()?);
        (slot.get(..USED)? == self.encode(number)).then_some(number)
    }

    /// The highest number noted; 0 if nothing is known.
    pub fn read(self, disk: &impl Disk) -> Result<u64, DiskError> {
        let bytes = match disk.read(self.file, 0, SLOT as usize + USED) {
            Err(DiskError::NotFound { .. }) => return Ok(0),
            other => other?,
        };
        let slots = [bytes.as_slice(), bytes.get(SLOT as usize..).unwrap_or_default()];
        Ok(slots.into_iter().filter_map(|slot| self.decode(slot)).max().unwrap_or(0))
    }

    /// Notes a number, in slot `turn % 2`. Should it fail, less is known after a restart.
    pub fn write(self, disk: &mut impl Disk, turn: u64, number: u64) {
        if let Err(error) = disk.write(self.file, turn % 2 * SLOT, &self.encode(number)) {
            tracing::debug!(%error, file = self.file, "the number noted beside a log is behind");
        }
    }
}
