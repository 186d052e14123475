//! Merkle trees of RFC 6962: leaves and nodes hashed in different domains, unbalanced.
//!
//! `leaf = SHA-256(0x00 || bytes)`, `node = SHA-256(0x01 || left || right)`; a level with an odd
//! number of nodes hands its last one up unchanged. Used for the trxs of a block and for the shards
//! of reliable broadcast, so leaves may be long: each is hashed exactly once.

use quorate_crypto::hash::{Digest, sha256, sha256_concat};

/// Longest inclusion path: a tree of 2^32 leaves.
pub const MAX_PATH: usize = 32;

/// Hash of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    sha256_concat(&[&[0], leaf])
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256_concat(&[&[1], &left.0, &right.0])
}

/// A tree with all its nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MerkleTree {
    /// Leaf hashes first, the root's level last; empty for the empty tree.
    levels: Vec<Vec<Digest>>,
}

impl MerkleTree {
    /// The tree over `leaves` in their order.
    #[must_use]
    pub fn from_leaves<I>(leaves: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Self::from_leaf_hashes(leaves.into_iter().map(|leaf| leaf_hash(leaf.as_ref())).collect())
    }

    /// The tree over leaves hashed already with [`leaf_hash`].
    #[must_use]
    pub fn from_leaf_hashes(hashes: Vec<Digest>) -> Self {
        let mut levels = Vec::new();
        let mut level = hashes;
        while level.len() > 1 {
            let above = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node_hash(left, right),
                    alone => alone[0],
                })
                .collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        if !level.is_empty() {
            levels.push(level);
        }
        Self { levels }
    }

    /// Number of leaves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// Whether there are no leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The root; SHA-256 of nothing for the empty tree, as in RFC 6962.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.levels.last().map_or_else(|| sha256(&[]), |top| top[0])
    }

    /// The siblings from leaf `index` up to the root; `None` if there is no such leaf.
    #[must_use]
    pub fn proof(&self, index: usize) -> Option<Vec<Digest>> {
        if index >= self.len() {
            return None;
        }
        let mut position = index;
        let mut path = Vec::new();
        for level in &self.levels {
            path.extend(level.get(position ^ 1));
            position >>= 1;
        }
        Some(path)
    }
}

/// Whether `leaf` is leaf number `index` of `count` in the tree with this `root`. The path must have
/// exactly the length that place has.
#[must_use]
pub fn verify(root: &Digest, leaf: &[u8], index: usize, count: usize, path: &[Digest]) -> bool {
    verify_hash(root, leaf_hash(leaf), index, count, path)
}

/// [`verify`] for a leaf hashed already with [`leaf_hash`].
#[must_use]
pub fn verify_hash(
    root: &Digest,
    leaf: Digest,
    index: usize,
    count: usize,
    path: &[Digest],
) -> bool {
    if index >= count {
        return false;
    }
    let (mut position, mut last, mut hash) = (index, count - 1, leaf);
    let mut siblings = path.iter();
    while last > 0 {
        // The last node of an odd level has no sibling and goes up unchanged.
        if position != last || position & 1 == 1 {
            let Some(sibling) = siblings.next() else {
                return false;
            };
            hash = if position & 1 == 1 {
                node_hash(sibling, &hash)
            } else {
                node_hash(&hash, sibling)
            };
        }
        position >>= 1;
        last >>= 1;
    }
    siblings.next().is_none() && hash == *root
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
