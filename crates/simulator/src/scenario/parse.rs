//! The language of scenarios: one command on a line, its fields separated by commas.

use std::str::FromStr;

use quorate_consensus::raft::{NodeId, Seqno, View};

/// Which leader a command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leader {
    /// The one of this view; there must be one.
    Of(View),
    /// The one of the highest view; without one the command does nothing.
    Latest,
}

/// What `assert_detail` looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// `None`, `Follower`, `PreVoteCandidate`, `Candidate` or `Leader`.
    LeadershipState,
    /// `Active` or `Retired`.
    MembershipState,
    /// `Ordered`, `Signed`, `Completed` or `RetiredCommitted`; not there in an active node.
    RetirementPhase,
    /// A number.
    CurrentView,
    /// `true` or `false`.
    Ticking,
}

impl Detail {
    /// All of them by name.
    const ALL: [(&'static str, Self); 5] = [
        ("leadership_state", Self::LeadershipState),
        ("membership_state", Self::MembershipState),
        ("retirement_phase", Self::RetirementPhase),
        ("current_view", Self::CurrentView),
        ("ticking", Self::Ticking),
    ];

    /// Its name in the language.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, detail)| *detail == self).map_or("", |(name, _)| name)
    }
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are those of the language, in its order")]
pub enum Command {
    /// Whether nodes made from now on ask before they run for election.
    PreVoteEnabled(bool),
    /// The first node.
    StartNode(NodeId),
    /// New nodes, and the configuration of all nodes.
    TrustNodes(Leader, Vec<NodeId>),
    /// New nodes, and the configuration of all nodes but those that leave.
    SwapNodes { leader: Leader, join: Vec<NodeId>, leave: Vec<NodeId> },
    /// The statement that these nodes' retirement is committed.
    CleanupNodes(Leader, Vec<NodeId>),
    /// An entry of the application.
    Replicate(Leader, String),
    /// A signature.
    EmitSignature(Leader),
    /// The node, if it leads, asks its successor to run.
    NominateSuccessor(NodeId),
    /// Makes a link (`connect` and `reconnect`).
    Connect(NodeId, NodeId),
    /// Cuts a link.
    Disconnect(NodeId, NodeId),
    /// Cuts all links of a node.
    DisconnectNode(NodeId),
    /// Makes all links of a node.
    ReconnectNode(NodeId),
    /// Time passes for one node.
    PeriodicOne(NodeId, u64),
    /// Time passes for all nodes.
    PeriodicAll(u64),
    /// Delivers all messages of a node.
    DispatchOne(NodeId),
    /// Delivers as many messages as there are now.
    DispatchAllOnce,
    /// The same up to five times, while there are messages.
    DispatchAll,
    /// Delivers the first message from one node to another.
    DispatchSingle(NodeId, NodeId),
    /// Loses all messages of a node.
    DropPending(NodeId),
    /// Loses all messages of a node to another.
    DropPendingTo(NodeId, NodeId),
    /// Reorders the messages of a node.
    ShuffleOne(NodeId),
    /// Reorders the messages of all nodes.
    ShuffleAll,
    /// Prints a node's state.
    StateOne(NodeId),
    /// Prints all nodes' states.
    StateAll,
    /// Prints a node's log.
    SummariseLog(NodeId),
    /// Prints all logs.
    SummariseLogsAll,
    /// Prints the messages from one node to another.
    SummariseMessages(NodeId, NodeId),
    /// A detail of a node has (or, if not `equal`, has not) this value.
    AssertDetail { node: NodeId, detail: Detail, value: String, equal: bool },
    /// A node's commit index.
    AssertCommitIdx(NodeId, Seqno),
    /// View and sequence number of a node's last entry.
    AssertLastTxid(NodeId, View, Seqno),
    /// The active configuration of a node that began there has exactly these members.
    AssertConfig(NodeId, Seqno, Vec<NodeId>),
    /// A node has no active configuration that began there.
    AssertAbsentConfig(NodeId, Seqno),
    /// All nodes have the same view, log and commit index.
    AssertStateSync,
    /// What a node has committed is on a quorum of each of its configurations.
    AssertCommitSafety(NodeId),
    /// The latest leader brings all active nodes to one state.
    LoopUntilSync,
    /// The leaders among these nodes bring them to one state.
    AssertLoopSync(u64, Vec<NodeId>),
}

/// The lines with a command in them, with their numbers from 1: without comments, white space at
/// the end, empty lines, and everything from a line that begins with `====`.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim_end())
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("===="))
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| (index + 1, line))
}

