//! The seed URL: what an owner hands to those who shall join.
//!
//! `rum://seed?v=1&e=..&n=..&c=..&g=..&k=..&s=..&t=..&a=..&y=..&u=..`, written in this order, read in
//! any order. `g`, `k`, `s`, `t` are the genesis block, whose signature `s` covers `g`, `k` and `t`.
//! Name, application key, cipher key, types and URLs are *not* covered, as in the reference; a seed
//! of ours has `x` behind, the owner's signature over everything but `u` (each node that hands a
//! seed out puts its own URLs there), which is checked if it is present.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::member::{MemberKey, MemberPublicKey, MemberSignature};
use serde::Serialize;
use uuid::Uuid;

use crate::genesis::GenesisBlock;
use crate::group::{Encryption, GroupDescriptor, MAX_APP_KEY, MAX_NAME};
use crate::ids::GroupId;
use crate::view::Protocol;

/// Longest seed URL read, in bytes.
pub const MAX_SEED: usize = 16 * 1024;
/// Most chain URLs in a seed.
pub const MAX_URLS: usize = 16;

const PREFIX: &str = "rum://seed?";
/// What Go's query escaping leaves as it is, beside letters and digits; it writes a space as `+`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a seed URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// The text is no seed URL at all.
    #[error("not a seed URL: {0}")]
    Form(&'static str),
    /// The version is not 1.
    #[error("unsupport seed url version")]
    Version,
    /// One field is wrong.
    #[error("seed field {field}: {reason}")]
    Field {
        /// Its letter.
        field: char,
        /// What is wrong.
        reason: &'static str,
    },
    /// The genesis signature does not hold.
    #[error(
        "seed fields s, k, t, g: genesis signature invalid; s must be the owner's (k) signature over \
         owner, time (t) and group (g), so one of these four was changed"
    )]
    GenesisSignature,
    /// The additional signature does not hold.
    #[error(
        "seed field x: the owner's signature over the whole seed is invalid, so one of the fields \
         e, n, c, a, y, x was changed"
    )]
    SeedSignature,
}

impl SeedError {
    /// Letters of the fields that may be wrong.
    #[must_use]
    pub fn fields(&self) -> Vec<char> {
        match self {
            Self::Form(_) => Vec::new(),
            Self::Version => vec!['v'],
            Self::Field { field, .. } => vec![*field],
            Self::GenesisSignature => vec!['s', 'k', 't', 'g'],
            Self::SeedSignature => vec!['e', 'n', 'c', 'a', 'y', 'x'],
        }
    }
}

const fn wrong(field: char, reason: &'static str) -> SeedError {
    SeedError::Field { field, reason }
}

/// Where a node's chain API answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChainUrl {
    /// `http(s)://host:port`, or a path behind it.
    pub base: String,
    /// The token to call it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
}

impl ChainUrl {
    /// Reads a URL; `https://` is put in front if there is no scheme.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let scheme = if text.contains("://") { "" } else { "https://" };
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let jwt = query.split('&').find_map(|pair| pair.strip_prefix("jwt="));
        Self { base: format!("{scheme}{base}"), jwt: jwt.map(str::to_owned) }
    }

    /// The URL with its token.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.jwt
            .as_ref()
            .map_or_else(|| self.base.clone(), |jwt| format!("{}?jwt={jwt}", self.base))
    }
}

/// A seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed {
    /// The group.
    pub group: GroupDescriptor,
    /// Chain API URLs of nodes of the group.
    pub urls: Vec<ChainUrl>,
    /// The owner's signature over everything but the URLs, if there is one.
    pub owner_sign: Option<MemberSignature>,
}

/// What there is to see in a seed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SeedInspection {
    /// The group.
    pub group_id: GroupId,
    /// Its name.
    pub group_name: String,
    /// Its owner.
    pub owner_pubkey: MemberPublicKey,
    /// How it orders.
    pub consensus_type: &'static str,
    /// Who may read its posts.
    pub encryption_type: &'static str,
    /// Hexadecimal cipher key.
    pub cipher_key: String,
    /// Key of the application.
    pub app_key: String,
    /// When the group was made, nanoseconds since the Unix epoch; a decimal string in JSON.
    #[serde(serialize_with = "crate::json::decimal_i64::serialize")]
    pub timestamp: i64,
    /// Hash of the genesis block, hexadecimal.
    pub genesis_hash: Digest,
    /// Chain API URLs with their tokens.
    pub urls: Vec<String>,
    /// Whether the genesis signature, and the signature over the whole seed if present, hold.
    pub signature_valid: bool,
    /// Whether there is a signature over the whole seed.
    pub whole_seed_signed: bool,
}

