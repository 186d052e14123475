//! Encodings of packets.

use std::sync::Arc;

use quorate_consensus::limits::MAX_RAFT_MEMBERS;
use quorate_consensus::raft::{RaftMessage, Seqno};
use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer};
use quorate_ledger::state::{MAX_KEY, MAX_MAP_NAME, MAX_VALUE, Value};

use super::{Forwarded, Introduction, JoinAnswer, JoinRequest, Packet};
use crate::cft::api::{
    Code, Command, Consistency, Error, MemberChange, NodeId, Op, OpResult, PeerRef, Reply, TxId,
    TxStatus, Wait,
};
use crate::cft::limits::{
    MAX_FORWARDS, MAX_IDEMPOTENCY_KEY, MAX_JOIN_FIELD, MAX_OPS, MAX_PACKET_MESSAGES, MAX_RANGE,
    SNAPSHOT_PART,
};

const MAX_PEER: usize = 256;
const MAX_MESSAGE: usize = 4_096;

fn tag<T>(what: &'static str) -> Result<T, CodecError> {
    Err(CodecError::Invalid(what))
}

fn write_node(writer: &mut Writer, node: &NodeId) {
    writer.raw(&node.0);
}

fn read_node(reader: &mut Reader<'_>) -> Result<NodeId, CodecError> {
    reader.array().map(NodeId)
}

fn write_tx(writer: &mut Writer, tx: TxId) {
    writer.u64(tx.view);
    writer.u64(tx.seqno);
}

fn read_tx(reader: &mut Reader<'_>) -> Result<TxId, CodecError> {
    Ok(TxId { view: reader.u64()?, seqno: reader.u64()? })
}

fn write_bool(writer: &mut Writer, value: bool) {
    writer.u8(u8::from(value));
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, CodecError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => tag("yes or no"),
    }
}

fn write_option<T>(writer: &mut Writer, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
    write_bool(writer, value.is_some());
    if let Some(value) = value {
        write(writer, value);
    }
}

fn read_option<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<Option<T>, CodecError> {
    if read_bool(reader)? { read(reader).map(Some) } else { Ok(None) }
}

fn write_value(writer: &mut Writer, value: &Value) {
    writer.bytes(value);
}

fn read_value(reader: &mut Reader<'_>) -> Result<Value, CodecError> {
    Ok(reader.bytes("value", MAX_VALUE)?.into())
}

fn read_key(reader: &mut Reader<'_>) -> Result<Vec<u8>, CodecError> {
    Ok(reader.bytes("key", MAX_KEY)?.to_vec())
}

fn read_map(reader: &mut Reader<'_>) -> Result<Arc<str>, CodecError> {
    Ok(reader.text("map name", MAX_MAP_NAME)?.into())
}

fn write_op(writer: &mut Writer, op: &Op) {
    match op {
        Op::Get { map, key } => {
            writer.u8(0);
            writer.bytes(map.as_bytes());
            writer.bytes(key);
        }
        Op::Range { map, from, to, limit } => {
            writer.u8(1);
            writer.bytes(map.as_bytes());
            writer.bytes(from);
            write_option(writer, to.as_ref(), |writer, to| writer.bytes(to));
            writer.u32(*limit);
        }
        Op::Put { map, key, value } => {
            writer.u8(2);
            writer.bytes(map.as_bytes());
            writer.bytes(key);
            writer.bytes(value);
        }
        Op::Delete { map, key } => {
            writer.u8(3);
            writer.bytes(map.as_bytes());
            writer.bytes(key);
        }
        Op::CompareAndSet { map, key, expected, value } => {
            writer.u8(4);
            writer.bytes(map.as_bytes());
            writer.bytes(key);
            write_option(writer, expected.as_ref(), write_value);
            write_option(writer, value.as_ref(), write_value);
        }
    }
}

