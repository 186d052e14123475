//! Limits, order, timers and drawing.

use quorate_ledger::ids::GroupId;
use quorate_ledger::proto::Trx;
use quorate_ledger::trx::TrxType;
use rand_core::{Rng as _, SeedableRng as _};

use super::*;
use crate::testing::{START, member};
use prost::Message as _;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn lot(me: u16, n: u16) -> Lot {
    Lot { me, n, epoch: 7 }
}

fn make(number: u64, size: usize, expires: i64) -> (TrxId, CheckedTrx) {
    let id = TrxId(uuid::Builder::from_random_bytes(u128::from(number).to_be_bytes()).into_uuid());
    let group = GroupId(uuid::Uuid::nil());
    let data = vec![7; size];
    let trx: Trx = trx::build(&member(1), group, TrxType::Post, data, id, 1, expires);
    let bytes = trx.encode_to_vec().into();
    (id, CheckedTrx { trx, bytes })
}

fn small(trxs: usize, bytes: usize) -> Pool {
    Pool::new(PoolLimits { trxs, bytes })
}

#[test]
fn an_accepted_trx_is_never_evicted() {
    let mut pool = small(8, 1 << 20);
    for number in 0..8 {
        let (id, trx) = make(number, 10, 0);
        assert_eq!(pool.add_own(START, id, trx), Ok(Added::New));
    }
    let (id, trx) = make(8, 10, 0);
    assert_eq!(pool.add_own(START, id, trx.clone()), Err(PoolFull));
    assert_eq!(pool.add_gossiped(START, id, trx), Err(PoolFull));
    assert_eq!(pool.len(), 8);
    let (id, trx) = make(3, 10, 0);
    assert_eq!(pool.add_own(START, id, trx), Ok(Added::Known), "no room needed for what is there");
    assert_eq!(pool.own().count(), 8);
}

#[test]
fn others_take_three_quarters_at_most() {
    let mut pool = small(8, 1 << 20);
    let mut taken = 0;
    for number in 0..8 {
        let (id, trx) = make(number, 10, 0);
        taken += usize::from(pool.add_gossiped(START, id, trx).is_ok());
    }
    assert_eq!(taken, 6);
    for number in 10..12 {
        let (id, trx) = make(number, 10, 0);
        assert_eq!(pool.add_own(START, id, trx), Ok(Added::New), "room for own clients");
    }
    assert_eq!(pool.len(), 8);
}

#[test]
fn bytes_are_bounded_too() {
    let mut pool = small(100, 4_000);
    let mut taken = 0;
    for number in 0..10 {
        let (id, trx) = make(number, 800, 0);
        taken += usize::from(pool.add_own(START, id, trx).is_ok());
    }
    assert!(pool.bytes() <= 4_000);
    assert_eq!(taken, pool.len());
    let ids: Vec<_> = pool.own().copied().collect();
    for id in ids {
        assert!(pool.remove(&id));
    }
    assert_eq!((pool.len(), pool.bytes(), pool.wake()), (0, 0, None));
    assert!(!pool.remove(&make(1, 1, 0).0), "removing twice does nothing");
}

#[test]
fn a_gossiped_trx_can_become_own_and_keeps_its_place() {
    let mut pool = small(8, 1 << 20);
    for number in 0..3 {
        let (id, trx) = make(number, 10, 0);
        assert_eq!(pool.add_gossiped(START, id, trx), Ok(Added::New));
    }
    let (id, trx) = make(1, 10, 0);
    assert_eq!(pool.add_own(START, id, trx.clone()), Ok(Added::New));
    assert!(pool.is_own(&id));
    assert_eq!(pool.select(&mut rng(), lot(0, 4), 0)[1], trx.bytes, "second still");
    pool.clear_gossiped();
    assert_eq!(pool.len(), 1);
}

#[test]
fn a_newer_signing_of_the_sender_replaces_the_older() {
    let mut pool = small(8, 1 << 20);
    let (id, trx) = make(1, 10, 5);
    let group = GroupId(uuid::Uuid::nil());
    let sign = |key, stamp| {
        let data = trx.trx.data.clone();
        let trx = trx::build(&member(key), group, TrxType::Post, data, id, stamp, 0);
        let bytes: Arc<[u8]> = trx.encode_to_vec().into();
        CheckedTrx { trx, bytes }
    };
    let (newer, stranger) = (sign(1, 9), sign(2, 10));
    pool.add_gossiped(START, id, trx.clone()).expect("room");
    assert_eq!(pool.add_gossiped(START, id, stranger), Ok(Added::Known), "another sender");
    assert!(pool.has_bytes(&id, &trx.bytes));
    assert_eq!(pool.add_gossiped(START, id, newer.clone()), Ok(Added::New));
    assert!(pool.has_bytes(&id, &newer.bytes));
    assert_eq!(pool.add_gossiped(START, id, trx), Ok(Added::Known), "older");
    assert!(pool.has_bytes(&id, &newer.bytes));
}

