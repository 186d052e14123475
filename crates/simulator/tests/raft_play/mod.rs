//! Plays one random scenario.

use quorate_consensus::raft::{Kind, NodeId};
use quorate_simulator::scenario::group::INCONSISTENT;
use quorate_simulator::scenario::invariants::Invariants;
use quorate_simulator::scenario::parse::Command;
use quorate_simulator::scenario::random::{self, Taste};
use quorate_simulator::scenario::runner::Runner;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// Decides the commands.
    pub seed: u64,
    /// Decides the head starts of timers; 0 for none.
    pub jitter: u64,
    /// Which commands may come.
    pub taste: Taste,
    /// Whether nodes are stopped and resume.
    pub restarts: bool,
    /// How many commands.
    pub commands: usize,
}

/// Draws and carries out a scenario; `each` is called after every command.
///
/// # Errors
/// The seed, what does not hold, and the whole scenario.
pub fn play(
    plan: Play,
    mut each: impl FnMut(&Runner, &Command) -> Result<(), String>,
) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut runner = Runner::new(plan.jitter);
    let mut invariants = Invariants::default();
    let mut script = String::new();
    for _ in 0..plan.commands {
        let result = if plan.restarts && rng.random_bool(0.03) {
            restart(&mut runner, &mut rng, &mut script)
        } else {
            let line = random::next(runner.group(), &mut rng, plan.taste);
            script.push_str(&line);
            script.push('\n');
            let command: Command = line.parse()?;
            let synced = runner.execute(&command);
            let out_of_time = |reason: &String| reason.starts_with("after ");
            match synced {
                // Not every group can be brought to one state.
                Err(reason) if command == Command::LoopUntilSync && out_of_time(&reason) => Ok(()),
                other => other,
            }
            .and_then(|()| each(&runner, &command))
        };
        let result = result.and_then(|()| invariants.check(runner.group()));
        // Elections before anything is committed may lead there.
        if result.as_ref().is_err_and(|reason| reason.starts_with(INCONSISTENT)) {
            return Ok(());
        }
        result.map_err(|reason| format!("seed {}: {reason}\n{script}", plan.seed))?;
    }
    Ok(())
}

/// Stops a node; it had stored its commit index, or an earlier one.
fn restart(runner: &mut Runner, rng: &mut impl Rng, script: &mut String) -> Result<(), String> {
    let ids: Vec<NodeId> = runner.group().ids();
    let Some(id) = ids.choose(rng) else { return Ok(()) };
    let node = runner.group().node(*id)?;
    let committed = node.raft.commit_idx();
    let signed = node.log().iter().filter(|e| e.kind == Kind::Signature).map(|e| e.seqno);
    let mut stored: Vec<_> = signed.filter(|seqno| *seqno < committed).collect();
    stored.push(0);
    let earlier = rng.random_bool(0.3);
    let stored = if earlier { *stored.choose(rng).unwrap_or(&0) } else { committed };
    script.push_str(&format!("# node {id} is stopped; it had stored commit index {stored}\n"));
    runner.restart(*id, stored)
}
