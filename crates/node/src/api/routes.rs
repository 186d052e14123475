//! Every path, once: handler, who may call it, and what it says about itself.

use std::borrow::Cow;

use axum::routing::{MethodRouter, get, post};

use super::access::Access::{self, Chain, Everybody, Group, Local};
use super::{Context, announce, config, consensus, content, groups, ledger, light, network, watch};
use crate::node::NodeKind;

/// A method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// HEAD
    Head,
}

/// A field of a request, or a query parameter.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `array` or `object`.
    pub kind: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

/// One path with one method.
pub struct Endpoint {
    /// In axum's spelling; a trailing slash is accepted too.
    pub path: Cow<'static, str>,
    /// Its method.
    pub method: Method,
    /// Who may call it.
    pub access: Access,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Fields of the body (POST) or query parameters (all others).
    pub fields: &'static [Field],
    /// What it answers, in one line.
    pub answer: &'static str,
    /// What does it.
    pub handler: MethodRouter<Context>,
}

/// A field that must be there.
pub const fn must(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, required: true }
}

/// A field that may be left out.
pub const fn may(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, required: false }
}

macro_rules! endpoint {
    (GET $path:literal, $access:expr, $handler:path, $summary:literal, [$($field:expr),*],
     $answer:literal) => {
        Endpoint {
            path: Cow::Borrowed($path),
            method: Method::Get,
            access: $access,
            summary: $summary,
            fields: const { &[$($field),*] },
            answer: $answer,
            handler: get($handler),
        }
    };
    (POST $path:literal, $access:expr, $handler:path, $summary:literal, [$($field:expr),*],
     $answer:literal) => {
        Endpoint {
            path: Cow::Borrowed($path),
            method: Method::Post,
            access: $access,
            summary: $summary,
            fields: const { &[$($field),*] },
            answer: $answer,
            handler: post($handler),
        }
    };
}

/// The paths of a node of this kind.
pub fn endpoints(kind: NodeKind) -> Vec<Endpoint> {
    let mut all = of_the_node();
    if kind == NodeKind::Full {
        all.extend(of_groups());
        all.extend(of_ledgers());
        all.extend(of_consensus());
        all.extend(of_settings());
        all.extend(of_light_nodes());
    }
    all
}

fn of_the_node() -> Vec<Endpoint> {
    vec![
        endpoint!(GET "/api/v1/node", Chain, network::node, "The node", [],
            "node_id, node_publickey, node_status, node_type, node_version, peers {protocol: [id]}"),
        endpoint!(GET "/api/v1/network", Chain, network::network, "Its place in the network", [],
            "peer_id, eth_addr, nat_type, nat_enabled, addrs, groups [{GroupId, GroupName, Peers}], node"),
        endpoint!(POST "/api/v1/network/peers", Chain, network::add_peers,
            "Connects to the multiaddrs of a JSON array", [], "succ_count, err_count, error {address: why}"),
        endpoint!(GET "/metrics", Chain, network::metrics, "Metrics", [], "Prometheus text"),
        endpoint!(GET "/openapi.json", Everybody, network::openapi, "This document", [], "OpenAPI"),
        endpoint!(GET "/api/quit", Local, network::quit, "Ends the node", [], "message"),
        endpoint!(POST "/api/v1/tools/pubkeytoaddr", Chain, network::key_to_address,
            "Ethereum address of a public key", [must("encoded_pubkey", "string")], "addr"),
        endpoint!(POST "/api/v1/tools/seedurlextend", Chain, network::extend_seed,
            "What a seed URL says", [must("seed", "string")], "seed, urls"),
    ]
}

