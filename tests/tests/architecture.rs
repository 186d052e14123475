//! The dependency arrows of the design, read off `cargo metadata`: a crate exists only where the
//! compiler must keep something out, so what it keeps out is checked.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use quorate_tests::root;

/// What each crate of ours may name. Everything else is forbidden.
const ARROWS: [(&str, &[&str]); 9] = [
    ("crypto", &[]),
    ("ledger", &["crypto"]),
    ("consensus", &["crypto", "ledger"]),
    ("replica", &["crypto", "ledger", "consensus"]),
    ("storage", &["crypto", "ledger", "consensus"]),
    ("simulator", &["crypto", "ledger", "consensus", "replica", "storage"]),
    ("node", &["crypto", "ledger", "consensus", "replica", "storage"]),
    ("cli", &["crypto", "ledger", "consensus", "replica", "storage", "simulator", "node"]),
    ("tests", &["crypto", "ledger", "consensus", "replica", "storage", "simulator", "node", "cli"]),
];

/// Cryptography from outside, which crypto alone names.
const CRYPTOGRAPHY: [&str; 30] = [
    "aes",
    "aes-gcm",
    "age",
    "aws-lc-rs",
    "blake3",
    "blst",
    "chacha20poly1305",
    "commonware-codec",
    "commonware-cryptography",
    "commonware-math",
    "commonware-parallel",
    "commonware-utils",
    "coset",
    "curve25519-dalek",
    "ed25519-dalek",
    "hkdf",
    "hmac",
    "k256",
    "p256",
    "rcgen",
    "reed-solomon-simd",
    "ring",
    "scrypt",
    "secp256k1",
    "sha1",
    "sha2",
    "sha3",
    "threshold_crypto",
    "x25519-dalek",
    "x509-parser",
];

/// What a crate without I/O, clock, threads and operating system has no use for.
const IMPURE: [&str; 12] = [
    "async-std",
    "axum",
    "crossbeam",
    "futures",
    "getrandom",
    "libp2p",
    "parking_lot",
    "rayon",
    "reqwest",
    "smol",
    "tempfile",
    "tokio",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo knows the workspace")
}

/// Short name of a crate of ours.
fn short(name: &str) -> Option<&str> {
    name.strip_prefix("quorate-")
}

/// Names of the dependencies of a package that are there outside of its tests.
fn dependencies(package: &Package) -> BTreeSet<String> {
    let real = |kind| matches!(kind, DependencyKind::Normal | DependencyKind::Build);
    package.dependencies.iter().filter(|d| real(d.kind)).map(|d| d.name.clone()).collect()
}

fn ours(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let packages = metadata.workspace_packages();
    let named = packages.iter().filter_map(|p| Some((short(&p.name)?.to_owned(), dependencies(p))));
    named.collect()
}

#[test]
fn crates_name_only_what_the_design_allows() {
    let crates = ours(&metadata());
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = crates.keys().map(String::as_str).collect();
    assert_eq!(found, known, "a crate without its arrows (or arrows without their crate)");
    for (name, allowed) in ARROWS {
        let named: BTreeSet<&str> = crates[name].iter().filter_map(|d| short(d)).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let forbidden: Vec<_> = named.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{name} names {forbidden:?}");
    }
}

#[test]
fn test_dependencies_follow_the_arrows_too() {
    // A test of a pure crate may not reach for the body either: what it needs is beneath it.
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let Some(name) = short(&package.name) else { continue };
        let allowed = ARROWS.iter().find(|(n, _)| *n == name).expect("every crate has arrows").1;
        for dependency in &package.dependencies {
            if let Some(other) = short(&dependency.name) {
                assert!(
                    allowed.contains(&other) || other == name,
                    "{name} names {other} in its tests"
                );
            }
        }
    }
}

#[test]
fn only_crypto_names_outside_cryptography() {
    for (name, named) in ours(&metadata()) {
        if name == "crypto" {
            continue;
        }
        let found: Vec<_> = CRYPTOGRAPHY.iter().filter(|c| named.contains(**c)).collect();
        assert!(found.is_empty(), "{name} names {found:?}");
    }
}

#[test]
fn pure_crates_have_no_body() {
    let crates = ours(&metadata());
    for name in ["ledger", "consensus", "replica"] {
        let found: Vec<_> = IMPURE.iter().filter(|c| crates[name].contains(**c)).collect();
        assert!(found.is_empty(), "{name} names {found:?}");
    }
}

