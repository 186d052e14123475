//! Results of consensus changes as the ledger takes them.
//!
//! A result counts if the owner's request and all responses in it are signed as they must be, and
//! nothing on the ledger knows its request. One that succeeded must be newer than every result on
//! the ledger, bring key material that makes a joint key, and then ends the view. One that failed
//! only adds to the history, so it may come late.

use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::change::{self, ChangeResult};
use quorate_ledger::ids::BlockId;
use quorate_ledger::proto::{ChangeConsensusResultBundle, TrxType};
use quorate_ledger::view::View;

use super::layout;
use super::rules::{Ground, Refusal};

/// Judges a result against the state at the parent. Returns the view it makes, if it succeeded; its
/// parent is set when the block's hash is known.
///
/// # Errors
/// [`Refusal::Payload`] if a signature or the key material is wrong, [`Refusal::Change`] if the
/// ledger knows the request or a newer one.
pub fn admit_result<G>(
    ground: &Ground<'_>,
    view: &View,
    bundle: &ChangeConsensusResultBundle,
    trx_id: &str,
) -> Result<Option<View>, Refusal>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    let req = bundle.req.as_ref().ok_or_else(|| wrong("it has no request"))?;
    if layout::known_request(ground.state, &req.req_id) {
        return Err(Refusal::Change(format!("request {} has a result", req.req_id)));
    }
    if layout::known_nonce(ground.state, req.nonce) {
        return Err(Refusal::Change(format!("nonce {} has a result", req.nonce)));
    }
    let last = layout::last_nonce(ground.state).max(view.nonce);
    if super::is_success(bundle) && req.nonce <= last {
        return Err(Refusal::Change(format!("nonce {} is older than {last}", req.nonce)));
    }
    next_view::<G>(ground, view, bundle, trx_id)
}

/// Checks all signatures in a result and derives the view it makes, if it succeeded.
///
/// # Errors
/// [`Refusal::Payload`].
pub fn next_view<G>(
    ground: &Ground<'_>,
    view: &View,
    bundle: &ChangeConsensusResultBundle,
    trx_id: &str,
) -> Result<Option<View>, Refusal>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    let owner = &ground.descriptor.owner;
    let change = change::verify_bundle(bundle, owner, ground.group())
        .map_err(|error| wrong(&error.to_string()))?;
    if change.result != ChangeResult::Success {
        return Ok(None);
    }
    let unknown = (BlockId(0), Digest::default());
    let next = change::next_view::<G>(&change, unknown, view.number.next(), trx_id)
        .map_err(|error| wrong(&error.to_string()))?;
    Ok(Some(next))
}

fn wrong(why: &str) -> Refusal {
    Refusal::Payload { kind: TrxType::Consensus.as_str_name(), why: why.to_owned() }
}
