//! TRX-1 to TRX-7: every rule by a trx that breaks it.

use super::*;

#[test]
fn trx_1_signature_version_group_id_type_and_size() {
    let mut world = world();
    let key = member(5);
    let good = world.post(&key);
    assert!(world.admit(&good).is_ok());
    let refused = |change: &dyn Fn(&mut Trx), sign: bool| {
        let mut trx = good.clone();
        change(&mut trx);
        if sign {
            sign_again(&key, &mut trx);
        }
        match world.admit(&trx) {
            Err(Refusal::Trx(error)) => error,
            other => panic!("not refused: {other:?}"),
        }
    };
    assert_eq!(refused(&|t| t.time_stamp += 1, false), TrxError::Signature);
    assert_eq!(refused(&|t| t.sender_sign.clear(), false), TrxError::Signature);
    assert_eq!(refused(&|t| t.version = "1.0.0".to_owned(), true), TrxError::Version);
    assert_eq!(refused(&|t| t.group_id = Uuid::nil().to_string(), true), TrxError::Group);
    assert_eq!(refused(&|t| t.trx_id = t.trx_id.to_uppercase() + "x", true), TrxError::Id);
    assert_eq!(refused(&|t| t.r#type = 4, true), TrxError::Type(4));
    assert_eq!(refused(&|t| t.r#type = 99, true), TrxError::Type(99));
    assert_eq!(refused(&|t| t.resend_count = 1, true), TrxError::Unsigned);
    let big = refused(&|t| t.data = vec![0; 300 * 1024 + 1], true);
    assert!(matches!(big, TrxError::Oversize { .. }));
    assert_eq!(refused(&|t| t.sender_pubkey = "x".to_owned(), true), TrxError::Sender);
}

#[test]
fn trx_2_expiry_counts_against_the_block() {
    let mut world = world();
    let key = member(5);
    let mut trx = world.post(&key);
    for (expires, good) in [(0, true), (NOW, true), (NOW + 1, true), (NOW - 1, false), (1, false)] {
        trx.expired = expires;
        sign_again(&key, &mut trx);
        let admitted = world.admit(&trx);
        assert_eq!(admitted.is_ok(), good, "expires {expires}");
        if !good {
            assert_eq!(admitted, Err(Refusal::Expired));
        }
    }
    trx.expired = NOW + 4;
    sign_again(&key, &mut trx);
    assert_eq!(world.plan(&[&[trx]]).trxs, [], "the block's time is that of the proposals");
}

#[test]
fn trx_3_no_id_twice() {
    let mut world = world();
    let key = member(5);
    let trx = world.post(&key);
    world.packaged.push(trx.id().expect("an id"));
    let planned = world.plan(&[&[trx]]);
    assert!(planned.trxs.is_empty());
    assert!(planned.evidence.is_empty(), "an honest producer may not have heard of it");
}

#[test]
fn trx_4_allow_deny_and_mode() {
    let mut world = world();
    let (owner, alice, bob) = (world.owner().clone(), member(5), member(6));
    let setting = |world: &mut World, kind: ChainConfigType, data: Vec<u8>| {
        let mut item = ChainConfigItem {
            group_id: world.descriptor().id.to_string(),
            r#type: kind as i32,
            data,
            time_stamp: 3,
            memo: "m".to_owned(),
            ..ChainConfigItem::default()
        };
        sign_chain_config(&owner, &mut item);
        let trx = world.trx(&owner, TrxType::ChainConfig, &item.encode_to_vec());
        world.apply(&[trx]);
    };
    let rule = |key: &MemberKey, action: ActionType| {
        let rule = ChainSendTrxRuleListItem {
            action: action as i32,
            pubkey: key.public().to_string(),
            r#type: vec![TrxType::Post as i32],
        };
        rule.encode_to_vec()
    };
    let may = |world: &mut World, key: &MemberKey| {
        let trx = world.post(key);
        match world.admit(&trx) {
            Ok(_) => true,
            Err(Refusal::Forbidden("POST")) => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(may(&mut world, &alice) && may(&mut world, &bob), "default: follow the deny list");
    setting(&mut world, ChainConfigType::UpdDnyList, rule(&alice, ActionType::Add));
    assert!(!may(&mut world, &alice) && may(&mut world, &bob));
    let mut by_address = world.post(&alice);
    by_address.sender_pubkey = alice.public().eth_address();
    sign_again(&alice, &mut by_address);
    assert_eq!(world.admit(&by_address), Err(Refusal::Forbidden("POST")), "under another name");
    setting(&mut world, ChainConfigType::UpdAlwList, rule(&alice, ActionType::Add));
    assert!(may(&mut world, &alice), "the allow list comes first");
    let mode = SetTrxAuthModeItem {
        r#type: TrxType::Post as i32,
        mode: TrxAuthMode::FollowAlwList as i32,
    };
    setting(&mut world, ChainConfigType::SetTrxAuthMode, mode.encode_to_vec());
    assert!(may(&mut world, &alice) && !may(&mut world, &bob));
    assert!(!may(&mut world, &owner), "the owner is not exempt");
    let announce = world.announcement(&bob, AnnounceType::AsUser, ActionType::Add);
    assert!(world.admit(&announce).is_ok(), "another type");
    setting(&mut world, ChainConfigType::UpdAlwList, rule(&alice, ActionType::Remove));
    assert!(!may(&mut world, &alice));
    let config = chain_config(&world.state);
    assert_eq!(config.mode(TrxType::Post), TrxAuthMode::FollowAlwList);
    assert_eq!((config.allow.len(), config.deny.len()), (0, 1));
    assert_eq!(config.deny[0].rule.pubkey, alice.public().to_string());
    assert_eq!((config.deny[0].item.time_stamp, config.deny[0].item.memo.as_str()), (3, "m"));
}

#[test]
fn trx_5_some_types_are_the_owners() {
    let mut world = world();
    let stranger = member(5);
    for kind in [TrxType::Consensus, TrxType::User, TrxType::ChainConfig, TrxType::AppConfig] {
        let trx = world.trx(&stranger, kind, &[]);
        assert_eq!(world.admit(&trx), Err(Refusal::NotOwner), "{kind:?}");
    }
}

#[test]
fn trx_6_payloads_open_and_decode() {
    let mut world = world();
    let (owner, key) = (world.owner().clone(), member(5));
    let mut sealed = world.post(&key);
    sealed.data[20] ^= 1;
    sign_again(&key, &mut sealed);
    assert!(payload_refused(world.admit(&sealed)).contains("open"));
    let cases = [
        (TrxType::Announce, &key),
        (TrxType::Consensus, &owner),
        (TrxType::ChainConfig, &owner),
        (TrxType::AppConfig, &owner),
        (TrxType::MapWrite, &key),
    ];
    for (kind, sender) in cases {
        let trx = world.trx(sender, kind, &[0xff, 0xff, 0xff]);
        payload_refused(world.admit(&trx));
    }
    let write = MapWrite { map: "quorate.proofs".to_owned(), ..MapWrite::default() };
    let batch = MapWriteBatch { entries: vec![write] }.encode_to_vec();
    let trx = world.trx(&key, TrxType::MapWrite, &batch);
    assert!(payload_refused(world.admit(&trx)).contains("system"));
}

#[test]
fn trx_7_announcements_are_by_their_sender() {
    let mut world = world();
    let (alice, bob) = (member(5), member(6));
    let good = world.announcement(&alice, AnnounceType::AsProducer, ActionType::Add);
    assert!(world.admit(&good).is_ok());
    let announcement = Announcement {
        action: ActionType::Add,
        kind: AnnounceType::AsProducer,
        encrypt_pubkey: String::new(),
        memo: String::new(),
    };
    let mut item = announce::build(&alice, world.descriptor().id, &announcement);
    let stolen = world.trx(&bob, TrxType::Announce, &item.encode_to_vec());
    assert!(payload_refused(world.admit(&stolen)).contains("itself"));
    item.signature[3] ^= 1;
    let forged = world.trx(&alice, TrxType::Announce, &item.encode_to_vec());
    payload_refused(world.admit(&forged));
    world.apply(&[good]);
    assert!(announced_producer(&world.state, &alice.public()).is_some());
    assert!(announced_user(&world.state, &alice.public()).is_none());
    assert_eq!(announced(&world.state, AnnounceType::AsProducer).count(), 2, "and the owner");
    let gone = world.announcement(&alice, AnnounceType::AsProducer, ActionType::Remove);
    world.apply(&[gone]);
    assert!(announced_producer(&world.state, &alice.public()).is_none());
}

#[test]
fn trx_7_settings_are_signed_by_the_owner() {
    let mut world = world();
    let (owner, group) = (world.owner().clone(), world.descriptor().id.to_string());
    let mut item = AppConfigItem {
        group_id: group.clone(),
        name: "colour".to_owned(),
        r#type: 2,
        value: "red".to_owned(),
        ..AppConfigItem::default()
    };
    assert!(sign_app_config(&owner, &mut item));
    let good = world.trx(&owner, TrxType::AppConfig, &item.encode_to_vec());
    world.apply(&[good]);
    assert_eq!(app_config(&world.state).next().expect("set").value, "red");
    let mut forged = item.clone();
    forged.value = "blue".to_owned();
    let trx = world.trx(&owner, TrxType::AppConfig, &forged.encode_to_vec());
    assert!(payload_refused(world.admit(&trx)).contains("signature"));
    let mut foreign = item.clone();
    foreign.group_id = Uuid::nil().to_string();
    sign_app_config(&owner, &mut foreign);
    let trx = world.trx(&owner, TrxType::AppConfig, &foreign.encode_to_vec());
    payload_refused(world.admit(&trx));
    item.action = ActionType::Remove as i32;
    sign_app_config(&owner, &mut item);
    let trx = world.trx(&owner, TrxType::AppConfig, &item.encode_to_vec());
    world.apply(&[trx]);
    assert_eq!(app_config(&world.state).count(), 0);
    let mode = |kind: TrxType| SetTrxAuthModeItem { r#type: kind as i32, mode: 0 };
    for kind in [TrxType::Consensus, TrxType::AppConfig] {
        let mut item = ChainConfigItem {
            group_id: group.clone(),
            data: mode(kind).encode_to_vec(),
            ..ChainConfigItem::default()
        };
        sign_chain_config(&owner, &mut item);
        let trx = world.trx(&owner, TrxType::ChainConfig, &item.encode_to_vec());
        assert_eq!(payload_refused(world.admit(&trx)), "this trx type can not be configured");
    }
    let mut item = ChainConfigItem {
        group_id: group,
        data: mode(TrxType::Post).encode_to_vec(),
        ..ChainConfigItem::default()
    };
    sign_chain_config(&owner, &mut item);
    item.time_stamp = 9;
    let trx = world.trx(&owner, TrxType::ChainConfig, &item.encode_to_vec());
    assert!(world.admit(&trx).is_ok(), "the reference sets the time after signing");
    item.data = mode(TrxType::Announce).encode_to_vec();
    let trx = world.trx(&owner, TrxType::ChainConfig, &item.encode_to_vec());
    assert!(payload_refused(world.admit(&trx)).contains("signature"));
}

#[test]
fn users_are_approved_in_private_groups_only() {
    let alice = member(5);
    let approve = |world: &mut World, action: ActionType| {
        let item = UpdGroupUserItem {
            group_id: world.descriptor().id.to_string(),
            user_pubkey: alice.public().to_string(),
            action: action as i32,
            memo: String::new(),
        };
        let owner = world.owner().clone();
        world.trx(&owner, TrxType::User, &item.encode_to_vec())
    };
    let mut public = world();
    let trx = approve(&mut public, ActionType::Add);
    assert_eq!(payload_refused(public.admit(&trx)), "Group is not private");
    let mut private = world_of(Encryption::Private);
    let early = approve(&mut private, ActionType::Add);
    payload_refused(private.admit(&early));
    let announce = private.announcement(&alice, AnnounceType::AsUser, ActionType::Add);
    private.apply(&[announce]);
    let trx = approve(&mut private, ActionType::Add);
    private.apply(&[trx]);
    let user = users(&private.state).next().expect("approved");
    assert_eq!(user.encrypt_pubkey, "age1x");
    let trx = approve(&mut private, ActionType::Remove);
    private.apply(&[trx]);
    assert_eq!(users(&private.state).count(), 0);
}
