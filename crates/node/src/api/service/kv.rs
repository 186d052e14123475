//! One key of a map: `PUT`, `GET` and `DELETE /app/kv/{map}/{key}`.
//!
//! This is the path that clients take tens of thousands of times a second: nothing is parsed that
//! need not be, the body is copied once (into the value that the ledger keeps), and the answer is
//! written by hand.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use quorate_ledger::ccf::maps::is_reserved;
use quorate_ledger::state;
use quorate_replica::cft::api::{
    Answer, Code, Command, Consistency, Error, Op, OpResult, Query, Reply, TxId, TxStatus, Wait,
};

use super::target::{admit, find};
use super::{
    COMMIT_WAIT_MS, MAX_WAIT_MS, REPLAYED, Refusal, Served, TRANSACTION, idempotency, session,
    status_name, tx_header,
};
use crate::api::{Context, MAX_BODY};
use crate::service::{Service, unexpected};

const AT_ROOT: &str = "/app/kv/";
const OF_GROUP: &str = "/api/v1/group/";

/// What a path names: the group (`None`: the main service), map and key as they stand in the path.
fn place(path: &str) -> Option<(Option<&str>, &str, &str)> {
    let (gid, rest) = match path.strip_prefix(AT_ROOT) {
        Some(rest) => (None, rest),
        None => {
            let (gid, rest) = path.strip_prefix(OF_GROUP)?.split_once('/')?;
            (Some(gid), rest.strip_prefix(&AT_ROOT[1..])?)
        }
    };
    let (map, key) = rest.split_once('/')?;
    (!map.is_empty() && !key.is_empty() && !key.contains('/')).then_some((gid, map, key))
}

/// Whether a path names a key.
pub fn is_key(path: &str) -> bool {
    place(path).is_some()
}

/// Answers a request for a key.
pub async fn serve(context: &Context, peer: SocketAddr, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match answer(context, peer, &parts, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(context: &Context, peer: SocketAddr, parts: &Parts, body: Body) -> Served {
    let (gid, map, key) =
        place(parts.uri.path()).ok_or_else(|| Refusal::not_found("the path names no key"))?;
    let service = match gid {
        None => find(context, None)?,
        Some(gid) => find(context, Some(gid))?,
    };
    admit(context, peer, &service, parts)?;
    let map = map_name(map)?;
    let key: Vec<u8> = percent_decode_str(key).collect();
    let query = parts.uri.query().unwrap_or_default();
    match parts.method {
        Method::GET | Method::HEAD => read(&service, &parts.headers, query, &map, key).await,
        Method::PUT | Method::DELETE => {
            if let Some(elsewhere) = redirection(context, &service, parts) {
                return Ok(elsewhere);
            }
            if is_reserved(&map) {
                return Err(Refusal::reserved(&map));
            }
            let value = match parts.method {
                Method::PUT => Some(value(body).await?),
                _ => None,
            };
            write(&service, &parts.headers, query, Arc::from(&*map), key, value).await
        }
        _ => Err(Refusal::method(
            "a key takes PUT, GET and DELETE",
            "POST /app/batch does several things at once",
        )),
    }
}

/// The name of a map in a path.
pub fn map_name(text: &str) -> Result<Cow<'_, str>, Refusal> {
    percent_decode_str(text).decode_utf8().map_err(|_| Refusal::input("a map's name is UTF-8"))
}

async fn value(body: Body) -> Result<state::Value, Refusal> {
    let bytes = body_of(body).await?;
    Ok(state::Value::from(&*bytes))
}

/// A request's body.
///
/// # Errors
/// If it is too large, or does not come.
pub async fn body_of(body: Body) -> Result<Bytes, Refusal> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        // The limit is the innermost cause; everything else is a broken connection.
        if cause.to_string().contains("length limit exceeded") {
            Refusal::too_large(MAX_BODY)
        } else {
            Refusal::input(format!("the body could not be read: {error}"))
        }
    })
}

