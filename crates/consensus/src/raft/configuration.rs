//! Configurations (who counts) and peers (who is sent to): RAFT-20 to RAFT-23.

use std::collections::BTreeSet;

use super::message::NodeId;
use super::retirement::Phase;
use super::{Raft, Role, Seqno, Turn};
use crate::core::Time;

/// A set of nodes whose quorum counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// The entry that began it.
    pub idx: Seqno,
    /// Its members.
    pub nodes: BTreeSet<NodeId>,
}

impl Configuration {
    /// A majority of its members.
    pub(super) fn quorum(&self) -> usize {
        self.nodes.len() / 2 + 1
    }
}

/// What a node knows of another one that it sends to when it leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Last entry sent, hoping that it arrives.
    pub sent: Seqno,
    /// Last entry known to be in its log.
    pub matched: Seqno,
    /// When it last answered (or the count began again).
    pub acked_at: Time,
    /// The last heartbeat round it confirmed.
    pub round: u64,
}

impl Raft {
    /// Members of all active configurations but this node, ascending.
    pub(super) fn others(&self) -> BTreeSet<NodeId> {
        let all = self.configurations.iter().flat_map(|c| c.nodes.iter().copied());
        all.filter(|node| *node != self.config.me).collect()
    }

    /// Whether no other node is in an active configuration.
    pub(super) fn is_alone(&self) -> bool {
        self.configurations.iter().all(|c| c.nodes.iter().all(|node| *node == self.config.me))
    }

    /// RAFT-20: a configuration enters the log at `idx`.
    pub(super) fn add_configuration(
        &mut self,
        turn: &mut Turn<'_>,
        idx: Seqno,
        nodes: &BTreeSet<NodeId>,
    ) {
        let me = self.config.me;
        let last = self.configurations.last();
        if last.is_some_and(|c| c.nodes.contains(&me)) && !nodes.contains(&me) {
            turn.trace("RAFT-30", || format!("{me} retires, ordered at {idx}"));
            self.retirement.order(idx);
        }
        if self.configurations.last().is_none_or(|c| c.nodes != *nodes) {
            turn.trace("RAFT-20", || format!("configuration {idx}: {nodes:?}"));
            self.configurations.push(Configuration { idx, nodes: nodes.clone() });
            self.add_missing_peers(turn);
        }
    }

    /// RAFT-21: members of active configurations become peers. A leader says hello at once.
    pub(super) fn add_missing_peers(&mut self, turn: &mut Turn<'_>) {
        let mut wanted = self.others();
        wanted.extend(self.learners.iter().copied());
        for node in wanted {
            if self.peers.contains_key(&node) {
                continue;
            }
            let next = self.log.last_idx + 1;
            let peer = Peer { sent: next, matched: 0, acked_at: turn.now(), round: 0 };
            self.peers.insert(node, peer);
            if self.role == Some(Role::Leader) {
                self.send_append_entries(turn, node, next);
            }
        }
    }

    /// RAFT-22: configurations older than the last committed one are over.
    pub(super) fn drop_superseded_configurations(&mut self, turn: &mut Turn<'_>) {
        let commit_idx = self.log.commit_idx;
        let newer = self.configurations.iter().skip(1).take_while(|c| c.idx <= commit_idx);
        let superseded = newer.count();
        if superseded > 0 {
            self.configurations.drain(..superseded);
            let newest = self.configurations[0].idx;
            turn.trace("RAFT-22", || format!("configuration {newest} alone counts up to now"));
        }
        self.learners.retain(|node| !self.configurations.iter().any(|c| c.nodes.contains(node)));
    }

    /// RAFT-23: the learners are these nodes. They are sent everything and count for nothing.
    pub(super) fn set_learners(&mut self, turn: &mut Turn<'_>, nodes: BTreeSet<NodeId>) {
        let me = self.config.me;
        let members = self.others();
        let gone: Vec<_> = self.learners.difference(&nodes).copied().collect();
        for node in gone.into_iter().filter(|node| !members.contains(node)) {
            self.peers.remove(&node);
        }
        self.learners = nodes;
        self.learners.retain(|node| *node != me && !members.contains(node));
        turn.trace("RAFT-23", || format!("learners {:?}", self.learners));
        self.add_missing_peers(turn);
    }

    /// The index of the last active configuration with `node` in it; 0 if there is none.
    pub(super) fn last_configuration_of(&self, node: NodeId) -> Seqno {
        let containing = self.configurations.iter().rev().find(|c| c.nodes.contains(&node));
        containing.map_or(0, |c| c.idx)
    }

    /// RAFT-11: a node that finds itself in the newest configuration, signed, may run for election.
    pub(super) fn start_ticking_if_member(&mut self, turn: &Turn<'_>) {
        let newest = self.configurations.last();
        if !self.ticking && newest.is_some_and(|c| c.nodes.contains(&self.config.me)) {
            self.ticking = true;
            self.timer.set(turn.now(), 0);
        }
    }

    /// Whether this node has gone for good.
    pub(super) fn is_gone(&self) -> bool {
        self.retirement.phase == Some(Phase::RetiredCommitted)
    }
}
