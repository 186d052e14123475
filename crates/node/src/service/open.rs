//! How a member begins.
//!
//! | the keystore has | the log | the member |
//! |---|---|---|
//! | no node key | | makes one; creates the service if this node made the group, else joins |
//! | a node key | | as above, with this key |
//! | what the service gave it | has something | resumes (or joins anew with another key, if so configured and other members hold the ledger) |
//! | what the service gave it | is empty, as it always was | as with a node key alone |
//! | what the service gave it | is empty, but had something | its log is lost, and with it how it voted: joins anew with another key |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use quorate_consensus::core::Env;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::sha256;
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::{Begin, Config, PeerRef};
use quorate_replica::cft::{CftDriver, OpenError as MemberError};
use quorate_storage::disk::{DiskError, RealDisk};
use quorate_storage::error::{OpenError as LogError, StoreError};
use quorate_storage::signed::{self, Options};
use tokio::sync::mpsc;

use super::host::{self, Figures, Host};
use super::identity::Identity;
use super::keys::{KeyError, NodeKeys};
use super::log::DiskLog;
use super::seat::Seat;
use super::{Live, files, known};
use crate::config::{Restart, ServiceConfig};
use crate::host::{Clock, Died, rng, start as start_thread};
use crate::keystore::{GroupKeys, Keystore, KeystoreError, Membership, ServiceKeys};
use crate::p2p::Network;

/// Row of `public:quorate.genesis` with the genesis block, in canonical bytes.
const GENESIS_BLOCK: &[u8] = b"genesis_block";
/// Row of `public:quorate.genesis` with the owner's signature over SHA-256 of the service
/// certificate (PEM): it ties the service to the seed of the group.
const OWNER_STATEMENT: &[u8] = b"owner_signature";

/// Why a member cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its directory cannot be used.
    #[error("group {group}: {source}")]
    Disk {
        /// The group.
        group: GroupId,
        /// The disk's.
        source: DiskError,
    },
    /// A read-only directory of ledger files cannot be read.
    #[error(
        "group {group}: {path}, of service.ledger.read_only_directories: {source}; mount it, or take \
         it out of the configuration"
    )]
    ReadOnly {
        /// The group.
        group: GroupId,
        /// The directory.
        path: PathBuf,
        /// The operating system's.
        source: std::io::Error,
    },
    /// Its directory cannot be put aside.
    #[error("group {group}: {path}: {source}")]
    Aside {
        /// The group.
        group: GroupId,
        /// The directory.
        path: PathBuf,
        /// The operating system's.
        source: std::io::Error,
    },
    /// Its log is damaged.
    #[error(
        "group {group}: {source}; set service.restart = \"rejoin\" to come back as a new node, or \
         restore the directory if this was the only one"
    )]
    Log {
        /// The group.
        group: GroupId,
        /// What is damaged.
        source: LogError,
    },
    /// Its log cannot be read.
    #[error("group {group}: {source}")]
    Read {
        /// The group.
        group: GroupId,
        /// The disk's.
        source: StoreError,
    },
    /// Its keys are damaged.
    #[error("group {group}: {source}; restore the keystore from a backup")]
    Keys {
        /// The group.
        group: GroupId,
        /// What is wrong.
        source: KeyError,
    },
    /// The keystore's.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// There is a ledger, but the keys of the node that wrote it are gone.
    #[error(
        "group {group}: there is a ledger, but no key of this node in the keystore; restore \
         service-{group}.key from a backup, or recover the service from its ledger"
    )]
    NoKey {
        /// The group.
        group: GroupId,
    },
    /// What was found is not a ledger of this group.
    #[error("group {group}: {source}")]
    Member {
        /// The group.
        group: GroupId,
        /// What is wrong.
        source: MemberError,
    },
    /// A recovery was begun, and has not ended.
    #[error(
        "group {group}: a recovery of it was begun and has not ended; run `quorate recover` on this \
         data directory again, it goes on where it was"
    )]
    Recovering {
        /// The group.
        group: GroupId,
    },
    /// The ledger is of another service than the keystore: from before a recovery, mostly.
    #[error(
        "group {group}: the keystore has the keys of another service than the ledger; recover from the \
         ledger that goes with it, or restore service-{group}.key of the ledger's time"
    )]
    OtherService {
        /// The group.
        group: GroupId,
    },
    /// A recovered service did not commit its first entries.
    #[error("group {group}: the recovered service commits nothing {why}")]
    Unfinished {
        /// The group.
        group: GroupId,
        /// What the disk says.
        why: String,
    },
    /// No thread could be started.
    #[error("group {group}: no thread: {source}")]
    Thread {
        /// The group.
        group: GroupId,
        /// The operating system's.
        source: std::io::Error,
    },
}

