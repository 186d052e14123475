//! The log of a member on its disk, as the member sees it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;
use quorate_consensus::core::Durable;
use quorate_consensus::raft::{LogRecord, Seqno};
use quorate_replica::cft::log::{Log, Recovered, SnapshotFile};
use quorate_storage::disk::RealDisk;
use quorate_storage::error::{OpenError, StoreError};
use quorate_storage::signed::{self, Options, SignedLog, SnapshotName};

/// The log of one member, with the time its syncs take.
pub struct DiskLog {
    log: SignedLog<RealDisk>,
    kept_snapshots: usize,
    syncs: Histogram,
}

impl DiskLog {
    /// Opens the log in a directory, with what it had. What it lacks is read from directories that
    /// are never written; of its snapshots the newest are kept.
    ///
    /// # Errors
    /// The disk's, or damage.
    pub fn open(
        disk: RealDisk,
        read_only: &[PathBuf],
        kept_snapshots: usize,
        options: Options,
        syncs: Histogram,
    ) -> Result<(Self, signed::Recovered), OpenError> {
        let read_only = read_only.iter().map(RealDisk::read_only).collect();
        let (log, recovered) = SignedLog::open_with(disk, read_only, options)?;
        Ok((Self { log, kept_snapshots, syncs }, recovered))
    }

    /// Whether something that was durable was found to be damaged since the log was opened.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.log.is_damaged()
    }

    /// What a member is told of its past.
    ///
    /// # Errors
    /// The disk's, or damage.
    pub fn recovered(&self, found: &signed::Recovered) -> Result<Recovered, StoreError> {
        let snapshot = if found.base == 0 { None } else { self.snapshot()? };
        Ok(Recovered {
            view: found.view,
            voted_for: found.voted_for,
            commit_idx: found.commit_idx,
            snapshot,
            last_idx: found.last,
        })
    }
}

impl Durable<LogRecord> for DiskLog {
    type Error = StoreError;

    fn append(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        let start = Instant::now();
        let result = self.log.write_ahead(records);
        self.syncs.record(start.elapsed());
        result
    }
}

impl Log for DiskLog {
    fn entries(
        &self,
        from: Seqno,
        to: Seqno,
        max_bytes: usize,
    ) -> Result<Vec<Arc<[u8]>>, StoreError> {
        self.log.entries(from..=to, max_bytes)
    }

    fn is_damage(error: &StoreError) -> bool {
        matches!(error, StoreError::Corrupt(_))
    }

    fn commit(&mut self, seqno: Seqno) -> Result<(), StoreError> {
        self.log.note_commit(seqno);
        Ok(())
    }

    fn settle(&mut self) -> bool {
        self.log.settle()
    }

    fn settles_slowly(&self) -> bool {
        self.log.settles_slowly()
    }

    fn store_snapshot(&mut self, snapshot: &SnapshotFile) -> Result<(), StoreError> {
        let name = name_of(snapshot);
        self.log.write_snapshot(name, &snapshot.bytes)?;
        self.log.prune_snapshots(self.kept_snapshots)?;
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<SnapshotFile>, StoreError> {
        let Some(name) = self.log.snapshots()?.into_iter().rfind(|name| name.committed) else {
            return Ok(None);
        };
        let Some(len) = self.log.snapshot_len(name)? else { return Ok(None) };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = self.log.read_snapshot(name, 0, len)?;
        Ok(bytes.map(|bytes| SnapshotFile {
            seqno: name.seqno,
            evidence: name.evidence,
            bytes: bytes.into(),
        }))
    }

    fn install(&mut self, snapshot: &SnapshotFile) -> Result<(), StoreError> {
        self.log.install(name_of(snapshot), &snapshot.bytes)
    }
}

const fn name_of(snapshot: &SnapshotFile) -> SnapshotName {
    SnapshotName { seqno: snapshot.seqno, evidence: snapshot.evidence, committed: true }
}
