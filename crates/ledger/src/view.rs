//! Views: the numbered configurations of a group, and the chain of their changes.
//!
//! View 0 is made by the owner alone and follows the genesis block. Every later view is made by a
//! CONSENSUS trx of the owner which carries the change's proof (request and responses) and which
//! the *old* view ordered: the block that holds it is the last of the old view, and its certificate
//! by the old committee is the link. So whoever trusts the genesis block's owner can follow the
//! chain to the current committee without trusting anybody else.

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_crypto::view::ViewPublicKey;
use serde::{Deserialize, Serialize};

use crate::change::{self, ChangeError, ChangeResult};
use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::genesis::{GenesisBlock, GenesisError};
use crate::ids::{BlockId, Epoch, GroupId, ViewNumber};
use crate::mutants::{Mutant, mutated};
use crate::proto::ChangeConsensusResultBundle;
use crate::receipt::{Receipt, ReceiptError};
use crate::trx::{TrxType, decrypt_payload};

/// Largest committee of any view; a change request may list no more than
/// [`change::MAX_PRODUCERS`].
pub const MAX_COMMITTEE: usize = 100;
/// Longest public key material, in bytes.
pub const MAX_KEY_MATERIAL: usize = 64 * 1024;
/// Longest encoded result bundle, in bytes: the data of a CONSENSUS trx.
pub const MAX_BUNDLE: usize = crate::trx::Limits::REFERENCE.consensus_data;
/// Most links of an exported view chain.
pub const MAX_LINKS: usize = 16 * 1024;
const MAX_ID_TEXT: usize = 64;

/// Signatures that certify in a committee of `producers`: `2f + 1` with `f = (n - 1) / 3`.
#[must_use]
pub fn certificate_quorum(producers: usize) -> usize {
    let faulty = producers.saturating_sub(1) / 3;
    2 * faulty + usize::from(faulty == 0 || !mutated(Mutant::CertificateOffByOne))
}

/// How a group is ordered (`consensus_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HoneyBadgerBFT producers.
    Poa,
    /// Leader-based Mod-SMaRt.
    Bft,
    /// Signed Raft.
    Cft,
    /// Derived from a main group.
    Para,
}

impl Protocol {
    /// Name as `consensus_type` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poa => "poa",
            Self::Bft => "bft",
            Self::Cft => "cft",
            Self::Para => "para",
        }
    }

    /// The protocol of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Poa, Self::Bft, Self::Cft, Self::Para].into_iter().find(|p| p.name() == name)
    }

    /// Number in seeds and encodings: 0 is `poa`; 1 is the reference's `pos`, which there is not.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Poa => 0,
            Self::Bft => 2,
            Self::Cft => 3,
            Self::Para => 4,
        }
    }

    /// The protocol of a number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Poa),
            2 => Some(Self::Bft),
            3 => Some(Self::Cft),
            4 => Some(Self::Para),
            _ => None,
        }
    }
}

impl Canonical for Protocol {
    const MAX_BYTES: usize = 2;

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Self::from_number(reader.u8()?).ok_or(CodecError::Invalid("protocol"))
    }
}

/// One member that orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its member key in this group.
    pub member: MemberPublicKey,
    /// Its consensus key in this view: signs envelopes and certificates, erased when the view ends.
    pub view_key: ViewPublicKey,
}

/// A numbered configuration: protocol, ordered committee, keys and parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The group.
    pub group: GroupId,
    /// Its number; 0 is the genesis view.
    pub number: ViewNumber,
    /// How this view orders.
    pub protocol: Protocol,
    /// The committee, in the order of the change request's producer list.
    pub producers: Vec<Producer>,
    /// Public part of the committee's joint key.
    pub key_material: Vec<u8>,
    /// Epoch interval in milliseconds.
    pub interval_ms: u64,
    /// First epoch of the view.
    pub start_epoch: Epoch,
    /// The certified block that ended the view before (genesis block for view 0): the first block
    /// of this view follows it.
    pub parent: (BlockId, Digest),
    /// ReqId of the change request that made this view.
    pub req_id: String,
    /// Nonce of that request; 0 for the genesis view.
    pub nonce: u64,
    /// Id of the CONSENSUS trx that carried the change; empty for the genesis view.
    pub proof_trx_id: String,
}

