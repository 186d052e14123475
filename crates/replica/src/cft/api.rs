//! Inputs, outputs, commands and queries of a member of a `cft` group: its whole surface.
//!
//! Names are those of the reference for signed Raft; in brackets where a rule is from.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use quorate_consensus::raft::{NodeId, Phase, Role, Seqno, Status as TxStatus, View};
use quorate_crypto::recipient::EncryptKey;
pub use quorate_ledger::ccf::maps::{NodeStatus, ServiceStatus};
pub use quorate_ledger::ccf::signature::ServiceSecrets;
pub use quorate_ledger::ccf::{LedgerSecret, TxId};
use quorate_ledger::ids::GroupId;
use quorate_ledger::state::Value;

use super::limits::RECENT_ENTRIES;
use super::wire::Packet;
pub use crate::api::{Address, PeerRef, Ticket};

/// What a member is opened with, whatever its past. Times in milliseconds, defaults as in \[8\].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The group.
    pub group: GroupId,
    /// This node's own network identity.
    pub peer: PeerRef,
    /// Where this node's clients find it, for redirections: `host:port`.
    pub rpc_address: String,
    /// `consensus.message_timeout`: a leader says something at least so often.
    pub message_timeout_ms: u64,
    /// `consensus.election_timeout`.
    pub election_timeout_ms: u64,
    /// `consensus.max_uncommitted_tx_count`; 0: no limit.
    pub max_uncommitted_tx_count: u64,
    /// `ledger_signatures.tx_count`: at most so many transactions without a signature (>= 1).
    pub signature_tx_count: u64,
    /// `ledger_signatures.delay`: no transaction is older without a signature.
    pub signature_delay_ms: u64,
    /// `ledger_signatures.adaptive` \[O3\].
    pub signature_adaptive: bool,
    /// `ledger_signatures.max_in_flight` \[O3\]: adaptive signatures that may wait for commit.
    pub signature_max_in_flight: u64,
    /// `ledger.chunk_size` in bytes: a chunk ends with the first signature after it.
    pub chunk_size: u64,
    /// `snapshots.tx_count`: a snapshot every so many transactions; 0: none.
    pub snapshot_tx_count: u64,
    /// `snapshots.min_tx_count`: one that is due by time has at least so many transactions more than
    /// the last.
    pub snapshot_min_tx_count: u64,
    /// `snapshots.time_interval`: a snapshot so long after the last; 0: none for that reason.
    pub snapshot_interval_ms: u64,
    /// Most of the newest entries that are kept in memory for followers that are a little behind;
    /// older ones are read back.
    pub recent_entries: usize,
    /// Whether turns carry a trace.
    pub trace: bool,
}

impl Config {
    /// The reference's defaults.
    #[must_use]
    pub const fn new(group: GroupId, peer: PeerRef, rpc_address: String) -> Self {
        Self {
            group,
            peer,
            rpc_address,
            message_timeout_ms: 100,
            election_timeout_ms: 5_000,
            max_uncommitted_tx_count: 10_000,
            signature_tx_count: 5_000,
            signature_delay_ms: 1_000,
            signature_adaptive: true,
            signature_max_in_flight: 2,
            chunk_size: 5 * 1024 * 1024,
            snapshot_tx_count: 10_000,
            snapshot_min_tx_count: 2,
            snapshot_interval_ms: 0,
            recent_entries: RECENT_ENTRIES,
            trace: false,
        }
    }
}

