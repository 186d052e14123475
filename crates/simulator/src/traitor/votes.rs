//! Votes both ways in binary agreement, differently to different members, and forges coins.

use quorate_consensus::core::{Env, Target};
use quorate_consensus::honeybadger::message::{
    AgreementMessage, EpochMessage, HoneyBadgerMessage, SlotMessage, Values,
};
use rand::RngExt;

use super::{Sent, each, in_slot, noise};

/// How often a double voter says a vote that isn't its core's.
const INSISTS: usize = 3;
/// Bytes of a joint signature.
const JOINT_BYTES: usize = 48;

pub(super) fn double(n: usize, env: &mut Env, target: Target, message: HoneyBadgerMessage) -> Sent {
    let EpochMessage::Slot(proposer, SlotMessage::Agreement(agreement)) = &message.body else {
        return vec![(target, message)];
    };
    let mut sent = Vec::new();
    for to in each(n, target) {
        let flip = env.rng.random_bool(0.5);
        let lie = match agreement.clone() {
            AgreementMessage::BVal { round, value } => {
                // Both values to everybody is even allowed; the order isn't the same. To insist helps
                // where messages are counted instead of members.
                let other = SlotMessage::Agreement(AgreementMessage::BVal { round, value: !value });
                let other = in_slot(message.epoch, *proposer, other);
                sent.extend(std::iter::repeat_n((to, other), INSISTS));
                AgreementMessage::BVal { round, value }
            }
            AgreementMessage::Aux { round, value } => {
                AgreementMessage::Aux { round, value: value ^ flip }
            }
            AgreementMessage::Conf { round, .. } => {
                let joint = noise(&mut env.rng, JOINT_BYTES);
                let coin = SlotMessage::Agreement(AgreementMessage::Coin { round, joint });
                sent.push((to, in_slot(message.epoch, *proposer, coin)));
                AgreementMessage::Conf { round, values: Values::one(flip) }
            }
            AgreementMessage::Share { round, share } if flip => {
                AgreementMessage::Share { round, share: noise(&mut env.rng, share.len()) }
            }
            AgreementMessage::Term { value, from } => {
                AgreementMessage::Term { value: value ^ flip, from }
            }
            other => other,
        };
        sent.push((to, in_slot(message.epoch, *proposer, SlotMessage::Agreement(lie))));
    }
    sent
}
