//! All durable data of one group, behind the [`Journal`] trait.
//!
//! # An append
//! 1. What an earlier failed append left is removed: from the journal first, durably, so that no
//!    frame covers what goes next.
//! 2. Blocks and certificates go to the open chunks, secrets to new files of the vault, snapshots to
//!    new files; each touched file is synced once. None of it counts yet.
//! 3. One frame goes to the journal: notes, which secrets and snapshots count, and the heads of the
//!    chunk files. Its sync is the commit point: after a crash all of the append is there or nothing.
//! 4. The state in memory follows.
//! 5. Housekeeping, which may fail without harm and is tried again after the next append: full
//!    chunks are closed and indexed, the journal is compacted, replaced secrets are erased, surplus
//!    snapshots removed.
//!
//! An error in steps 1 to 3 leaves the state in memory as it was; appending the same records again
//! overwrites what was written. (If the very last sync fails and the process dies at once, the
//! append may be found whole after the restart: nobody was told that it wasn't.)
//!
//! # Replays
//! A block that is there already is passed over if it is identical; a different one of that id is
//! our own mistake (a fork) and stops the node, as does a gap. A certificate that is there already
//! is passed over, since two certificates of one block may name different signers: the first stays.
//! The first block ever (and the first certificate) may have any id, so that a ledger can begin at
//! an anchor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use quorate_consensus::core::{Journal, Record, Recovered};
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::ids::BlockId;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::chunk::{ChunkLog, Span};
use crate::disk::{Disk, DiskError};
use crate::error::{OpenError, StoreError};
use crate::index::{ClosedIndex, Key, Place, TrxIndex, Unsure};
use crate::journal::{Heads, Live, NoteLog, Op, Salt};
use crate::{snapshot, vault, witness};

/// Prefix of the files of blocks.
pub(crate) const LEDGER: &str = "ledger";
/// Prefix of the files of certificates.
pub(crate) const CERTIFICATES: &str = "certificates";
/// File that says that notes were lost.
pub(crate) const AMNESIA: &str = "amnesia";

/// A chunk takes no further entry once it has this many bytes of them.
pub const CHUNK_SIZE: u64 = 4 << 20;
/// A journal segment isn't compacted below this length, in bytes.
pub const JOURNAL_SIZE: u64 = 16 << 20;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seals the secrets.
    pub sealing_key: SymmetricKey,
    /// For nonces and salts: from the operating system in production, seeded in the simulator.
    pub rng: ChaCha20Rng,
    /// Ids of the trxs in a block's canonical encoding, in order: to build an index again.
    pub trx_ids: fn(&[u8]) -> Vec<[u8; 16]>,
    /// See [`CHUNK_SIZE`]. All nodes must have the same, or their files differ.
    pub chunk_size: u64,
    /// See [`JOURNAL_SIZE`].
    pub journal_size: u64,
}

impl Options {
    /// The usual sizes.
    #[must_use]
    pub fn new(
        sealing_key: SymmetricKey,
        rng: ChaCha20Rng,
        trx_ids: fn(&[u8]) -> Vec<[u8; 16]>,
    ) -> Self {
        let (chunk_size, journal_size) = (CHUNK_SIZE, JOURNAL_SIZE);
        Self { sealing_key, rng, trx_ids, chunk_size, journal_size }
    }

    fn salt(&mut self) -> Salt {
        let mut salt = Salt::default();
        self.rng.fill_bytes(&mut salt);
        salt
    }
}

/// Figures for telemetry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Id after the last block; 0 if there is none.
    pub next_block: u64,
    /// Id after the last certificate; 0 if there is none.
    pub next_certificate: u64,
    /// Closed ledger chunks.
    pub closed_chunks: usize,
    /// Bytes of blocks, with their entry headers.
    pub ledger_bytes: u64,
    /// Bytes of certificates, with their entry headers.
    pub certificate_bytes: u64,
    /// Trxs in the index.
    pub trxs: u64,
    /// Live notes.
    pub notes: usize,
    /// Encoded size of the live notes in bytes.
    pub note_bytes: u64,
    /// Length of the journal's segment in bytes.
    pub journal_bytes: u64,
    /// Live secrets.
    pub secrets: usize,
    /// Files of secrets that don't count and are not erased yet.
    pub pending_erasures: usize,
    /// Appends that counted, since opening.
    pub appends: u64,
    /// Appends that failed, since opening.
    pub failed_appends: u64,
    /// Housekeeping that failed (and is tried again), since opening.
    pub failed_housekeeping: u64,
    /// Reads that met damage, since opening: time for a repair.
    pub corrupt_reads: u64,
}

