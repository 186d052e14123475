use serde_json::json;

use super::*;

fn try_run(text: &str) -> Result<Outcome, Failure> {
    run("file", text, Options { seed: 0, open_end: true })
}

/// Line and reason of the failure.
fn fails(text: &str) -> (usize, String) {
    let failure = try_run(text).expect_err("it must fail");
    (failure.line, failure.reason)
}

const ONE: &str = "start_node,0\nemit_signature,2\n";

#[test]
fn a_failure_names_file_line_command_and_reason() {
    let failure = try_run("\n# comment\nstart_node,0\nassert_commit_idx,0,7 # wrong\n");
    let text = failure.expect_err("it must fail").to_string();
    assert_eq!(text, "file:4: assert_commit_idx,0,7: expected commit index 7, found 0");
}

#[test]
fn the_state_at_the_end_is_dumped() {
    let text = "start_node,0\nemit_signature,2\ntrust_node,2,1\nemit_signature,2\n\
                loop_until_sync\nswap_node,2,1,2\nassert_detail,0,leadership_state,Leader\n\
                assert_!detail,0,membership_state,Retired\nstate_one,0\nreplicate,latest,hello\n";
    let outcome = try_run(text).expect("it holds");
    let dumped = dump::dump(&outcome.group);
    let config = |idx, nodes: &[&str]| json!({ "idx": idx, "nodes": nodes });
    let signature = json!({ "view": 2, "kind": "signature", "data": null });
    let configured = |nodes: &[&str]| json!({ "view": 2, "kind": "config", "data": nodes });
    let log = [
        configured(&["0"]),
        signature.clone(),
        configured(&["0", "1"]),
        signature.clone(),
        signature,
        configured(&["0", "2"]),
        json!({ "view": 2, "kind": "raw", "data": "hello" }),
    ];
    let node = |facts: (u64, u64, u64), state, configs: &[serde_json::Value], length: usize| {
        json!({
            "view": facts.0,
            "last_idx": facts.1,
            "commit_idx": facts.2,
            "leadership_state": state,
            "membership_state": "Active",
            "retirement_phase": null,
            "configs": configs,
            "log": log[..length],
        })
    };
    let both = [config(3, &["0", "1"]), config(6, &["0", "2"])];
    let expected = json!({ "nodes": {
        "0": node((2, 7, 5), Some("Leader"), &both, 7),
        "1": node((2, 5, 5), Some("Follower"), &both[..1], 5),
        "2": node((0, 0, 0), None, &[], 0),
    } });
    assert_eq!(dumped, expected);
    assert_eq!(outcome.printed.len(), 1);
}

#[test]
fn a_scenario_closes_with_one_state_for_all() {
    let text = format!("{ONE}trust_node,2,1\n");
    let closed = run("file", &text, Options::default()).expect("it holds");
    let committed = closed.group.nodes.values().map(|node| node.raft.commit_idx());
    assert_eq!(committed.collect::<Vec<_>>(), [4, 4]);
    let alone = format!("{text}disconnect_node,0\nperiodic_one,0,100\n");
    let failure = run("file", &alone, Options::default()).expect_err("nobody leads");
    assert_eq!(failure.reason, "expected a leader, found none");
    assert_eq!(failure.command, "loop_until_sync (at the end)");
}

