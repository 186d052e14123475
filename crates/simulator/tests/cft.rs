//! Signed Raft: whole members under the faults of crashing machines and their network.

use quorate_simulator::faults::{Faults, KINDS};
use quorate_simulator::{Crypto, Options, Protocol, Report, run, run_knob};

fn options(nodes: usize, first: u64, seeds: u64) -> Options {
    let (protocol, crypto) = (Protocol::Cft, Crypto::Mixed);
    Options { protocol, nodes, faulty: 0, first, seeds, crypto, trace: false }
}

fn hold(nodes: usize, first: u64, seeds: u64) -> Report {
    let more = std::env::var("QUORATE_CFT_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds = more.unwrap_or(seeds);
    let report = run(&options(nodes, first, seeds), |_, _| {});
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.decisions > 20 * seeds, "only {} transactions", report.decisions);
    report
}

/// Bugs that were found: group size and seed. See RELIABILITY.md.
const FOUND: [(usize, u64); 31] = [
    (3, 37),
    (1, 234),
    (5, 99),
    (7, 69),
    (5, 165),
    (4, 223),
    (5, 33),
    (3, 190),
    (4, 471),
    (4, 17),
    (7, 280),
    (3, 15),
    (3, 1611),
    (3, 1999),
    (3, 2726),
    (5, 842),
    (5, 907),
    (5, 2825),
    (5, 4631),
    (4, 410),
    (1, 1359),
    (3, 12),
    (3, 16),
    (3, 34),
    (3, 873),
    (3, 1063),
    (3, 1090),
    (5, 200_521),
    (4, 300_253),
    (3, 201_055),
    (3, 300_618),
];

#[test]
fn seeds_that_found_bugs_hold() {
    for (nodes, seed) in FOUND {
        let report = run(&options(nodes, seed, 1), |_, _| {});
        assert!(report.failures.is_empty(), "{nodes} members: {:#?}", report.failures);
        assert!(report.decisions > 0, "{nodes} members, seed {seed}: nothing was decided");
    }
}

#[test]
fn one_member() {
    hold(1, 1, 60);
}

#[test]
fn three_members() {
    let report = hold(3, 1, 200);
    // Members read seldom.
    for (kind, _) in KINDS.iter().filter(|(kind, _)| *kind != "read_error") {
        assert!(report.faults.contains_key(kind), "no {kind} in 200 seeds");
    }
    assert!(report.faults.contains_key("node_lost"), "no node has lost its disk");
    let lives = |kind| report.faults.get(kind).copied().unwrap_or_default();
    assert!(lives("second_life") > 20, "only {} groups were recovered", lives("second_life"));
    assert_eq!(lives("second_life"), lives("second_life_lived"));
}

#[test]
fn four_members() {
    hold(4, 1, 60);
}

#[test]
fn five_members() {
    hold(5, 1, 60);
}

#[test]
fn each_knob_alone() {
    for (knob, _) in Faults::KNOBS {
        for seed in 1..4 {
            let outcome = run_knob(&options(3, seed, 1), knob, seed);
            assert!(outcome.violation.is_none(), "{knob}, seed {seed}: {:?}", outcome.violation);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_digest() {
    // One of them has real keys.
    let (one, two) = (hold(3, 18, 5), hold(3, 18, 5));
    assert_eq!(one.digest, two.digest);
    assert_eq!(one.faults, two.faults);
    assert_ne!(one.digest, hold(3, 38, 5).digest, "another seed, another run");
}

#[test]
fn seven_members() {
    hold(7, 1, 40);
}
