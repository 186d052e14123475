//! A small pool of threads that checks packets before they reach a group's thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use quorate_replica::api::Input;
use quorate_replica::wire::{self, Inbound, PacketError};

use crate::group::{Message, Port};
use crate::p2p::{Incoming, Network, Verdict};

/// Most threads: checking is short, and the groups' threads need cores too.
const MAX_THREADS: usize = 8;

struct Job {
    port: Arc<Port>,
    incoming: Incoming,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Inner {
    /// Bounded by the network's budgets: a job holds its room until it is done.
    queue: Mutex<Queue>,
    wake: Condvar,
    network: Network,
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
        let inner = Arc::new(Inner { queue: Mutex::default(), wake: Condvar::new(), network });
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let threads = (0..count)
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
            queue.jobs.push_back(Job { port, incoming });
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
            let context = job.port.context();
            let result = wire::verify::<Message>(&job.incoming.bytes, &context);
            let size = job.incoming.bytes.len();
            let (bytes, source) = job.incoming.into_parts();
            drop(bytes);
            let peer = source.peer();
            match result {
                Ok(inbound) => {
                    self.network.judge(source, verdict_of(&inbound));
                    job.port.packet(Input::Inbound(peer, inbound), size);
                }
                Err(error) => {
                    tracing::debug!(group = %context.group, %error, "packet refused");
                    metrics::counter!("quorate_packets_refused_total", "why" => why(&error))
                        .increment(1);
                    self.network.judge(source, blame(&error));
                }
            }
        }
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
