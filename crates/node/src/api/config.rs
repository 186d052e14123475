//! Permissions and application settings, both the owner's.

use axum::Json;
use axum::extract::{Path, State};
use prost::Message as _;
use quorate_ledger::proto::{
    ActionType, AppConfigItem, AppConfigType, ChainConfigItem, ChainConfigType,
    ChainSendTrxRuleListItem, SetTrxAuthModeItem, TrxAuthMode,
};
use quorate_ledger::trx::{Sender, TrxType};
use quorate_replica::api::{Answer as Found, Command, Query, Reply};
use quorate_replica::executor::{
    ChainConfig, ListEntry, configurable, sign_app_config, sign_chain_config,
};
use serde_json::{Value, json};

use super::content::unexpected;
use super::input::Input;
use super::{Answer, ApiError, Context};
use crate::group::Group;
use crate::node::now_ns;

fn trx_type(text: &str) -> Result<TrxType, ApiError> {
    let kind = TrxType::from_str_name(&text.to_ascii_uppercase());
    let kind = kind.filter(|kind| configurable(*kind as i32));
    kind.ok_or_else(|| ApiError::invalid("this trx type can not be configured"))
}

fn list_rule(input: &Input) -> Result<Vec<u8>, ApiError> {
    let action = match input.one_of("action", &["add", "remove"])?.as_str() {
        "add" => ActionType::Add,
        _ => ActionType::Remove,
    };
    let pubkey = input.required_text("pubkey")?;
    if Sender::parse(&pubkey).is_none() {
        return Err(ApiError::invalid("pubkey is neither a key nor an Ethereum address"));
    }
    let types = input.required_texts("trx_type")?;
    if types.is_empty() {
        return Err(ApiError::invalid("trx_type is a required field"));
    }
    let types: Result<Vec<i32>, ApiError> =
        types.iter().map(|text| Ok(trx_type(text)? as i32)).collect();
    let item = ChainSendTrxRuleListItem { action: action as i32, pubkey, r#type: types? };
    Ok(item.encode_to_vec())
}

fn mode_rule(input: &Input) -> Result<Vec<u8>, ApiError> {
    let kind = trx_type(&input.required_text("trx_type")?)?;
    let words = ["follow_alw_list", "follow_dny_list"];
    let mode = match input.one_of("trx_auth_mode", &words)?.as_str() {
        "follow_alw_list" => TrxAuthMode::FollowAlwList,
        _ => TrxAuthMode::FollowDnyList,
    };
    Ok(SetTrxAuthModeItem { r#type: kind as i32, mode: mode as i32 }.encode_to_vec())
}

/// `POST /api/v1/group/chainconfig`
pub async fn chain(State(ctx): State<Context>, input: Input) -> Answer {
    let id = input.group_id()?;
    let words = ["set_trx_auth_mode", "upd_alw_list", "upd_dny_list"];
    let kind = input.one_of("type", &words)?;
    let config = input.nested("config")?;
    let memo = input.text("memo")?;
    let group = ctx.group_of(id)?;
    if !group.is_owner() {
        return Err(ApiError::not_owner());
    }
    let (kind, data) = match kind.as_str() {
        "set_trx_auth_mode" => (ChainConfigType::SetTrxAuthMode, mode_rule(&config)?),
        "upd_alw_list" => (ChainConfigType::UpdAlwList, list_rule(&config)?),
        _ => (ChainConfigType::UpdDnyList, list_rule(&config)?),
    };
    let mut item = ChainConfigItem {
        group_id: id.to_string(),
        r#type: kind as i32,
        data,
        time_stamp: now_ns(),
        memo,
        ..ChainConfigItem::default()
    };
    sign_chain_config(&group.keys().member, &mut item);
    let trx_id = submit(&group, TrxType::ChainConfig, item.encode_to_vec()).await?;
    Ok(Json(json!({
        "group_id": id,
        "owner_pubkey": item.owner_pubkey,
        "signature": item.owner_signature,
        "trx_id": trx_id,
    })))
}

async fn submit(group: &Group, kind: TrxType, payload: Vec<u8>) -> Result<String, ApiError> {
    match group.command(Command::Submit { kind, payload }).await? {
        Reply::Accepted { trx_id } => Ok(trx_id.to_string()),
        other => Err(unexpected(&other)),
    }
}

async fn permissions(group: &Group) -> Result<Box<ChainConfig>, ApiError> {
    match group.query(Query::ChainConfig).await? {
        Found::ChainConfig(config) => Ok(config),
        other => Err(unexpected(&other)),
    }
}

/// `GET /api/v1/group/:gid/trx/auth/:trx_type`
pub async fn auth_mode(
    State(ctx): State<Context>,
    Path((gid, kind)): Path<(String, String)>,
) -> Answer {
    let group = ctx.group(&gid)?;
    let kind = trx_type(&kind)?;
    let mode = permissions(&group).await?.mode(kind);
    Ok(Json(json!({ "TrxType": kind.as_str_name(), "AuthType": mode.as_str_name() })))
}

fn list_json(list: &[ListEntry]) -> Value {
    if list.is_empty() {
        return Value::Null;
    }
    let entry = |entry: &ListEntry| {
        let types: Vec<&str> = entry
            .rule
            .r#type
            .iter()
            .filter_map(|kind| TrxType::try_from(*kind).ok())
            .map(TrxType::as_str_name)
            .collect();
        json!({
            "Pubkey": entry.rule.pubkey,
            "TrxType": types,
            "GroupOwnerPubkey": entry.item.owner_pubkey,
            "GroupOwnerSign": entry.item.owner_signature,
            "TimeStamp": entry.item.time_stamp,
            "Memo": entry.item.memo,
        })
    };
    Value::Array(list.iter().map(entry).collect())
}

/// `GET /api/v1/group/:gid/trx/allowlist`
pub async fn allow_list(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    Ok(Json(list_json(&permissions(&group).await?.allow)))
}

/// `GET /api/v1/group/:gid/trx/denylist`
pub async fn deny_list(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    Ok(Json(list_json(&permissions(&group).await?.deny)))
}

/// Whether a text is a value of the type, as Go reads it.
fn fits(kind: AppConfigType, value: &str) -> bool {
    let words = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    match kind {
        AppConfigType::Int => value.parse::<i64>().is_ok(),
        AppConfigType::Bool => words.contains(&value),
        AppConfigType::String => true,
    }
}

/// `POST /api/v1/group/appconfig`
pub async fn app(State(ctx): State<Context>, input: Input) -> Answer {
    let id = input.group_id()?;
    // The reference wants `del`, its client library sends `remove`.
    let action = match input.one_of("action", &["add", "del", "remove"])?.as_str() {
        "add" => ActionType::Add,
        _ => ActionType::Remove,
    };
    let name = input.required_text("name")?;
    let kind = match input.one_of("type", &["int", "bool", "string"])?.as_str() {
        "int" => AppConfigType::Int,
        "bool" => AppConfigType::Bool,
        _ => AppConfigType::String,
    };
    let value = match action {
        ActionType::Add => input.required_text("value")?,
        ActionType::Remove => input.text("value")?,
    };
    let memo = input.text("memo")?;
    let group = ctx.group_of(id)?;
    if !group.is_owner() {
        return Err(ApiError::not_owner());
    }
    if action == ActionType::Add && !fits(kind, &value) {
        return Err(ApiError::invalid("type/value mismatch"));
    }
    let mut item = AppConfigItem {
        group_id: id.to_string(),
        action: action as i32,
        name,
        r#type: kind as i32,
        value,
        memo,
        time_stamp: now_ns(),
        ..AppConfigItem::default()
    };
    if !sign_app_config(&group.keys().member, &mut item) {
        return Err(unexpected(&"an unknown action or type"));
    }
    let trx_id = submit(&group, TrxType::AppConfig, item.encode_to_vec()).await?;
    Ok(Json(json!({ "group_id": id, "signature": item.owner_sign, "trx_id": trx_id })))
}

async fn settings(group: &Group) -> Result<Vec<AppConfigItem>, ApiError> {
    match group.query(Query::AppConfig).await? {
        Found::AppConfig(items) => Ok(items),
        other => Err(unexpected(&other)),
    }
}

fn type_name(item: &AppConfigItem) -> &'static str {
    AppConfigType::try_from(item.r#type).map_or("STRING", AppConfigType::as_str_name)
}

/// `GET /api/v1/group/:gid/appconfig/keylist`
pub async fn app_keys(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.group(&gid)?;
    let items = settings(&group).await?;
    let entry = |item: &AppConfigItem| json!({ "Name": item.name, "Type": type_name(item) });
    Ok(Json(Value::Array(items.iter().map(entry).collect())))
}

/// `GET /api/v1/group/:gid/appconfig/:key`
pub async fn app_value(
    State(ctx): State<Context>,
    Path((gid, key)): Path<(String, String)>,
) -> Answer {
    let group = ctx.group(&gid)?;
    let items = settings(&group).await?;
    let item = items
        .iter()
        .find(|item| item.name == key)
        .ok_or_else(|| ApiError::missing(format!("app config key {key} not found")))?;
    Ok(Json(json!({
        "Name": item.name,
        "Type": type_name(item),
        "Value": item.value,
        "OwnerPubkey": item.owner_pubkey,
        "OwnerSign": item.owner_sign,
        "Memo": item.memo,
        "TimeStamp": item.time_stamp,
    })))
}
