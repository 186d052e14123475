use std::sync::LazyLock;

use commonware_cryptography::bls12381::dkg::feldman_desmedt;
use commonware_cryptography::bls12381::primitives::sharing::Mode;
use commonware_utils::ordered::Set;
use proptest::prelude::*;

use super::*;
use crate::keygen::{Dealing, KeyGeneration, KeygenError};
use crate::threshold::{MAX_SHARE, SEAL_OVERHEAD};
use crate::view::{ViewKey, ViewPublicKey};

const CONTEXT: &[u8] = b"group and request";

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn faults(n: usize) -> usize {
    (n - 1) / 3
}

fn node(index: usize) -> NodeIndex {
    NodeIndex(index as u16)
}

type AllLogs = BTreeMap<NodeIndex, Vec<u8>>;

/// A round of `n` players at its start.
struct Table {
    public: Vec<ViewPublicKey>,
    players: Vec<BlsGeneration>,
}

impl Table {
    fn new(n: usize) -> Self {
        let keys: Vec<ViewKey> = (0..n).map(|i| ViewKey::from_seed(&[i as u8 + 1; 32])).collect();
        let public: Vec<ViewPublicKey> = keys.iter().map(ViewKey::public).collect();
        let open = |(i, key)| BlsGeneration::open(CONTEXT, &public, key, [i as u8; 32]).unwrap();
        let players = keys.iter().enumerate().map(open).collect();
        Self { public, players }
    }

    /// `to` takes the dealing of `from`, and `from` the acknowledgement.
    fn exchange(&mut self, from: usize, to: usize) {
        let dealing = self.players[from].dealing(node(to)).unwrap();
        let ack = self.players[to].receive_dealing(node(from), &dealing).unwrap();
        self.players[from].receive_ack(node(to), &ack).unwrap();
    }

    fn exchange_all(&mut self) {
        for from in 0..self.players.len() {
            for to in 0..self.players.len() {
                self.exchange(from, to);
            }
        }
    }

    fn logs(&self) -> AllLogs {
        let log = |(i, player): (usize, &BlsGeneration)| (node(i), player.log());
        self.players.iter().enumerate().map(log).collect()
    }

    fn finish(&self) -> Vec<BlsKeys> {
        let logs = self.logs();
        let finish = |player: &BlsGeneration| player.finish(&logs).unwrap();
        self.players.iter().map(finish).collect()
    }

    fn observe(&self, logs: &AllLogs) -> Result<BlsKeys, KeygenError> {
        BlsGeneration::observe(CONTEXT, &self.public, logs)
    }
}

fn committee(n: usize) -> Vec<BlsKeys> {
    let mut table = Table::new(n);
    table.exchange_all();
    table.finish()
}

/// A committee whose keys were dealt by one hand, for sizes where a round takes long.
fn dealt(n: usize) -> Vec<BlsKeys> {
    let players = Set::from_iter_dedup(0..n as u32);
    let (output, shares) =
        feldman_desmedt::deal::<MinSig, _, N3f1>(rng(1), Mode::NonZeroCounter, players).unwrap();
    // Members are not in the order of their keys.
    let order: Vec<_> = (0..n as u32).rev().map(Participant::new).collect();
    let share = |of: &Participant| shares.get_value(&of.get()).unwrap().clone();
    order
        .iter()
        .map(|of| BlsKeys::new(output.public().clone(), order.clone(), Some(share(of))).unwrap())
        .collect()
}

static FOUR: LazyLock<Vec<BlsKeys>> = LazyLock::new(|| committee(4));

fn shares(
    keys: &[BlsKeys],
    purpose: Purpose,
    target: &[u8],
    of: impl IntoIterator<Item = usize>,
) -> BTreeMap<NodeIndex, Share> {
    let sign = |i: usize| (node(i), keys[i].sign_share(purpose, target).unwrap());
    of.into_iter().map(sign).collect()
}

