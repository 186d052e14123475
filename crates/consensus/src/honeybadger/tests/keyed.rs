//! Threshold keys by keyed hashes, for speed. They keep thresholds and wrong shares honest.

use std::collections::BTreeMap;

use quorate_crypto::cipher::{self, SymmetricKey};
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::{Dealing, KeyGeneration, KeygenError};
use quorate_crypto::threshold::{
    CombineError, Joint, NodeIndex, OpenError, Purpose, Share, Threshold,
};
use quorate_crypto::view::{ViewKey, ViewPublicKey};
use rand_core::CryptoRng;

use crate::committee::Committee;

/// Keys of one member.
#[derive(Clone)]
pub(super) struct KeyedKeys {
    pub committee: Committee,
    pub me: NodeIndex,
}

impl KeyedKeys {
    fn hash(&self, purpose: Purpose, target: &[u8], who: u64) -> Digest {
        let purpose = if purpose == Purpose::Coin { 1 } else { 2 };
        Hasher::new("test keys").u64(purpose).field(target).u64(who).finish()
    }
}

impl Threshold for KeyedKeys {
    fn sign_share(&self, purpose: Purpose, target: &[u8]) -> Option<Share> {
        Some(self.hash(purpose, target, u64::from(self.me.0)).0.to_vec())
    }

    fn combine(
        &self,
        purpose: Purpose,
        target: &[u8],
        shares: &BTreeMap<NodeIndex, Share>,
    ) -> Result<Joint, CombineError> {
        let need = self.committee.correct();
        if shares.len() < need {
            return Err(CombineError::TooFew { have: shares.len(), need });
        }
        let wrong = |(i, share): &(&NodeIndex, &Share)| {
            ***share != self.hash(purpose, target, u64::from(i.0)).0
        };
        let wrong: Vec<NodeIndex> = shares.iter().filter(wrong).map(|(i, _)| *i).collect();
        if !wrong.is_empty() {
            return Err(CombineError::BadShares(wrong));
        }
        Ok(self.hash(purpose, target, u64::MAX).0.to_vec())
    }

    fn verify(&self, purpose: Purpose, target: &[u8], joint: &Joint) -> bool {
        **joint == self.hash(purpose, target, u64::MAX).0
    }

    fn seal(
        &self,
        rng: &mut impl CryptoRng,
        target: &[u8],
        header: &[u8],
        plaintext: &[u8],
    ) -> Vec<u8> {
        let key = SymmetricKey(self.hash(Purpose::Decryption, target, u64::MAX).0);
        cipher::seal(&key, rng, header, plaintext)
    }

    fn open(
        &self,
        _: &[u8],
        header: &[u8],
        sealed: &[u8],
        joint: &Joint,
    ) -> Result<Vec<u8>, OpenError> {
        let key: [u8; 32] = joint.as_slice().try_into().map_err(|_| OpenError)?;
        cipher::open(&SymmetricKey(key), header, sealed).map_err(|_| OpenError)
    }

    fn public(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// Names [`KeyedKeys`] as the keys of a core. The tests make keys directly, so no round is ever
/// run: opening one is refused.
pub(super) struct KeyedGeneration;

impl KeyGeneration for KeyedGeneration {
    type Keys = KeyedKeys;

    fn open(_: &[u8], _: &[ViewPublicKey], _: &ViewKey, _: [u8; 32]) -> Result<Self, KeygenError> {
        Err(KeygenError::Round("keys of tests need no round".into()))
    }

    fn dealing(&self, _: NodeIndex) -> Option<Dealing> {
        None
    }

    fn receive_dealing(&mut self, from: NodeIndex, _: &Dealing) -> Result<Vec<u8>, KeygenError> {
        Err(KeygenError::Peer { from, what: "dealing", why: "no round".into() })
    }

    fn receive_ack(&mut self, from: NodeIndex, _: &[u8]) -> Result<(), KeygenError> {
        Err(KeygenError::Peer { from, what: "acknowledgement", why: "no round".into() })
    }

    fn acknowledged_by_all(&self) -> bool {
        false
    }

    fn log(&self) -> Vec<u8> {
        Vec::new()
    }

    fn finish(&self, _: &BTreeMap<NodeIndex, Vec<u8>>) -> Result<KeyedKeys, KeygenError> {
        Err(KeygenError::Failed("no round".into()))
    }

    fn observe(
        _: &[u8],
        _: &[ViewPublicKey],
        _: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<KeyedKeys, KeygenError> {
        Err(KeygenError::Failed("no round".into()))
    }

    fn encode_keys(_: &KeyedKeys) -> Vec<u8> {
        Vec::new()
    }

    fn decode_keys(_: &[u8]) -> Option<KeyedKeys> {
        None
    }
}
