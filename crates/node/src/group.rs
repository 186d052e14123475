//! One group: a thread that takes inputs, turns the driver, and dispatches what comes out.
//!
//! Packets, commands and queries wait in a [`Port`] with a bound each: a full packet queue drops
//! (the protocols say important things again), a full command or query queue refuses. All packets
//! and commands that wait are one turn, so one sync of the disk covers them all; queries are
//! answered between turns.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU64};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use quorate_consensus::core::{Core, Env, Time};
use quorate_consensus::honeybadger::HoneyBadger;
use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{BlockId, GroupId};
use quorate_ledger::view::View;
use quorate_replica::OpenError as ReplicaError;
use quorate_replica::api::{
    Address, Answer, Command, CommandError, GroupConfig, GroupStatus, Input, Notice, Output,
    PeerRef, Query, QueryError, Reply, Ticket,
};
use quorate_replica::driver::{Driver, Turn};
use quorate_replica::wire::VerifyContext;
use quorate_storage::disk::{DiskError, RealDisk};
use quorate_storage::error::OpenError as StoreError;
use quorate_storage::store::{GroupStore, Options};
use tokio::sync::{broadcast, oneshot};

use crate::host::{self, AtOnce, Busy, Clock, Died, Limits, Next, rng};
use crate::keystore::GroupKeys;
use crate::p2p::Network;

/// The one ordering core there is so far.
type Ordering = HoneyBadger<BlsGeneration>;
/// What its members say to each other.
pub type Message = <Ordering as Core>::Message;
type GroupDriver = Driver<Ordering, GroupStore<RealDisk>>;

/// Committed blocks a slow watcher may be behind before it loses some.
const MAX_EVENTS: usize = 256;
/// What may wait for the thread.
const LIMITS: Limits = Limits {
    packets: 16_384,
    packet_bytes: 64 * 1024 * 1024,
    commands: 8192,
    queries: 4096,
    turn_inputs: 4096,
    turn_queries: 64,
    // A turn has shares to check, which takes longer than to wake a thread.
    at_once: AtOnce::NOTHING,
    // Packets come all the time, and no answer is awaited before the next interval.
    look: Duration::ZERO,
};

type CommandAnswer = oneshot::Sender<Result<Reply, CommandError>>;
type QueryAnswer = oneshot::Sender<Result<Answer, QueryError>>;
type Queues = host::Port<Input<Message>, (Command, CommandAnswer), (Query, QueryAnswer)>;
type Work = host::Work<Input<Message>, (Command, CommandAnswer), (Query, QueryAnswer)>;

/// Where a group's work goes in, and what its packets are checked with before.
pub struct Port {
    queues: Queues,
    context: ArcSwap<VerifyContext>,
    /// See [`Port::behind`]. What is told too late or too early only moves work.
    behind: AtomicU64,
}

/// No head is so high.
const NOT_BEHIND: u64 = u64::MAX;

impl Port {
    fn new(context: VerifyContext) -> Self {
        let (queues, context) = (Queues::new(LIMITS), ArcSwap::from_pointee(context));
        Self { queues, context, behind: AtomicU64::new(NOT_BEHIND) }
    }

    /// What packets are checked with.
    #[must_use]
    pub fn context(&self) -> Arc<VerifyContext> {
        self.context.load_full()
    }

    /// The views whose frames are accepted have changed.
    fn set_views(&self, views: Vec<Arc<View>>) {
        let context = VerifyContext { views, ..VerifyContext::clone(&self.context.load()) };
        self.context.store(Arc::new(context));
    }

    /// The head of the group, while it is behind: the trxs of the blocks it fetches are to be checked
    /// before it sees them.
    #[must_use]
    pub fn behind(&self) -> Option<BlockId> {
        let head = self.behind.load(atomic::Ordering::Relaxed);
        (head != NOT_BEHIND).then_some(BlockId(head))
    }

    /// Queues a checked packet that took `size` bytes on the wire; drops it if there is no room.
    pub fn packet(&self, input: Input<Message>, size: usize) {
        self.queues.packet(input, size);
    }

