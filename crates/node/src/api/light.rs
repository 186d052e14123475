//! The light-node API: for clients that sign their trxs themselves.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::hash::Hasher;
use quorate_ledger::proto::{AnnounceType, Trx};
use quorate_ledger::trx::TrxType;
use quorate_replica::api::{Answer as Found, Command};
use serde_json::{Value, json};

use super::announce::announced;
use super::content::{accepted, query, trx_json, unexpected};
use super::input::{Input, Params};
use super::{Answer, ApiError, Context};

/// `POST /api/v1/node/:gid/trx`
pub async fn send(State(ctx): State<Context>, Path(gid): Path<String>, input: Input) -> Answer {
    let group = ctx.group(&gid)?;
    let bytes = |name: &str| -> Result<Vec<u8>, ApiError> {
        let text = input.required_text(name)?;
        STANDARD.decode(text).map_err(|_| ApiError::invalid(format!("{name} is not base64")))
    };
    let trx_id = input.required_text("trx_id")?;
    let data = bytes("data")?;
    let time = input.required_text("timestamp")?;
    let time_stamp: i64 =
        time.parse().map_err(|_| ApiError::invalid("timestamp is not a number of nanoseconds"))?;
    let trx = Trx {
        trx_id,
        r#type: TrxType::Post as i32,
        group_id: group.id().to_string(),
        data,
        time_stamp,
        version: input.required_text("version")?,
        sender_pubkey: input.required_text("sender_pubkey")?,
        sender_sign: bytes("sender_sign")?,
        ..Trx::default()
    };
    accepted(group.command(Command::SubmitSigned(Box::new(trx))).await?)
}

/// `GET /api/v1/node/:gid/groupctn`
pub async fn content(
    State(ctx): State<Context>,
    Path(gid): Path<String>,
    params: Params,
) -> Answer {
    let group = ctx.group(&gid)?;
    match group.query(query(&params)?).await? {
        Found::Content(list) => {
            let list: Result<Vec<Value>, ApiError> =
                list.iter().map(|(trx, _)| trx_json(trx)).collect();
            Ok(Json(Value::Array(list?)))
        }
        other => Err(unexpected(&other)),
    }
}

/// `GET /api/v1/node/:gid/info`
pub async fn info(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    let live = group.live();
    let key = &group.keys().member;
    let (epoch, update) = (live.status.epoch.0, live.status.last_update);
    let digest = Hasher::new("quorate.group-info.v1")
        .field(group.id().0.as_bytes())
        .u64(epoch)
        .field(&update.to_be_bytes())
        .field(key.public().as_bytes())
        .finish();
    Ok(Json(json!({
        "GroupId": group.id(),
        "Owner": group.descriptor().owner,
        "Epoch": epoch,
        "LatestUpdate": update,
        "Provider": key.public(),
        "Singature": hex::encode(key.sign(&digest).0),
    })))
}

/// `GET /api/v1/node/:gid/encryptpubkeys`
pub async fn encrypt_keys(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    let items = announced(&group, AnnounceType::AsUser).await?;
    let keys: Vec<&str> = items
        .iter()
        .filter_map(|item| item.content.as_ref())
        .map(|content| content.encrypt_pubkey.as_str())
        .collect();
    Ok(Json(json!({ "keys": keys })))
}
