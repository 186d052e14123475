//! Consensus change: the owner's and the participants' side, one state machine without I/O.
//!
//! *Participants* of a change are the producers its request lists, in that order, and the owner,
//! last, if it is not among them. `n` is their number, `f = (n - 1) / 3`. The text for people, with
//! the reasons, is `docs/protocol/consensus-change.md`. Evidence names a participant by its place
//! in that list, which is not its place in the view in force; the detail names its key.
//!
//! * CHG-1: The owner takes the next nonce of its sequence, signs the request, promises a trx
//!   id, records all three, and sends REQUEST to every participant.
//! * CHG-2: A participant takes part if the owner signed the request, the request id is unknown
//!   and the nonce is above every one it knows. A listed producer draws the seeds of its view
//!   key and of its dealer, and keeps them as a secret before anything leaves.
//! * CHG-3: A listed producer sends OFFER (request, view key) to every participant. The first
//!   offer of a producer counts, and is recorded.
//! * CHG-4: With the offers of all listed producers, key generation opens; each sends each a
//!   DEALING, sealed to the receiver's announced encryption key.
//! * CHG-5: A dealing is checked, kept as a secret, then answered with ACK.
//! * CHG-6: When all have acknowledged, or after half an agreement tick when `n - f` producers
//!   have, a producer closes its log for good and signs its response with view key and log. An
//!   owner that is not listed responds at once, without them.
//! * CHG-7: A participant with a response reliably broadcasts its proof (request, response) in
//!   the attempt in progress.
//! * CHG-8: Attempt 0 begins with the request, another one every agreement tick; an attempt that
//!   is left is given up. A participant that learns that the owner or `f + 1` participants are
//!   in a later attempt goes there.
//! * CHG-9: All proofs of one attempt, or the end of the last tick, end the change for a
//!   participant. The owner checks the proofs: all good is SUCCESS, otherwise FAILED; no attempt
//!   in time is TIMEOUT.
//! * CHG-10: After a restart everything goes on where notes and secrets end; what was said is
//!   said again, never contradicted.
//! * CHG-11: Who misses something says hello to those not heard yet (the owner REQUEST, a
//!   producer OFFER) and ASKs the others, with growing pauses; ASK is answered with everything
//!   said to that participant.
//! * CHG-12: A newer request supersedes: the owner's old change has the result FAILED; a
//!   participant that has responded keeps its secrets until the ledger has settled the old one.
//! * CHG-13: The owner publishes exactly one result per change as a CONSENSUS trx: SUCCESS under
//!   the promised id, anything else under a fresh one; one after the other in nonce order, each
//!   when the one before is final.
//! * CHG-14: The ledger decides: a final SUCCESS hands the keys over, every other final result
//!   of this or a later nonce erases the secrets.

pub mod limits;

mod attempt;
mod keys;
mod message;
mod notes;
mod owner;
mod proof;
mod round;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use quorate_consensus::core::{Env, Record, Step, Verified};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::trace::Trace;
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::view::ViewKey;
use quorate_ledger::change::ChangeResult;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{GroupId, TrxId};
use quorate_ledger::proto::{
    ChangeConsensusReq, ChangeConsensusResult, ChangeConsensusResultBundle,
};
use quorate_ledger::state::State;
use quorate_ledger::view::View;

pub use message::ChangeMessage;

use limits::{MAX_ATTEMPTS, MAX_UNSETTLED};
use notes::{Kind, Start};
use round::{Phase, Round};

/// What the replica lends for one call.
#[derive(Clone, Copy)]
pub struct ChangeContext<'a> {
    /// The group.
    pub group: GroupId,
    /// Its facts; the owner is one.
    pub descriptor: &'a GroupDescriptor,
    /// This node's member key.
    pub member: &'a MemberKey,
    /// This node's encryption key, the one it announces.
    pub encrypt: &'a EncryptKey,
    /// Certified state: announcements, results known.
    pub state: &'a State,
    /// Highest nonce of a result on the ledger.
    pub last_nonce: u64,
}

/// What a change gives the replica, after its records are durable.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful in a step, taken apart at once")]
pub enum ChangeOutput {
    /// Send a message to the node of a member.
    Send {
        /// To whom.
        to: MemberPublicKey,
        /// What.
        message: ChangeMessage,
    },
    /// Order the result as a CONSENSUS trx with this id and keep at it until it is final. After a
    /// restart the same id and bundle may come again.
    Publish {
        /// Its id.
        trx_id: TrxId,
        /// Its payload.
        bundle: ChangeConsensusResultBundle,
    },
    /// A change has ended: its result is final on the ledger.
    Ended {
        /// Request id.
        req_id: String,
        /// How.
        result: ChangeConsensusResult,
    },
}

