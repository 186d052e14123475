//! One epoch: sealed proposals, their common subset, and the opening of what is in. Lines DEC-1 to
//! DEC-5 of the protocol text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_crypto::threshold::{
    CombineError, Joint, NodeIndex, Purpose, SEAL_OVERHEAD, Share, Threshold,
};
use quorate_ledger::ids::{Epoch, GroupId, ViewNumber};
use quorate_ledger::mutants::{Mutant, mutated};
use rand_chacha::ChaCha20Rng;

use super::broadcast::Delivery;
use super::coin::Coin;
use super::load::Load;
use super::message::EpochMessage;
use super::subset::{Included, Rest, Subset, SubsetStep};
use super::votes::{Kind, Notes, Vote};
use crate::committee::Committee;
use crate::core::{Decision, Step, Target};
use crate::evidence::{Evidence, Fault};
use crate::limits::{MAX_CLEAR, MAX_PROPOSAL};
use crate::trace::Trace;

/// In front of a proposal in clear, of at most [`MAX_CLEAR`] bytes.
const CLEAR: u8 = 0;
/// In front of a sealed proposal.
const SEALED: u8 = 1;

type EpochStep = Step<EpochMessage, Decision>;

/// What all epochs of a view have in common for one member.
#[derive(Clone)]
pub(super) struct Place<K> {
    pub group: GroupId,
    pub view: ViewNumber,
    pub committee: Committee,
    pub me: NodeIndex,
    pub keys: K,
}

impl<K> Place<K> {
    /// Encoding of (group, view, epoch, proposer) in a domain: the name of a coin or the target of
    /// a seal.
    fn name(&self, domain: &str, epoch: Epoch, proposer: NodeIndex) -> Vec<u8> {
        let mut name = domain.as_bytes().to_vec();
        name.extend_from_slice(self.group.0.as_bytes());
        name.extend_from_slice(&self.view.0.to_be_bytes());
        name.extend_from_slice(&epoch.0.to_be_bytes());
        name.extend_from_slice(&proposer.0.to_be_bytes());
        name
    }

    fn target(&self, epoch: Epoch, proposer: NodeIndex) -> Vec<u8> {
        self.name("quorate.proposal.v1", epoch, proposer)
    }
}

/// What is known about opening one proposal.
#[derive(Default)]
struct Door {
    /// The proposal, once it is in the subset and if it is sealed.
    sealed: Option<Arc<[u8]>>,
    shares: BTreeMap<NodeIndex, Share>,
    refused: BTreeSet<NodeIndex>,
    /// Joint signatures forwarded and not verified yet, one for each sender.
    offered: BTreeMap<NodeIndex, Joint>,
    heard: BTreeSet<NodeIndex>,
    joint: Option<Joint>,
    released: bool,
    opened: Option<Vec<u8>>,
}

/// One member's side of one epoch.
pub(super) struct EpochState<K> {
    place: Arc<Place<K>>,
    epoch: Epoch,
    notes: Notes,
    subset: Subset<K>,
    doors: Vec<Door>,
    /// Who is in, once the subset is known.
    included: Option<BTreeSet<NodeIndex>>,
    over: bool,
}

impl<K: Threshold> EpochState<K> {
    /// Opens the epoch with what this member remembers, and says it again.
    pub(super) fn open(
        place: Arc<Place<K>>,
        epoch: Epoch,
        notes: Notes,
        votes: &[Vote],
    ) -> (Self, EpochStep) {
        let coin = |proposer| Coin::Threshold {
            keys: place.keys.clone(),
            name: place.name("quorate.coin.v1", epoch, proposer),
        };
        let (committee, me) = (place.committee, place.me);
        let (subset, said) = Subset::open(committee, me, Rest::AfterQuorum, &notes, coin, votes);
        let doors = committee.members().map(|_| Door::default()).collect();
        let mut this = Self { place, epoch, notes, subset, doors, included: None, over: false };
        let mut step = Step::new();
        for vote in votes.iter().filter(|vote| vote.kind == Kind::Share) {
            this.release_again(vote.proposer, &mut step);
        }
        this.on_subset(said, &mut step);
        (this, step)
    }

    /// DEC-1: seals a batch and proposes it; one too short to hold a trx goes in clear.
    ///
    /// # Panics
    /// If the batch is too large or this member has proposed already: our own mistakes.
    pub(super) fn propose(&mut self, rng: &mut ChaCha20Rng, batch: &[u8]) -> EpochStep {
        let me = self.place.me;
        assert!(
            batch.len() + SEAL_OVERHEAD < MAX_PROPOSAL,
            "a batch of {} bytes does not fit a proposal",
            batch.len()
        );
        let clear = batch.len() <= MAX_CLEAR;
        let value = if clear {
            [&[CLEAR], batch].concat()
        } else {
            let target = self.place.target(self.epoch, me);
            let mut value = vec![SEALED];
            value.append(&mut self.place.keys.seal(rng, &target, &target, batch));
            value
        };
        let mut step = Step::new();
        let how = if clear { "proposes in clear" } else { "seals" };
        let length = batch.len();
        self.trace(&mut step, "DEC-1", move || format!("{how} {length} bytes"));
        let said = self.subset.propose(me, &value);
        self.on_subset(said, &mut step);
        if mutated(Mutant::EarlyShare) && !clear {
            self.release(me, &mut step);
        }
        step
    }

