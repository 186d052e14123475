//! Binary agreement on whether one proposal is in: lines BA-1 to BA-9 of the protocol text.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crypto::threshold::{CombineError, Joint, NodeIndex, Threshold};
use quorate_ledger::mutants::{Mutant, mutated};

use super::Seat;
use super::coin::{Coin, Toss};
use super::load::Load;
use super::message::{AgreementMessage, Values};
use super::tally::Tally;
use super::votes::{Kind, Vote};
use crate::core::{Step, Target};
use crate::evidence::{Evidence, Fault};
use crate::limits::FUTURE_ROUNDS;
use crate::trace::Trace;

#[cfg(test)]
mod model;

type AgreementStep = Step<AgreementMessage, bool>;

/// Marks of a remembered BVAL.
pub(super) const ESTIMATE: u8 = 1;
const RELAY: u8 = 2;

/// One member's side of the agreement on one proposer's proposal.
#[derive(Clone)]
pub(super) struct Agreement<K> {
    seat: Seat,
    coin: Coin<K>,
    /// The round in progress, once begun.
    round: u64,
    begun: bool,
    /// Votes of the round in progress and the next [`FUTURE_ROUNDS`]: bounded, because a sender has
    /// at most one of each in a round.
    tallies: BTreeMap<u64, Tally>,
    /// Who said BVAL of each value in the rounds passed. Others may still be in them, and wait for
    /// this member's relay. As many as the rounds of [`Self::said`].
    passed: BTreeMap<u64, [BTreeSet<NodeIndex>; 2]>,
    /// First TERM of each member: value, first round it counts for.
    terms: BTreeMap<NodeIndex, (bool, u64)>,
    /// All this member said, in order. Rounds are few: with a common coin the agreement ends with
    /// probability 1/2 in each.
    said: Vec<AgreementMessage>,
    /// Coins of the rounds passed.
    joints: BTreeMap<u64, Joint>,
    /// Members behind that have been sent the coin of a round.
    served: BTreeSet<(NodeIndex, u64)>,
    decided: Option<bool>,
    halted: bool,
}

impl<K: Threshold> Agreement<K> {
    /// Opens the agreement with what this member remembers, and says it again. Outputs the decision
    /// if it is remembered.
    pub(super) fn open(seat: Seat, coin: Coin<K>, votes: &[Vote]) -> (Self, AgreementStep) {
        let mut this = Self {
            seat,
            coin,
            round: 0,
            begun: false,
            tallies: BTreeMap::new(),
            passed: BTreeMap::new(),
            terms: BTreeMap::new(),
            said: Vec::new(),
            joints: BTreeMap::new(),
            served: BTreeSet::new(),
            decided: None,
            halted: false,
        };
        let mut step = Step::new();
        if votes.is_empty() {
            return (this, step);
        }
        this.remember(votes);
        for message in &this.said {
            step.send(Target::All, message.clone());
        }
        this.trace(&mut step, "BA-9", || "says again what it said before the restart".into());
        if let Some(value) = this.decided {
            step.output(value);
            this.begin_if_idle(value, &mut step);
        }
        this.progress(&mut step);
        (this, step)
    }

    /// How much it keeps.
    pub(super) fn load(&self) -> Load {
        let (said, coins) = (self.said.len(), self.joints.len());
        Load { tallies: self.tallies.len(), said, coins, served: self.served.len() }
    }

    /// Whether the agreement has had an input (or needs none any more).
    pub(super) const fn begun(&self) -> bool {
        self.begun
    }

    /// Whether this member has nothing left to do: enough others have decided.
    pub(super) const fn halted(&self) -> bool {
        self.halted
    }

    /// BA-1: the input becomes the estimate of round 0. Later inputs are ignored.
    pub(super) fn input(&mut self, value: bool) -> AgreementStep {
        let mut step = Step::new();
        self.begin_if_idle(value, &mut step);
        self.progress(&mut step);
        step
    }

    fn begin_if_idle(&mut self, value: bool, step: &mut AgreementStep) {
        if !self.begun {
            self.begun = true;
            self.begin(0, value, step);
        }
    }

