use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;
use crate::hash::sha256;

/// The owner of the reference's example group.
const OWNER: &str = "AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B";
const OWNER_HEX: &str = "02a76b829529463e35041666a5c7eef156a1c19f485f1f32265d226823d6ddbec1";
const OWNER_LIBP2P: &str = "CAISIQKna4KVKUY+NQQWZqXH7vFWocGfSF8fMiZdImgj1t2+wQ==";
const OWNER_ADDRESS: &str = "0x38FE32733fD9855367a0148B4C7B00d99535FDb5";

/// Signatures of the owner in the reference's example: what, digest, R S V.
const SIGNED: &[(&str, &str, &str)] = &[
    (
        "genesis block",
        "8f57cc6c1f88ddc3eeaac38bd62eac0588ba0d1c360ad53ba1e0aea11d4043a6",
        "eade43b3e91eca03fc2703c6d22e95d3946634dbbc21a458534f944eb55a31a4\
         63dbf7a48187f5ae152ec7967dfe3c12100c8c0056348539b0ecec865662530000",
    ),
    (
        "join result",
        "2e22d735f96936210cbe76211c515028095a44e2733afe7c53284cc81a963309",
        "e76aa89d58ce569458d3635b135bfb495a273c9977ce1a40d738f74f9904a477\
         267cd7700ad7d5a5647d0565ef9c7e43cbb152a0c93a8b5642249f639d7eae1e01",
    ),
    (
        "announce",
        "5f89ea93380ead0a9b429812ad6a8eb76e8492d00f7a77cee70e2b42bc000dc8",
        "e7ae2724755fe5d3c76db1ac3bbcd2674d2db31acd0b247c242e5c18dbf7df67\
         3cfc8e9e1e97a76d1b8c0d5dec3a7a17e3bbfde82ed28c146cc9ebf10c53d77301",
    ),
    (
        "genesis proof",
        "8cda8dd073d49e18c229878a7cb0371db3e114c48fb76f9a47dc5160e6180a27",
        "ad0a04b3fba4f914a06f05a54c0b95f52ac515ea2a67f3c32229dcc4a831091f\
         4875f401d9bb25c57e5b3721668ba053ec8672ef6c057cd6cae10e72847a156700",
    ),
    (
        "consensus trx",
        "a430d19382dfdc975da66dbf3c5ff5b1dd1a3f82dd3b065b616f8805c511c5b1",
        "d6f093e2f5856a6a7a2982de49fd8ba8e4c0d9fc893a416f179459d84b1a58d6\
         3c7fb9b6dc0787567262d4b652924dfe9c1565dd987257d3b4b19e439e82f9d000",
    ),
    (
        "change request",
        "42b94211c831ad89396025c5c9ff83dac5a1529fd6770345cc0cc2da9f3b9570",
        "706d80349cdc08cfcf9d2b2dc2f3d15e0320fb4aedc67318357ded2bbfd8ea35\
         4a2b55a36b4a87437bc6540ea05124621e7c0f0090bc595a6abc1b3025ca92c000",
    ),
    (
        "change response",
        "da0c9e0dd99102df77d613ffd6bcbe63225eb8ada3f06e0ae39107bbf3a87153",
        "cecc028c885e9b74e9fd609c32d912ed4557c16b33a555509be00ad3a82b3336\
         2b1e92388fdb470f62d0cca48d710e99ed379129aee404a19dad26e1bd2e453e00",
    ),
];

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn owner() -> MemberPublicKey {
    OWNER.parse().unwrap()
}

fn signed() -> impl Iterator<Item = (&'static str, Digest, Vec<u8>)> {
    let digest = |hex: &str| hex.parse().unwrap();
    SIGNED.iter().map(move |(what, hash, sig)| (*what, digest(hash), hex::decode(sig).unwrap()))
}

/// The same signature with S in the upper half: order - S, and V turned.
fn high_s(signature: &[u8]) -> Vec<u8> {
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let mut turned = signature.to_vec();
    let mut borrow = 0i16;
    for (place, digit) in order.unwrap().iter().enumerate().rev() {
        let difference = i16::from(*digit) - i16::from(signature[32 + place]) - borrow;
        borrow = i16::from(difference < 0);
        turned[32 + place] = difference.rem_euclid(256) as u8;
    }
    turned[64] ^= 1;
    turned
}

