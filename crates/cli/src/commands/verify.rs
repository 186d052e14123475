//! `quorate verify`: checks files that a node gave away, with the ledger crate alone. No node, no
//! network: what is trusted is the seed, which names the group's owner.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_ledger::block::Block;
use quorate_ledger::certificate::Certificate;
use quorate_ledger::change::{self, ChangeResult};
use quorate_ledger::codec::Canonical;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::ids::GroupId;
use quorate_ledger::proto::{
    ChangeConsensusReq, ChangeConsensusResp, ChangeConsensusResult, ChangeConsensusResultBundle,
};
use quorate_ledger::receipt::Receipt;
use quorate_ledger::seed::Seed;
use quorate_ledger::view::{View, ViewChain};
use serde_json::{Value, json};

use super::seed::anchor;
use super::signed;
use crate::api::Api;
use crate::args::{VerifyArgs, VerifyCommand};
use crate::error::{CliError, Result};
use crate::output::{Report, text};

/// Largest file read: a view chain of thousands of changes fits easily.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// One kind of check: the file's JSON, and the seed it must go back to.
type Check = fn(&Value, Option<&Seed>) -> Result<Report>;

/// Runs the command.
///
/// # Errors
/// If the file cannot be read, or does not hold.
pub fn run(command: VerifyCommand) -> Result<Report> {
    let (args, check): (VerifyArgs, Check) = match command {
        VerifyCommand::Block(args) => (args, block),
        VerifyCommand::Proof(args) => (args, proof),
        VerifyCommand::Receipt { args, service_cert } => {
            let bytes = bytes_of(&args.file)?;
            if signed::is_receipt(&bytes) {
                return signed::receipt(&bytes, service_cert.as_deref());
            }
            (args, receipt)
        }
        VerifyCommand::Chain(args) => (args, chain),
        VerifyCommand::Ledger { dirs, seed, service_cert } => {
            let seed = seed.as_deref().map(anchor).transpose()?;
            return signed::ledger(&dirs, service_cert.as_deref(), seed.as_ref());
        }
    };
    let seed = args.seed.as_deref().map(anchor).transpose()?;
    check(&read(&args.file)?, seed.as_ref())
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let length = std::fs::metadata(path).map_err(|e| CliError::file("read", path, &e))?.len();
    if length > MAX_FILE {
        return Err(CliError::usage(format!("{} is larger than 256 MiB", path.display())));
    }
    std::fs::read(path).map_err(|e| CliError::file("read", path, &e))
}

fn read(path: &Path) -> Result<Value> {
    serde_json::from_slice(&bytes_of(path)?).map_err(|e| {
        CliError::usage(format!("{} is not JSON: {e}", path.display())).hint(
            "write it with `block get --bundle`, `trx get --receipt` or `consensus proof --out`",
        )
    })
}

/// The file for `verify block`: everything that is needed to check a block without the node.
///
/// # Errors
/// If the node does not give it away.
pub async fn block_bundle(api: &Api, group: &str, block: u64) -> Result<Value> {
    if block == 0 {
        return Err(CliError::usage("block 0 is the genesis block: the seed alone proves it")
            .hint("`quorate seed inspect URL` checks it"));
    }
    let mut bundle = api.own(group, &format!("certified/{block}")).await?;
    let views = api.own(group, "views").await?;
    bundle["kind"] = json!("quorate.block.v1");
    bundle["group_id"] = json!(group);
    bundle["views"] = views["encoded"].clone();
    Ok(bundle)
}

/// The file for `verify receipt`.
///
/// # Errors
/// If the node does not give it away.
pub async fn receipt_bundle(api: &Api, group: &str, trx: &str) -> Result<Value> {
    let receipt = api.own(group, &format!("receipt/{trx}")).await?;
    let views = api.own(group, "views").await?;
    Ok(json!({
        "kind": "quorate.receipt.v1",
        "group_id": group,
        "trx_id": trx,
        "receipt": receipt["encoded"],
        "views": views["encoded"],
    }))
}

