//! An ordered map that needs no memory of its own for one entry.
//!
//! A transaction mostly writes one key of one map. Nodes of B-trees, each of half a kilobyte, would
//! cost more than all else that is done with it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

use smallvec::SmallVec;

/// Most entries that stand in a sorted vector. To insert into one takes time in proportion to its
/// length, and outsiders say how many there are.
const FEW: usize = 16;

/// An ordered map, mostly of one entry.
#[derive(Clone, Debug)]
pub enum SmallMap<K, V> {
    /// At most [`FEW`], sorted.
    Few(SmallVec<[(K, V); 1]>),
    /// More.
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SmallMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SmallMap<K, V> {}

impl<K, V> SmallMap<K, V> {
    /// The empty map.
    pub const fn new() -> Self {
        Self::Few(SmallVec::new_const())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (&[][..], Some(many)),
        };
        few.iter().map(|(key, value)| (key, value)).chain(many.into_iter().flatten())
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    fn place<Q: Ord + ?Sized>(few: &[(K, V)], key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        few.binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => Self::place(few, key).ok().map(|at| &few[at].1),
            Self::Many(many) => many.get(key),
        }
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => Self::place(few, key).ok().map(|at| &mut few[at].1),
            Self::Many(many) => many.get_mut(key),
        }
    }

    /// Puts a value in the place of a key: the value that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::Many(many) => many.insert(key, value),
            Self::Few(few) => {
                match Self::place(few, &key) {
                    Ok(at) => return Some(std::mem::replace(&mut few[at].1, value)),
                    Err(at) if few.len() < FEW => few.insert(at, (key, value)),
                    Err(_) => {
                        let mut many: BTreeMap<K, V> = few.drain(..).collect();
                        many.insert(key, value);
                        *self = Self::Many(many);
                    }
                }
                None
            }
        }
    }

    /// The last entry.
    pub fn last(&self) -> Option<(&K, &V)> {
        match self {
            Self::Few(few) => few.last().map(|(key, value)| (key, value)),
            Self::Many(many) => many.last_key_value(),
        }
    }

    /// The entries from a key on, in order.
    pub fn iter_from<Q: Ord + ?Sized>(&self, from: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let range = (Bound::Included(from), Bound::Unbounded);
        let (few, many) = match self {
            Self::Few(few) => {
                let first = few.partition_point(|(key, _)| key.borrow() < from);
                (&few[first..], None)
            }
            Self::Many(many) => (&[][..], Some(many.range::<Q, _>(range))),
        };
        few.iter().map(|(key, value)| (key, value)).chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is a `BTreeMap`, however many entries there are.
        #[test]
        fn it_behaves_as_any_ordered_map(
            pairs in vec((0..40_u8, any::<u8>()), 0..60),
            asked in 0..40_u8,
        ) {
            let (mut map, mut model) = (SmallMap::new(), BTreeMap::new());
            for (key, value) in pairs {
                prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.last(), model.last_key_value());
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(matches!(map, SmallMap::Few(_)), model.len() <= FEW);
            }
            prop_assert_eq!(map.get(&asked), model.get(&asked));
            prop_assert!(map.iter_from(&asked).eq(model.range(asked..)));
            let again: SmallMap<u8, u8> =
                model.iter().rev().fold(SmallMap::new(), |mut again, (key, value)| {
                    again.insert(*key, *value);
                    again
                });
            prop_assert_eq!(&again, &map);
            if let Some(value) = map.get_mut(&asked) {
                *value = value.wrapping_add(1);
                prop_assert_ne!(&again, &map);
            }
            prop_assert!(again.iter().eq(&model));
        }
    }
}
