//! What the threads of all kinds of groups have in common.

mod clock;
mod look;
mod port;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use quorate_ledger::ids::GroupId;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

pub use clock::Clock;
pub use look::look_on;
pub use port::{AtOnce, Busy, Limits, Next, Port, Queued, Turn, Work};

/// Called with the reason if a group's thread ends by a mistake of ours.
pub type Died = Box<dyn FnOnce(String) + Send>;

/// A generator of randomness for one group.
pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_rng(&mut rand::rng())
}

/// Starts the thread of a group. `ended` is called when `run` is over, whether it returned or
/// panicked.
///
/// # Errors
/// The operating system's.
pub fn start(
    group: GroupId,
    died: Died,
    ended: impl FnOnce() + Send + 'static,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("group-{}", &group.to_string()[..8])).spawn(
        move || {
            let result = catch_unwind(AssertUnwindSafe(run));
            ended();
            if let Err(panic) = result {
                died(format!("group {group}: {}", message_of(&*panic)));
            }
        },
    )
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a mistake of the program".to_owned())
}
