//! Member changes by the operator, and the leader's share in them: learners, reconfiguration,
//! retirement, clean-up. [R11] to [R23].

use std::collections::BTreeSet;

use quorate_consensus::core::Env;
use quorate_consensus::raft::{Event, NodeId, Phase};
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::TxId;
use quorate_ledger::ccf::maps::{
    self, ENDORSED_CERTIFICATES, NODES_INFO, NodeInfo, NodeStatus, SINGLE,
};
use quorate_ledger::state::{WriteError, WriteSet};

use super::open::base64_to;
use super::{Member, row_key};
use crate::cft::api::{Code, Error, MemberChange, Plan};
use crate::cft::keys::Keys;
use crate::cft::nodes::{Change, MEMBER_CHANGE, REMOVED, change_of, digest};

fn too_large(error: WriteError) -> Error {
    Error::new(Code::RequestBodyTooLarge, error.to_string())
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidInput, message)
}

impl<K: Keys> Member<K> {
    /// The change that waits for learners.
    pub(super) fn change(&self) -> Option<Change> {
        change_of(self.store.head(MEMBER_CHANGE, &SINGLE)).ok().flatten()
    }

    /// The same, if it is committed.
    pub(super) fn committed_change(&self) -> Option<Change> {
        change_of(self.store.committed().get(MEMBER_CHANGE, &SINGLE)).ok().flatten()
    }

    /// Tells the protocol who learns.
    pub(super) fn set_learners(&mut self, env: &mut Env) {
        let learners = self.change().map(|change| change.learners()).unwrap_or_default();
        self.caught_up.clear();
        self.feed(env, Event::Learners(learners));
        self.nodes_changed = true;
    }

    /// The operator changes the members.
    pub(super) fn change_members(
        &mut self,
        env: &mut Env,
        change: &MemberChange,
    ) -> Result<TxId, Error> {
        let (joins, leaves) = match change {
            MemberChange::Add(node) => (BTreeSet::from([*node]), BTreeSet::new()),
            MemberChange::Remove(node) => (BTreeSet::new(), BTreeSet::from([*node])),
            MemberChange::Replace { joins, leaves } => {
                (joins.iter().copied().collect(), leaves.iter().copied().collect())
            }
            MemberChange::Abort => return self.abort(env),
            MemberChange::Forget(node) => return self.forget(env, *node),
        };
        if let Some(error) = self.why_not(&joins, &leaves) {
            return Err(error);
        }
        if joins.is_empty() {
            let writes = self.reconfiguration(&joins, &leaves, false).map_err(too_large)?;
            return self.append(env, writes, false);
        }
        let change = Change {
            joins: joins.iter().map(digest).collect(),
            leaves: leaves.iter().map(digest).collect(),
        };
        let mut writes = WriteSet::new();
        writes.put(MEMBER_CHANGE, SINGLE, maps::row(&change)).map_err(too_large)?;
        for node in &joins {
            let row = self.nodes.head.get(node).ok_or_else(|| invalid("no such node".into()))?;
            let key = base64_to(&row.public_key)
                .ok_or_else(|| invalid(format!("the public key of node {node} is none")))?;
            let certificate = self.keys.endorse(&key, &row.rpc_address, env.now.0);
            let certificate = certificate.map_err(|e| invalid(format!("node {node}: {e}")))?;
            let key = row_key(node);
            writes.put(ENDORSED_CERTIFICATES, key, certificate.as_bytes()).map_err(too_large)?;
        }
        let tx = self.append(env, writes, false)?;
        self.set_learners(env);
        Ok(tx)
    }

    /// The rows of a reconfiguration transaction \[R12\].
    fn reconfiguration(
        &self,
        joins: &BTreeSet<NodeId>,
        leaves: &BTreeSet<NodeId>,
        ends_change: bool,
    ) -> Result<WriteSet, WriteError> {
        let mut writes = WriteSet::new();
        let changes = joins.iter().map(|node| (node, NodeStatus::Trusted));
        for (node, status) in changes.chain(leaves.iter().map(|node| (node, NodeStatus::Retired))) {
            if let Some(row) = self.nodes.head.get(node) {
                maps::put_node(&mut writes, &digest(node), &NodeInfo { status, ..row.clone() })?;
            }
        }
        if ends_change {
            writes.delete(MEMBER_CHANGE, SINGLE)?;
        }
        Ok(writes)
    }

