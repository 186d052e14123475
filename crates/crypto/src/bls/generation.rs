//! Key generation without a trusted dealer: joint Feldman, two rounds (see [`crate::keygen`]).
//!
//! A round is its context and its players' keys; nothing else distinguishes two rounds, so the
//! context must name the request. All of a dealer's randomness comes from its seed: a restarted
//! player opens the round again with the same seed, replays the dealings and acknowledgements it
//! stored, and is where it was. For the same reason the library's objects, which are consumed when
//! they finish, are simply made again when needed.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::num::NonZeroU32;

use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_cryptography::bls12381::dkg::feldman_desmedt::{
    Dealer, DealerPrivMsg, DealerPubMsg, Failure, FinalizeError, Info, Logs, Output, Player,
    PlayerAck, Reveal, SignedDealerLog, observe,
};
use commonware_cryptography::bls12381::primitives::sharing::Mode;
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::ed25519;
use commonware_parallel::Sequential;
use commonware_utils::N3f1;
use commonware_utils::Participant;
use commonware_utils::ordered::Set;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use zeroize::Zeroizing;

use super::{BlsKeys, MAX_MEMBERS, decode_keys, encode_keys, weights};
use crate::hash::Hasher;
use crate::keygen::{Dealing, KeyGeneration, KeygenError};
use crate::threshold::NodeIndex;
use crate::view::{ViewKey, ViewPublicKey};

type Key = ed25519::PublicKey;
type Ack = PlayerAck<Key>;

/// What is public about a round.
struct Round {
    info: Info<MinSig, Key>,
    /// The players in committee order.
    players: Vec<Key>,
    /// The library's number of each player, in committee order.
    order: Vec<Participant>,
}

impl Round {
    fn new(context: &[u8], players: &[ViewPublicKey]) -> Result<Self, KeygenError> {
        let bad = |why: String| Err(KeygenError::Round(why));
        if players.is_empty() || players.len() > MAX_MEMBERS {
            return bad(format!("{} players, not 1 to {MAX_MEMBERS}", players.len()));
        }
        let mut keys = Vec::with_capacity(players.len());
        for (index, player) in players.iter().enumerate() {
            match player.as_commonware() {
                Some(key) => keys.push(key),
                None => return bad(format!("the key of player {index} is malformed")),
            }
        }
        let set = Set::from_iter_dedup(keys.iter().cloned());
        if set.len() != keys.len() {
            return bad("two players have the same key".to_owned());
        }
        let order = keys
            .iter()
            .map(|key| Participant::from_usize(set.position(key).expect("made from these keys")))
            .collect();
        let namespace = Hasher::new("quorate.keygen.v1").field(context).finish();
        let info = Info::new::<N3f1>(
            &namespace.0,
            0,
            None,
            Mode::NonZeroCounter,
            Reveal::V1,
            set.clone(),
            set,
        );
        match info {
            Ok(info) => Ok(Self { info, players: keys, order }),
            Err(error) => bad(error.to_string()),
        }
    }

    /// Number of players, as the limit of what is decoded.
    fn limit(&self) -> NonZeroU32 {
        u32::try_from(self.players.len())
            .ok()
            .and_then(NonZeroU32::new)
            .expect("1 to MAX_MEMBERS players")
    }

    fn key(&self, player: NodeIndex) -> Option<&Key> {
        self.players.get(player.get())
    }

    fn index(&self, key: &Key) -> NodeIndex {
        let place = self.players.iter().position(|player| player == key);
        NodeIndex(place.map_or(u16::MAX, |place| place as u16))
    }

