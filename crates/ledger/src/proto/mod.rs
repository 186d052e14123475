//! The wire and JSON messages of seed 001's world, field by field.
//!
//! Plain structs that derive [`prost::Message`]: numbers and types are those of the reference's
//! `quorum.pb` package (write form S), and are never changed. Ours are [`KeyMaterial`],
//! [`MapWriteBatch`] and trx type 16.
//!
//! JSON follows the reference: PascalCase names, nothing written that has its default value, bytes
//! in standard base64, enumerations as numbers, `TimeStamp` as a decimal string, other integers as
//! numbers. Reading through [`crate::json`] matches keys without regard to case.

mod bundle;
mod consensus;
mod enums;
mod items;
mod json_fields;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use bundle::BundleError;
pub use consensus::{
    ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResultBundle, ConsensusContract,
    KeyMaterial,
};
pub use enums::{
    ActionType, AnnounceType, AppConfigType, AuthListType, ChainConfigType, ChangeConsensusResult,
    GroupConsenseType, GroupEncryptType, MapWriteOp, PackageType, TrxAuthMode, TrxStorageType,
    TrxType,
};
pub use items::{
    AnnounceContent, AnnounceItem, AppConfigItem, ChainConfigItem, ChainSendTrxRuleListItem,
    ProducerItem, SetTrxAuthModeItem, UpdGroupUserItem, UserItem,
};
use json_fields::{is_zero_i32, is_zero_i64, is_zero_u64};

/// Envelope of the reference's network messages.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Package {
    /// What `data` holds.
    #[prost(enumeration = "PackageType", tag = "1")]
    #[serde(rename = "Type", skip_serializing_if = "is_zero_i32")]
    pub r#type: i32,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub data: Vec<u8>,
}

/// A transaction. [`crate::trx`] makes and checks it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Trx {
    /// Its id: a UUID in lower-case hyphenated form.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trx_id: String,
    /// Its kind.
    #[prost(enumeration = "TrxType", tag = "2")]
    #[serde(rename = "Type", skip_serializing_if = "is_zero_i32")]
    pub r#type: i32,
    /// The group.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Encrypted payload.
    #[prost(bytes = "vec", tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub data: Vec<u8>,
    /// When it was made, nanoseconds since the Unix epoch.
    #[prost(int64, tag = "5")]
    #[serde(skip_serializing_if = "is_zero_i64", with = "crate::json::decimal_i64")]
    pub time_stamp: i64,
    /// `2.0.0`.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When it expires, nanoseconds since the Unix epoch; 0: never.
    #[prost(int64, tag = "7")]
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub expired: i64,
    /// Not signed; 0 on a ledger.
    #[prost(int64, tag = "8")]
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub resend_count: i64,
    /// 0.
    #[prost(int64, tag = "9")]
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub nonce: i64,
    /// Member key text or Ethereum address of the sender.
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sender_pubkey: String,
    /// Signature over the digest, 65 bytes.
    #[prost(bytes = "vec", tag = "11")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub sender_sign: Vec<u8>,
    /// Not signed; 0 on a ledger.
    #[prost(enumeration = "TrxStorageType", tag = "12")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub storage_type: i32,
}

/// `Block` of the reference: wire and JSON form of a block for clients of seed 001. The ledger's own
/// form is [`crate::block::Block`].
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ProtoBlock {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Position in the ledger; 0 is the genesis block.
    #[prost(uint64, tag = "2")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub block_id: u64,
    /// Epoch that made it.
    #[prost(uint64, tag = "3")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub epoch: u64,
    /// Hash of the block before it.
    #[prost(bytes = "vec", tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub prev_hash: Vec<u8>,
    /// Key text of the producer that signed.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub producer_pubkey: String,
    /// The trxs.
    #[prost(message, repeated, tag = "6")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trxs: Vec<Trx>,
    /// Nanoseconds since the Unix epoch.
    #[prost(int64, tag = "8")]
    #[serde(skip_serializing_if = "is_zero_i64", with = "crate::json::decimal_i64")]
    pub time_stamp: i64,
    /// Its hash.
    #[prost(bytes = "vec", tag = "9")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub block_hash: Vec<u8>,
    /// Signature of the producer over the hash.
    #[prost(bytes = "vec", tag = "10")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub producer_sign: Vec<u8>,
}

/// `HBTrxBundle` of the reference: a proposal's trxs.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HbTrxBundle {
    /// The trxs.
    #[prost(message, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trxs: Vec<Trx>,
}

/// A post as the reference stores it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PostItem {
    /// Its trx.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trx_id: String,
    /// Key text of the sender.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sender_pubkey: String,
    /// The posted JSON.
    #[prost(bytes = "vec", tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub content: Vec<u8>,
    /// Nanoseconds since the Unix epoch.
    #[prost(int64, tag = "4")]
    #[serde(skip_serializing_if = "is_zero_i64", with = "crate::json::decimal_i64")]
    pub time_stamp: i64,
}

/// A group as the reference stores it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GroupItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Its name.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_name: String,
    /// Key text of the owner.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_pub_key: String,
    /// Key text of the own member.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_sign_pubkey: String,
    /// age recipient of the own member.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_encrypt_pubkey: String,
    /// Nanoseconds since the Unix epoch.
    #[prost(int64, tag = "6")]
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub last_update: i64,
    /// The genesis block.
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genesis_block: Option<ProtoBlock>,
    /// Public or private.
    #[prost(enumeration = "GroupEncryptType", tag = "8")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub encrypt_type: i32,
    /// Ordering.
    #[prost(enumeration = "GroupConsenseType", tag = "9")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub consense_type: i32,
    /// Hexadecimal cipher key.
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cipher_key: String,
    /// Application key.
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_key: String,
}

/// A seed as a message.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GroupSeed {
    /// The genesis block.
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genesis_block: Option<ProtoBlock>,
    /// The group.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Its name.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_name: String,
    /// Key text of the owner.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_pubkey: String,
    /// Ordering.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consensus_type: String,
    /// Public or private.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encryption_type: String,
    /// Hexadecimal cipher key.
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cipher_key: String,
    /// Application key.
    #[prost(string, tag = "8")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_key: String,
    /// Hexadecimal signature.
    #[prost(string, tag = "9")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signature: String,
}

/// Payload of a MAP_WRITE trx (ours): writes that take effect together or not at all.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MapWriteBatch {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<MapWrite>,
}

/// One write to a named map.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MapWrite {
    /// The map.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub map: String,
    /// The key.
    #[prost(bytes = "vec", tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub key: Vec<u8>,
    /// What to do.
    #[prost(enumeration = "MapWriteOp", tag = "3")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub op: i32,
    /// The new value (put, compare-and-set).
    #[prost(bytes = "vec", tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub value: Vec<u8>,
    /// Compare-and-set: the value that must be there; absent: there must be none.
    #[prost(bytes = "vec", optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none", with = "json_fields::optional_base64")]
    pub expected: Option<Vec<u8>>,
}
