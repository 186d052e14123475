//! The nodes of a group as the ledger knows them, and what a write to their rows means to the
//! protocol: [R11], [R12].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quorate_consensus::raft::{Kind, NodeId, Seqno};
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::maps::node_of_key;
use quorate_ledger::ccf::maps::{
    NODES_INFO, NodeInfo, NodeStatus, RowError, nodes_written, read_row,
};
use quorate_ledger::state::WriteSet;
use serde::{Deserialize, Serialize};

use super::api::PeerRef;
use super::kv::Store;
use super::limits::MAX_INTRODUCED;

/// The member change that waits for its learners, one row. Ours.
pub const MEMBER_CHANGE: &str = "public:quorate.member_change";
/// Ids of nodes that were forgotten: they never come back. Ours.
pub const REMOVED: &str = "public:quorate.removed_nodes";

/// A node's rows.
pub type Rows = BTreeMap<NodeId, NodeInfo>;

/// The row of [`MEMBER_CHANGE`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Change {
    /// Learners that become members.
    pub joins: BTreeSet<Digest>,
    /// Members that retire then.
    pub leaves: BTreeSet<Digest>,
}

impl Change {
    /// The learners.
    pub fn learners(&self) -> BTreeSet<NodeId> {
        self.joins.iter().map(|node| NodeId(node.0)).collect()
    }
}

/// A node's id as the ledger writes it.
pub const fn digest(node: &NodeId) -> Digest {
    Digest(node.0)
}

/// A peer as a row has it.
pub fn peer_text(peer: &PeerRef) -> String {
    hex::encode(&peer.0)
}

/// The peer of a row.
pub fn peer_of(row: &NodeInfo) -> Option<PeerRef> {
    let bytes = hex::decode(&row.peer).ok().filter(|bytes| !bytes.is_empty())?;
    Some(PeerRef(Arc::from(bytes)))
}

/// Rows as of the last transaction appended, and as committed.
#[derive(Debug, Default)]
pub struct Nodes {
    /// As of the last transaction appended.
    pub head: Rows,
    /// As committed, with the transaction that wrote each.
    pub committed: BTreeMap<NodeId, (NodeInfo, Seqno)>,
    /// Peers of nodes that the rows do not tell yet: from the admission of a joiner.
    told: BTreeMap<NodeId, PeerRef>,
    /// Peers of nodes that introduced themselves, the oldest first.
    introduced: VecDeque<(NodeId, PeerRef)>,
}

impl Nodes {
    /// What a joiner was told.
    pub fn tell(&mut self, nodes: impl IntoIterator<Item = (NodeId, PeerRef)>) {
        self.told.extend(nodes);
    }

    /// A node that nobody has named showed who it is. What the rows say counts more.
    pub fn introduce(&mut self, node: NodeId, peer: PeerRef) {
        self.introduced.retain(|(other, _)| *other != node && !self.head.contains_key(other));
        if self.introduced.len() >= MAX_INTRODUCED {
            self.introduced.pop_front();
        }
        self.introduced.push_back((node, peer));
    }

    /// Where nodes are that the rows may not tell.
    pub fn hearsay(&self) -> Vec<(NodeId, PeerRef)> {
        let told = self.told.iter().map(|(node, peer)| (*node, peer.clone()));
        told.chain(self.introduced.iter().cloned()).collect()
    }

    /// How many introduced themselves.
    pub fn introduced(&self) -> usize {
        self.introduced.len()
    }

    /// Where a node is.
    pub fn peer(&self, node: &NodeId) -> Option<PeerRef> {
        let introduced = || {
            let found = self.introduced.iter().find(|(other, _)| other == node);
            found.map(|(_, peer)| peer.clone())
        };
        let named = self.head.get(node).and_then(peer_of).or_else(|| self.told.get(node).cloned());
        named.or_else(introduced)
    }

    /// Whether any node is there.
    pub fn is_node(&self, peer: &PeerRef) -> bool {
        let text = peer_text(peer);
        self.head.values().any(|row| row.peer == text)
            || self
                .told
                .values()
                .chain(self.introduced.iter().map(|(_, at)| at))
                .any(|at| at == peer)
    }

    /// Whether a node is there that is, was, or becomes a member.
    pub fn is_admitted(&self, peer: &PeerRef, learners: &BTreeSet<NodeId>) -> bool {
        let text = peer_text(peer);
        let admitted = |node: &NodeId, row: &NodeInfo| {
            row.status != NodeStatus::Pending || learners.contains(node)
        };
        self.head.iter().any(|(node, row)| row.peer == text && admitted(node, row))
    }

