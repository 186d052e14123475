//! Answers for the API, from certified state and blocks.

use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::core::{Core, Journal};
use quorate_crypto::recipient;
use quorate_crypto::view::ViewPublicKey;
use quorate_ledger::announce::OWNER_PRODUCER_MEMO;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::change::GENESIS_TICK_MS;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::group::Encryption;
use quorate_ledger::ids::{BlockId, Epoch, TrxId, ViewNumber};
use quorate_ledger::proto::{ProducerItem, Trx, TrxType};
use quorate_ledger::receipt::Receipt;
use quorate_ledger::trx;
use quorate_ledger::view::{Producer, View, ViewChain, ViewLink};

use crate::api::{Answer, ConsensusInfo, Query, QueryError};
use crate::executor;
use crate::limits::{MAX_CONTENT, MAX_CONTENT_BLOCKS};
use crate::replica::{Chain, Replica};

fn storage(error: impl Display) -> QueryError {
    QueryError::Storage(error.to_string())
}

/// What a content query asks for.
struct Content<'a> {
    num: usize,
    start: Option<TrxId>,
    reverse: bool,
    include_start: bool,
    senders: &'a [String],
}

impl<C: Core> Replica<C> {
    /// Answers from certified state and blocks.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn query<J: Journal<Error: Display>>(
        &self,
        journal: &J,
        query: Query,
    ) -> Result<Answer, QueryError> {
        match query {
            Query::Status => return Ok(Answer::Status(self.status())),
            Query::Consensus => return Ok(Answer::Consensus(Box::new(self.consensus()))),
            Query::Block(BlockId(0)) => {
                let genesis = &self.config.descriptor.genesis;
                return Ok(Answer::GenesisBlock(Box::new(genesis.to_proto())));
            }
            _ => {}
        }
        let chain = self.chain.as_ref().ok_or(QueryError::NotReady)?;
        Ok(match query {
            Query::Status | Query::Consensus => unreachable!("answered above"),
            Query::Proofs => {
                let proofs = executor::proofs(&chain.state);
                Answer::Proofs(proofs.map(|(_, proof)| proof.bundle).collect())
            }
            Query::Trx(id) => {
                let (block, place) = Self::find(journal, chain, id)?;
                let found = block.header.id;
                let trx = block.trxs.into_iter().nth(place);
                Answer::Trx(Box::new(trx.ok_or(QueryError::NotFound("trx"))?), found)
            }
            Query::Block(id) => {
                let (block, certificate) = Self::read(journal, chain, id)?;
                let view = Arc::clone(chain.view_of(id));
                Answer::Block(Arc::new(block), Arc::new(certificate), view)
            }
            Query::Content { num, start, reverse, include_start, senders } => {
                let wanted = Content { num, start, reverse, include_start, senders: &senders };
                Answer::Content(self.content(journal, chain, &wanted)?)
            }
            Query::Announced(kind) => {
                Answer::Announced(executor::announced(&chain.state, kind).collect())
            }
            Query::Users => Answer::Users(executor::users(&chain.state).collect()),
            Query::ChainConfig => {
                Answer::ChainConfig(Box::new(executor::chain_config(&chain.state)))
            }
            Query::AppConfig => Answer::AppConfig(executor::app_config(&chain.state).collect()),
            Query::Receipt(id) => {
                let (block, _) = Self::find(journal, chain, id)?;
                let (block, certificate) = Self::read(journal, chain, block.header.id)?;
                let receipt = Receipt::new(&block, &certificate, id);
                Answer::Receipt(Box::new(receipt.ok_or(QueryError::NotFound("trx"))?))
            }
            Query::ViewChain => Answer::ViewChain(Box::new(self.view_chain(journal, chain)?)),
            Query::Genesis => Answer::Genesis(Box::new((*chain.documents).clone())),
            Query::Get { map, key } => Answer::Value(chain.state.get(&map, &key).cloned()),
        })
    }

    fn certified_block<J: Journal<Error: Display>>(
        journal: &J,
        chain: &Chain,
        id: BlockId,
    ) -> Result<Block, QueryError> {
        if id > chain.head.id {
            return Err(QueryError::NotFound("block"));
        }
        let bytes = journal.block(id).map_err(storage)?.ok_or(QueryError::NotFound("block"))?;
        Block::from_bytes(&bytes).map_err(storage)
    }

    fn read<J: Journal<Error: Display>>(
        journal: &J,
        chain: &Chain,
        id: BlockId,
    ) -> Result<(Block, Certificate), QueryError> {
        let block = Self::certified_block(journal, chain, id)?;
        let bytes = journal.certificate(id).map_err(storage)?;
        let bytes = bytes.ok_or(QueryError::NotFound("certificate"))?;
        Ok((block, Certificate::from_bytes(&bytes).map_err(storage)?))
    }

    /// The certified block a trx is in, and its place there.
    fn find<J: Journal<Error: Display>>(
        journal: &J,
        chain: &Chain,
        id: TrxId,
    ) -> Result<(Block, usize), QueryError> {
        let found = journal.find_trx(id.0.as_bytes()).map_err(storage)?;
        let found = found.filter(|(block, _)| *block <= chain.head.id);
        let (block, place) = found.ok_or(QueryError::NotFound("trx"))?;
        Ok((Self::certified_block(journal, chain, block)?, place as usize))
    }

    fn consensus(&self) -> ConsensusInfo {
        let descriptor = &self.config.descriptor;
        let view = match &self.chain {
            Some(chain) => Arc::clone(chain.view()),
            // Until the documents are here: what every group begins with.
            None => Arc::new(View {
                group: descriptor.id,
                number: ViewNumber(0),
                protocol: descriptor.consensus,
                producers: vec![Producer {
                    member: descriptor.owner,
                    view_key: ViewPublicKey([0; 32]),
                }],
                key_material: Vec::new(),
                interval_ms: GENESIS_TICK_MS,
                start_epoch: Epoch(0),
                parent: (BlockId(0), descriptor.genesis.hash()),
                req_id: String::new(),
                nonce: 0,
                proof_trx_id: String::new(),
            }),
        };
        let memo = if view.number == ViewNumber(0) { OWNER_PRODUCER_MEMO } else { "" };
        let items = view.producers.iter().map(|producer| ProducerItem {
            group_id: descriptor.id.to_string(),
            producer_pubkey: producer.member.to_string(),
            proof_trx_id: view.proof_trx_id.clone(),
            blk_cnt: 0,
            memo: memo.to_owned(),
        });
        ConsensusInfo { producers: items.collect(), view: Arc::clone(&view), status: self.status() }
    }

    fn view_chain<J: Journal<Error: Display>>(
        &self,
        journal: &J,
        chain: &Chain,
    ) -> Result<ViewChain, QueryError> {
        let mut links = Vec::with_capacity(chain.views.len() - 1);
        for entry in executor::views(&chain.state).skip(1) {
            let proof = executor::proof(&chain.state, entry.nonce);
            let bundle = proof.ok_or(QueryError::NotFound("proof"))?.bundle;
            let (block, certificate) = Self::read(journal, chain, entry.block)?;
            let id = TrxId::from_canonical(&entry.trx_id).ok_or(QueryError::NotFound("trx"))?;
            let receipt = Receipt::new(&block, &certificate, id);
            let receipt = receipt.ok_or(QueryError::NotFound("trx"))?;
            links.push(ViewLink { bundle, receipt });
        }
        let cipher_key = self.config.descriptor.cipher_key.clone();
        Ok(ViewChain { genesis: chain.documents.link(), cipher_key, links })
    }

    /// Posts with their plain content, walking the ledger from the start given.
    fn content<J: Journal<Error: Display>>(
        &self,
        journal: &J,
        chain: &Chain,
        wanted: &Content<'_>,
    ) -> Result<Vec<(Trx, Vec<u8>)>, QueryError> {
        let num = wanted.num.min(MAX_CONTENT);
        let head = chain.head.id;
        let mut found = Vec::new();
        let mut skip = None;
        let mut id = if wanted.reverse { head } else { BlockId(1) };
        if let Some(start) = wanted.start {
            let (block, place) = Self::find(journal, chain, start)?;
            id = block.header.id;
            let past = usize::from(!wanted.include_start);
            skip = Some(if wanted.reverse {
                block.trxs.len() - 1 - place + past
            } else {
                place + past
            });
        }
        for _ in 0..MAX_CONTENT_BLOCKS {
            if found.len() >= num || id < BlockId(1) || id > head {
                break;
            }
            let mut trxs = Self::certified_block(journal, chain, id)?.trxs;
            if wanted.reverse {
                trxs.reverse();
            }
            let of = |trx: &Trx| {
                wanted.senders.is_empty() || wanted.senders.contains(&trx.sender_pubkey)
            };
            let posts = trxs
                .into_iter()
                .skip(skip.take().unwrap_or_default())
                .filter(|trx| trx.trx_type() == Some(TrxType::Post) && of(trx))
                .filter_map(|trx| self.open_post(&trx).map(|content| (trx, content)));
            found.extend(posts.take(num - found.len()));
            id = if wanted.reverse { BlockId(id.0 - 1) } else { id.next() };
        }
        Ok(found)
    }

    /// The plain content of a post; `None` if it was not written for this member.
    fn open_post(&self, trx: &Trx) -> Option<Vec<u8>> {
        let descriptor = &self.config.descriptor;
        match descriptor.encryption {
            Encryption::Public => trx::decrypt_payload(&descriptor.cipher_key, &trx.data).ok(),
            Encryption::Private => recipient::decrypt_with(&self.config.encrypt, &trx.data).ok(),
        }
    }
}

#[cfg(test)]
mod tests;
