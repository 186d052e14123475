//! The checker is checked: every deliberate bug of [`Mutant`] must be caught, each where it can do
//! harm, and the seed that catches it must hold without the bug.
//!
//! `cargo nextest run -p quorate-simulator --features mutants --test mutants --no-capture`

use std::time::Instant;

use quorate_ledger::mutants::{Mutant, activate};
use quorate_simulator::faults::{self, Faults};
use quorate_simulator::keyed::{self, KeyedGeneration};
use quorate_simulator::traitor::{Traitor, Treason};
use quorate_simulator::world::{Outcome, Plan, PoaWorld};
use quorate_simulator::{Crypto, Options, Protocol, guarded, plan};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Seeds are tried from here on.
const FIRST: u64 = 1;
/// A committee that a mutant has split differs, gets stuck, or tosses coins for ever.
const SAFETY: &[&str] = &[
    "agreement",
    "total_order",
    "no_panic",
    "secrecy",
    "bounded_memory",
    "progress_after_heal",
    "no_acknowledged_loss",
    "one_voice",
];
/// What a disk that keeps less than it said leads to.
const STORAGE: &[&str] =
    &["durability", "starts_again", "agreement", "no_panic", "no_acknowledged_loss"];

/// What is played.
#[derive(Clone, Copy)]
enum Story {
    /// Faults, then heal.
    Usual,
    /// The same producers get new keys while old frames still come.
    Renewal,
}

/// Where a mutant is hunted, and what may catch it.
#[derive(Clone)]
struct Hunt {
    nodes: usize,
    traitors: Vec<Treason>,
    /// Most seeds tried.
    seeds: u64,
    story: Story,
    faults: Option<Faults>,
    caught_by: &'static [&'static str],
}

/// Seeds of the usual swarm of faults with `nodes` producers.
fn among(nodes: usize, caught_by: &'static [&'static str]) -> Hunt {
    let traitors = Vec::new();
    Hunt { nodes, traitors, seeds: 100, story: Story::Usual, faults: None, caught_by }
}

impl Hunt {
    fn with(self, traitors: &[Treason]) -> Self {
        Self { traitors: traitors.to_vec(), ..self }
    }

    fn under(self, faults: Faults) -> Self {
        Self { faults: Some(faults), ..self }
    }

    fn told(self, story: Story) -> Self {
        Self { story, ..self }
    }

    fn plan(&self, seed: u64) -> Plan {
        let options = Options {
            protocol: Protocol::Poa,
            nodes: self.nodes,
            faulty: 0,
            first: seed,
            seeds: 1,
            crypto: Crypto::Mixed,
            trace: std::env::var_os("QUORATE_TRACE").is_some(),
        };
        let mut plan = plan(&options, seed);
        plan.traitors.clone_from(&self.traitors);
        if let Some(faults) = &self.faults {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            plan.schedule = faults::schedule(&mut rng, faults, plan.nodes(), plan.faulty_ms);
            plan.faults = faults.clone();
        }
        plan
    }

    fn run(&self, seed: u64) -> Outcome {
        let _memory = quorate_crypto::made::stand_in(keyed::signature);
        guarded(|| {
            let world = PoaWorld::<Traitor<KeyedGeneration>>::new(seed, self.plan(seed));
            match self.story {
                Story::Usual => world.run(),
                Story::Renewal => world.run_renewal(),
            }
        })
    }
}

fn hunt(mutant: Mutant, hunt: &Hunt) {
    let began = Instant::now();
    for seed in FIRST..FIRST + hunt.seeds {
        let outcome = {
            let _awake = activate(mutant);
            hunt.run(seed)
        };
        let Some(violation) = outcome.violation else { continue };
        let (tried, seconds) = (seed + 1 - FIRST, began.elapsed().as_secs_f64());
        eprintln!("{mutant:?}: {} after {tried} seeds, {seconds:.1} s", violation.property);
        eprintln!("    {}", violation.detail);
        let known = hunt.caught_by.contains(&violation.property);
        assert!(known, "{mutant:?} was caught by something else: {violation:?}");
        assert_eq!(hunt.run(seed).violation, None, "seed {seed} fails without {mutant:?}, too");
        return;
    }
    panic!("{mutant:?} was not caught by {} seeds", hunt.seeds);
}

