//! `quorate tx`: transactions of a signed-Raft group, their status and receipts.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::trx::write_json;
use crate::api::{Api, ApiError};
use crate::args::TxCommand;
use crate::error::{CliError, Result};
use crate::output::{Report, spinner, text};
use crate::service::{Service, TxStatus};
use crate::wait::{Late, Look, until};

/// How long a node may take to load what a receipt is made of.
const RECEIPT_LIMIT: Duration = Duration::from_secs(30);

/// Runs the command.
///
/// # Errors
/// If the service refuses, or what is waited for does not happen.
pub async fn run(api: &Api, command: TxCommand) -> Result<Report> {
    match command {
        TxCommand::Status { id, wait, timeout, service } => {
            let service = Service::new(api.clone(), service.group.as_deref());
            status(&service, &id, wait.then(|| Duration::from_secs(timeout))).await
        }
        TxCommand::Receipt { id, out, cose, service_cert, service } => {
            let service = Service::new(api.clone(), service.group.as_deref());
            receipt(&service, &id, &out, cose, service_cert.as_deref()).await
        }
    }
}

async fn status(service: &Service, id: &str, wait: Option<Duration>) -> Result<Report> {
    let mut found = service.tx(id).await?.status;
    if let Some(limit) = wait {
        let bar = spinner("waiting for the commit");
        let ended = until(&format!("the end of transaction {id}"), limit, || async {
            match service.tx(id).await {
                Ok(tx) if matches!(tx.status, TxStatus::Committed | TxStatus::Invalid) => {
                    Look::Done(tx.status)
                }
                Ok(tx) => Look::NotYet(tx.status.name().to_owned()),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await;
        bar.finish_and_clear();
        found = ended.map_err(|late: Late| {
            CliError::from(late)
                .hint("`quorate member list` shows whether enough nodes run to commit anything")
        })?;
    }
    let value = json!({ "transaction_id": id, "status": found.name() });
    let words = match found {
        TxStatus::Unknown => "this node knows nothing of it; it may still arrive",
        TxStatus::Pending => "in the log, not yet committed: an election may still drop it",
        TxStatus::Committed => "there for ever",
        TxStatus::Invalid => "dropped by an election, for ever: it has changed nothing",
    };
    if wait.is_some() && found != TxStatus::Committed {
        return Err(
            CliError::failed(format!("transaction {id} is {}: {words}", found.name())).with(value)
        );
    }
    Ok(Report::new(value, format!("{}: {words}", found.name())))
}

async fn receipt(
    service: &Service,
    id: &str,
    out: &Path,
    cose: bool,
    certificate: Option<&Path>,
) -> Result<Report> {
    let bar = spinner("waiting for the receipt");
    let what = format!("the receipt of transaction {id}");
    let found = until(&what, RECEIPT_LIMIT, || async {
        let answer = if cose {
            service.receipt_cose(id).await.map(|r| r.map(Found::Cose))
        } else {
            service.receipt(id).await.map(|r| r.map(Found::Json))
        };
        match answer {
            Ok(Some(found)) => Look::Done(Ok(found)),
            Ok(None) => Look::NotYet("the node is loading it".to_owned()),
            Err(error) => Look::Done(Err(error)),
        }
    })
    .await;
    bar.finish_and_clear();
    let error_hint = format!("`quorate tx status {id}` shows whether it is committed");
    let found = found?.map_err(|error| match error {
        ApiError::Refused { .. } => CliError::from(error).hint(error_hint),
        other => other.into(),
    });
    match found? {
        Found::Json(receipt) => write_json(out, &receipt)?,
        Found::Cose(bytes) => {
            std::fs::write(out, bytes).map_err(|e| CliError::file("write", out, &e))?;
        }
    }
    if let Some(path) = certificate {
        let network = service.network().await?;
        let pem = text(&network, "service_certificate");
        std::fs::write(path, pem).map_err(|e| CliError::file("write", path, &e))?;
    }
    let value = json!({ "transaction_id": id, "file": out, "cose": cose });
    let human = format!(
        "wrote {}\ncheck it without any node:\n  quorate verify receipt {} --service-cert FILE",
        out.display(),
        out.display()
    );
    Ok(Report::new(value, human))
}

enum Found {
    Json(Value),
    Cose(Vec<u8>),
}
