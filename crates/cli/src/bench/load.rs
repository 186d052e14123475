//! `quorate bench load`: posts signed by members, through the HTTP API of four producers that are
//! processes on this machine, each acknowledged when it is durable, each timed until its block is
//! certified.
//!
//! The generator runs in this process and shares the machine with what it measures, so the figures
//! are for the whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use uuid::Uuid;

use super::document::write_section;
use super::process_usage::{cpu_seconds, memory};
use super::signed::{Recipe, Signed, posts};
use super::traffic::Sent;
use crate::api::{Api, ApiError, Change};
use crate::args::LoadArgs;
use crate::cluster::{Cluster, Group, Role};
use crate::commands::seed;
use crate::error::{CliError, Result};
use crate::output::{Report, progress, spinner, table};

/// Length of the idle measurement.
const IDLE: Duration = Duration::from_secs(10);
/// Load before the measurement begins, so that pools and caches are as they will be.
pub(super) const WARM_UP: Duration = Duration::from_secs(5);
/// How often the ledger's head is looked at: the precision of a latency.
pub(super) const WATCH_EVERY: Duration = Duration::from_millis(10);
/// Posts signed ahead, per second of load. More than a machine of today orders.
const SIGNED_PER_SECOND: u64 = 6000;
/// How long to wait before posting again where the pool was full, or elsewhere where nobody answers.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How long a producer that was killed stays down, as in the prediction.
const DOWN: Duration = Duration::from_secs(3);
/// Load after a producer was killed: it is back and has caught up long before.
const AFTER_KILL: Duration = Duration::from_secs(15);
/// How long it may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    producers: u16,
    seconds: f64,
    payload_bytes: usize,
    epoch_interval_ms: u64,
    committed: u64,
    trx_per_second: f64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    refused_pool_full: u64,
    blocks: u64,
    memory_peak_mb: Vec<f64>,
    memory_mb: Vec<f64>,
    idle_cpu_percent: Vec<f64>,
    load_cpu_percent: Vec<f64>,
    /// Of the process that makes the load.
    client_cpu_percent: f64,
    /// What each producer hands its transports for other nodes, Mbit/s.
    sent_mbit: Vec<f64>,
    /// Of that what members say to each other on streams.
    sent_on_streams_mbit: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    killed: Option<Killed>,
    command: String,
}

