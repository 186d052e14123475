//! What costs on this machine: what the simulator measures with our clock, and what needs an
//! operating system: threads, disk, the real network stack, the real API.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quorate_crypto::hash::sha256;
use quorate_crypto::member::MemberKey;
use quorate_ledger::ids::GroupId;
use quorate_node::p2p::{Delivery, Network, Settings, Verdict};
use quorate_simulator::whatif::costs::Costs;
use quorate_simulator::whatif::operations;
use quorate_storage::disk::{Disk as _, RealDisk};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::bench::per_post;
use crate::bench::process_usage::{cpu_seconds, threads_ns};
use crate::cluster::Workdir;
use crate::error::{CliError, Result};
use crate::output::spinner;

/// How often nearly everything is measured.
const PASSES: usize = 3;
/// Syncs measured.
const SYNCS: u64 = 60;
/// Bytes of each.
const SYNC_BYTES: usize = 4096;
/// Disks of nodes in use at a time in the busy measurement, as in the table.
const BUSY: usize = 4;
/// How often and how long each core works alone and together with the others, and on what.
const CROWDS: usize = 10;
const CROWD_NS: u64 = 100_000_000;
const CROWD_TEXT: usize = 32 * 1024;
const CROWD_ROUNDS: u64 = 64;
/// Times a thread wakes another.
const WAKES: u64 = 20_000;
/// Packets that are on their way together: so many that it does not count that threads are woken,
/// which is a cost of its own.
const BURST: usize = 32;
/// Bursts of small and of large packets.
const BURSTS: [usize; 2] = [200, 20];
/// Their sizes.
const SIZES: [usize; 2] = [1_000, 64 * 1024];
/// Packets sent alone, and the pause before each: all threads sleep then.
const ALONE: (u64, Duration) = (500, Duration::from_millis(2));
/// A packet that takes longer is lost.
const LOST: Duration = Duration::from_secs(20);

/// Links opened, one after the other.
const LINKS: usize = 15;
/// How often it is looked whether a network has a connection.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Measures the whole table. Takes about a minute and a half.
///
/// What a virtual machine's cores do in a second depends on what else its host does, so nearly all
/// is measured three times, and each entry's median counts.
///
/// # Errors
/// If the disk, the network or a node of our own does not work.
pub async fn measure(trx_bytes: usize) -> Result<Costs> {
    let bar = spinner("measuring this machine");
    let binary = std::env::current_exe()
        .map_err(|e| CliError::failed(format!("cannot find my own program: {e}")))?;
    let pass = |n: usize| {
        pass(trx_bytes, &binary, |what| {
            bar.set_message(format!("measuring {what} ({n} of {PASSES})"));
        })
    };
    let costs = medians(&(1..=PASSES).map(pass).collect::<Result<Vec<_>>>()?)?;
    bar.set_message("measuring the API of a node of our own");
    let post = per_post(&binary, trx_bytes).await?;
    bar.finish_and_clear();
    let server = costs.alone(post.server, post.busy, cores());
    Ok(Costs {
        client_post: costs.alone(post.client, post.busy, cores()),
        // What its group's thread does is in the table already.
        api_post: server.saturating_sub(costs.trx_admit + costs.trx_order),
        idle: post.idle,
        client_look: post.client_look,
        api_look: post.server_look,
        client_alone: post.client_alone,
        api_alone: post.api_alone,
        start: post.start,
        start_trx: post.start_trx,
        ..costs
    })
}

/// Measures all but what needs a whole node.
fn pass(trx_bytes: usize, binary: &Path, say: impl Fn(&str)) -> Result<Costs> {
    let mut costs =
        operations::measure(trx_bytes, &operations::SIZES, &mut thread_clock(), |what| say(what));
    say("the cores together");
    costs.crowded_percent = crowded()?;
    say("threads");
    costs.thread_wake = wake()?;
    costs.thread_alone = woken_alone().saturating_sub(costs.thread_wake);
    say("the disk");
    let dir = Workdir::temporary(binary)?;
    disk(&mut costs, dir.path())?;
    say("the network stack");
    network(&mut costs)?;
    say("links");
    links(&mut costs)?;
    Ok(costs)
}

