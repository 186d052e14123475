//! Scenarios of signed Raft: text that says step by step what a small group does, and checks what
//! comes of it. The language is on the page `docs/protocol/raft-scenarios.md`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`parse`] | the language: a line is a [`parse::Command`] |
//! | [`group`] | nodes, their logs and outboxes, the links between them |
//! | [`runner`] | what each command does |
//! | [`check`] | what must hold after every command |
//! | [`invariants`] | what must hold besides, checked by the tests |
//! | [`dump`] | the state at the end, as JSON |
//! | [`random`] | scenarios drawn from a seed |

pub mod check;
pub mod dump;
pub mod group;
pub mod invariants;
pub mod parse;
pub mod random;
pub mod runner;

use self::group::Group;
use self::parse::Command;
use self::runner::Runner;

/// A leader of a scenario says something at least so often, in milliseconds.
pub const MESSAGE_TIMEOUT_MS: u64 = 10;

/// Election timeout of a scenario, in milliseconds.
pub const ELECTION_TIMEOUT_MS: u64 = 100;

/// How to run a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// 0: no jitter. Otherwise election timers get a random head start of up to half the election
    /// timeout. Also decides how outboxes are shuffled.
    pub seed: u64,
    /// Whether the scenario closes with `loop_until_sync`, as it must unless its state is wanted as
    /// its last command leaves it.
    pub open_end: bool,
}

/// A scenario that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {command}: {reason}")]
pub struct Failure {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The command there.
    pub command: String,
    /// What was expected, and what was.
    pub reason: String,
}

/// What a scenario came to.
#[derive(Debug)]
pub struct Outcome {
    /// The group at the end.
    pub group: Group,
    /// Commands carried out.
    pub commands: usize,
    /// What the scenario printed.
    pub printed: Vec<String>,
}

/// Runs the scenario `text`, which is called `file`, in a fresh group.
///
/// # Errors
/// The first command that is wrong, fails, or leaves a property violated.
pub fn run(file: &str, text: &str, options: Options) -> Result<Outcome, Failure> {
    let mut runner = Runner::new(options.seed);
    let mut commands = 0;
    let mut last = 1;
    let failure = |line: usize, command: &str, reason: String| Failure {
        file: file.to_owned(),
        line,
        command: command.to_owned(),
        reason,
    };
    for (line, source) in parse::lines(text) {
        last = line;
        let result = source.parse::<Command>().and_then(|command| runner.execute(&command));
        result.map_err(|reason| failure(line, source, reason))?;
        commands += 1;
    }
    if !options.open_end {
        let closing = runner.execute(&Command::LoopUntilSync);
        closing.map_err(|reason| failure(last, "loop_until_sync (at the end)", reason))?;
    }
    let (group, printed) = runner.finish();
    Ok(Outcome { group, commands, printed })
}

#[cfg(test)]
mod tests;
