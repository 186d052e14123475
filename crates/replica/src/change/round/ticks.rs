//! Attempts and ticks of a round, questions and answers: lines CHG-7, CHG-8 and CHG-11.

use std::sync::Arc;

use quorate_consensus::core::Time;
use quorate_consensus::evidence::Fault;
use quorate_consensus::honeybadger::ProofMessage;
use quorate_crypto::keygen::KeyGeneration;
use quorate_ledger::codec::Canonical as _;

use super::super::attempt::{Attempt, Said};
use super::super::limits::{ANSWER_PAUSE, ASK_PAUSE, ASK_PAUSE_PER_PARTICIPANT, MAX_ASK_PAUSE};
use super::super::message::ChangeMessage;
use super::super::notes::{self, Kind, Tick};
use super::super::{Turn, proof};
use super::{Phase, Round, Verdict};

impl<G: KeyGeneration> Round<G> {
    /// CHG-8: messages of the attempt in progress, of the one before and of the next are taken;
    /// who is in a later one is remembered.
    pub(super) fn on_proof(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: usize,
        attempt: u64,
        message: ProofMessage,
    ) {
        if attempt >= self.request.agreement_tick_count {
            self.accuse(turn, from, Fault::OutOfWindow, "an attempt that is not to be");
            return;
        }
        let seen = self.seen.entry(from).or_default();
        *seen = attempt.max(*seen);
        self.follow(turn);
        let current = self.tick.attempt;
        if attempt + 1 < current || attempt > current + 1 {
            return;
        }
        if attempt > current && !self.attempts.contains_key(&attempt) {
            self.open_attempt(turn, attempt, &[]);
        }
        if let Some(running) = self.attempts.get_mut(&attempt) {
            let said = running.receive(turn, from, message);
            self.after(turn, attempt, said);
        }
    }

    /// CHG-8: goes to a later attempt as soon as the owner or `f + 1` participants are in it.
    fn follow(&mut self, turn: &mut Turn<'_, '_>) {
        if self.is_owner() || self.phase == Phase::Superseded {
            return;
        }
        let by_owner = self.seen.get(&self.owner).copied().unwrap_or(0);
        let mut ahead: Vec<u64> = self.seen.values().copied().collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        let by_crowd = ahead.get(self.committee().faulty()).copied().unwrap_or(0);
        let target = by_owner.max(by_crowd);
        if target > self.tick.attempt {
            self.enter(turn, target, turn.env.now);
        }
    }

    /// CHG-8: begins an attempt; all before it are given up.
    fn enter(&mut self, turn: &mut Turn<'_, '_>, attempt: u64, began: Time) {
        self.trace(turn, "CHG-8", &format!("enters attempt {attempt}"));
        self.tick = Tick { attempt, began };
        self.write_tick(turn);
        let earlier: Vec<u64> = self.attempts.range(..attempt).map(|(number, _)| *number).collect();
        for number in earlier {
            self.give_up(turn, number);
            if number + 1 < attempt {
                self.attempts.remove(&number);
                turn.step.record(notes::forget_attempt(self.nonce(), number));
            }
        }
        if !self.attempts.contains_key(&attempt) {
            self.open_attempt(turn, attempt, &[]);
        }
        self.calm(turn.env.now);
        for member in self.others() {
            if self.is_owner() {
                let request = Box::new(self.request.clone());
                self.send(turn, member, ChangeMessage::Request(request));
            }
        }
    }

    fn give_up(&mut self, turn: &mut Turn<'_, '_>, attempt: u64) {
        if let Some(running) = self.attempts.get_mut(&attempt) {
            let said = running.give_up(turn);
            self.after(turn, attempt, said);
        }
    }

    pub(super) fn open_attempt(
        &mut self,
        turn: &mut Turn<'_, '_>,
        attempt: u64,
        votes: &[(Vec<u8>, Arc<[u8]>)],
    ) {
        let instance = proof::instance(&self.hash(), attempt);
        let prefix = notes::agreement_prefix(self.nonce(), attempt);
        let n = self.participants.len();
        let (running, said) = Attempt::open(turn, instance, n, self.me, &prefix, votes);
        self.attempts.insert(attempt, running);
        self.after(turn, attempt, said);
    }

    /// Sends what an attempt said, and takes its outcome.
    fn after(&mut self, turn: &mut Turn<'_, '_>, attempt: u64, said: Said) {
        for (to, message) in said.messages {
            let receivers = to.map_or_else(|| self.others(), |one| vec![one]);
            for to in receivers {
                let (request, message) = (self.hash(), message.clone());
                self.send(turn, to, ChangeMessage::Proof { request, attempt, message });
            }
        }
        if let Some(proofs) = said.proofs
            && self.phase == Phase::Running
        {
            self.trace(turn, "CHG-9", &format!("has all proofs in attempt {attempt}"));
            self.phase = Phase::Done;
            self.verdict = Some(Verdict::All(proofs));
        }
    }

