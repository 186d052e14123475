//! Signed Raft: a leader's log, committed at signatures.
//!
//! # Roles
//! A group has nodes of which a minority of every active configuration may crash, be cut off, or
//! come back. None lies: what nodes do wrong on purpose shows in the ledger's signatures, not here.
//! Links lose, delay, repeat and reorder; messages are authenticated outside
//! ([`crate::core::Verified`]).
//!
//! In each *view* (Raft's term) there is at most one *leader*. It appends *entries* to its log and
//! sends them to its *followers*. Some entries are *signatures* over everything before them; only
//! at a signature can the log be committed, and a new leader drops what follows its last one. A
//! *configuration* is an entry, too: from its place in the log on, its quorum counts as well, and
//! until it is committed the quorums of the older ones count with it.
//!
//! # Messages and what they mean
//! | message | meaning |
//! |---|---|
//! | AppendEntries | the leader's: these entries of one view follow `prev_idx`; I have committed `leader_commit_idx` |
//! | ACK(view, i) | my log equals yours up to i, and is durable |
//! | NACK(view, i) | it does not fit; look at i or before, and not at views after `view` |
//! | RequestVote, granted | I run in this view, my last signature is there; you have my only vote in this view |
//! | RequestPreVote, granted | would I win? I would vote for you |
//! | ProposeRequestVote | the leader's: run for election at once |
//!
//! # Quorums
//! Of a configuration of n: n / 2 + 1. Two quorums of one configuration share a node. A change of
//! configuration needs the quorum of the old and of the new one, so the next leader knows of it.
//!
//! # Timers
//! A leader speaks every `message_timeout`; others run for election after `election_timeout` (less
//! a random head start) without hearing a leader. Time comes with [`Event::Wake`].
//!
//! # The rules
//! In brackets where a rule is from: the number of the paragraph in the project's reference for
//! signed Raft, which was drawn from CCF 7 (`R`, `C`, `O` are its requirements, corrections and our
//! additions, `#` issues and pull requests of CCF). *lci* is the last committable index: the last
//! signature in the log, or the commit index.
//!
//! * **RAFT-0** Numbers beyond the limits, or that do not fit each other, are ignored \[ours\].
//!
//! Elections (`election.rs`):
//! * **RAFT-1** A ticking node that does not lead, has not retired for good, and has not heard a
//!   leader for `election_timeout`: RAFT-2, or RAFT-3 where pre-vote is off. \[4.3, R6, C2\]
//! * **RAFT-2** Pre-vote: forget the leader, start the timer and the tallies anew, count the own
//!   vote, and ask all others whether they would vote, in the *current* view. \[4.4, C2\]
//! * **RAFT-3** Candidacy: vote for itself in the next view, and ask all others. \[4.4\]
//! * **RAFT-4** A vote counts in every active configuration with the voter in it; *each* needs its
//!   quorum. Then a pre-vote leads to RAFT-3, a candidacy to RAFT-5. \[4.4, #3837, #3948, #4018\]
//! * **RAFT-5** A leader rolls back to its lci (if anything is committed, or it has resumed and its
//!   log has a signature), and says so to all peers by an empty message after its last entry. It
//!   knows nothing of what they have. \[4.4, R2, C4, ours\]
//! * **RAFT-6** To follow is to forget the leader and start the timer; nothing is rolled back, and
//!   the vote is kept in the same view. \[4.4, C4, C8, #7620, #8094\]
//! * **RAFT-7** A higher view makes a follower of anybody; its vote is free again, and it may cut
//!   one conflict away in that view (RAFT-14). \[4.4\]
//! * **RAFT-8** Vote requests: an older view is denied, a newer one followed (RAFT-7), also for a
//!   pre-vote. A regular vote is denied while the leader is known or another node has the vote.
//!   Both are denied unless the candidate's (view of lci, lci) is at least the own. A pre-vote that
//!   is granted changes nothing. \[4.5, #3810, #5891\]
//! * **RAFT-9** An answer counts if its sender is a peer, it is of this view, and fits the role. A
//!   higher view: RAFT-7. \[4.5\]
//! * **RAFT-10** ProposeRequestVote of this view: RAFT-3, without asking. \[4.5, R8\]
//! * **RAFT-11** A node begins to tick when a signature follows the configuration that names it, so
//!   a learner never runs for election. \[4.3\]
//!
//! Replication (`replication.rs`):
//! * **RAFT-12** A leader that has not spoken for `message_timeout` sends all peers what follows
//!   what they were sent, or an empty message. \[4.3\]
//! * **RAFT-13** CheckQuorum: a leader that has not been answered for `election_timeout` by a
//!   quorum of *every* active configuration follows, in the same view. \[4.3, R7, C3, #7375\]
//! * **RAFT-14** AppendEntries: an older view gets a NACK. If `prev_idx` does not fit, a NACK with
//!   the highest entry that may match; the leader is not learnt from it. A message that begins
//!   before what is committed is dropped. Entries already there are skipped; the first conflict of
//!   a view is cut away, others drop the message. Then append, commit (RAFT-16), and ACK the end of
//!   the *message*, never the own end. A message that names no view (there is nothing before it)
//!   dates what follows by its own, unless it says that something is committed. \[4.6, #5927, #5991,
//!   #6001, #6016, ours\]
//! * **RAFT-24** Messages hold entries of one view and no more than the batch size; at least one
//!   goes out. What was sent counts as sent. A peer that is far behind is not sent everything at
//!   once: the window is full until it acknowledges. With a window, a message that begins before
//!   what is committed is answered with that (RAFT-14 drops it), so that a full one opens. \[4.8,
//!   R5, ours\]
//! * **RAFT-25** A leader takes no user transaction while it retires or too many are pending.
//!   \[4.9, C6, ours\]
//! * **RAFT-26** To append: configuration (RAFT-20), signature (RAFT-31), then the entry. After
//!   20000 bytes they are sent at once. A leader alone commits at once. \[4.8, 4.9\]
//! * **RAFT-27** Flush: what has not been sent goes out without waiting for RAFT-12. \[O3\]
//! * **RAFT-28** The batch size follows a moving average of 20000 bytes by the size of an entry.
//!   \[4.8\]
//! * **RAFT-29** Answers of peers: any of them shows that the peer is there. An ACK of this view
//!   raises what the peer has, and RAFT-15 follows; a NACK moves back what it is sent next, never
//!   what it has. Both sides skip whole views to find where two logs agree. \[4.7, #5324, #5325\]
//!
//! Commit (`commit.rs`):
//! * **RAFT-15** A leader commits the highest signature *of its view* that a quorum of every active
//!   configuration has. \[4.9, R13, R16, #3828, #3950, #5674\]
//! * **RAFT-16** A follower commits the highest signature up to the leader's commit index *and* the
//!   end of the message. \[4.6, C8, #8172\]
//! * **RAFT-17** On commit: retirements (RAFT-32, RAFT-33), then configurations (RAFT-22), then
//!   peers (RAFT-21). \[4.9\]
//! * **RAFT-18** Roll back: never what is committed; only in RAFT-5 and RAFT-14. \[4.9, C4\]
//! * **RAFT-19** Status of a transaction: Committed and Invalid are final. \[6\]
//!
//! Configurations (`configuration.rs`):
//! * **RAFT-20** A configuration counts from the moment its entry is in the log. \[4.10, R14\]
//! * **RAFT-21** A new member is a peer at once; its leader greets it with an empty message, and
//!   its NACK tells what it needs. \[4.10\]
//! * **RAFT-22** A configuration is over when a later one is committed. \[4.9\]
//! * **RAFT-23** Learners are peers of the leader in no configuration; they count for nothing. When
//!   one has what is committed, the leader says so. \[ours\]
//!
//! Retirement (`retirement.rs`):
//! * **RAFT-30** *Ordered*: a configuration without this node enters its log. \[4.10, C5\]
//! * **RAFT-31** *Signed*: the next signature enters its log. \[C5, R22\]
//! * **RAFT-32** *Completed*: that signature is committed. The node still votes, acknowledges and
//!   leads: others may need it to learn of the commit. \[C5, R17, #5919, #5973\]
//! * **RAFT-33** The statement that a node's retirement is committed, when it is committed itself,
//!   removes the node from the peers of all others. With a window, its leader tells it so first.
//!   \[4.10, R12, ours\]
//! * **RAFT-34** *RetiredCommitted*: the node named has gone for good; it never runs or leads again
//!   but still answers. A leader hands over first (RAFT-35). \[4.10, R8, R18\]
//! * **RAFT-35** The successor is the peer that has most, then the one in the latest configuration,
//!   then the lowest. A leader may be asked to nominate at any time, and leads until it hears of a
//!   higher view. \[4.10, C7\]
//! * **RAFT-36** Cutting the log takes Signed back to Ordered, and Ordered to active. \[4.9, R21,
//!   R24\]
//!
//! Beginnings (`restart.rs`) and reads (`reads.rs`):
//! * **RAFT-37** The first node leads view 2 and appends the configuration of itself. \[5\]
//! * **RAFT-38** Resume: view, vote and log are as the records left them. As no message leaves
//!   before the records of its step are durable, nothing that was said is contradicted. The commit
//!   index may be lower than it was, but not lower than a recovery in the log. \[O1\]
//! * **RAFT-39** Join with a snapshot: the log begins after it. \[4.11\]
//! * **RAFT-40** A linearizable read waits until a quorum of every active configuration has
//!   confirmed a heartbeat round that began after it came, and until what was committed then is
//!   executed; the leader must have committed in its own view. \[6, ours\]
//! * **RAFT-42** Recover after a disaster: what the last signature covers counts as committed, what
//!   follows is dropped, the view rises by 2, and this node begins again with the configuration of
//!   itself. Whoever resumes with that in its log waits for no node of before. \[7.6\]
//! * **RAFT-41** Rejoin: a node that kept nothing comes back under a new id. \[R3, O1\]
//!
//! # Deviations from the Raft paper
//! Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm* (USENIX ATC 2014).
//! 1. Entries are committed at signatures only, so votes compare the last signatures, and a new
//!    leader drops what follows its own.
//! 2. A follower cuts one conflict per view, not any; messages never span views, and NACKs skip
//!    views.
//! 3. Configurations change to any other set at once, with a quorum of each active one, in one
//!    entry.
//! 4. Pre-vote, CheckQuorum, nomination, and the stepwise retirement are not in the paper (some are
//!    in Ongaro's thesis).

