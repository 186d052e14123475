//! The command line, as clap reads it. What a command does is in [`crate::commands`].

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorate_simulator::shrink::Reduction;

use crate::service::Consistency;

/// A ledger that several parties share and nobody owns alone.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// How the result is written on standard output.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = Format::Human,
        env = "QUORATE_OUTPUT"
    )]
    pub output: Format,
    /// The node to talk to.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8002",
        env = "QUORATE_API"
    )]
    pub api: String,
    /// Token for a node on another machine.
    #[arg(long, global = true, value_name = "JWT", env = "QUORATE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// How a result is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Human,
    /// Exactly one JSON object.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Run a bootstrap node, where nodes find each other.
    #[command(subcommand)]
    Bootstrap(BootstrapCommand),
    /// Create, join, show and leave groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Post to a group and read what was ordered.
    #[command(subcommand)]
    Trx(TrxCommand),
    /// Read blocks.
    #[command(subcommand)]
    Block(BlockCommand),
    /// Show and change who orders a group.
    #[command(subcommand)]
    Consensus(ConsensusCommand),
    /// Show and change who keeps the ledger of a signed-Raft group.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Write and read the key-value maps of a signed-Raft group.
    #[command(subcommand)]
    Kv(KvCommand),
    /// Status and receipts of a signed-Raft group's transactions.
    #[command(subcommand)]
    Tx(TxCommand),
    /// Bring a signed-Raft group back that lost its quorum, from the ledger of one stopped node.
    Recover(RecoverArgs),
    /// Announce this node's member of a group as producer or user.
    Announce(AnnounceArgs),
    /// The keys of a node.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at seed URLs.
    #[command(subcommand)]
    Seed(SeedCommand),
    /// Check files that a node gave away, without any node.
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Check (and repair) the data of a node that is not running.
    Doctor(DoctorArgs),
    /// A whole network on this machine: the main job from start to end.
    Dev(DevArgs),
    /// Run the protocol in a simulated network with faults.
    Sim(SimArgs),
    /// Run scenarios of signed Raft: text files that say what a small group does, and what must
    /// come of it.
    Scenario(ScenarioArgs),
    /// Measure.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Write the completions of a shell to standard output.
    Completions(CompletionsArgs),
    /// Removes a directory when its parent has ended.
    #[command(hide = true)]
    Janitor(JanitorArgs),
}

/// `quorate node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run a node until it is told to stop.
    Run(Box<RunArgs>),
    /// Show what a running node says of itself.
    Status,
}

/// `quorate bootstrap`.
#[derive(Debug, Subcommand)]
pub enum BootstrapCommand {
    /// Run a bootstrap node until it is told to stop.
    Run(RunArgs),
}

/// Flags of `node run` and `bootstrap run`.
///
/// What is not given comes from the environment, then from the file, then from the defaults.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything of this node is kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the HTTP API listens; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Where other nodes connect to (multiaddress; repeat for several).
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,
    /// A node to connect to at the start, for example a bootstrap node (repeat for several).
    #[arg(long, value_name = "MULTIADDR")]
    pub peer: Vec<String>,
    /// File with the password of the keystore; otherwise QUORATE_KEYSTORE_PASSWORD is read.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Cost of the keystore's password function, as a power of two. Low values are for tests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20))]
    pub keystore_cost: Option<u8>,
    /// What to log, for example `info` or `quorate_node=debug`.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log one JSON object per line.
    #[arg(long)]
    pub log_json: bool,
    /// Stop when standard input ends: for a node that is another program's child.
    #[arg(long)]
    pub exit_with_parent: bool,
    /// Look for nodes in the local network by multicast DNS.
    #[arg(long)]
    pub mdns: bool,
    /// URL under which other machines reach the API; goes into seeds.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