/// Steps of this module: nothing is sent to a committee, all goes out as outputs.
pub type ChangeStep = Step<Infallible, ChangeOutput>;

/// One call in progress.
struct Turn<'a, 'c> {
    env: &'a mut Env,
    ctx: &'a ChangeContext<'c>,
    step: ChangeStep,
}

/// All consensus changes a member of a group has to do with: the running one (highest nonce) and
/// earlier ones the ledger has not settled yet.
#[derive(Clone)]
pub struct Change<G: KeyGeneration> {
    rounds: BTreeMap<u64, Round<G>>,
    /// Last nonce this owner used.
    used: u64,
    /// Erasures that wait for the next step: the keys taken must be durable first.
    erasures: Vec<Record>,
    /// Why keys could not be made, for the next step.
    complaints: Vec<String>,
}

impl<G: KeyGeneration> Change<G> {
    /// Takes up what the notes of [`quorate_consensus::core::Topic::Change`] and the secrets say.
    /// Nothing at all is a fresh start.
    pub fn restore(
        env: &mut Env,
        ctx: &ChangeContext<'_>,
        notes: Vec<(Vec<u8>, Arc<[u8]>)>,
        secrets: &BTreeMap<String, Vec<u8>>,
    ) -> (Self, ChangeStep) {
        let mut turn = Turn { env, ctx, step: Step::new() };
        let (used, found) = notes::sort(notes, secrets);
        let mut this =
            Self { rounds: BTreeMap::new(), used, erasures: Vec::new(), complaints: Vec::new() };
        for (nonce, found) in &found {
            match Round::restore(&mut turn, found) {
                Some(round) if round.nonce() == *nonce => {
                    this.rounds.insert(*nonce, round);
                }
                _ => {
                    turn.step.record(notes::forget_round(*nonce));
                }
            }
        }
        notes::erase_strays(secrets, |nonce| this.rounds.contains_key(&nonce), &mut turn.step);
        this.settle_known(&mut turn);
        this.drop_taken(&turn, secrets);
        let newest = this.rounds.last_key_value().map(|(nonce, _)| *nonce);
        if let Some(newest) = newest {
            this.supersede_before(&mut turn, newest);
        }
        if let Some(mut newest) = this.rounds.last_entry()
            && let Some(found) = found.get(newest.key())
        {
            newest.get_mut().resume(&mut turn, found);
        }
        this.wake_rounds(&mut turn);
        let step = this.finish(turn);
        (this, step)
    }

    /// Results that became final while their notes were lost in a crash.
    fn settle_known(&mut self, turn: &mut Turn<'_, '_>) {
        let known: Vec<ChangeConsensusResultBundle> = self
            .rounds
            .values()
            .filter(|round| round.settled.is_none())
            .filter_map(|round| proof::final_result(turn.ctx.state, round.nonce()))
            .collect();
        for bundle in known {
            self.settle(turn, &bundle);
        }
        let last = turn.ctx.last_nonce;
        let newest = self.rounds.last_key_value().map_or(0, |(nonce, _)| *nonce);
        let over: Vec<u64> = self
            .rounds
            .iter()
            .filter(|(nonce, round)| **nonce <= last.min(newest) && round.settled.is_none())
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in over {
            self.drop_round(nonce);
        }
    }

    /// Rounds whose keys are in the vault already, or whose view is over: a crash came before the
    /// erasure.
    fn drop_taken(&mut self, turn: &Turn<'_, '_>, secrets: &BTreeMap<String, Vec<u8>>) {
        let settled = self.rounds.values().filter(|round| round.settled.is_some());
        let over: Vec<u64> = settled
            .map(Round::nonce)
            .filter(|nonce| {
                let (number, current) = proof::view_number(turn.ctx.state, *nonce);
                number.is_some_and(|number| {
                    number < current || secrets.contains_key(&format!("view-{number}"))
                })
            })
            .collect();
        for nonce in over {
            self.drop_round(nonce);
        }
    }

    /// A message of a member, whose frame was signed by that member's key.
    pub fn receive(
        &mut self,
        env: &mut Env,
        ctx: &ChangeContext<'_>,
        from: MemberPublicKey,
        message: Verified<ChangeMessage>,
    ) -> ChangeStep {
        let mut turn = Turn { env, ctx, step: Step::new() };
        let message = message.into_inner();
        let nonce = match &message {
            ChangeMessage::Request(request) | ChangeMessage::Offer { request, .. } => {
                self.consider(&mut turn, &from, request, message.name())
            }
            ChangeMessage::Dealing { request, .. }
            | ChangeMessage::Ack { request, .. }
            | ChangeMessage::Proof { request, .. }
            | ChangeMessage::Ask { request } => self.newest_of(request),
        };
        if let Some(round) = nonce.and_then(|nonce| self.rounds.get_mut(&nonce))
            && let Some(index) = round.index_of(&from)
            && from != turn.ctx.member.public()
        {
            round.receive(&mut turn, index, message);
        }
        self.finish(turn)
    }

