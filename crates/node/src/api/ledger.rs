//! Trxs, blocks, and what proves them.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_ledger::block::BlockInfo;
use quorate_ledger::codec::Canonical;
use quorate_ledger::ids::{BlockId, TrxId};
use quorate_ledger::view::View;
use quorate_replica::api::{Answer as Found, Query, QueryError};
use serde_json::{Value, json};

use super::content::{to_json, trx_json, unexpected};
use super::{Answer, ApiError, Context};
use crate::group::{AskError, Group};
use crate::node::Hosted;
use crate::service::Live;

/// `GET /api/v1/trx/:gid/:trx_id`
pub async fn trx(
    State(ctx): State<Context>,
    Path((gid, trx_id)): Path<(String, String)>,
) -> Answer {
    let group = ctx.group(&gid)?;
    match group.query(Query::Trx(trx_id_of(&trx_id)?)).await {
        Ok(Found::Trx(trx, _)) => Ok(Json(trx_json(&trx)?)),
        Ok(other) => Err(unexpected(&other)),
        Err(AskError::Query(QueryError::NotFound(_))) => Err(no_trx()),
        Err(error) => Err(error.into()),
    }
}

fn no_trx() -> ApiError {
    ApiError::missing("Trx id not found")
}

fn trx_id_of(text: &str) -> Result<TrxId, ApiError> {
    TrxId::from_canonical(&text.to_ascii_lowercase()).ok_or_else(no_trx)
}

fn block_id_of(text: &str) -> Result<BlockId, ApiError> {
    text.parse().map(BlockId).map_err(|_| ApiError::invalid("block_id must be a number from 0"))
}

async fn find_block(group: &Group, id: BlockId) -> Result<Found, ApiError> {
    match group.query(Query::Block(id)).await {
        Err(AskError::Query(QueryError::NotFound(_))) => Err(ApiError::missing("Block not found")),
        other => Ok(other?),
    }
}

/// `GET /api/v1/block/:gid/:block_id`
pub async fn block(
    State(ctx): State<Context>,
    Path((gid, block_id)): Path<(String, String)>,
) -> Answer {
    let group = ctx.group(&gid)?;
    match find_block(&group, block_id_of(&block_id)?).await? {
        Found::GenesisBlock(block) => Ok(Json(to_json(&block)?)),
        Found::Block(block, certificate, view) => {
            let mut shown = to_json(&block.to_proto(&certificate, &view))?;
            // Beside what the reference shows: what is hashed, and who agreed.
            shown["Quorate"] = to_json(&BlockInfo::new(&block.header, &certificate))?;
            Ok(Json(shown))
        }
        other => Err(unexpected(&other)),
    }
}

fn encoded(value: &impl Canonical) -> String {
    STANDARD.encode(value.to_bytes())
}

/// `GET /api/v1/group/:gid/certified/:block_id`
pub async fn certified(
    State(ctx): State<Context>,
    Path((gid, block_id)): Path<(String, String)>,
) -> Answer {
    let group = ctx.group(&gid)?;
    match find_block(&group, block_id_of(&block_id)?).await? {
        Found::Block(block, certificate, _) => Ok(Json(json!({
            "block": encoded(&*block),
            "certificate": encoded(&*certificate),
        }))),
        Found::GenesisBlock(_) => {
            Err(ApiError::invalid("block 0 is the genesis block: its seed proves it"))
        }
        other => Err(unexpected(&other)),
    }
}

fn view_json(view: &View) -> Value {
    let producers: Vec<Value> = view
        .producers
        .iter()
        .map(|producer| {
            json!({
                "member": producer.member,
                "view_key": hex::encode(producer.view_key.0),
            })
        })
        .collect();
    json!({
        "number": view.number,
        "protocol": view.protocol.name(),
        "producers": producers,
        "key_material": STANDARD.encode(&view.key_material),
        "interval_ms": view.interval_ms,
        "start_epoch": view.start_epoch,
        "parent_block": view.parent.0,
        "parent_hash": view.parent.1,
        "req_id": view.req_id,
        "nonce": view.nonce,
        "proof_trx_id": view.proof_trx_id,
    })
}

/// `GET /api/v1/group/:gid/views`
pub async fn views(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    let current = match group.query(Query::Consensus).await? {
        Found::Consensus(info) => info.view,
        other => return Err(unexpected(&other)),
    };
    match group.query(Query::ViewChain).await? {
        Found::ViewChain(chain) => Ok(Json(json!({
            "encoded": encoded(&*chain),
            "count": chain.links.len() + 1,
            "current": view_json(&current),
        }))),
        other => Err(unexpected(&other)),
    }
}

/// `GET /api/v1/group/:gid/receipt/:trx_id`
pub async fn receipt(
    State(ctx): State<Context>,
    Path((gid, trx_id)): Path<(String, String)>,
) -> Answer {
    let group = ctx.group(&gid)?;
    match group.query(Query::Receipt(trx_id_of(&trx_id)?)).await {
        Ok(Found::Receipt(receipt)) => {
            Ok(Json(json!({ "encoded": encoded(&*receipt), "receipt": to_json(&receipt)? })))
        }
        Ok(other) => Err(unexpected(&other)),
        Err(AskError::Query(QueryError::NotFound(_))) => Err(no_trx()),
        Err(error) => Err(error.into()),
    }
}

/// `GET /api/v1/group/:gid/genesis`
pub async fn genesis(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    match group.query(Query::Genesis).await? {
        Found::Genesis(documents) => Ok(Json(json!({
            "encoded": encoded(&*documents),
            "genesis_block": to_json(&documents.genesis.to_proto())?,
            "announce": to_json(&documents.announce)?,
            "proof": to_json(&documents.bundle)?,
        }))),
        other => Err(unexpected(&other)),
    }
}

/// `GET /api/v1/group/:gid/status`
pub async fn status(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.hosted(&gid)?;
    let peers = ctx.node.inner().network.group_peers(group.id()).len();
    let mut shown = match &group {
        Hosted::Group(group) => {
            let live = group.live();
            let status = &live.status;
            json!({
                "head": status.head,
                "head_hash": status.head_hash,
                "epoch": status.epoch,
                "view": status.view,
                "producing": status.producing,
                "syncing": status.syncing,
                "ready": status.ready,
                "last_update": status.last_update,
                "pool": status.pool,
                "stalled": live.stalled,
            })
        }
        Hosted::Service(service) => service_status(&service.live()),
    };
    shown["group_id"] = json!(group.id());
    shown["peers"] = json!(peers);
    shown["owner"] = json!(group.is_owner());
    Ok(Json(shown))
}

/// Where a member of a `cft` group stands. The head is the last committed transaction: always a
/// signature.
fn service_status(live: &Live) -> Value {
    let status = &live.status;
    json!({
        "head": status.committed.seqno,
        "head_hash": null,
        "view": status.view,
        "committed_transaction_id": status.committed.to_string(),
        "last_transaction_id": status.last.to_string(),
        "node_id": status.node_id.to_string(),
        "leader": status.leader.map(|id| id.to_string()),
        "role": live.role(),
        "producing": live.leads(),
        "syncing": status.joining,
        "ready": !status.joining && status.stopped.is_none(),
        "last_update": live.updated_ns,
        "pool": 0,
        "stalled": live.stalled,
        "stopped": status.stopped,
    })
}