#[test]
fn pure_crates_ban_clocks_hash_maps_threads_and_os_randomness() {
    for name in ["ledger", "consensus", "replica"] {
        let path = root().join("crates").join(name).join("clippy.toml");
        let text = std::fs::read_to_string(&path).expect("a pure crate has a clippy.toml");
        let table: toml::Table = text.parse().expect("clippy.toml is TOML");
        let paths = |key: &str| -> BTreeSet<String> {
            let list = table[key].as_array().expect("a list of bans");
            list.iter().map(|ban| ban["path"].as_str().expect("a path").to_owned()).collect()
        };
        let types = paths("disallowed-types");
        for banned in ["std::collections::HashMap", "std::time::Instant", "std::time::SystemTime"] {
            assert!(types.contains(banned), "{name} does not ban {banned}");
        }
        let methods = paths("disallowed-methods");
        for banned in ["std::thread::spawn", "std::time::SystemTime::now", "uuid::Uuid::new_v4"] {
            assert!(methods.contains(banned), "{name} does not ban {banned}");
        }
    }
}

#[test]
fn deliberate_bugs_stay_in_the_simulators_tests() {
    const FEATURE: &str = "mutants";
    const MAY_HAVE_IT: [&str; 5] = ["ledger", "consensus", "replica", "storage", "simulator"];
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let Some(name) = short(&package.name) else { continue };
        let has_it = MAY_HAVE_IT.contains(&name);
        for (feature, parts) in &package.features {
            let turns_on = parts.iter().any(|part| part.ends_with(FEATURE));
            assert!(
                !turns_on || (has_it && feature == FEATURE),
                "{name} turns deliberate bugs on by its feature {feature}"
            );
        }
        assert_eq!(package.features.contains_key(FEATURE), has_it, "{name}");
        for dependency in &package.dependencies {
            assert!(
                !dependency.features.iter().any(|f| f == FEATURE),
                "{name} wants {} with deliberate bugs",
                dependency.name
            );
        }
    }
    // And so the program is built without them.
    for node in &metadata.resolve.expect("cargo resolves the workspace").nodes {
        let on = node.features.iter().any(|feature| feature.as_str() == FEATURE);
        assert!(!on, "{} is built with deliberate bugs", node.id);
    }
}

#[test]
fn nobody_but_the_simulator_stands_in_for_signatures() {
    for name in ["ledger", "consensus", "replica", "storage", "node", "cli"] {
        let files = rust_files(&root().join("crates").join(name));
        assert!(!files.is_empty(), "{name} has no source files");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file can be read");
            for word in ["made::", "crypto::made", "stand_in"] {
                assert!(!text.contains(word), "{} names {word}", file.display());
            }
        }
    }
}

#[test]
fn the_three_cores_never_import_each_other() {
    let consensus = root().join("crates/consensus/src");
    let cores = ["honeybadger", "modsmart", "raft"];
    let mut files = 0;
    for core in cores {
        let dir = consensus.join(core);
        if !dir.is_dir() {
            continue;
        }
        for file in rust_files(&dir) {
            files += 1;
            let text = std::fs::read_to_string(&file).expect("a source file can be read");
            for other in cores.iter().filter(|other| **other != core) {
                let named = text.contains(&format!("crate::{other}"))
                    || text.contains(&format!("super::super::{other}"));
                assert!(!named, "{} names {other}", file.display());
            }
        }
    }
    assert!(files > 0, "there is at least one core");
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("there is a workspace");
    let table: toml::Table = text.parse().expect("Cargo.toml is TOML");
    let lint = &table["workspace"]["lints"]["rust"]["unsafe_code"];
    assert_eq!(lint.as_str(), Some("forbid"));
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let table: toml::Table = manifest.parse().expect("a manifest is TOML");
        let inherits = table.get("lints").and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(inherits, Some(true), "{} has lints of its own", package.name);
    }
}

#[test]
fn nothing_in_the_tree_is_on_the_list_of_refused_crates_or_from_elsewhere() {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("there is a deny.toml");
    let table: toml::Table = text.parse().expect("deny.toml is TOML");
    let bans = table["bans"]["deny"].as_array().expect("a list of bans");
    let refused: BTreeSet<&str> = bans.iter().filter_map(|b| b["crate"].as_str()).collect();
    assert!(refused.contains("bincode"));
    for package in &metadata().packages {
        assert!(!refused.contains(package.name.as_str()), "{} is refused", package.name);
        let from = package.source.as_ref().map(|s| s.repr.clone()).unwrap_or_default();
        assert!(!from.starts_with("git+"), "{} comes from {from}", package.name);
    }
}

fn rust_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a source directory can be read") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            files.append(&mut rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}
