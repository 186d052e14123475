//! `quorate recover`: a signed-Raft group that lost its quorum, brought back from the ledger of one
//! node that is not running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_node::config::{NodeConfig, Overrides};
use quorate_node::keystore::{Keystore, password_of};
use quorate_node::node::lock;
use quorate_node::service::{self, Recovered, Recovery, ServiceError};
use serde_json::{Value, json};

use super::member::confirm;
use super::signed::{Ledger, read_ledger};
use crate::args::{Format, RecoverArgs};
use crate::error::{CliError, Result};
use crate::output::{Report, print_note};

/// Where a node keeps its groups, each in a directory named by its id.
const GROUPS: &str = "groups";
/// File with the certificate of the recovered service, beside the ledger.
const CERTIFICATE: &str = "service_cert.pem";
/// By how much the view rises: nothing that an old leader may still send is of the new view.
const VIEW_STEP: u64 = 2;

/// Shows what a recovery would keep and drop, and does it.
///
/// # Errors
/// If the ledger does not hold, or the node is running.
pub fn run(args: &RecoverArgs, format: Format) -> Result<Report> {
    let (group, dir) = find(&args.data_dir, args.group.as_deref())?;
    // As a running node keeps us out, we keep nodes out.
    let _lock = lock(&args.data_dir).map_err(|e| {
        CliError::failed(e.to_string()).hint("stop the node first; it must not write meanwhile")
    })?;
    let config = config(args)?;
    let read_only = &config.service.read_only_directories;
    let dirs: Vec<PathBuf> =
        [dir.clone()].into_iter().chain(read_only.iter().map(|d| d.join(&group))).collect();
    let dirs: Vec<PathBuf> = dirs.into_iter().filter(|dir| dir.is_dir()).collect();
    let ledger = read_ledger(&dirs)?;
    if ledger.signatures == 0 {
        return Err(CliError::failed(
            "no entry of this ledger is signed: there is nothing to keep",
        )
        .hint("recover from another node's directory"));
    }
    let plan = plan(&group, &dir, &ledger);
    let human = plan_text(&group, &ledger);
    if args.dry_run {
        return Ok(Report::new(plan, format!("{human}\nnothing was changed")));
    }
    if !args.yes {
        print_note(&human);
        confirm("recover?", format)?;
    }
    let recovered = recover(config, &group, dir.clone())?;
    let after = read_ledger(&dirs)?;
    let certificate = dir.join(CERTIFICATE);
    std::fs::write(&certificate, &recovered.service_certificate)
        .map_err(|e| CliError::file("write", &certificate, &e))?;
    let value = json!({
        "plan": plan,
        "node_id": recovered.node_id,
        "committed": recovered.committed.to_string(),
        "service_certificate": certificate,
        "signatures": after.signatures,
    });
    let human = format!(
        "recovered: everything up to {} is committed again, as node {}\n  certificate of the new service: \
         {}\nstart the node with `quorate node run`; the others leave the group, clear it, and join by \
         its seed; then `quorate member add`",
        recovered.committed,
        recovered.node_id,
        certificate.display(),
    );
    Ok(Report::new(value, human))
}

/// The node's own configuration.
fn config(args: &RecoverArgs) -> Result<NodeConfig> {
    let overrides = Overrides {
        data_dir: Some(args.data_dir.clone()),
        keystore_password_file: args.password_file.clone(),
        ..Overrides::default()
    };
    NodeConfig::load(args.config.as_deref(), std::env::vars(), overrides)
        .map_err(|e| CliError::usage(e.to_string()))
}

/// Does it, with the node's keystore.
fn recover(config: NodeConfig, group: &str, dir: PathBuf) -> Result<Recovered> {
    let password = password_of(&config).map_err(|e| CliError::usage(e.to_string()))?;
    let keystore = Keystore::open(config.keystore_dir(), &password, None)
        .map_err(|e| CliError::failed(e.to_string()))?;
    let group = group
        .parse()
        .map_err(|_| CliError::usage(format!("the directory {group} has no group's id")))?;
    let listen = config.api.listen.to_string();
    let recovery = Recovery {
        group,
        dir,
        keystore: Arc::new(keystore),
        config: config.service,
        rpc_address: config.api.public_url.unwrap_or(listen),
    };
    service::recover(recovery).map_err(|e| {
        let hint = match e {
            // It says itself what to do.
            ServiceError::OtherService { .. } => "nothing has changed",
            _ => "nothing is lost: run it again, it goes on where it ended",
        };
        CliError::failed(e.to_string()).hint(hint)
    })
}

fn plan(group: &str, dir: &Path, ledger: &Ledger) -> Value {
    json!({
        "group_id": group,
        "directory": dir,
        "keeps_up_to": ledger.signed.to_string(),
        "drops": ledger.unsigned(),
        "dropped_up_to": ledger.last.to_string(),
        "new_view": ledger.last.view + VIEW_STEP,
        "signatures": ledger.signatures,
        "service_status": ledger.service_status,
    })
}

fn plan_text(group: &str, ledger: &Ledger) -> String {
    let dropped = match ledger.unsigned() {
        0 => "nothing: the last entry is signed".to_owned(),
        n => format!("{n} entries behind it, up to {}: signed by nobody", ledger.last),
    };
    format!(
        "group {group}\n  keeps    everything up to signature {} ({} signatures hold)\n  drops    \
         {dropped}\n  then     a new service identity, linked to the old one; view {}; this node is \
         the only one, others join anew\n  lost     what other nodes committed and this ledger does \
         not have",
        ledger.signed,
        ledger.signatures,
        ledger.last.view + VIEW_STEP,
    )
}

/// The directory of a signed-Raft group.
fn find(data_dir: &Path, wanted: Option<&str>) -> Result<(String, PathBuf)> {
    let groups = data_dir.join(GROUPS);
    let entries = std::fs::read_dir(&groups).map_err(|e| {
        CliError::file("read", &groups, &e).hint("name a node's data directory with --data-dir")
    })?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| CliError::file("read", &groups, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join("ledger").is_dir() && wanted.is_none_or(|wanted| wanted == name) {
            found.push((name, entry.path()));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CliError::usage(format!("no such signed-Raft group in {}", data_dir.display()))),
        _ => {
            let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
            Err(CliError::usage("the node has several signed-Raft groups")
                .hint(format!("name one with --group: {}", names.join(", "))))
        }
    }
}
