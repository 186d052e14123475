use quorate_crypto::bls::BlsGeneration;

use super::*;
use crate::proto::TrxType;
use crate::test_support::{World, check_codec, member};

fn members(range: std::ops::Range<u64>) -> Vec<quorate_crypto::member::MemberKey> {
    range.map(member).collect()
}

/// Owner alone, four producers without the owner, one of them and the owner.
fn sample() -> World {
    let mut world = World::new();
    world.change(&members(20..24));
    let owner = world.owner.clone();
    world.change(&[member(22), owner]);
    world
}

#[test]
fn a_chain_is_verified_from_the_genesis_block() {
    let world = sample();
    assert_eq!(world.chain.verify::<BlsGeneration>().as_ref(), Ok(&world.views));
    let numbers: Vec<_> = world.views.iter().map(|view| view.number.0).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(world.views[0].parent, (BlockId(0), world.documents.genesis.hash()));
    assert_eq!(world.views[0].start_epoch, Epoch(0));
    assert_eq!(world.views[0].proof_trx_id, "");
    assert_eq!(world.views[1].parent.0, BlockId(1));
    assert_eq!(world.views[2].nonce, 2);
    assert_eq!(world.views[2].proof_trx_id, world.chain.links[1].receipt.trx.trx_id);
    assert_eq!(world.views[1].index_of(&member(22).public()), Some(NodeIndex(2)));
    assert_eq!(world.views[1].index_of(&world.owner.public()), None);
    assert_eq!(world.views[1].producer(NodeIndex(4)), None);
}

#[test]
fn views_links_and_chains_have_one_encoding() {
    let world = sample();
    check_codec(&world.views[1]);
    check_codec(&world.chain.genesis);
    check_codec(&world.chain);
    assert_ne!(world.views[1].digest(), world.views[2].digest());
    let file = world.chain.to_bytes();
    let read = ViewChain::from_bytes(&file).unwrap();
    assert_eq!(read.verify::<BlsGeneration>().as_ref(), Ok(&world.views));
}

#[test]
fn a_changed_chain_is_refused() {
    let world = sample();
    let error = |change: &dyn Fn(&mut ViewChain)| {
        let mut chain = world.chain.clone();
        change(&mut chain);
        chain.verify::<BlsGeneration>().unwrap_err()
    };
    let genesis = ChainError::Genesis(GenesisError::Signature);
    assert_eq!(error(&|c| c.genesis.genesis.timestamp += 1), genesis);
    let change = error(&|c| c.genesis.bundle.resps.clear());
    assert!(matches!(change, ChainError::Change { view: ViewNumber(0), .. }));
    let dropped = error(&|c| drop(c.links.remove(0)));
    assert!(matches!(dropped, ChainError::Receipt { view: ViewNumber(1), .. }));
    let swapped = error(&|c| c.links[1].bundle = c.links[0].bundle.clone());
    let why = "the trx carries another proof";
    assert_eq!(swapped, ChainError::Trx { view: ViewNumber(2), why });
    let locked = error(&|c| c.cipher_key = SymmetricKey([1; 32]));
    assert!(matches!(locked, ChainError::Trx { view: ViewNumber(1), .. }));
    let forged = error(&|c| c.links[1].receipt.certificate.signatures[0].1.0[0] ^= 1);
    assert!(matches!(forged, ChainError::Receipt { view: ViewNumber(2), .. }));
}

/// The error of a link whose handover block holds this trx.
fn link_error(
    world: &mut World,
    signer: &quorate_crypto::member::MemberKey,
    kind: TrxType,
    bundle: ChangeConsensusResultBundle,
) -> ChainError {
    let payload = prost::Message::encode_to_vec(&bundle);
    let trx = world.trx(signer, kind, &payload);
    let id = trx.id().unwrap();
    let (block, certificate) = world.block(vec![trx]);
    let receipt = Receipt::new(&block, &certificate, id).unwrap();
    let (owner, cipher) = (world.owner.public(), world.cipher.clone());
    ViewLink { bundle, receipt }.verify::<BlsGeneration>(world.view(), &owner, &cipher).unwrap_err()
}

#[test]
fn a_link_needs_the_owners_trx_with_a_newer_success() {
    let mut world = sample();
    let owner = world.owner.clone();
    let wrong = |why| ChainError::Trx { view: ViewNumber(3), why };
    let next = [member(30)];
    let req = world.request(&next, 3);
    let (bundle, _) = world.answers(&req, &next);
    let other_type = link_error(&mut world, &owner, TrxType::Post, bundle.clone());
    assert_eq!(other_type, wrong("the trx is not of type CONSENSUS"));
    let other_sender = link_error(&mut world, &member(22), TrxType::Consensus, bundle.clone());
    assert_eq!(other_sender, wrong("the trx is not the owner's"));
    let mut timeout = bundle;
    timeout.result = crate::proto::ChangeConsensusResult::Timeout as i32;
    let no_success = link_error(&mut world, &owner, TrxType::Consensus, timeout);
    assert_eq!(no_success, wrong("the change did not succeed"));
    let req = world.request(&next, 2);
    let (old, _) = world.answers(&req, &next);
    let replayed = link_error(&mut world, &owner, TrxType::Consensus, old);
    assert_eq!(replayed, wrong("the change is older than the view"));
}

#[test]
fn protocols_have_names_and_numbers() {
    for protocol in [Protocol::Poa, Protocol::Bft, Protocol::Cft, Protocol::Para] {
        assert_eq!(Protocol::from_name(protocol.name()), Some(protocol));
        assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
    }
    assert_eq!(Protocol::from_name("pos"), None);
    assert_eq!(Protocol::from_number(1), None);
}
