//! A producer's part: its core, frames, rhythm and status.
//!
//! | line | rule |
//! |---|---|
//! | RHY-1 | A producer proposes when its core is ready and an interval has passed since it proposed last, or at once when others have begun (BLK-5 permitting). |
//! | STA-1 | It says its status when it opens, and when nothing has come forward for an interval (at least a second), with growing pauses; each time it says its vote for an uncertified block again and asks for what it may have missed. |
//! | STA-2 | A status that shows its sender behind is answered: a hint at the head, the own status, the vote, what the core said before; rarely enough not to be used as an amplifier. |
//! | STA-3 | `f + 1` statuses with an epoch of at least X and a head not above the own mean that all epochs before X are over: one of them is a correct producer's (CUP-6). |
//! | AMN-1 | A producer that forgot what it said stays silent until `n - f` others have said where they are, and then begins two epochs later. Its statuses carry a challenge, drawn when it opened, and only those that answer it count: they were said after it forgot. |
//! | AMN-2 | Later than what at least two of them say: it may have voted in epoch e only if `n - f` proposed in the epoch before, `n - 2f` correct others among them (it is one of the `f` faulty itself), of whom the `n - f` who answered hold at least two. A single liar cannot hold it back for ever. |

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{
    Appetite, Core, Decision, Env, Event, Journal, Record, Setup, Step, Target, Time, Topic,
    Verified,
};
use quorate_consensus::evidence::Evidence;
use quorate_consensus::footprint::Footprint;
use quorate_consensus::limits::PAST_EPOCHS;
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_crypto::view::ViewKey;
use quorate_ledger::certificate::BlockVote;
use quorate_ledger::codec::Writer;
use quorate_ledger::ids::Epoch;
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::view::View;
use rand_core::Rng as _;

use super::{EPOCH_NOTE, Out, Replica, earliest, nanoseconds};
use crate::api::{Address, Notice, Output, PeerRef};
use crate::limits::{
    FRAME_BYTES, MAX_FRAME_PAYLOADS, MAX_QUEUED_DECISIONS, STATUS_ANSWER_MS, STATUS_MAX_MS,
    STATUS_MS,
};
use crate::pool::Lot;
use crate::proposal::Proposal;
use crate::wire::{self, CommitteeFrame, CommitteeMessage, Packet, Status};

type Keys<C> = <<C as Core>::Generation as KeyGeneration>::Keys;

/// What a producer remembers of its view.
pub(super) struct Memory {
    /// First epoch to take part in.
    pub(super) epoch: Epoch,
    /// What it said before, in order.
    pub(super) votes: Vec<(Vec<u8>, Arc<[u8]>)>,
    /// It may have said more than it remembers (AMN-1).
    pub(super) lost: bool,
}

impl Memory {
    /// Nothing said yet.
    pub(super) const fn fresh(epoch: Epoch) -> Self {
        Self { epoch, votes: Vec::new(), lost: false }
    }
}

/// AMN-1: what a producer that forgot what it said asks, and has been told.
struct Amnesia {
    challenge: u64,
    /// The epochs that others have answered with.
    said: BTreeMap<NodeIndex, Epoch>,
}

/// What a member is while it is a producer of the view in force.
pub(super) struct Producing<C: Core> {
    /// `None` while AMN-1 holds it back.
    pub(super) core: Option<C>,
    /// Keys for a core that is not open yet.
    waiting: Option<Keys<C>>,
    pub(super) view: Arc<View>,
    pub(super) me: NodeIndex,
    pub(super) key: ViewKey,
    pub(super) committee: Committee,
    wake: Option<Time>,
    proposed_at: Option<Time>,
    progress_at: Time,
    status_at: Time,
    status_pause: u64,
    /// Last status of each other member, in this view.
    statuses: BTreeMap<NodeIndex, Status>,
    answered: BTreeMap<NodeIndex, Time>,
    amnesia: Option<Amnesia>,
    frames: Vec<(Target, (u8, Vec<u8>))>,
}

impl<C: Core> Producing<C> {
    fn say(&mut self, target: Target, message: &CommitteeMessage<C::Message>) {
        self.frames.push((target, wire::encode_payload(message)));
    }

    /// Says the own vote for a block to everybody.
    pub(super) fn say_vote(&mut self, vote: BlockVote) {
        self.say(Target::All, &CommitteeMessage::Vote(Box::new(vote)));
    }

