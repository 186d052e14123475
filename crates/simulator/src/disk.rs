//! A disk that forgets, tears and fills up: the [`Disk`] the real storage code runs on in the
//! simulator.
//!
//! Content written since the last sync of a file is a list of pending writes; a crash keeps, drops
//! or tears each of them on its own, in any order. Names are apart from content: pending creations,
//! renames and removals survive a crash as a prefix. All of it is drawn from the seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_storage::disk::{Disk, DiskError, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a file's unsynced history holds.
#[derive(Clone, Debug)]
enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

#[derive(Clone, Debug, Default)]
struct File {
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum NameOp {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// How a disk misbehaves while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DiskFaults {
    /// Most bytes the disk holds; 0 for no limit.
    pub capacity: u64,
    /// Chance that a read fails, per call.
    pub read_error: f64,
    /// Chance that a write or a sync fails, per call.
    pub write_error: f64,
    /// Chance that a write lands at another place, also of another file, per call.
    pub misdirect: f64,
}

/// What was asked of a disk since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wear {
    /// Times somebody waited for a sync; files synced together count once.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_ops: Vec<NameOp>,
    next: u64,
    rng: ChaCha8Rng,
    faults: DiskFaults,
    /// Calls until the power goes; afterwards every call fails.
    fuse: Option<u64>,
    used: u64,
    counts: BTreeMap<&'static str, u64>,
    /// Writes that went astray: where to, and on top of which file.
    strays: Vec<(String, String)>,
    wear: Wear,
}

/// A handle on a directory of a simulated disk; the world keeps one of the whole disk to crash it.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    disk: Arc<Mutex<State>>,
    /// Path of the directory with a `/` behind it; empty for the root.
    root: String,
}

fn splice(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).expect("simulated files fit memory");
    if content.len() < start {
        content.resize(start, 0);
    }
    let (over, behind) = bytes.split_at(bytes.len().min(content.len() - start));
    content[start..start + over.len()].copy_from_slice(over);
    content.extend_from_slice(behind);
}

fn cut(content: &mut Vec<u8>, len: u64) {
    content.resize(usize::try_from(len).expect("simulated files fit memory"), 0);
}

fn apply(names: &mut BTreeMap<String, u64>, op: &NameOp) {
    match op {
        NameOp::Create(path, file) => {
            names.insert(path.clone(), *file);
        }
        NameOp::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameOp::Remove(path) => {
            names.remove(path);
        }
    }
}

/// The kind of a file: its name in its group's directory without number, or its directory there.
fn kind_of(path: &str) -> &str {
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    name.split(['_', '/']).next().unwrap_or(name)
}

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn touches(op: &NameOp, dir: &str) -> bool {
    match op {
        NameOp::Create(path, _) | NameOp::Remove(path) => dir_of(path) == dir,
        NameOp::Rename(from, to) => dir_of(from) == dir || dir_of(to) == dir,
    }
}

impl State {
    fn file(&self, path: &str) -> Result<&File> {
        let id = self.names.get(path).ok_or_else(|| DiskError::NotFound { path: path.into() })?;
        Ok(&self.files[id])
    }

    fn file_mut(&mut self, path: &str) -> Result<&mut File> {
        let id = self.names.get(path).ok_or_else(|| DiskError::NotFound { path: path.into() })?;
        Ok(self.files.get_mut(id).expect("names point at files"))
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    fn is_dead(&self) -> bool {
        self.fuse == Some(0)
    }

    /// A random file among those that are not empty and that `allowed` allows: first the kind of
    /// file, so that a kind with few files is met as often as one with many.
    fn pick(&mut self, allowed: impl Fn(&str) -> bool) -> Option<(String, u64, usize)> {
        let mut kinds: BTreeMap<&str, Vec<(&String, u64)>> = BTreeMap::new();
        for (name, id) in &self.names {
            if allowed(name) && !self.files[id].visible.is_empty() {
                kinds.entry(kind_of(name)).or_default().push((name, *id));
            }
        }
        let kinds: Vec<Vec<(&String, u64)>> = kinds.into_values().collect();
        let kind = kinds.get(self.rng.random_range(0..kinds.len().max(1)))?;
        let (name, id) = kind[self.rng.random_range(0..kind.len())];
        Some((name.clone(), id, self.files[&id].visible.len()))
    }

    fn flip(&mut self, id: u64, at: usize) {
        let bit = 1u8 << self.rng.random_range(0..8u8);
        let file = self.files.get_mut(&id).expect("names point at files");
        file.visible[at] ^= bit;
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= bit;
        }
        self.count("bit_flip");
    }

