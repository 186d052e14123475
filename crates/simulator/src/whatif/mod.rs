//! What if: how a committee would perform that nobody has set up.
//!
//! Whole replicas order real trxs on virtual time. Threshold cryptography is stood in for by keyed
//! hashes; what it and everything else would cost is charged by a table measured on a machine. The
//! same table and the same seed give the same prediction.
//!
//! | module | what it holds |
//! |---|---|
//! | [`conditions`] | round-trip times, lines |
//! | [`costs`] | the table |
//! | [`operations`] | measuring it, with a clock that the caller lends |
//! | `processor` | cores and threads |
//! | `stage` | a group whose committee is there |
//! | `engine` | nodes and time |
//! | `turns` | a turn of a group's thread, and what it costs |
//! | `packets` | what travels |
//! | `links` | nodes that come back |
//! | `load` | clients |
//! | `upkeep` | what goes on without load |
//!
//! # What is not in the model
//! Loss, congestion and slow start of TCP; the line in (only the line out is limited); gossip that
//! comes twice (among members who are all connected nobody passes it on); pauses of the operating system; lookups that need
//! more than one answer.

pub mod conditions;
pub mod costs;
mod engine;
mod links;
mod load;
pub mod operations;
mod packets;
mod processor;
mod stage;
mod turns;
mod upkeep;

use quorate_consensus::core::{Recovered, Time};
use quorate_consensus::honeybadger::HoneyBadger;
use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::made;
use quorate_crypto::member::MemberKey;
use quorate_crypto::recipient::EncryptKey;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::GroupId;
use quorate_ledger::view::Protocol;
use quorate_storage::store::{GroupStore, Options};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde::Serialize;

use crate::disk::FaultyDisk;
use crate::keyed::KeyedGeneration;
use conditions::{Conditions, ConditionsError};
use costs::{Costs, CostsError};
use engine::{BEGIN_MS, Engine, Parts};
pub use load::Demand;
use load::{Load, WATCH_US};

/// The ordering core, with cheap threshold cryptography.
pub(crate) type Core = HoneyBadger<KeyedGeneration>;
pub(crate) type Message = HoneyBadgerMessage;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// When clients begin to post: all nodes have heard of each other.
const QUIET_MS: u64 = 300;
/// Bound on the virtual time between two blocks.
const STUCK_S: u64 = 600;
/// Shortest time that a crashed node is down.
const DOWN_MS: u64 = 3_000;
/// Crashes that a prediction is the mean of.
const CRASHES: u64 = 4;

/// What to predict.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Producers.
    pub nodes: usize,
    /// The network between them.
    pub conditions: Conditions,
    /// Cores of each node, or of the one machine that all share.
    pub cores: usize,
    /// What everything costs.
    pub costs: Costs,
    /// How much is posted.
    pub demand: Demand,
    /// Payload of each post in bytes.
    pub trx_bytes: usize,
    /// Epoch interval in ms.
    pub interval_ms: u64,
    /// Blocks before the measurement.
    pub warm_up: usize,
    /// Blocks measured.
    pub blocks: usize,
    /// Whether a node crashes and comes back after the measurement.
    pub crash: bool,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

/// What a crash of one node does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// How long the node was down, ms, with the start of its process.
    pub down_ms: f64,
    /// Longest time without a block from the crash on, ms.
    pub gap_ms: f64,
    /// From the moment when its API answers, and it has no links yet, until it has the head that the
    /// others have then, ms. On one machine as a client sees it that looks every 10 ms.
    pub catch_up_ms: f64,
}

/// Processor time of a kind of thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Used {
    /// The kind.
    pub kind: &'static str,
    /// Of a core, in percent: of each node on average, or of the client.
    pub percent: f64,
}