/// Each entry's median.
fn medians(tables: &[Costs]) -> Result<Costs> {
    fn of(entries: &[&Value]) -> Value {
        match entries[0] {
            Value::Object(map) => {
                let entry = |key: &String| of(&entries.iter().map(|e| &e[key]).collect::<Vec<_>>());
                map.keys().map(|key| (key.clone(), entry(key))).collect()
            }
            Value::Array(items) => {
                let entry = |at: usize| of(&entries.iter().map(|e| &e[at]).collect::<Vec<_>>());
                (0..items.len()).map(entry).collect()
            }
            _ => median(entries.iter().filter_map(|entry| entry.as_u64()).collect()).into(),
        }
    }
    let failed = |error| CliError::failed(format!("tables of costs: {error}"));
    let tables: Vec<Value> = tables
        .iter()
        .map(serde_json::to_value)
        .collect::<std::result::Result<_, _>>()
        .map_err(failed)?;
    serde_json::from_value(of(&tables.iter().collect::<Vec<_>>())).map_err(failed)
}

/// A clock of the processor time of the calling thread; of time, where the system does not tell.
fn thread_clock() -> Box<dyn FnMut() -> u64> {
    let used = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    if used().is_some() {
        let mut last = 0;
        return Box::new(move || {
            last = used().unwrap_or(last).max(last);
            last
        });
    }
    let from = Instant::now();
    Box::new(move || u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds of processor time that this process has used.
fn cpu_ns() -> Result<u64> {
    Ok((cpu_seconds(std::process::id())? * 1e9) as u64)
}

/// The same, finer, of the threads that are alive.
fn own_threads_ns() -> Result<u64> {
    threads_ns(std::process::id())
}

/// What the same work takes while all cores do it, in percent of what it takes on one.
fn crowded() -> Result<u64> {
    let key = MemberKey::generate(&mut rand::rng());
    let text = vec![7; CROWD_TEXT];
    let signature = key.sign(&sha256(&text));
    // Signatures and hashes: about what most of a node's time goes into.
    let work = || -> u64 {
        let mut clock = thread_clock();
        let from = clock();
        let mut rounds = 0;
        while clock() - from < CROWD_NS {
            for _ in 0..CROWD_ROUNDS {
                assert!(key.public().verify(&sha256(&text), &signature.0), "an own signature");
            }
            rounds += CROWD_ROUNDS;
        }
        (clock() - from) / rounds
    };
    let cores = cores();
    // In turn, so that a slow moment of the host slows both.
    let percent = (0..CROWDS).map(|_| {
        let one = work();
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|t| t.join().expect("it only works")).sum::<u64>()
        });
        all * 100 / (cores as u64 * one).max(1)
    });
    Ok(median(percent.collect()).max(100))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Two threads wake each other in turn: processor time of one waking.
fn wake() -> Result<u64> {
    let (there, at_there) = channel::<()>();
    let (back, at_back) = channel::<()>();
    let from = cpu_ns()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while at_there.recv().is_ok() {
                if back.send(()).is_err() {
                    return;
                }
            }
        });
        for _ in 0..WAKES {
            // The other thread lives until `there` is dropped.
            if there.send(()).is_err() || at_back.recv().is_err() {
                return;
            }
        }
        drop(there);
    });
    Ok((cpu_ns()? - from) / (2 * WAKES))
}