    /// A message of another member.
    pub(super) fn receive(&mut self, from: NodeIndex, message: AgreementMessage) -> AgreementStep {
        let mut step = Step::new();
        if self.halted {
            return step;
        }
        match message {
            AgreementMessage::Term { value, from: first } => {
                self.on_term(from, value, first, &mut step);
            }
            AgreementMessage::BVal { round, .. }
            | AgreementMessage::Aux { round, .. }
            | AgreementMessage::Conf { round, .. }
            | AgreementMessage::Share { round, .. }
            | AgreementMessage::Coin { round, .. } => {
                if round < self.round {
                    if let AgreementMessage::BVal { value, .. } = message {
                        self.bvals(round)[usize::from(value)].insert(from);
                    }
                    self.serve(from, round, &message, &mut step);
                } else if round - self.round <= FUTURE_ROUNDS {
                    let fault = self.tally(round).count(from, message);
                    if let Err(detail) = fault {
                        step.accuse(Evidence::new(from, Fault::Equivocation, detail));
                    }
                }
            }
        }
        self.progress(&mut step);
        step
    }

    /// EP-9: no coin share of this member counts.
    pub(super) fn distrust(&mut self, member: NodeIndex) {
        for tally in self.tallies.values_mut() {
            tally.shares.remove(&member);
            tally.joints.remove(&member);
        }
    }

    /// What this member said, for `to`.
    pub(super) fn repeat<O>(&self, to: NodeIndex, step: &mut Step<AgreementMessage, O>) {
        for message in &self.said {
            step.send(Target::One(to), message.clone());
        }
        for (round, joint) in &self.joints {
            let message = AgreementMessage::Coin { round: *round, joint: joint.clone() };
            step.send(Target::One(to), message);
        }
    }

    /// BA-6: a member that is behind gets the coin of its round, once.
    fn serve(
        &mut self,
        from: NodeIndex,
        round: u64,
        message: &AgreementMessage,
        step: &mut AgreementStep,
    ) {
        let waits =
            matches!(message, AgreementMessage::Conf { .. } | AgreementMessage::Share { .. });
        if let (true, Some(joint)) = (waits, self.joints.get(&round))
            && self.served.insert((from, round))
        {
            step.send(Target::One(from), AgreementMessage::Coin { round, joint: joint.clone() });
        }
    }

    /// BA-8: a sender decides once.
    fn on_term(&mut self, from: NodeIndex, value: bool, first: u64, step: &mut AgreementStep) {
        match self.terms.get(&from) {
            Some(term) if *term != (value, first) => {
                step.accuse(Evidence::new(from, Fault::Equivocation, "two TERM"));
            }
            Some(_) => {}
            None => self.count_term(from, value, first),
        }
    }

    fn count_term(&mut self, from: NodeIndex, value: bool, first: u64) {
        self.terms.insert(from, (value, first));
        for (_, bvals) in self.passed.range_mut(first..) {
            bvals[usize::from(value)].insert(from);
        }
        for (_, tally) in self.tallies.range_mut(first..) {
            tally.count_term(from, value);
        }
    }

    /// The votes of a round, with those that TERM stands for.
    fn tally(&mut self, round: u64) -> &mut Tally {
        let terms = &self.terms;
        self.tallies.entry(round).or_insert_with(|| {
            let mut tally = Tally::default();
            for (member, (value, first)) in terms {
                if *first <= round {
                    tally.count_term(*member, *value);
                }
            }
            tally
        })
    }

    /// The BVAL of a round passed, with those that TERM stands for.
    fn bvals(&mut self, round: u64) -> &mut [BTreeSet<NodeIndex>; 2] {
        let terms = &self.terms;
        self.passed.entry(round).or_insert_with(|| {
            [false, true].map(|value| {
                let agreeing = terms.iter().filter(|(_, term)| term.0 == value && term.1 <= round);
                agreeing.map(|(member, _)| *member).collect()
            })
        })
    }

