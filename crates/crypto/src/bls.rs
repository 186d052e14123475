//! [`Threshold`] and [`KeyGeneration`](crate::keygen::KeyGeneration) on BLS12-381 (public keys in
//! G2, signatures in G1).
//!
//! The library (`commonware-cryptography`) numbers participants by the order of their keys; we
//! number them by their place in the committee ([`NodeIndex`]). The public key material carries the
//! mapping, so that a share's inner index can be held against its sender.
//!
//! * A coin is the joint signature over the coin's name in one namespace, the decryption key of a
//!   proposal the joint signature over its target in another.
//! * A sealed text is `encrypted key (160) nonce (12) ciphertext tag (16)`: identity encryption
//!   (Boneh-Franklin with the Fujisaki-Okamoto transform) of a fresh 32-byte key to the target, and
//!   AES-256-GCM of the payload with the hash of target and header as associated data.
//! * Key generation (`generation`) is joint Feldman: every player deals a polynomial of degree
//!   `n - f - 1`; the joint key is the sum of the first `n - f` usable ones in key order.
//!
//! Everything is a plain function of its arguments. Where a check needs random weights they are
//! drawn from a hash of all that is checked, so that two members never disagree.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_cryptography::bls12381::primitives::group::Share as SecretShare;
use commonware_cryptography::bls12381::primitives::ops;
use commonware_cryptography::bls12381::primitives::ops::threshold;
use commonware_cryptography::bls12381::primitives::sharing::{ModeVersion, Sharing};
use commonware_cryptography::bls12381::primitives::variant::{MinSig, PartialSignature, Variant};
use commonware_cryptography::bls12381::tle;
use commonware_math::algebra::Additive as _;
use commonware_parallel::Sequential;
use commonware_utils::iter::NonEmpty;
use commonware_utils::{Faults as _, N3f1, Participant};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};
use zeroize::Zeroizing;

use crate::cipher::{self, SymmetricKey};
use crate::hash::{Digest, Hasher};
use crate::threshold::{CombineError, Joint, NodeIndex, OpenError, Purpose, Share, Threshold};

mod generation;

pub use generation::BlsGeneration;

/// Most members a committee can have.
pub const MAX_MEMBERS: usize = 128;

/// In front of the public key material and of the secret keys: this layout.
const LAYOUT: u8 = 1;
/// Length of the encrypted key in front of a sealed text: a point of G2 and two blocks of 32.
const SEALED_KEY: usize = 96 + 32 + 32;

type Signature = <MinSig as Variant>::Signature;

const fn namespace(purpose: Purpose) -> &'static [u8] {
    match purpose {
        Purpose::Coin => b"quorate.coin.v1",
        Purpose::Decryption => b"quorate.decryption.v1",
    }
}

/// A generator for the random weights of a check, and for nothing secret.
fn weights(digest: Digest) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(digest.0)
}

/// One member's share of a view's joint key, and the public key material of all; an observer has
/// the latter alone. Cheap to clone. `Debug` does not show the share.
#[derive(Clone)]
pub struct BlsKeys(Arc<Keys>);

struct Keys {
    /// The joint polynomial.
    sharing: Sharing<MinSig>,
    /// The library's number of each member, in committee order.
    order: Vec<Participant>,
    /// This member's share.
    share: Option<SecretShare>,
}

impl fmt::Debug for BlsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlsKeys")
            .field("members", &self.members())
            .field("index", &self.index())
            .finish_non_exhaustive()
    }
}

impl BlsKeys {
    /// Puts keys together; `None` if they do not fit: the polynomial must have the degree of the
    /// fault model, and the share must lie on it.
    fn new(
        sharing: Sharing<MinSig>,
        order: Vec<Participant>,
        share: Option<SecretShare>,
    ) -> Option<Self> {
        let n = u32::try_from(order.len()).ok()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let permutes = sorted.iter().zip(0..).all(|(have, want)| have.get() == want);
        let fits = n > 0
            && permutes
            && sharing.total().get() == n
            && sharing.required() == N3f1::quorum(n)
            // Identity encryption to the neutral element would hide nothing.
            && *sharing.public() != <MinSig as Variant>::Public::zero();
        let on_polynomial = |share: &SecretShare| {
            sharing
                .partial_public(share.index)
                .is_ok_and(|public| public == share.public::<MinSig>())
        };
        if !fits || !share.as_ref().is_none_or(on_polynomial) {
            return None;
        }
        Some(Self(Arc::new(Keys { sharing, order, share })))
    }

