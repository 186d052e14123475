//! The chunk files of a log [7.5]: `[u64 offset of the position table; 0 while open][entries][u32
//! position of each entry]`, little endian; positions and the offset count from the start of the
//! file.
//!
//! Where a chunk ends depends on the entries' flags only, so same entries give byte-identical files on
//! all nodes. Nothing here is synced until a checkpoint asks for it ([`Files::sync`]): until then the
//! journal has it all. After a crash (or an error, or when entries were taken back) the files may be
//! in any state behind the last checkpoint, and [`Survey`] brings them back to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};

use super::archive::Archive;
use super::entry::{self, CHUNK_ENDS, CHUNK_STARTS, Header};
use super::names::{ChunkName, DIR};

/// Length of a chunk's header.
pub(crate) const CHUNK_HEADER: u64 = 8;
/// Most bytes of one chunk file. A chunk ends with a signature, so this is out of reach.
pub(crate) const MAX_FILE: u64 = 1 << 30;
/// Bytes of a buffer that are kept for the next write.
const MOST_KEPT: usize = 1 << 20;
/// What the names of files end with that are no part of the log any more.
const IGNORED: &str = ".ignored";
/// Position tables of complete chunks that are kept in memory.
const MAX_TABLES: usize = 8;

/// One chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    /// Its name on the disk.
    pub name: ChunkName,
    /// Its last entry so far.
    pub last: u64,
    /// Offset after the last entry.
    pub end: u64,
    /// Position of each entry; `None` if they are to be read from the table, which is durable.
    positions: Option<Vec<u32>>,
}

impl Chunk {
    /// One that takes no further entry, whose position table begins at `end`.
    pub const fn complete(name: ChunkName, last: u64, end: u64) -> Self {
        Self { name, last, end, positions: None }
    }

    fn count(&self) -> u64 {
        self.last - self.name.first + 1
    }

    /// Length of the file.
    pub fn len(&self) -> u64 {
        self.end + if self.name.last.is_some() { 4 * self.count() } else { 0 }
    }
}

/// What the disk has, compared with what it must have.
#[derive(Debug)]
pub(crate) struct Survey {
    base: u64,
    /// The chunks as they will be.
    pub chunks: Vec<Chunk>,
    /// The last of them isn't so yet.
    unfit: bool,
    /// Names to remove.
    surplus: Vec<ChunkName>,
    /// Names of a log that was there before this one began, to be put aside.
    former: Vec<ChunkName>,
    /// All files found, with their lengths.
    found: Vec<(ChunkName, u64)>,
}

impl Survey {
    /// Reads what is there. The log begins after `base`, and everything up to `stable` was durable
    /// and has not been touched since; whatever is behind it doesn't count. Committed chunks may be in
    /// the archive instead.
    pub fn read<D: Disk>(
        disk: &D,
        archive: &Archive<D>,
        base: u64,
        stable: u64,
    ) -> Result<Self, StoreError> {
        let names = ChunkName::list(disk)?;
        let mut survey = Self {
            base,
            chunks: Vec::new(),
            unfit: false,
            surplus: Vec::new(),
            former: Vec::new(),
            found: Vec::new(),
        };
        let mut next = base + 1;
        for names in names.chunk_by(|a, b| a.first == b.first) {
            let first = names[0].first;
            if first <= base {
                survey.former.extend(names);
                continue;
            }
            let mut keep = None;
            if first <= stable {
                next = survey.take_archived(archive, next, first - 1)?;
                if first != next {
                    return Err(missing(next));
                }
                let (name, chunk) = survey.settle(disk, names, stable)?;
                next = chunk.last + 1;
                survey.chunks.push(chunk);
                keep = Some(name);
            }
            survey.surplus.extend(names.iter().filter(|name| Some(**name) != keep));
            for name in names {
                survey.found.push((*name, disk.len(&name.path())?));
            }
        }
        if survey.take_archived(archive, next, stable)? <= stable {
            return Err(missing(next));
        }
        Ok(survey)
    }