#[test]
fn own_trxs_are_sent_again_with_growing_pauses() {
    let mut pool = small(8, 1 << 20);
    let (id, trx) = make(1, 10, 0);
    pool.add_own(START, id, trx.clone()).expect("room");
    let mut times = Vec::new();
    while times.len() < 7 {
        let at = pool.wake().expect("an own trx has a timer");
        assert_eq!(pool.due(Time(at.0 - 1)), None);
        assert_eq!(pool.due(at), Some(Due::Resend(trx.clone())));
        assert_eq!(pool.due(at), None);
        times.push(at.0 - START.0);
    }
    assert_eq!(times, [2_000, 4_000, 8_000, 16_000, 32_000, 62_000, 92_000]);
}

#[test]
fn an_own_trx_is_due_when_it_expires() {
    let mut pool = small(8, 1 << 20);
    let expires = i64::try_from(START.0 + 5_000).expect("fits") * 1_000_000;
    let (id, trx) = make(1, 10, expires);
    pool.restore(START, id, trx);
    assert!(matches!(pool.due(START), Some(Due::Resend(_))), "at once after a restart");
    pool.due(START.after(2_000));
    assert_eq!(pool.wake(), Some(START.after(5_001)));
}

#[test]
fn gossiped_trxs_are_dropped_in_the_end() {
    let mut pool = small(8, 1 << 20);
    let (id, trx) = make(1, 10, 0);
    pool.add_gossiped(START, id, trx).expect("room");
    let at = pool.wake().expect("it has a timer");
    assert_eq!(at, START.after(POOL_VOLATILE_MS));
    assert_eq!(pool.due(at), Some(Due::Dropped(id)));
    assert!(pool.is_empty());
}

#[test]
fn little_is_proposed_whole_much_is_drawn() {
    let mut pool = Pool::new(PoolLimits::default());
    for number in 0..1_000 {
        let (id, trx) = make(number, 200, 0);
        pool.add_own(START, id, trx).expect("room");
    }
    let mut proposed = std::collections::BTreeMap::new();
    for me in 0..10 {
        let drawn = pool.select(&mut rng(), lot(me, 10), 0);
        assert!(drawn.len() > 100 && drawn.len() < 250, "{} of 1,000", drawn.len());
        for bytes in drawn {
            *proposed.entry(bytes).or_insert(0) += 1;
        }
    }
    assert_eq!(proposed.len(), 1_000, "together they propose all of it");
    assert!(proposed.values().sum::<usize>() < 1_800, "and little of it twice");
    let (one, next) = (lot(3, 10), Lot { epoch: 8, ..lot(3, 10) });
    assert_ne!(pool.select(&mut rng(), one, 0), pool.select(&mut rng(), next, 0));
    assert_ne!(
        pool.select(&mut rng(), one, 0),
        pool.select(&mut ChaCha20Rng::seed_from_u64(2), one, 0),
        "what falls to others is drawn at random"
    );
    let mut few = Pool::new(PoolLimits::default());
    for number in 0..50 {
        let (id, trx) = make(number, 200, 0);
        few.add_own(START, id, trx).expect("room");
    }
    assert_eq!(few.select(&mut rng(), lot(0, 10), 0).len(), 50, "little is proposed whole");
}

#[test]
fn the_window_is_bounded_and_skips_what_has_expired() {
    let mut pool = Pool::new(PoolLimits::default());
    for number in 0..6_000 {
        let (id, trx) = make(number, 20, if number == 0 { 10 } else { 0 });
        pool.add_own(START, id, trx).expect("room");
    }
    let all = pool.select(&mut rng(), lot(0, 1), 20);
    let bytes: usize = all.iter().map(|trx| trx.len()).sum();
    assert!(all.len() <= WINDOW_TRXS && bytes <= WINDOW_BYTES);
    assert!(!all.contains(&make(0, 20, 10).1.bytes), "the first has expired");
    let mut big = Pool::new(PoolLimits::default());
    let mut data = vec![0; 700 * 1024];
    rng().fill_bytes(&mut data);
    let (id, trx) = make(1, data.len(), 0);
    big.add_own(START, id, trx).expect("room");
    let (id, trx) = make(2, data.len(), 0);
    big.add_own(START, id, trx).expect("room");
    assert_eq!(big.select(&mut rng(), lot(0, 1), 0).len(), 1, "one always goes");
}

#[test]
fn notes_are_read_back() {
    let (id, trx) = make(1, 10, 0);
    assert_eq!(read_note(id.0.as_bytes(), &trx.bytes), Some((id, trx.clone())));
    assert_eq!(read_note(&[0; 16], &trx.bytes), None, "under another id");
    assert_eq!(read_note(id.0.as_bytes(), &Arc::from([1, 2, 3])), None);
}
