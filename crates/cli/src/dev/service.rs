//! `quorate dev --protocol cft`: a signed-Raft group with real processes, from start to end.
//!
//! Nodes; a service created on one of them; the others join by the seed and are added; writes that
//! are committed, read back from every node; a receipt in both forms checked offline; the leader
//! killed while a client writes, and started again; all ledgers equal, and each of them checked
//! offline down to the seed.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Play, Steps, nodes_table};
use crate::args::DevArgs;
use crate::cluster::{Cluster, ServiceGroup};
use crate::commands::{seed, signed};
use crate::error::{CliError, Result};
use crate::output::text;
use crate::service::{Consistency, TxStatus, WriteOptions};
use crate::wait::{Look, look, until};

/// How long a step may take that is a matter of a few round trips.
const LIMIT: Duration = Duration::from_secs(60);
/// Writes of a step.
const WRITES: usize = 20;
/// The map that is written.
const MAP: &str = "public:dev";
/// Short, so that a lost leader is soon replaced.
const SETTINGS: [(&str, &str); 2] =
    [("service.election_timeout", "1000ms"), ("service.message_timeout", "100ms")];

/// What a run has shown.
#[derive(Debug, Default)]
pub struct Outcome {
    first_commit_ms: Option<u64>,
    failover_ms: Option<u64>,
    receipts_verified: bool,
    same_ledger_on_all: bool,
    last_transaction: String,
    group: Option<ServiceGroup>,
    written: usize,
}

/// The run of this kind.
pub(super) fn play() -> Play<Outcome> {
    let object = |outcome: &Outcome, steps: &Steps| {
        json!({
            "steps": steps.done(),
            "first_commit_ms": outcome.first_commit_ms,
            "failover_ms": outcome.failover_ms,
            "receipts_verified": outcome.receipts_verified,
            "same_ledger_on_all": outcome.same_ledger_on_all,
            "last_transaction": outcome.last_transaction,
        })
    };
    Play { settings: &SETTINGS, outcome: Outcome::default(), next_commands, object }
}

/// Runs every step.
///
/// # Errors
/// The first one that did not hold.
pub async fn run(
    args: &DevArgs,
    cluster: &mut Cluster,
    steps: &mut Steps,
    outcome: &mut Outcome,
) -> Result<()> {
    steps.run("start", start(cluster, usize::from(args.nodes))).await?;
    steps.say(&nodes_table(cluster));
    let mut group = steps.run("create-service", create(cluster)).await?;
    steps.run("first-commit", write(&group, "p1", outcome)).await?;
    outcome.first_commit_ms = u64::try_from(steps.elapsed().as_millis()).ok();
    steps.run("join", join(cluster, &mut group)).await?;
    steps.run("add-members", add(&group)).await?;
    steps.run("write", write(&group, "p1", outcome)).await?;
    steps.run("read-everywhere", read(&group, outcome.written)).await?;
    let id = outcome.last_transaction.clone();
    steps.run("verify-receipts", receipts(cluster, &group, &id)).await?;
    outcome.receipts_verified = true;
    if args.nodes >= 3 {
        let killed = steps.run("kill-leader", kill(cluster, &group, outcome)).await?;
        steps.run("restart-node", restart(cluster, &group, &killed)).await?;
    }
    steps.run("read-again", read(&group, outcome.written)).await?;
    steps.run("verify-ledgers", ledgers(cluster, &group)).await?;
    outcome.same_ledger_on_all = true;
    outcome.group = Some(group);
    Ok(())
}

async fn start(cluster: &mut Cluster, nodes: usize) -> Result<((), String)> {
    cluster.start_peers(nodes).await?;
    Ok(((), format!("{nodes} processes")))
}

async fn create(cluster: &Cluster) -> Result<(ServiceGroup, String)> {
    let group = ServiceGroup::create(cluster.node("p1"), "quorate dev").await?;
    let what = format!("group {}, open, one node", group.id);
    Ok((group, what))
}

