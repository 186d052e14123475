//! Receipts: made from the entry and the first signature after it, both read back from the log.

use std::fmt::Display;
use std::sync::Arc;

use quorate_consensus::raft::Seqno;
use quorate_ledger::ccf::receipt::{Covering, MAX_ENDORSEMENTS};
use quorate_ledger::ccf::signature::is_signature;
use quorate_ledger::ccf::{Transaction, TxId};

use super::CftDriver;
use crate::cft::api::{Code, Error, TxStatus};
use crate::cft::keys::Keys;
use crate::cft::limits::{RECEIPT_BYTES, RECEIPT_ENTRIES};
use crate::cft::log::Log;
use crate::cft::member::Member;

fn internal(what: impl Display) -> Error {
    Error::new(Code::InternalError, what.to_string())
}

impl<K: Keys, L: Log> CftDriver<K, L>
where
    L::Error: Display,
{
    /// `GET /node/receipt`: JSON. A receipt never changes.
    pub(super) fn receipt(&self, member: &Member<K>, tx: TxId) -> Result<String, Error> {
        let entry = self.committed_entry(member, tx)?;
        let (covering, own) = self.covering(member, tx.seqno, &entry)?;
        let receipt = if own {
            covering.own_receipt()
        } else {
            covering.receipt(&entry, member.chain().secret())
        };
        let mut receipt = receipt.map_err(internal)?;
        let endorsements = member.endorsements_since(covering.signature.id.seqno);
        if endorsements.len() > MAX_ENDORSEMENTS {
            return Err(internal("the service was recovered too often since"));
        }
        if !endorsements.is_empty() {
            receipt.service_endorsements = Some(endorsements);
        }
        String::from_utf8(receipt.to_json()).map_err(internal)
    }

    /// `GET /node/receipt/cose`.
    pub(super) fn cose_receipt(&self, member: &Member<K>, tx: TxId) -> Result<Vec<u8>, Error> {
        let entry = self.committed_entry(member, tx)?;
        let (covering, own) = self.covering(member, tx.seqno, &entry)?;
        if own {
            let message = "a signature transaction has no COSE receipt: it is one";
            return Err(Error::new(Code::ResourceNotFound, message));
        }
        covering.cose(&entry, member.chain().secret()).map_err(internal)
    }

    fn committed_entry(&self, member: &Member<K>, tx: TxId) -> Result<Arc<[u8]>, Error> {
        match member.status(tx) {
            TxStatus::Committed => {}
            TxStatus::Invalid => {
                let message = format!("transaction {tx} is invalid");
                return Err(Error::new(Code::TransactionInvalid, message));
            }
            TxStatus::Pending | TxStatus::Unknown => {
                let message = format!("transaction {tx} is not committed here");
                return Err(Error::new(Code::TransactionPendingOrUnknown, message));
            }
        }
        self.entry(member, tx.seqno)
    }

    /// The signature that covers an entry, and whether that is the entry itself.
    fn covering(
        &self,
        member: &Member<K>,
        seqno: Seqno,
        entry: &[u8],
    ) -> Result<(Covering, bool), Error> {
        let own = Transaction::decode_public(entry).map_err(internal)?;
        if is_signature(&own.writes) {
            return Ok((Covering::new(&own).map_err(internal)?, true));
        }
        let last = member.raft_state().commit_idx().min(seqno + RECEIPT_ENTRIES);
        let mut next = seqno + 1;
        while next <= last {
            let read = self.log.entries(next, last, RECEIPT_BYTES).map_err(internal)?;
            if read.is_empty() {
                break;
            }
            for bytes in &read {
                let transaction = Transaction::decode_public(bytes).map_err(internal)?;
                if is_signature(&transaction.writes) {
                    return Ok((Covering::new(&transaction).map_err(internal)?, false));
                }
            }
            next += read.len() as u64;
        }
        Err(internal(format!("no signature after entry {seqno} could be read")))
    }
}
