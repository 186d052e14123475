//! `quorate scenario`: files that say step by step what a small group of signed Raft does.

use std::path::Path;

use quorate_simulator::scenario::{self, Failure, Options, Outcome};
use serde_json::{Value, json};

use crate::args::ScenarioArgs;
use crate::error::{CliError, Result};
use crate::output::Report;

/// Runs the files, each in a fresh group.
///
/// # Errors
/// If a file cannot be read, or any scenario does not hold: every failure with file, line, command
/// and reason.
pub fn run(args: &ScenarioArgs) -> Result<Report> {
    if args.dump {
        return dump(args);
    }
    let options = Options { seed: args.seed, open_end: false };
    let mut human = String::new();
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for path in &args.files {
        match run_file(path, options)? {
            Ok(outcome) => {
                outcome.printed.iter().for_each(|line| human.push_str(&format!("{line}\n")));
                let commands = outcome.commands;
                human.push_str(&format!("ok {} ({commands} commands)\n", path.display()));
                results.push(json!({ "file": path.display().to_string(), "ok": true }));
            }
            Err(failure) => {
                results.push(failed(&failure));
                failures.push(failure.to_string());
            }
        }
    }
    let value = json!({ "seed": args.seed, "scenarios": results });
    if failures.is_empty() {
        return Ok(Report::new(value, human.trim_end()));
    }
    let (failed, all) = (failures.len(), args.files.len());
    let message = format!("{failed} of {all} scenarios failed\n{}", failures.join("\n"));
    Err(CliError::failed(message).with(value))
}

fn dump(args: &ScenarioArgs) -> Result<Report> {
    let [path] = args.files.as_slice() else {
        return Err(CliError::usage("--dump takes one file"));
    };
    let options = Options { seed: args.seed, open_end: true };
    match run_file(path, options)? {
        Ok(outcome) => {
            let value = scenario::dump::dump(&outcome.group);
            let human = value.to_string();
            Ok(Report::new(value, human))
        }
        Err(failure) => Err(CliError::failed(failure.to_string())),
    }
}

fn run_file(path: &Path, options: Options) -> Result<Result<Outcome, Failure>> {
    let text = std::fs::read_to_string(path).map_err(|e| CliError::file("read", path, &e))?;
    Ok(scenario::run(&path.display().to_string(), &text, options))
}

fn failed(failure: &Failure) -> Value {
    json!({
        "file": failure.file,
        "ok": false,
        "line": failure.line,
        "command": failure.command,
        "reason": failure.reason,
    })
}
