//! Nodes say who they are to those whose ledger may not name them yet.
//!
//! A member that was down while a node joined does not know that node when it comes back, and would
//! drop what it says for ever if it leads. So a node introduces itself to everybody whom it sends
//! something and does not hear: with its certificate by the service, and a proof that it has the key
//! and is at the peer that it speaks from.

use std::collections::BTreeMap;

use quorate_consensus::core::Time;
use quorate_consensus::raft::NodeId;
use quorate_crypto::hash::sha256;

use super::{Member, row_key};
use crate::cft::api::PeerRef;
use crate::cft::keys::Keys;
use crate::cft::limits::INTRODUCE_MS;
use crate::cft::nodes::{REMOVED, digest};
use crate::cft::wire::{Introduction, Packet};

/// With whom this node talks.
#[derive(Debug, Default)]
pub(super) struct Acquaintances {
    /// When each node was heard, or introduced to, last. Nodes of the ledger.
    last: BTreeMap<NodeId, Time>,
    /// The own introduction: always the same.
    own: Option<Packet>,
}

impl<K: Keys> Member<K> {
    /// A node was heard: it knows this one.
    pub(super) fn heard(&mut self, node: NodeId) {
        if self.nodes.head.contains_key(&node) {
            self.acquaintances.last.insert(node, self.now);
        }
    }

    /// A link to a peer is new: it may have forgotten.
    pub(super) fn connected(&mut self, peer: &PeerRef) {
        let nodes = &self.nodes;
        self.acquaintances.last.retain(|node, _| nodes.peer(node).as_ref() != Some(peer));
    }

    /// What a node is to be told before anything else, now that something is sent to it.
    pub(in crate::cft) fn introduction(&mut self, to: &NodeId) -> Option<Packet> {
        let now = self.now;
        let last = self.acquaintances.last.get(to);
        if last.is_some_and(|last| now < last.after(INTRODUCE_MS))
            || !self.nodes.head.contains_key(to)
        {
            return None;
        }
        self.acquaintances.last.insert(*to, now);
        let nodes = &self.nodes;
        self.acquaintances.last.retain(|node, _| nodes.head.contains_key(node));
        if self.acquaintances.own.is_none() {
            let public_key = self.keys.public_key();
            let config = &self.config;
            let statement = Introduction::statement(config.group, &public_key, &config.peer);
            let proof = self.keys.prove(&statement);
            let certificate = self.keys.certificate().to_owned();
            let introduction = Introduction { public_key, certificate, proof };
            self.acquaintances.own = Some(Packet::Introduction(Box::new(introduction)));
        }
        self.acquaintances.own.clone()
    }

    /// A node says who it is. It is remembered if the service has endorsed it and nobody has named
    /// or removed it.
    pub(super) fn introduced(&mut self, peer: PeerRef, introduction: &Introduction) {
        let Introduction { public_key, certificate, proof } = introduction;
        let node = NodeId(sha256(public_key).0);
        if self.nodes.peer(&node).as_ref() == Some(&peer)
            || self.nodes.head.contains_key(&node)
            || self.store.head(REMOVED, &row_key(&node)).is_some()
        {
            return;
        }
        let Some(service) = self.service.as_ref() else { return };
        let statement = Introduction::statement(self.config.group, public_key, &peer);
        if self.keys.check(public_key, &statement, proof)
            && self.keys.is_endorsed(&digest(&node), certificate, &service.cert)
        {
            self.nodes.introduce(node, peer);
        }
    }
}
