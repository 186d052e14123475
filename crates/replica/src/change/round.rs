//! One change, seen by one participant. Attempts and timers are in [`ticks`].

mod ticks;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use quorate_consensus::committee::Committee;
use quorate_consensus::core::Time;
use quorate_consensus::evidence::{Evidence, Fault};
use quorate_consensus::trace::Trace;
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::recipient;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewPublicKey;
use quorate_ledger::change::VerifiedRequest;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::{ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResultBundle};
use rand_core::Rng as _;

use super::attempt::Attempt;
use super::keys::{KeyPart, dealing_aad};
use super::limits::{ASK_PAUSE, ASK_PAUSE_PER_PARTICIPANT};
use super::message::ChangeMessage;
use super::notes::{self, Found, Kind, Publication, Start, Tick};
use super::{ChangeOutput, Turn, proof};

/// How far a round has come at this participant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Attempts go on.
    Running,
    /// All proofs are here (or the owner has decided otherwise); the ledger has the last word.
    Done,
    /// All attempts are used up.
    TimedOut,
    /// A newer request came.
    Superseded,
}

/// How the attempts of a round ended, for the owner to publish.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Verdict {
    /// All proofs are here, in participant order.
    All(Vec<Vec<u8>>),
    /// No attempt ended in time.
    Timeout,
}

/// One change, seen by one participant.
#[derive(Clone)]
pub(super) struct Round<G> {
    pub request: ChangeConsensusReq,
    /// The same, checked.
    pub checked: VerifiedRequest,
    /// The listed producers, then the owner if it is not listed.
    participants: Vec<MemberPublicKey>,
    me: usize,
    owner: usize,
    /// The owner's own: id of the CONSENSUS trx if the change succeeds.
    pub promised: Option<TrxId>,
    /// A listed producer's part of the key generation.
    keys: Option<KeyPart<G>>,
    response: Option<ChangeConsensusResp>,
    tick: Tick,
    attempts: BTreeMap<u64, Attempt>,
    pub phase: Phase,
    verdict: Option<Verdict>,
    /// Participants something was heard from.
    heard: BTreeSet<usize>,
    /// Latest attempt each participant spoke in.
    seen: BTreeMap<usize, u64>,
    /// When to ask next, and the pause after it.
    ask_at: Time,
    ask_pause: u64,
    /// When each participant was answered last.
    answered: BTreeMap<usize, Time>,
    /// The owner's own: the one result it publishes.
    pub publication: Option<Publication>,
    /// Whether the publication has left since the start of the process.
    pub emitted: bool,
    /// The SUCCESS that is final on the ledger.
    pub settled: Option<ChangeConsensusResultBundle>,
}

impl<G: KeyGeneration> Round<G> {
    /// The round of a request; `None` if it is not good, or this member takes no part in it.
    fn new(turn: &Turn<'_, '_>, start: Start, began: Time) -> Option<Self> {
        let Start { request, promised } = start;
        let checked = proof::check_request(turn.ctx, &request).ok()?;
        let participants = checked.participants();
        let me = turn.ctx.member.public();
        let me = participants.iter().position(|member| *member == me)?;
        let owner = participants.iter().position(|member| *member == checked.owner)?;
        let pause = ASK_PAUSE + ASK_PAUSE_PER_PARTICIPANT * participants.len() as u64;
        Some(Self {
            request,
            checked,
            participants,
            me,
            owner,
            promised,
            keys: None,
            response: None,
            tick: Tick { attempt: 0, began },
            attempts: BTreeMap::new(),
            phase: Phase::Running,
            verdict: None,
            heard: BTreeSet::new(),
            seen: BTreeMap::new(),
            ask_at: began.after(pause),
            ask_pause: pause,
            answered: BTreeMap::new(),
            publication: None,
            emitted: false,
            settled: None,
        })
    }

