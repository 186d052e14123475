//! Whom to ask, when, for how much.

use super::*;
use crate::testing::{START, peer};

const HEAD: BlockId = BlockId(10);

/// Past the first question to somebody.
fn quiet() -> Catchup {
    let mut catchup = Catchup::new(START);
    catchup.progress(START, HEAD);
    catchup
}

#[test]
fn somebody_is_asked_at_first_and_then_from_time_to_time() {
    let mut catchup = Catchup::new(START);
    let question = catchup.tick(START, HEAD).expect("at once");
    assert_eq!(question, Question { to: Address::Somebody, from: BlockId(11), max: FETCH_START });
    assert_eq!(catchup.tick(START.after(1), HEAD), None, "one at a time");
    let later = catchup.wake(START);
    assert_eq!(catchup.tick(later, HEAD), None, "silence is no reason to hurry");
    let poll = catchup.wake(later);
    assert_eq!(poll, START.after(POLL_MS));
    assert!(catchup.tick(poll, HEAD).is_some());
}

/// The first question of a node goes out before anybody is there to hear it.
#[test]
fn who_comes_or_claims_is_asked_in_place_of_somebody() {
    let mut catchup = Catchup::new(START);
    catchup.tick(START, HEAD).expect("somebody");
    catchup.met(&peer(1), HEAD);
    let now = START.after(1);
    assert_eq!(catchup.wake(now), now);
    assert_eq!(catchup.tick(now, HEAD).expect("who came").to, Address::Peer(peer(1)));
    catchup.met(&peer(2), HEAD);
    catchup.claim(&peer(1), HEAD, HEAD);
    assert!(!catchup.syncing(), "one that is level, and nobody else was asked");

    let mut catchup = Catchup::new(START);
    catchup.tick(START, HEAD).expect("somebody");
    catchup.claim(&peer(3), BlockId(20), HEAD);
    assert_eq!(catchup.tick(now, HEAD).expect("its claim").to, Address::Peer(peer(3)));
}

/// A gossiped block further ahead tells where its sender is; it is no bad answer.
#[test]
fn gossip_further_ahead_is_no_answer_of_somebody() {
    let mut catchup = Catchup::new(START);
    catchup.tick(START, HEAD).expect("somebody");
    catchup.claim(&peer(1), BlockId(20), HEAD);
    catchup.answered(&peer(1), 0, false, HEAD);
    let question = catchup.tick(START, HEAD).expect("asks");
    assert_eq!((question.to, question.max), (Address::Peer(peer(1)), FETCH_START));
}

#[test]
fn the_highest_claim_is_fetched_and_answers_grow_the_batch() {
    let mut catchup = quiet();
    catchup.claim(&peer(1), BlockId(20), HEAD);
    catchup.claim(&peer(2), BlockId(90), HEAD);
    assert!(catchup.syncing());
    let question = catchup.tick(START, HEAD).expect("there are claims");
    assert_eq!(question.to, Address::Peer(peer(2)));
    catchup.answered(&peer(2), 16, false, BlockId(26));
    let question = catchup.tick(START, BlockId(26)).expect("there is more");
    assert_eq!((question.from, question.max), (BlockId(27), 2 * FETCH_START));
    catchup.answered(&peer(2), 64, false, BlockId(90));
    assert!(!catchup.syncing());
    assert_eq!(catchup.tick(START, BlockId(90)), None);
}

#[test]
fn silence_wrong_blocks_and_useless_answers_lose_the_claim() {
    let mut catchup = quiet();
    for liar in 1..=3 {
        catchup.claim(&peer(liar), BlockId(1_000 - liar as u64), HEAD);
    }
    catchup.claim(&peer(4), BlockId(11), HEAD);
    assert_eq!(catchup.tick(START, HEAD).expect("asks").to, Address::Peer(peer(1)));
    let late = catchup.wake(START);
    assert_eq!(late, START.after(FETCH_TIMEOUT_MS));
    let next = catchup.tick(late, HEAD).expect("asks the next");
    assert_eq!((next.to, next.max), (Address::Peer(peer(2)), FETCH_START / 2));
    catchup.answered(&peer(2), 0, true, HEAD);
    assert_eq!(catchup.tick(late, HEAD).expect("asks").to, Address::Peer(peer(3)));
    catchup.answered(&peer(3), 0, false, HEAD);
    assert_eq!(catchup.tick(late, HEAD).expect("asks").to, Address::Peer(peer(4)));
    catchup.answered(&peer(4), 1, false, BlockId(11));
    assert!(!catchup.syncing());
}

