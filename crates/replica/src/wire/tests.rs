//! Every packet's way through [`verify`], and what it refuses.

use prost::Message as _;
use quorate_crypto::member::MemberKey;
use quorate_ledger::block::Block;
use quorate_ledger::ids::TrxId;
use quorate_ledger::state::WriteSet;
use quorate_ledger::trx::TrxType;
use quorate_ledger::view::{Producer, Protocol};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::*;
use crate::block_maker::{Head, build};
use crate::testing::{config, env, member};

/// A protocol's message: one byte, not 13.
#[derive(Clone, PartialEq, Debug)]
struct Word(u8);

impl Message for Word {
    fn encode(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [13] => None,
            [byte] => Some(Self(*byte)),
            _ => None,
        }
    }
}

struct World {
    context: VerifyContext,
    keys: Vec<(ViewKey, MemberKey)>,
}

fn world() -> World {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let keys: Vec<_> = (0..4).map(|i| (ViewKey::generate(&mut rng), member(i))).collect();
    let group = config(0).descriptor.id;
    let producers = keys.iter().map(|(view_key, member)| Producer {
        member: member.public(),
        view_key: view_key.public(),
    });
    let view = View {
        group,
        number: ViewNumber(5),
        protocol: Protocol::Poa,
        producers: producers.collect(),
        key_material: Vec::new(),
        interval_ms: 500,
        start_epoch: Epoch(0),
        parent: (BlockId(0), Digest::default()),
        req_id: String::new(),
        nonce: 5,
        proof_trx_id: String::new(),
    };
    World { context: VerifyContext { group, views: vec![Arc::new(view)], known: None }, keys }
}

impl World {
    fn group(&self) -> GroupId {
        self.context.group
    }

    fn check(&self, packet: &[u8]) -> Result<Inbound<Word>, PacketError> {
        verify(packet, &self.context)
    }

    fn frame(&self, sender: u16, payloads: &[(u8, Vec<u8>)]) -> Arc<[u8]> {
        Arc::clone(self.draft(sender, payloads).bytes())
    }

    fn draft(&self, sender: u16, payloads: &[(u8, Vec<u8>)]) -> Packet {
        let payloads: Vec<_> = payloads.iter().collect();
        let key = &self.keys[usize::from(sender)].0;
        encode_committee(&self.group(), ViewNumber(5), NodeIndex(sender), key, &payloads)
    }

    fn opened(&self, packet: &[u8]) -> CommitteeFrame<Word> {
        match self.check(packet) {
            Ok(Inbound::Committee(frame)) => frame.into_inner(),
            other => panic!("no frame: {other:?}"),
        }
    }

    fn block(&self, trxs: Vec<Trx>) -> Block {
        let head = Head {
            id: BlockId(0),
            hash: Digest::default(),
            timestamp: 0,
            view: ViewNumber(5),
            epoch: Epoch(0),
            last_view_change: BlockId(0),
        };
        let writes = WriteSet::new();
        build(&self.context.views[0], &head, Epoch(1), 1, trxs, &writes)
    }

    /// As a peer sends it: certified by these.
    fn certified(&self, block: &Block, voters: &[u16]) -> InboundBlock {
        let votes: Vec<BlockVote> =
            voters.iter().map(|voter| self.vote_for(*voter, block)).collect();
        let mut certificate = Certificate::assemble(&votes[..1], 1).expect("of one");
        certificate.signatures = votes.iter().map(|vote| (vote.voter, vote.view_sign)).collect();
        InboundBlock::new((block.to_bytes().into(), certificate.to_bytes().into()))
    }

    fn vote(&self, voter: u16) -> BlockVote {
        self.vote_for(voter, &self.block(Vec::new()))
    }

    fn vote_for(&self, voter: u16, block: &Block) -> BlockVote {
        let (view_key, member) = &self.keys[usize::from(voter)];
        BlockVote::sign(&block.header, NodeIndex(voter), view_key, member)
    }

    fn trx(&self, number: u128) -> Trx {
        let id = TrxId(uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid());
        trx::build(&member(9), self.group(), TrxType::Post, vec![1; 40], id, 1, 0)
    }
}

fn status() -> Status {
    Status {
        epoch: Epoch(7),
        head: BlockId(3),
        hash: Digest([3; 32]),
        resend_from: Some(Epoch(6)),
        challenge: None,
        answer: Some(9),
    }
}

fn samples(world: &World) -> Vec<Arc<[u8]>> {
    drafts(world).iter().map(|packet| Arc::clone(packet.bytes())).collect()
}

