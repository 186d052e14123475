use quorate_crypto::bls::BlsGeneration;

use super::*;
use crate::test_support::{World, generate, id, member};

/// A world, a committee that the owner is not in, its request and its result.
struct Sample {
    world: World,
    members: Vec<MemberKey>,
    req: ChangeConsensusReq,
    bundle: ChangeConsensusResultBundle,
}

fn sample() -> Sample {
    let mut world = World::new();
    let members: Vec<_> = (20..24).map(member).collect();
    let req = world.request(&members, 1);
    let (bundle, _) = world.answers(&req, &members);
    Sample { world, members, req, bundle }
}

impl Sample {
    fn verify(&self, bundle: &ChangeConsensusResultBundle) -> Result<VerifiedChange, ChangeError> {
        verify_bundle(bundle, &self.world.owner.public(), self.world.group)
    }

    /// The error after a change of the bundle.
    fn error(&self, change: impl FnOnce(&mut ChangeConsensusResultBundle)) -> ChangeError {
        let mut bundle = self.bundle.clone();
        change(&mut bundle);
        self.verify(&bundle).unwrap_err()
    }

    /// The error after a change of the request, signed again by `signer`.
    fn request_error(
        &self,
        signer: &MemberKey,
        change: impl FnOnce(&mut ChangeConsensusReq),
    ) -> ChangeError {
        let mut req = self.req.clone();
        change(&mut req);
        let digest = req.digest();
        req.msg_hash = digest.0.to_vec();
        req.sender_sign = signer.sign(&digest).0.to_vec();
        verify_request(&req, &self.world.owner.public(), self.world.group).unwrap_err()
    }
}

fn resign(resp: &mut ChangeConsensusResp, key: &MemberKey) {
    let digest = resp.digest();
    resp.msg_hash = digest.0.to_vec();
    resp.sender_sign = key.sign(&digest).0.to_vec();
}

#[test]
fn a_success_makes_a_view() {
    let sample = sample();
    let change = sample.verify(&sample.bundle).unwrap();
    assert_eq!(change.result, ChangeResult::Success);
    assert_eq!(change.responders, change.request.participants());
    assert_eq!((change.view_keys.len(), change.dealer_logs.len()), (4, 4));
    let parent = (BlockId(5), Digest([3; 32]));
    let view = next_view::<BlsGeneration>(&change, parent, ViewNumber(1), "trx").unwrap();
    let members: Vec<_> = sample.members.iter().map(MemberKey::public).collect();
    assert_eq!(view.producers.iter().map(|p| p.member).collect::<Vec<_>>(), members);
    assert_eq!((view.interval_ms, view.start_epoch, view.nonce), (500, Epoch(100), 1));
    assert_eq!((view.parent, view.number), (parent, ViewNumber(1)));
    assert_eq!((view.req_id, view.proof_trx_id), (sample.req.req_id, "trx".to_owned()));
}

#[test]
fn an_owner_in_the_list_answers_once_with_key_material() {
    let mut world = World::new();
    let members = vec![member(20), world.owner.clone()];
    let req = world.request(&members, 1);
    let (bundle, _) = world.answers(&req, &members);
    let change = verify_bundle(&bundle, &world.owner.public(), world.group).unwrap();
    assert_eq!(change.responders.len(), 2);
    assert_eq!(change.dealer_logs.len(), 2);
}

#[test]
fn defects_of_a_request_are_found() {
    let sample = sample();
    let owner = &sample.world.owner;
    let error = |change: fn(&mut ChangeConsensusReq)| sample.request_error(owner, change);
    assert_eq!(error(|r| r.group_id.clear()), ChangeError::Group);
    let other = member(20);
    assert_eq!(
        sample.request_error(&other, |r| r.sender_pubkey = other.public().to_string()),
        ChangeError::NotOwner
    );
    assert_eq!(sample.request_error(&other, |_| ()), ChangeError::Signature("request"));
    assert!(matches!(error(|r| r.producer_pubkey_list.clear()), ChangeError::Producers(_)));
    assert!(matches!(
        error(|r| r.producer_pubkey_list[1] = r.producer_pubkey_list[0].clone()),
        ChangeError::Producers(_)
    ));
    assert!(matches!(
        error(|r| r.producer_pubkey_list = vec![String::new(); MAX_PRODUCERS + 1]),
        ChangeError::Producers(_)
    ));
    assert_eq!(
        error(|r| r.producer_pubkey_list[1] = "key".to_owned()),
        ChangeError::Field("ProducerPubkeyList")
    );
    assert_eq!(error(|r| r.req_id.make_ascii_uppercase()), ChangeError::Field("ReqId"));
    assert_eq!(error(|r| r.nonce = u64::MAX), ChangeError::Field("Nonce"));
    assert_eq!(error(|r| r.start_from_epoch = u64::MAX), ChangeError::Field("StartFromEpoch"));
    let tick = ChangeError::Field("TrxEpochTickLenInMs");
    assert_eq!(error(|r| r.trx_epoch_tick_len_in_ms = 0), tick);
    assert_eq!(error(|r| r.trx_epoch_tick_len_in_ms = MAX_TICK_MS + 1), tick);
    let mut hash = sample.req.clone();
    hash.nonce += 1;
    let found = verify_request(&hash, &owner.public(), sample.world.group);
    assert_eq!(found, Err(ChangeError::Hash("request")));
}