/// A packet goes through two threads that sleep, as through those that verify and the group's: what
/// their work costs each of them more than if it were done again and again. What both do is check a
/// signature.
fn woken_alone() -> u64 {
    let (count, pause) = ALONE;
    let key = MemberKey::generate(&mut rand::rng());
    let text = vec![7; SIZES[0]];
    let signature = key.sign(&sha256(&text));
    let work = || assert!(key.public().verify(&sha256(&text), &signature.0), "an own signature");
    let hot = || {
        let mut clock = thread_clock();
        let from = clock();
        (0..count).for_each(|_| work());
        clock() - from
    };
    let hot = hot().min(hot());
    let ((to_first, first), (to_second, second)) = (channel::<()>(), channel::<()>());
    let alone = std::thread::scope(|scope| {
        let one = scope.spawn(move || {
            let mut clock = thread_clock();
            let from = clock();
            while first.recv().is_ok() {
                work();
                if to_second.send(()).is_err() {
                    break;
                }
            }
            clock() - from
        });
        let other = scope.spawn(move || {
            let mut clock = thread_clock();
            let from = clock();
            second.iter().for_each(|()| work());
            clock() - from
        });
        for _ in 0..count {
            std::thread::sleep(pause);
            // The first lives until its channel is closed.
            let _ = to_first.send(());
        }
        drop(to_first);
        [one, other].map(|thread| thread.join().expect("it only works")).iter().sum::<u64>()
    });
    alone.saturating_sub(2 * hot) / (2 * count)
}

fn disk(costs: &mut Costs, dir: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed(format!("the disk: {error}"));
    type Ran = std::result::Result<(Vec<u64>, u64), quorate_storage::disk::DiskError>;
    // How long each sync takes, and the processor time of all.
    let run = |name: String| -> Ran {
        let mut disk = RealDisk::open(dir.join(&name))?;
        disk.write("file", 0, &vec![0; SYNC_BYTES * SYNCS as usize])?;
        disk.sync("file")?;
        let mut took = Vec::new();
        let mut clock = thread_clock();
        let began = clock();
        for n in 0..SYNCS {
            disk.write("file", n * SYNC_BYTES as u64, &[7; SYNC_BYTES])?;
            let from = Instant::now();
            disk.sync("file")?;
            took.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        Ok((took, clock().saturating_sub(began)))
    };
    costs.disk_sync = median(run("alone".to_owned()).map_err(|e| failed(&e))?.0);
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..BUSY).map(|n| scope.spawn(move || run(format!("busy-{n}")))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().expect("a sync doesn't panic"));
        ended.collect::<std::result::Result<Vec<_>, _>>()
    });
    let (took, used): (Vec<_>, Vec<_>) = all.map_err(|e| failed(&e))?.into_iter().unzip();
    let took = took.concat();
    costs.disk_sync_cpu = used.iter().sum::<u64>() / took.len() as u64;
    costs.disk_sync_busy = median(took).max(costs.disk_sync);
    Ok(())
}

