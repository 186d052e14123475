//! The node itself: its place in the network, metrics, tools.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libp2p::Multiaddr;
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::seed::Seed;
use serde_json::{Value, json};

use super::content::to_json;
use super::input::{Input, Raw, texts};
use super::{Answer, ApiError, Context};
use crate::node::NodeError;
use crate::telemetry;

/// Version of the reference that this API follows.
const REFERENCE_VERSION: &str = "2.0.0";
/// Most addresses dialed in one request.
const MAX_ADDRESSES: usize = 64;
/// Longest wait for one address.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// `GET /api/v1/node`
pub async fn node(State(ctx): State<Context>) -> Answer {
    let inner = ctx.node.inner();
    let mut peers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (peer, info) in inner.network.peers() {
        for protocol in info.protocols {
            peers.entry(protocol).or_default().insert(peer.to_string());
        }
    }
    Ok(Json(json!({
        "node_id": ctx.node.peer_id(),
        "node_publickey": STANDARD.encode(inner.network.public_key()),
        "node_status": "NODE_ONLINE",
        "node_type": inner.kind.name(),
        "node_version": format!("{REFERENCE_VERSION} - quorate {}", env!("CARGO_PKG_VERSION")),
        "peers": peers,
        "listen_addrs": ctx.node.listen_addrs(),
        "uptime_seconds": inner.started.elapsed().as_secs(),
    })))
}

/// `GET /api/v1/network`
pub async fn network(State(ctx): State<Context>) -> Answer {
    let inner = ctx.node.inner();
    let groups: Vec<Value> = ctx
        .node
        .groups()
        .iter()
        .map(|group| {
            let peers = inner.network.group_peers(group.id());
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            json!({
                "GroupId": group.id(),
                "GroupName": group.descriptor().name,
                "Peers": peers,
            })
        })
        .collect();
    let public = !inner.config.network.external.is_empty();
    Ok(Json(json!({
        "peer_id": ctx.node.peer_id(),
        "eth_addr": inner.identity.public().eth_address(),
        "nat_type": if public { "Public" } else { "Unknown" },
        "nat_enabled": false,
        "addrs": ctx.node.listen_addrs(),
        "groups": groups,
        "node": { "network": inner.config.network.name, "peers": inner.network.peers().len() },
    })))
}

/// `POST /api/v1/network/peers`
pub async fn add_peers(State(ctx): State<Context>, Raw(body): Raw) -> Answer {
    let list = texts(&body).ok_or_else(|| ApiError::body("expected a JSON array of multiaddrs"))?;
    if list.len() > MAX_ADDRESSES {
        return Err(ApiError::invalid(format!("at most {MAX_ADDRESSES} addresses at a time")));
    }
    let network = &ctx.node.inner().network;
    let dials = list.iter().map(|text| async move {
        let address: Multiaddr = text.parse().map_err(|error| format!("{error}"))?;
        match tokio::time::timeout(DIAL_TIMEOUT, network.dial(address)).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("no answer within 10 s".to_owned()),
        }
    });
    let results = futures::future::join_all(dials).await;
    let errors: BTreeMap<&String, String> = list
        .iter()
        .zip(&results)
        .filter_map(|(address, result)| Some((address, result.clone().err()?)))
        .collect();
    Ok(Json(json!({
        "succ_count": results.len() - errors.len(),
        "err_count": errors.len(),
        "error": errors,
    })))
}

/// `GET /metrics`
pub async fn metrics() -> Response {
    match telemetry::metrics() {
        Some(metrics) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (kind, metrics.render()).into_response()
        }
        None => ApiError::internal("metrics are kept by somebody else").into_response(),
    }
}

/// `GET /openapi.json`
pub async fn openapi(State(ctx): State<Context>) -> Json<Value> {
    Json(Value::clone(&ctx.openapi))
}

/// `GET /api/quit`
pub async fn quit(State(ctx): State<Context>) -> Answer {
    ctx.node.inner().stop.send_replace(Some("GET /api/quit".to_owned()));
    Ok(Json(json!({ "message": "the node is stopping" })))
}

/// `POST /api/v1/tools/pubkeytoaddr`
pub async fn key_to_address(input: Input) -> Answer {
    let key: MemberPublicKey = input
        .required_text("encoded_pubkey")?
        .parse()
        .map_err(|error| ApiError::invalid(format!("encoded_pubkey: {error}")))?;
    Ok(Json(json!({ "addr": key.eth_address() })))
}

/// `POST /api/v1/tools/seedurlextend`
pub async fn extend_seed(input: Input) -> Answer {
    let text = input.required_text("seed")?;
    let seed = Seed::parse_verified(&text).map_err(NodeError::Seed)?;
    let group = &seed.group;
    let urls: Vec<String> = seed.urls.iter().map(|url| url.to_text()).collect();
    Ok(Json(json!({
        "seed": {
            "genesis_block": to_json(&group.genesis.to_proto())?,
            "group_id": group.id,
            "group_name": group.name,
            "owner_pubkey": group.owner,
            "consensus_type": group.consensus.name(),
            "encryption_type": group.encryption.name(),
            "cipher_key": group.cipher_key.to_string(),
            "app_key": group.app_key,
            "signature": seed.owner_sign.map(|s| hex::encode(s.0)).unwrap_or_default(),
        },
        "urls": urls,
    })))
}
