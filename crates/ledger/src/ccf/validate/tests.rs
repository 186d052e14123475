use super::super::maps::ServiceStatus;
use super::super::test_support::{Service, puts};
use super::*;
use crate::state::WriteSet;

const AT: u64 = 1_700_000_000_000;

fn lived() -> Service {
    let mut service = Service::found(1, AT);
    service.live();
    service
}

fn check(service: &Service) -> Result<Validator<EcVerifier>, ValidateError> {
    let mut validator = Validator::new(EcVerifier, Some(service.secret.clone()));
    service.entries.iter().try_for_each(|entry| validator.add(entry).map(|_| ()))?;
    Ok(validator)
}

/// What is wrong with the last entry of a ledger.
fn wrong(service: &Service) -> Wrong {
    let error = check(service).unwrap_err();
    assert_eq!(error.seqno, service.tree.size() - 1, "{error}");
    error.wrong
}

#[test]
fn a_whole_life_is_accepted() {
    let service = lived();
    let validator = check(&service).unwrap();
    assert_eq!(validator.last().seqno, service.tree.size() - 1);
    assert_eq!(validator.signed(), validator.last());
    assert_eq!(validator.signatures(), service.signatures.len() as u64);
    assert_eq!(validator.service().unwrap().status, ServiceStatus::Open);
    assert_eq!(validator.tree().root(), service.tree.root());
    let mut files = Validator::new(EcVerifier, None);
    for (name, bytes) in service.files() {
        files.add_chunk(&name, &bytes).unwrap();
    }
    assert_eq!(files.last(), validator.last());
}

#[test]
fn a_ledger_is_checked_from_a_snapshot_on() {
    let mut service = Service::found(1, AT);
    let node = service.join();
    service.reconfigure(&[node], &[]);
    service.sign(Flags::NONE);
    let snapshot = service.snapshot();
    let from = service.entries.len();
    service.elect(node, 1);
    service.append(puts(&[("public:m", "k", "v")]));
    service.sign(Flags::NONE);
    let notary = &service.nodes[0];
    let mut validator = Validator::after(&snapshot, notary, None).unwrap();
    for entry in &service.entries[from..] {
        validator.add(entry).unwrap();
    }
    assert_eq!(validator.tree().root(), service.tree.root());
    assert!(validator.add(&service.entries[0]).is_err());
}

/// Every byte of every entry is under a signature that follows.
#[test]
fn no_flipped_byte_goes_unnoticed() {
    let mut service = Service::found(1, AT);
    service.append(puts(&[("public:m", "k", "v"), ("private", "k", "v")]));
    service.sign(Flags::NONE);
    service.sign(Flags::NONE);
    // The last signature is under no other; what it signs is before it.
    for seqno in 1..service.tree.size() - 1 {
        let length = service.entry(seqno).len();
        for at in (0..length).step_by(if length > 1000 { 13 } else { 1 }) {
            let mut validator = Validator::new(EcVerifier, None);
            let held = service.entries.iter().zip(1..).try_for_each(|(entry, number)| {
                let mut bytes = entry.to_vec();
                if number == seqno {
                    bytes[at] ^= 1 << (at % 8);
                }
                validator.add(&bytes).map(|_| ())
            });
            assert!(held.is_err(), "byte {at} of entry {seqno}");
        }
    }
}

#[test]
fn seqnos_and_views_are_checked() {
    let mut service = Service::found(1, AT);
    service.append(puts(&[("public:m", "k", "v")]));
    let mut gap = Validator::new(EcVerifier, None);
    gap.add(&service.entries[0]).unwrap();
    let error = gap.add(&service.entries[2]).unwrap_err();
    assert!(matches!(error.wrong, Wrong::Order { .. }), "{error}");
    // A new view behind what is not signed.
    service.view += 1;
    service.append(puts(&[("public:m", "k", "w")]));
    let suffix = Wrong::UnsignedSuffix { last: TxId::new(2, 4), view: 3 };
    assert_eq!(wrong(&service), suffix);
    let mut service = Service::found(1, AT);
    service.view -= 1;
    service.append(puts(&[("public:m", "k", "w")]));
    assert!(matches!(wrong(&service), Wrong::Order { .. }));
}

#[test]
fn evidence_and_claims_are_checked() {
    let mut service = Service::found(1, AT);
    let other = Service::found(2, AT);
    let mut validator = Validator::new(EcVerifier, Some(other.secret));
    let error = validator.add(&service.entries[0]).unwrap_err();
    assert_eq!(error.wrong, Wrong::Evidence);
    let (writes, claims) = super::super::snapshot::evidence(b"a snapshot", 2).unwrap();
    let before = (service.tree.clone(), service.entries.len());
    service.append_with(writes.clone(), claims, Flags::NONE);
    check(&service).unwrap();
    service.tree = before.0;
    service.entries.truncate(before.1);
    service.append(writes);
    assert_eq!(wrong(&service), Wrong::Claims);
}

