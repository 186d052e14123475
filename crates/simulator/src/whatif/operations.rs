//! Measuring the table of costs: the production code, timed with a clock that the caller lends.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{
    Core as _, Env, Event, Message as _, Setup, Step, Target, Time, Verified,
};
use quorate_consensus::honeybadger::shards;
use quorate_crypto::bls::{BlsGeneration, BlsKeys};
use quorate_crypto::hash::sha256;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberKey;
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::threshold::{NodeIndex, Purpose, Share, Threshold};
use quorate_crypto::view::ViewKey;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::BlockVote;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{Epoch, ViewNumber};
use quorate_ledger::proto::Trx;
use quorate_ledger::view::View;
use quorate_replica::api::{Command, GroupConfig, Input, Notice, Output, Ticket};
use quorate_replica::driver::Driver;
use quorate_replica::wire::{self, Inbound, VerifyContext};
use quorate_storage::store::GroupStore;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::costs::{CommitteeCosts, Costs};
use super::engine::{BEGIN_MS, peer};
use super::load::{Demand, Load};
use super::{Core, Message, descriptor, stage};
use crate::disk::FaultyDisk;

/// A clock: nanoseconds since any moment, never going back. Best one of the processor time that the
/// calling thread has used, so that what other programs do is not measured; it may be coarse, since
/// a sample lasts long.
pub type Clock<'a> = &'a mut dyn FnMut() -> u64;

/// Sizes of committees that are measured; costs of others lie on the lines between them.
pub const SIZES: [usize; 3] = [4, 16, 64];
/// Sizes for which real threshold keys are made: it takes the cube of the size.
const KEYED_SIZES: [usize; 2] = [4, 16];
/// A sample takes at least so long: 25 ticks of a clock that an operating system with 250 ticks a
/// second moves.
const SAMPLE_NS: u64 = 100_000_000;
/// Samples; the least of them counts, since whatever else the machine does only adds.
const SAMPLES: usize = 2;
/// Blocks that are measured together.
const ROUNDS: usize = 6;
/// Text whose bytes are measured.
const TEXT: usize = 64 * 1024;
/// Most bytes of trxs in a measured block.
const BLOCK: usize = 800 * 1024;
/// Most trxs in it.
const BLOCK_TRXS: usize = 1_000;
/// About what a trx has around its payload.
const ENVELOPE: usize = 400;

/// Measures everything that needs no operating system, committees of `sizes` (ascending). The costs of packets, posts and syncs, and
/// of waking a thread, are 0.
///
/// # Panics
/// If the production code refuses what is good: its own mistake.
#[must_use]
pub fn measure(
    trx_bytes: usize,
    sizes: &[usize],
    clock: Clock<'_>,
    mut progress: impl FnMut(&str),
) -> Costs {
    let mut costs = Costs { trx_bytes: trx_bytes as u64, ..Costs::invented(0) };
    progress("signatures and hashes");
    signatures(&mut costs, clock);
    progress("threshold cryptography");
    let combine = threshold(&mut costs, clock);
    progress("trxs and blocks");
    trxs(&mut costs, trx_bytes, clock);
    costs.committees = sizes
        .iter()
        .map(|nodes| {
            progress(&format!("a committee of {nodes}"));
            committee(*nodes, &combine, &mut costs.payload_decode, clock)
        })
        .collect();
    for zero in [
        &mut costs.thread_wake,
        &mut costs.thread_alone,
        &mut costs.runtime_wake,
        &mut costs.disk_sync,
        &mut costs.disk_sync_busy,
        &mut costs.disk_sync_cpu,
        &mut costs.packet,
        &mut costs.packet_kib,
        &mut costs.gossip,
        &mut costs.gossip_wake,
        &mut costs.gossip_kib,
        &mut costs.link,
        &mut costs.link_wait,
        &mut costs.idle,
        &mut costs.client_look,
        &mut costs.api_look,
        &mut costs.api_post,
        &mut costs.api_alone,
        &mut costs.client_post,
        &mut costs.client_alone,
        &mut costs.start,
        &mut costs.start_trx,
    ] {
        *zero = 0;
    }
    costs
}

