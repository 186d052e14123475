//! HoneyBadgerBFT: epochs of agreement without a leader and without time.
//!
//! # Roles
//! `n` members of a view's committee, of which at most `f = (n - 1) / 3` do anything they like; the
//! rest are correct, though they may crash and come back with what their journal kept. Links may
//! delay and reorder; what they lose is asked for again ([`Event::Resend`]). Messages are
//! authenticated outside ([`crate::core::Verified`]).
//!
//! An *epoch* orders one set of batches. Each member proposes one batch, sealed so that nobody can
//! read it before it is ordered; `n` *reliable broadcasts* (RBC) spread the proposals; `n` *binary
//! agreements* (BA) decide which are in: together the *common subset* (ACS). Then the members open
//! what is in (DEC). The rhythm of epochs is EP.
//!
//! # Messages and what they mean
//! | message | meaning when a correct member says it |
//! |---|---|
//! | INIT(root, path, shard) | the proposer's: your shard of my proposal; I have only this one proposal |
//! | ECHO(root, path, shard) | this is the shard I was given; I was given no other |
//! | READY(root) | everybody can put the proposal together, or somebody correct says so; I back no other |
//! | BVAL(r, v) | v is my estimate in round r, or `f + 1` members say it is theirs |
//! | AUX(r, v) | v is the first value I accepted in round r |
//! | CONF(r, V) | V is what I saw in `n - f` AUX of round r |
//! | SHARE(r, s) | my part of the coin of round r: I have said my CONF and seen `n - f` |
//! | COIN(r, j) | the joint signature that is the coin of round r (proves itself) |
//! | TERM(v, r) | I have decided v; from round r on this is my BVAL, AUX and CONF of v |
//! | share(p, s) | p's proposal is in: my part of the key that opens it |
//! | key(p, j) | the key that opens p's proposal (proves itself) |
//! | AGAIN | I am past this epoch but missed some of what you said in it: say it again |
//!
//! # Thresholds and why
//! | count | used for | because |
//! |---|---|---|
//! | `f + 1` | relay BVAL, amplify READY, believe TERM | one of them is correct |
//! | `2f + 1` | accept a BVAL, deliver on READY, rest on TERM | `f + 1` of them are correct, so what they said reaches everybody |
//! | `n - f` | ECHO before READY, AUX, CONF, end of waiting in ACS | as many as one may wait for; two such sets share a correct member |
//! | `n - 2f` | data shards, ECHO needed to put a proposal together | the correct ones among `n - f` |
//! | `n - f` | shares of a coin or key | the committee's joint key is made so ([`quorate_crypto::threshold`]) |
//!
//! # Timers
//! None inside. The replica decides when to propose; an epoch that has begun goes on until it ends.
//! The clock is read only to answer one member's AGAIN not more often than every
//! [`REPEAT_INTERVAL_MS`] milliseconds.
//!
//! # The rules
//! Every own statement is a note of the journal in the step that sends it, so a restarted member
//! says the same again and nothing that contradicts it.
//!
//! Reliable broadcast of proposer p (`broadcast.rs`):
//! * **RBC-1** p cuts its proposal into `n` shards of which `n - 2f` suffice, and sends each member
//!   INIT with its shard and the Merkle path of it.
//! * **RBC-2** On p's first INIT whose path fits the receiver's own position: ECHO to all. A second,
//!   different INIT is evidence.
//! * **RBC-3** An ECHO counts if its path fits its sender's position; one for each sender.
//! * **RBC-4** On `n - f` ECHO of one root: READY to all, once.
//! * **RBC-5** On `f + 1` READY of one root: READY to all, once. One READY counts for each sender.
//! * **RBC-6** On `2f + 1` READY and `n - 2f` ECHO of one root: put the proposal together, encode it
//!   again, compute the root. If it is the root, deliver the proposal; if not, no `n - 2f` shards
//!   under this root give it, so every correct member delivers "nothing valid" and accuses p.
//! * **RBC-7** After a restart, or when asked: INIT, ECHO and READY as said before.
//!
//! Binary agreement on p's proposal (`agreement.rs`), round r, accepted values A (at first empty):
//! * **BA-1** An input begins round 0 as estimate: BVAL(0, input). A round's first own BVAL is
//!   always the estimate; votes of later rounds wait until the round begins.
//! * **BA-2** On `f + 1` BVAL(r, v): BVAL(r, v), if not said yet; also of a round r that is passed:
//!   with `f` silent traitors, a member still in r needs the relay of every correct one.
//! * **BA-3** On `2f + 1` BVAL(r, v): v enters A. When A gets its first value v: AUX(r, v).
//! * **BA-4** On `n - f` AUX of values in A: CONF(r, the set of these values).
//! * **BA-5** On `n - f` CONF within A, own CONF said: the union V of these sets is *confirmed*.
//! * **BA-6** Only now is the coin of the round tossed: round 0 is 1, round 1 is 0, later ones are
//!   the lowest bit of the hash of a joint signature over (group, view, epoch, p, r). Shares are
//!   put together as they are and the result verified once; only if it is wrong are the wrong
//!   shares searched. A member seen in a round already passed is sent its COIN.
//! * **BA-7** If V = {v}: decide v if it is the coin; v is the estimate of round r + 1. Else the
//!   coin is.
//! * **BA-8** Having decided v: TERM(v, r'), r' > r. `f + 1` TERM(v) decide v, too, with r' the
//!   largest of theirs and at least r + 1; a member that had no input begins with v. From r' on the
//!   TERM stands for its sender's BVAL, AUX and CONF; coin shares are still released. On `2f + 1`
//!   TERM(v): rest.
//! * **BA-9** After a restart, or when asked: all as said before. The round goes on from the last
//!   estimate that was said.
//!
//! Common subset (`subset.rs`):
//! * **ACS-1** A member's proposal is broadcast by RBC-1. An agreement needs no own proposal.
//! * **ACS-2** On delivery of p's broadcast: input 1 to p's agreement.
//! * **ACS-3** When `n - f` agreements have decided 1: input 0 to all without an input.
//! * **ACS-4** When all agreements have decided and all proposals with a 1 are delivered: these are
//!   the subset.
//!
//! Opening (`epoch.rs`):
//! * **DEC-1** A batch is sealed to the target (group, view, epoch, proposer); one of at most
//!   [`MAX_CLEAR`](crate::limits::MAX_CLEAR) bytes (EMPTY and the proposer's time) goes in clear.
//! * **DEC-2** When the subset is known, and only for what is in it: release the decryption share.
//! * **DEC-3** With `n - f` shares: the key, put together as in BA-6. A key of somebody else is
//!   taken if it verifies.
//! * **DEC-4** A proposal that is no proposal, or that its key does not open, counts as EMPTY for
//!   everybody, and its proposer is accused.
//! * **DEC-5** When all that is in is open: the decision.
//!
//! Rhythm (this file):
//! * **EP-1** A member takes part in the epoch in progress whether it has proposed or not. It is
//!   *hungry* when `f + 1` others have said anything in it.
//! * **EP-2** Messages of the next [`FUTURE_EPOCHS`] epochs are kept in bounded space. They are
//!   worked off in the step after the one that decides (or at once, if the epoch has begun), so
//!   that no vote of an epoch is recorded before the decision of the epoch before.
//! * **EP-3** A decision begins the next epoch. The last [`PAST_EPOCHS`] stay to serve members
//!   that are behind; notes of older ones are removed.
//! * **EP-4** On [`Event::Resend`]: everything said in the kept epochs from the one asked for. If
//!   such an epoch is past for this member but has votes outstanding, it says AGAIN back: the
//!   asker's votes may have been lost here, and its coin may depend on this member's answer.
//! * **EP-5** On AGAIN: everything said in that epoch.
//! * **EP-6** On [`Event::Advance`]: the epoch named becomes the one in progress.
//! * **EP-7** After a restart the epoch in progress is the one the replica names: the first whose
//!   decision it has not made durable. This member may have voted in later ones; it remembers those
//!   votes until it gets there, and decides again what the replica had not kept. It never goes
//!   back to an epoch whose notes are removed (EP-3).
//!
//! * **EP-8** A member *may stop* for good while it has released no decryption share of the epoch in
//!   progress and remembers no vote of a later one. Where `n - f = n` (f = 0) no trx of that epoch
//!   or a later one can then be opened by anybody without this member.
//! * **EP-9** A member that sent a wrong share, or forwarded a wrong coin or key, is *distrusted*
//!   until this member restarts: no share, coin or key of its counts any more. To find a wrong share
//!   costs as much as dozens of good ones; each liar makes it necessary once. `n - f` others remain.
//!
//! Agreement over the proofs of a consensus change (`proofs.rs`):
//! * **PRF-1** Every participant broadcasts its proof by RBC-1; ACS-2 applies.
//! * **PRF-2** When the replica says so (the agreement tick is over): input 0 to all agreements
//!   without an input. ACS-3 does not apply, since all proofs are needed.
//! * **PRF-3** All agreements decided 1 and all proofs delivered: ALL.
//! * **PRF-4** All agreements decided and some 0 (or a delivery was "nothing valid"): MISSING.
//!
//! # Deviations from the papers
//! "HB" is Miller et al., *The Honey Badger of BFT Protocols* (CCS 2016); "MMR" Mostefaoui, Moumen,
//! Raynal, *Signature-free asynchronous Byzantine consensus* (PODC 2014).
//! 1. MMR's agreement has a liveness fault: an adversary that sees the coin can keep estimates
//!    apart. The CONF round (BA-4, BA-5) before the coin removes it, as in the `hbbft` library.
//! 2. Coins of rounds 0 and 1 are fixed, so the usual agreement (all estimate 1, or then all 0)
//!    ends without cryptography. Safety never depends on the coin being secret; from round 2 on it
//!    is.
//! 3. TERM is as in `hbbft` but carries the first round it stands for. Without it a member that
//!    decides early by BA-8 would vote in rounds in which others may still estimate the other
//!    value, and stand in the way of an `n - f` quorum there.
//! 4. The recovery threshold of coins and keys is `n - f`, not `f + 1`: key generation may reveal
//!    `f` shares. So members that have decided go on releasing coin shares (BA-8).
//! 5. HB recomputes the root before READY; here it is done once, at delivery (RBC-6). Both give
//!    every correct member the same result, since the encoding is canonical and READY quorums name
//!    one root.
//! 6. HB's batch is a random choice inside the protocol; here the replica chooses. EMPTY is not
//!    sealed (DEC-1): a sealed nothing would be recognised by its length anyway, and idle epochs
//!    cost no threshold cryptography.
//! 7. Crash and recovery are not in the papers: notes, RBC-7, BA-9, EP-4, EP-5, EP-7.
//! 8. Proofs use a coin that everybody can compute ([`ProofAgreement`]): common, so safe, but an
//!    adversary that also rules the network could delay that agreement. Local coins would be unsafe
//!    in BA-7.

