//! What is remembered changes no answer.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::{REMEMBERED, known, note, remember, stand_in};
use crate::hash::{Digest, Hasher, sha256};
use crate::member::{MemberKey, verify_sender};
use crate::view::{ViewKey, ViewSignature, verify_batch};

const DOMAIN: &str = "quorate.test";

fn keys() -> (ViewKey, ViewKey, MemberKey, MemberKey) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (one, two) = (ViewKey::generate(&mut rng), ViewKey::generate(&mut rng));
    (one, two, MemberKey::generate(&mut rng), MemberKey::generate(&mut rng))
}

/// All answers about signatures of two keys, right and wrong in every way.
fn answers() -> Vec<bool> {
    let (view, other_view, member, other_member) = keys();
    let (digest, other) = (sha256(b"one"), sha256(b"other"));
    let mut answers = Vec::new();
    let sign = view.sign(DOMAIN, &digest);
    let mut wrong = sign;
    wrong.0[40] ^= 1;
    let public = view.public();
    for (key, domain, of, signature) in [
        (public, DOMAIN, digest, sign),
        (public, DOMAIN, digest, wrong),
        (public, DOMAIN, other, sign),
        (public, "quorate.other", digest, sign),
        (other_view.public(), DOMAIN, digest, sign),
        (public, DOMAIN, digest, ViewSignature([0; 64])),
    ] {
        answers.push(key.verify(domain, &of, &signature));
        answers.push(verify_batch(&[(key, domain, of, signature)]));
        answers.push(verify_batch(&[(public, DOMAIN, digest, sign), (key, domain, of, signature)]));
    }
    let sign = member.sign(&digest);
    let mut wrong = sign;
    wrong.0[40] ^= 1;
    let mut odd = sign;
    odd.0[64] ^= 1;
    for (key, of, signature) in [
        (member.public(), digest, sign),
        (member.public(), digest, wrong),
        (member.public(), digest, odd),
        (member.public(), other, sign),
        (other_member.public(), digest, sign),
    ] {
        for signature in [&signature.0[..], signature.rs(), &signature.0[..63]] {
            answers.push(key.verify(&of, signature));
            answers.push(verify_sender(&key.to_string(), &of, signature));
            answers.push(verify_sender(&key.eth_address(), &of, signature));
        }
    }
    answers
}

#[test]
fn the_answers_are_the_same_with_and_without() {
    let without = answers();
    let with = {
        let _memory = remember();
        answers()
    };
    assert_eq!(with, without);
    assert!(without.contains(&true) && without.contains(&false));
}

fn half(key: &[u8], domain: &str, digest: &Digest) -> [u8; 32] {
    Hasher::new("quorate.test.v1").field(key).field(domain.as_bytes()).field(&digest.0).finish().0
}

#[test]
fn what_stands_in_for_signatures_is_accepted_as_they_are_and_nowhere_else() {
    let without = answers();
    let (view, _, member, _) = keys();
    let digest = sha256(b"one");
    let (by_view, by_member) = {
        let _memory = stand_in(half);
        assert_eq!(answers(), without);
        (view.sign(DOMAIN, &digest), member.sign(&digest))
    };
    assert!(!view.public().verify(DOMAIN, &digest, &by_view));
    assert!(!member.public().verify(&digest, by_member.as_ref()));
    assert!(!verify_sender(&member.public().eth_address(), &digest, by_member.as_ref()));
    // Nor is a signature accepted where something else stands in for it.
    let (real_view, real_member) = (view.sign(DOMAIN, &digest), member.sign(&digest));
    let _memory = stand_in(half);
    assert!(!view.public().verify(DOMAIN, &digest, &real_view));
    assert!(!member.public().verify(&digest, real_member.as_ref()));
}

#[test]
fn nothing_is_remembered_unless_asked_for_nor_afterwards() {
    let digest = Digest([7; 32]);
    note(b"key", DOMAIN, &digest, &[1; 64]);
    assert_eq!(known(b"key", DOMAIN, &digest, &[1; 64]), None);
    {
        let _memory = remember();
        note(b"key", DOMAIN, &digest, &[1; 64]);
        assert_eq!(known(b"key", DOMAIN, &digest, &[1; 64]), Some(true));
    }
    assert_eq!(known(b"key", DOMAIN, &digest, &[1; 64]), None);
}

#[test]
fn the_memory_is_bounded_and_keeps_the_last() {
    let _memory = remember();
    let signature = |number: usize| {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let digest = Digest::default();
    let count = 3 * REMEMBERED;
    (0..count).for_each(|number| note(b"key", DOMAIN, &digest, &signature(number)));
    let kept = (0..count).filter(|n| known(b"key", DOMAIN, &digest, &signature(*n)).is_some());
    let kept: Vec<usize> = kept.collect();
    assert!(kept.len() >= REMEMBERED && kept.len() <= 2 * REMEMBERED, "{}", kept.len());
    assert_eq!(kept, (count - kept.len()..count).collect::<Vec<_>>(), "the last ones");
}
