//! The thread of one member: takes inputs, turns the driver, dispatches what comes out.
//!
//! All packets and commands that wait are one turn, so one write of the disk covers them all. The
//! answers of a turn go to the runtime as one batch: waking it once costs as much as for one answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Histogram};
use quorate_consensus::core::{Env, Time};
use quorate_consensus::raft::Role;
use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::{Address, Answer, Error, Input, Notice, Output, Reply, Ticket};
use quorate_replica::cft::{CftDriver, Chores, Turn};
use tokio::sync::{mpsc, oneshot};

use super::Live;
use super::identity::Identity;
use super::keys::NodeKeys;
use super::known;
use super::log::DiskLog;
use super::seat::Jobs;
use crate::host::{Clock, Next};
use crate::p2p::Network;

/// The driver of a member.
pub type Driver = CftDriver<NodeKeys, DiskLog>;
/// What a command came to.
pub type Outcome = Result<Reply, Error>;
/// Takes the answers to many commands, each with the number that it came with. Who makes a line sees
/// to it that not too many are under way: the channel has no bound of its own.
pub type Line = mpsc::UnboundedSender<Vec<(u64, Outcome)>>;

/// Who waits for the answer to a command.
pub enum CommandAnswer {
    /// One caller for this alone.
    Single(oneshot::Sender<Outcome>),
    /// Somebody who has many under way.
    Line(Line, u64),
}

/// Who waits for the answer to a query.
pub type QueryAnswer = oneshot::Sender<Result<Answer, Error>>;
/// Answers of one turn, with who waits for them.
pub type Answers = Vec<(CommandAnswer, Outcome)>;

/// Figures of one group.
pub struct Figures {
    /// Turns, in seconds.
    turns: Histogram,
    /// Commands per turn that had any.
    batches: Histogram,
    commands: Counter,
    committed: Gauge,
    last: Gauge,
    view: Gauge,
    leads: Gauge,
    stalled: Gauge,
    damaged: Gauge,
}

impl Figures {
    /// Those of a group.
    pub fn new(group: GroupId) -> Self {
        let group = || group.to_string();
        Self {
            turns: metrics::histogram!("quorate_service_turn_seconds", "group" => group()),
            batches: metrics::histogram!("quorate_service_turn_commands", "group" => group()),
            commands: metrics::counter!("quorate_service_commands_total", "group" => group()),
            committed: metrics::gauge!("quorate_service_committed_seqno", "group" => group()),
            last: metrics::gauge!("quorate_service_last_seqno", "group" => group()),
            view: metrics::gauge!("quorate_view", "group" => group()),
            leads: metrics::gauge!("quorate_service_leads", "group" => group()),
            stalled: metrics::gauge!("quorate_stalled", "group" => group()),
            damaged: metrics::gauge!("quorate_service_damaged", "group" => group()),
        }
    }

    /// How long the disk takes.
    pub fn syncs(group: GroupId) -> Histogram {
        metrics::histogram!("quorate_service_sync_seconds", "group" => group.to_string())
    }
}

/// A member with what it needs to turn.
pub struct Host {
    pub group: GroupId,
    pub driver: Driver,
    pub env: Env,
    pub clock: Clock,
    pub live: Arc<ArcSwap<Live>>,
    pub network: Network,
    pub identity: Identity,
    /// Whether the keystore knows that the log has an entry.
    pub began: bool,
    /// Where the nodes last heard of are kept.
    pub known: PathBuf,
    pub answers: mpsc::UnboundedSender<Answers>,
    pub figures: Figures,
    pub waiting: BTreeMap<Ticket, CommandAnswer>,
    pub next_ticket: u64,
    pub wake: Option<Time>,
}

/// Hands answers on. Runs in the runtime, so that who waits there is woken without a system call.
/// Answers on one line that follow each other go together: mostly they came together, too.
pub async fn deliver(mut answers: mpsc::UnboundedReceiver<Answers>) {
    // Who asked may have gone: then nobody is sent anything.
    while let Some(batch) = answers.recv().await {
        let mut together: Option<(Line, Vec<(u64, Outcome)>)> = None;
        for (answer, outcome) in batch {
            let (line, number) = match answer {
                CommandAnswer::Single(answer) => {
                    let _ = answer.send(outcome);
                    continue;
                }
                CommandAnswer::Line(line, number) => (line, number),
            };
            match &mut together {
                Some((last, outcomes)) if last.same_channel(&line) => {
                    outcomes.push((number, outcome));
                }
                _ => {
                    if let Some((last, outcomes)) =
                        together.replace((line, vec![(number, outcome)]))
                    {
                        let _ = last.send(outcomes);
                    }
                }
            }
        }
        if let Some((last, outcomes)) = together {
            let _ = last.send(outcomes);
        }
    }
}

impl Host {
    /// What is known of the next turn.
    pub fn next(&self) -> Next {
        Next {
            wait: self.wake.map(|time| self.clock.until(time)),
            holds: self.driver.holds_writes(),
            long: self.driver.may_take_long(),
        }
    }

    /// How much there is to [settle](Self::settle).
    pub fn chores(&self) -> Chores {
        self.driver.chores()
    }

    /// Does what the last turns left to do, that nobody waits for ([`CftDriver::settle`]).
    pub fn settle(&mut self) {
        if let Some(again) = self.driver.settle(self.clock.now()) {
            self.wake = Some(self.wake.map_or(again, |wake| wake.min(again)));
        }
    }