    /// Takes chunks from entry `next` on from the archive, none with an entry after `last`; the entry
    /// after them.
    fn take_archived<D: Disk>(
        &mut self,
        archive: &Archive<D>,
        mut next: u64,
        last: u64,
    ) -> Result<u64, StoreError> {
        while next <= last
            && let Some((chunk, _)) = archive.find(next)?
            && chunk.name.first == next
            && chunk.last <= last
        {
            next = chunk.last + 1;
            self.chunks.push(chunk);
        }
        Ok(next)
    }

    /// Which of the names of a chunk counts, and what the chunk is to become.
    fn settle(
        &mut self,
        disk: &impl Disk,
        names: &[ChunkName],
        stable: u64,
    ) -> Result<(ChunkName, Chunk), StoreError> {
        // Several names are left when renames were undone by a crash: they are the same file. The
        // highest in order is the one with the last change.
        let whole = names.iter().rev().find(|name| name.last.is_some_and(|last| last <= stable));
        if let Some((name, last)) = whole.and_then(|name| Some((*name, name.last?))) {
            let read = || {
                let end = table_offset(disk, &name.path(), name, last)?;
                let chunk = Chunk::complete(name, last, end);
                let ends = last < stable || last_flags(disk, &chunk)? & CHUNK_ENDS != 0;
                Ok(ends.then_some(chunk))
            };
            match read() {
                Ok(Some(chunk)) => return Ok((name, chunk)),
                // It ended because the next entry began a new one, and that is gone; it may have
                // been opened again already.
                Ok(None) => {}
                Err(StoreError::Corrupt(_)) if last == stable => {}
                Err(error) => return Err(error),
            }
        }
        let name = names[0];
        let bytes = read_all(disk, &name.path(), MAX_FILE)?;
        let mut chunk =
            Chunk { name, last: name.first - 1, end: CHUNK_HEADER, positions: Some(Vec::new()) };
        while chunk.last < stable {
            let at = usize::try_from(chunk.end).expect("below MAX_FILE");
            let header = bytes.get(at..).and_then(Header::parse);
            let Some(header) = header.filter(|h| h.len <= bytes.len() - at) else {
                let what = "the entry is missing or bad";
                let id = Some(chunk.last + 1);
                return Err(Corruption::new(&name.path(), chunk.end, id, what).into());
            };
            push(&mut chunk, header.len)?;
        }
        chunk.name = ChunkName::open(name.first);
        if last_flags(disk, &Chunk { name, ..chunk.clone() })? & CHUNK_ENDS != 0 {
            chunk.name = ChunkName::complete(name.first, chunk.last, false);
        }
        self.unfit = true;
        Ok((name, chunk))
    }

    /// A file that has more than the log, which begins with [`Survey::chunks`] and goes on with
    /// `entries`, ever had: so the journal has lost its end.
    pub fn beyond(&self, entries: &[Arc<[u8]>]) -> Option<Corruption> {
        let mut files = Files::plan(self);
        for bytes in entries {
            files.grow(bytes);
        }
        let last = files.last();
        let end = files.chunks.last();
        self.found.iter().find_map(|(name, len)| {
            let more = name.first > last || name.last.is_some_and(|l| l > last);
            let longer =
                end.is_some_and(|chunk| chunk.name.first == name.first && *len > chunk.len());
            (more || longer).then(|| {
                let what = "the file has more than the journal knows of: the journal lost its end";
                Corruption::new(&name.path(), 0, Some(last + 1), what)
            })
        })
    }

    /// Whether files of a log are there that was given up for this one.
    pub const fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// What was durable at the last checkpoint, and has not been touched since, ends a chunk exactly
    /// if its last entry says so, or if `next` begins one. No root covers that entry yet.
    pub fn check_end(&self, next: Option<&Arc<[u8]>>) -> Result<(), Corruption> {
        let Some(chunk) = self.chunks.last() else { return Ok(()) };
        let (first, last) = (chunk.name.first, chunk.last);
        let mut names = self.found.iter().map(|(name, _)| *name).filter(|name| name.first == first);
        if names.clone().next().is_none() {
            // It is in the archive: complete.
            return Ok(());
        }
        let complete = names.find(|name| name.last == Some(last));
        let begun = next.is_some_and(|bytes| entry::flags(bytes) & CHUNK_STARTS != 0);
        if complete.is_some() == chunk.name.last.is_some() || (complete.is_some() && begun) {
            return Ok(());
        }
        let what = "the flags of its last entry don't fit the chunk";
        let path = complete.unwrap_or(ChunkName::open(first)).path();
        Err(Corruption::new(&path, 0, Some(last), what))
    }

