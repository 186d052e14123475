//! Finding peers: bootstrap nodes, provider records, connections.

use std::time::{Duration, Instant};

use libp2p::kad::RecordKey;
use libp2p::kad::store::RecordStore as _;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify};
use quorate_crypto::hash::Hasher;
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::ids::GroupId;

use super::{REDIAL, Task, split_peer};
use crate::p2p::behaviour;

/// Lookups of a group that has no peers yet: the first ones come this fast.
const LOOKUP_FAST: Duration = Duration::from_millis(500);
/// So many fast lookups, then each wait is longer than the one before.
const LOOKUPS_FAST: u32 = 20;
/// Longest wait between lookups without peers.
const LOOKUP_SLOW: Duration = Duration::from_secs(30);
/// Wait between lookups of a group that has peers.
const LOOKUP_KNOWN: Duration = Duration::from_secs(120);
/// No more peers of a group are dialed than this.
const ENOUGH_PEERS: usize = 16;

pub(super) fn group_key(group: GroupId) -> RecordKey {
    RecordKey::new(&Hasher::new("quorate.provide.v1").field(group.0.as_bytes()).finish().0)
}

pub(super) fn member_key(group: GroupId, member: &MemberPublicKey) -> RecordKey {
    let hasher = Hasher::new("quorate.provide-member.v1").field(group.0.as_bytes());
    RecordKey::new(&hasher.field(member.as_bytes()).finish().0)
}

fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

impl Task {
    pub(super) fn dial_bootstrap(&mut self, now: Instant) {
        let mut dials = Vec::new();
        for node in &mut self.bootstrap {
            let connected = node.peer.is_some_and(|peer| self.swarm.is_connected(&peer));
            if connected || node.next > now {
                continue;
            }
            node.next = now + node.pause;
            node.pause = (node.pause * 2).min(REDIAL.1);
            dials.push(node.address.clone());
        }
        for address in dials {
            let (bare, peer) = split_peer(&address);
            if let Some(peer) = peer {
                self.swarm.behaviour_mut().kad.add_address(&peer, bare);
            }
            if let Err(error) = self.swarm.dial(address.clone())
                && !matches!(error, DialError::DialPeerConditionFalse(_))
            {
                tracing::debug!(%address, %error, "bootstrap node not dialed");
            }
        }
    }

    /// Says that this node is in the group and asks who else is.
    pub(super) fn look_for_peers(&mut self, id: GroupId, now: Instant) {
        let lonely = self.shared.groups.read().get(&id).is_none_or(|m| m.peers.is_empty());
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.next_lookup > now {
            return;
        }
        let first = group.lookups == 0;
        let again = first || group.lookups % 4 == 0;
        let wait = if !lonely {
            LOOKUP_KNOWN
        } else if group.lookups < LOOKUPS_FAST {
            LOOKUP_FAST
        } else {
            let doublings = (group.lookups - LOOKUPS_FAST).min(8);
            (LOOKUP_FAST * 2_u32.pow(doublings)).min(LOOKUP_SLOW)
        };
        group.lookups = group.lookups.saturating_add(1);
        group.next_lookup = now + wait;
        let member = group.key.public();
        if again || !lonely {
            self.provide(group_key(id));
            self.provide(member_key(id, &member));
        }
        self.ask_for(group_key(id));
    }

    pub(super) fn provide(&mut self, key: RecordKey) {
        if let Err(error) = self.swarm.behaviour_mut().kad.start_providing(key) {
            tracing::warn!(%error, "a group cannot be announced");
        }
    }

    pub(super) fn ask_for(&mut self, key: RecordKey) {
        self.swarm.behaviour_mut().kad.get_providers(key);
    }

    pub(super) fn found(&mut self, key: &RecordKey, providers: Vec<PeerId>) {
        let local = *self.swarm.local_peer_id();
        let of_group = self.groups.keys().copied().find(|id| group_key(*id) == *key);
        if let Some(id) = of_group {
            let enough = self
                .shared
                .groups
                .read()
                .get(&id)
                .is_none_or(|member| member.peers.len() >= ENOUGH_PEERS);
            if enough {
                return;
            }
        }
        for peer in providers.into_iter().take(2 * ENOUGH_PEERS) {
            if peer == local || self.scores.is_banned(&peer) {
                continue;
            }
            if self.swarm.is_connected(&peer) {
                // A member is looked for that is here already: its item has been lost.
                if of_group.is_none() {
                    for group in self.groups_of(&peer) {
                        self.ask(group, peer);
                    }
                }
                continue;
            }
            let records = self.swarm.behaviour_mut().kad.store_mut().providers(key);
            let addresses = records
                .into_iter()
                .filter(|record| record.provider == peer)
                .flat_map(|record| record.addresses)
                .collect();
            self.dial_peer(peer, addresses);
        }
    }

