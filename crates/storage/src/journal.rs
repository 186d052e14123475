//! The log-structured journal: notes, which secrets and snapshots count, and how far the chunk
//! files count. One frame per append, one sync per frame: the frame is the commit point of the
//! whole append, over all files.
//!
//! A segment is `journal_<n>`: a header (magic, number, first sequence number, salt, CRC-32), then
//! frames `[u32 len][u32 crc][u64 sequence][payload]`, little endian; the payload says which
//! blocks and which certificates there are (first id, id after the last; 0 for none) and lists
//! operations.
//!
//! # Recovery
//! Frame `s + 1` is written only after frame `s` was synced. So a bad frame with no good one of a
//! higher number behind it is the torn end of an append that never returned, and is cut; otherwise
//! it is corruption, as is an end below what the witness (`witness.rs`) saw. The checksum covers a
//! random salt of the segment, so that no payload (a trx
//! of a stranger) can be made to look like a frame.
//!
//! # Compaction
//! When the segment is both longer than [`crate::store::Options::journal_size`] and twice the
//! live set, the live set is written to `journal_<n+1>.tmp`, synced, renamed, and only then the old
//! segment is removed. The segment with the highest number counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_consensus::core::Topic;
use quorate_ledger::mutants::{Mutant, mutated};

use crate::chunk::{Span, read_all, step};
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};
use crate::snapshot::KEEP;
use crate::witness;

const MAGIC: &[u8; 8] = b"QRTEJRN1";
const SEGMENT_HEADER: u64 = 64;
const FRAME_HEADER: usize = 16;
/// Most bytes of one segment: far above any live set.
const MAX_FILE: u64 = 4 << 30;
/// A frame of a compacted segment is cut after about this many bytes.
const COMPACT_FRAME: usize = 1 << 20;

/// Random bytes of a segment that its checksums cover.
pub(crate) type Salt = [u8; 16];

/// Which entries of the chunk files count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Heads {
    pub blocks: Span,
    pub certificates: Span,
}

/// One change of the live set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Note {
        topic: Topic,
        key: Vec<u8>,
        bytes: Arc<[u8]>,
    },
    Forget {
        topic: Topic,
        prefix: Vec<u8>,
    },
    /// The secret `name` is the one in the vault's file of this version.
    SecretSet {
        name: String,
        version: u64,
    },
    SecretDrop {
        name: String,
    },
    /// There is a snapshot after block `id`.
    Snapshot {
        id: u64,
    },
}

impl Op {
    fn encode(&self, out: &mut Vec<u8>) {
        fn text(out: &mut Vec<u8>, bytes: &[u8]) {
            let len = u32::try_from(bytes.len()).expect("a note is far below 4 GiB");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        match self {
            Self::Note { topic, key, bytes } => {
                out.extend_from_slice(&[1, *topic as u8]);
                text(out, key);
                text(out, bytes);
            }
            Self::Forget { topic, prefix } => {
                out.extend_from_slice(&[2, *topic as u8]);
                text(out, prefix);
            }
            Self::SecretSet { name, version } => {
                out.push(3);
                text(out, name.as_bytes());
                out.extend_from_slice(&version.to_le_bytes());
            }
            Self::SecretDrop { name } => {
                out.push(4);
                text(out, name.as_bytes());
            }
            Self::Snapshot { id } => {
                out.push(5);
                out.extend_from_slice(&id.to_le_bytes());
            }
        }
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        fn text<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
            let len = u32::from_le_bytes(*input.split_off(..4)?.first_chunk()?);
            input.split_off(..len as usize)
        }
        fn topic(input: &mut &[u8]) -> Option<Topic> {
            let topic = *input.split_off_first()?;
            [Topic::Vote, Topic::Pool, Topic::Change, Topic::Group]
                .into_iter()
                .find(|t| *t as u8 == topic)
        }
        fn name(input: &mut &[u8]) -> Option<String> {
            String::from_utf8(text(input)?.to_vec()).ok()
        }
        Some(match *input.split_off_first()? {
            1 => Self::Note {
                topic: topic(input)?,
                key: text(input)?.to_vec(),
                bytes: text(input)?.into(),
            },
            2 => Self::Forget { topic: topic(input)?, prefix: text(input)?.to_vec() },
            3 => Self::SecretSet {
                name: name(input)?,
                version: u64::from_le_bytes(*input.split_off(..8)?.first_chunk()?),
            },
            4 => Self::SecretDrop { name: name(input)? },
            5 => Self::Snapshot { id: u64::from_le_bytes(*input.split_off(..8)?.first_chunk()?) },
            _ => return None,
        })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Note {
    order: u64,
    bytes: Arc<[u8]>,
}

/// What the journal says now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Live {
    notes: BTreeMap<(Topic, Vec<u8>), Note>,
    next_order: u64,
    /// Encoded size of the notes.
    bytes: u64,
    /// Version of each secret.
    pub secrets: BTreeMap<String, u64>,
    /// The last [`KEEP`] snapshots.
    pub snapshots: BTreeSet<u64>,
    /// How far the chunk files count.
    pub heads: Heads,
}

impl Live {
    /// No notes, secrets or snapshots.
    pub fn new(heads: Heads) -> Self {
        Self { heads, ..Self::default() }
    }

