//! The maps as they were at every place of the committed log.

use std::collections::BTreeMap;

use quorate_consensus::raft::Seqno;
use quorate_ledger::ccf::maps::is_reserved;
use quorate_ledger::state::{State, Value, WriteSet};

/// When a key got which value.
type Versions = Vec<(Seqno, Option<Value>)>;

/// All versions of all keys.
#[derive(Debug, Default)]
pub struct Kv {
    maps: BTreeMap<String, BTreeMap<Vec<u8>, Versions>>,
    /// Places of entries that write to maps of users, ascending.
    writes: Vec<Seqno>,
    state: State,
}

impl Kv {
    /// The next entry is committed.
    pub fn apply(&mut self, seqno: Seqno, writes: &WriteSet) {
        let mut user = false;
        for (map, key, value) in writes.iter() {
            user |= !is_reserved(map);
            if !self.maps.contains_key(map) {
                self.maps.insert(map.to_owned(), BTreeMap::new());
            }
            let keys = self.maps.get_mut(map).expect("just looked for");
            keys.entry(key.to_vec()).or_default().push((seqno, value.cloned()));
        }
        if user {
            self.writes.push(seqno);
        }
        self.state.apply(writes);
    }

    /// All maps after the last entry.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The value of a key after the entry at `seqno`.
    #[must_use]
    pub fn get(&self, map: &str, key: &[u8], seqno: Seqno) -> Option<&Value> {
        Self::version(self.maps.get(map)?.get(key)?, seqno)
    }

    fn version(versions: &Versions, seqno: Seqno) -> Option<&Value> {
        let later = versions.partition_point(|(at, _)| *at <= seqno);
        versions[..later].last()?.1.as_ref()
    }

    /// The keys of a map from `from` to before `to`, after the entry at `seqno`.
    pub fn range(
        &self,
        map: &str,
        from: &[u8],
        to: Option<&[u8]>,
        seqno: Seqno,
    ) -> BTreeMap<Vec<u8>, Value> {
        let keys = self.maps.get(map).into_iter().flatten();
        keys.filter(|(key, _)| key.as_slice() >= from && to.is_none_or(|to| key.as_slice() < to))
            .filter_map(|(key, versions)| {
                Some((key.clone(), Self::version(versions, seqno)?.clone()))
            })
            .collect()
    }

    /// How many entries up to `seqno` write to maps of users: places between which no user can tell
    /// a difference have the same number.
    #[must_use]
    pub fn writes_up_to(&self, seqno: Seqno) -> usize {
        self.writes.partition_point(|at| *at <= seqno)
    }
}