    fn may_read(&mut self, path: &str) -> Result<()> {
        if self.is_dead() {
            return Err(DiskError::Io { path: path.into(), message: "the power is gone".into() });
        }
        if self.faults.read_error > 0.0 && self.rng.random_bool(self.faults.read_error) {
            self.count("read_error");
            return Err(DiskError::Io { path: path.into(), message: "simulated".into() });
        }
        Ok(())
    }

    /// A write to `path` goes astray: its file has the length that it should have and the old
    /// content, and the bytes land on top of others, of any file.
    fn stray(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file_mut(path)?;
        let end = offset + bytes.len() as u64;
        if end > file.visible.len() as u64 {
            cut(&mut file.visible, end);
            file.pending.push(Pending::Truncate(end));
        }
        let Some((hit, id, len)) = self.pick(|_| true) else { return Ok(()) };
        let at = self.rng.random_range(0..len);
        let bytes = bytes[..bytes.len().min(len - at)].to_vec();
        let file = self.files.get_mut(&id).expect("names point at files");
        splice(&mut file.visible, at as u64, &bytes);
        file.pending.push(Pending::Write { offset: at as u64, bytes });
        self.strays.push((path.to_owned(), hit));
        self.count("misdirected_write");
        Ok(())
    }

    fn may_write(&mut self, path: &str) -> Result<()> {
        if let Some(calls) = &mut self.fuse {
            if *calls == 0 {
                let message = "the power is gone".into();
                return Err(DiskError::Io { path: path.into(), message });
            }
            *calls -= 1;
        }
        if self.faults.write_error > 0.0 && self.rng.random_bool(self.faults.write_error) {
            self.count("write_error");
            return Err(DiskError::Io { path: path.into(), message: "simulated".into() });
        }
        Ok(())
    }
}

