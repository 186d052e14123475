//! `quorate bench`: figures, each with the command that gave it.

mod document;
mod kv;
mod load;
mod per_post;
pub(crate) mod process_usage;
pub mod signed;
mod traffic;

use crate::args::BenchCommand;
use crate::error::Result;
use crate::output::Report;
pub(crate) use per_post::per_post;

/// Runs a benchmark.
///
/// # Errors
/// Whatever stops it.
pub async fn run(command: BenchCommand) -> Result<Report> {
    match command {
        BenchCommand::Load(args) => load::run(&args).await,
        BenchCommand::Kv(args) => kv::run(&args).await,
    }
}
