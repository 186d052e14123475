//! Crashes of any and of all members at any point: what was said stays said, and the epochs end as
//! they would have.

use quorate_crypto::threshold::NodeIndex;
use quorate_ledger::ids::Epoch;
use rand::RngExt;

use super::keyed::KeyedGeneration;
use super::net::Net;
use crate::core::{Core, Event, Topic, Verified};
use crate::honeybadger::message::{EpochMessage, HoneyBadgerMessage};
use crate::limits::REPEAT_INTERVAL_MS;

type TestNet = Net<KeyedGeneration>;

/// Crashes members at random points, tearing the records of their last step, and restarts them.
fn storm(net: &mut TestNet, crashes: usize, together: bool) {
    let n = net.members.len();
    for _ in 0..crashes {
        for me in net.everybody() {
            net.propose(me);
        }
        for _ in 0..net.wires.rng.random_range(0..60 * n) {
            net.deliver();
        }
        if net.wires.chance(8) {
            let who = NodeIndex(net.wires.rng.random_range(0..n) as u16);
            net.tear = Some((who, net.wires.rng.random_range(0..5)));
            for _ in 0..10 * n {
                net.deliver();
            }
            net.tear = None;
        }
        let mut down: Vec<NodeIndex> = net.everybody();
        if !together {
            let keep = net.wires.rng.random_range(0..n);
            down.retain(|member| member.get() != keep && member.get() % 2 == keep % 2);
        }
        for me in &down {
            net.crash(*me);
        }
        if net.wires.chance(8) {
            net.wires.flying.clear();
        }
        for me in net.everybody() {
            if net.members[me.get()].core.is_none() {
                net.start(me);
            }
        }
    }
}

#[test]
fn crashes_of_some_members() {
    for (n, seeds) in [(2, 60), (3, 40), (4, 200), (7, 30), (10, 4)] {
        for seed in 0..seeds {
            let mut net = Net::of(n, 4, seed);
            storm(&mut net, 6, false);
            net.run();
            net.check();
        }
    }
}

#[test]
fn crashes_of_all_members_at_once() {
    for (n, seeds) in [(1, 30), (2, 60), (3, 40), (4, 200), (7, 30), (10, 4)] {
        for seed in 0..seeds {
            let mut net = Net::of(n, 4, 1_000 + seed);
            storm(&mut net, 5, true);
            net.run();
            net.check();
        }
    }
}

/// A crash of all after every single delivery of an epoch.
#[test]
fn a_crash_of_all_after_every_message() {
    for n in [1, 2, 4] {
        let mut points = 0;
        for point in 0.. {
            let mut net = Net::of(n, 1, 77);
            net.wires.twice = 0;
            for me in net.everybody() {
                net.propose(me);
            }
            for _ in 0..point {
                if !net.finished() {
                    net.deliver();
                }
            }
            let over = net.finished();
            for me in net.everybody() {
                net.crash(me);
            }
            net.wires.flying.clear();
            for me in net.everybody() {
                net.start(me);
            }
            net.run();
            net.check();
            points = point;
            if over {
                break;
            }
        }
        assert!(points >= 10 * (n - 1), "{points} crash points of {n} members");
    }
}

/// A decision is the same whether or not its makers crashed on the way: one member decides, all
/// crash, and the others still reach it.
#[test]
fn what_one_member_decided_all_decide() {
    let mut early = 0;
    for seed in 0..150 {
        let mut net = Net::of(4, 1, seed);
        net.wires.traitors.insert(
            NodeIndex(3),
            Box::new(|_, to, message, _| {
                // A traitor that helps one member only.
                if to == NodeIndex(0) { vec![message] } else { Vec::new() }
            }),
        );
        for me in net.everybody() {
            net.propose(me);
        }
        while net.members[0].decisions.is_empty() && net.deliver() {}
        early += usize::from(net.members[1].decisions.is_empty());
        for me in net.everybody() {
            net.crash(me);
        }
        net.wires.flying.clear();
        net.wires.traitors.insert(NodeIndex(3), Box::new(|_, _, _, _| Vec::new()));
        for me in net.everybody() {
            net.start(me);
        }
        net.run();
        net.check();
    }
    assert!(early > 50, "member 0 decided before the others in {early} runs");
}

