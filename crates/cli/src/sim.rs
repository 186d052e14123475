//! `quorate sim`: the protocol in a simulated network with faults.

use std::time::Instant;

use quorate_simulator::{Crypto, Options, Protocol, faults};
use serde_json::{Value, json};

use crate::args::SimArgs;
use crate::error::{CliError, Result};
use crate::output::{Report, progress, table};

/// Most runs that making a failing seed small may take.
const SHRINK_RUNS: usize = 300;

/// Runs the seeds.
///
/// # Errors
/// If any property did not hold for any seed, with the whole report.
pub fn run(args: &SimArgs) -> Result<Report> {
    let protocol = Protocol::from_name(&args.protocol)
        .ok_or_else(|| CliError::usage("there is no such protocol"))?;
    let (nodes, faulty) = match protocol {
        Protocol::Poa => (4, 1),
        Protocol::Cft => (3, 0),
    };
    let options = Options {
        protocol,
        nodes: args.nodes.unwrap_or(nodes).into(),
        faulty: args.faulty.unwrap_or(faulty).into(),
        first: args.seed,
        seeds: args.seeds,
        crypto: if args.real { Crypto::Real } else { Crypto::Mixed },
        trace: args.trace,
    };
    if options.faulty > options.nodes {
        return Err(CliError::usage("there cannot be more traitors than members"));
    }
    if protocol == Protocol::Cft && options.faulty > 0 {
        return Err(CliError::usage("nobody lies in cft: --faulty must be 0"));
    }
    let bar = progress(args.seeds, "seeds");
    let started = Instant::now();
    let mut report = quorate_simulator::run_reduced(&options, &args.reduce, |_, _| bar.inc(1));
    report.real_seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let mut rows = table(["fault", "times", "what it does"]);
    let kinds = || faults::KINDS.into_iter();
    for (kind, text) in kinds() {
        let count = report.faults.get(kind).copied().unwrap_or(0);
        rows.add_row([kind.to_owned(), count.to_string(), text.to_owned()]);
    }
    for (kind, count) in &report.faults {
        if kinds().all(|known| known.0 != *kind) {
            rows.add_row([(*kind).to_owned(), count.to_string(), String::new()]);
        }
    }
    let human = format!(
        "{rows}\n{} members, {} traitors, {} seeds: {} failures\n{} {} in {:.0} virtual \
         seconds, {:.1} real ones ({:.0}x)\nrecovery after the faults: p50 {} ms, p99 {} ms, at \
         most {} ms\ndigest {}",
        report.nodes,
        report.faulty,
        report.seeds,
        report.failures.len(),
        report.decisions,
        match protocol {
            Protocol::Poa => "blocks",
            Protocol::Cft => "transactions",
        },
        report.virtual_seconds,
        report.real_seconds,
        report.virtual_seconds / report.real_seconds.max(1e-9),
        report.recovery_ms[0],
        report.recovery_ms[1],
        report.recovery_ms[2],
        report.digest,
    );
    let mut value = serde_json::to_value(&report).expect("a report is JSON");
    let Some(first) = report.failures.first() else { return Ok(Report::new(value, human)) };
    let message = format!(
        "{} of {} seeds failed; the first is {}: {} ({})",
        report.failures.len(),
        report.seeds,
        first.seed,
        first.property,
        first.detail,
    );
    let mut replay = first.replay.clone();
    if args.shrink
        && let Some(shrunk) = shrink(&options, first.seed)
    {
        value["shrunk"] = shrunk.clone();
        replay = shrunk["replay"].as_str().expect("just made").to_owned();
    }
    Err(CliError::failed(message).hint(replay).with(value))
}

/// Makes a failing seed small, and says what is left.
fn shrink(options: &Options, seed: u64) -> Option<Value> {
    eprintln!("making seed {seed} small, in at most {SHRINK_RUNS} runs");
    let shrunk = quorate_simulator::shrink_seed(options, seed, SHRINK_RUNS)?;
    let replay = quorate_simulator::replay_reduced(options, seed, &shrunk.reduction);
    let (before, left) = shrunk.blows;
    eprintln!("{} runs: {left} of {before} blows are left", shrunk.runs);
    Some(json!({
        "runs": shrunk.runs,
        "blows_before": before,
        "blows": left,
        "reduction": shrunk.reduction.to_string(),
        "property": shrunk.violation.property,
        "detail": shrunk.violation.detail,
        "replay": replay,
    }))
}