    /// CHG-7: the proof of this participant goes into the attempt in progress.
    pub(super) fn propose(&mut self, turn: &mut Turn<'_, '_>) {
        let Some(response) = &self.response else { return };
        let current = self.tick.attempt;
        let Some(running) = self.attempts.get_mut(&current) else { return };
        if running.proposed() {
            return;
        }
        let proof = proof::write(&self.request, response);
        let said = running.propose(turn, &proof);
        self.trace(turn, "CHG-7", &format!("proposes its proof in attempt {current}"));
        self.after(turn, current, said);
    }

    /// CHG-11: says again what it said to `to`, at most once in [`ANSWER_PAUSE`].
    pub(super) fn answer(&mut self, turn: &mut Turn<'_, '_>, to: usize) {
        let now = turn.env.now;
        if self.answered.get(&to).is_some_and(|last| now < last.after(ANSWER_PAUSE)) {
            return;
        }
        self.answered.insert(to, now);
        self.hello(turn, to);
        if to < self.listed() {
            self.deal(turn, to);
            if let Some(ack) = self.keys.as_ref().and_then(|keys| keys.given(to)) {
                let (request, ack) = (self.hash(), ack.clone());
                self.send(turn, to, ChangeMessage::Ack { request, ack });
            }
        }
        let numbers: Vec<u64> = self.attempts.keys().copied().collect();
        for number in numbers {
            let Some(running) = self.attempts.get_mut(&number) else { continue };
            let said = running.repeat(turn, to);
            self.after(turn, number, said);
        }
    }

    /// Time has passed: ends the tick, closes the log, asks for what is missing.
    pub(in super::super) fn wake(&mut self, turn: &mut Turn<'_, '_>) {
        if self.phase != Phase::Running {
            return;
        }
        self.end_tick(turn);
        self.progress(turn);
        if self.phase == Phase::Running && turn.env.now >= self.ask_at {
            self.ask(turn);
        }
    }

    /// CHG-8: at the end of a tick the next attempt begins, or the change has timed out.
    fn end_tick(&mut self, turn: &mut Turn<'_, '_>) {
        let length = self.request.agreement_tick_len_in_ms;
        let passed = turn.env.now.0.saturating_sub(self.tick.began.0) / length;
        if passed == 0 {
            return;
        }
        let attempt = self.tick.attempt.saturating_add(passed);
        if attempt < self.request.agreement_tick_count {
            let began = self.tick.began.after(passed.saturating_mul(length));
            self.enter(turn, attempt, began);
            return;
        }
        self.trace(turn, "CHG-9", "all attempts are used up");
        let numbers: Vec<u64> = self.attempts.keys().copied().collect();
        for number in numbers {
            self.give_up(turn, number);
        }
        if self.phase == Phase::Running {
            self.phase = Phase::TimedOut;
            self.verdict = Some(Verdict::Timeout);
        }
    }

    /// CHG-11: says hello to those not heard yet and asks the others for what is missing.
    fn ask(&mut self, turn: &mut Turn<'_, '_>) {
        for member in self.others() {
            if self.heard.contains(&member) {
                self.send(turn, member, ChangeMessage::Ask { request: self.hash() });
            } else {
                self.hello(turn, member);
            }
        }
        self.ask_at = turn.env.now.after(self.ask_pause);
        self.ask_pause = (2 * self.ask_pause).min(MAX_ASK_PAUSE);
    }

    fn calm(&mut self, now: Time) {
        self.ask_pause = ASK_PAUSE + ASK_PAUSE_PER_PARTICIPANT * self.participants.len() as u64;
        self.ask_at = now.after(self.ask_pause);
    }

    pub(super) fn half_tick(&self) -> Time {
        self.tick.began.after(self.request.agreement_tick_len_in_ms / 2)
    }

    /// When this round wants to be woken.
    pub(in super::super) fn wake_at(&self, now: Time) -> Option<Time> {
        if self.phase != Phase::Running {
            return None;
        }
        let end = self.tick.began.after(self.request.agreement_tick_len_in_ms);
        let mut at = end.min(self.ask_at);
        if self.response.is_none() && self.half_tick() > now {
            at = at.min(self.half_tick());
        }
        Some(at)
    }

    pub(super) fn write_tick(&self, turn: &mut Turn<'_, '_>) {
        turn.step.record(notes::write(self.nonce(), Kind::Tick, &self.tick.to_bytes()));
    }

    /// Ends all attempts: the change has its result.
    pub(in super::super) fn end_attempts(&mut self, turn: &mut Turn<'_, '_>) {
        self.attempts.clear();
        turn.step.record(notes::forget_attempts(self.nonce()));
    }
}
