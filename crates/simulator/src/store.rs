//! Opening the real store on a simulated disk, as a node does: if what it finds is corrupt, the
//! operator's repair runs and the lost blocks come from peers.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::{Journal as _, Recovered, Topic};
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::block::Block;
use quorate_ledger::codec::Canonical;
use quorate_ledger::ids::BlockId;
use quorate_storage::check;
use quorate_storage::error::OpenError;
use quorate_storage::store::{GroupStore, Options};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::disk::FaultyDisk;

/// Size of a chunk in bytes: so small that chunks are closed and indexed within a seed, and that
/// little is zeroed ahead.
const CHUNK_SIZE: u64 = 8 << 10;
/// Size of a journal's segment in bytes: so small that it is compacted within a seed.
const JOURNAL_SIZE: u64 = 64 << 10;

/// A store just opened.
pub struct Opened {
    /// It.
    pub store: GroupStore<FaultyDisk>,
    /// What a restart needs.
    pub recovered: Recovered,
    /// Whether the operator's repair ran before.
    pub repaired: bool,
}

fn options(seed: u64) -> Options {
    Options {
        chunk_size: CHUNK_SIZE,
        journal_size: JOURNAL_SIZE,
        ..Options::new(SymmetricKey([7; 32]), ChaCha20Rng::seed_from_u64(seed), trx_ids)
    }
}

/// Opens the store, repairing it once if it is corrupt, or first if the operator wants so.
///
/// # Errors
/// The disk's, or corruption that repair could not cure.
pub fn open(disk: &FaultyDisk, seed: u64, repair: bool) -> Result<Opened, OpenError> {
    if repair {
        check::repair(&mut disk.clone())?;
    }
    match GroupStore::open(disk.clone(), options(seed)) {
        Err(OpenError::Corrupt(_)) if !repair => open(disk, seed, true),
        Err(error) => Err(error),
        Ok((store, recovered)) => Ok(Opened { store, recovered, repaired: repair }),
    }
}

/// Whose loss the loss of a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What only this member knows: what it said, and its secrets.
    Notes,
    /// What all members have.
    Blocks,
    /// What is made again from the rest, or says more about it.
    Derived,
}

/// What a file of a machine's disk holds.
#[must_use]
pub fn kind_of(path: &str) -> Kind {
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    let starts = |kinds: [&str; 2]| kinds.iter().any(|kind| name.starts_with(kind));
    if name.ends_with(".corrupt") || name.ends_with(".tmp") {
        Kind::Derived
    } else if starts(["journal_", "vault/"]) {
        Kind::Notes
    } else if starts(["ledger_", "certificates_"]) {
        Kind::Blocks
    } else {
        Kind::Derived
    }
}

/// Everything that a store would give back.
#[derive(PartialEq, Eq, Debug)]
pub struct Contents {
    notes: Vec<(Topic, Vec<u8>, Arc<[u8]>)>,
    secrets: BTreeMap<String, Vec<u8>>,
    amnesia: bool,
    blocks: Vec<Option<Arc<[u8]>>>,
    certificates: Vec<Option<Arc<[u8]>>>,
    trxs: Vec<Option<(BlockId, u32)>>,
}

impl Contents {
    /// Reads all of a group's directory on a copy of a disk, which is changed by it.
    ///
    /// # Errors
    /// What is found to be corrupt.
    pub fn read(copy: &FaultyDisk) -> Result<Self, OpenError> {
        let (store, recovered) = GroupStore::open(copy.clone(), options(0))?;
        let mut blocks = Vec::new();
        let mut trxs = Vec::new();
        for id in 1..=recovered.last_block.0 {
            let block = store.block(BlockId(id))?;
            for trx in block.iter().flat_map(|block| trx_ids(block)) {
                trxs.push(store.find_trx(&trx)?);
            }
            blocks.push(block);
        }
        let mut certificates = Vec::new();
        for id in 1..=recovered.last_certificate.0 {
            certificates.push(store.certificate(BlockId(id))?);
        }
        let Recovered { notes, secrets, amnesia, .. } = recovered;
        Ok(Self { notes, secrets, amnesia, blocks, certificates, trxs })
    }

    /// Last block with a certificate.
    #[must_use]
    pub fn head(&self) -> BlockId {
        BlockId(self.certificates.len() as u64)
    }

    /// Whether notes are known to be lost.
    #[must_use]
    pub const fn amnesia(&self) -> bool {
        self.amnesia
    }
}

/// Ids of the trxs in a block, for the store's index.
pub(crate) fn trx_ids(block: &[u8]) -> Vec<[u8; 16]> {
    let Ok(block) = Block::from_bytes(block) else { return Vec::new() };
    block.trxs.iter().filter_map(|trx| trx.id()).map(|id| *id.0.as_bytes()).collect()
}
