//! Posts.

use axum::Json;
use axum::extract::{Path, State};
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::Trx;
use quorate_ledger::trx::TrxType;
use quorate_replica::api::{Answer as Found, Command, Query, Reply};
use serde_json::{Value, json};

use super::input::{Input, Params};
use super::{Answer, ApiError, Context};

/// Largest posted object, as JSON text.
const MAX_POST: usize = 300 * 1024;
/// Trxs in an answer, unless asked for another number.
const DEFAULT_NUM: usize = 20;

/// `POST /api/v1/group/:gid/content`
pub async fn post(State(ctx): State<Context>, Path(gid): Path<String>, input: Input) -> Answer {
    let group = ctx.group(&gid)?;
    let data = input.object("data")?;
    let payload = serde_json::to_vec(data)
        .map_err(|error| ApiError::body(format!("data cannot be written: {error}")))?;
    // The encrypted form is 28 bytes longer and has the same limit.
    if payload.len() + quorate_crypto::cipher::OVERHEAD > MAX_POST {
        return Err(ApiError::invalid("content size over 200Kb"));
    }
    let command = Command::Submit { kind: TrxType::Post, payload };
    accepted(group.command(command).await?)
}

/// The answer to a trx that will be ordered.
pub fn accepted(reply: Reply) -> Answer {
    match reply {
        Reply::Accepted { trx_id } => Ok(Json(json!({ "trx_id": trx_id }))),
        other => Err(unexpected(&other)),
    }
}

/// A reply or answer of another kind than was asked for: our own mistake.
pub fn unexpected(what: &impl std::fmt::Debug) -> ApiError {
    ApiError::internal(format!("the group answered something else: {what:?}"))
}

/// Reads the parameters of a content query.
pub fn query(params: &Params) -> Result<Query, ApiError> {
    let start = match params.get("start_trx") {
        None => None,
        Some(text) => {
            Some(TrxId::from_canonical(text).ok_or_else(|| ApiError::missing("Trx id not found"))?)
        }
    };
    Ok(Query::Content {
        num: params.number("num", DEFAULT_NUM)?,
        start,
        reverse: params.flag("reverse", false)?,
        include_start: params.flag("include_start_trx", false)?,
        senders: params.all("senders"),
    })
}

/// `GET /app/api/v1/group/:gid/content`
pub async fn list(State(ctx): State<Context>, Path(gid): Path<String>, params: Params) -> Answer {
    let group = ctx.group(&gid)?;
    match group.query(query(&params)?).await? {
        Found::Content(list) => {
            let plain = |(trx, data): (Trx, Vec<u8>)| trx_json(&Trx { data, ..trx });
            let list: Result<Vec<Value>, ApiError> = list.into_iter().map(plain).collect();
            Ok(Json(Value::Array(list?)))
        }
        other => Err(unexpected(&other)),
    }
}

/// A trx as the API writes it.
pub fn trx_json(trx: &Trx) -> Result<Value, ApiError> {
    to_json(trx)
}

/// A message as the API writes it.
pub fn to_json(message: &impl serde::Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(message).map_err(|error| ApiError::internal(error.to_string()))
}
