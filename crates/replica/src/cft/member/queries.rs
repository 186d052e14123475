//! Answers for the API that need no log.

use quorate_consensus::raft::Phase;
use quorate_ledger::ccf::TxId;
use quorate_ledger::ccf::maps::{
    NodeStatus, SERVICE_ENDORSEMENTS, SERVICE_INFO, SINGLE, ServiceInfo, read_row,
};

use super::Member;
use crate::cft::api::PeerRef;
use crate::cft::api::{
    Answer, Blocked, Code, ConfigurationInfo, ConsensusInfo, Consistency, Error, NetworkInfo,
    NodeInfo, Query, ServiceStatus, StateInfo, Status,
};
use crate::cft::keys::Keys;
use crate::cft::nodes::peer_of;

impl<K: Keys> Member<K> {
    /// Answers a query. Receipts and entries are the driver's.
    ///
    /// # Errors
    /// [`Error`].
    pub fn query(&self, query: &Query) -> Result<Answer, Error> {
        Ok(match query {
            Query::Consensus => Answer::Consensus(Box::new(self.consensus())),
            Query::Network => Answer::Network(Box::new(self.network()?)),
            Query::Nodes => Answer::Nodes(self.node_infos()),
            Query::Removable => self.removable(),
            Query::Commit { history_since } => self.commit_info(*history_since)?,
            Query::Tx(tx) => Answer::Tx(*tx, self.status(*tx)),
            Query::State => Answer::State(Box::new(self.state_info())),
            Query::Primary => {
                let nodes = self.node_infos();
                Answer::Primary(nodes.into_iter().find(|node| node.primary))
            }
            Query::Ready => {
                let member = self.raft.role().is_some() && self.stopped.is_none();
                Answer::Ready(member && self.committed_service()?.status == ServiceStatus::Open)
            }
            Query::Plan(change) => Answer::Plan(Box::new(self.plan(change))),
            Query::Get { map, key, consistency } => match consistency {
                Consistency::Local => {
                    Answer::Value(self.store.head(map, key).cloned(), self.last_tx())
                }
                Consistency::Committed => {
                    let value = self.store.committed().get(map, key).cloned();
                    Answer::Value(value, self.committed_tx())
                }
                Consistency::Linearizable => {
                    let message = "a linearizable read is a command";
                    return Err(Error::new(Code::InvalidInput, message));
                }
            },
            Query::Status => Answer::Status(Box::new(self.short_status())),
            Query::Receipt(_) | Query::CoseReceipt(_) | Query::Entry(_) => {
                unreachable!("the driver answers what needs the log")
            }
        })
    }

    fn committed_service(&self) -> Result<ServiceInfo, Error> {
        let row = self.store.committed().get(SERVICE_INFO, &SINGLE);
        let row = row.or_else(|| self.store.head(SERVICE_INFO, &SINGLE));
        let missing = || Error::new(Code::ResourceNotFound, "the service is not known yet");
        let info = read_row(SERVICE_INFO, row.ok_or_else(missing)?);
        info.map_err(|e| Error::new(Code::InternalError, e.to_string()))
    }

    fn consensus(&self) -> ConsensusInfo {
        let raft = &self.raft;
        let address = |node| self.nodes.head.get(node).map(|row| row.rpc_address.clone());
        let acks = raft.peers().iter().filter(|_| self.leads()).map(|(node, peer)| {
            (*node, (peer.matched, self.now.0.saturating_sub(peer.acked_at.0)))
        });
        let configs = raft.configurations().iter().map(|configuration| ConfigurationInfo {
            idx: configuration.idx,
            nodes: configuration
                .nodes
                .iter()
                .map(|node| (*node, address(node).unwrap_or_default()))
                .collect(),
        });
        ConsensusInfo {
            configs: configs.collect(),
            acks: acks.collect(),
            retired: raft.phase().is_some(),
            leadership_state: raft.role(),
            retirement_phase: raft.phase(),
            primary_id: raft.leader(),
            current_view: raft.view(),
            ticking: raft.ticking(),
            learners: raft.learners().iter().copied().collect(),
        }
    }

