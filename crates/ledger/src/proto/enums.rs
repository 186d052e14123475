//! Enumerations of the messages. On the wire and in JSON they are numbers.

/// Kind of a trx. 0 to 7 are the reference's, 16 is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TrxType {
    /// Content of a member: any JSON object.
    Post = 0,
    /// [`super::AnnounceItem`].
    Announce = 1,
    /// [`super::ChangeConsensusResultBundle`]; the owner's.
    Consensus = 2,
    /// [`super::UpdGroupUserItem`]; the owner's.
    User = 3,
    /// The reference's sync question; never on a ledger.
    ReqBlock = 4,
    /// The reference's sync answer; never on a ledger.
    ReqBlockResp = 5,
    /// [`super::ChainConfigItem`]; the owner's.
    ChainConfig = 6,
    /// [`super::AppConfigItem`]; the owner's.
    AppConfig = 7,
    /// [`super::MapWriteBatch`]: writes to named maps, accepted by every group kind.
    MapWrite = 16,
}

impl TrxType {
    /// Name as the API writes it, for example `CHAIN_CONFIG`.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Announce => "ANNOUNCE",
            Self::Consensus => "CONSENSUS",
            Self::User => "USER",
            Self::ReqBlock => "REQ_BLOCK",
            Self::ReqBlockResp => "REQ_BLOCK_RESP",
            Self::ChainConfig => "CHAIN_CONFIG",
            Self::AppConfig => "APP_CONFIG",
            Self::MapWrite => "MAP_WRITE",
        }
    }

    /// The type of an API name; case matters.
    #[must_use]
    pub fn from_str_name(name: &str) -> Option<Self> {
        Some(match name {
            "POST" => Self::Post,
            "ANNOUNCE" => Self::Announce,
            "CONSENSUS" => Self::Consensus,
            "USER" => Self::User,
            "REQ_BLOCK" => Self::ReqBlock,
            "REQ_BLOCK_RESP" => Self::ReqBlockResp,
            "CHAIN_CONFIG" => Self::ChainConfig,
            "APP_CONFIG" => Self::AppConfig,
            "MAP_WRITE" => Self::MapWrite,
            _ => return None,
        })
    }
}

/// Kind of a [`super::Package`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PackageType {
    /// `TRX`.
    Trx = 0,
    /// `BLOCK`.
    Block = 1,
    /// `GROUP_BROADCAST`.
    GroupBroadcast = 2,
    /// `CHANGE_CONSENSUS_REQ`.
    ChangeConsensusReq = 3,
    /// `HBB_PT`.
    HbbPt = 4,
    /// `HBB_PC`.
    HbbPc = 5,
}

impl PackageType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Trx => "TRX",
            Self::Block => "BLOCK",
            Self::GroupBroadcast => "GROUP_BROADCAST",
            Self::ChangeConsensusReq => "CHANGE_CONSENSUS_REQ",
            Self::HbbPt => "HBB_PT",
            Self::HbbPc => "HBB_PC",
        }
    }
}

/// Where the reference keeps a trx; always `Chain` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TrxStorageType {
    /// `CHAIN`.
    Chain = 0,
    /// `CACHE`.
    Cache = 1,
}

impl TrxStorageType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Chain => "CHAIN",
            Self::Cache => "CACHE",
        }
    }
}

/// What a member announces itself as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AnnounceType {
    /// `AS_USER`.
    AsUser = 0,
    /// `AS_PRODUCER`.
    AsProducer = 1,
}

impl AnnounceType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::AsUser => "AS_USER",
            Self::AsProducer => "AS_PRODUCER",
        }
    }
}

/// Whether an item adds or removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ActionType {
    /// `ADD`.
    Add = 0,
    /// `REMOVE`.
    Remove = 1,
}

impl ActionType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Remove => "REMOVE",
        }
    }
}

/// How a consensus change ended. Its API text is that of [`crate::change::ChangeResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ChangeConsensusResult {
    /// `SUCCESS`.
    Success = 0,
    /// `FAIL`.
    Fail = 1,
    /// `TIMEOUT`.
    Timeout = 2,
}

impl ChangeConsensusResult {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Fail => "FAIL",
            Self::Timeout => "TIMEOUT",
        }
    }
}

/// Who may read the posts of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum GroupEncryptType {
    /// `PUBLIC`.
    Public = 0,
    /// `PRIVATE`.
    Private = 1,
}

impl GroupEncryptType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::Private => "PRIVATE",
        }
    }
}

/// Ordering as the reference names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum GroupConsenseType {
    /// `POA`.
    Poa = 0,
    /// `POS`.
    Pos = 1,
}

impl GroupConsenseType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Poa => "POA",
            Self::Pos => "POS",
        }
    }
}

/// What a [`super::ChainConfigItem`] sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ChainConfigType {
    /// `SET_TRX_AUTH_MODE`.
    SetTrxAuthMode = 0,
    /// `UPD_DNY_LIST`.
    UpdDnyList = 1,
    /// `UPD_ALW_LIST`.
    UpdAlwList = 2,
}

impl ChainConfigType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::SetTrxAuthMode => "SET_TRX_AUTH_MODE",
            Self::UpdDnyList => "UPD_DNY_LIST",
            Self::UpdAlwList => "UPD_ALW_LIST",
        }
    }
}

/// Default permission of a trx type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TrxAuthMode {
    /// `FOLLOW_ALW_LIST`.
    FollowAlwList = 0,
    /// `FOLLOW_DNY_LIST`.
    FollowDnyList = 1,
}

impl TrxAuthMode {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::FollowAlwList => "FOLLOW_ALW_LIST",
            Self::FollowDnyList => "FOLLOW_DNY_LIST",
        }
    }
}

/// Which of the two permission lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AuthListType {
    /// `ALLOW_LIST`.
    AllowList = 0,
    /// `DENY_LIST`.
    DenyList = 1,
}

impl AuthListType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::AllowList => "ALLOW_LIST",
            Self::DenyList => "DENY_LIST",
        }
    }
}

/// Type of an application setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AppConfigType {
    /// `INT`.
    Int = 0,
    /// `BOOL`.
    Bool = 1,
    /// `STRING`.
    String = 2,
}

impl AppConfigType {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Bool => "BOOL",
            Self::String => "STRING",
        }
    }
}

/// What a [`super::MapWrite`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MapWriteOp {
    /// `PUT`.
    Put = 0,
    /// `DELETE`.
    Delete = 1,
    /// `COMPARE_AND_SET`.
    CompareAndSet = 2,
}

impl MapWriteOp {
    /// Name as the API writes it.
    #[must_use]
    pub const fn as_str_name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::CompareAndSet => "COMPARE_AND_SET",
        }
    }
}
