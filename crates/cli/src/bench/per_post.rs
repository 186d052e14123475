//! Processor time of a post, at the client and at a node that orders alone, and of what goes on
//! without posts.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{WARM_UP, WATCH_EVERY, form, load, sign};
use super::process_usage::{named_threads_ns, threads_ns};
use crate::args::LoadArgs;
use crate::cluster::Cluster;
use crate::error::{CliError, Result};

/// How long the node is left alone.
const IDLE: Duration = Duration::from_secs(3);
/// How often it is asked for its head then.
const LOOKS: u32 = 300;
/// Posts under way at any time.
const CLIENTS: usize = 1200;
/// How long.
const SECONDS: u64 = 3;
/// Posts a second that come alone: threads sleep between them.
const PACE: u64 = 250;

/// Processor time in nanoseconds.
pub struct PerPost {
    /// Of a post at the client, with its share of reading blocks.
    pub client: u64,
    /// Of a post at the node.
    pub server: u64,
    /// How many cores both kept busy for these, on average.
    pub busy: f64,
    /// Of the node in a second without posts.
    pub idle: u64,
    /// Of a question for the head at the client.
    pub client_look: u64,
    /// Of a question for the head at the node.
    pub server_look: u64,
    /// What a post that is made alone costs the client more.
    pub client_alone: u64,
    /// What it costs the threads of the node's API more.
    pub api_alone: u64,
    /// Time from the start of the node's process until its API answers, with an empty ledger.
    pub start: u64,
    /// How much longer for each trx in it.
    pub start_trx: u64,
}

/// Whether a thread of a node belongs to its API: all others have names.
fn is_api(name: &str) -> bool {
    !["group-", "verify-", "network", "futures-timer"].iter().any(|other| name.starts_with(other))
}

/// Measures it.
///
/// # Errors
/// As `bench load`.
pub async fn per_post(binary: &Path, trx_bytes: usize) -> Result<PerPost> {
    let args = LoadArgs {
        nodes: 1,
        seconds: SECONDS,
        size: trx_bytes,
        rate: None,
        clients: CLIENTS,
        members: 64,
        interval: 500,
        kill: false,
        keep: None,
        log: "warn".to_owned(),
        write: None,
    };
    let mut cluster = Cluster::new(binary, None)?;
    cluster.set_log("warn");
    let group = form(&mut cluster, &args).await?;
    let start = restart(&mut cluster).await?;
    let node = cluster.node("p1").pid();
    let node = node.ok_or_else(|| CliError::failed("the node of our own has ended"))?;
    let used = || -> Result<[u64; 2]> { Ok([threads_ns(std::process::id())?, threads_ns(node)?]) };
    let since = |before: [u64; 2]| -> Result<[u64; 2]> {
        let now = used()?;
        Ok([now[0].saturating_sub(before[0]), now[1].saturating_sub(before[1])])
    };

    let before = used()?;
    sleep(IDLE).await;
    let alone = since(before)?;
    let before = used()?;
    let api = &group.owner().api;
    for _ in 0..LOOKS {
        sleep(WATCH_EVERY).await;
        api.consensus(&group.id).await?;
    }
    let asked = since(before)?;
    // The same time, or nearly: what both do by themselves is not the question's.
    let share = (WATCH_EVERY * LOOKS).as_secs_f64() / IDLE.as_secs_f64();
    let look = |place: usize| {
        let own = (alone[place] as f64 * share) as u64;
        asked[place].saturating_sub(own) / u64::from(LOOKS)
    };
    let (client_look, server_look) = (look(0), look(1));

    // The same load twice: posts that come alone, and as many as there can be.
    let paced = LoadArgs { rate: Some(PACE), ..args.clone() };
    let (mut loads, mut posts) = (Vec::new(), 0);
    for args in [&paced, &args] {
        let signed = sign(&group, args)?;
        let (api, before, began) = (named_threads_ns(node, is_api)?, used()?, Instant::now());
        let run = load(&group, signed, args, Duration::from_secs(args.seconds)).await?;
        posts += run.all;
        let loaded = since(before)?;
        let api = named_threads_ns(node, is_api)?.saturating_sub(api);
        let busy = (loaded[0] + loaded[1]) as f64 / began.elapsed().as_nanos() as f64;
        let looks = (WARM_UP + Duration::from_secs(SECONDS)).as_millis() / WATCH_EVERY.as_millis();
        let each = |used: u64, look: u64| used.saturating_sub(looks as u64 * look) / run.all.max(1);
        let client = each(loaded[0], client_look);
        loads.push((client, each(loaded[1], server_look), each(api, server_look), busy));
    }
    let with_ledger = restart(&mut cluster).await?;
    cluster.stop().await?;
    let start_trx = with_ledger.saturating_sub(start) / posts.max(1);
    let [paced, (client, server, api, busy)] = loads[..] else {
        return Err(CliError::failed("two loads have been measured"));
    };
    Ok(PerPost {
        client,
        server,
        busy,
        idle: (alone[1] as f64 / IDLE.as_secs_f64()) as u64,
        client_look,
        server_look,
        client_alone: paced.0.saturating_sub(client),
        api_alone: paced.2.saturating_sub(api),
        start,
        start_trx,
    })
}

/// Kills the node and starts it again: nanoseconds until its API answers.
async fn restart(cluster: &mut Cluster) -> Result<u64> {
    let process = cluster.node_mut("p1");
    process.kill();
    let from = Instant::now();
    process.start()?;
    process.ready().await?;
    Ok(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
