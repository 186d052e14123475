//! Deterministic rules: which trxs of a decision make the block, in which order, and what they
//! write.
//!
//! # From a decision to a block
//! | line | rule |
//! |---|---|
//! | EXE-1 | every proposal is decoded; a malformed one is its proposer's fault and counts as absent |
//! | EXE-2 | timestamp: lower median of the proposals' times, never below the parent's |
//! | EXE-3 | every trx is checked by the rules of TRX-1 to TRX-7 (`executor/rules.rs`) against the state at the parent; refused ones are dropped alike everywhere |
//! | EXE-4 | of several trxs with one id the one with the lowest (TimeStamp, encoding) stays |
//! | EXE-5 | of several results that end the view the one with the lowest nonce stays; the others wait |
//! | EXE-6 | what fits: consensus results first, then the oldest TimeStamp first, up to 900 KiB, 8192 trxs, 65536 writes; the rest stays in the pools |
//! | EXE-7 | order in the block: senders in text order, the owner last; within a sender by TimeStamp, then id; a result that ends the view last of all |
//! | EXE-8 | execution in that order gives the write set |
//!
//! No trxs: no block. [`replay`] checks a block that others made by the same rules.

mod change;
mod execute;
mod layout;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use quorate_consensus::evidence::{Evidence, Fault};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_ledger::block::{Block, MAX_CONTENT, MAX_TRXS};
use quorate_ledger::codec::decode_message;
use quorate_ledger::ids::{BlockId, TrxId};
use quorate_ledger::proto::Trx;
use quorate_ledger::state::{MAX_WRITES, WriteSet};
use quorate_ledger::trx::MAX_TRX;
use quorate_ledger::view::View;

pub use change::{admit_result, next_view};
pub use execute::{execute, genesis_state};
pub use layout::{
    ChainConfig, ListEntry, Proof, SYSTEM, VIEWS, ViewEntry, announced, announced_producer,
    announced_user, app_config, chain_config, known_nonce, known_request, last_nonce, permitted,
    proof, proofs, users, views,
};
pub use rules::{
    Admitted, Ground, Payload, Refusal, admit, configurable, is_success, permit, read_payload,
    sign_app_config, sign_chain_config,
};

use crate::proposal::{Proposal, block_time};

/// What the rules ask the replica.
pub struct Ledger<'a, E> {
    /// Whether exactly these bytes passed TRX-1 before (they wait in the pool).
    pub checked: &'a dyn Fn(&TrxId, &[u8]) -> bool,
    /// Whether a trx of this id is in the ledger up to the parent.
    pub packaged: &'a dyn Fn(&TrxId) -> Result<bool, E>,
}

/// What a decision comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Planned {
    /// Trxs of the block in order; none: no block.
    pub trxs: Vec<Trx>,
    /// What they write.
    pub writes: WriteSet,
    /// The block's timestamp.
    pub timestamp: i64,
    /// The view that follows the block, if it ends this one. Its parent is set when the block's
    /// hash is known.
    pub next_view: Option<View>,
    /// What proposers did wrong.
    pub evidence: Vec<Evidence>,
}

struct Candidate {
    trx: Trx,
    size: usize,
    admitted: Admitted,
    next_view: Option<View>,
}

impl Candidate {
    /// EXE-6.
    fn urgency(&self) -> (bool, i64, TrxId) {
        let result = matches!(self.admitted.payload, Payload::Consensus(_));
        (!result, self.trx.time_stamp, self.admitted.id)
    }
}

/// EXE-7.
fn place(ground: &Ground<'_>, trx: &Trx, admitted: &Admitted) -> (bool, bool, String, i64, TrxId) {
    (
        admitted.payload.ends_view(),
        admitted.sender.is(&ground.descriptor.owner),
        trx.sender_pubkey.clone(),
        trx.time_stamp,
        admitted.id,
    )
}

