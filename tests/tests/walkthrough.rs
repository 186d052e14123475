//! The walk-through of seed 001 ("Single producer", "Single producer with multiple user node"), step
//! by step, on real processes, with the bodies that its `curl` lines send.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_cli::cluster::{Cluster, Group, NodeProcess, Role};
use quorate_cli::wait::{Look, until};
use quorate_tests::{network, run, vectors};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// `curl -X GET -H 'Content-Type: application/json' -d BODY URL`: the seed sends bodies with GET,
/// which mean nothing.
async fn get(node: &NodeProcess, path: &str, body: &'static str) -> (u16, Value) {
    let request = reqwest::Client::new()
        .get(format!("{}{path}", node.info().api))
        .header("Content-Type", "application/json")
        .body(body);
    let response = request.send().await.expect("the node answers");
    let status = response.status().as_u16();
    (status, response.json().await.expect("every answer is JSON"))
}

async fn ok(node: &NodeProcess, path: &str, body: &'static str) -> Value {
    let (status, value) = get(node, path, body).await;
    assert_eq!(status, 200, "{path}: {value}");
    value
}

async fn post(node: &NodeProcess, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}{path}", node.info().api)).json(body);
    let response = request.send().await.expect("the node answers");
    let status = response.status().as_u16();
    (status, response.json().await.expect("every answer is JSON"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn names(list: &[&'static str]) -> BTreeSet<&'static str> {
    list.iter().copied().collect()
}

const REQUEST_KEYS: [&str; 7] = [
    "ReqId",
    "GroupId",
    "ProducerPubkeyList",
    "TrxEpochTickLenInMs",
    "SenderPubkey",
    "MsgHash",
    "SenderSign",
];

/// After a group was created: the owner is announced, the genesis proof and configuration exist.
async fn check_created(node: &NodeProcess, group: &Group) {
    let (id, owner) = (&group.id, &group.owner().key);
    let announced = ok(node, &format!("/api/v1/group/{id}/announced/producers"), "").await;
    let items = announced["producers"].as_array().expect("a list of producers");
    assert_eq!(items.len(), 1);
    let item = &items[0];
    let item_keys = ["GroupId", "Content", "AnnouncerPubkey", "Hash", "Signature"];
    assert_eq!(keys(item), names(&item_keys), "no Action: 0 is left out");
    assert_eq!(keys(&item["Content"]), names(&["Type", "SignPubkey", "EncryptPubkey", "Memo"]));
    assert_eq!(item["Content"]["Type"], 1);
    assert_eq!(item["Content"]["SignPubkey"], json!(owner));
    assert_eq!(item["Content"]["Memo"], "owner announce as the first group producer");
    assert_eq!(item["AnnouncerPubkey"], json!(owner));

    let last = ok(node, &format!("/api/v1/group/{id}/consensus/proof/last"), "{}").await;
    assert_eq!(keys(&last), names(&["result", "req", "repononsed_producer"]));
    assert_eq!(last["result"], "SUCCESS");
    assert_eq!(keys(&last["req"]), names(&REQUEST_KEYS), "no Nonce: 0 is left out");
    assert_eq!(last["req"]["GroupId"], json!(id));
    assert_eq!(last["req"]["ProducerPubkeyList"], json!([owner]));
    assert_eq!(last["req"]["TrxEpochTickLenInMs"], 1000);
    assert_eq!(last["req"]["SenderPubkey"], json!(owner));
    assert_eq!(last["repononsed_producer"], json!([owner]));

    let now = ok(node, &format!("/api/v1/group/{id}/consensus/"), "{}").await;
    let example = &vectors()["rest_examples"]["consensus_before"];
    assert_eq!(keys(&now), keys(example));
    assert_eq!(keys(&now["producers"][0]), keys(&example["producers"][0]));
    assert_eq!(now["producers"][0]["Memo"], example["producers"][0]["Memo"]);
    assert_eq!(now["producers"][0]["ProducerPubkey"], json!(owner));
    assert_eq!(now["trx_epoch_interval"], 1000);
    assert_eq!(now["proof_req_id"], last["req"]["ReqId"]);
    assert_eq!(now["curr_block_id"], 0);
    assert!(now["last_update"].is_i64(), "a number of nanoseconds");
    let without = ok(node, &format!("/api/v1/group/{id}/consensus"), "").await;
    assert_eq!(keys(&without), keys(&now), "the path works without its last slash");

    let history = ok(node, &format!("/api/v1/group/{id}/consensus/proof/history"), "{}").await;
    assert_eq!(history["proofs"].as_array().map(Vec::len), Some(1));
    assert_eq!(history["proofs"][0], last);
}

/// Group info is not consensus info.
async fn check_groups(node: &NodeProcess, group: &Group) {
    let groups = ok(node, "/api/v1/groups", "{}").await;
    let example = &vectors()["rest_examples"]["groups_item"];
    let mut items = groups["groups"].as_array().expect("a list of groups").iter();
    let item = items.find(|g| g["group_id"] == json!(group.id)).expect("the group is listed");
    for key in keys(example) {
        assert!(item.get(key).is_some(), "{key} is missing in groups");
    }
    assert_eq!(item["owner_pubkey"], json!(group.owner().key));
    assert_eq!(item["consensus_type"], "POA");
    assert_eq!(item["encryption_type"], "PUBLIC");
    assert_eq!(item["rex_syncer_status"], "IDLE");
    assert_eq!(item["rex_Syncer_result"], Value::Null);
    assert!(item.get("current_epoch").is_none(), "moved to the consensus info");
}

/// The change of the example, through the owner's node; the id of its trx.
async fn change(owner: &NodeProcess, group: &Group) -> String {
    let mut body = vectors()["rest_examples"]["updconsensus"]["request"].clone();
    body["group_id"] = json!(group.id);
    body["producer_pubkey"] = json!([group.owner().key]);
    let (status, answer) = post(owner, "/api/v1/group/updconsensus", &body).await;
    assert_eq!(status, 200, "{answer}");
    let example = &vectors()["rest_examples"]["updconsensus"]["response"];
    assert_eq!(keys(&answer), keys(example));
    assert_eq!(answer["group_id"], json!(group.id));
    assert_eq!(answer["Producers"], json!([group.owner().key]));
    for key in ["start_from_epoch", "trx_epoch_tick", "failable_producers", "memo"] {
        assert_eq!(answer[key], example[key], "{key}");
    }
    answer["trx_id"].as_str().expect("a trx id").to_owned()
}

/// What every node of the group must say after the change.
async fn check_changed(node: &NodeProcess, group: &Group, trx_id: &str) -> Vec<Value> {
    let id = &group.id;
    let path = format!("/api/v1/trx/{id}/{trx_id}");
    let trx = until(&format!("the CONSENSUS trx on {}", node.name()), LIMIT, || async {
        match get(node, &path, "{}").await {
            (200, trx) => Look::Done(trx),
            (status, value) => Look::NotYet(format!("{status} {value}")),
        }
    })
    .await
    .expect("the trx is packaged");
    let trx_keys = [
        "TrxId",
        "Type",
        "GroupId",
        "Data",
        "TimeStamp",
        "Version",
        "Expired",
        "SenderPubkey",
        "SenderSign",
    ];
    assert_eq!(keys(&trx), names(&trx_keys));
    assert_eq!(trx["TrxId"], json!(trx_id));
    assert_eq!(trx["Type"], 2);
    assert_eq!(trx["Version"], "2.0.0");
    assert_eq!(trx["SenderPubkey"], json!(group.owner().key));
    assert!(trx["TimeStamp"].is_string() && trx["Expired"].is_i64());

    let path = format!("/api/v1/group/{id}/consensus/");
    let now = until(&format!("the new configuration on {}", node.name()), LIMIT, || async {
        let now = ok(node, &path, "{}").await;
        if now["trx_epoch_interval"] == 3000 {
            Look::Done(now)
        } else {
            Look::NotYet(now.to_string())
        }
    })
    .await
    .expect("the configuration changes");
    let example = &vectors()["rest_examples"]["consensus_after"];
    assert_eq!(keys(&now), keys(example));
    assert_eq!(keys(&now["producers"][0]), keys(&example["producers"][0]), "no Memo");
    assert_eq!(now["producers"][0]["ProofTrxId"], json!(trx_id));
    assert!(now["curr_epoch"].as_u64() >= Some(10_000), "{now}");
    assert!(now["curr_block_id"].as_u64() >= Some(1), "{now}");

    let history = ok(node, &format!("/api/v1/group/{id}/consensus/proof/history"), "{}").await;
    let proofs = history["proofs"].as_array().expect("a list of proofs");
    assert_eq!(proofs.len(), 2, "the genesis proof and the change");
    assert!(proofs[0]["req"].get("Nonce").is_none());
    assert_eq!(proofs[1]["req"]["Nonce"], 1);
    let last = ok(node, &format!("/api/v1/group/{id}/consensus/proof/last"), "{}").await;
    assert_eq!(last, proofs[1]);
    let req_id = last["req"]["ReqId"].as_str().expect("a request id");
    assert_eq!(now["proof_req_id"], json!(req_id));
    let one = ok(node, &format!("/api/v1/group/{id}/consensus/proof/{req_id}"), "{}").await;
    for key in ["result", "req", "resps", "responsed_producer"] {
        assert!(one.get(key).is_some(), "{key} is missing in proof/:req_id");
    }
    assert_eq!(one["result"], "SUCCESS");
    assert_eq!(one["req"], last["req"]);
    assert_eq!(one["resps"][0]["Req"], last["req"]);
    let mut same = now.clone();
    let object = same.as_object_mut().expect("an object");
    // What a user node may know later than the producer.
    for key in ["curr_epoch", "last_update", "curr_block_id"] {
        object.remove(key);
    }
    vec![trx, same, history, last, one]
}

async fn start(users: usize) -> Cluster {
    let mut cluster = network();
    cluster.spawn("bootstrap", Role::Bootstrap).expect("a bootstrap node starts");
    cluster.ready().await.expect("the bootstrap node is ready");
    cluster.spawn("o1", Role::Producer).expect("o1 starts");
    for n in 1..=users {
        cluster.spawn(&format!("u{n}"), Role::User).expect("a user node starts");
    }
    cluster.ready().await.expect("all nodes are ready");
    cluster
}

#[test]
fn single_producer() {
    run(async {
        let mut cluster = start(0).await;
        let group = Group::create(cluster.node("o1"), "my_test_group").await.expect("a group");
        let o1 = cluster.node("o1");
        check_created(o1, &group).await;
        check_groups(o1, &group).await;
        let trx_id = change(o1, &group).await;
        check_changed(o1, &group, &trx_id).await;
        cluster.stop().await.expect("every node stops well");
    });
}

#[test]
fn single_producer_with_several_user_nodes() {
    run(async {
        let mut cluster = start(2).await;
        let mut group = Group::create(cluster.node("o1"), "my_test_group").await.expect("a group");
        group.join(cluster.node("u1")).await.expect("u1 joins");
        group.join(cluster.node("u2")).await.expect("u2 joins");
        for node in cluster.members() {
            check_created(node, &group).await;
            check_groups(node, &group).await;
        }
        let trx_id = change(cluster.node("o1"), &group).await;
        let owner = check_changed(cluster.node("o1"), &group, &trx_id).await;
        for name in ["u1", "u2"] {
            let user = check_changed(cluster.node(name), &group, &trx_id).await;
            assert_eq!(user, owner, "{name} says the same as the owner");
        }
        let body = json!({
            "group_id": group.id, "start_from_epoch": 1, "trx_epoch_tick": 1000,
            "agreement_tick_length": 1000, "agreement_tick_count": 10,
            "producer_pubkey": [group.owner().key],
        });
        let (status, answer) = post(cluster.node("u1"), "/api/v1/group/updconsensus", &body).await;
        assert_eq!((status, &answer["message"]), (400, &json!("Only group owner can do this")));
        cluster.stop().await.expect("every node stops well");
    });
}

#[test]
fn a_node_joins_by_the_seed_of_the_example() {
    run(async {
        let mut cluster = network();
        cluster.spawn("o1", Role::Producer).expect("o1 starts");
        cluster.ready().await.expect("o1 is ready");
        let o1 = cluster.node("o1");
        let vectors = vectors();
        let seed = vectors["seed_url"]["input"].as_str().expect("a seed");
        let (status, joined) = post(o1, "/api/v2/group/join", &json!({ "seed": seed })).await;
        assert_eq!(status, 200, "{joined}");
        let expected = names(&[
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
        ]);
        assert_eq!(keys(&joined), expected);
        assert_eq!(joined["group_id"], "cd991ce2-7dbb-422e-9f5c-a0f552e4d896");
        assert_eq!(joined["group_name"], "my_test_group");
        assert_eq!(joined["owner_pubkey"], "AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B");
        assert_eq!(joined["consensus_type"], "poa");
        assert_eq!(joined["encryption_type"], "public");
        let cipher = "8e51d9d32574ecbecb8d3d374c82d22f620bc277e9b00333e38032072d4cbd2e";
        assert_eq!(joined["cipher_key"], cipher);
        assert_eq!(joined["app_key"], "test_app");
        assert_eq!(joined["signature"].as_str().map(str::len), Some(130));
        assert_ne!(joined["user_pubkey"], joined["owner_pubkey"]);
        let again = post(o1, "/api/v2/group/join", &json!({ "seed": seed })).await;
        assert_eq!(again.0, 400);
        let message = again.1["message"].as_str().expect("a message");
        assert!(message.contains("already exist"), "{message}");
        let bad = seed.replace("&t=F1eyqmr-x78", "&t=F1eyqmr-x79");
        let (status, answer) = post(o1, "/api/v2/group/join", &json!({ "seed": bad })).await;
        assert_eq!(status, 400, "{answer}");
        cluster.stop().await.expect("o1 stops well");
    });
}
