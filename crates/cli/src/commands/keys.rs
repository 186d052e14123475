//! `quorate keys`: the keystore of a node, never its secrets.

use quorate_node::config::{NodeConfig, Overrides};
use quorate_node::keystore::{Keystore, password_of};
use serde_json::json;

use crate::args::{KeysCommand, KeystoreArgs};
use crate::error::{CliError, Result};
use crate::output::{Report, table};

pub fn run(command: KeysCommand) -> Result<Report> {
    match command {
        KeysCommand::List(args) => list(&args),
        KeysCommand::Check(args) => check(&args),
    }
}

fn open(args: &KeystoreArgs) -> Result<Keystore> {
    let overrides = Overrides {
        data_dir: Some(args.data_dir.clone()),
        keystore_password_file: args.password_file.clone(),
        ..Overrides::default()
    };
    let config = NodeConfig::load(None, std::env::vars(), overrides)
        .map_err(|e| CliError::usage(e.to_string()))?;
    let dir = config.keystore_dir();
    // Opening would make a keystore where there is none.
    if !dir.is_dir() {
        let message = format!("there is no keystore in {}", dir.display());
        return Err(CliError::usage(message).hint("name the data directory of a node"));
    }
    let password = password_of(&config).map_err(|e| CliError::usage(e.to_string()))?;
    Keystore::open(dir, &password, None).map_err(|e| CliError::failed(e.to_string()))
}

fn list(args: &KeystoreArgs) -> Result<Report> {
    let failed = |e: quorate_node::keystore::KeystoreError| CliError::failed(e.to_string());
    let keystore = open(args)?;
    let node = keystore.node_key().map_err(failed)?.public();
    let mut rows = table(["group", "member key", "address", "encryption key"]);
    let mut groups = Vec::new();
    for group in keystore.groups().map_err(failed)? {
        let keys = keystore.group_keys(group).map_err(failed)?;
        let (member, encrypt) = (keys.member.public(), keys.encrypt.public());
        rows.add_row([
            group.to_string(),
            member.to_string(),
            member.eth_address(),
            encrypt.to_string(),
        ]);
        groups.push(json!({
            "group_id": group,
            "member_pubkey": member.to_string(),
            "eth_addr": member.eth_address(),
            "encrypt_pubkey": encrypt.to_string(),
        }));
    }
    let human = format!("node key {node}\n{rows}");
    Ok(Report::new(json!({ "node_pubkey": node.to_string(), "groups": groups }), human))
}

fn check(args: &KeystoreArgs) -> Result<Report> {
    let failed = |e: quorate_node::keystore::KeystoreError| CliError::failed(e.to_string());
    let keystore = open(args)?;
    keystore.node_key().map_err(failed)?;
    keystore.token_key().map_err(failed)?;
    let groups = keystore.groups().map_err(failed)?;
    for group in &groups {
        keystore.group_keys(*group).map_err(failed)?;
    }
    let human = format!("the password opens the keystore and the keys of {} groups", groups.len());
    Ok(Report::new(json!({ "ok": true, "groups": groups.len() }), human))
}
