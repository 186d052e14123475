//! What a producer proposes in an epoch: its time and trxs, opaque to the ordering protocol.
//!
//! ```text
//! proposal = version kind time(8) [list of trx]      kind 0: the EMPTY mark, 1: trxs
//! ```
//! The time counts even in an EMPTY proposal: a block's timestamp is the median of all included
//! proposals' times, which lies between those of correct producers.

use std::sync::Arc;

use quorate_ledger::codec::{CodecError, Reader, VERSION, Writer};
use quorate_ledger::trx::MAX_TRX;

use crate::limits::MAX_PROPOSAL_TRXS;

const EMPTY: u8 = 0;
const TRXS: u8 = 1;

/// One producer's proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal<B = Arc<[u8]>> {
    /// The proposer's time, nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Encoded trxs; none: the EMPTY mark.
    pub trxs: Vec<B>,
}

impl<B: AsRef<[u8]>> Proposal<B> {
    /// The batch to propose.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.u8(if self.trxs.is_empty() { EMPTY } else { TRXS });
        writer.i64(self.time_ns);
        if !self.trxs.is_empty() {
            writer.list(&self.trxs, |writer, trx| writer.bytes(trx.as_ref()));
        }
        writer.finish()
    }
}

impl<'a> Proposal<&'a [u8]> {
    /// Reads a decided batch. The trxs are not looked at.
    ///
    /// # Errors
    /// [`CodecError`]: the proposer's fault.
    pub fn decode(batch: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(batch);
        match reader.u8()? {
            VERSION => {}
            other => return Err(CodecError::Version(other)),
        }
        let kind = reader.u8()?;
        let time_ns = reader.i64()?;
        if time_ns < 0 {
            return Err(CodecError::Invalid("proposal time"));
        }
        let trxs = match kind {
            EMPTY => Vec::new(),
            TRXS => reader.list("proposed trxs", MAX_PROPOSAL_TRXS, |reader| {
                reader.bytes("proposed trx", MAX_TRX)
            })?,
            _ => return Err(CodecError::Invalid("proposal kind")),
        };
        if (kind == TRXS) == trxs.is_empty() {
            return Err(CodecError::Invalid("proposal without trxs"));
        }
        reader.finish()?;
        Ok(Self { time_ns, trxs })
    }
}

/// The time of a block whose decision includes proposals of these times: their lower median, and
/// never below the parent's.
#[must_use]
pub fn block_time(mut times: Vec<i64>, parent: i64) -> i64 {
    times.sort_unstable();
    let median = times.len().checked_sub(1).map(|last| times[last / 2]);
    median.unwrap_or(parent).max(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_have_one_encoding() {
        for trxs in [vec![], vec![vec![1, 2, 3], vec![]]] {
            let proposal = Proposal { time_ns: 5, trxs };
            let bytes = proposal.encode();
            let read = Proposal::decode(&bytes).expect("reads its own form");
            assert_eq!(read.time_ns, 5);
            assert_eq!(read.trxs, proposal.trxs.iter().map(Vec::as_slice).collect::<Vec<_>>());
            for end in 0..bytes.len() {
                assert!(Proposal::decode(&bytes[..end]).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn malformed_proposals_are_refused() {
        let empty = Proposal::<Vec<u8>> { time_ns: -1, trxs: Vec::new() }.encode();
        assert!(Proposal::decode(&empty).is_err(), "negative time");
        let mut marked = Proposal::<Vec<u8>> { time_ns: 1, trxs: Vec::new() }.encode();
        marked[1] = 1;
        assert!(Proposal::decode(&marked).is_err(), "trxs without a list");
        marked.extend_from_slice(&[0; 4]);
        assert!(Proposal::decode(&marked).is_err(), "trxs with an empty list");
        marked[1] = 7;
        assert!(Proposal::decode(&marked).is_err(), "unknown kind");
    }

    #[test]
    fn block_time_is_a_median_that_never_goes_back() {
        assert_eq!(block_time(vec![30, 10, 20], 0), 20);
        assert_eq!(block_time(vec![40, 30, 10, 20], 0), 20);
        assert_eq!(block_time(vec![i64::MAX, 10, 12], 0), 12);
        assert_eq!(block_time(vec![10], 15), 15);
        assert_eq!(block_time(vec![], 15), 15);
    }
}
