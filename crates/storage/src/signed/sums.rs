//! What chunk files must hold, as checksums in memory.
//!
//! CCF's files have none, and roots are compared by whoever replays a ledger, not by whoever reads an
//! entry back. So a log remembers what it wrote, or what was there when it was first read after a
//! restart (when its member replays it, and roots are compared): bytes that rot under a running node,
//! or that a write to another place spoilt, are never taken for an entry.
//!
//! While entries may still be taken back each has a checksum of its own ([`Slot`]); once a chunk is
//! committed and synced, one for every [`SPAN`] bytes is kept ([`Span`]).

/// Bytes of entries that one checksum stands for, at least; the chunk's last may have fewer.
const SPAN: u32 = 64 << 10;

/// An entry in a chunk file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    /// Where it begins, from the start of the file.
    pub position: u32,
    /// CRC-32 of its bytes.
    pub sum: u32,
}

impl Slot {
    /// That of an entry.
    pub fn new(position: u32, bytes: &[u8]) -> Self {
        Self { position, sum: crc32fast::hash(bytes) }
    }
}

/// Consecutive entries of a chunk that takes no further one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// Number of its first entry within the chunk.
    first: u32,
    /// CRC-32 over the checksums of its entries.
    sum: u32,
}

/// The spans of a chunk, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spans(Box<[Span]>);

impl Spans {
    /// Those of all entries of a chunk that ends at the offset `end`.
    pub fn of(slots: &[Slot], end: u64) -> Self {
        let mut spans = Vec::new();
        let mut first = 0;
        for at in 0..slots.len() {
            let next = slots.get(at + 1).map_or(end, |slot| slot.position.into());
            let whole = next - u64::from(slots[first].position) >= SPAN.into();
            if whole || at + 1 == slots.len() {
                let number = u32::try_from(first).expect("positions of entries fit 32 bits");
                spans.push(Span { first: number, sum: fold(&slots[first..=at]) });
                first = at + 1;
            }
        }
        Self(spans.into())
    }

    /// The entries of all spans that have one of these, which are within a chunk of `count`.
    pub fn around(&self, entries: &std::ops::Range<usize>, count: usize) -> std::ops::Range<usize> {
        let begins = |span: &Span| span.first as usize;
        let first = self.0.partition_point(|span| begins(span) <= entries.start).saturating_sub(1);
        let next = self.0.partition_point(|span| begins(span) < entries.end);
        let start = self.0.get(first).map_or(0, begins);
        start..self.0.get(next).map_or(count, begins)
    }

    /// The first entry of the first span whose entries are not what they were. `slots` are those of
    /// whole spans, the first entry of them has this number.
    pub fn differs(&self, first: usize, slots: &[Slot]) -> Option<usize> {
        let spans = self.0.iter().enumerate();
        let mut within = spans.skip_while(|(_, span)| (span.first as usize) < first);
        within.find_map(|(at, span)| {
            let begin = span.first as usize - first;
            let end = self.0.get(at + 1).map_or(slots.len(), |next| next.first as usize - first);
            let slots = slots.get(begin..end.min(slots.len())).filter(|slots| !slots.is_empty())?;
            (fold(slots) != span.sum).then_some(span.first as usize)
        })
    }
}

fn fold(slots: &[Slot]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    slots.iter().for_each(|slot| hasher.update(&slot.sum.to_le_bytes()));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(lengths: &[u32]) -> (Vec<Slot>, u64) {
        let mut position = 8;
        let mut slots = Vec::new();
        for (number, len) in lengths.iter().enumerate() {
            slots.push(Slot { position, sum: number as u32 });
            position += len;
        }
        (slots, position.into())
    }

    #[test]
    fn a_span_has_enough_bytes_and_every_entry_is_in_one() {
        let (slots, end) = slots(&[SPAN / 2, SPAN / 2, 10, SPAN, 3 * SPAN, 1, 1]);
        let spans = Spans::of(&slots, end);
        let first: Vec<u32> = spans.0.iter().map(|span| span.first).collect();
        assert_eq!(first, [0, 2, 4, 5]);
        assert_eq!(spans.around(&(0..1), 7), 0..2);
        assert_eq!(spans.around(&(1..3), 7), 0..4);
        assert_eq!(spans.around(&(3..4), 7), 2..4);
        assert_eq!(spans.around(&(6..7), 7), 5..7);
    }

    #[test]
    fn the_span_of_an_entry_that_changed_is_named() {
        let (good, end) = slots(&[SPAN, SPAN, SPAN, SPAN / 3]);
        let spans = Spans::of(&good, end);
        for changed in 0..good.len() {
            let mut slots = good.clone();
            slots[changed].sum ^= 1;
            assert_eq!(spans.differs(0, &slots), Some(changed));
            assert_eq!(spans.differs(0, &slots[..changed]), None);
            assert_eq!(spans.differs(changed, &slots[changed..]), Some(changed));
            assert_eq!(spans.differs(changed + 1, &slots[changed + 1..]), None);
        }
        assert_eq!(spans.differs(0, &good), None);
    }
}
