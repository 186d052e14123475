//! Speaks in other members' names: frames with their number or their key and its own signature, and
//! trxs said to be theirs.

use std::sync::Arc;

use quorate_consensus::core::Message;
use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::certificate::{BlockVote, VOTE_DOMAIN};
use quorate_ledger::ids::{BlockId, Epoch, TrxId};
use quorate_ledger::trx::{self, TrxType};
use quorate_replica::api::Address;
use quorate_replica::change::ChangeMessage;
use quorate_replica::wire::{self, CommitteeMessage, Inbound, Packet, Status};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::noise;
use super::packets::{Addressed, Vantage};
use super::purse::Seat;

pub(super) fn scheme<M: Message>(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Vec<Addressed> {
    let Some(seat) = from.purse.seat() else { return Vec::new() };
    let n = seat.view.producers.len() as u16;
    // A number that nobody has is tried, too.
    let victim = NodeIndex((seat.me.0 + rng.random_range(1..=n)) % (n + 1));
    let mut packets = vec![from.purse.frame(seat, victim, &heard::<M>(from, rng))];
    let lies = lies::<M>(from, seat, victim);
    packets.push(from.purse.frame(seat, victim, &lies));
    // Another's vote in a frame of its own.
    packets.push(from.purse.frame(seat, seat.me, &lies));
    packets.push(another_members(from, rng, seat));
    packets.push(another_senders_trx(from, rng, seat));
    packets.into_iter().map(|packet| (Address::Everybody, packet)).collect()
}

/// What somebody said in a frame it has heard.
fn heard<M: Message>(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Vec<(u8, Vec<u8>)> {
    let packet = from.memory.any(rng).and_then(|packet| from.purse.open::<M>(packet));
    let Some(Inbound::Committee(frame)) = packet else { return Vec::new() };
    frame.into_inner().payloads.iter().map(wire::encode_payload).collect()
}

/// A status that would end epochs and a vote, in the victim's name.
fn lies<M: Message>(from: &Vantage<'_>, seat: &Seat, victim: NodeIndex) -> Vec<(u8, Vec<u8>)> {
    let (id, hash) = (from.status.head.next(), Digest([1; 32]));
    let vote = BlockVote {
        view: seat.view.number,
        id,
        hash,
        voter: victim,
        view_sign: seat.key.sign(VOTE_DOMAIN, &hash),
        member_sign: from.purse.member.sign(&hash),
    };
    let status = Status {
        epoch: Epoch(from.status.epoch.0 + 1_000),
        head: BlockId(0),
        hash: Digest::default(),
        resend_from: None,
        challenge: None,
        answer: None,
    };
    vec![
        wire::encode_payload(&CommitteeMessage::<M>::Vote(Box::new(vote))),
        wire::encode_payload(&CommitteeMessage::<M>::Status(status)),
    ]
}

/// A member frame that names another key as its sender.
fn another_members(from: &Vantage<'_>, rng: &mut ChaCha8Rng, seat: &Seat) -> Packet {
    let producers = &seat.view.producers;
    let mut any = || producers[rng.random_range(0..producers.len())].member;
    let (victim, to) = (any(), any());
    let request = Digest(noise(rng, 32).try_into().expect("32 bytes"));
    let message = ChangeMessage::Ask { request };
    let own = wire::encode_member(&from.purse.group, &from.purse.member, &to, &message);
    // Magic, version, kind, group; then the sender's key.
    let start = wire::MAGIC.len() + 2 + 16;
    let mut bytes = own.bytes().to_vec();
    let mut writer = quorate_ledger::codec::Writer::new();
    quorate_ledger::codec::Canonical::write(&victim, &mut writer);
    let key = writer.finish();
    bytes[start..start + key.len()].copy_from_slice(&key);
    bytes.into()
}

/// A trx that names another sender than the one who signed it.
fn another_senders_trx(from: &Vantage<'_>, rng: &mut ChaCha8Rng, seat: &Seat) -> Packet {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    let id = TrxId(uuid::Builder::from_random_bytes(bytes).into_uuid());
    let (key, group) = (&from.purse.member, from.purse.group);
    let data = b"not said by its sender".to_vec();
    let mut trx = trx::build(key, group, TrxType::Post, data, id, from.now_ns, 0);
    let producers = &seat.view.producers;
    let victim = producers[rng.random_range(0..producers.len())].member;
    if victim != key.public() {
        trx.sender_pubkey = victim.to_string();
    } else {
        trx.sender_sign = noise(rng, trx.sender_sign.len());
    }
    let encoded: Arc<[u8]> = prost::Message::encode_to_vec(&trx).into();
    wire::encode_trxs(&group, &[encoded])
}
