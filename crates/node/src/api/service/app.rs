//! Ranges of keys, and several operations as one transaction.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_ledger::ccf::maps::is_reserved;
use quorate_replica::cft::api::{Command, Op, OpResult, Reply, TxId};
use serde_json::{Map, Value, json};

use super::kv::{body_of, consistency, outcome, redirection, wait_of};
use super::{
    REPLAYED, Refusal, Served, TRANSACTION, Target, idempotency, session, status_name, tx_header,
};
use crate::api::Context;
use crate::api::input::Params;
use crate::service::unexpected;

/// Most entries in an answer, and how many there are unless asked otherwise.
const MAX_ENTRIES: u32 = 1000;

/// How keys and values stand in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Base64,
}

impl Encoding {
    fn of(name: Option<&str>, default: Self) -> Result<Self, Refusal> {
        match name {
            None => Ok(default),
            Some("utf8") => Ok(Self::Utf8),
            Some("base64") => Ok(Self::Base64),
            Some(_) => Err(Refusal::input("encoding must be `utf8` or `base64`")),
        }
    }

    fn write(self, bytes: &[u8]) -> Result<String, Refusal> {
        match self {
            Self::Base64 => Ok(STANDARD.encode(bytes)),
            Self::Utf8 => String::from_utf8(bytes.to_vec()).map_err(|_| {
                Refusal::input("a key or value is not UTF-8").hint("ask with encoding=base64")
            }),
        }
    }

    fn read(self, text: &str) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Base64 => {
                STANDARD.decode(text).map_err(|_| Refusal::input("a key or value is not base64"))
            }
        }
    }
}

fn answer(value: &Value, tx: TxId) -> Response {
    let mut response = super::json(value);
    response.headers_mut().insert(TRANSACTION, tx_header(tx));
    response
}

/// `GET /app/kv/{map}`
pub async fn range(target: Target, params: Params, request: Request) -> Served {
    let encoding = Encoding::of(params.get("encoding"), Encoding::Base64)?;
    let limit = match params.get("limit") {
        None => MAX_ENTRIES,
        Some(text) => {
            let number = text.parse().ok().filter(|n| (1..=MAX_ENTRIES).contains(n));
            number.ok_or_else(|| {
                Refusal::parameter(format!("limit must be a number from 1 to {MAX_ENTRIES}"))
            })?
        }
    };
    let op = Op::Range {
        map: Arc::from(target.parameter("map")),
        from: params.get("from").unwrap_or_default().as_bytes().to_vec(),
        to: params.get("to").map(|to| to.as_bytes().to_vec()),
        limit,
    };
    let command = Command::Read {
        ops: vec![op],
        consistency: consistency(request.uri().query().unwrap_or_default())?,
        session: session(request.headers())?,
    };
    match target.service.command(command).await? {
        Reply::Read { tx, results } => match results.into_iter().next() {
            Some(OpResult::Range(entries, more)) => {
                let next = entries.last().filter(|_| more).map(|(key, _)| {
                    // The least key after the last one.
                    let mut next = key.clone();
                    next.push(0);
                    encoding.write(&next)
                });
                let shown: Result<Vec<Value>, Refusal> = entries
                    .iter()
                    .map(|(key, value)| {
                        Ok(json!({
                            "key": encoding.write(key)?,
                            "value": encoding.write(value)?,
                        }))
                    })
                    .collect();
                let next = next.transpose()?;
                Ok(answer(&json!({ "entries": shown?, "next": next }), tx))
            }
            other => Err(unexpected(&other).into()),
        },
        other => Err(unexpected(&other).into()),
    }
}

/// Reads the operations of a batch.
struct Reader<'a> {
    object: &'a Map<String, Value>,
    encoding: Encoding,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<&str, Refusal> {
        let text = self.object.get(name).and_then(Value::as_str);
        text.ok_or_else(|| Refusal::input(format!("an operation needs a text `{name}`")))
    }

    fn map(&self) -> Result<Arc<str>, Refusal> {
        Ok(Arc::from(self.text("map")?))
    }

    fn key(&self) -> Result<Vec<u8>, Refusal> {
        self.encoding.read(self.text("key")?)
    }

    /// A value or `null`; both count as absent if `name` is left out.
    fn value(&self, name: &str) -> Result<Option<Arc<[u8]>>, Refusal> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(self.encoding.read(text)?.into())),
            Some(_) => Err(Refusal::input(format!("`{name}` must be a text or null"))),
        }
    }

    fn op(&self) -> Result<Op, Refusal> {
        let (map, key) = (self.map()?, self.key()?);
        let op = match self.text("op")? {
            "get" => return Ok(Op::Get { map, key }),
            "put" => {
                let value = self.value("value")?;
                let value = value.ok_or_else(|| Refusal::input("put needs a text `value`"))?;
                Op::Put { map, key, value }
            }
            "delete" => Op::Delete { map, key },
            "cas" => Op::CompareAndSet {
                map,
                key,
                expected: self.value("expected")?,
                value: self.value("value")?,
            },
            other => {
                return Err(Refusal::input(format!(
                    "op must be `put`, `delete`, `cas` or `get`, not `{other}`"
                )));
            }
        };
        let name = self.text("map")?;
        if is_reserved(name) { Err(Refusal::reserved(name)) } else { Ok(op) }
    }
}

