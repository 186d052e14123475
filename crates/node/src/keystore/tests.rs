use quorate_ledger::ids::GroupId;

use super::{Keystore, KeystoreError, Membership, ServiceKeys};
use crate::config::Secret;

const CHEAP: Option<u8> = Some(2);

fn group(n: u128) -> GroupId {
    GroupId(uuid::Uuid::from_u128(n))
}

#[test]
fn keys_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let password = Secret::new("correct horse");
    let first = Keystore::open(dir.path(), &password, CHEAP).expect("made");
    let node = first.node_key().expect("a node key").public();
    let keys = first.group_keys(group(7)).expect("group keys");
    let token = first.token_key().expect("a token key");
    let again = Keystore::open(dir.path(), &password, CHEAP).expect("opened");
    assert_eq!(again.node_key().expect("a node key").public(), node);
    let same = again.group_keys(group(7)).expect("group keys");
    assert_eq!(same.member.public(), keys.member.public());
    assert_eq!(same.encrypt.public(), keys.encrypt.public());
    assert_eq!(again.token_key().expect("a token key"), token);
    assert_eq!(again.groups().expect("a list"), [group(7)]);
    assert_eq!(again.storage_key(group(7)).as_bytes(), first.storage_key(group(7)).as_bytes());
    assert_ne!(again.storage_key(group(7)).as_bytes(), again.storage_key(group(8)).as_bytes());
}

#[test]
fn a_wrong_password_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Keystore::open(dir.path(), &Secret::new("one"), CHEAP).expect("made");
    let error =
        Keystore::open(dir.path(), &Secret::new("two"), CHEAP).expect_err("another password");
    assert!(matches!(error, KeystoreError::WrongPassword { .. }), "{error}");
    assert!(error.to_string().contains("password it was made with"), "{error}");
}

#[test]
fn nothing_is_readable_at_rest() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Keystore::open(dir.path(), &Secret::new("one"), CHEAP).expect("made");
    let keys = store.group_keys(group(7)).expect("group keys");
    let secret = hex::encode(keys.member.to_bytes());
    for entry in std::fs::read_dir(dir.path()).expect("a list") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
        assert!(!bytes.windows(15).any(|w| w == b"AGE-SECRET-KEY-"));
    }
}

#[test]
fn a_swapped_or_altered_file_is_damaged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Keystore::open(dir.path(), &Secret::new("one"), CHEAP).expect("made");
    store.group_keys(group(1)).expect("group keys");
    let from = dir.path().join(super::group_file(group(1)));
    let to = dir.path().join(super::group_file(group(2)));
    std::fs::copy(&from, &to).expect("copied");
    let error = store.group_keys(group(2)).expect_err("a file of another group");
    assert!(matches!(error, KeystoreError::Damaged { .. }), "{error}");
    let mut bytes = std::fs::read(&from).expect("a file");
    bytes[20] ^= 1;
    std::fs::write(&from, bytes).expect("written");
    assert!(matches!(store.group_keys(group(1)), Err(KeystoreError::Damaged { .. })));
}

#[test]
fn a_lost_master_key_is_not_replaced_silently() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Keystore::open(dir.path(), &Secret::new("one"), CHEAP).expect("made");
    store.node_key().expect("a node key");
    std::fs::remove_file(dir.path().join(super::MASTER)).expect("removed");
    let error = Keystore::open(dir.path(), &Secret::new("one"), CHEAP).expect_err("no master key");
    assert!(matches!(error, KeystoreError::NoMaster { .. }), "{error}");
}

#[test]
fn who_a_node_is_in_a_service_is_kept_until_it_is_forgotten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let password = Secret::new("correct horse");
    let keystore = Keystore::open(dir.path(), &password, CHEAP).expect("made");
    assert_eq!(keystore.service_keys(group(1)).expect("readable"), None);
    let mut keys = ServiceKeys { node_key: vec![1, 2, 3], membership: None };
    keystore.set_service_keys(group(1), &keys).expect("kept");
    keys.membership = Some(Membership {
        node_certificate: "node".to_owned(),
        service_certificate: "service".to_owned(),
        service_key: vec![9; 100],
        ledger_secret: vec![8; 32],
        began: false,
    });
    keystore.set_service_keys(group(1), &keys).expect("kept");
    let again = Keystore::open(dir.path(), &password, CHEAP).expect("opened");
    assert_eq!(again.service_keys(group(1)).expect("readable"), Some(keys));
    assert_eq!(again.service_keys(group(2)).expect("readable"), None);
    assert!(again.groups().expect("a list").is_empty());
    again.remove_service_keys(group(1)).expect("forgotten");
    again.remove_service_keys(group(1)).expect("nothing to forget");
    assert_eq!(again.service_keys(group(1)).expect("readable"), None);
}
