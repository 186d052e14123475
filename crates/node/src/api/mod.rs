//! The HTTP API: that of seed 001 and its reference, and a little of our own.
//!
//! * Paths match with and without a trailing slash. GET bodies are ignored.
//! * Keys of a request match without regard to case.
//! * Errors are `{"message", "code", "hint"}`; messages are the reference's where it has one.
//! * Who calls from this machine may do everything; others need a token (see [`access`]).
//! * Groups of kind `cft` have the API of [`service`].
//!
//! [`routes`] lists every path once, with its documentation, from which `/openapi.json` is made.

mod access;
mod announce;
mod config;
mod consensus;
mod content;
mod door;
mod error;
mod front;
mod groups;
mod input;
mod ledger;
mod light;
mod network;
mod openapi;
mod routes;
mod service;
pub(crate) mod token;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use quorate_ledger::ids::GroupId;
use serde_json::Value;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::group::Group;
use crate::node::{Hosted, Node, NodeKind};
use crate::telemetry;
use door::Door;
pub use error::ApiError;
use front::Front;

/// Largest request body. A larger one is answered 413.
const MAX_BODY: usize = 1024 * 1024;
/// A request that is not answered by then is answered 503.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often metrics that pile up are summed.
const METRICS_UPKEEP: Duration = Duration::from_secs(30);

/// What every handler gets.
#[derive(Clone)]
struct Context {
    node: Node,
    openapi: Arc<Value>,
}

/// What every handler returns.
type Answer = Result<Json<Value>, ApiError>;

impl Context {
    /// A group of any kind by the text of its id.
    fn hosted(&self, id: &str) -> Result<Hosted, ApiError> {
        let id: GroupId = id.parse().map_err(|_| ApiError::no_group())?;
        self.node.group(id).ok_or_else(ApiError::no_group)
    }

    /// A group that producers order, by the text of its id.
    fn group(&self, id: &str) -> Result<Arc<Group>, ApiError> {
        producers_order(self.hosted(id)?)
    }

    /// A group that producers order, by its id.
    fn group_of(&self, id: GroupId) -> Result<Arc<Group>, ApiError> {
        producers_order(self.node.group(id).ok_or_else(ApiError::no_group)?)
    }
}

fn producers_order(group: Hosted) -> Result<Arc<Group>, ApiError> {
    match group {
        Hosted::Group(group) => Ok(group),
        Hosted::Service(_) => Err(ApiError::wrong_protocol()),
    }
}

/// Serves the API until the node is asked to stop.
pub(crate) async fn serve(node: Node, listener: TcpListener) {
    let mut stop = node.inner().stop.subscribe();
    let stopped = async move {
        // An error means that the node is gone.
        let _ = stop.wait_for(Option::is_some).await;
    };
    let service = Front::new(node.clone());
    let upkeep = async {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            if let Some(metrics) = telemetry::metrics() {
                metrics.run_upkeep();
            }
        }
    };
    tokio::select! {
        result = axum::serve(Door::new(listener), service).with_graceful_shutdown(stopped) => {
            if let Err(error) = result {
                tracing::error!(%error, "the API ended");
            }
        }
        () = upkeep => {}
    }
}

/// What the handlers of a node get.
fn context(node: Node) -> Context {
    let kind = node.inner().kind;
    let mut endpoints = routes::endpoints(kind);
    if kind == NodeKind::Full {
        endpoints.extend(service::routes::endpoints());
    }
    let openapi = Arc::new(openapi::document(endpoints.iter()));
    Context { node, openapi }
}

/// The API as a service; the peer's address must come as `ConnectInfo<SocketAddr>`.
fn router(context: Context) -> Router {
    let kind = context.node.inner().kind;
    let mut router = Router::new();
    for endpoint in routes::endpoints(kind) {
        let handler = access::guard(endpoint.handler, &context, endpoint.access);
        router = router
            .route(&endpoint.path, handler.clone())
            .route(&format!("{}/", endpoint.path), handler);
    }
    router = router
        .method_not_allowed_fallback(|| async { ApiError::method() })
        .layer(axum::middleware::from_fn(limit_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CompressionLayer::new())
        .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any));
    if kind == NodeKind::Full {
        router = router.merge(services());
    }
    router.fallback(no_path).with_state(context)
}

/// The paths of services. They check callers themselves, and have limits of their own.
fn services() -> Router<Context> {
    let mut router = Router::new();
    for endpoint in service::routes::endpoints() {
        // A key is data: with a slash behind it, it would be another one.
        if !endpoint.path.ends_with("/{key}") {
            router = router.route(&format!("{}/", endpoint.path), endpoint.handler.clone());
        }
        router = router.route(&endpoint.path, endpoint.handler);
    }
    router.method_not_allowed_fallback(service::no_method)
}

/// What is answered to a path that there is not: in the words of services if it looks like theirs.
async fn no_path(uri: Uri) -> Response {
    if service::is_path(uri.path()) {
        service::no_path(uri.path())
    } else {
        ApiError::not_found("Not Found").into_response()
    }
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timeout().into_response(),
    }
}

#[cfg(test)]
mod tests;
