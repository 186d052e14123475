use super::*;
use crate::cft::api::{Code, Consistency, MemberChange, Op, OpResult, Wait};

fn group() -> GroupId {
    GroupId::from_random([7; 16])
}

fn node(name: &str) -> NodeId {
    NodeId::named(name).expect("a name")
}

fn peer(name: &str) -> PeerRef {
    PeerRef(name.as_bytes().into())
}

fn samples() -> Vec<Packet> {
    let value = |text: &str| Arc::<[u8]>::from(text.as_bytes());
    let tx = TxId::new(3, 9);
    let (map, key): (Arc<str>, _) = ("m".into(), b"k".to_vec());
    let ops = vec![
        Op::Get { map: map.clone(), key: key.clone() },
        Op::Range { map: map.clone(), from: vec![], to: Some(vec![9]), limit: 3 },
        Op::Put { map: map.clone(), key: key.clone(), value: value("v") },
        Op::Delete { map: map.clone(), key: key.clone() },
        Op::CompareAndSet { map, key, expected: None, value: Some(value("w")) },
    ];
    let write = Command::Write {
        ops: ops.clone(),
        idempotency: Some(vec![1, 2]),
        wait: Wait::Committed { timeout_ms: 5 },
        session: Some(tx),
    };
    let read = Command::Read { ops, consistency: Consistency::Committed, session: None };
    let replace = MemberChange::Replace { joins: vec![node("a")], leaves: vec![node("b")] };
    let results = vec![
        OpResult::Value(Some(value("v"))),
        OpResult::Range(vec![(vec![1], value("x"))], true),
        OpResult::Done,
    ];
    let status = TxStatus::Pending;
    let written = Reply::Written { tx, status, results: results.clone(), repeated: true };
    let request = Box::new(JoinRequest {
        public_key: vec![1],
        peer: peer("p"),
        rpc_address: "h:1".into(),
        encryption_key: "age1".into(),
        startup_seqno: 4,
        proof: vec![2],
    });
    let admitted = JoinAnswer::Admitted {
        node_certificate: "n".into(),
        service_certificate: "s".into(),
        sealed: vec![3],
        nodes: vec![(node("a"), peer("p"))],
        snapshot: 8,
    };
    let refused = JoinAnswer::Refused(Error::new(Code::NodeRemoved, "no"));
    vec![
        Packet::Raft {
            from: node("a"),
            to: node("b"),
            messages: vec![RaftMessage::ProposeRequestVote(3)],
        },
        Packet::Forward(vec![
            (1, write),
            (2, read),
            (3, Command::Await { tx, timeout_ms: 2 }),
            (4, Command::Member(replace)),
            (5, Command::Member(MemberChange::Abort)),
            (6, Command::Nominate),
        ]),
        Packet::Forwarded(vec![
            (1, Ok(written)),
            (2, Ok(Reply::Read { tx, results })),
            (3, Ok(Reply::Status { tx, status: TxStatus::Invalid })),
            (4, Err(Error::new(Code::QuorumLost, "no"))),
            (6, Ok(Reply::Nominated)),
        ]),
        Packet::Decided(vec![(1, tx, TxStatus::Committed)]),
        Packet::Join(request.clone()),
        Packet::RelayJoin(peer("q"), request),
        Packet::JoinAnswer(Box::new(JoinAnswer::Pending)),
        Packet::JoinAnswer(Box::new(admitted)),
        Packet::RelayJoinAnswer(peer("q"), Box::new(refused)),
        Packet::FetchSnapshot { seqno: 1, offset: 2 },
        Packet::OfferSnapshot(TxId::new(2, 9)),
        Packet::SnapshotPart { seqno: 1, evidence: 2, offset: 3, total: 4, bytes: vec![5] },
        Packet::Introduction(Box::new(Introduction {
            public_key: vec![1],
            certificate: "c".into(),
            proof: vec![2],
        })),
    ]
}

#[test]
fn packets_survive_the_wire() {
    for packet in samples() {
        let bytes = packet.encode(group());
        assert_eq!(Packet::decode(&bytes), Ok((group(), packet)));
    }
}

#[test]
fn damaged_packets_are_refused_and_never_panic() {
    for packet in samples() {
        let bytes = packet.encode(group());
        for end in 0..bytes.len() {
            assert!(Packet::decode(&bytes[..end]).is_err(), "{packet:?} cut at {end}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= flip;
                if let Ok((group, packet)) = Packet::decode(&damaged) {
                    assert_eq!(packet.encode(group).to_vec(), damaged, "one encoding only");
                }
            }
        }
    }
}
