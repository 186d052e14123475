//! The golden values of `vectors/quorum.json`: literal values of seed 001 and their recomputation.

use prost::Message as _;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::hash::{sha256, sha256_concat};
use quorate_crypto::member::{MemberPublicKey, MemberSignature};
use quorate_ledger::change::{self, ChangeError, ChangeResult};
use quorate_ledger::codec::decode_message;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::ids::GroupId;
use quorate_ledger::json::from_value_insensitive;
use quorate_ledger::proto::{
    AnnounceItem, ChangeConsensusReq, ChangeConsensusResultBundle, ProducerItem, ProtoBlock, Trx,
    TrxType,
};
use quorate_ledger::seed::{Seed, SeedError};
use quorate_ledger::trx::{self, Limits, TrxError};
use quorate_ledger::{announce, view};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const TEXT: &str = include_str!("../../../vectors/quorum.json");

fn vectors() -> Value {
    serde_json::from_str(TEXT).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn owner() -> MemberPublicKey {
    text(&vectors()["keys"]["owner"]["pubkey_text"]).parse().unwrap()
}

fn group() -> GroupId {
    text(&vectors()["seed_url"]["expect"]["g"]["group_id"]).parse().unwrap()
}

/// The text of the object behind these keys, in file order, without the spaces between tokens: what
/// a golden key order looks like.
fn compact(path: &[&str]) -> String {
    let mut rest = TEXT;
    for key in path {
        let (_, behind) = rest.split_once(&format!("\"{key}\":")).unwrap();
        rest = behind.trim_start();
    }
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0, false, false);
    for letter in rest.chars() {
        if !quoted && letter.is_whitespace() {
            continue;
        }
        out.push(letter);
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return out;
                }
            }
            _ => {}
        }
    }
    panic!("no object behind {path:?}")
}

/// Reads the object behind a path and writes it again, to the byte.
fn round_trip<T: Serialize + DeserializeOwned>(path: &[&str]) -> T {
    let json = compact(path);
    let value: T = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    value
}

/// Checks preimage, hash and signature of a signed object.
fn check_signed(vector: &Value, preimage: &[u8]) {
    assert_eq!(hex::encode(preimage), text(&vector["preimage_hex"]));
    let digest = sha256(preimage);
    assert_eq!(digest.to_string(), text(&vector["hash_hex"]));
    let signer: MemberPublicKey = text(&vector["signer_pubkey"]).parse().unwrap();
    let valid = signer.verify(&digest, &bytes(&vector["signature"]["hex"]));
    assert_eq!(Value::Bool(valid), vector["valid"]);
}

#[test]
fn keys_have_their_texts_and_addresses() {
    let vectors = vectors();
    let key = owner();
    assert_eq!(
        hex::encode(key.as_bytes()),
        text(&vectors["keys"]["owner"]["pubkey_compressed_hex"])
    );
    assert_eq!(key.eth_address(), text(&vectors["keys"]["owner"]["eth_address"]));
    let other: MemberPublicKey = text(&vectors["eth_address"]["pubkey_text"]).parse().unwrap();
    assert_eq!(other.eth_address(), text(&vectors["eth_address"]["expect"]));
}

#[test]
fn the_seed_is_read_field_by_field_and_written_alike() {
    let vector = &vectors()["seed_url"];
    let seed = Seed::parse_verified(text(&vector["input"])).unwrap();
    let expect = &vector["expect"];
    let group = &seed.group;
    assert_eq!(group.encryption.name(), text(&expect["e"]["name"]));
    assert_eq!(group.consensus.name(), text(&expect["n"]["name"]));
    assert_eq!(group.cipher_key.to_string(), text(&expect["c"]["cipher_key_hex"]));
    assert_eq!(group.id.to_string(), text(&expect["g"]["group_id"]));
    assert_eq!(group.id.0.as_bytes().as_slice(), bytes(&expect["g"]["bytes_hex"]));
    assert_eq!(group.owner.to_string(), text(&expect["k"]["owner_pubkey_text"]));
    let sign = &expect["s"]["genesis_producer_sign"];
    assert_eq!(group.genesis.sign.0.as_slice(), bytes(&sign["hex"]));
    let timestamp = text(&expect["t"]["genesis_timestamp_ns"]);
    assert_eq!(group.genesis.timestamp.to_string(), timestamp);
    assert_eq!(group.name, text(&expect["a"]["group_name"]));
    assert_eq!(group.app_key, text(&expect["y"]["app_key"]));
    assert_eq!(seed.urls.len(), 1);
    assert_eq!(seed.urls[0].to_text(), text(&expect["u"]["urls"][0]));
    assert_eq!(seed.urls[0].base, text(&expect["u"]["base_url"]));
    assert_eq!(seed.urls[0].jwt.as_deref(), expect["u"]["jwt"].as_str());
    assert_eq!(seed.to_url().unwrap(), text(&vector["input"]));
}

