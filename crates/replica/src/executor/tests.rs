//! Every rule by a trx that breaks it, and what decisions come to.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use quorate_consensus::core::Env;
use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::member::MemberKey;
use quorate_crypto::view::ViewKey;
use quorate_ledger::announce::{self, Announcement};
use quorate_ledger::change::{self as ledger_change, ChangeParams, ChangeResult};
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::proto::{
    ActionType, AnnounceType, AppConfigItem, ChainConfigItem, ChainConfigType,
    ChainSendTrxRuleListItem, ChangeConsensusResultBundle, KeyMaterial, MapWrite, MapWriteBatch,
    SetTrxAuthModeItem, TrxAuthMode, TrxType, UpdGroupUserItem,
};
use quorate_ledger::state::State;
use quorate_ledger::trx::{self, TrxError};
use uuid::Uuid;

use super::*;
use crate::api::GroupConfig;
use crate::block_maker::{Head, Pending, build};
use crate::replica::genesis;
use crate::testing::{START, config, env, member};

const NOW: i64 = 1_700_000_000_000_000_000;
const PARENT: Parent = Parent { id: BlockId(7), timestamp: NOW };

struct World {
    config: GroupConfig,
    state: State,
    view: View,
    env: Env,
    ids: Cell<u128>,
    packaged: Vec<TrxId>,
}

fn world_of(encryption: Encryption) -> World {
    let mut config = config(0);
    config.descriptor.encryption = encryption;
    let mut env = env(1, START);
    let (documents, _) = genesis::create::<BlsGeneration>(&mut env, &config).expect("documents");
    let view = documents.verify::<BlsGeneration>(&config.descriptor.genesis).expect("verifies");
    let state = genesis_state(&documents);
    World { config, state, view, env, ids: Cell::new(1), packaged: Vec::new() }
}

fn world() -> World {
    world_of(Encryption::Public)
}

impl World {
    fn descriptor(&self) -> &GroupDescriptor {
        &self.config.descriptor
    }

    fn owner(&self) -> &MemberKey {
        &self.config.member
    }

