//! Signed-Raft groups on real processes: `kill -9` of the leader, all nodes replaced under load, and
//! what stays on the disks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_cli::api::ApiError;
use quorate_cli::cluster::{Cluster, Role, ServiceGroup};
use quorate_cli::commands::{seed, signed};
use quorate_cli::service::{Condition, Consistency, Service, TxStatus, WriteOptions};
use quorate_cli::wait::{Look, until};
use quorate_tests::{json_of, network, quorate, run};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(120);
const MAP: &str = "public:test";
const SETTINGS: [(&str, &str); 2] =
    [("service.election_timeout", "1000ms"), ("service.message_timeout", "100ms")];

async fn service_of(nodes: usize) -> (Cluster, ServiceGroup) {
    let mut cluster = network();
    cluster.set_settings(&SETTINGS);
    cluster.start_peers(nodes).await.expect("nodes start");
    let group = ServiceGroup::form(cluster.nodes(), "signed test").await.expect("a service forms");
    (cluster, group)
}

/// A write that was acknowledged as committed.
#[derive(Clone, Debug)]
struct Acknowledged {
    key: String,
    transaction: String,
}

/// Writes a new key again and again, each until it is committed, through whichever node answers.
struct Writer {
    done: watch::Receiver<Vec<Acknowledged>>,
    through: watch::Sender<Arc<[Service]>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(group: &ServiceGroup) -> Self {
        let (sender, done) = watch::channel(Vec::new());
        let (through, nodes) = watch::channel(services(group));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !*stopped.borrow() {
                let key = format!("key-{n:06}");
                let transaction = write(&nodes, &key, n).await;
                sender.send_modify(|done| done.push(Acknowledged { key, transaction }));
                n += 1;
            }
        });
        Self { done, through, stop, task }
    }

    /// From now on through the nodes of the group.
    fn goes_through(&self, group: &ServiceGroup) {
        self.through.send_replace(services(group));
    }

    /// Waits until so many more writes are acknowledged.
    async fn writes_more(&mut self, count: usize) {
        let wanted = self.done.borrow().len() + count;
        let more = self.done.wait_for(|done| done.len() >= wanted);
        tokio::time::timeout(LIMIT, more)
            .await
            .unwrap_or_else(|_| panic!("{count} more writes were not acknowledged in time"))
            .expect("the writer goes on");
    }

    async fn finish(self) -> Vec<Acknowledged> {
        self.stop.send_replace(true);
        tokio::time::timeout(LIMIT, self.task).await.expect("it ends").expect("no panic");
        self.done.borrow().clone()
    }
}

fn services(group: &ServiceGroup) -> Arc<[Service]> {
    group.nodes.iter().map(|n| n.service.clone()).collect()
}

/// Writes a key that must be absent, under a name of its own: were it done twice, the second time
/// would find the key.
async fn write(nodes: &watch::Receiver<Arc<[Service]>>, key: &str, n: usize) -> String {
    let options = WriteOptions {
        wait: Some(Duration::from_secs(2)),
        condition: Condition::Absent,
        idempotency: Some(format!("write-{n}")),
    };
    let value = format!("value of {key}").into_bytes();
    for turn in n.. {
        let nodes = nodes.borrow().clone();
        let service = &nodes[turn % nodes.len()];
        match service.put(MAP, key, value.clone(), &options).await {
            Ok(written) if written.status == TxStatus::Committed => return written.transaction_id,
            Err(ApiError::Refused { status: 412, .. }) => panic!("{key} was written twice"),
            // Not known yet, or no leader for now: the same again, elsewhere.
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    }
    unreachable!("turns do not end")
}

/// Nothing acknowledged is lost, and nothing is there that was not written.
async fn has_all(group: &ServiceGroup, done: &[Acknowledged]) {
    let transactions: BTreeSet<&String> = done.iter().map(|a| &a.transaction).collect();
    assert_eq!(transactions.len(), done.len(), "two writes have one transaction");
    for node in &group.nodes {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let consistency = Consistency::Linearizable;
            let listed = node.service.list(MAP, from.as_deref(), None, 1000, consistency).await;
            let listed = listed.expect("keys are listed");
            found.extend(listed.entries);
            match listed.next {
                Some(next) => from = Some(String::from_utf8(next).expect("our keys are text")),
                None => break,
            }
        }
        let expected: Vec<(Vec<u8>, Vec<u8>)> = done
            .iter()
            .map(|a| (a.key.clone().into_bytes(), format!("value of {}", a.key).into_bytes()))
            .collect();
        assert_eq!(found.len(), expected.len(), "keys on {}", node.name);
        assert_eq!(found, expected, "keys on {}", node.name);
        for write in [done.first(), done.last()].into_iter().flatten() {
            let status = node.service.tx(&write.transaction).await.expect("a status").status;
            assert_eq!(status, TxStatus::Committed, "{} on {}", write.transaction, node.name);
        }
    }
}

