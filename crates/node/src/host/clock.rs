//! The time a group's thread lives by.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate_consensus::core::Time;

/// The wall clock may run ahead of this one by so much before it is followed.
const JUMP_MS: u64 = 1_000;

/// Milliseconds since the Unix epoch that never go back and never stand still: the wall clock at
/// the start, moved on by the monotonic one. A wall clock that is set forward is followed, one that
/// is set back is not, so that no timer waits for hours.
#[derive(Debug)]
pub struct Clock {
    base_ms: std::cell::Cell<u64>,
    start: Instant,
}

impl Clock {
    /// Starts at the wall clock's time.
    pub fn start() -> Self {
        Self { base_ms: std::cell::Cell::new(wall_ms()), start: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Time {
        Time(self.at(self.start.elapsed(), wall_ms()))
    }

    /// How long it is until `time`.
    pub fn until(&self, time: Time) -> Duration {
        Duration::from_millis(time.0.saturating_sub(self.now().0))
    }

    fn at(&self, elapsed: Duration, wall_ms: u64) -> u64 {
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let own = self.base_ms.get().saturating_add(elapsed);
        if wall_ms > own.saturating_add(JUMP_MS) {
            self.base_ms.set(wall_ms - elapsed);
            return wall_ms;
        }
        own
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use std::time::{Duration, Instant};

    #[test]
    fn a_wall_clock_set_back_is_not_followed_and_one_set_forward_is() {
        let clock = Clock { base_ms: std::cell::Cell::new(10_000), start: Instant::now() };
        assert_eq!(clock.at(Duration::from_millis(5), 10_005), 10_005);
        assert_eq!(clock.at(Duration::from_millis(10), 1), 10_010);
        assert_eq!(clock.at(Duration::from_millis(20), 10_500), 10_020);
        assert_eq!(clock.at(Duration::from_millis(30), 50_000), 50_000);
        assert_eq!(clock.at(Duration::from_millis(40), 20_000), 50_010);
    }
}
