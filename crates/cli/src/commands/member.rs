//! `quorate member`: who keeps the ledger of a signed-Raft group, changed by its operators.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Api, ApiError};
use crate::args::{ChangeFlags, Format, MemberCommand};
use crate::error::{CliError, Kind, Result};
use crate::output::{Report, print_note, show, spinner, table, text};
use crate::service::{MemberInfo, Members, Service};
use crate::wait::{Look, until};

/// Runs the command.
///
/// # Errors
/// If the service refuses, or a change does not come to its end in time.
pub async fn run(api: &Api, command: MemberCommand, format: Format) -> Result<Report> {
    let service = |group: &Option<String>| Service::new(api.clone(), group.as_deref());
    match command {
        MemberCommand::List { service: args } => list(&service(&args.group)).await,
        MemberCommand::Plan { service: args, add, remove } => {
            let service = service(&args.group);
            let plan = service.plan(&add, &remove).await.map_err(|e| explain(e, &[]))?;
            let human = plan_text(&plan, &add, &remove);
            if plan["possible"] == false {
                return Err(impossible(&plan).with(plan));
            }
            Ok(Report::new(plan, human))
        }
        MemberCommand::Add { nodes, flags } => {
            let service = service(&flags.service.group);
            let nodes = if nodes.is_empty() { pending(&service).await? } else { nodes };
            change(&service, &nodes, &[], &flags, format).await
        }
        MemberCommand::Remove { nodes, flags } => {
            change(&service(&flags.service.group), &[], &nodes, &flags, format).await
        }
        MemberCommand::Replace { old, new, flags } => {
            change(&service(&flags.service.group), &[new], &[old], &flags, format).await
        }
        MemberCommand::Abort { service: args } => abort(&service(&args.group)).await,
        MemberCommand::Nominate { service: args, timeout } => {
            nominate(&service(&args.group), Duration::from_secs(timeout)).await
        }
    }
}

async fn list(service: &Service) -> Result<Report> {
    let value = service.members_value().await?;
    let members: Members = serde_json::from_value(value.clone())
        .map_err(|e| CliError::failed(format!("the list of members is not understood: {e}")))?;
    let mut rows = table(["node", "status", "", "has", "behind", "address", "retirement"]);
    for node in &members.nodes {
        let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        rows.add_row([
            node.node_id.clone(),
            node.status.clone(),
            if node.leader { "leader".to_owned() } else { String::new() },
            number(node.matched),
            number(node.behind),
            node.address.clone().unwrap_or_default(),
            node.phase.clone().unwrap_or_default(),
        ]);
    }
    let mut human = format!(
        "{rows}\na quorum is {}; {} may crash",
        count(members.quorum, "node"),
        count(members.tolerates, "node"),
    );
    if let Some(change) = members.change.as_ref().filter(|c| !c.is_null()) {
        human.push_str(&format!("\nlast change: {}", change_text(change)));
    }
    let waiting = members.of("Pending").count() as u64;
    if waiting > 0 {
        let verb = if waiting == 1 { "waits" } else { "wait" };
        human.push_str(&format!(
            "\n{} {verb} to be let in: `quorate member add`",
            count(waiting, "node")
        ));
    }
    if let Ok(removable) = service.removable().await {
        human.push_str(&removable_text(&removable));
    }
    Ok(Report::new(value, human))
}

fn removable_text(removable: &Value) -> String {
    let mut text = String::new();
    for node in removable["nodes"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nnode {} may be shut down", show(node, "node_id")));
    }
    for node in removable["blocked"].as_array().into_iter().flatten() {
        let (id, why) = (show(node, "node_id"), show(node, "reason"));
        text.push_str(&format!("\nnode {id} may not be shut down yet: {why}"));
    }
    text
}

/// The nodes that wait to be let in, for an `add` that names none.
async fn pending(service: &Service) -> Result<Vec<String>> {
    let members = service.members().await?;
    let ids: Vec<String> = members.of("Pending").map(|n| n.node_id.clone()).collect();
    if ids.is_empty() {
        return Err(CliError::failed("no node waits to be let in").hint(
            "on the new node: `quorate group join SEED`; the seed is printed by `quorate group seed \
             GROUP` on a node of the group",
        ));
    }
    Ok(ids)
}

