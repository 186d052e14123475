use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{BLOCK, Disk, DiskError, LEAST_PAST, MAX_HANDLES, MOST_DIRECT, RealDisk, SECTOR};

fn disk() -> (tempfile::TempDir, RealDisk) {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(dir.path().join("a/b")).expect("opens");
    (dir, disk)
}

#[test]
fn reads_end_with_the_file_and_gaps_are_zero() {
    let (_dir, mut disk) = disk();
    disk.write("f", 4, b"abc").expect("writes");
    assert_eq!(disk.read("f", 0, 100), Ok(b"\0\0\0\0abc".to_vec()));
    assert_eq!(disk.read("f", 5, 1), Ok(b"b".to_vec()));
    assert_eq!(disk.read("f", 50, usize::MAX), Ok(Vec::new()));
    assert_eq!(disk.len("f"), Ok(7));
    disk.truncate("f", 5).expect("cuts");
    disk.truncate("f", 6).expect("extends");
    assert_eq!(disk.read("f", 4, 9), Ok(b"a\0".to_vec()));
    disk.sync("f").expect("syncs");
    disk.sync_dir("").expect("syncs");
}

#[test]
fn what_is_not_there_is_not_found() {
    let (_dir, mut disk) = disk();
    let missing = DiskError::NotFound { path: "f".to_owned() };
    assert_eq!(disk.read("f", 0, 1), Err(missing.clone()));
    assert_eq!(disk.len("f"), Err(missing.clone()));
    assert_eq!(disk.truncate("f", 1), Err(missing.clone()));
    assert_eq!(disk.sync("f"), Err(missing.clone()));
    assert_eq!(disk.remove("f"), Err(missing.clone()));
    assert_eq!(disk.rename("f", "g"), Err(missing));
    assert_eq!(disk.exists("f"), Ok(false));
    assert!(matches!(disk.list("d"), Err(DiskError::NotFound { .. })));
}

#[test]
fn several_files_are_synced_together_or_one_is_missing() {
    let (_dir, mut disk) = disk();
    let all: Vec<String> = (0..5).map(|n| format!("f{n}")).collect();
    for path in &all {
        disk.write(path, 0, b"x").expect("writes");
    }
    for n in 0..=5 {
        disk.sync_all(&all[..n]).expect("syncs");
    }
    for missing in &all {
        disk.remove(missing).expect("removes");
        assert_eq!(disk.sync_all(&all), Err(DiskError::NotFound { path: missing.clone() }));
        disk.write(missing, 0, b"x").expect("writes");
    }
}

#[test]
fn names_follow_renaming_and_removal() {
    let (dir, mut disk) = disk();
    disk.create_dir_all("d/e").expect("creates");
    disk.create_dir_all("d/e").expect("is there");
    disk.write("one", 0, b"1").expect("writes");
    disk.write("two", 0, b"2").expect("writes");
    disk.write("d/three", 0, b"3").expect("writes");
    assert_eq!(disk.list(""), Ok(vec!["one".to_owned(), "two".to_owned()]));
    disk.rename("one", "two").expect("renames");
    assert_eq!(disk.read("two", 0, 9), Ok(b"1".to_vec()));
    disk.write("one", 0, b"new").expect("writes");
    assert_eq!(disk.read("two", 0, 9), Ok(b"1".to_vec()));
    disk.remove("two").expect("removes");
    assert_eq!(disk.list(""), Ok(vec!["one".to_owned()]));
    assert_eq!(disk.list("d"), Ok(vec!["three".to_owned()]));
    assert_eq!(disk.root(), dir.path().join("a/b"));
}

#[test]
fn many_files_stay_within_the_limit_of_handles() {
    let (_dir, mut disk) = disk();
    for n in 0..MAX_HANDLES + 20 {
        disk.write(&format!("f{n}"), 0, &n.to_le_bytes()).expect("writes");
    }
    for n in 0..MAX_HANDLES + 20 {
        assert_eq!(disk.read(&format!("f{n}"), 0, 8), Ok(n.to_le_bytes().to_vec()));
    }
    assert!(disk.handles.lock().expect("whole").len() <= MAX_HANDLES);
}

#[test]
#[should_panic(expected = "out of its root")]
fn a_path_does_not_leave_the_root() {
    let (_dir, disk) = disk();
    let _ = disk.read("../f", 0, 1);
}

#[test]
fn what_is_written_through_reads_back_whatever_its_alignment() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut disk = RealDisk::open(dir.path()).expect("a disk");
    disk.write("f", 0, &[0; 4 * SECTOR]).expect("made");
    let (one, two) = (vec![1; SECTOR], vec![2; 2 * SECTOR]);
    disk.write_through("f", SECTOR as u64, &one).expect("aligned");
    disk.write_through("f", 7, b"odd").expect("not aligned");
    disk.write_through("f", 4 * SECTOR as u64, &two).expect("behind the end");
    let all = disk.read("f", 0, 10 * SECTOR).expect("read");
    assert_eq!(all.len(), 6 * SECTOR);
    assert_eq!((&all[7..10], &all[SECTOR..2 * SECTOR]), (&b"odd"[..], &one[..]));
    assert_eq!(&all[4 * SECTOR..], two);
    disk.rename("f", "g").expect("renamed");
    disk.write_through("g", 0, &one).expect("under its new name");
    assert_eq!(disk.read("g", 0, SECTOR).expect("read"), one);
    assert!(!disk.exists("f").expect("looked"));
}

#[test]
fn what_is_written_past_the_cache_reads_back_among_other_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut disk = RealDisk::open(dir.path()).expect("a disk");
    let (mut rng, mut model) = (ChaCha20Rng::seed_from_u64(1), Vec::new());
    let mut below = |most: usize| usize::try_from(rng.next_u32()).expect("fits") % most;
    for round in 0..100_u8 {
        let offset = match below(3) {
            0 => model.len(),
            1 => model.len() / BLOCK * BLOCK,
            _ => below(model.len() + 1),
        };
        let len = below(3 * LEAST_PAST);
        let bytes = vec![round + 1; len];
        if model.len() < offset + len {
            model.resize(offset + len, 0);
        }
        model[offset..offset + len].copy_from_slice(&bytes);
        if below(10) < 7 {
            disk.write_past("f", offset as u64, &bytes).expect("written");
        } else {
            disk.write("f", offset as u64, &bytes).expect("written");
        }
        if below(10) == 0 {
            model.truncate(below(model.len() + 1));
            disk.truncate("f", model.len() as u64).expect("cut");
        }
        if below(10) == 0 {
            disk.sync("f").expect("synced");
        }
        assert_eq!(disk.len("f"), Ok(model.len() as u64), "round {round}");
        assert!(disk.read("f", 0, usize::MAX).expect("read") == model, "round {round}");
    }
    let long = vec![7; 2 * MOST_DIRECT + BLOCK + 5];
    disk.write_past("f", 3, &long).expect("written");
    disk.rename("f", "g").expect("renamed");
    disk.write_past("g", 3 + long.len() as u64, &long).expect("under its new name");
    let read = disk.read("g", 3, usize::MAX).expect("read");
    assert!(read[..2 * long.len()] == [long.clone(), long].concat());
}
