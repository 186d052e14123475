//! Signed Raft in a world: whole members over their real ledger files, operators that change the
//! members, clients that wait for their answers and try again elsewhere. Nobody lies here.
//!
//! | module | what it tells |
//! |---|---|
//! | `clients` | sessions of clients: what they want, and when they ask again |
//! | `disaster` | the group is lost but for one disk, and recovered |
//! | `harm` | what a disk may suffer, and which node is lost with it |
//! | `members` | members: opened, given what arrives, heard |
//! | `operator` | members added, removed, replaced |
//! | `second_life` | the group is lost but for one disk, recovered, and goes on |
//! | `story` | the phases of a seed |

mod clients;
mod disaster;
mod harm;
mod members;
mod operator;
mod second_life;
mod story;

use std::collections::BTreeMap;
use std::rc::Rc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::raft::Raft;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::signature::ServiceSecrets;
use quorate_ledger::ccf::{LedgerSecret, Notary as _};
use quorate_ledger::ids::GroupId;
use quorate_replica::api::PeerRef;
use quorate_replica::cft::api::{Admission, Config, Input, NodeId};
use quorate_replica::cft::wire::Packet as Said;
use quorate_replica::cft::{CftDriver, Chores, Turn};
use quorate_replica::wire::{MAGIC, WIRE_VERSION};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use self::second_life::SecondLife;
use super::network::Packet;
use super::play::{Play, Start};
use super::{BEGIN, Place, Plan, World, peer};
use crate::disk::FaultyDisk;
use crate::faults::Harm;
use crate::signed::Checker;
use crate::signed::history::History;
use crate::signed::keys::{Kind, NodeKeys};
use crate::signed::watched::Watched;

/// A world of signed Raft.
pub type CftWorld = World<Cft>;

/// What is played.
pub struct Cft {
    group: GroupId,
    config: Config,
    secret: LedgerSecret,
    kind: Kind,
    /// What the first node entered the service with.
    service: ServiceSecrets,
    /// The number of the keys of the first machine's node.
    first_keys: u64,
    second_life: SecondLife,
    from_snapshot: bool,
    checker: Checker,
    history: History,
    clients: Vec<clients::Client>,
    operator: operator::Operator,
    /// Who waits for an answer, and at which machine.
    asked: BTreeMap<u64, (Asker, usize)>,
    /// Operations that clients have begun.
    begun: usize,
    /// Operations that were begun before the group was recovered.
    former_begun: usize,
}

/// Who asked for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    /// A client: its number, the operation and the attempt.
    Client(usize, (usize, u64)),
    /// The operator.
    Operator,
}

/// What happens beside what happens in every world.
pub enum CftHappening {
    /// A client does something.
    Client {
        /// Which one.
        client: usize,
    },
    /// A client has waited long enough.
    Patience {
        /// For this answer.
        ticket: u64,
    },
    /// The operator does something.
    Operate,
}

/// What is known of a place beside its member.
#[derive(Default)]
pub struct Record {
    /// What the node's keystore has: what it was admitted with.
    admission: Option<Admission>,
    /// It has said that it must not go on.
    stopped: Option<String>,
    /// Its last turn could not be made durable.
    stalled: bool,
}

/// What is known of a machine.
#[derive(Default)]
pub struct Health {
    /// Its disk is lost, and its node with it.
    gone: bool,
    /// Its disk may not have everything that its node wrote. The node runs on until it notices or
    /// is stopped.
    damaged: bool,
    /// While writes may go astray, and nothing else has happened to it: those that had before.
    strays: Option<usize>,
}

impl Health {
    /// Its node has what it wrote.
    const fn is_good(&self) -> bool {
        !self.gone && !self.damaged
    }
}

impl CftWorld {
    /// Builds the world of a seed, whose nodes have keys of this kind.
    #[must_use]
    pub fn new(seed: u64, plan: Plan, kind: Kind) -> Self {
        Self::build(seed, plan, |plan, machines, keys| {
            Cft::new(plan, machines.len(), kind, keys, SecondLife::new(seed))
        })
    }
}

impl Cft {
    fn new(
        plan: &Plan,
        machines: usize,
        kind: Kind,
        keys: &mut ChaCha20Rng,
        second_life: SecondLife,
    ) -> Self {
        let mut uuid = [0u8; 16];
        keys.fill_bytes(&mut uuid);
        let group = GroupId(uuid::Builder::from_random_bytes(uuid).into_uuid());
        let secret = LedgerSecret::new(SymmetricKey::generate(keys));
        let mut service = [0; 32];
        keys.fill_bytes(&mut service);
        let mut checker = Checker::new(secret.clone());
        (0..machines as u64).for_each(|number| checker.join(id_of(kind, number)));
        let election_timeout_ms = keys.random_range(300..1_500);
        let mut own = ChaCha20Rng::from_seed(service);
        let recent_entries = if own.random_bool(0.5) { own.random_range(8..200) } else { 4_096 };
        let config = Config {
            message_timeout_ms: election_timeout_ms / keys.random_range(5..15),
            election_timeout_ms,
            max_uncommitted_tx_count: if keys.random_bool(0.3) {
                keys.random_range(5..100)
            } else {
                0
            },
            signature_tx_count: keys.random_range(1..40),
            signature_delay_ms: keys.random_range(20..1_000),
            signature_adaptive: keys.random_bool(0.7),
            signature_max_in_flight: keys.random_range(1..4),
            chunk_size: keys.random_range(1_000..20_000),
            snapshot_tx_count: if keys.random_bool(0.5) { keys.random_range(10..100) } else { 0 },
            recent_entries,
            trace: plan.trace,
            ..Config::new(group, peer(0), String::new())
        };
        let clients = (0..keys.random_range(1..7)).map(|_| clients::Client::default()).collect();
        Self {
            group,
            config,
            secret,
            kind,
            service: kind.found(0, &service, BEGIN),
            first_keys: 0,
            second_life,
            from_snapshot: keys.random_bool(0.5),
            checker,
            history: History::default(),
            clients,
            operator: operator::Operator::default(),
            asked: BTreeMap::new(),
            begun: 0,
            former_begun: 0,
        }
    }
}

