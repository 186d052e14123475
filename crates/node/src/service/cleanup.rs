//! Removes old files of a member: `service.files_cleanup`. `[8]`
//!
//! Of snapshots the newest are kept. A committed ledger file is removed only if a read-only directory
//! has the same file, byte by byte, and never if it has an entry of the newest snapshot or a later
//! one: snapshot and files of this node alone then still bring the service back. The member reads
//! from the read-only directory what is gone here; nobody has to tell it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_ledger::ids::GroupId;
use quorate_storage::signed::SnapshotName;
use tokio::task::JoinHandle;

use super::files::{self, LEDGER, SNAPSHOTS};
use crate::config::ServiceConfig;

/// Bytes of a file compared at a time.
const PART: usize = 256 * 1024;

/// What is removed, and where.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// The group.
    pub group: GroupId,
    /// Directory of the member.
    pub dir: PathBuf,
    /// Directories with copies.
    pub read_only: Vec<PathBuf>,
    /// Snapshots kept.
    pub max_snapshots: usize,
    /// Committed ledger files kept; `None`: all.
    pub max_chunks: Option<usize>,
}

/// Names of the files removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Snapshots.
    pub snapshots: Vec<String>,
    /// Ledger files.
    pub chunks: Vec<String>,
    /// Ledger files that would go if they were in a read-only directory.
    pub kept: Vec<String>,
}

impl Cleanup {
    /// Cleans up every so often, until the task is aborted. Must be called inside a runtime.
    pub fn start(self, config: &ServiceConfig) -> JoinHandle<()> {
        let interval = Duration::from_millis(config.files_cleanup.interval_ms);
        tokio::spawn(async move {
            let mut rounds = tokio::time::interval(interval);
            rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut told = Vec::new();
            loop {
                rounds.tick().await;
                let (cleanup, group) = (self.clone(), self.group);
                match tokio::task::spawn_blocking(move || cleanup.run()).await {
                    Ok(Ok(removed)) => report(group, &removed, &mut told),
                    Ok(Err(error)) => {
                        tracing::warn!(%group, %error, "files cannot be cleaned up");
                    }
                    Err(error) => tracing::error!(%group, %error, "cleaning up ended"),
                }
            }
        })
    }

    /// Looks once, and removes what is to go. Blocks.
    ///
    /// # Errors
    /// The operating system's; what was removed before is gone.
    pub fn run(&self) -> io::Result<Removed> {
        let mut removed = Removed::default();
        let mut snapshots: Vec<SnapshotName> = names(&self.dir.join(SNAPSHOTS))?
            .iter()
            .filter_map(|name| SnapshotName::parse(name))
            .filter(|name| name.committed)
            .collect();
        snapshots.sort_unstable();
        let newest = snapshots.last().map(|name| name.seqno);
        snapshots.truncate(snapshots.len().saturating_sub(self.max_snapshots));
        for name in snapshots {
            remove(&self.dir.join(SNAPSHOTS).join(name.text()))?;
            removed.snapshots.push(name.text());
        }
        if let Some(most) = self.max_chunks {
            self.remove_chunks(most, newest, &mut removed)?;
        }
        Ok(removed)
    }

    fn remove_chunks(
        &self,
        most: usize,
        snapshot: Option<u64>,
        removed: &mut Removed,
    ) -> io::Result<()> {
        let dir = self.dir.join(LEDGER);
        let names = names(&dir)?;
        let mut chunks: Vec<_> =
            names.iter().filter_map(|name| Some((files::committed_chunk(name)?, name))).collect();
        chunks.sort_unstable();
        chunks.truncate(chunks.len().saturating_sub(most));
        for ((_, last), name) in chunks {
            if snapshot.is_some_and(|snapshot| last >= snapshot) {
                break;
            }
            let own = dir.join(name);
            let mut copies = self.read_only.iter().map(|place| place.join(name));
            if copies.any(|copy| same(&own, &copy).unwrap_or(false)) {
                remove(&own)?;
                removed.chunks.push(name.clone());
            } else {
                removed.kept.push(name.clone());
            }
        }
        Ok(())
    }
}

