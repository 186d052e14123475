//! The load generator: clients that each send a request, wait for its answer and send the next
//! (closed loop), or requests at a fixed pace whatever becomes of them (open loop).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::wire::{Channel, Prepared, Wire, WireError};
use crate::error::{CliError, Result};

/// Load before the measurement begins.
pub const WARM_UP: Duration = Duration::from_secs(1);
/// Clients that share a connection, if clients can: HTTP/2 servers often allow 100 streams.
const SHARE: usize = 100;
/// After that long a request of the open loop has failed.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// How long to wait before connecting again to a server that did not answer.
const RECONNECT: Duration = Duration::from_millis(10);

/// Where and how requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The servers; clients go to each in turn.
    pub to: Vec<SocketAddr>,
    /// How.
    pub wire: Wire,
    /// The requests; each client begins somewhere else in them and goes round.
    pub requests: Arc<[Prepared]>,
}

/// What a closed loop measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Requests answered, after the warm-up.
    pub count: usize,
    /// Length of the measurement in seconds.
    pub seconds: f64,
    /// Their latencies in microseconds, sorted.
    pub latencies_us: Vec<u32>,
}

impl Measured {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The latency that a share of the requests did not exceed, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.latencies_us.get(place).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    }
}

/// Loads a server with a number of clients.
///
/// # Errors
/// If a request fails: a figure with failures in it would mean nothing.
pub async fn closed_loop(target: &Target, clients: usize, length: Duration) -> Result<Measured> {
    let failed = |e: WireError| CliError::failed(format!("the load generator: {e}"));
    let channels = connect(target, clients).await.map_err(failed)?;
    let from = Instant::now() + WARM_UP;
    let end = from + length;
    let mut tasks = JoinSet::new();
    for (n, channel) in channels.into_iter().enumerate() {
        let first = n * target.requests.len() / clients;
        tasks.spawn(client(channel, target.requests.clone(), first, from, end));
    }
    let mut measured = Measured { seconds: length.as_secs_f64(), ..Measured::default() };
    while let Some(ended) = tasks.join_next().await {
        let latencies = ended.map_err(|e| CliError::failed(e.to_string()))?.map_err(failed)?;
        measured.latencies_us.extend(latencies);
    }
    measured.count = measured.latencies_us.len();
    measured.latencies_us.sort_unstable();
    Ok(measured)
}

async fn connect(target: &Target, clients: usize) -> Result<Vec<Channel>, WireError> {
    let connections = clients.div_ceil(SHARE).max(target.to.len().min(clients));
    let mut channels: Vec<Channel> = Vec::with_capacity(clients);
    for n in 0..clients {
        let shared = n.checked_sub(connections).and_then(|before| channels[before].share());
        let channel = match shared {
            Some(channel) => channel,
            None => Channel::connect(target.to[n % target.to.len()], target.wire).await?,
        };
        channels.push(channel);
    }
    Ok(channels)
}

/// One client: latencies in microseconds of what it asked for in the time that counts.
async fn client(
    mut channel: Channel,
    requests: Arc<[Prepared]>,
    first: usize,
    from: Instant,
    end: Instant,
) -> Result<Vec<u32>, WireError> {
    let mut latencies = Vec::new();
    let mut next = first;
    let mut sent = Instant::now();
    while sent < end {
        channel.call(&requests[next % requests.len()]).await?;
        next += 1;
        let now = Instant::now();
        if now >= from && now < end {
            let micros = now.duration_since(sent).as_micros();
            latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
        sent = now;
    }
    Ok(latencies)
}

/// A request of the open loop that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// When it was sent.
    pub sent: Instant,
    /// When its end was known.
    pub ended: Instant,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Sends requests at a fixed pace to each server in turn until the time is over, and waits for the
/// end of each.
///
/// # Errors
/// If a task breaks.
pub async fn open_loop(target: Target, pace: Duration, length: Duration) -> Result<Vec<Ended>> {
    let started = Instant::now();
    let mut tick = interval(pace);
    // What a late tick missed is sent at once: nothing is left out because somebody was slow.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut lines: Vec<Line> = target.to.iter().map(|to| Line::new(*to, target.wire)).collect();
    let (mut tasks, mut ended) = (JoinSet::new(), Vec::new());
    let mut n = 0;
    while started.elapsed() < length {
        tick.tick().await;
        let count = lines.len();
        let line = lines[n % count].take();
        let (requests, place) = (target.requests.clone(), n % target.requests.len());
        tasks.spawn(single(line, requests, place));
        n += 1;
        while let Some(done) = tasks.try_join_next() {
            keep(done, &mut lines, &mut ended)?;
        }
    }
    while let Some(done) = tasks.join_next().await {
        keep(done, &mut lines, &mut ended)?;
    }
    ended.sort_by_key(|e| e.ended);
    Ok(ended)
}

type Single = (SocketAddr, Option<Channel>, Ended);

fn keep(
    done: std::result::Result<Single, tokio::task::JoinError>,
    lines: &mut [Line],
    ended: &mut Vec<Ended>,
) -> Result<()> {
    let (to, channel, how) = done.map_err(|e| CliError::failed(e.to_string()))?;
    if let Some(line) = lines.iter_mut().find(|line| line.to == to) {
        line.give_back(channel);
    }
    ended.push(how);
    Ok(())
}

/// Connections to one server that are not in use.
struct Line {
    to: SocketAddr,
    wire: Wire,
    idle: Vec<Channel>,
}

impl Line {
    fn new(to: SocketAddr, wire: Wire) -> Self {
        Self { to, wire, idle: Vec::new() }
    }

    fn take(&mut self) -> (SocketAddr, Wire, Option<Channel>) {
        let shared = self.idle.last().and_then(Channel::share);
        (self.to, self.wire, shared.or_else(|| self.idle.pop()))
    }

    /// After a failure a shared connection is not used again.
    fn give_back(&mut self, channel: Option<Channel>) {
        match channel {
            None => self.idle.clear(),
            Some(channel) if self.wire == Wire::Http1 || self.idle.is_empty() => {
                self.idle.push(channel);
            }
            Some(_) => {}
        }
    }
}

/// One request of the open loop. It fails if the server says so; a server that cannot be connected
/// to is asked again, since nothing was sent.
async fn single(
    line: (SocketAddr, Wire, Option<Channel>),
    requests: Arc<[Prepared]>,
    place: usize,
) -> Single {
    let (to, wire, mut channel) = line;
    let sent = Instant::now();
    let attempt = async {
        loop {
            if let Some(channel) = channel.as_mut() {
                return channel.call(&requests[place]).await.map(drop);
            }
            match Channel::connect(to, wire).await {
                Ok(made) => channel = Some(made),
                Err(_) => sleep(RECONNECT).await,
            }
        }
    };
    let failure = match timeout(OPEN_LIMIT, attempt).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer".to_owned()),
    };
    if failure.is_some() {
        channel = None;
    }
    (to, channel, Ended { sent, ended: Instant::now(), failure })
}
