//! The chunk files of a log [7.5].
//!
//! Where a chunk ends depends on the entries' flags only, so same entries give byte-identical files on
//! all nodes. Nothing here is synced until a checkpoint asks for it ([`Files::sync`]): until then the
//! journal has it all. After a crash (or an error, or when entries were taken back) the files may be
//! in any state behind the last checkpoint, and [`Survey`] brings them back to it.
//!
//! | module | what it tells |
//! |---|---|
//! | `chunk` | one file: its layout, and what its entries are |
//! | `survey` | files that are found, compared with what they must be |

mod chunk;
mod survey;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};

pub(crate) use self::chunk::{CHUNK_HEADER, Chunk, MAX_FILE, read_table, read_whole, table_offset};
use self::chunk::{bad_entry, push, read_all_slots, read_slots};
pub(crate) use self::survey::Survey;
use super::archive::Archive;
use super::entry::{self, CHUNK_ENDS, CHUNK_STARTS, Header};
use super::names::{ChunkName, DIR};
use super::sums::Spans;

/// Bytes of a buffer that are kept for the next write.
const MOST_KEPT: usize = 1 << 20;
/// Position tables of complete chunks that are kept in memory.
const MAX_TABLES: usize = 8;

/// Position table of a chunk in the cache, by first entry.
type Tables = Vec<(u64, Arc<Vec<u32>>)>;

/// The chunk files, open.
#[derive(Debug)]
pub(crate) struct Files {
    base: u64,
    chunks: Vec<Chunk>,
    /// First entries of the chunks that were written since the last sync.
    dirty: BTreeSet<u64>,
    names_changed: bool,
    /// Chunks before this one have the suffix of committed ones.
    uncommitted: usize,
    tables: Mutex<Tables>,
    /// Where the bytes of one write are put together.
    buffer: Vec<u8>,
}

impl Files {
    /// Those of a log that begins after `base`, which are on the disk as these chunks say.
    fn of(base: u64, chunks: Vec<Chunk>) -> Self {
        Self {
            base,
            chunks,
            dirty: BTreeSet::new(),
            names_changed: false,
            uncommitted: 0,
            tables: Mutex::default(),
            buffer: Vec::new(),
        }
    }

    /// Last entry in the files.
    pub fn last(&self) -> u64 {
        self.chunks.last().map_or(self.base, |chunk| chunk.last)
    }

