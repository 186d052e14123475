//! Certified blocks of others: checked, applied, served (CUP-4 to CUP-6).

use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Core, Env, Journal};
use quorate_consensus::evidence::{Evidence, Fault};
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::ids::BlockId;
use quorate_ledger::mutants::{Mutant, mutated};

use super::{Out, Replica};
use crate::api::{Address, PeerRef};
use crate::block_maker::{self, Pending};
use crate::executor::{self, Ledger};
use crate::limits::{FETCH_BYTES, MAX_FETCH_BLOCKS};
use crate::wire::{self, CertifiedBytes, InboundBlock};

/// What became of one block of a peer.
enum Taken {
    /// It brought the head forward.
    Applied,
    /// It was known.
    Known,
    /// It is further ahead.
    Ahead(BlockId),
    /// It could not be judged now (the journal cannot be read).
    Unread(String),
    /// It is wrong.
    Wrong(String),
}

impl<C: Core> Replica<C>
where
    <C::Generation as KeyGeneration>::Keys: Threshold,
{
    /// Blocks of a peer: an answer, or gossip.
    pub(super) fn blocks<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        peer: &PeerRef,
        blocks: &[InboundBlock],
        out: &mut Out,
    ) {
        let (mut applied, mut wrong, mut ahead) = (0, false, false);
        for block in blocks {
            match self.take_block(env, journal, block, out) {
                Taken::Applied => applied += 1,
                Taken::Known => {}
                Taken::Ahead(id) => {
                    let head = self.chain.as_ref().map_or(BlockId(0), |chain| chain.head.id);
                    self.catchup.claim(peer, id, head);
                    ahead = true;
                    break;
                }
                Taken::Unread(why) => {
                    out.trace(Trace::said("CUP-4", format!("the journal cannot be read: {why}")));
                    break;
                }
                Taken::Wrong(why) => {
                    out.trace(Trace::said("CUP-4", format!("a block of a peer is wrong: {why}")));
                    wrong = true;
                    break;
                }
            }
        }
        // What begins further ahead than anybody was asked for is gossip.
        let is_gossip = ahead && applied == 0 && !wrong;
        if let Some(chain) = &self.chain
            && !is_gossip
        {
            self.catchup.answered(peer, applied, wrong, chain.head.id);
        }
    }

    fn take_block<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        inbound: &InboundBlock,
        out: &mut Out,
    ) -> Taken {
        let Some(chain) = &self.chain else { return Taken::Known };
        let (block, certificate) = inbound.bytes();
        let trxs_checked = inbound.checked().is_some();
        let block = match inbound.checked() {
            Some(checked) => Arc::clone(checked.get()),
            None => match Block::from_bytes(block) {
                Ok(block) => Arc::new(block),
                Err(error) => return Taken::Wrong(error.to_string()),
            },
        };
        let id = block.header.id;
        if id <= chain.head.id {
            return Taken::Known;
        }
        if id > chain.head.id.next() {
            return Taken::Ahead(id);
        }
        let certificate = match Certificate::from_bytes(certificate) {
            Ok(certificate) => certificate,
            Err(error) => return Taken::Wrong(error.to_string()),
        };
        let view = chain.view();
        let linked = block_maker::check_link(&block, self.group(), &chain.head, view);
        if let Err(error) = linked {
            return Taken::Wrong(error.to_string());
        }
        if let Err(error) = certificate.certifies(&block.header, view)
            && !mutated(Mutant::UncheckedBlock)
        {
            return Taken::Wrong(error.to_string());
        }
        if let Some(pending) = self.pending.take() {
            if pending.hash == certificate.hash {
                self.certified(env, journal, pending, certificate, out);
                return Taken::Applied;
            }
            let why = conflict(&pending, &certificate, out);
            self.pending = Some(pending);
            return Taken::Wrong(why);
        }
        let replayed = executor::replay::<C::Generation, _>(
            &Self::ground(&self.config, chain),
            view,
            chain.head.parent(),
            &block,
            &Ledger {
                checked: &|id, bytes| trxs_checked || self.pool.has_bytes(id, bytes),
                packaged: &|trx| self.packaged(journal, trx, id),
            },
        );
        match replayed {
            Err(error) => Taken::Unread(error.to_string()),
            Ok(Err(error)) => {
                // 2f + 1 producers signed what the rules forbid: more than f of them are traitors.
                accuse_signers(&certificate, &error.to_string(), out);
                Taken::Wrong(error.to_string())
            }
            Ok(Ok(replayed)) => {
                let pending = Pending::new(block, replayed.writes, replayed.next_view);
                self.record_block(&pending, out);
                self.certified(env, journal, pending, certificate, out);
                Taken::Applied
            }
        }
    }

    /// A peer asks for blocks, and thereby says where it is.
    pub(super) fn serve_blocks<J: Journal<Error: Display>>(
        &mut self,
        journal: &J,
        peer: &PeerRef,
        from: BlockId,
        max: u32,
        out: &mut Out,
    ) {
        let Some(chain) = &self.chain else { return };
        let theirs = BlockId(from.0.saturating_sub(1));
        self.catchup.claim(peer, theirs, chain.head.id);
        let limit = (max as usize).min(MAX_FETCH_BLOCKS);
        let mut blocks: Vec<CertifiedBytes> = Vec::new();
        let mut bytes = 0;
        let mut id = BlockId(from.0.max(1));
        while blocks.len() < limit && id <= self.durable {
            match (journal.block(id), journal.certificate(id)) {
                (Ok(Some(block)), Ok(Some(certificate))) => {
                    bytes += block.len() + certificate.len();
                    if !blocks.is_empty() && bytes > FETCH_BYTES {
                        break;
                    }
                    blocks.push((block, certificate));
                }
                (Err(error), _) | (_, Err(error)) => {
                    let text = format!("block {id} cannot be served: {error}");
                    out.trace(Trace::said("CUP-4", text));
                    break;
                }
                _ => break,
            }
            id = id.next();
        }
        if !blocks.is_empty() {
            let packet = wire::encode_blocks(&self.group(), &blocks);
            self.send(Address::Peer(peer.clone()), packet, out);
        }
        // More is to come, or nothing at all: the peer learns either way.
        if blocks.is_empty() || id <= chain.head.id {
            self.send_head(peer, out);
        }
    }
}

/// CUP-5.
fn conflict(pending: &Pending, certificate: &Certificate, out: &mut Out) -> String {
    let why = format!(
        "block {} is certified as {} but decided here as {}",
        pending.id(),
        certificate.hash,
        pending.hash
    );
    tracing::error!(
        "{why}: more than a third of the producers are traitors, or this node is broken"
    );
    accuse_signers(certificate, &why, out);
    why
}

fn accuse_signers(certificate: &Certificate, why: &str, out: &mut Out) {
    let signers: Vec<NodeIndex> = certificate.signatures.iter().map(|(index, _)| *index).collect();
    for signer in signers {
        out.accuse(Evidence::new(signer, Fault::BadBlock, why));
    }
}