    fn ground(&self) -> Ground<'_> {
        Ground { descriptor: self.descriptor(), state: &self.state }
    }

    fn fresh(&self) -> TrxId {
        self.ids.set(self.ids.get() + 1);
        TrxId(uuid::Builder::from_random_bytes(self.ids.get().to_be_bytes()).into_uuid())
    }

    fn trx(&mut self, key: &MemberKey, kind: TrxType, payload: &[u8]) -> Trx {
        self.trx_at(key, kind, payload, NOW)
    }

    fn trx_at(&mut self, key: &MemberKey, kind: TrxType, payload: &[u8], stamp: i64) -> Trx {
        let cipher = self.descriptor().cipher_key.clone();
        let data = trx::encrypt_payload(&cipher, &mut self.env.rng, payload);
        let id = self.fresh();
        trx::build(key, self.descriptor().id, kind, data, id, stamp, 0)
    }

    fn post(&mut self, key: &MemberKey) -> Trx {
        self.trx(key, TrxType::Post, b"{}")
    }

    fn announcement(&mut self, key: &MemberKey, kind: AnnounceType, action: ActionType) -> Trx {
        let encrypt_pubkey = "age1x".to_owned();
        let announcement = Announcement { action, kind, encrypt_pubkey, memo: String::new() };
        let item = announce::build(key, self.descriptor().id, &announcement);
        self.trx(key, TrxType::Announce, &item.encode_to_vec())
    }

    fn admit(&self, trx: &Trx) -> Result<Admitted, Refusal> {
        admit(&self.ground(), trx, NOW, false)
    }

    fn plan(&self, batches: &[&[Trx]]) -> Planned {
        let batches = batches
            .iter()
            .enumerate()
            .map(|(index, trxs)| {
                let trxs = trxs.iter().map(Trx::encode_to_vec).collect();
                let proposal = Proposal::<Vec<u8>> { time_ns: NOW + 5, trxs };
                (NodeIndex(index as u16), proposal.encode())
            })
            .collect();
        self.plan_raw(&batches)
    }

    fn plan_raw(&self, batches: &BTreeMap<NodeIndex, Vec<u8>>) -> Planned {
        let packaged = |id: &TrxId| Ok::<_, Infallible>(self.packaged.contains(id));
        let ledger = Ledger { checked: &|_, _| false, packaged: &packaged };
        let planned =
            plan::<BlsGeneration, _>(&self.ground(), &self.view, PARENT, batches, &ledger);
        let Ok(planned) = planned;
        planned
    }

    fn replay(&self, block: &Block) -> Result<Replayed, ReplayError> {
        let packaged = |id: &TrxId| Ok::<_, Infallible>(self.packaged.contains(id));
        let ledger = Ledger { checked: &|_, _| false, packaged: &packaged };
        let Ok(replayed) =
            replay::<BlsGeneration, _>(&self.ground(), &self.view, PARENT, block, &ledger);
        replayed
    }

    /// The block of these trxs as honest producers would build it.
    fn block(&self, planned: &Planned) -> Block {
        let head = Head {
            id: PARENT.id,
            hash: quorate_crypto::hash::Digest::default(),
            timestamp: PARENT.timestamp,
            view: self.view.number,
            epoch: quorate_ledger::ids::Epoch(3),
            last_view_change: BlockId(0),
        };
        let (time, trxs) = (planned.timestamp, planned.trxs.clone());
        let epoch = quorate_ledger::ids::Epoch(4);
        build(&self.view, &head, epoch, time, trxs, &planned.writes)
    }

    /// Orders trxs alone and applies them.
    fn apply(&mut self, trxs: &[Trx]) {
        let planned = self.plan(&[trxs]);
        assert_eq!(planned.trxs.len(), trxs.len(), "all are good");
        self.state.apply(&planned.writes);
    }

    /// A result of a change to the owner alone.
    fn bundle(&mut self, nonce: u64, result: ChangeResult) -> ChangeConsensusResultBundle {
        let (owner, group) = (self.owner().clone(), self.descriptor().id);
        let params = ChangeParams {
            req_id: self.fresh().0,
            group,
            nonce,
            producers: vec![owner.public()],
            agreement_tick_length_ms: 1_000,
            agreement_tick_count: 10,
            start_from_epoch: 100,
            epoch_tick_ms: 500,
        };
        let req = ledger_change::build_request(&owner, &params);
        if result != ChangeResult::Success {
            return ledger_change::build_bundle(result, &req, Vec::new());
        }
        let request = ledger_change::verify_request(&req, &owner.public(), group).expect("good");
        let view_key = ViewKey::generate(&mut self.env.rng);
        let context = request.keygen_context();
        let (log, _) = genesis::deal_alone::<BlsGeneration>(&context, &view_key, [nonce as u8; 32])
            .expect("one player can deal");
        let material = KeyMaterial { view_key: view_key.public().0.to_vec(), dealer_log: log };
        let resp = ledger_change::build_response(&owner, Uuid::nil(), &req, Some(material));
        ledger_change::build_bundle(result, &req, vec![resp])
    }

    fn result(&mut self, bundle: &ChangeConsensusResultBundle) -> Trx {
        let owner = self.owner().clone();
        self.trx(&owner, TrxType::Consensus, &bundle.encode_to_vec())
    }
}

fn sign_again(key: &MemberKey, trx: &mut Trx) {
    trx.sender_sign = key.sign(&trx.digest()).0.to_vec();
}

fn payload_refused(result: Result<Admitted, Refusal>) -> String {
    match result {
        Err(Refusal::Payload { why, .. }) => why,
        other => panic!("not refused for its payload: {other:?}"),
    }
}

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

