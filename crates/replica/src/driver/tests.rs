//! A disk that fails.

use quorate_ledger::trx::TrxType;

use super::*;
use crate::api::{Command, Reply, Ticket};
use crate::testing::{MemoryJournal, Net, START, TestDriver, config, env};

fn submit(text: &str) -> Command {
    Command::Submit { kind: TrxType::Post, payload: text.as_bytes().to_vec() }
}

#[test]
fn a_full_disk_stops_acknowledgements_and_nothing_is_lost() {
    let mut net = Net::new(1, 1);
    let before = net.post(0, "{\"n\":0}");
    net.run_until("ordered", |net| net.everywhere(&before));
    net.nodes[0].journal.set_full(true);
    let appends = net.nodes[0].journal.appends();
    let hidden = net.command(0, submit("{\"n\":1}"));
    assert!(!net.nodes[0].replies.contains_key(&hidden), "nothing leaves before it is durable");
    assert_eq!(net.nodes[0].stalled.as_deref(), Some("no space left on device"));
    let refused = net.command(0, submit("{\"n\":2}"));
    let reason = "no space left on device".to_owned();
    assert_eq!(net.reply(0, refused), Err(CommandError::Stalled(reason)));
    net.run_for(10_000);
    assert_eq!(net.nodes[0].journal.appends(), appends);
    let stats = net.nodes[0].driver().stats();
    assert!(stats.failures > 10 && stats.refused > 0, "{stats:?}");
    net.nodes[0].journal.set_full(false);
    net.run_for(1_000);
    assert_eq!(net.nodes[0].stalled, None, "it goes on by itself");
    let Ok(Reply::Accepted { trx_id }) = net.reply(0, hidden) else {
        panic!("what was kept is released")
    };
    net.run_until("ordered", |net| net.everywhere(&trx_id));
    assert_eq!(net.nodes[0].posts(), ["{\"n\":0}", "{\"n\":1}"]);
}

/// Found by reading: a value that a stalled node showed could be gone after a crash.
#[test]
fn a_stalled_node_shows_nothing_that_is_not_durable() {
    let mut net = Net::new(1, 1);
    let before = net.post(0, "{\"n\":0}");
    net.run_until("ordered", |net| net.everywhere(&before));
    let after = net.post(0, "{\"n\":1}");
    net.nodes[0].journal.set_full(true);
    net.run_for(5_000);
    let driver = net.nodes[0].driver();
    let (shown, memory) = (driver.status().head, driver.replica().status().head);
    assert!(shown < memory, "the second block is in memory only");
    for query in [Query::Consensus, Query::Proofs, Query::ViewChain, Query::AppConfig] {
        let answer = driver.query(query.clone());
        assert!(matches!(answer, Err(QueryError::Storage(_))), "{query:?}");
    }
    assert!(matches!(driver.query(Query::Trx(before)), Ok(Answer::Trx(..))));
    assert!(matches!(driver.query(Query::Trx(after)), Err(QueryError::NotFound(_))));
    assert!(matches!(driver.query(Query::Block(memory)), Err(QueryError::NotFound(_))));
    net.nodes[0].journal.set_full(false);
    net.run_until("ordered", |net| net.everywhere(&after));
    assert!(matches!(net.nodes[0].driver().query(Query::Consensus), Ok(Answer::Consensus(_))));
}

#[test]
fn every_buffer_tells_its_limit_and_keeps_to_it() {
    let mut net = Net::with_committee(4, 4, 2);
    let ids: Vec<_> = (0..12).map(|n| net.post(n % 4, &format!("{{\"n\":{n}}}"))).collect();
    let mut footprint = Footprint::new();
    for id in &ids {
        net.run_until("ordered", |net| net.everywhere(id));
        for node in &net.nodes {
            footprint.clear();
            node.driver().footprint(&mut footprint);
            assert_eq!(footprint.overflow(), None);
        }
    }
    let mut names: Vec<_> = footprint.iter().map(|buffer| buffer.name).collect();
    for name in ["pool_trxs", "claims", "voted_blocks", "change_rounds", "epochs", "future_epochs"]
    {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    names.sort_unstable();
    assert!(names.is_sorted_by(|one, next| one < next), "a name is there twice: {names:?}");
    let waiting = footprint.iter().find(|buffer| buffer.name == "pool_trxs").map(|b| b.held);
    assert_eq!(waiting, Some(0), "everything is ordered");
}

#[test]
fn a_producer_with_a_full_disk_comes_back() {
    let mut net = Net::with_committee(4, 4, 2);
    net.nodes[2].journal.set_full(true);
    let id = net.post(0, "{\"n\":0}");
    net.run_until("the others order", |net| net.nodes[0].has(&id));
    net.run_for(10_000);
    assert!(!net.nodes[2].has(&id));
    net.nodes[2].journal.set_full(false);
    net.run_until("it has caught up", |net| net.everywhere(&id));
    net.assert_agreement();
}

#[test]
fn a_disk_that_is_full_at_the_first_opening_delays_the_group() {
    let journal = MemoryJournal::default();
    journal.set_full(true);
    let mut env = env(1, START);
    let opened = TestDriver::open(&mut env, config(0), journal.recover(), journal.clone());
    let (mut driver, turn) = opened.expect("opens");
    assert!(turn.outputs.is_empty() && turn.stalled.is_some());
    journal.set_full(false);
    let early = driver.turn(&mut env, vec![Input::Command(Ticket(1), submit("{}"))]);
    assert!(early.stalled.is_some(), "not before its time");
    assert!(matches!(early.outputs[..], [Output::Reply(Ticket(1), Err(_))]));
    env.now = early.wake.expect("it tries again");
    let turn = driver.turn(&mut env, vec![Input::Command(Ticket(2), submit("{}"))]);
    assert_eq!(turn.stalled, None);
    let ready = turn.outputs.iter().any(|o| matches!(o, Output::Notice(Notice::Ready)));
    let accepted = turn
        .outputs
        .iter()
        .any(|o| matches!(o, Output::Reply(Ticket(2), Ok(Reply::Accepted { .. }))));
    assert!(ready && accepted, "what was kept, then what is new");
}

#[test]
fn turns_that_change_nothing_do_not_write() {
    let mut net = Net::new(2, 3);
    net.run_until("ready", |net| net.nodes[1].driver().status().ready);
    let writes = net.nodes[1].journal.appends();
    net.run_for(30_000);
    assert_eq!(net.nodes[1].journal.appends(), writes, "a follower of an idle group is idle");
}

#[test]
fn the_group_is_created_by_its_owner_only() {
    let journal = MemoryJournal::default();
    let mut wrong = config(1);
    wrong.create = true;
    let opened = TestDriver::open(&mut env(1, START), wrong, journal.recover(), journal);
    assert_eq!(opened.err(), Some(OpenError::NotOwner));
}
