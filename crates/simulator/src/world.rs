//! A whole network in one thread on virtual time: machines that run whole replicas of several
//! groups over faulty disks, a network that loses, delays and reorders, clients that post, and the
//! checkers that watch.
//!
//! | module | what it tells |
//! |---|---|
//! | `betrayal` | traitors at work |
//! | `story` | the phases of a seed: set-up, faults, heal; and the story of a removal |
//! | `clockwork` | virtual time: what happens when |
//! | `network` | packets on their way |
//! | `fate` | how blows strike |
//! | `harm` | what a disk may suffer, and what is owed all the same |
//! | `nodes` | machines: started, fed, cut off from power |
//! | `watch` | what nodes say goes to the checkers |

mod betrayal;
mod clockwork;
mod fate;
mod harm;
mod network;
mod nodes;
mod story;
mod watch;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Core, Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{BlockId, GroupId};
use quorate_ledger::view::{Protocol, View};
use quorate_replica::api::{Input, PeerRef};
use quorate_replica::driver::{Driver, Turn};
use quorate_storage::store::GroupStore;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use crate::disk::FaultyDisk;
use crate::faults::{Blow, Counts, Faults, Outage};
use crate::properties::{Ledger, Violation};
use crate::traitor::twins::Twins;
use crate::traitor::{self, Treason};
use clockwork::Scheduled;

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
    /// Producers of the second view.
    pub producers: usize,
    /// Nodes that follow without producing.
    pub users: usize,
    /// Nodes that join while the faults strike, and follow.
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
    /// Trxs posted to each group.
    pub posts: usize,
    /// Epoch interval of the second view in ms.
    pub interval_ms: u64,
    /// Whether the trace is printed as it happens.
    pub trace: bool,
}

impl Plan {
    /// All nodes of it.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.producers + self.users + self.joiners
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
    /// Blocks that became final.
    pub decisions: u64,
    /// Virtual time that passed, in ms.
    pub virtual_ms: u64,
    /// Virtual time from the end of the faults to equal heads, in ms.
    pub recovery_ms: Option<u64>,
    /// Faults that struck.
    pub faults: Counts,
    /// Digest of everything that happened.
    pub digest: quorate_crypto::hash::Digest,
}

/// One group on one machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    node: usize,
    group: usize,
}

enum Happening<M> {
    Deliver {
        from: usize,
        to: Place,
        packet: Rc<network::Packet<M>>,
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
        turn: Box<Turn>,
    },
    Connect {
        place: Place,
        other: usize,
    },
    Restart {
        node: usize,
    },
    Post {
        group: usize,
    },
    Read {
        group: usize,
    },
    Blow(usize),
    /// A traitor does something on its own.
    Beat {
        node: usize,
    },
    DiskWell {
        node: usize,
    },
    Reunite {
        until: u64,
    },
}

type Keys<C> = <<C as Core>::Generation as KeyGeneration>::Keys;

/// One group's replica on one machine.
struct Seat<C: Core>
where
    Keys<C>: Threshold,
{
    env: Env,
    driver: Option<Driver<C, GroupStore<FaultyDisk>>>,
    views: Vec<Arc<View>>,
    wake: Option<Time>,
    /// Waits for its next turn.
    inbox: Vec<Input<C::Message>>,
    /// Until when the turn in progress takes.
    busy_until: u64,
    /// Whether its next turn is scheduled.
    waits: bool,
    /// Last block it said is final, since its disk was last harmed.
    head: BlockId,
    /// The head it must come to again after harm.
    owes: BlockId,
}

/// A machine. All moments are in microseconds of the world's clock.
struct Machine<C: Core>
where
    Keys<C>: Threshold,
{
    member: MemberKey,
    encrypt: EncryptKey,
    disk: FaultyDisk,
    seats: Vec<Seat<C>>,
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
    traitor: bool,
    health: harm::Health,
}

/// What is known of a group.
struct Group {
    descriptor: GroupDescriptor,
    ledger: Ledger,
    checks: watch::Checks,
    posted: usize,
    ready: BTreeSet<usize>,
    installed: BTreeSet<usize>,
}

/// A network of some groups, all ordered by the protocol `C`.
pub struct World<C: Core>
where
    Keys<C>: Threshold,
{
    plan: Plan,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Scheduled<C::Message>>,
    /// Places with something in their inbox at this moment.
    due: BTreeSet<Place>,
    nodes: Vec<Machine<C>>,
    groups: Vec<Group>,
    /// What clients read, and where: apart from all other chance.
    clients: ChaCha8Rng,
    /// How full the buffers of a place are, looked at after its turn.
    footprint: Footprint,
    /// Machines that run with a member key: more than one for a traitor with a twin.
    by_member: BTreeMap<MemberPublicKey, Vec<usize>>,
    /// What traitors are up to, by machine.
    plots: BTreeMap<usize, betrayal::Plot>,
    twins: Vec<Twins>,
    counts: Counts,
    violation: Option<Violation>,
    /// Nodes on the far side of a partition, until when.
    island: (BTreeSet<usize>, u64),
    cuts: BTreeMap<(usize, usize), u64>,
    faulty: bool,
    tickets: u64,
}

