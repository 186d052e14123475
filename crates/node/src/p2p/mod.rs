//! The peer-to-peer network: libp2p over TCP and QUIC.
//!
//! * **Streams** carry what one member says to another: committee frames, fetches and answers.
//!   [`links`] sends, [`inbound`] receives.
//! * **Gossip** carries what everybody in a group should hear: trxs, heads, blocks. One topic per
//!   group, `user_channel_<gid>`.
//! * **Discovery**: a node provides the key of each of its groups (and of its member in it) in
//!   Kademlia and looks the same key up until it has found peers, quickly at first. Peers
//!   subscribed to a group's topic exchange signed [`presence`] items, which say at which peer a
//!   member is.
//!
//! The swarm runs in one task ([`swarm`]) of a thread of its own; everything else only sends it
//! commands, and nothing here ever blocks its caller.

mod behaviour;
mod frame;
mod inbound;
mod links;
mod presence;
mod score;
mod swarm;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::gossipsub::MessageId;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use parking_lot::{Mutex, RwLock};
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_ledger::ids::GroupId;
use quorate_replica::api::PeerRef;
use tokio::sync::{mpsc, oneshot, watch};

use frame::{Frame, Kind};
use inbound::{Budget, Budgets};
use links::Links;
use presence::Table;
use swarm::Command;

/// Longest wait for a listener to be bound.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Commands waiting for the swarm task. Gossip above it is dropped.
const MAX_COMMANDS: usize = 4096;
/// Shortest time between two lookups of the same member.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
/// Most members being looked up at a time.
const MAX_LOOKUPS: usize = 1024;

/// What a network is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the network; part of every protocol's name.
    pub name: String,
    /// Where to listen.
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce besides.
    pub external: Vec<Multiaddr>,
    /// Whom to ask for others first.
    pub bootstrap: Vec<Multiaddr>,
    /// Most peers connected at a time.
    pub max_peers: u32,
    /// Whether to look for nodes of the local network.
    pub mdns: bool,
    /// Whether what others send waits for [`Network::open`].
    pub closed: bool,
}

/// Why the network could not be started or an address not be reached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// libp2p could not be set up.
    #[error("network setup: {0}")]
    Setup(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}; change network.listen or stop who uses it")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the operating system said.
        why: String,
    },
    /// A peer cannot be dialed.
    #[error("cannot dial {address}: {why}")]
    Dial {
        /// The address.
        address: Multiaddr,
        /// Why not.
        why: String,
    },
    /// The network has been stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Where a packet came from, for [`Network::judge`].
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) peer: PeerId,
    pub(crate) gossip: Option<MessageId>,
    /// All that this node could pass it on to have it.
    pub(crate) spread: bool,
}

impl Source {
    /// The peer that sent it (or, for gossip, passed it on).
    #[must_use]
    pub fn peer(&self) -> PeerRef {
        peer_ref(self.peer)
    }
}

/// A packet, unchecked.
#[derive(Debug)]
pub struct Incoming {
    /// The packet.
    pub bytes: Vec<u8>,
    /// Where it came from.
    pub source: Source,
    /// Room it takes until it is dropped.
    pub(crate) budget: Budget,
}

impl Incoming {
    /// Splits off the packet; the room is free again.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Source) {
        drop(self.budget);
        (self.bytes, self.source)
    }
}

/// What the network gives a group.
#[derive(Debug)]
pub enum Delivery {
    /// A packet to be checked. [`Network::judge`] must be told what became of it.
    Packet(Incoming),
    /// A peer of the group connected.
    Connected(PeerRef),
}

/// Takes what the network gives a group. Called from network tasks, which wait meanwhile: only for
/// what takes no longer than to wake another thread.
pub type Sink = Arc<dyn Fn(Delivery) + Send + Sync>;

/// What checking a packet showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Good: gossip is passed on.
    Good,
    /// Not for us or not known here; nobody's fault.
    Ignore,
    /// The sender breaks the protocol.
    Malformed,
}

/// A connected peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Protocols it speaks, in order; empty until it has identified itself.
    pub protocols: BTreeSet<String>,
    /// What program it is.
    pub agent: String,
    /// Its remote address.
    pub address: Option<Multiaddr>,
}

struct Member {
    sink: Sink,
    table: Table,
    peers: BTreeSet<PeerId>,
}

/// State that all parts of the network see.
pub(crate) struct Shared {
    groups: RwLock<BTreeMap<GroupId, Member>>,
    peers: RwLock<BTreeMap<PeerId, PeerInfo>>,
    listen: RwLock<Vec<Multiaddr>>,
    budgets: Budgets,
    /// Whether streams are read.
    open: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
}

impl Shared {
    fn sink(&self, group: GroupId) -> Option<Sink> {
        self.groups.read().get(&group).map(|member| Arc::clone(&member.sink))
    }
}

/// Handle of the running network; clones share it.
#[derive(Clone)]
pub struct Network {
    local: PeerId,
    public_key: Vec<u8>,
    shared: Arc<Shared>,
    links: Arc<Links>,
    commands: mpsc::Sender<Command>,
    lookups: Arc<Mutex<BTreeMap<(GroupId, MemberPublicKey), Instant>>>,
    turn: Arc<AtomicUsize>,
    ended: watch::Receiver<bool>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({})", self.local)
    }
}

