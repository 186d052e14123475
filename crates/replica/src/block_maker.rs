//! Decision to block, votes to certificate.
//!
//! | line | rule |
//! |---|---|
//! | BLK-1 | A decision with trxs makes one block on the certified head: the same header at every producer ([`build`]). It is recorded before the vote for it leaves. |
//! | BLK-2 | A producer votes once for each block id, in the view that made it, and says its vote again until the block is certified. |
//! | BLK-3 | The first vote of each producer for an id counts; another one for another hash is evidence. |
//! | BLK-4 | `2f + 1` votes for the own block's hash certify it; the certificate is recorded, then the block is executed. |
//! | BLK-5 | The next decision is worked off, and the next epoch proposed, only when the block before is certified. |

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::evidence::{Evidence, Fault};
use quorate_consensus::footprint::Footprint;
use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::block::{Block, BlockHeader, trx_tree};
use quorate_ledger::certificate::{BlockVote, Certificate};
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::ids::{BlockId, Epoch, GroupId, ViewNumber};
use quorate_ledger::proto::Trx;
use quorate_ledger::state::WriteSet;
use quorate_ledger::view::View;

use crate::executor::Parent;
use crate::limits::VOTE_WINDOW;

/// The last certified block, as far as the next one needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its id; 0 is the genesis block.
    pub id: BlockId,
    /// Its hash.
    pub hash: Digest,
    /// Its timestamp, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// View that made it.
    pub view: ViewNumber,
    /// Epoch that made it.
    pub epoch: Epoch,
    /// Last block that ended a view, this one included; 0 if none.
    pub last_view_change: BlockId,
}

impl Head {
    /// As the executor wants it.
    #[must_use]
    pub const fn parent(&self) -> Parent {
        Parent { id: self.id, timestamp: self.timestamp }
    }

    /// The head that a certified block becomes.
    #[must_use]
    pub fn after(header: &BlockHeader, hash: Digest, ends_view: bool) -> Self {
        Self {
            id: header.id,
            hash,
            timestamp: header.timestamp,
            view: header.view,
            epoch: header.epoch,
            last_view_change: if ends_view { header.id } else { header.last_view_change },
        }
    }
}

/// A block that is recorded here and not certified yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The block.
    pub block: Arc<Block>,
    /// Its hash.
    pub hash: Digest,
    /// What it writes.
    pub writes: WriteSet,
    /// The view that follows it, if it ends one.
    pub next_view: Option<View>,
}

impl Pending {
    /// A block with what executing it gave.
    #[must_use]
    pub fn new(block: impl Into<Arc<Block>>, writes: WriteSet, next_view: Option<View>) -> Self {
        let block = block.into();
        let hash = block.hash();
        let parent = (block.header.id, hash);
        let next_view = next_view.map(|view| View { parent, ..view });
        Self { block, hash, writes, next_view }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.block.header.id
    }

    /// Its canonical encoding.
    #[must_use]
    pub fn bytes(&self) -> Arc<[u8]> {
        self.block.to_bytes().into()
    }
}

/// BLK-1: the block of a decision of `view` on `head`. Nothing in it depends on who builds it.
#[must_use]
pub fn build(
    view: &View,
    head: &Head,
    epoch: Epoch,
    timestamp: i64,
    trxs: Vec<Trx>,
    writes: &WriteSet,
) -> Block {
    let header = BlockHeader {
        group: view.group,
        id: head.id.next(),
        epoch,
        view: view.number,
        previous: head.hash,
        trx_root: trx_tree(&trxs).root(),
        trx_count: u32::try_from(trxs.len()).expect("a block has few trxs"),
        write_set: writes.digest(),
        last_checkpoint: BlockId(0),
        last_view_change: head.last_view_change,
        timestamp,
    };
    Block { header, trxs }
}

/// Why a block does not follow the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the block's {0} does not follow the head")]
pub struct LinkError(pub &'static str);

/// Checks everything in a header that follows from the head and the view in force.
///
/// # Errors
/// [`LinkError`] names the first field that is wrong.
pub fn check_link(
    block: &Block,
    group: GroupId,
    head: &Head,
    view: &View,
) -> Result<(), LinkError> {
    let header = &block.header;
    let first_epoch = if head.view == view.number && head.id > view.parent.0 {
        head.epoch.next()
    } else {
        view.start_epoch
    };
    let rules = [
        (header.group == group, "group"),
        (header.id == head.id.next(), "id"),
        (header.previous == head.hash, "previous hash"),
        (header.view == view.number, "view"),
        (header.epoch >= first_epoch, "epoch"),
        (header.last_checkpoint == BlockId(0), "last checkpoint"),
        (header.last_view_change == head.last_view_change, "last view change"),
        (header.timestamp >= head.timestamp, "timestamp"),
        (block.body_fits(), "list of trxs"),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, what)) => Err(LinkError(what)),
    }
}

/// Votes for the blocks after the head, in the view in force.
#[derive(Clone, Debug, Default)]
pub struct Votes(BTreeMap<BlockId, BTreeMap<NodeIndex, BlockVote>>);

impl Votes {
    /// Keeps a vote whose signatures were checked (BLK-3). Votes too far from `head` are dropped.
    ///
    /// # Errors
    /// Evidence, if the voter has voted otherwise.
    pub fn add(&mut self, head: BlockId, vote: BlockVote) -> Result<(), Evidence> {
        if vote.id <= head || vote.id.0 > head.0.saturating_add(VOTE_WINDOW) {
            return Ok(());
        }
        let (id, voter) = (vote.id, vote.voter);
        let known = self.0.entry(id).or_default().entry(voter).or_insert_with(|| vote.clone());
        if known.hash == vote.hash {
            return Ok(());
        }
        let detail = format!("two votes for block {id}");
        Err(Evidence::new(voter, Fault::Equivocation, detail))
    }

    /// BLK-4: the certificate of a block, if enough voted for it.
    #[must_use]
    pub fn certificate(&self, id: BlockId, hash: Digest, committee: usize) -> Option<Certificate> {
        let votes = self.0.get(&id)?.values().filter(|vote| vote.hash == hash);
        Certificate::assemble(votes, committee)
    }

    /// Those who voted for another block than the one of this hash.
    #[must_use]
    pub fn dissenters(&self, id: BlockId, hash: Digest) -> Vec<NodeIndex> {
        let votes = self.0.get(&id).into_iter().flatten();
        votes.filter(|(_, vote)| vote.hash != hash).map(|(voter, _)| *voter).collect()
    }

    /// How full it is, in a committee of so many producers.
    pub fn footprint(&self, committee: usize, into: &mut Footprint) {
        let voters = self.0.values().map(BTreeMap::len).max().unwrap_or_default();
        into.add("voted_blocks", self.0.len(), VOTE_WINDOW as usize);
        into.add("votes_for_a_block", voters, committee);
    }

    /// Forgets votes for blocks up to `head`.
    pub fn prune(&mut self, head: BlockId) {
        self.0.retain(|id, _| *id > head);
    }

    /// Forgets everything: another view.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
