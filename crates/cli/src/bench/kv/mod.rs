//! `quorate bench kv`: one load generator, two systems. Three nodes of a signed-Raft group of ours,
//! then three members of etcd, each as processes of their own on this machine with real syncs, in
//! turns; the same number of clients, the same values, each write acknowledged only when it is
//! committed, each read linearizable, all sent to the leader.
//!
//! Both are spoken to in their own best protocol, many clients on a connection: etcd in gRPC, ours on
//! streams (or over HTTP/1.1 or HTTP/2, [`crate::args::KvWire`]). The generator runs in this process and shares the machine
//! with what it measures; what it costs is shown beside.

mod etcd;
mod failover;
mod generator;
mod quorate;
mod report;
mod wire;

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::document::write_section;
use super::process_usage::cpu_seconds;
use crate::args::{KvArgs, KvSystem, KvWire};
use crate::cluster::Workdir;
use crate::error::{CliError, Result};
use crate::output::{Report, progress};

use etcd::Etcd;
use generator::{Target, closed_loop};
use quorate::Quorate;
use report::{Failover, Figures, Point};
use wire::{Channel, Prepared, Wire, WireError};

/// Keys that are written and read. Each has a value before reads begin.
const KEYS: usize = 4096;
/// Syncs of the raw disk that are timed.
const SYNCS: u32 = 200;

/// Runs the benchmark.
///
/// # Errors
/// If a system does not come up, or any request fails.
pub async fn run(args: &KvArgs) -> Result<Report> {
    let program = std::env::current_exe()
        .map_err(|e| CliError::failed(format!("cannot find my own program: {e}")))?;
    let workdir = Workdir::temporary(&program)?;
    let with_etcd = args.systems.contains(&KvSystem::Etcd);
    let mut figures = Figures::new(args);
    if with_etcd {
        figures.etcd_version = Some(Etcd::version(&args.etcd)?);
    }
    figures.sync_us = raw_sync(workdir.path())?;
    let steps = args.rounds * args.systems.len() * (2 + args.clients.len() + 1 + args.events());
    let bar = progress(steps as u64, "bench kv");
    for round in 0..args.rounds {
        for system in &args.systems {
            let bench = Bench { args, system: *system, program: &program, bar: &bar };
            let dir = workdir.path().join(format!("{round}-{}", system.name()));
            bench.round(&dir, &mut figures).await?;
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &args.write {
        write_section(path, "kv", &figures.markdown())?;
    }
    Ok(Report::new(figures.to_json(), figures.human()))
}

/// A system that runs.
enum System {
    Quorate(Box<Quorate>, Wire),
    Etcd(Etcd),
}

impl System {
    async fn start(bench: &Bench<'_>, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| CliError::file("make", dir, &e))?;
        let election = Duration::from_millis(bench.args.election_timeout);
        let wire = match bench.args.wire {
            KvWire::Http1 => Wire::Http1,
            KvWire::Http2 => Wire::Http2,
            KvWire::Stream => Wire::Stream,
        };
        Ok(match bench.system {
            KvSystem::Quorate => {
                let settings = &bench.args.settings;
                let group = Quorate::start(bench.program, dir, election, settings).await?;
                Self::Quorate(Box::new(group), wire)
            }
            KvSystem::Etcd => Self::Etcd(Etcd::start(&bench.args.etcd, dir, election).await?),
        })
    }

    async fn leader(&mut self) -> Result<usize> {
        match self {
            Self::Quorate(group, _) => group.leader().await,
            Self::Etcd(group) => group.leader().await,
        }
    }

    fn endpoints(&self) -> Result<Vec<SocketAddr>> {
        match self {
            Self::Quorate(group, _) => group.endpoints(),
            Self::Etcd(group) => Ok(group.endpoints()),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Quorate(group, _) => group.pids(),
            Self::Etcd(group) => group.pids(),
        }
    }

    const fn wire(&self) -> Wire {
        match self {
            Self::Quorate(_, wire) => *wire,
            Self::Etcd(_) => Wire::Grpc,
        }
    }

    fn put(&self, at: SocketAddr, key: &str, value: &[u8]) -> Prepared {
        match self {
            Self::Quorate(group, _) => Quorate::put(at, group.group(), key, value),
            Self::Etcd(_) => Etcd::put(at, key, value),
        }
    }

    fn get(&self, at: SocketAddr, key: &str) -> Prepared {
        match self {
            Self::Quorate(group, _) => Quorate::get(at, group.group(), key),
            Self::Etcd(_) => Etcd::get(at, key),
        }
    }

    /// The value in the answer to a read.
    fn value(&self, answer: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Quorate(_, wire) => Quorate::value(answer, *wire),
            Self::Etcd(_) => Etcd::value(answer),
        }
    }

    fn kill(&mut self, node: usize) {
        match self {
            Self::Quorate(group, _) => group.kill(node),
            Self::Etcd(group) => group.kill(node),
        }
    }

    async fn retire(&mut self, leader: usize) -> Result<()> {
        match self {
            Self::Quorate(group, _) => group.retire(leader).await,
            Self::Etcd(group) => group.retire(leader).await,
        }
    }

    async fn stop(&mut self) -> Result<()> {
        match self {
            Self::Quorate(group, _) => group.stop().await,
            Self::Etcd(group) => {
                group.stop();
                Ok(())
            }
        }
    }
}

/// One system in one round.
struct Bench<'a> {
    args: &'a KvArgs,
    system: KvSystem,
    program: &'a Path,
    bar: &'a ProgressBar,
}