/// Nanoseconds of one call: the least of some samples.
fn time<T>(clock: Clock<'_>, mut call: impl FnMut() -> T) -> u64 {
    let mut calls = 1;
    let mut least = u64::MAX;
    let mut samples = 0;
    while samples < SAMPLES {
        let from = clock();
        for _ in 0..calls {
            black_box(call());
        }
        let took = clock() - from;
        if took < SAMPLE_NS && samples == 0 && calls < 1 << 24 {
            calls *= 2;
            continue;
        }
        samples += 1;
        least = least.min(took / calls);
    }
    least
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

struct Group {
    owner: MemberKey,
    encrypt: EncryptKey,
    descriptor: GroupDescriptor,
}

fn group(rng: &mut ChaCha20Rng) -> Group {
    let owner = MemberKey::generate(rng);
    let encrypt = EncryptKey::generate(rng);
    let descriptor = descriptor(&owner, rng);
    Group { owner, encrypt, descriptor }
}

fn signatures(costs: &mut Costs, clock: Clock<'_>) {
    let mut rng = rng();
    let group = group(&mut rng);
    let keys = stage::committee(1, &mut rng);
    let view = Arc::new(stage::view(&group.descriptor, &[&group.owner], &keys, 500));
    let key = &keys[0].0;
    let text = vec![7u8; TEXT];
    costs.hash_kib = time(clock, || sha256(&text)) * 1024 / TEXT as u64;
    let empty = (0u8, Vec::new());
    let id = group.descriptor.id;
    let frame = || wire::encode_committee(&id, ViewNumber(1), NodeIndex(0), key, &[&empty]);
    let sign = || Arc::clone(frame().bytes());
    costs.frame_sign = time(clock, sign);
    let frame = sign();
    let context = VerifyContext { group: id, views: vec![Arc::clone(&view)], known: None };
    costs.frame_verify = time(clock, || wire::verify::<Message>(&frame, &context));
    let header = block(&view, Vec::new()).header;
    let vote = || BlockVote::sign(&header, NodeIndex(0), key, &group.owner);
    costs.vote_sign = time(clock, vote);
    let vote = vote();
    assert!(vote.verify(&view), "an own vote is good");
    costs.vote_verify = time(clock, || vote.verify(&view));
}

fn block(view: &View, trxs: Vec<Trx>) -> Block {
    let head = quorate_replica::block_maker::Head {
        id: quorate_ledger::ids::BlockId(0),
        hash: view.parent.1,
        timestamp: 0,
        view: ViewNumber(0),
        epoch: Epoch(0),
        last_view_change: quorate_ledger::ids::BlockId(0),
    };
    let writes = quorate_ledger::state::WriteSet::default();
    quorate_replica::block_maker::build(view, &head, Epoch(1), 0, trxs, &writes)
}

/// Real threshold keys of a committee.
fn real_keys(n: usize) -> Vec<BlsKeys> {
    let mut rng = rng();
    let keys: Vec<ViewKey> = (0..n).map(|_| ViewKey::generate(&mut rng)).collect();
    let players: Vec<_> = keys.iter().map(ViewKey::public).collect();
    let open = |key: &ViewKey| {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        BlsGeneration::open(b"costs", &players, key, seed).expect("a player")
    };
    let mut rounds: Vec<BlsGeneration> = keys.iter().map(open).collect();
    for from in 0..n {
        for to in 0..n {
            let (dealer, player) = (NodeIndex(from as u16), NodeIndex(to as u16));
            let dealing = rounds[from].dealing(player).expect("there is one for each");
            let ack = rounds[to].receive_dealing(dealer, &dealing).expect("it is good");
            rounds[from].receive_ack(player, &ack).expect("it is good");
        }
    }
    let logs: BTreeMap<NodeIndex, Vec<u8>> =
        rounds.iter().zip(0..).map(|(round, i)| (NodeIndex(i), round.log())).collect();
    rounds.iter().map(|round| round.finish(&logs).expect("the logs are good")).collect()
}

/// Costs of threshold cryptography; returns what it costs to combine, by size.
fn threshold(costs: &mut Costs, clock: Clock<'_>) -> Vec<(usize, u64)> {
    let target = b"target";
    let mut combined = Vec::new();
    for n in KEYED_SIZES {
        let keys = real_keys(n);
        let purpose = Purpose::Decryption;
        let shares: BTreeMap<NodeIndex, Share> = keys
            .iter()
            .zip(0..)
            .filter_map(|(key, i)| Some((NodeIndex(i), key.sign_share(purpose, target)?)))
            .collect();
        let combine = || keys[0].combine(purpose, target, &shares).expect("good shares");
        combined.push((n, time(clock, combine)));
        if n == KEYED_SIZES[0] {
            let (joint, key) = (combine(), &keys[0]);
            costs.share = time(clock, || key.sign_share(purpose, target));
            costs.joint_verify = time(clock, || key.verify(purpose, target, &joint));
            let long = vec![7u8; TEXT];
            let mut rng = rng();
            costs.seal = time(clock, || key.seal(&mut rng, target, target, &[]));
            let with = time(clock, || key.seal(&mut rng, target, target, &long));
            costs.seal_kib = with.saturating_sub(costs.seal) * 1024 / TEXT as u64;
            let short = key.seal(&mut rng, target, target, &[]);
            let long = key.seal(&mut rng, target, target, &long);
            costs.open = time(clock, || key.open(target, target, &short, &joint));
            let with = time(clock, || key.open(target, target, &long, &joint));
            costs.open_kib = with.saturating_sub(costs.open) * 1024 / TEXT as u64;
        }
    }
    combined
}

/// A replica that orders alone.
struct Solo {
    env: Env,
    driver: Driver<Core, GroupStore<FaultyDisk>>,
    context: VerifyContext,
    tickets: u64,
    ordered: usize,
}

impl Solo {
    fn open(group: &Group) -> Self {
        Self::begin(group, &group.owner, true)
    }

    /// Another member, who only follows.
    fn follow(group: &Group) -> Self {
        Self::begin(group, &MemberKey::generate(&mut rng()), false)
    }

    fn begin(group: &Group, member: &MemberKey, create: bool) -> Self {
        let config = GroupConfig {
            descriptor: group.descriptor.clone(),
            member: member.clone(),
            encrypt: group.encrypt.clone(),
            create,
        };
        let (store, recovered) = super::open_store(&FaultyDisk::new(1), 1);
        let mut env = Env { now: Time(BEGIN_MS), rng: rng() };
        let opened = Driver::open(&mut env, config, recovered, store);
        let (driver, _) = opened.expect("there is nothing that could be damaged");
        let context = VerifyContext { group: group.descriptor.id, views: Vec::new(), known: None };
        Self { env, driver, context, tickets: 0, ordered: 0 }
    }

    fn turn(&mut self, inputs: Vec<Input<Message>>) {
        for output in self.driver.turn(&mut self.env, inputs).outputs {
            match output {
                Output::Reply(_, reply) => drop(reply.expect("a good post is taken")),
                Output::Notice(Notice::Committed { block, .. }) => self.ordered += block.trxs.len(),
                _ => {}
            }
        }
    }

    /// The next epoch: proposes, decides and orders all that waits.
    fn epoch(&mut self) {
        self.env.now = self.env.now.after(1_000);
        self.turn(vec![Input::Wake]);
    }

    /// What a turn of a node says to the other of two.
    fn says(&mut self, inputs: Vec<Input<Message>>) -> Vec<wire::Packet> {
        let mut said = Vec::new();
        for output in self.driver.turn(&mut self.env, inputs).outputs {
            match output {
                Output::Send { packet, .. } => said.push(packet),
                Output::Notice(Notice::Views(views)) => self.context.views = views,
                _ => {}
            }
        }
        said
    }

    /// What the other one said, blocks checked as they are for a node that is behind.
    fn opens(&self, said: &[wire::Packet]) -> Vec<Input<Message>> {
        let head = self.driver.status().head;
        let open = |packet: &wire::Packet| {
            let mut inbound = wire::verify::<Message>(packet.bytes(), &self.context).ok()?;
            if let Inbound::Blocks(blocks) = &mut inbound {
                blocks.iter_mut().for_each(|block| block.check(&self.context, head));
            }
            Some(Input::Inbound(peer(1), inbound))
        };
        said.iter().filter_map(open).collect()
    }

    fn submit(&mut self, trxs: &[Trx]) -> Vec<Input<Message>> {
        let command = |trx: &Trx| {
            self.tickets += 1;
            Input::Command(Ticket(self.tickets), Command::SubmitSigned(Box::new(trx.clone())))
        };
        trxs.iter().map(command).collect()
    }

    fn bundle(&self, trxs: &[Trx]) -> Arc<[u8]> {
        use prost::Message as _;
        let encoded: Vec<Arc<[u8]>> = trxs.iter().map(|trx| trx.encode_to_vec().into()).collect();
        Arc::clone(wire::encode_trxs(&self.context.group, &encoded).bytes())
    }
}

fn trxs(costs: &mut Costs, trx_bytes: usize, clock: Clock<'_>) {
    let group = group(&mut rng());
    let id = group.descriptor.id;
    let cipher = group.descriptor.cipher_key.clone();
    let mut load = Load::new(Demand::Rate(1), id, cipher, trx_bytes, 1);
    let count = (BLOCK / (trx_bytes + ENVELOPE)).clamp(1, BLOCK_TRXS);
    let mut solo = Solo::open(&group);
    solo.epoch();
    costs.turn = time(clock, || solo.turn(vec![Input::Wake]));
    let (mut admit, mut order, mut pool, mut verify) = (0, 0, 0, 0);
    let (mut last, mut bytes) = (Vec::new(), 0);
    let took = |clock: Clock<'_>, sum: &mut u64, what: &mut dyn FnMut()| {
        let from = clock();
        what();
        *sum += clock() - from;
    };
    for _ in 0..ROUNDS {
        let posts: Vec<Trx> = (0..count).map(|_| load.make(0)).collect();
        let mut inputs = solo.submit(&posts);
        took(clock, &mut admit, &mut || solo.turn(std::mem::take(&mut inputs)));
        let wear = solo.driver.journal().disk().wear().bytes;
        took(clock, &mut order, &mut || solo.epoch());
        bytes = solo.driver.journal().disk().wear().bytes - wear;
        last = posts;

        let others: Vec<Trx> = (0..count).map(|_| load.make(0)).collect();
        let packet = solo.bundle(&others);
        let mut found = None;
        took(clock, &mut verify, &mut || {
            found = wire::verify::<Message>(&packet, &solo.context).ok();
        });
        let inbound: Inbound<Message> = found.take().expect("the bundle is good");
        let mut inputs = vec![Input::Inbound(peer(1), inbound)];
        took(clock, &mut pool, &mut || solo.turn(std::mem::take(&mut inputs)));
        solo.epoch();
    }
    assert_eq!(solo.ordered, 2 * ROUNDS * count, "every post is ordered");
    let fetched = (2 * ROUNDS * count) as u64;
    let [check, replay] = replay(&group, &mut solo, clock);
    (costs.trx_check, costs.trx_replay) = (check / fetched, replay / fetched);
    let each = |sum: u64| sum / (ROUNDS * count) as u64;
    (costs.trx_admit, costs.trx_verify, costs.trx_pool) = (each(admit), each(verify), each(pool));
    let text = vec![7u8; TEXT];
    costs.write_kib = time(clock, || text.clone()) * 1024 / TEXT as u64;
    // The simulated disk's copying is not the real disk's writing, which is charged by the byte.
    let written = Costs::bytes(costs.write_kib, bytes) / count as u64;
    costs.trx_order = each(order).saturating_sub(written);
    costs.trx_replay = costs.trx_replay.saturating_sub(written);
    let view = stage::view(&group.descriptor, &[&group.owner], &[], 500);
    let encoded = block(&view, last).to_bytes();
    let read = time(clock, || Block::from_bytes(&encoded).expect("a good block"));
    costs.block_kib = read * 1024 / encoded.len() as u64;
}

