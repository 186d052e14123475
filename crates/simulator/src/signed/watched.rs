//! The log of a member, which tells what was made durable: what a member believes it wrote, and what
//! its disk was given, are then two things.

use std::cell::RefCell;
use std::sync::Arc;

use quorate_consensus::core::Durable;
use quorate_consensus::raft::{LogRecord, Seqno};
use quorate_replica::cft::log::{self, Log, SnapshotFile};
use quorate_storage::disk::Disk;
use quorate_storage::error::{OpenError, StoreError};
use quorate_storage::signed::{Options, SignedLog, SnapshotName};

/// Something that is durable now.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A record.
    Record(LogRecord),
    /// The log begins after the snapshot of this entry.
    Installed(Seqno),
}

/// The real log on a disk, watched.
#[derive(Debug)]
pub struct Watched<D> {
    log: SignedLog<D>,
    facts: RefCell<Vec<Fact>>,
    writes: u64,
}

impl<D: Disk> Watched<D> {
    /// Opens the log on a disk; with what a member is told of it.
    ///
    /// # Errors
    /// The disk's, or damage.
    pub fn open(disk: D, options: Options) -> Result<(Self, log::Recovered), OpenError> {
        let (log, found) = SignedLog::open(disk, options)?;
        let snapshot = match found.base {
            0 => None,
            base => {
                let name = found.snapshots.iter().find(|name| name.seqno == base);
                name.map(|name| read(&log, *name)).transpose()?.flatten()
            }
        };
        let recovered = log::Recovered {
            view: found.view,
            voted_for: found.voted_for,
            commit_idx: found.commit_idx,
            snapshot,
            last_idx: found.last,
        };
        Ok((Self { log, facts: RefCell::new(Vec::new()), writes: 0 }, recovered))
    }

    /// What became durable since the last call.
    pub fn facts(&self) -> Vec<Fact> {
        self.facts.take()
    }

    /// How often something was made durable.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    /// The log itself.
    #[must_use]
    pub const fn inner(&self) -> &SignedLog<D> {
        &self.log
    }

    /// All entries of the log.
    ///
    /// # Errors
    /// The disk's, or damage.
    pub fn all(&self) -> Result<Vec<Arc<[u8]>>, StoreError> {
        let (mut entries, first) = (Vec::new(), self.log.base() + 1);
        loop {
            let next = first + entries.len() as Seqno;
            let part = self.log.entries(next..=self.log.last(), usize::MAX)?;
            if part.is_empty() {
                return Ok(entries);
            }
            entries.extend(part);
        }
    }
}

fn read<D: Disk>(
    log: &SignedLog<D>,
    name: SnapshotName,
) -> Result<Option<SnapshotFile>, StoreError> {
    let bytes = log.read_snapshot(name, 0, usize::MAX)?;
    Ok(bytes.map(|bytes| SnapshotFile {
        seqno: name.seqno,
        evidence: name.evidence,
        bytes: bytes.into(),
    }))
}

impl<D: Disk> Durable<LogRecord> for Watched<D> {
    type Error = StoreError;

    fn append(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        self.log.write_ahead(records)?;
        self.writes += u64::from(!records.is_empty());
        self.facts.get_mut().extend(records.iter().cloned().map(Fact::Record));
        Ok(())
    }
}

impl<D: Disk> Log for Watched<D> {
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
        let name =
            SnapshotName { seqno: snapshot.seqno, evidence: snapshot.evidence, committed: true };
        self.log.write_snapshot(name, &snapshot.bytes)?;
        self.writes += 1;
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<SnapshotFile>, StoreError> {
        let latest = self.log.snapshots()?.into_iter().rev().find(|name| name.committed);
        latest.map_or(Ok(None), |name| read(&self.log, name))
    }

    fn install(&mut self, snapshot: &SnapshotFile) -> Result<(), StoreError> {
        let name =
            SnapshotName { seqno: snapshot.seqno, evidence: snapshot.evidence, committed: true };
        self.log.install(name, &snapshot.bytes)?;
        self.writes += 1;
        self.facts.get_mut().push(Fact::Installed(snapshot.seqno));
        Ok(())
    }
}
