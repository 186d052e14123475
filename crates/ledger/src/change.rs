//! Consensus changes: the owner's request, the participants' responses, the result.
//!
//! * The owner signs a *request*: nonce, new producers in committee order, ticks, first epoch.
//! * Every *participant* (the listed producers, and the owner if it is not listed) signs a
//!   *response* that embeds the complete request. A listed producer adds its [`KeyMaterial`]: its
//!   consensus key of the new view and its finished dealer log.
//! * The *result bundle* is the request, the responses and how it ended. SUCCESS needs a response of
//!   every participant; FAILED and TIMEOUT carry those there are.
//!
//! Hashes are SHA-256 of the protobuf form without the hash and signature fields. The genesis
//! bundle (nonce 0) is made by the owner alone and makes view 0.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use quorate_crypto::hash::{Digest, Hasher, sha256};
use quorate_crypto::keygen::{KeyGeneration, KeygenError};
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_crypto::view::ViewPublicKey;
use uuid::Uuid;

use crate::ids::{BlockId, Epoch, GroupId, ViewNumber};
use crate::proto::{
    ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResult, ChangeConsensusResultBundle,
    KeyMaterial,
};
use crate::trx::SIGNATURE;
use crate::view::{MAX_KEY_MATERIAL, Producer, Protocol, View};

mod outcome;

pub use outcome::{ChangeError, ChangeResult};

/// Epoch interval of the genesis view, in milliseconds.
pub const GENESIS_TICK_MS: u64 = 1000;
/// Most producers a request may list. Responses and dealer logs grow with the square of the
/// committee and must fit one CONSENSUS trx.
pub const MAX_PRODUCERS: usize = 50;
/// Longest dealer log, in bytes.
pub const MAX_DEALER_LOG: usize = 128 * 1024;
/// Longest epoch interval or agreement round, in milliseconds: a week.
pub const MAX_TICK_MS: u64 = 7 * 24 * 3600 * 1000;
/// Most agreement rounds.
pub const MAX_TICK_COUNT: u64 = 1_000_000;
/// Largest nonce and first epoch: what a JSON number carries exactly, and far from overflow.
pub const MAX_NUMBER: u64 = 1 << 53;

impl ChangeConsensusReq {
    /// What the owner signs.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let signed = Self { msg_hash: Vec::new(), sender_sign: Vec::new(), ..self.clone() };
        sha256(&signed.encode_to_vec())
    }
}

impl ChangeConsensusResp {
    /// What the participant signs.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let signed = Self { msg_hash: Vec::new(), sender_sign: Vec::new(), ..self.clone() };
        sha256(&signed.encode_to_vec())
    }
}

/// What an owner asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeParams {
    /// Fresh id of the request.
    pub req_id: Uuid,
    /// The group.
    pub group: GroupId,
    /// Next number of the owner's persistent sequence; 0 is the genesis proof.
    pub nonce: u64,
    /// The new committee, in order.
    pub producers: Vec<MemberPublicKey>,
    /// Length of one agreement round, in milliseconds.
    pub agreement_tick_length_ms: u64,
    /// Number of agreement rounds.
    pub agreement_tick_count: u64,
    /// First epoch of the new view.
    pub start_from_epoch: u64,
    /// Epoch interval of the new view, in milliseconds.
    pub epoch_tick_ms: u64,
}

/// Makes and signs a request.
#[must_use]
pub fn build_request(owner: &MemberKey, params: &ChangeParams) -> ChangeConsensusReq {
    let mut req = ChangeConsensusReq {
        req_id: params.req_id.as_hyphenated().to_string(),
        group_id: params.group.to_string(),
        nonce: params.nonce,
        producer_pubkey_list: params.producers.iter().map(ToString::to_string).collect(),
        agreement_tick_len_in_ms: params.agreement_tick_length_ms,
        agreement_tick_count: params.agreement_tick_count,
        start_from_epoch: params.start_from_epoch,
        trx_epoch_tick_len_in_ms: params.epoch_tick_ms,
        sender_pubkey: owner.public().to_string(),
        ..ChangeConsensusReq::default()
    };
    let digest = req.digest();
    req.msg_hash = digest.0.to_vec();
    req.sender_sign = owner.sign(&digest).0.to_vec();
    req
}

