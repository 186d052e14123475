//! The key-value state of a member: what is committed, and the writes after it.
//!
//! Committed state is exact: writes enter it when they are committed, in order, never before. What
//! was appended and is not committed lies over it; rolling back takes it off again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use quorate_consensus::raft::Seqno;
use quorate_ledger::mutants::{Mutant, mutated};
use quorate_ledger::state::{Key, MapName, State, Value, WriteSet};

type Row<'a> = (&'a [u8], &'a Value);

/// The newest pending write of each key of a map, and its transaction.
type Over = BTreeMap<Key, (Seqno, Option<Value>)>;

/// Committed state and the writes over it.
#[derive(Debug, Default)]
pub struct Store {
    committed: State,
    commit_idx: Seqno,
    pending: VecDeque<(Seqno, WriteSet)>,
    /// The newest pending write of each key.
    over: BTreeMap<MapName, Over>,
}

impl Store {
    /// A store whose committed state is that of a snapshot at `seqno`.
    pub const fn from_snapshot(state: State, seqno: Seqno) -> Self {
        Self {
            committed: state,
            commit_idx: seqno,
            pending: VecDeque::new(),
            over: BTreeMap::new(),
        }
    }

    /// What is committed.
    pub const fn committed(&self) -> &State {
        &self.committed
    }

    /// Takes the committed state out, to be put back with [`Store::put_back`]: it is not copied.
    pub fn take_out(&mut self) -> State {
        std::mem::take(&mut self.committed)
    }

    /// Puts back what was taken out.
    pub fn put_back(&mut self, committed: State) {
        self.committed = committed;
    }

    /// The last transaction in [`Store::committed`].
    pub const fn commit_idx(&self) -> Seqno {
        self.commit_idx
    }

    /// A value as of the last transaction appended.
    pub fn head(&self, map: &str, key: &[u8]) -> Option<&Value> {
        match self.over.get(map).and_then(|keys| keys.get(key)) {
            Some((_, value)) => value.as_ref(),
            None => self.committed.get(map, key),
        }
    }

    /// Entries of a map from key `from` on, as of the last transaction appended.
    pub fn head_from<'a>(
        &'a self,
        map: &str,
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a Value)> {
        let range = (Bound::Included(from), Bound::Unbounded);
        let over = self.over.get(map).map(|keys| keys.range::<[u8], _>(range));
        let over = over.into_iter().flatten();
        let over = over.map(|(key, (_, value))| (&**key, value.as_ref()));
        merge(self.committed.iter_from(map, from), over)
    }

    /// Transactions that are not committed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The transaction `seqno` was appended.
    pub fn append(&mut self, seqno: Seqno, writes: WriteSet) {
        self.cover(seqno, &writes);
        self.pending.push_back((seqno, writes));
    }

    fn cover(&mut self, seqno: Seqno, writes: &WriteSet) {
        for (map, key, value) in writes.iter() {
            let keys = match self.over.get_mut(map) {
                Some(keys) => keys,
                None => self.over.entry(map.into()).or_default(),
            };
            keys.insert(key.into(), (seqno, value.cloned()));
        }
    }

    /// The next transaction in the committed state, if it is not after `seqno`: what it wrote.
    pub fn commit_next(&mut self, seqno: Seqno) -> Option<(Seqno, WriteSet)> {
        let next = self.pending.front().filter(|(at, _)| *at <= seqno).map(|(at, _)| *at)?;
        let (_, writes) = self.pending.pop_front()?;
        self.committed.apply(&writes);
        self.commit_idx = next;
        for (map, key, _) in writes.iter() {
            let Some(keys) = self.over.get_mut(map) else { continue };
            if keys.get(key).is_some_and(|(at, _)| *at <= next) {
                keys.remove(key);
            }
            if keys.is_empty() {
                self.over.remove(map);
            }
        }
        Some((next, writes))
    }

    /// Takes back everything after `after`.
    pub fn roll_back(&mut self, after: Seqno) {
        while self.pending.back().is_some_and(|(at, _)| *at > after) {
            self.pending.pop_back();
        }
        if !mutated(Mutant::CftRollbackKeepsState) {
            self.over.clear();
        }
        let pending = std::mem::take(&mut self.pending);
        for (seqno, writes) in &pending {
            self.cover(*seqno, writes);
        }
        self.pending = pending;
    }
}

/// The rows of `lower` with those of `upper` over them; both in the order of keys.
pub fn merge<'a>(
    lower: impl Iterator<Item = Row<'a>>,
    upper: impl Iterator<Item = (&'a [u8], Option<&'a Value>)>,
) -> impl Iterator<Item = Row<'a>> {
    let (mut lower, mut upper) = (lower.peekable(), upper.peekable());
    std::iter::from_fn(move || {
        loop {
            let below = match (upper.peek(), lower.peek()) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some((key, _)), Some((low, _))) => low < key,
            };
            if below {
                return lower.next();
            }
            let (key, value) = upper.next()?;
            lower.next_if(|(low, _)| *low == key);
            if let Some(value) = value {
                return Some((key, value));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[(&str, Option<&str>)]) -> WriteSet {
        let mut set = WriteSet::new();
        for (key, value) in rows {
            match value {
                Some(value) => set.put("m", key.as_bytes(), value.as_bytes()),
                None => set.delete("m", key.as_bytes()),
            }
            .expect("short");
        }
        set
    }

    fn head(store: &Store) -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        store.head_from("m", b"").map(|(k, v)| (text(k), text(v))).collect()
    }

    #[test]
    fn pending_writes_cover_what_is_committed_until_they_are_or_are_gone() {
        let mut store = Store::default();
        store.append(1, set(&[("a", Some("1")), ("b", Some("1"))]));
        store.append(2, set(&[("a", Some("2")), ("b", None), ("c", Some("2"))]));
        store.append(3, set(&[("c", None), ("d", Some("3"))]));
        assert!(store.committed().is_empty());
        assert_eq!(head(&store), [("a".into(), "2".into()), ("d".into(), "3".into())]);
        assert_eq!(store.commit_next(1).map(|(at, _)| at), Some(1));
        assert_eq!(store.commit_next(1), None);
        assert_eq!(store.committed().get("m", b"b").map(|v| &**v), Some(&b"1"[..]));
        assert_eq!(store.head("m", b"b"), None);
        store.roll_back(2);
        assert_eq!(head(&store), [("a".into(), "2".into()), ("c".into(), "2".into())]);
        store.roll_back(1);
        assert_eq!(head(&store), [("a".into(), "1".into()), ("b".into(), "1".into())]);
        store.append(2, set(&[("z", Some("9"))]));
        assert_eq!(store.commit_next(9).map(|(at, _)| at), Some(2));
        assert_eq!((store.commit_idx(), store.pending()), (2, 0));
        assert!(store.over.is_empty());
    }
}
