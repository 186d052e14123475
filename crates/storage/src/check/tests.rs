use quorate_consensus::core::{Journal, Record, Recovered, Topic};
use quorate_ledger::ids::BlockId;

use super::{DERIVED, check, repair};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::store::GroupStore;
use crate::testing::{MemDisk, Model, block, certificate, note, options, secret};

type Opened = Result<(GroupStore<MemDisk>, Recovered), OpenError>;

fn open(disk: &MemDisk) -> Opened {
    GroupStore::open(disk.clone(), options(5))
}

/// Twelve certified blocks in four closed chunks, notes, a secret, a snapshot.
fn group() -> (MemDisk, Model) {
    let disk = MemDisk::default();
    let mut store = open(&disk).expect("opens").0;
    let mut model = Model::default();
    for id in 1..=12 {
        let mut records = vec![block(id, 2, 60), certificate(id)];
        records.push(note(Topic::Vote, &format!("{id}"), "voted"));
        if id == 6 {
            records.push(secret("view-1", Some("the key")));
            records.push(Record::Snapshot { id: BlockId(6), bytes: Model::snapshot(6) });
        }
        store.append(&records).expect("appends");
        model = model.after(&records);
    }
    assert_eq!(store.stats().closed_chunks, 4);
    (disk, model)
}

fn copy(disk: &MemDisk) -> MemDisk {
    let mut new = MemDisk::default();
    for (path, bytes) in disk.files() {
        new.write(&path, 0, &bytes).expect("writes");
        new.sync(&path).expect("syncs");
    }
    new.sync_dir("").expect("syncs");
    new.sync_dir("vault").expect("syncs");
    new
}

/// Opens a repaired group, brings back from the model what is missing, and compares.
fn heal(disk: &MemDisk, model: &Model, context: &str) -> Recovered {
    let report = check(disk).expect("reads");
    assert!(report.problems.iter().all(|p| p.hint == DERIVED), "{context}: {:?}", report.problems);
    let (mut store, recovered) = open(disk).unwrap_or_else(|e| panic!("{context}: {e}"));
    for id in recovered.last_block.0 + 1..=model.blocks.len() as u64 {
        store.append(&[block(id, 2, 60), certificate(id)]).expect("appends");
    }
    for id in recovered.last_certificate.0 + 1..=recovered.last_block.0 {
        store.append(&[certificate(id)]).expect("appends");
    }
    assert!(model.reads(&store), "{context}");
    assert_eq!(check(disk).expect("reads").problems, [], "{context}");
    assert_eq!(repair(&mut disk.clone()).expect("repairs").actions, [""; 0], "{context}");
    recovered
}

#[test]
fn a_sound_group_has_no_problems_and_checking_changes_nothing() {
    let (disk, model) = group();
    let (files, changes) = (disk.files(), disk.changes());
    let report = check(&disk).expect("reads");
    assert_eq!(report.problems, []);
    assert_eq!(report.entries, 24);
    assert_eq!(report.files, files.len());
    assert_eq!((disk.files(), disk.changes()), (files, changes));
    heal(&disk, &model, "nothing wrong");
}

#[test]
fn a_flipped_bit_at_every_byte_of_a_closed_chunk_is_named_and_healed() {
    let (sound, model) = group();
    let name = "ledger_4-6.committed";
    let original = sound.files()[name].clone();
    let table = original.len() - 12;
    let slots = original[table..].as_chunks::<4>().0;
    let starts: Vec<usize> = slots.iter().map(|s| u32::from_le_bytes(*s) as usize).collect();
    for at in 0..original.len() {
        let disk = copy(&sound);
        disk.tamper(name, |bytes| bytes[at] ^= 1 << (at % 8));
        let report = check(&disk).expect("reads");
        let problem = &report.problems[0];
        assert_eq!((report.problems.len(), problem.file.as_str()), (1, name), "byte {at}");
        let (offset, id) = match at {
            0..8 => (0, 4),
            _ if at >= table => (table + (at - table) / 4 * 4, 4 + (at - table) as u64 / 4),
            _ => {
                let i = starts.partition_point(|start| *start <= at) - 1;
                (starts[i], 4 + i as u64)
            }
        };
        assert_eq!((problem.offset, problem.id), (offset as u64, Some(id)), "byte {at}");
        // What is read is right or an error.
        if let Ok((store, _)) = open(&disk) {
            for (i, block) in model.blocks.iter().enumerate() {
                let read = store.block(BlockId(i as u64 + 1));
                assert!(read.is_err() || read == Ok(Some(block.clone())), "byte {at}");
            }
        }
        let done = repair(&mut disk.clone()).expect("repairs");
        assert!(!done.actions.is_empty() && !done.amnesia, "byte {at}");
        let recovered = heal(&disk, &model, &format!("byte {at}"));
        let kept = if (8..table).contains(&at) { id - 1 } else { 12 };
        assert_eq!(recovered.last_block, BlockId(kept), "byte {at}");
        assert_eq!(recovered.notes, model.notes);
        assert_eq!(recovered.snapshot.is_some(), kept >= 6);
        assert_eq!(disk.files()[name], original, "the chunk comes back byte for byte");
    }
}

