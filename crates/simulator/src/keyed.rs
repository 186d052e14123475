//! Threshold cryptography, key generation and signatures by keyed hashes: cheap stand-ins for
//! thousands of seeds.
//!
//! They live in this crate alone, so a node cannot select them. They keep the *interface* of the
//! real scheme honest (thresholds, wrong shares, targets, purposes; whose signature of what in
//! which domain), not its secrecy: the joint secret is a hash of the players' logs, and a signature
//! one of what anybody knows. Traitors play by the rules: none makes a signature without the key.
//! A fixed part of all seeds runs the real schemes.

use std::cell::Cell;
use std::collections::BTreeMap;

use quorate_crypto::cipher::{self, SymmetricKey};
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::{Dealing, KeyGeneration, KeygenError};
use quorate_crypto::threshold::{
    CombineError, Joint, NodeIndex, OpenError, Purpose, Share, Threshold,
};
use quorate_crypto::view::{ViewKey, ViewPublicKey, ViewSignature};
use rand_core::CryptoRng;

const LOG_DOMAIN: &str = "quorate.simulated-log.v1";

/// How often each operation was used: what the real ones would cost is charged elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Shares made.
    pub shares: u64,
    /// Times shares were put together.
    pub combined: u64,
    /// Joint signatures verified.
    pub verified: u64,
    /// Texts sealed.
    pub sealed: u64,
    /// Their bytes.
    pub sealed_bytes: u64,
    /// Texts opened.
    pub opened: u64,
    /// Their bytes.
    pub opened_bytes: u64,
}

thread_local! {
    static WORK: Cell<Work> = const { Cell::new(Work {
        shares: 0, combined: 0, verified: 0, sealed: 0, sealed_bytes: 0, opened: 0, opened_bytes: 0,
    }) };
}

fn work(count: impl FnOnce(&mut Work)) {
    WORK.with(|cell| {
        let mut work = cell.get();
        count(&mut work);
        cell.set(work);
    });
}

/// What this thread used since it was last asked.
pub fn take_work() -> Work {
    WORK.with(Cell::take)
}

/// Half of what stands in for a signature ([`quorate_crypto::made::stand_in`]).
#[must_use]
pub fn signature(key: &[u8], domain: &str, digest: &Digest) -> [u8; 32] {
    let hasher = Hasher::new("quorate.simulated-signature.v1").field(key);
    *hasher.field(domain.as_bytes()).field(digest.as_bytes()).finish().as_bytes()
}

/// Keys of one member (or an observer) of one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedKeys {
    secret: Digest,
    n: u16,
    me: Option<NodeIndex>,
}

impl KeyedKeys {
    fn needed(&self) -> usize {
        let n = usize::from(self.n);
        n - (n - 1) / 3
    }

    fn share_of(&self, member: NodeIndex, purpose: Purpose, target: &[u8]) -> Share {
        tagged("share", &self.secret, purpose, target, u64::from(member.0)).as_bytes().to_vec()
    }

    fn joint(&self, purpose: Purpose, target: &[u8]) -> Digest {
        tagged("joint", &self.secret, purpose, target, 0)
    }
}

fn tagged(tag: &str, secret: &Digest, purpose: Purpose, target: &[u8], extra: u64) -> Digest {
    let purpose = match purpose {
        Purpose::Coin => 1,
        Purpose::Decryption => 2,
    };
    Hasher::new("quorate.simulated-threshold.v1")
        .field(tag.as_bytes())
        .field(secret.as_bytes())
        .u64(purpose)
        .field(target)
        .u64(extra)
        .finish()
}

fn aad(target: &[u8], header: &[u8]) -> Digest {
    Hasher::new("quorate.simulated-seal.v1").field(target).field(header).finish()
}

impl Threshold for KeyedKeys {
    fn sign_share(&self, purpose: Purpose, target: &[u8]) -> Option<Share> {
        work(|work| work.shares += 1);
        self.me.map(|me| self.share_of(me, purpose, target))
    }

