//! The genesis block: block 0, in the form and with the hash of the reference, so that seed URLs
//! verify.
//!
//! It holds the group, the owner's key, the time and the owner's signature over SHA-256 of these
//! three; no trxs, no previous hash.

use quorate_crypto::hash::Digest;
use quorate_crypto::member::{self, MemberKey, MemberPublicKey, MemberSignature};

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::ids::GroupId;
use crate::proto::ProtoBlock;

/// Why a genesis block is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A field has a value that a genesis block cannot have.
    #[error("genesis block: wrong {0}")]
    Field(&'static str),
    /// The hash is not the block's.
    #[error("genesis block: the hash differs")]
    Hash,
    /// The signature is not the owner's over this group and time.
    #[error("genesis signature invalid")]
    Signature,
}

/// Block 0 of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenesisBlock {
    /// The group.
    pub group: GroupId,
    /// Its owner, who signs.
    pub owner: MemberPublicKey,
    /// When it was made, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// The owner's signature over [`GenesisBlock::hash`].
    pub sign: MemberSignature,
}

impl GenesisBlock {
    /// Makes and signs the genesis block of a new group.
    #[must_use]
    pub fn build(owner: &MemberKey, group: GroupId, timestamp: i64) -> Self {
        let unsigned =
            Self { group, owner: owner.public(), timestamp, sign: MemberSignature([0; 65]) };
        Self { sign: owner.sign(&unsigned.hash()), ..unsigned }
    }

    fn preimage(&self) -> ProtoBlock {
        ProtoBlock {
            group_id: self.group.to_string(),
            producer_pubkey: self.owner.to_string(),
            time_stamp: self.timestamp,
            ..ProtoBlock::default()
        }
    }

    /// Its hash: what the first block links to.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.preimage().digest()
    }

    /// Checks the owner's signature, V included: these bytes are copied into seeds, so that no
    /// changed one may pass.
    ///
    /// # Errors
    /// [`GenesisError::Signature`].
    pub fn verify(&self) -> Result<(), GenesisError> {
        let hash = self.hash();
        let valid = self.sign.0[64] <= 1
            && self.owner.verify(&hash, &self.sign.0)
            && member::recover_eth_address(&hash, &self.sign.0)
                .is_some_and(|address| address == self.owner.eth_address());
        if valid { Ok(()) } else { Err(GenesisError::Signature) }
    }

    /// The block for the API and for clients of seed 001.
    #[must_use]
    pub fn to_proto(&self) -> ProtoBlock {
        ProtoBlock {
            block_hash: self.hash().0.to_vec(),
            producer_sign: self.sign.0.to_vec(),
            ..self.preimage()
        }
    }

    /// Reads the block of a client or of another node, and checks it.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn from_proto(block: &ProtoBlock) -> Result<Self, GenesisError> {
        let field = GenesisError::Field;
        let group: GroupId = block.group_id.parse().map_err(|_| field("GroupId"))?;
        let owner = block.producer_pubkey.parse().map_err(|_| field("ProducerPubkey"))?;
        let sign = block.producer_sign.as_slice().try_into().map_err(|_| field("ProducerSign"))?;
        let sign = MemberSignature(sign);
        let genesis = Self { group, owner, timestamp: block.time_stamp, sign };
        if block.block_hash != genesis.hash().0 {
            return Err(GenesisError::Hash);
        }
        if genesis.to_proto() != *block {
            return Err(field("field that a genesis block has not"));
        }
        genesis.verify()?;
        Ok(genesis)
    }

    /// The compact JSON text that the join result's signature covers.
    ///
    /// # Panics
    /// Never: the message has no map with keys that are not texts.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.to_proto()).expect("a message of texts and numbers is JSON")
    }
}

/// Read without a check of the signature ([`GenesisBlock::verify`]).
impl Canonical for GenesisBlock {
    const MAX_BYTES: usize = 1 + 16 + 33 + 8 + 65;

    fn write(&self, writer: &mut Writer) {
        self.group.write(writer);
        self.owner.write(writer);
        writer.i64(self.timestamp);
        self.sign.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            group: GroupId::read(reader)?,
            owner: MemberPublicKey::read(reader)?,
            timestamp: reader.i64()?,
            sign: MemberSignature::read(reader)?,
        })
    }
}