/// The block before the one planned or checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// Its id.
    pub id: BlockId,
    /// Its timestamp.
    pub timestamp: i64,
}

/// Plans the block of a decision after `parent`, which `ground` and `view` belong to.
///
/// # Errors
/// That of `ledger.packaged`: the ledger's index could not be read; nothing was decided.
pub fn plan<G, E>(
    ground: &Ground<'_>,
    view: &View,
    parent: Parent,
    batches: &BTreeMap<NodeIndex, Vec<u8>>,
    ledger: &Ledger<'_, E>,
) -> Result<Planned, E>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    let mut faults = Faults::default();
    let mut proposals = Vec::with_capacity(batches.len());
    for (proposer, batch) in batches {
        match Proposal::decode(batch) {
            Ok(proposal) => proposals.push((*proposer, proposal)),
            Err(error) => faults.add(*proposer, Fault::BadProposal, &error),
        }
    }
    let times = proposals.iter().map(|(_, proposal)| proposal.time_ns).collect();
    let timestamp = block_time(times, parent.timestamp);
    // Producers propose many of the same bytes: each is judged once.
    let mut judged: BTreeMap<&[u8], Option<Refusal>> = BTreeMap::new();
    let mut chosen: BTreeMap<TrxId, (&[u8], Candidate)> = BTreeMap::new();
    for (proposer, proposal) in &proposals {
        for bytes in &proposal.trxs {
            if !judged.contains_key(bytes) {
                let refusal = match candidate::<G, E>(ground, view, timestamp, bytes, ledger)? {
                    Ok(candidate) => {
                        choose(&mut chosen, bytes, candidate);
                        None
                    }
                    Err(refusal) => Some(refusal),
                };
                judged.insert(bytes, refusal);
            }
            if let Some(Some(refusal)) = judged.get(bytes)
                && refusal.is_fault()
            {
                faults.add(*proposer, Fault::BadTrx, refusal);
            }
        }
    }
    let candidates = chosen.into_values().map(|(_, candidate)| candidate).collect();
    Ok(assemble(ground, view, parent, timestamp, candidates, faults.into_evidence()))
}

/// EXE-4.
fn choose<'a>(
    chosen: &mut BTreeMap<TrxId, (&'a [u8], Candidate)>,
    bytes: &'a [u8],
    candidate: Candidate,
) {
    let rank = (candidate.trx.time_stamp, bytes);
    let better = chosen
        .get(&candidate.admitted.id)
        .is_none_or(|(bytes, known)| rank < (known.trx.time_stamp, *bytes));
    if better {
        chosen.insert(candidate.admitted.id, (bytes, candidate));
    }
}

/// Faults of proposers: one piece of evidence for each proposer and fault, however many there are.
#[derive(Default)]
struct Faults(BTreeMap<(NodeIndex, Fault), (usize, String)>);

impl Faults {
    fn add(&mut self, proposer: NodeIndex, fault: Fault, detail: &impl ToString) {
        let entry = self.0.entry((proposer, fault));
        entry.or_insert_with(|| (0, detail.to_string())).0 += 1;
    }

    fn into_evidence(self) -> Vec<Evidence> {
        self.0
            .into_iter()
            .map(|((proposer, fault), (count, first))| {
                let detail =
                    if count > 1 { format!("{first} (and {} more)", count - 1) } else { first };
                Evidence::new(proposer, fault, detail)
            })
            .collect()
    }
}

fn candidate<G, E>(
    ground: &Ground<'_>,
    view: &View,
    timestamp: i64,
    bytes: &[u8],
    ledger: &Ledger<'_, E>,
) -> Result<Result<Candidate, Refusal>, E>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    let Ok(trx) = decode_message::<Trx>("trx", bytes, MAX_TRX) else {
        return Ok(Err(Refusal::Malformed));
    };
    let checked = trx.id().is_some_and(|id| (ledger.checked)(&id, bytes));
    Ok(judge::<G, E>(ground, view, timestamp, &trx, checked, ledger)?
        .map(|(admitted, next_view)| Candidate { trx, size: bytes.len(), admitted, next_view }))
}

