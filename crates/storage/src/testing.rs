//! A disk in memory for this crate's tests: loses, tears and reorders what was not synced, gets
//! full, fails. And a model of what a store must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_consensus::core::{Journal, Record, Recovered, Topic};
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::ids::BlockId;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::disk::{Disk, DiskError, Result};
use crate::store::{GroupStore, Options};

/// A generator for tests.
pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A number below `bound`.
pub(crate) fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => bytes.resize(*len, 0),
            Self::Write(at, new) => {
                if bytes.len() < at + new.len() {
                    bytes.resize(at + new.len(), 0);
                }
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum NameOp {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

impl NameOp {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn dir(&self) -> &str {
        let (Self::Link(name, _) | Self::Unlink(name) | Self::Rename(_, name, _)) = self;
        name.rsplit_once('/').map_or("", |(dir, _)| dir)
    }
}

/// What goes wrong with the n-th changing call from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It and all later calls fail until [`MemDisk::crash`].
    Crash,
    /// It fails as on a full disk, if it is a write (else the next write does).
    Full,
    /// It fails, carried out or not.
    Error,
}

#[derive(Debug, Default)]
struct Inner {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_ops: Vec<NameOp>,
    fault: Option<(u64, Fault)>,
    dead: bool,
    changes: u64,
    syncs: u64,
    reads: u64,
    /// Writes to paths that begin so find the disk full.
    full: Option<String>,
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemDisk(Arc<Mutex<Inner>>);

impl Inner {
    fn find(&self, path: &str) -> Result<usize> {
        if self.dead {
            return Err(DiskError::Io { path: path.to_owned(), message: "crashed".to_owned() });
        }
        let missing = || DiskError::NotFound { path: path.to_owned() };
        self.names.get(path).copied().ok_or_else(missing)
    }

    /// Counts a changing call; `Some` if it must fail.
    fn change(&mut self, path: &str, write: bool) -> Option<DiskError> {
        let io = |message: &str| {
            Some(DiskError::Io { path: path.to_owned(), message: message.to_owned() })
        };
        if self.dead {
            return io("crashed");
        }
        self.changes += 1;
        if write && self.full.as_ref().is_some_and(|prefix| path.starts_with(prefix.as_str())) {
            return Some(DiskError::Full { path: path.to_owned() });
        }
        match &mut self.fault {
            Some((0, Fault::Full)) if !write => None,
            Some((0, fault)) => {
                let fault = *fault;
                self.fault = None;
                match fault {
                    Fault::Crash => {
                        self.dead = true;
                        io("crashed")
                    }
                    Fault::Full => Some(DiskError::Full { path: path.to_owned() }),
                    Fault::Error => io("injected"),
                }
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// A call that fails is carried out every other time.
    fn carried_out(&self, error: Option<&DiskError>) -> bool {
        error.is_none() || self.changes.is_multiple_of(2)
    }

    fn name_op(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.name_ops.push(op);
    }
}

impl MemDisk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics inside")
    }

    /// Lets the `n`-th changing call from now on (0 is the next) go wrong.
    pub fn fault(&self, n: u64, fault: Fault) {
        self.lock().fault = Some((n, fault));
    }

    /// Takes back a fault that has not happened yet; whether there was one.
    pub fn no_fault(&self) -> bool {
        self.lock().fault.take().is_some()
    }

    /// Number of changing calls so far.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Number of syncs so far, of files and of directories.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Lets all writes to paths that begin so fail as on a full disk, until the next call of this.
    pub fn full_for(&self, prefix: &str) {
        self.lock().full = Some(prefix.to_owned());
    }

    /// A disk with the same files, all durable.
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        let mut inner = copy.lock();
        for (name, bytes) in self.files() {
            let at = inner.inodes.len();
            inner.names.insert(name.clone(), at);
            inner.durable_names.insert(name, at);
            let durable = bytes.clone();
            inner.inodes.push(Inode { now: bytes, durable, pending: Vec::new() });
        }
        drop(inner);
        copy
    }

    /// Number of reads so far.
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Whether a [`Fault::Crash`] has happened.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The power fails: of what was not synced, some is there afterwards, some not, some in part.
    pub fn crash(&self, rng: &mut ChaCha20Rng) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for inode in &mut inner.inodes {
            for op in std::mem::take(&mut inode.pending) {
                match (below(rng, 5), &op) {
                    (0, _) => {}
                    (1, Pending::Write(at, bytes)) if !bytes.is_empty() => {
                        let (a, b) = (below(rng, bytes.len() as u64 + 1), bytes.len() as u64);
                        let (a, b) = (a as usize, (a + below(rng, b - a + 1)) as usize);
                        Pending::Write(at + a, bytes[a..b].to_vec()).apply(&mut inode.durable);
                    }
                    // The length got through, the content didn't.
                    (2, Pending::Write(at, bytes)) => {
                        let len = inode.durable.len().max(at + bytes.len());
                        inode.durable.resize(len, 0);
                    }
                    _ => op.apply(&mut inode.durable),
                }
            }
            inode.now = inode.durable.clone();
        }
        for op in std::mem::take(&mut inner.name_ops) {
            if below(rng, 2) == 0 {
                op.apply(&mut inner.durable_names);
            }
        }
        inner.names = inner.durable_names.clone();
        inner.dead = false;
        inner.fault = None;
    }

    /// Content of all files by path, as a running process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.lock();
        inner.names.iter().map(|(n, i)| (n.clone(), inner.inodes[*i].now.clone())).collect()
    }

    /// Whether any byte run of the disk, also of removed files, is `needle`.
    pub fn holds(&self, needle: &[u8]) -> bool {
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.lock().inodes.iter().any(|i| has(&i.now) || has(&i.durable))
    }

    /// Changes a file under the store's feet, durably.
    pub fn tamper(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let inode = inner.find(path).expect("there is such a file");
        let inode = &mut inner.inodes[inode];
        change(&mut inode.now);
        inode.durable = inode.now.clone();
        inode.pending.clear();
    }

    /// Removes a file under the store's feet, durably.
    pub fn lose(&self, path: &str) {
        let mut inner = self.lock();
        inner.names.remove(path).expect("there is such a file");
        inner.durable_names.remove(path);
    }
}

