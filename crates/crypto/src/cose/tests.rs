use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

fn key(seed: u64) -> EcKey {
    EcKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn claims() -> RootClaims {
    RootClaims {
        txid: "2.18".into(),
        issued_at: 1_700_000_000,
        issuer: "issuer".into(),
        subject: "subject".into(),
    }
}

fn inclusion() -> Inclusion {
    Inclusion {
        write_set: sha256(b"entry"),
        evidence: "ce:2.17:00".into(),
        claims: Digest::default(),
        path: vec![(true, sha256(b"left")), (false, sha256(b"right"))],
    }
}

#[test]
fn the_message_is_that_of_the_format() {
    let root = sha256(b"root");
    let message = sign_root(&key(1), &root, &claims());
    let kid = key(1).public().id().to_string();
    let protected = [
        &b"\xa5\x01\x26\x04\x58\x40"[..],
        kid.as_bytes(),
        b"\x0f\xa3\x01\x66issuer\x02\x67subject\x06\x1a\x65\x53\xf1\x00",
        b"\x19\x01\x8b\x02\x66ccf.v1\xa1\x64txid\x642.18",
    ]
    .concat();
    let length = u8::try_from(protected.len()).unwrap();
    let front = [&b"\xd2\x84\x58"[..], &[length], &protected, b"\xa0\xf6\x58\x40"].concat();
    assert_eq!(hex::encode(&message[..front.len()]), hex::encode(&front));
    let signed =
        [&b"\x84\x6aSignature1\x58"[..], &[length], &protected, b"\x40\x58\x20", &root.0].concat();
    assert!(key(1).public().verify_fixed(&signed, &message[front.len()..]));
}

#[test]
fn a_root_is_verified_with_the_key_that_signed_it() {
    let root = sha256(b"root");
    let message = sign_root(&key(1), &root, &claims());
    assert_eq!(verify_root(&message, &root, key(1).public()), Ok(claims()));
    assert_eq!(verify_root(&message, &root, key(2).public()), Err(CoseError::OtherKey));
    let other = sha256(b"other");
    assert_eq!(verify_root(&message, &other, key(1).public()), Err(CoseError::Signature));
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        assert!(verify_root(&changed, &root, key(1).public()).is_err(), "byte {at}");
        assert!(verify_root(&message[..at], &root, key(1).public()).is_err());
    }
}

#[test]
fn a_receipt_says_how_a_leaf_belongs_to_the_root() {
    let root = inclusion().root();
    let message = sign_root(&key(1), &root, &claims());
    let made = receipt(&message, &inclusion()).unwrap();
    assert_eq!(verify_receipt(&made, key(1).public()), Ok((claims(), vec![inclusion()])));
    assert_eq!(verify_receipt(&made, key(2).public()), Err(CoseError::OtherKey));
    assert_eq!(verify_receipt(&message, key(1).public()), Err(wrong("proof")));
    assert!(verify_root(&made, &root, key(1).public()).is_err(), "a receipt is no signature");
    for at in 0..made.len() {
        for bit in 0..8 {
            let mut changed = made.clone();
            changed[at] ^= 1 << bit;
            assert!(verify_receipt(&changed, key(1).public()).is_err(), "byte {at} bit {bit}");
        }
    }
    let mut longer = made.clone();
    longer.push(0);
    assert!(verify_receipt(&longer, key(1).public()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let key = key(1);
        prop_assert!(verify_receipt(&bytes, key.public()).is_err());
        let tagged = [&[0xd2, 0x84][..], &bytes].concat();
        prop_assert!(verify_receipt(&tagged, key.public()).is_err());
    }
}
