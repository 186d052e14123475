//! Commands for groups that producers order, and for groups of any kind.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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

/// `quorate seed`.
#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// Take a seed URL apart and check its signature, without any node.
    Inspect {
        /// The seed URL (`rum://seed?...`).
        url: String,
    },
}
