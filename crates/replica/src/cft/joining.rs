//! A joiner before its admission: asks, fetches a snapshot if it is to begin with one, and opens
//! the secrets that are sealed to it.

use std::sync::Arc;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::raft::{NodeId, Seqno};
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::recipient::{EncryptKey, open_sealed};

use super::api::{
    Address, Admission, Code, Config, Error, Input, LedgerSecret, Notice, Output, PeerRef,
    ServiceSecrets,
};
use super::keys::Keys;
use super::limits::{JOIN_ATTEMPTS, JOIN_MS, MAX_SNAPSHOT};
use super::log::SnapshotFile;
use super::member::SEAL_CONTEXT;
use super::wire::{JoinAnswer, JoinRequest, Packet};

/// A snapshot on its way.
#[derive(Debug)]
struct Download {
    from: PeerRef,
    seqno: Seqno,
    evidence: Seqno,
    total: u64,
    bytes: Vec<u8>,
}

/// A node that asks to join.
#[derive(Debug)]
pub(super) struct Joining<K> {
    pub(super) config: Config,
    pub(super) keys: K,
    encrypt: EncryptKey,
    from_snapshot: bool,
    /// Where its log begins and ends.
    startup_seqno: Seqno,
    last_idx: Seqno,
    admitted: Option<(LedgerSecret, Vec<(NodeId, PeerRef)>)>,
    wanted: Option<Seqno>,
    download: Option<Download>,
    attempts: u32,
    ask_at: Time,
    pub(super) stopped: Option<String>,
}

/// What has become of a joiner.
#[expect(clippy::large_enum_variant, reason = "made once in the life of a node")]
pub(super) enum Progress {
    /// It goes on asking.
    Waits,
    /// It can be opened as a member, after this snapshot if there is one.
    Ready(LedgerSecret, Vec<(NodeId, PeerRef)>, Option<SnapshotFile>),
}

impl<K: Keys> Joining<K> {
    pub(super) fn new(
        config: Config,
        keys: K,
        encrypt: EncryptKey,
        from_snapshot: bool,
        (startup_seqno, last_idx): (Seqno, Seqno),
    ) -> Self {
        Self {
            config,
            keys,
            encrypt,
            from_snapshot,
            startup_seqno,
            last_idx,
            admitted: None,
            wanted: None,
            download: None,
            attempts: 0,
            ask_at: Time(0),
            stopped: None,
        }
    }

    /// When it has to be woken.
    pub(super) fn wake(&self) -> Option<Time> {
        self.stopped.is_none().then_some(self.ask_at)
    }

    /// One turn.
    pub(super) fn turn(
        &mut self,
        env: &mut Env,
        inputs: Vec<Input>,
        outputs: &mut Vec<Output>,
    ) -> Progress {
        for input in inputs {
            match input {
                Input::Command(ticket, _) => {
                    let message = "this node has not been admitted to the group yet";
                    let error = Error::new(Code::NodeCannotHandleRequest, message);
                    outputs.push(Output::Reply(ticket, Err(error)));
                }
                Input::Connected(_) => self.ask_at = env.now,
                Input::Wake => {}
                Input::Packet(peer, packet) if self.stopped.is_none() => {
                    match self.packet(peer, packet, outputs) {
                        Ok(Progress::Waits) => {}
                        Ok(ready) => return ready,
                        Err(reason) => {
                            self.stopped = Some(reason.clone());
                            outputs.push(Output::Notice(Notice::Stopped(reason)));
                        }
                    }
                }
                Input::Packet(..) => {}
            }
        }
        if self.stopped.is_none() && env.now >= self.ask_at {
            self.ask_at = env.now.after(JOIN_MS);
            self.ask(outputs);
        }
        Progress::Waits
    }

    fn ask(&mut self, outputs: &mut Vec<Output>) {
        let packet = match (&self.download, self.wanted) {
            (Some(download), _) => {
                let offset = download.bytes.len() as u64;
                let packet = Packet::FetchSnapshot { seqno: download.seqno, offset };
                let to = Address::Peer(download.from.clone());
                let packet = packet.encode(self.config.group);
                return outputs.push(Output::Send { to, packet });
            }
            (None, Some(_)) => Packet::FetchSnapshot { seqno: 0, offset: 0 },
            (None, None) => {
                let mut request = JoinRequest {
                    public_key: self.keys.public_key(),
                    peer: self.config.peer.clone(),
                    rpc_address: self.config.rpc_address.clone(),
                    encryption_key: self.encrypt.public().to_string(),
                    startup_seqno: self.startup_seqno,
                    proof: Vec::new(),
                };
                request.proof = self.keys.prove(&request.statement(self.config.group));
                Packet::Join(Box::new(request))
            }
        };
        let packet = packet.encode(self.config.group);
        outputs.push(Output::Send { to: Address::Somebody, packet });
    }

    fn packet(
        &mut self,
        peer: PeerRef,
        packet: Packet,
        outputs: &mut Vec<Output>,
    ) -> Result<Progress, String> {
        match packet {
            Packet::JoinAnswer(answer) => self.answer(*answer, outputs),
            Packet::SnapshotPart { seqno, evidence, offset, total, bytes } => {
                self.part(peer, (seqno, evidence), offset, total, &bytes, outputs)
            }
            _ => Ok(Progress::Waits),
        }
    }