fn node(field: &str) -> Result<NodeId, String> {
    NodeId::named(field).ok_or_else(|| format!("expected a node (1 to 32 bytes), not '{field}'"))
}

fn nodes(fields: &[&str]) -> Result<Vec<NodeId>, String> {
    if fields.is_empty() {
        return Err("expected at least one node".into());
    }
    fields.iter().map(|field| node(field)).collect()
}

fn number(field: &str) -> Result<u64, String> {
    field.parse().map_err(|_| format!("expected a number, not '{field}'"))
}

fn leader(field: &str) -> Result<Leader, String> {
    if field == "latest" {
        return Ok(Leader::Latest);
    }
    let view = field.parse().map_err(|_| format!("expected a view or 'latest', not '{field}'"))?;
    Ok(Leader::Of(view))
}

fn swap(leader: Leader, fields: &[&str]) -> Result<Command, String> {
    let (mut join, mut leave) = (Vec::new(), Vec::new());
    let mut joining = None;
    for field in fields {
        match (*field, joining) {
            ("in", _) => joining = Some(true),
            ("out", _) => joining = Some(false),
            (name, Some(true)) => join.push(node(name)?),
            (name, Some(false)) => leave.push(node(name)?),
            (name, None) => return Err(format!("expected 'in' or 'out', not '{name}'")),
        }
    }
    if join.is_empty() && leave.is_empty() {
        return Err("expected at least one node after 'in' or 'out'".into());
    }
    Ok(Command::SwapNodes { leader, join, leave })
}

fn detail(fields: &[&str; 3], equal: bool) -> Result<Command, String> {
    let known = Detail::ALL.iter().find(|(name, _)| *name == fields[1]);
    let Some((_, detail)) = known else {
        let names = Detail::ALL.map(|(name, _)| name).join(", ");
        return Err(format!("expected one of {names}, not '{}'", fields[1]));
    };
    let node = node(fields[0])?;
    Ok(Command::AssertDetail { node, detail: *detail, value: fields[2].to_owned(), equal })
}

fn txid(field: &str) -> Result<(View, Seqno), String> {
    let parts = field.split_once('.').and_then(|(v, s)| Some((v.parse().ok()?, s.parse().ok()?)));
    parts.ok_or_else(|| format!("expected VIEW.SEQNO, not '{field}'"))
}

/// Exactly `N` fields.
fn exactly<'a, const N: usize>(fields: &[&'a str]) -> Result<[&'a str; N], String> {
    <[&str; N]>::try_from(fields)
        .map_err(|_| format!("expected {N} fields after the command, not {}", fields.len()))
}

/// At least `N` fields, and the rest.
fn at_least<'a, 'b, const N: usize>(
    fields: &'b [&'a str],
) -> Result<(&'b [&'a str; N], &'b [&'a str]), String> {
    fields.split_first_chunk().ok_or_else(|| {
        format!("expected at least {N} fields after the command, not {}", fields.len())
    })
}

fn one(fields: &[&str]) -> Result<NodeId, String> {
    let [a] = exactly(fields)?;
    node(a)
}

fn two(fields: &[&str]) -> Result<(NodeId, NodeId), String> {
    let [a, b] = exactly(fields)?;
    Ok((node(a)?, node(b)?))
}

fn none(fields: &[&str], command: Command) -> Result<Command, String> {
    let [] = exactly(fields)?;
    Ok(command)
}

impl FromStr for Command {
    type Err = String;

