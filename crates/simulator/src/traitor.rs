//! Named adversaries: a core that runs the real protocol and rewrites what it says.
//!
//! A traitor holds its own keys, so its frames are signed like anybody's; it cannot forge others'.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{Appetite, Core, Env, Event, Setup, Step, Target};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::honeybadger::HoneyBadger;
use quorate_consensus::honeybadger::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, Fragment, HoneyBadgerMessage, SlotMessage,
    Values,
};
use quorate_consensus::honeybadger::shards;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_ledger::ids::Epoch;
use quorate_ledger::merkle::MerkleTree;
use quorate_replica::proposal::Proposal;
use rand::{Rng, RngExt};

use crate::conduct::Conduct;

/// What a member does wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Treason {
    /// Says nothing at all.
    Silent,
    /// Shares out another proposal to the second half of the committee.
    Equivocator,
    /// Sends shards that don't fit their root, or a root whose shards are no proposal.
    WrongShards,
    /// Sends random bytes as coin and decryption shares and joint signatures.
    Forger,
    /// Votes both ways in binary agreement and differently to different members.
    DoubleVoter,
    /// Says each message to some and not to others.
    Withholder,
}

impl Treason {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Silent,
        Self::Equivocator,
        Self::WrongShards,
        Self::Forger,
        Self::DoubleVoter,
        Self::Withholder,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Equivocator => "equivocate",
            Self::WrongShards => "wrong_shards",
            Self::Forger => "forged_shares",
            Self::DoubleVoter => "double_vote",
            Self::Withholder => "withhold",
        }
    }
}

thread_local! {
    /// The roles of the world that runs in this thread. A core is opened with nothing but its view
    /// and keys, as in production, so it looks its role up by its member key.
    static ROLES: RefCell<BTreeMap<MemberPublicKey, Treason>> = const { RefCell::new(BTreeMap::new()) };
}

/// Sets who betrays in this thread's world from the next opened view on.
pub fn cast(roles: BTreeMap<MemberPublicKey, Treason>) {
    ROLES.with(|cell| *cell.borrow_mut() = roles);
}

fn role_of(member: &MemberPublicKey) -> Option<Treason> {
    ROLES.with(|cell| cell.borrow().get(member).copied())
}

/// HoneyBadgerBFT as a member of the simulated network runs it: honest unless cast otherwise.
pub struct Traitor<G: KeyGeneration>
where
    G::Keys: Threshold,
{
    core: HoneyBadger<G>,
    member: MemberPublicKey,
    me: NodeIndex,
    committee: Committee,
    conduct: Conduct,
}

type Sent = Vec<(Target, HoneyBadgerMessage)>;

impl<G: KeyGeneration> Traitor<G>
where
    G::Keys: Threshold,
{
    /// What the protocol says, or what the traitor makes of it; `again`: it repeats itself.
    fn betray(
        &mut self,
        env: &mut Env,
        step: Step<HoneyBadgerMessage>,
        again: bool,
    ) -> Step<HoneyBadgerMessage> {
        match role_of(&self.member) {
            None => self.watch(step, again),
            Some(treason) => {
                let n = self.committee.size();
                step.redirect(|target, message| match treason {
                    Treason::Silent => Vec::new(),
                    Treason::Equivocator => equivocate(self.committee, target, message),
                    Treason::WrongShards => spoil(self.committee, self.me, env, target, message),
                    Treason::Forger => forge(env, target, message),
                    Treason::DoubleVoter => double(n, env, target, message),
                    Treason::Withholder => withhold(n, env, target, message),
                })
            }
        }
    }
}

impl<G: KeyGeneration> Traitor<G>
where
    G::Keys: Threshold,
{
    /// A correct member's conduct is looked at.
    fn watch(&mut self, step: Step<HoneyBadgerMessage>, again: bool) -> Step<HoneyBadgerMessage> {
        let mut said = Vec::new();
        let step = step.redirect(|target, message| {
            if let Some(coin) = Conduct::coin(&message) {
                self.conduct.shows(&coin);
            } else if target == Target::All && Conduct::concerns(&message) {
                said.push(message.clone());
            }
            vec![(target, message)]
        });
        self.conduct.says(self.core.epoch(), &said, again);
        step
    }
}

