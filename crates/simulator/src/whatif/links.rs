//! Nodes that start, crash and come back, and links between them: a node that comes back has none, and
//! opens one to each other node.
//!
//! As in the node: what is said on a stream to a member that is away waits for it, up to a bound,
//! if its place is known; gossip does not wait. A node that has just started knows nobody's place.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use quorate_replica::api::{GroupConfig, Input};
use quorate_replica::driver::Driver;

use super::engine::{Engine, Event, Job, Threads, peer};
use super::open_store;
use super::packets::Packet;

/// Most bytes that wait on each lane for a node that is away, as in the node. The oldest go first.
const MAX_QUEUED_AWAY: usize = 512 * 1024;
/// Packets up to this size use the first lane, as in the node.
const SMALL: usize = 64 * 1024;
/// What waits for a node that is away is outdated when another packet comes so much later, as in the
/// node.
const OUTDATED_US: u64 = 1_000_000;

/// Round trips until a node that has started knows where the others are: one question to a node that
/// it has a link to already.
const LOOK_UP_TRIPS: u64 = 1;

/// Round trips from the dial of a node until both ends know that the other is in the group and
/// where: TCP; noise, whose negotiation travels with its first message and whose end travels with
/// what follows; the negotiation of the stream for gossip, on which the group is named; the
/// negotiation and first byte of the stream for packets. What the end that accepts says comes half a
/// round trip after what it answers, for gossip and for packets.
const LINK_TRIPS: u64 = 5;

/// What waits for a node on one lane.
#[derive(Default)]
struct Lane {
    /// With the time when each came.
    packets: VecDeque<(u64, Rc<Packet>)>,
    bytes: usize,
}

/// What waits for a node.
#[derive(Default)]
pub(super) struct Held([Lane; 2]);

impl Held {
    fn push(&mut self, now: u64, packet: Rc<Packet>) {
        let lane = &mut self.0[usize::from(packet.content.len() > SMALL)];
        lane.bytes += packet.content.len();
        lane.packets.push_back((now, packet));
        while let Some((came, oldest)) = lane.packets.front() {
            if lane.bytes <= MAX_QUEUED_AWAY && now - came <= OUTDATED_US {
                break;
            }
            lane.bytes -= oldest.content.len();
            lane.packets.pop_front();
        }
    }

    fn into_packets(self) -> impl Iterator<Item = Rc<Packet>> {
        self.0.into_iter().flat_map(|lane| lane.packets).map(|(_, packet)| packet)
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
    pub fn up() -> Self {
        Self { up: true, known: true, held: Held::default() }
    }
}

impl Engine {
    /// Starts a node. All have links when they are started for the first time.
    pub fn start(&mut self, at: usize) {
        let seed = self.nodes[at].disk.wear().bytes ^ (at as u64) << 32;
        let now = self.clock();
        let node = &mut self.nodes[at];
        node.life += 1;
        node.env.now = now;
        let (store, mut recovered) = open_store(&node.disk, seed);
        let noted = recovered.notes.iter().any(|(topic, key, _)| {
            self.stage.notes.iter().any(|(of, name, _)| (of, name) == (topic, key))
        });
        if !noted {
            recovered.notes.splice(0..0, self.stage.notes.iter().cloned());
        }
        let config = GroupConfig {
            descriptor: self.descriptor.clone(),
            member: node.member.clone(),
            encrypt: node.encrypt.clone(),
            create: false,
        };
        let assumed = self.stage.assumed(at);
        let opened = Driver::open_in(&mut node.env, config, recovered, store, assumed);
        let (driver, turn) = opened.expect("what a node wrote itself is its ledger");
        node.head = driver.status().head;
        node.driver = Some(driver);
        let (life, first) = (node.life, node.life == 1);
        node.turn = Some((turn, 0));
        self.dispatch(at, life);
        if !first {
            return self.dial(at);
        }
        for other in (0..self.nodes.len()).filter(|&other| other != at) {
            let moment = self.now + self.conditions.travel_us(at, other) * 4 + 1_000;
            self.at(moment, Event::Connect { node: at, other });
            self.at(moment, Event::Connect { node: other, other: at });
        }
    }

