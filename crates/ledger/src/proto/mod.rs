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
mod enums;
mod json_fields;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use bundle::BundleError;
pub use enums::{
    ActionType, AnnounceType, AppConfigType, AuthListType, ChainConfigType, ChangeConsensusResult,
    GroupConsenseType, GroupEncryptType, MapWriteOp, PackageType, TrxAuthMode, TrxStorageType,
    TrxType,
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

/// The owner's request for another consensus configuration.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeConsensusReq {
    /// Its id: a UUID.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub req_id: String,
    /// The group.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Sequence number of the owner's requests; 0 is the genesis proof.
    #[prost(uint64, tag = "3")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub nonce: u64,
    /// Key texts of the new producers, in committee order.
    #[prost(string, repeated, tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub producer_pubkey_list: Vec<String>,
    /// Length of one agreement round.
    #[prost(uint64, tag = "6")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub agreement_tick_len_in_ms: u64,
    /// Number of agreement rounds.
    #[prost(uint64, tag = "7")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub agreement_tick_count: u64,
    /// First epoch of the new view.
    #[prost(uint64, tag = "8")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub start_from_epoch: u64,
    /// Epoch interval of the new view.
    #[prost(uint64, tag = "9")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub trx_epoch_tick_len_in_ms: u64,
    /// Unused by the reference.
    #[prost(message, optional, tag = "10")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<ConsensusContract>,
    /// Key text of the owner.
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sender_pubkey: String,
    /// SHA-256 of the message without fields 12 and 13.
    #[prost(bytes = "vec", tag = "12")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub msg_hash: Vec<u8>,
    /// Signature over the hash.
    #[prost(bytes = "vec", tag = "13")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub sender_sign: Vec<u8>,
}

/// A participant's answer to a request.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeConsensusResp {
    /// Its id: a UUID.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resp_id: String,
    /// The group.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Key text of the participant.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sender_pubkey: String,
    /// The complete signed request.
    #[prost(message, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub req: Option<ChangeConsensusReq>,
    /// SHA-256 of the message without fields 5 and 6.
    #[prost(bytes = "vec", tag = "5")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub msg_hash: Vec<u8>,
    /// Signature over the hash.
    #[prost(bytes = "vec", tag = "6")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub sender_sign: Vec<u8>,
    /// Ours: what a listed producer brings to the new view. Covered by the hash.
    #[prost(message, optional, tag = "16")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_material: Option<KeyMaterial>,
}

/// A producer's part of the key generation of a new view (ours).
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct KeyMaterial {
    /// Ed25519 consensus key of the new view, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub view_key: Vec<u8>,
    /// Finished dealer log of the key generation.
    #[prost(bytes = "vec", tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub dealer_log: Vec<u8>,
}

/// Carried by the reference's requests, never used.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConsensusContract {
    /// Id.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub contract_id: String,
    /// Nonce.
    #[prost(uint64, tag = "2")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub nonce: u64,
    /// The group.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Text.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub contract: String,
    /// Version.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Time.
    #[prost(uint64, tag = "6")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub timestamp: u64,
    /// Owner.
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_pubkey: String,
    /// Hash.
    #[prost(bytes = "vec", tag = "8")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub contract_hash: Vec<u8>,
    /// Signature.
    #[prost(bytes = "vec", tag = "9")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub owner_sign: Vec<u8>,
}

/// Result of a consensus change: payload of a CONSENSUS trx, in the write form of seed 001.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeConsensusResultBundle {
    /// How it ended.
    #[prost(enumeration = "ChangeConsensusResult", tag = "1")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub result: i32,
    /// The request.
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub req: Option<ChangeConsensusReq>,
    /// The responses.
    #[prost(message, repeated, tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resps: Vec<ChangeConsensusResp>,
    /// Epoch of the result; unused by the reference.
    #[prost(uint64, tag = "4")]
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub epoch: u64,
    /// Key texts of those who answered.
    #[prost(string, repeated, tag = "5")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responsed_producers: Vec<String>,
}

