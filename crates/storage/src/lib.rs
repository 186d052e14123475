//! Everything of a group that outlives the process: ledger files, journal, vault, snapshots, over a
//! small [`disk::Disk`] trait.

pub mod disk;
