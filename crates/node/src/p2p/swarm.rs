//! The task that owns the swarm.
//!
//! [`discovery`] finds peers, [`places`] tells and learns where members are, [`gossip`] publishes and
//! takes messages and keeps score.

mod discovery;
mod gossip;
mod places;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::core::upgrade;
use libp2p::gossipsub::{IdentTopic, TopicHash};
use libp2p::identity::Keypair;
use libp2p::kad::{GetProvidersOk, QueryResult};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport as _, identify, kad, mdns, noise, quic, tcp,
    yamux,
};
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_ledger::ids::GroupId;
use tokio::sync::{mpsc, oneshot};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::frame::Kind;
use super::links::Links;
use super::presence::Presence;
use super::score::{Misdeed, Scores};
use super::traffic::{Counted, Traffic};
use super::{NetworkError, Settings, Shared, Source, Verdict};
use discovery::{group_key, member_key};
pub use gossip::GOSSIP_OVERHEAD;

/// A bootstrap node that cannot be reached is tried again after this long, doubled each time.
const REDIAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Rhythm of upkeep when nothing else is due.
const UPKEEP: Duration = Duration::from_secs(10);
/// A subscribed peer whose presence does not come is reported as connected after this time.
const PRESENCE_WAIT: Duration = Duration::from_secs(2);

/// What others ask of the swarm.
pub enum Command {
    Join {
        group: GroupId,
        key: Box<MemberKey>,
        done: oneshot::Sender<()>,
    },
    Leave(GroupId),
    Gossip(GroupId, Arc<[u8]>),
    Judge(Source, Verdict),
    Misdeed(PeerId, Misdeed),
    /// A checked item that its own peer sent by stream.
    Learn(Presence),
    /// A peer wants to know where this node's member is.
    Asked(GroupId, PeerId),
    Connect(PeerId),
    LookUp(GroupId, MemberPublicKey),
    Dial {
        address: Multiaddr,
        done: oneshot::Sender<Result<(), NetworkError>>,
    },
}

struct Group {
    key: Box<MemberKey>,
    topic: IdentTopic,
    /// This member's signed item.
    item: Arc<[u8]>,
    lookups: u32,
    next_lookup: Instant,
    /// Subscribed peers not reported as connected yet, since when.
    waiting: BTreeMap<PeerId, Instant>,
}

struct Bootstrap {
    address: Multiaddr,
    peer: Option<PeerId>,
    pause: Duration,
    next: Instant,
}

/// The swarm and what it needs.
pub struct Task {
    swarm: Swarm<Behaviour>,
    settings: Settings,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    links: Arc<Links>,
    groups: BTreeMap<GroupId, Group>,
    topics: BTreeMap<TopicHash, GroupId>,
    subscribed: BTreeMap<PeerId, BTreeSet<TopicHash>>,
    bootstrap: Vec<Bootstrap>,
    scores: Scores,
    dials: HashMap<ConnectionId, (Multiaddr, oneshot::Sender<Result<(), NetworkError>>)>,
}

/// Builds the swarm.
pub fn build(key: Keypair, settings: &Settings) -> Result<Swarm<Behaviour>, NetworkError> {
    let setup = |error: String| NetworkError::Setup(error);
    let behaviour = Behaviour::new(&key, settings)?;
    let security = noise::Config::new(&key).map_err(|error| setup(error.to_string()))?;
    // The builder's own transports cannot be counted.
    let of_tcp = Traffic::of("tcp");
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |stream, _| Counted::new(stream, of_tcp.clone()))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(security)
        .multiplex(yamux::Config::default());
    let of_quic = Traffic::of("quic");
    let quic = quic::tokio::Transport::new(quic::Config::new(&key))
        .map(move |(peer, connection), _| (peer, Counted::new(connection, of_quic.clone())));
    Ok(SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|_| tcp)
        .map_err(|never| match never {})?
        .with_other_transport(|_| quic)
        .map_err(|never| match never {})?
        .with_dns()
        .map_err(|error| setup(error.to_string()))?
        .with_behaviour(|_| behaviour)
        .map_err(|error| setup(error.to_string()))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(120)))
        .build())
}

