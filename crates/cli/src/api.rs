//! The HTTP API of a running node, as the commands use it: the one place that knows its paths.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::{CliError, Kind};

/// How long a request may take. The node itself gives up after 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answers.
    #[error("no node answers at {url}: {reason}")]
    Unreachable {
        /// The node.
        url: String,
        /// Why.
        reason: String,
    },
    /// The node refused.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The node's words.
        message: String,
        /// The node's code, if it gave one.
        code: String,
        /// What the node says to do, if it says something.
        hint: String,
    },
    /// The answer is not what the API promises.
    #[error("{path} answered something else than expected: {reason}")]
    Unexpected {
        /// Path of the request.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ApiError {
    /// The HTTP status of a refusal.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::Unreachable { .. } => Self::new(Kind::Unreachable, message).hint(
                "start a node with `quorate node run`, or name a running one with --api URL or \
                 QUORATE_API",
            ),
            ApiError::Refused { status, code, hint, .. } => {
                let error = Self::new(Kind::Refused, message)
                    .with(json!({ "status": status, "reason": code }));
                match hint_for(status, &error.message) {
                    Some(hint) => error.hint(hint),
                    None if hint.is_empty() => error,
                    None => error.hint(hint),
                }
            }
            ApiError::Unexpected { .. } => {
                Self::failed(message).hint("is this the API of a quorate node?")
            }
        }
    }
}

/// What to do next in words of the command line; the node's own hints are about its API.
fn hint_for(status: u16, message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let of_services = [
        (
            "written by the service itself",
            "choose a map whose name does not begin with public:ccf. or public:quorate.",
        ),
        (
            "no main service",
            "`quorate group create --name NAME --consensus cft` makes a group, `quorate group join SEED` \
             joins one; if the node is in several, name one with --group",
        ),
        ("names no node", "name nodes by their ids; `quorate member list` shows them"),
        ("is no transaction id", "an id is VIEW.SEQNO, as `quorate kv put` prints it"),
        ("no change of the members", "`quorate member list` shows the members"),
        ("the body is over", "a value may have 1 MiB: split it over several keys"),
    ];
    if let Some((_, hint)) = of_services.into_iter().find(|(part, _)| message.contains(part)) {
        return Some(hint);
    }
    if status == 401 || status == 403 {
        return Some("give a token of that node with --token or QUORATE_TOKEN");
    }
    if message.contains("not exist") || message.contains("group not found") {
        return Some("`quorate group list` shows the groups of the node");
    }
    if message.contains("only group owner") {
        return Some("name the owner's node with --api URL");
    }
    if message.contains("is not announced") {
        return Some("run `quorate announce GROUP --as producer` on the node of that key first");
    }
    if message.contains("already exist") {
        return Some("the node is in the group already; `quorate group list` shows it");
    }
    None
}

/// A group as `groups` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct GroupInfo {
    /// Id.
    pub group_id: String,
    /// Name.
    pub group_name: String,
    /// Owner's key.
    pub owner_pubkey: String,
    /// Key of this node's member.
    pub user_pubkey: String,
    /// Number of the last block.
    pub currt_top_block: u64,
}

/// Who orders a group, as `consensus/` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct ConsensusInfo {
    /// The committee.
    pub producers: Vec<ProducerInfo>,
    /// Epoch interval in milliseconds.
    pub trx_epoch_interval: u64,
    /// Request that made this configuration.
    pub proof_req_id: String,
    /// Epoch in progress.
    pub curr_epoch: u64,
    /// Last block.
    pub curr_block_id: u64,
}

impl ConsensusInfo {
    /// Keys of the committee in its order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.producers.iter().map(|p| p.key.clone()).collect()
    }
}

/// One producer of [`ConsensusInfo`].
#[derive(Clone, Debug, Deserialize)]
pub struct ProducerInfo {
    /// Its key.
    #[serde(rename = "ProducerPubkey")]
    pub key: String,
    /// The CONSENSUS trx that made it a producer; empty for the first one.
    #[serde(rename = "ProofTrxId", default)]
    pub proof_trx_id: String,
}

/// What `updconsensus` is asked for.
#[derive(Clone, Debug)]
pub struct Change {
    /// The new committee.
    pub producers: Vec<String>,
    /// First epoch of it.
    pub start_from_epoch: u64,
    /// Epoch interval in milliseconds.
    pub epoch_tick: u64,
    /// Length of an agreement round in milliseconds.
    pub agreement_tick: u64,
    /// Agreement rounds.
    pub agreement_count: u64,
}

