//! Fetching certified blocks: whom to ask, when, and for how much.
//!
//! | line | rule |
//! |---|---|
//! | CUP-1 | Peers claim heads (hints, statuses, blocks too far ahead). The highest claim above the own head is fetched from the peer that made it; one fetch at a time. |
//! | CUP-2 | An answer in time that brings the head forward doubles the next batch; none, a useless or a wrong one halves it and drops the peer's claim. |
//! | CUP-3 | Without claims somebody is asked from time to time, so that a lost hint does not hold a node up for ever. |
//! | CUP-4 | Every fetched block is checked: link to the head, certificate of the view in force at it, the rules for trxs, write set and Merkle root. Only then is it recorded. |
//! | CUP-5 | A certified block that differs from the own recorded, uncertified one is never applied: more than `f` producers are traitors, or this node is broken. |
//! | CUP-6 | Epochs without blocks are skipped when `f + 1` producers say that all epochs before one brought no block above the own head. |
//!
//! This module holds CUP-1 to CUP-3; [`crate::Replica`] does the rest.

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

/// Who claims what, and the fetch in progress.
#[derive(Clone, Debug)]
pub struct Catchup {
    claims: BTreeMap<PeerRef, BlockId>,
    fetch: Option<Fetch>,
    batch: u32,
    failures: u32,
    poll_at: Time,
}

impl Catchup {
    /// Nothing is known yet; somebody is asked at once.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { claims: BTreeMap::new(), fetch: None, batch: FETCH_START, failures: 0, poll_at: now }
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

    fn asked(&self, peer: &PeerRef) -> bool {
        self.fetch.as_ref().is_some_and(|fetch| match &fetch.to {
            Address::Peer(asked) => asked == peer,
            _ => true,
        })
    }

    /// CUP-2: `peer` sent blocks, and `applied` of them brought the head forward; `wrong`: one of
    /// them did not verify.
    pub fn answered(&mut self, peer: &PeerRef, applied: usize, wrong: bool, head: BlockId) {
        self.claims.retain(|_, id| *id > head);
        let asked = self.asked(peer);
        if asked {
            self.fetch = None;
        }
        if wrong || (asked && applied == 0) {
            self.claims.remove(peer);
            self.fail();
        } else if asked && applied > 0 {
            self.failures = 0;
            self.batch = (self.batch * 2).min(MAX_FETCH_BLOCKS as u32);
        }
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
            if now < fetch.deadline {
                return None;
            }
            // CUP-2: too late. Somebody who was asked without a claim owes nothing.
            if let Address::Peer(peer) = &fetch.to {
                self.claims.remove(&peer.clone());
                self.fail();
            }
            self.fetch = None;
        }
        let best = self.claims.iter().max_by_key(|(_, id)| **id);
        let to = match best {
            Some((peer, _)) => Address::Peer(peer.clone()),
            None if now >= self.poll_at => Address::Somebody,
            None => return None,
        };
        let timeout = (FETCH_TIMEOUT_MS << self.failures.min(8)).min(FETCH_TIMEOUT_MAX_MS);
        self.poll_at = now.after(POLL_MS);
        self.fetch = Some(Fetch { to: to.clone(), deadline: now.after(timeout) });
        Some(Question { to, from: head.next(), max: self.batch })
    }

    /// When to call [`Catchup::tick`].
    #[must_use]
    pub fn wake(&self, now: Time) -> Time {
        match &self.fetch {
            Some(fetch) => fetch.deadline,
            None if self.claims.is_empty() => self.poll_at,
            None => now,
        }
    }

    /// How full it is.
    pub fn footprint(&self, into: &mut Footprint) {
        into.add("claims", self.claims.len(), MAX_CLAIMS);
    }

    /// Whether blocks are known to be missing.
    #[must_use]
    pub fn syncing(&self) -> bool {
        !self.claims.is_empty()
    }
}

#[cfg(test)]
mod tests;
