//! Which trxs may be in a block, and what they say.
//!
//! | rule | text |
//! |---|---|
//! | TRX-1 | version, group, id, type, sizes, sender and signature are right ([`trx::check`]) |
//! | TRX-2 | it has not expired at the block's timestamp (0: never expires) |
//! | TRX-3 | no trx of this id is on the ledger |
//! | TRX-4 | the permission rule allows its sender this type |
//! | TRX-5 | only the owner sends CONSENSUS, USER, CHAIN_CONFIG, APP_CONFIG |
//! | TRX-6 | its payload opens with the group's key, decodes in its canonical form and is of this group |
//! | TRX-7 | the signatures inside it are right: an ANNOUNCE by its announcer, who is the sender; settings by the owner; a CONSENSUS result by all who took part |
//!
//! All are decided against the state at the parent of the block, so that no trx of a block decides
//! about another, and every node decides alike.

use quorate_crypto::hash::{Digest, sha256_concat};
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_ledger::announce;
use quorate_ledger::codec::decode_message;
use quorate_ledger::group::{Encryption, GroupDescriptor};
use quorate_ledger::ids::{GroupId, TrxId};
use quorate_ledger::proto::{
    ActionType, AnnounceItem, AppConfigItem, AppConfigType, ChainConfigItem, ChainConfigType,
    ChainSendTrxRuleListItem, ChangeConsensusResult, ChangeConsensusResultBundle, MapWriteBatch,
    SetTrxAuthModeItem, Trx, TrxAuthMode, TrxType, UpdGroupUserItem,
};
use quorate_ledger::state::{MAX_KEY, State};
use quorate_ledger::trx::{self, Limits, Sender, TrxError};

use super::layout;

/// Why a trx may not be in a block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// TRX-1.
    #[error(transparent)]
    Trx(#[from] TrxError),
    /// It is not the canonical encoding of a trx.
    #[error("trx is malformed")]
    Malformed,
    /// TRX-2.
    #[error("trx has expired")]
    Expired,
    /// TRX-3.
    #[error("trx is on the ledger already")]
    Duplicate,
    /// TRX-4.
    #[error("{0} trxs are not allowed for this key")]
    Forbidden(&'static str),
    /// TRX-5.
    #[error("Only group owner can do this")]
    NotOwner,
    /// TRX-6 and TRX-7.
    #[error("wrong {kind} payload: {why}")]
    Payload {
        /// The trx type.
        kind: &'static str,
        /// Detail.
        why: String,
    },
    /// A consensus change that this ledger has heard of, or that is older than one it has.
    #[error("consensus change refused: {0}")]
    Change(String),
}

impl Refusal {
    /// Whether a correct producer could not have proposed the trx, whatever it knew.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Trx(_) | Self::Malformed | Self::NotOwner | Self::Payload { .. })
    }
}

/// What the rules look at beside the trx.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The group.
    pub descriptor: &'a GroupDescriptor,
    /// Certified state at the parent.
    pub state: &'a State,
}

impl Ground<'_> {
    /// The group's id.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.descriptor.id
    }

    fn is_owner(&self, sender: &Sender) -> bool {
        sender.is(&self.descriptor.owner)
    }

    fn private(&self) -> bool {
        self.descriptor.encryption == Encryption::Private
    }
}

/// What a trx says.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    /// Content: opaque.
    Post,
    /// An announcement.
    Announce(Box<AnnounceItem>),
    /// A result of a consensus change.
    Consensus(Box<ChangeConsensusResultBundle>),
    /// A user of a private group.
    User(UpdGroupUserItem),
    /// Permission mode of a type.
    Mode {
        /// What it says.
        mode: SetTrxAuthModeItem,
        /// As signed.
        item: Box<ChainConfigItem>,
    },
    /// A permission list entry.
    List {
        /// Which list.
        allow: bool,
        /// What it says.
        rule: ChainSendTrxRuleListItem,
        /// As signed.
        item: Box<ChainConfigItem>,
    },
    /// An application setting.
    App(Box<AppConfigItem>),
    /// Map writes.
    Maps(MapWriteBatch),
}