/// Header of every answer that looked into the store of a service.
const TRANSACTION_ID: &str = "x-ms-ccf-transaction-id";
/// Header of a write that was done before, under the same idempotency key.
const REPLAYED: &str = "x-quorate-replayed";

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status, a success.
    pub status: u16,
    /// The transaction it tells of, if it looked into the store of a service.
    pub transaction_id: Option<String>,
    /// Whether it repeats the answer of an earlier request with the same idempotency key.
    pub replayed: bool,
    /// Its body.
    pub body: Vec<u8>,
}

/// A node's HTTP API.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Api {
    /// The API at a URL.
    ///
    /// # Panics
    /// If no HTTP client can be made, which needs nothing from outside.
    #[must_use]
    pub fn new(base: &str, token: Option<String>) -> Self {
        // The connections are kept below the 30 s after which the node closes an idle one.
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(20))
            .no_proxy()
            .build()
            .expect("an HTTP client without TLS needs nothing");
        Self { base: base.trim_end_matches('/').to_owned(), token, http }
    }

    /// The API that the command line names.
    #[must_use]
    pub fn from_args(global: &Global) -> Self {
        Self::new(&global.api, global.token.clone())
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Reads a path.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.run(path, self.http.get(format!("{}{path}", self.base))).await
    }

    /// Sends an object to a path.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ApiError> {
        self.run(path, self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    async fn run<T: DeserializeOwned>(
        &self,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ApiError> {
        let answer = self.send(path, request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ApiError::Unexpected {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Sends any request to a path, with a body that need not be JSON.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(path, request).await
    }

    async fn send(&self, path: &str, request: reqwest::RequestBuilder) -> Result<Answer, ApiError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let unreachable = |error: reqwest::Error| ApiError::Unreachable {
            url: self.base.clone(),
            reason: innermost(&error),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let transaction_id = header(TRANSACTION_ID).map(str::to_owned);
        let replayed = header(REPLAYED).is_some();
        let body = response.bytes().await.map_err(unreachable)?.to_vec();
        if status.is_success() {
            return Ok(Answer { status: status.as_u16(), transaction_id, replayed, body });
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        // Endpoints of a service put it into an object of its own.
        let value = value.get("error").filter(|e| e.is_object()).cloned().unwrap_or(value);
        let message = match value.get("message").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => format!("{path} answered {status}"),
        };
        let part = |key| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (code, hint) = (part("code"), part("hint"));
        Err(ApiError::Refused { status: status.as_u16(), message, code, hint })
    }

    /// Whether a group can be used on this node: its genesis is known and checked.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn is_ready(&self, group: &str) -> Result<bool, ApiError> {
        let status = self.own(group, "status").await?;
        Ok(status["ready"] == true)
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn node(&self) -> Result<Value, ApiError> {
        self.get("/api/v1/node").await
    }

    /// Groups as the node writes them.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn groups_value(&self) -> Result<Value, ApiError> {
        self.get("/api/v1/groups").await
    }

    /// Groups of the node.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, ApiError> {
        #[derive(Deserialize)]
        struct Groups {
            groups: Option<Vec<GroupInfo>>,
        }
        let groups: Groups = self.get("/api/v1/groups").await?;
        Ok(groups.groups.unwrap_or_default())
    }

    /// One group of the node.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn group(&self, group: &str) -> Result<GroupInfo, ApiError> {
        self.get(&format!("/api/v1/group/{group}")).await
    }

    /// Creates a group: `{seed, group_id}`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create_group(
        &self,
        name: &str,
        app_key: &str,
        consensus: &str,
        chain_url: bool,
    ) -> Result<Value, ApiError> {
        self.post(
            "/api/v1/group",
            &json!({
                "group_name": name,
                "consensus_type": consensus,
                "encryption_type": "public",
                "app_key": app_key,
                "include_chain_url": chain_url,
            }),
        )
        .await
    }

    /// Joins a group by its seed URL.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn join_group(&self, seed: &str) -> Result<Value, ApiError> {
        self.post("/api/v2/group/join", &json!({ "seed": seed })).await
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn leave_group(&self, group: &str) -> Result<Value, ApiError> {
        self.post("/api/v1/group/leave", &json!({ "group_id": group })).await
    }

    /// Removes the data of a group that was left.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn clear_group(&self, group: &str) -> Result<Value, ApiError> {
        self.post("/api/v1/group/clear", &json!({ "group_id": group })).await
    }

    /// Seed URL of a group: `{seed}`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn seed(&self, group: &str, chain_url: bool) -> Result<Value, ApiError> {
        self.get(&format!("/api/v1/group/{group}/seed?include_chain_url={chain_url}")).await
    }

    /// Posts an object; the id of its trx.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn post_content(&self, group: &str, data: &Value) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct Posted {
            trx_id: String,
        }
        let path = format!("/api/v1/group/{group}/content");
        let posted: Posted = self.post(&path, &json!({ "data": data })).await?;
        Ok(posted.trx_id)
    }

    /// Posts of a group, with their payloads in base64.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn content(
        &self,
        group: &str,
        num: usize,
        reverse: bool,
        start: Option<&str>,
    ) -> Result<Vec<Value>, ApiError> {
        let start = start.map(|trx| format!("&start_trx={trx}")).unwrap_or_default();
        let path = format!("/app/api/v1/group/{group}/content?num={num}&reverse={reverse}{start}");
        self.get(&path).await
    }

    /// An ordered trx; `None` if there is no such trx (yet).
    ///
    /// # Errors
    /// [`ApiError`], but for an unknown trx.
    pub async fn trx(&self, group: &str, trx: &str) -> Result<Option<Value>, ApiError> {
        known(self.get(&format!("/api/v1/trx/{group}/{trx}")).await)
    }

    /// A block; `None` if there is no such block (yet).
    ///
    /// # Errors
    /// [`ApiError`], but for an unknown block.
    pub async fn block(&self, group: &str, block: u64) -> Result<Option<Value>, ApiError> {
        known(self.get(&format!("/api/v1/block/{group}/{block}")).await)
    }

    /// Announces this node's member.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn announce(
        &self,
        group: &str,
        kind: &str,
        action: &str,
        memo: &str,
    ) -> Result<Value, ApiError> {
        self.post(
            "/api/v1/group/announce",
            &json!({ "group_id": group, "type": kind, "action": action, "memo": memo }),
        )
        .await
    }

    /// Keys of the announced producers.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn announced_producers(&self, group: &str) -> Result<Vec<String>, ApiError> {
        let path = format!("/api/v1/group/{group}/announced/producers");
        let answer: Value = self.get(&path).await?;
        let items = answer.get("producers").and_then(Value::as_array);
        let key = |item: &Value| item["Content"]["SignPubkey"].as_str().map(str::to_owned);
        Ok(items.into_iter().flatten().filter_map(key).collect())
    }

    /// Who orders a group, as the node writes it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn consensus_value(&self, group: &str) -> Result<Value, ApiError> {
        self.get(&format!("/api/v1/group/{group}/consensus/")).await
    }

    /// Who orders a group.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn consensus(&self, group: &str) -> Result<ConsensusInfo, ApiError> {
        self.get(&format!("/api/v1/group/{group}/consensus/")).await
    }

    /// Starts a consensus change.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn change_consensus(&self, group: &str, change: &Change) -> Result<Value, ApiError> {
        self.post(
            "/api/v1/group/updconsensus",
            &json!({
                "group_id": group,
                "start_from_epoch": change.start_from_epoch,
                "trx_epoch_tick": change.epoch_tick,
                "agreement_tick_length": change.agreement_tick,
                "agreement_tick_count": change.agreement_count,
                "producer_pubkey": change.producers,
            }),
        )
        .await
    }

    /// A proof by its request id, or `last`, or all of them (`history`).
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn proof(&self, group: &str, which: &str) -> Result<Value, ApiError> {
        self.get(&format!("/api/v1/group/{group}/consensus/proof/{which}")).await
    }

    /// Something of a group that only quorate has: `status`, `views`, `genesis`,
    /// `receipt/<trx id>`, `certified/<block id>`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn own(&self, group: &str, what: &str) -> Result<Value, ApiError> {
        self.get(&format!("/api/v1/group/{group}/{what}")).await
    }
}

/// A thing that is not there is an answer, not an error (a group that is not there is one).
fn known(result: Result<Value, ApiError>) -> Result<Option<Value>, ApiError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ApiError::Refused { code, .. }) if code == "not_found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last cause of an error: "connection refused" says more than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
