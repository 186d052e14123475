//! The end of a view that has lost a producer and tolerates no fault.
//!
//! | line | rule |
//! |---|---|
//! | HND-1 | In a view of two or three producers (f = 0) a dead one stops the ledger, so a change that removes it could never be ordered. Its owner, if it is a producer of the view, then ends the view alone: once its ready CONSENSUS trx has waited [`HANDOVER_MS`] without any progress. |
//! | HND-2 | It makes the next block of this one trx and certifies it: with f = 0 a certificate is one signature. No other rule of blocks, certificates or views is touched. |
//! | HND-3 | It does so only while nobody can know a block that it does not: nothing decided waits here, no peer claims a higher head, and its core may stop (EP-8 of HoneyBadgerBFT: with f = 0 every trx needs this member's decryption share, and it has released none). Block, certificate and the end of the old core are durable in one turn, so it never says anything in the old view afterwards. |
//!
//! With f >= 1 the ordinary way works as long as `2f + 1` producers live, and this one is never
//! taken.

use std::collections::BTreeMap;
use std::fmt::Display;

use quorate_consensus::core::{Core, Decision, Env, Journal, Time};
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::TrxType;

use super::{Out, Replica, nanoseconds};
use crate::limits::HANDOVER_MS;
use crate::proposal::Proposal;

impl<C: Core> Replica<C> {
    /// HND-1: when this member may end the view, if a change is ready and the view is such.
    pub(super) fn handover_due(&self) -> Option<Time> {
        let producing = self.producing.as_ref()?;
        let alone = producing.committee.size() > 1 && producing.committee.faulty() == 0;
        let owner = self.config.member.public() == self.config.descriptor.owner;
        if !alone || !owner || !self.pool.own().any(|id| self.is_consensus(id)) {
            return None;
        }
        let patience = HANDOVER_MS.max(producing.view.interval_ms.saturating_mul(5));
        Some(producing.since_progress().after(patience))
    }

    fn is_consensus(&self, id: &TrxId) -> bool {
        let trx = self.pool.get(id);
        trx.and_then(|trx| trx.trx.trx_type()) == Some(TrxType::Consensus)
    }

    /// HND-3.
    fn knows_all(&self) -> bool {
        let core = self.producing.as_ref().and_then(|p| p.core.as_ref());
        self.pending.is_none()
            && self.queue.is_empty()
            && !self.catchup.syncing()
            && core.is_some_and(|core| core.epoch() == self.next_epoch && core.may_stop())
    }
}

impl<C: Core> Replica<C>
where
    <C::Generation as KeyGeneration>::Keys: Threshold,
{
    /// HND-1 to HND-3.
    pub(super) fn hand_over<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        if self.handover_due().is_none_or(|at| at > env.now) || !self.knows_all() {
            return;
        }
        let Some(me) = self.producing.as_ref().map(|p| p.me) else { return };
        let ready: Vec<_> = self.pool.own().filter(|id| self.is_consensus(id)).copied().collect();
        for id in ready {
            let Some(trx) = self.pool.get(&id) else { continue };
            let proposal =
                Proposal { time_ns: nanoseconds(env.now), trxs: vec![trx.bytes.clone()] };
            let batches = BTreeMap::from([(me, proposal.encode())]);
            let decision = Decision { epoch: self.next_epoch, batches };
            // An unreadable journal or a failed change ends nothing; it is tried again.
            let Ok(planned) = self.plan(journal, &decision) else { return };
            if planned.next_view.is_some() {
                let text = format!("the view stands still: ends it alone by trx {id}");
                out.trace(Trace::said("HND-2", text));
                self.decide(env, journal, &decision, planned, out);
                return;
            }
        }
    }
}
