//! Which faults a seed suffers, as data: [`Faults`] are the knobs, combined per seed in swarm
//! fashion so that some seeds see one kind alone and others many at once; [`schedule`] draws from
//! them every blow that has a moment. What strikes single packets or disk calls stays a rate.
//!
//! A schedule is a list, so a failing seed can be reduced: see [`crate::shrink`].

use std::collections::{BTreeMap, BTreeSet};

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
    /// Chance that a packet is held back while later ones pass it.
    pub reorder: f64,
    /// Chance that a packet comes once more, much later.
    pub replay: f64,
    /// Longest delay of a packet in milliseconds; each packet draws its own.
    pub delay_ms: u64,
    /// Chance per second that the nodes are split in two for a while.
    pub partition: f64,
    /// Chance per second that one direction between two nodes is cut for a while.
    pub one_way: f64,
    /// Chance per second that what is sent to a node queues up and arrives at once later.
    pub clog: f64,
    /// Chance per second that one node's packets take a second longer for a while.
    pub slow_link: f64,
    /// Chance per second that a node's line carries few bytes for a while.
    pub bandwidth: f64,
    /// Chance per second that one node loses power (unsynced writes lost or torn).
    pub crash: f64,
    /// Chance per second that all nodes lose power at once.
    pub crash_all: f64,
    /// Chance per second that a node stands still for a while.
    pub pause: f64,
    /// Chance per second that a node's clock jumps by up to two seconds.
    pub clock_jump: f64,
    /// Chance per second that a node's clock begins to run too fast or too slow.
    pub clock_drift: f64,
    /// Chance per second that a node runs a program that speaks the next wire version for a while.
    pub wire_version: f64,
    /// Chance per read that the disk fails.
    pub read_error: f64,
    /// Chance per write or sync that the disk fails.
    pub write_error: f64,
    /// Chance per write that it lands somewhere else, also in another file.
    pub misdirect: f64,
    /// Chance per second that a disk is full for a while.
    pub full_disk: f64,
    /// Chance per second that a disk syncs slowly for a while.
    pub slow_sync: f64,
    /// Chance per crash that a bit of a file has flipped when the node is back.
    pub bit_flip: f64,
    /// Chance per crash that a file is shorter when the node is back.
    pub truncate: f64,
    /// Chance per second that a bit of a file flips under a running node.
    pub rot: f64,
    /// Chance per crash that the disk is empty when the node is back.
    pub wipe: f64,
}

/// A knob: its name, and its place.
type Knob = (&'static str, fn(&mut Faults) -> &mut f64);

impl Faults {
    /// All knobs with a rate, by name.
    pub const KNOBS: [Knob; 25] = [
        ("drop", |f| &mut f.drop),
        ("duplicate", |f| &mut f.duplicate),
        ("corrupt", |f| &mut f.corrupt),
        ("reorder", |f| &mut f.reorder),
        ("replay", |f| &mut f.replay),
        ("partition", |f| &mut f.partition),
        ("one_way", |f| &mut f.one_way),
        ("clog", |f| &mut f.clog),
        ("slow_link", |f| &mut f.slow_link),
        ("bandwidth", |f| &mut f.bandwidth),
        ("crash", |f| &mut f.crash),
        ("crash_all", |f| &mut f.crash_all),
        ("pause", |f| &mut f.pause),
        ("clock_jump", |f| &mut f.clock_jump),
        ("clock_drift", |f| &mut f.clock_drift),
        ("wire_version", |f| &mut f.wire_version),
        ("read_error", |f| &mut f.read_error),
        ("write_error", |f| &mut f.write_error),
        ("misdirect", |f| &mut f.misdirect),
        ("full_disk", |f| &mut f.full_disk),
        ("slow_sync", |f| &mut f.slow_sync),
        ("bit_flip", |f| &mut f.bit_flip),
        ("truncate", |f| &mut f.truncate),
        ("rot", |f| &mut f.rot),
        ("wipe", |f| &mut f.wipe),
    ];

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
            reorder: knob(0.3, 0.1),
            replay: knob(0.2, 0.1),
            partition: knob(0.4, 0.3),
            one_way: knob(0.3, 0.3),
            clog: knob(0.2, 0.3),
            slow_link: knob(0.3, 0.3),
            bandwidth: knob(0.2, 0.3),
            crash: knob(0.6, 0.5),
            crash_all: knob(0.3, 0.15),
            pause: knob(0.3, 0.3),
            clock_jump: knob(0.2, 0.3),
            clock_drift: knob(0.2, 0.3),
            wire_version: knob(0.1, 0.2),
            read_error: knob(0.15, 0.01),
            write_error: knob(0.2, 0.02),
            misdirect: 0.0,
            rot: 0.0,
            full_disk: knob(0.2, 0.2),
            slow_sync: knob(0.2, 0.3),
            bit_flip: knob(0.1, 0.5),
            truncate: knob(0.1, 0.5),
            wipe: knob(0.15, 0.5),
            delay_ms: 0,
        };
        // From a stream of their own, so that what the seeds of older bugs draw stays as it was.
        let mut own = rng.clone();
        own.set_stream(1);
        if own.random_bool(0.15) {
            faults.misdirect = own.random_range(0.0..0.1);
        }
        if own.random_bool(0.15) {
            faults.rot = own.random_range(0.0..0.5);
        }
        faults.delay_ms =
            if rng.random_bool(0.3) { rng.random_range(100..800) } else { rng.random_range(2..30) };
        faults
    }

    /// One knob alone, at a high rate; with crashes, if it needs them.
    ///
    /// # Panics
    /// If there is no knob of that name: an own mistake.
    #[must_use]
    pub fn alone(name: &str) -> Self {
        let knob = Self::KNOBS.into_iter().find(|(known, _)| *known == name);
        let (_, knob) = knob.unwrap_or_else(|| panic!("no knob {name}"));
        let rate = match name {
            "read_error" | "write_error" | "misdirect" => 0.1,
            "drop" | "duplicate" | "corrupt" | "reorder" | "replay" => 0.3,
            "crash_all" => 0.2,
            _ => 0.6,
        };
        let crash = if matches!(name, "bit_flip" | "truncate" | "wipe" | "misdirect" | "rot") {
            0.5
        } else {
            0.0
        };
        let mut faults = Self { crash, ..Self::none() };
        *knob(&mut faults) = rate;
        faults
    }

    /// A quiet network: nothing but a little delay.
    #[must_use]
    pub fn none() -> Self {
        Self { delay_ms: 10, ..Self::default() }
    }
}