async fn change(
    service: &Service,
    add: &[String],
    remove: &[String],
    flags: &ChangeFlags,
    format: Format,
) -> Result<Report> {
    let members = service.members().await?;
    let known = &members.nodes;
    let plan = service.plan(add, remove).await.map_err(|e| explain(e, known))?;
    if plan["possible"] == false {
        return Err(impossible(&plan).with(plan));
    }
    if !flags.yes {
        print_note(&plan_text(&plan, add, remove));
        confirm("do it?", format)?;
    }
    let started = service.change(add, remove).await.map_err(|e| explain(e, known))?;
    if flags.no_wait {
        let human = "started; `quorate member list` shows how far it is".to_owned();
        return Ok(Report::new(json!({ "plan": plan, "change": started["change"] }), human));
    }
    let ended = follow(service, Duration::from_secs(flags.timeout)).await?;
    let value = json!({ "plan": plan, "change": ended });
    match text(&ended, "state") {
        "Committed" => {
            let human = format!(
                "committed: {}\n{}",
                show(&ended, "transaction_id"),
                after_text(service, remove).await,
            );
            Ok(Report::new(value, human))
        }
        state => Err(CliError::failed(format!("the change ended as {state}; nothing has changed"))
            .hint("`quorate member list` shows the nodes; plan and start it again")
            .with(value)),
    }
}

/// What can be said when a change is through.
async fn after_text(service: &Service, removed: &[String]) -> String {
    let Ok(members) = service.members().await else {
        return "this node does not show the members any more; ask another one".to_owned();
    };
    let mut text = format!(
        "{} trusted; a quorum is {}, {} may crash",
        count(members.of("Trusted").count() as u64, "node"),
        members.quorum,
        members.tolerates,
    );
    if !removed.is_empty() {
        text.push_str(
            "\n`quorate member list` says when a removed node may be shut down; it serves the others \
             until then",
        );
    }
    text
}

/// Watches a change until it is committed or aborted.
async fn follow(service: &Service, limit: Duration) -> Result<Value> {
    let bar = spinner("starting the change");
    let ended = until("the change of members", limit, || async {
        let answer = match service.current_change().await {
            Ok(answer) => answer,
            Err(error) => return Look::NotYet(error.to_string()),
        };
        let change = answer.get("change").cloned().unwrap_or(answer);
        match text(&change, "state") {
            "Committed" | "Aborted" => Look::Done(change),
            state => {
                let progress = progress_text(service, &change).await;
                bar.set_message(format!("{state}{progress}"));
                Look::NotYet(format!("{state}{progress}"))
            }
        }
    })
    .await;
    bar.finish_and_clear();
    ended.map_err(|late| {
        CliError::from(late).hint(
            "it goes on without this command; `quorate member list` shows how far it is, `quorate \
             member abort` gives it up if it has not reached the log",
        )
    })
}

/// How far the learners are.
async fn progress_text(service: &Service, change: &Value) -> String {
    let Ok(members) = service.members().await else { return String::new() };
    let added = change["add"].as_array().cloned().unwrap_or_default();
    let is_added = |node: &&MemberInfo| added.iter().any(|id| *id == node.node_id.as_str());
    let behind = members.nodes.iter().filter(is_added).filter_map(|n| n.behind).max();
    behind.map_or_else(String::new, |n| format!(", {n} entries behind"))
}

async fn abort(service: &Service) -> Result<Report> {
    service.abort().await.map_err(|e| explain(e, &[]))?;
    let human = "given up; the nodes are as they were";
    Ok(Report::new(json!({ "aborted": true }), human))
}

