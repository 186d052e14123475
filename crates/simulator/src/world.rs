//! A whole network in one thread on virtual time: machines that run whole members of several
//! groups over faulty disks, a network that loses, delays and reorders, clients, and the checkers
//! that watch.
//!
//! | module | what it tells |
//! |---|---|
//! | [`play`] | what a protocol brings along: what sits on the machines, and what is played |
//! | `clockwork` | virtual time: what happens when |
//! | `network` | packets on their way |
//! | `fate` | how blows strike, and how everything heals |
//! | `nodes` | machines: started, fed, cut off from power |
//! | [`poa`] | HoneyBadgerBFT: producers, traitors, changes of the consensus |
//! | [`cft`] | signed Raft: members that come and go, clients that ask again |

pub mod cft;
mod clockwork;
mod fate;
mod network;
mod nodes;
pub mod play;
pub mod poa;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_crypto::hash::Digest;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_replica::api::PeerRef;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use crate::disk::FaultyDisk;
use crate::faults::{Blow, Counts, Faults, Outage};
use crate::properties::Violation;
use crate::traitor::Treason;
pub use cft::CftWorld;
use clockwork::Scheduled;
use play::Play;
pub use poa::PoaWorld;

/// Virtual time at which every world begins, in ms since the epoch.
const BEGIN: u64 = 1_700_000_000_000;
/// The world's clock counts microseconds since its beginning; this many are a millisecond.
const MS: u64 = 1_000;

/// How long a good disk takes to sync, in microseconds. What arrives meanwhile is one turn, as on
/// real machines; one machine in ten has a disk that takes no time, so that every input is a turn.
const USUAL_SYNC_US: std::ops::Range<u64> = 200..4_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Groups that every node is in.
    pub groups: usize,
    /// Members that order once the group is set up.
    pub producers: usize,
    /// Nodes that follow without ordering.
    pub users: usize,
    /// Nodes that join while the faults strike.
    pub joiners: usize,
    /// Producers that betray, with what they do.
    pub traitors: Vec<Treason>,
    /// The knobs of the faulty phase.
    pub faults: Faults,
    /// The blows of the faulty phase.
    pub schedule: Vec<Blow>,
    /// Length of the faulty phase in virtual ms.
    pub faulty_ms: u64,
    /// Bound on the recovery after it in virtual ms.
    pub heal_ms: u64,
    /// What clients do in each group: so many trxs are posted, so many operations are begun.
    pub posts: usize,
    /// Epoch interval in ms, for protocols that have epochs.
    pub interval_ms: u64,
    /// Whether the trace is printed as it happens.
    pub trace: bool,
}

impl Plan {
    /// All nodes of it.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.founders() + self.joiners
    }

    /// Nodes that are there from the beginning.
    #[must_use]
    pub const fn founders(&self) -> usize {
        self.producers + self.users
    }

    /// Producers that may fail in any way.
    #[must_use]
    pub const fn tolerated(&self) -> usize {
        (self.producers - 1) / 3
    }
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first property that did not hold.
    pub violation: Option<Violation>,
    /// What became final: blocks, or transactions.
    pub decisions: u64,
    /// Virtual time that passed, in ms.
    pub virtual_ms: u64,
    /// Virtual time from the end of the faults to equal heads, in ms.
    pub recovery_ms: Option<u64>,
    /// Faults that struck.
    pub faults: Counts,
    /// Digest of everything that happened.
    pub digest: Digest,
}

/// One group on one machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    node: usize,
    group: usize,
}

enum Happening<P: Play> {
    Deliver {
        from: usize,
        to: Place,
        packet: Rc<network::Packet<P::Checked>>,
    },
    Wake {
        place: Place,
    },
    /// The place can take a turn again.
    Free {
        place: Place,
    },
    /// What a turn said leaves, if the machine has not been restarted since.
    Release {
        place: Place,
        life: u64,
        turn: Box<P::Turn>,
    },
    Connect {
        place: Place,
        other: usize,
    },
    Restart {
        node: usize,
    },
    Blow(usize),
    DiskWell {
        node: usize,
    },
    Reunite {
        until: u64,
    },
    /// What only this play knows.
    Play(P::Happening),
}

/// One group's member on one machine.
struct Seat<P: Play> {
    env: Env,
    member: Option<P::Member>,
    wake: Option<Time>,
    /// Waits for its next turn.
    inbox: Vec<P::Input>,
    /// Until when the turn in progress takes.
    busy_until: u64,
    /// Whether its next turn is scheduled.
    waits: bool,
    record: P::Record,
}

/// A machine. All moments are in microseconds of the world's clock.
struct Machine<P: Play> {
    member: MemberKey,
    encrypt: EncryptKey,
    disk: FaultyDisk,
    seats: Vec<Seat<P>>,
    /// How often it was started.
    life: u64,
    paused_until: u64,
    clogged_until: u64,
    slow_until: u64,
    foreign_until: u64,
    line: network::Line,
    clock: clockwork::Clock,
    /// How long its disk takes to sync now, in microseconds.
    sync_us: u64,
    /// How long it takes when it is well.
    usual_sync_us: u64,
    /// What follows when the lit fuse of its disk has burnt down.
    outage: Option<Outage>,
    /// Nothing is expected of it.
    traitor: bool,
    health: P::Health,
}

