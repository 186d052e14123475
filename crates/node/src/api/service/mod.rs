//! The API of `cft` groups: that of the reference for signed Raft, and ours beside it. `[8]`
//!
//! Every path is there twice: under a group (`/api/v1/group/{gid}/node/...`) and, for the main
//! service of the node, at the root (`/node/...`). Errors are `{"error": {"code", "message", "hint",
//! "details"?}}`. These paths are on a router of their own: nothing stands between a request and
//! its handler but the check of who calls.
//!
//! | module | what it serves |
//! |---|---|
//! | [`kv`] | one key: the fast path |
//! | [`app`] | ranges and batches |
//! | [`stream`] | many requests on one connection |
//! | [`ops`] | operations in JSON, for both |
//! | [`tx`] | transactions: commit, status, receipts |
//! | [`state`] | consensus, network, nodes, state, readiness |
//! | [`members`] | what operators change |
//! | [`files`] | ledger files and snapshots |

mod app;
mod files;
mod kv;
mod members;
mod ops;
mod refusal;
pub mod routes;
mod state;
mod stream;
mod target;
mod tx;

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use quorate_replica::cft::api::{Code, Error, TxId, TxStatus};
use serde_json::Value;

pub use kv::{is_key, serve as serve_key};
use refusal::Refusal;
use target::Target;

/// The transaction that an answer comes from.
const TRANSACTION: HeaderName = HeaderName::from_static("x-ms-ccf-transaction-id");
/// The answer is that of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("x-quorate-replayed");
/// The last transaction that the caller saw.
const SESSION: &str = "x-quorate-session";
/// Names a request that must not be done twice.
const IDEMPOTENCY: &str = "idempotency-key";
/// Longest such name.
const MAX_IDEMPOTENCY: usize = 64;
/// How long a caller waits for a commit unless it says so.
const COMMIT_WAIT_MS: u64 = 10_000;
/// How long a caller may wait for a commit.
const MAX_WAIT_MS: u64 = 600_000;

/// What the handlers return.
type Served = Result<Response, Refusal>;

/// The name of a status in the API.
const fn status_name(status: TxStatus) -> &'static str {
    match status {
        TxStatus::Unknown => "Unknown",
        TxStatus::Pending => "Pending",
        TxStatus::Committed => "Committed",
        TxStatus::Invalid => "Invalid",
    }
}

/// A transaction id as a header's value.
fn tx_header(tx: TxId) -> HeaderValue {
    let mut text = String::with_capacity(24);
    write!(text, "{tx}").expect("a text takes everything");
    HeaderValue::try_from(text).expect("digits and a dot are visible")
}

/// The idempotency key of a request, if it has one.
fn idempotency(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    headers.get(IDEMPOTENCY).map(|value| good_idempotency_key(value.as_bytes())).transpose()
}

fn good_idempotency_key(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let good =
        (1..=MAX_IDEMPOTENCY).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if good {
        return Ok(bytes.to_vec());
    }
    let message = format!("Idempotency-Key must be 1 to {MAX_IDEMPOTENCY} visible characters");
    Err(Error::new(Code::InvalidHeaderValue, message).into())
}

/// The last transaction that the caller's session saw, if it says so.
fn session(headers: &HeaderMap) -> Result<Option<TxId>, Refusal> {
    let Some(value) = headers.get(SESSION) else { return Ok(None) };
    let tx = value.to_str().ok().and_then(|text| text.parse().ok());
    tx.map(Some).ok_or_else(|| {
        let message = format!("{SESSION} must be a transaction id (`view.seqno`)");
        Error::new(Code::InvalidHeaderValue, message).into()
    })
}

/// Whether a path looks like one of services, at the root or under a group.
pub fn is_path(path: &str) -> bool {
    let under_group = path.strip_prefix("/api/v1/group/").and_then(|rest| rest.split_once('/'));
    let rest = under_group.map_or_else(|| path.strip_prefix('/'), |(_, rest)| Some(rest));
    let (first, rest) = rest.and_then(|rest| rest.split_once('/')).unwrap_or_default();
    first == "node" || (first == "app" && !rest.starts_with("api/v"))
}

/// The answer to a path that there is not.
pub fn no_path(path: &str) -> Response {
    let hint = "GET /openapi.json lists all paths; map and key are percent-encoded, a `/` in them is \
                written %2F";
    Refusal::not_found(format!("there is no path {path}")).hint(hint).into_response()
}

/// The answer to a method that a path does not have.
pub async fn no_method() -> Response {
    Refusal::method("the path has other methods", "GET /openapi.json lists them").into_response()
}

/// An answer in JSON.
fn json(value: &Value) -> Response {
    axum::Json(value).into_response()
}

#[cfg(test)]
mod tests;
