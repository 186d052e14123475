use super::*;
use crate::faults::{Blow, Harm, Outage};

fn crash(node: usize, at_ms: u64) -> Blow {
    let outage = Outage { fuse: None, back_after_ms: 100, harm: Harm::None };
    Blow { at_ms, misfortune: Misfortune::Crash([(node, outage)].into()) }
}

fn plan() -> Plan {
    Plan {
        groups: 2,
        producers: 4,
        users: 1,
        joiners: 1,
        traitors: Vec::new(),
        faults: Faults { drop: 0.1, clog: 0.2, corrupt: 0.3, delay_ms: 500, ..Faults::default() },
        schedule: (0..20).map(|n| crash(n % 6, n as u64 * 100)).collect(),
        faulty_ms: 8_000,
        heal_ms: 1,
        posts: 30,
        interval_ms: 500,
        trace: false,
    }
}

/// Fails if packets are dropped, and node 1 crashes after node 3.
fn fails(plan: &Plan) -> Option<Violation> {
    let crashes = |node: usize| {
        plan.schedule.iter().position(|blow| match &blow.misfortune {
            Misfortune::Crash(outages) => outages.contains_key(&node),
            _ => false,
        })
    };
    let order =
        crashes(3).is_some() && plan.schedule.iter().rposition(|b| b.at_ms == 1_300) > crashes(3);
    (plan.faults.drop > 0.0 && order).then(|| Violation::new("agreement", "two blocks"))
}

#[test]
fn what_is_left_is_what_the_failure_needs() {
    let shrunk = shrink(&plan(), 500, |plan| fails(&plan)).expect("it fails");
    assert_eq!(shrunk.violation.property, "agreement");
    assert_eq!(shrunk.blows, (20, 2), "{}", shrunk.reduction);
    let mut left = plan();
    shrunk.reduction.apply(&mut left);
    assert_eq!((left.users, left.joiners, left.groups, left.posts), (0, 0, 1, 0));
    assert!(left.faults.drop > 0.0);
    assert_eq!((left.faults.clog, left.faults.corrupt), (0.0, 0.0));
    assert_eq!(left.faults.delay_ms, CALM_DELAY_MS);
    assert!(left.faulty_ms < 3_000 && left.faulty_ms > 1_300, "{}", left.faulty_ms);
    assert!(fails(&left).is_some());
}

#[test]
fn a_plan_that_holds_is_not_shrunk() {
    assert!(shrink(&plan(), 500, |_| None).is_none());
}

#[test]
fn another_property_is_another_failure() {
    let mut runs = 0;
    let shrunk = shrink(&plan(), 50, |_| {
        runs += 1;
        let property = if runs == 1 { "agreement" } else { "durability" };
        Some(Violation::new(property, ""))
    });
    assert_eq!(shrunk.expect("it fails").reduction, Reduction::default());
}

#[test]
fn the_text_of_a_reduction_says_it_all() {
    let text = "calm=corrupt,delay,drop;skip=0-3,7,9-10;posts=4;faulty_ms=2500;alone";
    let reduction: Reduction = text.parse().expect("a reduction");
    assert_eq!(reduction.to_string(), text);
    assert_eq!("".parse(), Ok(Reduction::default()));
    for wrong in ["calm=rain", "skip=x", "skip=0-99999999999", "posts=", "alone=1", "more"] {
        let error = wrong.parse::<Reduction>().expect_err(wrong).to_string();
        assert!(error.contains(wrong), "{error}");
    }
}
