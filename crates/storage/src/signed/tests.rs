//! A log against a model, under crashes, errors and full disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::Durable;
use quorate_consensus::raft::{Entry, Kind, LogRecord, NodeId};
use quorate_crypto::cipher::SymmetricKey;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::{Options, Recovered, SignedLog, SnapshotName, journal, names::ChunkName};
use crate::disk::Disk as _;
use crate::error::{OpenError, StoreError};
use crate::testing::{Fault, MemDisk, below, rng};

fn options(seed: u64) -> Options {
    let mut options = Options::new(SymmetricKey([7; 32]), rng(seed));
    options.journal_size = 2000;
    options.cache_size = 600;
    options
}

/// An entry of `len` bytes, the first 8 the header.
fn framed(seqno: u64, view: u64, flags: u8, len: usize) -> LogRecord {
    let mut bytes = vec![1, flags];
    bytes.extend_from_slice(&((len - 8) as u64).to_le_bytes()[..6]);
    bytes.extend((8..len).map(|i| (i as u64 * 7 + seqno * 13 + view * 31) as u8));
    let kind = if flags & 1 == 1 { Kind::Signature } else { Kind::Raw };
    LogRecord::Append(Entry { view, seqno, kind, bytes: bytes.into() })
}

fn vote(view: u64, node: &str) -> LogRecord {
    LogRecord::Vote { view, voted_for: NodeId::named(node) }
}

fn open(disk: &MemDisk, seed: u64) -> Result<(SignedLog<MemDisk>, Recovered), OpenError> {
    SignedLog::open(disk.clone(), options(seed))
}

/// What a log must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Model {
    base: u64,
    entries: Vec<Arc<[u8]>>,
    view: u64,
    voted_for: Option<NodeId>,
    commit: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    fn apply(&mut self, record: &LogRecord) {
        match record {
            LogRecord::Vote { view, voted_for } => {
                (self.view, self.voted_for) = (*view, *voted_for);
            }
            LogRecord::Truncate { after } => {
                self.entries.truncate((after - self.base) as usize);
            }
            LogRecord::Append(entry) => self.entries.push(Arc::clone(&entry.bytes)),
        }
    }

    fn after(&self, records: &[LogRecord]) -> Self {
        let mut model = self.clone();
        records.iter().for_each(|record| model.apply(record));
        model
    }

    /// Whether a log recovered holds exactly this; the commit index may be lower.
    fn is(&self, log: &SignedLog<MemDisk>, recovered: &Recovered) -> bool {
        recovered.last == self.last()
            && recovered.base == self.base
            && (recovered.view, recovered.voted_for) == (self.view, self.voted_for)
            && recovered.commit_idx <= self.commit
            && self.reads_as(log)
    }

    fn reads_as(&self, log: &SignedLog<MemDisk>) -> bool {
        log.entries(self.base + 1..=self.last() + 5, usize::MAX).expect("reads") == self.entries
            && log.last() == self.last()
    }

    /// The chunk files that all nodes with these entries have.
    fn files(&self, commit: u64) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let (mut first, mut bytes, mut table) = (self.base + 1, vec![0; 8], Vec::new());
        for (seqno, entry) in (self.base + 1..).zip(&self.entries) {
            if entry[1] & 2 != 0 && !table.is_empty() {
                close(&mut files, first, seqno - 1, commit, &mut bytes, &mut table);
                first = seqno;
            }
            table.push(bytes.len() as u32);
            bytes.extend_from_slice(entry);
            if entry[1] & 1 != 0 {
                close(&mut files, first, seqno, commit, &mut bytes, &mut table);
                first = seqno + 1;
            }
        }
        if !table.is_empty() {
            files.insert(ChunkName::open(first).path(), bytes);
        }
        files
    }
}

fn close(
    files: &mut BTreeMap<String, Vec<u8>>,
    first: u64,
    last: u64,
    commit: u64,
    bytes: &mut Vec<u8>,
    table: &mut Vec<u32>,
) {
    let mut file = std::mem::replace(bytes, vec![0; 8]);
    let end = file.len() as u64;
    file[..8].copy_from_slice(&end.to_le_bytes());
    file.extend(std::mem::take(table).iter().flat_map(|position| position.to_le_bytes()));
    files.insert(ChunkName::complete(first, last, last <= commit).path(), file);
}

