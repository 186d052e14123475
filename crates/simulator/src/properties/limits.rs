//! Sizes against limits.

use prost::Message as _;
use quorate_consensus::footprint::Footprint;
use quorate_ledger::block::{Block, MAX_CONTENT, MAX_TRXS};
use quorate_ledger::certificate::Certificate;
use quorate_replica::limits::MAX_PACKET;

use super::Violation;

/// The buffers of a correct node, `who`, after a turn.
///
/// # Errors
/// One holds more than it may.
pub fn buffers(who: impl FnOnce() -> String, footprint: &Footprint) -> Result<(), Violation> {
    let Some(buffer) = footprint.overflow() else { return Ok(()) };
    let mut text = format!("{}: {} holds {} of {}", who(), buffer.name, buffer.held, buffer.limit);
    text.push_str("\n  all buffers:");
    for buffer in footprint.iter().filter(|buffer| buffer.held > 0) {
        text.push_str(&format!(" {} {}/{}", buffer.name, buffer.held, buffer.limit));
    }
    Err(Violation::new("bounded_memory", text))
}

/// A packet that a correct node, `who`, sends.
///
/// # Errors
/// Nobody would read it.
pub fn packet(who: impl FnOnce() -> String, bytes: usize) -> Result<(), Violation> {
    if bytes <= MAX_PACKET {
        return Ok(());
    }
    let text = format!("{} sends a packet of {bytes} bytes, {MAX_PACKET} are allowed", who());
    Err(Violation::new("limits", text))
}

/// A final block with its certificate, in a committee of so many producers.
///
/// # Errors
/// It is larger than a block may be.
pub fn block(block: &Block, certificate: &Certificate, producers: usize) -> Result<(), Violation> {
    let id = block.header.id;
    let content: usize = block.trxs.iter().map(|trx| trx.encoded_len()).sum();
    let sizes = [
        ("trxs", block.trxs.len(), MAX_TRXS),
        ("bytes of trxs", content, MAX_CONTENT),
        ("signatures", certificate.signatures.len(), producers),
    ];
    match sizes.iter().find(|(_, found, most)| found > most) {
        None => Ok(()),
        Some((what, found, most)) => {
            let text = format!("block {id} has {found} {what}, {most} are allowed");
            Err(Violation::new("limits", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::testing::TestGroup;

    #[test]
    fn a_full_buffer_is_seen_with_all_others() {
        let mut footprint = Footprint::new();
        footprint.add("claims", 3, 64);
        footprint.add("pool_trxs", 7, 7);
        assert_eq!(buffers(|| "n1/g0".into(), &footprint), Ok(()));
        footprint.add("queued_decisions", 9, 8);
        let violation = buffers(|| "n1/g0".into(), &footprint).expect_err("9 of 8");
        assert_eq!(violation.property, "bounded_memory");
        for part in ["n1/g0", "queued_decisions holds 9 of 8", "claims 3/64"] {
            assert!(violation.detail.contains(part), "{part} is missing in {violation}");
        }
    }

    #[test]
    fn a_packet_that_nobody_reads_is_seen() {
        assert_eq!(packet(|| "n1/g0".into(), MAX_PACKET), Ok(()));
        let violation = packet(|| "n1/g0".into(), MAX_PACKET + 1).expect_err("too large");
        assert_eq!(violation.property, "limits");
    }

    #[test]
    fn a_block_with_too_much_in_it_is_seen() {
        let mut group = TestGroup::new();
        let member = group.member(1);
        let mut large = group.block(&[(&member, b"one")]);
        let certificate = group.certificate(&large);
        let producers = group.view().producers.len();
        assert_eq!(block(&large, &certificate, producers), Ok(()));
        let violation = block(&large, &certificate, 1).expect_err("more signers than members");
        assert_eq!(violation.property, "limits");
        large.trxs[0].data = vec![0; MAX_CONTENT];
        let violation = block(&large, &certificate, producers).expect_err("too large");
        assert_eq!(violation.property, "limits");
    }
}
