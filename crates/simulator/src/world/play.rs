//! What is played in a world: what sits on its machines, what their users do, what is checked.
//!
//! The world knows machines, clocks, packets, disks and blows. Everything that only one protocol
//! knows is behind [`Play`], and the world calls it with itself in hand: a play may do everything
//! that a world can do.

use std::rc::Rc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_crypto::hash::Digest;
use quorate_replica::api::PeerRef;

use super::network::Packet;
use super::{Place, World};
use crate::faults::Harm;

/// What became of the attempt to start a machine.
pub enum Start<T> {
    /// All its members are open; their first turns.
    Up(Vec<(Place, T)>),
    /// Its disk fails: it is tried again later.
    Later,
    /// It will never run again as what it was; its operators know.
    Gone,
    /// It should have started.
    Broken(String),
}

/// A protocol, seen from a world.
pub trait Play: Sized {
    /// One group's member on one machine, with what it keeps on the disk.
    type Member;
    /// What a member is given.
    type Input;
    /// What a turn of a member gives the world.
    type Turn;
    /// What happens beside what happens in every world.
    type Happening;
    /// What has been found out about a packet on its way.
    type Checked;
    /// What is known of a place beside its member.
    type Record: Default;
    /// What is known of a machine beside what every machine has.
    type Health: Default;

    /// Whether links notice that a packet was altered: then it never arrives.
    const LINKS_NOTICE: bool = false;

    /// Whether a packet may come twice, or once more much later.
    fn repeats(_: &Packet<Self::Checked>) -> bool {
        true
    }

    /// A wake-up asked for is due.
    fn wake() -> Self::Input;
    /// A peer is connected.
    fn connected(peer: PeerRef) -> Self::Input;
    /// Makes a packet one of the next wire version.
    fn foreign(packet: &mut [u8]);
    /// A member takes a turn; and whether it wrote to its disk.
    fn turn(
        member: &mut Self::Member,
        env: &mut Env,
        inputs: Vec<Self::Input>,
    ) -> (Self::Turn, bool);
    /// How full a member's buffers are.
    fn footprint(member: &Self::Member, into: &mut Footprint);

    /// Opens everything on a machine that is about to start.
    fn open(world: &mut World<Self>, node: usize) -> Start<Self::Turn>;
    /// A member has been opened; nothing of its first turn has left.
    fn opened(world: &mut World<Self>, place: Place, first: &Self::Turn);
    /// A member has taken a turn, which its machine may not have survived: what left while the disk
    /// was being written is on its way.
    fn left(_: &mut World<Self>, _place: Place, _turn: &mut Self::Turn) {}
    /// A member has taken a turn and its machine has survived it; nothing else of it has left.
    fn taken(_: &mut World<Self>, _place: Place, _turn: &Self::Turn) {}
    /// Sends what a turn released, and shows it to the checkers.
    fn dispatch(world: &mut World<Self>, place: Place, turn: Self::Turn);
    /// What a member does after its turn has been dispatched, or, if it is `lazy`, later; when it wants
    /// another one because of that.
    fn settle(_: &mut Self::Member, _now: Time, _lazy: bool) -> Option<Time> {
        None
    }
    /// A packet is there.
    fn arrive(world: &mut World<Self>, from: usize, to: Place, packet: &Rc<Packet<Self::Checked>>);
    /// Something happens that this play has scheduled.
    fn happen(world: &mut World<Self>, happening: Self::Happening);

    /// A machine is about to lose power.
    fn stops(world: &mut World<Self>, node: usize);
    /// A machine has lost power, and its disk has suffered what it had to suffer.
    fn stopped(world: &mut World<Self>, node: usize);
    /// Lets a disk suffer, if it may.
    fn harm(world: &mut World<Self>, node: usize, harm: Harm);
    /// A machine is to misdirect writes for a while: whether it may.
    fn goes_astray(world: &mut World<Self>, node: usize) -> bool;
    /// A machine's disk works again.
    fn mended(world: &mut World<Self>, node: usize);
    /// After the faults: whether operators have stopped a running machine, to repair it.
    fn operate(world: &mut World<Self>, node: usize) -> bool;
    /// Whether a packet between two machines never comes, for reasons of the play.
    fn misses(_: &mut World<Self>, _from: usize, _to: usize) -> bool {
        false
    }

    /// Where a member stands, for whoever looks for the reason of a violation.
    fn stands(world: &World<Self>, place: Place) -> String;
    /// The end: what is too costly for every step.
    fn examine(world: &mut World<Self>);
    /// What was decided, how much, and the digest of everything that happened.
    fn came_to(&self) -> (u64, Digest);
}
