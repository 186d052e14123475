use proptest::prelude::*;

use super::*;
use crate::hash::sha256;

const DOMAIN: &str = "quorate.test.v1";

fn key(seed: u8) -> ViewKey {
    ViewKey::from_seed(&[seed; 32])
}

type Item = (ViewPublicKey, &'static str, Digest, ViewSignature);

fn items(n: u8) -> Vec<Item> {
    let item = |seed: u8| {
        let digest = sha256(&[seed]);
        let signer = key(seed / 2);
        (signer.public(), DOMAIN, digest, signer.sign(DOMAIN, &digest))
    };
    (0..n).map(item).collect()
}

/// RFC 8032, test 1: the seed gives this public key, so keys of other tools can be used.
#[test]
fn known_key() {
    let seed = from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = ViewKey::from_seed(&seed.unwrap()).public();
    assert_eq!(
        public.to_string(),
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
}

#[test]
fn forms() {
    let public = key(1).public();
    let signature = key(1).sign(DOMAIN, &sha256(b"x"));
    let json = serde_json::to_string(&(public, signature)).unwrap();
    assert_eq!(json, format!("[\"{public}\",\"{signature}\"]"));
    let read: (ViewPublicKey, ViewSignature) = serde_json::from_str(&json).unwrap();
    assert_eq!(read, (public, signature));
    assert_eq!(ViewSignature::from_slice(&signature.0), Some(signature));
    assert_eq!(ViewSignature::from_slice(&[0; 63]), None);
    assert_eq!(*key(9).to_bytes(), [9; 32]);
    assert!(!format!("{:?}", key(9)).contains(&hex::encode([9; 32])));
}

#[test]
fn a_signature_belongs_to_key_domain_and_digest() {
    let digest = sha256(b"x");
    let signature = key(1).sign(DOMAIN, &digest);
    assert!(key(1).public().verify(DOMAIN, &digest, &signature));
    assert!(!key(2).public().verify(DOMAIN, &digest, &signature));
    assert!(!key(1).public().verify("quorate.test.v2", &digest, &signature));
    assert!(!key(1).public().verify(DOMAIN, &sha256(b"y"), &signature));
}

/// With R a point of small order and S zero, the equation of ZIP215 holds for every message if
/// the key has small order as well.
#[test]
fn keys_of_small_order_are_refused() {
    let forged = |r: [u8; 32]| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        ViewSignature(signature)
    };
    for mut bytes in SMALL_ORDER {
        for sign in [0, 0x80] {
            bytes[31] ^= sign;
            let small = ViewPublicKey(bytes);
            assert!(!small.is_valid());
            let digest = sha256(b"anything");
            assert!(!small.verify(DOMAIN, &digest, &forged(SMALL_ORDER[1])));
            assert!(!verify_batch(&[(small, DOMAIN, digest, forged(SMALL_ORDER[1]))]));
        }
    }
    // The list is of points indeed: the library alone would have accepted the forgery.
    for bytes in SMALL_ORDER {
        let key = ed25519::PublicKey::decode(Copying(&bytes)).unwrap();
        let signature = forged(SMALL_ORDER[1]).to_commonware();
        assert!(key.verify(DOMAIN.as_bytes(), b"anything", &signature));
    }
}

#[test]
fn batches() {
    assert!(verify_batch(&[]));
    for n in [1, 2, 7, 40] {
        assert!(verify_batch(&items(n)));
        for wrong in 0..usize::from(n) {
            let mut altered = items(n);
            altered[wrong].2 = sha256(b"altered");
            assert!(!verify_batch(&altered));
        }
    }
    let mut malformed = items(3);
    malformed[1].0 = ViewPublicKey([2; 32]);
    assert!(!malformed[1].0.is_valid());
    assert!(!verify_batch(&malformed));
    let mut other_domain = items(3);
    other_domain[2].1 = "quorate.other.v1";
    assert!(!verify_batch(&other_domain));
}

/// Two wrong signatures whose errors cancel pass a batch without random weights.
#[test]
fn errors_do_not_cancel() {
    let mut items = items(2);
    let (first, second) = (items[0].3, items[1].3);
    items[0].3.0[32..].copy_from_slice(&second.0[32..]);
    items[1].3.0[32..].copy_from_slice(&first.0[32..]);
    assert!(!verify_batch(&items));
}

proptest! {
    #[test]
    fn nothing_panics(key: [u8; 32], low: [u8; 32], high: [u8; 32], digest: [u8; 32]) {
        let key = ViewPublicKey(key);
        let mut signature = ViewSignature([0; 64]);
        signature.0[..32].copy_from_slice(&low);
        signature.0[32..].copy_from_slice(&high);
        prop_assert!(!key.verify(DOMAIN, &Digest(digest), &signature));
        prop_assert!(!verify_batch(&[(key, DOMAIN, Digest(digest), signature)]));
    }
}