/// A checked request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRequest {
    /// Its hash: names the agreement and the key generation.
    pub hash: Digest,
    /// The group.
    pub group: GroupId,
    /// The owner, who signed it.
    pub owner: MemberPublicKey,
    /// Its id.
    pub req_id: Uuid,
    /// Number in the owner's sequence.
    pub nonce: u64,
    /// The new committee, in order.
    pub producers: Vec<MemberPublicKey>,
    /// Length of one agreement round, in milliseconds.
    pub agreement_tick_length_ms: u64,
    /// Number of agreement rounds.
    pub agreement_tick_count: u64,
    /// First epoch of the new view.
    pub start_epoch: Epoch,
    /// Epoch interval of the new view, in milliseconds.
    pub epoch_tick_ms: u64,
}

impl VerifiedRequest {
    /// Those who must answer: the listed producers in order, then the owner if it is not listed.
    #[must_use]
    pub fn participants(&self) -> Vec<MemberPublicKey> {
        let mut all = self.producers.clone();
        if !all.contains(&self.owner) {
            all.push(self.owner);
        }
        all
    }

    /// Context of the new view's key generation.
    #[must_use]
    pub fn keygen_context(&self) -> Vec<u8> {
        let hasher = Hasher::new("quorate.keygen.v1").field(self.group.0.as_bytes());
        hasher.field(&self.hash.0).finish().0.to_vec()
    }
}

/// Reads a key in its one spelling.
fn key(text: &str, what: &'static str) -> Result<MemberPublicKey, ChangeError> {
    let key: MemberPublicKey = text.parse().map_err(|_| ChangeError::Field(what))?;
    if key.to_string() == text { Ok(key) } else { Err(ChangeError::Field(what)) }
}

fn uuid(text: &str, what: &'static str) -> Result<Uuid, ChangeError> {
    let id: Uuid = text.parse().map_err(|_| ChangeError::Field(what))?;
    if id.as_hyphenated().to_string() == text { Ok(id) } else { Err(ChangeError::Field(what)) }
}

fn verify_signature(
    what: &'static str,
    signer: &MemberPublicKey,
    digest: &Digest,
    hash: &[u8],
    signature: &[u8],
) -> Result<(), ChangeError> {
    if hash != digest.0 {
        return Err(ChangeError::Hash(what));
    }
    if signature.len() != SIGNATURE || !signer.verify(digest, signature) {
        return Err(ChangeError::Signature(what));
    }
    Ok(())
}

/// Checks a request: group, owner, hash, signature, producers, numbers. The minima of the ticks are
/// for the API to ask; the genesis request is below them.
///
/// # Errors
/// [`ChangeError`].
pub fn verify_request(
    req: &ChangeConsensusReq,
    owner: &MemberPublicKey,
    group: GroupId,
) -> Result<VerifiedRequest, ChangeError> {
    if req.group_id != group.to_string() {
        return Err(ChangeError::Group);
    }
    if req.sender_pubkey != owner.to_string() {
        return Err(ChangeError::NotOwner);
    }
    let list = &req.producer_pubkey_list;
    if list.is_empty() || list.len() > MAX_PRODUCERS {
        return Err(ChangeError::Producers("the list of producers has 1 to 50 keys"));
    }
    let hash = req.digest();
    verify_signature("request", owner, &hash, &req.msg_hash, &req.sender_sign)?;
    let producers =
        list.iter().map(|text| key(text, "ProducerPubkeyList")).collect::<Result<Vec<_>, _>>()?;
    if producers.iter().collect::<BTreeSet<_>>().len() != producers.len() {
        return Err(ChangeError::Producers("a producer is listed twice"));
    }
    let bounds = [
        ("Nonce", req.nonce, MAX_NUMBER),
        ("StartFromEpoch", req.start_from_epoch, MAX_NUMBER),
        ("AgreementTickLenInMs", req.agreement_tick_len_in_ms, MAX_TICK_MS),
        ("AgreementTickCount", req.agreement_tick_count, MAX_TICK_COUNT),
        ("TrxEpochTickLenInMs", req.trx_epoch_tick_len_in_ms, MAX_TICK_MS),
    ];
    for (what, number, max) in bounds {
        if number > max {
            return Err(ChangeError::Field(what));
        }
    }
    if req.trx_epoch_tick_len_in_ms == 0 {
        return Err(ChangeError::Field("TrxEpochTickLenInMs"));
    }
    Ok(VerifiedRequest {
        hash,
        group,
        owner: *owner,
        req_id: uuid(&req.req_id, "ReqId")?,
        nonce: req.nonce,
        producers,
        agreement_tick_length_ms: req.agreement_tick_len_in_ms,
        agreement_tick_count: req.agreement_tick_count,
        start_epoch: Epoch(req.start_from_epoch),
        epoch_tick_ms: req.trx_epoch_tick_len_in_ms,
    })
}

