//! Where the files of a member are, and what they are called. `[7.5]`

use std::path::{Path, PathBuf};

use quorate_ledger::ids::GroupId;

/// Folder of ledger files in a member's directory.
pub const LEDGER: &str = "ledger";
/// Folder of snapshots in a member's directory.
pub const SNAPSHOTS: &str = "snapshots";

/// First and last entry of a committed ledger file, by its name.
#[must_use]
pub fn committed_chunk(name: &str) -> Option<(u64, u64)> {
    let range = name.strip_prefix("ledger_")?.strip_suffix(".committed")?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = digits.then(|| text.parse().ok())??;
        (number.to_string() == text).then_some(number)
    };
    let (first, last) = (number(first)?, number(last)?);
    (0 < first && first <= last).then_some((first, last))
}

/// The folder of a group in each of the read-only directories.
pub fn read_only(directories: &[PathBuf], group: GroupId) -> Vec<PathBuf> {
    directories.iter().map(|dir: &PathBuf| Path::join(dir, group.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::committed_chunk;

    #[test]
    fn only_committed_ledger_files_are_named() {
        assert_eq!(committed_chunk("ledger_1-17.committed"), Some((1, 17)));
        for name in [
            "ledger_1-17",
            "ledger_1",
            "ledger_17-1.committed",
            "ledger_01-17.committed",
            "ledger_0-17.committed",
            "ledger_1-.committed",
            "../ledger_1-17.committed",
            "ledger_1-17.committed.recovery",
        ] {
            assert_eq!(committed_chunk(name), None, "{name}");
        }
    }
}
