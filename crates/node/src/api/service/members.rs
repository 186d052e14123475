//! What operators do with the members of a service. Ours.

use std::collections::BTreeSet;
use std::pin::Pin;

use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use libp2p::PeerId;
use quorate_consensus::raft::NodeId;
use quorate_ledger::ccf::maps::SINGLE;
use quorate_replica::cft::api::{
    Answer, Code, Command, ConsensusInfo, Consistency, NodeInfo, NodeStatus, Query, Reply,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::kv::body_of;
use super::{Refusal, Served, Target, json as to_json};
use crate::service::{Change, Service, member_change, unexpected};

/// The row of this map, as long as it is there, is the change under way. `[R11]`
const MEMBER_CHANGE: &str = "public:quorate.member_change";
/// Shortest prefix that names a node.
const MIN_PREFIX: usize = 6;

/// A node's network identity as text.
pub fn peer_text(node: &NodeInfo) -> Option<String> {
    PeerId::from_bytes(&node.peer.0).ok().map(|peer| peer.to_string())
}

/// The node that a text names: its id, or the beginning of one.
///
/// # Errors
/// If no node or several are meant.
pub fn find_node(nodes: &[NodeInfo], text: &str) -> Result<NodeId, Refusal> {
    let text = text.to_ascii_lowercase();
    if text.len() < MIN_PREFIX {
        let message = format!("a node's id needs at least {MIN_PREFIX} digits, `{text}` has less");
        return Err(Refusal::input(message));
    }
    let mut found = nodes.iter().filter(|node| node.node_id.to_string().starts_with(&text));
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node.node_id),
        (Some(_), Some(_)) => Err(Refusal::input(format!("`{text}` begins several nodes' ids"))),
        (None, _) => Err(Refusal::not_found(format!("the service knows no node {text}"))
            .hint("GET /node/network/nodes lists them")),
    }
}

/// A node's status as the API writes it.
pub const fn status_text(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Pending => "Pending",
        NodeStatus::Trusted => "Trusted",
        NodeStatus::Retired => "Retired",
    }
}

async fn nodes(service: &Service) -> Result<Vec<NodeInfo>, Refusal> {
    nodes_of(service.query(Query::Nodes).await?)
}

fn nodes_of(answer: Answer) -> Result<Vec<NodeInfo>, Refusal> {
    match answer {
        Answer::Nodes(nodes) => Ok(nodes),
        other => Err(unexpected(&other).into()),
    }
}

async fn consensus(service: &Service) -> Result<ConsensusInfo, Refusal> {
    consensus_of(service.query(Query::Consensus).await?)
}

fn consensus_of(answer: Answer) -> Result<ConsensusInfo, Refusal> {
    match answer {
        Answer::Consensus(info) => Ok(*info),
        other => Err(unexpected(&other).into()),
    }
}

/// `GET /node/members`
pub async fn list(target: Target) -> Served {
    let service = &target.service;
    let nodes = nodes(service).await?;
    let info = consensus(service).await?;
    let blocked = match service.query(Query::Removable).await? {
        Answer::Removable { blocked, .. } => blocked,
        other => return Err(unexpected(&other).into()),
    };
    let live = service.live();
    let (last, own) = (live.status.last.seqno, live.status.node_id);
    let shown: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let id = node.node_id;
            let matched = match info.acks.get(&id) {
                Some((seqno, _)) => Some(*seqno),
                None => (id == own).then_some(last),
            };
            let learner = node.learner || info.learners.contains(&id);
            let status = match node.status {
                NodeStatus::Pending if learner => "Learner",
                status => status_text(status),
            };
            let mut shown = json!({
                "node_id": id.to_string(),
                "status": status,
                "leader": info.primary_id == Some(id),
                "match": matched,
                "behind": matched.map(|matched| last.saturating_sub(matched)),
                "address": node.rpc_address,
                "peer_id": peer_text(node),
            });
            let phase = blocked.iter().find(|blocked| blocked.node_id == id);
            if let Some(blocked) = phase {
                shown["phase"] = json!(blocked.phase);
            } else if node.retired_committed {
                shown["phase"] = json!("RetiredCommitted");
            }
            shown
        })
        .collect();
    let trusted = nodes.iter().filter(|node| node.status == NodeStatus::Trusted).count();
    Ok(to_json(&json!({
        "nodes": shown,
        "quorum": trusted / 2 + 1,
        "tolerates": trusted.saturating_sub(1) / 2,
        "change": current(service).await?.1,
    })))
}

