use proptest::prelude::*;

use super::*;

fn pick(shards: &[Vec<u8>], indices: impl IntoIterator<Item = usize>) -> BTreeMap<usize, &[u8]> {
    indices.into_iter().map(|index| (index, shards[index].as_slice())).collect()
}

/// `total`, `data_shards`, and `data_shards` different shard numbers of them.
fn selection() -> impl Strategy<Value = (usize, usize, Vec<usize>)> {
    (1usize..=200).prop_flat_map(|total| (Just(total), 1..=total)).prop_flat_map(
        |(total, data_shards)| {
            let numbers: Vec<usize> = (0..total).collect();
            let chosen = prop::sample::subsequence(numbers, data_shards);
            (Just(total), Just(data_shards), chosen)
        },
    )
}

#[test]
fn smallest_shapes() {
    for data in [b"".as_slice(), b"a", b"abc"] {
        let alone = encode(data, 1, 1);
        assert_eq!(alone.len(), 1);
        assert_eq!(alone[0].len(), shard_len(data.len(), 1));
        assert_eq!(reconstruct(&pick(&alone, [0]), 1, 1).unwrap(), data);
        let copies = encode(data, 1, 4);
        for index in 0..4 {
            assert_eq!(reconstruct(&pick(&copies, [index]), 1, 4).unwrap(), data);
        }
        let no_parity = encode(data, 3, 3);
        assert_eq!(reconstruct(&pick(&no_parity, 0..3), 3, 3).unwrap(), data);
    }
    assert_eq!(shard_len(0, 1), 4);
    assert_eq!(shard_len(0, 100), 2);
    assert_eq!(shard_len(7, 3), 4);
}

/// Every member computes the same shards, or Merkle roots would differ.
#[test]
fn frozen_shards() {
    let shards = encode(b"quorate", 2, 4);
    let text: Vec<String> = shards.iter().map(hex::encode).collect();
    assert_eq!(text[0], "000000077175");
    assert_eq!(text[1], "6f7261746500");
    let all: Vec<u8> = shards.concat();
    assert_eq!(
        crate::hash::sha256(&all).to_string(),
        "8dbf630eca4949dd8b159c58d1b5e3a921f7a32116311c07d20ae8808a64d12a"
    );
}

#[test]
fn refusals() {
    let shards = encode(&[7; 50], 2, 4);
    let two = pick(&shards, [1, 3]);
    assert_eq!(reconstruct(&two, 2, 4).unwrap(), [7; 50]);
    for (data_shards, total) in [(0, 4), (5, 4), (0, 0), (1, MAX_SHARDS + 1)] {
        let refused = Err(ErasureError::Parameters { data_shards, total });
        assert_eq!(reconstruct(&two, data_shards, total), refused);
    }
    let one = pick(&shards, [1]);
    let too_few = ErasureError::TooFew { have: 1, need: 2 };
    assert_eq!(reconstruct(&one, 2, 4), Err(too_few));
    assert_eq!(reconstruct(&two, 2, 3), Err(ErasureError::Index(3)));
    for wrong in [&shards[3][..27], &shards[3][..26], &[]] {
        let mut unequal = two.clone();
        unequal.insert(3, wrong);
        assert_eq!(reconstruct(&unequal, 2, 4), Err(ErasureError::Length));
    }
    let odd = BTreeMap::from([(0, [0; 3]), (1, [0; 3])]);
    assert_eq!(reconstruct(&odd, 2, 4), Err(ErasureError::Length));
}

#[test]
fn texts_with_two_encodings_are_refused() {
    let not_canonical = Err(ErasureError::NotCanonical);
    // Padding that is not zero.
    let mut shards = encode(b"abc", 2, 2);
    *shards[1].last_mut().unwrap() = 1;
    assert_eq!(reconstruct(&pick(&shards, [0, 1]), 2, 2), not_canonical);
    // More padding than needed.
    let longer = BTreeMap::from([(0, [0, 0, 0, 0, 0, 0]), (1, [0; 6])]);
    assert_eq!(reconstruct(&longer, 2, 2), not_canonical);
    // A length beyond the end.
    let beyond = BTreeMap::from([(0, [0, 0, 0, 5]), (1, [0; 4])]);
    assert_eq!(reconstruct(&beyond, 2, 2), not_canonical);
    let far = BTreeMap::from([(0, [0xff; 4]), (1, [0xff; 4])]);
    assert_eq!(reconstruct(&far, 2, 2), not_canonical);
}

#[test]
#[should_panic(expected = "not possible")]
fn own_mistakes_stop() {
    let _ = encode(b"", 3, 2);
}

proptest! {
    #[test]
    fn any_sufficient_shards_reconstruct(
        (total, data_shards, chosen) in selection(),
        data in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let shards = encode(&data, data_shards, total);
        prop_assert_eq!(shards.len(), total);
        let length = shard_len(data.len(), data_shards);
        prop_assert!(shards.iter().all(|shard| shard.len() == length));
        let again = reconstruct(&pick(&shards, chosen), data_shards, total);
        prop_assert_eq!(again, Ok(data.clone()));
        let all = reconstruct(&pick(&shards, 0..total), data_shards, total);
        prop_assert_eq!(all, Ok(data));
    }

    #[test]
    fn malformed_shards_never_panic(
        shards in prop::collection::btree_map(
            0usize..12,
            prop::collection::vec(any::<u8>(), 0..9),
            0..12,
        ),
        data_shards in 0usize..12,
        total in 0usize..12,
    ) {
        let _ = reconstruct(&shards, data_shards, total);
    }

    /// Whatever comes out encodes to what went in, for the data shards that were used.
    #[test]
    fn reconstruction_is_canonical(
        first in 0u8..9,
        rest in prop::collection::vec(prop::collection::vec(0u8..2, 4..=4), 3),
        used in 0usize..3,
    ) {
        let mut shards = BTreeMap::from([(0, vec![0, 0, 0, first])]);
        shards.insert(used + 1, rest[used].clone());
        if let Ok(data) = reconstruct(&shards, 2, 4) {
            let encoded = encode(&data, 2, 4);
            for (index, shard) in &shards {
                prop_assert_eq!(&encoded[*index], shard);
            }
        }
    }
}
