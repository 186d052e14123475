//! The one loop turn of a `cft` member that node and simulator share: step, persist, release.
//!
//! As in [`crate::driver`]: nothing leaves before the records of its turn are durable, but for the
//! entries that a leader sends to others, whose disks may write while its own does
//! ([`quorate_consensus::core::Step::send_ahead`]). If the records cannot be made durable (a full
//! disk), the step is kept and the driver is *stalled*: it takes no inputs and tries again every
//! [`STALL_RETRY_MS`].

mod filling;
mod receipts;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::raft::message::AppendEntries;
use quorate_consensus::raft::{NodeId, RaftMessage, RestartError, Seqno};
use quorate_consensus::trace::Trace;

use self::filling::{Withheld, fill};
use super::api::{
    Address, Answer, Begin, Code, Config, Error, Input, LedgerSecret, Notice, Output, PeerRef,
    Query, StateInfo, Status, TxId,
};
use super::joining::{Joining, Progress};
use super::keys::Keys;
use super::limits::{
    LOG_PACKET_BYTES, MAX_PACKET_MESSAGES, MAX_SIGNATURE_TX_COUNT, READ_BACK_BYTES,
};
use super::log::{Log, Recovered, SnapshotFile};
use super::member::{Member, MemberStep, Remains};
use super::wire::{Packet, weight};
use crate::limits::STALL_RETRY_MS;

/// What one turn gives the world.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be sent before anything else, and even if the disk then fails: the packets that nobody was
    /// given while the disk was written (see [`CftDriver::turn`]).
    pub ahead: Vec<Output>,
    /// To be dispatched, in order. Everything they promise is durable.
    pub outputs: Vec<Output>,
    /// When to take the next turn (with [`Input::Wake`]) at the latest. Replaces earlier wishes.
    pub wake: Option<Time>,
    /// Why nothing can be made durable now, if so.
    pub stalled: Option<String>,
    /// What happened, for a reader.
    pub trace: Vec<Trace>,
}

impl Turn {
    /// This turn and the next as one.
    fn then(mut self, next: Self) -> Self {
        self.ahead.extend(next.ahead);
        self.outputs.extend(next.outputs);
        self.trace.extend(next.trace);
        Self { ahead: self.ahead, outputs: self.outputs, trace: self.trace, ..next }
    }
}

/// What turns left to do that nobody has to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chores {
    /// Nothing.
    None,
    /// Short writes without a sync.
    Few,
    /// The disk may take long.
    Many,
}

/// Takes what may leave while the disk is written.
pub type Sender<'a> = Option<&'a mut dyn FnMut(Output)>;

/// Counters since the driver was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Inputs processed.
    pub inputs: u64,
    /// Turns that wrote to the disk.
    pub writes: u64,
    /// Records written.
    pub records: u64,
    /// Attempts to write that failed.
    pub failures: u64,
    /// Inputs dropped or refused while stalled.
    pub refused: u64,
    /// Messages not sent because their entries were not in the log or could not be read back. Those
    /// that come later because much was read back for their receiver do not count.
    pub unreadable: u64,
    /// Times the commit index or a snapshot could not be stored (tried again with the next one).
    pub housekeeping: u64,
}

/// Why a member cannot be opened. A node with such a log must rejoin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log contradicts itself.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// An entry is not what it must be.
    #[error("entry {0}: {1}")]
    Entry(u64, String),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// It does not fit the way to begin.
    #[error("{0}")]
    Begin(&'static str),
}

#[derive(Debug)]
enum Stage<K> {
    Joining(Box<Joining<K>>),
    /// Admitted, with everything that it begins with, which is not on its disk yet.
    Installing(Box<Installing<K>>),
    Running(Box<Member<K>>),
    /// It cannot become a member, and says why.
    Ended(NodeId, String),
}

/// A joiner that has what it needs to be a member.
#[derive(Debug)]
struct Installing<K> {
    config: Config,
    keys: K,
    secret: LedgerSecret,
    told: Vec<(NodeId, PeerRef)>,
    snapshot: Option<SnapshotFile>,
    /// Why its disk did not take it when that was tried last.
    reason: String,
    retry_at: Time,
}

#[derive(Debug)]
struct Kept {
    step: MemberStep,
    reason: String,
    retry_at: Time,
}

