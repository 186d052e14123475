//! Snapshots \[7.5\]: every node takes them alike, at the same transactions.
//!
//! A snapshot is due at the first signature that ends a chunk `snapshots.tx_count` transactions
//! after the last one, or `snapshots.time_interval` after it if there are `snapshots.min_tx_count`
//! more; the leader lets a chunk end there. Every node takes it when that signature is committed.
//! The leader writes its digest into the ledger, and with the receipt of that the snapshot is
//! complete.
//!
//! A leader whose log begins after a snapshot, and which has none to give (of before a recovery, or
//! damaged), takes one as soon as it can, whatever is configured: nobody could join without it.
//!
//! What is due by time is due by the leader's clock. A follower's may have begun to count a little
//! later, so it takes one at any chunk's end after half of the interval; one that the leader does not
//! vouch for is dropped.

use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::raft::{Configuration, Seqno, Snapshot as RaftSnapshot};
use quorate_crypto::hash::{Digest, sha256};
use quorate_ledger::ccf::maps::{
    SERVICE_INFO, SINGLE, SNAPSHOT_EVIDENCE, ServiceInfo, SnapshotEvidence, read_row,
};
use quorate_ledger::ccf::receipt::Covering;
use quorate_ledger::ccf::signature::is_signature;
use quorate_ledger::ccf::snapshot::{self, Snapshot};
use quorate_ledger::ccf::{Head, Transaction, TxId};
use quorate_ledger::state::WriteSet;

use super::Member;
use super::open::raft_snapshot;
use crate::cft::api::{Notice, PeerRef};
use crate::cft::chain::Chain;
use crate::cft::driver::OpenError;
use crate::cft::keys::Keys;
use crate::cft::kv::Store;
use crate::cft::limits::SNAPSHOT_PART;
use crate::cft::log::SnapshotFile;
use crate::cft::wire::Packet;

/// A snapshot whose evidence is not committed.
#[derive(Debug)]
struct Taken {
    seqno: Seqno,
    digest: Digest,
    bytes: Vec<u8>,
    /// Where its evidence is committed.
    evidence: Option<Seqno>,
}

/// Snapshots on their way, and the latest.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// The last transaction that one was due at.
    last: Seqno,
    /// When that was committed here, or the member was opened.
    last_at: Time,
    taken: Option<Taken>,
    complete: Vec<Arc<SnapshotFile>>,
    latest: Option<Arc<SnapshotFile>>,
}

impl Snapshots {
    /// Of a member that is opened now.
    pub(super) const fn new(now: Time) -> Self {
        Self { last: 0, last_at: now, taken: None, complete: Vec::new(), latest: None }
    }
}

impl<K: Keys> Member<K> {
    /// The latest complete snapshot; 0: none.
    pub(super) fn latest_snapshot(&self) -> Seqno {
        self.snapshots.latest.as_ref().map_or(0, |file| file.seqno)
    }

    /// What the log has stored. One from before a recovery is of another service.
    pub(in crate::cft) fn set_latest_snapshot(&mut self, file: Option<Arc<SnapshotFile>>) {
        let created = self.service.as_ref().and_then(|s| s.current_service_create_txid);
        let created = created.map_or(0, |tx| tx.seqno);
        self.snapshots.latest = file.filter(|file| file.evidence >= created);
    }

    /// As [`Self::set_latest_snapshot`], of one that has just been read: if its file is damaged it is
    /// none, and the next one takes its place.
    pub(in crate::cft) fn check_latest_snapshot(&mut self, file: Option<SnapshotFile>) {
        let certificate = self.keys.service_certificate();
        let good = file.filter(|file| self.keys.check_snapshot(&file.bytes, certificate).is_ok());
        self.set_latest_snapshot(good.map(Arc::new));
    }

    /// Whether there are complete snapshots to be stored.
    pub(in crate::cft) fn has_snapshots(&self) -> bool {
        !self.snapshots.complete.is_empty()
    }

    /// Complete snapshots, to be stored.
    pub(in crate::cft) fn take_snapshots(&mut self) -> Vec<Arc<SnapshotFile>> {
        std::mem::take(&mut self.snapshots.complete)
    }

    /// Whether this leader can give nobody what was before its log.
    fn lacks_snapshot(&self) -> bool {
        self.leads() && self.raft.startup_seqno() > 0 && self.snapshots.latest.is_none()
    }

