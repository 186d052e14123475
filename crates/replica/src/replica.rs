//! The replica: wiring of pool, ordering, blocks, catch-up and consensus change into one
//! deterministic transition.

mod commands;
pub(crate) mod genesis;
mod handover;
mod ordering;
mod producing;
mod recovery;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Core, Decision, Env, Journal, Record, Step, Time, Topic};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::group::GenesisDocuments;
use quorate_ledger::ids::{BlockId, Epoch, GroupId, TrxId};
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::state::State;
use quorate_ledger::view::View;

pub use recovery::{Assumed, OpenError};

use crate::api::{Address, GroupConfig, GroupStatus, Input, Output, PeerRef};
use crate::block_maker::{Head, Pending, Votes};
use crate::catchup::Catchup;
use crate::change::{Change, ChangeContext, ChangeOutput, ChangeStep};
use crate::executor::{self, Ground};
use crate::limits::{BUNDLE_BYTES, MAX_BUNDLE_TRXS, MAX_QUEUED_DECISIONS, RESEND_TRXS};
use crate::pool::{Due, Pool};
use crate::wire::{self, CheckedTrx, Inbound, Packet};
use producing::Producing;

/// What a turn collects.
pub(crate) type Out = Step<Infallible, Output>;

/// The certified ledger in memory.
pub(crate) struct Chain {
    pub(crate) documents: Arc<GenesisDocuments>,
    pub(crate) state: State,
    /// All views, in order; the last one is in force.
    pub(crate) views: Vec<Arc<View>>,
    pub(crate) head: Head,
}

impl Chain {
    /// The view in force.
    pub(crate) fn view(&self) -> &Arc<View> {
        self.views.last().expect("a chain has its genesis view")
    }

    /// The view that made a block.
    pub(crate) fn view_of(&self, id: BlockId) -> &Arc<View> {
        let later = self.views.iter().rev().find(|view| view.parent.0 < id);
        later.unwrap_or(&self.views[0])
    }
}

/// One member of one group: a deterministic transition function from inputs to records and outputs.
pub struct Replica<C: Core> {
    pub(crate) config: GroupConfig,
    /// `None` until the genesis documents are known.
    pub(crate) chain: Option<Chain>,
    producing: Option<Producing<C>>,
    unreached: Option<recovery::Unreached>,
    change: Option<Change<C::Generation>>,
    change_wake: Option<Time>,
    pub(crate) pool: Pool,
    catchup: Catchup,
    /// Recorded, not certified.
    pending: Option<Pending>,
    votes: Votes,
    /// Decisions whose turn has not come (BLK-5).
    queue: BTreeMap<Epoch, Decision>,
    /// First epoch of the view in force whose outcome is not applied here.
    next_epoch: Epoch,
    /// What the epoch note says: next epoch and the core's.
    noted: (Epoch, Epoch),
    /// Own trxs to gossip at the end of the turn.
    gossip: Vec<Arc<[u8]>>,
    /// Trxs of blocks recorded in this turn: the journal does not know them yet.
    fresh: BTreeSet<TrxId>,
    /// Last block the journal holds durably with its certificate: what can be served.
    durable: BlockId,
    /// When to read again what the journal could not read.
    reread_at: Option<Time>,
    genesis_at: Option<Time>,
    /// TimeStamp of the last own trx: later ones have later ones, so that a sender's trxs keep their
    /// order in a block.
    last_stamp: i64,
    now: Time,
}

/// Note of [`Topic::Group`] that holds the genesis documents.
const GENESIS_NOTE: &[u8] = b"genesis";
/// Note of [`Topic::Group`] that holds view, next epoch and the core's epoch.
const EPOCH_NOTE: &[u8] = b"epoch";

/// Adds a child's step whose outputs are handled by the caller.
fn adopt<O>(step: Step<Infallible, O>, out: &mut Out) -> Vec<O> {
    let (step, outputs) = step.adopt(|never| match never {});
    out.extend(step);
    outputs
}