    /// How full it is.
    pub(super) fn footprint(&self, into: &mut Footprint) {
        let members = self.committee.size();
        into.add("statuses", self.statuses.len(), members);
        into.add("answered_statuses", self.answered.len(), members);
        let answers = self.amnesia.as_ref().map_or(0, |amnesia| amnesia.said.len());
        into.add("answered_challenges", answers, members);
        // What was said in a turn leaves with it.
        into.add("payloads_unsent", self.frames.len(), 0);
        if let Some(core) = &self.core {
            core.footprint(into);
        }
    }

    /// Shortest time without progress that is worth a status.
    fn patience(&self) -> u64 {
        self.view.interval_ms.max(STATUS_MS)
    }

    /// Something came forward: patience begins anew.
    pub(super) fn progress(&mut self, now: Time) {
        self.progress_at = now;
        self.status_pause = self.patience();
        self.status_at = now.after(self.status_pause);
    }

    /// When something last came forward.
    pub(super) const fn since_progress(&self) -> Time {
        self.progress_at
    }

    /// STA-1: when the next status is due.
    fn status_due(&self) -> Time {
        let busy = self.proposed_at.map_or(self.progress_at, |at| at.max(self.progress_at));
        self.status_at.max(busy.after(self.patience()))
    }

    /// RHY-1: when the next batch is due, if the core wants one.
    fn proposal_due(&self, now: Time) -> Option<Time> {
        match self.core.as_ref()?.appetite() {
            Appetite::Full => None,
            Appetite::Hungry => Some(now),
            Appetite::Ready => {
                Some(self.proposed_at.map_or(now, |at| at.after(self.view.interval_ms)))
            }
        }
    }
}

impl<C: Core> Replica<C> {
    /// BLK-5: whether the epoch in progress may be proposed.
    fn gate_open(&self) -> bool {
        let core = self.producing.as_ref().and_then(|p| p.core.as_ref());
        self.pending.is_none()
            && self.queue.is_empty()
            && core.is_some_and(|core| core.epoch() == self.next_epoch)
    }

    pub(super) fn producing_wake(&self) -> Option<Time> {
        let producing = self.producing.as_ref()?;
        let proposal = if self.gate_open() { producing.proposal_due(self.now) } else { None };
        let status = (producing.committee.size() > 1).then(|| producing.status_due());
        // What is overdue waits for something else to happen, not for time.
        let handover = self.handover_due().filter(|at| *at > self.now);
        earliest([producing.wake, proposal, status, handover])
    }

    /// Packs what was said in this turn into one frame per member, to be signed once each.
    pub(super) fn flush_frames(&mut self, out: &mut Out) {
        let group = self.group();
        let Some(producing) = &mut self.producing else { return };
        let frames = std::mem::take(&mut producing.frames);
        if frames.is_empty() {
            return;
        }
        let pack = |to: Option<NodeIndex>| -> Vec<Packet> {
            let payloads = frames.iter().filter_map(|(target, payload)| match target {
                Target::All => Some(payload),
                Target::One(index) => (Some(*index) == to).then_some(payload),
            });
            let payloads: Vec<&(u8, Vec<u8>)> = payloads.collect();
            let frame = |part: &[&(u8, Vec<u8>)]| {
                let (view, me) = (producing.view.number, producing.me);
                wire::encode_committee(&group, view, me, &producing.key, part)
            };
            split(&payloads).into_iter().map(frame).collect()
        };
        let mut common: Option<Vec<Packet>> = None;
        for index in producing.committee.members().filter(|index| *index != producing.me) {
            let apart = frames.iter().any(|(target, _)| *target == Target::One(index));
            let packets = if apart {
                pack(Some(index))
            } else {
                common.get_or_insert_with(|| pack(None)).clone()
            };
            let member = producing.view.producers[index.get()].member;
            for packet in packets {
                out.output(Output::Send { to: Address::Member(member), packet });
            }
        }
    }

    /// Writes down how far this member is in its view, when that has changed: after a restart it
    /// must not begin an epoch again that it has forgotten.
    pub(super) fn note_epoch(&mut self, out: &mut Out) {
        let Some(chain) = &self.chain else { return };
        let Some(producing) = &self.producing else { return };
        let core = producing.core.as_ref().map_or(self.next_epoch, C::epoch);
        if self.noted == (self.next_epoch, core) {
            return;
        }
        self.noted = (self.next_epoch, core);
        let mut writer = Writer::new();
        writer.u64(chain.view().number.0);
        writer.u64(self.next_epoch.0);
        writer.u64(core.0);
        writer.u64(chain.head.id.0);
        let key = EPOCH_NOTE.to_vec();
        out.record(Record::Note { topic: Topic::Group, key, bytes: writer.finish().into() });
    }

