use quorate_crypto::hash::sha256;

use super::super::test_support::ec_key;
use super::*;

const AT: u64 = 1_700_000_000_000;

fn founder() -> NodeNotary {
    NodeNotary::found(ec_key(1), ec_key(2), "127.0.0.1", AT).unwrap()
}

#[test]
fn what_a_node_signs_is_verified_by_another_that_joined() {
    let founder = founder();
    let mut joiner = NodeNotary::new(ec_key(3));
    assert_eq!((joiner.certificate(), joiner.service_certificate()), ("", ""));
    assert_eq!(joiner.service_key(), Err(NotaryError::NoService));
    let endorsed = joiner.endorse(&joiner.public_key(), "localhost", AT);
    assert_eq!(endorsed, Err(NotaryError::NoService));
    let node_certificate = founder.endorse(&joiner.public_key(), "localhost", AT).unwrap();
    let secrets = ServiceSecrets { node_certificate, ..founder.secrets().unwrap() };
    joiner.enter(&secrets).unwrap();
    assert_eq!(joiner.secrets(), Some(secrets));
    assert_eq!(joiner.service_key(), founder.service_key());
    assert!(joiner.is_endorsed(
        &joiner.node(),
        joiner.certificate(),
        founder.service_certificate()
    ));

    let (root, id) = (sha256(b"root"), TxId::new(2, 18));
    let signed = joiner.sign(&root, id, AT);
    let by = Identities { node: joiner.certificate(), service: joiner.service_certificate() };
    assert!(founder.verify(&root, id, &signed, by));
    assert!(!founder.verify(&sha256(b"other"), id, &signed, by));
    assert!(!founder.verify(&root, TxId::new(2, 19), &signed, by), "the id is signed, too");
    let other = Identities { node: founder.certificate(), ..by };
    assert!(!founder.verify(&root, id, &signed, other));
    assert!(!founder.verify(&root, id, &signed, Identities { service: by.node, ..by }));
    assert!(!founder.verify(&root, id, &Signed::default(), by));
    assert!(!founder.verify(&root, id, &signed, Identities { node: "", service: "" }));
}

#[test]
fn secrets_that_do_not_belong_together_are_refused() {
    let (founder, mut joiner) = (founder(), NodeNotary::new(ec_key(3)));
    let node_certificate = founder.endorse(&joiner.public_key(), "localhost", AT).unwrap();
    let good = ServiceSecrets { node_certificate, ..founder.secrets().unwrap() };
    let other = NodeNotary::found(ec_key(4), ec_key(5), "127.0.0.1", AT).unwrap();
    let foreign = other.secrets().unwrap();
    let wrong = [
        ServiceSecrets { service_key: foreign.service_key, ..good.clone() },
        ServiceSecrets { service_certificate: foreign.service_certificate, ..good.clone() },
        ServiceSecrets { node_certificate: foreign.node_certificate, ..good.clone() },
        ServiceSecrets { node_certificate: good.service_certificate.clone(), ..good.clone() },
        ServiceSecrets { service_certificate: good.node_certificate.clone(), ..good.clone() },
        ServiceSecrets { service_key: Vec::new(), ..good.clone() },
    ];
    for secrets in wrong {
        assert!(matches!(joiner.enter(&secrets), Err(NotaryError::Identity(_))));
        assert_eq!(joiner.secrets(), None, "nothing has changed");
    }
    assert_eq!(joiner.enter(&good), Ok(()));
    for (key, host) in [(&b"no key"[..], "localhost"), (&founder.public_key(), "no host")] {
        assert!(matches!(founder.endorse(key, host, AT), Err(NotaryError::Identity(_))));
    }
    assert!(NodeNotary::found(ec_key(1), ec_key(2), "localhost", u64::MAX).is_err());
    assert!(!format!("{founder:?} {good:?}").contains(&format!("{:?}", good.service_key)));
}

#[test]
fn only_the_key_of_a_service_hands_it_over() {
    let (earlier, later) = (founder(), NodeNotary::found(ec_key(6), ec_key(7), "127.0.0.1", AT));
    let later = later.unwrap();
    let (_, handover) = later.link(&earlier.service_key().unwrap(), AT).unwrap();
    let (from, to) = (earlier.service_certificate(), later.service_certificate());
    assert!(hands_over(from, to, &handover));
    assert!(!hands_over(to, from, &handover) && !hands_over(to, to, &handover));
    assert!(!hands_over(from, from, &handover), "of another certificate");
    assert!(!hands_over(from, to, &handover[1..]) && !hands_over("", to, &handover));
    let (_, foreign) = later.link(&ec_key(8).to_pkcs8(), AT).unwrap();
    assert!(!hands_over(from, to, &foreign), "by another key");
}
