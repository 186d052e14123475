//! What a disk may suffer beyond the loss of unsynced writes. In a group that tolerates crashes a
//! node whose disk is damaged is lost: it must notice, and come back as another node. It may happen
//! to so many that the others can go on.
//!
//! | what happens | what must hold |
//! |---|---|
//! | everything is gone | the node is lost; a new one on a new machine asks to join |
//! | a bit flips, a tail is lost, while the machine is down | the node refuses to start and is lost, or makes no difference |
//! | a bit flips, writes go astray, while the node runs | it says and shows nothing but what was written; once it is stopped, as above. One that complains is replaced |
//!
//! Two damages are not noticed: the last frame of the journal looks as if the power had gone while
//! it was written, and what the last signature says is covered by none that follows. They count as
//! noticed: the operator knows of the bad disk.

use quorate_consensus::core::Env;
use quorate_replica::cft::CftDriver;
use quorate_replica::cft::api::NodeId;
use quorate_storage::disk::Disk as _;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{CftWorld, id_of, members};
use crate::faults::{Harm, Outage};
use crate::signed::made::Members;
use crate::signed::watched::Watched;
use crate::world::{Happening, MS, Machine};

impl CftWorld {
    /// Whether the others can go on without this node, in every configuration that anybody has.
    fn may_be_lost(&self, node: usize) -> bool {
        let checker = &self.play.checker;
        let id = checker.member(node).id;
        let is_well = |member: &NodeId| {
            let machine = checker.machine(member);
            machine.is_some_and(|other| other != node && self.nodes[other].health.is_good())
        };
        let goes_on = |members: &Members| {
            !members.contains_key(&id)
                || members.keys().filter(|member| is_well(member)).count() > members.len() / 2
        };
        let can_go_on = |members: &Members| self.may_become(members).iter().all(goes_on);
        let there = (0..self.nodes.len()).filter(|other| !self.nodes[*other].health.gone);
        let mut shadows = there.map(|other| checker.member(other));
        checker.prospects().iter().all(can_go_on)
            && shadows.all(|shadow| {
                let all = shadow.configurations_from(shadow.promised.max(shadow.base()));
                all.iter().all(|(_, members)| can_go_on(members))
            })
    }

    /// Lets a disk suffer, if it may.
    pub(super) fn harm(&mut self, node: usize, harm: Harm) {
        if harm == Harm::None || self.nodes[node].health.gone || !self.may_be_lost(node) {
            return;
        }
        let disk = self.nodes[node].disk.clone();
        if self.is_up(node) {
            if let Some(path) = disk.flip_bit(|_| true) {
                self.tell(|| format!("n{node}: {path} rots"));
                let health = &mut self.nodes[node].health;
                (health.damaged, health.strays) = (true, None);
            }
            return;
        }
        let struck = match harm {
            Harm::None => None,
            Harm::Wipe => {
                disk.wipe();
                return self.lose(node);
            }
            Harm::BitFlip => disk.flip_bit(|_| true),
            Harm::Truncate => disk.cut_tail(|_| true),
        };
        let Some(path) = struck else { return };
        self.tell(|| format!("n{node}: {path} is damaged"));
        if !self.is_whole(node) {
            self.lose(node);
        }
    }

    /// A machine is to misdirect writes for a while, if it may: whether it may.
    pub(super) fn goes_astray(&mut self, node: usize) -> bool {
        let may = !self.nodes[node].health.gone && self.may_be_lost(node);
        let machine = &mut self.nodes[node];
        if may && !machine.health.damaged {
            machine.health.strays = Some(machine.disk.strays().len());
            machine.health.damaged = true;
        }
        may
    }

    /// Its writes go where they should again: if none went astray, nothing has happened.
    pub(super) fn is_straight(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        if machine.health.strays.take() == Some(machine.disk.strays().len()) {
            machine.health.damaged = false;
        }
    }

    /// A machine is down: if its disk is not what its node wrote, the node is lost.
    pub(super) fn compare_disk(&mut self, node: usize) {
        if !self.nodes[node].health.damaged || self.nodes[node].health.gone {
            return;
        }
        if !self.is_whole(node) {
            return self.lose(node);
        }
        let machine = &mut self.nodes[node];
        match &mut machine.health.strays {
            Some(strays) => *strays = machine.disk.strays().len(),
            None => machine.health.damaged = machine.disk.misdirects(),
        }
    }

