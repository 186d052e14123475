use std::sync::Arc;

use quorate_consensus::core::Topic;
use rand_core::Rng;

use super::{Heads, Live, NoteLog, Op, encode_frame, read_segment};
use crate::chunk::Span;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::testing::{MemDisk, rng};

fn set(topic: Topic, key: &[u8], value: &[u8]) -> Op {
    Op::Note { topic, key: key.to_vec(), bytes: value.into() }
}

fn keys(live: &Live) -> Vec<Vec<u8>> {
    live.notes().into_iter().map(|n| n.1).collect()
}

const HEADS: Heads =
    Heads { blocks: Span { first: 1, next: 7 }, certificates: Span { first: 1, next: 6 } };

#[test]
fn notes_come_in_the_order_of_first_writing() {
    let mut live = Live::default();
    for key in [b"c", b"a", b"b"] {
        live.apply(set(Topic::Vote, key, b"1"));
    }
    live.apply(set(Topic::Vote, b"c", b"2"));
    assert_eq!(keys(&live), [b"c", b"a", b"b"]);
    // Removed and written again: first written now.
    live.apply(set(Topic::Vote, b"c", b""));
    live.apply(set(Topic::Vote, b"c", b"3"));
    assert_eq!(keys(&live), [b"a", b"b", b"c"]);
    for key in [b"a", b"b", b"c"] {
        live.apply(set(Topic::Vote, key, b""));
    }
    assert_eq!(live.counts(), (0, 0));
}

#[test]
fn forgetting_takes_the_prefix_of_the_topic_only() {
    let mut live = Live::default();
    let all: [(Topic, &[u8]); 6] = [
        (Topic::Vote, &[1]),
        (Topic::Vote, &[1, 0]),
        (Topic::Vote, &[1, 255, 255]),
        (Topic::Vote, &[2]),
        (Topic::Pool, &[1, 7]),
        (Topic::Vote, &[0, 1]),
    ];
    for (topic, key) in all {
        live.apply(set(topic, key, b"x"));
    }
    live.apply(Op::Forget { topic: Topic::Vote, prefix: vec![1] });
    assert_eq!(keys(&live), [vec![2], vec![1, 7], vec![0, 1]]);
    live.apply(Op::Forget { topic: Topic::Vote, prefix: Vec::new() });
    assert_eq!(keys(&live), [[1, 7]]);
}

#[test]
fn operations_survive_encoding() {
    let ops = vec![
        set(Topic::Group, b"", b"value"),
        set(Topic::Change, b"key", b""),
        Op::Forget { topic: Topic::Pool, prefix: b"p".to_vec() },
        Op::SecretSet { name: "view-1".to_owned(), version: u64::MAX },
        Op::SecretDrop { name: "x".to_owned() },
        Op::Snapshot { id: 9 },
    ];
    let frame = encode_frame(&[3; 16], 5, HEADS, &ops);
    let (sequence, payload, end) = super::parse_frame(&[3; 16], &frame, 0).expect("good");
    assert_eq!((sequence, end), (5, frame.len()));
    assert_eq!(super::decode_payload(payload), Some((HEADS, ops)));
    assert_eq!(super::parse_frame(&[4; 16], &frame, 0), None, "another segment's salt");
    for cut in 0..payload.len() {
        // No panic, whatever is cut off.
        let _ = super::decode_payload(&payload[..cut]);
    }
}

#[test]
fn a_payload_cannot_pose_as_a_frame() {
    // A stranger's trx holds whole frames with the numbers that come next, made without the salt.
    let mut disk = MemDisk::default();
    let mut log = NoteLog::create(&mut disk, 1, [9; 16], 1, Live::new(HEADS)).expect("creates");
    let forged: Vec<u8> =
        (2..40).flat_map(|n| encode_frame(&[0; 16], n, Heads::default(), &[])).collect();
    log.append(&mut disk, HEADS, vec![set(Topic::Pool, b"trx", &forged)]).expect("appends");
    // Its frame is torn, so it was never said to be durable.
    disk.tamper("journal_1", |bytes| bytes[130] ^= 1);
    disk.lose(crate::witness::FILE);
    let log = NoteLog::recover(&mut disk).expect("not corrupt").expect("there");
    assert_eq!(log.live(), &Live::new(HEADS));
}

#[test]
fn garbage_is_refused_without_a_panic() {
    let mut rng = rng(3);
    let mut disk = MemDisk::default();
    let mut log = NoteLog::create(&mut disk, 1, [9; 16], 1, Live::default()).expect("creates");
    for n in 0..5u8 {
        log.append(&mut disk, HEADS, vec![set(Topic::Vote, &[n], &[n; 30])]).expect("appends");
    }
    let sound = disk.files()["journal_1"].clone();
    for _ in 0..3000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + rng.next_u32() % 4 {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = rng.next_u32() as u8;
        }
        bytes.truncate(rng.next_u32() as usize % (2 * bytes.len()));
        disk.tamper("journal_1", |file| *file = bytes);
        for salvage in [false, true] {
            match read_segment(&disk, 1, salvage) {
                Ok(segment) => assert!(segment.frames <= 6),
                Err(error) => assert!(matches!(error, StoreError::Corrupt(_))),
            }
        }
    }
}

#[test]
fn compaction_keeps_order_heads_and_all_that_lives() {
    let mut disk = MemDisk::default();
    let mut log = NoteLog::create(&mut disk, 1, [9; 16], 1, Live::default()).expect("creates");
    let value: Arc<[u8]> = vec![5; 400_000].into();
    for n in [3u8, 1, 2, 9, 7] {
        let op = Op::Note { topic: Topic::Pool, key: vec![n], bytes: Arc::clone(&value) };
        log.append(&mut disk, HEADS, vec![op]).expect("appends");
    }
    let secret = Op::SecretSet { name: "s".to_owned(), version: 3 };
    log.append(&mut disk, HEADS, vec![secret, Op::Snapshot { id: 4 }]).expect("appends");
    log.append(&mut disk, HEADS, vec![set(Topic::Pool, &[1], b"")]).expect("appends");
    assert!(log.is_bloated(1000) == (log.bytes() > 2 * log.live().counts().1 + 200));
    let before = (log.live().notes(), log.live().secrets.clone(), log.live().snapshots.clone());
    log.compact(&mut disk, [8; 16]).expect("compacts");
    log.append(&mut disk, HEADS, vec![set(Topic::Vote, b"later", b"v")]).expect("appends");
    let log = NoteLog::recover(&mut disk).expect("good").expect("there");
    let mut notes = log.live().notes();
    assert_eq!(notes.pop().map(|n| n.1), Some(b"later".to_vec()));
    assert_eq!((notes, log.live().secrets.clone(), log.live().snapshots.clone()), before);
    assert_eq!(log.live().heads, HEADS);
    assert!(!disk.exists("journal_1").expect("asks"));
}
