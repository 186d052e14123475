//! A small pool of threads that checks packets before they reach a group's thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use quorate_ledger::ids::BlockId;
use quorate_replica::api::{Input, PeerRef};
use quorate_replica::wire::{self, Inbound, InboundBlock, PacketError};

use crate::group::{Message, Port};
use crate::p2p::{Incoming, Network, Verdict};

/// Most threads: checking is short, and the groups' threads need cores too.
const MAX_THREADS: usize = 8;

enum Job {
    /// A packet for a group.
    Packet(Arc<Port>, Incoming),
    /// Blocks that others check already.
    Blocks(Arc<Shared>),
}

/// Blocks of a packet that threads check together: each takes the next one, and who is done with the
/// last hands them all on.
struct Shared {
    port: Arc<Port>,
    peer: PeerRef,
    /// Of the packet.
    size: usize,
    head: BlockId,
    blocks: Mutex<Vec<Option<InboundBlock>>>,
    next: AtomicUsize,
    left: AtomicUsize,
}

impl Shared {
    fn new(
        port: Arc<Port>,
        peer: PeerRef,
        size: usize,
        head: BlockId,
        blocks: Vec<InboundBlock>,
    ) -> Self {
        let (next, left) = (AtomicUsize::new(0), AtomicUsize::new(blocks.len()));
        let blocks = Mutex::new(blocks.into_iter().map(Some).collect());
        Self { port, peer, size, head, blocks, next, left }
    }

    fn work(&self) {
        let context = self.port.context();
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let block = self.blocks.lock().get_mut(place).and_then(Option::take);
            let Some(mut block) = block else { return };
            block.check(&context, self.head);
            self.blocks.lock()[place] = Some(block);
            if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                let blocks = std::mem::take(&mut *self.blocks.lock());
                let blocks = Inbound::Blocks(blocks.into_iter().flatten().collect());
                self.port.packet(Input::Inbound(self.peer.clone(), blocks), self.size);
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Inner {
    /// Bounded by the network's budgets: a packet holds its room until it is done, and there are no
    /// more jobs for blocks than packets with blocks times threads.
    queue: Mutex<Queue>,
    wake: Condvar,
    network: Network,
    threads: usize,
}

/// The pool. Ends when it is stopped.
pub struct Verifier {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Verifier {
    /// Starts as many threads as there are cores.
    ///
    /// # Errors
    /// The operating system's, if no thread can be started.
    pub fn start(network: Network) -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let (queue, wake) = (Mutex::default(), Condvar::new());
        let inner = Arc::new(Inner { queue, wake, network, threads });
        let threads = (0..threads)
            .map(|n| {
                let inner = Arc::clone(&inner);
                std::thread::Builder::new().name(format!("verify-{n}")).spawn(move || inner.run())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { inner, threads: Mutex::new(threads) })
    }

    /// Queues a packet for a group.
    pub fn submit(&self, port: Arc<Port>, incoming: Incoming) {
        let mut queue = self.inner.queue.lock();
        if !queue.closed {
            queue.jobs.push_back(Job::Packet(port, incoming));
            drop(queue);
            self.inner.wake.notify_one();
        }
    }

    /// Ends the threads; blocks until they are gone.
    pub fn stop(&self) {
        {
            let mut queue = self.inner.queue.lock();
            queue.closed = true;
            queue.jobs.clear();
        }
        self.inner.wake.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn run(&self) {
        while let Some(job) = self.next() {
            match job {
                Job::Packet(port, incoming) => self.packet(port, incoming),
                Job::Blocks(shared) => shared.work(),
            }
        }
    }

    fn packet(&self, port: Arc<Port>, incoming: Incoming) {
        let context = port.context();
        let result = wire::verify::<Message>(&incoming.bytes, &context);
        let size = incoming.bytes.len();
        let (bytes, source) = incoming.into_parts();
        drop(bytes);
        let peer = source.peer();
        match result {
            Ok(inbound) => {
                self.network.judge(source, verdict_of(&inbound));
                match (inbound, port.behind()) {
                    (Inbound::Blocks(blocks), Some(head)) if !blocks.is_empty() => {
                        self.blocks(Shared::new(port, peer, size, head, blocks));
                    }
                    (inbound, _) => port.packet(Input::Inbound(peer, inbound), size),
                }
            }
            Err(error) => {
                tracing::debug!(group = %context.group, %error, "packet refused");
                metrics::counter!("quorate_packets_refused_total", "why" => why(&error))
                    .increment(1);
                self.network.judge(source, blame(&error));
            }
        }
    }

    /// Checks blocks together with the threads that have nothing else to do.
    fn blocks(&self, shared: Shared) {
        let shared = Arc::new(shared);
        let helpers = shared.left.load(Ordering::Relaxed).min(self.threads) - 1;
        {
            let mut queue = self.queue.lock();
            for _ in 0..helpers {
                queue.jobs.push_front(Job::Blocks(Arc::clone(&shared)));
            }
        }
        for _ in 0..helpers {
            self.wake.notify_one();
        }
        shared.work();
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }
}

/// A bundle with bad trxs among good ones is used but not passed on: whoever made it signed
/// nothing, so the peer that passed it on must not be blamed for all of it.
fn verdict_of(inbound: &Inbound<Message>) -> Verdict {
    match inbound {
        Inbound::Trxs { trxs, refused } if *refused > 0 => {
            if trxs.is_empty() {
                Verdict::Malformed
            } else {
                Verdict::Ignore
            }
        }
        _ => Verdict::Good,
    }
}

/// Views differ between nodes for a moment at a change, and versions for a while at an upgrade:
/// nobody's fault.
fn blame(error: &PacketError) -> Verdict {
    match error {
        PacketError::Version(_)
        | PacketError::UnknownView(_)
        | PacketError::UnknownSender { .. }
        | PacketError::Kind(_) => Verdict::Ignore,
        _ => Verdict::Malformed,
    }
}

fn why(error: &PacketError) -> &'static str {
    match error {
        PacketError::TooLarge(_) => "too_large",
        PacketError::Magic => "magic",
        PacketError::Version(_) => "version",
        PacketError::Group(_) => "group",
        PacketError::UnknownView(_) => "unknown_view",
        PacketError::UnknownSender { .. } => "unknown_sender",
        PacketError::Signature(_) => "signature",
        PacketError::Malformed(_) => "malformed",
        PacketError::Kind(_) => "kind",
    }
}