#[test]
fn a_flipped_bit_at_every_byte_of_an_open_chunk_is_named_and_healed() {
    let (sound, model) = group();
    let mut store = open(&sound).expect("opens").0;
    store
        .append(&[block(13, 2, 60), certificate(13), block(14, 2, 60), certificate(14)])
        .expect("appends");
    let model =
        model.after(&[block(13, 2, 60), certificate(13), block(14, 2, 60), certificate(14)]);
    let (name, len) = ("ledger_13", 8 + 2 * (16 + 93));
    for at in 8..len {
        let disk = copy(&sound);
        disk.tamper(name, |bytes| bytes[at] ^= 1 << (at % 8));
        let id = if at < 8 + 16 + 93 { 13 } else { 14 };
        match open(&disk) {
            Err(OpenError::Corrupt(c)) => assert_eq!((c.file.as_str(), c.id), (name, Some(id))),
            other => panic!("byte {at}: {:?}", other.map(|_| ())),
        }
        let report = check(&disk).expect("reads");
        assert_eq!(report.problems.len(), 1);
        assert_eq!((report.problems[0].file.as_str(), report.problems[0].id), (name, Some(id)));
        assert!(!repair(&mut disk.clone()).expect("repairs").amnesia);
        let recovered = heal(&disk, &model, &format!("byte {at}"));
        assert_eq!(recovered.last_block, BlockId(id - 1));
        assert!(disk.files().contains_key("ledger_13.corrupt"));
    }
}

#[test]
fn a_flipped_bit_in_the_journal_is_amnesia_after_repair() {
    let (sound, model) = group();
    let journal = sound.files().into_iter().find(|(name, _)| name.starts_with("journal_"));
    let (name, original) = journal.expect("there is one");
    let end = original.iter().rposition(|b| *b != 0).expect("not empty") + 1;
    let mut damaged = 0;
    for at in 0..end {
        let disk = copy(&sound);
        disk.tamper(&name, |bytes| bytes[at] ^= 1 << (at % 8));
        match open(&copy(&disk)) {
            Err(OpenError::Corrupt(c)) => assert_eq!(c.file, name, "byte {at}: {c}"),
            other => panic!("byte {at}: {:?}", other.map(|_| ())),
        }
        damaged += 1;
        assert!(check(&disk).expect("reads").problems.iter().any(|p| p.file == name), "byte {at}");
        assert!(repair(&mut disk.clone()).expect("repairs").amnesia);
        let recovered = heal(&disk, &model, &format!("byte {at}"));
        assert!(recovered.amnesia);
        assert_eq!(recovered.last_block, BlockId(12), "byte {at}");
        assert_eq!(recovered.secrets, model.secrets, "byte {at}");
        if at >= 64 {
            assert!(recovered.notes.len() >= model.notes.len() - 1, "one frame is lost at most");
        }
    }
    assert!(damaged > 300, "{damaged}");
}

#[test]
fn a_journal_that_lost_its_end_is_amnesia_unless_the_witness_is_lost_too() {
    let (sound, model) = group();
    let last = [note(Topic::Vote, "last", "voted")];
    open(&sound).expect("opens").0.append(&last).expect("appends");
    let model = model.after(&last);
    let journal = sound.files().into_iter().find(|(name, _)| name.starts_with("journal_"));
    let (name, original) = journal.expect("there is one");
    let end = original.iter().rposition(|b| *b != 0).expect("not empty") + 1;
    for len in [end - 1, end - 70, 200] {
        let disk = copy(&sound);
        disk.tamper(&name, |bytes| bytes.truncate(len));
        assert!(matches!(open(&disk), Err(OpenError::Corrupt(c)) if c.file == name), "{len}");
        assert!(repair(&mut disk.clone()).expect("repairs").amnesia);
        let recovered = heal(&disk, &model, &format!("cut to {len}"));
        assert!(recovered.amnesia && recovered.last_block == BlockId(12));
        // What it says from now on is as durable as ever.
        open(&disk).expect("opens").0.append(&[note(Topic::Vote, "n", "n")]).expect("appends");
        assert!(open(&disk).expect("opens").1.notes.iter().any(|note| note.1 == b"n"));
    }
    // Nothing is left to tell it from an append that never returned.
    let disk = copy(&sound);
    disk.tamper(&name, |bytes| bytes.truncate(end - 1));
    disk.lose(crate::witness::FILE);
    let (store, recovered) = open(&disk).expect("opens");
    assert_eq!((recovered.notes.len(), recovered.amnesia), (model.notes.len() - 1, false));
    assert_eq!(store.stats().next_block, 13);
}

