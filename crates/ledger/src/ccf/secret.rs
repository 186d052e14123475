//! The ledger secret: shared by the nodes of a service and by nobody else. It encrypts private maps
//! and makes the commit evidence of transactions.

use std::fmt::{self, Write as _};

use quorate_crypto::cipher::{GcmKey, NONCE, OpenError, SymmetricKey, TAG};
use quorate_crypto::hash::{Digest, sha256};
use quorate_crypto::mac::MacKey;

use super::txid::TxId;

/// Keys are derived from the secret under these labels, so that neither tells the other.
const ENCRYPTION: &[u8] = b"quorate.ledger.encryption.v1";
const EVIDENCE: &[u8] = b"quorate.ledger.commit-evidence.v1";

/// The secret of a service's ledger. `Debug` does not show it.
#[derive(Clone)]
pub struct LedgerSecret {
    secret: SymmetricKey,
    cipher: GcmKey,
    evidence: MacKey,
}

impl LedgerSecret {
    /// The secret with these bytes.
    #[must_use]
    pub fn new(secret: SymmetricKey) -> Self {
        let root = MacKey::new(secret.as_bytes());
        let cipher = GcmKey::new(&SymmetricKey(root.tag(ENCRYPTION)));
        let evidence = MacKey::new(&root.tag(EVIDENCE));
        Self { secret, cipher, evidence }
    }

    /// The secret bytes, to be kept in the vault and handed to nodes that join.
    #[must_use]
    pub const fn key(&self) -> &SymmetricKey {
        &self.secret
    }

    /// The commit evidence of a transaction: `ce:<view>.<seqno>:<64 hex digits>`. Whoever shows it
    /// proves that the transaction was committed, so it must not be shown before. `[7.2]`
    #[must_use]
    pub fn commit_evidence(&self, id: TxId) -> String {
        String::from_utf8_lossy(self.evidence_text(id).as_bytes()).into_owned()
    }

    /// SHA-256 of the commit evidence of a transaction, which its entry carries. `[7.2]`
    #[must_use]
    pub fn evidence_digest(&self, id: TxId) -> Digest {
        sha256(self.evidence_text(id).as_bytes())
    }

    fn evidence_text(&self, id: TxId) -> Text {
        let mut message = [0; 18];
        message[..2].copy_from_slice(b"ce");
        message[2..10].copy_from_slice(&id.view.to_be_bytes());
        message[10..].copy_from_slice(&id.seqno.to_be_bytes());
        let nonce = self.evidence.tag(&message);
        let mut text = Text::default();
        write!(text, "ce:{id}:").expect("two numbers have room");
        for byte in nonce {
            for digit in [byte >> 4, byte & 15] {
                text.push(b"0123456789abcdef"[usize::from(digit)]);
            }
        }
        text
    }

    /// Encrypts the private part of a transaction where it stands, and returns the tag. The public
    /// part is authenticated with it.
    pub(super) fn seal(&self, id: TxId, public: &[u8], private: &mut [u8]) -> [u8; TAG] {
        self.cipher.seal_in_place(nonce(id), public, private)
    }

    /// The private part of a transaction.
    pub(super) fn open(
        &self,
        id: TxId,
        public: &[u8],
        private: &[u8],
        tag: &[u8; TAG],
    ) -> Result<Vec<u8>, OpenError> {
        self.cipher.open(nonce(id), public, private, tag)
    }

    /// As [`LedgerSecret::seal`], for the snapshot after the transaction.
    pub(super) fn seal_snapshot(&self, id: TxId, public: &[u8], private: &mut [u8]) -> [u8; TAG] {
        self.cipher.seal_in_place(snapshot_nonce(id), public, private)
    }

    /// As [`LedgerSecret::open`], for the snapshot after the transaction.
    pub(super) fn open_snapshot(
        &self,
        id: TxId,
        public: &[u8],
        private: &[u8],
        tag: &[u8; TAG],
    ) -> Result<Vec<u8>, OpenError> {
        self.cipher.open(snapshot_nonce(id), public, private, tag)
    }
}

impl fmt::Debug for LedgerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerSecret(redacted)")
    }
}

/// `[u64 seqno][u32 view]`: as they stand in the entry. A view has one leader, which gives a seqno
/// to one transaction, so no nonce serves twice. `[7.1]`
fn nonce(id: TxId) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&id.seqno.to_le_bytes());
    let view = u32::try_from(id.view).expect("an entry's view has 31 bits");
    nonce[8..].copy_from_slice(&view.to_le_bytes());
    nonce
}

/// The highest bit of the view tells a snapshot from the transaction it is taken at.
fn snapshot_nonce(id: TxId) -> [u8; NONCE] {
    let mut nonce = nonce(id);
    nonce[NONCE - 1] |= 0x80;
    nonce
}

/// The longest evidence: `ce:`, two numbers of 20 digits with a dot, a colon, 64 digits.
const LONGEST: usize = 3 + 20 + 1 + 20 + 1 + 64;

/// A text without an allocation: one is made for every transaction.
struct Text {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; LONGEST], length: 0 }
    }
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
