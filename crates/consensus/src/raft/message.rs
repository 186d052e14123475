//! What nodes say to each other, and the entries of the log. The meaning of each message is in the
//! protocol text of [`crate::raft`].
//!
//! Bytes: the canonical encoding of [`quorate_ledger::codec`] (version byte, then the tag of the
//! message, then its fields in order). Whatever is over a limit of [`crate::limits`] does not
//! decode.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer};

use super::{Seqno, View};
use crate::core::Message;
use crate::limits::{
    MAX_RAFT_APPEND, MAX_RAFT_APPEND_ENTRIES, MAX_RAFT_ENTRY, MAX_RAFT_MEMBERS, MAX_RAFT_SEQNO,
    MAX_RAFT_VIEW,
};

/// Who a node is: the SHA-256 digest of its public key. Nodes are ordered by these bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// A node that is called by a name instead, as scenarios and tests do: the bytes of the name,
    /// filled up with zeros, so that ids are in the order of their names. `None` if the name is
    /// empty, longer than 32 bytes or has a zero byte.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        if name.is_empty() || name.len() > 32 || name.contains(&0) {
            return None;
        }
        let mut bytes = [0; 32];
        bytes[..name.len()].copy_from_slice(name);
        Some(Self(bytes))
    }

    /// The name given to [`NodeId::named`], if these bytes can be one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(32);
        let (name, rest) = self.0.split_at(end);
        let text = std::str::from_utf8(name).ok()?;
        (!text.is_empty() && rest.iter().all(|b| *b == 0)).then_some(text)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            return f.write_str(name);
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry means to the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing: a transaction of the application.
    Raw,
    /// A signature over everything before it: the only kind that can be committed.
    Signature,
    /// From here on these nodes form the newest configuration.
    Configuration(BTreeSet<NodeId>),
    /// The retirement of these nodes is committed, says the leader; in the order it names them.
    Retired(Vec<NodeId>),
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The view it was created in.
    pub view: View,
    /// Its position; the first is 1.
    pub seqno: Seqno,
    /// What it means to the protocol.
    pub kind: Kind,
    /// Its bytes in the ledger: opaque here.
    pub bytes: Arc<[u8]>,
}

impl Entry {
    /// Room it takes in a message, at most.
    fn weight(&self) -> usize {
        let nodes = match &self.kind {
            Kind::Raw | Kind::Signature => 0,
            Kind::Configuration(nodes) => nodes.len(),
            Kind::Retired(nodes) => nodes.len(),
        };
        self.bytes.len() + nodes * 32 + OVERHEAD
    }
}

/// Room for the numbers and counts of an entry or message.
const OVERHEAD: usize = 64;

/// The leader extends a follower's log, or only says that it is there.
///
/// A core sends the header alone. Whoever releases it puts the entries in from the sender's log
/// ([`AppendEntries::fill`]), since only the driver has the log's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendEntries {
    /// Last entry of the message; `prev_idx` if it has none.
    pub idx: Seqno,
    /// The entry before the first one of the message.
    pub prev_idx: Seqno,
    /// View of the leader.
    pub term: View,
    /// View of the entry at `prev_idx`.
    pub prev_term: View,
    /// What the leader has committed.
    pub leader_commit_idx: Seqno,
    /// View of the entry at `idx`, and so of all entries of the message.
    pub term_of_idx: View,
    /// Number of the leader's heartbeat round; the answer repeats it.
    pub round: u64,
    /// The entries `prev_idx + 1..=idx`, all of one view.
    pub entries: Vec<Entry>,
}

impl AppendEntries {
    /// Puts the entries `prev_idx + 1..=idx` in, which `entries` gives in order from
    /// `prev_idx + 1`. If they are too large for one message it ends earlier; the rest is asked for
    /// by the receiver. False if the log has become shorter than the message: it must not be sent.
    #[must_use]
    pub fn fill(&mut self, entries: impl IntoIterator<Item = Entry>) -> bool {
        let wanted = usize::try_from(self.idx.saturating_sub(self.prev_idx)).unwrap_or(usize::MAX);
        let mut room = MAX_RAFT_APPEND;
        self.entries.clear();
        for entry in entries.into_iter().take(wanted) {
            let weight = entry.weight();
            if !self.entries.is_empty()
                && (weight > room || self.entries.len() == MAX_RAFT_APPEND_ENTRIES)
            {
                self.idx = self.prev_idx + self.entries.len() as u64;
                return true;
            }
            room = room.saturating_sub(weight);
            self.entries.push(entry);
        }
        self.entries.len() == wanted
    }

    /// Whether numbers and entries fit each other.
    pub(super) fn is_consistent(&self) -> bool {
        let length = self.idx.checked_sub(self.prev_idx);
        length == Some(self.entries.len() as u64)
    }
}

