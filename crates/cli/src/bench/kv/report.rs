//! The figures of `bench kv`: for programs, for people, for the document.

use serde_json::{Value, json};

use super::failover::Seen;
use super::generator::Measured;
use crate::args::{KvArgs, KvSystem};
use crate::output::table;

/// One measurement of one system in one round.
#[derive(Clone, Debug)]
pub struct Point {
    /// The system.
    pub system: KvSystem,
    /// `write` or `read`.
    pub kind: &'static str,
    /// Clients.
    pub clients: usize,
    /// What was measured.
    pub measured: Measured,
    /// Processor time of the load generator, microseconds per request.
    pub client_us: f64,
    /// Processor time of all three servers, microseconds per request.
    pub server_us: f64,
}

/// What clients of one system saw of one event.
#[derive(Clone, Debug)]
pub struct Failover {
    /// The system.
    pub system: KvSystem,
    /// What happened.
    pub event: &'static str,
    /// What they saw.
    pub seen: Seen,
}

/// All that was measured.
#[derive(Clone, Debug)]
pub struct Figures {
    args: KvArgs,
    command: String,
    /// Version of etcd, if it took part.
    pub etcd_version: Option<String>,
    /// Median time of a sync of the raw disk, in microseconds.
    pub sync_us: f64,
    /// Steady load.
    pub points: Vec<Point>,
    /// Lost leaders.
    pub failovers: Vec<Failover>,
}

/// A row of the table: one kind of load with one number of clients, medians over the rounds.
struct Row {
    kind: &'static str,
    clients: usize,
    /// For each system that took part.
    cells: Vec<(KvSystem, Cell)>,
}

#[derive(Clone, Copy)]
struct Cell {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    client_us: f64,
    server_us: f64,
}

impl Figures {
    /// Nothing yet.
    pub fn new(args: &KvArgs) -> Self {
        let command = std::env::args()
            .skip(1)
            .fold("quorate".to_owned(), |line, arg| format!("{line} {arg}"));
        Self {
            args: args.clone(),
            command,
            etcd_version: None,
            sync_us: 0.0,
            points: Vec::new(),
            failovers: Vec::new(),
        }
    }

    fn rows(&self) -> Vec<Row> {
        let mut keys: Vec<(&'static str, usize)> = Vec::new();
        for point in &self.points {
            if !keys.contains(&(point.kind, point.clients)) {
                keys.push((point.kind, point.clients));
            }
        }
        let cells = |kind, clients| {
            let cell = |system: &KvSystem| Some((*system, self.cell(*system, kind, clients)?));
            self.args.systems.iter().filter_map(cell).collect()
        };
        keys.iter()
            .map(|&(kind, clients)| Row { kind, clients, cells: cells(kind, clients) })
            .collect()
    }

    fn cell(&self, system: KvSystem, kind: &str, clients: usize) -> Option<Cell> {
        let of = |what: fn(&Point) -> f64| {
            let points = self
                .points
                .iter()
                .filter(|p| p.system == system && p.kind == kind && p.clients == clients);
            median(points.map(what).collect())
        };
        Some(Cell {
            rate: of(|p| p.measured.rate())?,
            p50_ms: of(|p| p.measured.quantile_ms(0.50))?,
            p99_ms: of(|p| p.measured.quantile_ms(0.99))?,
            client_us: of(|p| p.client_us)?,
            server_us: of(|p| p.server_us)?,
        })
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.rows().iter().map(Row::to_json).collect();
        let points: Vec<Value> = self.points.iter().map(Point::to_json).collect();
        let failovers: Vec<Value> = self.failovers.iter().map(Failover::to_json).collect();
        json!({
            "command": self.command,
            "value_bytes": self.args.size,
            "seconds": self.args.seconds,
            "rounds": self.args.rounds,
            "election_timeout_ms": self.args.election_timeout,
            "wire": self.args.wire.name(),
            "etcd_version": self.etcd_version,
            "disk_sync_us": round(self.sync_us),
            "rows": rows,
            "runs": points,
            "failovers": failovers,
        })
    }

    /// For people.
    pub fn human(&self) -> String {
        let mut load = table(HEADINGS);
        for row in self.rows() {
            for line in row.lines() {
                load.add_row(line);
            }
        }
        let mut text = format!("{load}\n{}", self.notes().join("\n"));
        if !self.failovers.is_empty() {
            let mut lost = table(LOST);
            for failover in &self.failovers {
                lost.add_row(failover.line());
            }
            text.push_str(&format!("\n{lost}"));
        }
        text
    }

    /// For the document.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "## Key-value: committed writes and linearizable reads, beside etcd\n\n`{}`\n\n",
            self.command
        );
        let mut lines: Vec<[String; 8]> = Vec::new();
        for row in self.rows() {
            lines.extend(row.lines());
        }
        text.push_str(&markdown_table(HEADINGS, &lines));
        text.push('\n');
        text.push_str(&self.notes().join("\n"));
        text.push('\n');
        if !self.failovers.is_empty() {
            let lines: Vec<[String; 7]> = self.failovers.iter().map(Failover::line).collect();
            text.push('\n');
            text.push_str(&markdown_table(LOST, &lines));
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let etcd = self.etcd_version.as_ref().map(|v| format!(" etcd is version {v}, in gRPC;"));
        vec![
            format!(
                "Medians of {} rounds of {} s each, values of {} bytes, three nodes on this machine \
                 ({} cores), one system at a time.",
                self.args.rounds,
                self.args.seconds,
                self.args.size,
                std::thread::available_parallelism().map_or(0, usize::from),
            ),
            format!(
                "{} quorate over {}{}; both with an election timeout of {} ms. A sync of the raw disk \
                 takes {:.0} us.",
                etcd.unwrap_or_default().trim(),
                self.args.wire.name(),
                self.args.settings.iter().map(|(k, v)| format!(", {k} = {v}")).collect::<String>(),
                self.args.election_timeout,
                self.sync_us,
            ),
        ]
    }
}

