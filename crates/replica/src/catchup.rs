//! Fetching certified blocks: whom to ask, when, and for how much.
//!
//! | line | rule |
//! |---|---|
//! | CUP-1 | Peers claim heads (hints, statuses, blocks too far ahead). What is above the own head is fetched from a peer that claims it, one fetch at a time: of those that failed least the one whose turn is longest ago, of those the one with the highest claim. So a liar, however high its claims and however often it repeats them, does not keep others from being asked. |
//! | CUP-2 | An answer in time that brings the head forward doubles the next batch; none, a useless or a wrong one halves it and drops the peer's claim. A block further ahead than what was asked for is gossip, whoever it comes from, and no answer. |
//! | CUP-3 | Without claims somebody is asked from time to time, so that a lost hint does not hold a node up for ever. Whoever claims something meanwhile, or comes, is asked at once instead: a node that has just started asks before anybody is there to hear it. |
//! | CUP-4 | Every fetched block is checked: link to the head, certificate of the view in force at it, the rules for trxs, write set and Merkle root. Only then is it recorded. |
//! | CUP-5 | A certified block that differs from the own recorded, uncertified one is never applied: more than `f` producers are traitors, or this node is broken. |
//! | CUP-6 | Epochs without blocks are skipped when `f + 1` producers say that all epochs before one brought no block above the own head. |
//!
//! This module holds CUP-1 to CUP-3; [`crate::Replica`] does the rest.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use quorate_consensus::core::Time;
use quorate_consensus::footprint::Footprint;
use quorate_ledger::ids::BlockId;

use crate::api::{Address, PeerRef};
use crate::limits::{
    FETCH_START, FETCH_TIMEOUT_MAX_MS, FETCH_TIMEOUT_MS, MAX_CLAIMS, MAX_FETCH_BLOCKS, POLL_MS,
};

#[derive(Clone, PartialEq, Eq, Debug)]
struct Fetch {
    to: Address,
    deadline: Time,
}

/// A question to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Whom to ask.
    pub to: Address,
    /// First block wanted.
    pub from: BlockId,
    /// How many.
    pub max: u32,
}

/// How a peer has answered: whoever is the least is asked next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Conduct {
    /// Fetches in a row that it did not answer well.
    failures: u32,
    /// When it was last asked: the number of the fetch.
    asked: u64,
}

/// Who claims what, and the fetch in progress.
#[derive(Clone, Debug)]
pub struct Catchup {
    claims: BTreeMap<PeerRef, BlockId>,
    /// How peers that were asked have answered.
    records: BTreeMap<PeerRef, Conduct>,
    asked: u64,
    fetch: Option<Fetch>,
    batch: u32,
    failures: u32,
    poll_at: Time,
}

