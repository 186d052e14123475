//! Packets between the nodes of a group, and the pure function that checks them.
//!
//! ```text
//! packet    = "QRM" version kind group(16) body
//! committee = view(8) sender(2) payloads signature(64)     by the sender's view key
//! status    = epoch(8) head(8) hash(32) fields(1) resend_from(8)? challenge(8)? answer(8)?
//! member    = from(33) to(33) message signature(65)        by the sender's member key
//! trxs      = list of trx                                  each signed by its sender
//! blocks    = list of (block, certificate)                 certified
//! head      = id(8) hash(32) epoch(8)                      a hint, believed by nobody
//! fetch     = from(8) max(4)
//! genesis   = genesis documents                            signed by the owner
//! ```
//! Numbers are big-endian, lists and strings stand behind their length ([`quorate_ledger::codec`]).
//! All committee messages of one turn for one target travel in one frame and are signed once.
//!
//! [`verify`] needs no state but the public keys of the current views, so that it can run outside
//! the replica, in parallel: only what it lets through enters a turn, as
//! [`quorate_consensus::core::Verified`]. Signing happens outside, too: see [`Packet`].

mod packet;

use std::fmt;
use std::sync::Arc;

use quorate_consensus::core::{Message, Verified};
use quorate_consensus::evidence::Fault;
use quorate_crypto::hash::{Digest, Hasher, sha256};
use quorate_crypto::member::{MemberKey, MemberPublicKey, MemberSignature};
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::{ViewKey, ViewSignature};
use quorate_ledger::block::Block;
use quorate_ledger::certificate::{BlockVote, Certificate};
use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer, decode_message};
use quorate_ledger::group::GenesisDocuments;
use quorate_ledger::ids::{BlockId, Epoch, GroupId, ViewNumber};
use quorate_ledger::proto::Trx;
use quorate_ledger::trx;
use quorate_ledger::view::View;

pub use self::packet::Packet;
use self::packet::Signer;
use crate::change::ChangeMessage;
use crate::limits::{MAX_BUNDLE_TRXS, MAX_FETCH_BLOCKS, MAX_FRAME_PAYLOADS, MAX_PACKET};

/// First bytes of every packet.
pub const MAGIC: [u8; 3] = *b"QRM";
/// Version of the packets this program speaks.
pub const WIRE_VERSION: u8 = 1;
/// Domain of the view-key signature over a committee frame.
pub const FRAME_DOMAIN: &str = "quorate.frame.v1";
/// Domain of the digest a member frame's signature covers.
const MEMBER_DOMAIN: &str = "quorate.member-frame.v1";

/// Length of the signature of a committee frame.
const VIEW_SIGNATURE: usize = 64;
/// Length of the signature of a member frame.
const MEMBER_SIGNATURE: usize = 65;

const KIND_COMMITTEE: u8 = 1;
const KIND_MEMBER: u8 = 2;
const KIND_TRXS: u8 = 3;
const KIND_BLOCKS: u8 = 4;
const KIND_HEAD: u8 = 5;
const KIND_FETCH_BLOCKS: u8 = 6;
const KIND_FETCH_GENESIS: u8 = 7;
const KIND_GENESIS: u8 = 8;

const PAYLOAD_CORE: u8 = 1;
const PAYLOAD_VOTE: u8 = 2;
const PAYLOAD_STATUS: u8 = 3;

/// Which of a status's last fields are there, eight bytes each, in this order.
const STATUS_RESEND: u8 = 1;
const STATUS_CHALLENGE: u8 = 2;
const STATUS_ANSWER: u8 = 4;

/// Where a producer stands, said to the committee in a signed frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// First epoch of the view whose outcome the producer has not applied: the outcome of every
    /// epoch before it is either no block or a block up to `head`.
    pub epoch: Epoch,
    /// Its last certified block.
    pub head: BlockId,
    /// That block's hash.
    pub hash: Digest,
    /// It restarted or lost messages: say again what was said in this epoch and later.
    pub resend_from: Option<Epoch>,
    /// It forgot what it said (AMN-1): only an answer to this number, drawn anew each time it opens,
    /// is from after that.
    pub challenge: Option<u64>,
    /// The challenge of the receiver that this answers.
    pub answer: Option<u64>,
}

