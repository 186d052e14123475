//! HoneyBadgerBFT in a world: replicas of several groups over the real store, producers that
//! betray, changes of the consensus, clients that post and read.
//!
//! | module | what it tells |
//! |---|---|
//! | `betrayal` | traitors at work |
//! | `harm` | what a disk may suffer, and what is owed all the same |
//! | `members` | replicas: opened, given what arrives, heard |
//! | `story` | the phases of a seed: set-up, faults, heal; and the story of a removal |
//! | `watch` | what nodes say goes to the checkers |

mod betrayal;
mod harm;
mod members;
mod story;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Core, Env};
use quorate_consensus::footprint::Footprint;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberKey;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{BlockId, GroupId};
use quorate_ledger::view::{Protocol, View};
use quorate_replica::api::{Input, PeerRef};
use quorate_replica::driver::{Driver, Turn};
use quorate_replica::wire::{MAGIC, WIRE_VERSION};
use quorate_storage::store::GroupStore;
use rand::Rng;
use rand_chacha::ChaCha20Rng;

use super::network::Packet;
use super::play::{Play, Start};
use super::{BEGIN, Place, Plan, World};
use crate::disk::FaultyDisk;
use crate::faults::Harm;
use crate::properties::Ledger;
use crate::traitor;
use crate::traitor::twins::Twins;

/// A world in which `C` orders.
pub type PoaWorld<C> = World<Poa<C>>;

type Keys<C> = <<C as Core>::Generation as KeyGeneration>::Keys;

/// What is played.
pub struct Poa<C> {
    groups: Vec<Group>,
    /// What traitors are up to, by machine.
    plots: BTreeMap<usize, betrayal::Plot>,
    twins: Vec<Twins>,
    core: std::marker::PhantomData<C>,
}

/// What happens beside what happens in every world.
pub enum PoaHappening {
    /// A client posts.
    Post {
        /// To this group.
        group: usize,
    },
    /// A client reads.
    Read {
        /// Of this group.
        group: usize,
    },
    /// A traitor does something on its own.
    Beat {
        /// The traitor.
        node: usize,
    },
}

/// What is known of a place beside its replica.
#[derive(Default)]
pub struct Record {
    views: Vec<Arc<View>>,
    /// Last block it said is final, since its disk was last harmed.
    head: BlockId,
    /// The head it must come to again after harm.
    owes: BlockId,
}

/// What is known of a group.
struct Group {
    descriptor: GroupDescriptor,
    ledger: Ledger,
    checks: watch::Checks,
    posted: usize,
    ready: BTreeSet<usize>,
    installed: BTreeSet<usize>,
    /// Views that nodes have known: equal ones are one, so that they are quickly compared.
    views: Vec<Arc<View>>,
}

impl<C: Core> PoaWorld<C>
where
    Keys<C>: Threshold,
{
    /// Builds the world of a seed.
    #[must_use]
    pub fn new(seed: u64, plan: Plan) -> Self {
        traitor::cast(BTreeMap::new());
        Self::build(seed, plan, |plan, machines, keys| Poa {
            groups: (0..plan.groups).map(|_| Group::new(&machines[0].member, keys)).collect(),
            plots: BTreeMap::new(),
            twins: Vec::new(),
            core: std::marker::PhantomData,
        })
    }
}

impl<C: Core> Play for Poa<C>
where
    Keys<C>: Threshold,
{
    type Member = Driver<C, GroupStore<FaultyDisk>>;
    type Input = Input<C::Message>;
    type Turn = Turn;
    type Happening = PoaHappening;
    type Checked = members::Checked<C::Message>;
    type Record = Record;
    type Health = harm::Health;

    fn wake() -> Self::Input {
        Input::Wake
    }

    fn connected(peer: PeerRef) -> Self::Input {
        Input::Connected(peer)
    }

    fn foreign(packet: &mut [u8]) {
        packet[MAGIC.len()] = WIRE_VERSION + 1;
    }

    fn turn(
        member: &mut Self::Member,
        env: &mut Env,
        inputs: Vec<Self::Input>,
    ) -> (Self::Turn, bool) {
        let writes = member.stats().writes;
        let turn = member.turn(env, inputs);
        (turn, member.stats().writes > writes)
    }

    fn footprint(member: &Self::Member, into: &mut Footprint) {
        member.footprint(into);
    }

    fn open(world: &mut World<Self>, node: usize) -> Start<Self::Turn> {
        world.open_all(node)
    }

    fn opened(world: &mut World<Self>, place: Place, first: &Self::Turn) {
        world.compare_with_before(place, first);
    }

    fn dispatch(world: &mut World<Self>, place: Place, turn: Self::Turn) {
        world.release(place, turn);
    }

    fn arrive(world: &mut World<Self>, from: usize, to: Place, packet: &Rc<Packet<Self::Checked>>) {
        world.take_in(from, to, packet);
    }

    fn happen(world: &mut World<Self>, happening: Self::Happening) {
        match happening {
            PoaHappening::Post { group } => {
                world.post(group);
                world.read_soon(group);
            }
            PoaHappening::Read { group } => world.read(group),
            PoaHappening::Beat { node } => world.beat(node),
        }
    }

    fn stops(world: &mut World<Self>, node: usize) {
        world.hear_complaints(node);
    }

    fn stopped(world: &mut World<Self>, node: usize) {
        world.settle_losses(node);
    }

    fn harm(world: &mut World<Self>, node: usize, harm: Harm) {
        world.harm(node, harm);
    }

    fn goes_astray(world: &mut World<Self>, node: usize) -> bool {
        world.goes_astray(node)
    }

    fn mended(world: &mut World<Self>, node: usize) {
        world.is_straight(node);
    }

    fn operate(world: &mut World<Self>, node: usize) -> bool {
        world.operate(node)
    }

    fn misses(world: &mut World<Self>, from: usize, to: usize) -> bool {
        world.misses_twin(from, to)
    }

    fn stands(world: &World<Self>, place: Place) -> String {
        world.stands(place)
    }

    fn examine(world: &mut World<Self>) {
        world.examine();
    }

    fn came_to(&self) -> (u64, Digest) {
        let blocks = self.groups.iter().map(|g| g.ledger.head().0.0).sum();
        (blocks, Ledger::digest_of(self.groups.iter().map(|g| &g.ledger)))
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
        let views = Vec::new();
        Self { descriptor, ledger, checks, posted: 0, ready, installed, views }
    }
}
