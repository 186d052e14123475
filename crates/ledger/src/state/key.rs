//! Keys of maps.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// Keys that are not longer need no memory of their own, so that a search in a tree of keys stays in
/// the nodes of the tree.
const SHORT: usize = 24;

/// A key, in the order of its bytes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(SmallVec<[u8; SHORT]>);

// The derived one would go byte by byte.
impl Clone for Key {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// `Ord` and `Eq` of keys are those of their bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}
