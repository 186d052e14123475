//! A running node: starts everything, keeps the groups, stops everything.
//!
//! ```text
//! <data>/lock                      held while a node runs
//! <data>/keystore/                 see [`crate::keystore`] (unless configured elsewhere)
//! <data>/descriptors/<gid>.json    seed of a group, and whether this node is in it
//! <data>/groups/<gid>/             the group's store
//! ```

mod files;
mod hosted;
mod opening;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, RwLock};
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::member::MemberKey;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::GroupId;
use quorate_ledger::seed::{ChainUrl, Seed, SeedError};
use quorate_ledger::view::Protocol;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::api;
use crate::api::token::Tokens;
use crate::bootstrap;
use crate::config::NodeConfig;
use crate::group::{Committed, GroupError, events};
use crate::keystore::{Keystore, KeystoreError, password_of};
use crate::p2p::{Network, NetworkError, Settings};
use crate::service::{Service, ServiceError};
use crate::telemetry;
use crate::verify::Verifier;
pub use files::lock;
use files::{Files, Record};
pub use hosted::Hosted;

/// Most groups a node opens.
const MAX_GROUPS: usize = 256;
/// How long open HTTP requests may take to end when the node stops.
const HTTP_STOP: Duration = Duration::from_secs(3);

/// What a node is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Hosts groups.
    Full,
    /// Only tells others where nodes are.
    Bootstrap,
}

impl NodeKind {
    /// Name as the API writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "peer",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// Why a node cannot start or do something.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The keystore's.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The network's.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A group's.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A `cft` group's.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A seed is wrong.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// Another process uses the data directory.
    #[error("the data directory {0} is used by a running node; stop it or use another one")]
    Locked(PathBuf),
    /// A file or directory of the node.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A descriptor is damaged.
    #[error("{path} is damaged: {why}; restore it from a backup, or remove it and join again")]
    Descriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The API's address cannot be listened on.
    #[error("cannot listen on {address}: {source}; change api.listen or stop who uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The group has been joined already.
    #[error("group with group_id <{0}> already exist")]
    AlreadyExists(GroupId),
    /// This node is not in the group.
    #[error("group <{0}> not exist")]
    NotFound(GroupId),
    /// A group must be left before its data are removed.
    #[error("Can not clear joined group")]
    Joined,
    /// This build does not have it.
    #[error("{0}")]
    Unsupported(String),
    /// The node hosts as many groups as it may.
    #[error("this node hosts {MAX_GROUPS} groups already; leave one first")]
    TooManyGroups,
    /// A background task has gone.
    #[error("the node is stopping")]
    Stopping,
}

/// What a new group is made from.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its name, 2 to 100 characters.
    pub name: String,
    /// Key of the application, 4 to 20 characters.
    pub app_key: String,
    /// Who may read.
    pub encryption: Encryption,
    /// How it orders.
    pub consensus: Protocol,
}

/// What all parts of a node share.
pub struct Inner {
    pub(crate) kind: NodeKind,
    pub(crate) config: NodeConfig,
    pub(crate) network: Network,
    pub(crate) tokens: Tokens,
    pub(crate) identity: MemberKey,
    pub(crate) events: broadcast::Sender<Committed>,
    pub(crate) stop: watch::Sender<Option<String>>,
    pub(crate) api_addr: SocketAddr,
    pub(crate) started: Instant,
    keystore: Arc<Keystore>,
    verifier: Verifier,
    files: Files,
    groups: RwLock<BTreeMap<GroupId, Hosted>>,
    /// The service at `/node` and `/app`.
    main: ArcSwapOption<Service>,
    /// Creating, joining, leaving and clearing happen one after the other.
    changes: tokio::sync::Mutex<()>,
    server: Mutex<Option<JoinHandle<()>>>,
}

/// Handle of a running node; clones share it.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.inner.network.peer_id())
    }
}