fn earliest(times: impl IntoIterator<Item = Option<Time>>) -> Option<Time> {
    times.into_iter().flatten().min()
}

/// Nanoseconds since the Unix epoch.
fn nanoseconds(now: Time) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

impl<C: Core> Replica<C> {
    /// The group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.config.descriptor.id
    }

    /// Where the group stands here.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let genesis = &self.config.descriptor.genesis;
        // Asked for in every turn, so the genesis block is hashed only while nothing follows it.
        let head_hash = self.chain.as_ref().map_or_else(|| genesis.hash(), |c| c.head.hash);
        let mut status = GroupStatus {
            head: BlockId(0),
            head_hash,
            epoch: self.next_epoch,
            view: quorate_ledger::ids::ViewNumber(0),
            producing: self.producing.is_some(),
            syncing: self.catchup.syncing() || self.chain.is_none(),
            ready: self.chain.is_some(),
            last_update: genesis.timestamp,
            pool: self.pool.len(),
        };
        if let Some(chain) = &self.chain {
            status.head = chain.head.id;
            status.view = chain.view().number;
            status.last_update = chain.head.timestamp;
        }
        status
    }

    /// Certified state, once the genesis documents are known (for checkers).
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.chain.as_ref().map(|chain| &chain.state)
    }

    /// The view in force, once known.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.chain.as_ref().map(Chain::view)
    }

    /// Trxs accepted from this node's clients and not certified yet (for checkers).
    pub fn outbox(&self) -> impl Iterator<Item = &TrxId> {
        self.pool.own()
    }

    /// The ordering core, while this member is a producer (for checkers).
    #[must_use]
    pub fn core(&self) -> Option<&C> {
        self.producing.as_ref().and_then(|producing| producing.core.as_ref())
    }

    /// How full the buffers of this member are, each against its limit. Cheap enough for every turn.
    pub fn footprint(&self, into: &mut Footprint) {
        let committee = self.view().map_or(0, |view| view.producers.len());
        self.pool.footprint(into);
        self.catchup.footprint(into);
        self.votes.footprint(committee, into);
        into.add("queued_decisions", self.queue.len(), MAX_QUEUED_DECISIONS);
        // What was collected in a turn leaves with it.
        into.add("gossip_unsent", self.gossip.len(), 0);
        if let Some(change) = &self.change {
            change.footprint(into);
        }
        if let Some(producing) = &self.producing {
            producing.footprint(into);
        }
    }

    fn ground<'a>(config: &'a GroupConfig, chain: &'a Chain) -> Ground<'a> {
        Ground { descriptor: &config.descriptor, state: &chain.state }
    }

    fn change_context<'a>(config: &'a GroupConfig, chain: &'a Chain) -> ChangeContext<'a> {
        ChangeContext {
            group: config.descriptor.id,
            descriptor: &config.descriptor,
            member: &config.member,
            encrypt: &config.encrypt,
            state: &chain.state,
            last_nonce: executor::last_nonce(&chain.state),
        }
    }

    /// Whether a trx of this id is in the ledger up to the block before `block`, or in a block
    /// recorded in this turn.
    fn packaged<J: Journal>(
        &self,
        journal: &J,
        id: &TrxId,
        block: BlockId,
    ) -> Result<bool, J::Error> {
        if mutated(Mutant::DuplicateTrx) {
            return Ok(false);
        }
        if self.fresh.contains(id) {
            return Ok(true);
        }
        Ok(journal.find_trx(id.0.as_bytes())?.is_some_and(|(found, _)| found < block))
    }

    fn note_trx(id: &TrxId, bytes: Arc<[u8]>) -> Record {
        Record::Note { topic: Topic::Pool, key: id.0.as_bytes().to_vec(), bytes }
    }

    /// Takes a trx out of the pool, with its note.
    fn drop_trx(&mut self, id: &TrxId, out: &mut Out) {
        if self.pool.remove(id) {
            out.record(Self::note_trx(id, Arc::from([])));
        }
    }

    /// TimeStamp of the next own trx, nanoseconds.
    fn stamp(&mut self, now: Time) -> i64 {
        self.last_stamp = nanoseconds(now).max(self.last_stamp.saturating_add(1));
        self.last_stamp
    }

    /// Sends the own trxs collected in this turn as gossip bundles.
    fn flush_gossip(&mut self, out: &mut Out) {
        let trxs = std::mem::take(&mut self.gossip);
        let mut rest = trxs.as_slice();
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            for trx in rest {
                if count > 0 && (count == MAX_BUNDLE_TRXS || bytes + trx.len() > BUNDLE_BYTES) {
                    break;
                }
                count += 1;
                bytes += trx.len();
            }
            let (bundle, left) = rest.split_at(count);
            rest = left;
            let packet = wire::encode_trxs(&self.group(), bundle);
            out.output(Output::Send { to: Address::Everybody, packet });
        }
    }

    fn send(&self, to: Address, packet: Packet, out: &mut Out) {
        out.output(Output::Send { to, packet });
    }

    fn send_head(&self, peer: &PeerRef, out: &mut Out) {
        if let Some(chain) = &self.chain {
            let (id, hash) = (chain.head.id, &chain.head.hash);
            let packet = wire::encode_head(&self.group(), id, hash, self.next_epoch);
            self.send(Address::Peer(peer.clone()), packet, out);
        }
    }
}