fn joint(keys: &[BlsKeys], purpose: Purpose, target: &[u8]) -> Joint {
    let shares = shares(keys, purpose, target, 0..keys.len() - faults(keys.len()));
    keys[0].combine(purpose, target, &shares).unwrap()
}

fn check_committee(keys: &[BlsKeys]) {
    let n = keys.len();
    let need = n - faults(n);
    let target = b"group/view/epoch/proposer";
    for (i, of) in keys.iter().enumerate() {
        assert_eq!(of.index(), Some(node(i)));
        assert_eq!((of.members(), of.threshold()), (n, need));
        assert_eq!(of.public(), keys[0].public());
    }
    let observer = BlsKeys::from_public(&keys[0].public(), n).unwrap();
    for purpose in [Purpose::Coin, Purpose::Decryption] {
        let first = shares(keys, purpose, target, 0..need);
        let last = shares(keys, purpose, target, n - need..n);
        assert!(first.values().all(|share| share.len() <= MAX_SHARE));
        let joint = keys[0].combine(purpose, target, &first).unwrap();
        assert_eq!(observer.combine(purpose, target, &last).unwrap(), joint);
        assert!(joint.len() <= MAX_SHARE);
        assert!(observer.verify(purpose, target, &joint));
        assert!(!observer.verify(purpose, b"other", &joint));
        let too_few = shares(keys, purpose, target, 0..need - 1);
        assert_eq!(
            keys[0].combine(purpose, target, &too_few),
            Err(CombineError::TooFew { have: need - 1, need })
        );
    }
    let sealed = observer.seal(&mut rng(3), target, b"header", b"text");
    let key = joint(keys, Purpose::Decryption, target);
    assert_eq!(observer.open(target, b"header", &sealed, &key).unwrap(), b"text");
}

#[test]
fn committees_of_every_shape() {
    for n in [1, 2, 3, 4, 5, 7, 10] {
        check_committee(&committee(n));
    }
}

#[test]
fn a_large_committee() {
    check_committee(&dealt(100));
}

#[test]
fn a_large_round_opens() {
    let mut table = Table::new(2);
    let keys: Vec<ViewKey> = (0..100).map(|i| ViewKey::from_seed(&[i + 1; 32])).collect();
    table.public = keys.iter().map(ViewKey::public).collect();
    let open = |i: usize| BlsGeneration::open(CONTEXT, &table.public, &keys[i], [9; 32]).unwrap();
    let (mut dealer, mut player) = (open(99), open(0));
    let dealing = dealer.dealing(node(0)).unwrap();
    let ack = player.receive_dealing(node(99), &dealing).unwrap();
    dealer.receive_ack(node(0), &ack).unwrap();
    assert!(!dealer.acknowledged_by_all());
    assert!(!dealer.log().is_empty());
}

#[test]
fn purposes_are_separate() {
    let coins = shares(&FOUR, Purpose::Coin, b"t", 0..4);
    assert_eq!(
        FOUR[0].combine(Purpose::Decryption, b"t", &coins),
        Err(CombineError::BadShares((0..4).map(node).collect()))
    );
    let coin = joint(&FOUR, Purpose::Coin, b"t");
    assert!(!FOUR[0].verify(Purpose::Decryption, b"t", &coin));
    let sealed = FOUR[0].seal(&mut rng(1), b"t", b"h", b"text");
    assert_eq!(FOUR[0].open(b"t", b"h", &sealed, &coin), Err(OpenError));
}

