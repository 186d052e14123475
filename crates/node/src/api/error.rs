//! Errors of the API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_replica::api::{CommandError, QueryError};
use serde_json::json;

use crate::group::AskError;
use crate::node::NodeError;
use crate::p2p::NetworkError;

/// An answer that is an error: `{"message", "code", "hint"}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: &'static str,
    retry_seconds: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: "", retry_seconds: None }
    }

    fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// The request is wrong; `message` is the reference's sentence.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// The body is not what it should be.
    pub fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_body", message)
            .hint("send one JSON object; docs/api.md names its fields")
    }

    /// The body is larger than allowed.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is over 1 MiB")
            .hint("split the content")
    }

    /// This node is in no such group.
    pub fn no_group() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "group_not_found", "Group not found")
            .hint("GET /api/v1/groups lists the groups of this node")
    }

    /// Something asked for is not there; the reference answers 400.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not_found", message)
    }

    /// There is no such path.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_path", message)
            .hint("GET /openapi.json lists all paths")
    }

    /// The path has other methods.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed")
            .hint("GET /openapi.json lists all paths and methods")
    }

    /// The member is not the owner.
    pub fn not_owner() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not_owner", "Only group owner can do this")
            .hint("ask the owner's node")
    }

    /// The lists of the group forbid it.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// No (good) token.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .hint("send a token of this node: Authorization: Bearer TOKEN, or ?jwt=TOKEN")
    }

    /// The token does not go so far.
    pub fn not_allowed() -> Self {
        Self::forbidden("this token does not allow this")
            .hint("node tokens read the trxs and the light-node API of their groups only")
    }

    /// It took too long.
    pub fn timeout() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "no answer within 30 s").retry(1)
    }

    /// Something of ours went wrong.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            .hint("the node's log says more")
    }

    /// The group is of a kind that has no such thing.
    pub fn wrong_protocol() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "wrong_protocol", "this is not for groups of kind cft")
            .hint(
                "a cft group is used through /api/v1/group/{group_id}/app/kv/{map}/{key}, \
                 /app/batch, /node/receipt and /node/members",
            )
    }

    /// Status, message and hint, to be written in another form.
    pub fn parts(self) -> (StatusCode, String, &'static str) {
        (self.status, self.message, self.hint)
    }

    fn retry(self, seconds: u64) -> Self {
        Self { retry_seconds: Some(seconds), ..self }
    }

    fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry(1)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "message": self.message, "code": self.code, "hint": self.hint });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        match error {
            CommandError::Invalid(_) => Self::invalid(message),
            CommandError::NotOwner => Self::not_owner(),
            CommandError::Forbidden(_) => Self::forbidden(message)
                .hint("the group's owner sets who may send what: chainconfig"),
            CommandError::PoolFull { retry_ms } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "pool_full", message)
                    .retry(retry_ms.div_ceil(1000).max(1))
                    .hint("nothing was accepted; send again later")
            }
            CommandError::Stalled(_) => Self::unavailable("stalled", message)
                .hint("nothing was accepted; look at the free space of the node's disk"),
            CommandError::NotReady => Self::unavailable("not_ready", message)
                .hint("the node is looking for members of the group; check its peers"),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::NotFound(_) => Self::missing(message),
            QueryError::NotReady => Self::unavailable("not_ready", message)
                .hint("the node is looking for members of the group; check its peers"),
            QueryError::Storage(_) => Self::internal(message),
        }
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::Command(error) => error.into(),
            AskError::Query(error) => error.into(),
            AskError::Busy => Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
                .retry(1)
                .hint("nothing was accepted; send again later"),
            AskError::Stopped => Self::unavailable("stopping", message),
        }
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        use quorate_ledger::seed::SeedError;
        let message = error.to_string();
        match error {
            NodeError::Seed(SeedError::GenesisSignature) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_seed",
                "Join Group failed, verify genesis block failed",
            )
            .hint("one of the fields s, k, t, g of the seed was changed"),
            NodeError::Seed(_) => Self::new(StatusCode::BAD_REQUEST, "invalid_seed", message)
                .hint("ask the group's owner for the seed again"),
            NodeError::AlreadyExists(_) => {
                Self::new(StatusCode::BAD_REQUEST, "already_joined", message)
            }
            NodeError::NotFound(_) => {
                Self::new(StatusCode::BAD_REQUEST, "group_not_found", message)
                    .hint("GET /api/v1/groups lists the groups of this node")
            }
            NodeError::Joined => {
                Self::new(StatusCode::BAD_REQUEST, "still_joined", message).hint("leave it first")
            }
            NodeError::Unsupported(_) => {
                Self::new(StatusCode::BAD_REQUEST, "not_supported", message)
            }
            NodeError::TooManyGroups => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_groups", message)
            }
            NodeError::Stopping | NodeError::Network(NetworkError::Stopped) => {
                Self::unavailable("stopping", message)
            }
            _ => Self::internal(message),
        }
    }
}