/// Says what was removed, and once of each file what is kept for want of a copy.
fn report(group: GroupId, removed: &Removed, told: &mut Vec<String>) {
    for name in removed.snapshots.iter().chain(&removed.chunks) {
        tracing::info!(%group, name, "an old file was removed");
    }
    for name in removed.kept.iter().filter(|name| !told.contains(name)) {
        tracing::warn!(%group, name, "kept: no read-only directory has the same file");
    }
    told.clone_from(&removed.kept);
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => {
            Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes a file; that it is gone already is as good.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (vec![0; PART], vec![0; PART]);
    loop {
        let read = fill(&mut one, &mut here)?;
        if read != fill(&mut other, &mut there)? || here[..read] != there[..read] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads as much as there is room for.
fn fill(file: &mut File, room: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < room.len() {
        match file.read(&mut room[done..])? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use quorate_ledger::ids::GroupId;

    use super::{Cleanup, Removed};

    fn write(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir).expect("made");
        std::fs::write(dir.join(name), text).expect("written");
    }

    fn cleanup(root: &Path, max_chunks: Option<usize>) -> Cleanup {
        Cleanup {
            group: GroupId(uuid::Uuid::from_u128(1)),
            dir: root.join("own"),
            read_only: vec![root.join("gone"), root.join("copies")],
            max_snapshots: 2,
            max_chunks,
        }
    }

    #[test]
    fn ledger_files_go_when_a_copy_is_elsewhere() {
        let root = tempfile::tempdir().expect("a directory");
        let (own, copies) = (root.path().join("own/ledger"), root.path().join("copies"));
        for name in ["1-4", "5-8", "9-12", "13-16", "17-20"] {
            write(&own, &format!("ledger_{name}.committed"), name);
        }
        write(&own, "ledger_21", "open");
        write(&copies, "ledger_1-4.committed", "1-4");
        write(&copies, "ledger_5-8.committed", "5+8");
        write(&copies, "ledger_9-12.committed", "9-12");
        write(&copies, "ledger_13-16.committed", "13-16");
        assert_eq!(cleanup(root.path(), None).run().expect("reads"), Removed::default());
        let removed = cleanup(root.path(), Some(2)).run().expect("reads");
        assert_eq!(removed.chunks, ["ledger_1-4.committed", "ledger_9-12.committed"]);
        assert_eq!(removed.kept, ["ledger_5-8.committed"], "the copy is another");
        let left = std::fs::read_dir(&own).expect("there").count();
        assert_eq!((left, std::fs::read_dir(&copies).expect("there").count()), (4, 4));
        let again = cleanup(root.path(), Some(2)).run().expect("reads");
        assert_eq!((again.chunks.len(), again.kept.len()), (0, 1));
    }

    #[test]
    fn what_follows_the_newest_snapshot_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let (own, copies) = (root.path().join("own"), root.path().join("copies"));
        for name in ["1-4", "5-8", "9-12", "13-16"] {
            write(&own.join("ledger"), &format!("ledger_{name}.committed"), name);
            write(&copies, &format!("ledger_{name}.committed"), name);
        }
        let snapshots = ["snapshot_2_3.committed", "snapshot_8_9.committed", "snapshot_12_14"];
        for name in snapshots.into_iter().chain(["snapshot_4_5.committed"]) {
            write(&own.join("snapshots"), name, name);
        }
        let removed = cleanup(root.path(), Some(1)).run().expect("reads");
        assert_eq!(removed.snapshots, ["snapshot_2_3.committed"]);
        // The snapshot at 8 has entry 8; that at 12 is not committed.
        assert_eq!(removed.chunks, ["ledger_1-4.committed"]);
        assert_eq!(removed.kept, [] as [&str; 0]);
    }
}