fn read_op(reader: &mut Reader<'_>) -> Result<Op, CodecError> {
    let kind = reader.u8()?;
    let (map, key) = (read_map(reader)?, read_key(reader)?);
    Ok(match kind {
        0 => Op::Get { map, key },
        1 => {
            let to = read_option(reader, read_key)?;
            Op::Range { map, from: key, to, limit: reader.u32()? }
        }
        2 => Op::Put { map, key, value: read_value(reader)? },
        3 => Op::Delete { map, key },
        4 => {
            let expected = read_option(reader, read_value)?;
            Op::CompareAndSet { map, key, expected, value: read_option(reader, read_value)? }
        }
        _ => return tag("operation"),
    })
}

/// Operations as they are compared under one idempotency key.
pub(in crate::cft) fn write_ops(writer: &mut Writer, ops: &[Op]) {
    writer.list(ops, write_op);
}

fn read_ops(reader: &mut Reader<'_>) -> Result<Vec<Op>, CodecError> {
    reader.list("operations", MAX_OPS, read_op)
}

fn write_results(writer: &mut Writer, results: &[OpResult]) {
    writer.list(results, |writer, result| match result {
        OpResult::Value(value) => {
            writer.u8(0);
            write_option(writer, value.as_ref(), write_value);
        }
        OpResult::Range(rows, more) => {
            writer.u8(1);
            writer.list(rows, |writer, (key, value)| {
                writer.bytes(key);
                writer.bytes(value);
            });
            write_bool(writer, *more);
        }
        OpResult::Done => writer.u8(2),
    });
}

fn read_results(reader: &mut Reader<'_>) -> Result<Vec<OpResult>, CodecError> {
    reader.list("results", MAX_OPS, |reader| {
        Ok(match reader.u8()? {
            0 => OpResult::Value(read_option(reader, read_value)?),
            1 => {
                let rows = reader.list("rows", MAX_RANGE, |reader| {
                    Ok((read_key(reader)?, read_value(reader)?))
                })?;
                OpResult::Range(rows, read_bool(reader)?)
            }
            2 => OpResult::Done,
            _ => return tag("result"),
        })
    })
}

fn write_nodes(writer: &mut Writer, nodes: &[NodeId]) {
    writer.list(nodes, write_node);
}

fn read_nodes(reader: &mut Reader<'_>) -> Result<Vec<NodeId>, CodecError> {
    reader.list("nodes", MAX_RAFT_MEMBERS, read_node)
}

fn write_change(writer: &mut Writer, change: &MemberChange) {
    match change {
        MemberChange::Add(node) => {
            writer.u8(0);
            write_node(writer, node);
        }
        MemberChange::Remove(node) => {
            writer.u8(1);
            write_node(writer, node);
        }
        MemberChange::Replace { joins, leaves } => {
            writer.u8(2);
            write_nodes(writer, joins);
            write_nodes(writer, leaves);
        }
        MemberChange::Abort => writer.u8(3),
        MemberChange::Forget(node) => {
            writer.u8(4);
            write_node(writer, node);
        }
    }
}

fn read_change(reader: &mut Reader<'_>) -> Result<MemberChange, CodecError> {
    Ok(match reader.u8()? {
        0 => MemberChange::Add(read_node(reader)?),
        1 => MemberChange::Remove(read_node(reader)?),
        2 => MemberChange::Replace { joins: read_nodes(reader)?, leaves: read_nodes(reader)? },
        3 => MemberChange::Abort,
        4 => MemberChange::Forget(read_node(reader)?),
        _ => return tag("member change"),
    })
}

