//! Whole epochs with correct and silent members, and the rhythm.

use quorate_crypto::bls::BlsGeneration;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewKey;
use quorate_ledger::ids::Epoch;

use super::keyed::KeyedGeneration;
use super::net::{Net, Order};
use crate::core::{Appetite, Core, Event, Record};
use crate::honeybadger::HoneyBadger;
use crate::honeybadger::message::{EpochMessage, HoneyBadgerMessage};
use crate::limits::{MAX_CLEAR, PAST_EPOCHS};

#[test]
fn committees_of_every_size_agree() {
    for (n, seeds) in [(1, 20), (2, 60), (3, 60), (4, 150), (7, 40), (10, 10)] {
        for seed in 0..seeds {
            let mut net = Net::of(n, 3, seed);
            net.run();
            net.check();
            assert!(net.evidence.is_empty(), "n {n} seed {seed}: {:?}", net.evidence);
        }
    }
}

#[test]
fn up_to_f_silent_members_stop_nobody() {
    for (n, silent, seeds) in [(4, 1, 100), (7, 2, 30), (10, 3, 6)] {
        for seed in 0..seeds {
            let mut net = Net::of(n, 3, seed);
            for i in 0..silent {
                let who = NodeIndex(((seed as usize + i * 3) % n) as u16);
                net.wires.traitors.insert(who, Box::new(|_, _, _, _| Vec::new()));
            }
            net.run();
            net.check();
        }
    }
}

#[test]
fn one_more_silent_member_stops_all() {
    let mut net = Net::of(4, 1, 5);
    for i in 0..2 {
        net.wires.traitors.insert(NodeIndex(i), Box::new(|_, _, _, _| Vec::new()));
    }
    for me in net.everybody() {
        net.propose(me);
    }
    while net.deliver() {}
    assert!(net.members.iter().all(|member| member.decisions.is_empty()));
}

#[test]
fn a_single_member_decides_in_one_step() {
    let mut net = Net::of(1, 5, 0);
    for epoch in 10..15 {
        let me = NodeIndex(0);
        net.act(me, Event::Propose(vec![epoch as u8; 40]));
        let decision = net.members[0].decisions.last().unwrap();
        assert_eq!(
            (decision.epoch, &decision.batches[&me]),
            (Epoch(epoch), &vec![epoch as u8; 40])
        );
        assert_eq!(net.members[0].core.as_ref().unwrap().appetite(), Appetite::Ready);
    }
}

#[test]
fn large_batches_arrive_whole() {
    for n in [2, 4] {
        let mut net = Net::of(n, 2, 3);
        net.largest_batch = 700_000;
        net.run();
        net.check();
    }
}

#[test]
fn lost_messages_are_asked_for_again() {
    for n in [2, 4, 7] {
        for seed in 0..30 {
            let mut net = Net::of(n, 3, seed);
            net.wires.lost = 4;
            net.run();
            net.check();
        }
    }
}

/// With f + 1 members heard in the epoch a member is hungry, with fewer it waits for the rhythm.
#[test]
fn others_make_hungry() {
    let mut net = Net::of(4, 2, 0);
    net.wires.order = Order::Fifo;
    let appetite = |net: &Net<_>| net.members[3].core.as_ref().map(HoneyBadger::appetite);
    assert_eq!(appetite(&net), Some(Appetite::Ready));
    net.propose(NodeIndex(0));
    net.wires.flying.retain(|(from, _, _)| *from == NodeIndex(0));
    net.wires.twice = 0;
    let (_, to, _) = net.wires.flying[2].clone();
    assert_eq!(to, NodeIndex(3));
    net.wires.flying.drain(..2);
    assert!(net.deliver());
    assert_eq!(appetite(&net), Some(Appetite::Ready), "one member may be a traitor");
    net.propose(NodeIndex(1));
    net.wires.flying.retain(|(from, to, _)| *from == NodeIndex(1) && *to == NodeIndex(3));
    while net.deliver() {}
    assert_eq!(appetite(&net), Some(Appetite::Hungry));
    net.propose(NodeIndex(3));
    assert_eq!(appetite(&net), Some(Appetite::Full));
}

