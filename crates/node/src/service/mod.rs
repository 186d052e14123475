//! `cft` groups: a member of a signed Raft group on this node.
//!
//! | module | what it does |
//! |---|---|
//! | [`seat`] | who turns it: its thread, or who brings a little |
//! | [`host`] | a turn: dispatch |
//! | [`open`] | how a member begins: creates, joins, resumes, joins anew |
//! | [`identity`] | its keys at rest |
//! | [`keys`] | what the member does with them |
//! | [`log`] | its log on the disk |
//! | [`recover`] | a service brought back from one ledger |
//! | [`known`] | the nodes last heard of |
//! | [`files`] | where its files are |
//! | [`cleanup`] | old files go |

mod cleanup;
pub mod files;
mod host;
mod identity;
mod keys;
mod known;
mod log;
mod open;
mod recover;
mod seat;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use quorate_consensus::raft::{NodeId, Role};
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::{
    Answer, Code, Command, Error, Input, MemberChange, NodeInfo, Query, Reply, Status, TxId, Wait,
};
use quorate_replica::cft::wire::Packet;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::cleanup::Cleanup;
use self::host::CommandAnswer;
pub use self::host::{Line, Outcome};
pub use self::seat::Seat;
use crate::host::Busy;
use crate::keystore::GroupKeys;
use crate::p2p::{Incoming, Network, Verdict};
pub use open::{Opening, ServiceError};
pub use recover::{Recovered, Recovery, recover};

/// A command that has no answer by then (besides the time it asked for) gets an error. The member
/// answers all of them itself unless the disk fails.
const ANSWER: Duration = Duration::from_secs(30);

/// What can be seen of a member at any time.
#[derive(Clone, Debug)]
pub struct Live {
    /// Where it stands.
    pub status: Status,
    /// Why nothing can be made durable now, if so.
    pub stalled: Option<String>,
    /// The nodes of the group.
    pub nodes: Arc<[NodeInfo]>,
    /// When something was committed last, nanoseconds since the Unix epoch.
    pub updated_ns: i64,
}

impl Live {
    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.status.role == Some(Role::Leader)
    }

    /// Where the clients of the leader find it, if it is known and another node.
    #[must_use]
    pub fn leader_address(&self) -> Option<&str> {
        let leader = self.status.leader.filter(|leader| *leader != self.status.node_id)?;
        self.address(&leader)
    }

    /// Where the clients of a node find it.
    #[must_use]
    pub fn address(&self, id: &NodeId) -> Option<&str> {
        let node = self.nodes.iter().find(|node| node.node_id == *id)?;
        Some(node.rpc_address.as_str())
    }

    /// The last committed transaction.
    #[must_use]
    pub const fn committed(&self) -> TxId {
        self.status.committed
    }

    /// Its role, as the API writes it.
    #[must_use]
    pub fn role(&self) -> Option<&'static str> {
        self.status.role.map(Role::name)
    }
}

/// A change of the members that was asked for on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The transaction it began with.
    pub tx: TxId,
    /// Nodes that join.
    pub add: Vec<NodeId>,
    /// Nodes that leave.
    pub remove: Vec<NodeId>,
    /// Whether it was given up here.
    pub aborted: bool,
}

/// Handle of a member of a `cft` group.
pub struct Service {
    descriptor: GroupDescriptor,
    keys: GroupKeys,
    dir: PathBuf,
    seat: Arc<Seat>,
    live: Arc<ArcSwap<Live>>,
    change: Mutex<Option<Change>>,
    network: Network,
    thread: Mutex<Option<JoinHandle<()>>>,
    read_only: Vec<PathBuf>,
    cleanup: AbortHandle,
}