impl Node {
    /// Starts a node inside the current tokio runtime (which needs at least one worker thread) and
    /// opens all groups it is in. Returns when the API answers.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(config: NodeConfig, kind: NodeKind) -> Result<Self, NodeError> {
        telemetry::metrics();
        let files = Files::open(&config.data_dir)?;
        let keystore = open_keystore(&config).await?;
        let identity = keystore.node_key()?;
        tracing::debug!("the keystore is open");
        let tokens = match &config.api.jwt_key {
            Some(key) => Tokens::new(key.expose().as_bytes()),
            None => Tokens::new(&keystore.token_key()?),
        };
        let settings = match kind {
            NodeKind::Full => settings(&config),
            NodeKind::Bootstrap => bootstrap::settings(settings(&config)),
        };
        let network = Network::start(settings, &identity).await?;
        let address = config.api.listen;
        let listen = |source| NodeError::Listen { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
        let api_addr = listener.local_addr().map_err(listen)?;
        let verifier = Verifier::start(network.clone())
            .map_err(|source| NodeError::Io { path: PathBuf::from("threads"), source })?;
        let inner = Arc::new(Inner {
            kind,
            config,
            network,
            tokens,
            identity,
            events: events(),
            stop: watch::Sender::new(None),
            api_addr,
            started: Instant::now(),
            keystore: Arc::new(keystore),
            verifier,
            files,
            groups: RwLock::default(),
            main: ArcSwapOption::empty(),
            changes: tokio::sync::Mutex::new(()),
            server: Mutex::default(),
        });
        let node = Self { inner };
        if kind == NodeKind::Full
            && let Err(error) = node.restore().await
        {
            node.close().await;
            return Err(error);
        }
        node.inner.network.open();
        tracing::debug!(groups = node.groups().len(), "the groups are open");
        let server = api::serve(node.clone(), listener);
        *node.inner.server.lock() = Some(tokio::spawn(server));
        tracing::info!(api = %api_addr, peer = %node.peer_id(), "node started");
        Ok(node)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Where the API answers.
    #[must_use]
    pub fn api_addr(&self) -> SocketAddr {
        self.inner.api_addr
    }

    /// The node's network identity.
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.inner.network.peer_id().to_string()
    }

    /// Addresses listened on, with the identity: what other nodes take as `--peer`.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<String> {
        self.inner.network.listen_addresses().iter().map(ToString::to_string).collect()
    }

    /// The groups this node is in, by id.
    #[must_use]
    pub fn groups(&self) -> Vec<Hosted> {
        self.inner.groups.read().values().cloned().collect()
    }

    /// A group this node is in.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<Hosted> {
        self.inner.groups.read().get(&id).cloned()
    }

    /// The service at `/node` and `/app`: that of the configuration, or the only one.
    #[must_use]
    pub fn main_service(&self) -> Option<Arc<Service>> {
        self.inner.main.load_full()
    }

    fn choose_main(&self) {
        let groups = self.inner.groups.read();
        let mut services = groups.values().filter_map(Hosted::service);
        let main = match self.inner.config.service.group {
            Some(id) => services.find(|service| service.id() == id),
            None => services.next().filter(|_| services.next().is_none()),
        };
        self.inner.main.store(main.cloned());
    }

    /// Makes a group owned by this node.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn create_group(&self, new: NewGroup) -> Result<Hosted, NodeError> {
        let _one = self.inner.changes.lock().await;
        supported(new.consensus, new.encryption)?;
        self.room()?;
        let id = GroupId(Uuid::new_v4());
        let keys = self.inner.keystore.group_keys(id)?;
        let genesis = GenesisBlock::build(&keys.member, id, now_ns());
        let descriptor = GroupDescriptor {
            id,
            name: new.name,
            owner: keys.member.public(),
            consensus: new.consensus,
            encryption: new.encryption,
            cipher_key: SymmetricKey::generate(&mut rand::rng()),
            app_key: new.app_key,
            genesis,
        };
        let seed = Seed::new(descriptor.clone(), Vec::new(), Some(&keys.member));
        let record = Record { seed: seed.to_url()?, create: true, joined: true };
        self.inner.files.write(id, &record)?;
        self.open_group(descriptor, true).await
    }

    /// Joins (or joins again) the group of a seed URL.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn join_group(&self, url: &str) -> Result<Hosted, NodeError> {
        let seed = Seed::parse_verified(url)?;
        let _one = self.inner.changes.lock().await;
        let id = seed.group.id;
        if self.group(id).is_some() {
            return Err(NodeError::AlreadyExists(id));
        }
        supported(seed.group.consensus, seed.group.encryption)?;
        self.room()?;
        let before = self.inner.files.read(id)?;
        // What there is already was made with the seed of then.
        let (create, descriptor, url) = match before {
            Some(record) => {
                let old = Seed::parse_verified(&record.seed)?;
                if old.group.genesis == seed.group.genesis {
                    (record.create, old.group, record.seed)
                } else {
                    return Err(NodeError::Descriptor {
                        path: self.inner.files.descriptor(id),
                        why: "it is of another group with the same id".to_owned(),
                    });
                }
            }
            None => (false, seed.group, url.trim().to_owned()),
        };
        self.inner.files.write(id, &Record { seed: url, create, joined: true })?;
        self.open_group(descriptor, create).await
    }

    /// Leaves a group. Its data and keys stay.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn leave_group(&self, id: GroupId) -> Result<(), NodeError> {
        let _one = self.inner.changes.lock().await;
        let group = self.group(id).ok_or(NodeError::NotFound(id))?;
        let record = self.inner.files.read(id)?.ok_or(NodeError::NotFound(id))?;
        self.inner.files.write(id, &Record { joined: false, ..record })?;
        self.inner.groups.write().remove(&id);
        self.choose_main();
        // The goodbye leaves before the network forgets the group.
        stop_group(group).await;
        self.inner.network.leave(id).await?;
        Ok(())
    }

    /// Removes the data of a group that was left. The member's keys stay in the keystore.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn clear_group(&self, id: GroupId) -> Result<(), NodeError> {
        let _one = self.inner.changes.lock().await;
        if self.group(id).is_some() {
            return Err(NodeError::Joined);
        }
        if self.inner.files.read(id)?.is_none() {
            return Err(NodeError::NotFound(id));
        }
        // A member without its log must not come back as the same one.
        self.inner.keystore.remove_service_keys(id)?;
        self.inner.files.remove(id)
    }

    /// A seed URL of a group, with this node's chain API URL and a token for it if `with_url`.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn seed(&self, group: &Hosted, with_url: bool) -> Result<String, NodeError> {
        let urls = if with_url { vec![self.chain_url(group.id())] } else { Vec::new() };
        let owner = group.is_owner().then_some(&group.keys().member);
        let seed = match owner {
            Some(key) => Seed::new(group.descriptor().clone(), urls, Some(key)),
            None => {
                // Others hand on what the owner signed.
                let record =
                    self.inner.files.read(group.id())?.ok_or(NodeError::NotFound(group.id()))?;
                Seed { urls, ..Seed::parse(&record.seed)? }
            }
        };
        Ok(seed.to_url()?)
    }

    fn chain_url(&self, id: GroupId) -> ChainUrl {
        let base = match &self.inner.config.api.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.inner.api_addr),
        };
        ChainUrl { base, jwt: Some(self.inner.tokens.for_seed(id)) }
    }

    /// Waits until the node shall end (asked for by `GET /api/quit`, or by a mistake of ours) and
    /// says why. The caller then calls [`Node::shutdown`].
    pub async fn ended(&self) -> String {
        let mut stop = self.inner.stop.subscribe();
        match stop.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the node has stopped".to_owned(),
        }
    }

    /// Stops: no more requests, groups closed, goodbyes sent.
    ///
    /// # Errors
    /// None at present; the type leaves room.
    pub async fn shutdown(&self) -> Result<(), NodeError> {
        self.inner.stop.send_if_modified(|why| {
            let first = why.is_none();
            if first {
                *why = Some("stopped".to_owned());
            }
            first
        });
        let server = self.inner.server.lock().take();
        if let Some(mut server) = server
            && tokio::time::timeout(HTTP_STOP, &mut server).await.is_err()
        {
            server.abort();
        }
        self.close().await;
        tracing::info!("node stopped");
        Ok(())
    }

    async fn close(&self) {
        let groups = std::mem::take(&mut *self.inner.groups.write());
        self.inner.main.store(None);
        for group in groups.into_values() {
            stop_group(group).await;
        }
        self.inner.network.stop().await;
        let inner = Arc::clone(&self.inner);
        // A panic in there was reported already.
        let _ = tokio::task::spawn_blocking(move || inner.verifier.stop()).await;
        self.inner.files.unlock();
    }

    fn room(&self) -> Result<(), NodeError> {
        if self.inner.groups.read().len() >= MAX_GROUPS {
            return Err(NodeError::TooManyGroups);
        }
        Ok(())
    }

    async fn restore(&self) -> Result<(), NodeError> {
        for (id, record) in self.inner.files.all()? {
            if !record.joined {
                continue;
            }
            let seed =
                Seed::parse_verified(&record.seed).map_err(|error| NodeError::Descriptor {
                    path: self.inner.files.descriptor(id),
                    why: error.to_string(),
                })?;
            self.open_group(seed.group, record.create).await?;
        }
        Ok(())
    }
}