/// What a crash leaves on the disk beside what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// Nothing more.
    None,
    /// A bit of some file has flipped.
    BitFlip,
    /// Some file has lost its end.
    Truncate,
    /// Everything is gone.
    Wipe,
}

/// One node's loss of power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outage {
    /// Writes and syncs until the power goes; `None`: at once.
    pub fuse: Option<u64>,
    /// When the node is back, in ms after the power went.
    pub back_after_ms: u64,
    /// What its disk suffers meanwhile.
    pub harm: Harm,
}

/// Something that happens to nodes at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are what the knobs say")]
pub enum Misfortune {
    /// Nodes lose power, one or all.
    Crash(BTreeMap<usize, Outage>),
    /// The nodes of one side hear nothing of the others.
    Partition { side: BTreeSet<usize>, ms: u64 },
    /// One direction is cut.
    OneWay { from: usize, to: usize, ms: u64 },
    /// What is sent to the node arrives at the end.
    Clog { node: usize, ms: u64 },
    /// All packets of the node take a second longer.
    SlowLink { node: usize, ms: u64 },
    /// The node's line carries few bytes.
    Bandwidth { node: usize, bytes_per_ms: u64, ms: u64 },
    /// The node stands still.
    Pause { node: usize, ms: u64 },
    /// The node's clock jumps ahead.
    ClockJump { node: usize, ms: u64 },
    /// The node's clock gains (or loses) so many microseconds a second.
    ClockDrift { node: usize, ppm: i64 },
    /// The node speaks the next wire version.
    WireVersion { node: usize, ms: u64 },
    /// The node's disk is full.
    FullDisk { node: usize, ms: u64 },
    /// The node's disk takes long to sync.
    SlowSync { node: usize, sync_ms: u64, ms: u64 },
    /// The node's disk fails reads and writes at the rates of the knobs, and misdirects writes.
    BadDisk { node: usize, ms: u64 },
    /// A bit of a file of the running node flips.
    Rot { node: usize },
}

/// A misfortune and its moment, in ms after the beginning of the faulty phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blow {
    /// When.
    pub at_ms: u64,
    /// What.
    pub misfortune: Misfortune,
}

/// Draws all blows of a faulty phase over `nodes` nodes.
#[must_use]
pub fn schedule(rng: &mut ChaCha8Rng, faults: &Faults, nodes: usize, ms: u64) -> Vec<Blow> {
    let mut blows = Vec::new();
    for second in 1..ms / 1_000 {
        let mut add = |misfortune| blows.push(Blow { at_ms: second * 1_000, misfortune });
        if struck(rng, faults.crash_all) {
            let all = (0..nodes).map(|node| (node, outage(rng, faults, 0.5, 12, 2_000)));
            add(Misfortune::Crash(all.collect()));
        }
        let node = rng.random_range(0..nodes);
        if struck(rng, faults.crash) {
            let outage = outage(rng, faults, 0.7, 30, 6_000);
            add(Misfortune::Crash(BTreeMap::from([(node, outage)])));
        }
        if struck(rng, faults.partition) {
            let side = (0..nodes).filter(|_| rng.random_bool(0.5)).collect();
            add(Misfortune::Partition { side, ms: rng.random_range(500..5_000) });
        }
        if struck(rng, faults.one_way) {
            let (from, to) = (rng.random_range(0..nodes), rng.random_range(0..nodes));
            add(Misfortune::OneWay { from, to, ms: rng.random_range(500..5_000) });
        }
        let node = rng.random_range(0..nodes);
        if struck(rng, faults.clog) {
            add(Misfortune::Clog { node, ms: rng.random_range(500..4_000) });
        }
        if struck(rng, faults.slow_link) {
            add(Misfortune::SlowLink { node, ms: rng.random_range(500..4_000) });
        }
        let node = rng.random_range(0..nodes);
        if struck(rng, faults.bandwidth) {
            let bytes_per_ms = rng.random_range(4..200);
            add(Misfortune::Bandwidth { node, bytes_per_ms, ms: rng.random_range(500..4_000) });
        }
        if struck(rng, faults.pause) {
            add(Misfortune::Pause { node, ms: rng.random_range(200..4_000) });
        }
        let node = rng.random_range(0..nodes);
        if struck(rng, faults.clock_jump) {
            add(Misfortune::ClockJump { node, ms: rng.random_range(1..2_000) });
        }
        if struck(rng, faults.clock_drift) {
            add(Misfortune::ClockDrift { node, ppm: rng.random_range(-50_000..50_000) });
        }
        if struck(rng, faults.wire_version) {
            add(Misfortune::WireVersion { node, ms: rng.random_range(500..4_000) });
        }
        disk_blows(rng, faults, nodes, &mut add);
    }
    blows
}

