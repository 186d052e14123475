//! What things cost on a machine: a table of nanoseconds, measured there and charged here.
//!
//! The simulator has no clock of its own, so it is lent one to measure with
//! ([`super::operations`]); what needs an operating system (packets, posts, syncs) the caller
//! measures and fills in.

use serde::{Deserialize, Serialize};

/// Costs that depend on the size of the committee, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitteeCosts {
    /// Producers.
    pub nodes: u64,
    /// Putting `n - f` shares together and verifying the joint signature once.
    pub combine: u64,
    /// Cutting a KiB of a proposal into shards, and the Merkle tree over them.
    pub encode_kib: u64,
    /// Putting a KiB of a proposal together, and encoding it again to check its root.
    pub decode_kib: u64,
    /// One protocol message taken by the ordering core.
    pub message: u64,
}

/// What each costly operation costs, in nanoseconds of a core unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Payload of the trxs the table was measured with, in bytes.
    pub trx_bytes: u64,
    /// What work takes when all cores are busy, in percent of what it takes on one alone, which is
    /// what all other entries say: cores may share what they are made of.
    pub crowded_percent: u64,
    /// Waking another thread: a packet goes from the network's thread to one that verifies, and
    /// from there to the group's.
    pub thread_wake: u64,
    /// What a job costs more, beside [`Costs::thread_wake`], that another thread gives to one that
    /// sleeps: it comes to a cache that is empty, or somebody else's. Measured on cores that sleep.
    pub thread_alone: u64,
    /// Waking a thread that waits for the network: what a packet that comes alone costs more at each
    /// end than one of a burst.
    pub runtime_wake: u64,
    /// A turn of a group's thread in which nothing happens.
    pub turn: u64,
    /// Ed25519 signature over a committee frame.
    pub frame_sign: u64,
    /// Checking a committee frame: Ed25519, outside the group's thread.
    pub frame_verify: u64,
    /// Decoding one protocol message of a frame, outside the group's thread.
    pub payload_decode: u64,
    /// SHA-256 of a KiB.
    pub hash_kib: u64,
    /// Voting for a block: an Ed25519 and a secp256k1 signature.
    pub vote_sign: u64,
    /// Checking a vote: both signatures, outside the group's thread.
    pub vote_verify: u64,
    /// Checking a gossiped trx: decoding and secp256k1, outside the group's thread.
    pub trx_verify: u64,
    /// Checking a trx of a block that others made, for a node that fetches it: decoding, hashes and
    /// secp256k1, outside the group's thread.
    pub trx_check: u64,
    /// Accepting a client's signed trx on the group's thread: secp256k1, rules, pool, note.
    pub trx_admit: u64,
    /// Taking a checked trx into the pool, on the group's thread.
    pub trx_pool: u64,
    /// Ordering a trx on the group's thread: proposal, rules, block, execution, index, leaving the
    /// pool.
    pub trx_order: u64,
    /// Applying a trx of a block that others made and that has been checked, on the group's thread:
    /// rules, execution, index.
    pub trx_replay: u64,
    /// Reading a KiB of a gossiped block that is known already.
    pub block_kib: u64,
    /// Sealing a proposal, without its bytes.
    pub seal: u64,
    /// Sealing a KiB.
    pub seal_kib: u64,
    /// A share of a coin or of a decryption key.
    pub share: u64,
    /// Verifying a joint signature.
    pub joint_verify: u64,
    /// Opening a proposal whose key is known, without its bytes.
    pub open: u64,
    /// Opening a KiB.
    pub open_kib: u64,
    /// Writing a KiB to a file, without the sync.
    pub write_kib: u64,
    /// Waiting time of one sync of the disk that nobody else uses; no core is busy meanwhile.
    pub disk_sync: u64,
    /// Waiting time of a sync while three others are under way on the same disk.
    pub disk_sync_busy: u64,
    /// What a sync costs a core.
    pub disk_sync_cpu: u64,
    /// A packet on a stream through the real network stack, both ends together.
    pub packet: u64,
    /// A KiB on a stream, both ends together.
    pub packet_kib: u64,
    /// A gossiped packet at one receiver through the real network stack, both ends together.
    pub gossip: u64,
    /// What a gossiped packet that comes alone costs its sender more, beside waking the threads: timers.
    pub gossip_wake: u64,
    /// A gossiped KiB at one receiver, both ends together.
    pub gossip_kib: u64,
    /// Opening a link to another node, both ends together: from the lookup of who is in the group
    /// until each knows that the other is there.
    pub link: u64,
    /// What is left of the time that this takes between two nodes of one machine: no core is busy.
    pub link_wait: u64,
    /// What a node without posts uses in a second: heartbeats, pings, timers.
    pub idle: u64,
    /// A question for the head at the client that asks it, alone, with all that is woken for it.
    pub client_look: u64,
    /// The same at the node that answers it.
    pub api_look: u64,
    /// A post through the HTTP API, without what the group's thread does.
    pub api_post: u64,
    /// What a post that comes alone costs more there than one of many: threads sleep.
    pub api_alone: u64,
    /// A post at the client that makes it, with its share of reading its block.
    pub client_post: u64,
    /// What a post that is made alone costs more there.
    pub client_alone: u64,
    /// Time from the start of a node's process until its API answers, with an empty ledger.
    pub start: u64,
    /// How much longer that takes for each trx in its ledger.
    pub start_trx: u64,
    /// By size of the committee, ascending.
    pub committees: Vec<CommitteeCosts>,
}

/// Why a table cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CostsError {
    /// It was measured with other trxs.
    #[error("the table was measured with trxs of {found} bytes, not {asked}: measure again")]
    TrxBytes {
        /// Payload in the table.
        found: u64,
        /// Payload asked for.
        asked: u64,
    },
    /// Its committees are missing or out of order.
    #[error("committees: at least one size is needed, ascending")]
    Committees,
}

