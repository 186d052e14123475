//! Everything durable of one node of one `cft` group: its log in CCF's files, vote, commit index,
//! snapshots, secrets.
//!
//! | in the log's directory | what it is |
//! |---|---|
//! | `ledger/` | chunk files exactly as CCF's [7.5] (`files`), byte-identical on all nodes |
//! | `raft_0`, `raft_1` | the journal: what was appended since the last checkpoint (`journal`) |
//! | `raft_commit` | the commit index, as a hint (`mark`); every frame of the journal has it, too |
//! | `snapshots/` | snapshots (`snapshots`) |
//! | `vault/` | sealed secrets (`secrets`) |
//!
//! # An append
//! 1. All records become one frame of the journal, synced once. From here on they count.
//! 2. The chunk files follow, without a sync. This step may fail without harm (a full disk): it is
//!    tried again after the next append, and the entries stay in memory until then.
//! 3. When the journal has grown long, a *checkpoint*: the chunk files are synced and the journal
//!    begins anew. How long differs each time, so that the nodes of a group, which append the same,
//!    do not all wait for their disks at the same time.
//!
//! An error in step 1 leaves everything as it was; appending the same records again overwrites what
//! was written. (If only the sync failed and the process dies at once, the append may be found after
//! the restart: nobody was told that it wasn't.)
//!
//! # Why a journal beside the files
//! CCF's container has no checksum by entry: a torn entry of the last append cannot be told from a
//! good one before a signature covers it, and a node that resumes would keep it in place of the
//! leader's. The journal's frames have checksums, take vote, truncation and entries in one sync, are
//! written over preallocated space, and leave the files as CCF's to the byte.
//!
//! # Recovery (O1 of the reference)
//! The journal says what there is (see `journal` for torn and damaged frames). *Stable* is every entry
//! below the checkpoint that no record took back since: it must be in the files. Whatever the files
//! have behind it is written again from the journal. A log that misses something that was durable is
//! refused, with file and offset: the node must rejoin. That is known from a bad frame before good
//! ones, a missing or damaged chunk, chunk files that have more than the journal knows of, or a commit
//! index beyond the log. Whether entries that a signature covers are what they
//! were is not checked here, but by whoever replays them. Of those that were in the files before they
//! were committed the journal has checksums, since there may be no signature after them.

mod archive;
pub(crate) mod check;
pub(crate) mod entry;
pub(crate) mod files;
pub(crate) mod journal;
pub(crate) mod mark;
pub(crate) mod names;
mod recovery;
mod secrets;
pub(crate) mod snapshots;
mod sums;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use quorate_consensus::core::Durable;
use quorate_consensus::raft::{LogRecord, NodeId};
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::mutants::{Mutant, mutated};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::disk::{Disk, DiskError};
use crate::error::{OpenError, StoreError};
use crate::vault;

pub(crate) use self::archive::Archive;
pub use self::entry::is_framed;
use self::files::{Files, Survey};
use self::journal::{Checkpoint, Journal};
use self::names::ChunkName;
pub use self::snapshots::SnapshotName;

/// A checkpoint is made once the journal has this many bytes, or up to half of them less.
pub const JOURNAL_SIZE: u64 = 4 << 20;
/// Bytes of the newest entries that are kept in memory.
pub const CACHE_SIZE: usize = 8 << 20;
/// While the chunk files cannot be written, appends go on until the journal has this many times its
/// size; then they are refused.
const JOURNAL_STRETCH: u64 = 4;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seals the secrets.
    pub sealing_key: SymmetricKey,
    /// For nonces and salts: from the operating system in production, seeded in the simulator.
    pub rng: ChaCha20Rng,
    /// See [`JOURNAL_SIZE`].
    pub journal_size: u64,
    /// See [`CACHE_SIZE`]. Entries since the last checkpoint stay in memory anyway.
    pub cache_size: usize,
    /// Takes chunk files without a journal for the log: a ledger copied from elsewhere. Otherwise
    /// they are refused, since view and vote are lost.
    pub adopt: bool,
}

