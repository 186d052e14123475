//! Every bound of every buffer, window and queue of a replica, and what happens when it is reached.

/// Largest packet between nodes, in bytes. A larger one is refused unread.
pub const MAX_PACKET: usize = 16 * 1024 * 1024;

/// Payloads in one committee frame. A turn that says more sends several frames.
pub const MAX_FRAME_PAYLOADS: usize = 4_096;

/// Bytes of payloads in one committee frame that this node makes. A turn that says more sends
/// several frames.
pub const FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Trxs in one gossip bundle. Further ones go into the next bundle.
pub const MAX_BUNDLE_TRXS: usize = 4_096;

/// Bytes of trxs in one gossip bundle this node makes (gossip carries 1 MiB).
pub const BUNDLE_BYTES: usize = 900 * 1024;

/// Blocks in one answer to a fetch. The fetcher asks again.
pub const MAX_FETCH_BLOCKS: usize = 256;

/// Bytes of blocks and certificates in one answer to a fetch (always at least one block).
pub const FETCH_BYTES: usize = 4 * 1024 * 1024;

/// Blocks asked for first; doubled by every useful answer, halved by every failure.
pub const FETCH_START: u32 = 16;

/// How long an answer to a fetch may take at first; doubled by every failure up to
/// [`FETCH_TIMEOUT_MAX_MS`], then another peer is asked.
pub const FETCH_TIMEOUT_MS: u64 = 2_000;

/// Longest wait for an answer to a fetch.
pub const FETCH_TIMEOUT_MAX_MS: u64 = 8_000;

/// Rhythm in which a node that hears nothing asks somebody whether there is something new.
pub const POLL_MS: u64 = 5_000;

/// Peers remembered with the head they claim. The lowest claim is forgotten for a higher one.
pub const MAX_CLAIMS: usize = 64;

/// Trxs waiting in a pool, own and others'. A client's trx above it is refused with a time to try
/// again; a gossiped one is dropped (its sender sends it again).
pub const POOL_TRXS: usize = 20_000;

/// Bytes of trxs waiting in a pool. As [`POOL_TRXS`].
pub const POOL_BYTES: usize = 32 * 1024 * 1024;

/// Share of the pool others' trxs may take, in quarters: the rest is for this node's clients.
pub const POOL_GOSSIP_QUARTERS: usize = 3;

/// How long a gossiped trx is kept without being ordered; its sender sends it again.
pub const POOL_VOLATILE_MS: u64 = 600_000;

/// First wait before an own trx is gossiped again; doubled up to [`RESEND_MAX_MS`].
pub const RESEND_MS: u64 = 2_000;

/// Longest wait between two gossips of an own trx.
pub const RESEND_MAX_MS: u64 = 30_000;

/// Own trxs gossiped again in one turn; the others wait for the next.
pub const RESEND_TRXS: usize = 1_024;

/// Oldest trxs a proposal is drawn from.
pub const WINDOW_TRXS: usize = 4_096;

/// Bytes of the oldest trxs a proposal is drawn from (always at least one trx).
pub const WINDOW_BYTES: usize = 880 * 1024;

/// A window of at most so many bytes is proposed whole: drawing saves nothing.
pub const WINDOW_SMALL: usize = 64 * 1024;

/// Trxs in one proposal. A proposal with more is malformed.
pub const MAX_PROPOSAL_TRXS: usize = WINDOW_TRXS;

/// Decisions waiting for the block before them to be certified. Later ones are dropped: the node
/// fetches the certified blocks instead.
pub const MAX_QUEUED_DECISIONS: usize = 8;

/// Ids ahead of the own head for which block votes are kept. Later ones are dropped: the voter
/// votes again when it says its status.
pub const VOTE_WINDOW: u64 = 16;

/// A state snapshot is recorded every so many blocks.
pub const SNAPSHOT_BLOCKS: u64 = 256;

/// Shortest time without progress before a producer says its status.
pub const STATUS_MS: u64 = 1_000;

/// Longest time between two statuses of a producer without progress.
pub const STATUS_MAX_MS: u64 = 8_000;

/// Shortest time between two answers to the statuses of one member.
pub const STATUS_ANSWER_MS: u64 = 500;

/// Rhythm in which a joiner asks for the genesis documents.
pub const GENESIS_MS: u64 = 1_000;

/// How long a stalled driver waits before it tries its disk again.
pub const STALL_RETRY_MS: u64 = 500;

/// How long a replica waits before it reads again what its journal could not read.
pub const READ_RETRY_MS: u64 = 500;

/// Trxs in an answer to a content query, and blocks walked for it.
pub const MAX_CONTENT: usize = 1_000;

/// Blocks walked for one content query; a client asks on from the last trx it got.
pub const MAX_CONTENT_BLOCKS: u64 = 20_000;

/// A producer of a view that tolerates no fault, asked by a change that is ready, ends the view alone
/// after so long without progress (HND-1).
pub const HANDOVER_MS: u64 = 5_000;
