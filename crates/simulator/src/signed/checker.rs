//! All members together: one leader, one vote, one log.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use quorate_consensus::raft::message::AppendEntries;
use quorate_consensus::raft::{LogRecord, NodeId, Raft, RaftMessage, Role, Seqno, View};
use quorate_crypto::hash::{Digest, Hasher};
use quorate_ledger::ccf::LedgerSecret;
use quorate_ledger::state::State;

use super::kv::Kv;
use super::made::{All, Made, Members};
use super::shadow::Shadow;
use super::watched::Fact;
use crate::properties::Violation;

/// What a restarted member has found on its disk.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Its view.
    pub view: View,
    /// Its vote.
    pub voted_for: Option<NodeId>,
    /// What it knows to be committed.
    pub commit: Seqno,
    /// Its log begins after this entry.
    pub base: Seqno,
    /// All entries.
    pub entries: Vec<Arc<[u8]>>,
}

/// All members of a group.
#[derive(Debug)]
pub struct Checker {
    secret: LedgerSecret,
    made: All,
    members: Vec<Shadow>,
    by_id: BTreeMap<NodeId, usize>,
    leaders: BTreeMap<View, usize>,
    votes: BTreeMap<(usize, View), NodeId>,
    /// The longest log that anybody knows to be committed.
    committed: Vec<Rc<Made>>,
    /// Where it was committed up to, one after the other, and the view of that signature.
    commits: Vec<(Seqno, View)>,
    kv: Kv,
    digest: Digest,
}

type Checked = Result<(), Violation>;

/// Who led before the group was recovered: nobody that there is now.
const FORMER: usize = usize::MAX;

fn broken(property: &'static str, who: usize, text: impl AsRef<str>) -> Checked {
    Err(Violation::new(property, format!("n{who}: {}", text.as_ref())))
}

impl Checker {
    /// Of a group with this ledger secret, which has no members yet.
    #[must_use]
    pub fn new(secret: LedgerSecret) -> Self {
        Self {
            secret,
            made: All::default(),
            members: Vec::new(),
            by_id: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            committed: Vec::new(),
            commits: Vec::new(),
            kv: Kv::default(),
            digest: Digest::default(),
        }
    }

    /// The next machine has a node with this id.
    pub fn join(&mut self, id: NodeId) {
        self.by_id.insert(id, self.members.len());
        self.members.push(Shadow::new(id));
    }

    /// A member.
    #[must_use]
    pub fn member(&self, who: usize) -> &Shadow {
        &self.members[who]
    }

