//! The machine room: whole replicas on virtual time, whose work takes as long as the table of costs
//! says.
//!
//! The [`crate::world`] looks for faults, and its turns take no time; here nothing fails but what is
//! asked for, and time is all. A node has the threads of the real one: one for the network, one for the
//! API, some that verify, one for its group, which waits while its disk syncs.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{BlockId, TrxId};
use quorate_ledger::proto::Trx;
use quorate_ledger::view::View;
use quorate_replica::api::{Command, CommandError, Input, Notice, Output, PeerRef, Reply, Ticket};
use quorate_replica::driver::{Driver, Turn};
use quorate_storage::store::GroupStore;
use rand::SeedableRng;
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};

use super::conditions::Conditions;
use super::costs::{CommitteeCosts, Costs};
use super::links::Link;
use super::load::Load;
use super::packets::Packet;
use super::processor::{Done, Processor};
use super::stage::Stage;
use super::{Core, Message};
use crate::disk::FaultyDisk;
use crate::keyed::KeyedKeys;
use crate::properties::{Ledger, Violation};

/// Virtual time at which everything begins, in ms since the epoch.
pub(super) const BEGIN_MS: u64 = 1_700_000_000_000;
/// Most threads that verify, as in the node.
const MAX_VERIFIERS: usize = 8;
/// Syncs under way beside the own one when [`Costs::disk_sync_busy`] was measured.
const BUSY_SYNCS: u64 = 3;

/// What threads do.
pub(super) enum Job {
    /// A client makes a post for a node.
    Client { node: usize, post: Box<Trx> },
    /// A node's API takes a post.
    Api { node: usize, life: u64, post: Box<Trx> },
    /// A packet goes out.
    Send { from: usize, life: u64, to: usize, packet: Rc<Packet> },
    /// A packet comes in.
    Receive { from: usize, to: usize, life: u64, packet: Rc<Packet> },
    /// Its signatures are checked.
    Verify {
        from: usize,
        to: usize,
        life: u64,
        packet: Rc<Packet>,
        /// The receiver's head when it came, if that is behind.
        behind: Option<BlockId>,
        /// How many threads are at it still.
        left: Rc<Cell<usize>>,
    },
    /// The group's thread takes a turn.
    Turn { node: usize, life: u64 },
    /// A thread for network, API or client has slept; what waking it costs.
    Awake(u64),
    /// An end of a link that a node dials does its part of a round trip: `other`'s, if it accepts.
    Link { node: usize, life: u64, other: usize, trip: u64, accepts: bool },
    /// The network's thread sets timers for gossip, which wakes who keeps them.
    Timers,
    /// What a node does by itself.
    Upkeep,
    /// The client asks the first node whether there is a block.
    Look,
    /// That node answers.
    Looked,
}

pub(super) enum Event {
    /// What a core does may be over.
    Slice {
        processor: usize,
        slice: u64,
    },
    Arrive {
        from: usize,
        to: usize,
        packet: Rc<Packet>,
    },
    Wake {
        node: usize,
    },
    /// A turn's records are durable.
    Synced {
        node: usize,
        life: u64,
    },
    Connect {
        node: usize,
        other: usize,
    },
    /// What an end of a link that a node dials has said in this round trip arrives at the other: at
    /// `other`'s, if that accepts.
    Link {
        node: usize,
        life: u64,
        other: usize,
        trip: u64,
        accepts: bool,
    },
    Restart {
        node: usize,
    },
    /// The load makes its next post.
    Post,
    /// A post that was refused is tried again.
    Again {
        node: usize,
        post: Box<Trx>,
    },
    /// Clients see trxs in a block.
    Seen {
        ids: Vec<TrxId>,
    },
    /// A node does what it does by itself.
    Upkeep {
        node: usize,
    },
    /// The client looks for a block.
    Look,
}

struct Scheduled {
    time: u64,
    sequence: u64,
    event: Event,
}