#[test]
fn owner_key_text() {
    assert_eq!(hex::encode(owner().as_bytes()), OWNER_HEX);
    assert_eq!(owner().to_string(), OWNER);
    assert_eq!(owner().eth_address(), OWNER_ADDRESS);
    let json = serde_json::to_string(&owner()).unwrap();
    assert_eq!(json, format!("\"{OWNER}\""));
    assert_eq!(serde_json::from_str::<MemberPublicKey>(&json).unwrap(), owner());
}

#[test]
fn libp2p_text_is_converted() {
    assert!(OWNER_LIBP2P.starts_with("CAISI"));
    assert_eq!(OWNER_LIBP2P.parse(), Ok(owner()));
    assert_eq!(OWNER_LIBP2P.trim_end_matches('=').parse(), Ok(owner()));
    // Another key type (1 = Ed25519) and a truncated key are no member's.
    let ed25519 = STANDARD.encode([[0x08, 0x01, 0x12, 0x20].as_slice(), &[7; 32]].concat());
    assert_eq!(ed25519.parse::<MemberPublicKey>(), Err(KeyError));
    assert_eq!(OWNER_LIBP2P[..48].parse::<MemberPublicKey>(), Err(KeyError));
}

#[test]
fn malformed_keys_are_refused() {
    let no_point = URL_SAFE_NO_PAD.encode([[2].as_slice(), &[0xff; 32]].concat());
    let standard = OWNER.replace('B', "+");
    for text in ["", "x", &OWNER[1..], &no_point, &standard, OWNER_ADDRESS] {
        assert_eq!(text.parse::<MemberPublicKey>(), Err(KeyError), "{text}");
    }
    assert_eq!(MemberPublicKey::from_bytes(&[2; 32]), Err(KeyError));
}

#[test]
fn reference_signatures_verify() {
    for (what, digest, signature) in signed() {
        assert!(owner().verify(&digest, &signature), "{what}");
        assert!(owner().verify(&digest, &signature[..64]), "{what}");
        assert!(verify_sender(OWNER, &digest, &signature), "{what}");
        assert!(verify_sender(OWNER_LIBP2P, &digest, &signature), "{what}");
        assert_eq!(recover_eth_address(&digest, &signature).as_deref(), Some(OWNER_ADDRESS));
        assert!(!owner().verify(&sha256(b"other"), &signature), "{what}");
        let mut wrong = signature.clone();
        wrong[9] ^= 1;
        assert!(!owner().verify(&digest, &wrong), "{what}");
    }
}

#[test]
fn high_s_is_refused() {
    for (what, digest, signature) in signed() {
        let high = high_s(&signature);
        assert_eq!(high_s(&high), signature);
        assert!(!owner().verify(&digest, &high), "{what}");
        assert!(!verify_sender(OWNER, &digest, &high), "{what}");
        assert!(!verify_sender(OWNER_ADDRESS, &digest, &high), "{what}");
        assert_eq!(recover_eth_address(&digest, &high), None, "{what}");
    }
}

#[test]
fn senders_by_address() {
    let (_, digest, mut signature) = signed().next().unwrap();
    for sender in
        [OWNER_ADDRESS.to_owned(), OWNER_ADDRESS.to_lowercase(), OWNER_ADDRESS.to_uppercase()]
    {
        assert!(is_address(&sender));
        assert!(verify_sender(&sender, &digest, &signature));
        assert!(!verify_sender(&sender, &digest, &signature[..64]), "no V");
    }
    signature[64] += 27;
    assert!(verify_sender(OWNER_ADDRESS, &digest, &signature));
    for v in [1, 2, 3, 26, 28, 29, 255] {
        signature[64] = v;
        assert!(!verify_sender(OWNER_ADDRESS, &digest, &signature), "{v}");
        // V says nothing about a key that is known.
        assert!(verify_sender(OWNER, &digest, &signature), "{v}");
    }
    assert!(!is_address(&OWNER_ADDRESS.replace("0x", "0z")));
    assert!(!is_address(&OWNER_ADDRESS.replace('3', "g")));
}