impl<G: KeyGeneration> Core for Traitor<G>
where
    G::Keys: Threshold,
{
    type Message = HoneyBadgerMessage;
    type Generation = G;

    fn open(env: &mut Env, setup: Setup<G::Keys>) -> (Self, Step<HoneyBadgerMessage>) {
        let member = setup.view.producers[setup.me.get()].member;
        let committee = Committee::new(setup.view.producers.len());
        let me = setup.me;
        let conduct = Conduct::new(&setup.view, me);
        let (core, step) = HoneyBadger::open(env, setup);
        let mut this = Self { core, member, me, committee, conduct };
        let step = this.betray(env, step, true);
        (this, step)
    }

    fn step(
        &mut self,
        env: &mut Env,
        event: Event<HoneyBadgerMessage>,
    ) -> Step<HoneyBadgerMessage> {
        if let Event::Receive(from, message) = &event {
            self.conduct.hears(self.core.epoch(), *from, message.get());
        }
        let step = self.core.step(env, event);
        self.betray(env, step, false)
    }

    fn appetite(&self) -> Appetite {
        self.core.appetite()
    }

    fn epoch(&self) -> Epoch {
        self.core.epoch()
    }

    fn footprint(&self, into: &mut Footprint) {
        self.core.footprint(into);
    }

    fn may_stop(&self) -> bool {
        self.core.may_stop()
    }
}

fn in_slot(epoch: Epoch, proposer: NodeIndex, message: SlotMessage) -> HoneyBadgerMessage {
    HoneyBadgerMessage { epoch, body: EpochMessage::Slot(proposer, message) }
}

/// The second half of the committee is given the shards of another value.
fn equivocate(committee: Committee, target: Target, message: HoneyBadgerMessage) -> Sent {
    if let (
        Target::One(to),
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(_))),
    ) = (target, &message.body)
        && to.get() * 2 >= committee.size()
    {
        let other = format!("another proposal of epoch {}", message.epoch);
        let fragment = shards::split(committee, other.as_bytes()).swap_remove(to.get());
        let init = SlotMessage::Broadcast(BroadcastMessage::Init(fragment));
        return vec![(target, in_slot(message.epoch, *proposer, init))];
    }
    vec![(target, message)]
}

/// A tree over shards that are no codeword: every path fits, but what comes out depends on the
/// shards taken. The first ones alone give a proposal, whose time, very early or very late, would
/// count.
fn half_a_proposal(committee: Committee, epoch: Epoch) -> Vec<Fragment> {
    const CLEAR: u8 = 0;
    let time_ns = if epoch.0.is_multiple_of(2) { 0 } else { i64::MAX };
    let empty = Proposal::<&[u8]> { time_ns, trxs: Vec::new() };
    let value = [vec![CLEAR], empty.encode()].concat();
    let mut shards: Vec<Arc<[u8]>> =
        shards::split(committee, &value).into_iter().map(|fragment| fragment.shard).collect();
    for shard in shards.iter_mut().skip(committee.data_shards()) {
        *shard = shard.iter().map(|byte| byte ^ 0x5a).collect();
    }
    let tree = MerkleTree::from_leaves(&shards);
    let root = tree.root();
    let proven = shards.into_iter().enumerate();
    proven
        .map(|(i, shard)| Fragment { root, shard, path: tree.proof(i).expect("a leaf") })
        .collect()
}

