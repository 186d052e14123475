//! Points of keys that have been found before.
//!
//! A compressed point names one of its coordinates; to find the other takes a square root, a tenth
//! of a verification, and every trx, block and packet names keys. A group has few members, so each
//! thread keeps the points it found last. What is kept is a pure function of the key: whether it is
//! kept changes nothing but the time it takes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use secp256k1::PublicKey;

/// Most points a thread keeps. When there are so many, it begins anew.
pub(super) const MOST: usize = 1_024;

thread_local! {
    static FOUND: RefCell<BTreeMap<[u8; 33], PublicKey>> = const { RefCell::new(BTreeMap::new()) };
}

/// The point with this compressed form, if it is one of the curve.
pub(super) fn find(key: &[u8; 33]) -> Option<PublicKey> {
    FOUND.with_borrow_mut(|found| {
        if let Some(point) = found.get(key) {
            return Some(*point);
        }
        let point = PublicKey::from_byte_array_compressed(*key).ok()?;
        if found.len() >= MOST {
            found.clear();
        }
        found.insert(*key, point);
        Some(point)
    })
}

/// How many points this thread keeps.
#[cfg(test)]
pub(super) fn kept() -> usize {
    FOUND.with_borrow(BTreeMap::len)
}
