//! What participants of a change say to each other, and its bytes.
//!
//! The canonical encoding of [`quorate_ledger::codec`]: version byte, a byte that names the
//! variant, the fields. A message travels in a frame signed by the sender's member key; it carries
//! no signature of its own beyond those inside the request.

use quorate_consensus::core::Message;
use quorate_consensus::honeybadger::ProofMessage;
use quorate_crypto::hash::Digest;
use quorate_crypto::view::ViewPublicKey;
use quorate_ledger::codec::{Canonical, CodecError, Reader, Writer};
use quorate_ledger::proto::ChangeConsensusReq;

use super::limits::{MAX_ACK, MAX_DEALING, MAX_REQUEST};

/// A message of the consensus change. `request` is the request's `MsgHash` throughout.
#[derive(Clone, PartialEq, Debug)]
pub enum ChangeMessage {
    /// The owner asks for another consensus.
    Request(Box<ChangeConsensusReq>),
    /// A listed producer takes part and will use this key in the new view. It carries the request,
    /// so that a participant the owner's own message has not reached yet can go on at once.
    Offer {
        /// The request.
        request: Box<ChangeConsensusReq>,
        /// The sender's key of the new view. The frame's signature binds it to the member.
        view_key: ViewPublicKey,
    },
    /// The sender's dealing for the receiver, sealed to the receiver's announced encryption key.
    Dealing {
        /// Which request.
        request: Digest,
        /// See [`super::keys`].
        sealed: Vec<u8>,
    },
    /// The sender has checked and stored the receiver's dealing.
    Ack {
        /// Which request.
        request: Digest,
        /// In the encoding of the key generation.
        ack: Vec<u8>,
    },
    /// A message of the agreement over the proofs.
    Proof {
        /// Which request.
        request: Digest,
        /// Which attempt, from 0.
        attempt: u64,
        /// What is said.
        message: ProofMessage,
    },
    /// The sender misses something: say again what was said to it.
    Ask {
        /// Which request.
        request: Digest,
    },
}

impl ChangeMessage {
    /// A short name for traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "REQUEST",
            Self::Offer { .. } => "OFFER",
            Self::Dealing { .. } => "DEALING",
            Self::Ack { .. } => "ACK",
            Self::Proof { .. } => "PROOF",
            Self::Ask { .. } => "ASK",
        }
    }
}

fn digest(reader: &mut Reader<'_>) -> Result<Digest, CodecError> {
    reader.array().map(Digest)
}

impl Canonical for ChangeMessage {
    const MAX_BYTES: usize = ProofMessage::MAX_BYTES + 64;

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Request(request) => {
                writer.u8(1);
                writer.message(&**request);
            }
            Self::Offer { request, view_key } => {
                writer.u8(2);
                writer.message(&**request);
                view_key.write(writer);
            }
            Self::Dealing { request, sealed } => {
                writer.u8(3);
                writer.raw(&request.0);
                writer.bytes(sealed);
            }
            Self::Ack { request, ack } => {
                writer.u8(4);
                writer.raw(&request.0);
                writer.bytes(ack);
            }
            Self::Proof { request, attempt, message } => {
                writer.u8(5);
                writer.raw(&request.0);
                writer.u64(*attempt);
                message.write(writer);
            }
            Self::Ask { request } => {
                writer.u8(6);
                writer.raw(&request.0);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.u8()? {
            1 => Self::Request(Box::new(reader.message("request", MAX_REQUEST)?)),
            2 => Self::Offer {
                request: Box::new(reader.message("request", MAX_REQUEST)?),
                view_key: ViewPublicKey::read(reader)?,
            },
            3 => Self::Dealing {
                request: digest(reader)?,
                sealed: reader.bytes("dealing", MAX_DEALING)?.to_vec(),
            },
            4 => Self::Ack {
                request: digest(reader)?,
                ack: reader.bytes("acknowledgement", MAX_ACK)?.to_vec(),
            },
            5 => Self::Proof {
                request: digest(reader)?,
                attempt: reader.u64()?,
                message: ProofMessage::read(reader)?,
            },
            6 => Self::Ask { request: digest(reader)? },
            _ => return Err(CodecError::Invalid("message variant")),
        })
    }
}

impl Message for ChangeMessage {
    fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes).ok()
    }
}
