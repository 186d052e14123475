use proptest::prelude::*;

use super::super::test_support::Service;
use super::*;

#[test]
fn names_have_one_spelling() {
    for text in ["ledger_1", "ledger_15-28", "ledger_1-14.committed", "ledger_7-7.committed"] {
        let name: ChunkName = text.parse().unwrap();
        assert_eq!(name.to_string(), text);
    }
    let wrong = [
        "",
        "ledger",
        "ledger_",
        "ledger_0",
        "ledger_01",
        "ledger_2-1",
        "ledger_1.committed",
        "ledger_1-2.committed.recovery",
        "ledger_1-2.ignored",
        "ledger_1-+2",
        "ledger_1-2-3",
        "Ledger_1",
        "ledger_1-2.committed.committed",
        "ledger_ 1",
        "ledger_99999999999999999999",
    ];
    for text in wrong {
        assert_eq!(text.parse::<ChunkName>(), Err(NameError), "{text}");
    }
    for text in ["snapshot_18_22", "snapshot_18_22.committed"] {
        let name: SnapshotName = text.parse().unwrap();
        assert_eq!(name.to_string(), text);
    }
    for text in ["snapshot_18", "snapshot_0_1", "snapshot_5_5", "snapshot_6_5", "snapshot_a_b"] {
        assert_eq!(text.parse::<SnapshotName>(), Err(NameError), "{text}");
    }
}

fn sample() -> Service {
    Service::found(1, 1_700_000_000_000)
}

#[test]
fn a_chunk_is_read_back() {
    let service = sample();
    let all: Vec<&[u8]> = service.entries.iter().map(|entry| &entry[..]).collect();
    let complete = chunk(all.iter().copied()).unwrap();
    assert_eq!(entries(&complete), Ok((all.clone(), true)));
    let end = complete.len() - 4 * all.len();
    assert_eq!(complete[..8], (end as u64).to_le_bytes());
    assert_eq!(complete[end..end + 4], 8u32.to_le_bytes());
    let mut open = complete[..end].to_vec();
    open[..8].fill(0);
    assert_eq!(entries(&open), Ok((all.clone(), false)));
    open.resize(open.len() + 4096, 0);
    assert_eq!(entries(&open), Ok((all.clone(), false)), "zeroed ahead");
    *open.last_mut().unwrap() = 1;
    assert_eq!(entries(&open), Err(ChunkError::Left(end)));
    assert_eq!(entries(&[0; 8]), Ok((Vec::new(), false)));
    let torn = &complete[..end - 1];
    let torn = [&[0; 8], &torn[8..]].concat();
    assert!(matches!(entries(&torn), Err(ChunkError::Entry { error: EntryError::Truncated, .. })));
}

#[test]
fn chunks_that_are_none_are_refused() {
    let service = sample();
    let good = chunk(service.entries.iter().map(|entry| &entry[..])).unwrap();
    assert_eq!(entries(&[]), Err(ChunkError::Length(0)));
    let end = good.len() - 4 * service.entries.len();
    for at in (0..8).chain(end..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(entries(&bad).is_err(), "byte {at}");
    }
    assert!(entries(&good[..good.len() - 1]).is_err());
    assert!(entries(&[&good[..], &[0; 4]].concat()).is_err());
    assert!(entries(&8u64.to_le_bytes()).is_err(), "complete, but empty");
}

proptest! {
    #[test]
    fn any_bytes_are_a_chunk_or_refused(
        offset in 0u64..40, tail in prop::collection::vec(0u8..3, 0..120),
    ) {
        let _ = entries(&tail);
        let _ = entries(&[&offset.to_le_bytes()[..], &tail].concat());
    }

    #[test]
    fn any_text_is_a_name_or_refused(text in "(ledger|snapshot)_[0-9_.a-z-]{0,12}") {
        if let Ok(name) = text.parse::<ChunkName>() {
            prop_assert_eq!(name.to_string(), &text[..]);
        }
        if let Ok(name) = text.parse::<SnapshotName>() {
            prop_assert_eq!(name.to_string(), &text[..]);
        }
    }
}