    /// CHG-1, CHG-2: begins with a new request. Everything is recorded before anything leaves.
    pub(super) fn begin(turn: &mut Turn<'_, '_>, start: Start) -> Option<Self> {
        let now = turn.env.now;
        let mut round = Self::new(turn, start.clone(), now)?;
        if round.me < round.listed() {
            let (mut view, mut dealer) = ([0; 32], [0; 32]);
            turn.env.rng.fill_bytes(&mut view);
            turn.env.rng.fill_bytes(&mut dealer);
            turn.step.record(notes::keep_seeds(round.nonce(), &view, &dealer));
            round.keys = Some(round.key_part(&view, dealer));
        }
        turn.step.record(notes::write(round.nonce(), Kind::Start, &start.to_bytes()));
        round.write_tick(turn);
        round.open_attempt(turn, 0, &[]);
        for member in round.others() {
            round.hello(turn, member);
        }
        round.trace(turn, "CHG-2", "takes part");
        round.progress(turn);
        Some(round)
    }

    /// Goes on where the notes end.
    pub(super) fn restore(turn: &mut Turn<'_, '_>, found: &Found) -> Option<Self> {
        let start: Start = found.one(Kind::Start)?;
        let tick: Tick = found.one(Kind::Tick)?;
        let mut round = Self::new(turn, start, tick.began)?;
        // A clock that was set back must not make the tick longer than it is.
        round.tick = Tick { began: tick.began.min(turn.env.now), ..tick };
        round.response = found.message(Kind::Response);
        round.publication = found.one(Kind::Publication);
        round.settled = found.message(Kind::Settled);
        if round.me < round.listed() {
            // Without its seeds a producer could only contradict what it said.
            let (view, dealer) = found.seeds?;
            let mut keys = round.key_part(&view, dealer);
            round.restore_keys(turn, &mut keys, found);
            round.keys = Some(keys);
        }
        if round.publication.is_some() || round.settled.is_some() {
            round.phase = Phase::Done;
        }
        round.ask_at = turn.env.now;
        Some(round)
    }

    fn restore_keys(&self, turn: &mut Turn<'_, '_>, keys: &mut KeyPart<G>, found: &Found) {
        for (index, bytes) in found.indexed(Kind::Offer) {
            if let Ok(key) = bytes.try_into()
                && let Err(why) = keys.offer(index, ViewPublicKey(key))
            {
                self.trace(turn, "CHG-10", &format!("a stored offer of {index}: {why}"));
            }
        }
        if let Err(error) = keys.open() {
            self.trace(turn, "CHG-10", &format!("cannot open again: {error}"));
        }
        for (index, dealing) in &found.dealings {
            if let Err(error) = keys.receive_dealing(*index, dealing) {
                self.trace(turn, "CHG-10", &format!("a stored dealing: {error}"));
            }
        }
        for (index, ack) in found.indexed(Kind::Ack) {
            if let Err(error) = keys.receive_ack(index, ack) {
                self.trace(turn, "CHG-10", &format!("a stored acknowledgement: {error}"));
            }
        }
    }

