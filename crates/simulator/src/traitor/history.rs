//! Lies to those who catch up: false blocks and certificates, false genesis documents, false heads,
//! false statuses.

use std::sync::Arc;

use quorate_consensus::core::Message;
use quorate_crypto::hash::Digest;
use quorate_ledger::block::{Block, trx_tree};
use quorate_ledger::certificate::{BlockVote, Certificate};
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::group::GenesisDocuments;
use quorate_ledger::ids::{BlockId, Epoch};
use quorate_replica::api::{Address, GroupStatus};
use quorate_replica::wire::{self, CertifiedBytes, CommitteeMessage, Inbound, Packet, Status};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::noise;
use super::packets::{Addressed, Vantage};
use super::purse::{Purse, Seat};

/// Everything its replica says about the past is changed on the way.
pub(super) fn rewrite<M: Message>(
    from: &Vantage<'_>,
    rng: &mut ChaCha8Rng,
    packet: &Packet,
) -> Option<Vec<Packet>> {
    let group = &from.purse.group;
    match from.purse.open::<M>(packet)? {
        Inbound::Blocks(blocks) => {
            let blocks = blocks.iter().map(|block| block.bytes().clone()).collect();
            let blocks = tamper(from.purse, rng, blocks);
            Some(vec![wire::encode_blocks(group, &blocks)])
        }
        Inbound::Head { .. } => Some(vec![false_head(from, rng)]),
        Inbound::Genesis(documents) => {
            Some(vec![wire::encode_genesis(group, &false_documents(from, rng, *documents))])
        }
        Inbound::Committee(frame) => {
            let frame = frame.into_inner();
            let seat = from.purse.seats.iter().find(|seat| seat.view.number == frame.view)?;
            let statuses =
                frame.payloads.iter().any(|said| matches!(said, CommitteeMessage::Status(_)));
            if !statuses {
                return None;
            }
            let said = frame.payloads.into_iter().map(|message| match message {
                CommitteeMessage::Status(real) => {
                    CommitteeMessage::<M>::Status(false_status(from.status, real.answer, rng))
                }
                other => other,
            });
            let said: Vec<_> = said.map(|message| wire::encode_payload(&message)).collect();
            Some(vec![from.purse.frame(seat, seat.me, &said)])
        }
        _ => None,
    }
}

