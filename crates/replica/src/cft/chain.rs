//! The ledger's side of a member: entries and their bytes, the Merkle tree over them, where chunk
//! files end, and what is not signed yet.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_consensus::core::Time;
use quorate_consensus::raft::Seqno;
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::entry::{EntryError, leaf_of};
use quorate_ledger::ccf::signature::{self, SignatureError};
use quorate_ledger::ccf::{Flags, Head, LedgerSecret, Notary, Transaction, Tree, TxId};
use quorate_ledger::state::WriteSet;

/// Entries, tree and signatures of one log.
#[derive(Debug)]
pub struct Chain {
    secret: LedgerSecret,
    tree: Tree,
    chunk_size: u64,
    /// Signatures in the log; the first is the last committed one (0 before there is any).
    signatures: VecDeque<Seqno>,
    /// Bytes of the open chunk before each entry that is not committed, in order.
    before: VecDeque<u64>,
    /// Bytes of the open chunk.
    chunk: u64,
    /// When the oldest entry without a signature was appended here.
    unsigned_since: Option<Time>,
}

impl Chain {
    /// The chain of an empty log.
    pub fn new(secret: LedgerSecret, chunk_size: u64) -> Self {
        Self {
            secret,
            tree: Tree::new(),
            chunk_size,
            signatures: VecDeque::from([0]),
            before: VecDeque::new(),
            chunk: 0,
            unsigned_since: None,
        }
    }

    /// The chain of a log that begins after the snapshot at the signature `seqno`.
    pub fn after_snapshot(secret: LedgerSecret, chunk_size: u64, tree: Tree, seqno: Seqno) -> Self {
        let signatures = VecDeque::from([seqno]);
        Self { tree, signatures, ..Self::new(secret, chunk_size) }
    }

    /// The ledger secret.
    pub const fn secret(&self) -> &LedgerSecret {
        &self.secret
    }

    /// The tree over all entries.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The last entry.
    pub fn last_idx(&self) -> Seqno {
        self.tree.size() - 1
    }

    /// The last signature in the log; 0 if there is none.
    pub fn last_signature(&self) -> Seqno {
        self.signatures.back().copied().unwrap_or_default()
    }

    /// Entries after the last signature.
    pub fn unsigned(&self) -> u64 {
        self.last_idx() - self.last_signature()
    }

    /// When the oldest entry without a signature was appended.
    pub const fn unsigned_since(&self) -> Option<Time> {
        self.unsigned_since
    }

    /// The bytes of the transaction `id`, which claims `claims` (zero: nothing), and its writes back.
    ///
    /// # Errors
    /// If it is too large for an entry.
    pub fn encode(
        &self,
        id: TxId,
        writes: WriteSet,
        claims: Digest,
    ) -> Result<(Arc<[u8]>, WriteSet), EntryError> {
        let transaction = Transaction { claims, ..Transaction::new(id, writes, &self.secret) };
        let bytes = transaction.encode(Flags::NONE, &self.secret)?;
        Ok((bytes, transaction.writes))
    }

    /// The next entry as a signature, by the node that the ledger has this certificate of. A chunk
    /// that has become long enough, or has `cut`, ends.
    ///
    /// # Errors
    /// [`SignatureError`], if too much is unsigned: an own mistake.
    pub fn sign(
        &self,
        view: u64,
        now: Time,
        (keys, certificate): (&impl Notary, &str),
        cut: bool,
    ) -> Result<(Arc<[u8]>, WriteSet), SignatureError> {
        let id = TxId::new(view, self.last_idx() + 1);
        let signer = (keys, certificate);
        let writes = signature::make(&self.tree, self.last_signature(), id, now.0, signer)?;
        let transaction = Transaction::new(id, writes, &self.secret);
        let too_long = |_| SignatureError::Missing("an entry that holds the tree");
        let mut bytes = transaction.encode(Flags::NONE, &self.secret).map_err(too_long)?;
        if cut || self.chunk + bytes.len() as u64 >= self.chunk_size {
            bytes = transaction.encode(Flags::ENDS_CHUNK, &self.secret).map_err(too_long)?;
        }
        Ok((bytes, transaction.writes))
    }

    /// An entry was appended.
    ///
    /// # Errors
    /// If it is no entry.
    pub fn append(
        &mut self,
        bytes: &[u8],
        is_signature: bool,
        now: Time,
    ) -> Result<(), EntryError> {
        let head = Head::read(bytes)?;
        self.tree.append(leaf_of(bytes)?);
        self.before.push_back(self.chunk);
        self.chunk += bytes.len() as u64;
        if head.flags.ends_chunk() {
            self.chunk = 0;
        }
        if is_signature {
            self.signatures.push_back(self.last_idx());
            self.unsigned_since = None;
        } else if self.unsigned_since.is_none() {
            self.unsigned_since = Some(now);
        }
        Ok(())
    }

    /// Everything up to the signature `seqno` is committed.
    pub fn commit(&mut self, seqno: Seqno) {
        while self.signatures.get(1).is_some_and(|next| *next <= seqno) {
            self.signatures.pop_front();
        }
        self.tree.flush(self.signatures.front().copied().unwrap_or_default());
        let uncommitted = usize::try_from(self.last_idx() - seqno).unwrap_or(usize::MAX);
        let committed = self.before.len().saturating_sub(uncommitted);
        self.before.drain(..committed);
    }

    /// Everything after `after` is taken back.
    ///
    /// # Panics
    /// If that is committed: an own mistake.
    pub fn roll_back(&mut self, after: Seqno, now: Time) {
        let gone = usize::try_from(self.last_idx().saturating_sub(after)).unwrap_or(usize::MAX);
        if gone == 0 {
            return;
        }
        let kept = self.before.len().checked_sub(gone).expect("only what is not committed");
        self.chunk = self.before[kept];
        self.before.truncate(kept);
        self.tree.retract(after + 1).expect("the tree holds what is not committed");
        while self.signatures.len() > 1 && self.signatures.back().is_some_and(|at| *at > after) {
            self.signatures.pop_back();
        }
        self.unsigned_since = (self.unsigned() > 0).then_some(now);
    }
}
