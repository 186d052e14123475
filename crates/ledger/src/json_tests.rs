use serde::Deserialize;

use super::*;

#[derive(Deserialize, PartialEq, Debug, Default)]
#[serde(default)]
struct Outer {
    agreement_tick_length: u64,
    memo: String,
    list: Vec<Inner>,
    inner: Option<Inner>,
    kind: Option<Kind>,
}

#[derive(Deserialize, PartialEq, Debug, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Inner {
    group_id: String,
    #[serde(with = "decimal_i64")]
    time_stamp: i64,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Poa,
}

fn read(text: &str) -> Outer {
    from_slice_insensitive(text.as_bytes()).unwrap()
}

#[test]
fn keys_match_in_any_case_at_any_depth() {
    let read = read(
        r#"{"Agreement_Tick_LENGTH": 5, "MEMO": "a", "unknown": {"x": [1]}, "kind": "poa",
            "List": [{"groupid": "g", "TIMESTAMP": "7"}], "Inner": {"GROUPID": "h"}}"#,
    );
    let expected = Outer {
        agreement_tick_length: 5,
        memo: "a".to_owned(),
        list: vec![Inner { group_id: "g".to_owned(), time_stamp: 7 }],
        inner: Some(Inner { group_id: "h".to_owned(), time_stamp: 0 }),
        kind: Some(Kind::Poa),
    };
    assert_eq!(read, expected);
}

#[test]
fn the_exact_spelling_wins_and_null_is_absent() {
    assert_eq!(read(r#"{"MEMO": "b", "memo": "a", "Memo": "c"}"#).memo, "a");
    assert_eq!(read(r#"{"MEMO": "b", "Memo": "c"}"#).memo, "c");
    assert_eq!(read(r#"{"memo": null, "inner": null, "list": null}"#), Outer::default());
    assert_eq!(read(r#"{"memo": null, "Memo": "c"}"#).memo, "c");
}

#[test]
fn wrong_types_are_errors() {
    for text in [
        "",
        "[]",
        "3",
        "\"\"",
        r#"{"memo": 3}"#,
        r#"{"agreement_tick_length": -1}"#,
        r#"{"agreement_tick_length": 1.5}"#,
        r#"{"agreement_tick_length": "5"}"#,
        r#"{"list": {}}"#,
        r#"{"inner": ["g", "7"]}"#,
        r#"{"inner": {"TimeStamp": "7x"}}"#,
        r#"{"kind": "POA"}"#,
    ] {
        let read = from_slice_insensitive::<Outer>(text.as_bytes());
        assert!(read.is_err(), "{text} was read as {read:?}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(from_slice_insensitive::<Outer>(deep.as_bytes()).is_err());
}