/// How a committee performs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Producers.
    pub nodes: usize,
    /// Producers that may fail in any way.
    pub tolerated: usize,
    /// Posts under way at any time, if that was asked for.
    pub under_way: Option<usize>,
    /// Posts a second, if that was asked for.
    pub rate: Option<u64>,
    /// Blocks measured.
    pub blocks: usize,
    /// Virtual time measured, seconds.
    pub seconds: f64,
    /// Trxs that became final in each second.
    pub trx_per_second: f64,
    /// Trxs in a block, on average.
    pub trx_per_block: f64,
    /// Time from block to block, on average, ms.
    pub block_ms: f64,
    /// From a post to its client's seeing it in a block, ms: median.
    pub latency_p50_ms: f64,
    /// And 99th percentile.
    pub latency_p99_ms: f64,
    /// What a node sends, in Mbit/s: average of all nodes.
    pub sent_mbit: f64,
    /// And the node that sends most.
    pub sent_mbit_most: f64,
    /// What a node hands its transports, in Mbit/s: without what TCP, IP and Ethernet put around it,
    /// so that it can be compared with what a node counts. Average of all nodes.
    pub handed_mbit: f64,
    /// Share of their cores that the nodes (and, on one machine, the clients) use, in percent.
    pub busy_percent: f64,
    /// What uses how much of a core.
    pub threads: Vec<Used>,
    /// Posts refused for a full pool and made again.
    pub refused: u64,
    /// What a crash of one node does, if that was asked for.
    pub recovery: Option<Recovery>,
}

