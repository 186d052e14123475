//! HMAC-SHA-256: says that a text was written by whoever holds the key (access tokens).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A key. `Debug` does not show it.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey")
    }
}

impl MacKey {
    /// The key with these bytes, of any length.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The tag of a message.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    /// Whether a tag is the message's; takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.verify_slice(tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::MacKey;

    /// RFC 4231, test case 2.
    #[test]
    fn the_tag_is_that_of_the_rfc() {
        let key = MacKey::new(b"Jefe");
        let message = b"what do ya want for nothing?";
        let tag = key.tag(message);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(tag), expected);
        assert!(key.verify(message, &tag));
        assert!(!key.verify(message, &tag[..31]));
        assert!(!key.verify(b"what do ya want for nothing!", &tag));
        assert!(!MacKey::new(b"Jeff").verify(message, &tag));
    }
}
