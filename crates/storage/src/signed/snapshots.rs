//! Snapshots of the state [7.5]: `snapshots/snapshot_<seqno>_<evidence seqno>[.committed]`, written
//! beside and renamed. What is in them is the caller's affair, and so is checking it.

use crate::disk::{Disk, DiskError};
use crate::error::StoreError;

/// The directory.
pub(crate) const DIR: &str = "snapshots";

/// Name of a snapshot file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SnapshotName {
    /// The last entry in it.
    pub seqno: u64,
    /// The entry that has its digest.
    pub evidence: u64,
    /// Whether its evidence is committed.
    pub committed: bool,
}

impl SnapshotName {
    /// The file's name.
    #[must_use]
    pub fn text(self) -> String {
        let suffix = if self.committed { ".committed" } else { "" };
        format!("snapshot_{}_{}{suffix}", self.seqno, self.evidence)
    }

    /// Reads a name; `None` if it isn't one in exactly the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("snapshot_")?;
        let (rest, committed) =
            rest.strip_suffix(".committed").map_or((rest, false), |rest| (rest, true));
        let (seqno, evidence) = rest.split_once('_')?;
        let name = Self { seqno: seqno.parse().ok()?, evidence: evidence.parse().ok()?, committed };
        (name.text() == text).then_some(name)
    }

    pub(crate) fn path(self) -> String {
        format!("{DIR}/{}", self.text())
    }
}

/// All there are, ascending.
pub(crate) fn list(disk: &impl Disk) -> Result<Vec<SnapshotName>, DiskError> {
    let names = match disk.list(DIR) {
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names: Vec<_> = names.iter().filter_map(|name| SnapshotName::parse(name)).collect();
    names.sort_unstable();
    Ok(names)
}

/// Writes one, durably; one of that name is replaced.
pub(crate) fn write(
    disk: &mut impl Disk,
    name: SnapshotName,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let path = name.path();
    let temp = format!("{path}.tmp");
    if disk.exists(&temp)? {
        disk.remove(&temp)?;
    }
    disk.write_past(&temp, 0, bytes)?;
    disk.sync(&temp)?;
    disk.rename(&temp, &path)?;
    Ok(disk.sync_dir(DIR)?)
}

/// Removes all but the last `keep`; the names removed.
pub(crate) fn prune(disk: &mut impl Disk, keep: usize) -> Result<Vec<SnapshotName>, StoreError> {
    let mut names = list(disk)?;
    names.truncate(names.len().saturating_sub(keep));
    for name in &names {
        disk.remove(&name.path())?;
    }
    if !names.is_empty() {
        disk.sync_dir(DIR)?;
    }
    Ok(names)
}