impl Disk for MemDisk {
    fn read(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut inner = self.lock();
        inner.reads += 1;
        let bytes = &inner.inodes[inner.find(path)?].now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..start.saturating_add(len).min(bytes.len())].to_vec())
    }

    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut inner = self.lock();
        let error = inner.change(path, true);
        if error.is_some() && bytes.len() < 2 {
            return error.map_or(Ok(()), Err);
        }
        let inode = match inner.names.get(path) {
            Some(inode) => *inode,
            None => {
                inner.inodes.push(Inode::default());
                let inode = inner.inodes.len() - 1;
                inner.name_op(NameOp::Link(path.to_owned(), inode));
                inode
            }
        };
        // A write that fails was carried out in part.
        let part = if error.is_some() { bytes.len() / 2 } else { bytes.len() };
        let op = Pending::Write(offset as usize, bytes[..part].to_vec());
        op.apply(&mut inner.inodes[inode].now);
        inner.inodes[inode].pending.push(op);
        error.map_or(Ok(()), Err)
    }

    fn len(&self, path: &str) -> Result<u64> {
        let inner = self.lock();
        Ok(inner.inodes[inner.find(path)?].now.len() as u64)
    }

    fn truncate(&mut self, path: &str, len: u64) -> Result<()> {
        let mut inner = self.lock();
        let inode = inner.find(path)?;
        let error = inner.change(path, false);
        if inner.carried_out(error.as_ref()) {
            let op = Pending::Truncate(len as usize);
            op.apply(&mut inner.inodes[inode].now);
            inner.inodes[inode].pending.push(op);
        }
        error.map_or(Ok(()), Err)
    }

    fn sync(&mut self, path: &str) -> Result<()> {
        let mut inner = self.lock();
        let inode = inner.find(path)?;
        let error = inner.change(path, false);
        inner.syncs += 1;
        if inner.carried_out(error.as_ref()) {
            let inode = &mut inner.inodes[inode];
            inode.durable = inode.now.clone();
            inode.pending.clear();
        }
        error.map_or(Ok(()), Err)
    }

    fn sync_dir(&mut self, dir: &str) -> Result<()> {
        let mut inner = self.lock();
        let error = inner.change(dir, false);
        inner.syncs += 1;
        if inner.carried_out(error.as_ref()) {
            let (now, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut inner.name_ops).into_iter().partition(|op| op.dir() == dir);
            now.iter().for_each(|op| op.apply(&mut inner.durable_names));
            inner.name_ops = later;
        }
        error.map_or(Ok(()), Err)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let inner = self.lock();
        if inner.dead {
            return Err(DiskError::Io { path: dir.to_owned(), message: "crashed".to_owned() });
        }
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let names = inner.names.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let mut inner = self.lock();
        let inode = inner.find(from)?;
        let error = inner.change(from, false);
        if inner.carried_out(error.as_ref()) {
            inner.name_op(NameOp::Rename(from.to_owned(), to.to_owned(), inode));
        }
        error.map_or(Ok(()), Err)
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let mut inner = self.lock();
        inner.find(path)?;
        let error = inner.change(path, false);
        if inner.carried_out(error.as_ref()) {
            inner.name_op(NameOp::Unlink(path.to_owned()));
        }
        error.map_or(Ok(()), Err)
    }

    fn create_dir_all(&mut self, dir: &str) -> Result<()> {
        let inner = self.lock();
        if inner.dead {
            return Err(DiskError::Io { path: dir.to_owned(), message: "crashed".to_owned() });
        }
        Ok(())
    }

    fn exists(&self, path: &str) -> Result<bool> {
        match self.lock().find(path) {
            Ok(_) => Ok(true),
            Err(DiskError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Options with sizes small enough that a handful of records closes chunks and compacts.
pub(crate) fn options(seed: u64) -> Options {
    let mut options = Options::new(SymmetricKey([7; 32]), rng(seed), trx_ids);
    options.chunk_size = 300;
    options.journal_size = 1500;
    options
}

/// Test blocks are `[number of trxs][16 bytes each][anything]`.
pub(crate) fn trx_ids(block: &[u8]) -> Vec<[u8; 16]> {
    let (ids, _) = block[1..].as_chunks::<16>();
    ids[..usize::from(block[0])].to_vec()
}

/// Test block `id` with `trxs` trxs and `extra` other bytes.
pub(crate) fn block(id: u64, trxs: u8, extra: usize) -> Record {
    let mut bytes = vec![trxs];
    for n in 0..trxs {
        bytes.extend_from_slice(&trx_id(id, n));
    }
    bytes.extend((0..extra).map(|i| (id as usize + i) as u8));
    let trx_ids = trx_ids(&bytes);
    Record::Block { id: BlockId(id), bytes: bytes.into(), trx_ids }
}

/// Id of trx `n` of test block `id`.
pub(crate) fn trx_id(id: u64, n: u8) -> [u8; 16] {
    let digest = quorate_crypto::hash::sha256(&[id.to_le_bytes().as_slice(), &[n]].concat());
    *digest.as_bytes().first_chunk().expect("32 bytes")
}

/// Test certificate.
pub(crate) fn certificate(id: u64) -> Record {
    Record::Certificate {
        id: BlockId(id),
        bytes: format!("certificate of {id}").into_bytes().into(),
    }
}

/// A note.
pub(crate) fn note(topic: Topic, key: &str, value: &str) -> Record {
    Record::Note { topic, key: key.as_bytes().to_vec(), bytes: value.as_bytes().into() }
}

/// A secret.
pub(crate) fn secret(name: &str, value: Option<&str>) -> Record {
    Record::Secret { name: name.to_owned(), bytes: value.map(|v| v.as_bytes().to_vec()) }
}

/// What a store must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Model {
    pub blocks: Vec<Arc<[u8]>>,
    pub certificates: Vec<Arc<[u8]>>,
    pub notes: Vec<(Topic, Vec<u8>, Arc<[u8]>)>,
    pub secrets: BTreeMap<String, Vec<u8>>,
    pub snapshots: BTreeSet<u64>,
}

impl Model {
    /// The bytes of the snapshot after block `id`.
    pub fn snapshot(id: u64) -> Arc<[u8]> {
        format!("state after {id}").into_bytes().into()
    }

    /// The model after these records.
    pub fn after(&self, records: &[Record]) -> Self {
        let mut next = self.clone();
        for record in records {
            match record {
                Record::Block { bytes, .. } => next.blocks.push(bytes.clone()),
                Record::Certificate { bytes, .. } => next.certificates.push(bytes.clone()),
                Record::Note { topic, key, bytes } => {
                    let at = next.notes.iter().position(|n| n.0 == *topic && n.1 == *key);
                    match at {
                        Some(at) if bytes.is_empty() => drop(next.notes.remove(at)),
                        Some(at) => next.notes[at].2 = bytes.clone(),
                        None if bytes.is_empty() => {}
                        None => next.notes.push((*topic, key.clone(), bytes.clone())),
                    }
                }
                Record::Forget { topic, prefix } => {
                    next.notes.retain(|n| n.0 != *topic || !n.1.starts_with(prefix));
                }
                Record::Secret { name, bytes: Some(bytes) } => {
                    next.secrets.insert(name.clone(), bytes.clone());
                }
                Record::Secret { name, bytes: None } => drop(next.secrets.remove(name)),
                Record::Snapshot { id, .. } => {
                    next.snapshots.insert(id.0);
                    if next.snapshots.len() > 2 {
                        next.snapshots.pop_first();
                    }
                }
            }
        }
        next
    }

    /// Whether a store just opened holds exactly this; blocks count from 1.
    pub fn matches(&self, store: &GroupStore<MemDisk>, recovered: &Recovered) -> bool {
        let snapshot = self.snapshots.last().map(|id| (BlockId(*id), Self::snapshot(*id)));
        recovered.last_block.0 == self.blocks.len() as u64
            && recovered.last_certificate.0 == self.certificates.len() as u64
            && recovered.notes == self.notes
            && recovered.secrets == self.secrets
            && recovered.snapshot == snapshot
            && !recovered.amnesia
            && self.reads(store)
    }

    /// Whether all blocks, certificates and trxs read as they should.
    pub fn reads(&self, store: &GroupStore<MemDisk>) -> bool {
        let places = self.blocks.iter().enumerate().flat_map(|(i, bytes)| {
            let ids = trx_ids(bytes).into_iter().enumerate();
            ids.map(move |(n, id)| (id, (BlockId(i as u64 + 1), n as u32)))
        });
        let (blocks, certificates) = (self.blocks.len() as u64, self.certificates.len() as u64);
        (0..=blocks + 1).all(|id| {
            let expected = id.checked_sub(1).and_then(|i| self.blocks.get(i as usize)).cloned();
            store.block(BlockId(id)) == Ok(expected)
        }) && (0..=certificates + 1).all(|id| {
            let all = &self.certificates;
            let expected = id.checked_sub(1).and_then(|i| all.get(i as usize)).cloned();
            store.certificate(BlockId(id)) == Ok(expected)
        }) && places.into_iter().all(|(id, place)| store.find_trx(&id) == Ok(Some(place)))
            && store.find_trx(&trx_id(u64::MAX, 0)) == Ok(None)
    }
}

/// A random append to a store that holds `model`.
pub(crate) fn random_records(rng: &mut ChaCha20Rng, model: &Model) -> Vec<Record> {
    let mut records = Vec::new();
    let mut next = model.blocks.len() as u64 + 1;
    for _ in 0..1 + below(rng, 4) {
        match below(rng, 12) {
            0..4 => {
                for _ in 0..1 + below(rng, 3) * below(rng, 3) {
                    records.push(block(next, below(rng, 4) as u8, below(rng, 150) as usize));
                    next += 1;
                }
            }
            4 => {
                let have = model.after(&records).certificates.len() as u64;
                records.extend((have + 1..next).map(certificate));
            }
            5..8 => {
                let topic = if below(rng, 2) == 0 { Topic::Vote } else { Topic::Pool };
                let key = format!("{}/{}", below(rng, 3), below(rng, 6));
                let value = "x".repeat(below(rng, 120) as usize);
                records.push(note(topic, &key, &value));
            }
            8 => records.push(Record::Forget {
                topic: Topic::Vote,
                prefix: format!("{}/", below(rng, 3)).into_bytes(),
            }),
            9 | 10 => {
                let name = ["view-1", "share.2"][below(rng, 2) as usize];
                let value = format!("secret {}", rng.next_u64());
                records.push(secret(name, (below(rng, 3) > 0).then_some(value.as_str())));
            }
            _ if next > 1 && !model.snapshots.contains(&(next - 1)) => {
                let id = next - 1;
                records.push(Record::Snapshot { id: BlockId(id), bytes: Model::snapshot(id) });
            }
            _ => {}
        }
    }
    records
}
