//! Gossip, and what peers do wrong.

use std::collections::BTreeSet;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use quorate_crypto::hash::Hasher;
use quorate_ledger::ids::GroupId;

use super::Task;
use crate::p2p::frame::Kind;
use crate::p2p::presence::{Learnt, Presence};
use crate::p2p::score::Misdeed;
use crate::p2p::{Delivery, Incoming, Source, Verdict, now_ms};

/// What gossip puts in front of a packet: kind and stamp.
pub const GOSSIP_OVERHEAD: usize = 64;

/// Gossip of equal content within a slot is one message, so that a block published by all producers
/// travels once; in the next slot it is another one, so that saying something again reaches who
/// came later.
const GOSSIP_SLOT_MS: u64 = 2_000;

/// Set in a stamp that says who heard. Without it the stamp is all slot, as older nodes make it.
const SAYS_WHO: u32 = 1 << 31;

/// What stands between kind and payload of a message: in which slot it was published, and, hashed to
/// 15 bits, who has it then: its publisher and all peers of the group that are connected to it.
fn stamp(slot: u16, local: &PeerId, peers: &BTreeSet<PeerId>) -> u32 {
    let mut all: Vec<Vec<u8>> = peers.iter().chain([local]).map(|peer| peer.to_bytes()).collect();
    all.sort_unstable();
    let hasher = Hasher::new("quorate.gossip.heard.v1").u64(u64::from(slot));
    let digest = all.iter().fold(hasher, |hasher, peer| hasher.field(peer)).finish();
    let who = u16::from_be_bytes([digest.0[0], digest.0[1]]) >> 1;
    SAYS_WHO | u32::from(who) << 16 | u32::from(slot)
}

impl Task {
    /// Publishes to all connected peers of the group, as gossipsub's flood publishing does.
    pub(super) fn publish(&mut self, id: GroupId, kind: Kind, payload: &[u8]) {
        let Some(group) = self.groups.get(&id) else { return };
        let slot = (now_ms() / GOSSIP_SLOT_MS) as u16;
        let mut message = Vec::with_capacity(5 + payload.len());
        message.push(kind as u8);
        message.extend_from_slice(&self.stamp(id, slot).to_be_bytes());
        message.extend_from_slice(payload);
        let bytes = message.len() as u64;
        let topic = group.topic.hash();
        match self.swarm.behaviour_mut().gossip.publish(topic, message) {
            Ok(_) => {
                metrics::counter!("pubsub_success_total").increment(1);
                metrics::counter!("pubsub_out_bytes_total").increment(bytes);
            }
            Err(PublishError::Duplicate) => {}
            Err(error) => {
                metrics::counter!("pubsub_failed_total").increment(1);
                tracing::debug!(group = %id, %error, "not gossiped");
            }
        }
    }