#[test]
fn only_nodes_that_may_sign() {
    let mut pending = Service::found(1, AT);
    pending.leader = pending.join();
    pending.sign(Flags::NONE);
    assert_eq!(wrong(&pending), Wrong::Signer(pending.id(1)));

    let mut removed = Service::found(1, AT);
    let node = removed.join();
    removed.reconfigure(&[node], &[0]);
    removed.sign(Flags::NONE);
    check(&removed).expect("a retired node goes on signing");
    removed.retire_for_good(0);
    removed.remove(0);
    removed.sign(Flags::NONE);
    assert_eq!(wrong(&removed), Wrong::Signer(removed.id(0)));

    let mut foreign = Service::found(1, AT);
    let stranger = Service::found(2, AT).nodes.remove(0);
    foreign.nodes.push(stranger);
    foreign.leader = 1;
    foreign.sign(Flags::NONE);
    assert_eq!(wrong(&foreign), Wrong::Signer(foreign.id(1)));
}

#[test]
fn the_signed_root_and_tree_are_those_of_the_ledger() {
    let mut service = Service::found(1, AT);
    service.append(puts(&[("public:m", "k", "v")]));
    let tree = service.tree.clone();
    service.tree.retract(4).unwrap();
    service.tree.append(Digest([1; 32]));
    service.sign(Flags::NONE);
    assert!(matches!(wrong(&service), Wrong::Signature(SignatureError::Root(_))));
    service.entries.pop();
    service.tree = tree;
    // The tree does not begin at the signature before: receipts could not be made.
    service.signatures = vec![2];
    service.sign(Flags::NONE);
    assert_eq!(wrong(&service), Wrong::Tree);
}

#[test]
fn nodes_and_service_change_only_as_they_may() {
    use NodeStatus::{Pending, Retired, Trusted};
    let cases: [(&[(NodeStatus, bool)], bool); 8] = [
        (&[(Pending, false), (Trusted, false), (Retired, false), (Retired, true)], true),
        (&[(Trusted, false), (Pending, false)], false),
        (&[(Retired, false), (Trusted, false)], false),
        (&[(Trusted, false), (Retired, true)], false),
        (&[(Retired, false), (Retired, true), (Retired, false)], false),
        (&[(Trusted, true)], false),
        (&[(Trusted, false), (Trusted, false)], true),
        (&[(Pending, true)], false),
    ];
    for (steps, allowed) in cases {
        let mut service = Service::found(1, AT);
        service.nodes.push(super::super::NodeNotary::new(super::super::test_support::ec_key(9)));
        for (status, committed) in steps {
            let mut set = WriteSet::new();
            service.put_node(&mut set, 1, *status, *committed);
            service.append(set);
        }
        assert_eq!(check(&service).is_ok(), allowed, "{steps:?}");
        if !allowed {
            assert!(matches!(wrong(&service), Wrong::Change(_)));
        }
    }
    let mut early = Service::found(1, AT);
    early.remove(0);
    assert!(matches!(wrong(&early), Wrong::Change(_)), "it has not retired");
    let mut closed = Service::found(1, AT);
    let mut set = WriteSet::new();
    closed.put_service(&mut set, ServiceStatus::WaitingForRecoveryShares);
    closed.append(set);
    assert!(matches!(wrong(&closed), Wrong::Change(_)));
    let mut gone = Service::found(1, AT);
    let mut set = WriteSet::new();
    set.delete(SERVICE_INFO, SINGLE).unwrap();
    gone.append(set);
    assert!(matches!(wrong(&gone), Wrong::Change(_)));
}

#[test]
fn certificates_are_checked() {
    let mut service = Service::found(1, AT);
    let other = Service::found(2, AT);
    service.join();
    let certificates = [other.nodes[0].certificate(), service.nodes[1].certificate(), "none"];
    for certificate in certificates {
        let mut service = Service::found(1, AT);
        let mut set = WriteSet::new();
        let key = maps::node_key(&service.id(0));
        set.put(ENDORSED_CERTIFICATES, key, certificate.as_bytes()).unwrap();
        service.append(set);
        assert_eq!(wrong(&service), Wrong::Certificate(service.id(0)));
    }
}

type Files = Vec<(ChunkName, Vec<u8>)>;

#[test]
fn files_hold_what_their_names_say() {
    let service = lived();
    let files = service.files();
    let check = |changed: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        changed(&mut files);
        let mut validator = Validator::new(EcVerifier, None);
        files.iter().try_for_each(|(name, bytes)| validator.add_chunk(name, bytes))
    };
    assert_eq!(check(&|_| {}), Ok(()));
    let refused = |changed: &dyn Fn(&mut Files)| {
        assert!(check(changed).is_err());
    };
    refused(&|files| drop(files.remove(1)));
    refused(&|files| files.swap(0, 1));
    refused(&|files| files[0].0.last = Some(14));
    refused(&|files| files[0].0.last = None);
    refused(&|files| files[0].0.first = 2);
    refused(&|files| {
        let length = files[0].1.len() - 1;
        files[0].1.truncate(length);
    });
    // Two chunks in one file: an entry says that the first ends.
    refused(&|files| {
        let second = files.remove(1);
        let all: Vec<Vec<u8>> = [&files[0].1, &second.1]
            .iter()
            .flat_map(|bytes| entries(bytes).unwrap().0)
            .map(<[u8]>::to_vec)
            .collect();
        let joined = super::super::files::chunk(all.iter().map(Vec::as_slice)).unwrap();
        files[0] = (ChunkName { last: second.0.last, ..files[0].0 }, joined);
    });
}
