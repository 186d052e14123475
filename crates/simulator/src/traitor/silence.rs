//! Says each message to some and not to others. (Who says nothing at all needs no code.)
//!
//! In every other epoch it draws each time, so that what is missing comes when it is asked for
//! again. In the others it has favourites, for good: of its own proposal two members get their
//! shards and only the first of them its ECHO and READY, whenever they ask, while everybody hears
//! its votes. That is as much as one member can do to make a single other one certain.

use quorate_consensus::core::{Env, Target};
use quorate_consensus::honeybadger::message::{
    BroadcastMessage, EpochMessage, HoneyBadgerMessage, SlotMessage,
};
use quorate_crypto::threshold::NodeIndex;
use rand::RngExt;

use super::{Sent, each};

pub(super) fn withhold(
    n: usize,
    me: NodeIndex,
    env: &mut Env,
    target: Target,
    message: &HoneyBadgerMessage,
) -> Sent {
    let steady = message.epoch.0 % 2 == 1;
    each(n, target)
        .into_iter()
        .filter(|to| if steady { says(n, me, *to, message) } else { env.rng.random_bool(0.5) })
        .map(|to| (to, message.clone()))
        .collect()
}

/// Whether a member with favourites says this to `to`.
fn says(n: usize, me: NodeIndex, to: Target, message: &HoneyBadgerMessage) -> bool {
    let Target::One(to) = to else { return true };
    // Favourites take turns: the first is so many places behind the traitor, and the second next.
    let others = n as u64 - 1;
    let place = (usize::from(to.0) + n - me.get() - 1) as u64 % n as u64;
    let first = message.epoch.0 / 2 % others;
    match &message.body {
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(broadcast)) if *proposer == me => {
            match broadcast {
                BroadcastMessage::Init(_) => place == first || place == (first + 1) % others,
                BroadcastMessage::Echo(_) | BroadcastMessage::Ready(_) => place == first,
            }
        }
        _ => true,
    }
}
