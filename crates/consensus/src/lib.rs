//! The cores: every ordering protocol as a transition function, without I/O, clock, async or
//! threads.
//!
//! [`core`] is the heart: one trait, one event type, one [`core::Step`] whose sends and outputs
//! only a [`core::Journal`] can release. [`committee`] is the quorum arithmetic all protocols
//! share, [`limits`] every bound of every buffer, [`footprint`] how full they are, [`evidence`] what
//! a peer did wrong, [`trace`] what a transition tells a reader. The protocols never import each
//! other.
pub mod committee;
pub mod core;
pub mod evidence;
pub mod footprint;
pub mod honeybadger;
pub mod limits;
pub mod raft;
pub mod trace;
