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

mod planning;
mod rules;

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
