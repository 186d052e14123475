//! The heart: one function from an event to a [`Step`].
//!
//! A step's sends and outputs are private. [`Journal::persist`] alone hands them out, after the
//! step's records are durable: to send before the disk does not compile. The exception says so where
//! it is sent ([`Step::send_ahead`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::{BlockId, Epoch};
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::view::View;
use rand_chacha::ChaCha20Rng;

use crate::evidence::Evidence;
use crate::footprint::Footprint;
use crate::trace::Trace;

/// Logical time in milliseconds since the Unix epoch (virtual in the simulator).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// This time moved `ms` milliseconds into the future; saturates.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// What the world gives a step: the time and a seeded generator, nothing else.
#[derive(Debug)]
pub struct Env {
    /// Now. Never goes back between two steps of one process.
    pub now: Time,
    /// A CSPRNG; seeded by the simulator, from the operating system in production.
    pub rng: ChaCha20Rng,
}

/// A message whose sender's signature has been checked. Only such a value enters a step.
///
/// Made by a pure function that checks the signature of the frame the message came in
/// ([`Verified::assume`] is the one door; grep for it to audit).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<M>(M);

impl<M> Verified<M> {
    /// Declares that the sender of `message` has been authenticated. Call it right after checking
    /// the signature, nowhere else.
    pub const fn assume(message: M) -> Self {
        Self(message)
    }

    /// The message.
    pub fn into_inner(self) -> M {
        self.0
    }

    /// The message.
    pub const fn get(&self) -> &M {
        &self.0
    }
}

/// Who a message is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// Every other member of the view.
    All,
    /// One member of the view.
    One(NodeIndex),
}

/// What can happen to a core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<M> {
    /// The replica proposes a batch (opaque to the core) for the epoch in progress.
    Propose(Vec<u8>),
    /// A message of another member arrived.
    Receive(NodeIndex, Verified<M>),
    /// A timer asked for in [`Step::wake_at`] is due (it may also come early or twice).
    Wake,
    /// Another member said it is in `from` (or lost what it had): send it again what this member
    /// said in that epoch and later, as far as still kept.
    Resend {
        /// The member that asks.
        to: NodeIndex,
        /// The first epoch it misses.
        from: Epoch,
    },
    /// The replica has learnt from certified blocks or from `f + 1` members that all epochs before
    /// this one are over: go there.
    Advance(Epoch),
}

/// Whether a core can use a batch now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appetite {
    /// Not now: the batch of the epoch in progress has been proposed already.
    Full,
    /// Ready; the group's rhythm decides when.
    Ready,
    /// Others have begun: propose at once so that the epoch isn't held up.
    Hungry,
}

/// Where the cores meet the rest: one decided batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Epoch (HoneyBadgerBFT), instance (Mod-SMaRt) or signature (Raft) that decided.
    pub epoch: Epoch,
    /// The batches agreed on, by proposer, in committee order. Every correct member has the same.
    pub batches: BTreeMap<NodeIndex, Vec<u8>>,
}

/// Something that must be durable before the step's sends and outputs leave.
///
/// Restart replays all records of the journal that are still live, in the order they were written,
/// into the replica before its first step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A block of the ledger (its canonical encoding). Ids are consecutive; goes to the ledger
    /// files.
    Block {
        /// Its id.
        id: BlockId,
        /// Its canonical encoding.
        bytes: Arc<[u8]>,
        /// Ids of the trxs in it, in order, for the index.
        trx_ids: Vec<[u8; 16]>,
    },
    /// The certificate of a block. Ids are consecutive; goes to the certificate files.
    Certificate {
        /// The block it certifies.
        id: BlockId,
        /// Its canonical encoding.
        bytes: Arc<[u8]>,
    },
    /// Anything a restarted member must remember; goes to the journal. `topic` says who replays it,
    /// and a later record of the same topic and key replaces this one; an empty `bytes` removes it.
    Note {
        /// Who replays it.
        topic: Topic,
        /// Key within the topic. Replayed in the order of first writing.
        key: Vec<u8>,
        /// Value; empty to remove.
        bytes: Arc<[u8]>,
    },
    /// Removes all notes of a topic whose key starts with `prefix`.
    Forget {
        /// The topic.
        topic: Topic,
        /// First bytes of the keys to remove.
        prefix: Vec<u8>,
    },
    /// A secret (view key, key share, dealing), sealed at rest, in the vault: one small file per
    /// name, so that it can be erased. Replaces an earlier secret of that name.
    Secret {
        /// Its name: letters, digits, `-` and `.`, at most 100 bytes.
        name: String,
        /// The secret; `None` overwrites and deletes it.
        bytes: Option<Vec<u8>>,
    },
    /// A snapshot of the state after block `id` (derived data: recovery starts from it instead of
    /// replaying all blocks).
    Snapshot {
        /// The last block in it.
        id: BlockId,
        /// Canonical encoding of the state.
        bytes: Arc<[u8]>,
    },
}

