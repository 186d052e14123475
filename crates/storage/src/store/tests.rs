use quorate_consensus::core::{Journal, Record, Recovered, Topic};
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::ids::BlockId;
use rand_chacha::ChaCha20Rng;

use super::{AMNESIA, GroupStore};
use crate::check::{check, repair};
use crate::disk::{Disk, DiskError, RealDisk};
use crate::error::{OpenError, StoreError};
use crate::testing::{
    Fault, MemDisk, Model, below, block, certificate, note, options, random_records, rng, secret,
    trx_id, trx_ids,
};

fn open(disk: &MemDisk) -> (GroupStore<MemDisk>, Recovered) {
    GroupStore::open(disk.clone(), options(1)).expect("opens")
}

/// Opens after a crash, perhaps with further crashes while opening.
fn reopen(disk: &MemDisk, rng: &mut ChaCha20Rng) -> (GroupStore<MemDisk>, Recovered) {
    disk.crash(rng);
    for _ in 0..below(rng, 3) {
        disk.fault(below(rng, 12), Fault::Crash);
        let opened = GroupStore::open(disk.clone(), options(below(rng, 1000)));
        drop(opened.inspect_err(|error| {
            assert!(matches!(error, OpenError::Disk(_)), "a crash looks like damage: {error}");
        }));
        disk.crash(rng);
    }
    let report = check(disk).expect("reads");
    let serious: Vec<_> =
        report.problems.iter().filter(|p| !p.file.starts_with("index_")).collect();
    assert!(serious.is_empty(), "a crash looks like damage: {serious:?}");
    open(disk)
}