/// Test addresses of EIP-55 hold for the checksum: the key of a known address.
#[test]
fn known_ethereum_key() {
    let one = MemberKey::from_bytes(&{
        let mut bytes = [0; 32];
        bytes[31] = 1;
        bytes
    });
    let address = one.unwrap().public().eth_address();
    assert_eq!(address, "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
}

#[test]
fn secret_keys() {
    assert!(MemberKey::from_bytes(&[0; 32]).is_none());
    assert!(MemberKey::from_bytes(&[0xff; 32]).is_none());
    let key = MemberKey::generate(&mut rng(1));
    let again = MemberKey::from_bytes(&key.to_bytes()).unwrap();
    assert_eq!(again.public(), key.public());
    let digest = sha256(b"text");
    assert_eq!(again.sign(&digest), key.sign(&digest));
    assert!(!format!("{key:?}").contains(&hex::encode(key.to_bytes())));
}

proptest! {
    #[test]
    fn signs_what_it_verifies(seed: u8, text: [u8; 32]) {
        let key = MemberKey::generate(&mut rng(seed));
        let digest = Digest(text);
        let signature = key.sign(&digest);
        prop_assert!(signature.0[64] <= 1);
        prop_assert!(signature.0[32] < 0x80, "low S");
        prop_assert!(key.public().verify(&digest, signature.as_ref()));
        prop_assert!(key.public().verify(&digest, signature.rs()));
        let address = key.public().eth_address();
        prop_assert_eq!(recover_eth_address(&digest, signature.as_ref()), Some(address.clone()));
        prop_assert!(verify_sender(&address, &digest, signature.as_ref()));
        let other = MemberKey::generate(&mut rng(seed ^ 1)).public();
        prop_assert!(!other.verify(&digest, signature.as_ref()));
        prop_assert!(!verify_sender(&other.eth_address(), &digest, signature.as_ref()));
        prop_assert_eq!(key.public().to_string().parse(), Ok(key.public()));
    }

    #[test]
    fn nothing_panics(
        text in ".{0,60}",
        bytes in prop::collection::vec(any::<u8>(), 0..70),
        digest: [u8; 32],
    ) {
        let digest = Digest(digest);
        let _ = text.parse::<MemberPublicKey>();
        let _ = MemberPublicKey::from_bytes(&bytes);
        prop_assert!(!owner().verify(&digest, &bytes));
        prop_assert!(!verify_sender(&text, &digest, &bytes));
        prop_assert!(!verify_sender(OWNER_ADDRESS, &digest, &bytes));
        let _ = recover_eth_address(&digest, &bytes);
    }

    #[test]
    fn nothing_panics_at_the_right_length(bytes: [[u8; 32]; 3], v: u8) {
        let signature = [bytes[0].as_slice(), &bytes[1], &[v]].concat();
        let digest = Digest(bytes[2]);
        prop_assert!(!owner().verify(&digest, &signature));
        prop_assert!(!verify_sender(OWNER_ADDRESS, &digest, &signature));
        let _ = MemberPublicKey::from_bytes(&signature[..33]);
    }
}

#[test]
fn the_points_that_are_kept_have_a_limit_and_change_nothing() {
    let mut rng = ChaCha20Rng::seed_from_u64(77);
    let first = MemberKey::generate(&mut rng);
    for _ in 0..2 * points::MOST {
        let key = MemberKey::generate(&mut rng).public();
        assert_eq!(MemberPublicKey::from_bytes(key.as_bytes()), Ok(key));
        assert!(points::kept() <= points::MOST);
    }
    let digest = Digest([1; 32]);
    let signature = first.sign(&digest);
    assert!(first.public().verify(&digest, signature.as_ref()));
    // No point, however often it is asked for.
    let mut nothing = *first.public().as_bytes();
    nothing[0] = 7;
    for _ in 0..2 {
        assert_eq!(MemberPublicKey::from_bytes(&nothing), Err(KeyError));
    }
}
