//! Blocks: one canonical header that every producer builds alike, and the trxs under it.
//!
//! The block hash covers the header alone, and nothing in it depends on who built it; the header
//! covers the trxs by their Merkle root and the state's change by its digest. For clients of seed
//! 001 the block is shown in the reference's form ([`Block::to_proto`]), whose `ProducerPubkey` and
//! `ProducerSign` are taken from the certificate. Block 0 has a form of its own
//! ([`crate::genesis`]).

use prost::Message as _;
use quorate_crypto::hash::{Digest, Hasher, sha256};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::codec::{Canonical, CodecError, Reader, Writer, decode_message, read_version};
use crate::ids::{BlockId, Epoch, GroupId, ViewNumber};
use crate::merkle::{MerkleTree, leaf_hash};
use crate::proto::{ProtoBlock, Trx};
use crate::trx::MAX_TRX;
use crate::view::View;

/// Most bytes of encoded trxs in a block.
pub const MAX_CONTENT: usize = 900 * 1024;

/// Most trxs in a block; those that are left stay in the pool.
pub const MAX_TRXS: usize = 8192;

/// What is hashed, linked and certified. Nothing in it depends on who built it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// previous block's. In JSON a decimal string: it does not fit a JavaScript number.
    #[serde(with = "crate::json::decimal_i64")]
    pub timestamp: i64,
}

impl BlockHeader {
    /// The block hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Hasher::new("quorate.block.v1")
            .field(self.group.0.as_bytes())
            .u64(self.id.0)
            .u64(self.epoch.0)
            .u64(self.view.0)
            .field(&self.previous.0)
            .field(&self.trx_root.0)
            .u64(u64::from(self.trx_count))
            .field(&self.write_set.0)
            .u64(self.last_checkpoint.0)
            .u64(self.last_view_change.0)
            .field(&self.timestamp.to_be_bytes())
            .finish()
    }
}

impl Canonical for BlockHeader {
    const MAX_BYTES: usize = 1 + 16 + 3 * 8 + 2 * 32 + 4 + 32 + 3 * 8;

    fn write(&self, writer: &mut Writer) {
        self.group.write(writer);
        self.id.write(writer);
        self.epoch.write(writer);
        self.view.write(writer);
        self.previous.write(writer);
        self.trx_root.write(writer);
        writer.u32(self.trx_count);
        self.write_set.write(writer);
        self.last_checkpoint.write(writer);
        self.last_view_change.write(writer);
        writer.i64(self.timestamp);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            group: GroupId::read(reader)?,
            id: BlockId::read(reader)?,
            epoch: Epoch::read(reader)?,
            view: ViewNumber::read(reader)?,
            previous: Digest::read(reader)?,
            trx_root: Digest::read(reader)?,
            trx_count: reader.u32()?,
            write_set: Digest::read(reader)?,
            last_checkpoint: BlockId::read(reader)?,
            last_view_change: BlockId::read(reader)?,
            timestamp: reader.i64()?,
        })
    }
}

/// The Merkle tree over trxs. Leaf: the trx's full protobuf encoding.
#[must_use]
pub fn trx_tree(trxs: &[Trx]) -> MerkleTree {
    MerkleTree::from_leaves(trxs.iter().map(Trx::encode_to_vec))
}

/// A block: header and trxs.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The trxs in their order.
    pub trxs: Vec<Trx>,
}

impl Block {
    /// The block hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.header.hash()
    }

    /// Whether the trxs are those the header names.
    #[must_use]
    pub fn body_fits(&self) -> bool {
        self.trxs.len() == self.header.trx_count as usize
            && trx_tree(&self.trxs).root() == self.header.trx_root
    }

    /// Reads the header of an encoded block and nothing else: the rest may be anything.
    ///
    /// # Errors
    /// [`CodecError`] if that is no header.
    pub fn peek(bytes: &[u8]) -> Result<BlockHeader, CodecError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        BlockHeader::read(&mut reader)
    }

    /// The block as clients of seed 001 read it. `ProducerPubkey` and `ProducerSign` are those of
    /// the certificate's lowest signer; they are empty if the certificate's signer is not in `view`.
    #[must_use]
    pub fn to_proto(&self, certificate: &Certificate, view: &View) -> ProtoBlock {
        let signer = certificate.signatures.first().and_then(|(index, _)| view.producer(*index));
        let sign = signer.map(|_| certificate.producer_sign.0.to_vec());
        ProtoBlock {
            group_id: self.header.group.to_string(),
            block_id: self.header.id.0,
            epoch: self.header.epoch.0,
            prev_hash: self.header.previous.0.to_vec(),
            producer_pubkey: signer.map(|p| p.member.to_string()).unwrap_or_default(),
            trxs: self.trxs.clone(),
            time_stamp: self.header.timestamp,
            block_hash: self.hash().0.to_vec(),
            producer_sign: sign.unwrap_or_default(),
        }
    }
}

impl Canonical for Block {
    const MAX_BYTES: usize = BlockHeader::MAX_BYTES + 4 + MAX_CONTENT + 4 * MAX_TRXS;

    fn write(&self, writer: &mut Writer) {
        self.header.write(writer);
        writer.list(&self.trxs, |writer, trx| trx.write(writer));
    }

    /// Reads a block; one whose trxs do not fit its header is refused.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let header = BlockHeader::read(reader)?;
        let (mut content, mut leaves) = (0, Vec::new());
        let trxs = reader.list("trxs", MAX_TRXS, |reader| {
            let bytes = reader.bytes("trx", MAX_TRX)?;
            content += bytes.len();
            if content > MAX_CONTENT {
                let (length, limit) = (content, MAX_CONTENT);
                return Err(CodecError::TooLong { what: "block content", length, limit });
            }
            leaves.push(leaf_hash(bytes));
            decode_message("trx", bytes, MAX_TRX)
        })?;
        // As in `body_fits`: a trx has one spelling, so its bytes are what the tree is made of.
        let root = MerkleTree::from_leaf_hashes(leaves).root();
        if trxs.len() != header.trx_count as usize || root != header.trx_root {
            return Err(CodecError::Invalid("block body"));
        }
        Ok(Self { header, trxs })
    }
}

/// What a third party needs, beside the block of the API, to recompute `BlockHash` and check who
/// agreed to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockInfo {
    /// Hash of the header, in hexadecimal.
    pub hash: Digest,
    /// The header, whose fields are what is hashed.
    pub header: BlockHeader,
    /// The committee's signatures.
    pub certificate: Certificate,
}

impl BlockInfo {
    /// The information about a block.
    #[must_use]
    pub fn new(header: &BlockHeader, certificate: &Certificate) -> Self {
        Self { hash: header.hash(), header: header.clone(), certificate: certificate.clone() }
    }
}

impl ProtoBlock {
    /// The reference's block hash: SHA-256 of the message without fields 9 and 10. Ours only for
    /// the genesis block.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let signed = Self { block_hash: Vec::new(), producer_sign: Vec::new(), ..self.clone() };
        sha256(&signed.encode_to_vec())
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
