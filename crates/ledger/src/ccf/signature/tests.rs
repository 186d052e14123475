use super::super::test_support::{Service, puts};
use super::super::{Flags, LedgerSecret};
use super::*;

const AT: u64 = 1_700_000_000_000;

/// A service, and its last signature transaction.
fn signed() -> (Service, Transaction) {
    let mut service = Service::found(1, AT);
    service.append(puts(&[("public:m", "k", "v")]));
    let id = service.sign(Flags::NONE);
    let transaction = Transaction::decode(service.entry(id.seqno), &service.secret).unwrap();
    (service, transaction)
}

fn with(transaction: &Transaction, map: &str, row: Option<&[u8]>) -> Transaction {
    let mut changed = transaction.clone();
    match row {
        Some(row) => changed.writes.put(map, SINGLE, row).unwrap(),
        None => changed.writes.delete(map, SINGLE).unwrap(),
    }
    changed
}

#[test]
fn the_rows_are_those_that_tools_read() {
    let (service, transaction) = signed();
    let row = transaction.writes.get(SIGNATURES, &SINGLE).unwrap().unwrap();
    let row: serde_json::Value = serde_json::from_slice(row).unwrap();
    assert_eq!(row["seqno"], 5);
    assert_eq!(row["view"], 2);
    assert_eq!(row["node"], service.id(0).to_string());
    assert_eq!(row["root"], service.tree.root_at(5).unwrap().to_string());
    assert_eq!(row["cert"], service.nodes[0].certificate());
    assert_eq!((&row["commit_seqno"], &row["commit_view"]), (&0.into(), &0.into()));
    let tree = tree_of(&transaction.writes).unwrap();
    assert_eq!((tree.first(), tree.size()), (3, 5), "flushed up to the signature before");
    assert!(is_signature(&transaction.writes));
    let other = Transaction::decode(service.entry(4), &service.secret).unwrap();
    assert_eq!(Signature::read(&other), Ok(None));
    assert_eq!(tree_of(&other.writes), Err(SignatureError::Missing(TREE)));
}

#[test]
fn a_signature_is_verified_against_the_own_tree() {
    let (service, transaction) = signed();
    let notary = &service.nodes[0];
    let signature = Signature::read(&transaction).unwrap().unwrap();
    let by = Identities { node: notary.certificate(), service: service.certificate() };
    assert_eq!(signature.verify(&service.tree, by, notary), Ok(()));
    let mut tree = service.tree.clone();
    tree.retract(4).unwrap();
    tree.append(Digest([1; 32]));
    assert_eq!(signature.verify(&tree, by, notary), Err(SignatureError::Root(signature.id)));
    tree.retract(4).unwrap();
    assert!(matches!(signature.verify(&tree, by, notary), Err(SignatureError::Tree(_))));
    let mut wrong = signature.clone();
    wrong.signed.node.clear();
    assert_eq!(wrong.verify(&service.tree, by, notary), Err(SignatureError::Wrong(signature.id)));
}

#[test]
fn rows_that_are_none_are_refused() {
    let (service, transaction) = signed();
    for map in [COSE_SIGNATURES, SIGNATURES] {
        for row in [&b""[..], b"{}", b"\"%\"", b"\xff", b"[1]"] {
            let read = Signature::read(&with(&transaction, map, Some(row)));
            assert!(matches!(read, Err(SignatureError::Row(_))), "{map} {row:?} {read:?}");
        }
        let missing = Signature::read(&with(&transaction, map, None));
        assert_eq!(missing, Err(SignatureError::Missing(map)));
    }
    let long = format!("\"{}\"", "A".repeat(3 * MAX_SIGNATURE));
    let read = Signature::read(&with(&transaction, COSE_SIGNATURES, Some(long.as_bytes())));
    assert!(matches!(read, Err(SignatureError::Row(_))));
    let moved = Transaction { id: TxId::new(2, 6), ..transaction.clone() };
    let read = Signature::read(&moved);
    assert!(matches!(read, Err(SignatureError::OtherTransaction { .. })));
    let tree = with(&transaction, TREE, Some(b"no tree"));
    assert_eq!(tree_of(&tree.writes), Err(SignatureError::Tree(TreeError::Malformed)));
    let early = make(&service.tree, 0, TxId::new(2, 99), AT, (&service.nodes[0], ""));
    assert!(matches!(early, Err(SignatureError::Tree(_))));
    let secret = LedgerSecret::new(service.secret.key().clone());
    assert_eq!(secret.evidence_digest(transaction.id), transaction.evidence);
}