    /// What a transaction with these writes means to the protocol.
    ///
    /// # Errors
    /// If its rows are no rows, or retire everybody.
    pub fn kind_of(&self, writes: &WriteSet, is_signature: bool) -> Result<Kind, RowError> {
        let written = nodes_written(writes)?;
        if written.is_empty() {
            return Ok(if is_signature { Kind::Signature } else { Kind::Raw });
        }
        let (mut reconfigures, mut retired) = (false, Vec::new());
        let mut rows: BTreeMap<NodeId, NodeStatus> =
            self.head.iter().map(|(node, row)| (*node, row.status)).collect();
        for (node, row) in written {
            let node = NodeId(node.0);
            let Some(row) = row else {
                rows.remove(&node);
                continue;
            };
            match (row.status, row.retired_committed) {
                (NodeStatus::Pending, _) => {}
                (NodeStatus::Retired, true) => retired.push(node),
                (NodeStatus::Trusted | NodeStatus::Retired, _) => reconfigures = true,
            }
            rows.insert(node, row.status);
        }
        let wrong = |why: &str| RowError { map: NODES_INFO, why: why.to_owned() };
        if is_signature {
            return Err(wrong("a signature changes no nodes"));
        }
        if reconfigures {
            let trusted = rows.into_iter().filter(|(_, status)| *status == NodeStatus::Trusted);
            let trusted: BTreeSet<_> = trusted.map(|(node, _)| node).collect();
            if trusted.is_empty() {
                return Err(wrong("no member is left"));
            }
            return Ok(Kind::Configuration(trusted));
        }
        Ok(if retired.is_empty() { Kind::Raw } else { Kind::Retired(retired) })
    }

    /// The transaction was appended. Whether it changed the nodes.
    ///
    /// # Errors
    /// If its rows are no rows.
    pub fn append(&mut self, writes: &WriteSet) -> Result<bool, RowError> {
        let written = nodes_written(writes)?;
        let changed = !written.is_empty();
        for (node, row) in written {
            match row {
                Some(row) => self.head.insert(NodeId(node.0), row),
                None => self.head.remove(&NodeId(node.0)),
            };
        }
        Ok(changed)
    }

    /// The transaction `seqno` is committed. Whether it changed the nodes.
    ///
    /// # Errors
    /// If its rows are no rows.
    pub fn commit(&mut self, seqno: Seqno, writes: &WriteSet) -> Result<bool, RowError> {
        let written = nodes_written(writes)?;
        let changed = !written.is_empty();
        for (node, row) in written {
            match row {
                Some(row) => self.committed.insert(NodeId(node.0), (row, seqno)),
                None => self.committed.remove(&NodeId(node.0)),
            };
        }
        Ok(changed)
    }

    /// Takes the rows from the store: after a rollback or a snapshot.
    ///
    /// # Errors
    /// If a row is none.
    pub fn reload(&mut self, store: &Store) -> Result<(), RowError> {
        self.head.clear();
        for (key, row) in store.head_from(NODES_INFO, b"") {
            let why = || "the key is no node id".to_owned();
            let node = node_of_key(key).ok_or_else(|| RowError { map: NODES_INFO, why: why() })?;
            self.head.insert(NodeId(node.0), read_row(NODES_INFO, row)?);
        }
        Ok(())
    }

    /// The rows of a snapshot are committed.
    pub fn commit_all(&mut self, seqno: Seqno) {
        self.committed = self.head.iter().map(|(n, row)| (*n, (row.clone(), seqno))).collect();
    }

    /// Members as of the last transaction appended.
    pub fn trusted(&self) -> BTreeSet<NodeId> {
        let trusted = self.head.iter().filter(|(_, row)| row.status == NodeStatus::Trusted);
        trusted.map(|(node, _)| *node).collect()
    }

    /// Nodes whose retirement is committed without the statement that it is.
    pub fn to_clean_up(&self) -> Vec<NodeId> {
        let due = |row: &NodeInfo| row.status == NodeStatus::Retired && !row.retired_committed;
        let committed = self.committed.iter().filter(|(_, (row, _))| due(row));
        let open = committed.filter(|(node, _)| self.head.get(node).is_some_and(due));
        open.map(|(node, _)| *node).collect()
    }
}

/// The member change that waits, as of the last transaction appended.
///
/// # Errors
/// If the row is none.
pub fn change_of(row: Option<&quorate_ledger::state::Value>) -> Result<Option<Change>, RowError> {
    row.map(|row| read_row(MEMBER_CHANGE, row)).transpose()
}
