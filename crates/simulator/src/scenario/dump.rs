//! The state of a group as JSON, for comparison with other programs.

use quorate_consensus::raft::{Entry, Kind, NodeId};
use serde_json::{Map, Value, json};

use super::group::{Group, Node};

fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> Value {
    let mut nodes: Vec<_> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes.into_iter().map(ToString::to_string).collect()
}

fn entry(entry: &Entry) -> Value {
    let (kind, data) = match &entry.kind {
        Kind::Raw => ("raw", json!(String::from_utf8_lossy(&entry.bytes))),
        Kind::Signature => ("signature", Value::Null),
        Kind::Configuration(nodes) => ("config", names(nodes)),
        Kind::Retired(nodes) => ("retired", names(nodes)),
    };
    json!({ "view": entry.view, "kind": kind, "data": data })
}

fn node(node: &Node) -> Value {
    let raft = &node.raft;
    let configs: Vec<_> = raft
        .configurations()
        .iter()
        .map(|c| json!({ "idx": c.idx, "nodes": names(&c.nodes) }))
        .collect();
    json!({
        "view": raft.view(),
        "last_idx": raft.last_idx(),
        "commit_idx": raft.commit_idx(),
        "leadership_state": raft.role().map(|role| role.name()),
        "membership_state": if node.is_active() { "Active" } else { "Retired" },
        "retirement_phase": raft.phase().map(|phase| phase.name()),
        "configs": configs,
        "log": node.log().iter().map(entry).collect::<Vec<_>>(),
    })
}

/// The state of every node.
#[must_use]
pub fn dump(group: &Group) -> Value {
    let nodes: Map<_, _> = group.nodes.iter().map(|(id, n)| (id.to_string(), node(n))).collect();
    json!({ "nodes": nodes })
}
