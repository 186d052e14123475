//! Committed chunks in read-only directories.

use quorate_crypto::hash::{Digest, sha256_concat};
use quorate_ledger::ccf::entry::leaf_of;
use quorate_ledger::ccf::signature::{self, Identities, NotaryError, ServiceSecrets};
use quorate_ledger::ccf::{Flags, LedgerSecret, NodeId, Notary, Signed, Transaction, Tree, TxId};
use quorate_ledger::state::WriteSet;

use super::*;
use crate::disk::Disk as _;

const SIZE: usize = 60;

/// Signs with hashes. Nobody here asks whose signature it is.
struct Signer;

impl Notary for Signer {
    fn node(&self) -> NodeId {
        Digest([1; 32])
    }

    fn public_key(&self) -> Vec<u8> {
        vec![1]
    }

    fn certificate(&self) -> &str {
        "certificate"
    }

    fn service_certificate(&self) -> &str {
        "service"
    }

    fn sign(&self, root: &Digest, _: TxId, _: u64) -> Signed {
        let signed = sha256_concat(&[&root.0]).0.to_vec();
        Signed { node: signed.clone(), service: signed }
    }

    fn verify(&self, _: &Digest, _: TxId, _: &Signed, _: Identities<'_>) -> bool {
        true
    }

    fn is_endorsed(&self, _: &NodeId, _: &str, _: &str) -> bool {
        true
    }

    fn endorse(&self, _: &[u8], _: &str, _: u64) -> Result<String, NotaryError> {
        Err(NotaryError::NoService)
    }

    fn service_key(&self) -> Result<Vec<u8>, NotaryError> {
        Err(NotaryError::NoService)
    }

    fn enter(&mut self, _: &ServiceSecrets) -> Result<(), NotaryError> {
        Err(NotaryError::NoService)
    }
}

/// 12 entries in chunks of 4: every second one is a signature.
fn ledger() -> Vec<LogRecord> {
    let secret = LedgerSecret::new(SymmetricKey([3; 32]));
    let mut tree = Tree::new();
    let entries = (1..=12u64).map(|seqno| {
        let id = TxId::new(1, seqno);
        let signs = seqno % 2 == 0;
        let writes = if signs {
            signature::make(&tree, seqno - 2, id, 0, (&Signer, "certificate")).expect("signed")
        } else {
            let mut writes = WriteSet::new();
            writes.put("public:map", *b"key", seqno.to_be_bytes()).expect("small");
            writes
        };
        let flags = if seqno % 4 == 0 { Flags::ENDS_CHUNK } else { Flags::NONE };
        let bytes = Transaction::new(id, writes, &secret).encode(flags, &secret).expect("small");
        tree.append(leaf_of(&bytes).expect("an entry"));
        let kind = if signs { Kind::Signature } else { Kind::Raw };
        LogRecord::Append(Entry { view: 1, seqno, kind, bytes })
    });
    entries.collect()
}

/// A directory with the first two chunks of [`ledger`], and all its entries.
fn archived() -> (MemDisk, Vec<Arc<[u8]>>) {
    let (disk, mut archive) = (MemDisk::default(), MemDisk::default());
    let (mut log, _) = open(&disk, 1).expect("new");
    for record in ledger() {
        let LogRecord::Append(Entry { seqno, .. }) = record else { unreachable!("an append") };
        log.append(&[record]).expect("appended");
        log.note_commit(seqno);
    }
    log.checkpoint().expect("the files are durable");
    for name in ["ledger_1-4.committed", "ledger_5-8.committed"] {
        archive.write(name, 0, &disk.files()[&format!("ledger/{name}")]).expect("room");
    }
    (archive, log.entries(1..=12, usize::MAX).expect("reads"))
}

/// A log that began with a snapshot of entry 8.
fn after_8(archive: &MemDisk) -> SignedLog<MemDisk> {
    let mut log = open_with(&MemDisk::default(), archive).expect("opens");
    log.begin_after(8).expect("begins");
    log.append(&ledger()[8..9]).expect("appended");
    log
}

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