/// Why there is no prediction.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum WhatIfError {
    /// So many producers cannot be simulated.
    #[error("nodes: {0} is not between 4 and 100")]
    Nodes(usize),
    /// A number must not be zero.
    #[error("{0}: must not be 0")]
    Zero(&'static str),
    /// The network's description is wrong.
    #[error(transparent)]
    Conditions(#[from] ConditionsError),
    /// The table of costs does not fit.
    #[error(transparent)]
    Costs(#[from] CostsError),
    /// No block for ten virtual minutes.
    #[error("{nodes} producers: no block for {STUCK_S} virtual seconds after {blocks} blocks")]
    Stuck {
        /// Producers.
        nodes: usize,
        /// Blocks before.
        blocks: usize,
    },
    /// A property did not hold: a bug.
    #[error("{property} does not hold: {detail}")]
    Violation {
        /// The property.
        property: &'static str,
        /// What was seen.
        detail: String,
    },
}

impl Scenario {
    fn check(&self) -> Result<(), WhatIfError> {
        if !(4..=100).contains(&self.nodes) {
            return Err(WhatIfError::Nodes(self.nodes));
        }
        let amount = match self.demand {
            Demand::UnderWay(count) => count as u64,
            Demand::Rate(rate) => rate,
        };
        for (what, number) in [
            ("load", amount),
            ("cores", self.cores as u64),
            ("blocks", self.blocks as u64),
            ("warm-up", self.warm_up as u64),
            ("interval", self.interval_ms),
        ] {
            if number == 0 {
                return Err(WhatIfError::Zero(what));
            }
        }
        self.conditions.check()?;
        self.costs.check(self.trx_bytes as u64)?;
        Ok(())
    }

    fn engine(&self) -> Engine {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let members: Vec<(MemberKey, EncryptKey)> = (0..self.nodes)
            .map(|_| (MemberKey::generate(&mut rng), EncryptKey::generate(&mut rng)))
            .collect();
        let descriptor = descriptor(&members[0].0, &mut rng);
        let keys: Vec<&MemberKey> = members.iter().map(|(member, _)| member).collect();
        let now = Time(BEGIN_MS);
        let stage = stage::set(&descriptor, &keys, &members[0].1, now, self.interval_ms, self.seed);
        let load = Load::new(
            self.demand,
            descriptor.id,
            descriptor.cipher_key.clone(),
            self.trx_bytes,
            self.seed,
        );
        Engine::new(Parts {
            conditions: self.conditions.clone(),
            costs: self.costs.clone(),
            cores: self.cores,
            descriptor,
            members,
            stage,
            load,
            seed: self.seed,
        })
    }
}

/// The store on a simulated disk, with the node's sizes.
pub(crate) fn open_store(disk: &FaultyDisk, seed: u64) -> (GroupStore<FaultyDisk>, Recovered) {
    let rng = ChaCha20Rng::seed_from_u64(seed);
    let options = Options::new(SymmetricKey([7; 32]), rng, crate::store::trx_ids);
    GroupStore::open(disk.clone(), options).expect("a disk without faults can be read")
}

/// A group with this owner.
pub(crate) fn descriptor(owner: &MemberKey, rng: &mut ChaCha20Rng) -> GroupDescriptor {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let id = GroupId(uuid::Builder::from_random_bytes(id).into_uuid());
    GroupDescriptor {
        id,
        name: "what if".into(),
        owner: owner.public(),
        consensus: Protocol::Poa,
        encryption: Encryption::Public,
        cipher_key: SymmetricKey::generate(rng),
        app_key: "what-if".into(),
        genesis: GenesisBlock::build(owner, id, (BEGIN_MS * 1_000_000) as i64),
    }
}

/// Predicts how a committee performs. `progress` is called with the number of blocks that the first
/// node has.
///
/// # Errors
/// [`WhatIfError`].
pub fn predict(
    scenario: &Scenario,
    mut progress: impl FnMut(usize),
) -> Result<Prediction, WhatIfError> {
    scenario.check()?;
    // All members live in this thread, and checking costs what the table says.
    let _memory = made::remember();
    let mut engine = scenario.engine();
    for node in 0..scenario.nodes {
        engine.start(node);
    }
    for node in 0..scenario.nodes {
        engine.upkeep(node);
    }
    engine.run_until(QUIET_MS * MS, |_| false);
    engine.begin_load();
    until_blocks(&mut engine, scenario.warm_up, &mut progress)?;
    let began = Mark::of(&engine);
    (engine.load.latencies, engine.load.refused) = (Vec::new(), 0);
    until_blocks(&mut engine, scenario.warm_up + scenario.blocks, &mut progress)?;
    let mut prediction = began.prediction(scenario, &mut engine);
    if scenario.crash {
        prediction.recovery = Some(crash(&mut engine, &prediction, &mut progress)?);
    }
    Ok(prediction)
}

/// Goes on until the first node has so many blocks.
fn until_blocks(
    engine: &mut Engine,
    count: usize,
    progress: &mut impl FnMut(usize),
) -> Result<(), WhatIfError> {
    while engine.blocks.len() < count {
        let before = engine.blocks.len();
        let end = engine.now + STUCK_S * SECOND;
        engine.run_until(end, |engine| engine.blocks.len() > before);
        holds(engine)?;
        if engine.blocks.len() == before {
            return Err(WhatIfError::Stuck { nodes: engine.nodes.len(), blocks: before });
        }
        progress(engine.blocks.len());
    }
    Ok(())
}

fn holds(engine: &Engine) -> Result<(), WhatIfError> {
    match &engine.violation {
        None => Ok(()),
        Some(found) => {
            Err(WhatIfError::Violation { property: found.property, detail: found.detail.clone() })
        }
    }
}

/// Where everything stands when a measurement begins.
struct Mark {
    now: u64,
    blocks: usize,
    sent: Vec<u64>,
    handed: u64,
    /// By kind of thread, the client last.
    used: Vec<u64>,
}

impl Mark {
    fn of(engine: &Engine) -> Self {
        Self {
            now: engine.now,
            blocks: engine.blocks.len(),
            sent: engine.nodes.iter().map(|node| node.sent_bytes).collect(),
            handed: engine.nodes.iter().map(|node| node.handed_bytes).sum(),
            used: engine.used(),
        }
    }

    fn prediction(&self, scenario: &Scenario, engine: &mut Engine) -> Prediction {
        let end = Self::of(engine);
        let us = (end.now - self.now).max(1) as f64;
        let measured = &engine.blocks[self.blocks..end.blocks];
        let trxs: usize = measured.iter().map(|(_, trxs)| trxs).sum();
        let blocks = measured.len();
        let mbit: Vec<f64> = self
            .sent
            .iter()
            .zip(&end.sent)
            .map(|(from, to)| (to - from) as f64 * 8.0 / us)
            .collect();
        let used: Vec<u64> = end.used.iter().zip(&self.used).map(|(to, from)| to - from).collect();
        let cores: usize = engine.processors.iter().map(processor::Processor::cores).sum();
        let latencies = &mut engine.load.latencies;
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = (latencies.len().saturating_sub(1) as f64 * share).round() as usize;
            latencies.get(place).map_or(0.0, |us| *us as f64 / 1e3)
        };
        let (under_way, rate) = match scenario.demand {
            Demand::UnderWay(count) => (Some(count), None),
            Demand::Rate(rate) => (None, Some(rate)),
        };
        Prediction {
            nodes: scenario.nodes,
            tolerated: (scenario.nodes - 1) / 3,
            under_way,
            rate,
            blocks,
            seconds: round(us / 1e6),
            trx_per_second: round(trxs as f64 / us * 1e6),
            trx_per_block: round(trxs as f64 / blocks.max(1) as f64),
            block_ms: round(us / 1e3 / blocks.max(1) as f64),
            latency_p50_ms: round(at(0.50)),
            latency_p99_ms: round(at(0.99)),
            sent_mbit: round(mbit.iter().sum::<f64>() / mbit.len() as f64),
            sent_mbit_most: round(mbit.iter().copied().fold(0.0, f64::max)),
            handed_mbit: round((end.handed - self.handed) as f64 * 8.0 / us / mbit.len() as f64),
            busy_percent: round(used.iter().sum::<u64>() as f64 / 10.0 / us / cores as f64),
            threads: threads(&used, us, mbit.len()),
            refused: engine.load.refused,
            recovery: None,
        }
    }
}

/// How much of a core each kind of thread used.
fn threads(used: &[u64], us: f64, nodes: usize) -> Vec<Used> {
    const KINDS: [&str; engine::POOLS + 1] = ["network", "API", "verifying", "group", "client"];
    let of = |(kind, used): (&&'static str, &u64)| {
        let share = if *kind == KINDS[engine::POOLS] { 1 } else { nodes };
        Used { kind, percent: round(*used as f64 / 10.0 / us / share as f64) }
    };
    KINDS.iter().zip(used).map(of).collect()
}

/// The last node crashes and comes back, at some moments between two blocks: what it misses depends
/// on that, and nobody chooses it. The mean of all.
fn crash(
    engine: &mut Engine,
    prediction: &Prediction,
    progress: &mut impl FnMut(usize),
) -> Result<Recovery, WhatIfError> {
    let block = (prediction.block_ms as u64 * MS).max(1);
    let mut sum = Recovery { down_ms: 0.0, gap_ms: 0.0, catch_up_ms: 0.0 };
    for phase in 0..CRASHES {
        // Two blocks, so that the one that came back takes part again.
        until_blocks(engine, engine.blocks.len() + 2, progress)?;
        let moment = engine.now + block * (2 * phase + 1) / (2 * CRASHES);
        engine.run_until(moment, |_| false);
        holds(engine)?;
        let one = crash_once(engine, prediction, progress)?;
        sum.down_ms += one.down_ms;
        sum.gap_ms += one.gap_ms;
        sum.catch_up_ms += one.catch_up_ms;
    }
    let mean = |sum: f64| round(sum / CRASHES as f64);
    Ok(Recovery {
        down_ms: mean(sum.down_ms),
        gap_ms: mean(sum.gap_ms),
        catch_up_ms: mean(sum.catch_up_ms),
    })
}

fn crash_once(
    engine: &mut Engine,
    prediction: &Prediction,
    progress: &mut impl FnMut(usize),
) -> Result<Recovery, WhatIfError> {
    let victim = engine.nodes.len() - 1;
    let crashed = engine.now;
    let ledger: usize = engine.blocks.iter().map(|(_, trxs)| trxs).sum();
    let start = (engine.costs.start + engine.costs.start_trx * ledger as u64) / 1_000;
    let down = DOWN_MS.max(prediction.block_ms as u64 * 2) * MS + start;
    engine.crash(victim, down);
    engine.run_until(crashed + down, |engine| engine.is_up(victim));
    holds(engine)?;
    let back = engine.now;
    let head = engine.nodes.iter().map(|node| node.head).max().unwrap_or_default();
    let end = back + STUCK_S * SECOND;
    let caught_up = engine.run_until(end, |engine| engine.nodes[victim].head >= head);
    holds(engine)?;
    progress(engine.blocks.len());
    if !caught_up {
        let (nodes, blocks) = (engine.nodes.len(), engine.blocks.len());
        return Err(WhatIfError::Stuck { nodes, blocks });
    }
    let mut catch_up = engine.now - back;
    if engine.conditions.one_machine {
        catch_up = catch_up.next_multiple_of(WATCH_US);
    }
    let before = engine.blocks.iter().rev().map(|(at, _)| *at).find(|at| *at <= crashed);
    let mut moments: Vec<u64> = before.into_iter().collect();
    moments.extend(engine.blocks.iter().map(|(at, _)| *at).filter(|at| *at > crashed));
    moments.push(engine.now);
    let gap = moments.windows(2).map(|pair| pair[1] - pair[0].max(crashed)).max().unwrap_or(0);
    let ms = |us: u64| round(us as f64 / 1e3);
    Ok(Recovery { down_ms: ms(back - crashed), gap_ms: ms(gap), catch_up_ms: ms(catch_up) })
}

/// Two digits behind the point are more than a prediction is worth.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