    /// The newest round, if `request` is its hash. Earlier ones say nothing any more.
    fn newest_of(&self, request: &Digest) -> Option<u64> {
        let (nonce, round) = self.rounds.last_key_value()?;
        (round.hash() == *request).then_some(*nonce)
    }

    /// CHG-2: the round of a request, begun if the request is new and good.
    fn consider(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &MemberPublicKey,
        request: &ChangeConsensusReq,
        what: &str,
    ) -> Option<u64> {
        let newest = self.rounds.last_key_value().map_or(0, |(nonce, _)| *nonce);
        if let Some(known) = self.rounds.get(&request.nonce) {
            return (request.nonce == newest && known.request == *request).then_some(newest);
        }
        let refused = self.refusal(turn.ctx, from, request, newest.max(turn.ctx.last_nonce));
        if let Some(why) = refused {
            let text = format!("{what} of {from} ignored: {why}");
            turn.step.trace(Trace::said("CHG-2", text));
            return None;
        }
        let start = Start { request: request.clone(), promised: None };
        let round = Round::begin(turn, start)?;
        let nonce = round.nonce();
        self.supersede_before(turn, nonce);
        self.rounds.insert(nonce, round);
        self.push_out();
        Some(nonce)
    }

    /// Why a request of another member is not taken.
    fn refusal(
        &self,
        ctx: &ChangeContext<'_>,
        from: &MemberPublicKey,
        request: &ChangeConsensusReq,
        known: u64,
    ) -> Option<String> {
        if request.nonce <= known {
            return Some(format!("nonce {} is not above {known}", request.nonce));
        }
        let me = ctx.member.public();
        if me == ctx.descriptor.owner {
            return Some("the owner did not make it".to_owned());
        }
        let listed =
            |key: &MemberPublicKey| request.producer_pubkey_list.contains(&key.to_string());
        if !listed(&me) {
            return Some("this member is not listed".to_owned());
        }
        if *from != ctx.descriptor.owner && !listed(from) {
            return Some("its sender takes no part".to_owned());
        }
        let same_id = |round: &Round<G>| round.request.req_id == request.req_id;
        if self.rounds.values().any(same_id) || proof::is_known(ctx.state, &request.req_id) {
            return Some("its id is known".to_owned());
        }
        proof::check_request(ctx, request).err()
    }

    /// CHG-12: rounds before `newest` say nothing more.
    fn supersede_before(&mut self, turn: &mut Turn<'_, '_>, newest: u64) {
        let owner = turn.ctx.member.public() == turn.ctx.descriptor.owner;
        let mut over = Vec::new();
        for (nonce, round) in self.rounds.range_mut(..newest) {
            if matches!(round.phase, Phase::Running | Phase::TimedOut) {
                round.supersede(turn);
                if owner && round.publication.is_none() {
                    let responses = round.response().cloned().into_iter().collect();
                    Self::decide(turn, round, ChangeResult::Failed, responses);
                }
            } else if round.phase == Phase::Done && round.settled.is_none() {
                round.supersede(turn);
            }
            if !owner && !round.responded() && round.settled.is_none() {
                over.push(*nonce);
            }
        }
        for nonce in over {
            self.drop_round(nonce);
        }
    }

    /// Keeps the number of unsettled rounds bounded.
    fn push_out(&mut self) {
        while self.rounds.len() > MAX_UNSETTLED {
            let youngest = self.rounds.keys().rev().nth(1).copied();
            self.drop_round(youngest.expect("there are several"));
        }
    }

    /// Time has passed.
    pub fn wake(&mut self, env: &mut Env, ctx: &ChangeContext<'_>) -> ChangeStep {
        let mut turn = Turn { env, ctx, step: Step::new() };
        self.wake_rounds(&mut turn);
        self.finish(turn)
    }

    fn wake_rounds(&mut self, turn: &mut Turn<'_, '_>) {
        if let Some(mut newest) = self.rounds.last_entry() {
            newest.get_mut().wake(turn);
        }
    }

