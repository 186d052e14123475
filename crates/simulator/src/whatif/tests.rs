use super::conditions::Conditions;
use super::costs::Costs;
use super::{Demand, Prediction, Scenario, WhatIfError, predict};

fn scenario(nodes: usize) -> Scenario {
    Scenario {
        nodes,
        conditions: Conditions {
            regions: vec!["here".to_owned(), "there".to_owned()],
            rtt_ms: vec![vec![1.0, 40.0], vec![40.0, 1.0]],
            bandwidth_mbit: 1_000,
            jitter_percent: 10,
            one_machine: false,
        },
        cores: 2,
        costs: Costs::invented(250),
        demand: Demand::UnderWay(100),
        trx_bytes: 250,
        interval_ms: 500,
        warm_up: 2,
        blocks: 4,
        crash: false,
        seed: 1,
    }
}

fn of(scenario: &Scenario) -> Prediction {
    predict(scenario, |_| {}).expect("blocks are made")
}

#[test]
fn the_same_seed_and_table_give_the_same_prediction() {
    for nodes in [4, 7] {
        let scenario = Scenario { crash: true, ..scenario(nodes) };
        let first = of(&scenario);
        assert_eq!(first, of(&scenario));
        assert_eq!((first.nodes, first.blocks), (nodes, 4));
        assert!(first.trx_per_second > 0.0 && first.latency_p50_ms > 0.0);
        let recovery = first.recovery.expect("a crash was asked for");
        assert!(recovery.down_ms >= 3_000.0 && recovery.catch_up_ms > 0.0);
    }
}

#[test]
fn farther_away_is_slower() {
    let near = scenario(4);
    let mut far = near.clone();
    far.conditions.rtt_ms = vec![vec![1.0, 400.0], vec![400.0, 1.0]];
    let (near, far) = (of(&near), of(&far));
    assert!(far.latency_p50_ms > near.latency_p50_ms, "{far:?} {near:?}");
    assert!(far.trx_per_second < near.trx_per_second, "{far:?} {near:?}");
}

#[test]
fn a_narrower_line_carries_less() {
    let wide = Scenario { demand: Demand::UnderWay(600), blocks: 2, ..scenario(4) };
    let mut narrow = wide.clone();
    narrow.conditions.bandwidth_mbit = 1;
    let (wide, narrow) = (of(&wide), of(&narrow));
    assert!(narrow.trx_per_second < wide.trx_per_second / 2.0, "{narrow:?} {wide:?}");
    assert!(narrow.sent_mbit_most <= 1.1, "{narrow:?}");
}

#[test]
fn dearer_operations_and_fewer_cores_are_slower() {
    let cheap = Scenario { demand: Demand::UnderWay(600), blocks: 2, cores: 1, ..scenario(4) };
    let mut dear = cheap.clone();
    dear.costs.trx_verify *= 100;
    dear.costs.trx_order *= 100;
    let (cheap, dear) = (of(&cheap), of(&dear));
    assert!(dear.trx_per_second < cheap.trx_per_second, "{dear:?} {cheap:?}");
    assert!(dear.busy_percent > cheap.busy_percent, "{dear:?} {cheap:?}");
}

#[test]
fn one_machine_shares_its_cores_with_the_clients() {
    let apart = Scenario { demand: Demand::Rate(400), ..scenario(4) };
    let together = Scenario { conditions: Conditions::loopback(), cores: 1, ..apart.clone() };
    let (apart, together) = (of(&apart), of(&together));
    assert!(together.busy_percent > apart.busy_percent, "{together:?} {apart:?}");
    assert!((together.trx_per_second - 400.0).abs() < 80.0, "{together:?}");
    assert_eq!(together.rate, Some(400));
}

#[test]
fn who_comes_back_catches_up_when_its_links_are_there() {
    let soon = Scenario { crash: true, ..scenario(4) };
    let mut late = soon.clone();
    late.costs.link_wait += 400_000_000;
    let mut far = soon.clone();
    far.conditions.rtt_ms = vec![vec![1.0, 400.0], vec![400.0, 1.0]];
    let catch_up = |scenario| of(scenario).recovery.expect("a crash was asked for").catch_up_ms;
    let at_once = catch_up(&soon);
    assert!(catch_up(&late) > at_once + 300.0);
    assert!(catch_up(&far) > at_once + 100.0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |scenario: Scenario| predict(&scenario, |_| {}).expect_err("refused");
    assert_eq!(refused(scenario(3)), WhatIfError::Nodes(3));
    assert_eq!(refused(scenario(101)), WhatIfError::Nodes(101));
    let none = Scenario { demand: Demand::UnderWay(0), ..scenario(4) };
    assert_eq!(refused(none), WhatIfError::Zero("load"));
    let other = Scenario { trx_bytes: 100, ..scenario(4) };
    assert!(refused(other).to_string().contains("measure again"));
    let mut wrong = scenario(4);
    wrong.conditions.rtt_ms.pop();
    assert!(refused(wrong).to_string().starts_with("rtt_ms"));
}