const HEADINGS: [&str; 8] = [
    "load",
    "clients",
    "system",
    "per second",
    "p50 ms",
    "p99 ms",
    "CPU us/request (servers + clients)",
    "ratio to etcd",
];

const LOST: [&str; 7] =
    ["event", "system", "gap ms", "gap before ms", "writes", "failed", "procedure ms"];

fn markdown_table<const N: usize>(headings: [&str; N], lines: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n|{}\n", headings.join(" | "), "---|".repeat(N));
    for line in lines {
        text.push_str(&format!("| {} |\n", line.join(" | ")));
    }
    text
}

impl Row {
    fn ratio(&self, cell: Cell) -> Option<f64> {
        let etcd = self.cells.iter().find(|(system, _)| *system == KvSystem::Etcd)?.1;
        Some(cell.rate / etcd.rate)
    }

    fn lines(&self) -> Vec<[String; 8]> {
        let line = |(system, cell): &(KvSystem, Cell)| {
            [
                self.kind.to_owned(),
                self.clients.to_string(),
                system.name().to_owned(),
                format!("{:.0}", cell.rate),
                format!("{:.2}", cell.p50_ms),
                format!("{:.2}", cell.p99_ms),
                format!("{:.0} + {:.0}", cell.server_us, cell.client_us),
                self.ratio(*cell).map_or_else(|| "-".to_owned(), |r| format!("{r:.2}")),
            ]
        };
        self.cells.iter().map(line).collect()
    }

    fn to_json(&self) -> Value {
        let mut row = json!({ "load": self.kind, "clients": self.clients });
        for (system, cell) in &self.cells {
            row[system.name()] = json!({
                "per_second": round(cell.rate),
                "p50_ms": round(cell.p50_ms),
                "p99_ms": round(cell.p99_ms),
                "client_cpu_us": round(cell.client_us),
                "server_cpu_us": round(cell.server_us),
                "ratio_to_etcd": self.ratio(*cell).map(round),
            });
        }
        row
    }
}

impl Point {
    fn to_json(&self) -> Value {
        json!({
            "system": self.system.name(),
            "load": self.kind,
            "clients": self.clients,
            "count": self.measured.count,
            "per_second": round(self.measured.rate()),
            "p50_ms": round(self.measured.quantile_ms(0.50)),
            "p99_ms": round(self.measured.quantile_ms(0.99)),
            "max_ms": round(self.measured.quantile_ms(1.0)),
            "client_cpu_us": round(self.client_us),
            "server_cpu_us": round(self.server_us),
        })
    }
}

impl Failover {
    fn line(&self) -> [String; 7] {
        [
            self.event.to_owned(),
            self.system.name().to_owned(),
            format!("{:.0}", self.seen.gap_ms),
            format!("{:.0}", self.seen.usual_gap_ms),
            self.seen.sent.to_string(),
            self.seen.failed.to_string(),
            format!("{:.0}", self.seen.event_ms),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "event": self.event,
            "system": self.system.name(),
            "gap_ms": round(self.seen.gap_ms),
            "gap_before_ms": round(self.seen.usual_gap_ms),
            "writes": self.seen.sent,
            "failed": self.seen.failed,
            "first_failure": self.seen.failure,
            "procedure_ms": round(self.seen.event_ms),
        })
    }
}

/// The middle of some figures; `None` of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[middle - 1], upper))
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
