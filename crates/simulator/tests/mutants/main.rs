//! The checkers are checked: every deliberate bug is hunted, one program for all of them.

mod cft;
mod poa;
mod raft;
#[path = "../raft_play/mod.rs"]
mod raft_play;
