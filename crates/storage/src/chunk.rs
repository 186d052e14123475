//! Append-only chunk files, in the container of CCF.
//!
//! `[u64 offset of the position table; 0 while open][entries][u32 position of each entry]`, all
//! little endian; positions and the offset count from the start of the file. An open chunk is
//! `<prefix>_<first>`, a closed one `<prefix>_<first>-<last>.committed` and never changes again.
//!
//! Where a chunk ends depends on its content only: an entry opens a new chunk if the entries before
//! it in the chunk already have [`crate::store::Options::chunk_size`] bytes. So chunks of the same
//! entries are byte-identical on all nodes.
//!
//! An open chunk is zeroed ahead in steps, because to overwrite and sync costs about half of a
//! growing append. It may be full and not closed yet (closing comes after the append that filled
//! it), so there can be several open chunks for a moment; only the last one takes entries.
//!
//! # Which entries count
//! The journal's frames carry the first id and the id after the last entry, the *head*: an entry
//! counts when a frame that covers it is durable. Recovery demands every entry below the head (a
//! missing or bad one is corruption, named) and cuts off all from the head on: the remains of an
//! append that never returned. Only without a journal (it was lost) the end must be guessed: the
//! first place without a good entry, unless a good entry with a higher id follows, which is
//! corruption.

use std::sync::Arc;

use crate::disk::{Disk, DiskError};
use crate::entry::{self, Parsed};
use crate::error::{Corruption, StoreError};

/// Length of a chunk's header.
pub(crate) const CHUNK_HEADER: u64 = 8;
/// An open chunk is zeroed ahead to a multiple of at most this; see [`step`].
const STEP: u64 = 1 << 20;
/// Most bytes of one chunk file: entries up to any sensible chunk size, one entry over, the table.
const MAX_FILE: u64 = 1 << 30;
/// A file name with a higher id is none of ours.
const MAX_ID: u64 = 1 << 62;

/// How far a file that is to have about `size` bytes is zeroed ahead.
pub(crate) fn step(size: u64) -> u64 {
    (size / 4).next_power_of_two().clamp(512, STEP)
}

/// Which entries count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    /// Id of the first one.
    pub first: u64,
    /// The head: id after the last one; 0 if there is none.
    pub next: u64,
}

impl Span {
    /// Id of the first one, if there is one.
    pub fn start(self) -> Option<u64> {
        (self.next > 0).then_some(self.first)
    }

    /// Its bytes in a frame.
    pub fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.first.to_le_bytes());
        bytes[8..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }

    /// Reads its bytes.
    pub fn decode(bytes: [u8; 16]) -> Self {
        let [first, next] = [0, 8].map(|at| bytes[at..at + 8].try_into().expect("8 bytes"));
        Self { first: u64::from_le_bytes(first), next: u64::from_le_bytes(next) }
    }
}

/// A chunk's file name, read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ChunkName {
    /// Id of the first entry.
    pub first: u64,
    /// Id of the last entry, of a closed chunk.
    pub last: Option<u64>,
}

impl ChunkName {
    /// The name as text.
    pub fn text(&self, prefix: &str) -> String {
        match self.last {
            None => format!("{prefix}_{}", self.first),
            Some(last) => format!("{prefix}_{}-{last}.committed", self.first),
        }
    }

    /// Reads a name; `None` if it isn't one of `prefix` in exactly the written form.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(prefix)?.strip_prefix('_')?;
        let name = match rest.strip_suffix(".committed") {
            None => Self { first: rest.parse().ok()?, last: None },
            Some(range) => {
                let (first, last) = range.split_once('-')?;
                Self { first: first.parse().ok()?, last: Some(last.parse().ok()?) }
            }
        };
        let last = name.last.unwrap_or(name.first);
        (name.first <= last && last < MAX_ID && name.text(prefix) == text).then_some(name)
    }

    /// All chunks of `prefix` in the root, by first id, a closed one before an open one.
    pub fn list(disk: &impl Disk, prefix: &str) -> Result<Vec<Self>, DiskError> {
        let mut names: Vec<_> =
            disk.list("")?.iter().filter_map(|name| Self::parse(prefix, name)).collect();
        names.sort_by_key(|n| (n.first, n.last.is_none()));
        Ok(names)
    }
}

