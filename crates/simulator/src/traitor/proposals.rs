//! Proposals that are two, or none: equivocation and wrong shards in the reliable broadcast.

use std::sync::Arc;

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{Env, Target};
use quorate_consensus::honeybadger::message::{
    BroadcastMessage, EpochMessage, Fragment, HoneyBadgerMessage, SlotMessage,
};
use quorate_consensus::honeybadger::shards;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::Epoch;
use quorate_ledger::merkle::MerkleTree;
use quorate_replica::proposal::Proposal;
use rand::Rng;

use super::{Sent, in_slot};

/// The second half of the committee is given the shards of another value.
pub(super) fn equivocate(
    committee: Committee,
    target: Target,
    message: HoneyBadgerMessage,
) -> Sent {
    if let (
        Target::One(to),
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(_))),
    ) = (target, &message.body)
        && to.get() * 2 >= committee.size()
    {
        let other = format!("another proposal of epoch {}", message.epoch);
        let fragment = shards::split(committee, other.as_bytes()).swap_remove(to.get());
        let init = SlotMessage::Broadcast(BroadcastMessage::Init(fragment));
        return vec![(target, in_slot(message.epoch, *proposer, init))];
    }
    vec![(target, message)]
}

/// A tree over shards that are no codeword: every path fits, but what comes out depends on the
/// shards taken. The first ones alone give a proposal, whose time, very early or very late, would
/// count.
fn half_a_proposal(committee: Committee, epoch: Epoch) -> Vec<Fragment> {
    const CLEAR: u8 = 0;
    let time_ns = if epoch.0.is_multiple_of(2) { 0 } else { i64::MAX };
    let empty = Proposal::<&[u8]> { time_ns, trxs: Vec::new() };
    let value = [vec![CLEAR], empty.encode()].concat();
    let mut shards: Vec<Arc<[u8]>> =
        shards::split(committee, &value).into_iter().map(|fragment| fragment.shard).collect();
    for shard in shards.iter_mut().skip(committee.data_shards()) {
        *shard = shard.iter().map(|byte| byte ^ 0x5a).collect();
    }
    let tree = MerkleTree::from_leaves(&shards);
    let root = tree.root();
    let proven = shards.into_iter().enumerate();
    proven
        .map(|(i, shard)| Fragment { root, shard, path: tree.proof(i).expect("a leaf") })
        .collect()
}

pub(super) fn spoil(
    committee: Committee,
    me: NodeIndex,
    env: &mut Env,
    target: Target,
    message: HoneyBadgerMessage,
) -> Sent {
    let HoneyBadgerMessage { epoch, body } = message;
    let body = match body {
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(_))) => {
            let Target::One(to) = target else { return Vec::new() };
            let fragment = half_a_proposal(committee, epoch).swap_remove(to.get());
            EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(fragment)))
        }
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(_)))
            if proposer == me =>
        {
            let fragment = half_a_proposal(committee, epoch).swap_remove(me.get());
            EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(fragment)))
        }
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(mut f))) => {
            let mut shard = f.shard.to_vec();
            if let Some(byte) = shard.first_mut() {
                *byte ^= 1 << (env.rng.next_u32() % 8);
            }
            f.shard = shard.into();
            EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(f)))
        }
        other => other,
    };
    vec![(target, HoneyBadgerMessage { epoch, body })]
}
