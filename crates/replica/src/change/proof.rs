//! What a change means to the ledger: requests, responses, proofs and result bundles checked by
//! [`quorate_ledger::change`], announcements and known results read from the state.

use std::collections::BTreeMap;

use prost::Message as _;
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::recipient::EncryptPublicKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewPublicKey;
use quorate_ledger::change::{self, ChangeError, ChangeResult, MAX_DEALER_LOG, VerifiedRequest};
use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer};
use quorate_ledger::ids::ViewNumber;
use quorate_ledger::proto::{
    ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResultBundle, KeyMaterial,
};
use quorate_ledger::state::State;
use quorate_ledger::trx::Limits;

use super::limits::{MAX_REQUEST, MIN_EPOCH_TICK, MIN_TICK_COUNT, MIN_TICK_LENGTH};
use super::owner::fresh_uuid;
use super::{ChangeContext, Turn};
use crate::executor;

/// Room a CONSENSUS trx needs around its bundle: nonce and tag of the cipher, and some.
const ENVELOPE: usize = 64;

/// Name of an attempt: the instance of its agreement, and so the seed of its public coin.
pub(super) fn instance(request: &Digest, attempt: u64) -> Digest {
    Hasher::new("quorate.change.attempt.v1").field(&request.0).u64(attempt).finish()
}

/// Checks group, owner, hash, signature, list and numbers of a request, the minima included: a
/// participant does not rely on the owner's node for them.
pub(super) fn check_request(
    ctx: &ChangeContext<'_>,
    request: &ChangeConsensusReq,
) -> Result<VerifiedRequest, String> {
    let checked = change::verify_request(request, &ctx.descriptor.owner, ctx.group)
        .map_err(|error| error.to_string())?;
    let long_enough = checked.agreement_tick_length_ms >= MIN_TICK_LENGTH
        && checked.agreement_tick_count >= MIN_TICK_COUNT
        && checked.epoch_tick_ms >= MIN_EPOCH_TICK;
    if !long_enough {
        return Err("its ticks are too few or too short".to_owned());
    }
    if request.encoded_len() > MAX_REQUEST {
        return Err("it is too long".to_owned());
    }
    Ok(checked)
}

/// Makes and signs this member's response.
pub(super) fn respond(
    turn: &mut Turn<'_, '_>,
    request: &ChangeConsensusReq,
    material: Option<(ViewPublicKey, Vec<u8>)>,
) -> ChangeConsensusResp {
    let id = fresh_uuid(turn.env);
    let material =
        material.map(|(key, dealer_log)| KeyMaterial { view_key: key.0.to_vec(), dealer_log });
    change::build_response(turn.ctx.member, id, request, material)
}

/// A proof: the request and a participant's response to it.
struct Proof {
    request: ChangeConsensusReq,
    response: ChangeConsensusResp,
}

impl Canonical for Proof {
    const MAX_BYTES: usize = 2 * MAX_REQUEST + MAX_DEALER_LOG + 4096;

    fn write(&self, writer: &mut Writer) {
        writer.message(&self.request);
        writer.message(&self.response);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            request: reader.message("request", MAX_REQUEST)?,
            response: reader.message("response", Self::MAX_BYTES)?,
        })
    }
}

/// The bytes of a proof, as they go into the agreement.
pub(super) fn write(request: &ChangeConsensusReq, response: &ChangeConsensusResp) -> Vec<u8> {
    Proof { request: request.clone(), response: response.clone() }.to_bytes()
}

/// Reads one participant's proof and checks it against the owner's own request.
fn read(
    bytes: &[u8],
    participant: &MemberPublicKey,
    request: &ChangeConsensusReq,
    checked: &VerifiedRequest,
) -> Result<ChangeConsensusResp, String> {
    let proof = Proof::from_bytes(bytes).map_err(|error| error.to_string())?;
    if proof.request != *request {
        return Err(ChangeError::OtherRequest(*participant).to_string());
    }
    let answer = change::verify_response(&proof.response, request, checked);
    if answer.map_err(|error| error.to_string())? != *participant {
        return Err("the response of somebody else".to_owned());
    }
    Ok(proof.response)
}