#[test]
fn a_bad_secret_is_named_and_dropped() {
    let (sound, model) = group();
    let name = sound.files().into_keys().find(|n| n.starts_with("vault/")).expect("one");
    for at in 0..sound.files()[&name].len() {
        let disk = copy(&sound);
        disk.tamper(&name, |bytes| bytes[at] ^= 1);
        match open(&disk) {
            Err(OpenError::Corrupt(c)) => assert_eq!(c.file, name),
            other => panic!("byte {at}: {:?}", other.map(|_| ())),
        }
        assert_eq!(check(&disk).expect("reads").problems[0].file, name);
        repair(&mut disk.clone()).expect("repairs");
        let recovered = heal(&disk, &model, &format!("byte {at}"));
        assert!(recovered.secrets.is_empty() && !recovered.amnesia);
    }
}

#[test]
fn missing_files_are_named_and_healed() {
    let (sound, model) = group();
    let lost = |name: &str, kept: u64| {
        let disk = copy(&sound);
        disk.lose(name);
        assert!(matches!(open(&disk), Err(OpenError::Corrupt(_))), "{name}");
        let report = check(&disk).expect("reads");
        assert!(report.problems.iter().any(|p| p.id == Some(kept + 1)), "{name}: {report:?}");
        repair(&mut disk.clone()).expect("repairs");
        let recovered = heal(&disk, &model, name);
        assert_eq!(recovered.last_block, BlockId(kept), "{name}");
        disk
    };
    lost("ledger_1-3.committed", 0);
    lost("ledger_4-6.committed", 3);
    let disk = lost("ledger_10-12.committed", 9);
    assert!(disk.files().keys().all(|n| !n.starts_with("ledger_10-12.committed.")));
    let names: Vec<_> =
        sound.files().into_keys().filter(|n| n.starts_with("certificates_")).collect();
    assert!(names.len() > 1);
    let disk = copy(&sound);
    disk.lose(&names[0]);
    repair(&mut disk.clone()).expect("repairs");
    assert_eq!(heal(&disk, &model, "certificates").last_certificate, BlockId(0));
}

#[test]
fn without_a_journal_damage_is_told_from_a_torn_end() {
    let (sound, model) = group();
    open(&sound).expect("opens").0.append(&[block(13, 2, 60), block(14, 2, 60)]).expect("appends");
    let journal = sound.files().into_keys().find(|n| n.starts_with("journal_")).expect("one");
    sound.lose(&journal);
    // The last block: taken for a torn end.
    let disk = copy(&sound);
    disk.tamper("ledger_13", |bytes| bytes[8 + 16 + 93 + 40] ^= 1);
    let (_, recovered) = open(&disk).expect("opens");
    assert_eq!((recovered.last_block, recovered.amnesia), (BlockId(13), true));
    // One with a good block behind it: damage.
    let disk = copy(&sound);
    disk.tamper("ledger_13", |bytes| bytes[60] ^= 1);
    assert!(matches!(open(&disk), Err(OpenError::Corrupt(c)) if c.id == Some(13)));
    assert!(repair(&mut disk.clone()).expect("repairs").amnesia);
    assert_eq!(heal(&disk, &model, "no journal").last_block, BlockId(12));
}

#[test]
fn a_repair_cut_short_by_a_crash_can_be_run_again() {
    let (sound, model) = group();
    let name = sound.files().into_keys().find(|n| n.starts_with("journal_")).expect("one");
    let end = sound.files()[&name].iter().rposition(|b| *b != 0).expect("not empty");
    for n in 0..60 {
        let disk = copy(&sound);
        disk.tamper("ledger_4-6.committed", |bytes| bytes[200] ^= 1);
        disk.tamper(&name, |bytes| bytes[end - 200] ^= 1);
        disk.fault(n, crate::testing::Fault::Crash);
        let cut = repair(&mut disk.clone()).is_err();
        disk.crash(&mut crate::testing::rng(n));
        repair(&mut disk.clone()).expect("repairs");
        let recovered = heal(&disk, &model, &format!("call {n}"));
        assert!(recovered.amnesia, "call {n}");
        if !cut {
            assert!(n > 10);
            return;
        }
    }
    panic!("the repair never came to its end");
}