/// A member announces itself. [`crate::announce`] makes and checks it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AnnounceItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Add or remove.
    #[prost(enumeration = "ActionType", tag = "2")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub action: i32,
    /// What is announced.
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<AnnounceContent>,
    /// Key text of the announcer.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub announcer_pubkey: String,
    /// SHA-256 of the item without fields 5 and 6.
    #[prost(bytes = "vec", tag = "5")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub hash: Vec<u8>,
    /// Signature over the hash.
    #[prost(bytes = "vec", tag = "6")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub signature: Vec<u8>,
}

/// What an announcement says.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AnnounceContent {
    /// As user or as producer.
    #[prost(enumeration = "AnnounceType", tag = "1")]
    #[serde(rename = "Type", skip_serializing_if = "is_zero_i32")]
    pub r#type: i32,
    /// Key text.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sign_pubkey: String,
    /// age recipient.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encrypt_pubkey: String,
    /// Free text.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memo: String,
}

/// A producer, as the API shows it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ProducerItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Key text.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub producer_pubkey: String,
    /// Id of the CONSENSUS trx that made it a producer; empty for the genesis producer.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proof_trx_id: String,
    /// Blocks made.
    #[prost(int64, tag = "4")]
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub blk_cnt: i64,
    /// Free text.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memo: String,
}

/// The owner approves or removes a user of a private group.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdGroupUserItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Key text.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_pubkey: String,
    /// Add or remove.
    #[prost(enumeration = "ActionType", tag = "3")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub action: i32,
    /// Free text.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memo: String,
}

/// An approved user.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UserItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Key text.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_pubkey: String,
    /// age recipient.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encrypt_pubkey: String,
    /// Id of the USER trx.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proof_trx_id: String,
    /// Trxs sent.
    #[prost(int64, tag = "5")]
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub tx_cnt: i64,
    /// Free text.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memo: String,
}

/// The owner configures permissions.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChainConfigItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// What is configured.
    #[prost(enumeration = "ChainConfigType", tag = "2")]
    #[serde(rename = "Type", skip_serializing_if = "is_zero_i32")]
    pub r#type: i32,
    /// Encoded [`SetTrxAuthModeItem`] or [`ChainSendTrxRuleListItem`].
    #[prost(bytes = "vec", tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "json_fields::base64_bytes")]
    pub data: Vec<u8>,
    /// Key text of the owner.
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_pubkey: String,
    /// Hexadecimal signature.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_signature: String,
    /// Nanoseconds since the Unix epoch.
    #[prost(int64, tag = "6")]
    #[serde(skip_serializing_if = "is_zero_i64", with = "crate::json::decimal_i64")]
    pub time_stamp: i64,
    /// Free text.
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memo: String,
}

/// A key is put on or taken off a permission list.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChainSendTrxRuleListItem {
    /// Add or remove.
    #[prost(enumeration = "ActionType", tag = "1")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub action: i32,
    /// Key text.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pubkey: String,
    /// For these trx types.
    #[prost(enumeration = "TrxType", repeated, tag = "4")]
    #[serde(rename = "Type", skip_serializing_if = "Vec::is_empty")]
    pub r#type: Vec<i32>,
}

/// Default permission of a trx type.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SetTrxAuthModeItem {
    /// The trx type.
    #[prost(enumeration = "TrxType", tag = "1")]
    #[serde(rename = "Type", skip_serializing_if = "is_zero_i32")]
    pub r#type: i32,
    /// The mode.
    #[prost(enumeration = "TrxAuthMode", tag = "2")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub mode: i32,
}

/// A setting of the application.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AppConfigItem {
    /// The group.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_id: String,
    /// Add or remove.
    #[prost(enumeration = "ActionType", tag = "2")]
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub action: i32,
    /// Key.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Type of the value.
    #[prost(enumeration = "AppConfigType", tag = "4")]
    #[serde(rename = "Type", skip_serializing_if = "is_zero_i32")]
    pub r#type: i32,
    /// Value as text.
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Key text of the owner.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_pubkey: String,
    /// Hexadecimal signature.
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner_sign: String,
    /// Free text.
    #[prost(string, tag = "8")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memo: String,
    /// Nanoseconds since the Unix epoch.
    #[prost(int64, tag = "9")]
    #[serde(skip_serializing_if = "is_zero_i64", with = "crate::json::decimal_i64")]
    pub time_stamp: i64,
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
