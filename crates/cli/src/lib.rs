//! The command line of quorate, and the networks of real processes that `quorate dev`, the load
//! benchmark and the cross-process tests run on.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the command line |
//! | [`commands`] | what each command does |
//! | [`api`] | the HTTP API of a running node: the one place that knows its paths |
//! | [`cluster`] | nodes as child processes, a group on them, what must be equal on all |
//! | [`dev`] | `quorate dev`: the main job from start to end |
//! | [`bench`] | `quorate bench` |
//! | [`service`] | the HTTP API of a signed-Raft group |
//! | [`sim`] | `quorate sim` |
//! | [`output`] | reports, tables, progress |
//! | [`error`] | errors that say what to do, and exit codes |
//! | [`wait`] | waiting for conditions |
pub mod api;
pub mod args;
pub mod bench;
pub mod cluster;
pub mod commands;
pub mod dev;
pub mod error;
pub mod output;
pub mod service;
mod signals;
mod sim;
pub mod wait;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;

/// Runs the command line of this process.
///
/// # Panics
/// If the operating system gives no event queue.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.global.output;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event queue can be made");
    let result = runtime.block_on(commands::run(cli));
    // Threads that still read standard input or resolve names must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(report)) => {
            report.print(format);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::print_error(&error, format);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