mod commit;
pub mod configuration;
mod election;
pub mod log;
pub mod message;
mod reads;
mod replication;
pub mod restart;
pub mod retirement;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::configuration::{Configuration, Peer};
pub use self::message::{Entry, Kind, NodeId, RaftMessage};
pub use self::restart::{Kept, RestartError, Snapshot};
pub use self::retirement::Phase;
pub use self::turn::{LogRecord, Output, RaftStep, Refusal};

use quorate_ledger::mutants::{Mutant, mutated};

use self::election::Tally;
use self::log::Log;
use self::reads::Reads;
use self::replication::Batch;
use self::retirement::Retirement;
use self::turn::{Timer, Turn};
use crate::core::{Env, Time, Verified};
use crate::limits::{MAX_RAFT_MEMBERS, MAX_RAFT_SEQNO, MAX_RAFT_VIEW};

/// A leader's term. The first one is 2; 0 is no view.
pub type View = u64;

/// Position in the log (index). The first is 1; 0 is before the first.
pub type Seqno = u64;

/// What a node is told when it is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// A leader says something at least so often, in milliseconds.
    pub message_timeout_ms: u64,
    /// A follower that hears nothing for so long runs for election, in milliseconds; a leader that
    /// hears no quorum steps down.
    pub election_timeout_ms: u64,
    /// A restarted election timer runs up to so many milliseconds ahead, at random: half the
    /// election timeout in a real node, 0 in a scenario.
    pub jitter_ms: u64,
    /// Whether it asks before it runs for election.
    pub pre_vote: bool,
    /// Whether its election timer runs from the start. A real node's begins with the first
    /// signature after the configuration that names it.
    pub ticking: bool,
    /// User transactions are refused while so many entries are not committed; 0 for no limit.
    pub max_uncommitted: u64,
    /// Entries, in messages of the batch size, that may be on their way to a peer before it has
    /// acknowledged any; 0 for no limit, as in a scenario (RAFT-24).
    pub window: u64,
    /// Whether steps carry a trace.
    pub trace: bool,
}