/// What producers of a view say to each other.
#[derive(Clone, Debug)]
pub enum CommitteeMessage<M> {
    /// The ordering protocol's.
    Core(M),
    /// A vote for a decided block.
    Vote(Box<BlockVote>),
    /// Where the sender stands.
    Status(Status),
}

/// Committee messages of one producer, checked.
#[derive(Clone, Debug)]
pub struct CommitteeFrame<M> {
    /// The view whose key signed.
    pub view: ViewNumber,
    /// The sender's position in it.
    pub sender: NodeIndex,
    /// Its good messages, in order.
    pub payloads: Vec<CommitteeMessage<M>>,
    /// What was wrong with the others; the signature proves that the sender made them.
    pub faults: Vec<(Fault, &'static str)>,
}

/// A consensus-change message of one member to another, checked.
#[derive(Clone, Debug)]
pub struct MemberFrame {
    /// Who signed.
    pub from: MemberPublicKey,
    /// For whom; a frame for somebody else proves nothing here.
    pub to: MemberPublicKey,
    /// What it says.
    pub message: ChangeMessage,
}

/// A trx whose signature and form have been checked, with its canonical encoding.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckedTrx {
    /// The trx.
    pub trx: Trx,
    /// Its encoding: what blocks and proposals contain.
    pub bytes: Arc<[u8]>,
}

/// Encodings of a block and of its certificate.
pub type CertifiedBytes = (Arc<[u8]>, Arc<[u8]>);

/// A block of a peer with its certificate.
#[derive(Clone, Debug)]
pub struct InboundBlock {
    bytes: CertifiedBytes,
    checked: Option<Verified<Arc<Block>>>,
}

impl InboundBlock {
    /// One that nothing is known of.
    #[must_use]
    pub const fn new(bytes: CertifiedBytes) -> Self {
        Self { bytes, checked: None }
    }

    /// As it came.
    #[must_use]
    pub const fn bytes(&self) -> &CertifiedBytes {
        &self.bytes
    }

    /// Checks what can be told without the chain: the certificate, if it is of a view of the context,
    /// and TRX-1 of all trxs ([`trx::check`]), which costs most of what a block costs. Pure, and like
    /// [`verify`] for outside a replica; for one that is behind, with this head, since any other has
    /// checked the trxs when they were gossiped. What does not hold is left to the replica, which says
    /// whose fault it is.
    pub fn check(&mut self, context: &VerifyContext, head: BlockId) {
        self.checked = self.good(context, head).map(|block| Verified::assume(Arc::new(block)));
    }

    /// The cheap comes first: who has no certificate cannot have trxs checked.
    fn good(&self, context: &VerifyContext, head: BlockId) -> Option<Block> {
        let (block, certificate) = &self.bytes;
        let header = Block::peek(block).ok().filter(|header| header.id > head)?;
        let certificate = Certificate::from_bytes(certificate).ok()?;
        let view = context.views.iter().find(|view| view.number == header.view)?;
        certificate.certifies(&header, view).ok()?;
        let block = Block::from_bytes(block).ok()?;
        let good = |trx| trx::check(trx, context.group, trx::Limits::REFERENCE).is_ok();
        block.trxs.iter().all(good).then_some(block)
    }

    /// The block, if [`InboundBlock::check`] found it good: certified by its view, and TRX-1 holds for
    /// all of its trxs.
    #[must_use]
    pub const fn checked(&self) -> Option<&Verified<Arc<Block>>> {
        self.checked.as_ref()
    }
}

/// A packet that [`verify`] let through.
#[derive(Clone, Debug)]
pub enum Inbound<M> {
    /// Messages of a producer.
    Committee(Verified<CommitteeFrame<M>>),
    /// A consensus-change message of a member.
    Member(Verified<Box<MemberFrame>>),
    /// Gossiped trxs; bad ones have been dropped and counted.
    Trxs {
        /// Those with a good signature.
        trxs: Vec<Verified<CheckedTrx>>,
        /// How many were dropped.
        refused: usize,
    },
    /// Blocks with their certificates, checked where the chain is known.
    Blocks(Vec<InboundBlock>),
    /// A peer's claim about its head.
    Head {
        /// Its last certified block.
        id: BlockId,
        /// That block's hash.
        hash: Digest,
        /// The epoch it knows.
        epoch: Epoch,
    },
    /// A peer asks for certified blocks.
    FetchBlocks {
        /// The first it lacks.
        from: BlockId,
        /// At most so many.
        max: u32,
    },
    /// A peer asks for the genesis documents.
    FetchGenesis,
    /// Genesis documents, checked against the group's descriptor by the replica.
    Genesis(Box<GenesisDocuments>),
}

