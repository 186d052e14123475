//! A network of real nodes on this machine, each a child process with its own data directory.
//!
//! `quorate dev`, `quorate bench load` and the cross-process tests all run on this.

mod group;
mod poster;
mod process;
mod service;
mod workdir;

use std::path::{Path, PathBuf};

use rand::RngExt as _;

use crate::error::{CliError, Result};

pub use group::{Formed, Group, Member, same_blocks};
pub use poster::{Posted, Poster, note};
pub use process::{NodeProcess, NodeSpec, ProcessError, Ready, Role};
pub use service::{Joined, ServiceGroup};
pub use workdir::{Workdir, janitor};

impl From<ProcessError> for CliError {
    fn from(error: ProcessError) -> Self {
        Self::failed(error.to_string())
    }
}

/// A network of nodes. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: first the nodes, then the directory they write to.
    nodes: Vec<NodeProcess>,
    binary: PathBuf,
    password: String,
    log: String,
    settings: Vec<(String, String)>,
    workdir: Workdir,
}

impl Cluster {
    /// An empty network. `binary` is the `quorate` program, `keep` a directory that stays.
    ///
    /// # Errors
    /// If there is no place for the data.
    pub fn new(binary: &Path, keep: Option<&Path>) -> Result<Self> {
        let workdir = match keep {
            Some(path) => Workdir::keep(path)?,
            None => Workdir::temporary(binary)?,
        };
        // Lives as long as this process; nobody needs to know it but the nodes.
        let password = hex::encode(rand::rng().random::<[u8; 16]>());
        Ok(Self {
            nodes: Vec::new(),
            binary: binary.to_owned(),
            password,
            log: "info".to_owned(),
            settings: Vec::new(),
            workdir,
        })
    }

    /// Sets what nodes log that are started from now on.
    pub fn set_log(&mut self, filter: &str) {
        filter.clone_into(&mut self.log);
    }

    /// Sets the configuration of nodes that are started from now on, by dotted keys.
    pub fn set_settings(&mut self, settings: &[(&str, &str)]) {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        self.settings = settings.iter().map(owned).collect();
    }

    /// Where the data is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.workdir.path()
    }

    /// Password of the nodes' keystores.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Starts a node without waiting for it; its position in [`Cluster::nodes`]. It connects to the
    /// bootstrap node of the network, if there is one that is ready.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn spawn(&mut self, name: &str, role: Role) -> Result<usize> {
        self.spawn_wrapped(name, role, &[])
    }

    /// As [`Cluster::spawn`], run by another program, which must replace itself by the node.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn spawn_wrapped(&mut self, name: &str, role: Role, wrapper: &[String]) -> Result<usize> {
        let bootstrap = self.nodes.iter().find(|n| n.role() == Role::Bootstrap);
        // Without one, nodes connect to those that were there before them.
        let known: Vec<&NodeProcess> = match bootstrap {
            Some(node) => vec![node],
            None => self.nodes.iter().filter(|n| n.has_been_ready()).collect(),
        };
        let peers = known.iter().filter_map(|n| n.info().listen.first().cloned()).collect();
        let spec = NodeSpec {
            binary: self.binary.clone(),
            wrapper: wrapper.to_vec(),
            name: name.to_owned(),
            role,
            dir: self.workdir.path().join(name),
            peers,
            password: self.password.clone(),
            log: self.log.clone(),
            settings: self.settings.clone(),
        };
        self.nodes.push(NodeProcess::spawn(spec)?);
        Ok(self.nodes.len() - 1)
    }

    /// Waits until every node that was started is ready.
    ///
    /// # Errors
    /// The first that does not become ready, with the end of its log.
    pub async fn ready(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.ready().await?;
        }
        Ok(())
    }

    /// A bootstrap node, `producers` nodes `p1`.. and `users` nodes `u1`.., all ready.
    ///
    /// # Errors
    /// If one does not become ready.
    pub async fn start(&mut self, producers: usize, users: usize) -> Result<()> {
        self.spawn("bootstrap", Role::Bootstrap)?;
        self.ready().await?;
        for n in 1..=producers {
            self.spawn(&format!("p{n}"), Role::Producer)?;
        }
        for n in 1..=users {
            self.spawn(&format!("u{n}"), Role::User)?;
        }
        self.ready().await
    }

    /// Nodes `p1`.. without a bootstrap node, all ready, connected to each other.
    ///
    /// # Errors
    /// If one does not become ready.
    pub async fn start_peers(&mut self, count: usize) -> Result<()> {
        for n in 1..=count {
            self.spawn(&format!("p{n}"), Role::Producer)?;
            self.ready().await?;
        }
        Ok(())
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// All nodes.
    pub fn nodes_mut(&mut self) -> &mut [NodeProcess] {
        &mut self.nodes
    }

    /// The node of a name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn node(&self, name: &str) -> &NodeProcess {
        self.nodes.iter().find(|n| n.name() == name).expect("the node was started")
    }

    /// The node of a name.
    ///
    /// # Panics
    /// If there is none.
    pub fn node_mut(&mut self, name: &str) -> &mut NodeProcess {
        self.nodes.iter_mut().find(|n| n.name() == name).expect("the node was started")
    }

    /// Nodes that take part in groups.
    pub fn members(&self) -> impl Iterator<Item = &NodeProcess> {
        self.nodes.iter().filter(|n| n.role() != Role::Bootstrap)
    }

    /// Stops every node in order.
    ///
    /// # Errors
    /// The first that does not stop well; the others are stopped nevertheless.
    pub async fn stop(&mut self) -> Result<()> {
        let mut result = Ok(());
        for node in self.nodes.iter_mut().rev() {
            let stopped = node.stop().await.map_err(CliError::from);
            result = result.and(stopped);
        }
        result
    }
}
