use quorate_crypto::bls::BlsGeneration;

use super::*;
use crate::test_support::{World, check_codec, member};

#[test]
fn documents_make_the_genesis_view() {
    let world = World::new();
    let documents = &world.documents;
    let view = documents.verify::<BlsGeneration>(&documents.genesis);
    assert_eq!(view.as_ref(), Ok(&world.views[0]));
    check_codec(documents);
    check_codec(&world.descriptor());
    check_codec(&documents.genesis);
}

#[test]
fn documents_of_somebody_else_are_refused() {
    let world = World::new();
    let good = &world.documents;
    let refused = |documents: &GenesisDocuments| {
        documents.verify::<BlsGeneration>(&good.genesis).unwrap_err()
    };
    let mut other = good.clone();
    other.genesis = GenesisBlock::build(&world.owner, world.group, 1);
    assert_eq!(refused(&other), DocumentsError::Other);
    let mut joiner = good.clone();
    joiner.announce = announce::build_owner(&member(5), world.group, "age1");
    assert_eq!(refused(&joiner), DocumentsError::NotOwner);
    let mut user = good.clone();
    let announcement = announce::Announcement {
        action: ActionType::Add,
        kind: AnnounceType::AsUser,
        encrypt_pubkey: String::new(),
        memo: String::new(),
    };
    user.announce = announce::build(&world.owner, world.group, &announcement);
    assert_eq!(refused(&user), DocumentsError::NotOwner);
    let mut forged = good.clone();
    forged.announce.signature[0] ^= 1;
    assert_eq!(refused(&forged), DocumentsError::Announce(AnnounceError::Signature));
    let mut proof = good.clone();
    proof.bundle.responsed_producers.clear();
    assert!(matches!(refused(&proof), DocumentsError::Chain(_)));
}

#[test]
fn a_genesis_block_survives_the_api_form() {
    let genesis = World::new().documents.genesis;
    let shown = genesis.to_proto();
    assert_eq!(GenesisBlock::from_proto(&shown).as_ref(), Ok(&genesis));
    assert_eq!(shown.block_hash, genesis.hash().0);
    let error = |change: fn(&mut crate::proto::ProtoBlock)| {
        let mut block = shown.clone();
        change(&mut block);
        GenesisBlock::from_proto(&block).unwrap_err()
    };
    use crate::genesis::GenesisError;
    assert_eq!(error(|b| b.time_stamp += 1), GenesisError::Hash);
    assert_eq!(error(|b| b.producer_sign[64] ^= 1), GenesisError::Signature);
    assert_eq!(error(|b| b.producer_sign[0] ^= 1), GenesisError::Signature);
    assert_eq!(error(|b| b.producer_sign.clear()), GenesisError::Field("ProducerSign"));
    assert!(matches!(error(|b| b.epoch = 1), GenesisError::Field(_)));
    assert!(matches!(error(|b| b.group_id.make_ascii_uppercase()), GenesisError::Field(_)));
}

#[test]
fn encryptions_have_names_and_numbers() {
    for encryption in [Encryption::Public, Encryption::Private] {
        assert_eq!(Encryption::from_name(encryption.name()), Some(encryption));
        assert_eq!(Encryption::from_number(encryption.number()), Some(encryption));
    }
    assert_eq!(Encryption::from_name("PUBLIC"), None);
}