mod agreement;
mod broadcast;
mod codec;
mod coin;
mod epoch;
mod future;
mod load;
pub mod message;
mod proofs;
pub mod shards;
mod subset;
mod tally;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_ledger::ids::Epoch;

pub use self::message::{HoneyBadgerMessage, ProofMessage};
pub use self::proofs::{ProofAgreement, ProofOutcome};

use self::epoch::{EpochState, Place};
use self::future::Future;
use self::load::Load;
use self::message::{AgreementMessage, EpochMessage, SlotMessage};
use self::votes::{Kind, Notes, Reading, Vote, remove};
use crate::committee::Committee;
use crate::core::{Appetite, Core, Decision, Env, Event, Record, Setup, Step, Time, Topic};
use crate::evidence::{Evidence, Fault};
use crate::footprint::Footprint;
use crate::limits::{FUTURE_EPOCHS, PAST_EPOCHS, REPEAT_INTERVAL_MS};
use crate::trace::Trace;

type OwnStep = Step<HoneyBadgerMessage>;

/// Where one broadcast and agreement stand.
#[derive(Clone)]
struct Seat {
    committee: Committee,
    me: NodeIndex,
    proposer: NodeIndex,
    notes: Notes,
}

impl Seat {
    /// The record of an own statement about this proposer.
    fn note(&self, kind: Kind, round: u64, payload: &[u8]) -> Record {
        self.notes.record(self.proposer, kind, round, payload)
    }
}

