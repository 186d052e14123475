//! What the cross-process tests share: the program under test, networks of it, and looks at them.
//!
//! | test | what it shows |
//! |---|---|
//! | `architecture` | the dependency arrows of the design, and what the pure crates may not name |
//! | `walkthrough` | the walk-through of seed 001, step by step, on real processes |
//! | `durability` | `kill -9` of one and of all nodes under load: nothing acknowledged is lost |
//! | `signed` | signed-Raft groups: leader killed, all nodes replaced under load, ledgers verified |
//! | `bad_input` | what must be refused, and that refusing costs nothing |
//! | `dev_run` | `quorate dev`, and that it leaves nothing behind |
//! | `documents` | links and commands of the documents |
//! | `commands` | the command line: exit codes, one JSON object, errors that say what to do |
//! | `clients/` | third-party clients in Python (`make test-clients`) |

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use quorate_cli::cluster::Cluster;
use serde_json::Value;

/// The `quorate` program under test: `QUORATE_BIN`, or freshly built by cargo.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("QUORATE_BIN") {
            return PathBuf::from(path);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--bin", "quorate"])
            .current_dir(root())
            .status()
            .expect("cargo can be started");
        assert!(built.success(), "the program under test does not build");
        // This test stands in <target>/<profile>/deps.
        let here = std::env::current_exe().expect("a process knows its program");
        let profile = here.parent().and_then(Path::parent).expect("tests stand in deps");
        profile.with_file_name("debug").join("quorate")
    })
}

/// The workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests are in the workspace").to_owned()
}

/// The golden values of the reference.
///
/// # Panics
/// If they are not there.
#[must_use]
pub fn vectors() -> Value {
    let path = root().join("vectors/quorum.json");
    let text = std::fs::read_to_string(path).expect("the vectors are in the workspace");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// An empty network of the program under test.
///
/// # Panics
/// If there is no place for it.
#[must_use]
pub fn network() -> Cluster {
    Cluster::new(binary(), None).expect("there is place for a network")
}

/// Runs a test that waits for processes.
///
/// # Panics
/// If the operating system gives no event queue.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event queue can be made")
        .block_on(test);
}

/// Runs the program under test with these arguments, and nothing of the caller's settings.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn quorate(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("QUORATE_")) {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().expect("the program under test starts")
}

/// The one JSON object that a command wrote.
///
/// # Panics
/// If it is not one line with one object.
#[must_use]
pub fn json_of(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).expect("standard output is UTF-8");
    let mut lines = text.lines();
    let (first, second) = (lines.next(), lines.next());
    let line = first.unwrap_or_else(|| {
        panic!("nothing on standard output; {}", String::from_utf8_lossy(&output.stderr))
    });
    assert_eq!(second, None, "more than one line on standard output");
    let value: Value = serde_json::from_str(line).expect("standard output is JSON");
    assert!(value.is_object(), "standard output is an object");
    value
}