impl Service {
    /// Opens a member from its directory and starts its thread. Must be called inside a runtime (on
    /// a thread that may block), which then hands the answers out.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn open(opening: Opening) -> Result<Self, ServiceError> {
        let (descriptor, keys) = (opening.descriptor.clone(), opening.keys.clone());
        let (dir, network) = (opening.dir.clone(), opening.network.clone());
        let read_only = files::read_only(&opening.config.read_only_directories, descriptor.id);
        let config = opening.config.clone();
        let started = open::start(opening)?;
        let cleanup = Cleanup {
            group: descriptor.id,
            dir: dir.clone(),
            read_only: read_only.clone(),
            max_snapshots: config.files_cleanup.max_snapshots,
            max_chunks: config.files_cleanup.max_committed_ledger_chunks,
        };
        let cleanup = cleanup.start(&config).abort_handle();
        Ok(Self {
            descriptor,
            keys,
            dir,
            seat: started.seat,
            live: started.live,
            change: Mutex::default(),
            network,
            thread: Mutex::new(Some(started.thread)),
            read_only,
            cleanup,
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

    /// This node's keys as a member of the group.
    #[must_use]
    pub const fn keys(&self) -> &GroupKeys {
        &self.keys
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where committed ledger files may be besides.
    #[must_use]
    pub fn read_only(&self) -> &[PathBuf] {
        &self.read_only
    }

    /// Where it stands.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Takes a packet of a peer. Decoding costs less than handing it to another thread, and this way
    /// packets stay in order.
    pub fn receive(seat: &Arc<Seat>, group: GroupId, network: &Network, incoming: Incoming) {
        let size = incoming.bytes.len();
        let (bytes, source) = incoming.into_parts();
        match Packet::decode(&bytes) {
            Ok((of, packet)) if of == group => {
                let peer = source.peer();
                network.judge(source, Verdict::Good);
                seat.packet(Input::Packet(peer, packet), size);
            }
            Ok(_) => network.judge(source, Verdict::Malformed),
            Err(error) => {
                tracing::debug!(%group, %error, "packet refused");
                metrics::counter!("quorate_packets_refused_total", "why" => "malformed")
                    .increment(1);
                network.judge(source, Verdict::Malformed);
            }
        }
    }

    /// Where its packets go in.
    #[must_use]
    pub fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }

    /// The network it speaks through.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Has something done; the answer comes when what it promises is durable.
    ///
    /// # Errors
    /// The member's.
    pub async fn command(&self, command: Command) -> Result<Reply, Error> {
        let limit = patience(&command);
        let (answer, wait) = oneshot::channel();
        let patient = command.awaits_commit();
        let queued = self.seat.commands([((command, CommandAnswer::Single(answer)), patient)]);
        queued.map_err(|(_, busy)| refused(busy, true))?;
        match tokio::time::timeout(limit, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(unanswered(limit)),
        }
    }

    /// Has commands done, in any order; the answers go to a line, each with the number of its
    /// command.
    ///
    /// # Errors
    /// How many were taken, and why the others were not.
    pub fn submit(&self, commands: Vec<(u64, Command)>, line: &Line) -> Result<(), (usize, Error)> {
        let commands = commands.into_iter().map(|(number, command)| {
            let patient = command.awaits_commit();
            ((command, CommandAnswer::Line(line.clone(), number)), patient)
        });
        self.seat.commands(commands).map_err(|(taken, busy)| (taken, refused(busy, true)))
    }

    /// Asks what is durable here.
    ///
    /// # Errors
    /// The member's.
    pub async fn query(&self, query: Query) -> Result<Answer, Error> {
        let (answer, wait) = oneshot::channel();
        self.seat.query((query, answer)).map_err(|busy| refused(busy, false))?;
        match tokio::time::timeout(ANSWER, wait).await {
            Ok(answer) => answer.map_err(|_| stopped())?,
            Err(_) => Err(Error::new(Code::NodeCannotHandleRequest, "the disk does not answer")),
        }
    }

    /// The change of members asked for last on this node.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        self.change.lock().clone()
    }

    /// Starts a change of the members.
    ///
    /// # Errors
    /// The member's.
    pub async fn start_change(
        &self,
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
    ) -> Result<Change, Error> {
        let command = Command::Member(member_change(&add, &remove)?);
        match self.command(command).await? {
            Reply::Written { tx, .. } => {
                let change = Change { tx, add, remove, aborted: false };
                *self.change.lock() = Some(change.clone());
                Ok(change)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Gives the change up that has not come so far yet.
    ///
    /// # Errors
    /// The member's.
    pub async fn abort_change(&self) -> Result<(), Error> {
        match self.command(Command::Member(MemberChange::Abort)).await? {
            Reply::Written { .. } => {
                if let Some(change) = &mut *self.change.lock() {
                    change.aborted = true;
                }
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the thread; blocks until it is gone.
    pub fn stop(&self) {
        self.seat.close();
        self.cleanup.abort();
        if let Some(thread) = self.thread.lock().take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// The command for a change of members.
///
/// # Errors
/// If it changes nothing.
pub fn member_change(add: &[NodeId], remove: &[NodeId]) -> Result<MemberChange, Error> {
    match (add, remove) {
        ([], []) => Err(Error::new(Code::InvalidInput, "the change names no node")),
        ([node], []) => Ok(MemberChange::Add(*node)),
        ([], [node]) => Ok(MemberChange::Remove(*node)),
        _ => Ok(MemberChange::Replace { joins: add.to_vec(), leaves: remove.to_vec() }),
    }
}

/// How long a command may be under way: [`ANSWER`] and the time that it asks to wait.
pub fn patience(command: &Command) -> Duration {
    match command {
        Command::Write { wait: Wait::Committed { timeout_ms }, .. }
        | Command::Await { timeout_ms, .. } => ANSWER + Duration::from_millis(*timeout_ms),
        _ => ANSWER,
    }
}

/// A command was under way for too long.
pub fn unanswered(limit: Duration) -> Error {
    let message = format!("no answer within {} s", limit.as_secs());
    Error::new(Code::TransactionReplicationFailed, message)
}

fn refused(busy: Busy, writes: bool) -> Error {
    match busy {
        Busy::Closed => stopped(),
        Busy::Full if writes => {
            Error::new(Code::TooManyPendingTransactions, "too many requests wait for this node")
        }
        Busy::Full => {
            Error::new(Code::NodeCannotHandleRequest, "too many questions wait for this node")
        }
    }
}

fn stopped() -> Error {
    Error::new(Code::NodeCannotHandleRequest, "the group is not open on this node")
}

/// An answer of another kind than was asked for: our own mistake.
pub fn unexpected(what: &impl std::fmt::Debug) -> Error {
    Error::new(Code::InternalError, format!("the member answered something else: {what:?}"))
}
