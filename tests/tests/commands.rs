//! The command line: exit codes, exactly one JSON object, errors that say what to do; and `verify`
//! on files of a real node, as they are and tampered with.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_cli::api::Change;
use quorate_cli::cluster::{Cluster, Group, note};
use quorate_tests::{json_of, network, quorate, run, vectors};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ended by itself")
}

/// Runs with `--output json` and gives the exit code and the one object.
fn run_json(arguments: &[&str]) -> (i32, Value) {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    let output = quorate(&all);
    (code(&output), json_of(&output))
}

#[test]
fn a_seed_is_inspected_without_a_node() {
    let vectors = vectors();
    let seed = vectors["seed_url"]["input"].as_str().expect("a seed");
    let (code, value) = run_json(&["seed", "inspect", seed]);
    assert_eq!(code, 0);
    assert_eq!(value["group_id"], "cd991ce2-7dbb-422e-9f5c-a0f552e4d896");
    assert_eq!(value["signature_valid"], true);
    for (field, from, to) in [
        ("s", "&s=6t5D", "&s=6t5E"),
        ("k", "&k=Aqdr", "&k=Aqds"),
        ("t", "&t=F1ey", "&t=F1ez"),
        ("g", "&g=zZkc", "&g=zZkd"),
    ] {
        let (code, value) = run_json(&["seed", "inspect", &seed.replace(from, to)]);
        assert_eq!(code, 1, "{field}");
        assert_eq!(value["signature_valid"], false, "{field}");
        let fields = value["fields"].as_array().expect("the fields at fault");
        assert!(fields.contains(&json!(field)), "{value}");
    }
    let human = quorate(&["seed", "inspect", "rum://seed?v=2"]);
    assert_eq!(code_of_error(&human), 1);
}

fn code_of_error(output: &Output) -> i32 {
    assert!(output.stdout.is_empty(), "errors go to standard error");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("error: ") && text.contains("try: "), "{text}");
    code(output)
}

#[test]
fn without_a_node_the_exit_code_is_3_and_the_error_says_what_to_do() {
    let api = ["--api", "http://127.0.0.1:1"];
    let human = quorate(&["group", "list", api[0], api[1]]);
    assert_eq!(code_of_error(&human), 3);
    let (code, value) = run_json(&["group", "list", api[0], api[1]]);
    assert_eq!(code, 3);
    assert_eq!(value["error"]["code"], "unreachable");
    assert!(value["error"]["hint"].as_str().expect("a hint").contains("quorate node run"));
}

#[test]
fn wrong_flags_and_files_have_exit_code_2() {
    assert_eq!(code(&quorate(&["group", "frobnicate"])), 2);
    assert_eq!(code(&quorate(&["dev", "--nodes", "0"])), 2);
    assert_eq!(code(&quorate(&["trx", "post", "group", "not json"])), 2);
    assert_eq!(code(&quorate(&["verify", "block", "/nonexistent"])), 2);
    assert_eq!(code(&quorate(&["doctor", "--data-dir", "/nonexistent"])), 2);
    assert_eq!(code(&quorate(&["keys", "list", "--data-dir", "/nonexistent"])), 2);
    assert_eq!(code(&quorate(&["node", "run", "--listen", "nowhere"])), 2);
}

#[test]
fn every_command_has_help_and_completions_are_written() {
    let commands = [
        "node",
        "bootstrap",
        "group",
        "trx",
        "block",
        "consensus",
        "announce",
        "keys",
        "seed",
        "verify",
        "doctor",
        "dev",
        "sim",
        "bench",
    ];
    for command in commands {
        assert_eq!(code(&quorate(&[command, "--help"])), 0, "{command}");
    }
    let bash = quorate(&["completions", "bash"]);
    assert_eq!(code(&bash), 0);
    assert!(String::from_utf8_lossy(&bash.stdout).contains("consensus"));
}

