//! Much, far ahead and too large: what fills buffers, and what makes others work for nothing.

use std::sync::Arc;

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{Env, Step, Target, Time};
use quorate_consensus::honeybadger::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, Fragment, HoneyBadgerMessage, SlotMessage,
    Values,
};
use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::{MAX_SHARE, NodeIndex};
use quorate_ledger::ids::{BlockId, Epoch, TrxId};
use quorate_ledger::trx::{self, TrxType};
use quorate_replica::api::Address;
use quorate_replica::change::ChangeMessage;
use quorate_replica::limits::MAX_PACKET;
use quorate_replica::wire::{self, CommitteeMessage, Packet, Status};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::packets::{Addressed, Vantage};
use super::purse::Seat;
use super::{in_slot, noise};

/// Chance that a step of its core carries a flood.
const POURS: f64 = 0.1;
/// Messages of the protocol in one flood.
const MESSAGES: usize = 40;
/// Pause after a flood in ms. A line carries no more than it does; and without it two flooders
/// answer each other's floods with more, and no machine could hold that.
const PAUSE_MS: u64 = 10;
/// Questions for blocks at a beat.
const QUESTIONS: usize = 5;
/// Statuses in one frame, each of which asks for everything again.
const STATUSES: usize = 20;
/// Payloads in one frame that are none.
const JUNK: usize = 200;
/// Trxs at a beat.
const TRXS: usize = 10;
/// Length of a big payload in bytes.
const BIG: usize = 256 * 1024;

thread_local! {
    /// It takes long to fill.
    static TOO_LARGE: Packet = Packet::from(vec![0; MAX_PACKET + 1]);
}

/// One member's floods.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// When it may pour again.
    next: Time,
}

impl Flood {
    /// Adds messages of epochs and rounds that are not in progress to what the core says.
    pub(super) fn pour(
        &mut self,
        committee: Committee,
        now: Epoch,
        env: &mut Env,
        mut step: Step<HoneyBadgerMessage>,
    ) -> Step<HoneyBadgerMessage> {
        if env.now < self.next || !env.rng.random_bool(POURS) {
            return step;
        }
        self.next = env.now.after(PAUSE_MS);
        for _ in 0..MESSAGES {
            let rng = &mut env.rng;
            let epoch = match rng.random_range(0..8) {
                0 => Epoch(u64::MAX),
                1 => Epoch(now.0.saturating_add(rng.random_range(5..1_000_000))),
                2 => Epoch(now.0.saturating_sub(rng.random_range(0..10))),
                _ => Epoch(now.0.saturating_add(rng.random_range(1..5))),
            };
            let proposer = NodeIndex(rng.random_range(0..=committee.size() as u16));
            let message = any_message(rng, epoch, proposer);
            step.send(Target::All, message);
        }
        step
    }
}

fn any_message(rng: &mut impl Rng, epoch: Epoch, proposer: NodeIndex) -> HoneyBadgerMessage {
    let round = match rng.random_range(0..4) {
        0 => u64::MAX,
        1 => rng.next_u64(),
        _ => rng.random_range(2..12),
    };
    let value = rng.random_bool(0.5);
    let agreement = |message| in_slot(epoch, proposer, SlotMessage::Agreement(message));
    let broadcast = |message| in_slot(epoch, proposer, SlotMessage::Broadcast(message));
    match rng.random_range(0..10) {
        0 => agreement(AgreementMessage::BVal { round, value }),
        1 => agreement(AgreementMessage::Aux { round, value }),
        2 => agreement(AgreementMessage::Conf { round, values: Values::one(value) }),
        3 => agreement(AgreementMessage::Share { round, share: noise(rng, MAX_SHARE) }),
        4 => agreement(AgreementMessage::Coin { round, joint: noise(rng, MAX_SHARE) }),
        5 => agreement(AgreementMessage::Term { value, from: round }),
        6 => broadcast(BroadcastMessage::Ready(Digest([7; 32]))),
        7 => {
            let shard = noise(rng, 4 * 1024).into();
            let path = vec![Digest([7; 32]); 4];
            broadcast(BroadcastMessage::Echo(Fragment { root: Digest([7; 32]), shard, path }))
        }
        8 => {
            HoneyBadgerMessage { epoch, body: EpochMessage::Share(proposer, noise(rng, MAX_SHARE)) }
        }
        _ => HoneyBadgerMessage { epoch, body: EpochMessage::Again },
    }
}

