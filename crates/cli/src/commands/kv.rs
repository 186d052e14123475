//! `quorate kv`: the key-value application of a signed-Raft group.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{Api, ApiError};
use crate::args::{Format, KvCommand, WriteFlags};
use crate::error::{CliError, Kind, Result};
use crate::output::{Report, table};
use crate::service::{Condition, Consistency, Service, TxStatus, WriteOptions, Written};

/// Runs the command; `None` if it has said everything already.
///
/// # Errors
/// If the service refuses, or a write is not committed.
pub async fn run(api: &Api, command: KvCommand, format: Format) -> Result<Option<Report>> {
    let service = |group: &Option<String>| Service::new(api.clone(), group.as_deref());
    let report = match command {
        KvCommand::Get { map, key, consistency, service: args } => {
            return get(&service(&args.group), &map, &key, consistency, format).await;
        }
        KvCommand::Put { map, key, value, absent, flags } => {
            let condition = if absent { Condition::Absent } else { Condition::None };
            let service = service(&flags.service.group);
            put(&service, &map, &key, bytes_of(value)?, condition, &flags).await?
        }
        KvCommand::Cas { map, key, value, expected, absent, flags } => {
            let condition = match expected {
                Some(expected) if !absent => Condition::Equals(expected.into_bytes()),
                _ => Condition::Absent,
            };
            let service = service(&flags.service.group);
            put(&service, &map, &key, bytes_of(value)?, condition, &flags).await?
        }
        KvCommand::Delete { map, key, flags } => {
            let service = service(&flags.service.group);
            let options = options(&flags, Condition::None);
            let written = service.delete(&map, &key, &options).await.map_err(explain)?;
            report(written, &flags)?
        }
        KvCommand::List { map, from, to, limit, consistency, service: args } => {
            let service = service(&args.group);
            let (from, to) = (from.as_deref(), to.as_deref());
            let listed = service.list(&map, from, to, limit, consistency).await.map_err(explain)?;
            list(&map, &listed)
        }
    };
    Ok(Some(report))
}

/// A value of the command line, or standard input.
fn bytes_of(value: String) -> Result<Vec<u8>> {
    if value != "-" {
        return Ok(value.into_bytes());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|e| CliError::usage(format!("cannot read standard input: {e}")))?;
    Ok(bytes)
}

fn options(flags: &WriteFlags, condition: Condition) -> WriteOptions {
    WriteOptions {
        wait: (!flags.early).then(|| Duration::from_secs(flags.timeout)),
        condition,
        idempotency: flags.idempotency_key.clone(),
    }
}

async fn put(
    service: &Service,
    map: &str,
    key: &str,
    value: Vec<u8>,
    condition: Condition,
    flags: &WriteFlags,
) -> Result<Report> {
    let options = options(flags, condition);
    let written = service.put(map, key, value, &options).await.map_err(explain)?;
    report(written, flags)
}

/// What became of a write. One that was to be waited for and is not committed is a failure.
fn report(written: Written, flags: &WriteFlags) -> Result<Report> {
    let value = json!({
        "transaction_id": written.transaction_id,
        "status": written.status.name(),
        "replayed": written.replayed,
    });
    let id = &written.transaction_id;
    if !flags.early && written.status != TxStatus::Committed {
        let message = format!(
            "transaction {id} was not committed within {} s; its status is {}",
            flags.timeout,
            written.status.name()
        );
        return Err(CliError::failed(message)
            .hint(format!("`quorate tx status {id}` shows what becomes of it; do not just repeat it, unless with --idempotency-key"))
            .with(value));
    }
    let again = if written.replayed { " (done before, under this key)" } else { "" };
    let human = match written.status {
        TxStatus::Committed => format!("committed: {id}{again}"),
        status => format!("{}: {id}{again}; `quorate tx status {id}`", status.name()),
    };
    Ok(Report::new(value, human))
}

async fn get(
    service: &Service,
    map: &str,
    key: &str,
    consistency: Consistency,
    format: Format,
) -> Result<Option<Report>> {
    let found = service.read(map, key, consistency).await.map_err(explain)?;
    let found = found.ok_or_else(|| {
        CliError::failed(format!("there is no key {key:?} in map {map:?}"))
            .hint(format!("`quorate kv list {map}` shows the keys"))
    })?;
    if format == Format::Human {
        // The bytes as they are: a value may be anything.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&found.body).and_then(|()| out.flush());
        return Ok(None);
    }
    let mut value = json!({
        "map": map,
        "key": key,
        "value_base64": STANDARD.encode(&found.body),
        "transaction_id": found.transaction_id,
        "consistency": consistency.name(),
    });
    if let Ok(text) = std::str::from_utf8(&found.body) {
        value["value"] = json!(text);
    }
    Ok(Some(Report::new(value, "")))
}

fn list(map: &str, listed: &crate::service::Listed) -> Report {
    let mut rows = table(["key", "value"]);
    let mut entries = Vec::new();
    for (key, value) in &listed.entries {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        rows.add_row([shown(key), shown(value)]);
        entries.push(json!({
            "key": shown(key),
            "value": shown(value),
            "key_base64": STANDARD.encode(key),
            "value_base64": STANDARD.encode(value),
        }));
    }
    let next = listed.next.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
    let mut human =
        if rows.is_empty() { format!("map {map:?} has no keys here") } else { rows.to_string() };
    if let Some(next) = &next {
        human.push_str(&format!("\nmore: --from {next}"));
    }
    let value: Value = json!({ "map": map, "entries": entries, "next": next });
    Report::new(value, human)
}

/// Says what to do next in words of the command line.
fn explain(error: ApiError) -> CliError {
    let code = match &error {
        ApiError::Refused { code, .. } => code.clone(),
        _ => String::new(),
    };
    let error = CliError::from(error);
    match code.as_str() {
        "PreconditionFailed" => CliError {
            kind: Kind::Failed,
            ..error.hint("the key has another value: `quorate kv get` shows it")
        },
        "TransactionInvalid" => {
            error.hint("an election dropped the write; nothing has changed, write it again")
        }
        "PrimaryNotFound" => error.hint(
            "there is no leader now: a quorum of the nodes must run and reach each other; \
             `quorate member list` shows them",
        ),
        "TooManyPendingTransactions" => {
            error.hint("the group takes no more until some are committed; try again in a moment")
        }
        _ => error,
    }
}