/// Random appends, errors and crashes: what was acknowledged is there, an append is whole or absent.
fn run_history(seed: u64) {
    let mut rng = rng(seed);
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    let mut model = Model::default();
    // What a crash may bring: the appends that failed since the last one that counted.
    let mut failed: Vec<Model> = Vec::new();
    for _ in 0..60 {
        let records = random_records(&mut rng, &model);
        match below(&mut rng, 6) {
            0 => disk.fault(below(&mut rng, 15), Fault::Crash),
            1 => disk.fault(below(&mut rng, 8), Fault::Error),
            2 => disk.fault(below(&mut rng, 4), Fault::Full),
            _ => {}
        }
        let after = model.after(&records);
        match store.append(&records) {
            Ok(()) => {
                if !records.is_empty() {
                    model = after;
                    failed.clear();
                }
            }
            Err(StoreError::Disk(error)) => {
                failed.push(after);
                let crashed =
                    matches!(&error, DiskError::Io { message, .. } if message == "crashed");
                assert!(crashed || model.reads(&store), "seed {seed}: half visible");
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
        disk.no_fault();
        let crashed = disk.exists(AMNESIA).is_err();
        if crashed || below(&mut rng, 12) == 0 {
            let (reopened, recovered) = reopen(&disk, &mut rng);
            failed.push(model);
            let found = failed.iter().find(|m| m.matches(&reopened, &recovered)).cloned();
            model = found
                .unwrap_or_else(|| panic!("seed {seed}: {recovered:?} is none of {failed:#?}"));
            failed.clear();
            store = reopened;
        }
    }
    let (store, recovered) = reopen(&disk, &mut rng);
    failed.push(model);
    assert!(failed.iter().any(|m| m.matches(&store, &recovered)), "seed {seed}");
}

#[test]
fn a_crash_anywhere_keeps_what_was_acknowledged_and_no_half() {
    (0..250).for_each(run_history);
}

/// A busy history whose last append touches everything.
fn busy(disk: &MemDisk) -> (GroupStore<MemDisk>, Model, Vec<Record>) {
    let (mut store, _) = open(disk);
    let first = vec![
        block(1, 2, 100),
        certificate(1),
        note(Topic::Vote, "1/a", "one"),
        note(Topic::Vote, "2/a", "two"),
        secret("view-1", Some("old secret")),
        Record::Snapshot { id: BlockId(1), bytes: Model::snapshot(1) },
    ];
    store.append(&first).expect("appends");
    let model = Model::default().after(&first);
    let long = "y".repeat(1600);
    let last = vec![
        block(2, 3, 200),
        block(3, 1, 20),
        certificate(2),
        certificate(3),
        Record::Forget { topic: Topic::Vote, prefix: b"1/".to_vec() },
        note(Topic::Pool, "p", &long),
        note(Topic::Pool, "p", "z"),
        secret("view-1", None),
        secret("view-2", Some("new secret")),
        Record::Snapshot { id: BlockId(3), bytes: Model::snapshot(3) },
    ];
    (store, model, last)
}

#[test]
fn each_failing_call_leaves_nothing_half_visible_and_a_retry_succeeds() {
    let disk = MemDisk::default();
    let (mut store, _, last) = busy(&disk);
    let before = disk.changes();
    store.append(&last).expect("appends");
    let calls = disk.changes() - before;
    for fault in [Fault::Full, Fault::Error] {
        let mut failures = 0;
        for n in 0..calls {
            let disk = MemDisk::default();
            let (mut store, model, last) = busy(&disk);
            let stats = store.stats();
            disk.fault(n, fault);
            match store.append(&last) {
                // Housekeeping met it, or nothing did.
                Ok(()) => disk.no_fault(),
                Err(error) => {
                    failures += 1;
                    assert_eq!(error == StoreError::Disk(full(&error)), fault == Fault::Full);
                    assert!(model.reads(&store), "call {n}");
                    assert_eq!(store.stats().next_block, stats.next_block);
                    assert_eq!(store.stats().notes, stats.notes);
                    store.append(&last).expect("a retry succeeds");
                    false
                }
            };
            let model = model.after(&last);
            assert!(model.reads(&store), "call {n}");
            let later = [note(Topic::Group, "g", "later"), block(4, 1, 10)];
            store.append(&later).expect("goes on");
            let model = model.after(&later);
            disk.crash(&mut rng(n));
            let (store, recovered) = open(&disk);
            assert!(model.matches(&store, &recovered), "call {n}: {recovered:?}");
            assert_eq!(store.stats().pending_erasures, 0);
        }
        assert!(failures > 5, "{fault:?} struck {failures} times");
    }
}

fn full(error: &StoreError) -> DiskError {
    match error {
        StoreError::Disk(DiskError::Full { path }) => DiskError::Full { path: path.clone() },
        other => DiskError::Io { path: String::new(), message: other.to_string() },
    }
}

#[test]
fn another_append_may_follow_a_failed_one() {
    for n in 0..12 {
        let disk = MemDisk::default();
        let (mut store, model, last) = busy(&disk);
        disk.fault(n, Fault::Error);
        if store.append(&last).is_ok() {
            continue;
        }
        let other = [block(2, 1, 5), note(Topic::Group, "g", "other")];
        store.append(&other).expect("appends");
        let clean = MemDisk::default();
        let (mut reference, _, _) = busy(&clean);
        reference.append(&other).expect("appends");
        assert_eq!(disk.files()["ledger_1"], clean.files()["ledger_1"], "call {n}");
        let model = model.after(&other);
        for seed in 0..8 {
            let mut rng = rng(seed);
            let (store, recovered) = reopen(&disk, &mut rng);
            assert!(model.matches(&store, &recovered), "call {n}: {recovered:?}");
        }
    }
}

#[test]
fn a_compaction_survives_a_crash_at_each_call() {
    for n in 0..40 {
        let disk = MemDisk::default();
        let (mut store, _) = open(&disk);
        let mut model = Model::default();
        let first = [note(Topic::Vote, "a", &"a".repeat(585)), secret("view-1", Some("s"))];
        for records in [&first[..], &first[..1], &[note(Topic::Vote, "b", "b")]] {
            store.append(records).expect("appends");
            model = model.after(records);
        }
        assert!(disk.files().contains_key("journal_1"), "not yet");
        let last = [note(Topic::Vote, "a", "short"), note(Topic::Vote, "c", "c")];
        disk.fault(n, Fault::Crash);
        let appended = store.append(&last);
        let compacted = appended.is_ok() && disk.no_fault();
        let after = model.after(&last);
        let mut rng = rng(n);
        let (store, recovered) = reopen(&disk, &mut rng);
        let now = after.matches(&store, &recovered);
        assert!(now || (appended.is_err() && model.matches(&store, &recovered)), "call {n}");
        if compacted {
            assert!(disk.files().contains_key("journal_2"), "the history compacts");
            assert!(!disk.files().contains_key("journal_1"));
            assert!(n > 5, "the compaction takes several calls");
            return;
        }
    }
    panic!("the compaction never came to its end");
}

#[test]
fn the_same_blocks_make_the_same_ledger_files() {
    let blocks: Vec<_> =
        (1..40).map(|id| block(id, (id % 4) as u8, (id * 7 % 200) as usize)).collect();
    let ledger = |disk: &MemDisk| -> Vec<(String, Vec<u8>)> {
        disk.files().into_iter().filter(|(name, _)| name.starts_with("ledger_")).collect()
    };
    let one = MemDisk::default();
    let (mut store, _) = open(&one);
    for block in &blocks {
        store.append(std::slice::from_ref(block)).expect("appends");
        store.append(&[note(Topic::Vote, "n", "own")]).expect("appends");
    }
    // All at once, and in batches with a failure and restarts.
    let two = MemDisk::default();
    open(&two).0.append(&blocks).expect("appends");
    let three = MemDisk::default();
    for batch in blocks.chunks(7) {
        let (mut store, _) = open(&three);
        three.fault(1, Fault::Error);
        assert!(store.append(batch).is_err());
        store.append(batch).expect("appends");
    }
    assert!(ledger(&one).len() > 5);
    assert_eq!(ledger(&one), ledger(&two));
    assert_eq!(ledger(&one), ledger(&three));
    let closed = |name: &String| name.contains('-');
    assert!(ledger(&one).iter().all(|(name, _)| closed(name) == name.ends_with(".committed")));
}

#[test]
fn each_touched_file_is_synced_once() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    store.append(&[block(1, 1, 1), certificate(1), note(Topic::Vote, "a", "a")]).expect("appends");
    let before = disk.syncs();
    store.append(&[note(Topic::Vote, "b", "b"), note(Topic::Pool, "c", "c")]).expect("appends");
    assert_eq!(disk.syncs() - before, 1);
    let before = disk.syncs();
    store.append(&[block(2, 1, 1), certificate(2), note(Topic::Vote, "d", "d")]).expect("appends");
    assert_eq!(disk.syncs() - before, 3);
    let before = disk.changes();
    store.append(&[]).expect("appends");
    assert_eq!(disk.changes(), before, "nothing to write touches nothing");
}

/// Content of the one file in the vault.
fn vault_file(disk: &MemDisk) -> Vec<u8> {
    let files: Vec<_> =
        disk.files().into_iter().filter(|(name, _)| name.starts_with("vault/")).collect();
    assert_eq!(files.len(), 1);
    files[0].1.clone()
}

#[test]
fn an_erased_secret_leaves_no_byte() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    store.append(&[secret("view-1", Some("the key of view 1"))]).expect("appends");
    let sealed = vault_file(&disk);
    assert!(disk.holds(&sealed[24..40]) && !disk.holds(b"the key of view 1"));
    store.append(&[secret("view-1", Some("the key of view 2"))]).expect("appends");
    assert!(!disk.holds(&sealed[24..40]), "the replaced version is still there");
    let sealed = vault_file(&disk);
    store.append(&[secret("view-1", None)]).expect("appends");
    assert!(!disk.holds(&sealed[24..40]), "the erased version is still there");
    assert!(disk.files().keys().all(|name| !name.starts_with("vault/")));
    assert_eq!(open(&disk).1.secrets.len(), 0);
}