/// A node that comes late fetches the ledger of another one: what checking it takes, and what its
/// group's thread does.
fn replay(group: &Group, other: &mut Solo, clock: Clock<'_>) -> [u64; 2] {
    let mut late = Solo::follow(group);
    let mut said = late.says(vec![Input::Connected(peer(1))]);
    let (mut check, mut apply) = (0, 0);
    while late.driver.status().head < other.driver.status().head {
        assert!(!said.is_empty(), "who is behind asks");
        let asked = other.opens(&said);
        let answers = other.says(asked);
        let from = clock();
        let fetched = late.opens(&answers);
        let checked = clock();
        said = late.says(fetched);
        (check, apply) = (check + checked - from, apply + clock() - checked);
    }
    [check, apply]
}

/// Costs in a committee of `n`. `decode`: what decoding a message costs.
fn committee(
    n: usize,
    combine: &[(usize, u64)],
    decode: &mut u64,
    clock: Clock<'_>,
) -> CommitteeCosts {
    let committee = Committee::new(n);
    let text = vec![7u8; TEXT];
    let encode = time(clock, || shards::split(committee, &text));
    let fragments = shards::split(committee, &text);
    let root = fragments[0].root;
    // The first n - f to arrive are any: here those with most parity among them.
    let given: BTreeMap<NodeIndex, _> = committee
        .members()
        .zip(&fragments)
        .skip(committee.faulty())
        .map(|(member, fragment)| {
            let leaf = quorate_ledger::merkle::leaf_hash(&fragment.shard);
            (member, (Arc::clone(&fragment.shard), leaf))
        })
        .collect();
    let join = || shards::join(committee, &root, &given).expect("the shards are good");
    let again = time(clock, join);
    let (message, decoding) = messages(n, clock);
    *decode = decoding;
    let kib = |ns: u64| ns * 1024 / TEXT as u64;
    let ((low, at_low), (high, at_high)) = (combine[0], combine[combine.len() - 1]);
    let slope = at_high.saturating_sub(at_low) as f64 / (high - low) as f64;
    CommitteeCosts {
        nodes: n as u64,
        combine: (at_low as f64 + slope * (n - low) as f64) as u64,
        encode_kib: kib(encode),
        decode_kib: kib(again),
        message,
    }
}