/// A group that was changed once, with a post in it.
struct World {
    cluster: Cluster,
    group: Group,
    trx: String,
    block: u64,
}

async fn world() -> World {
    let mut cluster = network();
    cluster.start(1, 1).await.expect("the network starts");
    let mut group = Group::create(cluster.node("p1"), "commands").await.expect("a group");
    group.join(cluster.node("u1")).await.expect("u1 joins");
    group.announce(&["u1".to_owned()]).await.expect("u1 is announced");
    let change = Change {
        producers: group.members.iter().map(|m| m.key.clone()).collect(),
        start_from_epoch: 1,
        epoch_tick: 500,
        agreement_tick: 2000,
        agreement_count: 10,
    };
    group.change(&change).await.expect("two producers");
    let user = &group.member("u1").api;
    let trx = user.post_content(&group.id, &note("hello")).await.expect("a post");
    group.packaged(user, std::slice::from_ref(&trx), LIMIT).await.expect("the post is ordered");
    let block = group.level().await.expect("both are at the same height");
    World { cluster, group, trx, block }
}

/// Changes each of some bytes of a base64 field of a file, and expects every check to fail.
fn tampered(kind: &str, file: &Path, field: &str, seed: &str) {
    let text = std::fs::read_to_string(file).expect("the file was written");
    let value: Value = serde_json::from_str(&text).expect("the file is JSON");
    let bytes = STANDARD.decode(value[field].as_str().expect("a field")).expect("base64");
    let step = (bytes.len() / 40).max(1);
    for at in (0..bytes.len()).step_by(step) {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let mut changed = value.clone();
        changed[field] = json!(STANDARD.encode(&other));
        let bad = file.with_extension("bad");
        std::fs::write(&bad, changed.to_string()).expect("a file can be written");
        let path = bad.to_str().expect("a path");
        let (code, answer) = run_json(&["verify", kind, path, "--seed", seed]);
        assert_eq!(code, 1, "byte {at} of {field} changed, {kind} still holds: {answer}");
    }
}

#[test]
fn what_a_node_gives_away_is_verified_offline_and_tampering_is_found() {
    run(async {
        let mut world = world().await;
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).to_str().expect("a path").to_owned();
        let api = world.cluster.node("u1").info().api.clone();
        let (id, seed) = (world.group.id.clone(), world.group.seed.clone());
        let block = world.block.to_string();

        let bundle = path("block.json");
        let written = quorate(&["block", "get", &id, &block, "--api", &api, "--bundle", &bundle]);
        assert_eq!(code(&written), 0, "{}", String::from_utf8_lossy(&written.stderr));
        let receipt = path("receipt.json");
        let written =
            quorate(&["trx", "get", &id, &world.trx, "--api", &api, "--receipt", &receipt]);
        assert_eq!(code(&written), 0, "{}", String::from_utf8_lossy(&written.stderr));
        let proof = path("proof.json");
        let written = quorate(&["consensus", "proof", &id, "--api", &api, "--out", &proof]);
        assert_eq!(code(&written), 0, "{}", String::from_utf8_lossy(&written.stderr));
        world.cluster.stop().await.expect("every node stops well");

        for (kind, file) in
            [("block", &bundle), ("chain", &bundle), ("receipt", &receipt), ("proof", &proof)]
        {
            let (code, value) = run_json(&["verify", kind, file, "--seed", &seed]);
            assert_eq!((code, &value["ok"]), (0, &json!(true)), "{kind}: {value}");
            let (code, value) = run_json(&["verify", kind, file]);
            assert_eq!((code, &value["ok"]), (0, &json!(true)), "{kind}: {value}");
        }
        let example = vectors();
        let other = example["seed_url"]["input"].as_str().expect("a seed");
        for (kind, file) in [("block", &bundle), ("receipt", &receipt), ("proof", &proof)] {
            let (code, value) = run_json(&["verify", kind, file, "--seed", other]);
            assert_eq!(code, 1, "{kind} holds under the seed of another group: {value}");
        }
        let (_, value) = run_json(&["verify", "chain", &bundle, "--seed", &seed]);
        assert_eq!(value["views"].as_array().map(Vec::len), Some(2));
        tampered("block", Path::new(&bundle), "block", &seed);
        tampered("block", Path::new(&bundle), "certificate", &seed);
        tampered("receipt", Path::new(&receipt), "receipt", &seed);
        tampered("chain", Path::new(&bundle), "views", &seed);
    });
}

