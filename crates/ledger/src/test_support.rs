//! Groups, committees and chains for the tests of this crate, with the real key generation.

use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration as _;
use quorate_crypto::member::MemberKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::{ViewKey, ViewPublicKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use uuid::Uuid;

use crate::announce;
use crate::block::{Block, BlockHeader, trx_tree};
use crate::certificate::{BlockVote, Certificate};
use crate::change::{self, ChangeParams, ChangeResult};
use crate::genesis::GenesisBlock;
use crate::group::{Encryption, GenesisDocuments, GroupDescriptor};
use crate::ids::{BlockId, Epoch, GroupId, TrxId};
use crate::proto::{ChangeConsensusReq, ChangeConsensusResultBundle, KeyMaterial, Trx, TrxType};
use crate::receipt::Receipt;
use crate::state::WriteSet;
use crate::trx;
use crate::view::{Protocol, View, ViewChain, ViewLink};

pub const NOW: i64 = 1_700_000_000_000_000_000;

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn member(seed: u64) -> MemberKey {
    MemberKey::generate(&mut rng(seed))
}

pub fn id(number: u8) -> Uuid {
    let mut bytes = [0xab; 16];
    bytes[15] = number;
    TrxId::from_random(bytes).0
}

/// A group, its owner and the secrets of its current committee.
pub struct World {
    pub group: GroupId,
    pub owner: MemberKey,
    pub cipher: SymmetricKey,
    pub documents: GenesisDocuments,
    pub views: Vec<View>,
    pub chain: ViewChain,
    /// Member and view key of the current committee, in order.
    pub committee: Vec<(MemberKey, ViewKey)>,
    pub head: (BlockId, Digest),
    next_id: u8,
}

/// View keys and key material of a committee for a request.
pub fn generate(
    req: &ChangeConsensusReq,
    owner: &MemberKey,
    seed: u8,
) -> Vec<(ViewKey, KeyMaterial)> {
    let group = req.group_id.parse().unwrap();
    let request = change::verify_request(req, &owner.public(), group).unwrap();
    let count = u8::try_from(request.producers.len()).unwrap();
    let keys: Vec<_> =
        (0..count).map(|i| ViewKey::from_seed(&[seed ^ i.rotate_left(3); 32])).collect();
    let publics: Vec<ViewPublicKey> = keys.iter().map(ViewKey::public).collect();
    let context = request.keygen_context();
    let mut players: Vec<_> = keys
        .iter()
        .zip(0..)
        .map(|(key, i)| BlsGeneration::open(&context, &publics, key, [i; 32]).unwrap())
        .collect();
    for dealer in 0..players.len() {
        for player in 0..players.len() {
            let (from, to) = (NodeIndex(dealer as u16), NodeIndex(player as u16));
            let dealing = players[dealer].dealing(to).unwrap();
            let ack = players[player].receive_dealing(from, &dealing).unwrap();
            players[dealer].receive_ack(to, &ack).unwrap();
        }
    }
    let material = players.iter().zip(&publics).map(|(player, public)| KeyMaterial {
        view_key: public.0.to_vec(),
        dealer_log: player.log(),
    });
    keys.into_iter().zip(material.collect::<Vec<_>>()).collect()
}

impl World {
    /// A group with its genesis view.
    pub fn new() -> Self {
        let owner = member(1);
        let group = GroupId::from_random([0xcd; 16]);
        let genesis = GenesisBlock::build(&owner, group, NOW);
        let req = change::genesis_request(&owner, group, id(1));
        let (view_key, material) = generate(&req, &owner, 1).remove(0);
        let bundle = change::genesis_bundle(&owner, &req, id(2), material);
        let announce = announce::build_owner(&owner, group, "age1owner");
        let documents = GenesisDocuments { genesis, announce, bundle };
        let view = documents.verify::<BlsGeneration>(&documents.genesis).unwrap();
        let cipher = SymmetricKey([9; 32]);
        let chain =
            ViewChain { genesis: documents.link(), cipher_key: cipher.clone(), links: Vec::new() };
        Self {
            group,
            committee: vec![(owner.clone(), view_key)],
            head: view.parent,
            owner,
            cipher,
            documents,
            views: vec![view],
            chain,
            next_id: 10,
        }
    }

    pub fn view(&self) -> &View {
        self.views.last().unwrap()
    }

    pub fn descriptor(&self) -> GroupDescriptor {
        GroupDescriptor {
            id: self.group,
            name: "my test group".to_owned(),
            owner: self.owner.public(),
            consensus: Protocol::Poa,
            encryption: Encryption::Public,
            cipher_key: self.cipher.clone(),
            app_key: "test_app".to_owned(),
            genesis: self.documents.genesis.clone(),
        }
    }

    pub fn fresh_id(&mut self) -> Uuid {
        self.next_id += 1;
        id(self.next_id)
    }

    pub fn trx(&mut self, key: &MemberKey, kind: TrxType, payload: &[u8]) -> Trx {
        let id = TrxId(self.fresh_id());
        let data = trx::encrypt_payload(&self.cipher, &mut rng(5), payload);
        trx::build(key, self.group, kind, data, id, NOW, NOW + trx::EXPIRY_NS)
    }

    /// The next block, certified by the current committee.
    pub fn block(&mut self, trxs: Vec<Trx>) -> (Block, Certificate) {
        let header = BlockHeader {
            group: self.group,
            id: self.head.0.next(),
            epoch: Epoch(self.head.0.0),
            view: self.view().number,
            previous: self.head.1,
            trx_root: trx_tree(&trxs).root(),
            trx_count: u32::try_from(trxs.len()).unwrap(),
            write_set: WriteSet::new().digest(),
            last_checkpoint: BlockId(0),
            last_view_change: self.view().parent.0,
            timestamp: NOW,
        };
        self.head = (header.id, header.hash());
        let votes = self.votes(&header);
        let certificate = Certificate::assemble(&votes, self.committee.len()).unwrap();
        (Block { header, trxs }, certificate)
    }

    pub fn votes(&self, header: &BlockHeader) -> Vec<BlockVote> {
        let committee = self.committee.iter().zip(0..);
        committee
            .map(|((member, view), i)| BlockVote::sign(header, NodeIndex(i), view, member))
            .collect()
    }

    /// A signed request for a committee of these members.
    pub fn request(&mut self, members: &[MemberKey], nonce: u64) -> ChangeConsensusReq {
        let params = ChangeParams {
            req_id: self.fresh_id(),
            group: self.group,
            nonce,
            producers: members.iter().map(MemberKey::public).collect(),
            agreement_tick_length_ms: 10_000,
            agreement_tick_count: 10,
            start_from_epoch: 100,
            epoch_tick_ms: 500,
        };
        change::build_request(&self.owner, &params)
    }

    /// The successful result of a request, and the new committee's view keys.
    pub fn answers(
        &mut self,
        req: &ChangeConsensusReq,
        members: &[MemberKey],
    ) -> (ChangeConsensusResultBundle, Vec<ViewKey>) {
        let (keys, material): (Vec<_>, Vec<_>) =
            generate(req, &self.owner, req.nonce as u8 + 1).into_iter().unzip();
        let mut resps = Vec::new();
        for (member, material) in members.iter().zip(material) {
            let resp_id = self.fresh_id();
            resps.push(change::build_response(member, resp_id, req, Some(material)));
        }
        if !members.iter().any(|member| member.public() == self.owner.public()) {
            let resp_id = self.fresh_id();
            resps.push(change::build_response(&self.owner, resp_id, req, None));
        }
        (change::build_bundle(ChangeResult::Success, req, resps), keys)
    }

    /// A whole successful change: trx in a handover block, link, next view.
    pub fn change(&mut self, members: &[MemberKey]) -> Receipt {
        let nonce = self.view().nonce + 1;
        let req = self.request(members, nonce);
        let (bundle, keys) = self.answers(&req, members);
        let owner = self.owner.clone();
        let payload = prost::Message::encode_to_vec(&bundle);
        let trx = self.trx(&owner, TrxType::Consensus, &payload);
        let post = self.trx(&member(77), TrxType::Post, b"{}");
        let id = trx.id().unwrap();
        let (block, certificate) = self.block(vec![post, trx]);
        let receipt = Receipt::new(&block, &certificate, id).unwrap();
        let link = ViewLink { bundle, receipt: receipt.clone() };
        let next =
            link.verify::<BlsGeneration>(self.view(), &owner.public(), &self.cipher).unwrap();
        self.chain.links.push(link);
        self.views.push(next);
        self.committee = members.iter().cloned().zip(keys).collect();
        receipt
    }
}

/// Every prefix and every single-byte change of `bytes`, at a step that bounds their number.
pub fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = bytes.len() / 300 + 1;
    let cuts = (0..bytes.len()).step_by(step).map(|end| bytes[..end].to_vec());
    let flips = (0..bytes.len()).step_by(step).flat_map(move |place| {
        [0x01, 0x80, 0xff].into_iter().map(move |bits| {
            let mut changed = bytes.to_vec();
            changed[place] ^= bits;
            changed
        })
    });
    cuts.chain(flips)
}

/// What every codec keeps: a value survives, and whatever is accepted is written again alike.
pub fn check_codec<T>(value: &T)
where
    T: crate::codec::Canonical + PartialEq + std::fmt::Debug,
{
    let bytes = value.to_bytes();
    assert!(bytes.len() <= T::MAX_BYTES, "{} bytes of {}", bytes.len(), T::MAX_BYTES);
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(T::from_bytes(&longer).is_err(), "trailing bytes are refused");
    let mut other_version = bytes.clone();
    other_version[0] = 2;
    assert_eq!(T::from_bytes(&other_version), Err(crate::codec::CodecError::Version(2)));
    for changed in mutations(&bytes) {
        if let Ok(read) = T::from_bytes(&changed) {
            assert_eq!(read.to_bytes(), changed, "accepted bytes are the canonical ones");
        }
    }
}