#[test]
fn a_success_ends_the_view_and_is_last() {
    let mut world = world();
    let (owner, key) = (world.owner().clone(), member(5));
    let bundle = world.bundle(1, ChangeResult::Success);
    let trxs = [world.post(&owner), world.result(&bundle), world.post(&key)];
    let planned = world.plan(&[&trxs]);
    let kinds: Vec<_> = planned.trxs.iter().map(|t| t.trx_id.as_str()).collect();
    assert_eq!(kinds, [&trxs[2].trx_id, &trxs[0].trx_id, &trxs[1].trx_id]);
    let next = planned.next_view.clone().expect("a new view");
    assert_eq!((next.number.0, next.nonce), (1, 1));
    assert_eq!(next.proof_trx_id, trxs[1].trx_id);
    let block = world.block(&planned);
    let replayed = world.replay(&block).expect("replays alike");
    assert_eq!((&replayed.writes, &replayed.next_view), (&planned.writes, &planned.next_view));
    let pending = Pending::new(block.clone(), replayed.writes.clone(), replayed.next_view);
    assert_eq!(pending.next_view.map(|v| v.parent), Some((BlockId(8), block.hash())));
    world.state.apply(&planned.writes);
    assert_eq!((last_nonce(&world.state), views(&world.state).count()), (1, 2));
    let again = world.result(&bundle);
    assert!(world.plan(&[&[again]]).trxs.is_empty(), "its request is known");
    let older = world.bundle(1, ChangeResult::Success);
    let older = world.result(&older);
    assert!(world.plan(&[&[older]]).trxs.is_empty(), "its nonce is known");
}

#[test]
fn of_two_successes_the_lower_nonce_goes_first() {
    let mut world = world();
    let (second, first) =
        (world.bundle(2, ChangeResult::Success), world.bundle(1, ChangeResult::Success));
    let trxs = [world.result(&second), world.result(&first)];
    let planned = world.plan(&[&trxs]);
    assert_eq!(planned.trxs, trxs[1..]);
    world.state.apply(&planned.writes);
    world.view = planned.next_view.expect("a view");
    let planned = world.plan(&[&trxs[..1]]);
    assert_eq!(planned.trxs.len(), 1, "then the other one");
}

#[test]
fn failures_only_add_to_the_history() {
    let mut world = world();
    let (late, first) =
        (world.bundle(3, ChangeResult::Failed), world.bundle(2, ChangeResult::Timeout));
    let trx = world.result(&late);
    let planned = world.plan(&[&[trx]]);
    assert_eq!(planned.next_view, None);
    world.state.apply(&planned.writes);
    let trx = world.result(&first);
    world.apply(&[trx]);
    let nonces: Vec<_> = proofs(&world.state).map(|(nonce, _)| nonce).collect();
    assert_eq!(nonces, [0, 2, 3], "in nonce order");
    assert_eq!(views(&world.state).count(), 1);
    let old = world.bundle(1, ChangeResult::Success);
    let trx = world.result(&old);
    assert!(world.plan(&[&[trx]]).trxs.is_empty(), "a success must be newer than all results");
    let (one, other) =
        (world.bundle(4, ChangeResult::Timeout), world.bundle(4, ChangeResult::Failed));
    let trxs = [world.result(&one), world.result(&other)];
    assert_eq!(world.plan(&[&trxs]).trxs.len(), 1, "one result for each nonce");
}

#[test]
fn forged_results_are_refused() {
    let mut world = world();
    let good = world.bundle(1, ChangeResult::Success);
    let refused = |world: &mut World, change: &dyn Fn(&mut ChangeConsensusResultBundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        let trx = world.result(&bundle);
        let planned = world.plan(&[&[trx]]);
        assert!(planned.trxs.is_empty());
        assert_eq!(planned.evidence.len(), 1, "an honest producer would not propose it");
    };
    refused(&mut world, &|b| b.resps.clear());
    refused(&mut world, &|b| b.responsed_producers.clear());
    refused(&mut world, &|b| b.req.as_mut().expect("a request").start_from_epoch = 5);
    refused(&mut world, &|b| b.resps[0].sender_sign[5] ^= 1);
    refused(&mut world, &|b| b.resps[0].key_material = None);
    refused(&mut world, &|b| {
        let material = b.resps[0].key_material.as_mut().expect("key material");
        material.dealer_log[10] ^= 1;
    });
    refused(&mut world, &|b| b.req = None);
}

