use proptest::prelude::*;

use super::*;

#[test]
fn known_digests() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256(b"abc").to_string(), abc);
    assert_eq!(sha256_concat(&[b"a", b"", b"bc"]).to_string(), abc);
    assert_eq!(format!("{:?}", sha256(b"abc")), abc);
    assert_eq!(
        hex::encode(keccak256(b"")),
        "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    );
}

#[test]
fn digest_forms() {
    let digest = sha256(b"x");
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("\"{digest}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
    assert_eq!(Digest::from_slice(digest.as_ref()), Some(digest));
    assert_eq!(Digest::from_slice(&[0; 31]), None);
    assert_eq!("00".parse::<Digest>(), Err(HexError { digits: 64 }));
    assert!(serde_json::from_str::<Digest>("\"zz\"").is_err());
}

/// The layout is frozen: blocks and certificates hash with it.
#[test]
fn hasher_layout() {
    let mut plain = Vec::new();
    for field in [b"quorate.test.v1".as_slice(), b"ab", &7u64.to_be_bytes(), b""] {
        plain.extend_from_slice(&(field.len() as u64).to_be_bytes());
        plain.extend_from_slice(field);
    }
    let canonical = Hasher::new("quorate.test.v1").field(b"ab").u64(7).field(b"");
    assert_eq!(canonical.finish(), sha256(&plain));
}

proptest! {
    #[test]
    fn hasher_is_injective_on_splits(
        text in prop::collection::vec(any::<u8>(), 1..40),
        at in 0usize..40,
    ) {
        let at = at % text.len();
        let split = Hasher::new("d").field(&text[..at]).field(&text[at..]).finish();
        prop_assert_ne!(split, Hasher::new("d").field(&text).finish());
        prop_assert_ne!(split, Hasher::new("e").field(&text[..at]).field(&text[at..]).finish());
    }
}
