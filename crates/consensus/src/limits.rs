//! Every bound of every buffer, window and queue, and what happens when it is reached.

/// Largest sealed proposal, in bytes. A larger one is refused before it is shared out; a broadcast
/// that claims more is ignored.
pub const MAX_PROPOSAL: usize = 2 * 1024 * 1024;

/// Longest batch proposed in clear, in bytes: a time fits, a trx doesn't. Longer ones are sealed; a
/// longer one in clear counts as empty, to its proposer's blame.
pub const MAX_CLEAR: usize = 16;

/// Largest committee. A change request for more is refused.
pub const MAX_COMMITTEE: usize = 100;

/// Epochs ahead of the own one whose messages are kept. Later ones are dropped; their sender says
/// them again when asked.
pub const FUTURE_EPOCHS: u64 = 4;

/// Messages kept per sender and future epoch. Further ones are dropped.
pub const FUTURE_MESSAGES_PER_SENDER: usize = 2_048;

/// Bytes kept per sender over all future epochs. Further messages are dropped.
pub const FUTURE_BYTES_PER_SENDER: usize = 8 * 1024 * 1024;

/// Finished epochs whose own messages are kept for members that are behind. Older ones catch up by
/// certified blocks.
pub const PAST_EPOCHS: u64 = 4;

/// Rounds of binary agreement whose messages are kept ahead of the own round. Later ones are
/// dropped; their sender says them again when asked.
pub const FUTURE_ROUNDS: u64 = 8;

/// Rounds that no binary agreement reaches: each ends with probability 1/2 once the coins are
/// unknown before they are tossed. What is kept for each round passed is counted against it by the
/// checkers ([`crate::footprint`]); nothing stops there.
pub const UNLIKELY_ROUNDS: u64 = 64;

/// Milliseconds between two answers to one member's request to say an epoch again. Requests in
/// between are dropped; they are made again.
pub const REPEAT_INTERVAL_MS: u64 = 500;

/// Highest view (term) of signed Raft: the ledger's entries have 31 bits for it. A message that names
/// a higher one is ignored, and nobody runs for election at the limit.
pub const MAX_RAFT_VIEW: u64 = (1 << 31) - 1;

/// Highest sequence number of a signed Raft log. A message that names a higher one is ignored.
pub const MAX_RAFT_SEQNO: u64 = 1 << 62;

/// Largest entry of a signed Raft log, in bytes. The leader refuses a larger one; a message with one
/// does not decode.
pub const MAX_RAFT_ENTRY: usize = 4 * 1024 * 1024;

/// Entries of one append message, in bytes: it ends before the entry that would go beyond (but has
/// one entry at least). The rest goes with the next message.
pub const MAX_RAFT_APPEND: usize = 8 * 1024 * 1024;

/// Entries of one append message. The batch size never exceeds it.
pub const MAX_RAFT_APPEND_ENTRIES: usize = 20_000;

/// Members of one configuration of signed Raft, and nodes named by one retirement.
pub const MAX_RAFT_MEMBERS: usize = 1_000;

/// Reads that wait for a heartbeat round. Further ones are refused.
pub const MAX_RAFT_READS: usize = 65_536;
