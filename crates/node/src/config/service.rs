//! Section `service`: how this node takes part in `cft` groups. Times and sizes are spelled as in the
//! reference ("100ms", "5MB"). `[8]`

use std::path::PathBuf;

use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::Config;
use quorate_replica::cft::limits::MAX_SIGNATURE_TX_COUNT;
use toml::Value;

use super::{At, ConfigError};

/// What a node does with a `cft` group it was in before it was restarted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// It goes on as the node it was, with its log and its vote.
    #[default]
    Resume,
    /// It joins as a new node, with a new key and an empty log; the old one is to be retired.
    Rejoin,
}

/// How this node takes part in `cft` groups. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// A leader says something at least so often. Default `100ms`.
    pub message_timeout_ms: u64,
    /// Who hears nothing for so long wants an election. Default `5000ms`.
    pub election_timeout_ms: u64,
    /// Writes are refused while so many transactions wait for their commit; 0: never. Default
    /// 10000.
    pub max_uncommitted_tx_count: u64,
    /// At most so many transactions without a signature. Default 5000.
    pub signature_tx_count: u64,
    /// No transaction is older without a signature. Default `1000ms`.
    pub signature_delay_ms: u64,
    /// Whether a leader with nothing else to do signs at once. Default yes.
    pub signature_adaptive: bool,
    /// Such signatures that may wait for their commit. Default 2.
    pub signature_max_in_flight: u64,
    /// A ledger file ends with the first signature after so many bytes. Default `5MB`.
    pub chunk_size: u64,
    /// A snapshot every so many transactions; 0: none. Default 10000.
    pub snapshot_tx_count: u64,
    /// One that is due by time has at least so many transactions more than the last. Default 2.
    pub snapshot_min_tx_count: u64,
    /// A snapshot so long after the last; 0: none for that reason. Default `0s`.
    pub snapshot_interval_ms: u64,
    /// Directories with committed ledger files, in one folder per group: read, never written.
    pub read_only_directories: Vec<PathBuf>,
    /// How files are cleaned up.
    pub files_cleanup: FilesCleanup,
    /// What happens after a restart. Default `resume`.
    pub restart: Restart,
    /// Whether writes that reach a follower are answered 307 instead of being forwarded.
    pub redirect: bool,
    /// The group at `/node` and `/app`. Default: the only `cft` group there is.
    pub group: Option<GroupId>,
}

/// Which files are removed, and how often that is looked at. `[8]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesCleanup {
    /// How often. Default `30s`.
    pub interval_ms: u64,
    /// Committed snapshots that are kept, the newest. Default 2: the latest, and the one before for
    /// who fetches it just now.
    pub max_snapshots: usize,
    /// Committed ledger files that are kept, the newest; older ones go when a read-only directory has
    /// them. Default: all.
    pub max_committed_ledger_chunks: Option<usize>,
}

impl Default for FilesCleanup {
    fn default() -> Self {
        Self { interval_ms: 30_000, max_snapshots: 2, max_committed_ledger_chunks: None }
    }
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            message_timeout_ms: 100,
            election_timeout_ms: 5_000,
            max_uncommitted_tx_count: 10_000,
            signature_tx_count: 5_000,
            signature_delay_ms: 1_000,
            signature_adaptive: true,
            signature_max_in_flight: 2,
            chunk_size: 5 * 1024 * 1024,
            snapshot_tx_count: 10_000,
            snapshot_min_tx_count: 2,
            snapshot_interval_ms: 0,
            read_only_directories: Vec::new(),
            files_cleanup: FilesCleanup::default(),
            restart: Restart::Resume,
            redirect: false,
            group: None,
        }
    }
}

/// Its keys, for the list of all.
pub(super) const KEYS: [&str; 18] = [
    "service.message_timeout",
    "service.election_timeout",
    "service.max_uncommitted_tx_count",
    "service.signatures.tx_count",
    "service.signatures.delay",
    "service.signatures.adaptive",
    "service.signatures.max_in_flight",
    "service.ledger.chunk_size",
    "service.ledger.read_only_directories",
    "service.snapshots.tx_count",
    "service.snapshots.min_tx_count",
    "service.snapshots.time_interval",
    "service.files_cleanup.interval",
    "service.files_cleanup.max_snapshots",
    "service.files_cleanup.max_committed_ledger_chunks",
    "service.restart",
    "service.redirect",
    "service.group",
];