fn ledger(disk: &MemDisk) -> BTreeMap<String, Vec<u8>> {
    disk.files().into_iter().filter(|(name, _)| name.starts_with("ledger/")).collect()
}

/// A random append to a log that holds `model`.
fn random_records(rng: &mut ChaCha20Rng, model: &Model) -> Vec<LogRecord> {
    let mut records = Vec::new();
    let mut next = model.last() + 1;
    if below(rng, 6) == 0 {
        records.push(vote(model.view + 1, ["a", "b"][below(rng, 2) as usize]));
    }
    let floor = model.commit.max(model.base);
    if below(rng, 5) == 0 && model.last() > floor {
        let after = floor + below(rng, model.last() - floor + 1);
        records.push(LogRecord::Truncate { after });
        next = after + 1;
    }
    let view = model.view + u64::from(!records.is_empty());
    for _ in 0..below(rng, 5) * below(rng, 4) {
        let flags = [0, 0, 0, 0, 0, 1, 1, 2, 3][below(rng, 9) as usize];
        records.push(framed(next, view, flags, 9 + below(rng, 90) as usize));
        next += 1;
    }
    records
}

#[test]
fn a_new_log_is_empty_and_keeps_what_is_appended() {
    let disk = MemDisk::default();
    let (mut log, recovered) = open(&disk, 1).expect("opens");
    assert!(recovered.is_new);
    assert_eq!(log.entries(1..=9, 100).expect("reads"), Vec::<Arc<[u8]>>::new());
    let records = [vote(2, "n0"), framed(1, 2, 0, 40), framed(2, 2, 1, 50), framed(3, 2, 0, 60)];
    log.append(&records).expect("appends");
    log.note_commit(2);
    let mut model = Model { commit: 2, ..Model::default() }.after(&records);
    assert!(model.reads_as(&log));
    assert_eq!(ledger(&disk), model.files(2));
    let names: Vec<_> = log.chunks().into_iter().map(|chunk| (chunk.name, chunk.size)).collect();
    let expected = [("ledger_1-2.committed", 8 + 40 + 50 + 8), ("ledger_3", 8 + 60)];
    assert_eq!(names, expected.map(|(name, size)| (name.to_owned(), size)));
    let chunk = log.read_chunk("ledger_1-2.committed", 8, 2).expect("reads");
    assert_eq!(chunk, Some(vec![1, 0]));
    assert_eq!(log.read_chunk("ledger_1-2", 8, 2), Ok(None));
    assert_eq!(log.read_chunk("../raft_0", 8, 2), Ok(None));
    drop(log);
    let (log, recovered) = open(&disk, 2).expect("opens again");
    assert!(!recovered.is_new);
    assert_eq!(recovered.commit_idx, 2);
    assert!(model.is(&log, &recovered));
    model.apply(&LogRecord::Truncate { after: 2 });
    assert!(!model.is(&log, &recovered), "the model tells a difference");
}

#[test]
fn an_append_syncs_once() {
    let disk = MemDisk::default();
    let mut options = options(1);
    options.journal_size = 1 << 20;
    let (mut log, _) = SignedLog::open(disk.clone(), options).expect("opens");
    let mut next = 1;
    for _ in 0..20 {
        let before = disk.syncs();
        let mut records: Vec<_> =
            (next..next + 64).map(|s| framed(s, 2, u8::from(s % 32 == 0), 40)).collect();
        next += 64;
        records.push(vote(next, "n0"));
        log.append(&records).expect("appends");
        log.note_commit(next - 1);
        assert_eq!(disk.syncs(), before + 1);
    }
    let (before, changes) = (disk.syncs(), disk.changes());
    log.append(&[]).expect("nothing to do");
    assert_eq!((disk.syncs(), disk.changes()), (before, changes));
}

