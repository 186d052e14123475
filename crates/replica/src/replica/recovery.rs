//! Opening a group: from nothing, or from what the journal recovered.
//!
//! The ledger files are the source of truth. State is derived: the last snapshot, then every later
//! certified block executed again, its link and write set checked. An uncertified block may follow;
//! it is kept and voted for again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Core, Env, Journal, Recovered, Step, Topic};
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_crypto::view::ViewKey;
use quorate_ledger::block::Block;
use quorate_ledger::codec::{Canonical as _, Reader};
use quorate_ledger::group::GenesisDocuments;
use quorate_ledger::ids::{BlockId, Epoch, ViewNumber};
use quorate_ledger::state::State;
use quorate_ledger::view::View;

use super::ordering::{VIEW_SECRET, view_secret};
use super::producing::Memory;
use super::{Chain, EPOCH_NOTE, GENESIS_NOTE, Out, Replica, genesis};
use crate::api::{GroupConfig, Notice, Output};
use crate::block_maker::{Head, Pending, Votes};
use crate::catchup::Catchup;
use crate::change::Change;
use crate::executor;
use crate::pool::{self, Pool, PoolLimits};

type Keys<C> = <<C as Core>::Generation as KeyGeneration>::Keys;
type Notes = Vec<(Vec<u8>, Arc<[u8]>)>;

/// Why a group could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal could not be read.
    #[error("local data could not be read: {0}")]
    Journal(String),
    /// What was recovered is not a ledger of this group.
    #[error("local data is damaged: {0}")]
    Damaged(String),
    /// The genesis documents could not be made or do not verify.
    #[error("genesis documents: {0}")]
    Documents(String),
    /// A group is created by its owner's node only.
    #[error("only the owner's key can create the group")]
    NotOwner,
}

/// A view that a group is opened in although nobody decided it: for predictions, which ask how a
/// committee orders, not how it comes about. No node does this.
#[derive(Clone, Debug)]
pub struct Assumed<K> {
    /// The view that follows the genesis view. Its parent is set to the genesis block.
    pub view: View,
    /// This member's keys in it, if it is a producer.
    pub keys: Option<(ViewKey, K)>,
}

fn damaged(what: impl Into<String>) -> OpenError {
    OpenError::Damaged(what.into())
}

/// What was recovered beside the ledger, by whose it is.
#[derive(Default)]
struct Sorted {
    secrets: BTreeMap<String, Vec<u8>>,
    amnesia: bool,
    votes: Notes,
    pool: Notes,
    change: Notes,
    genesis: Option<Arc<[u8]>>,
    epoch: Option<Arc<[u8]>>,
}

impl Sorted {
    fn new(notes: Vec<(Topic, Vec<u8>, Arc<[u8]>)>) -> Self {
        let mut sorted = Self::default();
        for (topic, key, bytes) in notes {
            match topic {
                Topic::Vote => sorted.votes.push((key, bytes)),
                Topic::Pool => sorted.pool.push((key, bytes)),
                Topic::Change => sorted.change.push((key, bytes)),
                Topic::Group if key == GENESIS_NOTE => sorted.genesis = Some(bytes),
                Topic::Group if key == EPOCH_NOTE => sorted.epoch = Some(bytes),
                Topic::Group => {}
            }
        }
        sorted
    }

    /// Next epoch, the core's, and the head they were noted at, if that was in this view.
    fn epochs(&self, view: ViewNumber) -> Option<(Epoch, Epoch, BlockId)> {
        let mut reader = Reader::new(self.epoch.as_deref()?);
        let (of, next, core) = (reader.u64().ok()?, reader.u64().ok()?, reader.u64().ok()?);
        // Older programs did not note it.
        let head = reader.u64().unwrap_or(0);
        (of == view.0).then_some((Epoch(next), Epoch(core), BlockId(head)))
    }
}

/// What this member holds of the view it was in, while a ledger that has lost its end leads to an
/// earlier one: neither its keys nor its votes may get lost on the way back.
pub(super) struct Unreached {
    view: ViewNumber,
    secret: Vec<u8>,
    votes: Notes,
    /// Next epoch, the core's, and the head they were noted at.
    noted: Option<(Epoch, Epoch, BlockId)>,
    lost: bool,
}

