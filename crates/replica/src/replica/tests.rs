//! Whole replicas in a small network.

use std::sync::Arc;

use prost::Message as _;
use quorate_consensus::core::Topic;
use quorate_consensus::evidence::Fault;
use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::view::ViewKey;
use quorate_ledger::certificate::{BlockVote, Certificate};
use quorate_ledger::change::ChangeResult;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::ids::{BlockId, TrxId, ViewNumber};
use quorate_ledger::proto::{AnnounceType, ChangeConsensusResult, MapWrite, MapWriteBatch};
use quorate_ledger::trx::{self, TrxType};

use super::OpenError;
use crate::api::{Answer, Command, CommandError, Query, QueryError, Reply};
use crate::block_maker;
use crate::testing::{MemoryJournal, Net};
use crate::wire;

fn texts(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("{{\"n\":{n}}}")).collect()
}

fn post_all(net: &mut Net, index: usize, numbers: std::ops::Range<u32>) -> Vec<TrxId> {
    texts(numbers).iter().map(|text| net.post(index, text)).collect()
}

fn ordered(net: &mut Net, posts: &[TrxId]) {
    net.run_until("ordered everywhere", |net| posts.iter().all(|id| net.everywhere(id)));
    net.assert_agreement();
}

#[test]
fn one_producer_orders_posts() {
    let mut net = Net::new(1, 1);
    let first = net.post(0, "{\"n\":1}");
    let second = net.post(0, "{\"n\":2}");
    assert_eq!(net.nodes[0].journal.notes(Topic::Pool), 2, "noted before accepted");
    net.run_until("ordered", |net| net.everywhere(&first) && net.everywhere(&second));
    assert_eq!(net.nodes[0].posts(), ["{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(net.nodes[0].journal.notes(Topic::Pool), 0, "packaged trxs leave the pool");
    let epoch = net.nodes[0].driver().status().epoch;
    let head = net.nodes[0].driver().status().head;
    net.run_for(5_500);
    let status = net.nodes[0].driver().status();
    assert_eq!(status.head, head, "an idle group makes no block");
    assert!(status.epoch.0 >= epoch.0 + 5, "an idle group moves its epoch");
}

#[test]
fn four_producers_order_posts_of_a_user() {
    let mut net = Net::with_committee(5, 4, 2);
    let posts = post_all(&mut net, 4, 0..10);
    ordered(&mut net, &posts);
    for node in &net.nodes {
        assert_eq!(node.posts(), texts(0..10), "each once, in order");
    }
    let epoch = net.nodes[0].driver().status().epoch;
    net.run_for(3_000);
    let later = net.nodes[0].driver().status().epoch;
    assert!(later.0 >= epoch.0 + 4, "epochs go on: {epoch} to {later}");
}

#[test]
fn committees_of_two_three_and_seven_work() {
    for n in [2, 3, 7] {
        let mut net = Net::with_committee(n, n, n as u64);
        let posts = post_all(&mut net, n - 1, 0..3);
        ordered(&mut net, &posts);
        assert_eq!(net.nodes[0].posts(), texts(0..3));
    }
}

#[test]
fn one_dead_of_four_does_not_stop_the_group() {
    let mut net = Net::with_committee(4, 4, 3);
    net.kill(2);
    let posts = post_all(&mut net, 0, 0..5);
    ordered(&mut net, &posts);
    let more = post_all(&mut net, 3, 5..8);
    ordered(&mut net, &more);
    net.start(2);
    net.run_until("the dead one is back", |net| net.everywhere(&more[0]));
    assert_eq!(net.nodes[2].posts(), texts(0..8));
    // It takes part again: the group goes on when another one dies.
    net.kill(1);
    let last = post_all(&mut net, 0, 8..10);
    ordered(&mut net, &last);
}

#[test]
fn a_silent_committee_goes_on_when_it_is_whole_again() {
    let mut net = Net::with_committee(4, 4, 4);
    net.kill(2);
    net.kill(3);
    let posts = post_all(&mut net, 0, 0..4);
    let head = net.nodes[0].driver().status().head;
    net.run_for(20_000);
    assert_eq!(net.nodes[0].driver().status().head, head, "two of four are too few");
    net.start(2);
    net.run_until("ordered", |net| posts.iter().all(|id| net.everywhere(id)));
    net.start(3);
    ordered(&mut net, &posts);
    assert_eq!(net.nodes[3].posts(), texts(0..4));
}

#[test]
fn a_partition_heals() {
    let mut net = Net::with_committee(4, 4, 5);
    net.cut.extend([1, 2]);
    let posts = post_all(&mut net, 1, 0..3);
    net.run_for(30_000);
    assert!(!net.nodes[0].has(&posts[0]));
    net.cut.clear();
    ordered(&mut net, &posts);
}

#[test]
fn restart_of_all_loses_nothing_that_was_accepted() {
    let mut net = Net::with_committee(4, 4, 6);
    let before = post_all(&mut net, 1, 0..3);
    ordered(&mut net, &before);
    let accepted = post_all(&mut net, 2, 3..6);
    for index in 0..4 {
        net.kill(index);
    }
    for index in 0..4 {
        net.start(index);
    }
    ordered(&mut net, &accepted);
    for node in &net.nodes {
        assert_eq!(node.posts(), texts(0..6), "each once");
        assert_eq!(node.journal.notes(Topic::Pool), 0);
    }
}

#[test]
fn restarts_in_the_middle_of_everything() {
    for seed in 0..6 {
        let mut net = Net::with_committee(4, 4, 100 + seed);
        let mut posts = Vec::new();
        for round in 0..8_u32 {
            let index = (round as usize + seed as usize) % 4;
            posts.push(net.post(index, &format!("{{\"n\":{round}}}")));
            net.run_for(37 + 91 * u64::from(round) + seed);
            net.kill(index);
            net.run_for(11 * seed);
            net.start(index);
        }
        ordered(&mut net, &posts);
        let mut all = net.nodes[0].posts();
        all.sort();
        assert_eq!(all, texts(0..8), "seed {seed}: each once");
    }
}

#[test]
fn an_uncertified_block_is_certified_after_a_restart() {
    let mut net = Net::with_committee(4, 4, 7);
    let posts = post_all(&mut net, 0, 0..2);
    ordered(&mut net, &posts);
    let head = net.nodes[1].driver().status().head;
    // As if all had crashed between the block and its certificate.
    for index in 0..4 {
        net.kill(index);
        net.nodes[index].journal.drop_last_certificate();
        net.nodes[index].committed.pop();
    }
    net.try_start(1).expect("opens with a block that waits");
    assert_eq!(net.nodes[1].driver().status().head.next(), head);
    assert_eq!(
        net.nodes[1].query(Query::Trx(posts[1])).map(|_| ()),
        Err(QueryError::NotFound("trx")),
        "not final yet"
    );
    for index in [0, 2, 3] {
        net.start(index);
    }
    ordered(&mut net, &posts);
    assert_eq!(net.nodes[3].driver().status().head, head, "the same block, not another one");
}

#[test]
fn a_late_joiner_gets_everything() {
    let mut net = Net::new(1, 8);
    for n in 0..300 {
        let id = net.post(0, &format!("{{\"n\":{n}}}"));
        net.run_until("ordered", |net| net.everywhere(&id));
    }
    let joiner = net.join();
    net.run_until("caught up", |net| {
        net.nodes[joiner].driver().status().head == net.nodes[0].driver().status().head
    });
    net.assert_agreement();
    assert_eq!(net.nodes[joiner].posts(), net.nodes[0].posts());
    let state =
        |net: &Net, index: usize| net.nodes[index].driver().replica().state().unwrap().digest();
    assert_eq!(state(&net, 0), state(&net, joiner));
    let before = state(&net, 0);
    // From the snapshot, and without it.
    net.kill(0);
    net.try_start(0).expect("opens from the snapshot");
    assert_eq!(state(&net, 0), before);
    net.kill(0);
    net.nodes[0].journal.drop_snapshot();
    net.try_start(0).expect("opens from the blocks");
    assert_eq!(state(&net, 0), before);
    // Damage is named, never served.
    net.kill(0);
    net.nodes[0].journal.damage_block(3);
    let error = net.try_start(0).expect_err("a damaged block");
    assert!(matches!(&error, OpenError::Damaged(what) if what.contains("block 3")), "{error}");
}

#[test]
fn documents_and_proofs_are_the_same_everywhere() {
    let net = Net::with_committee(5, 4, 9);
    let Ok(Answer::Proofs(proofs)) = net.nodes[4].query(Query::Proofs) else { panic!("no proofs") };
    assert_eq!(proofs.len(), 2, "the genesis proof and the change");
    for node in &net.nodes {
        let Ok(Answer::Proofs(others)) = node.query(Query::Proofs) else { panic!("no proofs") };
        assert_eq!(proofs, others);
        let Ok(Answer::ViewChain(chain)) = node.query(Query::ViewChain) else { panic!("no chain") };
        let views = chain.verify::<BlsGeneration>().expect("verifies offline");
        assert_eq!(views.last(), node.driver().replica().view().map(Arc::as_ref));
        let Ok(Answer::Consensus(info)) = node.query(Query::Consensus) else { panic!("no info") };
        assert_eq!(info.producers.len(), 4);
        assert_eq!(info.view.interval_ms, 500);
        assert_eq!(info.producers[0].proof_trx_id, info.view.proof_trx_id);
    }
}

#[test]
fn receipts_verify_offline() {
    let mut net = Net::with_committee(4, 4, 10);
    let posts = post_all(&mut net, 3, 0..3);
    ordered(&mut net, &posts);
    let Ok(Answer::ViewChain(chain)) = net.nodes[1].query(Query::ViewChain) else { panic!("none") };
    let Ok(Answer::Receipt(receipt)) = net.nodes[2].query(Query::Receipt(posts[1])) else {
        panic!("no receipt")
    };
    receipt.verify_in_chain::<BlsGeneration>(&chain).expect("verifies");
}

#[test]
fn producers_hand_over_to_a_disjoint_committee() {
    let mut net = Net::with_committee(4, 2, 11);
    for index in [2, 3] {
        net.announce(index, AnnounceType::AsProducer);
    }
    net.run_until("announced", |net| {
        let query = Query::Announced(AnnounceType::AsProducer);
        matches!(net.nodes[0].query(query), Ok(Answer::Announced(all)) if all.len() == 4)
    });
    let promised = net.change(vec![2, 3], 10_000);
    net.run_until("the change is final", |net| net.everywhere(&promised));
    for (index, node) in net.nodes.iter().enumerate() {
        let status = node.driver().status();
        assert_eq!(status.view, ViewNumber(2));
        assert_eq!(status.producing, index >= 2, "node {index}");
        assert!(status.epoch.0 >= 10_000);
        let secrets = node.journal.secrets();
        let kept: Vec<_> = secrets.iter().filter(|name| name.starts_with("view-")).collect();
        let expected: &[&str] = if index >= 2 { &["view-2"] } else { &[] };
        assert_eq!(kept, expected, "keys of ended views are erased");
    }
    let posts = post_all(&mut net, 0, 0..3);
    ordered(&mut net, &posts);
    // The old producers may go: nobody needs them.
    net.kill(1);
    let more = post_all(&mut net, 0, 3..5);
    ordered(&mut net, &more);
    // And everything opens again in the new view.
    for index in [0, 2, 3] {
        net.kill(index);
    }
    for index in 0..4 {
        net.start(index);
    }
    let last = post_all(&mut net, 1, 5..6);
    ordered(&mut net, &last);
    assert_eq!(net.nodes[2].posts(), texts(0..6));
}

#[test]
fn a_change_that_times_out_changes_nothing_but_the_history() {
    let mut net = Net::with_committee(4, 2, 12);
    net.announce(2, AnnounceType::AsProducer);
    net.run_until("announced", |net| {
        let query = Query::Announced(AnnounceType::AsProducer);
        matches!(net.nodes[0].query(query), Ok(Answer::Announced(all)) if all.len() == 3)
    });
    net.kill(2);
    let promised = net.change(vec![0, 1, 2], 1);
    net.run_until("a result", |net| {
        matches!(net.nodes[3].query(Query::Proofs), Ok(Answer::Proofs(all)) if all.len() == 3)
    });
    let Ok(Answer::Proofs(proofs)) = net.nodes[3].query(Query::Proofs) else { panic!("none") };
    assert_eq!(proofs[2].result(), ChangeConsensusResult::from(ChangeResult::Timeout));
    assert!(!net.nodes[0].has(&promised), "the promised id is for success only");
    assert_eq!(net.nodes[0].driver().status().view, ViewNumber(1));
    let posts = post_all(&mut net, 3, 0..2);
    ordered(&mut net, &posts);
}

#[test]
fn a_producer_without_its_keys_follows() {
    let mut net = Net::with_committee(4, 4, 13);
    net.kill(3);
    net.nodes[3].journal.remove_secret("view-1");
    net.start(3);
    assert!(!net.nodes[3].driver().status().producing);
    let posts = post_all(&mut net, 3, 0..3);
    ordered(&mut net, &posts);
}

#[test]
fn a_wiped_producer_comes_back_as_a_follower() {
    let mut net = Net::with_committee(4, 4, 14);
    let posts = post_all(&mut net, 0, 0..3);
    ordered(&mut net, &posts);
    net.kill(2);
    net.nodes[2].journal = MemoryJournal::default();
    net.nodes[2].committed.clear();
    net.start(2);
    net.run_until("caught up", |net| net.everywhere(&posts[2]));
    assert!(!net.nodes[2].driver().status().producing);
    net.assert_agreement();
}

#[test]
fn a_producer_with_amnesia_waits_before_it_speaks() {
    let mut net = Net::with_committee(4, 4, 15);
    let posts = post_all(&mut net, 0, 0..2);
    ordered(&mut net, &posts);
    net.kill(1);
    let mut recovered = net.nodes[1].journal.recover();
    recovered.notes.retain(|(topic, ..)| *topic == Topic::Group);
    recovered.amnesia = true;
    let epoch = net.nodes[0].driver().status().epoch;
    net.try_start_with(1, recovered).expect("opens");
    assert!(net.nodes[1].driver().replica().core().is_none(), "silent at first");
    net.run_until("it takes part again", |net| net.nodes[1].driver().replica().core().is_some());
    let core = net.nodes[1].driver().replica().core().map(quorate_consensus::core::Core::epoch);
    assert!(core > Some(epoch.next()), "two epochs later");
    net.run_until("the others have come to its epoch", |net| {
        net.nodes[1].driver().status().epoch > epoch.next().next()
    });
    // The others need it now.
    net.kill(3);
    let more = post_all(&mut net, 0, 2..4);
    ordered(&mut net, &more);
}

/// A network in which node 1, of four, has forgotten what it said, and has since been told again
/// what the others said before that.
fn after_old_statuses() -> Net {
    let mut net = Net::with_committee(4, 4, 18);
    // Its disk lost nothing yet, but whoever listens keeps what the others say of where they are.
    net.kill(1);
    net.run_for(30_000);
    net.start(1);
    let old = net.overhear(1, 20_000);
    let posts = post_all(&mut net, 0, 0..2);
    ordered(&mut net, &posts);
    net.kill(1);
    let mut recovered = net.nodes[1].journal.recover();
    recovered.notes.retain(|(topic, ..)| *topic == Topic::Group);
    recovered.amnesia = true;
    net.try_start_with(1, recovered).expect("opens");
    let before: std::collections::BTreeSet<usize> = old.iter().map(|(from, _)| *from).collect();
    assert_eq!(before.len(), 3, "all others were heard before the loss");
    for (from, packet) in &old {
        net.deliver(*from, 1, packet);
    }
    net
}

#[test]
fn what_was_said_before_the_loss_does_not_end_an_amnesia() {
    let mut net = after_old_statuses();
    assert!(net.nodes[1].driver().replica().core().is_none(), "still silent");
    net.run_until("answers end it", |net| net.nodes[1].driver().replica().core().is_some());
}

/// The test above sees what it is about.
#[cfg(feature = "mutants")]
#[test]
fn without_the_challenge_what_was_said_before_the_loss_ends_an_amnesia() {
    use quorate_ledger::mutants::{Mutant, activate};
    let _awake = activate(Mutant::StatusUnasked);
    let net = after_old_statuses();
    assert!(net.nodes[1].driver().replica().core().is_some(), "old statuses ended it");
}

#[test]
fn an_unreadable_journal_delays_a_decision() {
    let mut net = Net::with_committee(4, 4, 16);
    let head = net.nodes[1].driver().status().head;
    net.nodes[1].journal.set_unreadable(true);
    let posts = post_all(&mut net, 0, 0..2);
    net.run_until("the others order", |net| net.nodes[0].has(&posts[1]));
    net.run_for(5_000);
    assert_eq!(net.nodes[1].driver().status().head, head);
    net.nodes[1].journal.set_unreadable(false);
    ordered(&mut net, &posts);
}

#[test]
fn trxs_signed_elsewhere_are_taken_once() {
    let mut net = Net::new(2, 17);
    net.run_until("ready", |net| net.nodes[1].driver().status().ready);
    let client = crate::testing::member(77);
    let group = net.nodes[0].config.descriptor.id;
    let cipher = net.nodes[0].config.descriptor.cipher_key.clone();
    let mut rng = crate::testing::env(5, net.now).rng;
    let data = trx::encrypt_payload(&cipher, &mut rng, b"{}");
    let id = TrxId(super::commands::fresh_uuid(&mut crate::testing::env(6, net.now)));
    let stamp = super::nanoseconds(net.now);
    let signed = trx::build(&client, group, TrxType::Post, data.clone(), id, stamp, 0);
    let submit = |trx: &quorate_ledger::proto::Trx| Command::SubmitSigned(Box::new(trx.clone()));
    let first = net.command(1, submit(&signed));
    let again = net.command(1, submit(&signed));
    assert_eq!(net.reply(1, first), Ok(Reply::Accepted { trx_id: id }));
    assert_eq!(net.reply(1, again), net.reply(1, first), "accepted again");
    let other = trx::build(&client, group, TrxType::Post, data, id, stamp + 1, 0);
    let clash = net.command(1, submit(&other));
    assert!(matches!(net.reply(1, clash), Err(CommandError::Invalid(_))));
    let mut forged = signed.clone();
    forged.time_stamp += 1;
    let ticket = net.command(1, submit(&forged));
    assert!(matches!(net.reply(1, ticket), Err(CommandError::Invalid(_))));
    ordered(&mut net, &[id]);
    let late = net.command(1, submit(&signed));
    assert!(matches!(net.reply(1, late), Err(CommandError::Invalid(_))), "it is on the ledger");
}

#[test]
fn a_post_has_a_limit() {
    let mut net = Net::new(1, 23);
    let limit = trx::Limits::REFERENCE.data - quorate_crypto::cipher::OVERHEAD;
    for (size, good) in [(limit, true), (limit + 1, false)] {
        let payload = vec![b'x'; size];
        let ticket = net.command(0, Command::Submit { kind: TrxType::Post, payload });
        match net.reply(0, ticket) {
            Ok(Reply::Accepted { trx_id }) if good => {
                net.run_until("ordered", |net| net.everywhere(&trx_id));
            }
            Err(CommandError::Invalid(_)) if !good => {}
            other => panic!("{size} bytes: {other:?}"),
        }
    }
    let change = Command::Submit { kind: TrxType::Consensus, payload: Vec::new() };
    let ticket = net.command(0, change);
    assert!(matches!(net.reply(0, ticket), Err(CommandError::Invalid(_))));
    let foreign = Command::Submit { kind: TrxType::ReqBlock, payload: Vec::new() };
    let ticket = net.command(0, foreign);
    assert!(matches!(net.reply(0, ticket), Err(CommandError::Invalid(_))));
}

#[test]
fn an_own_trx_that_expires_is_signed_again() {
    let mut net = Net::with_committee(5, 4, 18);
    net.cut.insert(4);
    let id = net.post(4, "{\"n\":0}");
    net.run_for(100_000);
    net.cut.clear();
    ordered(&mut net, &[id]);
    assert_eq!(net.nodes[0].posts(), texts(0..1));
}

#[test]
fn map_writes_are_executed_and_read() {
    let mut net = Net::new(1, 19);
    let write = |value: &[u8], expected: Option<&[u8]>| MapWrite {
        map: "counters".to_owned(),
        key: b"a".to_vec(),
        op: 2,
        value: value.to_vec(),
        expected: expected.map(<[u8]>::to_vec),
    };
    for entry in [write(b"1", None), write(b"9", None), write(b"2", Some(b"1"))] {
        let payload = MapWriteBatch { entries: vec![entry] }.encode_to_vec();
        let ticket = net.command(0, Command::Submit { kind: TrxType::MapWrite, payload });
        let Ok(Reply::Accepted { trx_id }) = net.reply(0, ticket) else { panic!("refused") };
        net.run_until("ordered", |net| net.everywhere(&trx_id));
    }
    let query = Query::Get { map: "counters".to_owned(), key: b"a".to_vec() };
    let Ok(Answer::Value(value)) = net.nodes[0].query(query) else { panic!("no value") };
    assert_eq!(value.as_deref(), Some(&b"2"[..]), "a comparison that fails writes nothing");
}

#[test]
fn commands_before_genesis_are_refused() {
    let mut net = Net::new(1, 20);
    net.cut.insert(1);
    let joiner = net.join();
    let submit = Command::Submit { kind: TrxType::Post, payload: b"{}".to_vec() };
    let ticket = net.command(joiner, submit);
    assert_eq!(net.reply(joiner, ticket), Err(CommandError::NotReady));
    let Ok(Answer::Consensus(info)) = net.nodes[joiner].query(Query::Consensus) else {
        panic!("what every group begins with is known")
    };
    assert_eq!(info.view.interval_ms, 1_000);
    assert_eq!(info.producers[0].producer_pubkey, net.nodes[0].key().to_string());
    assert_eq!(net.nodes[joiner].query(Query::Proofs).map(|_| ()), Err(QueryError::NotReady));
    net.cut.clear();
    net.run_until("ready", |net| net.nodes[joiner].driver().status().ready);
}

#[test]
fn the_same_seed_gives_the_same_blocks() {
    let run = || {
        let mut net = Net::with_committee(4, 4, 21);
        let posts = post_all(&mut net, 2, 0..5);
        ordered(&mut net, &posts);
        let head = net.nodes[0].driver().status();
        (head.head, head.head_hash)
    };
    assert_eq!(run(), run());
}

#[test]
fn served_blocks_are_what_was_certified() {
    let mut net = Net::with_committee(4, 4, 22);
    let posts = post_all(&mut net, 2, 0..2);
    ordered(&mut net, &posts);
    let Ok(Answer::Block(block, certificate, view)) = net.nodes[1].query(Query::Block(BlockId(1)))
    else {
        panic!("no block")
    };
    certificate.certifies(&block.header, &view).expect("by the view that made it");
    assert_eq!(view.number, block.header.view);
    assert_eq!(block.to_bytes(), net.nodes[2].committed[0].1.to_bytes());
    let genesis = net.nodes[1].query(Query::Block(BlockId(0)));
    assert!(matches!(genesis, Ok(Answer::GenesisBlock(block)) if block.block_id == 0));
}

/// While a member that was away is sent what it missed, the next block comes by gossip, perhaps
/// through the very peer that was asked.
#[test]
fn a_block_further_ahead_is_no_answer_of_whoever_was_asked() {
    let mut net = Net::with_committee(5, 4, 32);
    net.kill(4);
    for number in 0..3 {
        let posts = post_all(&mut net, 0, number..number + 1);
        net.run_until("a block", |net| (0..4).all(|i| net.nodes[i].has(&posts[0])));
    }
    net.start(4);
    let group = net.nodes[4].config.descriptor.id;
    let served = |net: &Net, id: u64| {
        let Ok(Answer::Block(block, certificate, _)) =
            net.nodes[0].query(Query::Block(BlockId(id)))
        else {
            panic!("no block {id}")
        };
        let pair = (block.to_bytes().into(), certificate.to_bytes().into());
        Arc::clone(wire::encode_blocks(&group, &[pair]).bytes())
    };
    let questions =
        |net: &Net| net.nodes[4].trace.iter().filter(|line| line.contains("asks for")).count();
    let tip = net.nodes[0].driver().status();
    let head = net.nodes[4].driver().status().head;
    assert!(head.0 + 2 <= tip.head.0, "it has missed blocks");
    let (next, last) = (served(&net, head.0 + 1), served(&net, tip.head.0));
    let hint = wire::encode_head(&group, tip.head, &tip.head_hash, tip.epoch);
    net.deliver(0, 4, hint.bytes());
    let asked = questions(&net);
    assert!(asked > 0, "one has been asked");
    for peer in 0..4 {
        net.deliver(peer, 4, &last);
    }
    assert_eq!(questions(&net), asked, "and will answer");
    net.deliver(0, 4, &next);
    assert_eq!(net.nodes[4].driver().status().head, head.next());
}

#[test]
fn a_fetched_block_with_a_bad_trx_is_refused_and_its_signers_are_accused() {
    let mut net = Net::with_committee(5, 4, 31);
    let posts = post_all(&mut net, 0, 0..3);
    ordered(&mut net, &posts);
    let group = net.nodes[4].config.descriptor.id;
    let chain = net.nodes[4].driver().replica().chain.as_ref().expect("a chain");
    let (head, view) = (chain.head, Arc::clone(chain.view()));
    let mut rng = crate::testing::env(9, net.now).rng;
    let data = trx::encrypt_payload(&net.nodes[4].config.descriptor.cipher_key, &mut rng, b"{}");
    let id = TrxId(uuid::Uuid::from_u128(0x8000_4000_8000_0000_0000_0099));
    let key = &net.nodes[4].config.member;
    let mut bad = trx::build(key, group, TrxType::Post, data, id, head.timestamp, 0);
    bad.sender_sign[7] ^= 1;
    let (epoch, writes) = (head.epoch.next(), quorate_ledger::state::WriteSet::new());
    let block = block_maker::build(&view, &head, epoch, head.timestamp, vec![bad], &writes);
    let votes: Vec<BlockVote> = (0..3_u16)
        .map(|index| {
            let node = &net.nodes[usize::from(index)];
            let member = &node.config.member;
            let place = view.index_of(&member.public()).expect("a producer");
            let name = super::ordering::view_secret(view.number);
            let secret = node.journal.secret(&name).expect("a producer has its keys");
            let key = ViewKey::from_seed(secret.first_chunk().expect("the view key is first"));
            BlockVote::sign(&block.header, place, &key, member)
        })
        .collect();
    let certificate = Certificate::assemble(&votes, 4).expect("enough have signed");
    let pair = (block.to_bytes().into(), certificate.to_bytes().into());
    let packet = Arc::clone(wire::encode_blocks(&group, &[pair]).bytes());
    let hint = wire::encode_head(&group, BlockId(head.id.0 + 9), &head.hash, epoch);
    // Checked by the member itself, and, once it believes to be behind, before it sees it.
    for behind in [false, true] {
        if behind {
            net.deliver(0, 4, hint.bytes());
        }
        let node = &net.nodes[4];
        assert_eq!(node.driver().status().syncing, behind);
        let before = node.evidence.len();
        net.deliver(0, 4, &packet);
        let node = &net.nodes[4];
        assert_eq!(node.driver().status().head, head.id, "it is not applied");
        let accused: Vec<_> = node.evidence[before..].iter().map(|e| (e.member, e.fault)).collect();
        let signers = certificate.signatures.iter().map(|(index, _)| (*index, Fault::BadBlock));
        assert_eq!(accused, signers.collect::<Vec<_>>());
        assert!(node.evidence[before].detail.contains("signature is not valid"));
        assert!(!node.driver().status().syncing, "who sent it is asked no more");
    }
}
