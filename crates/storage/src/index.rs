//! Where each trx stands: in memory for the open chunks, in one immutable file per closed chunk.
//!
//! `index_<first>-<last>`, little endian: magic, first and last block, number of trxs, length of
//! the Bloom filter (u32), the filter, the first id of each page, CRC-32 of all that; then pages of
//! up to 128 sorted `[16 id][u64 block][u32 position]` and their CRC-32. Filter and first ids stay
//! in memory (under 2 bytes per trx), so that a look-up reads one page of one file, nearly always.
//!
//! An index is derived data: a missing or bad one is built again from its chunk.

use std::collections::BTreeMap;

use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};

const MAGIC: &[u8; 8] = b"QRTEIDX1";
const FIXED: usize = 36;
const PAGE: usize = 128;
const ITEM: usize = 28;
const BITS_PER_TRX: usize = 10;
const PROBES: u64 = 7;
/// Most bytes of an index file.
const MAX_FILE: u64 = 1 << 30;

/// Id of a trx.
pub(crate) type Key = [u8; 16];
/// Block and position in it.
pub(crate) type Place = (u64, u32);

/// Name of the index of a closed chunk.
pub(crate) fn index_name(first: u64, last: u64) -> String {
    format!("index_{first}-{last}")
}

/// First and last block of an index file's name.
pub(crate) fn parse_name(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("index_")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (index_name(first, last) == text).then_some((first, last))
}

/// Bits of the filter that stand for a trx. The ids are chosen by clients: one who crafts them for
/// false positives gains that look-ups of ids that don't exist read a page more.
fn probes(key: &Key, bits: u64) -> impl Iterator<Item = u64> {
    let mix = |half: &[u8]| {
        let mut x = u64::from_le_bytes(half.try_into().expect("8 bytes"));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let (a, b) = (mix(&key[..8]), mix(&key[8..]) | 1);
    (0..PROBES).map(move |i| a.wrapping_add(b.wrapping_mul(i)) % bits)
}

/// The part of a closed chunk's index that stays in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClosedIndex {
    first: u64,
    last: u64,
    count: usize,
    filter: Vec<u8>,
    fences: Vec<Key>,
}

impl ClosedIndex {
    fn head_len(&self) -> usize {
        FIXED + self.filter.len() + 16 * self.fences.len() + 4
    }

    fn items_in(&self, page: usize) -> usize {
        (self.count - page * PAGE).min(PAGE)
    }

    fn page_offset(&self, page: usize) -> u64 {
        (self.head_len() + page * (PAGE * ITEM + 4)) as u64
    }

