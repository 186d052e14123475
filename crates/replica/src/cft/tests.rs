//! Groups of real members in memory, under a network that loses and delays.

mod basics;
mod changes;
mod disasters;
mod faults;
mod restarts;
mod world;