/// Why a packet was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// It is larger than [`MAX_PACKET`].
    #[error("a packet of {0} bytes is larger than the limit of {MAX_PACKET}")]
    TooLarge(usize),
    /// It is not one of our packets.
    #[error("not a packet of this network")]
    Magic,
    /// The peer speaks another version.
    #[error("wire version {0} is not spoken here (this is version {WIRE_VERSION})")]
    Version(u8),
    /// It is of another group.
    #[error("a packet of group {0}")]
    Group(GroupId),
    /// The view is not known here (yet); a status may be asked for.
    #[error("a frame of view {0}, which is not known here")]
    UnknownView(ViewNumber),
    /// The sender is not a member of the view it names.
    #[error("member {sender} is not in the committee of view {view}")]
    UnknownSender {
        /// The view.
        view: ViewNumber,
        /// The position it claims.
        sender: NodeIndex,
    },
    /// The signature does not verify.
    #[error("the signature of the {0} frame does not verify")]
    Signature(&'static str),
    /// It does not decode, or breaks a limit.
    #[error("malformed packet: {0}")]
    Malformed(CodecError),
    /// The kind is not known.
    #[error("packets of kind {0} are not known")]
    Kind(u8),
}

impl From<CodecError> for PacketError {
    fn from(error: CodecError) -> Self {
        Self::Malformed(error)
    }
}

/// Answers whether a trx with this SHA-256 of its encoding has been verified before.
pub type Known = Arc<dyn Fn(&Digest) -> bool + Send + Sync>;

/// What [`verify`] needs to know.
#[derive(Clone)]
pub struct VerifyContext {
    /// The group.
    pub group: GroupId,
    /// Views whose frames are accepted (see [`crate::api::Notice::Views`]).
    pub views: Vec<Arc<View>>,
    /// Trxs verified before, if the caller remembers them: their signatures are not checked again.
    pub known: Option<Known>,
}

impl fmt::Debug for VerifyContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.views.iter().map(|view| view.number.0).collect();
        write!(f, "VerifyContext({}, views {numbers:?})", self.group)
    }
}

/// The group a packet names; `None` if it is no packet of this version.
#[must_use]
pub fn group_of(packet: &[u8]) -> Option<GroupId> {
    let mut reader = Reader::new(packet);
    header(&mut reader).ok().map(|(_, group)| group)
}

fn header(reader: &mut Reader<'_>) -> Result<(u8, GroupId), PacketError> {
    if reader.array::<3>().map_err(|_| PacketError::Magic)? != MAGIC {
        return Err(PacketError::Magic);
    }
    match reader.u8()? {
        WIRE_VERSION => {}
        other => return Err(PacketError::Version(other)),
    }
    let kind = reader.u8()?;
    Ok((kind, GroupId::read(reader)?))
}

/// Checks a packet: size, version, group, limits and all signatures that need no state but the
/// views'. Pure; nothing a peer sends makes it panic.
///
/// # Errors
/// [`PacketError`]; the packet must be dropped.
pub fn verify<M: Message>(
    packet: &[u8],
    context: &VerifyContext,
) -> Result<Inbound<M>, PacketError> {
    check(packet, packet.len(), None, context)
}

/// [`verify`] for whoever holds the packet itself, not only its bytes: with the key that speaks for
/// it in hand, whose signature it is needs no proof. Lets through exactly what [`verify`] does of
/// [`Packet::bytes`]; bytes of others have nobody who signs, so their signatures are checked.
///
/// # Errors
/// [`PacketError`]; the packet must be dropped.
pub fn verify_held<M: Message>(
    packet: &Packet,
    context: &VerifyContext,
) -> Result<Inbound<M>, PacketError> {
    let (text, signer) = packet.parts();
    check(text, packet.len(), signer, context)
}

