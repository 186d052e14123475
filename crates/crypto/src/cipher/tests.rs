use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;
use crate::hash::sha256;

/// The payload of the consensus trx in the reference's example.
mod golden {
    pub(super) const KEY: &str = "8e51d9d32574ecbecb8d3d374c82d22f620bc277e9b00333e38032072d4cbd2e";
    pub(super) const NONCE: &str = "79464c5e6a7046939e882c4b";
    pub(super) const CIPHERTEXT: &str = "\
     c183668a5f0bcc28033a30fde1d2407e4125030557a45060ff8885796bb490783ec8d4dc06af4d868386f26f\
     a5b03aca0636ef986f0c1693ce8f09f76196642c3c4295653926d94d7274d392718b77a7857be3f627fde337\
     21752d0e8b39eb72c9f204b8f4e6d4ebf1e45159fc3b647a0debedd17ae02d2f7b6a43809621ee5071d82801\
     3f6cd14369239ff871326b9ff63ce4639811d63d9599f191f1260d6e3980947d051925f5de2c6dc248b1decd\
     a90639998c3e4eb8848318a108c97a9ec59ddea7065fe433f7a650f419cb0091d2320c9406069141cbd52d89\
     369d01ca8a1ebcf1dd356995607c6001097295c035b1e1027f0150c7a6aa914b2fcb923d2aa24f9333eed783\
     e195417b474e503e0d70b7d73780e170ec20d03c9d41b4d81ca1ffe92d0ed2bb6491ad700e0b68b2dc894daf\
     22fe637075880f6c55cc1d6c7e64618426e0745b0904452b654f18c8e7936a717bc6fd6fd563683b405622b4\
     c36d868aba9f698c0ff47f2cdd0b00b491c415ec9f021b7c192b608d8aa1cafca2db7186384767598060c38e\
     95c25ea71edad9bc64ea8722ac56803527d9bb67a8df9c43bd8e02030afe325f3ef86da8363fa6c0e505cafd\
     35cf60a0828260823ec95052d96e5d52833eeadc8ae8c0e9b33d2c3380ffdd17ac3b38368e5ba4852289566e\
     c35da2bdc5c63d5ab2527423b36e8979c06d4e99b229fb26029dd50e6a865e3159991378fdd0a0de4342dd10\
     4bd8d3f4a3b79d82c475a661b448aa99437baf0c747667183010dc9b77c7032dc0f7d3dd2c07b0406b3dad1e\
     900bee1e07fbd1ff719b2be1d46756eb03b69836d5c4638e854aab0071279fc787c8c14be9af532840442d20\
     ae811e17afd384b708e1e480c3ff0c8caca1b913c467716f6b626b271c6b2c83040d8237700cb0a36add21a1\
     3eb7400a0407e00d708fb111213100274c68ab584f7e859ba5180be3283e134889fa25a63c1c83e2b002de72\
     9a38b72d77b49b5d4d89cf70e423493432991a70e4a6b21d492c3046f774a49c70b6c3f46c8d89a86cdfb957\
     101e3e077dd5d1ab1c789da7d0274c4d90731009fea383ee53e1f2f476544cc666fcfbd1de70fecb04a5a577\
     1db9e5abdc5733fd9a71c7fe612f5a0921310dceb7ba4b1206b850e88ec065145585b6a1273fac464ac434b1\
     4d9dec25bd5c";
    pub(super) const TAG: &str = "b351e9b3338b143c5b702fea8d2e9412";
    pub(super) const PLAINTEXT_SHA256: &str =
        "25de957363c63a081c06fd53a5f7f3ea60339bb613cbdf8607b7b468e1294f1d";
}

fn golden_text(tag: &str) -> Vec<u8> {
    hex::decode([golden::NONCE, golden::CIPHERTEXT, tag].concat()).unwrap()
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

#[test]
fn opens_the_reference_payload() {
    let key: SymmetricKey = golden::KEY.parse().unwrap();
    let text = golden_text(golden::TAG);
    assert_eq!(text.len(), 870);
    let plaintext = open(&key, b"", &text).unwrap();
    assert_eq!(plaintext.len(), 842);
    assert_eq!(sha256(&plaintext).to_string(), golden::PLAINTEXT_SHA256);
    let wrong_tag = golden_text("b251e9b3338b143c5b702fea8d2e9412");
    assert_eq!(open(&key, b"", &wrong_tag), Err(OpenError));
    assert_eq!(open(&key, b"x", &text), Err(OpenError));
}

#[test]
fn key_forms() {
    let key: SymmetricKey = golden::KEY.parse().unwrap();
    assert_eq!(key.to_string(), golden::KEY);
    assert_eq!(format!("{key:?}"), "SymmetricKey(redacted)");
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(json, format!("\"{}\"", golden::KEY));
    assert_eq!(serde_json::from_str::<SymmetricKey>(&json).unwrap(), key);
    assert_eq!(SymmetricKey::from_slice(key.as_bytes()), Some(key));
    assert_eq!(SymmetricKey::from_slice(&[1; 33]), None);
    assert!("12".parse::<SymmetricKey>().is_err());
}

#[test]
fn sealing_follows_the_generator() {
    let key = SymmetricKey::generate(&mut rng(1));
    let sealed = seal(&key, &mut rng(2), b"aad", b"text");
    assert_eq!(sealed, seal(&key, &mut rng(2), b"aad", b"text"));
    assert_ne!(sealed, seal(&key, &mut rng(3), b"aad", b"text"));
    assert_eq!(sealed.len(), 4 + OVERHEAD);
}

proptest! {
    #[test]
    fn opens_what_it_sealed_and_nothing_else(
        seed: u8,
        aad in prop::collection::vec(any::<u8>(), 0..40),
        text in prop::collection::vec(any::<u8>(), 0..200),
        place: prop::sample::Index,
        flip in 1u8..,
    ) {
        let key = SymmetricKey::generate(&mut rng(seed));
        let mut sealed = seal(&key, &mut rng(seed ^ 1), &aad, &text);
        prop_assert_eq!(open(&key, &aad, &sealed), Ok(text));
        let place = place.index(sealed.len());
        prop_assert_eq!(open(&key, &aad, &sealed[..place]), Err(OpenError));
        sealed[place] ^= flip;
        prop_assert_eq!(open(&key, &aad, &sealed), Err(OpenError));
    }
}

/// Two implementations agree, so either opens what the other sealed.
#[test]
fn a_key_made_ready_seals_and_opens_alike() {
    let key = SymmetricKey([7; 32]);
    let ready = GcmKey::new(&key);
    let (nonce, mut text) = ([3; NONCE], *b"a text in a larger buffer");
    let tag = ready.seal_in_place(nonce, b"aad", &mut text);
    let sealed = [&nonce[..], &text, &tag].concat();
    assert_eq!(open(&key, b"aad", &sealed).unwrap(), b"a text in a larger buffer");
    assert_eq!(ready.open(nonce, b"aad", &text, &tag).unwrap(), b"a text in a larger buffer");
    assert_eq!(ready.open(nonce, b"other", &text, &tag), Err(OpenError));
    assert_eq!(ready.open([4; NONCE], b"aad", &text, &tag), Err(OpenError));
    let empty = ready.seal_in_place(nonce, b"aad", &mut []);
    assert_eq!(ready.open(nonce, b"aad", &[], &empty), Ok(Vec::new()));
    assert_eq!(format!("{ready:?}"), "GcmKey(redacted)");
}