#[test]
fn wrong_shares_are_found() {
    let (purpose, target) = (Purpose::Coin, b"t".as_slice());
    let right = joint(&FOUR, purpose, target);
    let other = shares(&FOUR, purpose, b"other", 0..4);
    let good = shares(&FOUR, purpose, target, 0..4);
    for wrong in 0..4 {
        // A share of another target, a share that names another member, and no share at all.
        let liar = node((wrong + 1) % 4);
        let bad = [other[&node(wrong)].clone(), good[&liar].clone(), vec![1, 2], vec![]];
        for bad in bad {
            let mut given = good.clone();
            given.insert(node(wrong), bad);
            // Found out, unless the shares in front of it were enough.
            match FOUR[0].combine(purpose, target, &given) {
                Ok(joint) => assert_eq!(joint, right),
                Err(error) => assert_eq!(error, CombineError::BadShares(vec![node(wrong)])),
            }
            given.remove(&liar);
            assert_eq!(
                FOUR[0].combine(purpose, target, &given),
                Err(CombineError::BadShares(vec![node(wrong)]))
            );
        }
    }
    let mut stranger = shares(&FOUR, purpose, target, 0..2);
    stranger.insert(node(4), good[&node(2)].clone());
    assert_eq!(
        FOUR[0].combine(purpose, target, &stranger),
        Err(CombineError::BadShares(vec![node(4)]))
    );
}

#[test]
fn a_quorum_survives_f_wrong_shares() {
    let keys = dealt(31);
    let (purpose, target) = (Purpose::Decryption, b"t".as_slice());
    let right = joint(&keys, purpose, target);
    let mut given = shares(&keys, purpose, target, 0..31);
    for (index, share) in shares(&keys, purpose, b"other", [0, 3, 4, 9, 10, 11, 20, 21, 22, 30]) {
        given.insert(index, share);
    }
    let bad = [0, 3, 4, 9, 10, 11, 20, 21, 22, 30].map(node).to_vec();
    let error = CombineError::BadShares(bad.clone());
    assert_eq!(
        keys[5].combine(purpose, target, &given),
        Err(error),
        "named, though enough are good"
    );
    let mut rest = given.clone();
    rest.retain(|member, _| !bad.contains(member));
    assert_eq!(keys[5].combine(purpose, target, &rest), Ok(right));
    let wrong = keys[29].sign_share(purpose, b"other").unwrap();
    given.insert(node(29), wrong);
    let bad = [0, 3, 4, 9, 10, 11, 20, 21, 22, 29, 30].map(node).to_vec();
    assert_eq!(keys[5].combine(purpose, target, &given), Err(CombineError::BadShares(bad)));
}

#[test]
fn observers_have_no_share() {
    let observer = BlsKeys::from_public(&FOUR[0].public(), 4).unwrap();
    assert_eq!(observer.index(), None);
    assert_eq!(observer.sign_share(Purpose::Coin, b"t"), None);
    assert_eq!(observer.public(), FOUR[0].public());
    assert!(BlsKeys::from_public(&FOUR[0].public(), 5).is_none());
}

#[test]
fn sealing_binds_target_and_header() {
    let sealed = FOUR[1].seal(&mut rng(1), b"t", b"h", b"text");
    assert_eq!(sealed, FOUR[2].seal(&mut rng(1), b"t", b"h", b"text"));
    assert!(sealed.len() <= 4 + SEAL_OVERHEAD);
    let key = joint(&FOUR, Purpose::Decryption, b"t");
    assert_eq!(FOUR[3].open(b"t", b"h", &sealed, &key).unwrap(), b"text");
    assert_eq!(FOUR[3].open(b"t", b"x", &sealed, &key), Err(OpenError));
    assert_eq!(FOUR[3].open(b"x", b"h", &sealed, &key), Err(OpenError));
    let other = joint(&FOUR, Purpose::Decryption, b"x");
    assert_eq!(FOUR[3].open(b"t", b"h", &sealed, &other), Err(OpenError));
}