fn operations(body: &[u8]) -> Result<(Vec<Op>, Encoding), Refusal> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::input(format!("JSON: {error}")))?;
    let encoding = Encoding::of(body["encoding"].as_str(), Encoding::Utf8)?;
    let list =
        body["ops"].as_array().ok_or_else(|| Refusal::input("the body needs a list `ops`"))?;
    let op = |op: &Value| {
        let object = op.as_object().ok_or_else(|| Refusal::input("an operation is an object"))?;
        Reader { object, encoding }.op()
    };
    Ok((list.iter().map(op).collect::<Result<_, _>>()?, encoding))
}

/// `POST /app/batch`
pub async fn batch(State(ctx): State<Context>, target: Target, request: Request) -> Served {
    let (parts, body) = request.into_parts();
    if let Some(elsewhere) = redirection(&ctx, &target.service, &parts) {
        return Ok(elsewhere);
    }
    let (ops, encoding) = operations(&body_of(body).await?)?;
    let wait = wait_of(parts.uri.query().unwrap_or_default())?;
    let command = Command::Write {
        ops,
        idempotency: idempotency(&parts.headers)?,
        wait,
        session: session(&parts.headers)?,
    };
    let Reply::Written { tx, status, results, repeated } = target.service.command(command).await?
    else {
        return Err(Refusal::from(unexpected(&"to a batch")));
    };
    let shown: Result<Vec<Value>, Refusal> = results
        .iter()
        .map(|result| match result {
            OpResult::Value(value) => {
                let value = value.as_ref().map(|value| encoding.write(value)).transpose()?;
                Ok(json!({ "value": value }))
            }
            OpResult::Done => Ok(json!({})),
            OpResult::Range(..) => Err(unexpected(result).into()),
        })
        .collect();
    let code = outcome(tx, status, wait)?;
    let shown = json!({
        "transaction_id": tx.to_string(),
        "status": status_name(status),
        "results": shown?,
    });
    let mut response = (code, answer(&shown, tx)).into_response();
    if repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use quorate_replica::cft::api::Op;

    use super::operations;

    #[test]
    fn a_batch_is_read_in_either_encoding() {
        let (ops, _) = operations(
            br#"{"ops":[{"op":"put","map":"m","key":"k","value":"v"},
                {"op":"cas","map":"m","key":"k","expected":null,"value":"w"},
                {"op":"delete","map":"m","key":"k"},{"op":"get","map":"public:ccf.gov.x","key":"k"}]}"#,
        )
        .expect("good");
        assert!(matches!(&ops[0], Op::Put { value, .. } if **value == *b"v"));
        assert!(matches!(&ops[1], Op::CompareAndSet { expected: None, value: Some(_), .. }));
        assert_eq!(ops.len(), 4);
        let (ops, _) =
            operations(br#"{"encoding":"base64","ops":[{"op":"get","map":"m","key":"AAE="}]}"#)
                .expect("good");
        assert!(matches!(&ops[0], Op::Get { key, .. } if *key == [0, 1]));
        for (bad, code) in [
            (r#"{}"#, "InvalidInput"),
            (r#"{"ops":[5]}"#, "InvalidInput"),
            (r#"{"ops":[{"op":"put","map":"m","key":"k"}]}"#, "InvalidInput"),
            (r#"{"ops":[{"op":"jump","map":"m","key":"k"}]}"#, "InvalidInput"),
            (r#"{"ops":[{"op":"delete","map":"public:ccf.x","key":"k"}]}"#, "Forbidden"),
            (r#"{"encoding":"hex","ops":[]}"#, "InvalidInput"),
            (r#"{"encoding":"base64","ops":[{"op":"get","map":"m","key":"?"}]}"#, "InvalidInput"),
            ("{", "InvalidInput"),
        ] {
            let Err(refusal) = operations(bad.as_bytes()) else { panic!("taken: {bad}") };
            assert_eq!(refusal.code(), code, "{bad}");
        }
    }
}