/// The durable data of one group.
#[derive(Debug)]
pub struct GroupStore<D> {
    disk: D,
    options: Options,
    blocks: ChunkLog,
    certificates: ChunkLog,
    journal: NoteLog,
    index: TrxIndex,
    amnesia: bool,
    /// Vault files of an append that has not counted: remains, if it failed.
    unborn: Vec<String>,
    /// Vault files that count no more.
    dead: Vec<String>,
    /// Closed chunks whose trxs are still in memory only.
    unindexed: Vec<(u64, u64)>,
    /// Names in the root changed without a sync.
    renamed: bool,
    surplus_snapshots: bool,
    appends: u64,
    failed_appends: u64,
    failed_housekeeping: u64,
    corrupt_reads: AtomicU64,
}

/// What one append is made of.
#[derive(Default)]
struct Plan<'a> {
    blocks: Vec<(u64, &'a [u8])>,
    trxs: Vec<(u64, &'a [Key])>,
    certificates: Vec<(u64, &'a [u8])>,
    secrets: BTreeMap<&'a str, Option<&'a [u8]>>,
    snapshots: Vec<(u64, &'a [u8])>,
    ops: Vec<Op>,
}

impl<D: Disk> GroupStore<D> {
    /// Opens a group's directory, new or not, and reads what a restart needs.
    ///
    /// The remains of appends that never returned are removed. If there is a ledger (or secrets, or
    /// snapshots) but no journal, notes were lost: [`Recovered::amnesia`].
    ///
    /// # Errors
    /// The disk's; corruption of anything that was durable, named; a wrong sealing key.
    pub fn open(mut disk: D, mut options: Options) -> Result<(Self, Recovered), OpenError> {
        disk.create_dir_all("")?;
        disk.create_dir_all(vault::DIR)?;
        for name in disk.list("")?.iter().filter(|name| name.ends_with(".tmp")) {
            disk.remove(name)?;
        }
        let mut amnesia = disk.exists(AMNESIA)?;
        let journal = NoteLog::recover(&mut disk)?;
        let heads = journal.as_ref().map(|j| j.live().heads);
        let (size, journal_size) = (options.chunk_size, options.journal_size);
        let blocks = ChunkLog::recover(&mut disk, LEDGER, size, heads.map(|h| h.blocks))?;
        let certificates =
            ChunkLog::recover(&mut disk, CERTIFICATES, size, heads.map(|h| h.certificates))?;
        let journal = match journal {
            Some(journal) => journal,
            None => {
                let (live, next) = found(&disk, &blocks, &certificates)?;
                if !amnesia && live != Live::default() {
                    mark_amnesia(&mut disk)?;
                    amnesia = true;
                }
                NoteLog::create(&mut disk, 1, options.salt(), next, live)?
            }
        };
        let mut store = Self {
            disk,
            options,
            blocks,
            certificates,
            journal: journal.sized(journal_size),
            index: TrxIndex::default(),
            amnesia,
            unborn: Vec::new(),
            dead: Vec::new(),
            unindexed: Vec::new(),
            renamed: false,
            surplus_snapshots: true,
            appends: 0,
            failed_appends: 0,
            failed_housekeeping: 0,
            corrupt_reads: AtomicU64::new(0),
        };
        store.recover_index()?;
        let recovered = store.recovered()?;
        store.keep_house();
        Ok((store, recovered))
    }

    fn recovered(&mut self) -> Result<Recovered, OpenError> {
        let live = self.journal.live();
        let mut secrets = BTreeMap::new();
        for (name, version) in &live.secrets {
            let key = &self.options.sealing_key;
            secrets.insert(name.clone(), vault::read(&self.disk, key, name, *version)?);
        }
        for file in self.disk.list(vault::DIR)? {
            if let Some((name, version)) = vault::parse_name(&file)
                && live.secrets.get(&name) != Some(&version)
            {
                self.dead.push(vault::path(&name, version));
            }
        }
        let mut good = None;
        for id in live.snapshots.iter().rev() {
            match snapshot::read(&self.disk, *id) {
                Ok(bytes) => {
                    good = Some((BlockId(*id), bytes));
                    break;
                }
                Err(StoreError::Corrupt(_) | StoreError::Disk(DiskError::NotFound { .. })) => {
                    tracing::warn!(id, "a snapshot is bad: recovery starts from an earlier one");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let last = |head: Option<u64>| BlockId(head.map_or(0, |head| head.saturating_sub(1)));
        Ok(Recovered {
            snapshot: good,
            last_block: last(self.blocks.head()),
            last_certificate: last(self.certificates.head()),
            notes: live.notes(),
            secrets,
            amnesia: self.amnesia,
        })
    }

    /// Loads the indexes of closed chunks or builds them again, and reads the open chunks.
    fn recover_index(&mut self) -> Result<(), StoreError> {
        for (first, last) in self.blocks.closed_ranges() {
            match ClosedIndex::load(&self.disk, first, last) {
                Ok(index) => self.index.adopt(index),
                Err(StoreError::Corrupt(_) | StoreError::Disk(DiskError::NotFound { .. })) => {
                    self.index_from_blocks(first..last + 1)?;
                    self.unindexed.push((first, last));
                    // Written at once, so that memory holds one chunk's trxs at a time.
                    self.write_indexes().or_else(tolerate_full)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.index_from_blocks(self.blocks.open_ids())
    }

    fn index_from_blocks(&mut self, ids: impl IntoIterator<Item = u64>) -> Result<(), StoreError> {
        for id in ids {
            let block = self.blocks.get(&self.disk, id)?.expect("ids are those of the chunks");
            self.index.insert(id, &(self.options.trx_ids)(&block));
        }
        Ok(())
    }

    fn plan<'a>(&self, records: &'a [Record]) -> Result<Plan<'a>, StoreError> {
        let mut plan = Plan::default();
        let mut next_block = self.blocks.head();
        let mut next_certificate = self.certificates.head();
        for record in records {
            match record {
                Record::Block { id, bytes, trx_ids } => {
                    if next_block.is_some_and(|next| id.0 < next) {
                        self.assert_same(&plan, id.0, bytes)?;
                        continue;
                    }
                    assert!(
                        next_block.is_none_or(|next| next == id.0),
                        "block {id} after {next_block:?} leaves a gap"
                    );
                    next_block = Some(id.0 + 1);
                    plan.blocks.push((id.0, bytes));
                    plan.trxs.push((id.0, trx_ids));
                }
                Record::Certificate { id, bytes } => {
                    if next_certificate.is_some_and(|next| id.0 < next) {
                        continue;
                    }
                    assert!(
                        next_certificate.is_none_or(|next| next == id.0),
                        "certificate {id} after {next_certificate:?} leaves a gap"
                    );
                    next_certificate = Some(id.0 + 1);
                    plan.certificates.push((id.0, bytes));
                }
                Record::Note { topic, key, bytes } => plan.ops.push(Op::Note {
                    topic: *topic,
                    key: key.clone(),
                    bytes: Arc::clone(bytes),
                }),
                Record::Forget { topic, prefix } => {
                    plan.ops.push(Op::Forget { topic: *topic, prefix: prefix.clone() });
                }
                Record::Secret { name, bytes } => {
                    vault::assert_name(name);
                    plan.secrets.insert(name, bytes.as_deref());
                }
                Record::Snapshot { id, bytes } => plan.snapshots.push((id.0, bytes)),
            }
        }
        Ok(plan)
    }

    fn assert_same(&self, plan: &Plan<'_>, id: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let same = match plan.blocks.iter().find(|b| b.0 == id) {
            Some((_, planned)) => *planned == bytes,
            None => self.blocks.get(&self.disk, id)?.as_deref() == Some(bytes),
        };
        assert!(same, "another block {id} than the one that is durable: a fork");
        Ok(())
    }

    fn try_append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut plan = self.plan(records)?;
        self.scrub()?;
        let blocks = self.blocks.stage(&mut self.disk, &plan.blocks)?;
        let certificates = self.certificates.stage(&mut self.disk, &plan.certificates)?;
        self.disk.sync_all(&[blocks.files.as_slice(), &certificates.files].concat())?;
        if blocks.created || certificates.created {
            self.disk.sync_dir("")?;
        }
        let dead = self.stage_secrets(&mut plan)?;
        for (id, bytes) in &plan.snapshots {
            snapshot::write(&mut self.disk, *id, bytes)?;
            plan.ops.push(Op::Snapshot { id: *id });
        }
        let after = |span: Span, entries: &[(u64, &[u8])]| match (entries.first(), entries.last()) {
            (Some((first, _)), Some((last, _))) => {
                Span { first: span.start().unwrap_or(*first), next: last + 1 }
            }
            _ => span,
        };
        let before = self.journal.live().heads;
        let heads = Heads {
            blocks: after(before.blocks, &plan.blocks),
            certificates: after(before.certificates, &plan.certificates),
        };
        if heads != before || !plan.ops.is_empty() {
            self.journal.append(&mut self.disk, heads, plan.ops)?;
        }
        self.blocks.commit(blocks);
        self.certificates.commit(certificates);
        self.unborn.clear();
        self.dead.extend(dead);
        self.surplus_snapshots |= !plan.snapshots.is_empty();
        for (id, trx_ids) in plan.trxs {
            self.index.insert(id, trx_ids);
        }
        Ok(())
    }

    /// Writes new secrets; returns the files that won't count any more.
    fn stage_secrets(&mut self, plan: &mut Plan<'_>) -> Result<Vec<String>, StoreError> {
        let mut dead = Vec::new();
        let version = self.journal.next();
        for (name, secret) in &plan.secrets {
            let name = (*name).to_owned();
            if let Some(old) = self.journal.live().secrets.get(&name) {
                dead.push(vault::path(&name, *old));
            } else if secret.is_none() {
                continue;
            }
            let Some(secret) = secret else {
                plan.ops.push(Op::SecretDrop { name });
                continue;
            };
            self.unborn.push(vault::path(&name, version));
            let (key, rng) = (&self.options.sealing_key, &mut self.options.rng);
            vault::write(&mut self.disk, key, rng, (&name, version), secret)?;
            plan.ops.push(Op::SecretSet { name, version });
        }
        if !self.unborn.is_empty() {
            self.disk.sync_dir(vault::DIR)?;
        }
        Ok(dead)
    }

    /// Removes what a failed append left. The journal goes first: see the module's step 1.
    fn scrub(&mut self) -> Result<(), StoreError> {
        self.journal.scrub(&mut self.disk)?;
        self.blocks.scrub(&mut self.disk)?;
        self.certificates.scrub(&mut self.disk)?;
        self.dead.append(&mut self.unborn);
        self.erase_dead()
    }

    fn erase_dead(&mut self) -> Result<(), StoreError> {
        if self.dead.is_empty() {
            return Ok(());
        }
        for path in &self.dead {
            vault::erase(&mut self.disk, path)?;
        }
        self.disk.sync_dir(vault::DIR)?;
        self.dead.clear();
        Ok(())
    }

    fn write_indexes(&mut self) -> Result<(), StoreError> {
        while let Some((first, last)) = self.unindexed.first().copied() {
            self.index.close(&mut self.disk, first, last)?;
            self.unindexed.remove(0);
            self.renamed = true;
        }
        Ok(())
    }

    /// Step 5 of an append.
    fn keep_house(&mut self) {
        if let Err(error) = self.try_keep_house() {
            self.failed_housekeeping += 1;
            tracing::warn!(%error, "housekeeping of a group's store failed; tried again later");
        }
    }

    fn try_keep_house(&mut self) -> Result<(), StoreError> {
        // First what secrecy waits for.
        self.erase_dead()?;
        while let Some(range) = self.blocks.close_one(&mut self.disk)? {
            self.unindexed.push(range);
            self.renamed = true;
        }
        while self.certificates.close_one(&mut self.disk)?.is_some() {
            self.renamed = true;
        }
        self.write_indexes()?;
        if self.renamed {
            self.disk.sync_dir("")?;
            self.renamed = false;
        }
        if self.surplus_snapshots {
            snapshot::prune(&mut self.disk, &self.journal.live().snapshots)?;
            self.surplus_snapshots = false;
        }
        if self.journal.has_old() {
            self.journal.remove_old(&mut self.disk)?;
        }
        if self.journal.is_bloated(self.options.journal_size) {
            let salt = self.options.salt();
            self.journal.compact(&mut self.disk, salt)?;
        }
        Ok(())
    }

    /// Whether notes were lost, see [`Recovered::amnesia`].
    #[must_use]
    pub const fn amnesia(&self) -> bool {
        self.amnesia
    }

    /// Declares, durably, that the loss of notes has been dealt with.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_amnesia(&mut self) -> Result<(), StoreError> {
        if self.disk.exists(AMNESIA)? {
            self.disk.remove(AMNESIA)?;
        }
        self.disk.sync_dir("")?;
        self.amnesia = false;
        Ok(())
    }

    /// Figures for telemetry.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let live = self.journal.live();
        let (notes, note_bytes) = live.counts();
        Stats {
            next_block: self.blocks.head().unwrap_or(0),
            next_certificate: self.certificates.head().unwrap_or(0),
            closed_chunks: self.blocks.counts().0,
            ledger_bytes: self.blocks.bytes(),
            certificate_bytes: self.certificates.bytes(),
            trxs: self.index.len(),
            notes,
            note_bytes,
            journal_bytes: self.journal.bytes(),
            secrets: live.secrets.len(),
            pending_erasures: self.dead.len() + self.unborn.len(),
            appends: self.appends,
            failed_appends: self.failed_appends,
            failed_housekeeping: self.failed_housekeeping,
            corrupt_reads: self.corrupt_reads.load(Relaxed),
        }
    }

    /// The disk.
    #[must_use]
    pub const fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives the disk back. Nothing needs to be flushed.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }

    fn counted<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Corrupt(damage)) = &read {
            tracing::error!(%damage, "damage found: run `quorate doctor --repair` on this node");
            self.corrupt_reads.fetch_add(1, Relaxed);
        }
        read
    }

    /// Looks for a trx in the blocks of a closed chunk: its index is bad.
    fn scan(&self, key: &Key, chunk: Unsure) -> Result<Option<Place>, StoreError> {
        tracing::warn!(chunk.first, chunk.last, "an index is bad: reading its chunk instead");
        for id in chunk.first..=chunk.last {
            let Some(block) = self.blocks.get(&self.disk, id)? else { continue };
            if let Some(at) = (self.options.trx_ids)(&block).iter().position(|k| k == key) {
                return Ok(Some((id, u32::try_from(at).expect("less than 4 G trxs"))));
            }
        }
        Ok(None)
    }
}