#[test]
fn what_is_no_command_is_refused() {
    for (line, reason) in [
        ("start", "no such command"),
        (" start_node,0", "no such command"),
        ("start_node", "expected 1 fields after the command, not 0"),
        ("start_node,0,1", "expected 1 fields after the command, not 2"),
        ("start_node,", "expected a node (1 to 32 bytes), not ''"),
        ("periodic_all,soon", "expected a number, not 'soon'"),
        ("periodic_all,-1", "expected a number, not '-1'"),
        ("emit_signature,last", "expected a view or 'latest', not 'last'"),
        ("pre_vote_enabled,yes", "expected 'true' or 'false', not 'yes'"),
        ("trust_nodes,2", "expected at least one node"),
        ("swap_nodes,2,a", "expected 'in' or 'out', not 'a'"),
        ("swap_nodes,2,in", "expected at least one node after 'in' or 'out'"),
        ("assert_last_txid,0,2", "expected VIEW.SEQNO, not '2'"),
        (
            "assert_detail,0,colour,red",
            "expected one of leadership_state, membership_state, retirement_phase, current_view, \
             ticking, not 'colour'",
        ),
    ] {
        assert_eq!(fails(line), (1, reason.to_owned()));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    for (line, reason) in [
        ("start_node,1", "expected to be the first node"),
        ("trust_node,2,0", "expected a new node, but 0 exists"),
        ("trust_node,3,1", "expected a leader of view 3, found none"),
        ("periodic_one,9,10", "there is no node 9"),
        ("dispatch_single,0,9", "there is no node 9"),
        ("connect,0,9", "there is no node 9"),
        ("cleanup_nodes,2,9", "there is no node 9"),
        ("swap_nodes,2,out,0", "expected an entry of at most 4 MiB that names at least one node"),
        ("assert_detail,0,retirement_phase,Ordered", "expected a retirement phase, found none"),
        ("assert_!detail,0,retirement_phase,Ordered", "expected a retirement phase, found none"),
        ("assert_!detail,0,ticking,true", "expected ticking of node 0 not to be true, found true"),
        ("assert_config,0,1,0,1", "expected {0, 1}, found {0}"),
        (
            "assert_absent_config,0,1",
            "expected no configuration at 1, found Some(Configuration { idx: 1, nodes: {0} })",
        ),
        ("assert_last_txid,0,2.1", "expected last entry 2.1, found 2.2"),
    ] {
        assert_eq!(fails(&format!("{ONE}{line}\n")), (3, reason.to_owned()));
    }
}

#[test]
fn every_message_can_be_printed() {
    let text = format!(
        "{ONE}trust_node,2,1\nemit_signature,2\nloop_until_sync\nperiodic_one,0,10\n\
         summarise_messages,0,1\ndispatch_all_once\nsummarise_messages,1,0\nperiodic_one,1,100\n\
         nominate_successor,0\nsummarise_messages,0,1\ndrop_pending,0\nsummarise_messages,1,0\n\
         state_all\nsummarise_log,1\nsummarise_logs_all\n"
    );
    let outcome = try_run(&text).expect("it holds");
    let log = "2.1, 2.2, 2.3, 2.4, [2.5]";
    assert_eq!(
        outcome.printed,
        [
            "0 to 1: [append (2.5, 2.5] in 2, commit 5]",
            "1 to 0: [append ACK 2.5]",
            "0 to 1: [propose request vote in 2]",
            "1 to 0: [append ACK 2.5, request pre-vote in 2 at 2.5]",
            "node 0: Leader, Active, view 2, last 2.5, commit 5, 0 to send",
            "node 1: PreVoteCandidate, Active, view 2, last 2.5, commit 5, 2 to send",
            &format!("node 1: {log}"),
            &format!("node 0: {log}"),
            &format!("node 1: {log}"),
        ]
    );
}

#[test]
fn lines_are_read_without_comments_and_to_the_end_mark() {
    let text = "a # b\n\n   # c\nb,  \r\n====\nc";
    assert_eq!(parse::lines(text).collect::<Vec<_>>(), [(1, "a"), (4, "b,")]);
}

#[test]
fn a_seed_gives_timers_a_head_start() {
    let text = format!(
        "{ONE}trust_node,2,1\nemit_signature,2\nloop_until_sync\nperiodic_one,1,99\n\
         assert_detail,1,leadership_state,Follower\n"
    );
    assert!(try_run(&text).is_ok());
    let early = |seed| run("file", &text, Options { seed, open_end: true }).is_err();
    assert!((1..20).any(early));
    let repeated: Vec<_> = (1..20).map(early).collect();
    assert_eq!(repeated, (1..20).map(early).collect::<Vec<_>>());
}

#[test]
fn a_node_that_restarts_keeps_its_log() {
    let outcome = try_run(&format!("{ONE}trust_node,2,1\nemit_signature,2\nloop_until_sync\n"));
    let mut group = outcome.expect("it holds").group;
    let id = group.ids()[1];
    let before = dump::dump(&group);
    group.restart(id, 5).expect("it has a log");
    assert_eq!(dump::dump(&group), before);
    group.restart(id, 6).expect_err("there is no entry 6");
}
