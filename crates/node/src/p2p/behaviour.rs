//! The libp2p protocols a node speaks.

use std::time::Duration;

use libp2p::connection_limits::ConnectionLimits;
use libp2p::gossipsub::{
    AllowAllSubscriptionFilter, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity,
    MessageId, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, allow_block_list, connection_limits, gossipsub, identify, kad, mdns, ping,
};
use quorate_crypto::hash::sha256;

use super::{NetworkError, Settings};

/// Largest gossip message.
pub const MAX_GOSSIP: usize = 1024 * 1024;
/// Most topics (groups) one peer may subscribe to.
const MAX_TOPICS: usize = 1000;
/// Gossip whose publication could not start by then is left out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Peers are told that a message larger than this has come already. For a smaller one that costs
/// about as much as getting it twice.
const WORTH_A_WORD: usize = 16 * 1024;

/// A subscription filter with a bound.
pub type Filter = MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>;

/// All protocols together.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub ping: ping::Behaviour,
    pub identify: identify::Behaviour,
    pub kad: kad::Behaviour<MemoryStore>,
    pub gossip: gossipsub::Behaviour<IdentityTransform, Filter>,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub streams: libp2p_stream::Behaviour,
}

/// A protocol of this network.
pub fn protocol(network: &str, name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/quorate/{network}/{name}"))
        .expect("it begins with a slash")
}

impl Behaviour {
    /// Builds them for a node.
    ///
    /// # Errors
    /// [`NetworkError::Setup`] if a protocol refuses its settings or mDNS its sockets.
    pub fn new(key: &Keypair, settings: &Settings) -> Result<Self, NetworkError> {
        let setup = |error: String| NetworkError::Setup(error);
        let peer = key.public().to_peer_id();
        let kad_protocol = protocol(&settings.name, "kad/1");
        let mut kad = kad::Config::new(kad_protocol.clone());
        kad.set_query_timeout(Duration::from_secs(10));
        kad.set_provider_record_ttl(Some(Duration::from_secs(3600)));
        // The swarm task says again where the groups are; this is the fallback.
        kad.set_provider_publication_interval(Some(Duration::from_secs(900)));
        let mut kad = kad::Behaviour::with_config(peer, MemoryStore::new(peer), kad);
        kad.set_mode(Some(kad::Mode::Server));

        let mdns = if settings.mdns {
            let config = mdns::Config::default();
            let behaviour = mdns::tokio::Behaviour::new(config, peer);
            Some(behaviour.map_err(|error| setup(format!("mDNS: {error}")))?)
        } else {
            None
        };
        let identify =
            identify::Config::new(protocol(&settings.name, "id/1").to_string(), key.public())
                .with_agent_version(format!("quorate/{}", env!("CARGO_PKG_VERSION")))
                .with_push_listen_addr_updates(true);
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(64))
            .with_max_pending_outgoing(Some(64))
            .with_max_established(Some(settings.max_peers.saturating_mul(2)))
            .with_max_established_per_peer(Some(4));
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            blocked: allow_block_list::Behaviour::default(),
            ping: ping::Behaviour::new(ping::Config::new()),
            identify: identify::Behaviour::new(identify),
            kad,
            gossip: gossip(settings).map_err(setup)?,
            mdns: mdns.into(),
            streams: libp2p_stream::Behaviour::new(),
        })
    }
}

/// Messages are anonymous and named by their content: the same block published by four producers
/// is one message. They are passed on only after this node has checked them.
fn gossip(settings: &Settings) -> Result<gossipsub::Behaviour<IdentityTransform, Filter>, String> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(format!("/quorate/{}/meshsub", settings.name))
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::new(&sha256(&message.data).0))
        .max_transmit_size(MAX_GOSSIP)
        .heartbeat_initial_delay(Duration::from_millis(200))
        .publish_queue_duration(PUBLISH_TIMEOUT)
        .connection_handler_queue_len(512)
        .idontwant_message_size_threshold(WORTH_A_WORD)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    gossipsub::Behaviour::new_with_subscription_filter(
        MessageAuthenticity::Anonymous,
        config,
        filter,
    )
    .map_err(str::to_owned)
}