/// The row of the ledger that says who learns, and what for.
#[derive(Deserialize)]
struct Learning {
    joins: Vec<String>,
    leaves: Vec<String>,
}

/// How far a change is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    CatchingUp,
    Appended,
    Committed,
    Aborted,
}

impl Progress {
    const fn name(self) -> &'static str {
        match self {
            Self::CatchingUp => "CatchingUp",
            Self::Appended => "Appended",
            Self::Committed => "Committed",
            Self::Aborted => "Aborted",
        }
    }

    /// That of a change nobody learns for any more, by what is committed and who is configured.
    fn of(change: &Change, nodes: &[NodeInfo], info: &ConsensusInfo) -> Self {
        let status = |id: &NodeId| nodes.iter().find(|node| node.node_id == *id).map(|n| n.status);
        let joined = change.add.iter().all(|id| status(id) == Some(NodeStatus::Trusted));
        let left =
            change.remove.iter().all(|id| matches!(status(id), None | Some(NodeStatus::Retired)));
        let configured = info.configs.last().is_some_and(|config| {
            change.add.iter().all(|id| config.nodes.contains_key(id))
                && !change.remove.iter().any(|id| config.nodes.contains_key(id))
        });
        match (change.aborted, joined && left, configured) {
            (false, true, _) => Self::Committed,
            (false, false, true) => Self::Appended,
            _ => Self::Aborted,
        }
    }
}

fn texts(ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(NodeId::to_string).collect()
}

fn shown(change: &Change, progress: Progress) -> Value {
    json!({
        "id": change.tx.to_string(),
        "add": texts(&change.add),
        "remove": texts(&change.remove),
        "state": progress.name(),
        "transaction_id": change.tx.to_string(),
    })
}

/// An answer that is on its way.
type Asked<'a> = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send + 'a>>;

/// The change under way, whoever asked for it; else the last one asked for on this node.
async fn current(service: &Service) -> Result<(Option<Progress>, Value), Refusal> {
    let ask = |query| -> Asked<'_> { Box::pin(async { Ok(service.query(query).await?) }) };
    look(service.change(), || service.live().status.last.seqno, ask).await
}

/// Asks one thing after the other, while the member goes on: `last` is the change last asked for on
/// this node, `head` gives the last entry of the log.
async fn look<'a>(
    last: Option<Change>,
    head: impl Fn() -> u64,
    ask: impl Fn(Query) -> Asked<'a>,
) -> Result<(Option<Progress>, Value), Refusal> {
    let query = Query::Get {
        map: MEMBER_CHANGE.to_owned(),
        key: SINGLE.to_vec(),
        consistency: Consistency::Local,
    };
    let row = match ask(query).await? {
        Answer::Value(row, _) => row,
        other => return Err(unexpected(&other).into()),
    };
    if let Some(row) = row {
        let row: Learning = serde_json::from_slice(&row).map_err(|error| unexpected(&error))?;
        let same = |last: &Change| {
            let joins: BTreeSet<String> = texts(&last.add).into_iter().collect();
            joins.iter().eq(&row.joins)
        };
        let tx = last.filter(same).map(|last| last.tx.to_string());
        let mut shown = json!({
            "id": tx,
            "add": row.joins,
            "remove": row.leaves,
            "state": Progress::CatchingUp.name(),
        });
        if let Some(tx) = tx {
            shown["transaction_id"] = json!(tx);
        }
        return Ok((Some(Progress::CatchingUp), shown));
    }
    let Some(last) = last else { return Ok((None, Value::Null)) };
    if head() < last.tx.seqno {
        // Asked for through this node, but its row is not here yet.
        let progress = if last.add.is_empty() { Progress::Appended } else { Progress::CatchingUp };
        return Ok((Some(progress), shown(&last, progress)));
    }
    // Looked at after the row: nodes as they were before it went would show neither a change under
    // way nor its result, which is what an aborted one looks like.
    let nodes = nodes_of(ask(Query::Nodes).await?)?;
    let info = consensus_of(ask(Query::Consensus).await?)?;
    let progress = Progress::of(&last, &nodes, &info);
    Ok((Some(progress), shown(&last, progress)))
}

