//! What each command does.

use std::collections::BTreeSet;

use quorate_consensus::raft::{Event, Kind, NodeId, Seqno};

use super::check::{Checker, in_sync};
use super::group::Group;
use super::parse::{Command, Detail, Leader};

/// Rounds of `dispatch_all`.
const DISPATCH_ROUNDS: usize = 5;

/// Rounds in which nodes must come to one state.
const SYNC_ROUNDS: usize = 20;

/// A scenario in progress.
#[derive(Debug)]
pub struct Runner {
    group: Group,
    checker: Checker,
    printed: Vec<String>,
}

impl Runner {
    /// A fresh group; see [`super::Options::seed`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { group: Group::new(seed), checker: Checker::default(), printed: Vec::new() }
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// The group, and what was printed.
    #[must_use]
    pub fn finish(self) -> (Group, Vec<String>) {
        (self.group, self.printed)
    }

    /// Carries a command out and checks what must hold after it.
    ///
    /// # Errors
    /// What was expected, and what was.
    pub fn execute(&mut self, command: &Command) -> Result<(), String> {
        self.carry_out(command)?;
        self.checker.check(&self.group)
    }

    /// Stops a node and starts it again; see [`Group::restart`].
    ///
    /// # Errors
    /// If what it has written is no log, or a property does not hold.
    pub fn restart(&mut self, id: NodeId, commit_idx: Seqno) -> Result<(), String> {
        self.group.restart(id, commit_idx)?;
        self.checker.restarted(id);
        self.checker.check(&self.group)
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::PreVoteEnabled(enabled) => self.group.pre_vote = *enabled,
            Command::StartNode(id) => self.start(*id)?,
            Command::TrustNodes(leader, join) => self.reconfigure(*leader, join, &[])?,
            Command::SwapNodes { leader, join, leave } => self.reconfigure(*leader, join, leave)?,
            Command::CleanupNodes(leader, nodes) => {
                self.known(nodes)?;
                self.append(*leader, Kind::Retired(nodes.clone()), &joined(nodes))?;
            }
            Command::Replicate(leader, data) => self.append(*leader, Kind::Raw, data)?,
            Command::EmitSignature(leader) => self.append(*leader, Kind::Signature, "signature")?,
            Command::NominateSuccessor(id) => self.group.step(*id, Event::Nominate)?,
            Command::Connect(a, b) => self.link(*a, *b, true)?,
            Command::Disconnect(a, b) => self.link(*a, *b, false)?,
            Command::DisconnectNode(id) => self.link_all(*id, false)?,
            Command::ReconnectNode(id) => self.link_all(*id, true)?,
            Command::PeriodicOne(id, ms) => self.group.periodic(*id, *ms)?,
            Command::PeriodicAll(ms) => {
                for id in self.group.ids() {
                    self.group.periodic(id, *ms)?;
                }
            }
            Command::DispatchOne(id) => self.dispatch(*id, usize::MAX)?,
            Command::DispatchAllOnce => self.dispatch_all_once()?,
            Command::DispatchAll => self.dispatch_all()?,
            Command::DispatchSingle(from, to) => self.dispatch_single(*from, *to)?,
            Command::DropPending(id) => self.drop_pending(*id, None)?,
            Command::DropPendingTo(from, to) => self.drop_pending(*from, Some(*to))?,
            Command::ShuffleOne(id) => {
                self.known(&[*id])?;
                self.group.shuffle(*id);
            }
            Command::ShuffleAll => {
                self.group.ids().into_iter().for_each(|id| self.group.shuffle(id));
            }
            Command::LoopUntilSync => self.loop_until_sync()?,
            Command::AssertLoopSync(ms, nodes) => self.assert_loop_sync(*ms, nodes)?,
            _ => self.look(command)?,
        }
        Ok(())
    }

    /// Commands that change nothing.
    fn look(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::StateOne(id) => self.print_state(*id),
            Command::StateAll => {
                self.group.ids().into_iter().try_for_each(|id| self.print_state(id))
            }
            Command::SummariseLog(id) => self.print_log(*id),
            Command::SummariseLogsAll => {
                self.group.ids().into_iter().try_for_each(|id| self.print_log(id))
            }
            Command::SummariseMessages(from, to) => self.print_messages(*from, *to),
            Command::AssertDetail { node, detail, value, equal } => {
                self.assert_detail(*node, *detail, value, *equal)
            }
            Command::AssertCommitIdx(id, idx) => {
                let found = self.group.node(*id)?.raft.commit_idx();
                expect(found == *idx, || format!("expected commit index {idx}, found {found}"))
            }
            Command::AssertLastTxid(id, view, seqno) => {
                let raft = &self.group.node(*id)?.raft;
                let last = raft.last_idx();
                let found = (raft.view_at(last), last);
                expect(found == (*view, *seqno), || {
                    format!("expected last entry {view}.{seqno}, found {}.{last}", found.0)
                })
            }
            Command::AssertConfig(id, idx, nodes) => self.assert_config(*id, *idx, nodes),
            Command::AssertAbsentConfig(id, idx) => {
                let configurations = self.group.node(*id)?.raft.configurations();
                let found = configurations.iter().find(|c| c.idx == *idx);
                expect(found.is_none(), || {
                    format!("expected no configuration at {idx}, found {found:?}")
                })
            }
            Command::AssertStateSync => in_sync(&self.group, &self.group.ids()),
            Command::AssertCommitSafety(id) => {
                self.known(&[*id])?;
                super::check::commit_safety(&self.group, *id)
            }
            _ => Ok(()),
        }
    }

    fn known(&self, nodes: &[NodeId]) -> Result<(), String> {
        nodes.iter().try_for_each(|id| self.group.node(*id).map(|_| ()))
    }

    /// The leader a command is for: `None` if the command is to do nothing.
    fn leader(&self, leader: Leader) -> Result<Option<NodeId>, String> {
        let leaders = self.group.leaders();
        match leader {
            Leader::Latest => Ok(leaders.last().map(|(_, id)| *id)),
            Leader::Of(view) => {
                let found = leaders.iter().find(|(v, _)| *v == view).map(|(_, id)| *id);
                found
                    .map(Some)
                    .ok_or_else(|| format!("expected a leader of view {view}, found none"))
            }
        }
    }

    fn append(&mut self, leader: Leader, kind: Kind, text: &str) -> Result<(), String> {
        let Some(id) = self.leader(leader)? else { return Ok(()) };
        self.group.append(id, kind, text.as_bytes())
    }

    fn start(&mut self, id: NodeId) -> Result<(), String> {
        expect(self.group.nodes.is_empty(), || "expected to be the first node".into())?;
        self.group.create(id)?;
        self.group.start(id)
    }

    fn reconfigure(
        &mut self,
        leader: Leader,
        join: &[NodeId],
        leave: &[NodeId],
    ) -> Result<(), String> {
        self.known(leave)?;
        for id in join {
            self.group.create(*id)?;
        }
        for id in join {
            self.group.link_all(*id, true);
        }
        let all = self.group.ids().into_iter();
        let members: BTreeSet<_> = all.filter(|id| !leave.contains(id)).collect();
        let text = joined(members.iter());
        self.append(leader, Kind::Configuration(members), &text)
    }

    fn link(&mut self, a: NodeId, b: NodeId, connected: bool) -> Result<(), String> {
        self.known(&[a, b])?;
        self.group.link(a, b, connected);
        Ok(())
    }

    fn link_all(&mut self, id: NodeId, connected: bool) -> Result<(), String> {
        self.known(&[id])?;
        self.group.link_all(id, connected);
        Ok(())
    }

    /// Delivers messages of a node in order until `limit` have arrived or none is left.
    fn dispatch(&mut self, id: NodeId, limit: usize) -> Result<(), String> {
        self.known(&[id])?;
        let mut arrived = 0;
        while arrived < limit {
            let next = self.group.nodes.get_mut(&id).and_then(|node| node.outbox.pop_front());
            let Some((to, message)) = next else { break };
            arrived += usize::from(self.group.deliver(id, to, message)?);
        }
        Ok(())
    }

    fn dispatch_all_once(&mut self) -> Result<(), String> {
        let lengths: Vec<_> =
            self.group.nodes.iter().map(|(id, node)| (*id, node.outbox.len())).collect();
        lengths.into_iter().try_for_each(|(id, length)| self.dispatch(id, length))
    }

    fn dispatch_all(&mut self) -> Result<(), String> {
        for _ in 0..DISPATCH_ROUNDS {
            if self.group.nodes.values().all(|node| node.outbox.is_empty()) {
                break;
            }
            self.dispatch_all_once()?;
        }
        Ok(())
    }

    fn dispatch_single(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        self.known(&[from, to])?;
        let first = self.group.nodes.get_mut(&from).and_then(|node| {
            let at = node.outbox.iter().position(|(target, _)| *target == to)?;
            node.outbox.remove(at)
        });
        if let Some((_, message)) = first {
            self.group.deliver(from, to, message)?;
        }
        Ok(())
    }

    fn drop_pending(&mut self, from: NodeId, to: Option<NodeId>) -> Result<(), String> {
        self.known(&[from])?;
        if let Some(to) = to {
            self.known(&[to])?;
        }
        if let Some(node) = self.group.nodes.get_mut(&from) {
            node.outbox.retain(|(target, _)| to.is_some_and(|to| to != *target));
        }
        Ok(())
    }

    fn loop_until_sync(&mut self) -> Result<(), String> {
        let leader = self.leader(Leader::Latest)?.ok_or("expected a leader, found none")?;
        let active = |id: &NodeId| self.group.nodes[id].is_active();
        let nodes: Vec<_> = self.group.ids().into_iter().filter(active).collect();
        self.group.append(leader, Kind::Signature, b"signature")?;
        nodes.iter().for_each(|id| self.group.link_all(*id, true));
        let mut synced = Ok(());
        for _ in 0..SYNC_ROUNDS {
            self.group.periodic(leader, super::MESSAGE_TIMEOUT_MS)?;
            self.dispatch_all()?;
            synced = in_sync(&self.group, &nodes);
            if synced.is_ok() {
                break;
            }
        }
        synced.map_err(|reason| format!("after {SYNC_ROUNDS} rounds: {reason}"))
    }

    fn assert_loop_sync(&mut self, ms: u64, nodes: &[NodeId]) -> Result<(), String> {
        self.known(nodes)?;
        let mut synced = Ok(());
        for _ in 0..SYNC_ROUNDS {
            let ids: BTreeSet<_> = nodes.iter().copied().collect();
            for id in ids {
                if self.group.leaders().iter().any(|(_, leader)| *leader == id) {
                    self.group.periodic(id, ms)?;
                }
            }
            self.dispatch_all()?;
            synced = in_sync(&self.group, nodes);
            if synced.is_ok() {
                break;
            }
        }
        synced.map_err(|reason| format!("after {SYNC_ROUNDS} rounds: {reason}"))
    }

    fn print_state(&mut self, id: NodeId) -> Result<(), String> {
        let node = self.group.node(id)?;
        let raft = &node.raft;
        let role = raft.role().map_or("None", |role| role.name());
        let phase = raft.phase().map_or("Active", |phase| phase.name());
        let (view, last, commit) = (raft.view(), raft.last_idx(), raft.commit_idx());
        let text = format!(
            "node {id}: {role}, {phase}, view {view}, last {}.{last}, commit {commit}, {} to send",
            raft.view_at(last),
            node.outbox.len(),
        );
        self.printed.push(text);
        Ok(())
    }

    fn print_log(&mut self, id: NodeId) -> Result<(), String> {
        let node = self.group.node(id)?;
        let commit = node.raft.commit_idx();
        let entries: Vec<_> = node
            .log()
            .iter()
            .map(|entry| {
                let text = format!("{}.{}", entry.view, entry.seqno);
                if entry.seqno == commit { format!("[{text}]") } else { text }
            })
            .collect();
        self.printed.push(format!("node {id}: {}", entries.join(", ")));
        Ok(())
    }

    fn print_messages(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        self.known(&[to])?;
        let outbox = &self.group.node(from)?.outbox;
        let messages: Vec<_> =
            outbox.iter().filter(|(target, _)| *target == to).map(|(_, m)| m.to_string()).collect();
        self.printed.push(format!("{from} to {to}: [{}]", messages.join(", ")));
        Ok(())
    }

    fn assert_detail(
        &self,
        id: NodeId,
        detail: Detail,
        value: &str,
        equal: bool,
    ) -> Result<(), String> {
        let raft = &self.group.node(id)?.raft;
        let found = match detail {
            Detail::LeadershipState => raft.role().map_or("None", |role| role.name()).to_owned(),
            Detail::MembershipState => {
                if raft.phase().is_some() { "Retired" } else { "Active" }.to_owned()
            }
            Detail::RetirementPhase => {
                let phase = raft.phase().ok_or("expected a retirement phase, found none")?;
                phase.name().to_owned()
            }
            Detail::CurrentView => raft.view().to_string(),
            Detail::Ticking => raft.ticking().to_string(),
        };
        let not = if equal { "" } else { "not " };
        let name = detail.name();
        expect((found == value) == equal, || {
            format!("expected {name} of node {id} {not}to be {value}, found {found}")
        })
    }

    fn assert_config(&self, id: NodeId, idx: Seqno, nodes: &[NodeId]) -> Result<(), String> {
        let configurations = self.group.node(id)?.raft.configurations();
        let found = configurations.iter().find(|c| c.idx == idx);
        let found = found.ok_or_else(|| {
            format!("expected a configuration at {idx}, found {configurations:?}")
        })?;
        let wanted: BTreeSet<_> = nodes.iter().copied().collect();
        expect(found.nodes == wanted, || format!("expected {wanted:?}, found {:?}", found.nodes))
    }
}

fn expect(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

fn joined<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
