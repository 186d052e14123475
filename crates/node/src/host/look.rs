//! Looking for more before sleeping: to be woken takes as long as many an answer of another node.
//!
//! Who looks gives way to whoever wants the core, and only does it while it pays: if any of the last
//! few waits was short.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How many waits are remembered.
const REMEMBERED: u32 = 4;

/// How the last waits were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waits {
    /// Those since one was short.
    long: u32,
}

impl Waits {
    /// None was short.
    pub const LONG: Self = Self { long: REMEMBERED };
    /// The last was short.
    pub const SHORT: Self = Self { long: 0 };

    /// One more; it was short if it was not much longer than one looks.
    #[must_use]
    pub fn and(self, wait: Duration, look: Duration) -> Self {
        if wait < 2 * look { Self::SHORT } else { Self { long: self.long.saturating_add(1) } }
    }

    /// Whether to look.
    #[must_use]
    pub const fn worth_it(self) -> bool {
        self.long < REMEMBERED
    }
}

/// What a thread of a runtime knows of its looking.
#[derive(Clone, Copy)]
struct Looking {
    waits: Waits,
    /// When something was done last.
    last: Instant,
    /// Its event loop does not sleep before.
    until: Option<Instant>,
}

thread_local! {
    static LOOKING: Cell<Option<Looking>> = const { Cell::new(None) };
}

/// Something was done on this thread of a runtime: its event loop looks for more for so long. Must be
/// called in the runtime.
pub fn look_on(look: Duration) {
    let now = Instant::now();
    let before = LOOKING.get();
    let wait = before.map_or(Duration::MAX, |before| now - before.last);
    let waits = before.map_or(Waits::LONG, |before| before.waits).and(wait, look);
    let looks = before.is_some_and(|before| before.until.is_some());
    let until = waits.worth_it().then_some(now + look);
    // A task that looks already ends by itself.
    let until = if looks { until.or(Some(now)) } else { until };
    LOOKING.set(Some(Looking { waits, last: now, until }));
    if until.is_some() && !looks {
        tokio::spawn(keep_awake());
    }
}

/// A runtime with a task that is ready looks at its events and goes on.
async fn keep_awake() {
    while let Some(looking) = LOOKING.get()
        && looking.until.is_some_and(|until| Instant::now() < until)
    {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
    LOOKING.set(LOOKING.get().map(|looking| Looking { until: None, ..looking }));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LOOKING, Looking, REMEMBERED, Waits, look_on};

    #[test]
    fn who_has_waited_long_again_and_again_sleeps() {
        let look = Duration::from_millis(1);
        assert!(!Waits::LONG.worth_it());
        let mut waits = Waits::LONG.and(look, look);
        for _ in 0..REMEMBERED {
            assert!(waits.worth_it());
            waits = waits.and(2 * look, look);
        }
        assert!(!waits.worth_it());
    }

    #[tokio::test]
    async fn a_runtime_looks_while_it_pays_and_ends() {
        let look = Duration::from_secs(60);
        look_on(look);
        let first = LOOKING.get().expect("it is known");
        assert_eq!(first.until, None, "nothing was short yet");
        look_on(look);
        let second = LOOKING.get().expect("it is known");
        assert!(second.until.expect("it looks") >= second.last + look);
        // Other tasks run meanwhile; when the time is up it ends.
        tokio::spawn(async {}).await.expect("it runs");
        LOOKING.set(Some(Looking { until: Some(Instant::now()), ..second }));
        while LOOKING.get().is_some_and(|looking| looking.until.is_some()) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_runtime_that_looks_in_vain_stops() {
        let look = Duration::from_secs(60);
        look_on(look);
        look_on(look);
        for _ in 0..REMEMBERED {
            let looking = LOOKING.get().expect("it is known");
            assert!(looking.waits.worth_it());
            // As if the last had been longer ago.
            LOOKING.set(Some(Looking { last: looking.last - 3 * look, ..looking }));
            look_on(look);
        }
        let looking = LOOKING.get().expect("it is known");
        assert!(!looking.waits.worth_it());
        assert!(looking.until.expect("a task ends by it") <= Instant::now());
    }
}
