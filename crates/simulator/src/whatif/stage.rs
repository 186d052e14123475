//! A group as if its committee had been formed already.
//!
//! Forming a committee costs the square of its size in messages of its own, and what is asked here
//! is how it orders. So each node is opened in a view that nobody decided: the keys are made as in
//! a key generation that went well, in one place.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::{Env, Time, Topic};
use quorate_crypto::hash::Digest;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberKey;
use quorate_crypto::recipient::EncryptKey;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_crypto::view::ViewKey;
use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::{BlockId, Epoch, ViewNumber};
use quorate_ledger::view::{Producer, Protocol, View};
use quorate_replica::Assumed;
use quorate_replica::api::GroupConfig;
use quorate_replica::driver::Driver;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::disk::FaultyDisk;
use crate::keyed::{KeyedGeneration, KeyedKeys};
use crate::whatif::{Core, open_store};

/// A note of a journal.
type Note = (Topic, Vec<u8>, Arc<[u8]>);

/// What every node of a group is opened with.
pub(crate) struct Stage<K> {
    /// Notes that hold the genesis documents.
    pub notes: Vec<Note>,
    view: View,
    keys: Vec<(ViewKey, K)>,
}

impl<K: Clone> Stage<K> {
    /// The view, and the keys of a node in it.
    pub fn assumed(&self, node: usize) -> Assumed<K> {
        Assumed { view: self.view.clone(), keys: self.keys.get(node).cloned() }
    }
}

/// Keys of a committee of `n`.
///
/// # Panics
/// If the stand-in for key generation refuses its own logs.
pub(crate) fn committee(n: usize, rng: &mut ChaCha20Rng) -> Vec<(ViewKey, KeyedKeys)> {
    let context = b"quorate.what-if";
    let view_keys: Vec<ViewKey> = (0..n).map(|_| ViewKey::generate(rng)).collect();
    let players: Vec<_> = view_keys.iter().map(ViewKey::public).collect();
    let rounds: Vec<KeyedGeneration> = view_keys
        .iter()
        .map(|key| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            KeyedGeneration::open(context, &players, key, seed).expect("every player is listed")
        })
        .collect();
    let logs: BTreeMap<NodeIndex, Vec<u8>> =
        rounds.iter().zip(0..).map(|(round, i)| (NodeIndex(i), round.log())).collect();
    let keys = rounds.iter().map(|round| round.finish(&logs).expect("the logs are good"));
    view_keys.iter().cloned().zip(keys).collect()
}

/// The view of a committee.
pub(crate) fn view(
    descriptor: &GroupDescriptor,
    members: &[&MemberKey],
    keys: &[(ViewKey, KeyedKeys)],
    interval_ms: u64,
) -> View {
    let producers = members
        .iter()
        .zip(keys)
        .map(|(member, (key, _))| Producer { member: member.public(), view_key: key.public() });
    View {
        group: descriptor.id,
        number: ViewNumber(1),
        protocol: Protocol::Poa,
        producers: producers.collect(),
        key_material: keys.first().map(|(_, keys)| keys.public()).unwrap_or_default(),
        interval_ms,
        start_epoch: Epoch(1),
        parent: (BlockId(0), Digest::default()),
        req_id: "what-if".to_owned(),
        nonce: 1,
        proof_trx_id: String::new(),
    }
}

/// Sets the stage for a group whose owner is the first member.
///
/// # Panics
/// If the owner's node cannot make its genesis documents on an empty disk.
pub(crate) fn set(
    descriptor: &GroupDescriptor,
    members: &[&MemberKey],
    encrypt: &EncryptKey,
    now: Time,
    interval_ms: u64,
    seed: u64,
) -> Stage<KeyedKeys> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x0073_7461_6765);
    let keys = committee(members.len(), &mut rng);
    let view = view(descriptor, members, &keys, interval_ms);
    let disk = FaultyDisk::new(seed);
    let (journal, recovered) = open_store(&disk, seed);
    let config = GroupConfig {
        descriptor: descriptor.clone(),
        member: members[0].clone(),
        encrypt: encrypt.clone(),
        create: true,
    };
    let mut env = Env { now, rng };
    let opened = Driver::<Core, _>::open(&mut env, config, recovered, journal);
    drop(opened.expect("the owner creates its group"));
    let (_, recovered) = open_store(&disk, seed);
    let genesis = |(topic, key, _): &Note| *topic == Topic::Group && key == b"genesis";
    Stage { notes: recovered.notes.into_iter().filter(genesis).collect(), view, keys }
}
