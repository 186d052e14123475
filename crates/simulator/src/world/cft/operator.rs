//! Members added, removed and replaced, while clients ask and faults strike. The operator makes no
//! change that the nodes that are left could not finish.

use std::collections::BTreeSet;

use quorate_replica::cft::api::{
    Answer, Code, Command, Error, MemberChange, NodeId, NodeInfo, NodeStatus, Query, Reply,
};
use rand::RngExt;

use super::{CftHappening, CftWorld, Place};
use crate::signed::made::Members;
use crate::world::{Happening, MS};

/// Pause between two looks, at most.
const PAUSE_MS: u64 = 1_500;
/// How long a change that was asked for may be on its way.
const ON_ITS_WAY_MS: u64 = 20_000;
/// How long the operator waits for an answer.
const PATIENCE: u32 = 4;

/// What the operator is up to.
#[derive(Debug, Default)]
pub(super) struct Operator {
    /// Waits for an answer; looks since then.
    waits: Option<u32>,
    /// Changes members as it likes; otherwise only adds who asks.
    pub(super) restless: bool,
    /// Has done, so often.
    pub(super) changes: u64,
    /// Changes that were asked for, and when: some leader may make them yet.
    asked: Vec<(u64, MemberChange)>,
}

impl CftWorld {
    pub(super) fn operator_soon(&mut self) {
        let later = self.now + self.clients.random_range(100..PAUSE_MS) * MS;
        self.at(later, Happening::Play(CftHappening::Operate));
    }

    pub(super) fn operator_hears(&mut self, result: &Result<Reply, Error>) {
        self.play.operator.waits = None;
        match result {
            Ok(_) => self.play.operator.changes += 1,
            // A change that is stuck is given up sometimes.
            Err(error) if error.code == Code::ChangeInProgress => {
                if self.clients.random_bool(0.2) {
                    let live = self.answering();
                    if !live.is_empty() {
                        let node = live[self.clients.random_range(0..live.len())];
                        self.operator_asks(node, Command::Member(MemberChange::Abort));
                    }
                }
            }
            Err(_) => {}
        }
    }

    pub(super) fn operator_hears_nothing(&mut self) {
        self.play.operator.waits = None;
    }

    fn operator_asks(&mut self, node: usize, command: Command) {
        self.play.operator.waits = Some(0);
        if let Command::Member(change) = &command {
            self.play.operator.asked.push((self.now, change.clone()));
        }
        self.order(node, command);
    }

    /// These members, and what they may become by the changes that were asked for lately: by one of
    /// them, by all, or by all that let nodes leave.
    pub(super) fn may_become(&self, members: &Members) -> Vec<Members> {
        let asked = self.play.operator.asked.iter().rev();
        let lately = asked.take_while(|(at, _)| self.now < at + ON_ITS_WAY_MS * MS);
        let lately: Vec<_> = lately.map(|(_, change)| parts(change)).collect();
        let after = |joins: &[NodeId], leaves: &[NodeId]| -> Members {
            let all = members.keys().chain(joins).filter(|node| !leaves.contains(node));
            all.map(|node| (*node, ())).collect()
        };
        let each = lately.iter().map(|(joins, leaves)| after(joins, leaves));
        let joins = lately.iter().map(|(joins, _)| *joins).collect::<Vec<_>>().concat();
        let leaves = lately.iter().map(|(_, leaves)| *leaves).collect::<Vec<_>>().concat();
        let all = [members.clone(), after(&joins, &leaves), after(&[], &leaves)];
        // The last member cannot be removed.
        each.chain(all).filter(|members| !members.is_empty()).collect()
    }

    fn answering(&self) -> Vec<usize> {
        let now = self.now;
        let answers = |node: &usize| self.is_up(*node) && self.nodes[*node].paused_until <= now;
        (0..self.nodes.len()).filter(answers).collect()
    }