impl Seed {
    /// A seed for `group` with these URLs; signed as a whole if `owner` is given.
    #[must_use]
    pub fn new(group: GroupDescriptor, urls: Vec<ChainUrl>, owner: Option<&MemberKey>) -> Self {
        let mut seed = Self { group, urls, owner_sign: None };
        seed.owner_sign = owner.map(|key| key.sign(&seed.digest()));
        seed
    }

    /// What `x` signs: everything but the URLs.
    fn digest(&self) -> Digest {
        let group = &self.group;
        Hasher::new("quorate.seed.v1")
            .u64(u64::from(group.encryption.number()))
            .u64(u64::from(group.consensus.number()))
            .field(group.cipher_key.as_bytes())
            .field(group.genesis.group.0.as_bytes())
            .field(group.genesis.owner.as_bytes())
            .field(&group.genesis.sign.0)
            .field(&group.genesis.timestamp.to_be_bytes())
            .field(group.name.as_bytes())
            .field(group.app_key.as_bytes())
            .finish()
    }

    /// Checks the genesis signature, and the signature over the whole seed if there is one.
    ///
    /// # Errors
    /// [`SeedError::GenesisSignature`], [`SeedError::SeedSignature`].
    pub fn verify(&self) -> Result<(), SeedError> {
        self.group.genesis.verify().map_err(|_| SeedError::GenesisSignature)?;
        match &self.owner_sign {
            Some(sign) if !self.group.owner.verify(&self.digest(), &sign.0) => {
                Err(SeedError::SeedSignature)
            }
            _ => Ok(()),
        }
    }

    /// Reads a seed URL and checks its signatures.
    ///
    /// # Errors
    /// [`SeedError`].
    pub fn parse_verified(text: &str) -> Result<Self, SeedError> {
        let seed = Self::parse(text)?;
        seed.verify()?;
        Ok(seed)
    }

    /// Reads a seed URL without checking its signatures.
    ///
    /// # Errors
    /// [`SeedError`] naming the field.
    pub fn parse(text: &str) -> Result<Self, SeedError> {
        let fields = Fields::split(text)?;
        if fields.required('v')? != "1" {
            return Err(SeedError::Version);
        }
        let number = |field, reason| {
            let text = fields.required(field)?;
            text.parse::<u8>().ok().filter(|n| n.to_string() == text).ok_or(wrong(field, reason))
        };
        let encryption = Encryption::from_number(number('e', "expected 0 or 1")?)
            .ok_or(wrong('e', "expected 0 (public) or 1 (private)"))?;
        let consensus = Protocol::from_number(number('n', "expected a number")?)
            .ok_or(wrong('n', "this consensus type is not supported"))?;
        let cipher_key = SymmetricKey(fields.bytes('c')?);
        let group = GroupId(Uuid::from_bytes(fields.bytes('g')?));
        let genesis = GenesisBlock {
            group,
            owner: fields.owner()?,
            timestamp: fields.timestamp()?,
            sign: MemberSignature(fields.bytes('s')?),
        };
        let owner_sign = match fields.get('x') {
            Some(_) => Some(MemberSignature(fields.bytes('x')?)),
            None => None,
        };
        let descriptor = GroupDescriptor {
            id: group,
            name: fields.text('a', MAX_NAME)?,
            owner: genesis.owner,
            consensus,
            encryption,
            cipher_key,
            app_key: fields.text('y', MAX_APP_KEY)?,
            genesis,
        };
        Ok(Self { group: descriptor, urls: fields.urls()?, owner_sign })
    }

    /// Writes the seed URL. `u` is left out if there are no URLs.
    ///
    /// # Errors
    /// [`SeedError::Field`] if name or application key contain `%` (the reference unescapes twice),
    /// or are too long.
    pub fn to_url(&self) -> Result<String, SeedError> {
        let group = &self.group;
        for (field, text, max) in [('a', &group.name, MAX_NAME), ('y', &group.app_key, MAX_APP_KEY)]
        {
            if text.contains('%') {
                return Err(wrong(field, "must not contain %"));
            }
            if text.len() > max {
                return Err(wrong(field, "too long"));
            }
        }
        let mut url = format!(
            "{PREFIX}v=1&e={}&n={}&c={}&g={}&k={}&s={}&t={}&a={}&y={}",
            group.encryption.number(),
            group.consensus.number(),
            URL_SAFE_NO_PAD.encode(group.cipher_key.as_bytes()),
            URL_SAFE_NO_PAD.encode(group.genesis.group.0.as_bytes()),
            group.genesis.owner,
            URL_SAFE_NO_PAD.encode(group.genesis.sign.0),
            URL_SAFE_NO_PAD.encode(minimal(group.genesis.timestamp)),
            escape(&group.name),
            escape(&group.app_key),
        );
        if !self.urls.is_empty() {
            let urls: Vec<_> = self.urls.iter().map(|url| escape(&url.to_text())).collect();
            let _ = write!(url, "&u={}", urls.join("|"));
        }
        if let Some(sign) = &self.owner_sign {
            let _ = write!(url, "&x={}", URL_SAFE_NO_PAD.encode(sign.0));
        }
        Ok(url)
    }