#[test]
fn a_peer_that_takes_its_claim_back_is_not_waited_for() {
    let mut catchup = quiet();
    catchup.claim(&peer(1), BlockId(50), HEAD);
    catchup.tick(START, HEAD).expect("asks");
    catchup.claim(&peer(1), HEAD, HEAD);
    assert!(!catchup.syncing());
    assert_eq!(catchup.wake(START), START.after(POLL_MS));
}

#[test]
fn claims_are_bounded_and_high_ones_stay() {
    let mut catchup = quiet();
    for index in 0..MAX_CLAIMS + 50 {
        catchup.claim(&peer(index), BlockId(100 + index as u64), HEAD);
    }
    assert_eq!(catchup.claims.len(), MAX_CLAIMS);
    catchup.claim(&peer(9_999), BlockId(11), HEAD);
    assert_eq!(catchup.claims.len(), MAX_CLAIMS, "a low claim pushes out nothing");
    let highest = peer(MAX_CLAIMS + 49);
    assert_eq!(catchup.tick(START, HEAD).expect("asks").to, Address::Peer(highest));
}

#[test]
fn gossip_of_others_does_not_end_a_fetch() {
    let mut catchup = quiet();
    catchup.claim(&peer(1), BlockId(50), HEAD);
    catchup.tick(START, HEAD).expect("asks");
    catchup.answered(&peer(2), 1, false, BlockId(11));
    assert_eq!(catchup.tick(START, BlockId(11)), None, "the answer is still on its way");
}

/// A liar that claims more than anybody, again and again, and answers with nothing or with wrong
/// blocks, is asked once; the others bring the node forward meanwhile.
#[test]
fn a_liar_does_not_keep_others_from_being_asked() {
    let (liar, honest) = (peer(1), peer(2));
    for answers in [false, true] {
        let mut catchup = quiet();
        let (mut now, mut head, mut asked_liar) = (START, HEAD, 0);
        while head < BlockId(1_000) {
            catchup.claim(&liar, BlockId(u64::MAX), head);
            catchup.claim(&honest, BlockId(1_000), head);
            let question = catchup.tick(now, head).expect("there are claims");
            if question.to == Address::Peer(honest.clone()) {
                head = BlockId(head.0 + u64::from(question.max));
                catchup.answered(&honest, question.max as usize, false, head);
                continue;
            }
            asked_liar += 1;
            assert!(asked_liar < 5, "held up at {head}");
            if answers {
                catchup.answered(&liar, 0, true, head);
            } else {
                now = catchup.wake(now);
                catchup.claim(&honest, BlockId(1_000), head);
                catchup.claim(&liar, BlockId(u64::MAX), head);
            }
        }
        assert!(asked_liar <= 2, "asked {asked_liar} times");
    }
}

/// A peer that gives one block at a time does not keep the fetch to itself.
#[test]
fn claimants_take_turns() {
    let mut catchup = quiet();
    let mut turns = Vec::new();
    for step in 0..4 {
        let head = BlockId(HEAD.0 + step);
        catchup.claim(&peer(1), BlockId(900), head);
        catchup.claim(&peer(2), BlockId(800), head);
        let question = catchup.tick(START, head).expect("asks");
        let Address::Peer(asked) = question.to else { panic!("nobody in particular is asked") };
        catchup.answered(&asked, 1, false, head.next());
        turns.push(asked);
    }
    assert_eq!(turns, [peer(1), peer(2), peer(1), peer(2)]);
}