fn write_command(writer: &mut Writer, command: &Command) {
    let write_session = |writer: &mut Writer, session: &Option<TxId>| {
        write_option(writer, session.as_ref(), |writer, tx| write_tx(writer, *tx));
    };
    match command {
        Command::Write { ops, idempotency, wait, session } => {
            writer.u8(0);
            write_ops(writer, ops);
            write_option(writer, idempotency.as_ref(), |writer, key| writer.bytes(key));
            match wait {
                Wait::Response => writer.u8(0),
                Wait::Committed { timeout_ms } => {
                    writer.u8(1);
                    writer.u64(*timeout_ms);
                }
            }
            write_session(writer, session);
        }
        Command::Read { ops, consistency, session } => {
            writer.u8(1);
            write_ops(writer, ops);
            writer.u8(match consistency {
                Consistency::Linearizable => 0,
                Consistency::Committed => 1,
                Consistency::Local => 2,
            });
            write_session(writer, session);
        }
        Command::Await { tx, timeout_ms } => {
            writer.u8(2);
            write_tx(writer, *tx);
            writer.u64(*timeout_ms);
        }
        Command::Member(change) => {
            writer.u8(3);
            write_change(writer, change);
        }
        Command::Nominate => writer.u8(4),
    }
}

fn read_command(reader: &mut Reader<'_>) -> Result<Command, CodecError> {
    Ok(match reader.u8()? {
        0 => {
            let ops = read_ops(reader)?;
            let idempotency = read_option(reader, |reader| {
                Ok(reader.bytes("idempotency key", MAX_IDEMPOTENCY_KEY)?.to_vec())
            })?;
            let wait = match reader.u8()? {
                0 => Wait::Response,
                1 => Wait::Committed { timeout_ms: reader.u64()? },
                _ => return tag("wait"),
            };
            Command::Write { ops, idempotency, wait, session: read_option(reader, read_tx)? }
        }
        1 => {
            let ops = read_ops(reader)?;
            let consistency = match reader.u8()? {
                0 => Consistency::Linearizable,
                1 => Consistency::Committed,
                2 => Consistency::Local,
                _ => return tag("consistency"),
            };
            Command::Read { ops, consistency, session: read_option(reader, read_tx)? }
        }
        2 => Command::Await { tx: read_tx(reader)?, timeout_ms: reader.u64()? },
        3 => Command::Member(read_change(reader)?),
        4 => Command::Nominate,
        _ => return tag("command"),
    })
}

fn write_status(writer: &mut Writer, status: TxStatus) {
    writer.u8(match status {
        TxStatus::Unknown => 0,
        TxStatus::Pending => 1,
        TxStatus::Committed => 2,
        TxStatus::Invalid => 3,
    });
}

fn read_status(reader: &mut Reader<'_>) -> Result<TxStatus, CodecError> {
    Ok(match reader.u8()? {
        0 => TxStatus::Unknown,
        1 => TxStatus::Pending,
        2 => TxStatus::Committed,
        3 => TxStatus::Invalid,
        _ => return tag("status"),
    })
}

fn write_error(writer: &mut Writer, error: &Error) {
    writer.bytes(error.code.name().as_bytes());
    let mut end = error.message.len().min(MAX_MESSAGE);
    while !error.message.is_char_boundary(end) {
        end -= 1;
    }
    writer.bytes(&error.message.as_bytes()[..end]);
}

fn read_error(reader: &mut Reader<'_>) -> Result<Error, CodecError> {
    let name = reader.text("code", 64)?;
    let code = Code::ALL.into_iter().find(|code| code.name() == name);
    let code = code.ok_or(CodecError::Invalid("code"))?;
    Ok(Error::new(code, reader.text("message", MAX_MESSAGE)?))
}

fn write_forwarded(writer: &mut Writer, (id, result): &Forwarded) {
    writer.u64(*id);
    match result {
        Ok(Reply::Written { tx, status, results, repeated }) => {
            writer.u8(0);
            write_tx(writer, *tx);
            write_status(writer, *status);
            write_results(writer, results);
            write_bool(writer, *repeated);
        }
        Ok(Reply::Read { tx, results }) => {
            writer.u8(1);
            write_tx(writer, *tx);
            write_results(writer, results);
        }
        Ok(Reply::Status { tx, status }) => {
            writer.u8(2);
            write_tx(writer, *tx);
            write_status(writer, *status);
        }
        Ok(Reply::Nominated) => writer.u8(3),
        Err(error) => {
            writer.u8(4);
            write_error(writer, error);
        }
    }
}