/// Some epochs of a committee whose messages arrive at once: what a message costs its receiver's
/// core, and what decoding it costs.
fn messages(n: usize, clock: Clock<'_>) -> (u64, u64) {
    let mut rng = rng();
    let owners: Vec<MemberKey> = (0..n).map(|_| MemberKey::generate(&mut rng)).collect();
    let members: Vec<&MemberKey> = owners.iter().collect();
    let keys = stage::committee(n, &mut rng);
    let view = Arc::new(stage::view(&descriptor(&owners[0], &mut rng), &members, &keys, 500));
    let mut env = Env { now: Time(BEGIN_MS), rng };
    let open = |(i, (_, keys)): (usize, &(ViewKey, _))| {
        let setup = Setup {
            view: Arc::clone(&view),
            me: NodeIndex(i as u16),
            keys: Clone::clone(keys),
            epoch: Epoch(1),
            votes: Vec::new(),
        };
        Core::open(&mut env, setup).0
    };
    let mut cores: Vec<Core> = keys.iter().enumerate().map(open).collect();
    let (mut count, mut took, mut decoding) = (0, 0, u64::MAX);
    let mut epoch = Epoch(1);
    while took < SAMPLE_NS {
        let mut wave: Wave = Vec::new();
        for (core, i) in cores.iter_mut().zip(0..) {
            let step = core.step(&mut env, Event::Propose(vec![i as u8; 64]));
            say(NodeIndex(i), step, &mut wave);
        }
        if decoding == u64::MAX {
            let bytes = wave[0].2.encode();
            decoding = time(clock, || Message::decode(&bytes));
        }
        while !wave.is_empty() {
            let from = clock();
            let (next, heard) = deliver(&mut cores, &mut env, wave);
            took += clock() - from;
            count += heard;
            wave = next;
        }
        epoch = epoch.next();
        assert!(cores.iter().all(|core| core.epoch() == epoch), "the epoch has been decided");
    }
    (took / count, decoding)
}

