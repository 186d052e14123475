//! The member's side of the log: what each entry means, what it must be, what follows when it is in
//! the log, taken back or committed; and the leader's own entries, signatures among them.

use quorate_consensus::core::Env;
use quorate_consensus::raft::{Entry, Event, Kind, NewEntry, Seqno};
use quorate_crypto::hash::Digest;
use quorate_ledger::ccf::maps::{ENDORSED_CERTIFICATES, SERVICE_INFO, SINGLE, node_key, read_row};
use quorate_ledger::ccf::signature::{Identities, Signature, is_signature};
use quorate_ledger::ccf::{Transaction, TxId};
use quorate_ledger::state::WriteSet;

use super::{Member, refused, row_key};
use crate::cft::api::{Code, Error, Notice};
use crate::cft::keys::Keys;

impl<K: Keys> Member<K> {
    /// An entry is in the log: its writes cover the state.
    pub(super) fn appended(&mut self, entry: Entry) -> Result<(), String> {
        let own = self.own.take();
        let writes = match own {
            Some(writes) => writes,
            None => self.check_entry(&entry)?,
        };
        self.take_entry(&entry, writes)
    }

    /// What an entry of another leader (or of the log) writes. It must be what its header and kind
    /// say, and a signature must sign the own tree.
    pub(super) fn check_entry(&mut self, entry: &Entry) -> Result<WriteSet, String> {
        let say = |what: String| format!("entry {}: {what}", entry.seqno);
        let secret = self.chain.secret();
        let transaction =
            Transaction::decode(&entry.bytes, secret).map_err(|e| say(e.to_string()))?;
        let id = TxId::new(entry.view, entry.seqno);
        if transaction.id != id || entry.seqno != self.chain.last_idx() + 1 {
            return Err(say(format!("it is {}, not {id}", transaction.id)));
        }
        if transaction.evidence != secret.evidence_digest(id) {
            return Err(say("its commit evidence is made with another ledger secret".to_owned()));
        }
        let signs = is_signature(&transaction.writes);
        let kind =
            self.nodes.kind_of(&transaction.writes, signs).map_err(|e| say(e.to_string()))?;
        if kind != entry.kind {
            return Err(say(format!("it is {kind:?}, not {:?}", entry.kind)));
        }
        if signs {
            self.check_signature(&transaction).map_err(say)?;
        }
        Ok(transaction.writes)
    }

    /// The root of every signature is checked; with keys the first one of each view.
    pub(super) fn check_signature(
        &mut self,
        transaction: &Transaction,
    ) -> Result<Signature, String> {
        let signature = Signature::read(transaction).map_err(|e| e.to_string())?;
        let signature = signature.ok_or("no signature")?;
        let root = self.chain.tree().root_at(signature.id.seqno).map_err(|e| e.to_string())?;
        if root != signature.root {
            return Err("the signed root is not that of the entries before".to_owned());
        }
        if transaction.id.view == self.verified_view {
            return Ok(signature);
        }
        let by = self.identities(&signature)?;
        signature.verify(self.chain.tree(), by, &self.keys).map_err(|e| e.to_string())?;
        self.verified_view = transaction.id.view;
        Ok(signature)
    }

