//! Commands that measure.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `quorate bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Load four producers on this machine with signed posts and measure.
    Load(LoadArgs),
    /// Load a signed-Raft group of three nodes on this machine, and etcd beside it, with writes and
    /// reads, and compare.
    Kv(KvArgs),
}

/// Flags of `bench kv`.
#[derive(Args, Clone, Debug)]
pub struct KvArgs {
    /// What to measure, in this order in each round.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "quorate,etcd")]
    pub systems: Vec<KvSystem>,
    /// Numbers of clients that write, each with one write under way. One client is always measured.
    #[arg(long, value_delimiter = ',', default_value = "64,256,1000", value_name = "COUNTS")]
    pub clients: Vec<usize>,
    /// Clients that read.
    #[arg(long, default_value_t = 64)]
    pub readers: usize,
    /// Length of each measurement in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// How often each system is measured, with the other one between.
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub rounds: usize,
    /// Size of a value in bytes.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// How the nodes of quorate are spoken to; etcd speaks gRPC.
    #[arg(long, value_enum, default_value_t = KvWire::Stream)]
    pub wire: KvWire,
    /// Election timeout of both in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub election_timeout: u64,
    /// A setting of the nodes of quorate, besides the defaults; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// Measure also how long no write is acknowledged when the leader is killed.
    #[arg(long)]
    pub kill_leader: bool,
    /// Measure also how long no write is acknowledged when the leader leaves as planned.
    #[arg(long)]
    pub retire_leader: bool,
    /// The program of etcd.
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    pub etcd: PathBuf,
    /// Write the result into the section `kv` of this Markdown file.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl KvArgs {
    /// How many events are measured in a round.
    #[must_use]
    pub fn events(&self) -> usize {
        usize::from(self.kill_leader) + usize::from(self.retire_leader)
    }
}

/// What `bench kv` measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum KvSystem {
    /// A signed-Raft group of ours.
    Quorate,
    /// etcd, as Debian packages it.
    Etcd,
}

impl KvSystem {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
        }
    }
}

/// How `bench kv` speaks to the nodes of quorate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum KvWire {
    /// HTTP/1.1 with a connection per client.
    Http1,
    /// HTTP/2 with many clients on a connection, as gRPC has it.
    Http2,
    /// A websocket with many clients on a connection, all that wait in one message.
    Stream,
}

impl KvWire {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Stream => "streams",
        }
    }
}

/// Flags of `bench load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Producers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub nodes: u16,
    /// How long to load, in seconds.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Size of a post's payload in bytes.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Open loop: posts per second. Without it a closed loop of --clients.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Closed loop: posts that are under way at any time.
    #[arg(long, default_value_t = 2400)]
    pub clients: usize,
    /// Members that sign the posts.
    #[arg(long, default_value_t = 64)]
    pub members: usize,
    /// Epoch interval in milliseconds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub interval: u64,
    /// Afterwards, under the same load, kill the last producer, start it again after 3 seconds, and
    /// measure how long no block is seen and how soon it has caught up.
    #[arg(long)]
    pub kill: bool,
    /// Keep the nodes' data and logs in this directory.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// What nodes log. What a restarted node does, and when, is in its log at `debug`.
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    pub log: String,
    /// Write the result into the section `load` of this Markdown file.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}
