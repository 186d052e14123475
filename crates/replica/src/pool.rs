//! Trxs waiting to be ordered.
//!
//! Two kinds, in one first-in-first-out order:
//! * *own*: accepted from this node's clients. A note of the journal holds each one before the
//!   client hears that it is accepted; it stays until it is in a certified block (or, signed
//!   elsewhere with an expiry, can never be ordered any more), and is gossiped again and again with
//!   growing pauses. Never evicted.
//! * *gossiped*: others' trxs, kept in memory only, by producers only, and at most three quarters
//!   of the pool. Their senders send them again, so they may be dropped at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_consensus::core::Time;
use quorate_consensus::footprint::Footprint;
use quorate_ledger::codec::decode_message;
use quorate_ledger::ids::TrxId;
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::trx;
use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use crate::limits::{
    POOL_BYTES, POOL_GOSSIP_QUARTERS, POOL_TRXS, POOL_VOLATILE_MS, RESEND_MAX_MS, RESEND_MS,
    WINDOW_BYTES, WINDOW_SMALL, WINDOW_TRXS,
};
use crate::wire::CheckedTrx;

/// Sizes a pool may reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolLimits {
    /// Trxs.
    pub trxs: usize,
    /// Bytes of their encodings.
    pub bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { trxs: POOL_TRXS, bytes: POOL_BYTES }
    }
}

impl PoolLimits {
    /// What gossiped trxs may take of it.
    const fn gossip(self) -> Self {
        Self {
            trxs: self.trxs / 4 * POOL_GOSSIP_QUARTERS,
            bytes: self.bytes / 4 * POOL_GOSSIP_QUARTERS,
        }
    }
}

/// One in so many trxs that fall to another producer is proposed all the same.
const EXTRA: u32 = 16;

/// Whose turn it is to propose which trx.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lot {
    /// This producer's position.
    pub me: u16,
    /// Number of producers.
    pub n: u16,
    /// The epoch: the lot falls anew in each.
    pub epoch: u64,
}

impl Lot {
    /// Whether a trx falls to this producer. A mixing function of 64 bits is enough: to choose an id
    /// that falls to a traitor in many epochs in a row is to choose to be late.
    fn falls_to(self, id: &TrxId) -> bool {
        let (high, low) = id.0.as_u64_pair();
        let mut mixed = high ^ low.rotate_left(32) ^ self.epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % u64::from(self.n.max(1)) == u64::from(self.me)
    }
}

/// The pool has no room; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pool of pending trxs is full")]
pub struct PoolFull;

/// What became of a trx given to the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It is new, or replaces an older signing of the same trx.
    New,
    /// It was there.
    Known,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Own {
        /// Pause after the next gossip.
        pause_ms: u64,
    },
    Gossiped,
}

#[derive(Clone, Debug)]
struct Entry {
    trx: CheckedTrx,
    kind: Kind,
    place: u64,
    /// Own: next gossip. Gossiped: when it is dropped.
    timer: Time,
}

/// What a timer of the pool asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Due {
    /// Gossip this own trx again (sign it again first if it has expired).
    Resend(CheckedTrx),
    /// A gossiped trx was dropped: nothing ordered it in time.
    Dropped(TrxId),
}