/// What a member is opened with.
pub struct Opening {
    /// The group.
    pub descriptor: GroupDescriptor,
    /// This node's keys as a member of the group.
    pub keys: GroupKeys,
    /// Whether this node has made the group and the service is not durable yet.
    pub create: bool,
    /// Directory of its log.
    pub dir: PathBuf,
    /// Seals secrets of the log.
    pub sealing_key: SymmetricKey,
    /// Where its identity is.
    pub keystore: Arc<Keystore>,
    /// How it takes part.
    pub config: ServiceConfig,
    /// Where its clients find it: `host:port`.
    pub rpc_address: String,
    /// Where packets go.
    pub network: Network,
    /// Called with the reason if the thread ends by a mistake of ours.
    pub died: Died,
}

/// A member that runs.
pub struct Started {
    /// Where its work goes in.
    pub seat: Arc<Seat>,
    /// Where it stands.
    pub live: Arc<ArcSwap<Live>>,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// Opens a member and starts its thread.
///
/// # Errors
/// [`ServiceError`].
pub fn start(opening: Opening) -> Result<Started, ServiceError> {
    let group = opening.descriptor.id;
    let identity = Identity::new(Arc::clone(&opening.keystore), group);
    end_recovery(&opening.keystore, group)?;
    let kept_keys = leave_old_self(&opening, &identity)?;
    let disk =
        RealDisk::open(&opening.dir).map_err(|source| ServiceError::Disk { group, source })?;
    let options = Options::new(opening.sealing_key.clone(), rng());
    let read_only = read_only(group, &opening.config)?;
    let kept = opening.config.files_cleanup.max_snapshots;
    let (log, found) = DiskLog::open(disk, &read_only, kept, options, Figures::syncs(group))
        .map_err(|source| ServiceError::Log { group, source })?;
    let clock = Clock::start();
    let mut env = Env { now: clock.now(), rng: rng() };
    let (keys, begin) = begin(&opening, &identity, kept_keys, &found, env.now.0)?;
    let recovered = log.recovered(&found).map_err(|source| ServiceError::Read { group, source })?;
    let peer = PeerRef(opening.network.peer_id().to_bytes().into());
    let config = opening.config.apply(Config::new(group, peer, opening.rpc_address));
    let (driver, first) = CftDriver::open(&mut env, config, begin, keys, recovered, log)
        .map_err(|source| ServiceError::Member { group, source })?;
    let live = Arc::new(ArcSwap::from_pointee(host::first(&driver)));
    let (answers, to_deliver) = mpsc::unbounded_channel();
    tokio::spawn(host::deliver(to_deliver));
    let mut host = Host {
        group,
        driver,
        env,
        clock,
        live: Arc::clone(&live),
        network: opening.network,
        identity,
        began: false,
        known: opening.dir.join(known::FILE),
        answers,
        figures: Figures::new(group),
        waiting: BTreeMap::new(),
        next_ticket: 0,
        wake: None,
    };
    // Before the group is in the handle's hands, so that its first state is there at once.
    host.dispatch(first);
    let seat = Arc::new(Seat::new(host));
    let (closing, running) = (Arc::clone(&seat), Arc::clone(&seat));
    let thread = start_thread(group, opening.died, move || closing.close(), move || running.run())
        .map_err(|source| ServiceError::Thread { group, source })?;
    Ok(Started { seat, live, thread })
}

/// A recovery that has ended leaves nothing; one that has not must be, before the node starts.
fn end_recovery(keystore: &Keystore, group: GroupId) -> Result<(), ServiceError> {
    let Some(begun) = keystore.recovering_keys(group)? else { return Ok(()) };
    let own = keystore.service_keys(group)?;
    if own.is_none_or(|own| own.node_key != begun.node_key) {
        return Err(ServiceError::Recovering { group });
    }
    Ok(keystore.remove_recovering_keys(group)?)
}

/// The group's folders of the read-only directories. A directory that is missing is not mounted, or
/// misspelled; without it the log might look damaged.
///
/// # Errors
/// [`ServiceError::ReadOnly`].
pub(super) fn read_only(
    group: GroupId,
    config: &ServiceConfig,
) -> Result<Vec<PathBuf>, ServiceError> {
    for path in &config.read_only_directories {
        if let Err(source) = std::fs::read_dir(path) {
            return Err(ServiceError::ReadOnly { group, path: path.clone(), source });
        }
    }
    Ok(files::read_only(&config.read_only_directories, group))
}

/// Puts log and identity aside if this node is to come back as a new one. Returns the identity that
/// is left.
fn leave_old_self(
    opening: &Opening,
    identity: &Identity,
) -> Result<Option<ServiceKeys>, ServiceError> {
    let group = opening.descriptor.id;
    let kept = identity.read()?;
    let admitted = kept.as_ref().is_some_and(|keys| keys.membership.is_some());
    if !admitted || opening.config.restart != Restart::Rejoin || !opening.dir.exists() {
        return Ok(kept);
    }
    let Some(keys) = &kept else { return Ok(None) };
    let own =
        NodeKeys::open(&keys.node_key).map_err(|source| ServiceError::Keys { group, source })?;
    let own = own.id().to_string();
    if !known::others(&opening.dir.join(known::FILE), &own) {
        tracing::warn!(%group, "no other member is known to hold the ledger: resumes instead");
        return Ok(kept);
    }
    // The identity goes first: an old log without it only makes the new node's start quicker.
    identity.forget()?;
    let aside = aside(&opening.dir, &own[..8]);
    std::fs::rename(&opening.dir, &aside).map_err(|source| ServiceError::Aside {
        group,
        path: aside.clone(),
        source,
    })?;
    tracing::info!(%group, old = own, path = %aside.display(), "joins as a new node");
    Ok(None)
}

fn aside(dir: &Path, name: &str) -> PathBuf {
    let mut text = dir.as_os_str().to_owned();
    text.push(format!(".{name}"));
    PathBuf::from(text)
}

/// Chooses how to begin; see the module.
fn begin(
    opening: &Opening,
    identity: &Identity,
    kept: Option<ServiceKeys>,
    found: &signed::Recovered,
    now_ms: u64,
) -> Result<(NodeKeys, Begin), ServiceError> {
    let group = opening.descriptor.id;
    let wrong = |source| ServiceError::Keys { group, source };
    let admitted = kept.as_ref().is_some_and(|keys| keys.membership.is_some());
    if opening.create && !found.is_new && !admitted {
        return Err(ServiceError::NoKey { group });
    }
    let mut kept = match kept {
        Some(ServiceKeys { membership: Some(kept), .. }) if found.is_new && kept.began => {
            tracing::warn!(%group, "the log is lost: joins as a new node");
            None
        }
        other => other,
    };
    let ServiceKeys { node_key, membership } = match kept.take() {
        Some(keys) => keys,
        None => {
            let keys = ServiceKeys { node_key: NodeKeys::generate(), membership: None };
            identity.write(&keys)?;
            keys
        }
    };
    let mut node = NodeKeys::open(&node_key).map_err(wrong)?;
    let begin = match membership {
        Some(membership) if !found.is_new => {
            Begin::Resume { secret: node.enter(&membership).map_err(wrong)? }
        }
        // A joiner that was admitted and died before its first entry is admitted again.
        _ if !opening.create => {
            let encrypt = opening.keys.encrypt.clone();
            Begin::Join { encrypt, from_snapshot: true }
        }
        kept => {
            let membership = match kept {
                Some(membership) => membership,
                None => {
                    let founded = NodeKeys::found(&node_key, &opening.rpc_address, now_ms);
                    let founded = founded.map_err(wrong)?;
                    let membership = Some(founded.clone());
                    identity.write(&ServiceKeys { node_key, membership })?;
                    founded
                }
            };
            let secret = node.enter(&membership).map_err(wrong)?;
            Begin::Create { genesis: genesis(opening, &membership), secret }
        }
    };
    Ok((node, begin))
}

fn genesis(opening: &Opening, membership: &Membership) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let statement = sha256(membership.service_certificate.as_bytes());
    let signature = opening.keys.member.sign(&statement);
    BTreeMap::from([
        (GENESIS_BLOCK.to_vec(), opening.descriptor.genesis.to_bytes()),
        (OWNER_STATEMENT.to_vec(), signature.0.to_vec()),
    ])
}
