//! The disk as storage sees it: a handful of calls, so that the simulator can put a disk that
//! tears, loses and reorders under the very code that runs in production.
//!
//! # What a disk promises, and what it does not
//!
//! * Paths are relative to one root, `/` between parts, without `.` or `..`; the root is `""`.
//! * After a crash, content written since the last successful [`Disk::sync`] of that file may be
//!   there, be missing, or be there in part, byte range by byte range and in any order. A
//!   [`Disk::truncate`] counts as such a write.
//! * Names are apart from content: a file's creation, renaming and removal survive a crash for
//!   certain only after [`Disk::sync_dir`] of its directory. A rename is atomic: a crash leaves
//!   either the old state of both names or the new one.
//! * A call that fails may have been carried out in part. After a failed sync nothing is known
//!   about the unsynced content, so whoever wrote it must write it again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;
use thiserror::Error;

/// Why the disk refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DiskError {
    /// There is no such file or directory.
    #[error("{path}: no such file")]
    NotFound {
        /// The relative path.
        path: String,
    },
    /// No space is left, or the quota is used up: try again once there is room.
    #[error("{path}: the disk is full")]
    Full {
        /// The relative path.
        path: String,
    },
    /// Anything else.
    #[error("{path}: {message}")]
    Io {
        /// The relative path.
        path: String,
        /// What the operating system said.
        message: String,
    },
}

impl DiskError {
    fn of(path: &str, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, message: error.to_string() },
        }
    }
}

/// Result of a disk call.
pub type Result<T> = std::result::Result<T, DiskError>;

/// A directory tree, see the [module](self) for what survives a crash.
pub trait Disk: Send {
    /// Up to `len` bytes from `offset`; fewer (or none) where the file ends before.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such file; the disk's.
    fn read(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>>;

    /// Writes all `bytes` at `offset`, creating the file if need be; a gap reads as zeros.
    ///
    /// # Errors
    /// The disk's; then some of the bytes may have been written.
    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Length of the file in bytes.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such file; the disk's.
    fn len(&self, path: &str) -> Result<u64>;

    /// Cuts the file to `len` bytes, or extends it with zeros.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such file; the disk's.
    fn truncate(&mut self, path: &str, len: u64) -> Result<()>;

    /// Makes the file's content and length durable (`fdatasync`), not its name.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such file; the disk's.
    fn sync(&mut self, path: &str) -> Result<()>;

    /// [`Disk::write`] and [`Disk::sync`]. A disk may do both at once, if offset and length are
    /// multiples of [`SECTOR`].
    ///
    /// # Errors
    /// Theirs.
    fn write_through(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write(path, offset, bytes)?;
        self.sync(path)
    }

    /// [`Disk::write`] of something long that is hardly read soon. A disk may do it past the cache of
    /// the operating system; it is durable after [`Disk::sync`], as any other write.
    ///
    /// # Errors
    /// As [`Disk::write`].
    fn write_past(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write(path, offset, bytes)
    }

    /// [`Disk::sync`] of several files; a disk may do it at the same time.
    ///
    /// # Errors
    /// As [`Disk::sync`]; then nothing is known about any of the files.
    fn sync_all(&mut self, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| self.sync(path))
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The disk's.
    fn sync_dir(&mut self, dir: &str) -> Result<()>;

    /// Names (not paths) of the files directly in a directory, sorted; no directories.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such directory; the disk's.
    fn list(&self, dir: &str) -> Result<Vec<String>>;

    /// Renames a file, replacing one that has the new name.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such file; the disk's.
    fn rename(&mut self, from: &str, to: &str) -> Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such file; the disk's.
    fn remove(&mut self, path: &str) -> Result<()>;

    /// Creates a directory and those above it; durable at once. No error if it exists.
    ///
    /// # Errors
    /// The disk's.
    fn create_dir_all(&mut self, dir: &str) -> Result<()>;

    /// Whether there is a file of that name.
    ///
    /// # Errors
    /// The disk's.
    fn exists(&self, path: &str) -> Result<bool>;
}

/// What disks write at least, in bytes.
pub const SECTOR: usize = 512;
/// Alignment in memory of what is written directly: enough for every disk.
const ALIGNMENT: usize = 4096;
/// Longest write that is done directly: what follows is copied once for it.
const MOST_DIRECT: usize = 1 << 20;
/// What file systems allocate at a time, mostly. Writes of whole blocks disturb no others.
const BLOCK: usize = 4096;
/// Shortest write past the cache that gains by it: it waits for the device, a write to the cache does
/// not.
const LEAST_PAST: usize = 32 * BLOCK;

/// Most file handles kept open at a time; the oldest name in order is closed to make room.
const MAX_HANDLES: usize = 128;

/// A directory of the operating system. Files stay open between calls.
///
/// It takes no lock: whoever owns the node's data directory must keep a second process out.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    writable: bool,
    handles: Mutex<BTreeMap<String, Arc<File>>>,
    /// Writes that are durable when they return: half the system calls.
    through: Direct,
    /// Writes that are not.
    past: Direct,
}

