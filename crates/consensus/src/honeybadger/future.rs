//! Messages of epochs that have not begun here, in bounded space.

use std::collections::BTreeMap;

use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::Epoch;

use super::message::{AgreementMessage, BroadcastMessage, EpochMessage, SlotMessage};
use crate::footprint::Footprint;
use crate::limits::{FUTURE_BYTES_PER_SENDER, FUTURE_EPOCHS, FUTURE_MESSAGES_PER_SENDER};

/// What a kept message costs beside its payload, roughly.
const OVERHEAD: usize = 64;

/// Kept messages by epoch and sender, each sender's in the order they came.
#[derive(Default)]
pub(super) struct Future {
    kept: BTreeMap<Epoch, BTreeMap<NodeIndex, Vec<EpochMessage>>>,
    bytes: BTreeMap<NodeIndex, usize>,
}

impl Future {
    /// Keeps a message, unless its sender has used up its room: then it is dropped, and the sender
    /// says it again when asked.
    pub(super) fn keep(&mut self, epoch: Epoch, from: NodeIndex, message: EpochMessage) -> bool {
        let size = weight(&message);
        let used = self.bytes.entry(from).or_default();
        let messages = self.kept.entry(epoch).or_default().entry(from).or_default();
        if messages.len() >= FUTURE_MESSAGES_PER_SENDER || *used + size > FUTURE_BYTES_PER_SENDER {
            return false;
        }
        *used += size;
        messages.push(message);
        true
    }

    /// Who has been heard of in `epoch`.
    pub(super) fn senders(&self, epoch: Epoch) -> impl Iterator<Item = NodeIndex> {
        let senders = self.kept.get(&epoch).into_iter().flatten();
        senders.filter(|(_, messages)| !messages.is_empty()).map(|(sender, _)| *sender)
    }

    /// Drops everything before `epoch`.
    pub(super) fn skip_to(&mut self, epoch: Epoch) {
        let later = self.kept.split_off(&epoch);
        for (_, senders) in std::mem::replace(&mut self.kept, later) {
            self.give_back(&senders);
        }
    }

    /// Takes the messages of `epoch`.
    pub(super) fn take(&mut self, epoch: Epoch) -> Vec<(NodeIndex, EpochMessage)> {
        let Some(senders) = self.kept.remove(&epoch) else { return Vec::new() };
        self.give_back(&senders);
        let each = senders.into_iter();
        each.flat_map(|(from, messages)| messages.into_iter().map(move |m| (from, m))).collect()
    }

    /// How full it is.
    pub(super) fn footprint(&self, into: &mut Footprint) {
        let messages = self.kept.values().flat_map(BTreeMap::values).map(Vec::len).max();
        let bytes = self.bytes.values().copied().max().unwrap_or_default();
        // The epoch in progress is there too, until the next turn works it off.
        into.add("future_epochs", self.kept.len(), FUTURE_EPOCHS as usize + 1);
        let most = FUTURE_MESSAGES_PER_SENDER;
        into.add("future_messages_of_a_sender", messages.unwrap_or_default(), most);
        into.add("future_of_a_sender_bytes", bytes, FUTURE_BYTES_PER_SENDER);
    }

    fn give_back(&mut self, senders: &BTreeMap<NodeIndex, Vec<EpochMessage>>) {
        for (from, messages) in senders {
            let size: usize = messages.iter().map(weight).sum();
            if let Some(used) = self.bytes.get_mut(from) {
                *used -= size;
            }
        }
    }
}

fn weight(message: &EpochMessage) -> usize {
    OVERHEAD
        + match message {
            EpochMessage::Slot(_, SlotMessage::Broadcast(message)) => match message {
                BroadcastMessage::Init(fragment) | BroadcastMessage::Echo(fragment) => {
                    fragment.shard.len() + 32 * fragment.path.len()
                }
                BroadcastMessage::Ready(_) => 0,
            },
            EpochMessage::Slot(_, SlotMessage::Agreement(message)) => match message {
                AgreementMessage::Share { share, .. } => share.len(),
                AgreementMessage::Coin { joint, .. } => joint.len(),
                _ => 0,
            },
            EpochMessage::Share(_, bytes) | EpochMessage::Key(_, bytes) => bytes.len(),
            EpochMessage::Again => 0,
        }
}