impl Config {
    /// What a real node is told: the reference's defaults.
    #[must_use]
    pub const fn new(me: NodeId) -> Self {
        Self {
            me,
            message_timeout_ms: 100,
            election_timeout_ms: 5_000,
            jitter_ms: 2_500,
            pre_vote: true,
            ticking: false,
            max_uncommitted: 10_000,
            window: 0,
            trace: false,
        }
    }
}

/// What a node is, as a leader or not. A node that knows no configuration and has heard nothing has
/// no role, nor has one that has retired for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreVoteCandidate,
    /// Runs for election.
    Candidate,
    /// Leads its view.
    Leader,
}

impl Role {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "Follower",
            Self::PreVoteCandidate => "PreVoteCandidate",
            Self::Candidate => "Candidate",
            Self::Leader => "Leader",
        }
    }
}

/// An entry to append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEntry {
    /// What it means to the protocol.
    pub kind: Kind,
    /// Its bytes in the ledger.
    pub bytes: Arc<[u8]>,
    /// Its size for the choice of the batch size: the number of bytes in a real node.
    pub weight: u64,
    /// Whether a user asked for it: such entries are refused under back pressure and while the
    /// leader retires.
    pub user: bool,
}

impl NewEntry {
    fn names_too_many(&self) -> bool {
        match &self.kind {
            Kind::Raw | Kind::Signature => false,
            Kind::Configuration(nodes) => nodes.is_empty() || nodes.len() > MAX_RAFT_MEMBERS,
            Kind::Retired(nodes) => nodes.len() > MAX_RAFT_MEMBERS,
        }
    }
}