    fn abort(&mut self, env: &mut Env) -> Result<TxId, Error> {
        let Some(change) = self.change() else {
            return Err(Error::new(Code::ResourceNotFound, "no member change is going on"));
        };
        let mut writes = WriteSet::new();
        writes.delete(MEMBER_CHANGE, SINGLE).map_err(too_large)?;
        for node in change.learners() {
            writes.delete(ENDORSED_CERTIFICATES, row_key(&node)).map_err(too_large)?;
        }
        let tx = self.append(env, writes, false)?;
        self.set_learners(env);
        Ok(tx)
    }

    /// `DELETE /node/network/nodes/{id}`.
    fn forget(&mut self, env: &mut Env, node: NodeId) -> Result<TxId, Error> {
        let missing = || Error::new(Code::ResourceNotFound, format!("there is no node {node}"));
        let head = self.nodes.head.get(&node).ok_or_else(missing)?;
        let learns = self.change().is_some_and(|change| change.learners().contains(&node));
        let mut writes = WriteSet::new();
        match head.status {
            NodeStatus::Pending if !learns => {}
            NodeStatus::Retired if self.is_removable(&node) => {
                writes.put(REMOVED, row_key(&node), [1]).map_err(too_large)?;
            }
            _ => {
                let message = format!("node {node} is {}", head.status);
                return Err(Error::new(Code::NodeNotRetiredCommitted, message));
            }
        }
        writes.delete(NODES_INFO, row_key(&node)).map_err(too_large)?;
        writes.delete(ENDORSED_CERTIFICATES, row_key(&node)).map_err(too_large)?;
        self.append(env, writes, false)
    }

    /// Whether the committed state says that the retirement is complete \[R18\].
    pub(super) fn is_removable(&self, node: &NodeId) -> bool {
        let row = self.nodes.committed.get(node);
        row.is_some_and(|(row, _)| row.status == NodeStatus::Retired && row.retired_committed)
    }

    /// The leader drives what has begun: learners that have caught up become members, retirements
    /// that are committed are stated.
    pub(super) fn drive_members(&mut self, env: &mut Env) {
        if let Some(change) = self.change()
            && self.committed_change().as_ref() == Some(&change)
            && self.raft.configurations().len() == 1
        {
            let joins = change.learners();
            if joins != *self.raft.learners() {
                self.set_learners(env);
            }
            if joins.is_subset(&self.caught_up) {
                let leaves = change.leaves.iter().map(|node| NodeId(node.0)).collect();
                match self.reconfiguration(&joins, &leaves, true) {
                    Ok(writes) => self.internal(env, writes),
                    Err(error) => self.stop(format!("cannot reconfigure: {error}")),
                }
            }
        }
        if std::mem::take(&mut self.clean_up) {
            self.clean_up_retired(env);
        }
    }

    fn clean_up_retired(&mut self, env: &mut Env) {
        let me = self.raft.me();
        let due = self.nodes.to_clean_up().into_iter();
        let due = due.filter(|node| *node != me || self.raft.phase() == Some(Phase::Completed));
        let mut writes = WriteSet::new();
        for node in due {
            let Some(row) = self.nodes.head.get(&node) else { continue };
            let row = NodeInfo { retired_committed: true, ..row.clone() };
            if let Err(error) = maps::put_node(&mut writes, &digest(&node), &row) {
                return self.stop(format!("cannot clean up: {error}"));
            }
        }
        if !writes.is_empty() {
            self.internal(env, writes);
        }
    }

    /// A transaction of the leader's own.
    pub(super) fn internal(&mut self, env: &mut Env, writes: WriteSet) {
        self.internal_with(env, writes, Digest::default());
    }

    /// The same, with a claim.
    pub(super) fn internal_with(&mut self, env: &mut Env, writes: WriteSet, claims: Digest) {
        if let Err(error) = self.append_claiming(env, writes, claims, false)
            && self.leads()
        {
            self.stop(format!("cannot append a transaction of the service: {error}"));
        }
    }