/// The replica names the first epoch whose decision it did not keep. A member goes back to it, as
/// far as its notes reach, and never to an epoch whose notes are gone.
#[test]
fn a_restart_goes_back_no_further_than_the_notes() {
    let mut net = Net::of(4, 6, 9);
    net.run();
    for me in net.everybody() {
        net.crash(me);
    }
    let voted = |key: &[u8]| Epoch(u64::from_be_bytes(*key.first_chunk().unwrap()));
    let votes = net.members[2].disk.votes(Topic::Vote);
    let last = votes.iter().map(|(key, _)| voted(key)).max().unwrap();
    let decisions = std::mem::take(&mut net.member(NodeIndex(2)).decisions);
    net.start(NodeIndex(2));
    let oldest = Epoch(last.0.saturating_sub(crate::limits::PAST_EPOCHS));
    assert_eq!(net.members[2].core.as_ref().unwrap().epoch(), oldest.max(Epoch(10)));
    assert!(decisions.len() >= 6);
}

/// Votes of another view are nobody's: they neither bind nor stay.
#[test]
fn votes_of_an_earlier_view_are_removed() {
    let mut net = Net::of(4, 2, 4);
    net.run();
    let me = NodeIndex(1);
    net.crash(me);
    let view = quorate_ledger::ids::ViewNumber(4);
    net.view =
        std::sync::Arc::new(quorate_ledger::view::View { number: view, ..(*net.view).clone() });
    assert!(!net.members[1].disk.votes(Topic::Vote).is_empty());
    net.member(me).decisions.clear();
    net.start(me);
    assert_eq!(net.members[1].core.as_ref().unwrap().epoch(), Epoch(10));
    assert!(net.members[1].disk.votes(Topic::Vote).is_empty());
}

/// A member that went past an epoch, restarted and so lost the votes of others in it, asks a member
/// that is behind to say them again: the laggard's coin may depend on the answer.
#[test]
fn laggards_are_asked_back() {
    let mut net = Net::of(4, 1, 3);
    net.run();
    let (past, behind) = (NodeIndex(0), NodeIndex(1));
    net.crash(past);
    net.wires.flying.clear();
    net.start(past);
    net.wires.flying.clear();
    let ask = Event::Resend { to: behind, from: Epoch(10) };
    let asked_back = |net: &TestNet| {
        net.wires.flying.iter().any(|(from, to, message)| {
            (*from, *to, &message.body) == (past, behind, &EpochMessage::Again)
        })
    };
    net.act(past, ask.clone());
    assert!(asked_back(&net));
    assert!(net.wires.flying.len() > 20, "and it says all it said");
    net.wires.flying.clear();
    let again = HoneyBadgerMessage { epoch: Epoch(10), body: EpochMessage::Again };
    for (wait, answered) in [(0, true), (REPEAT_INTERVAL_MS - 1, false), (1, true)] {
        net.wires.flying.clear();
        net.env.now = net.env.now.after(wait);
        net.act(behind, Event::Receive(past, Verified::assume(again.clone())));
        assert_eq!(!net.wires.flying.is_empty(), answered, "after {wait} ms");
        assert!(net.wires.flying.iter().all(|(_, to, _)| *to == past));
    }
    for other in [2, 3] {
        net.act(NodeIndex(other), Event::Receive(past, Verified::assume(again.clone())));
    }
    while net.deliver() {}
    net.act(past, ask);
    assert!(!asked_back(&net), "nothing is outstanding any more");
}

/// A replica may keep decisions back (behind an uncertified block) and lose them in a crash. The
/// members go back to them and decide the same again, also if all crash.
#[test]
fn lost_decisions_are_made_again() {
    for (n, seeds) in [(1, 10), (2, 40), (4, 120), (7, 15)] {
        for seed in 0..seeds {
            let mut net = Net::of(n, 6, seed);
            net.epochs = 4;
            net.run();
            net.epochs = 6;
            for me in net.everybody() {
                net.propose(me);
            }
            for _ in 0..net.wires.rng.random_range(0..100 * n) {
                net.deliver();
            }
            let mut before = Vec::new();
            for me in net.everybody() {
                net.crash(me);
                let lost = net.wires.rng.random_range(0..=2);
                let known = net.members[me.get()].decisions.len();
                before.push(net.members[me.get()].decisions.clone());
                net.member(me).decisions.truncate(known - lost);
            }
            net.wires.flying.clear();
            for me in net.everybody() {
                net.start(me);
            }
            net.run();
            net.check();
            for (member, before) in net.members.iter().zip(before) {
                let common = before.len().min(member.decisions.len());
                assert_eq!(member.decisions[..common], before[..common], "n {n} seed {seed}");
            }
        }
    }
}
