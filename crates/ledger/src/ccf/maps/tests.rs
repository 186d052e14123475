use super::*;

#[test]
fn the_rows_are_those_that_tools_read() {
    let mut info = NodeInfo::new(NodeStatus::Trusted);
    assert_eq!(row(&info)[..], *br#"{"status":"Trusted"}"#);
    info.retired_committed = true;
    info.status = NodeStatus::Retired;
    assert_eq!(row(&info)[..], *br#"{"status":"Retired","retired_committed":true}"#);
    let service = ServiceInfo {
        cert: "PEM".to_owned(),
        status: ServiceStatus::Opening,
        recovery_count: 0,
        current_service_create_txid: None,
    };
    assert_eq!(row(&service)[..], *br#"{"cert":"PEM","status":"Opening","recovery_count":0}"#);
    let evidence = SnapshotEvidence { hash: Digest([0xab; 32]), version: 7 };
    let hash = "ab".repeat(32);
    assert_eq!(row(&evidence)[..], *format!(r#"{{"hash":"{hash}","version":7}}"#).as_bytes());
}

#[test]
fn nodes_are_written_and_read() {
    let (one, two) = (Digest([1; 32]), Digest([2; 32]));
    let mut info = NodeInfo::new(NodeStatus::Pending);
    info.peer = "12D3".to_owned();
    info.rpc_address = "http://127.0.0.1:1".to_owned();
    let mut set = WriteSet::new();
    put_node(&mut set, &two, &info).unwrap();
    set.delete(NODES_INFO, node_key(&one)).unwrap();
    let written = nodes_written(&set).unwrap();
    assert_eq!(written, [(one, None), (two, Some(info.clone()))]);
    let mut state = State::new();
    state.apply(&set);
    assert_eq!(nodes(&state).unwrap(), [(two, info.clone())]);
    assert_eq!(node(&state, &two).unwrap(), Some(info));
    assert_eq!(node(&state, &one).unwrap(), None);
    assert_eq!(service(&state).unwrap(), None);
}

#[test]
fn rows_that_are_none_are_refused() {
    let key = node_key(&Digest([0xab; 32]));
    assert_eq!(node_of_key(&key), Some(Digest([0xab; 32])));
    assert_eq!(node_of_key(&key.to_ascii_uppercase()), None, "one spelling");
    assert_eq!(node_of_key(&[0xff; 64]), None);
    let mut set = WriteSet::new();
    set.put(NODES_INFO, key.clone(), *b"{}").unwrap();
    assert!(nodes_written(&set).is_err());
    let mut set = WriteSet::new();
    set.delete(NODES_INFO, *b"nobody").unwrap();
    assert!(nodes_written(&set).is_err());
    assert!(
        read_row::<ServiceInfo>(SERVICE_INFO, b"{\"cert\":\"x\",\"status\":\"Closed\"}").is_err()
    );
}

#[test]
fn the_moves_of_the_service_are_those_of_the_reference() {
    use ServiceStatus::{Open, Opening, Recovering, WaitingForRecoveryShares as Waiting};
    let all = [Opening, Open, Waiting, Recovering];
    let allowed: Vec<_> = all
        .iter()
        .flat_map(|from| all.iter().map(move |to| (*from, *to)))
        .filter(|(from, to)| from != to && *to != Opening && from.may_become(*to))
        .collect();
    let expected = [
        (Opening, Open),
        (Opening, Waiting),
        (Open, Recovering),
        (Waiting, Open),
        (Recovering, Waiting),
    ];
    assert_eq!(allowed, expected);
}

#[test]
fn users_do_not_write_the_groups_maps() {
    for map in [SERVICE_INFO, NODES_INFO, TREE, GENESIS, IDEMPOTENCY] {
        assert!(is_reserved(map), "{map}");
    }
    assert!(!is_reserved("public:records") && !is_reserved("ccf.x") && !is_reserved("records"));
}
