//! A log against a model, under crashes, errors and full disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::Durable;
use quorate_consensus::raft::{Entry, Kind, LogRecord, NodeId};
use quorate_crypto::cipher::SymmetricKey;
use rand_chacha::ChaCha20Rng;

use super::names::ChunkName;
use super::{Options, Recovered, SignedLog, SnapshotName, journal};
use crate::error::{OpenError, StoreError};
use crate::testing::{Fault, MemDisk, below, rng};

mod archive;
mod crash;
mod damage;

fn options(seed: u64) -> Options {
    let mut options = Options::new(SymmetricKey([7; 32]), rng(seed));
    options.journal_size = 6400;
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
            LogRecord::Commit(_) => {}
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
        let entries = match log.entries(self.base + 1..=self.last() + 5, usize::MAX) {
            // While the files cannot be brought to order, reading may fail as writing does.
            Err(StoreError::Disk(_)) if log.suspect => return true,
            entries => entries.expect("reads"),
        };
        entries == self.entries && log.last() == self.last()
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
    let seeds = std::env::var("QUORATE_STORAGE_SEEDS").ok();
    let seeds = seeds.map_or(400, |text| text.parse().expect("a number of seeds"));
    for seed in 0..seeds {
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
            if failed.is_empty() && below(&mut rng, 3) == 0 {
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

#[test]
fn nodes_with_the_same_entries_have_the_same_files() {
    for seed in 0..60 {
        let mut rng = rng(seed);
        let entry = |seqno: u64, view: u64| {
            let flags = [0, 0, 0, 1, 0, 0, 2, 0, 3, 0][(seqno * (seed + 3) % 10) as usize];
            framed(seqno, view, flags, 20 + (seqno % 50) as usize)
        };
        let [one, other] = [MemDisk::default(), MemDisk::default()];
        let (mut log, _) = open(&one, 1).expect("opens");
        for seqno in 1..=100 {
            log.append(&[entry(seqno, 2)]).expect("appends");
        }
        log.note_commit(80);
        // Batches, restarts, and entries of another view that are taken back.
        let (mut log, _) = open(&other, 2).expect("opens");
        let mut next = 1;
        while next <= 100 {
            let to = (next + below(&mut rng, 30)).min(100);
            if below(&mut rng, 3) == 0 {
                let wrong: Vec<_> = (next..next + below(&mut rng, 20))
                    .map(|seqno| framed(seqno, 1, u8::from(seqno % 3 == 0), 33))
                    .collect();
                log.append(&wrong).expect("appends");
                if below(&mut rng, 2) == 0 {
                    (log, _) = open(&other, 3).expect("opens again");
                }
                let mut records = vec![LogRecord::Truncate { after: next - 1 }];
                records.extend((next..=to).map(|seqno| entry(seqno, 2)));
                log.append(&records).expect("appends");
            } else {
                let records: Vec<_> = (next..=to).map(|seqno| entry(seqno, 2)).collect();
                log.append(&records).expect("appends");
            }
            next = to + 1;
        }
        log.note_commit(40);
        log.note_commit(80);
        assert_eq!(ledger(&one), ledger(&other), "seed {seed}");
    }
}

#[test]
fn nodes_with_the_same_entries_make_their_checkpoints_at_different_times() {
    // After which append each checkpoint was made.
    let checkpoints = |seed: u64| -> Vec<u64> {
        let (mut log, _) = open(&MemDisk::default(), seed).expect("opens");
        let mut made = Vec::new();
        for seqno in 1..=200 {
            let before = log.stats();
            log.append(&[framed(seqno, 2, 1, 400)]).expect("appends");
            if log.stats().checkpoints > before.checkpoints {
                assert!(before.journal_bytes < options(seed).journal_size, "late");
                made.push(seqno);
            }
        }
        made
    };
    let (one, other) = (checkpoints(1), checkpoints(2));
    assert!(one.len() > 10 && other.len() > 10, "{one:?} {other:?}");
    let together = one.iter().filter(|at| other.contains(at)).count();
    assert!(together * 2 < one.len().min(other.len()), "{one:?} {other:?}");
}

#[test]
fn a_complete_chunk_is_opened_again_when_entries_are_taken_back() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let records: Vec<_> =
        (1..=7).map(|seqno| framed(seqno, 2, u8::from(seqno % 3 == 0), 40)).collect();
    log.append(&records).expect("appends");
    let names = || ledger(&disk).into_keys().collect::<Vec<_>>();
    assert_eq!(names(), ["ledger/ledger_1-3", "ledger/ledger_4-6", "ledger/ledger_7"]);
    log.append(&[LogRecord::Truncate { after: 5 }]).expect("truncates");
    assert_eq!(names(), ["ledger/ledger_1-3", "ledger/ledger_4"]);
    assert_eq!(ledger(&disk)["ledger/ledger_4"].len(), 8 + 2 * 40, "no table is left");
    log.append(&[LogRecord::Truncate { after: 3 }]).expect("truncates");
    assert_eq!(names(), ["ledger/ledger_1-3"]);
}

#[test]
#[should_panic(expected = "truncation to 2, committed 3")]
fn what_is_committed_is_never_taken_back() {
    let (mut log, _) = open(&MemDisk::default(), 1).expect("opens");
    let records: Vec<_> = (1..=4).map(|seqno| framed(seqno, 2, u8::from(seqno == 3), 40)).collect();
    log.append(&records).expect("appends");
    log.note_commit(3);
    log.append(&[LogRecord::Truncate { after: 2 }]).expect("not reached");
}

#[test]
fn a_commit_that_is_a_record_is_durable_by_itself() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let records: Vec<_> =
        (1..=6).map(|seqno| framed(seqno, 2, u8::from(seqno % 3 == 0), 40)).collect();
    log.write_ahead(&records).expect("appends");
    log.write_ahead(&[LogRecord::Commit(3)]).expect("appends");
    assert_eq!(log.stats().commit_idx, 3);
    disk.crash(&mut rng(1));
    let (mut log, recovered) = open(&disk, 2).expect("opens");
    assert_eq!((recovered.last, recovered.commit_idx), (6, 3));
    // With what it commits in one frame, and all or nothing.
    let both = [framed(7, 2, 1, 40), LogRecord::Commit(7)];
    disk.fault(0, Fault::Crash);
    log.write_ahead(&both).expect_err("a crash");
    assert_eq!(log.stats().commit_idx, 3);
    disk.crash(&mut rng(2));
    let (mut log, recovered) = open(&disk, 3).expect("opens");
    let whole = recovered.last == 7;
    assert_eq!(recovered.commit_idx, if whole { 7 } else { 3 });
    // It never goes back.
    log.append(&[LogRecord::Commit(3)]).expect("appends");
    assert_eq!(log.stats().commit_idx, recovered.commit_idx);
    assert!(log.settle());
    assert_eq!(
        ledger(&disk).keys().next().map(String::as_str),
        Some("ledger/ledger_1-3.committed")
    );
}

#[test]
#[should_panic(expected = "commit of 2, but the log ends at 1")]
fn only_what_there_is_can_be_committed() {
    let (mut log, _) = open(&MemDisk::default(), 1).expect("opens");
    let _ = log.append(&[framed(1, 2, 1, 40), LogRecord::Commit(2)]);
}

#[test]
fn a_log_may_begin_after_a_snapshot() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let name = SnapshotName { seqno: 500, evidence: 502, committed: true };
    log.write_snapshot(name, b"state").expect("writes");
    log.begin_after(500).expect("begins");
    let records = [framed(501, 7, 0, 30), framed(502, 7, 1, 30), framed(503, 7, 0, 30)];
    log.append(&records).expect("appends");
    let model = Model { base: 500, commit: 500, ..Model::default() }.after(&records);
    assert!(model.reads_as(&log));
    assert_eq!(log.entries(400..=501, usize::MAX).expect("reads").len(), 0, "before the log");
    disk.crash(&mut rng(1));
    let (log, recovered) = open(&disk, 2).expect("opens");
    assert!(model.is(&log, &recovered), "{recovered:?}");
    assert_eq!((recovered.commit_idx, recovered.snapshots), (500, vec![name]));
    assert_eq!(ledger(&disk), model.files(500));
}