    /// Reads a line as [`lines`] gives it. An error says what was expected.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = line.split(',').collect();
        let (name, fields) = (fields[0], &fields[1..]);
        let pair = |make: fn(NodeId, NodeId) -> Self| two(fields).map(|(a, b)| make(a, b));
        match name {
            "connect" | "reconnect" => pair(Self::Connect),
            "disconnect" => pair(Self::Disconnect),
            "dispatch_single" => pair(Self::DispatchSingle),
            "drop_pending_to" => pair(Self::DropPendingTo),
            "summarise_messages" => pair(Self::SummariseMessages),
            "start_node" => one(fields).map(Self::StartNode),
            "nominate_successor" => one(fields).map(Self::NominateSuccessor),
            "disconnect_node" => one(fields).map(Self::DisconnectNode),
            "reconnect_node" => one(fields).map(Self::ReconnectNode),
            "dispatch_one" => one(fields).map(Self::DispatchOne),
            "drop_pending" => one(fields).map(Self::DropPending),
            "shuffle_one" => one(fields).map(Self::ShuffleOne),
            "state_one" => one(fields).map(Self::StateOne),
            "summarise_log" => one(fields).map(Self::SummariseLog),
            "assert_commit_safety" => one(fields).map(Self::AssertCommitSafety),
            "dispatch_all_once" => none(fields, Self::DispatchAllOnce),
            "dispatch_all" => none(fields, Self::DispatchAll),
            "shuffle_all" => none(fields, Self::ShuffleAll),
            "state_all" => none(fields, Self::StateAll),
            "summarise_logs_all" => none(fields, Self::SummariseLogsAll),
            "assert_state_sync" => none(fields, Self::AssertStateSync),
            "loop_until_sync" => none(fields, Self::LoopUntilSync),
            _ => parse_other(name, fields),
        }
    }
}

/// Commands with fields of several kinds.
fn parse_other(name: &str, fields: &[&str]) -> Result<Command, String> {
    Ok(match name {
        "pre_vote_enabled" => match exactly(fields)? {
            ["true"] => Command::PreVoteEnabled(true),
            ["false"] => Command::PreVoteEnabled(false),
            [other] => return Err(format!("expected 'true' or 'false', not '{other}'")),
        },
        "trust_node" => {
            let [at, joins] = exactly(fields)?;
            Command::TrustNodes(leader(at)?, vec![node(joins)?])
        }
        "trust_nodes" => {
            let ([at], rest) = at_least(fields)?;
            Command::TrustNodes(leader(at)?, nodes(rest)?)
        }
        "swap_node" => {
            let [at, leaves, joins] = exactly(fields)?;
            let (join, leave) = (vec![node(joins)?], vec![node(leaves)?]);
            Command::SwapNodes { leader: leader(at)?, join, leave }
        }
        "swap_nodes" => {
            let ([at], rest) = at_least(fields)?;
            swap(leader(at)?, rest)?
        }
        "cleanup_nodes" => {
            let ([at], rest) = at_least(fields)?;
            Command::CleanupNodes(leader(at)?, nodes(rest)?)
        }
        "replicate" => {
            let [at, data] = exactly(fields)?;
            Command::Replicate(leader(at)?, data.to_owned())
        }
        "emit_signature" => {
            let [at] = exactly(fields)?;
            Command::EmitSignature(leader(at)?)
        }
        "periodic_one" => {
            let [who, ms] = exactly(fields)?;
            Command::PeriodicOne(node(who)?, number(ms)?)
        }
        "periodic_all" => {
            let [ms] = exactly(fields)?;
            Command::PeriodicAll(number(ms)?)
        }
        "assert_detail" => detail(&exactly(fields)?, true)?,
        "assert_!detail" => detail(&exactly(fields)?, false)?,
        "assert_commit_idx" => {
            let [who, idx] = exactly(fields)?;
            Command::AssertCommitIdx(node(who)?, number(idx)?)
        }
        "assert_last_txid" => {
            let [who, id] = exactly(fields)?;
            let (view, seqno) = txid(id)?;
            Command::AssertLastTxid(node(who)?, view, seqno)
        }
        "assert_config" => {
            let ([who, idx], members) = at_least(fields)?;
            let members: Result<_, _> = members.iter().map(|field| node(field)).collect();
            Command::AssertConfig(node(who)?, number(idx)?, members?)
        }
        "assert_absent_config" => {
            let [who, idx] = exactly(fields)?;
            Command::AssertAbsentConfig(node(who)?, number(idx)?)
        }
        "assert_loop_sync" => {
            let ([ms], rest) = at_least(fields)?;
            Command::AssertLoopSync(number(ms)?, nodes(rest)?)
        }
        _ => return Err("no such command".into()),
    })
}
