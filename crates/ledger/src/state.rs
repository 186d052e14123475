//! The state of a group: named maps, changed only by the write sets of blocks.
//!
//! Executing a block reads through a [`StateView`] and collects a [`WriteSet`]; its digest goes
//! into the block's header, so that every node can tell whether it executed alike; then the set is
//! applied. Everything is in canonical order: by map name, then by key.

mod key;
mod small_map;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use compact_str::CompactString;
use quorate_crypto::hash::{Digest, Hasher};

pub use self::key::Key;
use self::small_map::SmallMap;
use crate::codec::{Canonical, CodecError, Reader, Writer};

/// Longest map name, in bytes.
pub const MAX_MAP_NAME: usize = 128;
/// Longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// Longest value, in bytes: a block's content fits.
pub const MAX_VALUE: usize = 1024 * 1024;
/// Most writes in a set.
pub const MAX_WRITES: usize = 65_536;
/// Most entries of a snapshot.
pub const MAX_ENTRIES: usize = 64 * 1024 * 1024;

/// A value, shared between state, snapshots and readers.
pub type Value = Arc<[u8]>;
/// The name of a map: short ones need no memory of their own.
pub type MapName = CompactString;
pub(crate) type Entries = BTreeMap<Key, Value>;
/// What is written to a map: a value put, or `None` for a delete.
pub(crate) type Rows = SmallMap<Key, Option<Value>>;

/// Named maps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// Never holds an empty map, so that equal contents are equal states.
    maps: BTreeMap<MapName, Entries>,
}

impl State {
    /// The empty state.
    #[must_use]
    pub const fn new() -> Self {
        Self { maps: BTreeMap::new() }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, map: &str, key: &[u8]) -> Option<&Value> {
        self.maps.get(map)?.get(key)
    }

    /// The entries of a map in key order.
    pub fn iter(&self, map: &str) -> impl DoubleEndedIterator<Item = (&[u8], &Value)> {
        self.maps.get(map).into_iter().flatten().map(|(key, value)| (&**key, value))
    }

    /// The entries of a map from key `from` on, in key order.
    pub fn iter_from<'a>(
        &'a self,
        map: &str,
        from: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a Value)> {
        let range = (Bound::Included(from), Bound::Unbounded);
        let entries = self.maps.get(map).map(|entries| entries.range::<[u8], _>(range));
        entries.into_iter().flatten().map(|(key, value)| (&**key, value))
    }

    /// Names of the maps that have entries.
    pub fn maps(&self) -> impl Iterator<Item = &str> {
        self.maps.keys().map(MapName::as_str)
    }

    /// Number of entries of a map.
    #[must_use]
    pub fn len(&self, map: &str) -> usize {
        self.maps.get(map).map_or(0, BTreeMap::len)
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// Applies the writes.
    pub fn apply(&mut self, writes: &WriteSet) {
        for (map, rows) in writes.maps.iter() {
            let entries = match self.maps.get_mut(map) {
                Some(entries) => entries,
                None => self.maps.entry(map.clone()).or_default(),
            };
            for (key, value) in rows.iter() {
                match value {
                    Some(value) => entries.insert(key.clone(), value.clone()),
                    None => entries.remove(key),
                };
            }
            if entries.is_empty() {
                self.maps.remove(map);
            }
        }
    }

    /// Adds a map that is not there yet. Sizes have been checked; there is at least one entry.
    pub(crate) fn add_map(&mut self, map: &str, entries: Entries) {
        assert!(!entries.is_empty(), "a map has entries");
        let before = self.maps.insert(map.into(), entries);
        assert!(before.is_none(), "the map is not in the state yet");
    }

    /// Digest of all contents.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("quorate.state.v1").u64(self.maps.len() as u64);
        for (map, entries) in &self.maps {
            hasher = hasher.field(map.as_bytes()).u64(entries.len() as u64);
            for (key, value) in entries {
                hasher = hasher.field(key).field(value);
            }
        }
        hasher.finish()
    }
}

/// A snapshot of the whole state.
impl Canonical for State {
    const MAX_BYTES: usize = 4 * 1024 * 1024 * 1024 - 1;

