//! What goes on whether or not anybody posts: what nodes do by themselves, and a client that looks for
//! blocks.

use super::engine::{Engine, Event, Job, Threads};
use super::load::WATCH_US;

/// What a node does by itself is charged so often.
const UPKEEP_US: u64 = 50_000;
const SECOND_US: u64 = 1_000_000;

impl Engine {
    /// A node does what it does by itself: heartbeats of gossip, pings, timers.
    pub fn upkeep(&mut self, node: usize) {
        if self.is_up(node) {
            // The table has it with the wakings.
            let (processor, pool) = self.place(node, Threads::Network);
            self.push_to(processor, pool, Job::Upkeep);
        }
        self.at(self.now + UPKEEP_US, Event::Upkeep { node });
    }

    /// What that costs.
    pub const fn upkeep_price(&self) -> u64 {
        self.costs.idle * UPKEEP_US / SECOND_US
    }

    /// The client on the nodes' own machine looks for a block.
    pub fn look(&mut self) {
        let pool = self.client_pool();
        self.push_to(0, pool, Job::Look);
        self.at(self.now + WATCH_US, Event::Look);
    }

    /// The node it asks answers.
    pub fn looked(&mut self) {
        let (processor, pool) = self.place(0, Threads::Api);
        self.push_to(processor, pool, Job::Looked);
    }
}