#[test]
fn a_seed_is_inspected() {
    let vectors = vectors();
    let seed = Seed::parse(text(&vectors["seed_url"]["input"])).unwrap();
    let inspection = serde_json::to_value(seed.inspect()).unwrap();
    let join = &vectors["join_result"]["response"];
    for field in
        ["group_id", "group_name", "owner_pubkey", "consensus_type", "encryption_type", "app_key"]
    {
        assert_eq!(inspection[field], join[field], "{field}");
    }
    assert_eq!(inspection["cipher_key"], join["cipher_key"]);
    assert_eq!(inspection["timestamp"], vectors["genesis_block"]["fields"]["TimeStamp"]);
    assert_eq!(inspection["genesis_hash"], vectors["genesis_block"]["hash_hex"]);
    assert_eq!(inspection["urls"], vectors["seed_url"]["expect"]["u"]["urls"]);
    assert_eq!(inspection["signature_valid"], true);
}

#[test]
fn the_genesis_block_is_the_references() {
    let vector = &vectors()["genesis_block"];
    let seed = Seed::parse(text(&vectors()["seed_url"]["input"])).unwrap();
    let genesis = seed.group.genesis;
    let shown = genesis.to_proto();
    let preimage =
        ProtoBlock { block_hash: Vec::new(), producer_sign: Vec::new(), ..shown.clone() };
    check_signed(vector, &preimage.encode_to_vec());
    assert_eq!(genesis.hash().to_string(), text(&vector["hash_hex"]));
    assert_eq!(genesis.to_json(), text(&vector["canonical_json"]));
    let read: ProtoBlock = serde_json::from_str(text(&vector["canonical_json"])).unwrap();
    assert_eq!(GenesisBlock::from_proto(&read), Ok(genesis));
}