fn read_forwarded(reader: &mut Reader<'_>) -> Result<Forwarded, CodecError> {
    let id = reader.u64()?;
    let result = match reader.u8()? {
        0 => Ok(Reply::Written {
            tx: read_tx(reader)?,
            status: read_status(reader)?,
            results: read_results(reader)?,
            repeated: read_bool(reader)?,
        }),
        1 => Ok(Reply::Read { tx: read_tx(reader)?, results: read_results(reader)? }),
        2 => Ok(Reply::Status { tx: read_tx(reader)?, status: read_status(reader)? }),
        3 => Ok(Reply::Nominated),
        4 => Err(read_error(reader)?),
        _ => return tag("answer"),
    };
    Ok((id, result))
}

fn write_peer(writer: &mut Writer, peer: &PeerRef) {
    writer.bytes(&peer.0);
}

fn read_peer(reader: &mut Reader<'_>) -> Result<PeerRef, CodecError> {
    Ok(PeerRef(reader.bytes("peer", MAX_PEER)?.into()))
}

fn write_join(writer: &mut Writer, request: &JoinRequest) {
    writer.bytes(&request.public_key);
    write_peer(writer, &request.peer);
    writer.bytes(request.rpc_address.as_bytes());
    writer.bytes(request.encryption_key.as_bytes());
    writer.u64(request.startup_seqno);
    writer.bytes(&request.proof);
}

fn read_join(reader: &mut Reader<'_>) -> Result<Box<JoinRequest>, CodecError> {
    Ok(Box::new(JoinRequest {
        public_key: reader.bytes("public key", MAX_JOIN_FIELD)?.to_vec(),
        peer: read_peer(reader)?,
        rpc_address: reader.text("address", MAX_JOIN_FIELD)?,
        encryption_key: reader.text("encryption key", MAX_JOIN_FIELD)?,
        startup_seqno: reader.u64()?,
        proof: reader.bytes("proof", MAX_JOIN_FIELD)?.to_vec(),
    }))
}

fn write_join_answer(writer: &mut Writer, answer: &JoinAnswer) {
    match answer {
        JoinAnswer::Pending => writer.u8(0),
        JoinAnswer::Refused(error) => {
            writer.u8(1);
            write_error(writer, error);
        }
        JoinAnswer::Admitted { node_certificate, service_certificate, sealed, nodes, snapshot } => {
            writer.u8(2);
            writer.bytes(node_certificate.as_bytes());
            writer.bytes(service_certificate.as_bytes());
            writer.bytes(sealed);
            writer.list(nodes, |writer, (node, peer)| {
                write_node(writer, node);
                write_peer(writer, peer);
            });
            writer.u64(*snapshot);
        }
    }
}

fn read_join_answer(reader: &mut Reader<'_>) -> Result<Box<JoinAnswer>, CodecError> {
    Ok(Box::new(match reader.u8()? {
        0 => JoinAnswer::Pending,
        1 => JoinAnswer::Refused(read_error(reader)?),
        2 => JoinAnswer::Admitted {
            node_certificate: reader.text("certificate", MAX_JOIN_FIELD)?,
            service_certificate: reader.text("certificate", MAX_JOIN_FIELD)?,
            sealed: reader.bytes("secrets", 4 * MAX_JOIN_FIELD)?.to_vec(),
            nodes: reader.list("nodes", 4 * MAX_RAFT_MEMBERS, |reader| {
                Ok((read_node(reader)?, read_peer(reader)?))
            })?,
            snapshot: reader.u64()?,
        },
        _ => return tag("answer to a joiner"),
    }))
}

fn write_part(writer: &mut Writer, numbers: [u64; 4], bytes: &[u8]) {
    numbers.into_iter().for_each(|number| writer.u64(number));
    writer.bytes(bytes);
}