    /// BA-2 in the rounds passed.
    fn relay_passed(&mut self, step: &mut AgreementStep) {
        let (needed, me) = (self.seat.committee.one_correct(), self.seat.me);
        let unsaid = |(round, bvals): (&u64, &[BTreeSet<NodeIndex>; 2])| {
            let due = |value: &bool| {
                let said = &bvals[usize::from(*value)];
                said.len() >= needed && !said.contains(&me)
            };
            let round = *round;
            [false, true]
                .into_iter()
                .filter(due)
                .map(move |value| (round, value))
                .collect::<Vec<_>>()
        };
        let due: Vec<(u64, bool)> = self.passed.iter().flat_map(unsaid).collect();
        for (round, value) in due {
            self.say_bval(round, value, RELAY, step);
        }
    }

    /// Acts on what has been counted until nothing follows any more.
    fn progress(&mut self, step: &mut AgreementStep) {
        self.relay_passed(step);
        loop {
            self.check_terms(step);
            if self.halted || !self.begun || !self.advance(step) {
                return;
            }
        }
    }

    /// BA-8: decides with `f + 1`, halts with `2f + 1` TERM.
    fn check_terms(&mut self, step: &mut AgreementStep) {
        for value in [false, true] {
            let agreeing = self.terms.values().filter(|(v, _)| *v == value);
            let (count, first) =
                agreeing.fold((0, 0), |(n, max), (_, from)| (n + 1, max.max(*from)));
            if self.decided.is_none() && count >= self.seat.committee.one_correct() {
                self.begin_if_idle(value, step);
                let first = first.max(self.round.saturating_add(1));
                self.decide(value, first, "BA-8", step);
            }
        }
        let Some(value) = self.decided else { return };
        let count = self.terms.values().filter(|(v, _)| *v == value).count();
        if !self.halted && count >= self.seat.committee.certificate() {
            self.halted = true;
            self.tallies.clear();
            self.passed.clear();
            self.trace(step, "BA-8", move || format!("{count} members have decided: rests"));
        }
    }

    /// One transition of the round in progress; whether there was one.
    fn advance(&mut self, step: &mut AgreementStep) -> bool {
        let (committee, me, round) = (self.seat.committee, self.seat.me, self.round);
        let tally = self.tally(round);
        // BA-2: relay what f + 1 say.
        let relayed = tally.unsaid_bval(me, committee.one_correct());
        if let Some(value) = relayed {
            self.say_bval(round, value, RELAY, step);
            return true;
        }
        // BA-3: accept what 2f + 1 say; the first accepted value goes into AUX.
        if let Some(value) = tally.accept(committee.certificate()) {
            self.trace(step, "BA-3", move || format!("round {round}: accepts {}", u8::from(value)));
            return true;
        }
        let Some(first) = tally.first_accepted() else { return false };
        if !tally.aux.contains_key(&me) {
            self.say(AgreementMessage::Aux { round, value: first }, step);
            self.trace(step, "BA-3", move || format!("round {round}: AUX {}", u8::from(first)));
            return true;
        }
        // BA-4: n - f AUX of accepted values make CONF.
        if !tally.conf.contains_key(&me) {
            let Some(values) = tally.seen(committee.correct()) else { return false };
            self.say(AgreementMessage::Conf { round, values }, step);
            self.trace(step, "BA-4", move || format!("round {round}: CONF {values}"));
            return true;
        }
        // BA-5: n - f CONF within the accepted values.
        if tally.confirmed.is_none() {
            tally.confirmed = if mutated(Mutant::NoConfRound) {
                tally.seen(committee.correct())
            } else {
                tally.confirmation(committee.correct())
            };
            let Some(values) = tally.confirmed else { return false };
            self.trace(step, "BA-5", move || format!("round {round}: confirmed {values}"));
            return true;
        }
        let Some(values) = tally.confirmed else { return false };
        match self.toss(step) {
            Some(coin) => {
                self.finish_round(values, coin, step);
                true
            }
            None => false,
        }
    }