impl ServiceConfig {
    /// Sets a value; false if there is no such key.
    pub(super) fn set(&mut self, at: &At<'_>, value: Value) -> Result<bool, ConfigError> {
        let Some(key) = at.key.strip_prefix("service.") else { return Ok(false) };
        match key {
            "message_timeout" => self.message_timeout_ms = at.millis(value)?,
            "election_timeout" => self.election_timeout_ms = at.millis(value)?,
            "max_uncommitted_tx_count" => self.max_uncommitted_tx_count = at.number(value)?,
            "signatures.tx_count" => self.signature_tx_count = at.number(value)?,
            "signatures.delay" => self.signature_delay_ms = at.millis(value)?,
            "signatures.adaptive" => self.signature_adaptive = at.flag(value)?,
            "signatures.max_in_flight" => self.signature_max_in_flight = at.number(value)?,
            "ledger.chunk_size" => self.chunk_size = at.size(value)?,
            "ledger.read_only_directories" => {
                self.read_only_directories =
                    at.list("paths", value)?.into_iter().map(PathBuf::from).collect();
            }
            "snapshots.tx_count" => self.snapshot_tx_count = at.number(value)?,
            "snapshots.min_tx_count" => self.snapshot_min_tx_count = at.number(value)?,
            "snapshots.time_interval" => self.snapshot_interval_ms = at.millis(value)?,
            "files_cleanup.interval" => self.files_cleanup.interval_ms = at.millis(value)?,
            "files_cleanup.max_snapshots" => {
                self.files_cleanup.max_snapshots = at.number(value)?;
            }
            "files_cleanup.max_committed_ledger_chunks" => {
                self.files_cleanup.max_committed_ledger_chunks = Some(at.number(value)?);
            }
            "restart" => {
                self.restart = match at.text(value)?.as_str() {
                    "resume" => Restart::Resume,
                    "rejoin" => Restart::Rejoin,
                    other => {
                        let why = format!("must be `resume` or `rejoin`, not `{other}`");
                        return Err(at.wrong(why));
                    }
                }
            }
            "redirect" => self.redirect = at.flag(value)?,
            "group" => self.group = Some(at.parsed(&at.text(value)?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is wrong with the values together: the key, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.message_timeout_ms == 0 {
            return Some(("service.message_timeout", "must be at least 1ms"));
        }
        if self.message_timeout_ms.saturating_mul(2) >= self.election_timeout_ms {
            let why = "must be less than half of `service.election_timeout`, or followers take \
                       silence for a dead leader";
            return Some(("service.message_timeout", why));
        }
        if !(1..=MAX_SIGNATURE_TX_COUNT).contains(&self.signature_tx_count) {
            return Some(("service.signatures.tx_count", "must be from 1 to 20000"));
        }
        if self.signature_delay_ms == 0 {
            return Some(("service.signatures.delay", "must be at least 1ms"));
        }
        if self.signature_max_in_flight == 0 {
            return Some(("service.signatures.max_in_flight", "must be at least 1"));
        }
        if self.chunk_size == 0 {
            return Some(("service.ledger.chunk_size", "must be at least 1B"));
        }
        self.fault_of_cleanup()
    }

    fn fault_of_cleanup(&self) -> Option<(&'static str, &'static str)> {
        let cleanup = &self.files_cleanup;
        if cleanup.interval_ms == 0 {
            return Some(("service.files_cleanup.interval", "must be at least 1ms"));
        }
        if cleanup.max_snapshots == 0 {
            return Some(("service.files_cleanup.max_snapshots", "must be at least 1"));
        }
        let chunks = "service.files_cleanup.max_committed_ledger_chunks";
        match cleanup.max_committed_ledger_chunks {
            Some(0) => Some((chunks, "must be at least 1")),
            Some(_) if self.read_only_directories.is_empty() => {
                let why = "needs `service.ledger.read_only_directories`: a ledger file is removed only \
                           if a copy of it is in one of them";
                Some((chunks, why))
            }
            _ => None,
        }
    }

    /// What a member of a group is opened with.
    pub(crate) fn apply(&self, config: Config) -> Config {
        Config {
            message_timeout_ms: self.message_timeout_ms,
            election_timeout_ms: self.election_timeout_ms,
            max_uncommitted_tx_count: self.max_uncommitted_tx_count,
            signature_tx_count: self.signature_tx_count,
            signature_delay_ms: self.signature_delay_ms,
            signature_adaptive: self.signature_adaptive,
            signature_max_in_flight: self.signature_max_in_flight,
            chunk_size: self.chunk_size,
            snapshot_tx_count: self.snapshot_tx_count,
            snapshot_min_tx_count: self.snapshot_min_tx_count,
            snapshot_interval_ms: self.snapshot_interval_ms,
            ..config
        }
    }
}

/// A whole number and its unit.
fn quantity(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Milliseconds of a time in the reference's spelling. One that is not a whole number of them is
/// rounded up.
pub(super) fn millis(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text)?;
    match unit {
        "us" => Some(number.div_ceil(1000)),
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "min" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    }
}

/// Bytes of a size in the reference's spelling; its units are powers of 1024.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text)?;
    let power = match unit {
        "" | "B" => 0,
        "KB" => 1,
        "MB" => 2,
        "GB" => 3,
        "TB" => 4,
        _ => return None,
    };
    number.checked_mul(1024_u64.pow(power))
}

#[cfg(test)]
mod tests {
    use super::{millis, size};

    #[test]
    fn times_and_sizes_are_spelled_as_in_the_reference() {
        for (text, expected) in [
            ("100ms", Some(100)),
            ("1500us", Some(2)),
            ("5s", Some(5000)),
            ("2 min", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("100", None),
            ("ms", None),
            ("-1ms", None),
            ("1.5s", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
        for (text, expected) in [
            ("5MB", Some(5 * 1024 * 1024)),
            ("17", Some(17)),
            ("17B", Some(17)),
            ("1TB", Some(1 << 40)),
            ("1kb", None),
            ("18446744073709551615TB", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
