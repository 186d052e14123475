//! One member of one group without its body.
//!
//! [`Replica`] is deterministic: it takes the time, randomness and inputs, and returns a
//! [`quorate_consensus::core::Step`]. [`driver::Driver`] is the one loop turn (step, persist,
//! release) that node and simulator share.
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | inputs, outputs, commands, queries: the replica's whole surface |
//! | [`wire`] | packets between members, their signatures and the pure function that checks them |
//! | [`pool`] | trxs waiting to be ordered; the outbox of own trxs |
//! | [`proposal`] | what a producer proposes in an epoch |
//! | [`executor`] | deterministic rules: which trxs of a decision are good, their order, what they write |
//! | [`block_maker`] | decision to block, votes to certificate |
//! | [`change`] | consensus change: owner's and participants' side, key generation |
//! | [`catchup`] | fetching, verifying and serving certified blocks; skipping blockless epochs |
//! | [`query`] | answers for the API |
//! | [`driver`] | step, persist, release |
//! | [`cft`] | the member of a signed Raft group: a driver of its own |
pub mod api;
pub mod block_maker;
pub mod catchup;
pub mod cft;
pub mod change;
pub mod driver;
pub mod executor;
pub mod limits;
pub mod pool;
pub mod proposal;
pub mod query;
mod replica;
#[cfg(test)]
mod testing;
pub mod wire;

pub use replica::{Assumed, OpenError, Replica};