impl FaultyDisk {
    /// An empty disk whose misbehaviour follows `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_ops: Vec::new(),
            next: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            faults: DiskFaults::default(),
            fuse: None,
            used: 0,
            counts: BTreeMap::new(),
            strays: Vec::new(),
            wear: Wear::default(),
        };
        Self { disk: Arc::new(Mutex::new(state)), root: String::new() }
    }

    /// A handle on a directory of it.
    #[must_use]
    pub fn dir(&self, name: &str) -> Self {
        Self { disk: Arc::clone(&self.disk), root: format!("{}{name}/", self.root) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory of this handle as a path of the disk.
    fn dir_at(&self, dir: &str) -> String {
        self.at(dir).trim_end_matches('/').to_owned()
    }

    /// A path of this handle as a path of the disk.
    fn at(&self, path: &str) -> String {
        [self.root.as_str(), path].concat()
    }

    /// Sets how it misbehaves from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.state().faults = faults;
    }

    /// Lets the power go after `calls` more writes and syncs: in the middle of a turn.
    pub fn light_fuse(&self, calls: u64) {
        self.state().fuse = Some(calls);
    }

    /// Takes a lit fuse back, unless the power is gone already.
    pub fn defuse(&self) {
        let mut state = self.state();
        if state.fuse != Some(0) {
            state.fuse = None;
        }
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().is_dead()
    }

    /// Does something while nothing fails.
    pub fn at_its_best<T>(&self, act: impl FnOnce() -> T) -> T {
        let faults = std::mem::take(&mut self.state().faults);
        let result = act();
        self.state().faults = faults;
        result
    }

    /// Whether calls may fail now.
    #[must_use]
    pub fn fails(&self) -> bool {
        let state = self.state();
        state.is_dead() || state.faults != DiskFaults::default()
    }

    /// Whether writes may go astray now.
    #[must_use]
    pub fn misdirects(&self) -> bool {
        self.state().faults.misdirect > 0.0
    }

    /// Bytes it holds.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// How often each kind of fault struck.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }

    /// What was asked of it so far.
    #[must_use]
    pub fn wear(&self) -> Wear {
        self.state().wear
    }

    /// The power goes: every unsynced write is kept, dropped or torn on its own; names keep a
    /// prefix of their pending changes. What is left is what the next start finds.
    pub fn crash(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.fuse = None;
        let mut lost = 0;
        let mut torn = 0;
        for file in state.files.values_mut() {
            for pending in std::mem::take(&mut file.pending) {
                match (pending, state.rng.random_range(0..4u8)) {
                    (_, 0 | 1) => lost += 1,
                    (Pending::Write { offset, bytes }, 2) if !bytes.is_empty() => {
                        let keep = state.rng.random_range(0..bytes.len());
                        splice(&mut file.durable, offset, &bytes[..keep]);
                        torn += 1;
                    }
                    (Pending::Write { offset, bytes }, _) => {
                        splice(&mut file.durable, offset, &bytes);
                    }
                    (Pending::Truncate(len), _) => cut(&mut file.durable, len),
                }
            }
            file.visible.clone_from(&file.durable);
        }
        let ops = std::mem::take(&mut state.name_ops);
        let kept = state.rng.random_range(0..=ops.len());
        for op in &ops[..kept] {
            apply(&mut state.durable_names, op);
        }
        state.names = state.durable_names.clone();
        let live: Vec<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| live.contains(id));
        state.used = state.files.values().map(|f| f.visible.len() as u64).sum();
        *state.counts.entry("lost_unsynced_write").or_default() += lost;
        *state.counts.entry("torn_write").or_default() += torn;
    }

    /// Flips one random bit of a random file that `allowed` allows; its path.
    pub fn flip_bit(&self, allowed: impl Fn(&str) -> bool) -> Option<String> {
        let mut state = self.state();
        let (name, id, len) = state.pick(allowed)?;
        let at = state.rng.random_range(0..len);
        state.flip(id, at);
        Some(name)
    }

    /// Cuts some bytes off the end of a random file that `allowed` allows; its path.
    pub fn cut_tail(&self, allowed: impl Fn(&str) -> bool) -> Option<String> {
        let mut state = self.state();
        let (name, id, len) = state.pick(allowed)?;
        let keep = state.rng.random_range(0..len);
        let file = state.files.get_mut(&id).expect("just picked");
        file.visible.truncate(keep);
        file.durable.truncate(keep);
        state.used = state.files.values().map(|f| f.visible.len() as u64).sum();
        state.count("truncated_tail");
        Some(name)
    }

    /// Writes that went astray: where to, and on top of which file.
    #[must_use]
    pub fn strays(&self) -> Vec<(String, String)> {
        self.state().strays.clone()
    }

    /// A disk with the same content that works, and is apart from this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let copy = State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            name_ops: Vec::new(),
            next: state.next,
            rng: ChaCha8Rng::seed_from_u64(state.used),
            faults: DiskFaults::default(),
            fuse: None,
            used: state.used,
            counts: BTreeMap::new(),
            strays: Vec::new(),
            wear: Wear::default(),
        };
        Self { disk: Arc::new(Mutex::new(copy)), root: self.root.clone() }
    }

    /// Everything is gone: a new disk in the same machine.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.files.clear();
        state.names.clear();
        state.durable_names.clear();
        state.name_ops.clear();
        state.used = 0;
        state.count("wipe");
    }
}

