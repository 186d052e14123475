//! What is written and how anyone checks it. No I/O, no clock, no randomness of its own.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | newtypes of counters and identifiers |
//! | [`proto`] | the wire and JSON messages of seed 001's world, field by field |
//! | [`trx`] | making, checking, encrypting transactions |
//! | [`block`] | header, hash, the JSON block of the API |
//! | [`genesis`] | the genesis block in the reference's form |
//! | [`certificate`] | block votes and certificates |
//! | [`merkle`] | RFC 6962 trees: trx roots, shards, inclusion paths |
//! | [`ccf`] | the ledger of signed Raft, byte for byte CCF's: entries, Merkle tree, signatures, receipts |
//! | [`change`] | consensus-change requests, responses, result bundles |
//! | [`announce`] | announcements of members |
//! | [`view`] | views, links and the view chain |
//! | [`receipt`] | trx to genesis, offline |
//! | [`group`] | a group's descriptor and genesis documents |
//! | [`seed`] | the seed URL |
//! | [`state`] | named maps and write sets |
//! | [`codec`] | canonical encoding with limits |
//! | [`mutants`] | deliberate bugs, to check the simulator's checkers |
//! | [`json`] | reading JSON with keys in any case |
// What tests and examples share names this crate from outside.
#[cfg(test)]
extern crate self as quorate_ledger;

pub mod announce;
pub mod block;
pub mod ccf;
pub mod certificate;
pub mod change;
pub mod codec;
pub mod genesis;
pub mod group;
pub mod ids;
pub mod json;
pub mod merkle;
pub mod mutants;
pub mod proto;
pub mod receipt;
pub mod seed;
pub mod state;
pub mod trx;
pub mod view;

#[cfg(test)]
mod test_support;
