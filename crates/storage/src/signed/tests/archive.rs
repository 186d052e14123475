//! Committed chunks in read-only directories.

use super::*;
use crate::disk::Disk as _;

const SIZE: usize = 60;

/// A log of 12 entries in chunks of 4, all in the files and committed; its first two chunks are in
/// the archive too.
fn written() -> (MemDisk, MemDisk) {
    let (disk, mut archive) = (MemDisk::default(), MemDisk::default());
    let (mut log, _) = open(&disk, 1).expect("new");
    for seqno in 1..=12 {
        let ends = u8::from(seqno % 4 == 0);
        log.append(&[framed(seqno, 1, ends, SIZE)]).expect("appended");
        log.note_commit(seqno);
    }
    log.checkpoint().expect("the files are durable");
    for name in ["ledger_1-4.committed", "ledger_5-8.committed"] {
        let bytes = disk.files().remove(&format!("ledger/{name}")).expect("committed");
        archive.write(name, 0, &bytes).expect("room");
    }
    (disk, archive)
}

fn open_with(disk: &MemDisk, archive: &MemDisk) -> Result<SignedLog<MemDisk>, OpenError> {
    // What is in memory would hide what is in the files.
    let options = Options { cache_size: 0, ..options(2) };
    Ok(SignedLog::open_with(disk.clone(), vec![archive.clone()], options)?.0)
}

fn expect_entries(log: &SignedLog<MemDisk>, from: u64, to: u64) {
    let mut next = from;
    while next <= to {
        let read = log.entries(next..=to, usize::MAX).expect("reads");
        assert!(!read.is_empty(), "entry {next}");
        for bytes in read {
            let LogRecord::Append(entry) = framed(next, 1, u8::from(next.is_multiple_of(4)), SIZE)
            else {
                unreachable!("an append")
            };
            assert_eq!(bytes, entry.bytes, "entry {next}");
            next += 1;
        }
    }
}

#[test]
fn chunks_removed_here_are_read_from_the_archive() {
    let (disk, archive) = written();
    let log = open_with(&disk, &archive).expect("opens");
    expect_entries(&log, 1, 12);
    // While it runs, as the files are cleaned up.
    disk.lose("ledger/ledger_1-4.committed");
    disk.lose("ledger/ledger_5-8.committed");
    expect_entries(&log, 1, 12);
    drop(log);
    // And at the next start, where it goes on.
    let mut log = open_with(&disk, &archive).expect("opens");
    expect_entries(&log, 1, 12);
    assert_eq!((log.base(), log.last(), log.commit_idx()), (0, 12, 12));
    log.append(&[framed(13, 1, 0, SIZE)]).expect("appended");
    expect_entries(&log, 6, 13);
    assert_eq!(archive.files().len(), 2, "nothing is written there");
    assert_eq!(crate::check::check_with(&disk, vec![archive.clone()]).expect("reads").problems, []);
    drop(log);
    // A chunk in the middle may be the one that is gone.
    archive.lose("ledger_5-8.committed");
    let Err(OpenError::Corrupt(damage)) = open_with(&disk, &archive) else {
        panic!("entries are missing")
    };
    assert!(damage.id == Some(5) && damage.what.contains("read_only_directories"), "{damage}");
    assert_eq!(crate::check::check(&disk).expect("reads").problems.len(), 1);
}

#[test]
fn a_log_that_began_with_a_snapshot_has_the_entries_before() {
    let (_, archive) = written();
    let disk = MemDisk::default();
    let mut log = open_with(&disk, &archive).expect("opens");
    log.begin_after(8).expect("begins");
    log.append(&[framed(9, 1, 0, SIZE)]).expect("appended");
    expect_entries(&log, 3, 9);
    assert_eq!(log.entries(0..=3, usize::MAX).expect("reads"), [] as [Arc<[u8]>; 0]);
    archive.lose("ledger_1-4.committed");
    assert_eq!(log.entries(3..=9, usize::MAX).expect("reads"), [] as [Arc<[u8]>; 0]);
    expect_entries(&log, 5, 9);
    // Files that come later are found.
    let mut later = archive.clone();
    let (_, whole) = written();
    let bytes = whole.files().remove("ledger_1-4.committed").expect("there");
    later.write("ledger_1-4.committed", 0, &bytes).expect("room");
    expect_entries(&log, 3, 9);
}

#[test]
fn a_damaged_file_of_the_archive_is_not_believed() {
    let (disk, archive) = written();
    disk.lose("ledger/ledger_1-4.committed");
    archive.tamper("ledger_1-4.committed", |bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(open_with(&disk, &archive), Err(OpenError::Corrupt(_))));
}