impl Disk for FaultyDisk {
    fn read(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
        let path = &self.at(path);
        let mut state = self.state();
        state.may_read(path)?;
        let content = &state.file(path)?.visible;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(len).min(content.len());
        Ok(content[start..end].to_vec())
    }

    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let path = &self.at(path);
        let mut state = self.state();
        state.may_write(path)?;
        let old = state.file(path).map_or(0, |file| file.visible.len() as u64);
        let growth = (offset + bytes.len() as u64).saturating_sub(old);
        if state.faults.capacity > 0 && state.used + growth > state.faults.capacity {
            state.count("full_disk");
            return Err(DiskError::Full { path: path.into() });
        }
        if !state.names.contains_key(path) {
            state.next += 1;
            let id = state.next;
            state.files.insert(id, File::default());
            state.names.insert(path.clone(), id);
            state.name_ops.push(NameOp::Create(path.clone(), id));
        }
        state.used += growth;
        state.wear.bytes += bytes.len() as u64;
        let astray = state.faults.misdirect;
        if astray > 0.0 && state.rng.random_bool(astray) {
            return state.stray(path, offset, bytes);
        }
        let file = state.file_mut(path)?;
        splice(&mut file.visible, offset, bytes);
        // Content that is written over before a sync is written back as it was last.
        file.pending.retain(|pending| {
            !matches!(pending, Pending::Write { offset: o, bytes: b }
                if *o == offset && b.len() == bytes.len())
        });
        file.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn len(&self, path: &str) -> Result<u64> {
        Ok(self.state().file(&self.at(path))?.visible.len() as u64)
    }

    fn truncate(&mut self, path: &str, len: u64) -> Result<()> {
        let path = &self.at(path);
        let mut state = self.state();
        state.may_write(path)?;
        let old = state.file(path)?.visible.len() as u64;
        if state.faults.capacity > 0
            && len > old
            && state.used + (len - old) > state.faults.capacity
        {
            state.count("full_disk");
            return Err(DiskError::Full { path: path.into() });
        }
        state.used = state.used + len - old;
        let file = state.file_mut(path)?;
        cut(&mut file.visible, len);
        file.pending.push(Pending::Truncate(len));
        Ok(())
    }

    fn sync(&mut self, path: &str) -> Result<()> {
        let path = &self.at(path);
        let mut state = self.state();
        state.may_write(path)?;
        state.wear.syncs += 1;
        let file = state.file_mut(path)?;
        for pending in std::mem::take(&mut file.pending) {
            match pending {
                Pending::Write { offset, bytes } => splice(&mut file.durable, offset, &bytes),
                Pending::Truncate(len) => cut(&mut file.durable, len),
            }
        }
        Ok(())
    }

    fn sync_all(&mut self, paths: &[String]) -> Result<()> {
        let syncs = self.state().wear.syncs;
        let result = paths.iter().try_for_each(|path| self.sync(path));
        self.state().wear.syncs = syncs + u64::from(!paths.is_empty());
        result
    }

    fn sync_dir(&mut self, dir: &str) -> Result<()> {
        let dir = &self.dir_at(dir);
        let mut guard = self.state();
        let state = &mut *guard;
        state.may_write(dir)?;
        state.wear.syncs += 1;
        let mut kept = Vec::new();
        for op in std::mem::take(&mut state.name_ops) {
            if touches(&op, dir) {
                apply(&mut state.durable_names, &op);
            } else {
                kept.push(op);
            }
        }
        state.name_ops = kept;
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let state = self.state();
        let dir = self.dir_at(dir);
        let prefix = if dir.is_empty() { dir } else { format!("{dir}/") };
        Ok(state
            .names
            .keys()
            .filter_map(|name| name.strip_prefix(&prefix))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (&self.at(from), &self.at(to));
        let mut guard = self.state();
        let state = &mut *guard;
        state.may_write(from)?;
        state.file(from)?;
        let op = NameOp::Rename(from.clone(), to.clone());
        apply(&mut state.names, &op);
        state.name_ops.push(op);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let path = &self.at(path);
        let mut guard = self.state();
        let state = &mut *guard;
        state.may_write(path)?;
        let len = state.file(path)?.visible.len() as u64;
        state.used -= len.min(state.used);
        let op = NameOp::Remove(path.clone());
        apply(&mut state.names, &op);
        state.name_ops.push(op);
        Ok(())
    }

    fn create_dir_all(&mut self, _dir: &str) -> Result<()> {
        Ok(())
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.state().names.contains_key(&self.at(path)))
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