impl<C: Core> Replica<C>
where
    <C::Generation as KeyGeneration>::Keys: Threshold,
{
    /// Takes all inputs as one turn. What the committee says is packed into one frame per member.
    pub fn turn<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        inputs: Vec<Input<C::Message>>,
    ) -> Out {
        let mut out = Step::new();
        // The turn before is durable, or there would be none.
        self.fresh.clear();
        self.durable = self.chain.as_ref().map_or(BlockId(0), |chain| chain.head.id);
        self.now = env.now;
        for input in inputs {
            match input {
                Input::Inbound(peer, inbound) => {
                    self.inbound(env, journal, &peer, inbound, &mut out);
                }
                Input::Command(ticket, command) => {
                    let reply = self.command(env, journal, command, &mut out);
                    out.output(Output::Reply(ticket, reply));
                }
                Input::Connected(peer) => self.connected(&peer, &mut out),
                Input::Wake => {}
            }
        }
        self.drive(env, journal, &mut out);
        out
    }

    fn inbound<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        peer: &PeerRef,
        inbound: Inbound<C::Message>,
        out: &mut Out,
    ) {
        match inbound {
            Inbound::Committee(frame) => {
                self.committee(env, journal, peer, frame.into_inner(), out);
            }
            Inbound::Member(frame) => self.member_frame(env, *frame.into_inner(), out),
            Inbound::Trxs { trxs, .. } => {
                for trx in trxs {
                    self.gossiped(journal, trx.into_inner());
                }
            }
            Inbound::Blocks(blocks) => self.blocks(env, journal, peer, &blocks, out),
            Inbound::Head { id, .. } => {
                if let Some(chain) = &self.chain {
                    self.catchup.claim(peer, id, chain.head.id);
                }
            }
            Inbound::FetchBlocks { from, max } => self.serve_blocks(journal, peer, from, max, out),
            Inbound::FetchGenesis => self.serve_genesis(peer, out),
            Inbound::Genesis(documents) => self.genesis(env, *documents, out),
        }
    }

    /// A peer came: each tells the other where it stands.
    fn connected(&mut self, peer: &PeerRef, out: &mut Out) {
        if let Some(chain) = &self.chain {
            self.catchup.met(peer, chain.head.id);
            self.send_head(peer, out);
        } else {
            let packet = wire::encode_fetch_genesis(&self.group());
            self.send(Address::Peer(peer.clone()), packet, out);
        }
    }

    /// Everything that time or the inputs of this turn made due.
    fn drive<J: Journal<Error: Display>>(&mut self, env: &mut Env, journal: &J, out: &mut Out) {
        self.fetch_genesis(env.now, out);
        if self.change_wake.is_some_and(|at| at <= env.now) {
            self.wake_change(env, out);
        }
        if self.reread_at.is_some_and(|at| at <= env.now) {
            self.reread_at = None;
            self.work_off(env, journal, out);
        }
        self.wake_core(env, journal, out);
        self.hand_over(env, journal, out);
        self.propose(env, journal, out);
        self.say_status(env.now, out);
        self.resend(env, out);
        if let Some(chain) = &self.chain
            && let Some(question) = self.catchup.tick(env.now, chain.head.id)
        {
            let text = format!("asks for {} blocks from {} on", question.max, question.from);
            out.trace(Trace::said("CUP-1", text));
            let packet = wire::encode_fetch_blocks(&self.group(), question.from, question.max);
            self.send(question.to, packet, out);
        }
        self.note_epoch(out);
        self.flush_frames(out);
        self.flush_gossip(out);
    }

    /// When the next turn is wanted, whatever comes.
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        let ready = self.chain.is_some();
        earliest([
            self.genesis_at,
            self.change_wake,
            self.reread_at,
            self.pool.wake(),
            ready.then(|| self.catchup.wake(self.now)),
            self.producing_wake(),
        ])
    }

    /// Own trxs whose time has come are gossiped again, signed again if they have expired.
    fn resend(&mut self, env: &mut Env, out: &mut Out) {
        for _ in 0..RESEND_TRXS {
            match self.pool.due(env.now) {
                None => return,
                Some(Due::Dropped(_)) => {}
                Some(Due::Resend(trx)) => self.resend_trx(env.now, trx, out),
            }
        }
    }

    fn resend_trx(&mut self, now: Time, trx: CheckedTrx, out: &mut Out) {
        if !trx.trx.is_expired(nanoseconds(now)) {
            self.gossip.push(trx.bytes);
            return;
        }
        let Some(id) = trx.trx.id() else { return };
        if trx.trx.sender_pubkey != self.config.member.public().to_string() {
            // Its sender limited its life itself, and nobody here can sign for it.
            out.trace(Trace::said("POOL", format!("trx {id} of a client has expired")));
            self.drop_trx(&id, out);
            return;
        }
        let stamp = self.stamp(now);
        let renewed = self.sign_again(&trx.trx, stamp);
        out.record(Self::note_trx(&id, renewed.bytes.clone()));
        self.gossip.push(renewed.bytes.clone());
        self.pool.renew(now.after(crate::limits::RESEND_MS), id, renewed);
    }

    /// Lets the consensus change do what time, or keys taken from it, made due.
    fn wake_change(&mut self, env: &mut Env, out: &mut Out) {
        let (Some(change), Some(chain)) = (&mut self.change, &self.chain) else { return };
        self.change_wake = None;
        let ctx = Self::change_context(&self.config, chain);
        let step = change.wake(env, &ctx);
        self.changed(env, step, out);
    }

    /// Takes over what a consensus change did.
    fn changed(&mut self, env: &mut Env, step: ChangeStep, out: &mut Out) {
        self.change_wake = earliest([self.change_wake, step.wake()]);
        for output in adopt(step, out) {
            match output {
                ChangeOutput::Send { to, message } => {
                    let key = &self.config.member;
                    let packet =
                        wire::encode_member(&self.config.descriptor.id, key, &to, &message);
                    self.send(Address::Member(to), packet, out);
                }
                ChangeOutput::Publish { trx_id, bundle } => {
                    self.publish(env, trx_id, &bundle, out);
                }
                ChangeOutput::Ended { req_id, result } => {
                    let notice = crate::api::Notice::ChangeEnded { req_id, result };
                    out.output(Output::Notice(notice));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