/// Reads a whole file of at most `most` bytes.
pub(crate) fn read_all(disk: &impl Disk, path: &str, most: u64) -> Result<Vec<u8>, StoreError> {
    let len = disk.len(path)?;
    if len > most {
        return Err(Corruption::new(path, most, None, "the file is longer than it can be").into());
    }
    Ok(disk.read(path, 0, usize::try_from(len).expect("bounded"))?)
}

/// Reads a whole chunk file.
pub(crate) fn read_chunk(disk: &impl Disk, path: &str) -> Result<Vec<u8>, StoreError> {
    read_all(disk, path, MAX_FILE)
}

/// Good entries at the start of a chunk: their positions, and where they end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Position of each entry.
    pub positions: Vec<u32>,
    /// Offset after the last one.
    pub end: usize,
}

/// Reads entries with ids from `first` on, until `stop` says so (it gets the next id and its
/// offset) or there is no good entry of the next id.
pub(crate) fn run(bytes: &[u8], first: u64, mut stop: impl FnMut(u64, usize) -> bool) -> Run {
    let mut run = Run { positions: Vec::new(), end: CHUNK_HEADER as usize };
    let mut next_id = first;
    while !stop(next_id, run.end) {
        match entry::parse(bytes, run.end) {
            Parsed::Entry { id, next, .. } if id == next_id => {
                run.positions.push(u32::try_from(run.end).expect("a chunk is below MAX_FILE"));
                run.end = next;
                next_id += 1;
            }
            _ => break,
        }
    }
    run
}

#[derive(Clone, Debug)]
struct Closed {
    first: u64,
    last: u64,
    /// Offset of the position table: where the entries end.
    table: u64,
}

#[derive(Clone, Debug)]
struct Open {
    first: u64,
    positions: Vec<u32>,
    /// Where the next entry goes.
    end: u64,
    /// Up to here the file is known to be zero from `end` on.
    allocated: u64,
}

impl Open {
    fn next(&self) -> u64 {
        self.first + self.positions.len() as u64
    }
}

/// What an append changes once it counts.
#[derive(Debug, Default)]
#[must_use = "staged entries count only when committed"]
pub(crate) struct Staged {
    chunks: Vec<Open>,
    /// Files to sync before they may count.
    pub files: Vec<String>,
    /// Whether new names are to be synced, too.
    pub created: bool,
}

/// The chunks of one kind.
#[derive(Debug)]
pub(crate) struct ChunkLog {
    prefix: &'static str,
    chunk_size: u64,
    closed: Vec<Closed>,
    open: Vec<Open>,
    /// An append failed: bytes after the end of open chunks, and these files, may be its remains.
    suspect: bool,
    orphans: Vec<String>,
}

impl ChunkLog {
    /// Id after the last entry; `None` while there is none, when any id may come.
    pub fn head(&self) -> Option<u64> {
        let open = self.open.last().map(Open::next);
        open.max(self.closed.last().map(|chunk| chunk.last + 1))
    }

    /// Which entries there are.
    pub fn span(&self) -> Span {
        let open = self.open.first().map(|chunk| chunk.first);
        let closed = self.closed.first().map(|chunk| chunk.first);
        let first = open.into_iter().chain(closed).min();
        Span { first: first.unwrap_or(0), next: self.head().unwrap_or(0) }
    }

    /// Number of closed and of open chunks.
    pub fn counts(&self) -> (usize, usize) {
        (self.closed.len(), self.open.len())
    }