#[test]
fn keys_survive_the_vault() {
    let observer = BlsKeys::from_public(&FOUR[0].public(), 4).unwrap();
    for keys in FOUR.iter().chain([&observer]) {
        let bytes = BlsGeneration::encode_keys(keys);
        let again = BlsGeneration::decode_keys(&bytes).unwrap();
        assert_eq!(again.index(), keys.index());
        assert_eq!(again.public(), keys.public());
        assert_eq!(again.sign_share(Purpose::Coin, b"t"), keys.sign_share(Purpose::Coin, b"t"));
        for cut in [0, 1, 4, 5, 20, bytes.len() - 33, bytes.len() - 1] {
            assert!(BlsGeneration::decode_keys(&bytes[..cut]).is_none(), "{cut}");
        }
    }
    // A share that is not on the polynomial is damage, and must not sign.
    let mut bytes = BlsGeneration::encode_keys(&FOUR[0]);
    *bytes.last_mut().unwrap() ^= 1;
    assert!(BlsGeneration::decode_keys(&bytes).is_none());
    assert!(format!("{:?}", FOUR[0]).contains("members: 4"));
}

#[test]
fn altered_public_material_is_refused() {
    let good = FOUR[0].public();
    assert!(BlsKeys::from_public(&good, 4).is_some());
    // Layout, number of members, a member twice, a member too high.
    for (place, value) in [(0, 2), (2, 5), (2, 0), (1, 1), (4, good[6]), (4, 9)] {
        let mut altered = good.clone();
        altered[place] = value;
        assert!(BlsKeys::from_public(&altered, 4).is_none(), "{place} {value}");
    }
    assert!(BlsKeys::from_public(&[good.as_slice(), &[0]].concat(), 4).is_none());
    // A polynomial of another degree: the fault model of five members needs more.
    let five = committee(5)[0].public();
    let mut mixed = good[..11].to_vec();
    mixed.extend_from_slice(&five[13..]);
    assert!(BlsKeys::from_public(&mixed, 4).is_none());
}

#[test]
fn all_derive_the_same() {
    let mut table = Table::new(4);
    table.exchange_all();
    assert!(table.players.iter().all(KeyGeneration::acknowledged_by_all));
    let keys = table.finish();
    let observer = table.observe(&table.logs()).unwrap();
    assert_eq!(observer.public(), keys[0].public());
    assert_eq!(observer.index(), None);
    // The joint key is the players' seeds and nothing else.
    assert_eq!(committee(4)[0].public(), keys[0].public());
}

#[test]
fn slow_members_are_revealed_and_still_get_a_share() {
    let mut table = Table::new(4);
    for from in 0..4 {
        for to in 0..4 {
            if from == 3 || to != 3 {
                table.exchange(from, to);
            }
        }
    }
    assert!(!table.players[0].acknowledged_by_all());
    assert!(table.players[3].acknowledged_by_all());
    let keys = table.finish();
    check_committee(&keys);
    assert_eq!(table.observe(&table.logs()).unwrap().public(), keys[0].public());
}

#[test]
fn too_few_acknowledgements_make_no_key() {
    let table = Table::new(4);
    let logs = table.logs();
    let failed = table.players[0].finish(&logs).unwrap_err();
    assert!(matches!(&failed, KeygenError::Failed(why) if why.contains("0 usable logs of 3")));
    assert_eq!(table.observe(&logs).unwrap_err(), failed);
}

