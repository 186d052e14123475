//! The group's side of a join.

use quorate_consensus::core::Env;
use quorate_consensus::raft::NodeId;
use quorate_crypto::hash::sha256;
use quorate_crypto::recipient::{EncryptPublicKey, seal_to};
use quorate_ledger::ccf::maps::{self, ENDORSED_CERTIFICATES, NodeInfo, NodeStatus};
use quorate_ledger::state::WriteSet;

use super::open::base64_of;
use super::{Member, row_key};
use crate::cft::api::{Code, Error, PeerRef};
use crate::cft::keys::Keys;
use crate::cft::limits::{MAX_JOIN_FIELD, MAX_PENDING_NODES};
use crate::cft::nodes::{REMOVED, digest, peer_text};
use crate::cft::wire::{JoinAnswer, JoinRequest, Packet};

/// What the sealing of a joiner's secrets is bound to.
pub(in crate::cft) const SEAL_CONTEXT: &[u8] = b"quorate.cft.secrets.v1";

impl<K: Keys> Member<K> {
    /// A node asks to join; a follower passes that on, `via` the follower the leader gets it.
    pub(super) fn join_request(
        &mut self,
        env: &mut Env,
        joiner: PeerRef,
        request: Box<JoinRequest>,
        via: Option<PeerRef>,
    ) {
        if !self.leads() {
            let leader = self.raft.leader().and_then(|leader| self.nodes.peer(&leader));
            if let (Some(leader), None) = (leader, via) {
                self.send(leader, &Packet::RelayJoin(joiner, request));
            }
            return;
        }
        let answer = self.judge(env, &request).unwrap_or_else(JoinAnswer::Refused);
        let answer = Box::new(answer);
        match via {
            None => self.send(joiner, &Packet::JoinAnswer(answer)),
            Some(relay) => self.send(relay, &Packet::RelayJoinAnswer(joiner, answer)),
        }
    }

    fn judge(&mut self, env: &mut Env, request: &JoinRequest) -> Result<JoinAnswer, Error> {
        let invalid = |what: &str| Error::new(Code::InvalidInput, what);
        let statement = request.statement(self.config.group);
        if !self.keys.check(&request.public_key, &statement, &request.proof) {
            return Err(invalid("the request is not signed with the node's key"));
        }
        let fields = [request.rpc_address.len(), request.encryption_key.len()];
        if fields.iter().any(|length| *length > MAX_JOIN_FIELD / 4) {
            return Err(invalid("a field of the request is too long"));
        }
        let recipient: EncryptPublicKey = request
            .encryption_key
            .parse()
            .map_err(|_| invalid("the encryption key is no age recipient"))?;
        let node = NodeId(sha256(&request.public_key).0);
        let removed = Error::new(Code::NodeRemoved, format!("node {node} has been removed"));
        if self.store.head(REMOVED, &row_key(&node)).is_some() {
            return Err(removed);
        }
        let row = NodeInfo {
            peer: peer_text(&request.peer),
            rpc_address: request.rpc_address.clone(),
            encryption_key: request.encryption_key.clone(),
            public_key: base64_of(&request.public_key),
            ..NodeInfo::new(NodeStatus::Pending)
        };
        let learns = self.committed_change().is_some_and(|c| c.learners().contains(&node));
        match self.nodes.head.get(&node) {
            Some(known) if known.status == NodeStatus::Retired => return Err(removed),
            Some(known) if known.status == NodeStatus::Trusted || learns => {
                if (&known.peer, &known.encryption_key) != (&row.peer, &row.encryption_key) {
                    return Err(invalid("the node is known under another peer or key"));
                }
                return self.admit(env, &node, &recipient, request.startup_seqno);
            }
            Some(known) if *known == row => return Ok(JoinAnswer::Pending),
            Some(_) => {}
            None => {
                let pending =
                    self.nodes.head.values().filter(|row| row.status == NodeStatus::Pending);
                if pending.count() >= MAX_PENDING_NODES {
                    return Err(invalid("too many nodes wait for the operator"));
                }
            }
        }
        let mut writes = WriteSet::new();
        let put = maps::put_node(&mut writes, &digest(&node), &row);
        put.map_err(|e| Error::new(Code::RequestBodyTooLarge, e.to_string()))?;
        self.append(env, writes, false)?;
        Ok(JoinAnswer::Pending)
    }

    /// The operator has added the node: it gets what it needs to follow.
    fn admit(
        &self,
        env: &mut Env,
        node: &NodeId,
        recipient: &EncryptPublicKey,
        startup_seqno: u64,
    ) -> Result<JoinAnswer, Error> {
        let internal = |what: String| Error::new(Code::InternalError, what);
        let oldest = self.raft.startup_seqno();
        if startup_seqno < oldest {
            let message = format!("the ledger here begins after {oldest}");
            return Err(Error::new(Code::StartupSeqnoIsOld, message));
        }
        let certificate = self.store.head(ENDORSED_CERTIFICATES, &row_key(node));
        let certificate = certificate.and_then(|pem| std::str::from_utf8(pem).ok());
        let certificate = certificate.ok_or_else(|| internal("it has no certificate".into()))?;
        let service_key = self.keys.service_key().map_err(|e| internal(e.to_string()))?;
        let mut secrets = self.chain.secret().key().as_bytes().to_vec();
        secrets.extend_from_slice(&service_key);
        let sealed = seal_to(&mut env.rng, recipient, SEAL_CONTEXT, &secrets);
        let nodes = self.nodes.head.keys();
        let nodes = nodes.filter_map(|node| Some((*node, self.nodes.peer(node)?))).collect();
        Ok(JoinAnswer::Admitted {
            node_certificate: certificate.to_owned(),
            service_certificate: self.keys.service_certificate().to_owned(),
            sealed,
            nodes,
            snapshot: self.latest_snapshot(),
        })
    }
}
