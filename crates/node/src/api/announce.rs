//! Announcements of members.

use axum::Json;
use axum::extract::{Path, State};
use quorate_ledger::proto::{ActionType, AnnounceItem, AnnounceType};
use quorate_replica::api::{Answer as Found, Command, Query, Reply};
use serde_json::{Value, json};

use super::content::{to_json, unexpected};
use super::input::Input;
use super::{Answer, ApiError, Context};
use crate::group::Group;

/// `POST /api/v1/group/announce`
pub async fn announce(State(ctx): State<Context>, input: Input) -> Answer {
    let id = input.group_id()?;
    let action = input.one_of("action", &["add", "remove"])?;
    let kind = input.one_of("type", &["user", "producer"])?;
    let memo = input.text("memo")?;
    let group = ctx.group_of(id)?;
    let action = if action == "add" { ActionType::Add } else { ActionType::Remove };
    let kind = if kind == "user" { AnnounceType::AsUser } else { AnnounceType::AsProducer };
    match group.command(Command::Announce { action, kind, memo }).await? {
        Reply::Announced { item, trx_id } => {
            let content = item.content.clone().unwrap_or_default();
            Ok(Json(json!({
                "group_id": id,
                "sign_pubkey": content.sign_pubkey,
                "encrypt_pubkey": content.encrypt_pubkey,
                "type": kind.as_str_name(),
                "action": action.as_str_name(),
                "sign": hex::encode(&item.signature),
                "trx_id": trx_id,
            })))
        }
        other => Err(unexpected(&other)),
    }
}

/// Announced members of a kind.
pub async fn announced(group: &Group, kind: AnnounceType) -> Result<Vec<AnnounceItem>, ApiError> {
    match group.query(Query::Announced(kind)).await? {
        Found::Announced(items) => Ok(items),
        other => Err(unexpected(&other)),
    }
}

/// Key of the member an item announces.
pub fn key_of(item: &AnnounceItem) -> &str {
    item.content.as_ref().map_or("", |content| content.sign_pubkey.as_str())
}

async fn list(ctx: &Context, gid: &str, kind: AnnounceType, key: Option<&str>) -> Answer {
    let group = ctx.group(gid)?;
    let items = announced(&group, kind).await?;
    let wanted = items.iter().filter(|item| key.is_none_or(|key| key_of(item) == key));
    let list: Result<Vec<Value>, ApiError> = wanted.map(to_json).collect();
    let list = list?;
    if let Some(key) = key
        && list.is_empty()
    {
        return Err(ApiError::missing(format!("{key} is not announced, not found")));
    }
    let name = if kind == AnnounceType::AsProducer { "producers" } else { "users" };
    Ok(Json(json!({ name: list })))
}

/// `GET /api/v1/group/:gid/announced/producers`
pub async fn producers(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    list(&ctx, &gid, AnnounceType::AsProducer, None).await
}

/// `GET /api/v1/group/:gid/announced/users`
pub async fn users(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    list(&ctx, &gid, AnnounceType::AsUser, None).await
}

/// `GET /api/v1/group/:gid/announced/producer/:pubkey`
pub async fn producer(
    State(ctx): State<Context>,
    Path((gid, key)): Path<(String, String)>,
) -> Answer {
    list(&ctx, &gid, AnnounceType::AsProducer, Some(&key)).await
}

/// `GET /api/v1/group/:gid/announced/user/:pubkey`
pub async fn user(State(ctx): State<Context>, Path((gid, key)): Path<(String, String)>) -> Answer {
    list(&ctx, &gid, AnnounceType::AsUser, Some(&key)).await
}