    fn answer(
        &mut self,
        answer: JoinAnswer,
        outputs: &mut Vec<Output>,
    ) -> Result<Progress, String> {
        match answer {
            JoinAnswer::Pending => Ok(Progress::Waits),
            // Of a request that was sent before: a later snapshot is on its way.
            JoinAnswer::Refused(error)
                if error.code == Code::StartupSeqnoIsOld && self.wanted.is_some() =>
            {
                Ok(Progress::Waits)
            }
            JoinAnswer::Refused(error) if error.code == Code::StartupSeqnoIsOld => {
                self.attempts += 1;
                if self.last_idx > self.startup_seqno || self.attempts > JOIN_ATTEMPTS {
                    return Err(format!("cannot join: {}", error.message));
                }
                self.wanted = Some(1);
                self.ask(outputs);
                Ok(Progress::Waits)
            }
            JoinAnswer::Refused(error) if error.code == Code::NodeRemoved => {
                Err(format!("cannot join: {}", error.message))
            }
            JoinAnswer::Refused(error) => {
                outputs.push(Output::Notice(Notice::Inconsistent(error.to_string())));
                Ok(Progress::Waits)
            }
            JoinAnswer::Admitted {
                node_certificate,
                service_certificate,
                sealed,
                nodes,
                snapshot,
            } => {
                if self.admitted.is_none() {
                    let service = self.enter(node_certificate, service_certificate, &sealed)?;
                    let (service, secret) = service;
                    self.admitted = Some((secret.clone(), nodes));
                    let admission = Box::new(Admission { service, secret });
                    outputs.push(Output::Notice(Notice::Admitted(admission)));
                }
                if self.from_snapshot
                    && self.last_idx == 0
                    && snapshot > 0
                    && self.download.is_none()
                {
                    self.wanted = Some(snapshot);
                    self.ask(outputs);
                    return Ok(Progress::Waits);
                }
                Ok(self.ready(None))
            }
        }
    }

    fn enter(
        &mut self,
        node_certificate: String,
        service_certificate: String,
        sealed: &[u8],
    ) -> Result<(ServiceSecrets, LedgerSecret), String> {
        let secrets = open_sealed(&self.encrypt, SEAL_CONTEXT, sealed);
        let secrets = secrets.map_err(|_| "the secrets are not sealed to this node")?;
        let (secret, service_key) = secrets.split_at_checked(32).ok_or("the secrets are cut")?;
        let secret = SymmetricKey::from_slice(secret).ok_or("the ledger secret is none")?;
        let service_key = service_key.to_vec();
        let service = ServiceSecrets { service_key, service_certificate, node_certificate };
        self.keys.enter(&service).map_err(|error| error.to_string())?;
        Ok((service, LedgerSecret::new(secret)))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one packet")]
    fn part(
        &mut self,
        peer: PeerRef,
        (seqno, evidence): (Seqno, Seqno),
        offset: u64,
        total: u64,
        bytes: &[u8],
        outputs: &mut Vec<Output>,
    ) -> Result<Progress, String> {
        if self.wanted.is_none() {
            return Ok(Progress::Waits);
        }
        if seqno == 0 || total == 0 || total > MAX_SNAPSHOT {
            // This node has none (any more): the next one asked may.
            return Ok(self.without_snapshot());
        }
        let download = self.download.get_or_insert_with(|| Download {
            from: peer.clone(),
            seqno,
            evidence,
            total,
            bytes: Vec::new(),
        });
        let expected = (download.seqno, download.evidence, download.total);
        let fits = (seqno, evidence, total) == expected && download.from == peer;
        if !fits || offset != download.bytes.len() as u64 || bytes.is_empty() {
            return Ok(Progress::Waits);
        }
        download.bytes.extend_from_slice(bytes);
        if (download.bytes.len() as u64) < total {
            self.ask(outputs);
            return Ok(Progress::Waits);
        }
        let bytes: Arc<[u8]> = std::mem::take(&mut download.bytes).into();
        self.download = None;
        self.wanted = None;
        if self.admitted.is_some() {
            let checked = self.keys.check_snapshot(&bytes, self.keys.service_certificate());
            if let Err(why) = checked {
                self.wanted = Some(seqno);
                let message = format!("the snapshot of {peer:?} is of no use: {why}");
                outputs.push(Output::Notice(Notice::Inconsistent(message)));
                return Ok(self.without_snapshot());
            }
            return Ok(self.ready(Some(SnapshotFile { seqno, evidence, bytes })));
        }
        // It was told that it begins too early: now it does not any more.
        self.startup_seqno = seqno;
        self.from_snapshot = true;
        self.ask(outputs);
        Ok(Progress::Waits)
    }

    /// There was no snapshot, or none of use. Others are asked; after some attempts one that may
    /// begin with entry 1 does.
    fn without_snapshot(&mut self) -> Progress {
        self.download = None;
        self.attempts += 1;
        if self.attempts <= JOIN_ATTEMPTS || self.startup_seqno > 0 {
            return Progress::Waits;
        }
        self.ready(None)
    }

    fn ready(&mut self, snapshot: Option<SnapshotFile>) -> Progress {
        match self.admitted.take() {
            Some((secret, nodes)) => Progress::Ready(secret, nodes, snapshot),
            None => Progress::Waits,
        }
    }
}