    fn encode_head(&self) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&self.first.to_le_bytes());
        head.extend_from_slice(&self.last.to_le_bytes());
        head.extend_from_slice(&(self.count as u64).to_le_bytes());
        let filter = u32::try_from(self.filter.len()).expect("far below 4 GiB");
        head.extend_from_slice(&filter.to_le_bytes());
        head.extend_from_slice(&self.filter);
        self.fences.iter().for_each(|fence| head.extend_from_slice(fence));
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        head
    }

    /// Makes the index and the bytes of its file. Of a trx found twice the first place counts.
    fn build(first: u64, last: u64, trxs: &BTreeMap<Key, Place>) -> (Self, Vec<u8>) {
        let items: Vec<_> = trxs.iter().filter(|(_, p)| (first..=last).contains(&p.0)).collect();
        let mut filter = vec![0u8; (items.len() * BITS_PER_TRX).div_ceil(8).max(8)];
        for (key, _) in &items {
            for bit in probes(key, filter.len() as u64 * 8) {
                filter[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        let fences = items.chunks(PAGE).map(|page| *page[0].0).collect();
        let index = Self { first, last, count: items.len(), filter, fences };
        let mut bytes = index.encode_head();
        for page in items.chunks(PAGE) {
            let start = bytes.len();
            for (key, (block, position)) in page {
                bytes.extend_from_slice(*key);
                bytes.extend_from_slice(&block.to_le_bytes());
                bytes.extend_from_slice(&position.to_le_bytes());
            }
            bytes.extend_from_slice(&crc32fast::hash(&bytes[start..]).to_le_bytes());
        }
        (index, bytes)
    }

    /// Reads the head of an index file; `Corrupt` if it is bad or the length doesn't fit.
    pub fn load(disk: &impl Disk, first: u64, last: u64) -> Result<Self, StoreError> {
        let file = index_name(first, last);
        let bad = |what: &str| StoreError::from(Corruption::new(&file, 0, None, what));
        let len = disk.len(&file)?;
        let fixed = disk.read(&file, 0, FIXED)?;
        if len > MAX_FILE || fixed.len() < FIXED {
            return Err(bad("the index has a wrong length"));
        }
        let word = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("8 bytes"));
        let filter = u32::from_le_bytes(fixed[32..].try_into().expect("4 bytes")) as usize;
        let count = usize::try_from(word(24)).unwrap_or(usize::MAX);
        let pages = count.div_ceil(PAGE);
        let head = pages.saturating_mul(16).saturating_add(FIXED + filter + 4);
        let items = count.saturating_mul(ITEM).saturating_add(pages.saturating_mul(4));
        if head.saturating_add(items) as u64 != len || filter == 0 {
            return Err(bad("the index has a wrong length"));
        }
        let bytes = disk.read(&file, 0, head)?;
        let index = Self {
            first,
            last,
            count,
            filter: bytes.get(FIXED..FIXED + filter).unwrap_or_default().to_vec(),
            fences: bytes
                .get(FIXED + filter..head - 4)
                .unwrap_or_default()
                .chunks_exact(16)
                .map(|fence| fence.try_into().expect("16 bytes"))
                .collect(),
        };
        if index.encode_head() == bytes { Ok(index) } else { Err(bad("the index's head is bad")) }
    }

    fn page(&self, disk: &impl Disk, page: usize) -> Result<Vec<u8>, StoreError> {
        let file = index_name(self.first, self.last);
        let offset = self.page_offset(page);
        let mut bytes = disk.read(&file, offset, self.items_in(page) * ITEM + 4)?;
        let items = self.items_in(page) * ITEM;
        if bytes.len() != items + 4
            || bytes[items..] != crc32fast::hash(&bytes[..items]).to_le_bytes()
        {
            return Err(Corruption::new(&file, offset, None, "a page of the index is bad").into());
        }
        bytes.truncate(items);
        Ok(bytes)
    }

    fn find(&self, disk: &impl Disk, key: &Key) -> Result<Option<Place>, StoreError> {
        let bits = self.filter.len() as u64 * 8;
        if !probes(key, bits).all(|bit| self.filter[(bit / 8) as usize] & (1 << (bit % 8)) != 0) {
            return Ok(None);
        }
        let after = self.fences.partition_point(|fence| fence <= key);
        let Some(page) = after.checked_sub(1) else { return Ok(None) };
        let bytes = self.page(disk, page)?;
        let items: Vec<&[u8]> = bytes.chunks_exact(ITEM).collect();
        let Ok(at) = items.binary_search_by(|item| item[..16].cmp(key)) else { return Ok(None) };
        let block = u64::from_le_bytes(items[at][16..24].try_into().expect("8 bytes"));
        let position = u32::from_le_bytes(items[at][24..].try_into().expect("4 bytes"));
        Ok(Some((block, position)))
    }

    /// Checks all pages.
    pub fn verify(&self, disk: &impl Disk) -> Result<(), StoreError> {
        (0..self.fences.len()).try_for_each(|page| self.page(disk, page).map(|_| ()))
    }
}

/// The index of all trxs.
#[derive(Debug, Default)]
pub(crate) struct TrxIndex {
    open: BTreeMap<Key, Place>,
    closed: Vec<ClosedIndex>,
}

/// A closed chunk's index could not tell: look through the chunk itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unsure {
    pub first: u64,
    pub last: u64,
}

impl TrxIndex {
    /// Number of trxs.
    pub fn len(&self) -> u64 {
        (self.open.len() + self.closed.iter().map(|c| c.count).sum::<usize>()) as u64
    }

    /// Adds the trxs of a block of an open chunk, in order.
    pub fn insert(&mut self, block: u64, trx_ids: &[Key]) {
        for (position, id) in trx_ids.iter().enumerate() {
            let position = u32::try_from(position).expect("a block holds less than 4 G trxs");
            self.open.entry(*id).or_insert((block, position));
        }
    }

    /// Adopts the index file of a closed chunk. In order of the chunks.
    pub fn adopt(&mut self, index: ClosedIndex) {
        self.closed.push(index);
    }

    /// Moves the trxs of blocks `first..=last` from memory to an index file, durable but for its
    /// name (a missing file is built again).
    pub fn close(&mut self, disk: &mut impl Disk, first: u64, last: u64) -> Result<(), StoreError> {
        let (index, bytes) = ClosedIndex::build(first, last, &self.open);
        let file = index_name(first, last);
        let temp = format!("{file}.tmp");
        if disk.exists(&temp)? {
            disk.remove(&temp)?;
        }
        disk.write(&temp, 0, &bytes)?;
        disk.sync(&temp)?;
        disk.rename(&temp, &file)?;
        self.closed.push(index);
        self.open.retain(|_, place| !(first..=last).contains(&place.0));
        Ok(())
    }

    /// Where a trx stands. `unsure` is asked about a closed chunk whose index page is bad.
    pub fn find(
        &self,
        disk: &impl Disk,
        key: &Key,
        mut unsure: impl FnMut(Unsure) -> Result<Option<Place>, StoreError>,
    ) -> Result<Option<Place>, StoreError> {
        if let Some(place) = self.open.get(key) {
            return Ok(Some(*place));
        }
        for index in self.closed.iter().rev() {
            let found = match index.find(disk, key) {
                Err(StoreError::Corrupt(_) | StoreError::Disk(DiskError::NotFound { .. })) => {
                    unsure(Unsure { first: index.first, last: index.last })?
                }
                other => other?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Reads a whole index file and checks it, for [`crate::check`].
pub(crate) fn verify_file(disk: &impl Disk, first: u64, last: u64) -> Result<(), StoreError> {
    read_all(disk, &index_name(first, last), MAX_FILE)?;
    ClosedIndex::load(disk, first, last)?.verify(disk)
}

#[cfg(test)]
mod tests;
