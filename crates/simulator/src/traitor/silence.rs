//! Says each message to some and not to others. (Who says nothing at all needs no code.)

use quorate_consensus::core::{Env, Target};
use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use rand::RngExt;

use super::{Sent, each};

pub(super) fn withhold(
    n: usize,
    env: &mut Env,
    target: Target,
    message: &HoneyBadgerMessage,
) -> Sent {
    each(n, target)
        .into_iter()
        .filter(|_| env.rng.random_bool(0.5))
        .map(|to| (to, message.clone()))
        .collect()
}