    fn combine(
        &self,
        purpose: Purpose,
        target: &[u8],
        shares: &BTreeMap<NodeIndex, Share>,
    ) -> Result<Joint, CombineError> {
        let need = self.needed();
        if shares.len() < need {
            return Err(CombineError::TooFew { have: shares.len(), need });
        }
        work(|work| work.combined += 1);
        let bad: Vec<NodeIndex> = shares
            .iter()
            .filter(|(member, share)| **share != self.share_of(**member, purpose, target))
            .map(|(member, _)| *member)
            .collect();
        if !bad.is_empty() {
            return Err(CombineError::BadShares(bad));
        }
        Ok(self.joint(purpose, target).as_bytes().to_vec())
    }

    fn verify(&self, purpose: Purpose, target: &[u8], joint: &Joint) -> bool {
        work(|work| work.verified += 1);
        joint.as_slice() == self.joint(purpose, target).as_bytes()
    }

    fn seal(
        &self,
        rng: &mut impl CryptoRng,
        target: &[u8],
        header: &[u8],
        plaintext: &[u8],
    ) -> Vec<u8> {
        work(|work| {
            work.sealed += 1;
            work.sealed_bytes += plaintext.len() as u64;
        });
        let key = SymmetricKey(*self.joint(Purpose::Decryption, target).as_bytes());
        cipher::seal(&key, rng, aad(target, header).as_bytes(), plaintext)
    }

    fn open(
        &self,
        target: &[u8],
        header: &[u8],
        sealed: &[u8],
        joint: &Joint,
    ) -> Result<Vec<u8>, OpenError> {
        work(|work| {
            work.opened += 1;
            work.opened_bytes += sealed.len() as u64;
        });
        let key: [u8; 32] = joint.as_slice().try_into().map_err(|_| OpenError)?;
        cipher::open(&SymmetricKey(key), aad(target, header).as_bytes(), sealed)
            .map_err(|_| OpenError)
    }

    fn public(&self) -> Vec<u8> {
        self.secret.as_bytes().to_vec()
    }
}

/// One player's side of a simulated round.
#[derive(Clone)]
pub struct KeyedGeneration {
    context: Vec<u8>,
    players: Vec<ViewPublicKey>,
    me: NodeIndex,
    key: ViewKey,
    seed: [u8; 32],
    dealings: BTreeMap<NodeIndex, Dealing>,
    acks: BTreeMap<NodeIndex, Vec<u8>>,
}

impl KeyedGeneration {
    fn commitment(seed: &[u8; 32], context: &[u8]) -> Digest {
        Hasher::new("quorate.simulated-commitment.v1").field(seed).field(context).finish()
    }

    fn ack(commitment: &[u8], from: NodeIndex) -> Vec<u8> {
        let hasher = Hasher::new("quorate.simulated-ack.v1");
        hasher.field(commitment).u64(u64::from(from.0)).finish().as_bytes().to_vec()
    }

    fn log_digest(context: &[u8], commitment: &[u8]) -> Digest {
        Hasher::new("quorate.simulated-log.v1").field(context).field(commitment).finish()
    }
}

impl KeyGeneration for KeyedGeneration {
    type Keys = KeyedKeys;

    fn open(
        context: &[u8],
        players: &[ViewPublicKey],
        key: &ViewKey,
        seed: [u8; 32],
    ) -> Result<Self, KeygenError> {
        let me = players
            .iter()
            .position(|p| *p == key.public())
            .ok_or_else(|| KeygenError::Round("own key is not among the players".into()))?;
        Ok(Self {
            context: context.to_vec(),
            players: players.to_vec(),
            me: NodeIndex(me as u16),
            key: key.clone(),
            seed,
            dealings: BTreeMap::new(),
            acks: BTreeMap::new(),
        })
    }

    fn dealing(&self, to: NodeIndex) -> Option<Dealing> {
        (to.get() < self.players.len()).then(|| {
            let commitment = Self::commitment(&self.seed, &self.context).as_bytes().to_vec();
            let evaluation = Self::ack(&commitment, to);
            Dealing { commitment, evaluation }
        })
    }

