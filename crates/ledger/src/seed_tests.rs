use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::test_support::{World, member};

fn urls() -> Vec<ChainUrl> {
    vec![
        ChainUrl { base: "http://127.0.0.1:8002".to_owned(), jwt: Some("a.b-_c".to_owned()) },
        ChainUrl { base: "https://example.org:443".to_owned(), jwt: None },
    ]
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fn sample() -> Seed {
    Seed::new(WORLD.descriptor(), urls(), None)
}

fn signed() -> Seed {
    Seed::new(WORLD.descriptor(), urls(), Some(&WORLD.owner))
}

/// The seed URL with one field's raw text replaced.
fn with(url: &str, field: char, value: &str) -> String {
    let prefix = format!("{field}=");
    let (head, query) = url.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| match pair.strip_prefix(&prefix) {
        Some(_) => format!("{prefix}{value}"),
        None => pair.to_owned(),
    });
    format!("{head}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn raw(url: &str, field: char) -> String {
    let prefix = format!("{field}=");
    let query = url.split_once('?').unwrap().1;
    query.split('&').find_map(|pair| pair.strip_prefix(&prefix)).unwrap().to_owned()
}

#[test]
fn a_seed_survives_in_any_order() {
    for seed in [sample(), signed()] {
        let url = seed.to_url().unwrap();
        assert_eq!(Seed::parse_verified(&url).as_ref(), Ok(&seed));
        let (head, query) = url.split_once('?').unwrap();
        let backwards: Vec<_> = query.split('&').rev().collect();
        let other = format!("{head}?{}&b=old&newer=1&z=", backwards.join("&"));
        assert_eq!(Seed::parse_verified(&other).as_ref(), Ok(&seed));
        assert_eq!(seed.urls, urls());
    }
    let none = Seed::new(WORLD.descriptor(), Vec::new(), None);
    let url = none.to_url().unwrap();
    assert!(!url.contains("&u="));
    assert_eq!(Seed::parse(&format!("{url}&u=")).as_ref(), Ok(&none));
}

#[test]
fn names_are_escaped_once_and_without_percent() {
    let mut seed = sample();
    seed.group.name = "Größe & =?+|/ 群".to_owned();
    let url = seed.to_url().unwrap();
    assert!(url.contains("&a=Gr%C3%B6%C3%9Fe+%26+%3D%3F%2B%7C%2F+%E7%BE%A4&y="));
    assert_eq!(Seed::parse(&url).as_ref(), Ok(&seed));
    seed.group.name = "100%".to_owned();
    assert_eq!(seed.to_url().unwrap_err().fields(), ['a']);
    seed.group.name = "n".repeat(MAX_NAME + 1);
    assert_eq!(seed.to_url().unwrap_err().fields(), ['a']);
    let mut seed = sample();
    seed.group.app_key = "%".to_owned();
    assert_eq!(seed.to_url().unwrap_err().fields(), ['y']);
    let url = sample().to_url().unwrap();
    assert_eq!(Seed::parse(&with(&url, 'a', "%zz")).unwrap_err().fields(), ['a']);
    assert_eq!(Seed::parse(&with(&url, 'a', "%e4")).unwrap_err().fields(), ['a']);
    assert_eq!(Seed::parse(&with(&url, 'a', "abc%2")).unwrap_err().fields(), ['a']);
}

#[test]
fn decoding_errors_name_their_field() {
    let url = signed().to_url().unwrap();
    let fields = |url: &str| Seed::parse(url).unwrap_err().fields();
    for field in ['v', 'e', 'n', 'c', 'g', 'k', 's', 't', 'a', 'y'] {
        let without = url.replacen(&format!("{field}={}", raw(&url, field)), "q=", 1);
        assert_eq!(fields(&without), [field], "missing");
        assert_eq!(fields(&format!("{url}&{field}=1")), [field], "twice");
    }
    for field in ['c', 'g', 'k', 's', 't', 'x'] {
        for value in ["", "A", "AA==", "A+/A", "AAAA", &"A".repeat(100)] {
            assert_eq!(fields(&with(&url, field, value)), [field], "{value}");
        }
    }
    assert_eq!(fields(&with(&url, 'v', "2")), ['v']);
    for (field, value) in [('e', "2"), ('e', "00"), ('e', "x"), ('n', "1"), ('n', "300")] {
        assert_eq!(fields(&with(&url, field, value)), [field]);
    }
    assert_eq!(fields(&with(&url, 't', "AAECAw")), ['t'], "a leading zero byte");
    assert_eq!(fields(&with(&url, 't', "__________8")), ['t'], "over 63 bits");
    let many = vec!["http%3A%2F%2Fa"; MAX_URLS + 1].join("|");
    assert_eq!(fields(&with(&url, 'u', &many)), ['u']);
    for text in ["", "rum://", "http://seed?v=1", &"x".repeat(MAX_SEED + 1)] {
        assert!(matches!(Seed::parse(text), Err(SeedError::Form(_))), "{text}");
    }
}

#[test]
fn every_changed_character_of_the_genesis_block_is_refused() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let url = sample().to_url().unwrap();
    for field in ['s', 'k', 't', 'g'] {
        let text = raw(&url, field);
        for place in 0..text.len() {
            // All characters at the end, where unused bits and V are; a few elsewhere.
            let step = if place + 4 < text.len() { 13 } else { 1 };
            for letter in ALPHABET.iter().step_by(step) {
                let mut changed = text.clone().into_bytes();
                if changed[place] == *letter {
                    continue;
                }
                changed[place] = *letter;
                let changed = String::from_utf8(changed).unwrap();
                let error = Seed::parse_verified(&with(&url, field, &changed)).unwrap_err();
                assert!(error.fields().contains(&field), "{field}={changed}: {error}");
                assert!(error.to_string().contains(field), "{error}");
            }
        }
    }
}

