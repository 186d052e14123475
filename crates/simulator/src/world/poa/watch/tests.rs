use std::cell::Cell;

use quorate_ledger::ids::BlockId;
use quorate_ledger::ids::ViewNumber;
use quorate_replica::api::{Answer, Query, QueryError};

use super::*;
use crate::keyed::KeyedGeneration;
use crate::traitor::Traitor;
use crate::world::Outcome;
use crate::{Crypto, Options, Protocol};

type TestWorld = PoaWorld<Traitor<KeyedGeneration>>;

/// A world that has run, with some blocks and two views in it.
fn world() -> TestWorld {
    let options = Options {
        protocol: Protocol::Poa,
        nodes: 4,
        faulty: 0,
        first: 3,
        seeds: 1,
        crypto: Crypto::Mixed,
        trace: false,
    };
    let mut plan = crate::plan(&options, 3);
    plan.posts = 6;
    plan.schedule.clear();
    plan.faults = crate::faults::Faults::none();
    let mut world = TestWorld::new(3, plan);
    assert!(world.phases().is_some(), "{:?}", world.violation);
    world
}

const PLACE: Place = Place { node: 1, group: 0 };

/// What the verifier says of the node at [`PLACE`], whose answers are changed on their way.
fn judge(world: &TestWorld, change: impl Fn(Query, &dyn Fn(Query) -> Shown) -> Shown) -> String {
    let driver = world.seat(PLACE).member.as_ref().expect("it runs");
    let honest = |query| driver.query(query);
    let ask = |query| change(query, &honest);
    let witness = Witness { who: "n1/g0", ask: &ask, damaged: false };
    let mut verifier = Verifier::new(world.play.groups[0].descriptor.genesis.clone());
    match verifier.whole::<KeyedGeneration>(witness) {
        Ok(()) => String::new(),
        Err(violation) => {
            assert_eq!(violation.property, "view_chain");
            violation.detail
        }
    }
}

type Shown = Result<Answer, QueryError>;

#[test]
fn an_honest_node_is_believed() {
    let world = world();
    assert_eq!(judge(&world, |query, honest| honest(query)), "");
    let reads: u64 = world.play.groups.iter().map(|group| group.checks.history.reads()).sum();
    assert!(reads > 0, "nobody has read anything");
    let Outcome { violation, decisions, .. } = world.outcome(None);
    assert_eq!(violation, None);
    assert!(decisions > 2);
}

#[test]
fn a_node_that_shows_something_else_is_not_believed() {
    let world = world();
    let head = world.seat(PLACE).record.head;
    let asked = Cell::new(0);
    let told = |what: &str, found: &str| assert!(found.contains(what), "{what}: {found}");
    let found = judge(&world, |query, honest| match honest(query)? {
        Answer::ViewChain(mut chain) => {
            chain.links.clear();
            Ok(Answer::ViewChain(chain))
        }
        answer => Ok(answer),
    });
    told("the chain proves view 0", &found);
    let found = judge(&world, |query, honest| match honest(query)? {
        Answer::ViewChain(mut chain) => {
            chain.links[0].receipt.certificate.signatures[0].1.0[0] ^= 1;
            Ok(Answer::ViewChain(chain))
        }
        answer => Ok(answer),
    });
    told("view chain: view 1", &found);
    let found = judge(&world, |query, honest| match honest(query)? {
        Answer::Proofs(mut proofs) => {
            proofs.pop();
            Ok(Answer::Proofs(proofs))
        }
        answer => Ok(answer),
    });
    told("no proof of view 1", &found);
    let found = judge(&world, |query, honest| match (&query, honest(query.clone())?) {
        (Query::Block(id), Answer::Block(..)) if *id == head => honest(Query::Block(BlockId(1))),
        (_, answer) => Ok(answer),
    });
    told("does not follow the one before", &found);
    let found = judge(&world, |query, honest| match honest(query)? {
        Answer::Block(block, certificate, view) if block.header.id == head => {
            let mut fewer = (*certificate).clone();
            fewer.signatures.truncate(1);
            Ok(Answer::Block(block, fewer.into(), view))
        }
        answer => Ok(answer),
    });
    told("certificate", &found);
    let found = judge(&world, |query, honest| match honest(query)? {
        Answer::Receipt(mut receipt) => {
            asked.set(asked.get() + 1);
            receipt.trx.data.push(0);
            Ok(Answer::Receipt(receipt))
        }
        answer => Ok(answer),
    });
    told("the receipt of trx", &found);
    assert_eq!(asked.get(), 1, "the first wrong one ends it");
    let found = judge(&world, |query, honest| match honest(query)? {
        Answer::Status(status) => {
            let head_hash = quorate_crypto::hash::Digest::default();
            Ok(Answer::Status(quorate_replica::api::GroupStatus { head_hash, ..status }))
        }
        answer => Ok(answer),
    });
    told("is not the last block", &found);
    let found = judge(&world, |query, honest| match query {
        Query::Block(_) => Err(QueryError::Storage("a torn sector".into())),
        query => honest(query),
    });
    told("a torn sector", &found);
}

#[test]
fn a_violation_shows_where_every_node_stands() {
    let mut world = world();
    world.fail("agreement", "made up");
    let violation = world.violation.take().expect("just failed");
    for part in ["made up", "n0:", "n3:", "head", "view 1", "produces", "without faults"] {
        assert!(violation.detail.contains(part), "{part} is missing in {violation}");
    }
    assert_eq!(world.seat(PLACE).record.views.last().map(|view| view.number), Some(ViewNumber(1)));
}
