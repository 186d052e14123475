//! What must be refused, with which answer, and that refusing loses nothing.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use quorate_cli::api::{Api, ApiError, Change};
use quorate_cli::bench::signed::{Recipe, Signed, posts};
use quorate_cli::cluster::{Cluster, Group, Role, note, same_blocks};
use quorate_cli::wait::{Look, until};
use quorate_ledger::seed::Seed;
use quorate_tests::{network, run};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(120);
/// Trxs that a node's pool holds at most.
const POOL: usize = 20_000;

async fn one_node() -> (Cluster, Group) {
    let mut cluster = network();
    cluster.spawn("p1", Role::Producer).expect("a node starts");
    cluster.ready().await.expect("the node is ready");
    let group = Group::create(cluster.node("p1"), "bad input").await.expect("a group");
    (cluster, group)
}

fn signed(group: &Group, count: usize) -> Vec<Signed> {
    let seed = Seed::parse_verified(&group.seed).expect("the seed of the group");
    let cipher = &seed.group.cipher_key;
    posts(Recipe { group: seed.group.id, cipher, size: 128, members: 8 }, count)
}

/// Sends bytes as they are.
async fn raw(api: &Api, path: &str, body: &'static str) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("{}{path}", api.url()))
        .header("Content-Type", "application/json")
        .body(body);
    let response = request.send().await.expect("the node answers");
    let status = response.status().as_u16();
    (status, response.json().await.expect("every answer is JSON"))
}

fn refused(result: Result<Value, ApiError>) -> (u16, String) {
    match result {
        Err(ApiError::Refused { status, message, .. }) => (status, message),
        other => panic!("it should have been refused: {other:?}"),
    }
}

#[test]
fn requests_that_make_no_sense_are_answered_with_a_message() {
    run(async {
        let (mut cluster, group) = one_node().await;
        let api = cluster.node("p1").api();
        let unknown = Uuid::new_v4().to_string();
        for (path, body) in [
            ("/api/v1/group", "{"),
            ("/api/v1/group", "[]"),
            ("/api/v1/group", "{\"group_name\": 7}"),
            ("/api/v1/group", "{\"group_name\": \"x\", \"consensus_type\": \"poa\"}"),
            ("/api/v1/group/updconsensus", "{\"group_id\": 1, \"producer_pubkey\": \"k\"}"),
            ("/api/v1/group/leave", "null"),
            ("/api/v2/group/join", "{\"seed\": \"rum://nothing\"}"),
            ("/api/v2/group/join", "{\"seed\": []}"),
            ("/api/v1/group/announce", "{}"),
        ] {
            let (status, answer) = raw(&api, path, body).await;
            assert_eq!(status, 400, "{path} {body}: {answer}");
            let message = answer["message"].as_str().unwrap_or_default();
            assert!(!message.is_empty(), "{path} {body}: {answer}");
        }
        for path in [
            format!("/api/v1/group/{unknown}/consensus/"),
            format!("/api/v1/group/{unknown}/consensus/proof/last"),
            format!("/api/v1/group/{unknown}/announced/producers"),
            format!("/api/v1/trx/{unknown}/{unknown}"),
            format!("/api/v1/trx/{}/{unknown}", group.id),
            format!("/api/v1/block/{}/99999999", group.id),
            format!("/api/v1/block/{}/-1", group.id),
            format!("/api/v1/group/{}/consensus/proof/{unknown}", group.id),
            "/api/v1/group/no-uuid/consensus/".to_owned(),
        ] {
            let (status, message) = refused(api.get(&path).await);
            assert!((400..500).contains(&status), "{path}: {status} {message}");
            assert!(!message.is_empty(), "{path}");
        }
        let nowhere = refused(
            api.post(
                &format!("/api/v1/group/{unknown}/content"),
                &json!({
                    "data": { "a": 1 }
                }),
            )
            .await,
        );
        assert_eq!(nowhere.0, 400, "{}", nowhere.1);
        // Nested deeper than any honest input.
        let deep: &'static str = Box::leak(format!("{{\"data\":{}", "[".repeat(100_000)).into());
        let (status, _) = raw(&api, &format!("/api/v1/group/{}/content", group.id), deep).await;
        assert_eq!(status, 400);
        api.post_content(&group.id, &note("still there")).await.expect("the node works on");
        cluster.stop().await.expect("the node stops well");
    });
}

