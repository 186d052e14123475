//! Every path of the reference answers in its form, at both roots, with and without a slash behind.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Service, tx, value};
use crate::api::tests::same_keys;

/// What a member of an answer is.
#[derive(Clone, Copy, Debug)]
enum Is {
    Text,
    /// 64 hexadecimal digits.
    Id,
    /// `view.seqno`.
    Tx,
    Number,
    Flag,
    /// PEM of a certificate.
    Pem,
    Hex,
    Base64,
    /// A member of anything.
    Any,
    /// One of these texts.
    One(&'static [&'static str]),
    /// An object with these members and no others; those with a `?` behind may be missing.
    Object(&'static [(&'static str, Is)]),
    /// An object whose members are called by ids.
    Map(&'static Is),
    List(&'static Is),
    /// Or null.
    Null(&'static Is),
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2)
        && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn check(at: &str, value: &Value, is: Is) {
    let text = value.as_str().unwrap_or_default();
    let good = match is {
        Is::Any => true,
        Is::Text => value.is_string(),
        Is::Id => text.len() == 64 && is_hex(text),
        Is::Hex => value.is_string() && is_hex(text),
        Is::Tx => text.split_once('.').is_some_and(|(view, seqno)| {
            [view, seqno].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        }),
        Is::Number => value.is_u64(),
        Is::Flag => value.is_boolean(),
        Is::Pem => text.starts_with("-----BEGIN CERTIFICATE-----"),
        Is::Base64 => {
            use base64::Engine as _;
            !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        Is::One(texts) => texts.contains(&text),
        Is::Null(is) => {
            if !value.is_null() {
                check(at, value, *is);
            }
            true
        }
        Is::List(is) => {
            for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                check(&format!("{at}[{n}]"), item, *is);
            }
            value.is_array()
        }
        Is::Map(is) => {
            for (name, item) in value.as_object().into_iter().flatten() {
                check(at, &json!(name), Is::Id);
                check(&format!("{at}.{name}"), item, *is);
            }
            value.is_object()
        }
        Is::Object(members) => {
            for (name, is) in members {
                let name = name.strip_suffix('?').map_or((*name, true), |name| (name, false));
                match value.get(name.0) {
                    Some(member) => check(&format!("{at}.{}", name.0), member, *is),
                    None => assert!(!name.1, "{at} has no {}: {value}", name.0),
                }
            }
            let known = |name: &str| members.iter().any(|(of, _)| of.trim_end_matches('?') == name);
            let strange = value.as_object().into_iter().flatten().find(|(name, _)| !known(name));
            assert!(strange.is_none(), "{at} has {strange:?}");
            value.is_object()
        }
    };
    assert!(good, "{at} is no {is:?}: {value}");
}

const ADDRESS: Is = Is::Object(&[("address", Is::Text)]);
const CONFIGURATION: Is =
    Is::Object(&[("idx", Is::Number), ("nodes", Is::Map(&ADDRESS)), ("rid", Is::Number)]);
const ACK: Is = Is::Object(&[("seqno", Is::Number), ("last_received_ms", Is::Number)]);
const DETAILS: Is = Is::Object(&[
    ("configs", Is::List(&CONFIGURATION)),
    ("acks", Is::Map(&ACK)),
    ("membership_state", Is::One(&["Active", "Retired"])),
    ("leadership_state?", Is::One(&["Leader", "Follower", "PreVoteCandidate", "Candidate"])),
    ("retirement_phase?", Is::One(&["Ordered", "Signed", "Completed", "RetiredCommitted"])),
    ("primary_id", Is::Null(&Is::Id)),
    ("current_view", Is::Number),
    ("ticking", Is::Flag),
    ("reconfiguration_type?", Is::One(&["OneTransaction"])),
    ("learners?", Is::List(&Is::Id)),
]);
const CONSENSUS: Is = Is::Object(&[("details", DETAILS)]);
const STATUS: Is = Is::One(&["Opening", "Open", "WaitingForRecoveryShares", "Recovering"]);
const NETWORK: Is = Is::Object(&[
    ("service_status", STATUS),
    ("service_certificate", Is::Pem),
    ("current_view", Is::Number),
    ("primary_id", Is::Null(&Is::Id)),
    ("recovery_count", Is::Number),
    ("service_data", Is::Any),
    ("current_service_create_txid", Is::Tx),
    ("service_endorsements?", Is::List(&Is::Pem)),
]);
const NODE: Is = Is::Object(&[
    ("node_id", Is::Id),
    ("status", Is::One(&["Pending", "Trusted", "Retired"])),
    ("primary", Is::Flag),
    ("rpc_interfaces", Is::Any),
    ("node_data", Is::Any),
    ("last_written", Is::Number),
]);
const NODES: Is = Is::Object(&[("nodes", Is::List(&NODE))]);
const BLOCKED: Is = Is::Object(&[
    ("node_id", Is::Id),
    ("phase", Is::One(&["Ordered", "Signed", "Completed"])),
    ("reason", Is::Text),
]);
const REMOVABLE: Is = Is::Object(&[("nodes", Is::List(&NODE)), ("blocked", Is::List(&BLOCKED))]);
const COMMIT: Is = Is::Object(&[("transaction_id", Is::Tx)]);
const HISTORY: Is = Is::Object(&[("transaction_id", Is::Tx), ("view_history", Is::List(&Is::Tx))]);
const TX: Is = Is::Object(&[
    ("transaction_id", Is::Tx),
    ("status", Is::One(&["Unknown", "Pending", "Committed", "Invalid"])),
]);
const STEP: Is = Is::Object(&[("left?", Is::Hex), ("right?", Is::Hex)]);
const RECEIPT: Is = Is::Object(&[
    ("cert", Is::Pem),
    ("node_id", Is::Id),
    ("signature", Is::Base64),
    ("proof", Is::List(&STEP)),
    (
        "leaf_components",
        Is::Object(&[
            ("write_set_digest", Is::Hex),
            ("commit_evidence", Is::Text),
            ("claims_digest?", Is::Hex),
        ]),
    ),
    ("is_signature_transaction", Is::Flag),
    ("service_endorsements?", Is::List(&Is::Pem)),
]);
const STATE: Is = Is::Object(&[
    ("node_id", Is::Id),
    (
        "state",
        Is::One(&[
            "Uninitialized",
            "Initialized",
            "Pending",
            "PartOfNetwork",
            "ReadingPublicLedger",
            "PartOfPublicNetwork",
            "ReadingPrivateLedger",
        ]),
    ),
    ("last_signed_seqno", Is::Number),
    ("startup_seqno", Is::Number),
    ("stop_notice", Is::Flag),
    ("recovery_target_seqno?", Is::Number),
    ("last_recovered_seqno?", Is::Number),
]);
const MEMBER: Is = Is::Object(&[
    ("node_id", Is::Id),
    ("status", Is::Text),
    ("leader", Is::Flag),
    ("match", Is::Null(&Is::Number)),
    ("behind", Is::Null(&Is::Number)),
    ("address", Is::Text),
    ("peer_id", Is::Text),
    ("phase?", Is::Text),
]);
const MEMBERS: Is = Is::Object(&[
    ("nodes", Is::List(&MEMBER)),
    ("quorum", Is::Number),
    ("tolerates", Is::Number),
    ("change", Is::Any),
]);
const VERSION: Is = Is::Object(&[("ccf_version", Is::Text), ("version", Is::Text)]);

/// Paths, whether they take a query already, and what they answer.
const ANSWERS: [(&str, Is); 22] = [
    ("/node/consensus", CONSENSUS),
    ("/node/network", NETWORK),
    ("/node/network/nodes", NODES),
    ("/node/network/nodes?status=Trusted", NODES),
    ("/node/network/nodes/self", NODE),
    ("/node/network/nodes/primary", NODE),
    ("/node/network/nodes/ID", NODE),
    ("/node/network/removable_nodes", REMOVABLE),
    ("/node/commit", COMMIT),
    ("/app/commit", COMMIT),
    ("/node/commit?view_history=true", HISTORY),
    ("/node/commit?view_history_since=2", HISTORY),
    ("/node/tx?transaction_id=TX", TX),
    ("/app/tx?transaction_id=TX", TX),
    ("/node/tx?transaction_id=9.999", TX),
    ("/node/receipt?transaction_id=TX", RECEIPT),
    ("/app/receipt?transaction_id=TX", RECEIPT),
    ("/node/state", STATE),
    ("/node/version", VERSION),
    ("/node/members", MEMBERS),
    ("/node/api", Is::Any),
    ("/app/api", Is::Any),
];

/// Requests whose answers have no body, or one that is not JSON.
const EMPTY: [(Method, &str, u16); 7] = [
    (Method::GET, "/node/primary", 200),
    (Method::HEAD, "/node/primary", 200),
    (Method::GET, "/node/ready/app", 204),
    (Method::GET, "/node/ready/gov", 204),
    (Method::GET, "/node/receipt/cose?transaction_id=TX", 200),
    (Method::GET, "/node/metrics", 200),
    (Method::HEAD, "/node/network", 200),
];

/// Requests that are refused, and how.
const REFUSED: [(Method, &str, u16, &str); 17] = [
    (Method::GET, "/node/tx", 400, "InvalidQueryParameterValue"),
    (Method::GET, "/node/tx?transaction_id=2", 400, "InvalidQueryParameterValue"),
    (Method::GET, "/node/receipt?transaction_id=x", 400, "InvalidQueryParameterValue"),
    (Method::GET, "/node/receipt?transaction_id=2.99999", 404, "TransactionPendingOrUnknown"),
    (Method::GET, "/node/receipt?transaction_id=1.1", 404, "TransactionInvalid"),
    (Method::GET, "/node/receipt/cose?transaction_id=1.1", 404, "TransactionInvalid"),
    (Method::GET, "/node/commit?view_history_since=9", 404, "InvalidQueryParameterValue"),
    (Method::GET, "/node/commit?view_history=1", 400, "InvalidQueryParameterValue"),
    (Method::GET, "/node/network/nodes?status=Gone", 400, "InvalidQueryParameterValue"),
    (Method::GET, "/node/network/nodes/ffffffffff", 404, "ResourceNotFound"),
    (Method::DELETE, "/node/network/nodes/ffffffffff", 404, "ResourceNotFound"),
    (Method::DELETE, "/node/network/nodes/ID", 400, "NodeNotRetiredCommitted"),
    (Method::GET, "/node/ledger_chunk?since=x", 400, "InvalidQueryParameterValue"),
    (Method::GET, "/node/ledger_chunk?since=99999", 404, "ResourceNotFound"),
    (Method::GET, "/node/snapshot", 404, "ResourceNotFound"),
    (Method::GET, "/node/nothing", 404, "ResourceNotFound"),
    (Method::POST, "/node/network", 405, "MethodNotAllowed"),
];

/// The path at a root, with a slash behind it or not.
fn spelled(root: &str, path: &str, slash: bool) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let slash = if slash { "/" } else { "" };
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{root}{path}{slash}{mark}{query}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_answers_in_the_form_of_the_reference() {
    let service = Service::start().await;
    let written = tx(&service.put("/app/kv/m/k?wait=committed", "v").await);
    let id = service.good("/node/state").await["node_id"].as_str().expect("an id").to_owned();
    let group = format!("/api/v1/group/{}", service.gid);
    for (root, slash) in [("", false), ("", true), (&group, false), (&group, true)] {
        let at =
            |path: &str| spelled(root, &path.replace("ID", &id).replace("TX", &written), slash);
        for (path, is) in ANSWERS {
            let path = at(path);
            check(&path, &service.good(&path).await, is);
        }
        for (method, path, status) in EMPTY {
            let response = service.call(method, &at(path), &[], Body::empty()).await;
            assert_eq!(response.status().as_u16(), status, "{path}");
        }
        for (method, path, status, code) in REFUSED {
            let path = at(path);
            let response = service.call(method.clone(), &path, &[], Body::empty()).await;
            let error = value(&response)["error"].clone();
            let found = (response.status().as_u16(), error["code"].as_str());
            assert_eq!(found, (status, Some(code)), "{method} {path}: {error}");
            assert!(error["message"].is_string() && error["hint"].is_string(), "{path}: {error}");
        }
    }
    // A key with a slash is none; its map is listed with one.
    Service::is_error(&service.get("/app/kv/m/k/").await, 404, "ResourceNotFound");
    assert_eq!(service.get("/app/kv/m/").await.status(), StatusCode::OK);
    service.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_of_a_node_are_as_the_reference_says() {
    let service = Service::start().await;
    let group = format!("/api/v1/group/{}", service.gid);
    for root in ["", group.as_str()] {
        let at = |path: &str| format!("{root}{path}");
        let consensus = service.good(&at("/node/consensus")).await;
        let details = &consensus["details"];
        for key in ["configs", "acks", "membership_state", "primary_id", "current_view", "ticking"]
        {
            assert!(details.get(key).is_some(), "{key}: {details}");
        }
        assert_eq!(details["membership_state"], "Active");
        assert_eq!(details["leadership_state"], "Leader");
        assert_eq!(details["current_view"], 2);
        let id = details["primary_id"].as_str().expect("a leader").to_owned();
        assert_eq!(id.len(), 64);
        assert!(details["configs"][0]["nodes"][&id]["address"].is_string(), "{details}");

        let network = service.good(&at("/node/network")).await;
        assert_eq!(network["service_status"], "Open");
        assert_eq!(network["primary_id"], id.as_str());
        assert_eq!(network["recovery_count"], 0);
        assert_eq!(network["current_service_create_txid"], "2.1");
        let certificate = network["service_certificate"].as_str().expect("a certificate");
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));

        let nodes = service.good(&at("/node/network/nodes")).await;
        let node = &nodes["nodes"][0];
        same_keys(
            node,
            &["node_id", "status", "primary", "rpc_interfaces", "node_data", "last_written"],
        );
        assert_eq!(
            (&node["node_id"], &node["status"], &node["primary"]),
            (&json!(id), &json!("Trusted"), &json!(true))
        );
        for path in ["self", "primary", &id[..8], id.as_str()] {
            let one = service.good(&at(&format!("/node/network/nodes/{path}"))).await;
            assert_eq!(one["node_id"], id.as_str());
        }
        for (query, count) in
            [("status=Trusted", 1), ("status=Retired", 0), ("host=127.0.0.1", 1), ("port=1", 0)]
        {
            let found = service.good(&at(&format!("/node/network/nodes?{query}"))).await;
            assert_eq!(found["nodes"].as_array().map(Vec::len), Some(count), "{query}");
        }
        let removable = service.good(&at("/node/network/removable_nodes")).await;
        assert_eq!(removable, json!({ "nodes": [], "blocked": [] }));

        let state = service.good(&at("/node/state")).await;
        same_keys(
            &state,
            &["node_id", "state", "last_signed_seqno", "startup_seqno", "stop_notice"],
        );
        assert_eq!(
            (&state["state"], &state["stop_notice"]),
            (&json!("PartOfNetwork"), &json!(false))
        );
        assert_eq!(service.get(&at("/node/primary")).await.status(), StatusCode::OK);
        let head = service.call(Method::HEAD, &at("/node/primary"), &[], Body::empty()).await;
        assert_eq!(head.status(), StatusCode::OK);
        for path in ["/node/ready/app", "/node/ready/gov"] {
            assert_eq!(service.get(&at(path)).await.status(), StatusCode::NO_CONTENT);
        }
        assert!(service.good(&at("/node/version")).await["ccf_version"].is_string());
        assert_eq!(service.good(&at("/node/metrics")).await["leads"], true);
        assert!(service.good(&at("/node/api")).await["paths"]["/app/batch"].is_object());

        let members = service.good(&at("/node/members")).await;
        same_keys(&members, &["nodes", "quorum", "tolerates", "change"]);
        assert_eq!((&members["quorum"], &members["tolerates"]), (&json!(1), &json!(0)));
        assert_eq!(members["nodes"][0]["behind"], 0);
        assert_eq!(members["change"], Value::Null);
    }
    let id = service.good("/node/state").await["node_id"].as_str().expect("an id").to_owned();
    let path = format!("/node/network/nodes/{id}");
    let forget = service.call(Method::DELETE, &path, &[], Body::empty()).await;
    Service::is_error(&forget, 400, "NodeNotRetiredCommitted");
    let unknown = "0".repeat(64);
    let path = format!("/node/network/nodes/{unknown}");
    let forget = service.call(Method::DELETE, &path, &[], Body::empty()).await;
    Service::is_error(&forget, 404, "ResourceNotFound");
    let plan = service.batch("/node/members/plan", json!({ "remove": [id] })).await;
    let plan = value(&plan);
    assert_eq!((&plan["possible"], &plan["quorum_before"]), (&json!(false), &json!(1)), "{plan}");
    assert!(plan["reason"].is_string());
    let refused = service.batch("/node/members", json!({ "remove": [id] })).await;
    Service::is_error(&refused, 400, "LastQuorum");
    let refused = service.batch("/node/members", json!({ "add": [unknown] })).await;
    Service::is_error(&refused, 400, "UnknownNode");
    let refused = service.batch("/node/members", json!({})).await;
    Service::is_error(&refused, 400, "InvalidInput");
    let none = service.call(Method::DELETE, "/node/members/change", &[], Body::empty()).await;
    Service::is_error(&none, 404, "ResourceNotFound");
    service.host.stop().await;
}
