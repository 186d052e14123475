//! Read-only directories with committed chunks [8: `ledger.read_only_directories`]: what a log does
//! not have itself (because it began with a snapshot, or because the file was removed here once it
//! was there) is read from them. They are never written.
//!
//! Files may come and go in them at any time, so they are listed again whenever something is looked
//! for and not known. A chunk is found by its name, its length and its position table, as one of the
//! log's own. What its entries must be is known of a chunk that the log has had itself: it was
//! replayed, and its checksums are in memory. Of one from before the log began nothing is known here,
//! so before its entries are given to anybody its own signatures must sign them
//! ([`Archive::proven`]): a follower that was sent others would find out only when they are on its
//! disk, and could not go on. Whose signatures these are is checked by whoever replays the entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_ledger::ccf::entry::leaf_of;
use quorate_ledger::ccf::signature::{Signature, is_signature, tree_of};
use quorate_ledger::ccf::{Transaction, Tree};

use crate::disk::Disk;
use crate::error::{Corruption, StoreError};

use super::files::{Chunk, read_whole, table_offset};
use super::names::ChunkName;

/// Committed chunks that are remembered; of more, the highest are looked for again each time.
const MAX_KNOWN: usize = 65_536;
/// Chunks of which it is remembered that their entries are signed; of more, those that were read first
/// are checked again.
const MAX_PROVEN: usize = 4_096;

/// The directories, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Archive<D> {
    places: Vec<D>,
    /// Committed chunks and the place of each, by first entry.
    known: Mutex<Vec<(ChunkName, usize)>>,
    /// Chunks whose entries are signed, with their checksums.
    proven: Mutex<BTreeMap<ChunkName, Arc<Chunk>>>,
}

impl<D> Default for Archive<D> {
    fn default() -> Self {
        Self { places: Vec::new(), known: Mutex::default(), proven: Mutex::default() }
    }
}

impl<D: Disk> Archive<D> {
    /// That of these directories.
    pub fn new(places: Vec<D>) -> Self {
        Self { places, ..Self::default() }
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

    /// A chunk that was found, once its entries are those that its signatures sign \[7.2, 7.3\]; from
    /// then on it must stay what it is.
    ///
    /// Its last signature is signed by nothing in it, and whether its signers could be is not asked.
    pub fn proven(&self, found: Chunk, place: &D) -> Result<Arc<Chunk>, StoreError> {
        if let Some(chunk) = self.lock_proven().get(&found.name)
            && chunk.end == found.end
        {
            return Ok(Arc::clone(chunk));
        }
        let path = found.name.text();
        let entries = read_whole(place, &path, &found)?;
        check_signed(&path, found.name.first, &entries)?;
        let chunk = Arc::new(found);
        let mut proven = self.lock_proven();
        if proven.len() >= MAX_PROVEN {
            proven.pop_first();
        }
        proven.insert(chunk.name, Arc::clone(&chunk));
        Ok(chunk)
    }

    fn lock_proven(&self) -> MutexGuard<'_, BTreeMap<ChunkName, Arc<Chunk>>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The entries of a chunk that begins with entry `first` are those that its signatures sign, and it
/// ends with one. The tree of the first one says what was before.
fn check_signed(path: &str, first: u64, entries: &[(u32, Vec<u8>)]) -> Result<(), Corruption> {
    let mut tree: Option<Tree> = None;
    let mut unsigned = Vec::new();
    for (seqno, (position, bytes)) in (first..).zip(entries) {
        let wrong = |what: String| Corruption::new(path, (*position).into(), Some(seqno), what);
        let transaction = Transaction::decode_public(bytes).map_err(|e| wrong(e.to_string()))?;
        let leaf = leaf_of(bytes).map_err(|e| wrong(e.to_string()))?;
        if transaction.id.seqno != seqno {
            return Err(wrong(format!("it is entry {}", transaction.id.seqno)));
        }
        if is_signature(&transaction.writes) {
            let signature = Signature::read(&transaction).map_err(|e| wrong(e.to_string()))?;
            let root = signature.map(|signature| signature.root);
            if tree.is_none() {
                let own = tree_of(&transaction.writes).map_err(|e| wrong(e.to_string()))?;
                let mut leaves = (first..).zip(&unsigned);
                if leaves.all(|(at, leaf)| own.leaf(at) == Some(*leaf)) {
                    tree = Some(own);
                }
            }
            let signs = tree.as_ref().filter(|tree| tree.size() == seqno).map(Tree::root);
            if signs.is_none() || signs != root {
                return Err(wrong("it does not sign the entries before it".to_owned()));
            }
            unsigned.clear();
        } else {
            unsigned.push(leaf);
        }
        if let Some(tree) = &mut tree {
            tree.append(leaf);
        }
    }
    let Some((position, _)) = entries.last().filter(|_| !unsigned.is_empty()) else {
        return Ok(());
    };
    let last = first + entries.len() as u64 - 1;
    let what = "the chunk does not end with a signature";
    Err(Corruption::new(path, u64::from(*position), Some(last), what))
}

fn with(known: &[(ChunkName, usize)], seqno: u64) -> Option<(ChunkName, usize)> {
    let after = known.partition_point(|(name, _)| name.first <= seqno);
    // Ledgers of one service have no overlapping chunks; of others only the nearest is looked at.
    let nearest = known[..after].last().copied()?;
    nearest.0.last.is_some_and(|last| seqno <= last).then_some(nearest)
}
