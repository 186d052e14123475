//! Access tokens: JWT signed with HMAC-SHA-256, as in seeds of the reference.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quorate_crypto::mac::MacKey;
use quorate_ledger::ids::GroupId;
use serde::{Deserialize, Serialize};

/// How long a token in a seed is good for: five years, in seconds.
const SEED_SECONDS: i64 = 5 * 365 * 24 * 3600;
/// Longest token read.
const MAX_TOKEN: usize = 4096;

/// What a token says. Both spellings of the groups are read and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Groups a node token is for.
    #[serde(rename = "allowGroups", default, skip_serializing_if = "Vec::is_empty")]
    pub allow_groups: Vec<String>,
    /// The one group of a node token, as later versions write it.
    #[serde(rename = "allowGroup", default, skip_serializing_if = "String::is_empty")]
    pub allow_group: String,
    /// Until when, seconds since the Unix epoch.
    pub exp: i64,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// `chain`: everything; `node`: trxs and light-node API of its groups.
    pub role: String,
}

impl Claims {
    /// Whether it is a token for everything.
    #[must_use]
    pub fn is_chain(&self) -> bool {
        self.role == "chain"
    }

    /// Whether it is a token for this group.
    #[must_use]
    pub fn is_for(&self, group: &str) -> bool {
        self.role == "node"
            && (self.allow_groups.iter().any(|g| g == group) || self.allow_group == group)
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not a JWT of this node.
    #[error("missing or malformed jwt")]
    Malformed,
    /// Its signature is not this node's.
    #[error("invalid jwt: the signature is not by this node")]
    Signature,
    /// Its time is over.
    #[error("expired jwt")]
    Expired,
}

/// Makes and checks tokens.
pub struct Tokens {
    key: MacKey,
}

impl Tokens {
    /// With an HMAC key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: MacKey::new(key) }
    }

    /// The token of a seed.
    #[must_use]
    pub fn for_seed(&self, group: GroupId) -> String {
        self.make(&Claims {
            allow_groups: vec![group.to_string()],
            allow_group: group.to_string(),
            exp: now().saturating_add(SEED_SECONDS),
            name: format!("allow-{group}"),
            role: "node".to_owned(),
        })
    }

    /// A token with these claims.
    #[must_use]
    pub fn make(&self, claims: &Claims) -> String {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let body = serde_json::to_vec(claims).expect("claims are JSON");
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(body));
        let tag = self.key.tag(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Checks a token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check(&self, token: &str) -> Result<Claims, TokenError> {
        self.check_at(token, now())
    }

    fn check_at(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
        }
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed);
        let parsed: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if parsed.alg != "HS256" {
            return Err(TokenError::Malformed);
        }
        if !self.key.verify(signed.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Signature);
        }
        let claims: Claims =
            serde_json::from_slice(&decode(body)?).map_err(|_| TokenError::Malformed)?;
        if claims.exp <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

fn now() -> i64 {
    crate::node::now_ns() / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::{Claims, TokenError, Tokens};
    use quorate_ledger::ids::GroupId;

    #[test]
    fn a_seed_token_is_for_its_group_only() {
        let tokens = Tokens::new(b"key");
        let group = GroupId(uuid::Uuid::from_u128(5));
        let claims = tokens.check(&tokens.for_seed(group)).expect("good");
        assert!(claims.is_for(&group.to_string()) && !claims.is_chain());
        assert!(!claims.is_for(&GroupId(uuid::Uuid::from_u128(6)).to_string()));
    }

    #[test]
    fn forged_altered_and_old_tokens_are_refused() {
        let tokens = Tokens::new(b"key");
        let claims = Claims {
            allow_groups: Vec::new(),
            allow_group: String::new(),
            exp: 1000,
            name: String::new(),
            role: "chain".to_owned(),
        };
        let token = tokens.make(&claims);
        assert_eq!(tokens.check_at(&token, 999).as_ref(), Ok(&claims));
        assert_eq!(tokens.check_at(&token, 1000), Err(TokenError::Expired));
        assert_eq!(Tokens::new(b"other").check_at(&token, 0), Err(TokenError::Signature));
        // An unsigned token, in the form that careless readers accept.
        let none = "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiY2hhaW4iLCJleHAiOjk5OTl9.";
        assert_eq!(tokens.check_at(none, 0), Err(TokenError::Malformed));
        for text in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert!(tokens.check_at(text, 0).is_err());
        }
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let altered = format!("{}x.{signature}", &signed[..signed.len() - 1]);
        assert!(tokens.check_at(&altered, 0).is_err());
    }
}