impl Payload {
    /// Most writes it can make.
    #[must_use]
    pub fn writes(&self) -> usize {
        match self {
            Self::Post => 0,
            Self::Consensus(_) => 3,
            Self::Maps(batch) => batch.entries.len(),
            _ => 1,
        }
    }

    /// Whether it ends the view.
    #[must_use]
    pub fn ends_view(&self) -> bool {
        matches!(self, Self::Consensus(bundle) if is_success(bundle))
    }
}

/// Whether a result changes the consensus.
#[must_use]
pub fn is_success(bundle: &ChangeConsensusResultBundle) -> bool {
    bundle.result == ChangeConsensusResult::Success as i32
}

/// A trx that passed the rules.
#[derive(Clone, PartialEq, Debug)]
pub struct Admitted {
    /// Its id.
    pub id: TrxId,
    /// Its sender.
    pub sender: Sender,
    /// What it says.
    pub payload: Payload,
}

/// Applies TRX-1 and TRX-2, TRX-4 to TRX-7; TRX-3 needs the ledger's index and is the caller's.
/// `checked`: exactly these bytes passed TRX-1 before.
///
/// # Errors
/// [`Refusal`].
pub fn admit(
    ground: &Ground<'_>,
    trx: &Trx,
    timestamp: i64,
    checked: bool,
) -> Result<Admitted, Refusal> {
    if !checked {
        trx::check(trx, ground.group(), Limits::REFERENCE)?;
    }
    let id = trx.id().ok_or(TrxError::Id)?;
    let kind = trx.trx_type().ok_or(TrxError::Type(trx.r#type))?;
    let sender = trx.sender().ok_or(TrxError::Sender)?;
    if trx.is_expired(timestamp) {
        return Err(Refusal::Expired);
    }
    permit(ground, &sender, kind)?;
    let payload = read_payload(ground, trx, kind)?;
    verify_payload(ground, &sender, &payload)?;
    Ok(Admitted { id, sender, payload })
}

/// TRX-4 and TRX-5.
///
/// # Errors
/// [`Refusal::NotOwner`], [`Refusal::Forbidden`].
pub fn permit(ground: &Ground<'_>, sender: &Sender, kind: TrxType) -> Result<(), Refusal> {
    let owner_only = matches!(
        kind,
        TrxType::Consensus | TrxType::User | TrxType::ChainConfig | TrxType::AppConfig
    );
    if owner_only && !ground.is_owner(sender) {
        return Err(Refusal::NotOwner);
    }
    if !layout::permitted(ground.state, sender, kind) {
        return Err(Refusal::Forbidden(kind.as_str_name()));
    }
    Ok(())
}

fn wrong(kind: TrxType, why: impl Into<String>) -> Refusal {
    Refusal::Payload { kind: kind.as_str_name(), why: why.into() }
}

/// TRX-6: decrypts and decodes.
///
/// # Errors
/// [`Refusal::Payload`].
pub fn read_payload(ground: &Ground<'_>, trx: &Trx, kind: TrxType) -> Result<Payload, Refusal> {
    if kind == TrxType::Post && ground.private() {
        // Encrypted to the members, not to the group's key: opaque here.
        return Ok(Payload::Post);
    }
    let plain = trx::decrypt_payload(&ground.descriptor.cipher_key, &trx.data)
        .map_err(|_| wrong(kind, "it does not open with the group's key"))?;
    let max = plain.len();
    let bad = |_| wrong(kind, "it does not decode");
    Ok(match kind {
        TrxType::Post => Payload::Post,
        TrxType::Announce => {
            Payload::Announce(Box::new(decode_message("item", &plain, max).map_err(bad)?))
        }
        TrxType::Consensus => {
            let bundle = ChangeConsensusResultBundle::read(&plain)
                .map_err(|e| wrong(kind, e.to_string()))?;
            Payload::Consensus(Box::new(bundle))
        }
        TrxType::User => Payload::User(decode_message("item", &plain, max).map_err(bad)?),
        TrxType::ChainConfig => chain_config(decode_message("item", &plain, max).map_err(bad)?)?,
        TrxType::AppConfig => {
            Payload::App(Box::new(decode_message("item", &plain, max).map_err(bad)?))
        }
        TrxType::MapWrite => {
            let batch = trx::read_map_writes(&plain).map_err(|e| wrong(kind, e.to_string()))?;
            if batch.entries.iter().any(|write| write.map.starts_with(layout::SYSTEM)) {
                return Err(wrong(kind, "maps of the system are not written directly"));
            }
            Payload::Maps(batch)
        }
        TrxType::ReqBlock | TrxType::ReqBlockResp => {
            return Err(Refusal::Trx(TrxError::Type(trx.r#type)));
        }
    })
}

fn chain_config(item: ChainConfigItem) -> Result<Payload, Refusal> {
    let kind = TrxType::ChainConfig;
    let bad = |_| wrong(kind, "its data does not decode");
    let unfit = || wrong(kind, "this trx type can not be configured");
    let max = item.data.len();
    let allow = match ChainConfigType::try_from(item.r#type) {
        Ok(ChainConfigType::SetTrxAuthMode) => {
            let mode: SetTrxAuthModeItem = decode_message("mode", &item.data, max).map_err(bad)?;
            if TrxAuthMode::try_from(mode.mode).is_err() || !configurable(mode.r#type) {
                return Err(unfit());
            }
            return Ok(Payload::Mode { mode, item: Box::new(item) });
        }
        Ok(ChainConfigType::UpdAlwList) => true,
        Ok(ChainConfigType::UpdDnyList) => false,
        Err(_) => return Err(wrong(kind, "unknown type")),
    };
    let rule: ChainSendTrxRuleListItem = decode_message("rule", &item.data, max).map_err(bad)?;
    if ActionType::try_from(rule.action).is_err() || !rule.r#type.iter().all(|k| configurable(*k)) {
        return Err(unfit());
    }
    if Sender::parse(&rule.pubkey).is_none() {
        return Err(wrong(kind, "it names no key"));
    }
    Ok(Payload::List { allow, rule, item: Box::new(item) })
}

/// Whether permissions of a trx type can be configured: those every member may send.
#[must_use]
pub fn configurable(kind: i32) -> bool {
    matches!(
        TrxType::try_from(kind),
        Ok(TrxType::Post | TrxType::Announce | TrxType::ReqBlock | TrxType::MapWrite)
    )
}

/// TRX-7, except the result of a consensus change ([`super::change`]).
fn verify_payload(ground: &Ground<'_>, sender: &Sender, payload: &Payload) -> Result<(), Refusal> {
    let group = ground.group().to_string();
    let owner = &ground.descriptor.owner;
    match payload {
        Payload::Post | Payload::Maps(_) | Payload::Consensus(_) => Ok(()),
        Payload::Announce(item) => {
            let kind = TrxType::Announce;
            let announced = announce::verify(item, ground.group())
                .map_err(|error| wrong(kind, error.to_string()))?;
            if !sender.is(&announced.member) {
                return Err(wrong(kind, "a member announces itself only"));
            }
            Ok(())
        }
        Payload::User(item) => verify_user(ground, item),
        Payload::Mode { item, .. } | Payload::List { item, .. } => {
            let kind = TrxType::ChainConfig;
            if item.group_id != group || item.owner_pubkey != owner.to_string() {
                return Err(wrong(kind, "it is of another group or owner"));
            }
            verify_owner(owner, &chain_config_digests(item, owner), &item.owner_signature)
                .ok_or_else(|| wrong(kind, "the owner's signature does not verify"))
        }
        Payload::App(item) => {
            let kind = TrxType::AppConfig;
            if item.group_id != group || item.owner_pubkey != owner.to_string() {
                return Err(wrong(kind, "it is of another group or owner"));
            }
            if item.name.is_empty() || item.name.len() > MAX_KEY {
                return Err(wrong(kind, "its name is empty or too long"));
            }
            let digest = app_config_digest(item, owner)
                .ok_or_else(|| wrong(kind, "unknown action or type"))?;
            verify_owner(owner, &[digest], &item.owner_sign)
                .ok_or_else(|| wrong(kind, "the owner's signature does not verify"))
        }
    }
}

fn verify_user(ground: &Ground<'_>, item: &UpdGroupUserItem) -> Result<(), Refusal> {
    let kind = TrxType::User;
    if !ground.private() {
        return Err(wrong(kind, "Group is not private"));
    }
    if item.group_id != ground.group().to_string() {
        return Err(wrong(kind, "it is of another group"));
    }
    let Some(Sender::Key(member)) = Sender::parse(&item.user_pubkey) else {
        return Err(wrong(kind, "it names no key"));
    };
    match ActionType::try_from(item.action) {
        Ok(ActionType::Remove) => Ok(()),
        Ok(ActionType::Add) if layout::announced_user(ground.state, &member).is_some() => Ok(()),
        Ok(ActionType::Add) => Err(wrong(kind, "the user has not announced itself")),
        Err(_) => Err(wrong(kind, "unknown action")),
    }
}

fn verify_owner(owner: &MemberPublicKey, digests: &[Digest], signature: &str) -> Option<()> {
    let mut bytes = [0; 65];
    hex::decode_to_slice(signature, &mut bytes).ok()?;
    digests.iter().any(|digest| owner.verify(digest, &bytes)).then_some(())
}

/// What the owner signs of permissions: the reference signs before it sets time and memo, so both
/// forms count.
fn chain_config_digests(item: &ChainConfigItem, owner: &MemberPublicKey) -> [Digest; 2] {
    let kind = ChainConfigType::try_from(item.r#type).map_or("", ChainConfigType::as_str_name);
    [(0, ""), (item.time_stamp, item.memo.as_str())].map(|(time, memo)| {
        sha256_concat(&[
            item.group_id.as_bytes(),
            kind.as_bytes(),
            &item.data,
            owner.as_bytes(),
            &time.to_be_bytes(),
            memo.as_bytes(),
        ])
    })
}

fn app_config_digest(item: &AppConfigItem, owner: &MemberPublicKey) -> Option<Digest> {
    Some(sha256_concat(&[
        item.group_id.as_bytes(),
        ActionType::try_from(item.action).ok()?.as_str_name().as_bytes(),
        item.name.as_bytes(),
        AppConfigType::try_from(item.r#type).ok()?.as_str_name().as_bytes(),
        item.value.as_bytes(),
        item.memo.as_bytes(),
        owner.as_bytes(),
    ]))
}

/// Signs a permission setting: sets owner and signature. Time and memo are covered.
pub fn sign_chain_config(owner: &MemberKey, item: &mut ChainConfigItem) {
    item.owner_pubkey = owner.public().to_string();
    let [_, digest] = chain_config_digests(item, &owner.public());
    item.owner_signature = hex::encode(owner.sign(&digest).0);
}

/// Signs an application setting: sets owner and signature. Returns whether its action and type are
/// known; if not, it is left as it was.
pub fn sign_app_config(owner: &MemberKey, item: &mut AppConfigItem) -> bool {
    let Some(digest) = app_config_digest(item, &owner.public()) else { return false };
    item.owner_pubkey = owner.public().to_string();
    item.owner_sign = hex::encode(owner.sign(&digest).0);
    true
}
