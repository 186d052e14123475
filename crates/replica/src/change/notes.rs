//! What a participant remembers: notes of [`Topic::Change`] and secrets.
//!
//! | key | value |
//! |---|---|
//! | `n` | last nonce this owner used |
//! | `r` nonce `1` | [`Start`]: request, promised trx id |
//! | `r` nonce `2` | [`Tick`]: attempt in progress and when it began |
//! | `r` nonce `3` index | view key a producer offered |
//! | `r` nonce `4` index | a producer's acknowledgement of the own dealing |
//! | `r` nonce `5` | own response: from now on the own log is closed |
//! | `r` nonce `6` | [`Publication`] of the owner |
//! | `r` nonce `7` | the SUCCESS that became final on the ledger |
//! | `r` nonce `8` attempt ... | what was said in the agreement of an attempt (its own keys) |
//!
//! Secrets: `change-<nonce>` holds the view key's and the dealer's seed, `change-<nonce>.d<index>`
//! the dealing of a producer.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::{Record, Step, Time, Topic};
use quorate_crypto::keygen::Dealing;
use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer};
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::{ChangeConsensusReq, ChangeConsensusResultBundle};

use super::limits::{MAX_DEALING, MAX_REQUEST};

const OWNER_NONCE: &[u8] = b"n";
const ROUND: u8 = b'r';
/// Bytes of a key up to the kind.
const HEAD: usize = 10;

/// What a note of a round says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Start = 1,
    Tick = 2,
    Offer = 3,
    Ack = 4,
    Response = 5,
    Publication = 6,
    Settled = 7,
    Agreement = 8,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Start,
        Self::Tick,
        Self::Offer,
        Self::Ack,
        Self::Response,
        Self::Publication,
        Self::Settled,
        Self::Agreement,
    ];
}

fn prefix(nonce: u64) -> Vec<u8> {
    let mut key = vec![ROUND];
    key.extend_from_slice(&nonce.to_be_bytes());
    key
}

/// Key of a note of round `nonce`.
pub(super) fn key(nonce: u64, kind: Kind, rest: &[u8]) -> Vec<u8> {
    let mut key = prefix(nonce);
    key.push(kind as u8);
    key.extend_from_slice(rest);
    key
}

/// Key prefix of what was said in the agreement of an attempt.
pub(super) fn agreement_prefix(nonce: u64, attempt: u64) -> Vec<u8> {
    key(nonce, Kind::Agreement, &attempt.to_be_bytes())
}

fn note(key: Vec<u8>, bytes: &[u8]) -> Record {
    Record::Note { topic: Topic::Change, key, bytes: Arc::from(bytes) }
}

fn forget(prefix: Vec<u8>) -> Record {
    Record::Forget { topic: Topic::Change, prefix }
}

/// The owner has used `nonce`.
pub(super) fn owner_nonce(nonce: u64) -> Record {
    note(OWNER_NONCE.to_vec(), &nonce.to_be_bytes())
}

/// A note of a round.
pub(super) fn write(nonce: u64, kind: Kind, bytes: &[u8]) -> Record {
    note(key(nonce, kind, &[]), bytes)
}

/// A note of a round about one participant.
pub(super) fn write_of(nonce: u64, kind: Kind, index: usize, bytes: &[u8]) -> Record {
    note(key(nonce, kind, &(index as u16).to_be_bytes()), bytes)
}

/// Removes what was said in one attempt.
pub(super) fn forget_attempt(nonce: u64, attempt: u64) -> Record {
    forget(agreement_prefix(nonce, attempt))
}

/// Removes what was said in all attempts.
pub(super) fn forget_attempts(nonce: u64) -> Record {
    forget(key(nonce, Kind::Agreement, &[]))
}

/// Removes all notes of a round.
pub(super) fn forget_round(nonce: u64) -> Record {
    forget(prefix(nonce))
}

fn seeds_name(nonce: u64) -> String {
    format!("change-{nonce}")
}

fn dealing_name(nonce: u64, index: usize) -> String {
    format!("change-{nonce}.d{index}")
}

/// Keeps the seeds of view key and dealer.
pub(super) fn keep_seeds(nonce: u64, view: &[u8; 32], dealer: &[u8; 32]) -> Record {
    let bytes = [view.as_slice(), dealer.as_slice()].concat();
    Record::Secret { name: seeds_name(nonce), bytes: Some(bytes) }
}

/// Keeps the dealing of a producer.
pub(super) fn keep_dealing(nonce: u64, index: usize, dealing: &Dealing) -> Record {
    let bytes = write_dealing(dealing);
    Record::Secret { name: dealing_name(nonce, index), bytes: Some(bytes) }
}

/// Erases the seeds of a round.
pub(super) fn erase_seeds(nonce: u64) -> Record {
    Record::Secret { name: seeds_name(nonce), bytes: None }
}

/// Erases the dealing of a producer.
pub(super) fn erase_dealing(nonce: u64, index: usize) -> Record {
    Record::Secret { name: dealing_name(nonce, index), bytes: None }
}

/// Erases secrets of rounds that have no notes (a crash came between the two, or notes were lost).
pub(super) fn erase_strays<M, O>(
    secrets: &BTreeMap<String, Vec<u8>>,
    known: impl Fn(u64) -> bool,
    step: &mut Step<M, O>,
) {
    for name in secrets.keys() {
        let Some(rest) = name.strip_prefix("change-") else { continue };
        let number = rest.split_once('.').map_or(rest, |(number, _)| number);
        if number.parse().is_ok_and(&known) {
            continue;
        }
        step.record(Record::Secret { name: name.clone(), bytes: None });
    }
}

