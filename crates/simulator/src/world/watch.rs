//! What nodes say goes to the checkers.

use quorate_consensus::core::Core;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::ids::{BlockId, ViewNumber};
use quorate_replica::api::{Answer, Notice, Output, Query};
use quorate_replica::driver::Turn;

use super::{Keys, Place, World};

impl<C: Core> World<C>
where
    Keys<C>: Threshold,
{
    /// A restarted node must know at least what it had said is final; what became final in the turn
    /// that the crash cut off was never said, so it is looked at now.
    pub(super) fn compare_with_before(&mut self, place: Place, first: &Turn) {
        if self.nodes[place.node].traitor {
            return;
        }
        let Some(driver) = &self.seat(place).driver else { return };
        let fresh = first
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Notice(Notice::Committed { .. })))
            .count() as u64;
        let before = self.seat(place).head;
        let found = BlockId(driver.status().head.0 - fresh);
        let unsaid: Vec<_> =
            (before.0 + 1..=found.0).map(|id| driver.query(Query::Block(BlockId(id)))).collect();
        if found < before {
            let text = format!("{place} had block {before} final, and {found} after a crash");
            self.fail("durability", text);
        }
        self.seat_mut(place).head = found;
        for answer in unsaid {
            match answer {
                Ok(Answer::Block(block, certificate, view)) => {
                    let ledger = &mut self.groups[place.group].ledger;
                    let result =
                        ledger.view(&view).and_then(|()| ledger.committed(&block, &certificate));
                    self.check(result);
                }
                other => self.fail("durability", format!("{place} cannot show {other:?}")),
            }
        }
    }

    pub(super) fn notice(&mut self, place: Place, notice: Notice) {
        let traitor = self.nodes[place.node].traitor;
        match notice {
            Notice::Views(views) => {
                self.seat_mut(place).views.clone_from(&views);
                for view in views.iter().filter(|_| !traitor) {
                    let result = self.groups[place.group].ledger.view(view);
                    self.check(result);
                }
            }
            Notice::ViewInstalled(view) => {
                let result = self.groups[place.group].ledger.view(&view);
                self.check(result);
                if view.number >= ViewNumber(1) {
                    self.groups[place.group].installed.insert(place.node);
                }
            }
            Notice::Committed { block, certificate } => {
                if traitor {
                    return;
                }
                let id = block.header.id;
                if id != self.seat(place).head.next() {
                    let text = format!("{place}: {id} after {}", self.seat(place).head);
                    self.fail("total_order", text);
                }
                self.seat_mut(place).head = id;
                let now = self.now;
                let ledger = &mut self.groups[place.group].ledger;
                let result = ledger.committed(&block, &certificate);
                let when = [now.to_be_bytes(), (place.node as u64).to_be_bytes()].concat();
                ledger.note(&when);
                self.check(result);
                let count = block.trxs.len();
                self.tell(|| format!("{place} BLOCK {id} of {count} trxs is final"));
            }
            Notice::Evidence(evidence) => self.tell(|| format!("{place} evidence {evidence:?}")),
            Notice::Ready => {
                self.groups[place.group].ready.insert(place.node);
            }
            Notice::EpochEnded(_) | Notice::ChangeEnded { .. } => {}
        }
    }
}
