//! The checker is checked: every deliberate bug of a member of signed Raft, and those of its core
//! that a whole member can show, must be caught, and the seed that catches it must hold without it.
//!
//! `cargo nextest run -p quorate-simulator --features mutants --test mutants cft --no-capture`

use quorate_ledger::mutants::{Mutant, activate};
use quorate_simulator::faults::{self, Faults};
use quorate_simulator::signed::keys::Kind;
use quorate_simulator::world::{CftWorld, Outcome, Plan};
use quorate_simulator::{Crypto, Options, Protocol, guarded, plan};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Most seeds tried for a mutant.
const SEEDS: u64 = 300;

fn seed_plan(faults: Option<&Faults>, nodes: usize, seed: u64) -> Plan {
    let (protocol, crypto) = (Protocol::Cft, Crypto::Mixed);
    let options =
        Options { protocol, nodes, faulty: 0, first: seed, seeds: 1, crypto, trace: false };
    let mut plan = plan(&options, seed);
    if let Some(faults) = faults {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        plan.faults = faults.clone();
        plan.schedule = faults::schedule(&mut rng, faults, plan.nodes(), plan.faulty_ms);
    }
    plan
}

fn run(plan: &Plan, seed: u64) -> Outcome {
    guarded(|| CftWorld::new(seed, plan.clone(), Kind::Hashed).run())
}

fn hunt(mutant: Mutant, faults: Option<&Faults>, caught_by: &[&str]) {
    for seed in 1..=SEEDS {
        let plan = seed_plan(faults, 3, seed);
        let outcome = {
            let _awake = activate(mutant);
            run(&plan, seed)
        };
        let Some(violation) = outcome.violation else { continue };
        eprintln!(
            "{mutant:?}: {} after {seed} seeds\n    {}",
            violation.property, violation.detail
        );
        let known = caught_by.contains(&violation.property);
        assert!(known, "{mutant:?} was caught by something else: {violation:?}");
        assert_eq!(run(&plan, seed).violation, None, "seed {seed} fails without {mutant:?}, too");
        return;
    }
    panic!("{mutant:?} was not caught by {SEEDS} seeds");
}

fn crashes() -> Faults {
    Faults { crash: 0.6, crash_all: 0.3, ..Faults::none() }
}

fn partitions() -> Faults {
    Faults { partition: 0.6, one_way: 0.4, pause: 0.3, ..Faults::none() }
}

macro_rules! hunts {
    ($($name:ident: $mutant:ident under $faults:expr, by $by:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let faults: Option<Faults> = $faults;
                hunt(Mutant::$mutant, faults.as_ref(), &$by);
            }
        )*

        #[test]
        fn every_mutant_is_hunted() {
            let hunted = [$(Mutant::$mutant),*];
            for mutant in Mutant::CFT {
                assert!(hunted.contains(&mutant), "{mutant:?} is not hunted");
            }
        }
    };
}

hunts! {
    ack_ahead: CftAckAhead under None, by ["durable_before_said"];
    append_unsynced: CftAppendUnsynced under Some(crashes()), by ["durability", "starts_again"];
    append_failed: CftAppendFailed
        under Some(Faults { write_error: 0.1, full_disk: 0.5, ..Faults::none() }),
        by ["durable_before_said", "no_panic", "durability"];
    vote_forgotten: CftVoteForgotten under Some(crashes()), by ["durable_before_said", "one_vote"];
    read_unconfirmed: CftReadUnconfirmed under Some(partitions()), by ["linearizable"];
    read_uncommitted: CftReadUncommitted under None, by ["truthful_answers", "linearizable"];
    keys_of_own_view: CftKeysOfOwnView under Some(partitions()), by ["exactly_once"];
    forward_unkeyed: CftForwardUnkeyed under Some(partitions()),
        by ["exactly_once", "truthful_answers"];
    session_unchecked: CftSessionUnchecked under Some(partitions()), by ["session_order"];
    committed_at_once: CftCommittedAtOnce under None, by ["status"];
    rollback_keeps_state: CftRollbackKeepsState under Some(partitions()),
        by ["truthful_answers", "prefix_reads", "configurations"];
    recovers_too_little: CftRecoversTooLittle under None,
        by ["no_acknowledged_loss", "recovery", "no_panic"];
    raft_vote_unwritten: RaftVoteUnwritten under None, by ["durable_before_said"];
    raft_view_unwritten: RaftViewUnwritten under None, by ["durable_before_said"];
    raft_ack_unwritten: RaftAckUnwritten under None, by ["durable_before_said", "no_panic"];
    raft_end_unwritten: RaftEndUnwritten under None, by ["durable_before_said"];
    raft_keeps_unsigned: RaftKeepsUnsigned under Some(partitions()),
        by ["monotonic_log", "election_safety", "log_matching", "no_panic"];
    raft_no_signature_gate: RaftNoSignatureGate under None, by ["signature_gate", "no_panic"];
}
