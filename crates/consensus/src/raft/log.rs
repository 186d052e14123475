//! What the protocol must know of the log: how long it is, how far it is committed, where each view
//! begins, and which entries are signatures. The entries themselves are the driver's.

use std::collections::VecDeque;

use quorate_ledger::mutants::{Mutant, mutated};

use super::{Seqno, View};

/// Where each view begins. Views without entries are not kept: they begin where the next one does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewHistory {
    /// View and its first entry; both strictly ascending.
    starts: Vec<(View, Seqno)>,
}

impl ViewHistory {
    /// The history with these views and their first entries. `None` unless both ascend.
    #[must_use]
    pub fn from_starts(starts: Vec<(View, Seqno)>) -> Option<Self> {
        let good = starts.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        let positive = starts.first().is_none_or(|(view, seqno)| *view > 0 && *seqno > 0);
        (good && positive).then_some(Self { starts })
    }

    /// The views that have entries, with the first entry of each.
    #[must_use]
    pub fn starts(&self) -> &[(View, Seqno)] {
        &self.starts
    }

    /// All views up to `view` that have not begun yet begin at `seqno` (so only `view` has entries
    /// there). False, without any effect, if the last view began after `seqno`.
    #[must_use]
    pub fn update(&mut self, seqno: Seqno, view: View) -> bool {
        let Some((last_view, last_start)) = self.starts.last().copied() else {
            if view > 0 {
                self.starts.push((view, seqno));
            }
            return true;
        };
        if seqno < last_start {
            return false;
        }
        if view > last_view {
            if seqno == last_start {
                self.starts.pop();
            }
            self.starts.push((view, seqno));
        }
        true
    }

    /// The view that the entry at `seqno` belongs to, if it exists or is the next one; 0 if there
    /// is none.
    #[must_use]
    pub fn view_at(&self, seqno: Seqno) -> View {
        match self.starts.partition_point(|(_, start)| *start <= seqno) {
            0 => 0,
            n => self.starts[n - 1].0,
        }
    }

    fn find(&self, view: View) -> Option<usize> {
        self.starts.binary_search_by_key(&view, |(v, _)| *v).ok()
    }

    /// First entry of `view`; 0 if it has none.
    #[must_use]
    pub fn start_of_view(&self, view: View) -> Seqno {
        self.find(view).map_or(0, |at| self.starts[at].1)
    }

    /// Last entry of `view`; 0 if it has none or is the last view.
    #[must_use]
    pub fn end_of_view(&self, view: View) -> Seqno {
        let next = self.find(view).and_then(|at| self.starts.get(at + 1));
        next.map_or(0, |(_, start)| start - 1)
    }

    /// Forgets views that begin after `seqno`.
    pub fn rollback(&mut self, seqno: Seqno) {
        let keep = self.starts.partition_point(|(_, start)| *start <= seqno);
        self.starts.truncate(keep);
    }
}

/// The log, seen by the protocol.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Log {
    /// Last entry; 0 if there is none.
    pub(super) last_idx: Seqno,
    /// Last committed entry.
    pub(super) commit_idx: Seqno,
    /// Where each view begins.
    pub(super) views: ViewHistory,
    /// Signatures after `commit_idx`, ascending.
    pub(super) committable: VecDeque<Seqno>,
}

impl Log {
    /// Last committable index: the last signature, or what is committed if none came later.
    pub(super) fn last_committable(&self) -> Seqno {
        self.committable.back().copied().unwrap_or(self.commit_idx)
    }

    /// The highest signature that is not committed and not after `seqno`.
    pub(super) fn highest_committable(&self, seqno: Seqno) -> Option<Seqno> {
        if mutated(Mutant::RaftNoSignatureGate) {
            return Some(seqno.min(self.last_idx));
        }
        let n = self.committable.partition_point(|s| *s <= seqno);
        n.checked_sub(1).map(|at| self.committable[at])
    }

    /// View of the entry at `seqno`; 0 (unknown) after the last one.
    pub(super) fn term(&self, seqno: Seqno) -> View {
        if seqno > self.last_idx { 0 } else { self.views.view_at(seqno) }
    }

    /// The highest entry that may equal one of another log whose entry at `seqno` is of `view`:
    /// passes over whole views, so the number of rounds until two logs agree is bounded by the
    /// views in which they differ, not by entries.
    pub(super) fn highest_possible_match(&self, view: View, seqno: Seqno) -> Seqno {
        let mut probe = seqno.min(self.last_idx);
        loop {
            let found = self.views.view_at(probe);
            if found <= view {
                return probe;
            }
            if mutated(Mutant::RaftBackOffByOne) {
                return probe.saturating_sub(1);
            }
            probe = self.views.start_of_view(found).saturating_sub(1);
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
