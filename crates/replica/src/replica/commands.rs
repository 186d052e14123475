//! What callers want done, and trxs of others.

use std::fmt::Display;
use std::sync::Arc;

use prost::Message as _;
use quorate_consensus::core::{Core, Env, Journal, Verified};
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::recipient::{self, EncryptPublicKey};
use quorate_crypto::threshold::Threshold;
use quorate_ledger::announce::{self, Announcement};
use quorate_ledger::group::Encryption;
use quorate_ledger::ids::{BlockId, TrxId};
use quorate_ledger::proto::{ChangeConsensusResultBundle, Trx};
use quorate_ledger::trx::{self, EXPIRY_NS, Limits, TrxError, TrxType};
use rand_core::Rng as _;
use uuid::Builder;

use super::{Out, Replica, nanoseconds};
use crate::api::{Command, CommandError, Reply};
use crate::executor::{self, Refusal};
use crate::wire::{CheckedTrx, MemberFrame};

/// A fresh version 4 UUID from the turn's generator.
pub(super) fn fresh_uuid(env: &mut Env) -> uuid::Uuid {
    let mut bytes = [0; 16];
    env.rng.fill_bytes(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid()
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotOwner => Self::NotOwner,
            Refusal::Forbidden(_) => Self::Forbidden(refusal.to_string()),
            other => Self::Invalid(other.to_string()),
        }
    }
}

fn checked(trx: Trx) -> CheckedTrx {
    let bytes: Arc<[u8]> = trx.encode_to_vec().into();
    CheckedTrx { trx, bytes }
}