/// Checks a file of [`block_bundle`].
///
/// # Errors
/// If anything in it does not hold.
pub fn block(file: &Value, seed: Option<&Seed>) -> Result<Report> {
    let (genesis, views) = verified_views(file, seed)?;
    let block: Block = decode(file, "block")?;
    let certificate: Certificate = decode(file, "certificate")?;
    let header = &block.header;
    let number = header.view;
    let place = usize::try_from(number.0).ok();
    let view = place.and_then(|place| views.get(place)).ok_or_else(|| {
        CliError::failed(format!("the view chain has no view {number}, which made the block"))
    })?;
    let wrong = |what: &str| CliError::failed(format!("block {}: {what}", header.id));
    certificate.certifies(header, view).map_err(|e| wrong(&e.to_string()))?;
    // Reading a block checks its body too; this says so where it counts.
    if !block.body_fits() {
        return Err(wrong("its trxs are not those of its header"));
    }
    within_view(&block, &views, &genesis).map_err(|what| wrong(&what))?;
    for trx in &block.trxs {
        if !trx.verify_signature() {
            return Err(wrong(&format!("trx {} is not signed by its sender", trx.trx_id)));
        }
    }
    let value = json!({
        "ok": true,
        "kind": "block",
        "group_id": header.group,
        "block_id": header.id,
        "block_hash": hex::encode(block.hash().0),
        "view": number,
        "signatures": certificate.signatures.len(),
        "producers": view.producers.len(),
        "trxs": block.trxs.len(),
        "anchor": shown(&genesis, seed.is_some()),
    });
    let human = format!(
        "block {} of group {} holds\n  hash {}\n  {} of {} producers of view {number} signed it\n  \
         {} trxs, each signed by its sender\n{}",
        header.id,
        header.group,
        block.hash(),
        certificate.signatures.len(),
        view.producers.len(),
        block.trxs.len(),
        anchored(&genesis, seed.is_some()),
    );
    Ok(Report::new(value, human))
}

/// A certificate of an old view counts only up to the block that ended that view.
fn within_view(block: &Block, views: &[View], genesis: &GenesisBlock) -> Result<(), String> {
    let header = &block.header;
    if header.id.0 == 1 && header.previous != genesis.hash() {
        return Err("it does not follow the genesis block".to_owned());
    }
    let Some(next) = views.iter().find(|v| v.number == header.view.next()) else { return Ok(()) };
    let (last, hash) = next.parent;
    if header.id > last || (header.id == last && block.hash() != hash) {
        return Err(format!("view {} ended with block {last}", header.view));
    }
    Ok(())
}

/// Checks a receipt and its view chain.
///
/// # Errors
/// If anything in it does not hold.
pub fn receipt(file: &Value, seed: Option<&Seed>) -> Result<Report> {
    let (genesis, views) = verified_views(file, seed)?;
    let receipt: Receipt = decode(file, "receipt")?;
    receipt.verify_among(&views).map_err(|e| CliError::failed(format!("receipt: {e}")))?;
    if !receipt.trx.verify_signature() {
        return Err(CliError::failed("receipt: the trx is not signed by its sender"));
    }
    let header = &receipt.header;
    let value = json!({
        "ok": true,
        "kind": "receipt",
        "group_id": header.group,
        "trx_id": receipt.trx.trx_id,
        "sender": receipt.trx.sender_pubkey,
        "block_id": header.id,
        "block_hash": hex::encode(header.hash().0),
        "view": header.view,
        "signatures": receipt.certificate.signatures.len(),
        "anchor": shown(&genesis, seed.is_some()),
    });
    let human = format!(
        "trx {} of {} is in block {} of group {}\n  {} producers of view {} signed the block\n{}",
        receipt.trx.trx_id,
        receipt.trx.sender_pubkey,
        header.id,
        header.group,
        receipt.certificate.signatures.len(),
        header.view,
        anchored(&genesis, seed.is_some()),
    );
    Ok(Report::new(value, human))
}

