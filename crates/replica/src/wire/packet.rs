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
    /// Nobody: the text is the packet.
    Nobody,
    /// A producer, with its key of the view.
    View(ViewKey),
    /// A member.
    Member(MemberKey),
}

struct Inner {
    text: Arc<[u8]>,
    signer: Signer,
    signed: OnceLock<Arc<[u8]>>,
}

/// Bytes to be sent, signed once somebody asks for them. A copy is the same packet.
#[derive(Clone)]
pub struct Packet(Arc<Inner>);

impl Packet {
    pub(super) fn new(text: Vec<u8>, signer: Signer) -> Self {
        Self(Arc::new(Inner { text: text.into(), signer, signed: OnceLock::new() }))
    }

    /// The packet as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        let Inner { text, signer, signed } = &*self.0;
        let sealed = |signature: &[u8]| [text, signature].concat().into();
        match signer {
            Signer::Nobody => text,
            Signer::View(key) => {
                signed.get_or_init(|| sealed(&key.sign(FRAME_DOMAIN, &sha256(text)).0))
            }
            Signer::Member(key) => {
                signed.get_or_init(|| sealed(key.sign(&member_digest(text)).as_ref()))
            }
        }
    }

    /// Length of [`Packet::bytes`].
    #[must_use]
    pub fn len(&self) -> usize {
        let signature = match self.0.signer {
            Signer::Nobody => 0,
            Signer::View(_) => super::VIEW_SIGNATURE,
            Signer::Member(_) => super::MEMBER_SIGNATURE,
        };
        self.0.text.len() + signature
    }

    /// Whether there is nothing in it; no packet of this program is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether two are one packet, not only alike.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let complete =
            matches!((&self.0.signer, &other.0.signer), (Signer::Nobody, Signer::Nobody));
        Arc::ptr_eq(&self.0, &other.0) || complete && Arc::ptr_eq(&self.0.text, &other.0.text)
    }

    /// What is signed, and by whom.
    pub(super) fn parts(&self) -> (&[u8], &Signer) {
        (&self.0.text, &self.0.signer)
    }
}

/// Bytes that are complete: whoever checks them checks their signature, too.
impl From<Arc<[u8]>> for Packet {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(Arc::new(Inner { text: bytes, signer: Signer::Nobody, signed: OnceLock::new() }))
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