#[test]
fn a_group_is_used_by_commands_alone() {
    run(async {
        let mut cluster = network();
        cluster.start(1, 1).await.expect("the network starts");
        let owner = cluster.node("p1").info().api.clone();
        let user = cluster.node("u1").info().api.clone();
        let (code, created) =
            run_json(&["group", "create", "--name", "by commands", "--api", &owner]);
        assert_eq!(code, 0, "{created}");
        let group = created["group_id"].as_str().expect("a group id");
        let seed = created["seed"].as_str().expect("a seed");
        let (code, joined) = run_json(&["group", "join", seed, "--api", &user]);
        assert_eq!(code, 0, "{joined}");
        let (code, again) = run_json(&["group", "join", seed, "--api", &user]);
        assert_eq!(code, 4, "{again}");
        let post = ["trx", "post", group, r#"{"a":1}"#, "--wait", "--api"];
        let (code, posted) = run_json(&[post.as_slice(), &[&owner]].concat());
        assert_eq!(code, 0, "{posted}");
        let (code, posted) = run_json(&[post.as_slice(), &[&user]].concat());
        assert_eq!(code, 0, "{posted}");
        let (code, list) = run_json(&["trx", "list", group, "--api", &user]);
        assert_eq!(code, 0, "{list}");
        let contents = list["trxs"].as_array().expect("posts");
        assert_eq!(contents.len(), 2);
        assert_eq!(contents[0]["Content"], json!({ "a": 1 }));
        let (code, announced) = run_json(&["announce", group, "--api", &user]);
        assert_eq!(code, 0, "{announced}");
        let key = announced["sign_pubkey"].as_str().expect("a key").to_owned();
        let (_, groups) = run_json(&["group", "list", "--api", &owner]);
        let own = groups["groups"][0]["user_pubkey"].as_str().expect("a key").to_owned();
        let trx = announced["trx_id"].as_str().expect("a trx id");
        let api = cluster.node("p1").api();
        let handle = Group { id: group.to_owned(), seed: seed.to_owned(), members: Vec::new() };
        handle.packaged(&api, &[trx.to_owned()], LIMIT).await.expect("the announcement is ordered");
        let change = [
            "consensus",
            "change",
            group,
            "--producer",
            &own,
            "--producer",
            &key,
            "--epoch-tick",
            "500",
            "--agreement-tick",
            "2000",
            "--wait",
            "--api",
            &owner,
        ];
        let (code, changed) = run_json(&change);
        assert_eq!((code, &changed["result"]), (0, &json!("SUCCESS")), "{changed}");
        let (code, shown) = run_json(&["consensus", "show", group, "--api", &owner]);
        assert_eq!(code, 0);
        assert_eq!(shown["producers"].as_array().map(Vec::len), Some(2));
        let (code, history) = run_json(&["consensus", "history", group, "--api", &owner]);
        assert_eq!(code, 0);
        assert_eq!(history["proofs"].as_array().map(Vec::len), Some(2));
        let (code, status) = run_json(&["node", "status", "--api", &owner]);
        assert_eq!((code, &status["node_status"]), (0, &json!("NODE_ONLINE")));
        let (code, left) = run_json(&["group", "leave", group, "--clear", "--api", &user]);
        assert_eq!((code, &left["cleared"]), (0, &json!(true)), "{left}");
        cluster.stop().await.expect("every node stops well");
    });
}
