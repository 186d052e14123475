//! Looks for damage in a group's directory without changing anything, and repairs what can be.
//!
//! Both work on a directory that no store has open.
//!
//! [`repair`] keeps everything up to the first bad block (certificate) and puts the rest aside
//! under a name that ends in `.corrupt`: what is missing then comes from peers, checked as any
//! block that is caught up. Notes cannot come from peers. When some are lost, what the good frames
//! say is kept, and a marker tells the member that it may have said things it no longer knows:
//! [`quorate_consensus::core::Recovered::amnesia`].
//!
//! The directory of a signed log is recognised and checked ([`crate::signed`]); repair leaves it
//! alone: whatever opening does not mend by itself may have been acknowledged, so that the node must
//! rejoin.

use std::fmt;

use quorate_crypto::hash::sha256;

use crate::chunk::{self, CHUNK_HEADER, ChunkName, Run, Span};
use crate::disk::{Disk, DiskError};
use crate::entry::{self, Parsed};
use crate::error::{Corruption, StoreError};
use crate::journal::{self, Heads, Live, NoteLog, Salt};
use crate::signed::Archive;
use crate::store::{CERTIFICATES, LEDGER, mark_amnesia};
use crate::{index, signed, snapshot, vault, witness};

const FROM_PEERS: &str = "repair puts it and all that follow aside; they come back from peers";
const REWRITE: &str = "all entries are good; repair writes the chunk again";
const NOTES: &str = "repair keeps what is good; the member then abstains where it may have voted";
const DERIVED: &str = "derived data: made again when the store is opened";
const SECRET: &str = "repair drops it; the member needs new keys (a change of view)";

/// Something wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, relative to the group's directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The block, certificate or snapshot concerned, where one can be named.
    pub id: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What can be done.
    pub hint: &'static str,
}

impl Problem {
    pub(crate) fn new(corruption: Corruption, hint: &'static str) -> Self {
        let Corruption { file, offset, id, what } = corruption;
        Self { file, offset, id, what, hint }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.file, self.offset)?;
        if let Some(id) = self.id {
            write!(f, " (id {id})")?;
        }
        write!(f, ": {}; {}", self.what, self.hint)
    }
}

/// What [`check`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Files read.
    pub files: usize,
    /// Good blocks and certificates.
    pub entries: u64,
    /// What is wrong, in no order of weight.
    pub problems: Vec<Problem>,
}

/// What [`repair`] did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repaired {
    /// One line for each thing done; empty if nothing was wrong.
    pub actions: Vec<String>,
    /// Notes were lost; the marker has been set.
    pub amnesia: bool,
}

/// Splits damage from trouble with the disk.
fn sort<T>(result: Result<T, StoreError>) -> Result<Result<T, Corruption>, DiskError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Corrupt(corruption)) => Ok(Err(corruption)),
        Err(StoreError::Disk(DiskError::NotFound { path })) => {
            Ok(Err(Corruption::new(&path, 0, None, "the file is missing")))
        }
        Err(StoreError::Disk(error)) => Err(error),
    }
}

/// One chunk file, read through.
struct Examined {
    name: ChunkName,
    file: String,
    bytes: Vec<u8>,
    /// Good entries from the start.
    run: Run,
    /// Good entries in all.
    good: u64,
    /// Entries are missing behind it.
    short: bool,
    problems: Vec<Problem>,
}

impl Examined {
    fn next(&self) -> u64 {
        self.name.first + self.run.positions.len() as u64
    }

    fn bad(&mut self, offset: usize, id: u64, what: &str, hint: &'static str) {
        let corruption = Corruption::new(&self.file, offset as u64, Some(id), what);
        self.problems.push(Problem::new(corruption, hint));
    }

    fn new(
        disk: &impl Disk,
        prefix: &str,
        name: ChunkName,
        head: Option<u64>,
    ) -> Result<Self, DiskError> {
        let file = name.text(prefix);
        let (bytes, damage) = match sort(chunk::read_chunk(disk, &file))? {
            Ok(bytes) => (bytes, None),
            Err(damage) => (Vec::new(), Some(Problem::new(damage, FROM_PEERS))),
        };
        let last = name.last;
        let run = chunk::run(&bytes, name.first, |id, _| {
            last.map_or_else(|| head.is_some_and(|head| id >= head), |last| id > last)
        });
        let good = run.positions.len() as u64;
        let mut chunk = Self {
            name,
            file,
            bytes,
            run,
            good,
            short: false,
            problems: damage.into_iter().collect(),
        };
        if chunk.problems.is_empty() {
            match last {
                Some(last) => chunk.examine_closed(last),
                None => chunk.examine_open(head),
            }
        }
        Ok(chunk)
    }

