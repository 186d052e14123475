//! The journal of a log: every append is one frame here, synced once, before the chunk files see
//! any of it.
//!
//! Two files, `raft_0` and `raft_1`, take turns. A *generation* begins with a header that says what
//! the chunk files hold for certain (the *checkpoint*), then has frames
//! `[u32 len][u32 crc][u64 number][payload]`, little endian, each at the beginning of a sector (512
//! bytes) and followed by zeros; the payload is the commit index and the records. The next generation
//! begins in the other file once the chunk files have been synced.
//! The header is there twice, in sectors of its own; the higher generation with a good one is in
//! force. The file in force is not written again until the other one's header is durable.
//!
//! If the chunk files hold entries that are not committed, the first frame has the checksum of each:
//! there may be no signature yet that would tell what they must be.
//!
//! # Recovery
//! Frame `n + 1` is written only after frame `n` was synced. So a bad frame with no good one of a
//! higher number behind it is the torn end of an append that never returned; otherwise it is
//! corruption. Checksums cover a random salt of the generation, so that neither a frame of an earlier
//! one nor bytes made up by a stranger can pass for a frame.

use std::sync::Arc;

use quorate_consensus::raft::{LogRecord, NodeId};
use quorate_ledger::mutants::{Mutant, mutated};

use crate::chunk::{read_all, step};
use crate::disk::{Disk, DiskError, SECTOR};
use crate::error::{Corruption, StoreError};

use super::entry;

const MAGIC: &[u8; 8] = b"QRTERFT3";
/// Distance of the two copies of the header.
const COPY: u64 = 512;
/// Where frames begin.
const FRAMES: u64 = 2 * COPY;
const HEADER_LEN: usize = 109;
const FRAME_HEADER: usize = 16;
/// Most bytes of one file: far above what is ever appended to one.
const MAX_FILE: u64 = 4 << 30;

/// Bytes of a buffer that are kept for the next frame.
const MOST_KEPT: usize = 1 << 20;

const VOTE: u8 = 1;
const TRUNCATE: u8 = 2;
const APPEND: u8 = 3;
const SUMS: u8 = 4;

/// Random bytes of a generation that its checksums cover.
pub(crate) type Salt = [u8; 16];

/// What holds at the beginning of a generation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Checkpoint {
    /// The log begins after this one.
    pub base: u64,
    /// The chunk files hold everything up to here, durably.
    pub last: u64,
    /// Committed.
    pub commit: u64,
    /// The node's view.
    pub view: u64,
    /// Who has its vote in it.
    pub voted_for: Option<NodeId>,
    /// CRC-32 of each entry after `commit`, up to `last`. Not in the header.
    pub sums: Vec<u32>,
}

/// A record, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Vote { view: u64, voted_for: Option<NodeId> },
    Truncate { after: u64 },
    Append { seqno: u64, bytes: Arc<[u8]> },
    Sums(Vec<u32>),
}

fn put_vote(out: &mut Vec<u8>, view: u64, voted_for: Option<NodeId>) {
    out.extend_from_slice(&view.to_le_bytes());
    out.push(u8::from(voted_for.is_some()));
    out.extend_from_slice(&voted_for.map_or([0; 32], |node| node.0));
}

fn take_u64(input: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*input.split_off(..8)?.first_chunk()?))
}

fn take_vote(input: &mut &[u8]) -> Option<(u64, Option<NodeId>)> {
    let view = take_u64(input)?;
    let voted = *input.split_off_first()?;
    let node = NodeId(*input.split_off(..32)?.first_chunk()?);
    (voted < 2).then_some((view, (voted == 1).then_some(node)))
}

fn encode_header(generation: u64, salt: &Salt, first: u64, at: &Checkpoint) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&generation.to_le_bytes());
    header.extend_from_slice(salt);
    for number in [first, at.base, at.last, at.commit] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    put_vote(&mut header, at.view, at.voted_for);
    let crc = crc32fast::hash(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    debug_assert_eq!(header.len(), HEADER_LEN, "the length of a header");
    header
}

/// Generation, salt, number of the first frame, and checkpoint.
type Header = (u64, Salt, u64, Checkpoint);