#[test]
fn a_second_proposal_changes_nothing() {
    let mut net = Net::of(4, 1, 0);
    net.act(NodeIndex(0), Event::Propose(vec![1; 10]));
    let flying = net.wires.flying.len();
    net.act(NodeIndex(0), Event::Propose(vec![2; 10]));
    assert_eq!(net.wires.flying.len(), flying);
}

/// A member that is told that epochs are over goes on with the one named, and takes the messages
/// it kept for it.
#[test]
fn advance_skips_epochs() {
    let mut net = Net::of(4, 3, 11);
    let slow = NodeIndex(3);
    net.crash(slow);
    net.wires.traitors.insert(slow, Box::new(|_, _, m, _| vec![m]));
    net.run();
    net.wires.flying.clear();
    net.start(slow);
    net.act(slow, Event::Advance(Epoch(13)));
    assert_eq!(net.members[3].core.as_ref().unwrap().epoch(), Epoch(13));
    net.act(slow, Event::Advance(Epoch(12)));
    assert_eq!(net.members[3].core.as_ref().unwrap().epoch(), Epoch(13), "never back");
    net.wires.traitors.clear();
    net.epochs = 5;
    for member in &mut net.members[3..] {
        let known = member.decisions.len();
        assert_eq!(known, 0);
    }
    let common = net.members[0].decisions.clone();
    net.member(slow).decisions = common;
    net.run();
    net.check();
}

/// Notes of epochs out of the window are removed, so the journal does not grow.
#[test]
fn old_notes_are_forgotten() {
    let mut net = Net::of(4, 12, 2);
    net.run();
    for member in &net.members {
        let oldest = member.core.as_ref().unwrap().epoch().0 - PAST_EPOCHS;
        for (key, _) in member.disk.votes(crate::core::Topic::Vote) {
            let epoch = u64::from_be_bytes(*key.first_chunk().unwrap());
            assert!(epoch >= oldest, "epoch {epoch} is older than {oldest}");
        }
    }
}

/// Nothing a stranger or a far-away epoch says changes anything.
#[test]
fn strangers_and_far_epochs_are_ignored() {
    let mut net = Net::of(4, 1, 0);
    net.propose(NodeIndex(1));
    let (_, _, message) = net.wires.flying[0].clone();
    net.wires.flying.clear();
    let verified = crate::core::Verified::assume;
    net.act(NodeIndex(0), Event::Receive(NodeIndex(9), verified(message.clone())));
    net.act(NodeIndex(0), Event::Receive(NodeIndex(0), verified(message.clone())));
    for epoch in [0, 9, 15, u64::MAX] {
        let mut far = message.clone();
        far.epoch = Epoch(epoch);
        net.act(NodeIndex(0), Event::Receive(NodeIndex(1), verified(far)));
    }
    net.act(NodeIndex(0), Event::Resend { to: NodeIndex(9), from: Epoch(0) });
    net.act(NodeIndex(0), Event::Resend { to: NodeIndex(0), from: Epoch(0) });
    assert!(net.wires.flying.is_empty());
    assert!(net.evidence.is_empty());
}

/// Every message that constrains the future leaves with its note in the same step.
#[test]
fn votes_are_recorded_with_their_message() {
    let mut net = Net::of(4, 1, 0);
    let core = net.members[0].core.as_mut().unwrap();
    let step = core.step(&mut net.env, Event::Propose(vec![7; 100]));
    let notes = step.records().iter().filter(|r| matches!(r, Record::Note { .. })).count();
    assert_eq!(notes, 1, "the proposal; its own ECHO follows from it");
    let proposal = step.records().iter().find_map(|record| match record {
        Record::Note { bytes, .. } => Some(bytes.len()),
        _ => None,
    });
    assert!(proposal.unwrap() > 100, "the whole sealed proposal");
}

