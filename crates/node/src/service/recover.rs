//! Disaster recovery: a service that lost its quorum, brought back from the ledger of one node that
//! is not running. `[7.6]`
//!
//! The node becomes another one, the only member of a new identity of the service. What follows the
//! last signature is dropped, the view rises by 2. Private maps can be read, since the node has the
//! ledger secret: nobody has to bring shares of it.
//!
//! The log is changed first, the keystore after it. Should the process end between the two, the node
//! does not start, and the recovery can be done again: it needs the ledger secret alone.

use std::path::PathBuf;

use quorate_consensus::core::Env;
use quorate_ledger::ids::GroupId;
use quorate_replica::cft::CftDriver;
use quorate_replica::cft::api::{Begin, Config, Input, PeerRef, TxId};
use quorate_storage::disk::RealDisk;
use quorate_storage::signed::Options;

use super::host::Figures;
use super::identity::Identity;
use super::keys::{self, NodeKeys};
use super::log::DiskLog;
use super::open::ServiceError;
use crate::config::ServiceConfig;
use crate::host::{Clock, rng};
use crate::keystore::{Keystore, ServiceKeys};

/// Turns after which a service of one node must have committed its first entries.
const MAX_TURNS: u32 = 1000;

/// What is recovered, and with what.
pub struct Recovery {
    /// The group.
    pub group: GroupId,
    /// Directory of its log. The caller holds the lock of the data directory.
    pub dir: PathBuf,
    /// Where the node's identity is.
    pub keystore: std::sync::Arc<Keystore>,
    /// How it takes part.
    pub config: ServiceConfig,
    /// Where its clients find it: `host:port`.
    pub rpc_address: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Id of the node in the new service.
    pub node_id: String,
    /// Last committed transaction: everything up to it is there.
    pub committed: TxId,
    /// Certificate of the new service (PEM).
    pub service_certificate: String,
    /// Certificate of the service before (PEM).
    pub earlier_certificate: String,
}

/// Brings the service back. Blocks.
///
/// # Errors
/// [`ServiceError`]; unless it is the keystore's, the old service can still be started.
pub fn recover(recovery: Recovery) -> Result<Recovered, ServiceError> {
    let Recovery { group, dir, keystore, config, rpc_address } = recovery;
    let wrong = |source| ServiceError::Keys { group, source };
    let identity = Identity::new(std::sync::Arc::clone(&keystore), group);
    let earlier = identity.read()?.and_then(|keys| keys.membership);
    let earlier = earlier.ok_or(ServiceError::NoKey { group })?;
    let clock = Clock::start();
    let node_key = NodeKeys::generate();
    let mut founded = NodeKeys::found(&node_key, &rpc_address, clock.now().0).map_err(wrong)?;
    founded.ledger_secret.clone_from(&earlier.ledger_secret);
    let mut node = NodeKeys::open(&node_key).map_err(wrong)?;
    let secret = node.enter(&founded).map_err(wrong)?;
    let (endorsement, handover) = node.link(&earlier.service_key, clock.now().0).map_err(wrong)?;

    let disk = RealDisk::open(&dir).map_err(|source| ServiceError::Disk { group, source })?;
    let options = Options::new(keystore.storage_key(group), rng());
    let (log, found) = DiskLog::open(disk, options, Figures::syncs(group))
        .map_err(|source| ServiceError::Log { group, source })?;
    let recovered = log.recovered(&found).map_err(|source| ServiceError::Read { group, source })?;
    let peer =
        crate::p2p::peer_of(&keystore.node_key()?).map_err(|error| wrong(keys::wrong(error)))?;
    let config = config.apply(Config::new(group, PeerRef(peer.to_bytes().into()), rpc_address));
    let begin = Begin::Recover { secret, endorsement, handover: Some(handover) };
    let mut env = Env { now: clock.now(), rng: rng() };
    let node_id = node.id().to_string();
    let (mut driver, mut turn) = CftDriver::open(&mut env, config, begin, node, recovered, log)
        .map_err(|source| ServiceError::Member { group, source })?;
    // Until its first entries are signed and committed, a restart would drop them.
    for _ in 0..MAX_TURNS {
        let status = driver.status();
        if turn.stalled.is_none() && status.committed == status.last {
            identity.write(&ServiceKeys { node_key, membership: Some(founded.clone()) })?;
            return Ok(Recovered {
                node_id,
                committed: status.committed,
                service_certificate: founded.service_certificate,
                earlier_certificate: earlier.service_certificate,
            });
        }
        let wake = turn.wake.map_or(std::time::Duration::ZERO, |wake| clock.until(wake));
        std::thread::sleep(wake);
        env.now = clock.now();
        turn = driver.turn(&mut env, vec![Input::Wake], None);
    }
    Err(ServiceError::Unfinished { group, why: turn.stalled.unwrap_or_default() })
}