    /// Everything there is to see.
    #[must_use]
    pub fn inspect(&self) -> SeedInspection {
        let group = &self.group;
        SeedInspection {
            group_id: group.id,
            group_name: group.name.clone(),
            owner_pubkey: group.owner,
            consensus_type: group.consensus.name(),
            encryption_type: group.encryption.name(),
            cipher_key: group.cipher_key.to_string(),
            app_key: group.app_key.clone(),
            timestamp: group.genesis.timestamp,
            genesis_hash: group.genesis.hash(),
            urls: self.urls.iter().map(ChainUrl::to_text).collect(),
            signature_valid: self.verify().is_ok(),
            whole_seed_signed: self.owner_sign.is_some(),
        }
    }
}

/// Big-endian bytes without leading zeros.
fn minimal(timestamp: i64) -> Vec<u8> {
    timestamp.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace("%20", "+")
}

/// Unescapes once, as a query value.
fn unescape(field: char, text: &str) -> Result<String, SeedError> {
    let mut escapes = text.split('%');
    escapes.next();
    let escaped =
        |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !escapes.all(escaped) {
        return Err(wrong(field, "% without two hexadecimal digits"));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    Ok(decoded.map_err(|_| wrong(field, "not UTF-8"))?.into_owned())
}

/// The fields of a seed URL, unescaped once.
struct Fields(BTreeMap<char, String>);

impl Fields {
    fn split(text: &str) -> Result<Self, SeedError> {
        if text.len() > MAX_SEED {
            return Err(SeedError::Form("longer than 16 KiB"));
        }
        let query = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(SeedError::Form("it does not begin with rum://seed?"))?;
        let mut fields = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let mut letters = name.chars();
            // Longer names are left to whoever adds them later, as is `b` of old seeds.
            let (Some(field), None) = (letters.next(), letters.next()) else {
                continue;
            };
            if fields.insert(field, unescape(field, value)?).is_some() {
                return Err(wrong(field, "given twice"));
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, field: char) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    fn required(&self, field: char) -> Result<&str, SeedError> {
        self.get(field).ok_or(wrong(field, "missing"))
    }

    fn text(&self, field: char, max: usize) -> Result<String, SeedError> {
        let text = self.required(field)?;
        if text.len() > max { Err(wrong(field, "too long")) } else { Ok(text.to_owned()) }
    }

    fn decode(&self, field: char) -> Result<Vec<u8>, SeedError> {
        let text = self.required(field)?;
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes.map_err(|_| wrong(field, "not base64url without padding"))
    }

    fn bytes<const N: usize>(&self, field: char) -> Result<[u8; N], SeedError> {
        self.decode(field)?.try_into().map_err(|_| wrong(field, "wrong length"))
    }

    fn owner(&self) -> Result<MemberPublicKey, SeedError> {
        MemberPublicKey::from_bytes(&self.bytes::<33>('k')?)
            .map_err(|_| wrong('k', "not a public key"))
    }

    fn timestamp(&self) -> Result<i64, SeedError> {
        let bytes = self.decode('t')?;
        if bytes.is_empty() || bytes.len() > 8 || bytes[0] == 0 {
            return Err(wrong('t', "not a time in minimal big-endian bytes"));
        }
        let nanoseconds = bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        i64::try_from(nanoseconds).map_err(|_| wrong('t', "time out of range"))
    }

    fn urls(&self) -> Result<Vec<ChainUrl>, SeedError> {
        let text = self.get('u').unwrap_or_default();
        let urls: Vec<_> = text.split('|').filter(|url| !url.is_empty()).collect();
        if urls.len() > MAX_URLS {
            return Err(wrong('u', "too many URLs"));
        }
        Ok(urls.into_iter().map(ChainUrl::parse).collect())
    }
}

#[cfg(test)]
#[path = "seed_tests.rs"]
mod tests;