/// Begins to listen, and waits until every listener has an address.
pub async fn listen(
    swarm: &mut Swarm<Behaviour>,
    settings: &Settings,
    limit: Duration,
) -> Result<(), NetworkError> {
    let mut open = HashMap::new();
    for address in &settings.listen {
        let id = swarm.listen_on(address.clone()).map_err(|error| NetworkError::Listen {
            address: address.clone(),
            why: error.to_string(),
        })?;
        open.insert(id, address.clone());
    }
    let wait = async {
        while !open.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    tracing::info!(%address, "listening");
                    swarm.add_external_address(address);
                    open.remove(&listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(address) = open.remove(&listener_id) {
                        let why = match reason {
                            Ok(()) => "the listener closed".to_owned(),
                            Err(error) => error.to_string(),
                        };
                        return Err(NetworkError::Listen { address, why });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    };
    match tokio::time::timeout(limit, wait).await {
        Ok(result) => result?,
        Err(_) => {
            let address = settings.listen.first().cloned().unwrap_or_else(Multiaddr::empty);
            return Err(NetworkError::Listen { address, why: "no answer".to_owned() });
        }
    }
    for address in &settings.external {
        swarm.add_external_address(address.clone());
    }
    Ok(())
}

/// The gossip topic of a group.
fn topic(group: GroupId) -> IdentTopic {
    IdentTopic::new(format!("user_channel_{group}"))
}

/// Splits the trailing `/p2p/<id>` off.
pub fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(peer)) => (rest, Some(peer)),
        _ => (address.clone(), None),
    }
}

impl Task {
    pub fn new(
        swarm: Swarm<Behaviour>,
        settings: Settings,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
        links: Arc<Links>,
    ) -> Self {
        let now = Instant::now();
        let bootstrap = settings
            .bootstrap
            .iter()
            .map(|address| Bootstrap {
                address: address.clone(),
                peer: split_peer(address).1,
                pause: REDIAL.0,
                next: now,
            })
            .collect();
        Self {
            swarm,
            settings,
            commands,
            shared,
            links,
            groups: BTreeMap::new(),
            topics: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            bootstrap,
            scores: Scores::default(),
            dials: HashMap::new(),
        }
    }

