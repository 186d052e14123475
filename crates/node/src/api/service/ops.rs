//! Operations in JSON, and what they gave: as `POST /app/batch` and `GET /app/stream` have them.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_ledger::ccf::maps::is_reserved;
use quorate_replica::cft::api::{Op, OpResult};
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::service::unexpected;

/// How keys and values stand in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As text.
    #[default]
    Utf8,
    /// In base64, with padding.
    Base64,
}

impl Encoding {
    /// The encoding of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "utf8" => Some(Self::Utf8),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }

    /// Bytes as they stand in JSON.
    ///
    /// # Errors
    /// If they are no text.
    pub fn write(self, bytes: &[u8]) -> Result<String, Refusal> {
        match self {
            Self::Base64 => Ok(STANDARD.encode(bytes)),
            Self::Utf8 => String::from_utf8(bytes.to_vec()).map_err(|_| {
                Refusal::input("a key or value is not UTF-8").hint("ask with encoding=base64")
            }),
        }
    }

    /// The bytes of a text, with `room` to decode them.
    fn read<'a>(self, text: &'a Text<'_>, room: &'a mut Vec<u8>) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Utf8 => Ok(text.0.as_bytes()),
            Self::Base64 => {
                room.clear();
                let decoded = STANDARD.decode_vec(&*text.0, room);
                decoded.map_err(|_| Refusal::input("a key or value is not base64"))?;
                Ok(room)
            }
        }
    }
}

/// A text that is copied only if it is written with escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Put,
    Delete,
    Cas,
    Get,
}

/// One operation, as it stands in JSON.
#[derive(Deserialize)]
pub struct Operation<'a> {
    op: Name,
    #[serde(borrow)]
    map: Text<'a>,
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow, default)]
    value: Option<Text<'a>>,
    #[serde(borrow, default)]
    expected: Option<Text<'a>>,
}

impl Operation<'_> {
    fn read(self, encoding: Encoding, room: &mut Vec<u8>) -> Result<Op, Refusal> {
        if self.op != Name::Get && is_reserved(&self.map.0) {
            return Err(Refusal::reserved(&self.map.0));
        }
        let (map, key) = (Arc::from(&*self.map.0), encoding.read(&self.key, room)?.to_vec());
        let mut value = |text: Option<Text<'_>>| match text {
            Some(text) => encoding.read(&text, room).map(|bytes| Some(Arc::from(bytes))),
            None => Ok(None),
        };
        Ok(match self.op {
            Name::Get => Op::Get { map, key },
            Name::Delete => Op::Delete { map, key },
            Name::Put => {
                let value = value(self.value)?;
                let value = value.ok_or_else(|| Refusal::input("put needs a text `value`"))?;
                Op::Put { map, key, value }
            }
            Name::Cas => {
                let (expected, value) = (value(self.expected)?, value(self.value)?);
                Op::CompareAndSet { map, key, expected, value }
            }
        })
    }
}

/// Something that came as JSON.
///
/// # Errors
/// If it is not what it must be.
pub fn json_of<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::input(format!("JSON: {error}")))
}

/// What a request asks for.
///
/// # Errors
/// If an operation is none, or writes to a map of the service.
pub fn operations(ops: Vec<Operation<'_>>, encoding: Encoding) -> Result<Vec<Op>, Refusal> {
    let mut room = Vec::new();
    ops.into_iter().map(|op| op.read(encoding, &mut room)).collect()
}

/// What an operation gave: `{}`, or `{"value": ...}` of a read (`null`: there is no such key).
#[derive(Serialize)]
pub struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<String>>,
}

impl Shown {
    /// What an operation gave.
    ///
    /// # Errors
    /// If the value cannot be shown in this encoding.
    pub fn of(result: &OpResult, encoding: Encoding) -> Result<Self, Refusal> {
        let value = match result {
            OpResult::Value(value) => {
                Some(value.as_ref().map(|value| encoding.write(value)).transpose()?)
            }
            OpResult::Done => None,
            OpResult::Range(..) => return Err(unexpected(result).into()),
        };
        Ok(Self { value })
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::cft::api::Op;

    use super::{Encoding, Operation, json_of, operations};
    use crate::api::service::Refusal;

    fn read(json: &str, encoding: Encoding) -> Result<Vec<Op>, Refusal> {
        let ops: Vec<Operation<'_>> = json_of(json.as_bytes())?;
        operations(ops, encoding)
    }

    #[test]
    fn operations_are_read_in_either_encoding() {
        let ops = read(
            r#"[{"op":"put","map":"m","key":"k\u0041","value":"v"},
                {"op":"cas","map":"m","key":"k","expected":null,"value":"w"},
                {"op":"delete","map":"m","key":"k"},{"op":"get","map":"public:ccf.gov.x","key":"k"}]"#,
            Encoding::Utf8,
        )
        .expect("good");
        assert!(matches!(&ops[0], Op::Put { value, key, .. } if **value == *b"v" && key == b"kA"));
        assert!(matches!(&ops[1], Op::CompareAndSet { expected: None, value: Some(_), .. }));
        assert_eq!(ops.len(), 4);
        let ops = read(r#"[{"op":"get","map":"m","key":"AAE="}]"#, Encoding::Base64).expect("good");
        assert!(matches!(&ops[0], Op::Get { key, .. } if *key == [0, 1]));
        for (bad, encoding, code) in [
            (r#"{}"#, Encoding::Utf8, "InvalidInput"),
            (r#"[5]"#, Encoding::Utf8, "InvalidInput"),
            (r#"[{"op":"put","map":"m","key":"k"}]"#, Encoding::Utf8, "InvalidInput"),
            (r#"[{"op":"put","map":"m","value":"k"}]"#, Encoding::Utf8, "InvalidInput"),
            (r#"[{"op":"put","map":"m","key":"k","value":5}]"#, Encoding::Utf8, "InvalidInput"),
            (r#"[{"op":"jump","map":"m","key":"k"}]"#, Encoding::Utf8, "InvalidInput"),
            (r#"[{"op":"delete","map":"public:ccf.x","key":"k"}]"#, Encoding::Utf8, "Forbidden"),
            (r#"[{"op":"get","map":"m","key":"?"}]"#, Encoding::Base64, "InvalidInput"),
            ("[", Encoding::Utf8, "InvalidInput"),
        ] {
            let Err(refusal) = read(bad, encoding) else { panic!("taken: {bad}") };
            assert_eq!(refusal.code(), code, "{bad}");
        }
        assert_eq!(Encoding::named("hex"), None);
    }
}
