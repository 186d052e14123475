use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::front::Front;
use crate::config::{NodeConfig, Secret};
use crate::node::{Node, NodeKind};

/// A test that waits longer than this has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The seed URL of seed 001.
const SEED_001: &str = "rum://seed?v=1&e=0&n=0&c=jlHZ0yV07L7LjT03TILSL2ILwnfpsAMz44AyBy1MvS4&g=zZkc4n27Qi6fXKD1UuTYlg&k=AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B&s=6t5Ds-keygP8JwPG0i6V05RmNNu8IaRYU0-UTrVaMaRj2_ekgYf1rhUux5Z9_jwSEAyMAFY0hTmw7OyGVmJTAAA&t=F1eyqmr-x78&a=my_test_group&y=test_app&u=http%3A%2F%2F127.0.0.1%3A8002%3Fjwt%3DeyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhbGxvd0dyb3VwcyI6WyJjZDk5MWNlMi03ZGJiLTQyMmUtOWY1Yy1hMGY1NTJlNGQ4OTYiXSwiZXhwIjoxODM5Njg5NDMxLCJuYW1lIjoiYWxsb3ctY2Q5OTFjZTItN2RiYi00MjJlLTlmNWMtYTBmNTUyZTRkODk2Iiwicm9sZSI6Im5vZGUifQ.trc-OrMabglMDgZTSTMGcqOLqIPIsgsIr1_ddo5SVS0";

/// A node in a directory of its own, without a listener.
pub struct Host {
    pub node: Node,
    front: Front,
    pub dir: TempDir,
}

pub fn config(dir: &TempDir, peers: &[String]) -> NodeConfig {
    let mut config = NodeConfig { data_dir: dir.path().to_owned(), ..NodeConfig::default() };
    config.keystore.password = Some(Secret::new("password"));
    config.keystore.work_factor = Some(2);
    config.api.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.network.name = "test".to_owned();
    config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.network.bootstrap = peers.iter().map(|p| p.parse().expect("an address")).collect();
    config
}

impl Host {
    async fn start(peers: &[String]) -> Self {
        Self::open(tempfile::tempdir().expect("a directory"), peers, NodeKind::Full).await
    }

    async fn open(dir: TempDir, peers: &[String], kind: NodeKind) -> Self {
        let config = config(&dir, peers);
        Self::with(dir, config, kind).await
    }

    pub async fn with(dir: TempDir, config: NodeConfig, kind: NodeKind) -> Self {
        let node = Node::start(config, kind).await.expect("the node starts");
        let front = Front::new(node.clone());
        Self { node, front, dir }
    }

    /// The whole answer: status, headers, body.
    pub async fn call(&self, peer: [u8; 4], request: Request<Body>) -> Response<Bytes> {
        let lane = self.front.lane(SocketAddr::from((peer, 4000)));
        let (parts, body) = lane.oneshot(request).await.expect("infallible").into_parts();
        let body = to_bytes(body, 64 << 20).await.expect("a body");
        Response::from_parts(parts, body)
    }

