use super::{ConfigError, NodeConfig, Overrides, Restart};

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).expect("the file is written");
    (dir, path)
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn layers_override_each_other_in_order() {
    let (_dir, path) = file(
        "data_dir = \"/from/file\"\n[api]\nlisten = \"127.0.0.1:1\"\n[network]\nmax_peers = 7\n\
         bootstrap = [\"/ip4/1.2.3.4/tcp/1\"]\nname = \"file\"\n",
    );
    let environment = env(&[
        ("QUORATE_API_LISTEN", "127.0.0.1:2"),
        ("QUORATE_NETWORK_NAME", "env"),
        ("PATH", "/bin"),
    ]);
    let flags = Overrides {
        network_name: Some("flag".to_owned()),
        network_bootstrap: vec!["/ip4/5.6.7.8/tcp/2".parse().expect("an address")],
        ..Overrides::default()
    };
    let config = NodeConfig::load(Some(&path), environment, flags).expect("all layers are good");
    assert_eq!(config.data_dir.to_str(), Some("/from/file"));
    assert_eq!(config.api.listen.port(), 2);
    assert_eq!(config.network.name, "flag");
    assert_eq!(config.network.max_peers, 7);
    assert_eq!(config.network.bootstrap.len(), 2);
    assert_eq!(config.log.level, "info");
}

#[test]
fn an_unknown_key_names_the_closest() {
    let (_dir, path) = file("[network]\nmax_peer = 7\n");
    let error = NodeConfig::load(Some(&path), [], Overrides::default()).expect_err("refused");
    let ConfigError::UnknownKey { key, suggestion, .. } = &error else {
        panic!("another error: {error}");
    };
    assert_eq!(key, "network.max_peer");
    assert_eq!(suggestion.as_deref(), Some("network.max_peers"));
    assert!(error.to_string().contains("did you mean `network.max_peers`?"), "{error}");

    let (_dir, path) = file("[api]\n[netwrk]\nname = \"x\"\n");
    let error = NodeConfig::load(Some(&path), [], Overrides::default()).expect_err("refused");
    assert!(matches!(error, ConfigError::UnknownKey { ref key, .. } if key == "netwrk"), "{error}");
}

#[test]
fn a_mistyped_variable_is_an_error_and_a_foreign_one_is_not() {
    let error =
        NodeConfig::load(None, env(&[("QUORATE_API_LISTN", "127.0.0.1:1")]), Overrides::default())
            .expect_err("refused");
    assert!(error.to_string().contains("QUORATE_API_LISTEN"), "{error}");
    NodeConfig::load(None, env(&[("QUORATE_UNRELATED_TOOL_SETTING", "1")]), Overrides::default())
        .expect("not ours");
}