#[test]
fn defects_of_responses_are_found() {
    let sample = sample();
    let owner = sample.world.owner.public();
    assert_eq!(
        sample.error(|b| {
            b.resps.pop();
            b.responsed_producers.pop();
        }),
        ChangeError::Unanswered(owner)
    );
    let first = sample.members[0].public();
    assert_eq!(
        sample.error(|b| {
            b.resps[1] = b.resps[0].clone();
            b.responsed_producers[1] = b.responsed_producers[0].clone();
        }),
        ChangeError::Twice(first)
    );
    assert_eq!(sample.error(|b| b.responsed_producers.swap(0, 1)), ChangeError::Responders);
    assert_eq!(
        sample.error(|b| {
            b.resps.push(b.resps[0].clone());
        }),
        ChangeError::Field("Resps")
    );
    let stranger = member(99);
    assert_eq!(
        sample.error(|b| {
            b.resps[0].sender_pubkey = stranger.public().to_string();
            resign(&mut b.resps[0], &stranger);
        }),
        ChangeError::NotParticipant(stranger.public().to_string())
    );
    assert_eq!(
        sample.error(|b| {
            b.resps[0].req.as_mut().unwrap().nonce = 9;
            resign(&mut b.resps[0], &sample.members[0]);
        }),
        ChangeError::OtherRequest(first)
    );
    assert_eq!(sample.error(|b| b.resps[0].resp_id = id(99).to_string()), {
        ChangeError::Hash("response")
    });
    assert_eq!(
        sample.error(|b| resign(&mut b.resps[0], &sample.members[1])),
        ChangeError::Signature("response")
    );
    assert_eq!(sample.error(|b| b.req = None), ChangeError::Field("Req"));
    assert_eq!(sample.error(|b| b.result = 3), ChangeError::Field("Result"));
}

#[test]
fn key_material_is_covered_by_the_hash_and_demanded() {
    let sample = sample();
    let first = sample.members[0].public();
    let material = |b: &mut ChangeConsensusResultBundle, change: fn(&mut KeyMaterial)| {
        change(b.resps[0].key_material.as_mut().unwrap());
    };
    let unsigned = sample.error(|b| material(b, |m| m.dealer_log[0] ^= 1));
    assert_eq!(unsigned, ChangeError::Hash("response"));
    let wrong = ChangeError::KeyMaterial(first);
    let signed = |change: fn(&mut KeyMaterial)| {
        sample.error(|b| {
            material(b, change);
            resign(&mut b.resps[0], &sample.members[0]);
        })
    };
    assert_eq!(signed(|m| m.view_key.push(0)), wrong);
    assert_eq!(signed(|m| m.view_key.clear()), wrong);
    assert_eq!(signed(|m| m.dealer_log = vec![0; MAX_DEALER_LOG + 1]), wrong);
    let absent = sample.error(|b| {
        b.resps[0].key_material = None;
        resign(&mut b.resps[0], &sample.members[0]);
    });
    assert_eq!(absent, wrong);
    let copied = sample.error(|b| {
        b.resps[1].key_material = b.resps[0].key_material.clone();
        resign(&mut b.resps[1], &sample.members[1]);
    });
    assert_eq!(copied, ChangeError::KeyMaterial(sample.members[1].public()));
    let unlisted = sample.error(|b| {
        b.resps[4].key_material = b.resps[0].key_material.clone();
        resign(&mut b.resps[4], &sample.world.owner);
    });
    assert_eq!(unlisted, ChangeError::KeyMaterial(sample.world.owner.public()));
    // Without key material the signatures still say what seed 001 asks of them.
    let mut bare = sample.bundle.clone();
    bare.resps[0].key_material = None;
    resign(&mut bare.resps[0], &sample.members[0]);
    assert!(verify_answers(&bare, &sample.world.owner.public(), sample.world.group).is_ok());
}

#[test]
fn a_wrong_dealer_log_makes_no_view() {
    let sample = sample();
    let mut bundle = sample.bundle.clone();
    let other = bundle.resps[1].key_material.clone().unwrap().dealer_log;
    bundle.resps[0].key_material.as_mut().unwrap().dealer_log = other;
    resign(&mut bundle.resps[0], &sample.members[0]);
    let change = sample.verify(&bundle).unwrap();
    let parent = (BlockId(5), Digest([3; 32]));
    let view = next_view::<BlsGeneration>(&change, parent, ViewNumber(1), "trx");
    assert!(matches!(view, Err(ChangeError::Keygen(_))), "{view:?}");
}