    /// The chunks, in order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Notes an entry without writing: for [`Survey::beyond`].
    fn grow(&mut self, bytes: &[u8]) {
        if self.begins_chunk(bytes) {
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.name.last = Some(chunk.last);
            }
            self.begin();
        }
        let chunk = self.chunks.last_mut().expect("just made sure");
        chunk.end += bytes.len() as u64;
        chunk.last += 1;
        if entry::flags(bytes) & CHUNK_ENDS != 0 {
            chunk.name.last = Some(chunk.last);
        }
    }

    fn begins_chunk(&self, bytes: &[u8]) -> bool {
        let open = self.chunks.last().is_some_and(|chunk| chunk.name.last.is_none());
        !open || entry::flags(bytes) & CHUNK_STARTS != 0
    }

    fn begin(&mut self) {
        self.chunks.push(Chunk::empty(ChunkName::open(self.last() + 1)));
    }

    /// Writes entries behind the last one. After an error files and memory may differ: only
    /// [`Survey`] helps.
    pub fn write<'a>(
        &mut self,
        disk: &mut impl Disk,
        entries: impl Iterator<Item = &'a Arc<[u8]>>,
    ) -> Result<(), StoreError> {
        let mut pending = std::mem::take(&mut self.buffer);
        pending.clear();
        pending.shrink_to(MOST_KEPT);
        let mut at = self.chunks.last().map_or(0, |chunk| chunk.end);
        for bytes in entries {
            if self.begins_chunk(bytes) {
                self.put(disk, at, &mut pending)?;
                if self.chunks.last().is_some_and(|chunk| chunk.name.last.is_none()) {
                    self.close(disk)?;
                }
                self.begin();
                pending.extend_from_slice(&[0; CHUNK_HEADER as usize]);
                at = 0;
            }
            push(self.chunks.last_mut().expect("just made sure"), bytes)?;
            pending.extend_from_slice(bytes);
            if entry::flags(bytes) & CHUNK_ENDS != 0 {
                self.put(disk, at, &mut pending)?;
                self.close(disk)?;
            }
        }
        self.put(disk, at, &mut pending)?;
        self.buffer = pending;
        Ok(())
    }

    /// Writes bytes of the last chunk.
    fn put(
        &mut self,
        disk: &mut impl Disk,
        at: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let chunk = self.chunks.last().expect("bytes are of a chunk");
        disk.write_past(&chunk.name.path(), at, bytes)?;
        self.dirty.insert(chunk.name.first);
        self.names_changed |= at == 0;
        bytes.clear();
        Ok(())
    }

    /// Completes the last chunk: position table, header, name.
    fn close(&mut self, disk: &mut impl Disk) -> Result<(), StoreError> {
        let chunk = self.chunks.last_mut().expect("there is a chunk to close");
        let slots = chunk.slots.as_ref().expect("an open chunk's are in memory");
        let table: Vec<u8> = slots.iter().flat_map(|slot| slot.position.to_le_bytes()).collect();
        let path = chunk.name.path();
        disk.write(&path, chunk.end, &table)?;
        disk.write(&path, 0, &chunk.end.to_le_bytes())?;
        let name = ChunkName::complete(chunk.name.first, chunk.last, false);
        rename(disk, chunk.name, name)?;
        chunk.name = name;
        self.dirty.insert(name.first);
        self.names_changed = true;
        Ok(())
    }

    /// Checksums of all entries after `commit`, which are in memory.
    pub fn sums_after(&self, commit: u64) -> Vec<u32> {
        let first = self.chunks.partition_point(|chunk| chunk.last <= commit);
        let sums = |chunk: &Chunk| {
            let slots = chunk.slots.as_deref().expect("of what is not committed");
            let skip = (commit + 1).saturating_sub(chunk.name.first);
            let slots = slots.iter().skip(usize::try_from(skip).expect("in the chunk"));
            slots.map(|slot| slot.sum).collect::<Vec<_>>()
        };
        self.chunks[first..].iter().flat_map(sums).collect()
    }

    /// Gives complete chunks up to `commit` the name of committed ones.
    pub fn commit(&mut self, disk: &mut impl Disk, commit: u64) -> Result<(), StoreError> {
        while let Some(chunk) = self.chunks.get_mut(self.uncommitted) {
            let Some(last) = chunk.name.last.filter(|last| *last <= commit) else { break };
            if !chunk.name.committed {
                let name = ChunkName::complete(chunk.name.first, last, true);
                rename(disk, chunk.name, name)?;
                chunk.name = name;
                self.names_changed = true;
            }
            if !self.dirty.contains(&chunk.name.first) {
                chunk.condense();
            }
            self.uncommitted += 1;
        }
        Ok(())
    }

    /// Makes everything durable.
    pub fn sync(&mut self, disk: &mut impl Disk) -> Result<(), StoreError> {
        let dirty = self.chunks.iter().filter(|chunk| self.dirty.contains(&chunk.name.first));
        let paths: Vec<String> = dirty.map(|chunk| chunk.name.path()).collect();
        if !paths.is_empty() {
            disk.sync_all(&paths)?;
        }
        if self.names_changed {
            disk.sync_dir(DIR)?;
        }
        self.dirty.clear();
        self.names_changed = false;
        // Those before have been condensed when they were committed, or by a sync after that.
        let long = self.chunks.iter_mut().rev().take_while(|chunk| chunk.slots.is_some());
        long.filter(|chunk| chunk.name.committed).for_each(Chunk::condense);
        Ok(())
    }

    /// Whether a chunk ends with this entry, as far as written.
    pub fn ends_at(&self, seqno: u64) -> bool {
        let after = self.chunks.partition_point(|chunk| chunk.name.first <= seqno);
        after.checked_sub(1).is_some_and(|at| self.chunks[at].last == seqno)
    }

    /// Entries from `from` to `to` at most, all of one chunk, of `room` bytes at most (but one at
    /// least), with one read (and one for the position table, if it isn't in memory).
    ///
    /// An entry that is not here is read from the archive.
    pub fn read<D: Disk>(
        &self,
        disk: &D,
        archive: &Archive<D>,
        from: u64,
        to: u64,
        room: usize,
    ) -> Result<Vec<Arc<[u8]>>, StoreError> {
        let after = self.chunks.partition_point(|chunk| chunk.name.first <= from);
        let chunk = after.checked_sub(1).map(|at| &self.chunks[at]);
        let chunk = chunk.filter(|chunk| from <= chunk.last);
        let own = chunk.map(|chunk| {
            let path = chunk.name.path();
            self.learn(disk, &path, chunk)?;
            self.read_of(disk, &path, chunk, (from, to, room))
        });
        let absent = match own {
            Some(Err(error @ StoreError::Disk(DiskError::NotFound { .. }))) => Some(error),
            Some(read) => return read,
            None => None,
        };
        match (archive.find(from)?, absent) {
            (Some((found, place)), _) => {
                let path = found.name.text();
                let part = (from, to, room);
                match chunk {
                    // It was here, and was replayed from there or from here: so it must be.
                    Some(own) if (own.last, own.end) == (found.last, found.end) => {
                        self.learn(place, &path, own)?;
                        self.read_of(place, &path, own, part)
                    }
                    Some(own) => Err(bad_entry(&path, own.end, own.last)),
                    None => self.read_of(place, &path, &*archive.proven(found, place)?, part),
                }
            }
            // The file is being renamed by an append that failed.
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// [`Files::read`], of a chunk that is at `path`.
    fn read_of(
        &self,
        disk: &impl Disk,
        path: &str,
        chunk: &Chunk,
        (from, to, room): (u64, u64, usize),
    ) -> Result<Vec<Arc<[u8]>>, StoreError> {
        let table = match &chunk.slots {
            Some(_) => Arc::default(),
            None => self.table(disk, path, chunk)?,
        };
        let position = |at: usize| {
            let slot = chunk.slots.as_ref().and_then(|slots| Some(slots.get(at)?.position));
            slot.or_else(|| table.get(at).copied()).unwrap_or_else(|| chunk.end_position())
        };
        let number = |seqno: u64| usize::try_from(seqno - chunk.name.first).expect("in the chunk");
        let (first, most) = (number(from), number(to.min(chunk.last)) + 1);
        let fits = |at: &usize| (position(*at) - position(first)) as usize <= room;
        let wanted = first..(first + 1..=most).take_while(fits).last().unwrap_or(first + 1);
        let spans = chunk.spans.get();
        let around = spans.map_or(wanted.clone(), |spans| spans.around(&wanted, table.len()));
        let (found, bytes) = read_slots(disk, path, chunk, position, around.clone())?;
        let changed = match (&chunk.slots, spans) {
            (Some(slots), _) => {
                let differs = |at: &usize| found[at - around.start] != slots[*at];
                around.clone().find(differs)
            }
            (None, Some(spans)) => spans.differs(around.start, &found),
            // Not all of it could be read when it was to be learnt.
            (None, None) => None,
        };
        if let Some(at) = changed {
            let what = "the entry, or one soon after it, is not what was written";
            let id = Some(chunk.name.first + at as u64);
            return Err(Corruption::new(path, position(at).into(), id, what).into());
        }
        let within = |at: usize| (position(at) - position(around.start)) as usize;
        Ok(wanted.map(|at| Arc::from(&bytes[within(at)..within(at + 1)])).collect())
    }

    /// A complete chunk that is read for the first time since the log was opened is from now on what
    /// it is now, unless something in it is no entry: then nothing is learnt of it.
    fn learn(&self, disk: &impl Disk, path: &str, chunk: &Chunk) -> Result<(), StoreError> {
        if chunk.slots.is_none() && chunk.spans.get().is_none() {
            let table = self.table(disk, path, chunk)?;
            match read_all_slots(disk, path, chunk, &table) {
                Ok(slots) => _ = chunk.spans.get_or_init(|| Spans::of(&slots, chunk.end)),
                Err(StoreError::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn table(
        &self,
        disk: &impl Disk,
        path: &str,
        chunk: &Chunk,
    ) -> Result<Arc<Vec<u32>>, StoreError> {
        let first = chunk.name.first;
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = tables.iter().find(|(of, _)| *of == first) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(read_table(disk, path, chunk)?);
        if tables.len() == MAX_TABLES {
            tables.remove(0);
        }
        tables.push((first, Arc::clone(&table)));
        Ok(table)
    }
}

/// Renames a file. An error does not tell whether it was carried out; the names do.
fn rename(disk: &mut impl Disk, from: ChunkName, to: ChunkName) -> Result<(), StoreError> {
    let (from, to) = (from.path(), to.path());
    if let Err(error) = disk.rename(&from, &to)
        && (disk.exists(&from)? || !disk.exists(&to)?)
    {
        return Err(error.into());
    }
    Ok(())
}

/// The highest entry that files without a journal have, from `base` on: all of complete chunks, and
/// of an open one everything up to the first place without an entry.
pub(crate) fn extent(disk: &impl Disk, base: u64) -> Result<u64, StoreError> {
    let mut last = base;
    for name in ChunkName::list(disk)? {
        match name.last {
            _ if name.first != last + 1 => continue,
            Some(end) => last = end,
            None => {
                let bytes = read_all(disk, &name.path(), MAX_FILE)?;
                let mut at = CHUNK_HEADER as usize;
                while let Some(header) = bytes.get(at..).and_then(Header::parse)
                    && header.len <= bytes.len() - at
                {
                    at += header.len;
                    last += 1;
                }
            }
        }
    }
    Ok(last)
}
