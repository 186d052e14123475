//! Idempotency keys: the rows of their map, and which are the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::raft::Seqno;
use quorate_ledger::ccf::TxId;
use quorate_ledger::ccf::maps::IDEMPOTENCY;
use quorate_ledger::state::{Value, WriteSet};

use crate::cft::kv::Store;

/// Idempotency keys in the order of their transactions, with the time of each.
#[derive(Debug, Default)]
pub struct Keyed(pub BTreeMap<Seqno, (Vec<u8>, u64)>);

/// A row of the idempotency map: `view(8) seqno(8) time(8) digest of the operations(32)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedRow {
    /// The transaction of the request.
    pub tx: TxId,
    /// When.
    pub at_ms: u64,
    /// Digest of its operations.
    pub request: [u8; 32],
}

impl KeyedRow {
    /// The row.
    pub fn to_value(&self) -> Value {
        let mut row = [0; 56];
        row[..8].copy_from_slice(&self.tx.view.to_be_bytes());
        row[8..16].copy_from_slice(&self.tx.seqno.to_be_bytes());
        row[16..24].copy_from_slice(&self.at_ms.to_be_bytes());
        row[24..].copy_from_slice(&self.request);
        Arc::from(row)
    }

    /// What a row says; `None` if it is none.
    pub fn read(row: &[u8]) -> Option<Self> {
        let row: &[u8; 56] = row.try_into().ok()?;
        let number = |at: usize| row[at..at + 8].try_into().ok().map(u64::from_be_bytes);
        let tx = TxId::new(number(0)?, number(8)?);
        Some(Self { tx, at_ms: number(16)?, request: row[24..].try_into().ok()? })
    }
}

impl Keyed {
    /// A transaction is about to be appended.
    pub fn append(&mut self, store: &Store, writes: &WriteSet) {
        for (map, key, row) in writes.iter() {
            if map != IDEMPOTENCY {
                continue;
            }
            if let Some(before) = store.head(map, key).and_then(|row| KeyedRow::read(row)) {
                self.0.remove(&before.tx.seqno);
            }
            if let Some(row) = row.and_then(|row| KeyedRow::read(row)) {
                self.0.insert(row.tx.seqno, (key.to_vec(), row.at_ms));
            }
        }
    }

    /// Takes the keys from the store: after a rollback or a snapshot.
    pub fn reload(&mut self, store: &Store) {
        self.0.clear();
        for (key, row) in store.head_from(IDEMPOTENCY, b"") {
            if let Some(row) = KeyedRow::read(row) {
                self.0.insert(row.tx.seqno, (key.to_vec(), row.at_ms));
            }
        }
    }
}
