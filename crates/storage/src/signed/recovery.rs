//! What a restart finds: see the text of [the module above](super).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use quorate_consensus::raft::NodeId;

use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, OpenError, StoreError};

use super::archive::Archive;
use super::files::{self, Survey};
use super::journal::{Checkpoint, Generation, Journal, Op};
use super::names::ChunkName;
use super::{DIRS, Options, Recovered, SignedLog, SnapshotName, mark, secrets, snapshots};

/// What the journal says.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Everything up to here must be in the chunk files.
    pub stable: u64,
    /// The entries after it.
    pub entries: VecDeque<Arc<[u8]>>,
    pub view: u64,
    pub voted_for: Option<NodeId>,
    /// Entries were taken back, so the chunk files may have had more than the log has.
    pub shortened: bool,
    /// Checksums of the entries that were in the chunk files before they were committed.
    sums: Vec<u32>,
}

impl Replayed {
    pub fn new(generation: &Generation) -> Result<Self, Corruption> {
        let at = &generation.checkpoint;
        let mut replayed = Self {
            stable: at.last,
            entries: VecDeque::new(),
            view: at.view,
            voted_for: at.voted_for,
            shortened: false,
            sums: Vec::new(),
        };
        for op in &generation.ops {
            let last = replayed.last();
            match op {
                Op::Vote { view, voted_for } => {
                    (replayed.view, replayed.voted_for) = (*view, *voted_for);
                }
                Op::Sums(sums) => replayed.sums.clone_from(sums),
                Op::Append { seqno, bytes } if *seqno == last + 1 => {
                    replayed.entries.push_back(Arc::clone(bytes));
                }
                Op::Truncate { after } if (at.base..=last).contains(after) => {
                    replayed.shortened = true;
                    let keep = usize::try_from(after.saturating_sub(replayed.stable));
                    replayed.entries.truncate(keep.expect("in memory"));
                    replayed.stable = replayed.stable.min(*after);
                }
                Op::Append { seqno, .. } | Op::Truncate { after: seqno } => {
                    let (file, _) = generation.journal.head();
                    let what = "records that do not follow each other: of a program gone wrong";
                    return Err(Corruption::new(file, 0, Some(*seqno), what));
                }
            }
        }
        Ok(replayed)
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        self.stable + self.entries.len() as u64
    }

    /// Compares with the chunk files and the noted commit index; the commit index.
    pub fn verify<D: Disk>(
        &mut self,
        disk: &D,
        archive: &Archive<D>,
        generation: &Generation,
        survey: &Survey,
    ) -> Result<u64, StoreError> {
        if !self.shortened && !survey.has_former() {
            survey.check_end(self.entries.front())?;
            if let Some(damage) = survey.beyond(self.entries.make_contiguous()) {
                return Err(damage.into());
            }
        }
        survey.compare(disk, archive, generation.checkpoint.commit + 1, &self.sums)?;
        let known = generation.commit.max(survey.committed());
        let commit = known.max(mark::read(disk)?).max(generation.checkpoint.base);
        let last = self.last();
        if commit > last {
            let (file, end) = generation.journal.head();
            let what =
                format!("{commit} was committed, but the log ends at {last}: its end is lost");
            return Err(Corruption::new(file, end, Some(last + 1), what).into());
        }
        Ok(commit)
    }
}

