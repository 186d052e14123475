//! Looks for damage in the directory of a log, without changing anything: for `quorate doctor`.
//!
//! Only the structure is looked at. What an entry says, and the signatures over it, are checked by
//! `quorate verify`.

use crate::check::{Problem, Report};
use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};
use crate::vault;

use super::archive::Archive;
use super::entry::Header;
use super::files::{CHUNK_HEADER, Chunk, MAX_FILE, Survey, read_table};
use super::journal::{FILES, Journal};
use super::names::ChunkName;
use super::recovery::Replayed;
use super::{JOURNAL_SIZE, mark, snapshots};

const REJOIN: &str = "the node must rejoin: what is missing may have been acknowledged";
const SNAPSHOT: &str = "remove it: another one, or the ledger, serves";

/// Whether the directory is that of a log.
pub(crate) fn is_signed(disk: &impl Disk) -> Result<bool, DiskError> {
    Ok(disk.exists(FILES[0])? || disk.exists(FILES[1])? || !ChunkName::list(disk)?.is_empty())
}

/// Reads everything and reports what is wrong.
pub(crate) fn check<D: Disk>(disk: &D, archive: &Archive<D>) -> Result<Report, DiskError> {
    let mut report = Report::default();
    for file in FILES.into_iter().chain([mark::FILE]) {
        report.files += usize::from(disk.exists(file)?);
    }
    let names = ChunkName::list(disk)?;
    report.files += names.len();
    match check_log(disk, archive, &names, &mut report) {
        Ok(()) => {}
        Err(StoreError::Corrupt(damage)) => report.problems.push(Problem::new(damage, REJOIN)),
        Err(StoreError::Disk(error)) => return Err(error),
    }
    for name in snapshots::list(disk)? {
        report.files += 1;
        if disk.len(&name.path())? == 0 {
            let damage = Corruption::new(&name.path(), 0, Some(name.seqno), "the file is empty");
            report.problems.push(Problem::new(damage, SNAPSHOT));
        }
    }
    check_secrets(disk, &mut report)?;
    Ok(report)
}

fn check_log<D: Disk>(
    disk: &D,
    archive: &Archive<D>,
    names: &[ChunkName],
    report: &mut Report,
) -> Result<(), StoreError> {
    let Some(generation) = Journal::read(disk, JOURNAL_SIZE)? else {
        if names.is_empty() {
            return Ok(());
        }
        let what = "there is a ledger but no journal: view and vote are lost";
        return Err(Corruption::new(FILES[0], 0, None, what).into());
    };
    let mut replayed = Replayed::new(&generation)?;
    let base = generation.checkpoint.base;
    let survey = Survey::read(disk, archive, base, replayed.stable, &[])?;
    report.entries = replayed.last() - generation.checkpoint.base;
    if let Err(error) = replayed.verify(disk, archive, &generation, &survey) {
        note(report, error)?;
    }
    for chunk in survey.chunks.iter().filter(|c| c.name.last.is_some() && names.contains(&c.name)) {
        if let Err(error) = check_complete(disk, chunk) {
            note(report, error)?;
        }
    }
    Ok(())
}

fn note(report: &mut Report, error: StoreError) -> Result<(), DiskError> {
    match error {
        StoreError::Corrupt(damage) => report.problems.push(Problem::new(damage, REJOIN)),
        StoreError::Disk(error) => return Err(error),
    }
    Ok(())
}

/// Compares the entries of a complete chunk with its position table.
fn check_complete(disk: &impl Disk, chunk: &Chunk) -> Result<(), StoreError> {
    let path = chunk.name.path();
    let table = read_table(disk, &path, chunk)?;
    let bytes = read_all(disk, &path, MAX_FILE)?;
    let mut at = CHUNK_HEADER;
    for (seqno, position) in (chunk.name.first..).zip(table) {
        if u64::from(position) != at {
            let slot = chunk.end + 4 * (seqno - chunk.name.first);
            let what = "the position table is wrong, or the entry before has another length";
            return Err(Corruption::new(&path, slot, Some(seqno), what).into());
        }
        let here = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let header = Header::parse(here).filter(|header| at + header.len as u64 <= chunk.end);
        let Some(header) = header else {
            return Err(Corruption::new(&path, at, Some(seqno), "the entry is bad").into());
        };
        at += header.len as u64;
    }
    if at == chunk.end {
        return Ok(());
    }
    let what = "bytes between entries and position table";
    Err(Corruption::new(&path, at, Some(chunk.last), what).into())
}

fn check_secrets(disk: &impl Disk, report: &mut Report) -> Result<(), DiskError> {
    let files = match disk.list(vault::DIR) {
        Err(DiskError::NotFound { .. }) => return Ok(()),
        other => other?,
    };
    let mut secrets: Vec<_> = files.iter().filter_map(|file| vault::parse_name(file)).collect();
    secrets.sort_unstable();
    report.files += secrets.len();
    for versions in secrets.chunk_by(|a, b| a.0 == b.0) {
        let mut damage = None;
        let mut good = false;
        for (name, version) in versions.iter().rev() {
            match vault::read_sealed(disk, name, *version) {
                Ok(_) => good = true,
                Err(StoreError::Corrupt(found)) => damage = damage.or(Some(found)),
                Err(StoreError::Disk(error)) => return Err(error),
            }
        }
        if let Some(damage) = damage.filter(|_| !good) {
            report.problems.push(Problem::new(damage, REJOIN));
        }
    }
    Ok(())
}
