//! Commands that check files, without any node.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
        /// The directory with the files `ledger_...`, or the one above it; further ones with what it
        /// does not have (as the node's service.ledger.read_only_directories).
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
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