impl View {
    /// Position of a member in the committee.
    #[must_use]
    pub fn index_of(&self, member: &MemberPublicKey) -> Option<NodeIndex> {
        let index = self.producers.iter().position(|p| p.member == *member)?;
        u16::try_from(index).ok().map(NodeIndex)
    }

    /// The producer at a position.
    #[must_use]
    pub fn producer(&self, index: NodeIndex) -> Option<&Producer> {
        self.producers.get(index.get())
    }

    /// Digest of everything in the view.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("quorate.view.v1").field(&self.to_bytes()).finish()
    }
}

impl Canonical for View {
    const MAX_BYTES: usize = MAX_KEY_MATERIAL + MAX_COMMITTEE * (33 + 32) + 2 * MAX_ID_TEXT + 256;

    fn write(&self, writer: &mut Writer) {
        self.group.write(writer);
        self.number.write(writer);
        self.protocol.write(writer);
        writer.list(&self.producers, |writer, producer| {
            producer.member.write(writer);
            producer.view_key.write(writer);
        });
        writer.bytes(&self.key_material);
        writer.u64(self.interval_ms);
        self.start_epoch.write(writer);
        self.parent.0.write(writer);
        self.parent.1.write(writer);
        writer.bytes(self.req_id.as_bytes());
        writer.u64(self.nonce);
        writer.bytes(self.proof_trx_id.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            group: GroupId::read(reader)?,
            number: ViewNumber::read(reader)?,
            protocol: Protocol::read(reader)?,
            producers: reader.list("producers", MAX_COMMITTEE, |reader| {
                Ok(Producer {
                    member: MemberPublicKey::read(reader)?,
                    view_key: ViewPublicKey::read(reader)?,
                })
            })?,
            key_material: reader.bytes("key material", MAX_KEY_MATERIAL)?.to_vec(),
            interval_ms: reader.u64()?,
            start_epoch: Epoch::read(reader)?,
            parent: (BlockId::read(reader)?, Digest::read(reader)?),
            req_id: reader.text("req_id", MAX_ID_TEXT)?,
            nonce: reader.u64()?,
            proof_trx_id: reader.text("proof_trx_id", MAX_ID_TEXT)?,
        })
    }
}

/// Why a view chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The genesis block is not the owner's.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The proof of this view's change is wrong.
    #[error("view {view}: {error}")]
    Change {
        /// The view it would make.
        view: ViewNumber,
        /// What is wrong.
        error: ChangeError,
    },
    /// The CONSENSUS trx that makes this view is not in a block certified by the view before.
    #[error("view {view}: {error}")]
    Receipt {
        /// The view it would make.
        view: ViewNumber,
        /// What is wrong.
        error: ReceiptError,
    },
    /// The trx that should make this view is none of the owner's that carries this proof.
    #[error("view {view}: {why}")]
    Trx {
        /// The view it would make.
        view: ViewNumber,
        /// What is wrong.
        why: &'static str,
    },
}

/// First element of a view chain.
#[derive(Clone, PartialEq, Debug)]
pub struct GenesisLink {
    /// The genesis block: names the owner.
    pub genesis: GenesisBlock,
    /// The genesis proof: nonce 0, by the owner alone.
    pub bundle: ChangeConsensusResultBundle,
}

impl GenesisLink {
    /// Checks the genesis block and proof and derives view 0.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn verify<G>(&self) -> Result<View, ChainError>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let view = ViewNumber(0);
        self.genesis.verify()?;
        let (owner, group) = (self.genesis.owner, self.genesis.group);
        let parent = (BlockId(0), self.genesis.hash());
        change::verify_genesis_bundle(&self.bundle, &owner, group)
            .and_then(|change| change::next_view::<G>(&change, parent, view, ""))
            .map_err(|error| ChainError::Change { view, error })
    }
}

/// Proof of one change of view: the CONSENSUS trx in a block certified by the view it ends.
#[derive(Clone, PartialEq, Debug)]
pub struct ViewLink {
    /// The change's proof, as the trx carries it.
    pub bundle: ChangeConsensusResultBundle,
    /// The trx in the handover block.
    pub receipt: Receipt,
}

