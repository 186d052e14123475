//! Which faults a seed suffers: every kind is a knob with a rate, combined per seed in swarm
//! fashion, so that some seeds see one fault alone and others many at once.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The knobs of one seed. Rates are chances per packet, per disk call or per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Chance that a packet is lost.
    pub drop: f64,
    /// Chance that a packet comes twice.
    pub duplicate: f64,
    /// Chance that a bit of a packet flips.
    pub corrupt: f64,
    /// Longest delay of a packet in milliseconds; delays differ, so packets overtake each other.
    pub delay_ms: u64,
    /// Chance per second that the nodes are split in two for a while.
    pub partition: f64,
    /// Chance per second that one direction between two nodes is cut for a while.
    pub one_way: f64,
    /// Chance per second that one node's packets take a second longer for a while.
    pub slow_link: f64,
    /// Chance per second that one node loses power (unsynced writes lost or torn).
    pub crash: f64,
    /// Chance per second that all nodes lose power at once.
    pub crash_all: f64,
    /// Chance per second that a node stands still for a while.
    pub pause: f64,
    /// Chance per second that a node's clock jumps by up to two seconds.
    pub clock_jump: f64,
    /// Chance per write or sync that the disk fails.
    pub disk_error: f64,
    /// Chance per second that a disk is full for a while.
    pub full_disk: f64,
    /// Chance per restart that a bit of a ledger file has flipped meanwhile.
    pub bit_flip: f64,
    /// Chance per restart that the disk is empty.
    pub wipe: f64,
}

impl Faults {
    /// The swarm of a seed: each knob is off or has a rate of its own.
    #[must_use]
    pub fn swarm(rng: &mut ChaCha8Rng) -> Self {
        let mut knob = |odds: f64, most: f64| {
            if rng.random_bool(odds) { rng.random_range(0.0..most) } else { 0.0 }
        };
        let mut faults = Self {
            drop: knob(0.5, 0.25),
            duplicate: knob(0.4, 0.2),
            corrupt: knob(0.2, 0.05),
            partition: knob(0.4, 0.3),
            one_way: knob(0.3, 0.3),
            slow_link: knob(0.3, 0.3),
            crash: knob(0.6, 0.5),
            crash_all: knob(0.3, 0.15),
            pause: knob(0.3, 0.3),
            clock_jump: knob(0.2, 0.3),
            disk_error: knob(0.2, 0.02),
            full_disk: knob(0.2, 0.2),
            bit_flip: knob(0.1, 0.5),
            wipe: 0.0,
            delay_ms: 0,
        };
        faults.delay_ms =
            if rng.random_bool(0.3) { rng.random_range(100..800) } else { rng.random_range(2..30) };
        faults
    }

    /// A quiet network: nothing but a little delay.
    #[must_use]
    pub fn none() -> Self {
        Self { delay_ms: 10, ..Self::default() }
    }
}

/// How often each kind of fault struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<&'static str, u64>);

impl Counts {
    /// One more of `kind`.
    pub fn add(&mut self, kind: &'static str) {
        self.add_many(kind, 1);
    }

    /// `count` more of `kind`.
    pub fn add_many(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// Adds another count.
    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            self.add_many(kind, *count);
        }
    }
}
