//! Where a service and this node of it stand.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use quorate_consensus::raft::NodeId;
use quorate_replica::cft::api::{
    Answer, Command, MemberChange, NodeInfo, NodeStatus, Query, Reply,
};
use serde_json::{Map, Value, json};

use super::members::{find_node, peer_text, status_text};
use super::{Refusal, Served, Target, json as to_json};
use crate::api::Context;
use crate::api::input::Params;
use crate::service::unexpected;

/// Asks the member, and takes the kind of answer that belongs to the question.
macro_rules! ask {
    ($target:expr, $query:expr, $answer:pat => $value:expr) => {
        match $target.service.query($query).await? {
            $answer => $value,
            other => return Err(unexpected(&other).into()),
        }
    };
}

/// `GET /node/consensus`
pub async fn consensus(target: Target) -> Served {
    let info = ask!(target, Query::Consensus, Answer::Consensus(info) => info);
    let configs: Vec<Value> = info
        .configs
        .iter()
        .map(|config| {
            let nodes: Map<String, Value> = config
                .nodes
                .iter()
                .map(|(id, address)| (id.to_string(), json!({ "address": address })))
                .collect();
            json!({ "idx": config.idx, "nodes": nodes, "rid": config.idx })
        })
        .collect();
    let acks: Map<String, Value> = info
        .acks
        .iter()
        .map(|(id, (seqno, ms))| {
            (id.to_string(), json!({ "seqno": seqno, "last_received_ms": ms }))
        })
        .collect();
    let mut details = json!({
        "configs": configs,
        "acks": acks,
        "membership_state": if info.retired { "Retired" } else { "Active" },
        "primary_id": info.primary_id.map(|id| id.to_string()),
        "current_view": info.current_view,
        "ticking": info.ticking,
        "reconfiguration_type": "OneTransaction",
        "learners": info.learners.iter().map(NodeId::to_string).collect::<Vec<_>>(),
    });
    if let Some(role) = info.leadership_state {
        details["leadership_state"] = json!(role.name());
    }
    if let Some(phase) = info.retirement_phase {
        details["retirement_phase"] = json!(phase.name());
    }
    Ok(to_json(&json!({ "details": details })))
}

/// `GET /node/network`
pub async fn network(target: Target) -> Served {
    let info = ask!(target, Query::Network, Answer::Network(info) => info);
    Ok(to_json(&json!({
        "service_status": info.service_status,
        "service_certificate": info.service_certificate,
        "current_view": info.current_view,
        "primary_id": info.primary_id.map(|id| id.to_string()),
        "recovery_count": info.recovery_count,
        "service_data": null,
        "current_service_create_txid": info.current_service_create_txid.to_string(),
        "service_endorsements": info.endorsements,
    })))
}

/// A node as the reference shows it.
fn node_json(node: &NodeInfo) -> Value {
    let interface = json!({
        "bind_address": node.rpc_address,
        "published_address": node.rpc_address,
    });
    json!({
        "node_id": node.node_id.to_string(),
        "status": status_text(node.status),
        "primary": node.primary,
        "rpc_interfaces": { "primary_rpc_interface": interface },
        "node_data": { "peer_id": peer_text(node), "learner": node.learner },
        "last_written": node.last_written,
    })
}

async fn all(target: &Target) -> Result<Vec<NodeInfo>, Refusal> {
    Ok(ask!(target, Query::Nodes, Answer::Nodes(nodes) => nodes))
}

fn list(nodes: &[NodeInfo]) -> Vec<Value> {
    nodes.iter().map(node_json).collect()
}

/// `GET /node/network/nodes`
pub async fn nodes(target: Target, params: Params) -> Served {
    let status = match params.get("status") {
        None => None,
        Some("Pending") => Some(NodeStatus::Pending),
        Some("Trusted") => Some(NodeStatus::Trusted),
        Some("Retired") => Some(NodeStatus::Retired),
        Some(other) => {
            let message = format!("status must be Pending, Trusted or Retired, not {other}");
            return Err(Refusal::parameter(message));
        }
    };
    let mut nodes = all(&target).await?;
    nodes.retain(|node| {
        let (host, port) = node.rpc_address.rsplit_once(':').unwrap_or((&node.rpc_address, ""));
        status.is_none_or(|status| node.status == status)
            && params.get("host").is_none_or(|wanted| host == wanted)
            && params.get("port").is_none_or(|wanted| port == wanted)
    });
    Ok(to_json(&json!({ "nodes": list(&nodes) })))
}

fn no_node() -> Refusal {
    Refusal::not_found("the service knows no such node").hint("GET /node/network/nodes lists them")
}