impl ViewLink {
    /// Checks the link against the view before and derives the view it makes. `cipher` is the
    /// group's cipher key, under which the trx's payload is encrypted.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn verify<G>(
        &self,
        previous: &View,
        owner: &MemberPublicKey,
        cipher: &SymmetricKey,
    ) -> Result<View, ChainError>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let view = previous.number.next();
        let wrong = |why| Err(ChainError::Trx { view, why });
        self.receipt.verify(previous).map_err(|error| ChainError::Receipt { view, error })?;
        let (trx, header) = (&self.receipt.trx, &self.receipt.header);
        if trx.trx_type() != Some(TrxType::Consensus) {
            return wrong("the trx is not of type CONSENSUS");
        }
        if !trx.sender().is_some_and(|sender| sender.is(owner)) {
            return wrong("the trx is not the owner's");
        }
        let Ok(payload) = decrypt_payload(cipher, &trx.data) else {
            return wrong("the trx does not open with the group's cipher key");
        };
        if ChangeConsensusResultBundle::read(&payload).as_ref() != Ok(&self.bundle) {
            return wrong("the trx carries another proof");
        }
        let change = |error| ChainError::Change { view, error };
        let verified =
            change::verify_bundle(&self.bundle, owner, previous.group).map_err(change)?;
        if verified.result != ChangeResult::Success {
            return wrong("the change did not succeed");
        }
        if verified.request.nonce <= previous.nonce {
            return wrong("the change is older than the view");
        }
        let parent = (header.id, header.hash());
        change::next_view::<G>(&verified, parent, view, &trx.trx_id).map_err(change)
    }
}

fn write_bundle(bundle: &ChangeConsensusResultBundle, writer: &mut Writer) {
    writer.message(bundle);
}

fn read_bundle(reader: &mut Reader<'_>) -> Result<ChangeConsensusResultBundle, CodecError> {
    reader.message("bundle", MAX_BUNDLE)
}

impl Canonical for GenesisLink {
    const MAX_BYTES: usize = GenesisBlock::MAX_BYTES + MAX_BUNDLE + 4;

    fn write(&self, writer: &mut Writer) {
        self.genesis.write(writer);
        write_bundle(&self.bundle, writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { genesis: GenesisBlock::read(reader)?, bundle: read_bundle(reader)? })
    }
}

impl Canonical for ViewLink {
    const MAX_BYTES: usize = MAX_BUNDLE + 4 + Receipt::MAX_BYTES;

    fn write(&self, writer: &mut Writer) {
        write_bundle(&self.bundle, writer);
        self.receipt.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { bundle: read_bundle(reader)?, receipt: Receipt::read(reader)? })
    }
}

/// The whole history of a group's views, checkable offline. One exported file is its encoding.
///
/// It carries the group's cipher key, as the seed URL does, because the proofs are encrypted under
/// it: whoever may not read the group must not be given the file.
#[derive(Clone, PartialEq, Debug)]
pub struct ViewChain {
    /// View 0.
    pub genesis: GenesisLink,
    /// The group's cipher key.
    pub cipher_key: SymmetricKey,
    /// Views 1, 2, ... in order.
    pub links: Vec<ViewLink>,
}

impl ViewChain {
    /// Checks the whole chain from the genesis block, whose owner is all that is trusted, and
    /// derives all views in order. The caller must know that this is the group it means.
    ///
    /// # Errors
    /// [`ChainError`] naming the first view that does not hold.
    pub fn verify<G>(&self) -> Result<Vec<View>, ChainError>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let owner = self.genesis.genesis.owner;
        let mut last = self.genesis.verify::<G>()?;
        let mut views = Vec::with_capacity(self.links.len() + 1);
        for link in &self.links {
            let next = link.verify::<G>(&last, &owner, &self.cipher_key)?;
            views.push(std::mem::replace(&mut last, next));
        }
        views.push(last);
        Ok(views)
    }
}

impl Canonical for ViewChain {
    const MAX_BYTES: usize = 1024 * 1024 * 1024;

    fn write(&self, writer: &mut Writer) {
        self.genesis.write(writer);
        writer.raw(self.cipher_key.as_bytes());
        writer.list(&self.links, |writer, link| link.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            genesis: GenesisLink::read(reader)?,
            cipher_key: SymmetricKey(reader.array()?),
            links: reader.list("links", MAX_LINKS, ViewLink::read)?,
        })
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