impl Scheduled {
    fn rank(&self) -> Reverse<(u64, u64)> {
        Reverse((self.time, self.sequence))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// One node.
pub(super) struct Node {
    pub member: MemberKey,
    pub encrypt: EncryptKey,
    pub disk: FaultyDisk,
    pub env: Env,
    pub driver: Option<Driver<Core, GroupStore<FaultyDisk>>>,
    pub views: Vec<Arc<View>>,
    pub wake: Option<Time>,
    pub inbox: Vec<Input<Message>>,
    /// What the group's thread will need for the inbox, ns.
    pub price: u64,
    /// A turn has been asked for and not begun.
    pub asked: bool,
    /// By kind of threads, whether the last job found them asleep.
    pub asleep: [bool; POOLS],
    /// What the turn in progress will release, and how often its disk syncs.
    pub turn: Option<(Turn, u64)>,
    /// How often it was started.
    pub life: u64,
    /// When its line has carried everything given to it.
    pub line_free: u64,
    /// When its last packet to each other node arrives there.
    pub arrivals: Vec<u64>,
    pub sent_bytes: u64,
    /// Of that, what it handed its transports.
    pub handed_bytes: u64,
    pub head: BlockId,
    /// That, while it fetches blocks.
    pub behind: Option<BlockId>,
    /// By the other node.
    pub links: Vec<Link>,
    /// Trxs that it has checked since it came back; `None` if it was never away: it was given all.
    pub checked: Option<BTreeSet<TrxId>>,
}

/// All nodes, and the time.
pub(super) struct Engine {
    pub conditions: Conditions,
    pub costs: Costs,
    pub committee: CommitteeCosts,
    pub rng: ChaCha8Rng,
    pub now: u64,
    sequence: u64,
    queue: BinaryHeap<Scheduled>,
    pub nodes: Vec<Node>,
    pub by_member: BTreeMap<MemberPublicKey, usize>,
    pub processors: Vec<Processor<Job>>,
    pub descriptor: GroupDescriptor,
    pub stage: Stage<KeyedKeys>,
    pub load: Load,
    ledger: Ledger,
    pub violation: Option<Violation>,
    tickets: u64,
    /// Posts whose acceptance is awaited, with the node asked.
    pub asked: BTreeMap<u64, (usize, Box<Trx>)>,
    /// Ends of the syncs under way on a disk that all share.
    syncs: Vec<u64>,
    /// When the first node had each block final, and how many trxs it has.
    pub blocks: Vec<(u64, usize)>,
}

/// What an engine is made of.
pub(super) struct Parts {
    pub conditions: Conditions,
    pub costs: Costs,
    pub cores: usize,
    pub descriptor: GroupDescriptor,
    pub members: Vec<(MemberKey, EncryptKey)>,
    pub stage: Stage<KeyedKeys>,
    pub load: Load,
    pub seed: u64,
}

/// A pool of a node's threads.
#[derive(Clone, Copy)]
pub(super) enum Threads {
    /// Network.
    Network,
    /// API.
    Api,
    /// Those that verify.
    Verifiers,
    /// The group's.
    Group,
}

pub(super) const POOLS: usize = 4;

impl Engine {
    /// Everything off.
    pub fn new(parts: Parts) -> Self {
        let Parts { conditions, costs, cores, descriptor, members, stage, load, seed } = parts;
        let count = members.len();
        let widths = || [1, 1, cores.min(MAX_VERIFIERS), 1];
        let processors = if conditions.one_machine {
            // The last pool is the client.
            let all = (0..count).flat_map(|_| widths()).chain([1]);
            vec![Processor::new(cores, costs.crowded_percent, all)]
        } else {
            (0..count).map(|_| Processor::new(cores, costs.crowded_percent, widths())).collect()
        };
        let by_member =
            members.iter().enumerate().map(|(i, (member, _))| (member.public(), i)).collect();
        let nodes = members.into_iter().enumerate().map(|(i, (member, encrypt))| Node {
            member,
            encrypt,
            disk: FaultyDisk::new(seed ^ i as u64),
            env: Env {
                now: Time(BEGIN_MS),
                rng: ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ i as u64),
            },
            driver: None,
            views: Vec::new(),
            wake: None,
            inbox: Vec::new(),
            price: 0,
            asked: false,
            asleep: [false; POOLS],
            turn: None,
            life: 0,
            line_free: 0,
            arrivals: vec![0; count],
            sent_bytes: 0,
            handed_bytes: 0,
            head: BlockId(0),
            behind: None,
            links: (0..count).map(|_| Link::up()).collect(),
            checked: None,
        });
        Self {
            committee: costs.committee(count as u64),
            conditions,
            costs,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            nodes: nodes.collect(),
            by_member,
            processors,
            ledger: Ledger::new(descriptor.id, descriptor.genesis.hash()),
            descriptor,
            stage,
            load,
            violation: None,
            tickets: 0,
            asked: BTreeMap::new(),
            syncs: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// What clocks show.
    pub fn clock(&self) -> Time {
        Time(BEGIN_MS + self.now / 1_000)
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Scheduled { time: time.max(self.now), sequence: self.sequence, event });
    }

    /// Lets things happen until `end` or until `done` says so; whether it said so.
    pub fn run_until(&mut self, end: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        while let Some(next) = self.queue.peek() {
            if next.time > end || self.violation.is_some() {
                break;
            }
            self.now = next.time;
            let next = self.queue.pop().expect("just looked at");
            self.happen(next.event);
            if done(self) {
                return self.violation.is_none();
            }
        }
        self.now = self.now.max(end);
        false
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Slice { processor, slice } => {
                if let Some(Done { pool, job, stint }) = self.processors[processor].end(slice) {
                    self.complete((processor, pool), stint, job);
                }
                self.run_cores(processor);
            }
            Event::Arrive { from, to, packet } => {
                let life = self.nodes[to].life;
                if self.is_up(to) {
                    self.push(to, Threads::Network, Job::Receive { from, to, life, packet });
                }
            }
            Event::Wake { node } => {
                let due = self.nodes[node].wake.is_some_and(|wake| wake <= self.clock());
                if due {
                    self.ask_turn(node);
                }
            }
            Event::Synced { node, life } => self.release(node, life),
            Event::Connect { node, other } => {
                if self.is_up(other) {
                    self.give(node, Input::Connected(peer(other)), 0);
                }
            }
            Event::Link { node, life, other, trip, accepts } => {
                self.link_arrives(node, life, other, trip, accepts);
            }
            Event::Restart { node } => self.start(node),
            Event::Post => self.next_post(),
            Event::Again { node, post } => self.offer(node, post),
            Event::Seen { ids } => self.seen(&ids),
            Event::Upkeep { node } => self.upkeep(node),
            Event::Look => self.look(),
        }
    }

    /// Core time used so far by each kind of thread, the client last.
    pub fn used(&self) -> Vec<u64> {
        let mut used = vec![0; POOLS + 1];
        let client = self.client_pool();
        for processor in &self.processors {
            for (pool, time) in processor.used().enumerate() {
                let alone = self.conditions.one_machine && pool == client;
                used[if alone { POOLS } else { pool % POOLS }] += time;
            }
        }
        used
    }

    /// Whether a node runs.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].driver.is_some()
    }

