//! The nodes of a group as this node last heard of them: a small file beside the log.
//!
//! It is only a hint. It says before the log is replayed whether others hold the ledger, so that a
//! node that is to join anew does not throw the only copy away.

use std::fs;
use std::io;
use std::path::Path;

use quorate_replica::cft::api::{NodeInfo, NodeStatus};
use serde::{Deserialize, Serialize};

/// Name of the file, in the group's directory.
pub const FILE: &str = "nodes.json";

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its id.
    pub node_id: String,
    /// Whether it counts.
    pub trusted: bool,
}

/// Keeps the nodes.
///
/// # Errors
/// The disk's.
pub fn write(path: &Path, nodes: &[NodeInfo]) -> io::Result<()> {
    let known: Vec<Known> = nodes
        .iter()
        .map(|node| Known {
            node_id: node.node_id.to_string(),
            trusted: node.status == NodeStatus::Trusted,
        })
        .collect();
    let half = path.with_extension("new");
    fs::write(&half, serde_json::to_vec(&known).expect("texts and flags are JSON"))?;
    fs::rename(&half, path)
}

/// Whether another node than `own` was a member. A file that is not there or not understood says
/// nothing.
pub fn others(path: &Path, own: &str) -> bool {
    let known = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known: Vec<Known> = known.unwrap_or_default();
    known.iter().any(|node| node.trusted && node.node_id != own)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_replica::cft::api::{NodeId, NodeInfo, NodeStatus, PeerRef};

    use super::{FILE, others, write};

    fn node(name: &str, status: NodeStatus) -> NodeInfo {
        NodeInfo {
            node_id: NodeId::named(name).expect("a name"),
            status,
            retired_committed: false,
            learner: false,
            primary: false,
            peer: PeerRef(Arc::from(name.as_bytes())),
            rpc_address: String::new(),
            last_written: 1,
        }
    }

    #[test]
    fn only_other_members_hold_the_ledger() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        let own = node("a", NodeStatus::Trusted);
        let id = own.node_id.to_string();
        assert!(!others(&path, &id));
        write(&path, &[own.clone(), node("b", NodeStatus::Pending)]).expect("written");
        assert!(!others(&path, &id));
        write(&path, &[own, node("b", NodeStatus::Trusted)]).expect("written");
        assert!(others(&path, &id));
        std::fs::write(&path, b"{").expect("written");
        assert!(!others(&path, &id));
    }
}