    /// The machine of a node.
    #[must_use]
    pub fn machine(&self, id: &NodeId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Its disk is lost.
    pub fn lose(&mut self, who: usize) {
        self.members[who].gone = true;
    }

    /// Whether its last turn is on its disk is not known.
    pub fn doubt(&mut self, who: usize) {
        self.members[who].uncertain = true;
    }

    /// The longest committed log.
    #[must_use]
    pub fn committed(&self) -> &[Rc<Made>] {
        &self.committed
    }

    /// The committed entry at a place.
    #[must_use]
    pub fn committed_at(&self, seqno: Seqno) -> Option<&Rc<Made>> {
        self.committed.get(usize::try_from(seqno.checked_sub(1)?).ok()?)
    }

    /// Maps, at every place of the committed log.
    #[must_use]
    pub const fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Digest of what was committed, and when.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Something becomes part of the digest.
    pub fn note(&mut self, what: &[u8]) {
        let hasher = Hasher::new("quorate.simulated-log.v1").field(self.digest.as_bytes());
        self.digest = hasher.field(what).finish();
    }

    /// The newest view that anybody has led.
    #[must_use]
    pub fn newest_view(&self) -> Option<View> {
        self.leaders.last_key_value().map(|(view, _)| *view)
    }

    /// The members of the newest committed configuration.
    #[must_use]
    pub fn newest(&self) -> Members {
        let mut members = Members::new();
        for made in &self.committed {
            if let Some(after) = made.members(&members) {
                members = after;
            }
        }
        members
    }

    /// All sets of members that are in force, or will be if what anybody has made is committed: what
    /// was sent may be in no log yet.
    #[must_use]
    pub fn prospects(&self) -> Vec<Members> {
        let newest = self.newest();
        let committed = self.committed.len() as Seqno;
        let mut all: Vec<_> = self.made.changes_after(committed, &newest).collect();
        all.push(newest);
        all
    }

    /// Whether an entry is one that was made.
    #[must_use]
    pub fn knows(&self, bytes: &Arc<[u8]>) -> bool {
        self.made.knows(bytes)
    }

    /// The group is lost but for the disk of one member, and will be recovered from it up to its last
    /// signature `cut`, by other nodes: the first has that disk, the others have nothing. What follows
    /// `cut` there may be found until [`Checker::is_recovered`].
    pub fn begin_again(&mut self, survivor: usize, cut: Seqno, nodes: Vec<NodeId>) {
        let mut first = self.members[survivor].clone();
        self.committed.truncate(usize::try_from(cut).unwrap_or(usize::MAX));
        let more = self.committed.len() as Seqno + 1..=cut;
        self.committed.extend(more.filter_map(|seqno| first.entry(seqno).cloned()));
        self.kv = Kv::default();
        for made in &self.committed {
            self.kv.apply(made.seqno, &made.writes);
        }
        self.commits.retain(|(seqno, _)| *seqno <= cut);
        self.votes.clear();
        self.leaders.values_mut().for_each(|leader| *leader = FORMER);
        let kept: Vec<Rc<Made>> = self.committed.clone();
        let is_left = |made: &Made| {
            kept.get(made.seqno as usize - 1).is_some_and(|kept| kept.view == made.view)
                || first.entry(made.seqno).is_some_and(|own| own.view == made.view)
        };
        self.made.keep(is_left);
        (first.commit, first.kept, first.gone) = (0, 0, false);
        self.members.clear();
        self.by_id.clear();
        nodes.into_iter().for_each(|id| self.join(id));
        first.id = self.members[0].id;
        self.members[0] = first;
    }

    /// The recovery is on the disk: nothing else of before is left anywhere.
    pub fn is_recovered(&mut self) {
        let last = self.committed.len() as Seqno;
        let cut = self.committed.iter().rev().find(|made| made.recovers).map_or(last, |m| m.seqno);
        let first_view = self.committed.get(cut as usize - 1).map_or(0, |made| made.view);
        let kept = self.committed.clone();
        self.made.keep(|made| {
            let known = kept.get(made.seqno as usize - 1);
            made.view >= first_view || known.is_some_and(|known| known.view == made.view)
        });
    }

    /// A member recovers the group.
    pub fn recovers(&mut self, who: usize) {
        self.members[who].renews = true;
    }

    /// A member has made something durable.
    ///
    /// # Errors
    /// What does not hold.
    pub fn durable(&mut self, who: usize, facts: Vec<Fact>) -> Checked {
        self.members[who].peak = self.members[who].last();
        facts.into_iter().try_for_each(|fact| match fact {
            Fact::Record(LogRecord::Vote { view, voted_for }) => {
                let member = &mut self.members[who];
                if view < member.view {
                    let text = format!("goes back from view {} to {view}", member.view);
                    return broken("monotonic_view", who, text);
                }
                (member.view, member.voted_for) = (view, voted_for);
                voted_for.map_or(Ok(()), |candidate| self.votes(who, view, candidate))
            }
            Fact::Record(LogRecord::Append(entry)) => {
                self.appends(who, (entry.view, entry.seqno), &entry.bytes)?;
                let kind = self.members[who].last_kind();
                if kind.as_ref() != Some(&entry.kind) {
                    let text = format!("takes entry {} for {:?}", entry.seqno, entry.kind);
                    return broken("configurations", who, format!("{text}, it is {kind:?}"));
                }
                Ok(())
            }
            Fact::Record(LogRecord::Truncate { after }) => {
                let cut = self.members[who].truncate(after);
                cut.or_else(|text| broken("commit_safety", who, text))
            }
            Fact::Record(LogRecord::Commit(seqno)) => {
                let kept = &mut self.members[who].kept;
                *kept = seqno.max(*kept);
                Ok(())
            }
            Fact::Installed(seqno) => self.installs(who, seqno),
        })
    }

    /// A leader sends entries, perhaps before its own disk has them: these are what it has made.
    fn sends(&mut self, who: usize, append: &AppendEntries) -> Checked {
        let mut after = append.prev_term;
        for entry in &append.entries {
            let met = self.made.meet(&entry.bytes, (entry.view, entry.seqno), after, &self.secret);
            match met {
                Ok((made, true)) if self.leaders.get(&made.view) != Some(&who) => {
                    let text = format!("sends {}.{}, which nobody had", made.view, made.seqno);
                    return broken("election_safety", who, text);
                }
                Ok((made, _)) => after = made.view,
                Err(text) => return broken("log_matching", who, text),
            }
        }
        Ok(())
    }

    fn appends(&mut self, who: usize, id: (View, Seqno), bytes: &Arc<[u8]>) -> Checked {
        let after = self.members[who].last_view();
        let (made, is_new) = match self.made.meet(bytes, id, after, &self.secret) {
            Ok(found) => found,
            Err(text) => return broken("log_matching", who, text),
        };
        if is_new && self.leaders.get(&made.view).is_some_and(|leader| *leader != who) {
            let text = format!("has {}.{}, which its leader never had", made.view, made.seqno);
            return broken("election_safety", who, text);
        }
        let appended = self.members[who].append(made);
        let member = &mut self.members[who];
        member.peak = member.peak.max(member.last());
        appended.or_else(|text| broken("monotonic_log", who, text))
    }

    fn installs(&mut self, who: usize, seqno: Seqno) -> Checked {
        let Some(made) = self.committed_at(seqno) else {
            let text = format!("begins after {seqno}, which nobody has committed");
            return broken("commit_safety", who, text);
        };
        let view = made.view;
        if !made.signature {
            let text = format!("begins after {seqno}, which is no signature");
            return broken("signature_gate", who, text);
        }
        let mut members = Members::new();
        for made in self.committed.iter().take_while(|made| made.seqno <= seqno) {
            if let Some(after) = made.members(&members) {
                members = after;
            }
        }
        // A snapshot does not say where its configuration began.
        self.members[who].install(seqno, view, Some((seqno, members)));
        Ok(())
    }

    fn votes(&mut self, who: usize, view: View, candidate: NodeId) -> Checked {
        let before = *self.votes.entry((who, view)).or_insert(candidate);
        if before == candidate {
            return Ok(());
        }
        broken("one_vote", who, format!("votes for {before} and {candidate} in view {view}"))
    }

    fn leads(&mut self, who: usize, view: View) -> Checked {
        let before = *self.leaders.entry(view).or_insert(who);
        if before == FORMER {
            let text = format!("leads view {view}, which was led before the group was recovered");
            return broken("one_leader", who, text);
        }
        if before != who {
            return broken("one_leader", who, format!("leads view {view}, and so does n{before}"));
        }
        Ok(())
    }

    /// A member has taken a turn, all of which is durable, and its protocol stands so.
    ///
    /// # Errors
    /// What does not hold.
    pub fn stands(&mut self, who: usize, raft: &Raft, now: u64) -> Checked {
        let member = &self.members[who];
        let found = (raft.last_idx(), raft.view());
        if found != (member.last(), member.view) {
            let text = format!(
                "believes it has written {} entries and view {}; its disk was given {} and {}",
                found.0,
                found.1,
                member.last(),
                member.view
            );
            return broken("durable_before_said", who, text);
        }
        if raft.voted_for() != member.voted_for {
            let text = format!(
                "votes for {:?}; its disk was given {:?}",
                raft.voted_for(),
                member.voted_for
            );
            return broken("durable_before_said", who, text);
        }
        self.commits(who, raft.commit_idx(), now)?;
        self.believes(who, raft)?;
        if raft.role() != Some(Role::Leader) {
            return Ok(());
        }
        let is_new = !self.leaders.contains_key(&raft.view());
        self.leads(who, raft.view())?;
        if is_new {
            self.is_complete(who, raft.view())?;
        }
        self.matches(who, raft)
    }

    /// What a member knows to be committed.
    fn commits(&mut self, who: usize, commit: Seqno, now: u64) -> Checked {
        let before = self.members[who].commit;
        if commit == before {
            return Ok(());
        }
        if commit < before {
            let text = format!("goes back from commit {before} to {commit}");
            return broken("commit_safety", who, text);
        }
        if !self.members[who].is_signature(commit) {
            return broken("signature_gate", who, format!("commits {commit}, no signature"));
        }
        let known = self.committed.len() as Seqno;
        let from = before.max(self.members[who].base()) + 1;
        for seqno in from..=commit {
            let Some(own) = self.members[who].entry(seqno).cloned() else {
                return broken("commit_safety", who, format!("commits {seqno}, it has it not"));
            };
            match self.committed_at(seqno) {
                Some(other) if other.view == own.view => {}
                Some(other) => {
                    let text = format!("commits {}.{seqno}, others {}", own.view, other.view);
                    return broken("agreement", who, text);
                }
                None => {
                    self.kv.apply(seqno, &own.writes);
                    self.note(own.digest.as_bytes());
                    self.committed.push(own);
                }
            }
        }
        let member = &mut self.members[who];
        member.commit = commit;
        member.promised = member.promised.max(commit);
        if commit > known {
            self.note(&[now.to_be_bytes(), (who as u64).to_be_bytes()].concat());
            let view = self.committed_at(commit).map_or(0, |made| made.view);
            self.commits.push((commit, view));
            self.is_held_by_quorums(who, known, commit)?;
        }
        Ok(())
    }

    /// What is committed is on the disks of a quorum of each configuration that counts: signature
    /// by signature, for each may end a configuration.
    fn is_held_by_quorums(&self, who: usize, known: Seqno, commit: Seqno) -> Checked {
        let mut reached = known;
        while reached < commit {
            let next = self.committed[reached as usize..commit as usize].iter().rev();
            let mut signatures = next.filter(|made| made.signature);
            match signatures.find(|made| self.lacks_quorum(who, reached, made).is_none()) {
                Some(made) => reached = made.seqno,
                None => {
                    let first = self
                        .committed_at(commit)
                        .and_then(|made| self.lacks_quorum(who, reached, made));
                    let text = first.unwrap_or_else(|| "there is no signature".to_owned());
                    return broken("commit_safety", who, format!("commits {commit}: {text}"));
                }
            }
        }
        Ok(())
    }

    /// Which configuration has no quorum that has this entry on its disks, if what was committed
    /// before is this.
    fn lacks_quorum(&self, who: usize, known: Seqno, made: &Made) -> Option<String> {
        let configurations = self.members[who].configurations_from(known);
        configurations.iter().filter(|(at, _)| *at <= made.seqno).find_map(|(at, members)| {
            let nodes = members.keys().filter_map(|id| self.machine(id));
            let holders = nodes.filter(|node| self.members[*node].holds(made)).count();
            let needed = members.len() / 2 + 1;
            (holders < needed).then(|| {
                format!(
                    "{holders} of configuration {at} have {} on their disks; {needed} are a quorum",
                    made.seqno
                )
            })
        })
    }

    /// What a member believes about members follows from its log.
    fn believes(&self, who: usize, raft: &Raft) -> Checked {
        let member = &self.members[who];
        if !raft.configurations().iter().cloned().eq(member.active()) {
            let expected: Vec<_> = member.active().collect();
            let found = raft.configurations();
            let text = format!("active configurations are {found:?}, not {expected:?}");
            return broken("configurations", who, text);
        }
        if let Some(at) = member.ended().filter(|at| *at > member.kept) {
            let text = format!("counts no configuration before {at}");
            let kept = format!("its disk was given commit {}", member.kept);
            return broken("durable_before_said", who, format!("{text}; {kept}"));
        }
        let expected = member.phase();
        if raft.phase() != expected {
            let text = format!("is {:?}, by its log {expected:?}", raft.phase());
            return broken("retirement", who, text);
        }
        Ok(())
    }

    /// A new leader has everything that was committed in views before its own.
    fn is_complete(&self, who: usize, view: View) -> Checked {
        let before = self.commits.iter().rev().find(|(_, of)| *of < view);
        let Some(made) = before.and_then(|(seqno, _)| self.committed_at(*seqno)) else {
            return Ok(());
        };
        if self.members[who].holds(made) {
            return Ok(());
        }
        let text = format!("leads view {view} without {}.{}", made.view, made.seqno);
        broken("leader_completeness", who, text)
    }

    /// What a leader believes that others of its view have is on their disks, unless these are lost.
    fn matches(&self, who: usize, raft: &Raft) -> Checked {
        for (id, peer) in raft.peers() {
            let Some(member) = self.machine(id).map(|node| &self.members[node]) else { continue };
            let known = !member.uncertain && !member.gone;
            if member.view == raft.view() && peer.matched > member.last() && known {
                let (matched, last) = (peer.matched, member.last());
                let text = format!("believes that {id} has {matched}, it has {last}");
                return broken("durable_before_said", who, text);
            }
        }
        Ok(())
    }

    /// The maps of a member, as of what it knows to be committed.
    ///
    /// # Errors
    /// They are not what they must be.
    pub fn has_state(&self, who: usize, state: Option<&State>) -> Checked {
        let commit = self.members[who].commit;
        if commit != self.committed.len() as Seqno || state == Some(self.kv.state()) {
            return Ok(());
        }
        let of = |state: &State, map: &str| -> Vec<String> {
            state.iter(map).map(|(key, value)| format!("{key:?}={value:?}")).collect()
        };
        let other = state.and_then(|state| {
            let maps = state.maps().chain(self.kv.state().maps());
            maps.map(|map| (map, of(state, map), of(self.kv.state(), map))).find(|(_, a, b)| a != b)
        });
        broken("state_digest", who, format!("after {commit}, found and expected: {other:?}"))
    }

    /// A member says something to another one.
    ///
    /// # Errors
    /// What does not hold.
    pub fn says(&mut self, who: usize, to: Option<NodeId>, message: &RaftMessage) -> Checked {
        let member = &self.members[who];
        match message {
            RaftMessage::AppendEntries(append) => {
                self.leads(who, append.term)?;
                self.sends(who, append)
            }
            RaftMessage::AppendEntriesResponse(answer)
                if answer.success && answer.last_log_idx > member.peak =>
            {
                let (said, last) = (answer.last_log_idx, member.peak);
                let text = format!("acknowledges {said}, its disk was given {last}");
                broken("durable_before_said", who, text)
            }
            RaftMessage::RequestVote(request) => self.votes(who, request.term, member.id),
            RaftMessage::RequestVoteResponse(answer) if answer.granted => {
                if member.view < answer.term {
                    let text = format!("votes in view {}, not written", answer.term);
                    return broken("durable_before_said", who, text);
                }
                to.map_or(Ok(()), |candidate| self.votes(who, answer.term, candidate))
            }
            _ => Ok(()),
        }
    }

    /// A member is open again, with what it has found on its disk.
    ///
    /// # Errors
    /// What is missing, or not what it was.
    pub fn reopened(&mut self, who: usize, found: &Found) -> Checked {
        let member = &self.members[who];
        let (promised, uncertain) = (member.promised, member.uncertain);
        let kept = found.base + found.entries.len() as Seqno;
        if found.view < member.view {
            let text = format!("was in view {}, and is in {} again", member.view, found.view);
            return broken("durability", who, text);
        }
        if found.commit < member.kept {
            let text = format!("ended a configuration with commit {}, finds", member.kept);
            return broken("durability", who, format!("{text} {}", found.commit));
        }
        let same = found.voted_for == member.voted_for;
        if found.view == member.view && !same && !(uncertain && member.voted_for.is_none()) {
            let text = format!(
                "has voted for {:?} in view {}, it finds {:?}",
                member.voted_for, found.view, found.voted_for
            );
            return broken("durability", who, text);
        }
        if kept < promised || (kept < member.last() && !uncertain) {
            let last = member.last();
            let text = format!("had {last} entries and promised {promised}, it finds {kept}");
            return broken("durability", who, text);
        }
        self.rebuild(who, found)
    }

    /// The log as it was found, against the one that was there.
    fn rebuild(&mut self, who: usize, found: &Found) -> Checked {
        let old = self.members[who].clone();
        let mut fresh = Shadow::new(old.id);
        (fresh.view, fresh.voted_for) = (found.view, found.voted_for);
        (fresh.promised, fresh.kept, fresh.renews) = (old.promised, found.commit, true);
        self.members[who] = fresh;
        if found.base > 0 {
            let promised = old.promised;
            self.installs(who, found.base)?;
            self.members[who].promised = promised.max(found.base);
        }
        for (seqno, bytes) in (found.base + 1..).zip(&found.entries) {
            let own = old.entry(seqno);
            let same = own.is_some_and(|own| own.bytes == *bytes);
            if own.is_some() && !same && (seqno <= old.promised || !old.uncertain) {
                let text = format!("finds another entry {seqno} than it had");
                return broken("durability", who, text);
            }
            let made = match Made::read(bytes, 0, &self.secret) {
                Ok(made) => made,
                Err(text) => return broken("durability", who, format!("entry {seqno}: {text}")),
            };
            self.appends(who, (made.view, made.seqno), bytes)?;
        }
        self.members[who].renews = false;
        Ok(())
    }
}