pub(super) fn scheme(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Vec<Addressed> {
    let group = &from.purse.group;
    let mut packets: Vec<Packet> = (0..QUESTIONS)
        .map(|_| {
            let first = if rng.random_bool(0.8) { 1 } else { rng.next_u64() };
            wire::encode_fetch_blocks(group, BlockId(first), u32::MAX)
        })
        .collect();
    packets.push(wire::encode_fetch_genesis(group));
    packets.push(junk_trxs(from, rng));
    if let Some(seat) = from.purse.seat() {
        packets.push(from.purse.frame(seat, seat.me, &statuses(from)));
        packets.push(from.purse.frame(seat, seat.me, &junk(rng)));
        packets.push(change(from, rng, seat));
        if rng.random_bool(0.05) {
            packets.push(from.purse.frame(seat, seat.me, &[(1, noise(rng, BIG))]));
        }
    }
    if rng.random_bool(0.01) {
        packets.push(TOO_LARGE.with(Packet::clone));
    }
    packets.into_iter().map(|packet| (Address::Everybody, packet)).collect()
}

/// Requests to say everything again, many in one frame.
fn statuses(from: &Vantage<'_>) -> Vec<(u8, Vec<u8>)> {
    let (epoch, head, hash) = (from.status.epoch, from.status.head, from.status.head_hash);
    let status = Status {
        resend_from: Some(Epoch(0)),
        challenge: Some(head.0),
        answer: None,
        epoch,
        head,
        hash,
    };
    // The ordering protocol's messages are none of its business here.
    let payload = wire::encode_payload(&CommitteeMessage::<
        quorate_consensus::honeybadger::HoneyBadgerMessage,
    >::Status(status));
    vec![payload; STATUSES]
}

fn junk(rng: &mut ChaCha8Rng) -> Vec<(u8, Vec<u8>)> {
    (0..JUNK).map(|_| (rng.random_range(0..5), noise(rng, 40))).collect()
}

/// Trxs with a good signature and no meaning.
fn junk_trxs(from: &Vantage<'_>, rng: &mut ChaCha8Rng) -> Packet {
    let kinds = [TrxType::Post, TrxType::Announce, TrxType::User, TrxType::ChainConfig];
    let trxs: Vec<Arc<[u8]>> = (0..TRXS)
        .map(|_| {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            let id = TrxId(uuid::Builder::from_random_bytes(bytes).into_uuid());
            let kind = kinds[rng.random_range(0..kinds.len())];
            let (key, group, data) = (&from.purse.member, from.purse.group, noise(rng, 200));
            let expires = from.now_ns + trx::EXPIRY_NS;
            let trx = trx::build(key, group, kind, data, id, from.now_ns, expires);
            prost::Message::encode_to_vec(&trx).into()
        })
        .collect();
    wire::encode_trxs(&from.purse.group, &trxs)
}

/// Part of a change of the consensus that nobody asked for.
fn change(from: &Vantage<'_>, rng: &mut ChaCha8Rng, seat: &Seat) -> Packet {
    let request = Digest(noise(rng, 32).try_into().expect("32 bytes"));
    let message = match rng.random_range(0..3) {
        0 => ChangeMessage::Ask { request },
        1 => ChangeMessage::Ack { request, ack: noise(rng, 64) },
        _ => ChangeMessage::Dealing { request, sealed: noise(rng, 256) },
    };
    let producers = &seat.view.producers;
    let to = producers[rng.random_range(0..producers.len())].member;
    wire::encode_member(&from.purse.group, &from.purse.member, &to, &message)
}

#[cfg(test)]
mod tests {
    use quorate_consensus::committee::Committee;
    use quorate_consensus::core::{Env, Step, Time};
    use quorate_ledger::ids::Epoch;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::{Flood, MESSAGES, PAUSE_MS};

    /// Each message of one is an event for the other, one ms later.
    #[test]
    fn two_flooders_do_not_feed_each_other() {
        let rng = ChaCha20Rng::seed_from_u64(1);
        let mut env = Env { now: Time(0), rng };
        let mut floods = [Flood::default(), Flood::default()];
        let mut arriving = [1, 1];
        let mut poured = 0;
        for ms in 1..=1_000 {
            env.now = Time(ms);
            let said = [0, 1].map(|me| {
                let pour = |_| floods[me].pour(Committee::new(10), Epoch(1), &mut env, Step::new());
                (0..arriving[me]).map(pour).filter(|step| !step.is_empty()).count() * MESSAGES
            });
            // Both have something of their own to say, too.
            arriving = [said[1] + 1, said[0] + 1];
            poured += said[0] + said[1];
            let most = 2 * MESSAGES * (ms / PAUSE_MS + 1) as usize;
            assert!(poured <= most, "{poured} messages in {ms} ms");
        }
        assert!(poured > 1_000 / PAUSE_MS as usize * MESSAGES, "only {poured} messages");
    }
}