impl Costs {
    /// Checks that the table fits the trxs to be simulated.
    ///
    /// # Errors
    /// [`CostsError`].
    pub fn check(&self, trx_bytes: u64) -> Result<(), CostsError> {
        if self.trx_bytes != trx_bytes {
            return Err(CostsError::TrxBytes { found: self.trx_bytes, asked: trx_bytes });
        }
        let ascend = self.committees.windows(2).all(|pair| pair[0].nodes < pair[1].nodes);
        if self.committees.is_empty() || !ascend {
            return Err(CostsError::Committees);
        }
        Ok(())
    }

    /// Costs in a committee of `nodes`: between two sizes of the table on the straight line, above
    /// the largest on the line through the last two.
    #[must_use]
    pub fn committee(&self, nodes: u64) -> CommitteeCosts {
        let place = self.committees.iter().position(|c| c.nodes >= nodes);
        let last = self.committees.len() - 1;
        let (low, high) = match place {
            Some(place) if self.committees[place].nodes == nodes => (place, place),
            Some(0) | None if last == 0 => (0, 0),
            Some(0) => (0, 1),
            Some(place) => (place - 1, place),
            None => (last - 1, last),
        };
        let (low, high) = (&self.committees[low], &self.committees[high]);
        let line = |from: u64, to: u64| -> u64 {
            if low.nodes == high.nodes {
                return from;
            }
            let slope = (to as f64 - from as f64) / (high.nodes as f64 - low.nodes as f64);
            let at = from as f64 + slope * (nodes as f64 - low.nodes as f64);
            at.max(0.0).round() as u64
        };
        CommitteeCosts {
            nodes,
            combine: line(low.combine, high.combine),
            encode_kib: line(low.encode_kib, high.encode_kib),
            decode_kib: line(low.decode_kib, high.decode_kib),
            message: line(low.message, high.message),
        }
    }

    /// What a measured time of work would have been on a core alone, if `busy` of all `cores` were busy
    /// meanwhile on average.
    #[must_use]
    pub fn alone(&self, measured: u64, busy: f64, cores: usize) -> u64 {
        let others = (busy - 1.0).max(0.0) / cores.saturating_sub(1).max(1) as f64;
        let more = self.crowded_percent.saturating_sub(100) as f64 / 100.0 * others.min(1.0);
        (measured as f64 / (1.0 + more)) as u64
    }

    /// What a number of bytes costs at a price for a KiB.
    #[must_use]
    pub const fn bytes(price_kib: u64, bytes: u64) -> u64 {
        price_kib * bytes / 1024
    }

    /// A table of round figures of a machine that does not exist, for tests of everything but the
    /// figures themselves.
    #[must_use]
    pub fn invented(trx_bytes: u64) -> Self {
        let committee = |nodes: u64| CommitteeCosts {
            nodes,
            combine: 900_000 + 20_000 * nodes,
            encode_kib: 2_000,
            decode_kib: 4_000,
            message: 1_000 + 20 * nodes,
        };
        Self {
            trx_bytes,
            crowded_percent: 100,
            thread_wake: 5_000,
            thread_alone: 10_000,
            runtime_wake: 10_000,
            turn: 2_000,
            frame_sign: 20_000,
            frame_verify: 50_000,
            payload_decode: 300,
            hash_kib: 1_000,
            vote_sign: 50_000,
            vote_verify: 90_000,
            trx_verify: 50_000,
            trx_check: 55_000,
            trx_admit: 60_000,
            trx_pool: 3_000,
            trx_order: 20_000,
            trx_replay: 15_000,
            block_kib: 2_000,
            seal: 1_500_000,
            seal_kib: 500,
            share: 200_000,
            joint_verify: 1_000_000,
            open: 800_000,
            open_kib: 500,
            write_kib: 500,
            disk_sync: 1_000_000,
            disk_sync_busy: 2_000_000,
            disk_sync_cpu: 20_000,
            packet: 30_000,
            packet_kib: 2_000,
            gossip: 60_000,
            gossip_wake: 10_000,
            gossip_kib: 4_000,
            link: 4_000_000,
            link_wait: 10_000_000,
            idle: 10_000_000,
            client_look: 100_000,
            api_look: 100_000,
            api_post: 60_000,
            api_alone: 30_000,
            client_post: 60_000,
            client_alone: 30_000,
            start: 50_000_000,
            start_trx: 5_000,
            committees: [4, 16, 64, 100].map(committee).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Costs, CostsError};

    #[test]
    fn between_two_sizes_costs_lie_on_a_line_and_above_all_they_go_on() {
        let costs = Costs::invented(250);
        assert_eq!(costs.committee(4), costs.committees[0]);
        assert_eq!(costs.committee(10).message, 1_200);
        assert_eq!(costs.committee(120).message, 3_400);
        assert_eq!(costs.committee(1).message, 1_020);
    }

    #[test]
    fn what_was_measured_in_a_crowd_is_less_alone() {
        let costs = Costs { crowded_percent: 150, ..Costs::invented(250) };
        assert_eq!(costs.alone(3_000, 2.0, 2), 2_000);
        assert_eq!(costs.alone(3_000, 0.7, 2), 3_000);
        assert_eq!(costs.alone(3_000, 9.0, 1), 2_000);
    }

    #[test]
    fn a_table_is_checked_before_it_is_used() {
        let mut costs = Costs::invented(250);
        assert_eq!(costs.check(250), Ok(()));
        assert_eq!(costs.check(100), Err(CostsError::TrxBytes { found: 250, asked: 100 }));
        costs.committees.reverse();
        assert_eq!(costs.check(250), Err(CostsError::Committees));
    }
}
