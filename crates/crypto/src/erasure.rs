//! Reed-Solomon shards for reliable broadcast.
//!
//! The text is written as `length (4, big-endian) data zeros` and cut into `data_shards` equal
//! pieces; `total - data_shards` parity pieces follow. Any `data_shards` of the `total` give the
//! text back.
//!
//! The encoding is canonical: a text has one set of shards, and [`reconstruct`] refuses pieces that
//! no text has (padding that is not zero, or longer than needed). It does not check that the pieces
//! belong together: the receiver encodes again and compares Merkle roots.

mod engine;

use std::collections::BTreeMap;

use reed_solomon_simd::ReedSolomonEncoder;
use reed_solomon_simd::rate::{DefaultRate, Rate as _, RateDecoder as _};

use self::engine::SmallCodes;

/// Most shards a text can have.
pub const MAX_SHARDS: usize = 256;
/// Longest text, in bytes.
pub const MAX_DATA: usize = 64 << 20;

/// Length of the length in front of the data.
const PREFIX: usize = 4;

/// Why shards do not give a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// There must be 1 to `total` data shards, and at most [`MAX_SHARDS`] in total.
    #[error("{data_shards} data shards of {total} is not possible")]
    Parameters {
        /// Data shards asked for.
        data_shards: usize,
        /// Shards in total asked for.
        total: usize,
    },
    /// Fewer than `data_shards` shards were given.
    #[error("{have} shards of {need} needed")]
    TooFew {
        /// Shards given.
        have: usize,
        /// Shards needed.
        need: usize,
    },
    /// A shard has a number not below `total`.
    #[error("there is no shard {0}")]
    Index(usize),
    /// The shards are not all of one possible length.
    #[error("shards have a wrong length")]
    Length,
    /// The shards are not those of any text.
    #[error("the shards do not encode a text")]
    NotCanonical,
}

/// Length of each shard of a text of `data_len` bytes cut into `data_shards`.
///
/// # Panics
/// If `data_shards` is 0.
#[must_use]
pub const fn shard_len(data_len: usize, data_shards: usize) -> usize {
    // The code works on pairs of bytes.
    (PREFIX + data_len).div_ceil(data_shards).next_multiple_of(2)
}

/// Encodes `data` into `total` shards, of which any `data_shards` suffice.
///
/// # Panics
/// If `data_shards` is not 1 to `total`, `total` is above [`MAX_SHARDS`], or `data` is longer than
/// [`MAX_DATA`]: these are the caller's own numbers.
#[must_use]
pub fn encode(data: &[u8], data_shards: usize, total: usize) -> Vec<Vec<u8>> {
    assert!(possible(data_shards, total), "{data_shards} data shards of {total} is not possible");
    assert!(data.len() <= MAX_DATA, "a text of {} bytes is too long", data.len());
    let length = shard_len(data.len(), data_shards);
    let mut text = Vec::with_capacity(length * data_shards);
    text.extend_from_slice(&(data.len() as u32).to_be_bytes());
    text.extend_from_slice(data);
    text.resize(length * data_shards, 0);
    let mut shards: Vec<Vec<u8>> = text.chunks_exact(length).map(<[u8]>::to_vec).collect();
    if total > data_shards {
        let parity = parity(&shards, total - data_shards, length)
            .expect("up to 256 shards of equal even length are supported");
        shards.extend(parity);
    }
    shards
}

fn possible(data_shards: usize, total: usize) -> bool {
    data_shards >= 1 && data_shards <= total && total <= MAX_SHARDS
}

fn parity(
    shards: &[Vec<u8>],
    count: usize,
    length: usize,
) -> Result<Vec<Vec<u8>>, reed_solomon_simd::Error> {
    let mut encoder = ReedSolomonEncoder::new(shards.len(), count, length)?;
    for shard in shards {
        encoder.add_original_shard(shard)?;
    }
    let made = encoder.encode()?;
    Ok(made.recovery_iter().map(<[u8]>::to_vec).collect())
}

/// Gives back the text of at least `data_shards` shards, keyed by their number in what [`encode`]
/// returned. Data shards are preferred; of the parity shards the lowest needed are used.
///
/// # Errors
/// [`ErasureError`].
pub fn reconstruct<S: AsRef<[u8]>>(
    shards: &BTreeMap<usize, S>,
    data_shards: usize,
    total: usize,
) -> Result<Vec<u8>, ErasureError> {
    if !possible(data_shards, total) {
        return Err(ErasureError::Parameters { data_shards, total });
    }
    if shards.len() < data_shards {
        return Err(ErasureError::TooFew { have: shards.len(), need: data_shards });
    }
    let longest = shard_len(MAX_DATA, data_shards);
    let mut length = None;
    for (index, shard) in shards {
        if *index >= total {
            return Err(ErasureError::Index(*index));
        }
        let this = shard.as_ref().len();
        if this == 0 || this % 2 != 0 || this > longest || *length.get_or_insert(this) != this {
            return Err(ErasureError::Length);
        }
    }
    let length = length.ok_or(ErasureError::Length)?;
    let restored = restore(shards, data_shards, total, length)?;
    let mut text = Vec::with_capacity(length * data_shards);
    for index in 0..data_shards {
        let piece = match shards.get(&index) {
            Some(shard) => shard.as_ref(),
            None => restored.get(&index).ok_or(ErasureError::NotCanonical)?,
        };
        text.extend_from_slice(piece);
    }
    unwrap_text(text, length, data_shards)
}

/// The data shards that are missing among `shards`.
fn restore<S: AsRef<[u8]>>(
    shards: &BTreeMap<usize, S>,
    data_shards: usize,
    total: usize,
    length: usize,
) -> Result<BTreeMap<usize, Vec<u8>>, ErasureError> {
    let present = shards.range(..data_shards).count();
    if present == data_shards {
        return Ok(BTreeMap::new());
    }
    // The numbers were checked, so the library has no reason left to refuse.
    let refused = |_| ErasureError::NotCanonical;
    let (parity, engine) = (total - data_shards, SmallCodes::new());
    let mut decoder =
        DefaultRate::decoder(data_shards, parity, length, engine, None).map_err(refused)?;
    for (index, shard) in shards.range(..data_shards) {
        decoder.add_original_shard(*index, shard).map_err(refused)?;
    }
    for (index, shard) in shards.range(data_shards..).take(data_shards - present) {
        decoder.add_recovery_shard(*index - data_shards, shard).map_err(refused)?;
    }
    let decoded = decoder.decode().map_err(refused)?;
    Ok(decoded.restored_original_iter().map(|(index, shard)| (index, shard.to_vec())).collect())
}

/// Takes the data out of `length data zeros`.
fn unwrap_text(
    mut text: Vec<u8>,
    length: usize,
    data_shards: usize,
) -> Result<Vec<u8>, ErasureError> {
    let prefix = text.first_chunk::<PREFIX>().ok_or(ErasureError::NotCanonical)?;
    let data_len = u32::from_be_bytes(*prefix) as usize;
    if data_len > MAX_DATA || shard_len(data_len, data_shards) != length {
        return Err(ErasureError::NotCanonical);
    }
    let end = PREFIX + data_len;
    if text[end..].iter().any(|byte| *byte != 0) {
        return Err(ErasureError::NotCanonical);
    }
    text.truncate(end);
    text.drain(..PREFIX);
    Ok(text)
}

#[cfg(test)]
mod tests;
