//! One ledger: what all correct nodes together have shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_crypto::hash::{Digest, Hasher};
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::ids::{BlockId, GroupId, TrxId, ViewNumber};
use quorate_ledger::trx;
use quorate_ledger::view::View;

use super::{Violation, limits};

/// What all correct nodes together have shown so far.
#[derive(Debug)]
pub struct Ledger {
    group: GroupId,
    blocks: BTreeMap<BlockId, Digest>,
    trxs: BTreeMap<TrxId, BlockId>,
    views: BTreeMap<ViewNumber, Arc<View>>,
    /// Acknowledged trxs, with the node that did.
    acknowledged: BTreeMap<TrxId, usize>,
    digest: Digest,
}

impl Ledger {
    /// Nothing yet of this group, whose genesis block has this hash.
    #[must_use]
    pub fn new(group: GroupId, genesis: Digest) -> Self {
        Self {
            group,
            blocks: BTreeMap::from([(BlockId(0), genesis)]),
            trxs: BTreeMap::new(),
            views: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            digest: Digest::default(),
        }
    }

    /// A correct node said that a block is final.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn committed(&mut self, block: &Block, certificate: &Certificate) -> Result<(), Violation> {
        let header = &block.header;
        let (id, hash) = (header.id, header.hash());
        let view = self.views.get(&header.view).ok_or_else(|| {
            Violation::new("one_view", format!("block {id} is of unknown view {}", header.view))
        })?;
        if let Err(error) = certificate.certifies(header, view) {
            return Err(Violation::new("certificate", format!("block {id}: {error}")));
        }
        let (signers, needed) = (signers(certificate, view), needed(view));
        if signers < needed {
            let text = format!("block {id}: {signers} producers signed of {needed} needed");
            return Err(Violation::new("certificate", text));
        }
        limits::block(block, certificate, view.producers.len())?;
        let link = self.blocks.get(&BlockId(id.0.saturating_sub(1)));
        if link != Some(&header.previous) {
            let text = format!("block {id} follows {}, not {link:?}", header.previous);
            return Err(Violation::new("total_order", text));
        }
        if let Some(known) = self.blocks.get(&id) {
            if *known != hash {
                let text = format!("block {id} is {known} and {hash}");
                return Err(Violation::new("agreement", text));
            }
            return Ok(());
        }
        self.blocks.insert(id, hash);
        for trx in &block.trxs {
            let trx_id = trx::check(trx, self.group, trx::Limits::REFERENCE).map_err(|error| {
                Violation::new("validity", format!("block {id}, trx {}: {error}", trx.trx_id))
            })?;
            if let Some(other) = self.trxs.insert(trx_id, id) {
                let text = format!("trx {trx_id} is in blocks {other} and {id}");
                return Err(Violation::new("exactly_once", text));
            }
        }
        self.note(hash.as_bytes());
        Ok(())
    }

    /// Whether some node has shown a block of this id as final.
    #[must_use]
    pub fn knows(&self, id: BlockId) -> bool {
        self.blocks.contains_key(&id)
    }

    /// A correct node knows a view.
    ///
    /// # Errors
    /// Another node knows another one of that number.
    pub fn view(&mut self, view: &Arc<View>) -> Result<(), Violation> {
        let known = self.views.entry(view.number).or_insert_with(|| Arc::clone(view));
        if **known == **view {
            return Ok(());
        }
        Err(Violation::new("one_view", format!("two views of number {}", view.number)))
    }

    /// A client was told by a node that a trx is accepted.
    pub fn acknowledge(&mut self, id: TrxId, node: usize) {
        self.acknowledged.insert(id, node);
    }

    /// A node has lost its disk: nobody else knows what it alone acknowledged.
    pub fn forgive(&mut self, node: usize) {
        let ordered = &self.trxs;
        self.acknowledged.retain(|id, by| *by != node || ordered.contains_key(id));
    }

    /// Acknowledged trxs that are in no block.
    pub fn missing(&self) -> impl Iterator<Item = &TrxId> {
        self.acknowledged.keys().filter(|id| !self.trxs.contains_key(id))
    }

    /// The highest final block, and its hash.
    #[must_use]
    pub fn head(&self) -> (BlockId, Digest) {
        let (id, hash) = self.blocks.last_key_value().expect("the genesis block is there");
        (*id, *hash)
    }

    /// Mixes something into the run's digest.
    pub fn note(&mut self, bytes: &[u8]) {
        let hasher = Hasher::new("quorate.simulation.v1").field(self.digest.as_bytes());
        self.digest = hasher.field(bytes).finish();
    }

    /// Digest of everything that happened in some groups: the same seed gives the same one.
    #[must_use]
    pub fn digest_of<'a>(ledgers: impl Iterator<Item = &'a Self>) -> Digest {
        let hasher = Hasher::new("quorate.simulated-groups.v1");
        ledgers.fold(hasher, |hasher, ledger| hasher.field(ledger.digest.as_bytes())).finish()
    }
}

/// Producers named by a certificate. Counted here once more: the checker must not ask the code that
/// it checks.
fn signers(certificate: &Certificate, view: &View) -> usize {
    let members = certificate.signatures.iter().map(|(index, _)| *index);
    members.filter(|index| index.get() < view.producers.len()).collect::<BTreeSet<_>>().len()
}

/// `2f + 1` of `n` producers, `f = (n - 1) / 3`.
fn needed(view: &View) -> usize {
    (view.producers.len() - 1) / 3 * 2 + 1
}

#[cfg(test)]
mod tests;
