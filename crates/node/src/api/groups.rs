//! Groups: create, join, leave, clear, list, seed.

use axum::Json;
use axum::extract::{Path, State};
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::view::Protocol;
use serde_json::{Value, json};

use super::input::{Input, Params};
use super::{Answer, ApiError, Context};
use crate::node::{Hosted, NewGroup};

/// `POST /api/v1/group`
pub async fn create(State(ctx): State<Context>, input: Input) -> Answer {
    let name = input.sized_text("group_name", 2, 100)?;
    let consensus = input.one_of("consensus_type", &["pos", "poa", "cft"])?;
    let encryption = input.one_of("encryption_type", &["public", "private"])?;
    let app_key = input.sized_text("app_key", 4, 20)?;
    let with_url = input.flag("include_chain_url", true)?;
    if name.contains('%') || app_key.contains('%') {
        // The reference's reader unescapes a seed twice.
        return Err(ApiError::invalid("group_name and app_key must not contain %"));
    }
    let consensus = Protocol::from_name(&consensus)
        .ok_or_else(|| ApiError::invalid("Other types of groups are not supported yet"))?;
    let encryption = Encryption::from_name(&encryption)
        .ok_or_else(|| ApiError::invalid("encryption_type must be one of [public private]"))?;
    let new = NewGroup { name, app_key, encryption, consensus };
    let group = ctx.node.create_group(new).await?;
    let seed = ctx.node.seed(&group, with_url)?;
    Ok(Json(json!({ "seed": seed, "group_id": group.id() })))
}

/// `POST /api/v2/group/join`
pub async fn join(State(ctx): State<Context>, input: Input) -> Answer {
    let seed = input.required_text("seed")?;
    let group = ctx.node.join_group(&seed).await?;
    let descriptor = group.descriptor();
    let keys = group.keys();
    let user = keys.member.public();
    let encrypt = keys.encrypt.public().to_string();
    let signature = keys.member.sign(&descriptor.join_digest(&user, &encrypt));
    Ok(Json(json!({
        "group_id": descriptor.id,
        "group_name": descriptor.name,
        "owner_pubkey": descriptor.owner,
        "user_pubkey": user,
        "user_encryptpubkey": encrypt,
        "consensus_type": descriptor.consensus.name(),
        "encryption_type": descriptor.encryption.name(),
        "cipher_key": descriptor.cipher_key.to_string(),
        "app_key": descriptor.app_key,
        "signature": hex::encode(signature.0),
    })))
}

/// `POST /api/v1/group/leave`
pub async fn leave(State(ctx): State<Context>, input: Input) -> Answer {
    let id = input.group_id()?;
    ctx.node.leave_group(id).await?;
    Ok(Json(json!({ "group_id": id })))
}

/// `POST /api/v1/group/clear`
pub async fn clear(State(ctx): State<Context>, input: Input) -> Answer {
    let id = input.group_id()?;
    ctx.node.clear_group(id).await?;
    Ok(Json(json!({ "group_id": id })))
}

/// What the API shows of a group.
fn info(ctx: &Context, group: &Hosted) -> Value {
    let descriptor = group.descriptor();
    let user = group.keys().member.public();
    let (head, last_update, syncing) = match group {
        Hosted::Group(group) => {
            let status = &group.live().status;
            (status.head.0, status.last_update, status.syncing)
        }
        Hosted::Service(service) => {
            let live = service.live();
            (live.committed().seqno, live.updated_ns, live.status.joining)
        }
    };
    let syncer = if syncing { "SYNCING" } else { "IDLE" };
    let peers = ctx.node.inner().network.group_peers(group.id());
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    json!({
        "group_id": descriptor.id,
        "group_name": descriptor.name,
        "owner_pubkey": descriptor.owner,
        "user_pubkey": user,
        "user_eth_addr": user.eth_address(),
        "consensus_type": descriptor.consensus.name().to_uppercase(),
        "encryption_type": descriptor.encryption.name().to_uppercase(),
        "cipher_key": descriptor.cipher_key.to_string(),
        "app_key": descriptor.app_key,
        "currt_top_block": head,
        "last_updated": last_update,
        "rex_syncer_status": syncer,
        "rex_Syncer_result": null,
        "peers": peers,
    })
}

/// `GET /api/v1/groups`
pub async fn list(State(ctx): State<Context>) -> Answer {
    let mut groups = ctx.node.groups();
    let key = |descriptor: &GroupDescriptor| (descriptor.name.clone(), descriptor.id);
    groups.sort_by_key(|group| key(group.descriptor()));
    let list: Vec<Value> = groups.iter().map(|group| info(&ctx, group)).collect();
    Ok(Json(json!({ "groups": list })))
}

/// `GET /api/v1/group/:gid`
pub async fn one(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    let group = ctx.hosted(&gid)?;
    Ok(Json(info(&ctx, &group)))
}

/// `GET /api/v1/group/:gid/seed`
pub async fn seed(State(ctx): State<Context>, Path(gid): Path<String>, params: Params) -> Answer {
    let group = ctx.hosted(&gid)?;
    let with_url = params.flag("include_chain_url", true)?;
    Ok(Json(json!({ "seed": ctx.node.seed(&group, with_url)? })))
}

/// `POST /api/v1/group/:gid/startsync`
pub async fn start_sync(State(ctx): State<Context>, Path(gid): Path<String>) -> Answer {
    ctx.hosted(&gid)?;
    Err(ApiError::invalid("Deprecated"))
}
