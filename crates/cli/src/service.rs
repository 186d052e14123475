//! The HTTP API of a signed-Raft group (a service), as the commands use it: the one place that knows
//! its paths.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{Answer, Api, ApiError};

/// Status of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub enum TxStatus {
    /// This node knows nothing of it.
    Unknown,
    /// It is in the log, and may still be lost.
    Pending,
    /// It is there for ever.
    Committed,
    /// It is not there, for ever.
    Invalid,
}

impl TxStatus {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Pending => "Pending",
            Self::Committed => "Committed",
            Self::Invalid => "Invalid",
        }
    }
}

/// What became of a write.
#[derive(Clone, Debug, Deserialize)]
pub struct Written {
    /// Its transaction.
    pub transaction_id: String,
    /// Its status when the node answered.
    pub status: TxStatus,
    /// Whether the answer is that of an earlier request with the same idempotency key.
    #[serde(default)]
    pub replayed: bool,
    /// What each operation of a batch gave.
    #[serde(default)]
    pub results: Vec<Value>,
}

/// On what a write depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On nothing.
    None,
    /// On the key being absent.
    Absent,
    /// On the present value being this one.
    Equals(Vec<u8>),
}

/// How a write is done.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Wait until it is committed, so long; otherwise the answer is early.
    pub wait: Option<Duration>,
    /// On what it depends.
    pub condition: Condition,
    /// The same key never writes twice.
    pub idempotency: Option<String>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { wait: Some(COMMIT_LIMIT), condition: Condition::None, idempotency: None }
    }
}

/// How long a node waits for a commit unless told otherwise.
pub const COMMIT_LIMIT: Duration = Duration::from_secs(10);

/// How fresh a read is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Consistency {
    /// Sees every write that was acknowledged before it.
    Linearizable,
    /// Sees only what is committed, perhaps not the latest.
    Committed,
    /// Sees what this node has, which may yet be lost.
    Local,
}

impl Consistency {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Committed => "committed",
            Self::Local => "local",
        }
    }
}

/// A node of a service.
#[derive(Clone, Debug, Deserialize)]
pub struct MemberInfo {
    /// Hex SHA-256 of its public key.
    pub node_id: String,
    /// `Pending`, `Learner`, `Trusted` or `Retired`.
    pub status: String,
    /// Whether it leads.
    #[serde(default)]
    pub leader: bool,
    /// Last entry it is known to have.
    #[serde(default, rename = "match")]
    pub matched: Option<u64>,
    /// Entries it lacks.
    #[serde(default)]
    pub behind: Option<u64>,
    /// Where it can be reached.
    #[serde(default)]
    pub address: Option<String>,
    /// Network identity.
    #[serde(default)]
    pub peer_id: Option<String>,
    /// How far its retirement is.
    #[serde(default)]
    pub phase: Option<String>,
}

/// The nodes of a service.
#[derive(Clone, Debug, Deserialize)]
pub struct Members {
    /// All of them.
    pub nodes: Vec<MemberInfo>,
    /// How many trusted nodes make a quorum.
    #[serde(default)]
    pub quorum: u64,
    /// How many may crash.
    #[serde(default)]
    pub tolerates: u64,
    /// The change under way, or the last one.
    #[serde(default)]
    pub change: Option<Value>,
}

impl Members {
    /// Nodes of a status.
    pub fn of<'a>(&'a self, status: &'a str) -> impl Iterator<Item = &'a MemberInfo> {
        self.nodes.iter().filter(move |n| n.status == status)
    }

    /// The leader, if it is known.
    #[must_use]
    pub fn leader(&self) -> Option<&MemberInfo> {
        self.nodes.iter().find(|n| n.leader)
    }
}

/// A service as one node shows it.
#[derive(Clone, Debug)]
pub struct Service {
    api: Api,
    root: String,
}

impl Service {
    /// The service of a group; without one the main service of the node.
    #[must_use]
    pub fn new(api: Api, group: Option<&str>) -> Self {
        let root = group.map(|g| format!("/api/v1/group/{g}")).unwrap_or_default();
        Self { api, root }
    }

