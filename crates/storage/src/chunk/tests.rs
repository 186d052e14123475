use super::{ChunkLog, ChunkName, STEP, Span, step};
use crate::entry;
use crate::testing::MemDisk;

#[test]
fn names_are_read_only_in_the_written_form() {
    let parse = |text| ChunkName::parse("ledger", text).map(|n| (n.first, n.last));
    assert_eq!(parse("ledger_1"), Some((1, None)));
    assert_eq!(parse("ledger_1-7.committed"), Some((1, Some(7))));
    for other in [
        "ledger_",
        "ledger_01",
        "ledger_1-7",
        "ledger_1-7.committed.corrupt",
        "ledger_1.corrupt",
        "ledger_7-1.committed",
        "ledger_+1",
        "certificates_1",
        "ledger_1-.committed",
        "ledger_1.tmp",
        "ledger_18446744073709551615",
        "ledger_0-18446744073709551615.committed",
    ] {
        assert_eq!(parse(other), None, "{other}");
    }
}

#[test]
fn the_container_is_that_of_ccf() {
    let mut disk = MemDisk::default();
    let mut log = ChunkLog::recover(&mut disk, "ledger", 40, Some(Span::default())).expect("opens");
    let staged = log.stage(&mut disk, &[(1, b"one"), (2, b"second")]).expect("writes");
    log.commit(staged);
    let mut entries = Vec::new();
    entry::encode(&mut entries, 1, b"one");
    entry::encode(&mut entries, 2, b"second");
    // `[u32 len][u32 crc of id, len, payload][u64 id][payload]`
    assert_eq!(entries[..4], 3u32.to_le_bytes());
    let mut covered = 1u64.to_le_bytes().to_vec();
    covered.extend_from_slice(&3u32.to_le_bytes());
    covered.extend_from_slice(b"one");
    assert_eq!(entries[4..8], crc32fast::hash(&covered).to_le_bytes());
    assert_eq!(entries[8..19], *b"\x01\0\0\0\0\0\0\0one");
    // Open: a zero offset, zeros ahead.
    let open = disk.files()["ledger_1"].clone();
    assert_eq!(open.len(), 512);
    assert_eq!(open[..8], [0; 8]);
    assert_eq!(open[8..8 + entries.len()], entries);
    assert!(open[8 + entries.len()..].iter().all(|b| *b == 0));
    // Closed: the offset of the table, the entries, the table.
    assert_eq!(log.close_one(&mut disk), Ok(Some((1, 2))));
    let mut closed = (8 + entries.len() as u64).to_le_bytes().to_vec();
    closed.extend_from_slice(&entries);
    closed.extend_from_slice(&8u32.to_le_bytes());
    closed.extend_from_slice(&27u32.to_le_bytes());
    assert_eq!(disk.files()["ledger_1-2.committed"], closed);
    assert!(!disk.files().contains_key("ledger_1"));
    assert_eq!(log.close_one(&mut disk), Ok(None));
}

#[test]
fn an_entry_over_the_chunk_size_is_a_chunk_of_its_own() {
    let mut disk = MemDisk::default();
    let mut log = ChunkLog::recover(&mut disk, "ledger", 40, Some(Span::default())).expect("opens");
    let big = vec![1; 3000];
    let staged =
        log.stage(&mut disk, &[(1, &big), (2, b""), (3, &big), (4, b"x")]).expect("writes");
    log.commit(staged);
    while log.close_one(&mut disk).expect("closes").is_some() {}
    let names: Vec<_> = disk.files().into_keys().collect();
    assert_eq!(names, ["ledger_1-1.committed", "ledger_2-3.committed", "ledger_4"]);
    for (id, payload) in [(1, &big[..]), (2, b""), (3, &big), (4, b"x")] {
        assert_eq!(log.get(&disk, id).expect("reads").as_deref(), Some(payload));
    }
    assert_eq!(log.head(), Some(5));
}

#[test]
fn entries_that_no_frame_covers_are_cut() {
    let mut disk = MemDisk::default();
    let mut log =
        ChunkLog::recover(&mut disk, "ledger", 100, Some(Span::default())).expect("opens");
    for id in 1..10 {
        let staged = log.stage(&mut disk, &[(id, &[7; 30])]).expect("writes");
        log.commit(staged);
    }
    for head in [10, 9, 8, 7, 6, 5, 4, 3, 2, 0] {
        let first = u64::from(head > 0);
        let log = ChunkLog::recover(&mut disk, "ledger", 100, Some(Span { first, next: head }))
            .expect("opens");
        assert_eq!(log.head().unwrap_or(0), head);
        assert_eq!(log.get(&disk, head), Ok(None));
        // Nothing of them is left behind the end, either.
        let files = disk.files();
        let open = files.get(&format!("ledger_{}", (head.max(2) - 2) / 3 * 3 + 1));
        let last = open.and_then(|bytes| bytes.iter().rposition(|byte| *byte != 0));
        let entries = (head.max(2) as usize - 2) % 3 + 1;
        assert!(last.is_none_or(|last| last == 7 + 46 * entries), "{head}: {last:?}");
        assert_eq!(open.is_some(), head > 0);
    }
    assert_eq!(disk.files().len(), 0);
}

#[test]
fn space_is_zeroed_ahead_in_fitting_steps() {
    assert_eq!(step(4 << 20), STEP);
    assert_eq!(step(16 << 20), STEP);
    assert_eq!(step(300), 512);
}
