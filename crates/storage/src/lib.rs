//! Everything of a group that outlives the process, over a small [`disk::Disk`] trait.
//!
//! | module | what it keeps |
//! |---|---|
//! | [`disk`] | the trait, and the real disk |
//! | `chunk`, `entry` | blocks and certificates: append-only chunk files in the container of CCF |
//! | `index` | where each trx stands |
//! | `journal` | notes, and the commit point of every append |
//! | `witness` | how far the journal was durable once |
//! | `vault` | sealed secrets, one file each, erasable |
//! | `snapshot` | snapshots of the state |
//! | [`store`] | all of them as one `Journal`: an append is there whole after a crash, or not at all |
//! | [`signed`] | the log of a signed Raft node, in CCF's files, with its vote, snapshots and secrets |
//! | [`check`] | looks for damage without changing anything, and repairs |

pub mod check;
mod chunk;
pub mod disk;
mod entry;
pub mod error;
mod index;
mod journal;
pub mod signed;
mod slots;
mod snapshot;
pub mod store;
#[cfg(test)]
mod testing;
mod vault;
mod witness;
