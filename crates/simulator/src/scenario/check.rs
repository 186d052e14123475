//! What must hold after every command, whatever the scenario does.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::raft::{Entry, Kind, NodeId, Seqno, View};

use super::group::{Group, Node};

fn prefix(node: &Node, seqno: Seqno) -> Option<&[Entry]> {
    node.log().get(..usize::try_from(seqno).ok()?)
}

/// The states of these nodes are equal: view, log, commit index.
///
/// # Errors
/// The first difference.
pub fn in_sync(group: &Group, nodes: &[NodeId]) -> Result<(), String> {
    let mut nodes = nodes.iter().filter_map(|id| group.nodes.get(id).map(|node| (id, node)));
    let Some((first, a)) = nodes.next() else { return Ok(()) };
    for (other, b) in nodes {
        let facts = |node: &Node| (node.raft.view(), node.raft.last_idx(), node.raft.commit_idx());
        let ((va, la, ca), (vb, lb, cb)) = (facts(a), facts(b));
        if facts(a) != facts(b) {
            return Err(format!(
                "expected equal states, found node {first} in view {va}, last {la}, commit {ca}, \
                 and node {other} in view {vb}, last {lb}, commit {cb}"
            ));
        }
        if let Some(at) = a.log().iter().zip(b.log()).position(|(x, y)| x != y) {
            let at = at + 1;
            return Err(format!(
                "expected equal logs, found {first} and {other} to differ at {at}"
            ));
        }
    }
    Ok(())
}

/// What a node has committed is on a quorum of each of its active configurations that are
/// committed.
///
/// # Errors
/// Where it is missing.
pub fn commit_safety(group: &Group, id: NodeId) -> Result<(), String> {
    let Some(node) = group.nodes.get(&id) else { return Ok(()) };
    let commit_idx = node.raft.commit_idx();
    let committed = prefix(node, commit_idx);
    if committed.is_none() {
        return Err(format!("node {id} has committed {commit_idx} but does not have it"));
    }
    for configuration in node.raft.configurations().iter().filter(|c| c.idx <= commit_idx) {
        let members = configuration.nodes.iter().filter_map(|member| group.nodes.get(member));
        let holders = members.filter(|member| prefix(member, commit_idx) == committed).count();
        let quorum = configuration.nodes.len() / 2 + 1;
        if holders < quorum {
            return Err(format!(
                "commit safety: node {id} has committed {commit_idx}, which {holders} members of \
                 configuration {} have; a quorum is {quorum}",
                configuration.idx
            ));
        }
    }
    Ok(())
}

/// Remembers what may only grow.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    seen: BTreeMap<NodeId, (View, Seqno)>,
    /// The longest committed log anybody had.
    committed: Vec<Entry>,
}

impl Checker {
    /// Checks all properties.
    ///
    /// # Errors
    /// The first that does not hold, and what was seen.
    pub fn check(&mut self, group: &Group) -> Result<(), String> {
        said(group)?;
        for (id, node) in &group.nodes {
            commit_safety(group, *id)?;
            committed_at_a_signature(*id, node)?;
            views_ascend(*id, node)?;
            self.only_grows(*id, node)?;
            self.committed_logs_agree(*id, node)?;
        }
        logs_match(group)
    }

    /// Forgets the commit index of a node: a restarted one may have a lower one.
    pub fn restarted(&mut self, id: NodeId) {
        if let Some((_, commit_idx)) = self.seen.get_mut(&id) {
            *commit_idx = 0;
        }
    }

    fn only_grows(&mut self, id: NodeId, node: &Node) -> Result<(), String> {
        let now = (node.raft.view(), node.raft.commit_idx());
        let before = self.seen.insert(id, now).unwrap_or_default();
        if now.0 < before.0 || now.1 < before.1 {
            return Err(format!(
                "monotonic view and commit: node {id} went back from view {}, commit {} to view \
                 {}, commit {}",
                before.0, before.1, now.0, now.1
            ));
        }
        Ok(())
    }

    fn committed_logs_agree(&mut self, id: NodeId, node: &Node) -> Result<(), String> {
        let commit_idx = node.raft.commit_idx();
        let Some(own) = prefix(node, commit_idx) else { return Ok(()) };
        let known = self.committed.len().min(own.len());
        if own[..known] != self.committed[..known] {
            return Err(format!(
                "committed logs are prefixes of one another: node {id} has committed something \
                 else up to {commit_idx}"
            ));
        }
        if own.len() > known {
            self.committed.extend_from_slice(&own[known..]);
        }
        Ok(())
    }
}

fn said(group: &Group) -> Result<(), String> {
    for (view, leaders) in &group.said.leaders {
        if leaders.len() > 1 {
            return Err(format!("one leader per view: {leaders:?} led view {view}"));
        }
    }
    for ((voter, view), candidates) in &group.said.votes {
        if candidates.len() > 1 {
            return Err(format!("one vote per view: {voter} voted for {candidates:?} in {view}"));
        }
    }
    Ok(())
}

fn committed_at_a_signature(id: NodeId, node: &Node) -> Result<(), String> {
    let commit_idx = node.raft.commit_idx();
    let last = prefix(node, commit_idx).and_then(<[Entry]>::last);
    if last.is_some_and(|entry| entry.kind != Kind::Signature) {
        return Err(format!("commits at signatures: node {id} has committed {commit_idx}"));
    }
    Ok(())
}

fn views_ascend(id: NodeId, node: &Node) -> Result<(), String> {
    if node.log().len() as u64 != node.raft.last_idx() {
        return Err(format!("node {id} has written another log than it believes"));
    }
    if !node.log().is_sorted_by_key(|entry| entry.view) {
        return Err(format!("views of a log never decrease: they do at node {id}"));
    }
    Ok(())
}

/// Two logs with an entry of the same view at the same place are equal up to there.
fn logs_match(group: &Group) -> Result<(), String> {
    let mut nodes: Vec<_> = group.nodes.iter().collect();
    let mut seen = BTreeSet::new();
    nodes.retain(|(_, node)| {
        let last = node.log().last().map(|entry| (entry.view, entry.seqno));
        last.is_some() && seen.insert((last, node.log().len()))
    });
    for (i, (id, a)) in nodes.iter().enumerate() {
        for (other, b) in &nodes[i + 1..] {
            let pairs = a.log().iter().zip(b.log());
            let last_common = pairs.clone().rposition(|(x, y)| x.view == y.view);
            let first_difference = pairs.clone().position(|(x, y)| x != y);
            if let (Some(common), Some(difference)) = (last_common, first_difference)
                && difference <= common
            {
                return Err(format!(
                    "log matching: {id} and {other} have the same view at {}, but differ at {}",
                    common + 1,
                    difference + 1
                ));
            }
        }
    }
    Ok(())
}
