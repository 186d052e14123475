//! Which service a request is for, and whether its caller may.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use quorate_ledger::ids::GroupId;

use super::Refusal;
use crate::api::Context;
use crate::api::access::{Access, allowed};
use crate::api::input::Params;
use crate::node::Hosted;
use crate::service::Service;

/// A service, and the other parameters of the path.
pub struct Target {
    /// The service.
    pub service: Arc<Service>,
    /// Where its paths begin: empty for the main service.
    pub root: String,
    parameters: Vec<(String, String)>,
}

/// The service of a group; of the node if none is named.
///
/// # Errors
/// If there is none, or the group is of another kind.
pub fn find(context: &Context, gid: Option<&str>) -> Result<Arc<Service>, Refusal> {
    let Some(gid) = gid else {
        return context.node.main_service().ok_or_else(|| {
            Refusal::not_found("this node has no main service").hint(
                "create or join a cft group, name one with service.group, or use \
                 /api/v1/group/{group_id}/...",
            )
        });
    };
    let id: Option<GroupId> = gid.parse().ok();
    match id.and_then(|id| context.node.group(id)) {
        Some(Hosted::Service(service)) => Ok(service),
        Some(Hosted::Group(_)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "wrong_protocol",
            "this group is not of the kind cft",
            "a poa group is used through /api/v1/group/{group_id}/content and /consensus",
        )),
        None => Err(Refusal::not_found(format!("this node is in no group {gid}"))
            .hint("GET /api/v1/groups lists the groups of this node")),
    }
}

/// Whether the caller may: who is on this machine everything, others with a token; one for the
/// group reads.
///
/// # Errors
/// 401 or 403.
pub fn admit(
    context: &Context,
    peer: SocketAddr,
    service: &Service,
    parts: &Parts,
) -> Result<(), Refusal> {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    // Who opens a stream may write on it.
    let reads = matches!(parts.method, Method::GET | Method::HEAD)
        && !parts.headers.contains_key(header::UPGRADE);
    let access = if reads { Access::Group } else { Access::Chain };
    let group = service.id().to_string();
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    allowed(context, access, peer.ip(), Some(&group), &parts.headers, &params).map_err(|error| {
        let (status, message, hint) = error.parts();
        let code = if status == StatusCode::UNAUTHORIZED { "Unauthorized" } else { "Forbidden" };
        Refusal::new(status, code, message, hint)
    })
}

impl FromRequestParts<Context> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Refusal> {
        let path = RawPathParams::from_request_parts(parts, context).await;
        let path = path.map_err(|error| Refusal::input(error.to_string()))?;
        let parameters: Vec<(String, String)> =
            path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let gid = parameters.iter().find(|(name, _)| name == "gid").map(|(_, id)| id.as_str());
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, context).await;
        let ConnectInfo(peer) = peer.map_err(|error| Refusal::input(error.to_string()))?;
        let service = find(context, gid)?;
        admit(context, peer, &service, parts)?;
        let root = gid.map(|gid| format!("/api/v1/group/{gid}")).unwrap_or_default();
        Ok(Self { service, root, parameters })
    }
}

impl Target {
    /// A parameter of the path.
    pub fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(of, _)| of == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}
