//! Packets between nodes of a `cft` group.
//!
//! ```text
//! packet = "QRM" version kind group(16) body
//! ```
//! with kinds from 32 on. Nothing is signed: the link vouches for the peer, and the group's nodes
//! trust each other not to lie. Protocol messages name their sender and receiver; they count if they
//! come from the peer that the ledger (or the admission of a joiner) names for the sender, or, if
//! they name none, from where the sender introduced itself.

pub(super) mod codec;

use std::sync::Arc;

use quorate_consensus::raft::{RaftMessage, Seqno};
use quorate_crypto::hash::{Digest, Hasher};
use quorate_ledger::codec::{Canonical, CodecError, Reader, VERSION, Writer};
use quorate_ledger::ids::GroupId;

use super::api::{Command, Error, NodeId, PeerRef, Reply, TxId, TxStatus};
use crate::limits::MAX_PACKET;
use crate::wire::{MAGIC, WIRE_VERSION};

/// Kind of all packets of `cft` groups; the body says more.
pub const KIND_CFT: u8 = 32;

/// The answer to a forwarded command.
pub type Forwarded = (u64, Result<Reply, Error>);

/// What nodes say to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// Messages of the protocol, in order.
    Raft {
        /// Who says it.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// What.
        messages: Vec<RaftMessage>,
    },
    /// Commands that only the leader can do, each with an id that the answer repeats. A write has an
    /// idempotency key.
    Forward(Vec<(u64, Command)>),
    /// The leader's (early) answers to [`Packet::Forward`].
    Forwarded(Vec<Forwarded>),
    /// What became of forwarded writes that wait for their commit.
    Decided(Vec<(u64, TxId, TxStatus)>),
    /// A node asks to join.
    Join(Box<JoinRequest>),
    /// The answer.
    JoinAnswer(Box<JoinAnswer>),
    /// A follower passes a joiner's request on to the leader.
    RelayJoin(PeerRef, Box<JoinRequest>),
    /// The leader's answer to that, for the joiner.
    RelayJoinAnswer(PeerRef, Box<JoinAnswer>),
    /// A joiner asks for a part of a snapshot.
    FetchSnapshot {
        /// Which one; 0: the latest.
        seqno: Seqno,
        /// First byte of the part.
        offset: u64,
    },
    /// A node says who it is, to one whose ledger may not name it yet.
    Introduction(Box<Introduction>),
    /// The leader's log begins after what a node needs next: let it begin with this snapshot.
    OfferSnapshot(TxId),
    /// A part of a snapshot.
    SnapshotPart {
        /// Which one; 0: there is none.
        seqno: Seqno,
        /// The transaction with its digest.
        evidence: Seqno,
        /// First byte of the part.
        offset: u64,
        /// Length of the whole.
        total: u64,
        /// The part.
        bytes: Vec<u8>,
    },
}

/// A node asks to join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest {
    /// Its public key (SPKI DER); its digest is its id.
    pub public_key: Vec<u8>,
    /// Its network identity.
    pub peer: PeerRef,
    /// Where its clients will find it.
    pub rpc_address: String,
    /// Whom its secrets are to be sealed to (`age1...`).
    pub encryption_key: String,
    /// Where its ledger begins: 0, or the snapshot it has.
    pub startup_seqno: Seqno,
    /// Its signature over [`JoinRequest::statement`].
    pub proof: Vec<u8>,
}

impl JoinRequest {
    /// What a joiner signs to show that it has the key: so that nobody else can have secrets sealed
    /// to himself under the id of a node that the operator expects.
    #[must_use]
    pub fn statement(&self, group: GroupId) -> Digest {
        Hasher::new("quorate.cft.join.v1")
            .field(group.0.as_bytes())
            .field(&self.public_key)
            .field(&self.peer.0)
            .field(self.rpc_address.as_bytes())
            .field(self.encryption_key.as_bytes())
            .finish()
    }
}

/// A node says who it is. A member that was down while another node joined, and came to lead, hears
/// of it by this alone: its own ledger does not name it before it has caught up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introduction {
    /// Its public key (SPKI DER); its digest is its id.
    pub public_key: Vec<u8>,
    /// Its certificate by the service (PEM).
    pub certificate: String,
    /// Its signature over [`Introduction::statement`].
    pub proof: Vec<u8>,
}

impl Introduction {
    /// What the node signs: that it is at this peer, from whom it has to come.
    #[must_use]
    pub fn statement(group: GroupId, public_key: &[u8], peer: &PeerRef) -> Digest {
        Hasher::new("quorate.cft.introduction.v1")
            .field(group.0.as_bytes())
            .field(public_key)
            .field(&peer.0)
            .finish()
    }
}

/// What a joiner is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JoinAnswer {
    /// Written down; the operator has not added it.
    Pending,
    /// No.
    Refused(Error),
    /// The operator added it: it learns.
    Admitted {
        /// Its certificate (PEM).
        node_certificate: String,
        /// The service's (PEM).
        service_certificate: String,
        /// Service key and ledger secret, sealed to it.
        sealed: Vec<u8>,
        /// The group's nodes and their network identities.
        nodes: Vec<(NodeId, PeerRef)>,
        /// The latest snapshot; 0: none.
        snapshot: Seqno,
    },
}

impl Packet {
    /// The group and the packet, if these bytes are one. Pure: can run anywhere.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<(GroupId, Self), CodecError> {
        if bytes.len() > MAX_PACKET {
            let (length, limit) = (bytes.len(), MAX_PACKET);
            return Err(CodecError::TooLong { what: "packet", length, limit });
        }
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(CodecError::Invalid("magic"));
        }
        match (reader.u8()?, reader.u8()?) {
            (WIRE_VERSION, KIND_CFT) => {}
            (WIRE_VERSION, _) => return Err(CodecError::Invalid("kind of packet")),
            (version, _) => return Err(CodecError::Version(version)),
        }
        let group = GroupId::read(&mut reader)?;
        match reader.u8()? {
            VERSION => {}
            other => return Err(CodecError::Version(other)),
        }
        let packet = codec::read_packet(&mut reader)?;
        reader.finish()?;
        Ok((group, packet))
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self, group: GroupId) -> Arc<[u8]> {
        let entries = match self {
            Self::Raft { messages, .. } => messages.iter().map(weight).sum(),
            _ => 0,
        };
        let mut writer = Writer::with_capacity(256 + entries);
        writer.raw(&MAGIC);
        writer.u8(WIRE_VERSION);
        writer.u8(KIND_CFT);
        group.write(&mut writer);
        writer.u8(VERSION);
        codec::write_packet(&mut writer, self);
        writer.finish().into()
    }
}

/// Room a message takes in a packet, about.
pub(super) fn weight(message: &RaftMessage) -> usize {
    match message {
        RaftMessage::AppendEntries(append) => {
            64 + append.entries.iter().map(|entry| 64 + entry.bytes.len()).sum::<usize>()
        }
        _ => 64,
    }
}

#[cfg(test)]
mod tests;
