//! `quorate trx`.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::verify::receipt_bundle;
use crate::api::Api;
use crate::args::TrxCommand;
use crate::error::{CliError, Result};
use crate::output::{Report, show, spinner, table, text};
use crate::wait::{look, until};

pub async fn run(api: &Api, command: TrxCommand) -> Result<Report> {
    match command {
        TrxCommand::Post { group, data, wait, timeout } => {
            post(api, &group, &data, wait.then(|| Duration::from_secs(timeout))).await
        }
        TrxCommand::Get { group, trx, receipt } => get(api, &group, &trx, receipt.as_deref()).await,
        TrxCommand::List { group, num, reverse, start } => {
            list(api, &group, num, reverse, start.as_deref()).await
        }
    }
}

async fn post(api: &Api, group: &str, data: &str, wait: Option<Duration>) -> Result<Report> {
    let mut input = String::new();
    let data = if data == "-" {
        let read = std::io::stdin().read_to_string(&mut input);
        read.map_err(|e| CliError::usage(format!("cannot read standard input: {e}")))?;
        input.as_str()
    } else {
        data
    };
    let data: Value = serde_json::from_str(data)
        .map_err(|e| CliError::usage(format!("the data is not JSON: {e}")).hint("'{\"a\": 1}'"))?;
    if !data.is_object() {
        return Err(CliError::usage("the data is not a JSON object").hint("'{\"a\": 1}'"));
    }
    let trx = api.post_content(group, &data).await?;
    let Some(limit) = wait else {
        let human = format!("accepted: trx {trx} is durable and will be ordered");
        return Ok(Report::new(json!({ "trx_id": trx }), human));
    };
    let bar = spinner("waiting for the block");
    let found = until(&format!("trx {trx} in a block"), limit, || async {
        look(api.trx(group, &trx).await)
    })
    .await;
    bar.finish_and_clear();
    let found = found.map_err(|late| {
        CliError::from(late)
            .with(json!({ "trx_id": trx }))
            .hint("the node keeps the trx and sends it until it is ordered; look at `quorate consensus show`")
    })?;
    let human = format!("ordered: trx {trx}");
    Ok(Report::new(json!({ "trx_id": trx, "trx": found }), human))
}

async fn get(api: &Api, group: &str, trx: &str, receipt: Option<&Path>) -> Result<Report> {
    let missing = || {
        CliError::failed(format!("trx {trx} is not in a block of group {group}"))
            .hint("it may still be waiting to be ordered; try again in a moment")
    };
    let found = api.trx(group, trx).await?.ok_or_else(missing)?;
    if let Some(path) = receipt {
        write_json(path, &receipt_bundle(api, group, trx).await?)?;
    }
    Ok(Report::plain(found))
}

async fn list(
    api: &Api,
    group: &str,
    num: usize,
    reverse: bool,
    start: Option<&str>,
) -> Result<Report> {
    let mut trxs = api.content(group, num, reverse, start).await?;
    let mut rows = table(["trx", "sender", "content"]);
    for trx in &mut trxs {
        if let Ok(bytes) = STANDARD.decode(text(trx, "Data"))
            && let Ok(content) = serde_json::from_slice::<Value>(&bytes)
        {
            trx["Content"] = content;
        }
        rows.add_row([show(trx, "TrxId"), show(trx, "SenderPubkey"), show(trx, "Content")]);
    }
    let human = if rows.is_empty() { "no posts".to_owned() } else { rows.to_string() };
    Ok(Report::new(json!({ "trxs": trxs }), human))
}

/// Writes a JSON file for `quorate verify`.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = crate::output::pretty(value);
    std::fs::write(path, text + "\n").map_err(|e| CliError::file("write", path, &e))
}
