//! Telling and learning where members are.

use std::sync::Arc;
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};
use quorate_crypto::member::MemberKey;
use quorate_ledger::ids::GroupId;

use super::{PRESENCE_WAIT, Task};
use crate::p2p::frame::{Frame, Kind};
use crate::p2p::presence::{Learnt, Presence};
use crate::p2p::{Delivery, now_ms, peer_ref};

impl Task {
    pub(super) fn sign(&self, id: GroupId, key: &MemberKey) -> Arc<[u8]> {
        let addresses: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let peer = *self.swarm.local_peer_id();
        Presence::sign(id, key, peer, &addresses, now_ms()).into()
    }

    /// Addresses changed: sign again and tell everybody.
    pub(super) fn announce_again(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            let Some(group) = self.groups.get(&id) else { continue };
            let item = self.sign(id, &group.key);
            if let Some(group) = self.groups.get_mut(&id) {
                group.item = Arc::clone(&item);
            }
            self.publish(id, Kind::Presence, &item);
        }
    }

    pub(super) fn learn(&mut self, item: Presence) -> Learnt {
        let mut groups = self.shared.groups.write();
        let Some(member) = groups.get_mut(&item.group) else { return Learnt::Stale };
        let (peer, group) = (item.peer, item.group);
        if peer == *self.swarm.local_peer_id() {
            return Learnt::Stale;
        }
        let addresses = item.addresses.clone();
        let learnt = member.table.learn(item);
        let wanted = member.table.wants(&peer);
        drop(groups);
        if learnt == Learnt::New {
            tracing::debug!(%group, %peer, "a member's place is known");
            for address in addresses {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
        }
        if wanted {
            // Members this node must reach are never refused for the number of connections.
            self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
        }
        learnt
    }

    pub(super) fn report_waiting(&mut self, id: GroupId, now: Instant) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let over: Vec<PeerId> = group
            .waiting
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= PRESENCE_WAIT)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in over {
            self.ask(id, peer);
            self.report_connected(id, peer);
        }
    }

    /// Asks a connected peer where its member of the group is.
    pub(super) fn ask(&self, group: GroupId, peer: PeerId) {
        self.links.send(peer, Frame { kind: Kind::Ask, group, payload: Arc::from([]) });
    }

    /// Tells a peer where this node's member of the group is.
    pub(super) fn tell(&self, id: GroupId, peer: PeerId) {
        if let Some(group) = self.groups.get(&id) {
            let payload = Arc::clone(&group.item);
            self.links.send(peer, Frame { kind: Kind::Presence, group: id, payload });
        }
    }

    pub(super) fn report_connected(&mut self, id: GroupId, peer: PeerId) {
        let waited = self.groups.get_mut(&id).and_then(|group| group.waiting.remove(&peer));
        if waited.is_some()
            && let Some(sink) = self.shared.sink(id)
        {
            tracing::debug!(group = %id, %peer, "a peer of the group is connected");
            sink(Delivery::Connected(peer_ref(peer)));
        }
    }

    /// A connected peer is in a group of ours: tell it where our member is.
    pub(super) fn peer_joined(&mut self, id: GroupId, peer: PeerId) {
        tracing::debug!(group = %id, %peer, "a peer is in the group");
        if let Some(member) = self.shared.groups.write().get_mut(&id) {
            member.peers.insert(peer);
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.waiting.insert(peer, Instant::now());
        }
        self.tell(id, peer);
    }
}