/// Makes and signs a response. A listed producer brings key material, an unlisted owner none.
#[must_use]
pub fn build_response(
    key: &MemberKey,
    resp_id: Uuid,
    req: &ChangeConsensusReq,
    key_material: Option<KeyMaterial>,
) -> ChangeConsensusResp {
    let mut resp = ChangeConsensusResp {
        resp_id: resp_id.as_hyphenated().to_string(),
        group_id: req.group_id.clone(),
        sender_pubkey: key.public().to_string(),
        req: Some(req.clone()),
        key_material,
        ..ChangeConsensusResp::default()
    };
    let digest = resp.digest();
    resp.msg_hash = digest.0.to_vec();
    resp.sender_sign = key.sign(&digest).0.to_vec();
    resp
}

/// Checks a response to this very request: participant, hash, signature. Returns who answered.
///
/// # Errors
/// [`ChangeError`].
pub fn verify_response(
    resp: &ChangeConsensusResp,
    req: &ChangeConsensusReq,
    request: &VerifiedRequest,
) -> Result<MemberPublicKey, ChangeError> {
    let sender = key(&resp.sender_pubkey, "SenderPubkey")?;
    if sender != request.owner && !request.producers.contains(&sender) {
        return Err(ChangeError::NotParticipant(resp.sender_pubkey.clone()));
    }
    if resp.group_id != req.group_id {
        return Err(ChangeError::Group);
    }
    uuid(&resp.resp_id, "RespId")?;
    if resp.req.as_ref() != Some(req) {
        return Err(ChangeError::OtherRequest(sender));
    }
    verify_signature("response", &sender, &resp.digest(), &resp.msg_hash, &resp.sender_sign)?;
    Ok(sender)
}

/// Checks a response's key material: there for a listed producer, absent for anyone else, of
/// possible size, with a usable key. The dealer log itself is checked by the key generation.
///
/// # Errors
/// [`ChangeError::KeyMaterial`].
pub fn verify_key_material(
    resp: &ChangeConsensusResp,
    sender: &MemberPublicKey,
    request: &VerifiedRequest,
) -> Result<Option<(NodeIndex, ViewPublicKey)>, ChangeError> {
    let wrong = || ChangeError::KeyMaterial(*sender);
    let place = request.producers.iter().position(|producer| producer == sender);
    match (place, &resp.key_material) {
        (None, None) => Ok(None),
        (Some(place), Some(material)) => {
            let bytes = material.view_key.as_slice().try_into().map_err(|_| wrong())?;
            let view_key = ViewPublicKey(bytes);
            if !view_key.is_valid() || material.dealer_log.len() > MAX_DEALER_LOG {
                return Err(wrong());
            }
            let place = u16::try_from(place).map_err(|_| wrong())?;
            Ok(Some((NodeIndex(place), view_key)))
        }
        _ => Err(wrong()),
    }
}