#[test]
fn an_erasure_that_a_crash_cut_short_is_finished() {
    for n in 0..10 {
        let disk = MemDisk::default();
        let (mut store, _) = open(&disk);
        store.append(&[secret("view-1", Some("the key of view 1"))]).expect("appends");
        let sealed = vault_file(&disk);
        disk.fault(n, Fault::Crash);
        let dropped = store.append(&[secret("view-1", None)]);
        let (_, recovered) = reopen(&disk, &mut rng(n));
        if dropped.is_ok() {
            assert!(recovered.secrets.is_empty());
        }
        assert_eq!(disk.holds(&sealed[24..40]), !recovered.secrets.is_empty(), "call {n}");
    }
}

#[test]
fn a_wrong_sealing_key_is_not_damage() {
    let disk = MemDisk::default();
    open(&disk).0.append(&[secret("view-1", Some("s"))]).expect("appends");
    let mut wrong = options(1);
    wrong.sealing_key = SymmetricKey([8; 32]);
    let error = GroupStore::open(disk.clone(), wrong).map(|_| ()).expect_err("refuses");
    assert_eq!(error, OpenError::WrongKey { name: "view-1".to_owned() });
    assert_eq!(open(&disk).1.secrets["view-1"], b"s");
}

#[test]
fn a_block_again_is_passed_over_and_another_one_stops_the_node() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    store.append(&[block(1, 1, 1), certificate(1)]).expect("appends");
    let other = Record::Certificate { id: BlockId(1), bytes: b"other signers".as_slice().into() };
    store.append(&[block(1, 1, 1), other, block(2, 0, 0), block(2, 0, 0)]).expect("appends");
    assert_eq!(store.stats().next_block, 3);
    assert_eq!(
        store.certificate(BlockId(1)).expect("reads").as_deref(),
        Some(&b"certificate of 1"[..])
    );
    for bad in [block(2, 1, 0), block(4, 0, 0), certificate(3)] {
        let mut store = GroupStore::open(disk.clone(), options(1)).expect("opens").0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(store.append(std::slice::from_ref(&bad)));
        }));
        assert!(outcome.is_err(), "{bad:?}");
    }
}