    /// BA-7: decides, or goes on with a new estimate.
    fn finish_round(&mut self, values: Values, coin: bool, step: &mut AgreementStep) {
        let round = self.round;
        let next = round.checked_add(1).expect("nobody lives to see 2^64 rounds");
        let estimate = values.single().unwrap_or(coin);
        if values.single() == Some(coin) && self.decided.is_none() {
            self.decide(coin, next, "BA-7", step);
        }
        self.begin(next, self.decided.unwrap_or(estimate), step);
    }

    fn decide(&mut self, value: bool, first: u64, line: &'static str, step: &mut AgreementStep) {
        self.decided = Some(value);
        let round = self.round;
        self.trace(step, line, move || format!("round {round}: decides {}", u8::from(value)));
        self.say(AgreementMessage::Term { value, from: first }, step);
        step.output(value);
    }

    /// BA-1, BA-7: the estimate is the first BVAL of a round.
    fn begin(&mut self, round: u64, estimate: bool, step: &mut AgreementStep) {
        self.round = round;
        let later = self.tallies.split_off(&round);
        let over = std::mem::replace(&mut self.tallies, later);
        self.passed.extend(over.into_iter().map(|(round, tally)| (round, tally.bval)));
        let me = self.seat.me;
        // An own TERM counts as the BVAL.
        if self.tally(round).bval[usize::from(estimate)].contains(&me) {
            return;
        }
        self.say_bval(round, estimate, ESTIMATE, step);
    }

    fn say_bval(&mut self, round: u64, value: bool, mark: u8, step: &mut AgreementStep) {
        let line = if mark == ESTIMATE { "BA-1" } else { "BA-2" };
        let kind = if value { Kind::BValTrue } else { Kind::BValFalse };
        step.record(self.seat.note(kind, round, &[mark]));
        self.spread(AgreementMessage::BVal { round, value }, step);
        self.trace(step, line, move || format!("round {round}: BVAL {}", u8::from(value)));
    }

    /// Makes a statement durable and says it to all, this member included.
    fn say(&mut self, message: AgreementMessage, step: &mut AgreementStep) {
        let note = match &message {
            AgreementMessage::Aux { round, value } => (Kind::Aux, *round, u8::from(*value)),
            AgreementMessage::Conf { round, values } => (Kind::Conf, *round, values.bits()),
            AgreementMessage::Term { value, from } => (Kind::Term, *from, u8::from(*value)),
            AgreementMessage::Share { round, .. } => (Kind::CoinShare, *round, 1),
            AgreementMessage::BVal { .. } | AgreementMessage::Coin { .. } => {
                unreachable!("BVAL has its own mark, a coin is nobody's statement")
            }
        };
        step.record(self.seat.note(note.0, note.1, &[note.2]));
        self.spread(message, step);
    }

    fn spread(&mut self, message: AgreementMessage, step: &mut AgreementStep) {
        step.send(Target::All, message.clone());
        self.said.push(message.clone());
        self.count_own(message);
    }

    fn count_own(&mut self, message: AgreementMessage) {
        let me = self.seat.me;
        match message {
            AgreementMessage::Term { value, from } => self.count_term(me, value, from),
            AgreementMessage::BVal { round, value } if round < self.round => {
                self.bvals(round)[usize::from(value)].insert(me);
            }
            AgreementMessage::BVal { round, .. }
            | AgreementMessage::Aux { round, .. }
            | AgreementMessage::Conf { round, .. }
            | AgreementMessage::Share { round, .. }
            | AgreementMessage::Coin { round, .. } => {
                self.tally(round).count(me, message).expect("a member does not contradict itself");
            }
        }
    }