/// The encoding of a dealing, in the vault and inside the sealed message.
pub(super) fn write_dealing(dealing: &Dealing) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(quorate_ledger::codec::VERSION);
    writer.bytes(&dealing.commitment);
    writer.bytes(&dealing.evaluation);
    writer.finish()
}

/// Reads what [`write_dealing`] wrote.
pub(super) fn read_dealing(bytes: &[u8]) -> Option<Dealing> {
    let mut reader = Reader::new(bytes);
    if reader.u8().ok()? != quorate_ledger::codec::VERSION {
        return None;
    }
    let commitment = reader.bytes("commitment", MAX_DEALING).ok()?.to_vec();
    let evaluation = reader.bytes("evaluation", MAX_DEALING).ok()?.to_vec();
    reader.finish().ok()?;
    Some(Dealing { commitment, evaluation })
}

/// How a round began.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Start {
    pub request: ChangeConsensusReq,
    /// The owner's: id of the CONSENSUS trx if it succeeds.
    pub promised: Option<TrxId>,
}

impl Canonical for Start {
    const MAX_BYTES: usize = MAX_REQUEST + 64;

    fn write(&self, writer: &mut Writer) {
        writer.message(&self.request);
        writer.u8(u8::from(self.promised.is_some()));
        if let Some(promised) = &self.promised {
            promised.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let request = reader.message("request", MAX_REQUEST)?;
        let promised = match reader.u8()? {
            0 => None,
            1 => Some(TrxId::read(reader)?),
            _ => return Err(CodecError::Invalid("promised trx id")),
        };
        Ok(Self { request, promised })
    }
}

/// The attempt in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tick {
    pub attempt: u64,
    pub began: Time,
}

impl Canonical for Tick {
    const MAX_BYTES: usize = 17;

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.attempt);
        writer.u64(self.began.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { attempt: reader.u64()?, began: Time(reader.u64()?) })
    }
}

/// The one result the owner publishes of a change.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Publication {
    pub trx_id: TrxId,
    pub bundle: ChangeConsensusResultBundle,
}

/// Largest result bundle that is written down.
const MAX_BUNDLE: usize = 16 * 1024 * 1024;

impl Canonical for Publication {
    const MAX_BYTES: usize = MAX_BUNDLE + 64;

    fn write(&self, writer: &mut Writer) {
        self.trx_id.write(writer);
        writer.message(&self.bundle);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            trx_id: TrxId::read(reader)?,
            bundle: reader.message("result bundle", MAX_BUNDLE)?,
        })
    }
}

/// All notes and secrets of one round, as found at a restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    notes: BTreeMap<(Kind, Vec<u8>), Arc<[u8]>>,
    /// What was said in the attempts, in the order of writing.
    pub votes: Vec<(Vec<u8>, Arc<[u8]>)>,
    pub seeds: Option<([u8; 32], [u8; 32])>,
    pub dealings: BTreeMap<usize, Dealing>,
}

impl Found {
    /// A note without index.
    pub(super) fn one<T: Canonical>(&self, kind: Kind) -> Option<T> {
        T::from_bytes(self.notes.get(&(kind, Vec::new()))?).ok()
    }

    /// A protobuf note without index.
    pub(super) fn message<M: prost::Message + Default>(&self, kind: Kind) -> Option<M> {
        M::decode(&**self.notes.get(&(kind, Vec::new()))?).ok()
    }

    /// Notes by index.
    pub(super) fn indexed(&self, kind: Kind) -> impl Iterator<Item = (usize, &[u8])> {
        let of_kind = self.notes.iter().filter(move |((found, _), _)| *found == kind);
        of_kind.filter_map(|((_, index), bytes)| {
            let index: [u8; 2] = index.as_slice().try_into().ok()?;
            Some((usize::from(u16::from_be_bytes(index)), &**bytes))
        })
    }
}

/// Sorts the notes and secrets found at a restart by round. The first value is the last nonce the
/// owner used.
pub(super) fn sort(
    notes: Vec<(Vec<u8>, Arc<[u8]>)>,
    secrets: &BTreeMap<String, Vec<u8>>,
) -> (u64, BTreeMap<u64, Found>) {
    let mut used = 0;
    let mut rounds: BTreeMap<u64, Found> = BTreeMap::new();
    for (key, bytes) in notes {
        if key == OWNER_NONCE {
            used = <[u8; 8]>::try_from(&*bytes).map_or(0, u64::from_be_bytes);
            continue;
        }
        if key.len() < HEAD || key[0] != ROUND {
            continue;
        }
        let nonce = u64::from_be_bytes(key[1..9].try_into().expect("eight bytes"));
        let found = rounds.entry(nonce).or_default();
        match Kind::ALL.into_iter().find(|kind| *kind as u8 == key[9]) {
            Some(Kind::Agreement) => found.votes.push((key, bytes)),
            Some(kind) => {
                found.notes.insert((kind, key[HEAD..].to_vec()), bytes);
            }
            None => {}
        }
    }
    for (nonce, found) in &mut rounds {
        let seeds = secrets.get(&seeds_name(*nonce)).and_then(|bytes| {
            let (view, dealer) = bytes.split_at_checked(32)?;
            Some((view.try_into().ok()?, dealer.try_into().ok()?))
        });
        found.seeds = seeds;
        for index in 0..quorate_consensus::limits::MAX_COMMITTEE {
            let dealing = secrets.get(&dealing_name(*nonce, index));
            if let Some(dealing) = dealing.and_then(|bytes| read_dealing(bytes)) {
                found.dealings.insert(index, dealing);
            }
        }
    }
    (used, rounds)
}