#[test]
fn wrong_types_and_values_are_named() {
    for (text, key) in [
        ("data_dir = 5\n", "data_dir"),
        ("[api]\nlisten = \"nowhere\"\n", "api.listen"),
        ("[network]\nmax_peers = -1\n", "network.max_peers"),
        ("[network]\nmax_peers = 0\n", "network.max_peers"),
        ("[network]\nlisten = [\"x\"]\n", "network.listen"),
        ("[network]\nname = \"a/b\"\n", "network.name"),
        ("[network]\nmdns = \"maybe\"\n", "network.mdns"),
        ("[service]\nelection_timeout = 5000\n", "service.election_timeout"),
        ("[service]\nelection_timeout = \"1 day\"\n", "service.election_timeout"),
        ("[service]\nmessage_timeout = \"2500ms\"\n", "service.message_timeout"),
        ("[service]\nrestart = \"reset\"\n", "service.restart"),
        ("[service]\ngroup = \"x\"\n", "service.group"),
        ("[service.signatures]\ntx_count = 0\n", "service.signatures.tx_count"),
        ("[service.signatures]\ntx_count = 20001\n", "service.signatures.tx_count"),
        ("[service.ledger]\nchunk_size = \"5 apples\"\n", "service.ledger.chunk_size"),
        ("[service.ledger]\nread_only_directories = 5\n", "service.ledger.read_only_directories"),
        ("[service.snapshots]\nmin_tx_count = \"few\"\n", "service.snapshots.min_tx_count"),
        ("[service.snapshots]\ntime_interval = 60\n", "service.snapshots.time_interval"),
        ("[service.files_cleanup]\ninterval = \"0s\"\n", "service.files_cleanup.interval"),
        ("[service.files_cleanup]\nmax_snapshots = 0\n", "service.files_cleanup.max_snapshots"),
        (
            "[service.files_cleanup]\nmax_committed_ledger_chunks = 3\n",
            "service.files_cleanup.max_committed_ledger_chunks",
        ),
    ] {
        let (_dir, path) = file(text);
        let error = NodeConfig::load(Some(&path), [], Overrides::default()).expect_err(text);
        assert!(
            matches!(error, ConfigError::Value { key: ref found, .. } if found == key),
            "{text}: {error}"
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = NodeConfig::load(
        None,
        env(&[("QUORATE_KEYSTORE_PASSWORD", "hunter2")]),
        Overrides::default(),
    )
    .expect("good");
    assert_eq!(config.keystore.password.as_ref().map(|p| p.expose()), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn services_are_configured_as_in_the_reference() {
    let service = NodeConfig::default().service;
    assert_eq!((service.message_timeout_ms, service.election_timeout_ms), (100, 5000));
    assert_eq!((service.signature_tx_count, service.signature_delay_ms), (5000, 1000));
    assert_eq!(service.chunk_size, 5 * 1024 * 1024);
    assert_eq!((service.snapshot_tx_count, service.snapshot_min_tx_count), (10_000, 2));
    assert_eq!((service.snapshot_interval_ms, service.files_cleanup.interval_ms), (0, 30_000));
    let (_dir, path) = file(
        "[service]\nmessage_timeout = \"20ms\"\nrestart = \"rejoin\"\nredirect = true\n\
         [service.signatures]\ndelay = \"2s\"\nadaptive = false\n\
         [service.ledger]\nchunk_size = \"64KB\"\nread_only_directories = [\"/a\", \"b\"]\n\
         [service.snapshots]\nmin_tx_count = 9\ntime_interval = \"1h\"\n\
         [service.files_cleanup]\nmax_snapshots = 1\nmax_committed_ledger_chunks = 3\n",
    );
    let environment = env(&[("QUORATE_SERVICE_SIGNATURES_TX_COUNT", "7")]);
    let config = NodeConfig::load(Some(&path), environment, Overrides::default()).expect("good");
    let service = config.service;
    assert_eq!((service.message_timeout_ms, service.restart), (20, Restart::Rejoin));
    assert_eq!((service.signature_delay_ms, service.signature_tx_count), (2000, 7));
    assert!(service.redirect && !service.signature_adaptive);
    assert_eq!(service.chunk_size, 64 * 1024);
    assert_eq!(service.read_only_directories, ["/a", "b"].map(std::path::PathBuf::from));
    assert_eq!((service.snapshot_min_tx_count, service.snapshot_interval_ms), (9, 3_600_000));
    let cleanup = service.files_cleanup;
    assert_eq!((cleanup.interval_ms, cleanup.max_snapshots), (30_000, 1));
    assert_eq!(cleanup.max_committed_ledger_chunks, Some(3));

    for (text, wrong, near) in [
        ("[service]\nelection_timout = \"1s\"\n", "service.election_timout", "election_timeout"),
        ("[service.ledger]\nchunk_sise = \"1MB\"\n", "service.ledger.chunk_sise", "chunk_size"),
        ("[service.signature]\ndelay = \"1s\"\n", "service.signature", "signatures"),
    ] {
        let (_dir, path) = file(text);
        let error = NodeConfig::load(Some(&path), [], Overrides::default()).expect_err(text);
        let ConfigError::UnknownKey { key, suggestion, .. } = &error else {
            panic!("another error: {error}");
        };
        assert_eq!(key, wrong);
        assert!(suggestion.as_ref().is_some_and(|name| name.contains(near)), "{error}");
    }
}