/// How a member comes to be.
#[derive(Clone, Debug)]
pub enum Begin {
    /// The first node of a new service. The log must be empty; the notary has entered the service,
    /// whose certificates go into entry 1.
    Create {
        /// Rows of `public:quorate.genesis`: the genesis block and the owner's statement.
        genesis: BTreeMap<Vec<u8>, Vec<u8>>,
        /// The ledger secret of the new service.
        secret: LedgerSecret,
    },
    /// Asks the group for admission (and goes on asking), then follows from where its log ends:
    /// with an empty log, or with what it kept before its secrets were stored (`rejoin` is this,
    /// with a new key and an empty log).
    Join {
        /// Opens the secrets that are sealed to it.
        encrypt: EncryptKey,
        /// Whether to begin with a snapshot if there is one, instead of entry 1.
        from_snapshot: bool,
    },
    /// Goes on with identity, vote and log (`consensus.restart = "resume"`, \[O1\]).
    Resume {
        /// The service's ledger secret.
        secret: LedgerSecret,
    },
    /// Disaster recovery \[7.6\]: a new service from one ledger. What follows the last signature is
    /// dropped, the view rises by 2, this node is the only one. The notary has entered the new
    /// service.
    Recover {
        /// The ledger secret of the old service, used on.
        secret: LedgerSecret,
        /// Links the identities: the old service's key certified by the new one (PEM), so that old
        /// receipts verify with the new service certificate.
        endorsement: String,
        /// The old service key's signature over the new service certificate, if the old key is
        /// still there.
        handover: Option<Vec<u8>>,
    },
}

/// What happens to a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// A packet of a peer, decoded by [`Packet::decode`]. The network vouches for the peer.
    Packet(PeerRef, Packet),
    /// A caller wants something done.
    Command(Ticket, Command),
    /// A peer of this group connected (or reconnected).
    Connected(PeerRef),
    /// A wake-up asked for is due.
    Wake,
}

/// One operation of a request, on a named map: those called `public:...` are plain in the ledger,
/// all others encrypted. Later operations of a request see what earlier ones wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Reads a key.
    Get {
        /// Map.
        map: Arc<str>,
        /// Key.
        key: Vec<u8>,
    },
    /// Reads keys `from..to` in order.
    Range {
        /// Map.
        map: Arc<str>,
        /// First key.
        from: Vec<u8>,
        /// The key after the last; `None`: to the end of the map.
        to: Option<Vec<u8>>,
        /// At most so many.
        limit: u32,
    },
    /// Writes a key.
    Put {
        /// Map.
        map: Arc<str>,
        /// Key.
        key: Vec<u8>,
        /// Value.
        value: Value,
    },
    /// Removes a key.
    Delete {
        /// Map.
        map: Arc<str>,
        /// Key.
        key: Vec<u8>,
    },
    /// Writes (or with `value: None` removes) a key if it has the value expected (`None`: is
    /// absent). If not, nothing of the whole request is done.
    CompareAndSet {
        /// Map.
        map: Arc<str>,
        /// Key.
        key: Vec<u8>,
        /// What must be there.
        expected: Option<Value>,
        /// What will be there.
        value: Option<Value>,
    },
}

/// What an [`Op`] gave, in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpResult {
    /// Of [`Op::Get`].
    Value(Option<Value>),
    /// Of [`Op::Range`]: entries, and whether there are more.
    Range(Vec<(Vec<u8>, Value)>, bool),
    /// Of a write.
    Done,
}

/// When a write is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wait {
    /// At once: durable on the leader, with the transaction id \[R4\].
    #[default]
    Response,
    /// When it is committed or invalid, or after so many milliseconds \[O2\].
    Committed {
        /// At most; the reply then says Pending or Unknown.
        timeout_ms: u64,
    },
}

/// What a read may miss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// Nothing that was committed before it was asked for, through the leader \[6\].
    #[default]
    Linearizable,
    /// What this node does not know to be committed: serialisable, perhaps old.
    Committed,
    /// Nothing that is in this node's log, though it may be rolled back.
    Local,
}