#[test]
fn a_log_that_begins_again_after_a_snapshot_is_the_old_one_or_the_new_one() {
    let name = SnapshotName { seqno: 6, evidence: 8, committed: true };
    let old: Vec<_> = [vote(3, "n")]
        .into_iter()
        .chain((1..=9).map(|seqno| framed(seqno, 2, u8::from(seqno % 4 == 0), 40)))
        .collect();
    let before = Model { commit: 4, ..Model::default().after(&old) };
    let fresh = Model { base: 6, commit: 6, entries: Vec::new(), ..before.clone() };
    let (mut kept, mut replaced) = (0, 0);
    for call in 0.. {
        let disk = MemDisk::default();
        let (mut log, _) = open(&disk, call).expect("opens");
        log.append(&old).expect("appends");
        log.note_commit(4);
        disk.fault(call, Fault::Crash);
        let done = log.install(name, b"state").is_ok();
        let crashed = !disk.no_fault();
        disk.crash(&mut rng(call));
        let (mut log, recovered) = open(&disk, 100 + call).expect("opens");
        if recovered.base == 0 {
            assert!(!done, "what was done counts");
            assert!(before.is(&log, &recovered), "{call}: {recovered:?}");
            assert!(recovered.snapshots.iter().all(|found| !found.committed), "{recovered:?}");
            kept += 1;
        } else {
            assert!(fresh.is(&log, &recovered), "{call}: {recovered:?}");
            assert_eq!(recovered.snapshots, [name]);
            replaced += 1;
        }
        log.install(name, b"state").expect("installs");
        let records = [framed(7, 5, 0, 30), framed(8, 5, 1, 30)];
        log.append(&records).expect("appends");
        let model = fresh.clone().after(&records);
        assert!(model.reads_as(&log));
        let names: Vec<_> = ledger(&disk).into_keys().collect();
        let whole = names.iter().filter(|name| !name.ends_with(".ignored"));
        assert_eq!(whole.collect::<Vec<_>>(), ["ledger/ledger_7-8"], "{names:?}");
        if !crashed {
            break;
        }
    }
    assert!(kept > 0 && replaced > 1, "{kept} and {replaced}");
}