/// A member and its log.
#[derive(Debug)]
pub struct CftDriver<K, L> {
    stage: Stage<K>,
    log: L,
    recovered: Recovered,
    kept: Option<Kept>,
    /// Where it stood after the last turn that is durable.
    durable: Option<Status>,
    /// There is something to settle: what is committed (0: nothing more than was).
    unsettled: Option<Seqno>,
    /// A node was not given what it needs, because that is damaged here.
    unfit: bool,
    stats: Stats,
}

impl<K: Keys, L: Log> CftDriver<K, L>
where
    L::Error: Display,
{
    /// Opens a member and takes the first turn.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        env: &mut Env,
        config: Config,
        begin: Begin,
        keys: K,
        recovered: Recovered,
        log: L,
    ) -> Result<(Self, Turn), OpenError> {
        check_config(&config)?;
        if let Begin::Join { encrypt, from_snapshot } = begin {
            let startup = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.seqno);
            let at = (startup, recovered.last_idx);
            let joining = Joining::new(config, keys, encrypt, from_snapshot, at);
            let stage = Stage::Joining(Box::new(joining));
            let mut driver = Self::at(stage, log, recovered);
            let turn = driver.turn(env, Vec::new(), None);
            return Ok((driver, turn));
        }
        let (member, step) = Member::open(env, config, begin, keys, &recovered, &log)?;
        let stage = Stage::Running(Box::new(member));
        let mut driver = Self::at(stage, log, Recovered::default());
        driver.load_snapshot()?;
        let turn = driver.finish(env, step, None);
        Ok((driver, turn))
    }

    fn at(stage: Stage<K>, log: L, recovered: Recovered) -> Self {
        let (kept, durable, unsettled, unfit) = (None, None, None, false);
        Self { stage, log, recovered, kept, durable, unsettled, unfit, stats: Stats::default() }
    }

    /// Takes all inputs as one turn: steps merged, one write, then everything released. What may
    /// leave before the write is handed to `sender` then; without one it is in [`Turn::ahead`].
    pub fn turn(&mut self, env: &mut Env, inputs: Vec<Input>, sender: Sender<'_>) -> Turn {
        self.stats.turns += 1;
        let mut before = Turn::default();
        if let Some(kept) = self.kept.take() {
            if env.now < kept.retry_at {
                self.kept = Some(kept);
                return self.refuse(inputs);
            }
            before = self.finish(env, kept.step, None);
            if before.stalled.is_some() {
                return self.refuse(inputs);
            }
        }
        self.stats.inputs += inputs.len() as u64;
        let turn = match &mut self.stage {
            Stage::Running(member) => {
                if std::mem::take(&mut self.unfit) {
                    member.hand_over(env);
                }
                let step = member.turn(env, inputs);
                let turn = self.finish(env, step, sender);
                if turn.stalled.is_none() { self.replace_log(env, turn) } else { turn }
            }
            Stage::Joining(_) => self.join(env, inputs),
            Stage::Installing(installing) if env.now < installing.retry_at => {
                let (reason, wake) = (installing.reason.clone(), installing.retry_at);
                self.refuse_all(inputs, reason, wake)
            }
            Stage::Installing(_) => self.install(env, inputs),
            Stage::Ended(_, reason) => {
                let error = Error::new(Code::NodeCannotHandleRequest, stopped_because(reason));
                Turn { outputs: refusals(inputs, &error), ..Turn::default() }
            }
        };
        before.then(turn)
    }

    /// A turn of a joiner; once it is admitted it becomes a member.
    fn join(&mut self, env: &mut Env, inputs: Vec<Input>) -> Turn {
        let Stage::Joining(joining) = &mut self.stage else { return Turn::default() };
        let mut outputs = Vec::new();
        let progress = joining.turn(env, inputs, &mut outputs);
        let Progress::Ready(secret, told, snapshot) = progress else {
            return Turn { outputs, wake: joining.wake(), ..Turn::default() };
        };
        let Stage::Joining(joining) = self.leave_stage() else { return Turn::default() };
        let Joining { config, keys, .. } = *joining;
        let (reason, retry_at) = (String::new(), env.now);
        let installing = Installing { config, keys, secret, told, snapshot, reason, retry_at };
        self.stage = Stage::Installing(Box::new(installing));
        let turn = self.install(env, Vec::new());
        outputs.extend(turn.outputs);
        Turn { outputs, ..turn }
    }

    /// A member that is far behind and has fetched a snapshot begins again after it.
    fn replace_log(&mut self, env: &mut Env, mut turn: Turn) -> Turn {
        let Stage::Running(member) = &mut self.stage else { return turn };
        let Some(snapshot) = member.take_replacement() else { return turn };
        let Stage::Running(member) = self.leave_stage() else { return turn };
        let Remains { config, keys, secret, told, view, voted_for, outputs } = member.give_up_log();
        turn.outputs.extend(outputs);
        self.recovered = Recovered { view, voted_for, ..Recovered::default() };
        let (reason, retry_at, snapshot) = (String::new(), env.now, Some(snapshot));
        let installing = Installing { config, keys, secret, told, snapshot, reason, retry_at };
        self.stage = Stage::Installing(Box::new(installing));
        let next = self.install(env, Vec::new());
        turn.then(next)
    }

    /// What the joiner begins with goes to its disk, and it becomes a member. While the disk fails
    /// it stalls and tries again, however often; it ends if what is on the disk contradicts itself.
    fn install(&mut self, env: &mut Env, inputs: Vec<Input>) -> Turn {
        self.settle(env.now);
        let Stage::Installing(installing) = self.leave_stage() else {
            return Turn::default();
        };
        let latest = match self.put_down(installing.snapshot.as_ref()) {
            Ok(latest) => latest,
            Err(reason) => return self.stall_install(env, installing, reason, inputs),
        };
        let Installing { config, keys, secret, told, .. } = *installing;
        let (kept, kept_secret, kept_told) = (config.clone(), secret.clone(), told.clone());
        let opened = Member::resume(env, config, keys, secret, &self.recovered, &self.log, told);
        let (mut member, step) = match opened {
            Ok(opened) => opened,
            Err((OpenError::Log(reason), keys)) => {
                let (config, secret, told) = (kept, kept_secret, kept_told);
                let (snapshot, why, retry_at) = (None, String::new(), env.now);
                let again =
                    Installing { config, keys, secret, told, snapshot, reason: why, retry_at };
                return self.stall_install(env, Box::new(again), reason, inputs);
            }
            Err((error, _)) => return self.give_up(inputs, error.to_string()),
        };
        member.check_latest_snapshot(latest);
        self.recovered = Recovered::default();
        self.stage = Stage::Running(Box::new(member));
        let mut turn = self.finish(env, step, None);
        if turn.stalled.is_some() {
            turn.outputs.extend(self.refuse(inputs).outputs);
        } else if !inputs.is_empty() {
            let next = self.turn(env, inputs, None);
            turn = turn.then(next);
        }
        turn
    }

    /// The log begins after the snapshot, if there is one; the latest snapshot of the log.
    fn put_down(
        &mut self,
        snapshot: Option<&SnapshotFile>,
    ) -> Result<Option<SnapshotFile>, String> {
        if let Some(snapshot) = snapshot
            && self.recovered.snapshot.as_ref() != Some(snapshot)
        {
            self.log.install(snapshot).map_err(|error| error.to_string())?;
            let seqno = snapshot.seqno;
            (self.recovered.commit_idx, self.recovered.last_idx) = (seqno, seqno);
            self.recovered.snapshot = Some(snapshot.clone());
        }
        self.log.snapshot().map_err(|error| error.to_string())
    }

    fn stall_install(
        &mut self,
        env: &Env,
        mut installing: Box<Installing<K>>,
        reason: String,
        inputs: Vec<Input>,
    ) -> Turn {
        self.stats.failures += 1;
        let retry_at = env.now.after(STALL_RETRY_MS);
        (installing.reason, installing.retry_at) = (reason.clone(), retry_at);
        self.stage = Stage::Installing(installing);
        self.refuse_all(inputs, reason, retry_at)
    }

    fn give_up(&mut self, inputs: Vec<Input>, reason: String) -> Turn {
        let error = Error::new(Code::NodeCannotHandleRequest, stopped_because(&reason));
        let mut outputs = refusals(inputs, &error);
        outputs.push(Output::Notice(Notice::Stopped(reason.clone())));
        if let Stage::Ended(_, why) = &mut self.stage {
            *why = reason;
        }
        Turn { outputs, ..Turn::default() }
    }

    /// Takes the stage out, for the next one to be put in.
    fn leave_stage(&mut self) -> Stage<K> {
        let node = match &self.stage {
            Stage::Joining(joining) => NodeId(joining.keys.node().0),
            Stage::Installing(installing) => NodeId(installing.keys.node().0),
            Stage::Running(member) => member.raft_state().me(),
            Stage::Ended(node, _) => *node,
        };
        std::mem::replace(&mut self.stage, Stage::Ended(node, String::new()))
    }

    fn load_snapshot(&mut self) -> Result<(), OpenError> {
        let snapshot = self.log.snapshot().map_err(|error| OpenError::Log(error.to_string()))?;
        if let Stage::Running(member) = &mut self.stage {
            member.check_latest_snapshot(snapshot);
        }
        Ok(())
    }

    /// Answers from what is durable here.
    ///
    /// # Errors
    /// [`Error`].
    pub fn query(&self, query: &Query) -> Result<Answer, Error> {
        let member = match &self.stage {
            Stage::Running(member) => member,
            _ => return self.query_joining(query),
        };
        if let Some(reason) = member.stopped()
            && !matches!(query, Query::Status | Query::State)
        {
            return Err(Error::new(Code::NodeCannotHandleRequest, stopped_because(reason)));
        }
        if let Some(kept) = &self.kept {
            return match query {
                Query::Status => Ok(Answer::Status(Box::new(self.status()))),
                _ => Err(Error::new(Code::InternalError, kept.reason.clone())),
            };
        }
        match query {
            Query::Receipt(tx) => self.receipt(member, *tx).map(Answer::Receipt),
            Query::CoseReceipt(tx) => self.cose_receipt(member, *tx).map(Answer::CoseReceipt),
            Query::Entry(seqno) => self.entry(member, *seqno).map(Answer::Entry),
            _ => member.query(query),
        }
    }

    fn query_joining(&self, query: &Query) -> Result<Answer, Error> {
        match query {
            Query::Status => Ok(Answer::Status(Box::new(self.status()))),
            Query::State => {
                let Status { node_id, stopped, .. } = self.status();
                Ok(Answer::State(Box::new(StateInfo {
                    node_id,
                    state: if stopped.is_some() { "Stopped" } else { "Pending" },
                    last_signed_seqno: 0,
                    startup_seqno: 0,
                    stop_notice: stopped.is_some(),
                })))
            }
            Query::Ready => Ok(Answer::Ready(false)),
            Query::Primary => Ok(Answer::Primary(None)),
            _ => Err(not_admitted()),
        }
    }

    fn entry(&self, member: &Member<K>, seqno: u64) -> Result<Arc<[u8]>, Error> {
        let missing = || Error::new(Code::ResourceNotFound, format!("entry {seqno} is not here"));
        if seqno == 0 || seqno > member.raft_state().commit_idx() {
            return Err(missing());
        }
        let read = self.log.entries(seqno, seqno, READ_BACK_BYTES);
        let read = read.map_err(|error| Error::new(Code::InternalError, error.to_string()))?;
        read.into_iter().next().ok_or_else(missing)
    }

    /// Where the member stands, as far as it is durable.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.stage {
            Stage::Running(member) if self.kept.is_none() => member.short_status(),
            Stage::Running(member) => self.durable.clone().unwrap_or_else(|| {
                let (last, committed) = (TxId::default(), TxId::default());
                Status { last, committed, role: None, leader: None, ..member.short_status() }
            }),
            Stage::Joining(joining) => {
                not_a_member(NodeId(joining.keys.node().0), joining.stopped.clone())
            }
            Stage::Installing(installing) => not_a_member(NodeId(installing.keys.node().0), None),
            Stage::Ended(node, reason) => not_a_member(*node, Some(reason.clone())),
        }
    }

    /// Whether writes whose callers wait for the commit had better come later, in one batch.
    #[must_use]
    pub fn holds_writes(&self) -> bool {
        match &self.stage {
            Stage::Running(member) if self.kept.is_none() => member.holds_writes(),
            _ => false,
        }
    }

    /// Whether the next turn may take long, however little comes: much is committed, a snapshot made or
    /// put down, a node becomes a member.
    #[must_use]
    pub fn may_take_long(&self) -> bool {
        match &self.stage {
            Stage::Running(member) => member.may_take_long(),
            _ => true,
        }
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How full the buffers are, each against its limit.
    pub fn footprint(&self, into: &mut Footprint) {
        if let Stage::Running(member) = &self.stage {
            member.footprint(into);
        }
    }

    /// The member (for checkers), once it is one.
    #[must_use]
    pub fn member(&self) -> Option<&Member<K>> {
        match &self.stage {
            Stage::Running(member) => Some(member),
            _ => None,
        }
    }

    /// The log (for file endpoints, checkers and metrics).
    #[must_use]
    pub const fn log(&self) -> &L {
        &self.log
    }

    /// Closes the member and hands the log back.
    #[must_use]
    pub fn into_log(self) -> L {
        self.log
    }

    fn finish(&mut self, env: &Env, mut step: MemberStep, sender: Sender<'_>) -> Turn {
        let records = step.records().len() as u64;
        let mut ahead = Vec::new();
        self.send_messages(step.take_ahead(), &mut ahead);
        if let Some(send) = sender {
            ahead.drain(..).for_each(send);
        }
        if records > 0 {
            self.settle(env.now);
        }
        match self.log.persist(step) {
            Ok(mut released) => {
                self.stats.writes += u64::from(records > 0);
                self.stats.records += records;
                let trace = std::mem::take(&mut released.trace);
                let (sends, outputs, _) = released.into_parts();
                let mut turn = Turn { ahead, trace, ..Turn::default() };
                self.note_unsettled(records, &outputs);
                self.send_messages(sends, &mut turn.outputs);
                turn.outputs.extend(outputs);
                if let Stage::Running(member) = &mut self.stage {
                    turn.wake = member.wake();
                    self.durable = Some(member.short_status());
                }
                turn
            }
            Err((error, step)) => {
                self.stats.failures += 1;
                let reason = error.to_string();
                let retry_at = env.now.after(STALL_RETRY_MS);
                self.kept = Some(Kept { step, reason: reason.clone(), retry_at });
                Turn { ahead, wake: Some(retry_at), stalled: Some(reason), ..Turn::default() }
            }
        }
    }

    /// There is something to settle if records were written, or more is committed.
    fn note_unsettled(&mut self, records: u64, outputs: &[Output]) {
        let committed = outputs.iter().rev().find_map(|output| match output {
            Output::Notice(Notice::Committed(tx)) => Some(tx.seqno),
            _ => None,
        });
        if records > 0 || committed.is_some() {
            let before = self.unsettled.unwrap_or_default();
            self.unsettled = Some(committed.unwrap_or_default().max(before));
        }
    }

    /// What a turn left to do that nobody has to wait for: the log is told what is committed, tidies
    /// itself, and is given the snapshots that are committed. To be called when the turn has been
    /// dispatched; if it is not, the next turn that writes does it first. When the next turn is needed
    /// at the latest, because the disk fails.
    pub fn settle(&mut self, now: Time) -> Option<Time> {
        let committed = self.unsettled.take()?;
        if committed > 0 && self.log.commit(committed).is_err() {
            self.stats.housekeeping += 1;
        }
        let again = if self.log.settle() {
            None
        } else {
            self.unsettled = Some(committed);
            Some(now.after(STALL_RETRY_MS))
        };
        let Stage::Running(member) = &mut self.stage else { return again };
        for snapshot in member.take_snapshots() {
            match self.log.store_snapshot(&snapshot) {
                Ok(()) => member.set_latest_snapshot(Some(snapshot)),
                Err(_) => self.stats.housekeeping += 1,
            }
        }
        again
    }

    /// How much there is to [settle](Self::settle).
    #[must_use]
    pub fn chores(&self) -> Chores {
        let many = match &self.stage {
            Stage::Running(member) => member.has_snapshots() || self.log.settles_slowly(),
            _ => true,
        };
        match self.unsettled {
            None => Chores::None,
            Some(_) if many => Chores::Many,
            Some(_) => Chores::Few,
        }
    }

    /// Messages become packets: entries are put in, messages to one node travel together.
    fn send_messages(&mut self, sends: Vec<(NodeId, RaftMessage)>, outputs: &mut Vec<Output>) {
        let Stage::Running(member) = &mut self.stage else { return };
        if sends.is_empty() {
            return;
        }
        let mut by_node: BTreeMap<NodeId, Vec<RaftMessage>> = BTreeMap::new();
        for (node, message) in sends {
            by_node.entry(node).or_default().push(message);
        }
        let (from, group) = (member.raft_state().me(), member.config().group);
        for (node, messages) in by_node {
            let Some(peer) = member.peer_of(&node) else { continue };
            if let Some(introduction) = member.introduction(&node) {
                let (to, packet) = (Address::Peer(peer.clone()), introduction.encode(group));
                outputs.push(Output::Send { to, packet });
            }
            let (mut room, mut part) = (LOG_PACKET_BYTES, Vec::new());
            let mut read_back = READ_BACK_BYTES;
            let mut parts = Vec::new();
            // Once entries are left out, the node has no use for later ones.
            let mut left_out = false;
            for message in messages {
                let message = match message {
                    RaftMessage::AppendEntries(append) => {
                        if left_out && append.idx > append.prev_idx {
                            continue;
                        }
                        let header = append.clone();
                        match fill(member, &self.log, append, &mut read_back) {
                            Ok(append) => RaftMessage::AppendEntries(append),
                            Err(why) => {
                                left_out = true;
                                self.stats.unreadable += u64::from(why != Withheld::Later);
                                self.unfit |= why == Withheld::Damaged;
                                if !matches!(why, Withheld::Gone | Withheld::Damaged) {
                                    continue;
                                }
                                offer_snapshot(member, &peer, outputs);
                                RaftMessage::AppendEntries(without_entries(header))
                            }
                        }
                    }
                    other => other,
                };
                let weight = weight(&message);
                if (weight > room || part.len() >= MAX_PACKET_MESSAGES) && !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                    room = LOG_PACKET_BYTES;
                }
                room = room.saturating_sub(weight);
                part.push(message);
            }
            if !part.is_empty() {
                parts.push(part);
            }
            for messages in parts {
                let packet = Packet::Raft { from, to: node, messages }.encode(group);
                outputs.push(Output::Send { to: Address::Peer(peer.clone()), packet });
            }
        }
    }

    /// Stalled: commands are answered, everything else is dropped.
    fn refuse(&mut self, inputs: Vec<Input>) -> Turn {
        let kept = self.kept.as_ref().expect("only a stalled driver refuses");
        let (reason, wake) = (kept.reason.clone(), kept.retry_at);
        self.refuse_all(inputs, reason, wake)
    }

    fn refuse_all(&mut self, inputs: Vec<Input>, reason: String, wake: Time) -> Turn {
        self.stats.refused += inputs.len() as u64;
        let message = format!("the node cannot write now: {reason}");
        let outputs = refusals(inputs, &Error::new(Code::InternalError, message));
        Turn { outputs, wake: Some(wake), stalled: Some(reason), ..Turn::default() }
    }
}

