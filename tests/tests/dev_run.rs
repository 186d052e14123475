//! `quorate dev`: every step holds with one, and with seven producers; and nothing is left running
//! or behind, however it ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_tests::{binary, json_of};
use serde_json::{Value, json};

const STEPS: [&str; 12] = [
    "start",
    "create-group",
    "first-commit",
    "join",
    "announce",
    "change-consensus",
    "verify-proof",
    "post",
    "kill-producer",
    "restart-producer",
    "posts-ordered",
    "same-blocks",
];

/// Runs `quorate dev` with its temporary files in a directory of ours.
fn dev(tmp: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("dev").args(arguments).env("TMPDIR", tmp);
    command
}

fn completes(nodes: &str) {
    let tmp = tempfile::tempdir().expect("a directory");
    let arguments = ["--nodes", nodes, "--exit", "--output", "json"];
    let output = dev(tmp.path(), &arguments).output().expect("quorate starts");
    let value = json_of(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{value}\n{errors}");
    let steps = value["steps"].as_array().expect("steps");
    let names: Vec<&str> = steps.iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names[..STEPS.len()], STEPS);
    assert!(steps.iter().all(|s| s["ok"] == true && s["ms"].is_u64()), "{value}");
    assert!(value["first_commit_ms"].is_u64(), "{value}");
    assert!(value["blocks"].as_u64() > Some(2), "{value}");
    assert_eq!(value["same_hash_on_all"], true);
    assert_eq!(value["proof_verified"], true);
    assert_nothing_left(tmp.path());
}

#[test]
fn with_one_producer() {
    completes("1");
}

#[test]
fn with_seven_producers() {
    completes("7");
}

/// Processes whose command line names a directory.
fn processes_in(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().expect("a path");
    let entries = std::fs::read_dir("/proc").expect("this is Linux");
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(dir)
    })
    .collect()
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the directory is ours");
    entries.filter_map(|e| Some(e.ok()?.path())).collect()
}

/// What is left goes within a short time: children notice the end of their parent by themselves.
fn assert_nothing_left(tmp: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (pids, files) = (processes_in(tmp), files_in(tmp));
        if pids.is_empty() && files.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: processes {pids:?}, files {files:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts a run that stays up, and waits until it has processes.
fn started(tmp: &Path) -> Child {
    let mut command = dev(tmp, &["--nodes", "1", "--output", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = child.expect("quorate starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while processes_in(tmp).len() < 4 {
        assert!(Instant::now() < deadline, "the processes did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

#[test]
fn an_interrupt_ends_everything_and_says_so() {
    let tmp = tempfile::tempdir().expect("a directory");
    let child = started(tmp.path());
    signal(&child, "-INT");
    let output = child.wait_with_output().expect("quorate ends");
    let value: Value = json_of(&output);
    assert_nothing_left(tmp.path());
    if output.status.code() == Some(130) {
        assert_eq!(value["error"]["code"], json!("interrupted"));
    } else {
        // It was through already, and stayed up to be looked at.
        assert!(output.status.success(), "{value}");
    }
}

#[test]
fn a_termination_ends_everything() {
    let tmp = tempfile::tempdir().expect("a directory");
    let child = started(tmp.path());
    signal(&child, "-TERM");
    let output = child.wait_with_output().expect("quorate ends");
    assert!(matches!(output.status.code(), Some(0 | 130)), "{}", output.status);
    assert_nothing_left(tmp.path());
}

#[test]
fn a_kill_leaves_nothing_either() {
    let tmp = tempfile::tempdir().expect("a directory");
    let mut child = started(tmp.path());
    child.kill().expect("quorate is running");
    child.wait().expect("quorate ends");
    assert_nothing_left(tmp.path());
}