    pub(super) fn gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.gossiped(propagation_source, message_id, &message);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.subscribed.entry(peer_id).or_default().insert(topic.clone());
                if let Some(id) = self.topics.get(&topic).copied() {
                    self.peer_joined(id, peer_id);
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                if let Some(topics) = self.subscribed.get_mut(&peer_id) {
                    topics.remove(&topic);
                }
                if let Some(id) = self.topics.get(&topic)
                    && let Some(member) = self.shared.groups.write().get_mut(id)
                {
                    member.peers.remove(&peer_id);
                }
            }
            _ => {}
        }
    }

    pub(super) fn gossiped(&mut self, peer: PeerId, id: MessageId, message: &gossipsub::Message) {
        metrics::counter!("pubsub_in_bytes_total").increment(message.data.len() as u64);
        let mut source = Source { peer, gossip: Some(id), spread: false };
        let Some(group) = self.topics.get(&message.topic).copied() else {
            return self.judge(source, Verdict::Ignore);
        };
        source.spread = self.is_spread(group, &message.data);
        let kind = message.data.first().copied().and_then(Kind::from_byte);
        let (Some(kind), Some(payload)) = (kind, message.data.get(5..)) else {
            return self.judge(source, Verdict::Malformed);
        };
        match kind {
            Kind::Ask => self.judge(source, Verdict::Malformed),
            Kind::Presence => match Presence::open(payload, now_ms()) {
                Some(item) if item.group == group => {
                    // Old items are not passed on, so that nobody can keep them going round.
                    let verdict = match self.learn(item) {
                        Learnt::Stale => Verdict::Ignore,
                        Learnt::New | Learnt::Refreshed => Verdict::Good,
                    };
                    self.judge(source, verdict);
                }
                _ => self.judge(source, Verdict::Malformed),
            },
            Kind::Packet => {
                let room = self.shared.budgets.try_gossip(payload.len());
                match (self.shared.sink(group), room) {
                    (Some(sink), Some(budget)) => {
                        let bytes = payload.into();
                        sink(Delivery::Packet(Incoming { bytes, source, budget }));
                    }
                    _ => {
                        metrics::counter!("quorate_frames_dropped_total", "reason" => "busy")
                            .increment(1);
                        self.judge(source, Verdict::Ignore);
                    }
                }
            }
        }
    }

    fn stamp(&self, id: GroupId, slot: u16) -> u32 {
        let groups = self.shared.groups.read();
        let none = BTreeSet::new();
        let peers = groups.get(&id).map_or(&none, |member| &member.peers);
        stamp(slot, self.swarm.local_peer_id(), peers)
    }

    /// Whether whoever published a message has sent it to all that this node could pass it on to:
    /// both are connected to the same members and to each other. So it is among any few of whom all
    /// are connected, and to pass it on would say everything again to everybody. As the slot is in
    /// the hash, who is taken for another by chance is not in the next slot.
    fn is_spread(&self, id: GroupId, message: &[u8]) -> bool {
        let given = message.get(1..5).and_then(|stamp| stamp.try_into().ok());
        given.map(u32::from_be_bytes).is_some_and(|given| given == self.stamp(id, given as u16))
    }

    pub(super) fn judge(&mut self, source: Source, verdict: Verdict) {
        if let Some(message) = &source.gossip {
            let acceptance = match verdict {
                // Gossipsub passes on what is accepted.
                Verdict::Good if source.spread => MessageAcceptance::Ignore,
                Verdict::Good => MessageAcceptance::Accept,
                Verdict::Ignore => MessageAcceptance::Ignore,
                Verdict::Malformed => MessageAcceptance::Reject,
            };
            self.swarm.behaviour_mut().gossip.report_message_validation_result(
                message,
                &source.peer,
                acceptance,
            );
        }
        if verdict == Verdict::Malformed {
            self.accuse(source.peer, Misdeed::Malformed);
        }
    }

    pub(super) fn accuse(&mut self, peer: PeerId, misdeed: Misdeed) {
        metrics::counter!("quorate_peer_misdeeds_total", "kind" => format!("{misdeed:?}"))
            .increment(1);
        if self.scores.note(peer, misdeed, Instant::now()) {
            tracing::warn!(%peer, "peer banned for a while: it keeps breaking the protocol");
            metrics::counter!("quorate_peers_banned_total").increment(1);
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use libp2p::PeerId;

    use super::stamp;

    #[test]
    fn who_is_connected_to_the_same_peers_stamps_alike() {
        let peers: Vec<PeerId> =
            (0..4).map(|n| PeerId::from_bytes(&[0, 3, 1, 2, n]).expect("a peer id")).collect();
        let of = |slot, me: usize, others: &[usize]| {
            let others: BTreeSet<PeerId> = others.iter().map(|other| peers[*other]).collect();
            stamp(slot, &peers[me], &others)
        };
        let first = of(7, 0, &[1, 2, 3]);
        assert!((1..4).all(|me| {
            let others: Vec<usize> = (0..4).filter(|other| *other != me).collect();
            of(7, me, &others) == first
        }));
        assert_ne!(of(7, 0, &[1, 2]), first, "the last did not hear it");
        assert_ne!(of(7, 1, &[0, 2]), of(7, 1, &[0, 3]));
        assert_ne!(of(8, 0, &[1, 2, 3]) >> 16, first >> 16, "chance does not last");
        let of_older_nodes = (1_700_000_000_000_u64 / 2_000) as u32;
        assert_eq!((of_older_nodes >> 31, first >> 31), (0, 1));
        assert_eq!(first as u16, 7);
    }
}