    fn network(&self) -> Result<NetworkInfo, Error> {
        let service = self.committed_service()?;
        let endorsements = self.store.committed().iter(SERVICE_ENDORSEMENTS).rev();
        let endorsements = endorsements.map(|(_, pem)| String::from_utf8_lossy(pem).into_owned());
        Ok(NetworkInfo {
            service_status: service.status,
            service_certificate: service.cert,
            current_view: self.raft.view(),
            primary_id: self.raft.leader(),
            recovery_count: service.recovery_count,
            current_service_create_txid: service.current_service_create_txid.unwrap_or_default(),
            endorsements: endorsements.collect(),
        })
    }

    /// All nodes of the committed state.
    pub(super) fn node_infos(&self) -> Vec<NodeInfo> {
        let change = self.committed_change();
        let learners = change.map(|change| change.learners()).unwrap_or_default();
        let leader = self.raft.leader();
        let none = || PeerRef([].into());
        let infos = self.nodes.committed.iter().map(|(node, (row, last_written))| NodeInfo {
            node_id: *node,
            status: row.status,
            retired_committed: row.retired_committed,
            learner: learners.contains(node),
            primary: leader == Some(*node),
            peer: peer_of(row).unwrap_or_else(none),
            rpc_address: row.rpc_address.clone(),
            last_written: *last_written,
        });
        infos.collect()
    }

    fn removable(&self) -> Answer {
        let infos = self.node_infos().into_iter();
        let retired = infos.filter(|node| node.status == NodeStatus::Retired);
        let (nodes, rest): (Vec<_>, Vec<_>) = retired.partition(|node| node.retired_committed);
        let mut blocked: Vec<_> = rest
            .into_iter()
            .map(|node| Blocked {
                node_id: node.node_id,
                phase: Phase::Completed.name(),
                reason: "the leader has not stated yet that its retirement is complete".into(),
            })
            .collect();
        for (node, row) in &self.nodes.head {
            let committed = self.nodes.committed.get(node).map(|(row, _)| row.status);
            if row.status != NodeStatus::Retired || committed == Some(NodeStatus::Retired) {
                continue;
            }
            let rtx = self.kinds.iter().rev().find_map(|(seqno, kind)| match kind {
                quorate_consensus::raft::Kind::Configuration(nodes) if !nodes.contains(node) => {
                    Some(*seqno)
                }
                _ => None,
            });
            let signed = rtx.is_some_and(|seqno| self.chain.last_signature() > seqno);
            let (phase, reason) = if signed {
                (Phase::Signed, "its retirement is signed and not committed")
            } else {
                (Phase::Ordered, "its retirement is in the ledger and not signed")
            };
            let phase = phase.name();
            blocked.push(Blocked { node_id: *node, phase, reason: reason.into() });
        }
        Answer::Removable { nodes, blocked }
    }

    fn commit_info(&self, since: Option<u64>) -> Result<Answer, Error> {
        let tx = self.committed_tx();
        let Some(since) = since else { return Ok(Answer::Commit { tx, history: None }) };
        if since == 0 {
            let message = "a view is greater than 0";
            return Err(Error::new(Code::InvalidQueryParameterValue, message));
        }
        let starts = self.raft.view_history().starts();
        let committed = starts.iter().filter(|(_, first)| *first <= tx.seqno);
        let wanted = committed.filter(|(view, _)| *view >= since);
        let history = wanted.map(|(view, first)| TxId::new(*view, *first)).collect::<Vec<_>>();
        if history.is_empty() && since > tx.view {
            let message = format!("view {since} has no committed transaction");
            return Err(Error::new(Code::ResourceNotFound, message));
        }
        Ok(Answer::Commit { tx, history: Some(history) })
    }

    fn state_info(&self) -> StateInfo {
        StateInfo {
            node_id: self.raft.me(),
            state: if self.stopped.is_some() { "Stopped" } else { "PartOfNetwork" },
            last_signed_seqno: self.chain.last_signature(),
            startup_seqno: self.raft.startup_seqno(),
            stop_notice: self.raft.phase() == Some(Phase::RetiredCommitted),
        }
    }

    /// Where it stands, in short.
    pub fn short_status(&self) -> Status {
        Status {
            node_id: self.raft.me(),
            last: self.last_tx(),
            committed: self.committed_tx(),
            role: self.raft.role(),
            view: self.raft.view(),
            leader: self.raft.leader(),
            joining: false,
            retired: self.raft.phase() == Some(Phase::RetiredCommitted),
            stopped: self.stopped.clone(),
        }
    }
}