    /// The power of a node goes, and comes back `down_us` later.
    pub fn crash(&mut self, at: usize, down_us: u64) {
        for threads in [Threads::Network, Threads::Api, Threads::Verifiers, Threads::Group] {
            let (processor, pool) = self.place(at, threads);
            self.processors[processor].clear(pool);
        }
        let node = &mut self.nodes[at];
        node.driver = None;
        node.life += 1;
        node.wake = None;
        node.inbox.clear();
        (node.price, node.asked) = (0, false);
        node.turn = None;
        node.checked = Some(BTreeSet::new());
        node.disk.crash();
        self.cut(at);
        let lost: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, (node, _))| *node == at)
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in lost {
            // Its client hears nothing and asks another node.
            let (_, post) = self.asked.remove(&ticket).expect("just seen");
            self.again(post);
        }
        self.at(self.now + down_us, Event::Restart { node: at });
    }

    /// A node that came back looks up where the others are, and dials them.
    pub fn dial(&mut self, node: usize) {
        let life = self.nodes[node].life;
        // Who answers its question is as far away as the first of the others.
        let look_up = LOOK_UP_TRIPS * 2 * self.conditions.travel_us(node, usize::from(node == 0));
        let moment = self.now + look_up + self.costs.link_wait / 1_000;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.at(moment, Event::Link { node, life, other, trip: 1, accepts: false });
        }
    }

    /// It is an end's turn, in a round trip of a link that a node dials.
    pub fn link_arrives(&mut self, node: usize, life: u64, other: usize, trip: u64, accepts: bool) {
        if self.nodes[node].life != life || !self.is_up(other) {
            return;
        }
        if trip > LINK_TRIPS {
            return self.link(node, other);
        }
        let at = if accepts { other } else { node };
        self.push(at, Threads::Network, Job::Link { node, life, other, trip, accepts });
    }

    /// What that costs it.
    pub const fn link_price(&self) -> u64 {
        self.costs.link / (2 * LINK_TRIPS)
    }

    /// It has done its part, which travels to the other end.
    pub fn link_says(&mut self, node: usize, life: u64, other: usize, trip: u64, accepted: bool) {
        let (trip, moment) = (trip + u64::from(accepted), self.conditions.travel_us(node, other));
        let accepts = !accepted;
        self.at(self.now + moment, Event::Link { node, life, other, trip, accepts });
    }

    /// Both know where the other is, and what waited leaves.
    fn link(&mut self, node: usize, other: usize) {
        for (from, to) in [(node, other), (other, node)] {
            let link = &mut self.nodes[from].links[to];
            (link.up, link.known) = (true, true);
            let held = std::mem::take(&mut link.held);
            for packet in held.into_packets() {
                self.send_to(from, to, packet);
            }
        }
        self.give(node, Input::Connected(peer(other)), 0);
        self.give(other, Input::Connected(peer(node)), 0);
    }

    /// A packet for a node that there is no link to.
    pub fn hold(&mut self, from: usize, to: usize, packet: Rc<Packet>) {
        let now = self.now;
        let link = &mut self.nodes[from].links[to];
        if link.known && !packet.gossip {
            link.held.push(now, packet);
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

    use super::{Held, MAX_QUEUED_AWAY, OUTDATED_US, Packet};

    fn bundle(byte: u8, size: usize) -> Rc<Packet> {
        let text: std::sync::Arc<[u8]> = vec![byte; size].into();
        let group = GroupId(uuid::Uuid::from_u128(1));
        Rc::new(Packet::new(wire::encode_trxs(&group, &[text]), false))
    }

    fn same(held: Held, expected: &[Rc<Packet>]) -> bool {
        let held: Vec<_> = held.into_packets().collect();
        held.len() == expected.len() && held.iter().zip(expected).all(|(a, b)| Rc::ptr_eq(a, b))
    }

    #[test]
    fn the_oldest_of_what_waits_on_a_lane_goes_first() {
        let mut held = Held::default();
        let mut packets = vec![bundle(9, 100)];
        packets.extend((0..9).map(|byte| bundle(byte, 100 * 1024)));
        packets.iter().for_each(|packet| held.push(0, Rc::clone(packet)));
        assert!(held.0.iter().all(|lane| lane.bytes <= MAX_QUEUED_AWAY));
        packets.drain(1..5);
        assert!(same(held, &packets));
    }

    #[test]
    fn what_is_outdated_does_not_wait() {
        let mut held = Held::default();
        let packets = [bundle(1, 100), bundle(2, 100), bundle(3, 100)];
        let times = [0, 1, OUTDATED_US + 1];
        packets.iter().zip(times).for_each(|(packet, now)| held.push(now, Rc::clone(packet)));
        assert!(same(held, &packets[1..]));
    }
}
