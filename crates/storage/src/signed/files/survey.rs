//! What the disk has, compared with what the log must have: how chunk files that are in any state
//! behind the last checkpoint become those of the log again.

use std::sync::Arc;

use crate::chunk::read_all;
use crate::disk::Disk;
use crate::error::{Corruption, StoreError};

use super::super::archive::Archive;
use super::super::entry::{self, CHUNK_ENDS, CHUNK_STARTS, Header};
use super::super::names::{ChunkName, DIR};
use super::super::sums::Slot;
use super::chunk::{
    CHUNK_HEADER, Chunk, MAX_FILE, bad_entry, check_table, last_flags, push, read_complete,
    table_offset,
};
use super::{Files, rename};

/// What the names of files end with that are no part of the log any more.
const IGNORED: &str = ".ignored";

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
                next = survey.take_archived(archive, next, first - 1, known)?;
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
        if survey.take_archived(archive, next, stable, known)? <= stable {
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
        known: &[Chunk],
    ) -> Result<u64, StoreError> {
        while next <= last
            && let Some((chunk, _)) = archive.find(next)?
            && chunk.name.first == next
            && chunk.last <= last
        {
            let known = known.iter().find(|known| known.name.first == next);
            let path = chunk.name.text();
            next = chunk.last + 1;
            self.chunks.push(as_known(chunk, known, &path)?);
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
                    Some(known) => {
                        chunk = as_known(chunk, Some(known), &name.path())?;
                        check_table(disk, &name.path(), &chunk)?;
                    }
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
        let mut files = self.files();
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
        Files::of(self.base, self.chunks.clone())
    }

    /// Brings the disk to what counts.
    pub fn apply(self, disk: &mut impl Disk) -> Result<Files, StoreError> {
        let mut files = self.files();
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

/// A complete chunk that was found at `path`, with what is known of its entries.
fn as_known(found: Chunk, known: Option<&Chunk>, path: &str) -> Result<Chunk, StoreError> {
    match known {
        None => Ok(found),
        Some(known) if (known.last, known.end) == (found.last, found.end) => {
            Ok(Chunk { name: found.name, ..known.clone() })
        }
        Some(_) => Err(bad_entry(path, found.end, found.last)),
    }
}

fn missing(seqno: u64) -> StoreError {
    let what = "the chunk that begins with the entry is missing (look for it in the directories that \
                service.ledger.read_only_directories named)";
    Corruption::new(&ChunkName::open(seqno).path(), 0, Some(seqno), what).into()
}
