use super::*;
use crate::properties::testing::TestGroup;

/// A ledger that knows the group's view, and a first good block.
fn begin() -> (TestGroup, Ledger, Block) {
    let mut group = TestGroup::new();
    let mut ledger = Ledger::new(group.view().group, group.view().parent.1);
    assert_eq!(ledger.view(&Arc::new(group.view().clone())), Ok(()));
    let member = group.member(1);
    let block = group.block(&[(&member, b"one")]);
    (group, ledger, block)
}

fn say(group: &TestGroup, ledger: &mut Ledger, block: &Block) -> Result<(), &'static str> {
    let certificate = group.certificate(block);
    ledger.committed(block, &certificate).map_err(|violation| violation.property)
}

#[test]
fn good_blocks_are_counted_once() {
    let (mut group, mut ledger, block) = begin();
    assert!(!ledger.knows(BlockId(1)));
    for _ in 0..2 {
        assert_eq!(say(&group, &mut ledger, &block), Ok(()), "several nodes may say it");
    }
    assert!(ledger.knows(BlockId(1)));
    let member = group.member(2);
    let next = group.block(&[(&member, b"two")]);
    assert_eq!(say(&group, &mut ledger, &next), Ok(()));
    assert_eq!(ledger.head(), (BlockId(2), next.hash()));
}

#[test]
fn two_blocks_of_one_id_are_seen() {
    let (group, mut ledger, block) = begin();
    assert_eq!(say(&group, &mut ledger, &block), Ok(()));
    let mut other = block;
    other.header.timestamp += 1;
    assert_eq!(say(&group, &mut ledger, &other), Err("agreement"));
}

#[test]
fn a_block_without_the_one_before_is_seen() {
    let (mut group, mut ledger, block) = begin();
    let member = group.member(1);
    let next = group.block(&[(&member, b"two")]);
    assert_eq!(say(&group, &mut ledger, &next), Err("total_order"));
    assert_eq!(say(&group, &mut ledger, &block), Ok(()));
    let mut stray = next;
    stray.header.previous = Digest([7; 32]);
    assert_eq!(say(&group, &mut ledger, &stray), Err("total_order"));
}

#[test]
fn a_trx_with_a_wrong_signature_is_seen() {
    let (_, mut ledger, _) = begin();
    let mut group = TestGroup::new();
    let member = group.member(1);
    let mut trx = group.trx(quorate_ledger::proto::TrxType::Post, &member, b"one");
    trx.data.push(0);
    let block = group.next(vec![trx]);
    assert_eq!(say(&group, &mut ledger, &block), Err("validity"));
}

#[test]
fn a_trx_in_two_places_is_seen() {
    let (mut group, mut ledger, block) = begin();
    assert_eq!(say(&group, &mut ledger, &block), Ok(()));
    let again = group.next(block.trxs);
    assert_eq!(say(&group, &mut ledger, &again), Err("exactly_once"));
}

#[test]
fn certificates_that_do_not_hold_are_seen() {
    let (group, mut ledger, block) = begin();
    let good = group.certificate(&block);
    let mut few = good.clone();
    few.signatures.truncate(2);
    let mut forged = good.clone();
    forged.signatures[0].1.0[0] ^= 1;
    let mut twice = good.clone();
    twice.signatures[1] = twice.signatures[0];
    twice.signatures[2] = twice.signatures[0];
    let mut other = good.clone();
    other.hash = Digest([3; 32]);
    for bad in [few, forged, twice, other] {
        let violation = ledger.committed(&block, &bad).expect_err("it does not hold");
        assert_eq!(violation.property, "certificate");
    }
    assert_eq!(ledger.committed(&block, &good), Ok(()));
}

#[test]
fn views_that_differ_and_views_that_nobody_knows_are_seen() {
    let (group, mut ledger, block) = begin();
    let other = View { interval_ms: 1, ..group.view().clone() };
    let violation = ledger.view(&Arc::new(other)).expect_err("two views 0");
    assert_eq!(violation.property, "one_view");
    let mut blank = Ledger::new(group.view().group, group.view().parent.1);
    assert_eq!(say(&group, &mut blank, &block), Err("one_view"));
}

#[test]
fn an_acknowledged_trx_is_missed_until_it_is_ordered_or_forgiven() {
    let (group, mut ledger, block) = begin();
    let id = block.trxs[0].id().expect("it has one");
    ledger.acknowledge(id, 3);
    assert_eq!(ledger.missing().collect::<Vec<_>>(), [&id]);
    let mut wiped = Ledger::new(group.view().group, group.view().parent.1);
    wiped.acknowledge(id, 3);
    wiped.forgive(2);
    assert_eq!(wiped.missing().count(), 1, "another node was wiped");
    wiped.forgive(3);
    assert_eq!(wiped.missing().count(), 0);
    assert_eq!(say(&group, &mut ledger, &block), Ok(()));
    assert_eq!(ledger.missing().count(), 0);
}
