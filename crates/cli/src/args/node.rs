//! Commands for one node: running it, its keys, its data.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

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

/// `quorate doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// The node's data directory.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data_dir: PathBuf,
    /// Configuration file of the node (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set damaged data aside; the node fetches it again from peers at its next start.
    #[arg(long)]
    pub repair: bool,
}