fn spoil(
    committee: Committee,
    me: NodeIndex,
    env: &mut Env,
    target: Target,
    message: HoneyBadgerMessage,
) -> Sent {
    let HoneyBadgerMessage { epoch, body } = message;
    let body = match body {
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(_))) => {
            let Target::One(to) = target else { return Vec::new() };
            let fragment = half_a_proposal(committee, epoch).swap_remove(to.get());
            EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Init(fragment)))
        }
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(_)))
            if proposer == me =>
        {
            let fragment = half_a_proposal(committee, epoch).swap_remove(me.get());
            EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(fragment)))
        }
        EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(mut f))) => {
            let mut shard = f.shard.to_vec();
            if let Some(byte) = shard.first_mut() {
                *byte ^= 1 << (env.rng.next_u32() % 8);
            }
            f.shard = shard.into();
            EpochMessage::Slot(proposer, SlotMessage::Broadcast(BroadcastMessage::Echo(f)))
        }
        other => other,
    };
    vec![(target, HoneyBadgerMessage { epoch, body })]
}

fn noise(env: &mut Env, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    env.rng.fill_bytes(&mut bytes);
    bytes
}

fn forge(env: &mut Env, target: Target, message: HoneyBadgerMessage) -> Sent {
    let HoneyBadgerMessage { epoch, body } = message;
    let body = match body {
        EpochMessage::Share(proposer, share) => {
            EpochMessage::Share(proposer, noise(env, share.len()))
        }
        EpochMessage::Key(proposer, joint) => EpochMessage::Key(proposer, noise(env, joint.len())),
        EpochMessage::Slot(proposer, SlotMessage::Agreement(message)) => {
            let message = match message {
                AgreementMessage::Share { round, share } => {
                    AgreementMessage::Share { round, share: noise(env, share.len()) }
                }
                AgreementMessage::Coin { round, joint } => {
                    AgreementMessage::Coin { round, joint: noise(env, joint.len()) }
                }
                other => other,
            };
            EpochMessage::Slot(proposer, SlotMessage::Agreement(message))
        }
        other => other,
    };
    vec![(target, HoneyBadgerMessage { epoch, body })]
}

/// What everybody is told, told to each on its own.
fn each(n: usize, target: Target) -> Vec<Target> {
    match target {
        Target::All => (0..n).map(|i| Target::One(NodeIndex(i as u16))).collect(),
        one @ Target::One(_) => vec![one],
    }
}

/// How often a double voter says a vote that isn't its core's.
const INSISTS: usize = 3;
/// Bytes of a joint signature.
const JOINT_BYTES: usize = 48;

fn double(n: usize, env: &mut Env, target: Target, message: HoneyBadgerMessage) -> Sent {
    let EpochMessage::Slot(proposer, SlotMessage::Agreement(agreement)) = &message.body else {
        return vec![(target, message)];
    };
    let mut sent = Vec::new();
    for to in each(n, target) {
        let flip = env.rng.random_bool(0.5);
        let lie = match agreement.clone() {
            AgreementMessage::BVal { round, value } => {
                // Both values to everybody is even allowed; the order isn't the same. To insist helps
                // where messages are counted instead of members.
                let other = SlotMessage::Agreement(AgreementMessage::BVal { round, value: !value });
                let other = in_slot(message.epoch, *proposer, other);
                sent.extend(std::iter::repeat_n((to, other), INSISTS));
                AgreementMessage::BVal { round, value }
            }
            AgreementMessage::Aux { round, value } => {
                AgreementMessage::Aux { round, value: value ^ flip }
            }
            AgreementMessage::Conf { round, .. } => {
                let joint = noise(env, JOINT_BYTES);
                let coin = SlotMessage::Agreement(AgreementMessage::Coin { round, joint });
                sent.push((to, in_slot(message.epoch, *proposer, coin)));
                AgreementMessage::Conf { round, values: Values::one(flip) }
            }
            AgreementMessage::Share { round, share } if flip => {
                AgreementMessage::Share { round, share: noise(env, share.len()) }
            }
            AgreementMessage::Term { value, from } => {
                AgreementMessage::Term { value: value ^ flip, from }
            }
            other => other,
        };
        sent.push((to, in_slot(message.epoch, *proposer, SlotMessage::Agreement(lie))));
    }
    sent
}

fn withhold(n: usize, env: &mut Env, target: Target, message: HoneyBadgerMessage) -> Sent {
    each(n, target)
        .into_iter()
        .filter(|_| env.rng.random_bool(0.5))
        .map(|to| (to, message.clone()))
        .collect()
}
