//! etcd as Debian packages it: three processes on this machine, spoken to in gRPC.
//!
//! The messages are those of etcd's published interface (`etcdserverpb`), the few fields of them
//! that are needed here.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prost::Message;

use super::wire::{Channel, Prepared, Wire, WireError, grpc_frame};
use crate::error::{CliError, Result};
use crate::wait::{Look, until};

/// How long the members may take to agree on a leader, and to do a change.
const LIMIT: Duration = Duration::from_secs(30);
/// What gRPC wants in every request.
const HEADERS: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];
/// The key-value service.
const PUT: &str = "/etcdserverpb.KV/Put";
/// Linearizable unless asked for less.
const RANGE: &str = "/etcdserverpb.KV/Range";

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct MoveLeaderRequest {
    #[prost(uint64, tag = "1")]
    target: u64,
}

#[derive(Clone, PartialEq, Message)]
struct MemberRemoveRequest {
    #[prost(uint64, tag = "1")]
    id: u64,
}

/// A group of etcd. Its processes end with it, and with this program.
pub struct Etcd {
    members: Vec<Member>,
}

struct Member {
    client: SocketAddr,
    child: Child,
    id: u64,
}

impl Etcd {
    /// What is installed: its version.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn version(program: &Path) -> Result<String> {
        let output = Command::new(program).arg("--version").output().map_err(|e| {
            CliError::file("run", program, &e)
                .hint("install it with `.ci/setup etcd`, or leave it out with --systems quorate")
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().find_map(|line| line.strip_prefix("etcd Version: "));
        Ok(version.unwrap_or("unknown").trim().to_owned())
    }

    /// Starts three members with their data in `dir`.
    ///
    /// # Errors
    /// If they do not agree on a leader in time.
    pub async fn start(program: &Path, dir: &Path, election_timeout: Duration) -> Result<Self> {
        let ports = free_ports(6)?;
        let peers: Vec<String> = (0..3).map(|n| format!("m{n}=http://{}", ports[n])).collect();
        let mut group = Self { members: Vec::new() };
        for n in 0..3 {
            let place = dir.join(format!("m{n}"));
            let child = spawn(program, &place, n, &ports, &peers.join(","), election_timeout)?;
            group.members.push(Member { client: ports[3 + n], child, id: 0 });
        }
        group.leader().await?;
        for member in &mut group.members {
            member.id = status(member.client)
                .await
                .map_err(|e| CliError::failed(format!("etcd: {e}")))?
                .header
                .map(|h| h.member_id)
                .unwrap_or_default();
        }
        Ok(group)
    }

    /// Where its members take requests.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|m| m.client).collect()
    }

    /// Process ids.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|m| m.child.id()).collect()
    }

    /// Which member leads, when all that run agree.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn leader(&mut self) -> Result<usize> {
        let late = until("the members of etcd agreeing on a leader", LIMIT, || async {
            let mut leader = None;
            for (n, member) in self.members.iter().enumerate() {
                match status(member.client).await {
                    Ok(s) if s.leader == 0 => return Look::NotYet("no leader".to_owned()),
                    Ok(s) => {
                        if s.header.is_some_and(|h| h.member_id == s.leader) {
                            leader = Some(n);
                        }
                    }
                    Err(error) => return Look::NotYet(error.to_string()),
                }
            }
            leader.map_or_else(|| Look::NotYet("no leader".to_owned()), Look::Done)
        });
        Ok(late.await?)
    }

    /// Kills a member.
    pub fn kill(&mut self, member: usize) {
        let child = &mut self.members[member].child;
        // An error means that it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Hands the lead to another member and removes the leader, as its handbook says to.
    ///
    /// # Errors
    /// If it does not do so.
    pub async fn retire(&mut self, leader: usize) -> Result<()> {
        let next = (leader + 1) % self.members.len();
        let (from, to) = (&self.members[leader], &self.members[next]);
        let failed = |e: WireError| CliError::failed(format!("etcd does not retire: {e}"));
        let hand_over = grpc_frame(&MoveLeaderRequest { target: to.id });
        call(from.client, "/etcdserverpb.Maintenance/MoveLeader", hand_over)
            .await
            .map_err(failed)?;
        let remove = grpc_frame(&MemberRemoveRequest { id: from.id });
        call(to.client, "/etcdserverpb.Cluster/MemberRemove", remove).await.map_err(failed)?;
        Ok(())
    }

    /// A write of a value.
    pub fn put(at: SocketAddr, key: &str, value: &[u8]) -> Prepared {
        let message = PutRequest { key: key.into(), value: value.to_owned() };
        Prepared::new("POST", &at.to_string(), PUT, &HEADERS, grpc_frame(&message))
    }

    /// A linearizable read.
    pub fn get(at: SocketAddr, key: &str) -> Prepared {
        let message = RangeRequest { key: key.into() };
        Prepared::new("POST", &at.to_string(), RANGE, &HEADERS, grpc_frame(&message))
    }

    /// The value in the answer to a read.
    pub fn value(answer: &[u8]) -> Option<Vec<u8>> {
        RangeResponse::decode(answer).ok()?.kvs.pop().map(|kv| kv.value)
    }

    /// Ends all members.
    pub fn stop(&mut self) {
        for member in 0..self.members.len() {
            self.kill(member);
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(
    program: &Path,
    place: &Path,
    n: usize,
    ports: &[SocketAddr],
    peers: &str,
    election_timeout: Duration,
) -> Result<Child> {
    std::fs::create_dir_all(place).map_err(|e| CliError::file("make", place, &e))?;
    let log: PathBuf = place.with_extension("log");
    let log = File::create(&log).map_err(|e| CliError::file("write", &log, &e))?;
    let (peer, client) = (format!("http://{}", ports[n]), format!("http://{}", ports[3 + n]));
    // It ends with us even if we are killed: etcd has no such flag of its own.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(["--name", &format!("m{n}"), "--initial-cluster", peers])
        .args(["--initial-cluster-state", "new", "--initial-cluster-token", "bench"])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--heartbeat-interval", "100", "--election-timeout"])
        .arg(election_timeout.as_millis().to_string())
        .args(["--quota-backend-bytes", "8589934592", "--logger", "zap", "--log-level", "error"])
        .arg("--data-dir")
        .arg(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| CliError::file("start", program, &e))
}

/// Ports that nobody has now.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let failed = |e: std::io::Error| CliError::failed(format!("no free port: {e}"));
    let taken: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()
        .map_err(failed)?;
    taken.iter().map(|t| t.local_addr().map_err(failed)).collect()
}

async fn status(at: SocketAddr) -> Result<StatusResponse, WireError> {
    let answer =
        call(at, "/etcdserverpb.Maintenance/Status", grpc_frame(&StatusRequest {})).await?;
    StatusResponse::decode(answer).map_err(|e| WireError::Lost(e.to_string()))
}

async fn call(at: SocketAddr, path: &str, body: bytes::Bytes) -> Result<bytes::Bytes, WireError> {
    let request = Prepared::new("POST", &at.to_string(), path, &HEADERS, body);
    Channel::connect(at, Wire::Grpc).await?.call(&request).await
}
