//! The votes of one round of binary agreement, one of each kind for each sender.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crypto::threshold::{Joint, NodeIndex, Share};
use quorate_ledger::mutants::{Mutant, mutated};

use super::message::{AgreementMessage, Values};

/// What is known of one round.
#[derive(Clone, Default)]
pub(super) struct Tally {
    /// Who said BVAL of each value.
    pub bval: [BTreeSet<NodeIndex>; 2],
    /// Who said AUX of what.
    pub aux: BTreeMap<NodeIndex, bool>,
    /// Who said CONF of what.
    pub conf: BTreeMap<NodeIndex, Values>,
    /// Coin shares not known to be wrong.
    pub shares: BTreeMap<NodeIndex, Share>,
    /// Members whose coin share was wrong.
    refused: BTreeSet<NodeIndex>,
    /// Coins forwarded and not verified yet, one for each sender.
    pub joints: BTreeMap<NodeIndex, Joint>,
    /// Whose forwarded coin has been taken.
    offered: BTreeSet<NodeIndex>,
    /// Accepted values in the order of acceptance (`bin_values` of the paper).
    accepted: Vec<bool>,
    /// The union of the first `n - f` CONF.
    pub confirmed: Option<Values>,
    /// Whether the own coin share has been released.
    pub released: bool,
}

impl Tally {
    /// Counts a message of this round. Only a sender's first of each kind counts.
    ///
    /// # Errors
    /// What the sender said twice and differently.
    pub(super) fn count(
        &mut self,
        from: NodeIndex,
        message: AgreementMessage,
    ) -> Result<(), &'static str> {
        match message {
            AgreementMessage::BVal { value, .. } => {
                let said = &mut self.bval[usize::from(value)];
                if !said.insert(from) && mutated(Mutant::BvalPerMessage) {
                    said.insert(NodeIndex(u16::MAX - said.len() as u16));
                }
                Ok(())
            }
            AgreementMessage::Aux { value, .. } => first(&mut self.aux, from, value, "two AUX"),
            AgreementMessage::Conf { values, .. } => {
                first(&mut self.conf, from, values, "two CONF")
            }
            AgreementMessage::Share { share, .. } => {
                if !self.refused.contains(&from) {
                    self.shares.entry(from).or_insert(share);
                }
                Ok(())
            }
            AgreementMessage::Coin { joint, .. } => {
                if self.offered.insert(from) {
                    self.joints.insert(from, joint);
                }
                Ok(())
            }
            AgreementMessage::Term { .. } => Ok(()),
        }
    }

    /// Counts a TERM as the sender's BVAL, AUX and CONF of this round.
    pub(super) fn count_term(&mut self, from: NodeIndex, value: bool) {
        self.bval[usize::from(value)].insert(from);
        self.aux.entry(from).or_insert(value);
        self.conf.entry(from).or_insert(Values::one(value));
    }

    /// A value that `needed` members said BVAL of, and `me` not.
    pub(super) fn unsaid_bval(&self, me: NodeIndex, needed: usize) -> Option<bool> {
        let due = |value: &bool| {
            let said = &self.bval[usize::from(*value)];
            said.len() >= needed && !said.contains(&me)
        };
        [false, true].into_iter().find(due)
    }

    /// Accepts a value that `needed` members said BVAL of.
    pub(super) fn accept(&mut self, needed: usize) -> Option<bool> {
        let due = |value: &bool| {
            self.bval[usize::from(*value)].len() >= needed && !self.accepted.contains(value)
        };
        let value = [true, false].into_iter().find(due)?;
        self.accepted.push(value);
        Some(value)
    }

    /// The value accepted first.
    pub(super) fn first_accepted(&self) -> Option<bool> {
        self.accepted.first().copied()
    }

    /// The values of the AUX of accepted values, if there are `needed`.
    pub(super) fn seen(&self, needed: usize) -> Option<Values> {
        let fitting = self.aux.values().filter(|value| self.accepted.contains(value));
        union(fitting.map(|value| Values::one(*value)), needed)
    }

    /// The values of the CONF within the accepted values, if there are `needed`.
    pub(super) fn confirmation(&self, needed: usize) -> Option<Values> {
        let accepted = self.accepted.iter().map(|value| Values::one(*value));
        let accepted = accepted.reduce(Values::union)?;
        let fitting = self.conf.values().filter(|values| values.within(accepted));
        union(fitting.copied(), needed)
    }

    /// Drops a wrong coin share; its sender gets no second chance in this round.
    pub(super) fn refuse_share(&mut self, member: NodeIndex) {
        self.shares.remove(&member);
        self.refused.insert(member);
    }
}

/// Keeps a sender's first vote of a kind.
fn first<V: PartialEq>(
    votes: &mut BTreeMap<NodeIndex, V>,
    from: NodeIndex,
    vote: V,
    twice: &'static str,
) -> Result<(), &'static str> {
    match votes.get(&from) {
        Some(earlier) if *earlier == vote => Ok(()),
        Some(_) => Err(twice),
        None => {
            votes.insert(from, vote);
            Ok(())
        }
    }
}

fn union(sets: impl Iterator<Item = Values>, needed: usize) -> Option<Values> {
    let (count, all) = sets.fold((0, None), |(count, all), set| {
        (count + 1, Some(all.map_or(set, |all: Values| all.union(set))))
    });
    all.filter(|_| count >= needed)
}