#[test]
fn the_join_result_is_signed_over_its_parts() {
    let vectors = vectors();
    let vector = &vectors["join_result"];
    let seed = Seed::parse(text(&vectors["seed_url"]["input"])).unwrap();
    let response = &vector["response"];
    let user: MemberPublicKey = text(&response["user_pubkey"]).parse().unwrap();
    let encrypt = text(&response["user_encryptpubkey"]);
    let digest = seed.group.join_digest(&user, encrypt);
    assert_eq!(digest.to_string(), text(&vector["digest_hex"]));
    let parts: Vec<Vec<u8>> = vector["signature_preimage_parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["utf8"].as_str().map_or_else(|| bytes(&part["hex"]), |t| t.into()))
        .collect();
    let length: usize = parts.iter().map(Vec::len).sum();
    assert_eq!(vector["preimage_length"], length);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    assert_eq!(sha256_concat(&parts), digest);
    assert!(user.verify(&digest, &bytes(&response["signature"])));
    assert_eq!(response["signature"], vector["signature"]["hex"]);
}

#[test]
fn the_announcement_is_the_references() {
    let item: AnnounceItem = round_trip(&["announce_item", "json"]);
    let vector = &vectors()["announce_item"];
    let preimage = AnnounceItem { hash: Vec::new(), signature: Vec::new(), ..item.clone() };
    check_signed(vector, &preimage.encode_to_vec());
    let announced = announce::verify(&item, group()).unwrap();
    assert_eq!(announced.member, owner());
    assert_eq!(announced.announcement.memo, announce::OWNER_MEMO);
}

fn preimage(req: &ChangeConsensusReq) -> Vec<u8> {
    let signed =
        ChangeConsensusReq { msg_hash: Vec::new(), sender_sign: Vec::new(), ..req.clone() };
    signed.encode_to_vec()
}

#[test]
fn the_genesis_request_is_the_references() {
    let req: ChangeConsensusReq = round_trip(&["genesis_proof_req", "req"]);
    check_signed(&vectors()["genesis_proof_req"], &preimage(&req));
    let request = change::verify_request(&req, &owner(), group()).unwrap();
    assert_eq!((request.nonce, request.epoch_tick_ms), (0, change::GENESIS_TICK_MS));
    assert_eq!(request.producers, [owner()]);
    let result: ChangeResult =
        text(&vectors()["genesis_proof_req"]["proof_last_json"]["result"]).parse().unwrap();
    assert_eq!(result, ChangeResult::Success);
}

#[test]
fn the_consensus_trx_is_the_references() {
    let trx: Trx = round_trip(&["consensus_trx", "json"]);
    let vector = &vectors()["consensus_trx"];
    let signed = Trx { sender_sign: Vec::new(), ..trx.clone() };
    assert_eq!(hex::encode(signed.encode_to_vec()), text(&vector["digest_preimage_hex"]));
    assert_eq!(trx.digest().to_string(), text(&vector["digest_hex"]));
    let id = trx::check(&trx, group(), Limits::REFERENCE).unwrap();
    assert_eq!(id.to_string(), trx.trx_id);
    assert_eq!(trx.trx_type().unwrap().as_str_name(), text(&vector["type_name"]));
    assert_eq!(vector["expired_minus_timestamp_ns"], trx.expired - trx.time_stamp);
    let zeros = [&vector["nonce"], &vector["resend_count"], &vector["storage_type"]];
    assert!(zeros.iter().all(|zero| **zero == 0));
    assert_eq!((trx.nonce, trx.resend_count, trx.storage_type), (0, 0, 0));
}

fn payload() -> Vec<u8> {
    let trx: Trx = round_trip(&["consensus_trx", "json"]);
    let key: SymmetricKey = text(&vectors()["consensus_trx_payload"]["key_hex"]).parse().unwrap();
    trx::decrypt_payload(&key, &trx.data).unwrap()
}

#[test]
fn the_payload_opens() {
    let vector = &vectors()["consensus_trx_payload"];
    let trx: Trx = round_trip(&["consensus_trx", "json"]);
    let parts = ["nonce_hex", "ciphertext_hex", "tag_hex"].map(|part| bytes(&vector[part]));
    assert_eq!(parts.concat(), trx.data);
    assert_eq!(vector["data_length"], trx.data.len());
    let payload = payload();
    assert_eq!(vector["plaintext_length"], payload.len());
    assert_eq!(sha256(&payload).to_string(), text(&vector["plaintext_sha256_hex"]));
    assert_eq!(hex::encode(&payload), text(&vector["plaintext_hex"]));
}

#[test]
fn the_result_bundle_is_the_references() {
    let vector = &vectors()["result_bundle"];
    let bundle = ChangeConsensusResultBundle::read(&payload()).unwrap();
    assert_eq!(bundle.encode_to_vec(), payload(), "written in the form of the seed");
    assert_eq!(vector["Result"]["number"], bundle.result);
    assert_eq!(vector["Epoch"], bundle.epoch);
    assert_eq!(vector["ResponsedProducers"], Value::from(bundle.responsed_producers.clone()));
    let req: ChangeConsensusReq = round_trip(&["result_bundle", "json"]);
    assert_eq!(bundle.req.as_ref(), Some(&req));
    check_signed(&vector["Req"], &preimage(&req));
    assert_eq!(hex::encode(req.encode_to_vec()), text(&vector["Req"]["encoded_hex"]));

    let expected = &vector["Resps"][0];
    let resp = &bundle.resps[0];
    assert_eq!(bundle.resps.len(), 1);
    assert_eq!(hex::encode(resp.encode_to_vec()), text(&expected["encoded_hex"]));
    let mut signed = resp.clone();
    signed.msg_hash.clear();
    signed.sender_sign.clear();
    check_signed(expected, &signed.encode_to_vec());
    assert_eq!(resp.req.as_ref(), Some(&req));
    let mut bare = resp.clone();
    bare.req = None;
    let json = compact(&["result_bundle", "json_without_Req"]);
    assert_eq!(serde_json::to_string(&bare).unwrap(), json);

    let answers = change::verify_answers(&bundle, &owner(), group()).unwrap();
    assert_eq!(answers.result.as_str(), text(&vector["Result"]["api_text"]));
    assert_eq!(answers.responders, [owner()]);
    assert_eq!(answers.request.start_epoch.0, 10_000);
    assert_eq!(answers.request.epoch_tick_ms, 3000);
    // It brings no key material, so it could make no view of ours.
    let error = change::verify_bundle(&bundle, &owner(), group()).unwrap_err();
    assert_eq!(error, ChangeError::KeyMaterial(owner()));
}

#[test]
fn producer_items_are_the_references() {
    for state in ["consensus_before", "consensus_after"] {
        let items: Vec<ProducerItem> = round_trip(&["rest_examples", state, "producers"]);
        assert_eq!(items[0].producer_pubkey, owner().to_string());
        let genesis = items[0].memo == announce::OWNER_PRODUCER_MEMO;
        assert_eq!(genesis, state == "consensus_before");
        assert_eq!(items[0].proof_trx_id.is_empty(), genesis);
    }
}

#[test]
fn as_many_producers_may_fail_as_the_reference_says() {
    for vector in vectors()["failable_producers"].as_array().unwrap() {
        let producers = usize::try_from(vector["producers"].as_u64().unwrap()).unwrap();
        let failable = (view::certificate_quorum(producers) - 1) / 2;
        assert_eq!(vector["expect"], failable, "{producers} producers");
    }
}

/// The seed URL of the vectors with one field replaced.
fn changed_seed(change: &Value) -> String {
    let vectors = vectors();
    let vector = &vectors["seed_url"];
    let field = text(&change["query_param"]);
    let old = format!("{field}={}", text(&vector["query_raw"][field]));
    let new = format!("{field}={}", text(&change["replace_with"]));
    let url = text(&vector["input"]);
    assert_eq!(url.matches(&old).count(), 1);
    url.replace(&old, &new)
}

/// The object at a path of the vectors with one value replaced.
fn changed_object<T: DeserializeOwned>(change: &Value, depth: usize) -> T {
    let mut object = vectors()[text(&change["vector"])].clone();
    let path: Vec<_> = text(&change["json_path"]).split('.').collect();
    let place = path.iter().fold(&mut object, |value, key| &mut value[*key]);
    assert_ne!(*place, change["replace_with"]);
    *place = change["replace_with"].clone();
    let object = path[..depth].iter().fold(&object, |value, key| &value[*key]);
    from_value_insensitive(object.clone()).unwrap()
}

fn refuses(change: &Value) -> &'static str {
    match (text(&change["vector"]), change["query_param"].as_str()) {
        ("seed_url", field) => match Seed::parse_verified(&changed_seed(change)).unwrap_err() {
            SeedError::Version => "parse error: unsupported seed version",
            error @ SeedError::GenesisSignature => {
                let field = field.and_then(|field| field.chars().next()).unwrap();
                assert!(error.fields().contains(&field));
                "genesis signature invalid"
            }
            error => panic!("{error}"),
        },
        ("announce_item", _) => {
            let item: AnnounceItem = changed_object(change, 1);
            match announce::verify(&item, group()).unwrap_err() {
                announce::AnnounceError::Hash => "hash differs",
                error => panic!("{error}"),
            }
        }
        ("genesis_proof_req", _) => {
            let req: ChangeConsensusReq = changed_object(change, 2);
            match change::verify_request(&req, &owner(), group()).unwrap_err() {
                ChangeError::Hash("request") => "hash differs",
                error => panic!("{error}"),
            }
        }
        ("consensus_trx", _) => {
            let trx: Trx = changed_object(change, 1);
            match trx::check(&trx, group(), Limits::REFERENCE).unwrap_err() {
                TrxError::Signature => "signature invalid",
                error => panic!("{error}"),
            }
        }
        ("consensus_trx_payload", _) => {
            let mut vector = vectors()["consensus_trx_payload"].clone();
            vector[text(&change["json_path"])] = change["replace_with"].clone();
            let parts = ["nonce_hex", "ciphertext_hex", "tag_hex"].map(|part| bytes(&vector[part]));
            let key: SymmetricKey = text(&vector["key_hex"]).parse().unwrap();
            assert!(trx::decrypt_payload(&key, &parts.concat()).is_err());
            "decryption fails"
        }
        (vector, _) => panic!("unknown vector {vector}"),
    }
}