    /// The newest round takes up its attempts again and says hello.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_, '_>, found: &Found) {
        if self.phase != Phase::Running {
            return;
        }
        self.open_attempt(turn, self.tick.attempt, &found.votes);
        for member in self.others() {
            self.hello(turn, member);
        }
        self.trace(turn, "CHG-10", &format!("goes on in attempt {}", self.tick.attempt));
        self.progress(turn);
    }

    fn key_part(&self, view: &[u8; 32], dealer: [u8; 32]) -> KeyPart<G> {
        KeyPart::new(self.me, self.listed(), self.checked.keygen_context(), view, dealer)
    }

    pub(super) const fn nonce(&self) -> u64 {
        self.request.nonce
    }

    /// Names the request.
    pub(super) const fn hash(&self) -> Digest {
        self.checked.hash
    }

    /// Number of new producers.
    fn listed(&self) -> usize {
        self.checked.producers.len()
    }

    fn is_owner(&self) -> bool {
        self.me == self.owner
    }

    /// Whether this member has given its signed response away, so that the change may succeed.
    pub(super) const fn responded(&self) -> bool {
        self.response.is_some()
    }

    pub(super) const fn response(&self) -> Option<&ChangeConsensusResp> {
        self.response.as_ref()
    }

    pub(super) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    fn others(&self) -> Vec<usize> {
        (0..self.participants.len()).filter(|index| *index != self.me).collect()
    }

    fn committee(&self) -> Committee {
        Committee::new(self.participants.len())
    }

    fn send(&self, turn: &mut Turn<'_, '_>, to: usize, message: ChangeMessage) {
        turn.step.output(ChangeOutput::Send { to: self.participants[to], message });
    }

    fn trace(&self, turn: &mut Turn<'_, '_>, line: &'static str, text: &str) {
        turn.step.trace(Trace::said(line, format!("change {}: {text}", self.nonce())));
    }

    fn accuse(&self, turn: &mut Turn<'_, '_>, from: usize, fault: Fault, why: &str) {
        let who = self.participants[from];
        let detail = format!("change {}, {who}: {why}", self.nonce());
        turn.step.accuse(Evidence::new(NodeIndex(from as u16), fault, detail));
    }

    /// Where a message of `from` belongs; `None` if it takes no part.
    pub(super) fn index_of(&self, from: &MemberPublicKey) -> Option<usize> {
        self.participants.iter().position(|member| member == from)
    }

    /// What a participant says first: the owner its request, a listed producer its offer.
    fn hello(&self, turn: &mut Turn<'_, '_>, to: usize) {
        if self.is_owner() {
            self.send(turn, to, ChangeMessage::Request(Box::new(self.request.clone())));
        }
        if let Some(keys) = &self.keys {
            let request = Box::new(self.request.clone());
            let view_key = keys.view_key().public();
            self.send(turn, to, ChangeMessage::Offer { request, view_key });
        }
    }

    /// A message of participant `from` that belongs to this round.
    pub(super) fn receive(&mut self, turn: &mut Turn<'_, '_>, from: usize, message: ChangeMessage) {
        self.heard.insert(from);
        match message {
            ChangeMessage::Request(_) => {}
            ChangeMessage::Offer { view_key, .. } => self.on_offer(turn, from, view_key),
            ChangeMessage::Dealing { sealed, .. } => self.on_dealing(turn, from, sealed),
            ChangeMessage::Ack { ack, .. } => self.on_ack(turn, from, &ack),
            ChangeMessage::Proof { attempt, message, .. } => {
                self.on_proof(turn, from, attempt, message);
            }
            ChangeMessage::Ask { .. } => self.answer(turn, from),
        }
        self.progress(turn);
    }

    /// CHG-3: the first offer of a producer counts, and is remembered.
    fn on_offer(&mut self, turn: &mut Turn<'_, '_>, from: usize, key: ViewPublicKey) {
        let Some(keys) = &mut self.keys else { return };
        match keys.offer(from, key) {
            Ok(true) => {
                turn.step.record(notes::write_of(self.nonce(), Kind::Offer, from, &key.0));
            }
            Ok(false) => {}
            Err(why) => self.accuse(turn, from, Fault::BadKeyGeneration, why),
        }
    }

    /// CHG-5: a dealing is checked and stored before it is acknowledged.
    fn on_dealing(&mut self, turn: &mut Turn<'_, '_>, from: usize, sealed: Vec<u8>) {
        let nonce = self.nonce();
        let aad = dealing_aad(&self.hash(), &self.participants[from], &self.participants[self.me]);
        let Some(keys) = &mut self.keys else { return };
        if !keys.opened() {
            keys.keep_early(from, sealed);
            return;
        }
        let opened = recipient::open_sealed(turn.ctx.encrypt, &aad.0, &sealed).ok();
        let Some(dealing) = opened.and_then(|bytes| notes::read_dealing(&bytes)) else {
            self.accuse(turn, from, Fault::BadKeyGeneration, "a dealing that cannot be opened");
            return;
        };
        match keys.receive_dealing(from, &dealing) {
            Ok((ack, new)) => {
                if new {
                    turn.step.record(notes::keep_dealing(nonce, from, &dealing));
                }
                self.send(turn, from, ChangeMessage::Ack { request: self.hash(), ack });
            }
            Err(error) => self.accuse(turn, from, Fault::BadKeyGeneration, &error.to_string()),
        }
    }

    /// CHG-6: acknowledgements count until the log is closed.
    fn on_ack(&mut self, turn: &mut Turn<'_, '_>, from: usize, ack: &[u8]) {
        if self.response.is_some() {
            return;
        }
        let nonce = self.nonce();
        let Some(keys) = &mut self.keys else { return };
        match keys.receive_ack(from, ack) {
            Ok(true) => {
                turn.step.record(notes::write_of(nonce, Kind::Ack, from, ack));
            }
            Ok(false) => {}
            Err(error) => self.accuse(turn, from, Fault::BadKeyGeneration, &error.to_string()),
        }
    }

    /// Does whatever has become possible.
    fn progress(&mut self, turn: &mut Turn<'_, '_>) {
        if self.phase == Phase::Superseded {
            return;
        }
        self.open_generation(turn);
        self.respond(turn);
        self.propose(turn);
    }

    /// CHG-4: with all offers known the round opens, and every player gets its dealing.
    fn open_generation(&mut self, turn: &mut Turn<'_, '_>) {
        let Some(keys) = &mut self.keys else { return };
        match keys.open() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                self.trace(turn, "CHG-4", &format!("cannot open: {error}"));
                return;
            }
        }
        let (early, players) = (keys.take_early(), keys.players());
        self.trace(turn, "CHG-4", "all offers are known, deals");
        for to in (0..players).filter(|to| *to != self.me) {
            self.deal(turn, to);
        }
        for (from, sealed) in early {
            self.on_dealing(turn, from, sealed);
        }
    }

    fn deal(&self, turn: &mut Turn<'_, '_>, to: usize) {
        let Some(dealing) = self.keys.as_ref().and_then(|keys| keys.dealing(to)) else { return };
        let member = self.participants[to];
        let Some(key) = proof::encrypt_key(turn.ctx, &member) else {
            self.trace(turn, "CHG-4", &format!("{member} has announced no key here yet"));
            return;
        };
        let aad = dealing_aad(&self.hash(), &self.participants[self.me], &member);
        let plain = notes::write_dealing(&dealing);
        let sealed = recipient::seal_to(&mut turn.env.rng, &key, &aad.0, &plain);
        self.send(turn, to, ChangeMessage::Dealing { request: self.hash(), sealed });
    }

    /// CHG-6: closes the own log when all have acknowledged, or after half a tick when `n - f`
    /// have, and signs the response. An owner that is not listed responds at once.
    fn respond(&mut self, turn: &mut Turn<'_, '_>) {
        if self.response.is_some() {
            return;
        }
        let material = match &self.keys {
            None => None,
            Some(keys) => {
                let enough = Committee::new(keys.players()).correct();
                let late = turn.env.now >= self.half_tick() && keys.acks() >= enough;
                if !keys.acknowledged_by_all() && !late {
                    return;
                }
                let Some(log) = keys.log() else { return };
                Some((keys.view_key().public(), log))
            }
        };
        let response = proof::respond(turn, &self.request, material);
        let bytes = response.encode_to_vec();
        turn.step.record(notes::write(self.nonce(), Kind::Response, &bytes));
        self.trace(turn, "CHG-6", "responds");
        self.response = Some(response);
    }

    /// A newer request came: nothing more is said in this one.
    pub(super) fn supersede(&mut self, turn: &mut Turn<'_, '_>) {
        self.trace(turn, "CHG-12", "superseded by a newer request");
        self.phase = Phase::Superseded;
        self.verdict = None;
        self.end_attempts(turn);
    }

    /// Erases everything remembered of this round.
    pub(super) fn erase(&self, records: &mut Vec<quorate_consensus::core::Record>) {
        records.push(notes::forget_round(self.nonce()));
        if let Some(keys) = &self.keys {
            records.push(notes::erase_seeds(self.nonce()));
            let dealers = keys.dealers().filter(|dealer| *dealer != self.me);
            records.extend(dealers.map(|dealer| notes::erase_dealing(self.nonce(), dealer)));
        }
    }

    /// Attempts kept.
    pub(super) fn attempts(&self) -> usize {
        self.attempts.len()
    }

    pub(super) const fn key_generation(&self) -> Option<&KeyPart<G>> {
        self.keys.as_ref()
    }
}