    /// An observer's keys, from the public key material ([`Threshold::public`]) in the record of a
    /// view of `n` members; `None` if it is malformed or for another number of members.
    #[must_use]
    pub fn from_public(bytes: &[u8], n: usize) -> Option<Self> {
        let (sharing, order) = decode_public(bytes)?;
        if order.len() != n {
            return None;
        }
        Self::new(sharing, order, None)
    }

    /// How many members the committee has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.0.order.len()
    }

    /// How many shares make a joint signature: `n - f`.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.0.sharing.required() as usize
    }

    /// Place of this member in the committee; `None` for an observer.
    #[must_use]
    pub fn index(&self) -> Option<NodeIndex> {
        let share = self.0.share.as_ref()?;
        let place = self.0.order.iter().position(|of| *of == share.index)?;
        u16::try_from(place).ok().map(NodeIndex)
    }

    /// The library's number of a member.
    fn participant(&self, member: NodeIndex) -> Option<Participant> {
        self.0.order.get(member.get()).copied()
    }

    /// Reads the share of `from`; `None` if it is malformed or not its sender's.
    fn read_share(&self, from: NodeIndex, share: &Share) -> Option<PartialSignature<MinSig>> {
        let partial = PartialSignature::<MinSig>::decode(Copying(share)).ok()?;
        (self.participant(from) == Some(partial.index)).then_some(partial)
    }

    /// Recovers from the given shares, and checks the result.
    fn recover<'a>(
        &self,
        purpose: Purpose,
        target: &[u8],
        partials: impl Iterator<Item = &'a PartialSignature<MinSig>>,
    ) -> Option<Signature> {
        let joint = threshold::recover::<MinSig, _>(&self.0.sharing, partials, &Sequential).ok()?;
        self.is_joint(purpose, target, &joint).then_some(joint)
    }

    fn is_joint(&self, purpose: Purpose, target: &[u8], joint: &Signature) -> bool {
        let public = self.0.sharing.public();
        ops::verify_message::<MinSig>(public, namespace(purpose), target, joint).is_ok()
    }

    /// The slow path of combining: who sent a wrong share.
    fn wrong_shares(
        &self,
        purpose: Purpose,
        target: &[u8],
        shares: &BTreeMap<NodeIndex, Share>,
    ) -> Vec<NodeIndex> {
        let mut read = BTreeMap::new();
        let mut bad = Vec::new();
        let mut seed = Hasher::new("quorate.bls.shares.v1").field(namespace(purpose)).field(target);
        for (from, share) in shares {
            seed = seed.u64(u64::from(from.0)).field(share);
            match self.read_share(*from, share) {
                Some(partial) => {
                    read.insert(*from, partial);
                }
                None => bad.push(*from),
            }
        }
        if let Some(partials) = NonEmpty::try_new(read.values()) {
            let checked = threshold::batch_verify_same_message(
                &mut weights(seed.finish()),
                &self.0.sharing,
                namespace(purpose),
                target,
                partials,
                &Sequential,
            );
            let wrong: Vec<Participant> = match checked {
                Ok(()) => Vec::new(),
                Err(wrong) => wrong.into_iter().map(|partial| partial.index).collect(),
            };
            let wrong = |partial: &PartialSignature<MinSig>| wrong.contains(&partial.index);
            bad.extend(read.iter().filter(|(_, partial)| wrong(partial)).map(|(from, _)| *from));
        }
        bad.sort_unstable();
        bad
    }
}

impl Threshold for BlsKeys {
    fn sign_share(&self, purpose: Purpose, target: &[u8]) -> Option<Share> {
        let share = self.0.share.as_ref()?;
        let partial = threshold::sign_message::<MinSig>(share, namespace(purpose), target);
        Some(partial.encode().into())
    }

    fn combine(
        &self,
        purpose: Purpose,
        target: &[u8],
        shares: &BTreeMap<NodeIndex, Share>,
    ) -> Result<Joint, CombineError> {
        let need = self.threshold();
        if shares.len() < need {
            return Err(CombineError::TooFew { have: shares.len(), need });
        }
        // Decoding a share costs a subgroup check, so no more are decoded than are needed.
        let mut partials = Vec::with_capacity(need);
        for (from, share) in shares {
            partials.extend(self.read_share(*from, share));
            if partials.len() == need {
                break;
            }
        }
        if partials.len() == need
            && let Some(joint) = self.recover(purpose, target, partials.iter())
        {
            return Ok(joint.encode().into());
        }
        Err(CombineError::BadShares(self.wrong_shares(purpose, target, shares)))
    }

