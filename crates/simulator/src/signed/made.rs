//! Entries as they were made: what their bytes say, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::raft::{NodeId, Seqno, View};
use quorate_crypto::hash::{Digest, sha256};
use quorate_ledger::ccf::maps::{self, NodeStatus, SERVICE_ENDORSEMENTS};
use quorate_ledger::ccf::{Head, LedgerSecret, Transaction, signature};
use quorate_ledger::state::WriteSet;

/// An entry, and what its bytes say.
#[derive(Clone, Debug)]
pub struct Made {
    /// View of its bytes.
    pub view: View,
    /// Place of its bytes.
    pub seqno: Seqno,
    /// View of the entry before; 0 if it is the first.
    pub after: View,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Whether it is a signature.
    pub signature: bool,
    /// Rows of nodes that it writes: their status, and whether their retirement is committed.
    pub nodes: Vec<(NodeId, Option<(NodeStatus, bool)>)>,
    /// Whether the group is recovered with it.
    pub recovers: bool,
    /// Everything it writes.
    pub writes: WriteSet,
}

impl Made {
    /// Reads an entry that follows one of view `after`.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &Arc<[u8]>, after: View, secret: &LedgerSecret) -> Result<Self, String> {
        let transaction = Transaction::decode(bytes, secret).map_err(|error| error.to_string())?;
        let rows = maps::nodes_written(&transaction.writes).map_err(|error| error.to_string())?;
        let nodes = rows.into_iter().map(|(node, row)| {
            (NodeId(node.0), row.map(|row| (row.status, row.retired_committed)))
        });
        let recovers = transaction.writes.iter().any(|(map, ..)| map == SERVICE_ENDORSEMENTS);
        Ok(Self {
            view: transaction.id.view,
            seqno: transaction.id.seqno,
            after,
            digest: sha256(bytes),
            bytes: Arc::clone(bytes),
            signature: signature::is_signature(&transaction.writes),
            nodes: nodes.collect(),
            recovers,
            writes: transaction.writes,
        })
    }

    /// The members after it, if it changes them: those trusted.
    #[must_use]
    pub fn members(&self, before: &Members) -> Option<Members> {
        let mut after = before.clone();
        for (node, row) in &self.nodes {
            match row {
                Some((NodeStatus::Trusted, _)) => after.insert(*node, ()),
                _ => after.remove(node),
            };
        }
        (after != *before).then_some(after)
    }
}

/// A set of nodes.
pub type Members = BTreeMap<NodeId, ()>;

/// All entries that anybody ever made, by view and place: in one view there is one leader, which
/// puts one entry in a place.
#[derive(Debug, Default)]
pub struct All {
    entries: BTreeMap<(View, Seqno), Rc<Made>>,
    /// Those that were lost with the group, by view and place: nobody ever makes them again.
    lost: BTreeSet<(View, Seqno)>,
}

impl All {
    /// The group is recovered: of all entries these are left.
    pub fn keep(&mut self, is_left: impl Fn(&Made) -> bool) {
        self.entries.retain(|id, made| {
            let left = is_left(made);
            if !left {
                self.lost.insert(*id);
            }
            left
        });
    }

    /// Whether these bytes are an entry that somebody made.
    #[must_use]
    pub fn knows(&self, bytes: &Arc<[u8]>) -> bool {
        let Ok(head) = Head::read(bytes) else { return false };
        let known = self.entries.get(&(head.id.view, head.id.seqno));
        known.is_some_and(|made| made.bytes == *bytes)
    }

    /// The members after each entry above `seqno` that changes them, wherever it is now, given those
    /// after `seqno`.
    pub fn changes_after<'a>(
        &'a self,
        seqno: Seqno,
        members: &'a Members,
    ) -> impl Iterator<Item = Members> + 'a {
        let changes = self.entries.values().filter(move |m| m.seqno > seqno && !m.nodes.is_empty());
        changes.map(move |made| {
            let mut way = vec![made];
            while let Some(before) = way.last().filter(|made| made.seqno > seqno + 1)
                && let Some(before) = self.entries.get(&(before.after, before.seqno - 1))
            {
                way.push(before);
            }
            way.into_iter()
                .rev()
                .fold(members.clone(), |members, made| made.members(&members).unwrap_or(members))
        })
    }

    /// The entry of these bytes, which follows one of view `after`: the one known, or a new one.
    ///
    /// # Errors
    /// If another one is known, or the bytes are no entry.
    pub fn meet(
        &mut self,
        bytes: &Arc<[u8]>,
        id: (View, Seqno),
        after: View,
        secret: &LedgerSecret,
    ) -> Result<(Rc<Made>, bool), String> {
        if let Some(known) = self.entries.get(&id) {
            let same = Arc::ptr_eq(&known.bytes, bytes) || known.bytes == *bytes;
            if !same {
                return Err(format!("there are two entries {}.{}", id.0, id.1));
            }
            if known.after != after {
                let (one, other) = (known.after, after);
                let (view, seqno) = id;
                return Err(format!("entry {view}.{seqno} follows views {one} and {other}"));
            }
            return Ok((Rc::clone(known), false));
        }
        if self.lost.contains(&id) {
            return Err(format!("entry {}.{} was lost, and is made again", id.0, id.1));
        }
        let made = Made::read(bytes, after, secret)?;
        if (made.view, made.seqno) != id {
            let (view, seqno) = id;
            return Err(format!("entry {view}.{seqno} says it is {}.{}", made.view, made.seqno));
        }
        let made = Rc::new(made);
        self.entries.insert(id, Rc::clone(&made));
        Ok((made, true))
    }
}
