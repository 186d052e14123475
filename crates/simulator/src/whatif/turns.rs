//! A turn of a group's thread, and what it costs.

use std::collections::BTreeSet;

use quorate_ledger::block::Block;
use quorate_ledger::ids::{BlockId, TrxId};
use quorate_replica::api::{Address, Input, Notice, Output};
use quorate_replica::driver::Turn;
use quorate_replica::wire::{Inbound, Packet};

use super::Message;
use super::costs::Costs;
use super::engine::{Engine, Threads};
use crate::disk::Wear;
use crate::keyed;

/// Inputs a group's thread takes in one turn, as in the node.
const TURN_INPUTS: usize = 4_096;

impl Engine {
    /// Takes a turn with what is in the inbox; what it costs.
    pub fn turn(&mut self, at: usize) -> u64 {
        let now = self.clock();
        let (processor, _) = self.place(at, Threads::Group);
        let woken = !self.processors[processor].is_short();
        let node = &mut self.nodes[at];
        node.asked = false;
        let Some(driver) = &mut node.driver else { return 0 };
        let taken = node.inbox.len().min(TURN_INPUTS);
        let mut inputs: Vec<_> = node.inbox.drain(..taken).collect();
        // A turn that leaves something takes its share of the price.
        let price = if node.inbox.is_empty() {
            node.price
        } else {
            node.price * taken as u64 / (taken + node.inbox.len()) as u64
        };
        node.price -= price;
        node.env.now = node.env.now.max(now);
        if node.wake.is_some_and(|wake| wake <= now) {
            inputs.push(Input::Wake);
        }
        let offered = offered(&inputs);
        let (trxs, wear) = (driver.journal().stats().trxs, node.disk.wear());
        let _ = keyed::take_work();
        let turn = driver.turn(&mut node.env, inputs);
        let ordered = driver.journal().stats().trxs - trxs;
        let after = node.disk.wear();
        let worn = Wear { syncs: after.syncs - wear.syncs, bytes: after.bytes - wear.bytes };
        let costs = &self.costs;
        let mut cost = u64::from(woken) * costs.thread_wake + costs.turn + price;
        let fetched = fetched(&turn, &offered).min(ordered);
        cost += (ordered - fetched) * costs.trx_order + fetched * costs.trx_replay;
        cost += unchecked(&turn, node.checked.as_ref()) * costs.trx_verify;
        cost += Costs::bytes(costs.write_kib, worn.bytes) + worn.syncs * costs.disk_sync_cpu;
        cost += self.cryptography(keyed::take_work()) + self.said(&turn);
        self.nodes[at].turn = Some((turn, worn.syncs));
        cost
    }

    fn cryptography(&self, work: keyed::Work) -> u64 {
        let costs = &self.costs;
        work.shares * costs.share
            + work.combined * self.committee.combine
            + work.verified * costs.joint_verify
            + work.sealed * costs.seal
            + Costs::bytes(costs.seal_kib, work.sealed_bytes)
            + work.opened * costs.open
            + Costs::bytes(costs.open_kib, work.opened_bytes)
    }

    /// What a turn did by its own account: shards, votes, frames signed.
    fn said(&self, turn: &Turn) -> u64 {
        let mut cost = 0;
        for trace in &turn.trace {
            let bytes = bytes_in(&trace.text.to_string()).unwrap_or(0);
            cost += match trace.line {
                "RBC-1" => Costs::bytes(self.committee.encode_kib, bytes),
                "RBC-6" => Costs::bytes(self.committee.decode_kib, bytes),
                "BLK-1" => self.costs.vote_sign,
                _ => 0,
            };
        }
        let mut frames: Vec<&Packet> = Vec::new();
        for output in &turn.outputs {
            if let Output::Send { to: Address::Member(_), packet } = output
                && !frames.iter().any(|frame| frame.is(packet))
            {
                frames.push(packet);
                cost += self.costs.frame_sign;
                cost += Costs::bytes(self.costs.hash_kib, packet.len() as u64);
            }
        }
        cost
    }
}

/// Blocks that others have sent, and that may be applied.
fn offered(inputs: &[Input<Message>]) -> BTreeSet<BlockId> {
    let blocks = inputs.iter().filter_map(|input| match input {
        Input::Inbound(_, Inbound::Blocks(blocks)) => Some(blocks),
        _ => None,
    });
    let headers = blocks.flatten().filter_map(|block| Block::peek(&block.bytes().0).ok());
    headers.map(|header| header.id).collect()
}

/// Trxs in those that a turn has made final and not decided itself.
fn fetched(turn: &Turn, offered: &BTreeSet<BlockId>) -> u64 {
    let decided = |block: &Block| {
        let said = format!("block {} of ", block.header.id);
        turn.trace.iter().any(|t| t.line == "BLK-1" && t.text.to_string().starts_with(&said))
    };
    let mut count = 0;
    for output in &turn.outputs {
        if let Output::Notice(Notice::Committed { block, .. }) = output
            && offered.contains(&block.header.id)
            && !decided(block)
        {
            count += block.trxs.len() as u64;
        }
    }
    count
}

/// Trxs in the blocks that a turn made final whose signatures the node had not checked before.
fn unchecked(turn: &Turn, checked: Option<&BTreeSet<TrxId>>) -> u64 {
    let Some(checked) = checked else { return 0 };
    let mut count = 0;
    for output in &turn.outputs {
        if let Output::Notice(Notice::Committed { block, .. }) = output {
            let ids = block.trxs.iter().filter_map(|trx| trx.id());
            count += ids.filter(|id| !checked.contains(id)).count() as u64;
        }
    }
    count
}

/// The number in front of the word "bytes" in a line of a trace.
fn bytes_in(text: &str) -> Option<u64> {
    let before = text.split(" bytes").next().filter(|before| before.len() < text.len())?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::bytes_in;

    #[test]
    fn the_trace_says_how_many_bytes() {
        assert_eq!(bytes_in("epoch 3: proposer 1: proposes 1234 bytes"), Some(1234));
        assert_eq!(bytes_in("proposer 1: delivers 7 bytes under 00ff"), Some(7));
        assert_eq!(bytes_in("proposer 1: READY"), None);
    }
}
