use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

/// The encryption key of the reference's example group.
const EXAMPLE: &str = "age1zd7ehw55e780ll8m2nuyz9275k5hzpu6h0mr2vl5dxt6ymsdsutqnusd0w";

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn key(seed: u8) -> EncryptKey {
    EncryptKey::generate(&mut rng(seed))
}

#[test]
fn public_key_text() {
    let example: EncryptPublicKey = EXAMPLE.parse().unwrap();
    assert_eq!(example.to_string(), EXAMPLE);
    let json = serde_json::to_string(&example).unwrap();
    assert_eq!(json, format!("\"{EXAMPLE}\""));
    assert_eq!(serde_json::from_str::<EncryptPublicKey>(&json).unwrap(), example);
    let secret = key(1).to_secret_text();
    let altered = EXAMPLE.replace('z', "q");
    let upper = EXAMPLE.to_uppercase();
    for text in ["", "age1", &EXAMPLE[..61], &altered, &upper, secret.as_str()] {
        let bad = RecipientError::Key("public");
        assert_eq!(text.parse::<EncryptPublicKey>(), Err(bad), "{text}");
    }
    // Everybody can read what is encrypted to a point of small order.
    let zero = EncryptPublicKey([0; 32]).to_string();
    assert!(zero.parse::<EncryptPublicKey>().is_err());
}

#[test]
fn secret_key_text_is_age_s() {
    let key = key(1);
    let text = key.to_secret_text();
    assert!(text.starts_with("AGE-SECRET-KEY-1"));
    let again = EncryptKey::from_secret_text(&text).unwrap();
    assert_eq!(again.public(), key.public());
    let of_age: age::x25519::Identity = text.parse().unwrap();
    assert_eq!(of_age.to_public().to_string(), key.public().to_string());
    assert!(EncryptKey::from_secret_text(EXAMPLE).is_err());
    assert!(!format!("{key:?}").contains(text.as_str()));
}

#[test]
fn age_files() {
    let keys = [key(1), key(2), key(3)];
    let to: Vec<_> = keys[..2].iter().map(EncryptKey::public).collect();
    let file = encrypt_to(&to, b"text").unwrap();
    assert_eq!(decrypt_with(&keys[0], &file).unwrap(), b"text");
    assert_eq!(decrypt_with(&keys[1], &file).unwrap(), b"text");
    assert!(matches!(decrypt_with(&keys[2], &file), Err(RecipientError::Decrypt(_))));
    assert_eq!(encrypt_to(&[], b"text"), Err(RecipientError::NoRecipients));
    let empty = encrypt_to(&to, b"").unwrap();
    assert_eq!(decrypt_with(&keys[0], &empty).unwrap(), b"");
}

#[test]
fn passwords() {
    let file = seal_with_password("secret", b"text", Some(4)).unwrap();
    assert_eq!(open_with_password("secret", &file).unwrap(), b"text");
    assert!(open_with_password("Secret", &file).is_err());
    assert!(decrypt_with(&key(1), &file).is_err());
    for factor in [0, MAX_WORK_FACTOR + 1, 255] {
        assert_eq!(
            seal_with_password("secret", b"text", Some(factor)),
            Err(RecipientError::WorkFactor(factor))
        );
    }
    // A file that would cost 2^40 is refused, not opened.
    let text = String::from_utf8_lossy(&file).into_owned();
    let line = text.lines().nth(1).unwrap();
    let costly = line.trim_end_matches('4').to_owned() + "40";
    let mut bytes = file.clone();
    let at = text.find(line).unwrap();
    bytes.splice(at..at + line.len(), costly.bytes());
    assert!(open_with_password("secret", &bytes).is_err());
}

#[test]
fn sealing_follows_the_generator() {
    let to = key(1).public();
    let sealed = seal_to(&mut rng(5), &to, b"aad", b"text");
    assert_eq!(sealed, seal_to(&mut rng(5), &to, b"aad", b"text"));
    assert_ne!(sealed, seal_to(&mut rng(6), &to, b"aad", b"text"));
    assert_eq!(sealed.len(), 4 + SEAL_TO_OVERHEAD);
    assert_eq!(open_sealed(&key(1), b"aad", &sealed).unwrap(), b"text");
    assert!(open_sealed(&key(2), b"aad", &sealed).is_err());
    assert!(open_sealed(&key(1), b"bad", &sealed).is_err());
    // An ephemeral key of small order would make the shared secret public.
    let small = [[0; 32].as_slice(), &sealed[32..]].concat();
    assert!(open_sealed(&key(1), b"aad", &small).is_err());
}

proptest! {
    #[test]
    fn altered_seals_do_not_open(
        text in prop::collection::vec(any::<u8>(), 0..100),
        place: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut sealed = seal_to(&mut rng(5), &key(1).public(), b"aad", &text);
        prop_assert_eq!(open_sealed(&key(1), b"aad", &sealed), Ok(text));
        let place = place.index(sealed.len());
        prop_assert!(open_sealed(&key(1), b"aad", &sealed[..place]).is_err());
        sealed[place] ^= flip;
        prop_assert!(open_sealed(&key(1), b"aad", &sealed).is_err());
    }

    #[test]
    fn nothing_panics(text in ".{0,70}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = text.parse::<EncryptPublicKey>();
        let _ = EncryptKey::from_secret_text(&text);
        prop_assert!(decrypt_with(&key(1), &bytes).is_err());
        prop_assert!(open_with_password("secret", &bytes).is_err());
        prop_assert!(open_sealed(&key(1), b"", &bytes).is_err());
    }
}

#[test]
fn what_stands_in_for_an_exchange_opens_alike_and_nowhere_else() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (key, other) = (EncryptKey::generate(&mut rng), EncryptKey::generate(&mut rng));
    let sealed = {
        let _memory = made::stand_in(|key, domain, digest| {
            Hasher::new("test").field(key).field(domain.as_bytes()).field(&digest.0).finish().0
        });
        let sealed = seal_to(&mut rng, &key.public(), b"aad", b"dealing");
        assert_eq!(sealed.len(), b"dealing".len() + SEAL_TO_OVERHEAD);
        assert_eq!(open_sealed(&key, b"aad", &sealed), Ok(b"dealing".to_vec()));
        assert!(open_sealed(&other, b"aad", &sealed).is_err());
        assert!(open_sealed(&key, b"other", &sealed).is_err());
        sealed
    };
    assert!(open_sealed(&key, b"aad", &sealed).is_err());
}
