//! Incoming streams: one reader each, with budgets, so that a peer that sends faster than this node
//! checks is slowed down by its own connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::io::BufReader;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{PeerId, Stream};
use libp2p_stream::IncomingStreams;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::frame::{FrameError, Kind, MAX_PAYLOAD, READY, read_head, read_payload};
use super::presence::{MAX_ITEM, Presence};
use super::score::Misdeed;
use super::swarm::Command;
use super::{Delivery, Incoming, Shared, Source, now_ms};

/// KiB of packets of all peers between reading and the end of their check.
const TOTAL_KIB: usize = 64 * 1024;
/// KiB of packets of one peer between reading and the end of their check.
const PEER_KIB: usize = 4 * 1024;
/// Most open incoming streams of one peer.
const MAX_STREAMS: usize = 8;
/// A frame that has begun must be complete after this time.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// Room for a packet, given back when its check is over.
#[derive(Debug)]
pub struct Budget {
    _peer: Option<OwnedSemaphorePermit>,
    _total: OwnedSemaphorePermit,
}

/// Room for packets of all peers.
#[derive(Debug)]
pub struct Budgets {
    total: Arc<Semaphore>,
    peers: Mutex<BTreeMap<PeerId, PeerBudget>>,
}

#[derive(Debug)]
struct PeerBudget {
    room: Arc<Semaphore>,
    streams: usize,
}

/// A packet never takes more than the whole budget, or it could never be read.
fn kib(bytes: usize, budget: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).clamp(1, budget)).expect("clamped")
}

impl Budgets {
    /// All free.
    pub fn new() -> Self {
        Self { total: Arc::new(Semaphore::new(TOTAL_KIB)), peers: Mutex::default() }
    }

    /// Room for a gossip message, if there is any: gossip cannot be slowed down, only left out.
    pub fn try_gossip(&self, bytes: usize) -> Option<Budget> {
        let total = Arc::clone(&self.total).try_acquire_many_owned(kib(bytes, TOTAL_KIB)).ok()?;
        Some(Budget { _peer: None, _total: total })
    }

    fn open(&self, peer: PeerId) -> Option<Arc<Semaphore>> {
        let mut peers = self.peers.lock();
        let entry = peers
            .entry(peer)
            .or_insert_with(|| PeerBudget { room: Arc::new(Semaphore::new(PEER_KIB)), streams: 0 });
        if entry.streams >= MAX_STREAMS {
            return None;
        }
        entry.streams += 1;
        Some(Arc::clone(&entry.room))
    }

    fn close(&self, peer: PeerId) {
        let mut peers = self.peers.lock();
        if let Some(entry) = peers.get_mut(&peer) {
            entry.streams -= 1;
            if entry.streams == 0 {
                peers.remove(&peer);
            }
        }
    }
}

/// Accepts streams until the network stops.
pub async fn accept(
    mut incoming: IncomingStreams,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
) {
    while let Some((peer, stream)) = incoming.next().await {
        let Some(room) = shared.budgets.open(peer) else {
            tracing::debug!(%peer, "too many streams");
            continue;
        };
        let shared = Arc::clone(&shared);
        let commands = commands.clone();
        tokio::spawn(async move {
            let received = metrics::counter!("rex_in_bytes_total");
            let reader = Reader { peer, room, shared: Arc::clone(&shared), commands, received };
            let mut stopped = shared.stopped.subscribe();
            tokio::select! {
                () = reader.run(stream) => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            shared.budgets.close(peer);
        });
    }
}

struct Reader {
    peer: PeerId,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Bytes of payloads.
    received: Counter,
}

impl Reader {
    async fn run(self, mut stream: Stream) {
        let mut open = self.shared.open.subscribe();
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        if stream.write_all(&[READY]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        let mut stream = BufReader::with_capacity(64 * 1024, stream);
        loop {
            match self.frame(&mut stream).await {
                Ok(()) => {}
                Err(FrameError::Io(_)) => return,
                Err(FrameError::Malformed(what)) => {
                    tracing::debug!(peer = %self.peer, what, "malformed frame");
                    self.accuse(Misdeed::Malformed);
                    return;
                }
            }
        }
    }

    async fn frame(&self, stream: &mut BufReader<Stream>) -> Result<(), FrameError> {
        let head = read_head(stream).await?;
        let limit = match head.kind {
            Kind::Packet => MAX_PAYLOAD,
            Kind::Presence => MAX_ITEM,
            Kind::Ask => 0,
        };
        if head.len > limit {
            return Err(FrameError::Malformed("too long for its kind"));
        }
        let closed = || FrameError::Io(std::io::ErrorKind::ConnectionAborted.into());
        let room = kib(head.len, PEER_KIB);
        let peer = Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|_| closed())?;
        let payload = timeout(FRAME_TIMEOUT, read_payload(stream, head.len))
            .await
            .map_err(|_| FrameError::Io(std::io::ErrorKind::TimedOut.into()))??;
        self.received.increment(payload.len() as u64);
        match head.kind {
            Kind::Presence => {
                let item = Presence::open(&payload, now_ms())
                    .filter(|item| item.group == head.group && item.peer == self.peer)
                    .ok_or(FrameError::Malformed("presence"))?;
                let _ = self.commands.send(Command::Learn(item)).await;
            }
            Kind::Ask => {
                let _ = self.commands.send(Command::Asked(head.group, self.peer)).await;
            }
            Kind::Packet => {
                let Some(sink) = self.shared.sink(head.group) else {
                    // It may be a group this node has just left.
                    self.accuse(Misdeed::UnknownGroup);
                    return Ok(());
                };
                let total = Arc::clone(&self.shared.budgets.total)
                    .acquire_many_owned(kib(head.len, TOTAL_KIB))
                    .await
                    .map_err(|_| closed())?;
                sink(Delivery::Packet(Incoming {
                    bytes: payload,
                    source: Source { peer: self.peer, gossip: None, spread: false },
                    budget: Budget { _peer: Some(peer), _total: total },
                }));
            }
        }
        Ok(())
    }

    fn accuse(&self, misdeed: Misdeed) {
        let _ = self.commands.try_send(Command::Misdeed(self.peer, misdeed));
    }
}
