use super::*;
use crate::test_support::{World, member};

#[test]
fn a_built_announcement_is_accepted() {
    let world = World::new();
    let item = &world.documents.announce;
    let announced = verify(item, world.group).unwrap();
    assert_eq!(announced.member, world.owner.public());
    assert_eq!(announced.announcement.memo, "owner announce as the first group producer");
    assert_eq!(announced.announcement.kind, AnnounceType::AsProducer);
    let removal = Announcement {
        action: ActionType::Remove,
        kind: AnnounceType::AsUser,
        encrypt_pubkey: String::new(),
        memo: String::new(),
    };
    let item = build(&member(5), world.group, &removal);
    assert_eq!(verify(&item, world.group).unwrap().announcement, removal);
}

#[test]
fn every_defect_is_found() {
    let world = World::new();
    let error = |change: fn(&mut AnnounceItem)| {
        let mut item = world.documents.announce.clone();
        change(&mut item);
        verify(&item, world.group).unwrap_err()
    };
    let signed = |change: fn(&mut AnnounceItem)| {
        let mut item = world.documents.announce.clone();
        change(&mut item);
        item.hash = item.digest().0.to_vec();
        item.signature = world.owner.sign(&item.digest()).0.to_vec();
        verify(&item, world.group).unwrap_err()
    };
    assert_eq!(error(|item| item.group_id.clear()), AnnounceError::Group);
    assert_eq!(error(|item| item.content = None), AnnounceError::Field("Content"));
    assert_eq!(error(|item| item.action = 1), AnnounceError::Hash);
    assert_eq!(error(|item| item.action = 2), AnnounceError::Field("Action"));
    assert_eq!(error(|item| item.hash.clear()), AnnounceError::Hash);
    assert_eq!(error(|item| item.signature[0] ^= 1), AnnounceError::Signature);
    assert_eq!(error(|item| item.signature.truncate(64)), AnnounceError::Signature);
    let other = |item: &mut AnnounceItem| item.announcer_pubkey = member(5).public().to_string();
    assert_eq!(signed(other), AnnounceError::Announcer);
    let stolen = |item: &mut AnnounceItem| {
        item.announcer_pubkey = member(5).public().to_string();
        item.content.as_mut().unwrap().sign_pubkey = item.announcer_pubkey.clone();
    };
    assert_eq!(signed(stolen), AnnounceError::Signature);
    let long = |item: &mut AnnounceItem| {
        item.content.as_mut().unwrap().memo = "m".repeat(MAX_MEMO + 1);
    };
    assert_eq!(signed(long), AnnounceError::Field("Memo"));
    let key = |item: &mut AnnounceItem| {
        item.content.as_mut().unwrap().encrypt_pubkey = "m".repeat(MAX_ENCRYPT_KEY + 1);
    };
    assert_eq!(signed(key), AnnounceError::Field("EncryptPubkey"));
}