    fn write(&self, writer: &mut Writer) {
        writer.count(self.maps.len());
        for (map, entries) in &self.maps {
            writer.bytes(map.as_bytes());
            writer.count(entries.len());
            for (key, value) in entries {
                writer.bytes(key);
                writer.bytes(value);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut maps = BTreeMap::new();
        for _ in 0..reader.count("maps", MAX_ENTRIES)? {
            let map = read_name(reader)?;
            require_ascending("map order", maps.last_key_value().map(|(last, _)| last), &map)?;
            let mut entries = Entries::new();
            for _ in 0..reader.count("entries", MAX_ENTRIES)? {
                let key = Key::from(reader.bytes("key", MAX_KEY)?);
                require_ascending("key order", entries.last_key_value().map(|(k, _)| k), &key)?;
                entries.insert(key, reader.bytes("value", MAX_VALUE)?.into());
            }
            if entries.is_empty() {
                return Err(CodecError::Invalid("empty map"));
            }
            maps.insert(map, entries);
        }
        Ok(Self { maps })
    }
}

fn read_name(reader: &mut Reader<'_>) -> Result<MapName, CodecError> {
    Ok(reader.text("map name", MAX_MAP_NAME)?.into())
}

fn require_ascending<T: Ord>(
    what: &'static str,
    last: Option<&T>,
    next: &T,
) -> Result<(), CodecError> {
    if last.is_some_and(|last| last >= next) { Err(CodecError::Invalid(what)) } else { Ok(()) }
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {length} bytes are more than the limit of {limit}")]
pub struct WriteError {
    /// "map name", "key", "value" or "write set" (whose unit is writes).
    pub what: &'static str,
    /// Its length.
    pub length: usize,
    /// The limit.
    pub limit: usize,
}

/// Checks the sizes of one write.
///
/// # Errors
/// [`WriteError`] if the name, key or value is too long.
pub fn check_write(map: &str, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
    let lengths = [
        ("map name", map.len(), MAX_MAP_NAME),
        ("key", key.len(), MAX_KEY),
        ("value", value.len(), MAX_VALUE),
    ];
    for (what, length, limit) in lengths {
        if length > limit {
            return Err(WriteError { what, length, limit });
        }
    }
    Ok(())
}

/// Writes to named maps, the last to a key counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteSet {
    /// Never holds an empty map.
    maps: SmallMap<MapName, Rows>,
    writes: usize,
}

impl WriteSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { maps: SmallMap::new(), writes: 0 }
    }

    /// Puts a value.
    ///
    /// # Errors
    /// [`WriteError`]; nothing has changed.
    pub fn put(
        &mut self,
        map: &str,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<(), WriteError> {
        self.insert(map, key.as_ref(), Some(value.into()))
    }

    /// Deletes a key. Deleting what is not there is a write too.
    ///
    /// # Errors
    /// [`WriteError`]; nothing has changed.
    pub fn delete(&mut self, map: &str, key: impl AsRef<[u8]>) -> Result<(), WriteError> {
        self.insert(map, key.as_ref(), None)
    }

    fn insert(&mut self, map: &str, key: &[u8], value: Option<Value>) -> Result<(), WriteError> {
        check_write(map, key, value.as_deref().unwrap_or_default())?;
        let known = self.get(map, key).is_some();
        if !known && self.writes == MAX_WRITES {
            let (length, limit) = (self.writes + 1, MAX_WRITES);
            return Err(WriteError { what: "write set", length, limit });
        }
        self.writes += usize::from(!known);
        if let Some(rows) = self.maps.get_mut(map) {
            rows.insert(key.into(), value);
        } else {
            let mut rows = Rows::new();
            rows.insert(key.into(), value);
            self.maps.insert(map.into(), rows);
        }
        Ok(())
    }

    /// What the set says about a key: nothing, a delete (`Some(None)`) or a value.
    #[must_use]
    pub fn get(&self, map: &str, key: &[u8]) -> Option<Option<&Value>> {
        self.maps.get(map)?.get(key).map(Option::as_ref)
    }

    /// Number of writes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.writes
    }

    /// Whether nothing is written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes == 0
    }

    /// All writes in canonical order: map, key, value put (`None`: deleted).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8], Option<&Value>)> {
        self.by_map().flat_map(|(map, rows)| {
            rows.iter().map(move |(key, value)| (map, &**key, value.as_ref()))
        })
    }

    /// The maps written to, in the order of their names, each with its writes in the order of keys.
    pub(crate) fn by_map(&self) -> impl Iterator<Item = (&str, &Rows)> + Clone {
        self.maps.iter().map(|(map, rows)| (map.as_str(), rows))
    }

    /// What is written to a map.
    pub(crate) fn rows(&self, map: &str) -> impl Iterator<Item = (&Key, Option<&Value>)> {
        let rows = self.maps.get(map).map(Rows::iter);
        rows.into_iter().flatten().map(|(key, value)| (key, value.as_ref()))
    }

    /// Adds the writes of one map, which the set does not have yet. Sizes have been checked.
    pub(crate) fn add_map(&mut self, map: &str, rows: Rows) {
        self.writes += rows.len();
        let before = self.maps.insert(map.into(), rows);
        assert!(before.is_none(), "the map is not in the set yet");
    }

    /// Digest of the set: `write_set` of the block's header.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("quorate.write-set.v1").u64(self.writes as u64);
        for (map, key, value) in self.iter() {
            hasher = hasher.field(map.as_bytes()).field(key);
            hasher = match value {
                Some(value) => hasher.u64(1).field(value),
                None => hasher.u64(0),
            };
        }
        hasher.finish()
    }
}

