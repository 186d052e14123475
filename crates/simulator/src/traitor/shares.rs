//! Noise in place of coin shares, decryption shares and joint signatures.

use quorate_consensus::core::{Env, Target};
use quorate_consensus::honeybadger::message::{
    AgreementMessage, EpochMessage, HoneyBadgerMessage, SlotMessage,
};

use super::{Sent, noise};

pub(super) fn forge(env: &mut Env, target: Target, message: HoneyBadgerMessage) -> Sent {
    let HoneyBadgerMessage { epoch, body } = message;
    let body = match body {
        EpochMessage::Share(proposer, share) => {
            EpochMessage::Share(proposer, noise(&mut env.rng, share.len()))
        }
        EpochMessage::Key(proposer, joint) => {
            EpochMessage::Key(proposer, noise(&mut env.rng, joint.len()))
        }
        EpochMessage::Slot(proposer, SlotMessage::Agreement(message)) => {
            let message = match message {
                AgreementMessage::Share { round, share } => {
                    AgreementMessage::Share { round, share: noise(&mut env.rng, share.len()) }
                }
                AgreementMessage::Coin { round, joint } => {
                    AgreementMessage::Coin { round, joint: noise(&mut env.rng, joint.len()) }
                }
                other => other,
            };
            EpochMessage::Slot(proposer, SlotMessage::Agreement(message))
        }
        other => other,
    };
    vec![(target, HoneyBadgerMessage { epoch, body })]
}