    fn examine_closed(&mut self, last: u64) {
        let first = self.name.first;
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        let table = self.bytes.len().checked_sub(count.saturating_mul(4));
        let Some(table) = table.filter(|table| *table > CHUNK_HEADER as usize) else {
            self.bad(0, self.next(), "the file is too short for its name", FROM_PEERS);
            return;
        };
        let promised = self.bytes.first_chunk().map(|header| u64::from_le_bytes(*header));
        if promised != Some(table as u64) {
            self.bad(0, first, "the header doesn't say where the position table is", REWRITE);
        }
        // The length of a bad entry is not to be trusted: the table says where the next one is.
        let mut at = Some(self.run.end);
        let slot = |id: u64, bytes: &[u8]| {
            let slot = table + 4 * usize::try_from(id - first).expect("below count");
            let bytes = bytes.get(slot..slot + 4)?.try_into().expect("4 bytes");
            Some((slot, u32::from_le_bytes(bytes) as usize))
        };
        for id in first..=last {
            let index = usize::try_from(id - first).expect("below count");
            let known = self.run.positions.get(index).map(|p| *p as usize);
            let (slot, promised) = slot(id, &self.bytes).expect("the table is in the file");
            let position = known.or(at).unwrap_or(promised);
            let limit = self.bytes.get(..table).unwrap_or_default();
            match entry::parse(limit, position) {
                Parsed::Entry { id: found, next, .. } if found == id => {
                    at = Some(next);
                    self.good += u64::from(known.is_none());
                    if promised != position {
                        self.bad(slot, id, "the position table is wrong", REWRITE);
                    }
                }
                _ => {
                    self.bad(position, id, "the entry's checksum fails", FROM_PEERS);
                    at = None;
                }
            }
        }
        if at.is_some_and(|end| end != table) {
            self.bad(at.unwrap_or(0), last, "bytes between entries and position table", REWRITE);
        }
    }

    fn examine_open(&mut self, head: Option<u64>) {
        let (next, end) = (self.next(), self.run.end);
        if head.is_none() && entry::follows(&self.bytes, end, next) {
            self.bad(end, next, "the entry is missing or its checksum fails", FROM_PEERS);
        }
    }

    /// What comes next has the id `after`: everything before it must be here.
    fn demand(&mut self, prefix: &str, after: u64) {
        let next = self.name.last.map_or(self.next(), |last| last + 1);
        // An entry known to be bad says it all.
        if next != after && self.problems.is_empty() {
            self.problems.push(missing(prefix, Some(self), next));
            self.short = true;
        }
    }

    /// Whether every entry the name promises is good.
    fn is_whole(&self) -> bool {
        self.name.last.is_none_or(|last| self.next() == last + 1)
    }
}

/// Where entries are missing: `expected` and those after it.
fn missing(prefix: &str, before: Option<&Examined>, expected: u64) -> Problem {
    let (file, end) = match before.filter(|chunk| chunk.name.last.is_none()) {
        Some(chunk) => (chunk.file.clone(), chunk.run.end as u64),
        None => (ChunkName { first: expected, last: None }.text(prefix), 0),
    };
    let what = "entries are missing or bad";
    Problem::new(Corruption::new(&file, end, Some(expected), what), FROM_PEERS)
}

/// Reads one kind of chunks through, in order, and notes in each what is wrong with it or missing
/// behind it; apart from that, what is missing before the first.
fn walk(
    disk: &impl Disk,
    prefix: &str,
    span: Option<Span>,
) -> Result<(Vec<Examined>, Option<Problem>), DiskError> {
    let head = span.map(|span| span.next);
    // Open chunks from the head on are remains of an append that never returned.
    let counts = |name: &ChunkName| name.last.is_some() || head.is_none_or(|h| name.first < h);
    let mut chunks: Vec<Examined> = Vec::new();
    for name in ChunkName::list(disk, prefix)?.into_iter().filter(counts) {
        let first = name.first;
        if let Some(before) = chunks.last_mut() {
            before.demand(prefix, first);
        }
        chunks.push(Examined::new(disk, prefix, name, head)?);
    }
    if let (Some(last), Some(head)) = (chunks.last_mut(), head) {
        last.demand(prefix, head);
    }
    let start = span.and_then(Span::start);
    let lost = start.filter(|start| chunks.first().is_none_or(|c| c.name.first != *start));
    Ok((chunks, lost.map(|start| missing(prefix, None, start))))
}

