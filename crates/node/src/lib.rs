//! The body of a node: configuration, keys, network, groups, HTTP.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | defaults < file < environment < flags |
//! | [`keystore`] | keys at rest |
//! | [`p2p`] | streams, gossip, discovery |
pub mod config;
pub mod keystore;
pub mod p2p;
