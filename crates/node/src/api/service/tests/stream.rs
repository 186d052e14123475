//! Streams, over a real connection.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{STANDARD, Service, value};
use crate::api::tests::{DEADLINE, same_keys};
use base64::Engine as _;

struct Stream(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Stream {
    async fn open(service: &Service, root: &str) -> Self {
        let url = format!("ws://{}{root}/app/stream", service.host.node.api_addr());
        Self(tokio_tungstenite::connect_async(url).await.expect("a stream").0)
    }

    async fn say(&mut self, text: String) {
        self.0.send(Message::text(text)).await.expect("sent");
    }

    async fn message(&mut self) -> Message {
        timeout(DEADLINE, self.0.next()).await.expect("in time").expect("open").expect("a message")
    }

    /// Sends requests in one message; the answers by id, in whatever messages they come.
    async fn ask(&mut self, requests: &[Value]) -> BTreeMap<u64, Value> {
        let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
        self.say(lines.join("\n")).await;
        let mut answers = BTreeMap::new();
        while answers.len() < requests.len() {
            for line in self.message().await.into_text().expect("a text").lines() {
                let answer: Value = serde_json::from_str(line).expect("JSON");
                let id = answer["id"].as_u64().expect("an id");
                assert!(answers.insert(id, answer).is_none(), "{id} is answered twice");
            }
        }
        answers
    }
}

fn put(id: u64, key: &str, text: &str) -> Value {
    let op = json!({ "op": "put", "map": "m", "key": key, "value": text });
    json!({ "id": id, "ops": [op], "wait": "committed" })
}

fn get(id: u64, key: &str) -> Value {
    json!({ "id": id, "ops": [{ "op": "get", "map": "m", "key": key }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_answers_every_request_by_its_id() {
    let service = Service::start().await;
    let mut stream = Stream::open(&service, "").await;
    let puts: Vec<Value> = (0..200).map(|n| put(n, &format!("k{n}"), &format!("v{n}"))).collect();
    for (id, answer) in stream.ask(&puts).await {
        same_keys(&answer, &["id", "transaction_id", "status", "results"]);
        assert_eq!((&answer["status"], &answer["results"]), (&json!("Committed"), &json!([{}])));
        let read = service.get(&format!("/app/kv/m/k{id}")).await;
        assert_eq!(read.body(), &format!("v{id}"));
    }
    let mut stream = Stream::open(&service, &format!("/api/v1/group/{}", service.gid)).await;
    let gets: Vec<Value> = (0..200).map(|n| get(n, &format!("k{n}"))).collect();
    for (id, answer) in stream.ask(&gets).await {
        same_keys(&answer, &["id", "transaction_id", "results"]);
        assert_eq!(answer["results"], json!([{ "value": format!("v{id}") }]));
    }
    let mut coded = get(7, "azE=");
    coded["encoding"] = json!("base64");
    coded["consistency"] = json!("local");
    assert_eq!(
        stream
            .ask(&[coded, get(8, "none")])
            .await
            .into_values()
            .collect::<Vec<_>>()
            .iter()
            .map(|answer| answer["results"][0]["value"].clone())
            .collect::<Vec<_>>(),
        [json!(STANDARD.encode("v1")), Value::Null]
    );
    service.host.stop().await;
    assert!(stream.message().await.is_close(), "the caller is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_a_request_that_fails() {
    let service = Service::start().await;
    let mut stream = Stream::open(&service, "").await;
    let with = |id: u64, field: &str, value: Value| {
        let mut request = put(id, "k", "v");
        request[field] = value;
        request
    };
    let cas = json!({ "op": "cas", "map": "m", "key": "k", "expected": "x", "value": "y" });
    let own = json!({ "op": "put", "map": "public:ccf.x", "key": "k", "value": "v" });
    let requests = [
        (with(1, "ops", json!([cas])), "PreconditionFailed", 412),
        (with(2, "ops", json!([own])), "Forbidden", 403),
        (with(3, "ops", json!([])), "InvalidInput", 400),
        (with(4, "ops", json!("all")), "InvalidInput", 400),
        (with(5, "wait", json!("soon")), "InvalidInput", 400),
        (with(6, "timeout_ms", json!(600_001)), "InvalidQueryParameterValue", 400),
        (with(7, "idempotency_key", json!("with space")), "InvalidHeaderValue", 400),
        (with(8, "session", json!("x")), "InvalidInput", 400),
        (with(9, "encoding", json!("hex")), "InvalidInput", 400),
    ];
    let said: Vec<Value> = requests.iter().map(|(request, ..)| request.clone()).collect();
    let answers = stream.ask(&said).await;
    for (request, code, status) in requests {
        let answer = &answers[&request["id"].as_u64().expect("an id")];
        let error = &answer["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)), "{answer}");
        assert!(error["message"].is_string() && error["hint"].is_string(), "{answer}");
    }
    stream.say("nonsense\n\n".to_owned()).await;
    let answer: Value =
        serde_json::from_str(stream.message().await.to_text().expect("a text")).expect("JSON");
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!("InvalidInput")));

    let named = with(10, "idempotency_key", json!("once"));
    let first = stream.ask(std::slice::from_ref(&named)).await;
    let again = stream.ask(&[named]).await;
    assert_eq!(first[&10]["transaction_id"], again[&10]["transaction_id"]);
    assert_eq!((first[&10].get("replayed"), &again[&10]["replayed"]), (None, &json!(true)));
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_limits() {
    let service = Service::start().await;
    let mut stream = Stream::open(&service, "").await;
    let gets: Vec<Value> = (0..5000).map(|n| get(n, "k")).collect();
    let answers = stream.ask(&gets).await;
    let refused = |answer: &&Value| answer["error"]["code"] == "TooManyPendingTransactions";
    assert_eq!(answers.values().filter(refused).count(), 5000 - 4096);
    assert!(answers[&4999]["error"]["hint"].is_string());
    assert_eq!(stream.ask(&[get(1, "k")]).await[&1]["results"], json!([{ "value": null }]));
    stream.say(" ".repeat(1024 * 1024 + 1)).await;
    let Message::Close(Some(close)) = stream.message().await else { panic!("it is not closed") };
    assert_eq!(close.code, CloseCode::Size);

    let plain = service.get("/app/stream").await;
    Service::is_error(&plain, 400, "InvalidInput");
    assert!(value(&plain)["error"]["hint"].as_str().is_some_and(|hint| hint.contains("websocket")));
    let upgrade = Request::builder().method(Method::GET).uri("/app/stream");
    let upgrade = upgrade.header("upgrade", "websocket").body(Body::empty()).expect("a request");
    let stranger = service.host.call([192, 0, 2, 1], upgrade).await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    service.host.stop().await;
}