async fn join(cluster: &Cluster, group: &mut ServiceGroup) -> Result<((), String)> {
    for node in cluster.members().filter(|n| n.name() != "p1") {
        group.join(node).await?;
    }
    Ok(((), format!("{} nodes by the seed, pending", group.nodes.len() - 1)))
}

async fn add(group: &ServiceGroup) -> Result<((), String)> {
    let names: Vec<&str> = group.nodes[1..].iter().map(|n| n.name.as_str()).collect();
    if !names.is_empty() {
        group.change(&names, &[]).await?;
    }
    let members = group.trusted(group.nodes.len()).await?;
    let what = format!(
        "{} trusted, caught up; a quorum is {}, {} may crash",
        group.nodes.len(),
        members.quorum,
        members.tolerates
    );
    Ok(((), what))
}

fn key(n: usize) -> String {
    format!("key-{n:04}")
}

fn value(n: usize) -> Vec<u8> {
    format!("value {n}").into_bytes()
}

/// Some more keys, each committed before the next.
async fn write(group: &ServiceGroup, at: &str, outcome: &mut Outcome) -> Result<((), String)> {
    let service = &group.node(at).service;
    for _ in 0..WRITES {
        let n = outcome.written;
        let written = service.put(MAP, &key(n), value(n), &WriteOptions::default()).await?;
        if written.status != TxStatus::Committed {
            let (id, status) = (written.transaction_id, written.status.name());
            return Err(CliError::failed(format!("transaction {id} is {status}")));
        }
        outcome.written += 1;
        outcome.last_transaction = written.transaction_id;
    }
    Ok(((), format!("{WRITES} writes committed, the last is {}", outcome.last_transaction)))
}

/// Every node answers every key, through the leader.
async fn read(group: &ServiceGroup, written: usize) -> Result<((), String)> {
    for node in &group.nodes {
        for n in 0..written {
            let found = node.service.read(MAP, &key(n), Consistency::Linearizable).await?;
            if found.map(|answer| answer.body) != Some(value(n)) {
                let message = format!("{} does not have what was written to {}", node.name, key(n));
                return Err(CliError::failed(message));
            }
        }
    }
    Ok(((), format!("{written} keys, linearizable, from {} nodes", group.nodes.len())))
}

/// Both forms of a receipt hold without any node.
async fn receipts(cluster: &Cluster, group: &ServiceGroup, id: &str) -> Result<((), String)> {
    let last = group.nodes.last().expect("a service has a node");
    let what = format!("the receipt of {id} on {}", last.name);
    let receipt = until(&what, LIMIT, || async { look(last.service.receipt(id).await) }).await?;
    let cose = until(&what, LIMIT, || async { look(last.service.receipt_cose(id).await) }).await?;
    let network = group.nodes[0].service.network().await?;
    let certificate = cluster.dir().join("service.pem");
    std::fs::write(&certificate, text(&network, "service_certificate"))
        .map_err(|e| CliError::file("write", &certificate, &e))?;
    let json = serde_json::to_vec(&receipt).expect("a JSON value can be written");
    signed::receipt(&json, Some(&certificate))?;
    signed::receipt(&cose, Some(&certificate))?;
    Ok(((), format!("{id}: JSON and COSE hold offline by the service certificate")))
}