#[test]
fn every_negative_vector_is_refused_for_its_reason() {
    let vectors = vectors();
    let negative = vectors["negative"].as_array().unwrap();
    assert_eq!(negative.len(), 8);
    for change in negative {
        assert_eq!(refuses(change), text(&change["expect"]), "{change}");
    }
}

#[test]
fn fields_outside_the_genesis_signature_are_as_in_the_reference() {
    let vectors = vectors();
    for change in vectors["not_covered_by_the_seed_signature"].as_array().unwrap() {
        let seed = Seed::parse(&changed_seed(change)).unwrap();
        assert_eq!(seed.verify(), Ok(()), "{change}");
        assert!(seed.inspect().signature_valid);
    }
}

#[test]
fn the_seeds_trx_fits_a_ledger_of_ours() {
    let trx: Trx = round_trip(&["consensus_trx", "json"]);
    let encoded = trx.encode_to_vec();
    assert_eq!(decode_message::<Trx>("trx", &encoded, trx::MAX_TRX), Ok(trx.clone()));
    assert_eq!(trx.r#type, TrxType::Consensus as i32);
    let sign: [u8; 65] = trx.sender_sign.as_slice().try_into().unwrap();
    assert!(owner().verify(&trx.digest(), MemberSignature(sign).rs()));
}
