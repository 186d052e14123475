//! Who may call what.
//!
//! The address of the other end of the connection decides, never a header: who calls from this
//! machine may do everything. Everybody else needs a token of this node.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, RawPathParams, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;

use super::input::Params;
use super::{ApiError, Context};

/// What a path asks of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing.
    Everybody,
    /// A token for the group in the path, or for everything.
    Group,
    /// A token for everything.
    Chain,
    /// To be on this machine.
    Local,
}

#[derive(Clone)]
struct Guard {
    context: Context,
    access: Access,
}

/// Puts the check in front of a handler.
pub fn guard(
    handler: MethodRouter<Context>,
    context: &Context,
    access: Access,
) -> MethodRouter<Context> {
    let guard = Guard { context: context.clone(), access };
    handler.route_layer(from_fn_with_state(guard, check))
}

async fn check(
    State(guard): State<Guard>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    path: RawPathParams,
    params: Params,
    request: Request,
    next: Next,
) -> Response {
    let group = path.iter().find(|(name, _)| *name == "gid").map(|(_, value)| value);
    let Guard { context, access } = &guard;
    match allowed(context, *access, peer.ip(), group, request.headers(), &params) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether a caller may.
///
/// # Errors
/// 401 or 403.
pub fn allowed(
    context: &Context,
    access: Access,
    peer: IpAddr,
    group: Option<&str>,
    headers: &HeaderMap,
    params: &Params,
) -> Result<(), ApiError> {
    if access == Access::Everybody || peer.to_canonical().is_loopback() {
        return Ok(());
    }
    if access == Access::Local {
        return Err(ApiError::forbidden("this is for callers on the node's own machine"));
    }
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Bearer "));
    let token = bearer
        .or_else(|| params.get("jwt"))
        .ok_or_else(|| ApiError::unauthorized("missing or malformed jwt"))?;
    let claims = context.node.inner().tokens.check(token.trim());
    let claims = claims.map_err(|error| ApiError::unauthorized(error.to_string()))?;
    let for_group = access == Access::Group && group.is_some_and(|g| claims.is_for(g));
    if claims.is_chain() || for_group { Ok(()) } else { Err(ApiError::not_allowed()) }
}
