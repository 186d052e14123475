//! Blocks: one canonical header that every producer builds alike, and the trxs under it.

use quorate_crypto::hash::Digest;

use crate::ids::{BlockId, Epoch, GroupId, ViewNumber};
use crate::proto::Trx;

/// What is hashed, linked and certified. Nothing in it depends on who built it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockHeader {
    /// The group.
    pub group: GroupId,
    /// Position in the ledger, from 1 (0 is the genesis block, which has a form of its own).
    pub id: BlockId,
    /// Epoch whose decision made it.
    pub epoch: Epoch,
    /// View that made it.
    pub view: ViewNumber,
    /// Hash of the block before it.
    pub previous: Digest,
    /// Merkle root over the trxs (leaf: the trx's full encoding).
    pub trx_root: Digest,
    /// Number of trxs.
    pub trx_count: u32,
    /// Digest of the block's write set.
    pub write_set: Digest,
    /// Last block a checkpoint was taken of; 0 if none.
    pub last_checkpoint: BlockId,
    /// Last block that ended a view; 0 if none.
    pub last_view_change: BlockId,
    /// Nanoseconds since the Unix epoch: median of the included proposals' times, never below the
    /// previous block's.
    pub timestamp: i64,
}

/// A block: header and trxs.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The trxs in their order.
    pub trxs: Vec<Trx>,
}
