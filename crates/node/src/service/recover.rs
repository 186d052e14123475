//! Disaster recovery: a service that lost its quorum, brought back from the ledger of one node that
//! is not running. `[7.6]`
//!
//! The node becomes another one, the only member of a new identity of the service. What follows the
//! last signature is dropped, the view rises by 2. Private maps can be read, since the node has the
//! ledger secret: nobody has to bring shares of it.
//!
//! It may end at any point and be done again. The new identity is drawn and kept, beside the old one,
//! before the log is changed, and takes its place when the log has it, signed and committed; until
//! then the node does not start. Done again, a recovery uses the identity that was kept, and changes
//! the log only if that does not have it yet: so no key that the ledger names is ever lost, and every
//! identity is linked to the one before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_consensus::core::Env;
use quorate_crypto::cipher::SymmetricKey;
use quorate_ledger::ccf::maps::{SERVICE_INFO, SINGLE, ServiceInfo, read_row};
use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::{Answer, Begin, Config, Input, PeerRef, Query, TxId};
use quorate_replica::cft::{CftDriver, Turn};
use quorate_storage::disk::RealDisk;
use quorate_storage::signed::Options;

use super::host::{Driver, Figures};
use super::identity::Identity;
use super::keys::{self, NodeKeys};
use super::log::DiskLog;
use super::open::{self, ServiceError};
use crate::config::ServiceConfig;
use crate::host::{Clock, rng};
use crate::keystore::{Keystore, Membership, ServiceKeys};

/// Turns after which a service of one node must have committed its first entries.
const MAX_TURNS: u32 = 1000;

/// What is recovered, and with what.
pub struct Recovery {
    /// The group.
    pub group: GroupId,
    /// Directory of its log. The caller holds the lock of the data directory.
    pub dir: PathBuf,
    /// Where the node's identity is.
    pub keystore: Arc<Keystore>,
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
}

/// Brings the service back, or ends a recovery that was begun. Blocks.
///
/// # Errors
/// [`ServiceError`]; it can be done again.
pub fn recover(recovery: Recovery) -> Result<Recovered, ServiceError> {
    let Recovery { group, dir, keystore, config, rpc_address } = recovery;
    let wrong = |source| ServiceError::Keys { group, source };
    let identity = Identity::new(Arc::clone(&keystore), group);
    let earlier = identity.read()?.and_then(|keys| keys.membership);
    let earlier = earlier.ok_or(ServiceError::NoKey { group })?;
    let clock = Clock::start();
    let (keys, founded, begun) = match keystore.recovering_keys(group)? {
        Some(ServiceKeys { node_key, membership: Some(founded) }) => (node_key, founded, true),
        _ => {
            let node_key = NodeKeys::generate();
            let founded = NodeKeys::found(&node_key, &rpc_address, clock.now().0);
            let mut founded = founded.map_err(wrong)?;
            founded.ledger_secret.clone_from(&earlier.ledger_secret);
            let membership = Some(founded.clone());
            let keys = ServiceKeys { node_key: node_key.clone(), membership };
            keystore.set_recovering_keys(group, &keys)?;
            (node_key, founded, false)
        }
    };
    let peer =
        crate::p2p::peer_of(&keystore.node_key()?).map_err(|error| wrong(keys::wrong(error)))?;
    let opened = Reopened {
        group,
        read_only: open::read_only(group, &config)?,
        kept_snapshots: config.files_cleanup.max_snapshots,
        config: config.apply(Config::new(group, PeerRef(peer.to_bytes().into()), rpc_address)),
        dir,
        sealing_key: keystore.storage_key(group),
        clock,
    };
    let enter = || -> Result<_, ServiceError> {
        let mut node = NodeKeys::open(&keys).map_err(wrong)?;
        let secret = node.enter(&founded).map_err(wrong)?;
        Ok((node, secret))
    };
    let (node, secret) = enter()?;
    let node_id = node.id().to_string();
    let (driver, turn) = match opened.begin(node, Begin::Resume { secret }) {
        Ok((driver, turn)) if is_of(&driver, &founded.service_certificate) => {
            tracing::info!(%group, "the ledger has the new service already");
            (driver, turn)
        }
        other => {
            // A new identity that is linked to another one than the ledger's would leave every receipt
            // of before without a service.
            if let Ok((driver, _)) = &other
                && ![&earlier, &founded].iter().any(|kept| has_service(driver, kept))
            {
                if !begun {
                    keystore.remove_recovering_keys(group)?;
                }
                return Err(ServiceError::OtherService { group });
            }
            // The log is opened again.
            drop(other);
            let (node, secret) = enter()?;
            let at = opened.clock.now().0;
            let (endorsement, handover) = node.link(&earlier.service_key, at).map_err(wrong)?;
            let handover = Some(handover);
            opened.begin(node, Begin::Recover { secret, endorsement, handover })?
        }
    };
    let committed = opened.commit(driver, turn)?;
    let service_certificate = founded.service_certificate.clone();
    let founded = Membership { began: true, ..founded };
    identity.write(&ServiceKeys { node_key: keys, membership: Some(founded) })?;
    keystore.remove_recovering_keys(group)?;
    Ok(Recovered { node_id, committed, service_certificate })
}