fn of_groups() -> Vec<Endpoint> {
    vec![
        endpoint!(POST "/api/v1/group", Chain, groups::create, "Makes a group",
            [must("group_name", "string"), must("consensus_type", "string"),
             must("encryption_type", "string"), must("app_key", "string"),
             may("include_chain_url", "boolean")], "seed, group_id"),
        endpoint!(POST "/api/v2/group/join", Chain, groups::join, "Joins a group by its seed URL",
            [must("seed", "string")],
            "group_id, group_name, owner_pubkey, user_pubkey, user_encryptpubkey, consensus_type, encryption_type, cipher_key, app_key, signature"),
        endpoint!(POST "/api/v1/group/leave", Chain, groups::leave, "Leaves a group; data stay",
            [must("group_id", "string")], "group_id"),
        endpoint!(POST "/api/v1/group/clear", Chain, groups::clear,
            "Removes the data of a group that was left", [must("group_id", "string")], "group_id"),
        endpoint!(GET "/api/v1/groups", Chain, groups::list, "The groups of this node", [],
            "groups, by name"),
        endpoint!(GET "/api/v1/group/{gid}", Chain, groups::one, "One group", [],
            "one element of groups"),
        endpoint!(GET "/api/v1/group/{gid}/seed", Chain, groups::seed, "Seed URL of a group",
            [may("include_chain_url", "boolean")], "seed"),
        endpoint!(POST "/api/v1/group/{gid}/startsync", Chain, groups::start_sync,
            "Deprecated: nodes synchronise by themselves", [], "always an error"),
        endpoint!(POST "/api/v1/group/{gid}/content", Chain, content::post, "Posts a JSON object",
            [must("data", "object")], "trx_id; the trx is durable here and will be ordered"),
        endpoint!(GET "/app/api/v1/group/{gid}/content", Chain, content::list,
            "Posts, decrypted",
            [may("num", "integer"), may("start_trx", "string"), may("reverse", "boolean"),
             may("include_start_trx", "boolean"), may("senders", "array")],
            "trxs; Data is base64 of the posted JSON"),
        endpoint!(GET "/api/v1/ws/trx", Chain, watch::trxs,
            "Websocket: every trx as it becomes final", [], "one trx per message"),
        endpoint!(POST "/api/v1/group/announce", Chain, announce::announce,
            "Announces this node's member",
            [must("group_id", "string"), must("action", "string"), must("type", "string"),
             may("memo", "string")],
            "group_id, sign_pubkey, encrypt_pubkey, type, action, sign, trx_id"),
        endpoint!(GET "/api/v1/group/{gid}/announced/producers", Chain, announce::producers,
            "Announced producers", [], "producers"),
        endpoint!(GET "/api/v1/group/{gid}/announced/users", Chain, announce::users,
            "Announced users", [], "users"),
        endpoint!(GET "/api/v1/group/{gid}/announced/producer/{pubkey}", Chain, announce::producer,
            "One announced producer", [], "producers"),
        endpoint!(GET "/api/v1/group/{gid}/announced/user/{pubkey}", Chain, announce::user,
            "One announced user", [], "users"),
    ]
}

fn of_ledgers() -> Vec<Endpoint> {
    vec![
        endpoint!(GET "/api/v1/trx/{gid}/{trx_id}", Group, ledger::trx, "One trx", [], "the trx"),
        endpoint!(GET "/api/v1/block/{gid}/{block_id}", Chain, ledger::block, "One block", [],
            "the block; Quorate {hash, header, certificate} proves it"),
        endpoint!(GET "/api/v1/group/{gid}/certified/{block_id}", Chain, ledger::certified,
            "One block in canonical bytes", [], "block, certificate (base64)"),
        endpoint!(GET "/api/v1/group/{gid}/views", Chain, ledger::views, "The view chain", [],
            "encoded (base64), count, current"),
        endpoint!(GET "/api/v1/group/{gid}/receipt/{trx_id}", Chain, ledger::receipt,
            "Proof that a trx is on the ledger", [], "encoded (base64), receipt"),
        endpoint!(GET "/api/v1/group/{gid}/genesis", Chain, ledger::genesis,
            "The genesis documents", [], "encoded (base64), genesis_block, announce, proof"),
        endpoint!(GET "/api/v1/group/{gid}/status", Chain, ledger::status,
            "Where the group stands on this node", [],
            "head, head_hash, epoch, view, producing, syncing, ready, pool, peers, stalled"),
    ]
}