    /// The operator looks at some node, and does something.
    pub(super) fn operator_acts(&mut self) {
        self.operator_soon();
        if let Some(looks) = &mut self.play.operator.waits {
            *looks += 1;
            if *looks < PATIENCE {
                return;
            }
            self.play.operator.waits = None;
        }
        let live = self.answering();
        if live.is_empty() {
            return;
        }
        let node = live[self.clients.random_range(0..live.len())];
        let Some(driver) = &self.seat(Place { node, group: 0 }).member else { return };
        let Ok(Answer::Nodes(nodes)) = driver.query(&Query::Nodes) else { return };
        let Some(command) = self.choose(&nodes) else { return };
        self.tell(|| format!("the operator, at n{node}: {command:?}"));
        self.operator_asks(node, command);
    }

    /// Whether a machine's node runs, or will again.
    fn is_there(&self, id: &NodeId) -> bool {
        self.play.checker.machine(id).is_some_and(|node| !self.nodes[node].health.gone)
    }

    /// Whether it has everything that it should have, too.
    fn is_well(&self, id: &NodeId) -> bool {
        self.play.checker.machine(id).is_some_and(|node| self.nodes[node].health.is_good())
    }

    /// Whether so many of these nodes are well that they can go on after the faults.
    pub(super) fn can_go_on<'a>(&self, members: impl IntoIterator<Item = &'a NodeId>) -> bool {
        let members: BTreeSet<_> = members.into_iter().collect();
        let well = members.iter().filter(|id| self.is_well(id)).count();
        well > members.len() / 2
    }

    /// Whether these can go on, and whatever they may become.
    fn may_be_left(&self, members: &[NodeId]) -> bool {
        let members: Members = members.iter().map(|id| (*id, ())).collect();
        self.may_become(&members).iter().all(|members| self.can_go_on(members.keys()))
    }

    fn choose(&mut self, nodes: &[NodeInfo]) -> Option<Command> {
        let of = |status| {
            let all = nodes.iter().filter(move |node| node.status == status);
            all.map(|node| node.node_id).collect::<Vec<NodeId>>()
        };
        let (pending, trusted) = (of(NodeStatus::Pending), of(NodeStatus::Trusted));
        let pending: Vec<NodeId> = pending.into_iter().filter(|id| self.is_well(id)).collect();
        let sick = trusted.iter().find(|id| !self.is_there(id)).copied();
        if !self.play.operator.restless && sick.is_none() {
            // One that learns already will be a member without more.
            let learns = |id: &NodeId| nodes.iter().any(|node| node.node_id == *id && node.learner);
            let next = pending.iter().find(|id| !learns(id)).or(pending.first())?;
            return Some(Command::Member(MemberChange::Add(*next)));
        }
        let removable =
            nodes.iter().find(|node| node.status == NodeStatus::Retired && node.retired_committed);
        let pick = |from: &[NodeId], dice: usize| from.get(dice % from.len().max(1)).copied();
        let dice = self.clients.random_range(0..usize::MAX >> 1);
        let (joins, leaves) = (pick(&pending, dice), sick.or_else(|| pick(&trusted, dice >> 8)));
        let left = |out: NodeId| {
            trusted.iter().copied().filter(move |id| *id != out).chain(joins).collect::<Vec<_>>()
        };
        let change = match self.clients.random_range(0..10) {
            0..=2 => MemberChange::Add(joins?),
            3..=5 => {
                let (joins, leaves) = (joins?, leaves?);
                if !self.may_be_left(&left(leaves)) {
                    return None;
                }
                MemberChange::Replace { joins: vec![joins], leaves: vec![leaves] }
            }
            6 | 7 => {
                let leaves = leaves?;
                let rest: Vec<_> = trusted.iter().filter(|id| **id != leaves).copied().collect();
                if rest.len() < 2 || !self.may_be_left(&rest) {
                    return None;
                }
                MemberChange::Remove(leaves)
            }
            8 => return Some(Command::Nominate),
            _ => MemberChange::Forget(removable?.node_id),
        };
        Some(Command::Member(change))
    }
}

/// Who joins and who leaves by a change.
const fn parts(change: &MemberChange) -> (&[NodeId], &[NodeId]) {
    match change {
        MemberChange::Add(node) => (std::slice::from_ref(node), &[]),
        MemberChange::Remove(node) => (&[], std::slice::from_ref(node)),
        MemberChange::Replace { joins, leaves } => (joins.as_slice(), leaves.as_slice()),
        MemberChange::Abort | MemberChange::Forget(_) => (&[], &[]),
    }
}