/// Puts a result bundle together. Responses are put in the order of the participants.
#[must_use]
pub fn build_bundle(
    result: ChangeResult,
    req: &ChangeConsensusReq,
    mut resps: Vec<ChangeConsensusResp>,
) -> ChangeConsensusResultBundle {
    let list = &req.producer_pubkey_list;
    let place = |resp: &ChangeConsensusResp| {
        list.iter().position(|text| *text == resp.sender_pubkey).unwrap_or(list.len())
    };
    resps.sort_by_key(place);
    ChangeConsensusResultBundle {
        result: ChangeConsensusResult::from(result) as i32,
        req: Some(req.clone()),
        epoch: 0,
        responsed_producers: resps.iter().map(|resp| resp.sender_pubkey.clone()).collect(),
        resps,
    }
}

/// Makes the genesis request: nonce 0, the owner as the only producer, an interval of 1000 ms.
#[must_use]
pub fn genesis_request(owner: &MemberKey, group: GroupId, req_id: Uuid) -> ChangeConsensusReq {
    let params = ChangeParams {
        req_id,
        group,
        nonce: 0,
        producers: vec![owner.public()],
        agreement_tick_length_ms: 0,
        agreement_tick_count: 0,
        start_from_epoch: 0,
        epoch_tick_ms: GENESIS_TICK_MS,
    };
    build_request(owner, &params)
}

/// Makes the genesis bundle: the owner's answer to its own genesis request.
#[must_use]
pub fn genesis_bundle(
    owner: &MemberKey,
    request: &ChangeConsensusReq,
    resp_id: Uuid,
    key_material: KeyMaterial,
) -> ChangeConsensusResultBundle {
    let resp = build_response(owner, resp_id, request, Some(key_material));
    build_bundle(ChangeResult::Success, request, vec![resp])
}

/// What the signatures of a bundle prove.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answers {
    /// How the change ended, as its owner says.
    pub result: ChangeResult,
    /// The request.
    pub request: VerifiedRequest,
    /// Who answered, in the order of the responses.
    pub responders: Vec<MemberPublicKey>,
}

/// A checked bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedChange {
    /// How the change ended.
    pub result: ChangeResult,
    /// The request.
    pub request: VerifiedRequest,
    /// Who answered, in the order of the responses.
    pub responders: Vec<MemberPublicKey>,
    /// Consensus keys of the new view in committee order; empty unless SUCCESS.
    pub view_keys: Vec<ViewPublicKey>,
    /// Dealer logs of the new committee; empty unless SUCCESS.
    pub dealer_logs: BTreeMap<NodeIndex, Vec<u8>>,
}

/// Checks what seed 001 demands of a bundle: the owner's request, at most one valid response of each
/// participant, and for SUCCESS one of every participant. Key material is not looked at, so results
/// of the reference pass.
///
/// # Errors
/// [`ChangeError`].
pub fn verify_answers(
    bundle: &ChangeConsensusResultBundle,
    owner: &MemberPublicKey,
    group: GroupId,
) -> Result<Answers, ChangeError> {
    let result: ChangeResult = ChangeConsensusResult::try_from(bundle.result)
        .map_err(|_| ChangeError::Field("Result"))?
        .into();
    let req = bundle.req.as_ref().ok_or(ChangeError::Field("Req"))?;
    let request = verify_request(req, owner, group)?;
    let participants = request.participants();
    if bundle.resps.len() > participants.len() {
        return Err(ChangeError::Field("Resps"));
    }
    let mut responders = Vec::with_capacity(bundle.resps.len());
    for resp in &bundle.resps {
        let sender = verify_response(resp, req, &request)?;
        if responders.contains(&sender) {
            return Err(ChangeError::Twice(sender));
        }
        responders.push(sender);
    }
    let senders = bundle.resps.iter().map(|resp| &resp.sender_pubkey);
    if !senders.eq(&bundle.responsed_producers) {
        return Err(ChangeError::Responders);
    }
    if result == ChangeResult::Success
        && let Some(silent) = participants.iter().find(|p| !responders.contains(p))
    {
        return Err(ChangeError::Unanswered(*silent));
    }
    Ok(Answers { result, request, responders })
}