#[test]
fn other_results_carry_the_answers_there_are_and_make_no_view() {
    let sample = sample();
    for result in [ChangeResult::Failed, ChangeResult::Timeout] {
        let some = sample.bundle.resps[..2].to_vec();
        let bundle = build_bundle(result, &sample.req, some);
        let change = sample.verify(&bundle).unwrap();
        assert_eq!((change.result, change.responders.len()), (result, 2));
        let parent = (BlockId(5), Digest([3; 32]));
        let view = next_view::<BlsGeneration>(&change, parent, ViewNumber(1), "");
        assert_eq!(view, Err(ChangeError::NoSuccess(result)));
        let none = build_bundle(result, &sample.req, Vec::new());
        assert!(sample.verify(&none).is_ok());
        let mut forged = bundle;
        forged.resps[0].sender_sign[0] ^= 1;
        assert_eq!(sample.verify(&forged), Err(ChangeError::Signature("response")));
    }
}

#[test]
fn results_have_the_texts_of_the_api() {
    for (text, result) in [
        ("SUCCESS", ChangeResult::Success),
        ("FAILED", ChangeResult::Failed),
        ("TIMEOUT", ChangeResult::Timeout),
    ] {
        assert_eq!(result.to_string(), text);
        assert_eq!(text.parse(), Ok(result));
        assert_eq!(ChangeResult::from(ChangeConsensusResult::from(result)), result);
    }
    assert_eq!("FAIL".parse(), Ok(ChangeResult::Failed));
    assert!("fail".parse::<ChangeResult>().is_err());
    assert_eq!(ChangeConsensusResult::from(ChangeResult::Failed) as i32, 1);
}

#[test]
fn the_genesis_bundle_is_the_owners_alone() {
    let mut world = World::new();
    let (owner, group) = (world.owner.clone(), world.group);
    let verify = |bundle: &_| verify_genesis_bundle(bundle, &owner.public(), group);
    let good = &world.documents.bundle;
    let change = verify(good).unwrap();
    assert_eq!((change.request.nonce, change.request.epoch_tick_ms), (0, GENESIS_TICK_MS));
    assert_eq!(good.responsed_producers, [owner.public().to_string()]);
    let later = world.request(std::slice::from_ref(&owner), 1);
    let (bundle, _) = world.answers(&later, std::slice::from_ref(&owner));
    assert_eq!(verify(&bundle), Err(ChangeError::Field("Nonce")));
    let foreign = world.request(&[member(20)], 0);
    let (bundle, _) = world.answers(&foreign, &[member(20)]);
    assert!(matches!(verify(&bundle), Err(ChangeError::Producers(_))));
    let mut failed = world.documents.bundle.clone();
    failed.result = ChangeConsensusResult::Timeout as i32;
    assert_eq!(verify(&failed), Err(ChangeError::NoSuccess(ChangeResult::Timeout)));
}

#[test]
fn bundles_of_both_forms_are_read() {
    let sample = sample();
    let bytes = sample.bundle.encode_to_vec();
    assert_eq!(ChangeConsensusResultBundle::read(&bytes).as_ref(), Ok(&sample.bundle));
    // The later form has the producers in field 4.
    let mut later =
        ChangeConsensusResultBundle { responsed_producers: Vec::new(), ..sample.bundle.clone() }
            .encode_to_vec();
    for producer in &sample.bundle.responsed_producers {
        later.extend([0x22, producer.len() as u8]);
        later.extend(producer.as_bytes());
    }
    assert_eq!(ChangeConsensusResultBundle::read(&later).as_ref(), Ok(&sample.bundle));
    assert!(ChangeConsensusResultBundle::read(b"\x22\x05abc").is_err());
}

/// Length of a dealer log in a committee of `n`, from the real key generation.
fn log_length(n: u64) -> usize {
    let mut world = World::new();
    let members: Vec<_> = (100..100 + n).map(member).collect();
    let req = world.request(&members, 1);
    generate(&req, &world.owner, 2)[0].1.dealer_log.len()
}

#[test]
fn the_largest_committee_fits_a_consensus_trx() {
    // Logs grow by the same length with each player: no need to run 2,500 dealings here.
    let (four, seven, ten) = (log_length(4), log_length(7), log_length(10));
    assert_eq!(seven - four, ten - seven);
    let log = four + (MAX_PRODUCERS - 4) * (seven - four).div_ceil(3);
    let mut world = World::new();
    let members: Vec<_> = (100..100 + MAX_PRODUCERS as u64).map(member).collect();
    let req = world.request(&members, 1);
    let material = KeyMaterial { view_key: vec![1; 32], dealer_log: vec![1; log] };
    let mut resps = Vec::new();
    for member in members.iter().chain([&world.owner.clone()]) {
        let resp_id = world.fresh_id();
        resps.push(build_response(member, resp_id, &req, Some(material.clone())));
    }
    let length = build_bundle(ChangeResult::Success, &req, resps).encoded_len();
    let limit = crate::view::MAX_BUNDLE - quorate_crypto::cipher::OVERHEAD;
    assert!(length < limit * 3 / 4, "{length} bytes leave room for other encodings");
    let mut more = members;
    more.push(member(99));
    let req = world.request(&more, 1);
    let found = verify_request(&req, &world.owner.public(), world.group);
    assert!(matches!(found, Err(ChangeError::Producers(_))));
}