    /// Certificates with which a signature is checked, as the ledger has them now.
    pub(super) fn identities(&self, signature: &Signature) -> Result<Identities<'_>, String> {
        let node = self.store.head(ENDORSED_CERTIFICATES, &node_key(&signature.node));
        let node = node.and_then(|pem| std::str::from_utf8(pem).ok());
        match (node, self.service.as_ref()) {
            (Some(node), Some(service)) => Ok(Identities { node, service: &service.cert }),
            _ => Err("the certificate of the node that signed is not in the ledger".to_owned()),
        }
    }

    /// The entry extends everything that is kept of the log.
    pub(super) fn take_entry(&mut self, entry: &Entry, writes: WriteSet) -> Result<(), String> {
        let say = |what: String| format!("entry {}: {what}", entry.seqno);
        self.keyed.append(&self.store, &writes);
        self.nodes_changed |= self.nodes.append(&writes).map_err(|e| say(e.to_string()))?;
        let signs = entry.kind == Kind::Signature;
        self.chain.append(&entry.bytes, signs, self.now).map_err(|e| say(e.to_string()))?;
        if let Some(Some(row)) = writes.get(SERVICE_INFO, &SINGLE) {
            self.service = Some(read_row(SERVICE_INFO, row).map_err(|e| say(e.to_string()))?);
        }
        if matches!(entry.kind, Kind::Configuration(_) | Kind::Retired(_)) {
            self.kinds.insert(entry.seqno, entry.kind.clone());
        }
        self.store.append(entry.seqno, writes);
        self.recent.push(entry.clone());
        Ok(())
    }

    pub(super) fn rolled_back(&mut self, after: Seqno) -> Result<(), String> {
        self.store.roll_back(after);
        self.chain.roll_back(after, self.now);
        self.recent.roll_back(after);
        self.kinds.split_off(&(after + 1));
        self.keyed.reload(&self.store);
        self.nodes.reload(&self.store).map_err(|e| e.to_string())?;
        self.reload_service()?;
        self.nodes_changed = true;
        Ok(())
    }

    pub(super) fn reload_service(&mut self) -> Result<(), String> {
        let service = self.store.head(SERVICE_INFO, &SINGLE);
        let service = service.map(|row| read_row(SERVICE_INFO, row)).transpose();
        self.service = service.map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Everything up to `seqno` is final.
    pub(super) fn committed(&mut self, seqno: Seqno) -> Result<(), String> {
        let before = self.raft.view_at(self.store.commit_idx());
        while let Some((at, writes)) = self.store.commit_next(seqno) {
            let changed = self.nodes.commit(at, &writes).map_err(|e| e.to_string())?;
            self.clean_up |= changed;
            self.nodes_changed |= changed;
            self.take_snapshot_if_due(at, &writes)?;
        }
        self.chain.commit(seqno);
        let new_view = self.raft.view_at(seqno) != before;
        let raft = &self.raft;
        let decided = self.waits.decide(seqno, new_view, |tx| raft.status(tx.view, tx.seqno));
        for (waiter, status) in decided {
            self.answer_waiter(waiter, status);
        }
        let tx = self.committed_tx();
        self.notice(Notice::Committed(tx));
        Ok(())
    }

    /// The leader appends a transaction.
    pub(super) fn append(
        &mut self,
        env: &mut Env,
        writes: WriteSet,
        user: bool,
    ) -> Result<TxId, Error> {
        self.append_claiming(env, writes, Digest::default(), user)
    }

    pub(super) fn append_claiming(
        &mut self,
        env: &mut Env,
        writes: WriteSet,
        claims: Digest,
        user: bool,
    ) -> Result<TxId, Error> {
        let kind = self.nodes.kind_of(&writes, false);
        let kind = kind.map_err(|e| Error::new(Code::InternalError, e.to_string()))?;
        let id = TxId::new(self.raft.view(), self.raft.last_idx() + 1);
        let encoded = self.chain.encode(id, writes, claims);
        let (bytes, writes) =
            encoded.map_err(|e| Error::new(Code::RequestBodyTooLarge, e.to_string()))?;
        let weight = bytes.len() as u64;
        let entry = NewEntry { kind, bytes, weight, user };
        self.raft.admits(&entry).map_err(refused)?;
        self.own = Some(writes);
        self.feed(env, Event::Append(entry));
        if self.chain.unsigned() >= self.config.signature_tx_count {
            self.sign(env);
        }
        Ok(id)
    }

    /// [O3]: the turn's entries become durable together with their signature, and the queue of
    /// requests has been taken whole: so nothing waits.
    pub(super) fn sign_if_due(&mut self, env: &mut Env) {
        let unsigned = self.chain.unsigned();
        let config = &self.config;
        let adaptive = config.signature_adaptive && !self.is_signing();
        let age = self.chain.unsigned_since().map(|at| env.now.0.saturating_sub(at.0));
        let old = age.is_some_and(|age| age >= config.signature_delay_ms);
        let due = unsigned > 0 && (adaptive || old || unsigned >= config.signature_tx_count);
        if due || self.raft.should_sign() {
            self.sign(env);
        }
    }

    /// Whether as many adaptive signatures are under way as there may be.
    pub(super) fn is_signing(&self) -> bool {
        let in_flight = self.raft.uncommitted_signatures() as u64;
        self.config.signature_adaptive && in_flight >= self.config.signature_max_in_flight
    }

    pub(super) fn sign(&mut self, env: &mut Env) {
        let cut = self.cuts_for_snapshot();
        // A node that was added anew has a later certificate in the ledger than it was given: whoever
        // reads the log goes by the ledger.
        let row = self.store.head(ENDORSED_CERTIFICATES, &row_key(&self.raft.me()));
        let certificate = row.and_then(|pem| std::str::from_utf8(pem).ok());
        let certificate = certificate.unwrap_or_else(|| self.keys.certificate());
        let by = (&self.keys, certificate);
        let signed = self.chain.sign(self.raft.view(), env.now, by, cut);
        let (bytes, writes) = match signed {
            Ok(signed) => signed,
            Err(error) => return self.stop(format!("cannot sign: {error}")),
        };
        let weight = bytes.len() as u64;
        let entry = NewEntry { kind: Kind::Signature, bytes, weight, user: false };
        if self.raft.admits(&entry).is_err() {
            return;
        }
        self.own = Some(writes);
        self.feed(env, Event::Append(entry));
    }
}
