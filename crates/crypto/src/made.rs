//! Signatures in a thread that runs all members of a network: remembered, stood in for, or made the
//! same way every time.
//!
//! Whoever made a signature knows that it verifies. A node gains little by that; in a program that
//! runs all members of a network in one thread nearly every signature is made in the thread that
//! checks it. So nothing is remembered unless [`remember`] was called. Whether it was or not, the
//! same signatures verify: what was altered on its way, or made by anybody else, is not known here
//! and is checked as ever.
//!
//! A simulator goes further for most of its seeds: it has [`stand_in`] put a hash of its own in
//! place of each signature, of members and of views, and of each exchange of keys that a dealing is
//! sealed with. What is then accepted is worth nothing outside
//! that thread. This crate has no such hash, and a test of the workspace sees to it that nobody but
//! the simulator names this module.
//!
//! ECDSA on P-256 is the one signature here that draws randomness. For a seed to be the same twice
//! a simulator has it [`repeat`]ed; what is accepted does not change.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::hash::Digest;

/// So many signatures are remembered at least, the last ones made; and at most twice as many.
pub const REMEMBERED: usize = 8 * 1024;

/// What a signature is by and of.
#[derive(PartialEq, Eq)]
struct Claim {
    key: Vec<u8>,
    domain: String,
    digest: Digest,
}

#[derive(Default)]
struct Made {
    /// The last ones, by their R and S.
    young: BTreeMap<[u8; 64], Claim>,
    /// Those before.
    old: BTreeMap<[u8; 64], Claim>,
}

/// 32 bytes for a key, a domain and a digest that nothing else has: half of what stands in for the
/// signature. The other half are the last 32 bytes of the key.
pub type StandIn = fn(key: &[u8], domain: &str, digest: &Digest) -> [u8; 32];

/// What this thread does with signatures.
enum Mode {
    /// It makes and checks them.
    Plain,
    /// It makes them, and checks those that it has not made.
    Remembers(Made),
    /// It makes and checks none.
    StandsIn(StandIn),
    /// It makes and checks them, and makes each the same way every time.
    Repeats,
}

thread_local! {
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Plain) };
}

/// While this lives, its thread remembers signatures, stands in for them or repeats them.
#[derive(Debug)]
#[must_use = "the thread forgets when this is dropped"]
pub struct Memory(());

/// Lets this thread remember the signatures that it makes from now on.
pub fn remember() -> Memory {
    MODE.set(Mode::Remembers(Made::default()));
    Memory(())
}

/// Lets this thread make and accept `half` instead of signatures from now on.
pub fn stand_in(half: StandIn) -> Memory {
    MODE.set(Mode::StandsIn(half));
    Memory(())
}

/// Lets the keys on P-256 that this thread makes from now on sign the same way every time
/// (RFC 6979).
pub fn repeat() -> Memory {
    MODE.set(Mode::Repeats);
    Memory(())
}

/// Whether this thread knows its own signatures without checking them.
#[must_use]
pub fn remembers() -> bool {
    MODE.with_borrow(|mode| matches!(mode, Mode::Remembers(_) | Mode::StandsIn(_)))
}

/// Whether keys that are made now sign the same way every time.
pub(crate) fn repeats() -> bool {
    MODE.with_borrow(|mode| matches!(mode, Mode::Repeats))
}

impl Drop for Memory {
    fn drop(&mut self) {
        MODE.set(Mode::Plain);
    }
}

/// What stands in for the secret that a drawn key shares with its receiver's, if this thread makes no
/// exchange: then what was drawn goes over the wire in place of its public key.
pub(crate) fn exchange(drawn: &[u8; 32], receiver: &[u8; 32]) -> Option<[u8; 32]> {
    instead(receiver, "quorate.exchange", &Digest(*drawn)).map(|bytes| {
        let (half, _) = bytes.split_first_chunk().expect("64 bytes");
        *half
    })
}

/// What stands in for the signature, if this thread makes none.
pub(crate) fn instead(key: &[u8], domain: &str, digest: &Digest) -> Option<[u8; 64]> {
    let half = MODE.with_borrow(|mode| match mode {
        Mode::StandsIn(half) => Some(*half),
        Mode::Plain | Mode::Remembers(_) | Mode::Repeats => None,
    })?;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&half(key, domain, digest));
    bytes[32..].copy_from_slice(&key[key.len() - 32..]);
    Some(bytes)
}

/// A signature has been made. Keys of different kinds have different lengths.
pub(crate) fn note(key: &[u8], domain: &str, digest: &Digest, signature: &[u8; 64]) {
    MODE.with_borrow_mut(|mode| {
        let Mode::Remembers(made) = mode else { return };
        if made.young.len() == REMEMBERED {
            made.old = std::mem::take(&mut made.young);
        }
        let claim = Claim { key: key.to_vec(), domain: domain.to_owned(), digest: *digest };
        made.young.insert(*signature, claim);
    });
}

/// Whether this is the signature of this digest in this domain with this key, if that is known
/// without checking it: it was made here, or this thread stands in for all signatures.
pub(crate) fn known(key: &[u8], domain: &str, digest: &Digest, signature: &[u8]) -> Option<bool> {
    if let Some(instead) = instead(key, domain, digest) {
        return Some(signature == instead);
    }
    let signature = <&[u8; 64]>::try_from(signature).ok()?;
    MODE.with_borrow(|mode| {
        let Mode::Remembers(made) = mode else { return None };
        let claim = made.young.get(signature).or_else(|| made.old.get(signature))?;
        (claim.key == key && claim.domain == domain && claim.digest == *digest).then_some(true)
    })
}

#[cfg(test)]
mod tests;
