//! Two machines with the same keys and the same past, each of which is honest by itself: what a
//! restored backup beside the original is. Who hears which of them decides what they can do.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Who hears which twin.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Company {
    /// These nodes know the second only, the others the first.
    Parted(BTreeSet<usize>),
    /// Everybody knows both.
    Shared,
    /// Each packet finds one of them.
    Mixed,
}

/// A pair of machines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Twins {
    first: usize,
    second: usize,
    company: Company,
}

impl Twins {
    /// The machine `first` and its copy `second`, in a world of `nodes` others.
    pub fn new(rng: &mut ChaCha8Rng, first: usize, second: usize, nodes: usize) -> Self {
        let company = match rng.random_range(0..4) {
            0 => Company::Shared,
            1 => Company::Mixed,
            _ => Company::Parted((0..nodes).filter(|_| rng.random_bool(0.5)).collect()),
        };
        Self { first, second, company }
    }

    /// Whether a packet between these two machines is not for this twin.
    pub fn miss(&self, rng: &mut ChaCha8Rng, from: usize, to: usize) -> bool {
        let twin = |node| node == self.first || node == self.second;
        let (twin, other) = match (twin(from), twin(to)) {
            (false, false) => return false,
            // They do not know of each other.
            (true, true) => return true,
            (true, false) => (from, to),
            (false, true) => (to, from),
        };
        match &self.company {
            Company::Parted(side) => side.contains(&other) != (twin == self.second),
            Company::Shared => false,
            Company::Mixed => rng.random_bool(0.5),
        }
    }
}