/// Unasked it claims heads that there are none of, and shows false blocks and documents.
pub(super) fn scheme<M: Message>(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Vec<Addressed> {
    let mut sent = vec![(Address::Everybody, false_head(from, rng))];
    if let Some(seat) = from.purse.seat()
        && rng.random_bool(0.3)
    {
        let status = CommitteeMessage::<M>::Status(false_status(from.status, None, rng));
        let payload = wire::encode_payload(&status);
        sent.push((Address::Everybody, from.purse.frame(seat, seat.me, &[payload])));
    }
    let blocks = from.memory.iter().find_map(|packet| match from.purse.open::<M>(packet) {
        Some(Inbound::Blocks(blocks)) => Some(blocks),
        _ => None,
    });
    if let Some(blocks) = blocks
        && rng.random_bool(0.3)
    {
        let blocks = blocks.iter().map(|block| block.bytes().clone()).collect();
        let blocks = tamper(from.purse, rng, blocks);
        sent.push((Address::Everybody, wire::encode_blocks(&from.purse.group, &blocks)));
    }
    sent
}

/// A position that is not the traitor's, sometimes as far as numbers go.
fn somewhere(rng: &mut ChaCha8Rng, near: u64) -> u64 {
    match rng.random_range(0..6) {
        0 => u64::MAX,
        1 => u64::MAX - rng.random_range(0..4),
        2 => 0,
        3 => near.saturating_add(rng.random_range(1_000..1_000_000)),
        4 => near.saturating_sub(rng.random_range(0..5)),
        _ => near.saturating_add(rng.random_range(1..5)),
    }
}

fn any_digest(rng: &mut ChaCha8Rng) -> Digest {
    let mut digest = Digest::default();
    rng.fill_bytes(&mut digest.0);
    digest
}

fn false_head(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Packet {
    let id = BlockId(somewhere(rng, from.status.head.0));
    let epoch = Epoch(somewhere(rng, from.status.epoch.0));
    wire::encode_head(&from.purse.group, id, &any_digest(rng), epoch)
}

/// `asked`: the challenge that the true one answers; without it the lie would not count.
fn false_status(own: &GroupStatus, asked: Option<u64>, rng: &mut ChaCha8Rng) -> Status {
    let resend_from = Epoch(somewhere(rng, own.epoch.0));
    Status {
        epoch: Epoch(somewhere(rng, own.epoch.0)),
        head: BlockId(somewhere(rng, own.head.0)),
        hash: any_digest(rng),
        resend_from: rng.random_bool(0.5).then_some(resend_from),
        challenge: None,
        answer: asked,
    }
}

/// Documents of another genesis block, of the right one signed by the traitor, or without proof.
fn false_documents(
    from: &Vantage<'_>,
    rng: &mut ChaCha8Rng,
    mut documents: GenesisDocuments,
) -> GenesisDocuments {
    let thief = &from.purse.member;
    match rng.random_range(0..5) {
        0 => documents.genesis.timestamp += 1,
        1 => {
            documents.genesis.owner = thief.public();
            documents.genesis.sign = thief.sign(&documents.genesis.hash());
        }
        2 => {
            documents.announce.announcer_pubkey = thief.public().to_string();
            let hash = documents.announce.hash.as_slice().try_into().map(Digest);
            if let Ok(hash) = hash {
                documents.announce.signature = thief.sign(&hash).as_ref().to_vec();
            }
        }
        3 => documents.bundle.resps.clear(),
        _ => {
            if let Some(response) = documents.bundle.resps.first_mut() {
                response.sender_sign = noise(rng, response.sender_sign.len());
            }
        }
    }
    documents
}

/// Blocks with something wrong about them: one of them, or their order.
fn tamper(
    purse: &Purse,
    rng: &mut ChaCha8Rng,
    mut blocks: Vec<CertifiedBytes>,
) -> Vec<CertifiedBytes> {
    if blocks.is_empty() {
        return blocks;
    }
    let at = rng.random_range(0..blocks.len());
    let other = rng.random_range(0..blocks.len());
    match rng.random_range(0..9) {
        0 => blocks.reverse(),
        1 => blocks.shuffle(rng),
        2 => {
            blocks.remove(at);
        }
        3 => blocks[at].1 = Arc::clone(&blocks[other].1),
        4 => {
            let cut = rng.random_range(0..blocks[at].0.len());
            blocks[at].0 = blocks[at].0[..cut].into();
        }
        5 => {
            let cut = rng.random_range(0..blocks[at].1.len());
            blocks[at].1 = blocks[at].1[..cut].into();
        }
        6 => {
            if let Ok(certificate) = Certificate::from_bytes(&blocks[at].1) {
                blocks[at].1 = false_certificate(rng, certificate).to_bytes().into();
            }
        }
        _ => {
            if let Ok(block) = Block::from_bytes(&blocks[at].0) {
                blocks[at] = false_block(purse, rng, block, &blocks[at].1);
            }
        }
    }
    blocks
}

fn false_certificate(rng: &mut ChaCha8Rng, mut certificate: Certificate) -> Certificate {
    let signatures = &mut certificate.signatures;
    if signatures.is_empty() {
        return certificate;
    }
    let at = rng.random_range(0..signatures.len());
    match rng.random_range(0..5) {
        // A signer twice, in a row or under another's number.
        0 => {
            let twice = signatures[at];
            signatures.fill(twice);
        }
        1 => {
            let signature = signatures[at].1;
            signatures.iter_mut().for_each(|signed| signed.1 = signature);
        }
        2 => signatures[at].1.0 = noise(rng, 64).try_into().expect("64 bytes"),
        3 => {
            signatures.remove(at);
        }
        _ => certificate.producer_sign.0[at] ^= 1,
    }
    certificate
}

/// A block with other trxs; a careful liar makes the header fit them, and certifies it as far as it
/// can.
fn false_block(
    purse: &Purse,
    rng: &mut ChaCha8Rng,
    mut block: Block,
    certificate: &Arc<[u8]>,
) -> CertifiedBytes {
    match (rng.random_range(0..4), block.trxs.last_mut()) {
        (0, Some(trx)) => trx.data.push(b' '),
        (1, Some(_)) => {
            block.trxs.pop();
        }
        (2, Some(trx)) => {
            let again = trx.clone();
            block.trxs.push(again);
        }
        _ => block.header.write_set = any_digest(rng),
    }
    let mut certificate = Arc::clone(certificate);
    if rng.random_bool(0.5) {
        block.header.trx_root = trx_tree(&block.trxs).root();
        block.header.trx_count = block.trxs.len() as u32;
        let seat = purse.seats.iter().find(|seat| seat.view.number == block.header.view);
        if let Some(seat) = seat {
            certificate = own_certificate(purse, seat, &block).to_bytes().into();
        }
    }
    (block.to_bytes().into(), certificate)
}

/// As many signatures as a quorum has, all of them the traitor's.
fn own_certificate(purse: &Purse, seat: &Seat, block: &Block) -> Certificate {
    let vote = BlockVote::sign(&block.header, seat.me, &seat.key, &purse.member);
    let n = seat.view.producers.len();
    let signers = (0..n - (n - 1) / 3).map(|i| quorate_crypto::threshold::NodeIndex(i as u16));
    Certificate {
        view: seat.view.number,
        id: block.header.id,
        hash: block.hash(),
        signatures: signers.map(|signer| (signer, vote.view_sign)).collect(),
        producer_sign: vote.member_sign,
    }
}
