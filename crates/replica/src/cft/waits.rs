//! Callers that wait for the commit of a transaction \[O2\]: woken once for each advance of the
//! commit index, not one by one.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::core::Time;
use quorate_consensus::raft::Seqno;

use super::api::{Error, OpResult, PeerRef, Ticket, TxId, TxStatus};

/// Who wants an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A caller of this node.
    Local(Ticket),
    /// A node that forwarded a command, under this id.
    Remote(PeerRef, u64),
}

/// What the answer will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// That the write is decided.
    Written {
        /// What its operations gave.
        results: Vec<OpResult>,
        /// It was done before.
        repeated: bool,
    },
    /// The status alone.
    Status,
    /// A refusal, true if what it saw is committed.
    Refusal(Error),
}

/// A caller that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// For this transaction.
    pub tx: TxId,
    /// Who.
    pub origin: Origin,
    /// Until then.
    pub deadline: Time,
    /// For what.
    pub answer: Answer,
    /// The command it forwarded, if the leader will say when it is decided.
    pub forward: Option<u64>,
}

/// Names a waiter.
pub type WaiterId = (Seqno, u64);

/// All callers that wait.
#[derive(Debug, Default)]
pub struct Waits {
    next: u64,
    waiters: BTreeMap<WaiterId, Waiter>,
    deadlines: BTreeSet<(Time, WaiterId)>,
}

impl Waits {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Adds one.
    pub fn add(&mut self, waiter: Waiter) -> WaiterId {
        self.next += 1;
        let id = (waiter.tx.seqno, self.next);
        self.deadlines.insert((waiter.deadline, id));
        self.waiters.insert(id, waiter);
        id
    }

    /// Takes one out.
    pub fn take(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.deadlines.remove(&(waiter.deadline, id));
        Some(waiter)
    }

    /// Everything up to `seqno` is committed: takes out those whose transaction that decides. In a
    /// new view it may decide later ones, too.
    pub fn decide(
        &mut self,
        seqno: Seqno,
        new_view: bool,
        status: impl Fn(TxId) -> TxStatus,
    ) -> Vec<(Waiter, TxStatus)> {
        let mut decided = Vec::new();
        let later = self.waiters.split_off(&(seqno.saturating_add(1), 0));
        let due = std::mem::replace(&mut self.waiters, later);
        let is_final = |status| matches!(status, TxStatus::Committed | TxStatus::Invalid);
        for (id, waiter) in due {
            let status = status(waiter.tx);
            if is_final(status) {
                self.deadlines.remove(&(waiter.deadline, id));
                decided.push((waiter, status));
            } else {
                self.waiters.insert(id, waiter);
            }
        }
        if new_view {
            let lost = self.waiters.iter().filter(|(_, waiter)| is_final(status(waiter.tx)));
            let lost: Vec<_> = lost.map(|(id, _)| *id).collect();
            for waiter in lost.into_iter().filter_map(|id| self.take(id)) {
                let status = status(waiter.tx);
                decided.push((waiter, status));
            }
        }
        decided
    }

    /// Takes out those whose time is over.
    pub fn expire(&mut self, now: Time) -> Vec<Waiter> {
        let mut expired = Vec::new();
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            expired.extend(self.waiters.remove(&id));
        }
        expired
    }

    /// When the next one's time is over.
    pub fn wake(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
