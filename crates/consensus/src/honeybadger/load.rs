//! How much binary agreements keep.

use crate::footprint::Footprint;
use crate::limits::{FUTURE_ROUNDS, UNLIKELY_ROUNDS};

/// What a member says at most in one round: BVAL of both values, AUX, CONF, SHARE, COIN.
const SAID_IN_A_ROUND: usize = 6;

/// What one agreement keeps, or the most of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    /// Rounds with votes.
    pub tallies: usize,
    /// Messages this member said.
    pub said: usize,
    /// Coins of rounds passed.
    pub coins: usize,
    /// Pairs of a member and a round whose coin it was sent.
    pub served: usize,
}

impl Load {
    /// The larger of each.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            tallies: self.tallies.max(other.tallies),
            said: self.said.max(other.said),
            coins: self.coins.max(other.coins),
            served: self.served.max(other.served),
        }
    }

    /// Against what agreements among so many `members` may keep. A TERM is said once, besides.
    pub(super) fn footprint(self, members: usize, into: &mut Footprint) {
        let rounds = UNLIKELY_ROUNDS as usize;
        into.add("agreement_rounds", self.tallies, FUTURE_ROUNDS as usize + 1);
        into.add("agreement_said", self.said, rounds * SAID_IN_A_ROUND + 1);
        into.add("agreement_coins", self.coins, rounds);
        into.add("agreement_served", self.served, rounds * members);
    }
}
