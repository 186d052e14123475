//! Ledger files and snapshots, as they are on the disk: only those that never change any more. `[7.5]`

use std::io::ErrorKind;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::hash::sha256;
use quorate_storage::signed::SnapshotName;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::{Refusal, Served, Target};
use crate::api::input::Params;
use crate::service::Service;
use crate::service::files::{LEDGER, SNAPSHOTS, committed_chunk};

/// Asks for a digest of what is sent.
const WANT_DIGEST: &str = "want-repr-digest";
/// The digest.
const DIGEST: header::HeaderName = header::HeaderName::from_static("repr-digest");
/// A file with more bytes is not digested on request.
const MAX_DIGESTED: u64 = 256 * 1024 * 1024;

/// Names of the files in directories. One that is not there (yet) has none.
async fn names(directories: Vec<PathBuf>) -> Result<Vec<String>, Refusal> {
    let list = move || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for path in directories {
            match std::fs::read_dir(path) {
                Ok(entries) => {
                    names.extend(entries.filter_map(|e| e.ok()?.file_name().into_string().ok()));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    };
    let unreadable = |why: String| {
        let hint = "see the node's log and disk";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", why, hint)
    };
    let list = tokio::task::spawn_blocking(list).await;
    list.map_err(|error| unreadable(error.to_string()))?
        .map_err(|error| unreadable(error.to_string()))
}

/// Where committed ledger files are: the member's own folder first.
fn chunk_directories(service: &Service) -> Vec<PathBuf> {
    [service.dir().join(LEDGER)].into_iter().chain(service.read_only().iter().cloned()).collect()
}

fn since(params: &Params, default: u64) -> Result<u64, Refusal> {
    match params.get("since") {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::parameter("since must be the sequence number of an entry")),
    }
}

fn moved(location: String) -> Served {
    let location = HeaderValue::try_from(location)
        .map_err(|_| Refusal::not_found("the file is at a place that cannot be named"))?;
    Ok((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response())
}

/// The leader has what this node does not; `None` if this node leads or knows no leader.
fn at_leader(target: &Target, path: &str) -> Option<String> {
    let live = target.service.live();
    let address = if live.leads() { None } else { live.leader_address() }?;
    Some(format!("http://{address}{}{path}", target.root))
}

/// `GET /node/ledger_chunk?since=N`: the file with entry N.
pub async fn find_chunk(target: Target, params: Params) -> Served {
    let since = since(&params, 1)?.max(1);
    let names = names(chunk_directories(&target.service)).await?;
    let mut ranges: Vec<(u64, u64, &String)> =
        names.iter().filter_map(|name| committed_chunk(name).map(|(a, b)| (a, b, name))).collect();
    ranges.sort_unstable();
    if let Some((.., name)) =
        ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&since))
    {
        return moved(format!("{}/node/ledger_chunk/{name}", target.root));
    }
    // A node that began with a snapshot lacks what was before.
    let before = ranges.first().is_none_or(|(first, ..)| since < *first);
    let path = format!("/node/ledger_chunk?since={since}");
    match at_leader(&target, &path).filter(|_| before) {
        Some(elsewhere) => moved(elsewhere),
        None => Err(Refusal::not_found(format!("no committed ledger file has entry {since} yet"))
            .hint("a file is complete at the first signature after service.ledger.chunk_size")),
    }
}

/// `GET /node/ledger_chunk/{name}`
pub async fn chunk_file(target: Target, request: Request) -> Served {
    let name = target.parameter("name").to_owned();
    let Some((first, _)) = committed_chunk(&name) else {
        return Err(Refusal::not_found("that is not the name of a committed ledger file"));
    };
    let mut paths = chunk_directories(&target.service).into_iter().map(|dir| dir.join(&name));
    let Some(path) = paths.find(|path| path.is_file()) else {
        let elsewhere = at_leader(&target, &format!("/node/ledger_chunk/{name}"));
        let own = target.service.live().committed().seqno;
        return match elsewhere.filter(|_| first <= own) {
            Some(elsewhere) => moved(elsewhere),
            None => Err(Refusal::not_found(format!("there is no ledger file {name}"))),
        };
    };
    serve(path, &name, request).await
}

/// `GET /node/snapshot?since=N`: the latest snapshot, if it is of a later entry than N.
pub async fn find_snapshot(target: Target, params: Params) -> Served {
    let since = since(&params, 0)?;
    let names = names(vec![target.service.dir().join(SNAPSHOTS)]).await?;
    let committed =
        names.iter().filter_map(|name| SnapshotName::parse(name)).filter(|n| n.committed);
    match committed.max().filter(|name| name.seqno > since) {
        Some(name) => moved(format!("{}/node/snapshot/{}", target.root, name.text())),
        None => match at_leader(&target, &format!("/node/snapshot?since={since}")) {
            Some(elsewhere) => moved(elsewhere),
            None => Err(Refusal::not_found(format!("there is no snapshot after entry {since}"))
                .hint("service.snapshots.tx_count says how often one is taken")),
        },
    }
}

/// `GET /node/snapshot/{name}`
pub async fn snapshot_file(target: Target, request: Request) -> Served {
    let name = target.parameter("name").to_owned();
    let path = target.service.dir().join(SNAPSHOTS).join(&name);
    if !SnapshotName::parse(&name).is_some_and(|name| name.committed) || !path.is_file() {
        return Err(Refusal::not_found(format!("there is no committed snapshot {name}"))
            .hint("GET /node/snapshot leads to the latest one"));
    }
    serve(path, &name, request).await
}

fn wants_digest(headers: &HeaderMap) -> bool {
    let wanted = headers.get(WANT_DIGEST).and_then(|value| value.to_str().ok());
    wanted.is_some_and(|text| {
        text.split(',').any(|item| {
            let (name, weight) = item.split_once('=').unwrap_or((item, "1"));
            name.trim().eq_ignore_ascii_case("sha-256") && weight.trim() != "0"
        })
    })
}

/// Sends a file, or the range that is asked for. Its name and length are its tag: committed files
/// of the same name are the same on all nodes, byte by byte.
async fn serve(path: PathBuf, name: &str, request: Request) -> Served {
    let gone = |_| Refusal::not_found(format!("there is no file {name} any more"));
    let length = tokio::fs::metadata(&path).await.map_err(gone)?.len();
    let tag = HeaderValue::try_from(format!("\"{name}:{length}\""))
        .map_err(|_| Refusal::not_found("that is no name of a file"))?;
    let known = request.headers().get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| *known == tag || *known == "*") {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let digest = if wants_digest(request.headers()) && length <= MAX_DIGESTED {
        let bytes = tokio::fs::read(&path).await.map_err(gone)?;
        let digest = tokio::task::spawn_blocking(move || sha256(&bytes)).await;
        digest.ok().map(|digest| format!("sha-256=:{}:", STANDARD.encode(digest.0)))
    } else {
        None
    };
    let served =
        ServeFile::new(path).oneshot(request).await.expect("it answers with what is wrong");
    let mut response: Response = served.map(Body::new);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(digest) = digest.and_then(|digest| HeaderValue::try_from(digest).ok()) {
        headers.insert(DIGEST, digest);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::wants_digest;

    #[test]
    fn digests_are_made_for_who_wants_them() {
        for (value, wanted) in [
            ("sha-256=10", true),
            ("sha-512=3, SHA-256=1", true),
            ("sha-256=0", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("want-repr-digest", value.parse().expect("a header"));
            assert_eq!(wants_digest(&headers), wanted, "{value}");
        }
        assert!(!wants_digest(&HeaderMap::new()));
    }
}