    /// A peer of the group connected.
    pub fn connected(&self, peer: PeerRef) {
        self.packet(Input::Connected(peer), 0);
    }
}

/// Why a group cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Its directory cannot be used.
    #[error("group {group}: {source}")]
    Disk {
        /// The group.
        group: GroupId,
        /// The disk's.
        source: DiskError,
    },
    /// Its data are damaged.
    #[error("group {group}: {source}; run `quorate doctor --repair` on its data directory")]
    Store {
        /// The group.
        group: GroupId,
        /// What is damaged.
        source: StoreError,
    },
    /// What was found is not a ledger of this group.
    #[error("group {group}: {source}; run `quorate doctor` on its data directory")]
    Replica {
        /// The group.
        group: GroupId,
        /// What is wrong.
        source: ReplicaError,
    },
    /// No thread could be started.
    #[error("group {group}: no thread: {source}")]
    Thread {
        /// The group.
        group: GroupId,
        /// The operating system's.
        source: std::io::Error,
    },
}

/// Why a request to a group has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The command was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The query has no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Too many requests wait.
    #[error("too many requests wait for this group")]
    Busy,
    /// The group has been stopped.
    #[error("the group has been stopped")]
    Stopped,
}

impl From<Busy> for AskError {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Full => Self::Busy,
            Busy::Closed => Self::Stopped,
        }
    }
}

/// A block that became final here.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The group.
    pub group: GroupId,
    /// The block.
    pub block: Arc<Block>,
    /// Its certificate.
    pub certificate: Arc<Certificate>,
}

/// What can be seen of a group at any time.
#[derive(Clone, Debug)]
pub struct Live {
    /// Where it stands.
    pub status: GroupStatus,
    /// Why nothing can be made durable now, if so.
    pub stalled: Option<String>,
}

/// What a group is opened with.
pub struct Opening {
    /// The group.
    pub descriptor: GroupDescriptor,
    /// The member's keys.
    pub keys: GroupKeys,
    /// Whether this node has made the group (the genesis documents are made if there are none).
    pub create: bool,
    /// Directory of its store.
    pub dir: PathBuf,
    /// Seals its secrets.
    pub sealing_key: SymmetricKey,
    /// Where packets go.
    pub network: Network,
    /// Where final blocks go.
    pub events: broadcast::Sender<Committed>,
    /// Called with the reason if the group's thread ends by a mistake of ours.
    pub died: Died,
}

/// Handle of an open group.
pub struct Group {
    descriptor: GroupDescriptor,
    keys: GroupKeys,
    port: Arc<Port>,
    live: Arc<ArcSwap<Live>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A channel for [`Opening::events`].
#[must_use]
pub fn events() -> broadcast::Sender<Committed> {
    broadcast::Sender::new(MAX_EVENTS)
}

/// Ids of the trxs in a block, for the store's index.
fn trx_ids(block: &[u8]) -> Vec<[u8; 16]> {
    let Ok(block) = Block::from_bytes(block) else { return Vec::new() };
    block.trxs.iter().filter_map(|trx| trx.id()).map(|id| *id.0.as_bytes()).collect()
}

impl Group {
    /// Opens a group from its directory and starts its thread. Reads the ledger: may take a while.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn open(opening: Opening) -> Result<Self, GroupError> {
        let group = opening.descriptor.id;
        let disk =
            RealDisk::open(&opening.dir).map_err(|source| GroupError::Disk { group, source })?;
        let options = Options::new(opening.sealing_key, rng(), trx_ids);
        let (store, recovered) = GroupStore::open(disk, options)
            .map_err(|source| GroupError::Store { group, source })?;
        let config = GroupConfig {
            descriptor: opening.descriptor.clone(),
            member: opening.keys.member.clone(),
            encrypt: opening.keys.encrypt.clone(),
            create: opening.create,
        };
        let clock = Clock::start();
        let mut env = Env { now: clock.now(), rng: rng() };
        let (driver, first) = GroupDriver::open(&mut env, config, recovered, store)
            .map_err(|source| GroupError::Replica { group, source })?;
        let port = Arc::new(Port::new(VerifyContext { group, views: Vec::new(), known: None }));
        let live = Live { status: driver.status(), stalled: None };
        let live = Arc::new(ArcSwap::from_pointee(live));
        let mut host = Host {
            group,
            label: group.to_string(),
            driver,
            env,
            clock,
            port: Arc::clone(&port),
            live: Arc::clone(&live),
            network: opening.network,
            events: opening.events,
            waiting: BTreeMap::new(),
            next_ticket: 0,
            wake: None,
        };
        // Before the group is in the handle's hands, so that its first answers are there at once.
        host.dispatch(first);
        let closing = Arc::clone(&port);
        let ended = move || closing.queues.close();
        let thread = host::start(group, opening.died, ended, move || host.run())
            .map_err(|source| GroupError::Thread { group, source })?;
        Ok(Self {
            descriptor: opening.descriptor,
            keys: opening.keys,
            port,
            live,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.descriptor.id
    }

    /// What its seed says.
    #[must_use]
    pub const fn descriptor(&self) -> &GroupDescriptor {
        &self.descriptor
    }

    /// This node's keys in it.
    #[must_use]
    pub const fn keys(&self) -> &GroupKeys {
        &self.keys
    }

    /// Whether this node's member owns it.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.keys.member.public() == self.descriptor.owner
    }