#[test]
fn proposals_are_united_and_ordered() {
    let mut world = world();
    let (owner, alice, bob) = (world.owner().clone(), member(5), member(6));
    let mut named = [alice.clone(), bob.clone()];
    named.sort_by_key(|key| key.public().to_string());
    let late = world.trx_at(&named[0], TrxType::Post, b"late", NOW + 2);
    let early = world.trx_at(&named[0], TrxType::Post, b"early", NOW + 1);
    let other = world.trx_at(&named[1], TrxType::Post, b"other", NOW);
    let owners = world.trx_at(&owner, TrxType::Post, b"owner", NOW - 9);
    let (a, b) = (
        [late.clone(), owners.clone(), early.clone()],
        [other.clone(), late.clone(), early.clone()],
    );
    let planned = world.plan(&[&a, &b, &[]]);
    let expected = [early, late, other, owners];
    assert_eq!(planned.trxs, expected);
    assert_eq!(planned.timestamp, NOW + 5);
    assert!(planned.evidence.is_empty());
    assert_eq!(world.plan(&[&b, &[], &a]).trxs, expected, "whoever proposed what");
}

#[test]
fn of_two_signings_of_one_trx_the_older_stays() {
    let mut world = world();
    let key = member(5);
    let old = world.post(&key);
    let mut new = old.clone();
    new.time_stamp += 1;
    sign_again(&key, &mut new);
    let (old, new) = ([old], [new]);
    for batches in [[&old[..], &new], [&new, &old]] {
        assert_eq!(world.plan(&batches).trxs, old);
    }
}

#[test]
fn bad_proposals_and_trxs_are_evidence() {
    let mut world = world();
    let key = member(5);
    let good = world.post(&key);
    let mut forged = world.post(&key);
    forged.time_stamp += 1;
    let proposal = |trxs: Vec<Vec<u8>>| Proposal { time_ns: NOW, trxs }.encode();
    let batches = BTreeMap::from([
        (NodeIndex(0), proposal(vec![good.encode_to_vec()])),
        (NodeIndex(1), vec![1, 2, 3]),
        (NodeIndex(2), proposal(vec![forged.encode_to_vec(), vec![9; 9], good.encode_to_vec()])),
        (NodeIndex(3), proposal(vec![forged.encode_to_vec()])),
    ]);
    let planned = world.plan_raw(&batches);
    assert_eq!(planned.trxs, [good]);
    let found: Vec<_> = planned.evidence.iter().map(|e| (e.member, e.fault)).collect();
    assert_eq!(
        found,
        [
            (NodeIndex(1), Fault::BadProposal),
            (NodeIndex(2), Fault::BadTrx),
            (NodeIndex(3), Fault::BadTrx)
        ]
    );
    assert!(planned.evidence[1].detail.contains("1 more"));
    assert_eq!(world.plan_raw(&BTreeMap::new()).trxs, []);
}

#[test]
fn what_does_not_fit_waits() {
    let mut world = world();
    let key = member(5);
    let mut trxs = Vec::new();
    for n in 0..5 {
        trxs.push(world.trx_at(&key, TrxType::Post, &vec![0; 280 * 1024], NOW - n));
    }
    let small = world.trx_at(&key, TrxType::Post, b"{}", NOW + 1);
    trxs.push(small.clone());
    let planned = world.plan(&[&trxs[..3], &trxs[3..]]);
    let size: usize = planned.trxs.iter().map(prost::Message::encoded_len).sum();
    assert!(size <= MAX_CONTENT);
    let stamps: Vec<_> = planned.trxs.iter().map(|trx| trx.time_stamp - NOW).collect();
    assert_eq!(stamps, [-4, -3, -2, 1], "the oldest first, and what is small enough");
    let heavy = |world: &mut World, n: u64| {
        let entry = |i: u64| MapWrite {
            map: "m".to_owned(),
            key: (n * 1_024 + i).to_be_bytes().to_vec(),
            ..MapWrite::default()
        };
        let batch = MapWriteBatch { entries: (0..1_024).map(entry).collect() }.encode_to_vec();
        world.trx(&key, TrxType::MapWrite, &batch)
    };
    let trxs: Vec<_> = (0..70).map(|n| heavy(&mut world, n)).collect();
    let planned = world.plan(&[&trxs]);
    assert!(planned.writes.len() <= MAX_WRITES && !planned.trxs.is_empty());
}