fn of_consensus() -> Vec<Endpoint> {
    vec![
        endpoint!(POST "/api/v1/group/updconsensus", Chain, consensus::update,
            "The owner changes the consensus",
            [must("group_id", "string"), must("start_from_epoch", "integer"),
             must("trx_epoch_tick", "integer"), must("agreement_tick_length", "integer"),
             must("agreement_tick_count", "integer"), must("producer_pubkey", "array"),
             may("memo", "string")],
            "group_id, Producers, start_from_epoch, trx_epoch_tick, trx_id, failable_producers, memo"),
        endpoint!(GET "/api/v1/group/{gid}/consensus", Chain, consensus::info,
            "Who orders, and how", [],
            "producers, trx_epoch_interval, proof_req_id, curr_epoch, curr_block_id, last_update"),
        endpoint!(GET "/api/v1/group/{gid}/consensus/proof/last", Chain, consensus::last,
            "The latest proof", [], "result, req, repononsed_producer"),
        endpoint!(GET "/api/v1/group/{gid}/consensus/proof/history", Chain, consensus::history,
            "All proofs in nonce order", [], "proofs"),
        endpoint!(GET "/api/v1/group/{gid}/consensus/proof/{req_id}", Chain, consensus::by_request,
            "One proof", [], "result, req, resps, responsed_producer, repononsed_producer"),
    ]
}

fn of_settings() -> Vec<Endpoint> {
    vec![
        endpoint!(POST "/api/v1/group/chainconfig", Chain, config::chain,
            "The owner sets permissions",
            [must("group_id", "string"), must("type", "string"), must("config", "string"),
             may("memo", "string")], "group_id, owner_pubkey, signature, trx_id"),
        endpoint!(GET "/api/v1/group/{gid}/trx/auth/{trx_type}", Chain, config::auth_mode,
            "Default permission of a trx type", [], "TrxType, AuthType"),
        endpoint!(GET "/api/v1/group/{gid}/trx/allowlist", Chain, config::allow_list,
            "Who may", [], "entries, or null"),
        endpoint!(GET "/api/v1/group/{gid}/trx/denylist", Chain, config::deny_list,
            "Who may not", [], "entries, or null"),
        endpoint!(POST "/api/v1/group/appconfig", Chain, config::app,
            "The owner sets a setting of the application",
            [must("group_id", "string"), must("action", "string"), must("name", "string"),
             must("type", "string"), may("value", "string"), may("memo", "string")],
            "group_id, signature, trx_id"),
        endpoint!(GET "/api/v1/group/{gid}/appconfig/keylist", Chain, config::app_keys,
            "Names of settings", [], "[{Name, Type}]"),
        endpoint!(GET "/api/v1/group/{gid}/appconfig/{key}", Chain, config::app_value,
            "One setting", [], "Name, Type, Value, OwnerPubkey, OwnerSign, Memo, TimeStamp"),
    ]
}

fn of_light_nodes() -> Vec<Endpoint> {
    vec![
        endpoint!(POST "/api/v1/node/{gid}/trx", Group, light::send, "Sends a signed post",
            [must("trx_id", "string"), must("data", "string"), must("timestamp", "string"),
             must("version", "string"), must("sender_pubkey", "string"),
             must("sender_sign", "string")], "trx_id"),
        endpoint!(GET "/api/v1/node/{gid}/groupctn", Group, light::content, "Posts, encrypted",
            [may("num", "integer"), may("start_trx", "string"), may("reverse", "boolean"),
             may("include_start_trx", "boolean"), may("senders", "array")], "trxs"),
        endpoint!(GET "/api/v1/node/{gid}/info", Group, light::info, "The group", [],
            "GroupId, Owner, Epoch, LatestUpdate, Provider, Singature"),
        endpoint!(GET "/api/v1/node/{gid}/encryptpubkeys", Group, light::encrypt_keys,
            "Encryption keys of announced users", [], "keys"),
        endpoint!(GET "/api/v1/node/{gid}/auth/by/{trx_type}", Group, config::auth_mode,
            "Default permission of a trx type", [], "TrxType, AuthType"),
        endpoint!(GET "/api/v1/node/{gid}/auth/alwlist", Group, config::allow_list,
            "Who may", [], "entries, or null"),
        endpoint!(GET "/api/v1/node/{gid}/auth/denylist", Group, config::deny_list,
            "Who may not", [], "entries, or null"),
        endpoint!(GET "/api/v1/node/{gid}/appconfig/keylist", Group, config::app_keys,
            "Names of settings", [], "[{Name, Type}]"),
        endpoint!(GET "/api/v1/node/{gid}/appconfig/by/{key}", Group, config::app_value,
            "One setting", [], "as appconfig/{key}"),
        endpoint!(GET "/api/v1/node/{gid}/announced/producer", Group, announce::producers,
            "Announced producers", [], "producers"),
        endpoint!(GET "/api/v1/node/{gid}/announced/user", Group, announce::users,
            "Announced users", [], "users"),
    ]
}