/// Who owns a journal note.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Topic {
    /// What this member said in the committee: its votes and shards, by epoch.
    Vote = 1,
    /// Trxs this node accepted and has not seen in a block yet.
    Pool = 2,
    /// The consensus change in progress.
    Change = 3,
    /// Facts about the group: descriptor, genesis link, roles.
    Group = 4,
}

/// What one transition did. Steps compose: child protocols return steps, the parent maps and merges
/// them; merging many steps before one sync is group commit.
///
/// `M` are the messages, `O` the outputs. A protocol whose members are not positions of a committee
/// says how it names a receiver (`T`), and one that keeps a log of its own what its records are
/// (`R`).
#[derive(Debug)]
#[must_use = "a step dropped is a message lost"]
pub struct Step<M, O = Decision, T = Target, R = Record> {
    records: Vec<R>,
    ahead: Vec<(T, M)>,
    held: bool,
    sends: Vec<(T, M)>,
    outputs: Vec<O>,
    wake: Option<Time>,
    evidence: Vec<Evidence>,
    trace: Vec<Trace>,
}

impl<M, O, T, R> Default for Step<M, O, T, R> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            ahead: Vec::new(),
            held: false,
            sends: Vec::new(),
            outputs: Vec::new(),
            wake: None,
            evidence: Vec::new(),
            trace: Vec::new(),
        }
    }
}

impl<M, O, T, R> Step<M, O, T, R> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a record to be made durable before anything of this step (or of a step it is merged
    /// into) leaves.
    pub fn record(&mut self, record: R) -> &mut Self {
        self.records.push(record);
        self
    }

    /// Sends a message.
    pub fn send(&mut self, target: T, message: M) -> &mut Self {
        self.sends.push((target, message));
        self
    }

    /// Sends a message that promises nothing about the disk of its sender, and on which nothing is
    /// built here before the records are durable: it may leave while they are being written
    /// ([`Step::take_ahead`]).
    pub fn send_ahead(&mut self, target: T, message: M) -> &mut Self {
        self.ahead.push((target, message));
        self
    }

    /// A record of this step is such that nothing at all may leave before it is durable: neither of
    /// this step nor of a step it is merged into.
    pub const fn hold(&mut self) -> &mut Self {
        self.held = true;
        self
    }

    /// Takes out what may leave before the records are durable: nothing if the step is held.
    #[must_use]
    pub fn take_ahead(&mut self) -> Vec<(T, M)> {
        if self.held { Vec::new() } else { std::mem::take(&mut self.ahead) }
    }

    /// Hands something to the parent or the world.
    pub fn output(&mut self, output: O) -> &mut Self {
        self.outputs.push(output);
        self
    }

    /// Asks for [`Event::Wake`] at `time` at the latest; the earliest wish wins.
    pub fn wake_at(&mut self, time: Time) -> &mut Self {
        self.wake = Some(self.wake.map_or(time, |w| w.min(time)));
        self
    }

    /// Reports a peer's fault.
    pub fn accuse(&mut self, evidence: Evidence) -> &mut Self {
        self.evidence.push(evidence);
        self
    }

    /// Tells a reader what happened.
    pub fn trace(&mut self, trace: Trace) -> &mut Self {
        self.trace.push(trace);
        self
    }

    /// Appends `other`, in order.
    pub fn extend(&mut self, other: Self) -> &mut Self {
        append(&mut self.records, other.records);
        append(&mut self.ahead, other.ahead);
        self.held |= other.held;
        append(&mut self.sends, other.sends);
        append(&mut self.outputs, other.outputs);
        if let Some(time) = other.wake {
            self.wake_at(time);
        }
        append(&mut self.evidence, other.evidence);
        append(&mut self.trace, other.trace);
        self
    }

    /// A child's step as its parent's: `message` wraps each message; the child's outputs are handed
    /// to the parent to act on. The outputs are decisions of a pure child inside the same turn, not
    /// yet out in the world: whatever the parent makes of them goes into the returned step.
    pub fn adopt<N, P>(self, mut message: impl FnMut(M) -> N) -> (Step<N, P, T, R>, Vec<O>) {
        let step = Step {
            records: self.records,
            ahead: self.ahead.into_iter().map(|(t, m)| (t, message(m))).collect(),
            held: self.held,
            sends: self.sends.into_iter().map(|(t, m)| (t, message(m))).collect(),
            outputs: Vec::new(),
            wake: self.wake,
            evidence: self.evidence,
            trace: self.trace,
        };
        (step, self.outputs)
    }

    /// Rewrites what is sent: each message becomes none, one or several. For relays and, in the
    /// simulator, for traitors; records stay, so nothing can leave before it is durable.
    pub fn redirect<N, I>(self, mut rewrite: impl FnMut(T, M) -> I) -> Step<N, O, T, R>
    where
        I: IntoIterator<Item = (T, N)>,
    {
        Step {
            records: self.records,
            ahead: self.ahead.into_iter().flat_map(|(t, m)| rewrite(t, m)).collect(),
            held: self.held,
            sends: self.sends.into_iter().flat_map(|(t, m)| rewrite(t, m)).collect(),
            outputs: self.outputs,
            wake: self.wake,
            evidence: self.evidence,
            trace: self.trace,
        }
    }

    /// The faults of peers it reports.
    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// When the step wants to be woken.
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        self.wake
    }

    /// The records to make durable.
    #[must_use]
    pub fn records(&self) -> &[R] {
        &self.records
    }

    /// Whether nothing at all happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.ahead.is_empty()
            && self.sends.is_empty()
            && self.outputs.is_empty()
            && self.wake.is_none()
            && self.evidence.is_empty()
            && self.trace.is_empty()
    }

    /// The one way out of everything that was not sent ahead, private to this module: see
    /// [`Journal::persist`].
    fn release(mut self) -> Released<M, O, T> {
        // What could have left ahead was said first.
        self.ahead.append(&mut self.sends);
        Released {
            sends: self.ahead,
            outputs: self.outputs,
            wake: self.wake,
            evidence: self.evidence,
            trace: self.trace,
            sealed: (),
        }
    }
}

