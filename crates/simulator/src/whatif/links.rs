//! Links between nodes: a node that comes back has none, and opens one to each other node.
//!
//! As in the node: what is said on a stream to a member that is away waits for it, up to a bound,
//! if its place is known; gossip does not wait. A node that has just started knows nobody's place.

use std::collections::VecDeque;
use std::rc::Rc;

use quorate_replica::api::Input;

use super::engine::{Engine, Event, Job, Threads, peer};
use super::packets::Packet;

/// Most bytes that wait for a node that is away, as in the node. The oldest go first.
const MAX_QUEUED_AWAY: usize = 512 * 1024;

/// Round trips until a node that has started knows where the others are: one question to a node that
/// it has a link to already.
const LOOK_UP_TRIPS: u64 = 1;

/// Round trips from the dial of a node until both ends know that the other is in the group and
/// where: TCP; noise, whose negotiation travels with its first message and whose end travels with
/// what follows; the negotiation of the stream for gossip, on which the group is named; the
/// negotiation and first byte of the stream for packets. What the end that accepts says comes half a
/// round trip after what it answers, for gossip and for packets.
const LINK_TRIPS: u64 = 5;

/// What waits for a node.
#[derive(Default)]
pub(super) struct Held {
    packets: VecDeque<Rc<Packet>>,
    bytes: usize,
}

impl Held {
    fn push(&mut self, packet: Rc<Packet>) {
        self.bytes += packet.content.len();
        self.packets.push_back(packet);
        while self.bytes > MAX_QUEUED_AWAY {
            let Some(oldest) = self.packets.pop_front() else { break };
            self.bytes -= oldest.content.len();
        }
    }
}

/// What a node has of another one.
pub(super) struct Link {
    /// Packets get there.
    pub up: bool,
    /// Its place is known.
    known: bool,
    held: Held,
}

impl Link {
    /// To a node that was there from the beginning.
    pub const fn up() -> Self {
        let held = Held { packets: VecDeque::new(), bytes: 0 };
        Self { up: true, known: true, held }
    }
}

impl Engine {
    /// A node that came back looks up where the others are, and dials them.
    pub fn dial(&mut self, at: usize) {
        let life = self.nodes[at].life;
        // Who answers its question is as far away as the first of the others.
        let there_and_back = |other| 2 * self.conditions.travel_us(at, other);
        let look_up = LOOK_UP_TRIPS * there_and_back(usize::from(at == 0));
        let wait = self.now + look_up + self.costs.link_wait / 1_000;
        let moments: Vec<(usize, u64)> = (0..self.nodes.len())
            .filter(|other| *other != at)
            .map(|other| (other, wait + LINK_TRIPS * there_and_back(other)))
            .collect();
        for (other, moment) in moments {
            self.at(moment, Event::Link { node: at, life, other });
        }
    }

    /// One end of a new link has done its part, at first the one that dialed.
    pub fn link_half(&mut self, node: usize, life: u64, other: usize, accepted: bool) {
        if self.nodes[node].life != life || !self.is_up(other) {
            return;
        }
        if accepted {
            self.link(node, other);
        } else {
            self.push(other, Threads::Runtime, Job::Link { node, life, other, accepts: true });
        }
    }

    /// Both know where the other is, and what waited leaves.
    fn link(&mut self, node: usize, other: usize) {
        for (from, to) in [(node, other), (other, node)] {
            let link = &mut self.nodes[from].links[to];
            (link.up, link.known) = (true, true);
            let held = std::mem::take(&mut link.held);
            for packet in held.packets {
                self.send_to(from, to, packet);
            }
        }
        self.give(node, Input::Connected(peer(other)), 0);
        self.give(other, Input::Connected(peer(node)), 0);
    }

    /// A packet for a node that there is no link to.
    pub fn hold(&mut self, from: usize, to: usize, packet: Rc<Packet>) {
        let link = &mut self.nodes[from].links[to];
        if link.known && !packet.gossip {
            link.held.push(packet);
        }
    }

    /// A node is gone, with all that it knew.
    pub fn cut(&mut self, at: usize) {
        for other in 0..self.nodes.len() {
            self.nodes[other].links[at].up = false;
            self.nodes[at].links[other] = Link { up: false, known: false, held: Held::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use quorate_ledger::ids::GroupId;
    use quorate_replica::wire;

    use super::{Held, MAX_QUEUED_AWAY, Packet};

    #[test]
    fn the_oldest_of_what_waits_goes_first() {
        let bundle = |byte: u8| {
            let text: std::sync::Arc<[u8]> = vec![byte; 100 * 1024].into();
            let group = GroupId(uuid::Uuid::from_u128(1));
            Rc::new(Packet::new(wire::encode_trxs(&group, &[text]), false))
        };
        let mut held = Held::default();
        let packets: Vec<_> = (0..9).map(bundle).collect();
        packets.iter().for_each(|packet| held.push(Rc::clone(packet)));
        assert!(held.bytes <= MAX_QUEUED_AWAY && held.packets.len() == 5);
        assert!(held.packets.iter().zip(&packets[4..]).all(|(a, b)| Rc::ptr_eq(a, b)));
    }
}
