//! Every path of a service, once; each is there under a group and at the root.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, head, post, put};

use super::{app, files, kv, members, state, stream, tx};
use crate::api::Context;
use crate::api::access::Access;
use crate::api::routes::{Endpoint, Field, Method, may, must};

/// Where the paths of a service begin.
const ROOTS: [&str; 2] = ["", "/api/v1/group/{gid}"];

/// A path of a service.
struct Path {
    method: Method,
    path: &'static str,
    summary: &'static str,
    fields: &'static [Field],
    answer: &'static str,
    handler: MethodRouter<Context>,
}

fn path<H, T>(
    method: Method,
    path: &'static str,
    handler: H,
    summary: &'static str,
    fields: &'static [Field],
    answer: &'static str,
) -> Path
where
    H: Handler<T, Context>,
    T: 'static,
{
    let handler = match method {
        Method::Get => get(handler),
        Method::Post => post(handler),
        Method::Put => put(handler),
        Method::Delete => delete(handler),
        Method::Head => head(handler),
    };
    Path { method, path, summary, fields, answer, handler }
}

async fn key(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    kv::serve(&context, peer, request).await
}

const TX: &[Field] =
    &[must("transaction_id", "string"), may("wait", "string"), may("timeout_ms", "integer")];
const WRITE: &[Field] = &[
    may("wait", "string"),
    may("timeout_ms", "integer"),
    may("expected", "string"),
    may("absent", "boolean"),
];
const MEMBERS: &[Field] = &[may("add", "array"), may("remove", "array")];
const READ: &[Field] = &[may("consistency", "string")];
const RANGE: &[Field] = &[
    may("from", "string"),
    may("to", "string"),
    may("limit", "integer"),
    may("encoding", "string"),
    may("consistency", "string"),
];
const BATCH: &[Field] = &[must("ops", "array"), may("encoding", "string")];
const NODES: &[Field] = &[may("host", "string"), may("port", "string"), may("status", "string")];
const SINCE: &[Field] = &[may("since", "integer")];
const HISTORY: &[Field] = &[may("view_history", "boolean"), may("view_history_since", "integer")];

fn of_applications() -> Vec<Path> {
    use Method::{Delete, Get, Post, Put};
    vec![
        path(
            Put,
            "/app/kv/{map}/{key}",
            key,
            "Writes a key; the body is the value",
            WRITE,
            "transaction_id, status",
        ),
        path(Delete, "/app/kv/{map}/{key}", key, "Removes a key", WRITE, "transaction_id, status"),
        path(Get, "/app/kv/{map}/{key}", key, "Reads a key", READ, "the value, raw"),
        path(
            Get,
            "/app/kv/{map}",
            app::range,
            "Reads keys in order",
            RANGE,
            "entries [{key, value}], next",
        ),
        path(
            Post,
            "/app/batch",
            app::batch,
            "Several operations, all or nothing",
            BATCH,
            "transaction_id, status, results",
        ),
        path(
            Get,
            "/app/stream",
            stream::open,
            "Websocket: many requests under way at once, one per line of a message",
            &[],
            "for each line: id, transaction_id, status, results; or id, error",
        ),
        path(Get, "/app/api", state::api, "This document", &[], "OpenAPI"),
    ]
}

