//! The model's runs: within bounds nothing is wrong, and broken participants are seen.

use super::*;

/// Explores, and shows what was found.
fn run(name: &str, cast: Cast) -> Findings {
    let (bounds, heal) = (cast.bounds, cast.heal);
    let findings = cast.explore();
    let Findings { states, starts, violated, .. } = &findings;
    let violated = violated.len();
    eprintln!(
        "{name}: {states} states from {starts}, {bounds:?}, heal {heal}, {violated} violated"
    );
    findings
}

fn holds(name: &str, bounds: Bounds, sights: &[&str]) {
    let findings = run(name, Cast::new(bounds));
    assert!(findings.violated.is_empty(), "{}", findings.violated.join("\n"));
    for sight in sights {
        assert!(findings.seen.contains(sight), "{name}: {sight} is never seen");
    }
}

fn breaks(name: &str, cast: Cast) {
    let findings = run(name, cast);
    assert!(!findings.violated.is_empty(), "{name} is not seen");
}

#[test]
fn a_fault_at_any_point_is_survived() {
    let bounds = Bounds { moves: 4, faults: 1, ..Bounds::default() };
    holds("a fault", bounds, &["SUCCESS", "SUCCESS after a crash"]);
}

#[test]
fn a_timer_or_a_newer_request_at_any_point_leaves_one_result_each() {
    let bounds = Bounds { moves: 4, faults: 0, jumps: 1, requests: 1 };
    holds("time and a newer request", bounds, &["SUCCESS", "TIMEOUT", "FAILED"]);
}

/// `make sim-long` runs it.
#[test]
#[ignore = "minutes"]
fn faults_timers_and_a_newer_request_together_are_survived() {
    let bounds = Bounds { moves: 4, faults: 2, jumps: 1, requests: 1 };
    holds("all", bounds, &SIGHTS);
}

#[test]
fn a_forgotten_result_and_a_forgotten_request_are_seen() {
    let cast = |kind, bounds| Cast { forgets: Some(kind), heal: 8, ..Cast::new(bounds) };
    let bounds = Bounds { moves: 2, faults: 1, jumps: 1, requests: 0 };
    breaks("the owner forgets its result", cast(6, bounds));
    let bounds = Bounds { moves: 1, faults: 1, ..Bounds::default() };
    breaks("a participant forgets the request", cast(1, bounds));
}
