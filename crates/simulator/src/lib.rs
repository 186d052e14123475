//! A whole network in one thread on virtual time, where every protocol is proven.
//!
//! | module | what it holds |
//! |---|---|
//! | [`world`] | nodes, network, clients, phases: one seed |
//! | [`faults`] | the knobs, and the swarm of a seed |
//! | [`disk`] | a disk that forgets, tears and fills up |
//! | [`traitor`] | named adversaries |
//! | [`properties`] | the table of properties and its checker |
//! | [`conduct`] | what a correct member may say |
//! | [`keyed`] | threshold cryptography and signatures by keyed hashes, for speed |
//! | [`shrink`] | makes a failing seed small |
//! | [`signed`] | what must hold in a group of signed Raft |
//! | [`store`] | the real store on the simulated disk |
//! | [`whatif`] | how a committee would perform that nobody has set up |
//! | [`scenario`] | scenarios of signed Raft: text, run step by step in memory |
//!
//! One seed, one command reproduces any failure; the same seed twice gives the same digest.
pub mod conduct;
pub mod disk;
pub mod faults;
pub mod keyed;
pub mod properties;
pub mod scenario;
pub mod shrink;
pub mod signed;
pub mod store;
pub mod traitor;
pub mod whatif;
pub mod world;

use std::panic::AssertUnwindSafe;

use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::made;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::faults::{Counts, Faults};
use crate::keyed::KeyedGeneration;
use crate::properties::Violation;
use crate::shrink::{Reduction, Shrunk};
use crate::signed::keys::Kind;
use crate::traitor::{Traitor, Treason};
use crate::world::{CftWorld, Outcome, Plan, PoaWorld};

/// Every so many seeds one runs the real cryptography: threshold schemes, signatures, certificates.
pub const REAL_EVERY: u64 = 20;

/// Which cryptography a run uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crypto {
    /// Keyed hashes instead of it; the real one for one seed of [`REAL_EVERY`].
    Mixed,
    /// The real one for all seeds.
    Real,
}

/// What is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// HoneyBadgerBFT: some members may lie.
    #[default]
    Poa,
    /// Signed Raft: members may crash and lose their disks.
    Cft,
}

impl Protocol {
    /// Its name, as `consensus_type` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poa => "poa",
            Self::Cft => "cft",
        }
    }

    /// The protocol of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Poa, Self::Cft].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The protocol.
    pub protocol: Protocol,
    /// Members that order.
    pub nodes: usize,
    /// Traitors among them. More than a third minus one must make a property of `poa` fail; in
    /// `cft` there are none.
    pub faulty: usize,
    /// First seed.
    pub first: u64,
    /// Number of seeds.
    pub seeds: u64,
    /// Cryptography.
    pub crypto: Crypto,
    /// Whether to print what happens to standard error.
    pub trace: bool,
}

/// A seed that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The property that did not hold.
    pub property: String,
    /// What was seen.
    pub detail: String,
    /// The command that shows it again.
    pub replay: String,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Protocol.
    pub protocol: String,
    /// Producers.
    pub nodes: usize,
    /// Traitors.
    pub faulty: usize,
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed.
    pub failures: Vec<Failure>,
    /// What became final: blocks of `poa`, transactions of `cft`.
    pub decisions: u64,
    /// Virtual time in seconds.
    pub virtual_seconds: f64,
    /// Real time in seconds; filled in by the caller, the simulator has no clock.
    pub real_seconds: f64,
    /// Faults that struck, by kind.
    pub faults: std::collections::BTreeMap<&'static str, u64>,
    /// Virtual time from the end of the faults to equal heads in ms: 50th and 99th percentile and
    /// maximum.
    pub recovery_ms: [u64; 3],
    /// Digest over all seeds: equal for equal options.
    pub digest: Digest,
}

/// The plan of a seed: everything about it follows from the seed and the options.
#[must_use]
pub fn plan(options: &Options, seed: u64) -> Plan {
    match options.protocol {
        Protocol::Poa => plan_poa(options, seed),
        Protocol::Cft => plan_cft(options, seed),
    }
}

fn plan_cft(options: &Options, seed: u64) -> Plan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7261_6674);
    let mut faults = Faults::swarm(&mut rng);
    if rng.random_bool(0.2) {
        // Every loss of power may be the loss of the disk.
        (faults.wipe, faults.bit_flip, faults.truncate) = (0.2, 0.3, 0.3);
    }
    let faulty_ms = rng.random_range(5_000..20_000);
    let joiners = if rng.random_bool(0.5) { rng.random_range(1..4) } else { 0 };
    Plan {
        groups: 1,
        producers: options.nodes,
        users: 0,
        joiners,
        traitors: Vec::new(),
        schedule: faults::schedule(&mut rng, &faults, options.nodes + joiners, faulty_ms),
        faults,
        faulty_ms,
        heal_ms: 60_000,
        posts: if rng.random_bool(0.3) {
            rng.random_range(5..30)
        } else {
            rng.random_range(30..300)
        },
        interval_ms: 0,
        trace: options.trace,
    }
}

