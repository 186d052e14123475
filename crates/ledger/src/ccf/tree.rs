//! The Merkle tree over all entries of a ledger. `[7.2]` `[7.3]`
//!
//! Leaf 0 is 32 zero bytes; leaf i is the digest of transaction i. `node = SHA-256(left || right)`;
//! a level with an odd number of nodes hands its last one up unchanged. So a tree's size is the
//! seqno of the next transaction, and the root that a signature at seqno s signs is that of size s.
//!
//! Leaves that are no longer asked for are flushed: of them only the roots of the complete subtrees
//! stay that later roots need, one for each set bit of their number. So a tree of a signature,
//! flushed up to the signature before, is enough for the paths of all transactions between.

use std::collections::VecDeque;

use quorate_crypto::hash::{Digest, sha256_concat};

/// Most leaves that a serialised tree may hold: its value must fit in a map.
pub const MAX_SERIALISED_LEAVES: usize = (crate::state::MAX_VALUE - 16) / 32 - 64;
/// Longest path: a level for each bit of a seqno.
pub const MAX_PATH: usize = 64;
/// Levels there can be: sizes are below 2^63.
const MAX_LEVELS: usize = 63;

/// A sibling on the way from a leaf to the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Whether the sibling is on the left.
    pub left: bool,
    /// The sibling.
    pub digest: Digest,
}

/// The node above two.
#[must_use]
pub fn parent(left: &Digest, right: &Digest) -> Digest {
    sha256_concat(&[&left.0, &right.0])
}

/// The root that a path leads to.
#[must_use]
pub fn fold(leaf: Digest, path: &[Step]) -> Digest {
    path.iter().fold(leaf, |below, step| match step.left {
        true => parent(&step.digest, &below),
        false => parent(&below, &step.digest),
    })
}

/// Why a tree does not do what it is asked for, or bytes are not a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The leaf, or a node that its path needs, is not there (any more).
    #[error("the tree holds leaves {first} to {size} (exclusive), not what was asked for")]
    Outside {
        /// The first leaf that is there.
        first: u64,
        /// The number of leaves, with those flushed.
        size: u64,
    },
    /// The bytes are not a serialised tree.
    #[error("the bytes are not a serialised tree")]
    Malformed,
    /// More leaves between two signatures than a map's value can hold.
    #[error("{0} leaves are more than a serialised tree may hold ({MAX_SERIALISED_LEAVES})")]
    TooLarge(u64),
}

/// Complete subtrees of one height, from one of them on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Level {
    /// Number of the first one kept: even, or the one below the first leaf kept.
    first: u64,
    nodes: VecDeque<Digest>,
}

impl Level {
    fn get(&self, index: u64) -> Option<&Digest> {
        self.nodes.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Number of nodes, with those flushed.
    fn len(&self) -> u64 {
        self.first + self.nodes.len() as u64
    }

    fn truncate(&mut self, length: u64) {
        let kept = length.saturating_sub(self.first);
        self.nodes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    fn flush(&mut self, first: u64) {
        let dropped = usize::try_from(first.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.nodes.drain(..dropped.min(self.nodes.len()));
        self.first = self.first.max(first);
    }
}

/// The tree. Cloning copies its leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    /// Heights from 0, the leaves, up.
    levels: Vec<Level>,
    flushed: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The tree of an empty ledger: leaf 0 alone.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self { levels: Vec::new(), flushed: 0 };
        tree.append(Digest::default());
        tree
    }

    /// Number of leaves, with leaf 0 and those flushed: the seqno of the next transaction.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, Level::len)
    }

