//! `quorate bench`: figures, each with the command that gave it.

mod document;
mod load;
mod process_usage;
pub mod signed;

use crate::args::BenchCommand;
use crate::error::Result;
use crate::output::Report;

/// Runs a benchmark.
///
/// # Errors
/// Whatever stops it.
pub async fn run(command: BenchCommand) -> Result<Report> {
    match command {
        BenchCommand::Load(args) => load::run(&args).await,
    }
}
