use super::*;
use crate::codec::VERSION;
use crate::proto::TrxType;
use crate::test_support::{World, check_codec, member, mutations};

fn sample() -> (World, Block, Certificate) {
    let mut world = World::new();
    let trxs = (0..3_u8).map(|i| world.trx(&member(3), TrxType::Post, &[i])).collect();
    let (block, certificate) = world.block(trxs);
    (world, block, certificate)
}

#[test]
fn blocks_and_headers_have_one_encoding() {
    let (_, block, _) = sample();
    check_codec(&block.header);
    check_codec(&block);
    let mut other = block.clone();
    other.trxs.pop();
    assert!(!other.body_fits());
    assert_eq!(Block::from_bytes(&other.to_bytes()), Err(CodecError::Invalid("block body")));
    other = block.clone();
    other.trxs.swap(0, 1);
    assert_eq!(Block::from_bytes(&other.to_bytes()), Err(CodecError::Invalid("block body")));
    assert!(block.body_fits());
    assert_eq!(Block::peek(&other.to_bytes()).as_ref(), Ok(&other.header), "whatever follows it");
    assert_eq!(Block::peek(&block.to_bytes()[..20]), Err(CodecError::Truncated));
    assert_eq!(Block::peek(&[VERSION + 1]), Err(CodecError::Version(VERSION + 1)));
}

#[test]
fn the_hash_covers_every_byte_of_the_header() {
    let (_, block, _) = sample();
    for changed in mutations(&block.header.to_bytes()) {
        if let Ok(header) = BlockHeader::from_bytes(&changed) {
            assert_ne!(header.hash(), block.hash());
        }
    }
}

#[test]
fn a_block_over_the_content_limit_is_refused() {
    let mut world = World::new();
    let big = vec![0; 250 * 1024];
    let trxs: Vec<_> = (0..4).map(|_| world.trx(&member(3), TrxType::Post, &big)).collect();
    let fits = world.block(trxs[..3].to_vec()).0;
    assert_eq!(Block::from_bytes(&fits.to_bytes()).as_ref(), Ok(&fits));
    let over = world.block(trxs).0;
    let error = Block::from_bytes(&over.to_bytes()).unwrap_err();
    assert!(matches!(error, CodecError::TooLong { .. }), "{error}");
}

#[test]
fn the_api_form_names_a_signer_of_the_certificate() {
    let (world, block, certificate) = sample();
    let shown = block.to_proto(&certificate, world.view());
    assert_eq!(shown.block_hash, block.hash().0);
    assert_eq!(shown.prev_hash, world.documents.genesis.hash().0);
    assert_eq!(shown.producer_pubkey, world.owner.public().to_string());
    assert!(world.owner.public().verify(&block.hash(), &shown.producer_sign));
    assert_eq!((shown.block_id, shown.trxs.len()), (1, 3));
}

#[test]
fn third_parties_can_recompute_the_hash_from_json() {
    let (_, block, certificate) = sample();
    let info = BlockInfo::new(&block.header, &certificate);
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["hash"], block.hash().to_string());
    assert_eq!(json["header"]["timestamp"], block.header.timestamp.to_string());
    let read: BlockInfo = serde_json::from_value(json).unwrap();
    assert_eq!(read.header.hash(), read.hash);
    assert_eq!(read, info);
}