/// Kills the leader; a client that asks the others again and again soon has a write committed.
async fn kill(
    cluster: &mut Cluster,
    group: &ServiceGroup,
    outcome: &mut Outcome,
) -> Result<(String, String)> {
    let killed = group.leader().await?.name.clone();
    let others: Vec<String> =
        group.nodes.iter().map(|n| n.name.clone()).filter(|name| *name != killed).collect();
    cluster.node_mut(&killed).kill();
    let from = Instant::now();
    let n = outcome.written;
    // The same name again and again: whichever attempt gets through, it is written once.
    let options = WriteOptions {
        wait: Some(Duration::from_secs(2)),
        idempotency: Some(format!("dev-failover-{n}")),
        ..WriteOptions::default()
    };
    let written = until("a write without the killed leader", LIMIT, || async {
        let mut said = String::new();
        for name in &others {
            let service = &group.node(name).service;
            match service.put(MAP, &key(n), value(n), &options).await {
                Ok(written) if written.status == TxStatus::Committed => return Look::Done(written),
                Ok(written) => said = written.status.name().to_owned(),
                Err(error) => said = error.to_string(),
            }
        }
        Look::NotYet(said)
    })
    .await?;
    let ms = u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX);
    outcome.failover_ms = Some(ms);
    outcome.written += 1;
    outcome.last_transaction = written.transaction_id;
    let what = format!("{killed} by SIGKILL; {} committed {ms} ms after", outcome.last_transaction);
    Ok((killed, what))
}

async fn restart(cluster: &mut Cluster, group: &ServiceGroup, name: &str) -> Result<((), String)> {
    let node = cluster.node_mut(name);
    node.start()?;
    node.ready().await?;
    let head = level(group).await?;
    Ok(((), format!("{name} has caught up to seqno {head}")))
}

async fn level(group: &ServiceGroup) -> Result<u64> {
    let names: Vec<&str> = group.nodes.iter().map(|n| n.name.as_str()).collect();
    group.level(&names).await
}

/// Directory of a node's group.
fn dir_of(cluster: &Cluster, name: &str, group: &str) -> PathBuf {
    cluster.node(name).dir().join("groups").join(group)
}

/// The ledger directories hold, down to the seed, and are equal. Nobody writes now; a node that is a
/// signature behind is waited for.
async fn ledgers(cluster: &Cluster, group: &ServiceGroup) -> Result<((), String)> {
    let anchor = seed::anchor(&group.seed)?;
    level(group).await?;
    let (last, root) = until("equal ledgers on all nodes", LIMIT, || async {
        let mut first: Option<(String, String)> = None;
        for node in &group.nodes {
            let ledger = match signed::read_ledger(&[dir_of(cluster, &node.name, &group.id)]) {
                Ok(ledger) => ledger,
                Err(error) => return Look::NotYet(format!("{}: {error}", node.name)),
            };
            if let Err(error) = ledger.belongs_to(&anchor) {
                return Look::Done(Err(error));
            }
            let this = (ledger.last.to_string(), ledger.root);
            match &first {
                None => first = Some(this),
                Some(other) if *other == this => {}
                Some(other) => {
                    return Look::NotYet(format!(
                        "{} ends at {}, not {}",
                        node.name, this.0, other.0
                    ));
                }
            }
        }
        Look::Done(Ok(first.unwrap_or_default()))
    })
    .await??;
    let what = format!(
        "every entry up to {last} holds offline on all {} nodes, root {}",
        group.nodes.len(),
        root.get(..16).unwrap_or(&root)
    );
    Ok(((), what))
}

/// Commands to try on the network.
fn next_commands(outcome: &Outcome, cluster: &Cluster) -> String {
    let Some(group) = &outcome.group else { return String::new() };
    let api = &cluster.node("p1").info().api;
    format!(
        "\nTry:\n  export QUORATE_API={api} QUORATE_GROUP={id}\n  quorate member list\n  quorate kv put \
         public:dev hello world\n  quorate kv get public:dev hello\n  quorate tx receipt {tx} --out \
         receipt.json --service-cert service.pem\n  quorate verify receipt receipt.json \
         --service-cert service.pem\n  quorate verify ledger {dir} --seed '{seed}'\n  curl -s \
         {api}/node/consensus",
        id = group.id,
        tx = outcome.last_transaction,
        dir = dir_of(cluster, "p1", &group.id).display(),
        seed = group.seed,
    )
}
