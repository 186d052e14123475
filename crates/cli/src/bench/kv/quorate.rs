//! Our own three nodes, with a signed-Raft group on them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::wire::{Prepared, Wire};
use crate::cluster::{Cluster, NodeProcess, ServiceGroup};
use crate::error::{CliError, Result};
use crate::service::{Consistency, escape};

/// A plain map: what is written is as readable on the disk as etcd's is.
const MAP: &str = "public:bench";
/// Longer than any election: a write that waits for a new leader is not given up.
const COMMIT_WAIT_MS: u64 = 15_000;

/// A group of ours.
pub struct Quorate {
    cluster: Cluster,
    group: ServiceGroup,
}

impl Quorate {
    /// Starts three nodes with these settings, and a group on them.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(
        program: &Path,
        dir: &Path,
        election_timeout: Duration,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let mut cluster = Cluster::new(program, Some(dir))?;
        cluster.set_log("warn");
        let election = format!("{}ms", election_timeout.as_millis());
        let mut all: Vec<(&str, &str)> =
            vec![("service.election_timeout", &election), ("service.message_timeout", "100ms")];
        all.extend(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        cluster.set_settings(&all);
        cluster.start_peers(3).await?;
        let group = ServiceGroup::form(cluster.nodes(), "bench kv").await?;
        Ok(Self { cluster, group })
    }

    /// Where its nodes take requests.
    pub fn endpoints(&self) -> Result<Vec<SocketAddr>> {
        let address = |node: &NodeProcess| {
            let url = node.info().api.as_str();
            let address = url.strip_prefix("http://").unwrap_or(url).parse();
            address.map_err(|_| CliError::failed(format!("{url} is no address of this machine")))
        };
        self.cluster.nodes().iter().map(address).collect()
    }

    /// Process ids.
    pub fn pids(&self) -> Vec<u32> {
        self.cluster.nodes().iter().filter_map(NodeProcess::pid).collect()
    }

    /// Which node leads.
    ///
    /// # Errors
    /// If nobody does in time.
    pub async fn leader(&self) -> Result<usize> {
        let leader = self.group.leader().await?;
        let place = self.cluster.nodes().iter().position(|n| n.name() == leader.name);
        Ok(place.expect("every node of the group is one of the cluster"))
    }

    /// Kills a node.
    pub fn kill(&mut self, node: usize) {
        self.cluster.nodes_mut()[node].kill();
    }

    /// Removes the leader from the group; it hands over by itself.
    ///
    /// # Errors
    /// If it does not do so.
    pub async fn retire(&self, leader: usize) -> Result<()> {
        let name = self.cluster.nodes()[leader].name();
        self.group.change(&[], &[name]).await
    }

    /// A write of a value, acknowledged when it is committed.
    pub fn put(at: SocketAddr, group: &str, key: &str, value: &[u8]) -> Prepared {
        let path = format!("{}?wait=committed&timeout_ms={COMMIT_WAIT_MS}", path(group, key));
        let headers = [("content-type", "application/octet-stream")];
        let said = json!({
            "ops": [{ "op": "put", "map": MAP, "key": BASE64.encode(key),
                "value": BASE64.encode(value) }],
            "encoding": "base64", "wait": "committed", "timeout_ms": COMMIT_WAIT_MS,
        });
        Prepared::new("PUT", &at.to_string(), &path, &headers, value.to_owned()).on_stream(&said)
    }

    /// A linearizable read.
    pub fn get(at: SocketAddr, group: &str, key: &str) -> Prepared {
        let path = format!("{}?consistency={}", path(group, key), Consistency::Linearizable.name());
        let said = json!({
            "ops": [{ "op": "get", "map": MAP, "key": BASE64.encode(key) }],
            "encoding": "base64",
        });
        Prepared::new("GET", &at.to_string(), &path, &[], Vec::new()).on_stream(&said)
    }

    /// The value in the answer to a read.
    pub fn value(answer: &[u8], wire: Wire) -> Option<Vec<u8>> {
        if wire != Wire::Stream {
            return Some(answer.to_owned());
        }
        let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
        BASE64.decode(answer["results"][0]["value"].as_str()?).ok()
    }

    /// The group's id.
    pub fn group(&self) -> &str {
        &self.group.id
    }

    /// Ends all nodes in order.
    ///
    /// # Errors
    /// If one does not end well.
    pub async fn stop(&mut self) -> Result<()> {
        self.cluster.stop().await
    }
}

fn path(group: &str, key: &str) -> String {
    format!("/api/v1/group/{group}/app/kv/{}/{key}", escape(MAP))
}
