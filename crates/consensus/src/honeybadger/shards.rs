//! From a proposal to its fragments and back. Public so that adversaries of tests can make wrong
//! ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crypto::erasure;
use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::merkle::{self, MerkleTree};
use quorate_ledger::mutants::{Mutant, mutated};

use super::message::Fragment;
use crate::committee::Committee;
use crate::limits::MAX_PROPOSAL;

/// The fragments of a value, one for each member in order: `n - 2f` of them give it back.
#[must_use]
pub fn split(committee: Committee, value: &[u8]) -> Vec<Fragment> {
    let shards = erasure::encode(value, committee.data_shards(), committee.size());
    let shards: Vec<Arc<[u8]>> = shards.into_iter().map(Arc::from).collect();
    let tree = MerkleTree::from_leaves(&shards);
    let root = tree.root();
    let proven = shards.into_iter().enumerate();
    proven
        .map(|(i, shard)| Fragment {
            root,
            shard,
            path: tree.proof(i).expect("every shard is a leaf"),
        })
        .collect()
}

/// The leaf hash of `fragment`, if it is the one of member `index` under its root and not too
/// large.
#[must_use]
pub fn check(committee: Committee, index: NodeIndex, fragment: &Fragment) -> Option<Digest> {
    let longest = erasure::shard_len(MAX_PROPOSAL, committee.data_shards());
    let Fragment { root, shard, path } = fragment;
    if shard.len() > longest {
        return None;
    }
    let leaf = merkle::leaf_hash(shard);
    let fits = merkle::verify_hash(root, leaf, index.get(), committee.size(), path);
    fits.then_some(leaf)
}

/// Puts a value together from shards that passed [`check`] under `root`. `None` if the value has
/// not this root: then it is its proposer's fault, and every member that gathers any `n - 2f`
/// shards under this root finds the same.
///
/// The encoding is canonical, so a value has one root. Shards that are known to be under the root
/// and come out again are not hashed a second time.
#[must_use]
pub fn join(
    committee: Committee,
    root: &Digest,
    shards: &BTreeMap<NodeIndex, (Arc<[u8]>, Digest)>,
) -> Option<Vec<u8>> {
    let (data, total) = (committee.data_shards(), committee.size());
    let given: BTreeMap<usize, &[u8]> = shards.iter().map(|(i, s)| (i.get(), &*s.0)).collect();
    let value = erasure::reconstruct(&given, data, total).ok()?;
    if value.len() > MAX_PROPOSAL {
        return None;
    }
    let leaves =
        erasure::encode(&value, data, total).into_iter().enumerate().map(|(i, again)| match shards
            .get(&NodeIndex(i as u16))
        {
            Some((shard, leaf)) if **shard == *again => *leaf,
            _ => merkle::leaf_hash(&again),
        });
    let tree = MerkleTree::from_leaf_hashes(leaves.collect());
    (tree.root() == *root || mutated(Mutant::RootNotRecomputed)).then_some(value)
}