    /// Whether one is due at a transaction: by count, by time after so many milliseconds, or because
    /// it is needed.
    fn is_due(&self, seqno: Seqno, interval_ms: u64) -> bool {
        let (config, last) = (&self.config, self.snapshots.last);
        let after = |count: u64| seqno >= last.saturating_add(count.max(1));
        let by_count = config.snapshot_tx_count > 0 && after(config.snapshot_tx_count);
        let elapsed = self.now.0.saturating_sub(self.snapshots.last_at.0);
        let by_time = interval_ms > 0 && elapsed >= interval_ms;
        let needed = by_time || self.lacks_snapshot();
        by_count || (needed && after(config.snapshot_min_tx_count))
    }

    /// Whether one may be made, or put down, in the next turn.
    pub(super) fn may_change_snapshot(&self) -> bool {
        let interval = self.config.snapshot_interval_ms.div_ceil(2);
        self.is_behind() || self.is_due(self.chain.last_idx() + 1, interval)
    }

    /// Whether the next signature shall end a chunk because a snapshot is due there.
    pub(super) fn cuts_for_snapshot(&self) -> bool {
        self.is_due(self.chain.last_idx() + 1, self.config.snapshot_interval_ms)
    }

    /// The transaction `at` is in the committed state, and nothing after it.
    pub(super) fn take_snapshot_if_due(
        &mut self,
        at: Seqno,
        writes: &WriteSet,
    ) -> Result<(), String> {
        if let Some(Some(row)) = writes.get(SNAPSHOT_EVIDENCE, &SINGLE) {
            let row = read_row::<SnapshotEvidence>(SNAPSHOT_EVIDENCE, row);
            self.note_evidence(at, row.map_err(|e| e.to_string())?);
        }
        if !is_signature(writes) {
            return Ok(());
        }
        self.complete_snapshot(at, writes);
        let ends = self.recent.get(at).and_then(|entry| Head::read(&entry.bytes).ok());
        let interval = self.config.snapshot_interval_ms.div_ceil(2);
        if !ends.is_some_and(|head| head.flags.ends_chunk()) || !self.is_due(at, interval) {
            return Ok(());
        }
        (self.snapshots.last, self.snapshots.last_at) = (at, self.now);
        let id = TxId::new(self.raft.view_at(at), at);
        let leaf = self.chain.tree().leaf(at).ok_or("the leaf of a signature is not there")?;
        let views = views(self.raft.view_history().starts(), at);
        let state = self.store.take_out();
        let snapshot = Snapshot { id, leaf, views, state };
        let encoded = snapshot.encode(self.chain.secret());
        self.store.put_back(snapshot.state);
        match encoded {
            Ok(bytes) => {
                let digest = sha256(&bytes);
                self.snapshots.taken = Some(Taken { seqno: at, digest, bytes, evidence: None });
            }
            Err(error) => self.notice(Notice::Inconsistent(format!("no snapshot: {error}"))),
        }
        Ok(())
    }

    fn note_evidence(&mut self, at: Seqno, row: SnapshotEvidence) {
        if row.version > self.snapshots.last {
            (self.snapshots.last, self.snapshots.last_at) = (row.version, self.now);
        }
        let Some(taken) = &mut self.snapshots.taken else { return };
        if (row.version, row.hash) == (taken.seqno, taken.digest) {
            taken.evidence = Some(at);
        } else if row.version == taken.seqno {
            self.snapshots.taken = None;
            let message = format!("the snapshot at {} differs from the leader's", row.version);
            self.notice(Notice::Inconsistent(message));
        }
    }

    /// The first signature after the evidence: now there is a receipt.
    fn complete_snapshot(&mut self, at: Seqno, writes: &WriteSet) {
        let Some(evidence) = self.snapshots.taken.as_ref().and_then(|taken| taken.evidence) else {
            return;
        };
        let Some(Taken { seqno, mut bytes, .. }) = self.snapshots.taken.take() else { return };
        let Some(entry) = self.recent.get(evidence) else { return };
        let id = TxId::new(self.raft.view_at(at), at);
        let (claims, none) = (Digest::default(), Digest::default());
        let signature = Transaction { id, claims, evidence: none, writes: writes.clone() };
        let receipt = Covering::new(&signature)
            .and_then(|covering| covering.receipt(&entry.bytes, self.chain.secret()));
        match receipt {
            Ok(receipt) => {
                bytes.extend_from_slice(&receipt.to_json());
                let file = SnapshotFile { seqno, evidence, bytes: bytes.into() };
                self.snapshots.complete.push(Arc::new(file));
            }
            Err(error) => self.notice(Notice::Inconsistent(format!("no snapshot: {error}"))),
        }
    }