/// What a caller may want done. A node that does not lead forwards what only the leader can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// One transaction of the application.
    Write {
        /// What to do, all or nothing.
        ops: Vec<Op>,
        /// A request with the same key is done once, whoever leads, and answered alike.
        idempotency: Option<Vec<u8>>,
        /// When to answer.
        wait: Wait,
        /// The last transaction the caller's session saw: if it was rolled back the answer is
        /// [`Code::SessionConsistencyLost`].
        session: Option<TxId>,
    },
    /// Reads without a transaction. Only reading operations.
    Read {
        /// What to read.
        ops: Vec<Op>,
        /// What may be missing.
        consistency: Consistency,
        /// As in [`Command::Write`].
        session: Option<TxId>,
    },
    /// Answers when a transaction is committed or invalid, or after the time.
    Await {
        /// The transaction.
        tx: TxId,
        /// At most so long.
        timeout_ms: u64,
    },
    /// A member change by the operator.
    Member(MemberChange),
    /// The leader asks its best follower to lead \[C7\].
    Nominate,
}

impl Command {
    /// A write whose caller waits until it is committed.
    #[must_use]
    pub const fn awaits_commit(&self) -> bool {
        matches!(self, Self::Write { wait: Wait::Committed { .. }, .. })
    }
}

/// What an operator does to the members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// Makes a pending node a learner, and a member as soon as it has caught up.
    Add(NodeId),
    /// Retires a member.
    Remove(NodeId),
    /// As both together, in one reconfiguration: `joins` learn first, then `leaves` retire.
    Replace {
        /// Pending nodes.
        joins: Vec<NodeId>,
        /// Members.
        leaves: Vec<NodeId>,
    },
    /// Gives up a change that is not in the ledger yet.
    Abort,
    /// Forgets a node whose retirement is complete (`DELETE /node/network/nodes/{id}`).
    Forget(NodeId),
}

/// Answer to a [`Command`], released only after what it promises is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Command::Write`], [`Command::Member`].
    Written {
        /// The transaction.
        tx: TxId,
        /// How it stands: Pending for an early answer.
        status: TxStatus,
        /// What the operations gave. Empty if `repeated`.
        results: Vec<OpResult>,
        /// The idempotency key was used before: `tx` is the transaction of then.
        repeated: bool,
    },
    /// To [`Command::Read`].
    Read {
        /// The last transaction that it may have seen.
        tx: TxId,
        /// What the operations gave.
        results: Vec<OpResult>,
    },
    /// To [`Command::Await`].
    Status {
        /// The transaction.
        tx: TxId,
        /// How it stands.
        status: TxStatus,
    },
    /// To [`Command::Nominate`].
    Nominated,
}

