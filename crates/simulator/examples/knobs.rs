//! Each knob alone, at a high rate: what the swarm mixes, one by one; or the swarm itself.
//!
//! `cargo run --release -p quorate-simulator --example knobs -- NODES FAULTY FIRST SEEDS [KNOB...]`
//!
//! With `PROTOCOL=cft` in the environment: signed Raft.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use quorate_crypto::hash::{Digest, sha256_concat};
use quorate_simulator::faults::{Counts, Faults};
use quorate_simulator::{Crypto, Options, Protocol, run_knob, run_seed};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut number = |usual: u64| match args.next() {
        Some(text) => text.parse().expect("a number"),
        None => usual,
    };
    let (nodes, faulty, first, seeds) = (number(4), number(0), number(1), number(20));
    let chosen: Vec<String> = args.collect();
    let options = Options {
        protocol: match std::env::var("PROTOCOL") {
            Ok(name) => Protocol::from_name(&name).expect("a protocol"),
            Err(_) => Protocol::Poa,
        },
        nodes: nodes as usize,
        faulty: faulty as usize,
        first,
        seeds,
        crypto: Crypto::Mixed,
        trace: std::env::var_os("TRACE").is_some(),
    };
    let mut failed = false;
    for knob in Faults::KNOBS.into_iter().map(|(knob, _)| knob).chain(["swarm"]) {
        if !chosen.iter().any(|name| name == knob) && (knob == "swarm" || !chosen.is_empty()) {
            continue;
        }
        let (mut counts, mut failures) = (Counts::default(), BTreeMap::new());
        let (mut virtual_ms, mut digest) = (0, Digest::default());
        for seed in first..first + seeds {
            let outcome = match knob {
                "swarm" => run_seed(&options, seed),
                knob => run_knob(&options, knob, seed),
            };
            counts.merge(&outcome.faults);
            digest = sha256_concat(&[&digest.0, &outcome.digest.0]);
            virtual_ms += outcome.virtual_ms;
            if let Some(violation) = outcome.violation {
                failures.insert(seed, violation);
            }
        }
        let seconds = virtual_ms / 1_000;
        print!("{knob}: {} of {seeds} seeds failed in {seconds} virtual s; ", failures.len());
        println!("digest {digest}; {:?}", counts.0);
        for (seed, violation) in &failures {
            println!("  seed {seed}: {} ({})", violation.property, violation.detail);
        }
        failed |= !failures.is_empty();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
