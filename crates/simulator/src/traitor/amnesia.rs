//! A member that keeps its keys and its ledger, and forgets at every restart what it said: its
//! notes are gone, and nothing tells its store. It restarts often.

use quorate_consensus::core::{Recovered, Topic};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Chance that it restarts at a beat.
const RESTART: f64 = 0.05;

/// Takes its votes, and how far it was in its view, out of what it remembers.
pub fn forget(recovered: &mut Recovered) {
    recovered.notes.retain(|(topic, key, _)| match topic {
        Topic::Vote => false,
        Topic::Group => key != b"epoch",
        Topic::Pool | Topic::Change => true,
    });
    recovered.amnesia = false;
}

/// Whether it restarts now, and how long it is away then, in ms.
pub fn restarts(rng: &mut ChaCha8Rng) -> Option<u64> {
    rng.random_bool(RESTART).then(|| rng.random_range(20..600))
}