async fn stop_group(group: Hosted) {
    // A panic in there was reported by the group's thread.
    let _ = tokio::task::spawn_blocking(move || group.stop()).await;
}

fn unsupported() -> NodeError {
    NodeError::Unsupported("Other types of groups are not supported yet".into())
}

fn supported(consensus: Protocol, encryption: Encryption) -> Result<(), NodeError> {
    if !matches!(consensus, Protocol::Poa | Protocol::Cft) {
        return Err(unsupported());
    }
    if encryption != Encryption::Public {
        return Err(NodeError::Unsupported("Private groups are not supported yet".into()));
    }
    Ok(())
}

fn settings(config: &NodeConfig) -> Settings {
    let network = &config.network;
    Settings {
        name: network.name.clone(),
        listen: network.listen.clone(),
        external: network.external.clone(),
        bootstrap: network.bootstrap.clone(),
        max_peers: network.max_peers,
        mdns: network.mdns,
        closed: true,
    }
}

/// Opening costs a second of scrypt: not on a runtime thread.
async fn open_keystore(config: &NodeConfig) -> Result<Keystore, NodeError> {
    let password = password_of(config)?;
    let dir = config.keystore_dir();
    let factor = config.keystore.work_factor;
    let open = tokio::task::spawn_blocking(move || Keystore::open(dir, &password, factor)).await;
    Ok(open.map_err(|_| NodeError::Stopping)??)
}

/// The wall clock, nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