    /// The CONSENSUS trx with this result became final on the ledger. Call it for every such trx,
    /// in the order of the ledger; a second time changes nothing.
    pub fn on_result(
        &mut self,
        env: &mut Env,
        ctx: &ChangeContext<'_>,
        bundle: &ChangeConsensusResultBundle,
    ) -> ChangeStep {
        let mut turn = Turn { env, ctx, step: Step::new() };
        if let (Some(request), Ok(result)) =
            (&bundle.req, ChangeConsensusResult::try_from(bundle.result))
        {
            let req_id = request.req_id.clone();
            turn.step.output(ChangeOutput::Ended { req_id, result });
            self.settle(&mut turn, bundle);
        }
        self.finish(turn)
    }

    /// CHG-14: the ledger has decided.
    fn settle(&mut self, turn: &mut Turn<'_, '_>, bundle: &ChangeConsensusResultBundle) {
        let Some(request) = &bundle.req else { return };
        let success = crate::executor::is_success(bundle);
        let earlier: Vec<u64> =
            self.rounds.range(..request.nonce).map(|(nonce, _)| *nonce).collect();
        for nonce in earlier {
            let waits_for_keys = self.rounds.get(&nonce).is_some_and(|r| r.settled.is_some());
            if success || !waits_for_keys {
                self.drop_round(nonce);
            }
        }
        let Some(round) = self.rounds.get_mut(&request.nonce) else { return };
        let text = format!("change {}: final, success: {success}", request.nonce);
        turn.step.trace(Trace::said("CHG-14", text));
        if success && round.request == *request && round.key_generation().is_some() {
            if round.settled.is_none() {
                let bytes = prost::Message::encode_to_vec(bundle);
                turn.step.record(notes::write(request.nonce, Kind::Settled, &bytes));
                round.end_attempts(turn);
                round.phase = Phase::Done;
                round.settled = Some(bundle.clone());
            }
        } else {
            self.drop_round(request.nonce);
        }
    }

    /// The keys of a view whose change this member took part in: its view key and its share of the
    /// joint key. `None` for a view this member has no part in, whose result is not final here yet
    /// ([`Change::on_result`] first), or whose keys were taken before.
    ///
    /// Record them in the same turn as the secret `view-<number of the view>`: the records of the
    /// next call of this module erase what the keys are made from, as does a restart that finds
    /// that secret.
    pub fn take_keys(&mut self, view: &View) -> Option<(ViewKey, G::Keys)> {
        let nonce = view.nonce;
        let round = self.rounds.get(&nonce)?;
        let bundle = round.settled.as_ref()?;
        let keys = round.key_generation()?;
        let own = keys.view_key().public();
        let listed = view.producers.iter().any(|producer| producer.view_key == own);
        if round.request.req_id != view.req_id || !listed {
            return None;
        }
        let made = match keys.finish(&proof::logs(bundle, &round.checked)) {
            Ok(made) => made,
            Err(error) => {
                let text = format!("change {nonce}: no keys for this member: {error}");
                self.complaints.push(text);
                return None;
            }
        };
        let view_key = keys.view_key().clone();
        self.drop_round(nonce);
        Some((view_key, made))
    }

    /// Forgets a round; its erasure goes into the next step.
    fn drop_round(&mut self, nonce: u64) {
        if let Some(round) = self.rounds.remove(&nonce) {
            round.erase(&mut self.erasures);
        }
    }

    /// CHG-9, CHG-13: what every call ends with.
    fn finish(&mut self, mut turn: Turn<'_, '_>) -> ChangeStep {
        self.conclude(&mut turn);
        self.publish(&mut turn);
        for record in std::mem::take(&mut self.erasures) {
            turn.step.record(record);
        }
        for complaint in std::mem::take(&mut self.complaints) {
            turn.step.trace(Trace::said("CHG-14", complaint));
        }
        let now = turn.env.now;
        let newest = self.rounds.last_key_value();
        if let Some(at) = newest.and_then(|(_, round)| round.wake_at(now)) {
            turn.step.wake_at(at);
        }
        turn.step
    }

    /// How full it is.
    pub fn footprint(&self, into: &mut Footprint) {
        let attempts = self.rounds.values().map(Round::attempts).max().unwrap_or_default();
        // One that succeeded may wait beside the unsettled ones until its keys are taken.
        into.add("change_rounds", self.rounds.len(), MAX_UNSETTLED + 1);
        into.add("change_attempts", attempts, MAX_ATTEMPTS);
    }

    /// Request id of the running change, if any.
    #[must_use]
    pub fn running(&self) -> Option<&str> {
        let (_, round) = self.rounds.last_key_value()?;
        (round.phase == Phase::Running).then_some(round.request.req_id.as_str())
    }
}
