//! What members say to each other. The meaning of each message is in the protocol text of
//! [`crate::honeybadger`]; its bytes are in [`crate::honeybadger::codec`].

use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::{Joint, NodeIndex, Share};
use quorate_ledger::ids::Epoch;

/// One shard of a proposal with its proof. Its position in the tree is never sent: it is the
/// receiver's for INIT and the sender's for ECHO, so nobody can speak for another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Merkle root over all `n` shards.
    pub root: Digest,
    /// The shard.
    pub shard: Arc<[u8]>,
    /// Merkle path of the shard up to the root.
    pub path: Vec<Digest>,
}

/// A non-empty set of binary values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Values(u8);

impl Values {
    /// The set of one value.
    #[must_use]
    pub const fn one(value: bool) -> Self {
        Self(1 << value as u8)
    }

    /// The set with these bits (bit 0: false, bit 1: true); `None` if empty or more than two bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits > 3 { None } else { Some(Self(bits)) }
    }

    /// The bits of [`Values::from_bits`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every value of `self` is in `other`.
    #[must_use]
    pub const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The value, if it is the only one.
    #[must_use]
    pub const fn single(self) -> Option<bool> {
        match self.0 {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }
}

impl std::fmt::Display for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            1 => "{0}",
            2 => "{1}",
            _ => "{0,1}",
        })
    }
}

/// Reliable broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BroadcastMessage {
    /// The proposer gives the receiver its shard.
    Init(Fragment),
    /// The sender shows everybody the shard it was given.
    Echo(Fragment),
    /// The sender knows that the proposal with this root can be put together by everybody.
    Ready(Digest),
}

/// Binary agreement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgreementMessage {
    /// The sender estimates (or heard from `f + 1` that somebody correct estimates) this value.
    BVal {
        /// Round.
        round: u64,
        /// The value.
        value: bool,
    },
    /// The first value the sender accepted in the round.
    Aux {
        /// Round.
        round: u64,
        /// The value.
        value: bool,
    },
    /// The values the sender saw in `n - f` AUX.
    Conf {
        /// Round.
        round: u64,
        /// The values.
        values: Values,
    },
    /// The sender's share of the round's coin.
    Share {
        /// Round.
        round: u64,
        /// The share.
        share: Share,
    },
    /// The joint signature whose hash is the round's coin.
    Coin {
        /// Round.
        round: u64,
        /// The signature.
        joint: Joint,
    },
    /// The sender has decided.
    Term {
        /// The decision.
        value: bool,
        /// From this round on the message counts as the sender's BVAL, AUX and CONF.
        from: u64,
    },
}

/// What belongs to the broadcast and agreement of one proposer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotMessage {
    /// Of the broadcast.
    Broadcast(BroadcastMessage),
    /// Of the agreement.
    Agreement(AgreementMessage),
}

/// What is said in one epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EpochMessage {
    /// Of the common subset.
    Slot(NodeIndex, SlotMessage),
    /// The sender's decryption share for this proposer's proposal.
    Share(NodeIndex, Share),
    /// The joint signature that opens this proposer's proposal.
    Key(NodeIndex, Joint),
    /// The sender missed some of what the receiver said in this epoch and asks for it again.
    Again,
}

/// A message of the ordering core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoneyBadgerMessage {
    /// The epoch it belongs to.
    pub epoch: Epoch,
    /// What is said.
    pub body: EpochMessage,
}

/// A message of the agreement over the proofs of a consensus change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofMessage {
    /// Which agreement.
    pub instance: Digest,
    /// Whose proof.
    pub proposer: NodeIndex,
    /// What is said.
    pub body: SlotMessage,
}