    /// Reads the logs, which must be those of all players, each signed by its player.
    fn logs(
        &self,
        logs: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<Logs<MinSig, Key, N3f1>, KeygenError> {
        let missing: Vec<usize> = (0..self.players.len())
            .filter(|index| !logs.contains_key(&NodeIndex(*index as u16)))
            .collect();
        if !missing.is_empty() {
            return Err(KeygenError::Failed(format!(
                "the logs of members {missing:?} are missing"
            )));
        }
        let mut read = Logs::new(self.info.clone());
        for (from, bytes) in logs {
            let bad = |why: &str| peer(*from, "log", why);
            let key = self.key(*from).ok_or_else(|| bad("not a player"))?;
            let signed = SignedDealerLog::<MinSig, Key>::decode_cfg(Copying(bytes), &self.limit())
                .map_err(|error| bad(&error.to_string()))?;
            let (signer, log) = signed
                .check(&self.info)
                .ok_or_else(|| bad("the signature is wrong or of another round"))?;
            if signer != *key {
                return Err(bad("signed by another player"));
            }
            read.record(signer, log);
        }
        Ok(read)
    }

    /// The generator for the weights of checking these logs: the same at every member.
    fn weights(&self, logs: &BTreeMap<NodeIndex, Vec<u8>>) -> ChaCha20Rng {
        let mut hash = Hasher::new("quorate.keygen.logs.v1");
        for key in &self.players {
            hash = hash.field(key);
        }
        for (from, log) in logs {
            hash = hash.u64(u64::from(from.0)).field(log);
        }
        weights(hash.finish())
    }

    fn failure(&self, failure: Failure<Key>) -> KeygenError {
        let Failure::InsufficientLogs { required, found, faults, unavailable } = failure;
        if let Some((key, fault)) = faults.iter_pairs().next() {
            return peer(self.index(key), "log", &fault.to_string());
        }
        let unusable: Vec<u16> = unavailable.iter().map(|key| self.index(key).0).collect();
        KeygenError::Failed(format!(
            "{found} usable logs of {required} needed; members {unusable:?} had too few \
             acknowledgements"
        ))
    }

    fn keys(
        &self,
        output: &Output<MinSig, Key>,
        share: Option<commonware_cryptography::bls12381::primitives::group::Share>,
    ) -> Result<BlsKeys, KeygenError> {
        BlsKeys::new(output.public().clone(), self.order.clone(), share)
            .ok_or_else(|| KeygenError::Failed("the logs make no usable key".to_owned()))
    }
}

fn peer(from: NodeIndex, what: &'static str, why: &str) -> KeygenError {
    KeygenError::Peer { from, what, why: why.to_owned() }
}

/// A dealing that was checked, and the answer to it.
struct Received {
    dealing: Dealing,
    public: DealerPubMsg<MinSig>,
    private: DealerPrivMsg,
    ack: Vec<u8>,
}

/// One player's side of one round of key generation on BLS12-381. `Debug` shows no secret.
pub struct BlsGeneration {
    round: Round,
    me: NodeIndex,
    key: ed25519::PrivateKey,
    seed: Zeroizing<[u8; 32]>,
    /// What this player deals, in committee order.
    dealings: Vec<Dealing>,
    /// Checks acknowledgements.
    dealer: Dealer<MinSig, ed25519::PrivateKey>,
    /// The acknowledgements of this player's dealing.
    acks: BTreeMap<NodeIndex, Ack>,
    /// Checks dealings, and makes the share. Finishing consumes it; it is made again if needed.
    player: RefCell<Option<Player<MinSig, ed25519::PrivateKey>>>,
    /// The dealings of others, and of this player itself.
    received: BTreeMap<NodeIndex, Received>,
    /// The log for the acknowledgements so far.
    log: OnceCell<Vec<u8>>,
}

impl fmt::Debug for BlsGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlsGeneration")
            .field("players", &self.round.players.len())
            .field("me", &self.me)
            .field("received", &self.received.keys())
            .field("acks", &self.acks.keys())
            .finish_non_exhaustive()
    }
}

type Dealt = (Dealer<MinSig, ed25519::PrivateKey>, DealerPubMsg<MinSig>, Vec<(Key, DealerPrivMsg)>);

/// Starts the dealer. With the same arguments it deals the same.
fn deal(round: &Round, key: &ed25519::PrivateKey, seed: &[u8; 32]) -> Result<Dealt, KeygenError> {
    let rng = ChaCha20Rng::from_seed(*seed);
    Dealer::start::<N3f1>(rng, round.info.clone(), key.clone(), None)
        .map_err(|error| KeygenError::Round(error.to_string()))
}

fn new_player(
    round: &Round,
    key: &ed25519::PrivateKey,
) -> Result<Player<MinSig, ed25519::PrivateKey>, KeygenError> {
    Player::new(round.info.clone(), key.clone())
        .map_err(|error| KeygenError::Round(error.to_string()))
}

impl BlsGeneration {
    /// A player that has taken all dealings received so far.
    fn replayed_player(&self) -> Player<MinSig, ed25519::PrivateKey> {
        let mut player = new_player(&self.round, &self.key)
            .expect("this round was opened with the same arguments");
        for (from, received) in &self.received {
            let dealer = self.round.players[from.get()].clone();
            let (public, private) = (received.public.clone(), received.private.clone());
            player
                .dealer_message::<N3f1>(dealer, public, private)
                .expect("this dealing was checked when it was taken");
        }
        player
    }

    /// Checks a dealing that is not known yet.
    fn check_dealing(
        &mut self,
        from: NodeIndex,
        dealing: &Dealing,
    ) -> Result<Received, KeygenError> {
        let bad = |why: &str| peer(from, "dealing", why);
        let dealer = self.round.key(from).ok_or_else(|| bad("not a player"))?;
        let public =
            DealerPubMsg::<MinSig>::decode_cfg(Copying(&dealing.commitment), &self.round.limit())
                .map_err(|error| bad(&error.to_string()))?;
        let private = DealerPrivMsg::decode(Copying(&dealing.evaluation))
            .map_err(|error| bad(&error.to_string()))?;
        if self.player.get_mut().is_none() {
            let again = self.replayed_player();
            *self.player.get_mut() = Some(again);
        }
        let player = self.player.get_mut().as_mut().expect("made just now");
        let ack = player
            .dealer_message::<N3f1>(dealer.clone(), public.clone(), private.clone())
            .map_err(|error| bad(&error.to_string()))?
            .ok_or_else(|| bad("a second dealing"))?;
        Ok(Received { dealing: dealing.clone(), public, private, ack: ack.encode().into() })
    }
}

