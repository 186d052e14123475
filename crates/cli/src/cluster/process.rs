//! One node as a child process.
//!
//! The child holds the read end of a pipe whose only write end is here, and stops when that closes:
//! so it ends with this process, however this one ends. It is in a process group of its own, so
//! that Ctrl-C at a terminal reaches this process alone, which then ends its children in order.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::api::Api;
use crate::wait::{Look, until};

/// How long a node may take from its start to its ready line.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long a node may take to stop when it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How many lines of a node's log an error shows.
const TAIL_LINES: usize = 15;
/// How much of the end of a log is read for that.
const TAIL_BYTES: u64 = 16 * 1024;

/// What a node is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Where the others find each other.
    Bootstrap,
    /// Meant to order groups.
    Producer,
    /// Meant to use groups.
    User,
}

impl Role {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Producer => "producer",
            Self::User => "user",
        }
    }
}

/// The line a node writes on standard output when its API answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// URL of its API.
    pub api: String,
    /// Its network identity.
    pub peer_id: String,
    /// Addresses that other nodes reach it at, with its identity.
    pub listen: Vec<String>,
}

/// Why a node process did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("node {name}: {what}{tail}")]
pub struct ProcessError {
    /// The node.
    pub name: String,
    /// What happened.
    pub what: String,
    /// End of its log, ready to be shown.
    pub tail: String,
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Program.
    pub binary: PathBuf,
    /// What runs the program, with its arguments: for example `unshare`. Usually nothing.
    pub wrapper: Vec<String>,
    /// Its name, for people.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Data directory, logs beside it.
    pub dir: PathBuf,
    /// Nodes to connect to.
    pub peers: Vec<String>,
    /// Password of its keystore.
    pub password: String,
    /// Log filter.
    pub log: String,
    /// Configuration by dotted keys, for example `service.election_timeout`.
    pub settings: Vec<(String, String)>,
}

/// A node as a child process. Killed when dropped.
#[derive(Debug)]
pub struct NodeProcess {
    spec: NodeSpec,
    child: Option<Child>,
    pending: Option<oneshot::Receiver<Result<Ready, String>>>,
    ready: Option<Ready>,
}

impl NodeProcess {
    /// Starts the process; [`NodeProcess::ready`] waits for it.
    ///
    /// # Errors
    /// [`ProcessError`] if it cannot be started.
    pub fn spawn(spec: NodeSpec) -> Result<Self, ProcessError> {
        let mut node = Self { spec, child: None, pending: None, ready: None };
        node.start()?;
        Ok(node)
    }

