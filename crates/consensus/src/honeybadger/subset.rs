//! Common subset: a broadcast and an agreement for each proposer. Lines ACS-1 to ACS-4 of the
//! protocol text.

use std::collections::BTreeMap;

use quorate_crypto::threshold::{NodeIndex, Threshold};

use super::Seat;
use super::agreement::Agreement;
use super::broadcast::{Broadcast, Delivery};
use super::coin::Coin;
use super::load::Load;
use super::message::{AgreementMessage, BroadcastMessage, SlotMessage};
use super::votes::{Notes, Vote};
use crate::committee::Committee;
use crate::core::Step;
use crate::trace::Trace;

/// When the proposals nobody has heard of are given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// As soon as `n - f` are in (an epoch needs no more).
    AfterQuorum,
    /// Only when the parent says so (a consensus change wants all).
    OnDemand,
}

/// The agreed subset: what each proposer that is in has broadcast.
pub(super) type Included = BTreeMap<NodeIndex, Delivery>;

/// A step of a subset: messages by proposer; the subset, once.
pub(super) type SubsetStep = Step<(NodeIndex, SlotMessage), Included>;

#[derive(Clone)]
struct Slot<K> {
    broadcast: Broadcast,
    agreement: Agreement<K>,
    delivery: Option<Delivery>,
    decided: Option<bool>,
}

/// One member's side of one common subset.
#[derive(Clone)]
pub(super) struct Subset<K> {
    committee: Committee,
    rest: Rest,
    slots: Vec<Slot<K>>,
    given_up: bool,
    done: bool,
}

impl<K: Threshold> Subset<K> {
    /// Opens the subset with what this member remembers, and says it again.
    pub(super) fn open(
        committee: Committee,
        me: NodeIndex,
        rest: Rest,
        notes: &Notes,
        coin: impl Fn(NodeIndex) -> Coin<K>,
        votes: &[Vote],
    ) -> (Self, SubsetStep) {
        let mut this = Self { committee, rest, slots: Vec::new(), given_up: false, done: false };
        let mut step = Step::new();
        let mut outcomes = Vec::new();
        for proposer in committee.members() {
            let seat = Seat { committee, me, proposer, notes: notes.clone() };
            let own: Vec<Vote> =
                votes.iter().filter(|vote| vote.proposer == proposer).cloned().collect();
            let (broadcast, said) = Broadcast::open(seat.clone(), &own);
            let (said, mut delivered) = said.adopt(broadcast_message(proposer));
            step.extend(said);
            let own: Vec<Vote> = own.into_iter().filter(|vote| vote.kind.of_agreement()).collect();
            let (agreement, said) = Agreement::open(seat, coin(proposer), &own);
            let (said, decided) = said.adopt(agreement_message(proposer));
            step.extend(said);
            this.slots.push(Slot { broadcast, agreement, delivery: None, decided: None });
            outcomes.push((proposer, delivered.pop(), decided));
        }
        for (proposer, delivered, decided) in outcomes {
            this.on_decisions(proposer, &decided);
            this.on_deliveries(proposer, delivered, &mut step);
        }
        this.settle(&mut step);
        (this, step)
    }

    /// ACS-1: this member's proposal.
    pub(super) fn propose(&mut self, me: NodeIndex, value: &[u8]) -> SubsetStep {
        let mut step = Step::new();
        let said = self.slots[me.get()].broadcast.propose(value);
        self.on_broadcast(me, said, &mut step);
        self.settle(&mut step);
        step
    }

    /// Whether `member` (this one) has proposed.
    pub(super) fn proposed(&self, member: NodeIndex) -> bool {
        self.slots[member.get()].broadcast.proposed()
    }

    /// A message of another member. A proposer that is not in the committee is ignored.
    pub(super) fn receive(
        &mut self,
        from: NodeIndex,
        proposer: NodeIndex,
        message: SlotMessage,
    ) -> SubsetStep {
        let mut step = Step::new();
        let Some(slot) = self.slots.get_mut(proposer.get()) else { return step };
        match message {
            SlotMessage::Broadcast(message) => {
                let said = slot.broadcast.receive(from, message);
                self.on_broadcast(proposer, said, &mut step);
            }
            SlotMessage::Agreement(message) => {
                let said = slot.agreement.receive(from, message);
                self.on_agreement(proposer, said, &mut step);
            }
        }
        self.settle(&mut step);
        step
    }

    /// ACS-3 on demand: whoever has not been heard of is not waited for any longer.
    pub(super) fn give_up(&mut self) -> SubsetStep {
        let mut step = Step::new();
        self.input_rest(&mut step);
        self.settle(&mut step);
        step
    }

    /// Decisions so far, in committee order.
    pub(super) fn decisions(&self) -> impl Iterator<Item = (NodeIndex, Option<bool>)> {
        self.committee.members().zip(self.slots.iter().map(|slot| slot.decided))
    }

    /// EP-9: no coin share of this member counts.
    pub(super) fn distrust(&mut self, member: NodeIndex) {
        self.slots.iter_mut().for_each(|slot| slot.agreement.distrust(member));
    }