impl<D: Disk> SignedLog<D> {
    /// Opens a log's directory, new or not.
    ///
    /// The remains of appends that never returned are removed.
    ///
    /// # Errors
    /// The disk's; damage of anything that was durable, named: the node must rejoin.
    pub fn open(disk: D, options: Options) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(disk, Vec::new(), options)
    }

    /// As [`SignedLog::open`], with read-only directories of committed chunks: what the log lacks is
    /// read from them.
    ///
    /// # Errors
    /// As [`SignedLog::open`].
    pub fn open_with(
        mut disk: D,
        read_only: Vec<D>,
        mut options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        let archive = Archive::new(read_only);
        for dir in DIRS {
            disk.create_dir_all(dir)?;
        }
        for name in disk.list(snapshots::DIR)?.iter().filter(|name| name.ends_with(".tmp")) {
            disk.remove(&format!("{}/{name}", snapshots::DIR))?;
        }
        secrets::tidy(&mut disk, &options.sealing_key)?;
        let size = options.journal_size;
        let mut adopted = false;
        let generation = match Journal::read(&disk, size)? {
            Some(generation) => generation,
            None => {
                let at = first_checkpoint(&mut disk, options.adopt)?;
                adopted = true;
                let journal = Journal::create(&mut disk, size, options.salt(), &at)?;
                let (ops, commit) = (Vec::new(), at.commit);
                Generation { journal, checkpoint: at, commit, ops, frames: 0, torn: false }
            }
        };
        // What the operating system has read is not yet durable, if only the process died.
        disk.sync(generation.journal.head().0)?;
        disk.sync_dir("")?;
        let mut replayed = Replayed::new(&generation)?;
        // A ledger from elsewhere may have anything behind its last entry.
        replayed.shortened |= adopted;
        let base = generation.checkpoint.base;
        let survey = Survey::read(&disk, &archive, base, replayed.stable, &[])?;
        let commit = replayed.verify(&disk, &archive, &generation, &survey)?;
        let last = replayed.last();
        let checkpoint_at = options.next_checkpoint();
        let mut log = Self {
            files: survey.files(),
            disk,
            archive,
            checkpoint_at,
            options,
            journal: generation.journal,
            suspect: true,
            base,
            last,
            commit,
            view: replayed.view,
            voted_for: replayed.voted_for,
            stable: replayed.stable,
            written: replayed.stable,
            cached_bytes: replayed.entries.iter().map(|bytes| bytes.len()).sum(),
            cache: replayed.entries,
            marks: commit,
            appends: 0,
            failed_appends: 0,
            checkpoints: 0,
            failed_housekeeping: 0,
            corrupt_reads: AtomicU64::new(0),
        };
        let done =
            if generation.frames > 0 || generation.torn { log.checkpoint() } else { log.flush() };
        match done {
            // There may be room later; all is in the journal.
            Err(StoreError::Disk(DiskError::Full { .. })) => log.failed_housekeeping += 1,
            other => other?,
        }
        let recovered = Recovered {
            is_new: last == 0 && log.view == 0,
            view: log.view,
            voted_for: log.voted_for,
            base,
            last,
            commit_idx: commit,
            snapshots: log.finish_install()?,
        };
        Ok((log, recovered))
    }
}

impl<D: Disk> SignedLog<D> {
    /// The snapshot that the log begins after has the name of a committed one, even if its install
    /// was interrupted; the snapshots there are.
    fn finish_install(&mut self) -> Result<Vec<SnapshotName>, StoreError> {
        let names = snapshots::list(&self.disk)?;
        let fresh = names.iter().find(|name| name.seqno == self.base && !name.committed);
        if let Some(name) = fresh {
            self.commit_snapshot(*name)?;
            self.disk.sync_dir(snapshots::DIR)?;
            return Ok(snapshots::list(&self.disk)?);
        }
        Ok(names)
    }
}

/// Where a log without a journal begins.
fn first_checkpoint(disk: &mut impl Disk, adopt: bool) -> Result<Checkpoint, StoreError> {
    let names = ChunkName::list(disk)?;
    let Some(first) = names.first() else { return Ok(Checkpoint::default()) };
    if !adopt {
        let what = "there is a ledger but no journal: view and vote are lost";
        return Err(Corruption::new(super::journal::FILES[0], 0, None, what).into());
    }
    let base = first.first - 1;
    let last = files::extent(disk, base)?;
    for name in &names {
        disk.sync(&name.path())?;
    }
    disk.sync_dir(super::names::DIR)?;
    let committed = names.iter().filter(|name| name.committed).filter_map(|name| name.last);
    let commit = committed.filter(|commit| *commit <= last).max().unwrap_or(base);
    Ok(Checkpoint { base, last, commit, ..Checkpoint::default() })
}