    fn verify(&self, purpose: Purpose, target: &[u8], joint: &Joint) -> bool {
        Signature::decode(Copying(joint)).is_ok_and(|joint| self.is_joint(purpose, target, &joint))
    }

    fn seal(
        &self,
        rng: &mut impl CryptoRng,
        target: &[u8],
        header: &[u8],
        plaintext: &[u8],
    ) -> Vec<u8> {
        let key = SymmetricKey::generate(rng);
        let locked = tle::encrypt::<_, MinSig>(
            rng,
            *self.0.sharing.public(),
            (namespace(Purpose::Decryption), target),
            &tle::Block::new(key.0),
        )
        .expect("the joint key was checked not to be the neutral element");
        let mut sealed = Vec::from(locked.encode());
        sealed.extend(cipher::seal(&key, rng, &bound_to(target, header).0, plaintext));
        sealed
    }

    fn open(
        &self,
        target: &[u8],
        header: &[u8],
        sealed: &[u8],
        joint: &Joint,
    ) -> Result<Vec<u8>, OpenError> {
        let (locked, payload) = sealed.split_at_checked(SEALED_KEY).ok_or(OpenError)?;
        let locked = tle::Ciphertext::<MinSig>::decode(Copying(locked)).map_err(|_| OpenError)?;
        let joint = Signature::decode(Copying(joint)).map_err(|_| OpenError)?;
        let key = tle::decrypt::<MinSig>(&joint, &locked).ok_or(OpenError)?;
        let key = SymmetricKey::from_slice(key.as_ref()).ok_or(OpenError)?;
        cipher::open(&key, &bound_to(target, header).0, payload).map_err(|_| OpenError)
    }

    fn public(&self) -> Vec<u8> {
        let mut bytes = vec![LAYOUT];
        // A committee has at most MAX_MEMBERS members, so the numbers fit.
        bytes.extend_from_slice(&(self.0.order.len() as u16).to_be_bytes());
        for participant in &self.0.order {
            bytes.extend_from_slice(&(participant.get() as u16).to_be_bytes());
        }
        bytes.extend_from_slice(&self.0.sharing.encode());
        bytes
    }
}

/// What a sealed payload is bound to.
fn bound_to(target: &[u8], header: &[u8]) -> Digest {
    Hasher::new("quorate.sealed.v1").field(target).field(header).finish()
}

/// Reads the layout of [`Threshold::public`]; whether its parts fit is not checked here.
fn decode_public(bytes: &[u8]) -> Option<(Sharing<MinSig>, Vec<Participant>)> {
    let (layout, rest) = bytes.split_first()?;
    let (n, rest) = rest.split_first_chunk::<2>()?;
    let n = u16::from_be_bytes(*n);
    if *layout != LAYOUT || usize::from(n) > MAX_MEMBERS {
        return None;
    }
    let (order, sharing) = rest.split_at_checked(2 * usize::from(n))?;
    let order = order
        .chunks_exact(2)
        .map(|of| Participant::new(u32::from(u16::from_be_bytes([of[0], of[1]]))))
        .collect();
    let config = (NonZeroU32::new(u32::from(n))?, ModeVersion::v0());
    let sharing = Sharing::<MinSig>::decode_cfg(Copying(sharing), &config).ok()?;
    Some((sharing, order))
}

/// Writes secret keys: `layout, 1 if there is a share, length of the public part (4), public part,
/// share`.
fn encode_keys(keys: &BlsKeys) -> Vec<u8> {
    let public = keys.public();
    let mut bytes = vec![LAYOUT, u8::from(keys.0.share.is_some())];
    bytes.extend_from_slice(&(public.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&public);
    if let Some(share) = &keys.0.share {
        let share = Zeroizing::new(Vec::from(share.encode()));
        bytes.extend_from_slice(&share);
    }
    bytes
}

/// Reads what [`encode_keys`] wrote.
fn decode_keys(bytes: &[u8]) -> Option<BlsKeys> {
    let ([layout, has_share], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (public, share) = rest.split_at_checked(length)?;
    let share = match (*layout, *has_share) {
        (LAYOUT, 0) if share.is_empty() => None,
        (LAYOUT, 1) => Some(SecretShare::decode(Copying(share)).ok()?),
        _ => return None,
    };
    let (sharing, order) = decode_public(public)?;
    BlsKeys::new(sharing, order, share)
}

#[cfg(test)]
mod tests;