fn drafts(world: &World) -> Vec<Packet> {
    let group = world.group();
    let payloads = [
        encode_payload(&CommitteeMessage::Core(Word(1))),
        encode_payload(&CommitteeMessage::<Word>::Vote(Box::new(world.vote(2)))),
        encode_payload(&CommitteeMessage::<Word>::Status(status())),
    ];
    let message = ChangeMessage::Ask { request: Digest([1; 32]) };
    let mut maker = env(3, quorate_consensus::core::Time(1));
    let created = crate::replica::genesis::create::<quorate_crypto::bls::BlsGeneration>(
        &mut maker,
        &config(0),
    );
    vec![
        world.draft(2, &payloads),
        encode_member(&group, &member(1), &member(2).public(), &message),
        encode_trxs(&group, &[world.trx(1).encode_to_vec().into()]),
        encode_blocks(&group, &[(Arc::from([1, 2]), Arc::from([3]))]),
        encode_head(&group, BlockId(5), &Digest([5; 32]), Epoch(6)),
        encode_fetch_blocks(&group, BlockId(5), 7),
        encode_fetch_genesis(&group),
        encode_genesis(&group, &created.expect("makes documents").0),
    ]
}

#[test]
fn every_packet_comes_through_as_it_was_said() {
    let world = world();
    let samples = samples(&world);
    let frame = world.opened(&samples[0]);
    assert_eq!((frame.view, frame.sender, frame.faults), (ViewNumber(5), NodeIndex(2), vec![]));
    assert!(matches!(
        &frame.payloads[..],
        [CommitteeMessage::Core(Word(1)), CommitteeMessage::Vote(vote), CommitteeMessage::Status(s)]
            if **vote == world.vote(2) && *s == status()
    ));
    let Ok(Inbound::Member(said)) = world.check(&samples[1]) else { panic!("no member frame") };
    assert_eq!((said.get().from, said.get().to), (member(1).public(), member(2).public()));
    let Ok(Inbound::Trxs { trxs, refused: 0 }) = world.check(&samples[2]) else { panic!("none") };
    assert_eq!(trxs[0].get().trx, world.trx(1));
    assert!(matches!(world.check(&samples[3]), Ok(Inbound::Blocks(blocks)) if blocks.len() == 1));
    assert!(matches!(
        world.check(&samples[4]),
        Ok(Inbound::Head { id: BlockId(5), epoch: Epoch(6), .. })
    ));
    assert!(matches!(
        world.check(&samples[5]),
        Ok(Inbound::FetchBlocks { from: BlockId(5), max: 7 })
    ));
    assert!(matches!(world.check(&samples[6]), Ok(Inbound::FetchGenesis)));
    assert!(matches!(world.check(&samples[7]), Ok(Inbound::Genesis(_))));
    for packet in samples {
        assert_eq!(group_of(&packet), Some(world.group()));
    }
}

#[test]
fn other_networks_versions_groups_and_sizes_are_refused() {
    let world = world();
    let good = encode_fetch_genesis(&world.group()).bytes().to_vec();
    let with = |place: usize, byte: u8| {
        let mut packet = good.clone();
        packet[place] = byte;
        world.check(&packet).map(|_| ()).expect_err("refused")
    };
    assert_eq!(with(0, b'X'), PacketError::Magic);
    assert_eq!(with(3, 9), PacketError::Version(9));
    assert_eq!(with(4, 99), PacketError::Kind(99));
    assert!(matches!(with(5, 0xff), PacketError::Group(_)));
    let large = vec![0; MAX_PACKET + 1];
    assert_eq!(world.check(&large).err(), Some(PacketError::TooLarge(MAX_PACKET + 1)));
    assert_eq!(world.check(&[]).err(), Some(PacketError::Magic));
    assert_eq!(group_of(b"QRM"), None);
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(world.check(&longer), Err(PacketError::Malformed(CodecError::Trailing(1)))));
}

#[test]
fn cut_and_garbled_packets_never_panic() {
    let world = world();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for packet in samples(&world) {
        for end in 0..packet.len().min(400) {
            assert!(world.check(&packet[..end]).is_err(), "cut at {end}");
        }
        for _ in 0..300 {
            let mut garbled = packet.to_vec();
            for _ in 0..=rng.next_u32() % 4 {
                let place = rng.next_u64() as usize % garbled.len();
                garbled[place] = rng.next_u32() as u8;
            }
            let _ = world.check(&garbled);
        }
    }
}

