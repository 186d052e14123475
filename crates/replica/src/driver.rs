//! The one loop turn that node and simulator share: step, persist, release.
//!
//! Nothing of a step leaves before its records are durable. If they cannot be made durable (a full
//! disk), the step is kept and the driver is *stalled*: it takes no inputs (commands are refused
//! with the reason, packets are dropped: their senders say them again) and tries again every
//! [`STALL_RETRY_MS`]. When the disk is back, what was kept leaves, in order, and all goes on.

use std::convert::Infallible;
use std::fmt::Display;

use quorate_consensus::core::{Core, Env, Journal, Recovered, Released, Step, Time};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::trace::Trace;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::threshold::Threshold;

use crate::api::{
    Answer, CommandError, GroupConfig, GroupStatus, Input, Notice, Output, Query, QueryError,
};
use crate::limits::STALL_RETRY_MS;
use crate::replica::{Assumed, OpenError, Replica};

/// What one turn gives the world.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be dispatched, in order. Everything they promise is durable.
    pub outputs: Vec<Output>,
    /// When to take the next turn (with [`Input::Wake`]) at the latest. Replaces earlier wishes.
    pub wake: Option<Time>,
    /// Why nothing can be made durable now, if so.
    pub stalled: Option<String>,
    /// What happened, for a reader.
    pub trace: Vec<Trace>,
}

/// Counters since the driver was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Inputs processed.
    pub inputs: u64,
    /// Turns that wrote to the disk.
    pub writes: u64,
    /// Records written.
    pub records: u64,
    /// Attempts to write that failed.
    pub failures: u64,
    /// Inputs dropped or refused while stalled.
    pub refused: u64,
}

struct Kept {
    step: Step<Infallible, Output>,
    reason: String,
    retry_at: Time,
}

/// A replica and its journal.
pub struct Driver<C: Core, J: Journal> {
    replica: Replica<C>,
    journal: J,
    kept: Option<Kept>,
    /// Where the group stood after the last turn that is durable.
    durable: GroupStatus,
    stats: Stats,
}