impl Bench<'_> {
    async fn round(&self, dir: &Path, figures: &mut Figures) -> Result<()> {
        let mut system = System::start(self, &dir.join("load")).await?;
        let leader = system.leader().await?;
        let at = system.endpoints()?[leader];
        let (writes, reads) = self.requests(&system, at);
        // Every key has its value before it is read.
        self.fill(&system, at, &writes).await?;
        let target = |requests: &Arc<[Prepared]>| Target {
            to: vec![at],
            wire: system.wire(),
            requests: requests.clone(),
        };
        self.point("write", &target(&writes), 1, &system, figures).await?;
        for clients in &self.args.clients {
            self.point("write", &target(&writes), *clients, &system, figures).await?;
        }
        self.check_read(&system, at, &reads).await?;
        self.point("read", &target(&reads), self.args.readers, &system, figures).await?;
        system.stop().await?;
        self.events(dir, figures).await
    }

    async fn events(&self, dir: &Path, figures: &mut Figures) -> Result<()> {
        for (wanted, event) in [
            (self.args.kill_leader, failover::Event::Kill),
            (self.args.retire_leader, failover::Event::Retire),
        ] {
            if !wanted {
                continue;
            }
            self.bar.set_message(format!("{}: {}", self.system.name(), event.name()));
            let mut system = System::start(self, &dir.join(event.name())).await?;
            let requests = |system: &System, at| self.requests(system, at).0;
            let seen = failover::run(&mut system, event, requests).await?;
            system.stop().await?;
            figures.failovers.push(Failover { system: self.system, event: event.name(), seen });
            self.bar.inc(1);
        }
        Ok(())
    }

    /// Writes and reads of all keys.
    fn requests(&self, system: &System, at: SocketAddr) -> (Arc<[Prepared]>, Arc<[Prepared]>) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut value = vec![0; self.args.size];
        let mut writes = Vec::with_capacity(KEYS);
        let mut reads = Vec::with_capacity(KEYS);
        for n in 0..KEYS {
            let key = format!("key-{n:06}");
            rng.fill(&mut value[..]);
            writes.push(system.put(at, &key, &value));
            reads.push(system.get(at, &key));
        }
        (writes.into(), reads.into())
    }

    /// Writes every key once.
    async fn fill(&self, system: &System, at: SocketAddr, writes: &Arc<[Prepared]>) -> Result<()> {
        self.bar.set_message(format!("{}: filling", self.system.name()));
        let mut tasks = tokio::task::JoinSet::new();
        for part in 0..FILLERS {
            let writes = writes.clone();
            let wire = system.wire();
            tasks.spawn(async move {
                let mut channel = Channel::connect(at, wire).await?;
                for write in writes.iter().skip(part).step_by(FILLERS) {
                    channel.call(write).await?;
                }
                Ok::<(), WireError>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(|e| CliError::failed(e.to_string()))?.map_err(|e| self.failed(&e))?;
        }
        self.bar.inc(1);
        Ok(())
    }

    fn failed(&self, error: &WireError) -> CliError {
        CliError::failed(format!("{}: {error}", self.system.name()))
    }

    /// What is read is what was written: a value of the right size.
    async fn check_read(
        &self,
        system: &System,
        at: SocketAddr,
        reads: &Arc<[Prepared]>,
    ) -> Result<()> {
        let mut channel = Channel::connect(at, system.wire()).await.map_err(|e| self.failed(&e))?;
        let answer = channel.call(&reads[0]).await.map_err(|e| self.failed(&e))?;
        match system.value(&answer) {
            Some(value) if value.len() == self.args.size => Ok(()),
            value => Err(CliError::failed(format!(
                "{} answers a read with {} bytes of {}",
                self.system.name(),
                value.map_or(0, |v| v.len()),
                self.args.size
            ))),
        }
    }

    async fn point(
        &self,
        kind: &'static str,
        target: &Target,
        clients: usize,
        system: &System,
        figures: &mut Figures,
    ) -> Result<()> {
        self.bar.set_message(format!("{}: {kind}s by {clients}", self.system.name()));
        let (servers, own) = (system.pids(), [std::process::id()]);
        let before = (cpu(&servers)?, cpu(&own)?);
        let length = Duration::from_secs(self.args.seconds);
        let measured = closed_loop(target, clients, length).await?;
        let after = (cpu(&servers)?, cpu(&own)?);
        // The processor time covers the warm-up as well.
        let all = measured.rate() * (length + generator::WARM_UP).as_secs_f64();
        let each = |seconds: f64| seconds * 1e6 / all.max(1.0);
        figures.points.push(Point {
            system: self.system,
            kind,
            clients,
            client_us: each(after.1 - before.1),
            server_us: each(after.0 - before.0),
            measured,
        });
        self.bar.inc(1);
        Ok(())
    }
}

/// Writers that fill the store.
const FILLERS: usize = 32;

/// Processor time of some processes so far, in seconds.
fn cpu(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_seconds(*pid)).sum()
}

/// Median time of overwriting a page and syncing it, in microseconds: what no system can be faster
/// than.
fn raw_sync(dir: &Path) -> Result<f64> {
    let path: PathBuf = dir.join("sync");
    let failed = |e: std::io::Error| CliError::file("write", &path, &e);
    let file = File::create(&path).map_err(failed)?;
    let page = [1; 4096];
    file.write_all_at(&page, 0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let from = Instant::now();
        file.write_all_at(&page, 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        times.push(from.elapsed().as_secs_f64() * 1e6);
    }
    Ok(report::median(times).unwrap_or_default())
}