fn peer(node: usize) -> PeerRef {
    PeerRef(Arc::from((node as u64).to_be_bytes().as_slice()))
}

fn node_of(peer: &PeerRef) -> usize {
    let bytes: [u8; 8] = peer.0.as_ref().try_into().expect("made by `peer`");
    u64::from_be_bytes(bytes) as usize
}

impl<C: Core> World<C>
where
    Keys<C>: Threshold,
{
    /// Builds the world of a seed.
    #[must_use]
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut keys = ChaCha20Rng::seed_from_u64(seed ^ 0x6b65_7973);
        let nodes: Vec<Machine<C>> =
            (0..plan.nodes()).map(|_| Machine::new(&plan, &mut rng, &mut keys)).collect();
        let owner = &nodes[0].member;
        let groups = (0..plan.groups).map(|_| Group::new(owner, &mut keys)).collect();
        let by_member =
            nodes.iter().enumerate().map(|(i, n)| (n.member.public(), vec![i])).collect();
        traitor::cast(BTreeMap::new());
        Self {
            plan,
            rng,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            due: BTreeSet::new(),
            nodes,
            groups,
            clients: ChaCha8Rng::seed_from_u64(seed ^ 0x7265_6164),
            footprint: Footprint::new(),
            by_member,
            plots: BTreeMap::new(),
            twins: Vec::new(),
            counts: Counts::default(),
            violation: None,
            island: (BTreeSet::new(), 0),
            cuts: BTreeMap::new(),
            faulty: false,
            tickets: 0,
        }
    }

    fn outcome(mut self, recovery_ms: Option<u64>) -> Outcome {
        self.examine();
        let mut counts = self.counts;
        for node in &self.nodes {
            for (kind, count) in node.disk.counts() {
                counts.add_many(kind, count);
            }
        }
        Outcome {
            violation: self.violation,
            decisions: self.groups.iter().map(|g| g.ledger.head().0.0).sum(),
            virtual_ms: self.now / MS,
            recovery_ms,
            faults: counts,
            digest: Ledger::digest_of(self.groups.iter().map(|g| &g.ledger)),
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

    /// Tells a reader something, if one is there.
    fn tell(&self, text: impl FnOnce() -> String) {
        if self.plan.trace {
            eprintln!("{:>11.3} {}", self.now as f64 / MS as f64, text());
        }
    }

    fn places(&self) -> impl Iterator<Item = Place> + use<C> {
        let (nodes, groups) = (self.nodes.len(), self.groups.len());
        (0..nodes).flat_map(move |node| (0..groups).map(move |group| Place { node, group }))
    }

    fn seat(&self, place: Place) -> &Seat<C> {
        &self.nodes[place.node].seats[place.group]
    }

    fn seat_mut(&mut self, place: Place) -> &mut Seat<C> {
        &mut self.nodes[place.node].seats[place.group]
    }

    /// Whether a machine runs.
    fn is_up(&self, node: usize) -> bool {
        self.nodes[node].seats.iter().all(|seat| seat.driver.is_some())
    }
}

impl<C: Core> Machine<C>
where
    Keys<C>: Threshold,
{
    fn new(plan: &Plan, rng: &mut ChaCha8Rng, keys: &mut ChaCha20Rng) -> Self {
        let usual_sync_us = if rng.random_bool(0.1) { 0 } else { rng.random_range(USUAL_SYNC_US) };
        let seats = (0..plan.groups).map(|_| Seat {
            env: Env { now: Time(BEGIN), rng: ChaCha20Rng::seed_from_u64(rng.next_u64()) },
            driver: None,
            views: Vec::new(),
            wake: None,
            inbox: Vec::new(),
            busy_until: 0,
            waits: false,
            head: BlockId(0),
            owes: BlockId(0),
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
            health: harm::Health::default(),
        }
    }
}

impl Group {
    fn new(owner: &MemberKey, keys: &mut ChaCha20Rng) -> Self {
        let mut uuid = [0u8; 16];
        keys.fill_bytes(&mut uuid);
        let id = GroupId(uuid::Builder::from_random_bytes(uuid).into_uuid());
        let descriptor = GroupDescriptor {
            id,
            name: "simulated".into(),
            owner: owner.public(),
            consensus: Protocol::Poa,
            encryption: Encryption::Public,
            cipher_key: SymmetricKey::generate(keys),
            app_key: "simulation".into(),
            genesis: GenesisBlock::build(owner, id, (BEGIN * 1_000_000) as i64),
        };
        let ledger = Ledger::new(id, descriptor.genesis.hash());
        let checks = watch::Checks::new(&descriptor);
        let (ready, installed) = (BTreeSet::new(), BTreeSet::new());
        Self { descriptor, ledger, checks, posted: 0, ready, installed }
    }
}
