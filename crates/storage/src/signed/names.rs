//! Names of chunk files [7.5].

use crate::disk::{Disk, DiskError};

/// Directory of the chunk files.
pub(crate) const DIR: &str = "ledger";
/// A file name with a higher sequence number is none of ours.
const MAX_SEQNO: u64 = 1 << 62;

/// A chunk's file name: `ledger_<first>` while it is open, `ledger_<first>-<last>` when complete,
/// `ledger_<first>-<last>.committed` when all of it is committed, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ChunkName {
    pub first: u64,
    /// Of a complete chunk.
    pub last: Option<u64>,
    pub committed: bool,
}

impl ChunkName {
    pub const fn open(first: u64) -> Self {
        Self { first, last: None, committed: false }
    }

    pub const fn complete(first: u64, last: u64, committed: bool) -> Self {
        Self { first, last: Some(last), committed }
    }

    /// The name alone.
    pub fn text(self) -> String {
        let suffix = if self.committed { ".committed" } else { "" };
        match self.last {
            None => format!("ledger_{}", self.first),
            Some(last) => format!("ledger_{}-{last}{suffix}", self.first),
        }
    }

    /// Path from the log's directory.
    pub fn path(self) -> String {
        format!("{DIR}/{}", self.text())
    }

    /// Reads a name; `None` if it isn't one in exactly the written form.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("ledger_")?;
        let (range, committed) =
            rest.strip_suffix(".committed").map_or((rest, false), |range| (range, true));
        let name = match range.split_once('-') {
            None => Self::open(range.parse().ok()?),
            Some((first, last)) => {
                Self::complete(first.parse().ok()?, last.parse().ok()?, committed)
            }
        };
        let last = name.last.unwrap_or(name.first);
        let fits = 0 < name.first && name.first <= last && last < MAX_SEQNO;
        (fits && name.text() == text).then_some(name)
    }

    /// All chunks there are, by first sequence number.
    pub fn list(disk: &impl Disk) -> Result<Vec<Self>, DiskError> {
        Self::list_in(disk, DIR)
    }

    /// As [`Self::list`], of another directory than the log's own.
    pub fn list_in(disk: &impl Disk, dir: &str) -> Result<Vec<Self>, DiskError> {
        let names = match disk.list(dir) {
            Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names: Vec<_> = names.iter().filter_map(|name| Self::parse(name)).collect();
        names.sort_unstable();
        Ok(names)
    }
}
