//! Transactions: what is committed, how one stands, what proves it.

use std::time::Duration;

use axum::extract::RawQuery;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use quorate_replica::cft::api::{
    Answer, Code, Command, Error, Query, Reply, TxId, TxStatus, View, Wait,
};
use serde_json::json;

use super::kv::wait_of;
use super::{Refusal, Served, TRANSACTION, Target, json as to_json, status_name, tx_header};
use crate::api::input::Params;
use crate::service::unexpected;

/// When to ask again for a receipt that is not there yet, in seconds.
const RETRY: Duration = Duration::from_secs(1);

/// From which view on the caller wants the history.
fn history(params: &Params) -> Result<Option<View>, Refusal> {
    let since = params.get("view_history_since").map(|text| {
        text.parse::<View>().ok().filter(|view| *view > 0).ok_or_else(|| {
            Refusal::parameter("view_history_since must be the number of a view, from 1")
        })
    });
    match (params.get("view_history"), since.transpose()?) {
        (Some("true"), None) => Ok(Some(1)),
        (None | Some("false"), since) => Ok(since),
        (Some("true"), Some(_)) => {
            Err(Refusal::parameter("either view_history or view_history_since, not both"))
        }
        (Some(_), _) => Err(Refusal::parameter("view_history must be `true` or `false`")),
    }
}

/// `GET /node/commit`, `GET /app/commit`
pub async fn commit(target: Target, params: Params) -> Served {
    let history_since = history(&params)?;
    let answer = target.service.query(Query::Commit { history_since }).await;
    let answer = answer.map_err(|error| match error.code {
        // As the reference has it: the parameter names a view that there is not.
        Code::ResourceNotFound => Refusal::parameter(error.message).status(StatusCode::NOT_FOUND),
        _ => error.into(),
    })?;
    match answer {
        Answer::Commit { tx, history } => {
            let mut shown = json!({ "transaction_id": tx.to_string() });
            if let Some(history) = history {
                let list: Vec<String> = history.iter().map(TxId::to_string).collect();
                shown["view_history"] = json!(list);
            }
            Ok(to_json(&shown))
        }
        other => Err(unexpected(&other).into()),
    }
}

fn transaction(params: &Params) -> Result<TxId, Refusal> {
    let text = params.get("transaction_id").ok_or_else(|| {
        Refusal::parameter("transaction_id is missing").hint("?transaction_id=VIEW.SEQNO")
    })?;
    text.parse().map_err(|_| Refusal::parameter(format!("`{text}` is no transaction id")))
}

/// `GET /node/tx`, `GET /app/tx`
pub async fn status(target: Target, params: Params, RawQuery(query): RawQuery) -> Served {
    let tx = transaction(&params)?;
    let (tx, status) = match wait_of(query.as_deref().unwrap_or_default())? {
        Wait::Response => match target.service.query(Query::Tx(tx)).await? {
            Answer::Tx(tx, status) => (tx, status),
            other => return Err(unexpected(&other).into()),
        },
        Wait::Committed { timeout_ms } => awaited(&target, tx, timeout_ms).await?,
    };
    let shown = json!({ "transaction_id": tx.to_string(), "status": status_name(status) });
    Ok(to_json(&shown))
}

async fn awaited(target: &Target, tx: TxId, timeout_ms: u64) -> Result<(TxId, TxStatus), Refusal> {
    match target.service.command(Command::Await { tx, timeout_ms }).await? {
        Reply::Status { tx, status } => Ok((tx, status)),
        other => Err(unexpected(&other).into()),
    }
}

/// Waits for the commit of a transaction if the caller wants to; a response if it does not come.
async fn ready(target: &Target, tx: TxId, wait: Wait) -> Result<Option<Response>, Refusal> {
    let Wait::Committed { timeout_ms } = wait else { return Ok(None) };
    let (tx, status) = awaited(target, tx, timeout_ms).await?;
    match status {
        // The receipt itself says what is wrong with an invalid one.
        TxStatus::Committed | TxStatus::Invalid => Ok(None),
        TxStatus::Pending | TxStatus::Unknown => {
            let name = status_name(status);
            let shown = json!({ "transaction_id": tx.to_string(), "status": name });
            let retry = HeaderValue::from(RETRY.as_secs());
            let headers = [(header::RETRY_AFTER, retry), (TRANSACTION, tx_header(tx))];
            Ok(Some((StatusCode::ACCEPTED, headers, to_json(&shown)).into_response()))
        }
    }
}

/// A receipt never changes; that there is none may.
fn no_receipt(tx: TxId, error: Error) -> Refusal {
    let refusal = Refusal::from(error.clone()).seen(tx);
    match error.code {
        Code::TransactionPendingOrUnknown => {
            refusal.not_cached().hint("ask again, or with ?wait=committed")
        }
        // It is committed, but this node began with a later snapshot; or it is itself a signature.
        Code::ResourceNotFound => refusal.not_cached().hint(
            "a signature has a receipt in JSON only; what is older than this node's ledger another node \
             has, or a directory of service.ledger.read_only_directories",
        ),
        _ => refusal,
    }
}

/// `GET /node/receipt`, `GET /app/receipt`
pub async fn receipt(target: Target, params: Params, RawQuery(query): RawQuery) -> Served {
    let tx = transaction(&params)?;
    if let Some(not_yet) =
        ready(&target, tx, wait_of(query.as_deref().unwrap_or_default())?).await?
    {
        return Ok(not_yet);
    }
    match target.service.query(Query::Receipt(tx)).await {
        Ok(Answer::Receipt(text)) => {
            let kind = HeaderValue::from_static("application/json");
            let headers = [(header::CONTENT_TYPE, kind), (TRANSACTION, tx_header(tx))];
            Ok((headers, text).into_response())
        }
        Ok(other) => Err(unexpected(&other).into()),
        Err(error) => Err(no_receipt(tx, error)),
    }
}

/// `GET /node/receipt/cose`, `GET /app/receipt/cose`
pub async fn cose_receipt(target: Target, params: Params, RawQuery(query): RawQuery) -> Served {
    let tx = transaction(&params)?;
    if let Some(not_yet) =
        ready(&target, tx, wait_of(query.as_deref().unwrap_or_default())?).await?
    {
        return Ok(not_yet);
    }
    match target.service.query(Query::CoseReceipt(tx)).await {
        Ok(Answer::CoseReceipt(bytes)) => {
            let kind = HeaderValue::from_static("application/cose");
            let headers = [(header::CONTENT_TYPE, kind), (TRANSACTION, tx_header(tx))];
            Ok((headers, bytes).into_response())
        }
        Ok(other) => Err(unexpected(&other).into()),
        Err(error) => Err(no_receipt(tx, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::history;
    use crate::api::input::Params;

    #[test]
    fn the_history_is_asked_for_in_one_way() {
        for (query, expected) in [
            ("", Ok(None)),
            ("view_history=false", Ok(None)),
            ("view_history=true", Ok(Some(1))),
            ("view_history_since=7", Ok(Some(7))),
            ("view_history=true&view_history_since=7", Err(())),
            ("view_history=yes", Err(())),
            ("view_history_since=0", Err(())),
            ("view_history_since=x", Err(())),
        ] {
            assert_eq!(history(&Params::parse(query)).map_err(|_| ()), expected, "{query}");
        }
    }
}
