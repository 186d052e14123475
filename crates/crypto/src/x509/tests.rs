use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

const VALIDITY: Validity = Validity { from: 1_700_000_000, to: 2_000_000_000 };

fn key(seed: u64) -> EcKey {
    EcKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn chain() -> (Certificate, Certificate) {
    let service = issue_service(&key(1), VALIDITY).unwrap();
    let node = issue_node(&key(1), key(2).public(), "127.0.0.1", VALIDITY).unwrap();
    (service, node)
}

#[test]
fn a_node_is_issued_by_its_service_and_by_no_other() {
    let (service, node) = chain();
    assert_eq!(check_chain(&node, &[], &service), Ok(()));
    assert_eq!(node.key(), key(2).public());
    assert_eq!(service.key(), key(1).public());
    assert!(service.is_authority() && !node.is_authority());
    assert!(service.is_issued_by(&service), "it issued itself");
    let other = issue_service(&key(3), VALIDITY).unwrap();
    assert_eq!(check_chain(&node, &[], &other), Err(CertificateError::Issuer));
    assert_eq!(check_chain(&service, &[], &service), Err(CertificateError::Usage));
    assert_eq!(check_chain(&node, &[], &node), Err(CertificateError::Usage));
    let next = issue_node(&key(2), key(4).public(), "127.0.0.1", VALIDITY).unwrap();
    assert_eq!(
        check_chain(&next, std::slice::from_ref(&node), &service),
        Err(CertificateError::Issuer)
    );
}

#[test]
fn certificates_are_written_and_read() {
    let (service, node) = chain();
    for certificate in [&service, &node] {
        let text = certificate.pem();
        assert_eq!(Certificate::from_pem(&text).as_ref(), Ok(certificate));
        assert_eq!(Certificate::from_pem(text.trim_end()).as_ref(), Ok(certificate));
        for other in [format!("{text}\n"), format!(" {text}"), text.replace('\n', "\r\n")] {
            assert_eq!(Certificate::from_pem(&other), Err(CertificateError::Pem));
        }
        assert_eq!(certificate.validity(), VALIDITY);
        assert!(certificate.holds_at(VALIDITY.from) && !certificate.holds_at(VALIDITY.to + 1));
        let mut longer = certificate.der.clone();
        longer.push(0);
        assert_eq!(Certificate::from_der(&longer), Err(CertificateError::Der));
    }
}

#[test]
fn what_cannot_stand_in_a_certificate_is_refused() {
    let issue = |host: &str| issue_node(&key(1), key(2).public(), host, VALIDITY);
    for host in ["::1", "10.0.0.1", "node.example.com", "localhost", "a-1"] {
        assert!(issue(host).is_ok(), "{host}");
    }
    for host in ["", ".", "a..b", "-a", "a-", "a b", "ä", &"a".repeat(64), &"a.".repeat(150)] {
        assert_eq!(issue(host), Err(CertificateError::Address), "{host:?}");
    }
    for (from, to) in [(i64::MIN, 0), (0, i64::MAX), (0, 300_000_000_000)] {
        assert_eq!(issue_service(&key(1), Validity { from, to }), Err(CertificateError::Time));
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let (service, node) = chain();
    for at in 0..node.der.len() {
        let mut der = node.der.clone();
        der[at] ^= 1;
        let accepted = Certificate::from_der(&der).is_ok_and(|c| c.is_issued_by(&service));
        assert!(!accepted, "byte {at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_certificate_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, byte: u8,
    ) {
        let _ = Certificate::from_der(&bytes);
        let (_, node) = chain();
        let mut der = node.der;
        let at = at.index(der.len());
        der[at] = byte;
        let _ = Certificate::from_der(&der);
        let _ = Certificate::from_der(&der[..at]);
    }

    #[test]
    fn any_text_is_a_certificate_or_refused(text: String) {
        prop_assert!(Certificate::from_pem(&text).is_err());
    }
}
