//! The HTTP API: that of seed 001 and its reference, and a little of our own.
//!
//! * Paths match with and without a trailing slash. GET bodies are ignored.
//! * Keys of a request match without regard to case.
//! * Errors are `{"message", "code", "hint"}`; messages are the reference's where it has one.
//! * Who calls from this machine may do everything; others need a token (see [`access`]).
//!
//! [`routes`] lists every path once, with its documentation, from which `/openapi.json` is made.

mod access;
mod announce;
mod config;
mod consensus;
mod content;
mod error;
mod groups;
mod input;
mod ledger;
mod light;
mod network;
mod openapi;
mod routes;
pub(crate) mod token;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use quorate_ledger::ids::GroupId;
use serde_json::Value;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::group::Group;
use crate::node::Node;
use crate::telemetry;
pub use error::ApiError;

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
    /// A group by the text of its id.
    fn group(&self, id: &str) -> Result<Arc<Group>, ApiError> {
        let id: GroupId = id.parse().map_err(|_| ApiError::no_group())?;
        self.node.group(id).ok_or_else(ApiError::no_group)
    }
}

/// Serves the API until the node is asked to stop.
pub(crate) async fn serve(node: Node, listener: TcpListener) {
    let mut stop = node.inner().stop.subscribe();
    let stopped = async move {
        // An error means that the node is gone.
        let _ = stop.wait_for(Option::is_some).await;
    };
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for more.
        let _ = stream.set_nodelay(true);
    });
    let service = router(node.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let upkeep = async {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            if let Some(metrics) = telemetry::metrics() {
                metrics.run_upkeep();
            }
        }
    };
    tokio::select! {
        result = axum::serve(listener, service).with_graceful_shutdown(stopped) => {
            if let Err(error) = result {
                tracing::error!(%error, "the API ended");
            }
        }
        () = upkeep => {}
    }
}

/// The API as a service; the peer's address must come as `ConnectInfo<SocketAddr>`.
pub(crate) fn router(node: Node) -> Router {
    let kind = node.inner().kind;
    let endpoints = routes::endpoints(kind);
    let openapi = Arc::new(openapi::document(&endpoints));
    let context = Context { node, openapi };
    let mut router = Router::new();
    for endpoint in endpoints {
        let handler = access::guard(endpoint.handler, &context, endpoint.access);
        router = router
            .route(endpoint.path, handler.clone())
            .route(&format!("{}/", endpoint.path), handler);
    }
    router
        .fallback(|| async { ApiError::not_found("Not Found") })
        .method_not_allowed_fallback(|| async { ApiError::method() })
        .layer(axum::middleware::from_fn(limit_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CompressionLayer::new())
        .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any))
        .with_state(context)
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timeout().into_response(),
    }
}

#[cfg(test)]
mod tests;
