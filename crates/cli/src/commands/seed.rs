//! `quorate seed`: needs no node.

use quorate_ledger::seed::{Seed, SeedError};
use serde_json::{Value, json};

use crate::args::SeedCommand;
use crate::error::{CliError, Result};
use crate::output::{Report, show, table};

/// Runs the command.
///
/// # Errors
/// If the seed is no seed, or its signature does not hold.
pub fn run(command: SeedCommand) -> Result<Report> {
    let SeedCommand::Inspect { url } = command;
    inspect(&url)
}

/// Everything there is to see in a seed; an error unless its signatures hold.
fn inspect(url: &str) -> Result<Report> {
    let seed = Seed::parse(url).map_err(|error| refused(&error))?;
    let value = serde_json::to_value(seed.inspect()).expect("an inspection is JSON");
    seed.verify().map_err(|error| refused(&error).with(value.clone()))?;
    let mut rows = table(["field", "value"]);
    for (name, _) in value.as_object().into_iter().flatten() {
        rows.add_row([name.clone(), show(&value, name)]);
    }
    Ok(Report::new(value, format!("{rows}\nthe owner's signature holds")))
}

/// An error that names the fields at fault.
fn refused(error: &SeedError) -> CliError {
    let fields: Vec<String> = error.fields().iter().map(char::to_string).collect();
    CliError::failed(error.to_string())
        .with(json!({ "signature_valid": false, "fields": Value::from(fields) }))
        .hint("ask the owner for the seed again; a seed must be copied to the last character")
}

/// Reads a seed given as an anchor of trust.
///
/// # Errors
/// If it is no seed, or its signature does not hold.
pub fn anchor(url: &str) -> Result<Seed> {
    Seed::parse_verified(url).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = include_str!("../../../../vectors/quorum.json");

    fn example() -> String {
        let vectors: Value = serde_json::from_str(SEED).expect("the vectors are JSON");
        vectors["seed_url"]["input"].as_str().expect("there is a seed").to_owned()
    }

    #[test]
    fn the_example_is_shown_with_every_field_of_the_issue() {
        let report = inspect(&example()).expect("the seed of the example is good");
        let value = report.value;
        assert_eq!(value["group_id"], "cd991ce2-7dbb-422e-9f5c-a0f552e4d896");
        assert_eq!(value["group_name"], "my_test_group");
        assert_eq!(value["owner_pubkey"], "AqdrgpUpRj41BBZmpcfu8VahwZ9IXx8yJl0iaCPW3b7B");
        assert_eq!(value["consensus_type"], "poa");
        assert_eq!(value["encryption_type"], "public");
        assert_eq!(
            value["cipher_key"],
            "8e51d9d32574ecbecb8d3d374c82d22f620bc277e9b00333e38032072d4cbd2e"
        );
        assert_eq!(value["app_key"], "test_app");
        assert_eq!(value["timestamp"], "1682009430855436223");
        assert_eq!(
            value["genesis_hash"],
            "8f57cc6c1f88ddc3eeaac38bd62eac0588ba0d1c360ad53ba1e0aea11d4043a6"
        );
        assert_eq!(value["urls"].as_array().map(Vec::len), Some(1));
        assert_eq!(value["signature_valid"], true);
    }

    #[test]
    fn every_changed_character_of_a_signed_field_is_refused_and_the_field_named() {
        let url = example();
        let mut tried = 0;
        for field in ['s', 'k', 't', 'g'] {
            let start = url.find(&format!("&{field}=")).expect("the field is there") + 3;
            let end = start + url[start..].find('&').expect("another field follows");
            for at in start..end {
                let other = if &url[at..=at] == "A" { "B" } else { "A" };
                let changed = format!("{}{other}{}", &url[..at], &url[at + 1..]);
                let error = inspect(&changed).expect_err("a changed seed is refused");
                let fields = error.partial["fields"].as_array().cloned().unwrap_or_default();
                assert!(fields.contains(&json!(field.to_string())), "{field} at {at}: {error}");
                assert!(error.message.contains(field), "{field} at {at}: {error}");
                assert_eq!(error.partial["signature_valid"], false);
                tried += 1;
            }
        }
        assert_eq!(tried, 87 + 44 + 11 + 22);
    }
}
