//! Every kind of traitor by itself: `f` of a kind do no harm, and `f + 1` of those that can stop or
//! split a committee are seen.

use quorate_simulator::faults::{self, Faults};
use quorate_simulator::keyed::KeyedGeneration;
use quorate_simulator::traitor::{Traitor, Treason};
use quorate_simulator::world::{Outcome, PoaWorld};
use quorate_simulator::{Crypto, Options, Protocol, guarded, plan};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A seed with these traitors, under its own faults or under none.
fn run(nodes: usize, traitors: &[Treason], seed: u64, quiet: bool) -> Outcome {
    let crypto = Crypto::Mixed;
    let options = Options {
        protocol: Protocol::Poa,
        nodes,
        faulty: 0,
        first: seed,
        seeds: 1,
        crypto,
        trace: false,
    };
    let mut plan = plan(&options, seed);
    plan.traitors = traitors.to_vec();
    if quiet {
        plan.faults = Faults::none();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        plan.schedule = faults::schedule(&mut rng, &plan.faults, plan.nodes(), plan.faulty_ms);
    }
    guarded(|| PoaWorld::<Traitor<KeyedGeneration>>::new(seed, plan).run())
}

fn borne(nodes: usize, traitors: &[Treason], seeds: std::ops::Range<u64>) {
    for seed in seeds {
        // Every other seed is quiet, so that a violation is the traitors' work alone.
        let outcome = run(nodes, traitors, seed, seed % 2 == 0);
        assert_eq!(outcome.violation, None, "{traitors:?} among {nodes}, seed {seed}");
        for treason in traitors {
            assert!(outcome.faults.0.contains_key(treason.name()), "{treason:?} did not betray");
        }
    }
}

#[test]
fn one_of_four_of_each_kind() {
    for treason in Treason::ALL {
        borne(4, &[treason], 1..5);
    }
}

/// A status with the greatest of all numbers stopped every producer that had a block to certify.
#[test]
fn false_statuses_of_one_in_four() {
    borne(4, &[Treason::FalseHistorian], 5..17);
}

#[test]
fn two_of_seven() {
    borne(7, &[Treason::Twins, Treason::Twins], 1..3);
    borne(7, &[Treason::FalseHistorian, Treason::Amnesiac], 1..3);
    borne(7, &[Treason::WrongBallots, Treason::Echo], 1..3);
    borne(7, &[Treason::Twins, Treason::DoubleVoter], 1..3);
}

#[test]
fn names_are_unique_and_can_be_read() {
    let names: std::collections::BTreeSet<_> = Treason::ALL.iter().map(|t| t.name()).collect();
    assert_eq!(names.len(), Treason::ALL.len());
    for treason in Treason::ALL {
        assert_eq!(Treason::from_name(treason.name()), Some(treason));
    }
    assert_eq!(Treason::from_name("loyal"), None);
}

/// The checker is checked, kind by kind: without any other fault.
#[test]
fn one_too_many_of_a_kind_is_seen() {
    for treason in Treason::ALL.into_iter().filter(|treason| treason.breaks_beyond_f()) {
        let seen = (1..13).find_map(|seed| run(4, &[treason, treason], seed, true).violation);
        assert!(seen.is_some(), "two of four that {} went unnoticed", treason.name());
    }
}
