//! `quorate block`.

use super::trx::write_json;
use super::verify::block_bundle;
use crate::api::Api;
use crate::args::BlockCommand;
use crate::error::{CliError, Result};
use crate::output::Report;

pub async fn run(api: &Api, command: BlockCommand) -> Result<Report> {
    let BlockCommand::Get { group, block, bundle } = command;
    let missing = || {
        CliError::failed(format!("there is no block {block} in group {group} yet"))
            .hint("`quorate group list` shows the last block of each group")
    };
    let value = api.block(&group, block).await?.ok_or_else(missing)?;
    if let Some(path) = bundle {
        write_json(&path, &block_bundle(api, &group, block).await?)?;
    }
    Ok(Report::plain(value))
}