/// `GET /node/network/nodes/self`
pub async fn own_node(target: Target) -> Served {
    let own = ask!(target, Query::State, Answer::State(state) => state.node_id);
    let nodes = all(&target).await?;
    let node = nodes.iter().find(|node| node.node_id == own).ok_or_else(no_node)?;
    Ok(to_json(&node_json(node)))
}

/// `GET /node/network/nodes/primary`
pub async fn primary_node(target: Target) -> Served {
    let primary = ask!(target, Query::Primary, Answer::Primary(node) => node);
    let node = primary.ok_or_else(|| Refusal::not_found("no leader is known"))?;
    Ok(to_json(&node_json(&node)))
}

/// `GET /node/network/nodes/{node}`
pub async fn one_node(target: Target) -> Served {
    let nodes = all(&target).await?;
    let id = find_node(&nodes, target.parameter("node"))?;
    let node = nodes.iter().find(|node| node.node_id == id).ok_or_else(no_node)?;
    Ok(to_json(&node_json(node)))
}

/// `GET /node/network/removable_nodes`
pub async fn removable(target: Target) -> Served {
    let (nodes, blocked) = ask!(target, Query::Removable,
        Answer::Removable { nodes, blocked } => (nodes, blocked));
    let blocked: Vec<Value> = blocked
        .iter()
        .map(|node| {
            json!({
                "node_id": node.node_id.to_string(),
                "phase": node.phase,
                "reason": node.reason,
            })
        })
        .collect();
    Ok(to_json(&json!({ "nodes": list(&nodes), "blocked": blocked })))
}

/// `DELETE /node/network/nodes/{node}`
pub async fn forget(target: Target) -> Served {
    let nodes = all(&target).await?;
    let id = find_node(&nodes, target.parameter("node"))?;
    match target.service.command(Command::Member(MemberChange::Forget(id))).await? {
        Reply::Written { .. } => Ok(to_json(&json!(true))),
        other => Err(unexpected(&other).into()),
    }
}

/// `GET /node/state`
pub async fn state(target: Target) -> Served {
    let state = ask!(target, Query::State, Answer::State(state) => state);
    Ok(to_json(&json!({
        "node_id": state.node_id.to_string(),
        "state": state.state,
        "last_signed_seqno": state.last_signed_seqno,
        "startup_seqno": state.startup_seqno,
        "stop_notice": state.stop_notice,
    })))
}

/// Whether this node leads; else who does, if that is known.
async fn leader(target: &Target) -> Result<(bool, Option<NodeInfo>), Refusal> {
    let own = ask!(target, Query::State, Answer::State(state) => state.node_id);
    let node = ask!(target, Query::Primary, Answer::Primary(node) => node);
    Ok((node.as_ref().is_some_and(|node| node.node_id == own), node))
}

/// `GET /node/primary`
pub async fn primary(target: Target) -> Served {
    match leader(&target).await? {
        (true, _) => Ok(StatusCode::OK.into_response()),
        (false, _) => Err(Refusal::not_found("this node does not lead")
            .hint("GET /node/network/nodes/primary names the leader")),
    }
}

/// `HEAD /node/primary`
pub async fn head_primary(target: Target) -> Response {
    match leader(&target).await {
        Ok((true, _)) => StatusCode::OK.into_response(),
        Ok((false, Some(node))) => {
            let location = format!("http://{}{}/node/primary", node.rpc_address, target.root);
            match HeaderValue::try_from(location) {
                Ok(to) => {
                    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response()
                }
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
        Ok((false, None)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `GET /node/ready/app`, `GET /node/ready/gov`
pub async fn ready(target: Target) -> Served {
    let ready = ask!(target, Query::Ready, Answer::Ready(ready) => ready);
    let stalled = target.service.live().stalled.is_some();
    Ok(if ready && !stalled {
        StatusCode::NO_CONTENT.into_response()
    } else {
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    })
}

/// `GET /node/version`
pub async fn version(_target: Target) -> Served {
    let version = env!("CARGO_PKG_VERSION");
    let shown = json!({ "ccf_version": format!("quorate-{version}"), "version": version });
    Ok(to_json(&shown))
}

/// `GET /node/metrics`
pub async fn metrics(target: Target) -> Served {
    let live = target.service.live();
    let status = &live.status;
    Ok(to_json(&json!({
        "role": live.role(),
        "leads": live.leads(),
        "view": status.view,
        "last_transaction_id": status.last.to_string(),
        "committed_transaction_id": live.committed().to_string(),
        "uncommitted": status.last.seqno.saturating_sub(status.committed.seqno),
        "stalled": live.stalled,
        "stopped": status.stopped,
        "nodes": live.nodes.len(),
        "connected_peers": target.service.network().group_peers(target.service.id()).len(),
    })))
}

/// `GET /node/api`, `GET /app/api`
pub async fn api(State(ctx): State<Context>, _target: Target) -> Served {
    Ok(to_json(&ctx.openapi))
}
