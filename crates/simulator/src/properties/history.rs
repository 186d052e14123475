//! What clients did and saw in one group, against its one order. Every check takes time in the size
//! of what is checked, not of the history: the order is known, nothing has to be searched.
//! `docs/consistency.md` says what clients may rely on.

use std::collections::BTreeMap;

use quorate_crypto::hash::Digest;
use quorate_ledger::block::Block;
use quorate_ledger::ids::{BlockId, TrxId};
use quorate_ledger::proto::TrxType;

use super::Violation;
use super::linearizability::{self, Call, Log, LogCall};

/// Longest part of the log that is searched at once.
const WINDOW: usize = 32;

/// What a client read at one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// The hash of the head.
    Head(Digest),
    /// The hash of a block, if it was there.
    Block(BlockId, Option<Digest>),
    /// The block of a trx, if it was there.
    Trx(TrxId, Option<BlockId>),
    /// So many of the newest posts were asked for, these came, newest first.
    Newest(usize, Vec<TrxId>),
}

#[derive(Debug)]
struct Submission {
    node: usize,
    invoked: u64,
    /// The highest block anybody had seen when it was made.
    floor: BlockId,
    acknowledged: Option<TrxId>,
    /// Its place in the log, and its block.
    place: Option<(usize, BlockId)>,
    /// When its node showed it as final.
    seen: Option<u64>,
}

/// The history of one group.
#[derive(Debug)]
pub struct History {
    /// By the number of the client's command.
    submissions: BTreeMap<u64, Submission>,
    acknowledged: BTreeMap<TrxId, u64>,
    hashes: BTreeMap<BlockId, Digest>,
    /// The posts, in order.
    log: Vec<TrxId>,
    /// How long the log is after a block.
    ends: BTreeMap<BlockId, usize>,
    /// Where each trx is, with the command it came of if that is known.
    trxs: BTreeMap<TrxId, (BlockId, Option<u64>)>,
    /// The highest block that a node has shown, to anybody, since its disk was last damaged.
    shown: BTreeMap<usize, BlockId>,
    /// The highest block that anybody has seen.
    frontier: BlockId,
    reads: u64,
}

impl History {
    /// Of a group with this genesis block.
    #[must_use]
    pub fn new(genesis: Digest) -> Self {
        Self {
            submissions: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            hashes: BTreeMap::from([(BlockId(0), genesis)]),
            log: Vec::new(),
            ends: BTreeMap::from([(BlockId(0), 0)]),
            trxs: BTreeMap::new(),
            shown: BTreeMap::new(),
            frontier: BlockId(0),
            reads: 0,
        }
    }

    /// Reads checked.
    #[must_use]
    pub const fn reads(&self) -> u64 {
        self.reads
    }

    /// Posts in order, so far.
    #[must_use]
    pub fn posts(&self) -> &[TrxId] {
        &self.log
    }

    /// The highest block that anybody has seen.
    #[must_use]
    pub const fn frontier(&self) -> BlockId {
        self.frontier
    }

    /// A client gives a node a post, with the command `ticket`.
    pub fn submit(&mut self, ticket: u64, node: usize, now: u64) {
        let floor = self.frontier;
        let made =
            Submission { node, invoked: now, floor, acknowledged: None, place: None, seen: None };
        self.submissions.insert(ticket, made);
    }

    /// The node answers: it is accepted as `trx`.
    ///
    /// # Errors
    /// It was told so before, of another command or by another id.
    pub fn acknowledge(&mut self, ticket: u64, trx: TrxId) -> Result<(), Violation> {
        let twice = |text: String| Err(Violation::new("exactly_once", text));
        if let Some(other) = self.acknowledged.insert(trx, ticket) {
            return twice(format!("trx {trx} is acknowledged to commands {other} and {ticket}"));
        }
        let Some(made) = self.submissions.get_mut(&ticket) else { return Ok(()) };
        if let Some(other) = made.acknowledged.replace(trx) {
            return twice(format!("command {ticket} is acknowledged as trxs {other} and {trx}"));
        }
        match self.trxs.get(&trx) {
            Some((block, of)) if *of != Some(ticket) => {
                twice(format!("trx {trx} in block {block} is of command {of:?}, not {ticket}"))
            }
            _ => Ok(()),
        }
    }

    /// A block that no node has shown before is final; `submitted` are the posts of clients in it,
    /// with their commands.
    ///
    /// # Errors
    /// A trx is ordered before what was seen when it was submitted.
    pub fn ordered(
        &mut self,
        block: &Block,
        submitted: &BTreeMap<TrxId, u64>,
    ) -> Result<(), Violation> {
        let id = block.header.id;
        self.hashes.insert(id, block.hash());
        for trx in &block.trxs {
            let Some(trx_id) = trx.id() else { continue };
            let ticket = submitted.get(&trx_id).copied();
            self.trxs.insert(trx_id, (id, ticket));
            if trx.trx_type() == Some(TrxType::Post) {
                let place = (self.log.len(), id);
                self.log.push(trx_id);
                if let Some(made) = ticket.and_then(|ticket| self.submissions.get_mut(&ticket)) {
                    made.place = Some(place);
                    if id <= made.floor {
                        let (at, floor) = (made.invoked, made.floor);
                        let text = format!(
                            "trx {trx_id}, submitted at {at} when block {floor} had been seen, \
                             is ordered in block {id}"
                        );
                        return Err(Violation::new("real_time_order", text));
                    }
                }
            }
        }
        self.ends.insert(id, self.log.len());
        Ok(())
    }

