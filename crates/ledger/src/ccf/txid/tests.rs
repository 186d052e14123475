use proptest::prelude::*;

use super::*;

#[test]
fn the_pattern_is_that_of_the_reference() {
    for (text, view, seqno) in [("2.43", 2, 43), ("0.0", 0, 0), ("007.010", 7, 10)] {
        assert_eq!(text.parse(), Ok(TxId::new(view, seqno)), "{text}");
    }
    let wrong = [
        "",
        ".",
        "2",
        "2.",
        ".43",
        "2.43.1",
        "-2.43",
        "+2.43",
        "2.+43",
        " 2.43",
        "2.43\n",
        "2,43",
        "2.4a",
        "99999999999999999999.1",
        "1.111111111111111111111",
        "٢.٤",
    ];
    for text in wrong {
        assert_eq!(text.parse::<TxId>(), Err(TxIdError), "{text:?}");
    }
    assert_eq!(serde_json::to_string(&TxId::new(2, 43)).unwrap(), "\"2.43\"");
}

#[test]
fn what_an_entry_can_have() {
    assert!(TxId::new(1, 1).is_valid() && TxId::new(MAX_VIEW, MAX_SEQNO).is_valid());
    for (view, seqno) in [(0, 1), (1, 0), (MAX_VIEW + 1, 1), (1, MAX_SEQNO + 1)] {
        assert!(!TxId::new(view, seqno).is_valid(), "{view}.{seqno}");
    }
}

proptest! {
    #[test]
    fn texts_read_back(view: u64, seqno: u64) {
        let id = TxId::new(view, seqno);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        if let Ok(id) = text.parse::<TxId>() {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
