//! Errors of the API of `cft` groups.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_replica::cft::api::{Code, Error, TxId};
use serde_json::{Value, json};

use super::{TRANSACTION, tx_header};

/// An answer that is an error: `{"error": {"code", "message", "hint", "details"?}}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: &'static str,
    details: Option<Value>,
    tx: Option<TxId>,
    no_cache: bool,
}

impl Refusal {
    /// With the words of the API of this node.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        let message = message.into();
        Self { status, code, message, hint, details: None, tx: None, no_cache: false }
    }

    /// Its code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// With another hint.
    pub fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// With another status.
    pub fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With another status and code.
    pub fn renamed(self, status: StatusCode, code: &'static str) -> Self {
        Self { status, code, ..self }
    }

    /// With details.
    pub fn details(self, details: Value) -> Self {
        Self { details: Some(details), ..self }
    }

    /// The transaction that shows it.
    pub fn seen(self, tx: TxId) -> Self {
        Self { tx: Some(tx), ..self }
    }

    /// What it says: `{"code", "message", "hint", "details"?}`.
    pub fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message, "hint": self.hint });
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        error
    }

    /// The HTTP status.
    pub const fn http_status(&self) -> StatusCode {
        self.status
    }

    /// The transaction that shows it, if one does.
    pub const fn tx(&self) -> Option<TxId> {
        self.tx
    }

    /// It may be otherwise the next moment.
    pub fn not_cached(self) -> Self {
        Self { no_cache: true, ..self }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(Code::ResourceNotFound, message).into()
    }

    /// The path does not have the method.
    pub fn method(message: &str, hint: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message, hint)
    }

    /// A parameter is no good.
    pub fn parameter(message: impl Into<String>) -> Self {
        Error::new(Code::InvalidQueryParameterValue, message).into()
    }

    /// The request is no good.
    pub fn input(message: impl Into<String>) -> Self {
        Error::new(Code::InvalidInput, message).into()
    }

    /// The request is too large.
    pub fn too_large(limit: usize) -> Self {
        Error::new(Code::RequestBodyTooLarge, format!("the body is over {limit} bytes")).into()
    }

    /// Only the service itself writes there.
    pub fn reserved(map: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Forbidden",
            format!("the map {map} is written by the service itself"),
            "use a map whose name does not begin with public:ccf. or public:quorate.",
        )
    }
}

/// The HTTP status of a code.
const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::NodeNotRetiredCommitted
        | Code::InvalidQueryParameterValue
        | Code::InvalidInput
        | Code::InvalidHeaderValue
        | Code::StartupSeqnoIsOld
        | Code::QuorumLost => StatusCode::BAD_REQUEST,
        Code::ResourceNotFound | Code::TransactionPendingOrUnknown | Code::TransactionInvalid => {
            StatusCode::NOT_FOUND
        }
        Code::IdempotencyKeyReused | Code::ChangeInProgress | Code::NodeRemoved => {
            StatusCode::CONFLICT
        }
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::RequestBodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        Code::PrimaryNotFound
        | Code::SessionConsistencyLost
        | Code::TransactionReplicationFailed
        | Code::TransactionCommitAttemptsExceedLimit
        | Code::TooManyPendingTransactions
        | Code::FrontendNotOpen
        | Code::NodeCannotHandleRequest => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = error.code;
        let name = if code == Code::QuorumLost { "LastQuorum" } else { code.name() };
        Self::new(status_of(code), name, error.message, code.hint())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = axum::Json(json!({ "error": self.to_json() }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE
            || self.code == Code::TransactionPendingOrUnknown.name()
        {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.no_cache {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if let Some(tx) = self.tx {
            headers.insert(TRANSACTION, tx_header(tx));
        }
        response
    }
}
