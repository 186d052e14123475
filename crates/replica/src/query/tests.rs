//! Content, blocks, errors.

use quorate_ledger::proto::AnnounceType;

use super::*;
use crate::testing::Net;

fn content(
    net: &Net,
    num: usize,
    start: Option<TrxId>,
    reverse: bool,
    include_start: bool,
    senders: &[String],
) -> Vec<String> {
    let senders = senders.to_vec();
    let query = Query::Content { num, start, reverse, include_start, senders };
    match net.nodes[0].query(query) {
        Ok(Answer::Content(posts)) => {
            posts.into_iter().map(|(_, text)| String::from_utf8(text).expect("text")).collect()
        }
        other => panic!("no content: {other:?}"),
    }
}

#[test]
fn content_is_walked_both_ways_from_any_start() {
    let mut net = Net::new(2, 1);
    net.run_until("ready", |net| net.nodes[1].driver().status().ready);
    let mut ids = Vec::new();
    for n in 0..6 {
        let id = net.post(n % 2, &n.to_string());
        ids.push(id);
        if n % 3 == 2 {
            let user = net.announce(1, AnnounceType::AsUser);
            net.run_until("ordered", |net| net.everywhere(&id) && net.everywhere(&user));
        }
    }
    let order: Vec<String> = net.nodes[0].posts();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, ["0", "1", "2", "3", "4", "5"], "each once; announcements are no content");
    assert_eq!(net.nodes[1].posts(), order);
    let id = |place: usize| ids[order[place].parse::<usize>().expect("a number")];
    let reversed: Vec<_> = order.iter().rev().cloned().collect();
    assert_eq!(content(&net, 100, None, true, false, &[]), reversed);
    assert_eq!(content(&net, 2, None, false, false, &[]), order[..2]);
    assert_eq!(content(&net, 100, Some(id(2)), false, false, &[]), order[3..]);
    assert_eq!(content(&net, 2, Some(id(2)), false, true, &[]), order[2..4]);
    assert_eq!(content(&net, 100, Some(id(2)), true, false, &[]), reversed[4..]);
    assert_eq!(content(&net, 100, Some(id(2)), true, true, &[]), reversed[3..]);
    assert_eq!(content(&net, 100, Some(id(5)), false, false, &[]), [""; 0]);
    assert_eq!(content(&net, 0, None, false, false, &[]), [""; 0]);
    let sender = net.nodes[1].key().to_string();
    let of_one: Vec<_> = order
        .iter()
        .filter(|text| text.parse::<usize>().expect("a number") % 2 == 1)
        .cloned()
        .collect();
    assert_eq!(content(&net, 100, None, false, false, &[sender]), of_one);
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut net = Net::new(1, 2);
    let id = net.post(0, "{}");
    assert_eq!(net.nodes[0].query(Query::Trx(id)).err(), Some(QueryError::NotFound("trx")));
    net.run_until("ordered", |net| net.everywhere(&id));
    let stranger = TrxId(uuid::Uuid::nil());
    for query in [Query::Trx(stranger), Query::Receipt(stranger)] {
        assert_eq!(net.nodes[0].query(query).err(), Some(QueryError::NotFound("trx")));
    }
    let beyond = Query::Block(BlockId(99));
    assert_eq!(net.nodes[0].query(beyond).err(), Some(QueryError::NotFound("block")));
    let Ok(Answer::Trx(trx, block)) = net.nodes[0].query(Query::Trx(id)) else { panic!("none") };
    assert_eq!((trx.id(), block), (Some(id), BlockId(1)));
    net.nodes[0].journal.set_unreadable(true);
    assert!(matches!(net.nodes[0].query(Query::Trx(id)), Err(QueryError::Storage(_))));
}

#[test]
fn a_group_begins_with_its_owner() {
    let net = Net::new(1, 3);
    let owner = net.nodes[0].key().to_string();
    let Ok(Answer::Consensus(info)) = net.nodes[0].query(Query::Consensus) else { panic!("none") };
    assert_eq!(info.producers.len(), 1);
    assert_eq!(info.producers[0].memo, "Owner Registated as the first group producer");
    assert_eq!(info.producers[0].producer_pubkey, owner);
    let query = Query::Announced(AnnounceType::AsProducer);
    let Ok(Answer::Announced(all)) = net.nodes[0].query(query) else { panic!("none") };
    let content = all[0].content.clone().expect("content");
    assert_eq!(content.memo, "owner announce as the first group producer");
    assert_eq!(content.sign_pubkey, owner);
    let Ok(Answer::Proofs(proofs)) = net.nodes[0].query(Query::Proofs) else { panic!("none") };
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].responsed_producers, [owner]);
    assert_eq!(
        proofs[0].req.as_ref().map(|req| req.req_id.clone()),
        Some(info.view.req_id.clone())
    );
    let Ok(Answer::ChainConfig(config)) = net.nodes[0].query(Query::ChainConfig) else {
        panic!("none")
    };
    assert_eq!(config.mode(TrxType::Post), quorate_ledger::proto::TrxAuthMode::FollowDnyList);
}
