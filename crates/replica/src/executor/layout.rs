//! Where facts live in the state, and readers for them.
//!
//! | map | key | value |
//! |---|---|---|
//! | `quorate.announced.producers` | member key (33) | [`AnnounceItem`], protobuf |
//! | `quorate.announced.users` | member key (33) | [`AnnounceItem`], protobuf |
//! | `quorate.users` | member key (33) | [`UserItem`], protobuf |
//! | `quorate.chain.modes` | trx type (4) | mode (1) |
//! | `quorate.chain.allow`, `quorate.chain.deny` | Ethereum address, lower case | the owner's [`ChainConfigItem`], protobuf |
//! | `quorate.app` | name | [`AppConfigItem`], protobuf |
//! | `quorate.proofs` | nonce (8) | id text of the CONSENSUS trx, then the [`ChangeConsensusResultBundle`], protobuf |
//! | `quorate.requests` | request id text | nonce (8) |
//! | `quorate.views` | view number (8) | id of the block that ended the view before (8), nonce (8), id text of the CONSENSUS trx |
//!
//! Numbers are big-endian. Names that start with [`SYSTEM`] are the system's: MAP_WRITE trxs write
//! to other maps. A list entry is found by address, because a member may sign under its key or its
//! address.

use prost::Message as _;
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::ids::{BlockId, ViewNumber};
use quorate_ledger::proto::{
    AnnounceItem, AnnounceType, AppConfigItem, ChainConfigItem, ChainSendTrxRuleListItem,
    ChangeConsensusResultBundle, TrxAuthMode, TrxType, UserItem,
};
use quorate_ledger::state::{State, Value};
use quorate_ledger::trx::Sender;

/// How the names of the system's maps start.
pub const SYSTEM: &str = "quorate.";

/// Announced producers.
pub const ANNOUNCED_PRODUCERS: &str = "quorate.announced.producers";
/// Announced users.
pub const ANNOUNCED_USERS: &str = "quorate.announced.users";
/// Approved users.
pub const USERS: &str = "quorate.users";
/// Permission modes.
pub const MODES: &str = "quorate.chain.modes";
/// Allow list.
pub const ALLOW: &str = "quorate.chain.allow";
/// Deny list.
pub const DENY: &str = "quorate.chain.deny";
/// Application settings.
pub const APP: &str = "quorate.app";
/// Results of consensus changes.
pub const PROOFS: &str = "quorate.proofs";
/// Known requests.
pub const REQUESTS: &str = "quorate.requests";
/// Views.
pub const VIEWS: &str = "quorate.views";

/// The map an announcement of this kind is kept in.
#[must_use]
pub const fn announced_map(kind: AnnounceType) -> &'static str {
    match kind {
        AnnounceType::AsUser => ANNOUNCED_USERS,
        AnnounceType::AsProducer => ANNOUNCED_PRODUCERS,
    }
}

fn decode<M: prost::Message + Default>(value: &Value) -> M {
    M::decode(&**value).expect("the executor writes what it can read")
}

/// What a member announced itself as a producer with, if it has.
#[must_use]
pub fn announced_producer(state: &State, member: &MemberPublicKey) -> Option<AnnounceItem> {
    state.get(ANNOUNCED_PRODUCERS, member.as_bytes()).map(decode)
}

/// What a member announced itself as a user with, if it has.
#[must_use]
pub fn announced_user(state: &State, member: &MemberPublicKey) -> Option<AnnounceItem> {
    state.get(ANNOUNCED_USERS, member.as_bytes()).map(decode)
}

/// All announcements of a kind, in key order.
pub fn announced(state: &State, kind: AnnounceType) -> impl Iterator<Item = AnnounceItem> {
    state.iter(announced_map(kind)).map(|(_, value)| decode(value))
}

/// Approved users of a private group, in key order.
pub fn users(state: &State) -> impl Iterator<Item = UserItem> {
    state.iter(USERS).map(|(_, value)| decode(value))
}

/// Application settings, in name order.
pub fn app_config(state: &State) -> impl Iterator<Item = AppConfigItem> {
    state.iter(APP).map(|(_, value)| decode(value))
}

/// Highest nonce of a consensus change that has a result on the ledger; 0 is the genesis proof.
#[must_use]
pub fn last_nonce(state: &State) -> u64 {
    let last = state.iter(PROOFS).next_back().and_then(|(key, _)| number(key));
    last.unwrap_or_default()
}

/// Whether a consensus change with this nonce has a result on the ledger.
#[must_use]
pub fn known_nonce(state: &State, nonce: u64) -> bool {
    state.get(PROOFS, &nonce.to_be_bytes()).is_some()
}

/// Whether a request with this id has a result on the ledger.
#[must_use]
pub fn known_request(state: &State, req_id: &str) -> bool {
    state.get(REQUESTS, req_id.as_bytes()).is_some()
}

/// One result of a consensus change.
#[derive(Clone, PartialEq, Debug)]
pub struct Proof {
    /// The CONSENSUS trx that brought it; empty for the genesis proof.
    pub trx_id: String,
    /// The result.
    pub bundle: ChangeConsensusResultBundle,
}

