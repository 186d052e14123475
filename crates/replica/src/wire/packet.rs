//! A packet on its way out: signed by whoever needs its bytes.
//!
//! To sign costs more than most turns do, and nothing in a replica depends on the signature. So a
//! replica hands out what is to be said together with the key that speaks for it; the bytes come
//! into being, once, where they are asked for ([`Packet::bytes`]). There is no other way to bytes,
//! so nothing leaves a node unsigned.

use std::fmt;
use std::sync::{Arc, OnceLock};

use quorate_crypto::hash::sha256;
use quorate_crypto::member::MemberKey;
use quorate_crypto::view::ViewKey;

use super::{FRAME_DOMAIN, member_digest};

/// Who signs what a packet says.
#[expect(clippy::large_enum_variant, reason = "it lies in the packet's own allocation")]
pub(super) enum Signer {
    /// A producer, with its key of the view.
    View(ViewKey),
    /// A member.
    Member(MemberKey),
}

struct Unsigned {
    text: Vec<u8>,
    signer: Signer,
    signed: OnceLock<Arc<[u8]>>,
}

/// Bytes to be sent, signed once somebody asks for them. A copy is the same packet.
#[derive(Clone)]
pub struct Packet(Content);

#[derive(Clone)]
enum Content {
    /// Nobody signs it: the bytes are the packet.
    Complete(Arc<[u8]>),
    Unsigned(Arc<Unsigned>),
}

impl Packet {
    pub(super) fn new(text: Vec<u8>, signer: Signer) -> Self {
        Self(Content::Unsigned(Arc::new(Unsigned { text, signer, signed: OnceLock::new() })))
    }

    /// The packet as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        let Unsigned { text, signer, signed } = match &self.0 {
            Content::Complete(bytes) => return bytes,
            Content::Unsigned(unsigned) => &**unsigned,
        };
        let sealed = |signature: &[u8]| [text, signature].concat().into();
        signed.get_or_init(|| match signer {
            Signer::View(key) => sealed(&key.sign(FRAME_DOMAIN, &sha256(text)).0),
            Signer::Member(key) => sealed(key.sign(&member_digest(text)).as_ref()),
        })
    }

    /// Length of [`Packet::bytes`].
    #[must_use]
    pub fn len(&self) -> usize {
        let (text, signer) = self.parts();
        let signature = match signer {
            None => 0,
            Some(Signer::View(_)) => super::VIEW_SIGNATURE,
            Some(Signer::Member(_)) => super::MEMBER_SIGNATURE,
        };
        text.len() + signature
    }

    /// Whether there is nothing in it; no packet of this program is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether two are one packet, not only alike.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Content::Complete(one), Content::Complete(other)) => Arc::ptr_eq(one, other),
            (Content::Unsigned(one), Content::Unsigned(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// What is signed, and by whom, if anybody signs it here.
    pub(super) fn parts(&self) -> (&[u8], Option<&Signer>) {
        match &self.0 {
            Content::Complete(bytes) => (bytes, None),
            Content::Unsigned(unsigned) => (&unsigned.text, Some(&unsigned.signer)),
        }
    }
}

/// Bytes that are complete: whoever checks them checks their signature, too.
impl From<Arc<[u8]>> for Packet {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(Content::Complete(bytes))
    }
}

impl From<Vec<u8>> for Packet {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Arc::from(bytes))
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} bytes)", self.len())
    }
}