/// What went wrong, as the API names it \[8\].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Code {
    /// There is no such thing.
    ResourceNotFound,
    /// The node's retirement is not complete.
    NodeNotRetiredCommitted,
    /// A parameter of the request is no good.
    InvalidQueryParameterValue,
    /// The request is no good.
    InvalidInput,
    /// A header is no good.
    InvalidHeaderValue,
    /// The request is too large.
    RequestBodyTooLarge,
    /// There is no receipt yet.
    TransactionPendingOrUnknown,
    /// The transaction will never be committed.
    TransactionInvalid,
    /// The node cannot do it.
    InternalError,
    /// No leader is known.
    PrimaryNotFound,
    /// What the session saw was rolled back.
    SessionConsistencyLost,
    /// The request was sent to a leader and its outcome is not known.
    TransactionReplicationFailed,
    /// The request was tried too often.
    TransactionCommitAttemptsExceedLimit,
    /// Too much waits for its commit.
    TooManyPendingTransactions,
    /// The joiner begins before what the leader has.
    StartupSeqnoIsOld,
    /// The service is not open.
    FrontendNotOpen,
    /// This node is not (or no longer) in a state to do it.
    NodeCannotHandleRequest,
    /// A comparison of the request failed \[ours\].
    PreconditionFailed,
    /// The idempotency key was used for another request \[ours\].
    IdempotencyKeyReused,
    /// Another member change is going on \[ours\].
    ChangeInProgress,
    /// The change would leave no member, or lose the quorum \[ours\].
    QuorumLost,
    /// The node was removed before; a removed node comes back with a new key \[ours\].
    NodeRemoved,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 22] = [
        Self::ResourceNotFound,
        Self::NodeNotRetiredCommitted,
        Self::InvalidQueryParameterValue,
        Self::InvalidInput,
        Self::InvalidHeaderValue,
        Self::RequestBodyTooLarge,
        Self::TransactionPendingOrUnknown,
        Self::TransactionInvalid,
        Self::InternalError,
        Self::PrimaryNotFound,
        Self::SessionConsistencyLost,
        Self::TransactionReplicationFailed,
        Self::TransactionCommitAttemptsExceedLimit,
        Self::TooManyPendingTransactions,
        Self::StartupSeqnoIsOld,
        Self::FrontendNotOpen,
        Self::NodeCannotHandleRequest,
        Self::PreconditionFailed,
        Self::IdempotencyKeyReused,
        Self::ChangeInProgress,
        Self::QuorumLost,
        Self::NodeRemoved,
    ];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResourceNotFound => "ResourceNotFound",
            Self::NodeNotRetiredCommitted => "NodeNotRetiredCommitted",
            Self::InvalidQueryParameterValue => "InvalidQueryParameterValue",
            Self::InvalidInput => "InvalidInput",
            Self::InvalidHeaderValue => "InvalidHeaderValue",
            Self::RequestBodyTooLarge => "RequestBodyTooLarge",
            Self::TransactionPendingOrUnknown => "TransactionPendingOrUnknown",
            Self::TransactionInvalid => "TransactionInvalid",
            Self::InternalError => "InternalError",
            Self::PrimaryNotFound => "PrimaryNotFound",
            Self::SessionConsistencyLost => "SessionConsistencyLost",
            Self::TransactionReplicationFailed => "TransactionReplicationFailed",
            Self::TransactionCommitAttemptsExceedLimit => "TransactionCommitAttemptsExceedLimit",
            Self::TooManyPendingTransactions => "TooManyPendingTransactions",
            Self::StartupSeqnoIsOld => "StartupSeqnoIsOld",
            Self::FrontendNotOpen => "FrontendNotOpen",
            Self::NodeCannotHandleRequest => "NodeCannotHandleRequest",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::IdempotencyKeyReused => "IdempotencyKeyReused",
            Self::ChangeInProgress => "ChangeInProgress",
            Self::QuorumLost => "QuorumLost",
            Self::NodeRemoved => "NodeRemoved",
        }
    }

    /// What the caller can do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::ResourceNotFound => "check the id",
            Self::NodeNotRetiredCommitted => "wait until the node is listed as removable",
            Self::InvalidQueryParameterValue | Self::InvalidInput | Self::InvalidHeaderValue => {
                "correct the request"
            }
            Self::RequestBodyTooLarge => "split the request",
            Self::TransactionPendingOrUnknown => "ask again when the transaction is committed",
            Self::TransactionInvalid => "the transaction is lost: submit it again",
            Self::InternalError => "see the node's log",
            Self::PrimaryNotFound => "an election may be going on: try again soon",
            Self::SessionConsistencyLost => "begin a new session",
            Self::TransactionReplicationFailed | Self::TransactionCommitAttemptsExceedLimit => {
                "try again with the same idempotency key"
            }
            Self::TooManyPendingTransactions => "try again soon",
            Self::StartupSeqnoIsOld => "begin with a newer snapshot",
            Self::FrontendNotOpen => "wait until the service is open",
            Self::NodeCannotHandleRequest => "ask another node",
            Self::PreconditionFailed => "read again, then try with what is there",
            Self::IdempotencyKeyReused => "use a new key for a new request",
            Self::ChangeInProgress => "wait for the change, or abort it",
            Self::QuorumLost => "add members first",
            Self::NodeRemoved => "join with a new key",
        }
    }
}

/// Why a command or query has no answer. Nothing has changed, unless the code says that this is
/// not known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Error {
    /// What.
    pub code: Code,
    /// In words.
    pub message: String,
}