/// What is known of transactions: the same for applications and for nodes. The paths of the last
/// commit, of a status, and of a receipt in both forms.
fn of_transactions([commit, status, receipt, cose]: [&'static str; 4]) -> Vec<Path> {
    let last = "The last committed transaction";
    let in_cose = "Receipt of a transaction in COSE";
    vec![
        path(Method::Get, commit, tx::commit, last, HISTORY, "transaction_id, view_history?"),
        path(
            Method::Get,
            status,
            tx::status,
            "Status of a transaction",
            TX,
            "transaction_id, status",
        ),
        path(Method::Get, receipt, tx::receipt, "Receipt of a transaction", TX, "the receipt"),
        path(Method::Get, cose, tx::cose_receipt, in_cose, TX, "COSE_Sign1"),
    ]
}

fn of_nodes() -> Vec<Path> {
    use Method::{Delete, Get, Head};
    vec![
        path(
            Get,
            "/node/consensus",
            state::consensus,
            "Consensus, as this node sees it",
            &[],
            "details {configs, acks, membership_state, leadership_state?, retirement_phase?, primary_id, current_view, ticking, reconfiguration_type, learners}",
        ),
        path(
            Get,
            "/node/network",
            state::network,
            "The service",
            &[],
            "service_status, service_certificate, current_view, primary_id, recovery_count, service_data, current_service_create_txid",
        ),
        path(
            Get,
            "/node/network/nodes",
            state::nodes,
            "Its nodes",
            NODES,
            "nodes [{node_id, status, primary, rpc_interfaces, node_data, last_written}]",
        ),
        path(Get, "/node/network/nodes/self", state::own_node, "This node", &[], "a node"),
        path(Get, "/node/network/nodes/primary", state::primary_node, "The leader", &[], "a node"),
        path(Get, "/node/network/nodes/{node}", state::one_node, "One node", &[], "a node"),
        path(
            Delete,
            "/node/network/nodes/{node}",
            state::forget,
            "Forgets a node whose retirement is complete",
            &[],
            "true",
        ),
        path(
            Get,
            "/node/network/removable_nodes",
            state::removable,
            "Nodes that may be switched off",
            &[],
            "nodes, blocked [{node_id, phase, reason}]",
        ),
        path(
            Get,
            "/node/state",
            state::state,
            "State of this node",
            &[],
            "node_id, state, last_signed_seqno, startup_seqno, stop_notice",
        ),
        path(Get, "/node/primary", state::primary, "200 if this node leads", &[], "nothing"),
        path(
            Head,
            "/node/primary",
            state::head_primary,
            "200 if this node leads, else 308 to the leader",
            &[],
            "nothing",
        ),
        path(
            Get,
            "/node/ready/app",
            state::ready,
            "204 if applications are served",
            &[],
            "nothing",
        ),
        path(Get, "/node/ready/gov", state::ready, "204 if operators are served", &[], "nothing"),
        path(Get, "/node/version", state::version, "The program", &[], "ccf_version, version"),
        path(
            Get,
            "/node/metrics",
            state::metrics,
            "Figures of this node in the group",
            &[],
            "role, view, last_transaction_id, committed_transaction_id, uncommitted, stalled",
        ),
        path(Get, "/node/api", state::api, "This document", &[], "OpenAPI"),
        path(
            Get,
            "/node/ledger_chunk",
            files::find_chunk,
            "308 to the ledger file with an entry",
            SINCE,
            "nothing",
        ),
        path(
            Get,
            "/node/ledger_chunk/{name}",
            files::chunk_file,
            "A committed ledger file",
            &[],
            "the file",
        ),
        path(
            Get,
            "/node/snapshot",
            files::find_snapshot,
            "308 to the latest snapshot",
            SINCE,
            "nothing",
        ),
        path(
            Get,
            "/node/snapshot/{name}",
            files::snapshot_file,
            "A committed snapshot",
            &[],
            "the file",
        ),
    ]
}

fn of_operators() -> Vec<Path> {
    use Method::{Delete, Get, Post};
    vec![
        path(
            Get,
            "/node/members",
            members::list,
            "The members, for operators",
            &[],
            "nodes [{node_id, status, leader, match, behind, address, peer_id, phase?}], quorum, tolerates, change",
        ),
        path(Post, "/node/members", members::start, "Changes the members", MEMBERS, "change"),
        path(
            Post,
            "/node/members/plan",
            members::plan,
            "What a change would mean",
            MEMBERS,
            "quorum_before, quorum_after, tolerates_before, tolerates_after, nodes_after, warnings, possible, reason?",
        ),
        path(
            Get,
            "/node/members/change",
            members::change,
            "The change under way, or the last one",
            &[],
            "change",
        ),
        path(Delete, "/node/members/change", members::abort, "Gives the change up", &[], "change"),
        path(
            Post,
            "/node/members/nominate",
            members::nominate,
            "The leader hands over",
            &[],
            "nominated",
        ),
    ]
}

/// All paths of services.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = Vec::new();
    let of_applications = of_applications().into_iter().chain(of_transactions([
        "/app/commit",
        "/app/tx",
        "/app/receipt",
        "/app/receipt/cose",
    ]));
    let of_nodes = of_nodes().into_iter().chain(of_transactions([
        "/node/commit",
        "/node/tx",
        "/node/receipt",
        "/node/receipt/cose",
    ]));
    for path in of_applications.chain(of_nodes).chain(of_operators()) {
        let reads = matches!(path.method, Method::Get | Method::Head);
        for root in ROOTS {
            all.push(Endpoint {
                path: format!("{root}{}", path.path).into(),
                method: path.method,
                access: if reads { Access::Group } else { Access::Chain },
                summary: path.summary,
                fields: path.fields,
                answer: path.answer,
                handler: path.handler.clone(),
            });
        }
    }
    all
}
