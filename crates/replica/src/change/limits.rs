//! Every bound of the consensus change, and what happens when it is reached.

/// Longest encoding of a request, in bytes: [`quorate_consensus::limits::MAX_COMMITTEE`] key texts
/// and the rest. A longer one is malformed.
pub const MAX_REQUEST: usize = 16 * 1024;

/// Longest sealed dealing, in bytes (at 100 players BLS needs about 7 KiB). A longer one is
/// malformed.
pub const MAX_DEALING: usize = 64 * 1024;

/// Longest acknowledgement of a dealing, in bytes. A longer one is malformed.
pub const MAX_ACK: usize = 1024;

/// Changes without a result on the ledger that a participant keeps the secrets of. A further one
/// pushes out the youngest but the running one: results come in nonce order, so the oldest is the
/// one that may still succeed.
pub const MAX_UNSETTLED: usize = 8;

/// Changes without a result on the ledger that an owner may have. A further one is refused until
/// the ledger has taken some.
pub const MAX_OWNER_UNSETTLED: usize = 4;

/// Attempts of one change that a participant keeps: the one in progress, the one before, which others
/// may still need, and the next, which others may have begun. Messages of further ones are dropped;
/// their senders say them again.
pub const MAX_ATTEMPTS: usize = 3;

/// Shortest agreement tick, in milliseconds; seed 001's text says "greater than", its code allows
/// the limit itself.
pub const MIN_TICK_LENGTH: u64 = 1_000;

/// Fewest agreement ticks.
pub const MIN_TICK_COUNT: u64 = 10;

/// Shortest epoch interval, in milliseconds.
pub const MIN_EPOCH_TICK: u64 = 500;

/// First pause before a participant asks for what is missing, in milliseconds.
pub const ASK_PAUSE: u64 = 100;

/// What each participant adds to the first pause, in milliseconds: key generation among many takes
/// its time, and to ask earlier would only add load.
pub const ASK_PAUSE_PER_PARTICIPANT: u64 = 25;

/// Longest pause between two questions, in milliseconds; it doubles up to here.
pub const MAX_ASK_PAUSE: u64 = 2_000;

/// An answer to a question of the same participant comes at most once in so many milliseconds;
/// further questions are dropped.
pub const ANSWER_PAUSE: u64 = 50;