/// Bytes of an epoch in front of the keys of its notes.
const EPOCH_BYTES: usize = 8;

/// The ordering core of `poa` groups: one member's side of one view. The protocol is described in
/// the text of this module.
pub struct HoneyBadger<G: KeyGeneration> {
    place: Arc<Place<G::Keys>>,
    /// The epoch in progress.
    epoch: Epoch,
    /// The epoch in progress and up to [`PAST_EPOCHS`] before it.
    epochs: BTreeMap<Epoch, EpochState<G::Keys>>,
    future: Future,
    /// EP-7: own votes in epochs that are not in progress yet.
    remembered: BTreeMap<Epoch, Vec<Vote>>,
    /// Other members that have said anything in the epoch in progress.
    heard: BTreeSet<NodeIndex>,
    /// EP-9: members that sent something wrong under the threshold keys.
    distrusted: BTreeSet<NodeIndex>,
    /// When an AGAIN of each member was last answered.
    answered: BTreeMap<NodeIndex, Time>,
    generation: PhantomData<fn() -> G>,
}

impl<G: KeyGeneration> std::fmt::Debug for HoneyBadger<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoneyBadger")
            .field("me", &self.place.me)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl<G> HoneyBadger<G>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    fn notes(&self, epoch: Epoch) -> Notes {
        notes(epoch, self.place.view.0)
    }

    /// Opens an epoch with what this member remembers of it.
    fn begin(&mut self, epoch: Epoch, votes: &[Vote], step: &mut OwnStep) {
        let notes = self.notes(epoch);
        let (state, said) = EpochState::open(Arc::clone(&self.place), epoch, notes, votes);
        self.epochs.insert(epoch, state);
        self.absorb(epoch, said, step);
    }

    /// Takes a child's step over. A decision of the epoch in progress begins the next one. There is
    /// at most one in a step, at its end, unless votes remembered from before a restart decide the
    /// next one at once (EP-7).
    fn absorb(&mut self, epoch: Epoch, said: Step<EpochMessage, Decision>, step: &mut OwnStep) {
        let (said, decisions) = said.adopt(|body| HoneyBadgerMessage { epoch, body });
        self.distrust(said.evidence());
        step.extend(said);
        for decision in decisions {
            // A past epoch may be gone through again after a restart; it is known already.
            if decision.epoch == self.epoch {
                step.output(decision);
                self.enter(epoch.next(), step);
            }
        }
    }

    /// EP-9: forgets all shares of those who sent a wrong one.
    fn distrust(&mut self, evidence: &[Evidence]) {
        for liar in evidence.iter().filter(|evidence| evidence.fault == Fault::BadShare) {
            if self.distrusted.insert(liar.member) {
                self.epochs.values_mut().for_each(|state| state.distrust(liar.member));
            }
        }
    }

    /// EP-9: whether a message may count.
    fn credible(&self, from: NodeIndex, message: &EpochMessage) -> bool {
        let keyed = matches!(
            message,
            EpochMessage::Share(..)
                | EpochMessage::Key(..)
                | EpochMessage::Slot(
                    _,
                    SlotMessage::Agreement(
                        AgreementMessage::Share { .. } | AgreementMessage::Coin { .. }
                    )
                )
        );
        !(keyed && self.distrusted.contains(&from))
    }

    /// EP-3, EP-6: `epoch` is in progress from now on.
    fn enter(&mut self, epoch: Epoch, step: &mut OwnStep) {
        self.epoch = epoch;
        let oldest = Epoch(epoch.0.saturating_sub(PAST_EPOCHS));
        let kept = self.epochs.split_off(&oldest);
        for (old, state) in std::mem::replace(&mut self.epochs, kept) {
            let mut gone = Step::new();
            state.forget::<()>(&mut gone);
            step.extend(gone.adopt(|body| HoneyBadgerMessage { epoch: old, body }).0);
        }
        self.future.skip_to(epoch);
        self.heard = self.future.senders(epoch).collect();
        let later = self.remembered.split_off(&epoch);
        for passed in std::mem::replace(&mut self.remembered, later).into_keys() {
            step.record(self.notes(passed).forget());
        }
        let votes = self.remembered.remove(&epoch).unwrap_or_default();
        step.trace(Trace::new("EP-3", move || format!("epoch {epoch} begins")));
        self.begin(epoch, &votes, step);
    }

    /// EP-2: works off what was kept for the epoch in progress.
    fn catch_up(&mut self, step: &mut OwnStep) {
        let epoch = self.epoch;
        for (from, message) in self.future.take(epoch) {
            if !self.credible(from, &message) {
                continue;
            }
            let Some(state) = self.epochs.get_mut(&epoch) else { return };
            let said = state.receive(from, message);
            self.absorb(epoch, said, step);
        }
    }

    fn propose(&mut self, env: &mut Env, batch: &[u8], step: &mut OwnStep) {
        let epoch = self.epoch;
        let Some(state) = self.epochs.get_mut(&epoch) else { return };
        if state.proposed() {
            step.trace(Trace::new("EP-1", move || format!("epoch {epoch}: has proposed already")));
            return;
        }
        let said = state.propose(&mut env.rng, batch);
        self.absorb(epoch, said, step);
    }

    fn receive(
        &mut self,
        env: &Env,
        from: NodeIndex,
        message: HoneyBadgerMessage,
        step: &mut OwnStep,
    ) {
        let HoneyBadgerMessage { epoch, body } = message;
        let outside = from == self.place.me || !self.place.committee.contains(from);
        if outside || !self.credible(from, &body) {
            return;
        }
        if body == EpochMessage::Again {
            self.answer(env, from, epoch, step);
        } else if epoch > self.epoch {
            let near = epoch.0 - self.epoch.0 <= FUTURE_EPOCHS;
            if !near || !self.future.keep(epoch, from, body) {
                let text = move || format!("drops a message of member {from} for epoch {epoch}");
                step.trace(Trace::new("EP-2", text));
            }
        } else if let Some(state) = self.epochs.get_mut(&epoch) {
            if epoch == self.epoch {
                self.heard.insert(from);
            }
            let said = state.receive(from, body);
            self.absorb(epoch, said, step);
        }
    }

    /// EP-5: says an epoch again to a member that missed some of it.
    fn answer(&mut self, env: &Env, to: NodeIndex, epoch: Epoch, step: &mut OwnStep) {
        let Some(state) = self.epochs.get(&epoch) else { return };
        let due =
            self.answered.get(&to).is_none_or(|last| env.now >= last.after(REPEAT_INTERVAL_MS));
        if due {
            self.answered.insert(to, env.now);
            repeat(state, epoch, to, step);
            step.trace(Trace::new("EP-5", move || {
                format!("epoch {epoch}: says all again to {to}")
            }));
        }
    }

    /// EP-4: says the kept epochs again to a member that asks.
    fn resend(&self, to: NodeIndex, from: Epoch, step: &mut OwnStep) {
        if to == self.place.me || !self.place.committee.contains(to) {
            return;
        }
        for (epoch, state) in self.epochs.range(from..) {
            repeat(state, *epoch, to, step);
            let said = *epoch;
            step.trace(Trace::new("EP-4", move || format!("epoch {said}: says all again to {to}")));
            if *epoch < self.epoch && !state.rests() {
                let again = HoneyBadgerMessage { epoch: *epoch, body: EpochMessage::Again };
                step.send(crate::core::Target::One(to), again);
            }
        }
    }
}