    /// The node's API.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// Where its paths begin.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    async fn get<T: DeserializeOwned>(&self, path: impl fmt::Display) -> Result<T, ApiError> {
        self.api.get(&format!("{}{path}", self.root)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ApiError> {
        self.api.post(&format!("{}{path}", self.root), body).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        self.api.call(method, &format!("{}{path}", self.root), body, headers).await
    }

    /// The nodes.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn members(&self) -> Result<Members, ApiError> {
        self.get("/node/members").await
    }

    /// The nodes, as the node writes them.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn members_value(&self) -> Result<Value, ApiError> {
        self.get("/node/members").await
    }

    /// What a change of the nodes would mean.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn plan(&self, add: &[String], remove: &[String]) -> Result<Value, ApiError> {
        self.post("/node/members/plan", &json!({ "add": add, "remove": remove })).await
    }

    /// Starts a change of the nodes.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn change(&self, add: &[String], remove: &[String]) -> Result<Value, ApiError> {
        self.post("/node/members", &json!({ "add": add, "remove": remove })).await
    }

    /// The change under way, or the last one.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn current_change(&self) -> Result<Value, ApiError> {
        self.get("/node/members/change").await
    }

    /// Gives a change up that is not in the log yet.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn abort(&self) -> Result<(), ApiError> {
        self.call(Method::DELETE, "/node/members/change", Vec::new(), &[]).await.map(drop)
    }

    /// Lets the leader hand over.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn nominate(&self) -> Result<(), ApiError> {
        self.call(Method::POST, "/node/members/nominate", Vec::new(), &[]).await.map(drop)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`ApiError`]; status 412 if the condition does not hold.
    pub async fn put(
        &self,
        map: &str,
        key: &str,
        value: Vec<u8>,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        self.write(Method::PUT, map, key, value, options).await
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`ApiError`]; status 412 if the condition does not hold.
    pub async fn delete(
        &self,
        map: &str,
        key: &str,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        self.write(Method::DELETE, map, key, Vec::new(), options).await
    }

    async fn write(
        &self,
        method: Method,
        map: &str,
        key: &str,
        value: Vec<u8>,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let mut query = Vec::new();
        if let Some(wait) = options.wait {
            query.push(format!("wait=committed&timeout_ms={}", wait.as_millis()));
        }
        match &options.condition {
            Condition::None => {}
            Condition::Absent => query.push("absent=true".to_owned()),
            Condition::Equals(value) => {
                query.push(format!("expected={}", URL_SAFE_NO_PAD.encode(value)));
            }
        }
        let path = format!("{}?{}", place(map, key), query.join("&"));
        let mut headers = vec![("content-type", "application/octet-stream")];
        if let Some(key) = &options.idempotency {
            headers.push(("idempotency-key", key));
        }
        let answer = self.call(method, &path, value, &headers).await?;
        let mut written: Written = serde_json::from_slice(&answer.body).map_err(|error| {
            ApiError::Unexpected { path: path.clone(), reason: error.to_string() }
        })?;
        written.replayed = answer.replayed;
        Ok(written)
    }

    /// Reads a value; `None` if there is none.
    ///
    /// # Errors
    /// [`ApiError`], but for an absent key.
    pub async fn read(
        &self,
        map: &str,
        key: &str,
        consistency: Consistency,
    ) -> Result<Option<Answer>, ApiError> {
        let path = format!("{}?consistency={}", place(map, key), consistency.name());
        match self.call(Method::GET, &path, Vec::new(), &[]).await {
            Ok(answer) => Ok(Some(answer)),
            // Only an absent key has this answer of its own; an unknown group says something else.
            Err(ApiError::Refused { status: 404, code, .. }) if code == "ResourceNotFound" => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads keys in their order: entries with keys and values in bytes, and where to go on.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn list(
        &self,
        map: &str,
        from: Option<&str>,
        to: Option<&str>,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Listed, ApiError> {
        let bound = |name: &str, key: Option<&str>| {
            key.map(|key| format!("&{name}={}", escape(key))).unwrap_or_default()
        };
        let path = format!(
            "/app/kv/{}?limit={limit}&consistency={}{}{}",
            escape(map),
            consistency.name(),
            bound("from", from),
            bound("to", to),
        );
        let raw: RawListed = self.get(&path).await?;
        let bytes = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|e| ApiError::Unexpected { path: path.clone(), reason: e.to_string() })
        };
        let entries = raw.entries.iter().map(|e| Ok((bytes(&e.key)?, bytes(&e.value)?)));
        let entries = entries.collect::<Result<_, ApiError>>()?;
        let next = raw.next.as_deref().map(bytes).transpose()?;
        Ok(Listed { entries, next })
    }

    /// Writes and reads several keys, all or nothing.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn batch(&self, ops: &Value) -> Result<Written, ApiError> {
        self.post("/app/batch?wait=committed", &json!({ "ops": ops, "encoding": "utf8" })).await
    }

    /// Status of a transaction.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn tx(&self, id: &str) -> Result<Written, ApiError> {
        self.get(format!("/node/tx?transaction_id={}", escape(id))).await
    }

    /// The receipt of a transaction as JSON; `None` while the node is still loading it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn receipt(&self, id: &str) -> Result<Option<Value>, ApiError> {
        let path = format!("/node/receipt?transaction_id={}", escape(id));
        let answer = self.call(Method::GET, &path, Vec::new(), &[]).await?;
        if answer.status == 202 {
            return Ok(None);
        }
        let parsed = serde_json::from_slice(&answer.body);
        parsed.map(Some).map_err(|e| ApiError::Unexpected { path, reason: e.to_string() })
    }

    /// The receipt of a transaction as COSE; `None` while the node is still loading it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn receipt_cose(&self, id: &str) -> Result<Option<Vec<u8>>, ApiError> {
        let path = format!("/node/receipt/cose?transaction_id={}", escape(id));
        let answer = self.call(Method::GET, &path, Vec::new(), &[]).await?;
        Ok((answer.status != 202).then_some(answer.body))
    }

    /// Of the service: its certificate, status, leader, view.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn network(&self) -> Result<Value, ApiError> {
        self.get("/node/network").await
    }

    /// This node of the service: its id and status.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn own_node(&self) -> Result<Value, ApiError> {
        self.get("/node/network/nodes/self").await
    }

    /// Retired nodes that may be shut down, and why others may not yet.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn removable(&self) -> Result<Value, ApiError> {
        self.get("/node/network/removable_nodes").await
    }

    /// What this node's Raft says.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn consensus(&self) -> Result<Value, ApiError> {
        self.get("/node/consensus").await
    }

    /// The last committed transaction that this node knows.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn commit(&self) -> Result<String, ApiError> {
        let value: Value = self.get("/node/commit").await?;
        Ok(value["transaction_id"].as_str().unwrap_or_default().to_owned())
    }

    /// What this node says of itself in the service.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn state(&self) -> Result<Value, ApiError> {
        self.get("/node/state").await
    }
}

/// Keys that were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Keys and values.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// The key to go on from; `None` at the end.
    pub next: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct RawListed {
    entries: Vec<RawEntry>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct RawEntry {
    key: String,
    value: String,
}

fn place(map: &str, key: &str) -> String {
    format!("/app/kv/{}/{}", escape(map), escape(key))
}

/// What stays as it is in a segment of a path, or in a query.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Percent-encodes what may not stand in one segment of a path, or in a query.
#[must_use]
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::{escape, place};

    #[test]
    fn names_with_signs_of_urls_stay_one_segment() {
        assert_eq!(place("public:a/b", "k?&ä"), "/app/kv/public:a%2Fb/k%3F%26%C3%A4");
        assert_eq!(escape("2.18"), "2.18");
    }
}
