//! The documents: what they link to exists, and the commands they show are commands.

use std::path::{Path, PathBuf};

use quorate_tests::{quorate, root};

/// Every Markdown file of the project.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root(), root().join("docs")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && dir != root() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// Targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    text.match_indices("](")
        .filter_map(|(at, _)| text[at + 2..].split_once(')').map(|(target, _)| target))
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        let dir = document.parent().unwrap_or(Path::new("/"));
        for target in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            assert!(dir.join(path).exists(), "{} links to {target}", document.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links were found");
}

#[test]
fn files_named_in_documents_exist() {
    let mut checked = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        for name in text.split('`').skip(1).step_by(2) {
            let ours = ["crates/", "docs/", "vectors/"].iter().any(|p| name.starts_with(p));
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if ours && plain {
                assert!(root().join(name).exists(), "{} names {name}", document.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} files were found");
}

/// The commands of code blocks and of `code` that begin with `quorate`.
fn commands(text: &str) -> Vec<Vec<String>> {
    let starts = text.match_indices("quorate ").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        matches!(before, Some('`' | '\n' | ' ')) && !text[at + 8..].starts_with('-')
    });
    starts
        .filter_map(|(at, _)| {
            let words = text[at..].split(['\n', '`', '"', '\'', '|']).next()?.split_whitespace();
            let words = words.skip(1).take_while(|w| w.chars().all(|c| c.is_ascii_lowercase()));
            Some(words.map(str::to_owned).collect())
        })
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

#[test]
fn commands_of_the_readme_and_operations_are_commands() {
    let mut checked = 0;
    for name in ["README.md", "docs/operations.md", "docs/ledger-format.md"] {
        let text = std::fs::read_to_string(root().join(name)).expect("a document can be read");
        for words in commands(&text) {
            let first = words[0].as_str();
            // A sentence may go on behind a command, so only as many words as name one.
            let groups = [
                "node",
                "bootstrap",
                "group",
                "trx",
                "block",
                "consensus",
                "keys",
                "seed",
                "verify",
                "bench",
                "member",
                "kv",
                "tx",
            ];
            let count = if groups.contains(&first) { 2 } else { 1 };
            if words.len() < count {
                continue;
            }
            let mut arguments: Vec<&str> = words[..count].iter().map(String::as_str).collect();
            arguments.push("--help");
            let output = quorate(&arguments);
            assert!(output.status.success(), "{name} shows `quorate {}`", words.join(" "));
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} commands were found");
}