/// A network of the node on a thread of its own, as in a process of its own.
struct Peer {
    network: Network,
    key: MemberKey,
    sender: Sender<Got>,
    got: Receiver<Got>,
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

enum Got {
    Packet,
    Connected,
}

impl Peer {
    /// A network that knows another one.
    fn start(first: Option<&Self>) -> Result<Self> {
        let key = MemberKey::generate(&mut rand::rng());
        let settings = Settings {
            name: "costs".to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
            external: Vec::new(),
            bootstrap: first.map(|peer| peer.network.listen_addresses()).unwrap_or_default(),
            max_peers: 50,
            mdns: false,
            closed: false,
        };
        let (sender, got) = channel();
        let (started, wait) = channel();
        let (stop, stopped) = oneshot::channel();
        let member = key.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("an event queue can be made");
            let handle = runtime.handle().clone();
            runtime.block_on(async move {
                let begun = Network::start(settings, &member).await;
                let network = begun.as_ref().ok().cloned();
                let _ = started.send(begun.map(|network| (network, handle)));
                let _ = stopped.await;
                if let Some(network) = network {
                    network.stop().await;
                }
            });
        });
        let (network, runtime) = wait
            .recv()
            .map_err(|_| CliError::failed("a network of our own did not start"))?
            .map_err(|error| CliError::failed(error.to_string()))?;
        Ok(Self { network, key, sender, got, runtime, stop: Some(stop), thread: Some(thread) })
    }

    /// One that is in a group.
    fn member(group: GroupId, first: Option<&Self>) -> Result<Self> {
        let peer = Self::start(first)?;
        peer.join(group);
        Ok(peer)
    }

    /// Joins a group; does not wait for it.
    fn join(&self, group: GroupId) {
        let (judge, sender) = (self.network.clone(), self.sender.clone());
        let sink = move |delivery| match delivery {
            Delivery::Packet(incoming) => {
                let (_, source) = quorate_node::p2p::Incoming::into_parts(incoming);
                judge.judge(source, Verdict::Good);
                let _ = sender.send(Got::Packet);
            }
            Delivery::Connected(_) => drop(sender.send(Got::Connected)),
        };
        let (network, key) = (self.network.clone(), self.key.clone());
        // A network that has stopped connects nobody, which is noticed.
        self.runtime.spawn(async move {
            let _ = network.join(group, key, std::sync::Arc::new(sink)).await;
        });
    }

    /// Waits until it has a connection that is ready for questions.
    fn introduced(&self) -> Result<()> {
        let deadline = Instant::now() + LOST;
        while self.network.peers().values().all(|peer| peer.protocols.is_empty()) {
            if Instant::now() > deadline {
                return Err(CliError::failed("networks of our own did not connect"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn connected(&self, peers: usize) -> Result<()> {
        let deadline = Instant::now() + LOST;
        let mut count = 0;
        while count < peers {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.got.recv_timeout(left) {
                Ok(Got::Connected) => count += 1,
                Ok(Got::Packet) => {}
                Err(_) => return Err(CliError::failed("networks of our own did not connect")),
            }
        }
        Ok(())
    }

    /// Waits for so many packets; whether they came.
    fn packets(&self, count: usize, patience: Duration) -> bool {
        let mut missing = count;
        while missing > 0 {
            match self.got.recv_timeout(patience) {
                Ok(Got::Packet) => missing -= 1,
                Ok(Got::Connected) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Packets from one process's network to another's, and gossip among four.
fn network(costs: &mut Costs) -> Result<()> {
    let group = GroupId(uuid::Uuid::new_v4());
    let first = Peer::member(group, None)?;
    let mut peers = vec![first];
    for _ in 1..BUSY {
        peers.push(Peer::member(group, peers.first())?);
    }
    for peer in &peers {
        peer.connected(peers.len() - 1)?;
    }
    let to = peers[1].key.public();
    let stream = |packet: Vec<u8>| peers[0].network.send_to_member(group, &to, packet.into());
    let gossip = |packet: Vec<u8>| peers[0].network.gossip(group, packet.into());
    let (each, kib) = transfer(costs, &stream, &peers[1..2])?;
    (costs.packet, costs.packet_kib) = (each, kib);
    let burst = each + Costs::bytes(kib, SIZES[0] as u64);
    costs.runtime_wake = alone(&stream, &peers[1..2])?.saturating_sub(burst) / 2;
    let (each, kib) = transfer(costs, &gossip, &peers[1..])?;
    (costs.gossip, costs.gossip_kib) = (each, kib);
    let burst = each + Costs::bytes(kib, SIZES[0] as u64);
    let known = burst * (peers.len() - 1) as u64 + costs.runtime_wake * peers.len() as u64;
    costs.gossip_wake = alone(&gossip, &peers[1..])?.saturating_sub(known);
    Ok(())
}

/// A node that has just started finds another one of its group, whom a third one tells of.
fn links(costs: &mut Costs) -> Result<()> {
    let group = GroupId(uuid::Uuid::new_v4());
    let teller = Peer::start(None)?;
    let there = Peer::member(group, Some(&teller))?;
    let (mut took, mut used) = (Vec::new(), Vec::new());
    // The first finds nobody at first, perhaps: the other one may not have said yet that it is there.
    for n in 0..=LINKS {
        let here = Peer::start(Some(&teller))?;
        here.introduced()?;
        let (cpu, from) = (own_threads_ns()?, Instant::now());
        here.join(group);
        here.connected(1)?;
        there.connected(1)?;
        if n > 0 {
            took.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
            used.push(own_threads_ns()?.saturating_sub(cpu));
        }
    }
    costs.link = median(used);
    costs.link_wait = median(took).saturating_sub(costs.link);
    Ok(())
}

/// The median: another program's burst of work is not the usual pace.
fn median(mut figures: Vec<u64>) -> u64 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

/// What a packet costs at each of the receivers, both ends together, and a KiB of it.
fn transfer(costs: &Costs, send: &dyn Fn(Vec<u8>), receivers: &[Peer]) -> Result<(u64, u64)> {
    // Routes and meshes are found first.
    let deadline = Instant::now() + LOST;
    loop {
        send(content(SIZES[0]));
        if receivers.iter().all(|peer| peer.packets(1, Duration::from_millis(500))) {
            break;
        }
        if Instant::now() > deadline {
            return Err(CliError::failed("no packet arrives over the loopback network"));
        }
    }
    for peer in receivers {
        // What came late of the search for routes.
        while peer.packets(1, Duration::from_millis(200)) {}
    }
    let mut found = [0; 2];
    for ((size, bursts), cost) in SIZES.into_iter().zip(BURSTS).zip(&mut found) {
        let (from, began) = (cpu_ns()?, Instant::now());
        for _ in 0..bursts {
            (0..BURST).for_each(|_| send(content(size)));
            if !receivers.iter().all(|peer| peer.packets(BURST, LOST)) {
                return Err(CliError::failed("a packet was lost on the loopback network"));
            }
        }
        let used = cpu_ns()? - from;
        // Both ends work at the same time, so on cores that are not alone.
        let busy = used as f64 / began.elapsed().as_nanos() as f64;
        *cost = costs.alone(used, busy, cores()) / (bursts * BURST * receivers.len()) as u64;
    }
    let per_kib = found[1].saturating_sub(found[0]) * 1024 / (SIZES[1] - SIZES[0]) as u64;
    let small = per_kib * SIZES[0] as u64 / 1024;
    Ok((found[0].saturating_sub(small), per_kib))
}

/// What a packet costs that comes alone, all ends together.
fn alone(send: &dyn Fn(Vec<u8>), receivers: &[Peer]) -> Result<u64> {
    let (count, pause) = ALONE;
    let mut used = [0; 2];
    // First without packets: what the networks do by themselves.
    for (sends, used) in [false, true].into_iter().zip(&mut used) {
        let from = own_threads_ns()?;
        for _ in 0..count {
            std::thread::sleep(pause);
            if sends {
                send(content(SIZES[0]));
                if !receivers.iter().all(|peer| peer.packets(1, LOST)) {
                    return Err(CliError::failed("a packet was lost on the loopback network"));
                }
            }
        }
        *used = own_threads_ns()?.saturating_sub(from);
    }
    Ok(used[1].saturating_sub(used[0]) / count)
}

/// Bytes that were not sent before: gossip passes each message on once.
fn content(size: usize) -> Vec<u8> {
    let mut bytes = vec![7; size];
    bytes[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Costs, medians};

    #[test]
    fn each_entry_of_some_tables_has_its_own_median() {
        let table = |share: u64, combine: u64| {
            let mut costs = Costs { share, ..Costs::invented(250) };
            costs.committees[1].combine = combine;
            costs
        };
        let found = medians(&[table(1, 30), table(3, 10), table(2, 20)]);
        assert_eq!(found.expect("tables have the same entries"), table(2, 20));
    }
}
