//! The chunk files of a log [7.5]: `[u64 offset of the position table; 0 while open][entries][u32
//! position of each entry]`, little endian; positions and the offset count from the start of the
//! file.
//!
//! Where a chunk ends depends on the entries' flags only, so same entries give byte-identical files on
//! all nodes. Nothing here is synced until a checkpoint asks for it ([`Files::sync`]): until then the
//! journal has it all. After a crash (or an error, or when entries were taken back) the files may be
//! in any state behind the last checkpoint, and [`Survey`] brings them back to it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};

use super::archive::Archive;
use super::entry::{self, CHUNK_ENDS, CHUNK_STARTS, Header};
use super::names::{ChunkName, DIR};
use super::sums::{Slot, Spans};

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
    /// Flags of the last entry, if they are known.
    flags: Option<u8>,
    /// Its entries, while they may be taken back or the file is not durable. Later their positions
    /// are read from the table.
    slots: Option<Vec<Slot>>,
    /// What its entries are, once `slots` is gone; not known before they have been read once.
    spans: OnceLock<Spans>,
}

impl Chunk {
    /// One that takes no further entry, whose position table begins at `end`.
    pub const fn complete(name: ChunkName, last: u64, end: u64) -> Self {
        Self { name, last, end, flags: None, slots: None, spans: OnceLock::new() }
    }

    /// One without entries.
    fn empty(name: ChunkName) -> Self {
        let (last, end) = (name.first - 1, CHUNK_HEADER);
        Self { name, last, end, flags: None, slots: Some(Vec::new()), spans: OnceLock::new() }
    }

    /// Forgets the entries; what they are together is kept.
    fn condense(&mut self) {
        if let Some(slots) = self.slots.take() {
            self.spans = Spans::of(&slots, self.end).into();
        }
    }