type Judged = (Admitted, Option<View>);

/// EXE-3, with TRX-3 and the rules of consensus results.
fn judge<G, E>(
    ground: &Ground<'_>,
    view: &View,
    timestamp: i64,
    trx: &Trx,
    checked: bool,
    ledger: &Ledger<'_, E>,
) -> Result<Result<Judged, Refusal>, E>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    // The cheap and the frequent reason first: a trx proposed again after it was ordered.
    if let Some(id) = trx.id()
        && (ledger.packaged)(&id)?
    {
        return Ok(Err(Refusal::Duplicate));
    }
    Ok(admit(ground, trx, timestamp, checked).and_then(|admitted| {
        let next_view = match &admitted.payload {
            Payload::Consensus(bundle) => admit_result::<G>(ground, view, bundle, &trx.trx_id)?,
            _ => None,
        };
        Ok((admitted, next_view))
    }))
}

/// EXE-5 to EXE-8.
fn assemble(
    ground: &Ground<'_>,
    view: &View,
    parent: Parent,
    timestamp: i64,
    mut candidates: Vec<Candidate>,
    evidence: Vec<Evidence>,
) -> Planned {
    let nonce = |c: &Candidate| c.next_view.as_ref().map(|view| (view.nonce, c.admitted.id));
    let first = candidates.iter().filter_map(nonce).min();
    candidates.retain(|c| nonce(c).is_none() || nonce(c) == first);
    let mut requests = Requests::default();
    candidates.retain(|c| requests.is_first(&c.admitted.payload));
    candidates.sort_by_key(Candidate::urgency);
    let mut load = Load::default();
    candidates.retain(|c| load.fits(c.size, &c.admitted.payload));
    candidates.sort_by_cached_key(|c| place(ground, &c.trx, &c.admitted));
    let mut trxs = Vec::with_capacity(candidates.len());
    let mut admitted = Vec::with_capacity(candidates.len());
    let mut next_view = None;
    for candidate in candidates {
        next_view = next_view.or(candidate.next_view);
        trxs.push(candidate.trx);
        admitted.push(candidate.admitted);
    }
    let writes = execute(ground, view.number, parent.id.next(), trxs.iter().zip(&admitted));
    Planned { trxs, writes, timestamp, next_view, evidence }
}

/// One result of each request and nonce: an owner that contradicts itself is heard once.
#[derive(Default)]
struct Requests {
    nonces: BTreeSet<u64>,
    ids: BTreeSet<String>,
}

impl Requests {
    fn is_first(&mut self, payload: &Payload) -> bool {
        let Payload::Consensus(bundle) = payload else { return true };
        let Some(req) = &bundle.req else { return false };
        self.nonces.insert(req.nonce) && self.ids.insert(req.req_id.clone())
    }
}

/// EXE-6.
#[derive(Default)]
struct Load {
    content: usize,
    count: usize,
    writes: usize,
}

impl Load {
    fn fits(&mut self, size: usize, payload: &Payload) -> bool {
        let next = Self {
            content: self.content + size,
            count: self.count + 1,
            writes: self.writes + payload.writes(),
        };
        let fits =
            next.content <= MAX_CONTENT && next.count <= MAX_TRXS && next.writes <= MAX_WRITES;
        if fits {
            *self = next;
        }
        fits
    }
}

/// What a block that others made comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Replayed {
    /// What its trxs write.
    pub writes: WriteSet,
    /// The view that follows it, if it ends this one.
    pub next_view: Option<View>,
}