    /// Processor and pool of a node's threads.
    pub const fn place(&self, node: usize, threads: Threads) -> (usize, usize) {
        if self.conditions.one_machine {
            (0, node * POOLS + threads as usize)
        } else {
            (node, threads as usize)
        }
    }

    pub fn push(&mut self, node: usize, threads: Threads, job: Job) {
        let (processor, pool) = self.place(node, threads);
        let price = match threads {
            Threads::Network => self.costs.runtime_wake,
            Threads::Api => self.costs.api_alone,
            Threads::Verifiers | Threads::Group => {
                let cores = &self.processors[processor];
                self.nodes[node].asleep[threads as usize] = cores.is_idle(pool);
                return self.push_to(processor, pool, job);
            }
        };
        self.push_awake(processor, pool, price, job);
        self.run_cores(processor);
    }

    /// A thread that waits for the network costs more to wake than one that another thread wakes.
    fn push_awake(&mut self, processor: usize, pool: usize, price: u64, job: Job) {
        let cores = &self.processors[processor];
        if cores.is_idle(pool) {
            self.processors[processor].push(self.now, pool, Job::Awake(price));
        }
        self.processors[processor].push(self.now, pool, job);
    }

    /// What a job for a thread that verifies, or the group's, costs more if it found nobody awake: the
    /// caches have been somebody else's meanwhile.
    fn roused(&mut self, node: usize, threads: Threads) -> u64 {
        let asleep = std::mem::take(&mut self.nodes[node].asleep[threads as usize]);
        u64::from(asleep) * self.costs.thread_alone
    }

