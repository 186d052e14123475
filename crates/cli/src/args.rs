//! The command line, as clap reads it. What a command does is in [`crate::commands`].

mod bench;
mod group;
mod node;
mod service;
mod simulate;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::bench::{BenchCommand, KvArgs, KvSystem, KvWire, LoadArgs};
pub use self::group::{
    AnnounceArgs, AnnounceAs, BlockCommand, ChangeArgs, ConsensusCommand, GroupCommand,
    SeedCommand, TrxCommand,
};
pub use self::node::{
    BootstrapCommand, DoctorArgs, KeysCommand, KeystoreArgs, NodeCommand, RunArgs,
};
pub use self::service::{
    ChangeFlags, KvCommand, MemberCommand, RecoverArgs, ServiceArgs, TxCommand, WriteFlags,
};
pub use self::simulate::{DevArgs, PlanArgs, ScenarioArgs, SimArgs, SimCommand};
pub use self::verify::{VerifyArgs, VerifyCommand};

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
