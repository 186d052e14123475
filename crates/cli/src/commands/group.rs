//! `quorate group`.

use serde_json::{Value, json};

use crate::api::Api;
use crate::args::GroupCommand;
use crate::error::Result;
use crate::output::{Report, show, table, text};

pub async fn run(api: &Api, command: GroupCommand) -> Result<Report> {
    match command {
        GroupCommand::Create { name, app_key, consensus, no_chain_url } => {
            let created = api.create_group(&name, &app_key, &consensus, !no_chain_url).await?;
            let human = format!(
                "created group {}\n\nothers join with\n  quorate group join '{}'",
                text(&created, "group_id"),
                text(&created, "seed"),
            );
            Ok(Report::new(created, human))
        }
        GroupCommand::Join { seed } => {
            let joined = api.join_group(&seed).await?;
            let human = format!(
                "joined group {} ({}) as {}",
                show(&joined, "group_id"),
                show(&joined, "group_name"),
                show(&joined, "user_pubkey"),
            );
            Ok(Report::new(joined, human))
        }
        GroupCommand::Seed { group, no_chain_url } => {
            let seed = api.seed(&group, !no_chain_url).await?;
            let human = text(&seed, "seed").to_owned();
            Ok(Report::new(seed, human))
        }
        GroupCommand::List => list(api).await,
        GroupCommand::Leave { group, clear } => {
            let mut left = api.leave_group(&group).await?;
            if clear {
                left = api.clear_group(&group).await?;
            }
            left["cleared"] = json!(clear);
            let rest = if clear { "and removed its data" } else { "its data stays" };
            Ok(Report::new(left, format!("left group {group}; {rest}")))
        }
    }
}

async fn list(api: &Api) -> Result<Report> {
    let groups = api.groups_value().await?;
    let mut rows = table(["group", "name", "kind", "block", "role", "key"]);
    let list = groups.get("groups").and_then(Value::as_array);
    for group in list.into_iter().flatten() {
        let owner = text(group, "owner_pubkey") == text(group, "user_pubkey");
        rows.add_row([
            show(group, "group_id"),
            show(group, "group_name"),
            show(group, "consensus_type"),
            show(group, "currt_top_block"),
            if owner { "owner".to_owned() } else { "member".to_owned() },
            show(group, "user_pubkey"),
        ]);
    }
    let human = if rows.is_empty() {
        "no groups yet: `quorate group create --name NAME`, or join one by its seed".to_owned()
    } else {
        rows.to_string()
    };
    Ok(Report::new(groups, human))
}