/// A network of some groups, in which one protocol is played.
pub struct World<P: Play> {
    plan: Plan,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Scheduled<P>>,
    /// Places with something in their inbox at this moment.
    due: BTreeSet<Place>,
    nodes: Vec<Machine<P>>,
    /// What clients do, and where: apart from all other chance.
    clients: ChaCha8Rng,
    /// How full the buffers of a place are, looked at after its turn.
    footprint: Footprint,
    /// Machines that run with a member key: more than one for a traitor with a twin.
    by_member: BTreeMap<MemberPublicKey, Vec<usize>>,
    counts: Counts,
    violation: Option<Violation>,
    /// Nodes on the far side of a partition, until when.
    island: (BTreeSet<usize>, u64),
    cuts: BTreeMap<(usize, usize), u64>,
    faulty: bool,
    /// Members put off what nobody waits for, every other time: it is done before they write again, or
    /// a moment later.
    lazy: bool,
    tickets: u64,
    play: P,
}

fn peer(node: usize) -> PeerRef {
    PeerRef(Arc::from((node as u64).to_be_bytes().as_slice()))
}

fn node_of(peer: &PeerRef) -> usize {
    let bytes: [u8; 8] = peer.0.as_ref().try_into().expect("made by `peer`");
    u64::from_be_bytes(bytes) as usize
}

impl<P: Play> World<P> {
    /// Builds the world of a seed; `stage` makes what is played in it, with the machines and the
    /// stream of keys in hand.
    fn build(
        seed: u64,
        plan: Plan,
        stage: impl FnOnce(&Plan, &[Machine<P>], &mut ChaCha20Rng) -> P,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut keys = ChaCha20Rng::seed_from_u64(seed ^ 0x6b65_7973);
        let nodes: Vec<Machine<P>> =
            (0..plan.nodes()).map(|_| Machine::new(&plan, &mut rng, &mut keys)).collect();
        let play = stage(&plan, &nodes, &mut keys);
        let by_member =
            nodes.iter().enumerate().map(|(i, n)| (n.member.public(), vec![i])).collect();
        Self {
            plan,
            rng,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            due: BTreeSet::new(),
            nodes,
            clients: ChaCha8Rng::seed_from_u64(seed ^ 0x7265_6164),
            footprint: Footprint::new(),
            by_member,
            counts: Counts::default(),
            violation: None,
            island: (BTreeSet::new(), 0),
            cuts: BTreeMap::new(),
            faulty: false,
            // A share of them, whatever else they are like.
            lazy: matches!(seed % 16, 0 | 3 | 12),
            tickets: 0,
            play,
        }
    }

    fn outcome(mut self, recovery_ms: Option<u64>) -> Outcome {
        P::examine(&mut self);
        let mut counts = self.counts;
        for node in &self.nodes {
            for (kind, count) in node.disk.counts() {
                counts.add_many(kind, count);
            }
        }
        let (decisions, digest) = self.play.came_to();
        Outcome {
            violation: self.violation,
            decisions,
            virtual_ms: self.now / MS,
            recovery_ms,
            faults: counts,
            digest,
        }
    }

    fn fail(&mut self, property: &'static str, detail: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation::new(property, detail).with(&self.scene()));
        }
    }

    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && self.violation.is_none()
        {
            self.violation = Some(violation.with(&self.scene()));
        }
    }

    /// When and among what something was seen, for whoever looks for the reason.
    fn scene(&self) -> String {
        let phase = if self.faulty { "under faults" } else { "without faults" };
        let mut text = format!("  at {:.3} ms, {phase}", self.now as f64 / MS as f64);
        for (node, machine) in self.nodes.iter().enumerate() {
            text.push_str(&format!("\n  n{node}:"));
            if machine.traitor {
                text.push_str(" traitor");
            }
            if machine.paused_until > self.now {
                text.push_str(" paused");
            }
            for group in 0..machine.seats.len() {
                text.push_str(&format!(" g{group} {}", P::stands(self, Place { node, group })));
            }
        }
        text
    }

    /// Tells a reader something, if one is there.
    fn tell(&self, text: impl FnOnce() -> String) {
        if self.plan.trace {
            eprintln!("{:>11.3} {}", self.now as f64 / MS as f64, text());
        }
    }

    fn places(&self) -> impl Iterator<Item = Place> + use<P> {
        let (nodes, groups) = (self.nodes.len(), self.plan.groups);
        (0..nodes).flat_map(move |node| (0..groups).map(move |group| Place { node, group }))
    }

    fn seat(&self, place: Place) -> &Seat<P> {
        &self.nodes[place.node].seats[place.group]
    }

    fn seat_mut(&mut self, place: Place) -> &mut Seat<P> {
        &mut self.nodes[place.node].seats[place.group]
    }

    /// Whether a machine runs.
    fn is_up(&self, node: usize) -> bool {
        self.nodes[node].seats.iter().all(|seat| seat.member.is_some())
    }
}

impl<P: Play> Machine<P> {
    fn new(plan: &Plan, rng: &mut ChaCha8Rng, keys: &mut ChaCha20Rng) -> Self {
        let usual_sync_us = if rng.random_bool(0.1) { 0 } else { rng.random_range(USUAL_SYNC_US) };
        let seats = (0..plan.groups).map(|_| Seat {
            env: Env { now: Time(BEGIN), rng: ChaCha20Rng::seed_from_u64(rng.next_u64()) },
            member: None,
            wake: None,
            inbox: Vec::new(),
            busy_until: 0,
            waits: false,
            record: P::Record::default(),
        });
        Self {
            member: MemberKey::generate(keys),
            encrypt: EncryptKey::generate(keys),
            seats: seats.collect(),
            disk: FaultyDisk::new(rng.next_u64()),
            life: 0,
            paused_until: 0,
            clogged_until: 0,
            slow_until: 0,
            foreign_until: 0,
            line: network::Line::default(),
            clock: clockwork::Clock::default(),
            sync_us: usual_sync_us,
            usual_sync_us,
            outage: None,
            traitor: false,
            health: P::Health::default(),
        }
    }
}
