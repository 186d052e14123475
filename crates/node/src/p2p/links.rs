//! Outgoing frames: per peer two lanes, each a bounded queue and one long-lived stream.
//!
//! Small frames (votes, shares) and large ones (blocks being fetched) travel on streams of their
//! own, so that an epoch never waits behind a download. Whatever is queued when a writer gets its
//! turn leaves in one write. A full queue drops its oldest frame: the protocols above say important
//! things again, and old news are worth least.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::frame::{Frame, READY};
use super::swarm::Command;

/// Frames up to this size use the first lane.
const SMALL: usize = 64 * 1024;
/// Most bytes queued per lane.
const MAX_QUEUED_BYTES: [usize; 2] = [8 * 1024 * 1024, 32 * 1024 * 1024];
/// Most bytes queued for a peer that is away: when it comes back it is told where everybody stands,
/// and old messages would only hold that up.
const MAX_QUEUED_AWAY: usize = 512 * 1024;
/// A frame for a peer that is away is outdated when another one comes so much later: who makes no
/// progress for as long says where it stands, and is told again what it missed. Until then it would
/// only take a peer that comes back through what is over.
const OUTDATED: Duration = Duration::from_secs(1);
/// Most frames queued per lane.
const MAX_QUEUED_FRAMES: usize = 8192;
/// A batch is closed when it has this many bytes.
const BATCH: usize = 256 * 1024;
/// Most peers with queues; frames for further ones are dropped.
const MAX_LINKS: usize = 512;
/// A link without traffic and connection is forgotten after this time.
const IDLE: Duration = Duration::from_secs(60);
/// Opening a stream may take this long.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that does not take a batch in this time is treated as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A batch is given up after so many lost streams: on a working connection that is the peer's doing.
const ATTEMPTS: u32 = 8;
/// Pauses between attempts to reach a peer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// First pause between attempts to open a stream on a connection, doubled each time: one that was
/// refused because others opened theirs at the same moment has room a moment later.
const REOPEN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Down,
    Up,
    Closed,
}

#[derive(Default)]
struct Queue {
    /// With the time when each came.
    frames: VecDeque<(Instant, Frame)>,
    bytes: usize,
}

impl Queue {
    /// Takes a frame at the end, for which the oldest ones go: all beyond `limit` bytes, and, if the
    /// peer is away, those that are outdated. Returns how many.
    fn push(&mut self, now: Instant, frame: Frame, limit: usize, away: bool) -> usize {
        self.bytes += frame.len();
        self.frames.push_back((now, frame));
        let before = self.frames.len();
        while let Some((came, _)) = self.frames.front() {
            let outdated = away && now.saturating_duration_since(*came) > OUTDATED;
            if !outdated && self.bytes <= limit && self.frames.len() <= MAX_QUEUED_FRAMES {
                break;
            }
            self.pop();
        }
        before - self.frames.len()
    }

