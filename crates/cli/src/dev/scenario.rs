//! The steps of `quorate dev`, in their order.

use std::time::Duration;

use serde_json::json;

use super::{Play, Steps, nodes_table};
use crate::api::Change;
use crate::args::DevArgs;
use crate::cluster::{Cluster, Group, Poster, note, same_blocks};
use crate::commands::{seed, verify};
use crate::error::{CliError, Result};
use crate::output::text;
use crate::wait::{Look, until};

/// How long posts may take to be ordered.
const ORDER_LIMIT: Duration = Duration::from_secs(60);
/// How often the user node posts while a producer is away.
const POST_EVERY: Duration = Duration::from_millis(100);
/// Posts of the step before that.
const POSTS: usize = 20;
/// Posts that must be ordered while a producer is away.
const POSTS_WHILE_DOWN: usize = 10;

/// What a run has shown.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From the start of the program to the first certified block, in milliseconds.
    pub first_commit_ms: Option<u64>,
    /// Blocks of the group.
    pub blocks: u64,
    /// Whether every block is the same on all nodes.
    pub same_hash_on_all: bool,
    /// Whether the proof of the change was verified offline.
    pub proof_verified: bool,
    group: Option<Group>,
}

impl Outcome {
    /// Commands to try on the network.
    fn next_commands(&self, cluster: &Cluster) -> String {
        let Some(group) = &self.group else { return String::new() };
        let (id, user) = (&group.id, &cluster.node("u1").info().api);
        let owner = &cluster.node("p1").info().api;
        let post = r#"'{"data":{"type":"Create","object":{"type":"Note","content":"hello"}}}'"#;
        let json = "-H 'Content-Type: application/json'";
        format!(
            "\nTry:\n  \
             curl -s {owner}/api/v1/groups\n  \
             curl -s {user}/api/v1/group/{id}/consensus/\n  \
             curl -s {user}/api/v1/group/{id}/consensus/proof/history\n  \
             curl -s -X POST {json} -d {post} {user}/api/v1/group/{id}/content\n  \
             curl -s '{user}/app/api/v1/group/{id}/content?num=5&reverse=true'\n  \
             curl -s {owner}/api/v1/block/{id}/{blocks}\n  \
             curl -s {owner}/metrics\n  \
             quorate block get {id} {blocks} --api {user} --bundle block.json\n  \
             quorate verify block block.json --seed '{seed}'",
            blocks = self.blocks,
            seed = group.seed,
        )
    }
}

/// The run of this kind.
pub(super) fn play() -> Play<Outcome> {
    let object = |outcome: &Outcome, steps: &Steps| {
        json!({
            "steps": steps.done(),
            "first_commit_ms": outcome.first_commit_ms,
            "blocks": outcome.blocks,
            "same_hash_on_all": outcome.same_hash_on_all,
            "proof_verified": outcome.proof_verified,
        })
    };
    let outcome = Outcome::default();
    Play { settings: &[], outcome, next_commands: Outcome::next_commands, object }
}

/// Runs every step.
///
/// # Errors
/// The first that does not hold.
pub async fn run(
    args: &DevArgs,
    cluster: &mut Cluster,
    steps: &mut Steps,
    outcome: &mut Outcome,
) -> Result<()> {
    let producers = usize::from(args.nodes);
    steps.run("start", start(cluster, producers)).await?;
    steps.say(&nodes_table(cluster));
    let mut group = steps.run("create-group", create(cluster)).await?;
    steps.run("first-commit", first_commit(&group)).await?;
    outcome.first_commit_ms = u64::try_from(steps.elapsed().as_millis()).ok();
    steps.run("join", join(cluster, &mut group)).await?;
    outcome.group = Some(group.clone());
    let names: Vec<String> = (1..=producers).map(|n| format!("p{n}")).collect();
    steps.run("announce", announce(&group, &names)).await?;
    let before = group.owner().api.consensus(&group.id).await?.producers.len();
    steps.run("change-consensus", change(&group, &names, args.interval, before)).await?;
    steps.run("verify-proof", verify_proof(&group)).await?;
    outcome.proof_verified = true;
    let mut posted = steps.run("post", post(&group)).await?;
    let killed = names.last().expect("there is a producer").clone();
    let survives = producers >= 4;
    let poster = Poster::start(vec![group.member("u1").api.clone()], &group.id, POST_EVERY);
    let while_down = kill(cluster, &group, &poster, &killed, survives);
    steps.run("kill-producer", while_down).await?;
    steps.run("restart-producer", restart(cluster, &group, &killed)).await?;
    let all = steps.run("posts-ordered", finish_posts(&group, poster)).await?;
    posted.extend(all);
    outcome.blocks = steps.run("same-blocks", compare(&group, &posted)).await?;
    outcome.same_hash_on_all = true;
    steps.run("verify-block", verify_block(&group, outcome.blocks)).await
}

async fn start(cluster: &mut Cluster, producers: usize) -> Result<((), String)> {
    cluster.start(producers, 1).await?;
    Ok(((), format!("{} processes", cluster.nodes().len())))
}

async fn create(cluster: &Cluster) -> Result<(Group, String)> {
    let group = Group::create(cluster.node("p1"), "quorate dev").await?;
    let what = format!("group {}", group.id);
    Ok((group, what))
}

/// The owner, still the only producer, orders a post.
async fn first_commit(group: &Group) -> Result<((), String)> {
    let owner = group.owner();
    let trx = owner.api.post_content(&group.id, &note("first")).await?;
    group.packaged(&owner.api, std::slice::from_ref(&trx), ORDER_LIMIT).await?;
    Ok(((), format!("trx {trx}")))
}

