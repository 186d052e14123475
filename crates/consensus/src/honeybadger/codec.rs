//! Bytes of the messages: the canonical encoding of [`quorate_ledger::codec`] (version byte, then
//! the fields in order), each union behind a byte that names its variant. A shard, path, share or
//! signature over its limit is refused before it is copied.

use std::sync::Arc;

use quorate_crypto::hash::Digest;
use quorate_crypto::threshold::{MAX_SHARE, NodeIndex};
use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer};
use quorate_ledger::ids::Epoch;

use super::message::{
    AgreementMessage, BroadcastMessage, EpochMessage, Fragment, HoneyBadgerMessage, ProofMessage,
    SlotMessage, Values,
};
use crate::core::Message;
use crate::limits::{MAX_COMMITTEE, MAX_PROPOSAL};

/// Longest shard: a whole proposal (a committee of one or two has no more than one data shard for
/// it) and the length in front of it.
const MAX_SHARD: usize = MAX_PROPOSAL + 8;

/// Longest Merkle path: enough for [`MAX_COMMITTEE`] members and an owner.
const MAX_PATH: usize = (MAX_COMMITTEE + 1).next_power_of_two().ilog2() as usize;

/// Room for everything around the shard.
const OVERHEAD: usize = 1_024;

fn write_index(writer: &mut Writer, index: NodeIndex) {
    writer.u16(index.0);
}

fn read_index(reader: &mut Reader<'_>) -> Result<NodeIndex, CodecError> {
    reader.u16().map(NodeIndex)
}

fn read_digest(reader: &mut Reader<'_>) -> Result<Digest, CodecError> {
    reader.array().map(Digest)
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, CodecError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Invalid("binary value")),
    }
}

fn read_signature(reader: &mut Reader<'_>) -> Result<Vec<u8>, CodecError> {
    reader.bytes("share or joint signature", MAX_SHARE).map(<[u8]>::to_vec)
}

impl Fragment {
    /// Writes root, path and shard.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.raw(&self.root.0);
        writer.list(&self.path, |writer, digest| writer.raw(&digest.0));
        writer.bytes(&self.shard);
    }

    /// Reads what [`Fragment::write`] wrote.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let root = read_digest(reader)?;
        let path = reader.list("path", MAX_PATH, read_digest)?;
        let shard = Arc::from(reader.bytes("shard", MAX_SHARD)?);
        Ok(Self { root, shard, path })
    }
}

fn write_broadcast(writer: &mut Writer, message: &BroadcastMessage) {
    match message {
        BroadcastMessage::Init(fragment) => {
            writer.u8(1);
            fragment.write(writer);
        }
        BroadcastMessage::Echo(fragment) => {
            writer.u8(2);
            fragment.write(writer);
        }
        BroadcastMessage::Ready(root) => {
            writer.u8(3);
            writer.raw(&root.0);
        }
    }
}

fn write_agreement(writer: &mut Writer, message: &AgreementMessage) {
    let mut head = |variant: u8, round: u64| {
        writer.u8(variant);
        writer.u64(round);
    };
    match message {
        AgreementMessage::BVal { round, value } => {
            head(4, *round);
            writer.u8(u8::from(*value));
        }
        AgreementMessage::Aux { round, value } => {
            head(5, *round);
            writer.u8(u8::from(*value));
        }
        AgreementMessage::Conf { round, values } => {
            head(6, *round);
            writer.u8(values.bits());
        }
        AgreementMessage::Share { round, share } => {
            head(7, *round);
            writer.bytes(share);
        }
        AgreementMessage::Coin { round, joint } => {
            head(8, *round);
            writer.bytes(joint);
        }
        AgreementMessage::Term { value, from } => {
            head(9, *from);
            writer.u8(u8::from(*value));
        }
    }
}

fn write_slot(writer: &mut Writer, message: &SlotMessage) {
    match message {
        SlotMessage::Broadcast(message) => write_broadcast(writer, message),
        SlotMessage::Agreement(message) => write_agreement(writer, message),
    }
}

fn read_slot(variant: u8, reader: &mut Reader<'_>) -> Result<SlotMessage, CodecError> {
    if let 1..=3 = variant {
        return Ok(SlotMessage::Broadcast(match variant {
            1 => BroadcastMessage::Init(Fragment::read(reader)?),
            2 => BroadcastMessage::Echo(Fragment::read(reader)?),
            _ => BroadcastMessage::Ready(read_digest(reader)?),
        }));
    }
    if !(4..=9).contains(&variant) {
        return Err(CodecError::Invalid("message variant"));
    }
    let round = reader.u64()?;
    Ok(SlotMessage::Agreement(match variant {
        4 => AgreementMessage::BVal { round, value: read_bool(reader)? },
        5 => AgreementMessage::Aux { round, value: read_bool(reader)? },
        6 => {
            let values =
                Values::from_bits(reader.u8()?).ok_or(CodecError::Invalid("set of values"))?;
            AgreementMessage::Conf { round, values }
        }
        7 => AgreementMessage::Share { round, share: read_signature(reader)? },
        8 => AgreementMessage::Coin { round, joint: read_signature(reader)? },
        _ => AgreementMessage::Term { value: read_bool(reader)?, from: round },
    }))
}

const SHARE: u8 = 10;
const KEY: u8 = 11;
const AGAIN: u8 = 12;

impl Canonical for HoneyBadgerMessage {
    const MAX_BYTES: usize = MAX_SHARD + OVERHEAD;

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.epoch.0);
        match &self.body {
            EpochMessage::Slot(proposer, message) => {
                write_index(writer, *proposer);
                write_slot(writer, message);
            }
            EpochMessage::Share(proposer, share) => {
                write_index(writer, *proposer);
                writer.u8(SHARE);
                writer.bytes(share);
            }
            EpochMessage::Key(proposer, joint) => {
                write_index(writer, *proposer);
                writer.u8(KEY);
                writer.bytes(joint);
            }
            EpochMessage::Again => {
                write_index(writer, NodeIndex(0));
                writer.u8(AGAIN);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let epoch = Epoch(reader.u64()?);
        let proposer = read_index(reader)?;
        let body = match reader.u8()? {
            SHARE => EpochMessage::Share(proposer, read_signature(reader)?),
            KEY => EpochMessage::Key(proposer, read_signature(reader)?),
            AGAIN if proposer == NodeIndex(0) => EpochMessage::Again,
            variant => EpochMessage::Slot(proposer, read_slot(variant, reader)?),
        };
        Ok(Self { epoch, body })
    }
}

impl Canonical for ProofMessage {
    const MAX_BYTES: usize = MAX_SHARD + OVERHEAD;

    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.instance.0);
        write_index(writer, self.proposer);
        write_slot(writer, &self.body);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let instance = read_digest(reader)?;
        let proposer = read_index(reader)?;
        let variant = reader.u8()?;
        Ok(Self { instance, proposer, body: read_slot(variant, reader)? })
    }
}

impl Message for HoneyBadgerMessage {
    fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes).ok()
    }
}

impl Message for ProofMessage {
    fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes).ok()
    }
}