/// Where a write has to go instead, if this node is told to send its clients to the leader.
pub fn redirection(context: &Context, service: &Service, parts: &Parts) -> Option<Response> {
    if !context.node.inner().config.service.redirect {
        return None;
    }
    let live = service.live();
    let address = if live.leads() { None } else { live.leader_address() }?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let location = HeaderValue::try_from(format!("http://{address}{path}")).ok()?;
    Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response())
}

/// What the query of a write says.
struct Options {
    wait: Wait,
    condition: Option<Option<state::Value>>,
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// When a write is answered.
pub fn wait_of(query: &str) -> Result<Wait, Refusal> {
    let mut committed = false;
    let mut timeout_ms = COMMIT_WAIT_MS;
    for (name, value) in pairs(query) {
        match (name, value) {
            ("wait", "committed") => committed = true,
            ("wait", "response" | "") => committed = false,
            ("wait", _) => {
                return Err(Refusal::parameter("wait must be `committed` or `response`"));
            }
            ("timeout_ms", text) => {
                let number = text.parse().ok().filter(|ms| *ms <= MAX_WAIT_MS);
                timeout_ms = number.ok_or_else(|| {
                    Refusal::parameter(format!("timeout_ms must be a number up to {MAX_WAIT_MS}"))
                })?;
            }
            _ => {}
        }
    }
    Ok(if committed { Wait::Committed { timeout_ms } } else { Wait::Response })
}

fn options(query: &str) -> Result<Options, Refusal> {
    let mut condition = None;
    for (name, text) in pairs(query) {
        match name {
            "absent" if text == "true" => condition = Some(None),
            "absent" if text == "false" => {}
            "absent" => return Err(Refusal::parameter("absent must be `true` or `false`")),
            "expected" => {
                let text = percent_decode_str(text).decode_utf8_lossy();
                let engine = if text.ends_with('=') { &URL_SAFE } else { &URL_SAFE_NO_PAD };
                let value = engine.decode(&*text);
                let value = value.map_err(|_| Refusal::parameter("expected is not base64url"))?;
                condition = Some(Some(value.into()));
            }
            _ => {}
        }
    }
    Ok(Options { wait: wait_of(query)?, condition })
}

async fn write(
    service: &Service,
    headers: &HeaderMap,
    query: &str,
    map: Arc<str>,
    key: Vec<u8>,
    value: Option<state::Value>,
) -> Served {
    let options = options(query)?;
    let conditional = options.condition.is_some();
    let again = conditional.then(|| (map.to_string(), key.clone()));
    let op = match (options.condition, value) {
        (Some(expected), value) => Op::CompareAndSet { map, key, expected, value },
        (None, Some(value)) => Op::Put { map, key, value },
        (None, None) => Op::Delete { map, key },
    };
    let command = Command::Write {
        ops: vec![op],
        idempotency: idempotency(headers)?,
        wait: options.wait,
        session: session(headers)?,
    };
    match service.command(command).await {
        Ok(Reply::Written { tx, status, repeated, .. }) => {
            written(tx, status, repeated, options.wait)
        }
        Ok(other) => Err(unexpected(&other).into()),
        Err(error) if error.code == Code::PreconditionFailed => {
            let found = match again {
                Some((map, key)) => found_instead(service, map, key).await,
                None => serde_json::Value::Null,
            };
            Err(Refusal::from(error).details(serde_json::json!({ "current": found })))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is there now instead of what a conditional write expected, in base64.
async fn found_instead(service: &Service, map: String, key: Vec<u8>) -> serde_json::Value {
    let query = Query::Get { map, key, consistency: Consistency::Local };
    match service.query(query).await {
        Ok(Answer::Value(Some(value), _)) => STANDARD.encode(value).into(),
        _ => serde_json::Value::Null,
    }
}

/// The status of an answer to a write.
///
/// # Errors
/// If it was lost.
pub fn outcome(tx: TxId, status: TxStatus, wait: Wait) -> Result<StatusCode, Refusal> {
    match (status, wait) {
        (TxStatus::Invalid, _) => {
            let message = format!("the transaction {tx} was lost in an election");
            let refusal = Refusal::from(Error::new(Code::TransactionInvalid, message));
            Err(refusal.status(StatusCode::INTERNAL_SERVER_ERROR).seen(tx))
        }
        (TxStatus::Committed, _) | (_, Wait::Response) => Ok(StatusCode::OK),
        (TxStatus::Pending | TxStatus::Unknown, Wait::Committed { .. }) => Ok(StatusCode::ACCEPTED),
    }
}

fn written(tx: TxId, status: TxStatus, repeated: bool, wait: Wait) -> Served {
    let code = outcome(tx, status, wait)?;
    let mut body = String::with_capacity(72);
    let name = status_name(status);
    write!(body, r#"{{"transaction_id":"{tx}","status":"{name}"}}"#).expect("a text takes all");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(TRANSACTION, tx_header(tx));
    if repeated {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What a read may miss.
pub fn consistency(query: &str) -> Result<Consistency, Refusal> {
    match pairs(query).filter(|(name, _)| *name == "consistency").last() {
        None | Some((_, "linearizable")) => Ok(Consistency::Linearizable),
        Some((_, "committed")) => Ok(Consistency::Committed),
        Some((_, "local")) => Ok(Consistency::Local),
        Some(_) => {
            Err(Refusal::parameter("consistency must be `linearizable`, `committed` or `local`"))
        }
    }
}

async fn read(
    service: &Service,
    headers: &HeaderMap,
    query: &str,
    map: &str,
    key: Vec<u8>,
) -> Served {
    let command = Command::Read {
        ops: vec![Op::Get { map: Arc::from(map), key }],
        consistency: consistency(query)?,
        session: session(headers)?,
    };
    match service.command(command).await? {
        Reply::Read { tx, results } => match results.into_iter().next() {
            Some(OpResult::Value(Some(value))) => {
                let mut response = Response::new(Body::from(Bytes::from_owner(value)));
                let headers = response.headers_mut();
                let kind = HeaderValue::from_static("application/octet-stream");
                headers.insert(header::CONTENT_TYPE, kind);
                headers.insert(TRANSACTION, tx_header(tx));
                Ok(response)
            }
            Some(OpResult::Value(None)) => {
                let refusal = Refusal::not_found("the map has no such key").seen(tx);
                Err(refusal.hint("GET /app/kv/{map} lists the keys of a map"))
            }
            other => Err(unexpected(&other).into()),
        },
        other => Err(unexpected(&other).into()),
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::cft::api::Wait;

    use super::{options, place};

    #[test]
    fn paths_of_keys_are_told_from_others() {
        for (path, expected) in [
            ("/app/kv/m/k", Some((None, "m", "k"))),
            ("/app/kv/public:a%2Fb/%00", Some((None, "public:a%2Fb", "%00"))),
            ("/api/v1/group/G/app/kv/m/k", Some((Some("G"), "m", "k"))),
            ("/app/kv/m", None),
            ("/app/kv/m/", None),
            ("/app/kv//k", None),
            ("/app/kv/m/k/l", None),
            ("/api/v1/group/G/content", None),
            ("/api/v1/group/", None),
            ("/app/api/v1/group/G/content", None),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }

    #[test]
    fn options_of_a_write() {
        let read = options("wait=committed&timeout_ms=5&expected=YQ").expect("good");
        assert_eq!(read.wait, Wait::Committed { timeout_ms: 5 });
        assert_eq!(read.condition, Some(Some(std::sync::Arc::from(b"a".as_slice()))));
        assert_eq!(options("absent=true").expect("good").condition, Some(None));
        assert_eq!(options("expected=YQ%3D%3D").expect("good").condition, read.condition);
        let plain = options("").expect("good");
        assert_eq!((plain.wait, plain.condition), (Wait::Response, None));
        for bad in ["wait=soon", "timeout_ms=x", "timeout_ms=600001", "expected=%", "absent=maybe"]
        {
            assert!(options(bad).is_err(), "{bad}");
        }
    }
}