#[test]
fn the_whole_seed_signature_covers_all_but_the_urls() {
    let url = signed().to_url().unwrap();
    let plain = sample().to_url().unwrap();
    let cipher = raw(&Seed::new(other_group(), vec![], None).to_url().unwrap(), 'c');
    for (field, value) in [('a', "other"), ('y', "other"), ('e', "1"), ('n', "2"), ('c', &cipher)] {
        let error = Seed::parse_verified(&with(&url, field, value)).unwrap_err();
        assert_eq!(error, SeedError::SeedSignature);
        assert!(error.fields().contains(&field));
        assert!(Seed::parse_verified(&with(&plain, field, value)).is_ok(), "not covered");
    }
    assert!(Seed::parse_verified(&with(&url, 'u', "http%3A%2F%2Fother")).is_ok());
    let stranger = Seed::new(WORLD.descriptor(), urls(), Some(&member(8)));
    assert_eq!(stranger.verify(), Err(SeedError::SeedSignature));
}

fn other_group() -> GroupDescriptor {
    GroupDescriptor { cipher_key: SymmetricKey([1; 32]), ..WORLD.descriptor() }
}

#[test]
fn chain_urls_get_a_scheme() {
    let url = ChainUrl::parse("example.org:80?jwt=t");
    assert_eq!(url.base, "https://example.org:80");
    assert_eq!(url.jwt.as_deref(), Some("t"));
    assert_eq!(url.to_text(), "https://example.org:80?jwt=t");
    assert_eq!(ChainUrl::parse("http://a:1?x=2&jwt=t").to_text(), "http://a:1?jwt=t");
    assert_eq!(ChainUrl::parse("http://a:1").to_text(), "http://a:1");
}

proptest! {
    #[test]
    fn mutated_seeds_never_panic(
        place in any::<prop::sample::Index>(), insert in any::<String>(), cut in 0..40_usize,
    ) {
        let url = signed().to_url().unwrap();
        let start = place.index(url.len());
        let end = (start + cut).min(url.len());
        let changed = format!("{}{insert}{}", &url[..start], &url[end..]);
        if let Ok(seed) = Seed::parse_verified(&changed) {
            // What a signed seed says is what its owner signed.
            prop_assert_eq!(seed.group, signed().group);
        }
    }

    #[test]
    fn arbitrary_texts_never_panic(text in any::<String>()) {
        prop_assert!(Seed::parse(&text).is_err());
        let _ = Seed::parse(&format!("{PREFIX}{text}"));
    }

    #[test]
    fn any_name_survives(name in "[^%]{0,40}", app_key in "[^%]{0,20}") {
        let mut seed = sample();
        seed.group.name = name;
        seed.group.app_key = app_key;
        let url = seed.to_url().unwrap();
        prop_assert_eq!(Seed::parse_verified(&url), Ok(seed));
    }
}