/// Trxs waiting, bounded.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    limits: PoolLimits,
    entries: BTreeMap<TrxId, Entry>,
    order: BTreeMap<u64, TrxId>,
    timers: BTreeSet<(Time, TrxId)>,
    next_place: u64,
    bytes: usize,
    gossiped: usize,
    gossiped_bytes: usize,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Trxs waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the trxs waiting.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How full it is.
    pub fn footprint(&self, into: &mut Footprint) {
        let gossip = self.limits.gossip();
        into.add("pool_trxs", self.entries.len(), self.limits.trxs);
        into.add("pool_bytes", self.bytes, self.limits.bytes);
        into.add("pool_gossiped_trxs", self.gossiped, gossip.trxs);
        into.add("pool_gossiped_bytes", self.gossiped_bytes, gossip.bytes);
        // An entry has one timer and one place: more would be leftovers of entries gone.
        into.add("pool_timers", self.timers.len(), self.entries.len());
        into.add("pool_places", self.order.len(), self.entries.len());
    }

    /// The trx of this id.
    #[must_use]
    pub fn get(&self, id: &TrxId) -> Option<&CheckedTrx> {
        self.entries.get(id).map(|entry| &entry.trx)
    }

    /// Whether exactly these bytes wait here, so that their signature has been checked.
    #[must_use]
    pub fn has_bytes(&self, id: &TrxId, bytes: &[u8]) -> bool {
        self.entries.get(id).is_some_and(|entry| *entry.trx.bytes == *bytes)
    }

    /// Whether this trx waits here and was accepted from a client of this node.
    #[must_use]
    pub fn is_own(&self, id: &TrxId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.kind != Kind::Gossiped)
    }

    /// Ids of the own trxs, in order of arrival.
    pub fn own(&self) -> impl Iterator<Item = &TrxId> {
        self.order.values().filter(|id| self.is_own(id))
    }

    /// Takes a trx of a client of this node. The caller records it before it answers the client.
    ///
    /// # Errors
    /// [`PoolFull`].
    pub fn add_own(&mut self, now: Time, id: TrxId, trx: CheckedTrx) -> Result<Added, PoolFull> {
        let place = match self.entries.get(&id) {
            Some(entry) if entry.kind != Kind::Gossiped => return Ok(Added::Known),
            // It came back by gossip before (a restart of the client): now it is also promised.
            Some(entry) => Some(entry.place),
            None => None,
        };
        let freed = if place.is_some() { self.entries[&id].trx.bytes.len() } else { 0 };
        let count = self.entries.len() + usize::from(place.is_none());
        if count > self.limits.trxs || self.bytes - freed + trx.bytes.len() > self.limits.bytes {
            return Err(PoolFull);
        }
        self.remove(&id);
        let kind = Kind::Own { pause_ms: RESEND_MS };
        self.insert(id, trx, kind, now.after(RESEND_MS), place);
        Ok(Added::New)
    }

    /// Takes an own trx back from its note: it was accepted before a restart, so no limit applies.
    /// It is gossiped at once.
    pub fn restore(&mut self, now: Time, id: TrxId, trx: CheckedTrx) {
        self.remove(&id);
        self.insert(id, trx, Kind::Own { pause_ms: RESEND_MS }, now, None);
    }

    /// Replaces an own trx by another signing of it, in its place; it is due for gossip at `now`.
    pub fn renew(&mut self, now: Time, id: TrxId, trx: CheckedTrx) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (kind, place) = (entry.kind, entry.place);
        self.remove(&id);
        self.insert(id, trx, kind, now, Some(place));
    }

    /// Takes a gossiped trx.
    ///
    /// # Errors
    /// [`PoolFull`]: others' trxs have their share of the pool already.
    pub fn add_gossiped(
        &mut self,
        now: Time,
        id: TrxId,
        trx: CheckedTrx,
    ) -> Result<Added, PoolFull> {
        let mut place = None;
        if let Some(entry) = self.entries.get(&id) {
            let newer = trx.trx.sender_pubkey == entry.trx.trx.sender_pubkey
                && trx.trx.time_stamp > entry.trx.trx.time_stamp;
            if entry.kind != Kind::Gossiped || !newer {
                return Ok(Added::Known);
            }
            // Signed again because it had expired.
            place = Some(entry.place);
        }
        let freed = if place.is_some() { self.entries[&id].trx.bytes.len() } else { 0 };
        let limits = self.limits.gossip();
        let (count, size) = (usize::from(place.is_none()), trx.bytes.len());
        if self.gossiped + count > limits.trxs
            || self.gossiped_bytes - freed + size > limits.bytes
            || self.entries.len() + count > self.limits.trxs
            || self.bytes - freed + size > self.limits.bytes
        {
            return Err(PoolFull);
        }
        self.remove(&id);
        self.insert(id, trx, Kind::Gossiped, now.after(POOL_VOLATILE_MS), place);
        Ok(Added::New)
    }

    fn insert(&mut self, id: TrxId, trx: CheckedTrx, kind: Kind, timer: Time, place: Option<u64>) {
        let place = place.unwrap_or_else(|| {
            self.next_place += 1;
            self.next_place
        });
        self.bytes += trx.bytes.len();
        if kind == Kind::Gossiped {
            self.gossiped += 1;
            self.gossiped_bytes += trx.bytes.len();
        }
        self.order.insert(place, id);
        self.timers.insert((timer, id));
        let old = self.entries.insert(id, Entry { trx, kind, place, timer });
        assert!(old.is_none(), "a trx is removed before it is replaced");
    }

    /// Takes a trx out. Returns whether it was an own one, whose note the caller must remove.
    pub fn remove(&mut self, id: &TrxId) -> bool {
        let Some(entry) = self.entries.remove(id) else { return false };
        self.order.remove(&entry.place);
        self.timers.remove(&(entry.timer, *id));
        let size = entry.trx.bytes.len();
        self.bytes -= size;
        if entry.kind == Kind::Gossiped {
            self.gossiped -= 1;
            self.gossiped_bytes -= size;
        }
        entry.kind != Kind::Gossiped
    }

    /// Forgets all gossiped trxs: this node orders no longer.
    pub fn clear_gossiped(&mut self) {
        let ids: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.kind == Kind::Gossiped)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.remove(&id);
        }
    }

    /// The next timer that is due, at most once per call; `None` if none is.
    pub fn due(&mut self, now: Time) -> Option<Due> {
        let (time, id) = *self.timers.first()?;
        if time > now {
            return None;
        }
        if mutated(Mutant::OwnEvicted) {
            self.remove(&id);
            return Some(Due::Dropped(id));
        }
        let entry = self.entries.get_mut(&id).expect("a timer belongs to an entry");
        let Kind::Own { pause_ms } = &mut entry.kind else {
            self.remove(&id);
            return Some(Due::Dropped(id));
        };
        let mut next = now.after(*pause_ms);
        *pause_ms = (*pause_ms * 2).min(RESEND_MAX_MS);
        // Come back as soon as it has expired, to sign it again.
        if let Ok(expired) = u64::try_from(entry.trx.trx.expired / 1_000_000)
            && expired > now.0
        {
            next = next.min(Time(expired).after(1));
        }
        self.timers.remove(&(time, id));
        entry.timer = next;
        self.timers.insert((next, id));
        Some(Due::Resend(entry.trx.clone()))
    }

    /// When [`Pool::due`] has something to say.
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// Draws what this node proposes: everything if little waits. Else each trx of the window falls
    /// to one producer, by a hash that differs from epoch to epoch, so that together the producers
    /// propose all of it once; and one in [`EXTRA`] of the others' is drawn at random besides, so that
    /// nobody can keep a trx out by being the one it falls to. Expired trxs are left out.
    #[must_use]
    pub fn select(&self, rng: &mut ChaCha20Rng, lot: Lot, now_ns: i64) -> Vec<Arc<[u8]>> {
        let mut window = Vec::new();
        let mut bytes = 0;
        for id in self.order.values() {
            let trx = &self.entries[id].trx;
            if trx.trx.is_expired(now_ns) {
                continue;
            }
            let full = window.len() == WINDOW_TRXS || bytes + trx.bytes.len() > WINDOW_BYTES;
            if full && !window.is_empty() {
                break;
            }
            bytes += trx.bytes.len();
            window.push((id, &trx.bytes));
        }
        let whole = bytes <= WINDOW_SMALL;
        let mut mine = |id| whole || lot.falls_to(id) || rng.random_ratio(1, EXTRA);
        let drawn: Vec<Arc<[u8]>> =
            window.iter().filter(|(id, _)| mine(id)).map(|(_, bytes)| Arc::clone(bytes)).collect();
        match window.first() {
            Some((_, oldest)) if drawn.is_empty() => vec![Arc::clone(oldest)],
            _ => drawn,
        }
    }
}

/// An own trx as its note: the canonical encoding, nothing else.
#[must_use]
pub fn read_note(key: &[u8], bytes: &Arc<[u8]>) -> Option<(TrxId, CheckedTrx)> {
    let message: quorate_ledger::proto::Trx = decode_message("trx", bytes, trx::MAX_TRX).ok()?;
    let id = message.id()?;
    (id.0.as_bytes() == key).then(|| (id, CheckedTrx { trx: message, bytes: bytes.clone() }))
}

#[cfg(test)]
mod tests;
