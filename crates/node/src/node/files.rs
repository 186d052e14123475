//! The data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use quorate_ledger::ids::GroupId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::NodeError;

/// What is kept of a group outside its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The seed it was joined or made with.
    pub seed: String,
    /// Whether this node makes it and its genesis documents are not durable yet. Never true later:
    /// should the store be lost, they must come from peers, not be made a second time.
    pub create: bool,
    /// Whether this node is in it.
    pub joined: bool,
}

/// The data directory, locked against other processes.
pub struct Files {
    root: PathBuf,
    lock: Mutex<Option<File>>,
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |source| NodeError::Io { path, source }
}

/// Locks a data directory against other processes, for as long as the file lives.
///
/// # Errors
/// [`NodeError::Locked`] if another process holds it, [`NodeError::Io`].
pub fn lock(root: &Path) -> Result<File, NodeError> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(error(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(NodeError::Locked(root.to_owned())),
        Err(errno) => Err(NodeError::Io { path, source: errno.into() }),
    }
}

impl Files {
    /// Opens and locks it, making it if need be.
    ///
    /// # Errors
    /// [`NodeError::Locked`], [`NodeError::Io`].
    pub fn open(root: &Path) -> Result<Self, NodeError> {
        for dir in [root.to_owned(), root.join("descriptors"), root.join("groups")] {
            fs::create_dir_all(&dir).map_err(error(&dir))?;
        }
        let file = lock(root)?;
        Ok(Self { root: root.to_owned(), lock: Mutex::new(Some(file)) })
    }

    /// Lets other processes in.
    pub fn unlock(&self) {
        // Closing the file gives the lock back.
        self.lock.lock().take();
    }

    /// Directory of a group's store.
    pub fn store(&self, id: GroupId) -> PathBuf {
        self.root.join("groups").join(id.to_string())
    }

    /// File of a group's record.
    pub fn descriptor(&self, id: GroupId) -> PathBuf {
        self.root.join("descriptors").join(format!("{id}.json"))
    }

    /// All records, by id.
    ///
    /// # Errors
    /// [`NodeError::Io`], [`NodeError::Descriptor`].
    pub fn all(&self) -> Result<Vec<(GroupId, Record)>, NodeError> {
        let dir = self.root.join("descriptors");
        let mut records = Vec::new();
        for entry in fs::read_dir(&dir).map_err(error(&dir))? {
            let entry = entry.map_err(error(&dir))?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|n| n.strip_suffix(".json")).map(str::parse);
            if let Some(Ok(id)) = id
                && let Some(record) = self.read(id)?
            {
                records.push((id, record));
            }
        }
        records.sort_by_key(|(id, _)| *id);
        Ok(records)
    }

    /// A group's record.
    ///
    /// # Errors
    /// [`NodeError::Io`], [`NodeError::Descriptor`].
    pub fn read(&self, id: GroupId) -> Result<Option<Record>, NodeError> {
        let path = self.descriptor(id);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                NodeError::Descriptor { path: path.clone(), why: error.to_string() }
            }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(NodeError::Io { path, source }),
        }
    }

    /// Keeps a group's record durably, whole or not at all.
    ///
    /// # Errors
    /// [`NodeError::Io`].
    pub fn write(&self, id: GroupId, record: &Record) -> Result<(), NodeError> {
        let path = self.descriptor(id);
        let half = path.with_extension("new");
        let bytes = serde_json::to_vec_pretty(record).expect("a record is JSON");
        let write = || -> io::Result<()> {
            let mut file = File::create(&half)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&half, &path)?;
            File::open(self.root.join("descriptors"))?.sync_all()
        };
        write().map_err(error(&path))
    }

    /// Removes a group's store and record. The record goes last: after a crash in between the
    /// removal can be asked for again.
    ///
    /// # Errors
    /// [`NodeError::Io`].
    pub fn remove(&self, id: GroupId) -> Result<(), NodeError> {
        let store = self.store(id);
        match fs::remove_dir_all(&store) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(NodeError::Io { path: store, source }),
        }
        let path = self.descriptor(id);
        fs::remove_file(&path).map_err(error(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, Record};
    use crate::node::NodeError;
    use quorate_ledger::ids::GroupId;

    #[test]
    fn records_are_kept_and_the_directory_is_locked() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = Files::open(dir.path()).expect("opened");
        assert!(matches!(Files::open(dir.path()), Err(NodeError::Locked(_))));
        let id = GroupId(uuid::Uuid::from_u128(3));
        let record = Record { seed: "rum://seed?".to_owned(), create: true, joined: false };
        assert_eq!(files.read(id).expect("readable"), None);
        files.write(id, &record).expect("written");
        assert_eq!(files.all().expect("readable"), [(id, record)]);
        std::fs::create_dir_all(files.store(id)).expect("made");
        files.remove(id).expect("removed");
        assert!(!files.store(id).exists() && files.all().expect("readable").is_empty());
        files.unlock();
        Files::open(dir.path()).expect("free again");
    }
}