impl Cft {
    /// The number of the keys of a machine's node.
    const fn keys_of(&self, machine: usize) -> u64 {
        self.first_keys + machine as u64
    }
}

/// What nobody waits for is put off for so long at most.
const PUT_OFF_MS: u64 = 3;

/// A member's protocol, if it is a member yet.
fn raft_of(driver: &CftDriver<NodeKeys, Watched<FaultyDisk>>) -> Option<&Raft> {
    driver.member().map(|member| member.raft_state())
}

/// The node with keys of this number.
fn id_of(kind: Kind, number: u64) -> NodeId {
    NodeId(kind.keys(number).node().0)
}

impl Play for Cft {
    type Member = CftDriver<NodeKeys, Watched<FaultyDisk>>;
    type Input = Input;
    type Turn = Turn;
    type Happening = CftHappening;
    type Checked = members::Checked;
    type Record = Record;
    type Health = Health;

    /// Packets are not signed; the links that carry them are authenticated.
    const LINKS_NOTICE: bool = true;

    /// Links are streams, on which nothing comes twice. The protocol itself bears it, though.
    fn repeats(packet: &Packet<Self::Checked>) -> bool {
        matches!(members::said(packet), Ok((_, Said::Raft { .. })))
    }

    fn wake() -> Input {
        Input::Wake
    }

    fn connected(peer: PeerRef) -> Input {
        Input::Connected(peer)
    }

    fn foreign(packet: &mut [u8]) {
        packet[MAGIC.len()] = WIRE_VERSION + 1;
    }

    fn turn(member: &mut Self::Member, env: &mut Env, inputs: Vec<Input>) -> (Turn, bool) {
        let writes = member.log().writes();
        let turn = member.turn(env, inputs, None);
        (turn, member.log().writes() > writes)
    }

    fn footprint(member: &Self::Member, into: &mut Footprint) {
        member.footprint(into);
    }

    fn open(world: &mut CftWorld, node: usize) -> Start<Turn> {
        world.open_all(node)
    }

    fn opened(world: &mut CftWorld, place: Place, first: &Turn) {
        world.look_at(place, first);
    }

    fn left(world: &mut CftWorld, place: Place, turn: &mut Turn) {
        world.send(place, std::mem::take(&mut turn.ahead));
    }

    fn taken(world: &mut CftWorld, place: Place, turn: &Turn) {
        world.look_at(place, turn);
    }

    fn dispatch(world: &mut CftWorld, place: Place, turn: Turn) {
        world.release(place, turn);
    }

    fn settle(member: &mut Self::Member, now: Time, lazy: bool) -> Option<Time> {
        if lazy && member.chores() == Chores::Few && member.stats().turns.is_multiple_of(2) {
            return Some(now.after(PUT_OFF_MS));
        }
        member.settle(now)
    }

    fn arrive(world: &mut CftWorld, from: usize, to: Place, packet: &Rc<Packet<Self::Checked>>) {
        world.take_in(from, to, packet);
    }

    fn happen(world: &mut CftWorld, happening: CftHappening) {
        match happening {
            CftHappening::Client { client } => world.client_acts(client),
            CftHappening::Patience { ticket } => world.loses_patience(ticket),
            CftHappening::Operate => world.operator_acts(),
        }
    }

    fn stops(world: &mut CftWorld, node: usize) {
        world.stops(node);
    }

    fn stopped(world: &mut CftWorld, node: usize) {
        world.compare_disk(node);
    }

    fn harm(world: &mut CftWorld, node: usize, harm: Harm) {
        world.harm(node, harm);
    }

    fn goes_astray(world: &mut CftWorld, node: usize) -> bool {
        world.goes_astray(node)
    }

    fn mended(world: &mut CftWorld, node: usize) {
        world.is_straight(node);
    }

    fn operate(world: &mut CftWorld, node: usize) -> bool {
        world.replace_if_it_complains(node)
    }

    fn stands(world: &CftWorld, place: Place) -> String {
        world.stands(place)
    }

    fn examine(world: &mut CftWorld) {
        world.examine();
    }

    fn came_to(&self) -> (u64, Digest) {
        (self.checker.committed().len() as u64, self.checker.digest())
    }
}