impl Catchup {
    /// Nothing is known yet; somebody is asked at once.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            claims: BTreeMap::new(),
            records: BTreeMap::new(),
            asked: 0,
            fetch: None,
            batch: FETCH_START,
            failures: 0,
            poll_at: now,
        }
    }

    /// CUP-1: a peer claims a head.
    pub fn claim(&mut self, peer: &PeerRef, id: BlockId, head: BlockId) {
        if id <= head {
            self.claims.remove(peer);
            if self.asked(peer) {
                self.fetch = None;
            }
            return;
        }
        if self.claims.len() >= MAX_CLAIMS && !self.claims.contains_key(peer) {
            let lowest = self.claims.iter().min_by_key(|(_, id)| **id);
            let Some((lowest, claim)) = lowest.map(|(peer, id)| (peer.clone(), *id)) else {
                return;
            };
            if claim >= id {
                return;
            }
            self.claims.remove(&lowest);
        }
        self.claims.insert(peer.clone(), id);
    }

    /// CUP-3: a peer came.
    pub fn met(&mut self, peer: &PeerRef, head: BlockId) {
        if self.asks_anybody() {
            self.claim(peer, head.next(), head);
        }
    }

    fn asked(&self, peer: &PeerRef) -> bool {
        self.asks_anybody() || self.owes(peer)
    }

    /// Whether a question to nobody in particular is open.
    fn asks_anybody(&self) -> bool {
        self.fetch.as_ref().is_some_and(|fetch| fetch.to == Address::Somebody)
    }

    /// Whether a peer was asked because of its claim, and has not answered.
    fn owes(&self, peer: &PeerRef) -> bool {
        let to = self.fetch.as_ref().map(|fetch| &fetch.to);
        matches!(to, Some(Address::Peer(asked)) if asked == peer)
    }

    /// CUP-2: `peer` sent blocks, and `applied` of them brought the head forward; `wrong`: one of
    /// them did not verify.
    pub fn answered(&mut self, peer: &PeerRef, applied: usize, wrong: bool, head: BlockId) {
        self.claims.retain(|_, id| *id > head);
        let (asked, owes) = (self.asked(peer), self.owes(peer));
        if owes || (asked && applied > 0) {
            self.fetch = None;
        }
        if wrong || (owes && applied == 0) {
            self.claims.remove(peer);
            self.blame(peer);
            // What nobody asked for is no reason to ask others for less.
            if owes {
                self.fail();
            }
        } else if asked && applied > 0 {
            if let Some(record) = self.records.get_mut(peer) {
                record.failures = 0;
            }
            self.failures = 0;
            self.batch = (self.batch * 2).min(MAX_FETCH_BLOCKS as u32);
        }
    }

    /// A peer's record; the best one is forgotten when there are too many.
    fn record(&mut self, peer: &PeerRef) -> &mut Conduct {
        if self.records.len() >= MAX_CLAIMS && !self.records.contains_key(peer) {
            let best = self.records.iter().min_by_key(|(_, record)| **record);
            if let Some(best) = best.map(|(peer, _)| peer.clone()) {
                self.records.remove(&best);
            }
        }
        self.records.entry(peer.clone()).or_default()
    }

    fn blame(&mut self, peer: &PeerRef) {
        let record = self.record(peer);
        record.failures = record.failures.saturating_add(1);
    }

    fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.batch = (self.batch / 2).max(1);
    }

    /// The head came forward by other means: nothing needs to be asked for a while.
    pub fn progress(&mut self, now: Time, head: BlockId) {
        self.claims.retain(|_, id| *id > head);
        self.poll_at = now.after(POLL_MS);
    }

    /// What to ask now, if anything.
    pub fn tick(&mut self, now: Time, head: BlockId) -> Option<Question> {
        if let Some(fetch) = &self.fetch {
            if now < fetch.deadline && !self.is_better_asked() {
                return None;
            }
            // CUP-2: too late. Somebody who was asked without a claim owes nothing.
            if let Address::Peer(peer) = fetch.to.clone() {
                self.claims.remove(&peer);
                self.blame(&peer);
                self.fail();
            }
            self.fetch = None;
        }
        let rank = |(peer, id): &(&PeerRef, &BlockId)| {
            (self.records.get(*peer).copied().unwrap_or_default(), Reverse(**id))
        };
        let best = self.claims.iter().min_by_key(rank).map(|(peer, _)| peer.clone());
        let to = match best {
            Some(peer) => {
                self.asked += 1;
                let asked = self.asked;
                self.record(&peer).asked = asked;
                Address::Peer(peer)
            }
            None if now >= self.poll_at => Address::Somebody,
            None => return None,
        };
        let timeout = (FETCH_TIMEOUT_MS << self.failures.min(8)).min(FETCH_TIMEOUT_MAX_MS);
        self.poll_at = now.after(POLL_MS);
        self.fetch = Some(Fetch { to: to.clone(), deadline: now.after(timeout) });
        Some(Question { to, from: head.next(), max: self.batch })
    }

    /// CUP-3: whether there is a claim, and only somebody was asked.
    fn is_better_asked(&self) -> bool {
        self.asks_anybody() && !self.claims.is_empty()
    }

    /// When to call [`Catchup::tick`].
    #[must_use]
    pub fn wake(&self, now: Time) -> Time {
        match &self.fetch {
            Some(_) if self.is_better_asked() => now,
            Some(fetch) => fetch.deadline,
            None if self.claims.is_empty() => self.poll_at,
            None => now,
        }
    }

    /// How full it is.
    pub fn footprint(&self, into: &mut Footprint) {
        into.add("claims", self.claims.len(), MAX_CLAIMS);
        into.add("records_of_peers", self.records.len(), MAX_CLAIMS);
    }

    /// Whether blocks are known to be missing.
    #[must_use]
    pub fn syncing(&self) -> bool {
        !self.claims.is_empty()
    }
}

#[cfg(test)]
mod tests;
