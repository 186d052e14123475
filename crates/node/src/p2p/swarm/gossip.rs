//! Gossip, and what peers do wrong.

use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId, PublishError};
use quorate_ledger::ids::GroupId;

use super::Task;
use crate::p2p::frame::Kind;
use crate::p2p::presence::{Learnt, Presence};
use crate::p2p::score::Misdeed;
use crate::p2p::{Delivery, Incoming, Source, Verdict, now_ms};

/// What gossip puts in front of a packet: kind and time slot.
pub const GOSSIP_OVERHEAD: usize = 64;

/// Gossip of equal content within a slot is one message, so that a block published by all producers
/// travels once; in the next slot it is another one, so that saying something again reaches who
/// came later.
const GOSSIP_SLOT_MS: u64 = 2_000;

impl Task {
    pub(super) fn publish(&mut self, id: GroupId, kind: Kind, payload: &[u8]) {
        let Some(group) = self.groups.get(&id) else { return };
        let slot = (now_ms() / GOSSIP_SLOT_MS) as u32;
        let mut message = Vec::with_capacity(5 + payload.len());
        message.push(kind as u8);
        message.extend_from_slice(&slot.to_be_bytes());
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
        let source = Source { peer, gossip: Some(id) };
        let Some(group) = self.topics.get(&message.topic).copied() else {
            return self.judge(source, Verdict::Ignore);
        };
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

    pub(super) fn judge(&mut self, source: Source, verdict: Verdict) {
        if let Some(message) = &source.gossip {
            let acceptance = match verdict {
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