/// Puts `more` behind a list: in its place, as most steps are merged into empty ones.
fn append<T>(list: &mut Vec<T>, more: Vec<T>) {
    if list.is_empty() {
        *list = more;
    } else {
        list.extend(more);
    }
}

/// A step whose records are durable: now it may be seen.
#[derive(Debug)]
#[expect(
    clippy::manual_non_exhaustive,
    reason = "the private field keeps other modules of this crate from making one, too"
)]
pub struct Released<M, O = Decision, T = Target> {
    /// Messages to send.
    pub sends: Vec<(T, M)>,
    /// Outputs to hand on.
    pub outputs: Vec<O>,
    /// When to wake the core.
    pub wake: Option<Time>,
    /// Faults of peers.
    pub evidence: Vec<Evidence>,
    /// What a reader may want to know.
    pub trace: Vec<Trace>,
    sealed: (),
}

impl<M, O, T> Released<M, O, T> {
    /// Splits off the parts, consuming the proof of durability.
    #[must_use]
    pub fn into_parts(self) -> (Vec<(T, M)>, Vec<O>, Option<Time>) {
        let () = self.sealed;
        (self.sends, self.outputs, self.wake)
    }
}

/// What one step is to be restored from after a restart.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The latest good snapshot of the state, if any: last block in it, canonical encoding.
    pub snapshot: Option<(BlockId, Arc<[u8]>)>,
    /// Last block in the ledger files (0 if none); read them through [`Journal::block`].
    pub last_block: BlockId,
    /// Last certificate in the certificate files (0 if none).
    pub last_certificate: BlockId,
    /// Live notes, in the order their keys were first written.
    pub notes: Vec<(Topic, Vec<u8>, Arc<[u8]>)>,
    /// Live secrets by name.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Notes were lost to corruption and the operator repaired the store: this member may have said
    /// things it no longer knows, and must not vote in epochs it may have voted in.
    pub amnesia: bool,
}

/// Makes records durable. The provided [`Journal::persist`] is the only way to get at a step's
/// sends and outputs.
pub trait Journal {
    /// Why a write failed (a full disk, an I/O error). After an error nothing of the step may be
    /// assumed durable and nothing of it has left.
    type Error;

    /// Writes all records and syncs once. Empty input must not touch the disk.
    ///
    /// # Errors
    /// The disk's.
    fn append(&mut self, records: &[Record]) -> Result<(), Self::Error>;

