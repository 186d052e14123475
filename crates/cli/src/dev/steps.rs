//! The steps of a run: each is shown when it ends, with its time, and remembered for the report.

use std::future::Future;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::args::Format;
use crate::error::{CliError, Result};
use crate::output::{print_line, print_note};

/// A step that ended.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Its name, the same in every run.
    pub name: &'static str,
    /// Whether it held.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// The steps of a run.
#[derive(Debug)]
pub struct Steps {
    format: Format,
    started: Instant,
    done: Vec<StepReport>,
}

impl Steps {
    /// No steps yet; the time starts now.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, started: Instant::now(), done: Vec::new() }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs a step. What it returns beside its result is shown behind its name.
    ///
    /// # Errors
    /// The step's own, with its name.
    pub async fn run<T>(
        &mut self,
        name: &'static str,
        step: impl Future<Output = Result<(T, String)>>,
    ) -> Result<T> {
        let from = Instant::now();
        let result = step.await;
        let took = from.elapsed();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.done.push(StepReport { name, ok: result.is_ok(), ms });
        let at = self.started.elapsed().as_secs_f32();
        match result {
            Ok((value, what)) => {
                self.say(&format!("{at:7.2} s  ok    {name:<18} {ms:>6} ms  {what}"));
                Ok(value)
            }
            Err(error) => {
                self.say(&format!("{at:7.2} s  FAIL  {name:<18} {ms:>6} ms"));
                let message = format!("step {name}: {}", error.message);
                Err(CliError { message, ..error })
            }
        }
    }

    /// Says something to whoever watches: standard output belongs to the JSON object if one is
    /// asked for.
    pub fn say(&self, text: &str) {
        match self.format {
            Format::Human => print_line(text),
            Format::Json => print_note(text),
        }
    }

    /// The steps that ended.
    #[must_use]
    pub fn done(&self) -> &[StepReport] {
        &self.done
    }
}
