//! The scenarios of signed Raft in `vectors/raft`, and others if there are any.

use std::path::{Path, PathBuf};

use quorate_simulator::scenario::{self, Options};

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/raft")
}

/// The scenario files of a directory, by name.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.retain(|path| path.is_file() && path.extension().is_none_or(|e| e != "md"));
    files.sort();
    files
}

/// Runs every file without jitter and with eight seeds.
fn run_all(directory: &Path) -> usize {
    let files = files(directory);
    let mut failures = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a scenario is text");
        for seed in 0..=8 {
            let name = file.display().to_string();
            if let Err(failure) = scenario::run(&name, &text, Options { seed, open_end: false }) {
                failures.push(format!("seed {seed}: {failure}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    files.len()
}

#[test]
fn our_scenarios_hold() {
    assert!(run_all(&ours()) >= 40);
}

#[test]
fn scenarios_of_others_hold() {
    // Name a directory to run scenarios that are not part of this project.
    if let Ok(directory) = std::env::var("QUORATE_RAFT_SCENARIOS") {
        assert!(run_all(Path::new(&directory)) > 0);
    }
}
