//! A member that needs entries which its leader does not have: the leader joined with a snapshot,
//! and its log begins later. The leader offers a snapshot, and the member begins again after it.
//!
//! Nothing that may have been counted is given up: the member takes a snapshot only if its own log
//! is shorter, or another one at that place. In the first case everything of it that is committed
//! is in the snapshot; in the second, what follows cannot be committed, since the snapshot's entry
//! is. View and vote stay.

use quorate_consensus::core::Time;
use quorate_consensus::raft::{NodeId, Seqno, View};
use quorate_ledger::ccf::TxId;
use quorate_ledger::ccf::snapshot::Snapshot;

use super::Member;
use crate::cft::api::{Code, Config, Error, LedgerSecret, Notice, Output, PeerRef};
use crate::cft::keys::Keys;
use crate::cft::limits::MAX_SNAPSHOT;
use crate::cft::log::SnapshotFile;
use crate::cft::wire::Packet;

/// A snapshot that was offered, on its way.
#[derive(Debug)]
struct Download {
    from: PeerRef,
    tx: TxId,
    evidence: Seqno,
    total: u64,
    bytes: Vec<u8>,
}

/// What a member that is far behind fetches.
#[derive(Debug, Default)]
pub(super) struct Behind {
    download: Option<Download>,
    /// Verified: the log can begin after it.
    ready: Option<(TxId, SnapshotFile)>,
}

/// What a member keeps that begins again after a snapshot.
#[derive(Debug)]
pub(in crate::cft) struct Remains<K> {
    pub config: Config,
    pub keys: K,
    pub secret: LedgerSecret,
    pub told: Vec<(NodeId, PeerRef)>,
    pub view: View,
    pub voted_for: Option<NodeId>,
    pub outputs: Vec<Output>,
}

impl<K: Keys> Member<K> {
    /// What is offered to a node that needs an entry from before this log.
    pub(in crate::cft) fn offer(&self) -> Option<Packet> {
        let seqno = self.latest_snapshot();
        let tx = TxId::new(self.raft.view_at(seqno), seqno);
        (seqno > 0 && seqno >= self.raft.startup_seqno()).then_some(Packet::OfferSnapshot(tx))
    }

    /// Whether a snapshot is being fetched.
    pub(super) const fn is_behind(&self) -> bool {
        self.behind.download.is_some() || self.behind.ready.is_some()
    }

    /// Whether this log lacks what the snapshot of a transaction has.
    fn lacks(&self, tx: TxId) -> bool {
        tx.seqno > self.raft.commit_idx()
            && (tx.seqno > self.raft.last_idx() || self.raft.view_at(tx.seqno) != tx.view)
    }

    /// The leader offers a snapshot; it does so again while nothing else helps.
    pub(super) fn offered(&mut self, peer: PeerRef, tx: TxId) {
        if self.leads() || !self.nodes.is_node(&peer) || !self.lacks(tx) {
            return;
        }
        let known = self.behind.download.as_ref();
        if known.is_none_or(|download| (&download.from, download.tx) != (&peer, tx)) {
            let (from, bytes) = (peer, Vec::new());
            self.behind.download = Some(Download { from, tx, evidence: 0, total: 0, bytes });
        }
        self.fetch_on();
    }

    fn fetch_on(&mut self) {
        let Some(download) = &self.behind.download else { return };
        let offset = download.bytes.len() as u64;
        let packet = Packet::FetchSnapshot { seqno: download.tx.seqno, offset };
        self.send(download.from.clone(), &packet);
    }

    /// A part of what was offered.
    pub(super) fn offered_part(
        &mut self,
        peer: &PeerRef,
        (seqno, evidence): (Seqno, Seqno),
        (offset, total): (u64, u64),
        bytes: &[u8],
    ) {
        let Some(download) = &mut self.behind.download else { return };
        if download.from != *peer {
            return;
        }
        if seqno != download.tx.seqno || total == 0 || total > MAX_SNAPSHOT {
            // It has another one by now, and will offer that.
            self.behind.download = None;
            return;
        }
        if download.bytes.is_empty() {
            (download.evidence, download.total) = (evidence, total);
        }
        let expected = (download.evidence, download.total, download.bytes.len() as u64);
        if (evidence, total, offset) != expected || bytes.is_empty() {
            return;
        }
        download.bytes.extend_from_slice(bytes);
        if (download.bytes.len() as u64) < total {
            return self.fetch_on();
        }
        let Some(Download { tx, bytes, .. }) = self.behind.download.take() else { return };
        let file = SnapshotFile { seqno, evidence, bytes: bytes.into() };
        match self.check_offered(&file, tx) {
            Ok(()) => self.behind.ready = Some((tx, file)),
            Err(why) => self.notice(Notice::Inconsistent(format!("a snapshot offered: {why}"))),
        }
    }

    fn check_offered(&self, file: &SnapshotFile, tx: TxId) -> Result<(), String> {
        let bytes = self.keys.check_snapshot(&file.bytes, self.keys.service_certificate())?;
        let snapshot = Snapshot::decode(bytes, self.chain.secret()).map_err(|e| e.to_string())?;
        snapshot.tree().map_err(|e| e.to_string())?;
        if snapshot.id == tx {
            Ok(())
        } else {
            Err(format!("it is of transaction {}", snapshot.id))
        }
    }

    /// The snapshot that the log has to begin after, if it still has to.
    pub(in crate::cft) fn take_replacement(&mut self) -> Option<SnapshotFile> {
        let (tx, file) = self.behind.ready.take()?;
        (self.stopped.is_none() && !self.leads() && self.lacks(tx)).then_some(file)
    }

    /// Ends, to begin again after a snapshot. What became of their writes is not known to those who
    /// wait here.
    pub(in crate::cft) fn give_up_log(mut self) -> Remains<K> {
        let error = Error::new(
            Code::TransactionReplicationFailed,
            "the node begins again after a snapshot; the request may have been carried out",
        );
        let callers = self.callers();
        let replies = callers.into_iter().map(|ticket| Output::Reply(ticket, Err(error.clone())));
        Remains {
            outputs: replies.collect(),
            told: self.nodes.hearsay(),
            secret: self.chain.secret().clone(),
            view: self.raft.view(),
            voted_for: self.raft.voted_for(),
            config: self.config,
            keys: self.keys,
        }
    }

    /// Everybody who waits for an answer here; nobody does any more.
    pub(super) fn callers(&mut self) -> std::collections::BTreeSet<crate::cft::api::Ticket> {
        use super::Origin;
        let mut origins = Vec::new();
        origins.extend(self.waits.expire(Time(u64::MAX)).into_iter().map(|waiter| waiter.origin));
        let reads = std::mem::take(&mut self.reads).into_values();
        let reads = reads.chain(std::mem::take(&mut self.early_reads));
        origins.extend(reads.map(|read| read.origin));
        origins.extend(std::mem::take(&mut self.queued).into_iter().map(|(origin, _)| origin));
        let tickets = origins.into_iter().filter_map(|origin| match origin {
            Origin::Local(ticket) => Some(ticket),
            Origin::Remote(..) => None,
        });
        let forwarded = self.forwards.expire(Time(u64::MAX)).into_iter().map(|(ticket, _)| ticket);
        tickets.chain(forwarded).collect()
    }
}