    fn receive_dealing(
        &mut self,
        from: NodeIndex,
        dealing: &Dealing,
    ) -> Result<Vec<u8>, KeygenError> {
        let wrong = |why: &str| KeygenError::Peer { from, what: "dealing", why: why.into() };
        if from.get() >= self.players.len() || dealing.commitment.len() != 32 {
            return Err(wrong("malformed"));
        }
        if dealing.evaluation != Self::ack(&dealing.commitment, self.me) {
            return Err(wrong("the evaluation does not fit the commitment"));
        }
        if self.dealings.get(&from).is_some_and(|known| known != dealing) {
            return Err(wrong("a second, different dealing"));
        }
        self.dealings.insert(from, dealing.clone());
        Ok(Self::ack(&dealing.commitment, self.me))
    }

    fn receive_ack(&mut self, from: NodeIndex, ack: &[u8]) -> Result<(), KeygenError> {
        let commitment = Self::commitment(&self.seed, &self.context);
        if from.get() >= self.players.len() || ack != Self::ack(commitment.as_bytes(), from) {
            let why = "it is for something else".into();
            return Err(KeygenError::Peer { from, what: "acknowledgement", why });
        }
        self.acks.insert(from, ack.to_vec());
        Ok(())
    }

    fn acknowledged_by_all(&self) -> bool {
        self.acks.len() == self.players.len()
    }

    fn log(&self) -> Vec<u8> {
        let commitment = Self::commitment(&self.seed, &self.context);
        let digest = Self::log_digest(&self.context, commitment.as_bytes());
        let signature = self.key.sign(LOG_DOMAIN, &digest);
        [commitment.as_bytes().as_slice(), &signature.0].concat()
    }

    fn finish(&self, logs: &BTreeMap<NodeIndex, Vec<u8>>) -> Result<Self::Keys, KeygenError> {
        let observed = Self::observe(&self.context, &self.players, logs)?;
        Ok(KeyedKeys { me: Some(self.me), ..observed })
    }

    fn observe(
        context: &[u8],
        players: &[ViewPublicKey],
        logs: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<Self::Keys, KeygenError> {
        let mut hasher = Hasher::new("quorate.simulated-secret.v1").field(context);
        for (index, player) in players.iter().enumerate() {
            let from = NodeIndex(index as u16);
            let wrong = |why: &str| KeygenError::Peer { from, what: "log", why: why.into() };
            let log = logs.get(&from).ok_or_else(|| wrong("missing"))?;
            let (commitment, signature) =
                log.split_at_checked(32).ok_or_else(|| wrong("malformed"))?;
            let signature: [u8; 64] = signature.try_into().map_err(|_| wrong("malformed"))?;
            let digest = Self::log_digest(context, commitment);
            if !player.verify(LOG_DOMAIN, &digest, &ViewSignature(signature)) {
                return Err(wrong("signature"));
            }
            hasher = hasher.field(commitment);
        }
        let n = u16::try_from(players.len())
            .map_err(|_| KeygenError::Round("too many players".into()))?;
        Ok(KeyedKeys { secret: hasher.finish(), n, me: None })
    }

    fn encode_keys(keys: &Self::Keys) -> Vec<u8> {
        let me = keys.me.map_or(u16::MAX, |me| me.0);
        [keys.secret.as_bytes().as_slice(), &keys.n.to_be_bytes(), &me.to_be_bytes()].concat()
    }

    fn decode_keys(bytes: &[u8]) -> Option<Self::Keys> {
        let (secret, rest) = bytes.split_at_checked(32)?;
        let (n, me) = rest.split_at_checked(2)?;
        let n = u16::from_be_bytes(n.try_into().ok()?);
        let me = u16::from_be_bytes(me.try_into().ok()?);
        Some(KeyedKeys {
            secret: Digest::from_slice(secret)?,
            n,
            me: (me != u16::MAX).then_some(NodeIndex(me)),
        })
    }
}