impl Options {
    /// The usual sizes; nothing is adopted.
    #[must_use]
    pub fn new(sealing_key: SymmetricKey, rng: ChaCha20Rng) -> Self {
        let (journal_size, cache_size) = (JOURNAL_SIZE, CACHE_SIZE);
        Self { sealing_key, rng, journal_size, cache_size, adopt: false }
    }

    fn salt(&mut self) -> journal::Salt {
        let mut salt = journal::Salt::default();
        self.rng.fill_bytes(&mut salt);
        salt
    }

    /// Bytes of the journal at the next checkpoint.
    fn next_checkpoint(&mut self) -> u64 {
        self.journal_size - self.rng.next_u64() % (self.journal_size / 2 + 1)
    }
}

/// What a node that resumes has kept. The entries are read with [`SignedLog::entries`], the
/// snapshots with [`SignedLog::read_snapshot`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Nothing has ever been appended: the node is new.
    pub is_new: bool,
    /// The last vote record: the node's view (0 if there was none).
    pub view: u64,
    /// Who has its vote in `view`.
    pub voted_for: Option<NodeId>,
    /// The log begins after this entry: 0, or the last one of a snapshot.
    pub base: u64,
    /// The last entry; `base` if there is none.
    pub last: u64,
    /// The highest commit index known. It may be lower than it was.
    pub commit_idx: u64,
    /// Snapshots there are, ascending.
    pub snapshots: Vec<SnapshotName>,
}

/// Figures for telemetry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// The log begins after this entry.
    pub base: u64,
    /// The last entry.
    pub last: u64,
    /// Committed.
    pub commit_idx: u64,
    /// Chunk files.
    pub chunks: usize,
    /// Bytes of the chunk files.
    pub ledger_bytes: u64,
    /// Length of the journal in bytes.
    pub journal_bytes: u64,
    /// Entries that are durable in the journal but not in the chunk files yet.
    pub unwritten: u64,
    /// Entries in memory.
    pub cached: usize,
    /// Bytes of entries in memory.
    pub cached_bytes: usize,
    /// Appends that counted, since opening.
    pub appends: u64,
    /// Appends that failed, since opening.
    pub failed_appends: u64,
    /// Checkpoints, since opening.
    pub checkpoints: u64,
    /// Housekeeping that failed (and is tried again), since opening.
    pub failed_housekeeping: u64,
    /// Reads that found damage, since opening.
    pub corrupt_reads: u64,
}

/// A chunk file, as others may see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkInfo {
    /// Its name.
    pub name: String,
    /// Its first entry.
    pub first: u64,
    /// Its last entry so far.
    pub last: u64,
    /// Length in bytes.
    pub size: u64,
    /// It has its position table and takes no further entry.
    pub complete: bool,
    /// All of it is committed: it never changes again.
    pub committed: bool,
}

/// The durable log of one node.
#[derive(Debug)]
pub struct SignedLog<D> {
    disk: D,
    archive: Archive<D>,
    options: Options,
    journal: Journal,
    files: Files,
    /// The chunk files may differ from `files`: to be brought back to `stable` before anything else.
    suspect: bool,
    base: u64,
    last: u64,
    commit: u64,
    view: u64,
    voted_for: Option<NodeId>,
    /// The files hold everything up to here durably.
    stable: u64,
    /// The files hold everything up to here, unless `suspect`.
    written: u64,
    /// The newest entries, up to `last`; all from `stable` on.
    cache: VecDeque<Arc<[u8]>>,
    cached_bytes: usize,
    /// A checkpoint is made once the journal has so many bytes.
    checkpoint_at: u64,
    /// Number of times the commit index was noted.
    marks: u64,
    appends: u64,
    failed_appends: u64,
    checkpoints: u64,
    failed_housekeeping: u64,
    corrupt_reads: AtomicU64,
}

impl<D: Disk> Durable<LogRecord> for SignedLog<D> {
    type Error = StoreError;

