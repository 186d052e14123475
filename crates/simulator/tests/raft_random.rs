//! Random scenarios of signed Raft: the invariants after every command, and the same state as a
//! second, plain account of the rules.

use quorate_simulator::scenario::dump::dump;
use quorate_simulator::scenario::random::Taste;

use crate::raft_model::Model;
use crate::raft_play::{Play, play};

/// Seeds to run: `QUORATE_RAFT_SEEDS` for more than the usual.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("QUORATE_RAFT_SEEDS").ok().and_then(|text| text.parse().ok());
    0..wanted.unwrap_or(usual)
}

#[test]
fn random_scenarios_end_as_the_model_says() {
    let taste = Taste { shuffle: false, sync: true };
    for seed in seeds(250) {
        let (mut model, mut commands) = (Model::new(), 0);
        let plan = Play { seed, jitter: 0, taste, restarts: false, commands: 250 };
        let result = play(plan, |runner, command| {
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
        result.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn invariants_hold_with_jitter_and_shuffled_messages() {
    let taste = Taste { shuffle: true, sync: true };
    for seed in seeds(200) {
        let plan = Play { seed, jitter: seed + 1, taste, restarts: false, commands: 300 };
        play(plan, |_, _| Ok(())).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn invariants_hold_when_nodes_are_stopped_and_resume() {
    let taste = Taste { shuffle: true, sync: true };
    for seed in seeds(200) {
        let plan = Play { seed, jitter: seed, taste, restarts: true, commands: 300 };
        play(plan, |_, _| Ok(())).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
