//! Damage of what was durable is refused and named; nothing is served that is not framed.

use super::*;
use crate::check::{check, repair};
use crate::disk::SECTOR;
use crate::error::Corruption;
use crate::signed::mark;

fn filled() -> (MemDisk, Model) {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let mut model = Model::default();
    let mut append = |log: &mut SignedLog<MemDisk>, records: &[LogRecord]| {
        log.append(records).expect("appends");
        model = model.after(records);
    };
    append(&mut log, &[vote(2, "a")]);
    for seqno in 1..=34 {
        append(&mut log, &[framed(seqno, 2, u8::from(seqno % 5 == 0), 60)]);
        if seqno == 12 {
            log.note_commit(10);
        }
    }
    model.commit = 10;
    assert!(log.stats().checkpoints > 0 && log.stats().journal_bytes > 1200, "{:?}", log.stats());
    (disk, model)
}

fn refused(disk: &MemDisk) -> Corruption {
    let report = check(disk).expect("the disk is good");
    match open(disk, 9) {
        Err(OpenError::Corrupt(damage)) => {
            assert!(!report.problems.is_empty(), "the doctor misses: {damage}");
            damage
        }
        other => panic!("opened with {:?}", other.map(|(_, recovered)| recovered)),
    }
}

/// The journal in force, and where its frames end.
fn journal_in_force(disk: &MemDisk) -> (&'static str, usize) {
    let generation = journal::Journal::read(disk, 2000).expect("reads").expect("there is one");
    let (name, end) = generation.journal.head();
    (name, end as usize)
}

#[test]
fn a_good_directory_has_no_problems() {
    let (disk, model) = filled();
    let report = check(&disk).expect("the disk is good");
    assert_eq!(report.problems, vec![]);
    assert_eq!(report.entries, model.last());
    assert_eq!(repair(&mut disk.clone()).expect("nothing to do").actions, Vec::<String>::new());
}

#[test]
fn no_flipped_bit_of_the_journal_loses_an_entry_unnoticed() {
    let (disk, model) = filled();
    let files = disk.files();
    let mut noticed = 0;
    for name in journal::FILES {
        for at in 0..files[name].len() {
            let disk = disk.copy();
            disk.tamper(name, |bytes| bytes[at] ^= 1 << (at % 8));
            match open(&disk, 5) {
                Ok((log, recovered)) => {
                    assert!(model.is(&log, &recovered), "{name} at {at}: {recovered:?}");
                }
                Err(OpenError::Corrupt(damage)) => {
                    assert!(["raft_", "ledger/"].iter().any(|name| damage.file.starts_with(name)));
                    noticed += 1;
                }
                Err(error) => panic!("{name} at {at}: {error}"),
            }
        }
    }
    let generation = journal::Journal::read(&disk, 2000).expect("reads").expect("there is one");
    let sums = generation.ops.iter().find_map(|op| match op {
        journal::Op::Sums(sums) => Some(sums.len()),
        _ => None,
    });
    let sums = sums.expect("not all was committed");
    let others = generation.frames as usize - 1;
    assert!(sums > 10 && others > 1, "{sums} checksums, {others} frames");
    let expected = (16 + 8 + 5 + 4 * sums) + others * (16 + 8 + 9 + 60);
    assert_eq!(noticed, expected, "every byte of the frames");
}

#[test]
fn lost_frames_are_noticed() {
    let (disk, _) = filled();
    let (name, end) = journal_in_force(&disk);
    // The last frame is gone as if it had never been written; the chunk files have its entry.
    disk.tamper(name, |bytes| bytes[end - SECTOR..end].fill(0));
    let damage = refused(&disk);
    assert!(damage.file.starts_with("ledger/ledger_31"), "{damage}");
    assert_eq!(damage.id, Some(34));
}

#[test]
fn a_commit_index_beyond_the_log_is_noticed() {
    let (disk, _) = filled();
    mark::write(&mut disk.clone(), 0, 35);
    let damage = refused(&disk);
    assert!(damage.what.contains("35 was committed"), "{damage}");
}

#[test]
fn a_lost_journal_is_refused_and_the_ledger_can_be_adopted() {
    let (disk, model) = filled();
    journal::FILES.iter().for_each(|name| disk.lose(name));
    disk.lose(mark::FILE);
    let damage = refused(&disk);
    assert!(damage.what.contains("no journal"), "{damage}");
    let mut options = options(3);
    options.adopt = true;
    let (log, recovered) = SignedLog::open(disk.clone(), options).expect("adopts");
    assert!(model.reads_as(&log));
    assert_eq!((recovered.view, recovered.commit_idx, recovered.is_new), (0, 10, false));
    drop(log);
    let (log, _) = open(&disk, 4).expect("opens as any other");
    assert!(model.reads_as(&log));
}

