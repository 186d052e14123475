//! What a member must remember of what it said, as notes of the journal.
//!
//! Key: the owner's prefix (the epoch, 8 bytes big-endian, or the change's own), then proposer (2
//! bytes), kind (1 byte), round (8 bytes). Value: a stamp of 8 bytes that says which view or which
//! agreement the vote belongs to, then the statement. A note of another stamp is nobody's vote any
//! more and is removed at opening.

use std::sync::Arc;

use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::mutants::{Mutant, mutated};

use crate::core::{Record, Topic};

/// What was said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// The own proposal, whole.
    Proposal = 1,
    /// ECHO: root, path, shard.
    Echo = 2,
    /// READY: root.
    Ready = 3,
    /// BVAL(0): whether as estimate or as relay.
    BValFalse = 4,
    /// BVAL(1): whether as estimate or as relay.
    BValTrue = 5,
    /// AUX: value.
    Aux = 6,
    /// CONF: values.
    Conf = 7,
    /// TERM: value; the round is the first it counts for.
    Term = 8,
    /// The coin share of a round was released.
    CoinShare = 9,
    /// The decryption share of a proposal was released.
    Share = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Proposal,
        Self::Echo,
        Self::Ready,
        Self::BValFalse,
        Self::BValTrue,
        Self::Aux,
        Self::Conf,
        Self::Term,
        Self::CoinShare,
        Self::Share,
    ];

    /// Whether a binary agreement said it.
    pub(super) const fn of_agreement(self) -> bool {
        matches!(
            self,
            Self::BValFalse
                | Self::BValTrue
                | Self::Aux
                | Self::Conf
                | Self::Term
                | Self::CoinShare
        )
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Bytes of a key behind the prefix.
const SUFFIX: usize = 11;
/// Bytes of a stamp.
const STAMP: usize = 8;

/// One remembered statement.
#[derive(Clone, Debug)]
pub(super) struct Vote {
    /// Whose broadcast or agreement.
    pub proposer: NodeIndex,
    /// What was said.
    pub kind: Kind,
    /// Round of the agreement, or 0.
    pub round: u64,
    /// The statement.
    pub payload: Vec<u8>,
}

/// What a key and value of the journal turned out to be.
pub(super) enum Reading {
    /// A vote of this owner.
    Vote(Vote),
    /// In this owner's key space, but of an earlier view or agreement.
    Stale,
    /// Not this owner's.
    Foreign,
}

/// Writes and reads the votes of one epoch or one agreement.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    topic: Topic,
    prefix: Arc<[u8]>,
    stamp: [u8; STAMP],
}

impl Notes {
    pub(super) fn new(topic: Topic, prefix: &[u8], stamp: [u8; STAMP]) -> Self {
        Self { topic, prefix: Arc::from(prefix), stamp }
    }

    /// The record of a statement.
    pub(super) fn record(
        &self,
        proposer: NodeIndex,
        kind: Kind,
        round: u64,
        payload: &[u8],
    ) -> Record {
        let mut key = self.prefix.to_vec();
        key.extend_from_slice(&proposer.0.to_be_bytes());
        key.push(kind as u8);
        key.extend_from_slice(&round.to_be_bytes());
        let mut bytes = Vec::with_capacity(STAMP + payload.len());
        let forgotten = mutated(Mutant::VoteForgotten);
        bytes.extend_from_slice(if forgotten { &[0xff; STAMP] } else { &self.stamp });
        bytes.extend_from_slice(payload);
        Record::Note { topic: self.topic, key, bytes: bytes.into() }
    }

    /// Removes everything under the prefix.
    pub(super) fn forget(&self) -> Record {
        Record::Forget { topic: self.topic, prefix: self.prefix.to_vec() }
    }

    /// Reads a note.
    pub(super) fn read(&self, key: &[u8], bytes: &[u8]) -> Reading {
        let Some(suffix) = key.strip_prefix(&*self.prefix) else { return Reading::Foreign };
        if suffix.len() != SUFFIX {
            return Reading::Foreign;
        }
        let Some(kind) = Kind::from_byte(suffix[2]) else { return Reading::Foreign };
        let Some(payload) = bytes.strip_prefix(&self.stamp) else { return Reading::Stale };
        let round: [u8; 8] = suffix[3..].try_into().expect("the length was checked");
        Reading::Vote(Vote {
            proposer: NodeIndex(u16::from_be_bytes([suffix[0], suffix[1]])),
            kind,
            round: u64::from_be_bytes(round),
            payload: payload.to_vec(),
        })
    }
}

/// The record that removes one note.
pub(super) fn remove(topic: Topic, key: &[u8]) -> Record {
    Record::Note { topic, key: key.to_vec(), bytes: Arc::from([]) }
}