impl Canonical for WriteSet {
    const MAX_BYTES: usize = 64 * 1024 * 1024;

    fn write(&self, writer: &mut Writer) {
        writer.count(self.maps.len());
        for (map, rows) in self.by_map() {
            writer.bytes(map.as_bytes());
            writer.count(rows.len());
            for (key, value) in rows.iter() {
                writer.bytes(key);
                writer.u8(u8::from(value.is_some()));
                if let Some(value) = value {
                    writer.bytes(value);
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut set = Self::new();
        for _ in 0..reader.count("maps", MAX_WRITES)? {
            let map = read_name(reader)?;
            require_ascending("map order", set.maps.last().map(|(last, _)| last), &map)?;
            let mut rows = Rows::new();
            for _ in 0..reader.count("writes", MAX_WRITES - set.writes)? {
                let key = Key::from(reader.bytes("key", MAX_KEY)?);
                require_ascending("key order", rows.last().map(|(k, _)| k), &key)?;
                let value = match reader.u8()? {
                    0 => None,
                    1 => Some(reader.bytes("value", MAX_VALUE)?.into()),
                    _ => return Err(CodecError::Invalid("write")),
                };
                rows.insert(key, value);
            }
            if rows.is_empty() {
                return Err(CodecError::Invalid("empty map"));
            }
            set.add_map(&map, rows);
        }
        Ok(set)
    }
}

/// A state as it will be: a base, and the writes collected so far over it.
#[derive(Clone, Debug)]
pub struct StateView<'a> {
    base: &'a State,
    writes: WriteSet,
}

impl<'a> StateView<'a> {
    /// A view of `base` without writes.
    #[must_use]
    pub const fn new(base: &'a State) -> Self {
        Self { base, writes: WriteSet::new() }
    }

    /// A view of `base` with writes collected before.
    #[must_use]
    pub const fn with_writes(base: &'a State, writes: WriteSet) -> Self {
        Self { base, writes }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, map: &str, key: &[u8]) -> Option<&Value> {
        self.writes.get(map, key).unwrap_or_else(|| self.base.get(map, key))
    }

    /// The entries of a map in key order.
    pub fn iter(&self, map: &str) -> impl Iterator<Item = (&[u8], &Value)> {
        self.iter_from(map, &[])
    }

    /// The entries of a map from key `from` on, in key order.
    pub fn iter_from<'b>(
        &'b self,
        map: &str,
        from: &[u8],
    ) -> impl Iterator<Item = (&'b [u8], &'b Value)> {
        let rows = self.writes.maps.get(map).map(|rows| rows.iter_from(from));
        let mut written = rows.into_iter().flatten().peekable();
        let mut base = self.base.iter_from(map, from).peekable();
        std::iter::from_fn(move || {
            loop {
                let below = match (written.peek(), base.peek()) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some((key, _)), Some((base_key, _))) => *base_key < &***key,
                };
                if below {
                    return base.next();
                }
                let (key, value) = written.next()?;
                base.next_if(|(base_key, _)| *base_key == &**key);
                if let Some(value) = value {
                    return Some((&**key, value));
                }
            }
        })
    }

    /// Puts a value.
    ///
    /// # Errors
    /// [`WriteError`]; nothing has changed.
    pub fn put(
        &mut self,
        map: &str,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<(), WriteError> {
        self.writes.put(map, key, value)
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// [`WriteError`]; nothing has changed.
    pub fn delete(&mut self, map: &str, key: impl AsRef<[u8]>) -> Result<(), WriteError> {
        self.writes.delete(map, key)
    }

    /// The writes collected.
    #[must_use]
    pub const fn writes(&self) -> &WriteSet {
        &self.writes
    }

    /// Ends the view with its writes.
    #[must_use]
    pub fn into_writes(self) -> WriteSet {
        self.writes
    }
}

#[cfg(test)]
mod tests;
