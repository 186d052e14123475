//! Commands that only the leader can do: kept until it has answered.
//!
//! A command is sent to the leader as soon as one is known, and again when another node leads or no
//! answer comes. A write carries an idempotency key (its caller's, or a fresh one), so that it is
//! done once however often it is sent. A member change is sent once.
//!
//! A refusal says that nothing was done, and never will be. So the leader takes each copy of a
//! command once ([`Taken`]), and the node that has sent a write more than once does not believe one
//! leader's refusal: another may have done it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_consensus::core::Time;

use super::api::{Code, Command, Error, PeerRef, Ticket};
use super::limits::{FORWARD_ATTEMPTS, FORWARD_RETRY_MS, MAX_REFUSALS};
use super::waits::WaiterId;

/// A command that waits for the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forward {
    /// Who wants the answer.
    pub ticket: Ticket,
    /// The command.
    pub command: Command,
    deadline: Time,
    attempts: u32,
    due: Option<Time>,
}

impl Forward {
    /// Whether it is a write that some leader may have done, whatever another one says: it was sent
    /// more than `sent` times.
    pub const fn is_doubtful(&self, sent: u32) -> bool {
        self.attempts > sent && matches!(self.command, Command::Write { .. })
    }

    /// Until when its caller waits.
    pub const fn deadline(&self) -> Time {
        self.deadline
    }
}

/// All commands that wait for the leader.
#[derive(Debug, Default)]
pub struct Forwards {
    next: u64,
    waiting: BTreeMap<u64, Forward>,
    unsent: BTreeSet<u64>,
    /// When each has to be looked at again.
    due: BTreeSet<(Time, u64)>,
    /// Writes answered early whose commit is waited for here.
    early: BTreeMap<u64, WaiterId>,
}

impl Forwards {
    /// Ids begin with `first`, drawn at random: answers to an earlier life are then not mistaken.
    pub fn new(first: u64) -> Self {
        Self { next: first, ..Self::default() }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a command.
    pub fn add(&mut self, ticket: Ticket, command: Command, deadline: Time) {
        self.next = self.next.wrapping_add(1);
        let forward = Forward { ticket, command, deadline, attempts: 0, due: Some(deadline) };
        self.waiting.insert(self.next, forward);
        self.unsent.insert(self.next);
        self.due.insert((deadline, self.next));
    }

    /// Takes out all that have not been sent: this node leads now.
    pub fn take_unsent(&mut self) -> Vec<Forward> {
        let unsent = std::mem::take(&mut self.unsent);
        unsent.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Whether any has not been sent.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// What is to be sent to the leader now.
    pub fn send(&mut self, now: Time) -> Vec<(u64, Command)> {
        let mut sent = Vec::new();
        for id in std::mem::take(&mut self.unsent) {
            let Some(forward) = self.waiting.get_mut(&id) else { continue };
            forward.attempts += 1;
            let due = now.after(FORWARD_RETRY_MS).min(forward.deadline);
            if let Some(before) = forward.due.replace(due) {
                self.due.remove(&(before, id));
            }
            self.due.insert((due, id));
            sent.push((id, forward.command.clone()));
        }
        sent
    }

    /// Another node leads, or the one asked does not: what was sent is sent again. Returns what
    /// must not be.
    pub fn again(&mut self, only: Option<u64>) -> Vec<(Ticket, Error)> {
        let ids: Vec<u64> = match only {
            Some(id) => vec![id],
            None => self.waiting.keys().copied().filter(|id| !self.unsent.contains(id)).collect(),
        };
        ids.into_iter().filter_map(|id| self.retry(id)).collect()
    }

    fn retry(&mut self, id: u64) -> Option<(Ticket, Error)> {
        let forward = self.waiting.get(&id)?;
        let once = matches!(forward.command, Command::Member(_) | Command::Nominate);
        let code = if once {
            Code::TransactionReplicationFailed
        } else if forward.attempts >= FORWARD_ATTEMPTS {
            Code::TransactionCommitAttemptsExceedLimit
        } else {
            self.unsent.insert(id);
            return None;
        };
        let forward = self.take(id)?;
        Some((forward.ticket, Error::new(code, "the leader's answer was lost")))
    }

    /// Takes one out: it is answered.
    pub fn take(&mut self, id: u64) -> Option<Forward> {
        let forward = self.waiting.remove(&id)?;
        self.unsent.remove(&id);
        if let Some(due) = forward.due {
            self.due.remove(&(due, id));
        }
        Some(forward)
    }

    /// Time has passed: returns what is refused because of it.
    pub fn expire(&mut self, now: Time) -> Vec<(Ticket, Error)> {
        let mut refused = Vec::new();
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id));
            let Some(forward) = self.waiting.get_mut(&id) else { continue };
            forward.due = None;
            if now < forward.deadline {
                let deadline = forward.deadline;
                forward.due = Some(deadline);
                self.due.insert((deadline, id));
                refused.extend(self.retry(id));
                continue;
            }
            let error = if forward.attempts == 0 {
                Error::new(Code::PrimaryNotFound, "no leader is known")
            } else {
                Error::new(Code::TransactionReplicationFailed, "the leader did not answer")
            };
            refused.extend(self.take(id).map(|forward| (forward.ticket, error)));
        }
        refused
    }

    /// The leader answered early; `waiter` waits for the commit.
    pub fn answered_early(&mut self, id: u64, waiter: WaiterId) {
        self.early.insert(id, waiter);
    }

    /// It is decided: who waited for that, if anybody still does.
    pub fn decided(&mut self, id: u64) -> Option<WaiterId> {
        self.early.remove(&id)
    }

    /// When something has to be looked at.
    pub fn wake(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// A command of another node: who forwarded it, under which id.
type Source = (PeerRef, u64);

/// Forwarded commands that this node has taken as the leader.
#[derive(Debug, Default)]
pub struct Taken {
    /// Without an answer; each is among the waiters or the reads.
    open: BTreeSet<Source>,
    refused: BTreeMap<Source, Error>,
    order: VecDeque<Source>,
}

/// What is to be done with a forwarded command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Take {
    /// Do it.
    New,
    /// It will be answered.
    Open,
    /// It was refused before: the same answer again.
    Refused(Error),
}

impl Taken {
    /// A command has come.
    pub fn take(&mut self, peer: &PeerRef, id: u64) -> Take {
        let source = (peer.clone(), id);
        if let Some(error) = self.refused.get(&source) {
            return Take::Refused(error.clone());
        }
        if self.open.insert(source) { Take::New } else { Take::Open }
    }

    /// It is answered, or will not be. Refusals for good are remembered; that a node does not lead
    /// is none.
    pub fn answered(&mut self, peer: &PeerRef, id: u64, refusal: Option<&Error>) {
        let source = (peer.clone(), id);
        if !self.open.remove(&source) {
            return;
        }
        let Some(error) = refusal.filter(|error| error.code != Code::PrimaryNotFound) else {
            return;
        };
        self.order.push_back(source.clone());
        self.refused.insert(source, error.clone());
        while self.order.len() > MAX_REFUSALS {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.refused.remove(&oldest));
        }
    }

    /// How many refusals are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}
