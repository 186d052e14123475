//! Runs seeds from the command line while the simulator is being written.
use quorate_simulator::{Crypto, Options, run};
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let options = Options {
        nodes: args[0] as usize,
        faulty: args[1] as usize,
        first: args[2],
        seeds: args[3],
        crypto: Crypto::Mixed,
        trace: args.get(4).is_some(),
    };
    let begin = std::time::Instant::now();
    let report = run(&options, |seed, outcome| {
        println!(
            "seed {seed}: {:?} blocks {} virtual {} recovery {:?} at {:?}",
            outcome.violation, outcome.decisions, outcome.virtual_ms, outcome.recovery_ms, begin.elapsed()
        );
    });
    println!("{:?}", report.faults);
}
