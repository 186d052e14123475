use quorate_storage::disk::{Disk, DiskError};

use super::{DiskFaults, FaultyDisk};

#[test]
fn what_is_synced_survives_and_nothing_else_must() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut disk = FaultyDisk::new(seed);
        disk.write("a/file", 0, b"synced").expect("writes");
        disk.sync("a/file").expect("syncs");
        disk.sync_dir("a").expect("syncs");
        disk.write("a/file", 6, b" and not").expect("writes");
        disk.crash();
        let left = disk.read("a/file", 0, 100).expect("is there");
        assert!(left.starts_with(b"synced"), "{left:?}");
        lost += usize::from(left.len() < 14);
    }
    assert!(lost > 100 && lost < 200, "{lost} of 200 crashes lost the unsynced write");
}

#[test]
fn a_name_survives_only_once_its_directory_is_synced() {
    let gone = (0..100)
        .filter(|seed| {
            let mut disk = FaultyDisk::new(*seed);
            disk.write("new", 0, b"x").expect("writes");
            disk.sync("new").expect("syncs");
            disk.crash();
            !disk.exists("new").expect("answers")
        })
        .count();
    assert!(gone > 20 && gone < 80, "{gone}");
}

#[test]
fn a_full_disk_refuses_and_a_lit_fuse_ends_all() {
    let mut disk = FaultyDisk::new(1);
    disk.set_faults(DiskFaults { capacity: 10, ..DiskFaults::default() });
    assert_eq!(disk.write("f", 0, &[0; 11]), Err(DiskError::Full { path: "f".into() }));
    disk.write("f", 0, &[0; 10]).expect("fits");
    disk.set_faults(DiskFaults::default());
    disk.light_fuse(1);
    disk.write("f", 10, b"one more").expect("the last one");
    assert!(disk.sync("f").is_err());
    assert!(disk.is_dead());
    disk.crash();
    disk.write("f", 0, b"again").expect("the power is back");
}

#[test]
fn a_misdirected_write_leaves_the_old_bytes_and_spoils_others() {
    let mut disk = FaultyDisk::new(3);
    disk.write("g0/journal_1", 0, &[1; 8]).expect("writes");
    disk.write("g0/ledger_1", 0, &[2; 8]).expect("writes");
    disk.set_faults(DiskFaults { misdirect: 1.0, ..DiskFaults::default() });
    disk.write("g0/journal_1", 4, &[3; 8]).expect("says it writes");
    disk.set_faults(DiskFaults::default());
    let strays = disk.strays();
    assert_eq!(strays.len(), 1);
    assert_eq!(strays[0].0, "g0/journal_1");
    assert_eq!(disk.len("g0/journal_1"), Ok(12), "the length is as it should be");
    let read = |path| disk.read(path, 0, 100).expect("is there");
    let all = [read("g0/journal_1"), read("g0/ledger_1")].concat();
    assert_eq!(all.len(), 20);
    assert!(all.contains(&3), "the bytes are somewhere");
    assert_eq!(disk.counts().get("misdirected_write"), Some(&1));
}

#[test]
fn damage_hits_only_what_it_may() {
    for seed in 0..20 {
        let mut disk = FaultyDisk::new(seed);
        for path in ["g0/journal_1", "g0/ledger_1", "g0/vault/key_1"] {
            disk.write(path, 0, &[0; 8]).expect("writes");
            disk.sync(path).expect("syncs");
        }
        let copy = disk.copy();
        assert_eq!(disk.flip_bit(|path| path.contains("vault")).as_deref(), Some("g0/vault/key_1"));
        assert_eq!(disk.cut_tail(|path| path.contains("ledger")).as_deref(), Some("g0/ledger_1"));
        assert_eq!(disk.flip_bit(|_| false), None);
        assert_eq!(disk.read("g0/journal_1", 0, 8), Ok(vec![0; 8]));
        assert_ne!(disk.read("g0/vault/key_1", 0, 8), Ok(vec![0; 8]));
        assert!(disk.len("g0/ledger_1").expect("is there") < 8);
        assert_eq!(copy.read("g0/vault/key_1", 0, 8), Ok(vec![0; 8]), "a copy is apart");
    }
}
