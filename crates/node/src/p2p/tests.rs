use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_crypto::member::MemberKey;
use quorate_ledger::ids::GroupId;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Delivery, Network, Settings, Sink, Verdict};

/// A test that takes longer than this has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn key(n: u8) -> MemberKey {
    MemberKey::from_bytes(&[n; 32]).expect("a good number")
}

fn group() -> GroupId {
    GroupId(Uuid::from_u128(7))
}

async fn start(n: u8, bootstrap: &[&Network]) -> Network {
    start_with(n, bootstrap, false).await
}

async fn start_with(n: u8, bootstrap: &[&Network], closed: bool) -> Network {
    let settings = Settings {
        name: "test".to_owned(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        external: Vec::new(),
        bootstrap: bootstrap.iter().flat_map(|b| b.listen_addresses()).collect(),
        max_peers: 50,
        mdns: false,
        closed,
    };
    Network::start(settings, &key(n)).await.expect("the network starts")
}

enum Got {
    Packet(Vec<u8>, super::Source),
    Connected,
}

fn sink() -> (Sink, mpsc::UnboundedReceiver<Got>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let sink: Sink = Arc::new(move |delivery| {
        let got = match delivery {
            Delivery::Packet(incoming) => {
                let (bytes, source) = incoming.into_parts();
                Got::Packet(bytes, source)
            }
            Delivery::Connected(_) => Got::Connected,
        };
        let _ = sender.send(got);
    });
    (sink, receiver)
}

async fn connected(receiver: &mut mpsc::UnboundedReceiver<Got>) {
    let wait = async { while !matches!(receiver.recv().await, Some(Got::Connected)) {} };
    timeout(DEADLINE, wait).await.expect("a peer of the group connects");
}

async fn packet(receiver: &mut mpsc::UnboundedReceiver<Got>) -> (Vec<u8>, super::Source) {
    let wait = async {
        loop {
            if let Some(Got::Packet(bytes, source)) = receiver.recv().await {
                return (bytes, source);
            }
        }
    };
    timeout(DEADLINE, wait).await.expect("a packet arrives")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_find_each_other_through_a_bootstrap_node_and_talk() {
    let bootstrap = start(1, &[]).await;
    let a = start(2, &[&bootstrap]).await;
    let b = start(3, &[&bootstrap]).await;
    let (sink_a, mut at_a) = sink();
    let (sink_b, mut at_b) = sink();
    a.join(group(), key(12), sink_a).await.expect("joined");
    b.join(group(), key(13), sink_b).await.expect("joined");
    connected(&mut at_a).await;
    connected(&mut at_b).await;

    a.send_to_member(group(), &key(13).public(), b"to a member"[..].into());
    let (bytes, source) = packet(&mut at_b).await;
    assert_eq!(bytes, b"to a member");
    b.send_to_peer(group(), &source.peer(), b"an answer"[..].into());
    assert_eq!(packet(&mut at_a).await.0, b"an answer");
    b.send_to_somebody(group(), b"to anybody"[..].into());
    assert_eq!(packet(&mut at_a).await.0, b"to anybody");

    a.gossip(group(), b"to all"[..].into());
    let (bytes, source) = packet(&mut at_b).await;
    assert_eq!(bytes, b"to all");
    assert!(source.gossip.is_some());
    // Too large for gossip: it comes by stream.
    let large: Arc<[u8]> = vec![7; 3 * 1024 * 1024].into();
    a.gossip(group(), Arc::clone(&large));
    let (bytes, source) = packet(&mut at_b).await;
    assert!(bytes[..] == large[..] && source.gossip.is_none());

    assert_eq!(a.group_peers(group()), [b.peer_id()]);
    for network in [&a, &b, &bootstrap] {
        network.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_joined_before_the_bootstrap_node_is_up_is_found_later() {
    let early = start(1, &[]).await;
    let address = early.listen_addresses();
    early.stop().await;
    drop(early);
    let settings = |n: u8, listen: &str| {
        (
            Settings {
                name: "test".to_owned(),
                listen: vec![listen.parse().expect("an address")],
                external: Vec::new(),
                bootstrap: if n == 1 { Vec::new() } else { address.clone() },
                max_peers: 50,
                mdns: false,
                closed: false,
            },
            key(n),
        )
    };
    let mut nodes = Vec::new();
    let mut inboxes = Vec::new();
    for n in [2, 3] {
        let (settings, identity) = settings(n, "/ip4/127.0.0.1/tcp/0");
        let node = Network::start(settings, &identity).await.expect("started");
        let (sink, inbox) = sink();
        node.join(group(), key(10 + n), sink).await.expect("joined");
        nodes.push(node);
        inboxes.push(inbox);
    }
    let bare = super::swarm::split_peer(&address[0]).0.to_string();
    let (late, identity) = settings(1, &bare);
    let late = Network::start(late, &identity).await.expect("started");
    for inbox in &mut inboxes {
        connected(inbox).await;
    }
    nodes.push(late);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_rubbish_is_banned() {
    let a = start(2, &[]).await;
    let b = start(3, &[&a]).await;
    let (sink_b, mut at_b) = sink();
    let judged = Arc::new(Mutex::new(0));
    let (counter, judge) = (Arc::clone(&judged), a.clone());
    let (up, mut connected_a) = mpsc::unbounded_channel();
    let sink_a: Sink = Arc::new(move |delivery| match delivery {
        Delivery::Packet(incoming) => {
            *counter.lock() += 1;
            judge.judge(incoming.into_parts().1, Verdict::Malformed);
        }
        Delivery::Connected(peer) => {
            let _ = up.send(peer);
        }
    });
    a.join(group(), key(12), sink_a).await.expect("joined");
    b.join(group(), key(13), sink_b).await.expect("joined");
    connected(&mut at_b).await;
    timeout(DEADLINE, connected_a.recv()).await.expect("in time").expect("a peer");
    for n in 0..8_u8 {
        b.send_to_member(group(), &key(12).public(), vec![n].into());
    }
    let gone = async {
        while !a.peers().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the peer is disconnected");
    assert!(*judged.lock() >= 4);
    a.stop().await;
    b.stop().await;
}

/// A node that comes back is dialed before it has opened its groups by those who have much to say in
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_a_node_before_its_groups_are_open_waits_for_them() {
    let late = start_with(2, &[], true).await;
    let early = start(3, &[&late]).await;
    let there = super::peer_ref(late.peer_id());
    let count = 300_u16;
    for n in 0..count {
        early.send_to_peer(group(), &there, n.to_be_bytes()[..].into());
    }
    let (sink, mut inbox) = sink();
    late.join(group(), key(12), sink).await.expect("joined");
    late.open();
    for n in 0..count {
        assert_eq!(packet(&mut inbox).await.0, n.to_be_bytes());
    }
    assert_eq!(late.peers().len(), 1, "nobody is banned");
    late.stop().await;
    early.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_reaches_every_other_though_all_know_the_bootstrap_node_only() {
    let bootstrap = start(1, &[]).await;
    let mut nodes = Vec::new();
    for n in 2..7 {
        let node = start(n, &[&bootstrap]).await;
        let (sink, inbox) = sink();
        node.join(group(), key(10 + n), sink).await.expect("joined");
        nodes.push((n, node, inbox));
    }
    let members: Vec<u8> = nodes.iter().map(|(n, ..)| *n).collect();
    for to in 0..nodes.len() {
        for from in 0..nodes.len() {
            if from == to {
                continue;
            }
            let network = nodes[from].1.clone();
            let (sender, member) = (members[from], key(10 + members[to]).public());
            let inbox = &mut nodes[to].2;
            let exchange = async {
                loop {
                    // The protocols say things again until they are heard.
                    network.send_to_member(group(), &member, vec![sender].into());
                    let again = tokio::time::sleep(Duration::from_millis(100));
                    tokio::pin!(again);
                    loop {
                        tokio::select! {
                            got = inbox.recv() => {
                                if matches!(&got, Some(Got::Packet(b, _)) if b[..] == [sender]) {
                                    return;
                                }
                            }
                            () = &mut again => break,
                        }
                    }
                }
            };
            let pair = format!("{} to {}", members[from], members[to]);
            timeout(DEADLINE, exchange).await.unwrap_or_else(|_| panic!("{pair}"));
        }
    }
    for (_, node, _) in nodes {
        node.stop().await;
    }
    bootstrap.stop().await;
}