    /// Where it stands.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Where its packets go in.
    #[must_use]
    pub fn port(&self) -> Arc<Port> {
        Arc::clone(&self.port)
    }

    /// Has something done; the answer comes when what it promises is durable.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn command(&self, command: Command) -> Result<Reply, AskError> {
        let (answer, wait) = oneshot::channel();
        self.port.queues.command((command, answer))?;
        Ok(wait.await.map_err(|_| AskError::Stopped)??)
    }

    /// Reads certified state.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn query(&self, query: Query) -> Result<Answer, AskError> {
        let (answer, wait) = oneshot::channel();
        self.port.queues.query((query, answer))?;
        Ok(wait.await.map_err(|_| AskError::Stopped)??)
    }

    /// Says goodbye and ends the thread; blocks until it is gone.
    pub fn stop(&self) {
        self.port.queues.close();
        if let Some(thread) = self.thread.lock().take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Host {
    group: GroupId,
    label: String,
    driver: GroupDriver,
    env: Env,
    clock: Clock,
    port: Arc<Port>,
    live: Arc<ArcSwap<Live>>,
    network: Network,
    events: broadcast::Sender<Committed>,
    waiting: BTreeMap<Ticket, CommandAnswer>,
    next_ticket: u64,
    wake: Option<Time>,
}

impl Host {
    fn run(&mut self) {
        loop {
            let wait = self.wake.map(|time| self.clock.until(time));
            let Some(work) = self.port.queues.take(Next { wait, ..Next::default() }) else { break };
            self.turn(work);
        }
        let goodbye = vec![Input::Command(self.ticket(), Command::Leave)];
        self.env.now = self.clock.now();
        let turn = self.driver.turn(&mut self.env, goodbye);
        self.dispatch(turn);
        self.waiting.clear();
        tracing::info!(group = %self.group, "group stopped");
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn turn(&mut self, work: Work) {
        self.env.now = self.clock.now();
        let mut inputs = work.inputs;
        for (command, answer) in work.commands {
            let ticket = self.ticket();
            self.waiting.insert(ticket, answer);
            inputs.push(Input::Command(ticket, command));
        }
        let due = self.wake.is_some_and(|time| time <= self.env.now);
        if due {
            inputs.push(Input::Wake);
        }
        if !inputs.is_empty() {
            let turn = self.driver.turn(&mut self.env, inputs);
            self.dispatch(turn);
        }
        for (query, answer) in work.queries {
            // Who asked may have gone.
            let _ = answer.send(self.driver.query(query));
        }
    }

    fn dispatch(&mut self, turn: Turn) {
        for trace in &turn.trace {
            tracing::trace!(group = %self.group, line = trace.line, "{}", trace.text);
        }
        for output in turn.outputs {
            match output {
                // Signed here: bytes, and with them the signature, are made when they are asked for.
                Output::Send { to, packet } => self.send(&to, Arc::clone(packet.bytes())),
                Output::Reply(ticket, reply) => {
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        let _ = answer.send(reply);
                    }
                }
                Output::Notice(notice) => self.notice(notice),
            }
        }
        self.wake = turn.wake;
        self.publish(turn.stalled);
    }

    fn send(&self, to: &Address, packet: Arc<[u8]>) {
        match to {
            Address::Member(member) => self.network.send_to_member(self.group, member, packet),
            Address::Peer(peer) => self.network.send_to_peer(self.group, peer, packet),
            Address::Everybody => self.network.gossip(self.group, packet),
            Address::Somebody => self.network.send_to_somebody(self.group, packet),
        }
    }

    fn publish(&self, stalled: Option<String>) {
        let status = self.driver.status();
        let behind = if status.syncing { status.head.0 } else { NOT_BEHIND };
        self.port.behind.store(behind, atomic::Ordering::Relaxed);
        let before = self.live.load();
        if before.status == status && before.stalled == stalled {
            return;
        }
        if (before.status.head, before.status.syncing) != (status.head, status.syncing) {
            let (head, epoch, behind) = (status.head, status.epoch, status.syncing);
            tracing::debug!(group = %self.group, %head, %epoch, behind, "head");
        }
        match (&before.stalled, &stalled) {
            (None, Some(reason)) => {
                tracing::error!(group = %self.group, reason, "nothing can be written: stalled");
            }
            (Some(_), None) => tracing::info!(group = %self.group, "writing again"),
            _ => {}
        }
        let label = || self.label.clone();
        metrics::gauge!("quorate_epoch", "group" => label()).set(status.epoch.0 as f64);
        metrics::gauge!("quorate_block", "group" => label()).set(status.head.0 as f64);
        metrics::gauge!("quorate_pool_trxs", "group" => label()).set(status.pool as f64);
        metrics::gauge!("quorate_view", "group" => label()).set(status.view.0 as f64);
        metrics::gauge!("quorate_stalled", "group" => label()).set(if stalled.is_some() {
            1.0
        } else {
            0.0
        });
        metrics::gauge!("quorate_syncing", "group" => label()).set(if status.syncing {
            1.0
        } else {
            0.0
        });
        self.live.store(Arc::new(Live { status, stalled }));
    }

    fn notice(&self, notice: Notice) {
        let label = || self.label.clone();
        match notice {
            Notice::Committed { block, certificate } => {
                metrics::counter!("quorate_blocks_total", "group" => label()).increment(1);
                metrics::counter!("quorate_trxs_total", "group" => label())
                    .increment(block.trxs.len() as u64);
                let behind = self.env.now.0 as f64 - block.header.timestamp as f64 / 1e6;
                metrics::histogram!("quorate_commit_delay_seconds", "group" => label())
                    .record(behind.max(0.0) / 1e3);
                let group = self.group;
                // Nobody may be watching.
                let _ = self.events.send(Committed { group, block, certificate });
            }
            Notice::Views(views) => self.port.set_views(views),
            Notice::ViewInstalled(view) => {
                tracing::info!(
                    group = %self.group,
                    view = %view.number,
                    producers = view.producers.len(),
                    interval_ms = view.interval_ms,
                    "a view is in force"
                );
            }
            Notice::EpochEnded(_) => {
                metrics::counter!("quorate_epochs_total", "group" => label()).increment(1);
            }
            Notice::ChangeEnded { req_id, result } => {
                let result = result.as_str_name();
                tracing::info!(group = %self.group, req_id, result, "a consensus change ended");
                metrics::counter!(
                    "quorate_consensus_changes_total", "group" => label(), "result" => result
                )
                .increment(1);
            }
            Notice::Ready => tracing::info!(group = %self.group, "the group can be used"),
            Notice::Evidence(evidence) => {
                tracing::debug!(
                    group = %self.group,
                    member = %evidence.member,
                    fault = ?evidence.fault,
                    detail = evidence.detail,
                    "evidence"
                );
                let kind = format!("{:?}", evidence.fault);
                metrics::counter!("quorate_evidence_total", "group" => label(), "kind" => kind)
                    .increment(1);
            }
        }
    }
}