    /// The leader writes the digest of the snapshot that has none in the ledger yet.
    pub(super) fn drive_snapshots(&mut self, env: &mut Env) {
        let Some(taken) = &self.snapshots.taken else { return };
        let row = self.store.head(SNAPSHOT_EVIDENCE, &SINGLE);
        let row = row.and_then(|row| read_row::<SnapshotEvidence>(SNAPSHOT_EVIDENCE, row).ok());
        if row.is_some_and(|row| row.version >= taken.seqno) {
            return;
        }
        match snapshot::evidence(&taken.bytes, taken.seqno) {
            Ok((writes, claims)) => self.internal_with(env, writes, claims),
            Err(error) => self.stop(format!("cannot write a snapshot's evidence: {error}")),
        }
    }

    /// A joiner fetches a part.
    pub(super) fn serve_snapshot(&mut self, peer: PeerRef, seqno: Seqno, offset: u64) {
        if !self.is_admitted(&peer) {
            return;
        }
        let file = self.snapshots.latest.as_ref();
        let file = file.filter(|file| seqno == 0 || file.seqno == seqno);
        let part = file.and_then(|file| {
            let start = usize::try_from(offset).ok().filter(|start| *start < file.bytes.len())?;
            let end = file.bytes.len().min(start + SNAPSHOT_PART);
            Some(Packet::SnapshotPart {
                seqno: file.seqno,
                evidence: file.evidence,
                offset,
                total: file.bytes.len() as u64,
                bytes: file.bytes[start..end].to_vec(),
            })
        });
        let none = Packet::SnapshotPart { seqno: 0, evidence: 0, offset, total: 0, bytes: vec![] };
        self.send(peer, &part.unwrap_or(none));
    }

    /// The log begins after this snapshot. Whoever fetched it has checked that it is of the service;
    /// here it is checked that it is whole: it may be from before a recovery, of the service as it
    /// was.
    pub(super) fn install_snapshot(
        &mut self,
        file: &SnapshotFile,
    ) -> Result<RaftSnapshot, OpenError> {
        let wrong = |what: String| OpenError::Entry(file.seqno, what);
        let secret = self.chain.secret().clone();
        let (bytes, _) = snapshot::split(&file.bytes).map_err(|e| wrong(e.to_string()))?;
        let snapshot = Snapshot::decode(bytes, &secret).map_err(|e| wrong(e.to_string()))?;
        let seqno = snapshot.id.seqno;
        if seqno != file.seqno {
            return Err(wrong(format!("the snapshot is of transaction {}", snapshot.id)));
        }
        let service = snapshot.state.get(SERVICE_INFO, &SINGLE).ok_or("it names no service");
        let service = service.map_err(|what| wrong(what.to_owned()))?;
        let service: ServiceInfo =
            read_row(SERVICE_INFO, service).map_err(|e| wrong(e.to_string()))?;
        self.keys.check_snapshot(&file.bytes, &service.cert).map_err(wrong)?;
        let tree = snapshot.tree().map_err(|e| wrong(e.to_string()))?;
        self.chain = Chain::after_snapshot(secret, self.config.chunk_size, tree, seqno);
        self.store = Store::from_snapshot(snapshot.state, seqno);
        self.nodes.reload(&self.store).map_err(|e| wrong(e.to_string()))?;
        self.nodes.commit_all(seqno);
        self.keyed.reload(&self.store);
        self.reload_service().map_err(wrong)?;
        (self.snapshots.last, self.snapshots.last_at) = (seqno, self.now);
        self.verified_view = 0;
        let configuration = Configuration { idx: seqno, nodes: self.nodes.trusted() };
        let starts = starts(&snapshot.views, seqno);
        raft_snapshot(seqno, starts, configuration)
            .ok_or_else(|| wrong("the views of the snapshot go back".to_owned()))
    }
}

/// First entries of the views from 1 on, up to `last`; an empty view begins where the next does.
fn views(starts: &[(u64, Seqno)], last: Seqno) -> Vec<Seqno> {
    let mut views = Vec::new();
    for (view, first) in starts.iter().filter(|(_, first)| *first <= last) {
        while (views.len() as u64) < *view {
            views.push(*first);
        }
    }
    views
}

/// The other way round.
fn starts(views: &[Seqno], last: Seqno) -> Vec<(u64, Seqno)> {
    let numbered = (1u64..).zip(views.iter().copied());
    let next = views.iter().skip(1).copied().map(Some).chain([None]);
    let filled = numbered.zip(next).filter(|((_, first), next)| Some(*first) != *next);
    filled.map(|(start, _)| start).filter(|(_, first)| *first <= last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_survive_a_snapshot() {
        let history = vec![(2, 1), (3, 7), (6, 9), (7, 20)];
        assert_eq!(views(&history, 12), [1, 1, 7, 9, 9, 9]);
        assert_eq!(starts(&views(&history, 12), 12), history[..3]);
        assert_eq!(starts(&views(&history, 20), 20), history);
        assert_eq!(starts(&[], 5), []);
    }
}
