//! Signatures that were made in this thread, so that they need not be checked in it again.
//!
//! Whoever made a signature knows that it verifies. A node gains little by that; in a program that
//! runs all members of a network in one thread nearly every signature is made in the thread that
//! checks it. So nothing is remembered unless [`remember`] was called. Whether it was or not, the
//! same signatures verify: what was altered on its way, or made by anybody else, is not known here
//! and is checked as ever.

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

thread_local! {
    static MADE: RefCell<Option<Made>> = const { RefCell::new(None) };
}

/// While this lives, its thread remembers the signatures made in it.
#[derive(Debug)]
#[must_use = "the thread forgets when this is dropped"]
pub struct Memory(());

/// Lets this thread remember the signatures that it makes from now on.
pub fn remember() -> Memory {
    MADE.set(Some(Made::default()));
    Memory(())
}

/// Whether this thread remembers.
#[must_use]
pub fn remembers() -> bool {
    MADE.with_borrow(Option::is_some)
}

impl Drop for Memory {
    fn drop(&mut self) {
        MADE.set(None);
    }
}

/// A signature has been made. Keys of different kinds have different lengths.
pub(crate) fn note(key: &[u8], domain: &str, digest: &Digest, signature: &[u8; 64]) {
    MADE.with_borrow_mut(|made| {
        let Some(made) = made else { return };
        if made.young.len() == REMEMBERED {
            made.old = std::mem::take(&mut made.young);
        }
        let claim = Claim { key: key.to_vec(), domain: domain.to_owned(), digest: *digest };
        made.young.insert(*signature, claim);
    });
}

/// Whether this very signature, of this digest in this domain with this key, was made here.
pub(crate) fn known(key: &[u8], domain: &str, digest: &Digest, signature: &[u8]) -> bool {
    let Ok(signature) = <&[u8; 64]>::try_from(signature) else { return false };
    MADE.with_borrow(|made| {
        let Some(made) = made else { return false };
        let claim = made.young.get(signature).or_else(|| made.old.get(signature));
        claim.is_some_and(|c| c.key == key && c.domain == domain && c.digest == *digest)
    })
}

#[cfg(test)]
mod tests;
