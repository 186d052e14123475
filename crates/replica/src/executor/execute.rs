//! What trxs write.

use prost::Message as _;
use quorate_ledger::group::GenesisDocuments;
use quorate_ledger::ids::{BlockId, ViewNumber};
use quorate_ledger::proto::{
    ActionType, AnnounceItem, AnnounceType, AppConfigItem, ChangeConsensusResultBundle, MapWrite,
    MapWriteBatch, MapWriteOp, Trx, UpdGroupUserItem, UserItem,
};
use quorate_ledger::state::{State, StateView, Value, WriteError, WriteSet};
use quorate_ledger::trx::Sender;

use super::layout::{self, Proof, ViewEntry};
use super::rules::{Admitted, Ground, Payload, is_success};

/// Executes the trxs of one block in order. `view` is the view the block belongs to.
///
/// # Panics
/// If a write breaks a limit of the state that the rules check: our own mistake.
#[must_use]
pub fn execute<'a>(
    ground: &Ground<'_>,
    view: ViewNumber,
    block: BlockId,
    trxs: impl Iterator<Item = (&'a Trx, &'a Admitted)>,
) -> WriteSet {
    let mut state = StateView::new(ground.state);
    for (trx, admitted) in trxs {
        let written = match &admitted.payload {
            Payload::Post => Ok(()),
            Payload::Announce(item) => announce(&mut state, item),
            Payload::Consensus(bundle) => {
                let next = ViewEntry {
                    number: view.next(),
                    block,
                    nonce: bundle.req.as_ref().map_or(0, |req| req.nonce),
                    trx_id: trx.trx_id.clone(),
                };
                consensus(&mut state, bundle, &next)
            }
            Payload::User(item) => user(&mut state, item, &trx.trx_id),
            Payload::Mode { mode, .. } => {
                let value = [u8::try_from(mode.mode).unwrap_or_default()];
                state.put(layout::MODES, mode.r#type.to_be_bytes(), value)
            }
            Payload::List { allow, rule, item } => {
                let map = if *allow { layout::ALLOW } else { layout::DENY };
                let key = Sender::parse(&rule.pubkey)
                    .map(|sender| layout::list_key(&sender))
                    .expect("the rules checked the key");
                if rule.action == ActionType::Remove as i32 {
                    state.delete(map, key)
                } else {
                    state.put(map, key, item.encode_to_vec())
                }
            }
            Payload::App(item) => app(&mut state, item),
            Payload::Maps(batch) => maps(&mut state, batch),
        };
        written.expect("the rules keep writes within the limits of the state");
    }
    state.into_writes()
}

/// The state after block 0: the owner announced, the genesis proof, view 0.
///
/// # Panics
/// If the documents break a limit of the state: they were verified.
#[must_use]
pub fn genesis_state(documents: &GenesisDocuments) -> State {
    let base = State::new();
    let mut state = StateView::new(&base);
    let view =
        ViewEntry { number: ViewNumber(0), block: BlockId(0), nonce: 0, trx_id: String::new() };
    announce(&mut state, &documents.announce)
        .and_then(|()| consensus(&mut state, &documents.bundle, &view))
        .expect("verified documents are within the limits of the state");
    let writes = state.into_writes();
    let mut state = base;
    state.apply(&writes);
    state
}

fn announce(state: &mut StateView<'_>, item: &AnnounceItem) -> Result<(), WriteError> {
    let Some(content) = &item.content else { return Ok(()) };
    let Some(Sender::Key(member)) = Sender::parse(&item.announcer_pubkey) else { return Ok(()) };
    let kind = AnnounceType::try_from(content.r#type).unwrap_or(AnnounceType::AsUser);
    let map = layout::announced_map(kind);
    if item.action == ActionType::Remove as i32 {
        state.delete(map, *member.as_bytes())
    } else {
        state.put(map, *member.as_bytes(), item.encode_to_vec())
    }
}

fn consensus(
    state: &mut StateView<'_>,
    bundle: &ChangeConsensusResultBundle,
    next: &ViewEntry,
) -> Result<(), WriteError> {
    let nonce = next.nonce.to_be_bytes();
    let proof = Proof { trx_id: next.trx_id.clone(), bundle: bundle.clone() };
    state.put(layout::PROOFS, nonce, proof.encode())?;
    if let Some(req) = &bundle.req {
        state.put(layout::REQUESTS, req.req_id.as_bytes(), nonce)?;
    }
    if is_success(bundle) {
        state.put(layout::VIEWS, next.number.0.to_be_bytes(), next.encode())?;
    }
    Ok(())
}

fn user(
    state: &mut StateView<'_>,
    item: &UpdGroupUserItem,
    trx_id: &str,
) -> Result<(), WriteError> {
    let Some(Sender::Key(member)) = Sender::parse(&item.user_pubkey) else { return Ok(()) };
    let key = *member.as_bytes();
    if item.action == ActionType::Remove as i32 {
        return state.delete(layout::USERS, key);
    }
    let announced = state.get(layout::ANNOUNCED_USERS, &key);
    let announced = announced.and_then(|value| AnnounceItem::decode(&**value).ok());
    let user = UserItem {
        group_id: item.group_id.clone(),
        user_pubkey: item.user_pubkey.clone(),
        encrypt_pubkey: announced
            .and_then(|item| item.content)
            .map(|content| content.encrypt_pubkey)
            .unwrap_or_default(),
        proof_trx_id: trx_id.to_owned(),
        tx_cnt: 0,
        memo: item.memo.clone(),
    };
    state.put(layout::USERS, key, user.encode_to_vec())
}

fn app(state: &mut StateView<'_>, item: &AppConfigItem) -> Result<(), WriteError> {
    let key = item.name.as_bytes();
    if item.action == ActionType::Remove as i32 {
        state.delete(layout::APP, key)
    } else {
        state.put(layout::APP, key, item.encode_to_vec())
    }
}

/// All writes of the batch or, if a comparison fails, none: the trx is on the ledger all the same.
fn maps(state: &mut StateView<'_>, batch: &MapWriteBatch) -> Result<(), WriteError> {
    let mut own = WriteSet::new();
    for write in &batch.entries {
        let set = MapWriteOp::try_from(write.op) == Ok(MapWriteOp::CompareAndSet);
        if set && !compares(state, &own, write) {
            return Ok(());
        }
        if MapWriteOp::try_from(write.op) == Ok(MapWriteOp::Delete) {
            own.delete(&write.map, write.key.as_slice())?;
        } else {
            own.put(&write.map, write.key.as_slice(), write.value.as_slice())?;
        }
    }
    for (map, key, value) in own.iter() {
        match value {
            Some(value) => state.put(map, key, value.clone())?,
            None => state.delete(map, key)?,
        }
    }
    Ok(())
}

fn compares(state: &StateView<'_>, own: &WriteSet, write: &MapWrite) -> bool {
    let value: Option<&Value> = match own.get(&write.map, &write.key) {
        Some(written) => written,
        None => state.get(&write.map, &write.key),
    };
    value.map(|value| &**value) == write.expected.as_deref()
}