    /// EP-8: whether this member has released a decryption share: then others may know the outcome.
    pub(super) fn released(&self) -> bool {
        self.doors.iter().any(|door| door.released)
    }

    /// How much its agreements keep, the most of each.
    pub(super) fn load(&self) -> Load {
        self.subset.load()
    }

    /// Whether this member has proposed.
    pub(super) fn proposed(&self) -> bool {
        self.subset.proposed(self.place.me)
    }

    /// A message of another member.
    pub(super) fn receive(&mut self, from: NodeIndex, message: EpochMessage) -> EpochStep {
        let mut step = Step::new();
        match message {
            EpochMessage::Slot(proposer, message) => {
                let said = self.subset.receive(from, proposer, message);
                self.on_subset(said, &mut step);
            }
            EpochMessage::Share(proposer, share) => {
                let Some(door) = self.doors.get_mut(proposer.get()) else { return step };
                if door.joint.is_none() && !self.over && !door.refused.contains(&from) {
                    door.shares.entry(from).or_insert(share);
                }
                self.try_door(proposer, &mut step);
            }
            EpochMessage::Key(proposer, joint) => {
                let Some(door) = self.doors.get_mut(proposer.get()) else { return step };
                if door.joint.is_none() && !self.over && door.heard.insert(from) {
                    door.offered.insert(from, joint);
                }
                self.try_door(proposer, &mut step);
            }
            EpochMessage::Again => {}
        }
        self.conclude(&mut step);
        step
    }

    /// What this member said in the epoch, for `to`.
    pub(super) fn repeat<O>(&self, to: NodeIndex, step: &mut Step<EpochMessage, O>) {
        let mut said: Step<_, ()> = Step::new();
        self.subset.repeat(to, &mut said);
        step.extend(said.adopt(|(proposer, message)| EpochMessage::Slot(proposer, message)).0);
        for (proposer, door) in self.place.committee.members().zip(&self.doors) {
            if let (true, Some(share)) = (door.released, door.shares.get(&self.place.me)) {
                step.send(Target::One(to), EpochMessage::Share(proposer, share.clone()));
            }
            if let Some(joint) = &door.joint {
                step.send(Target::One(to), EpochMessage::Key(proposer, joint.clone()));
            }
        }
    }

    /// Whether nobody can need anything of this member that it has not said yet.
    pub(super) fn rests(&self) -> bool {
        self.over && self.subset.rests()
    }

    /// Keeps only what serves others: the epoch is over for this member.
    fn shed(&mut self) {
        self.subset.shed();
        let me = self.place.me;
        for door in &mut self.doors {
            door.sealed = None;
            door.opened = None;
            door.offered.clear();
            door.shares.retain(|member, _| *member == me);
        }
    }

    /// EP-9: a member that sent a wrong share: none of its others counts.
    pub(super) fn distrust(&mut self, member: NodeIndex) {
        self.subset.distrust(member);
        for door in &mut self.doors {
            door.shares.remove(&member);
            door.offered.remove(&member);
        }
    }

    /// Removes the notes of this epoch.
    pub(super) fn forget<O>(&self, step: &mut Step<EpochMessage, O>) {
        step.record(self.notes.forget());
    }

    fn on_subset(&mut self, said: SubsetStep, step: &mut EpochStep) {
        let wrap = |(proposer, message)| EpochMessage::Slot(proposer, message);
        let (said, included) = said.adopt(wrap);
        step.extend(said);
        for included in included {
            self.on_included(included, step);
        }
        self.conclude(step);
    }

    /// DEC-2: the subset is known, so the shares of what is in may be released.
    fn on_included(&mut self, included: Included, step: &mut EpochStep) {
        self.included = Some(included.keys().copied().collect());
        for (proposer, delivery) in included {
            match delivery {
                Delivery::Value(value) => match value.split_first() {
                    Some((&CLEAR, batch)) if batch.len() <= MAX_CLEAR => {
                        self.doors[proposer.get()].opened = Some(batch.to_vec());
                    }
                    Some((&SEALED, _)) => {
                        self.doors[proposer.get()].sealed = Some(value);
                        self.release(proposer, step);
                        self.try_door(proposer, step);
                    }
                    _ => self.blame(proposer, "neither in clear nor sealed", step),
                },
                // The broadcast has accused the proposer.
                Delivery::Invalid => self.doors[proposer.get()].opened = Some(Vec::new()),
            }
        }
    }