#[test]
fn damaged_and_missing_chunks_are_named() {
    let (good, _) = filled();
    let complete = "ledger/ledger_1-5.committed";
    let header = |bytes: &mut Vec<u8>| bytes[0] ^= 1;
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(100);
    for change in [header, cut] {
        let disk = good.copy();
        disk.tamper(complete, change);
        assert_eq!(refused(&disk).file, complete);
    }
    let disk = good.copy();
    disk.lose(complete);
    let damage = refused(&disk);
    assert_eq!((damage.file.as_str(), damage.id), ("ledger/ledger_1", Some(1)));
    // What is inside of a complete chunk is looked at when it is read.
    let disk = good.copy();
    disk.tamper(complete, |bytes| bytes[8 + 60] = 7);
    assert_eq!(check(&disk).expect("reads").problems[0].file, complete);
    let (log, _) = open(&disk, 2).expect("opens");
    let error = log.entries(1..=5, usize::MAX).expect_err("entry 2 is bad");
    let expected = Corruption::new(complete, 68, Some(2), "the entry is missing or bad");
    assert_eq!(error, StoreError::Corrupt(expected));
    assert_eq!(log.entries(3..=5, usize::MAX).expect("the others are good").len(), 3);
    let disk = good.copy();
    disk.tamper(complete, |bytes| *bytes.last_mut().expect("a table") ^= 0x10);
    let problems = check(&disk).expect("reads").problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (log, _) = open(&disk, 2).expect("opens");
    assert!(log.entries(1..=5, usize::MAX).is_err());
}

#[test]
fn the_open_chunk_is_written_again_from_the_journal() {
    let (disk, model) = filled();
    let expected = ledger(&disk);
    disk.tamper("ledger/ledger_31", |bytes| bytes[8 + 2 * 60 + 3..].fill(0xee));
    let (log, recovered) = open(&disk, 2).expect("opens");
    assert!(model.is(&log, &recovered));
    assert_eq!(ledger(&disk), expected);
}

#[test]
fn the_table_of_the_last_chunk_is_made_again() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let records: Vec<_> =
        (1..=6).map(|seqno| framed(seqno, 2, u8::from(seqno % 3 == 0), 40)).collect();
    log.append(&records).expect("appends");
    drop(log);
    // With a checkpoint, so the journal has no entry any more.
    let (log, _) = open(&disk, 2).expect("opens");
    assert_eq!(log.stats().checkpoints, 1);
    drop(log);
    let good = ledger(&disk);
    disk.tamper("ledger/ledger_4-6", |bytes| {
        let table = bytes.len() - 12;
        bytes[table..].fill(0);
    });
    let (_, recovered) = open(&disk, 3).expect("opens");
    assert_eq!(recovered.last, 6);
    assert_eq!(ledger(&disk), good);
}

#[test]
fn a_flipped_flag_of_the_last_entry_before_a_checkpoint_is_refused() {
    for (count, flip, what) in [(10, 1, "ends no chunk"), (12, 1, "ends one")] {
        let disk = MemDisk::default();
        let (mut log, _) = open(&disk, 1).expect("opens");
        let records: Vec<_> =
            (1..=count).map(|seqno| framed(seqno, 2, u8::from(seqno % 5 == 0), 60)).collect();
        log.append(&records).expect("appends");
        drop(log);
        // Opening makes a checkpoint: from here on the chunk files alone have the entries.
        drop(open(&disk, 2).expect("opens"));
        assert!(open(&disk.copy(), 3).is_ok());
        let (first, last) = if count == 10 { (6, Some(10)) } else { (11, None) };
        let name =
            last.map_or(ChunkName::open(first), |last| ChunkName::complete(first, last, false));
        let at = 8 + 60 * (count - first) as usize;
        disk.tamper(&name.path(), |bytes| bytes[at + 1] ^= flip);
        let damage = refused(&disk);
        assert_eq!(damage.id, Some(count), "{what}: {damage}");
    }
}

