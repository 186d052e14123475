//! Views: the numbered configurations of a group, and the chain of their changes.

use quorate_crypto::hash::Digest;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewPublicKey;

use crate::ids::{BlockId, Epoch, GroupId, ViewNumber};

/// How a group is ordered (`consensus_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
}