fn disk_blows(
    rng: &mut ChaCha8Rng,
    faults: &Faults,
    nodes: usize,
    add: &mut impl FnMut(Misfortune),
) {
    let node = rng.random_range(0..nodes);
    if struck(rng, faults.full_disk) {
        add(Misfortune::FullDisk { node, ms: rng.random_range(500..4_000) });
    }
    let node = rng.random_range(0..nodes);
    if struck(rng, faults.slow_sync) {
        let sync_ms = rng.random_range(5..400);
        add(Misfortune::SlowSync { node, sync_ms, ms: rng.random_range(500..4_000) });
    }
    let node = rng.random_range(0..nodes);
    if faults.read_error > 0.0 || faults.write_error > 0.0 || faults.misdirect > 0.0 {
        add(Misfortune::BadDisk { node, ms: rng.random_range(500..3_000) });
    }
    if struck(rng, faults.rot) {
        add(Misfortune::Rot { node: rng.random_range(0..nodes) });
    }
}

fn outage(rng: &mut ChaCha8Rng, faults: &Faults, midway: f64, calls: u64, ms: u64) -> Outage {
    let harm = if struck(rng, faults.wipe) {
        Harm::Wipe
    } else if struck(rng, faults.bit_flip) {
        Harm::BitFlip
    } else if struck(rng, faults.truncate) {
        Harm::Truncate
    } else {
        Harm::None
    };
    Outage {
        fuse: rng.random_bool(midway).then(|| rng.random_range(1..calls)),
        back_after_ms: rng.random_range(100..ms),
        harm,
    }
}

fn struck(rng: &mut ChaCha8Rng, rate: f64) -> bool {
    rate > 0.0 && rng.random_bool(rate)
}

/// A kind of fault: its name in reports, and what it does.
pub type Kind = (&'static str, &'static str);

/// All kinds of faults of network, machines and disks. Those of traitors are in
/// [`crate::traitor`].
pub const KINDS: [Kind; 30] = [
    ("drop", "a packet is lost"),
    ("delay", "a packet takes longer than it does in a quiet network"),
    ("reorder", "a packet is held back while later ones pass it"),
    ("duplicate", "a packet comes twice"),
    ("replay", "a packet comes once more, seconds later"),
    ("corrupt", "a bit of a packet flips"),
    ("partition", "the nodes are split in two for a while"),
    ("one_way", "one direction between two nodes is cut for a while"),
    ("clog", "a packet waits with all others to a node, and arrives with them at once"),
    ("slow_link", "a packet of a node takes a second longer"),
    ("bandwidth", "a packet waits because its sender's line is narrow"),
    ("crash", "a machine loses power and starts again"),
    ("crash_all", "all machines lose power at once"),
    ("power_cut_in_a_turn", "the power goes between two writes of one turn"),
    ("pause", "a node stands still for a while"),
    ("clock_jump", "a node's clock jumps ahead"),
    ("clock_drift", "a node's clock runs too fast or too slow"),
    ("wire_version", "a packet says that it is of the next wire version"),
    ("joiner", "a node joins while the faults strike"),
    ("read_error", "the disk fails a read"),
    ("write_error", "the disk fails a write or a sync"),
    ("lost_unsynced_write", "a write that was not synced is gone after a crash"),
    ("torn_write", "a write that was not synced is there in part after a crash"),
    (
        "misdirected_write",
        "a write lands on top of other bytes, of any file, and not where it should",
    ),
    ("bit_flip", "a bit of a file that was synced flips, while its node runs or is down"),
    ("rot", "a bit of a file flips under a running node"),
    ("truncated_tail", "a file that was synced has lost its end after a crash"),
    ("wipe", "the disk is empty after a crash"),
    ("full_disk", "a write finds no room"),
    ("slow_sync", "the disk takes long to sync for a while"),
];

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