async fn join(cluster: &Cluster, group: &mut Group) -> Result<((), String)> {
    let owner = group.owner().name.clone();
    for node in cluster.members().filter(|n| n.name() != owner) {
        group.join(node).await?;
    }
    Ok(((), format!("{} nodes by the seed", group.members.len())))
}

async fn announce(group: &Group, names: &[String]) -> Result<((), String)> {
    // The owner is announced from the start.
    group.announce(&names[1..]).await?;
    Ok(((), format!("every producer ({}) is known on all nodes", names.len())))
}

async fn change(
    group: &Group,
    names: &[String],
    interval: u64,
    before: usize,
) -> Result<((), String)> {
    let now = group.owner().api.consensus(&group.id).await?;
    let change = Change {
        producers: names.iter().map(|name| group.member(name).key.clone()).collect(),
        start_from_epoch: now.curr_epoch + 100,
        epoch_tick: interval,
        agreement_tick: 2000,
        agreement_count: 10,
    };
    let formed = group.change(&change).await?;
    if formed.consensus.trx_epoch_interval != interval {
        return Err(CliError::failed("the epoch interval is not the one asked for"));
    }
    if formed.consensus.producers.iter().any(|p| p.proof_trx_id != formed.trx_id) {
        return Err(CliError::failed("ProofTrxId is not the trx id that was promised"));
    }
    let what = format!("from {before} to {} producers by trx {}", names.len(), formed.trx_id);
    Ok(((), what))
}

/// The proof is the same on every node and holds without any of them.
async fn verify_proof(group: &Group) -> Result<((), String)> {
    let last = group.same_proof().await?;
    if text(&last, "result") != "SUCCESS" {
        return Err(CliError::failed(format!("the last proof says {}", text(&last, "result"))));
    }
    let req_id = text(&last["req"], "ReqId").to_owned();
    let full = group.member("u1").api.proof(&group.id, &req_id).await?;
    let seed = seed::anchor(&group.seed)?;
    let report = verify::proof(&full, Some(&seed))?;
    let answered = report.value["answered"].as_array().map_or(0, Vec::len);
    Ok(((), format!("same on all nodes, {answered} signed answers hold offline")))
}

async fn post(group: &Group) -> Result<(Vec<String>, String)> {
    let user = group.member("u1");
    let mut trxs = Vec::with_capacity(POSTS);
    for n in 0..POSTS {
        trxs.push(user.api.post_content(&group.id, &note(&format!("post {n}"))).await?);
    }
    group.packaged(&user.api, &trxs, ORDER_LIMIT).await?;
    Ok((trxs, format!("{POSTS} posts from the user node are in blocks")))
}

/// Kills a producer without warning. The others go on if they are enough; if not, nothing is
/// ordered until it is back, and nothing is lost.
async fn kill(
    cluster: &mut Cluster,
    group: &Group,
    poster: &Poster,
    name: &str,
    survives: bool,
) -> Result<((), String)> {
    cluster.node_mut(name).kill();
    let from = poster.count();
    let wanted = from + POSTS_WHILE_DOWN;
    let posting = format!("{POSTS_WHILE_DOWN} posts accepted by the user node");
    until(&posting, ORDER_LIMIT, || async {
        match poster.count() {
            count if count >= wanted => Look::Done(()),
            count => Look::NotYet(format!("{} posts, {}", count - from, poster.posted().trouble)),
        }
    })
    .await?;
    if !survives {
        return Ok(((), format!("{name} by SIGKILL; it is needed, the posts wait for it")));
    }
    let trxs = poster.posted().trxs;
    let user = group.member("u1");
    group.packaged(&user.api, &trxs[from..wanted], ORDER_LIMIT).await?;
    Ok(((), format!("{name} by SIGKILL; {POSTS_WHILE_DOWN} posts were ordered without it")))
}

async fn restart(cluster: &mut Cluster, group: &Group, name: &str) -> Result<((), String)> {
    let node = cluster.node_mut(name);
    node.start()?;
    node.ready().await?;
    let head = group.level().await?;
    Ok(((), format!("{name} has caught up to block {head}")))
}

async fn finish_posts(group: &Group, poster: Poster) -> Result<(Vec<String>, String)> {
    let posted = poster.finish().await?;
    if posted.refused > 0 {
        let why = posted.trouble;
        return Err(CliError::failed(format!("the user node refused a post: {why}")));
    }
    let trxs = posted.trxs;
    group.packaged(&group.member("u1").api, &trxs, ORDER_LIMIT).await?;
    let what = format!("{} posts made meanwhile are in blocks", trxs.len());
    Ok((trxs, what))
}

/// Every block is the same on all nodes, and every acknowledged post is in exactly one.
async fn compare(group: &Group, posted: &[String]) -> Result<(u64, String)> {
    let head = group.level().await?;
    let trxs = same_blocks(group, head).await?;
    if let Some(lost) = posted.iter().find(|trx| !trxs.contains_key(*trx)) {
        return Err(CliError::failed(format!("acknowledged trx {lost} is in no block")));
    }
    let last = group.owner().api.block(&group.id, head).await?.unwrap_or_default();
    let what = format!(
        "block {head} is {} on all {} nodes",
        text(&last, "BlockHash"),
        group.members.len()
    );
    Ok((head, what))
}

async fn verify_block(group: &Group, head: u64) -> Result<((), String)> {
    let bundle = verify::block_bundle(&group.member("u1").api, &group.id, head).await?;
    let seed = seed::anchor(&group.seed)?;
    let report = verify::block(&bundle, Some(&seed))?;
    let (signed, of) = (&report.value["signatures"], &report.value["producers"]);
    Ok(((), format!("block {head} holds offline: {signed} of {of} signatures, views to the seed")))
}