    pub async fn send(&self, peer: [u8; 4], request: Request<Body>) -> (StatusCode, Value) {
        let response = self.call(peer, request).await;
        (response.status(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        // Bodies of GET are ignored, as the curl lines of seed 001 send them.
        let request = Request::get(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from("{}"))
            .expect("a request");
        self.send([127, 0, 0, 1], request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        self.send([127, 0, 0, 1], request).await
    }

    pub async fn good(&self, path: &str) -> Value {
        let (status, value) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn good_post(&self, path: &str, body: Value) -> Value {
        let (status, value) = self.post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn refused(&self, path: &str, body: Value, message: &str) {
        let (status, value) = self.post(path, body).await;
        assert_eq!((status.as_u16(), value["message"].as_str()), (400, Some(message)), "{value}");
        assert!(value["code"].is_string() && value["hint"].is_string());
    }

    async fn create(&self) -> (String, String) {
        self.create_of("poa").await
    }

    pub async fn create_of(&self, kind: &str) -> (String, String) {
        let body = json!({ "group_name": "my_test_group", "consensus_type": kind,
            "encryption_type": "public", "app_key": "test_app" });
        let made = self.good_post("/api/v1/group", body).await;
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        (text("group_id"), text("seed"))
    }

    /// Waits for a condition on an answer, looking again after every block of any group.
    async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let mut events = self.node.inner().events.subscribe();
        let wait = async {
            loop {
                let (status, value) = self.get(path).await;
                if status == StatusCode::OK && good(&value) {
                    return value;
                }
                // Not everything that changes an answer is a block.
                let _ = timeout(Duration::from_millis(100), events.recv()).await;
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{path} does not come"))
    }

    pub async fn stop(self) -> TempDir {
        self.node.shutdown().await.expect("stopped");
        self.dir
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[track_caller]
pub fn same_keys(value: &Value, expected: &[&str]) {
    assert_eq!(keys(value), expected.iter().copied().collect(), "{value}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_producer_walks_through_seed_001() {
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let path = |rest: &str| format!("/api/v1/group/{gid}/{rest}");
    let groups = host.good("/api/v1/groups").await;
    let group = &groups["groups"][0];
    let seed_keys = [
        "group_id",
        "group_name",
        "owner_pubkey",
        "user_pubkey",
        "user_eth_addr",
        "consensus_type",
        "encryption_type",
        "cipher_key",
        "app_key",
        "currt_top_block",
        "last_updated",
        "rex_syncer_status",
        "rex_Syncer_result",
    ];
    assert!(keys(group).is_superset(&seed_keys.into_iter().collect()), "{group}");
    assert_eq!(group["consensus_type"], "POA");
    assert_eq!(group["encryption_type"], "PUBLIC");
    assert_eq!(group["rex_syncer_status"], "IDLE");
    assert_eq!(group["currt_top_block"], 0);
    let owner = group["owner_pubkey"].clone();
    assert_eq!(group["user_pubkey"], owner);

    let announced = host.good(&path("announced/producers")).await;
    let item = &announced["producers"][0];
    same_keys(item, &["GroupId", "Content", "AnnouncerPubkey", "Hash", "Signature"]);
    same_keys(&item["Content"], &["Type", "SignPubkey", "EncryptPubkey", "Memo"]);
    assert_eq!(item["Content"]["Memo"], "owner announce as the first group producer");

    let proof = host.good(&path("consensus/proof/last")).await;
    same_keys(&proof, &["result", "req", "repononsed_producer"]);
    same_keys(
        &proof["req"],
        &[
            "ReqId",
            "GroupId",
            "ProducerPubkeyList",
            "TrxEpochTickLenInMs",
            "SenderPubkey",
            "MsgHash",
            "SenderSign",
        ],
    );
    assert_eq!(proof["result"], "SUCCESS");
    assert_eq!(proof["req"]["TrxEpochTickLenInMs"], 1000);
    assert_eq!(proof["repononsed_producer"], json!([owner]));

    for spelling in ["consensus", "consensus/"] {
        let consensus = host.good(&path(spelling)).await;
        let expected = [
            "producers",
            "trx_epoch_interval",
            "proof_req_id",
            "curr_epoch",
            "curr_block_id",
            "last_update",
        ];
        same_keys(&consensus, &expected);
        same_keys(&consensus["producers"][0], &["GroupId", "ProducerPubkey", "Memo"]);
        assert_eq!(
            consensus["producers"][0]["Memo"],
            "Owner Registated as the first group producer"
        );
        assert_eq!(consensus["proof_req_id"], proof["req"]["ReqId"]);
        assert_eq!(consensus["trx_epoch_interval"], 1000);
    }

    let posted = json!({ "type": "Note", "content": "hello <world> & others" });
    let answer = host.good_post(&path("content"), json!({ "data": posted })).await;
    let trx_id = answer["trx_id"].as_str().expect("an id").to_owned();
    let trx = host.until(&format!("/api/v1/trx/{gid}/{trx_id}"), |_| true).await;
    // Type 0 (POST) is left out, as everything that is its default.
    same_keys(
        &trx,
        &[
            "TrxId",
            "GroupId",
            "Data",
            "TimeStamp",
            "Version",
            "Expired",
            "SenderPubkey",
            "SenderSign",
        ],
    );
    assert!(trx["TimeStamp"].is_string() && trx["Expired"].is_number());
    let list = host.good(&format!("/app/api/v1/group/{gid}/content?num=20&reverse=False")).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    let data = STANDARD.decode(list[0]["Data"].as_str().expect("data")).expect("base64");
    assert_eq!(serde_json::from_slice::<Value>(&data).expect("JSON"), posted);

    let block = host.good(&format!("/api/v1/block/{gid}/1")).await;
    assert_eq!(block["Trxs"][0]["TrxId"], trx_id.as_str());
    assert_eq!(block["ProducerPubkey"], owner);
    let hash = STANDARD.decode(block["BlockHash"].as_str().expect("a hash")).expect("base64");
    assert_eq!(block["Quorate"]["hash"], hex::encode(&hash));
    assert!(block["Quorate"]["certificate"].is_object());
    let genesis = host.good(&format!("/api/v1/block/{gid}/0")).await;
    same_keys(&genesis, &["GroupId", "ProducerPubkey", "TimeStamp", "BlockHash", "ProducerSign"]);
    assert_eq!(block["PrevHash"], genesis["BlockHash"]);
    for (path, message) in [
        (format!("/api/v1/block/{gid}/99"), "Block not found"),
        (format!("/api/v1/trx/{gid}/00000000-0000-4000-8000-000000000000"), "Trx id not found"),
        (format!("/api/v1/trx/{gid}/nonsense"), "Trx id not found"),
        ("/api/v1/group/nonsense/consensus/".to_owned(), "Group not found"),
    ] {
        let (status, value) = host.get(&path).await;
        assert_eq!((status.as_u16(), value["message"].as_str()), (400, Some(message)));
    }
    for own in ["views", "genesis", "status", "certified/1"] {
        host.good(&path(own)).await;
    }
    let receipt = host.good(&path(&format!("receipt/{trx_id}"))).await;
    assert!(receipt["encoded"].is_string() && receipt["receipt"].is_object());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_consensus_ends_under_its_promised_id() {
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let path = |rest: &str| format!("/api/v1/group/{gid}/{rest}");
    let consensus = host.good(&path("consensus/")).await;
    let owner = consensus["producers"][0]["ProducerPubkey"].clone();
    // The spelling of the parameter list of seed 001.
    let body = json!({ "group_id": gid, "start_from_epoch": 10000, "trx_epoch_tick": 500,
        "agreement_tick_Length": 10000, "agreement_tick_count": 10, "producer_pubkey": [owner] });
    let started = host.good_post("/api/v1/group/updconsensus", body).await;
    same_keys(
        &started,
        &[
            "group_id",
            "Producers",
            "start_from_epoch",
            "trx_epoch_tick",
            "trx_id",
            "failable_producers",
            "memo",
        ],
    );
    assert_eq!(started["failable_producers"], 0);
    assert_eq!(started["memo"], "");
    let trx_id = started["trx_id"].as_str().expect("an id");
    let trx = host.until(&format!("/api/v1/trx/{gid}/{trx_id}"), |_| true).await;
    assert_eq!(trx["Type"], 2);
    let after =
        host.until(&path("consensus/"), |value| value["curr_epoch"].as_u64() >= Some(10000)).await;
    assert_eq!(after["trx_epoch_interval"], 500);
    same_keys(&after["producers"][0], &["GroupId", "ProducerPubkey", "ProofTrxId"]);
    assert_eq!(after["producers"][0]["ProofTrxId"], trx_id);
    let history = host.good(&path("consensus/proof/history")).await;
    let proofs = history["proofs"].as_array().expect("a list");
    assert_eq!(proofs.len(), 2);
    assert!(proofs[0]["req"].get("Nonce").is_none());
    assert_eq!(proofs[1]["req"]["Nonce"], 1);
    let last = host.good(&path("consensus/proof/last")).await;
    assert_eq!(last, proofs[1]);
    assert_eq!(after["proof_req_id"], last["req"]["ReqId"]);
    let req_id = last["req"]["ReqId"].as_str().expect("an id");
    let one = host.good(&path(&format!("consensus/proof/{req_id}"))).await;
    assert_eq!(one["resps"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["responsed_producer"], json!([owner]));
    // What the reference's client library reads before it changes anything.
    let genesis = proofs[0]["req"]["ReqId"].as_str().expect("an id");
    let genesis = host.good(&path(&format!("consensus/proof/{genesis}"))).await;
    assert_eq!(genesis["resps"][0]["Req"]["ProducerPubkeyList"], json!([owner]));
    let (status, _) = host.get(&path("consensus/proof/current")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updconsensus_checks_in_the_order_of_the_reference() {
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let owner = host.good("/api/v1/groups").await["groups"][0]["owner_pubkey"].clone();
    let path = "/api/v1/group/updconsensus";
    let mut body = json!({});
    for (field, value, message) in [
        ("group_id", json!(""), "group_id is a required field"),
        ("group_id", json!("x"), "group_id must be a valid version 4 UUID"),
        (
            "group_id",
            json!("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"),
            "start_from_epoch is a required field",
        ),
        ("start_from_epoch", json!(0), "start_from_epoch is a required field"),
        ("start_from_epoch", json!(1), "trx_epoch_tick is a required field"),
        ("trx_epoch_tick", json!(499), "agreement_tick_length is a required field"),
        ("agreement_tick_length", json!(999), "agreement_tick_count is a required field"),
        ("agreement_tick_count", json!(9), "producer_pubkey is a required field"),
        ("producer_pubkey", json!([]), "Group not found"),
        ("group_id", json!(gid), "producer pubkey list empty"),
        ("producer_pubkey", json!(["a", "a"]), "producer pubkey should be unique"),
        ("producer_pubkey", json!([owner, "a"]), "producer <a> is not announced"),
        (
            "producer_pubkey",
            json!([owner]),
            "agreement tick length should be greater than 1000(ms)",
        ),
        ("agreement_tick_length", json!(1000), "agreement tick count should be greater than 10"),
        ("agreement_tick_count", json!(10), "trx epoch tick length should be greater than 500(ms)"),
    ] {
        body[field] = value;
        host.refused(path, body.clone(), message).await;
    }
    body["trx_epoch_tick"] = json!(500);
    // All keys in another case.
    let upper: serde_json::Map<String, Value> = body
        .as_object()
        .expect("an object")
        .iter()
        .map(|(key, value)| (key.to_uppercase(), value.clone()))
        .collect();
    host.good_post(path, Value::Object(upper)).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_by_the_seed_of_seed_001_though_nobody_answers() {
    let host = Host::start(&[]).await;
    let path = "/api/v2/group/join";
    let altered = SEED_001.replace("t=F1eyqmr-x78", "t=F1eyqmr-x74");
    host.refused(
        path,
        json!({ "seed": altered }),
        "Join Group failed, verify genesis block failed",
    )
    .await;
    let joined = host.good_post(path, json!({ "Seed": SEED_001 })).await;
    same_keys(
        &joined,
        &[
            "group_id",
            "group_name",
            "owner_pubkey",
            "user_pubkey",
            "user_encryptpubkey",
            "consensus_type",
            "encryption_type",
            "cipher_key",
            "app_key",
            "signature",
        ],
    );
    let gid = "cd991ce2-7dbb-422e-9f5c-a0f552e4d896";
    for (key, value) in [
        ("group_id", gid),
        ("group_name", "my_test_group"),
        ("owner_pubkey", "AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B"),
        ("consensus_type", "poa"),
        ("encryption_type", "public"),
        ("cipher_key", "8e51d9d32574ecbecb8d3d374c82d22f620bc277e9b00333e38032072d4cbd2e"),
        ("app_key", "test_app"),
    ] {
        assert_eq!(joined[key], value);
    }
    assert_eq!(joined["signature"].as_str().map(str::len), Some(130));
    host.refused(
        path,
        json!({ "seed": SEED_001 }),
        &format!("group with group_id <{gid}> already exist"),
    )
    .await;
    let status = host.good(&format!("/api/v1/group/{gid}/status")).await;
    assert_eq!((&status["ready"], &status["head"]), (&json!(false), &json!(0)));
    let (code, value) = host.get(&format!("/api/v1/group/{gid}/consensus/proof/last")).await;
    assert_eq!((code.as_u16(), value["code"].as_str()), (503, Some("not_ready")));
    let seed = host.good(&format!("/api/v1/group/{gid}/seed?include_chain_url=false")).await;
    let given = seed["seed"].as_str().expect("a text");
    assert!(SEED_001.starts_with(given.trim_end_matches("&u=")), "{given}");

    let id = json!({ "group_id": gid });
    host.refused("/api/v1/group/clear", id.clone(), "Can not clear joined group").await;
    host.good_post("/api/v1/group/leave", id.clone()).await;
    host.refused("/api/v1/group/leave", id.clone(), &format!("group <{gid}> not exist")).await;
    assert_eq!(host.good("/api/v1/groups").await["groups"], json!([]));
    // Who joins again is the same member.
    let again = host.good_post(path, json!({ "seed": SEED_001 })).await;
    assert_eq!(again["user_pubkey"], joined["user_pubkey"]);
    host.good_post("/api/v1/group/leave", id.clone()).await;
    host.good_post("/api/v1/group/clear", id).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_address_and_tokens_decide_never_the_host_header() {
    let host = Host::start(&[]).await;
    let (gid, seed) = host.create().await;
    let jwt = seed.split("jwt%3D").nth(1).and_then(|rest| rest.split('&').next());
    let jwt = jwt.expect("a token in the seed").to_owned();
    let other = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    let trx = "00000000-0000-4000-8000-000000000000";
    for (path, token, expected) in [
        (format!("/api/v1/trx/{gid}/{trx}"), None, 401),
        (format!("/api/v1/trx/{gid}/{trx}"), Some("rubbish"), 401),
        (format!("/api/v1/trx/{gid}/{trx}"), Some(jwt.as_str()), 400),
        (format!("/api/v1/node/{gid}/groupctn"), Some(jwt.as_str()), 200),
        (format!("/api/v1/trx/{other}/{trx}"), Some(jwt.as_str()), 403),
        ("/api/v1/groups".to_owned(), Some(jwt.as_str()), 403),
        ("/api/quit".to_owned(), Some(jwt.as_str()), 403),
        ("/openapi.json".to_owned(), None, 200),
    ] {
        let mut request = Request::get(&path).header(header::HOST, "127.0.0.1");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).expect("a request");
        let (status, value) = host.send([192, 0, 2, 7], request).await;
        assert_eq!(status.as_u16(), expected, "{path} {token:?}: {value}");
    }
    let request = Request::get(format!("/api/v1/node/{gid}/info?jwt={jwt}"))
        .body(Body::empty())
        .expect("a request");
    let (status, info) = host.send([192, 0, 2, 7], request).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(info["GroupId"], gid.as_str());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_typed() {
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let content = format!("/api/v1/group/{gid}/content");
    let large =
        Request::post(&content).body(Body::from(vec![b' '; 2 * 1024 * 1024])).expect("a request");
    let (status, value) = host.send([127, 0, 0, 1], large).await;
    assert_eq!((status.as_u16(), value["code"].as_str()), (413, Some("body_too_large")));
    for (body, code) in [
        ("{", "invalid_body"),
        ("[]", "invalid_body"),
        ("{\"data\": 5}", "invalid_body"),
        ("{}", "invalid_request"),
    ] {
        let request = Request::post(&content).body(Body::from(body)).expect("a request");
        let (status, value) = host.send([127, 0, 0, 1], request).await;
        assert_eq!((status.as_u16(), value["code"].as_str()), (400, Some(code)), "{body}");
    }
    let long = "x".repeat(320 * 1024);
    host.refused(&content, json!({ "data": { "a": long } }), "content size over 200Kb").await;
    let (status, value) = host.get("/api/v1/nothing").await;
    assert_eq!((status.as_u16(), value["code"].as_str()), (404, Some("no_such_path")));
    let (status, value) = host.get("/api/v1/group/announce/").await;
    assert_eq!((status.as_u16(), value["code"].as_str()), (405, Some("method_not_allowed")));
    let (status, value) = host.post("/api/v1/groups", json!({})).await;
    assert_eq!((status.as_u16(), value["code"].as_str()), (405, Some("method_not_allowed")));
    for (body, message) in [
        (json!({}), "group_name is a required field"),
        (json!({ "group_name": "a" }), "group_name must be at least 2 characters in length"),
        (
            json!({ "group_name": "ab", "consensus_type": "x" }),
            "consensus_type must be one of [pos poa cft]",
        ),
        (
            json!({ "group_name": "ab", "consensus_type": "poa", "encryption_type": "x" }),
            "encryption_type must be one of [public private]",
        ),
        (
            json!({ "group_name": "ab", "consensus_type": "poa", "encryption_type": "public",
            "app_key": "abc" }),
            "app_key must be at least 4 characters in length",
        ),
        (
            json!({ "group_name": "ab", "consensus_type": "pos", "encryption_type": "public",
            "app_key": "abcd" }),
            "Other types of groups are not supported yet",
        ),
    ] {
        host.refused("/api/v1/group", body, message).await;
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_and_settings_are_the_owners() {
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let path = |rest: &str| format!("/api/v1/group/{gid}/{rest}");
    let auth = host.good(&path("trx/auth/post")).await;
    assert_eq!(auth, json!({ "TrxType": "POST", "AuthType": "FOLLOW_DNY_LIST" }));
    assert_eq!(host.good(&path("trx/denylist")).await, Value::Null);
    let chain = |kind: &str, config: Value| json!({ "group_id": gid, "type": kind, "config": config.to_string(), "memo": "m" });
    host.refused(
        "/api/v1/group/chainconfig",
        chain(
            "set_trx_auth_mode",
            json!({ "trx_type": "CONSENSUS", "trx_auth_mode": "follow_alw_list" }),
        ),
        "this trx type can not be configured",
    )
    .await;
    let stranger = "AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B";
    let deny = json!({ "action": "add", "pubkey": stranger, "trx_type": ["POST"] });
    let answer = host.good_post("/api/v1/group/chainconfig", chain("upd_dny_list", deny)).await;
    same_keys(&answer, &["group_id", "owner_pubkey", "signature", "trx_id"]);
    let mode = json!({ "trx_type": "announce", "trx_auth_mode": "follow_alw_list" });
    host.good_post("/api/v1/group/chainconfig", chain("set_trx_auth_mode", mode)).await;
    let denied = host.until(&path("trx/denylist"), |value| value.is_array()).await;
    assert_eq!(denied[0]["Pubkey"], stranger);
    assert_eq!(denied[0]["TrxType"], json!(["POST"]));
    host.until(&path("trx/auth/ANNOUNCE"), |value| value["AuthType"] == "FOLLOW_ALW_LIST").await;

    let app = |kind: &str, value: &str| json!({ "group_id": gid, "action": "add", "name": "limit", "type": kind, "value": value });
    host.refused("/api/v1/group/appconfig", app("int", "many"), "type/value mismatch").await;
    host.good_post("/api/v1/group/appconfig", app("int", "5")).await;
    let item = host.until(&path("appconfig/limit"), |_| true).await;
    assert_eq!((&item["Type"], &item["Value"]), (&json!("INT"), &json!("5")));
    let list = host.good(&path("appconfig/keylist")).await;
    assert_eq!(list, json!([{ "Name": "limit", "Type": "INT" }]));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_a_restart() {
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let content = format!("/api/v1/group/{gid}/content");
    let answer = host.good_post(&content, json!({ "data": { "n": 1 } })).await;
    let path = format!("/api/v1/trx/{gid}/{}", answer["trx_id"].as_str().expect("an id"));
    let before = host.until(&path, |_| true).await;
    let proof = host.good(&format!("/api/v1/group/{gid}/consensus/proof/last")).await;
    // Acknowledged a moment before the stop: ordered after the start.
    let late = host.good_post(&content, json!({ "data": { "n": 2 } })).await;
    let dir = host.stop().await;
    let host = Host::open(dir, &[], NodeKind::Full).await;
    assert_eq!(host.good(&path).await, before);
    assert_eq!(host.good(&format!("/api/v1/group/{gid}/consensus/proof/last")).await, proof);
    let late = late["trx_id"].as_str().expect("an id");
    host.until(&format!("/api/v1/trx/{gid}/{late}"), |_| true).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_a_group_and_become_its_producers() {
    let directory = tempfile::tempdir().expect("a directory");
    let bootstrap = Host::open(directory, &[], NodeKind::Bootstrap).await;
    assert_eq!(bootstrap.good("/api/v1/node").await["node_type"], "bootstrap");
    assert_eq!(bootstrap.get("/api/v1/groups").await.0, StatusCode::NOT_FOUND);
    let peers = bootstrap.node.listen_addrs();
    let owner = Host::start(&peers).await;
    let user = Host::start(&peers).await;
    let (gid, seed) = owner.create().await;
    let joined = user.good_post("/api/v2/group/join", json!({ "seed": seed })).await;
    let path = |rest: &str| format!("/api/v1/group/{gid}/{rest}");
    // The genesis proof is the same everywhere.
    let proof = user.until(&path("consensus/proof/last"), |_| true).await;
    assert_eq!(proof, owner.good(&path("consensus/proof/last")).await);
    // A post of the user, ordered by the owner, read by both.
    let post = user.good_post(&path("content"), json!({ "data": { "from": "user" } })).await;
    let trx_path = format!("/api/v1/trx/{gid}/{}", post["trx_id"].as_str().expect("an id"));
    let here = user.until(&trx_path, |_| true).await;
    assert_eq!(owner.until(&trx_path, |_| true).await, here);

    // The user announces itself, and both become producers.
    let key = joined["user_pubkey"].clone();
    let body = json!({ "group_id": gid, "action": "add", "type": "producer", "memo": "" });
    let announced = user.good_post("/api/v1/group/announce", body).await;
    assert_eq!(announced["type"], "AS_PRODUCER");
    assert_eq!(announced["action"], "ADD");
    assert_eq!(announced["sign_pubkey"], key);
    owner
        .until(&path("announced/producers"), |value| {
            value["producers"].as_array().is_some_and(|list| list.len() == 2)
        })
        .await;
    let change = json!({ "group_id": gid, "start_from_epoch": 100, "trx_epoch_tick": 500,
        "agreement_tick_length": 5000, "agreement_tick_count": 10,
        "producer_pubkey": [joined["owner_pubkey"], key] });
    let only_owner = user.post("/api/v1/group/updconsensus", change.clone()).await;
    assert_eq!(only_owner.1["message"], "Only group owner can do this");
    owner.good_post("/api/v1/group/updconsensus", change).await;
    for host in [&owner, &user] {
        let after = host
            .until(&path("consensus/"), |value| {
                value["producers"].as_array().is_some_and(|list| list.len() == 2)
            })
            .await;
        assert_eq!(after["trx_epoch_interval"], 500);
    }
    let post = user.good_post(&path("content"), json!({ "data": { "n": 2 } })).await;
    let trx_path = format!("/api/v1/trx/{gid}/{}", post["trx_id"].as_str().expect("an id"));
    let here = owner.until(&trx_path, |_| true).await;
    assert_eq!(user.until(&trx_path, |_| true).await, here);
    let top = owner.good(&path("status")).await["head"].clone();
    let block = format!("/api/v1/block/{gid}/{top}");
    let theirs = user.until(&block, |_| true).await;
    assert_eq!(owner.good(&block).await["BlockHash"], theirs["BlockHash"]);
    assert_eq!(
        owner.good(&path("consensus/proof/history")).await,
        user.good(&path("consensus/proof/history")).await
    );
    for host in [owner, user, bootstrap] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_lists_every_path_and_the_node_describes_itself() {
    let host = Host::start(&[]).await;
    let document = host.good("/openapi.json").await;
    let paths = document["paths"].as_object().expect("paths");
    let services = super::service::routes::endpoints();
    for endpoint in super::routes::endpoints(NodeKind::Full).into_iter().chain(services) {
        let path = endpoint.path.as_ref();
        let methods = paths.get(path).expect(path);
        let method = format!("{:?}", endpoint.method).to_lowercase();
        assert!(methods.get(&method).is_some(), "{method} {path}");
    }
    let node = host.good("/api/v1/node").await;
    assert_eq!(node["node_status"], "NODE_ONLINE");
    assert!(node["node_id"].as_str().is_some_and(|id| id.starts_with("16Uiu2HA")));
    let network = host.good("/api/v1/network").await;
    assert_eq!(network["peer_id"], node["node_id"]);
    let bad = host.post("/api/v1/network/peers", json!(["nonsense"])).await.1;
    assert_eq!((&bad["succ_count"], &bad["err_count"]), (&json!(0), &json!(1)));
    let key = "AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B";
    let address =
        host.good_post("/api/v1/tools/pubkeytoaddr", json!({ "encoded_pubkey": key })).await;
    assert_eq!(address["addr"], "0x38FE32733fD9855367a0148B4C7B00d99535FDb5");
    let seed = host.good_post("/api/v1/tools/seedurlextend", json!({ "seed": SEED_001 })).await;
    assert_eq!(seed["seed"]["group_name"], "my_test_group");
    assert_eq!(host.get("/metrics").await.0, StatusCode::OK);
    let quit = host.good("/api/quit").await;
    assert!(quit["message"].is_string());
    let why = timeout(DEADLINE, host.node.ended()).await.expect("the node shall end");
    assert_eq!(why, "GET /api/quit");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_every_trx_once() {
    use futures::StreamExt as _;
    let host = Host::start(&[]).await;
    let (gid, _) = host.create().await;
    let url = format!("ws://{}/api/v1/ws/trx", host.node.api_addr());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("connected");
    let mut sent = BTreeSet::new();
    for n in 0..5 {
        let path = format!("/api/v1/group/{gid}/content");
        let answer = host.good_post(&path, json!({ "data": { "n": n } })).await;
        sent.insert(answer["trx_id"].as_str().expect("an id").to_owned());
    }
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        let message = timeout(DEADLINE, socket.next()).await.expect("in time");
        let text = message.expect("open").expect("a message").into_text().expect("a text");
        let trx: Value = serde_json::from_str(&text).expect("JSON");
        seen.push(trx["TrxId"].as_str().expect("an id").to_owned());
    }
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), sent);
    host.node.shutdown().await.expect("stopped");
    let last = timeout(DEADLINE, socket.next()).await.expect("in time");
    assert!(matches!(last, Some(Ok(m)) if m.is_close()), "the watcher is told");
}