#[test]
fn a_restarted_player_goes_on() {
    let mut table = Table::new(4);
    table.exchange_all();
    let logs = table.logs();
    let key = ViewKey::from_seed(&[3; 32]);
    let mut again = BlsGeneration::open(CONTEXT, &table.public, &key, [2; 32]).unwrap();
    for i in 0..4 {
        let dealt = table.players[2].dealing(node(i));
        assert_eq!(again.dealing(node(i)), dealt);
        let received = table.players[i].dealing(node(2)).unwrap();
        let first = table.players[2].receive_dealing(node(i), &received);
        let ack = again.receive_dealing(node(i), &received);
        assert_eq!(ack, first);
        let own = table.players[i].receive_dealing(node(2), &dealt.unwrap()).unwrap();
        again.receive_ack(node(i), &own).unwrap();
    }
    assert_eq!(again.log(), logs[&node(2)]);
    let before = table.players[2].finish(&logs).unwrap();
    let after = again.finish(&logs).unwrap();
    assert_eq!(BlsGeneration::encode_keys(&after), BlsGeneration::encode_keys(&before));
    // Finishing again, and taking a dealing in between, changes nothing.
    let dealing = table.players[1].dealing(node(2)).unwrap();
    again.receive_dealing(node(1), &dealing).unwrap();
    assert_eq!(
        BlsGeneration::encode_keys(&again.finish(&logs).unwrap()),
        BlsGeneration::encode_keys(&before)
    );
    // Having lost its dealings, it must say so rather than make up a share.
    let empty = BlsGeneration::open(CONTEXT, &table.public, &key, [2; 32]).unwrap();
    assert!(matches!(empty.finish(&logs), Err(KeygenError::Failed(_))));
    assert_eq!(table.observe(&logs).unwrap().public(), before.public());
}

#[test]
fn a_dealing_can_arrive_after_finishing() {
    let mut table = Table::new(4);
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1)] {
        table.exchange(from, to);
    }
    let early = table.logs();
    assert!(early.len() == 4 && table.players[3].finish(&early).is_ok());
    // Member 3 finished from what was revealed; it still takes what comes late.
    for from in 0..3 {
        table.exchange(from, 3);
    }
    assert!(table.players[0].acknowledged_by_all());
    assert!(table.players[3].finish(&table.logs()).is_ok());
}

#[test]
fn bad_rounds_are_refused() {
    let key = ViewKey::from_seed(&[1; 32]);
    let me = key.public();
    let open = |players: &[ViewPublicKey]| {
        matches!(BlsGeneration::open(CONTEXT, players, &key, [0; 32]), Err(KeygenError::Round(_)))
    };
    assert!(open(&[]));
    assert!(open(&[me, me]));
    assert!(open(&[me, ViewPublicKey([2; 32])]));
    assert!(open(&[me, ViewPublicKey([0; 32])]));
    assert!(open(&[ViewKey::from_seed(&[2; 32]).public()]));
    let many = |n: u8| (0..n).map(|i| ViewKey::from_seed(&[i; 32]).public()).collect::<Vec<_>>();
    assert!(open(&many(MAX_MEMBERS as u8 + 1)));
    assert!(matches!(
        BlsGeneration::observe(CONTEXT, &[], &BTreeMap::new()),
        Err(KeygenError::Round(_))
    ));
}

fn is_peer<T>(result: Result<T, KeygenError>, who: usize, wrong: &str) -> bool {
    matches!(result, Err(KeygenError::Peer { from, what, .. })
        if from == node(who) && what == wrong)
}

#[test]
fn wrong_dealings_are_refused() {
    let mut table = Table::new(4);
    let right = table.players[1].dealing(node(0)).unwrap();
    let wrong = [
        table.players[1].dealing(node(2)).unwrap(),
        table.players[2]
            .dealing(node(0))
            .map(|of| Dealing { commitment: right.commitment.clone(), ..of })
            .unwrap(),
        Dealing { evaluation: vec![0; 32], ..right.clone() },
        Dealing { evaluation: vec![0xff; 32], ..right.clone() },
        Dealing { commitment: vec![0xff; 4], ..right.clone() },
        Dealing { commitment: [right.commitment.as_slice(), &[0]].concat(), ..right.clone() },
        Dealing::default(),
    ];
    let player = &mut table.players[0];
    for wrong in &wrong {
        assert!(is_peer(player.receive_dealing(node(1), wrong), 1, "dealing"));
    }
    assert!(is_peer(player.receive_dealing(node(4), &right), 4, "dealing"));
    let ack = player.receive_dealing(node(1), &right).unwrap();
    assert_eq!(player.receive_dealing(node(1), &right).unwrap(), ack);
    assert!(is_peer(player.receive_dealing(node(1), &wrong[0]), 1, "dealing"));
    assert_eq!(table.players[0].dealing(node(4)), None);
}

