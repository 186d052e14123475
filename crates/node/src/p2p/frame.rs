//! Frames on a stream between two peers.
//!
//! A stream carries frames from who opened it to who accepted it. The other way goes one byte,
//! [`READY`], when the acceptor reads: a stream that is dropped unread (the acceptor's queue of new
//! streams is short) would otherwise swallow the first batch without an error.
//!
//! ```text
//! length   4 bytes, big-endian: kind, group and payload together
//! kind     1 byte: 0 packet, 1 presence, 2 request of a presence
//! group    16 bytes
//! payload  a packet of the replica, a presence item, or nothing
//! ```

use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt as _};
use quorate_ledger::ids::GroupId;
use uuid::Uuid;

/// Largest payload of a frame. A stream that announces more is closed.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// What the acceptor of a stream says when it reads.
pub const READY: u8 = 1;

/// Kind, group.
const FIXED: usize = 1 + 16;

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A packet of a group's replica.
    Packet = 0,
    /// A member says where it is.
    Presence = 1,
    /// Asks the receiver to say where its member is.
    Ask = 2,
}

impl Kind {
    /// The kind of this number.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Packet),
            1 => Some(Self::Presence),
            2 => Some(Self::Ask),
            _ => None,
        }
    }
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// For which group.
    pub group: GroupId,
    /// The packet or item.
    pub payload: Arc<[u8]>,
}

impl Frame {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        4 + FIXED + self.payload.len()
    }

    /// Appends the frame to a batch.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(FIXED + self.payload.len()).expect("payloads are limited");
        out.extend_from_slice(&length.to_be_bytes());
        out.push(self.kind as u8);
        out.extend_from_slice(self.group.0.as_bytes());
        out.extend_from_slice(&self.payload);
    }
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream ended or broke; between two frames this is its normal end.
    #[error("the stream ended: {0}")]
    Io(#[from] std::io::Error),
    /// The peer breaks the protocol.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
}

/// The part of a frame in front of its payload.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What it carries.
    pub kind: Kind,
    /// For which group.
    pub group: GroupId,
    /// Length of the payload.
    pub len: usize,
}

/// Reads the head of the next frame.
///
/// # Errors
/// [`FrameError`].
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Head, FrameError> {
    let mut fixed = [0; 4 + FIXED];
    stream.read_exact(&mut fixed).await?;
    let length = u32::from_be_bytes(fixed[..4].try_into().expect("4 bytes")) as usize;
    let len = length.checked_sub(FIXED).ok_or(FrameError::Malformed("too short"))?;
    if len > MAX_PAYLOAD {
        return Err(FrameError::Malformed("too long"));
    }
    let kind = Kind::from_byte(fixed[4]).ok_or(FrameError::Malformed("unknown kind"))?;
    let id = fixed[5..].try_into().expect("16 bytes");
    Ok(Head { kind, group: GroupId(Uuid::from_bytes(id)), len })
}

/// Room for so much of a payload is made before any of it is there.
const FIRST: usize = 64 * 1024;

/// Reads a payload. Memory is taken as bytes arrive, not as they are promised.
///
/// # Errors
/// [`FrameError`].
pub async fn read_payload(
    stream: &mut (impl AsyncRead + Unpin),
    len: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut payload = Vec::new();
    while payload.len() < len {
        let read = payload.len();
        payload.resize(len.min(FIRST.max(2 * read)), 0);
        stream.read_exact(&mut payload[read..]).await?;
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Frame, FrameError, Kind, MAX_PAYLOAD, read_head, read_payload};
    use futures::executor::block_on;
    use futures::io::Cursor;
    use quorate_ledger::ids::GroupId;
    use uuid::Uuid;

    #[test]
    fn frames_in_one_batch_are_read_back_one_by_one() {
        let frames: Vec<Frame> = (0..3_u8)
            .map(|n| Frame {
                kind: if n == 1 { Kind::Presence } else { Kind::Packet },
                group: GroupId(Uuid::from_u128(u128::from(n))),
                payload: vec![n; 100 * usize::from(n)].into(),
            })
            .collect();
        let mut batch = Vec::new();
        for frame in &frames {
            frame.encode(&mut batch);
        }
        assert_eq!(batch.len(), frames.iter().map(Frame::len).sum::<usize>());
        let mut stream = Cursor::new(batch);
        for frame in &frames {
            let head = block_on(read_head(&mut stream)).expect("a head");
            let payload = block_on(read_payload(&mut stream, head.len)).expect("a payload");
            assert_eq!((head.kind, head.group), (frame.kind, frame.group));
            assert_eq!(*payload, *frame.payload);
        }
        assert!(matches!(block_on(read_head(&mut stream)), Err(FrameError::Io(_))));
    }

    #[test]
    fn malformed_frames_are_refused() {
        let head = |length: u32, kind: u8| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.push(kind);
            bytes.extend_from_slice(&[0; 16]);
            bytes
        };
        for bytes in [head(16, 0), head(0, 0), head(17, 9), head(18 + MAX_PAYLOAD as u32, 0)] {
            let error = block_on(read_head(&mut Cursor::new(bytes))).expect_err("malformed");
            assert!(matches!(error, FrameError::Malformed(_)), "{error}");
        }
        let short = block_on(read_payload(&mut Cursor::new(vec![1, 2, 3]), 4));
        assert!(matches!(short, Err(FrameError::Io(_))));
    }

    #[test]
    fn payloads_of_any_size_are_read_whole() {
        for len in [0, 1, FIRST - 1, FIRST, FIRST + 1, 2 * FIRST + 1, 5 * FIRST] {
            let bytes: Vec<u8> = (0..len + 7).map(|n| (n % 251) as u8).collect();
            let mut stream = Cursor::new(&bytes);
            let payload = block_on(read_payload(&mut stream, len)).expect("all of it is there");
            assert!(payload == bytes[..len], "{len}");
            assert_eq!(stream.position(), len as u64);
        }
    }
}