fn plan_poa(options: &Options, seed: u64) -> Plan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x706c_616e);
    let traitors = (0..options.faulty)
        .map(|_| Treason::ALL[rng.random_range(0..Treason::ALL.len())])
        .collect();
    let users = usize::from(rng.random_bool(0.5));
    let joiners = usize::from(rng.random_bool(0.3));
    let faults = Faults::swarm(&mut rng);
    let faulty_ms = rng.random_range(5_000..15_000);
    let nodes = options.nodes + users + joiners;
    Plan {
        groups: if options.nodes <= 4 && rng.random_bool(0.2) { 2 } else { 1 },
        producers: options.nodes,
        users,
        joiners,
        traitors,
        schedule: faults::schedule(&mut rng, &faults, nodes, faulty_ms),
        faults,
        faulty_ms,
        heal_ms: 120_000,
        posts: rng.random_range(5..40),
        interval_ms: 500,
        trace: options.trace,
    }
}

/// Runs one seed.
#[must_use]
pub fn run_seed(options: &Options, seed: u64) -> Outcome {
    run_plan(options, seed, plan(options, seed))
}

/// Runs one seed in which one knob of [`Faults::KNOBS`] strikes alone, at a high rate.
#[must_use]
pub fn run_knob(options: &Options, knob: &str, seed: u64) -> Outcome {
    let usual = plan(options, seed);
    let faults = Faults::alone(knob);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6b6e_6f62);
    let schedule = faults::schedule(&mut rng, &faults, usual.nodes(), usual.faulty_ms);
    run_plan(options, seed, Plan { faults, schedule, ..usual })
}

fn run_plan(options: &Options, seed: u64, plan: Plan) -> Outcome {
    let real = options.crypto == Crypto::Real || seed.is_multiple_of(REAL_EVERY);
    match (options.protocol, real) {
        (Protocol::Poa, true) => {
            guarded(|| PoaWorld::<Traitor<BlsGeneration>>::new(seed, plan).run())
        }
        (Protocol::Poa, false) => {
            let _memory = made::stand_in(keyed::signature);
            guarded(|| PoaWorld::<Traitor<KeyedGeneration>>::new(seed, plan).run())
        }
        (Protocol::Cft, true) => {
            let _memory = made::repeat();
            guarded(|| CftWorld::new(seed, plan, Kind::Real).run())
        }
        (Protocol::Cft, false) => guarded(|| CftWorld::new(seed, plan, Kind::Hashed).run()),
    }
}

/// Runs a world in which a panic is one more property that does not hold.
#[must_use]
pub fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    conduct::begin();
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Outcome {
            violation: Some(Violation::new("no_panic", text.unwrap_or("a panic without a text"))),
            decisions: 0,
            virtual_ms: 0,
            recovery_ms: None,
            faults: Counts::default(),
            digest: Digest::default(),
        }
    })
}

fn replay(options: &Options, seed: u64) -> String {
    let real = if options.crypto == Crypto::Real { " --real" } else { "" };
    format!(
        "quorate sim --protocol {} --nodes {} --faulty {} --seeds 1 --seed {seed}{real} --trace",
        options.protocol.name(),
        options.nodes,
        options.faulty
    )
}

/// Makes a failing seed small, in at most `most` runs. Nothing if the seed does not fail.
#[must_use]
pub fn shrink_seed(options: &Options, seed: u64, most: usize) -> Option<Shrunk> {
    let quiet = Options { trace: false, ..options.clone() };
    shrink::shrink(&plan(&quiet, seed), most, |plan| run_plan(&quiet, seed, plan).violation)
}

/// The command that shows a seed's failure again, with what was taken from it.
#[must_use]
pub fn replay_reduced(options: &Options, seed: u64, reduction: &Reduction) -> String {
    let command = replay(options, seed);
    if *reduction == Reduction::default() {
        return command;
    }
    format!("{command} --reduce '{reduction}'")
}

/// Runs all seeds of the options; `progress` is called after each with its outcome.
pub fn run(options: &Options, progress: impl FnMut(u64, &Outcome)) -> Report {
    run_reduced(options, &Reduction::default(), progress)
}

/// [`run`], with something taken from the plan of each seed.
pub fn run_reduced(
    options: &Options,
    reduction: &Reduction,
    mut progress: impl FnMut(u64, &Outcome),
) -> Report {
    let mut counts = Counts::default();
    let mut report = Report {
        protocol: options.protocol.name().into(),
        nodes: options.nodes,
        faulty: options.faulty,
        seeds: options.seeds,
        failures: Vec::new(),
        decisions: 0,
        virtual_seconds: 0.0,
        real_seconds: 0.0,
        faults: std::collections::BTreeMap::new(),
        recovery_ms: [0; 3],
        digest: Digest::default(),
    };
    let mut recoveries = Vec::new();
    for seed in options.first..options.first.saturating_add(options.seeds) {
        let mut plan = plan(options, seed);
        reduction.apply(&mut plan);
        let outcome = run_plan(options, seed, plan);
        progress(seed, &outcome);
        counts.merge(&outcome.faults);
        report.decisions += outcome.decisions;
        report.virtual_seconds += outcome.virtual_ms as f64 / 1_000.0;
        recoveries.extend(outcome.recovery_ms);
        let digest = Hasher::new("quorate.simulations.v1").field(report.digest.as_bytes());
        report.digest = digest.field(outcome.digest.as_bytes()).finish();
        if let Some(Violation { property, detail }) = outcome.violation {
            let replay = replay_reduced(options, seed, reduction);
            report.failures.push(Failure { seed, property: property.into(), detail, replay });
        }
    }
    recoveries.sort_unstable();
    let last = recoveries.len().saturating_sub(1);
    if !recoveries.is_empty() {
        report.recovery_ms = [recoveries[last / 2], recoveries[last * 99 / 100], recoveries[last]];
    }
    report.faults = counts.0;
    report
}
