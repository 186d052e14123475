use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::json::from_slice_insensitive;

#[test]
fn defaults_are_left_out_of_json() {
    assert_eq!(serde_json::to_value(Trx::default()).unwrap(), json!({}));
    assert_eq!(serde_json::to_value(ProtoBlock::default()).unwrap(), json!({}));
    assert_eq!(serde_json::to_value(ChangeConsensusResultBundle::default()).unwrap(), json!({}));
}

#[test]
fn json_names_and_forms_are_the_references() {
    let item = ChainConfigItem {
        group_id: "g".to_owned(),
        r#type: ChainConfigType::UpdDnyList as i32,
        data: vec![0xfb, 0xff],
        owner_pubkey: "k".to_owned(),
        owner_signature: "s".to_owned(),
        time_stamp: 5,
        memo: "m".to_owned(),
    };
    let json = json!({
        "GroupId": "g", "Type": 1, "Data": "+/8=", "OwnerPubkey": "k", "OwnerSignature": "s",
        "TimeStamp": "5", "Memo": "m",
    });
    assert_eq!(serde_json::to_value(&item).unwrap(), json);
    let other = br#"{"GROUPID":"g","type":1,"data":"+/8=","ownerpubkey":"k","OwnerSignature":"s",
        "timestamp":5,"memo":"m","extra":{}}"#;
    assert_eq!(from_slice_insensitive::<ChainConfigItem>(other).unwrap(), item);
    let resp = ChangeConsensusResp {
        key_material: Some(KeyMaterial { view_key: vec![1], dealer_log: vec![] }),
        ..ChangeConsensusResp::default()
    };
    let json = serde_json::to_value(&resp).unwrap();
    assert_eq!(json, json!({"KeyMaterial": {"ViewKey": "AQ=="}}));
    let req = ChangeConsensusReq { trx_epoch_tick_len_in_ms: 7, ..ChangeConsensusReq::default() };
    assert_eq!(serde_json::to_value(&req).unwrap(), json!({"TrxEpochTickLenInMs": 7}));
    let group = GroupItem { owner_pub_key: "k".to_owned(), ..GroupItem::default() };
    assert_eq!(serde_json::to_value(&group).unwrap(), json!({"OwnerPubKey": "k"}));
}

#[test]
fn wire_numbers_are_the_references() {
    let mut rule = ChainSendTrxRuleListItem { pubkey: "k".to_owned(), ..Default::default() };
    rule.r#type = vec![TrxType::Announce as i32, TrxType::AppConfig as i32];
    assert_eq!(rule.encode_to_vec(), [0x1a, 1, b'k', 0x22, 2, 1, 7]);
    let write = MapWrite { expected: Some(Vec::new()), ..MapWrite::default() };
    assert_eq!(write.encode_to_vec(), [0x2a, 0], "an empty expected value is not an absent one");
    let numbers = [
        (TrxType::Post as i32, 0),
        (TrxType::AppConfig as i32, 7),
        (TrxType::MapWrite as i32, 16),
        (PackageType::HbbPc as i32, 5),
        (ChangeConsensusResult::Timeout as i32, 2),
    ];
    for (number, expected) in numbers {
        assert_eq!(number, expected);
    }
}

#[test]
fn type_names_are_read_back() {
    for number in [0, 1, 2, 3, 4, 5, 6, 7, 16] {
        let kind = TrxType::try_from(number).unwrap();
        assert_eq!(TrxType::from_str_name(kind.as_str_name()), Some(kind));
    }
    assert!(TrxType::try_from(8).is_err());
    assert_eq!(TrxType::from_str_name("post"), None);
}

proptest! {
    #[test]
    fn json_round_trips(
        texts in any::<[String; 4]>(), data in any::<Vec<u8>>(), numbers in any::<[i64; 4]>(),
        kind in any::<i32>(),
    ) {
        let [trx_id, group_id, version, sender_pubkey] = texts;
        let [time_stamp, expired, resend_count, nonce] = numbers;
        let trx = Trx {
            trx_id, r#type: kind, group_id, data: data.clone(), time_stamp, version, expired,
            resend_count, nonce, sender_pubkey, sender_sign: data, storage_type: 0,
        };
        let json = serde_json::to_vec(&trx).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<Trx>(&json).unwrap(), &trx);
        prop_assert_eq!(&from_slice_insensitive::<Trx>(&json).unwrap(), &trx);
        prop_assert_eq!(Trx::decode(trx.encode_to_vec().as_slice()).unwrap(), trx);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = ChangeConsensusResultBundle::read(&bytes);
        let _ = ProtoBlock::decode(bytes.as_slice());
        let _ = from_slice_insensitive::<Trx>(&bytes);
    }
}
