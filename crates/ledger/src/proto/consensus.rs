//! Messages of a consensus change. [`crate::change`] makes and checks them.

use serde::{Deserialize, Serialize};

use super::ChangeConsensusResult;
use super::json_fields::{self, is_zero_i32, is_zero_u64};

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
