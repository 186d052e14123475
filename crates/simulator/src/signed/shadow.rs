//! One member: what is on its disk, and what follows from it.

use std::collections::BTreeSet;
use std::rc::Rc;

use quorate_consensus::raft::{Configuration, Kind, NodeId, Phase, Seqno, View};
use quorate_ledger::ccf::maps::NodeStatus;

use super::made::{Made, Members};

/// What a member has made durable.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// Who it is.
    pub id: NodeId,
    /// Its disk is lost: it has what it had, and will never say anything again.
    pub gone: bool,
    /// The last turn may or may not be on its disk: the power went in it, or the disk failed.
    pub uncertain: bool,
    /// Its view.
    pub view: View,
    /// Its vote in it.
    pub voted_for: Option<NodeId>,
    /// The longest its log has been in its last turn: it may have acknowledged that before it cut.
    pub peak: Seqno,
    /// What it knows to be committed, in this life.
    pub commit: Seqno,
    /// What it has ever known to be committed.
    pub promised: Seqno,
    /// What its disk was given as committed, or was found to say.
    pub kept: Seqno,
    /// Its log begins after this entry.
    base: Seqno,
    base_view: View,
    entries: Vec<Rc<Made>>,
    /// All configurations in its log, and the one in force at the base.
    configurations: Vec<(Seqno, Members)>,
    signatures: Vec<Seqno>,
    /// Statements about retirements.
    retired: Vec<(Seqno, NodeId)>,
    /// It recovers the group, or reads its log after a restart: of a recovery in its log it knows that
    /// nothing before counts.
    pub renews: bool,
    /// The last recovery of which it knows that.
    renewed: Option<Seqno>,
}

impl Shadow {
    /// A member with nothing.
    #[must_use]
    pub const fn new(id: NodeId) -> Self {
        Self {
            id,
            gone: false,
            uncertain: false,
            view: 0,
            voted_for: None,
            peak: 0,
            commit: 0,
            promised: 0,
            kept: 0,
            base: 0,
            base_view: 0,
            entries: Vec::new(),
            configurations: Vec::new(),
            signatures: Vec::new(),
            retired: Vec::new(),
            renews: false,
            renewed: None,
        }
    }

    /// Its log begins after this entry.
    #[must_use]
    pub const fn base(&self) -> Seqno {
        self.base
    }

    /// Its last entry.
    #[must_use]
    pub fn last(&self) -> Seqno {
        self.base + self.entries.len() as u64
    }

    /// The view of its last entry; 0 if it has nothing.
    #[must_use]
    pub fn last_view(&self) -> View {
        self.entries.last().map_or(self.base_view, |entry| entry.view)
    }