impl KeyGeneration for BlsGeneration {
    type Keys = BlsKeys;

    /// This player's own dealing is received and acknowledged here; taking it once more changes
    /// nothing.
    fn open(
        context: &[u8],
        players: &[ViewPublicKey],
        key: &ViewKey,
        seed: [u8; 32],
    ) -> Result<Self, KeygenError> {
        let seed = Zeroizing::new(seed);
        let round = Round::new(context, players)?;
        let public = key.public();
        let me = players
            .iter()
            .position(|player| *player == public)
            .ok_or_else(|| KeygenError::Round("this member is not a player".to_owned()))?;
        let me = NodeIndex(me as u16);
        let key = key.as_commonware().clone();
        let (dealer, commitment, evaluations) = deal(&round, &key, &seed)?;
        let commitment = Vec::from(commitment.encode());
        let mut dealings = vec![Dealing::default(); players.len()];
        for (player, evaluation) in evaluations {
            dealings[round.index(&player).get()] =
                Dealing { commitment: commitment.clone(), evaluation: evaluation.encode().into() };
        }
        let player = new_player(&round, &key)?;
        let own = dealings[me.get()].clone();
        let mut this = Self {
            round,
            me,
            key,
            seed,
            dealings,
            dealer,
            acks: BTreeMap::new(),
            player: RefCell::new(Some(player)),
            received: BTreeMap::new(),
            log: OnceCell::new(),
        };
        let ack = this.receive_dealing(me, &own)?;
        this.receive_ack(me, &ack)?;
        Ok(this)
    }

    fn dealing(&self, to: NodeIndex) -> Option<Dealing> {
        self.dealings.get(to.get()).cloned()
    }

    fn receive_dealing(
        &mut self,
        from: NodeIndex,
        dealing: &Dealing,
    ) -> Result<Vec<u8>, KeygenError> {
        if let Some(known) = self.received.get(&from) {
            if known.dealing == *dealing {
                return Ok(known.ack.clone());
            }
            return Err(peer(from, "dealing", "differs from its first dealing"));
        }
        let received = self.check_dealing(from, dealing)?;
        let ack = received.ack.clone();
        self.received.insert(from, received);
        Ok(ack)
    }

    fn receive_ack(&mut self, from: NodeIndex, ack: &[u8]) -> Result<(), KeygenError> {
        let bad = |why: &str| peer(from, "acknowledgement", why);
        let key = self.round.key(from).ok_or_else(|| bad("not a player"))?;
        let ack = Ack::decode(Copying(ack)).map_err(|error| bad(&error.to_string()))?;
        self.dealer
            .receive_player_ack(key.clone(), ack.clone())
            .map_err(|error| bad(&error.to_string()))?;
        // A second valid signature of the same player says nothing new; the log stays what it was.
        if let Entry::Vacant(place) = self.acks.entry(from) {
            place.insert(ack);
            self.log = OnceCell::new();
        }
        Ok(())
    }

    fn acknowledged_by_all(&self) -> bool {
        self.acks.len() == self.round.players.len()
    }

    /// Without the acknowledgements of `n - f` players the log says only that there were too few,
    /// and reveals nothing.
    fn log(&self) -> Vec<u8> {
        let make = || {
            let (mut dealer, _, _) = deal(&self.round, &self.key, &self.seed)
                .expect("this round was opened with the same arguments");
            for (from, ack) in &self.acks {
                let key = &self.round.players[from.get()];
                dealer
                    .receive_player_ack(key.clone(), ack.clone())
                    .expect("this acknowledgement was checked when it was taken");
            }
            dealer.finalize::<N3f1>().encode().into()
        };
        self.log.get_or_init(make).clone()
    }

    fn finish(&self, logs: &BTreeMap<NodeIndex, Vec<u8>>) -> Result<BlsKeys, KeygenError> {
        let read = self.round.logs(logs)?;
        let player = self.player.borrow_mut().take();
        let player = player.unwrap_or_else(|| self.replayed_player());
        let (output, share) = player
            .finalize::<N3f1>(&mut self.round.weights(logs), read, &Sequential)
            .map_err(|error| match error {
                FinalizeError::Failure(failure) => self.round.failure(failure),
                FinalizeError::Error(error) => KeygenError::Failed(error.to_string()),
            })?;
        self.round.keys(&output, Some(share))
    }

    fn observe(
        context: &[u8],
        players: &[ViewPublicKey],
        logs: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<BlsKeys, KeygenError> {
        let round = Round::new(context, players)?;
        let read = round.logs(logs)?;
        let output = observe(&mut round.weights(logs), read, &Sequential)
            .map_err(|failure| round.failure(failure))?;
        round.keys(&output, None)
    }

    fn encode_keys(keys: &BlsKeys) -> Vec<u8> {
        encode_keys(keys)
    }

    fn decode_keys(bytes: &[u8]) -> Option<BlsKeys> {
        decode_keys(bytes)
    }
}
