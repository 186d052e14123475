//! Ledger files and snapshots: served, kept elsewhere, cleaned up.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::hash::sha256;

use super::{Service, tx};
use crate::api::tests::{DEADLINE, Host, config};
use crate::node::NodeKind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_files_are_served_once_they_never_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(&dir, &[]);
    config.service.chunk_size = 1;
    config.service.snapshot_tx_count = 5;
    let host = Host::with(dir, config, NodeKind::Full).await;
    let (gid, _) = host.create_of("cft").await;
    let service = Service { host, gid };
    service.open().await;
    for n in 0..20 {
        service.put(&format!("/app/kv/m/{n}?wait=committed"), "v").await;
    }
    let found = service.get("/node/ledger_chunk?since=1").await;
    assert_eq!(found.status(), StatusCode::PERMANENT_REDIRECT, "{:?}", found.body());
    let location = found.headers()[header::LOCATION].to_str().expect("visible").to_owned();
    assert!(location.starts_with("/node/ledger_chunk/ledger_1-"), "{location}");
    let wants = [("want-repr-digest", "sha-256=10")];
    let file = service.call(Method::GET, &location, &wants, Body::empty()).await;
    assert_eq!(file.status(), StatusCode::OK);
    let digest = format!("sha-256=:{}:", STANDARD.encode(sha256(file.body()).0));
    assert_eq!(file.headers()["repr-digest"], digest);
    let tag = file.headers()[header::ETAG].to_str().expect("visible").to_owned();
    let range = [("range", "bytes=8-15")];
    let part = service.call(Method::GET, &location, &range, Body::empty()).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body(), &file.body()[8..16]);
    let head = service.call(Method::HEAD, &location, &wants, Body::empty()).await;
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    assert_eq!(head.headers()[header::CONTENT_LENGTH], file.body().len().to_string());
    assert_eq!(head.headers()[header::ACCEPT_RANGES], "bytes");
    assert_eq!(
        (&head.headers()["repr-digest"], &head.headers()[header::ETAG]),
        (&digest.parse().expect("a header"), &tag.parse().expect("a header"))
    );
    let found = service.call(Method::HEAD, "/node/ledger_chunk/?since=1", &[], Body::empty()).await;
    assert_eq!(found.headers()[header::LOCATION], location);
    let beyond = [("range", "bytes=999999-")];
    let beyond = service.call(Method::GET, &location, &beyond, Body::empty()).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let known = [("if-none-match", tag.as_str())];
    let same = service.call(Method::GET, &location, &known, Body::empty()).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    for path in [
        "/node/ledger_chunk?since=999999",
        "/node/ledger_chunk/ledger_1",
        "/node/ledger_chunk/..%2F..%2Fnodes.json",
        "/node/snapshot/..%2Fraft_0",
        "/node/snapshot?since=999999",
    ] {
        Service::is_error(&service.get(path).await, 404, "ResourceNotFound");
    }
    let found = service.get("/node/snapshot").await;
    assert_eq!(found.status(), StatusCode::PERMANENT_REDIRECT, "{:?}", found.body());
    let location = found.headers()[header::LOCATION].to_str().expect("visible").to_owned();
    let whole = service.get(&location).await;
    assert_eq!(whole.status(), StatusCode::OK);
    let part = service.call(Method::GET, &location, &[("range", "bytes=-7")], Body::empty()).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body(), &whole.body()[whole.body().len() - 7..]);
    service.host.stop().await;
}

fn committed(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let names = entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"));
    names.filter(|name| name.ends_with(".committed")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_elsewhere_is_removed_here_and_served_from_there() {
    let (dir, copies) = (tempfile::tempdir(), tempfile::tempdir());
    let (dir, copies) = (dir.expect("a directory"), copies.expect("a directory"));
    let mut config = config(&dir, &[]);
    config.service.election_timeout_ms = 1000;
    config.service.chunk_size = 1;
    config.service.snapshot_tx_count = 0;
    let host = Host::with(dir, config.clone(), NodeKind::Full).await;
    let (gid, _) = host.create_of("cft").await;
    let service = Service { host, gid };
    service.open().await;
    let written = service.put("/app/kv/m/first?wait=committed", "v").await;
    for n in 0..20 {
        service.put(&format!("/app/kv/m/{n}?wait=committed"), "v").await;
    }
    let receipt = format!("/node/receipt?transaction_id={}", tx(&written));
    let before = service.get(&receipt).await;
    assert_eq!(before.status(), StatusCode::OK);
    let gid = service.gid.clone();
    let dir = service.host.stop().await;
    let own = dir.path().join("groups").join(&gid).join("ledger");
    let there = copies.path().join(&gid);
    std::fs::create_dir(&there).expect("made");
    let names = committed(&own);
    assert!(names.len() > 3, "{names:?}");
    for name in &names {
        std::fs::copy(own.join(name), there.join(name)).expect("copied");
    }

    config.service.read_only_directories = vec![copies.path().to_owned()];
    config.service.files_cleanup.max_committed_ledger_chunks = Some(1);
    config.service.files_cleanup.interval_ms = 20;
    let host = Host::with(dir, config.clone(), NodeKind::Full).await;
    let service = Service { host, gid };
    let gone = async {
        while committed(&own)
            .iter()
            .any(|name| names.contains(name) && name.starts_with("ledger_1-"))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("what has a copy is removed");
    service.open().await;
    let found = service.get("/node/ledger_chunk?since=1").await;
    let location = found.headers()[header::LOCATION].to_str().expect("visible").to_owned();
    assert_eq!(service.get(&location).await.status(), StatusCode::OK);
    assert_eq!(service.get(&receipt).await.body(), before.body());
    assert_eq!(service.put("/app/kv/m/k?wait=committed", "v").await.status(), StatusCode::OK);
    let gid = service.gid.clone();
    let dir = service.host.stop().await;

    // It starts without the files it has there, and without that directory it says so.
    let host = Host::with(dir, config.clone(), NodeKind::Full).await;
    let service = Service { host, gid };
    service.open().await;
    assert_eq!(service.get("/app/kv/m/first").await.body(), "v");
    assert_eq!(service.get(&receipt).await.body(), before.body());
    assert_eq!(committed(&there).len(), names.len(), "nothing is written there");
    let dir = service.host.stop().await;
    config.service.read_only_directories = vec![copies.path().join("missing")];
    let error = crate::node::Node::start(config, NodeKind::Full).await.expect_err("refused");
    assert!(error.to_string().contains("read_only_directories"), "{error}");
    drop(dir);
}