    /// The oldest epoch a reopened core still remembers its votes of.
    pub(super) fn reopen_epoch(next: Epoch, core: Epoch) -> Epoch {
        next.max(Epoch(core.0.saturating_sub(PAST_EPOCHS)))
    }
}

/// Parts of a frame within the limits of one.
fn split<'a, 'b>(payloads: &'b [&'a (u8, Vec<u8>)]) -> Vec<&'b [&'a (u8, Vec<u8>)]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, (_, payload)) in payloads.iter().enumerate() {
        let full = index - start == MAX_FRAME_PAYLOADS || bytes + payload.len() > FRAME_BYTES;
        if full && index > start {
            parts.push(&payloads[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += payload.len();
    }
    if start < payloads.len() {
        parts.push(&payloads[start..]);
    }
    parts
}

impl<C: Core> Replica<C>
where
    Keys<C>: Threshold,
{
    /// Becomes a producer of the view in force, with these keys.
    pub(super) fn open_core(
        &mut self,
        env: &mut Env,
        keys: (ViewKey, Keys<C>),
        memory: Memory,
        out: &mut Out,
    ) -> Vec<Decision> {
        let Some(chain) = &self.chain else { return Vec::new() };
        let view = Arc::clone(chain.view());
        let Some(me) = view.index_of(&self.config.member.public()) else { return Vec::new() };
        let committee = Committee::new(view.producers.len());
        let mut producing = Producing {
            core: None,
            waiting: Some(keys.1),
            me,
            key: keys.0,
            committee,
            wake: None,
            proposed_at: None,
            progress_at: env.now,
            status_at: env.now,
            status_pause: view.interval_ms.max(STATUS_MS),
            statuses: BTreeMap::new(),
            answered: BTreeMap::new(),
            amnesia: None,
            frames: Vec::new(),
            view,
        };
        producing.progress(env.now);
        let held = memory.lost && committee.size() > 1;
        if held {
            let challenge = env.rng.next_u64();
            producing.amnesia = Some(Amnesia { challenge, said: BTreeMap::new() });
        }
        self.producing = Some(producing);
        let decisions = if held { Vec::new() } else { self.start_core(env, memory, out) };
        self.broadcast_status(out);
        decisions
    }

    fn start_core(&mut self, env: &mut Env, memory: Memory, out: &mut Out) -> Vec<Decision> {
        let Some(producing) = &mut self.producing else { return Vec::new() };
        let Some(keys) = producing.waiting.take() else { return Vec::new() };
        let Memory { epoch, votes, .. } = memory;
        let view = Arc::clone(&producing.view);
        let setup = Setup { view, me: producing.me, keys, epoch, votes };
        let (core, step) = C::open(env, setup);
        producing.core = Some(core);
        self.absorb(step, out)
    }

    /// Takes over what the core did; its decisions are the caller's to act on.
    fn absorb(&mut self, step: Step<C::Message>, out: &mut Out) -> Vec<Decision> {
        let Some(producing) = &mut self.producing else { return Vec::new() };
        producing.wake = earliest([producing.wake, step.wake()]);
        let step = step.redirect(|target, message| {
            producing.say(target, &CommitteeMessage::Core(message));
            Vec::new()
        });
        super::adopt(step, out)
    }

    /// Gives the core an event and works off what it decides.
    pub(super) fn step_core<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        event: Event<C::Message>,
        out: &mut Out,
    ) {
        let Some(core) = self.producing.as_mut().and_then(|p| p.core.as_mut()) else { return };
        let step = core.step(env, event);
        for decision in self.absorb(step, out) {
            self.decided(decision, out);
        }
        self.work_off(env, journal, out);
    }

    /// A decision waits for its turn (BLK-5). What no longer fits in the queue is lost: its block
    /// is fetched, or its epoch skipped.
    pub(super) fn decided(&mut self, decision: Decision, out: &mut Out) {
        let known = self.pending.as_ref().is_some_and(|p| p.block.header.epoch >= decision.epoch);
        if decision.epoch < self.next_epoch || known {
            return;
        }
        if self.queue.len() >= MAX_QUEUED_DECISIONS {
            let text = format!("decision of epoch {} dropped: too far ahead", decision.epoch);
            out.trace(Trace::said("BLK-5", text));
            return;
        }
        self.queue.entry(decision.epoch).or_insert(decision);
    }

    pub(super) fn wake_core<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        let Some(producing) = &mut self.producing else { return };
        if producing.wake.is_some_and(|at| at <= env.now) {
            producing.wake = None;
            self.step_core(env, journal, Event::Wake, out);
        }
    }

    /// RHY-1.
    pub(super) fn propose<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        if !self.gate_open() {
            return;
        }
        let Some(producing) = &mut self.producing else { return };
        if producing.proposal_due(env.now).is_none_or(|at| at > env.now) {
            return;
        }
        producing.proposed_at = Some(env.now);
        let time_ns = nanoseconds(env.now);
        let n = producing.committee.size() as u16;
        let lot = Lot { me: producing.me.0, n, epoch: self.next_epoch.0 };
        let trxs = self.pool.select(&mut env.rng, lot, time_ns);
        let batch = Proposal { time_ns, trxs }.encode();
        self.step_core(env, journal, Event::Propose(batch), out);
    }

    /// A frame of a producer, whose signature was checked.
    pub(super) fn committee<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        peer: &PeerRef,
        frame: CommitteeFrame<C::Message>,
        out: &mut Out,
    ) {
        for (fault, detail) in frame.faults {
            out.accuse(Evidence::new(frame.sender, fault, detail));
        }
        for payload in frame.payloads {
            // Each payload may end the view or this member's part in it.
            let stale = mutated(Mutant::StaleView);
            let place = self.producing.as_ref().filter(|p| p.view.number == frame.view || stale);
            let place = place.map(|p| p.me);
            let other = place.is_some_and(|me| me != frame.sender);
            match payload {
                CommitteeMessage::Core(message) if other => {
                    let event = Event::Receive(frame.sender, Verified::assume(message));
                    self.step_core(env, journal, event, out);
                }
                CommitteeMessage::Vote(vote) if other => {
                    self.vote(env, journal, *vote, out);
                }
                CommitteeMessage::Status(status) if place != Some(frame.sender) => {
                    self.status_of(peer, &status, out);
                    if other {
                        self.committee_status(env, journal, frame.sender, status, out);
                    }
                }
                _ => {}
            }
        }
    }

    /// What any node learns from a status, also one of the view before.
    fn status_of(&mut self, peer: &PeerRef, status: &Status, out: &mut Out) {
        let Some(chain) = &self.chain else { return };
        let head = chain.head.id;
        if status.head > head {
            self.catchup.claim(peer, status.head, head);
        } else if status.head < head {
            self.send_head(peer, out);
        }
    }

    /// STA-2, STA-3.
    fn committee_status<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        sender: NodeIndex,
        status: Status,
        out: &mut Out,
    ) {
        let own = Status { answer: status.challenge, ..self.own_status(None) };
        let Some(producing) = &mut self.producing else { return };
        producing.statuses.insert(sender, status.clone());
        if let Some(amnesia) = &mut producing.amnesia
            && (status.answer == Some(amnesia.challenge) || mutated(Mutant::StatusUnasked))
        {
            amnesia.said.insert(sender, status.epoch);
        }
        let answered = producing.answered.get(&sender);
        // An answer to the own status asks for nothing and must not use up its sender's turn.
        let asks = status.resend_from.is_some() || status.epoch < own.epoch;
        if asks && answered.is_none_or(|at| at.after(STATUS_ANSWER_MS) <= env.now) {
            producing.answered.insert(sender, env.now);
            let to = Target::One(sender);
            if status.epoch < own.epoch || status.resend_from.is_some() {
                producing.say(to, &CommitteeMessage::Status(own));
            }
            if let Some(pending) = &self.pending
                && pending.id().0.checked_sub(1) == Some(status.head.0)
            {
                let vote = self.own_vote();
                if let (Some(vote), Some(producing)) = (vote, &mut self.producing) {
                    producing.say(to, &CommitteeMessage::Vote(Box::new(vote)));
                }
            }
            if let Some(from) = status.resend_from {
                self.step_core(env, journal, Event::Resend { to: sender, from }, out);
            }
        }
        self.leave_amnesia(env, journal, out);
        self.skip(env, journal, out);
    }

    /// AMN-1.
    fn leave_amnesia<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        let Some(producing) = &mut self.producing else { return };
        let committee = producing.committee;
        let needed = committee.correct().min(committee.size() - 1);
        let enough = |amnesia: &mut Amnesia| amnesia.said.len() >= needed;
        let Some(amnesia) = producing.amnesia.take_if(enough) else { return };
        let mut said: Vec<Epoch> = amnesia.said.into_values().collect();
        said.sort_unstable();
        // AMN-2. With f = 0 nobody lies.
        let vouched = said.len().checked_sub(if committee.faulty() == 0 { 1 } else { 2 });
        let said = vouched.map(|place| said[place]);
        let epoch = Epoch(said.unwrap_or_default().max(self.next_epoch).0.saturating_add(2));
        if committee.faulty() == 0 {
            // Nobody may be faulty here, so nothing can have been decided without this member.
            self.next_epoch = epoch;
        }
        out.trace(Trace::said("AMN-1", format!("begins with epoch {epoch}")));
        for decision in self.start_core(env, Memory::fresh(epoch), out) {
            self.decided(decision, out);
        }
        self.work_off(env, journal, out);
    }

    /// STA-3.
    pub(super) fn skip<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        let (Some(producing), Some(chain)) = (&self.producing, &self.chain) else { return };
        if self.pending.is_some() {
            return;
        }
        let known = producing.statuses.values().filter(|status| status.head <= chain.head.id);
        let mut epochs: Vec<Epoch> = known.map(|status| status.epoch).collect();
        epochs.sort_unstable();
        let Some(place) = epochs.len().checked_sub(producing.committee.one_correct()) else {
            return;
        };
        let epoch = epochs[place];
        if epoch > self.next_epoch {
            out.trace(Trace::said("STA-3", format!("epochs before {epoch} are over")));
            self.end_epochs_before(env.now, epoch, out);
            self.follow_core(env, journal, out);
        }
    }

    /// All epochs before `epoch` are over and their outcomes applied.
    pub(super) fn end_epochs_before(&mut self, now: Time, epoch: Epoch, out: &mut Out) {
        if epoch <= self.next_epoch {
            return;
        }
        self.next_epoch = epoch;
        self.queue.retain(|of, _| *of >= epoch);
        if let Some(producing) = &mut self.producing {
            producing.progress(now);
        }
        let ended = Epoch(epoch.0 - 1);
        out.output(Output::Notice(Notice::EpochEnded(ended)));
    }

    /// Brings a core that is behind forward, then works off decisions that wait.
    pub(super) fn follow_core<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        let core = self.producing.as_ref().and_then(|p| p.core.as_ref());
        if core.is_some_and(|core| core.epoch() < self.next_epoch) {
            let event = Event::Advance(self.next_epoch);
            self.step_core(env, journal, event, out);
        } else {
            self.work_off(env, journal, out);
        }
    }

    fn own_status(&self, resend_from: Option<Epoch>) -> Status {
        let chain = self.chain.as_ref().expect("a producer has a chain");
        let amnesia = self.producing.as_ref().and_then(|p| p.amnesia.as_ref());
        Status {
            epoch: self.next_epoch,
            head: chain.head.id,
            hash: chain.head.hash,
            resend_from,
            challenge: amnesia.map(|amnesia| amnesia.challenge),
            answer: None,
        }
    }

    /// STA-1.
    fn broadcast_status(&mut self, out: &mut Out) {
        if self.chain.is_none() {
            return;
        }
        let core = self.producing.as_ref().and_then(|p| p.core.as_ref()).map(C::epoch);
        let status = self.own_status(Some(core.unwrap_or(self.next_epoch)));
        let vote = self.own_vote();
        let Some(producing) = &mut self.producing else { return };
        let text = format!("status: epoch {}, head {}", status.epoch, status.head);
        out.trace(Trace::said("STA-1", text));
        producing.say(Target::All, &CommitteeMessage::Status(status));
        if let Some(vote) = vote {
            producing.say_vote(vote);
        }
    }

    /// STA-1.
    pub(super) fn say_status(&mut self, now: Time, out: &mut Out) {
        let Some(producing) = &mut self.producing else { return };
        if producing.committee.size() == 1 || producing.status_due() > now {
            return;
        }
        producing.status_at = now.after(producing.status_pause);
        producing.status_pause = (producing.status_pause * 2).min(STATUS_MAX_MS);
        self.broadcast_status(out);
    }

    /// BLK-2: this member's vote for the uncertified block.
    pub(super) fn own_vote(&self) -> Option<BlockVote> {
        let (producing, pending) = (self.producing.as_ref()?, self.pending.as_ref()?);
        let header = &pending.block.header;
        (header.view == producing.view.number)
            .then(|| BlockVote::sign(header, producing.me, &producing.key, &self.config.member))
    }
}
