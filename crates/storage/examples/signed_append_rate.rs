//! Measures appends per second of a signed log on a real disk: `signed_append_rate <directory>
//! [seconds] [entries] [bytes]`. By default 64 entries of 400 bytes per append.

#![allow(clippy::print_stdout, reason = "a measuring program prints what it measured")]

use std::time::{Duration, Instant};

use quorate_consensus::core::Durable as _;
use quorate_consensus::raft::{Entry, Kind, LogRecord};
use quorate_crypto::cipher::SymmetricKey;
use quorate_storage::disk::RealDisk;
use quorate_storage::signed::{Options, SignedLog};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// A chunk ends after about this many bytes.
const CHUNK: u64 = 5_000_000;

fn entry(seqno: u64, len: usize) -> LogRecord {
    let ends = seqno * len as u64 / CHUNK != (seqno + 1) * len as u64 / CHUNK;
    let mut bytes = vec![1, u8::from(ends)];
    bytes.extend_from_slice(&((len - 8) as u64).to_le_bytes()[..6]);
    bytes.extend((8..len).map(|i| (i as u64 + seqno) as u8));
    LogRecord::Append(Entry { view: 2, seqno, kind: Kind::Raw, bytes: bytes.into() })
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir =
        args.next().expect("usage: signed_append_rate <directory> [seconds] [entries] [bytes]");
    let mut number = |default| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (seconds, count, len) = (number(5), number(64), number(400));
    let disk = RealDisk::open(dir).expect("the directory can be made");
    let options = Options::new(SymmetricKey([1; 32]), ChaCha20Rng::seed_from_u64(1));
    let (mut log, recovered) = SignedLog::open(disk, options).expect("the log opens");
    let (mut next, mut latencies) = (recovered.last + 1, Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let records: Vec<_> =
            (next..next + count).map(|seqno| entry(seqno, len as usize)).collect();
        next += count;
        let start = Instant::now();
        log.append(&records).expect("appends");
        log.note_commit(next - 1);
        latencies.push(start.elapsed());
    }
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1000];
    println!(
        "{rate:.0} appends/s, {:.0} entries/s; p50 {:?} p99 {:?} p99.9 {:?} max {:?}; {:?}",
        rate * count as f64,
        at(500),
        at(990),
        at(999),
        at(1000),
        log.stats()
    );
}
