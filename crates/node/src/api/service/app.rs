//! Ranges of keys, and several operations as one transaction.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse as _, Response};
use quorate_replica::cft::api::{Command, Op, OpResult, Reply, TxId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::kv::{body_of, consistency, outcome, redirection, wait_of};
use super::ops::{Encoding, Operation, Shown, json_of, operations};
use super::{
    REPLAYED, Refusal, Served, TRANSACTION, Target, idempotency, session, status_name, tx_header,
};
use crate::api::Context;
use crate::api::input::Params;
use crate::service::unexpected;

/// Most entries in an answer, and how many there are unless asked otherwise.
const MAX_ENTRIES: u32 = 1000;

fn answer(value: &Value, tx: TxId) -> Response {
    let mut response = super::json(value);
    response.headers_mut().insert(TRANSACTION, tx_header(tx));
    response
}

/// `GET /app/kv/{map}`
pub async fn range(target: Target, params: Params, request: Request) -> Served {
    let encoding = match params.get("encoding") {
        None => Encoding::Base64,
        Some(name) => Encoding::named(name)
            .ok_or_else(|| Refusal::input("encoding must be `utf8` or `base64`"))?,
    };
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

/// The body of `POST /app/batch`.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    ops: Vec<Operation<'a>>,
    #[serde(default)]
    encoding: Encoding,
}

/// `POST /app/batch`
pub async fn batch(State(ctx): State<Context>, target: Target, request: Request) -> Served {
    let (parts, body) = request.into_parts();
    if let Some(elsewhere) = redirection(&ctx, &target.service, &parts) {
        return Ok(elsewhere);
    }
    let body = body_of(body).await?;
    let Batch { ops, encoding } = json_of(&body)?;
    let ops = operations(ops, encoding)?;
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
    let shown = results.iter().map(|result| Shown::of(result, encoding)).collect::<Result<_, _>>();
    let shown: Vec<Shown> = shown?;
    let code = outcome(tx, status, wait)?;
    let shown = json!({
        "transaction_id": tx.to_string(),
        "status": status_name(status),
        "results": shown,
    });
    let mut response = (code, answer(&shown, tx)).into_response();
    if repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