    /// The highest entry that a name tells to be committed.
    pub fn committed(&self) -> u64 {
        let found = self.found.iter().map(|(name, _)| name);
        let names = found.chain(self.chunks.iter().map(|chunk| &chunk.name));
        names.filter(|name| name.committed).filter_map(|name| name.last).max().unwrap_or(0)
    }

    /// The files as they will be once the survey has been applied.
    pub fn files(&self) -> Files {
        Files::plan(self)
    }

    /// Brings the disk to what counts.
    pub fn apply(self, disk: &mut impl Disk) -> Result<Files, StoreError> {
        let mut files = Files::plan(&self);
        files.names_changed = true;
        for name in &self.surplus {
            disk.remove(&name.path())?;
        }
        if !self.former.is_empty() && !self.surplus.is_empty() {
            // As long as one of the former log is there, the others are known for what they are.
            disk.sync_dir(DIR)?;
        }
        for name in &self.former {
            let path = name.path();
            disk.rename(&path, &format!("{path}{IGNORED}"))?;
        }
        let Some(chunk) = files.chunks.last().filter(|_| self.unfit).cloned() else {
            return Ok(files);
        };
        let (first, last) = (chunk.name.first, chunk.last);
        let (open, target) = (ChunkName::open(first), chunk.name);
        let mut kept = self.found.iter().map(|(name, _)| *name);
        let kept = kept.find(|name| name.first == first && !self.surplus.contains(name));
        let kept = kept.expect("one name of each chunk is kept");
        if kept != open {
            rename(disk, kept, open)?;
        }
        disk.truncate(&open.path(), chunk.end)?;
        disk.write(&open.path(), 0, &[0; CHUNK_HEADER as usize])?;
        files.dirty.insert(first);
        files.chunks.last_mut().expect("just looked").name = open;
        if target.last == Some(last) {
            files.close(disk)?;
        }
        Ok(files)
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

fn missing(seqno: u64) -> StoreError {
    let what = "the chunk that begins with the entry is missing (look for it in the directories that \
                service.ledger.read_only_directories named)";
    Corruption::new(&ChunkName::open(seqno).path(), 0, Some(seqno), what).into()
}

/// Adds an entry of `len` bytes to a chunk.
fn push(chunk: &mut Chunk, len: usize) -> Result<(), StoreError> {
    if chunk.end + len as u64 > MAX_FILE {
        let what = "the chunk is too long";
        return Err(Corruption::new(&chunk.name.path(), chunk.end, Some(chunk.last), what).into());
    }
    let position = u32::try_from(chunk.end).expect("below MAX_FILE");
    chunk.positions.get_or_insert_default().push(position);
    chunk.end += len as u64;
    chunk.last += 1;
    Ok(())
}

/// Where the position table of a complete chunk begins, as its length demands and its header says.
pub(crate) fn table_offset(
    disk: &impl Disk,
    path: &str,
    name: ChunkName,
    last: u64,
) -> Result<u64, StoreError> {
    let len = disk.len(path)?;
    let table = (last - name.first + 1).checked_mul(4).and_then(|size| len.checked_sub(size));
    let header = disk.read(path, 0, CHUNK_HEADER as usize)?;
    match table {
        Some(table) if table > CHUNK_HEADER && len <= MAX_FILE && header == table.to_le_bytes() => {
            Ok(table)
        }
        _ => {
            let what = "header and length don't fit the entries that its name promises";
            Err(Corruption::new(path, 0, Some(name.first), what).into())
        }
    }
}

/// The position table of a complete chunk.
pub(crate) fn read_table(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
) -> Result<Vec<u32>, StoreError> {
    let len = usize::try_from(4 * chunk.count()).expect("below MAX_FILE");
    let bytes = disk.read(path, chunk.end, len)?;
    let (table, _) = bytes.as_chunks::<4>();
    let table: Vec<u32> = table.iter().map(|position| u32::from_le_bytes(*position)).collect();
    let good = bytes.len() == len
        && table.first() == Some(&(CHUNK_HEADER as u32))
        && table.is_sorted_by(|a, b| a < b)
        && table.last().is_some_and(|last| u64::from(*last) < chunk.end);
    if good {
        return Ok(table);
    }
    Err(Corruption::new(path, chunk.end, Some(chunk.name.first), "bad position table").into())
}

/// Flags of the last entry of a chunk, which is on the disk.
fn last_flags(disk: &impl Disk, chunk: &Chunk) -> Result<u8, StoreError> {
    let path = chunk.name.path();
    let position = match &chunk.positions {
        Some(positions) => *positions.last().expect("a chunk has an entry"),
        None => *read_table(disk, &path, chunk)?.last().expect("a chunk has an entry"),
    };
    let header = disk.read(&path, u64::from(position), entry::HEADER)?;
    let header = Header::parse(&header)
        .filter(|header| u64::from(position) + header.len as u64 == chunk.end)
        .ok_or_else(|| {
            Corruption::new(&path, u64::from(position), Some(chunk.last), "the entry is bad")
        })?;
    Ok(header.flags)
}

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
    fn plan(survey: &Survey) -> Self {
        Self {
            base: survey.base,
            chunks: survey.chunks.clone(),
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
        let last = self.last();
        let name = ChunkName::open(last + 1);
        self.chunks.push(Chunk { name, last, end: CHUNK_HEADER, positions: Some(Vec::new()) });
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
            push(self.chunks.last_mut().expect("just made sure"), bytes.len())?;
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
        disk.write(&chunk.name.path(), at, bytes)?;
        self.dirty.insert(chunk.name.first);
        self.names_changed |= at == 0;
        bytes.clear();
        Ok(())
    }

    /// Completes the last chunk: position table, header, name.
    fn close(&mut self, disk: &mut impl Disk) -> Result<(), StoreError> {
        let chunk = self.chunks.last_mut().expect("there is a chunk to close");
        let positions = chunk.positions.as_ref().expect("an open chunk's are in memory");
        let table: Vec<u8> = positions.iter().flat_map(|p| p.to_le_bytes()).collect();
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
        let dirty = std::mem::take(&mut self.dirty);
        self.names_changed = false;
        for chunk in self.chunks.iter_mut().rev() {
            if chunk.name.last.is_some() {
                chunk.positions = None;
            }
            if dirty.first().is_none_or(|first| chunk.name.first <= *first) {
                break;
            }
        }
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
        let own =
            chunk.map(|chunk| self.read_of(disk, &chunk.name.path(), chunk, (from, to, room)));
        let absent = match own {
            Some(Err(error @ StoreError::Disk(DiskError::NotFound { .. }))) => Some(error),
            Some(read) => return read,
            None => None,
        };
        match (archive.find(from)?, absent) {
            (Some((chunk, place)), _) => {
                self.read_of(place, &chunk.name.text(), &chunk, (from, to, room))
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
        let table;
        let positions = match &chunk.positions {
            Some(positions) => positions,
            None => {
                table = self.table(disk, path, chunk)?;
                &*table
            }
        };
        let slot = |seqno: u64| usize::try_from(seqno - chunk.name.first).expect("in the chunk");
        let position = |slot: usize| positions.get(slot).map_or(chunk.end, |p| u64::from(*p));
        let (first, most) = (slot(from), slot(to.min(chunk.last)) + 1);
        let begin = position(first);
        let fits = (first + 1..=most).take_while(|slot| position(*slot) - begin <= room as u64);
        let until = fits.last().unwrap_or(first + 1);
        let len = usize::try_from(position(until) - begin).expect("below MAX_FILE");
        let bytes = disk.read(path, begin, len)?;
        let mut entries = Vec::with_capacity(until - first);
        for slot in first..until {
            let at = position(slot);
            let range = [at, position(slot + 1)]
                .map(|at| usize::try_from(at - begin).expect("below MAX_FILE"));
            let entry = bytes.get(range[0]..range[1]).filter(|bytes| entry::is_framed(bytes));
            entries.push(Arc::from(entry.ok_or_else(|| {
                let id = Some(chunk.name.first + slot as u64);
                Corruption::new(path, at, id, "the entry is missing or bad")
            })?));
        }
        Ok(entries)
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
