//! Sends again what it has heard and said: as it was, in other views and groups, in its own frames.

use quorate_consensus::core::Message;
use quorate_ledger::ids::GroupId;
use quorate_replica::api::Address;
use quorate_replica::wire::{self, CommitteeMessage, Inbound, MAGIC, Packet};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::packets::{Addressed, Vantage};

/// Packets sent again at a beat.
const AGAIN: usize = 4;

pub(super) fn scheme<M: Message>(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Vec<Addressed> {
    let mut sent = Vec::new();
    for _ in 0..AGAIN {
        let Some(packet) = from.memory.any(rng).cloned() else { break };
        let packets = match rng.random_range(0..4) {
            0 => vec![in_group(packet.bytes(), elsewhere(from, rng))],
            1 => in_own_frames::<M>(from, rng, &packet),
            _ => vec![packet],
        };
        let to = if rng.random_bool(0.5) { Address::Everybody } else { Address::Somebody };
        sent.extend(packets.into_iter().map(|packet| (to.clone(), packet)));
    }
    sent
}

/// Another group of its machine, or one that there is none of.
fn elsewhere(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> GroupId {
    let others: Vec<&GroupId> = from.groups.iter().filter(|id| **id != from.purse.group).collect();
    if others.is_empty() {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        return GroupId(uuid::Builder::from_random_bytes(bytes).into_uuid());
    }
    *others[rng.random_range(0..others.len())]
}

/// The same packet with another group's id in its header.
fn in_group(packet: &[u8], group: GroupId) -> Packet {
    let mut bytes = packet.to_vec();
    // Magic, version, kind.
    let start = MAGIC.len() + 2;
    if let Some(place) = bytes.get_mut(start..start + 16) {
        place.copy_from_slice(group.0.as_bytes());
    }
    bytes.into()
}

/// What another member said, said by the traitor in each of its views: another's votes among it.
fn in_own_frames<M: Message>(
    from: &Vantage<'_>,
    rng: &mut ChaCha8Rng,
    packet: &Packet,
) -> Vec<Packet> {
    let Some(Inbound::Committee(frame)) = from.purse.open::<M>(packet) else {
        return vec![packet.clone()];
    };
    let mut said = frame.into_inner().payloads;
    said.retain(|message| !matches!(message, CommitteeMessage::Status(_)) || rng.random_bool(0.5));
    let said: Vec<_> = said.iter().map(wire::encode_payload).collect();
    let seats = from.purse.seats.iter();
    seats.map(|seat| from.purse.frame(seat, seat.me, &said)).collect()
}