    fn release(&mut self, proposer: NodeIndex, step: &mut EpochStep) {
        if self.doors[proposer.get()].released {
            return;
        }
        step.record(self.notes.record(proposer, Kind::Share, 0, &[1]));
        self.release_again(proposer, step);
        self.trace(step, "DEC-2", move || format!("proposer {proposer}: releases its share"));
    }

    fn release_again(&mut self, proposer: NodeIndex, step: &mut EpochStep) {
        let target = self.place.target(self.epoch, proposer);
        let Some(door) = self.doors.get_mut(proposer.get()) else { return };
        door.released = true;
        if let Some(share) = self.place.keys.sign_share(Purpose::Decryption, &target) {
            door.shares.insert(self.place.me, share.clone());
            step.send(Target::All, EpochMessage::Share(proposer, share));
        }
    }

    /// DEC-3, DEC-4: opens a proposal that is in as soon as its key is known.
    fn try_door(&mut self, proposer: NodeIndex, step: &mut EpochStep) {
        let door = &self.doors[proposer.get()];
        let Some(sealed) = door.sealed.clone() else { return };
        if door.opened.is_some() {
            return;
        }
        let target = self.place.target(self.epoch, proposer);
        let key = self.offered_key(proposer, &target, step);
        let Some(key) = key.or_else(|| self.combined_key(proposer, &target, step)) else { return };
        match self.place.keys.open(&target, &target, &sealed[1..], &key) {
            Ok(batch) => {
                let length = batch.len();
                let text = move || format!("proposer {proposer}: opens {length} bytes");
                self.trace(step, "DEC-4", text);
                self.doors[proposer.get()].opened = Some(batch);
            }
            Err(why) => self.blame(proposer, &why.to_string(), step),
        }
        let door = &mut self.doors[proposer.get()];
        door.joint = Some(key);
        door.sealed = None;
        door.offered.clear();
    }

    /// A joint signature somebody forwarded, if it verifies.
    fn offered_key(
        &mut self,
        proposer: NodeIndex,
        target: &[u8],
        step: &mut EpochStep,
    ) -> Option<Joint> {
        let door = &mut self.doors[proposer.get()];
        while let Some((from, joint)) = door.offered.pop_first() {
            if self.place.keys.verify(Purpose::Decryption, target, &joint) {
                return Some(joint);
            }
            step.accuse(Evidence::new(from, Fault::BadShare, "a decryption key"));
        }
        None
    }

    /// The joint signature of the shares at hand: put together first, searched only if wrong.
    fn combined_key(
        &mut self,
        proposer: NodeIndex,
        target: &[u8],
        step: &mut EpochStep,
    ) -> Option<Joint> {
        let needed = self.place.committee.correct();
        let door = &mut self.doors[proposer.get()];
        while door.shares.len() >= needed {
            match self.place.keys.combine(Purpose::Decryption, target, &door.shares) {
                Ok(joint) => {
                    let text = move || format!("proposer {proposer}: the key is known");
                    self.trace(step, "DEC-3", text);
                    return Some(joint);
                }
                Err(CombineError::TooFew { .. }) => return None,
                Err(CombineError::BadShares(wrong)) => {
                    let before = door.shares.len();
                    for member in wrong {
                        door.shares.remove(&member);
                        door.refused.insert(member);
                        let fault = Evidence::new(member, Fault::BadShare, "a decryption share");
                        step.accuse(fault);
                    }
                    if door.shares.len() == before {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn blame(&mut self, proposer: NodeIndex, why: &str, step: &mut EpochStep) {
        step.accuse(Evidence::new(proposer, Fault::BadProposal, why));
        let why = why.to_owned();
        self.trace(step, "DEC-4", move || format!("proposer {proposer}: counts as EMPTY, {why}"));
        self.doors[proposer.get()].opened = Some(Vec::new());
    }

    /// DEC-5: all that is in is open.
    fn conclude(&mut self, step: &mut EpochStep) {
        let Some(included) = &self.included else { return };
        let open = |member: &NodeIndex| self.doors[member.get()].opened.is_some();
        if self.over || !included.iter().all(open) {
            return;
        }
        self.over = true;
        let mut batches = BTreeMap::new();
        for member in included {
            let batch = self.doors[member.get()].opened.take().unwrap_or_default();
            batches.insert(*member, batch);
        }
        let count = batches.len();
        self.trace(step, "DEC-5", move || format!("decides {count} proposals"));
        self.shed();
        step.output(Decision { epoch: self.epoch, batches });
    }

    fn trace(
        &self,
        step: &mut EpochStep,
        line: &'static str,
        text: impl Fn() -> String + Send + Sync + 'static,
    ) {
        let epoch = self.epoch;
        step.trace(Trace::new(line, move || format!("epoch {epoch}: {}", text())));
    }
}
