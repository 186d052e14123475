//! Decisions become blocks, votes certificates, certified blocks state; a block may end the view.

use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Core, Decision, Env, Journal, Record, Topic};
use quorate_consensus::evidence::{Evidence, Fault};
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::{BlockVote, Certificate};
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::ids::{Epoch, TrxId, ViewNumber};
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::proto::{ChangeConsensusResultBundle, TrxType};
use quorate_ledger::view::View;

use super::producing::Memory;
use super::{Chain, Out, Replica, nanoseconds};
use crate::api::{Address, Notice, Output};
use crate::block_maker::{self, Head, Pending};
use crate::executor::{self, Ledger, Payload, Planned};
use crate::limits::{READ_RETRY_MS, SNAPSHOT_BLOCKS};
use crate::wire;

/// First part of the name of a secret that holds the keys of a view; its number follows.
pub(super) const VIEW_SECRET: &str = "view-";

/// Name of the secret that holds the keys of a view.
pub(super) fn view_secret(number: ViewNumber) -> String {
    format!("{VIEW_SECRET}{number}")
}

impl<C: Core> Replica<C>
where
    <C::Generation as KeyGeneration>::Keys: Threshold,
{
    /// BLK-5: works off decisions until one makes a block that waits for its certificate.
    pub(super) fn work_off<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        while self.pending.is_none() && self.reread_at.is_none() {
            let Some(decision) = self.queue.remove(&self.next_epoch) else { return };
            match self.plan(journal, &decision) {
                Ok(planned) => self.decide(env, journal, &decision, planned, out),
                Err(error) => {
                    // The decision stands; it is read again when the journal can be.
                    out.trace(Trace::said("BLK-1", format!("the journal cannot be read: {error}")));
                    self.reread_at = Some(env.now.after(READ_RETRY_MS));
                    self.queue.insert(decision.epoch, decision);
                }
            }
        }
    }

    pub(super) fn plan<J: Journal>(
        &self,
        journal: &J,
        decision: &Decision,
    ) -> Result<Planned, J::Error> {
        let chain = self.chain.as_ref().expect("a producer has a chain");
        let block = chain.head.id.next();
        executor::plan::<C::Generation, _>(
            &Self::ground(&self.config, chain),
            chain.view(),
            chain.head.parent(),
            &decision.batches,
            &Ledger {
                checked: &|id, bytes| self.pool.has_bytes(id, bytes),
                packaged: &|id| self.packaged(journal, id, block),
            },
        )
    }

    /// BLK-1: a planned decision is a block that waits for votes, or only the end of its epoch.
    pub(super) fn decide<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        decision: &Decision,
        planned: Planned,
        out: &mut Out,
    ) {
        for evidence in planned.evidence {
            out.accuse(evidence);
        }
        if planned.trxs.is_empty() {
            self.end_epochs_before(env.now, decision.epoch.next(), out);
            return;
        }
        let chain = self.chain.as_ref().expect("a producer has a chain");
        let Planned { trxs, writes, timestamp, next_view, .. } = planned;
        let own = mutated(Mutant::OwnTimestamp);
        let timestamp = if own { timestamp.max(nanoseconds(env.now)) } else { timestamp };
        let (view, epoch) = (chain.view(), decision.epoch);
        let block = block_maker::build(view, &chain.head, epoch, timestamp, trxs, &writes);
        let pending = Pending::new(block, writes, next_view);
        let text = format!("block {} of epoch {}", pending.id(), decision.epoch);
        out.trace(Trace::said("BLK-1", text));
        self.record_block(&pending, out);
        self.pending = Some(pending);
        self.vote_for_pending(env, journal, out);
    }

    /// Records a block as the next of the ledger files.
    pub(super) fn record_block(&mut self, pending: &Pending, out: &mut Out) {
        let ids: Vec<TrxId> = pending.block.trxs.iter().filter_map(|trx| trx.id()).collect();
        assert_eq!(ids.len(), pending.block.trxs.len(), "the rules checked the ids");
        out.record(Record::Block {
            id: pending.id(),
            bytes: pending.bytes(),
            trx_ids: ids.iter().map(|id| *id.0.as_bytes()).collect(),
        });
        self.fresh.extend(ids);
    }

    /// BLK-2: votes for the uncertified block, if this member is a producer of its view.
    pub(super) fn vote_for_pending<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        out: &mut Out,
    ) {
        let Some(vote) = self.own_vote() else { return };
        if let Some(producing) = &mut self.producing {
            producing.say_vote(vote.clone());
        }
        self.vote(env, journal, vote, out);
    }

    /// BLK-3, BLK-4: a vote whose signatures are right, possibly the own.
    pub(super) fn vote<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        vote: BlockVote,
        out: &mut Out,
    ) {
        let Some(chain) = &self.chain else { return };
        let (id, voter, hash) = (vote.id, vote.voter, vote.hash);
        if let Err(evidence) = self.votes.add(chain.head.id, vote) {
            out.accuse(evidence);
            return;
        }
        let Some(pending) = &self.pending else { return };
        if pending.id() != id {
            return;
        }
        if pending.hash != hash {
            let detail = format!("a vote for another block {id}");
            out.accuse(Evidence::new(voter, Fault::BadVote, detail));
            return;
        }
        let size = chain.view().producers.len();
        if let Some(certificate) = self.votes.certificate(id, hash, size) {
            let pending = self.pending.take().expect("just seen");
            let dissenters = self.votes.dissenters(id, hash).into_iter();
            for voter in dissenters {
                let detail = format!("a vote for another block {id}");
                out.accuse(Evidence::new(voter, Fault::BadVote, detail));
            }
            self.spread(&pending, &certificate, out);
            self.certified(env, journal, pending, certificate, out);
        }
    }

    /// A recorded block has its certificate: it is final.
    pub(super) fn certified<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        pending: Pending,
        certificate: Certificate,
        out: &mut Out,
    ) {
        let certificate = Arc::new(certificate);
        let bytes = certificate.to_bytes().into();
        out.record(Record::Certificate { id: pending.id(), bytes });
        out.trace(Trace::said("BLK-4", format!("block {} is certified", pending.id())));
        let Pending { block, hash, writes, next_view } = pending;
        let chain = self.chain.as_mut().expect("a certified block follows a chain");
        chain.state.apply(&writes);
        chain.head = Head::after(&block.header, hash, next_view.is_some());
        let head = chain.head;
        if head.id.0.is_multiple_of(SNAPSHOT_BLOCKS) {
            let bytes = chain.state.to_bytes().into();
            out.record(Record::Snapshot { id: head.id, bytes });
        }
        self.votes.prune(head.id);
        self.catchup.progress(env.now, head.id);
        for trx in &block.trxs {
            if let Some(id) = trx.id() {
                self.drop_trx(&id, out);
            }
        }
        out.output(Output::Notice(Notice::Committed { block: Arc::clone(&block), certificate }));
        let ended = head.epoch.next();
        match next_view {
            Some(view) => {
                self.end_view(env, view, &block, out);
                self.work_off(env, journal, out);
            }
            None => {
                self.settle_results(env, &block, out);
                self.end_epochs_before(env.now, ended, out);
                self.follow_core(env, journal, out);
            }
        }
    }

    /// Two producers of each block spread it to everybody else; others answer those who ask.
    fn spread(&self, pending: &Pending, certificate: &Certificate, out: &mut Out) {
        let Some(producing) = &self.producing else { return };
        let n = producing.committee.size() as u64;
        let me = u64::from(producing.me.0);
        let id = pending.id().0;
        if me == id % n || me == (id + 1) % n {
            let pair = (pending.bytes(), certificate.to_bytes().into());
            let packet = wire::encode_blocks(&self.group(), &[pair]);
            out.output(Output::Send { to: Address::Everybody, packet });
        }
    }

    /// Tells the consensus change which results are final.
    fn settle_results(&mut self, env: &mut Env, block: &Block, out: &mut Out) {
        let bundles = self.results_in(block);
        if bundles.is_empty() {
            return;
        }
        for bundle in &bundles {
            let (Some(change), Some(chain)) = (&mut self.change, &self.chain) else { return };
            let ctx = Self::change_context(&self.config, chain);
            let step = change.on_result(env, &ctx, bundle);
            self.changed(env, step, out);
        }
        self.drop_impossible_results(out);
    }

    fn results_in(&self, block: &Block) -> Vec<ChangeConsensusResultBundle> {
        let Some(chain) = &self.chain else { return Vec::new() };
        let ground = Self::ground(&self.config, chain);
        let results = block.trxs.iter().filter(|t| t.trx_type() == Some(TrxType::Consensus));
        results
            .filter_map(|trx| match executor::read_payload(&ground, trx, TrxType::Consensus) {
                Ok(Payload::Consensus(bundle)) => Some(*bundle),
                _ => None,
            })
            .collect()
    }

    /// Own results that the ledger can no longer take (it knows the request, or a newer one) leave
    /// the pool.
    pub(super) fn drop_impossible_results(&mut self, out: &mut Out) {
        let Some(chain) = &self.chain else { return };
        let ground = Self::ground(&self.config, chain);
        let last = executor::last_nonce(&chain.state);
        let impossible = |id: &&TrxId| {
            let trx = self.pool.get(id).map(|checked| &checked.trx);
            let trx = trx.filter(|trx| trx.trx_type() == Some(TrxType::Consensus));
            let payload = trx.map(|t| executor::read_payload(&ground, t, TrxType::Consensus));
            let Some(Ok(Payload::Consensus(bundle))) = payload else { return false };
            bundle.req.as_ref().is_none_or(|req| {
                executor::known_request(&chain.state, &req.req_id)
                    || executor::known_nonce(&chain.state, req.nonce)
                    || (executor::is_success(&bundle) && req.nonce <= last)
            })
        };
        let over: Vec<TrxId> = self.pool.own().filter(impossible).copied().collect();
        for id in over {
            self.drop_trx(&id, out);
        }
    }

    /// The block ended the view: its producers stop, those of the next one begin.
    fn end_view(&mut self, env: &mut Env, view: View, block: &Block, out: &mut Out) {
        // What the old view's key still has to say is said with it.
        self.flush_frames(out);
        let owner = self.config.member.public() == self.config.descriptor.owner;
        let late = u64::from(mutated(Mutant::WrongHandover) && !owner);
        let view = Arc::new(View { start_epoch: Epoch(view.start_epoch.0 + late), ..view });
        let chain = self.chain.as_mut().expect("a view has a chain");
        let old = Arc::clone(chain.view());
        chain.views.push(Arc::clone(&view));
        self.votes.clear();
        self.queue.clear();
        let was_producing = self.producing.take().is_some();
        if self.unreached.is_none() {
            out.record(Record::Forget { topic: Topic::Vote, prefix: Vec::new() });
        }
        out.record(Record::Secret { name: view_secret(old.number), bytes: None });
        let text = format!("view {} begins with epoch {}", view.number, view.start_epoch);
        out.trace(Trace::said("VIEW", text));
        self.next_epoch = view.start_epoch;
        self.announce_views(out);
        out.output(Output::Notice(Notice::ViewInstalled(Arc::clone(&view))));
        self.settle_results(env, block, out);
        let keys = self.change.as_mut().and_then(|change| change.take_keys(&view));
        match keys {
            Some(keys) => {
                out.record(Self::keep_keys(&view, &keys));
                // What they were made from is erased with it.
                self.wake_change(env, out);
                let epoch = view.start_epoch;
                for decision in self.open_core(env, keys, Memory::fresh(epoch), out) {
                    self.decided(decision, out);
                }
            }
            None if self.regain(env, &view, out) => {}
            None => self.without_keys(&view, out),
        }
        if was_producing && self.producing.is_none() {
            self.pool.clear_gossiped();
        }
    }

    /// The secret that holds the keys of a view: view key, then share.
    pub(super) fn keep_keys(
        view: &View,
        keys: &(quorate_crypto::view::ViewKey, <C::Generation as KeyGeneration>::Keys),
    ) -> Record {
        let mut bytes = keys.0.to_bytes().to_vec();
        bytes.extend_from_slice(&C::Generation::encode_keys(&keys.1));
        Record::Secret { name: view_secret(view.number), bytes: Some(bytes) }
    }

    /// This member may be listed in a view whose keys it has lost: it follows.
    pub(super) fn without_keys(&self, view: &View, out: &mut Out) {
        if view.index_of(&self.config.member.public()).is_some() {
            tracing::error!(
                group = %self.group(), view = %view.number,
                "this node is a producer but has lost its keys: it only follows the group; \
                 the owner must change the consensus to give it new ones"
            );
            let text = format!("listed in view {} without its keys: follows", view.number);
            out.trace(Trace::said("VIEW", text));
        }
    }

    /// Tells which views' frames can be checked: the one in force and the one before.
    pub(super) fn announce_views(&self, out: &mut Out) {
        let Some(Chain { views, .. }) = &self.chain else { return };
        let recent = views[views.len().saturating_sub(2)..].to_vec();
        out.output(Output::Notice(Notice::Views(recent)));
    }
}