/// Checks a bundle completely: [`verify_answers`], and for SUCCESS the key material of every listed
/// producer. Whether a joint key comes of it is shown by [`next_view`].
///
/// # Errors
/// [`ChangeError`].
pub fn verify_bundle(
    bundle: &ChangeConsensusResultBundle,
    owner: &MemberPublicKey,
    group: GroupId,
) -> Result<VerifiedChange, ChangeError> {
    let Answers { result, request, responders } = verify_answers(bundle, owner, group)?;
    let mut keys = BTreeMap::new();
    let mut dealer_logs = BTreeMap::new();
    if result == ChangeResult::Success {
        for (resp, sender) in bundle.resps.iter().zip(&responders) {
            if let Some((index, view_key)) = verify_key_material(resp, sender, &request)? {
                if keys.values().any(|other| *other == view_key) {
                    return Err(ChangeError::KeyMaterial(*sender));
                }
                keys.insert(index, view_key);
                let log = resp.key_material.as_ref().map(|m| m.dealer_log.clone());
                dealer_logs.insert(index, log.unwrap_or_default());
            }
        }
    }
    let view_keys = keys.into_values().collect();
    Ok(VerifiedChange { result, request, responders, view_keys, dealer_logs })
}

/// Checks the genesis bundle: nonce 0, SUCCESS, the owner as the only producer, 1000 ms.
///
/// # Errors
/// [`ChangeError`].
pub fn verify_genesis_bundle(
    bundle: &ChangeConsensusResultBundle,
    owner: &MemberPublicKey,
    group: GroupId,
) -> Result<VerifiedChange, ChangeError> {
    let change = verify_bundle(bundle, owner, group)?;
    let request = &change.request;
    if change.result != ChangeResult::Success {
        return Err(ChangeError::NoSuccess(change.result));
    }
    if request.nonce != 0 {
        return Err(ChangeError::Field("Nonce"));
    }
    if request.producers != [*owner] {
        return Err(ChangeError::Producers("the genesis view has the owner as its only producer"));
    }
    if request.start_epoch != Epoch(0) {
        return Err(ChangeError::Field("StartFromEpoch"));
    }
    if request.epoch_tick_ms != GENESIS_TICK_MS {
        return Err(ChangeError::Field("TrxEpochTickLenInMs"));
    }
    Ok(change)
}

/// Derives the view that a successful change makes. `parent` is the last block of the view before
/// (the genesis block for view 0), `number` that of the new view, `proof_trx_id` the id of the
/// CONSENSUS trx (empty for view 0).
///
/// # Errors
/// [`ChangeError::NoSuccess`], or [`ChangeError::Keygen`] if the dealer logs make no joint key.
pub fn next_view<G>(
    change: &VerifiedChange,
    parent: (BlockId, Digest),
    number: ViewNumber,
    proof_trx_id: &str,
) -> Result<View, ChangeError>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    if change.result != ChangeResult::Success {
        return Err(ChangeError::NoSuccess(change.result));
    }
    let request = &change.request;
    let context = request.keygen_context();
    let keys = G::observe(&context, &change.view_keys, &change.dealer_logs)?;
    let key_material = keys.public();
    if key_material.len() > MAX_KEY_MATERIAL {
        return Err(KeygenError::Failed("the key material is too long".to_owned()).into());
    }
    let producers = request.producers.iter().zip(&change.view_keys);
    Ok(View {
        group: request.group,
        number,
        protocol: Protocol::Poa,
        producers: producers
            .map(|(member, view_key)| Producer { member: *member, view_key: *view_key })
            .collect(),
        key_material,
        interval_ms: request.epoch_tick_ms,
        start_epoch: request.start_epoch,
        parent,
        req_id: request.req_id.as_hyphenated().to_string(),
        nonce: request.nonce,
        proof_trx_id: proof_trx_id.to_owned(),
    })
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
