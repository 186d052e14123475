//! Bytes of one entry of a chunk: `[u32 len][u32 crc][u64 id][payload]`, little endian, `crc` the
//! CRC-32 of id, len and payload.
//!
//! This module alone knows the form of entries: `cft` entries, which delimit themselves with the
//! header of CCF, come in here as a second form.

/// Length of an entry's header.
pub(crate) const HEADER: usize = 16;

/// Longest payload: far above any block, so that a longer one is our own mistake and a longer
/// length field is damage.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;

/// What stands at a place of a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parsed<'a> {
    /// A good entry.
    Entry {
        /// Its id.
        id: u64,
        /// Its payload.
        payload: &'a [u8],
        /// Offset of what follows it.
        next: usize,
    },
    /// Nothing: the bytes end, or the header is zero, as in space not written yet.
    Nothing,
    /// Something else.
    Bad,
}

fn checksum(id: u64, len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Appends an entry to `out`.
///
/// # Panics
/// If the payload is longer than [`MAX_PAYLOAD`].
pub(crate) fn encode(out: &mut Vec<u8>, id: u64, payload: &[u8]) {
    assert!(payload.len() <= MAX_PAYLOAD, "entry {id} is too long: {} bytes", payload.len());
    let len = u32::try_from(payload.len()).expect("below MAX_PAYLOAD");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&checksum(id, len, payload).to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Reads the entry at `at`.
pub(crate) fn parse(bytes: &[u8], at: usize) -> Parsed<'_> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((header, body)) = rest.split_first_chunk::<HEADER>() else {
        return if rest.iter().all(|b| *b == 0) { Parsed::Nothing } else { Parsed::Bad };
    };
    // No entry has a zero header: the checksum of an empty payload with id 0 isn't zero.
    if *header == [0; HEADER] {
        return Parsed::Nothing;
    }
    let len = u32::from_le_bytes(header[..4].try_into().expect("4 bytes"));
    let crc = u32::from_le_bytes(header[4..8].try_into().expect("4 bytes"));
    let id = u64::from_le_bytes(header[8..].try_into().expect("8 bytes"));
    let size = len as usize;
    match body.get(..size) {
        Some(payload) if size <= MAX_PAYLOAD && checksum(id, len, payload) == crc => {
            Parsed::Entry { id, payload, next: at + HEADER + size }
        }
        _ => Parsed::Bad,
    }
}

/// Whether a good entry with an id above `id` begins anywhere after `from`.
pub(crate) fn follows(bytes: &[u8], from: usize, id: u64) -> bool {
    // An entry takes at least a header, which bounds the ids that can follow and makes chance hits
    // (and checksums over them) rare.
    let most = id.saturating_add((bytes.len() / HEADER) as u64);
    (from + 1..bytes.len().saturating_sub(HEADER - 1)).any(|at| {
        let found = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().expect("8 bytes"));
        found > id && found <= most && matches!(parse(bytes, at), Parsed::Entry { .. })
    })
}