impl<C: Core> Replica<C>
where
    <C::Generation as KeyGeneration>::Keys: Threshold,
{
    pub(super) fn command<J: Journal<Error: Display>>(
        &mut self,
        env: &mut Env,
        journal: &J,
        command: Command,
        out: &mut Out,
    ) -> Result<Reply, CommandError> {
        if matches!(command, Command::Leave) {
            return Ok(Reply::Left);
        }
        if self.chain.is_none() {
            return Err(CommandError::NotReady);
        }
        match command {
            Command::Leave => Ok(Reply::Left),
            Command::Submit { kind: TrxType::Consensus, .. } => Err(CommandError::Invalid(
                "CONSENSUS trxs are made by a change of the consensus".to_owned(),
            )),
            Command::Submit { kind, payload } => {
                let trx = self.sign(env, kind, &payload)?;
                let trx_id = self.accept(journal, trx, true, out)?;
                Ok(Reply::Accepted { trx_id })
            }
            Command::SubmitSigned(trx) => {
                let trx_id = self.accept(journal, *trx, false, out)?;
                Ok(Reply::Accepted { trx_id })
            }
            Command::Announce { action, kind, memo } => {
                let encrypt_pubkey = self.config.encrypt.public().to_string();
                let announcement = Announcement { action, kind, encrypt_pubkey, memo };
                let item = announce::build(&self.config.member, self.group(), &announcement);
                let trx = self.sign(env, TrxType::Announce, &item.encode_to_vec())?;
                let trx_id = self.accept(journal, trx, true, out)?;
                Ok(Reply::Announced { item: Box::new(item), trx_id })
            }
            Command::ChangeConsensus {
                producers,
                start_from_epoch,
                trx_epoch_tick,
                agreement_tick_length,
                agreement_tick_count,
            } => {
                let (Some(change), Some(chain)) = (&mut self.change, &self.chain) else {
                    return Err(CommandError::NotReady);
                };
                let ctx = Self::change_context(&self.config, chain);
                let (trx_id, req_id, step) = change.start(
                    env,
                    &ctx,
                    producers,
                    start_from_epoch,
                    trx_epoch_tick,
                    agreement_tick_length,
                    agreement_tick_count,
                )?;
                self.changed(env, step, out);
                Ok(Reply::ChangeStarted { trx_id, req_id })
            }
        }
    }

    /// Encrypts and signs a trx of this node's member; the result passes TRX-1.
    fn sign(&mut self, env: &mut Env, kind: TrxType, payload: &[u8]) -> Result<Trx, CommandError> {
        let data = self.encrypt(env, kind, payload)?;
        let (length, limit) = (data.len(), Limits::REFERENCE.data);
        if length > limit {
            return Err(CommandError::Invalid(TrxError::Oversize { length, limit }.to_string()));
        }
        let now = self.stamp(env.now);
        let id = TrxId(fresh_uuid(env));
        let expires = now.saturating_add(EXPIRY_NS);
        Ok(trx::build(&self.config.member, self.group(), kind, data, id, now, expires))
    }

    fn encrypt(
        &self,
        env: &mut Env,
        kind: TrxType,
        payload: &[u8],
    ) -> Result<Vec<u8>, CommandError> {
        let descriptor = &self.config.descriptor;
        if kind != TrxType::Post || descriptor.encryption == Encryption::Public {
            return Ok(trx::encrypt_payload(&descriptor.cipher_key, &mut env.rng, payload));
        }
        let own = self.config.encrypt.public();
        let mut readers: Vec<EncryptPublicKey> = vec![own];
        if let Some(chain) = &self.chain {
            let users = executor::users(&chain.state);
            readers.extend(
                users.filter_map(|user| user.encrypt_pubkey.parse::<EncryptPublicKey>().ok()),
            );
        }
        recipient::encrypt_to(&readers, payload)
            .map_err(|error| CommandError::Invalid(error.to_string()))
    }

    /// Signs an own trx again: same id and data, new times.
    pub(super) fn sign_again(&self, old: &Trx, now_ns: i64) -> CheckedTrx {
        let id = old.id().expect("an own trx has an id");
        let kind = old.trx_type().expect("an own trx has a type");
        let expires = now_ns.saturating_add(EXPIRY_NS);
        let data = old.data.clone();
        checked(trx::build(&self.config.member, self.group(), kind, data, id, now_ns, expires))
    }

    /// Accepts a trx of a client of this node: judged by the rules as they are now, noted, gossiped.
    /// A trx that is here already is accepted again. `signed`: this node made it, so it passes TRX-1.
    fn accept<J: Journal<Error: Display>>(
        &mut self,
        journal: &J,
        trx: Trx,
        signed: bool,
        out: &mut Out,
    ) -> Result<TrxId, CommandError> {
        let now = self.now;
        let chain = self.chain.as_ref().ok_or(CommandError::NotReady)?;
        let ground = Self::ground(&self.config, chain);
        let admitted = executor::admit(&ground, &trx, nanoseconds(now), signed)?;
        let id = admitted.id;
        if let executor::Payload::Consensus(_) = admitted.payload {
            let text = "CONSENSUS trxs are made by a change of the consensus";
            return Err(CommandError::Invalid(text.to_owned()));
        }
        let packaged = self
            .packaged(journal, &id, BlockId(u64::MAX))
            .map_err(|error| CommandError::Stalled(error.to_string()))?;
        if packaged {
            return Err(Refusal::Duplicate.into());
        }
        if let Some(known) = self.pool.get(&id)
            && known.trx.digest() != trx.digest()
        {
            return Err(CommandError::Invalid("another trx has this id".to_owned()));
        }
        let trx = checked(trx);
        let retry_ms = chain.view().interval_ms;
        let bytes = trx.bytes.clone();
        match self.pool.add_own(now, id, trx) {
            Err(_) => Err(CommandError::PoolFull { retry_ms }),
            Ok(added) => {
                if added == crate::pool::Added::New {
                    out.record(Self::note_trx(&id, bytes.clone()));
                    self.gossip.push(bytes);
                }
                Ok(id)
            }
        }
    }

    /// Orders the result of a change as a CONSENSUS trx of the owner. It was promised, so the pool's
    /// limits do not hold it up.
    pub(super) fn publish(
        &mut self,
        env: &mut Env,
        id: TrxId,
        bundle: &ChangeConsensusResultBundle,
        out: &mut Out,
    ) {
        let now = self.stamp(env.now);
        let Some(chain) = &self.chain else { return };
        let known = bundle
            .req
            .as_ref()
            .is_none_or(|req| executor::known_request(&chain.state, &req.req_id));
        if known || self.pool.is_own(&id) {
            return;
        }
        let descriptor = &self.config.descriptor;
        let payload = bundle.encode_to_vec();
        let data = trx::encrypt_payload(&descriptor.cipher_key, &mut env.rng, &payload);
        let expires = now.saturating_add(EXPIRY_NS);
        let kind = TrxType::Consensus;
        let trx = trx::build(&self.config.member, descriptor.id, kind, data, id, now, expires);
        let trx = checked(trx);
        out.record(Self::note_trx(&id, trx.bytes.clone()));
        self.pool.restore(env.now, id, trx);
    }

    /// A gossiped trx, whose signature was checked. Only producers keep it; what cannot be ordered
    /// is dropped.
    pub(super) fn gossiped<J: Journal>(&mut self, journal: &J, trx: CheckedTrx) {
        let (Some(_), Some(chain)) = (&self.producing, &self.chain) else { return };
        let Some((id, kind)) = trx.trx.id().zip(trx.trx.trx_type()) else { return };
        let Some(sender) = trx.trx.sender() else { return };
        if self.pool.has_bytes(&id, &trx.bytes) || trx.trx.is_expired(nanoseconds(self.now)) {
            return;
        }
        if executor::permit(&Self::ground(&self.config, chain), &sender, kind).is_err() {
            return;
        }
        if self.packaged(journal, &id, BlockId(u64::MAX)).unwrap_or(true) {
            return;
        }
        // A full pool drops it: its sender sends it again.
        let _ = self.pool.add_gossiped(self.now, id, trx);
    }

    /// A consensus-change message, whose frame's signature was checked.
    pub(super) fn member_frame(&mut self, env: &mut Env, frame: MemberFrame, out: &mut Out) {
        if frame.to != self.config.member.public() {
            return;
        }
        let (Some(change), Some(chain)) = (&mut self.change, &self.chain) else { return };
        let ctx = Self::change_context(&self.config, chain);
        let step = change.receive(env, &ctx, frame.from, Verified::assume(frame.message));
        self.changed(env, step, out);
    }
}
