//! The phases of a seed: a service is made and its founders join; faults; heal.

use std::collections::BTreeMap;

use quorate_consensus::raft::Raft;
use quorate_ledger::ccf::TxId;
use quorate_ledger::ccf::files::ChunkName;
use quorate_ledger::ccf::validate::Validator;
use quorate_replica::cft::api::{Answer, Consistency, Query, Role};

use super::{CftWorld, Place, raft_of};
use crate::world::{MS, Outcome};

/// Bound on the set-up without faults, in virtual ms.
const SETUP_MS: u64 = 120_000;

impl CftWorld {
    /// Runs set-up, the faulty phase and the healing phase; in some seeds once more, after the group
    /// was lost and recovered.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let recovery_ms = self.phases();
        if self.violation.is_none() && self.play.second_life.is_wanted() {
            self.examine();
            self.live_again();
        }
        self.outcome(recovery_ms)
    }

    pub(super) fn phases(&mut self) -> Option<u64> {
        self.set_up();
        if self.violation.is_some() {
            return None;
        }
        self.faulty = true;
        self.play.operator.restless = true;
        let end = self.now + self.plan.faulty_ms * MS;
        self.clients_begin();
        self.schedule_blows();
        self.run_until(end, |_| false);
        if self.violation.is_some() {
            return None;
        }
        self.heal();
        self.play.operator.restless = false;
        self.clients_insist();
        let healed = self.now;
        let done = self.run_until(healed + self.plan.heal_ms * MS, Self::converged);
        if self.violation.is_some() {
            return None;
        }
        if !done {
            let ms = self.plan.heal_ms;
            self.fail("progress_after_heal", format!("{ms} ms after the faults it is not over"));
            return None;
        }
        Some((self.now - healed) / MS)
    }

    /// A node makes a service, the other founders join, the operator adds them.
    fn set_up(&mut self) {
        let founders = self.plan.founders();
        self.start(0);
        let end = self.now + SETUP_MS * MS;
        if !self.leads_alone(end) || !self.is_shaken(end) {
            return self.fail("progress_after_heal", "set-up: the first node does not lead");
        }
        self.operator_soon();
        for node in 1..founders {
            self.start(node);
        }
        let joined = self.run_until(end, |world| {
            let checker = &world.play.checker;
            let is_member = |node| checker.newest().contains_key(&checker.member(node).id);
            let all = (0..founders).all(is_member);
            all && world.members_agree()
        });
        if !joined {
            self.fail("progress_after_heal", "set-up: the founders did not become members");
        }
    }

    /// Lets things happen until the first machine leads.
    pub(super) fn leads_alone(&mut self, end: u64) -> bool {
        self.run_until(end, |world| world.leader() == Some(0))
    }

    /// The machine that leads the highest view.
    fn leader(&self) -> Option<usize> {
        let raft =
            |node: usize| self.seat(Place { node, group: 0 }).member.as_ref().and_then(raft_of);
        let leads = |node: &usize| raft(*node).is_some_and(|r| r.role() == Some(Role::Leader));
        (0..self.nodes.len()).filter(leads).max_by_key(|node| raft(*node).map(|r| r.view()))
    }

    /// Whether all members that there are have everything that is committed.
    fn members_agree(&self) -> bool {
        let committed = self.play.checker.committed().len() as u64;
        let members = self.play.checker.newest();
        let machines = members.keys().filter_map(|id| self.play.checker.machine(id));
        let mut well = machines.filter(|node| !self.nodes[*node].health.gone);
        committed > 0
            && well.all(|node| {
                let member = &self.seat(Place { node, group: 0 }).member;
                member.as_ref().and_then(raft_of).is_some_and(|raft| raft.commit_idx() == committed)
            })
    }

    fn converged(&mut self) -> bool {
        for node in 0..self.nodes.len() {
            self.replace_if_it_complains(node);
        }
        self.clients_are_content() && self.leader().is_some() && self.members_agree()
    }

    /// The end: answers, states, files.
    pub(super) fn examine(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let result = self.play.history.examine(&self.play.checker);
        self.check(result);
        self.compare_states();
        self.compare_disks();
        self.compare_files();
        self.verify_ledgers();
        self.survive_on_one();
    }

    /// The maps of each member, key by key, as of what it has committed.
    fn compare_states(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(driver) = &self.nodes[node].seats[0].member else { continue };
            let Some(commit) = raft_of(driver).map(Raft::commit_idx) else { continue };
            let mut wrong = None;
            let state = self.play.checker.kv().state();
            for map in state.maps() {
                for (key, _) in state.iter(map) {
                    let query = Query::Get {
                        map: map.to_owned(),
                        key: key.to_vec(),
                        consistency: Consistency::Committed,
                    };
                    let expected = self.play.checker.kv().get(map, key, commit);
                    match driver.query(&query) {
                        Ok(Answer::Value(found, _)) if found.as_ref() == expected => {}
                        // A node that has not been admitted shows nothing.
                        Err(_) => {}
                        other => {
                            wrong = Some(format!(
                                "n{node}: {map} {key:?} is {other:?}, not {expected:?}"
                            ));
                        }
                    }
                }
            }
            if let Some(text) = wrong {
                self.fail("state_digest", text);
            }
        }
    }

    /// Committed chunks of one name are the same on all nodes.
    fn compare_files(&mut self) {
        let mut known: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
        for node in 0..self.nodes.len() {
            if !self.nodes[node].health.is_good() {
                continue;
            }
            for (name, bytes) in self.ledger_files(node) {
                if !name.ends_with(".committed") {
                    continue;
                }
                match known.get(&name) {
                    Some((other, same)) if *same != bytes => {
                        let text = format!("n{node} and n{other} have different files {name}");
                        self.fail("ledger_files", text);
                    }
                    Some(_) => {}
                    None => {
                        known.insert(name, (node, bytes));
                    }
                }
            }
        }
        self.counts.add_many("committed_chunks", known.len() as u64);
    }

    /// Damage of the disks of nodes that run is noticed by the next start, or makes no difference.
    fn compare_disks(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].health.damaged && self.is_up(node) {
                self.is_whole(node);
            }
        }
    }

    /// Every ledger is accepted by the verifier that knows nothing but its files, and receipts of
    /// committed transactions hold.
    fn verify_ledgers(&mut self) {
        let kind = self.play.kind;
        for node in 0..self.nodes.len() {
            let Some(driver) = &self.nodes[node].seats[0].member else { continue };
            let Some(commit) = raft_of(driver).map(Raft::commit_idx) else { continue };
            let base = driver.log().inner().base();
            let mut result = Ok(());
            // One that has not read as far as the recovery knows the service of before only.
            let second_life = &self.play.second_life;
            let former = second_life.former().filter(|_| commit <= second_life.cut());
            let service = former.unwrap_or(&self.play.service).service_certificate.clone();
            let newest = (base + 1..=commit).rev().step_by(7).take(5);
            // Of before the group was recovered.
            let cut = second_life.cut();
            let former = (base + 1..=cut.min(commit)).rev().step_by(11).take(3);
            for seqno in newest.chain(former) {
                let Some(made) = self.play.checker.committed_at(seqno) else { continue };
                let tx = TxId::new(made.view, seqno);
                let answer = driver.query(&Query::Receipt(tx));
                let damaged = self.nodes[node].health.damaged;
                let stalled = self.nodes[node].seats[0].record.stalled;
                let found = match answer {
                    Ok(Answer::Receipt(json)) => kind.check_receipt(json.as_bytes(), &service),
                    Err(_) if damaged && driver.log().inner().is_damaged() => continue,
                    // One that nobody needs may not have met that its disk works again.
                    Err(_) if stalled => continue,
                    other => Err(format!("{other:?}")),
                };
                match found {
                    Ok((entry, _)) if entry.is_none_or(|entry| entry == made.digest) => {}
                    other => result = Err(format!("n{node}: receipt of {tx}: {other:?}")),
                }
            }
            if base == 0 && result.is_ok() && self.nodes[node].health.is_good() {
                result = self.validated(node).map_err(|error| format!("n{node}: {error}"));
            }
            if let Err(text) = result {
                self.fail("ledger_files", text);
            }
        }
    }

    fn validated(&self, node: usize) -> Result<(), String> {
        let keys = self.play.kind.keys(self.play.keys_of(node));
        let mut validator = Validator::new(&keys, Some(self.play.secret.clone()));
        let files = self.ledger_files(node).into_iter();
        let mut files: Vec<(ChunkName, Vec<u8>)> = files
            .map(|(name, bytes)| name.parse::<ChunkName>().map(|name| (name, bytes)))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        files.sort_by_key(|(name, _)| name.first);
        files.iter().try_for_each(|(name, bytes)| {
            validator.add_chunk(name, bytes).map_err(|error| format!("{name}: {error}"))
        })
    }
}