impl Proof {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(self.trx_id.len()).expect("an id text is short")];
        bytes.extend_from_slice(self.trx_id.as_bytes());
        bytes.extend_from_slice(&self.bundle.encode_to_vec());
        bytes
    }

    fn decode(value: &Value) -> Option<Self> {
        let (length, rest) = value.split_first()?;
        let (id, bundle) = rest.split_at_checked(usize::from(*length))?;
        let trx_id = String::from_utf8(id.to_vec()).ok()?;
        Some(Self { trx_id, bundle: ChangeConsensusResultBundle::decode(bundle).ok()? })
    }
}

/// All results of consensus changes, in nonce order, the genesis proof first.
///
/// # Panics
/// If the executor wrote something else: our own mistake.
pub fn proofs(state: &State) -> impl DoubleEndedIterator<Item = (u64, Proof)> {
    state.iter(PROOFS).map(|(key, value)| {
        let nonce = number(key).expect("the executor writes nonces of 8 bytes");
        (nonce, Proof::decode(value).expect("the executor writes what it can read"))
    })
}

/// The result of the consensus change with this nonce.
#[must_use]
pub fn proof(state: &State, nonce: u64) -> Option<Proof> {
    state.get(PROOFS, &nonce.to_be_bytes()).and_then(Proof::decode)
}

/// Where a view comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewEntry {
    /// Its number.
    pub number: ViewNumber,
    /// The block that ended the view before; 0 for the genesis view.
    pub block: BlockId,
    /// Nonce of the request that made it.
    pub nonce: u64,
    /// The CONSENSUS trx; empty for the genesis view.
    pub trx_id: String,
}

impl ViewEntry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.block.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        bytes.extend_from_slice(self.trx_id.as_bytes());
        bytes
    }
}

/// All views, in order.
///
/// # Panics
/// If the executor wrote something else: our own mistake.
pub fn views(state: &State) -> impl DoubleEndedIterator<Item = ViewEntry> {
    state.iter(VIEWS).map(|(key, value)| {
        let parse = || {
            Some(ViewEntry {
                number: ViewNumber(number(key)?),
                block: BlockId(number(value.get(..8)?)?),
                nonce: number(value.get(8..16)?)?,
                trx_id: String::from_utf8(value.get(16..)?.to_vec()).ok()?,
            })
        };
        parse().expect("the executor writes what it can read")
    })
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Under what a sender is found in the permission lists.
#[must_use]
pub fn list_key(sender: &Sender) -> Vec<u8> {
    match sender {
        Sender::Key(key) => key.eth_address().to_ascii_lowercase().into_bytes(),
        Sender::Address(address) => address.to_ascii_lowercase().into_bytes(),
    }
}

/// A member's entry in a permission list.
#[derive(Clone, PartialEq, Debug)]
pub struct ListEntry {
    /// Whom and which trx types it is about.
    pub rule: ChainSendTrxRuleListItem,
    /// The owner's signed item.
    pub item: ChainConfigItem,
}

fn list_entry(value: &Value) -> ListEntry {
    let item: ChainConfigItem = decode(value);
    let rule = ChainSendTrxRuleListItem::decode(&*item.data);
    ListEntry { rule: rule.expect("the executor writes what it can read"), item }
}

/// Permissions as the owner configured them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ChainConfig {
    /// Modes that were set, by trx type; all others follow the deny list.
    pub modes: Vec<(TrxType, TrxAuthMode)>,
    /// Members that may.
    pub allow: Vec<ListEntry>,
    /// Members that may not.
    pub deny: Vec<ListEntry>,
}

impl ChainConfig {
    /// The mode of a trx type.
    #[must_use]
    pub fn mode(&self, kind: TrxType) -> TrxAuthMode {
        let set = self.modes.iter().find(|(of, _)| *of == kind);
        set.map_or(TrxAuthMode::FollowDnyList, |(_, mode)| *mode)
    }
}

/// The permissions in force.
#[must_use]
pub fn chain_config(state: &State) -> ChainConfig {
    let list = |map| state.iter(map).map(|(_, value)| list_entry(value)).collect();
    let modes = state.iter(MODES).filter_map(|(key, value)| {
        let kind = i32::from_be_bytes(key.try_into().ok()?);
        let mode = i32::from(*value.first()?);
        Some((TrxType::try_from(kind).ok()?, TrxAuthMode::try_from(mode).ok()?))
    });
    ChainConfig { modes: modes.collect(), allow: list(ALLOW), deny: list(DENY) }
}

/// The permission rule: in the allow list: yes; else in the deny list: no; else by the type's mode.
/// The owner is not exempt.
#[must_use]
pub fn permitted(state: &State, sender: &Sender, kind: TrxType) -> bool {
    let listed = |map| {
        // Addresses cost a hash: most groups have empty lists.
        state.len(map) > 0
            && state
                .get(map, &list_key(sender))
                .is_some_and(|value| list_entry(value).rule.r#type.contains(&(kind as i32)))
    };
    if listed(ALLOW) {
        return true;
    }
    if listed(DENY) {
        return false;
    }
    let mode = state.get(MODES, &(kind as i32).to_be_bytes());
    mode.is_none_or(|value| **value != [TrxAuthMode::FollowAlwList as u8])
}
