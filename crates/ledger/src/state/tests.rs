use proptest::prelude::*;

use super::*;
use crate::test_support::check_codec;

fn put(set: &mut WriteSet, map: &str, key: &str, value: &str) {
    set.put(map, key, value.as_bytes()).unwrap();
}

fn sample() -> WriteSet {
    let mut set = WriteSet::new();
    put(&mut set, "b", "2", "two");
    put(&mut set, "a", "1", "one");
    put(&mut set, "b", "1", "");
    set.delete("c", "gone").unwrap();
    set
}

#[test]
fn a_write_set_is_in_canonical_order_and_the_last_write_counts() {
    let mut other = WriteSet::new();
    other.delete("c", "gone").unwrap();
    put(&mut other, "b", "1", "first");
    put(&mut other, "b", "1", "");
    put(&mut other, "a", "1", "one");
    other.delete("b", "2").unwrap();
    assert_ne!(other.digest(), sample().digest());
    put(&mut other, "b", "2", "two");
    assert_eq!(other, sample());
    assert_eq!(other.digest(), sample().digest());
    assert_eq!(other.len(), 4);
    let order: Vec<_> = other.iter().map(|(map, key, value)| (map, key, value.is_some())).collect();
    let expected: [(&str, &[u8], bool); 4] =
        [("a", b"1", true), ("b", b"1", true), ("b", b"2", true), ("c", b"gone", false)];
    assert_eq!(order, expected);
    assert_ne!(WriteSet::new().digest(), State::new().digest());
}

#[test]
fn a_delete_and_an_empty_value_differ() {
    let mut deleted = WriteSet::new();
    deleted.delete("m", "k").unwrap();
    let mut emptied = WriteSet::new();
    put(&mut emptied, "m", "k", "");
    assert_ne!(deleted.digest(), emptied.digest());
    assert_eq!(deleted.get("m", b"k"), Some(None));
    assert_eq!(deleted.get("m", b"other"), None);
}

#[test]
fn equal_contents_are_equal_states() {
    let mut state = State::new();
    state.apply(&sample());
    assert_eq!(state.get("b", b"2").map(AsRef::as_ref), Some(b"two".as_slice()));
    assert_eq!(state.maps().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((state.len("b"), state.len("none")), (2, 0));
    let before = state.clone();
    let mut more = WriteSet::new();
    put(&mut more, "d", "1", "x");
    state.apply(&more);
    assert_ne!(state.digest(), before.digest());
    let mut less = WriteSet::new();
    less.delete("d", "1").unwrap();
    state.apply(&less);
    assert_eq!(state, before);
    assert_eq!(state.digest(), before.digest());
    assert!(State::new().is_empty());
}

#[test]
fn snapshots_and_write_sets_have_one_encoding() {
    let mut state = State::new();
    state.apply(&sample());
    check_codec(&state);
    check_codec(&sample());
    check_codec(&State::new());
    check_codec(&WriteSet::new());
}

#[test]
fn too_long_writes_are_refused() {
    let mut set = WriteSet::new();
    let long = vec![0; MAX_VALUE + 1];
    let what = |result: Result<(), WriteError>| result.unwrap_err().what;
    assert_eq!(what(set.put("m", "k", long)), "value");
    assert_eq!(what(set.put("m", vec![0; MAX_KEY + 1], b"".as_slice())), "key");
    assert_eq!(what(set.delete(&"m".repeat(MAX_MAP_NAME + 1), "k")), "map name");
    assert!(set.is_empty());
    for number in 0..MAX_WRITES as u32 {
        set.delete("m", number.to_be_bytes()).unwrap();
    }
    assert_eq!(what(set.delete("n", "k")), "write set");
    set.put("m", 7_u32.to_be_bytes(), b"rewritten".as_slice()).unwrap();
    assert_eq!(set.len(), MAX_WRITES);
}

#[test]
fn a_view_reads_its_own_writes() {
    let mut state = State::new();
    state.apply(&sample());
    let mut view = StateView::new(&state);
    view.delete("b", "1").unwrap();
    view.put("b", "15", b"new".as_slice()).unwrap();
    view.put("b", "2", b"TWO".as_slice()).unwrap();
    view.put("b", "3", b"three".as_slice()).unwrap();
    let entries = |from: &str| -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        view.iter_from("b", from.as_bytes()).map(|(k, v)| (text(k), text(v))).collect()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(entries(""), [pair("15", "new"), pair("2", "TWO"), pair("3", "three")]);
    assert_eq!(entries("2"), [pair("2", "TWO"), pair("3", "three")]);
    assert_eq!(view.get("b", b"1"), None);
    assert_eq!(view.get("a", b"1").map(AsRef::as_ref), Some(b"one".as_slice()));
    assert_eq!(view.writes().len(), 4);
}

type Op = (u8, u8, Option<u8>);

fn write(view: &mut StateView<'_>, (map, key, value): Op) {
    let map = format!("m{}", map % 3);
    match value {
        Some(value) => view.put(&map, [key % 8], [value].as_slice()).unwrap(),
        None => view.delete(&map, [key % 8]).unwrap(),
    }
}

proptest! {
    #[test]
    fn an_overlay_reads_as_the_applied_state(
        first in proptest::collection::vec(any::<Op>(), 0..30),
        second in proptest::collection::vec(any::<Op>(), 0..30),
        from in 0..9_u8,
    ) {
        let mut base = State::new();
        let empty = base.clone();
        let mut view = StateView::new(&empty);
        first.into_iter().for_each(|op| write(&mut view, op));
        base.apply(&view.into_writes());
        let mut view = StateView::new(&base);
        second.into_iter().for_each(|op| write(&mut view, op));
        let mut applied = base.clone();
        applied.apply(view.writes());
        for map in ["m0", "m1", "m2", "none"] {
            let overlay: Vec<_> = view.iter_from(map, &[from]).collect();
            let plain: Vec<_> = applied.iter_from(map, &[from]).collect();
            prop_assert_eq!(overlay, plain);
            for key in 0..8 {
                prop_assert_eq!(view.get(map, &[key]), applied.get(map, &[key]));
            }
        }
        prop_assert_eq!(State::from_bytes(&applied.to_bytes()), Ok(applied.clone()));
        let set = view.into_writes();
        prop_assert_eq!(WriteSet::from_bytes(&set.to_bytes()), Ok(set.clone()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let versioned = [&[crate::codec::VERSION], bytes.as_slice()].concat();
        if let Ok(state) = State::from_bytes(&versioned) {
            prop_assert_eq!(state.to_bytes(), versioned.clone());
        }
        if let Ok(set) = WriteSet::from_bytes(&versioned) {
            prop_assert_eq!(set.to_bytes(), versioned);
        }
    }
}
