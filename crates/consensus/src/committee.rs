//! Quorum arithmetic, once for all protocols.

use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::mutants::{Mutant, mutated};

/// A committee of `n` members of which at most `f = (n - 1) / 3` are faulty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committee {
    n: usize,
}

impl Committee {
    /// A committee of `n >= 1` members.
    ///
    /// # Panics
    /// If `n` is 0: our own mistake, a view always has a producer.
    #[must_use]
    pub const fn new(n: usize) -> Self {
        assert!(n >= 1, "a committee has members");
        Self { n }
    }

    /// Members.
    #[must_use]
    pub const fn size(self) -> usize {
        self.n
    }

    /// Faulty members tolerated: `f = (n - 1) / 3`.
    #[must_use]
    pub const fn faulty(self) -> usize {
        (self.n - 1) / 3
    }

    /// `n - f`: as many as one may wait for.
    #[must_use]
    pub fn correct(self) -> usize {
        let off = self.faulty() > 0 && mutated(Mutant::QuorumOffByOne);
        self.n - self.faulty() - usize::from(off)
    }

    /// `f + 1`: at least one of them is correct.
    #[must_use]
    pub const fn one_correct(self) -> usize {
        self.faulty() + 1
    }

    /// `2f + 1`: a certificate.
    #[must_use]
    pub fn certificate(self) -> usize {
        2 * self.faulty() + usize::from(!mutated(Mutant::CertainOffByOne))
    }

    /// `n - 2f`: data shards of reliable broadcast.
    #[must_use]
    pub const fn data_shards(self) -> usize {
        self.n - 2 * self.faulty()
    }

    /// Whether `index` is a member.
    #[must_use]
    pub const fn contains(self, index: NodeIndex) -> bool {
        index.get() < self.n
    }

    /// All members in order.
    pub fn members(self) -> impl Iterator<Item = NodeIndex> {
        (0..self.n).map(|i| NodeIndex(i as u16))
    }
}
