//! Transaction ids: view and seqno, written `view.seqno`. `[6]`

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Highest view an entry can have: the highest bit of its 32 marks snapshots. `[7.1]`
pub const MAX_VIEW: u64 = (1 << 31) - 1;
/// Highest seqno an entry can have; below the 2^63 of the format by the limit of the log.
pub const MAX_SEQNO: u64 = 1 << 62;
/// Most digits of either number.
const DIGITS: usize = 20;

/// Where a transaction is in the ledger, and who put it there: the leader of a view.
///
/// Ordered by view, then seqno, as Raft compares logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TxId {
    /// The view (Raft's term) of its leader. 0: none.
    pub view: u64,
    /// Its place in the ledger, from 1. 0: none.
    pub seqno: u64,
}

impl TxId {
    /// The id of a transaction.
    #[must_use]
    pub const fn new(view: u64, seqno: u64) -> Self {
        Self { view, seqno }
    }

    /// Whether an entry can have this id.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.view >= 1 && self.view <= MAX_VIEW && self.seqno >= 1 && self.seqno <= MAX_SEQNO
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view, self.seqno)
    }
}

/// A text is not a transaction id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction id: expected two decimal numbers with a dot between, such as 2.43")]
pub struct TxIdError;

impl FromStr for TxId {
    type Err = TxIdError;

    /// `^[0-9]+\.[0-9]+$`. Leading zeros are allowed, as in the reference.
    fn from_str(text: &str) -> Result<Self, TxIdError> {
        let (view, seqno) = text.split_once('.').ok_or(TxIdError)?;
        Ok(Self { view: number(view)?, seqno: number(seqno)? })
    }
}

fn number(text: &str) -> Result<u64, TxIdError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || text.len() > DIGITS {
        return Err(TxIdError);
    }
    text.parse().map_err(|_| TxIdError)
}

impl Serialize for TxId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TxId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