pub(super) fn write_packet(writer: &mut Writer, packet: &Packet) {
    match packet {
        Packet::Raft { from, to, messages } => {
            writer.u8(0);
            write_node(writer, from);
            write_node(writer, to);
            writer.list(messages, |writer, message| message.write(writer));
        }
        Packet::Forward(commands) => {
            writer.u8(1);
            writer.list(commands, |writer, (id, command)| {
                writer.u64(*id);
                write_command(writer, command);
            });
        }
        Packet::Forwarded(answers) => {
            writer.u8(2);
            writer.list(answers, write_forwarded);
        }
        Packet::Decided(decided) => {
            writer.u8(3);
            writer.list(decided, |writer, (id, tx, status)| {
                writer.u64(*id);
                write_tx(writer, *tx);
                write_status(writer, *status);
            });
        }
        Packet::Join(request) => {
            writer.u8(4);
            write_join(writer, request);
        }
        Packet::JoinAnswer(answer) => {
            writer.u8(5);
            write_join_answer(writer, answer);
        }
        Packet::RelayJoin(peer, request) => {
            writer.u8(6);
            write_peer(writer, peer);
            write_join(writer, request);
        }
        Packet::RelayJoinAnswer(peer, answer) => {
            writer.u8(7);
            write_peer(writer, peer);
            write_join_answer(writer, answer);
        }
        Packet::FetchSnapshot { seqno, offset } => {
            writer.u8(8);
            writer.u64(*seqno);
            writer.u64(*offset);
        }
        Packet::SnapshotPart { seqno, evidence, offset, total, bytes } => {
            writer.u8(9);
            write_part(writer, [*seqno, *evidence, *offset, *total], bytes);
        }
        Packet::Introduction(introduction) => {
            writer.u8(10);
            writer.bytes(&introduction.public_key);
            writer.bytes(introduction.certificate.as_bytes());
            writer.bytes(&introduction.proof);
        }
        Packet::OfferSnapshot(tx) => {
            writer.u8(11);
            write_tx(writer, *tx);
        }
    }
}

pub(super) fn read_packet(reader: &mut Reader<'_>) -> Result<Packet, CodecError> {
    Ok(match reader.u8()? {
        0 => Packet::Raft {
            from: read_node(reader)?,
            to: read_node(reader)?,
            messages: reader.list("messages", MAX_PACKET_MESSAGES, RaftMessage::read)?,
        },
        1 => {
            Packet::Forward(reader.list("commands", MAX_FORWARDS, |reader| {
                Ok((reader.u64()?, read_command(reader)?))
            })?)
        }
        2 => Packet::Forwarded(reader.list("answers", MAX_FORWARDS, read_forwarded)?),
        3 => Packet::Decided(reader.list("decisions", MAX_FORWARDS, |reader| {
            Ok((reader.u64()?, read_tx(reader)?, read_status(reader)?))
        })?),
        4 => Packet::Join(read_join(reader)?),
        5 => Packet::JoinAnswer(read_join_answer(reader)?),
        6 => Packet::RelayJoin(read_peer(reader)?, read_join(reader)?),
        7 => Packet::RelayJoinAnswer(read_peer(reader)?, read_join_answer(reader)?),
        8 => Packet::FetchSnapshot { seqno: reader.u64()?, offset: reader.u64()? },
        9 => {
            let seqno: Seqno = reader.u64()?;
            let (evidence, offset, total) = (reader.u64()?, reader.u64()?, reader.u64()?);
            let bytes = reader.bytes("part", SNAPSHOT_PART)?.to_vec();
            Packet::SnapshotPart { seqno, evidence, offset, total, bytes }
        }
        10 => Packet::Introduction(Box::new(Introduction {
            public_key: reader.bytes("public key", MAX_JOIN_FIELD)?.to_vec(),
            certificate: reader.text("certificate", MAX_JOIN_FIELD)?,
            proof: reader.bytes("proof", MAX_JOIN_FIELD)?.to_vec(),
        })),
        11 => Packet::OfferSnapshot(read_tx(reader)?),
        _ => return tag("packet"),
    })
}
