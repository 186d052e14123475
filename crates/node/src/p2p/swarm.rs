//! The task that owns the swarm: discovery, gossip, presence, bans.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::gossipsub::{IdentTopic, MessageAcceptance, MessageId, PublishError, TopicHash};
use libp2p::identity::Keypair;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{GetProvidersOk, QueryResult, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, gossipsub, identify, kad, mdns, noise, tcp, yamux,
};
use quorate_crypto::hash::Hasher;
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_ledger::ids::GroupId;
use tokio::sync::{mpsc, oneshot};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::frame::{Frame, Kind};
use super::links::Links;
use super::presence::{Learnt, Presence};
use super::score::{Misdeed, Scores};
use super::{
    Delivery, Incoming, NetworkError, Settings, Shared, Source, Verdict, now_ms, peer_ref,
};

/// What gossip puts in front of a packet: kind and time slot.
pub const GOSSIP_OVERHEAD: usize = 64;

/// Gossip of equal content within a slot is one message, so that a block published by all producers
/// travels once; in the next slot it is another one, so that saying something again reaches who
/// came later.
const GOSSIP_SLOT_MS: u64 = 2_000;

/// Lookups of a group that has no peers yet: the first ones come this fast.
const LOOKUP_FAST: Duration = Duration::from_millis(500);
/// So many fast lookups, then each wait is longer than the one before.
const LOOKUPS_FAST: u32 = 20;
/// Longest wait between lookups without peers.
const LOOKUP_SLOW: Duration = Duration::from_secs(30);
/// Wait between lookups of a group that has peers.
const LOOKUP_KNOWN: Duration = Duration::from_secs(120);
/// No more peers of a group are dialed than this.
const ENOUGH_PEERS: usize = 16;
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
    Ok(SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| setup(error.to_string()))?
        .with_quic()
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

fn group_key(group: GroupId) -> RecordKey {
    RecordKey::new(&Hasher::new("quorate.provide.v1").field(group.0.as_bytes()).finish().0)
}

fn member_key(group: GroupId, member: &MemberPublicKey) -> RecordKey {
    let hasher = Hasher::new("quorate.provide-member.v1").field(group.0.as_bytes());
    RecordKey::new(&hasher.field(member.as_bytes()).finish().0)
}

fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
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

    fn dial_bootstrap(&mut self, now: Instant) {
        let mut dials = Vec::new();
        for node in &mut self.bootstrap {
            let connected = node.peer.is_some_and(|peer| self.swarm.is_connected(&peer));
            if connected || node.next > now {
                continue;
            }
            node.next = now + node.pause;
            node.pause = (node.pause * 2).min(REDIAL.1);
            dials.push(node.address.clone());
        }
        for address in dials {
            let (bare, peer) = split_peer(&address);
            if let Some(peer) = peer {
                self.swarm.behaviour_mut().kad.add_address(&peer, bare);
            }
            if let Err(error) = self.swarm.dial(address.clone())
                && !matches!(error, DialError::DialPeerConditionFalse(_))
            {
                tracing::debug!(%address, %error, "bootstrap node not dialed");
            }
        }
    }

    /// Says that this node is in the group and asks who else is.
    fn look_for_peers(&mut self, id: GroupId, now: Instant) {
        let lonely = self.shared.groups.read().get(&id).is_none_or(|m| m.peers.is_empty());
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.next_lookup > now {
            return;
        }
        let first = group.lookups == 0;
        let again = first || group.lookups % 4 == 0;
        let wait = if !lonely {
            LOOKUP_KNOWN
        } else if group.lookups < LOOKUPS_FAST {
            LOOKUP_FAST
        } else {
            let doublings = (group.lookups - LOOKUPS_FAST).min(8);
            (LOOKUP_FAST * 2_u32.pow(doublings)).min(LOOKUP_SLOW)
        };
        group.lookups = group.lookups.saturating_add(1);
        group.next_lookup = now + wait;
        let member = group.key.public();
        if again || !lonely {
            self.provide(group_key(id));
            self.provide(member_key(id, &member));
        }
        self.ask_for(group_key(id));
    }

    fn provide(&mut self, key: RecordKey) {
        if let Err(error) = self.swarm.behaviour_mut().kad.start_providing(key) {
            tracing::warn!(%error, "a group cannot be announced");
        }
    }

    fn ask_for(&mut self, key: RecordKey) {
        self.swarm.behaviour_mut().kad.get_providers(key);
    }

    fn report_waiting(&mut self, id: GroupId, now: Instant) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let over: Vec<PeerId> = group
            .waiting
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= PRESENCE_WAIT)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in over {
            self.ask(id, peer);
            self.report_connected(id, peer);
        }
    }

    /// Asks a connected peer where its member of the group is.
    fn ask(&self, group: GroupId, peer: PeerId) {
        self.links.send(peer, Frame { kind: Kind::Ask, group, payload: Arc::from([]) });
    }

    /// Tells a peer where this node's member of the group is.
    fn tell(&self, id: GroupId, peer: PeerId) {
        if let Some(group) = self.groups.get(&id) {
            let payload = Arc::clone(&group.item);
            self.links.send(peer, Frame { kind: Kind::Presence, group: id, payload });
        }
    }

    fn report_connected(&mut self, id: GroupId, peer: PeerId) {
        let waited = self.groups.get_mut(&id).and_then(|group| group.waiting.remove(&peer));
        if waited.is_some()
            && let Some(sink) = self.shared.sink(id)
        {
            sink(Delivery::Connected(peer_ref(peer)));
        }
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

    fn sign(&self, id: GroupId, key: &MemberKey) -> Arc<[u8]> {
        let addresses: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let peer = *self.swarm.local_peer_id();
        Presence::sign(id, key, peer, &addresses, now_ms()).into()
    }

    /// Addresses changed: sign again and tell everybody.
    fn announce_again(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            let Some(group) = self.groups.get(&id) else { continue };
            let item = self.sign(id, &group.key);
            if let Some(group) = self.groups.get_mut(&id) {
                group.item = Arc::clone(&item);
            }
            self.publish(id, Kind::Presence, &item);
        }
    }

    fn publish(&mut self, id: GroupId, kind: Kind, payload: &[u8]) {
        let Some(group) = self.groups.get(&id) else { return };
        let slot = (now_ms() / GOSSIP_SLOT_MS) as u32;
        let mut message = Vec::with_capacity(5 + payload.len());
        message.push(kind as u8);
        message.extend_from_slice(&slot.to_be_bytes());
        message.extend_from_slice(payload);
        let bytes = message.len() as u64;
        let topic = group.topic.hash();
        match self.swarm.behaviour_mut().gossip.publish(topic, message) {
            Ok(_) => {
                metrics::counter!("pubsub_success_total").increment(1);
                metrics::counter!("pubsub_out_bytes_total").increment(bytes);
            }
            Err(PublishError::Duplicate) => {}
            Err(error) => {
                metrics::counter!("pubsub_failed_total").increment(1);
                tracing::debug!(group = %id, %error, "not gossiped");
            }
        }
    }

    fn judge(&mut self, source: Source, verdict: Verdict) {
        if let Some(message) = &source.gossip {
            let acceptance = match verdict {
                Verdict::Good => MessageAcceptance::Accept,
                Verdict::Ignore => MessageAcceptance::Ignore,
                Verdict::Malformed => MessageAcceptance::Reject,
            };
            self.swarm.behaviour_mut().gossip.report_message_validation_result(
                message,
                &source.peer,
                acceptance,
            );
        }
        if verdict == Verdict::Malformed {
            self.accuse(source.peer, Misdeed::Malformed);
        }
    }

    fn accuse(&mut self, peer: PeerId, misdeed: Misdeed) {
        metrics::counter!("quorate_peer_misdeeds_total", "kind" => format!("{misdeed:?}"))
            .increment(1);
        if self.scores.note(peer, misdeed, Instant::now()) {
            tracing::warn!(%peer, "peer banned for a while: it keeps breaking the protocol");
            metrics::counter!("quorate_peers_banned_total").increment(1);
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }

    fn learn(&mut self, item: Presence) -> Learnt {
        let mut groups = self.shared.groups.write();
        let Some(member) = groups.get_mut(&item.group) else { return Learnt::Stale };
        let (peer, group) = (item.peer, item.group);
        if peer == *self.swarm.local_peer_id() {
            return Learnt::Stale;
        }
        let addresses = item.addresses.clone();
        let learnt = member.table.learn(item);
        let wanted = member.table.wants(&peer);
        drop(groups);
        if learnt == Learnt::New {
            tracing::debug!(%group, %peer, "a member's place is known");
            for address in addresses {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
        }
        if wanted {
            // Members this node must reach are never refused for the number of connections.
            self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
        }
        learnt
    }

    fn connect(&mut self, peer: PeerId) {
        if self.swarm.is_connected(&peer) {
            self.links.set_connected(peer, true);
            return;
        }
        if self.scores.is_banned(&peer) {
            return;
        }
        let addresses: Vec<Multiaddr> = {
            let groups = self.shared.groups.read();
            let items = groups.values().flat_map(|member| member.table.iter());
            let here = items.filter(|item| item.peer == peer);
            here.flat_map(|item| item.addresses.iter().cloned()).take(16).collect()
        };
        self.dial_peer(peer, addresses);
    }

    fn dial_peer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        if let Err(error) = self.swarm.dial(opts)
            && !matches!(error, DialError::DialPeerConditionFalse(_))
        {
            tracing::debug!(%peer, %error, "not dialed");
        }
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

    fn connected(&mut self, peer: PeerId, address: &Multiaddr, dialed: bool) {
        self.shared
            .peers
            .write()
            .entry(peer)
            .or_default()
            .address
            .get_or_insert_with(|| address.clone());
        self.links.set_connected(peer, true);
        let (bare, _) = split_peer(address);
        for node in &mut self.bootstrap {
            let named = node.peer.is_none() && dialed && split_peer(&node.address).0 == bare;
            if named {
                node.peer = Some(peer);
            }
            if node.peer == Some(peer) {
                node.pause = REDIAL.0;
                node.next = Instant::now();
                if dialed {
                    self.swarm.behaviour_mut().kad.add_address(&peer, bare.clone());
                }
            }
        }
    }

    fn disconnected(&mut self, peer: PeerId) {
        self.shared.peers.write().remove(&peer);
        self.links.set_connected(peer, false);
        self.subscribed.remove(&peer);
        for group in self.groups.values_mut() {
            group.waiting.remove(&peer);
        }
        let mut alone = Vec::new();
        for (id, member) in self.shared.groups.write().iter_mut() {
            if member.peers.remove(&peer) && member.peers.is_empty() {
                alone.push(*id);
            }
        }
        // The last peer of a group is gone: look for others as at the start.
        for id in alone {
            if let Some(group) = self.groups.get_mut(&id) {
                group.lookups = 0;
                group.next_lookup = Instant::now();
            }
        }
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

    fn found(&mut self, key: &RecordKey, providers: Vec<PeerId>) {
        let local = *self.swarm.local_peer_id();
        let of_group = self.groups.keys().copied().find(|id| group_key(*id) == *key);
        if let Some(id) = of_group {
            let enough = self
                .shared
                .groups
                .read()
                .get(&id)
                .is_none_or(|member| member.peers.len() >= ENOUGH_PEERS);
            if enough {
                return;
            }
        }
        for peer in providers.into_iter().take(2 * ENOUGH_PEERS) {
            if peer == local || self.scores.is_banned(&peer) {
                continue;
            }
            if self.swarm.is_connected(&peer) {
                // A member is looked for that is here already: its item has been lost.
                for group in of_group.is_none().then(|| self.groups_of(&peer)).unwrap_or_default() {
                    self.ask(group, peer);
                }
                continue;
            }
            let records = self.swarm.behaviour_mut().kad.store_mut().providers(key);
            let addresses = records
                .into_iter()
                .filter(|record| record.provider == peer)
                .flat_map(|record| record.addresses)
                .collect();
            self.dial_peer(peer, addresses);
        }
    }

    /// Groups of this node that a connected peer is in too.
    fn groups_of(&self, peer: &PeerId) -> Vec<GroupId> {
        let groups = self.shared.groups.read();
        groups.iter().filter(|(_, m)| m.peers.contains(peer)).map(|(id, _)| *id).collect()
    }

    fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let kad_protocol = super::behaviour::protocol(&self.settings.name, "kad/1");
        let ours = info.protocols.contains(&kad_protocol);
        let first;
        let near;
        {
            let mut peers = self.shared.peers.write();
            let Some(known) = peers.get_mut(&peer) else { return };
            first = known.protocols.is_empty();
            known.protocols = info.protocols.iter().map(ToString::to_string).collect();
            known.agent = info.agent_version;
            near = known.address.as_ref().is_some_and(is_loopback);
        }
        if !ours {
            tracing::debug!(%peer, "a peer of another network");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        // Others' loopback addresses are this machine's, not theirs.
        for address in info.listen_addrs.into_iter().filter(|a| near || !is_loopback(a)).take(16) {
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
        }
        if first {
            // A new place to leave and find records: groups without peers are looked for at once.
            let now = Instant::now();
            let groups = self.shared.groups.read();
            for (id, group) in &mut self.groups {
                if groups.get(id).is_none_or(|member| member.peers.is_empty()) {
                    group.lookups = group.lookups.min(LOOKUPS_FAST / 2) / 4 * 4;
                    group.next_lookup = now;
                }
            }
        }
    }

    fn gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.gossiped(propagation_source, message_id, &message);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.subscribed.entry(peer_id).or_default().insert(topic.clone());
                if let Some(id) = self.topics.get(&topic).copied() {
                    self.peer_joined(id, peer_id);
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                if let Some(topics) = self.subscribed.get_mut(&peer_id) {
                    topics.remove(&topic);
                }
                if let Some(id) = self.topics.get(&topic)
                    && let Some(member) = self.shared.groups.write().get_mut(id)
                {
                    member.peers.remove(&peer_id);
                }
            }
            _ => {}
        }
    }

    fn gossiped(&mut self, peer: PeerId, id: MessageId, message: &gossipsub::Message) {
        metrics::counter!("pubsub_in_bytes_total").increment(message.data.len() as u64);
        let source = Source { peer, gossip: Some(id) };
        let Some(group) = self.topics.get(&message.topic).copied() else {
            return self.judge(source, Verdict::Ignore);
        };
        let kind = message.data.first().copied().and_then(Kind::from_byte);
        let (Some(kind), Some(payload)) = (kind, message.data.get(5..)) else {
            return self.judge(source, Verdict::Malformed);
        };
        match kind {
            Kind::Ask => self.judge(source, Verdict::Malformed),
            Kind::Presence => match Presence::open(payload, now_ms()) {
                Some(item) if item.group == group => {
                    // Old items are not passed on, so that nobody can keep them going round.
                    let verdict = match self.learn(item) {
                        Learnt::Stale => Verdict::Ignore,
                        Learnt::New | Learnt::Refreshed => Verdict::Good,
                    };
                    self.judge(source, verdict);
                }
                _ => self.judge(source, Verdict::Malformed),
            },
            Kind::Packet => {
                let room = self.shared.budgets.try_gossip(payload.len());
                match (self.shared.sink(group), room) {
                    (Some(sink), Some(budget)) => {
                        let bytes = payload.into();
                        sink(Delivery::Packet(Incoming { bytes, source, budget }));
                    }
                    _ => {
                        metrics::counter!("quorate_frames_dropped_total", "reason" => "busy")
                            .increment(1);
                        self.judge(source, Verdict::Ignore);
                    }
                }
            }
        }
    }

    /// A connected peer is in a group of ours: tell it where our member is.
    fn peer_joined(&mut self, id: GroupId, peer: PeerId) {
        if let Some(member) = self.shared.groups.write().get_mut(&id) {
            member.peers.insert(peer);
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.waiting.insert(peer, Instant::now());
        }
        self.tell(id, peer);
    }
}