#[test]
fn trxs_that_are_not_what_their_sender_signed_are_refused() {
    run(async {
        let (mut cluster, group) = one_node().await;
        let api = cluster.node("p1").api();
        let path = format!("/api/v1/node/{}/trx", group.id);
        let good = signed(&group, 3);
        let other = Group::create(cluster.node("p1"), "another one").await.expect("a second group");
        let change = |key: &str, value: Value| {
            let mut body = good[0].body.clone();
            body[key] = value;
            body
        };
        let bad = [
            ("another id", change("trx_id", json!(Uuid::new_v4()))),
            ("no id", change("trx_id", json!("not a uuid"))),
            ("another time", change("timestamp", json!("1"))),
            ("a time that is no number", change("timestamp", json!("soon"))),
            ("another version", change("version", json!("1.0.0"))),
            ("another sender", change("sender_pubkey", good[1].body["sender_pubkey"].clone())),
            ("no sender", change("sender_pubkey", json!(""))),
            ("another signature", change("sender_sign", good[1].body["sender_sign"].clone())),
            ("half a signature", change("sender_sign", json!("AAAA"))),
            ("other data", change("data", good[1].body["data"].clone())),
            ("data that is no base64", change("data", json!("%%%"))),
            ("data of a wrong type", change("data", json!(7))),
        ];
        for (what, body) in bad {
            let (status, message) = refused(api.post(&path, &body).await);
            assert_eq!(status, 400, "{what}: {message}");
        }
        let elsewhere = format!("/api/v1/node/{}/trx", other.id);
        let (status, message) = refused(api.post(&elsewhere, &good[0].body).await);
        assert_eq!(status, 400, "signed for another group: {message}");

        let large = json!({ "text": "x".repeat(310 * 1024) });
        let answer = api.post_content(&group.id, &large).await;
        assert!(answer.is_err(), "a post of 310 KiB is refused");
        let huge = json!({ "text": "x".repeat(5 << 20) });
        let answer = api.post_content(&group.id, &huge).await;
        assert!(answer.is_err(), "a post of 5 MiB is refused");

        // The same trx again and again is one trx.
        let id = good[2].id.to_string();
        for _ in 0..3 {
            let _: Result<Value, _> = api.post(&path, &good[2].body).await;
        }
        group.packaged(&api, std::slice::from_ref(&id), LIMIT).await.expect("it is ordered");
        let _: Result<Value, _> = api.post(&path, &good[2].body).await;
        let last = api.post_content(&group.id, &note("last")).await.expect("a post");
        group.packaged(&api, std::slice::from_ref(&last), LIMIT).await.expect("it is ordered");
        let head = group.level().await.expect("a head");
        let trxs = same_blocks(&group, head).await.expect("no trx is there twice");
        let expected = [id, last];
        let ordered: Vec<&String> = trxs.keys().collect();
        assert_eq!(trxs.len(), 2, "only what was good is ordered: {ordered:?}");
        assert!(expected.iter().all(|trx| trxs.contains_key(trx)));
        cluster.stop().await.expect("the node stops well");
    });
}