    /// The operators stop a node that has met damage, and put another one in its place; whether they
    /// did.
    pub(super) fn replace_if_it_complains(&mut self, node: usize) -> bool {
        let machine = &self.nodes[node];
        let driver = machine.seats[0].member.as_ref();
        if !machine.health.damaged || !driver.is_some_and(|d| d.log().inner().is_damaged()) {
            return false;
        }
        self.counts.add("replaced_for_damage");
        self.crash(node, Outage { fuse: None, back_after_ms: 0, harm: Harm::None });
        true
    }

    /// Whether a machine's disk opens with everything that was on it.
    pub(super) fn is_whole(&mut self, node: usize) -> bool {
        let copy = self.nodes[node].disk.copy().dir("g0");
        let shadow = self.play.checker.member(node).clone();
        let Ok((log, found)) = Watched::open(copy, members::options(0)) else {
            self.counts.add("damage_refused");
            return false;
        };
        let Ok(entries) = log.all() else {
            self.counts.add("damage_refused");
            return false;
        };
        let first = found.last_idx + 1 - entries.len() as u64;
        let changed = (first..)
            .zip(&entries)
            // What the last turn replaced may be there, or not, if the power went in it.
            .filter(|(seqno, _)| !shadow.uncertain || *seqno <= shadow.promised)
            .find(|(seqno, bytes)| shadow.entry(*seqno).is_some_and(|own| own.bytes != **bytes));
        // With its last frame a log loses that entries were replaced, and has the former ones.
        let former = changed.is_some_and(|(_, bytes)| self.play.checker.knows(bytes));
        let changed = changed.map(|(seqno, _)| seqno);
        let (view, vote, last) = (found.view, found.voted_for, found.last_idx);
        // The log believes its files: whoever replays them compares digests.
        let (config, begin, keys) = self.manner(node, found.last_idx == 0);
        let (now, rng) = (self.clock(node), ChaCha20Rng::seed_from_u64(0));
        let mut env = Env { now, rng };
        if CftDriver::open(&mut env, config, begin, keys, found, log).is_err() {
            self.counts.add("damage_refused");
            return false;
        }
        if let Some(seqno) = changed.filter(|_| !former) {
            let text = format!("n{node}: nothing notices that entry {seqno} has changed");
            self.fail("durability", text);
            return false;
        }
        let same = view >= shadow.view && (view > shadow.view || vote == shadow.voted_for);
        if former || !same || last < shadow.last() {
            self.counts.add("unnoticed_loss_of_the_last_frame");
            return false;
        }
        true
    }

    /// A node is lost; sooner or later another machine asks to join in its place.
    pub(super) fn lose(&mut self, node: usize) {
        self.tell(|| format!("n{node} is lost"));
        self.counts.add("node_lost");
        self.nodes[node].health.gone = true;
        self.play.checker.lose(node);
        let mut keys = ChaCha20Rng::from_rng(&mut self.rng);
        let machine = Machine::new(&self.plan, &mut self.rng, &mut keys);
        let fresh = self.nodes.len();
        self.play.checker.join(id_of(self.play.kind, self.play.keys_of(fresh)));
        self.by_member.entry(machine.member.public()).or_default().push(fresh);
        self.nodes.push(machine);
        let later = self.now + self.rng.random_range(500..5_000) * MS;
        self.at(later, Happening::Restart { node: fresh });
    }

    /// Names of the files of a node's directory, with their bytes.
    pub(super) fn ledger_files(&self, node: usize) -> Vec<(String, Vec<u8>)> {
        let disk = self.nodes[node].disk.copy().dir("g0");
        let names = disk.list("ledger").unwrap_or_default();
        let read = |name: String| {
            let path = format!("ledger/{name}");
            let len = usize::try_from(disk.len(&path).ok()?).ok()?;
            Some((name, disk.read(&path, 0, len).ok()?))
        };
        names.into_iter().filter_map(read).collect()
    }
}
