//! `quorate doctor`: looks through the data of a node that is not running, and repairs what can be.

use std::path::{Path, PathBuf};

use quorate_node::config::{NodeConfig, Overrides};
use quorate_node::node::lock;
use quorate_storage::check::{Problem, check_with, repair};
use quorate_storage::disk::RealDisk;
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::error::{CliError, Result};
use crate::output::{Report, progress, table};

/// Where a node keeps its groups, each in a directory named by its id.
const GROUPS: &str = "groups";

/// Looks at every group of a data directory.
///
/// # Errors
/// If something is wrong and was not repaired.
pub fn run(args: &DoctorArgs) -> Result<Report> {
    let groups = groups(&args.data_dir)?;
    let overrides = Overrides { data_dir: Some(args.data_dir.clone()), ..Overrides::default() };
    let config = NodeConfig::load(args.config.as_deref(), std::env::vars(), overrides)
        .map_err(|e| CliError::usage(e.to_string()))?;
    let read_only = &config.service.read_only_directories;
    // As a running node keeps us out, we keep nodes out.
    let _lock = lock(&args.data_dir).map_err(|e| {
        CliError::failed(e.to_string()).hint("stop the node first; it must not write meanwhile")
    })?;
    let bar = progress(groups.len() as u64, "groups");
    let mut found = Vec::new();
    let mut rows = table(["group", "file", "what is wrong"]);
    let mut broken = 0;
    for (name, dir) in groups {
        let group = examine(&name, &dir, read_only, args.repair)?;
        for problem in &group.problems {
            rows.add_row([name.clone(), problem.file.clone(), problem.to_string()]);
        }
        broken += group.left;
        found.push(group.to_json());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = found.len();
    let value = json!({ "ok": broken == 0, "repaired": args.repair, "groups": found });
    if rows.is_empty() {
        return Ok(Report::new(value, format!("{count} groups: everything is as it was written")));
    }
    if broken == 0 {
        let human =
            format!("{rows}\nrepaired; the node fetches what is missing from peers when it starts");
        return Ok(Report::new(value, human));
    }
    let message = format!("{broken} problems in {}\n{rows}", args.data_dir.display());
    let hint = if args.repair {
        "keep a copy of the directory; then remove the group's directory and join again by its seed"
    } else {
        "stop the node, keep a copy of the directory, then run `quorate doctor --repair`"
    };
    Err(CliError::failed(message).hint(hint).with(value))
}

fn groups(data_dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let dir = data_dir.join(GROUPS);
    let entries = std::fs::read_dir(&dir).map_err(|e| {
        CliError::file("read", &dir, &e).hint("name a node's data directory with --data-dir")
    })?;
    let mut groups = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| CliError::file("read", &dir, &e))?;
        if entry.path().is_dir() {
            groups.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    groups.sort();
    Ok(groups)
}

/// A group as it was found, and what was done.
struct Examined {
    name: String,
    files: usize,
    entries: u64,
    problems: Vec<Problem>,
    actions: Vec<String>,
    amnesia: bool,
    /// Problems there are still.
    left: usize,
}

impl Examined {
    fn to_json(&self) -> Value {
        let problem = |p: &Problem| json!({ "file": p.file, "offset": p.offset, "id": p.id, "what": p.what, "hint": p.hint });
        json!({
            "group_id": self.name,
            "files": self.files,
            "entries": self.entries,
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "actions": self.actions,
            "amnesia": self.amnesia,
        })
    }
}

fn examine(name: &str, dir: &Path, read_only: &[PathBuf], mend: bool) -> Result<Examined> {
    let failed = |e: quorate_storage::disk::DiskError| {
        CliError::failed(format!("group {name}: {e}")).hint("look at the disk and its permissions")
    };
    let mut disk = RealDisk::open(dir).map_err(failed)?;
    let check = |disk: &RealDisk| {
        let read_only = read_only.iter().map(|dir| RealDisk::read_only(dir.join(name)));
        check_with(disk, read_only.collect())
    };
    let report = check(&disk).map_err(failed)?;
    let mut group = Examined {
        name: name.to_owned(),
        files: report.files,
        entries: report.entries,
        left: report.problems.len(),
        problems: report.problems,
        actions: Vec::new(),
        amnesia: false,
    };
    if mend && group.left > 0 {
        let repaired = repair(&mut disk).map_err(failed)?;
        group.actions = repaired.actions;
        group.amnesia = repaired.amnesia;
        group.left = check(&disk).map_err(failed)?.problems.len();
    }
    Ok(group)
}