#[test]
fn ten_times_the_pool_is_refused_with_a_code_and_nothing_accepted_is_lost() {
    run(async {
        let (mut cluster, group) = one_node().await;
        let api = cluster.node("p1").api();
        // Epochs far apart, so that the pool fills.
        let change = Change {
            producers: vec![group.owner().key.clone()],
            start_from_epoch: 1,
            epoch_tick: 2_000,
            agreement_tick: 1000,
            agreement_count: 10,
        };
        group.change(&change).await.expect("slow epochs");
        let path = format!("/api/v1/node/{}/trx", group.id);
        let mut accepted = Vec::new();
        let mut full = 0;
        for wave in signed(&group, 10 * POOL).chunks(500) {
            let mut requests = JoinSet::new();
            for post in wave {
                let (api, path, post) = (api.clone(), path.clone(), post.clone());
                requests.spawn(async move {
                    (post.id.to_string(), api.post::<Value>(&path, &post.body).await)
                });
            }
            for (id, answer) in requests.join_all().await {
                match answer {
                    Ok(_) => accepted.push(id),
                    Err(ApiError::Refused { status, message, code, .. }) => {
                        assert!(status == 429 || status == 503, "{status} {message}");
                        assert!(!code.is_empty(), "a refusal has a code: {message}");
                        full += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert!(full > POOL, "the pool has a limit: {full} were refused");
        assert!(accepted.len() >= POOL / 2, "{} were accepted", accepted.len());
        until("an empty pool", LIMIT, || async {
            match api.own(&group.id, "status").await {
                Ok(status) if status["pool"] == 0 => Look::Done(()),
                Ok(status) => Look::NotYet(status.to_string()),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await
        .expect("the pool empties");
        let head = group.level().await.expect("a head");
        let trxs = same_blocks(&group, head).await.expect("no trx is there twice");
        let lost = accepted.iter().filter(|id| !trxs.contains_key(*id)).count();
        assert_eq!(lost, 0, "accepted posts are in no block");
        cluster.stop().await.expect("the node stops well");
    });
}

/// Runs a node with a small disk of its own as its data directory.
fn small_disk(cluster: &Cluster, name: &str) -> Vec<String> {
    let dir = cluster.dir().join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    let dir = dir.to_str().expect("a path");
    let script = format!("mount -t tmpfs -o size=64m tmpfs '{dir}' && exec \"$0\" \"$@\"");
    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn a_full_disk_stops_acknowledgements_and_space_brings_them_back() {
    run(async {
        let mut cluster = network();
        let wrapper = small_disk(&cluster, "p1");
        cluster.spawn_wrapped("p1", Role::Producer, &wrapper).expect("a node starts");
        cluster.ready().await.expect("the node is ready");
        let node = cluster.node("p1");
        let group = Group::create(node, "full disk").await.expect("a group");
        let api = node.api();
        let mut acknowledged = Vec::new();
        acknowledged.push(api.post_content(&group.id, &note("before")).await.expect("a post"));
        group.packaged(&api, &acknowledged, LIMIT).await.expect("the post is ordered");

        // The disk is seen from outside through the node's own root directory.
        let pid = node.pid().expect("the node runs");
        let dir = node.dir().strip_prefix("/").expect("an absolute path").to_owned();
        let ballast = PathBuf::from(format!("/proc/{pid}/root")).join(dir).join("ballast");
        let fill = |file: &mut File| while file.write_all(&[0; 4096]).is_ok() {};
        let mut file = File::create(&ballast).expect("a file on the small disk");
        fill(&mut file);

        let large = note(&"x".repeat(100 * 1024));
        let refusal = loop {
            fill(&mut file);
            match api.post_content(&group.id, &large).await {
                Ok(trx) => acknowledged.push(trx),
                Err(error) => break error,
            }
            assert!(acknowledged.len() < 2_000, "a full disk takes everything");
        };
        match refusal {
            ApiError::Refused { status, message, code, .. } => {
                assert_eq!(status, 503, "{message}");
                assert!(!code.is_empty(), "a refusal has a code: {message}");
            }
            other => panic!("{other}"),
        }
        api.consensus(&group.id).await.expect("reading goes on");

        drop(file);
        std::fs::remove_file(&ballast).expect("space comes back");
        let after = until("posts accepted again", LIMIT, || async {
            match api.post_content(&group.id, &note("after")).await {
                Ok(trx) => Look::Done(trx),
                Err(error) => Look::NotYet(error.to_string()),
            }
        });
        acknowledged.push(after.await.expect("the node resumes"));
        group.packaged(&api, &acknowledged, LIMIT).await.expect("nothing acknowledged is lost");
        let head = group.level().await.expect("a head");
        same_blocks(&group, head).await.expect("no trx is there twice");
        cluster.stop().await.expect("the node stops well");
    });
}

#[test]
fn a_damaged_ledger_is_named_at_the_start_and_repaired_from_peers() {
    run(async {
        let mut cluster = network();
        cluster.start(1, 1).await.expect("the network starts");
        let mut group = Group::create(cluster.node("p1"), "damage").await.expect("a group");
        group.join(cluster.node("u1")).await.expect("u1 joins");
        let mut trxs = Vec::new();
        for n in 0..5 {
            let api = &group.owner().api;
            trxs.push(api.post_content(&group.id, &note(&format!("{n}"))).await.expect("a post"));
            group.packaged(api, &trxs[n..], LIMIT).await.expect("the post is ordered");
        }
        group.level().await.expect("both are at the same height");
        let dir = cluster.node("u1").dir().to_owned();
        let data_dir = dir.to_str().expect("a path").to_owned();
        let doctor = ["doctor", "--data-dir", &data_dir, "--output", "json"];
        let running = quorate_tests::json_of(&quorate_tests::quorate(&doctor));
        let message = running["error"]["message"].as_str().expect("the doctor needs the node gone");
        assert!(message.contains("is used by a running node"), "{message}");
        cluster.node_mut("u1").stop().await.expect("u1 stops well");
        let sound = quorate_tests::quorate(&doctor);
        assert_eq!(sound.status.code(), Some(0), "{:?}", quorate_tests::json_of(&sound));

        damage(&dir.join("groups").join(&group.id));
        let found = quorate_tests::quorate(&doctor);
        assert_eq!(found.status.code(), Some(1), "the doctor finds the damage");
        let found = quorate_tests::json_of(&found);
        let problem = &found["groups"][0]["problems"][0];
        let file = problem["file"].as_str().expect("the file is named").to_owned();

        let node = cluster.node_mut("u1");
        node.start().expect("u1 starts");
        let error = node.ready().await.expect_err("damage is found at the start").to_string();
        assert!(error.contains(&file), "the file {file} is named: {error}");
        node.kill();

        let repair = ["doctor", "--repair", "--data-dir", &data_dir, "--output", "json"];
        let repaired = quorate_tests::quorate(&repair);
        assert_eq!(repaired.status.code(), Some(0), "{:?}", quorate_tests::json_of(&repaired));
        let node = cluster.node_mut("u1");
        node.start().expect("u1 starts");
        node.ready().await.expect("u1 is ready");
        let user = &group.member("u1").api;
        group.packaged(user, &trxs, LIMIT).await.expect("what was damaged comes from p1");
        let head = group.level().await.expect("both are at the same height");
        same_blocks(&group, head).await.expect("the blocks are the same everywhere");
        cluster.stop().await.expect("every node stops well");
    });
}

/// Changes a byte of a block in the middle of the ledger.
fn damage(dir: &std::path::Path) {
    let entries = std::fs::read_dir(dir).expect("the group's directory");
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    let ledger = files
        .iter()
        .find(|f| f.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("ledger")));
    let ledger = ledger.expect("there is a ledger file");
    let mut bytes = std::fs::read(ledger).expect("the ledger can be read");
    let end = bytes.iter().rposition(|b| *b != 0).expect("the ledger holds blocks");
    bytes[end / 2] ^= 0xff;
    let mut file = OpenOptions::new().write(true).open(ledger).expect("the ledger is ours");
    file.write_all(&bytes).expect("the ledger can be written");
}