impl Unreached {
    /// The latest view after `reached` whose keys are there.
    fn find(sorted: &Sorted, reached: ViewNumber) -> Option<Self> {
        let number = |name: &str| name.strip_prefix(VIEW_SECRET)?.parse().ok().map(ViewNumber);
        let views = sorted.secrets.iter().filter_map(|(name, bytes)| Some((number(name)?, bytes)));
        let (view, secret) = views.max_by_key(|(view, _)| *view).filter(|(v, _)| *v > reached)?;
        Some(Self {
            view,
            secret: secret.clone(),
            votes: sorted.votes.clone(),
            noted: sorted.epochs(view),
            lost: sorted.amnesia,
        })
    }
}

impl<C: Core> Replica<C>
where
    Keys<C>: Threshold,
{
    /// Takes part again in a view that the ledger has reached again; whether this is one.
    pub(super) fn regain(&mut self, env: &mut Env, view: &View, out: &mut Out) -> bool {
        let Some(unreached) = self.unreached.take_if(|unreached| unreached.view <= view.number)
        else {
            return false;
        };
        let keys = Self::decode_secret(&unreached.secret);
        let (Some(keys), true) = (keys, unreached.view == view.number) else { return false };
        let head = self.chain.as_ref().map_or(BlockId(0), |chain| chain.head.id);
        let (next, core, noted_at) = unreached.noted.unwrap_or_default();
        // As on opening: epochs after the head are not over if blocks were lost.
        if noted_at <= head {
            self.next_epoch = self.next_epoch.max(next);
        }
        let epoch = Self::reopen_epoch(self.next_epoch, core);
        let memory = Memory { epoch, votes: unreached.votes, lost: unreached.lost };
        out.trace(Trace::said("VIEW", format!("takes part in view {} again", view.number)));
        for decision in self.open_core(env, keys, memory, out) {
            self.decided(decision, out);
        }
        true
    }

    /// Opens a group, in the view that its ledger says or in one that is assumed. The step returned
    /// says again what was said before, and must be persisted like every other.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open<J: Journal<Error: Display>>(
        env: &mut Env,
        config: GroupConfig,
        recovered: Recovered,
        journal: &J,
        assumed: Option<Assumed<Keys<C>>>,
    ) -> Result<(Self, Out), OpenError> {
        let mut out = Step::new();
        let Recovered { snapshot, last_block, last_certificate, notes, secrets, amnesia } =
            recovered;
        let mut sorted = Sorted { secrets, amnesia, ..Sorted::new(notes) };
        let mut created = None;
        let documents = match &sorted.genesis {
            Some(bytes) => Some(
                GenesisDocuments::from_bytes(bytes)
                    .map_err(|error| damaged(format!("genesis documents: {error}")))?,
            ),
            None if config.create => {
                let (documents, keys) = genesis::create::<C::Generation>(env, &config)?;
                created = Some(keys);
                Some(documents)
            }
            None => None,
        };
        let mut this = Self::blank(env, config);
        let Some(documents) = documents else {
            // If there are blocks, the note was lost to damage: the documents come from peers as
            // for a node that is new, and the blocks, which the journal passes over.
            this.genesis_at = Some(env.now);
            this.fetch_genesis(env.now, &mut out);
            return Ok((this, out));
        };
        let documents = Self::begin(&this.config, documents)
            .map_err(|error| OpenError::Documents(error.to_string()))?;
        let mut chain = this.replay_chain(journal, documents, snapshot, last_certificate)?;
        if let Some(Assumed { view, keys }) = assumed {
            let parent = (BlockId(0), this.config.descriptor.genesis.hash());
            let secret = keys.map(|keys| (view_secret(view.number), Self::encode_secret(&keys)));
            chain.views.push(Arc::new(View { parent, ..view }));
            sorted.secrets.extend(secret);
        }
        this.chain = Some(chain);
        this.recover_pending(journal, last_block, last_certificate)?;
        if let Some(keys) = created {
            let chain = this.chain.as_ref().expect("just set");
            out.record(genesis::note(&chain.documents));
            out.record(Self::keep_keys(chain.view(), &keys));
            sorted.secrets.insert(view_secret(chain.view().number), Self::encode_secret(&keys));
        }
        this.resume(env, journal, sorted, &mut out)?;
        Ok((this, out))
    }

    fn blank(env: &Env, config: GroupConfig) -> Self {
        Self {
            config,
            chain: None,
            producing: None,
            unreached: None,
            change: None,
            change_wake: None,
            pool: Pool::new(PoolLimits::default()),
            catchup: Catchup::new(env.now),
            pending: None,
            votes: Votes::default(),
            queue: BTreeMap::new(),
            next_epoch: Epoch(0),
            noted: (Epoch(u64::MAX), Epoch(u64::MAX)),
            gossip: Vec::new(),
            fresh: BTreeSet::new(),
            durable: BlockId(0),
            reread_at: None,
            genesis_at: None,
            last_stamp: 0,
            now: env.now,
        }
    }

    fn read_block<J: Journal<Error: Display>>(
        journal: &J,
        id: BlockId,
    ) -> Result<Block, OpenError> {
        let bytes = journal.block(id).map_err(|error| OpenError::Journal(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| damaged(format!("block {id} is missing")))?;
        let block =
            Block::from_bytes(&bytes).map_err(|error| damaged(format!("block {id}: {error}")))?;
        if block.header.id != id || !block.body_fits() {
            return Err(damaged(format!("block {id} is another block, or its trxs are")));
        }
        Ok(block)
    }

    /// Snapshot, then every later certified block.
    fn replay_chain<J: Journal<Error: Display>>(
        &self,
        journal: &J,
        mut chain: Chain,
        snapshot: Option<(BlockId, Arc<[u8]>)>,
        last: BlockId,
    ) -> Result<Chain, OpenError> {
        // A snapshot is derived data: a bad one, or one ahead of the ledger, is passed over.
        if let Some((id, bytes)) = snapshot
            && id > BlockId(0)
            && id <= last
            && let Ok(state) = State::from_bytes(&bytes)
        {
            self.jump(journal, &mut chain, id, state)?;
        }
        while chain.head.id < last {
            let block = Self::read_block(journal, chain.head.id.next())?;
            let (writes, next_view) = self.redo(&chain, &block)?;
            let hash = block.hash();
            chain.state.apply(&writes);
            chain.head = Head::after(&block.header, hash, next_view.is_some());
            if let Some(view) = next_view {
                chain.views.push(Arc::new(View { parent: (block.header.id, hash), ..view }));
            }
        }
        Ok(chain)
    }

    /// Executes a block of the own ledger again.
    fn redo(
        &self,
        chain: &Chain,
        block: &Block,
    ) -> Result<(quorate_ledger::state::WriteSet, Option<View>), OpenError> {
        let id = block.header.id;
        if block.header.previous != chain.head.hash || id != chain.head.id.next() {
            return Err(damaged(format!("block {id} does not follow the one before it")));
        }
        let ground = Self::ground(&self.config, chain);
        let writes = executor::redo(&ground, block)
            .map_err(|error| damaged(format!("block {id}: {error}")))?;
        let made = writes.iter().any(|(map, _, _)| map == executor::VIEWS);
        if !made {
            return Ok((writes, None));
        }
        let mut state = chain.state.clone();
        state.apply(&writes);
        let entry = executor::views(&state).next_back();
        let entry = entry.ok_or_else(|| damaged(format!("block {id} makes no view")))?;
        let view = self.derive(&state, chain.view(), &entry)?;
        Ok((writes, Some(view)))
    }

    /// The view that an entry of the state and its proof describe; without its parent's hash.
    fn derive(
        &self,
        state: &State,
        previous: &View,
        entry: &executor::ViewEntry,
    ) -> Result<View, OpenError> {
        let number = entry.number;
        let wrong = |why: String| damaged(format!("view {number}: {why}"));
        let proof = executor::proof(state, entry.nonce)
            .ok_or_else(|| wrong("its proof is missing".to_owned()))?;
        let ground = executor::Ground { descriptor: &self.config.descriptor, state };
        let bundle = &proof.bundle;
        let view = executor::next_view::<C::Generation>(&ground, previous, bundle, &entry.trx_id)
            .map_err(|error| wrong(error.to_string()))?;
        view.filter(|view| view.number == number)
            .ok_or_else(|| wrong("its proof makes no view".to_owned()))
    }

    /// Takes state and views from a snapshot after block `id`.
    fn jump<J: Journal<Error: Display>>(
        &self,
        journal: &J,
        chain: &mut Chain,
        id: BlockId,
        state: State,
    ) -> Result<(), OpenError> {
        let block = Self::read_block(journal, id)?;
        let mut views = vec![Arc::clone(&chain.views[0])];
        for entry in executor::views(&state).skip(1) {
            let previous = views.last().expect("there is the genesis view");
            let view = self.derive(&state, previous, &entry)?;
            let parent = (entry.block, Self::read_block(journal, entry.block)?.hash());
            views.push(Arc::new(View { parent, ..view }));
        }
        let ends_view = views.last().is_some_and(|view| view.parent.0 == id);
        chain.head = Head::after(&block.header, block.hash(), ends_view);
        chain.views = views;
        chain.state = state;
        Ok(())
    }

    /// The block behind the last certificate, if any.
    fn recover_pending<J: Journal<Error: Display>>(
        &mut self,
        journal: &J,
        last_block: BlockId,
        last_certificate: BlockId,
    ) -> Result<(), OpenError> {
        if last_block == last_certificate {
            return Ok(());
        }
        if last_block < last_certificate {
            let text = format!("blocks up to {last_block}, certificates up to {last_certificate}");
            return Err(damaged(text));
        }
        // Certificates can have been lost to damage: they come back one by one, with blocks that the
        // journal has already.
        let block = Self::read_block(journal, last_certificate.next())?;
        let chain = self.chain.as_ref().expect("blocks follow a chain");
        let (writes, next_view) = self.redo(chain, &block)?;
        self.pending = Some(Pending::new(block, writes, next_view));
        Ok(())
    }

    fn encode_secret(keys: &(ViewKey, Keys<C>)) -> Vec<u8> {
        let mut bytes = keys.0.to_bytes().to_vec();
        bytes.extend_from_slice(&C::Generation::encode_keys(&keys.1));
        bytes
    }

    fn decode_secret(bytes: &[u8]) -> Option<(ViewKey, Keys<C>)> {
        let (seed, keys) = bytes.split_first_chunk::<32>()?;
        Some((ViewKey::from_seed(seed), C::Generation::decode_keys(keys)?))
    }

    /// Pool, consensus change and core, on the recovered chain.
    fn resume<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        sorted: Sorted,
        out: &mut Out,
    ) -> Result<(), OpenError> {
        let chain = self.chain.as_ref().expect("called with a chain");
        let (head, view) = (chain.head, Arc::clone(chain.view()));
        self.durable = head.id;
        let in_view = head.view == view.number && head.id > view.parent.0;
        self.next_epoch = if in_view { head.epoch.next() } else { view.start_epoch };
        let noted = sorted.epochs(view.number);
        let noted = noted.unwrap_or((self.next_epoch, self.next_epoch, head.id));
        // Blocks lost to damage are decided again or fetched: epochs after the head are not over.
        let over = if noted.2 <= head.id { noted.0 } else { self.next_epoch };
        let pending_epoch = self.pending.as_ref().map(|p| p.block.header.epoch);
        self.next_epoch = pending_epoch.unwrap_or(self.next_epoch.max(over));
        self.unreached = Unreached::find(&sorted, view.number);
        out.output(Output::Notice(Notice::Ready));
        self.announce_views(out);
        self.restore_pool(env, journal, sorted.pool, out)?;
        let chain = self.chain.as_ref().expect("called with a chain");
        let ctx = Self::change_context(&self.config, chain);
        let (change, step) = Change::restore(env, &ctx, sorted.change, &sorted.secrets);
        self.change = Some(change);
        self.changed(env, step, out);
        self.drop_impossible_results(out);
        let epoch = Self::reopen_epoch(self.next_epoch, noted.1);
        let keys = match sorted.secrets.get(&view_secret(view.number)) {
            Some(bytes) => Self::decode_secret(bytes),
            None => {
                let taken = self.change.as_mut().and_then(|change| change.take_keys(&view));
                if let Some(keys) = &taken {
                    out.record(Self::keep_keys(&view, keys));
                    self.wake_change(env, out);
                }
                taken
            }
        };
        match keys {
            Some(keys) => {
                let memory = Memory { epoch, votes: sorted.votes, lost: sorted.amnesia };
                for decision in self.open_core(env, keys, memory, out) {
                    self.decided(decision, out);
                }
                self.vote_for_pending(env, journal, out);
            }
            None => self.without_keys(&view, out),
        }
        self.work_off(env, journal, out);
        let text = format!("opened at block {}, view {}", head.id, view.number);
        out.trace(Trace::said("OPEN", text));
        self.drive(env, journal, out);
        Ok(())
    }

    /// Own trxs that wait still; those certified meanwhile (a crash between two records) leave.
    fn restore_pool<J: Journal<Error: Display>>(
        &mut self,
        env: &Env,
        journal: &J,
        notes: Notes,
        out: &mut Out,
    ) -> Result<(), OpenError> {
        let head = self.chain.as_ref().map_or(BlockId(0), |chain| chain.head.id);
        for (key, bytes) in notes {
            let Some((id, trx)) = pool::read_note(&key, &bytes) else {
                return Err(damaged("a waiting trx does not decode"));
            };
            let packaged = self
                .packaged(journal, &id, head.next())
                .map_err(|error| OpenError::Journal(error.to_string()))?;
            if packaged {
                out.record(Self::note_trx(&id, Arc::from([])));
            } else {
                self.pool.restore(env.now, id, trx);
            }
        }
        Ok(())
    }
}
