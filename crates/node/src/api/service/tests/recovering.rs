//! A recovery that ends at any point is done again, to the same end.

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use quorate_ledger::ids::GroupId;
use tempfile::TempDir;

use super::{Service, quick, tx};
use crate::api::tests::{Host, config};
use crate::keystore::Keystore;
use crate::node::{Node, NodeKind};
use crate::service::{Recovered, Recovery, ServiceError, recover};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn keystore(dir: &TempDir) -> Arc<Keystore> {
    let config = config(dir, &[]);
    let password = crate::keystore::password_of(&config).expect("a password");
    let keystore = Keystore::open(config.keystore_dir(), &password, Some(2));
    Arc::new(keystore.expect("it opens"))
}

/// Recovers the group of a directory. Its threads must not run in the runtime.
async fn recovered(dir: &TempDir, group: GroupId) -> Result<Recovered, ServiceError> {
    let recovery = Recovery {
        group,
        dir: dir.path().join("groups").join(group.to_string()),
        keystore: keystore(dir),
        config: quick(dir, &[]).service,
        rpc_address: "127.0.0.1:8002".to_owned(),
    };
    tokio::task::spawn_blocking(move || recover(recovery)).await.expect("no panic")
}

async fn started(dir: TempDir, gid: &str) -> Service {
    let config = quick(&dir, &[]);
    let host = Host::with(dir, config, NodeKind::Full).await;
    let service = Service { host, gid: gid.to_owned() };
    service.open().await;
    service
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_may_end_anywhere_and_is_done_again() {
    let service = Service::start().await;
    let written = tx(&service.put("/app/kv/m/k?wait=committed", "v").await);
    let gid = service.gid.clone();
    let group: GroupId = gid.parse().expect("an id");
    let dir = service.host.stop().await;
    let log = dir.path().join("groups").join(&gid);
    let before = tempfile::tempdir().expect("a directory");
    copy(&log, before.path());
    let keys = keystore(&dir);
    let old = keys.service_keys(group).expect("reads").expect("keys");

    let first = recovered(&dir, group).await.expect("recovered");
    let new = keys.service_keys(group).expect("reads").expect("keys");
    assert_ne!(new.node_key, old.node_key);
    assert_eq!(keys.recovering_keys(group).expect("reads"), None);

    // It ended when the log was changed and the keystore was not: the node does not start, the
    // recovery goes on with the keys that it had drawn.
    keys.set_recovering_keys(group, &new).expect("written");
    keys.set_service_keys(group, &old).expect("written");
    let error = Node::start(quick(&dir, &[]), NodeKind::Full).await.expect_err("refused");
    assert!(error.to_string().contains("quorate recover"), "{error}");
    let again = recovered(&dir, group).await.expect("recovered");
    assert_eq!((&again.node_id, again.committed), (&first.node_id, first.committed));
    assert_eq!(again.service_certificate, first.service_certificate);
    assert_eq!(keys.service_keys(group).expect("reads").expect("keys").node_key, new.node_key);

    // It ended when the keys were drawn and nothing else was done.
    std::fs::remove_dir_all(&log).expect("removed");
    copy(before.path(), &log);
    keys.set_recovering_keys(group, &new).expect("written");
    keys.set_service_keys(group, &old).expect("written");
    let again = recovered(&dir, group).await.expect("recovered");
    assert_eq!((&again.node_id, again.committed), (&first.node_id, first.committed));

    // A ledger of before the recovery does not go with the keys of after it.
    let after = tempfile::tempdir().expect("a directory");
    copy(&log, after.path());
    std::fs::remove_dir_all(&log).expect("removed");
    copy(before.path(), &log);
    let error = recovered(&dir, group).await.expect_err("refused");
    assert!(matches!(error, ServiceError::OtherService { .. }), "{error}");
    assert_eq!(keys.recovering_keys(group).expect("reads"), None);
    assert_eq!(keys.service_keys(group).expect("reads").expect("keys").node_key, new.node_key);
    std::fs::remove_dir_all(&log).expect("removed");
    copy(after.path(), &log);

    // It ended when all was done but the tidying up: the node starts.
    keys.set_recovering_keys(group, &new).expect("written");
    drop(keys);
    let service = started(dir, &gid).await;
    assert_eq!(service.good("/node/state").await["node_id"], first.node_id);
    assert_eq!(service.get("/app/kv/m/k").await.body(), "v");
    let network = service.good("/node/network").await;
    assert_eq!(network["recovery_count"], 1);
    assert_eq!(network["service_certificate"], first.service_certificate.as_str());
    let receipt = service.good(&format!("/node/receipt?transaction_id={written}")).await;
    assert_eq!(receipt["service_endorsements"].as_array().map(Vec::len), Some(1));
    assert_eq!(service.put("/app/kv/m/l?wait=committed", "w").await.status(), StatusCode::OK);
    let dir = service.host.stop().await;
    assert_eq!(keystore(&dir).recovering_keys(group).expect("reads"), None);
}
