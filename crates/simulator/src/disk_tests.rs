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