fn bls(n: usize) -> Vec<<BlsGeneration as KeyGeneration>::Keys> {
    let keys: Vec<ViewKey> = (0..n).map(|i| ViewKey::from_seed(&[i as u8 + 1; 32])).collect();
    let public: Vec<_> = keys.iter().map(ViewKey::public).collect();
    let open = |(i, key)| BlsGeneration::open(b"test", &public, key, [i as u8; 32]).unwrap();
    let mut players: Vec<BlsGeneration> = keys.iter().enumerate().map(open).collect();
    for from in 0..n {
        for to in 0..n {
            let dealing = players[from].dealing(NodeIndex(to as u16)).unwrap();
            let ack = players[to].receive_dealing(NodeIndex(from as u16), &dealing).unwrap();
            players[from].receive_ack(NodeIndex(to as u16), &ack).unwrap();
        }
    }
    let logs = players.iter().enumerate().map(|(i, p)| (NodeIndex(i as u16), p.log())).collect();
    players.iter().map(|player| player.finish(&logs).unwrap()).collect()
}

#[test]
fn the_real_threshold_scheme_agrees() {
    for n in [1, 2, 4, 7] {
        for seed in 0..2 {
            let mut net = Net::<BlsGeneration>::new(bls(n), 2, seed);
            net.run();
            net.check();
            assert!(net.evidence.is_empty());
        }
    }
}

#[test]
fn the_real_threshold_scheme_survives_crashes() {
    for seed in 0..2 {
        let mut net = Net::<BlsGeneration>::new(bls(4), 2, seed);
        for me in net.everybody() {
            net.propose(me);
        }
        for _ in 0..60 + 40 * seed {
            net.deliver();
        }
        for me in net.everybody() {
            net.crash(me);
        }
        net.wires.flying.clear();
        for me in net.everybody() {
            net.start(me);
        }
        net.run();
        net.check();
        assert!(net.evidence.is_empty());
    }
}

fn shares_said(net: &Net<KeyedGeneration>) -> bool {
    let share = |(_, _, message): &(NodeIndex, NodeIndex, HoneyBadgerMessage)| {
        matches!(message.body, EpochMessage::Share(..))
    };
    net.wires.flying.iter().any(share)
}

/// Batches too short for a trx go in clear: an idle epoch costs no threshold cryptography.
#[test]
fn short_batches_are_not_sealed() {
    for (length, sealed) in [(0, false), (MAX_CLEAR, false), (MAX_CLEAR + 1, true)] {
        let mut net = Net::of(4, 1, 0);
        for me in net.everybody() {
            let batch = vec![me.0 as u8; length];
            net.member(me).batches.insert(Epoch(10), batch.clone());
            net.act(me, Event::Propose(batch));
        }
        let mut shares = shares_said(&net);
        while !net.finished() && net.deliver() {
            shares |= shares_said(&net);
        }
        net.check();
        assert_eq!(shares, sealed, "a batch of {length} bytes");
    }
}

/// A member may stop until it has helped to open a proposal, and again in the next epoch.
#[test]
fn stopping_is_allowed_before_the_share() {
    for seed in 0..20 {
        let mut net = Net::of(2, 1, seed);
        let may_stop = |net: &Net<KeyedGeneration>| {
            net.members[0].core.as_ref().is_some_and(HoneyBadger::may_stop)
        };
        for me in net.everybody() {
            net.act(me, Event::Propose(vec![1; 100]));
        }
        let mut released = false;
        while net.members[0].decisions.is_empty() {
            assert_eq!(may_stop(&net), !released, "exactly until its share is out");
            assert!(net.deliver());
            let own = |(from, _, message): &(NodeIndex, NodeIndex, HoneyBadgerMessage)| {
                *from == NodeIndex(0) && matches!(message.body, EpochMessage::Share(..))
            };
            released |= net.wires.flying.iter().any(own);
        }
        assert!(released);
        assert!(may_stop(&net), "nothing of the next epoch is opened yet");
    }
}