    /// Runs until the network is stopped.
    pub async fn run(mut self) {
        let mut stopped = self.shared.stopped.subscribe();
        let mut due = Instant::now();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                command = self.commands.recv() => match command {
                    Some(command) => {
                        self.command(command);
                        // Joining and looking up may have made something due at once.
                        due = due.min(self.next_due(Instant::now()));
                    }
                    None => break,
                },
                event = self.swarm.select_next_some() => {
                    self.event(event);
                    due = due.min(self.next_due(Instant::now()));
                }
                () = tokio::time::sleep_until(due.into()) => {
                    let now = Instant::now();
                    self.upkeep(now);
                    due = self.next_due(now);
                }
            }
        }
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        // Let the goodbyes out; who does not answer is left alone.
        let drain = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), drain).await;
        self.shared.peers.write().clear();
    }

    fn next_due(&self, now: Instant) -> Instant {
        let lookups = self.groups.values().map(|group| group.next_lookup);
        let waits = self
            .groups
            .values()
            .filter_map(|group| group.waiting.values().min())
            .map(|since| *since + PRESENCE_WAIT);
        let dials = self
            .bootstrap
            .iter()
            .filter(|b| b.peer.is_none_or(|peer| !self.swarm.is_connected(&peer)))
            .map(|b| b.next);
        lookups.chain(waits).chain(dials).fold(now + UPKEEP, Instant::min)
    }

    fn upkeep(&mut self, now: Instant) {
        self.dial_bootstrap(now);
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in groups {
            self.look_for_peers(id, now);
            self.report_waiting(id, now);
        }
        for peer in self.scores.pardoned(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        let queued = self.links.prune();
        metrics::gauge!("quorate_queued_bytes").set(queued as f64);
        metrics::gauge!("quorate_peers").set(self.shared.peers.read().len() as f64);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Join { group, key, done } => {
                self.join(group, key);
                // Who asked may have stopped waiting.
                let _ = done.send(());
            }
            Command::Leave(group) => self.leave(group),
            Command::Gossip(group, packet) => self.publish(group, Kind::Packet, &packet),
            Command::Judge(source, verdict) => self.judge(source, verdict),
            Command::Misdeed(peer, misdeed) => self.accuse(peer, misdeed),
            Command::Learn(item) => {
                let (group, peer) = (item.group, item.peer);
                self.learn(item);
                self.report_connected(group, peer);
            }
            Command::Asked(group, peer) => self.tell(group, peer),
            Command::Connect(peer) => self.connect(peer),
            Command::LookUp(group, member) => self.ask_for(member_key(group, &member)),
            Command::Dial { address, done } => {
                let opts = DialOpts::from(address.clone());
                let connection = opts.connection_id();
                match self.swarm.dial(opts) {
                    Ok(()) => {
                        self.dials.insert(connection, (address, done));
                    }
                    Err(DialError::DialPeerConditionFalse(_)) => {
                        let _ = done.send(Ok(()));
                    }
                    Err(error) => {
                        let why = error.to_string();
                        let _ = done.send(Err(NetworkError::Dial { address, why }));
                    }
                }
            }
        }
    }

    fn join(&mut self, id: GroupId, key: Box<MemberKey>) {
        let topic = topic(id);
        if let Err(error) = self.swarm.behaviour_mut().gossip.subscribe(&topic) {
            tracing::warn!(group = %id, %error, "the group's topic cannot be subscribed");
        }
        let now = Instant::now();
        let item = self.sign(id, &key);
        let known: Vec<PeerId> = self
            .subscribed
            .iter()
            .filter(|(_, topics)| topics.contains(&topic.hash()))
            .map(|(peer, _)| *peer)
            .collect();
        self.topics.insert(topic.hash(), id);
        let group =
            Group { key, topic, item, lookups: 0, next_lookup: now, waiting: BTreeMap::new() };
        self.groups.insert(id, group);
        for peer in known {
            self.peer_joined(id, peer);
        }
    }

    fn leave(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else { return };
        self.topics.remove(&group.topic.hash());
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.unsubscribe(&group.topic);
        behaviour.kad.stop_providing(&group_key(id));
        behaviour.kad.stop_providing(&member_key(id, &group.key.public()));
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let address = endpoint.get_remote_address().clone();
                let dialed = endpoint.is_dialer();
                tracing::debug!(peer = %peer_id, %address, dialed, "connected");
                self.connected(peer_id, &address, endpoint.is_dialer());
                if let Some((_, done)) = self.dials.remove(&connection_id) {
                    let _ = done.send(Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, left = num_established, ?cause, "closed");
                if num_established == 0 {
                    self.disconnected(peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, peer_id } => {
                tracing::debug!(peer = ?peer_id, %error, "not connected");
                if let Some((address, done)) = self.dials.remove(&connection_id) {
                    let why = error.to_string();
                    let _ = done.send(Err(NetworkError::Dial { address, why }));
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.swarm.add_external_address(address);
                self.listeners_changed();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.swarm.remove_external_address(&address);
                self.listeners_changed();
            }
            _ => {}
        }
    }

    fn listeners_changed(&mut self) {
        *self.shared.listen.write() = self.swarm.listeners().cloned().collect();
        self.announce_again();
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.gossip_event(event),
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                result:
                    QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers })),
                ..
            }) => self.found(&key, providers.into_iter().collect()),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.identified(peer_id, info);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(list)) => {
                for (peer, address) in list {
                    self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
                    self.dial_peer(peer, vec![address]);
                }
            }
            _ => {}
        }
    }
}
