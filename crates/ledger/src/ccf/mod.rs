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
//! | [`notary`] | the notary of a real node: EC keys and certificates |
//! | [`receipt`] | receipts, as JSON and as COSE: made and verified |
//! | [`snapshot`] | the state after a signature, as a file that proves itself |
//! | [`files`] | names and layout of ledger and snapshot files |
//! | [`validate`] | checks a whole ledger, entry by entry |
//!
//! Nothing here reads a clock, draws randomness or does I/O. What comes from outside is refused by
//! a typed error, never by a panic.
pub mod entry;
pub mod files;
pub mod maps;
pub mod notary;
pub mod receipt;
pub mod secret;
pub mod signature;
pub mod snapshot;
pub mod tree;
pub mod txid;
pub mod validate;

#[cfg(test)]
mod test_support;

pub use entry::{EntryError, Flags, Head, Transaction};
pub use maps::NodeId;
pub use notary::NodeNotary;
pub use receipt::{Covering, Receipt};
pub use secret::LedgerSecret;
pub use signature::{Notary, Signed};
pub use snapshot::Snapshot;
pub use tree::Tree;
pub use txid::TxId;
pub use validate::Validator;
