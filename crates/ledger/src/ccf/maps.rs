//! Names of the built-in maps, and their rows. `[7.3]` `[8.1]`
//!
//! The rows of CCF's maps are JSON with the keys of CCF; ours beside them are ignored by its tools.

use std::fmt;

use quorate_crypto::hash::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::txid::TxId;
use crate::state::{State, Value, WriteError, WriteSet};

/// Key of maps with one row: 8 zero bytes.
pub const SINGLE: [u8; 8] = [0; 8];

/// `{"cert", "status"}` of the service, one row: [`ServiceInfo`].
pub const SERVICE_INFO: &str = "public:ccf.gov.service.info";
/// Node id to [`NodeInfo`].
pub const NODES_INFO: &str = "public:ccf.gov.nodes.info";
/// Node id to the PEM of its certificate by the service.
pub const ENDORSED_CERTIFICATES: &str = "public:ccf.gov.nodes.endorsed_certificates";
/// The node's signature over the root, one row.
pub const SIGNATURES: &str = "public:ccf.internal.signatures";
/// The service's signature over the root, one row.
pub const COSE_SIGNATURES: &str = "public:ccf.internal.cose_signatures";
/// The Merkle tree at a signature, one row.
pub const TREE: &str = "public:ccf.internal.tree";
/// `{"hash", "version"}` of a snapshot, one row: [`SnapshotEvidence`].
pub const SNAPSHOT_EVIDENCE: &str = "public:ccf.internal.snapshot_evidence";
/// What a service was created from, one row.
pub const GENESIS: &str = "public:quorate.genesis";
/// Certificates of service keys by the one that followed: seqno of the recovery (8 bytes, big endian)
/// to PEM. Ours.
pub const SERVICE_ENDORSEMENTS: &str = "public:quorate.service_endorsements";
/// Signatures of service keys over the certificate that followed, by the seqno of the recovery: see
/// [`super::notary::hands_over`]. Ours.
pub const SERVICE_HANDOVERS: &str = "public:quorate.service_handovers";
/// Keys of requests that must not be executed twice.
pub const IDEMPOTENCY: &str = "public:quorate.idempotency";

/// Maps with these prefixes are written by the group itself, never by users.
const RESERVED: [&str; 2] = ["public:ccf.", "public:quorate."];

/// Whether only the group itself may write to a map.
#[must_use]
pub fn is_reserved(map: &str) -> bool {
    RESERVED.iter().any(|prefix| map.starts_with(prefix))
}

/// Who a node is: SHA-256 of its public key (SPKI DER). Written as hex. `[7.3]`
pub type NodeId = Digest;

/// The key of a node's rows.
#[must_use]
pub fn node_key(node: &NodeId) -> Vec<u8> {
    node.to_string().into_bytes()
}

/// The node whose rows have this key; hex digits must be lower case.
#[must_use]
pub fn node_of_key(key: &[u8]) -> Option<NodeId> {
    let node: NodeId = std::str::from_utf8(key).ok()?.parse().ok()?;
    (node_key(&node) == key).then_some(node)
}

/// What a node is to the service. `[R11]`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum NodeStatus {
    /// It has asked to join.
    Pending,
    /// It is a member of the newest configuration.
    Trusted,
    /// It was a member.
    Retired,
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "Pending",
            Self::Trusted => "Trusted",
            Self::Retired => "Retired",
        })
    }
}

/// A row of [`NODES_INFO`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeInfo {
    /// What it is to the service.
    pub status: NodeStatus,
    /// Whether its retirement is committed, says the leader. `[R12]`
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired_committed: bool,
    /// Its peer id in the network, as text. Ours.
    #[serde(default, rename = "quorate_peer", skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Where clients reach it: a base URL. Ours.
    #[serde(default, rename = "quorate_rpc_address", skip_serializing_if = "String::is_empty")]
    pub rpc_address: String,
    /// The age recipient that secrets for it are encrypted to. Ours.
    #[serde(default, rename = "quorate_encryption_key", skip_serializing_if = "String::is_empty")]
    pub encryption_key: String,
    /// Its public key: base64 of the SPKI DER, whose SHA-256 is its id. Ours.
    #[serde(default, rename = "quorate_public_key", skip_serializing_if = "String::is_empty")]
    pub public_key: String,
}

impl NodeInfo {
    /// A row with nothing but a status.
    #[must_use]
    pub const fn new(status: NodeStatus) -> Self {
        Self {
            status,
            retired_committed: false,
            peer: String::new(),
            rpc_address: String::new(),
            encryption_key: String::new(),
            public_key: String::new(),
        }
    }
}

