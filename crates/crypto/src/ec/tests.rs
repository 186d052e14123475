use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

fn key(seed: u64) -> EcKey {
    EcKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

/// RFC 6979, A.2.5: the key, and the signature of SHA-256("sample").
#[test]
fn a_key_and_signature_of_the_rfc() {
    let number = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    let x = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    let y = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    let r = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
    let s = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
    let key = EcKey::from_number(&hex::decode(number).unwrap().try_into().unwrap()).unwrap();
    let spki = format!("{}04{x}{y}", hex::encode(SPKI_P256));
    assert_eq!(hex::encode(key.public().spki()), spki);
    let signature = hex::decode(format!("{r}{s}")).unwrap();
    assert!(key.public().verify_fixed(b"sample", &signature));
    assert!(!key.public().verify_fixed(b"simple", &signature));
    assert_ne!(key.sign_fixed(b"sample"), signature, "it draws randomness");
    let _memory = made::repeat();
    let repeating = EcKey::from_pkcs8(&key.to_pkcs8()).expect("its own key");
    assert_eq!(repeating.sign_fixed(b"sample"), signature);
    let der = repeating.sign(b"sample");
    assert_eq!(der, repeating.sign_digest(&sha256(b"sample")));
    assert!(key.public().verify(b"sample", &der));
}

/// RFC 6979, A.2.6: SHA-384 on P-384, which others sign with.
#[test]
fn a_key_on_the_larger_curve_is_verified() {
    let x = "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64\
             def8f0ea9055866064a254515480bc13";
    let y = "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1\
             288b231c3ae0d4fe7344fd2533264720";
    let r = "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
             81a648152e44acf96e36dd1e80fabe46";
    let s = "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
             a329c145786e679e7b82c71a38628ac8";
    let point = hex::decode(format!("04{x}{y}")).unwrap();
    let key = EcPublic::from_point(Curve::P384, &point).unwrap();
    assert_eq!(EcPublic::from_spki(key.spki()), Ok(key.clone()));
    assert!(key.verify_fixed(b"sample", &hex::decode(format!("{r}{s}")).unwrap()));
}

#[test]
fn all_forms_of_signatures_verify_and_no_other_does() {
    let (key, other) = (key(1), key(2));
    let digest = sha256(b"root");
    let signature = key.sign_digest(&digest);
    assert!(key.public().verify_digest(&digest, &signature));
    assert!(key.public().verify(b"root", &signature), "a digest's is that of its message");
    assert!(!key.public().verify_digest(&sha256(b"other"), &signature));
    assert!(!other.public().verify_digest(&digest, &signature));
    for end in 0..signature.len() {
        assert!(!key.public().verify_digest(&digest, &signature[..end]));
        let mut flipped = signature.clone();
        flipped[end] ^= 1;
        assert!(!key.public().verify_digest(&digest, &flipped), "byte {end}");
    }
    let fixed = key.sign_fixed(b"message");
    assert_eq!(fixed.len(), 64);
    assert!(key.public().verify_fixed(b"message", &fixed));
    assert!(!key.public().verify(b"message", &fixed));
    assert!(key.public().verify(b"message", &key.sign(b"message")));
}

#[test]
fn keys_are_kept_and_read_back() {
    let one = key(1);
    let again = EcKey::from_pkcs8(&one.to_pkcs8()).unwrap();
    assert_eq!(again.public(), one.public());
    assert_eq!(key(1).public(), one.public(), "the same randomness gives the same key");
    assert_ne!(key(2).public(), one.public());
    assert_eq!(EcPublic::from_spki(one.public().spki()), Ok(one.public().clone()));
    assert_eq!(one.public().id(), sha256(one.public().spki()));
    assert!(EcKey::from_number(&[0; 32]).is_none());
    assert!(EcKey::from_number(&[0xff; 32]).is_none());
    assert!(EcKey::from_pkcs8(&[0x30; 60]).is_err());
    assert!(!format!("{one:?}").contains(&hex::encode(&one.to_pkcs8()[40..48])));
}

#[test]
fn points_off_the_curve_are_refused() {
    let key = key(1);
    let mut spki = key.public().spki().to_vec();
    for at in 0..spki.len() {
        spki[at] ^= 1;
        assert!(EcPublic::from_spki(&spki).is_err(), "byte {at}");
        spki[at] ^= 1;
    }
    assert!(EcPublic::from_spki(&spki[..spki.len() - 1]).is_err());
    assert!(EcPublic::from_point(Curve::P384, key.public().point()).is_err());
    assert!(EcPublic::from_spki(&[]).is_err());
}
