//! Scenarios drawn at random. Each command fits the group it is drawn for, so that it can be
//! carried out; what it leads to is up to the protocol.

use quorate_consensus::raft::NodeId;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};

use super::group::Group;

/// Most nodes of a random group, retired ones included.
const MAX_NODES: usize = 8;

/// What may be drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taste {
    /// Reorder outboxes, which no other program can repeat.
    pub shuffle: bool,
    /// Bring everybody to one state now and then.
    pub sync: bool,
}

/// The next line of a scenario whose group is now `group`.
#[must_use]
pub fn next(group: &Group, rng: &mut impl Rng, taste: Taste) -> String {
    let ids = group.ids();
    let (Some(a), Some(b)) = (ids.choose(rng), ids.choose(rng)) else {
        return "start_node,0".into();
    };
    let at = leader(group, rng);
    match rng.random_range(0..100) {
        0..8 => format!("replicate,{at},{}", data(rng)),
        8..18 => format!("emit_signature,{at}"),
        18..22 => reconfigure(group, rng, &at),
        22..25 => clean_up(group, rng).unwrap_or_else(|| format!("emit_signature,{at}")),
        25..27 => format!("nominate_successor,{a}"),
        27..33 => format!("periodic_all,{}", [10, 10, 10, 50].choose(rng).unwrap_or(&10)),
        33..45 => format!("periodic_one,{a},{}", [10, 10, 50, 100, 150].choose(rng).unwrap_or(&10)),
        45..50 => "dispatch_all".into(),
        50..60 => "dispatch_all_once".into(),
        60..68 => format!("dispatch_one,{a}"),
        68..84 => single(group, rng).unwrap_or_else(|| "dispatch_all_once".into()),
        84..86 => format!("drop_pending,{a}"),
        86..89 if a != b => format!("drop_pending_to,{a},{b}"),
        89..91 if a != b => format!("disconnect,{a},{b}"),
        91..93 if a != b => format!("reconnect,{a},{b}"),
        93 => format!("disconnect_node,{a}"),
        94..97 => format!("reconnect_node,{a}"),
        97 => format!("pre_vote_enabled,{}", rng.random_bool(0.8)),
        98 if taste.shuffle => format!("shuffle_one,{a}"),
        99 if taste.sync && !group.leaders().is_empty() && rng.random_bool(0.3) => {
            "loop_until_sync".into()
        }
        _ => "periodic_all,10".into(),
    }
}

/// The latest leader, or one that may be out of date.
fn leader(group: &Group, rng: &mut impl Rng) -> String {
    match group.leaders().choose(rng) {
        Some((view, _)) if rng.random_bool(0.3) => view.to_string(),
        _ => "latest".into(),
    }
}

fn data(rng: &mut impl Rng) -> String {
    // Now and then so much that it is sent at once.
    let length = if rng.random_bool(0.01) { 12_000 } else { rng.random_range(1..12) };
    char::from(rng.random_range(b'a'..=b'z')).to_string().repeat(length)
}

/// A message that waits, delivered alone.
fn single(group: &Group, rng: &mut impl Rng) -> Option<String> {
    let waiting: Vec<_> = group
        .nodes
        .values()
        .flat_map(|node| node.outbox.iter().map(|(to, _)| (node.raft.me(), *to)))
        .collect();
    waiting.choose(rng).map(|(from, to)| format!("dispatch_single,{from},{to}"))
}

fn reconfigure(group: &Group, rng: &mut impl Rng, at: &str) -> String {
    let ids = group.ids();
    let next = NodeId::named(&ids.len().to_string()).filter(|_| ids.len() < MAX_NODES);
    // Nodes that have left stay away, mostly.
    let mut leave: Vec<_> = ids
        .iter()
        .filter(|id| !group.nodes[*id].is_active() && rng.random_bool(0.9))
        .copied()
        .collect();
    let active: Vec<_> = ids.iter().filter(|id| !leave.contains(id)).collect();
    if active.len() > 1 && rng.random_bool(0.5) {
        leave.extend(active.choose(rng).copied());
    }
    let list = |ids: &[NodeId]| ids.iter().map(|id| format!(",{id}")).collect::<String>();
    match next {
        Some(join) if leave.is_empty() => format!("trust_node,{at},{join}"),
        Some(join) if rng.random_bool(0.6) => {
            format!("swap_nodes,{at},in,{join},out{}", list(&leave))
        }
        _ if leave.is_empty() || leave.len() == ids.len() => format!("emit_signature,{at}"),
        _ => format!("swap_nodes,{at},out{}", list(&leave)),
    }
}

/// The statement about a node whose retirement the latest leader has committed.
fn clean_up(group: &Group, rng: &mut impl Rng) -> Option<String> {
    let (_, leader) = group.leaders().pop()?;
    let leader = &group.nodes.get(&leader)?.raft;
    let configurations = leader.configurations();
    let oldest = configurations.first()?;
    let retired: Vec<_> = group
        .ids()
        .into_iter()
        .filter(|id| !configurations.iter().any(|c| c.nodes.contains(id)))
        .filter(|_| oldest.idx <= leader.commit_idx())
        .collect();
    retired.choose(rng).map(|id| format!("cleanup_nodes,latest,{id}"))
}