    fn pop(&mut self) -> Option<Frame> {
        let (_, frame) = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    wake: Notify,
}

struct Link {
    lanes: [Lane; 2],
    state: watch::Sender<State>,
    used: Mutex<Instant>,
}

/// All outgoing links.
pub struct Links {
    map: Mutex<BTreeMap<PeerId, Arc<Link>>>,
    control: Control,
    protocol: StreamProtocol,
    commands: mpsc::Sender<Command>,
    runtime: tokio::runtime::Handle,
}

impl Links {
    /// Must be called inside a runtime, which the writers then run on.
    pub fn new(
        control: Control,
        protocol: StreamProtocol,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        Self {
            map: Mutex::default(),
            control,
            protocol,
            commands,
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Queues a frame. Never blocks.
    pub fn send(&self, peer: PeerId, frame: Frame) {
        let Some(link) = self.link(peer) else {
            dropped("links");
            return;
        };
        let now = Instant::now();
        *link.used.lock() = now;
        let index = usize::from(frame.len() > SMALL);
        let lane = &link.lanes[index];
        let away = *link.state.borrow() != State::Up;
        let limit = if away { MAX_QUEUED_AWAY } else { MAX_QUEUED_BYTES[index] };
        let gone = lane.queue.lock().push(now, frame, limit, away);
        (0..gone).for_each(|_| dropped("queue"));
        lane.wake.notify_one();
    }

    /// The swarm has (or has lost) a connection to the peer.
    pub fn set_connected(&self, peer: PeerId, up: bool) {
        let map = self.map.lock();
        if let Some(link) = map.get(&peer) {
            let state = if up { State::Up } else { State::Down };
            link.state.send_if_modified(|now| std::mem::replace(now, state) != state);
        } else if up {
            drop(map);
            if let Some(link) = self.link(peer) {
                link.state.send_replace(State::Up);
            }
        }
    }

    /// Forgets links that are idle and down. Returns how many bytes are queued in all.
    pub fn prune(&self) -> usize {
        let now = Instant::now();
        let mut queued = 0;
        self.map.lock().retain(|_, link| {
            let bytes: usize = link.lanes.iter().map(|lane| lane.queue.lock().bytes).sum();
            queued += bytes;
            let idle = now.saturating_duration_since(*link.used.lock()) > IDLE;
            let keep = *link.state.borrow() == State::Up || !idle;
            if !keep {
                link.state.send_replace(State::Closed);
            }
            keep
        });
        queued
    }

    /// Ends all writers.
    pub fn close(&self) {
        for link in std::mem::take(&mut *self.map.lock()).into_values() {
            link.state.send_replace(State::Closed);
        }
    }

    fn link(&self, peer: PeerId) -> Option<Arc<Link>> {
        let mut map = self.map.lock();
        if let Some(link) = map.get(&peer) {
            return Some(Arc::clone(link));
        }
        if map.len() >= MAX_LINKS {
            return None;
        }
        let link = Arc::new(Link {
            lanes: Default::default(),
            state: watch::Sender::new(State::Down),
            used: Mutex::new(Instant::now()),
        });
        for index in 0..link.lanes.len() {
            let writer = Writer {
                peer,
                link: Arc::clone(&link),
                index,
                control: self.control.clone(),
                protocol: self.protocol.clone(),
                commands: self.commands.clone(),
                batches: metrics::counter!("rex_success_total"),
                bytes: metrics::counter!("rex_out_bytes_total"),
            };
            self.runtime.spawn(writer.run());
        }
        map.insert(peer, Arc::clone(&link));
        Some(link)
    }
}

fn dropped(why: &'static str) {
    metrics::counter!("quorate_frames_dropped_total", "reason" => why).increment(1);
}

struct Writer {
    peer: PeerId,
    link: Arc<Link>,
    index: usize,
    control: Control,
    protocol: StreamProtocol,
    commands: mpsc::Sender<Command>,
    /// Batches written.
    batches: Counter,
    /// Their bytes.
    bytes: Counter,
}

impl Writer {
    async fn run(mut self) {
        let mut state = self.link.state.subscribe();
        let mut stream = None;
        let mut batch = Vec::new();
        let mut pause = BACKOFF.0;
        let mut dialed: Option<Instant> = None;
        let mut attempts = 0;
        loop {
            if *state.borrow_and_update() == State::Closed {
                return;
            }
            if batch.is_empty() {
                attempts = 0;
                if !self.fill(&mut batch) {
                    tokio::select! {
                        () = self.link.lanes[self.index].wake.notified() => {}
                        _ = state.changed() => {}
                    }
                    continue;
                }
            }
            if *state.borrow() == State::Down {
                stream = None;
                // Also after a connection that came to nothing: a peer that hangs up is not to be
                // called again and again.
                let left = dialed.map_or(Duration::ZERO, |at| pause.saturating_sub(at.elapsed()));
                if !left.is_zero() {
                    let _ = timeout(left, state.changed()).await;
                    continue;
                }
                pause = dialed.map_or(BACKOFF.0, |_| (pause * 2).min(BACKOFF.1));
                dialed = Some(Instant::now());
                // A full command queue only delays the next attempt.
                let _ = self.commands.try_send(Command::Connect(self.peer));
                continue;
            }
            match self.write(&mut stream, &batch).await {
                Ok(()) => {
                    self.batches.increment(1);
                    self.bytes.increment(batch.len() as u64);
                    batch.clear();
                    batch.shrink_to(BATCH);
                    dialed = None;
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer, lane = self.index, error, "stream lost");
                    metrics::counter!("rex_failed_total").increment(1);
                    stream = None;
                    attempts += 1;
                    if attempts >= ATTEMPTS {
                        dropped("stream");
                        batch.clear();
                    }
                    // The old stream may have ended with the peer's last life, or with one of two
                    // connections made at the same time: the first new attempt comes at once.
                    if let Some(doublings) = attempts.checked_sub(2) {
                        let _ = timeout(REOPEN * 2_u32.pow(doublings), state.changed()).await;
                    }
                }
            }
        }
    }

    /// Moves queued frames into the batch; false if there are none.
    fn fill(&self, batch: &mut Vec<u8>) -> bool {
        let mut queue = self.link.lanes[self.index].queue.lock();
        while batch.len() < BATCH {
            let Some(frame) = queue.pop() else { break };
            frame.encode(batch);
        }
        !batch.is_empty()
    }

    async fn write(&mut self, stream: &mut Option<Stream>, batch: &[u8]) -> Result<(), String> {
        if stream.is_none() {
            let opened = timeout(OPEN_TIMEOUT, self.open()).await;
            *stream = Some(opened.map_err(|_| "open: timeout".to_owned())??);
        }
        let open = stream.as_mut().expect("just opened");
        let write = async {
            open.write_all(batch).await?;
            open.flush().await
        };
        timeout(WRITE_TIMEOUT, write)
            .await
            .map_err(|_| "write: timeout".to_owned())?
            .map_err(|error| error.to_string())
    }

    async fn open(&mut self) -> Result<Stream, String> {
        let open = self.control.open_stream(self.peer, self.protocol.clone());
        let mut stream = open.await.map_err(|error| error.to_string())?;
        let mut ready = [0];
        stream.read_exact(&mut ready).await.map_err(|error| format!("open: {error}"))?;
        if ready[0] == READY { Ok(stream) } else { Err("open: not ready".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use quorate_ledger::ids::GroupId;

    use super::{Frame, MAX_QUEUED_AWAY, MAX_QUEUED_FRAMES, OUTDATED, Queue};
    use crate::p2p::frame::Kind;

    fn frame(byte: u8, size: usize) -> Frame {
        let group = GroupId(uuid::Uuid::from_u128(1));
        Frame { kind: Kind::Packet, group, payload: vec![byte; size].into() }
    }

    fn left(mut queue: Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop()).map(|frame| frame.payload[0]).collect()
    }

    #[test]
    fn what_is_outdated_does_not_wait_for_a_peer_that_is_away() {
        let start = Instant::now();
        for (away, expected) in [(true, vec![2, 3]), (false, vec![0, 1, 2, 3])] {
            let mut queue = Queue::default();
            let mut gone = 0;
            for (n, ms) in [(0, 0), (1, 999), (2, 1_000), (3, 2_000)] {
                let now = start + Duration::from_millis(ms);
                gone += queue.push(now, frame(n, 10), MAX_QUEUED_AWAY, away);
            }
            assert_eq!(gone, 4 - expected.len());
            assert_eq!(left(queue), expected);
        }
        // However long a peer is away, the last that was said waits for it.
        let mut queue = Queue::default();
        for n in 0..5 {
            queue.push(start + OUTDATED * 2 * u32::from(n), frame(n, 10), MAX_QUEUED_AWAY, true);
        }
        assert_eq!(left(queue), [4]);
    }

    #[test]
    fn the_oldest_frames_go_when_there_are_too_many() {
        let (now, size) = (Instant::now(), MAX_QUEUED_AWAY / 4);
        let mut queue = Queue::default();
        let gone: usize =
            (0..6).map(|n| queue.push(now, frame(n, size), MAX_QUEUED_AWAY, true)).sum();
        assert_eq!(gone, 3, "each has its head, too");
        assert!(queue.bytes <= MAX_QUEUED_AWAY);
        assert_eq!(left(queue), [3, 4, 5]);
        let mut queue = Queue::default();
        for _ in 0..=MAX_QUEUED_FRAMES {
            queue.push(now, frame(0, 1), MAX_QUEUED_AWAY, false);
        }
        assert_eq!(queue.frames.len(), MAX_QUEUED_FRAMES);
    }
}
