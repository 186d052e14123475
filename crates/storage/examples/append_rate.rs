//! Measures appends per second on a real disk: `append_rate <directory> [seconds]`.
//!
//! Small: 64 notes of 300 bytes per append. Large: one block of 300 KiB per append, with its
//! certificate and a note, as one epoch of a busy group.

#![allow(clippy::print_stdout, reason = "a measuring program prints what it measured")]

use std::time::{Duration, Instant};

use quorate_consensus::core::{Journal, Record, Topic};
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::ids::BlockId;
use quorate_storage::disk::RealDisk;
use quorate_storage::store::{GroupStore, Options};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn trx_ids(_block: &[u8]) -> Vec<[u8; 16]> {
    Vec::new()
}

fn notes(turn: u64, count: u64) -> Vec<Record> {
    let note = |n: u64| Record::Note {
        topic: Topic::Pool,
        // Keys come again after a while, as trxs leave the pool.
        key: ((turn * count + n) % 10_000).to_be_bytes().to_vec(),
        bytes: vec![n as u8 | 1; 300].into(),
    };
    (0..count).map(note).collect()
}

fn block(turn: u64) -> Vec<Record> {
    let id = BlockId(turn + 1);
    let trx_ids = (0..1000u64).map(|n| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&turn.to_be_bytes());
        key[8..].copy_from_slice(&n.to_be_bytes());
        key
    });
    let mut records = notes(turn, 1);
    records.push(Record::Block {
        id,
        bytes: vec![7; 300 << 10].into(),
        trx_ids: trx_ids.collect(),
    });
    records.push(Record::Certificate { id, bytes: vec![9; 400].into() });
    records
}

fn measure(name: &str, dir: &str, seconds: u64, records: impl Fn(u64) -> Vec<Record>) {
    let disk = RealDisk::open(format!("{dir}/{name}")).expect("the directory can be made");
    let options = Options::new(SymmetricKey([1; 32]), ChaCha20Rng::seed_from_u64(1), trx_ids);
    let (mut store, _) = GroupStore::open(disk, options).expect("a fresh store opens");
    let mut latencies = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let records = records(latencies.len() as u64);
        let start = Instant::now();
        store.append(&records).expect("appends");
        latencies.push(start.elapsed());
    }
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "{name}: {rate:.0} appends/s; latency p50 {:?} p99 {:?} max {:?}; {:?}",
        at(50),
        at(99),
        at(100),
        store.stats()
    );
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("usage: append_rate <directory> [seconds]");
    let seconds = args.next().map_or(5, |text| text.parse().expect("seconds are a number"));
    measure("notes", &dir, seconds, |turn| notes(turn, 64));
    measure("blocks", &dir, seconds, block);
}
