//! Random scenarios of signed Raft: the invariants after every command, and the same state as a
//! second, plain account of the rules.

mod raft_model;

use quorate_simulator::scenario::dump::dump;
use quorate_simulator::scenario::parse::Command;
use quorate_simulator::scenario::random::{self, Taste};
use quorate_simulator::scenario::runner::Runner;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::raft_model::Model;

/// Seeds to run: `QUORATE_RAFT_SEEDS` for more than the usual.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("QUORATE_RAFT_SEEDS").ok().and_then(|text| text.parse().ok());
    0..wanted.unwrap_or(usual)
}

/// Draws a scenario of `length` commands; `each` is called after every one of them.
fn draw(
    seed: u64,
    (jitter, taste): (u64, Taste),
    length: usize,
    mut each: impl FnMut(&Runner, &Command) -> Result<(), String>,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut runner = Runner::new(jitter);
    let mut script = String::new();
    for _ in 0..length {
        let line = random::next(runner.group(), &mut rng, taste);
        script.push_str(&line);
        script.push('\n');
        let command: Command = line.parse().expect("random lines are well formed");
        let result = match runner.execute(&command) {
            Err(reason) if command == Command::LoopUntilSync && reason.starts_with("after ") => {
                Ok(())
            }
            other => other,
        };
        let result = result.and_then(|()| each(&runner, &command));
        if let Err(reason) = result {
            panic!("seed {seed}: {reason}\n{script}");
        }
    }
}

#[test]
fn random_scenarios_end_as_the_model_says() {
    let taste = Taste { shuffle: false, sync: true };
    for seed in seeds(300) {
        let (mut model, mut commands) = (Model::new(), 0);
        draw(seed, (0, taste), 250, |runner, command| {
            model.execute(command);
            commands += 1;
            if commands % 10 != 0 {
                return Ok(());
            }
            let (ours, theirs) = (dump(runner.group()), model.dump());
            if ours == theirs {
                return Ok(());
            }
            Err(format!("the model has another state:\n{ours}\n{theirs}"))
        });
    }
}

#[test]
fn invariants_hold_with_jitter_and_shuffled_messages() {
    let taste = Taste { shuffle: true, sync: true };
    for seed in seeds(200) {
        draw(seed, (seed + 1, taste), 300, |_, _| Ok(()));
    }
}
