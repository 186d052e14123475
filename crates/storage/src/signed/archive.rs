//! Read-only directories with committed chunks [8: `ledger.read_only_directories`]: what a log does
//! not have itself (because it began with a snapshot, or because the file was removed here once it
//! was there) is read from them. They are never written.
//!
//! Files may come and go in them at any time, so they are listed again whenever something is looked
//! for and not known. A chunk is believed by its name, its length and its position table, as one of
//! the log's own; what its entries say is checked by whoever replays or proves them.

use std::sync::{Mutex, PoisonError};

use crate::disk::Disk;
use crate::error::StoreError;

use super::files::{Chunk, table_offset};
use super::names::ChunkName;

/// Committed chunks that are remembered; of more, the highest are looked for again each time.
const MAX_KNOWN: usize = 65_536;

/// The directories, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Archive<D> {
    places: Vec<D>,
    /// Committed chunks and the place of each, by first entry.
    known: Mutex<Vec<(ChunkName, usize)>>,
}

impl<D> Default for Archive<D> {
    fn default() -> Self {
        Self { places: Vec::new(), known: Mutex::default() }
    }
}

impl<D: Disk> Archive<D> {
    /// That of these directories.
    pub fn new(places: Vec<D>) -> Self {
        Self { places, known: Mutex::default() }
    }

    /// The chunk with an entry, and where it is read.
    pub fn find(&self, seqno: u64) -> Result<Option<(Chunk, &D)>, StoreError> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = with(&known, seqno);
        // One that is known may have gone from there.
        if let Some((name, place)) = found
            && !self.places[place].exists(&name.text())?
        {
            found = None;
        }
        if found.is_none() {
            *known = self.list()?;
            found = with(&known, seqno);
        }
        let Some((name, place)) = found else { return Ok(None) };
        let disk = &self.places[place];
        let Some(last) = name.last else { return Ok(None) };
        let end = table_offset(disk, &name.text(), name, last)?;
        Ok(Some((Chunk::complete(name, last, end), disk)))
    }

    fn list(&self) -> Result<Vec<(ChunkName, usize)>, StoreError> {
        let mut chunks = Vec::new();
        for (place, disk) in self.places.iter().enumerate() {
            let names = ChunkName::list_in(disk, "")?;
            chunks.extend(names.into_iter().filter(|name| name.committed).map(|n| (n, place)));
        }
        chunks.sort_unstable();
        chunks.dedup_by_key(|(name, _)| *name);
        chunks.truncate(MAX_KNOWN);
        Ok(chunks)
    }
}

fn with(known: &[(ChunkName, usize)], seqno: u64) -> Option<(ChunkName, usize)> {
    let after = known.partition_point(|(name, _)| name.first <= seqno);
    // Ledgers of one service have no overlapping chunks; of others only the nearest is looked at.
    let nearest = known[..after].last().copied()?;
    nearest.0.last.is_some_and(|last| seqno <= last).then_some(nearest)
}
