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
