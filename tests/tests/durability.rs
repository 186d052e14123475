//! `kill -9` under load, again and again: no acknowledged trx is lost, none is there twice, all
//! nodes have the same blocks.

use std::time::Duration;

use quorate_cli::api::Change;
use quorate_cli::cluster::{Cluster, Group, Poster, Role, same_blocks};
use quorate_cli::wait::{Look, until};
use quorate_tests::{network, run};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const LIMIT: Duration = Duration::from_secs(120);

async fn start(producers: usize) -> (Cluster, Group) {
    let mut cluster = network();
    cluster.start(producers, 1).await.expect("the network starts");
    let mut group = Group::create(cluster.node("p1"), "durability").await.expect("a group");
    let names: Vec<String> = (1..=producers).map(|n| format!("p{n}")).collect();
    for name in names[1..].iter().map(String::as_str).chain(["u1"]) {
        group.join(cluster.node(name)).await.expect("a node joins");
    }
    if producers > 1 {
        group.announce(&names[1..]).await.expect("producers are announced");
        let change = Change {
            producers: names.iter().map(|name| group.member(name).key.clone()).collect(),
            start_from_epoch: 1,
            epoch_tick: 500,
            agreement_tick: 2000,
            agreement_count: 10,
        };
        group.change(&change).await.expect("all of them produce");
    }
    (cluster, group)
}

/// Waits until so many more posts are acknowledged: the load goes on.
async fn more(poster: &Poster, count: usize) {
    let wanted = poster.count() + count;
    until("acknowledged posts", LIMIT, || async {
        match poster.count() {
            now if now >= wanted => Look::Done(()),
            now => Look::NotYet(format!("{now} of {wanted}; {}", poster.posted().trouble)),
        }
    })
    .await
    .expect("posts go on");
}

async fn restart(cluster: &mut Cluster, names: &[String]) {
    for name in names {
        cluster.node_mut(name).start().expect("the node starts again");
    }
    cluster.ready().await.expect("the nodes are ready again");
}

/// Every acknowledged post is in exactly one block, the same on all nodes.
async fn check(cluster: &mut Cluster, group: &Group, poster: Poster) {
    let posted = poster.finish().await.expect("posting does not end early");
    assert!(posted.trxs.len() > 20, "the load was real: {}", posted.trxs.len());
    for member in &group.members {
        group
            .packaged(&member.api, &posted.trxs, LIMIT)
            .await
            .unwrap_or_else(|e| panic!("{}: an acknowledged post is lost: {e}", member.name));
    }
    let head = group.level().await.expect("all nodes come to the same height");
    let trxs = same_blocks(group, head).await.expect("the blocks are the same everywhere");
    for trx in &posted.trxs {
        assert!(trxs.contains_key(trx), "acknowledged {trx} is in no block");
    }
    cluster.stop().await.expect("every node stops well");
}

fn members(cluster: &Cluster) -> Vec<String> {
    cluster.members().map(|n| n.name().to_owned()).collect()
}

#[test]
fn one_of_four_producers_at_a_time() {
    run(async {
        let (mut cluster, group) = start(4).await;
        let apis = group.members.iter().map(|m| m.api.clone()).collect();
        let poster = Poster::start(apis, &group.id, Duration::from_millis(30));
        let mut random = StdRng::seed_from_u64(1);
        let all = members(&cluster);
        for _ in 0..6 {
            more(&poster, 10).await;
            let name = all[random.random_range(0..all.len())].clone();
            cluster.node_mut(&name).kill();
            more(&poster, 10).await;
            restart(&mut cluster, &[name]).await;
            group.level().await.expect("the node catches up");
        }
        check(&mut cluster, &group, poster).await;
    });
}

#[test]
fn all_nodes_at_once() {
    run(async {
        let (mut cluster, group) = start(4).await;
        let apis = group.members.iter().map(|m| m.api.clone()).collect();
        let poster = Poster::start(apis, &group.id, Duration::from_millis(20));
        let all = members(&cluster);
        for _ in 0..4 {
            more(&poster, 15).await;
            for name in &all {
                cluster.node_mut(name).kill();
            }
            restart(&mut cluster, &all).await;
        }
        more(&poster, 5).await;
        check(&mut cluster, &group, poster).await;
    });
}

#[test]
fn the_only_producer_again_and_again() {
    run(async {
        let (mut cluster, group) = start(1).await;
        let apis = group.members.iter().map(|m| m.api.clone()).collect();
        let poster = Poster::start(apis, &group.id, Duration::from_millis(10));
        for _ in 0..8 {
            more(&poster, 10).await;
            cluster.node_mut("p1").kill();
            restart(&mut cluster, &["p1".to_owned()]).await;
        }
        check(&mut cluster, &group, poster).await;
    });
}

#[test]
fn a_node_that_joins_late_gets_every_block() {
    run(async {
        let (mut cluster, mut group) = start(4).await;
        let apis = group.members.iter().map(|m| m.api.clone()).collect();
        let poster = Poster::start(apis, &group.id, Duration::from_millis(20));
        more(&poster, 60).await;
        cluster.spawn("late", Role::User).expect("a late node starts");
        cluster.ready().await.expect("the late node is ready");
        group.join(cluster.node("late")).await.expect("the late node joins");
        more(&poster, 10).await;
        check(&mut cluster, &group, poster).await;
    });
}