/// `quorate group`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Create a group; this node's new key becomes its owner.
    Create {
        /// Name, 2 to 100 characters.
        #[arg(long)]
        name: String,
        /// What applications find their groups by, 4 to 20 characters.
        #[arg(long, default_value = "quorate")]
        app_key: String,
        /// How the group is ordered.
        #[arg(long, default_value = "poa", value_parser = ["poa", "cft"])]
        consensus: String,
        /// Leave this node's URL and token out of the seed.
        #[arg(long)]
        no_chain_url: bool,
    },
    /// Join a group by its seed URL.
    Join {
        /// The seed URL (`rum://seed?...`).
        seed: String,
    },
    /// Print the seed URL of a group.
    Seed {
        /// Group id.
        group: String,
        /// Leave this node's URL and token out of the seed.
        #[arg(long)]
        no_chain_url: bool,
    },
    /// List the groups of a node.
    List,
    /// Leave a group; its data stays.
    Leave {
        /// Group id.
        group: String,
        /// Remove its data as well.
        #[arg(long)]
        clear: bool,
    },
}

/// `quorate trx`.
#[derive(Debug, Subcommand)]
pub enum TrxCommand {
    /// Post a JSON object to a group.
    Post {
        /// Group id.
        group: String,
        /// The object, or `-` to read it from standard input.
        data: String,
        /// Wait until the trx is in a certified block.
        #[arg(long)]
        wait: bool,
        /// How long to wait, in seconds.
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Show an ordered trx.
    Get {
        /// Group id.
        group: String,
        /// Trx id.
        trx: String,
        /// Write the trx's receipt to a file for `quorate verify receipt`.
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
    },
    /// List the posts of a group, oldest first, with their contents.
    List {
        /// Group id.
        group: String,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        num: usize,
        /// Newest first.
        #[arg(long)]
        reverse: bool,
        /// Start behind this trx.
        #[arg(long, value_name = "TRX")]
        start: Option<String>,
    },
}

/// `quorate block`.
#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// Show a block.
    Get {
        /// Group id.
        group: String,
        /// Number of the block; 0 is the genesis block.
        block: u64,
        /// Write block, certificate and view chain to a file for `quorate verify block`.
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
}

/// `quorate consensus`.
#[derive(Debug, Subcommand)]
pub enum ConsensusCommand {
    /// Show who orders a group now.
    Show {
        /// Group id.
        group: String,
    },
    /// Change who orders a group, or how often (only on the owner's node).
    Change(ChangeArgs),
    /// List every change there was, by nonce.
    History {
        /// Group id.
        group: String,
    },
    /// Show the proof of a change.
    Proof {
        /// Group id.
        group: String,
        /// Request id; without it the last one.
        req_id: Option<String>,
        /// Write the proof to a file for `quorate verify proof`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Flags of `consensus change`.
#[derive(Args, Clone, Debug)]
pub struct ChangeArgs {
    /// Group id.
    pub group: String,
    /// Public key of a producer of the new committee (repeat, in the order of the committee).
    #[arg(long, required = true, value_name = "KEY")]
    pub producer: Vec<String>,
    /// First epoch of the new committee.
    #[arg(long, default_value_t = 1)]
    pub start_from_epoch: u64,
    /// Length of an epoch in milliseconds, at least 500.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub epoch_tick: u64,
    /// Length of a round of the agreement in milliseconds, at least 1000.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub agreement_tick: u64,
    /// Rounds of the agreement, at least 10.
    #[arg(long, default_value_t = 10)]
    pub agreement_count: u64,
    /// Wait for the result.
    #[arg(long)]
    pub wait: bool,
}

/// Which signed-Raft group is meant.
#[derive(Args, Clone, Debug)]
pub struct ServiceArgs {
    /// Group id; without it the main service of the node.
    #[arg(long, value_name = "ID", env = "QUORATE_GROUP")]
    pub group: Option<String>,
}

/// Flags of `member add`, `remove` and `replace`.
#[derive(Args, Clone, Debug)]
pub struct ChangeFlags {
    /// Which group.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
    /// Do not wait until it is committed.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, in seconds: a new node first has to catch up.
    #[arg(long, default_value_t = 600)]
    pub timeout: u64,
}

/// `quorate member`. Nodes are named by their id or the beginning of it, 6 digits at least.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// List the nodes of a group.
    List {
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Show what a change would mean, and change nothing.
    Plan {
        /// A node to let in (repeat for several).
        #[arg(long, value_name = "NODE")]
        add: Vec<String>,
        /// A node to take out (repeat for several).
        #[arg(long, value_name = "NODE")]
        remove: Vec<String>,
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Let nodes in that joined by the seed; without names all that wait.
    Add {
        /// The nodes.
        nodes: Vec<String>,
        /// How.
        #[command(flatten)]
        flags: ChangeFlags,
    },
    /// Take nodes out.
    Remove {
        /// The nodes.
        #[arg(required = true)]
        nodes: Vec<String>,
        /// How.
        #[command(flatten)]
        flags: ChangeFlags,
    },
    /// Let a node in and take another out, in one change once the new one has caught up.
    Replace {
        /// The node that goes.
        old: String,
        /// The node that comes.
        new: String,
        /// How.
        #[command(flatten)]
        flags: ChangeFlags,
    },
    /// Give a change up that has not reached the log.
    Abort {
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Let the leader hand over to another node.
    Nominate {
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
        /// How long to wait, in seconds.
        #[arg(long, default_value_t = 30)]
        timeout: u64,
    },
}

/// Flags of `kv put`, `cas` and `delete`.
#[derive(Args, Clone, Debug)]
pub struct WriteFlags {
    /// Which group.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Answer as soon as the leader has it, before it is committed.
    #[arg(long)]
    pub early: bool,
    /// How long to wait for the commit, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// The same key (up to 64 characters) never writes twice, whoever leads.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// `quorate kv`. Maps called `public:...` are plain in the ledger, all others encrypted.
#[derive(Debug, Subcommand)]
pub enum KvCommand {
    /// Write the bytes of a value to standard output.
    Get {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// How fresh it must be.
        #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
        consistency: Consistency,
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Write a value.
    Put {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// The value, or `-` for standard input.
        value: String,
        /// Only if there is no such key.
        #[arg(long)]
        absent: bool,
        /// How.
        #[command(flatten)]
        flags: WriteFlags,
    },
    /// Write a value if the key has another one.
    Cas {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// The new value, or `-` for standard input.
        value: String,
        /// The value it must have.
        #[arg(long, required_unless_present = "absent")]
        expected: Option<String>,
        /// The key must be absent.
        #[arg(long, conflicts_with = "expected")]
        absent: bool,
        /// How.
        #[command(flatten)]
        flags: WriteFlags,
    },
    /// Remove a key.
    Delete {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// How.
        #[command(flatten)]
        flags: WriteFlags,
    },
    /// List keys in their order.
    List {
        /// Map.
        map: String,
        /// First key.
        #[arg(long, value_name = "KEY")]
        from: Option<String>,
        /// The key after the last.
        #[arg(long, value_name = "KEY")]
        to: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
        limit: usize,
        /// How fresh it must be.
        #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
        consistency: Consistency,
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
}

/// `quorate tx`.
#[derive(Debug, Subcommand)]
pub enum TxCommand {
    /// Show the status of a transaction.
    Status {
        /// Its id, `view.seqno`.
        id: String,
        /// Wait until it is committed; a failure if it never will be.
        #[arg(long)]
        wait: bool,
        /// How long to wait, in seconds.
        #[arg(long, default_value_t = 30)]
        timeout: u64,
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Write the receipt of a committed transaction to a file, as CCF has it.
    Receipt {
        /// Its id, `view.seqno`.
        id: String,
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// As COSE instead of JSON.
        #[arg(long)]
        cose: bool,
        /// Write also the service certificate that it is checked by.
        #[arg(long, value_name = "FILE")]
        service_cert: Option<PathBuf>,
        /// Which group.
        #[command(flatten)]
        service: ServiceArgs,
    },
}

/// Flags of `recover`.
#[derive(Args, Clone, Debug)]
pub struct RecoverArgs {
    /// The stopped node's data directory.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data_dir: PathBuf,
    /// Group id; not needed if the node has one signed-Raft group only.
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// Show what would be kept and dropped, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
    /// Configuration file of the node (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the password of the keystore; otherwise QUORATE_KEYSTORE_PASSWORD is read.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `quorate announce`.
#[derive(Args, Clone, Debug)]
pub struct AnnounceArgs {
    /// Group id.
    pub group: String,
    /// As what.
    #[arg(long = "as", value_enum, default_value_t = AnnounceAs::Producer)]
    pub kind: AnnounceAs,
    /// Take an announcement back.
    #[arg(long)]
    pub remove: bool,
    /// Free text.
    #[arg(long, default_value = "")]
    pub memo: String,
}

/// As what a member announces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum AnnounceAs {
    /// Wants to order the group.
    Producer,
    /// Wants to read a private group.
    User,
}

/// `quorate keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys in a node's keystore, never their secrets.
    List(KeystoreArgs),
    /// Check that the password opens every key.
    Check(KeystoreArgs),
}

/// Where a keystore is.
#[derive(Args, Clone, Debug)]
pub struct KeystoreArgs {
    /// The node's data directory.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// File with the password; otherwise QUORATE_KEYSTORE_PASSWORD is read.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `quorate seed`.
#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// Take a seed URL apart and check its signature, without any node.
    Inspect {
        /// The seed URL (`rum://seed?...`).
        url: String,
    },
}

/// `quorate verify`.
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// Check a block written by `block get --bundle`.
    Block(VerifyArgs),
    /// Check a proof of a consensus change written by `consensus proof --out`.
    Proof(VerifyArgs),
    /// Check a receipt written by `trx get --receipt` or `tx receipt`.
    Receipt {
        /// What and by what.
        #[command(flatten)]
        args: VerifyArgs,
        /// Certificate of the service (PEM): the anchor of trust of a signed-Raft receipt.
        #[arg(long, value_name = "FILE")]
        service_cert: Option<PathBuf>,
    },
    /// Check every entry of a signed-Raft ledger directory.
    Ledger {
        /// The directory with the files `ledger_...`, or the one above it.
        dir: PathBuf,
        /// Seed URL of the group: the anchor of trust.
        #[arg(long, value_name = "URL")]
        seed: Option<String>,
        /// Certificate that the service must have at the end of the ledger (PEM).
        #[arg(long, value_name = "FILE")]
        service_cert: Option<PathBuf>,
    },
    /// Check a view chain: the whole history of committees.
    Chain(VerifyArgs),
}

/// Flags of `verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The file.
    pub file: PathBuf,
    /// Seed URL of the group: the anchor of trust. Without it the file's own genesis is shown for
    /// you to compare.
    #[arg(long, value_name = "URL")]
    pub seed: Option<String>,
}

/// `quorate doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// The node's data directory.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data_dir: PathBuf,
    /// Set damaged data aside; the node fetches it again from peers at its next start.
    #[arg(long)]
    pub repair: bool,
}

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
    /// Use the real threshold cryptography for every seed, not for one of twenty.
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
    /// Write the state after the last command of one file as a JSON object, and nothing else.
    #[arg(long)]
    pub dump: bool,
}

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
    #[arg(long, value_enum, default_value_t = KvWire::Http1)]
    pub wire: KvWire,
    /// Election timeout of both in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub election_timeout: u64,
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
}

impl KvWire {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
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
    /// Write the result into the section `load` of this Markdown file.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// `quorate completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `quorate janitor` (hidden).
#[derive(Args, Clone, Debug)]
pub struct JanitorArgs {
    /// What to remove.
    #[arg(long)]
    pub dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