/// Writes past the cache of the operating system: no copy into pages that it must find for that, and
/// no search for what is dirty there.
#[derive(Debug)]
struct Direct {
    flags: OFlags,
    handles: BTreeMap<String, File>,
    /// The file system does not know this.
    unknown: bool,
    staging: Vec<u8>,
}

fn is_unknown(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

impl Direct {
    fn new(flags: OFlags) -> Self {
        let (handles, staging) = (BTreeMap::new(), Vec::new());
        Self { flags: flags.union(OFlags::DIRECT), handles, unknown: false, staging }
    }

    /// Whether it was written.
    fn write(&mut self, path: &str, full: PathBuf, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let aligned = offset.is_multiple_of(SECTOR as u64) && bytes.len().is_multiple_of(SECTOR);
        if self.unknown || !aligned || bytes.len() > MOST_DIRECT {
            return Ok(false);
        }
        if !self.handles.contains_key(path) {
            let flags = self.flags.bits().cast_signed();
            let file = match OpenOptions::new().write(true).custom_flags(flags).open(full) {
                Err(error) if is_unknown(&error) => {
                    self.unknown = true;
                    return Ok(false);
                }
                file => file?,
            };
            if self.handles.len() >= MAX_HANDLES {
                self.handles.pop_first();
            }
            self.handles.insert(path.to_owned(), file);
        }
        let file = self.handles.get(path).expect("just made sure");
        self.staging.clear();
        self.staging.reserve(bytes.len() + ALIGNMENT);
        let shift = self.staging.as_ptr().align_offset(ALIGNMENT);
        self.staging.resize(shift, 0);
        self.staging.extend_from_slice(bytes);
        match file.write_all_at(&self.staging[shift..], offset) {
            Ok(()) => Ok(true),
            // Sectors of this disk are longer, or its file system wants something else.
            Err(error) if is_unknown(&error) => {
                self.unknown = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn forget(&mut self, path: &str) {
        self.handles.remove(path);
    }
}

impl RealDisk {
    /// Opens the directory `root`, creating it if need be.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let mut disk = Self { writable: true, ..Self::read_only(root) };
        disk.create_dir_all("")?;
        Ok(disk)
    }

    /// The directory `root`, which need not exist (yet): its files are read, never changed.
    #[must_use]
    pub fn read_only(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            writable: false,
            handles: Mutex::default(),
            through: Direct::new(OFlags::DSYNC),
            past: Direct::new(OFlags::empty()),
        }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn full(&self, path: &str) -> PathBuf {
        assert!(
            path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")),
            "storage made a path out of its root: {path}"
        );
        self.root.join(path)
    }

    fn handle(&self, path: &str, create: bool) -> Result<Arc<File>> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = handles.get(path) {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(self.writable)
            .create(create)
            .truncate(false)
            .open(self.full(path))
            .map_err(|e| DiskError::of(path, &e))?;
        let file = Arc::new(file);
        if handles.len() >= MAX_HANDLES {
            handles.pop_first();
        }
        handles.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn flush(&self, path: &str) -> Result<()> {
        self.handle(path, false)?.sync_data().map_err(|e| DiskError::of(path, &e))
    }

    fn assert_writable(&self, path: &str) {
        assert!(self.writable, "storage changes {path} in a read-only directory");
    }

    fn forget(&mut self, path: &str) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.through.forget(path);
        self.past.forget(path);
    }
}

impl Disk for RealDisk {
    fn read(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
        let file = self.handle(path, false)?;
        // Never trust a length for an allocation: the file says how much there is.
        let size = file.metadata().map_err(|e| DiskError::of(path, &e))?.len();
        let there = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(there)];
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(DiskError::of(path, &e)),
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.assert_writable(path);
        self.handle(path, true)?.write_all_at(bytes, offset).map_err(|e| DiskError::of(path, &e))
    }

    fn len(&self, path: &str) -> Result<u64> {
        let file = self.handle(path, false)?;
        Ok(file.metadata().map_err(|e| DiskError::of(path, &e))?.len())
    }

    fn truncate(&mut self, path: &str, len: u64) -> Result<()> {
        self.assert_writable(path);
        self.handle(path, false)?.set_len(len).map_err(|e| DiskError::of(path, &e))
    }

    fn sync(&mut self, path: &str) -> Result<()> {
        self.flush(path)
    }

    fn write_through(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.assert_writable(path);
        let full = self.full(path);
        match self.through.write(path, full, offset, bytes) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.write(path, offset, bytes)?;
                self.sync(path)
            }
            Err(error) => Err(DiskError::of(path, &error)),
        }
    }

    /// Whole blocks go past the cache, what is before and after them does not.
    fn write_past(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.assert_writable(path);
        let before = usize::try_from(offset.next_multiple_of(BLOCK as u64) - offset);
        let before = before.expect("less than a block").min(bytes.len());
        let blocks = (bytes.len() - before) / BLOCK * BLOCK;
        if blocks < LEAST_PAST {
            return self.write(path, offset, bytes);
        }
        let (first, rest) = bytes.split_at(before);
        let (whole, last) = rest.split_at(blocks);
        // The file is there then, and no gap is left before the blocks.
        self.write(path, offset, first)?;
        let mut at = offset + before as u64;
        for piece in whole.chunks(MOST_DIRECT) {
            match self.past.write(path, self.full(path), at, piece) {
                Ok(true) => {}
                Ok(false) => self.write(path, at, piece)?,
                Err(error) => return Err(DiskError::of(path, &error)),
            }
            at += piece.len() as u64;
        }
        if last.is_empty() { Ok(()) } else { self.write(path, at, last) }
    }

    fn sync_all(&mut self, paths: &[String]) -> Result<()> {
        let [others @ .., last] = paths else { return Ok(()) };
        // The kernel merges flushes that are under way together: two take about as long as one.
        std::thread::scope(|scope| {
            let disk = &*self;
            let threads: Vec<_> =
                others.iter().map(|path| scope.spawn(move || disk.flush(path))).collect();
            let last = disk.flush(last);
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a sync doesn't panic"))
                .fold(last, Result::and)
        })
    }

    fn sync_dir(&mut self, dir: &str) -> Result<()> {
        File::open(self.full(dir)).and_then(|d| d.sync_all()).map_err(|e| DiskError::of(dir, &e))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = std::fs::read_dir(self.full(dir)).map_err(|e| DiskError::of(dir, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| DiskError::of(dir, &e))?;
            let kind = entry.file_type().map_err(|e| DiskError::of(dir, &e))?;
            // A name that isn't UTF-8 is none of ours.
            if kind.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.assert_writable(from);
        self.forget(from);
        self.forget(to);
        std::fs::rename(self.full(from), self.full(to)).map_err(|e| DiskError::of(from, &e))
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        self.assert_writable(path);
        self.forget(path);
        std::fs::remove_file(self.full(path)).map_err(|e| DiskError::of(path, &e))
    }

    fn create_dir_all(&mut self, dir: &str) -> Result<()> {
        self.assert_writable(dir);
        let full = self.full(dir);
        if full.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&full).map_err(|e| DiskError::of(dir, &e))?;
        // The new name lives in the directory above, which for the root is outside of it.
        let above = full.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(above.unwrap_or_else(|| Path::new(".")))
            .and_then(|d| d.sync_all())
            .map_err(|e| DiskError::of(dir, &e))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        match std::fs::metadata(self.full(path)) {
            Ok(meta) => Ok(meta.is_file()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(DiskError::of(path, &e)),
        }
    }
}

#[cfg(test)]
mod tests;