/// What the journal says, and what is wrong with it.
struct Notes {
    /// Number of the newest segment.
    number: Option<u64>,
    live: Live,
    /// Sequence number for the next frame.
    next: u64,
    /// Whether the heads can be relied on.
    heads: Option<Heads>,
    problem: Option<Problem>,
}

fn read_notes(disk: &impl Disk) -> Result<Notes, DiskError> {
    let Some(newest) = journal::segments(disk)?.pop() else {
        let (live, next) = (Live::default(), witness::read(disk)?.max(1));
        let mut notes = Notes { number: None, live, next, heads: None, problem: None };
        let data = !ChunkName::list(disk, LEDGER)?.is_empty()
            || !ChunkName::list(disk, CERTIFICATES)?.is_empty();
        if data {
            let damage = Corruption::new(&journal::segment_name(1), 0, None, "there is no journal");
            notes.problem = Some(Problem::new(damage, NOTES));
        }
        return Ok(notes);
    };
    let number = Some(newest);
    let (segment, damage) = match sort(journal::read_segment(disk, newest, false))? {
        Ok(segment) => (Some(segment), None),
        Err(damage) => (sort(journal::read_segment(disk, newest, true))?.ok(), Some(damage)),
    };
    let problem = damage.map(|damage| Problem::new(damage, NOTES));
    let Some(segment) = segment else {
        let next = witness::read(disk)?.max(1);
        return Ok(Notes { number, live: Live::default(), next, heads: None, problem });
    };
    let mut heads = Some(segment.live.heads);
    let mut problem = problem;
    let mut next = segment.next;
    if let Some(damage) = witness::loss(disk, newest, &segment)? {
        next = next.max(witness::read(disk)?);
        problem.get_or_insert(Problem::new(damage, NOTES));
        heads = None;
    }
    if segment.frames == 0 {
        let file = journal::segment_name(newest);
        let damage = Corruption::new(&file, segment.end, None, "the first frame is bad");
        problem.get_or_insert(Problem::new(damage, NOTES));
        heads = None;
    }
    for (prefix, head) in
        [(LEDGER, segment.live.heads.blocks), (CERTIFICATES, segment.live.heads.certificates)]
    {
        let ahead = |name: &ChunkName| name.last.is_some_and(|last| last >= head.next);
        if let Some(name) = ChunkName::list(disk, prefix)?.into_iter().find(ahead) {
            let file = journal::segment_name(newest);
            let what = format!("{} has more than the journal knows of", name.text(prefix));
            let damage = Corruption::new(&file, segment.end, None, what);
            problem.get_or_insert(Problem::new(damage, NOTES));
            heads = None;
        }
    }
    Ok(Notes { number, live: segment.live, next, heads, problem })
}

/// Reads everything and reports what is wrong, without changing anything.
///
/// # Errors
/// The disk's; damage is not an error but a [`Problem`].
pub fn check<D: Disk>(disk: &D) -> Result<Report, DiskError> {
    check_with(disk, Vec::new())
}

/// As [`check`]; a signed log may have committed chunks in these read-only directories instead.
///
/// # Errors
/// As [`check`].
pub fn check_with<D: Disk>(disk: &D, read_only: Vec<D>) -> Result<Report, DiskError> {
    if signed::check::is_signed(disk)? {
        return signed::check::check(disk, &Archive::new(read_only));
    }
    let mut report = Report::default();
    let notes = read_notes(disk)?;
    report.files += usize::from(notes.number.is_some());
    report.files += usize::from(disk.exists(witness::FILE)?);
    report.problems.extend(notes.problem);
    for (prefix, span) in [
        (LEDGER, notes.heads.map(|h| h.blocks)),
        (CERTIFICATES, notes.heads.map(|h| h.certificates)),
    ] {
        let (chunks, lost) = walk(disk, prefix, span)?;
        report.files += chunks.len();
        report.problems.extend(lost);
        for chunk in chunks {
            report.entries += chunk.good;
            report.problems.extend(chunk.problems);
            if let (LEDGER, Some(last)) = (prefix, chunk.name.last) {
                report.files += 1;
                if let Err(damage) = sort(index::verify_file(disk, chunk.name.first, last))? {
                    report.problems.push(Problem::new(damage, DERIVED));
                }
            }
        }
    }
    for id in &notes.live.snapshots {
        report.files += 1;
        if let Err(damage) = sort(snapshot::read(disk, *id))? {
            report.problems.push(Problem::new(damage, "recovery starts from an earlier one"));
        }
    }
    for (name, version) in &notes.live.secrets {
        report.files += 1;
        if let Err(damage) = sort(vault::read_sealed(disk, name, *version))? {
            report.problems.push(Problem::new(damage, SECRET));
        }
    }
    Ok(report)
}