fn repeat<K: Threshold>(state: &EpochState<K>, epoch: Epoch, to: NodeIndex, step: &mut OwnStep) {
    let mut said: Step<_, ()> = Step::new();
    state.repeat(to, &mut said);
    step.extend(said.adopt(|body| HoneyBadgerMessage { epoch, body }).0);
}

fn notes(epoch: Epoch, view: u64) -> Notes {
    Notes::new(Topic::Vote, &epoch.0.to_be_bytes(), view.to_be_bytes())
}

impl<G> Core for HoneyBadger<G>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    type Message = HoneyBadgerMessage;
    type Generation = G;

    /// EP-7. Votes of other views and of epochs out of the window are removed.
    ///
    /// # Panics
    /// If the view has no producers, `me` is not one of them, or an own note cannot be read: our
    /// own mistakes.
    fn open(_env: &mut Env, setup: Setup<G::Keys>) -> (Self, OwnStep) {
        let Setup { view, me, keys, epoch, votes } = setup;
        let committee = Committee::new(view.producers.len());
        assert!(committee.contains(me), "a member is one of its committee");
        let place = Place { group: view.group, view: view.number, committee, me, keys };
        let mut step = Step::new();
        let mut remembered: BTreeMap<Epoch, Vec<Vote>> = BTreeMap::new();
        for (key, bytes) in &votes {
            let Some(first) = key.first_chunk::<EPOCH_BYTES>() else { continue };
            let of = Epoch(u64::from_be_bytes(*first));
            match notes(of, view.number.0).read(key, bytes) {
                Reading::Vote(vote) => remembered.entry(of).or_default().push(vote),
                Reading::Stale => {
                    step.record(remove(Topic::Vote, key));
                }
                Reading::Foreign => {}
            }
        }
        let voted = remembered.keys().next_back().map_or(0, |voted| voted.0);
        let epoch = epoch.max(Epoch(voted.saturating_sub(PAST_EPOCHS)));
        let oldest = Epoch(epoch.0.saturating_sub(PAST_EPOCHS));
        let mut this = Self {
            place: Arc::new(place),
            epoch,
            epochs: BTreeMap::new(),
            future: Future::default(),
            remembered: remembered.split_off(&epoch),
            heard: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            answered: BTreeMap::new(),
            generation: PhantomData,
        };
        let current = this.remembered.remove(&epoch).unwrap_or_default();
        for (past, votes) in remembered {
            if past < oldest {
                step.record(this.notes(past).forget());
            } else {
                this.begin(past, &votes, &mut step);
            }
        }
        step.trace(Trace::new("EP-7", move || format!("opens in epoch {epoch}")));
        this.begin(epoch, &current, &mut step);
        (this, step)
    }

    fn step(&mut self, env: &mut Env, event: Event<HoneyBadgerMessage>) -> OwnStep {
        let mut step = Step::new();
        let before = self.epoch;
        match event {
            Event::Propose(batch) => self.propose(env, &batch, &mut step),
            Event::Receive(from, message) => {
                self.receive(env, from, message.into_inner(), &mut step);
            }
            Event::Wake => {}
            Event::Resend { to, from } => self.resend(to, from, &mut step),
            Event::Advance(epoch) if epoch > self.epoch => {
                step.trace(Trace::new("EP-6", move || format!("epochs before {epoch} are over")));
                self.enter(epoch, &mut step);
            }
            Event::Advance(_) => {}
        }
        if self.epoch == before {
            self.catch_up(&mut step);
        }
        if self.future.senders(self.epoch).next().is_some() {
            step.wake_at(env.now);
        }
        step
    }

    fn appetite(&self) -> Appetite {
        if self.epochs.get(&self.epoch).is_some_and(EpochState::proposed) {
            Appetite::Full
        } else if self.heard.len() >= self.place.committee.one_correct() {
            Appetite::Hungry
        } else {
            Appetite::Ready
        }
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn footprint(&self, into: &mut Footprint) {
        let members = self.place.committee.size();
        into.add("epochs", self.epochs.len(), PAST_EPOCHS as usize + 1);
        into.add("remembered_epochs", self.remembered.len(), PAST_EPOCHS as usize);
        into.add("answered_members", self.answered.len(), members);
        into.add("distrusted_members", self.distrusted.len(), members);
        self.future.footprint(into);
        let load = self.epochs.values().map(EpochState::load).fold(Load::default(), Load::max);
        load.footprint(members, into);
    }

    fn may_stop(&self) -> bool {
        let current = self.epochs.get(&self.epoch);
        self.remembered.is_empty() && current.is_none_or(|state| !state.released())
    }
}

#[cfg(test)]
mod tests;
