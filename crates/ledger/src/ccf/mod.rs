//! The ledger of signed Raft (`cft` groups): byte for byte that of CCF, so that third-party
//! tools read it. Numbers in brackets are sections of the project's reference for signed Raft.
//!
//! | module | what it holds |
//! |---|---|
//! | [`txid`] | transaction ids, `view.seqno` |
//! | [`secret`] | the ledger secret: encrypts private maps, makes commit evidence |
//! | [`entry`] | transactions as entries, and the digest of an entry in the tree |
//! | [`tree`] | the Merkle tree over all entries |
//! | [`maps`] | names and rows of the built-in maps |
//! | [`signature`] | signature transactions, and who signs: [`signature::Notary`] |
//!
//! Nothing here reads a clock, draws randomness or does I/O. What comes from outside is refused by
//! a typed error, never by a panic.
pub mod entry;
pub mod maps;
pub mod secret;
pub mod signature;
pub mod tree;
pub mod txid;

pub use entry::{EntryError, Flags, Head, Transaction};
pub use maps::NodeId;
pub use secret::LedgerSecret;
pub use signature::{Notary, Signed};
pub use tree::Tree;
pub use txid::TxId;
