//! The API of a service of one node, on a real disk.

mod files;
mod nodes;
mod recovering;
mod schema;
mod stream;

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::tests::{DEADLINE, Host, config, same_keys};
use crate::config::{NodeConfig, Restart};
use crate::node::NodeKind;

const TX: &str = "x-ms-ccf-transaction-id";

struct Service {
    host: Host,
    gid: String,
}

async fn host() -> Host {
    near(&[]).await
}

/// A node that does not wait long for a leader.
async fn near(peers: &[String]) -> Host {
    let dir = tempfile::tempdir().expect("a directory");
    let config = quick(&dir, peers);
    Host::with(dir, config, NodeKind::Full).await
}

fn quick(dir: &TempDir, peers: &[String]) -> NodeConfig {
    let mut config = config(dir, peers);
    config.service.election_timeout_ms = 1000;
    config
}

fn value(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or(Value::Null)
}

fn tx(response: &Response<Bytes>) -> String {
    response.headers()[TX].to_str().expect("visible").to_owned()
}

impl Service {
    async fn start() -> Self {
        let host = host().await;
        let (gid, _) = host.create_of("cft").await;
        let service = Self { host, gid };
        service.open().await;
        service
    }

    /// Waits until the service is open and its first entries are committed.
    async fn open(&self) {
        let wait = async {
            while self.get("/node/ready/app").await.status() != StatusCode::NO_CONTENT {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the service opens");
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Body>,
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        self.host.call([127, 0, 0, 1], request).await
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.call(Method::GET, path, &[], Body::empty()).await
    }

    async fn put(&self, path: &str, body: &'static str) -> Response<Bytes> {
        self.call(Method::PUT, path, &[], body).await
    }

    async fn good(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}: {:?}", response.body());
        value(&response)
    }

    async fn batch(&self, path: &str, body: Value) -> Response<Bytes> {
        self.call(Method::POST, path, &[], body.to_string()).await
    }

    #[track_caller]
    fn is_error(response: &Response<Bytes>, status: u16, code: &str) {
        let shown = value(response);
        let error = &shown["error"];
        assert_eq!(
            (response.status().as_u16(), error["code"].as_str()),
            (status, Some(code)),
            "{shown}"
        );
        assert!(error["message"].is_string() && error["hint"].is_string(), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_written_read_and_removed_under_either_root() {
    let service = Service::start().await;
    let group = format!("/api/v1/group/{}/app/kv/public:m/k%00%ff", service.gid);
    let root = "/app/kv/public:m/k%00%ff";
    let written = service.put(&format!("{group}?wait=committed"), "one").await;
    assert_eq!(written.status(), StatusCode::OK, "{:?}", written.body());
    same_keys(&value(&written), &["transaction_id", "status"]);
    assert_eq!(value(&written)["status"], "Committed");
    assert_eq!(value(&written)["transaction_id"], tx(&written).as_str());
    for consistency in ["linearizable", "committed", "local"] {
        let read = service.get(&format!("{root}?consistency={consistency}")).await;
        assert_eq!((read.status(), &read.body()[..]), (StatusCode::OK, &b"one"[..]));
        assert_eq!(read.headers()[header::CONTENT_TYPE], "application/octet-stream");
        tx(&read);
    }
    let early = service.put(root, "two").await;
    let status = value(&early)["status"].clone();
    assert!(status == "Pending" || status == "Committed", "{status}");
    assert_eq!(service.get(&group).await.body(), "two");
    let removed = service.call(Method::DELETE, root, &[], Body::empty()).await;
    assert_eq!(removed.status(), StatusCode::OK);
    let gone = service.get(root).await;
    Service::is_error(&gone, 404, "ResourceNotFound");
    tx(&gone);
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_compare_and_repeated_ones_are_done_once() {
    let service = Service::start().await;
    let path = "/app/kv/m/k";
    assert_eq!(service.put("/app/kv/m/k?absent=true", "a").await.status(), StatusCode::OK);
    let refused = service.put("/app/kv/m/k?absent=true", "b").await;
    Service::is_error(&refused, 412, "PreconditionFailed");
    assert_eq!(value(&refused)["error"]["details"]["current"], STANDARD.encode("a"));
    let expected = |text: &str| format!("{path}?expected={}", URL_SAFE_NO_PAD.encode(text));
    let refused = service.put(&expected("x"), "b").await;
    Service::is_error(&refused, 412, "PreconditionFailed");
    assert_eq!(service.put(&expected("a"), "b").await.status(), StatusCode::OK);
    let refused = service.call(Method::DELETE, &expected("a"), &[], Body::empty()).await;
    Service::is_error(&refused, 412, "PreconditionFailed");
    assert_eq!(service.get(path).await.body(), "b");

    let named = [("idempotency-key", "once")];
    let first = service.call(Method::PUT, path, &named, "c").await;
    assert!(first.headers().get("x-quorate-replayed").is_none());
    let again = service.call(Method::PUT, path, &named, "c").await;
    assert_eq!(again.status(), StatusCode::OK, "{:?}", again.body());
    assert_eq!(again.headers()["x-quorate-replayed"], "true");
    assert_eq!(tx(&again), tx(&first));
    for bad in ["", "with space", &"x".repeat(65)] {
        let response = service.call(Method::PUT, path, &[("idempotency-key", bad)], "c").await;
        Service::is_error(&response, 400, "InvalidHeaderValue");
    }
    let response = service.call(Method::PUT, path, &[("x-quorate-session", "x")], "c").await;
    Service::is_error(&response, 400, "InvalidHeaderValue");
    let seen = tx(&first);
    let response = service.call(Method::PUT, path, &[("x-quorate-session", &seen)], "d").await;
    assert_eq!(response.status(), StatusCode::OK);
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_one_transaction_and_ranges_go_on_where_they_ended() {
    let service = Service::start().await;
    let put = |key: &str| json!({ "op": "put", "map": "m", "key": key, "value": key });
    let ops = json!([put("a"), put("b"), put("c"), { "op": "get", "map": "m", "key": "b" },
        { "op": "cas", "map": "m", "key": "d", "expected": null, "value": "d" }]);
    let done = service.batch("/app/batch?wait=committed", json!({ "ops": ops })).await;
    assert_eq!(done.status(), StatusCode::OK, "{:?}", done.body());
    let shown = value(&done);
    same_keys(&shown, &["transaction_id", "status", "results"]);
    assert_eq!(shown["results"], json!([{}, {}, {}, { "value": "b" }, {}]));
    let ops =
        json!([put("e"), { "op": "cas", "map": "m", "key": "a", "expected": "x", "value": "y" }]);
    let refused = service.batch("/app/batch", json!({ "ops": ops })).await;
    Service::is_error(&refused, 412, "PreconditionFailed");
    Service::is_error(&service.get("/app/kv/m/e").await, 404, "ResourceNotFound");

    let first = service.good("/app/kv/m?encoding=utf8&limit=3").await;
    let keys = |value: &Value| -> Vec<String> {
        let entries = value["entries"].as_array().expect("a list");
        entries.iter().map(|entry| entry["key"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(keys(&first), ["a", "b", "c"]);
    let next = first["next"].as_str().expect("there is more").replace('\0', "%00");
    let rest = service.good(&format!("/app/kv/m?encoding=utf8&from={next}")).await;
    assert_eq!((keys(&rest), &rest["next"]), (vec!["d".to_owned()], &Value::Null));
    let part = service.good("/app/kv/m?from=b&to=c").await;
    assert_eq!(
        part["entries"],
        json!([{ "key": STANDARD.encode("b"), "value": STANDARD.encode("b") }])
    );
    for bad in ["limit=0", "limit=1001", "limit=x", "consistency=strong"] {
        let response = service.get(&format!("/app/kv/m?{bad}")).await;
        Service::is_error(&response, 400, "InvalidQueryParameterValue");
    }
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_write_is_typed() {
    let service = Service::start().await;
    for (path, status, code) in [
        ("/app/kv/public:ccf.gov.nodes.info/k", 403, "Forbidden"),
        ("/app/kv/public:quorate.x/k", 403, "Forbidden"),
        ("/app/kv/%ff/k", 400, "InvalidInput"),
        ("/app/kv/m/k?wait=soon", 400, "InvalidQueryParameterValue"),
        ("/app/kv/m/k?timeout_ms=-1", 400, "InvalidQueryParameterValue"),
        ("/api/v1/group/nonsense/app/kv/m/k", 404, "ResourceNotFound"),
    ] {
        Service::is_error(&service.put(path, "v").await, status, code);
    }
    let large = vec![0_u8; 1024 * 1024 + 1];
    let response = service.call(Method::PUT, "/app/kv/m/k", &[], large).await;
    Service::is_error(&response, 413, "RequestBodyTooLarge");
    let response = service.call(Method::POST, "/app/kv/m/k", &[], Body::empty()).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    Service::is_error(&service.batch("/app/batch", json!({ "ops": 5 })).await, 400, "InvalidInput");
    let readable = service.get("/app/kv/public:ccf.gov.service.info?consistency=local").await;
    assert_eq!(readable.status(), StatusCode::OK);
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_have_a_status_and_a_receipt_that_does_not_change() {
    let service = Service::start().await;
    let written = service.put("/app/kv/m/k?wait=committed", "v").await;
    let id = tx(&written);
    let status = service.good(&format!("/node/tx?transaction_id={id}")).await;
    assert_eq!(status, json!({ "transaction_id": id, "status": "Committed" }));
    for (unknown, expected) in [("2.999999", "Unknown"), ("1.1", "Invalid"), ("0.1", "Invalid")] {
        let status = service.good(&format!("/app/tx?transaction_id={unknown}")).await;
        assert_eq!(status["status"], expected, "{unknown}");
    }
    for bad in ["", "2", "2.x", "-1.2", "2.18.3"] {
        let response = service.get(&format!("/node/tx?transaction_id={bad}")).await;
        Service::is_error(&response, 400, "InvalidQueryParameterValue");
    }
    let commit = service.good("/node/commit").await;
    same_keys(&commit, &["transaction_id"]);
    let history = service.good("/app/commit?view_history=true").await;
    assert_eq!(
        history["view_history"].as_array().and_then(|list| list.last()),
        Some(&json!("2.1"))
    );
    let response = service.get("/node/commit?view_history_since=9").await;
    Service::is_error(&response, 404, "InvalidQueryParameterValue");

    let path = format!("/node/receipt?transaction_id={id}");
    let receipt = service.get(&path).await;
    assert_eq!(receipt.status(), StatusCode::OK, "{:?}", receipt.body());
    let shown = value(&receipt);
    for key in
        ["cert", "node_id", "signature", "proof", "leaf_components", "is_signature_transaction"]
    {
        assert!(shown.get(key).is_some(), "{key}: {shown}");
    }
    same_keys(&shown["leaf_components"], &["write_set_digest", "commit_evidence", "claims_digest"]);
    for n in 0..3 {
        let path = format!("/app/kv/m/{n}?wait=committed");
        assert_eq!(service.put(&path, "v").await.status(), StatusCode::OK);
    }
    assert_eq!(service.get(&path).await.body(), receipt.body());
    let cose = service.get(&format!("/node/receipt/cose?transaction_id={id}")).await;
    assert_eq!(cose.headers()[header::CONTENT_TYPE], "application/cose");
    assert_eq!(cose.body()[0], 0xd2, "tag 18");
    let none = service.get("/node/receipt?transaction_id=2.999999").await;
    Service::is_error(&none, 404, "TransactionPendingOrUnknown");
    assert_eq!(none.headers()[header::CACHE_CONTROL], "no-cache");
    let none = service.get("/node/receipt?transaction_id=1.1").await;
    Service::is_error(&none, 404, "TransactionInvalid");
    let waits = "/node/receipt?transaction_id=2.999999&wait=committed&timeout_ms=1";
    let later = service.get(waits).await;
    assert_eq!(
        (later.status(), &later.headers()[header::RETRY_AFTER]),
        (StatusCode::ACCEPTED, &"1".parse().expect("a header"))
    );
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_of_groups_live_on_one_node() {
    let host = host().await;
    let none = host.get("/node/state").await;
    assert_eq!(
        (none.0.as_u16(), none.1["error"]["code"].as_str()),
        (404, Some("ResourceNotFound"))
    );
    let (gid, seed) = host.create_of("cft").await;
    let (other, _) = host.create_of("poa").await;
    let groups = host.good("/api/v1/groups").await;
    let kinds: Vec<&Value> = groups["groups"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|group| &group["consensus_type"])
        .collect();
    assert!(kinds.contains(&&json!("CFT")) && kinds.contains(&&json!("POA")));
    let one = host.good(&format!("/api/v1/group/{gid}")).await;
    assert_eq!(one["group_id"], gid.as_str());
    let status = host.good(&format!("/api/v1/group/{gid}/status")).await;
    assert_eq!((&status["ready"], &status["role"]), (&json!(true), &json!("Leader")));
    let given = host.good(&format!("/api/v1/group/{gid}/seed?include_chain_url=false")).await;
    let given = given["seed"].as_str().expect("a text").trim_end_matches("&u=");
    assert!(given.contains("n=3"), "{given}");
    assert!(seed.starts_with(given.split("&x=").next().expect("a part")), "{given}");
    for path in ["consensus", "views", "genesis", "announced/producers"] {
        let (code, shown) = host.get(&format!("/api/v1/group/{gid}/{path}")).await;
        assert_eq!(
            (code.as_u16(), shown["code"].as_str()),
            (400, Some("wrong_protocol")),
            "{path}"
        );
        assert!(shown["hint"].as_str().is_some_and(|hint| hint.contains("/app/")));
    }
    let body = json!({ "data": { "type": "Note" } });
    let (code, shown) = host.post(&format!("/api/v1/group/{gid}/content"), body).await;
    assert_eq!((code.as_u16(), shown["code"].as_str()), (400, Some("wrong_protocol")));
    let (code, shown) = host.get(&format!("/api/v1/group/{other}/node/state")).await;
    assert_eq!((code.as_u16(), shown["error"]["code"].as_str()), (400, Some("wrong_protocol")));

    let id = json!({ "group_id": gid });
    host.good_post("/api/v1/group/leave", id.clone()).await;
    let (code, _) = host.get(&format!("/api/v1/group/{gid}/node/state")).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    host.good_post("/api/v1/group/clear", id).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_need_a_token_and_one_of_the_group_reads_only() {
    let service = Service::start().await;
    let seed = service.host.good(&format!("/api/v1/group/{}/seed", service.gid)).await;
    let seed = seed["seed"].as_str().expect("a text").to_owned();
    let jwt = seed.split("jwt%3D").nth(1).and_then(|rest| rest.split('&').next()).expect("a token");
    service.put("/app/kv/m/k?wait=committed", "v").await;
    for (method, path, token, expected) in [
        (Method::GET, "/app/kv/m/k", None, 401),
        (Method::GET, "/app/kv/m/k", Some(jwt), 200),
        (Method::GET, "/node/commit", Some(jwt), 200),
        (Method::PUT, "/app/kv/m/k", Some(jwt), 403),
        (Method::POST, "/node/members", Some(jwt), 403),
        (Method::PUT, "/app/kv/m/k", Some("rubbish"), 401),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header");
            headers.insert(header::AUTHORIZATION, value);
        }
        let mut request = Request::builder().method(method.clone()).uri(path);
        *request.headers_mut().expect("good so far") = headers;
        let request = request.body(Body::empty()).expect("a request");
        let answer = service.host.call([192, 0, 2, 7], request).await;
        assert_eq!(answer.status().as_u16(), expected, "{method} {path}: {:?}", answer.body());
        if expected != 200 {
            assert!(value(&answer)["error"]["code"].is_string());
        }
    }
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_is_the_same_node_with_the_same_data() {
    let service = Service::start().await;
    let before = service.good("/node/state").await["node_id"].clone();
    let written = service.put("/app/kv/m/k?wait=committed", "v").await;
    let gid = service.gid.clone();
    let certificate = service.good("/node/network").await["service_certificate"].clone();
    let dir = service.host.stop().await;
    // The only member holds the only ledger: it never joins anew.
    let mut again = quick(&dir, &[]);
    again.service.restart = Restart::Rejoin;
    let host = Host::with(dir, again, NodeKind::Full).await;
    let service = Service { host, gid };
    service.open().await;
    assert_eq!(service.good("/node/state").await["node_id"], before);
    assert_eq!(service.good("/node/network").await["service_certificate"], certificate);
    assert_eq!(service.get("/app/kv/m/k").await.body(), "v");
    let status = service.good(&format!("/node/tx?transaction_id={}", tx(&written))).await;
    assert_eq!(status["status"], "Committed");
    assert_eq!(service.put("/app/kv/m/l?wait=committed", "v").await.status(), StatusCode::OK);
    service.host.stop().await;
}
