//! `quorate dev`: the main job on this machine, with real processes, from start to end.
//!
//! A bootstrap node, producer nodes and a user node; a group, created through the API; every
//! producer announced; the consensus changed from one producer to all of them; the proof of that
//! checked offline; posts from the user node while one producer is killed and started again; the
//! same blocks on all nodes; a block checked offline down to the seed. [`scenario`] has the steps.
//! With `--protocol cft` it is a signed-Raft group instead: [`service`].

mod scenario;
mod service;
mod steps;

use serde_json::Value;

use crate::args::{DevArgs, Format};
use crate::cluster::{Cluster, Role};
use crate::error::{CliError, Kind, Result};
use crate::output::{Report, table};
use crate::signals;

pub use steps::{StepReport, Steps};

/// What a kind of run does and shows.
struct Play<O> {
    /// Settings of all nodes.
    settings: &'static [(&'static str, &'static str)],
    /// What the run has shown so far.
    outcome: O,
    /// Commands to try on a network that stays up.
    next_commands: fn(&O, &Cluster) -> String,
    /// The object of `--output json`.
    object: fn(&O, &Steps) -> Value,
}

/// Runs the command.
///
/// # Errors
/// The first step that did not hold.
pub async fn run(args: &DevArgs, format: Format) -> Result<Option<Report>> {
    if args.protocol == "cft" {
        return play(args, format, service::play(), service::run).await;
    }
    play(args, format, scenario::play(), scenario::run).await
}

/// Plays all steps on a network of child processes, and keeps it up if that is wanted.
async fn play<O>(
    args: &DevArgs,
    format: Format,
    mut play: Play<O>,
    run: impl AsyncFnOnce(&DevArgs, &mut Cluster, &mut Steps, &mut O) -> Result<()>,
) -> Result<Option<Report>> {
    let binary = std::env::current_exe()
        .map_err(|e| CliError::failed(format!("cannot find my own program: {e}")))?;
    let mut steps = Steps::new(format);
    let mut cluster = Cluster::new(&binary, args.keep.as_deref())?;
    cluster.set_log(&args.log);
    cluster.set_settings(play.settings);
    let result = tokio::select! {
        result = run(args, &mut cluster, &mut steps, &mut play.outcome) => result,
        () = signals::stop() => Err(CliError::new(Kind::Interrupted, "stopped by a signal")),
    };
    if result.is_ok() && !args.exit {
        stay(&cluster, &steps, &(play.next_commands)(&play.outcome, &cluster)).await;
    }
    if result.is_err() && !steps.done().is_empty() {
        show_logs(&cluster, &steps);
    }
    let stopped = match &result {
        Ok(()) => cluster.stop().await,
        Err(_) => Ok(()),
    };
    drop(cluster);
    let value = (play.object)(&play.outcome, &steps);
    match result.and(stopped) {
        Ok(()) => {
            let seconds = steps.elapsed().as_secs_f32();
            let human = format!("every step held; everything ended after {seconds:.1} s");
            Ok(Some(Report::new(value, human)))
        }
        Err(error) => Err(error.with(value)),
    }
}

/// Stays up until it is told to stop.
async fn stay(cluster: &Cluster, steps: &Steps, next_commands: &str) {
    steps.say(&nodes_table(cluster));
    steps.say(next_commands);
    steps.say("\nThe network is up. Ctrl-C ends it and removes everything.");
    signals::stop().await;
    steps.say("\nending");
}

/// The table of nodes.
fn nodes_table(cluster: &Cluster) -> String {
    let mut rows = table(["node", "role", "API", "pid"]);
    for node in cluster.nodes() {
        let pid = node.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let api = node.info().api.clone();
        rows.add_row([node.name().to_owned(), node.role().name().to_owned(), api, pid]);
    }
    rows.to_string()
}

/// What the nodes had to say before a step failed.
fn show_logs(cluster: &Cluster, steps: &Steps) {
    for node in cluster.nodes() {
        let role = if node.role() == Role::Bootstrap { " (bootstrap)" } else { "" };
        steps.say(&format!("\nlast lines of {}{role}:\n{}", node.name(), node.log_tail()));
    }
}