/// A follower's answer to [`AppendEntries`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendEntriesResponse {
    /// ACK and plain NACK: view of the follower. Mismatch NACK: view of the entry at
    /// `last_log_idx`.
    pub term: View,
    /// ACK: last entry of the message. Plain NACK: last entry of the follower. Mismatch NACK:
    /// highest entry that may be the leader's.
    pub last_log_idx: Seqno,
    /// ACK (true) or NACK (false).
    pub success: bool,
    /// The message's heartbeat round.
    pub round: u64,
}

/// A candidate asks for a vote, or whether it would get it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteRequest {
    /// View of the candidate.
    pub term: View,
    /// Its last committable index.
    pub last_committable_idx: Seqno,
    /// View of the entry there.
    pub term_of_last_committable_idx: View,
}

/// The answer to a [`VoteRequest`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteResponse {
    /// View of the voter.
    pub term: View,
    /// Whether the candidate has (or would get) the vote.
    pub granted: bool,
}

/// A message of signed Raft.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RaftMessage {
    /// The leader extends the receiver's log.
    AppendEntries(AppendEntries),
    /// The answer to it.
    AppendEntriesResponse(AppendEntriesResponse),
    /// A candidate asks for a vote.
    RequestVote(VoteRequest),
    /// The answer to it.
    RequestVoteResponse(VoteResponse),
    /// The leader of this view asks the receiver to run for election at once.
    ProposeRequestVote(View),
    /// A node asks whether it would get a vote.
    RequestPreVote(VoteRequest),
    /// The answer to it.
    RequestPreVoteResponse(VoteResponse),
}

impl fmt::Display for RaftMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ask = |f: &mut fmt::Formatter<'_>, name: &str, m: &VoteRequest| {
            let (view, seqno) = (m.term_of_last_committable_idx, m.last_committable_idx);
            write!(f, "{name} in {} at {view}.{seqno}", m.term)
        };
        let answer = |f: &mut fmt::Formatter<'_>, name: &str, m: &VoteResponse| {
            write!(f, "{name} in {}: {}", m.term, if m.granted { "yes" } else { "no" })
        };
        match self {
            Self::AppendEntries(m) => write!(
                f,
                "append ({}.{}, {}.{}] in {}, commit {}",
                m.prev_term, m.prev_idx, m.term_of_idx, m.idx, m.term, m.leader_commit_idx
            ),
            Self::AppendEntriesResponse(m) => {
                let verdict = if m.success { "ACK" } else { "NACK" };
                write!(f, "append {verdict} {}.{}", m.term, m.last_log_idx)
            }
            Self::RequestVote(m) => ask(f, "request vote", m),
            Self::RequestVoteResponse(m) => answer(f, "vote", m),
            Self::ProposeRequestVote(term) => write!(f, "propose request vote in {term}"),
            Self::RequestPreVote(m) => ask(f, "request pre-vote", m),
            Self::RequestPreVoteResponse(m) => answer(f, "pre-vote", m),
        }
    }
}

const APPEND: u8 = 0;
const APPEND_RESPONSE: u8 = 1;
const VOTE: u8 = 3;
const VOTE_RESPONSE: u8 = 4;
const PROPOSE_VOTE: u8 = 5;
const PRE_VOTE: u8 = 6;
const PRE_VOTE_RESPONSE: u8 = 7;

const RAW: u8 = 0;
const SIGNATURE: u8 = 1;
const CONFIGURATION: u8 = 2;
const RETIRED: u8 = 3;

fn read_view(reader: &mut Reader<'_>) -> Result<View, CodecError> {
    let view = reader.u64()?;
    if view > MAX_RAFT_VIEW { Err(CodecError::Invalid("view")) } else { Ok(view) }
}

fn read_seqno(reader: &mut Reader<'_>) -> Result<Seqno, CodecError> {
    let seqno = reader.u64()?;
    if seqno > MAX_RAFT_SEQNO { Err(CodecError::Invalid("sequence number")) } else { Ok(seqno) }
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, CodecError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Invalid("yes or no")),
    }
}

fn write_nodes<'a>(writer: &mut Writer, nodes: impl ExactSizeIterator<Item = &'a NodeId>) {
    writer.count(nodes.len());
    nodes.for_each(|node| writer.raw(&node.0));
}

fn read_nodes(reader: &mut Reader<'_>) -> Result<Vec<NodeId>, CodecError> {
    reader.list("nodes", MAX_RAFT_MEMBERS, |reader| reader.array().map(NodeId))
}

impl Canonical for Kind {
    const MAX_BYTES: usize = MAX_RAFT_MEMBERS * 32 + OVERHEAD;

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Raw => writer.u8(RAW),
            Self::Signature => writer.u8(SIGNATURE),
            Self::Configuration(nodes) => {
                writer.u8(CONFIGURATION);
                write_nodes(writer, nodes.iter());
            }
            Self::Retired(nodes) => {
                writer.u8(RETIRED);
                write_nodes(writer, nodes.iter());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        match reader.u8()? {
            RAW => Ok(Self::Raw),
            SIGNATURE => Ok(Self::Signature),
            CONFIGURATION => {
                let nodes = read_nodes(reader)?;
                if !nodes.is_sorted_by(|a, b| a < b) {
                    return Err(CodecError::Invalid("order of nodes"));
                }
                Ok(Self::Configuration(nodes.into_iter().collect()))
            }
            RETIRED => read_nodes(reader).map(Self::Retired),
            _ => Err(CodecError::Invalid("kind of entry")),
        }
    }
}