    /// All steps of an append.
    ///
    /// # Panics
    /// As [`SignedLog::write_ahead`].
    fn append(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        self.write_ahead(records)?;
        if !records.is_empty() {
            self.settle();
        }
        Ok(())
    }
}

impl<D: Disk> SignedLog<D> {
    /// Step 1 of an append: the records are durable, and count. Whoever waits for that can be told
    /// before [`SignedLog::settle`].
    ///
    /// # Errors
    /// The disk's; nothing has changed.
    ///
    /// # Panics
    /// On our own mistakes: an entry that does not follow the last one or is not [`is_framed`], a
    /// truncation of what is committed.
    pub fn write_ahead(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.assert_sound(records);
        if let Err(error) = self.try_append(records) {
            self.failed_appends += 1;
            if mutated(Mutant::CftAppendFailed) {
                return Ok(());
            }
            return Err(error);
        }
        self.appends += 1;
        Ok(())
    }

    fn assert_sound(&self, records: &[LogRecord]) {
        let (mut last, mut commit) = (self.last, self.commit.max(self.base));
        for record in records {
            match record {
                LogRecord::Vote { .. } => {}
                LogRecord::Truncate { after } => {
                    assert!(
                        commit <= *after && *after <= last,
                        "truncation to {after}, committed {commit}, last {last}",
                    );
                    last = *after;
                }
                LogRecord::Commit(seqno) => {
                    assert!(*seqno <= last, "commit of {seqno}, but the log ends at {last}");
                    commit = commit.max(*seqno);
                }
                LogRecord::Append(entry) => {
                    let seqno = entry.seqno;
                    assert!(seqno == last + 1, "entry {seqno} appended after {last}");
                    assert!(is_framed(&entry.bytes), "entry {seqno} is not framed");
                    last = seqno;
                }
            }
        }
    }

    fn try_append(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        let most = self.options.journal_size.saturating_mul(JOURNAL_STRETCH);
        if self.journal.is_turning() || self.journal.bytes() > most {
            self.checkpoint()?;
        }
        let ends = records.iter().filter_map(|record| match record {
            LogRecord::Commit(seqno) => Some(*seqno),
            _ => None,
        });
        let commit = ends.fold(self.commit, u64::max);
        self.journal.append(&mut self.disk, commit, records)?;
        self.commit = commit;
        for record in records {
            match record {
                LogRecord::Vote { view, voted_for } => {
                    (self.view, self.voted_for) = (*view, *voted_for);
                }
                LogRecord::Truncate { after } => self.take_back(*after),
                LogRecord::Commit(_) => {}
                LogRecord::Append(entry) => {
                    self.last = entry.seqno;
                    self.cached_bytes += entry.bytes.len();
                    self.cache.push_back(Arc::clone(&entry.bytes));
                }
            }
        }
        Ok(())
    }

    fn take_back(&mut self, after: u64) {
        for _ in after..self.last {
            if let Some(bytes) = self.cache.pop_back() {
                self.cached_bytes -= bytes.len();
            }
        }
        self.last = after;
        self.suspect |= self.written > after;
        self.written = self.written.min(after);
        self.stable = self.stable.min(after);
    }

    /// First entry in memory; the one after the last if there is none.
    fn first_cached(&self) -> u64 {
        self.last + 1 - self.cache.len() as u64
    }

