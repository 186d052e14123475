//! Where the coins of binary agreement come from.

use quorate_crypto::hash::{Digest, Hasher, sha256};
use quorate_crypto::threshold::{
    CombineError, Joint, NodeIndex, OpenError, Purpose, Share, Threshold,
};
use quorate_ledger::mutants::{Mutant, mutated};
use rand_core::CryptoRng;
use std::collections::BTreeMap;

/// The source of common coins. Every kind fixes the coin of round 0 to 1 and of round 1 to 0: the
/// usual case (everybody estimates 1) decides in round 0 without cryptography.
#[derive(Clone, Debug)]
pub(super) enum Coin<K> {
    /// From round 2 on the hash of a joint signature: nobody knows it before `n - f` members have
    /// released their shares.
    Threshold {
        /// This member's keys.
        keys: K,
        /// Name of the coins up to the round: group, view, epoch, proposer.
        name: Vec<u8>,
    },
    /// From round 2 on a hash of the seed, proposer and round. Common to all, as safety demands
    /// (with local coins two members could decide differently), but known to an adversary
    /// beforehand: one that also rules the network could delay the agreement, never split it.
    Public {
        /// The seed.
        seed: Digest,
        /// Whose proposal is agreed on.
        proposer: NodeIndex,
    },
}

/// One round's coin.
pub(super) enum Toss {
    /// It is this.
    Known(bool),
    /// It must be put together from shares.
    Shared,
}

impl<K: Threshold> Coin<K> {
    /// How the coin of a round is had.
    pub(super) fn toss(&self, round: u64) -> Toss {
        match (round, self) {
            (0, _) => Toss::Known(true),
            (1, _) => Toss::Known(false),
            (_, Self::Threshold { .. }) => Toss::Shared,
            (_, Self::Public { seed, proposer }) => {
                let digest = Hasher::new("quorate.public-coin.v1")
                    .field(seed.as_ref())
                    .u64(u64::from(proposer.0))
                    .u64(round)
                    .finish();
                Toss::Known(bit(&digest))
            }
        }
    }

    /// This member's share of a round's coin.
    pub(super) fn share(&self, round: u64) -> Option<Share> {
        let Self::Threshold { keys, name } = self else { return None };
        keys.sign_share(Purpose::Coin, &target(name, round))
    }

    /// Puts shares together.
    pub(super) fn combine(
        &self,
        round: u64,
        shares: &BTreeMap<NodeIndex, Share>,
    ) -> Result<Joint, CombineError> {
        match self {
            Self::Threshold { keys, name } => {
                let joint = keys.combine(Purpose::Coin, &target(name, round), shares);
                let wrong = matches!(joint, Err(CombineError::BadShares(_)));
                if wrong && mutated(Mutant::CoinSharesUnverified) {
                    return Ok(shares.values().flatten().copied().collect());
                }
                joint
            }
            Self::Public { .. } => {
                Err(CombineError::TooFew { have: shares.len(), need: usize::MAX })
            }
        }
    }

    /// Whether `joint` is the joint signature of a round's coin.
    pub(super) fn verify(&self, round: u64, joint: &Joint) -> bool {
        let Self::Threshold { keys, name } = self else { return false };
        mutated(Mutant::CoinUnverified) || keys.verify(Purpose::Coin, &target(name, round), joint)
    }

    /// The coin of a joint signature.
    pub(super) fn value(joint: &Joint) -> bool {
        bit(&sha256(joint))
    }
}

fn bit(digest: &Digest) -> bool {
    digest.0[0] & 1 == 1
}

fn target(name: &[u8], round: u64) -> Vec<u8> {
    let mut target = name.to_vec();
    target.extend_from_slice(&round.to_be_bytes());
    target
}

/// Keys of a committee that has none yet: there is no such value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unkeyed {}

impl Threshold for Unkeyed {
    fn sign_share(&self, _: Purpose, _: &[u8]) -> Option<Share> {
        match *self {}
    }

    fn combine(
        &self,
        _: Purpose,
        _: &[u8],
        _: &BTreeMap<NodeIndex, Share>,
    ) -> Result<Joint, CombineError> {
        match *self {}
    }

    fn verify(&self, _: Purpose, _: &[u8], _: &Joint) -> bool {
        match *self {}
    }

    fn seal(&self, _: &mut impl CryptoRng, _: &[u8], _: &[u8], _: &[u8]) -> Vec<u8> {
        match *self {}
    }

    fn open(&self, _: &[u8], _: &[u8], _: &[u8], _: &Joint) -> Result<Vec<u8>, OpenError> {
        match *self {}
    }

    fn public(&self) -> Vec<u8> {
        match *self {}
    }
}
