//! One member of one `cft` group (signed Raft) without its body.
//!
//! The leader executes each transaction against its state, makes the writes into one entry of the
//! ledger, and appends it; followers take entries, decode them and apply the writes. See
//! `docs/protocol/signed-service.md`.
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | inputs, outputs, commands, queries: the whole surface |
//! | [`wire`] | packets between nodes |
//! | [`keys`] | what a member does with keys |
//! | [`log`] | what a member needs of the log on its disk |
//! | `kv`, `execute` | committed state and the writes over it; operations of a request |
//! | `chain` | entries, Merkle tree, chunks, what is unsigned |
//! | `nodes` | rows of nodes, and what they mean to the protocol |
//! | `waits`, `forward` | callers that wait for a commit, or for the leader |
//! | `joining` | a joiner before its admission |
//! | [`member`] | the state machine of one turn |
//! | [`driver`] | step, persist, release |
//! | [`limits`] | every bound |
pub mod api;
mod chain;
pub mod driver;
mod execute;
mod forward;
mod joining;
pub mod keys;
mod kv;
pub mod limits;
pub mod log;
pub mod member;
mod nodes;
mod waits;
pub mod wire;

pub use driver::{CftDriver, Chores, OpenError, Sender, Turn};

#[cfg(test)]
mod tests;
