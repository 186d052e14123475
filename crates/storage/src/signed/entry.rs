//! The header of an entry of CCF [7.1]: `[u8 version = 1][u8 flags][u48 size of the rest]`, little
//! endian. Nothing else of an entry is understood here.

use quorate_consensus::limits::MAX_RAFT_ENTRY;

/// Length of the header.
pub(crate) const HEADER: usize = 8;
/// The chunk ends after the entry.
pub(crate) const CHUNK_ENDS: u8 = 1;
/// A new chunk begins with the entry.
pub(crate) const CHUNK_STARTS: u8 = 2;

const VERSION: u8 = 1;

/// A header, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub flags: u8,
    /// Length of the whole entry, header included.
    pub len: usize,
}

impl Header {
    /// The header at the start of `bytes`; `None` if there is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header: [u8; HEADER] = *bytes.first_chunk()?;
        let [version, flags, size @ ..] = header;
        let mut wide = [0; 8];
        wide[..6].copy_from_slice(&size);
        let size = usize::try_from(u64::from_le_bytes(wide)).ok()?;
        let good = version == VERSION
            && flags & !(CHUNK_ENDS | CHUNK_STARTS) == 0
            && (1..=MAX_RAFT_ENTRY - HEADER).contains(&size);
        good.then_some(Self { flags, len: HEADER + size })
    }
}

/// Whether `bytes` are one entry as far as its header tells: version, flags and length. The log
/// takes nothing else, so whoever gets an entry from outside asks this first.
#[must_use]
pub fn is_framed(bytes: &[u8]) -> bool {
    Header::parse(bytes).is_some_and(|header| header.len == bytes.len())
}

/// Flags of an entry that is framed.
pub(crate) fn flags(bytes: &[u8]) -> u8 {
    Header::parse(bytes).map_or(0, |header| header.flags)
}
