//! Entries put into the messages that carry them: from memory, or read back from the log.

use std::ops::RangeInclusive;
use std::sync::Arc;

use quorate_consensus::raft::message::AppendEntries;
use quorate_consensus::raft::{Entry, Seqno, View};
use quorate_ledger::ccf::Head;

use crate::cft::keys::Keys;
use crate::cft::log::Log;
use crate::cft::member::Member;

/// Why a message is not given the entries that it announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Withheld {
    /// Enough was read back for its receiver in this turn: the rest follows in later ones.
    Later,
    /// They are not in the log any more: it was rolled back since. As if the message had been lost.
    RolledBack,
    /// The log begins after them, and nothing else here has them.
    Gone,
    /// They are damaged here, for good.
    Damaged,
    /// The disk does not give them now.
    Failed,
}

/// Puts the entries into a message; fewer than it announces if no more may be read back, which takes
/// them off `read_back` (in bytes).
///
/// A message is filled when its turn has ended. In the same turn the node may have begun to follow a
/// later leader, whose entries are in those places now, in memory before they are on the disk: only
/// entries of the view that the message says are put in.
pub(super) fn fill<K: Keys, L: Log>(
    member: &Member<K>,
    log: &L,
    mut append: AppendEntries,
    read_back: &mut usize,
) -> Result<AppendEntries, Withheld> {
    let (first, view) = (append.prev_idx + 1, append.term_of_idx);
    let is_whole = if append.idx <= append.prev_idx {
        append.fill([])
    } else if member.recent().get(first).is_some() {
        let recent = (first..=append.idx).map_while(|at| member.recent().get(at));
        append.fill(recent.take_while(|entry| entry.view == view).cloned())
    } else {
        let mut bytes = read_back_of(log, first..=append.idx, read_back)?;
        let found = !bytes.is_empty();
        bytes.truncate(bytes.iter().take_while(|entry| is_of(entry, view)).count());
        if bytes.is_empty() {
            let raft = member.raft_state();
            return Err(match first {
                _ if first <= raft.startup_seqno() => Withheld::Gone,
                _ if found && raft.view_at(first) == view => Withheld::Damaged,
                _ => Withheld::RolledBack,
            });
        }
        append.idx = append.prev_idx + bytes.len() as u64;
        let entries = (first..).zip(bytes).map(|(seqno, bytes)| {
            let kind = member.kind_at(seqno, &bytes);
            Entry { view, seqno, kind, bytes }
        });
        append.fill(entries)
    };
    if is_whole { Ok(append) } else { Err(Withheld::RolledBack) }
}

/// Entries from the log, as many as may be read back.
fn read_back_of<L: Log>(
    log: &L,
    wanted: RangeInclusive<Seqno>,
    read_back: &mut usize,
) -> Result<Vec<Arc<[u8]>>, Withheld> {
    if *read_back == 0 {
        return Err(Withheld::Later);
    }
    let found = log.entries(*wanted.start(), *wanted.end(), *read_back);
    let found = found
        .map_err(|error| if L::is_damage(&error) { Withheld::Damaged } else { Withheld::Failed })?;
    *read_back = read_back.saturating_sub(found.iter().map(|entry| entry.len()).sum());
    Ok(found)
}

fn is_of(entry: &[u8], view: View) -> bool {
    Head::read(entry).is_ok_and(|head| head.id.view == view)
}
