//! Our own three nodes, with a signed-Raft group on them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::wire::Prepared;
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
    /// Starts three nodes and a group on them.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(program: &Path, dir: &Path, election_timeout: Duration) -> Result<Self> {
        let mut cluster = Cluster::new(program, Some(dir))?;
        cluster.set_log("warn");
        let election = format!("{}ms", election_timeout.as_millis());
        cluster.set_settings(&[
            ("service.election_timeout", &election),
            ("service.message_timeout", "100ms"),
        ]);
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
        Prepared::new("PUT", &at.to_string(), &path, &headers, value.to_owned())
    }

    /// A linearizable read.
    pub fn get(at: SocketAddr, group: &str, key: &str) -> Prepared {
        let path = format!("{}?consistency={}", path(group, key), Consistency::Linearizable.name());
        Prepared::new("GET", &at.to_string(), &path, &[], Vec::new())
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
