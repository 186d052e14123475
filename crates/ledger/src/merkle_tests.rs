use proptest::prelude::*;

use super::*;

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_string().into_bytes()).collect()
}

/// The definition of RFC 6962, word for word.
fn root_by_definition(leaves: &[Vec<u8>]) -> Digest {
    match leaves {
        [] => sha256(&[]),
        [leaf] => leaf_hash(leaf),
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            node_hash(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

#[test]
fn roots_are_those_of_rfc_6962() {
    for count in 0..70 {
        let leaves = leaves(count);
        let tree = MerkleTree::from_leaves(&leaves);
        assert_eq!(tree.root(), root_by_definition(&leaves), "{count} leaves");
        assert_eq!((tree.len(), tree.is_empty()), (count, count == 0));
    }
    // The test vector of the certificate-transparency project: the empty leaf.
    let root = MerkleTree::from_leaves([b""]).root();
    assert_eq!(
        root.to_string(),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
}

#[test]
fn every_proof_holds_for_its_place_alone() {
    for count in 1..20 {
        let leaves = leaves(count);
        let tree = MerkleTree::from_leaves(&leaves);
        let root = tree.root();
        assert_eq!(tree.proof(count), None);
        for (index, leaf) in leaves.iter().enumerate() {
            let path = tree.proof(index).unwrap();
            for other in 0..count + 2 {
                let holds = verify(&root, leaf, other, count, &path);
                assert_eq!(holds, other == index, "leaf {index} of {count} at {other}");
            }
            let mut longer = path.clone();
            longer.push(Digest([0; 32]));
            assert!(!verify(&root, leaf, index, count, &longer));
            if let Some((_, shorter)) = path.split_last() {
                assert!(!verify(&root, leaf, index, count, shorter));
            }
            assert!(!verify(&root, b"other", index, count, &path));
            assert!(!verify(&root, leaf, index, 0, &path));
        }
    }
    assert!(!verify(&sha256(&[]), b"", 0, 0, &[]));
}

#[test]
fn an_inner_node_is_no_leaf() {
    let tree = MerkleTree::from_leaves(leaves(4));
    let path = tree.proof(0).unwrap();
    let inner = [[1].as_slice(), &leaf_hash(b"0").0, &leaf_hash(b"1").0].concat();
    assert!(!verify(&tree.root(), &inner, 0, 2, &path[1..]));
}

proptest! {
    #[test]
    fn a_changed_path_fails(
        count in 2..300_usize, index in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(), bit in 0..256_usize,
    ) {
        let leaves = leaves(count);
        let tree = MerkleTree::from_leaves(&leaves);
        let index = index.index(count);
        let mut path = tree.proof(index).unwrap();
        prop_assert!(path.len() <= MAX_PATH);
        prop_assert!(verify(&tree.root(), &leaves[index], index, count, &path));
        let place = place.index(path.len());
        path[place].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify(&tree.root(), &leaves[index], index, count, &path));
    }

    #[test]
    fn arbitrary_claims_never_panic(
        index in any::<usize>(), count in any::<usize>(),
        path in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let path: Vec<_> = path.into_iter().map(Digest).collect();
        prop_assert!(!verify(&Digest([0; 32]), b"leaf", index, count, &path));
    }
}