impl<C: Core, J: Journal> Driver<C, J>
where
    J::Error: Display,
    <C::Generation as KeyGeneration>::Keys: Threshold,
{
    /// Opens a group from what its journal recovered, and takes the first turn.
    ///
    /// # Errors
    /// [`OpenError`] if what was recovered is not a ledger of this group.
    pub fn open(
        env: &mut Env,
        config: GroupConfig,
        recovered: Recovered,
        journal: J,
    ) -> Result<(Self, Turn), OpenError> {
        Self::begin(env, config, recovered, journal, None)
    }

    /// Opens a group in a view that is only assumed. For predictions; see [`Assumed`].
    ///
    /// # Errors
    /// As [`Driver::open`].
    pub fn open_in(
        env: &mut Env,
        config: GroupConfig,
        recovered: Recovered,
        journal: J,
        assumed: Assumed<<C::Generation as KeyGeneration>::Keys>,
    ) -> Result<(Self, Turn), OpenError> {
        Self::begin(env, config, recovered, journal, Some(assumed))
    }

    fn begin(
        env: &mut Env,
        config: GroupConfig,
        recovered: Recovered,
        journal: J,
        assumed: Option<Assumed<<C::Generation as KeyGeneration>::Keys>>,
    ) -> Result<(Self, Turn), OpenError> {
        let (replica, step) = Replica::open(env, config, recovered, &journal, assumed)?;
        let durable = replica.status();
        let mut driver = Self { replica, journal, kept: None, durable, stats: Stats::default() };
        let turn = driver.finish(env, step);
        Ok((driver, turn))
    }

    /// Takes all inputs as one turn: steps merged, one write, then everything released.
    pub fn turn(&mut self, env: &mut Env, inputs: Vec<Input<C::Message>>) -> Turn {
        self.stats.turns += 1;
        let mut before = Turn::default();
        if let Some(kept) = self.kept.take() {
            if env.now < kept.retry_at {
                self.kept = Some(kept);
                return self.refuse(inputs);
            }
            before = self.finish(env, kept.step);
            if before.stalled.is_some() {
                return self.refuse(inputs);
            }
        }
        self.stats.inputs += inputs.len() as u64;
        let step = self.replica.turn(env, &self.journal, inputs);
        let turn = self.finish(env, step);
        before.outputs.extend(turn.outputs);
        before.trace.extend(turn.trace);
        Turn { outputs: before.outputs, trace: before.trace, ..turn }
    }

    /// Reads certified state, as far as it is durable. While what came last is not, only what the
    /// journal itself holds is shown: the rest could be gone after a crash.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn query(&self, query: Query) -> Result<Answer, QueryError> {
        if matches!(query, Query::Status) {
            return Ok(Answer::Status(self.status()));
        }
        if let Some(kept) = &self.kept
            && self.durable.head != self.replica.status().head
        {
            return self.query_stalled(kept, query);
        }
        self.replica.query(&self.journal, query)
    }

    /// The replica is ahead of what is durable.
    fn query_stalled(&self, kept: &Kept, query: Query) -> Result<Answer, QueryError> {
        let head = self.durable.head;
        match query {
            Query::Block(id) if id > head => Err(QueryError::NotFound("block")),
            Query::Block(_) | Query::Genesis => self.replica.query(&self.journal, query),
            Query::Trx(_) => match self.replica.query(&self.journal, query)? {
                Answer::Trx(_, block) if block > head => Err(QueryError::NotFound("trx")),
                answer => Ok(answer),
            },
            Query::Receipt(_) => match self.replica.query(&self.journal, query)? {
                Answer::Receipt(receipt) if receipt.header.id > head => {
                    Err(QueryError::NotFound("trx"))
                }
                answer => Ok(answer),
            },
            _ => Err(QueryError::Storage(kept.reason.clone())),
        }
    }

    /// Where the group stands here, as far as it is durable.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        if self.kept.is_some() { self.durable.clone() } else { self.replica.status() }
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How full the buffers are, each against its limit. Cheap enough for every turn.
    pub fn footprint(&self, into: &mut Footprint) {
        self.replica.footprint(into);
    }

    /// The replica (for checkers).
    #[must_use]
    pub const fn replica(&self) -> &Replica<C> {
        &self.replica
    }

    /// The journal (for checkers and metrics).
    #[must_use]
    pub const fn journal(&self) -> &J {
        &self.journal
    }

    /// Closes the group and hands the journal back.
    #[must_use]
    pub fn into_journal(self) -> J {
        self.journal
    }

    fn finish(&mut self, env: &Env, step: Step<Infallible, Output>) -> Turn {
        let records = step.records().len() as u64;
        match self.journal.persist(step) {
            Ok(released) => {
                self.stats.writes += u64::from(records > 0);
                self.stats.records += records;
                self.durable = self.replica.status();
                self.release(released)
            }
            Err((error, step)) => {
                self.stats.failures += 1;
                let reason = error.to_string();
                let retry_at = env.now.after(STALL_RETRY_MS);
                self.kept = Some(Kept { step, reason: reason.clone(), retry_at });
                Turn { wake: Some(retry_at), stalled: Some(reason), ..Turn::default() }
            }
        }
    }

    fn release(&self, mut released: Released<Infallible, Output>) -> Turn {
        let evidence = std::mem::take(&mut released.evidence);
        let trace = std::mem::take(&mut released.trace);
        let (_, mut outputs, _) = released.into_parts();
        outputs.extend(evidence.into_iter().map(|e| Output::Notice(Notice::Evidence(e))));
        Turn { outputs, wake: self.replica.wake(), stalled: None, trace }
    }

    /// Stalled: commands are answered, everything else is dropped.
    fn refuse(&mut self, inputs: Vec<Input<C::Message>>) -> Turn {
        let kept = self.kept.as_ref().expect("only a stalled driver refuses");
        let (reason, wake) = (kept.reason.clone(), kept.retry_at);
        self.stats.refused += inputs.len() as u64;
        let outputs = inputs
            .into_iter()
            .filter_map(|input| match input {
                Input::Command(ticket, _) => {
                    Some(Output::Reply(ticket, Err(CommandError::Stalled(reason.clone()))))
                }
                _ => None,
            })
            .collect();
        Turn { outputs, wake: Some(wake), stalled: Some(reason), trace: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
