//! Integrity: nothing is ordered that nobody submitted.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::block::Block;
use quorate_ledger::ids::TrxId;
use quorate_ledger::proto::{Trx, TrxType};
use quorate_ledger::trx::{self, Sender};
use quorate_replica::api::Command;

use super::Violation;

/// A post that a member was told to submit.
#[derive(Clone, Copy, Debug)]
struct Post {
    /// The number of the command.
    ticket: u64,
    /// The trx that was ordered for it.
    trx: Option<TrxId>,
}

/// What members have been told to submit, and which trx came of each post.
#[derive(Debug)]
pub struct Origins {
    cipher: SymmetricKey,
    /// Posts by sender and plain payload.
    posts: BTreeMap<(MemberPublicKey, Vec<u8>), Post>,
    /// Types of trxs, other than posts, that a member has a reason to send.
    others: BTreeSet<(MemberPublicKey, i32)>,
    /// Whoever has these keys may submit what he likes.
    traitors: BTreeSet<MemberPublicKey>,
}

impl Origins {
    /// Nothing submitted yet to a group with this cipher key.
    #[must_use]
    pub fn new(cipher: SymmetricKey) -> Self {
        let (posts, others) = (BTreeMap::new(), BTreeSet::new());
        Self { cipher, posts, others, traitors: BTreeSet::new() }
    }

    /// A member is told to do something, with the command of this number.
    pub fn commanded(&mut self, ticket: u64, member: MemberPublicKey, command: &Command) {
        match command {
            Command::Submit { kind: TrxType::Post, payload } => {
                let post = Post { ticket, trx: None };
                self.posts.entry((member, payload.clone())).or_insert(post);
            }
            Command::Submit { kind, .. } => {
                self.others.insert((member, *kind as i32));
            }
            Command::SubmitSigned(trx) => {
                if let Some(Sender::Key(sender)) = trx.sender() {
                    self.others.insert((sender, trx.r#type));
                }
            }
            Command::Announce { .. } => {
                self.others.insert((member, TrxType::Announce as i32));
            }
            Command::ChangeConsensus { .. } => {
                self.others.insert((member, TrxType::Consensus as i32));
            }
            Command::Leave => {}
        }
    }

    /// A member signs what it likes from now on.
    pub fn distrust(&mut self, member: MemberPublicKey) {
        self.traitors.insert(member);
    }

    /// A block that no node has shown before is final: the posts of clients in it, with the numbers
    /// of their commands.
    ///
    /// # Errors
    /// A trx of it was submitted by nobody, or is the second one of a submission.
    pub fn ordered(&mut self, block: &Block) -> Result<BTreeMap<TrxId, u64>, Violation> {
        let mut submitted = BTreeMap::new();
        for trx in &block.trxs {
            let found = self.trx(trx).map_err(|(property, what)| {
                let (id, trx_id, sender) = (block.header.id, &trx.trx_id, &trx.sender_pubkey);
                let text = format!("block {id}, trx {trx_id} of {sender}: {what}");
                Violation::new(property, text)
            })?;
            submitted.extend(found);
        }
        Ok(submitted)
    }

    /// The command a trx came of, if it is a client's post.
    fn trx(&mut self, trx: &Trx) -> Result<Option<(TrxId, u64)>, (&'static str, String)> {
        let forged = |what: &str| Err(("integrity", what.to_owned()));
        let Some(Sender::Key(sender)) = trx.sender() else {
            return forged("its sender is no key");
        };
        if self.traitors.contains(&sender) || self.others.contains(&(sender, trx.r#type)) {
            return Ok(None);
        }
        let (Some(id), Some(TrxType::Post)) = (trx.id(), trx.trx_type()) else {
            return forged("its sender had no reason to send it");
        };
        let Ok(payload) = trx::decrypt_payload(&self.cipher, &trx.data) else {
            return forged("nobody wrote what it holds: it does not open");
        };
        let text = String::from_utf8_lossy(&payload).into_owned();
        match self.posts.get_mut(&(sender, payload)) {
            None => Err(("integrity", format!("nobody submitted {text} with this key"))),
            Some(Post { trx: Some(other), .. }) if *other != id => {
                Err(("exactly_once", format!("{text} is also ordered as trx {other}")))
            }
            Some(post) => {
                post.trx = Some(id);
                Ok(Some((id, post.ticket)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::testing::TestGroup;

    fn submit(payload: &[u8]) -> Command {
        Command::Submit { kind: TrxType::Post, payload: payload.to_vec() }
    }

    #[test]
    fn what_was_submitted_may_be_ordered_once() {
        let mut group = TestGroup::new();
        let member = group.member(1);
        let mut origins = Origins::new(group.cipher());
        origins.commanded(7, member.public(), &submit(b"one"));
        let block = group.block(&[(&member, b"one")]);
        let id = block.trxs[0].id().expect("it has one");
        assert_eq!(origins.ordered(&block), Ok(BTreeMap::from([(id, 7)])));
        let again = group.block(&[(&member, b"one")]);
        let violation = origins.ordered(&again).expect_err("two trxs of one submission");
        assert_eq!(violation.property, "exactly_once");
    }

    #[test]
    fn a_trx_out_of_thin_air_is_seen() {
        let mut group = TestGroup::new();
        let (member, other) = (group.member(1), group.member(2));
        let mut origins = Origins::new(group.cipher());
        origins.commanded(7, member.public(), &submit(b"one"));
        for posts in [[(&member, b"two".as_slice())], [(&other, b"one".as_slice())]] {
            let block = group.block(&posts);
            let violation = origins.ordered(&block).expect_err("nobody submitted it");
            assert_eq!(violation.property, "integrity");
        }
        origins.distrust(other.public());
        let block = group.block(&[(&other, b"one")]);
        assert_eq!(origins.ordered(&block), Ok(BTreeMap::new()), "a traitor signs what it likes");
    }

    #[test]
    fn a_change_that_nobody_asked_for_is_seen() {
        let mut group = TestGroup::new();
        let member = group.member(1);
        let mut origins = Origins::new(group.cipher());
        let block = group.block_of(TrxType::Consensus, &member, b"{}");
        let violation = origins.ordered(&block).expect_err("nobody asked for a change");
        assert_eq!(violation.property, "integrity");
    }
}