    /// The first leaf that is not flushed.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.flushed
    }

    /// The leaf of a transaction; `None` if it is flushed or not there yet.
    #[must_use]
    pub fn leaf(&self, seqno: u64) -> Option<Digest> {
        if seqno < self.flushed {
            return None;
        }
        self.levels.first()?.get(seqno).copied()
    }

    /// Adds the leaf of the next transaction. One hash on average.
    ///
    /// # Panics
    /// Beyond 2^63 leaves: there are no such seqnos.
    pub fn append(&mut self, leaf: Digest) {
        let mut node = leaf;
        for height in 0..MAX_LEVELS {
            if height == self.levels.len() {
                self.levels.push(Level { first: 0, nodes: VecDeque::new() });
            }
            let level = &mut self.levels[height];
            level.nodes.push_back(node);
            if level.len() % 2 == 1 {
                return;
            }
            // Two are complete: the left one is kept, since a level's first is even or there.
            let left = level.get(level.len() - 2).expect("the left sibling is kept");
            node = parent(left, &node);
        }
        unreachable!("a tree has less than 2^63 leaves");
    }

    /// The root over all leaves.
    ///
    /// # Panics
    /// Never: a tree has its first leaf.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root_at(self.size()).expect("a tree has its own root")
    }

    /// The root when the tree had `size` leaves: what a signature at seqno `size` signs.
    ///
    /// # Errors
    /// [`TreeError::Outside`] if it has fewer leaves, or more are flushed, or `size` is 0.
    pub fn root_at(&self, size: u64) -> Result<Digest, TreeError> {
        if size == 0 || size < self.flushed || size > self.size() {
            return Err(self.outside());
        }
        Ok(self.above(size, MAX_LEVELS).expect("size is not 0"))
    }

    /// The root over the last leaves of a tree of `size`: those of the complete subtrees lower than
    /// `height`. `None` if there are none.
    fn above(&self, size: u64, height: usize) -> Option<Digest> {
        let mut right: Option<Digest> = None;
        for (height, level) in self.levels.iter().enumerate().take(height) {
            if size >> height & 1 == 1 {
                let node = level.get((size >> height) - 1).expect("roots of subtrees are kept");
                right = Some(right.map_or(*node, |right| parent(node, &right)));
            }
        }
        right
    }

    /// The siblings from a leaf up to the root of `size`.
    ///
    /// # Errors
    /// [`TreeError::Outside`] if the leaf is flushed or not among the first `size`, or there are
    /// fewer.
    pub fn path(&self, seqno: u64, size: u64) -> Result<Vec<Step>, TreeError> {
        if seqno < self.flushed || seqno >= size || size > self.size() {
            return Err(self.outside());
        }
        let mut path = Vec::new();
        for (height, level) in self.levels.iter().enumerate() {
            let index = seqno >> height;
            if index & 1 == 1 {
                let digest = *level.get(index - 1).expect("siblings of kept leaves are kept");
                path.push(Step { left: true, digest });
            } else if index + 1 < size >> height {
                let digest = *level.get(index + 1).expect("later nodes are kept");
                path.push(Step { left: false, digest });
            } else if index + 1 == size.div_ceil(1 << height) {
                // The last node of its level has no sibling.
            } else if let Some(digest) = self.above(size, height) {
                // The right sibling is incomplete: the last leaves' root.
                path.push(Step { left: false, digest });
            }
        }
        Ok(path)
    }

    /// Forgets the leaves below `seqno`, at most all but the last.
    pub fn flush(&mut self, seqno: u64) {
        let seqno = seqno.min(self.size() - 1);
        if seqno <= self.flushed {
            return;
        }
        self.flushed = seqno;
        for (height, level) in self.levels.iter_mut().enumerate() {
            level.flush((seqno >> height) & !1);
        }
    }

    /// Takes leaves back until there are `size`.
    ///
    /// # Errors
    /// [`TreeError::Outside`] if more are flushed or there are fewer; nothing has changed. A flushed
    /// tree keeps at least one leaf.
    pub fn retract(&mut self, size: u64) -> Result<(), TreeError> {
        if size <= self.flushed || size > self.size() {
            return Err(self.outside());
        }
        for (height, level) in self.levels.iter_mut().enumerate() {
            level.truncate(size >> height);
        }
        self.levels.truncate(size.ilog2() as usize + 1);
        Ok(())
    }

    /// The serialised tree of the first `size` leaves, flushed up to `from`: big endian
    /// `[u64 leaves kept][u64 leaves flushed]`, leaves, then a root for each set bit of `from`, low
    /// bit first. `[7.3]`
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn serialise(&self, from: u64, size: u64) -> Result<Vec<u8>, TreeError> {
        if from < self.flushed || from >= size || size > self.size() {
            return Err(self.outside());
        }
        let leaves = size - from;
        if leaves > MAX_SERIALISED_LEAVES as u64 {
            return Err(TreeError::TooLarge(leaves));
        }
        let count = usize::try_from(leaves).expect("below a limit") + from.count_ones() as usize;
        let mut bytes = Vec::with_capacity(16 + 32 * count);
        bytes.extend_from_slice(&leaves.to_be_bytes());
        bytes.extend_from_slice(&from.to_be_bytes());
        let bottom = self.levels.first().expect("a tree has its leaves");
        let start = usize::try_from(from - bottom.first).expect("leaves kept fit in memory");
        let kept = usize::try_from(leaves).expect("below a limit");
        for leaf in bottom.nodes.range(start..start + kept) {
            bytes.extend_from_slice(&leaf.0);
        }
        for (height, level) in self.levels.iter().enumerate() {
            if from >> height & 1 == 1 {
                let root = level.get((from >> height) - 1).expect("roots of subtrees are kept");
                bytes.extend_from_slice(&root.0);
            }
        }
        Ok(bytes)
    }

    /// Reads what [`Tree::serialise`] wrote.
    ///
    /// # Errors
    /// [`TreeError::Malformed`].
    pub fn deserialise(bytes: &[u8]) -> Result<Self, TreeError> {
        let (leaves, rest) = bytes.split_first_chunk::<8>().ok_or(TreeError::Malformed)?;
        let (flushed, rest) = rest.split_first_chunk::<8>().ok_or(TreeError::Malformed)?;
        let (leaves, flushed) = (u64::from_be_bytes(*leaves), u64::from_be_bytes(*flushed));
        if leaves == 0 || leaves > MAX_SERIALISED_LEAVES as u64 || flushed > super::txid::MAX_SEQNO
        {
            return Err(TreeError::Malformed);
        }
        let leaves = usize::try_from(leaves).expect("below a limit");
        let roots = flushed.count_ones() as usize;
        if rest.len() != 32 * (leaves + roots) {
            return Err(TreeError::Malformed);
        }
        let (digests, _) = rest.as_chunks::<32>();
        let mut tree = Self { levels: Vec::new(), flushed };
        let mut roots = digests[leaves..].iter();
        for height in 0..MAX_LEVELS {
            if flushed >> height == 0 {
                break;
            }
            let mut level = Level { first: (flushed >> height) & !1, nodes: VecDeque::new() };
            if flushed >> height & 1 == 1 {
                level.nodes.extend(roots.next().copied().map(Digest));
            }
            tree.levels.push(level);
        }
        digests[..leaves].iter().for_each(|leaf| tree.append(Digest(*leaf)));
        Ok(tree)
    }

    /// Digests held, for accounts of memory.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.levels.iter().map(|level| level.nodes.len()).sum()
    }

    fn outside(&self) -> TreeError {
        TreeError::Outside { first: self.flushed, size: self.size() }
    }
}

#[cfg(test)]
mod tests;