impl<D: Disk> Journal for GroupStore<D> {
    type Error = StoreError;

    fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.try_append(records) {
            self.failed_appends += 1;
            return Err(error);
        }
        self.appends += 1;
        self.keep_house();
        Ok(())
    }

    fn block(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.counted(self.blocks.get(&self.disk, id.0))
    }

    fn certificate(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.counted(self.certificates.get(&self.disk, id.0))
    }

    fn find_trx(&self, id: &[u8; 16]) -> Result<Option<(BlockId, u32)>, StoreError> {
        let place = self.index.find(&self.disk, id, |chunk| self.scan(id, chunk));
        let place = self.counted(place)?;
        Ok(place.map(|(block, position)| (BlockId(block), position)))
    }
}

/// What stands on a disk without a journal, and a sequence number above all in use.
fn found(
    disk: &impl Disk,
    blocks: &ChunkLog,
    certificates: &ChunkLog,
) -> Result<(Live, u64), StoreError> {
    let heads = Heads { blocks: blocks.span(), certificates: certificates.span() };
    let mut live = Live::new(heads);
    let mut next = witness::read(disk)?.max(1);
    for (name, version) in disk.list(vault::DIR)?.iter().filter_map(|f| vault::parse_name(f)) {
        // The highest version is the last one set; a lost removal can't be told from a live one.
        let newest = live.secrets.entry(name).or_default();
        *newest = version.max(*newest);
        next = next.max(version.saturating_add(1));
    }
    for id in snapshot::list(disk)?.into_iter().filter(|id| *id < heads.blocks.next) {
        live.apply(Op::Snapshot { id });
    }
    Ok((live, next))
}

/// Notes, durably, that notes were lost.
pub(crate) fn mark_amnesia(disk: &mut impl Disk) -> Result<(), DiskError> {
    disk.write(
        AMNESIA,
        0,
        b"Notes were lost. See the operations manual before you remove this.\n",
    )?;
    disk.sync(AMNESIA)?;
    disk.sync_dir("")
}

fn tolerate_full(error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Disk(DiskError::Full { .. }) => Ok(()),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests;
