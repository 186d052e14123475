//! Invariants that look into the nodes: what a node believes follows from its log and commit index.
//! They hold in every reachable state, but take more time than those of [`super::check`]; the tests
//! check them after every command.

use std::collections::BTreeSet;

use quorate_consensus::raft::{Configuration, Entry, Kind, NodeId, Phase, Role};

use super::group::{Group, Node};

/// Checks all of them.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    /// Nodes that left and came back in anybody's log. By the rules they may forget that they left,
    /// when a second leave is taken back; a real group does not let an id come back.
    returned: BTreeSet<NodeId>,
}

impl Invariants {
    /// Checks all of them; to be called after every command.
    ///
    /// # Errors
    /// The first that does not hold, and what was seen.
    pub fn check(&mut self, group: &Group) -> Result<(), String> {
        for node in group.nodes.values() {
            self.note_returned(node.log());
        }
        for (id, node) in &group.nodes {
            configurations_follow(*id, node)?;
            if !self.returned.contains(id) {
                phase_follows(*id, node)?;
            }
            if node.raft.role() == Some(Role::Leader) {
                election_safety(group, *id, node)?;
                matches_are_bounded(group, *id, node)?;
                leader_completeness(group, *id, node)?;
            }
        }
        Ok(())
    }

    fn note_returned(&mut self, log: &[Entry]) {
        let (mut members, mut left) = (BTreeSet::new(), BTreeSet::new());
        for configuration in configurations(log) {
            self.returned.extend(configuration.nodes.intersection(&left));
            left.extend(members.difference(&configuration.nodes).copied());
            members = configuration.nodes;
        }
    }
}

/// No log reaches further in a leader's view than the leader's own.
fn election_safety(group: &Group, id: NodeId, leader: &Node) -> Result<(), String> {
    let view = leader.raft.view();
    for (other, node) in &group.nodes {
        let of_view = node.log().iter().rev().find(|entry| entry.view == view);
        if let Some(last) = of_view
            && last.seqno > leader.raft.last_idx()
        {
            return Err(format!(
                "election safety: {other} has {view}.{} and its leader {id} has not",
                last.seqno
            ));
        }
    }
    Ok(())
}

/// What a leader believes that a follower of the same view has is there.
fn matches_are_bounded(group: &Group, id: NodeId, leader: &Node) -> Result<(), String> {
    for (other, peer) in leader.raft.peers() {
        let Some(node) = group.nodes.get(other) else { continue };
        if node.raft.view() == leader.raft.view() && peer.matched > node.raft.last_idx() {
            return Err(format!(
                "match index: {id} believes that {other} has {}, it has {}",
                peer.matched,
                node.raft.last_idx()
            ));
        }
    }
    Ok(())
}

/// Whatever anybody has committed is in the log of the leader of the highest view.
fn leader_completeness(group: &Group, id: NodeId, leader: &Node) -> Result<(), String> {
    let highest = group.nodes.values().map(|node| node.raft.view()).max();
    if highest != Some(leader.raft.view()) {
        return Ok(());
    }
    for (other, node) in &group.nodes {
        let committed = usize::try_from(node.raft.commit_idx()).unwrap_or(usize::MAX);
        if leader.log().get(..committed) != node.log().get(..committed) {
            return Err(format!(
                "leader completeness: {id} lacks something of what {other} has committed"
            ));
        }
    }
    Ok(())
}

fn configurations(log: &[Entry]) -> Vec<Configuration> {
    let mut found: Vec<Configuration> = Vec::new();
    for entry in log {
        if let Kind::Configuration(nodes) = &entry.kind
            && found.last().is_none_or(|last| last.nodes != *nodes)
        {
            found.push(Configuration { idx: entry.seqno, nodes: nodes.clone() });
        }
    }
    found
}

/// Active configurations are the last committed one in the log and all later ones.
fn configurations_follow(id: NodeId, node: &Node) -> Result<(), String> {
    let all = configurations(node.log());
    let committed = all.iter().filter(|c| c.idx <= node.raft.commit_idx()).count();
    let expected = &all[committed.saturating_sub(1)..];
    if node.raft.configurations() != expected {
        return Err(format!(
            "configurations of {id} follow from its log: expected {expected:?}, found {:?}",
            node.raft.configurations()
        ));
    }
    Ok(())
}

/// The phase of a node that was left out, and stayed out, follows from its log and commit index.
fn phase_follows(id: NodeId, node: &Node) -> Result<(), String> {
    let members: Vec<_> =
        configurations(node.log()).into_iter().map(|c| (c.idx, c.nodes.contains(&id))).collect();
    let left: BTreeSet<_> =
        members.windows(2).filter(|pair| pair[0].1 && !pair[1].1).map(|pair| pair[1].0).collect();
    let (Some(left_at), 1) = (left.first().copied(), left.len()) else {
        if left.is_empty() && node.raft.phase().is_some() {
            return Err(format!("{id} was never left out, but retires"));
        }
        return Ok(());
    };
    let commit_idx = node.raft.commit_idx();
    let later = node.log().iter().skip_while(|entry| entry.seqno <= left_at);
    let signed = later.clone().find(|entry| entry.kind == Kind::Signature).map(|e| e.seqno);
    let named = |entry: &Entry| match &entry.kind {
        Kind::Retired(nodes) => nodes.contains(&id),
        _ => false,
    };
    let gone = node.log().iter().any(|entry| entry.seqno <= commit_idx && named(entry));
    let expected = match signed {
        None => Phase::Ordered,
        Some(at) if at > commit_idx => Phase::Signed,
        Some(_) if gone => Phase::RetiredCommitted,
        Some(_) => Phase::Completed,
    };
    if node.raft.phase() == Some(expected) {
        return Ok(());
    }
    Err(format!(
        "the phase of {id} follows from its log: expected {expected:?}, found {:?}",
        node.raft.phase()
    ))
}
