//! The bootstrap node: a Kademlia server that many nodes know, and `GET /api/v1/node`.
//!
//! It hosts no groups and is subscribed to nothing; it keeps provider records and hands out
//! addresses. It is started like any other node, with [`crate::NodeKind::Bootstrap`].

use crate::p2p::Settings;

/// A bootstrap node has at least so many peers.
const MIN_PEERS: u32 = 1000;

/// The network settings of a bootstrap node, from those of a full one.
pub(crate) fn settings(full: Settings) -> Settings {
    Settings { max_peers: full.max_peers.max(MIN_PEERS), ..full }
}
