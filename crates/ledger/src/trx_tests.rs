use proptest::prelude::*;

use super::*;
use crate::proto::{MapWrite, TrxStorageType};
use crate::test_support::{NOW, World, check_codec, id, member, rng};

fn group() -> GroupId {
    GroupId::from_random([0xcd; 16])
}

fn sample() -> Trx {
    let id = TrxId(id(3));
    build(&member(2), group(), TrxType::Post, b"sealed".to_vec(), id, NOW, NOW + EXPIRY_NS)
}

fn checked(trx: &Trx) -> Result<TrxId, TrxError> {
    check(trx, group(), Limits::REFERENCE)
}

fn signed(change: impl FnOnce(&mut Trx)) -> Trx {
    let mut trx = sample();
    change(&mut trx);
    trx.sender_sign = member(2).sign(&trx.digest()).0.to_vec();
    trx
}

#[test]
fn a_built_trx_is_accepted() {
    let trx = sample();
    assert_eq!(checked(&trx), Ok(TrxId(id(3))));
    assert_eq!(trx.sender(), Some(Sender::Key(member(2).public())));
    assert_eq!(trx.trx_type(), Some(TrxType::Post));
    check_codec(&trx);
    assert!(!trx.is_expired(NOW + EXPIRY_NS));
    assert!(trx.is_expired(NOW + EXPIRY_NS + 1));
    assert!(!signed(|trx| trx.expired = 0).is_expired(i64::MAX));
}

#[test]
fn a_renewed_trx_is_the_same_trx_later() {
    let renewed = renew(&member(2), &sample(), NOW + 5, NOW + 6);
    assert_eq!(checked(&renewed), Ok(TrxId(id(3))));
    assert_eq!((renewed.time_stamp, renewed.expired), (NOW + 5, NOW + 6));
    assert_eq!(renewed.data, sample().data);
}

