//! What can be wrong with a store.

use std::fmt;

use thiserror::Error;

use crate::disk::DiskError;

/// Bytes that were durable once and aren't what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corruption {
    /// The file, relative to the group's directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The block, certificate or snapshot concerned, where one can be named.
    pub id: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Corruption {
    pub(crate) fn new(file: &str, offset: u64, id: Option<u64>, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), offset, id, what: what.into() }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is corrupt at byte {}", self.file, self.offset)?;
        if let Some(id) = self.id {
            write!(f, " (id {id})")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Corruption {}

/// Why a read or an append failed. After a failed append nothing of it counts, and the same
/// records may be appended again.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StoreError {
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A checksum fails; the bytes are not served.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// Why a store cannot be opened.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something durable is damaged: see [`crate::check::check`] and [`crate::check::repair`].
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A secret is intact but sealed with another key.
    #[error("the secret {name} was sealed with another key")]
    WrongKey {
        /// Its name.
        name: String,
    },
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Disk(e) => Self::Disk(e),
            StoreError::Corrupt(e) => Self::Corrupt(e),
        }
    }
}
