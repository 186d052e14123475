//! Processor time of a post, at the client and at a node that orders alone, and of what goes on
//! without posts.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{WARM_UP, WATCH_EVERY, form, load, sign};
use super::process_usage::threads_ns;
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
    let signed = sign(&group, &args)?;
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

    let (before, began) = (used()?, Instant::now());
    let run = load(&group, signed, &args, Duration::from_secs(args.seconds)).await?;
    let loaded = since(before)?;
    let busy = (loaded[0] + loaded[1]) as f64 / began.elapsed().as_nanos() as f64;
    cluster.stop().await?;
    let looks = (WARM_UP + Duration::from_secs(SECONDS)).as_millis() / WATCH_EVERY.as_millis();
    let each = |place: usize, look: u64| {
        loaded[place].saturating_sub(looks as u64 * look) / run.all.max(1)
    };
    Ok(PerPost {
        client: each(0, client_look),
        server: each(1, server_look),
        busy,
        idle: (alone[1] as f64 / IDLE.as_secs_f64()) as u64,
        client_look,
        server_look,
    })
}