#[test]
fn every_defect_has_its_error() {
    let of = |change: fn(&mut Trx)| checked(&signed(change)).unwrap_err();
    let version = of(|trx| trx.version = "2.0.1".to_owned());
    assert_eq!(version, TrxError::Version);
    assert_eq!(version.to_string(), "trx Version mismatch");
    assert_eq!(of(|trx| trx.group_id = GroupId::from_random([8; 16]).to_string()), TrxError::Group);
    assert_eq!(of(|trx| trx.group_id.make_ascii_uppercase()), TrxError::Group);
    assert_eq!(of(|trx| trx.trx_id.make_ascii_uppercase()), TrxError::Id);
    assert_eq!(of(|trx| trx.trx_id = trx.trx_id.replace('-', "")), TrxError::Id);
    assert_eq!(of(|trx| trx.trx_id.clear()), TrxError::Id);
    assert_eq!(of(|trx| trx.r#type = 99), TrxError::Type(99));
    assert_eq!(of(|trx| trx.r#type = -1), TrxError::Type(-1));
    assert_eq!(of(|trx| trx.r#type = TrxType::ReqBlock as i32), TrxError::Type(4));
    assert_eq!(of(|trx| trx.time_stamp = -1), TrxError::Time);
    assert_eq!(of(|trx| trx.expired = -1), TrxError::Time);
    assert_eq!(of(|trx| trx.resend_count = 1), TrxError::Unsigned);
    assert_eq!(of(|trx| trx.storage_type = TrxStorageType::Cache as i32), TrxError::Unsigned);
    assert_eq!(of(|trx| trx.sender_pubkey.push('A')), TrxError::Sender);
    assert_eq!(of(|trx| trx.sender_pubkey = member(3).public().to_string()), TrxError::Signature);
    let mut changed = sample();
    changed.data.push(0);
    assert_eq!(checked(&changed), Err(TrxError::Signature));
    let mut short = sample();
    short.sender_sign.pop();
    assert_eq!(checked(&short), Err(TrxError::Signature));
}

#[test]
fn sizes_are_bounded_by_type() {
    let limit = Limits::REFERENCE.data;
    assert!(checked(&signed(|trx| trx.data = vec![0; limit])).is_ok());
    let over = signed(|trx| trx.data = vec![0; limit + 1]);
    assert_eq!(checked(&over), Err(TrxError::Oversize { length: limit + 1, limit }));
    let consensus = |length| {
        signed(|trx| {
            trx.r#type = TrxType::Consensus as i32;
            trx.data = vec![0; length];
        })
    };
    let limit = Limits::REFERENCE.consensus_data;
    let largest = consensus(limit);
    assert!(checked(&largest).is_ok());
    assert!(largest.encoded_len() <= MAX_TRX);
    let over = TrxError::Oversize { length: limit + 1, limit };
    assert_eq!(checked(&consensus(limit + 1)), Err(over));
}

#[test]
fn an_address_is_a_sender_too() {
    let address = member(2).public().eth_address();
    let trx = signed(|trx| trx.sender_pubkey = member(2).public().eth_address());
    assert!(checked(&trx).is_ok());
    let sender = trx.sender().unwrap();
    assert_eq!(sender, Sender::Address(address.to_ascii_lowercase()));
    assert!(sender.is(&member(2).public()));
    assert!(!sender.is(&member(3).public()));
    let stolen = signed(|trx| trx.sender_pubkey = member(3).public().eth_address());
    assert_eq!(checked(&stolen), Err(TrxError::Signature));
    assert_eq!(Sender::parse(&address.replace("0x", "0X")), None);
}

#[test]
fn payloads_open_with_the_group_key_alone() {
    let world = World::new();
    let sealed = encrypt_payload(&world.cipher, &mut rng(1), b"payload");
    assert_eq!(decrypt_payload(&world.cipher, &sealed).as_deref(), Ok(b"payload".as_slice()));
    assert!(decrypt_payload(&SymmetricKey([1; 32]), &sealed).is_err());
    assert!(decrypt_payload(&world.cipher, &sealed[..10]).is_err());
}

fn batch(writes: Vec<MapWrite>) -> Result<MapWriteBatch, MapWriteError> {
    read_map_writes(&MapWriteBatch { entries: writes }.encode_to_vec())
}

fn map_write(op: MapWriteOp, value: &[u8], expected: Option<&[u8]>) -> MapWrite {
    MapWrite {
        map: "m".to_owned(),
        key: b"k".to_vec(),
        op: op as i32,
        value: value.to_vec(),
        expected: expected.map(<[u8]>::to_vec),
    }
}

#[test]
fn map_writes_say_what_their_operation_takes() {
    use MapWriteOp::{CompareAndSet, Delete, Put};
    let good = vec![
        map_write(Put, b"v", None),
        map_write(Delete, b"", None),
        map_write(CompareAndSet, b"v", None),
        map_write(CompareAndSet, b"v", Some(b"")),
    ];
    assert_eq!(batch(good.clone()).unwrap().entries, good);
    assert_eq!(batch(vec![]), Err(MapWriteError::Count(0)));
    let many = vec![map_write(Put, b"v", None); MAX_MAP_WRITES + 1];
    assert_eq!(batch(many), Err(MapWriteError::Count(MAX_MAP_WRITES + 1)));
    for bad in [
        map_write(Put, b"v", Some(b"x")),
        map_write(Delete, b"v", None),
        map_write(Delete, b"", Some(b"x")),
        MapWrite { op: 3, ..map_write(Put, b"v", None) },
    ] {
        assert_eq!(batch(vec![good[0].clone(), bad]), Err(MapWriteError::Operation(1)));
    }
    let nameless = MapWrite { map: String::new(), ..map_write(Put, b"v", None) };
    assert_eq!(batch(vec![nameless]), Err(MapWriteError::Map(0)));
    let long = MapWrite { key: vec![0; state::MAX_KEY + 1], ..map_write(Put, b"v", None) };
    assert!(matches!(batch(vec![long]), Err(MapWriteError::Size(_))));
    assert_eq!(read_map_writes(b"\xff"), Err(MapWriteError::Malformed));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = read_map_writes(&bytes);
        if let Ok(trx) = Trx::decode(bytes.as_slice()) {
            prop_assert!(checked(&trx).is_err());
        }
        if let Ok(trx) = crate::codec::decode_message::<Trx>("trx", &bytes, 1000) {
            prop_assert_eq!(trx.encode_to_vec(), bytes);
        }
    }

    #[test]
    fn any_changed_signed_byte_is_noticed(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let trx = sample();
        let mut bytes = trx.encode_to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(changed) = Trx::decode(bytes.as_slice())
            && changed != trx
            && checked(&changed).is_ok()
        {
            // V is not part of a signature of a key text.
            prop_assert_eq!(&changed.sender_sign[..64], &trx.sender_sign[..64]);
            prop_assert_eq!(changed.digest(), trx.digest());
        }
    }
}
