//! Links, votes, certificates.

use quorate_crypto::member::MemberKey;
use quorate_crypto::view::ViewKey;
use quorate_ledger::view::{Producer, Protocol};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;
use crate::testing::member;

struct Committee {
    view: View,
    keys: Vec<(ViewKey, MemberKey)>,
}

fn committee(n: u64) -> Committee {
    let mut rng = ChaCha20Rng::seed_from_u64(n);
    let keys: Vec<_> = (0..n).map(|i| (ViewKey::generate(&mut rng), member(i))).collect();
    let producers = keys.iter().map(|(view_key, member)| Producer {
        member: member.public(),
        view_key: view_key.public(),
    });
    let view = View {
        group: GroupId(uuid::Uuid::nil()),
        number: ViewNumber(3),
        protocol: Protocol::Poa,
        producers: producers.collect(),
        key_material: Vec::new(),
        interval_ms: 500,
        start_epoch: Epoch(100),
        parent: (BlockId(7), Digest([7; 32])),
        req_id: String::new(),
        nonce: 3,
        proof_trx_id: String::new(),
    };
    Committee { view, keys }
}

fn head() -> Head {
    Head {
        id: BlockId(7),
        hash: Digest([7; 32]),
        timestamp: 50,
        view: ViewNumber(2),
        epoch: Epoch(999),
        last_view_change: BlockId(7),
    }
}

fn block(committee: &Committee, timestamp: i64) -> Block {
    let trxs = vec![Trx { trx_id: "x".to_owned(), ..Trx::default() }];
    build(&committee.view, &head(), Epoch(100), timestamp, trxs, &WriteSet::new())
}

fn vote(committee: &Committee, block: &Block, voter: u16) -> BlockVote {
    let (view_key, member) = &committee.keys[usize::from(voter)];
    BlockVote::sign(&block.header, NodeIndex(voter), view_key, member)
}

#[test]
fn a_built_block_follows_its_head_and_no_other() {
    let committee = committee(4);
    let good = block(&committee, 60);
    let check =
        |block: &Block, head: &Head| check_link(block, committee.view.group, head, &committee.view);
    assert_eq!(check(&good, &head()), Ok(()), "epochs begin anew in a new view");
    let mutate = |change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        check(&block, &head()).map_err(|error| error.0)
    };
    let zero = Digest::default();
    assert_eq!(mutate(&|b| b.header.group = GroupId(uuid::Uuid::max())), Err("group"));
    assert_eq!(mutate(&|b| b.header.id = BlockId(9)), Err("id"));
    assert_eq!(mutate(&|b| b.header.previous = zero), Err("previous hash"));
    assert_eq!(mutate(&|b| b.header.view = ViewNumber(2)), Err("view"));
    assert_eq!(mutate(&|b| b.header.epoch = Epoch(99)), Err("epoch"));
    assert_eq!(mutate(&|b| b.header.last_checkpoint = BlockId(1)), Err("last checkpoint"));
    assert_eq!(mutate(&|b| b.header.last_view_change = BlockId(1)), Err("last view change"));
    assert_eq!(mutate(&|b| b.header.timestamp = 49), Err("timestamp"));
    assert_eq!(mutate(&|b| b.header.trx_root = zero), Err("list of trxs"));
    assert_eq!(mutate(&|b| b.trxs.clear()), Err("list of trxs"));
    let after = Head::after(&good.header, good.hash(), false);
    let mut next = good.clone();
    next.header.id = BlockId(9);
    next.header.previous = good.hash();
    assert_eq!(check(&next, &after), Err(LinkError("epoch")), "one block an epoch");
    next.header.epoch = Epoch(101);
    assert_eq!(check(&next, &after), Ok(()));
}

#[test]
fn two_f_plus_one_votes_certify() {
    for (n, needed) in [(1, 1), (2, 1), (3, 1), (4, 3), (7, 5)] {
        let committee = committee(n);
        let block = block(&committee, 60);
        let (id, hash) = (block.header.id, block.hash());
        let mut votes = Votes::default();
        for voter in 0..needed {
            let size = n as usize;
            assert_eq!(votes.certificate(id, hash, size), None, "{voter} votes of {needed}");
            votes.add(BlockId(7), vote(&committee, &block, voter)).expect("counts");
        }
        let certificate = votes.certificate(id, hash, n as usize).expect("enough");
        certificate.certifies(&block.header, &committee.view).expect("verifies");
    }
}

#[test]
fn a_vote_counts_once() {
    let committee = committee(4);
    let (one, other) = (block(&committee, 60), block(&committee, 61));
    let mut votes = Votes::default();
    for _ in 0..5 {
        votes.add(BlockId(7), vote(&committee, &one, 1)).expect("the same vote again is fine");
    }
    assert_eq!(votes.certificate(one.header.id, one.hash(), 4), None);
    let evidence = votes.add(BlockId(7), vote(&committee, &other, 1)).expect_err("two votes");
    assert_eq!((evidence.member, evidence.fault), (NodeIndex(1), Fault::Equivocation));
    votes.add(BlockId(7), vote(&committee, &other, 2)).expect("counts");
    assert_eq!(votes.dissenters(one.header.id, one.hash()), [NodeIndex(2)]);
}

#[test]
fn votes_out_of_the_window_are_dropped() {
    let committee = committee(4);
    let near = block(&committee, 60);
    let mut far = near.clone();
    far.header.id = BlockId(7 + VOTE_WINDOW + 1);
    let mut votes = Votes::default();
    votes.add(BlockId(7), vote(&committee, &far, 0)).expect("dropped");
    votes.add(BlockId(8), vote(&committee, &near, 0)).expect("dropped");
    assert!(votes.0.is_empty());
    votes.add(BlockId(7), vote(&committee, &near, 0)).expect("kept");
    votes.prune(BlockId(8));
    assert!(votes.0.is_empty());
}
