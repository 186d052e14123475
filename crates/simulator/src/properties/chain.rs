//! The project's offline verifier, the one of `quorate verify`, over what nodes show: views, proofs,
//! blocks and receipts, from the genesis block to the head. Nothing is taken from the memory of a
//! node: everything goes through its encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_crypto::hash::{Digest, Hasher, sha256};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::change;
use quorate_ledger::codec::Canonical;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::ids::BlockId;
use quorate_ledger::receipt::Receipt;
use quorate_ledger::view::{View, ViewChain};
use quorate_replica::api::{Answer, Query, QueryError};

use super::Violation;

/// How a node is asked.
pub type Ask<'a> = &'a dyn Fn(Query) -> Result<Answer, QueryError>;

/// Why a verification ended before its end.
enum Stop {
    /// It cannot read its disk, for a reason that is known.
    Excused,
    /// What it shows does not hold.
    Wrong(String),
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong(what.into()))
}

/// A node that is looked at.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// Its name in reports.
    pub who: &'a str,
    /// How it is asked.
    pub ask: Ask<'a>,
    /// Whether its disk may have bytes that cannot be read: it must not show them, and need not.
    pub damaged: bool,
}

impl Witness<'_> {
    fn ask(&self, query: Query) -> Result<Answer, Stop> {
        let text = format!("{query:?}");
        (self.ask)(query).map_err(|error| match error {
            QueryError::Storage(_) if self.damaged => Stop::Excused,
            error => Stop::Wrong(format!("{text}: {error}")),
        })
    }

    fn judge(&self, found: Result<(), Stop>) -> Result<(), Violation> {
        match found {
            Ok(()) | Err(Stop::Excused) => Ok(()),
            Err(Stop::Wrong(what)) => {
                Err(Violation::new("view_chain", format!("{} shows: {what}", self.who)))
            }
        }
    }
}

/// Through the encoding and back.
fn carried<T: Canonical>(value: &T, what: &str) -> Result<T, Stop> {
    T::from_bytes(&value.to_bytes()).or_else(|error| wrong(format!("{what}: {error}")))
}

/// The verifier of one group. To verify is a pure function, so the same bytes are verified once.
#[derive(Debug)]
pub struct Verifier {
    genesis: GenesisBlock,
    chains: BTreeMap<Digest, Arc<[View]>>,
    blocks: BTreeSet<Digest>,
}

impl Verifier {
    /// Of the group with this genesis block, which is all that is trusted.
    #[must_use]
    pub const fn new(genesis: GenesisBlock) -> Self {
        Self { genesis, chains: BTreeMap::new(), blocks: BTreeSet::new() }
    }

    /// The views and proofs that a node shows.
    ///
    /// # Errors
    /// They do not verify, or are not those it works with.
    pub fn views<G>(&mut self, witness: Witness<'_>) -> Result<(), Violation>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let found = self.chain::<G>(&witness).and_then(|views| self.proofs(&witness, &views));
        witness.judge(found)
    }