/// The nodes that a request adds and removes.
async fn wanted(
    service: &Service,
    request: Request,
) -> Result<(Vec<NodeId>, Vec<NodeId>), Refusal> {
    let body = body_of(request.into_body()).await?;
    let body: Value =
        serde_json::from_slice(&body).map_err(|error| Refusal::input(format!("JSON: {error}")))?;
    let known = nodes(service).await?;
    let ids = |name: &str| -> Result<Vec<NodeId>, Refusal> {
        let list = match &body[name] {
            Value::Null => return Ok(Vec::new()),
            Value::Array(list) => list,
            _ => return Err(Refusal::input(format!("`{name}` must be a list of ids"))),
        };
        let mut ids = Vec::new();
        for item in list {
            let text = item.as_str().ok_or_else(|| Refusal::input("an id is a text"))?;
            let id = find_node(&known, text).map_err(unknown_node)?;
            if ids.contains(&id) {
                return Err(Refusal::input(format!("`{name}` names {text} twice")));
            }
            ids.push(id);
        }
        Ok(ids)
    };
    Ok((ids("add")?, ids("remove")?))
}

fn unknown_node(refusal: Refusal) -> Refusal {
    if refusal.code() != Code::ResourceNotFound.name() {
        return refusal;
    }
    refusal.renamed(StatusCode::BAD_REQUEST, "UnknownNode")
}

/// `POST /node/members/plan`
pub async fn plan(target: Target, request: Request) -> Served {
    let service = &target.service;
    let (add, remove) = wanted(service, request).await?;
    let change = member_change(&add, &remove)?;
    let plan = match service.query(Query::Plan(change)).await? {
        Answer::Plan(plan) => plan,
        other => return Err(unexpected(&other).into()),
    };
    let before = plan.before.len();
    let mut shown = json!({
        "quorum_before": before / 2 + 1,
        "quorum_after": plan.quorum,
        "tolerates_before": before.saturating_sub(1) / 2,
        "tolerates_after": plan.tolerates,
        "nodes_before": texts(&plan.before),
        "nodes_after": texts(&plan.after),
        "learners": texts(&plan.learners),
        "silent": texts(&plan.silent),
        "warnings": plan.warnings,
        "possible": plan.refused.is_none(),
    });
    if let Some(error) = &plan.refused {
        shown["reason"] = json!(error.message);
    }
    Ok(to_json(&shown))
}

/// `POST /node/members`
pub async fn start(target: Target, request: Request) -> Served {
    let (add, remove) = wanted(&target.service, request).await?;
    let progress = if add.is_empty() { Progress::Appended } else { Progress::CatchingUp };
    let change = target.service.start_change(add, remove).await?;
    let body = Json(json!({ "change": shown(&change, progress) }));
    Ok((StatusCode::ACCEPTED, body).into_response())
}

/// `GET /node/members/change`
pub async fn change(target: Target) -> Served {
    let (_, change) = current(&target.service).await?;
    Ok(to_json(&json!({ "change": change })))
}

/// `DELETE /node/members/change`
pub async fn abort(target: Target) -> Served {
    let (progress, mut change) = current(&target.service).await?;
    match progress {
        Some(Progress::CatchingUp) => {
            target.service.abort_change().await?;
            change["state"] = json!(Progress::Aborted.name());
            Ok(to_json(&json!({ "change": change })))
        }
        Some(Progress::Appended | Progress::Committed) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "TooLate",
            "the change is in the ledger already",
            "wait until it is committed, then change it back",
        )),
        Some(Progress::Aborted) | None => {
            Err(Refusal::not_found("no change of the members is going on")
                .hint("GET /node/members shows them"))
        }
    }
}