/// What the service is ready for. `[7.6]`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ServiceStatus {
    /// Being made.
    Opening,
    /// Ready for users.
    Open,
    /// Being recovered; members are to submit their shares.
    WaitingForRecoveryShares,
    /// Being recovered.
    Recovering,
}

impl ServiceStatus {
    /// Whether a service in this status may become `next`; a service can be made anew at any time.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use ServiceStatus::{Open, Opening, Recovering, WaitingForRecoveryShares as Waiting};
        next == Opening
            || self == next
            || matches!(
                (self, next),
                (Opening, Open | Waiting)
                    | (Open, Recovering)
                    | (Recovering, Waiting)
                    | (Waiting, Open)
            )
    }
}

/// The row of [`SERVICE_INFO`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// The service certificate, PEM.
    pub cert: String,
    /// What it is ready for.
    pub status: ServiceStatus,
    /// How often it was recovered.
    #[serde(default)]
    pub recovery_count: u64,
    /// The transaction that made this identity of the service, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_service_create_txid: Option<TxId>,
}

/// The row of [`SNAPSHOT_EVIDENCE`]. `[7.5]`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotEvidence {
    /// SHA-256 of the snapshot.
    pub hash: Digest,
    /// The seqno that the snapshot is taken at.
    pub version: u64,
}

/// A row of a built-in map is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("map {map}: a row that is not understood: {why}")]
pub struct RowError {
    /// The map.
    pub map: &'static str,
    /// What is wrong.
    pub why: String,
}

/// Reads a JSON row.
///
/// # Errors
/// [`RowError`].
pub fn read_row<T: DeserializeOwned>(map: &'static str, row: &[u8]) -> Result<T, RowError> {
    serde_json::from_slice(row).map_err(|error| RowError { map, why: error.to_string() })
}

/// Writes a JSON row.
///
/// # Panics
/// Never: the rows have string keys.
#[must_use]
pub fn row<T: Serialize>(row: &T) -> Value {
    serde_json::to_vec(row).expect("a row has string keys").into()
}

/// Writes a node's row.
///
/// # Errors
/// [`WriteError`] if the set or the row is too large.
pub fn put_node(set: &mut WriteSet, node: &NodeId, info: &NodeInfo) -> Result<(), WriteError> {
    set.put(NODES_INFO, node_key(node), row(info))
}

/// Writes the service's row.
///
/// # Errors
/// [`WriteError`] if the set or the row is too large.
pub fn put_service(set: &mut WriteSet, info: &ServiceInfo) -> Result<(), WriteError> {
    set.put(SERVICE_INFO, SINGLE, row(info))
}

/// The service's row, if there is one.
///
/// # Errors
/// [`RowError`].
pub fn service(state: &State) -> Result<Option<ServiceInfo>, RowError> {
    state.get(SERVICE_INFO, &SINGLE).map(|row| read_row(SERVICE_INFO, row)).transpose()
}

/// A node's row, if there is one.
///
/// # Errors
/// [`RowError`].
pub fn node(state: &State, node: &NodeId) -> Result<Option<NodeInfo>, RowError> {
    state.get(NODES_INFO, &node_key(node)).map(|row| read_row(NODES_INFO, row)).transpose()
}

/// All nodes' rows, in the order of their ids.
///
/// # Errors
/// [`RowError`].
pub fn nodes(state: &State) -> Result<Vec<(NodeId, NodeInfo)>, RowError> {
    state.iter(NODES_INFO).map(|(key, row)| node_row(key, row)).collect()
}

/// The nodes' rows that a set writes, in the order of their ids; `None` for a row removed.
///
/// # Errors
/// [`RowError`].
pub fn nodes_written(set: &WriteSet) -> Result<Vec<(NodeId, Option<NodeInfo>)>, RowError> {
    let written = set.rows(NODES_INFO).map(|(key, row)| match row {
        Some(row) => node_row(key, row).map(|(node, info)| (node, Some(info))),
        None => Ok((node_id(key)?, None)),
    });
    written.collect()
}

fn node_id(key: &[u8]) -> Result<NodeId, RowError> {
    let why = || "the key is no node id".to_owned();
    node_of_key(key).ok_or_else(|| RowError { map: NODES_INFO, why: why() })
}

fn node_row(key: &[u8], row: &[u8]) -> Result<(NodeId, NodeInfo), RowError> {
    Ok((node_id(key)?, read_row(NODES_INFO, row)?))
}

#[cfg(test)]
mod tests;
