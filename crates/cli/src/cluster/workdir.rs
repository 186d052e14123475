//! A directory that is gone when its owner is gone, however that ends.
//!
//! Normally it is removed when dropped. A helper process, the janitor, waits for the end of this
//! process (it holds a pipe of it) and removes the directory then if that did not happen.

use std::fs::DirEntry;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{CliError, Result};

/// A file that says that a directory may be removed.
const MARKER: &str = ".quorate-removable";
/// How long the janitor tries: nodes that end with their parent may still write.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);

/// A working directory.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
    remove: bool,
    janitor: Option<Child>,
}

impl Workdir {
    /// A directory that stays.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn keep(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| CliError::file("make", path, &e))?;
        let path = path.canonicalize().map_err(|e| CliError::file("open", path, &e))?;
        Ok(Self { path, remove: false, janitor: None })
    }

    /// A new temporary directory that goes, and its janitor.
    ///
    /// # Errors
    /// If it cannot be made, or the janitor cannot be started.
    pub fn temporary(binary: &Path) -> Result<Self> {
        let base = std::env::temp_dir();
        let path = tempfile::Builder::new()
            .prefix("quorate-")
            .tempdir()
            .map_err(|e| CliError::file("make a directory in", &base, &e))?
            .keep();
        let marked = std::fs::write(path.join(MARKER), b"");
        let mut dir = Self { path, remove: true, janitor: None };
        marked.map_err(|e| CliError::file("write", &dir.path, &e))?;
        let janitor = Command::new(binary)
            .arg("janitor")
            .arg("--dir")
            .arg(&dir.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| CliError::file("start", binary, &e))?;
        dir.janitor = Some(janitor);
        Ok(dir)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_dir_all(&self.path);
        }
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

/// Whether the command line of another process names the directory, as far as the system tells.
fn is_used(dir: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let number = |process: &DirEntry| process.file_name().to_str()?.parse::<u32>().ok();
    let is_other = |process: &DirEntry| number(process).is_some_and(|id| id != std::process::id());
    let others = processes.flatten().filter(is_other);
    let mut lines = others.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let name = dir.as_os_str().as_encoded_bytes();
    lines.any(|line| line.windows(name.len()).any(|part| part == name))
}

/// What the janitor process does: waits for the end of its parent, then removes the directory.
///
/// # Errors
/// If the directory was not made for this, or cannot be removed.
pub fn janitor(dir: &Path) -> Result<()> {
    if !dir.join(MARKER).is_file() {
        return Err(CliError::usage(format!("{} is not a directory to remove", dir.display())));
    }
    // Nothing is ever written to the pipe; it ends when the parent closes it or ends.
    let mut sink = Vec::new();
    let _ = std::io::stdin().take(1).read_to_end(&mut sink);
    let deadline = Instant::now() + REMOVE_LIMIT;
    // A node that is just starting would make its directory again.
    while is_used(dir) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    loop {
        let result = std::fs::remove_dir_all(dir);
        if !dir.exists() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return result.map_err(|e| CliError::file("remove", dir, &e));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