    fn size(key: &[u8], note: &Note) -> u64 {
        (key.len() + note.bytes.len() + 10) as u64
    }

    fn remove(&mut self, key: &(Topic, Vec<u8>)) {
        if let Some(note) = self.notes.remove(key) {
            self.bytes -= Self::size(&key.1, &note);
        }
    }

    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Note { topic, key, bytes } if bytes.is_empty() => self.remove(&(topic, key)),
            Op::Note { topic, key, bytes } => {
                let key = (topic, key);
                let order = self.notes.get(&key).map(|note| note.order);
                self.remove(&key);
                let order = order.unwrap_or_else(|| {
                    self.next_order += 1;
                    self.next_order
                });
                let note = Note { order, bytes };
                self.bytes += Self::size(&key.1, &note);
                self.notes.insert(key, note);
            }
            Op::Forget { topic, prefix } => {
                let from = (topic, prefix);
                let gone: Vec<_> = self
                    .notes
                    .range(from.clone()..)
                    .map(|(key, _)| key)
                    .take_while(|key| key.0 == topic && key.1.starts_with(&from.1))
                    .cloned()
                    .collect();
                for key in &gone {
                    self.remove(key);
                }
            }
            Op::SecretSet { name, version } => {
                self.secrets.insert(name, version);
            }
            Op::SecretDrop { name } => {
                self.secrets.remove(&name);
            }
            Op::Snapshot { id } => {
                self.snapshots.insert(id);
                if self.snapshots.len() > KEEP {
                    self.snapshots.pop_first();
                }
            }
        }
    }

    /// Live notes in the order their keys were first written.
    pub fn notes(&self) -> Vec<(Topic, Vec<u8>, Arc<[u8]>)> {
        let mut notes: Vec<_> = self.notes.iter().collect();
        notes.sort_by_key(|(_, note)| note.order);
        notes.into_iter().map(|(key, n)| (key.0, key.1.clone(), Arc::clone(&n.bytes))).collect()
    }

    /// Number and encoded size of the notes.
    pub fn counts(&self) -> (usize, u64) {
        (self.notes.len(), self.bytes)
    }

    fn ops(&self) -> impl Iterator<Item = Op> {
        let notes = self.notes().into_iter();
        let notes = notes.map(|(topic, key, bytes)| Op::Note { topic, key, bytes });
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|(name, v)| Op::SecretSet { name: name.clone(), version: *v });
        notes.chain(secrets).chain(self.snapshots.iter().map(|id| Op::Snapshot { id: *id }))
    }
}

