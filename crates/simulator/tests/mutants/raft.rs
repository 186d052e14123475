//! Every known bug of protocols like signed Raft, made on purpose, is caught: by the scenario
//! written for it, or, for what is not written in time, by random scenarios with restarts.

use std::panic::catch_unwind;
use std::path::Path;

use quorate_ledger::mutants::{Mutant, activate};
use quorate_simulator::scenario::random::Taste;
use quorate_simulator::scenario::{self, Options};

use crate::raft_play::{Play, play};

/// What is written to catch each bug; without a name, random scenarios are.
const CATCHERS: [(Mutant, Option<&str>); 23] = [
    (Mutant::RaftUnionQuorum, Some("quorum_in_each_configuration")),
    (Mutant::RaftOldViewCounted, Some("old_view_is_not_counted")),
    (Mutant::RaftNackCounts, Some("nack_is_no_ack")),
    (Mutant::RaftCutOnFirstAppend, Some("no_cut_without_conflict")),
    (Mutant::RaftAckOwnEnd, Some("ack_ends_with_the_message")),
    (Mutant::RaftLeavesCompleted, Some("retired_leader_leads_on")),
    (Mutant::RaftCutOnFollowing, Some("no_cut_on_following")),
    (Mutant::RaftAnyQuorumHeard, Some("check_quorum_in_every_configuration")),
    (Mutant::RaftVoteFreedByFollowing, Some("one_vote_per_view")),
    (Mutant::RaftCommitBeyondMessage, Some("commit_within_the_message")),
    (Mutant::RaftNoCheckQuorum, Some("isolated_leader_steps_down")),
    (Mutant::RaftVoteByLastEntry, Some("vote_needs_last_signature")),
    (Mutant::RaftKeepsUnsigned, Some("unsigned_suffix_dropped")),
    (Mutant::RaftNoHandover, Some("handover")),
    (Mutant::RaftBackOffByOne, Some("long_suffix_in_one_round")),
    (Mutant::RaftPeersStay, Some("removed_peer_is_silent")),
    (Mutant::RaftAppendSpansViews, Some("many_views_behind")),
    (Mutant::RaftNoSignatureGate, Some("signature_gate")),
    (Mutant::RaftVoteWhileLed, Some("vote_denied_while_leader_known")),
    (Mutant::RaftVoteUnwritten, None),
    (Mutant::RaftViewUnwritten, None),
    (Mutant::RaftAckUnwritten, None),
    (Mutant::RaftEndUnwritten, None),
];

/// Why the scenario does not hold; an assertion of the protocol is a reason, too.
fn scenario_fails(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/raft").join(name);
    let text = std::fs::read_to_string(&path).expect("the scenario is there");
    match catch_unwind(|| scenario::run(name, &text, Options::default())) {
        Ok(Ok(_)) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some("an assertion of the protocol failed".into()),
    }
}

/// Why a random scenario with restarts does not hold.
fn random_fails() -> Option<String> {
    let taste = Taste { shuffle: true, sync: true };
    (0..300).find_map(|seed| {
        let plan = Play { seed, jitter: seed, taste, restarts: true, commands: 300 };
        match catch_unwind(|| play(plan, |_, _| Ok(()))) {
            Ok(result) => result.err(),
            Err(_) => Some("an assertion of the protocol failed".into()),
        }
    })
}

#[test]
fn every_mutant_has_a_catcher() {
    assert_eq!(CATCHERS.map(|(mutant, _)| mutant), Mutant::RAFT);
}

#[test]
fn without_a_mutant_nothing_is_caught() {
    for (_, name) in CATCHERS {
        let failure = name.and_then(scenario_fails);
        assert_eq!(failure, None);
    }
    assert_eq!(random_fails(), None);
}

#[test]
fn every_mutant_is_caught() {
    let mut alive = Vec::new();
    for (mutant, name) in CATCHERS {
        let _awake = activate(mutant);
        let failure = match name {
            Some(name) => scenario_fails(name),
            None => random_fails(),
        };
        match failure.as_deref().and_then(|text| text.lines().next()) {
            Some(reason) => eprintln!("{mutant:?}: {reason}"),
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "not caught: {alive:?}");
}
