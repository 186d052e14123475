//! One attempt to agree on the proofs of all participants: [`ProofAgreement`] with the round's
//! addresses.

use std::convert::Infallible;
use std::sync::Arc;

use quorate_consensus::core::{Step, Target, Topic, Verified};
use quorate_consensus::honeybadger::{ProofAgreement, ProofMessage, ProofOutcome};
use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;

use super::Turn;

/// What an attempt did beside its records: messages (to one participant, or to all others), and all
/// proofs in participant order if they are here.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub messages: Vec<(Option<usize>, ProofMessage)>,
    pub proofs: Option<Vec<Vec<u8>>>,
}

/// One attempt.
#[derive(Clone)]
pub(super) struct Attempt {
    agreement: ProofAgreement,
    proposed: bool,
}

impl Attempt {
    /// Opens the attempt `instance` among `n` participants, of whom this is `me`, with what it said
    /// before a restart.
    pub(super) fn open(
        turn: &mut Turn<'_, '_>,
        instance: Digest,
        n: usize,
        me: usize,
        prefix: &[u8],
        votes: &[(Vec<u8>, Arc<[u8]>)],
    ) -> (Self, Said) {
        let me = NodeIndex(me as u16);
        let (agreement, step) =
            ProofAgreement::open(turn.env, n, me, instance, Topic::Change, prefix, votes);
        (Self { agreement, proposed: false }, merge(turn, step))
    }

    pub(super) const fn proposed(&self) -> bool {
        self.proposed
    }

    /// Proposes the own proof, once.
    pub(super) fn propose(&mut self, turn: &mut Turn<'_, '_>, proof: &[u8]) -> Said {
        self.proposed = true;
        let step = self.agreement.propose(turn.env, proof);
        merge(turn, step)
    }

    pub(super) fn receive(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: usize,
        message: ProofMessage,
    ) -> Said {
        // The frame of the change message was checked; the message inside is the sender's too.
        let message = Verified::assume(message);
        let step = self.agreement.receive(turn.env, NodeIndex(from as u16), message);
        merge(turn, step)
    }

    /// Waits no longer for those not heard of.
    pub(super) fn give_up(&mut self, turn: &mut Turn<'_, '_>) -> Said {
        let step = self.agreement.give_up(turn.env);
        merge(turn, step)
    }

    /// Says everything again to one participant.
    pub(super) fn repeat(&mut self, turn: &mut Turn<'_, '_>, to: usize) -> Said {
        let step = self.agreement.resend(NodeIndex(to as u16));
        merge(turn, step)
    }
}

/// Takes messages and outcome out of a step; the rest goes into the turn's.
fn merge(turn: &mut Turn<'_, '_>, step: Step<ProofMessage, ProofOutcome>) -> Said {
    let mut said = Said::default();
    let step = step.redirect::<Infallible, _>(|target, message| {
        let to = match target {
            Target::All => None,
            Target::One(index) => Some(index.get()),
        };
        said.messages.push((to, message));
        Vec::new()
    });
    let (step, outcomes) = step.adopt(|never| never);
    turn.step.extend(step);
    for outcome in outcomes {
        if let ProofOutcome::All(proofs) = outcome {
            said.proofs = Some(proofs.into_values().collect());
        }
    }
    said
}
