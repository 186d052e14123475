//! `quorate sim plan`: how a committee would perform that nobody has set up.

mod machine;
mod picture;

use std::path::Path;

use quorate_simulator::whatif::conditions::Conditions;
use quorate_simulator::whatif::costs::Costs;
use quorate_simulator::whatif::{Demand, Prediction, Scenario, predict};
use serde_json::json;

use crate::args::PlanArgs;
use crate::error::{CliError, Result};
use crate::output::{Report, print_note, progress, table};

/// Predicts every committee asked for under every load asked for.
///
/// # Errors
/// If a file or number is wrong, or the costs of this machine cannot be measured.
pub async fn run(args: &PlanArgs) -> Result<Report> {
    let conditions = conditions(args)?;
    let cores = args.cores.unwrap_or_else(|| if args.loopback { own_cores() } else { 2 });
    let loads = loads(args);
    let (costs, source) = costs(args).await?;
    let mut predictions = Vec::new();
    for demand in &loads {
        for nodes in &args.nodes {
            let (warm_up, blocks) = length(*nodes, args.blocks);
            let scenario = Scenario {
                nodes: *nodes,
                conditions: conditions.clone(),
                cores,
                costs: costs.clone(),
                demand: *demand,
                trx_bytes: args.trx,
                interval_ms: args.interval,
                warm_up,
                blocks,
                crash: !args.no_crash,
                seed: args.seed,
            };
            predictions.push(one(&scenario)?);
        }
    }
    let picture = picture::draw(&predictions, &headline(args, cores));
    std::fs::write(&args.svg, picture).map_err(|e| CliError::file("write", &args.svg, &e))?;
    let value = json!({
        "protocol": args.protocol,
        "trx_bytes": args.trx,
        "interval_ms": args.interval,
        "cores": cores,
        "seed": args.seed,
        "conditions": conditions,
        "costs": costs,
        "predictions": predictions,
        "svg": args.svg,
    });
    let human = format!(
        "{}\n{}\n{}\ncosts: {source}\npicture: {}",
        price_list(&costs),
        headline(args, cores),
        rows(&predictions),
        args.svg.display(),
    );
    Ok(Report::new(value, human))
}

fn own_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn conditions(args: &PlanArgs) -> Result<Conditions> {
    if args.loopback {
        return Ok(Conditions::loopback());
    }
    let Some(path) = &args.rtt else { return Ok(Conditions::wan()) };
    let wrong = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("{}: {error}", path.display()))
            .hint("copy vectors/wan.toml and change its figures")
    };
    let conditions = Conditions::parse(&read(path)?).map_err(|error| wrong(&error))?;
    if conditions.one_machine {
        return Err(wrong(&"one_machine: use --loopback"));
    }
    Ok(conditions)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| CliError::file("read", path, &e))
}

fn loads(args: &PlanArgs) -> Vec<Demand> {
    if args.rate.is_empty() {
        args.batch.iter().map(|count| Demand::UnderWay(*count)).collect()
    } else {
        args.rate.iter().map(|rate| Demand::Rate(*rate)).collect()
    }
}

/// The table of the file, or a new one, which is kept in the file.
async fn costs(args: &PlanArgs) -> Result<(Costs, String)> {
    if let Some(path) = args.costs.as_ref().filter(|path| path.exists()) {
        let wrong = |error: &dyn std::fmt::Display| {
            CliError::usage(format!("{}: {error}", path.display()))
                .hint("remove the file: a new table is measured then")
        };
        let costs: Costs = serde_json::from_str(&read(path)?).map_err(|error| wrong(&error))?;
        costs.check(args.trx as u64).map_err(|error| wrong(&error))?;
        return Ok((costs, format!("from {}", path.display())));
    }
    let costs = machine::measure(args.trx).await?;
    let Some(path) = &args.costs else { return Ok((costs, "measured now".to_owned())) };
    let text = serde_json::to_string_pretty(&costs).expect("a table is JSON");
    std::fs::write(path, text + "\n").map_err(|e| CliError::file("write", path, &e))?;
    Ok((costs, format!("measured now, kept in {}", path.display())))
}

