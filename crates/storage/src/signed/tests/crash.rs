//! Crashes and errors at every single call of a history, and of the recovery after it.

use super::*;

/// One thing that happens to a log.
enum Act {
    Append(Vec<LogRecord>),
    Commit(u64),
}

/// Chunks that end by either flag, truncations out of and into complete chunks alone and with
/// entries, votes, commits, and enough bytes for several checkpoints.
fn history() -> Vec<Act> {
    let run = |from: u64, to: u64, view: u64, ends: u64| -> Vec<LogRecord> {
        let flags = |seqno: u64| u8::from(seqno.is_multiple_of(ends));
        (from..=to).map(|seqno| framed(seqno, view, flags(seqno), 60)).collect()
    };
    let truncate = |after| LogRecord::Truncate { after };
    let with = |first: LogRecord, rest: Vec<LogRecord>| [vec![first], rest].concat();
    vec![
        Act::Append(with(vote(2, "a"), run(1, 1, 2, 9))),
        Act::Append(run(2, 7, 2, 4)),
        Act::Commit(4),
        Act::Append(run(8, 14, 2, 4)),
        // Into a complete chunk, and on at once.
        Act::Append(with(truncate(9), run(10, 13, 3, 6))),
        Act::Append(vec![vote(4, "b")]),
        // A chunk begins because of its first entry; then that entry goes.
        Act::Append(vec![framed(14, 4, 2, 70), framed(15, 4, 0, 30)]),
        Act::Append(vec![truncate(13)]),
        Act::Append(run(14, 30, 5, 5)),
        Act::Commit(15),
        Act::Append(vec![framed(31, 5, 2, 70), framed(32, 5, 3, 30), framed(33, 5, 1, 30)]),
        // To the very end of a complete chunk.
        Act::Append(vec![truncate(25), vote(6, "a")]),
        Act::Append(run(26, 40, 6, 5)),
        Act::Commit(40),
        Act::Append(run(41, 42, 6, 50)),
    ]
}

fn finished() -> (Model, u64) {
    let (mut model, mut calls) = (Model::default(), 0);
    for act in history() {
        calls += 1;
        match act {
            Act::Append(records) => model = model.after(&records),
            Act::Commit(commit) => model.commit = commit,
        }
    }
    (model, calls)
}

/// Runs the history from act `from` on; the first act that failed.
fn run(log: &mut SignedLog<MemDisk>, model: &mut Model, from: usize) -> Option<usize> {
    for (at, act) in history().into_iter().enumerate().skip(from) {
        match act {
            Act::Append(records) => {
                if let Err(error) = log.append(&records) {
                    assert!(matches!(error, StoreError::Disk(_)), "{error}");
                    return Some(at);
                }
                *model = model.after(&records);
            }
            Act::Commit(commit) => {
                model.commit = commit;
                log.note_commit(commit);
            }
        }
    }
    None
}

fn changes_of_history() -> u64 {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    assert_eq!(run(&mut log, &mut Model::default(), 0), None);
    assert!(log.stats().checkpoints >= 1, "the history has a checkpoint: {:?}", log.stats());
    disk.changes()
}

/// Opens after a crash, with another crash at call `again` of the recovery.
fn reopen(
    disk: &MemDisk,
    rng: &mut ChaCha20Rng,
    again: Option<u64>,
) -> (SignedLog<MemDisk>, Recovered) {
    disk.crash(rng);
    if let Some(again) = again {
        disk.fault(again, Fault::Crash);
        match open(disk, 3) {
            Ok(_) | Err(OpenError::Disk(_)) => {}
            Err(error) => panic!("the recovery that is to crash: {error}"),
        }
        disk.crash(rng);
    }
    open(disk, 4).expect("the second recovery succeeds")
}