    /// Writes what the chunk files miss.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.suspect {
            let known = self.files.chunks();
            let survey = Survey::read(&self.disk, &self.archive, self.base, self.stable, known)?;
            self.files = survey.apply(&mut self.disk)?;
            self.written = self.stable;
            self.suspect = false;
        }
        let skip = usize::try_from(self.written + 1 - self.first_cached()).expect("in memory");
        // Should it fail, the files are brought back before the next try.
        self.suspect = true;
        self.files.write(&mut self.disk, self.cache.iter().skip(skip))?;
        self.written = self.last;
        self.files.commit(&mut self.disk, self.commit)?;
        self.suspect = false;
        Ok(())
    }

    /// Step 3 of an append.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.suspect = true;
        self.files.sync(&mut self.disk)?;
        self.suspect = false;
        self.stable = self.last;
        let at = Checkpoint {
            base: self.base,
            last: self.last,
            commit: self.commit,
            view: self.view,
            voted_for: self.voted_for,
            sums: self.files.sums_after(self.commit),
        };
        let salt = self.options.salt();
        self.journal.turn(&mut self.disk, salt, &at)?;
        self.checkpoint_at = self.options.next_checkpoint();
        self.checkpoints += 1;
        Ok(())
    }

    /// Whether [`settle`](Self::settle) would have to sync.
    #[must_use]
    pub fn settles_slowly(&self) -> bool {
        self.suspect || self.journal.bytes() >= self.checkpoint_at
    }

    /// Steps 2 and 3 of an append; whether they are done. What fails is done with the next append, or
    /// when this is called again: until then the chunk files may be behind, or in any state.
    pub fn settle(&mut self) -> bool {
        let done = if self.journal.bytes() >= self.checkpoint_at {
            self.checkpoint()
        } else {
            self.flush()
        };
        if let Err(error) = &done {
            self.failed_housekeeping += 1;
            *self.corrupt_reads.get_mut() += u64::from(matches!(error, StoreError::Corrupt(_)));
            tracing::warn!(%error, "chunk files of a log are behind; tried again later");
        }
        while self.cached_bytes > self.options.cache_size && self.first_cached() <= self.stable {
            let bytes = self.cache.pop_front().expect("there are bytes");
            self.cached_bytes -= bytes.len();
        }
        done.is_ok()
    }

    /// Everything up to `seqno` is committed. No sync of its own: the next append has it, and a hint
    /// is left for a restart. Complete chunks that are now committed get the name of such.
    ///
    /// Not between an append that failed and the one that makes up for it: the failed one may be
    /// found after a restart, and might take back what was committed meanwhile.
    ///
    /// # Panics
    /// If there is no such entry: our own mistake.
    pub fn note_commit(&mut self, seqno: u64) {
        assert!(seqno <= self.last, "commit of {seqno}, but the log ends at {}", self.last);
        if seqno <= self.commit {
            return;
        }
        self.commit = seqno;
        self.marks += 1;
        mark::write(&mut self.disk, self.marks, seqno);
        if !self.suspect
            && let Err(error) = self.files.commit(&mut self.disk, seqno)
        {
            self.suspect = true;
            self.failed_housekeeping += 1;
            tracing::warn!(%error, "a committed chunk keeps its name for now");
        }
    }

    /// Lets the log begin after `seqno`, the last entry of a snapshot, durably. What it had is no part
    /// of it any more; its chunk files are put aside (`.ignored`).
    ///
    /// # Errors
    /// The disk's; then nothing has changed, but after a restart it may begin there. Before the next
    /// append this must be tried again.
    ///
    /// # Panics
    /// If more is known to be committed: our own mistake.
    pub fn begin_after(&mut self, seqno: u64) -> Result<(), StoreError> {
        let known = self.commit.max(self.base);
        assert!(seqno >= known, "begins after {seqno}, but {known} is committed");
        // The files of what is given up are whole, so that they are known for what they are.
        self.flush()?;
        self.suspect = true;
        self.files.sync(&mut self.disk)?;
        self.suspect = false;
        self.journal.demand_turn();
        let at = Checkpoint {
            base: seqno,
            last: seqno,
            commit: seqno,
            view: self.view,
            voted_for: self.voted_for,
            sums: Vec::new(),
        };
        let salt = self.options.salt();
        // This is what counts: from here on a restart finds the new log, and puts away the old one.
        self.journal.turn(&mut self.disk, salt, &at)?;
        (self.base, self.last, self.commit) = (seqno, seqno, seqno);
        (self.stable, self.written, self.suspect) = (seqno, seqno, true);
        self.cache.clear();
        self.cached_bytes = 0;
        self.settle();
        Ok(())
    }

    /// Lets the log begin after a snapshot that is given, durably. Until it does, the snapshot does
    /// not have the name of a committed one, so that a restart never takes it for one of the log
    /// that is there.
    ///
    /// # Errors
    /// As [`SignedLog::begin_after`].
    ///
    /// # Panics
    /// As [`SignedLog::begin_after`].
    pub fn install(&mut self, name: SnapshotName, bytes: &[u8]) -> Result<(), StoreError> {
        let fresh = SnapshotName { committed: false, ..name };
        snapshots::write(&mut self.disk, fresh, bytes)?;
        self.begin_after(name.seqno)?;
        self.commit_snapshot(fresh)?;
        Ok(self.disk.sync_dir(snapshots::DIR)?)
    }

    /// The log begins after this entry.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The last entry.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// What was noted as committed.
    #[must_use]
    pub const fn commit_idx(&self) -> u64 {
        self.commit
    }

    /// Entries of the range, in order, as far as they are there and take no more than `room` bytes
    /// (but the first one always). Newest ones come from memory, others with one read for each chunk
    /// they are in. Entries from before the log began are there if a read-only directory has them.
    ///
    /// # Errors
    /// The disk's; damage.
    pub fn entries(
        &self,
        range: RangeInclusive<u64>,
        room: usize,
    ) -> Result<Vec<Arc<[u8]>>, StoreError> {
        let read = self.read_entries(range, room);
        if let Err(StoreError::Corrupt(damage)) = &read
            && self.corrupt_reads.fetch_add(1, Relaxed) == 0
        {
            tracing::error!(%damage, "damage found: replace this node by one on a good disk");
        }
        read
    }

    fn read_entries(
        &self,
        range: RangeInclusive<u64>,
        room: usize,
    ) -> Result<Vec<Arc<[u8]>>, StoreError> {
        let (from, to) = (*range.start(), (*range.end()).min(self.last));
        let (mut next, mut room, mut entries) = (from, room, Vec::new());
        if from == 0 {
            return Ok(entries);
        }
        let cached = self.first_cached();
        while next <= to && next < cached {
            if room == 0 && !entries.is_empty() {
                return Ok(entries);
            }
            let until = to.min(cached - 1);
            let read = self.files.read(&self.disk, &self.archive, next, until, room)?;
            let size: usize = read.iter().map(|bytes| bytes.len()).sum();
            if read.is_empty() || (size > room && !entries.is_empty()) {
                return Ok(entries);
            }
            next += read.len() as u64;
            let part = next <= to && next < cached && !self.files.ends_at(next - 1);
            entries.extend(read);
            room = room.saturating_sub(size);
            if part {
                return Ok(entries);
            }
        }
        if next > to {
            return Ok(entries);
        }
        let skip = usize::try_from(next - cached).expect("in memory");
        let count = usize::try_from(to + 1 - next).expect("in memory");
        for bytes in self.cache.iter().skip(skip).take(count) {
            if bytes.len() > room && !entries.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes.len());
            entries.push(Arc::clone(bytes));
        }
        Ok(entries)
    }

    /// The chunk files, in order.
    #[must_use]
    pub fn chunks(&self) -> Vec<ChunkInfo> {
        let chunks = self.files.chunks().iter().filter(|_| !self.suspect);
        chunks
            .map(|chunk| ChunkInfo {
                name: chunk.name.text(),
                first: chunk.name.first,
                last: chunk.last,
                size: chunk.len(),
                complete: chunk.name.last.is_some(),
                committed: chunk.name.committed,
            })
            .collect()
    }

    /// Up to `len` bytes of a chunk file from `offset`; `None` if there is none of that name (an
    /// open or complete one may have been renamed).
    ///
    /// # Errors
    /// The disk's.
    pub fn read_chunk(
        &self,
        name: &str,
        offset: u64,
        len: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match ChunkName::parse(name) {
            Some(name) => tolerate_missing(self.disk.read(&name.path(), offset, len)),
            None => Ok(None),
        }
    }

    /// Writes a snapshot, durably; one of that name is replaced.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_snapshot(&mut self, name: SnapshotName, bytes: &[u8]) -> Result<(), StoreError> {
        snapshots::write(&mut self.disk, name, bytes)
    }

    /// Gives a snapshot the name of a committed one. No sync of its own.
    ///
    /// # Errors
    /// The disk's.
    pub fn commit_snapshot(&mut self, name: SnapshotName) -> Result<(), StoreError> {
        let committed = SnapshotName { committed: true, ..name };
        Ok(self.disk.rename(&name.path(), &committed.path())?)
    }

    /// Snapshots there are, ascending.
    ///
    /// # Errors
    /// The disk's.
    pub fn snapshots(&self) -> Result<Vec<SnapshotName>, StoreError> {
        Ok(snapshots::list(&self.disk)?)
    }

    /// Length of a snapshot in bytes; `None` if there is none of that name.
    ///
    /// # Errors
    /// The disk's.
    pub fn snapshot_len(&self, name: SnapshotName) -> Result<Option<u64>, StoreError> {
        tolerate_missing(self.disk.len(&name.path()))
    }

    /// Up to `len` bytes of a snapshot from `offset`; `None` if there is none of that name.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_snapshot(
        &self,
        name: SnapshotName,
        offset: u64,
        len: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        tolerate_missing(self.disk.read(&name.path(), offset, len))
    }

    /// Removes all snapshots but the last `keep`; the names removed.
    ///
    /// # Errors
    /// The disk's.
    pub fn prune_snapshots(&mut self, keep: usize) -> Result<Vec<SnapshotName>, StoreError> {
        snapshots::prune(&mut self.disk, keep)
    }

    /// The secret of that name, if there is one.
    ///
    /// # Errors
    /// The disk's; damage; another sealing key.
    ///
    /// # Panics
    /// If the name isn't made of letters, digits, `-` and `.`, or is longer than 100 bytes.
    pub fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, OpenError> {
        let found = secrets::read(&self.disk, &self.options.sealing_key, name)?;
        Ok(found.map(|(secret, _)| secret))
    }

    /// Sets a secret, sealed and durably; one of that name is replaced and erased.
    ///
    /// # Errors
    /// The disk's; then either one counts after a restart.
    ///
    /// # Panics
    /// As [`SignedLog::secret`].
    pub fn set_secret(&mut self, name: &str, secret: &[u8]) -> Result<(), StoreError> {
        let (key, rng) = (&self.options.sealing_key, &mut self.options.rng);
        secrets::write(&mut self.disk, key, rng, name, secret)
    }

    /// Erases a secret.
    ///
    /// # Errors
    /// The disk's; it may still be there.
    ///
    /// # Panics
    /// As [`SignedLog::secret`].
    pub fn remove_secret(&mut self, name: &str) -> Result<(), StoreError> {
        secrets::remove(&mut self.disk, name)
    }

    /// Whether something that was durable was found not to be what was written, since opening.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.corrupt_reads.load(Relaxed) > 0
    }

    /// Figures for telemetry.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            base: self.base,
            last: self.last,
            commit_idx: self.commit,
            chunks: self.files.chunks().len(),
            ledger_bytes: self.files.chunks().iter().map(files::Chunk::len).sum(),
            journal_bytes: self.journal.bytes(),
            unwritten: self.last - self.written,
            cached: self.cache.len(),
            cached_bytes: self.cached_bytes,
            appends: self.appends,
            failed_appends: self.failed_appends,
            checkpoints: self.checkpoints,
            failed_housekeeping: self.failed_housekeeping,
            corrupt_reads: self.corrupt_reads.load(Relaxed),
        }
    }
}

fn tolerate_missing<T>(result: Result<T, DiskError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(DiskError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Directories of a log.
const DIRS: [&str; 4] = ["", names::DIR, snapshots::DIR, vault::DIR];

#[cfg(test)]
mod tests;