/// Seen by a test of the replica alone: what it does wrong shows in a whole network only if a producer
/// loses its notes and the end of its ledger at once, and what was said before comes after that.
const ELSEWHERE: [Mutant; 1] = [Mutant::StatusUnasked];

/// One test for each mutant, and one that none is left out.
macro_rules! hunts {
    ($($(#[$meta:meta])* $name:ident: $mutant:ident => $hunt:expr;)*) => {
        $(
            #[test]
            $(#[$meta])*
            fn $name() {
                hunt(Mutant::$mutant, &$hunt);
            }
        )*

        #[test]
        fn every_mutant_is_hunted() {
            let mut hunted = vec![$(Mutant::$mutant),*];
            hunted.extend(ELSEWHERE);
            hunted.sort_unstable();
            assert_eq!(hunted, Mutant::ALL);
        }
    };
}

fn crashes() -> Faults {
    Faults { crash: 0.5, crash_all: 0.3, ..Faults::none() }
}

hunts! {
    quorum_off_by_one: QuorumOffByOne => among(4, SAFETY).with(&[Treason::DoubleVoter]);
    certain_off_by_one: CertainOffByOne => among(4, SAFETY).with(&[Treason::Withholder]);
    certificate_off_by_one: CertificateOffByOne => among(4, &["certificate"]);
    signer_counted_twice: SignerCountedTwice => among(4, &["certificate"]);
    echo_per_message: EchoPerMessage =>
        among(4, SAFETY).under(Faults { duplicate: 0.3, ..Faults::none() });
    bval_per_message: BvalPerMessage =>
        among(7, SAFETY).with(&[Treason::DoubleVoter, Treason::Silent]).under(Faults::none());
    root_not_recomputed: RootNotRecomputed => among(4, SAFETY).with(&[Treason::WrongShards])
        .under(Faults { drop: 0.1, delay_ms: 200, ..Faults::none() });
    coin_unverified: CoinUnverified =>
        among(4, &["common_coin", "agreement"]).with(&[Treason::DoubleVoter]);
    coin_shares_unverified: CoinSharesUnverified =>
        among(4, &["common_coin", "agreement"]).with(&[Treason::DoubleVoter]);
    local_coin: LocalCoin => among(4, SAFETY).with(&[Treason::DoubleVoter]);
    no_conf_round: NoConfRound => among(4, &["secrecy"]).with(&[Treason::DoubleVoter]);
    early_share: EarlyShare => among(4, &["secrecy"]);
    append_unsynced: AppendUnsynced => among(4, STORAGE).under(crashes());
    release_unwritten: ReleaseUnwritten =>
        among(4, STORAGE).under(Faults { write_error: 0.05, ..Faults::none() });
    vote_forgotten: VoteForgotten => among(4, SAFETY)
        .under(Faults { crash: 1.0, crash_all: 0.5, delay_ms: 200, ..Faults::none() });
    torn_tail_trusted: TornTailTrusted => among(1, STORAGE).under(crashes());
    duplicate_trx: DuplicateTrx => among(4, &["exactly_once"]);
    own_evicted: OwnEvicted => among(4, SAFETY);
    own_timestamp: OwnTimestamp => among(4, SAFETY);
    stale_view: StaleView => among(4, SAFETY).told(Story::Renewal).with(&[Treason::Echo])
        .under(Faults { replay: 1.0, ..Faults::none() });
    wrong_handover: WrongHandover => among(4, &["one_view"]);
    unchecked_block: UncheckedBlock => among(4, &["certificate"])
        .under(Faults { corrupt: 0.2, drop: 0.1, ..Faults::none() });
}
