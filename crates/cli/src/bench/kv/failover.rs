//! What clients see when the leader goes: killed, or retired as planned.
//!
//! Writes are sent at a fixed pace to the nodes that stay, whatever becomes of them (open loop): a
//! closed loop would stop by itself with the first writes that hang. The gap is the longest time
//! after the event in which no write was acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::System;
use super::generator::{Ended, Target, open_loop};
use super::wire::Prepared;
use crate::error::{CliError, Result};

/// A write every so often.
const PACE: Duration = Duration::from_millis(2);
/// Writes before the event: etcd changes its members only when they have been connected for 5 s.
const BEFORE: Duration = Duration::from_secs(7);
/// Writes after it: longer than an election.
const AFTER: Duration = Duration::from_secs(10);

/// What happens to the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// `kill -9`.
    Kill,
    /// It leaves the group by the system's own procedure.
    Retire,
}

impl Event {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill-leader",
            Self::Retire => "retire-leader",
        }
    }
}

/// What the clients saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The longest time without an acknowledged write from the event on, in milliseconds.
    pub gap_ms: f64,
    /// The same before the event, for comparison.
    pub usual_gap_ms: f64,
    /// Writes sent.
    pub sent: usize,
    /// Writes that failed.
    pub failed: usize,
    /// Why the first of them did.
    pub failure: Option<String>,
    /// How long the procedure took, in milliseconds.
    pub event_ms: f64,
}

/// Lets it happen under writes.
///
/// # Errors
/// If the procedure fails, or no write is acknowledged after it.
pub async fn run(
    system: &mut System,
    event: Event,
    requests: impl Fn(&System, SocketAddr) -> Arc<[Prepared]>,
) -> Result<Seen> {
    let leader = system.leader().await?;
    let mut to = system.endpoints()?;
    to.remove(leader);
    // The requests name a server in their head, which no server minds.
    let target = Target { requests: requests(system, to[0]), wire: system.wire(), to };
    let load = tokio::spawn(open_loop(target, PACE, BEFORE + AFTER));
    sleep(BEFORE).await;
    let at = Instant::now();
    match event {
        Event::Kill => system.kill(leader),
        Event::Retire => system.retire(leader).await?,
    }
    let event_ms = at.elapsed().as_secs_f64() * 1000.0;
    let ended = load.await.map_err(|e| CliError::failed(e.to_string()))??;
    let acknowledged: Vec<Instant> =
        ended.iter().filter(|e| e.failure.is_none()).map(|e| e.ended).collect();
    let end = ended.iter().map(|e| e.sent).max().unwrap_or(at);
    if !acknowledged.iter().any(|when| *when > at) {
        return Err(CliError::failed(format!("no write was acknowledged after {}", event.name())));
    }
    let first = ended.iter().map(|e| e.sent).min().unwrap_or(at);
    Ok(Seen {
        gap_ms: longest(&acknowledged, at, end),
        usual_gap_ms: longest(&acknowledged, first + Duration::from_millis(500), at),
        sent: ended.len(),
        failed: ended.iter().filter(|e| e.failure.is_some()).count(),
        failure: ended.iter().find_map(|e: &Ended| e.failure.clone()),
        event_ms,
    })
}

/// The longest time without one of these moments between two others, in milliseconds.
fn longest(moments: &[Instant], from: Instant, to: Instant) -> f64 {
    let inside = moments.iter().copied().filter(|m| *m > from && *m < to);
    let mut last = from;
    let mut longest = Duration::ZERO;
    for moment in inside.chain([to]) {
        longest = longest.max(moment.duration_since(last));
        last = moment;
    }
    longest.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_from_the_event_to_the_end() {
        let zero = Instant::now();
        let ms = |n| zero + Duration::from_millis(n);
        let moments = [ms(5), ms(40), ms(50)];
        assert_eq!(longest(&moments, ms(10), ms(60)).round(), 30.0);
        assert_eq!(longest(&moments, ms(45), ms(90)).round(), 40.0);
        assert_eq!(longest(&[], ms(0), ms(7)).round(), 7.0);
    }
}