fn decode_header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..HEADER_LEN)?;
    let mut input = bytes.get(8..)?;
    let generation = take_u64(&mut input)?;
    let salt: Salt = *input.split_off(..16)?.first_chunk()?;
    let first = take_u64(&mut input)?;
    let (base, last) = (take_u64(&mut input)?, take_u64(&mut input)?);
    let commit = take_u64(&mut input)?;
    let (view, voted_for) = take_vote(&mut input)?;
    let at = Checkpoint { base, last, commit, view, voted_for, sums: Vec::new() };
    let good = encode_header(generation, &salt, first, &at) == bytes;
    (good && generation < u64::MAX && base <= last).then_some((generation, salt, first, at))
}

fn checksum(salt: &Salt, len: u32, number: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(&len.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn encode_frame(
    frame: &mut Vec<u8>,
    salt: &Salt,
    (number, commit): (u64, u64),
    records: &[LogRecord],
) {
    begin_frame(frame, commit);
    for record in records {
        match record {
            LogRecord::Vote { view, voted_for } => {
                frame.push(VOTE);
                put_vote(frame, *view, *voted_for);
            }
            LogRecord::Truncate { after } => {
                frame.push(TRUNCATE);
                frame.extend_from_slice(&after.to_le_bytes());
            }
            // The frame says it.
            LogRecord::Commit(_) => {}
            LogRecord::Append(entry) => {
                frame.push(APPEND);
                frame.extend_from_slice(&entry.seqno.to_le_bytes());
                frame.extend_from_slice(&entry.bytes);
            }
        }
    }
    end_frame(frame, salt, number);
}

/// The frame that a generation begins with.
fn encode_sums(salt: &Salt, (number, commit): (u64, u64), sums: &[u32]) -> Vec<u8> {
    let mut frame = Vec::new();
    begin_frame(&mut frame, commit);
    frame.push(SUMS);
    let count = u32::try_from(sums.len()).expect("what is not committed is limited");
    frame.extend_from_slice(&count.to_le_bytes());
    frame.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
    end_frame(&mut frame, salt, number);
    frame
}

fn begin_frame(frame: &mut Vec<u8>, commit: u64) {
    frame.clear();
    frame.resize(FRAME_HEADER, 0);
    frame.extend_from_slice(&commit.to_le_bytes());
}

fn end_frame(frame: &mut Vec<u8>, salt: &Salt, number: u64) {
    let len = u32::try_from(frame.len() - FRAME_HEADER).expect("an append is far below 4 GiB");
    frame[..4].copy_from_slice(&len.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    let crc = checksum(salt, len, number, &frame[FRAME_HEADER..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame.resize(frame.len().next_multiple_of(SECTOR), 0);
}

fn decode_payload(mut payload: &[u8]) -> Option<(u64, Vec<Op>)> {
    let input = &mut payload;
    let commit = take_u64(input)?;
    let mut ops = Vec::new();
    while let Some(kind) = input.split_off_first() {
        ops.push(match *kind {
            VOTE => {
                let (view, voted_for) = take_vote(input)?;
                Op::Vote { view, voted_for }
            }
            TRUNCATE => Op::Truncate { after: take_u64(input)? },
            APPEND => {
                let seqno = take_u64(input)?;
                let len = entry::Header::parse(input)?.len;
                Op::Append { seqno, bytes: input.split_off(..len)?.into() }
            }
            SUMS => {
                let count = u32::from_le_bytes(*input.split_off(..4)?.first_chunk()?);
                let (sums, _) = input.split_off(..4 * count as usize)?.as_chunks::<4>();
                Op::Sums(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect())
            }
            _ => return None,
        });
    }
    Some((commit, ops))
}

/// The good frame at `at`: its number, payload and where the next one begins.
fn parse_frame<'a>(salt: &Salt, bytes: &'a [u8], at: usize) -> Option<(u64, &'a [u8], usize)> {
    let (header, body) = bytes.get(at..)?.split_first_chunk::<FRAME_HEADER>()?;
    let len = u32::from_le_bytes(*header.first_chunk()?);
    let crc = u32::from_le_bytes(*header[4..].first_chunk()?);
    let number = u64::from_le_bytes(*header[8..].first_chunk()?);
    let payload = body.get(..len as usize)?;
    let good = len >= 8 && checksum(salt, len, number, payload) == crc;
    good.then_some((number, payload, (at + FRAME_HEADER + payload.len()).next_multiple_of(SECTOR)))
}

/// Whether a good frame with a number above `number` begins anywhere behind `from`.
fn follows(salt: &Salt, bytes: &[u8], from: usize, number: u64) -> bool {
    let most = number.saturating_add((bytes.len() / FRAME_HEADER) as u64);
    let sectors = (from + 1).next_multiple_of(SECTOR)..bytes.len().saturating_sub(FRAME_HEADER - 1);
    sectors.step_by(SECTOR).any(|at| {
        let found = u64::from_le_bytes(*bytes[at + 8..].first_chunk().expect("8 bytes"));
        found > number && found <= most && parse_frame(salt, bytes, at).is_some()
    })
}

/// The two files.
pub(crate) const FILES: [&str; 2] = ["raft_0", "raft_1"];

/// File of a generation.
pub(crate) fn file(generation: u64) -> &'static str {
    FILES[usize::from(!generation.is_multiple_of(2))]
}

/// A generation, read.
#[derive(Debug)]
pub(crate) struct Generation {
    pub journal: Journal,
    pub checkpoint: Checkpoint,
    /// The highest commit index in checkpoint and frames.
    pub commit: u64,
    /// All records, in order.
    pub ops: Vec<Op>,
    /// Number of good frames.
    pub frames: u64,
    /// Whether anything but zeros (or an earlier generation) may follow the last good one.
    pub torn: bool,
}

/// The journal, open.
#[derive(Debug)]
pub(crate) struct Journal {
    generation: u64,
    salt: Salt,
    /// A file is zeroed ahead to a multiple of this.
    step: u64,
    end: u64,
    allocated: u64,
    /// Number of the next frame.
    next: u64,
    /// A new generation may have begun in the other file, so nothing may go to this one.
    turning: bool,
    /// Where frames are made.
    buffer: Vec<u8>,
}

impl Journal {
    /// Begins the first generation, durably.
    pub fn create(
        disk: &mut impl Disk,
        size: u64,
        salt: Salt,
        at: &Checkpoint,
    ) -> Result<Self, StoreError> {
        let step = step(size);
        let mut journal = Self {
            generation: 0,
            salt,
            step,
            end: 0,
            allocated: 0,
            next: 1,
            turning: false,
            buffer: Vec::new(),
        };
        journal.turn(disk, salt, at)?;
        Ok(journal)
    }

    /// Length of the frames in bytes.
    pub const fn bytes(&self) -> u64 {
        self.end
    }

    /// Whether there must be a turn before the next append: one failed, or was demanded.
    pub const fn is_turning(&self) -> bool {
        self.turning
    }

    /// Nothing may be appended before the next turn.
    pub const fn demand_turn(&mut self) {
        self.turning = true;
    }

    /// Where the next frame goes: file and offset.
    pub fn head(&self) -> (&'static str, u64) {
        (file(self.generation), self.end)
    }

    /// Begins the next generation. The chunk files hold everything up to `at.last`, durably.
    pub fn turn(
        &mut self,
        disk: &mut impl Disk,
        salt: Salt,
        at: &Checkpoint,
    ) -> Result<(), StoreError> {
        let generation = self.generation + 1;
        let file = file(generation);
        let old = if disk.exists(file)? { Some(disk.len(file)?) } else { None };
        let mut bytes = encode_header(generation, &salt, self.next, at);
        bytes.resize(COPY as usize, 0);
        bytes.extend_from_within(..);
        let (mut next, mut end) = (self.next, FRAMES);
        if !at.sums.is_empty() {
            bytes.extend(encode_sums(&salt, (next, at.commit), &at.sums));
            (next, end) = (next + 1, bytes.len() as u64);
        }
        if old.is_none_or(|len| len < self.step) {
            // New: zeroed ahead at once.
            let len = end.next_multiple_of(self.step);
            bytes.resize(usize::try_from(len).expect("a step"), 0);
        }
        self.turning = true;
        disk.write(file, 0, &bytes)?;
        disk.sync(file)?;
        if generation <= 2 {
            // The file is new, or was when this failed.
            disk.sync_dir("")?;
        }
        let allocated = old.unwrap_or(0).max(bytes.len() as u64);
        (self.generation, self.salt) = (generation, salt);
        (self.next, self.end, self.allocated, self.turning) = (next, end, allocated, false);
        Ok(())
    }

    /// Writes one frame and syncs. After an error nothing of it counts, and the next frame takes its
    /// place.
    pub fn append(
        &mut self,
        disk: &mut impl Disk,
        commit: u64,
        records: &[LogRecord],
    ) -> Result<(), StoreError> {
        assert!(!self.turning, "an append to a generation that may be over");
        self.buffer.shrink_to(MOST_KEPT);
        let frame = &mut self.buffer;
        encode_frame(frame, &self.salt, (self.next, commit), records);
        let end = self.end + frame.len() as u64;
        let mut allocated = self.allocated;
        if end > allocated {
            allocated = end.next_multiple_of(self.step);
            frame.resize(usize::try_from(allocated - self.end).expect("a frame and a step"), 0);
        }
        let file = file(self.generation);
        if mutated(Mutant::CftAppendUnsynced) {
            disk.write(file, self.end, frame)?;
        } else {
            disk.write_through(file, self.end, frame)?;
        }
        (self.end, self.allocated) = (end, allocated);
        self.next += 1;
        Ok(())
    }

    /// Reads the generation in force; `None` if there is no journal at all.
    pub fn read(disk: &impl Disk, size: u64) -> Result<Option<Generation>, StoreError> {
        let mut best = None;
        let (mut there, mut used) = (None, false);
        for name in FILES {
            let bytes = match read_all(disk, name, MAX_FILE) {
                Err(StoreError::Disk(DiskError::NotFound { .. })) => continue,
                other => other?,
            };
            there.get_or_insert(name);
            let framed = bytes.get(FRAMES as usize..).unwrap_or_default();
            used |= name == FILES[0] || framed.iter().any(|b| *b != 0);
            let copy = bytes.get(COPY as usize..).unwrap_or_default();
            let headers = [decode_header(&bytes), decode_header(copy)];
            let header = headers.into_iter().flatten().max_by_key(|header| header.0);
            if let Some(header) = header.filter(|header| file(header.0) == name)
                && best.as_ref().is_none_or(|(best, _): &(Header, _)| best.0 < header.0)
            {
                best = Some((header, bytes));
            }
        }
        let Some((header, bytes)) = best else {
            // The first generation's file alone and without frames: its creation was interrupted.
            return match there {
                Some(name) if used => {
                    Err(Corruption::new(name, 0, None, "the journal's header is bad").into())
                }
                _ => Ok(None),
            };
        };
        read_frames(header, &bytes, step(size)).map(Some)
    }
}

fn read_frames(header: Header, bytes: &[u8], step: u64) -> Result<Generation, StoreError> {
    let (generation, salt, first, checkpoint) = header;
    let name = file(generation);
    let (mut at, mut next, mut ops) = (FRAMES as usize, first, Vec::new());
    let mut commit = checkpoint.commit;
    while let Some((number, payload, end)) =
        parse_frame(&salt, bytes, at).filter(|frame| frame.0 == next)
    {
        let Some((committed, records)) = decode_payload(payload) else {
            let what = "a frame of another version, or of a program gone wrong";
            return Err(Corruption::new(name, at as u64, None, what).into());
        };
        commit = commit.max(committed);
        ops.extend(records);
        (at, next) = (end, number + 1);
    }
    if follows(&salt, bytes, at, next) {
        let what = "a frame is bad though good ones follow: records are lost";
        return Err(Corruption::new(name, at as u64, None, what).into());
    }
    let torn = bytes.get(at..).unwrap_or_default().iter().any(|b| *b != 0);
    let (end, allocated) = (at as u64, bytes.len() as u64);
    let buffer = Vec::new();
    let journal = Journal { generation, salt, step, end, allocated, next, turning: false, buffer };
    Ok(Generation { journal, checkpoint, commit, ops, frames: next - first, torn })
}
