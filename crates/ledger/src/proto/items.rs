//! Messages of members, permissions and settings.

use serde::{Deserialize, Serialize};

use super::json_fields::{self, is_zero_i32, is_zero_i64};
use super::{ActionType, AnnounceType, AppConfigType, ChainConfigType, TrxAuthMode, TrxType};

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