/// Repairs a directory, see the [module](self). Safe to run again, also after a crash in between.
///
/// # Errors
/// The disk's.
pub fn repair(disk: &mut impl Disk) -> Result<Repaired, DiskError> {
    let mut done = Repaired::default();
    if signed::check::is_signed(disk)? {
        // Opening mends what a crash left; what was acknowledged and is gone, nobody can.
        return Ok(done);
    }
    let notes = read_notes(disk)?;
    let (mut live, mut next) = (notes.live.clone(), notes.next);
    if let Some(problem) = &notes.problem {
        mark_amnesia(disk)?;
        done.amnesia = true;
        done.actions.push(format!("notes were lost ({problem}): marker set"));
        next = next.max(adopt_secrets(disk, &mut live)?);
    }
    let span = notes.heads.map(|h| h.blocks);
    live.heads.blocks = repair_chunks(disk, LEDGER, span, u64::MAX, &mut done)?;
    let (span, limit) = (notes.heads.map(|h| h.certificates), live.heads.blocks.next);
    live.heads.certificates = repair_chunks(disk, CERTIFICATES, span, limit, &mut done)?;
    repair_derived(disk, &mut live, &mut done)?;
    if live != notes.live || notes.problem.is_some() {
        let number = notes.number.map_or(1, |number| number + 1);
        let salt = new_salt(disk, notes.number)?;
        // Above every number that a lost frame can have had.
        next += 1 << 20;
        match NoteLog::create(disk, number, salt, next, live) {
            Ok(_) => {}
            Err(StoreError::Disk(error)) => return Err(error),
            Err(StoreError::Corrupt(c)) => unreachable!("writing finds no corruption: {c}"),
        }
        done.actions.push(format!("wrote {}", journal::segment_name(number)));
    }
    if let (Some(number), Some(_)) = (notes.number, &notes.problem) {
        quarantine(disk, &journal::segment_name(number), &mut done)?;
    }
    disk.sync_dir("")?;
    Ok(done)
}

/// Takes secrets that stand in the vault, though the journal's good frames don't know them, as
/// live: a frame that was lost may have set them. Returns a number above all versions.
fn adopt_secrets(disk: &impl Disk, live: &mut Live) -> Result<u64, DiskError> {
    let mut next = 1;
    let files = match disk.list(vault::DIR) {
        Err(DiskError::NotFound { .. }) => Vec::new(),
        other => other?,
    };
    for (name, version) in files.iter().filter_map(|file| vault::parse_name(file)) {
        let newest = live.secrets.entry(name).or_default();
        *newest = version.max(*newest);
        next = next.max(version.saturating_add(1));
    }
    Ok(next)
}

fn new_salt(disk: &impl Disk, number: Option<u64>) -> Result<Salt, DiskError> {
    // The old segment holds its own random salt, which nobody outside knows.
    let old = match number {
        Some(number) => disk.read(&journal::segment_name(number), 0, 1 << 20)?,
        None => Vec::new(),
    };
    let digest = sha256(&[b"quorate journal salt".as_slice(), &old].concat());
    Ok(*digest.as_bytes().first_chunk().expect("a digest is longer than a salt"))
}