impl Canonical for Entry {
    const MAX_BYTES: usize = MAX_RAFT_ENTRY + Kind::MAX_BYTES + OVERHEAD;

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.view);
        writer.u64(self.seqno);
        self.kind.write(writer);
        writer.bytes(&self.bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let view = read_view(reader)?;
        let seqno = read_seqno(reader)?;
        let kind = Kind::read(reader)?;
        let bytes = Arc::from(reader.bytes("entry", MAX_RAFT_ENTRY)?);
        Ok(Self { view, seqno, kind, bytes })
    }
}

fn write_request(writer: &mut Writer, tag: u8, message: &VoteRequest) {
    writer.u8(tag);
    writer.u64(message.term);
    writer.u64(message.last_committable_idx);
    writer.u64(message.term_of_last_committable_idx);
}

fn read_request(reader: &mut Reader<'_>) -> Result<VoteRequest, CodecError> {
    let term = read_view(reader)?;
    let last_committable_idx = read_seqno(reader)?;
    let term_of_last_committable_idx = read_view(reader)?;
    Ok(VoteRequest { term, last_committable_idx, term_of_last_committable_idx })
}

fn write_answer(writer: &mut Writer, tag: u8, message: VoteResponse) {
    writer.u8(tag);
    writer.u64(message.term);
    writer.u8(u8::from(message.granted));
}

fn read_answer(reader: &mut Reader<'_>) -> Result<VoteResponse, CodecError> {
    Ok(VoteResponse { term: read_view(reader)?, granted: read_bool(reader)? })
}

fn read_append(reader: &mut Reader<'_>) -> Result<AppendEntries, CodecError> {
    let message = AppendEntries {
        idx: read_seqno(reader)?,
        prev_idx: read_seqno(reader)?,
        term: read_view(reader)?,
        prev_term: read_view(reader)?,
        leader_commit_idx: read_seqno(reader)?,
        term_of_idx: read_view(reader)?,
        round: reader.u64()?,
        entries: reader.list("entries", MAX_RAFT_APPEND_ENTRIES, Entry::read)?,
    };
    if message.is_consistent() { Ok(message) } else { Err(CodecError::Invalid("range of entries")) }
}

impl Canonical for RaftMessage {
    const MAX_BYTES: usize = MAX_RAFT_APPEND + Entry::MAX_BYTES + OVERHEAD;

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::AppendEntries(message) => {
                writer.u8(APPEND);
                writer.u64(message.idx);
                writer.u64(message.prev_idx);
                writer.u64(message.term);
                writer.u64(message.prev_term);
                writer.u64(message.leader_commit_idx);
                writer.u64(message.term_of_idx);
                writer.u64(message.round);
                writer.list(&message.entries, |writer, entry| entry.write(writer));
            }
            Self::AppendEntriesResponse(message) => {
                writer.u8(APPEND_RESPONSE);
                writer.u64(message.term);
                writer.u64(message.last_log_idx);
                writer.u8(u8::from(message.success));
                writer.u64(message.round);
            }
            Self::RequestVote(message) => write_request(writer, VOTE, message),
            Self::RequestVoteResponse(message) => write_answer(writer, VOTE_RESPONSE, *message),
            Self::ProposeRequestVote(term) => {
                writer.u8(PROPOSE_VOTE);
                writer.u64(*term);
            }
            Self::RequestPreVote(message) => write_request(writer, PRE_VOTE, message),
            Self::RequestPreVoteResponse(message) => {
                write_answer(writer, PRE_VOTE_RESPONSE, *message);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8()? {
            APPEND => Self::AppendEntries(read_append(reader)?),
            APPEND_RESPONSE => Self::AppendEntriesResponse(AppendEntriesResponse {
                term: read_view(reader)?,
                last_log_idx: read_seqno(reader)?,
                success: read_bool(reader)?,
                round: reader.u64()?,
            }),
            VOTE => Self::RequestVote(read_request(reader)?),
            VOTE_RESPONSE => Self::RequestVoteResponse(read_answer(reader)?),
            PROPOSE_VOTE => Self::ProposeRequestVote(read_view(reader)?),
            PRE_VOTE => Self::RequestPreVote(read_request(reader)?),
            PRE_VOTE_RESPONSE => Self::RequestPreVoteResponse(read_answer(reader)?),
            _ => return Err(CodecError::Invalid("message tag")),
        })
    }
}

impl Message for RaftMessage {
    fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