    /// A node gossips: with nothing else to do its network's thread wakes another one for its timers.
    pub fn set_timers(&mut self, node: usize) {
        let (processor, pool) = self.place(node, Threads::Network);
        let cores = &self.processors[processor];
        if cores.is_idle(pool) {
            self.push(node, Threads::Network, Job::Timers);
        }
    }

    /// The pool of the load; only where it shares a machine with the nodes.
    pub const fn client_pool(&self) -> usize {
        self.nodes.len() * POOLS
    }

    /// Gives the load a job.
    pub fn push_client(&mut self, job: Job) {
        let pool = self.client_pool();
        self.push_awake(0, pool, self.costs.client_alone, job);
        self.run_cores(0);
    }

    /// Gives a pool a job that wakes nobody, or has that in its price.
    pub fn push_to(&mut self, processor: usize, pool: usize, job: Job) {
        self.processors[processor].push(self.now, pool, job);
        self.run_cores(processor);
    }

    fn run_cores(&mut self, at: usize) {
        while let Some(ready) = self.processors[at].take() {
            let left = match ready.left {
                Some(left) => left,
                None => self.begin(&ready.job),
            };
            let (end, slice) = self.processors[at].run(self.now, ready, left);
            self.at(end, Event::Slice { processor: at, slice });
        }
    }

    /// A job has a core for the first time: what it costs.
    fn begin(&mut self, job: &Job) -> u64 {
        match job {
            Job::Client { .. } => self.costs.client_post,
            Job::Api { .. } => self.costs.api_post,
            Job::Send { packet, .. } | Job::Receive { packet, .. } => self.transfer(packet),
            Job::Verify { to, life, packet, behind, .. } => {
                if self.nodes[*to].life != *life {
                    return 0;
                }
                self.roused(*to, Threads::Verifiers) + self.verify_price(*to, packet, *behind)
            }
            Job::Turn { node, life } => {
                if self.nodes[*node].life != *life {
                    return 0;
                }
                self.roused(*node, Threads::Group) + self.turn(*node)
            }
            Job::Awake(price) => *price,
            Job::Link { .. } => self.link_price(),
            Job::Timers => self.costs.gossip_wake,
            Job::Upkeep => self.upkeep_price(),
            Job::Look => self.costs.client_look,
            Job::Looked => self.costs.api_look,
        }
    }

    /// A job is done.
    fn complete(&mut self, (processor, pool): (usize, usize), stint: u64, job: Job) {
        match job {
            Job::Turn { node, life } => {
                let waits = self.wait_for_disk(node, life);
                if waits {
                    // Its thread is held up, so the pool does not go on yet.
                    return self.processors[processor].block();
                }
            }
            Job::Client { node, post } => {
                self.processors[processor].finish(self.now, pool, stint);
                return self.arrive_at_api(node, post);
            }
            Job::Api { node, life, post } => {
                if self.nodes[node].life == life {
                    self.tickets += 1;
                    if let Some(checked) = &mut self.nodes[node].checked {
                        checked.extend(post.id());
                    }
                    let command = Command::SubmitSigned(post.clone());
                    self.asked.insert(self.tickets, (node, post));
                    let price = self.costs.trx_admit;
                    self.give(node, Input::Command(Ticket(self.tickets), command), price);
                }
            }
            Job::Send { from, life, to, packet } => {
                if self.nodes[from].life == life {
                    self.carry(from, to, packet);
                }
            }
            Job::Receive { from, to, life, packet } => {
                if self.nodes[to].life == life {
                    self.verify(from, to, &packet);
                }
            }
            Job::Verify { from, to, life, packet, behind, left } => {
                left.set(left.get() - 1);
                if self.nodes[to].life == life && left.get() == 0 {
                    self.verified(from, to, &packet, behind);
                }
            }
            Job::Awake(_) | Job::Timers | Job::Upkeep | Job::Looked => {}
            Job::Look => self.looked(),
            Job::Link { node, life, other, trip, accepts } => {
                self.link_says(node, life, other, trip, accepts);
            }
        }
        self.processors[processor].finish(self.now, pool, stint);
    }

    /// Puts something into a node's inbox, which costs its group's thread `price` ns.
    pub fn give(&mut self, at: usize, input: Input<Message>, price: u64) {
        let node = &mut self.nodes[at];
        if node.driver.is_some() {
            node.inbox.push(input);
            node.price += price;
            self.ask_turn(at);
        }
    }