/// Why a block breaks the rules.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// It has no trxs, or more or larger ones than a block may.
    #[error("the block is empty or too large")]
    Size,
    /// A trx in it breaks the rules.
    #[error("trx {place}: {refusal}")]
    Trx {
        /// Its place in the block.
        place: usize,
        /// The rule.
        refusal: Refusal,
    },
    /// Its trxs are not in order, or one is there twice.
    #[error("the trxs are not in their order")]
    Order,
    /// It holds two results of one request, or two that end the view.
    #[error("the block holds consensus results that exclude each other")]
    Results,
    /// Its trxs write something else.
    #[error("the write set differs")]
    Writes,
    /// Its timestamp is below its parent's.
    #[error("the timestamp goes back")]
    Timestamp,
}

/// Checks a block that others made by the same rules, and executes it.
///
/// # Errors
/// That of `ledger.packaged`: the ledger's index could not be read; nothing was decided.
pub fn replay<G, E>(
    ground: &Ground<'_>,
    view: &View,
    parent: Parent,
    block: &Block,
    ledger: &Ledger<'_, E>,
) -> Result<Result<Replayed, ReplayError>, E>
where
    G: KeyGeneration,
    G::Keys: Threshold,
{
    if block.header.timestamp < parent.timestamp {
        return Ok(Err(ReplayError::Timestamp));
    }
    if block.trxs.is_empty() {
        return Ok(Err(ReplayError::Size));
    }
    let (mut load, mut requests) = (Load::default(), Requests::default());
    let mut admitted: Vec<Admitted> = Vec::with_capacity(block.trxs.len());
    let mut next_view = None;
    let mut last = None;
    for (index, trx) in block.trxs.iter().enumerate() {
        let bytes = trx.encode_to_vec();
        let checked = trx.id().is_some_and(|id| (ledger.checked)(&id, &bytes));
        let judged = judge::<G, E>(ground, view, block.header.timestamp, trx, checked, ledger)?;
        let (good, follows) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(ReplayError::Trx { place: index, refusal })),
        };
        let place = Some(place(ground, trx, &good));
        if place <= last {
            return Ok(Err(ReplayError::Order));
        }
        last = place;
        if !load.fits(bytes.len(), &good.payload) {
            return Ok(Err(ReplayError::Size));
        }
        if !requests.is_first(&good.payload) || (follows.is_some() && next_view.is_some()) {
            return Ok(Err(ReplayError::Results));
        }
        next_view = next_view.or(follows);
        admitted.push(good);
    }
    let ids: BTreeSet<_> = admitted.iter().map(|a| a.id).collect();
    if ids.len() != admitted.len() {
        return Ok(Err(ReplayError::Order));
    }
    let writes = execute(ground, view.number, parent.id.next(), block.trxs.iter().zip(&admitted));
    if writes.digest() != block.header.write_set {
        return Ok(Err(ReplayError::Writes));
    }
    Ok(Ok(Replayed { writes, next_view }))
}

/// Executes a block of the own ledger again, without judging it: what it writes.
///
/// # Errors
/// [`ReplayError`] if that is not what its header says.
pub fn redo(ground: &Ground<'_>, block: &Block) -> Result<WriteSet, ReplayError> {
    let mut admitted = Vec::with_capacity(block.trxs.len());
    for (place, trx) in block.trxs.iter().enumerate() {
        let read = || {
            let id = trx.id().ok_or(Refusal::Malformed)?;
            let sender = trx.sender().ok_or(Refusal::Malformed)?;
            let kind = trx.trx_type().ok_or(Refusal::Malformed)?;
            let payload = read_payload(ground, trx, kind)?;
            Ok(Admitted { id, sender, payload })
        };
        admitted.push(read().map_err(|refusal| ReplayError::Trx { place, refusal })?);
    }
    let writes =
        execute(ground, block.header.view, block.header.id, block.trxs.iter().zip(&admitted));
    if writes.digest() == block.header.write_set { Ok(writes) } else { Err(ReplayError::Writes) }
}

#[cfg(test)]
mod tests;