    /// Why a change cannot be begun now.
    fn why_not(&self, joins: &BTreeSet<NodeId>, leaves: &BTreeSet<NodeId>) -> Option<Error> {
        if joins.is_empty() && leaves.is_empty() {
            return Some(invalid("a change needs a node".into()));
        }
        if self.change().is_some() || self.raft.configurations().len() != 1 {
            return Some(Error::new(Code::ChangeInProgress, "a member change is going on"));
        }
        for node in joins {
            match self.nodes.head.get(node).map(|row| row.status) {
                Some(NodeStatus::Pending) => {}
                Some(NodeStatus::Trusted) => {
                    return Some(invalid(format!("node {node} is a member")));
                }
                Some(NodeStatus::Retired) => {
                    let message = format!("node {node} has retired");
                    return Some(Error::new(Code::NodeRemoved, message));
                }
                None => {
                    let message = format!("node {node} has not asked to join");
                    return Some(Error::new(Code::ResourceNotFound, message));
                }
            }
        }
        let members = self.nodes.trusted();
        if let Some(node) = leaves.iter().find(|node| !members.contains(node)) {
            let message = format!("node {node} is no member");
            return Some(Error::new(Code::ResourceNotFound, message));
        }
        let after: BTreeSet<_> = members.difference(leaves).chain(joins).copied().collect();
        if after.is_empty() {
            return Some(Error::new(Code::QuorumLost, "no member would be left"));
        }
        let silent = self.silent(&after);
        let heard = after.len() - silent.iter().filter(|node| !joins.contains(node)).count();
        if heard < after.len() / 2 + 1 {
            let message = format!(
                "of {} members after the change only {heard} would answer: nothing could be \
                 committed",
                after.len()
            );
            return Some(Error::new(Code::QuorumLost, message));
        }
        None
    }

    /// Nodes that this leader has not heard for an election timeout.
    fn silent(&self, nodes: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let heard = |node: &NodeId| {
            *node == self.raft.me()
                || self.raft.peers().get(node).is_some_and(|peer| {
                    let ago = self.now.0.saturating_sub(peer.acked_at.0);
                    ago < self.config.election_timeout_ms
                })
        };
        nodes.iter().copied().filter(|node| !heard(node)).collect()
    }

    /// What a change would lead to.
    pub(super) fn plan(&self, change: &MemberChange) -> Plan {
        let (joins, leaves): (BTreeSet<_>, BTreeSet<_>) = match change {
            MemberChange::Add(node) => ([*node].into(), BTreeSet::new()),
            MemberChange::Remove(node) => (BTreeSet::new(), [*node].into()),
            MemberChange::Replace { joins, leaves } => {
                (joins.iter().copied().collect(), leaves.iter().copied().collect())
            }
            MemberChange::Abort | MemberChange::Forget(_) => Default::default(),
        };
        let before = self.nodes.trusted();
        let after: BTreeSet<_> = before.difference(&leaves).chain(&joins).copied().collect();
        let quorum = after.len() / 2 + 1;
        let tolerates = after.len().saturating_sub(quorum);
        let silent = self.silent(&after);
        let mut warnings = Vec::new();
        let tolerated = before.len().saturating_sub(before.len() / 2 + 1);
        if tolerates < tolerated {
            warnings.push(format!(
                "the group will tolerate {tolerates} failed nodes instead of {tolerated}"
            ));
        }
        if after.len() % 2 == 0 && !after.is_empty() {
            warnings.push("an even number of members tolerates no more than one less".to_owned());
        }
        if leaves.contains(&self.raft.me()) {
            warnings.push("the leader leaves: it hands over to another node".to_owned());
        }
        let refused = match change {
            MemberChange::Abort => self
                .change()
                .is_none()
                .then(|| Error::new(Code::ResourceNotFound, "no member change is going on")),
            MemberChange::Forget(node) => (!self.is_removable(node)).then(|| {
                Error::new(Code::NodeNotRetiredCommitted, "its retirement is not complete")
            }),
            _ => self.why_not(&joins, &leaves),
        };
        Plan {
            before: before.into_iter().collect(),
            after: after.into_iter().collect(),
            quorum,
            tolerates,
            learners: joins.into_iter().collect(),
            silent,
            warnings,
            refused,
        }
    }
}
