//! `quorate scenario`: files that say step by step what a small group of signed Raft does.

use std::path::Path;

use quorate_simulator::scenario::{self, Failure, Options, Outcome};
use serde_json::{Value, json};

use crate::args::ScenarioArgs;
use crate::error::{CliError, Result};
use crate::output::Report;

/// Runs the files, each in a fresh group, with each of the seeds.
///
/// # Errors
/// If a file cannot be read, or any scenario does not hold: every failure with seed, file, line,
/// command and reason.
pub fn run(args: &ScenarioArgs) -> Result<Report> {
    if args.dump {
        return dump(args);
    }
    let seeds = seeds(args);
    let mut human = String::new();
    let mut results = Vec::new();
    let mut failures = Vec::new();
    let mut failed_files = 0;
    for path in &args.files {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| CliError::file("read", path, &e))?;
        let mut commands = 0;
        let before = failures.len();
        for seed in seeds.iter().copied() {
            match scenario::run(&name, &text, Options { seed, open_end: false }) {
                Ok(outcome) => {
                    // What a scenario prints is of interest once.
                    let first = seed == seeds[0];
                    let printed = outcome.printed.iter().filter(|_| first);
                    printed.for_each(|line| human.push_str(&format!("{line}\n")));
                    commands = outcome.commands;
                }
                Err(failure) => {
                    results.push(failed(&failure, seed));
                    failures.push(if seed == 0 {
                        failure.to_string()
                    } else {
                        format!("seed {seed}: {failure}")
                    });
                }
            }
        }
        if failures.len() == before {
            let runs = seeds.len();
            let times = if runs > 1 { format!(", {runs} runs") } else { String::new() };
            human.push_str(&format!("ok {name} ({commands} commands{times})\n"));
            results.push(json!({ "file": name, "ok": true }));
        } else {
            failed_files += 1;
        }
    }
    let value = json!({ "seed": args.seed, "seeds": seeds, "scenarios": results });
    if failures.is_empty() {
        return Ok(Report::new(value, human.trim_end()));
    }
    let all = args.files.len();
    let message = format!("{failed_files} of {all} scenarios failed\n{}", failures.join("\n"));
    Err(CliError::failed(message).with(value))
}

/// The seeds with which each file is run: 0 is without head starts of the timers.
fn seeds(args: &ScenarioArgs) -> Vec<u64> {
    if args.jitter == 0 {
        return vec![args.seed];
    }
    let first = args.seed.max(1);
    std::iter::once(0).chain(first..first.saturating_add(args.jitter)).collect()
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

fn failed(failure: &Failure, seed: u64) -> Value {
    json!({
        "file": failure.file,
        "ok": false,
        "seed": seed,
        "line": failure.line,
        "command": failure.command,
        "reason": failure.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(files: Vec<std::path::PathBuf>, seed: u64, jitter: u64) -> ScenarioArgs {
        ScenarioArgs { files, seed, jitter, dump: false }
    }

    #[test]
    fn jitter_runs_each_file_without_and_with_each_seed() {
        assert_eq!(seeds(&args(Vec::new(), 7, 0)), [7]);
        assert_eq!(seeds(&args(Vec::new(), 0, 3)), [0, 1, 2, 3]);
        assert_eq!(seeds(&args(Vec::new(), 5, 2)), [0, 5, 6]);
    }

    #[test]
    fn a_file_that_hangs_on_the_timers_fails_with_some_seed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
        std::fs::write(&good, "start_node,0\nemit_signature,2\n").expect("written");
        // Without a head start the time of both is up in the same moment, with one sooner.
        let text = "start_node,0\nemit_signature,2\ntrust_node,2,1\nemit_signature,2\n\
                    loop_until_sync\nperiodic_one,1,60\n\
                    assert_detail,1,leadership_state,Follower\n";
        std::fs::write(&bad, text).expect("written");
        let report = run(&args(vec![good.clone()], 0, 8)).expect("it holds");
        assert!(report.human.contains("9 runs"), "{}", report.human);
        run(&args(vec![bad.clone()], 0, 0)).expect("it holds without");
        let error = run(&args(vec![good, bad], 0, 64)).expect_err("some head start is too long");
        let text = error.to_string();
        assert!(text.contains("1 of 2 scenarios failed") && text.contains("seed "), "{text}");
    }
}
