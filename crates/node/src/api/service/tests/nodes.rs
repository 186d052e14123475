//! A service of three nodes.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Service, near, quick, tx, value};
use crate::api::tests::{DEADLINE, Host};
use crate::node::NodeKind;

impl Service {
    /// Looks at an answer until it is as it should be.
    async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let wait = async {
            loop {
                let response = self.get(path).await;
                last = value(&response);
                if response.status() == StatusCode::OK && good(&last) {
                    return last.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(value) => value,
            Err(_) => panic!("{path} does not come: {last}"),
        }
    }

    async fn id(&self) -> String {
        self.good("/node/state").await["node_id"].as_str().expect("an id").to_owned()
    }

    fn status(members: &Value, id: &str) -> Value {
        let nodes = members["nodes"].as_array().expect("a list");
        let node = nodes.iter().find(|node| node["node_id"] == id);
        node.map_or(Value::Null, |node| node["status"].clone())
    }

    /// Lets another node join, and adds it.
    async fn grow(&self, seed: &str) -> Self {
        let host = near(&self.host.node.listen_addrs()).await;
        host.good_post("/api/v2/group/join", json!({ "seed": seed })).await;
        let joined = Self { host, gid: self.gid.clone() };
        let id = joined.id().await;
        self.until("/node/members", |members| Self::status(members, &id) == "Pending").await;
        let body = json!({ "add": [&id[..10]] });
        let started = self.batch("/node/members", body).await;
        assert_eq!(started.status(), StatusCode::ACCEPTED, "{:?}", started.body());
        assert_eq!(value(&started)["change"]["add"], json!([id]));
        self.until("/node/members/change", |shown| shown["change"]["state"] == "Committed").await;
        let members = self.good("/node/members").await;
        assert_eq!(Self::status(&members, &id), "Trusted");
        joined
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_a_service_lose_their_leader_and_retire_one() {
    let first = Service::start().await;
    let seed = first.host.good(&format!("/api/v1/group/{}/seed", first.gid)).await;
    let seed = seed["seed"].as_str().expect("a text").to_owned();
    let before = first.put("/app/kv/m/before?wait=committed", "joined").await;
    let second = first.grow(&seed).await;
    let third = first.grow(&seed).await;
    let members = first.good("/node/members").await;
    assert_eq!((&members["quorum"], &members["tolerates"]), (&json!(2), &json!(1)));

    // What followers cannot do themselves they have the leader do.
    second.open().await;
    let written = second.put("/app/kv/m/k?wait=committed", "by a follower").await;
    assert_eq!(written.status(), StatusCode::OK, "{:?}", written.body());
    assert_eq!(third.get("/app/kv/m/k").await.body(), "by a follower");
    assert_eq!(third.get("/app/kv/m/before").await.body(), "joined");
    let head = third.call(Method::HEAD, "/node/primary", &[], Body::empty()).await;
    assert_eq!(head.status(), StatusCode::PERMANENT_REDIRECT);
    Service::is_error(&third.get("/node/primary").await, 404, "ResourceNotFound");
    let old = format!("/node/receipt?transaction_id={}&wait=committed", tx(&before));
    let receipt = third.get(&old).await;
    assert_eq!(receipt.body(), first.get(&old).await.body(), "receipts are the same everywhere");

    // The leader goes: the others go on.
    let gone = first.id().await;
    let dir = first.host.stop().await;
    let led = |shown: &Value| {
        let primary = &shown["details"]["primary_id"];
        primary.is_string() && *primary != gone.as_str()
    };
    second.until("/node/consensus", led).await;
    third.until("/node/consensus", led).await;
    let written = second.put("/app/kv/m/after?wait=committed", "an election").await;
    assert_eq!(written.status(), StatusCode::OK, "{:?}", written.body());

    // It comes back as the node it was, and is retired.
    let peers = second.host.node.listen_addrs();
    let mut again = quick(&dir, &peers);
    again.service.redirect = true;
    let host = Host::with(dir, again, NodeKind::Full).await;
    let first = Service { host, gid: second.gid.clone() };
    first.until("/node/metrics", |shown| shown["role"] == "Follower").await;
    assert_eq!(first.id().await, gone);
    assert_eq!(first.get("/app/kv/m/after").await.body(), "an election");
    let sent = first.put("/app/kv/m/k?wait=committed", "elsewhere").await;
    assert_eq!(sent.status(), StatusCode::TEMPORARY_REDIRECT, "{:?}", sent.body());
    let location = sent.headers()[header::LOCATION].to_str().expect("visible");
    assert!(location.ends_with("/app/kv/m/k?wait=committed"), "{location}");
    let started = second.batch("/node/members", json!({ "remove": [gone] })).await;
    assert_eq!(started.status(), StatusCode::ACCEPTED, "{:?}", started.body());
    let removable =
        second.until("/node/network/removable_nodes", |shown| shown["nodes"][0].is_object()).await;
    assert_eq!(removable["nodes"][0]["node_id"], gone.as_str());
    let path = format!("/node/network/nodes/{gone}");
    let forgotten = second.call(Method::DELETE, &path, &[], Body::empty()).await;
    assert_eq!((forgotten.status(), &forgotten.body()[..]), (StatusCode::OK, &b"true"[..]));
    for service in [first, second, third] {
        service.host.stop().await;
    }
}