/// Keeps the good entries below `limit` from the first on; returns which ones.
fn repair_chunks(
    disk: &mut impl Disk,
    prefix: &str,
    span: Option<Span>,
    limit: u64,
    done: &mut Repaired,
) -> Result<Span, DiskError> {
    let (chunks, _) = walk(disk, prefix, span)?;
    let mut expected = span.and_then(Span::start);
    let mut kept = Span::default();
    let mut broken = false;
    let mut rewritten = None;
    for mut chunk in chunks {
        let first = chunk.name.first;
        if rewritten == Some(first) {
            // Left by a repair that a crash cut short, and just written again.
            continue;
        }
        broken |= expected.is_some_and(|expected| expected != first) || first >= limit;
        if broken {
            quarantine(disk, &chunk.file, done)?;
            continue;
        }
        let over = chunk.next() > limit;
        if over {
            let keep = usize::try_from(limit - first).expect("less than the entries there are");
            chunk.run.end = chunk.run.positions[keep] as usize;
            chunk.run.positions.truncate(keep);
        }
        // A closed chunk that is whole may have a bad table only, or a gap behind it.
        let closed = chunk.name.last.is_some();
        let rewrite = over || chunk.problems.len() > usize::from(closed && chunk.short);
        broken = over || !chunk.is_whole() || (rewrite && !closed);
        if chunk.run.positions.is_empty() {
            quarantine(disk, &chunk.file, done)?;
            broken = true;
            continue;
        }
        expected = Some(chunk.next());
        kept = Span { first: kept.start().unwrap_or(first), next: chunk.next() };
        if rewrite {
            put_aside(disk, prefix, &chunk, done)?;
            rewritten = Some(first);
        }
    }
    Ok(kept)
}

/// Leaves the good part of a chunk as an open chunk, and a copy of all of it under another name.
fn put_aside(
    disk: &mut impl Disk,
    prefix: &str,
    chunk: &Examined,
    done: &mut Repaired,
) -> Result<(), DiskError> {
    let copy = free_name(disk, &chunk.file)?;
    disk.write(&copy, 0, &chunk.bytes)?;
    disk.sync(&copy)?;
    disk.sync_dir("")?;
    let open = ChunkName { first: chunk.name.first, last: None }.text(prefix);
    let temp = format!("{open}.tmp");
    if disk.exists(&temp)? {
        disk.remove(&temp)?;
    }
    disk.write(&temp, 0, &[0; CHUNK_HEADER as usize])?;
    let entries = chunk.bytes.get(CHUNK_HEADER as usize..chunk.run.end).unwrap_or_default();
    disk.write(&temp, CHUNK_HEADER, entries)?;
    disk.sync(&temp)?;
    disk.rename(&temp, &open)?;
    disk.sync_dir("")?;
    if chunk.file != open {
        disk.remove(&chunk.file)?;
        disk.sync_dir("")?;
    }
    let (first, last) = (chunk.name.first, chunk.next() - 1);
    done.actions.push(format!("kept {first} to {last} of {}, all of it is in {copy}", chunk.file));
    Ok(())
}

/// Snapshots, secrets and indexes.
fn repair_derived(
    disk: &mut impl Disk,
    live: &mut Live,
    done: &mut Repaired,
) -> Result<(), DiskError> {
    for id in live.snapshots.clone() {
        let good = id < live.heads.blocks.next && sort(snapshot::read(disk, id))?.is_ok();
        if !good {
            live.snapshots.remove(&id);
            quarantine(disk, &snapshot::snapshot_name(id), done)?;
        }
    }
    for (name, version) in live.secrets.clone() {
        if sort(vault::read_sealed(disk, &name, version))?.is_err() {
            live.secrets.remove(&name);
            done.actions.push(format!("the secret {name} is lost"));
            quarantine(disk, &vault::path(&name, version), done)?;
            disk.sync_dir(vault::DIR)?;
        }
    }
    let chunks = ChunkName::list(disk, LEDGER)?;
    for (first, last) in disk.list("")?.iter().filter_map(|name| index::parse_name(name)) {
        let known = chunks.contains(&ChunkName { first, last: Some(last) });
        if !known || sort(index::verify_file(disk, first, last))?.is_err() {
            let file = index::index_name(first, last);
            disk.remove(&file)?;
            done.actions.push(format!("removed {file}; made again when the store is opened"));
        }
    }
    Ok(())
}

fn free_name(disk: &impl Disk, file: &str) -> Result<String, DiskError> {
    let mut name = format!("{file}.corrupt");
    let mut n = 2;
    while disk.exists(&name)? {
        name = format!("{file}.{n}.corrupt");
        n += 1;
    }
    Ok(name)
}

fn quarantine(disk: &mut impl Disk, file: &str, done: &mut Repaired) -> Result<(), DiskError> {
    if !disk.exists(file)? {
        return Ok(());
    }
    let name = free_name(disk, file)?;
    disk.rename(file, &name)?;
    done.actions.push(format!("renamed {file} to {name}"));
    Ok(())
}

#[cfg(test)]
mod tests;