#[test]
fn snapshots_are_whole_or_absent_and_pruned() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let name = |seqno| SnapshotName { seqno, evidence: seqno + 2, committed: false };
    for seqno in [10, 20, 9] {
        log.write_snapshot(name(seqno), &[seqno as u8; 50]).expect("writes");
    }
    assert_eq!(log.read_snapshot(name(20), 48, 10), Ok(Some(vec![20, 20])));
    assert_eq!(log.snapshot_len(name(20)), Ok(Some(50)));
    log.commit_snapshot(name(20)).expect("renames");
    assert_eq!(log.read_snapshot(name(20), 0, 10), Ok(None));
    for call in 0..4 {
        disk.fault(call, Fault::Crash);
        log.write_snapshot(name(30), &[30; 50]).expect_err("a crash");
        disk.crash(&mut rng(call));
        (log, _) = open(&disk, 2).expect("opens");
        let whole = log.read_snapshot(name(30), 0, 99).expect("reads");
        assert!(whole.is_none_or(|bytes| bytes == [30; 50]));
    }
    log.write_snapshot(name(30), &[31; 50]).expect("writes");
    log.prune_snapshots(1).expect("prunes");
    assert_eq!(log.snapshots(), Ok(vec![name(30)]));
    assert_eq!(SnapshotName::parse("snapshot_30_32.tmp"), None);
    assert_eq!(SnapshotName::parse("snapshot_030_32"), None);
}

#[test]
fn secrets_are_sealed_replaced_and_erased() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    assert_eq!(log.secret("node-key"), Ok(None));
    log.set_secret("node-key", b"first first first").expect("sets");
    for call in 0..6 {
        disk.fault(call, Fault::Crash);
        let failed = log.set_secret("node-key", b"second second").is_err();
        disk.no_fault();
        disk.crash(&mut rng(call));
        (log, _) = open(&disk, 2 + call).expect("opens");
        let secret = log.secret("node-key").expect("one is good").expect("it is there");
        assert!(secret == b"second second" || failed && secret == b"first first first");
        log.set_secret("node-key", b"first first first").expect("sets");
    }
    log.set_secret("node-key", b"third third").expect("sets");
    assert_eq!(log.secret("node-key"), Ok(Some(b"third third".to_vec())));
    assert!(!disk.holds(b"third") && !disk.holds(b"first"), "sealed");
    let versions = disk.files().into_keys().filter(|name| name.starts_with("vault/")).count();
    assert_eq!(versions, 1, "earlier ones are erased");
    let mut other = options(9);
    other.sealing_key = SymmetricKey([8; 32]);
    let (stranger, _) = SignedLog::open(disk.clone(), other).expect("the log itself is not sealed");
    assert_eq!(stranger.secret("node-key"), Err(OpenError::WrongKey { name: "node-key".into() }));
    log.remove_secret("node-key").expect("removes");
    assert_eq!(log.secret("node-key"), Ok(None));
}
