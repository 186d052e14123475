//! What each command does. A command takes its flags and returns a [`Report`], or an error that
//! says what to do.

mod block;
mod consensus;
mod doctor;
mod group;
mod keys;
mod kv;
mod member;
mod node;
mod plan;
mod recover;
mod scenario;
pub mod seed;
pub mod signed;
mod trx;
mod tx;
pub mod verify;

use crate::api::Api;
use crate::args::{AnnounceArgs, AnnounceAs, Cli, Command, SimCommand};
use crate::error::Result;
use crate::output::{Report, show};
use crate::{bench, cluster, dev, sim};

/// Runs a command; `None` if it has said everything already.
///
/// # Errors
/// Whatever stops the command.
pub async fn run(cli: Cli) -> Result<Option<Report>> {
    let global = &cli.global;
    let api = Api::from_args(global);
    let report = match cli.command {
        Command::Node(command) => return node::run(&api, command, global.output).await,
        Command::Bootstrap(command) => return node::bootstrap(command, global.output).await,
        Command::Group(command) => group::run(&api, command).await?,
        Command::Trx(command) => trx::run(&api, command).await?,
        Command::Block(command) => block::run(&api, command).await?,
        Command::Consensus(command) => consensus::run(&api, command).await?,
        Command::Announce(args) => announce(&api, args).await?,
        Command::Member(command) => member::run(&api, command, global.output).await?,
        Command::Kv(command) => return kv::run(&api, command, global.output).await,
        Command::Tx(command) => tx::run(&api, command).await?,
        Command::Recover(args) => recover::run(&args, global.output)?,
        Command::Keys(command) => keys::run(command)?,
        Command::Seed(command) => seed::run(command)?,
        Command::Verify(command) => verify::run(command)?,
        Command::Doctor(args) => doctor::run(&args)?,
        Command::Dev(args) => return dev::run(&args, global.output).await,
        Command::Sim(args) => match &args.command {
            Some(SimCommand::Plan(plan)) => plan::run(plan).await?,
            None => sim::run(&args)?,
        },
        Command::Scenario(args) => scenario::run(&args)?,
        Command::Bench(command) => bench::run(command).await?,
        Command::Completions(args) => {
            completions(args.shell);
            return Ok(None);
        }
        Command::Janitor(args) => {
            cluster::janitor(&args.dir)?;
            return Ok(None);
        }
    };
    Ok(Some(report))
}

async fn announce(api: &Api, args: AnnounceArgs) -> Result<Report> {
    let kind = match args.kind {
        AnnounceAs::Producer => "producer",
        AnnounceAs::User => "user",
    };
    let action = if args.remove { "remove" } else { "add" };
    let memo = if args.memo.is_empty() { format!("announced as {kind}") } else { args.memo };
    let answer = api.announce(&args.group, kind, action, &memo).await?;
    let human = format!(
        "announced {} as {kind} ({action}), trx {}",
        show(&answer, "sign_pubkey"),
        show(&answer, "trx_id"),
    );
    Ok(Report::new(answer, human))
}

fn completions(shell: clap_complete::Shell) {
    use clap::CommandFactory as _;
    let mut command = Cli::command();
    clap_complete::generate(shell, &mut command, "quorate", &mut std::io::stdout());
}