/// `signer`: who would sign `text`; without, a signature is the end of it.
fn check<M: Message>(
    text: &[u8],
    len: usize,
    signer: Option<&Signer>,
    context: &VerifyContext,
) -> Result<Inbound<M>, PacketError> {
    if len > MAX_PACKET {
        return Err(PacketError::TooLarge(len));
    }
    let mut reader = Reader::new(text);
    let (kind, group) = header(&mut reader)?;
    if group != context.group {
        return Err(PacketError::Group(group));
    }
    let inbound = match kind {
        KIND_COMMITTEE => return committee(text, reader, signer, context),
        KIND_MEMBER => return member(text, reader, signer),
        KIND_TRXS => trxs(&mut reader, context)?,
        KIND_BLOCKS => Inbound::Blocks(reader.list("blocks", MAX_FETCH_BLOCKS, |reader| {
            let block = reader.bytes("block", MAX_PACKET)?.into();
            Ok(InboundBlock::new((block, reader.bytes("certificate", MAX_PACKET)?.into())))
        })?),
        KIND_HEAD => Inbound::Head {
            id: BlockId::read(&mut reader)?,
            hash: Digest::read(&mut reader)?,
            epoch: Epoch::read(&mut reader)?,
        },
        KIND_FETCH_BLOCKS => {
            Inbound::FetchBlocks { from: BlockId::read(&mut reader)?, max: reader.u32()? }
        }
        KIND_FETCH_GENESIS => Inbound::FetchGenesis,
        KIND_GENESIS => Inbound::Genesis(Box::new(GenesisDocuments::read(&mut reader)?)),
        other => return Err(PacketError::Kind(other)),
    };
    reader.finish()?;
    Ok(inbound)
}

fn committee<M: Message>(
    text: &[u8],
    mut reader: Reader<'_>,
    signer: Option<&Signer>,
    context: &VerifyContext,
) -> Result<Inbound<M>, PacketError> {
    let number = ViewNumber::read(&mut reader)?;
    let sender = NodeIndex(reader.u16()?);
    let Some(view) = context.views.iter().find(|view| view.number == number) else {
        return Err(PacketError::UnknownView(number));
    };
    let Some(producer) = view.producer(sender) else {
        return Err(PacketError::UnknownSender { view: number, sender });
    };
    let count = reader.count("payloads", MAX_FRAME_PAYLOADS)?;
    let mut raw = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        raw.push((reader.u8()?, reader.bytes("payload", MAX_PACKET)?));
    }
    let good = match signer {
        Some(signer) => matches!(signer, Signer::View(key) if key.public() == producer.view_key),
        None => {
            let signed = text.len() - reader.remaining();
            let signature = ViewSignature(reader.array()?);
            let finished = reader.remaining() == 0;
            finished && producer.view_key.verify(FRAME_DOMAIN, &sha256(&text[..signed]), &signature)
        }
    };
    reader.finish()?;
    if !good {
        return Err(PacketError::Signature("committee"));
    }
    let mut payloads = Vec::with_capacity(raw.len());
    let mut faults = Vec::new();
    for (kind, bytes) in raw {
        match payload(kind, bytes, view, sender) {
            Ok(message) => payloads.push(message),
            Err(fault) => faults.push(fault),
        }
    }
    let frame = CommitteeFrame { view: number, sender, payloads, faults };
    Ok(Inbound::Committee(Verified::assume(frame)))
}

fn payload<M: Message>(
    kind: u8,
    bytes: &[u8],
    view: &View,
    sender: NodeIndex,
) -> Result<CommitteeMessage<M>, (Fault, &'static str)> {
    match kind {
        PAYLOAD_CORE => M::decode(bytes)
            .map(CommitteeMessage::Core)
            .ok_or((Fault::Malformed, "a protocol message does not decode")),
        PAYLOAD_VOTE => {
            let vote = BlockVote::from_bytes(bytes)
                .map_err(|_| (Fault::BadVote, "a block vote does not decode"))?;
            if vote.voter != sender {
                return Err((Fault::BadVote, "a block vote in another member's name"));
            }
            if !vote.verify(view) {
                return Err((Fault::BadVote, "a block vote does not verify"));
            }
            Ok(CommitteeMessage::Vote(Box::new(vote)))
        }
        PAYLOAD_STATUS => read_status(bytes)
            .map(CommitteeMessage::Status)
            .map_err(|_| (Fault::Malformed, "a status does not decode")),
        _ => Err((Fault::Malformed, "a payload of unknown kind")),
    }
}

