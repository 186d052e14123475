//! What a member needs of the log on its disk.

use std::sync::Arc;

use quorate_consensus::core::Durable;
use quorate_consensus::raft::{LogRecord, NodeId, Seqno, View};

/// What the disk still had when a member was opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// The last view written.
    pub view: View,
    /// The vote in it.
    pub voted_for: Option<NodeId>,
    /// The highest commit index stored; it may be lower than it was.
    pub commit_idx: Seqno,
    /// The snapshot that the log begins after, if it does not begin with entry 1.
    pub snapshot: Option<SnapshotFile>,
    /// Last entry in the log (the snapshot's if it has none; 0 if there is nothing).
    pub last_idx: Seqno,
}

/// A committed snapshot as it is stored \[7.5\].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// The last transaction it stands for.
    pub seqno: Seqno,
    /// The transaction that has its digest.
    pub evidence: Seqno,
    /// The whole file.
    pub bytes: Arc<[u8]>,
}

/// The log of one `cft` group: records through [`Durable`], entries back. [`Log::settle`] follows an
/// append before the next one, when everybody has been told what is durable.
pub trait Log: Durable<LogRecord> {
    /// Bytes of the entries `from..=to` in order, as many as fit `max_bytes` but at least one;
    /// empty if `from` is not in the log.
    ///
    /// # Errors
    /// The disk's, or corruption.
    fn entries(
        &self,
        from: Seqno,
        to: Seqno,
        max_bytes: usize,
    ) -> Result<Vec<Arc<[u8]>>, Self::Error>;

    /// Whether an error says that what was durable is damaged: it is not what was written, and will
    /// not be again. Other errors are the disk's, which may pass.
    fn is_damage(error: &Self::Error) -> bool;

    /// Everything up to `seqno` is committed. Needs no sync of its own: after a crash a lower index
    /// may be found.
    ///
    /// # Errors
    /// The disk's.
    fn commit(&mut self, seqno: Seqno) -> Result<(), Self::Error>;

    /// Does what an append left to do that nobody has to wait for. Whether it is done; if not, it is
    /// to be tried again.
    fn settle(&mut self) -> bool;

    /// Whether [`Log::settle`] would have a sync to wait for.
    fn settles_slowly(&self) -> bool;

    /// Stores a committed snapshot.
    ///
    /// # Errors
    /// The disk's.
    fn store_snapshot(&mut self, snapshot: &SnapshotFile) -> Result<(), Self::Error>;

    /// The latest snapshot stored, if any.
    ///
    /// # Errors
    /// The disk's, or corruption.
    fn snapshot(&self) -> Result<Option<SnapshotFile>, Self::Error>;

    /// Makes the log begin after a snapshot, which holds everything that was committed in it. View
    /// and vote stay.
    ///
    /// # Errors
    /// The disk's; it is tried again before anything else is written.
    fn install(&mut self, snapshot: &SnapshotFile) -> Result<(), Self::Error>;
}
