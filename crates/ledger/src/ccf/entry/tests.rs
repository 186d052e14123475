use proptest::prelude::*;
use quorate_crypto::cipher::SymmetricKey;

use super::*;

fn secret() -> LedgerSecret {
    LedgerSecret::new(SymmetricKey([7; 32]))
}

fn writes(rows: &[(&str, &str, Option<&str>)]) -> WriteSet {
    let mut set = WriteSet::new();
    for (map, key, value) in rows {
        match value {
            Some(value) => set.put(map, *key, value.as_bytes().to_vec()).unwrap(),
            None => set.delete(map, *key).unwrap(),
        }
    }
    set
}

fn sample() -> Transaction {
    let set = writes(&[
        ("public:a", "k1", Some("v1")),
        ("public:a", "k0", None),
        ("public:b", "", Some("")),
        ("records", "id", Some("secret value")),
        ("records", "old", None),
    ]);
    Transaction::new(TxId::new(2, 18), set, &secret())
}

#[test]
fn every_field_is_where_the_format_has_it() {
    let set = writes(&[("public:m", "k", Some("val")), ("public:m", "x", None)]);
    let mut transaction = Transaction::new(TxId::new(3, 0x0102), set, &secret());
    transaction.claims = Digest([0xcc; 32]);
    let entry = transaction.encode(Flags::ENDS_CHUNK, &secret()).unwrap();
    let mut expected = vec![1, 1];
    let map = 8 + 8 + 16 + 8 + (8 + 1 + 8 + 3) + 8 + (8 + 1);
    let public = 1 + 8 + 32 + 32 + 8 + map;
    expected.extend_from_slice(&(16 + 12 + 8 + public as u64).to_le_bytes()[..6]);
    expected.extend_from_slice(&[0; 16]);
    expected.extend_from_slice(&0x0102u64.to_le_bytes());
    expected.extend_from_slice(&3u32.to_le_bytes());
    expected.extend_from_slice(&(public as u64).to_le_bytes());
    expected.push(4);
    expected.extend_from_slice(&0x0102u64.to_le_bytes());
    expected.extend_from_slice(&[0xcc; 32]);
    let evidence = secret().commit_evidence(transaction.id);
    assert!(evidence.starts_with("ce:3.258:") && evidence.len() == 9 + 64, "{evidence}");
    expected.extend_from_slice(&sha256(evidence.as_bytes()).0);
    expected.extend_from_slice(&[0; 8]);
    expected.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(b"public:m");
    expected.extend_from_slice(&[0; 16]);
    expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    for part in [&b"k"[..], b"val"] {
        expected.extend_from_slice(&(part.len() as u64).to_le_bytes());
        expected.extend_from_slice(part);
    }
    expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, b'x']);
    assert_eq!(hex::encode(&entry[..]), hex::encode(expected));
    let head = Head::read(&entry[..HEAD]).unwrap();
    assert_eq!((head.length, head.id), (entry.len(), transaction.id));
    assert!(head.flags.ends_chunk() && !head.flags.starts_chunk());
}

/// Frozen: entries of yesterday must have the leaf they were signed with. The values were computed
/// by a program that shares nothing with this one.
#[test]
fn the_leaf_of_a_known_entry() {
    let transaction = sample();
    let entry = transaction.encode(Flags::NONE, &secret()).unwrap();
    let digest = "f9e6bbd1ca2d1e4474b614636cb98c5c20b9ba437a7673f9c43b4b25c0cab9d6";
    assert_eq!(sha256(&entry).to_string(), digest);
    let leaf = leaf(&entry, &transaction.evidence, &transaction.claims);
    let known = "1bc51de8b577ff4da6604cacb7b1ed4e7461eab8a1358f86212d88f470764c34";
    assert_eq!(leaf.to_string(), known);
    assert_eq!(leaf_of(&entry), Ok(leaf));
}

#[test]
fn private_maps_need_the_secret() {
    let transaction = sample();
    let entry = transaction.encode(Flags::NONE, &secret()).unwrap();
    assert!(!entry.windows(6).any(|w| w == b"secret"), "the value is not readable");
    assert!(entry.windows(2).any(|w| w == b"v1"), "the public one is");
    assert_eq!(Transaction::decode(&entry, &secret()), Ok(transaction.clone()));
    let other = LedgerSecret::new(SymmetricKey([8; 32]));
    assert_eq!(Transaction::decode(&entry, &other), Err(EntryError::Sealed));
    let public = Transaction::decode_public(&entry).unwrap();
    assert_eq!(public.writes.len(), 3);
    assert_eq!(public.writes.get("records", b"id"), None);
    assert_eq!((public.id, public.evidence), (transaction.id, transaction.evidence));
}

#[test]
fn entries_that_no_leader_writes_are_refused() {
    let transaction = sample();
    let good = transaction.encode(Flags::NONE, &secret()).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        Transaction::decode(&bytes, &secret())
    };
    assert_eq!(with(0, 2), Err(EntryError::Invalid("version")));
    assert_eq!(with(1, 4), Err(EntryError::Invalid("flags")));
    assert_eq!(with(35, 0x80), Err(EntryError::Invalid("transaction id")), "snapshot bit");
    assert_eq!(with(HEAD, 1), Err(EntryError::Invalid("type")));
    assert_eq!(with(HEAD, 2), Err(EntryError::Invalid("type")));
    assert_eq!(with(HEAD + 1, 19), Err(EntryError::Invalid("seqno")));
    assert_eq!(with(7, 1), Err(EntryError::TooLong(good.len() as u64 + (1 << 40))));
    assert_eq!(Transaction::decode(&[], &secret()), Err(EntryError::Truncated));
    let mut longer = good.to_vec();
    longer.push(0);
    assert_eq!(Transaction::decode(&longer, &secret()), Err(EntryError::Trailing(1)));
    for end in 0..good.len() {
        assert_eq!(Transaction::decode(&good[..end], &secret()), Err(EntryError::Truncated));
    }
    assert_eq!(Head::read(&[0; 64]), Err(EntryError::Invalid("version")), "a file zeroed ahead");
}

