use quorate_crypto::bls::BlsGeneration;

use super::*;
use crate::ids::BlockId;
use crate::proto::TrxType;
use crate::test_support::{World, check_codec, member};

/// Three posts in view 0, a change, three posts in view 1: a world and four receipts, the third
/// that of the handover block.
fn sample() -> (World, Vec<Receipt>) {
    let mut world = World::new();
    let mut receipts = Vec::new();
    let post = |world: &mut World, place: usize| {
        let trxs: Vec<_> = (0..3).map(|i| world.trx(&member(3), TrxType::Post, &[i])).collect();
        let id = trxs[place].id().unwrap();
        let (block, certificate) = world.block(trxs);
        Receipt::new(&block, &certificate, id).unwrap()
    };
    receipts.push(post(&mut world, 0));
    receipts.push(post(&mut world, 2));
    receipts.push(world.change(&(20..24).map(member).collect::<Vec<_>>()));
    receipts.push(post(&mut world, 1));
    (world, receipts)
}

#[test]
fn receipts_hold_back_to_the_genesis_block() {
    let (world, receipts) = sample();
    for receipt in &receipts {
        assert_eq!(receipt.verify_in_chain::<BlsGeneration>(&world.chain), Ok(()));
        assert_eq!(receipt.verify_among(&world.views), Ok(()));
    }
    assert_eq!(receipts[0].view_number(), ViewNumber(0));
    assert_eq!(receipts[3].view_number(), ViewNumber(1));
    assert!(receipts[3].verify(&world.views[0]).is_err());
    let unknown = receipts[3].verify_among(&world.views[..1]);
    assert_eq!(unknown, Err(ReceiptError::UnknownView(ViewNumber(1))));
}

#[test]
fn receipts_have_one_encoding_and_a_json_form() {
    let (_, receipts) = sample();
    check_codec(&receipts[1]);
    let json = serde_json::to_string(&receipts[1]).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipts[1]);
}

#[test]
fn every_defect_is_found() {
    let (world, receipts) = sample();
    let good = &receipts[3];
    let error = |change: fn(&mut Receipt)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.verify(world.view()).unwrap_err()
    };
    assert_eq!(error(|r| r.trx.data[0] ^= 1), ReceiptError::Trx(TrxError::Signature));
    assert_eq!(error(|r| r.index = 0), ReceiptError::Path);
    assert_eq!(error(|r| r.path[0].0[0] ^= 1), ReceiptError::Path);
    assert_eq!(error(|r| r.header.trx_root.0[0] ^= 1), ReceiptError::Path);
    let block = ReceiptError::Certificate(CertificateError::Block);
    assert_eq!(error(|r| r.header.write_set.0[0] ^= 1), block);
    // A path does not say how many leaves there are, the certified header does.
    assert_eq!(error(|r| r.header.trx_count = 4), block);
    assert_eq!(error(|r| r.header.trx_count = 1), ReceiptError::Path);
    assert_eq!(
        error(|r| r.certificate.signatures[0].1.0[0] ^= 1),
        ReceiptError::Certificate(CertificateError::Signature)
    );
    // V is no part of the sender's signature, but the leaf is the whole trx.
    assert_eq!(error(|r| r.trx.sender_sign[64] ^= 1), ReceiptError::Path);
}

#[test]
fn a_block_outside_its_view_is_refused() {
    let (mut world, _) = sample();
    // The old committee goes on after the handover block.
    let mut old = World::new();
    old.head = (BlockId(40), world.head.1);
    let trx = old.trx(&member(3), TrxType::Post, b"late");
    let id = trx.id().unwrap();
    let (block, certificate) = old.block(vec![trx]);
    let late = Receipt::new(&block, &certificate, id).unwrap();
    assert_eq!(late.verify(&world.views[0]), Ok(()), "the view alone cannot tell");
    let outside = Err(ReceiptError::OutsideView(ViewNumber(0)));
    assert_eq!(late.verify_among(&world.views), outside);
    // The new committee certifies a block before its view.
    world.head = (BlockId(0), world.head.1);
    let trx = world.trx(&member(3), TrxType::Post, b"early");
    let id = trx.id().unwrap();
    let (block, certificate) = world.block(vec![trx]);
    let early = Receipt::new(&block, &certificate, id).unwrap();
    let outside = Err(ReceiptError::OutsideView(ViewNumber(1)));
    assert_eq!(early.verify(world.view()), outside);
}