fn crash_at(call: u64, again: Option<u64>, seed: u64) {
    let (mut rng, disk) = (rng(seed), MemDisk::default());
    disk.fault(call, Fault::Crash);
    let mut model = Model::default();
    let context = format!("crash at {call}, again {again:?}, seed {seed}");
    let mut next = match open(&disk, 1) {
        Ok((mut log, _)) => run(&mut log, &mut model, 0),
        Err(OpenError::Disk(_)) => Some(0),
        Err(error) => panic!("{context}: {error}"),
    };
    let (mut log, recovered) = reopen(&disk, &mut rng, again);
    if !model.is(&log, &recovered) {
        // The append that failed was there all the same.
        let at = next.expect("all was acknowledged");
        let Act::Append(records) = &history()[at] else { panic!("{context}: {recovered:?}") };
        model = model.after(records);
        assert!(model.is(&log, &recovered), "{context}: {recovered:?}");
        next = Some(at + 1);
    }
    log.note_commit(model.commit.max(recovered.commit_idx));
    if let Some(next) = next {
        assert_eq!(run(&mut log, &mut model, next), None, "{context}");
    }
    let (expected, _) = finished();
    log.append(&[vote(expected.view, "a")]).expect("a good disk");
    assert_eq!(ledger(&disk), expected.files(40), "{context}");
}

#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged() {
    for call in 0..changes_of_history() {
        for seed in 0..12 {
            crash_at(call, None, call * 100 + seed);
        }
    }
}

#[test]
fn a_crash_at_any_call_of_the_recovery_loses_nothing_either() {
    for call in (0..changes_of_history()).step_by(3) {
        for again in 0..30 {
            crash_at(call, Some(again), call * 100 + again);
        }
    }
}

#[test]
fn what_failed_is_appended_again() {
    for fault in [Fault::Full, Fault::Error] {
        for call in 0..changes_of_history() {
            let disk = MemDisk::default();
            disk.fault(call, fault);
            let opened = open(&disk, 1).or_else(|_| open(&disk, 1));
            let (mut log, _) = opened.expect("one fault only");
            let mut model = Model::default();
            if let Some(at) = run(&mut log, &mut model, 0) {
                assert!(model.reads_as(&log), "{fault:?} at {call}: memory is as it was");
                assert_eq!(run(&mut log, &mut model, at), None, "{fault:?} at {call}");
            }
            assert!(model.reads_as(&log), "{fault:?} at {call}");
            // A disk that becomes full after the last write.
            disk.no_fault();
            let (expected, _) = finished();
            log.append(&[vote(expected.view, "a")]).expect("a good disk");
            assert_eq!(ledger(&disk), expected.files(40), "{fault:?} at {call}");
            disk.crash(&mut rng(call));
            let (log, recovered) = open(&disk, 2).expect("opens");
            assert!(expected.is(&log, &recovered), "{fault:?} at {call}");
        }
    }
}

#[test]
fn a_full_disk_stops_the_chunk_files_first_and_then_appends() {
    let disk = MemDisk::default();
    let (mut log, _) = open(&disk, 1).expect("opens");
    let mut model = Model::default();
    let mut refused = 0;
    for seqno in 1..=400 {
        let records = [framed(model.last() + 1, 2, u8::from(seqno % 10 == 0), 60)];
        disk.full_for("ledger/");
        match log.append(&records) {
            Ok(()) => model = model.after(&records),
            Err(error) => {
                assert!(matches!(error, StoreError::Disk(_)), "{error}");
                refused += 1;
            }
        }
        assert!(model.reads_as(&log));
    }
    let stats = log.stats();
    assert!(refused > 0 && model.last() > 20, "{stats:?}");
    assert_eq!(stats.unwritten, model.last(), "all of it is in memory and in the journal");
    assert!(stats.journal_bytes < 6 * 6400, "and that is bounded: {stats:?}");
    disk.full_for("nothing");
    log.append(&[vote(3, "a")]).expect("there is room");
    assert_eq!(ledger(&disk), model.files(0));
}
