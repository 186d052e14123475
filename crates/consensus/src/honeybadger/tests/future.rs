//! The buffer of future epochs.

use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::Epoch;

use crate::honeybadger::future::Future;
use crate::honeybadger::message::{BroadcastMessage, EpochMessage, Fragment, SlotMessage};
use crate::limits::{FUTURE_BYTES_PER_SENDER, FUTURE_MESSAGES_PER_SENDER};

const ONE: NodeIndex = NodeIndex(1);
const TWO: NodeIndex = NodeIndex(2);

fn share() -> EpochMessage {
    EpochMessage::Share(NodeIndex(0), vec![1])
}

fn shard(length: usize) -> EpochMessage {
    let shard: Arc<[u8]> = vec![0; length].into();
    let fragment = Fragment { root: Digest::default(), shard, path: Vec::new() };
    EpochMessage::Slot(NodeIndex(0), SlotMessage::Broadcast(BroadcastMessage::Echo(fragment)))
}

#[test]
fn messages_come_out_in_the_order_of_their_sender() {
    let mut future = Future::default();
    assert!(future.keep(Epoch(5), TWO, share()));
    assert!(future.keep(Epoch(5), ONE, shard(3)));
    assert!(future.keep(Epoch(5), ONE, share()));
    assert!(future.keep(Epoch(6), ONE, share()));
    assert_eq!(future.senders(Epoch(5)).collect::<Vec<_>>(), [ONE, TWO]);
    assert_eq!(future.take(Epoch(5)), [(ONE, shard(3)), (ONE, share()), (TWO, share())]);
    assert_eq!(future.take(Epoch(5)), []);
    assert_eq!(future.take(Epoch(6)), [(ONE, share())]);
}

#[test]
fn one_sender_cannot_use_up_the_room_of_another() {
    let mut future = Future::default();
    for _ in 0..FUTURE_MESSAGES_PER_SENDER {
        assert!(future.keep(Epoch(5), ONE, share()));
    }
    assert!(!future.keep(Epoch(5), ONE, share()), "too many in one epoch");
    assert!(future.keep(Epoch(6), ONE, share()));
    assert!(future.keep(Epoch(5), TWO, share()));
    let mut kept = 0;
    while future.keep(Epoch(7), TWO, shard(1 << 20)) {
        kept += 1;
    }
    assert_eq!(kept, FUTURE_BYTES_PER_SENDER / (1 << 20) - 1);
}

#[test]
fn room_is_given_back() {
    let mut future = Future::default();
    for round in 0..10 {
        assert!(future.keep(Epoch(round), ONE, shard(FUTURE_BYTES_PER_SENDER - 1_000)));
        assert!(!future.keep(Epoch(round + 1), ONE, shard(2_000)));
        if round % 2 == 0 {
            future.skip_to(Epoch(round + 1));
        } else {
            assert_eq!(future.take(Epoch(round)).len(), 1);
        }
        assert_eq!(future.senders(Epoch(round)).count(), 0);
    }
}
