//! The owner's side: starting a change and publishing its one result.

use quorate_consensus::core::{Env, Step};
use quorate_consensus::limits::MAX_COMMITTEE;
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::change::{ChangeParams, ChangeResult, build_request};
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::ChangeConsensusResp;
use rand_core::Rng as _;
use uuid::Uuid;

use super::limits::{MAX_OWNER_UNSETTLED, MIN_EPOCH_TICK, MIN_TICK_COUNT, MIN_TICK_LENGTH};
use super::notes::{self, Kind, Publication, Start};
use super::round::{Phase, Round, Verdict};
use super::{Change, ChangeContext, ChangeOutput, ChangeStep, Turn, proof};
use crate::api::CommandError;

/// A version 4 UUID from the step's generator.
pub(super) fn fresh_uuid(env: &mut Env) -> Uuid {
    let mut bytes = [0; 16];
    env.rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

impl<G: KeyGeneration> Change<G> {
    /// CHG-1: the owner starts a change. Lengths are milliseconds. Returns the promised trx id and
    /// the request id.
    ///
    /// A running change is superseded: it gets the result FAILED, under a trx id of its own.
    ///
    /// # Errors
    /// The texts of the reference, in its order; [`CommandError::Stalled`] while too many results
    /// of earlier changes wait for the ledger.
    #[expect(clippy::too_many_arguments, reason = "the parameters of updconsensus")]
    pub fn start(
        &mut self,
        env: &mut Env,
        ctx: &ChangeContext<'_>,
        producers: Vec<MemberPublicKey>,
        start_from_epoch: u64,
        trx_epoch_tick: u64,
        tick_length: u64,
        tick_count: u64,
    ) -> Result<(TrxId, String, ChangeStep), CommandError> {
        check_start(ctx, &producers)?;
        check_limits(&producers, trx_epoch_tick, tick_length, tick_count)?;
        let unsettled = self.rounds.values().filter(|round| round.settled.is_none()).count();
        if unsettled >= MAX_OWNER_UNSETTLED {
            let text = format!("{unsettled} consensus changes wait for their result on the ledger");
            return Err(CommandError::Stalled(text));
        }
        let newest = self.rounds.last_key_value().map_or(0, |(nonce, _)| *nonce);
        let Some(nonce) = self.used.max(newest).max(ctx.last_nonce).checked_add(1) else {
            return Err(CommandError::Stalled("the nonces are used up".to_owned()));
        };
        let promised = TrxId(fresh_uuid(env));
        let params = ChangeParams {
            req_id: fresh_uuid(env),
            group: ctx.group,
            nonce,
            producers,
            agreement_tick_length_ms: tick_length,
            agreement_tick_count: tick_count,
            start_from_epoch,
            epoch_tick_ms: trx_epoch_tick,
        };
        let request = build_request(ctx.member, &params);
        if let Err(why) = proof::check_request(ctx, &request) {
            return Err(CommandError::Invalid(why));
        }
        let req_id = request.req_id.clone();
        let mut turn = Turn { env, ctx, step: Step::new() };
        self.used = nonce;
        turn.step.record(notes::owner_nonce(nonce));
        self.supersede_before(&mut turn, nonce);
        let start = Start { request, promised: Some(promised) };
        let round = Round::begin(&mut turn, start);
        self.rounds.insert(nonce, round.expect("the owner takes part in every change"));
        Ok((promised, req_id, self.finish(turn)))
    }

    /// CHG-9: the owner decides once the attempts of the newest round have ended.
    pub(super) fn conclude(&mut self, turn: &mut Turn<'_, '_>) {
        let Some(mut newest) = self.rounds.last_entry() else { return };
        let round = newest.get_mut();
        let Some(verdict) = round.take_verdict() else { return };
        if turn.ctx.member.public() != turn.ctx.descriptor.owner || round.publication.is_some() {
            return;
        }
        match verdict {
            Verdict::All(proofs) => {
                let (request, checked) = (&round.request, &round.checked);
                match proof::judge::<G>(turn.ctx, request, checked, &proofs) {
                    Ok(responses) => {
                        Self::decide(turn, round, ChangeResult::Success, responses);
                    }
                    Err((why, responses)) => {
                        let text = format!("change {}: {why}", round.nonce());
                        turn.step.trace(Trace::said("CHG-9", text));
                        Self::decide(turn, round, ChangeResult::Failed, responses);
                    }
                }
            }
            Verdict::Timeout => {
                let responses = round.response().cloned().into_iter().collect();
                Self::decide(turn, round, ChangeResult::Timeout, responses);
            }
        }
    }

    /// CHG-13: writes the one result of a change down.
    pub(super) fn decide(
        turn: &mut Turn<'_, '_>,
        round: &mut Round<G>,
        result: ChangeResult,
        responses: Vec<ChangeConsensusResp>,
    ) {
        assert!(round.publication.is_none(), "a change has one result");
        let fresh = TrxId(fresh_uuid(turn.env));
        let promised = round.promised.filter(|_| result == ChangeResult::Success);
        let bundle = proof::bundle(result, &round.request, responses);
        let publication = Publication { trx_id: promised.unwrap_or(fresh), bundle };
        let bytes = publication.to_bytes();
        turn.step.record(notes::write(round.nonce(), Kind::Publication, &bytes));
        let text = format!("change {}: the owner decides {result}", round.nonce());
        turn.step.trace(Trace::said("CHG-13", text));
        round.publication = Some(publication);
        if round.phase == Phase::Running {
            round.phase = Phase::Done;
        }
    }

    /// CHG-13: publishes the result of the oldest change that is not settled. The next one waits,
    /// so that the ledger sees them in nonce order.
    pub(super) fn publish(&mut self, turn: &mut Turn<'_, '_>) {
        let oldest = self.rounds.values_mut().find(|round| round.settled.is_none());
        let Some(round) = oldest else { return };
        if round.emitted {
            return;
        }
        if let Some(Publication { trx_id, bundle }) = round.publication.clone() {
            round.emitted = true;
            turn.step.output(ChangeOutput::Publish { trx_id, bundle });
        }
    }
}

fn check_start(ctx: &ChangeContext<'_>, producers: &[MemberPublicKey]) -> Result<(), CommandError> {
    let invalid = |text: String| Err(CommandError::Invalid(text));
    let owner = ctx.descriptor.owner;
    if ctx.member.public() != owner {
        return Err(CommandError::NotOwner);
    }
    if producers.is_empty() {
        return invalid("producer pubkey list empty".to_owned());
    }
    let unique: std::collections::BTreeSet<_> = producers.iter().collect();
    if unique.len() != producers.len() {
        return invalid("producer pubkey should be unique".to_owned());
    }
    for producer in producers {
        if *producer != owner && !proof::is_announced(ctx, producer) {
            return invalid(format!("producer <{producer}> is not announced"));
        }
    }
    Ok(())
}

fn check_limits(
    producers: &[MemberPublicKey],
    trx_epoch_tick: u64,
    tick_length: u64,
    tick_count: u64,
) -> Result<(), CommandError> {
    let text = if tick_length < MIN_TICK_LENGTH {
        "agreement tick length should be greater than 1000(ms)".to_owned()
    } else if tick_count < MIN_TICK_COUNT {
        "agreement tick count should be greater than 10".to_owned()
    } else if trx_epoch_tick < MIN_EPOCH_TICK {
        "trx epoch tick length should be greater than 500(ms)".to_owned()
    } else if producers.len() > MAX_COMMITTEE {
        format!("producer pubkey list should have at most {MAX_COMMITTEE} keys")
    } else {
        return Ok(());
    };
    Err(CommandError::Invalid(text))
}
