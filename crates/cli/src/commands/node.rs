//! `quorate node` and `quorate bootstrap`.

use std::io::Read as _;
use std::time::Duration;

use quorate_node::config::{NodeConfig, Overrides};
use quorate_node::{Node, NodeKind};

use crate::api::Api;
use crate::args::{Format, NodeCommand, RunArgs};
use crate::cluster::Ready;
use crate::error::{CliError, Result};
use crate::output::{Report, print_line, print_note, show};
use crate::signals;

/// How long an orderly stop may take before the process ends without it. Everything that was
/// acknowledged is on disk already.
const STOP_LIMIT: Duration = Duration::from_secs(8);

pub async fn run(api: &Api, command: NodeCommand, format: Format) -> Result<Option<Report>> {
    match command {
        NodeCommand::Run(args) => serve(*args, NodeKind::Full, format).await,
        NodeCommand::Status => {
            let node = api.node().await?;
            let human = format!(
                "{} {} ({}), {}",
                show(&node, "node_type"),
                show(&node, "node_id"),
                show(&node, "node_status"),
                show(&node, "node_version"),
            );
            Ok(Some(Report::new(node, human)))
        }
    }
}

pub async fn bootstrap(
    command: crate::args::BootstrapCommand,
    format: Format,
) -> Result<Option<Report>> {
    let crate::args::BootstrapCommand::Run(args) = command;
    serve(args, NodeKind::Bootstrap, format).await
}

async fn serve(args: RunArgs, kind: NodeKind, format: Format) -> Result<Option<Report>> {
    quorate_node::memory::small_pages();
    let exit_with_parent = args.exit_with_parent;
    let config = config(args)?;
    quorate_node::telemetry::init(&config.log).map_err(|e| CliError::usage(e.to_string()))?;
    let node = Node::start(config, kind).await.map_err(|e| CliError::failed(e.to_string()))?;
    let ready = Ready {
        api: format!("http://{}", node.api_addr()),
        peer_id: node.peer_id(),
        listen: node.listen_addrs(),
    };
    match format {
        Format::Json => {
            print_line(&serde_json::to_string(&ready).expect("the ready line is JSON"));
        }
        Format::Human => {
            print_line(&format!("node {} is ready", ready.peer_id));
            print_line(&format!("  API     {}", ready.api));
            for address in &ready.listen {
                print_line(&format!("  listens {address}"));
            }
        }
    }
    tokio::select! {
        () = signals::stop() => print_note("stopping"),
        () = parent_gone(), if exit_with_parent => {}
        why = node.ended() => print_note(&format!("the node ends: {why}")),
    }
    let stopped = tokio::time::timeout(STOP_LIMIT, node.shutdown()).await;
    match stopped {
        Ok(Ok(())) => Ok(None),
        Ok(Err(error)) => Err(CliError::failed(error.to_string())),
        Err(_) => Err(CliError::failed("the node did not stop in time")),
    }
}

fn config(args: RunArgs) -> Result<NodeConfig> {
    let wrong = |flag: &str, value: &str, error: &dyn std::fmt::Display| {
        CliError::usage(format!("--{flag} {value}: {error}"))
            .hint("an address looks like /ip4/127.0.0.1/tcp/7002")
    };
    let mut overrides = Overrides {
        data_dir: args.data_dir,
        keystore_password_file: args.password_file,
        keystore_work_factor: args.keystore_cost,
        api_listen: args.api_listen,
        api_public_url: args.public_url,
        network_mdns: args.mdns.then_some(true),
        log_level: args.log,
        log_json: args.log_json.then_some(true),
        ..Overrides::default()
    };
    for text in &args.listen {
        let address = text.parse().map_err(|e| wrong("listen", text, &e))?;
        overrides.network_listen.push(address);
    }
    for text in &args.peer {
        let address = text.parse().map_err(|e| wrong("peer", text, &e))?;
        overrides.network_bootstrap.push(address);
    }
    NodeConfig::load(args.config.as_deref(), std::env::vars(), overrides)
        .map_err(|e| CliError::usage(e.to_string()))
}

/// Ends when standard input does: its writer is the parent process.
async fn parent_gone() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own: a pending read of standard input cannot be cancelled, and must not keep
    // the runtime from ending.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut bytes = [0; 64];
        while matches!(input.read(&mut bytes), Ok(n) if n > 0) {}
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