/// All entries of a range, however many reads it takes.
fn read_all(log: &SignedLog<MemDisk>, from: u64, to: u64) -> Result<Vec<Arc<[u8]>>, StoreError> {
    let mut found = Vec::new();
    while from + (found.len() as u64) <= to {
        let part = log.entries(from + found.len() as u64..=to, usize::MAX)?;
        if part.is_empty() {
            break;
        }
        found.extend(part);
    }
    Ok(found)
}

#[test]
fn a_log_that_began_with_a_snapshot_has_the_entries_before() {
    let (archive, entries) = archived();
    let log = after_8(&archive);
    assert_eq!(read_all(&log, 3, 9).expect("reads"), entries[2..9]);
    assert_eq!(log.entries(0..=3, usize::MAX).expect("reads"), [] as [Arc<[u8]>; 0]);
    let bytes = archive.files().remove("ledger_1-4.committed").expect("there");
    archive.lose("ledger_1-4.committed");
    assert_eq!(log.entries(3..=9, usize::MAX).expect("reads"), [] as [Arc<[u8]>; 0]);
    assert_eq!(read_all(&log, 5, 9).expect("reads"), entries[4..9]);
    // Files that come later are found.
    let mut later = archive.clone();
    later.write("ledger_1-4.committed", 0, &bytes).expect("room");
    assert_eq!(read_all(&log, 3, 9).expect("reads"), entries[2..9]);
}

/// Where an entry of the archive's file begins.
fn position(archive: &MemDisk, name: &str, first: u64, seqno: u64) -> usize {
    let bytes = &archive.files()[name];
    let table = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let at = table + 4 * (seqno - first) as usize;
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize
}

fn tampered<T: std::fmt::Debug>(read: Result<T, StoreError>) -> crate::error::Corruption {
    match read {
        Err(StoreError::Corrupt(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_from_before_the_log_are_those_that_their_chunk_signs() {
    let name = "ledger_5-8.committed";
    // Each entry with its last byte changed, in a file that is whole otherwise. The last signature
    // of a chunk is signed by the next one only.
    for seqno in 5..8 {
        let (archive, entries) = archived();
        let end = position(&archive, name, 5, seqno + 1);
        archive.tamper(name, |bytes| bytes[end - 1] ^= 1);
        let log = after_8(&archive);
        let damage = tampered(log.entries(5..=8, usize::MAX));
        assert_eq!(damage.file, name, "{damage}");
        assert!(damage.id.is_some_and(|id| id >= seqno), "{damage}");
        assert!(log.is_damaged(), "entry {seqno}");
        // Another chunk is as good as ever.
        assert_eq!(read_all(&log, 1, 4).expect("reads"), entries[..4]);
    }
}

#[test]
fn what_was_read_of_the_archive_stays_what_it_was() {
    let name = "ledger_5-8.committed";
    let (archive, entries) = archived();
    let log = after_8(&archive);
    assert_eq!(read_all(&log, 5, 8).expect("reads"), entries[4..8]);
    // Now the signature that nothing in the file signs.
    let at = position(&archive, name, 5, 8);
    archive.tamper(name, |bytes| bytes[at + entries[7].len() - 1] ^= 1);
    let damage = tampered(log.entries(6..=8, usize::MAX));
    assert!(damage.file == name && damage.what.contains("not what was written"), "{damage}");

    // The same of a chunk that the log has had itself.
    let (disk, archive) = written();
    disk.lose(&format!("ledger/{name}"));
    let log = open_with(&disk, &archive).expect("opens");
    expect_entries(&log, 1, 12);
    archive.tamper(name, |bytes| bytes[8 + SIZE + 40] ^= 1);
    let damage = tampered(log.entries(6..=6, usize::MAX));
    assert!(damage.file == name && damage.what.contains("not what was written"), "{damage}");
    assert!(log.is_damaged());
}

#[test]
fn a_damaged_file_of_the_archive_is_not_believed() {
    let (disk, archive) = written();
    disk.lose("ledger/ledger_1-4.committed");
    archive.tamper("ledger_1-4.committed", |bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(open_with(&disk, &archive), Err(OpenError::Corrupt(_))));
}
