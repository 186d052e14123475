use super::*;

#[test]
fn evidence_is_the_same_on_every_node_and_new_for_every_transaction() {
    let secret = LedgerSecret::new(SymmetricKey([7; 32]));
    let id = TxId::new(2, 18);
    let evidence = secret.commit_evidence(id);
    let (front, nonce) = evidence.rsplit_once(':').unwrap();
    assert_eq!(front, "ce:2.18");
    assert!(nonce.len() == 64 && nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(secret.evidence_digest(id), sha256(evidence.as_bytes()));
    let again = LedgerSecret::new(secret.key().clone());
    assert_eq!(again.commit_evidence(id), evidence);
    for other in [TxId::new(18, 2), TxId::new(2, 19), TxId::new(3, 18)] {
        assert!(!secret.commit_evidence(other).ends_with(nonce));
    }
    assert!(!LedgerSecret::new(SymmetricKey([8; 32])).commit_evidence(id).ends_with(nonce));
    let longest = secret.commit_evidence(TxId::new(u64::MAX, u64::MAX));
    assert_eq!(longest.len(), LONGEST);
}

#[test]
fn a_snapshot_does_not_share_the_nonce_of_its_transaction() {
    let secret = LedgerSecret::new(SymmetricKey([7; 32]));
    let id = TxId::new(2, 18);
    let (mut one, mut other) = (*b"text", *b"text");
    let tags = (secret.seal(id, b"", &mut one), secret.seal_snapshot(id, b"", &mut other));
    assert_ne!(one, other);
    assert_ne!(tags.0, tags.1);
    assert_eq!(secret.open(id, b"", &one, &tags.0).unwrap(), b"text");
    assert_eq!(secret.open_snapshot(id, b"", &other, &tags.1).unwrap(), b"text");
    assert!(secret.open(id, b"", &other, &tags.1).is_err());
    assert!(secret.open(id, b"aad", &one, &tags.0).is_err());
}