    /// Groups of this node that a connected peer is in too.
    pub(super) fn groups_of(&self, peer: &PeerId) -> Vec<GroupId> {
        let groups = self.shared.groups.read();
        groups.iter().filter(|(_, m)| m.peers.contains(peer)).map(|(id, _)| *id).collect()
    }

    pub(super) fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let kad_protocol = behaviour::protocol(&self.settings.name, "kad/1");
        let ours = info.protocols.contains(&kad_protocol);
        tracing::debug!(%peer, agent = info.agent_version, "identified");
        let first;
        let near;
        {
            let mut peers = self.shared.peers.write();
            let Some(known) = peers.get_mut(&peer) else { return };
            first = known.protocols.is_empty();
            known.protocols = info.protocols.iter().map(ToString::to_string).collect();
            known.agent = info.agent_version;
            near = known.address.as_ref().is_some_and(is_loopback);
        }
        if !ours {
            tracing::debug!(%peer, "a peer of another network");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        // Others' loopback addresses are this machine's, not theirs.
        for address in info.listen_addrs.into_iter().filter(|a| near || !is_loopback(a)).take(16) {
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
        }
        if first {
            // A new place to leave and find records: groups without peers are looked for at once.
            let now = Instant::now();
            let groups = self.shared.groups.read();
            for (id, group) in &mut self.groups {
                if groups.get(id).is_none_or(|member| member.peers.is_empty()) {
                    group.lookups = group.lookups.min(LOOKUPS_FAST / 2) / 4 * 4;
                    group.next_lookup = now;
                }
            }
        }
    }

    pub(super) fn connect(&mut self, peer: PeerId) {
        if self.swarm.is_connected(&peer) {
            self.links.set_connected(peer, true);
            return;
        }
        if self.scores.is_banned(&peer) {
            return;
        }
        let addresses: Vec<Multiaddr> = {
            let groups = self.shared.groups.read();
            let items = groups.values().flat_map(|member| member.table.iter());
            let here = items.filter(|item| item.peer == peer);
            here.flat_map(|item| item.addresses.iter().cloned()).take(16).collect()
        };
        self.dial_peer(peer, addresses);
    }

    pub(super) fn dial_peer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        tracing::debug!(%peer, ?addresses, "dialing");
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        if let Err(error) = self.swarm.dial(opts)
            && !matches!(error, DialError::DialPeerConditionFalse(_))
        {
            tracing::debug!(%peer, %error, "not dialed");
        }
    }

    pub(super) fn connected(&mut self, peer: PeerId, address: &Multiaddr, dialed: bool) {
        self.shared
            .peers
            .write()
            .entry(peer)
            .or_default()
            .address
            .get_or_insert_with(|| address.clone());
        self.links.set_connected(peer, true);
        let (bare, _) = split_peer(address);
        for node in &mut self.bootstrap {
            let named = node.peer.is_none() && dialed && split_peer(&node.address).0 == bare;
            if named {
                node.peer = Some(peer);
            }
            if node.peer == Some(peer) {
                node.pause = REDIAL.0;
                node.next = Instant::now();
                if dialed {
                    self.swarm.behaviour_mut().kad.add_address(&peer, bare.clone());
                }
            }
        }
    }

    pub(super) fn disconnected(&mut self, peer: PeerId) {
        self.shared.peers.write().remove(&peer);
        self.links.set_connected(peer, false);
        self.subscribed.remove(&peer);
        for group in self.groups.values_mut() {
            group.waiting.remove(&peer);
        }
        let mut alone = Vec::new();
        for (id, member) in self.shared.groups.write().iter_mut() {
            if member.peers.remove(&peer) && member.peers.is_empty() {
                alone.push(*id);
            }
        }
        // The last peer of a group is gone: look for others as at the start.
        for id in alone {
            if let Some(group) = self.groups.get_mut(&id) {
                group.lookups = 0;
                group.next_lookup = Instant::now();
            }
        }
    }
}
