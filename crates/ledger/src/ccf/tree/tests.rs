use proptest::prelude::*;
use quorate_crypto::hash::sha256;

use super::*;

fn leaf(number: u64) -> Digest {
    match number {
        0 => Digest::default(),
        number => sha256(&number.to_be_bytes()),
    }
}

fn tree(size: u64) -> Tree {
    let mut tree = Tree::new();
    (1..size).for_each(|number| tree.append(leaf(number)));
    tree
}

/// The definition, level by level.
fn naive(size: u64) -> Digest {
    let mut level: Vec<Digest> = (0..size).map(leaf).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => parent(left, right),
                alone => alone[0],
            })
            .collect();
    }
    level[0]
}

#[test]
fn every_root_and_every_path_of_small_trees() {
    let whole = tree(70);
    for size in 1..=70 {
        let root = naive(size);
        assert_eq!(tree(size).root(), root, "size {size}");
        assert_eq!(whole.root_at(size), Ok(root), "root of the past, size {size}");
        for seqno in 0..size {
            let path = whole.path(seqno, size).unwrap();
            assert_eq!(fold(leaf(seqno), &path), root, "leaf {seqno} of {size}");
            assert_eq!(tree(size).path(seqno, size).unwrap(), path);
        }
    }
}

#[test]
fn a_flushed_tree_does_all_that_a_whole_one_does_from_there_on() {
    for size in 2..40 {
        for flushed in 1..size {
            let mut part = tree(size);
            part.flush(flushed);
            assert_eq!(part.first(), flushed);
            assert_eq!(part.leaf(flushed - 1), None);
            assert_eq!(part.leaf(flushed), Some(leaf(flushed)));
            let again = Tree::deserialise(&part.serialise(flushed, size).unwrap()).unwrap();
            assert_eq!(again, part, "{flushed} of {size}");
            let whole = tree(size).serialise(flushed, size).unwrap();
            assert_eq!(whole, part.serialise(flushed, size).unwrap());
            (size..size + 9).for_each(|number| part.append(leaf(number)));
            for end in flushed.max(1)..=size + 9 {
                assert_eq!(part.root_at(end), Ok(naive(end)), "{end}, flushed {flushed} of {size}");
                for seqno in flushed..end {
                    let path = part.path(seqno, end).unwrap();
                    assert_eq!(fold(leaf(seqno), &path), naive(end));
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let mut tree = tree(10);
    tree.flush(4);
    let outside = TreeError::Outside { first: 4, size: 10 };
    assert_eq!(tree.root_at(3), Err(outside));
    assert_eq!(tree.root_at(11), Err(outside));
    assert_eq!(tree.root_at(0), Err(outside));
    assert_eq!(tree.path(3, 10), Err(outside));
    assert_eq!(tree.path(9, 9), Err(outside));
    assert_eq!(tree.path(5, 11), Err(outside));
    assert_eq!(tree.retract(4), Err(outside));
    assert_eq!(tree.retract(11), Err(outside));
    assert_eq!(tree.serialise(3, 10), Err(outside));
    assert_eq!(tree.serialise(10, 10), Err(outside));
    assert_eq!(tree.serialise(5, 11), Err(outside));
    tree.flush(100);
    assert_eq!((tree.first(), tree.size()), (9, 10), "the last leaf stays");
    tree.flush(2);
    assert_eq!(tree.first(), 9, "what is flushed stays flushed");
    let many = self::tree(MAX_SERIALISED_LEAVES as u64 + 1);
    let count = many.size();
    assert_eq!(many.serialise(0, count), Err(TreeError::TooLarge(count)));
    assert!(many.serialise(1, count).is_ok_and(|b| b.len() <= crate::state::MAX_VALUE));
}

#[test]
fn malformed_trees_are_refused() {
    let mut good = tree(9).serialise(5, 9).unwrap();
    assert_eq!(good.len(), 16 + 32 * (4 + 2));
    for end in 0..good.len() {
        assert_eq!(Tree::deserialise(&good[..end]), Err(TreeError::Malformed), "{end} bytes");
    }
    good.push(0);
    assert_eq!(Tree::deserialise(&good), Err(TreeError::Malformed));
    assert_eq!(Tree::deserialise(&[0; 16]), Err(TreeError::Malformed), "no leaf");
    assert_eq!(Tree::deserialise(&[0xff; 80]), Err(TreeError::Malformed));
}

/// The bytes of a tree are frozen: nodes of different versions must agree.
#[test]
fn the_root_and_bytes_of_a_known_tree() {
    let tree = tree(6);
    let root = "aebf1ceb1882a0ea325aa26905c243a025f745806b1517555e7a731d8705d7e5";
    assert_eq!(tree.root().to_string(), root);
    let bytes = tree.serialise(3, 6).unwrap();
    assert_eq!(hex::encode(&bytes[..16]), "00000000000000030000000000000003");
    assert_eq!(bytes[16..48], leaf(3).0);
    assert_eq!(bytes[112..144], leaf(2).0, "low bit first");
    assert_eq!(bytes[144..], parent(&leaf(0), &leaf(1)).0);
}

#[derive(Clone, Debug)]
enum Act {
    Append(u8),
    Flush(u64),
    Retract(u64),
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any::<u8>().prop_map(Act::Append),
        1 => any::<u64>().prop_map(Act::Flush),
        1 => any::<u64>().prop_map(Act::Retract),
        1 => Just(Act::Reload),
    ]
}

proptest! {
    /// A tree that is appended to, flushed, cut and written out and read, against a list of leaves.
    #[test]
    fn a_tree_behaves_as_its_list_of_leaves(acts in prop::collection::vec(act(), 1..60)) {
        let mut tree = Tree::new();
        let mut leaves = vec![Digest::default()];
        let mut fresh = 0;
        for act in acts {
            let (first, size) = (tree.first(), tree.size());
            match act {
                Act::Append(count) => for _ in 0..=count % 20 {
                    fresh += 1;
                    tree.append(leaf(1_000_000 + fresh));
                    leaves.push(leaf(1_000_000 + fresh));
                },
                Act::Flush(to) => tree.flush(first + to % (size - first)),
                Act::Retract(to) => {
                    let size = first + 1 + to % (size - first);
                    tree.retract(size).unwrap();
                    leaves.truncate(usize::try_from(size).unwrap());
                }
                Act::Reload => {
                    let bytes = tree.serialise(first, size).unwrap();
                    tree = Tree::deserialise(&bytes).unwrap();
                }
            }
            let size = tree.size();
            prop_assert_eq!(size, leaves.len() as u64);
            let mut model = Tree { levels: Vec::new(), flushed: 0 };
            leaves.iter().for_each(|leaf| model.append(*leaf));
            prop_assert_eq!(tree.root(), model.root());
            for seqno in [tree.first(), (tree.first() + size) / 2, size - 1] {
                prop_assert_eq!(tree.leaf(seqno), model.leaf(seqno));
                prop_assert_eq!(tree.path(seqno, size), model.path(seqno, size));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_tree_or_refused(
        leaves in 0u64..5, flushed: u64, tail in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = [&leaves.to_be_bytes()[..], &flushed.to_be_bytes(), &tail].concat();
        if let Ok(tree) = Tree::deserialise(&bytes) {
            prop_assert_eq!(tree.serialise(tree.first(), tree.size()).unwrap(), bytes);
        }
    }
}
