//! The genesis documents: made by the owner's node, fetched and verified by all others.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::{Core, Env, Record, Time, Topic};
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::{KeyGeneration, KeygenError};
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_crypto::view::ViewKey;
use quorate_ledger::announce;
use quorate_ledger::change;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::group::{DocumentsError, GenesisDocuments};
use quorate_ledger::ids::{BlockId, Epoch};
use quorate_ledger::proto::KeyMaterial;
use quorate_ledger::view::View;
use rand_core::Rng as _;

use super::commands::fresh_uuid;
use super::recovery::OpenError;
use super::{Chain, GENESIS_NOTE, Out, Replica};
use crate::api::{Address, GroupConfig, Notice, Output, PeerRef};
use crate::block_maker::Head;
use crate::change::Change;
use crate::executor;
use crate::limits::GENESIS_MS;
use crate::wire;

type Keys<C> = <<C as Core>::Generation as KeyGeneration>::Keys;

/// Head of a ledger without blocks.
pub(super) fn genesis_head(view: &View, timestamp: i64) -> Head {
    Head {
        id: BlockId(0),
        hash: view.parent.1,
        timestamp,
        view: view.number,
        epoch: Epoch(0),
        last_view_change: BlockId(0),
    }
}

/// Makes the documents of a new group, and the owner's keys of view 0: key generation by one player.
pub(crate) fn create<G: KeyGeneration>(
    env: &mut Env,
    config: &GroupConfig,
) -> Result<(GenesisDocuments, (ViewKey, G::Keys)), OpenError> {
    let (owner, group) = (&config.member, config.descriptor.id);
    if owner.public() != config.descriptor.owner {
        return Err(OpenError::NotOwner);
    }
    let encrypt_pubkey = config.encrypt.public().to_string();
    let announce = announce::build_owner(owner, group, &encrypt_pubkey);
    let request = change::genesis_request(owner, group, fresh_uuid(env));
    let verified = change::verify_request(&request, &owner.public(), group)
        .map_err(|error| OpenError::Documents(error.to_string()))?;
    let view_key = ViewKey::generate(&mut env.rng);
    let mut seed = [0; 32];
    env.rng.fill_bytes(&mut seed);
    let (log, keys) = deal_alone::<G>(&verified.keygen_context(), &view_key, seed)
        .map_err(|error| OpenError::Documents(error.to_string()))?;
    let material = KeyMaterial { view_key: view_key.public().0.to_vec(), dealer_log: log };
    let bundle = change::genesis_bundle(owner, &request, fresh_uuid(env), material);
    let genesis = config.descriptor.genesis.clone();
    Ok((GenesisDocuments { genesis, announce, bundle }, (view_key, keys)))
}

pub(crate) fn deal_alone<G: KeyGeneration>(
    context: &[u8],
    key: &ViewKey,
    seed: [u8; 32],
) -> Result<(Vec<u8>, G::Keys), KeygenError> {
    let me = NodeIndex(0);
    let mut round = G::open(context, &[key.public()], key, seed)?;
    let dealing = round.dealing(me).unwrap_or_default();
    let ack = round.receive_dealing(me, &dealing)?;
    round.receive_ack(me, &ack)?;
    let log = round.log();
    let keys = round.finish(&BTreeMap::from([(me, log.clone())]))?;
    Ok((log, keys))
}

impl<C: Core> Replica<C>
where
    Keys<C>: Threshold,
{
    /// The chain that verified documents begin.
    pub(super) fn begin(
        config: &GroupConfig,
        documents: GenesisDocuments,
    ) -> Result<Chain, DocumentsError> {
        let genesis = &config.descriptor.genesis;
        let view = documents.verify::<C::Generation>(genesis)?;
        let head = genesis_head(&view, genesis.timestamp);
        Ok(Chain {
            state: executor::genesis_state(&documents),
            documents: Arc::new(documents),
            views: vec![Arc::new(view)],
            head,
        })
    }

    /// Genesis documents of a peer.
    pub(super) fn genesis(&mut self, env: &mut Env, documents: GenesisDocuments, out: &mut Out) {
        if self.chain.is_some() {
            return;
        }
        match Self::begin(&self.config, documents) {
            Err(error) => {
                let text = format!("genesis documents of a peer are wrong: {error}");
                out.trace(Trace::said("GENESIS", text));
            }
            Ok(chain) => {
                out.record(note(&chain.documents));
                self.ready(env, chain, out);
            }
        }
    }

    /// The group can be used from now on, as a follower at first.
    fn ready(&mut self, env: &mut Env, chain: Chain, out: &mut Out) {
        self.genesis_at = None;
        let ctx = Self::change_context(&self.config, &chain);
        let nothing = BTreeMap::new();
        let (change, step) = Change::restore(env, &ctx, Vec::new(), &nothing);
        self.next_epoch = chain.view().start_epoch;
        let view = Arc::clone(chain.view());
        self.change = Some(change);
        self.chain = Some(chain);
        self.catchup = crate::catchup::Catchup::new(env.now);
        out.output(Output::Notice(Notice::Ready));
        self.announce_views(out);
        out.output(Output::Notice(Notice::ViewInstalled(Arc::clone(&view))));
        self.without_keys(&view, out);
        self.changed(env, step, out);
    }

    /// Asks for the documents again and again, until they are here.
    pub(super) fn fetch_genesis(&mut self, now: Time, out: &mut Out) {
        if self.genesis_at.is_some_and(|at| at <= now) {
            self.genesis_at = Some(now.after(GENESIS_MS));
            let packet = wire::encode_fetch_genesis(&self.group());
            self.send(Address::Somebody, packet, out);
        }
    }

    pub(super) fn serve_genesis(&self, peer: &PeerRef, out: &mut Out) {
        if let Some(chain) = &self.chain {
            let packet = wire::encode_genesis(&self.group(), &chain.documents);
            self.send(Address::Peer(peer.clone()), packet, out);
            self.send_head(peer, out);
        }
    }
}

/// The note that holds the documents.
pub(super) fn note(documents: &GenesisDocuments) -> Record {
    Record::Note {
        topic: Topic::Group,
        key: GENESIS_NOTE.to_vec(),
        bytes: documents.to_bytes().into(),
    }
}