/// A polynomial of a lower degree would let fewer than n - f members use the key.
#[test]
fn dealings_of_another_degree_are_refused() {
    let mut table = Table::new(4);
    let keys: Vec<ViewKey> = (0..5).map(|i| ViewKey::from_seed(&[i + 1; 32])).collect();
    for n in [2, 5] {
        let players: Vec<_> = keys[..n].iter().map(ViewKey::public).collect();
        let other = BlsGeneration::open(CONTEXT, &players, &keys[1], [1; 32]).unwrap();
        let dealing = other.dealing(node(0)).unwrap();
        assert!(is_peer(table.players[0].receive_dealing(node(1), &dealing), 1, "dealing"));
    }
}

#[test]
fn wrong_acknowledgements_are_refused() {
    let mut table = Table::new(4);
    let dealing = table.players[0].dealing(node(1)).unwrap();
    let ack = table.players[1].receive_dealing(node(0), &dealing).unwrap();
    let of_other = table.players[2].dealing(node(1)).unwrap();
    let other = table.players[1].receive_dealing(node(2), &of_other).unwrap();
    let dealer = &mut table.players[0];
    let wrong = "acknowledgement";
    assert!(is_peer(dealer.receive_ack(node(2), &ack), 2, wrong));
    assert!(is_peer(dealer.receive_ack(node(4), &ack), 4, wrong));
    assert!(is_peer(dealer.receive_ack(node(1), &other), 1, wrong));
    assert!(is_peer(dealer.receive_ack(node(1), &ack[..63]), 1, wrong));
    table.exchange(0, 2);
    let dealer = &mut table.players[0];
    let before = dealer.log();
    dealer.receive_ack(node(1), &ack).unwrap();
    let after = dealer.log();
    assert_ne!(after, before);
    dealer.receive_ack(node(1), &ack).unwrap();
    assert_eq!(dealer.log(), after);
}

#[test]
fn wrong_logs_are_named() {
    let mut table = Table::new(4);
    table.exchange_all();
    let logs = table.logs();
    let attempt = |alter: &dyn Fn(&mut AllLogs)| {
        let mut altered = logs.clone();
        alter(&mut altered);
        let mine = table.players[0].finish(&altered).unwrap_err();
        assert_eq!(table.observe(&altered).unwrap_err(), mine);
        Err::<(), _>(mine)
    };
    let missing = attempt(&|logs| drop(logs.remove(&node(2))));
    assert!(matches!(missing, Err(KeygenError::Failed(why)) if why.contains("[2]")));
    let swapped = attempt(&|logs| drop(logs.insert(node(1), logs[&node(3)].clone())));
    assert!(is_peer(swapped, 1, "log"));
    assert!(is_peer(attempt(&|logs| drop(logs.insert(node(4), vec![]))), 4, "log"));
    assert!(is_peer(attempt(&|logs| drop(logs.insert(node(0), vec![]))), 0, "log"));
    let flipped = attempt(&|logs| *logs.get_mut(&node(3)).unwrap().last_mut().unwrap() ^= 1);
    assert!(is_peer(flipped, 3, "log"));
    // A log of another round, although signed by the right player.
    let key = ViewKey::from_seed(&[2; 32]);
    let other = BlsGeneration::open(b"other", &table.public, &key, [1; 32]).unwrap();
    assert!(is_peer(attempt(&|logs| drop(logs.insert(node(1), other.log()))), 1, "log"));
}