    /// Bytes of entries in all chunks.
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|c| c.table - CHUNK_HEADER).sum::<u64>()
            + self.open.iter().map(|o| o.end - CHUNK_HEADER).sum::<u64>()
    }

    /// First and last id of each closed chunk.
    pub fn closed_ranges(&self) -> Vec<(u64, u64)> {
        self.closed.iter().map(|c| (c.first, c.last)).collect()
    }

    /// Ids in open chunks.
    pub fn open_ids(&self) -> Vec<u64> {
        self.open.iter().flat_map(|chunk| chunk.first..chunk.next()).collect()
    }

    fn is_full(&self, end: u64) -> bool {
        end - CHUNK_HEADER >= self.chunk_size
    }

    fn name(&self, first: u64, last: Option<u64>) -> String {
        ChunkName { first, last }.text(self.prefix)
    }

    /// The entry `id`, checked; `None` if there is none.
    pub fn get(&self, disk: &impl Disk, id: u64) -> Result<Option<Arc<[u8]>>, StoreError> {
        let after = self.open.partition_point(|o| o.first <= id);
        if let Some(chunk) = after.checked_sub(1).map(|i| &self.open[i])
            && id < chunk.next()
        {
            let slot = usize::try_from(id - chunk.first).expect("below the number of positions");
            let start = u64::from(chunk.positions[slot]);
            let end = chunk.positions.get(slot + 1).map_or(chunk.end, |p| u64::from(*p));
            return read_entry(disk, &self.name(chunk.first, None), start, end, id).map(Some);
        }
        let after = self.closed.partition_point(|c| c.first <= id);
        let Some(chunk) = after.checked_sub(1).map(|i| &self.closed[i]) else { return Ok(None) };
        if id > chunk.last {
            return Ok(None);
        }
        let file = self.name(chunk.first, Some(chunk.last));
        let slot = chunk.table + 4 * (id - chunk.first);
        let bytes = disk.read(&file, slot, 8)?;
        let position = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u64::from(u32::from_le_bytes(bytes.try_into().expect("4 bytes"))))
        };
        let start = position(0);
        let end = if id == chunk.last { Some(chunk.table) } else { position(4) };
        match (start, end) {
            (Some(start), Some(end))
                if start >= CHUNK_HEADER && start < end && end <= chunk.table =>
            {
                read_entry(disk, &file, start, end, id).map(Some)
            }
            _ => Err(Corruption::new(&file, slot, Some(id), "bad position table").into()),
        }
    }

    /// Writes entries (ids consecutive from the head on) behind what counts. The caller syncs.
    pub fn stage(
        &mut self,
        disk: &mut impl Disk,
        entries: &[(u64, &[u8])],
    ) -> Result<Staged, StoreError> {
        if entries.is_empty() {
            return Ok(Staged::default());
        }
        self.suspect = true;
        let (chunks, writes) = self.plan(entries);
        let mut staged = Staged::default();
        for (chunk, (start, bytes)) in chunks.iter().zip(&writes) {
            let file = self.name(chunk.first, None);
            if *start == 0 {
                self.orphans.push(file.clone());
                staged.created = true;
            }
            disk.write(&file, *start, bytes)?;
            staged.files.push(file);
        }
        staged.chunks = chunks;
        Ok(staged)
    }

    /// Which bytes go where: the chunks as they will be, and for each offset and bytes to write.
    fn plan(&self, entries: &[(u64, &[u8])]) -> (Vec<Open>, Vec<(u64, Vec<u8>)>) {
        let mut staged: Vec<Open> = Vec::new();
        let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
        if let Some(last) = self.open.last().filter(|o| !self.is_full(o.end)) {
            writes.push((last.end, Vec::new()));
            staged.push(last.clone());
        }
        for (id, payload) in entries {
            if staged.last().is_none_or(|chunk| self.is_full(chunk.end)) {
                writes.push((0, vec![0; CHUNK_HEADER as usize]));
                let end = CHUNK_HEADER;
                staged.push(Open { first: *id, positions: Vec::new(), end, allocated: 0 });
            }
            let chunk = staged.last_mut().expect("just made sure");
            let (start, bytes) = writes.last_mut().expect("one per chunk");
            chunk.positions.push(u32::try_from(chunk.end).expect("a chunk is below MAX_FILE"));
            entry::encode(bytes, *id, payload);
            chunk.end = *start + bytes.len() as u64;
        }
        for (chunk, (start, bytes)) in staged.iter_mut().zip(&mut writes) {
            if chunk.end > chunk.allocated {
                chunk.allocated = chunk.end.next_multiple_of(step(self.chunk_size));
                let len = usize::try_from(chunk.allocated - *start).expect("a few steps");
                bytes.resize(len, 0);
            }
        }
        (staged, writes)
    }

    /// Makes staged entries count; the journal's frame that covers them is durable.
    pub fn commit(&mut self, staged: Staged) {
        for chunk in staged.chunks {
            match self.open.iter_mut().find(|o| o.first == chunk.first) {
                Some(open) => *open = chunk,
                None => self.open.push(chunk),
            }
        }
        self.suspect = false;
        self.orphans.clear();
    }

    /// Removes what a failed append left. The journal must have been scrubbed durably before, so
    /// that no frame covers these bytes.
    pub fn scrub(&mut self, disk: &mut impl Disk) -> Result<(), StoreError> {
        if !self.suspect {
            return Ok(());
        }
        for file in &self.orphans {
            if disk.exists(file)? {
                disk.remove(file)?;
            }
        }
        if !self.orphans.is_empty() {
            disk.sync_dir("")?;
            self.orphans.clear();
        }
        let (prefix, size) = (self.prefix, self.chunk_size);
        for chunk in self.open.iter_mut().filter(|o| o.end - CHUNK_HEADER < size) {
            let file = ChunkName { first: chunk.first, last: None }.text(prefix);
            disk.truncate(&file, chunk.end)?;
            chunk.allocated = chunk.end;
        }
        self.suspect = false;
        Ok(())
    }

    /// Closes the first full chunk, if there is one; returns its first and last id.
    pub fn close_one(&mut self, disk: &mut impl Disk) -> Result<Option<(u64, u64)>, StoreError> {
        let Some(chunk) = self.open.first().filter(|o| self.is_full(o.end)) else {
            return Ok(None);
        };
        let (first, last, table) = (chunk.first, chunk.next() - 1, chunk.end);
        let file = self.name(first, None);
        let positions: Vec<u8> = chunk.positions.iter().flat_map(|p| p.to_le_bytes()).collect();
        disk.truncate(&file, table)?;
        disk.write(&file, table, &positions)?;
        disk.write(&file, 0, &table.to_le_bytes())?;
        disk.sync(&file)?;
        let closed = self.name(first, Some(last));
        if let Err(error) = disk.rename(&file, &closed) {
            // It may have been carried out all the same; from now on the file would not be found.
            if disk.exists(&file)? || !disk.exists(&closed)? {
                return Err(error.into());
            }
        }
        self.open.remove(0);
        // A crash can leave a later chunk closed already.
        let at = self.closed.partition_point(|chunk| chunk.first < first);
        self.closed.insert(at, Closed { first, last, table });
        Ok(Some((first, last)))
    }

    /// Reads the chunks of a directory. `span` is what the journal says; `None` if it was lost.
    pub fn recover(
        disk: &mut impl Disk,
        prefix: &'static str,
        chunk_size: u64,
        span: Option<Span>,
    ) -> Result<Self, StoreError> {
        let head = span.map(|span| span.next);
        let mut log = Self {
            prefix,
            chunk_size,
            closed: Vec::new(),
            open: Vec::new(),
            suspect: false,
            orphans: Vec::new(),
        };
        let mut removed = false;
        for name in ChunkName::list(disk, prefix)? {
            let file = name.text(prefix);
            if name.last.is_none() && head.is_some_and(|head| name.first >= head) {
                disk.remove(&file)?;
                removed = true;
                continue;
            }
            if let Some(expected) = log.head().or(span.and_then(Span::start))
                && expected != name.first
            {
                let what = format!("the chunk begins with {}", name.first);
                return Err(Corruption::new(&file, 0, Some(expected), what).into());
            }
            match name.last {
                Some(last) => log.recover_closed(disk, &file, name.first, last, head)?,
                None => log.recover_open(disk, &file, name.first, head)?,
            }
        }
        if removed {
            disk.sync_dir("")?;
        }
        let span = span.unwrap_or_default();
        let (found, head) = (log.head().unwrap_or(span.first), span.next);
        if found < head {
            let file = log.name(found, None);
            let what = format!("everything from {found} to {} is missing", head - 1);
            return Err(Corruption::new(&file, 0, Some(found), what).into());
        }
        Ok(log)
    }

    fn recover_closed(
        &mut self,
        disk: &impl Disk,
        file: &str,
        first: u64,
        last: u64,
        head: Option<u64>,
    ) -> Result<(), StoreError> {
        if head.is_some_and(|head| head <= last) {
            // A chunk closes only after the frame that covers it: the journal has lost its end.
            let what = format!("the journal knows nothing of {last}: its last records are lost");
            return Err(Corruption::new(file, 0, Some(last), what).into());
        }
        let table = closed_table(disk, file, first, last)?;
        self.closed.push(Closed { first, last, table });
        Ok(())
    }

    fn recover_open(
        &mut self,
        disk: &mut impl Disk,
        file: &str,
        first: u64,
        head: Option<u64>,
    ) -> Result<(), StoreError> {
        let bytes = read_chunk(disk, file)?;
        let run = run(&bytes, first, |id, end| {
            self.is_full(end as u64) || head.is_some_and(|head| id >= head)
        });
        let next = first + run.positions.len() as u64;
        let tail = bytes.get(run.end..).unwrap_or_default();
        let torn = tail.iter().any(|b| *b != 0) && !self.is_full(run.end as u64);
        let lost = match head {
            Some(head) => next < head && !self.is_full(run.end as u64),
            None => torn && entry::follows(&bytes, run.end, next),
        };
        if lost {
            let what = "the entry is missing or its checksum fails";
            return Err(Corruption::new(file, run.end as u64, Some(next), what).into());
        }
        if run.positions.is_empty() {
            // Without a journal only: a chunk that never got its first entry.
            disk.remove(file)?;
            disk.sync_dir("")?;
            return Ok(());
        }
        let end = run.end as u64;
        let mut allocated = bytes.len() as u64;
        if torn {
            disk.truncate(file, end)?;
            disk.sync(file)?;
            allocated = end;
        }
        self.open.push(Open { first, positions: run.positions, end, allocated });
        Ok(())
    }
}