/// What can happen to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// This node, which must be empty or recovered, begins a group: `bytes` and `weight` of the
    /// entry with its configuration.
    Start {
        /// As [`NewEntry::bytes`].
        bytes: Arc<[u8]>,
        /// As [`NewEntry::weight`].
        weight: u64,
    },
    /// A message arrived.
    Receive(NodeId, Verified<RaftMessage>),
    /// A timer asked for is due (it may also come early or twice).
    Wake,
    /// The leader shall append an entry.
    Append(NewEntry),
    /// The leader shall send what it has not sent yet: at the end of a turn of the driver.
    Flush,
    /// The leader shall ask its best follower to run for election.
    Nominate,
    /// A linearizable read asks what it must wait for; answered with the same token.
    Read(u64),
    /// These nodes are learners now (and nobody else is): the leader sends them the log.
    Learners(BTreeSet<NodeId>),
}

/// How a transaction stands, as one node sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// This node does not know it.
    Unknown,
    /// It is in the log.
    Pending,
    /// It is in the log for ever.
    Committed,
    /// It never will be.
    Invalid,
}

/// One node of a signed Raft group.
#[derive(Clone, Debug)]
pub struct Raft {
    config: Config,
    view: View,
    voted_for: Option<NodeId>,
    role: Option<Role>,
    leader: Option<NodeId>,
    log: Log,
    startup_seqno: Seqno,
    configurations: Vec<Configuration>,
    peers: BTreeMap<NodeId, Peer>,
    learners: BTreeSet<NodeId>,
    retirement: Retirement,
    tallies: Vec<Tally>,
    timer: Timer,
    ticking: bool,
    resumed: bool,
    /// A recovered node has not begun yet.
    recovers: bool,
    is_new_follower: bool,
    should_sign: bool,
    batch: Batch,
    reads: Reads,
}