    /// Everything that a node shows up to its head.
    ///
    /// # Errors
    /// Something does not verify.
    pub fn whole<G>(&mut self, witness: Witness<'_>) -> Result<(), Violation>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let found = self.chain::<G>(&witness).and_then(|views| {
            self.proofs(&witness, &views)?;
            self.blocks(&witness, &views)
        });
        witness.judge(found)
    }

    fn chain<G>(&mut self, witness: &Witness<'_>) -> Result<Arc<[View]>, Stop>
    where
        G: KeyGeneration,
        G::Keys: Threshold,
    {
        let Answer::ViewChain(chain) = witness.ask(Query::ViewChain)? else {
            return wrong("another answer to ViewChain");
        };
        let bytes = chain.to_bytes();
        let digest = sha256(&bytes);
        let views = match self.chains.get(&digest) {
            Some(views) => Arc::clone(views),
            None => {
                let chain = ViewChain::from_bytes(&bytes)
                    .or_else(|error| wrong(format!("view chain: {error}")))?;
                if chain.genesis.genesis != self.genesis {
                    return wrong("view chain: of another genesis block");
                }
                let views = chain.verify::<G>();
                let views = views.or_else(|error| wrong(format!("view chain: {error}")))?;
                Arc::clone(self.chains.entry(digest).or_insert_with(|| views.into()))
            }
        };
        let Answer::Consensus(info) = witness.ask(Query::Consensus)? else {
            return wrong("another answer to Consensus");
        };
        if views.last() != Some(&*info.view) {
            let (proved, used) = (views.len() - 1, info.view.number);
            return wrong(format!("view {used} is in force, the chain proves view {proved}"));
        }
        Ok(views)
    }

    fn proofs(&self, witness: &Witness<'_>, views: &[View]) -> Result<(), Stop> {
        let Answer::Proofs(proofs) = witness.ask(Query::Proofs)? else {
            return wrong("another answer to Proofs");
        };
        let mut nonces = Vec::with_capacity(proofs.len());
        for bundle in &proofs {
            let change = change::verify_bundle(bundle, &self.genesis.owner, self.genesis.group)
                .or_else(|error| wrong(format!("proof {}: {error}", nonces.len())))?;
            nonces.push(change.request.nonce);
        }
        if !nonces.is_sorted_by(|one, next| one < next) {
            return wrong(format!("proofs in another order than their nonces: {nonces:?}"));
        }
        match views.iter().find(|view| !nonces.contains(&view.nonce)) {
            Some(view) => wrong(format!("no proof of view {}", view.number)),
            None => Ok(()),
        }
    }

    fn blocks(&mut self, witness: &Witness<'_>, views: &[View]) -> Result<(), Stop> {
        let Answer::Status(status) = witness.ask(Query::Status)? else {
            return wrong("another answer to Status");
        };
        let mut previous = self.genesis.hash();
        for id in (1..=status.head.0).map(BlockId) {
            let Answer::Block(block, certificate, _) = witness.ask(Query::Block(id))? else {
                return wrong(format!("another answer to Block {id}"));
            };
            let header = &block.header;
            if header.id != id || header.previous != previous {
                return wrong(format!("block {id} does not follow the one before"));
            }
            previous = header.hash();
            self.block(&block, &certificate, views)?;
            let Some(trx) = block.trxs.first().and_then(|trx| trx.id()) else {
                return wrong(format!("block {id} has no trx with an id"));
            };
            let Answer::Receipt(receipt) = witness.ask(Query::Receipt(trx))? else {
                return wrong(format!("another answer to Receipt {trx}"));
            };
            self.receipt(&receipt, previous, views)?;
        }
        if status.head_hash != previous {
            return wrong(format!("head {} is not the last block", status.head));
        }
        Ok(())
    }

    fn is_new(&mut self, kind: &str, parts: [&[u8]; 2]) -> bool {
        let hasher = Hasher::new("quorate.simulation.seen.v1").field(kind.as_bytes());
        self.blocks.insert(hasher.field(parts[0]).field(parts[1]).finish())
    }

    fn block(
        &mut self,
        block: &Block,
        certificate: &Certificate,
        views: &[View],
    ) -> Result<(), Stop> {
        if !self.is_new("block", [&block.to_bytes(), &certificate.to_bytes()]) {
            return Ok(());
        }
        let header = &block.header;
        let name = format!("block {}", header.id);
        let (block, certificate) = (carried(block, &name)?, carried(certificate, &name)?);
        let Some(place) = views.iter().position(|view| view.number == header.view) else {
            return wrong(format!("{name} is of view {}, which no proof makes", header.view));
        };
        certificate
            .certifies(header, &views[place])
            .or_else(|error| wrong(format!("{name}: {error}")))?;
        let first = views[place].parent.0;
        let last = views.get(place + 1).map(|next| next.parent);
        let late = last.is_some_and(|(last, hash)| {
            header.id > last || (header.id == last && block.hash() != hash)
        });
        if header.id <= first || late {
            return wrong(format!("{name} lies outside view {}", header.view));
        }
        if !block.body_fits() {
            return wrong(format!("{name} has other trxs than its header says"));
        }
        Ok(())
    }

    fn receipt(&mut self, receipt: &Receipt, hash: Digest, views: &[View]) -> Result<(), Stop> {
        let trx = &receipt.trx.trx_id;
        if receipt.header.hash() != hash {
            return wrong(format!("the receipt of trx {trx} is of another block"));
        }
        let bytes = receipt.to_bytes();
        if !self.is_new("receipt", [&bytes, &[]]) {
            return Ok(());
        }
        let receipt = Receipt::from_bytes(&bytes);
        receipt
            .map_err(|error| error.to_string())
            .and_then(|receipt| receipt.verify_among(views).map_err(|error| error.to_string()))
            .or_else(|error| wrong(format!("the receipt of trx {trx}: {error}")))
    }
}
