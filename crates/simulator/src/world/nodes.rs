//! Nodes: started, fed, crashed, and watched by the checkers.

use quorate_consensus::core::{Env, Time};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::ids::{BlockId, ViewNumber};
use quorate_replica::api::{
    Answer, Command, GroupConfig, Input, Notice, Output, Query, Reply, Ticket,
};
use quorate_replica::driver::{Driver, Turn};
use quorate_storage::error::OpenError;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{BEGIN, Happening, Inputs, World};

impl<G: KeyGeneration> World<G>
where
    G::Keys: Threshold,
{
    pub(super) fn start(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        let now = Time(self.clock(node));
        let create = node == 0;
        let state = &mut self.nodes[node];
        state.starts += 1;
        state.env = Env { now, rng: ChaCha20Rng::seed_from_u64(seed) };
        let config = GroupConfig {
            descriptor: self.descriptor.clone(),
            member: state.member.clone(),
            encrypt: state.encrypt.clone(),
            create,
        };
        let opened = crate::store::open(&state.disk, seed);
        let (store, recovered) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Disk(_)) if self.faulty || state.disk.is_dead() => {
                // A failing disk at start: the machine is started again later.
                if state.disk.is_dead() {
                    state.disk.crash();
                }
                let later = self.now + 500;
                self.at(later, Happening::Restart { node });
                return;
            }
            Err(error) => {
                self.fail("starts_again", format!("node {node}: {error}"));
                return;
            }
        };
        let (driver, turn) = match Driver::open(&mut state.env, config, recovered, store) {
            Ok(opened) => opened,
            Err(error) => {
                self.fail("starts_again", format!("node {node}: {error}"));
                return;
            }
        };
        if state.disk.is_dead() || turn.stalled.is_some() {
            // Its disk failed while it started: it is started again later.
            state.disk.crash();
            let later = self.now + 500;
            self.at(later, Happening::Restart { node });
            return;
        }
        state.driver = Some(driver);
        self.compare_with_before(node, &turn);
        self.dispatch(node, turn);
        for other in 0..self.nodes.len() {
            if other != node {
                let time = self.now + self.rng.random_range(1..20);
                self.at(time, Happening::Connect { node, other });
                self.at(time, Happening::Connect { node: other, other: node });
            }
        }
    }

    /// A restarted node must know at least what it had said is final; what became final in the turn
    /// that the crash cut off was never said, so it is looked at now.
    pub(super) fn compare_with_before(&mut self, node: usize, first: &Turn) {
        let Some(driver) = &self.nodes[node].driver else { return };
        let fresh = first
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Notice(Notice::Committed { .. })))
            .count() as u64;
        let before = self.nodes[node].head;
        let found = BlockId(driver.status().head.0 - fresh);
        if self.nodes[node].traitor {
            return;
        }
        let unsaid: Vec<_> =
            (before.0 + 1..=found.0).map(|id| driver.query(Query::Block(BlockId(id)))).collect();
        if found < before {
            let text = format!("node {node} had block {before} final, and {found} after a crash");
            self.fail("durability", text);
        }
        self.nodes[node].head = found;
        for answer in unsaid {
            match answer {
                Ok(Answer::Block(block, certificate, view)) => {
                    let result = self.ledger.view(&view);
                    self.check(result);
                    let result = self.ledger.committed(&block, &certificate);
                    self.check(result);
                }
                other => self.fail("durability", format!("node {node} cannot show {other:?}")),
            }
        }
    }

    pub(super) fn crash(&mut self, node: usize, restart_after: u64) {
        let wipe = self.plan.faults.wipe > 0.0 && self.rng.random_bool(self.plan.faults.wipe);
        let flip =
            self.plan.faults.bit_flip > 0.0 && self.rng.random_bool(self.plan.faults.bit_flip);
        let state = &mut self.nodes[node];
        state.driver = None;
        state.wake = None;
        state.disk.crash();
        if wipe {
            state.disk.wipe();
            state.head = BlockId(0);
        } else if flip && state.disk.flip_bit("ledger_") {
            // What the flipped block held is fetched again; until then the head may be lower.
            state.head = BlockId(0);
        }
        self.counts.add("crash");
        let later = self.now + restart_after;
        self.at(later, Happening::Restart { node });
    }

    pub(super) fn turn(&mut self, node: usize, inputs: Inputs) {
        let now = Time(self.clock(node));
        let state = &mut self.nodes[node];
        let Some(driver) = &mut state.driver else { return };
        state.env.now = state.env.now.max(now);
        let turn = driver.turn(&mut state.env, inputs);
        if state.disk.is_dead() {
            // What the turn would have said never left the machine.
            let after = self.rng.random_range(100..6_000);
            self.counts.add("power_cut_in_a_turn");
            self.crash(node, after);
            return;
        }
        self.dispatch(node, turn);
    }

    pub(super) fn command(&mut self, node: usize, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.turn(node, vec![Input::Command(ticket, command)]);
    }

    pub(super) fn dispatch(&mut self, node: usize, turn: Turn) {
        if self.plan.trace {
            for line in &turn.trace {
                let ms = self.now - BEGIN;
                eprintln!("{ms:>8} node {node} {} {}", line.line, line.text);
            }
            if let Some(reason) = &turn.stalled {
                eprintln!("{:>8} node {node} stalled: {reason}", self.now - BEGIN);
            }
        }
        self.nodes[node].wake = turn.wake;
        self.schedule_wake(node);
        for output in turn.outputs {
            match output {
                Output::Send { to, packet } => self.send(node, &to, &packet),
                Output::Reply(_, Ok(Reply::Accepted { trx_id })) => {
                    self.ledger.acknowledge(trx_id);
                }
                Output::Reply(_, Ok(Reply::Announced { .. })) => self.announced += 1,
                Output::Reply(_, Ok(Reply::ChangeStarted { .. } | Reply::Left)) => {}
                Output::Reply(_, Err(error)) => {
                    if self.plan.trace {
                        eprintln!("{:>8} node {node} refuses: {error}", self.now - BEGIN);
                    }
                }
                Output::Notice(notice) => self.notice(node, notice),
            }
        }
    }

    pub(super) fn notice(&mut self, node: usize, notice: Notice) {
        match notice {
            Notice::Views(views) => {
                self.nodes[node].views.clone_from(&views);
                for view in &views {
                    if !self.nodes[node].traitor {
                        let result = self.ledger.view(view);
                        self.check(result);
                    }
                }
            }
            Notice::ViewInstalled(view) => {
                let result = self.ledger.view(&view);
                self.check(result);
                if view.number >= ViewNumber(1) {
                    self.installed.insert(node);
                }
            }
            Notice::Committed { block, certificate } => {
                if self.nodes[node].traitor {
                    return;
                }
                let id = block.header.id;
                if id != self.nodes[node].head.next() {
                    let text = format!("node {node}: {id} after {}", self.nodes[node].head);
                    self.fail("total_order", text);
                }
                self.nodes[node].head = id;
                let result = self.ledger.committed(&block, &certificate);
                self.check(result);
                let when = [self.now.to_be_bytes(), (node as u64).to_be_bytes()].concat();
                self.ledger.note(&when);
                if self.plan.trace {
                    let (ms, count) = (self.now - BEGIN, block.trxs.len());
                    eprintln!("{ms:>8} node {node} BLOCK {id} of {count} trxs is final");
                }
            }
            Notice::Evidence(evidence) => {
                if self.plan.trace {
                    eprintln!("{:>8} node {node} evidence {evidence:?}", self.now - BEGIN);
                }
            }
            Notice::Ready => {
                self.ready.insert(node);
            }
            Notice::EpochEnded(_) | Notice::ChangeEnded { .. } => {}
        }
    }
}