    /// Whether all agreements rest: enough members have decided, nobody can need this one's votes.
    pub(super) fn rests(&self) -> bool {
        self.slots.iter().all(|slot| slot.agreement.halted())
    }

    /// How much its agreements keep, the most of each.
    pub(super) fn load(&self) -> Load {
        self.slots.iter().map(|slot| slot.agreement.load()).fold(Load::default(), Load::max)
    }

    /// What this member said, for `to`.
    pub(super) fn repeat<O>(&self, to: NodeIndex, step: &mut Step<(NodeIndex, SlotMessage), O>) {
        for (proposer, slot) in self.committee.members().zip(&self.slots) {
            let mut said: Step<_, ()> = Step::new();
            slot.broadcast.repeat(to, &mut said);
            step.extend(said.adopt(broadcast_message(proposer)).0);
            let mut said: Step<_, ()> = Step::new();
            slot.agreement.repeat(to, &mut said);
            step.extend(said.adopt(agreement_message(proposer)).0);
        }
    }

    /// Drops the proposals: for a subset that is only kept to serve others.
    pub(super) fn shed(&mut self) {
        for slot in &mut self.slots {
            if slot.delivery.is_some() {
                slot.delivery = Some(Delivery::Invalid);
            }
        }
    }

    fn on_broadcast(
        &mut self,
        proposer: NodeIndex,
        said: Step<BroadcastMessage, Delivery>,
        step: &mut SubsetStep,
    ) {
        let (said, mut delivered) = said.adopt(broadcast_message(proposer));
        step.extend(said);
        self.on_deliveries(proposer, delivered.pop(), step);
    }

    /// ACS-2: what has arrived is voted for.
    fn on_deliveries(
        &mut self,
        proposer: NodeIndex,
        delivery: Option<Delivery>,
        step: &mut SubsetStep,
    ) {
        let Some(delivery) = delivery else { return };
        // A proposal that comes after the end is not in: nobody will read it.
        let kept = if self.done { Delivery::Invalid } else { delivery };
        self.slots[proposer.get()].delivery = Some(kept);
        self.input(proposer, true, "ACS-2", step);
    }

    fn input(
        &mut self,
        proposer: NodeIndex,
        value: bool,
        line: &'static str,
        step: &mut SubsetStep,
    ) {
        let agreement = &mut self.slots[proposer.get()].agreement;
        if agreement.begun() {
            return;
        }
        let text = move || format!("proposer {proposer}: input {}", u8::from(value));
        step.trace(Trace::new(line, text));
        let said = agreement.input(value);
        self.on_agreement(proposer, said, step);
    }

    fn on_agreement(
        &mut self,
        proposer: NodeIndex,
        said: Step<AgreementMessage, bool>,
        step: &mut SubsetStep,
    ) {
        let (said, decided) = said.adopt(agreement_message(proposer));
        step.extend(said);
        self.on_decisions(proposer, &decided);
    }

    fn on_decisions(&mut self, proposer: NodeIndex, decided: &[bool]) {
        if let Some(value) = decided.first() {
            self.slots[proposer.get()].decided = Some(*value);
        }
    }

    /// ACS-3 and ACS-4: gives up the rest when that is due; ends when all is known.
    fn settle(&mut self, step: &mut SubsetStep) {
        let ones = self.slots.iter().filter(|slot| slot.decided == Some(true)).count();
        if self.rest == Rest::AfterQuorum && ones >= self.committee.correct() {
            self.input_rest(step);
        }
        if self.done || !self.slots.iter().all(Slot::settled) {
            return;
        }
        self.done = true;
        let included: Included = self
            .committee
            .members()
            .zip(&self.slots)
            .filter(|(_, slot)| slot.decided == Some(true))
            .filter_map(|(proposer, slot)| Some((proposer, slot.delivery.clone()?)))
            .collect();
        let names: Vec<String> = included.keys().map(ToString::to_string).collect();
        step.trace(Trace::said("ACS-4", format!("subset is {{{}}}", names.join(","))));
        step.output(included);
    }

    fn input_rest(&mut self, step: &mut SubsetStep) {
        if std::mem::replace(&mut self.given_up, true) {
            return;
        }
        for proposer in self.committee.members() {
            self.input(proposer, false, "ACS-3", step);
        }
    }
}

impl<K> Slot<K> {
    /// Decided 0, or decided 1 and here.
    fn settled(&self) -> bool {
        match self.decided {
            Some(true) => self.delivery.is_some(),
            Some(false) => true,
            None => false,
        }
    }
}

fn broadcast_message(proposer: NodeIndex) -> impl Fn(BroadcastMessage) -> (NodeIndex, SlotMessage) {
    move |message| (proposer, SlotMessage::Broadcast(message))
}

fn agreement_message(proposer: NodeIndex) -> impl Fn(AgreementMessage) -> (NodeIndex, SlotMessage) {
    move |message| (proposer, SlotMessage::Agreement(message))
}
