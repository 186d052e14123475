//! `quorate consensus`.

use std::time::Duration;

use serde_json::Value;

use super::trx::write_json;
use crate::api::{Api, Change};
use crate::args::{ChangeArgs, ConsensusCommand};
use crate::error::{CliError, Result};
use crate::output::{Report, show, spinner, table, text};
use crate::wait::{Look, until};

pub async fn run(api: &Api, command: ConsensusCommand) -> Result<Report> {
    match command {
        ConsensusCommand::Show { group } => show_current(api, &group).await,
        ConsensusCommand::Change(args) => change(api, args).await,
        ConsensusCommand::History { group } => history(api, &group).await,
        ConsensusCommand::Proof { group, req_id, out } => {
            let which = req_id.as_deref().unwrap_or("last");
            let proof = api.proof(&group, which).await?;
            if let Some(path) = out {
                // The form with the responses is the one that can be checked.
                let full = api.proof(&group, text(&proof["req"], "ReqId")).await?;
                write_json(&path, &full)?;
            }
            Ok(Report::plain(proof))
        }
    }
}

async fn show_current(api: &Api, group: &str) -> Result<Report> {
    let value = api.consensus_value(group).await?;
    let mut rows = table(["#", "producer", "made by trx"]);
    let producers = value.get("producers").and_then(Value::as_array);
    for (n, producer) in producers.into_iter().flatten().enumerate() {
        let proof = show(producer, "ProofTrxId");
        let proof = if proof.is_empty() { "genesis".to_owned() } else { proof };
        rows.add_row([n.to_string(), show(producer, "ProducerPubkey"), proof]);
    }
    let human = format!(
        "{rows}\nepoch {} every {} ms, block {}, by request {}",
        show(&value, "curr_epoch"),
        show(&value, "trx_epoch_interval"),
        show(&value, "curr_block_id"),
        show(&value, "proof_req_id"),
    );
    Ok(Report::new(value, human))
}

async fn change(api: &Api, args: ChangeArgs) -> Result<Report> {
    let change = Change {
        producers: args.producer,
        start_from_epoch: args.start_from_epoch,
        epoch_tick: args.epoch_tick,
        agreement_tick: args.agreement_tick,
        agreement_count: args.agreement_count,
    };
    let mut started = api.change_consensus(&args.group, &change).await?;
    let trx = text(&started, "trx_id").to_owned();
    if !args.wait {
        let human = format!(
            "the agreement runs; it succeeded when `quorate trx get {} {trx}` finds the trx",
            args.group
        );
        return Ok(Report::new(started, human));
    }
    let before = api.proof(&args.group, "history").await?;
    let known = before["proofs"].as_array().map_or(0, Vec::len);
    let limit = Duration::from_millis(change.agreement_tick * change.agreement_count)
        + Duration::from_secs(30);
    let bar = spinner("waiting for the agreement");
    let ended = until("the end of the agreement", limit, || async {
        // Either the promised trx is ordered, or the history has a new entry that is no success.
        if let Ok(Some(_)) = api.trx(&args.group, &trx).await {
            return Look::Done("SUCCESS".to_owned());
        }
        let history = match api.proof(&args.group, "history").await {
            Ok(history) => history,
            Err(error) => return Look::NotYet(error.to_string()),
        };
        let proofs = history["proofs"].as_array().cloned().unwrap_or_default();
        match proofs.get(known..).and_then(<[Value]>::last) {
            Some(last) if text(last, "result") != "SUCCESS" => {
                Look::Done(text(last, "result").to_owned())
            }
            _ => Look::NotYet(format!("{} proofs", proofs.len())),
        }
    })
    .await;
    bar.finish_and_clear();
    let result = ended?;
    started["result"] = Value::String(result.clone());
    if result == "SUCCESS" {
        let human = format!("changed: trx {trx} is ordered, the new committee works");
        return Ok(Report::new(started, human));
    }
    Err(CliError::failed(format!("the agreement ended with {result}; nothing has changed"))
        .hint("all listed producers must be running and reachable; `quorate consensus history` shows who answered")
        .with(started))
}

async fn history(api: &Api, group: &str) -> Result<Report> {
    let value = api.proof(group, "history").await?;
    let mut rows = table(["nonce", "result", "request", "producers", "answered"]);
    let proofs = value.get("proofs").and_then(Value::as_array);
    for proof in proofs.into_iter().flatten() {
        let req = &proof["req"];
        let count = |v: &Value| v.as_array().map_or(0, Vec::len).to_string();
        let nonce = show(req, "Nonce");
        rows.add_row([
            if nonce.is_empty() { "0".to_owned() } else { nonce },
            show(proof, "result"),
            show(req, "ReqId"),
            count(&req["ProducerPubkeyList"]),
            count(&proof["repononsed_producer"]),
        ]);
    }
    let human = rows.to_string();
    Ok(Report::new(value, human))
}