type Wave = Vec<(NodeIndex, Target, Message)>;

/// What a member's step says.
fn say(from: NodeIndex, step: Step<Message>, wave: &mut Wave) {
    let _ = step.redirect::<Message, _>(|target, message| {
        wave.push((from, target, message));
        Vec::new()
    });
}

/// Gives all that was said to its receivers; what they say to it, and how many messages it was.
fn deliver(cores: &mut [Core], env: &mut Env, wave: Wave) -> (Wave, u64) {
    let (mut next, mut count) = (Vec::new(), 0);
    for (sender, target, message) in wave {
        let members = match target {
            Target::All => 0..cores.len(),
            Target::One(member) => member.get()..member.get() + 1,
        };
        for to in members.filter(|to| *to != sender.get()) {
            count += 1;
            let event = Event::Receive(sender, Verified::assume(message.clone()));
            say(NodeIndex(to as u16), cores[to].step(env, event), &mut next);
        }
    }
    (next, count)
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn the_table_is_complete() {
        let mut now = 0;
        let mut clock = || {
            // A machine so slow that nothing needs to be done twice.
            now += 200_000_000;
            now
        };
        let mut said = Vec::new();
        let costs = measure(250, &[4], &mut clock, |what| said.push(what.to_owned()));
        assert_eq!(costs.check(250), Ok(()));
        assert_eq!(said.len(), 4);
        assert!(costs.trx_verify > 0 && costs.committees[0].message > 0);
        assert_eq!(costs.packet, 0, "the caller measures it");
    }
}
