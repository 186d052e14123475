//! Inputs, outputs, commands and queries: the replica's whole surface.

use std::sync::Arc;

use quorate_consensus::evidence::Evidence;
use quorate_crypto::hash::Digest;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::group::{GenesisDocuments, GroupDescriptor};
use quorate_ledger::ids::{BlockId, Epoch, TrxId, ViewNumber};
use quorate_ledger::proto;
use quorate_ledger::receipt::Receipt;
use quorate_ledger::view::{View, ViewChain};

use crate::wire::{Inbound, Packet};

/// Names a command so that its reply finds the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// A network identity, opaque to the replica (a libp2p peer id; a node number in the simulator).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerRef(pub Arc<[u8]>);

/// Where a packet goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// The node that holds this member key.
    Member(MemberPublicKey),
    /// The peer that sent something this answers.
    Peer(PeerRef),
    /// Everybody in the group (gossip).
    Everybody,
    /// Any one or few peers of the group, the network's choice, another one each time.
    Somebody,
}

/// What a replica is opened with. Everything else comes from the journal.
#[derive(Clone)]
pub struct GroupConfig {
    /// Name, owner, ciphers, genesis block: from the seed or from creation.
    pub descriptor: GroupDescriptor,
    /// This node's member key in the group.
    pub member: MemberKey,
    /// This node's encryption key in the group.
    pub encrypt: EncryptKey,
    /// Set by the owner's node when it has just created the group: makes the genesis view.
    pub create: bool,
}

/// What happens to a replica.
#[derive(Debug)]
pub enum Input<M> {
    /// A packet of a peer, checked by [`crate::wire::verify`].
    Inbound(PeerRef, Inbound<M>),
    /// A caller wants something done.
    Command(Ticket, Command),
    /// A peer of this group connected (or reconnected).
    Connected(PeerRef),
    /// A wake-up asked for is due.
    Wake,
}

/// What a caller may want done.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make, sign and order a trx of this node's member.
    Submit {
        /// Its type.
        kind: quorate_ledger::trx::TrxType,
        /// Plain payload; the replica encrypts it with the group's cipher.
        payload: Vec<u8>,
    },
    /// Order a trx signed elsewhere (light clients).
    SubmitSigned(Box<proto::Trx>),
    /// Announce this node's member as user or producer.
    Announce {
        /// ADD or REMOVE.
        action: proto::ActionType,
        /// As user or as producer.
        kind: proto::AnnounceType,
        /// Free text.
        memo: String,
    },
    /// The owner changes the consensus.
    ChangeConsensus {
        /// The new committee, in order.
        producers: Vec<MemberPublicKey>,
        /// First epoch of the new view.
        start_from_epoch: u64,
        /// Epoch interval in milliseconds.
        trx_epoch_tick: u64,
        /// Length of one agreement round in milliseconds.
        agreement_tick_length: u64,
        /// Number of agreement rounds.
        agreement_tick_count: u64,
    },
    /// The node is about to leave the group or stop: say goodbye.
    Leave,
}

/// Answer to a [`Command`], released only after what it promises is durable.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// The trx is durable here and will be ordered.
    Accepted {
        /// Its id.
        trx_id: TrxId,
    },
    /// The announcement is durable here and will be ordered.
    Announced {
        /// The signed item.
        item: Box<proto::AnnounceItem>,
        /// Its trx.
        trx_id: TrxId,
    },
    /// The agreement has been started durably.
    ChangeStarted {
        /// Id of the CONSENSUS trx that will exist if it succeeds.
        trx_id: TrxId,
        /// Request id.
        req_id: String,
    },
    /// Done.
    Left,
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// A field or trx is wrong; the text is the one of the API.
    #[error("{0}")]
    Invalid(String),
    /// Only the owner may do this.
    #[error("Only group owner can do this")]
    NotOwner,
    /// The lists of the group forbid this key this trx type.
    #[error("{0}")]
    Forbidden(String),
    /// The pool is full; nothing was accepted. Try again after `retry_ms`.
    #[error("the pool of pending trxs is full; try again in {retry_ms} ms")]
    PoolFull {
        /// When to try again.
        retry_ms: u64,
    },
    /// The node cannot acknowledge anything now (for example its disk is full).
    #[error("the node cannot accept writes now: {0}")]
    Stalled(String),
    /// The group's genesis documents have not been fetched yet.
    #[error("the group is not synchronised yet")]
    NotReady,
}

/// What a replica gives the world, after its records are durable.
#[derive(Debug)]
pub enum Output {
    /// Send a packet (made by [`crate::wire`]).
    Send {
        /// To whom.
        to: Address,
        /// The packet; its bytes are signed when they are asked for.
        packet: Packet,
    },
    /// Answer a command.
    Reply(Ticket, Result<Reply, CommandError>),
    /// Tell whoever watches.
    Notice(Notice),
}