#[test]
fn frames_are_by_their_sender_in_a_known_view() {
    let world = world();
    let payload = encode_payload(&CommitteeMessage::Core(Word(1)));
    let group = world.group();
    let sign = |view, sender, key: &ViewKey| {
        let sender = NodeIndex(sender);
        let packet = encode_committee(&group, ViewNumber(view), sender, key, &[&payload]);
        Arc::clone(packet.bytes())
    };
    let key = &world.keys[1].0;
    assert!(world.check(&sign(5, 1, key)).is_ok());
    assert_eq!(world.check(&sign(6, 1, key)).err(), Some(PacketError::UnknownView(ViewNumber(6))));
    let stranger = PacketError::UnknownSender { view: ViewNumber(5), sender: NodeIndex(4) };
    assert_eq!(world.check(&sign(5, 4, key)).err(), Some(stranger));
    assert_eq!(
        world.check(&sign(5, 2, key)).err(),
        Some(PacketError::Signature("committee")),
        "in another member's name"
    );
    let mut changed = sign(5, 1, key).to_vec();
    let place = changed.len() - 65;
    changed[place] ^= 1;
    assert_eq!(world.check(&changed).err(), Some(PacketError::Signature("committee")));
}

#[test]
fn bad_payloads_are_faults_and_the_good_ones_stay() {
    let world = world();
    let mut forged = world.vote(2);
    forged.hash = Digest([9; 32]);
    let vote = |vote: BlockVote| encode_payload(&CommitteeMessage::<Word>::Vote(Box::new(vote)));
    let frame = world.opened(&world.frame(
        2,
        &[
            (PAYLOAD_CORE, vec![13]),
            (PAYLOAD_VOTE, vec![1, 2, 3]),
            vote(forged),
            vote(world.vote(1)),
            (PAYLOAD_STATUS, vec![0; 5]),
            (77, vec![]),
            encode_payload(&CommitteeMessage::Core(Word(4))),
        ],
    ));
    assert!(matches!(frame.payloads[..], [CommitteeMessage::Core(Word(4))]));
    let faults: Vec<_> = frame.faults.iter().map(|(fault, _)| *fault).collect();
    assert_eq!(
        faults,
        [
            Fault::Malformed,
            Fault::BadVote,
            Fault::BadVote,
            Fault::BadVote,
            Fault::Malformed,
            Fault::Malformed
        ]
    );
}

#[test]
fn frames_have_limits() {
    let world = world();
    let many: Vec<_> = (0..=MAX_FRAME_PAYLOADS).map(|_| (PAYLOAD_CORE, vec![1])).collect();
    assert!(matches!(
        world.check(&world.frame(1, &many)),
        Err(PacketError::Malformed(CodecError::TooLong { .. }))
    ));
    let trx: Arc<[u8]> = world.trx(1).encode_to_vec().into();
    let bundle = encode_trxs(&world.group(), &vec![trx; MAX_BUNDLE_TRXS + 1]);
    assert!(matches!(world.check(bundle.bytes()), Err(PacketError::Malformed(_))));
}

#[test]
fn bad_trxs_of_a_bundle_are_dropped_and_counted() {
    let world = world();
    let mut forged = world.trx(2);
    forged.time_stamp += 1;
    let mut foreign = world.trx(3);
    foreign.group_id = uuid::Uuid::nil().to_string();
    let mut unknown_field = world.trx(4).encode_to_vec();
    unknown_field.extend_from_slice(&[0xa0, 0x06, 0x01]);
    let bundle = encode_trxs(
        &world.group(),
        &[
            world.trx(1).encode_to_vec().into(),
            forged.encode_to_vec().into(),
            foreign.encode_to_vec().into(),
            unknown_field.into(),
            Arc::from([1, 2, 3]),
        ],
    );
    let Ok(Inbound::Trxs { trxs, refused }) = world.check(bundle.bytes()) else {
        panic!("no bundle")
    };
    assert_eq!((trxs.len(), refused), (1, 4));
}

#[test]
fn trxs_known_before_are_not_verified_again() {
    let mut world = world();
    let mut unsigned = world.trx(1);
    unsigned.sender_sign = vec![0; 65];
    let bytes = unsigned.encode_to_vec();
    let digest = sha256(&bytes);
    let bundle = encode_trxs(&world.group(), &[bytes.into()]);
    assert!(matches!(world.check(bundle.bytes()), Ok(Inbound::Trxs { refused: 1, .. })));
    world.context.known = Some(Arc::new(move |known| *known == digest));
    assert!(matches!(world.check(bundle.bytes()), Ok(Inbound::Trxs { refused: 0, .. })));
}

#[test]
fn member_frames_are_signed() {
    let world = world();
    let message = ChangeMessage::Ask { request: Digest([1; 32]) };
    let packet = encode_member(&world.group(), &member(1), &member(2).public(), &message);
    let packet = packet.bytes();
    for place in [22, 60, packet.len() - 70, packet.len() - 20] {
        let mut changed = packet.to_vec();
        changed[place] ^= 1;
        assert!(world.check(&changed).is_err(), "byte {place}");
    }
}

