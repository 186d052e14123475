use super::{ClosedIndex, Key, PAGE, TrxIndex, index_name, parse_name};
use crate::error::StoreError;
use crate::testing::{MemDisk, trx_id};

const MANY: u64 = 3 * PAGE as u64 + 5;

fn closed(disk: &mut MemDisk) -> TrxIndex {
    let mut index = TrxIndex::default();
    for block in 1..=MANY {
        index.insert(block, &[trx_id(block, 0), trx_id(block, 1)]);
    }
    index.insert(MANY + 1, &[trx_id(MANY + 1, 0)]);
    index.close(disk, 1, MANY).expect("writes");
    index
}

fn find(index: &TrxIndex, disk: &MemDisk, key: &Key) -> Option<(u64, u32)> {
    index.find(disk, key, |_| panic!("no page is bad")).expect("reads")
}

#[test]
fn every_trx_is_found_in_memory_in_the_file_and_after_loading() {
    let mut disk = MemDisk::default();
    let index = closed(&mut disk);
    let mut loaded = TrxIndex::default();
    loaded.adopt(ClosedIndex::load(&disk, 1, MANY).expect("good"));
    loaded.insert(MANY + 1, &[trx_id(MANY + 1, 0)]);
    for index in [&index, &loaded] {
        assert_eq!(index.len(), 2 * MANY + 1);
        for block in 1..=MANY + 1 {
            assert_eq!(find(index, &disk, &trx_id(block, 0)), Some((block, 0)));
        }
        assert_eq!(find(index, &disk, &trx_id(5, 1)), Some((5, 1)));
        for absent in [[0; 16], [255; 16], trx_id(5, 2)] {
            assert_eq!(find(index, &disk, &absent), None);
        }
    }
}

#[test]
fn the_filter_spares_nearly_all_reads() {
    let mut disk = MemDisk::default();
    let index = closed(&mut disk);
    // Without the file, each look-up that passes the filter is unsure.
    disk.lose(&index_name(1, MANY));
    disk.no_fault();
    let mut unsure = 0;
    for n in 0..10_000 {
        let found = index.find(&disk, &trx_id(1_000_000 + n, 9), |_| {
            unsure += 1;
            Ok(None)
        });
        assert_eq!(found, Ok(None));
    }
    assert!(unsure < 300, "{unsure} of 10000");
}

#[test]
fn a_flipped_bit_at_every_byte_is_detected() {
    let mut disk = MemDisk::default();
    closed(&mut disk);
    let name = index_name(1, MANY);
    for at in 0..disk.files()[&name].len() {
        disk.tamper(&name, |bytes| bytes[at] ^= 0x10);
        let verified = super::verify_file(&disk, 1, MANY);
        assert!(matches!(verified, Err(StoreError::Corrupt(c)) if c.file == name), "byte {at}");
        disk.tamper(&name, |bytes| bytes[at] ^= 0x10);
    }
    super::verify_file(&disk, 1, MANY).expect("good again");
    disk.tamper(&name, |bytes| bytes.truncate(20));
    assert!(super::verify_file(&disk, 1, MANY).is_err());
}

#[test]
fn a_chunk_without_trxs_has_an_index() {
    let mut disk = MemDisk::default();
    TrxIndex::default().close(&mut disk, 3, 9).expect("writes");
    let mut index = TrxIndex::default();
    index.adopt(ClosedIndex::load(&disk, 3, 9).expect("good"));
    assert_eq!((index.len(), find(&index, &disk, &[7; 16])), (0, None));
    assert_eq!(parse_name("index_3-9"), Some((3, 9)));
    assert_eq!(parse_name("index_3-9.tmp"), None);
}
