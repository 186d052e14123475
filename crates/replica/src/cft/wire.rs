//! Packets between nodes of a `cft` group.
//!
//! ```text
//! packet = "QRM" version kind group(16) body
//! ```
//! with kinds from 32 on. Nothing is signed: the link vouches for the peer, and the group's nodes
//! trust each other not to lie. A packet counts as a node's if it comes from the peer that the
//! ledger (or the admission of a joiner) names for the node.

use std::sync::Arc;

use quorate_consensus::raft::{RaftMessage, Seqno};
use quorate_ledger::codec::CodecError;
use quorate_ledger::ids::GroupId;

use super::api::{Command, Error, NodeId, PeerRef, Reply, TxId, TxStatus};

/// What nodes say to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// Messages of the protocol, in order.
    Raft(Vec<RaftMessage>),
    /// A command that only the leader can do.
    Forward {
        /// Names it in the answers.
        id: u64,
        /// The command; a write always has an idempotency key.
        command: Command,
    },
    /// The leader's (early) answer to [`Packet::Forward`].
    Forwarded {
        /// Of the command.
        id: u64,
        /// The answer.
        result: Result<Reply, Error>,
    },
    /// What became of a forwarded write that waits for its commit.
    Decided {
        /// Of the command.
        id: u64,
        /// The transaction.
        tx: TxId,
        /// Committed or Invalid.
        status: TxStatus,
    },
    /// A node asks to join.
    Join(Box<JoinRequest>),
    /// The answer.
    JoinAnswer(Box<JoinAnswer>),
    /// A follower passes a joiner's request on to the leader.
    RelayJoin(PeerRef, Box<JoinRequest>),
    /// The leader's answer to that, for the joiner.
    RelayJoinAnswer(PeerRef, Box<JoinAnswer>),
    /// A joiner asks for a part of the latest snapshot.
    FetchSnapshot {
        /// Which one; 0: the latest.
        seqno: Seqno,
        /// First byte of the part.
        offset: u64,
    },
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
    pub node_key: Vec<u8>,
    /// Its network identity.
    pub peer: PeerRef,
    /// Where its clients will find it.
    pub rpc_address: String,
    /// Whom its secrets are to be sealed to (`age1...`).
    pub recipient: String,
    /// Where its ledger begins: 0, or the snapshot it has.
    pub startup_seqno: Seqno,
    /// Its signature over all this ([`JoinRequest::statement`]).
    pub proof: Vec<u8>,
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
        let _ = bytes;
        Err(CodecError::Truncated)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self, group: GroupId) -> Arc<[u8]> {
        let _ = group;
        Arc::from([].as_slice())
    }
}
