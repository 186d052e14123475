//! What nodes say goes to the checkers; and what clients read, and what is looked at in the end.

use std::sync::Arc;

use quorate_consensus::core::Core;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{BlockId, ViewNumber};
use quorate_replica::api::{Answer, Command, Notice, Output, Query, QueryError};
use quorate_replica::driver::Turn;
use rand::{Rng, RngExt};

use super::{Keys, Place, PoaHappening, PoaWorld};
use crate::properties::Violation;
use crate::properties::chain::{Verifier, Witness};
use crate::properties::history::{History, Read};
use crate::properties::origin::Origins;
use crate::properties::state::States;
use crate::world::{Happening, MS};

/// Reads after a post, at moments within [`READ_WITHIN_MS`].
const READS: usize = 3;
const READ_WITHIN_MS: u64 = 2_000;
/// Posts asked for in one read.
const NEWEST: usize = 8;

/// Faults after which a disk may hold bytes that cannot be read.
const DAMAGE: [&str; 3] = ["bit_flip", "truncated_tail", "misdirected_write"];

/// What is checked of a group beside its ledger.
pub(super) struct Checks {
    pub(super) origins: Origins,
    states: States,
    pub(super) history: History,
    verifier: Verifier,
}

impl Checks {
    pub(super) fn new(descriptor: &GroupDescriptor) -> Self {
        Self {
            origins: Origins::new(descriptor.cipher_key.clone()),
            states: States::new(descriptor.clone()),
            history: History::new(descriptor.genesis.hash()),
            verifier: Verifier::new(descriptor.genesis.clone()),
        }
    }

    /// A block that no node has shown before is final.
    fn ordered(&mut self, block: &Block) -> Result<(), Violation> {
        let submitted = self.origins.ordered(block)?;
        self.states.ordered(block)?;
        self.history.ordered(block, &submitted)
    }
}

