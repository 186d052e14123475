//! A listed producer's part of the key generation: lines CHG-3 to CHG-6 of the protocol text.
//!
//! A dealing travels as `seal_to(receiver's announced key, canonical encoding of the dealing)`; the
//! associated data binds request, sender and receiver, so that it cannot be replayed elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::{Dealing, KeyGeneration, KeygenError};
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::{ViewKey, ViewPublicKey};

/// What a sealed dealing is bound to.
pub(super) fn dealing_aad(
    request: &Digest,
    from: &MemberPublicKey,
    to: &MemberPublicKey,
) -> Digest {
    Hasher::new("quorate.change.dealing.v1")
        .field(&request.0)
        .field(from.as_bytes())
        .field(to.as_bytes())
        .finish()
}

/// The key generation of one round, seen by one of its players.
#[derive(Clone)]
pub(super) struct KeyPart<G> {
    me: usize,
    context: Vec<u8>,
    view_key: ViewKey,
    seed: [u8; 32],
    offers: Vec<Option<ViewPublicKey>>,
    generation: Option<G>,
    /// Sealed dealings that came before the round could be opened, the first of each dealer.
    early: BTreeMap<usize, Vec<u8>>,
    /// Own acknowledgements by dealer.
    given: BTreeMap<usize, Vec<u8>>,
    /// Who acknowledged the own dealing.
    acked: BTreeSet<usize>,
}

impl<G: KeyGeneration> KeyPart<G> {
    /// Player `me` of `players`, with its own offer.
    pub(super) fn new(
        me: usize,
        players: usize,
        context: Vec<u8>,
        view_seed: &[u8; 32],
        dealer_seed: [u8; 32],
    ) -> Self {
        let view_key = ViewKey::from_seed(view_seed);
        let mut offers = vec![None; players];
        offers[me] = Some(view_key.public());
        Self {
            me,
            context,
            view_key,
            seed: dealer_seed,
            offers,
            generation: None,
            early: BTreeMap::new(),
            given: BTreeMap::new(),
            acked: BTreeSet::new(),
        }
    }

    pub(super) const fn view_key(&self) -> &ViewKey {
        &self.view_key
    }

    pub(super) const fn opened(&self) -> bool {
        self.generation.is_some()
    }

    pub(super) const fn players(&self) -> usize {
        self.offers.len()
    }

    /// Takes the first offer of a producer; `Ok(false)` if it is known already.
    pub(super) fn offer(&mut self, from: usize, key: ViewPublicKey) -> Result<bool, &'static str> {
        match self.offers.get(from) {
            None => Err("not a listed producer"),
            Some(Some(known)) if *known == key => Ok(false),
            Some(Some(_)) => Err("a second, different view key"),
            Some(None) if !key.is_valid() => Err("the view key is no key"),
            Some(None) if self.offers.contains(&Some(key)) => Err("the view key of another"),
            Some(None) => {
                self.offers[from] = Some(key);
                Ok(true)
            }
        }
    }

    /// CHG-4: opens the round when all offers are known, and returns whether it did just now. The
    /// own dealing is received and acknowledged at once.
    pub(super) fn open(&mut self) -> Result<bool, KeygenError> {
        if self.opened() {
            return Ok(false);
        }
        let Some(players) = self.offers.iter().copied().collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        let mut generation = G::open(&self.context, &players, &self.view_key, self.seed)?;
        let me = NodeIndex(self.me as u16);
        let own = generation.dealing(me).expect("a dealer deals to every player");
        let ack = generation.receive_dealing(me, &own)?;
        generation.receive_ack(me, &ack)?;
        self.given.insert(self.me, ack);
        self.acked.insert(self.me);
        self.generation = Some(generation);
        Ok(true)
    }

    /// What this player deals to `to`, once the round is open.
    pub(super) fn dealing(&self, to: usize) -> Option<Dealing> {
        self.generation.as_ref()?.dealing(NodeIndex(to as u16))
    }

    /// Keeps a sealed dealing until the round is open.
    pub(super) fn keep_early(&mut self, from: usize, sealed: Vec<u8>) {
        if from < self.offers.len() {
            self.early.entry(from).or_insert(sealed);
        }
    }

    /// The sealed dealings kept.
    pub(super) fn take_early(&mut self) -> BTreeMap<usize, Vec<u8>> {
        std::mem::take(&mut self.early)
    }

    /// CHG-5: takes a dealing and returns the acknowledgement, and whether the dealing is new.
    pub(super) fn receive_dealing(
        &mut self,
        from: usize,
        dealing: &Dealing,
    ) -> Result<(Vec<u8>, bool), KeygenError> {
        let Some(generation) = &mut self.generation else {
            return Err(KeygenError::Round("not open yet".to_owned()));
        };
        let ack = generation.receive_dealing(NodeIndex(from as u16), dealing)?;
        let new = self.given.insert(from, ack.clone()).is_none();
        Ok((ack, new))
    }

    /// The own acknowledgement of a producer's dealing.
    pub(super) fn given(&self, dealer: usize) -> Option<&Vec<u8>> {
        self.given.get(&dealer)
    }

    /// Dealers whose dealing was received.
    pub(super) fn dealers(&self) -> impl Iterator<Item = usize> {
        self.given.keys().copied()
    }

    /// Takes an acknowledgement; `Ok(false)` if it is known already or nothing has been dealt.
    pub(super) fn receive_ack(&mut self, from: usize, ack: &[u8]) -> Result<bool, KeygenError> {
        let Some(generation) = &mut self.generation else { return Ok(false) };
        if self.acked.contains(&from) {
            return Ok(false);
        }
        generation.receive_ack(NodeIndex(from as u16), ack)?;
        self.acked.insert(from);
        Ok(true)
    }

    /// How many players acknowledged, this one included.
    pub(super) fn acks(&self) -> usize {
        self.acked.len()
    }

    /// Whether all players acknowledged.
    pub(super) fn acknowledged_by_all(&self) -> bool {
        self.generation.as_ref().is_some_and(G::acknowledged_by_all)
    }

    /// CHG-6: the own log, for the acknowledgements so far.
    pub(super) fn log(&self) -> Option<Vec<u8>> {
        self.generation.as_ref().map(G::log)
    }

    /// The keys of the view, from the logs of all players.
    pub(super) fn finish(
        &self,
        logs: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<G::Keys, KeygenError> {
        match &self.generation {
            Some(generation) => generation.finish(logs),
            None => Err(KeygenError::Failed("the key generation was never opened".to_owned())),
        }
    }
}