impl Network {
    /// Starts the network inside the current tokio runtime; returns when all addresses are
    /// listened on.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn start(settings: Settings, key: &MemberKey) -> Result<Self, NetworkError> {
        let keypair = keypair(key)?;
        let (started, result) = oneshot::channel();
        let setup = |error: std::io::Error| NetworkError::Setup(error.to_string());
        // A thread of its own: what members say to each other does not wait behind callers.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(setup)?;
        let thread = std::thread::Builder::new().name("network".to_owned());
        let run = move || {
            runtime.block_on(async move {
                match Self::begin(settings, &keypair).await {
                    // Who wanted it started may have gone.
                    Err(error) => drop(started.send(Err(error))),
                    Ok((network, task, end)) => {
                        if started.send(Ok(network)).is_ok() {
                            task.run().await;
                        }
                        end.send_replace(true);
                    }
                }
            });
        };
        thread.spawn(run).map_err(setup)?;
        result.await.map_err(|_| NetworkError::Stopped)?
    }

    /// Listens. The network lives while its task runs in this runtime.
    async fn begin(
        settings: Settings,
        keypair: &Keypair,
    ) -> Result<(Self, swarm::Task, watch::Sender<bool>), NetworkError> {
        let local = keypair.public().to_peer_id();
        let mut swarm = swarm::build(keypair.clone(), &settings)?;
        swarm::listen(&mut swarm, &settings, LISTEN_TIMEOUT).await?;

        let stream_protocol = behaviour::protocol(&settings.name, "packets/1");
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let shared = Arc::new(Shared {
            groups: RwLock::default(),
            peers: RwLock::default(),
            listen: RwLock::new(swarm.listeners().cloned().collect()),
            budgets: Budgets::new(),
            open: watch::Sender::new(!settings.closed),
            stopped: watch::Sender::new(false),
        });
        let mut control = swarm.behaviour().streams.new_control();
        let incoming = control
            .accept(stream_protocol.clone())
            .map_err(|_| NetworkError::Setup("the stream protocol is taken".to_owned()))?;
        let links = Arc::new(Links::new(control, stream_protocol, commands.clone()));
        tokio::spawn(inbound::accept(incoming, Arc::clone(&shared), commands.clone()));

        let (end, ended) = watch::channel(false);
        let task = swarm::Task::new(swarm, settings, receiver, Arc::clone(&shared), links.clone());
        let network = Self {
            local,
            public_key: keypair.public().encode_protobuf(),
            shared,
            links,
            commands,
            lookups: Arc::default(),
            turn: Arc::default(),
            ended,
        };
        Ok((network, task, end))
    }

    /// The groups of before are joined: what others send is read from now on. A node that comes back
    /// is dialed while it still reads its ledgers, and must not take what is said in its groups for
    /// something it has nothing to do with.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// This node's peer id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.local
    }

    /// This node's public key, as libp2p writes it.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Addresses listened on, each with this node's peer id, ready for a peer's `--peer`.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        let listen = self.shared.listen.read();
        listen.iter().map(|address| address.clone().with(Protocol::P2p(self.local))).collect()
    }

    /// Connected peers.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<PeerId, PeerInfo> {
        self.shared.peers.read().clone()
    }

    /// Connected peers of a group.
    #[must_use]
    pub fn group_peers(&self, group: GroupId) -> Vec<PeerId> {
        let groups = self.shared.groups.read();
        groups.get(&group).map(|m| m.peers.iter().copied().collect()).unwrap_or_default()
    }

    /// Begins to take part in a group as the member with `key`. Returns when the swarm knows.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn join(
        &self,
        group: GroupId,
        key: MemberKey,
        sink: Sink,
    ) -> Result<(), NetworkError> {
        let member = Member { sink, table: Table::default(), peers: BTreeSet::new() };
        self.shared.groups.write().insert(group, member);
        let (done, wait) = oneshot::channel();
        self.command(Command::Join { group, key: Box::new(key), done }).await?;
        wait.await.map_err(|_| NetworkError::Stopped)
    }

    /// Ends taking part in a group.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn leave(&self, group: GroupId) -> Result<(), NetworkError> {
        self.shared.groups.write().remove(&group);
        self.command(Command::Leave(group)).await
    }

    /// Sends a packet to the node that holds a member's key. If that is not known the packet is
    /// dropped, counted, and the member looked for.
    pub fn send_to_member(&self, group: GroupId, member: &MemberPublicKey, packet: Arc<[u8]>) {
        let peer = {
            let mut groups = self.shared.groups.write();
            let Some(entry) = groups.get_mut(&group) else { return };
            entry.table.find(member).map(|presence| presence.peer)
        };
        match peer {
            Some(peer) if peer != self.local => self.send(group, peer, packet),
            Some(_) => {}
            None => {
                metrics::counter!("quorate_frames_dropped_total", "reason" => "unknown_member")
                    .increment(1);
                self.look_up(group, *member);
            }
        }
    }

    /// Sends a packet to a peer.
    pub fn send_to_peer(&self, group: GroupId, peer: &PeerRef, packet: Arc<[u8]>) {
        if let Ok(peer) = PeerId::from_bytes(&peer.0) {
            self.send(group, peer, packet);
        }
    }

    /// Connects to a peer unless it is connected, with the addresses known of it. Only tries once:
    /// what is sent to a peer that is away tries on.
    pub fn connect(&self, peer: &PeerRef) {
        if let Ok(peer) = PeerId::from_bytes(&peer.0)
            && peer != self.local
            && !self.shared.peers.read().contains_key(&peer)
        {
            let _ = self.commands.try_send(Command::Connect(peer));
        }
    }

    /// Sends a packet to one connected peer of the group, another one each time.
    pub fn send_to_somebody(&self, group: GroupId, packet: Arc<[u8]>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let peer = {
            let groups = self.shared.groups.read();
            let Some(member) = groups.get(&group) else { return };
            let count = member.peers.len().max(1);
            member.peers.iter().nth(turn % count).copied()
        };
        match peer {
            Some(peer) => self.send(group, peer, packet),
            None => metrics::counter!("quorate_frames_dropped_total", "reason" => "no_peers")
                .increment(1),
        }
    }

    /// Gossips a packet to the group. One too large for gossip goes to every connected peer of the
    /// group by stream.
    pub fn gossip(&self, group: GroupId, packet: Arc<[u8]>) {
        if packet.len() > behaviour::MAX_GOSSIP - swarm::GOSSIP_OVERHEAD {
            for peer in self.group_peers(group) {
                self.send(group, peer, Arc::clone(&packet));
            }
            return;
        }
        if self.commands.try_send(Command::Gossip(group, packet)).is_err() {
            metrics::counter!("quorate_frames_dropped_total", "reason" => "gossip_queue")
                .increment(1);
        }
    }

    /// Says what checking a packet showed.
    pub fn judge(&self, source: Source, verdict: Verdict) {
        // Nothing to pass on and nobody to accuse: the common case of a good stream packet.
        if source.gossip.is_none() && verdict != Verdict::Malformed {
            return;
        }
        if self.commands.try_send(Command::Judge(source, verdict)).is_err() {
            metrics::counter!("quorate_frames_dropped_total", "reason" => "judge_queue")
                .increment(1);
        }
    }

    /// Connects to an address, as `POST /api/v1/network/peers` asks.
    ///
    /// # Errors
    /// [`NetworkError::Dial`], [`NetworkError::Stopped`].
    pub async fn dial(&self, address: Multiaddr) -> Result<(), NetworkError> {
        let (done, wait) = oneshot::channel();
        self.command(Command::Dial { address, done }).await?;
        wait.await.map_err(|_| NetworkError::Stopped)?
    }

    /// Closes all connections and waits for the end.
    pub async fn stop(&self) {
        self.shared.stopped.send_replace(true);
        self.links.close();
        let mut ended = self.ended.clone();
        // An error means that the task is gone already.
        let _ = ended.wait_for(|end| *end).await;
    }

    async fn command(&self, command: Command) -> Result<(), NetworkError> {
        self.commands.send(command).await.map_err(|_| NetworkError::Stopped)
    }

    fn send(&self, group: GroupId, peer: PeerId, payload: Arc<[u8]>) {
        assert!(payload.len() <= frame::MAX_PAYLOAD, "a packet is over the wire's limit");
        self.links.send(peer, Frame { kind: Kind::Packet, group, payload });
    }

    fn look_up(&self, group: GroupId, member: MemberPublicKey) {
        let now = Instant::now();
        let mut lookups = self.lookups.lock();
        if lookups.len() >= MAX_LOOKUPS {
            lookups.retain(|_, at| now.saturating_duration_since(*at) < LOOKUP_PAUSE);
        }
        let due = lookups
            .get(&(group, member))
            .is_none_or(|at| now.saturating_duration_since(*at) >= LOOKUP_PAUSE);
        if due && lookups.len() < MAX_LOOKUPS {
            lookups.insert((group, member), now);
            let _ = self.commands.try_send(Command::LookUp(group, member));
        }
    }
}

/// A peer id as the replica knows it.
fn peer_ref(peer: PeerId) -> PeerRef {
    PeerRef(peer.to_bytes().into())
}

/// The network identity of a node with this key.
///
/// # Errors
/// [`NetworkError::Setup`] if the key is none.
pub fn peer_of(key: &MemberKey) -> Result<PeerId, NetworkError> {
    Ok(keypair(key)?.public().to_peer_id())
}

/// The node's member key as its libp2p identity.
fn keypair(key: &MemberKey) -> Result<libp2p::identity::Keypair, NetworkError> {
    let mut bytes = key.to_bytes();
    let secret = libp2p::identity::secp256k1::SecretKey::try_from_bytes(bytes.as_mut_slice())
        .map_err(|error| NetworkError::Setup(error.to_string()))?;
    Ok(libp2p::identity::secp256k1::Keypair::from(secret).into())
}

/// The wall clock, milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