/// Whoever deals one thing and logs another fools nobody: the log decides.
#[test]
fn a_dealer_that_changes_its_dealing() {
    let mut table = Table::new(4);
    let key = ViewKey::from_seed(&[1; 32]);
    let mut second = BlsGeneration::open(CONTEXT, &table.public, &key, [77; 32]).unwrap();
    // Member 3 gets the second dealing of member 0, the others the first.
    let dealing = second.dealing(node(3)).unwrap();
    let ack = table.players[3].receive_dealing(node(0), &dealing).unwrap();
    second.receive_ack(node(3), &ack).unwrap();
    assert!(is_peer(table.players[0].receive_ack(node(3), &ack), 3, "acknowledgement"));
    for from in 0..4 {
        for to in 0..4 {
            if (from, to) != (0, 3) {
                table.exchange(from, to);
            }
        }
    }
    check_committee(&table.finish());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn malformed_shares_never_panic(
        given in prop::collection::btree_map(
            0u16..6,
            prop::collection::vec(any::<u8>(), 0..60),
            0..6,
        ),
        index in 0u8..6,
        point: [u8; 32],
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut given: BTreeMap<_, _> =
            given.into_iter().map(|(from, share)| (NodeIndex(from), share)).collect();
        let result = FOUR[0].combine(Purpose::Coin, b"t", &given);
        prop_assert!(result.is_err());
        // Of the right length, with the flags of a compressed point.
        let share = [[index, 0x80].as_slice(), &point, &point[..15]].concat();
        given.insert(NodeIndex(u16::from(index)), share.clone());
        prop_assert!(FOUR[0].combine(Purpose::Coin, b"t", &given).is_err());
        prop_assert!(!FOUR[0].verify(Purpose::Coin, b"t", &bytes));
        prop_assert!(!FOUR[0].verify(Purpose::Coin, b"t", &share[1..].to_vec()));
        prop_assert!(FOUR[0].open(b"t", b"h", &bytes, &share).is_err());
        let key = joint(&FOUR, Purpose::Decryption, b"t");
        prop_assert!(FOUR[0].open(b"t", b"h", &bytes, &key).is_err());
        prop_assert!(BlsKeys::from_public(&bytes, 4).is_none());
        prop_assert!(BlsGeneration::decode_keys(&bytes).is_none());
    }

    #[test]
    fn altered_seals_do_not_open(
        text in prop::collection::vec(any::<u8>(), 0..100),
        place: prop::sample::Index,
        flip in 1u8..,
    ) {
        let key = joint(&FOUR, Purpose::Decryption, b"t");
        let mut sealed = FOUR[0].seal(&mut rng(1), b"t", b"h", &text);
        prop_assert_eq!(FOUR[0].open(b"t", b"h", &sealed, &key), Ok(text));
        let place = place.index(sealed.len());
        prop_assert!(FOUR[0].open(b"t", b"h", &sealed[..place], &key).is_err());
        sealed[place] ^= flip;
        prop_assert!(FOUR[0].open(b"t", b"h", &sealed, &key).is_err());
    }

    #[test]
    fn altered_messages_never_panic(
        place: prop::sample::Index,
        flip in 1u8..,
        from in 0usize..6,
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut table = Table::new(4);
        let mut altered = table.players[1].dealing(node(0)).unwrap();
        let length = altered.commitment.len();
        let at = place.index(length + 32);
        if at < length {
            altered.commitment[at] ^= flip;
        } else {
            altered.evaluation[at - length] ^= flip;
        }
        prop_assert!(table.players[0].receive_dealing(node(1), &altered).is_err());
        let random = Dealing { commitment: bytes.clone(), evaluation: bytes.clone() };
        prop_assert!(table.players[0].receive_dealing(node(from), &random).is_err());
        prop_assert!(table.players[0].receive_ack(node(from), &bytes).is_err());
        let mut logs = table.logs();
        let log = logs.get_mut(&node(1)).unwrap();
        let at = place.index(log.len());
        log[at] ^= flip;
        prop_assert!(table.observe(&logs).is_err());
        logs.insert(node(from), bytes);
        prop_assert!(table.players[0].finish(&logs).is_err());
    }
}
