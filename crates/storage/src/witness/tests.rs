use super::{FILE, read, write};
use crate::disk::Disk as _;
use crate::slots::SLOT;
use crate::testing::MemDisk;

#[test]
fn the_newest_good_slot_counts() {
    let mut disk = MemDisk::default();
    assert_eq!(read(&disk), Ok(0), "nothing is known without the file");
    write(&mut disk, 7);
    assert_eq!(read(&disk), Ok(7));
    write(&mut disk, 8);
    assert_eq!(read(&disk), Ok(8));
    disk.write(FILE, 8, &[0xff]).expect("writes");
    assert_eq!(read(&disk), Ok(7), "the slot of 8 is spoilt");
    disk.write(FILE, SLOT + 19, &[0xff; 1]).expect("writes");
    disk.truncate(FILE, 3).expect("cuts");
    assert_eq!(read(&disk), Ok(0));
}