/// CHG-9: whether the proofs of all participants make a new view. `Err` says why not, and gives the
/// responses that are good in themselves.
pub(super) fn judge<G: KeyGeneration>(
    ctx: &ChangeContext<'_>,
    request: &ChangeConsensusReq,
    checked: &VerifiedRequest,
    proofs: &[Vec<u8>],
) -> Result<Vec<ChangeConsensusResp>, (String, Vec<ChangeConsensusResp>)> {
    let mut responses = Vec::new();
    let mut wrong = None;
    for (participant, bytes) in checked.participants().iter().zip(proofs) {
        match read(bytes, participant, request, checked) {
            Ok(response) => responses.push(response),
            Err(why) => wrong = wrong.or(Some(format!("the proof of {participant}: {why}"))),
        }
    }
    if let Some(why) = wrong {
        return Err((why, responses));
    }
    match makes_view::<G>(ctx, request, &responses) {
        Ok(()) => Ok(responses),
        Err(why) => Err((why, responses)),
    }
}

/// Does what every node will do with the bundle.
fn makes_view<G: KeyGeneration>(
    ctx: &ChangeContext<'_>,
    request: &ChangeConsensusReq,
    responses: &[ChangeConsensusResp],
) -> Result<(), String> {
    let bundle = change::build_bundle(ChangeResult::Success, request, responses.to_vec());
    if !fits(&bundle) {
        return Err("the responses are too large for a block".to_owned());
    }
    let verified = change::verify_bundle(&bundle, &ctx.descriptor.owner, ctx.group)
        .map_err(|error| error.to_string())?;
    let context = verified.request.keygen_context();
    G::observe(&context, &verified.view_keys, &verified.dealer_logs)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn fits(bundle: &ChangeConsensusResultBundle) -> bool {
    bundle.encoded_len() + ENVELOPE <= Limits::REFERENCE.consensus_data
}

/// The result bundle. Of responses that cannot go together into a trx, only as many as fit are kept
/// (a SUCCESS always fits: see [`judge`]).
pub(super) fn bundle(
    result: ChangeResult,
    request: &ChangeConsensusReq,
    mut responses: Vec<ChangeConsensusResp>,
) -> ChangeConsensusResultBundle {
    loop {
        let bundle = change::build_bundle(result, request, responses.clone());
        if fits(&bundle) || responses.pop().is_none() {
            return bundle;
        }
    }
}

/// View keys and dealer logs of a final SUCCESS, in committee order.
pub(super) fn logs(
    bundle: &ChangeConsensusResultBundle,
    checked: &VerifiedRequest,
) -> BTreeMap<NodeIndex, Vec<u8>> {
    let place = |sender: &str| {
        let index = checked.producers.iter().position(|member| member.to_string() == sender)?;
        u16::try_from(index).ok().map(NodeIndex)
    };
    let of = |response: &ChangeConsensusResp| {
        let log = response.key_material.as_ref()?.dealer_log.clone();
        Some((place(&response.sender_pubkey)?, log))
    };
    bundle.resps.iter().filter_map(of).collect()
}

/// Whether a member has announced itself as producer.
pub(super) fn is_announced(ctx: &ChangeContext<'_>, member: &MemberPublicKey) -> bool {
    executor::announced_producer(ctx.state, member).is_some()
}

/// The encryption key a member announced, as producer or else as user.
pub(super) fn encrypt_key(
    ctx: &ChangeContext<'_>,
    member: &MemberPublicKey,
) -> Option<EncryptPublicKey> {
    let item = executor::announced_producer(ctx.state, member)
        .or_else(|| executor::announced_user(ctx.state, member))?;
    item.content?.encrypt_pubkey.parse().ok()
}

/// The result the ledger has for this nonce, if any.
pub(super) fn final_result(state: &State, nonce: u64) -> Option<ChangeConsensusResultBundle> {
    executor::proof(state, nonce).map(|proof| proof.bundle)
}

/// Number of the view that the change with this nonce made, and of the current view.
pub(super) fn view_number(state: &State, nonce: u64) -> (Option<ViewNumber>, ViewNumber) {
    let made = executor::views(state).find(|view| view.nonce == nonce).map(|view| view.number);
    let current = executor::views(state).next_back().map(|view| view.number);
    (made, current.unwrap_or_default())
}

/// Whether the ledger has a result for this request id.
pub(super) fn is_known(state: &State, req_id: &str) -> bool {
    executor::known_request(state, req_id)
}