    /// A durable block's canonical encoding; `None` if there is none of that id.
    ///
    /// # Errors
    /// The disk's, or corruption: a byte whose checksum fails is never served.
    fn block(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, Self::Error>;

    /// A durable certificate's canonical encoding.
    ///
    /// # Errors
    /// As [`Journal::block`].
    fn certificate(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, Self::Error>;

    /// Where a trx stands in the durable ledger: block and position in it.
    ///
    /// # Errors
    /// As [`Journal::block`].
    fn find_trx(&self, id: &[u8; 16]) -> Result<Option<(BlockId, u32)>, Self::Error>;

    /// Persists a step (or several merged ones) and releases its sends and outputs.
    ///
    /// # Errors
    /// As [`Journal::append`]; the step is handed back so that it can be tried again.
    #[expect(
        clippy::result_large_err,
        clippy::type_complexity,
        reason = "the step is handed back, once in the life of a failing disk"
    )]
    fn persist<M, O>(
        &mut self,
        step: Step<M, O>,
    ) -> Result<Released<M, O>, (Self::Error, Step<M, O>)> {
        if !step.records.is_empty()
            && let Err(error) = self.append(&step.records)
            && !mutated(Mutant::ReleaseUnwritten)
        {
            return Err((error, step));
        }
        Ok(step.release())
    }
}

/// Makes the records of a protocol that keeps a log of its own durable: the door of its steps, as
/// [`Journal::persist`] is the door of all others.
pub trait Durable<R> {
    /// As [`Journal::Error`].
    type Error;

    /// Writes all records, in order, and syncs once. After a crash a prefix of them may be there.
    ///
    /// # Errors
    /// The disk's.
    fn append(&mut self, records: &[R]) -> Result<(), Self::Error>;

    /// Persists a step (or several merged ones) and releases its sends and outputs.
    ///
    /// # Errors
    /// As [`Durable::append`]; the step is handed back so that it can be tried again.
    #[expect(
        clippy::result_large_err,
        clippy::type_complexity,
        reason = "the step is handed back, once in the life of a failing disk"
    )]
    fn persist<M, O, T>(
        &mut self,
        step: Step<M, O, T, R>,
    ) -> Result<Released<M, O, T>, (Self::Error, Step<M, O, T, R>)> {
        if !step.records.is_empty()
            && let Err(error) = self.append(&step.records)
        {
            return Err((error, step));
        }
        Ok(step.release())
    }
}

/// What a core is opened with.
#[derive(Clone, Debug)]
pub struct Setup<K> {
    /// The view whose committee orders.
    pub view: Arc<View>,
    /// This member's position in it.
    pub me: NodeIndex,
    /// Its secret keys of the view.
    pub keys: K,
    /// First epoch not known to be over.
    pub epoch: Epoch,
    /// This member's earlier notes of [`Topic::Vote`], in order of writing: it must never contradict
    /// them.
    pub votes: Vec<(Vec<u8>, Arc<[u8]>)>,
}

/// An ordering protocol of one view, seen by one member: a transition function.
pub trait Core: Sized {
    /// What members say to each other.
    type Message: Message;
    /// How the keys of a view are made.
    type Generation: KeyGeneration;

    /// Opens the core at the start of a view or after a restart. The returned step says again what
    /// was said before.
    fn open(
        env: &mut Env,
        setup: Setup<<Self::Generation as KeyGeneration>::Keys>,
    ) -> (Self, Step<Self::Message>);

    /// The one function.
    fn step(&mut self, env: &mut Env, event: Event<Self::Message>) -> Step<Self::Message>;

    /// Whether a batch can be proposed now.
    fn appetite(&self) -> Appetite;

    /// The epoch in progress: all before it are over for this member.
    fn epoch(&self) -> Epoch;

    /// How full its buffers are, each against its limit. Cheap enough for every step.
    fn footprint(&self, into: &mut Footprint);

    /// Whether, in a view that tolerates no fault, nobody can order a trx in the epoch in progress
    /// or a later one without hearing more from this member: then it alone may end the view.
    fn may_stop(&self) -> bool;
}

/// Encoding of a protocol's messages, with limits.
pub trait Message: Clone + std::fmt::Debug + Send + 'static {
    /// Appends the versioned encoding.
    fn encode(&self) -> Vec<u8>;

    /// Decodes; `None` for anything malformed or over a limit of [`crate::limits`].
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// Digest of a message for traces and twins of a frame.
#[must_use]
pub fn message_digest(message: &impl Message) -> Digest {
    quorate_crypto::hash::sha256(&message.encode())
}