impl Error {
    /// An error with its words.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a member gives the world, after its records are durable.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a packet.
    Send {
        /// To whom.
        to: Address,
        /// The packet.
        packet: Arc<[u8]>,
    },
    /// Answer a command.
    Reply(Ticket, Result<Reply, Error>),
    /// Tell whoever watches.
    Notice(Notice),
}

/// Something a watcher may want to know.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Everything up to here is final.
    Committed(TxId),
    /// The role or the leader changed.
    Role {
        /// This node's role.
        role: Option<Role>,
        /// The view.
        view: View,
        /// Its leader, if known.
        leader: Option<NodeId>,
    },
    /// The nodes of the group changed: these should be connected.
    Nodes(Vec<NodeInfo>),
    /// This node has been admitted: store the secrets, and resume with them from now on.
    Admitted(Box<Admission>),
    /// The service (its certificate or status) changed.
    Service,
    /// This node has retired for good and may be switched off.
    Retired,
    /// Something of a peer was ignored.
    Inconsistent(String),
    /// This node must not go on: what it was given or has kept contradicts itself. It answers
    /// nothing any more.
    Stopped(String),
}

/// What a joiner is given: to be stored in its keystore.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Service key and certificates, which its notary has entered with.
    pub service: ServiceSecrets,
    /// The ledger secret.
    pub secret: LedgerSecret,
}

/// A node as the committed state knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeInfo {
    /// Its id.
    pub node_id: NodeId,
    /// Its status.
    pub status: NodeStatus,
    /// Whether its retirement is complete.
    pub retired_committed: bool,
    /// Whether it is a learner now.
    pub learner: bool,
    /// Whether it leads, as far as this node knows.
    pub primary: bool,
    /// Its network identity.
    pub peer: PeerRef,
    /// Where its clients find it.
    pub rpc_address: String,
    /// The transaction that last wrote its row.
    pub last_written: Seqno,
}

/// A question about this member, answered at once from what is durable here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// `GET /node/consensus`.
    Consensus,
    /// `GET /node/network`.
    Network,
    /// `GET /node/network/nodes`.
    Nodes,
    /// `GET /node/network/removable_nodes`, with what blocks the others \[O5\].
    Removable,
    /// `GET /node/commit`; the history from this view on, if asked for.
    Commit {
        /// `view_history` = 1, `view_history_since` = V.
        history_since: Option<View>,
    },
    /// `GET /node/tx`.
    Tx(TxId),
    /// `GET /node/receipt` (JSON text).
    Receipt(TxId),
    /// `GET /node/receipt/cose`.
    CoseReceipt(TxId),
    /// `GET /node/state`.
    State,
    /// `HEAD /node/primary`.
    Primary,
    /// `GET /node/ready/app` and `gov`.
    Ready,
    /// What a member change would lead to. Changes nothing.
    Plan(MemberChange),
    /// One key, of committed or local state.
    Get {
        /// Map.
        map: String,
        /// Key.
        key: Vec<u8>,
        /// `Linearizable` is not possible here.
        consistency: Consistency,
    },
    /// A committed entry: its bytes in the ledger.
    Entry(Seqno),
    /// Where the member stands, in short.
    Status,
}

/// Answer to a [`Query`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Query::Consensus`].
    Consensus(Box<ConsensusInfo>),
    /// To [`Query::Network`].
    Network(Box<NetworkInfo>),
    /// To [`Query::Nodes`].
    Nodes(Vec<NodeInfo>),
    /// To [`Query::Removable`].
    Removable {
        /// These may be switched off and forgotten.
        nodes: Vec<NodeInfo>,
        /// Retired nodes that may not yet, and why.
        blocked: Vec<Blocked>,
    },
    /// To [`Query::Commit`].
    Commit {
        /// Last committed transaction.
        tx: TxId,
        /// First transaction of each view.
        history: Option<Vec<TxId>>,
    },
    /// To [`Query::Tx`].
    Tx(TxId, TxStatus),
    /// To [`Query::Receipt`].
    Receipt(String),
    /// To [`Query::CoseReceipt`].
    CoseReceipt(Vec<u8>),
    /// To [`Query::State`].
    State(Box<StateInfo>),
    /// To [`Query::Primary`].
    Primary(Option<NodeInfo>),
    /// To [`Query::Ready`]: whether the service is open and this node takes part.
    Ready(bool),
    /// To [`Query::Plan`].
    Plan(Box<Plan>),
    /// To [`Query::Get`]: the value, and the last transaction it may have seen.
    Value(Option<Value>, TxId),
    /// To [`Query::Entry`].
    Entry(Arc<[u8]>),
    /// To [`Query::Status`].
    Status(Box<Status>),
}