    /// The entry at a place, if it has it.
    #[must_use]
    pub fn entry(&self, seqno: Seqno) -> Option<&Rc<Made>> {
        let at = seqno.checked_sub(self.base + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Whether it has this entry, which is committed or may be soon, or a snapshot of it.
    #[must_use]
    pub fn holds(&self, made: &Made) -> bool {
        made.seqno <= self.base || self.entry(made.seqno).is_some_and(|own| own.view == made.view)
    }

    /// Whether an entry is a signature; what it has as a snapshot ends with one.
    #[must_use]
    pub fn is_signature(&self, seqno: Seqno) -> bool {
        seqno == self.base || self.signatures.binary_search(&seqno).is_ok()
    }

    /// The last signature in its log, or the snapshot that it begins after; 0 if there is none.
    #[must_use]
    pub fn last_signature(&self) -> Seqno {
        self.signatures.last().copied().unwrap_or(self.base)
    }

    /// Whether its log has a recovery of the group after this entry, which is signed.
    #[must_use]
    pub fn is_recovered_after(&self, seqno: Seqno) -> bool {
        let mut later = self.entries.iter().filter(|made| made.recovers && made.seqno > seqno);
        later.any(|made| made.seqno < self.last_signature())
    }

    /// Members in force after an entry.
    #[must_use]
    pub fn members_at(&self, seqno: Seqno) -> Option<&(Seqno, Members)> {
        self.configurations.iter().rev().find(|(at, _)| *at <= seqno)
    }

    /// Configurations from the one in force at `seqno` on. A recovery ends all that were before it,
    /// without anybody's consent.
    pub fn configurations_from(&self, seqno: Seqno) -> &[(Seqno, Members)] {
        let later = self.configurations.partition_point(|(at, _)| *at <= seqno);
        let renewed = self.renewed.unwrap_or_default();
        let ended = self.configurations.partition_point(|(at, _)| *at < renewed);
        &self.configurations[later.saturating_sub(1).max(ended)..]
    }

    /// It begins after a snapshot: of this entry, when these members were in force.
    pub fn install(&mut self, seqno: Seqno, view: View, members: Option<(Seqno, Members)>) {
        self.entries.clear();
        self.signatures.clear();
        self.retired.clear();
        (self.base, self.base_view) = (seqno, view);
        self.configurations = members.into_iter().collect();
        self.renewed = None;
        self.commit = seqno;
        self.promised = self.promised.max(seqno);
        self.kept = self.kept.max(seqno);
    }

    /// The next entry is in its log.
    ///
    /// # Errors
    /// If it cannot be the next one.
    pub fn append(&mut self, made: Rc<Made>) -> Result<(), String> {
        let (last, view) = (self.last(), self.last_view());
        if made.seqno != last + 1 {
            return Err(format!("entry {}.{} comes after {last}", made.view, made.seqno));
        }
        if made.view < view {
            return Err(format!("entry {}.{} comes after view {view}", made.view, made.seqno));
        }
        if made.view > view && last > 0 && !self.is_signature(last) {
            let text = format!("view {} begins at {}, after no signature", made.view, made.seqno);
            return Err(text);
        }
        if made.signature {
            self.signatures.push(made.seqno);
        }
        let empty = Members::new();
        let before = self.configurations.last().map_or(&empty, |(_, members)| members);
        if let Some(members) = made.members(before) {
            self.configurations.push((made.seqno, members));
        }
        for (node, row) in &made.nodes {
            if matches!(row, Some((NodeStatus::Retired, true))) {
                self.retired.push((made.seqno, *node));
            }
        }
        if made.recovers && self.renews {
            self.renewed = Some(made.seqno);
        }
        self.entries.push(made);
        Ok(())
    }

    /// What the last entry means to the protocol, by its bytes.
    #[must_use]
    pub fn last_kind(&self) -> Option<Kind> {
        let last = self.entries.last()?;
        if last.signature {
            return Some(Kind::Signature);
        }
        if let Some((at, members)) = self.configurations.last()
            && *at == last.seqno
        {
            return Some(Kind::Configuration(members.keys().copied().collect()));
        }
        let retired = self.retired.iter().filter(|(at, _)| *at == last.seqno);
        let retired: Vec<NodeId> = retired.map(|(_, node)| *node).collect();
        Some(if retired.is_empty() { Kind::Raw } else { Kind::Retired(retired) })
    }

    /// Entries after this one are gone.
    ///
    /// # Errors
    /// If they were known to be committed.
    pub fn truncate(&mut self, after: Seqno) -> Result<(), String> {
        if after < self.promised {
            return Err(format!("cuts its log after {after}, and {} is committed", self.promised));
        }
        let keep = usize::try_from(after - self.base).expect("not below what is committed");
        self.entries.truncate(keep);
        self.signatures.retain(|at| *at <= after);
        self.configurations.retain(|(at, _)| *at <= after);
        self.retired.retain(|(at, _)| *at <= after);
        self.renewed = self.renewed.filter(|at| *at <= after);
        Ok(())
    }

    /// The configurations that must be active, given what it knows to be committed.
    pub fn active(&self) -> impl Iterator<Item = Configuration> {
        self.configurations_from(self.commit).iter().map(|(idx, members)| Configuration {
            idx: *idx,
            nodes: members.keys().copied().collect::<BTreeSet<NodeId>>(),
        })
    }

    /// The commit that ended the last configuration that does not count any more, if there is one.
    #[must_use]
    pub fn ended(&self) -> Option<Seqno> {
        let all = self.configurations_from(0);
        let active = self.configurations_from(self.commit);
        let first = active.first().map(|(at, _)| *at)?;
        (all.len() > active.len()).then_some(first)
    }

    /// How far its own retirement must be.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        let mut was = false;
        let mut left_at = None;
        for (at, members) in &self.configurations {
            let is = members.contains_key(&self.id);
            if was && !is {
                left_at = Some(*at);
            } else if is {
                left_at = None;
            }
            was = is;
        }
        let left_at = left_at?;
        let later = self.signatures.partition_point(|at| *at <= left_at);
        Some(match self.signatures.get(later) {
            None => Phase::Ordered,
            Some(at) if *at > self.commit => Phase::Signed,
            Some(_) => {
                let named = |(at, node): &(Seqno, NodeId)| *at <= self.commit && *node == self.id;
                if self.retired.iter().any(named) {
                    Phase::RetiredCommitted
                } else {
                    Phase::Completed
                }
            }
        })
    }
}
