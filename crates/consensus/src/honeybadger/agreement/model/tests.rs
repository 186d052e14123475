//! The model's runs: within bounds nothing is wrong, and broken members are seen.

use super::*;

/// Explores, and shows what was found.
fn run(name: &str, table: Table, wanted: HasDiscoveries) -> Findings {
    let findings = table.explore(wanted);
    let Findings { states, depth, violated, .. } = &findings;
    eprintln!("{name}: {states} states, depth {depth}, {} violated", violated.len());
    findings
}

fn holds(name: &str, table: Table) -> usize {
    let findings = run(name, table, HasDiscoveries::AnyFailures);
    assert!(findings.violated.is_empty(), "{}", findings.violated.join("\n"));
    assert_eq!(findings.seen, SIGHTS, "the model is no good if nothing happens in it");
    findings.states
}

fn breaks(name: &str, rule: &'static str, table: Table) {
    let findings = run(name, table, HasDiscoveries::AllOf([rule].into()));
    let found = findings.violated.iter().any(|violated| violated.starts_with(rule));
    assert!(found, "{name}: {rule} is not seen to be broken: {:?}", findings.violated);
}

#[test]
fn no_state_of_one_round_breaks_a_rule() {
    let findings = run("one round", Table::new(1, 1), HasDiscoveries::AnyFailures);
    assert!(findings.violated.is_empty(), "{}", findings.violated.join("\n"));
    assert!(findings.seen.contains(&SIGHTS[1]), "round 0 decides 1");
}

#[test]
fn no_state_of_two_rounds_with_one_input_breaks_a_rule() {
    for (value, sight) in [(false, SIGHTS[0]), (true, SIGHTS[1])] {
        let table = Table { inputs: vec![[value; 3]], ..Table::new(2, 2) };
        let name = format!("two rounds, all with {value}");
        let findings = run(&name, table, HasDiscoveries::AnyFailures);
        assert!(findings.violated.is_empty(), "{}", findings.violated.join("\n"));
        assert!(findings.seen.contains(&sight), "the input is decided");
    }
}

/// `make sim-long` runs it.
#[test]
#[ignore = "minutes"]
fn no_state_of_two_rounds_breaks_a_rule() {
    holds("two rounds", Table { most: 10_000_000, ..Table::new(2, 1) });
}

#[test]
fn thresholds_of_a_smaller_committee_are_seen_to_be_wrong() {
    let of = |size| Table { committee: Committee::new(size), ..Table::new(2, 2) };
    breaks("f = 0", "validity", Table { inputs: vec![[false; 3]], ..of(3) });
    breaks("n - f = 2", "agreement", Table { inputs: vec![[false, true, true]], ..of(2) });
}

#[test]
fn forgotten_votes_are_seen() {
    for kind in [Kind::Aux, Kind::Conf, Kind::Term] {
        let table = Table { forgets: Some(kind), ..Table::new(2, 2) };
        breaks(&format!("forgets {kind:?}"), "integrity", table);
    }
}

/// Each member tosses for itself: safe as long as the coins are fixed, not afterwards.
#[test]
#[ignore = "minutes"]
fn local_coins_are_seen_to_be_wrong() {
    let coin = |seed, round| {
        let coin: Coin<Unkeyed> = Coin::Public { seed, proposer: NodeIndex(0) };
        matches!(coin.toss(round), crate::honeybadger::coin::Toss::Known(true))
    };
    let seeds: Vec<Digest> = (0..=255).map(|byte| Digest([byte; 32])).collect();
    let heads = seeds.iter().find(|seed| coin(**seed, 2) && !coin(**seed, 3));
    let tails = seeds.iter().find(|seed| !coin(**seed, 2) && coin(**seed, 3));
    let seeds = vec![*heads.expect("one of many"), *tails.expect("one of many")];
    breaks("local coins", "agreement", Table { seeds, heal: u64::MAX, ..Table::new(4, 1) });
}