/// The service of a log, signed or not.
fn service_of(driver: &Driver) -> Option<ServiceInfo> {
    let row = driver.member()?.store().head(SERVICE_INFO, &SINGLE)?;
    read_row(SERVICE_INFO, row).ok()
}

/// Whether the service of a log is one whose keys there are.
fn has_service(driver: &Driver, keys: &Membership) -> bool {
    service_of(driver).is_none_or(|service| service.cert == keys.service_certificate)
}

/// Whether the service of a log is that of a certificate, and signed: so no restart drops it.
fn is_of(driver: &Driver, certificate: &str) -> bool {
    let signed = match driver.query(&Query::State) {
        Ok(Answer::State(state)) => state.last_signed_seqno,
        _ => 0,
    };
    service_of(driver).is_some_and(|service| {
        let created = service.current_service_create_txid.map_or(0, |tx| tx.seqno);
        service.cert == certificate && (1..=signed).contains(&created)
    })
}

/// The log of a node that is not running.
struct Reopened {
    group: GroupId,
    dir: PathBuf,
    read_only: Vec<PathBuf>,
    kept_snapshots: usize,
    sealing_key: SymmetricKey,
    config: Config,
    clock: Clock,
}

impl Reopened {
    fn begin(&self, node: NodeKeys, begin: Begin) -> Result<(Driver, Turn), ServiceError> {
        let group = self.group;
        let disk =
            RealDisk::open(&self.dir).map_err(|source| ServiceError::Disk { group, source })?;
        let options = Options::new(self.sealing_key.clone(), rng());
        let syncs = Figures::syncs(group);
        let opened = DiskLog::open(disk, &self.read_only, self.kept_snapshots, options, syncs);
        let (log, found) = opened.map_err(|source| ServiceError::Log { group, source })?;
        let recovered =
            log.recovered(&found).map_err(|source| ServiceError::Read { group, source })?;
        let mut env = Env { now: self.clock.now(), rng: rng() };
        CftDriver::open(&mut env, self.config.clone(), begin, node, recovered, log)
            .map_err(|source| ServiceError::Member { group, source })
    }

    /// Takes turns until all there is is committed: until its first entries are, a restart would
    /// drop them.
    fn commit(&self, mut driver: Driver, mut turn: Turn) -> Result<TxId, ServiceError> {
        let mut env = Env { now: self.clock.now(), rng: rng() };
        for _ in 0..MAX_TURNS {
            let status = driver.status();
            if turn.stalled.is_none()
                && status.committed == status.last
                && driver.settle(env.now).is_none()
            {
                return Ok(status.committed);
            }
            std::thread::sleep(turn.wake.map_or(Duration::ZERO, |wake| self.clock.until(wake)));
            env.now = self.clock.now();
            turn = driver.turn(&mut env, vec![Input::Wake], None);
        }
        Err(ServiceError::Unfinished { group: self.group, why: turn.stalled.unwrap_or_default() })
    }
}