impl Raft {
    /// A node with nothing: it begins a group ([`Event::Start`]) or waits to be told of one. This
    /// is also how a node *rejoins* (RAFT-41): under a new id, nothing of the old one is left.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            ticking: config.ticking,
            config,
            view: 0,
            voted_for: None,
            role: None,
            leader: None,
            log: Log::default(),
            startup_seqno: 0,
            configurations: Vec::new(),
            peers: BTreeMap::new(),
            learners: BTreeSet::new(),
            retirement: Retirement::default(),
            tallies: Vec::new(),
            timer: Timer::default(),
            resumed: false,
            recovers: false,
            is_new_follower: false,
            should_sign: false,
            batch: Batch::default(),
            reads: Reads::default(),
        }
    }

    /// The one function: what an event makes of this node.
    ///
    /// # Panics
    /// On a second [`Event::Start`] and on own mistakes; never because of a message.
    pub fn step(&mut self, env: &mut Env, event: Event) -> RaftStep {
        let vote = (self.view, self.voted_for);
        let mut turn = Turn::new(env, self.config.trace);
        match event {
            Event::Start { bytes, weight } => self.start(&mut turn, bytes, weight),
            Event::Receive(from, message) => self.receive(&mut turn, from, message.into_inner()),
            Event::Wake if self.role == Some(Role::Leader) => self.tick_leader(&mut turn),
            Event::Wake => self.tick_follower(&mut turn),
            Event::Append(entry) => self.replicate(&mut turn, entry),
            Event::Flush => {
                self.flush(&mut turn);
                self.begin_read_round(&mut turn);
            }
            Event::Nominate if self.role == Some(Role::Leader) => {
                self.nominate_successor(&mut turn);
            }
            Event::Nominate => {}
            Event::Read(token) => self.read(&mut turn, token),
            Event::Learners(nodes) => self.set_learners(&mut turn, nodes),
        }
        if (self.view, self.voted_for) != vote && !mutated(Mutant::RaftViewUnwritten) {
            turn.record(self.vote_record());
        }
        self.check();
        turn.into_step(self.wake_at())
    }

    /// RAFT-0: what no node says is ignored.
    fn receive(&mut self, turn: &mut Turn<'_>, from: NodeId, message: RaftMessage) {
        if from == self.config.me || !is_possible(&message) {
            turn.trace("RAFT-0", || format!("ignores {message} of {from}"));
            turn.output(Output::Inconsistent("numbers of a message that do not fit"));
            return;
        }
        match message {
            RaftMessage::AppendEntries(message) => self.on_append_entries(turn, from, message),
            RaftMessage::AppendEntriesResponse(answer) => {
                self.on_append_entries_response(turn, from, answer);
            }
            RaftMessage::RequestVote(request) => self.on_vote_request(turn, from, request, true),
            RaftMessage::RequestPreVote(request) => {
                self.on_vote_request(turn, from, request, false);
            }
            RaftMessage::RequestVoteResponse(answer) => {
                self.on_vote_response(turn, from, answer, true);
            }
            RaftMessage::RequestPreVoteResponse(answer) => {
                self.on_vote_response(turn, from, answer, false);
            }
            RaftMessage::ProposeRequestVote(term) => self.on_propose_request_vote(turn, term),
        }
    }

    fn set_role(&mut self, turn: &mut Turn<'_>, role: Role) {
        if self.role == Some(Role::Leader) && role != Role::Leader {
            self.fail_reads(turn);
        }
        if self.role != Some(role) {
            turn.output(Output::Role { role, view: self.view });
        }
        self.role = Some(role);
    }

    fn vote_record(&self) -> LogRecord {
        let voted_for = self.voted_for.filter(|_| !mutated(Mutant::RaftVoteUnwritten));
        LogRecord::Vote { view: self.view, voted_for }
    }

    /// When time alone will change something.
    fn wake_at(&self) -> Option<Time> {
        match self.role {
            Some(Role::Leader) => Some(self.timer.due(self.config.message_timeout_ms)),
            _ if self.ticking && !self.is_gone() && !self.configurations.is_empty() => {
                Some(self.timer.due(self.config.election_timeout_ms))
            }
            _ => None,
        }
    }

    /// What must hold after every step, whatever the others say.
    fn check(&self) {
        let log = &self.log;
        assert!(log.commit_idx <= log.last_idx, "what is committed is in the log");
        let newest = log.committable.back().copied().unwrap_or_default();
        assert!(newest <= log.last_idx, "signatures are in the log");
        let oldest = log.committable.front().copied().unwrap_or(Seqno::MAX);
        assert!(oldest > log.commit_idx, "signatures that are committed are forgotten");
        assert!(!self.peers.contains_key(&self.config.me), "no node is its own peer");
        if self.is_gone() {
            let runs = matches!(self.role, Some(role) if role != Role::Follower);
            assert!(!runs, "a node that has retired for good neither runs nor leads");
        }
    }
}