    fn end_position(&self) -> u32 {
        u32::try_from(self.end).expect("below MAX_FILE")
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
    /// the archive instead. What chunks are known to hold up to `stable` they must hold.
    pub fn read<D: Disk>(
        disk: &D,
        archive: &Archive<D>,
        base: u64,
        stable: u64,
        known: &[Chunk],
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
                let known = known.iter().find(|chunk| chunk.name.first == first);
                let (name, chunk) = survey.settle(disk, names, stable, known)?;
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
        known: Option<&Chunk>,
    ) -> Result<(ChunkName, Chunk), StoreError> {
        // Several names are left when renames were undone by a crash: they are the same file. The
        // highest in order is the one with the last change.
        let whole = names.iter().rev().find(|name| name.last.is_some_and(|last| last <= stable));
        if let Some((name, last)) = whole.and_then(|name| Some((*name, name.last?))) {
            let read = || {
                let end = table_offset(disk, &name.path(), name, last)?;
                let mut chunk = Chunk::complete(name, last, end);
                match known.filter(|known| known.last == last) {
                    Some(known) if known.end == end => chunk = Chunk { name, ..known.clone() },
                    Some(_) => return Err(bad_entry(&name.path(), end, last)),
                    None if name.committed => {}
                    None => {
                        chunk.slots = Some(read_complete(disk, &name.path(), &chunk)?);
                    }
                }
                if last < stable {
                    return Ok(Some(chunk));
                }
                let flags = chunk.flags.map_or_else(|| last_flags(disk, &chunk), Ok)?;
                chunk.flags = Some(flags);
                Ok((flags & CHUNK_ENDS != 0).then_some(chunk))
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
        let mut chunk = Chunk::empty(ChunkName::open(name.first));
        let slots = known.and_then(|chunk| chunk.slots.as_deref()).unwrap_or_default();
        while chunk.last < stable {
            let at = usize::try_from(chunk.end).expect("below MAX_FILE");
            let header = bytes.get(at..).and_then(Header::parse);
            let entry = header.and_then(|header| bytes.get(at..at + header.len));
            let here = usize::try_from(chunk.last + 1 - name.first).expect("below MAX_FILE");
            let entry = entry.filter(|bytes| {
                slots.get(here).is_none_or(|slot| *slot == Slot::new(slot.position, bytes))
            });
            let Some(entry) = entry else {
                return Err(bad_entry(&name.path(), chunk.end, chunk.last + 1));
            };
            push(&mut chunk, entry)?;
        }
        let spans = known.filter(|known| known.last == chunk.last).and_then(|k| k.spans.get());
        if let Some((spans, slots)) = spans.zip(chunk.slots.as_deref())
            && spans.differs(0, slots).is_some()
        {
            return Err(bad_entry(&name.path(), CHUNK_HEADER, chunk.last));
        }
        if chunk.flags.is_some_and(|flags| flags & CHUNK_ENDS != 0) {
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

    /// Entries from `from` on, which were in the files before they were committed, have these
    /// checksums, as far as they are there.
    pub fn compare<D: Disk>(
        &self,
        disk: &D,
        archive: &Archive<D>,
        from: u64,
        sums: &[u32],
    ) -> Result<(), StoreError> {
        let until = from + sums.len() as u64;
        let chunks = self.chunks.iter();
        for chunk in chunks.filter(|chunk| chunk.last >= from && chunk.name.first < until) {
            let read;
            let slots = match &chunk.slots {
                Some(slots) => slots,
                None => {
                    let own = chunk.name.path();
                    let (there, first) = (disk.exists(&own)?, chunk.name.first);
                    let archived = if there { None } else { archive.find(first)? };
                    read = match archived {
                        Some((_, place)) => read_complete(place, &chunk.name.text(), chunk)?,
                        None => read_complete(disk, &own, chunk)?,
                    };
                    &read
                }
            };
            for (seqno, slot) in (chunk.name.first..until).zip(slots) {
                let known = seqno.checked_sub(from).and_then(|at| usize::try_from(at).ok());
                if known.is_some_and(|at| sums[at] != slot.sum) {
                    let path = chunk.name.path();
                    return Err(bad_entry(&path, slot.position.into(), seqno));
                }
            }
        }
        Ok(())
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

fn bad_entry(path: &str, at: u64, seqno: u64) -> StoreError {
    Corruption::new(path, at, Some(seqno), "the entry is missing or bad").into()
}

/// Adds an entry to a chunk.
fn push(chunk: &mut Chunk, bytes: &[u8]) -> Result<(), StoreError> {
    if chunk.end + bytes.len() as u64 > MAX_FILE {
        let what = "the chunk is too long";
        return Err(Corruption::new(&chunk.name.path(), chunk.end, Some(chunk.last), what).into());
    }
    let slot = Slot::new(chunk.end_position(), bytes);
    chunk.slots.get_or_insert_default().push(slot);
    chunk.end += bytes.len() as u64;
    chunk.last += 1;
    chunk.flags = Some(entry::flags(bytes));
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

/// Entries of a chunk, given where each begins (or the last one ends), with one read: their slots
/// and their bytes.
fn read_slots(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
    position: impl Fn(usize) -> u32,
    entries: Range<usize>,
) -> Result<(Vec<Slot>, Vec<u8>), StoreError> {
    let begin = position(entries.start);
    let within = |at: usize| (position(at) - begin) as usize;
    let bytes = disk.read(path, begin.into(), within(entries.end))?;
    let slots = entries.map(|at| {
        let entry = bytes.get(within(at)..within(at + 1));
        let entry = entry
            .filter(|bytes| entry::is_framed(bytes))
            .ok_or_else(|| bad_entry(path, position(at).into(), chunk.name.first + at as u64))?;
        Ok(Slot::new(position(at), entry))
    });
    let slots: Result<_, StoreError> = slots.collect();
    Ok((slots?, bytes))
}

/// The slots of a complete chunk with this position table.
fn read_all_slots(
    disk: &impl Disk,
    path: &str,
    chunk: &Chunk,
    table: &[u32],
) -> Result<Vec<Slot>, StoreError> {
    let position = |at: usize| table.get(at).copied().unwrap_or_else(|| chunk.end_position());
    Ok(read_slots(disk, path, chunk, position, 0..table.len())?.0)
}

/// As [`read_all_slots`], with the position table on the disk.
fn read_complete(disk: &impl Disk, path: &str, chunk: &Chunk) -> Result<Vec<Slot>, StoreError> {
    read_all_slots(disk, path, chunk, &read_table(disk, path, chunk)?)
}

/// Flags of the last entry of a complete chunk.
fn last_flags(disk: &impl Disk, chunk: &Chunk) -> Result<u8, StoreError> {
    let path = chunk.name.path();
    let position =
        u64::from(*read_table(disk, &path, chunk)?.last().expect("a chunk has an entry"));
    let header = Header::parse(&disk.read(&path, position, entry::HEADER)?);
    let header = header.filter(|header| position + header.len as u64 == chunk.end);
    Ok(header.ok_or_else(|| bad_entry(&path, position, chunk.last))?.flags)
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
            // A chunk in the archive.
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
