//! Agreement over the proofs of a consensus change, by the same broadcast and binary agreement as
//! the epochs. Lines PRF-1 to PRF-4 of the protocol text.
//!
//! The participants (the listed producers and the owner) have no joint key yet, so the coin is the
//! public one; proofs are no secrets, so nothing is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;

use super::broadcast::Delivery;
use super::coin::{Coin, Unkeyed};
use super::message::ProofMessage;
use super::subset::{Included, Rest, Subset, SubsetStep};
use super::votes::{Notes, Reading, Vote, remove};
use crate::committee::Committee;
use crate::core::{Env, Step, Topic, Verified};
use crate::limits::MAX_PROPOSAL;
use crate::trace::Trace;

/// How an agreement over proofs ends, the same at every correct participant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProofOutcome {
    /// Every participant's proof.
    All(BTreeMap<NodeIndex, Vec<u8>>),
    /// The proofs of these participants were not agreed on (or were no value at all).
    Missing(Vec<NodeIndex>),
}

/// One participant's side of one attempt to agree on the proofs of all.
#[derive(Clone)]
pub struct ProofAgreement {
    instance: Digest,
    committee: Committee,
    me: NodeIndex,
    subset: Subset<Unkeyed>,
    over: bool,
}

type ProofStep = Step<ProofMessage, ProofOutcome>;

impl ProofAgreement {
    /// Opens attempt `instance` among `n` participants of which this one is `me`, with the notes
    /// this participant wrote earlier under `topic` and `key_prefix` (others among `votes` are
    /// ignored). The step says again what was said before, and holds the outcome if it follows
    /// already. Notes of another instance under the same prefix are removed.
    ///
    /// # Panics
    /// If `n` is 0 or `me` is not below it, or if an own note cannot be read: our own mistakes.
    #[expect(clippy::too_many_arguments, reason = "each is one plain fact; no two go together")]
    pub fn open(
        _env: &mut Env,
        n: usize,
        me: NodeIndex,
        instance: Digest,
        topic: Topic,
        key_prefix: &[u8],
        votes: &[(Vec<u8>, Arc<[u8]>)],
    ) -> (Self, ProofStep) {
        let committee = Committee::new(n);
        assert!(committee.contains(me), "a participant is one of the participants");
        let stamp = *instance.0.first_chunk().expect("a digest has 32 bytes");
        let notes = Notes::new(topic, key_prefix, stamp);
        let mut step = Step::new();
        let mut own: Vec<Vote> = Vec::new();
        for (key, bytes) in votes {
            match notes.read(key, bytes) {
                Reading::Vote(vote) => own.push(vote),
                Reading::Stale => {
                    step.record(remove(topic, key));
                }
                Reading::Foreign => {}
            }
        }
        let coin = |proposer| Coin::Public { seed: instance, proposer };
        let (subset, said) = Subset::open(committee, me, Rest::OnDemand, &notes, coin, &own);
        let mut this = Self { instance, committee, me, subset, over: false };
        this.adopt(said, &mut step);
        (this, step)
    }

    /// PRF-1: proposes this participant's proof. Harmless if it has one already (after a restart).
    ///
    /// # Panics
    /// If the proof is larger than [`MAX_PROPOSAL`]: our own mistake.
    pub fn propose(&mut self, _env: &mut Env, proof: &[u8]) -> ProofStep {
        assert!(proof.len() <= MAX_PROPOSAL, "a proof of {} bytes is too large", proof.len());
        let mut step = Step::new();
        if !self.subset.proposed(self.me) {
            step.trace(Trace::said("PRF-1", format!("proposes a proof of {} bytes", proof.len())));
            let said = self.subset.propose(self.me, proof);
            self.adopt(said, &mut step);
        }
        step
    }

    /// A message of another participant. Messages of other instances are ignored.
    pub fn receive(
        &mut self,
        _env: &mut Env,
        from: NodeIndex,
        message: Verified<ProofMessage>,
    ) -> ProofStep {
        let mut step = Step::new();
        let ProofMessage { instance, proposer, body } = message.into_inner();
        if instance == self.instance && from != self.me && self.committee.contains(from) {
            let said = self.subset.receive(from, proposer, body);
            self.adopt(said, &mut step);
        }
        step
    }

    /// PRF-2: the agreement tick is over; whoever has not been heard of is not waited for any
    /// longer.
    pub fn give_up(&mut self, _env: &mut Env) -> ProofStep {
        let mut step = Step::new();
        let said = self.subset.give_up();
        self.adopt(said, &mut step);
        step
    }

    /// Says everything again to `to`, which asks because it was restarted or lost messages.
    pub fn resend(&mut self, to: NodeIndex) -> ProofStep {
        let mut step = Step::new();
        if to != self.me && self.committee.contains(to) {
            let mut said = Step::new();
            self.subset.repeat(to, &mut said);
            self.adopt(said, &mut step);
        }
        step
    }

    /// Which attempt this is.
    #[must_use]
    pub const fn instance(&self) -> Digest {
        self.instance
    }

    fn adopt(&mut self, said: SubsetStep, step: &mut ProofStep) {
        let instance = self.instance;
        let wrap = |(proposer, body)| ProofMessage { instance, proposer, body };
        let (said, included) = said.adopt(wrap);
        step.extend(said);
        for included in included {
            self.all_in(included, step);
        }
        self.some_out(step);
    }

    /// PRF-3: all agreements decided 1 and all values are here.
    fn all_in(&mut self, included: Included, step: &mut ProofStep) {
        if included.len() < self.committee.size() {
            return;
        }
        let mut proofs = BTreeMap::new();
        let mut invalid = Vec::new();
        for (member, delivery) in included {
            match delivery {
                Delivery::Value(proof) => {
                    proofs.insert(member, proof.to_vec());
                }
                Delivery::Invalid => invalid.push(member),
            }
        }
        self.over = true;
        if invalid.is_empty() {
            step.trace(Trace::said("PRF-3", format!("all {} proofs are in", proofs.len())));
            step.output(ProofOutcome::All(proofs));
        } else {
            self.missing(invalid, step);
        }
    }

    /// PRF-4: all agreements are decided and some said 0. What is in need not be waited for.
    fn some_out(&mut self, step: &mut ProofStep) {
        if self.over || self.subset.decisions().any(|(_, decided)| decided.is_none()) {
            return;
        }
        let zeros = self.subset.decisions().filter(|(_, decided)| *decided == Some(false));
        let zeros: Vec<NodeIndex> = zeros.map(|(member, _)| member).collect();
        if !zeros.is_empty() {
            self.over = true;
            self.missing(zeros, step);
        }
    }

    fn missing(&self, members: Vec<NodeIndex>, step: &mut ProofStep) {
        let names: Vec<String> = members.iter().map(ToString::to_string).collect();
        step.trace(Trace::said("PRF-4", format!("no proof of {}", names.join(","))));
        step.output(ProofOutcome::Missing(members));
    }
}
