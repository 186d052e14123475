//! `quorate sim`: the protocol in a simulated network with faults.

use std::time::Instant;

use quorate_simulator::{Crypto, Options, faults};

use crate::args::SimArgs;
use crate::error::{CliError, Result};
use crate::output::{Report, progress, table};

/// Runs the seeds.
///
/// # Errors
/// If any property did not hold for any seed, with the whole report.
pub fn run(args: &SimArgs) -> Result<Report> {
    let options = Options {
        nodes: usize::from(args.nodes),
        faulty: usize::from(args.faulty),
        first: args.seed,
        seeds: args.seeds,
        crypto: if args.real { Crypto::Real } else { Crypto::Mixed },
        trace: args.trace,
    };
    if options.faulty > options.nodes {
        return Err(CliError::usage("there cannot be more traitors than producers"));
    }
    let bar = progress(args.seeds, "seeds");
    let started = Instant::now();
    let mut report = quorate_simulator::run(&options, |_, _| bar.inc(1));
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
        "{rows}\n{} producers, {} traitors, {} seeds: {} failures\n{} blocks in {:.0} virtual \
         seconds, {:.1} real ones\ndigest {}",
        report.nodes,
        report.faulty,
        report.seeds,
        report.failures.len(),
        report.decisions,
        report.virtual_seconds,
        report.real_seconds,
        report.digest,
    );
    let value = serde_json::to_value(&report).expect("a report is JSON");
    let Some(first) = report.failures.first() else { return Ok(Report::new(value, human)) };
    let message = format!(
        "{} of {} seeds failed; the first is {}: {} ({})",
        report.failures.len(),
        report.seeds,
        first.seed,
        first.property,
        first.detail,
    );
    Err(CliError::failed(message).hint(first.replay.clone()).with(value))
}