    /// Starts the process again after it ended, with the same ports as before.
    ///
    /// # Errors
    /// [`ProcessError`] if it cannot be started.
    ///
    /// # Panics
    /// If it is running.
    pub fn start(&mut self) -> Result<(), ProcessError> {
        assert!(self.child.is_none(), "{} is running already", self.spec.name);
        let failed =
            |what: String| ProcessError { name: self.spec.name.clone(), what, tail: String::new() };
        std::fs::create_dir_all(&self.spec.dir)
            .map_err(|e| failed(format!("cannot make {}: {e}", self.spec.dir.display())))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(|e| failed(format!("cannot write {}: {e}", self.log_path().display())))?;
        let mut child = self
            .command(log)
            .spawn()
            .map_err(|e| failed(format!("cannot start {}: {e}", self.spec.binary.display())))?;
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || read_ready(BufReader::new(stdout), sender));
        self.child = Some(child);
        self.pending = Some(receiver);
        Ok(())
    }

    fn command(&self, log: File) -> Command {
        let spec = &self.spec;
        let mut command = match spec.wrapper.split_first() {
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(&spec.binary);
                command
            }
            None => Command::new(&spec.binary),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|n| n.starts_with("QUORATE_")) {
                command.env_remove(name);
            }
        }
        command.env("QUORATE_KEYSTORE_PASSWORD", &spec.password);
        for (key, value) in &spec.settings {
            command.env(format!("QUORATE_{}", key.to_uppercase().replace('.', "_")), value);
        }
        command.arg(if spec.role == Role::Bootstrap { "bootstrap" } else { "node" }).arg("run");
        command.args(["--output", "json", "--exit-with-parent"]);
        command.args(["--keystore-cost", "4", "--log", &spec.log]);
        command.arg("--data-dir").arg(&spec.dir);
        command.arg("--api-listen").arg(self.api_listen());
        command.arg("--listen").arg(self.p2p_listen());
        for peer in &spec.peers {
            command.arg("--peer").arg(peer);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).process_group(0);
        command
    }

    /// The first start takes free ports; a restart takes the same again.
    fn api_listen(&self) -> String {
        let known = self.ready.as_ref().and_then(|r| r.api.strip_prefix("http://"));
        known.unwrap_or("127.0.0.1:0").to_owned()
    }

    fn p2p_listen(&self) -> String {
        let known = self.ready.as_ref().and_then(|r| r.listen.first());
        let address = known.map_or("/ip4/127.0.0.1/tcp/0", |a| a.as_str());
        address.split("/p2p/").next().unwrap_or(address).to_owned()
    }

    /// Waits until the node's API answers.
    ///
    /// # Errors
    /// [`ProcessError`] with the end of its log if it ends before, or takes too long.
    pub async fn ready(&mut self) -> Result<(), ProcessError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        match timeout(READY_LIMIT, pending).await {
            Ok(Ok(Ok(ready))) => {
                self.ready = Some(ready);
                Ok(())
            }
            Ok(Ok(Err(why))) => Err(self.error(why)),
            Ok(Err(_)) => {
                let status = self.child.as_mut().and_then(|c| c.wait().ok());
                let status = status.map_or_else(String::new, |s| format!(" ({s})"));
                Err(self.error(format!("ended before it was ready{status}")))
            }
            Err(_) => Err(self.error(format!("not ready after {} s", READY_LIMIT.as_secs()))),
        }
    }

    /// Kills the process (`SIGKILL`) and waits for its end.
    pub fn kill(&mut self) {
        self.pending = None;
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process in order: closes its standard input and waits.
    ///
    /// # Errors
    /// [`ProcessError`] if it does not end in time (it is killed then), or with a failure.
    pub async fn stop(&mut self) -> Result<(), ProcessError> {
        self.pending = None;
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        drop(child.stdin.take());
        let ended = until("its end", STOP_LIMIT, || {
            let look = match child.try_wait() {
                Ok(Some(status)) => Look::Done(status),
                Ok(None) => Look::NotYet("still running".to_owned()),
                Err(error) => Look::NotYet(error.to_string()),
            };
            async move { look }
        })
        .await;
        self.kill();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.error(format!("ended with {status}"))),
            Err(_) => Err(self.error(format!("did not stop within {} s", STOP_LIMIT.as_secs()))),
        }
    }

    /// Whether the process is running now.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it is for.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.spec.role
    }

    /// Its data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.spec.dir
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it said when it became ready.
    ///
    /// # Panics
    /// If it never was.
    #[must_use]
    pub fn info(&self) -> &Ready {
        self.ready.as_ref().expect("the node was waited for")
    }

    /// Whether it was ready once, so that it has addresses.
    #[must_use]
    pub const fn has_been_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Its HTTP API.
    ///
    /// # Panics
    /// If it never was ready.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.info().api, None)
    }

    /// File of its log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.spec.dir.with_extension("log")
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path()).unwrap_or_default()
    }

    fn error(&self, what: String) -> ProcessError {
        let tail = self.log_tail();
        let tail = if tail.is_empty() { tail } else { format!("\n{tail}") };
        ProcessError { name: self.spec.name.clone(), what, tail }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads the ready line (or the error in its place), and then everything else, so that the child
/// never waits for its reader.
fn read_ready(
    mut stdout: BufReader<impl std::io::Read>,
    sender: oneshot::Sender<Result<Ready, String>>,
) {
    let mut sender = Some(sender);
    let mut line = String::new();
    loop {
        line.clear();
        match stdout.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        let said = match value["error"]["message"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => match serde_json::from_value(value) {
                Ok(ready) => Ok(ready),
                Err(_) => continue,
            },
        };
        if let Some(sender) = sender.take() {
            let _ = sender.send(said);
        }
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    Ok(lines[first..].iter().map(|l| format!("    | {l}")).collect::<Vec<_>>().join("\n"))
}
