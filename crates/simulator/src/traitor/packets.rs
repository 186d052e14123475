//! What a traitor does with packets: those its replica sends, and those it makes on its own.

use quorate_consensus::core::Message;
use quorate_ledger::ids::GroupId;
use quorate_replica::api::{Address, GroupStatus};
use quorate_replica::wire::Packet;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::purse::Purse;
use super::{Treason, ballots, echoes, flood, history, masks};

/// Time between two moments at which a traitor does something on its own, in ms.
pub const BEAT_MS: u64 = 100;
/// Packets a traitor remembers.
const MEMORY: usize = 64;
/// Longest packet worth remembering, in bytes.
const MEMORABLE: usize = 256 * 1024;

/// A packet, and to whom it goes.
pub type Addressed = (Address, Packet);

/// Some of the packets that a traitor has heard and sent, old ones among them.
#[derive(Clone, Default)]
pub struct Memory(Vec<Packet>);

impl Memory {
    /// Remembers a packet, maybe in place of another one.
    pub fn keep(&mut self, rng: &mut ChaCha8Rng, packet: &Packet) {
        if packet.len() > MEMORABLE {
            return;
        }
        if self.0.len() < MEMORY {
            self.0.push(packet.clone());
        } else if rng.random_bool(0.2) {
            let place = rng.random_range(0..MEMORY);
            self.0[place] = packet.clone();
        }
    }

    /// One of them.
    pub fn any(&self, rng: &mut ChaCha8Rng) -> Option<&Packet> {
        (!self.0.is_empty()).then(|| &self.0[rng.random_range(0..self.0.len())])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.0.iter()
    }
}

/// What a traitor has and sees in one group.
pub struct Vantage<'a> {
    /// Its keys.
    pub purse: &'a Purse,
    /// What it remembers.
    pub memory: &'a Memory,
    /// Where its own replica is.
    pub status: &'a GroupStatus,
    /// All groups of its machine.
    pub groups: &'a [GroupId],
    /// Now, in nanoseconds since the Unix epoch.
    pub now_ns: i64,
}

/// What a packet of its replica becomes; nothing if it leaves as it is.
#[must_use]
pub fn rewrite<M: Message>(
    treason: Treason,
    from: &Vantage<'_>,
    rng: &mut ChaCha8Rng,
    packet: &Packet,
) -> Option<Vec<Packet>> {
    match treason {
        Treason::FalseHistorian => history::rewrite::<M>(from, rng, packet),
        Treason::WrongBallots => ballots::rewrite::<M>(from, rng, packet),
        _ => None,
    }
}

/// What a traitor sends on its own at a beat.
#[must_use]
pub fn scheme<M: Message>(
    treason: Treason,
    from: &Vantage<'_>,
    rng: &mut ChaCha8Rng,
) -> Vec<Addressed> {
    match treason {
        Treason::FalseHistorian => history::scheme::<M>(from, rng),
        Treason::Flooder => flood::scheme(from, rng),
        Treason::WrongBallots => ballots::scheme::<M>(from, rng),
        Treason::Echo => echoes::scheme::<M>(from, rng),
        Treason::Impersonator => masks::scheme::<M>(from, rng),
        _ => Vec::new(),
    }
}