/// Blocks before the measurement and in it: a large committee takes long to simulate.
fn length(nodes: usize, asked: Option<usize>) -> (usize, usize) {
    let (warm_up, usual) = match nodes {
        0..=8 => (4, 24),
        9..=20 => (3, 12),
        21..=40 => (2, 6),
        _ => (1, 3),
    };
    (warm_up, asked.unwrap_or(usual))
}

fn one(scenario: &Scenario) -> Result<Prediction> {
    let all = (scenario.warm_up + scenario.blocks) as u64;
    let load = match scenario.demand {
        Demand::UnderWay(count) => format!("{count} under way"),
        Demand::Rate(rate) => format!("{rate} posts/s"),
    };
    let bar = progress(all, &format!("{} nodes, {load}", scenario.nodes));
    let result = predict(scenario, |blocks| {
        bar.set_position((blocks as u64).min(all));
        if bar.is_hidden() && scenario.nodes > 20 {
            print_note(&format!("{} nodes, {load}: block {blocks} of {all}", scenario.nodes));
        }
    });
    bar.finish_and_clear();
    result.map_err(|error| CliError::failed(error.to_string()))
}

fn headline(args: &PlanArgs, cores: usize) -> String {
    let network = match (&args.rtt, args.loopback) {
        (_, true) => "one machine".to_owned(),
        (Some(path), _) => path.display().to_string(),
        (None, _) => "eight regions".to_owned(),
    };
    let of = if args.loopback { "for all" } else { "each" };
    format!(
        "{}: {network}, {cores} cores {of}, trxs of {} bytes, epoch interval {} ms",
        args.protocol, args.trx, args.interval
    )
}

fn rows(predictions: &[Prediction]) -> comfy_table::Table {
    let mut table = table([
        "nodes",
        "f",
        "load",
        "blocks",
        "trx/s",
        "trx/block",
        "block ms",
        "p50 ms",
        "p99 ms",
        "sent Mbit/s",
        "most",
        "handed over",
        "busy %",
        "crash: gap ms",
        "catch-up ms",
    ]);
    for p in predictions {
        let load = match (p.under_way, p.rate) {
            (Some(count), _) => format!("{count} under way"),
            (None, rate) => format!("{}/s", rate.unwrap_or(0)),
        };
        let crash = |of: fn(&quorate_simulator::whatif::Recovery) -> f64| {
            p.recovery.as_ref().map_or("-".to_owned(), |recovery| format!("{:.0}", of(recovery)))
        };
        table.add_row([
            p.nodes.to_string(),
            p.tolerated.to_string(),
            load,
            p.blocks.to_string(),
            format!("{:.0}", p.trx_per_second),
            format!("{:.0}", p.trx_per_block),
            format!("{:.0}", p.block_ms),
            format!("{:.0}", p.latency_p50_ms),
            format!("{:.0}", p.latency_p99_ms),
            format!("{:.1}", p.sent_mbit),
            format!("{:.1}", p.sent_mbit_most),
            format!("{:.1}", p.handed_mbit),
            format!("{:.0}", p.busy_percent),
            crash(|recovery| recovery.gap_ms),
            crash(|recovery| recovery.catch_up_ms),
        ]);
    }
    table
}

/// The table of costs for people, in microseconds.
fn price_list(costs: &Costs) -> comfy_table::Table {
    let mut table = table(["operation", "us"]);
    let value = serde_json::to_value(costs).expect("a table is JSON");
    let us = |ns: u64| format!("{:.2}", ns as f64 / 1e3);
    for (name, price) in value.as_object().into_iter().flatten() {
        match (name.as_str(), price.as_u64()) {
            ("trx_bytes", _) | (_, None) => {}
            ("crowded_percent", Some(percent)) => {
                table.add_row([name.clone(), format!("{percent} %")]);
            }
            (_, Some(ns)) => {
                table.add_row([name.clone(), us(ns)]);
            }
        }
    }
    for of in &costs.committees {
        for (name, ns) in [
            ("combine", of.combine),
            ("encode_kib", of.encode_kib),
            ("decode_kib", of.decode_kib),
            ("message", of.message),
        ] {
            table.add_row([format!("{name}, {} nodes", of.nodes), us(ns)]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn large_committees_are_measured_for_fewer_blocks_unless_asked_for_more() {
        assert_eq!(length(4, None), (4, 24));
        assert_eq!(length(100, None), (1, 3));
        assert_eq!(length(100, Some(9)), (1, 9));
    }
}
