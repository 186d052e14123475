//! The one loop turn of a `cft` member that node and simulator share: step, persist, release.
//!
//! As in [`crate::driver`]: nothing leaves before the records of its turn are durable. If they
//! cannot be made durable (a full disk), the step is kept and the driver is *stalled*: it takes no
//! inputs and tries again every [`STALL_RETRY_MS`].

mod receipts;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::raft::message::AppendEntries;
use quorate_consensus::raft::{Entry, NodeId, RaftMessage, RestartError};
use quorate_consensus::trace::Trace;

use super::api::{
    Address, Answer, Begin, Code, Config, Error, Input, Notice, Output, Query, StateInfo, Status,
    TxId,
};
use super::joining::{Joining, Progress};
use super::keys::Keys;
use super::limits::{MAX_PACKET_MESSAGES, PACKET_BYTES, READ_BACK_BYTES};
use super::log::{Log, Recovered, SnapshotFile};
use super::member::{Member, MemberStep};
use super::wire::Packet;
use crate::limits::STALL_RETRY_MS;

/// What one turn gives the world.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be dispatched, in order. Everything they promise is durable.
    pub outputs: Vec<Output>,
    /// When to take the next turn (with [`Input::Wake`]) at the latest. Replaces earlier wishes.
    pub wake: Option<Time>,
    /// Why nothing can be made durable now, if so.
    pub stalled: Option<String>,
    /// What happened, for a reader.
    pub trace: Vec<Trace>,
}

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
    /// Messages not sent because their entries could not be read back.
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
    Running(Box<Member<K>>),
    /// Between the two, inside a turn.
    Moving,
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
        let stats = Stats::default();
        if let Begin::Join { encrypt, from_snapshot } = begin {
            let startup = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.seqno);
            let at = (startup, recovered.last_idx);
            let joining = Joining::new(config, keys, encrypt, from_snapshot, at);
            let stage = Stage::Joining(Box::new(joining));
            let mut driver = Self { stage, log, recovered, kept: None, durable: None, stats };
            let turn = driver.turn(env, Vec::new());
            return Ok((driver, turn));
        }
        let (member, step) = Member::open(env, config, begin, keys, &recovered, &log)?;
        let stage = Stage::Running(Box::new(member));
        let recovered = Recovered::default();
        let mut driver = Self { stage, log, recovered, kept: None, durable: None, stats };
        driver.load_snapshot()?;
        let turn = driver.finish(env, step);
        Ok((driver, turn))
    }

    /// Takes all inputs as one turn: steps merged, one write, then everything released.
    pub fn turn(&mut self, env: &mut Env, inputs: Vec<Input>) -> Turn {
        self.stats.turns += 1;
        let mut before = Turn::default();
        if let Some(kept) = self.kept.take() {
            if env.now < kept.retry_at {
                self.kept = Some(kept);
                return self.refuse(inputs);
            }
            before = self.finish(env, kept.step);
            if before.stalled.is_some() {
                return self.refuse(inputs);
            }
        }
        self.stats.inputs += inputs.len() as u64;
        let turn = match &mut self.stage {
            Stage::Running(member) => {
                let step = member.turn(env, inputs);
                self.finish(env, step)
            }
            Stage::Joining(_) | Stage::Moving => self.join(env, inputs),
        };
        before.outputs.extend(turn.outputs);
        before.trace.extend(turn.trace);
        Turn { outputs: before.outputs, trace: before.trace, ..turn }
    }

    /// A turn of a joiner; once it is admitted it becomes a member.
    fn join(&mut self, env: &mut Env, inputs: Vec<Input>) -> Turn {
        let Stage::Joining(joining) = &mut self.stage else {
            unreachable!("a stage lasts until the end of the turn");
        };
        let mut outputs = Vec::new();
        let progress = joining.turn(env, inputs, &mut outputs);
        let Progress::Ready(secret, told, snapshot) = progress else {
            return Turn { outputs, wake: joining.wake(), ..Turn::default() };
        };
        let Stage::Joining(joining) = std::mem::replace(&mut self.stage, Stage::Moving) else {
            unreachable!("it was joining");
        };
        let Joining { config, keys, .. } = *joining;
        let recovered = match self.begin_with(snapshot) {
            Ok(recovered) => recovered,
            Err(reason) => return self.give_up(outputs, reason),
        };
        let opened = Member::resume(env, config, keys, secret, &recovered, &self.log, told);
        match opened {
            Ok((member, step)) => {
                self.stage = Stage::Running(Box::new(member));
                if let Err(error) = self.load_snapshot() {
                    return self.give_up(outputs, error.to_string());
                }
                let mut turn = self.finish(env, step);
                outputs.append(&mut turn.outputs);
                Turn { outputs, ..turn }
            }
            Err(error) => self.give_up(outputs, error.to_string()),
        }
    }

    /// What the joiner's log begins with.
    fn begin_with(&mut self, snapshot: Option<SnapshotFile>) -> Result<Recovered, String> {
        let recovered = std::mem::take(&mut self.recovered);
        let Some(snapshot) = snapshot else { return Ok(recovered) };
        self.log.install(&snapshot).map_err(|error| error.to_string())?;
        let seqno = snapshot.seqno;
        Ok(Recovered { snapshot: Some(snapshot), commit_idx: seqno, last_idx: seqno, ..recovered })
    }

    fn give_up(&mut self, mut outputs: Vec<Output>, reason: String) -> Turn {
        self.durable = None;
        outputs.push(Output::Notice(Notice::Stopped(reason.clone())));
        Turn { outputs, wake: None, stalled: Some(reason), trace: Vec::new() }
    }

    fn load_snapshot(&mut self) -> Result<(), OpenError> {
        let snapshot = self.log.snapshot().map_err(|error| OpenError::Log(error.to_string()))?;
        if let Stage::Running(member) = &mut self.stage {
            member.set_latest_snapshot(snapshot.map(Arc::new));
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
            Stage::Joining(joining) => return self.query_joining(joining, query),
            Stage::Moving => return Err(not_admitted()),
        };
        if let Some(reason) = member.stopped()
            && !matches!(query, Query::Status | Query::State)
        {
            let message = format!("the node has stopped: {reason}");
            return Err(Error::new(Code::NodeCannotHandleRequest, message));
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

    fn query_joining(&self, joining: &Joining<K>, query: &Query) -> Result<Answer, Error> {
        match query {
            Query::Status => Ok(Answer::Status(Box::new(self.status()))),
            Query::State => Ok(Answer::State(Box::new(StateInfo {
                node_id: NodeId(joining.keys.node().0),
                state: if joining.stopped.is_some() { "Stopped" } else { "Pending" },
                last_signed_seqno: 0,
                startup_seqno: 0,
                stop_notice: joining.stopped.is_some(),
            }))),
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
            Stage::Joining(joining) => Status {
                node_id: NodeId(joining.keys.node().0),
                last: TxId::default(),
                committed: TxId::default(),
                role: None,
                view: 0,
                leader: None,
                joining: true,
                retired: false,
                stopped: joining.stopped.clone(),
            },
            Stage::Moving => Status {
                node_id: NodeId([0; 32]),
                last: TxId::default(),
                committed: TxId::default(),
                role: None,
                view: 0,
                leader: None,
                joining: true,
                retired: false,
                stopped: Some("it could not be opened as a member".to_owned()),
            },
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

    fn finish(&mut self, env: &Env, step: MemberStep) -> Turn {
        let records = step.records().len() as u64;
        match self.log.persist(step) {
            Ok(mut released) => {
                self.stats.writes += u64::from(records > 0);
                self.stats.records += records;
                let trace = std::mem::take(&mut released.trace);
                let (sends, outputs, _) = released.into_parts();
                let mut turn = Turn { trace, ..Turn::default() };
                self.housekeeping(&outputs);
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
                Turn { wake: Some(retry_at), stalled: Some(reason), ..Turn::default() }
            }
        }
    }

    /// The log is told what is committed and given the snapshots that are.
    fn housekeeping(&mut self, outputs: &[Output]) {
        let committed = outputs.iter().rev().find_map(|output| match output {
            Output::Notice(Notice::Committed(tx)) => Some(tx.seqno),
            _ => None,
        });
        if let Some(seqno) = committed
            && self.log.commit(seqno).is_err()
        {
            self.stats.housekeeping += 1;
        }
        let Stage::Running(member) = &mut self.stage else { return };
        for snapshot in member.take_snapshots() {
            match self.log.store_snapshot(&snapshot) {
                Ok(()) => member.set_latest_snapshot(Some(snapshot)),
                Err(_) => self.stats.housekeeping += 1,
            }
        }
    }

    /// Messages become packets: entries are put in, messages to one node travel together.
    fn send_messages(&mut self, sends: Vec<(NodeId, RaftMessage)>, outputs: &mut Vec<Output>) {
        let Stage::Running(member) = &self.stage else { return };
        let mut by_node: BTreeMap<NodeId, Vec<RaftMessage>> = BTreeMap::new();
        for (node, message) in sends {
            by_node.entry(node).or_default().push(message);
        }
        let (from, group) = (member.raft_state().me(), member.config().group);
        for (node, messages) in by_node {
            let Some(peer) = member.peer_of(&node) else { continue };
            let (mut room, mut part) = (PACKET_BYTES, Vec::new());
            let mut read_back = READ_BACK_BYTES;
            let mut parts = Vec::new();
            for message in messages {
                let message = match message {
                    RaftMessage::AppendEntries(append) => {
                        match fill(member, &self.log, append, &mut read_back) {
                            Some(append) => RaftMessage::AppendEntries(append),
                            None => {
                                self.stats.unreadable += 1;
                                continue;
                            }
                        }
                    }
                    other => other,
                };
                let weight = weight(&message);
                if (weight > room || part.len() >= MAX_PACKET_MESSAGES) && !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                    room = PACKET_BYTES;
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
        self.stats.refused += inputs.len() as u64;
        let refused = inputs.into_iter().filter_map(|input| match input {
            Input::Command(ticket, _) => {
                let message = format!("the node cannot write now: {reason}");
                let error = Error::new(Code::InternalError, message);
                Some(Output::Reply(ticket, Err(error)))
            }
            _ => None,
        });
        let outputs = refused.collect();
        Turn { outputs, wake: Some(wake), stalled: Some(reason), trace: Vec::new() }
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

/// Most transactions between two signatures: their tree must fit in a map's value.
const MAX_SIGNATURE_TX_COUNT: u64 = 20_000;

/// Room a message takes in a packet, about.
fn weight(message: &RaftMessage) -> usize {
    match message {
        RaftMessage::AppendEntries(append) => {
            64 + append.entries.iter().map(|entry| 64 + entry.bytes.len()).sum::<usize>()
        }
        _ => 64,
    }
}

/// Puts the entries into a message. `None` if they are not in the log any more, cannot be read, or
/// enough was read back for this peer: as if it had been lost.
fn fill<K: Keys, L: Log>(
    member: &Member<K>,
    log: &L,
    mut append: AppendEntries,
    read_back: &mut usize,
) -> Option<AppendEntries> {
    if append.idx <= append.prev_idx {
        return append.fill([]).then_some(append);
    }
    let first = append.prev_idx + 1;
    if member.recent().get(first).is_some() {
        let entries = (first..=append.idx).map_while(|seqno| member.recent().get(seqno).cloned());
        return append.fill(entries).then_some(append);
    }
    if *read_back == 0 {
        return None;
    }
    let bytes = log.entries(first, append.idx, *read_back).ok()?;
    *read_back = read_back.saturating_sub(bytes.iter().map(|entry| entry.len()).sum());
    append.idx = append.prev_idx + bytes.len() as u64;
    let view = append.term_of_idx;
    let entries = (first..).zip(bytes).map(|(seqno, bytes)| {
        let kind = member.kind_at(seqno, &bytes);
        Entry { view, seqno, kind, bytes }
    });
    append.fill(entries.collect::<Vec<_>>()).then_some(append)
}
