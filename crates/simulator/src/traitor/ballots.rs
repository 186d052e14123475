//! Votes for blocks that nobody decided: another hash to some, both to others, and votes for ids far
//! ahead.

use quorate_consensus::core::Message;
use quorate_crypto::hash::Digest;
use quorate_ledger::certificate::{BlockVote, VOTE_DOMAIN};
use quorate_ledger::ids::BlockId;
use quorate_replica::api::Address;
use quorate_replica::limits::VOTE_WINDOW;
use quorate_replica::wire::{self, CommitteeMessage, Inbound, Packet};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::packets::{Addressed, Vantage};
use super::purse::{Purse, Seat};

fn vote(purse: &Purse, seat: &Seat, id: BlockId, hash: Digest) -> BlockVote {
    BlockVote {
        view: seat.view.number,
        id,
        hash,
        voter: seat.me,
        view_sign: seat.key.sign(VOTE_DOMAIN, &hash),
        member_sign: purse.member.sign(&hash),
    }
}

fn any_hash(rng: &mut ChaCha8Rng) -> Digest {
    // Few, so that two traitors vote for the same false block now and then.
    Digest([rng.random_range(0..2); 32])
}

/// No frame leaves with the true vote alone.
pub(super) fn rewrite<M: Message>(
    from: &Vantage<'_>,
    rng: &mut ChaCha8Rng,
    packet: &Packet,
) -> Option<Vec<Packet>> {
    let Inbound::Committee(frame) = from.purse.open::<M>(packet)? else { return None };
    let frame = frame.into_inner();
    let seat = from.purse.seats.iter().find(|seat| seat.view.number == frame.view)?;
    if !frame.payloads.iter().any(|said| matches!(said, CommitteeMessage::Vote(_))) {
        return None;
    }
    let mut said = Vec::new();
    for message in frame.payloads {
        if let CommitteeMessage::Vote(real) = &message {
            let lie = vote(from.purse, seat, real.id, any_hash(rng));
            said.push(wire::encode_payload(&CommitteeMessage::<M>::Vote(Box::new(lie))));
            if rng.random_bool(0.7) {
                continue;
            }
        }
        said.push(wire::encode_payload(&message));
    }
    Some(vec![from.purse.frame(seat, seat.me, &said)])
}

/// Votes for ids to come, and for ids out of every window.
pub(super) fn scheme<M: Message>(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Vec<Addressed> {
    let Some(seat) = from.purse.seat() else { return Vec::new() };
    let head = from.status.head.0;
    let mut ids: Vec<u64> = (head + 1..=head + VOTE_WINDOW + 1).collect();
    ids.extend([u64::MAX, rng.next_u64(), 0]);
    let ids = ids.into_iter().filter(|_| rng.random_bool(0.2)).collect::<Vec<_>>();
    let votes = ids.into_iter().map(|id| vote(from.purse, seat, BlockId(id), any_hash(rng)));
    let votes = votes.map(|vote| CommitteeMessage::<M>::Vote(Box::new(vote)));
    let said: Vec<_> = votes.map(|vote| wire::encode_payload(&vote)).collect();
    vec![(Address::Everybody, from.purse.frame(seat, seat.me, &said))]
}
