//! Bytes of the messages.

use std::sync::Arc;

use proptest::prelude::*;
use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::{MAX_SHARE, NodeIndex};
use quorate_ledger::ids::Epoch;

use crate::core::Message;
use crate::honeybadger::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, Fragment, HoneyBadgerMessage, ProofMessage,
    SlotMessage, Values,
};
use crate::limits::MAX_PROPOSAL;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn fragment() -> impl Strategy<Value = Fragment> {
    let shard = proptest::collection::vec(any::<u8>(), 0..200);
    let path = proptest::collection::vec(digest(), 0..7);
    (digest(), shard, path).prop_map(|(root, shard, path)| Fragment {
        root,
        shard: shard.into(),
        path,
    })
}

fn signature() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..=MAX_SHARE)
}

fn slot() -> impl Strategy<Value = SlotMessage> {
    let broadcast = prop_oneof![
        fragment().prop_map(BroadcastMessage::Init),
        fragment().prop_map(BroadcastMessage::Echo),
        digest().prop_map(BroadcastMessage::Ready),
    ];
    let vote = (any::<u64>(), any::<bool>(), 1..=3_u8, signature());
    let agreement = (0..6_u8, vote).prop_map(|(kind, (round, value, bits, bytes))| match kind {
        0 => AgreementMessage::BVal { round, value },
        1 => AgreementMessage::Aux { round, value },
        2 => AgreementMessage::Conf { round, values: Values::from_bits(bits).unwrap() },
        3 => AgreementMessage::Share { round, share: bytes },
        4 => AgreementMessage::Coin { round, joint: bytes },
        _ => AgreementMessage::Term { value, from: round },
    });
    prop_oneof![
        broadcast.prop_map(SlotMessage::Broadcast),
        agreement.prop_map(SlotMessage::Agreement)
    ]
}

fn message() -> impl Strategy<Value = HoneyBadgerMessage> {
    let index = any::<u16>().prop_map(NodeIndex);
    let body = prop_oneof![
        6 => (index.clone(), slot()).prop_map(|(p, m)| EpochMessage::Slot(p, m)),
        1 => (index.clone(), signature()).prop_map(|(p, s)| EpochMessage::Share(p, s)),
        1 => (index, signature()).prop_map(|(p, s)| EpochMessage::Key(p, s)),
        1 => Just(EpochMessage::Again),
    ];
    (any::<u64>(), body).prop_map(|(epoch, body)| HoneyBadgerMessage { epoch: Epoch(epoch), body })
}

proptest! {
    #[test]
    fn messages_survive_the_wire(message in message()) {
        let bytes = message.encode();
        prop_assert_eq!(HoneyBadgerMessage::decode(&bytes), Some(message));
    }

    #[test]
    fn proof_messages_survive_the_wire(
        instance in digest(), proposer in any::<u16>(), body in slot()
    ) {
        let message = ProofMessage { instance, proposer: NodeIndex(proposer), body };
        prop_assert_eq!(ProofMessage::decode(&message.encode()), Some(message));
    }

    #[test]
    fn noise_never_panics_and_has_one_reading(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(message) = HoneyBadgerMessage::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes.clone());
        }
        if let Some(message) = ProofMessage::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn damaged_messages_never_panic(message in message(), at in any::<usize>(), bit in 0..8_u8) {
        let mut bytes = message.encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Some(other) = HoneyBadgerMessage::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
        prop_assert_eq!(HoneyBadgerMessage::decode(&message.encode()[..at]), None);
    }
}

fn of(body: EpochMessage) -> HoneyBadgerMessage {
    HoneyBadgerMessage { epoch: Epoch(1), body }
}

fn echo(length: usize, path: usize) -> HoneyBadgerMessage {
    let shard: Arc<[u8]> = vec![0; length].into();
    let fragment = Fragment { root: Digest::default(), shard, path: vec![Digest::default(); path] };
    let message = SlotMessage::Broadcast(BroadcastMessage::Echo(fragment));
    of(EpochMessage::Slot(NodeIndex(0), message))
}

#[test]
fn limits_hold() {
    let decodes = |message: &HoneyBadgerMessage| HoneyBadgerMessage::decode(&message.encode());
    assert!(decodes(&echo(MAX_PROPOSAL + 8, 7)).is_some());
    assert!(decodes(&echo(MAX_PROPOSAL + 9, 0)).is_none());
    assert!(decodes(&echo(2, 8)).is_none());
    let share = |length| of(EpochMessage::Share(NodeIndex(0), vec![0; length]));
    assert!(decodes(&share(MAX_SHARE)).is_some());
    assert!(decodes(&share(MAX_SHARE + 1)).is_none());
}

/// The bytes are frozen: members of one view may run different releases.
#[test]
fn golden_bytes() {
    let aux = SlotMessage::Agreement(AgreementMessage::Aux { round: 2, value: true });
    let message = of(EpochMessage::Slot(NodeIndex(3), aux));
    assert_eq!(message.encode(), [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 5, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
    assert_eq!(
        of(EpochMessage::Key(NodeIndex(2), vec![7, 8])).encode(),
        [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 11, 0, 0, 0, 2, 7, 8]
    );
    let fragment =
        Fragment { root: Digest([1; 32]), shard: Arc::from([9, 9]), path: vec![Digest([2; 32])] };
    let init = SlotMessage::Broadcast(BroadcastMessage::Init(fragment));
    let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1];
    expected.extend([1; 32]);
    expected.extend([0, 0, 0, 1]);
    expected.extend([2; 32]);
    expected.extend([0, 0, 0, 2, 9, 9]);
    assert_eq!(of(EpochMessage::Slot(NodeIndex(0), init)).encode(), expected);
}
