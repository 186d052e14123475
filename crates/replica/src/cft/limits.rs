//! Every bound of every buffer and queue of a `cft` member, and what happens when it is reached.

/// Most transactions between two signatures, whatever is configured: their tree must fit in a map's
/// value.
pub const MAX_SIGNATURE_TX_COUNT: u64 = 20_000;

/// Operations of one request. A request with more is refused (`RequestBodyTooLarge`).
pub const MAX_OPS: usize = 10_000;

/// Bytes of keys and values of one request. As [`MAX_OPS`].
pub const MAX_REQUEST: usize = 2 * 1024 * 1024;

/// Entries that all range operations of one request may return. The last one says there are more.
pub const MAX_RANGE: usize = 10_000;

/// Bytes that the results of one request may have. A read that finds more is refused; a range ends.
pub const MAX_RESULTS: usize = 4 * 1024 * 1024;

/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// Idempotency keys remembered. The oldest are forgotten for new ones.
pub const MAX_IDEMPOTENCY: usize = 100_000;

/// How long an idempotency key is remembered at least, unless there are too many.
pub const IDEMPOTENCY_MS: u64 = 600_000;

/// Old idempotency keys forgotten with each new one, so that there are never many at once.
pub const IDEMPOTENCY_FORGET: usize = 2;

/// Callers that wait for a commit. Further ones are refused (`TooManyPendingTransactions`).
pub const MAX_WAITERS: usize = 65_536;

/// Longest time a caller may wait for a commit; a longer wish is cut.
pub const MAX_WAIT_MS: u64 = 600_000;

/// Commands that wait for a leader or its answer. Further ones are refused
/// (`TooManyPendingTransactions`).
pub const MAX_FORWARDS: usize = 16_384;

/// Writes that wait at a leader until one of its signatures is committed. Further ones are refused
/// (`TooManyPendingTransactions`).
pub const MAX_QUEUED: usize = 65_536;

/// Linearizable reads that wait. Further ones are refused.
pub const MAX_READS: usize = 65_536;

/// How long a command sent to the leader may stay without an answer before it is sent again.
pub const FORWARD_RETRY_MS: u64 = 1_000;

/// Times a command is sent to a leader.
pub const FORWARD_ATTEMPTS: u32 = 30;

/// Refused writes of other nodes that are remembered, so that a copy which comes later is refused,
/// too. The oldest are forgotten for new ones.
pub const MAX_REFUSALS: usize = 16_384;

/// Entries kept in memory for followers that are a little behind. Older ones are read back.
pub const RECENT_ENTRIES: usize = 65_536;

/// Bytes of entries kept in memory. As [`RECENT_ENTRIES`].
pub const RECENT_BYTES: usize = 32 * 1024 * 1024;

/// Bytes read back from the log for one peer in one turn. What is beyond is sent later.
pub const READ_BACK_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of protocol messages in one packet this node makes (always at least one message).
pub const PACKET_BYTES: usize = 1024 * 1024;

/// As [`PACKET_BYTES`], of packets with log entries (always at least one message): small enough that
/// the links keep them in order with all other messages. What arrives out of order is sent twice.
pub const LOG_PACKET_BYTES: usize = 48 * 1024;

/// Protocol messages in one packet.
pub const MAX_PACKET_MESSAGES: usize = 4_096;

/// Nodes that ask to join. Further ones are refused until the operator has decided.
pub const MAX_PENDING_NODES: usize = 64;

/// Nodes that introduced themselves and that the own ledger does not name yet. The oldest are
/// forgotten for new ones.
pub const MAX_INTRODUCED: usize = 64;

/// How often a node introduces itself to one that it hears nothing of.
pub const INTRODUCE_MS: u64 = 1_000;

/// Election timeouts between two attempts of a leader with a damaged log to let another one lead.
pub const HAND_OVER_TIMEOUTS: u64 = 4;

/// Rhythm in which a joiner asks.
pub const JOIN_MS: u64 = 500;

/// Times a joiner fetches a snapshot and is told that it is too old before it gives up.
pub const JOIN_ATTEMPTS: u32 = 5;

/// Bytes of one part of a snapshot on its way to a joiner.
pub const SNAPSHOT_PART: usize = 1024 * 1024;

/// Largest snapshot a joiner takes.
pub const MAX_SNAPSHOT: u64 = 1024 * 1024 * 1024;

/// Longest public key, certificate, address or other text of a joiner, in bytes.
pub const MAX_JOIN_FIELD: usize = 16 * 1024;

/// Entries read for one receipt, and bytes of them: a signature comes before.
pub const RECEIPT_ENTRIES: u64 = 65_536;

/// As [`RECEIPT_ENTRIES`], in bytes at a time.
pub const RECEIPT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the log read at a time when a member is opened.
pub const REPLAY_BYTES: usize = 16 * 1024 * 1024;
