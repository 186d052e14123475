//! How full the buffers are, each against its limit: for checkers and metrics.

/// One buffer, or the fullest of several alike, in the unit of its limit (things or bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Its name in reports and metrics; one that ends in `_bytes` is measured in bytes.
    pub name: &'static str,
    /// What it holds.
    pub held: u64,
    /// What it may hold.
    pub limit: u64,
}

impl Buffer {
    /// Whether it holds more than it may.
    #[must_use]
    pub const fn overflows(&self) -> bool {
        self.held > self.limit
    }
}

/// All buffers of a core, a replica or a driver, in a fixed order. A value can be filled again and
/// again, so that taking it after every step allocates nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Footprint(Vec<Buffer>);

impl Footprint {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Forgets everything, keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a buffer.
    pub fn add(&mut self, name: &'static str, held: usize, limit: usize) {
        self.0.push(Buffer { name, held: held as u64, limit: limit as u64 });
    }

    /// The buffers, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Buffer> {
        self.0.iter()
    }

    /// The first buffer that holds more than it may.
    #[must_use]
    pub fn overflow(&self) -> Option<Buffer> {
        self.0.iter().find(|buffer| buffer.overflows()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_above_its_limit_overflows_and_a_full_one_does_not() {
        let mut footprint = Footprint::new();
        footprint.add("claims", 64, 64);
        assert_eq!(footprint.overflow(), None);
        footprint.add("pool_bytes", 11, 10);
        let overflow = footprint.overflow().expect("11 of 10");
        assert_eq!((overflow.name, overflow.held, overflow.limit), ("pool_bytes", 11, 10));
        assert_eq!(footprint.iter().count(), 2);
        footprint.clear();
        assert_eq!(footprint, Footprint::new());
    }
}