/// What became of a producer that was killed, and of the others.
#[derive(Clone, Debug, Serialize)]
struct Killed {
    /// Longest time without a block from then on, as a client sees them at another producer.
    gap_ms: f64,
    /// From its start until its API answers.
    start_ms: f64,
    /// From then on, until it has the head that the others had then.
    catch_up_ms: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If the network does not come up, or posts are refused for another reason than a full pool.
pub async fn run(args: &LoadArgs) -> Result<Report> {
    let binary = std::env::current_exe()
        .map_err(|e| CliError::failed(format!("cannot find my own program: {e}")))?;
    let mut cluster = Cluster::new(&binary, args.keep.as_deref())?;
    cluster.set_log(&args.log);
    let bar = spinner("starting producers");
    let group = form(&mut cluster, args).await?;
    let pids: Vec<u32> = cluster
        .nodes()
        .iter()
        .filter(|n| n.role() == Role::Producer)
        .filter_map(crate::cluster::NodeProcess::pid)
        .collect();
    bar.set_message("measuring an idle network");
    let idle = usage(&pids, async { sleep(IDLE).await }).await?.1;
    bar.set_message("signing posts");
    let signed = sign(&group, args)?;
    bar.finish_and_clear();

    let length = Duration::from_secs(args.seconds);
    let apis: Vec<Api> = group.members.iter().map(|member| member.api.clone()).collect();
    let all: Vec<u32> = pids.iter().copied().chain([std::process::id()]).collect();
    let (sent, from) = (Sent::so_far(&apis).await?, Instant::now());
    let (run, mut busy) = usage(&all, load(&group, signed, args, length)).await?;
    let took = from.elapsed().as_secs_f64();
    let (mbit, on_streams) = Sent::so_far(&apis).await?.mbit_since(&sent, took);
    let mut figures = run?.figures(args);
    figures.idle_cpu_percent = idle;
    figures.client_cpu_percent = busy.pop().unwrap_or_default();
    figures.load_cpu_percent = busy;
    figures.sent_mbit = mbit.into_iter().map(round).collect();
    figures.sent_on_streams_mbit = on_streams.into_iter().map(round).collect();
    for pid in &pids {
        let (now, peak) = memory(*pid)?;
        figures.memory_mb.push(round(now as f64 / 1e6));
        figures.memory_peak_mb.push(round(peak as f64 / 1e6));
    }
    if args.kill {
        figures.killed = Some(kill(&mut cluster, &group, args).await?);
    }
    cluster.stop().await?;
    let markdown = figures.markdown();
    if let Some(path) = &args.write {
        write_section(path, "load", &markdown)?;
    }
    Ok(Report::new(serde_json::to_value(&figures).expect("figures are JSON"), figures.human()))
}

/// Producers in one group, all of them its committee.
pub(super) async fn form(cluster: &mut Cluster, args: &LoadArgs) -> Result<Group> {
    let producers = usize::from(args.nodes);
    cluster.start(producers, 0).await?;
    let mut group = Group::create(cluster.node("p1"), "bench load").await?;
    let names: Vec<String> = (1..=producers).map(|n| format!("p{n}")).collect();
    for name in &names[1..] {
        group.join(cluster.node(name)).await?;
    }
    group.announce(&names[1..]).await?;
    let change = Change {
        producers: names.iter().map(|name| group.member(name).key.clone()).collect(),
        start_from_epoch: 1,
        epoch_tick: args.interval,
        agreement_tick: 2000,
        agreement_count: 10,
    };
    group.change(&change).await?;
    Ok(group)
}

pub(super) fn sign(group: &Group, args: &LoadArgs) -> Result<Vec<Signed>> {
    let anchor = seed::anchor(&group.seed)?;
    let seconds = args.seconds + WARM_UP.as_secs();
    let per_second = args.rate.map_or(SIGNED_PER_SECOND, |rate| rate + rate / 10);
    let count = usize::try_from(seconds * per_second)
        .map_err(|_| CliError::usage("so many posts do not fit this machine"))?;
    let recipe = Recipe {
        group: anchor.group.id,
        cipher: &anchor.group.cipher_key,
        size: args.size,
        members: args.members,
    };
    Ok(posts(recipe, count))
}

/// Kills the last producer under load and starts it again.
async fn kill(cluster: &mut Cluster, group: &Group, args: &LoadArgs) -> Result<Killed> {
    let seconds = (DOWN + AFTER_KILL).as_secs();
    let signed = sign(group, &LoadArgs { seconds, ..args.clone() })?;
    let victim = group.members.last().expect("a group has members");
    let blow = async {
        sleep(WARM_UP).await;
        let node = cluster.node_mut(&victim.name);
        let killed = Instant::now();
        node.kill();
        sleep(DOWN).await;
        let started = Instant::now();
        node.start()?;
        node.ready().await?;
        let ready = Instant::now();
        let head = group.owner().api.consensus(&group.id).await?.curr_block_id;
        let level = async {
            // Before the group is open nobody answers for it.
            while victim.api.consensus(&group.id).await.map_or(0, |now| now.curr_block_id) < head {
                sleep(WATCH_EVERY).await;
            }
        };
        let late = |_| CliError::failed(format!("{} did not catch up in time", victim.name));
        tokio::time::timeout(CATCH_UP, level).await.map_err(late)?;
        Ok::<_, CliError>((killed, started, ready, Instant::now()))
    };
    let length = DOWN + AFTER_KILL;
    let (run, (killed, started, ready, level)) =
        tokio::try_join!(load(group, signed, args, length), blow)?;
    let after = run.seen.iter().copied().filter(|at| *at > killed);
    let times: Vec<Instant> = std::iter::once(killed).chain(after).collect();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(AFTER_KILL);
    let ms = |time: Duration| round(time.as_secs_f64() * 1e3);
    Ok(Killed { gap_ms: ms(gap), start_ms: ms(ready - started), catch_up_ms: ms(level - ready) })
}

/// Runs something, and how much of a core each process used meanwhile, in percent.
async fn usage<T>(pids: &[u32], what: impl Future<Output = T>) -> Result<(T, Vec<f64>)> {
    let before: Vec<f64> = pids.iter().map(|pid| cpu_seconds(*pid)).collect::<Result<_>>()?;
    let from = Instant::now();
    let value = what.await;
    let took = from.elapsed().as_secs_f64();
    let mut percent = Vec::with_capacity(pids.len());
    for (pid, before) in pids.iter().zip(before) {
        percent.push(round((cpu_seconds(*pid)? - before) / took * 100.0));
    }
    Ok((value, percent))
}

/// What happened to posts.
#[derive(Debug, Default)]
pub(super) struct Run {
    seconds: f64,
    /// Posts seen in a block, also before the measurement began.
    pub all: u64,
    committed: u64,
    blocks: u64,
    refused: u64,
    latencies_us: Vec<u64>,
    /// When blocks were seen.
    seen: Vec<Instant>,
}

enum Event {
    /// A post was sent at that time, and acknowledged since.
    Sent(Uuid, Instant),
    /// The pool was full.
    Full,
    /// A block was seen, with its trxs.
    Block(Vec<Uuid>, Instant),
    /// Something that ends the run.
    Broken(String),
}

pub(super) async fn load(
    group: &Group,
    signed: Vec<Signed>,
    args: &LoadArgs,
    length: Duration,
) -> Result<Run> {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let permits = Arc::new(Semaphore::new(args.clients));
    let from = group.owner().api.consensus(&group.id).await?.curr_block_id;
    tasks.spawn(watch(group.owner().api.clone(), group.id.clone(), from, events.clone()));
    tasks.spawn(send(Sender {
        apis: group.members.iter().map(|m| m.api.clone()).collect(),
        elsewhere: args.kill,
        group: group.id.clone(),
        signed,
        rate: args.rate,
        permits: permits.clone(),
        events,
    }));
    let started = Instant::now();
    let measure_from = started + WARM_UP;
    let end = measure_from + length;
    let bar = progress(length.as_secs(), "load");
    let mut run = Run::default();
    let mut sent: HashMap<Uuid, Instant> = HashMap::new();
    // A block can be seen before the answer to the request that brought its posts.
    let mut early: HashMap<Uuid, Instant> = HashMap::new();
    while let Ok(Some(event)) = tokio::time::timeout_at(end, inbox.recv()).await {
        match event {
            Event::Sent(id, at) => match early.remove(&id) {
                Some(seen) => run.count(at, seen, measure_from, &permits, args),
                None => drop(sent.insert(id, at)),
            },
            Event::Block(ids, seen) => {
                if seen >= measure_from {
                    run.blocks += 1;
                }
                run.seen.push(seen);
                for id in ids {
                    match sent.remove(&id) {
                        Some(at) => run.count(at, seen, measure_from, &permits, args),
                        None => drop(early.insert(id, seen)),
                    }
                }
                bar.set_position(Instant::now().duration_since(measure_from).as_secs());
            }
            Event::Full => run.refused += 1,
            Event::Broken(why) => return Err(CliError::failed(why)),
        }
    }
    bar.finish_and_clear();
    if Instant::now() < end {
        return Err(CliError::failed("the posts that were signed ahead did not last")
            .hint("give a --rate, or fewer --seconds"));
    }
    run.seconds = length.as_secs_f64();
    Ok(run)
}

struct Sender {
    apis: Arc<[Api]>,
    /// Whether a post goes to another producer where nobody answers.
    elsewhere: bool,
    group: String,
    signed: Vec<Signed>,
    rate: Option<u64>,
    permits: Arc<Semaphore>,
    events: mpsc::UnboundedSender<Event>,
}

/// Sends all posts, to each producer in turn, as permits (closed loop) or time (open loop) allow.
async fn send(sender: Sender) {
    let Sender { apis, elsewhere, group, signed, rate, permits, events } = sender;
    let path: Arc<str> = format!("/api/v1/node/{group}/trx").into();
    let started = Instant::now();
    let mut requests = JoinSet::new();
    for (n, post) in signed.into_iter().enumerate() {
        if let Some(rate) = rate {
            sleep_until(started + Duration::from_secs_f64(n as f64 / rate.max(1) as f64)).await;
        } else {
            let Ok(permit) = permits.acquire().await else { return };
            // Given back when the post is seen in a block.
            permit.forget();
        }
        let apis = Apis { all: Arc::clone(&apis), home: n % apis.len(), elsewhere };
        requests.spawn(request(apis, path.clone(), post, events.clone()));
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

/// Where a post goes.
struct Apis {
    all: Arc<[Api]>,
    home: usize,
    /// Whether it goes to the next producer if this one does not take it.
    elsewhere: bool,
}

/// Sends one post, again and again while the pool is full.
async fn request(apis: Apis, path: Arc<str>, post: Signed, events: mpsc::UnboundedSender<Event>) {
    let at = Instant::now();
    let mut place = apis.home;
    loop {
        match apis.all[place].post::<IgnoredAny>(&path, &post.body).await {
            Ok(_) => break,
            Err(ApiError::Refused { status: 429, .. }) => {
                let _ = events.send(Event::Full);
                sleep(BACK_OFF).await;
            }
            Err(_) if apis.elsewhere => {
                place = (place + 1) % apis.all.len();
                sleep(BACK_OFF).await;
            }
            Err(error) => {
                let _ = events.send(Event::Broken(error.to_string()));
                return;
            }
        }
    }
    let _ = events.send(Event::Sent(post.id, at));
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SeenBlock {
    #[serde(default)]
    trxs: Vec<SeenTrx>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SeenTrx {
    trx_id: Uuid,
}

/// Follows the certified head of a node.
async fn watch(api: Api, group: String, from: u64, events: mpsc::UnboundedSender<Event>) {
    let mut head = from;
    let mut tick = interval(WATCH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = match api.consensus(&group).await {
            Ok(now) => now.curr_block_id,
            Err(error) => {
                let _ = events.send(Event::Broken(error.to_string()));
                return;
            }
        };
        let seen = Instant::now();
        while head < now {
            head += 1;
            let path = format!("/api/v1/block/{group}/{head}");
            let event = match api.get::<SeenBlock>(&path).await {
                Ok(block) => Event::Block(block.trxs.iter().map(|t| t.trx_id).collect(), seen),
                Err(error) => Event::Broken(error.to_string()),
            };
            if events.send(event).is_err() {
                return;
            }
        }
    }
}

impl Run {
    fn count(
        &mut self,
        sent: Instant,
        seen: Instant,
        measure_from: Instant,
        permits: &Semaphore,
        args: &LoadArgs,
    ) {
        if args.rate.is_none() {
            permits.add_permits(1);
        }
        self.all += 1;
        if seen < measure_from {
            return;
        }
        self.committed += 1;
        let latency = seen.saturating_duration_since(sent).as_micros();
        self.latencies_us.push(u64::try_from(latency).unwrap_or(u64::MAX));
    }

    fn figures(mut self, args: &LoadArgs) -> Figures {
        self.latencies_us.sort_unstable();
        let at = |share: f64| {
            let last = self.latencies_us.len().saturating_sub(1);
            let place = (last as f64 * share).round() as usize;
            self.latencies_us.get(place).map_or(0.0, |us| round(*us as f64 / 1000.0))
        };
        Figures {
            producers: args.nodes,
            seconds: self.seconds,
            payload_bytes: args.size,
            epoch_interval_ms: args.interval,
            committed: self.committed,
            trx_per_second: round(self.committed as f64 / self.seconds),
            latency_p50_ms: at(0.50),
            latency_p99_ms: at(0.99),
            refused_pool_full: self.refused,
            blocks: self.blocks,
            memory_peak_mb: Vec::new(),
            memory_mb: Vec::new(),
            idle_cpu_percent: Vec::new(),
            load_cpu_percent: Vec::new(),
            client_cpu_percent: 0.0,
            sent_mbit: Vec::new(),
            sent_on_streams_mbit: Vec::new(),
            killed: None,
            command: std::env::args()
                .skip(1)
                .fold("quorate".to_owned(), |line, arg| format!("{line} {arg}")),
        }
    }
}

impl Figures {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let list = |values: &[f64], unit: &str| {
            let texts: Vec<String> = values.iter().map(|v| format!("{v:.1}")).collect();
            format!("{} {unit}", texts.join(", "))
        };
        let mut rows = vec![
            ("producers", self.producers.to_string()),
            ("payload of a post", format!("{} bytes", self.payload_bytes)),
            ("epoch interval", format!("{} ms", self.epoch_interval_ms)),
            ("measured for", format!("{:.0} s", self.seconds)),
            ("committed trxs", self.committed.to_string()),
            ("committed trxs per second", format!("{:.0}", self.trx_per_second)),
            ("blocks", self.blocks.to_string()),
            ("commit latency p50", format!("{:.0} ms", self.latency_p50_ms)),
            ("commit latency p99", format!("{:.0} ms", self.latency_p99_ms)),
            ("posts sent again (pool full)", self.refused_pool_full.to_string()),
            ("memory of each producer, peak", list(&self.memory_peak_mb, "MB")),
            ("memory of each producer, at the end", list(&self.memory_mb, "MB")),
            ("core used by each producer, idle", list(&self.idle_cpu_percent, "%")),
            ("core used by each producer, loaded", list(&self.load_cpu_percent, "%")),
            ("core used by who makes the load", list(&[self.client_cpu_percent], "%")),
            ("sent by each producer", list(&self.sent_mbit, "Mbit/s")),
            ("of that on streams", list(&self.sent_on_streams_mbit, "Mbit/s")),
        ];
        if let Some(killed) = &self.killed {
            let ms = |value: f64| format!("{value:.0} ms");
            rows.push(("one killed: longest time without a block", ms(killed.gap_ms)));
            rows.push(("one killed: from its start to its API", ms(killed.start_ms)));
            rows.push(("one killed: from then on to the others' head", ms(killed.catch_up_ms)));
        }
        rows
    }

    fn human(&self) -> String {
        let mut rows = table(["figure", "value"]);
        for (name, value) in self.rows() {
            rows.add_row([name.to_owned(), value]);
        }
        rows.to_string()
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "## Load: posts signed by members, ordered by {} producers\n\n`{}`\n\n| figure | value \
             |\n|---|---|\n",
            self.producers, self.command
        );
        for (name, value) in self.rows() {
            text.push_str(&format!("| {name} | {value} |\n"));
        }
        text
    }
}

/// One digit behind the point is more than a figure of a shared machine is worth.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
