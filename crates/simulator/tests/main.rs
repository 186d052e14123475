//! The tests of whole networks, one program: each one would compile the world again.

mod cft;
mod knobs;
mod raft_model;
mod raft_play;
mod raft_random;
mod raft_scenarios;
mod removal;
mod seeds;
mod treasons;
