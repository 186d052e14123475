use proptest::prelude::*;

use super::super::test_support::{Service, puts};
use super::super::{Flags, Transaction};
use super::*;

const AT: u64 = 1_700_000_000_000;

fn service() -> Service {
    let mut service = Service::found(1, AT);
    service.append(puts(&[("public:m", "k", "v"), ("private", "key", "a secret")]));
    service.append(puts(&[("private", "another", "12345678"), ("private", "", "")]));
    service.sign(Flags::ENDS_CHUNK);
    service
}

#[test]
fn a_snapshot_is_read_back() {
    let service = service();
    let snapshot = service.snapshot();
    let bytes = snapshot.encode(&service.secret).unwrap();
    assert_eq!(Snapshot::decode(&bytes, &service.secret).unwrap(), snapshot);
    assert_eq!(snapshot.encode(&service.secret).unwrap(), bytes, "the same on every node");
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
    assert_eq!(snapshot.tree().unwrap().root(), service.tree.root());
    let transaction = Transaction::decode(&bytes, &service.secret);
    assert_eq!(transaction, Err(EntryError::Invalid("transaction id")), "it is no transaction");
    assert_eq!(bytes[HEAD], 1);
    assert_eq!(snapshot.views, [1, 1]);
}

#[test]
fn a_file_proves_its_snapshot() {
    let mut service = service();
    let snapshot = service.snapshot();
    let (name, file) = service.prove(&snapshot);
    assert_eq!((name.seqno, name.evidence), (snapshot.id.seqno, snapshot.id.seqno + 1));
    let (bytes, proven) = verify(&file, service.certificate()).unwrap();
    assert_eq!(Snapshot::decode(bytes, &service.secret).unwrap(), snapshot);
    assert_eq!(proven.id, Some(TxId::new(2, name.evidence)));
    for at in (0..file.len()).step_by(3) {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(verify(&bad, service.certificate()).is_err(), "byte {at}");
    }
    let other = service.covering(4).receipt(service.entry(4), &service.secret).unwrap();
    let swapped = [bytes, &other.to_json()].concat();
    let held = verify(&swapped, service.certificate());
    assert_eq!(held, Err(SnapshotError::OtherSnapshot));
    assert!(verify(bytes, service.certificate()).is_err(), "not yet proven");
    assert_eq!(split(bytes), Ok((bytes, &[][..])));
}

#[test]
fn snapshots_that_are_none_are_refused() {
    let service = service();
    let good = service.snapshot().encode(&service.secret).unwrap();
    for end in (0..good.len()).step_by(7) {
        assert!(Snapshot::decode(&good[..end], &service.secret).is_err());
    }
    let longer = [&good[..], &[0]].concat();
    let error = SnapshotError::Entry(EntryError::Trailing(1));
    assert_eq!(Snapshot::decode(&longer, &service.secret), Err(error));
    let other = LedgerSecret::new(quorate_crypto::cipher::SymmetricKey([0; 32]));
    let error = SnapshotError::Entry(EntryError::Sealed);
    assert_eq!(Snapshot::decode(&good, &other), Err(error));
    let mut moved = service.snapshot();
    moved.id.seqno += 1;
    assert_eq!(moved.tree(), Err(SnapshotError::OtherTree));
    let empty = Snapshot { state: State::new(), ..service.snapshot() };
    assert_eq!(empty.tree(), Err(SnapshotError::OtherTree));
    let nowhere = Snapshot { id: TxId::default(), ..service.snapshot() };
    assert!(nowhere.encode(&service.secret).is_err());
}

proptest! {
    /// There is one encoding: a changed byte is refused or means something else.
    #[test]
    fn a_changed_byte_is_noticed(at: prop::sample::Index, byte: u8) {
        let service = service();
        let mut bytes = service.snapshot().encode(&service.secret).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(snapshot) = Snapshot::decode(&bytes, &service.secret) {
            prop_assert_eq!(snapshot.encode(&service.secret).unwrap(), bytes);
        }
    }
}