    /// BA-6: the coin of the round in progress, releasing the own share first. Called only when
    /// `n - f` CONF are in and the own one is said: before that the coin must stay unknown.
    fn toss(&mut self, step: &mut AgreementStep) -> Option<bool> {
        let round = self.round;
        if mutated(Mutant::LocalCoin) && round > 0 {
            return Some(self.seat.me.0.is_multiple_of(2));
        }
        if let Toss::Known(coin) = self.coin.toss(round) {
            return Some(coin);
        }
        if !self.tally(round).released {
            self.tally(round).released = true;
            if let Some(share) = self.coin.share(round) {
                self.say(AgreementMessage::Share { round, share }, step);
                self.trace(step, "BA-6", move || format!("round {round}: releases its coin share"));
            }
        }
        if !self.joints.contains_key(&round) {
            let joint = self.offered_coin(step).or_else(|| self.combined_coin(step))?;
            let coin = u8::from(Coin::<K>::value(&joint));
            self.joints.insert(round, joint);
            self.trace(step, "BA-6", move || format!("round {round}: the coin is {coin}"));
        }
        self.joints.get(&round).map(Coin::<K>::value)
    }

    /// A joint signature somebody forwarded, if it verifies.
    fn offered_coin(&mut self, step: &mut AgreementStep) -> Option<Joint> {
        let round = self.round;
        while let Some((from, joint)) = self.tally(round).joints.pop_first() {
            if self.coin.verify(round, &joint) {
                return Some(joint);
            }
            step.accuse(Evidence::new(from, Fault::BadShare, "the coin does not verify"));
        }
        None
    }

    /// The joint signature of the shares at hand: put together first, searched only if wrong.
    fn combined_coin(&mut self, step: &mut AgreementStep) -> Option<Joint> {
        let (round, needed) = (self.round, self.seat.committee.correct());
        while self.tally(round).shares.len() >= needed {
            let shares = std::mem::take(&mut self.tally(round).shares);
            let result = self.coin.combine(round, &shares);
            self.tally(round).shares = shares;
            match result {
                Ok(joint) => return Some(joint),
                Err(CombineError::TooFew { .. }) => return None,
                Err(CombineError::BadShares(wrong)) => {
                    let before = self.tally(round).shares.len();
                    for member in wrong {
                        self.tally(round).refuse_share(member);
                        step.accuse(Evidence::new(member, Fault::BadShare, "a coin share"));
                    }
                    if self.tally(round).shares.len() == before {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn remember(&mut self, votes: &[Vote]) {
        let mut messages = Vec::new();
        for Vote { kind, round, payload, .. } in votes {
            let round = *round;
            let byte = *payload.first().unwrap_or_else(|| panic!("an own {kind:?} is empty"));
            let message = match kind {
                Kind::BValFalse | Kind::BValTrue => {
                    if byte == ESTIMATE {
                        self.begun = true;
                        self.round = self.round.max(round);
                    }
                    AgreementMessage::BVal { round, value: *kind == Kind::BValTrue }
                }
                Kind::Aux => AgreementMessage::Aux { round, value: byte == 1 },
                Kind::Conf => {
                    let values = Values::from_bits(byte).expect("an own CONF can be read");
                    AgreementMessage::Conf { round, values }
                }
                Kind::Term => {
                    self.decided = Some(byte == 1);
                    AgreementMessage::Term { value: byte == 1, from: round }
                }
                Kind::CoinShare => match self.coin.share(round) {
                    Some(share) => AgreementMessage::Share { round, share },
                    None => continue,
                },
                Kind::Proposal | Kind::Echo | Kind::Ready | Kind::Share => continue,
            };
            messages.push(message);
        }
        self.said.clone_from(&messages);
        for message in messages {
            let old = matches!(message,
                AgreementMessage::Aux { round, .. }
                | AgreementMessage::Conf { round, .. }
                | AgreementMessage::Share { round, .. } if round < self.round);
            if let AgreementMessage::Share { round, .. } = message
                && !old
            {
                self.tally(round).released = true;
            }
            if !old {
                self.count_own(message);
            }
        }
    }

    fn trace<O>(
        &self,
        step: &mut Step<AgreementMessage, O>,
        line: &'static str,
        text: impl Fn() -> String + Send + Sync + 'static,
    ) {
        let proposer = self.seat.proposer;
        step.trace(Trace::new(line, move || format!("proposer {proposer}: {}", text())));
    }
}