/// What is let through or refused, as text.
fn told(result: Result<Inbound<Word>, PacketError>) -> String {
    format!("{result:?}")
}

#[test]
fn to_hold_a_packet_is_worth_as_much_as_its_signature_and_no_more() {
    let world = world();
    let group = world.group();
    let context = &world.context;
    let payload = encode_payload(&CommitteeMessage::Core(Word(1)));
    let mut packets = drafts(&world);
    // In another member's name, of another view, by nobody, with too much in it, of another group.
    for (view, sender) in [(5, 2), (6, 1), (5, 4)] {
        let (view, sender) = (ViewNumber(view), NodeIndex(sender));
        packets.push(encode_committee(&group, view, sender, &world.keys[1].0, &[&payload]));
    }
    packets.push(world.draft(1, &vec![(PAYLOAD_CORE, vec![1]); MAX_FRAME_PAYLOADS + 1]));
    packets.push(world.draft(1, &[(PAYLOAD_CORE, vec![1; MAX_PACKET])]));
    let elsewhere = GroupId(uuid::Builder::from_random_bytes([9; 16]).into_uuid());
    let message = ChangeMessage::Ask { request: Digest([1; 32]) };
    packets.push(encode_member(&elsewhere, &member(1), &member(2).public(), &message));
    // The same bytes, with nobody who signs.
    let bytes: Vec<Packet> = packets.iter().map(|p| Packet::from(Arc::clone(p.bytes()))).collect();
    for packet in packets.iter().chain(&bytes) {
        let held = told(verify_held(packet, context));
        assert_eq!(held, told(verify(packet.bytes(), context)));
        assert_eq!(packet.len(), packet.bytes().len());
    }
    let refused = packets.iter().filter(|p| verify_held::<Word>(p, context).is_err()).count();
    assert_eq!(refused, 6);
}

#[test]
fn bytes_that_were_altered_are_nobodys() {
    let world = world();
    for packet in drafts(&world).iter().take(2) {
        let mut bytes = packet.bytes().to_vec();
        let last = bytes.len() - 70;
        bytes[last] ^= 1;
        assert!(verify_held::<Word>(&Packet::from(bytes), &world.context).is_err());
    }
}

#[test]
fn a_status_has_the_fields_it_names() {
    for bits in 0..8u64 {
        let field = |bit| (bits & bit != 0).then_some(100 + bit);
        let status = Status {
            resend_from: field(1).map(Epoch),
            challenge: field(2),
            answer: field(4),
            ..status()
        };
        let mut bytes = write_status(&status);
        assert_eq!(bytes.len(), 49 + 8 * bits.count_ones() as usize);
        assert_eq!(read_status(&bytes), Ok(status));
        bytes[48] ^= 8;
        assert!(read_status(&bytes).is_err(), "a field nobody knows");
    }
}

#[test]
fn a_block_is_checked_only_if_all_of_it_is_good_and_it_is_needed() {
    let world = world();
    let found = |mut block: InboundBlock, context: &VerifyContext, head: u64| {
        block.check(context, BlockId(head));
        block.checked().map(|block| Arc::clone(block.get()))
    };
    let good = world.block((0..3).map(|n| world.trx(n)).collect());
    let here = |block, voters: &[u16]| found(world.certified(block, voters), &world.context, 0);
    assert_eq!(here(&good, &[0, 1, 2]).as_deref(), Some(&good));
    // Whoever has it does not need it checked.
    assert_eq!(found(world.certified(&good, &[0, 1, 2]), &world.context, 1), None);
    let elsewhere = VerifyContext { views: Vec::new(), ..world.context.clone() };
    assert_eq!(found(world.certified(&good, &[0, 1, 2]), &elsewhere, 0), None);
    // Too few, and no certificate at all.
    assert_eq!(here(&good, &[0, 1]), None);
    let bytes: Arc<[u8]> = good.to_bytes().into();
    let bare = InboundBlock::new((bytes, Arc::from([])));
    assert_eq!(found(bare, &world.context, 0), None);
    // One bad signature among good ones, under a good certificate.
    let mut trxs: Vec<Trx> = (0..3).map(|n| world.trx(n)).collect();
    trxs[1].data.push(b'x');
    assert_eq!(here(&world.block(trxs), &[0, 1, 2]), None);
    // A certificate of another block.
    let other = world.certified(&world.block(vec![world.trx(4)]), &[0, 1, 2]);
    let swapped = InboundBlock::new((good.to_bytes().into(), Arc::clone(&other.bytes().1)));
    assert_eq!(found(swapped, &world.context, 0), None);
}
