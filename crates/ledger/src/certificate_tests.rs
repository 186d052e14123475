use super::*;
use crate::block::BlockHeader;
use crate::proto::TrxType;
use crate::test_support::{World, check_codec, member};

/// A view of `n` producers, a block header of it, and all its votes.
fn sample(n: u64) -> (World, BlockHeader, Vec<BlockVote>) {
    let mut world = World::new();
    let members: Vec<_> = (20..20 + n).map(member).collect();
    world.change(&members);
    let post = world.trx(&member(3), TrxType::Post, b"{}");
    let header = world.block(vec![post]).0.header;
    let votes = world.votes(&header);
    (world, header, votes)
}

#[test]
fn quorums_are_two_thirds_of_the_faulty_and_one() {
    let quorums: Vec<_> = (1..=10).map(certificate_quorum).collect();
    assert_eq!(quorums, [1, 1, 1, 3, 3, 3, 5, 5, 5, 7]);
}

#[test]
fn a_quorum_of_votes_certifies() {
    let (world, header, votes) = sample(4);
    assert!(votes.iter().all(|vote| vote.verify(world.view())));
    check_codec(&votes[2]);
    assert_eq!(Certificate::assemble(&votes[..2], 4), None);
    assert_eq!(Certificate::assemble([], 4), None);
    let twice = [&votes[0], &votes[1], &votes[1]];
    assert_eq!(Certificate::assemble(twice, 4), None);
    let certificate = Certificate::assemble(votes[1..].iter().rev(), 4).unwrap();
    let signers: Vec<_> = certificate.signatures.iter().map(|(index, _)| index.0).collect();
    assert_eq!(signers, [1, 2, 3]);
    assert_eq!(certificate.producer_sign, votes[1].member_sign);
    assert_eq!(certificate.certifies(&header, world.view()), Ok(()));
    check_codec(&certificate);
    let json = serde_json::to_string(&certificate).unwrap();
    assert_eq!(serde_json::from_str::<Certificate>(&json).unwrap(), certificate);
}

#[test]
fn votes_for_another_block_do_not_count() {
    let (_, header, mut votes) = sample(4);
    votes[3].hash = Digest([0; 32]);
    let others = [&votes[0], &votes[1], &votes[3]];
    assert_eq!(Certificate::assemble(others, 4), None);
    let certificate = Certificate::assemble(&votes, 4).unwrap();
    assert_eq!(certificate.hash, header.hash());
    votes[1].voter = NodeIndex(9);
    assert_eq!(Certificate::assemble(&votes, 4), None, "a stranger's index does not count");
}

#[test]
fn every_defect_of_a_certificate_is_found() {
    let (world, header, votes) = sample(4);
    let view = world.view();
    let good = Certificate::assemble(&votes, 4).unwrap();
    let error = |change: &dyn Fn(&mut Certificate)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.certifies(&header, view).unwrap_err()
    };
    assert_eq!(error(&|c| c.hash = Digest([1; 32])), CertificateError::Block);
    assert_eq!(error(&|c| c.id = BlockId(7)), CertificateError::Block);
    assert_eq!(error(&|c| c.view = ViewNumber(0)), CertificateError::Block);
    let too_few = CertificateError::TooFew { have: 2, need: 3 };
    assert_eq!(error(&|c| c.signatures.truncate(2)), too_few);
    assert_eq!(error(&|c| c.signatures.swap(0, 1)), CertificateError::Signers);
    assert_eq!(error(&|c| c.signatures[1] = c.signatures[0]), CertificateError::Signers);
    assert_eq!(error(&|c| c.signatures[2].0 = NodeIndex(4)), CertificateError::Signers);
    assert_eq!(error(&|c| c.signatures[2].0 = NodeIndex(3)), CertificateError::Signature);
    assert_eq!(error(&|c| c.signatures[0].1.0[3] ^= 1), CertificateError::Signature);
    assert_eq!(error(&|c| c.producer_sign.0[3] ^= 1), CertificateError::Signature);
    assert_eq!(error(&|c| c.producer_sign = votes[1].member_sign), CertificateError::Signature);
    let old = good.verify(&world.views[0]).unwrap_err();
    let (found, expected) = (ViewNumber(1), ViewNumber(0));
    assert_eq!(old, CertificateError::View { found, expected });
}

#[test]
fn every_defect_of_a_vote_is_found() {
    let (world, _, votes) = sample(4);
    let wrong = |change: fn(&mut BlockVote)| {
        let mut bad = votes[1].clone();
        change(&mut bad);
        !bad.verify(world.view())
    };
    assert!(wrong(|vote| vote.voter = NodeIndex(2)));
    assert!(wrong(|vote| vote.voter = NodeIndex(4)));
    assert!(wrong(|vote| vote.view = ViewNumber(0)));
    assert!(wrong(|vote| vote.hash.0[0] ^= 1));
    assert!(wrong(|vote| vote.view_sign.0[0] ^= 1));
    assert!(wrong(|vote| vote.member_sign.0[0] ^= 1));
}

#[test]
fn json_certificates_are_checked_in_form() {
    let (_, _, votes) = sample(4);
    let good = serde_json::to_value(Certificate::assemble(&votes, 4).unwrap()).unwrap();
    let mut twice = good.clone();
    twice["signatures"][1] = twice["signatures"][0].clone();
    let mut short = good.clone();
    short["producer_sign"] = "00".into();
    for bad in [twice, short] {
        assert!(serde_json::from_value::<Certificate>(bad).is_err());
    }
}