#[test]
fn map_batches_are_all_or_nothing() {
    let mut world = world();
    let key = member(5);
    let write = |op: i32, name: &str, value: &[u8], expected: Option<&[u8]>| MapWrite {
        map: "m".to_owned(),
        key: name.as_bytes().to_vec(),
        op,
        value: value.to_vec(),
        expected: expected.map(<[u8]>::to_vec),
    };
    let run = |world: &mut World, entries: Vec<MapWrite>| {
        let batch = MapWriteBatch { entries }.encode_to_vec();
        let trx = world.trx(&key, TrxType::MapWrite, &batch);
        world.apply(&[trx]);
    };
    let get = |world: &World, name: &str| {
        world.state.get("m", name.as_bytes()).map(|value| value.to_vec())
    };
    run(&mut world, vec![write(0, "a", b"1", None), write(2, "b", b"1", None)]);
    assert_eq!((get(&world, "a"), get(&world, "b")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
    run(&mut world, vec![write(0, "a", b"9", None), write(2, "b", b"9", Some(b"0"))]);
    assert_eq!(get(&world, "a"), Some(b"1".to_vec()), "nothing of a batch that fails");
    run(&mut world, vec![write(0, "a", b"2", None), write(2, "a", b"3", Some(b"2"))]);
    assert_eq!(get(&world, "a"), Some(b"3".to_vec()), "a batch sees its own writes");
    run(&mut world, vec![write(1, "a", b"", None), write(2, "a", b"4", None)]);
    assert_eq!(get(&world, "a"), Some(b"4".to_vec()), "absent after the delete");
}

#[test]
fn blocks_of_others_are_judged_by_the_same_rules() {
    let mut world = world();
    let (alice, bob) = (member(5), member(6));
    let trxs = [world.post(&alice), world.post(&bob), world.post(&alice)];
    let planned = world.plan(&[&trxs]);
    let good = world.block(&planned);
    assert!(world.replay(&good).is_ok());
    let judged = |world: &World, change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        world.replay(&block).expect_err("breaks a rule")
    };
    assert_eq!(judged(&world, &|b| b.trxs.swap(0, 1)), ReplayError::Order);
    assert_eq!(judged(&world, &|b| b.trxs.push(b.trxs[2].clone())), ReplayError::Order);
    assert_eq!(judged(&world, &|b| b.trxs.clear()), ReplayError::Size);
    assert_eq!(judged(&world, &|b| b.header.timestamp = NOW - 1), ReplayError::Timestamp);
    let other = quorate_crypto::hash::Digest([1; 32]);
    assert_eq!(judged(&world, &|b| b.header.write_set = other), ReplayError::Writes);
    assert!(matches!(
        judged(&world, &|b| b.trxs[1].time_stamp += 1),
        ReplayError::Trx { place: 1, refusal: Refusal::Trx(TrxError::Signature) }
    ));
    world.packaged.push(planned.trxs[2].id().expect("an id"));
    let twice = world.replay(&good);
    assert_eq!(twice, Err(ReplayError::Trx { place: 2, refusal: Refusal::Duplicate }));
    assert_eq!(redo(&world.ground(), &good), Ok(planned.writes));
}

#[test]
fn what_was_verified_before_is_not_verified_again() {
    let mut world = world();
    let key = member(5);
    let mut trx = world.post(&key);
    trx.sender_sign = vec![1; 65];
    let bytes: Arc<[u8]> = trx.encode_to_vec().into();
    let proposal = Proposal { time_ns: NOW, trxs: vec![bytes.clone()] }.encode();
    let batches = BTreeMap::from([(NodeIndex(0), proposal)]);
    let ledger =
        Ledger::<Infallible> { checked: &|_, other| *other == *bytes, packaged: &|_| Ok(false) };
    let Ok(planned) =
        plan::<BlsGeneration, _>(&world.ground(), &world.view, PARENT, &batches, &ledger);
    assert_eq!(planned.trxs, [trx]);
}

#[test]
fn an_index_that_cannot_be_read_decides_nothing() {
    let mut world = world();
    let trx = world.post(&member(5));
    let proposal = Proposal { time_ns: NOW, trxs: vec![trx.encode_to_vec()] }.encode();
    let batches = BTreeMap::from([(NodeIndex(0), proposal)]);
    let ledger = Ledger { checked: &|_, _| false, packaged: &|_| Err("read error") };
    let planned = plan::<BlsGeneration, _>(&world.ground(), &world.view, PARENT, &batches, &ledger);
    assert_eq!(planned, Err("read error"));
}
