//! Commands that run networks on this machine: real ones, simulated ones, scenarios.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorate_simulator::shrink::Reduction;

/// `quorate dev`.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// How the group is ordered.
    #[arg(long, default_value = "poa", value_parser = ["poa", "cft"])]
    pub protocol: String,
    /// Producers (poa), or nodes of the service (cft; try 3).
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub nodes: u16,
    /// End when the last step is done; exit code 0 only if every step held.
    #[arg(long)]
    pub exit: bool,
    /// Keep all data here instead of in a directory that is removed.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Epoch interval after the change, in milliseconds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub interval: u64,
    /// What the nodes log, for example `info` or `quorate_replica=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// `quorate sim`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SimArgs {
    /// Something else than running seeds.
    #[command(subcommand)]
    pub command: Option<SimCommand>,
    /// Protocol.
    #[arg(long, default_value = "poa", value_parser = ["poa", "cft"])]
    pub protocol: String,
    /// Members that order; 4 in poa, 3 in cft.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: Option<u16>,
    /// Members that are traitors; 1 in poa. There are none in cft.
    #[arg(long)]
    pub faulty: Option<u16>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "FIRST")]
    pub seed: u64,
    /// Use the real cryptography for every seed, not for one of twenty.
    #[arg(long)]
    pub real: bool,
    /// Write what happens to standard error.
    #[arg(long)]
    pub trace: bool,
    /// Make the first seed that fails small: take away what the failure does not need.
    #[arg(long)]
    pub shrink: bool,
    /// What to take from each seed, as --shrink prints it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reduce: Reduction,
}

/// `quorate sim` with a command of its own.
#[derive(Clone, Debug, Subcommand)]
pub enum SimCommand {
    /// Predict how committees of given sizes would perform.
    Plan(PlanArgs),
}

/// Flags of `sim plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// Protocol.
    #[arg(long, default_value = "poa", value_parser = ["poa"])]
    pub protocol: String,
    /// Sizes of committees, 4 to 100.
    #[arg(long, value_delimiter = ',', default_value = "4,7,16")]
    pub nodes: Vec<usize>,
    /// Regions, round-trip times and lines (TOML, as vectors/wan.toml, which is the default).
    #[arg(long, value_name = "FILE", conflicts_with = "loopback")]
    pub rtt: Option<PathBuf>,
    /// All nodes and the clients are processes on this machine, as in `bench load`.
    #[arg(long)]
    pub loopback: bool,
    /// Cores of each node (2 by default), or of this machine with --loopback (all by default).
    #[arg(long)]
    pub cores: Option<usize>,
    /// Payload of a trx in bytes.
    #[arg(long, default_value_t = 250, value_name = "BYTES")]
    pub trx: usize,
    /// Trxs under way at any time: the most that an epoch can find waiting. What a block holds
    /// (900 KiB) bounds the batch from above and cannot be changed.
    #[arg(long, value_delimiter = ',', default_value = "2400", value_name = "COUNTS")]
    pub batch: Vec<usize>,
    /// Posts per second instead, whatever becomes of them.
    #[arg(long, value_delimiter = ',', conflicts_with = "batch", value_name = "RATES")]
    pub rate: Vec<u64>,
    /// Epoch interval in milliseconds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub interval: u64,
    /// Blocks to measure; by default fewer for larger committees.
    #[arg(long)]
    pub blocks: Option<usize>,
    /// Leave out the crash of a node after the measurement.
    #[arg(long)]
    pub no_crash: bool,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Table of costs (JSON): read if it is there, else measured and kept here.
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,
    /// Where the picture goes.
    #[arg(long, value_name = "FILE", default_value = "plan.svg")]
    pub svg: PathBuf,
}

/// `quorate scenario`.
#[derive(Args, Clone, Debug)]
pub struct ScenarioArgs {
    /// The files, each run in a fresh group in memory.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Give election timers a random head start drawn from this seed; 0 for none.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Run each file without head starts, and again with each of N seeds from SEED (or 1) on: a file
    /// whose verdict hangs on the timers fails with one of them.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "dump")]
    pub jitter: u64,
    /// Write the state after the last command of one file as a JSON object, and nothing else.
    #[arg(long)]
    pub dump: bool,
}