fn dir_of(cluster: &Cluster, name: &str, group: &ServiceGroup) -> PathBuf {
    cluster.node(name).dir().join("groups").join(&group.id)
}

/// Stops everything; every ledger holds down to the seed, `quorate verify ledger` says so too, and
/// committed files of one name are the same everywhere.
async fn disks_hold(mut cluster: Cluster, group: &ServiceGroup) {
    let names: Vec<&str> = group.nodes.iter().map(|n| n.name.as_str()).collect();
    group.level(&names).await.expect("all catch up");
    cluster.stop().await.expect("nodes stop");
    let anchor = seed::anchor(&group.seed).expect("the seed holds");
    let mut files = std::collections::BTreeMap::<String, (String, Vec<u8>)>::new();
    for name in names {
        let dir = dir_of(&cluster, name, group);
        let ledger = signed::read_ledger(&[&dir]).unwrap_or_else(|e| panic!("{name}: {e}"));
        ledger.belongs_to(&anchor).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(ledger.signatures > 1, "{ledger:?}");
        let path = dir.to_str().expect("a path");
        let output =
            quorate(&["verify", "ledger", path, "--seed", &group.seed, "--output", "json"]);
        let value = json_of(&output);
        assert_eq!(value["ok"], true, "{value}");
        assert_eq!(value["root"], ledger.root.as_str());
        for entry in std::fs::read_dir(dir.join("ledger")).expect("a ledger") {
            let entry = entry.expect("an entry");
            let file = entry.file_name().to_string_lossy().into_owned();
            if !file.ends_with(".committed") {
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("a file");
            let (first, known) =
                files.entry(file.clone()).or_insert_with(|| (name.to_owned(), bytes.clone()));
            assert!(*known == bytes, "{file} differs on {first} and {name}");
        }
    }
}

#[test]
fn a_killed_leader_costs_no_write() {
    run(async {
        let (mut cluster, group) = service_of(3).await;
        let mut writer = Writer::start(&group);
        for _ in 0..2 {
            writer.writes_more(20).await;
            let leader = group.leader().await.expect("a leader").name.clone();
            cluster.node_mut(&leader).kill();
            writer.writes_more(20).await;
            let node = cluster.node_mut(&leader);
            node.start().expect("it starts again");
            node.ready().await.expect("it is ready");
            group.trusted(3).await.expect("it is as before");
        }
        let done = writer.finish().await;
        has_all(&group, &done).await;
        disks_hold(cluster, &group).await;
    });
}

#[test]
fn all_nodes_are_replaced_under_load() {
    run(async {
        let (mut cluster, mut group) = service_of(3).await;
        let mut writer = Writer::start(&group);
        for (old, new) in [("p1", "p4"), ("p2", "p5"), ("p3", "p6")] {
            writer.writes_more(20).await;
            cluster.spawn(new, Role::Producer).expect("a node starts");
            cluster.ready().await.expect("it is ready");
            group.join(cluster.node(new)).await.expect("it joins");
            group.change(&[new], &[old]).await.expect("one for the other");
            let gone = group.node(old).node_id.clone();
            group.forget(old);
            writer.goes_through(&group);
            until("the old node being removable", LIMIT, || async {
                let leader = group.leader().await.expect("a leader");
                match leader.service.removable().await {
                    Ok(list) if list["nodes"].to_string().contains(&gone) => Look::Done(()),
                    Ok(list) => Look::NotYet(list.to_string()),
                    Err(error) => Look::NotYet(error.to_string()),
                }
            })
            .await
            .expect("a node that left may be shut down");
            cluster.node_mut(old).stop().await.expect("it stops");
        }
        writer.writes_more(20).await;
        let done = writer.finish().await;
        has_all(&group, &done).await;
        disks_hold(cluster, &group).await;
    });
}

#[test]
fn a_node_that_rejoins_is_another_one_and_takes_its_own_place() {
    run(async {
        let mut cluster = network();
        cluster.set_settings(&SETTINGS);
        cluster.start_peers(2).await.expect("nodes start");
        let [election, message] = SETTINGS;
        cluster.set_settings(&[election, message, ("service.restart", "rejoin")]);
        cluster.spawn("p3", Role::Producer).expect("a node starts");
        cluster.ready().await.expect("it is ready");
        let group = ServiceGroup::form(cluster.nodes(), "rejoining").await;
        let mut group = group.expect("a service forms");
        let mut writer = Writer::start(&group);
        writer.writes_more(20).await;
        let old = group.node("p3").node_id.clone();
        cluster.node_mut("p3").kill();
        writer.writes_more(20).await;
        let node = cluster.node_mut("p3");
        node.start().expect("it starts again");
        node.ready().await.expect("it is ready");
        group.rejoin(cluster.node("p3")).await.expect("it asks to join");
        let new = group.node("p3").node_id.clone();
        assert_ne!(new, old, "it has another key");
        let aside = dir_of(&cluster, "p3", &group).with_extension(&old[..8]);
        assert!(aside.is_dir(), "its old log is put aside: {}", aside.display());
        let status = |members: &quorate_cli::service::Members, id: &str| {
            let node = members.nodes.iter().find(|node| node.node_id == id);
            node.map(|node| node.status.clone()).unwrap_or_default()
        };
        let members = group.members().await.expect("members");
        assert_eq!(
            (status(&members, &old).as_str(), status(&members, &new).as_str()),
            ("Trusted", "Pending")
        );

        let api = cluster.node("p1").info().api.clone();
        let (from, to) = (&old[..12], &new[..12]);
        let replace = ["member", "replace", from, to, "--yes", "--group", &group.id, "--api", &api];
        let output = quorate(&[&replace[..], &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", json_of(&output));
        let members = group.trusted(3).await.expect("as many as before");
        assert_eq!(status(&members, &new), "Trusted");
        writer.writes_more(20).await;
        let done = writer.finish().await;
        until("the old node being removable", LIMIT, || async {
            let leader = group.leader().await.expect("a leader");
            match leader.service.removable().await {
                Ok(list) if list["nodes"].to_string().contains(&old) => Look::Done(()),
                Ok(list) => Look::NotYet(list.to_string()),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await
        .expect("nobody needs the old one");
        has_all(&group, &done).await;
        disks_hold(cluster, &group).await;
    });
}

#[test]
fn a_lost_quorum_is_recovered_from_one_directory() {
    run(async {
        let (mut cluster, mut group) = service_of(3).await;
        let mut writer = Writer::start(&group);
        writer.writes_more(20).await;
        let done = writer.finish().await;
        let last = done.last().expect("writes").transaction.clone();
        let service = group.node("p1").service.clone();
        let receipt = until("a receipt", LIMIT, || async {
            quorate_cli::wait::look(service.receipt(&last).await)
        })
        .await
        .expect("a committed write has a receipt");
        group.level(&["p1", "p2", "p3"]).await.expect("all have it");
        for name in ["p1", "p2", "p3"] {
            cluster.node_mut(name).kill();
        }
        let data = cluster.node("p2").dir().to_str().expect("a path").to_owned();
        let password = cluster.dir().join("password");
        std::fs::write(&password, cluster.password()).expect("a file");
        let recover = |how: &str| {
            let password = password.to_str().expect("a path");
            let output = quorate(&[
                "recover",
                "--data-dir",
                &data,
                "--password-file",
                password,
                how,
                "--output",
                "json",
            ]);
            (output.status.success(), json_of(&output))
        };
        let (ok, plan) = recover("--dry-run");
        assert!(ok, "{plan}");
        let before = signed::read_ledger(&[dir_of(&cluster, "p2", &group)]).expect("a ledger");
        assert_eq!(plan["keeps_up_to"], before.signed.to_string());
        let (ok, recovered) = recover("--yes");
        assert!(ok, "{recovered}");
        let after = signed::read_ledger(&[dir_of(&cluster, "p2", &group)]).expect("a ledger");
        assert_eq!(after.last.view, before.last.view + 2);
        assert_ne!(after.service_certificate, before.service_certificate);
        assert_eq!(after.unsigned(), 0);
        // The old service handed over to the new one: the seed proves both.
        let anchor = seed::anchor(&group.seed).expect("the seed holds");
        assert!(matches!(after.recoveries[..], [signed::Recovery { handed_over: true, .. }]));
        after.belongs_to(&anchor).expect("from the owner to the new service");
        let mut forged = signed::read_ledger(&[dir_of(&cluster, "p2", &group)]).expect("a ledger");
        forged.recoveries[0].handed_over = false;
        let error = forged.belongs_to(&anchor).expect_err("somebody else's service");
        assert!(error.to_string().contains("has not signed its new certificate"), "{error}");

        // It goes on, with all that was committed.
        let node = cluster.node_mut("p2");
        node.start().expect("it starts");
        node.ready().await.expect("it is ready");
        group.forget("p1");
        group.forget("p3");
        // It is another node now, under its old name.
        let id = recovered["node_id"].as_str().expect("an id");
        assert_ne!(group.nodes[0].node_id, id);
        id.clone_into(&mut group.nodes[0].node_id);
        group.trusted(1).await.expect("it is alone");
        group.leader().await.expect("it leads");
        has_all(&group, &done).await;
        let service = group.node("p2").service.clone();
        let options = WriteOptions::default();
        let written = service.put(MAP, "after", b"x".to_vec(), &options).await.expect("a write");
        assert_eq!(written.status, TxStatus::Committed);

        // An old receipt holds by the old certificate as it was, and by the new one as it is given
        // now.
        let old = cluster.dir().join("old.pem");
        std::fs::write(&old, &before.service_certificate).expect("a file");
        let bytes = serde_json::to_vec(&receipt).expect("JSON");
        signed::receipt(&bytes, Some(&old)).expect("the old receipt holds");
        let again = until("the receipt again", LIMIT, || async {
            quorate_cli::wait::look(service.receipt(&last).await)
        })
        .await
        .expect("an old write still has a receipt");
        let new = cluster.dir().join("new.pem");
        std::fs::write(&new, &after.service_certificate).expect("a file");
        let bytes = serde_json::to_vec(&again).expect("JSON");
        signed::receipt(&bytes, Some(&new)).expect("the old write is the new service's, too");
    });
}

#[test]
fn dev_of_a_service_completes() {
    let tmp = tempfile::tempdir().expect("a directory");
    let keep = tmp.path().join("kept");
    let keep = keep.to_str().expect("a path");
    let output = quorate(&[
        "dev",
        "--protocol",
        "cft",
        "--nodes",
        "3",
        "--exit",
        "--keep",
        keep,
        "--output",
        "json",
    ]);
    let value = json_of(&output);
    assert!(output.status.success(), "{value}\n{}", String::from_utf8_lossy(&output.stderr));
    let steps = value["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["ok"] == true), "{value}");
    let names: Vec<&str> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
    for step in ["first-commit", "add-members", "verify-receipts", "kill-leader", "verify-ledgers"]
    {
        assert!(names.contains(&step), "{step} is missing in {names:?}");
    }
    assert_eq!(value["receipts_verified"], true);
    assert_eq!(value["same_ledger_on_all"], true);
}
