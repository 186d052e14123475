//! Commands for signed-Raft groups: members, keys and values, transactions, recovery.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::service::Consistency;

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