#[test]
fn live_followers_cost_no_read_and_older_ranges_one_for_each_chunk() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    for seqno in 1..=60 {
        log.append(&[framed(seqno, 2, u8::from(seqno % 20 == 0), 50)]).expect("appends");
    }
    assert!(log.stats().cached < 60, "the cache is bounded: {:?}", log.stats());
    // The first read of a chunk reads its position table, too.
    log.entries(1..=60, usize::MAX).expect("reads");
    let reads = disk.reads();
    log.entries(58..=60, usize::MAX).expect("reads");
    assert_eq!(disk.reads(), reads, "the newest entries are in memory");
    assert_eq!(log.entries(5..=19, usize::MAX).expect("reads").len(), 15);
    assert_eq!(disk.reads(), reads + 1);
    assert_eq!(log.entries(5..=25, usize::MAX).expect("reads").len(), 21);
    assert_eq!(disk.reads(), reads + 3);
    assert_eq!(log.entries(5..=60, 170).expect("reads").len(), 3, "no more than there is room");
    assert_eq!(log.entries(19..=60, 120).expect("reads").len(), 2, "also over chunks");
    assert_eq!(log.entries(5..=60, 0).expect("reads").len(), 1, "but one at least");
    assert_eq!(log.entries(60..=60, 0).expect("reads").len(), 1, "also from memory");
}

#[test]
fn random_histories_survive_crashes() {
    for seed in 0..400 {
        let (mut rng, disk) = (rng(seed), MemDisk::default());
        let (mut log, recovered) = open(&disk, seed).expect("opens");
        let mut model = Model { base: recovered.base, ..Model::default() };
        // Appends that failed since the last good one: one of them may be found after a crash.
        let mut failed: Vec<Vec<LogRecord>> = Vec::new();
        for step in 0..40 {
            let records = random_records(&mut rng, &model);
            let fault = below(&mut rng, 4);
            if fault < 3 {
                let fault = [Fault::Crash, Fault::Full, Fault::Error][fault as usize];
                disk.fault(below(&mut rng, 30), fault);
            }
            match log.append(&records) {
                Ok(()) => {
                    model = model.after(&records);
                    // Nothing to append leaves an earlier failure where it is.
                    failed.truncate(if records.is_empty() { failed.len() } else { 0 });
                }
                Err(StoreError::Corrupt(damage)) => panic!("seed {seed}: {damage}"),
                Err(StoreError::Disk(_)) => failed.push(records),
            }
            assert!(disk.is_dead() || model.reads_as(&log), "seed {seed} step {step}");
            if below(&mut rng, 3) == 0 {
                let signatures: Vec<_> = (model.base + 1..)
                    .zip(&model.entries)
                    .filter(|(s, e)| e[1] & 1 == 1 && *s > model.commit)
                    .map(|(s, _)| s)
                    .collect();
                if !signatures.is_empty() {
                    model.commit = signatures[below(&mut rng, signatures.len() as u64) as usize];
                    log.note_commit(model.commit);
                }
            }
            if disk.is_dead() || below(&mut rng, 6) == 0 {
                drop(log);
                disk.crash(&mut rng);
                let mut tries = 0;
                let recovered;
                (log, recovered) = loop {
                    if tries < 3 && below(&mut rng, 2) == 0 {
                        disk.fault(below(&mut rng, 25), Fault::Crash);
                    }
                    tries += 1;
                    match open(&disk, seed + 1000 * (step + 1) + tries) {
                        Ok(opened) if !disk.is_dead() => break opened,
                        Ok(_) | Err(OpenError::Disk(_)) => disk.crash(&mut rng),
                        Err(error) => panic!("seed {seed} step {step}: {error}"),
                    }
                };
                disk.no_fault();
                let candidates = failed.drain(..).map(|records| model.after(&records));
                let found = std::iter::once(model.clone())
                    .chain(candidates)
                    .find(|candidate| candidate.is(&log, &recovered));
                assert!(found.is_some(), "seed {seed} step {step}: {recovered:?}");
                model = found.expect("just looked");
                log.note_commit(model.commit.max(recovered.commit_idx));
            }
        }
        disk.no_fault();
        log.append(&[vote(model.view + 1, "z")]).expect("a good disk");
        assert_eq!(ledger(&disk), model.files(model.commit), "seed {seed}");
    }
}