/// One active configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigurationInfo {
    /// The entry that began it.
    pub idx: Seqno,
    /// Members and where their clients find them.
    pub nodes: BTreeMap<NodeId, String>,
}

/// `GET /node/consensus`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsensusInfo {
    /// Active configurations, oldest first.
    pub configs: Vec<ConfigurationInfo>,
    /// A leader's: what each peer has acknowledged, and how many ms ago it was last heard.
    pub acks: BTreeMap<NodeId, (Seqno, u64)>,
    /// Whether this node retires (else it is Active).
    pub retired: bool,
    /// Its role.
    pub leadership_state: Option<Role>,
    /// How far its retirement is.
    pub retirement_phase: Option<Phase>,
    /// The leader, if known.
    pub primary_id: Option<NodeId>,
    /// The view.
    pub current_view: View,
    /// Whether its election timer runs.
    pub ticking: bool,
    /// Learners, at the leader.
    pub learners: Vec<NodeId>,
}

/// `GET /node/network`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkInfo {
    /// Status of the service.
    pub service_status: ServiceStatus,
    /// Its certificate (PEM).
    pub service_certificate: String,
    /// The view.
    pub current_view: View,
    /// The leader, if known.
    pub primary_id: Option<NodeId>,
    /// How often it was recovered.
    pub recovery_count: u64,
    /// The transaction that created it (or its last recovery).
    pub current_service_create_txid: TxId,
    /// Certificates of old service keys by the present one, newest first (PEM).
    pub endorsements: Vec<String>,
}

/// `GET /node/state`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateInfo {
    /// This node.
    pub node_id: NodeId,
    /// `Pending` (asks to join), `PartOfNetwork`, or `Stopped`.
    pub state: &'static str,
    /// Last signature in the log.
    pub last_signed_seqno: Seqno,
    /// Where its ledger begins.
    pub startup_seqno: Seqno,
    /// Whether it has retired for good and may be switched off.
    pub stop_notice: bool,
}

/// Why a retired node is not removable yet \[O5\].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// The node.
    pub node_id: NodeId,
    /// `Ordered`, `Signed` or `Completed`.
    pub phase: &'static str,
    /// What is waited for.
    pub reason: String,
}

/// What a member change leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Members now.
    pub before: Vec<NodeId>,
    /// Members after.
    pub after: Vec<NodeId>,
    /// Nodes of `after` that must be there for anything to be committed.
    pub quorum: usize,
    /// Nodes of `after` that may fail.
    pub tolerates: usize,
    /// Nodes that learn first.
    pub learners: Vec<NodeId>,
    /// Nodes of `after` that this leader has not heard lately (or that are not known to run).
    pub silent: Vec<NodeId>,
    /// What the operator should know; empty if all is well.
    pub warnings: Vec<String>,
    /// Why it would be refused, if so.
    pub refused: Option<Error>,
}

/// Where a member stands, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// Last transaction of the log.
    pub last: TxId,
    /// Last committed transaction.
    pub committed: TxId,
    /// Its role.
    pub role: Option<Role>,
    /// The view.
    pub view: View,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// Whether this node waits for its admission.
    pub joining: bool,
    /// Whether it has retired for good.
    pub retired: bool,
    /// Why it has stopped, if so.
    pub stopped: Option<String>,
}
