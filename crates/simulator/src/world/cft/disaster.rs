//! The end of every seed: all machines but one are lost for good, and the group is recovered from
//! what that one has on its disk, up to its last signature. [7.6]

use quorate_consensus::core::Env;
use quorate_consensus::raft::Seqno;
use quorate_ledger::ccf::{Notary as _, TxId};
use quorate_replica::cft::CftDriver;
use quorate_replica::cft::api::{Answer, Begin, Config, Input, Query, Role};
use rand::{Rng as _, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{CftWorld, members, raft_of};
use crate::properties::Violation;
use crate::signed::watched::Watched;

/// Turns in which a node alone must have committed that it recovered.
const TURNS: u64 = 20;

impl CftWorld {
    /// Loses everything but one disk, and recovers.
    pub(super) fn survive_on_one(&mut self) {
        // In a second life a node that has not read as far as the recovery has a ledger of the service
        // of before; the operator, who has the key of the newest one, does not choose it.
        let cut = self.play.second_life.cut();
        let has_signed = |node: &usize| {
            let shadow = self.play.checker.member(*node);
            self.nodes[*node].health.is_good()
                && (1..=shadow.last()).any(|at| shadow.is_signature(at))
                && (cut == 0 || shadow.base() > cut || shadow.is_recovered_after(cut))
        };
        let whole: Vec<usize> = (0..self.nodes.len()).filter(has_signed).collect();
        if whole.is_empty() {
            return;
        }
        let node = whole[self.rng.random_range(0..whole.len())];
        let seed = self.rng.next_u64();
        let result = self.recover_from(node, seed);
        let result = result.map_err(|(property, text)| {
            Violation::new(property, format!("recovered from n{node}: {text}"))
        });
        self.counts.add("recovered_from_one");
        self.check(result);
    }

    /// What must hold: no committed write that the disk has is lost, the view rises by 2, receipts
    /// from before hold, and the service goes on under a key that vouches for the one of before.
    fn recover_from(&self, node: usize, seed: u64) -> Result<(), (&'static str, String)> {
        let broken = |text: String| ("recovery", text);
        let disk = self.nodes[node].disk.copy().dir("g0");
        let opened = Watched::open(disk, members::options(seed));
        let (log, found) = opened.map_err(|error| broken(error.to_string()))?;
        let (base, view) = (log.inner().base(), found.view);
        // What everybody agrees on, as far as this disk has it.
        let shadow = self.play.checker.member(node);
        let committed = self.play.checker.committed();
        let held = committed.iter().take_while(|made| shadow.holds(made)).count() as Seqno;
        // What follows the last signature there is cut.
        let held = (1..=held).rev().find(|at| shadow.is_signature(*at)).unwrap_or(0);
        let (kind, number) = (self.play.kind, u64::from(u32::MAX));
        let (rng, now) = (ChaCha20Rng::seed_from_u64(seed), self.clock(node));
        let mut keys = kind.keys(number);
        let service = kind.found(number, b"the key of the service's next life", now.0);
        keys.enter(&service).map_err(|error| broken(error.to_string()))?;
        let (endorsement, handover) = keys.link(&self.play.service, now.0);
        let secret = self.play.secret.clone();
        let begin = Begin::Recover { secret, endorsement, handover };
        let config = Config { rpc_address: "r:8000".into(), ..self.play.config.clone() };
        let mut env = Env { now, rng };
        let opened = CftDriver::open(&mut env, config, begin, keys, found, log);
        let (mut driver, _) = opened.map_err(|error| broken(error.to_string()))?;
        for _ in 0..TURNS {
            env.now = env.now.after(self.play.config.message_timeout_ms);
            driver.turn(&mut env, vec![Input::Wake], None);
            driver.settle(env.now);
        }
        let raft = raft_of(&driver).ok_or_else(|| broken("it is no member".into()))?;
        let newest = shadow.last_view().max(view);
        if (raft.role(), raft.view()) != (Some(Role::Leader), newest + 2) {
            let text = format!("it is {:?} in view {}, after {newest}", raft.role(), raft.view());
            return Err(broken(text));
        }
        if raft.commit_idx() <= held {
            return Err(broken(format!(
                "only {} is committed, of {held} before",
                raft.commit_idx()
            )));
        }
        let entries = driver.log().all().map_err(|error| broken(error.to_string()))?;
        for (made, bytes) in
            committed.iter().skip(base as usize).take((held - base) as usize).zip(entries)
        {
            if made.bytes != bytes {
                let text = format!("transaction {}.{} was committed", made.view, made.seqno);
                return Err(("no_acknowledged_loss", text));
            }
        }
        for seqno in (base + 1..=held).rev().step_by(9).take(4) {
            let made = &committed[seqno as usize - 1];
            let tx = TxId::new(made.view, seqno);
            let json = match driver.query(&Query::Receipt(tx)) {
                Ok(Answer::Receipt(json)) => json,
                other => return Err(broken(format!("receipt of {tx}: {other:?}"))),
            };
            // It leads from the old service to the new one.
            let proven = kind.check_receipt(json.as_bytes(), &service.service_certificate);
            let proven = proven.map_err(|error| broken(format!("receipt of {tx}: {error}")))?;
            if proven.0.is_some_and(|entry| entry != made.digest) {
                return Err(broken(format!("the receipt of {tx} is another's")));
            }
        }
        Ok(())
    }
}