/// Checks a view chain.
///
/// # Errors
/// If anything in it does not hold.
pub fn chain(file: &Value, seed: Option<&Seed>) -> Result<Report> {
    let (genesis, views) = verified_views(file, seed)?;
    let list: Vec<Value> = views.iter().map(view_json).collect();
    let value = json!({
        "ok": true,
        "kind": "chain",
        "group_id": genesis.group,
        "views": list,
        "anchor": shown(&genesis, seed.is_some()),
    });
    let lines: Vec<String> = views
        .iter()
        .map(|v| {
            let (number, count) = (v.number, v.producers.len());
            format!("  view {number}: {count} producers from block {}", v.parent.0.next())
        })
        .collect();
    let human = format!(
        "{} views hold\n{}\n{}",
        views.len(),
        lines.join("\n"),
        anchored(&genesis, seed.is_some()),
    );
    Ok(Report::new(value, human))
}

fn view_json(view: &View) -> Value {
    let producers: Vec<String> = view.producers.iter().map(|p| p.member.to_string()).collect();
    json!({
        "view": view.number,
        "protocol": view.protocol.name(),
        "producers": producers,
        "interval_ms": view.interval_ms,
        "start_epoch": view.start_epoch,
        "parent_block": view.parent.0,
        "req_id": view.req_id,
        "nonce": view.nonce,
        "proof_trx_id": view.proof_trx_id,
    })
}

/// Checks the proof of a consensus change in the form of `consensus/proof/:req_id`.
///
/// # Errors
/// If anything in it does not hold.
pub fn proof(file: &Value, seed: Option<&Seed>) -> Result<Report> {
    let bundle = bundle_of(file)?;
    let req = bundle.req.as_ref().expect("bundle_of gives a request");
    let (owner, group): (MemberPublicKey, GroupId) = match seed {
        Some(seed) => (seed.group.owner, seed.group.id),
        None => (
            req.sender_pubkey
                .parse()
                .map_err(|_| CliError::failed("the request's SenderPubkey is no key"))?,
            req.group_id
                .parse()
                .map_err(|_| CliError::failed("the request's GroupId is no UUID"))?,
        ),
    };
    let failed = |e: change::ChangeError| CliError::failed(format!("proof: {e}"));
    // Proofs of the reference have no key material.
    let ours = bundle.resps.iter().any(|resp| resp.key_material.is_some());
    let (result, responders) = if ours {
        let checked = change::verify_bundle(&bundle, &owner, group).map_err(failed)?;
        (checked.result, checked.responders)
    } else {
        let checked = change::verify_answers(&bundle, &owner, group).map_err(failed)?;
        (checked.result, checked.responders)
    };
    let value = json!({
        "ok": true,
        "kind": "proof",
        "group_id": req.group_id,
        "req_id": req.req_id,
        "nonce": req.nonce,
        "result": result.as_str(),
        "owner": owner.to_string(),
        "producers": req.producer_pubkey_list,
        "answered": responders.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "key_material": ours,
        "anchored": seed.is_some(),
    });
    let human = format!(
        "proof {} (nonce {}) holds: {}\n  requested by {owner}\n  {} producers listed, {} participants \
         answered and signed{}{}",
        req.req_id,
        req.nonce,
        result.as_str(),
        req.producer_pubkey_list.len(),
        responders.len(),
        if ours { ", with their keys of the new view" } else { "" },
        if seed.is_some() { "" } else { UNANCHORED },
    );
    Ok(Report::new(value, human))
}

