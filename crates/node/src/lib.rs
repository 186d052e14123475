//! The body of a node: configuration, keys, network, groups, HTTP.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | defaults < file < environment < flags |
//! | [`keystore`] | keys at rest |
//! | [`p2p`] | streams, gossip, discovery |
//! | [`verify`] | checks packets on a few threads |
//! | [`group`], [`service`] | one thread per group turns its driver: of `poa` groups, of `cft` groups |
//! | `host` | what these threads have in common |
//! | [`node`] | starts everything, keeps the groups, stops everything |
//! | `api` | HTTP |
//! | [`telemetry`] | logs and metrics |
//! | `bootstrap` | what differs in a bootstrap node |
//! | [`memory`] | what the process asks of the system's memory |
mod api;
mod bootstrap;
pub mod config;
pub mod group;
mod host;
pub mod keystore;
pub mod memory;
pub mod node;
pub mod p2p;
pub mod service;
pub mod telemetry;
pub mod verify;

pub use node::{Node, NodeError, NodeKind};
