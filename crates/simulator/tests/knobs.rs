//! Each knob alone, at a high rate. What fails here is easier to read than a swarm.

use quorate_simulator::faults::Faults;
use quorate_simulator::{Crypto, Options, Protocol, run_knob};

fn alone(nodes: usize, faulty: usize, first: u64, seeds: u64) {
    let options = Options {
        protocol: Protocol::Poa,
        nodes,
        faulty,
        first,
        seeds,
        crypto: Crypto::Mixed,
        trace: false,
    };
    for (knob, _) in Faults::KNOBS {
        for seed in first..first + seeds {
            let outcome = run_knob(&options, knob, seed);
            assert!(outcome.violation.is_none(), "{knob}, seed {seed}: {:?}", outcome.violation);
        }
    }
}

#[test]
fn two_producers() {
    alone(2, 0, 1, 4);
}

#[test]
fn four_producers() {
    alone(4, 0, 1, 3);
}

#[test]
fn four_producers_with_a_traitor() {
    alone(4, 1, 5_000, 2);
}

/// Bugs that a knob alone showed, each with its seed.
#[test]
fn bugs_stay_away() {
    let options = Options {
        protocol: Protocol::Poa,
        nodes: 4,
        faulty: 0,
        first: 1,
        seeds: 1,
        crypto: Crypto::Mixed,
        trace: false,
    };
    let bugs = [
        // A producer whose ledger had lost its end decided the epoch it had noted on top of what was
        // left, and signed a second block of an id.
        ("truncate", 2),
        ("bit_flip", 2),
        // After a repair there were blocks without certificates, and the node did not start.
        ("bit_flip", 3),
        ("truncate", 6),
        ("misdirect", 6),
        ("rot", 5),
    ];
    for (knob, seed) in bugs {
        let outcome = run_knob(&options, knob, seed);
        assert!(outcome.violation.is_none(), "{knob}, seed {seed}: {:?}", outcome.violation);
    }
}
