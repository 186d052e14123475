//! The consensus of a group: who orders, and how that came to be.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::change::ChangeResult;
use quorate_ledger::proto::{AnnounceType, ChangeConsensusResult, ChangeConsensusResultBundle};
use quorate_replica::api::{Answer as Found, Command, Query, Reply};
use serde_json::{Value, json};

use super::announce::{announced, key_of};
use super::content::{to_json, unexpected};
use super::input::Input;
use super::{Answer, ApiError, Context};
use crate::group::Group;

/// Shortest agreement round, in milliseconds.
const MIN_AGREEMENT_TICK: u64 = 1000;
/// Fewest agreement rounds.
const MIN_AGREEMENT_COUNT: u64 = 10;
/// Shortest epoch interval, in milliseconds.
const MIN_EPOCH_TICK: u64 = 500;

/// `POST /api/v1/group/updconsensus`. The checks and their order are the reference's.
pub async fn update(State(ctx): State<Context>, input: Input) -> Answer {
    let id = input.group_id()?;
    let start_from_epoch = input.required_number("start_from_epoch")?;
    let trx_epoch_tick = input.required_number("trx_epoch_tick")?;
    let agreement_tick_length = input.required_number("agreement_tick_length")?;
    let agreement_tick_count = input.required_number("agreement_tick_count")?;
    let names = input.required_texts("producer_pubkey")?;
    let memo = input.text("memo")?;
    let group = ctx.group_of(id)?;
    if !group.is_owner() {
        return Err(ApiError::not_owner());
    }
    let producers = producers(&group, &names).await?;
    if agreement_tick_length < MIN_AGREEMENT_TICK {
        let text = "agreement tick length should be greater than 1000(ms)";
        return Err(ApiError::invalid(text));
    }
    if agreement_tick_count < MIN_AGREEMENT_COUNT {
        return Err(ApiError::invalid("agreement tick count should be greater than 10"));
    }
    if trx_epoch_tick < MIN_EPOCH_TICK {
        let text = "trx epoch tick length should be greater than 500(ms)";
        return Err(ApiError::invalid(text));
    }
    let command = Command::ChangeConsensus {
        producers,
        start_from_epoch,
        trx_epoch_tick,
        agreement_tick_length,
        agreement_tick_count,
    };
    match group.command(command).await? {
        Reply::ChangeStarted { trx_id, .. } => Ok(Json(json!({
            "group_id": id,
            "failable_producers": (names.len() - 1) / 3,
            "Producers": names,
            "start_from_epoch": start_from_epoch,
            "trx_epoch_tick": trx_epoch_tick,
            "trx_id": trx_id,
            "memo": memo,
        }))),
        other => Err(unexpected(&other)),
    }
}

/// The listed producers: some, none twice, all announced (the owner need not be).
async fn producers(group: &Group, names: &[String]) -> Result<Vec<MemberPublicKey>, ApiError> {
    if names.is_empty() {
        return Err(ApiError::invalid("producer pubkey list empty"));
    }
    // Two spellings of one key are one producer.
    let keys: Vec<Option<MemberPublicKey>> = names.iter().map(|name| name.parse().ok()).collect();
    let mut seen = BTreeSet::new();
    let repeated = names
        .iter()
        .zip(&keys)
        .any(|(name, key)| !seen.insert(key.map_or_else(|| name.clone(), |key| key.to_string())));
    if repeated {
        return Err(ApiError::invalid("producer pubkey should be unique"));
    }
    let items = announced(group, AnnounceType::AsProducer).await?;
    let known: BTreeSet<&str> = items.iter().map(key_of).collect();
    let owner = group.descriptor().owner;
    names
        .iter()
        .zip(keys)
        .map(|(name, key)| {
            key.filter(|key| *key == owner || known.contains(key.to_string().as_str()))
                .ok_or_else(|| ApiError::invalid(format!("producer <{name}> is not announced")))
        })
        .collect()
}

/// `GET /api/v1/group/:gid/consensus`
pub async fn info(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    match group.query(Query::Consensus).await? {
        Found::Consensus(info) => Ok(Json(json!({
            "producers": to_json(&info.producers)?,
            "trx_epoch_interval": info.view.interval_ms,
            "proof_req_id": info.view.req_id,
            "curr_epoch": info.status.epoch,
            "curr_block_id": info.status.head,
            "last_update": info.status.last_update,
        }))),
        other => Err(unexpected(&other)),
    }
}

async fn proofs(ctx: &Context, gid: &str) -> Result<Vec<ChangeConsensusResultBundle>, ApiError> {
    let group = ctx.group(gid)?;
    match group.query(Query::Proofs).await? {
        Found::Proofs(proofs) => Ok(proofs),
        other => Err(unexpected(&other)),
    }
}

fn result_of(proof: &ChangeConsensusResultBundle) -> &'static str {
    let result = ChangeConsensusResult::try_from(proof.result);
    result.map_or("FAILED", |result| ChangeResult::from(result).as_str())
}

/// A proof as `last` and `history` show it.
fn proof_json(proof: &ChangeConsensusResultBundle) -> Result<Value, ApiError> {
    Ok(json!({
        "result": result_of(proof),
        "req": to_json(&proof.req)?,
        "repononsed_producer": proof.responsed_producers,
    }))
}

/// `GET /api/v1/group/:gid/consensus/proof/last`
pub async fn last(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let proofs = proofs(&ctx, &gid).await?;
    let last = proofs.last().ok_or_else(|| ApiError::missing("proof not found"))?;
    Ok(Json(proof_json(last)?))
}

/// `GET /api/v1/group/:gid/consensus/proof/history`
pub async fn history(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let proofs = proofs(&ctx, &gid).await?;
    let list: Result<Vec<Value>, ApiError> = proofs.iter().map(proof_json).collect();
    Ok(Json(json!({ "proofs": list? })))
}

/// `GET /api/v1/group/:gid/consensus/proof/:req_id`
pub async fn by_request(
    State(ctx): State<Context>,
    Path((gid, req_id)): Path<(String, String)>,
) -> Answer {
    let proofs = proofs(&ctx, &gid).await?;
    let is_it = |proof: &&ChangeConsensusResultBundle| {
        proof.req.as_ref().is_some_and(|req| req.req_id == req_id)
    };
    let proof = proofs.iter().find(is_it).ok_or_else(|| ApiError::missing("req_id not found"))?;
    let mut shown = proof_json(proof)?;
    shown["resps"] = to_json(&proof.resps)?;
    shown["responsed_producer"] = json!(proof.responsed_producers);
    Ok(Json(shown))
}