fn read_status(bytes: &[u8]) -> Result<Status, CodecError> {
    let mut reader = Reader::new(bytes);
    let status = Status {
        epoch: Epoch::read(&mut reader)?,
        head: BlockId::read(&mut reader)?,
        hash: Digest::read(&mut reader)?,
        resend_from: None,
        challenge: None,
        answer: None,
    };
    let fields = reader.u8()?;
    if fields & !(STATUS_RESEND | STATUS_CHALLENGE | STATUS_ANSWER) != 0 {
        return Err(CodecError::Invalid("status"));
    }
    let mut field = |bit| (fields & bit != 0).then(|| reader.u64()).transpose();
    let resend_from = field(STATUS_RESEND)?.map(Epoch);
    let (challenge, answer) = (field(STATUS_CHALLENGE)?, field(STATUS_ANSWER)?);
    reader.finish()?;
    Ok(Status { resend_from, challenge, answer, ..status })
}

fn write_status(status: &Status) -> Vec<u8> {
    let mut writer = Writer::new();
    status.epoch.write(&mut writer);
    status.head.write(&mut writer);
    status.hash.write(&mut writer);
    let fields = [
        (STATUS_RESEND, status.resend_from.map(|epoch| epoch.0)),
        (STATUS_CHALLENGE, status.challenge),
        (STATUS_ANSWER, status.answer),
    ];
    let present = fields.into_iter().filter_map(|(bit, value)| Some((bit, value?)));
    writer.u8(present.clone().fold(0, |bits, (bit, _)| bits | bit));
    for (_, value) in present {
        writer.u64(value);
    }
    writer.finish()
}

fn member<M>(
    text: &[u8],
    mut reader: Reader<'_>,
    signer: Option<&Signer>,
) -> Result<Inbound<M>, PacketError> {
    let from = MemberPublicKey::read(&mut reader)?;
    let to = MemberPublicKey::read(&mut reader)?;
    let bytes = reader.bytes("message", MAX_PACKET)?;
    let good = match signer {
        Some(signer) => matches!(signer, Signer::Member(key) if key.public() == from),
        None => {
            let signed = text.len() - reader.remaining();
            let signature = MemberSignature(reader.array()?);
            let finished = reader.remaining() == 0;
            finished && from.verify(&member_digest(&text[..signed]), signature.as_ref())
        }
    };
    reader.finish()?;
    if !good {
        return Err(PacketError::Signature("member"));
    }
    let message = ChangeMessage::decode(bytes)
        .ok_or(PacketError::Malformed(CodecError::Invalid("change message")))?;
    Ok(Inbound::Member(Verified::assume(Box::new(MemberFrame { from, to, message }))))
}

fn member_digest(signed: &[u8]) -> Digest {
    Hasher::new(MEMBER_DOMAIN).field(signed).finish()
}

fn trxs<M>(reader: &mut Reader<'_>, context: &VerifyContext) -> Result<Inbound<M>, PacketError> {
    let count = reader.count("trxs", MAX_BUNDLE_TRXS)?;
    let mut trxs = Vec::with_capacity(count.min(64));
    let mut refused = 0;
    for _ in 0..count {
        let bytes = reader.bytes("trx", MAX_PACKET)?;
        match check_trx(bytes, context) {
            Some(trx) => trxs.push(Verified::assume(trx)),
            None => refused += 1,
        }
    }
    Ok(Inbound::Trxs { trxs, refused })
}

fn check_trx(bytes: &[u8], context: &VerifyContext) -> Option<CheckedTrx> {
    let message: Trx = decode_message("trx", bytes, trx::MAX_TRX).ok()?;
    let known = context.known.as_ref().is_some_and(|known| known(&sha256(bytes)));
    if !known {
        trx::check(&message, context.group, trx::Limits::REFERENCE).ok()?;
    }
    Some(CheckedTrx { trx: message, bytes: bytes.into() })
}

/// Bytes of the beginning of a packet: magic, version, kind, group.
const START: usize = MAGIC.len() + 2 + 16;
/// Bytes of a length or count.
const LENGTH: usize = 4;
/// Room for what is short.
const SHORT: usize = 64;