impl<C: Core> PoaWorld<C>
where
    Keys<C>: Threshold,
{
    /// A restarted node must know at least what it had said is final; what became final in the turn
    /// that the crash cut off was never said, so it is looked at now.
    pub(super) fn compare_with_before(&mut self, place: Place, first: &Turn) {
        if self.nodes[place.node].traitor {
            return;
        }
        let Some(driver) = &self.seat(place).member else { return };
        let fresh = first
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Notice(Notice::Committed { .. })))
            .count() as u64;
        let before = self.seat(place).record.head;
        let found = BlockId(driver.status().head.0 - fresh);
        let disk = &self.nodes[place.node].disk;
        let read = |id| match driver.query(Query::Block(BlockId(id))) {
            // The disk fails, but what it has is final.
            Err(QueryError::Storage(_)) => {
                disk.at_its_best(|| driver.query(Query::Block(BlockId(id))))
            }
            other => other,
        };
        let unsaid: Vec<_> = (before.0 + 1..=found.0).map(read).collect();
        if found < before {
            let text = format!("{place} had block {before} final, and {found} after a crash");
            self.fail("durability", text);
        }
        if before == BlockId(0) {
            // Its disk was damaged, or it never had anything.
            self.play.groups[place.group].checks.history.damaged(place.node);
        }
        self.seat_mut(place).record.head = found;
        for answer in unsaid {
            match answer {
                Ok(Answer::Block(block, certificate, view)) => {
                    let result = self.play.groups[place.group].ledger.view(&view);
                    self.check(result);
                    self.is_final(place, &block, &certificate);
                }
                other => self.fail("durability", format!("{place} cannot show {other:?}")),
            }
        }
        self.compare_state(place);
    }

    pub(super) fn notice(&mut self, place: Place, notice: Notice) {
        let traitor = self.nodes[place.node].traitor;
        match notice {
            Notice::Views(views) => {
                let known = &mut self.play.groups[place.group].views;
                for view in &views {
                    if !known.contains(view) {
                        known.push(Arc::clone(view));
                    }
                }
                let same = |view| known.iter().find(|known| *known == view).cloned();
                let shared = views.iter().filter_map(same).collect();
                self.seat_mut(place).record.views = shared;
                for view in views.iter().filter(|_| !traitor) {
                    let result = self.play.groups[place.group].ledger.view(view);
                    self.check(result);
                }
            }
            Notice::ViewInstalled(view) => {
                if view.number >= ViewNumber(1) {
                    self.play.groups[place.group].installed.insert(place.node);
                }
                if !traitor {
                    let result = self.play.groups[place.group].ledger.view(&view);
                    self.check(result);
                    self.verify(place, false);
                }
            }
            Notice::Committed { block, certificate } => {
                if !traitor {
                    self.committed(place, &block, &certificate);
                }
            }
            Notice::Evidence(evidence) => self.tell(|| format!("{place} evidence {evidence:?}")),
            Notice::Ready => {
                self.play.groups[place.group].ready.insert(place.node);
                if !traitor {
                    self.compare_documents(place);
                }
            }
            Notice::EpochEnded(_) | Notice::ChangeEnded { .. } => {}
        }
    }

    /// A correct node says that a block is final.
    fn committed(&mut self, place: Place, block: &Block, certificate: &Certificate) {
        let id = block.header.id;
        if id != self.seat(place).record.head.next() {
            let text = format!("{place}: {id} after {}", self.seat(place).record.head);
            self.fail("total_order", text);
        }
        self.seat_mut(place).record.head = id;
        self.is_final(place, block, certificate);
        let when = [self.now.to_be_bytes(), (place.node as u64).to_be_bytes()].concat();
        self.play.groups[place.group].ledger.note(&when);
        let count = block.trxs.len();
        self.tell(|| format!("{place} BLOCK {id} of {count} trxs is final"));
        self.compare_state(place);
    }

    /// A correct node has shown a block as final: it is compared with what others have shown.
    fn is_final(&mut self, place: Place, block: &Block, certificate: &Certificate) {
        let traitors: Vec<_> =
            self.nodes.iter().filter(|n| n.traitor).map(|n| n.member.public()).collect();
        let group = &mut self.play.groups[place.group];
        let new = !group.ledger.knows(block.header.id);
        let mut result = group.ledger.committed(block, certificate);
        if result.is_ok() && new {
            traitors.into_iter().for_each(|member| group.checks.origins.distrust(member));
            result = group.checks.ordered(block);
        }
        if result.is_ok() {
            group.checks.history.seen(place.node, block, self.now);
        }
        self.check(result);
    }

    fn compare_documents(&mut self, place: Place) {
        let answer = self.seat(place).member.as_ref().map(|driver| driver.query(Query::Genesis));
        if let Some(Ok(Answer::Genesis(documents))) = answer {
            let result = self.play.groups[place.group].checks.states.documents(&documents);
            self.check(result);
        }
    }

    /// The state of a correct node against that of the others after the same block.
    fn compare_state(&mut self, place: Place) {
        let Some(driver) = &self.seat(place).member else { return };
        let head = driver.replica().status().head;
        let Some(state) = driver.replica().state() else { return };
        let states = &self.play.groups[place.group].checks.states;
        let result = states.same(&place.to_string(), head, state);
        self.check(result);
    }

    /// A client is about to have something done.
    pub(super) fn note_command(&mut self, place: Place, command: &Command) {
        let (ticket, now) = (self.tickets, self.now);
        let member = self.nodes[place.node].member.public();
        let checks = &mut self.play.groups[place.group].checks;
        checks.origins.commanded(ticket, member, command);
        if let Command::Submit { .. } = command {
            checks.history.submit(ticket, place.node, now);
        }
    }

    /// Clients read for a while.
    pub(super) fn read_soon(&mut self, group: usize) {
        for _ in 0..READS {
            let later = self.clients.random_range(0..READ_WITHIN_MS * MS);
            self.at(self.now + later, Happening::Play(PoaHappening::Read { group }));
        }
    }

    /// A client reads something at some correct node that answers.
    pub(super) fn read(&mut self, group: usize) {
        let node = self.clients.random_range(0..self.nodes.len());
        let (kind, pick) = (self.clients.random_range(0..4), self.clients.next_u64());
        let place = Place { node, group };
        let (machine, seat) = (&self.nodes[node], self.seat(place));
        // What a turn that ends now releases may not have left yet.
        let busy = seat.busy_until >= self.now || machine.paused_until > self.now;
        let Some(driver) = seat.member.as_ref().filter(|_| !busy && !machine.traitor) else {
            return;
        };
        let head = driver.status().head;
        let posts = self.play.groups[group].checks.history.posts();
        let (query, asked) = match kind {
            0 => (Query::Status, None),
            1 => {
                let id = BlockId(1 + pick % (head.0 + 2));
                (Query::Block(id), Some(Read::Block(id, None)))
            }
            2 if !posts.is_empty() => {
                let id = posts[pick as usize % posts.len()];
                (Query::Trx(id), Some(Read::Trx(id, None)))
            }
            _ => {
                let (start, senders) = (None, Vec::new());
                let (num, reverse, include_start) = (NEWEST, true, false);
                let query = Query::Content { num, start, reverse, include_start, senders };
                (query, Some(Read::Newest(NEWEST, Vec::new())))
            }
        };
        let read = match (driver.query(query), asked) {
            (Ok(Answer::Status(status)), _) => Read::Head(status.head_hash),
            (Ok(Answer::Block(block, ..)), _) => Read::Block(block.header.id, Some(block.hash())),
            (Ok(Answer::Trx(trx, block)), Some(Read::Trx(id, _))) if trx.id() == Some(id) => {
                Read::Trx(id, Some(block))
            }
            (Ok(Answer::Content(found)), _) => {
                Read::Newest(NEWEST, found.iter().filter_map(|(trx, _)| trx.id()).collect())
            }
            (Err(QueryError::NotFound(_)), Some(asked)) => asked,
            // It has nothing yet, or says that it cannot read its disk: it shows nothing wrong.
            (Err(_), _) => return,
            (Ok(other), _) => return self.fail("prefix_reads", format!("{place}: {other:?}")),
        };
        self.tell(|| format!("{place} shows a client, at head {head}, {read:?}"));
        let result = self.play.groups[group].checks.history.read(node, head, &read);
        self.check(result);
    }

    /// The offline verifier looks at what a correct node shows; `whole`: at all of it.
    fn verify(&mut self, place: Place, whole: bool) {
        let machine = &self.nodes[place.node];
        let Some(driver) = &machine.seats[place.group].member else { return };
        let who = place.to_string();
        let ask = |query| driver.query(query);
        // Damage may be noticed by this very look.
        let damages = machine.disk.counts();
        let damaged = machine.disk.fails() || DAMAGE.iter().any(|kind| damages.contains_key(kind));
        let witness = Witness { who: &who, ask: &ask, damaged };
        let verifier = &mut self.play.groups[place.group].checks.verifier;
        let result = if whole {
            verifier.whole::<C::Generation>(witness)
        } else {
            verifier.views::<C::Generation>(witness)
        };
        self.check(result);
    }

    /// The end: what is too costly for every step.
    pub(super) fn examine(&mut self) {
        for place in self.places() {
            if self.violation.is_none() && !self.nodes[place.node].traitor {
                self.compare_state(place);
                self.verify(place, true);
            }
        }
        for group in 0..self.play.groups.len() {
            let result = self.play.groups[group].checks.history.linearizable();
            self.check(result);
        }
    }

    /// Where a replica stands.
    pub(super) fn stands(&self, place: Place) -> String {
        let seat = self.seat(place);
        let stands = match &seat.member {
            None => "down".to_owned(),
            Some(driver) => {
                let status = driver.status();
                format!(
                    "head {} ({}), view {}, epoch {}, {} trxs wait{}",
                    status.head,
                    status.head_hash,
                    status.view,
                    status.epoch,
                    status.pool,
                    if status.producing { ", produces" } else { "" },
                )
            }
        };
        format!("said {}: {stands}", seat.record.head)
    }
}

#[cfg(test)]
mod tests;