#[test]
fn a_ledger_may_begin_anywhere() {
    for first in [0, 1, 1000] {
        let disk = MemDisk::default();
        let (mut store, _) = open(&disk);
        for id in first..first + 12 {
            store.append(&[block(id, 1, 60), certificate(id)]).expect("appends");
        }
        let (store, recovered) = open(&disk);
        assert_eq!(recovered.last_block, BlockId(first + 11));
        assert_eq!(recovered.last_certificate, BlockId(first + 11));
        for id in first..first + 12 {
            assert!(store.block(BlockId(id)).expect("reads").is_some());
            assert_eq!(store.find_trx(&trx_id(id, 0)), Ok(Some((BlockId(id), 0))));
        }
        assert!(store.stats().closed_chunks > 1);
    }
}

#[test]
fn a_lost_index_is_built_again_and_a_bad_page_is_worked_around() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    let mut model = Model::default();
    for id in 1..30 {
        let records = [block(id, 3, 50)];
        store.append(&records).expect("appends");
        model = model.after(&records);
    }
    let indexes: Vec<_> =
        disk.files().into_iter().filter(|(name, _)| name.starts_with("index_")).collect();
    assert!(indexes.len() > 3);
    // While the store is open: the last byte is in a page.
    disk.tamper(&indexes[0].0, |bytes| *bytes.last_mut().expect("not empty") ^= 1);
    disk.lose(&indexes[1].0);
    assert!(model.reads(&store));
    // The head of one is bad, one is missing.
    disk.tamper(&indexes[2].0, |bytes| bytes[20] ^= 1);
    let (store, _) = open(&disk);
    assert!(model.reads(&store));
    assert_eq!(disk.files()[&indexes[1].0], indexes[1].1);
    assert_eq!(disk.files()[&indexes[2].0], indexes[2].1);
    assert_eq!(check(&disk).expect("reads").problems.len(), 1, "the bad page");
    assert_eq!(repair(&mut disk.clone()).expect("repairs").actions.len(), 1);
    assert!(model.reads(&open(&disk).0));
    assert_eq!(disk.files()[&indexes[0].0], indexes[0].1);
    assert_eq!(check(&disk).expect("reads").problems, []);
}