/// The beginning of a packet, with room for so many bytes behind it.
fn start(kind: u8, group: &GroupId, bytes: usize) -> Writer {
    let mut writer = Writer::with_capacity(START + bytes);
    writer.raw(&MAGIC);
    writer.u8(WIRE_VERSION);
    writer.u8(kind);
    group.write(&mut writer);
    writer
}

/// A committee message as a payload of a frame: kind and bytes.
#[must_use]
pub fn encode_payload<M: Message>(message: &CommitteeMessage<M>) -> (u8, Vec<u8>) {
    match message {
        CommitteeMessage::Core(message) => (PAYLOAD_CORE, message.encode()),
        CommitteeMessage::Vote(vote) => (PAYLOAD_VOTE, vote.to_bytes()),
        CommitteeMessage::Status(status) => (PAYLOAD_STATUS, write_status(status)),
    }
}

/// A committee frame of these payloads, to be signed with the key.
#[must_use]
pub fn encode_committee(
    group: &GroupId,
    view: ViewNumber,
    sender: NodeIndex,
    key: &ViewKey,
    payloads: &[&(u8, Vec<u8>)],
) -> Packet {
    let length = payloads.iter().map(|(_, bytes)| 1 + LENGTH + bytes.len()).sum::<usize>();
    let mut writer = start(KIND_COMMITTEE, group, 8 + 2 + LENGTH + length);
    view.write(&mut writer);
    writer.u16(sender.0);
    writer.list(payloads, |writer, (kind, bytes)| {
        writer.u8(*kind);
        writer.bytes(bytes);
    });
    Packet::new(writer.finish(), Signer::View(key.clone()))
}

/// A consensus-change message to a member, to be signed with the key.
#[must_use]
pub fn encode_member(
    group: &GroupId,
    key: &MemberKey,
    to: &MemberPublicKey,
    message: &ChangeMessage,
) -> Packet {
    let mut writer = start(KIND_MEMBER, group, SHORT);
    key.public().write(&mut writer);
    to.write(&mut writer);
    writer.bytes(&message.encode());
    Packet::new(writer.finish(), Signer::Member(key.clone()))
}

/// A gossip bundle of encoded trxs.
#[must_use]
pub fn encode_trxs(group: &GroupId, trxs: &[Arc<[u8]>]) -> Packet {
    let length = trxs.iter().map(|trx| LENGTH + trx.len()).sum::<usize>();
    let mut writer = start(KIND_TRXS, group, LENGTH + length);
    writer.list(trxs, |writer, trx| writer.bytes(trx));
    writer.finish().into()
}

/// Blocks with their certificates.
#[must_use]
pub fn encode_blocks(group: &GroupId, blocks: &[CertifiedBytes]) -> Packet {
    let lengths = blocks.iter().map(|(block, certificate)| block.len() + certificate.len());
    let length = lengths.map(|length| 2 * LENGTH + length).sum::<usize>();
    let mut writer = start(KIND_BLOCKS, group, LENGTH + length);
    writer.list(blocks, |writer, (block, certificate)| {
        writer.bytes(block);
        writer.bytes(certificate);
    });
    writer.finish().into()
}

/// What this node's head is.
#[must_use]
pub fn encode_head(group: &GroupId, id: BlockId, hash: &Digest, epoch: Epoch) -> Packet {
    let mut writer = start(KIND_HEAD, group, SHORT);
    id.write(&mut writer);
    hash.write(&mut writer);
    epoch.write(&mut writer);
    writer.finish().into()
}

/// Asks for certified blocks.
#[must_use]
pub fn encode_fetch_blocks(group: &GroupId, from: BlockId, max: u32) -> Packet {
    let mut writer = start(KIND_FETCH_BLOCKS, group, SHORT);
    from.write(&mut writer);
    writer.u32(max);
    writer.finish().into()
}

/// Asks for the genesis documents.
#[must_use]
pub fn encode_fetch_genesis(group: &GroupId) -> Packet {
    start(KIND_FETCH_GENESIS, group, SHORT).finish().into()
}

/// The genesis documents.
#[must_use]
pub fn encode_genesis(group: &GroupId, documents: &GenesisDocuments) -> Packet {
    let mut writer = start(KIND_GENESIS, group, SHORT);
    documents.write(&mut writer);
    writer.finish().into()
}

#[cfg(test)]
mod tests;
