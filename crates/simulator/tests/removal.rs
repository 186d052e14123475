//! A dead producer is removed, in committees of every small size: with one of two or three gone the
//! view itself can order nothing any more.

use quorate_simulator::faults::Faults;
use quorate_simulator::keyed::KeyedGeneration;
use quorate_simulator::traitor::Traitor;
use quorate_simulator::world::{Plan, PoaWorld};

fn removed(producers: usize, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let plan = Plan {
            groups: 1,
            producers,
            users: 1,
            joiners: 0,
            traitors: Vec::new(),
            faults: Faults::none(),
            schedule: Vec::new(),
            faulty_ms: 0,
            heal_ms: 60_000,
            posts: 5,
            interval_ms: 500,
            trace: false,
        };
        let outcome = PoaWorld::<Traitor<KeyedGeneration>>::new(seed, plan).run_removal();
        assert_eq!(outcome.violation, None, "{producers} producers, seed {seed}");
        let waited = outcome.recovery_ms.expect("it was removed");
        assert!(waited < 30_000, "{producers} producers, seed {seed}: {waited} ms");
    }
}

#[test]
fn one_of_two() {
    removed(2, 0..40);
}

#[test]
fn one_of_three() {
    removed(3, 0..40);
}

#[test]
fn one_of_four() {
    removed(4, 0..20);
}

#[test]
fn one_of_seven() {
    removed(7, 0..5);
}