#[test]
fn a_full_disk_does_not_keep_a_store_from_opening() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    let mut model = Model::default();
    for id in 1..10 {
        store.append(&[block(id, 2, 150)]).expect("appends");
        model = model.after(&[block(id, 2, 150)]);
    }
    let index = disk.files().into_keys().find(|name| name.starts_with("index_")).expect("one");
    disk.lose(&index);
    disk.fault(0, Fault::Full);
    let (store, recovered) = open(&disk);
    assert!(!disk.no_fault(), "the index met the full disk");
    assert!(model.matches(&store, &recovered));
}

#[test]
fn a_bad_snapshot_is_passed_over() {
    let disk = MemDisk::default();
    let (mut store, _) = open(&disk);
    for id in 1..5 {
        let snapshot = Record::Snapshot { id: BlockId(id), bytes: Model::snapshot(id) };
        store.append(&[block(id, 0, 0), snapshot]).expect("appends");
    }
    let count = |disk: &MemDisk| disk.files().keys().filter(|n| n.starts_with("snapshot")).count();
    assert_eq!(count(&disk), 2);
    assert_eq!(open(&disk).1.snapshot, Some((BlockId(4), Model::snapshot(4))));
    disk.tamper("snapshot_4", |bytes| bytes[30] ^= 4);
    assert_eq!(open(&disk).1.snapshot, Some((BlockId(3), Model::snapshot(3))));
    disk.lose("snapshot_3");
    assert_eq!(open(&disk).1.snapshot, None);
}

#[test]
fn a_lost_journal_is_amnesia_until_cleared() {
    let disk = MemDisk::default();
    let (mut store, recovered) = open(&disk);
    assert!(!recovered.amnesia);
    let all = [
        block(1, 2, 400),
        block(2, 1, 10),
        certificate(1),
        secret("view-1", Some("s")),
        Record::Snapshot { id: BlockId(1), bytes: Model::snapshot(1) },
    ];
    store.append(&all).expect("appends");
    disk.lose("journal_1");
    let (_, recovered) = open(&disk);
    assert!(recovered.amnesia);
    assert_eq!(recovered.last_block, BlockId(2));
    assert_eq!(recovered.secrets["view-1"], b"s");
    assert_eq!(recovered.snapshot, Some((BlockId(1), Model::snapshot(1))));
    let (mut store, recovered) = open(&disk);
    assert!(recovered.amnesia && store.amnesia(), "it stays");
    store.clear_amnesia().expect("clears");
    disk.crash(&mut rng(0));
    let (store, recovered) = open(&disk);
    assert!(!recovered.amnesia);
    assert!(Model::default().after(&all).matches(&store, &recovered));
}

#[test]
fn the_real_disk_keeps_what_the_model_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut rng = rng(11);
    let mut model = Model::default();
    for _ in 0..6 {
        let disk = RealDisk::open(dir.path().join("group")).expect("opens");
        let (mut store, recovered) = GroupStore::open(disk, options(3)).expect("opens");
        assert_eq!(recovered.notes, model.notes);
        assert_eq!(recovered.secrets, model.secrets);
        assert_eq!(recovered.last_block.0, model.blocks.len() as u64);
        for _ in 0..25 {
            let records = random_records(&mut rng, &model);
            store.append(&records).expect("appends");
            model = model.after(&records);
        }
        for (i, bytes) in model.blocks.iter().enumerate() {
            let id = BlockId(i as u64 + 1);
            assert_eq!(store.block(id).expect("reads").as_ref(), Some(bytes));
            for (n, trx) in trx_ids(bytes).iter().enumerate() {
                assert_eq!(store.find_trx(trx), Ok(Some((id, n as u32))));
            }
        }
        assert_eq!(store.stats().failed_housekeeping, 0);
        assert_eq!(check(store.disk()).expect("reads").problems, []);
    }
    assert!(model.blocks.len() > 50);
}