    /// A correct node says that a block is final.
    pub fn seen(&mut self, node: usize, block: &Block, now: u64) {
        let id = block.header.id;
        self.frontier = self.frontier.max(id);
        let shown = self.shown.entry(node).or_default();
        *shown = id.max(*shown);
        for trx_id in block.trxs.iter().filter_map(|trx| trx.id()) {
            let ticket = self.trxs.get(&trx_id).and_then(|(_, ticket)| *ticket);
            let made = ticket.and_then(|ticket| self.submissions.get_mut(&ticket));
            if let Some(made) = made.filter(|made| made.node == node) {
                made.seen.get_or_insert(now);
            }
        }
    }

    /// A node's disk is damaged: it may go back to what others have.
    pub fn damaged(&mut self, node: usize) {
        self.shown.remove(&node);
    }

    /// A client read something at a node whose head was `head`.
    ///
    /// # Errors
    /// It is not what the ledger up to `head` says, or the node has gone back.
    pub fn read(&mut self, node: usize, head: BlockId, read: &Read) -> Result<(), Violation> {
        self.reads += 1;
        let shown = self.shown.get(&node).copied().unwrap_or_default();
        if head < shown {
            let text = format!("n{node} shows head {head}, and showed block {shown} before");
            return Err(Violation::new("session_order", text));
        }
        let (Some(hash), Some(end)) = (self.hashes.get(&head), self.ends.get(&head)) else {
            let text = format!("n{node} shows head {head}, which nobody has said is final");
            return Err(Violation::new("prefix_reads", text));
        };
        let there = |block: &BlockId| *block <= head;
        let right = match read {
            Read::Head(found) => found == hash,
            Read::Block(id, found) => {
                let expected = self.hashes.get(id).filter(|_| there(id));
                found.as_ref() == expected
            }
            Read::Trx(id, found) => {
                let expected = self.trxs.get(id).map(|(block, _)| *block).filter(there);
                *found == expected
            }
            Read::Newest(most, found) => {
                let newest = self.log[..*end].iter().rev().take(*most);
                newest.eq(found)
            }
        };
        if right {
            self.frontier = self.frontier.max(head);
            self.shown.insert(node, head);
            return Ok(());
        }
        let text =
            format!("n{node} with head {head} shows {read:?}: {}", self.expected(head, read));
        Err(Violation::new("prefix_reads", text))
    }

    fn expected(&self, head: BlockId, read: &Read) -> String {
        match read {
            Read::Head(_) => format!("block {head} is {:?}", self.hashes.get(&head)),
            Read::Block(id, _) => format!("block {id} is {:?}", self.hashes.get(id)),
            Read::Trx(id, _) => format!("the trx is in {:?}", self.trxs.get(id)),
            Read::Newest(..) => {
                let end = self.ends.get(&head).copied().unwrap_or_default();
                let log: Vec<String> = self.log[..end].iter().map(ToString::to_string).collect();
                format!("the posts are {}", log.join(" "))
            }
        }
    }

    /// The submissions as operations on a log: each is an append that ends when its node shows it as
    /// final, and a read of the log up to there. What has no place in the log has not happened yet.
    #[must_use]
    pub fn log(&self) -> Vec<Call<LogCall>> {
        let mut calls = Vec::new();
        let mut strangers = vec![true; self.log.len()];
        let mut reads: BTreeMap<usize, (Call<LogCall>, Call<LogCall>)> = BTreeMap::new();
        for made in self.submissions.values() {
            let Some((place, block)) = made.place else { continue };
            strangers[place] = false;
            let call = |operation| Call { invoked: made.invoked, returned: made.seen, operation };
            calls.push(call(LogCall::Append(place)));
            let length = self.ends.get(&block).copied().unwrap_or_default();
            let read = call(LogCall::Read(length));
            // Of the reads of one length those tell most that begin last and that end first.
            let kept = reads.entry(length).or_insert_with(|| (read.clone(), read.clone()));
            let end = |call: &Call<LogCall>| call.returned.unwrap_or(u64::MAX);
            if read.invoked > kept.0.invoked {
                kept.0 = read.clone();
            }
            if end(&read) < end(&kept.1) {
                kept.1 = read;
            }
        }
        for (first, second) in reads.into_values() {
            if first != second {
                calls.push(second);
            }
            calls.push(first);
        }
        // Nobody knows when strangers began.
        let strange = (0..self.log.len()).filter(|place| strangers[*place]);
        calls.extend(strange.map(|place| Call {
            invoked: 0,
            returned: None,
            operation: LogCall::Append(place),
        }));
        calls
    }

    /// Whether the submissions are linearizable, a part of the log at a time.
    ///
    /// # Errors
    /// They are not.
    pub fn linearizable(&self) -> Result<(), Violation> {
        let calls = self.log();
        for begin in (0..self.log.len()).step_by(WINDOW) {
            let within = |call: &Call<LogCall>| {
                let operation = match call.operation {
                    LogCall::Append(place) => {
                        let place = place.checked_sub(begin).filter(|place| *place < WINDOW);
                        LogCall::Append(place?)
                    }
                    LogCall::Read(length) => {
                        let length = length.checked_sub(begin).filter(|length| *length <= WINDOW);
                        LogCall::Read(length?)
                    }
                };
                Some(Call { operation, ..*call })
            };
            let part: Vec<_> = calls.iter().filter_map(within).collect();
            linearizability::check::<Log>(&part).map_err(|error| {
                let text = format!("posts from {begin} on, moments in us: {error}");
                Violation::new("linearizable", text)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
