//! The seeds of `make test`: whole networks under faults, at least 2,000 of them. One seed in
//! twenty runs the real threshold cryptography.

use quorate_simulator::{Crypto, Options, Protocol, Report, run};

fn options(nodes: usize, faulty: usize, first: u64, seeds: u64) -> Options {
    Options {
        protocol: Protocol::Poa,
        nodes,
        faulty,
        first,
        seeds,
        crypto: Crypto::Mixed,
        trace: false,
    }
}

fn hold(nodes: usize, faulty: usize, first: u64, seeds: u64) -> Report {
    let report = run(&options(nodes, faulty, first, seeds), |_, _| {});
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.decisions > seeds, "only {} blocks in {seeds} seeds", report.decisions);
    report
}

#[test]
fn one_producer() {
    hold(1, 0, 1, 500);
}

#[test]
fn two_producers() {
    hold(2, 0, 1, 400);
}

#[test]
fn three_producers() {
    hold(3, 0, 1, 300);
}

#[test]
fn four_honest_producers() {
    // Without a traitor a producer may lose its disk, too.
    let report = hold(4, 0, 1, 200);
    for (kind, _) in quorate_simulator::faults::KINDS {
        assert!(report.faults.contains_key(kind), "no {kind} in 200 seeds");
    }
}

#[test]
fn four_producers_with_a_traitor() {
    let report = hold(4, 1, 1, 200);
    for treason in quorate_simulator::traitor::Treason::ALL {
        assert!(report.faults.contains_key(treason.name()), "no {treason:?} in 200 seeds");
    }
}

#[test]
fn four_producers_with_a_traitor_and_more_seeds() {
    hold(4, 1, 1_000, 240);
}

#[test]
fn seven_producers_with_two_traitors() {
    hold(7, 2, 1, 65);
}

#[test]
fn seven_producers_with_one_traitor() {
    hold(7, 1, 1_000, 65);
}

#[test]
fn ten_producers_with_three_traitors() {
    hold(10, 3, 1, 35);
}

/// Bugs that the simulator found, each with the seed that showed it. Kept for ever; the schedule of
/// a seed may change with the code, the bug must not come back.
#[test]
fn seeds_of_bugs_hold() {
    // Two producers whose statuses were less than half a second apart never sent each other again
    // what was lost: an answer used up its sender's turn.
    hold(2, 0, 39, 1);
    hold(3, 0, 38, 1);
    hold(4, 1, 2, 1);
    // A driver that could not make its last blocks durable answered reads from them all the same.
    hold(1, 0, 59, 1);
    hold(1, 0, 79, 1);
    // A driver whose first turn after a restart met a failing disk showed a head that was not
    // durable.
    hold(1, 0, 70, 1);
    hold(1, 0, 98, 1);
    // A producer whose ledger had lost its end, so far that it led to the view before, could no
    // longer use its keys when it was back in its view.
    hold(2, 0, 91, 1);
    hold(4, 1, 1_104, 1);
    // A repair whose own writes a lying disk misdirected was taken for damage that no repair cures.
    hold(1, 0, 229, 1);
    hold(7, 2, 41, 1);
    // The checker took it for an early coin share when a producer came, behind its own notes, to an
    // epoch in which it had given that share.
    hold(4, 1, 501, 1);
    hold(4, 1, 660, 1);
    hold(7, 2, 93, 1);
    // Two flooders answered each other's floods with more, until no memory was left.
    hold(10, 3, 127, 1);
    hold(10, 3, 173, 1);
    // A disk that failed while blocks were read, after a restart, was taken for one that lost them.
    hold(7, 2, 1_621, 1);
    // A client that read in the microsecond in which a turn ended was before what the turn released.
    hold(1, 0, 409, 1);
}

#[test]
fn the_same_seed_gives_the_same_digest() {
    for (nodes, faulty) in [(1, 0), (4, 1), (7, 2)] {
        let (one, two) = (hold(nodes, faulty, 7, 3), hold(nodes, faulty, 7, 3));
        assert_eq!(one.digest, two.digest);
        assert_eq!(one.faults, two.faults);
        assert_ne!(one.digest, hold(nodes, faulty, 10, 3).digest, "another seed, another run");
    }
}

/// The checker is checked: with more traitors than a committee tolerates, properties fail.
#[test]
fn one_traitor_too_many_is_seen() {
    let report = run(&options(4, 2, 1, 12), |_, _| {});
    assert!(!report.failures.is_empty(), "two traitors of four went unnoticed");
    let first = &report.failures[0];
    assert!(first.replay.contains(&format!("--seed {}", first.seed)), "{}", first.replay);
}