/// `POST /node/members/nominate`
pub async fn nominate(target: Target) -> Served {
    match target.service.command(Command::Nominate).await? {
        Reply::Nominated => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            Ok((StatusCode::ACCEPTED, kind, r#"{"nominated":true}"#).into_response())
        }
        other => Err(unexpected(&other).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use quorate_replica::cft::api::{
        Answer, ConfigurationInfo, ConsensusInfo, NodeId, NodeInfo, NodeStatus, PeerRef, Query,
        TxId,
    };

    use super::{Asked, Change, Progress, find_node, look};

    fn node(first: u8, last: u8) -> NodeInfo {
        let mut id = [first; 32];
        id[31] = last;
        NodeInfo {
            node_id: NodeId(id),
            status: NodeStatus::Trusted,
            retired_committed: false,
            learner: false,
            primary: false,
            peer: PeerRef(Arc::from([].as_slice())),
            rpc_address: String::new(),
            last_written: 0,
        }
    }

    #[test]
    fn a_node_is_named_by_the_unique_beginning_of_its_id() {
        let nodes = [node(0xaa, 1), node(0xab, 1), node(0xab, 2)];
        assert_eq!(find_node(&nodes, "AAaaaa").expect("one"), nodes[0].node_id);
        let whole = nodes[2].node_id.to_string();
        assert_eq!(find_node(&nodes, &whole).expect("one"), nodes[2].node_id);
        for (text, code) in
            [("aaaaa", "InvalidInput"), ("ababab", "InvalidInput"), ("cccccc", "ResourceNotFound")]
        {
            assert_eq!(find_node(&nodes, text).expect_err(text).code(), code);
        }
    }

    fn consensus(members: &[&NodeInfo]) -> ConsensusInfo {
        let nodes = members.iter().map(|node| (node.node_id, String::new())).collect();
        ConsensusInfo {
            configs: vec![ConfigurationInfo { idx: 1, nodes }],
            acks: Default::default(),
            retired: false,
            leadership_state: None,
            retirement_phase: None,
            primary_id: None,
            current_view: 2,
            ticking: true,
            learners: Vec::new(),
        }
    }

    /// What a member answers while node 2 joins: it learns, its reconfiguration is appended,
    /// committed.
    fn answer(query: &Query, stage: usize, aborted: bool) -> Answer {
        let (first, mut joiner) = (node(1, 1), node(2, 2));
        if stage < 2 || aborted {
            joiner.status = NodeStatus::Pending;
        }
        match query {
            Query::Get { .. } => {
                let id = hex::encode(joiner.node_id.0);
                let row = format!(r#"{{"joins":["{id}"],"leaves":[]}}"#);
                let row = (stage == 0).then(|| Arc::from(row.into_bytes()));
                Answer::Value(row, TxId::new(2, 9))
            }
            Query::Nodes => Answer::Nodes(vec![first, joiner]),
            Query::Consensus if stage > 0 && !aborted => {
                Answer::Consensus(Box::new(consensus(&[&first, &joiner])))
            }
            Query::Consensus => Answer::Consensus(Box::new(consensus(&[&first]))),
            other => panic!("{other:?}"),
        }
    }

    /// What is shown if the member has come to these stages when the first, second and third
    /// question are asked.
    async fn seen(stages: [usize; 3], aborted: bool) -> Option<Progress> {
        let (tx, add) = (TxId::new(2, 7), vec![node(2, 2).node_id]);
        let last = Change { tx, add, remove: Vec::new(), aborted: false };
        let asked = Cell::new(0);
        let ask = |query: Query| -> Asked<'_> {
            let answer = answer(&query, stages[asked.get()], aborted);
            asked.set(asked.get() + 1);
            Box::pin(std::future::ready(Ok(answer)))
        };
        look(Some(last), || 9, ask).await.expect("it is answered").0
    }

    #[tokio::test]
    async fn a_change_that_goes_on_while_it_is_looked_at_is_never_shown_as_aborted() {
        for first in 0..3 {
            for second in first..3 {
                for third in second..3 {
                    let progress = seen([first, second, third], false).await;
                    let expected = match (first, second) {
                        (0, _) => Progress::CatchingUp,
                        (_, 2) => Progress::Committed,
                        _ => Progress::Appended,
                    };
                    assert_eq!(progress, Some(expected), "{first} {second} {third}");
                }
            }
        }
        assert_eq!(seen([1, 1, 1], true).await, Some(Progress::Aborted));
    }
}