fn encode_frame(salt: &Salt, sequence: u64, heads: Heads, ops: &[Op]) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEADER];
    frame.extend_from_slice(&heads.blocks.encode());
    frame.extend_from_slice(&heads.certificates.encode());
    for op in ops {
        op.encode(&mut frame);
    }
    let len = u32::try_from(frame.len() - FRAME_HEADER).expect("an append is far below 4 GiB");
    frame[..4].copy_from_slice(&len.to_le_bytes());
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = frame_checksum(salt, len, sequence, &frame[FRAME_HEADER..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

fn frame_checksum(salt: &Salt, len: u32, sequence: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(&len.to_le_bytes());
    hasher.update(&sequence.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The good frame at `at`: its sequence number, payload and end.
fn parse_frame<'a>(salt: &Salt, bytes: &'a [u8], at: usize) -> Option<(u64, &'a [u8], usize)> {
    let (header, body) = bytes.get(at..)?.split_first_chunk::<FRAME_HEADER>()?;
    let len = u32::from_le_bytes(*header.first_chunk()?);
    let crc = u32::from_le_bytes(*header[4..].first_chunk()?);
    let sequence = u64::from_le_bytes(*header[8..].first_chunk()?);
    let payload = body.get(..len as usize)?;
    let fits = frame_checksum(salt, len, sequence, payload) == crc;
    let good = len >= 32 && (fits || mutated(Mutant::TornTailTrusted));
    good.then_some((sequence, payload, at + FRAME_HEADER + payload.len()))
}

fn decode_payload(mut payload: &[u8]) -> Option<(Heads, Vec<Op>)> {
    let blocks = Span::decode(*payload.split_off(..16)?.first_chunk()?);
    let certificates = Span::decode(*payload.split_off(..16)?.first_chunk()?);
    let mut ops = Vec::new();
    while !payload.is_empty() {
        ops.push(Op::decode(&mut payload)?);
    }
    Some((Heads { blocks, certificates }, ops))
}

fn encode_header(number: u64, first: u64, salt: &Salt) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(&first.to_le_bytes());
    header.extend_from_slice(salt);
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    header.resize(SEGMENT_HEADER as usize, 0);
    header
}

/// First sequence number and salt.
fn parse_header(number: u64, bytes: &[u8]) -> Option<(u64, Salt)> {
    let first = u64::from_le_bytes(*bytes.get(16..24)?.first_chunk()?);
    let salt: Salt = *bytes.get(24..40)?.first_chunk()?;
    let header = encode_header(number, first, &salt);
    (bytes.get(..SEGMENT_HEADER as usize)? == header).then_some((first, salt))
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("journal_{number}")
}

/// Numbers of the segments there are, ascending.
pub(crate) fn segments(disk: &impl Disk) -> Result<Vec<u64>, DiskError> {
    let mut numbers: Vec<u64> = disk
        .list("")?
        .iter()
        .filter_map(|name| {
            let number = name.strip_prefix("journal_")?.parse().ok()?;
            (segment_name(number) == *name && number < u64::MAX).then_some(number)
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A segment, read.
#[derive(Debug)]
pub(crate) struct Segment {
    pub salt: Salt,
    pub live: Live,
    /// Number of good frames.
    pub frames: u64,
    /// Sequence number of the next frame.
    pub next: u64,
    /// Offset after the last good frame.
    pub end: u64,
    /// Length of the file.
    pub len: u64,
    /// Whether anything but zeros follows the end.
    pub torn: bool,
}

/// Reads segment `number`. `salvage`: goes on behind bad frames instead of reporting them.
pub(crate) fn read_segment(
    disk: &impl Disk,
    number: u64,
    salvage: bool,
) -> Result<Segment, StoreError> {
    let file = segment_name(number);
    let bytes = read_all(disk, &file, MAX_FILE)?;
    let Some((first, salt)) = parse_header(number, &bytes) else {
        return Err(Corruption::new(&file, 0, None, "the segment's header is bad").into());
    };
    let len = bytes.len() as u64;
    let (end, live) = (SEGMENT_HEADER, Live::default());
    let mut segment = Segment { salt, live, frames: 0, next: first, end, len, torn: false };
    let mut at = SEGMENT_HEADER as usize;
    loop {
        let frame = parse_frame(&salt, &bytes, at).filter(|f| f.0 == segment.next || salvage);
        let Some((sequence, payload, next)) = frame else {
            segment.torn |= bytes[at..].iter().any(|b| *b != 0);
            match following_frame(&salt, &bytes, at, segment.next) {
                Some(good) if salvage => at = good,
                Some(_) => {
                    let what = "a frame is bad though good ones follow: notes are lost";
                    return Err(Corruption::new(&file, at as u64, None, what).into());
                }
                None => return Ok(segment),
            }
            continue;
        };
        let Some((heads, ops)) = decode_payload(payload) else {
            let what = "a frame of another version, or of a program gone wrong";
            return Err(Corruption::new(&file, at as u64, None, what).into());
        };
        segment.live.heads = heads;
        ops.into_iter().for_each(|op| segment.live.apply(op));
        segment.next = sequence + 1;
        segment.frames += 1;
        segment.end = next as u64;
        at = next;
    }
}

/// Where behind `from` the next good frame with a number above `sequence` begins.
fn following_frame(salt: &Salt, bytes: &[u8], from: usize, sequence: u64) -> Option<usize> {
    let most = sequence.saturating_add((bytes.len() / FRAME_HEADER) as u64);
    (from + 1..bytes.len().saturating_sub(FRAME_HEADER - 1)).find(|at| {
        let found = u64::from_le_bytes(*bytes[at + 8..].first_chunk().expect("8 bytes"));
        found > sequence && found <= most && parse_frame(salt, bytes, *at).is_some()
    })
}

/// The journal, open.
#[derive(Debug)]
pub(crate) struct NoteLog {
    number: u64,
    salt: Salt,
    /// The segment is zeroed ahead to a multiple of this.
    step: u64,
    end: u64,
    allocated: u64,
    next: u64,
    live: Live,
    /// An append failed: its remains may follow the end.
    suspect: bool,
    /// Compaction failed: its new segment may exist, and must not outlive what is appended here.
    stray: bool,
    /// Earlier segments to remove.
    old: Vec<u64>,
    /// Not to try compaction below this length: it failed lately.
    compact_from: u64,
}

impl NoteLog {
    /// What counts.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Sequence number of the next frame.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Length of the segment's frames in bytes.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Writes a new segment that says `live`, durably. A crash leaves it whole or absent.
    pub fn create(
        disk: &mut impl Disk,
        number: u64,
        salt: Salt,
        first: u64,
        live: Live,
    ) -> Result<Self, StoreError> {
        let file = segment_name(number);
        let temp = format!("{file}.tmp");
        if disk.exists(&temp)? {
            disk.remove(&temp)?;
        }
        disk.write(&temp, 0, &encode_header(number, first, &salt))?;
        let (mut end, mut next) = (SEGMENT_HEADER, first);
        let mut ops = live.ops().peekable();
        loop {
            let (mut batch, mut size) = (Vec::new(), 0);
            while let Some(op) = ops.next_if(|_| size < COMPACT_FRAME) {
                if let Op::Note { key, bytes, .. } = &op {
                    size += key.len() + bytes.len();
                }
                size += 64;
                batch.push(op);
            }
            let frame = encode_frame(&salt, next, live.heads, &batch);
            disk.write(&temp, end, &frame)?;
            end += frame.len() as u64;
            next += 1;
            if ops.peek().is_none() {
                break;
            }
        }
        drop(ops);
        disk.sync(&temp)?;
        disk.rename(&temp, &file)?;
        disk.sync_dir("")?;
        Ok(Self {
            number,
            salt,
            step: step(0),
            end,
            allocated: end,
            next,
            live,
            suspect: false,
            stray: false,
            old: Vec::new(),
            compact_from: 0,
        })
    }

    /// Opens the newest segment; `None` if there is none.
    pub fn recover(disk: &mut impl Disk) -> Result<Option<Self>, StoreError> {
        let mut numbers = segments(disk)?;
        let Some(number) = numbers.pop() else { return Ok(None) };
        let segment = read_segment(disk, number, false)?;
        if segment.frames == 0 {
            let what = "the segment's first frame is bad";
            let file = segment_name(number);
            return Err(Corruption::new(&file, SEGMENT_HEADER, None, what).into());
        }
        if let Some(loss) = witness::loss(disk, number, &segment)? {
            return Err(loss.into());
        }
        let mut log = Self {
            number,
            salt: segment.salt,
            step: step(0),
            end: segment.end,
            allocated: segment.len,
            next: segment.next,
            live: segment.live,
            suspect: segment.torn,
            stray: false,
            old: numbers,
            compact_from: 0,
        };
        log.scrub(disk)?;
        Ok(Some(log))
    }

    /// This journal, for segments of about `size` bytes.
    pub fn sized(self, size: u64) -> Self {
        Self { step: step(size), ..self }
    }

    /// Removes, durably, what a failed or torn append or a failed compaction left.
    pub fn scrub(&mut self, disk: &mut impl Disk) -> Result<(), StoreError> {
        if self.stray {
            let file = segment_name(self.number + 1);
            if disk.exists(&file)? {
                disk.remove(&file)?;
            }
            disk.sync_dir("")?;
            self.stray = false;
        }
        if self.suspect {
            let file = segment_name(self.number);
            disk.truncate(&file, self.end)?;
            disk.sync(&file)?;
            self.allocated = self.end;
            self.suspect = false;
        }
        Ok(())
    }

    /// Writes and syncs one frame; when this returns, the operations and heads count.
    pub fn append(
        &mut self,
        disk: &mut impl Disk,
        heads: Heads,
        ops: Vec<Op>,
    ) -> Result<(), StoreError> {
        let file = segment_name(self.number);
        let mut frame = encode_frame(&self.salt, self.next, heads, &ops);
        let end = self.end + frame.len() as u64;
        let mut allocated = self.allocated;
        if end > allocated {
            allocated = end.next_multiple_of(self.step);
            frame.resize(usize::try_from(allocated - self.end).expect("a few steps"), 0);
        }
        self.suspect = true;
        disk.write(&file, self.end, &frame)?;
        if !mutated(Mutant::AppendUnsynced) {
            disk.sync(&file)?;
        }
        self.suspect = false;
        (self.end, self.allocated) = (end, allocated);
        self.next += 1;
        self.live.heads = heads;
        ops.into_iter().for_each(|op| self.live.apply(op));
        witness::write(disk, self.next);
        Ok(())
    }

    /// Whether the segment is due for compaction.
    pub fn is_bloated(&self, size: u64) -> bool {
        let live = self.live.bytes + SEGMENT_HEADER;
        self.end > size && self.end > 2 * live && self.end >= self.compact_from
    }

    /// Goes over to a new segment that holds the live set only.
    pub fn compact(&mut self, disk: &mut impl Disk, salt: Salt) -> Result<(), StoreError> {
        self.compact_from = self.end + self.step;
        self.stray = true;
        let new = Self::create(disk, self.number + 1, salt, self.next, self.live.clone())?;
        let mut old = std::mem::take(&mut self.old);
        old.push(self.number);
        *self = Self { old, step: self.step, ..new };
        self.remove_old(disk)
    }

    /// Whether earlier segments are still to be removed.
    pub fn has_old(&self) -> bool {
        !self.old.is_empty()
    }

    /// Removes earlier segments.
    pub fn remove_old(&mut self, disk: &mut impl Disk) -> Result<(), StoreError> {
        while let Some(number) = self.old.last() {
            let file = segment_name(*number);
            if disk.exists(&file)? {
                disk.remove(&file)?;
            }
            self.old.pop();
        }
        Ok(disk.sync_dir("")?)
    }
}

#[cfg(test)]
mod tests;