/// Where the position table of a closed chunk begins, as its length demands and its header says.
pub(crate) fn closed_table(
    disk: &impl Disk,
    file: &str,
    first: u64,
    last: u64,
) -> Result<u64, StoreError> {
    let len = disk.len(file)?;
    let count = last - first + 1;
    let table = count.checked_mul(4).and_then(|size| len.checked_sub(size));
    let header = disk.read(file, 0, CHUNK_HEADER as usize)?;
    match table {
        Some(table) if table > CHUNK_HEADER && header == table.to_le_bytes() => Ok(table),
        _ => {
            let what = "header and length don't fit the entries that its name promises";
            Err(Corruption::new(file, 0, Some(first), what).into())
        }
    }
}

fn read_entry(
    disk: &impl Disk,
    file: &str,
    start: u64,
    end: u64,
    id: u64,
) -> Result<Arc<[u8]>, StoreError> {
    let len = usize::try_from(end - start).expect("below MAX_FILE");
    let bytes = disk.read(file, start, len)?;
    match entry::parse(&bytes, 0) {
        Parsed::Entry { id: found, payload, next } if found == id && next == len => {
            Ok(payload.into())
        }
        _ => Err(Corruption::new(file, start, Some(id), "the checksum fails").into()),
    }
}

#[cfg(test)]
mod tests;