async fn nominate(service: &Service, limit: Duration) -> Result<Report> {
    let before = leader_id(service).await?;
    service.nominate().await.map_err(|e| explain(e, &[]))?;
    let bar = spinner("waiting for another leader");
    let after = until("another leader", limit, || async {
        match leader_id(service).await {
            Ok(Some(id)) if Some(&id) != before.as_ref() => Look::Done(id),
            Ok(Some(_)) => Look::NotYet("the same one leads".to_owned()),
            Ok(None) => Look::NotYet("nobody is known to lead".to_owned()),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await;
    bar.finish_and_clear();
    let after = after.map_err(|late| {
        CliError::from(late).hint(
            "the others must be caught up to take over: `quorate member list` shows who is behind",
        )
    })?;
    let human = format!("node {after} leads now");
    Ok(Report::new(json!({ "before": before, "leader": after }), human))
}

async fn leader_id(service: &Service) -> Result<Option<String>> {
    Ok(service.members().await?.leader().map(|leader| leader.node_id.clone()))
}

/// Asks on the terminal.
pub fn confirm(question: &str, format: Format) -> Result<()> {
    let no_terminal = format == Format::Json || !std::io::stdin().is_terminal();
    if no_terminal {
        return Err(CliError::usage(
            "this needs a confirmation, and there is no terminal to ask on",
        )
        .hint("look at the plan above, then repeat the command with --yes"));
    }
    print_note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(CliError::new(Kind::Interrupted, "not confirmed; nothing was done")),
    }
}

/// What a plan says, for people.
fn plan_text(plan: &Value, add: &[String], remove: &[String]) -> String {
    let mut rows = table(["", "now", "after"]);
    for (name, before, after) in [
        ("quorum", "quorum_before", "quorum_after"),
        ("may crash", "tolerates_before", "tolerates_after"),
    ] {
        rows.add_row([name.to_owned(), show(plan, before), show(plan, after)]);
    }
    let mut lines = Vec::new();
    lines.extend(add.iter().map(|id| format!("  in   {id}")));
    lines.extend(remove.iter().map(|id| format!("  out  {id}")));
    lines.push(rows.to_string());
    for id in plan["nodes_after"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        lines.push(format!("  then {id}"));
    }
    for warning in plan["warnings"].as_array().into_iter().flatten() {
        let words = warning.as_str().map_or_else(|| warning.to_string(), str::to_owned);
        lines.push(format!("warning: {words}"));
    }
    lines.join("\n")
}

fn impossible(plan: &Value) -> CliError {
    let reason = show(plan, "reason");
    let reason = if reason.is_empty() { "the service says no".to_owned() } else { reason };
    CliError::new(Kind::Refused, format!("this change cannot be made: {reason}"))
        .hint("`quorate member list` shows the nodes and what is under way")
}

fn change_text(change: &Value) -> String {
    let ids = |key: &str| {
        let ids = change[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        ids.map(short).collect::<Vec<_>>().join(", ")
    };
    let (added, removed) = (ids("add"), ids("remove"));
    let mut text = text(change, "state").to_owned();
    if !added.is_empty() {
        text.push_str(&format!(", in: {added}"));
    }
    if !removed.is_empty() {
        text.push_str(&format!(", out: {removed}"));
    }
    text
}

/// The beginning of an id, as much as tells nodes apart.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Says what to do next in words of the command line.
fn explain(error: ApiError, known: &[MemberInfo]) -> CliError {
    let code = match &error {
        ApiError::Refused { code, .. } => code.clone(),
        _ => String::new(),
    };
    let error = CliError::from(error);
    match code.as_str() {
        "LastQuorum" => {
            error.hint("add other nodes first, or replace one by one with `member replace`")
        }
        "UnknownNode" => {
            let ids: Vec<&str> = known.iter().map(|n| short(&n.node_id)).collect();
            error.hint(format!("the nodes are: {}", ids.join(", ")))
        }
        "ChangeInProgress" => {
            error.hint("`quorate member list` shows it; `quorate member abort` gives it up")
        }
        "TooLate" => error.hint("it is in the log already; undo it by a change of its own"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_what_it_costs() {
        let plan = json!({
            "quorum_before": 2, "quorum_after": 3, "tolerates_before": 1, "tolerates_after": 1,
            "nodes_after": ["aa", "bb"], "warnings": ["bb is 5000 entries behind"], "possible": true,
        });
        let text = plan_text(&plan, &["bb".to_owned()], &[]);
        assert!(text.contains("in   bb") && text.contains("warning: bb is 5000"), "{text}");
    }

    #[test]
    fn errors_say_what_to_do() {
        let refused = |code: &str| ApiError::Refused {
            status: 409,
            message: "no".to_owned(),
            code: code.to_owned(),
            hint: String::new(),
        };
        for code in ["LastQuorum", "UnknownNode", "ChangeInProgress", "TooLate"] {
            assert!(explain(refused(code), &[]).hint.is_some(), "{code}");
        }
    }
}