/// A log with chunks that are committed, complete and open, of which little is in memory.
fn in_files() -> (MemDisk, Model, SignedLog<MemDisk>) {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let mut model = Model::default();
    for seqno in 1..=60 {
        let record = [framed(seqno, 2, u8::from(seqno % 7 == 0), 60)];
        log.append(&record).expect("appends");
        model = model.after(&record);
        if seqno == 30 {
            log.note_commit(seqno);
            model.commit = seqno;
        }
    }
    log.checkpoint().expect("all is in the files");
    log.settle();
    (disk, model, log)
}

/// Each entry alone and many at once: what is read is what was written, or damage. Which entry alone
/// is damage.
fn reads_the_truth(log: &SignedLog<MemDisk>, model: &Model) -> Vec<u64> {
    let mut refused = Vec::new();
    let ranges = (1..=model.last()).map(|at| at..=at);
    for range in ranges.chain([1..=model.last(), 3..=40]) {
        let first = (*range.start() - 1) as usize;
        match log.entries(range.clone(), usize::MAX) {
            Ok(entries) => assert_eq!(entries, model.entries[first..*range.end() as usize]),
            Err(StoreError::Corrupt(_)) => refused.push(*range.start()),
            Err(error) => panic!("{range:?}: {error}"),
        }
    }
    refused
}

#[test]
fn what_rots_under_a_running_log_is_never_read() {
    for restarted in [false, true] {
        let (disk, model, mut log) = in_files();
        if restarted {
            log = open(&disk, 2).expect("opens").0;
        }
        // Most is in files only, and is read once, as by the member that replays it.
        let in_memory = log.first_cached();
        assert!(in_memory > 40);
        assert!(reads_the_truth(&log, &model).is_empty());
        assert!(!log.is_damaged());
        for (name, bytes) in ledger(&disk) {
            let chunk = ChunkName::parse(&name["ledger/".len()..]).expect("a chunk");
            let (header, _) = bytes.split_first_chunk().expect("a header");
            let end = match u64::from_le_bytes(*header) {
                0 => bytes.len(),
                end => end as usize,
            };
            for at in 0..bytes.len() {
                disk.tamper(&name, |bytes| bytes[at] ^= 1 << (at % 8));
                let refused = reads_the_truth(&log, &model);
                disk.tamper(&name, |bytes| bytes[at] ^= 1 << (at % 8));
                let hit = chunk.first + (at.saturating_sub(8) / 60) as u64;
                if (8..end).contains(&at) && hit < in_memory {
                    assert!(refused.contains(&hit), "{name} at {at}: {refused:?}");
                }
            }
        }
        assert!(log.is_damaged());
        assert!(reads_the_truth(&log, &model).is_empty());
    }
}

#[test]
fn what_rots_in_an_open_chunk_is_not_written_on() {
    let (disk, model, mut log) = in_files();
    let name = ChunkName::open(57).path();
    disk.tamper(&name, |bytes| bytes[20] ^= 1);
    // Entries are taken back, so the chunk is looked at again.
    log.append(&[LogRecord::Truncate { after: 59 }]).expect("the journal is good");
    log.append(&[framed(60, 3, 0, 60)]).expect("the journal is good");
    assert!(!log.settle() && log.is_damaged());
    assert_eq!(log.entries(1..=10, usize::MAX).expect("reads"), model.entries[..10]);
    disk.tamper(&name, |bytes| bytes[20] ^= 1);
    assert!(log.settle());
}

#[test]
fn an_entry_that_no_signature_covers_yet_is_known_after_a_restart() {
    for taken_back in [false, true] {
        let (disk, mut model, mut log) = in_files();
        if taken_back {
            log.append(&[LogRecord::Truncate { after: 58 }]).expect("appends");
            model = model.after(&[LogRecord::Truncate { after: 58 }]);
        }
        drop(log);
        // Committed: 30. Complete are 29-35 and more, open is 57.
        for (name, bytes) in ledger(&disk) {
            let chunk = ChunkName::parse(&name["ledger/".len()..]).expect("a chunk");
            for at in 8..bytes.len() {
                let hit = chunk.first + ((at - 8) / 60) as u64;
                let last = chunk.last.unwrap_or(model.last()).min(model.last());
                if hit <= model.commit || hit > last {
                    continue;
                }
                let disk = disk.copy();
                disk.tamper(&name, |bytes| bytes[at] ^= 1 << (at % 8));
                let damage = refused(&disk);
                // If its length was hit, the next one is no entry.
                let named = damage.id.is_some_and(|id| id == hit || id == hit + 1);
                assert!(damage.file == name && named, "{name} at {at}: {damage}");
            }
        }
    }
}