/// The message that says only who leads, and how far everything agrees.
fn without_entries(message: AppendEntries) -> AppendEntries {
    let (idx, term_of_idx) = (message.prev_idx, message.prev_term);
    AppendEntries { idx, term_of_idx, ..message }
}

/// The log begins after what a node needs next.
fn offer_snapshot<K: Keys>(member: &Member<K>, to: &PeerRef, outputs: &mut Vec<Output>) {
    if let Some(offer) = member.offer() {
        let packet = offer.encode(member.config().group);
        outputs.push(Output::Send { to: Address::Peer(to.clone()), packet });
    }
}

/// Commands are answered, everything else is dropped.
fn refusals(inputs: Vec<Input>, error: &Error) -> Vec<Output> {
    let refused = inputs.into_iter().filter_map(|input| match input {
        Input::Command(ticket, _) => Some(Output::Reply(ticket, Err(error.clone()))),
        _ => None,
    });
    refused.collect()
}

fn stopped_because(reason: &str) -> String {
    format!("the node has stopped: {reason}")
}

/// The status of a node that is no member yet, or cannot be one.
fn not_a_member(node_id: NodeId, stopped: Option<String>) -> Status {
    Status {
        node_id,
        last: TxId::default(),
        committed: TxId::default(),
        role: None,
        view: 0,
        leader: None,
        joining: true,
        retired: false,
        stopped,
    }
}

fn not_admitted() -> Error {
    Error::new(Code::NodeCannotHandleRequest, "this node has not been admitted to the group yet")
}

/// Settings that cannot work are refused \[8\].
fn check_config(config: &Config) -> Result<(), OpenError> {
    if config.message_timeout_ms == 0
        || config.message_timeout_ms >= config.election_timeout_ms.div_ceil(2)
    {
        return Err(OpenError::Begin(
            "consensus.message_timeout must be above 0 and below half of consensus.election_timeout",
        ));
    }
    if !(1..=MAX_SIGNATURE_TX_COUNT).contains(&config.signature_tx_count) {
        return Err(OpenError::Begin("ledger_signatures.tx_count must be from 1 to 20000"));
    }
    if config.signature_max_in_flight == 0 {
        return Err(OpenError::Begin("ledger_signatures.max_in_flight must be above 0"));
    }
    Ok(())
}