    /// One turn.
    pub fn turn(&mut self, work: Jobs) {
        let start = Instant::now();
        self.env.now = self.clock.now();
        let mut inputs = work.inputs;
        if !work.commands.is_empty() {
            self.figures.batches.record(work.commands.len() as f64);
            self.figures.commands.increment(work.commands.len() as u64);
        }
        inputs.reserve(work.commands.len() + 1);
        for (command, answer) in work.commands {
            self.next_ticket += 1;
            let ticket = Ticket(self.next_ticket);
            self.waiting.insert(ticket, answer);
            inputs.push(Input::Command(ticket, command));
        }
        if self.wake.is_some_and(|time| time <= self.env.now) {
            inputs.push(Input::Wake);
        }
        if !inputs.is_empty() {
            let (network, group) = (&self.network, self.group);
            let mut send = |output| {
                if let Output::Send { to, packet } = output {
                    send(network, group, &to, packet);
                }
            };
            let turn = self.driver.turn(&mut self.env, inputs, Some(&mut send));
            self.dispatch(turn);
            self.figures.turns.record(start.elapsed());
        }
        for (query, answer) in work.queries {
            // Who asked may have gone.
            let _ = answer.send(self.driver.query(&query));
        }
    }

    /// Gives the world what a turn brought.
    pub fn dispatch(&mut self, turn: Turn) {
        for trace in &turn.trace {
            tracing::trace!(group = %self.group, line = trace.line, "{}", trace.text);
        }
        let mut answers = Vec::new();
        for output in turn.ahead.into_iter().chain(turn.outputs) {
            match output {
                Output::Send { to, packet } => send(&self.network, self.group, &to, packet),
                Output::Reply(ticket, reply) => {
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        answers.push((answer, reply));
                    }
                }
                Output::Notice(notice) => self.notice(notice),
            }
        }
        if !answers.is_empty() {
            // The runtime may be gone at the end; nobody waits then.
            let _ = self.answers.send(answers);
        }
        self.wake = turn.wake;
        self.publish(turn.stalled);
        if self.driver.log().is_damaged() {
            self.figures.damaged.set(1.0);
        }
        if !self.began && !self.live.load().status.joining && self.live.load().status.last.seqno > 0
        {
            match self.identity.began() {
                Ok(()) => self.began = true,
                Err(error) => tracing::warn!(group = %self.group, %error, "the keystore fails"),
            }
        }
    }

    fn publish(&self, stalled: Option<String>) {
        let status = self.driver.status();
        let before = self.live.load();
        if before.status == status && before.stalled == stalled {
            return;
        }
        match (&before.stalled, &stalled) {
            (None, Some(reason)) => {
                tracing::error!(group = %self.group, reason, "nothing can be written: stalled");
            }
            (Some(_), None) => tracing::info!(group = %self.group, "writing again"),
            _ => {}
        }
        let flag = |on: bool| if on { 1.0 } else { 0.0 };
        self.figures.committed.set(status.committed.seqno as f64);
        self.figures.last.set(status.last.seqno as f64);
        self.figures.view.set(status.view as f64);
        self.figures.leads.set(flag(status.role == Some(Role::Leader)));
        self.figures.stalled.set(flag(stalled.is_some()));
        let news = before.committed() != status.committed;
        let now_ns = i64::try_from(self.env.now.0.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let updated_ns = if news { now_ns } else { before.updated_ns };
        let nodes = Arc::clone(&before.nodes);
        self.live.store(Arc::new(Live { status, stalled, nodes, updated_ns }));
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Committed(_) => {}
            Notice::Role { role, view, leader } => {
                let role = role.map_or("none", Role::name);
                let leader = leader.map(|id| id.to_string()).unwrap_or_default();
                tracing::info!(group = %self.group, role, view, leader, "role");
            }
            Notice::Nodes(nodes) => {
                for node in &nodes {
                    self.network.connect(&node.peer);
                }
                if let Err(error) = known::write(&self.known, &nodes) {
                    tracing::warn!(group = %self.group, %error, "the nodes are not kept");
                }
                let live = Live { nodes: nodes.into(), ..Live::clone(&self.live.load()) };
                self.live.store(Arc::new(live));
            }
            Notice::Admitted(admission) => {
                let kept = self.identity.admitted(*admission);
                // Without its secrets this node could not go on after a restart: it must not be
                // counted on.
                kept.unwrap_or_else(|error| panic!("the secrets of the service: {error}"));
                tracing::info!(group = %self.group, "admitted to the service");
            }
            Notice::Service => tracing::info!(group = %self.group, "the service changed"),
            Notice::Retired => {
                tracing::info!(group = %self.group, "retired: this node may be switched off");
            }
            Notice::Inconsistent(what) => {
                tracing::debug!(group = %self.group, what, "ignored something of a peer");
                metrics::counter!("quorate_packets_refused_total", "why" => "inconsistent")
                    .increment(1);
            }
            Notice::Stopped(why) => {
                tracing::error!(group = %self.group, why, "the member has stopped");
            }
        }
    }
}

fn send(network: &Network, group: GroupId, to: &Address, packet: Arc<[u8]>) {
    match to {
        Address::Member(member) => network.send_to_member(group, member, packet),
        Address::Peer(peer) => network.send_to_peer(group, peer, packet),
        Address::Everybody => network.gossip(group, packet),
        Address::Somebody => network.send_to_somebody(group, packet),
    }
}

/// What is shown of a member that has not begun.
pub fn first(driver: &Driver) -> Live {
    Live { status: driver.status(), stalled: None, nodes: Arc::from(Vec::new()), updated_ns: 0 }
}
