//! Opening the real store on a simulated disk, as a node does: if what it finds is corrupt, the
//! operator's repair runs and the lost blocks come from peers.

use quorate_consensus::core::Recovered;
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::block::Block;
use quorate_ledger::codec::Canonical;
use quorate_storage::check;
use quorate_storage::error::OpenError;
use quorate_storage::store::{GroupStore, Options};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::disk::FaultyDisk;

/// Size of a chunk in bytes: so small that little is zeroed ahead.
const CHUNK_SIZE: u64 = 128 << 10;
/// Size of a journal's segment in bytes: so small that it is compacted within a seed.
const JOURNAL_SIZE: u64 = 64 << 10;

/// Opens the store, repairing it once if it is corrupt.
///
/// # Errors
/// The disk's, or corruption that repair could not cure.
pub fn open(
    disk: &FaultyDisk,
    seed: u64,
) -> Result<(GroupStore<FaultyDisk>, Recovered), OpenError> {
    let options = || Options {
        chunk_size: CHUNK_SIZE,
        journal_size: JOURNAL_SIZE,
        ..Options::new(SymmetricKey([7; 32]), ChaCha20Rng::seed_from_u64(seed), trx_ids)
    };
    match GroupStore::open(disk.clone(), options()) {
        Err(OpenError::Corrupt(_)) => {
            check::repair(&mut disk.clone())?;
            GroupStore::open(disk.clone(), options())
        }
        other => other,
    }
}

/// Ids of the trxs in a block, for the store's index.
fn trx_ids(block: &[u8]) -> Vec<[u8; 16]> {
    let Ok(block) = Block::from_bytes(block) else { return Vec::new() };
    block.trxs.iter().filter_map(|trx| trx.id()).map(|id| *id.0.as_bytes()).collect()
}