/// Something a watcher may want to know. Committed things are certified.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A block is final here.
    Committed {
        /// The block.
        block: Arc<Block>,
        /// Its certificate.
        certificate: Arc<Certificate>,
    },
    /// The set of views whose frames can be verified changed (current, and the one before).
    Views(Vec<Arc<View>>),
    /// A new view is in force.
    ViewInstalled(Arc<View>),
    /// An epoch ended (with or without a block).
    EpochEnded(Epoch),
    /// A consensus change ended.
    ChangeEnded {
        /// Request id.
        req_id: String,
        /// SUCCESS, FAILED or TIMEOUT.
        result: proto::ChangeConsensusResult,
    },
    /// The genesis documents are here: the group can be used.
    Ready,
    /// A peer's fault.
    Evidence(Evidence),
}

/// A read of certified state.
#[derive(Clone, Debug)]
pub enum Query {
    /// [`GroupStatus`].
    Status,
    /// Current configuration.
    Consensus,
    /// All results of consensus changes in nonce order; the genesis proof first.
    Proofs,
    /// One trx by id.
    Trx(TrxId),
    /// One block by id (0: genesis).
    Block(BlockId),
    /// Content posts.
    Content {
        /// At most so many.
        num: usize,
        /// Start at this trx; `None`: at the first (or last, if reversed).
        start: Option<TrxId>,
        /// Newest first.
        reverse: bool,
        /// Whether `start` itself is included.
        include_start: bool,
        /// Only of these senders; empty: all.
        senders: Vec<String>,
    },
    /// Announced producers or users.
    Announced(proto::AnnounceType),
    /// Approved users (private groups).
    Users,
    /// Chain configuration: (mode of a trx type is in [`Answer::ChainConfig`]).
    ChainConfig,
    /// Application configuration items.
    AppConfig,
    /// The receipt of a trx.
    Receipt(TrxId),
    /// The whole view chain.
    ViewChain,
    /// The genesis documents.
    Genesis,
    /// A value of a named map.
    Get {
        /// Map.
        map: String,
        /// Key.
        key: Vec<u8>,
    },
}

/// Where the group stands on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStatus {
    /// Last certified block.
    pub head: BlockId,
    /// Its hash.
    pub head_hash: Digest,
    /// Epoch in progress as known here.
    pub epoch: Epoch,
    /// Current view.
    pub view: ViewNumber,
    /// Whether this node is a producer of it.
    pub producing: bool,
    /// Whether blocks are being fetched.
    pub syncing: bool,
    /// Whether genesis documents are known.
    pub ready: bool,
    /// Time of the last change of head or configuration, ns since the Unix epoch.
    pub last_update: i64,
    /// Trxs waiting.
    pub pool: usize,
}

/// Current configuration (`consensus/` of the API).
#[derive(Clone, PartialEq, Debug)]
pub struct ConsensusInfo {
    /// The view.
    pub view: Arc<View>,
    /// Producer items in committee order, as the API shows them.
    pub producers: Vec<proto::ProducerItem>,
    /// Status.
    pub status: GroupStatus,
}

/// Answer to a [`Query`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Query::Status`].
    Status(GroupStatus),
    /// To [`Query::Consensus`].
    Consensus(Box<ConsensusInfo>),
    /// To [`Query::Proofs`].
    Proofs(Vec<proto::ChangeConsensusResultBundle>),
    /// To [`Query::Trx`]: the trx and the block it is in.
    Trx(Box<proto::Trx>, BlockId),
    /// To [`Query::Block`], for ids from 1.
    Block(Arc<Block>, Arc<Certificate>, Arc<View>),
    /// To [`Query::Block`] with id 0.
    GenesisBlock(Box<proto::ProtoBlock>),
    /// To [`Query::Content`]: trxs with their decrypted payloads.
    Content(Vec<(proto::Trx, Vec<u8>)>),
    /// To [`Query::Announced`].
    Announced(Vec<proto::AnnounceItem>),
    /// To [`Query::Users`].
    Users(Vec<proto::UserItem>),
    /// To [`Query::ChainConfig`].
    ChainConfig(Box<crate::executor::ChainConfig>),
    /// To [`Query::AppConfig`].
    AppConfig(Vec<proto::AppConfigItem>),
    /// To [`Query::Receipt`].
    Receipt(Box<Receipt>),
    /// To [`Query::ViewChain`].
    ViewChain(Box<ViewChain>),
    /// To [`Query::Genesis`].
    Genesis(Box<GenesisDocuments>),
    /// To [`Query::Get`].
    Value(Option<Arc<[u8]>>),
}

/// Why a query has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no such thing (yet).
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The group's genesis documents have not been fetched yet.
    #[error("the group is not synchronised yet")]
    NotReady,
    /// Local data could not be read.
    #[error("local data could not be read: {0}")]
    Storage(String),
}
