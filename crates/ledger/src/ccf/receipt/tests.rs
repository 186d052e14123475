use proptest::prelude::*;

use super::super::test_support::Service;
use super::super::{Flags, files};
use super::*;

const AT: u64 = 1_700_000_000_000;

fn lived() -> Service {
    let mut service = Service::found(1, AT);
    service.live();
    service
}

#[test]
fn every_transaction_has_receipts_that_hold() {
    let service = lived();
    let certificate = service.certificate();
    for seqno in 1..*service.signatures.last().unwrap() {
        let (entry, covering) = (service.entry(seqno), service.covering(seqno));
        assert!(covering.covers(seqno));
        let receipt = covering.receipt(entry, &service.secret).unwrap();
        let proven = receipt.verify(certificate).unwrap();
        assert_eq!(proven.id, Some(Head::read(entry).unwrap().id));
        assert_eq!(proven.write_set, Some(sha256(entry)));
        assert_eq!(proven.root, covering.signature.root);
        assert_eq!(Receipt::from_json(&receipt.to_json()), Ok(receipt));
        let cose = covering.cose(entry, &service.secret).unwrap();
        let (again, claims) = verify_cose(&cose, certificate).unwrap();
        assert_eq!(again, proven);
        assert_eq!(claims.txid, covering.signature.id.to_string());
    }
    let claimed = service.covering(14).receipt(service.entry(14), &service.secret).unwrap();
    assert_eq!(claimed.verify(certificate).unwrap().claims, sha256(b"a claim"));
}

#[test]
fn a_signature_has_a_receipt_of_what_it_signed() {
    let service = lived();
    let covering = service.covering(1);
    let receipt = covering.own_receipt().unwrap();
    let proven = receipt.verify(service.certificate()).unwrap();
    assert_eq!((proven.root, proven.id), (covering.signature.root, None));
    assert_eq!(Receipt::from_json(&receipt.to_json()), Ok(receipt.clone()));
    let mut both = receipt;
    both.is_signature_transaction = false;
    let kind = Err(ReceiptError::Form("kind of transaction"));
    assert_eq!(both.verify(service.certificate()), kind);
}

/// Every byte of both forms is part of the proof.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let service = lived();
    let (entry, covering) = (service.entry(14), service.covering(14));
    let json = covering.receipt(entry, &service.secret).unwrap().to_json();
    let cose = covering.cose(entry, &service.secret).unwrap();
    let own = covering.own_receipt().unwrap().to_json();
    let service = service.certificate();
    for good in [json, own] {
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let held = Receipt::from_json(&bad).and_then(|receipt| receipt.verify(service));
                assert!(held.is_err(), "byte {at} bit {bit}: {}", String::from_utf8_lossy(&bad));
            }
        }
    }
    for at in 0..cose.len() {
        let mut bad = cose.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(verify_cose(&bad, service).is_err(), "byte {at}");
    }
}

#[test]
fn receipts_are_made_of_the_first_signature_behind_alone() {
    let service = lived();
    let first = service.covering(4);
    assert_eq!((first.tree.first(), first.tree.size()), (3, 15));
    assert!(!first.covers(2) && first.covers(3) && first.covers(14) && !first.covers(15));
    let later = first.receipt(service.entry(16), &service.secret);
    assert!(matches!(later, Err(MakeError::Tree(_))), "{later:?}");
    let mut other = service.entry(5).to_vec();
    *other.last_mut().unwrap() ^= 1;
    let made = first.receipt(&other, &service.secret);
    assert_eq!(made, Err(MakeError::OtherEntry(TxId::new(2, 5))));
    let secret = LedgerSecret::new(quorate_crypto::cipher::SymmetricKey([0; 32]));
    let made = first.receipt(service.entry(5), &secret);
    assert_eq!(made, Err(MakeError::OtherEntry(TxId::new(2, 5))));
    let user = Transaction::decode(service.entry(5), &service.secret).unwrap();
    assert_eq!(Covering::new(&user), Err(MakeError::NoSignature(user.id)));
}

#[test]
fn a_receipt_of_another_service_does_not_hold() {
    let (one, mut other) = (lived(), Service::found(2, AT));
    other.sign(Flags::NONE);
    let receipt = one.covering(4).receipt(one.entry(4), &one.secret).unwrap();
    let issuer = Err(ReceiptError::Certificate(CertificateError::Issuer));
    assert_eq!(receipt.verify(other.certificate()), issuer);
    let cose = one.covering(4).cose(one.entry(4), &one.secret).unwrap();
    let held = verify_cose(&cose, other.certificate());
    assert_eq!(held, Err(ReceiptError::Cose(CoseError::OtherKey)));
    // A node is no service: what it signs as one is worth nothing.
    let usage = Err(ReceiptError::Certificate(CertificateError::Usage));
    assert_eq!(receipt.verify(&receipt.cert), usage);
    assert!(verify_cose(&cose, &receipt.cert).is_err());
    let mut relabelled = receipt.clone();
    relabelled.node_id = Hex(other.id(0));
    assert_eq!(relabelled.verify(one.certificate()), Err(ReceiptError::OtherNode));
    let mut endorsed = receipt;
    endorsed.service_endorsements = Some(vec![one.certificate().to_owned()]);
    assert!(endorsed.verify(one.certificate()).is_ok(), "a service issued itself");
    endorsed.service_endorsements = Some(vec![other.certificate().to_owned()]);
    assert_eq!(endorsed.verify(one.certificate()), issuer);
}

#[test]
fn commit_evidence_names_its_transaction() {
    let nonce = "0f".repeat(32);
    assert_eq!(id_of(&format!("ce:2.18:{nonce}")), Some(TxId::new(2, 18)));
    for wrong in ["", "ce:", "ce:2.18", "ce:2.18:", "2.18:", "ce:0.0:", "xe:2.18:"] {
        assert_eq!(id_of(wrong), None);
        assert_eq!(id_of(&format!("{wrong}:{nonce}")), id_of(&format!("{wrong}:{nonce}")));
    }
    assert_eq!(id_of(&format!("ce:2.18:{}", nonce.to_uppercase())), None);
    assert_eq!(id_of(&format!("ce:0.18:{nonce}")), None);
}

/// Files of a ledger are enough to make the receipts again.
#[test]
fn receipts_are_the_same_when_made_again_from_files() {
    let service = lived();
    let (name, bytes) = &service.files()[1];
    let (entries, complete) = files::entries(bytes).unwrap();
    assert!(complete);
    let decode = |entry: &&[u8]| Transaction::decode(entry, &service.secret).unwrap();
    let signature =
        entries.iter().map(decode).find(|t| super::super::signature::is_signature(&t.writes));
    let covering = Covering::new(&signature.unwrap()).unwrap();
    let again = covering.receipt(entries[0], &service.secret).unwrap();
    let first = service.covering(name.first).receipt(entries[0], &service.secret).unwrap();
    assert_eq!(again, first);
}

proptest! {
    #[test]
    fn any_json_is_refused(json in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(Receipt::from_json(json.as_bytes()).is_err());
        prop_assert!(Receipt::from_json(&bytes).is_err());
        prop_assert!(verify_cose(&bytes, "").is_err());
    }
}