#[test]
fn limits_hold_when_writing() {
    let mut set = WriteSet::new();
    for key in 0..5u8 {
        set.put("public:big", [key], vec![0; 1024 * 1024]).unwrap();
    }
    let transaction = Transaction::new(TxId::new(2, 1), set, &secret());
    let error = transaction.encode(Flags::NONE, &secret()).unwrap_err();
    assert!(matches!(error, EntryError::TooLong(length) if length > 5 * 1024 * 1024), "{error}");
    let nowhere = Transaction { id: TxId::new(0, 1), ..sample() };
    let error = nowhere.encode(Flags::NONE, &secret());
    assert_eq!(error, Err(EntryError::Invalid("transaction id")));
}

#[test]
fn older_types_are_read() {
    let set = writes(&[("public:m", "k", Some("v"))]);
    let transaction = Transaction::new(TxId::new(2, 5), set, &secret());
    let full = transaction.encode(Flags::NONE, &secret()).unwrap();
    for (kind, without) in [(KIND_EVIDENCE, CLAIMS..CLAIMS + 32), (KIND_PLAIN, CLAIMS..CLAIMS + 64)]
    {
        let mut old = full.to_vec();
        old.drain(without.clone());
        old[HEAD] = kind;
        let (size, public) = (old.len() - HEADER, old.len() - HEAD);
        old[2..HEADER].copy_from_slice(&(size as u64).to_le_bytes()[..6]);
        old[HEAD - 8..HEAD].copy_from_slice(&(public as u64).to_le_bytes());
        let read = Transaction::decode(&old, &secret()).unwrap();
        assert_eq!(read.writes, transaction.writes);
        let leaf = leaf_of(&old).unwrap();
        if kind == KIND_PLAIN {
            assert_eq!(leaf, sha256(&old));
        } else {
            assert_eq!(leaf, sha256_concat(&[&sha256(&old).0, &transaction.evidence.0]));
        }
    }
}

fn any_writes() -> impl Strategy<Value = WriteSet> {
    let map = prop_oneof!["[a-c]", "public:[a-c]", Just("public:".to_owned())];
    let key = prop::collection::vec(any::<u8>(), 0..4);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    prop::collection::vec((map, key, value), 0..20).prop_map(|rows| {
        let mut set = WriteSet::new();
        for (map, key, value) in rows {
            match value {
                Some(value) => set.put(&map, key, value).unwrap(),
                None => set.delete(&map, key).unwrap(),
            }
        }
        set
    })
}

proptest! {
    #[test]
    fn transactions_read_back(
        set in any_writes(), view in 1..=MAX_VIEW, seqno in 1..=MAX_SEQNO, claims: [u8; 32],
        flags in 0u8..4,
    ) {
        let mut transaction = Transaction::new(TxId::new(view, seqno), set, &secret());
        transaction.claims = Digest(claims);
        let entry = transaction.encode(Flags(flags), &secret()).unwrap();
        prop_assert_eq!(Head::read(&entry).unwrap().flags, Flags(flags));
        prop_assert_eq!(Transaction::decode(&entry, &secret()), Ok(transaction));
    }

    /// A flipped byte is refused, or is another entry: never another spelling of the same.
    #[test]
    fn there_is_one_encoding(set in any_writes(), at: prop::sample::Index, by in 1u8..) {
        let transaction = Transaction::new(TxId::new(2, 5), set, &secret());
        let mut entry = transaction.encode(Flags::NONE, &secret()).unwrap().to_vec();
        let at = at.index(entry.len());
        entry[at] ^= by;
        if let Ok(other) = Transaction::decode(&entry, &secret()) {
            let head = Head::read(&entry).unwrap();
            prop_assert_eq!(&other.encode(head.flags, &secret()).unwrap()[..], &entry[..]);
        }
    }

    #[test]
    fn any_bytes_are_an_entry_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = leaf_of(&bytes);
        prop_assert!(Transaction::decode(&bytes, &secret()).is_err());
    }

    /// Bytes that get past the head.
    #[test]
    fn any_public_part_is_read_or_refused(
        part in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..20, 1 => any::<u8>()], 0..200),
    ) {
        let set = WriteSet::new();
        let mut entry = Transaction::new(TxId::new(2, 5), set, &secret())
            .encode(Flags::NONE, &secret()).unwrap().to_vec();
        entry.extend_from_slice(&part);
        let (size, public) = (entry.len() - HEADER, entry.len() - HEAD);
        entry[2..HEADER].copy_from_slice(&(size as u64).to_le_bytes()[..6]);
        entry[HEAD - 8..HEAD].copy_from_slice(&(public as u64).to_le_bytes());
        if let Ok(read) = Transaction::decode(&entry, &secret()) {
            prop_assert_eq!(&read.encode(Flags::NONE, &secret()).unwrap()[..], &entry[..]);
        }
    }
}