/// Facts about a node, for the API, the driver and checkers.
impl Raft {
    /// This node.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.config.me
    }

    /// Its view (term).
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// Its role, if it has one.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        self.role
    }

    /// The leader of its view, as far as it knows.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Who has its vote in its view.
    #[must_use]
    pub const fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    /// How far its retirement is; `None` for an active node.
    #[must_use]
    pub const fn phase(&self) -> Option<Phase> {
        self.retirement.phase
    }

    /// Last entry of its log.
    #[must_use]
    pub const fn last_idx(&self) -> Seqno {
        self.log.last_idx
    }

    /// Last committed entry.
    #[must_use]
    pub const fn commit_idx(&self) -> Seqno {
        self.log.commit_idx
    }

    /// The entry that its log begins after: 0, or the snapshot it joined with.
    #[must_use]
    pub const fn startup_seqno(&self) -> Seqno {
        self.startup_seqno
    }

    /// View of the entry at `seqno`; 0 if there is none.
    #[must_use]
    pub fn view_at(&self, seqno: Seqno) -> View {
        self.log.term(seqno)
    }

    /// Where each view begins.
    #[must_use]
    pub const fn view_history(&self) -> &log::ViewHistory {
        &self.log.views
    }

    /// Active configurations, oldest first.
    #[must_use]
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// The nodes it sends to when it leads.
    #[must_use]
    pub const fn peers(&self) -> &BTreeMap<NodeId, Peer> {
        &self.peers
    }

    /// Nodes that are sent the log and count for nothing.
    #[must_use]
    pub const fn learners(&self) -> &BTreeSet<NodeId> {
        &self.learners
    }

    /// Whether its election timer runs.
    #[must_use]
    pub const fn ticking(&self) -> bool {
        self.ticking
    }

    /// Signatures in the log that are not committed.
    #[must_use]
    pub fn uncommitted_signatures(&self) -> usize {
        self.log.committable.len()
    }

    /// Whether a new leader has not signed yet.
    #[must_use]
    pub const fn should_sign(&self) -> bool {
        self.should_sign
    }

    /// RAFT-19: how transaction `view.seqno` stands. Committed and Invalid are final.
    #[must_use]
    pub fn status(&self, view: View, seqno: Seqno) -> Status {
        let local = self.view_at(seqno);
        if self.log.commit_idx >= seqno {
            return if local == view { Status::Committed } else { Status::Invalid };
        }
        if local == view {
            Status::Pending
        } else if self.log.term(self.log.commit_idx) > view {
            Status::Invalid
        } else {
            Status::Unknown
        }
    }
}

/// Whether all numbers are within their limits and fit each other.
fn is_possible(message: &RaftMessage) -> bool {
    let views = |views: &[View]| views.iter().all(|view| *view <= MAX_RAFT_VIEW);
    let seqnos = |seqnos: &[Seqno]| seqnos.iter().all(|seqno| *seqno <= MAX_RAFT_SEQNO);
    match message {
        RaftMessage::AppendEntries(m) => {
            views(&[m.term, m.prev_term, m.term_of_idx])
                && seqnos(&[m.idx, m.prev_idx, m.leader_commit_idx])
                && m.is_consistent()
        }
        RaftMessage::AppendEntriesResponse(m) => views(&[m.term]) && seqnos(&[m.last_log_idx]),
        RaftMessage::RequestVote(m) | RaftMessage::RequestPreVote(m) => {
            views(&[m.term, m.term_of_last_committable_idx]) && seqnos(&[m.last_committable_idx])
        }
        RaftMessage::RequestVoteResponse(m) | RaftMessage::RequestPreVoteResponse(m) => {
            views(&[m.term])
        }
        RaftMessage::ProposeRequestVote(term) => views(&[*term]),
    }
}

#[cfg(test)]
mod tests;