    fn ask_turn(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.asked && node.driver.is_some() {
            node.asked = true;
            let life = node.life;
            self.push(at, Threads::Group, Job::Turn { node: at, life });
        }
    }

    /// A turn has been computed; whether its thread now waits for the disk.
    fn wait_for_disk(&mut self, at: usize, life: u64) -> bool {
        if self.nodes[at].life != life {
            return false;
        }
        let syncs = self.nodes[at].turn.as_ref().map_or(0, |(_, syncs)| *syncs);
        if syncs == 0 {
            self.dispatch(at, life);
            self.look_again(at);
            return false;
        }
        let now = self.now;
        self.syncs.retain(|end| *end > now);
        let others = if self.conditions.one_machine { self.syncs.len() as u64 } else { 0 };
        let (alone, busy) = (self.costs.disk_sync, self.costs.disk_sync_busy);
        let each = alone + busy.saturating_sub(alone) * others / BUSY_SYNCS;
        let end = now + syncs * each / 1_000;
        self.syncs.push(end);
        self.at(end, Event::Synced { node: at, life });
        true
    }

    /// What a turn wrote is durable: what it said leaves, and its thread goes on.
    fn release(&mut self, at: usize, life: u64) {
        self.dispatch(at, life);
        let (processor, pool) = self.place(at, Threads::Group);
        self.processors[processor].resume(self.now, pool);
        self.look_again(at);
        self.run_cores(processor);
    }

    /// After a turn: whether there is more to do at once.
    fn look_again(&mut self, at: usize) {
        let now = self.clock();
        let node = &self.nodes[at];
        if !node.inbox.is_empty() || node.wake.is_some_and(|wake| wake <= now) {
            self.ask_turn(at);
        }
    }

    pub fn dispatch(&mut self, at: usize, life: u64) {
        if self.nodes[at].life != life {
            return;
        }
        let Some((turn, _)) = self.nodes[at].turn.take() else { return };
        assert!(turn.stalled.is_none(), "a disk without faults takes everything");
        let node = &mut self.nodes[at];
        node.wake = turn.wake;
        let status = node.driver.as_ref().map(Driver::status).filter(|status| status.syncing);
        node.behind = status.map(|status| status.head);
        if let Some(wake) = turn.wake {
            let moment = wake.0.saturating_sub(BEGIN_MS).saturating_mul(1_000);
            if wake > self.clock() && moment < u64::MAX / 4 {
                self.at(moment, Event::Wake { node: at });
            }
        }
        let mut sent: Vec<Rc<Packet>> = Vec::new();
        for output in turn.outputs {
            match output {
                Output::Send { to, packet } => self.send(at, &to, packet, &mut sent),
                Output::Reply(ticket, reply) => self.replied(ticket, reply),
                Output::Notice(notice) => self.notice(at, notice),
            }
        }
    }

    fn replied(&mut self, ticket: Ticket, reply: Result<Reply, CommandError>) {
        let Some((node, post)) = self.asked.remove(&ticket.0) else { return };
        if let Err(error) = reply {
            self.refused(node, post, &error);
        }
    }

    fn notice(&mut self, at: usize, notice: Notice) {
        match notice {
            Notice::Views(views) => {
                for view in &views {
                    let result = self.ledger.view(view);
                    self.check(result);
                }
                self.nodes[at].views = views;
            }
            Notice::Committed { block, certificate } => {
                let result = self.ledger.committed(&block, &certificate);
                self.check(result);
                self.nodes[at].head = block.header.id;
                if at == 0 {
                    self.blocks.push((self.now, block.trxs.len()));
                }
                self.committed(at, &block);
            }
            _ => {}
        }
    }

    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violation.get_or_insert(violation);
        }
    }
}

/// A node as a replica names it.
pub(super) fn peer(node: usize) -> PeerRef {
    PeerRef(Arc::from((node as u64).to_be_bytes().as_slice()))
}

/// The node of such a name.
pub(super) fn node_of(peer: &PeerRef) -> usize {
    let bytes: [u8; 8] = peer.0.as_ref().try_into().expect("made by `peer`");
    u64::from_be_bytes(bytes) as usize
}
