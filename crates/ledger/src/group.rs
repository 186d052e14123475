//! A group's descriptor, and the documents that start it.

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::{Digest, sha256_concat};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::Threshold;
use serde::{Deserialize, Serialize};

use crate::announce::{self, AnnounceError};
use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::genesis::GenesisBlock;
use crate::ids::GroupId;
use crate::proto::{ActionType, AnnounceItem, AnnounceType, ChangeConsensusResultBundle};
use crate::view::{ChainError, GenesisLink, MAX_BUNDLE, Protocol, View};

/// Longest group name, in bytes: 100 characters, as the API checks.
pub const MAX_NAME: usize = 400;
/// Longest application key, in bytes: 20 characters, as the API checks.
pub const MAX_APP_KEY: usize = 80;
const MAX_ANNOUNCE: usize = 16 * 1024;

/// Who may read the posts of a group (`encryption_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Whoever has the cipher key.
    Public,
    /// Approved users: posts are encrypted to their keys.
    Private,
}

impl Encryption {
    /// Name as `encryption_type` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    /// The encryption of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Public, Self::Private].into_iter().find(|e| e.name() == name)
    }

    /// Number in seeds and encodings.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Public => 0,
            Self::Private => 1,
        }
    }

    /// The encryption of a number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Public),
            1 => Some(Self::Private),
            _ => None,
        }
    }
}

/// What a member knows of a group from its seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDescriptor {
    /// The group.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: MemberPublicKey,
    /// How its genesis view orders.
    pub consensus: Protocol,
    /// Who may read its posts.
    pub encryption: Encryption,
    /// Key under which payloads are encrypted.
    pub cipher_key: SymmetricKey,
    /// Key of the application that uses the group.
    pub app_key: String,
    /// Its genesis block.
    pub genesis: GenesisBlock,
}

impl GroupDescriptor {
    /// What a joiner signs with its member key (`signature` of the join result), from the keys it
    /// made for this group.
    #[must_use]
    pub fn join_digest(&self, user: &MemberPublicKey, user_encrypt_pubkey: &str) -> Digest {
        sha256_concat(&[
            self.genesis.to_json().as_bytes(),
            self.id.to_string().as_bytes(),
            self.name.as_bytes(),
            self.owner.as_bytes(),
            user.as_bytes(),
            user_encrypt_pubkey.as_bytes(),
            self.cipher_key.to_string().as_bytes(),
        ])
    }
}

/// Read without a check of the genesis signature.
impl Canonical for GroupDescriptor {
    const MAX_BYTES: usize = 3 + GenesisBlock::MAX_BYTES + 32 + 8 + MAX_NAME + MAX_APP_KEY;

    fn write(&self, writer: &mut Writer) {
        self.genesis.write(writer);
        writer.bytes(self.name.as_bytes());
        self.consensus.write(writer);
        writer.u8(self.encryption.number());
        writer.raw(self.cipher_key.as_bytes());
        writer.bytes(self.app_key.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let genesis = GenesisBlock::read(reader)?;
        Ok(Self {
            id: genesis.group,
            name: reader.text("group name", MAX_NAME)?,
            owner: genesis.owner,
            consensus: Protocol::read(reader)?,
            encryption: Encryption::from_number(reader.u8()?)
                .ok_or(CodecError::Invalid("encryption"))?,
            cipher_key: SymmetricKey(reader.array()?),
            app_key: reader.text("app key", MAX_APP_KEY)?,
            genesis,
        })
    }
}

/// Why genesis documents are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentsError {
    /// They are of another genesis block than the one the member knows from its seed.
    #[error("genesis documents of another genesis block")]
    Other,
    /// Genesis block or proof are wrong.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The owner's announcement is wrong.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// The announcement is not the owner's as a producer.
    #[error("the first announcement is not the owner's as a producer")]
    NotOwner,
}

/// What the owner signs once, when it makes the group; joiners fetch it from any peer.
#[derive(Clone, PartialEq, Debug)]
pub struct GenesisDocuments {
    /// The genesis block.
    pub genesis: GenesisBlock,
    /// The owner's announcement as the first producer.
    pub announce: AnnounceItem,
    /// The genesis proof: nonce 0, by the owner alone.
    pub bundle: ChangeConsensusResultBundle,
}

impl GenesisDocuments {
    /// Checks the documents against the genesis block that the seed gave, and derives view 0.
    ///
    /// # Errors
    /// [`DocumentsError`].
    pub fn verify<G>(&self, genesis: &GenesisBlock) -> Result<View, DocumentsError>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        if self.genesis != *genesis {
            return Err(DocumentsError::Other);
        }
        let announced = announce::verify(&self.announce, genesis.group)?;
        let first = (announced.announcement.action, announced.announcement.kind);
        if announced.member != genesis.owner || first != (ActionType::Add, AnnounceType::AsProducer)
        {
            return Err(DocumentsError::NotOwner);
        }
        Ok(self.link().verify::<G>()?)
    }

    /// The first element of the view chain.
    #[must_use]
    pub fn link(&self) -> GenesisLink {
        GenesisLink { genesis: self.genesis.clone(), bundle: self.bundle.clone() }
    }
}

impl Canonical for GenesisDocuments {
    const MAX_BYTES: usize = GenesisBlock::MAX_BYTES + 8 + MAX_ANNOUNCE + MAX_BUNDLE;

    fn write(&self, writer: &mut Writer) {
        self.genesis.write(writer);
        writer.message(&self.announce);
        writer.message(&self.bundle);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            genesis: GenesisBlock::read(reader)?,
            announce: reader.message("announce", MAX_ANNOUNCE)?,
            bundle: reader.message("bundle", MAX_BUNDLE)?,
        })
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