fn bundle_of(file: &Value) -> Result<ChangeConsensusResultBundle> {
    let part = |e: serde_json::Error| CliError::usage(format!("the file is no proof: {e}"));
    let missing = |key: &str| {
        CliError::usage(format!("the file is no complete proof: {key} is missing"))
            .hint("write it with `quorate consensus proof GROUP --out FILE`")
    };
    let req = file.get("req").ok_or_else(|| missing("req"))?;
    let req: ChangeConsensusReq = serde_json::from_value(req.clone()).map_err(part)?;
    let resps = file.get("resps").ok_or_else(|| missing("resps"))?;
    let resps: Option<Vec<ChangeConsensusResp>> =
        serde_json::from_value(resps.clone()).map_err(part)?;
    let resps = resps.unwrap_or_default();
    let result: ChangeResult =
        text(file, "result").parse().map_err(|_| missing("result (SUCCESS, FAILED or TIMEOUT)"))?;
    Ok(ChangeConsensusResultBundle {
        result: ChangeConsensusResult::from(result) as i32,
        req: Some(req),
        epoch: 0,
        responsed_producers: resps.iter().map(|r| r.sender_pubkey.clone()).collect(),
        resps,
    })
}

/// The views of the file, checked from the genesis block on; and that block, which must be the
/// seed's if there is one.
fn verified_views(file: &Value, seed: Option<&Seed>) -> Result<(GenesisBlock, Vec<View>)> {
    let chain: ViewChain = decode(file, "views")?;
    let genesis = chain.genesis.genesis.clone();
    if let Some(seed) = seed
        && seed.group.genesis != genesis
    {
        return Err(CliError::failed(format!(
            "the file is of group {}, the seed of group {}",
            genesis.group, seed.group.id
        )));
    }
    let views = chain
        .verify::<BlsGeneration>()
        .map_err(|e| CliError::failed(format!("view chain: {e}")))?;
    Ok((genesis, views))
}

fn decode<T: Canonical>(file: &Value, key: &str) -> Result<T> {
    let encoded = file.get(key).and_then(Value::as_str).ok_or_else(|| {
        CliError::usage(format!("the file has no `{key}`")).hint("is it a file of another kind?")
    })?;
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|e| CliError::failed(format!("`{key}` is not base64: {e}")))?;
    T::from_bytes(&bytes).map_err(|e| CliError::failed(format!("`{key}` is damaged: {e}")))
}

const UNANCHORED: &str = "\n  no seed was given: compare owner and group with what you know";

fn shown(genesis: &GenesisBlock, seed: bool) -> Value {
    json!({
        "owner": genesis.owner.to_string(),
        "genesis_hash": hex::encode(genesis.hash().0),
        "seed_given": seed,
    })
}

fn anchored(genesis: &GenesisBlock, seed: bool) -> String {
    let rest = if seed { "" } else { UNANCHORED };
    format!("  from genesis {} of owner {}{rest}", genesis.hash(), genesis.owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::seed::anchor;

    fn vectors() -> Value {
        let text = include_str!("../../../../vectors/quorum.json");
        serde_json::from_str(text).expect("the vectors are JSON")
    }

    #[test]
    fn files_that_are_no_bundles_are_refused_with_the_missing_part() {
        for check in [block, receipt, chain] {
            let error = check(&json!({}), None).expect_err("an empty file proves nothing");
            assert!(error.message.contains("views"), "{error}");
        }
        let error = proof(&json!({}), None).expect_err("an empty file proves nothing");
        assert!(error.message.contains("req"), "{error}");
        let garbage = json!({ "views": "AAAA" });
        let error = chain(&garbage, None).expect_err("garbage proves nothing");
        assert!(error.message.contains("damaged"), "{error}");
    }

    #[test]
    fn a_seed_of_another_text_is_no_anchor() {
        let vectors = vectors();
        let url = vectors["seed_url"]["input"].as_str().expect("there is a seed");
        assert!(anchor(url).is_ok());
        assert!(anchor("rum://seed?v=1").is_err());
    }
}
