//! A small group with a committee, for the tests of the checkers.

use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_crypto::member::MemberKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewKey;
use quorate_ledger::announce;
use quorate_ledger::block::{Block, BlockHeader, trx_tree};
use quorate_ledger::certificate::{BlockVote, Certificate};
use quorate_ledger::change;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GenesisDocuments, GroupDescriptor};
use quorate_ledger::ids::{BlockId, Epoch, GroupId, TrxId, ViewNumber};
use quorate_ledger::proto::{KeyMaterial, Trx, TrxType};
use quorate_ledger::state::WriteSet;
use quorate_ledger::trx;
use quorate_ledger::view::{Producer, Protocol, View};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use uuid::Builder;

const NOW: i64 = 1_700_000_000_000_000_000;
/// Producers of the group.
const PRODUCERS: u64 = 4;

/// A group whose view 0 has four producers, and a head.
pub(super) struct TestGroup {
    owner: MemberKey,
    cipher: SymmetricKey,
    genesis: GenesisBlock,
    committee: Vec<(MemberKey, ViewKey)>,
    view: View,
    head: (BlockId, Digest),
    rng: ChaCha20Rng,
}

fn member(seed: u64) -> MemberKey {
    MemberKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

impl TestGroup {
    pub(super) fn new() -> Self {
        let (owner, group) = (member(0), GroupId::from_random([0xcd; 16]));
        let genesis = GenesisBlock::build(&owner, group, NOW);
        let committee: Vec<_> =
            (0..PRODUCERS).map(|i| (member(i), ViewKey::from_seed(&[i as u8; 32]))).collect();
        let producers = committee
            .iter()
            .map(|(member, key)| Producer { member: member.public(), view_key: key.public() });
        let view = View {
            group,
            number: ViewNumber(0),
            protocol: Protocol::Poa,
            producers: producers.collect(),
            key_material: Vec::new(),
            interval_ms: 500,
            start_epoch: Epoch(0),
            parent: (BlockId(0), genesis.hash()),
            req_id: String::new(),
            nonce: 0,
            proof_trx_id: String::new(),
        };
        let head = view.parent;
        let (cipher, rng) = (SymmetricKey([9; 32]), ChaCha20Rng::seed_from_u64(1));
        Self { owner, cipher, genesis, committee, view, head, rng }
    }

    /// A member, the owner being number 0.
    pub(super) fn member(&self, number: u64) -> MemberKey {
        member(number)
    }

    pub(super) fn cipher(&self) -> SymmetricKey {
        self.cipher.clone()
    }

    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn descriptor(&self) -> GroupDescriptor {
        GroupDescriptor {
            id: self.view.group,
            name: "checked".to_owned(),
            owner: self.owner.public(),
            consensus: Protocol::Poa,
            encryption: Encryption::Public,
            cipher_key: self.cipher(),
            app_key: "check".to_owned(),
            genesis: self.genesis.clone(),
        }
    }

    pub(super) fn documents(&self) -> GenesisDocuments {
        let id = |byte| Builder::from_random_bytes([byte; 16]).into_uuid();
        let request = change::genesis_request(&self.owner, self.view.group, id(1));
        let material = KeyMaterial { view_key: vec![1; 32], dealer_log: Vec::new() };
        let bundle = change::genesis_bundle(&self.owner, &request, id(2), material);
        let announce = announce::build_owner(&self.owner, self.view.group, "age1owner");
        GenesisDocuments { genesis: self.genesis.clone(), announce, bundle }
    }

    pub(super) fn trx(&mut self, kind: TrxType, sender: &MemberKey, payload: &[u8]) -> Trx {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let id = TrxId(Builder::from_random_bytes(bytes).into_uuid());
        let data = trx::encrypt_payload(&self.cipher, &mut self.rng, payload);
        trx::build(sender, self.view.group, kind, data, id, NOW, NOW + trx::EXPIRY_NS)
    }

    /// The next block, of posts.
    pub(super) fn block(&mut self, posts: &[(&MemberKey, &[u8])]) -> Block {
        let posts = posts.iter().map(|(sender, text)| self.trx(TrxType::Post, sender, text));
        let trxs = posts.collect();
        self.next(trxs)
    }

    /// The next block, of one trx of any kind.
    pub(super) fn block_of(&mut self, kind: TrxType, sender: &MemberKey, payload: &[u8]) -> Block {
        let trxs = vec![self.trx(kind, sender, payload)];
        self.next(trxs)
    }

    /// The next block, of these trxs.
    pub(super) fn next(&mut self, trxs: Vec<Trx>) -> Block {
        let header = BlockHeader {
            group: self.view.group,
            id: self.head.0.next(),
            epoch: Epoch(self.head.0.0),
            view: self.view.number,
            previous: self.head.1,
            trx_root: trx_tree(&trxs).root(),
            trx_count: u32::try_from(trxs.len()).expect("a test has few trxs"),
            write_set: WriteSet::new().digest(),
            last_checkpoint: BlockId(0),
            last_view_change: BlockId(0),
            timestamp: NOW,
        };
        self.head = (header.id, header.hash());
        Block { header, trxs }
    }

    /// The certificate of a block by the whole committee.
    pub(super) fn certificate(&self, block: &Block) -> Certificate {
        let votes: Vec<BlockVote> = (self.committee.iter().zip(0..))
            .map(|((member, key), i)| BlockVote::sign(&block.header, NodeIndex(i), key, member))
            .collect();
        Certificate::assemble(&votes, self.committee.len()).expect("all have voted")
    }
}
